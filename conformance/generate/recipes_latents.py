"""Recipes of the valid vectors of tool 4: GRID, PYRAMID, CONV, contexts (clauses 9.6, 10.6, 16.5, 16.6)."""

from dataclasses import replace
from typing import Any

from conformance.generate.build import step_code
from conformance.generate.describe import (
    BOX,
    CENTRES,
    CENTRES_UNIT,
    CORNERS,
    CORNERS_PROPORTIONAL,
    ENCODING_ORDINAL,
    LATENTS,
    LEVEL_ORDINAL,
    PACKED,
    RANS,
    RAW,
    SEEDED,
    SPARSE,
    SPARSE_CODE,
    TRELLIS,
    TRELLIS_CODE,
    WIDE,
    ZLIB,
    Ancillary,
    Context,
    Entry,
    File,
    Filter,
    Fourier,
    Grid,
    Head,
    Input,
    LatentModel,
    Layer,
    Long,
    Multiply,
    Output,
    Pass,
    Pyramid,
    Record,
    Same,
    Short,
    Table,
    Tensor,
    Zero,
)
from conformance.generate.recipe import Valid, entry_for, numbers, points, with_entry
from conformance.generate.recipes_sparse import code_for
from conformance.generate.recipes_valid import HASH_TYPE

SMALL_STEP, FILTER_STEP = step_code(-4), step_code(-7)
PLAIN = Short("LAPLACE", 16)
NAN, INFINITE = float("nan"), float("inf")
DENSE = Grid(resolutions=((2, 3),))
MIXED = Grid(latent_dim=2, feature_dim=3, resolutions=((2, 3), (4, 4), (5, 4)))  # the last one is hashed
THREE = Pyramid(n_levels=3, n_taps=2)
INTERLACED, SERIAL = Pyramid(n_levels=3, context_id=1), Pyramid(n_levels=3, context_id=2)
SINE = Layer("SINE", 4, omega=2)
CONV, CONV_RELU = Layer("CONV"), Layer("CONV_RELU")
CONTEXT = Context()


def head(*records: Record, in_dims: int = 2, out_channels: int = 1, **fields: Any) -> Head:
    """A head with an encoding of latents, its features and a small grid."""
    grid = {1: (5,), 2: (3, 4), 3: (2, 3, 3), 4: (2, 1, 3, 2)}.get(in_dims, (2,) + (1,) * (in_dims - 1))
    features = LATENTS | fields.pop("features", 0)
    given = {"grid": grid, "modality": 8, "values": 2, "features_required": features, **fields}
    return Head(
        records=records if len(records) > 1 else (*records, Layer()),
        in_dims=in_dims,
        out_channels=out_channels,
        **given,
    )


def entry(tensor: Tensor, models: tuple[LatentModel, ...] = (PLAIN,), spread: int = 3, **fields: Any) -> Entry:
    """An entry with irregular values for any tensor of such a file."""
    if tensor.is_latent:
        return Entry(values=numbers(tensor.size, spread, tensor.ordinal), latent_models=models)
    if tensor.is_context:
        return Entry(values=numbers(tensor.size, 12, tensor.ordinal), model=Short("LAPLACE", 24), **fields)
    if tensor.is_sparse:
        return Entry(sparse=code_for(tensor, spread=3), step=step_code(-11))
    if tensor.layer.tool == RAW:
        return entry_for(tensor, 12)
    values = numbers(tensor.size, 12, tensor.ordinal + 1)  # of ordinal 0 the first and the third are equal
    step = FILTER_STEP if tensor.ordinal == ENCODING_ORDINAL else SMALL_STEP
    return Entry(values=tuple(v or 7 for v in values), step=step)  # a zero would hide what comes before it


def coded(described: Head, *models: LatentModel, spread: int = 3, coding: int = RANS, lanes: int = 0) -> File:
    """A file of one pass in which every level is coded with these models, one for each dimension or one for all."""
    rows = tuple(entry(tensor, models or (PLAIN,), spread) for tensor in described.tensors())
    return File(described, (Pass(rows, coding, lanes),))


def file(*records: Record, **fields: Any) -> File:
    """A file of these records."""
    return coded(head(*records, **fields))


def level(described: Head, number: int) -> int:
    """Place of a level in the table."""
    return [tensor.ordinal for tensor in described.tensors()].index(LEVEL_ORDINAL + number)


