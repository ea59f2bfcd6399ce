"""Recipes of the valid vectors of PARTS (clause 13.1): tiles and groups of frames with chunks of their own."""

import struct
from dataclasses import replace
from typing import Any

from conformance.generate.build import step_code
from conformance.generate.describe import (
    BITMAP,
    BROTLI,
    LATENTS,
    PACKED,
    PARTS,
    RANS,
    RAW,
    SEEDED,
    SHARED_PART,
    SPARSE,
    SPARSE_CODE,
    TRELLIS,
    TRELLIS_CODE,
    WIDE,
    ZLIB,
    ZSTANDARD,
    Ancillary,
    Context,
    Entry,
    File,
    Filter,
    Fourier,
    FourierSeeded,
    Grid,
    Head,
    Input,
    LatentModel,
    Layer,
    Multiply,
    Output,
    Pass,
    Pyramid,
    Record,
    Same,
    Short,
    SparseCode,
    Table,
    Tensor,
    Zero,
)
from conformance.generate.recipe import Valid, numbers, patterns, points, with_entry, with_head, with_pass
from conformance.generate.recipes_latents import CONV, CONV_RELU, FILTER_STEP, MIXED
from conformance.generate.recipes_sparse import T8, code_for
from conformance.generate.recipes_valid import HASH_TYPE, INDX_TYPE, META_TYPE
from conformance.generate.recipes_widths import brotli_of, packed_body, zstandard_of

SINE = Layer("SINE", 2, omega=2)
SMALL_STEP = step_code(-4)
UNKNOWN_TYPE = 0x86
PRIOR = (200 << 8, 33)
GRIDS = {1: (9,), 2: (6, 5), 3: (6, 2, 3), 4: (2, 1, 1, 1)}
TWO_LEVELS = Grid(latent_dim=2, feature_dim=2, log2_table_size=3, resolutions=((2, 2), (4, 3)))
PYRAMID = Pyramid(n_levels=2, n_taps=2)
INTERLACED, SERIAL = Pyramid(n_levels=2, context_id=1), Pyramid(n_levels=2, context_id=2)
PLAIN: LatentModel = Short("LAPLACE", 16)
CONTEXT: LatentModel = Context()


def head(*records: Record, split: tuple[int, ...], overlap: tuple[int, ...] = (), **fields: Any) -> Head:
    """A head with parts; a linear layer is the last one where none is given."""
    in_dims = len(split)
    features = PARTS | fields.pop("features", 0)
    if any(isinstance(record, Grid | Pyramid) for record in records):
        features |= LATENTS
    given = {"grid": GRIDS[in_dims], "modality": 8, "values": 2, "seed": 77, **fields}
    last = given.pop("last", Layer())
    return Head(
        records=(*records, last),
        features_required=features,
        in_dims=in_dims,
        split=split,
        overlap=overlap or (0,) * in_dims,
        **given,
    )


def entry(tensor: Tensor, part: int | None, models: tuple[LatentModel, ...] = (PLAIN,)) -> Entry:
    """An entry with irregular values, others in every part."""
    salt = tensor.ordinal + 101 * (part or 0)
    if tensor.is_latent:
        return Entry(values=numbers(tensor.size, 3, salt), latent_models=models)
    if tensor.is_context:
        return Entry(values=numbers(tensor.size, 12, salt), model=Short("LAPLACE", 24))
    if tensor.layer.tool == RAW:
        return Entry(values=patterns(tensor.size, tensor.layer.half, salt))
    if tensor.is_sparse:
        return Entry(sparse=code_for(tensor, n_nonzero=1 + (part or 0) % 2, spread=3), step=step_code(-11))
    values = tuple(v or 7 for v in numbers(tensor.size, 12, salt))
    return Entry(values=values, step=FILTER_STEP if tensor.ordinal == 65536 else SMALL_STEP)


def later(tensor: Tensor, part: int | None) -> Entry:
    """An entry that changes a tensor that can be refined."""
    if tensor.is_latent or tensor.is_context or tensor.layer.tool == RAW:
        return Entry()
    if tensor.is_sparse:
        return Entry(sparse=code_for(tensor, n_nonzero=1, spread=2), refine=1)
    return Entry(values=numbers(tensor.size, 2, tensor.ordinal + 77 * (part or 0)), refine=2)


