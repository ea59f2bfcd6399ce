"""Recipes of the vectors of tool 4 with one fault (clauses 6.4 and 9.6), and of bases with latents (clause 9.8)."""

from dataclasses import replace
from typing import Any

from conformance.generate.build import acc_crc, built_base, state_digest
from conformance.generate.describe import (
    LATENTS,
    LEVEL_ORDINAL,
    SHARED_BASE,
    TRELLIS,
    Entry,
    File,
    Fourier,
    Grid,
    Input,
    Layer,
    Long,
    Multiply,
    Output,
    Record,
    Same,
    Short,
    Table,
    Zero,
)
from conformance.generate.faults import Bits, Edit, Flip
from conformance.generate.recipe import Invalid, Valid, with_entry, with_head, with_pass
from conformance.generate.recipes_latents import (
    CONTEXT,
    CONV,
    CONV_RELU,
    INTERLACED,
    MIXED,
    SERIAL,
    SINE,
    THREE,
    latents_valid,
    level,
    with_context,
    with_level,
)

PARENTS: dict[str, Valid] = {recipe.name: recipe for recipe in latents_valid()}
GRID, PYRAMID, FILTERED = "valid-grid-levels", "valid-pyramid-levels", "valid-conv-last"
CONTEXTS, CAUSAL, LATE = "valid-context-interlaced-plain", "valid-context-serial-plain", "valid-latents-passes"
BAD, MISMATCH, MODEL, TABLE = "BAD_RECORD", "FEATURE_MISMATCH", "BAD_MODEL", "BAD_TABLE"
BODY = "PASS0.body"


def u8(value: int) -> bytes:
    return bytes([value])


def field(source: str, name: str, value: int, error: str, clause: str, title: str = "") -> Invalid:
    """A parent with another value in a field of one byte of its first record."""
    mark, prefix = f"HEAD.record0.{name}", source.removeprefix("valid-")
    tag = f"invalid-{prefix}-{name.replace('_', '-')}-{value:02x}"
    return Invalid(tag, title or f"{name} is {value}", (clause,), source, error, mark, (Edit(mark, u8(value)),))


def fields() -> list[Invalid]:
    """Fields of GRID and PYRAMID with values that they cannot have."""
    reserved, unknown, clause = "RESERVED_NOT_ZERO", "UNKNOWN_ID", "6.4"
    wrong: dict[str, tuple[int, ...]] = {
        "n_axes": (0, 5),
        "n_levels": (0, 65),
        "latent_dim": (0,),
        "feature_dim": (0,),
        "log2_table_size": (31, 255),
    }
    out = [field(GRID, name, value, BAD, clause) for name, values in wrong.items() for value in values]
    out += [field(GRID, "flags", value, reserved, "CON-11") for value in (0x10, 0x80)]
    out.append(field(GRID, "tool_flags", 0x81, reserved, "CON-11"))
    out.append(field(GRID, "tool_flags", 0x05, unknown, "CON-11"))
    mark = "HEAD.record0.resolution1_1"
    out.append(
        Invalid("invalid-grid-resolution", "no vertex on an axis", (clause,), GRID, BAD, mark, (Edit(mark, b"\0\0"),))
    )
    wrong = {"n_levels": (0, 17), "axes": (0, 16), "filter": (0, 9, 0x10)}
    out += [field(PYRAMID, name, value, BAD, clause) for name, values in wrong.items() for value in values]
    out += [field(PYRAMID, "filter", value, reserved, "CON-11") for value in (0x22, 0x82)]
    out += [field(PYRAMID, "tool_flags", value, reserved, "CON-11") for value in (0x21, 0x81)]
    out.append(field(PYRAMID, "tool_flags", 0x07, unknown, "CON-11"))
    out.append(field(PYRAMID, "context", 0x03, unknown, "CON-11"))
    out += [field(PYRAMID, "context", value, reserved, "CON-11") for value in (0x80, 0x04, 0x10)]
    out.append(field(CONTEXTS, "context", 0x81, reserved, "CON-11"))
    out.append(field(PYRAMID, "context", 0x83, reserved, "CON-11", "a reserved bit, then an unknown context"))
    flags = ((4, "tool 4"), (0x0C, "tool 4 with a prior"), (8, "a prior with tool 0"), (0x41, "bit 6 with tool 1"))
    out += [
        field(source, "tool_flags", value, BAD, "HED-6", title) for source in (GRID, PYRAMID) for value, title in flags
    ]
    missing = ((2, "tool 2 without TRELLIS"), (3, "tool 3 without SPARSE"), (9, "a prior without SEEDED"))
    out += [
        field(source, "tool_flags", value, MISMATCH, "HED-9", title)
        for source in (GRID, PYRAMID)
        for value, title in missing
    ]
    return out