def with_level(source: File, number: int, pass_number: int = 0, **changes: Any) -> File:
    """The same file with another entry of a level."""
    return with_entry(source, level(source.head, number), pass_number, **changes)


def group(prefix: str, clauses: tuple[str, ...], found: dict[str, tuple[str, File]], **more: Any) -> list[Valid]:
    """Vectors of one kind."""
    return [Valid(f"valid-{prefix}-{name}", title, clauses, f, **more) for name, (title, f) in found.items()]


# --- GRID ----------------------------------------------------------------------------------------------


def grids() -> list[Valid]:
    """Levels, hashing, decoders, outputs, axes."""
    each = replace(MIXED, decoder_each=True)
    hashed = Grid(log2_table_size=3, latent_dim=2, feature_dim=2)
    recipes = {
        "min": ("one dense level of one latent", file(DENSE)),
        "levels": ("two dense levels, of which one has as many entries as there may be, and a hashed one", file(MIXED)),
        "summed": ("the levels are summed", file(replace(MIXED, summed=True))),
        "each": ("a decoder for each level", file(each)),
        "summed-each": ("a decoder for each level, and their sum", file(replace(each, summed=True))),
        "input": ("the coordinates are appended", file(replace(MIXED, append_input=True))),
        "one-axis": ("the first axis of three; the other coordinates follow", file(
            replace(MIXED, n_axes=1, resolutions=((3,), (17,))), in_dims=3)),
        "one-axis-input": ("one axis of two; all coordinates follow", file(
            replace(MIXED, n_axes=1, resolutions=((3,), (4,)), append_input=True))),
        "isotropic": ("one resolution for all axes", file(replace(MIXED, resolutions=((2,), (3,), (5,))))),
        "3-axes": ("three axes, hashed", file(replace(hashed, n_axes=3, resolutions=((3, 4, 3),)), in_dims=3)),
        "4-axes": ("four axes, dense and hashed", file(
            replace(hashed, n_axes=4, resolutions=((1, 2, 1, 2), (3, 4, 3, 5))), in_dims=4)),
        "8-dims": ("four axes of eight", file(replace(hashed, n_axes=4, resolutions=((3, 2, 2, 2),)), in_dims=8)),
        "one-vertex": ("axes of one vertex", file(replace(MIXED, resolutions=((1, 3), (1, 1), (4, 1))))),
        "one-entry": ("tables of one entry", file(replace(MIXED, log2_table_size=0))),
        "full": ("16 entries dense, 17 hashed", file(replace(MIXED, resolutions=((8, 2), (17, 1), (1, 17))))),
        "fine": ("a hashed level of 300 x 500 vertices", file(
            replace(hashed, log2_table_size=5, resolutions=((300, 500),)))),
        "no-bias": ("no bias", file(replace(MIXED, layer=Layer(bias=False)))),
        "raw": ("a decoder of tool 0 in binary16", file(replace(MIXED, layer=Layer(tool=RAW, half=True)))),
        "trellis": ("a decoder of tool 2", file(replace(MIXED, layer=Layer(tool=TRELLIS_CODE)), features=TRELLIS)),
        "sparse": (
            "a decoder of tool 3",
            file(replace(MIXED, layer=Layer(tool=SPARSE_CODE)), features=SPARSE | SEEDED),
        ),
        "layers": (
            "layers, INPUT, FILTER and OUTPUT behind a grid",
            file(MIXED, SINE, Output(Layer("SIGMOID", 1)), Input(1, 1, Fourier(1)), Filter(Layer(omega=2)), Layer(),
                 out_channels=3),
        ),
        "multiply": ("layers, INPUT, FILTER and MULTIPLY behind a grid", file(
            MIXED, SINE, Filter(Layer(omega=2)), Layer(width=2), Input(0, 2), Multiply(1), Layer(), grid=(2, 2))),
        "isotropic-one-axis": ("one resolution for all axes, of which there is one", file(
            replace(MIXED, n_axes=1, resolutions=((3,), (17,)), force={"flags": 4}))),
        "wrap": ("2^32 vertices are hashed", file(
            replace(hashed, n_axes=3, resolutions=((32768, 32768, 4),)), in_dims=3, grid=(1, 1, 2))),
        "64-levels": ("64 levels", file(Grid(feature_dim=2, summed=True, resolutions=((1, 2),) * 63 + ((4, 5),)))),
        "255-latents": ("255 dimensions", coded(
            head(Grid(latent_dim=255, resolutions=((1, 1),))), PLAIN, *(Same(),) * 254)),
        "no-grid": ("no native grid", file(MIXED, grid=(0, 0))),
    }  # fmt: skip
    seeded = file(replace(MIXED, layer=Layer(prior=True, row_steps=True)), features=SEEDED, seed=5)
    tools = with_entry(seeded, 2, prior=(200 << 8, 24), row_steps=(0, 3, -2))
    tools = with_entry(tools, 3, prior=(180 << 8, 24))
    out = group("grid", ("9.6.1", "16.5", "GRD-1", "GRD-4"), recipes)
    chosen: dict[str, dict[str, Any]] = {
        "valid-grid-no-grid": {"size": (3, 3)},
        "valid-grid-wrap": {"coords": points(3)},
    }
    out = [replace(vector, **chosen.get(vector.name, {})) for vector in out]
    return [*out, Valid("valid-grid-prior-rows", "a decoder with priors and row steps", ("9.6.1",), tools)]


