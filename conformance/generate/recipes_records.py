"""Recipes of the vectors of INPUT, OUTPUT, FILTER, MULTIPLY, GABOR and FINER (clauses 6.4 to 6.7 and 16.3)."""

import struct
from dataclasses import replace
from typing import Any

from conformance.generate.build import build, step_code
from conformance.generate.describe import (
    RAW,
    SEEDED,
    SHARED_BASE,
    SPARSE_CODE,
    TRELLIS,
    TRELLIS_CODE,
    Entry,
    File,
    Filter,
    Fourier,
    FourierSeeded,
    Head,
    Input,
    Layer,
    Multiply,
    Output,
    Pass,
    Record,
    Short,
    Zero,
)
from conformance.generate.faults import Edit
from conformance.generate.recipe import Invalid, Valid, base, entry_for, numbers, with_entry, with_head
from conformance.generate.recipes_sparse import FEATURES, code_for
from conformance.generate.recipes_valid import LEAST_FLOAT, MOST_FLOAT

SINE = Layer("SINE", 4, omega=3)
GABOR = Layer("GABOR", 5, omega=2, scale=0.75)
FINER = Layer("FINER", 5, omega=1.5)
SAME_WIDTH = Layer(width=4)
SCALED = Filter(Layer(omega=2.5))
STEP = step_code(-5)


def head(*records: Record, in_dims: int = 2, out_channels: int = 1, **fields: Any) -> Head:
    """A head with these records and a small grid."""
    grid = {1: (5,), 2: (3, 4), 3: (2, 2, 3)}.get(in_dims, (2,) + (1,) * (in_dims - 1))
    given = {"grid": grid, "modality": 8, "values": 2, **fields}
    return Head(records=records, in_dims=in_dims, out_channels=out_channels, **given)


def file(*records: Record, step: int = STEP, **fields: Any) -> File:
    """A file of one pass with irregular values."""
    described = head(*records, **fields)
    rows = (
        Entry(sparse=code_for(t, spread=4), step=step_code(-9)) if t.is_sparse else entry_for(t, 12, step=step)
        for t in described.tensors()
    )
    return File(described, (Pass(tuple(rows)),))


def group(prefix: str, clauses: tuple[str, ...], recipes: dict[str, tuple[str, File]]) -> list[Valid]:
    """Vectors of one kind of record."""
    return [Valid(f"valid-{prefix}-{name}", title, clauses, found) for name, (title, found) in recipes.items()]


def inputs() -> list[Valid]:
    """INPUT: which axes, which encoding, where."""
    plain, bare = Fourier(2), Fourier(3, include_input=False, times_pi=True)
    recipes = {
        "skip": ("the coordinates are appended", file(SINE, Input(0, 2), SINE, Layer())),
        "axis": ("the second axis of three alone", file(SINE, Input(1, 1), Layer(), in_dims=3)),
        "last-axis": ("the last axis of three alone", file(SINE, Input(2, 1), Layer(), in_dims=3)),
        "fourier": ("an encoding of two axes of three", file(SINE, Input(1, 2, plain), Layer(), in_dims=3)),
        "fourier-bare": ("sines and cosines times pi alone", file(SINE, Input(0, 2, bare), Layer())),
        "fourier-base": ("a base as binary32", file(SINE, Input(0, 2, Fourier(4, base=1.25)), Layer())),
        "fourier-32": (
            "32 octaves of base 4",
            file(SINE, Input(0, 1, Fourier(32, base=4, include_input=False)), Layer(), in_dims=1, grid=(1,)),
        ),
        "first": ("the first record is an INPUT of one axis", file(Input(0, 1), SINE, Layer())),
        "first-second": ("the first record is an INPUT of the second axis", file(Input(1, 1), SINE, Layer())),
        "first-fourier": ("the first record is an encoded INPUT", file(Input(0, 2, plain), SINE, Layer(), in_dims=3)),
        "first-two": (
            "two INPUT records come first, the axes in the other order",
            file(Input(2, 1), Input(0, 2, plain), SINE, Layer(), in_dims=3),
        ),
        "before-encoded": (
            "behind an input encoding: encoded values, then coordinates",
            file(Fourier(2), Input(0, 2), SINE, Layer()),
        ),
        "before-seeded": (
            "behind seeded features",
            file(FourierSeeded(3), Input(0, 2), Layer(), features_required=SEEDED),
        ),
        "twice": ("two INPUT records follow each other", file(SINE, Input(1, 1), Input(0, 2, bare), Layer())),
        "equal-layers": (
            "equal layers with an INPUT between them are two records",
            file(SINE, Input(0, 1), SINE, Layer()),
        ),
        "8-axes": ("all of 8 axes", file(SINE, Input(0, 8), Layer(), in_dims=8)),
    }
    wide = head(Layer("RELU", 4095, bias=False), Input(0, 1), Layer(bias=False), in_dims=1, grid=(1,))
    limit = Valid(
        "valid-limit-input-width", "4095 values and a coordinate at level 1", ("HED-8",), base(wide, 0, model=Zero())
    )
    return [*group("input", ("6.4", "6.7", "16.3", "HED-13"), recipes), limit]