def rules() -> list[Invalid]:
    """Rules of records that span fields, limits, features."""

    def records(
        name: str, title: str, clause: str, source: str, error: str, at: str, *given: Record, **more: Any
    ) -> Invalid:
        changed = File(with_head(PARENTS[source].file, records=given, **more).head, (), order=("HEAD",))
        return Invalid(f"invalid-{name}", title, tuple(clause.split()), source, error, f"HEAD.{at}", (), changed)

    kind0, kind1, kind2 = (f"record{i}.kind" for i in range(3))
    last, limit, features = Layer(), "n_records", "features_required"
    relu, conv2 = Layer("RELU", 2), replace(CONV, width=2)
    line = {"in_dims": 1, "grid": (5,)}
    wide = Grid(log2_table_size=30, resolutions=((32768, 32768),) * 4)
    return [
        records("grid-second", "GRID behind a layer", "HED-5", GRID, BAD, kind1, SINE, MIXED, last),
        records("grid-alone-encoding", "GRID behind FOURIER", "HED-5", GRID, BAD, kind1, Fourier(), MIXED, last),
        records("pyramid-second", "PYRAMID behind a layer", "HED-5", PYRAMID, BAD, kind1, SINE, THREE, last),
        records("grid-axes", "three axes of two", "GRD-1", GRID, BAD, "record0.n_axes",
                replace(MIXED, n_axes=3, resolutions=((2, 2, 2),)), last),
        records("pyramid-no-grid", "no native grid", "GRD-2", PYRAMID, BAD, kind0, THREE, last, grid=(0, 0)),
        records("pyramid-5-dims", "five axes", "GRD-2", PYRAMID, BAD, kind0, THREE, last,
                in_dims=5, grid=(2, 1, 1, 1, 2)),
        records("pyramid-axes", "axis 2 of two is halved", "GRD-2", PYRAMID, BAD, "record0.axes",
                replace(THREE, halved=5), last),
        records("pyramid-axes-3", "axis 3 of three is halved", "GRD-2", PYRAMID, BAD, "record0.axes",
                replace(THREE, halved=15), last, in_dims=3, grid=(2, 2, 2)),
        records("context-one-axis", "contexts of one axis", "GRD-2", CONTEXTS, BAD, "record0.context",
                replace(INTERLACED, halved=1), last, **line),
        records("context-axes", "contexts, and one axis is not halved", "GRD-2", CONTEXTS, BAD, "record0.context",
                replace(INTERLACED, halved=2), last),
        records("context-axes-3", "contexts, and all of three axes are halved", "GRD-2", CAUSAL, BAD,
                "record0.context", replace(SERIAL, halved=7), last, in_dims=3, grid=(2, 2, 2)),
        records("context-axes-first", "contexts, and the first two of three axes are halved", "GRD-2", CAUSAL, BAD,
                "record0.context", replace(SERIAL, halved=3), last, in_dims=3, grid=(2, 2, 2)),
        records("conv-no-pyramid", "CONV without an encoding", "GRD-3", FILTERED, BAD, kind1,
                relu, CONV, out_channels=2, features_required=0),
        records("conv-grid", "CONV behind a GRID", "GRD-3", FILTERED, BAD, kind2, MIXED, relu, CONV),
        records("conv-fourier", "CONV behind FOURIER", "GRD-3", FILTERED, BAD, kind2, Fourier(), relu, CONV,
                features_required=0),
        records("conv-then-layer", "a layer of another kind behind CONV", "GRD-3", FILTERED, BAD, kind2,
                THREE, relu, conv2, Layer()),
        records("conv-then-relu", "RELU between two CONV records", "GRD-3", FILTERED, BAD, kind2,
                THREE, relu, conv2, Layer("RELU", 2), CONV),
        records("conv-then-multiply", "a MULTIPLY between two CONV records", "GRD-3", FILTERED, BAD, kind2,
                THREE, relu, conv2, Multiply(0), CONV),
        records("conv-widens", "3 outputs of 2 inputs", "GRD-3", FILTERED, BAD, kind2, THREE, relu,
                replace(CONV, width=3), replace(CONV_RELU, width=3), CONV, out_channels=3),
        records("conv-last-narrows", "the last CONV has 1 output of 2 inputs", "GRD-3", FILTERED, BAD, kind2,
                THREE, relu, CONV, out_channels=1),
        records("conv-equal", "two equal CONV records", "HED-7", FILTERED, BAD, "record3.kind",
                THREE, relu, conv2, conv2, CONV_RELU),
        records("grid-no-feature", "GRID without its feature", "GRD-4", GRID, MISMATCH, kind0, MIXED, last,
                features_required=0),
        records("pyramid-no-feature", "PYRAMID without its feature", "GRD-4", PYRAMID, MISMATCH, kind0, THREE, last,
                features_required=0),
        records("grid-feature-unused", "the feature GRID and no such record", "GRD-4", GRID, MISMATCH, features,
                SINE, last),
        records("grid-feature-fourier", "the feature GRID and FOURIER", "GRD-4", GRID, MISMATCH, features,
                Fourier(), last),
        records("grid-trellis-unused", "TRELLIS, and no record has tool 2", "HED-10", GRID, MISMATCH, features,
                MIXED, last, features_required=LATENTS | TRELLIS),
        records("grid-limit-width", "64 levels of 65 features: 4160 at level 1", "HED-8", GRID, "LIMIT_WIDTH", limit,
                Grid(feature_dim=65, resolutions=((1, 1),) * 64), last),
        records("grid-limit-width-input", "4096 features and 2 coordinates at level 1", "HED-8", GRID, "LIMIT_WIDTH",
                limit, Grid(feature_dim=64, append_input=True, resolutions=((1, 1),) * 64), last),
        records("grid-limit-parameters", "a level of 2^14 latents at level 1", "HED-8", GRID, "LIMIT_PARAMETERS",
                limit, Grid(log2_table_size=30, resolutions=((128, 128),)), last),
        records("grid-limit-parameters-most", "64 levels of 2^30 vectors of 255 latents at level 1", "HED-8 LIM-2",
                GRID, "LIMIT_PARAMETERS", limit,
                Grid(n_axes=2, latent_dim=255, log2_table_size=30, resolutions=((65535, 65535),) * 64), last),
        records("grid-limit-parameters-5", "2^32 latents, and a layer beside them at level 5", "HED-8", GRID,
                "LIMIT_PARAMETERS", limit, wide, last, level=5),
        records("grid-parameters-5", "nothing is wrong with 3 x 2^30 latents at level 5", "CON-8", GRID,
                "MISSING_PASS", "type", replace(wide, resolutions=wide.resolutions[:3]), last, level=5),
        records("order-conv-multiply", "GRD-3 before HED-16", "5.5", FILTERED, BAD, kind2, THREE, relu, conv2,
                Multiply(7), CONV),
        records("pyramid-limit-parameters", "a lattice of 128 x 128 at level 1", "HED-8", PYRAMID,
                "LIMIT_PARAMETERS", limit, THREE, last, grid=(128, 128)),
        records("conv-limit-layers", "9 layers at level 1", "HED-8", FILTERED, "LIMIT_LAYERS", limit,
                THREE, relu, replace(conv2, repeat=7), CONV_RELU),
        records("conv-limit-parameters", "81 weights for each pair of 24 channels", "HED-8", FILTERED,
                "LIMIT_PARAMETERS", limit, replace(THREE, halved=15), Layer(width=24), CONV,
                out_channels=24, in_dims=4, grid=(1, 1, 1, 1)),
        records("order-equal-grid", "HED-7 before GRD-1", "9.6.2", GRID, BAD, "record2.kind",
                replace(MIXED, n_axes=3, resolutions=((2, 2, 2),)), SINE, SINE, last),
        records("order-axes-conv", "GRD-1 before GRD-3", "9.6.2", GRID, BAD, "record0.n_axes",
                replace(MIXED, n_axes=3, resolutions=((2, 2, 2),)), CONV),
        records("order-pyramid-conv", "GRD-2 before GRD-3", "9.6.2", FILTERED, BAD, "record0.axes",
                replace(THREE, halved=4), relu, CONV, out_channels=3),
        records("order-grid-limit", "GRD-1 before HED-8", "9.6.2", GRID, BAD, "record0.n_axes",
                replace(MIXED, n_axes=3, resolutions=((128, 128, 2),), log2_table_size=30), last),
        records("order-conv-records", "a CONV as wide as it must not be before a layer behind it", "GRD-3", FILTERED,
                BAD, kind2, THREE, relu, replace(CONV, width=3), Layer()),
        records("order-grid-kind-axes", "the kind of a PYRAMID before its axes", "GRD-2", PYRAMID, BAD, kind0,
                replace(THREE, halved=4), last, grid=(0, 0)),
        records("order-limit-feature-grid", "HED-8 before GRD-4", "9.6.2", GRID, "LIMIT_PARAMETERS", limit,
                Grid(log2_table_size=30, resolutions=((128, 128),)), last, features_required=0),
        records("order-frequency-feature", "HED-12 before GRD-4", "9.6.2", GRID, "BAD_FLOAT", "record0.base",
                Fourier(10, base=255), SINE, last),
        records("order-input-limit", "HED-13 before HED-8", "5.5", GRID, BAD, "record1.first",
                MIXED, Input(2, 1), replace(SINE, repeat=9), last),
        records("order-output-limit", "HED-14 before HED-8", "5.5", GRID, BAD, "record1.width",
                MIXED, Output(Layer(width=1)), replace(SINE, repeat=9), last),
        *order_of_structure(),
    ]  # fmt: skip


