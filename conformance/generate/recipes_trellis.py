"""Recipes of the vectors of tool 2: trellis-coded values (clause 9.4), valid ones and those with one fault."""

from dataclasses import replace
from typing import Any

from conformance.generate.build import step_code
from conformance.generate.describe import (
    PACKED,
    RANS,
    RAW,
    SCALAR,
    SEEDED,
    SPARSE,
    SPARSE_CODE,
    TRELLIS,
    TRELLIS_CODE,
    ZLIB,
    Entry,
    File,
    Head,
    Layer,
    Long,
    Model,
    Pass,
    Same,
    Short,
    Zero,
)
from conformance.generate.faults import Bits, Edit, Flip
from conformance.generate.recipe import Invalid, Valid, base, entry_for, numbers, packed, with_entry, with_pass
from conformance.generate.recipes_sparse import code_for

HIDDEN = Layer("SINE", 9, omega=3, tool=TRELLIS_CODE)
LAST = Layer(tool=TRELLIS_CODE)
NETWORK = Head(records=(HIDDEN, LAST), features_required=TRELLIS, out_channels=3, grid=(2, 3))
# One matrix (12, 8) and nothing else.
SINGLE = Head(
    records=(Layer(tool=TRELLIS_CODE, bias=False),),
    features_required=TRELLIS,
    in_dims=8,
    out_channels=12,
    grid=(1, 1, 2, 1, 1, 2, 1, 1),
    modality=8,
    values=2,
)
FOUR = replace(SINGLE, in_dims=4, out_channels=1, grid=(2, 1, 2, 1))
FINE = step_code(-31)
ESCAPES = Long(1, 0, 100, 0, 0, 14, 1)
EVERY_TRANSITION = "01000010011101011101101001"  # p of each value, so that every state meets both