def tiled(described: Head, *codings: int, models: tuple[LatentModel, ...] = (PLAIN,), lanes: int = 0) -> File:
    """A file in which every tensor is coded in pass 0 and refined after; codings by chunk, over and over."""
    passes: list[Pass] = []
    for number in range(described.n_passes):
        for part in described.chunk_parts():
            tensors = described.tensors_of(part)
            rows = tuple(later(t, part) if number else entry(t, part, models) for t in tensors)
            coding = (codings or (RANS,))[len(passes) % max(len(codings), 1)]
            passes.append(Pass(rows, coding, lanes))
    return File(described, tuple(passes))


def file(*records: Record, split: tuple[int, ...], **fields: Any) -> File:
    """A file of these records, with every level in pass 0."""
    return tiled(head(*records, split=split, **fields))


def context_file(pyramid: Pyramid, **fields: Any) -> File:
    """A file whose levels have form 5."""
    described = head(pyramid, **fields)
    return tiled(described, models=(CONTEXT,))


QUARTERS = file(SINE, split=(2, 2), overlap=(1, 1))
LINE = file(SINE, split=(4,), overlap=(1,))
SHARED_GRID = file(TWO_LEVELS, SINE, split=(2, 2), overlap=(1, 1), shared=1)


def networks() -> list[Valid]:
    """Splits, overlaps, layers."""
    nothing = Layer()
    found: dict[str, tuple[str, File]] = {
        "line": ("a line of 9 samples in 4 parts: 2, 2, 2 and 3 samples", file(SINE, split=(4,))),
        "line-overlap": ("4 parts that overlap by a sample on each side", LINE),
        "line-half": ("2 parts with the most overlap, half a part", file(SINE, split=(2,), overlap=(2,))),
        "line-whole": ("2 parts of 4 samples, overlap 2: every part has three quarters", file(
            SINE, split=(2,), overlap=(2,), grid=(8,))),
        "line-samples": ("every sample is a part", file(split=(9,))),
        "line-5-of-8": ("8 samples in 5 parts: 1, 2, 1, 2, 2", file(SINE, split=(5,), grid=(8,))),
        "image": ("2 x 2 tiles that overlap", QUARTERS),
        "image-plain": ("2 x 2 tiles without overlap", file(SINE, split=(2, 2))),
        "image-3-2": ("3 x 2 tiles of 7 x 5 samples, overlap on one axis: numbers in C order", file(
            SINE, split=(3, 2), overlap=(1, 0), grid=(7, 5))),
        "image-columns": ("one axis is cut", file(SINE, split=(1, 2), overlap=(0, 1))),
        "image-mixed": ("overlaps of 1 and 2", file(SINE, split=(3, 2), overlap=(1, 2), grid=(7, 9))),
        "video": ("groups of frames that overlap", file(SINE, split=(2, 1, 1), overlap=(1, 0, 0))),
        "video-tiles": ("groups of frames, cut into tiles", file(SINE, split=(2, 1, 3), overlap=(1, 0, 0))),
        "volume": ("2 x 2 x 2 blocks that overlap on all axes", file(
            nothing, split=(2, 2, 2), overlap=(1, 1, 1), grid=(4, 5, 4))),
        "64": ("64 parts, the most of level 1", file(split=(8, 8), grid=(8, 8), last=Layer(bias=False))),
        "65-level-2": ("65 parts at level 2", file(split=(65,), grid=(65,), level=2, last=Layer(bias=False))),
        "fourier": ("FOURIER of the coordinates of the part", file(Fourier(2), SINE, split=(2, 2), overlap=(1, 0))),
        "fourier-seeded": ("FOURIER_SEEDED: one matrix for all parts", file(
            FourierSeeded(3), split=(2, 2), features=SEEDED)),
        "structure": ("INPUT, FILTER and OUTPUT take the coordinates of the part", file(
            SINE, Input(1, 1, Fourier(1)), Filter(Layer(omega=2)), Output(Layer("SIGMOID")), Layer("GABOR", 2),
            split=(2, 2), overlap=(1, 1), out_channels=3)),
        "multiply": ("a MULTIPLY takes values of its own part", file(
            SINE, Filter(Layer(omega=2)), Layer(width=SINE.width), Multiply(1), split=(2,), overlap=(1,), grid=(5,))),
        "sigmoid": ("a last layer of sigmoids: values are blended, not their arguments", file(
            SINE, split=(2, 2), overlap=(1, 1), last=Layer("SIGMOID"), out_channels=2)),
    }  # fmt: skip
    return group(("13.1", "PRT-2", "PRT-3", "PAS-3", "PAS-6"), found)