def order_of_structure() -> list[Invalid]:
    """Faults of HEAD that end inside a record, and HED-7 before HED-13."""
    short = []
    for source, name in ((GRID, "log2_table_size"), (GRID, "resolution2_1"), (PYRAMID, "context")):
        marks = built_base(PARENTS[source].file).marks
        mark = marks[f"HEAD.record0.{name}"]
        kept = mark.n_bits // 8 - 1
        size = marks["HEAD.crc32"].offset - mark.offset
        cut = Edit(f"HEAD.record0.{name}", b"", kept, size - kept)
        tag = f"invalid-short-{source.removeprefix('valid-')}-{name.replace('_', '-')}"
        title = f"HEAD ends inside the field {name}"
        short.append(Invalid(tag, title, ("CON-10",), source, "PAYLOAD_TOO_SHORT", "HEAD.crc32", (cut,)))
    head = with_head(PARENTS[GRID].file, records=(MIXED, SINE, SINE, Input(2, 1), Layer())).head
    equal = File(head, (), order=("HEAD",))
    return [
        *short,
        Invalid("invalid-order-equal-input", "HED-7 before HED-13", ("5.5",), GRID, BAD, "HEAD.record2.kind", (),
                equal),
    ]  # fmt: skip


# --- PASS ----------------------------------------------------------------------------------------------