def outputs() -> list[Valid]:
    """OUTPUT: place, kinds, order of the values."""
    one, sigmoid = Output(Layer(width=1)), Output(Layer("SIGMOID", 2))
    every = ("LINEAR", "SINE", "RELU", "GAUSSIAN", "TANH", "SIGMOID", "ELU", "FINER")
    kinds = tuple(Output(Layer(kind, 1, omega=2.5 if kind in ("SINE", "FINER") else 1)) for kind in every)
    recipes = {
        "one": ("one value beside the last layer's", file(SINE, one, SINE, Layer(), out_channels=2)),
        "two": (
            "values of the last layer, then those of two OUTPUT records",
            file(SINE, one, SINE, sigmoid, Layer(), out_channels=5),
        ),
        "first": ("the first record is an OUTPUT", file(one, SINE, Layer(), out_channels=3)),
        "last": ("an OUTPUT before the last layer", file(SINE, sigmoid, Layer("RELU"), out_channels=3)),
        "encoded": ("an OUTPUT behind an input encoding", file(Fourier(2), one, SINE, Layer(), out_channels=2)),
        "twice": ("two OUTPUT records with the same inputs", file(SINE, sigmoid, one, Layer(), out_channels=4)),
        "equal": ("two equal OUTPUT records", file(SINE, one, one, Layer(), out_channels=3)),
        "equal-layers": (
            "equal layers with an OUTPUT between them are two records",
            file(SINE, one, SINE, Layer(), out_channels=2, in_dims=3),
        ),
        "kinds": ("an OUTPUT of every kind", file(SINE, *kinds, Layer(), out_channels=9, level=2)),
        "wide": ("254 values of 255", file(SINE, Output(Layer(width=254)), Layer(), out_channels=255, grid=(1, 1))),
        "raw": (
            "an OUTPUT of binary16 weights without bias",
            file(SINE, Output(Layer(width=2, tool=RAW, half=True, bias=False)), Layer(), out_channels=3),
        ),
        "trellis": (
            "tool 2 in an OUTPUT alone",
            file(SINE, Output(Layer(width=3, tool=TRELLIS_CODE)), Layer(), out_channels=4, features_required=TRELLIS),
        ),
        "sparse": (
            "tool 3 in an OUTPUT alone",
            file(SINE, Output(Layer(width=3, tool=SPARSE_CODE)), Layer(), out_channels=4, features_required=FEATURES),
        ),
        "prior": (
            "a prior of an OUTPUT: the ordinal counts the records before it",
            with_entry(
                file(
                    SINE,
                    Output(Layer(width=3, prior=True, row_steps=True)),
                    Layer(),
                    out_channels=4,
                    features_required=SEEDED,
                ),
                2,
                prior=(200 << 8, 33),
                row_steps=(0, 5, -2),
            ),
        ),
    }
    return group("output", ("6.4", "6.7", "16.3", "HED-14"), recipes)


