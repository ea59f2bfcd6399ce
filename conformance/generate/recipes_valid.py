"""Recipes of the valid vectors: a ladder from the smallest file to every tool, form and option."""

from dataclasses import replace
from typing import Any

from conformance.generate.build import SHORT_STEPS, build, step_code
from conformance.generate.describe import (
    BOX,
    BROTLI,
    CENTRES_UNIT,
    CORNERS,
    CORNERS_PROPORTIONAL,
    KINDS,
    LATTICE_FILTERS,
    PACKED,
    RANS,
    RAW,
    SEEDED,
    WIDE,
    WITH_OMEGA,
    ZLIB,
    ZSTANDARD,
    Ancillary,
    Entry,
    File,
    Fourier,
    FourierSeeded,
    Head,
    Layer,
    Long,
    Model,
    Pass,
    Record,
    Same,
    Short,
    Zero,
)
from conformance.generate.philox import prior
from conformance.generate.primitives import WINDOW_8_MIB, brotli_stored, zstandard_raw
from conformance.generate.recipe import Valid, base, entries, numbers, packed, points, with_entry, with_pass

META_TYPE, INDX_TYPE, HASH_TYPE = 0xA4, 0x83, 0x85
TEXT_HEAD = Head()  # 2 coordinates, one linear layer, 3 x 3 samples
HIDDEN = (Layer("SINE", 4, omega=3), Layer())
SIREN = Head(records=HIDDEN)
META = b"\x06author\x04\x00Anna\x05title\x0a\x00Two\nlines."
HALF = Layer(tool=RAW, half=True)
SINGLE = Layer(tool=RAW)
MOST_FLOAT = 2.0**64 - 2.0**40  # the largest binary32 below 2^64
LEAST_FLOAT = 2.0**-149  # the least above 0


def minimal() -> list[Valid]:
    """The first rungs: packed and raw values, no entropy coding."""
    one = Head(records=(replace(HALF, bias=False),), in_dims=1, grid=(2,))
    both = Head(records=(Layer("SINE", 3, omega=2, tool=RAW), Layer(tool=RAW, half=True)))
    return [
        Valid("valid-min-raw", "the smallest file: one weight as binary16", ("CON-1", "CON-7"), packed(one)),
        Valid(
            "valid-min-packed",
            "one linear layer, bit-packed",
            ("9.3", "11", "CNV-1", "CNV-3", "CNV-5", "DEC-1"),
            packed(TEXT_HEAD),
        ),
        Valid("valid-raw-half", "weights as binary16, packed", ("9.2", "11"), packed(Head(records=(HALF,)))),
        Valid("valid-raw-single", "weights as binary32, packed", ("9.2", "11"), packed(Head(records=(SINGLE,)))),
        Valid("valid-raw-rans", "binary32 and binary16 weights as raw fields of rANS", ("9.2", "10.5"), base(both)),
        Valid(
            "valid-raw-edges",
            "negative zero, the least subnormal and the largest finite binary16 keep their patterns",
            ("9.2", "PAS-5"),
            File(
                Head(records=(replace(HALF, bias=False),), in_dims=3, grid=(0, 0, 0)),
                (Pass((Entry(values=(0x8000, 0x0001, 0x7BFF)),), PACKED),),
            ),
            coords=((0.5, 1.0, 0.25), (1.0, 0.0, 0.0)),
        ),
        Valid("valid-no-bias", "no layer has a bias", ("6.7",), packed(Head(records=(Layer(bias=False),)))),
        Valid(
            "valid-packed-32-bits",
            "packed values of 32 bits reach 2^31 - 1 in magnitude",
            ("WGT-4", "11"),
            with_entry(packed(TEXT_HEAD), 0, values=(2**31 - 1, 1 - 2**31), step=step_code(-31)),
        ),
        Valid(
            "valid-packed-wide",
            "more bits than the values need, one bit for values -1 and 0",
            ("11",),
            with_entry(with_entry(packed(TEXT_HEAD), 0, width=13), 1, values=(-1,)),
        ),
    ]