def group(clauses: tuple[str, ...], found: dict[str, tuple[str, File]], **more: Any) -> list[Valid]:
    """Vectors of one kind."""
    return [Valid(f"valid-parts-{name}", title, clauses, f, **more) for name, (title, f) in found.items()]


def encodings() -> list[Valid]:
    """Grids and pyramids, shared or not, contexts, lattice filters."""
    tiles: dict[str, Any] = {"split": (2, 2), "overlap": (1, 1)}
    shared = tiles | {"shared": 1}
    uneven: dict[str, Any] = {"split": (3, 2), "overlap": (1, 0), "grid": (7, 5)}
    relu = Layer("RELU", 2)
    video: dict[str, Any] = {"split": (2, 1, 1), "overlap": (1, 0, 0), "grid": (4, 3, 4)}
    last_two: dict[str, Any] = {"halved": 6}
    table = Table(3, (20, 27, 60, 61, 40, 12, 11), 1)
    found: dict[str, tuple[str, File]] = {
        "grid": ("a GRID for each part, with its decoder and layers", file(TWO_LEVELS, SINE, **tiles)),
        "grid-shared": ("the decoder and the layers are shared", SHARED_GRID),
        "grid-shared-hashed": ("hashed levels, a decoder for each level, no overlap", file(
            replace(MIXED, decoder_each=True, append_input=True), split=(2, 2), shared=1)),
        "grid-one-axis": ("a GRID over frames; the other coordinates follow", file(
            replace(TWO_LEVELS, n_axes=1, resolutions=((2,), (3,))), SINE, split=(2, 1, 3), overlap=(1, 0, 0),
            shared=1)),
        "grid-table": ("tables of frequencies in every chunk", tiled(
            head(TWO_LEVELS, **shared), models=(table, Same()))),
        "pyramid": ("a PYRAMID over the lattice of each part", file(PYRAMID, SINE, **tiles)),
        "pyramid-shared": ("the filters and the layers are shared", file(PYRAMID, SINE, **shared)),
        "pyramid-uneven": ("parts of other sizes: levels of other shapes", file(
            replace(PYRAMID, n_levels=3), **uneven, shared=1)),
        "pyramid-line": ("a pyramid on a line", file(replace(PYRAMID, halved=1), split=(4,), overlap=(1,), shared=1)),
        "pyramid-video": ("frames are not halved", file(replace(PYRAMID, halved=6), **video, shared=1)),
        "pyramid-one-level": ("one level, without a filter", file(Pyramid(n_levels=1), **shared)),
        "conv": ("a lattice filter ends at the edge of the part lattice", file(
            PYRAMID, relu, replace(CONV_RELU, width=2), **tiles, last=CONV, out_channels=2)),
        "conv-shared": ("the same lattice filter for all parts", file(
            PYRAMID, relu, replace(CONV, width=2), **uneven, shared=1, last=CONV_RELU, out_channels=2)),
        "interlaced": ("context 1 of each part", context_file(INTERLACED, **tiles)),
        "interlaced-shared": ("context 1, a shared context network", context_file(INTERLACED, **shared)),
        "interlaced-hidden": ("a context network with a hidden layer, parts of other sizes", context_file(
            replace(INTERLACED, n_hidden=1, n_levels=3), **uneven, shared=1)),
        "interlaced-video": ("context 1 in planes", context_file(replace(INTERLACED, **last_two), **video, shared=1)),
        "serial": ("context 2 of each part", context_file(SERIAL, **tiles)),
        "serial-shared": ("context 2, a shared context network", context_file(SERIAL, **uneven, shared=1)),
    }  # fmt: skip
    return group(("13.1", "PRT-4", "9.6", "10.6"), found)