def filters() -> list[Valid]:
    """FILTER: what it multiplies, its tools."""

    def with_tool(**fields: Any) -> Filter:
        return Filter(Layer(omega=2.5, **fields))

    prior = file(SINE, SAME_WIDTH, with_tool(prior=True, row_steps=True), Layer(), in_dims=3, features_required=SEEDED)
    recipes = {
        "one": ("a linear layer times sines", file(SINE, SAME_WIDTH, SCALED, Layer())),
        "first": ("the first record is a FILTER: coordinates times sines", file(SCALED, SINE, Layer())),
        "encoded": ("encoded values times sines", file(Fourier(2), SCALED, Layer())),
        "twice": ("two FILTER records", file(SINE, SCALED, Filter(Layer(omega=7)), Layer())),
        "equal": ("two equal FILTER records", file(SINE, SCALED, SCALED, Layer())),
        "after-input": ("layer and INPUT times sines", file(SINE, Input(0, 1), SCALED, SINE, Layer())),
        "after-input-first": ("a FILTER of an INPUT of one axis has all axes", file(Input(1, 1), SCALED, Layer())),
        "no-bias": ("a FILTER without bias", file(SINE, with_tool(bias=False), Layer(), in_dims=3)),
        "omega": ("omega 0.1 as binary32", file(SINE, Filter(Layer(omega=0.1)), Layer())),
        "omega-255": ("omega 255", with_spread(file(SINE, Filter(Layer(omega=255)), Layer()), 2)),
        "raw": ("a FILTER of binary32 weights", file(SINE, with_tool(tool=RAW), Layer())),
        "trellis": (
            "tool 2 in a FILTER alone",
            file(SINE, with_tool(tool=TRELLIS_CODE), Layer(), in_dims=3, features_required=TRELLIS),
        ),
        "sparse": (
            "tool 3 in a FILTER alone",
            file(SINE, with_tool(tool=SPARSE_CODE), Layer(), in_dims=3, features_required=FEATURES),
        ),
        "prior": (
            "a prior and row steps of a FILTER",
            with_entry(prior, 4, prior=(200 << 8, 33), row_steps=(0, 5, -2, 1)),
        ),
    }
    return group("filter", ("6.4", "6.7", "16.3"), recipes)


def with_spread(described: File, finer: int) -> File:
    """The second layer's tensors with steps smaller by 2^-`finer`, so that large omegas keep their accuracy."""
    for place in (2, 3):
        described = with_entry(described, place, step=STEP - 8 * finer)
    return described


def products() -> list[Valid]:
    """MULTIPLY: by which layer, where."""
    one, four = Output(Layer(width=1)), Output(Layer("SIGMOID", 4))
    layers = Layer("TANH", 1, repeat=255)
    recipes = {
        "first": ("a linear layer times the layer before it", file(SINE, SAME_WIDTH, Multiply(0), Layer())),
        "square": ("a layer times itself", file(SINE, Multiply(0), Layer())),
        "filter": ("the sines of a FILTER, not the product", file(SINE, SCALED, SAME_WIDTH, Multiply(1), Layer())),
        "filters": (
            "one filter coded once for three layers, which are equal",
            file(SINE, SAME_WIDTH, Multiply(0), SAME_WIDTH, Multiply(0), SAME_WIDTH, Multiply(0), Layer()),
        ),
        "twice": ("twice by the same layer, then by another", file(
            SINE, SAME_WIDTH, Multiply(0), Multiply(0), Multiply(1), Layer())),
        "repeat": ("the third of seven layers, and MULTIPLY records beside 8 layers at level 1", file(
            Layer("SINE", 2, repeat=7, omega=3), Multiply(2), Multiply(6), Layer())),
        "output": ("values of an OUTPUT", file(SINE, one, four, SAME_WIDTH, Multiply(2), Layer(), out_channels=6)),
        "input": ("a layer times values of which some are coordinates", file(
            SINE, Layer(width=2), Input(0, 2), Multiply(0), Layer())),
        "encoded": ("an input encoding is no layer", file(Fourier(1), SINE, SAME_WIDTH, Multiply(0), Layer())),
        "gabor": ("the parts of a complex layer; the GABOR layer behind it is real", file(
            GABOR, replace(GABOR, width=2), Multiply(1), GABOR, Layer())),
        "gabor-output": ("an OUTPUT and a MULTIPLY between two GABOR layers", file(
            replace(GABOR, width=2), one, Multiply(0), replace(GABOR, width=3), Layer(), out_channels=2)),
        "254": ("the last but one of 256 layers", base(
            head(layers, Multiply(254), Layer(), level=5, grid=(1, 1)), model=Short("LAPLACE", 20))),
    }  # fmt: skip
    return group("multiply", ("6.4", "6.7", "16.3", "HED-16"), recipes)


