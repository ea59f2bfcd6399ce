"""Numbers to build a decoder with: the dictionary of clause 8.3, the trellis of 9.4, the state digest of 9.8."""

from collections.abc import Callable, Iterable
from typing import Any

from conformance.generate import philox, rans
from conformance.generate.build import TensorState, state_digest
from conformance.generate.describe import RAW, Layer, Tensor
from conformance.generate.recipe import numbers

SEEDS = (0, 0xA4093822299F31D0)
ATOMS = (0, 1, 70000, (1 << 20) - 1)
ORDINAL = 6
LAWS: tuple[tuple[str, int, Callable[[int, int, int, int], int], int], ...] = (
    ("RNG-7", 0, philox.rademacher, 150),  # a block has 128 rows
    ("RNG-8", 1, philox.t8_entry, 40),  # a block has 16 rows
)


# Long forms, as (max_symbol, zero_probability, tail, tail_change, heavy, low_bits, escape).
MODELS = ((4, 0, 150, 0, 0, 0, 0), (4, 90, 150, 100, 1, 0, 0), (2, 10, 150, 0, 0, 0, 1), (3, 0, 140, 0, 0, 2, 1))
SPREADS = (4, 4, 7, 30)


def known_answers() -> dict[str, Any]:
    """`dictionary`, `trellis` and `state_digest`; each says its clause."""
    return {"dictionary": dictionary(), "trellis": trellis(), "state_digest": digests()}


def trellis() -> list[dict[str, Any]]:
    """For a model and a number of lanes: both quantisers' frequencies, values k, p, states, and contributions r."""
    out = []
    for fields, spread in zip(MODELS, SPREADS, strict=True):
        model = rans.long_parameters(fields)
        tables = [rans.symbol_table(model)] + ([] if model.low_bits else [rans.second_table(model)])
        values = numbers(24, spread)
        for n_lanes in (1, 4):
            parities = [rans.parity(k, model) for k in values]
            states = rans.trellis_states(parities, n_lanes)
            out.append(
                {
                    "clause": "TRE-1" if n_lanes == 1 else "TRE-2",
                    "model": _text(fields),
                    "frequencies": [_text([f for f, _ in table.values()]) for table in tables],
                    "n_lanes": n_lanes,
                    "k": _text(values),
                    "p": _text(parities),
                    "state": _text(states),
                    "r": _text([rans.contribution(k, state) for k, state in zip(values, states, strict=True)]),
                }
            )
    return out


def _text(items: Iterable[int]) -> str:
    return " ".join(map(str, items))


def digests() -> list[dict[str, Any]]:
    """The digests of two states: step codes (none for tool 0) and acc of each tensor."""
    matrix, bias = Tensor(0, 2, 3, Layer()), Tensor(1, 2, 0, Layer())
    raw = Tensor(2, 1, 2, Layer(tool=RAW))
    plain = [TensorState(matrix, [1, -2, 3, 2**31 - 1, 1 - 2**31, 0], 768), TensorState(bias, [-5, 6], 1023)]
    rows = [TensorState(matrix, [0] * 6, 700, (3, -700)), TensorState(raw, [0x3F800000, 0x80000000])]
    return [
        {
            "clause": "9.8",
            "tensors": [{"steps": _text(state.step_codes()), "acc": _text(state.acc)} for state in states],
            "digest": state_digest(states).hex(),
        }
        for states in (plain, rows)
    ]


def dictionary() -> list[dict[str, Any]]:
    """For a law, a seed and a tensor ordinal, the entries [atom][row] of some atoms."""
    return [
        {
            "clause": clause,
            "law": law,
            "seed": f"{seed:016x}",
            "ordinal": ORDINAL,
            "atoms": list(ATOMS),
            "entries": [" ".join(str(entry(row, atom, ORDINAL, seed)) for row in range(n_rows)) for atom in ATOMS],
        }
        for clause, law, entry, n_rows in LAWS
        for seed in SEEDS
    ]
