"""Numbers to build a decoder with: checks (clause 5.2), Philox (8.1), dictionary (8.3), trellis (9.4), bitmap (9.5),
latents (9.6, 10.6), state digest (9.8), models (10.2), streams (10.4).
"""

import zlib
from collections.abc import Callable, Iterable
from typing import Any

from conformance.generate import latents, lattice, philox, rans
from conformance.generate.build import TensorState, state_digest
from conformance.generate.describe import RAW, Layer, Pyramid, Tensor
from conformance.generate.primitives import crc8
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
    """Every table of answers by its name; each says its clause."""
    return {
        "checks": checks(),
        "philox": philox_words(),
        "dictionary": dictionary(),
        "short_forms": short_forms(),
        "models": models(),
        "streams": streams(),
        "bitmap": bitmaps(),
        "trellis": trellis(),
        "state_digest": digests(),
        "hashed_entry": hashed_entries(),
        "table_frequencies": tables(),
        "context_order": orders(),
        "context_network": networks(),
        "context_frequencies": frequencies(),
        "up_sampling": up_sampling(),
    }


COUNTERS = (((0,) * 4, 0), ((0xFFFFFFFF,) * 4, 2**64 - 1), ((3, 70000, 6, 1), SEEDS[1]))
SHORT_FORMS = (("LAPLACE", 16), ("GAUSS", 39), ("FLAT", 60), ("HEAVY", 0), ("HEAVY", 151))


def checks() -> list[dict[str, Any]]:
    """The checks of nine bytes, and CRC-32 that goes on from the value of others."""
    data = b"123456789"
    row = {"clause": "5.2", "bytes": data.hex(), "crc8": f"{crc8(data):02x}"}
    return [
        row | {"start": f"{start:08x}", "crc32": f"{zlib.crc32(data, start):08x}"} for start in (0, zlib.crc32(data))
    ]


def philox_words() -> list[dict[str, Any]]:
    """The words of a counter under the key of a seed."""
    return [
        {
            "clause": "8.1",
            "counter": _hex(counter),
            "key": _hex(key := (seed & philox.MASK, seed >> 32)),
            "words": _hex(philox.philox(counter, key)),
        }
        for counter, seed in COUNTERS
    ]


def _hex(words: Iterable[int]) -> str:
    return " ".join(f"{word:08x}" for word in words)


def short_forms() -> list[dict[str, Any]]:
    """The parameters of model GL of a law and a scale."""
    out = []
    for law, scale in SHORT_FORMS:
        model = rans.short_parameters(law, scale)
        fields = {
            "R": model.max_symbol,
            "theta": model.theta,
            "rho": model.rho,
            "heavy": model.heavy,
            "b": model.low_bits,
        }
        out.append({"clause": "ENT-3", "law": rans.LAWS.index(law), "scale": scale} | fields)
    return out


def models() -> list[dict[str, Any]]:
    """For a long form, the frequencies of the symbols -R to R, and those of 0 to R of the one-sided model of gaps."""
    out = []
    for fields in MODELS:
        model = rans.long_parameters(fields)
        found = {"clause": "10.2", "model": _text(fields), "frequencies": _frequencies(rans.symbol_table(model))}
        out.append(found | {"one_sided": _frequencies(rans.one_sided_table(model))})
    return out


def _frequencies(table: dict[int, rans.Symbol]) -> str:
    return _text(f for f, _ in table.values())


def streams() -> list[dict[str, Any]]:
    """A list of values under a long form in one lane."""
    out = []
    for fields, spread in zip(MODELS, SPREADS, strict=True):
        values = numbers(12, spread, 5)
        stream = rans.encode(rans.value_runs(values, rans.long_parameters(fields)))
        out.append({"clause": "10.4", "model": _text(fields), "values": _text(values), "stream": stream.hex()})
    return out


def bitmaps() -> list[dict[str, Any]]:
    """The support of a vector: frequency of "one" at each slot that is coded, and the stream of this run alone."""
    out = []
    for atoms, n_atoms in (((2, 3, 9), 12), ((0,), 5), ((1, 2, 3), 4)):
        run = rans.bitmap_run(atoms, n_atoms)
        ones = [f if slot in atoms else (1 << rans.PRECISION) - f for slot, (f, _) in enumerate(run)]
        row = {"clause": "9.5", "n_atoms": n_atoms, "atoms": _text(atoms), "frequencies_of_one": _text(ones)}
        out.append(row | {"stream": rans.encode([run]).hex()})
    return out