def wavelets() -> list[Valid]:
    """GABOR: real and complex layers, tools, limits."""
    other = replace(GABOR, width=3, omega=3, scale=0.5)
    rows = replace(GABOR, row_steps=True)
    complex_rows = file(GABOR, replace(rows, width=3), Layer())
    complex_rows = with_entry(complex_rows, 2, row_steps=(0, 3, -5, 8, 1, -1))
    coded = replace(other, tool=SPARSE_CODE)
    trellis = replace(GABOR, repeat=2, tool=TRELLIS_CODE)
    wide = Layer("GABOR", 2048, scale=2, bias=False)
    most = head(replace(GABOR, scale=MOST_FLOAT), Layer(), grid=(1, 1))
    least = head(replace(GABOR, scale=LEAST_FLOAT), Layer())
    limit = head(wide, Layer(bias=False), in_dims=1, grid=(1,))
    recipes = {
        "one": ("one GABOR layer is real", file(GABOR, Layer())),
        "two": ("two records: the second is complex", file(GABOR, other, Layer())),
        "repeat": (
            "four layers, three of them complex",
            file(replace(GABOR, repeat=4), Layer(), in_dims=3, step=STEP - 16),
        ),
        "two-repeats": (
            "two records of two layers",
            file(replace(GABOR, repeat=2), replace(other, repeat=2), Layer(), step=STEP - 12),
        ),
        "scale-alone": ("two records that differ in scale alone", file(GABOR, replace(GABOR, scale=0.5), Layer())),
        "after-sine": ("a GABOR layer behind a sine layer is real", file(SINE, GABOR, Layer())),
        "sine-between": ("a sine layer between two GABOR layers", file(GABOR, SINE, other, Layer())),
        "linear-between": ("a linear layer between two GABOR layers", file(GABOR, SAME_WIDTH, GABOR, Layer())),
        "input-between": ("an INPUT between two GABOR layers: both are real", file(GABOR, Input(0, 1), other, Layer())),
        "filter-between": ("a FILTER between two GABOR layers: both are real", file(GABOR, SCALED, other, Layer())),
        "output-between": (
            "an OUTPUT between two GABOR layers: the second is complex",
            file(GABOR, Output(Layer("SIGMOID", 2)), other, Layer(), out_channels=3),
        ),
        "output-filter": (
            "an OUTPUT and a FILTER between two GABOR layers: both are real",
            file(GABOR, Output(Layer(width=1)), SCALED, other, Layer(), out_channels=2),
        ),
        "third": (
            "real behind an INPUT, then complex",
            file(GABOR, Input(0, 2), other, replace(other, width=4), Layer()),
        ),
        "no-bias": ("a complex layer without bias", file(GABOR, replace(other, bias=False), Layer())),
        "encoded": ("GABOR behind an input encoding", file(Fourier(2), GABOR, Layer())),
        "rows": ("row steps of a complex layer: one for each of 2m rows", complex_rows),
        "rows-real": ("row steps of a real layer", with_entry(file(rows, Layer()), 0, row_steps=(1, 2, 3, 4, 5))),
        "sparse": ("a complex layer of tool 3", file(GABOR, coded, Layer(), features_required=FEATURES)),
        "trellis": ("a real and a complex layer of tool 2", file(trellis, Layer(), features_required=TRELLIS)),
        "limit-width": ("width 2048 at level 1: 4096 outputs", base(limit, 0, model=Zero())),
        "scale-most": ("the largest scale, and weights that are 0", base(most, 0, model=Zero())),
        "scale-least": ("the least scale", base(least, 12, step=STEP)),
    }
    return group("gabor", ("6.4", "6.7", "16.3"), recipes)


def finer() -> list[Valid]:
    """FINER beside its vector of the kinds."""
    recipes = {
        "repeat": ("three layers", file(replace(FINER, repeat=3), Layer())),
        "omega-30": ("omega 30", base(head(replace(FINER, omega=30), Layer()), 9, step=step_code(-8))),
        "omega-least": ("omega 0.1 as binary32", file(replace(FINER, omega=0.1), Layer())),
        "last": ("as the last layer", file(SINE, Layer("FINER", omega=2))),
        "large": ("t up to some tens", base(head(replace(FINER, omega=0.25), Layer(), grid=(1, 2)), 12)),
    }
    return group("finer", ("6.4", "16.3"), recipes)