def tensor(source: File, number: int, name: str, pass_number: int = 0) -> str:
    """The mark of a field of a level."""
    return f"PASS{pass_number}.tensor{LEVEL_ORDINAL + number}.{name}"


def tables() -> list[Invalid]:
    """Entries of latents and of context tensors."""

    def built(name: str, title: str, clause: str, source: str, error: str, at: str, file: File, **more: Any) -> Invalid:
        return Invalid(f"invalid-latents-{name}", title, (clause,), source, error, at, (), file, **more)

    def bits(name: str, title: str, clause: str, source: str, error: str, at: str, value: int, **more: Any) -> Invalid:
        return Invalid(f"invalid-latents-{name}", title, (clause,), source, error, at, (Bits(at, value),), **more)

    form0 = f"PASS0.tensor{LEVEL_ORDINAL}.latent_form"
    dim1 = f"PASS0.tensor{LEVEL_ORDINAL}.dim1.latent_form"
    pyramid, table = PARENTS[PYRAMID].file, "valid-latents-table"
    packed = "valid-latents-packed-32"
    at_table = f"PASS0.tensor{LEVEL_ORDINAL}."
    whole = PARENTS["valid-latents-passes"].file
    skipped = with_pass(whole, 1, entries=(*whole.passes[1].entries[:-2], Entry(), pass_entry(whole, 2)))
    gap = with_entry(pyramid, level(pyramid.head, 1), values=())
    one = PARENTS["valid-latents-table"].file
    same = with_level(one, 0, latent_models=(Same(),))
    layer_model = with_entry(same, 0, model=Long(12, 0, 150))
    later_same = later_pass_same(whole)
    context_grid = PARENTS["valid-grid-min"].file
    scale = with_level(pyramid, 0, force={"scale": 255, "law": 3})
    out = [
        *(bits(f"form-{n}", f"latent form {n}", "GRD-6", PYRAMID, MODEL, form0, n) for n in (6, 7)),
        bits("form-dimension", "latent form 6 for the second dimension", "GRD-6", GRID, MODEL, dim1, 6),
        built("same-first", "SAME before any form of latents; the layers have one", "GRD-6", table, MODEL, form0,
              layer_model),
        built("same-later", "SAME first in a later pass", "GRD-6", LATE, MODEL,
              f"PASS1.tensor{LEVEL_ORDINAL + 1}.dim0.latent_form", later_same, whole_passes=1),
        built("same-after-zero", "SAME after ZERO alone", "GRD-6", PYRAMID, MODEL,
              f"PASS0.tensor{LEVEL_ORDINAL + 1}.latent_form", same_after(pyramid, Zero())),
        built("same-after-context", "SAME after CONTEXT alone", "GRD-6", CONTEXTS, MODEL,
              f"PASS0.tensor{LEVEL_ORDINAL + 1}.latent_form", same_after(PARENTS[CONTEXTS].file, CONTEXT)),
        built("context-grid", "form CONTEXT of a GRID", "GRD-6", "valid-grid-min", MODEL, form0,
              with_level(context_grid, 0, latent_models=(CONTEXT,))),
        built("context-factorised", "form CONTEXT with context id 0", "GRD-6", PYRAMID, MODEL, form0,
              with_level(pyramid, 0, latent_models=(CONTEXT,))),
        built("short-scale", "a short form with more than 14 low bits", "GRD-6", PYRAMID, MODEL, at_table + "scale",
              scale),
        built("level-skipped", "level 2 without level 1, in the first pass", "GRD-5", PYRAMID, TABLE,
              f"PASS0.tensor{LEVEL_ORDINAL + 2}.refined", gap),
        built("level-skipped-later", "level 2 without level 1, in the second pass", "GRD-5", LATE, TABLE,
              f"PASS1.tensor{LEVEL_ORDINAL + 2}.refined", skipped, whole_passes=1),
        bits("table-one", "a table of one symbol", "GRD-7", "valid-latents-table-two", MODEL,
             at_table + "table_above", 0),
        *long_form(),
        built("packed-least", "a latent of -2^31", "WGT-4", packed, "ACC_OVERFLOW", BODY,
                            with_level(PARENTS[packed].file, 0, values=(-(2**31), 1, 0, 5, -5, 1), width=32)),
        built("escape-overflow", "an escape takes a latent to 2^31", "ENT-1", "valid-latents-long-escape",
              "ACC_OVERFLOW", BODY, overflow()),
        Invalid("invalid-latents-acc-crc", "the lowest bit of a latent", ("PAS-5", "9.6.3"), "valid-latents-packed",
                "ACC_CRC_MISMATCH", "PASS0.acc_crc", (Flip("PASS0.crc32", 0x10, -2),)),
    ]  # fmt: skip
    return [*out, *differences(), *cuts(), *ends()]