def grid_points() -> list[Valid]:
    """Every rule of coordinates, points outside, sizes."""
    box = {"coords": BOX, "box": ((-2.5, 0.25), (1.0, 7.5))}
    rules: dict[str, dict[str, Any]] = {
        "centres": {"coords": CENTRES},
        "corners": {"coords": CORNERS},
        "proportional": {"coords": CORNERS_PROPORTIONAL},
        "unit": {"coords": CENTRES_UNIT},
        "box": box,
    }
    out = [
        Valid(f"valid-grid-coords-{name}", f"coordinates: {name}", ("16.5",), file(MIXED, **fields))
        for name, fields in rules.items()
    ]
    edges = ((NAN, 0.5), (0.5, NAN), (INFINITE, -INFINITE), (-1.5, 1.25), (1.0, -1.0), (0.25, 1.0))
    no_grid = file(MIXED, coords=CORNERS_PROPORTIONAL, grid=(0, 0))
    clauses = ("16.5", "VAL-2")
    return [
        *out,
        Valid("valid-grid-points", "points", ("16.5",), file(MIXED), coords=points(2)),
        Valid("valid-grid-points-edge", "points on the edge, outside, and none", clauses, file(MIXED), coords=edges),
        Valid("valid-grid-points-box", "points of a box", ("16.5",), file(MIXED, **box), coords=points(2)),
        Valid("valid-grid-points-no-grid", "coords 2 without a native grid", ("16.5",), no_grid, coords=points(2)),
        Valid("valid-grid-size", "another size", ("16.5",), file(MIXED, coords=CORNERS), size=(4, 3)),
        Valid("valid-grid-size-proportional", "coords 2: the range of an axis is that of the native grid",
              ("16.5",), file(MIXED, coords=CORNERS_PROPORTIONAL), size=(2, 5)),
    ]  # fmt: skip