def networks() -> list[Valid]:
    """Networks of the literature in small: NeRF, BACON, WIRE, FINER."""
    place, view = Fourier(3, times_pi=True), Fourier(2, times_pi=True)
    relu = Layer("RELU", 12)
    nerf = head(
        Input(0, 3, place),
        replace(relu, repeat=3),
        Input(0, 3, place),
        replace(relu, repeat=2),
        Output(Layer("RELU", 1)),
        Layer(width=10),
        Input(3, 3, view),
        replace(relu, width=6),
        Layer("SIGMOID"),
        in_dims=6,
        out_channels=4,
        modality=7,
        grid=(0,) * 6,
        level=2,
    )
    spots = tuple(tuple(v / 64 for v in numbers(6, 64, salt)) for salt in range(5))
    bacon = head(
        Layer("SINE", 8, omega=4, bias=True),
        Layer(width=8),
        Filter(Layer(omega=6)),
        Output(Layer(width=3)),
        Layer(width=8),
        Filter(Layer(omega=9)),
        Output(Layer(width=3)),
        Layer(width=8),
        Filter(Layer(omega=12)),
        Layer(),
        out_channels=9,
        modality=1,
        level=2,
    )
    wire = head(replace(GABOR, width=8, repeat=3), Layer(), out_channels=3, modality=1, n_passes=2, grid=(6, 5))
    first = base(wire, 6, step=STEP).passes[0]
    second = Pass(tuple(Entry(values=numbers(t.size, 2, t.ordinal), refine=2) for t in wire.tensors()))
    fine = head(replace(FINER, width=12, repeat=2), Layer(), out_channels=3, modality=1, values=1, grid=(5, 6))
    return [
        Valid(
            "valid-real-nerf",
            "a radiance field: two encodings, a skip, density beside colour",
            ("6.7", "16.3", "16"),
            base(nerf, 7, step=STEP, model=Short("FLAT", 20)),
            coords=spots,
        ),
        Valid(
            "valid-real-bacon",
            "multiplicative filters with an output at each of three scales",
            ("6.7", "16.3", "16"),
            base(bacon, 7, step=STEP),
        ),
        Valid(
            "valid-real-wire",
            "three layers of wavelets in two passes",
            ("6.7", "16.3", "16"),
            File(wire, (first, second)),
            each_pass=True,
        ),
        Valid("valid-real-finer", "two layers of kind FINER", ("16.3", "16"), base(fine, 7, step=STEP)),
    ]


def records_valid() -> list[Valid]:
    """Every valid vector in the order of the ladder."""
    return [recipe for group in (inputs, outputs, filters, products, wavelets, finer, networks) for recipe in group()]


# --- one fault each ----------------------------------------------------------------------------------

PARENTS: dict[str, Valid] = {recipe.name: recipe for recipe in records_valid()}
SKIP, ENCODED, BASE = "valid-input-skip", "valid-input-fourier", "valid-input-fourier-base"
TWO, SINES, FILTERED, MULTIPLIED, WAVES, FINE = (
    "valid-output-two",
    "valid-output-kinds",
    "valid-filter-one",
    "valid-multiply-first",
    "valid-gabor-one",
    "valid-finer-repeat",
)
OMEGA = ("valid-filter-omega", "valid-finer-omega-least")
NOT_POSITIVE = (0.0, -1.5, float("inf"), float("nan"), 2.0**64)


def u8(value: int) -> bytes:
    return bytes([value])


def f32(value: float) -> bytes:
    return struct.pack("<f", value)


def field(source: str, name: str, new: bytes, error: str, clause: str, title: str = "") -> Invalid:
    """A parent with another value in one field of HEAD."""
    mark = f"HEAD.{name}"
    tag = f"{source.removeprefix('valid-')}-{name.replace('.', '-').replace('_', '-')}-{new.hex()}"
    found = title or f"{name} is {new.hex()} (hex)"
    return Invalid(f"invalid-{tag}", found, (clause,), source, error, mark, (Edit(mark, new),))