VERTICES = ((0, 0), (1, 2), (65534, 65534), (3,), (7, 5, 3), (1, 1, 1, 1), (65534, 1, 65534, 2))
CODES = ((64, 64), (20, 27, 60, 61, 40, 12, 11), (50, 60, 60, 61, 61, 61, 3), (0, 127, 0))
SCALES = ((0, 0), (0, -8), (16, 3), (16, -3), (32, 7), (40, -1), (63, 0))


def hashed_entries() -> list[dict[str, Any]]:
    """For a vertex, its entry in tables of several sizes."""
    return [
        {
            "clause": "9.6.1",
            "vertex": _text(vertex),
            "n_entries": _text(sizes),
            "entry": _text(latents.hashed_entry(vertex, n) for n in sizes),
        }
        for vertex in VERTICES
        for sizes in ((1, 8, 1 << 14, 1 << 30),)
    ]


def tables() -> list[dict[str, Any]]:
    """Frequencies of latent form 4 from codes."""
    return [
        {"clause": "GRD-7", "codes": _text(codes), "frequencies": _text(latents.table_frequencies(codes))}
        for codes in CODES
    ]


def orders() -> list[dict[str, Any]]:
    """The sites of a small plane, run by run: y and x in turn."""
    return [
        {
            "clause": "10.6",
            "context_id": context_id,
            "height": 4,
            "width": 5,
            "runs": [_text(i for site in sites for i in site) for *_, sites in latents.ORDERS[context_id](4, 5)],
        }
        for context_id in latents.ORDERS
    ]


def networks() -> list[dict[str, Any]]:
    """One site of both networks (w = 4, H = 1, two levels): inputs, tensors with their q, outputs, model."""
    out = []
    for context_id, phase, column, n_near in ((1, 9, 8, 8), (1, 5, 4, 4), (1, 0, 0, 0), (2, 0, 0, 12)):
        shapes = Pyramid(context_id=context_id, n_hidden=1).context_shapes()
        found = {
            name: latents.ContextTensor(_rows(numbers(rows * columns, 40, ordinal), columns), 3 + ordinal % 5)
            for name, (ordinal, rows, columns) in shapes.items()
        }
        net = latents.Network(
            context_id=context_id,
            n_levels=2,
            coarse=found["coarse"],
            near=found["near"],
            phase=found["phase"],
            hidden=((found["weight0"], found["bias0"]),),
            output=found["output"],
            linear=found["linear"],
            offset=found["offset"],
        )
        coarse, near = numbers(11, 20, 1), numbers(n_near, 20, 2)
        outputs = latents.evaluate(net, 1, phase, coarse, near, column)
        mean, scale = latents.mean_of(outputs[0]), latents.scale_of(outputs[1])
        centre = latents.centre_of(mean)
        out.append(
            {
                "clause": "10.6",
                "context_id": context_id,
                "n_levels": 2,
                "level": 1,
                "phase": phase,
                "column": column,
                "coarse": _text(coarse),
                "near": _text(near),
                "tensors": {name: {"q": t.q, "acc": [_text(row) for row in t.rows]} for name, t in found.items()},
                "outputs": _text(outputs),
                "centre": centre,
                "scale": scale,
                "fraction": mean - 16 * centre,
            }
        )
    return out


def _rows(values: tuple[int, ...], columns: int) -> tuple[tuple[int, ...], ...]:
    return tuple(values[i : i + columns] for i in range(0, len(values), columns))


def frequencies() -> list[dict[str, Any]]:
    """The symbols -A to B of a scale and a fraction."""
    out = []
    for scale, fraction in SCALES:
        below, f = latents.context_frequencies(scale, fraction)
        row = {"clause": "10.6", "scale": scale, "fraction": fraction, "A": below, "frequencies": _text(f)}
        out.append(row)
    return out


def up_sampling() -> list[dict[str, Any]]:
    """A level of one axis on the lattice of the next one; the filter's weights are in 1/128."""
    before = (128, 0, -256, 384)
    out = []
    for n_taps in range(1, 9):
        pyramid = Pyramid(halved=1, n_taps=n_taps)
        weights = numbers(n_taps, 9, n_taps)
        taps = lattice.taps_of(pyramid, [w / 128 for w in weights], 1)
        plane: dict[lattice.Index, list[lattice.Number]] = {(i,): [(float(v), 0.0)] for i, v in enumerate(before)}
        for n in (7, 8):
            fine = lattice.up_sampled(plane, pyramid, taps, (len(before),), (n,))
            after = _text(int(fine[(i,)][0][0]) for i in range(n))
            out.append({"clause": "16.6", "weights": _text(weights), "before": _text(before), "after": after})
    return out


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