def heads() -> list[Valid]:
    """Fields of HEAD."""
    out = [
        Valid("valid-head-minor-version", "a higher minor version", ("HED-1",), packed(Head(version=0x1F))),
        Valid(
            "valid-head-optional-unknown",
            "a block of an unknown optional feature is skipped",
            ("6.6",),
            packed(Head(features_optional=0x84, optional_blocks=(b"", b"\xff\x00\x55"))),
        ),
        Valid(
            "valid-head-quality",
            "QUALITY, and an unknown block behind it",
            ("HED-11",),
            packed(Head(features_optional=0x03, optional_blocks=(b"\xb8\x0b", b"\x01"))),
        ),
        Valid(
            "valid-head-quality-127",
            "QUALITY of 127 passes: 254 bytes, the most there can be",
            ("HED-11",),
            unchanging(
                Head(
                    n_passes=127,
                    features_optional=0x01,
                    optional_blocks=(b"".join(bytes([i, 10]) for i in range(127)),),
                )
            ),
        ),
        Valid(
            "valid-head-wide",
            "WIDE: a grid axis of 2^16 samples",
            ("HED-10",),
            packed(Head(features_required=WIDE, in_dims=1, grid=(65536,))),
            coords=points(1),
        ),
        Valid(
            "valid-head-wide-seed",
            "WIDE for a seed of 64 bits alone",
            ("RNG-1", "HED-10"),
            base(
                Head(features_required=WIDE | SEEDED, seed=0xA4093822299F31D0, records=(Layer(prior=True),)),
                prior=(128 << 8, 32),
            ),
        ),
        Valid(
            "valid-head-no-grid",
            "no native grid: values at given coordinates",
            ("HED-2", "DEC-3"),
            packed(Head(in_dims=3, grid=(0, 0, 0), modality=5, values=2)),
            coords=points(3),
        ),
        Valid(
            "valid-head-size",
            "another output grid: --size names the last axis first",
            ("DEC-4",),
            packed(SIREN),
            size=(2, 5),
        ),
        Valid(
            "valid-head-no-grid-size",
            "no native grid: values on a grid of the caller's",
            ("DEC-4",),
            packed(Head(in_dims=3, grid=(0, 0, 0), modality=5, values=2)),
            size=(2, 1, 3),
        ),
        Valid(
            "valid-head-grid-limit",
            "a native grid of exactly 4194304 samples at level 1, values at given coordinates",
            ("HED-3",),
            packed(Head(grid=(2048, 2048))),
            coords=points(2),
        ),
        Valid(
            "valid-head-8-dims",
            "8 coordinates, 255 values",
            ("6.1",),
            packed(Head(in_dims=8, out_channels=255, grid=(1,) * 8, modality=8, values=2)),
        ),
        Valid(
            "valid-head-255-records",
            "255 records at level 5, two kinds by turns",
            ("6.4", "HED-8"),
            base(
                Head(level=5, records=(Layer("TANH", 1), Layer("RELU", 1)) * 127 + (Layer(),), grid=(2, 1)),
                model=Short("LAPLACE", 20),
            ),
        ),
    ]
    modalities = {
        "image": Head(modality=1, out_channels=3, records=HIDDEN),
        "video": Head(modality=2, in_dims=3, grid=(2, 2, 3), records=HIDDEN),
        "audio": Head(modality=3, in_dims=1, grid=(9,), values=1, records=HIDDEN),
        "volume": Head(modality=4, in_dims=3, grid=(2, 3, 2), records=HIDDEN),
        "sdf": Head(modality=5, in_dims=3, grid=(2, 2, 2), values=2, records=HIDDEN),
        "occupancy": Head(modality=6, in_dims=3, grid=(2, 2, 2), records=(*HIDDEN[:1], Layer("SIGMOID"))),
        "radiance": Head(modality=7, in_dims=5, out_channels=4, grid=(0,) * 5, values=2, records=HIDDEN),
        "field": Head(modality=8, in_dims=4, grid=(1, 2, 3, 2), values=2, records=HIDDEN),
    }
    for name, head in modalities.items():
        out.append(
            Valid(
                f"valid-modality-{name}",
                f"modality {name.upper()}",
                ("6.1", "16.1"),
                base(head),
                coords=None if all(head.grid) else points(head.in_dims),
            )
        )
    coords = {"corners": CORNERS, "proportional": CORNERS_PROPORTIONAL, "unit": CENTRES_UNIT, "box": BOX}
    for name, number in coords.items():
        box = ((-2.5, 0.1), (1.0, 7.3)) if number == BOX else ((), ())
        head = Head(coords=number, grid=(4, 6), records=HIDDEN, box=box, values=2 if number == BOX else 0)
        out.append(Valid(f"valid-coords-{name}", f"coordinate convention {number}", ("16.1",), base(head)))
    out.append(
        Valid(
            "valid-coords-proportional-size",
            "the spacing of coordinate convention 2 follows the first axis of the output grid",
            ("16.1", "DEC-4"),
            base(Head(coords=CORNERS_PROPORTIONAL, grid=(9, 4), records=HIDDEN)),
            size=(3, 7),
        )
    )
    out.append(
        Valid(
            "valid-coords-one-sample",
            "an axis of one sample with coordinates at the corners",
            ("16.1",),
            base(Head(coords=CORNERS, grid=(1, 3))),
        )
    )
    return out


def records() -> list[Valid]:
    """Layer kinds and input encodings."""
    out = []
    for kind in (kind for kind in KINDS if kind not in {"GABOR", *LATTICE_FILTERS}):  # these are no such layers
        omega = 2.5 if kind in WITH_OMEGA else 1
        head = Head(records=(Layer(kind, 5, omega=omega), Layer(kind, omega=omega)), grid=(3, 4), values=2)
        out.append(Valid(f"valid-kind-{kind.lower()}", f"layers of kind {kind}", ("6.4", "16.3"), base(head)))
    encodings = {
        "fourier": (Fourier(3), "the input, then sines and cosines of 3 octaves"),
        "fourier-bare": (Fourier(4, include_input=False), "the input is left out"),
        "fourier-pi": (Fourier(2, base=3, times_pi=True), "frequencies 3^j times pi"),
        "fourier-base": (Fourier(5, base=1.5), "a base as binary32"),
        "fourier-base-below-1": (Fourier(3, base=0.75), "a base below 1"),
        "fourier-32": (Fourier(32, base=1.25, include_input=False), "32 octaves"),
    }
    for name, (encoding, title) in encodings.items():
        head = Head(records=(encoding, Layer("SINE", 3), Layer()))
        out.append(Valid(f"valid-encoding-{name}", title, ("6.4", "16.2"), base(head)))
    for seed, name in ((1, "seeded"), (0xFFFFFFFF, "seeded-3d")):
        in_dims = 2 if name == "seeded" else 3
        head = Head(
            records=(FourierSeeded(5), Layer("RELU", 4), Layer()),
            features_required=SEEDED,
            seed=seed,
            in_dims=in_dims,
            grid=(3,) * in_dims,
            modality=8,
        )
        out.append(
            Valid(f"valid-encoding-{name}", f"seeded Fourier features in {in_dims} dimensions", ("RNG-6",), base(head))
        )
    ends: dict[str, tuple[Record, ...]] = {
        "omega-most": (Layer("SINE", 3, omega=MOST_FLOAT), Layer("GAUSSIAN", omega=MOST_FLOAT)),
        "omega-least": (Layer("SINE", 3, omega=LEAST_FLOAT), Layer("GAUSSIAN", omega=LEAST_FLOAT)),
        "base-most": (Fourier(2, base=MOST_FLOAT, times_pi=True), Layer()),
        "base-least": (Fourier(32, base=LEAST_FLOAT), Layer()),
        "base-frequency": (Fourier(9, base=255), Layer()),
        "base-4": (Fourier(32, base=4), Layer()),
        "scale-most": (FourierSeeded(3, MOST_FLOAT), Layer()),
        "scale-least": (FourierSeeded(3, LEAST_FLOAT), Layer()),
    }
    for name, chosen in ends.items():
        clauses = ("6.4", "HED-12") if name.startswith("base") else ("6.4",)
        spread = 0 if name.startswith("omega") else 12
        file = base(Head(records=chosen, features_required=SEEDED if name.startswith("scale") else 0), spread)
        title = f"{name.replace('-', ' ')}: the field at the origin"
        out.append(Valid(f"valid-record-{name}", title, clauses, file, coords=((0.0, 0.0),)))
    out += [
        Valid(
            "valid-record-repeat-255",
            "a record of 255 layers at level 5",
            ("HED-7", "HED-8"),
            base(
                Head(level=5, records=(Layer("TANH", 1, repeat=255), Layer()), grid=(2, 1)), model=Short("LAPLACE", 20)
            ),
        ),
        Valid(
            "valid-record-repeat",
            "a record of three layers",
            ("6.4", "6.7"),
            base(Head(records=(Layer("SINE", 3, repeat=3, omega=2), Layer()))),
        ),
        Valid(
            "valid-record-not-equal",
            "records that differ in omega, width, bias or kind alone stay apart",
            ("HED-7",),
            base(
                Head(
                    records=(
                        Layer("SINE", 3, omega=2),
                        Layer("SINE", 3, omega=3),
                        Layer("SINE", 4, omega=3),
                        Layer("SINE", 4, omega=3, bias=False),
                        Layer("GAUSSIAN", 4, omega=3, bias=False),
                        Layer(),
                    )
                )
            ),
        ),
        Valid(
            "valid-record-equal-last",
            "the last record may equal the one before it",
            ("HED-7",),
            base(Head(records=(Layer("TANH", 1), Layer("TANH")))),
        ),
        Valid(
            "valid-record-omega",
            "omega 255 as an integer, 256 and 0.1 as binary32",
            ("6.4",),
            base(
                Head(
                    records=(
                        Layer("SINE", 3, omega=255),
                        Layer("SINE", 3, omega=256),
                        Layer("GAUSSIAN", 3, omega=0.1),
                        Layer("SINE", omega=1),
                    )
                ),
                step=step_code(-12),
            ),
        ),
    ]
    return out