def tools() -> list[Valid]:
    """Coding tools and codings."""
    all_tools = head(
        replace(SINE, tool=RAW, half=True),
        Layer("RELU", 3, tool=TRELLIS_CODE),
        replace(SINE, tool=SPARSE_CODE),
        Layer("TANH", 2, prior=True, row_steps=True),
        split=(1, 2),
        overlap=(0, 1),
        features=SEEDED | SPARSE | TRELLIS,
        n_passes=2,
        rng_dictionary=T8,
    )
    mixed = tiled(all_tools, RANS, PACKED, ZLIB)
    mixed = with_entry(with_entry(mixed, 6, 0, prior=PRIOR, row_steps=(2, -3)), 6, 1, prior=PRIOR)
    grid = replace(TWO_LEVELS, layer=Layer(prior=True, row_steps=True))
    shared = tiled(head(grid, Layer("RELU", 2, prior=True), split=(2, 1), shared=1, features=SEEDED))
    for place in (0, 1, 4, 5):
        shared = with_entry(shared, place, 0, prior=PRIOR)
    frozen = tiled(head(SINE, split=(2, 2), profile=2), PACKED, BROTLI, ZSTANDARD, ZLIB)
    for number, how in ((1, brotli_of), (2, zstandard_of)):
        frozen = with_pass(frozen, number, body_hex=how(packed_body(frozen, number)).hex())
    codings = head(TWO_LEVELS, SINE, split=(2, 2), overlap=(1, 1), shared=1)
    some_zero = with_entry(SHARED_GRID, 0, 3, values=(0,) * 8, latent_models=(Zero(),))
    found: dict[str, tuple[str, File]] = {
        "tools": ("tools 0 to 3, a prior, row steps; the prior is that of the ordinal in every part", mixed),
        "sparse": ("tool 3 in two parts", tiled(
            head(replace(SINE, tool=SPARSE_CODE), split=(2,), features=SEEDED | SPARSE))),
        "prior-shared": ("priors of shared tensors", shared),
        "codings": ("packed, rANS and zlib in the chunks of a pass", tiled(codings, PACKED, RANS, ZLIB)),
        "frozen": ("packed, Brotli, Zstandard and zlib in the chunks of a pass", frozen),
        "lanes": ("64 lanes in the second part alone", with_pass(LINE, 1, log2_lanes=6)),
        "zero": ("a level of one part is zeros", some_zero),
    }  # fmt: skip
    return group(("13.1", "7.1"), found, each_pass=True)


def levels_as_passes(described: Head) -> File:
    """A level a pass; the layers come in the first pass and are refined in the last one."""
    passes = []
    for number in range(described.n_passes):
        for part in described.chunk_parts():
            rows = []
            for tensor in described.tensors_of(part):
                level = tensor.ordinal - 65792
                if tensor.is_latent:
                    rows.append(entry(tensor, part) if level == number else Entry())
                elif number == 0:
                    rows.append(entry(tensor, part))
                else:
                    rows.append(later(tensor, part) if number == described.n_passes - 1 else Entry())
            passes.append(Pass(tuple(rows)))
    return File(described, tuple(passes))


def some_levels() -> File:
    """The second part has no level in pass 0, the first one all; then the other way round."""
    described = head(TWO_LEVELS, split=(2, 1), shared=1, n_passes=2)
    whole = tiled(described)
    none = (Entry(), Entry())
    keep = tuple(Entry() for _ in described.tensors_of(SHARED_PART))
    second = whole.passes[2].entries
    chunks = (whole.passes[0], whole.passes[1], Pass(none), Pass(keep), Pass(none), Pass(second))
    return File(described, chunks)


def passes() -> list[Valid]:
    """Several passes, prefixes."""
    three = replace(SHARED_GRID.head, n_passes=2)
    pyramid = head(replace(PYRAMID, n_levels=3), SINE, split=(2, 1), overlap=(1, 0), shared=1, n_passes=3)
    own = replace(pyramid, shared=0, n_passes=3)
    two = head(TWO_LEVELS, split=(2, 1), overlap=(1, 0), shared=1, n_passes=2)
    third = head(SINE, split=(3,), n_passes=3)
    clauses = ("13.1", "17", "PAS-4", "PAS-6")
    return [
        Valid("valid-parts-passes", "two passes of three chunks, cut everywhere", (*clauses, "CON-8", "DEC-5"),
              levels_as_passes(two), each_pass=True, prefixes=True),
        Valid("valid-parts-passes-refined", "a shared network is refined", clauses, tiled(three), each_pass=True),
        Valid("valid-parts-passes-line", "three passes of three parts", clauses, tiled(third), each_pass=True),
        Valid("valid-parts-levels", "a level of a pyramid a pass, shared filters", clauses,
              levels_as_passes(pyramid), each_pass=True),
        Valid("valid-parts-levels-own", "a level of a pyramid a pass, filters of each part", clauses,
              levels_as_passes(own), each_pass=True),
        Valid("valid-parts-levels-some", "levels come to one part in the first pass and to the other in the second",
              (*clauses, "GRD-5"), some_levels(), each_pass=True),
    ]  # fmt: skip