def forms() -> list[Valid]:
    """Forms of latents, codings."""
    described = head(replace(MIXED, latent_dim=4, feature_dim=1, resolutions=((3, 3), (4, 5))))
    narrow = head(DENSE)
    twelve = head(replace(DENSE, resolutions=((4, 4),)))
    codes = (20, 27, 60, 61, 40, 12, 11)  # symbols from -3 to 3
    table = Table(3, codes, 1)
    chosen: dict[str, tuple[str, File]] = {
        "zero": ("form ZERO", with_level(coded(narrow), 0, values=(0,) * 6, latent_models=(Zero(),))),
        "laplace": ("short form, LAPLACE", coded(twelve, Short("LAPLACE", 10))),
        "gauss": ("short form, GAUSS", coded(twelve, Short("GAUSS", 10))),
        "flat": ("short form, FLAT", coded(twelve, Short("FLAT", 10))),
        "heavy": ("short form, HEAVY, with low bits", coded(twelve, Short("HEAVY", 50), spread=200)),
        "long": ("long form", coded(twelve, Long(3, 100, 150, 120, 1, 0, 0))),
        "long-escape": ("long form with low bits and escapes", coded(twelve, Long(2, 0, 140, 0, 0, 1, 1), spread=40)),
        "table": ("a table", coded(twelve, Table(3, codes))),
        "table-escape": ("a table with escapes at both ends", coded(twelve, table, spread=9)),
        "table-escape-far": ("escapes of a table up to 20 bits", with_level(
            coded(twelve, table), 0, values=(2**20, -(2**20), 3, -3, 2, -2, 4, -4, 1, 0, 5, -5, 6, -6, 700, -700))),
        "table-two": ("two symbols, both escaped", coded(twelve, Table(0, (64, 64), 1), spread=4)),
        "table-two-plain": ("two symbols, -1 and 0", with_level(
            coded(twelve, Table(1, (10, 60))), 0, values=(0, -1) * 8)),
        "table-above": ("symbols from 1 below to 5 above", coded(
            twelve, Table(1, (9, 50, 60, 40, 30, 20, 8), 1), spread=5)),
        "table-tie": ("equal greatest frequencies", coded(twelve, Table(3, (50, 60, 60, 61, 61, 61, 3)))),
        "table-whole-codes": ("codes that are written whole, where a difference would do, too", coded(
            twelve, Table(3, (0, 127, 0, 127, 120, 112, 120), long=(5,)))),
        "table-511": ("a table of 511 symbols", with_level(
            coded(twelve, Table(255, (40,) * 511, 1)), 0, values=(255, -255, 256, -256, *range(-6, 6)))),
        "each": ("a form for each dimension: ZERO, SHORT, TABLE, SAME", without_first(described)),
        "same": ("SAME repeats the form of an earlier level, and of an earlier dimension", same_forms(described)),
        "packed": ("packed latents, one list in C order", coded(head(MIXED), coding=PACKED)),
        "packed-32": ("packed latents of 32 bits, of the largest magnitude", with_level(
            coded(narrow, coding=PACKED), 0, values=(2**31 - 1, 1 - 2**31, 0, 5, -5, 1), width=32)),
        "packed-1": ("packed latents of one bit", with_level(
            coded(narrow, coding=PACKED), 0, values=(0, -1, -1, 0, 0, -1))),
        "zlib": ("compressed latents", coded(head(MIXED), coding=ZLIB)),
        "lanes": ("64 lanes", coded(head(MIXED), table, spread=5, lanes=6)),
    }  # fmt: skip
    return group("latents", ("9.6.3", "GRD-6", "GRD-7"), chosen)


def without_first(described: Head) -> File:
    """Four dimensions of four forms, the first all zero."""
    models = (Zero(), Short("GAUSS", 12), Table(3, (9, 20, 60, 61, 50, 33, 9), 1), Same())
    source = coded(described, *models)
    for number in (0, 1):
        at = level(described, number)
        values = source.passes[0].entries[at].values
        source = with_entry(source, at, values=tuple(0 if n % 4 == 0 else v for n, v in enumerate(values)))
    return source


def same_forms(described: Head) -> File:
    """Models that are repeated over dimensions and levels, with a form ZERO between them."""
    source = without_first(described)
    first = (Zero(), Long(3, 30, 150, 0, 0, 0, 0), Same(), Same())
    return with_level(with_level(source, 0, latent_models=first), 1, latent_models=(Zero(), Same(), Same(), Same()))


def later_passes() -> list[Valid]:
    """Levels that come in later passes."""
    described = head(MIXED, n_passes=3)
    whole = coded(described).passes[0].entries
    n_layers = level(described, 0)
    stay = tuple(Entry() for _ in range(n_layers))
    refined = tuple(Entry(values=numbers(t.size, 2, t.ordinal), refine=2) for t in described.tensors()[:n_layers])
    first = Pass((*whole[: n_layers + 1], Entry(), Entry()))
    progressive = File(
        described,
        (first, Pass((*refined, Entry(), whole[-2], Entry())), Pass((*stay, *[Entry()] * 2, whole[-1]), PACKED)),
    )
    two = replace(described, n_passes=2)
    nothing = File(two, (Pass((*whole[:n_layers], *[Entry()] * 3)), Pass((*stay, *whole[n_layers:]), ZLIB)))
    only = File(replace(described, n_passes=1), (Pass((*whole[:n_layers], *[Entry()] * 3)),))
    again = File(two, (Pass(whole), Pass((*refined, *[Entry()] * 3))))
    hashed = replace(
        again,
        ancillary=(Ancillary("HASH", HASH_TYPE, hash_passes=(0, 1)),),
        order=("HEAD", "PASS0", "PASS1", "HASH"),
    )
    return [
        Valid("valid-latents-passes", "a level a pass; the second refines the layers, too",
              ("GRD-5", "9.6.3"), progressive, each_pass=True),
        Valid("valid-latents-passes-late", "no level in the first pass, all in the second", ("GRD-5",), nothing,
              each_pass=True),
        Valid("valid-latents-none", "no level is coded: all are zeros", ("9.6", "9.6.3"), only),
        Valid("valid-latents-refined", "layers refined above levels that are coded", ("9.6.3", "ANC-1"), hashed,
              each_pass=True),
    ]  # fmt: skip


