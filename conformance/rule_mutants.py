"""Decoders with one wrong rule, on which the vectors are tried (`python -m conformance.self_test`).

A decoder with a wrong rule finds the integers of a file exactly if a writer with the same wrong rule writes that file.
So a mutant writes the vector's description again with its rule: from other bytes it would decode other integers, and
refuses; from the same bytes it evaluates the field with its rule. `right-rules` has no wrong one.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance.generate import field, lattice, rans
from conformance.generate.build import build
from conformance.generate.describe import Input, Unit
from conformance.generate.primitives import npy_bytes
from conformance.generate.recipe import Valid
from conformance.generate.suite import every_valid, samples
from conformance.mutants import REFUSAL, find_case
from conformance.run import Answer, Call, Settings

Number = lattice.Number


# --- wrong rules of the trellis (clause 9.4) ---------------------------------------------------------


def _kept_states() -> Callable[[Sequence[int], int], list[int]]:
    """States that go on from tensor to tensor."""
    lanes: dict[int, int] = {}

    def states(parities: Sequence[int], n_lanes: int) -> list[int]:
        out = []
        for i, p in enumerate(parities):
            state = lanes.get(i % n_lanes, 0)
            out.append(state)
            lanes[i % n_lanes] = rans.TRANSITIONS[state][p]
        return out

    return states


def _one_state() -> Callable[[Sequence[int], int], list[int]]:
    """One state for all lanes."""
    right = rans.trellis_states
    return lambda parities, n_lanes: right(parities, 1)


def _parity_of_value(k: int, model: rans.Parameters | None) -> int:
    return k & 1


def _parity_of_symbol(k: int, model: rans.Parameters | None) -> int:
    if model is None:
        return k & 1
    (full,) = rans.shifted([k], model)
    symbol = full >> model.low_bits
    return max(-model.max_symbol, min(model.max_symbol, symbol)) & 1


def _second_table_always(values: Sequence[int], model: rans.Parameters, states: Sequence[int]) -> list[rans.Run]:
    """The table of quantiser 1 with low bits too."""
    tables = [rans.second_table(model) if state & 1 else rans.symbol_table(model) for state in states]
    return rans.symbol_runs(rans.shifted(values, model), model, tables)


def _other_quantiser(k: int, state: int) -> int:
    return 2 * k - (state >> 2) * ((k > 0) - (k < 0))


# --- wrong rules of evaluation (clause 16.3) ---------------------------------------------------------


def _conjugated(wavelet: Callable[..., tuple[Number, Number]]) -> Callable[..., tuple[Number, Number]]:
    def spoilt(*arguments: Any) -> tuple[Number, Number]:
        real, (imaginary, error) = wavelet(*arguments)
        return real, (-imaginary, error)

    return spoilt


def _real_sums(right: Callable[..., list[Number]]) -> Callable[..., list[Number]]:
    """Complex layers with W' z' + W'' z'' for the real part."""

    def spoilt(unit: Unit, matrices: Iterator[list[float]], inputs: list[Number]) -> list[Number]:
        if not unit.is_complex:
            return right(unit, matrices, inputs)
        half = unit.columns
        turned = inputs[:half] + [(-x, e) for x, e in inputs[half:]]
        return right(unit, matrices, turned)

    return spoilt


def _scaled_first(t: Number, omega: float) -> Number:
    return field.finer((omega * t[0], omega * t[1]), 1.0)


def _scaled_last(t: Number, omega: float) -> Number:
    value, error = field.finer(t, 1.0)
    return omega * value, error


def _first_axes(record: Input, point: tuple[float, ...]) -> list[Number]:
    return [(x, 0.0) for x in point[: record.count]]


Patch = tuple[ModuleType, str, Callable[[], object]]

RULES: dict[str, Patch | None] = {
    "right-rules": None,
    "state-not-reset": (rans, "trellis_states", _kept_states),
    "one-state-for-all-lanes": (rans, "trellis_states", _one_state),
    "one-table": (rans, "second_table", lambda: rans.symbol_table),
    "second-table-with-low-bits": (rans, "trellis_runs", lambda: _second_table_always),
    "p-after-escape": (rans, "parity", lambda: _parity_of_value),
    "p-of-symbol": (rans, "parity", lambda: _parity_of_symbol),
    "quantiser-of-high-bit": (rans, "contribution", lambda: _other_quantiser),
    "output-first": (field, "field_values", lambda: lambda last, extra: extra + last),
    "filter-added": (field, "multiplied", lambda: lambda a, b: (a[0] + b[0], a[1] + b[1])),
    "gabor-conjugated": (field, "wavelet", lambda: _conjugated(field.wavelet)),
    "gabor-real-sums": (field, "layer_sums", lambda: _real_sums(field.layer_sums)),
    "finer-omega-first": (field, "ACTIVATIONS", lambda: field.ACTIVATIONS | {"FINER": _scaled_first}),
    "finer-omega-last": (field, "ACTIVATIONS", lambda: field.ACTIVATIONS | {"FINER": _scaled_last}),
    "input-before": (field, "joined", lambda: lambda values, appended: appended + values),
    "input-of-first-axes": (field, "appended_values", lambda: _first_axes),
}


@contextmanager
def _sabotaged(patch: Patch | None) -> Iterator[None]:
    if patch is None:
        yield
        return
    module, name, wrong = patch
    right = getattr(module, name)
    setattr(module, name, wrong())
    try:
        yield
    finally:
        setattr(module, name, right)


@cache
def _recipes() -> dict[str, Valid]:
    return {recipe.name: recipe for recipe in every_valid()}


def answering(name: str) -> Call:
    """The decoder with this wrong rule, as the harness calls one."""

    def call(arguments: Sequence[str], settings: Settings) -> Answer:
        source, out, *rest = arguments
        vector, _, expect = find_case(Path(source), rest)
        recipe = _recipes()[vector]
        with _sabotaged(RULES[name]):
            built = build(recipe.file)
            if built.data != Path(source).read_bytes():
                return Answer(REFUSAL.status, REFUSAL.line, "")
            output = samples(recipe, built, expect["passes"])
        Path(out).write_bytes(npy_bytes(output.values, output.shape))
        crcs = [f"{crc:08x}" for crc in built.acc_crcs[: expect["passes"]]]
        line = {
            "weights_sha256": built.weights_sha256[expect["passes"] - 1],
            "acc_crc": crcs,
            "passes": expect["passes"],
        }
        return Answer(0, json.loads(json.dumps(line)), "")

    return call