def pass_entry(source: File, number: int) -> Entry:
    """The entry of a level in the pass that codes it."""
    at = level(source.head, number)
    return next(p.entries[at] for p in source.passes if p.entries[at].values)


def same_after(source: File, model: Any) -> File:
    """Level 0 of a form that SAME does not repeat, level 1 of form SAME."""
    first: dict[str, Any] = {"latent_models": (model,)}
    if isinstance(model, Zero):
        at = level(source.head, 0)
        first["values"] = (0,) * len(source.passes[0].entries[at].values)
    return with_level(with_level(source, 0, **first), 1, latent_models=(Same(),))


def later_pass_same(whole: File) -> File:
    """The second pass begins its latents with SAME; the first pass had a model."""
    return with_level(whole, 1, 1, latent_models=(Same(),))


def long_form() -> list[Invalid]:
    """The fields of ENT-2 in a form of latents."""
    source = "valid-latents-long-escape"
    at = f"PASS0.tensor{LEVEL_ORDINAL}."
    wrong = (("tail", 169), ("tail_change", 169), ("low_bits", 15))
    out = [
        Invalid(f"invalid-latents-long-{name.replace('_', '-')}", f"{name} is {value}", ("GRD-6", "ENT-2"), source,
                MODEL, at + name, (Bits(at + name, value),))
        for name, value in wrong
    ]  # fmt: skip
    zero = (Bits(at + "max_symbol", 0),)
    title = "escapes with R = 0"
    return [*out, Invalid("invalid-latents-long-escape", title, ("ENT-2",), source, MODEL, at + "escape", zero)]