# --- PYRAMID -------------------------------------------------------------------------------------------


def pyramids() -> list[Valid]:
    """Levels, filters, halved axes, sizes."""
    every = Pyramid(n_levels=3, n_taps=4)
    taps = {f"taps-{t}": (f"filters of {t} numbers", file(replace(every, n_taps=t), grid=(9, 3))) for t in range(1, 9)}
    masks = {
        f"axes-{len(grid)}-{halved}": (
            f"axes {halved} (mask) of a grid {grid}", file(replace(every, halved=halved), in_dims=len(grid), grid=grid)
        )
        for halved, grid in (
            (1, (7,)), (1, (5, 3)), (2, (5, 3)), (6, (2, 5, 3)), (5, (3, 2, 5)), (7, (2, 3, 3)),
            (15, (2, 3, 1, 3)), (9, (3, 2, 1, 3)), (12, (2, 1, 3, 3)),
        )
    }  # fmt: skip
    recipes = {
        "min": ("one level, no filter", file(Pyramid(n_levels=1))),
        "levels": ("three levels", file(THREE)),
        "one-filter": ("one filter for all levels", file(replace(every, one_filter=True), grid=(9, 3))),
        "one-filter-2": ("one filter, two levels", file(replace(every, n_levels=2, one_filter=True))),
        "16-levels": ("16 levels, most of one sample", file(replace(every, n_levels=16))),
        "one-sample": ("a grid of one sample", file(every, grid=(1, 1))),
        "one-row": ("an axis of one sample", file(every, grid=(1, 6))),
        "one-tap-zero": ("no filter is needed: t = 1, form ZERO", zero_filter(replace(every, n_taps=1))),
        "bicubic": ("zero weights: bicubic up-sampling", zero_filter(every)),
        "rows": ("filters with row steps", with_entry(
            file(replace(every, layer=Layer(row_steps=True))), 2, row_steps=(0, 5))),
        "prior": ("filters with a prior", with_entry(
            file(replace(every, layer=Layer(prior=True)), features=SEEDED), 2, prior=(200 << 8, 27))),
        "raw": ("filters of tool 0", file(replace(every, layer=Layer(tool=RAW)))),
        "trellis": ("filters of tool 2", file(replace(every, layer=Layer(tool=TRELLIS_CODE)), features=TRELLIS)),
        "sparse": ("filters of tool 3", file(
            replace(every, layer=Layer(tool=SPARSE_CODE)), features=SPARSE | SEEDED)),
        "rgb": ("three values", file(THREE, Layer("RELU", 5), Layer(), out_channels=3)),
        "records": ("layers, INPUT, FILTER and OUTPUT behind a pyramid", file(
            THREE, SINE, Output(Layer("SIGMOID", 1)), Input(1, 1, Fourier(1)), Filter(Layer(omega=2)), Layer(),
            out_channels=2)),
        "wide": ("WIDE: u32 grid", file(THREE, features=WIDE | SEEDED, seed=1 << 40)),
        "packed": ("packed latents", coded(head(THREE), coding=PACKED)),
        "zlib": ("compressed latents", coded(head(THREE), coding=ZLIB)),
        "lanes": ("64 lanes", coded(head(THREE), Same(), lanes=6)),
    }  # fmt: skip
    recipes["lanes"] = (
        "64 lanes; SAME",
        with_level(recipes["lanes"][1], 0, latent_models=(Long(2, 9, 150, 0, 0, 0, 1),)),
    )
    recipes["wide"] = ("WIDE: u32 grid", file(
        replace(THREE, layer=Layer(prior=True)), features=WIDE | SEEDED, seed=1 << 40))  # fmt: skip
    return [*group("pyramid", ("9.6.2", "16.6", "GRD-2"), recipes | taps | masks), pyramid_passes()]


