"""What a vector holds, before any byte: the head, its records, the passes, the order of the chunks.

A description may be wrong on purpose: `force` writes other bits in a named field than the description says.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from typing import NamedTuple

KINDS = {
    "LINEAR": 1,
    "SINE": 2,
    "RELU": 3,
    "GAUSSIAN": 4,
    "TANH": 5,
    "SIGMOID": 6,
    "ELU": 7,
    "GABOR": 8,
    "FINER": 9,
    "CONV": 11,
    "CONV_RELU": 12,
}
LATTICE_FILTERS = {"CONV", "CONV_RELU"}
WITH_OMEGA = {"SINE", "GAUSSIAN", "GABOR", "FINER"}
FOURIER, FOURIER_SEEDED, GRID, PYRAMID, INPUT, OUTPUT, FILTER, MULTIPLY = 33, 34, 35, 36, 64, 65, 66, 67
WIDE, SEEDED, TRELLIS, SPARSE, LATENTS, PARTS, WIDTHS, SHARED_BASE = (1 << i for i in range(8))  # features_required
CENTRES, CORNERS, CORNERS_PROPORTIONAL, CENTRES_UNIT, BOX = 0, 1, 2, 3, 15
PACKED, RANS, ZLIB, BROTLI, ZSTANDARD = 0, 1, 2, 3, 4
RAW, SCALAR, TRELLIS_CODE, SPARSE_CODE, LATENT = 0, 1, 2, 3, 4  # coding tools
COLUMNS, ROWS, FLATTENED = 0, 1, 2  # vectors of a sparse code
BITMAP, GAPS = 0, 1  # supports of a sparse code
NOTHING: Mapping[str, int] = {}
SHARED_PART = 65535  # part of the chunk with the shared tensors
BLOCK_SHIFT = 20  # a block of a pass has the ordinal of its layer and this power of two times the pass


@dataclass(frozen=True)
class Layer:
    """A layer record; the last record of a head takes its width from out_channels."""

    kind: str = "LINEAR"
    width: int = 1
    repeat: int = 1
    omega: float = 1
    scale: float = 1
    tool: int = SCALAR
    prior: bool = False
    row_steps: bool = False
    bias: bool = True
    half: bool = False
    force: Mapping[str, int] = field(default_factory=dict)

    @property
    def tool_flags(self) -> int:
        """The byte of clause 6.4."""
        return self.tool | self.prior << 3 | self.row_steps << 4 | (not self.bias) << 5 | self.half << 6


@dataclass(frozen=True)
class Fourier:
    """A FOURIER record."""

    octaves: int = 2
    base: float = 2
    include_input: bool = True
    times_pi: bool = False
    force: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FourierSeeded:
    """A FOURIER_SEEDED record; `scale` is rounded to binary32 when written."""

    n_features: int = 3
    scale: float = 0.015625
    force: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """An INPUT record: coordinates of `count` axes from `first` on, as they are or with an encoding."""

    first: int = 0
    count: int = 1
    encoding: Fourier | None = None
    force: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_outputs(self) -> int:
        """Number of values that are appended."""
        return self.count if self.encoding is None else encoded_width(self.encoding, self.count)


@dataclass(frozen=True)
class Output:
    """An OUTPUT record: this layer gives values of the field."""

    layer: Layer


@dataclass(frozen=True)
class Filter:
    """A FILTER record: tool_flags and omega are those of a layer."""

    layer: Layer


@dataclass(frozen=True)
class Multiply:
    """A MULTIPLY record: the number of the layer whose outputs are the factors."""

    layer: int = 0


@dataclass(frozen=True)
class Grid:
    """A GRID record: tool_flags are those of `layer`; resolutions by level, of every axis or of all."""

    layer: Layer = field(default_factory=Layer)
    n_axes: int = 2
    latent_dim: int = 1
    feature_dim: int = 1
    log2_table_size: int = 4
    summed: bool = False
    append_input: bool = False
    decoder_each: bool = False
    resolutions: tuple[tuple[int, ...], ...] = ((3, 3),)
    force: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return len(self.resolutions)

    @property
    def is_isotropic(self) -> bool:
        """Whether a level has one resolution for all axes."""
        return len(self.resolutions[0]) < self.n_axes

    @property
    def flags(self) -> int:
        """The byte of clause 6.4."""
        return self.summed | self.append_input << 1 | self.is_isotropic << 2 | self.decoder_each << 3

    @property
    def n_features(self) -> int:
        """Number of features of all levels."""
        return self.feature_dim * (1 if self.summed else self.n_levels)

    def vertices(self, level: int) -> tuple[int, ...]:
        """Vertices along every axis."""
        found = self.resolutions[level]
        return found * self.n_axes if self.is_isotropic else found

    def n_entries(self, level: int) -> int:
        """Entries of a level, dense or hashed."""
        return min(math.prod(self.vertices(level)), 1 << self.log2_table_size)

    def is_hashed(self, level: int) -> bool:
        """Whether a level has fewer entries than vertices."""
        return math.prod(self.vertices(level)) > 1 << self.log2_table_size

    def tensors(self) -> list["Tensor"]:
        """Tensors of clause 9.6.1."""
        rows = self.feature_dim * (self.n_levels if self.decoder_each else 1)
        out = [Tensor(ENCODING_ORDINAL, rows, self.latent_dim, self.layer)]
        if self.layer.bias:
            out.append(Tensor(ENCODING_ORDINAL + 1, rows, 0, self.layer))
        return out + [latent_tensor(level, self.n_entries(level), self.latent_dim) for level in range(self.n_levels)]


@dataclass(frozen=True)
class Pyramid:
    """A PYRAMID record over the axes of a native grid: tool_flags are those of `layer`; `halved` is the field axes."""

    layer: Layer = field(default_factory=Layer)
    n_levels: int = 2
    halved: int = 3
    n_taps: int = 1
    one_filter: bool = False
    context_id: int = 0
    n_hidden: int = 0
    width: int = 4
    force: Mapping[str, int] = field(default_factory=dict)

    @property
    def context(self) -> int:
        """The byte of clause 6.4."""
        return self.context_id and self.context_id | self.n_hidden << 2 | (self.width // 4 - 1) << 4

    @property
    def n_filters(self) -> int:
        """F, the number of up-sampling filters."""
        return 1 if self.one_filter else self.n_levels - 1

    def sizes(self, level: int, grid: tuple[int, ...]) -> tuple[int, ...]:
        """Samples of a level along every axis."""
        k = self.n_levels - 1 - level
        return tuple(-(-n >> k) if self.halved >> axis & 1 else n for axis, n in enumerate(grid))

    def context_shapes(self) -> dict[str, tuple[int, int, int]]:
        """Ordinal, rows and columns of every context tensor (clause 9.6.2)."""
        near, phases, kinds = {1: (16, 10, 4), 2: (12, 1, 0)}[self.context_id]
        w, first = self.width, CONTEXT_ORDINAL
        shapes = {"coarse": (first, w, 11), "near": (first + 1, w, near), "phase": (first + 2, phases, w)}
        for i in range(self.n_hidden):
            shapes[f"weight{i}"] = (first + 3 + 2 * i, w, w)
            shapes[f"bias{i}"] = (first + 4 + 2 * i, 1, w)
        end = CONTEXT_END_ORDINAL
        shapes |= {"output": (end, 2, w), "linear": (end + 1, 2, 11 + near)}
        return shapes | {"offset": (end + 2, self.n_levels + kinds, 2)}

    def tensors(self, grid: tuple[int, ...]) -> list["Tensor"]:
        """Tensors of clause 9.6.2."""
        out = []
        if self.n_levels > 1:
            out.append(Tensor(ENCODING_ORDINAL, self.n_filters, self.n_taps, self.layer))
        if self.context_id:
            out += [Tensor(*shape, CONTEXT_LAYER) for shape in self.context_shapes().values()]
        return out + [latent_tensor(level, math.prod(self.sizes(level, grid)), 1) for level in range(self.n_levels)]


Record = Layer | Fourier | FourierSeeded | Grid | Pyramid | Input | Output | Filter | Multiply
ENCODING_ORDINAL, CONTEXT_ORDINAL, CONTEXT_END_ORDINAL, LEVEL_ORDINAL = 65536, 65552, 65584, 65792
LATENT_LAYER, CONTEXT_LAYER = Layer(tool=LATENT), Layer()


def encoded_width(encoding: Fourier, n_axes: int) -> int:
    """Number of values that a FOURIER encoding makes of so many coordinates."""
    return n_axes * (2 * encoding.octaves + encoding.include_input)


class Unit(NamedTuple):
    """A layer of clause 6.7: its number, role (the record it comes from), matrix, and whether it is complex."""

    number: int
    role: type[Layer] | type[Output] | type[Filter]
    layer: Layer
    rows: int
    columns: int
    is_complex: bool = False


class Tensor(NamedTuple):
    """A tensor of clause 6.7: its ordinal, rows, columns (0 for a bias), layer record, and whether there is a base."""

    ordinal: int
    rows: int
    columns: int
    layer: Layer
    has_base: bool = False

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.rows * max(self.columns, 1)

    @property
    def begins(self) -> int:
        """The first pass that codes the tensor (clause 13.2)."""
        return self.ordinal >> BLOCK_SHIFT

    @property
    def is_sparse(self) -> bool:
        """Whether the tensor is a sparse code: a matrix of tool 3, or its bias where there is a base."""
        return self.layer.tool == SPARSE_CODE and (self.columns > 0 or self.has_base)

    @property
    def is_latent(self) -> bool:
        """Whether the tensor is a level of latents."""
        return self.layer.tool == LATENT

    @property
    def is_context(self) -> bool:
        """Whether the tensor is one of the context network."""
        return CONTEXT_ORDINAL <= self.ordinal <= CONTEXT_END_ORDINAL + 2


class Block(NamedTuple):
    """A block of clause 13.2: its tensor, the number of its layer, and the place of its first entry in the layer."""

    tensor: Tensor
    number: int
    first_row: int
    first_column: int


def latent_tensor(level: int, n_entries: int, latent_dim: int) -> Tensor:
    """The tensor of a level."""
    return Tensor(LEVEL_ORDINAL + level, n_entries, latent_dim, LATENT_LAYER)


@dataclass(frozen=True)
class Head:
    """The chunk HEAD."""

    records: tuple[Record, ...] = (Layer(),)
    version: int = 0x10
    profile: int = 1
    level: int = 1
    features_required: int = 0
    features_optional: int = 0
    modality: int = 1
    in_dims: int = 2
    out_channels: int = 1
    coords: int = CENTRES
    values: int = 0
    n_passes: int = 1
    grid: tuple[int, ...] = (3, 3)
    box: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    rng_dictionary: int = 0x10
    seed: int = 1
    optional_blocks: tuple[bytes, ...] = ()
    base_digest: bytes | None = None
    split: tuple[int, ...] = ()
    overlap: tuple[int, ...] = ()
    shared: int = 0
    active_widths: tuple[tuple[int, ...], ...] = ()  # of every pass but the last, for every layer record but the last
    force: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_base(self) -> bool:
        """Whether the feature SHARED_BASE is set."""
        return bool(self.features_required & SHARED_BASE)

    def chunk_parts(self) -> tuple[int | None, ...]:
        """The field `part` of the PASS chunks of a pass in order; None without PARTS (clause 13.1)."""
        if not self.split:
            return (None,)
        parts = range(math.prod(self.split))
        return (SHARED_PART, *parts) if self.shared else (*parts,)

    def spans(self, axis: int) -> list[tuple[int, int]]:
        """First sample and number of samples of the part lattices along an axis."""
        n, edges, more = self.grid[axis], self.edges(axis), self.overlap[axis]
        lattices = [(max(a - more, 0), min(b + more, n)) for a, b in pairwise(edges)]
        return [(a, b - a) for a, b in lattices]

    def edges(self, axis: int) -> list[int]:
        """The first sample that each part owns along an axis, and the number of samples."""
        n, s = self.grid[axis], self.split[axis]
        return [k * n // s for k in range(s + 1)]

    def place_of(self, part: int) -> tuple[int, ...]:
        """The number of a part along every axis."""
        return list(product(*map(range, self.split)))[part]

    def of_part(self, part: int | None) -> "Head":
        """The head of the network of a part alone, over its part lattice."""
        if part is None or part == SHARED_PART:
            return self
        grid = tuple(self.spans(axis)[k][1] for axis, k in enumerate(self.place_of(part)))
        return replace(self, grid=grid, split=(), overlap=(), shared=0)

    def tensors_of(self, part: int | None) -> list["Tensor"]:
        """The tensors of a chunk in table order."""
        tensors = self.of_part(part).tensors()
        if not self.shared:
            return tensors
        return [tensor for tensor in tensors if tensor.is_latent == (part != SHARED_PART)]

    def encoded_width(self) -> int:
        """Number of the first current values."""
        first = self.records[0]
        if isinstance(first, Fourier):
            return encoded_width(first, self.in_dims)
        if isinstance(first, FourierSeeded):
            return 2 * first.n_features
        if isinstance(first, Grid):
            return first.n_features + self.in_dims - (0 if first.append_input else first.n_axes)
        if isinstance(first, Pyramid):
            return first.n_levels
        return 0 if isinstance(first, Input) else self.in_dims

    def steps(self) -> list[Input | Multiply | Unit]:
        """Every layer, INPUT and MULTIPLY in order, repeats written out (clause 6.7)."""
        n_last = self.out_channels - sum(r.layer.width for r in self.records if isinstance(r, Output))
        out: list[Input | Multiply | Unit] = []
        current = self.encoded_width()
        gabor = number = 0  # gabor: width of the GABOR layer whose outputs the current values are
        for i, record in enumerate(self.records):
            if isinstance(record, Input):
                current, gabor = current + record.n_outputs, 0
                out.append(record)
            elif isinstance(record, Output):
                out.append(Unit(number, Output, record.layer, record.layer.width, current))
                number += 1
            elif isinstance(record, Filter):
                out.append(Unit(number, Filter, record.layer, current, self.in_dims))
                number, gabor = number + 1, 0
            elif isinstance(record, Multiply):
                gabor = 0
                out.append(record)
            elif isinstance(record, Layer):
                width = n_last if i == len(self.records) - 1 else record.width
                is_gabor = record.kind == "GABOR"
                taps = self.taps_of(record)
                for _ in range(record.repeat):
                    is_complex = is_gabor and gabor > 0
                    rows, columns = (2 * width, gabor) if is_complex else (width, current * taps)
                    out.append(Unit(number, Layer, record, rows, columns, is_complex))
                    number, current, gabor = number + 1, 2 * width if is_gabor else width, width if is_gabor else 0
        return out

    def taps_of(self, layer: Layer) -> int:
        """Weights of an input of a layer: one, or those of a lattice filter."""
        first = self.records[0]
        if layer.kind not in LATTICE_FILTERS or not isinstance(first, Pyramid):
            return 1
        return int(3 ** first.halved.bit_count())

    def units(self) -> list[Unit]:
        """Every layer."""
        return [step for step in self.steps() if isinstance(step, Unit)]

    def grown_widths(self) -> list[list[int]]:
        """Units of every layer but the last after each pass (clause 13.2)."""
        records = [record for record in self.records[:-1] if isinstance(record, Layer)]
        rows = [*self.active_widths, tuple(record.width for record in records)]
        return [[w for w, r in zip(row, records, strict=True) for _ in range(r.repeat)] for row in rows]

    def blocks(self) -> list[Block]:
        """Every block in table order (clause 13.2)."""
        units, out = self.units(), []
        before = [0] * (len(units) - 1)
        inputs_before = 0  # of the last layer
        for g, widths in enumerate(self.grown_widths()):
            inputs = [self.encoded_width(), *widths]
            for unit, n_before, n, columns in zip(units, before, widths, inputs, strict=False):
                out += _blocks_of(unit, g, (n_before, n), (0, columns))
            out += _blocks_of(units[-1], g, (0, units[-1].rows), (inputs_before, inputs[-1]))
            before, inputs_before = widths, inputs[-1]
        return out

    def tensors(self) -> list[Tensor]:
        """Every tensor in table order (clause 6.7)."""
        if self.active_widths:
            return [block.tensor for block in self.blocks()]
        out = []
        for unit in self.units():
            out.append(Tensor(2 * unit.number, unit.rows, unit.columns, unit.layer, self.has_base))
            if unit.layer.bias:
                out.append(Tensor(2 * unit.number + 1, unit.rows, 0, unit.layer, self.has_base))
        first = self.records[0]
        if isinstance(first, Grid):
            out += first.tensors()
        if isinstance(first, Pyramid):
            out += first.tensors(self.grid)
        return out

    def n_samples(self) -> int:
        """Samples of the native grid."""
        return math.prod(self.grid)


def _blocks_of(unit: Unit, g: int, rows: tuple[int, int], columns: tuple[int, int]) -> list[Block]:
    """The blocks of a layer that begin in pass g: its weights and its bias, as far as they have entries."""
    n_rows, n_columns = rows[1] - rows[0], columns[1] - columns[0]
    ordinal = (g << BLOCK_SHIFT) + 2 * unit.number
    out = []
    if n_rows and n_columns:
        out.append(Block(Tensor(ordinal, n_rows, n_columns, unit.layer), unit.number, rows[0], columns[0]))
    is_first_of_bias = g == 0 or rows[0] > 0  # the last layer has all rows from pass 0 on
    if n_rows and unit.layer.bias and is_first_of_bias:
        out.append(Block(Tensor(ordinal + 1, n_rows, 0, unit.layer), unit.number, rows[0], 0))
    return out


@dataclass(frozen=True)
class Zero:
    """Model form 0."""


@dataclass(frozen=True)
class Short:
    """Model form 1."""

    law: str = "LAPLACE"
    scale: int = 16


@dataclass(frozen=True)
class Long:
    """Model form 2."""

    max_symbol: int = 8
    zero_probability: int = 0
    tail: int = 150
    tail_change: int = 0
    heavy: int = 0
    low_bits: int = 0
    escape: int = 0


@dataclass(frozen=True)
class Same:
    """Model form 3."""


Model = Zero | Short | Long | Same


@dataclass(frozen=True)
class Table:
    """Latent form 4: symbols from -below on, one for each code; `escape`; `long`: which codes are written whole."""

    below: int
    codes: tuple[int, ...]
    escape: int = 0
    long: tuple[int, ...] = ()


@dataclass(frozen=True)
class Context:
    """Latent form 5."""


LatentModel = Model | Table | Context


@dataclass(frozen=True)
class SparseCode:
    """Atoms and coefficients of a matrix of tool 3 (clause 9.5), both one tuple for each vector; k2 is `n_atoms`.

    `vectors`, `support`, `gap_model` and `index_width` are fields of the table; the model and the width of the
    coefficients are those of the entry. `repeated`: the table says `vectors` = 3, as the sparse code before.
    """

    n_atoms: int
    atoms: tuple[tuple[int, ...], ...]
    coefficients: tuple[tuple[int, ...], ...]
    vectors: int = COLUMNS
    support: int = GAPS
    gap_model: Model = Short("LAPLACE", 24)
    index_width: int | None = None
    repeated: bool = False

    @property
    def n_nonzero(self) -> int:
        """s, the number of atoms of each vector."""
        return len(self.atoms[0])


@dataclass(frozen=True)
class Entry:
    """One tensor in one pass.

    `values`: the integers r, or k of tool 2, or the bit patterns of tool 0. `prior`: (m, E). `refine`: bits gained
    in a later pass, None for a tensor that stays. `width`, `row_width`: bits of packed values, None for the least.
    `sparse`: what a matrix of tool 3 has in place of values. Latents that the pass codes have values; their models
    stand in `latent_models`, one for each dimension. `context_step`: q of a context tensor.
    """

    values: tuple[int, ...] = ()
    step: int = 900
    step_form: int | None = None
    row_steps: tuple[int, ...] | None = None
    row_model: Model = Short("LAPLACE", 8)
    row_width: int | None = None
    prior: tuple[int, int] | None = None
    prior_form: int | None = None
    model: Model = Short()
    width: int | None = None
    refine: int | None = None
    sparse: SparseCode | None = None
    latent_models: tuple[LatentModel, ...] = (Short(),)
    context_step: int = 4
    force: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Pass:
    """One PASS chunk: a pass, or with PARTS the chunk of one part, in the order of clause 13.1.

    `body_hex` stands in for a compressed body whose bytes are frozen.
    """

    entries: tuple[Entry, ...]
    coding: int = RANS
    log2_lanes: int = 0
    body_hex: str | None = None
    deflate: str = "fixed"
    force: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Ancillary:
    """Any chunk that is neither HEAD nor PASS; HASH and INDX can be filled in by the builder.

    `places_of`: PASS chunks by label, one after the other in the file; `directory_of`: further INDX chunks, by label.
    `length_bytes` of the places, None for the fewest.
    """

    label: str
    chunk_type: int
    payload: bytes = b""
    hash_passes: tuple[int, ...] | None = None
    places_of: tuple[str, ...] = ()
    directory_of: tuple[str, ...] = ()
    length_bytes: int | None = None


@dataclass(frozen=True)
class File:
    """A whole file: `order` names HEAD, PASS0, PASS1, … and ancillary chunks in file order; `base`: of SHARED_BASE."""

    head: Head
    passes: tuple[Pass, ...]
    ancillary: tuple[Ancillary, ...] = ()
    order: tuple[str, ...] | None = None
    base: "File | None" = None

    def chunk_order(self) -> tuple[str, ...]:
        """The labels of the chunks in file order."""
        return self.order or ("HEAD", *(f"PASS{i}" for i in range(len(self.passes))))

    @property
    def n_passes(self) -> int:
        """Number of passes that are described whole."""
        return len(self.passes) // len(self.head.chunk_parts()) if self.passes else 0