def differences() -> list[Invalid]:
    """Codes of a table below 0 and above 127."""
    source = "valid-latents-table-whole-codes"  # codes 0 127 0 127 120 112 120
    at = f"PASS0.tensor{LEVEL_ORDINAL}.table_difference"
    two = PARENTS["valid-latents-table-two"].file
    below = with_level(two, 0, latent_models=(Table(0, (5, 4), 1),))
    above = with_level(two, 0, latent_models=(Table(0, (122, 123), 1),))
    one = f"{at}1"
    return [
        Invalid("invalid-latents-table-below", "a code of -2", ("GRD-7",), source, MODEL, one, (), forced(below, 0)),
        Invalid("invalid-latents-table-above", "a code of 129", ("GRD-7",), source, MODEL, one, (), forced(above, 14)),
    ]


def forced(source: File, difference: int) -> File:
    """The difference of the second symbol is this one."""
    return with_level(source, 0, force={"table_difference1": difference})


def overflow() -> File:
    """A long form with 14 low bits and an escape of 17 bits."""
    source = PARENTS["valid-latents-long-escape"].file
    values = (2**31, *source.passes[0].entries[level(source.head, 0)].values[1:])
    return with_level(source, 0, values=values, latent_models=(Long(1, 0, 100, 0, 0, 14, 1),))


def cuts() -> list[Invalid]:
    """The payload ends inside a field of the table."""
    out = []
    for source, name in (
        (PYRAMID, f"{LEVEL_ORDINAL + 1}.scale"),
        ("valid-latents-table", f"{LEVEL_ORDINAL}.table_code0"),
        ("valid-latents-table-511", f"{LEVEL_ORDINAL}.table_difference100"),
        (CONTEXTS, "65553.context_step"),
    ):
        marks = built_base(PARENTS[source].file).marks
        at = marks[f"PASS0.tensor{name}"]
        kept = (at.bit + at.n_bits - 1) // 8
        size = marks["PASS0.crc32"].offset - at.offset
        tag = f"invalid-short-{source.removeprefix('valid-')}-table"
        title = f"the payload ends inside the field {name.split('.')[1]}"
        cut = (Edit(f"PASS0.tensor{name}", b"", kept, size - kept),)
        out.append(Invalid(tag, title, ("7.2", "9.6.3"), source, "PAYLOAD_TOO_SHORT", "PASS0.crc32", cut))
    return out