def pyramid_passes() -> Valid:
    """Levels and finer filters in later passes."""
    described = head(THREE, n_passes=3)
    whole = coded(described).passes[0].entries
    stay, none = (Entry(),) * 3, (Entry(),) * 2
    finer = Entry(values=numbers(4, 3, 7), refine=3)
    passes = (
        Pass((*whole[:3], whole[3], *none)),
        Pass((Entry(), Entry(), finer, Entry(), whole[4], Entry())),
        Pass((*stay, *none, whole[5]), PACKED),
    )
    title = "a level a pass; the second refines the filters, too"
    return Valid("valid-pyramid-passes", title, ("GRD-5", "9.6.2", "WGT-2"), File(described, passes), each_pass=True)


def zero_filter(pyramid: Pyramid) -> File:
    """Filters that are their defaults."""
    source = file(pyramid, grid=(7, 3))
    size = source.head.tensors()[2].size
    return with_entry(source, 2, values=(0,) * size, model=Zero())


def pyramid_points() -> list[Valid]:
    """Every rule of coordinates, on and off the lattice."""
    box = {"coords": BOX, "box": ((-2.5, 0.25), (1.0, 7.5))}
    off = ((0.3125, -0.40625), (-0.875, 0.75), (NAN, 0.25), (0.125, NAN), (INFINITE, -INFINITE), (-3.0, 0.5))
    filtered = (THREE, Layer("RELU", 2), replace(CONV_RELU, width=2), CONV)
    rules: dict[str, dict[str, Any]] = {
        "centres": {"coords": CENTRES},
        "corners": {"coords": CORNERS},
        "proportional": {"coords": CORNERS_PROPORTIONAL},
        "unit": {"coords": CENTRES_UNIT},
        "box": box,
    }
    out = []
    for name, fields in rules.items():
        where = ("16.6", "VAL-2")
        plain = file(THREE, SINE, Layer(), **fields)
        convolved = file(*filtered, out_channels=2, **fields)
        out.append(Valid(f"valid-pyramid-coords-{name}", f"coordinates: {name}", ("16.6",), plain))
        out.append(Valid(f"valid-pyramid-points-{name}", f"points off the lattice: {name}", where, plain, coords=off))
        out.append(Valid(f"valid-conv-points-{name}", f"behind lattice filters: {name}", where, convolved, coords=off))
    sizes = {"pyramid-size": file(THREE, SINE, Layer()), "conv-size": file(*filtered, out_channels=2)}
    out += [Valid(f"valid-{name}", "another size", ("16.6",), found, size=(5, 2)) for name, found in sizes.items()]
    one = file(THREE, grid=(1, 3), coords=CORNERS)
    out.append(Valid("valid-pyramid-points-one-row", "an axis of one sample", ("16.6",), one, coords=off))
    return out


def filters() -> list[Valid]:
    """CONV and CONV_RELU."""
    two = {"out_channels": 2}
    relu = Layer("RELU", 2)
    recipes = {
        "last": ("the last record is a CONV", file(THREE, relu, CONV, **two)),
        "relu-last": ("the last record is a CONV_RELU", file(THREE, relu, CONV_RELU, **two)),
        "first": ("a CONV alone, as wide as the levels are many", file(THREE, CONV, out_channels=3)),
        "two": ("a CONV_RELU and a CONV", file(THREE, relu, replace(CONV_RELU, width=2), CONV, **two)),
        "repeat": ("a CONV_RELU twice", file(THREE, relu, replace(CONV_RELU, width=2, repeat=2), CONV, **two)),
        "grey": ("one value", file(THREE, Layer("TANH", 3), Layer(), CONV, grid=(5, 3))),
        "rgb": ("three values", file(THREE, Layer(width=3), replace(CONV_RELU, width=3), CONV, out_channels=3)),
        "one-axis": ("one halved axis: 3 weights", file(replace(THREE, halved=2), relu, CONV, grid=(3, 5), **two)),
        "3-axes": ("three halved axes: 27 weights", file(
            replace(THREE, halved=7), Layer(), CONV, in_dims=3)),
        "planes": ("two halved axes of three", file(replace(THREE, halved=6), relu, CONV, in_dims=3, **two)),
        "one-sample": ("a lattice of one sample", file(THREE, relu, CONV, grid=(1, 1), **two)),
        "no-bias": ("no bias", file(THREE, relu, replace(CONV, bias=False), **two)),
        "trellis": ("tool 2", file(THREE, relu, replace(CONV, tool=TRELLIS_CODE), features=TRELLIS, **two)),
        "sparse": ("tool 3", file(
            THREE, relu, replace(CONV, tool=SPARSE_CODE), features=SPARSE | SEEDED, **two)),
        "raw": ("tool 0", file(THREE, relu, replace(CONV, tool=RAW, half=True), **two)),
        "one-level": ("one level", file(Pyramid(n_levels=1), CONV)),
        "records": ("layers, FILTER, OUTPUT, INPUT and MULTIPLY before it", file(
            THREE, relu, Filter(Layer(omega=2)), Output(Layer("SIGMOID", 1)), Layer(), Input(1, 1), Multiply(1), CONV,
            out_channels=3)),
    }  # fmt: skip
    return group("conv", ("16.6", "GRD-3", "6.7"), recipes)