def codings() -> list[Valid]:
    """Ways to write the values."""
    wide = Head(records=(Layer("SINE", 40, omega=2), Layer()), grid=(2, 2))
    lanes = {6: "64", 7: "128", 12: "4096"}
    coin = Head(
        records=(Layer("SINE", 28, repeat=10, omega=30), Layer()), out_channels=3, grid=(2, 2), level=1, coords=2
    )
    coin = replace(coin, level=2)
    zeros = tuple(Entry(values=(0,) * t.size, model=Zero(), step=SHORT_STEPS.start + 40) for t in coin.tensors())
    out = [
        Valid(
            "valid-rans-lowest",
            "symbols -R alone leave the state at 0: a stream of four zero bytes",
            ("ENT-5",),
            with_entry(with_entry(base(TEXT_HEAD, model=Long()), 0, values=(-8, -8)), 1, values=(-8,)),
        ),
        Valid("valid-rans-one-lane", "rANS with one lane", ("ENT-4", "ENT-5"), base(wide)),
        Valid(
            "valid-coin-zero",
            "a COIN network of 10 x 28 whose integers are all 0",
            ("7.3",),
            File(coin, (Pass(zeros),)),
        ),
        Valid(
            "valid-rans-no-symbols-lanes",
            "64 lanes without a symbol: every state is 2^16",
            ("ENT-6",),
            base(TEXT_HEAD, log2_lanes=6, model=Zero(), spread=0),
        ),
        Valid(
            "valid-rans-lanes-raw",
            "binary32 weights with 64 lanes: every run starts in lane 0",
            ("10.4", "10.5"),
            base(Head(records=(Layer("SINE", 23, tool=RAW, omega=2), SINGLE)), log2_lanes=6),
        ),
        Valid(
            "valid-zlib-stored",
            "zlib, one stored block",
            ("CMP-1",),
            File(wide, (Pass(entries(wide), ZLIB, deflate="stored"),)),
        ),
        Valid(
            "valid-zlib-padding",
            "zlib of packed bytes whose last has padding bits",
            ("CMP-1", "11"),
            with_entry(packed(TEXT_HEAD, coding=ZLIB), 1, width=13),
        ),
        Valid("valid-zlib-fixed", "zlib, fixed Huffman codes", ("CMP-1",), base(wide, coding=ZLIB)),
        Valid(
            "valid-zlib-dynamic",
            "zlib, dynamic Huffman codes and matches",
            ("CMP-1",),
            File(FROZEN, (Pass(FROZEN_ENTRIES, ZLIB, body_hex=FROZEN_ZLIB),)),
        ),
    ]
    for log2_lanes, name in lanes.items():
        out.append(
            Valid(
                f"valid-rans-{name}-lanes",
                f"rANS with {name} lanes",
                ("ENT-6",),
                base(wide, 200, log2_lanes=log2_lanes, step=step_code(-9)),
            )
        )
    for name, coding, frozen in (("brotli", BROTLI, FROZEN_BROTLI), ("zstandard", ZSTANDARD, FROZEN_ZSTANDARD)):
        out.append(
            Valid(
                f"valid-main-{name}",
                f"profile MAIN: coding {name.upper()}",
                ("PAS-1", "CMP-1"),
                File(replace(FROZEN, profile=2), (Pass(FROZEN_ENTRIES, coding, body_hex=frozen),)),
                optional=True,
            )
        )
    data = packed_bytes(FROZEN, FROZEN_ENTRIES)
    stored = {
        "zstandard-no-size": (ZSTANDARD, zstandard_raw(data), "a Zstandard frame that does not say its size"),
        "zstandard-window": (ZSTANDARD, zstandard_raw(data, window=WINDOW_8_MIB), "a Zstandard window of 8 MiB"),
        "brotli-stored": (BROTLI, brotli_stored(data), "a Brotli stream that is not compressed"),
    }
    for name, (coding, body, title) in stored.items():
        file = File(replace(FROZEN, profile=2), (Pass(FROZEN_ENTRIES, coding, body_hex=body.hex()),))
        out.append(Valid(f"valid-main-{name}", f"profile MAIN: {title}", ("CMP-1",), file, optional=True))
    for name, size_field, title in (
        ("empty", None, "a Zstandard frame of nothing that does not say its size"),
        ("empty-size", bytes(8), "a Zstandard frame of nothing that says its size"),
    ):
        file = nothing_in_zstandard(zstandard_raw(b"", size_field))
        out.append(Valid(f"valid-main-zstandard-{name}", f"profile MAIN: {title}", ("CMP-1",), file, optional=True))
    out.append(
        Valid("valid-main-rans", "profile MAIN with a coding of CORE", ("PAS-1",), base(Head(profile=2)), optional=True)
    )
    return out