def fields() -> list[Invalid]:
    """Fields of INPUT and OUTPUT with values that they cannot have."""
    bases = ((value, f"base as binary32 is {value}") for value in (*NOT_POSITIVE, 2.0, 255.0))
    kind = "record1.layer_kind"
    return [
        *(field(SKIP, "record1.count", u8(count), "BAD_RECORD", "6.4") for count in (0, 9, 255)),
        *(field(SKIP, "record1.encoding", u8(encoding), "UNKNOWN_ID", "6.4") for encoding in (1, 34, 35, 64, 255)),
        *(field(ENCODED, "record1.flags", u8(flags), "RESERVED_NOT_ZERO", "CON-11") for flags in (0x04, 0x81)),
        *(field(ENCODED, "record1.octaves", u8(octaves), "BAD_RECORD", "6.4") for octaves in (0, 33)),
        field(ENCODED, "record1.base", u8(1), "BAD_RECORD", "6.4"),
        *(field(BASE, "record1.base_binary32", f32(value), "BAD_FLOAT", "6.4", title) for value, title in bases),
        *(field(TWO, kind, u8(k), "UNKNOWN_ID", "CON-11", f"an OUTPUT of kind {k}") for k in (0, 10, 13, 37, 68)),
        *(
            field(TWO, kind, u8(k), "BAD_RECORD", "6.4", f"an OUTPUT of kind {k}")
            for k in (8, 11, 12, 33, 34, 35, 36, 64, 65, 66, 67)
        ),
        field(TWO, "record1.width", u8(0), "BAD_RECORD", "6.4"),
    ]


def flags() -> list[Invalid]:
    """tool_flags of OUTPUT, FILTER and GABOR."""
    wrong = (
        (0x81, "RESERVED_NOT_ZERO", "CON-11", "bit 7"),
        (5, "UNKNOWN_ID", "CON-11", "tool 5"),
        (7, "UNKNOWN_ID", "CON-11", "tool 7"),
        (4, "BAD_RECORD", "HED-6", "tool 4"),
        (0x08, "BAD_RECORD", "HED-6", "a prior with tool 0"),
        (0x10, "BAD_RECORD", "HED-6", "row steps with tool 0"),
        (0x41, "BAD_RECORD", "HED-6", "bit 6 with tool 1"),
        (2, "FEATURE_MISMATCH", "HED-9", "tool 2 without TRELLIS"),
        (3, "FEATURE_MISMATCH", "HED-9", "tool 3 without SPARSE"),
        (9, "FEATURE_MISMATCH", "HED-9", "a prior without SEEDED"),
    )
    return [
        field(source, f"record{record}.tool_flags", u8(value), error, clause, title)
        for source, record in ((TWO, 1), (FILTERED, 2), (WAVES, 0))
        for value, error, clause, title in wrong
    ]


def floats() -> list[Invalid]:
    """omega of FILTER and FINER, scale of GABOR."""
    out = [
        field(source, f"record{record}.omega_binary32", f32(value), "BAD_FLOAT", "6.4", f"omega is {value}")
        for value in (*NOT_POSITIVE, 1.0, 255.0)
        for source, record in zip(OMEGA, (1, 0), strict=True)
    ]
    scales = ((value, f"scale is {value}") for value in NOT_POSITIVE)
    return out + [field(WAVES, "record0.scale", f32(value), "BAD_FLOAT", "6.4", title) for value, title in scales]