# --- context coding ------------------------------------------------------------------------------------


def context_file(pyramid: Pyramid, *, spread: int = 4, lanes: int = 0, **fields: Any) -> File:
    """A pyramid whose levels are all of form CONTEXT."""
    return coded(head(pyramid, **fields), CONTEXT, spread=spread, lanes=lanes)


def with_context(source: File, name: str, **changes: Any) -> File:
    """The same file with other integers in a context tensor."""
    pyramid = source.head.records[0]
    ordinals = [tensor.ordinal for tensor in source.head.tensors()]
    if not isinstance(pyramid, Pyramid):
        raise TypeError("no pyramid")
    ordinal, rows, columns = pyramid.context_shapes()[name]
    if callable(changes.get("values")):
        changes["values"] = changes["values"](rows * columns)
    return with_entry(source, ordinals.index(ordinal), **changes)


def constant(value: int) -> Any:
    """The same integer everywhere."""
    return lambda n: (value,) * n


def outputs(source: File, mean: int, scale: int) -> File:
    """A context network that gives the same model everywhere: offsets alone, in units of 2^-8."""
    for name in ("output", "linear"):
        source = with_context(source, name, values=constant(0), model=Zero())
    kinds = 2 if source.head.records[0].context_id == 1 else 1  # type: ignore[union-attr]
    pairs = lambda n: tuple((mean // kinds, scale // kinds)[i % 2] for i in range(n))  # noqa: E731
    return with_context(source, "offset", values=pairs, context_step=8, model=Short("LAPLACE", 70))


def contexts() -> list[Valid]:
    """Both context networks: orders, inputs, widths, hidden layers, models."""
    out: dict[str, tuple[str, File]] = {}
    for name, pyramid in (("interlaced", INTERLACED), ("serial", SERIAL)):
        wide = replace(pyramid, width=8, n_hidden=2)
        plain = context_file(pyramid, grid=(11, 9))
        far = with_level(
            context_file(pyramid), 2, values=(9000, -9000, 63, -63, 64, -64, 1, 0, 2**20, -(2**20), 65, -65)
        )
        between = with_level(plain, 1, latent_models=(PLAIN,))
        chosen = {
            "plain": ("three levels, no hidden layer", plain),
            "one-level": ("one level", context_file(replace(pyramid, n_levels=1), grid=(9, 10))),
            "levels": ("five levels", context_file(replace(pyramid, n_levels=5), grid=(9, 17))),
            "hidden-1": ("a hidden layer", context_file(replace(pyramid, n_hidden=1), grid=(5, 6))),
            "width-8": ("width 8, two hidden layers", context_file(wide, grid=(5, 6))),
            "width-12": ("width 12, three hidden layers", context_file(
                replace(pyramid, width=12, n_hidden=3), grid=(3, 5))),
            "planes": ("three planes", context_file(replace(pyramid, halved=6), in_dims=3, grid=(3, 3, 5))),
            "planes-4": ("planes of two axes", context_file(
                replace(pyramid, halved=12), in_dims=4, grid=(2, 2, 3, 2))),
            "one-sample": ("planes of one sample", context_file(pyramid, grid=(1, 1))),
            "one-row": ("planes of one row", context_file(pyramid, grid=(1, 10))),
            "one-column": ("planes of one column", context_file(pyramid, grid=(10, 1))),
            "far": ("latents far beyond their models and beyond 63", far),
            "between": ("a level of form SHORT between levels of form CONTEXT", between),
            "steps": ("every tensor with another step", other_steps(context_file(wide, grid=(5, 6)))),
            "large": ("hidden values clipped at both ends", with_context(
                context_file(wide, grid=(5, 6)), "phase", values=alternating, context_step=0,
                model=Short("LAPLACE", 80))),
            "mean-high": ("means clipped at 16383", outputs(context_file(pyramid), 20000 // 10, 0)),
            "lanes": ("64 lanes", context_file(pyramid, grid=(11, 9), lanes=6)),
            "conv": ("lattice filters behind it", context_file_with(pyramid)),
        }  # fmt: skip
        chosen["mean-high"] = ("means clipped at 16383", clipped(context_file(pyramid), 2047))
        chosen["mean-low"] = ("means clipped at -16384, scales at 0", clipped(context_file(pyramid), -2047))
        chosen["scale-0"] = ("the least scale", outputs(context_file(pyramid, spread=1), 0, -1030))
        chosen["scale-63"] = ("the largest scale", outputs(context_file(pyramid, spread=60), 100, 1000))
        chosen["halves"] = ("means on the halves between two sixteenths", outputs(context_file(pyramid), -376, 16))
        out |= {f"{name}-{key}": value for key, value in chosen.items()}
    return group("context", ("10.6", "CTX-1", "GRD-8"), out) + context_passes()


def alternating(n: int) -> tuple[int, ...]:
    """Large integers of both signs."""
    return tuple((2047, -2047, 70, -70)[i % 4] for i in range(n))


def clipped(source: File, value: int) -> File:
    """A network whose outputs are far outside of what a model has."""
    zero = outputs(source, 0, 0)
    return with_context(zero, "offset", values=constant(value), context_step=0, model=Short("LAPLACE", 80))


def other_steps(source: File) -> File:
    """Context tensors with steps from 1 to 2^-15."""
    q = 0
    for n, tensor in enumerate(source.head.tensors()):
        if tensor.is_context:
            source = with_entry(source, n, context_step=q)
            q = (q + 5) % 16
    return source


def context_file_with(pyramid: Pyramid) -> File:
    """Grey values of a pyramid with lattice filters."""
    described = head(pyramid, Layer("RELU", 2), replace(CONV_RELU, width=2), CONV, out_channels=2, grid=(5, 3))
    return coded(described, CONTEXT)


def context_passes() -> list[Valid]:
    """Context-coded levels in later passes."""
    described = head(replace(INTERLACED, n_levels=4), grid=(7, 6), n_passes=3)
    whole = coded(described, CONTEXT).passes[0].entries
    first = level(described, 0)
    stay = (Entry(),) * first
    plain = replace(whole[first + 1], latent_models=(Table(3, (9, 20, 60, 61, 50, 33, 9), 1),))
    passes = (
        Pass((*whole[: first + 1], *(Entry(),) * 3)),
        Pass((*stay, Entry(), plain, whole[first + 2], Entry())),
        Pass((*stay, *(Entry(),) * 3, whole[first + 3]), RANS, 6),
    )
    packed = replace(passes[0], coding=PACKED)
    widest = context_file(replace(SERIAL, n_levels=2, width=32, n_hidden=1))
    serial = head(replace(SERIAL, n_levels=4), grid=(7, 6), n_passes=3)
    of_serial = coded(serial, CONTEXT).passes[0].entries
    two = (
        Pass((*of_serial[: first + 1], *(Entry(),) * 3)),
        Pass((*stay, Entry(), of_serial[first + 1], *(Entry(),) * 2)),
        Pass((*stay, *(Entry(),) * 2, *of_serial[first + 2 :])),
    )
    return [
        Valid("valid-context-passes", "levels of three forms in three passes, one and 64 lanes",
              ("GRD-5", "10.6", "17"), File(described, passes), each_pass=True, prefixes=True),
        Valid("valid-context-passes-packed", "the network and the first level packed, the others by contexts",
              ("GRD-8", "10.6"), File(described, (packed, *passes[1:])), each_pass=True),
        Valid("valid-context-passes-serial", "causal contexts over levels of earlier passes", ("GRD-5", "10.6"),
              File(serial, two), each_pass=True),
        Valid("valid-context-width-32", "width 32", ("10.6", "9.6.2"), widest),
    ]  # fmt: skip


def latents_valid() -> list[Valid]:
    """Every valid vector of tool 4 in the order of the ladder."""
    return grids() + grid_points() + forms() + later_passes() + pyramids() + pyramid_points() + filters() + contexts()