def nothing_in_zstandard(body: bytes) -> File:
    """A file whose second pass changes nothing, with this body."""
    head = replace(TEXT_HEAD, profile=2, n_passes=2)
    nothing = Pass(tuple(Entry() for _ in head.tensors()), ZSTANDARD, body_hex=body.hex())
    return File(head, (*packed(head).passes, nothing))


# One matrix of 2 x 96 values that compress well; the compressed bytes are frozen, for no encoder promises its bytes.
FROZEN = Head(records=(Layer("SINE", 96, bias=False), Layer(bias=False)), grid=(2, 2))
FROZEN_ENTRIES = (
    Entry(values=numbers(192, 3), step=step_code(-3), width=8),
    Entry(values=numbers(96, 2, 1), step=step_code(-5), width=8),
)
FROZEN_ZLIB = (
    "78da154f090e002008e2f8ff93c360d5324120be3b32144f801c8778349f4107d20379bec2ce534ab0e22b7e797ecf05"
    "d15edf0cec4abd44982aa8f75031e12ab40601d7d3d1eb3c3703f44853ab71ae4b475d894b545fbb0dd7bf26a83e97a2"
    "ece26082ed262c290a5762565399f81a178cb0815d8d327233f6a93a9653467873e83737ddfa0302b47612"
)
FROZEN_BROTLI = (
    "1b1f01f80776c060dd2d2509721142adf7db387ea49462cdf52a172593fdfe5159a034f4abcebaf5bd68aa1bb58e0791"
    "8de56caa173d13962d757fc9ce7c230929619d6bcec99dab538a4a9bbb65d515cf94769e228340fcc94d307f64d9b923"
    "21fe1c3db9222717d64d8c9d84c38f8eaf2b013b74"
)
FROZEN_ZSTANDARD = (
    "28b52ffd642000e5030006121e09f039f2ff7f90a594321a001a001a00a3ebc8f162ecd6de8b0f6ad70494f082310b91"
    "f704a8514e5a26e1b8040ce034bcd46b39204106558819480539819e51369c625a6acf3a95daf1f84060b8bdc308c5f8"
    "966a7b7802872ad5bd670145abe42514cdc5ed7749c9d129322a0542a5e2aa1d034a952008009799b9a2"
)


def packed_bytes(head: Head, rows: tuple[Entry, ...]) -> bytes:
    """The packed bytes of one pass, as another coding compresses them."""
    built = build(File(head, (Pass(rows, PACKED),)))
    return built.data[built.marks["PASS0.body"].offset : built.marks["PASS0.crc32"].offset]


def models() -> list[Valid]:
    """Model forms and their parameters, under values that use the whole alphabet."""
    head = Head(records=(Layer(width=12), Layer(bias=False)), grid=(2, 3), values=2)
    step = step_code(-8)
    shorts = {
        "laplace": (Short("LAPLACE", 20), 30),
        "gauss": (Short("GAUSS", 30), 30),
        "flat": (Short("FLAT", 24), 30),
        "heavy": (Short("HEAVY", 16), 30),
        "laplace-low-bits": (Short("LAPLACE", 45), 300),
        "gauss-low-bits": (Short("GAUSS", 53), 200),
        "flat-low-bits": (Short("FLAT", 45), 200),
        "flat-scale-0": (Short("FLAT", 0), 2),
        "flat-scale-39": (Short("FLAT", 39), 300),
        "flat-14-bits": (Short("FLAT", 151), 300000),
        "heavy-low-bits": (Short("HEAVY", 32), 100),
        "scale-0": (Short("LAPLACE", 0), 1),
        "gauss-scale-0": (Short("GAUSS", 0), 2),
        "gauss-scale-39": (Short("GAUSS", 39), 200),
        "laplace-scale-31": (Short("LAPLACE", 31), 400),
        "heavy-scale-31": (Short("HEAVY", 31), 400),
        "laplace-14-bits": (Short("LAPLACE", 143), 300000),
        "gauss-14-bits": (Short("GAUSS", 151), 300000),
    }
    longs = {
        "plain": (Long(8, 0, 150), 8),
        "p0": (Long(8, 200, 140), 8),
        "p0-255": (Long(3, 255, 120), 3),
        "heavy": (Long(40, 0, 150, 100, 1), 40),
        "change": (Long(40, 0, 130, 120, 0), 40),
        "low-bits": (Long(6, 30, 130, 0, 0, 3), 45),
        "escape": (Long(2, 10, 150, 0, 0, 0, 1), 60),
        "all": (Long(9, 60, 150, 90, 1, 5, 1), 3000),
        "flat": (Long(1023, 0, 0), 1023),
        "steep": (Long(1023, 0, 168, 168, 1), 1023),
        "low-bits-14": (Long(4, 0, 100, 0, 0, 14, 0), 60000),
    }
    forms: dict[str, tuple[Model, int]] = {f"short-{k}": v for k, v in shorts.items()}
    forms |= {f"long-{k}": v for k, v in longs.items()}
    out = [
        Valid(
            f"valid-model-{name}",
            f"model form {name}",
            ("10.2",),
            base(head, spread, model=model, step=step_code(-spread.bit_length())),
        )
        for name, (model, spread) in forms.items()
    ]
    first, second, third = entries(head, step=step)
    zero = replace(second, model=Zero(), values=(0,) * 12)
    out += [
        Valid(
            "valid-model-same",
            "form SAME repeats the last model given, across a form ZERO",
            ("TAB-3",),
            File(head, (Pass((first, zero, replace(third, model=Same()))),)),
        ),
        Valid(
            "valid-model-zero-everywhere",
            "form ZERO for every tensor: a stream of one state 0",
            ("ENT-4", "ENT-5"),
            base(TEXT_HEAD, spread=0, model=Zero()),
        ),
        Valid(
            "valid-model-one-symbol",
            "long form with R = 0: symbols that cost nothing",
            ("10.2",),
            base(TEXT_HEAD, spread=0, model=Long(0, 0, 0)),
        ),
        Valid(
            "valid-escape-20",
            "escapes with prefixes 0 to 20, up to e = 2^21 - 2",
            ("10.1", "10.5"),
            File(
                Head(records=(Layer(bias=False),), in_dims=1, out_channels=43, grid=(2,), modality=3, values=2),
                (Pass((Entry(values=ESCAPES, model=Long(1, 0, 100, 0, 0, 0, 1), step=step_code(-10)),)),),
            ),
        ),
        Valid(
            "valid-escape-largest",
            "values 2^31 - 1 and 1 - 2^31 by escapes above 14 low bits",
            ("ENT-1",),
            with_entry(
                base(TEXT_HEAD),
                0,
                values=(2**31 - 1, 1 - 2**31),
                model=Long(1, 0, 100, 0, 0, 14, 1),
                step=step_code(-31),
            ),
        ),
    ]
    return out


