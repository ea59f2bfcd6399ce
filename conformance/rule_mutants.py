"""Decoders with one wrong rule, on which the vectors are tried (`python -m conformance.self_test`).

A decoder with a wrong rule finds the integers of a file exactly if a writer with the same wrong rule writes that file.
So a mutant writes the vector's description again with its rule: from other bytes it would decode other integers, and
refuses; from the same bytes it evaluates the field with its rule. `right-rules` has no wrong one.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance.generate import field, latents, lattice, parts, philox, rans
from conformance.generate.build import build
from conformance.generate.describe import BLOCK_SHIFT, Block, Filter, Head, Input, Multiply, Pyramid, Unit
from conformance.generate.primitives import npy_bytes, rne32
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


def _layers_from_one(layers: Sequence[list[Number]], record: Multiply) -> list[Number]:
    """The first layer is number 1; for 0 the one before is taken."""
    return layers[max(record.layer - 1, 0)]


def _product_of_filter(unit: Unit, outputs: list[Number], values: list[Number]) -> list[Number]:
    """The current values behind a FILTER, not its sines."""
    return values if unit.role is Filter else outputs


def _first_axes(record: Input, point: tuple[float, ...]) -> list[Number]:
    return [(x, 0.0) for x in point[: record.count]]


# --- wrong rules of latents (clauses 9.6, 10.6, 16.5 and 16.6) -----------------------------------------


def _filter_of_target(right: Callable[..., list[float]]) -> Callable[..., list[float]]:
    """The last filter for the coarsest step, the first for the finest."""

    def spoilt(pyramid: Pyramid, weights: Sequence[float], level: int) -> list[float]:
        return right(pyramid, weights, pyramid.n_levels - level)

    return spoilt


def _by_dimension(grid: Any, features: list[list[Number]]) -> list[Number]:
    """All levels of a feature, then those of the next."""
    return [number for column in zip(*features, strict=True) for number in column]


def _rows_of_earlier_stride(net: latents.Network, level: int, phase: int) -> list[int]:
    return [level, net.n_levels + phase // 3] if net.context_id == latents.INTERLACED else [level]


def _zero_outside(values: lattice.Lattice, index: lattice.Index, sizes: Sequence[int]) -> list[Number]:
    inside = all(0 <= i < n for i, n in zip(index, sizes, strict=True))
    return values[index] if inside else [(0.0, 0.0)] * len(next(iter(values.values())))


def _wrapped(index: int, n: int) -> int:
    return index % n


def _corner_positions(head: Any, axis: int, x: float) -> float:
    """The first and the last sample at the edges, whatever the coordinates are."""
    return lattice.clipped((x + 1) / 2 * (head.grid[axis] - 1), head.grid[axis] - 1.0)


def _nearest(at: Callable[[Any], list[Number]], positions: Sequence[float], *_: Any) -> list[Number]:
    """No interpolation."""
    return at(tuple(round(p) for p in positions))


def _bilinear_by_default(taps: dict[int, tuple[float, ...]]) -> dict[int, tuple[float, ...]]:
    return {t: (taps[2] + (0.0,) * t)[:t] for t in taps} | {1: taps[1]}


def _swapped_kinds() -> tuple[tuple[int, int, int], ...]:
    first, second, third = latents.INTERLACED_KINDS
    return first, third, second


def _narrow_escapes(values: Sequence[int], models: Sequence[latents.SiteModel]) -> list[rans.Run]:
    """Escapes of the lowest symbols first, then those of the highest."""
    pairs = [model.split(value) for value, model in zip(values, models, strict=True)]
    low = [e for u, e in pairs if e is not None and u < 0]
    high = [e for u, e in pairs if e is not None and u >= 0]
    return [[m.symbol(v) for v, m in zip(values, models, strict=True)], *rans.escape_runs(low + high)]


def _last_tie(codes: Sequence[int]) -> list[int]:
    """The rest goes to the last of the greatest frequencies."""
    weights = [(8 + (code & 7)) << (code >> 3) for code in codes]
    avail = (1 << 14) - len(codes)
    f = [1 + weight * avail // sum(weights) for weight in weights]
    f[len(f) - 1 - f[::-1].index(max(f))] += (1 << 14) - sum(f)
    return f


def _escape_as_two_sided(right: Callable[..., tuple[int, int | None]]) -> Callable[..., tuple[int, int | None]]:
    """Escapes for |u| = R alone, as in clause 10.1, with R the larger one of A and B."""

    def spoilt(model: latents.SiteModel, value: int) -> tuple[int, int | None]:
        symbol, escape = right(model, value)
        most = max(model.below, len(model.frequencies) - 1 - model.below)
        return symbol, escape if abs(symbol) == most else None

    return spoilt


# --- wrong rules of growing networks and of parts (clause 13) -------------------------------------------


def _by_layer(right: Callable[..., Any]) -> Callable[..., Any]:
    """The numbers of a block are those of the first block of its layer."""
    return lambda n, ordinal, *rest: right(n, ordinal % (1 << BLOCK_SHIFT), *rest)


def _left_aligned(right: Callable[[Head], list[Block]]) -> Callable[[Head], list[Block]]:
    """New columns of the last layer stand where the first ones do."""
    return lambda head: [block._replace(first_column=0) for block in right(head)]


def _all_inputs_of_old_rows(right: Callable[..., list[list[float]]]) -> Callable[..., list[list[float]]]:
    """Weights of old units and new inputs are those of the newest unit, not 0."""

    def spoilt(head: Head, weights: Sequence[Sequence[float]]) -> list[list[float]]:
        full = iter(right(head, weights))
        out = []
        for unit in head.units():
            matrix = next(full)
            last = matrix[-unit.columns :]
            out.append([w or last[i % unit.columns] for i, w in enumerate(matrix)])
            out += [next(full)] if unit.layer.bias else []
        return out

    return spoilt


def _edges_rounded_up(head: Head, axis: int) -> list[int]:
    n, s = head.grid[axis], head.split[axis]
    return [-(-k * n // s) for k in range(s + 1)]


def _hard_seams(head: Head, axis: int, k: int, p: float) -> float:
    """No blending: the seam is where the next part begins."""
    return 1.0 if k == 0 else float(k < head.split[axis] and p + 0.5 >= head.edges(axis)[k])


def _seams_at_samples(right: Callable[..., float]) -> Callable[..., float]:
    """u of p, not of p + 1/2."""
    return lambda head, axis, k, p: right(head, axis, k, p - 0.5)


def _whole_coordinates(head: Head, place: Sequence[int], position: Sequence[float]) -> tuple[float, ...]:
    """The coordinates of the whole field in every part."""
    return tuple(rne32((2 * p + 1) / n - 1) for p, n in zip(position, head.grid, strict=True))


def _owned_coordinates(head: Head, place: Sequence[int], position: Sequence[float]) -> tuple[float, ...]:
    """Coordinates over what a part owns, not over its lattice."""
    spans = ((head.edges(a)[k], head.edges(a)[k + 1]) for a, k in enumerate(place))
    return tuple(rne32((2 * (p - a) + 1) / (b - a) - 1) for p, (a, b) in zip(position, spans, strict=True))


def _not_a_number_as_0(x: float, n: int) -> float:
    """What is not a number is the coordinate 0, not the position 0."""
    return ((0.0 if math.isnan(x) else x) * n + n - 1) / 2


def _first_axis_fastest(head: Head, part: int) -> tuple[int, ...]:
    out = []
    for n in head.split:
        part, k = divmod(part, n)
        out.append(k)
    return tuple(out)


Patch = tuple[ModuleType | type, str, Callable[[], object]]

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
    "multiply-by-product": (field, "factors_from", lambda: _product_of_filter),
    "multiply-from-one": (field, "factors_of", lambda: _layers_from_one),
    "gabor-conjugated": (field, "wavelet", lambda: _conjugated(field.wavelet)),
    "gabor-real-sums": (field, "layer_sums", lambda: _real_sums(field.layer_sums)),
    "finer-omega-first": (field, "ACTIVATIONS", lambda: field.ACTIVATIONS | {"FINER": _scaled_first}),
    "finer-omega-last": (field, "ACTIVATIONS", lambda: field.ACTIVATIONS | {"FINER": _scaled_last}),
    "input-before": (field, "joined", lambda: lambda values, appended: appended + values),
    "input-of-first-axes": (field, "appended_values", lambda: _first_axes),
    "hash-primes-reversed": (latents, "PRIMES", lambda: latents.PRIMES[::-1]),
    "levels-fine-to-coarse": (lattice, "in_order", lambda: lambda levels: levels[::-1]),
    "features-by-dimension": (lattice, "joined_features", lambda: _by_dimension),
    "filter-taps-swapped": (lattice, "STEPS_TO_TAPS", lambda: (0, -1, 1, -2, 2, -3, 3, -4)),
    "filters-reversed": (lattice, "taps_of", lambda: _filter_of_target(lattice.taps_of)),
    "filter-default-bilinear": (lattice, "DEFAULTS", lambda: _bilinear_by_default(lattice.DEFAULTS)),
    "border-wrapped": (lattice, "clip", lambda: _wrapped),
    "conv-border-zero": (lattice, "neighbour", lambda: _zero_outside),
    "no-interpolation": (lattice, "interpolated", lambda: _nearest),
    "pyramid-linear": (lattice, "cubic_weights", lambda: lambda f: (0.0, 1.0 - f, f, 0.0)),
    "lattice-at-corners": (lattice, "lattice_position", lambda: _corner_positions),
    "mean-rounded-down": (latents, "mean_of", lambda: lambda out: max(-16384, min(16383, out)) >> 4),
    "centre-halves-down": (latents, "centre_of", lambda: lambda mean: (mean + 7) >> 4),
    "scale-one-off": (latents, "scale_of", lambda: lambda out: max(0, min(63, ((out + 16) >> 5) + 31))),
    "parents-not-mirrored": (latents, "side", lambda: lambda place: 1),
    "phases-swapped": (latents, "INTERLACED_KINDS", _swapped_kinds),
    "kinds-of-stride-before": (latents, "offset_rows", lambda: _rows_of_earlier_stride),
    "escapes-low-then-high": (latents, "site_runs", lambda: _narrow_escapes),
    "escape-as-two-sided": (latents.SiteModel, "split", lambda: _escape_as_two_sided(latents.SiteModel.split)),
    "hidden-not-clipped": (latents, "hidden_value", lambda: lambda total: max(0, total)),
    "inputs-not-clipped": (latents, "MOST_INPUT", lambda: 1 << 31),
    "causal-without-corner": (latents, "CAUSAL", lambda: (*latents.CAUSAL[:4], (0, -1), *latents.CAUSAL[5:])),
    "block-of-its-layer": (philox, "prior", lambda: _by_layer(philox.prior)),
    "new-columns-first": (Head, "blocks", lambda: _left_aligned(Head.blocks)),
    "old-rows-whole": (field, "full_matrices", lambda: _all_inputs_of_old_rows(field.full_matrices)),
    "parts-rounded-up": (Head, "edges", lambda: _edges_rounded_up),
    "parts-in-other-order": (Head, "place_of", lambda: _first_axis_fastest),
    "parts-not-blended": (parts, "ramp", lambda: _hard_seams),
    "seams-half-a-sample-off": (parts, "ramp", lambda: _seams_at_samples(parts.ramp)),
    "coordinates-of-the-whole": (parts, "own_point", lambda: _whole_coordinates),
    "coordinates-of-owned-samples": (parts, "own_point", lambda: _owned_coordinates),
    "not-a-number-as-0": (parts, "position_at", lambda: _not_a_number_as_0),
    "table-last-of-ties": (latents, "table_frequencies", lambda: _last_tie),
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
        vector, _, expect = find_case(Path(source).read_bytes(), rest)
        recipe = _recipes()[vector]
        with _sabotaged(RULES[name]):
            built = build(recipe.file)
            if built.data != Path(source).read_bytes():
                return Answer(REFUSAL.status, REFUSAL.line, "")
            output = samples(recipe, built, expect["passes"])
        Path(out).write_bytes(npy_bytes(output.values, output.shape))
        crcs = [f"{crc:08x}" for crc in built.acc_crcs[: expect["passes"] * built.n_parts]]
        line = {
            "weights_sha256": built.weights_sha256[expect["passes"] - 1],
            "acc_crc": crcs,
            "passes": expect["passes"],
        }
        return Answer(0, json.loads(json.dumps(line)), "")

    return call