NAN, INFINITE = float("nan"), float("inf")


def below(x: float) -> float:
    """The binary32 number before one that is below 0 or above, but not 0."""
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return float(struct.unpack("<f", struct.pack("<I", bits + (1 if x < 0 else -1)))[0])


def samples() -> list[Valid]:
    """Other sizes, and points at the seams."""
    eight = file(SINE, split=(4,), grid=(8,))
    seams = (-0.5, 0.0, 0.5)
    on_seams = tuple((x,) for x in (*seams, below(-0.5), below(0.5), -(2.0**-149), -1.0, 1.0, -0.875, 0.9375))
    overlapping = file(SINE, split=(4,), overlap=(1,), grid=(8,))
    ramp = tuple((x / 64,) for x in range(-64, 65, 12))
    outside = ((NAN,), (1.5,), (-1.25,), (2.0,), (-3.0,))
    edges = ((NAN, 0.5), (0.5, NAN), (NAN, NAN), (1.5, -1.25), (1.0, -1.0), (0.25, 1.0))
    far = (*edges, (INFINITE, -INFINITE), (0.0, INFINITE))
    pyramid = file(PYRAMID, SINE, split=(2, 2), overlap=(1, 1), shared=1)
    filtered = file(PYRAMID, Layer("RELU", 2), split=(2, 2), overlap=(1, 1), last=CONV, out_channels=2)
    wide = head(SINE, split=(3,), overlap=(9000,), grid=(65536,), features=WIDE)
    clauses = ("13.1", "16.1", "DEC-4")
    return [
        Valid("valid-parts-size", "a larger size, no multiple of the native one", clauses, QUARTERS, size=(7, 11)),
        Valid("valid-parts-size-small", "a smaller size", clauses, LINE, size=(4,)),
        Valid("valid-parts-size-plain", "samples on seams without overlap belong to the part behind", clauses, eight,
              size=(4,)),
        Valid("valid-parts-size-odd", "another size without overlap", clauses,
              file(SINE, split=(3, 2), grid=(7, 5)), size=(10, 9)),
        Valid("valid-parts-size-conv", "another size of a lattice filter", clauses, filtered, size=(5, 8)),
        Valid("valid-parts-size-wide", "an axis of 65536 samples", clauses, tiled(wide), size=(13,)),
        Valid("valid-parts-points", "points", clauses, QUARTERS, coords=points(2, 9)),
        Valid("valid-parts-points-seams", "points on seams and beside them, without overlap", clauses, eight,
              coords=on_seams),
        Valid("valid-parts-points-ramp", "points through overlaps", clauses, overlapping, coords=ramp),
        Valid("valid-parts-points-outside", "points outside, and none, whose position is 0", clauses, LINE,
              coords=outside),
        Valid("valid-parts-points-edge", "points on the edge and outside of tiles", clauses, QUARTERS, coords=edges),
        Valid("valid-parts-points-grid", "points of a GRID, infinite ones, too", clauses, SHARED_GRID, coords=far),
        Valid("valid-parts-points-pyramid", "points of a PYRAMID, infinite ones, too", clauses, pyramid, coords=far),
        Valid("valid-parts-points-conv", "points of a lattice filter", clauses, filtered, coords=points(2, 9)),
    ]  # fmt: skip


def parameters_file(*, bias: bool = False) -> File:
    """16384 parameters of two parts, or two more."""
    wide = Layer("RELU", 4096, bias=False)
    described = head(wide, split=(2,), grid=(2,), last=Layer(bias=bias))
    rows = tuple(Entry(values=(0,) * t.size, model=Zero()) for t in described.tensors_of(0))
    return File(described, (Pass(rows), Pass(rows)))