ESCAPES = (0, *(s * 2**p for p in range(20) for s in (1, -1)), 2**21 - 1, 1 - 2**21)


def steps_and_priors() -> list[Valid]:
    """Step codes, row steps, priors."""
    rows = Head(records=(Layer("SINE", 3, row_steps=True), Layer(row_steps=True)))
    seeded = Head(records=(Layer("SINE", 3, prior=True), Layer(prior=True)), features_required=SEEDED, seed=2024)
    both = Head(records=(Layer("SINE", 3, prior=True, row_steps=True), Layer(prior=True)), features_required=SEEDED)
    short, long = (200 << 8, 33), (0xABCD, 32)

    def row_steps(file: File, *numbers: tuple[int, ...]) -> File:
        for i, differences in enumerate(numbers):
            file = with_entry(file, 2 * i, row_steps=differences)
        return file

    out = [
        Valid("valid-rows-rans", "row steps under rANS", ("9.1", "7.4"), row_steps(base(rows), (0, -3, 9), (2,))),
        Valid("valid-rows-packed", "row steps, packed", ("9.1", "11"), row_steps(packed(rows), (0, -3, 9), (2,))),
        Valid(
            "valid-rows-lanes",
            "row steps with 64 lanes",
            ("7.4",),
            row_steps(base(rows, log2_lanes=6), (8, -8, 0), (-1,)),
        ),
        Valid(
            "valid-rows-absent",
            "row steps allowed, and used by one tensor of two",
            ("7.3",),
            row_steps(base(rows), (1, 2, 3)),
        ),
        Valid(
            "valid-rows-same",
            "the model of row differences is repeated by form SAME",
            ("TAB-3",),
            with_entry(row_steps(base(rows), (1, 2, 3)), 0, model=Same()),
        ),
        Valid(
            "valid-rows-zero",
            "row differences by form ZERO",
            ("7.3",),
            with_entry(row_steps(base(rows), (0, 0, 0)), 0, row_model=Zero()),
        ),
        Valid(
            "valid-prior-short",
            "priors in short form",
            ("9.7", "RNG-2", "RNG-3", "RNG-4", "RNG-5", "WGT-1", "CNV-2"),
            base(seeded, prior=short),
        ),
        Valid("valid-prior-long", "priors in long form", ("9.7", "TAB-2"), base(seeded, prior=long)),
        Valid("valid-prior-packed", "priors with packed values", ("9.7",), packed(seeded, prior=short)),
        Valid(
            "valid-prior-absent",
            "a prior for the first tensor alone",
            ("7.3",),
            with_entry(base(seeded), 0, prior=short),
        ),
        Valid("valid-prior-edge-shift", "E = 38 and m = 2^15", ("9.7",), base(seeded, prior=(1 << 15, 38))),
        Valid(
            "valid-prior-packed-least",
            "a packed value of -2^31, and a prior that brings the integer into range",
            ("ENT-1", "WGT-4", "9.7"),
            packed_least(),
        ),
        Valid("valid-prior-large", "E = 8: prior of magnitude near 2^31", ("9.7", "WGT-4"), PRIOR_LARGE),
        Valid(
            "valid-prior-rows",
            "prior and row steps of one tensor",
            ("7.3",),
            row_steps(base(both, prior=short), (4, -4, 1)),
        ),
    ]
    for name, code in (("first", SHORT_STEPS.start), ("last", SHORT_STEPS.stop - 1)):
        out.append(
            Valid(
                f"valid-step-short-{name}", f"step code {code}, short form", ("TAB-1",), packed(TEXT_HEAD, 1, step=code)
            )
        )
    for name, code in (
        ("0", 0),
        ("1023", 1023),
        ("below-short", SHORT_STEPS.start - 1),
        ("above-short", SHORT_STEPS.stop),
    ):
        out.append(
            Valid(
                f"valid-step-long-{name}", f"step code {code}, long form", ("TAB-1",), packed(TEXT_HEAD, 1, step=code)
            )
        )
    out.append(
        Valid(
            "valid-step-rounding",
            "integers above 2^24: both roundings of a weight to binary32, ties included",
            ("9.1", "CNV-4"),
            with_entry(
                packed(Head(in_dims=8, grid=(1,) * 8, modality=8, values=2)),
                0,
                values=(2**24 + 1, 2**24 + 3, -(2**24) - 1, 2**25 + 2, 2**31 - 64, 2**30 + 33, 123456789, -987654321),
                step=step_code(-30) + 3,
            ),
        )
    )
    return out