def of_parities(parities: str) -> tuple[int, ...]:
    """Values of both signs with these lowest bits."""
    return tuple((int(p) + 2 * (i % 3)) * (-1) ** (i // 2) for i, p in enumerate(parities))


def models() -> list[Valid]:
    """Both tables of frequencies, p with and without low bits and escapes."""
    step = step_code(-8)
    chosen: dict[str, tuple[Model, int, str]] = {
        "laplace": (Short("LAPLACE", 20), 30, "TRE-1"),
        "gauss": (Short("GAUSS", 30), 30, "TRE-1"),
        "flat": (Short("FLAT", 24), 30, "TRE-1"),
        "heavy": (Short("HEAVY", 16), 30, "TRE-1"),
        "scale-0": (Short("LAPLACE", 0), 1, "TRE-1"),
        "escapes": (Short("LAPLACE", 2), 200, "9.4"),
        "flat-scale-0": (Short("FLAT", 0), 3, "9.4"),
        "laplace-1-bit": (Short("LAPLACE", 35), 150, "TRE-1"),
        "laplace-low-bits": (Short("LAPLACE", 60), 900, "TRE-1"),
        "gauss-low-bits": (Short("GAUSS", 53), 200, "TRE-1"),
        "flat-14-bits": (Short("FLAT", 151), 300000, "TRE-1"),
        "long": (Long(9, 0, 150), 9, "TRE-1"),
        "p0": (Long(8, 200, 140), 8, "TRE-1"),
        "p0-255": (Long(3, 255, 120), 3, "TRE-1"),
        "change": (Long(40, 0, 130, 120, 0), 40, "TRE-1"),
        "heavy-p0": (Long(40, 90, 150, 100, 1), 40, "TRE-1"),
        "r-1": (Long(1, 0, 160, 0, 0, 0, 0), 1, "TRE-1"),
        "r-0-low-bits": (Long(0, 0, 0, 0, 0, 7, 0), 60, "TRE-1"),
        "r-1023": (Long(1023, 0, 100), 1000, "TRE-1"),
        "even-escape": (Long(2, 10, 150, 0, 0, 0, 1), 30, "9.4"),
        "odd-escape": (Long(3, 0, 150, 0, 0, 0, 1), 30, "9.4"),
        "low-bits-escape": (Long(2, 60, 150, 90, 1, 2, 1), 300, "9.4"),
    }
    out = [
        Valid(
            f"valid-trellis-{name}",
            f"trellis under the model {name}",
            tuple(dict.fromkeys((clause, "9.4"))),
            base(SINGLE, spread, model=model, step=step),
        )
        for name, (model, spread, clause) in chosen.items()
    ]
    transitions = of_parities(EVERY_TRANSITION)
    walk = replace(SINGLE, in_dims=1, out_channels=len(transitions), grid=(2,))
    return [
        *out,
        Valid(
            "valid-trellis-transitions",
            "every state meets both values of p",
            ("9.4",),
            with_entry(base(walk, model=Short("LAPLACE", 16)), 0, values=transitions),
        ),
        Valid(
            "valid-trellis-r-0",
            "R = 0: two tables of one symbol",
            ("TRE-1",),
            base(SINGLE, 0, model=Long(0, 0, 0), step=step),
        ),
        Valid("valid-trellis-zero", "form ZERO in all tensors", ("9.4",), base(NETWORK, 0, model=Zero())),
        Valid(
            "valid-trellis-zero-one",
            "form ZERO for a matrix between others",
            ("9.4",),
            with_entry(base(NETWORK), 2, model=Zero(), values=(0,) * 27),
        ),
        Valid(
            "valid-trellis-same",
            "form SAME repeats a model of values coded by tool 1, and its p0",
            ("TAB-3", "TRE-1"),
            with_entry(after_scalar(Long(20, 120, 150)), 2, model=Same()),
        ),
        Valid(
            "valid-trellis-same-low-bits",
            "form SAME repeats a model with low bits",
            ("TAB-3", "TRE-1"),
            with_entry(after_scalar(Short("LAPLACE", 45)), 2, model=Same()),
        ),
        Valid(
            "valid-trellis-same-gaps",
            "form SAME repeats a model of gaps for values of a trellis",
            ("TAB-3", "TRE-1"),
            after_gaps(),
        ),
    ]


def after_scalar(model: Model) -> File:
    """A layer of tool 1 before one of tool 2."""
    head = replace(NETWORK, records=(replace(HIDDEN, tool=SCALAR), LAST))
    return with_entry(base(head), 1, model=model)


def after_gaps() -> File:
    """A sparse matrix without bias, its coefficients by form ZERO, before a layer of tool 2."""
    sparse = replace(HIDDEN, tool=SPARSE_CODE, bias=False)
    head = replace(NETWORK, records=(sparse, LAST), features_required=TRELLIS | SPARSE | SEEDED)
    first, *rest = head.tensors()
    code = replace(code_for(first), coefficients=((0,) * 3,) * 2, gap_model=Short("LAPLACE", 24))
    rows = [entry_for(t, 12, model=Same()) for t in rest]
    return File(head, (Pass((Entry(sparse=code, model=Zero()), *rows)),))


def layouts() -> list[Valid]:
    """Lanes, codings, tensors of one value, edges of the integers."""
    wide = replace(NETWORK, records=(replace(HIDDEN, width=130), LAST))
    lanes = {"64-lanes": 6, "128-lanes": 7, "4096-lanes": 12}
    out = [
        Valid(
            f"valid-trellis-{name}",
            f"a trellis of its own for each of {1 << log2_lanes} lanes",
            ("TRE-2",),
            base(wide, 40, log2_lanes=log2_lanes, model=Short("LAPLACE", 20), step=step_code(-9)),
        )
        for name, log2_lanes in lanes.items()
    ]
    lane_models: dict[str, tuple[Model, int]] = {
        "escapes": (Long(2, 10, 150, 0, 0, 0, 1), 40),
        "low-bits": (Short("GAUSS", 60), 400),
        "alphabet": (Long(1023, 10, 100, 0, 0, 0, 1), 300),
    }
    out += [
        Valid(
            f"valid-trellis-lanes-{name}",
            f"64 lanes, {name.replace('-', ' ')}",
            ("TRE-2", "9.4"),
            base(wide, spread, log2_lanes=6, model=model, step=step_code(-11)),
        )
        for name, (model, spread) in lane_models.items()
    ]
    one = replace(SINGLE, in_dims=1, out_channels=1, grid=(2,))
    least = with_entry(packed(FOUR, step=FINE), 0, values=(-1, 0, -(2**30), 0))
    largest = (1, 0, 2**30, 1 - 2**30)
    scalar = replace(HIDDEN, width=5, tool=SCALAR)
    mixed = replace(
        NETWORK,
        records=(
            scalar,
            replace(HIDDEN, width=6),
            replace(HIDDEN, width=4, tool=SPARSE_CODE),
            replace(HIDDEN, width=3, tool=RAW),
            replace(HIDDEN, width=7, repeat=2),
            Layer(),
        ),
        features_required=TRELLIS | SPARSE | SEEDED,
    )
    return [
        *out,
        Valid(
            "valid-trellis-one-value",
            "one value, whose state is 0",
            ("9.4",),
            with_entry(base(one), 0, values=(-5,)),
        ),
        Valid("valid-trellis-packed", "packed values k", ("9.4", "11"), packed(NETWORK, 40)),
        Valid("valid-trellis-packed-wide", "packed values of 23 bits", ("9.4", "11"), packed(NETWORK, 40, width=23)),
        Valid("valid-trellis-zlib", "zlib of values k", ("9.4", "CMP-1"), packed(NETWORK, 40, ZLIB)),
        Valid(
            "valid-trellis-largest",
            "k = 2^30 under quantiser 1: an integer of 2^31 - 1; 14 low bits and escapes",
            ("9.4", "WGT-4"),
            with_entry(base(FOUR, model=ESCAPES, step=FINE), 0, values=largest),
        ),
        Valid(
            "valid-trellis-largest-packed",
            "k = 2^30 under quantiser 1, packed",
            ("9.4", "WGT-4"),
            with_entry(packed(FOUR, step=FINE), 0, values=largest),
        ),
        Valid("valid-trellis-least", "k = -2^30 under quantiser 1, packed", ("9.4", "WGT-4"), least),
        Valid("valid-trellis-no-bias", "no bias", ("9.4", "6.7"), base(no_bias())),
        Valid(
            "valid-trellis-last",
            "tool 2 in the last record alone",
            ("HED-9", "HED-10"),
            base(replace(NETWORK, records=(replace(HIDDEN, tool=SCALAR), LAST))),
        ),
        Valid("valid-trellis-mixed", "layers of tools 1, 2, 3, 0, 2, 2 and 1", ("9.4",), mixed_file(mixed)),
    ]


def no_bias() -> Head:
    """Two matrices of tool 2."""
    return replace(NETWORK, records=(replace(HIDDEN, bias=False), replace(LAST, bias=False)))


def mixed_file(head: Head) -> File:
    """Irregular values in every tensor."""
    rows = (Entry(sparse=code_for(t), step=step_code(-9)) if t.is_sparse else entry_for(t, 12) for t in head.tensors())
    return File(head, (Pass(tuple(rows)),))


def tools() -> list[Valid]:
    """Row steps, priors, later passes."""
    rows = replace(NETWORK, records=(replace(HIDDEN, row_steps=True), replace(LAST, row_steps=True)))
    seeded = replace(
        NETWORK,
        records=(replace(HIDDEN, prior=True), replace(LAST, prior=True)),
        features_required=TRELLIS | SEEDED,
        seed=2027,
    )
    both = replace(seeded, records=(replace(HIDDEN, prior=True, row_steps=True), LAST))
    short, long = (200 << 8, 33), (0xABCD, 32)
    steps = (0, -3, 9, 1, 1, -8, 0, 2, 4)

    def with_rows(file: File) -> File:
        return with_entry(file, 0, row_steps=steps)

    two, three = replace(NETWORK, n_passes=2), replace(NETWORK, n_passes=3)

    def later(head: Head, n: int, salt: int, coding: int = RANS, log2_lanes: int = 0, **fields: Any) -> Pass:
        rows = (Entry(values=numbers(t.size, 2, salt + t.ordinal), refine=n, **fields) for t in head.tensors())
        return Pass(tuple(rows), coding, log2_lanes)

    first = base(two).passes[0]
    some = Pass((Entry(values=numbers(18, 3, 9), refine=2), Entry(), Entry(), Entry(values=(1, -1, 0), refine=1)))
    return [
        Valid("valid-trellis-rows", "row steps, which are plain values", ("9.4", "9.1"), with_rows(base(rows))),
        Valid("valid-trellis-rows-packed", "row steps, packed", ("9.4", "9.1"), with_rows(packed(rows))),
        Valid("valid-trellis-rows-lanes", "row steps, 64 lanes", ("TRE-2", "7.4"), with_rows(base(rows, log2_lanes=6))),
        Valid(
            "valid-trellis-rows-same",
            "row differences by a long form with R = 12, which form SAME repeats for the values",
            ("9.4", "TAB-3"),
            with_entry(with_rows(base(rows)), 0, row_model=Long(12, 60, 150), model=Same()),
        ),
        Valid("valid-trellis-prior", "priors in short form", ("9.4", "WGT-1"), base(seeded, prior=short)),
        Valid(
            "valid-trellis-prior-packed", "priors in long form, packed", ("9.4", "WGT-1"), packed(seeded, prior=long)
        ),
        Valid(
            "valid-trellis-prior-rows",
            "prior and row steps of one tensor",
            ("9.4", "7.3"),
            with_entry(with_rows(base(both)), 0, prior=short),
        ),
        Valid(
            "valid-trellis-passes",
            "three passes of three codings, each with states from 0",
            ("9.4", "WGT-2"),
            File(three, (first, later(three, 2, 30), later(three, 3, 60, PACKED))),
            each_pass=True,
        ),
        Valid(
            "valid-trellis-pass-some",
            "a refinement of some tensors",
            ("9.4", "PAS-5"),
            File(two, (first, some)),
            each_pass=True,
        ),
        Valid(
            "valid-trellis-pass-lanes",
            "packed, then a refinement with 64 lanes",
            ("TRE-2", "WGT-2"),
            File(two, (packed(two).passes[0], later(two, 5, 77, log2_lanes=6))),
            each_pass=True,
        ),
        Valid(
            "valid-trellis-pass-low-bits",
            "a refinement whose model has low bits",
            ("9.4", "WGT-2"),
            File(two, (first, later(two, 8, 80, model=Short("LAPLACE", 40)))),
        ),
        Valid(
            "valid-trellis-pass-zero",
            "a refinement by form ZERO",
            ("9.4", "WGT-2"),
            File(two, (first, Pass(tuple(Entry(refine=2, model=Zero()) for _ in two.tensors())))),
        ),
        Valid(
            "valid-trellis-pass-largest",
            "8 bits gained, then 254: an integer of 2^31 - 2",
            ("9.4", "WGT-4"),
            refined_largest(127),
            each_pass=True,
        ),
    ]


def refined_largest(k: int) -> File:
    """2^23 - 2 + 1 by two passes; the second gains 8 bits and adds 2k."""
    head = replace(FOUR, n_passes=2)
    first = (1, 0, 1 << 22, 0)
    second = Pass((Entry(values=(0, 0, k, 0), refine=8),), PACKED)
    file = with_entry(packed(head, step=FINE + 64), 0, values=first)
    return replace(file, passes=(*file.passes, second))


def real() -> list[Valid]:
    """A small SIREN as an encoder would write it."""
    head = Head(
        records=(replace(HIDDEN, width=16, omega=30, row_steps=True), replace(HIDDEN, width=16, repeat=2), LAST),
        features_required=TRELLIS,
        out_channels=3,
        grid=(6, 8),
        n_passes=2,
    )
    first = base(head, 9, model=Short("FLAT", 20), step=step_code(-7)).passes[0]
    later = tuple(Entry(values=numbers(t.size, 2, t.ordinal), refine=2) for t in head.tensors())
    file = with_entry(File(head, (first, Pass(later))), 0, row_steps=numbers(16, 3, 8))
    return [Valid("valid-trellis-siren", "a SIREN of 3 x 16 hidden units", ("9.4", "16"), file, each_pass=True)]


def trellis_valid() -> list[Valid]:
    """Every valid vector of tool 2 in the order of the ladder."""
    return [recipe for group in (models, layouts, tools, real) for recipe in group()]


# --- one fault each ----------------------------------------------------------------------------------

PARENTS: dict[str, Valid] = {recipe.name: recipe for recipe in trellis_valid()}
PLAIN, CODED, LARGE = "valid-trellis-packed", "valid-trellis-same", "valid-trellis-largest"


def heads() -> list[Invalid]:
    """Features and flags of HEAD."""
    mismatch, required = "FEATURE_MISMATCH", "HEAD.features_required"

    def edit(name: str, title: str, clause: str, source: str, error: str, at: str, *edits: Edit) -> Invalid:
        return Invalid(f"invalid-trellis-{name}", title, (clause,), source, error, at, edits)

    def flags(record: int, value: int) -> Edit:
        return Edit(f"HEAD.record{record}.tool_flags", bytes([value]))

    last = "valid-trellis-last"
    unused = (flags(0, SCALAR), flags(1, SCALAR))
    return [
        edit("unused", "TRELLIS and no tool 2", "HED-10", PLAIN, mismatch, required, *unused),
        edit(
            "unset",
            "tool 2 without TRELLIS",
            "HED-9",
            PLAIN,
            mismatch,
            "HEAD.record0.tool_flags",
            Edit(required, b"\0\0"),
        ),
        edit(
            "unset-last",
            "tool 2 in the last record without TRELLIS",
            "HED-9",
            last,
            mismatch,
            "HEAD.record1.tool_flags",
            Edit(required, b"\0\0"),
        ),
        edit(
            "unseeded",
            "tool 2 with a prior and without SEEDED",
            "HED-9",
            PLAIN,
            mismatch,
            "HEAD.record0.tool_flags",
            flags(0, 0x0A),
        ),
        edit("bit-6", "bit 6 with tool 2", "HED-6", PLAIN, "BAD_RECORD", "HEAD.record0.tool_flags", flags(0, 0x42)),
        edit(
            "bit-6-last", "bit 6 with tool 2", "HED-6", PLAIN, "BAD_RECORD", "HEAD.record1.tool_flags", flags(1, 0x42)
        ),
        edit(
            "bit-7",
            "bit 7 with tool 2",
            "CON-11",
            PLAIN,
            "RESERVED_NOT_ZERO",
            "HEAD.record1.tool_flags",
            flags(1, 0x82),
        ),
    ]


def passes() -> list[Invalid]:
    """Table, body and integers."""
    body, end, over = "PASS0.body", "PASS0.crc32", "ACC_OVERFLOW"

    def edit(name: str, title: str, clause: str, source: str, error: str, at: str, *edits: Any, **more: Any) -> Invalid:
        return Invalid(f"invalid-trellis-{name}", title, (clause,), source, error, at, edits, **more)

    def values(name: str, title: str, clause: str, source: str, numbers: tuple[int, ...], **fields: Any) -> Invalid:
        file = with_entry(PARENTS[source].file, 0, values=numbers, **fields)
        return Invalid(f"invalid-trellis-{name}", title, (clause,), source, over, body, (), file)

    half, large = 2**30, "valid-trellis-largest-packed"
    three, later, wide = "valid-trellis-passes", "valid-trellis-pass-largest", "valid-trellis-64-lanes"
    odd = with_pass(PARENTS[PLAIN].file, 0, force={"acc_crc": 0})
    return [
        values("overflow", "k = 2^30 under quantiser 0", "WGT-4", LARGE, (half, 0, 0, 0)),
        values("overflow-packed", "k = 2^30 under quantiser 0, packed", "TRE-3", large, (0, 0, half, 0)),
        values("overflow-negative", "k = -2^30 under quantiser 0", "WGT-4", large, (0, -half, 0, 0)),
        values("overflow-odd", "k = 2^30 + 1 under quantiser 1", "WGT-4", large, (1, 0, half + 1, 0)),
        values("overflow-wraps", "k = -2^31: twice it is 0 in 32 bits", "WGT-4", large, (-2 * half, 0, 0, 0)),
        values("overflow-value", "a value of 2^31", "ENT-1", LARGE, (2 * half, 0, 0, 0)),
        Invalid(
            "invalid-trellis-overflow-later",
            "8 bits gained, then 256: an integer of 2^31",
            ("WGT-4",),
            later,
            over,
            "PASS1.body",
            (),
            refined_largest(128),
            whole_passes=1,
        ),
        Invalid(
            "invalid-trellis-acc-crc", "acc_crc is 0", ("PAS-5",), PLAIN, "ACC_CRC_MISMATCH", "PASS0.acc_crc", (), odd
        ),
        edit(
            "acc-crc-bit",
            "the lowest bit of the first value: another integer, and other states after it",
            "PAS-5",
            PLAIN,
            "ACC_CRC_MISMATCH",
            "PASS0.acc_crc",
            Flip(body, 1),
        ),
        edit("word-left", "a word is left", "ENT-5", CODED, "BAD_STREAM", body, Edit(end, b"\0\0", 0, 0)),
        edit(
            "word-left-lanes", "64 lanes, a word is left", "ENT-6", wide, "BAD_STREAM", body, Edit(end, b"\0\0", 0, 0)
        ),
        edit("odd", "a stream of odd length", "ENT-4", CODED, "BAD_STREAM", body, Edit(end, b"\0", 0, 0)),
        edit(
            "same-first",
            "form SAME and no model before it",
            "TAB-3",
            "valid-trellis-laplace",
            "BAD_MODEL",
            "PASS0.tensor0.form",
            Bits("PASS0.tensor0.form", 3),
        ),
        edit(
            "scale",
            "a scale with b above 14",
            "ENT-3",
            "valid-trellis-laplace",
            "BAD_MODEL",
            "PASS0.tensor0.scale",
            Bits("PASS0.tensor0.scale", 144),
        ),
        edit(
            "escape-r-0",
            "esc = 1 with R = 0",
            "ENT-2",
            "valid-trellis-r-0",
            "BAD_MODEL",
            "PASS0.tensor0.escape",
            Bits("PASS0.tensor0.escape", 1),
        ),
        Invalid(
            "invalid-trellis-step",
            "8 bits gained from step code 63",
            ("TAB-4",),
            later,
            "STEP_OUT_OF_RANGE",
            "PASS1.tensor0.refine_bits",
            (),
            with_entry(refined_largest(127), 0, step=63),
            whole_passes=1,
        ),
        edit(
            "later-bit",
            "the lowest bit of a value of the third pass",
            "PAS-5",
            three,
            "ACC_CRC_MISMATCH",
            "PASS2.acc_crc",
            Flip("PASS2.body", 1),
            whole_passes=2,
        ),
    ]


def trellis_invalid() -> list[Invalid]:
    """Every invalid vector of tool 2."""
    return heads() + passes()