def ends() -> list[Invalid]:
    """Tables, bodies and integers of files with contexts."""
    context, packed = PARENTS[CONTEXTS].file, "valid-pyramid-packed"
    passes = "valid-context-passes-packed"
    large = with_context(context, "coarse", values=lambda n: (2048,) + (0,) * (n - 1), model=Short("LAPLACE", 60))
    least = with_context(context, "offset", values=lambda n: (0,) * (n - 1) + (-2048,), model=Short("LAPLACE", 60))
    wide = with_context(PARENTS[passes].file, "near", values=lambda n: (-2048,) + (0,) * (n - 1))
    both = with_context(with_pass(context, 0, force={"acc_crc": 0}), "linear", values=lambda n: (2048,) * n,
                        model=Short("LAPLACE", 60))  # fmt: skip
    body = "PASS0.body"
    surplus = Invalid("invalid-context-word", "two bytes more than the contexts' symbols need", ("ENT-5",), CONTEXTS,
                      "BAD_STREAM", body, (Edit("PASS0.crc32", b"\0\0", 0, 0),))  # fmt: skip
    return [
        Invalid("invalid-context-large", "an integer of the network is 2048", ("GRD-8",), CONTEXTS, "ACC_OVERFLOW",
                body, (), large),
        Invalid("invalid-context-least", "the last integer of the network is -2048", ("GRD-8",), CONTEXTS,
                "ACC_OVERFLOW", body, (), least),
        Invalid("invalid-context-packed", "an integer of the network is -2048, packed", ("GRD-8",), passes,
                "ACC_OVERFLOW", body, (), wide),
        Invalid("invalid-order-context-crc", "GRD-8 before PAS-5", ("GRD-8",), CONTEXTS, "ACC_OVERFLOW",
                body, (), both),
        surplus,
        Invalid("invalid-latents-acc-crc-levels", "acc_crc over all levels, of which two are not in this pass",
                ("PAS-5", "9.6.3"), LATE, "ACC_CRC_MISMATCH", "PASS0.acc_crc", (), crc_of_all()),
        Invalid("invalid-latents-packed-short", "a byte of packed latents is missing", ("11",), packed,
                "PAYLOAD_TOO_SHORT", "PASS0.crc32", (Edit("PASS0.crc32", b"", -1, 1),)),
        Invalid("invalid-latents-packed-long", "a byte behind packed latents", ("11",), packed,
                "SURPLUS_BYTES", "PASS0.crc32", (Edit("PASS0.crc32", b"\0", 0, 0),), plus=-1),
    ]  # fmt: skip


def crc_of_all() -> File:
    """The sum of the first pass over the levels, too, that it does not code."""
    source = PARENTS[LATE].file
    rows = zip(source.head.tensors(), source.passes[0].entries, strict=True)
    crc = acc_crc([value for tensor, entry in rows for value in entry.values or (0,) * tensor.size])
    return with_pass(source, 0, force={"acc_crc": crc})


# --- a base with latents -------------------------------------------------------------------------------


def bases() -> list[Invalid]:
    """BAS-2: neither file has a GRID or a PYRAMID."""
    out = []
    for source in ("valid-grid-min", "valid-pyramid-min"):
        parent = PARENTS[source].file
        digest = state_digest(built_base(parent).states)
        head = replace(parent.head, features_required=LATENTS | SHARED_BASE, base_digest=digest)
        name = source.removeprefix("valid-").removesuffix("-min")
        at, given = "HEAD.base_digest", File(head, (), order=("HEAD",))
        title = f"a file with a {name.upper()} and the same file as its base"
        out.append(
            Invalid(f"invalid-base-{name}", title, ("BAS-2",), source, "BASE_MISMATCH", at, (), given, base=source)
        )
    return out


def latents_invalid() -> list[Invalid]:
    """Every invalid vector of tool 4."""
    return fields() + rules() + tables() + bases()