PRIOR_LARGE = base(
    Head(records=(Layer(prior=True, bias=False),), features_required=SEEDED, seed=5),
    prior=(1 << 15, 9),
    model=Long(1, 0, 100, 0, 0, 14, 1),
    step=step_code(-29),
)


def packed_least() -> File:
    """-2^31 where the prior is positive, 0 elsewhere."""
    head = replace(PRIOR_LARGE.head, out_channels=2)
    values = tuple(-(2**31) if prior(n, 0, head.seed, 1 << 15, 9) > 0 else 0 for n in range(4))
    return with_entry(packed(head, prior=(1 << 15, 9), step=step_code(-29)), 0, values=values)


def passes() -> list[Valid]:
    """Progressive files."""
    two = replace(SIREN, n_passes=2)
    three = replace(SIREN, n_passes=3, records=(Layer("SINE", 4, omega=3, row_steps=True), Layer(tool=RAW)))
    first = Pass(entries(two))

    def refined(head: Head, n: int, salt: int, coding: int = RANS, log2_lanes: int = 0) -> Pass:
        rows = tuple(
            Entry() if t.layer.tool == RAW else Entry(values=numbers(t.size, 1 << (n - 1), salt + t.ordinal), refine=n)
            for t in head.tensors()
        )
        return Pass(rows, coding, log2_lanes)

    base_three = with_entry(File(three, (Pass(entries(three)),)), 0, row_steps=(0, 2, -2, 5)).passes[0]
    second = refined(three, 3, 50, PACKED)
    third = refined(three, 2, 90, ZLIB)
    progressive = File(three, (base_three, second, third))
    keep = Pass(tuple(Entry() for _ in two.tensors()))
    some = Pass((Entry(values=numbers(8, 4, 7), refine=4), Entry(), Entry(), Entry(values=(3,), refine=1)))
    meta = Ancillary("META", META_TYPE, META)
    return [
        Valid(
            "valid-pass-2",
            "base and one refinement",
            ("WGT-2", "DEC-5"),
            File(two, (first, refined(two, 2, 30))),
            each_pass=True,
        ),
        Valid(
            "valid-pass-3",
            "three passes of three codings, row steps, a tensor that stays raw",
            ("WGT-2", "DEC-5", "17"),
            progressive,
            each_pass=True,
            prefixes=True,
        ),
        Valid(
            "valid-pass-ancillary",
            "two passes with META between them and HASH at the end, cut everywhere",
            ("DEC-5", "17"),
            File(
                two,
                (first, refined(two, 1, 60)),
                (meta, Ancillary("HASH", HASH_TYPE, hash_passes=(0, 1))),
                ("HEAD", "PASS0", "META", "PASS1", "HASH"),
            ),
            each_pass=True,
            prefixes=True,
        ),
        Valid(
            "valid-hash-two",
            "HASH of two passes before both",
            ("ANC-1", "DEC-5"),
            File(
                two,
                (first, refined(two, 1, 61)),
                (Ancillary("HASH", HASH_TYPE, hash_passes=(0, 1)),),
                ("HEAD", "HASH", "PASS0", "PASS1"),
            ),
            each_pass=True,
        ),
        Valid(
            "valid-pass-some",
            "a refinement of some tensors, by different numbers of bits",
            ("PAS-5",),
            File(two, (first, some)),
            each_pass=True,
        ),
        Valid("valid-pass-nothing", "a refinement of no tensor", ("PAS-5",), File(two, (first, keep))),
        Valid(
            "valid-pass-nothing-packed",
            "a refinement of no tensor, packed: no body",
            ("PAS-5", "11"),
            File(two, (first, replace(keep, coding=PACKED))),
        ),
        Valid(
            "valid-pass-nothing-zlib",
            "a refinement of no tensor, zlib of no bytes",
            ("CMP-1",),
            File(two, (first, replace(keep, coding=ZLIB))),
        ),
        Valid(
            "valid-pass-255",
            "255 passes, all but the first without a change",
            ("6.1", "PAS-4"),
            File(replace(two, n_passes=255), (first, *(replace(keep, coding=PACKED),) * 254)),
        ),
        Valid(
            "valid-pass-no-table",
            "raw tensors only: a later pass without a table",
            ("7.2",),
            File(
                Head(records=(HALF,), n_passes=2),
                (Pass(entries(Head(records=(HALF,))), PACKED), Pass((Entry(), Entry()), PACKED)),
            ),
        ),
        Valid(
            "valid-pass-8-bits",
            "8 bits gained; a step code that reaches 0",
            ("WGT-2", "TAB-4"),
            EIGHT_BITS,
            each_pass=True,
        ),
        Valid(
            "valid-pass-row-steps",
            "the step code falls below 0 and those of the rows do not",
            ("TAB-4", "WGT-2"),
            ROWS_ABOVE,
            each_pass=True,
        ),
        Valid(
            "valid-pass-lanes",
            "a refinement with 64 lanes",
            ("ENT-6",),
            File(two, (first, refined(two, 5, 77, RANS, 6))),
        ),
        Valid(
            "valid-pass-zero",
            "a refinement by form ZERO: every integer is shifted",
            ("WGT-2",),
            File(two, (first, Pass(tuple(Entry(refine=2, model=Zero()) for _ in range(4))))),
        ),
    ]