def shared_parameters_file() -> File:
    """16384 parameters: the shared tensors once, the latents of four parts."""
    narrow, wide = Layer("RELU", 12, bias=False), Layer("RELU", 1258, bias=False)
    described = head(Grid(resolutions=((2, 2),)), narrow, wide, split=(2, 2), shared=1, last=Layer(bias=False))
    source = tiled(described)
    place = [t.columns for t in described.tensors_of(SHARED_PART)].index(12)
    return with_entry(source, place, 0, values=(0,) * (12 * 1258), model=Zero())


def symbols_file(n_more: int = 0) -> File:
    """2^22 symbols of two parts, and `n_more` in each of four columns: bitmaps of codes without atoms, parameters."""
    layer = Layer("RELU", 6, tool=SPARSE_CODE, bias=False)
    described = head(layer, split=(2, 1, 1, 1), features=SEEDED | SPARSE, last=Layer(bias=False))
    n_parameters = sum(t.size for t in described.tensors_of(0))
    source = tiled(described)
    for part, n_atoms in ((0, 24), (1, ((1 << 22) - 2 * n_parameters) // 4 - 24 + n_more)):
        code = SparseCode(n_atoms, ((),) * 4, ((),) * 4, support=BITMAP)
        source = with_entry(source, 0, part, sparse=code)
    return source


def files() -> list[Valid]:
    """Chunks beside the parts, limits."""
    unknown = Ancillary("X6", UNKNOWN_TYPE, b"between")
    meta = Ancillary("META", META_TYPE, b"\x01a\x01\x00b")
    two = tiled(replace(SHARED_GRID.head, n_passes=2))
    labels = tuple(f"PASS{i}" for i in range(10))
    between = replace(
        two, ancillary=(unknown, meta), order=("HEAD", *labels[:2], "X6", *labels[2:5], "META", *labels[5:])
    )
    hashed = replace(
        two,
        ancillary=(Ancillary("HASH0", HASH_TYPE, hash_passes=(0,)), Ancillary("HASH1", HASH_TYPE, hash_passes=(0, 1))),
        order=("HEAD", *labels[:3], "HASH0", *labels[3:], "HASH1"),
    )
    indexed = replace(two, ancillary=(Ancillary("INDX", INDX_TYPE, places_of=labels),), order=("HEAD", "INDX", *labels))
    directory = replace(
        two,
        ancillary=(
            Ancillary("INDX", INDX_TYPE, directory_of=("INDX0", "INDX1")),
            Ancillary("INDX0", INDX_TYPE, places_of=labels[:4]),
            Ancillary("INDX1", INDX_TYPE, places_of=labels[4:]),
            unknown,
        ),
        order=("HEAD", "INDX", "INDX0", "INDX1", *labels[:4], "X6", *labels[4:]),
    )
    quality = with_head(LINE, features_optional=1, optional_blocks=(b"\xb8\x0b",))
    return [
        Valid("valid-parts-ancillary", "an unknown chunk and META between the parts of a pass", ("13.1", "5.3"),
              between, each_pass=True),
        Valid("valid-parts-hash", "HASH between the parts of a pass and behind the last", ("13.1", "9.1", "ANC-1"),
              hashed, each_pass=True),
        Valid("valid-parts-indx", "INDX names the chunks of all parts", ("13.1", "12.1"), indexed),
        Valid("valid-parts-indx-directory", "a directory: a chunk stands between the parts", ("13.1", "12.1"),
              directory),
        Valid("valid-parts-quality", "an optional block behind the fields of PARTS", ("13.1", "6.1"), quality),
        Valid("valid-parts-parameters", "16384 parameters of all parts", ("HED-8",), parameters_file()),
        Valid("valid-parts-parameters-shared", "16384 parameters: shared ones count once", ("HED-8",),
              shared_parameters_file()),
        Valid("valid-parts-symbols", "2^22 symbols: a chunk counts the tensors of its part alone", ("TAB-5", "SPA-3"),
              symbols_file()),
    ]  # fmt: skip


def parts_valid() -> list[Valid]:
    """Every valid vector of PARTS."""
    return [*networks(), *encodings(), *tools(), *passes(), *samples(), *files()]