def rules() -> list[Invalid]:
    """Rules that span fields, limits, ends."""
    bad = "BAD_RECORD"

    def records(
        name: str, title: str, clause: str, source: str, error: str, at: str, *given: Record, **more: Any
    ) -> Invalid:
        parent = PARENTS[source].file
        changed = replace(with_head(parent, records=given, **more), passes=(), order=("HEAD",))
        return Invalid(f"invalid-{name}", title, (clause,), source, error, f"HEAD.{at}", (), changed)

    one = Output(Layer(width=1))
    many = tuple(Output(Layer(width=1)) for _ in range(7))
    limit = {"in_dims": 1, "grid": (1,)}
    broad = Layer("RELU", 4095, bias=False)
    out = [
        records("input-axes", "axis 2 of 2", "HED-13", SKIP, bad, "record1.first", SINE, Input(2, 1), Layer()),
        records(
            "input-axes-count", "axes 1 and 2 of 2", "HED-13", SKIP, bad, "record1.first", SINE, Input(1, 2), Layer()
        ),
        records(
            "input-axes-wrap",
            "axis 255, and one byte holds the sum 0",
            "HED-13",
            SKIP,
            bad,
            "record1.first",
            SINE,
            Input(255, 1),
            Layer(),
        ),
        records(
            "input-axes-encoded",
            "3 encoded axes of 2",
            "HED-13",
            SKIP,
            bad,
            "record1.first",
            SINE,
            Input(0, 3, Fourier()),
            Layer(),
        ),
        records(
            "input-first-all",
            "an INPUT of all axes first",
            "HED-13",
            SKIP,
            bad,
            "record0.kind",
            Input(0, 2),
            SINE,
            Layer(),
        ),
        records(
            "input-first-all-encoded",
            "an encoded INPUT of all axes first",
            "HED-13",
            SKIP,
            bad,
            "record0.kind",
            Input(0, 2, Fourier()),
            SINE,
            Layer(),
        ),
        records(
            "input-first-encoding",
            "an input encoding behind an INPUT",
            "HED-5",
            SKIP,
            bad,
            "record1.kind",
            Input(0, 1),
            Fourier(),
            Layer(),
        ),
        records(
            "output-encoding",
            "an input encoding behind an OUTPUT",
            "HED-5",
            TWO,
            bad,
            "record1.kind",
            one,
            Fourier(),
            Layer(),
        ),
        records(
            "input-frequency",
            "255^9 is 2^64 or more, in an INPUT",
            "HED-12",
            ENCODED,
            "BAD_FLOAT",
            "record1.base",
            SINE,
            Input(0, 1, Fourier(10, base=255)),
            Layer(),
        ),
        records(
            "output-all",
            "the OUTPUT has all values",
            "HED-14",
            TWO,
            bad,
            "record1.width",
            SINE,
            one,
            Layer(),
            out_channels=1,
        ),
        records(
            "output-second",
            "two OUTPUT records have all values",
            "HED-14",
            TWO,
            bad,
            "record2.width",
            SINE,
            one,
            Output(Layer("SIGMOID", 2)),
            Layer(),
            out_channels=3,
        ),
        records(
            "output-more",
            "the first of two OUTPUT records has more than all values",
            "HED-14",
            TWO,
            bad,
            "record1.width",
            SINE,
            Output(Layer(width=255)),
            one,
            Layer(),
            out_channels=3,
        ),
        records(
            "output-more-wrap",
            "OUTPUT records of 257 values together, and of 1 in one byte",
            "HED-14",
            TWO,
            bad,
            "record2.width",
            SINE,
            Output(Layer(width=254)),
            Output(Layer(width=3)),
            Layer(),
            out_channels=255,
        ),
        records("gabor-equal", "two equal GABOR records", "HED-7", WAVES, bad, "record1.kind", GABOR, GABOR, Layer()),
        records("finer-equal", "two equal FINER records", "HED-7", FINE, bad, "record1.kind", FINER, FINER, Layer()),
        records(
            "output-limit-layers",
            "7 OUTPUT records of 9 layers at level 1",
            "HED-8",
            TWO,
            "LIMIT_LAYERS",
            "n_records",
            SINE,
            *many,
            Layer(),
            out_channels=9,
        ),
        records(
            "filter-limit-layers",
            "7 FILTER records of 9 layers at level 1",
            "HED-8",
            FILTERED,
            "LIMIT_LAYERS",
            "n_records",
            SINE,
            *(SCALED,) * 7,
            Layer(),
        ),
        records(
            "gabor-limit-width",
            "a GABOR layer of width 2049 at level 1",
            "HED-8",
            "valid-gabor-limit-width",
            "LIMIT_WIDTH",
            "n_records",
            Layer("GABOR", 2049, scale=2, bias=False),
            Layer(bias=False),
            **limit,
        ),
        records(
            "input-limit-width",
            "4095 values and 2 coordinates at level 1",
            "HED-8",
            "valid-limit-input-width",
            "LIMIT_WIDTH",
            "n_records",
            broad,
            Input(0, 1),
            Input(0, 1),
            Layer(bias=False),
            **limit,
        ),
        records(
            "filter-limit-parameters",
            "a FILTER of 4096 rows takes the parameters to 20481",
            "HED-8",
            "valid-limit-input-width",
            "LIMIT_PARAMETERS",
            "n_records",
            replace(broad, width=4096),
            Filter(Layer()),
            Layer(),
            **limit,
        ),
        records(
            "order-frequency-input",
            "HED-13 before HED-12",
            "5.5",
            ENCODED,
            "BAD_RECORD",
            "record0.kind",
            Input(0, 2),
            Input(0, 1, Fourier(10, base=255)),
            SINE,
            Layer(),
            in_dims=2,
            grid=(3, 3),
        ),
        records(
            "order-input-output",
            "HED-13 of the second record before HED-14 of the first",
            "5.5",
            TWO,
            bad,
            "record1.first",
            one,
            Input(2, 1),
            Layer(),
            out_channels=1,
        ),
    ]
    return out + factors() + ends()