ROWS_ABOVE = File(
    Head(records=(Layer(row_steps=True, bias=False),), out_channels=3, n_passes=2),
    (
        Pass((Entry(values=numbers(6, 9), step=10, row_steps=(6, 10, 900)),)),
        Pass((Entry(values=numbers(6, 2, 1), refine=2),)),
    ),
)
EIGHT_BITS = File(
    Head(n_passes=2),
    (
        Pass((Entry(values=(5, -6), step=64), Entry(values=(1,), step=step_code(-2))), PACKED),
        Pass((Entry(values=(-100, 127), refine=8), Entry(values=(-128,), refine=8)), PACKED),
    ),
)


def ancillary() -> list[Valid]:
    """Chunks that a decoder may skip."""

    def after(label: str, chunk_type: int, payload: bytes = b"", **fields: Any) -> File:
        chunk = Ancillary(label, chunk_type, payload, **fields)
        return replace(packed(TEXT_HEAD), ancillary=(chunk,), order=("HEAD", "PASS0", label))

    def before(label: str, chunk_type: int, payload: bytes = b"", **fields: Any) -> File:
        return replace(after(label, chunk_type, payload, **fields), order=("HEAD", label, "PASS0"))

    return [
        Valid("valid-meta", "META with two pairs", ("12.2",), before("META", META_TYPE, META)),
        Valid("valid-meta-empty", "META without a pair", ("12.2",), before("META", META_TYPE)),
        Valid("valid-meta-two", "two META chunks", ("5.4",), TWO_META),
        Valid(
            "valid-meta-broken",
            "a META that ends inside a value is ignored",
            ("12",),
            before("META", META_TYPE, META[:-3]),
        ),
        Valid(
            "valid-meta-order",
            "a META whose keys do not ascend is ignored",
            ("12",),
            before("META", META_TYPE, b"\x01b\x00\x00\x01a\x00\x00"),
        ),
        Valid("valid-indx-places", "the place of one pass", ("12.1",), before("INDX", INDX_TYPE, places_of=("PASS0",))),
        Valid(
            "valid-indx-wrong",
            "an INDX that points nowhere is ignored",
            ("12",),
            before("INDX", INDX_TYPE, b"\x07" * 12),
        ),
        Valid(
            "valid-indx-broken",
            "an INDX that ends before its places is ignored",
            ("12",),
            before("INDX", INDX_TYPE, b"\x00" * 7),
        ),
        Valid(
            "valid-indx-ends-inside-length",
            "an INDX that ends inside a length is ignored",
            ("12",),
            before("INDX", INDX_TYPE, b"\x00" * 9 + b"\x02\x00"),
        ),
        Valid(
            "valid-indx-lies",
            "an INDX whose place is not that of the PASS chunk is ignored",
            ("12.1",),
            before("INDX", INDX_TYPE, b"\x00\x00\x00\x00\x00\x04\x00\x00\x00\x01\x1f"),
        ),
        *(
            Valid(
                f"valid-indx-length-bytes-{n}",
                f"the place of one pass, whose length has {n} bytes",
                ("12.1",),
                before("INDX", INDX_TYPE, places_of=("PASS0",), length_bytes=n),
            )
            for n in (2, 3, 4)
        ),
        *(
            Valid(
                f"valid-indx-length-bytes-{n}",
                f"an INDX whose lengths have {n} bytes is ignored",
                ("12.1",),
                before("INDX", INDX_TYPE, b"\x00" * 9 + bytes([n]) + b"\x0c\x00\x00\x00\x00"),
            )
            for n in (0, 5)
        ),
        Valid(
            "valid-indx-two-passes",
            "the places of two passes, cut everywhere",
            ("12.1", "17"),
            replace(
                EIGHT_BITS,
                ancillary=(Ancillary("INDX", INDX_TYPE, places_of=("PASS0", "PASS1")),),
                order=("HEAD", "INDX", "PASS0", "PASS1"),
            ),
            each_pass=True,
            prefixes=True,
        ),
        Valid(
            "valid-indx-directory",
            "a directory of two INDX chunks, as META stands between the passes",
            ("12.1",),
            replace(
                EIGHT_BITS,
                ancillary=(
                    Ancillary("INDX", INDX_TYPE, directory_of=("INDX0", "INDX1")),
                    Ancillary("INDX0", INDX_TYPE, places_of=("PASS0",)),
                    Ancillary("INDX1", INDX_TYPE, places_of=("PASS1",)),
                    Ancillary("META", META_TYPE, META),
                ),
                order=("HEAD", "INDX", "INDX0", "INDX1", "PASS0", "META", "PASS1"),
            ),
            each_pass=True,
        ),
        Valid("valid-hash", "HASH after the last pass", ("ANC-1",), after("HASH", HASH_TYPE, hash_passes=(0,))),
        Valid(
            "valid-hash-before",
            "HASH before the pass it names",
            ("ANC-1",),
            before("HASH", HASH_TYPE, hash_passes=(0,)),
        ),
        Valid("valid-hash-empty", "HASH without an entry", ("12.3",), after("HASH", HASH_TYPE)),
        Valid(
            "valid-hash-other-pass",
            "HASH of a pass that the file does not have",
            ("ANC-1",),
            after("HASH", HASH_TYPE, b"\x09" + bytes(32)),
        ),
        Valid(
            "valid-hash-broken",
            "a HASH that ends inside an entry is ignored",
            ("12",),
            after("HASH", HASH_TYPE, bytes(40)),
        ),
        Valid(
            "valid-hash-order",
            "a HASH whose passes do not ascend is ignored",
            ("12",),
            after("HASH", HASH_TYPE, bytes(66)),
        ),
        Valid("valid-unknown-ancillary", "an unknown ancillary chunk", ("5.3",), before("X6", 0x86, b"anything")),
        Valid(
            "valid-unknown-safe", "an unknown ancillary chunk that is safe to copy, last", ("5.3",), after("X14", 0xAE)
        ),
        Valid(
            "valid-private-ancillary", "a private ancillary chunk of kind 2", ("CON-4",), before("X2", 0xC2, b"\x00")
        ),
        Valid(
            "valid-private-safe", "a private ancillary chunk of kind 4 without bit 5", ("CON-4",), before("X4", 0xC4)
        ),
    ]


TWO_META = replace(
    packed(TEXT_HEAD),
    ancillary=(Ancillary("META", META_TYPE, META), Ancillary("META2", META_TYPE, b"\x01k\x00\x00")),
    order=("HEAD", "META", "PASS0", "META2"),
)


def limits() -> list[Valid]:
    """Files at a limit."""
    wide = Head(records=(Layer("RELU", 4096, bias=False), Layer(bias=False)), in_dims=1, grid=(1,), modality=3)
    deep = Head(records=(Layer("TANH", 2, repeat=7), Layer()))
    full = replace(wide, in_dims=3, grid=(1, 1, 1), modality=8)  # 3 * 4096 + 4096 parameters
    return [
        Valid("valid-limit-file-bytes", "65536 bytes at level 1", ("CON-9",), full_file(65536)),
        Valid("valid-limit-layers", "8 layers at level 1", ("HED-8",), base(deep)),
        Valid(
            "valid-limit-width", "4096 values between two layers at level 1", ("HED-8",), base(wide, 0, model=Zero())
        ),
        Valid("valid-limit-parameters", "16384 parameters at level 1", ("HED-8",), base(full, 0, model=Zero())),
        Valid(
            "valid-limit-symbols-nothing",
            "exactly 2^24 symbols at level 2, all but the first pass without a change",
            ("TAB-5",),
            unchanged_file(128),
        ),
        Valid(
            "valid-limit-symbols-no-table",
            "exactly 2^24 symbols at level 2, raw tensors alone",
            ("TAB-5", "7.2"),
            unchanged_raw_file(128),
        ),
    ]


def full_file(size: int) -> File:
    """A file of so many bytes, filled by an unknown ancillary chunk."""
    file = replace(packed(TEXT_HEAD), order=("HEAD", "X6", "PASS0"), ancillary=(Ancillary("X6", 0x86),))
    filling = bytes(size - len(build(file).data))
    return replace(file, ancillary=(Ancillary("X6", 0x86, filling),))


BROAD = Head(  # 131072 parameters at level 2, which has 128 times as many symbols
    records=(Layer("RELU", 8192, bias=False), Layer(bias=False)),
    level=2,
    modality=8,
    in_dims=1,
    out_channels=15,
    values=2,
    grid=(1,),
)


def unchanging(head: Head, coding: int = RANS, **fields: Any) -> File:
    """All passes of a head, none but the first with a change."""
    first = Pass(entries(head, **fields), coding)
    return File(head, (first, *(Pass(tuple(Entry() for _ in head.tensors()), PACKED),) * (head.n_passes - 1)))


def unchanged_file(n_passes: int) -> File:
    """131072 integers that are 0, and passes that leave them."""
    return unchanging(replace(BROAD, n_passes=n_passes), spread=0, model=Zero())


def unchanged_raw_file(n_passes: int) -> File:
    """131072 weights as binary16, and passes that have nothing to say."""
    records = (Layer("RELU", 8192, bias=False, tool=RAW, half=True), Layer(bias=False, tool=RAW, half=True))
    head = replace(BROAD, records=records, n_passes=n_passes)
    file = unchanging(head, ZLIB)
    return with_pass(file, 0, entries=tuple(Entry(values=(0,) * t.size) for t in head.tensors()))


def example() -> list[Valid]:
    """The file of Annex A."""
    head = Head(
        records=(Layer("SINE", 3, omega=5, prior=True), Layer()),
        features_required=SEEDED,
        modality=3,
        in_dims=1,
        values=1,
        grid=(8,),
        seed=26,
    )
    m, exponent = (128 + 32) << 8, 25 + 8
    first = tuple(acc - prior(n, 0, head.seed, m, exponent) for n, acc in enumerate((34, -30, 8)))
    rows = (
        Entry(first, 768, prior=(m, exponent), model=Short("FLAT", 16)),
        Entry((0, 0, 0), 768, model=Zero()),
        Entry((40, -25, 18), 760, model=Short("FLAT", 45)),
        Entry((1,), 760, model=Short("FLAT", 6)),
    )
    return [Valid("valid-example-wave", "the example of Annex A", ("7.3", "9.7"), File(head, (Pass(rows),)))]


def real() -> list[Valid]:
    """Files shaped like real ones: an image and a sound, with a grid of output values."""
    image = Head(
        records=(Fourier(4, times_pi=True), Layer("SINE", 16, repeat=2, omega=10, prior=True), Layer()),
        features_required=SEEDED,
        seed=77,
        out_channels=3,
        grid=(12, 16),
        n_passes=2,
    )
    first = entries(image, 6, step=step_code(-6), model=Short("GAUSS", 20))
    first = tuple(
        replace(e, prior=(180 << 8, 34)) if t.layer.prior else e for e, t in zip(first, image.tensors(), strict=True)
    )
    second = tuple(
        Entry(values=numbers(t.size, 8, 5 + t.ordinal), refine=4, model=Short("FLAT", 25)) for t in image.tensors()
    )
    sound = Head(
        records=(Layer("SINE", 24, omega=30), Layer("GAUSSIAN", 12, omega=2), Layer("TANH")),
        modality=3,
        in_dims=1,
        values=1,
        grid=(200,),
    )
    return [
        Valid(
            "valid-real-image",
            "an image: encoding, prior, two passes",
            ("16", "VAL-1"),
            File(image, (Pass(first), Pass(second))),
            each_pass=True,
        ),
        Valid(
            "valid-real-audio",
            "a sound of 200 samples",
            ("16", "VAL-1"),
            base(sound, 20, step=step_code(-6), model=Short("FLAT", 24)),
        ),
    ]


def valid() -> list[Valid]:
    """Every valid vector in the order of the ladder."""
    groups = (minimal, example, heads, records, codings, models, steps_and_priors, passes, ancillary, limits, real)
    return [recipe for group in groups for recipe in group()]