def factors() -> list[Invalid]:
    """HED-16, and what comes before it."""

    def wrong(name: str, title: str, at: str, *given: Record, clause: str = "HED-16", **more: Any) -> Invalid:
        error = more.pop("error", "BAD_RECORD")
        changed = File(with_head(PARENTS[MULTIPLIED].file, records=given, **more).head, (), order=("HEAD",))
        return Invalid(f"invalid-{name}", title, (clause,), MULTIPLIED, error, f"HEAD.{at}", (), changed)

    two, other = Layer("SINE", 2, omega=3), Multiply(1)
    frequency = Input(0, 1, Fourier(10, base=255))
    return [
        wrong("multiply-none", "the first record is a MULTIPLY", "record0.layer", Multiply(0), SINE, Layer()),
        wrong("multiply-later", "by the layer behind it", "record1.layer", SINE, other, SAME_WIDTH, Layer()),
        wrong("multiply-last", "by the last layer", "record2.layer", SINE, SAME_WIDTH, Multiply(2), Layer()),
        wrong("multiply-255", "by layer 255", "record2.layer", SINE, SAME_WIDTH, Multiply(255), Layer()),
        wrong("multiply-repeat", "by layer 3 of three", "record1.layer", replace(SINE, repeat=3), Multiply(3), Layer()),
        wrong("multiply-encoding", "an encoding is no layer", "record2.layer", Fourier(), SINE, other, Layer()),
        wrong("multiply-input", "an INPUT is no layer", "record2.layer", two, Input(0, 2), other, Layer()),
        wrong("multiply-multiply", "a MULTIPLY is no layer", "record2.layer", SINE, Multiply(0), other, Layer()),
        wrong("multiply-width", "4 outputs, 5 values", "record2.layer", SINE, replace(SINE, width=5), Multiply(0),
              Layer()),
        wrong("multiply-width-less", "4 outputs, 3 values", "record2.layer", SINE, replace(SINE, width=3), Multiply(0),
              Layer()),
        wrong("multiply-width-one", "one output, 4 values", "record2.layer", SINE, Output(Layer()), other, Layer(),
              out_channels=2),
        wrong("multiply-gabor", "4 outputs, and a GABOR of width 4", "record2.layer", SINE, replace(GABOR, width=4),
              Multiply(0), Layer()),
        wrong("multiply-gabor-width", "a GABOR of width 4, and 4 values", "record2.layer", replace(GABOR, width=4),
              SINE, Multiply(0), Layer()),
        wrong("multiply-filter-width", "a FILTER of 4 values, and 3 of them now", "record3.layer", SINE, SCALED,
              replace(SINE, width=3), other, Layer()),
        wrong("order-limit-multiply", "HED-8 before HED-16", "n_records", replace(SINE, width=4097), other, Layer(),
              clause="5.5", error="LIMIT_WIDTH"),
        wrong("order-frequency-multiply", "HED-12 before HED-16", "record2.base", SINE, other, frequency, Layer(),
              clause="5.5", error="BAD_FLOAT"),
        wrong("order-relative-multiply", "HED-15 before HED-16", "record2.tool_flags", SINE, other,
              replace(SINE, row_steps=True), Layer(), clause="5.5", features_required=SHARED_BASE,
              base_digest=bytes(16)),
    ]  # fmt: skip


def ends() -> list[Invalid]:
    """HEAD ends inside a record of a new kind."""
    out = []
    for source, record, name in (
        (SKIP, 1, "encoding"),
        (BASE, 1, "base_binary32"),
        (TWO, 1, "layer_kind"),
        (SINES, 1, "width"),
        ("valid-filter-omega", 1, "omega_binary32"),
        (MULTIPLIED, 2, "layer"),
        (WAVES, 0, "scale"),
    ):
        mark = f"HEAD.record{record}.{name}"
        marks = build(PARENTS[source].file).marks
        size = marks["HEAD.crc32"].offset - marks[mark].offset
        kept = marks[mark].n_bits // 8 - 1
        out.append(
            Invalid(
                f"invalid-short-{source.removeprefix('valid-')}",
                f"HEAD ends inside the field {name}",
                ("CON-10",),
                source,
                "PAYLOAD_TOO_SHORT",
                "HEAD.crc32",
                (Edit(mark, b"", kept, size - kept),),
            )
        )
    return out


def records_invalid() -> list[Invalid]:
    """Every invalid vector of these records."""
    return fields() + flags() + floats() + rules()
