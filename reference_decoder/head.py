"""HEAD: what the file holds, its limits, its network (clause 6)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, reduce
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from reference_decoder.container import Payload
from reference_decoder.errors import DecodeError
from reference_decoder.limits import LEVELS, Level
from reference_decoder.parts import Axis

CORE, MAIN = 1, 2
WIDE, SEEDED, HAS_TRELLIS, HAS_SPARSE, HAS_GRID, PARTS, WIDTHS, SHARED_BASE = FEATURES = [1 << bit for bit in range(8)]
KNOWN_FEATURES = sum(FEATURES)  # the others of clause 6.1 are reserved
QUALITY = 0
MODALITIES = range(1, 9)
COORDS = (0, 1, 2, 3, 15)
CENTRES, BOX = 0, 15
VALUES = (0, 1, 2)
GENERATORS = (1,)
DICTIONARY_LAWS = (0, 1)
LINEAR, SINE, RELU, GAUSSIAN, TANH, SIGMOID, ELU, GABOR, FINER = LAYER_KINDS = range(1, 10)
HAS_OMEGA = (SINE, GAUSSIAN, GABOR, FINER)
CONV, CONV_RELU = LATTICE_FILTERS = (11, 12)
FOURIER, FOURIER_SEEDED, GRID, PYRAMID = INPUT_ENCODINGS = (33, 34, 35, 36)
INPUT, OUTPUT, FILTER, MULTIPLY = STRUCTURES = (64, 65, 66, 67)
RECORD_KINDS = (*LAYER_KINDS, *LATTICE_FILTERS, *INPUT_ENCODINGS, *STRUCTURES)
RAW, SCALAR, TRELLIS, SPARSE, LATENT = range(5)
TOOL_FEATURES = {TRELLIS: HAS_TRELLIS, SPARSE: HAS_SPARSE}
FLOAT_END = 2.0**64
DIGEST_BYTES = 16  # of base_digest, clause 9.8
FACTORISED, INTERLACED, SERIAL = CONTEXTS = range(3)
# ordinals of clauses 9.6.1 and 9.6.2
GRID_DECODER, PYRAMID_FILTER = 65536, 65536
CONTEXT_TENSORS, CONTEXT_OUTPUTS, LATENT_LEVELS = 65552, 65584, 65792
WEIGHTS, CONTEXT, LATENTS = range(3)  # how a tensor is coded
SHARED_PART = 65535  # the field `part` of the shared tensors, clause 13.1
BLOCKS_OF_PASS = 1 << 20  # §13.2: the ordinals "2^20·g + 2l"
COARSE_INPUTS = 11


@dataclass
class Record:
    """A layer record of clause 6.4; the fields that its kind does not have keep their defaults."""

    kind: int
    kind_at: int
    tool_flags: int = 0
    tool_flags_at: int = 0
    tool: int = 0
    has_prior: bool = False
    has_row_steps: bool = False
    has_bias: bool = True
    is_half: bool = False
    activation: int = LINEAR  # the kind of layer whose act is applied
    width: int = 0
    width_at: int = 0
    repeat: int = 1
    omega: float = 1.0
    first: int = 0
    first_at: int = 0
    count: int = 0
    encoding: int = 0
    flags: int = 0
    octaves: int = 0
    base: float = 0.0
    base_at: int = 0
    n_features: int = 0
    scale: float = 0.0
    n_axes: int = 0
    n_axes_at: int = 0
    n_levels: int = 0
    latent_dim: int = 0
    feature_dim: int = 0
    table_size: int = 0
    resolutions: tuple[tuple[int, ...], ...] = ()
    axes: int = 0
    axes_at: int = 0
    taps: int = 0  # t of clause 9.6.2
    has_one_filter: bool = False
    context: int = 0
    context_at: int = 0
    n_hidden: int = 0
    hidden_width: int = 0
    layer: int = 0  # of MULTIPLY
    layer_at: int = 0

    @property
    def is_layer(self) -> bool:
        """Whether the record is one of layers that follow each other."""
        return self.kind in LAYER_KINDS or self.kind in LATTICE_FILTERS

    @property
    def is_latent(self) -> bool:
        return self.kind in (GRID, PYRAMID)

    @property
    def has_tool_flags(self) -> bool:
        return self.is_layer or self.is_latent or self.kind in (OUTPUT, FILTER)

    @property
    def is_counted(self) -> bool:
        """Whether the record's layers count (HED-8)."""
        return self.has_tool_flags and not self.is_latent

    @property
    def halved(self) -> list[int]:
        """§9.6.2: "*halved* axes are those of the bits of `axes`"."""
        return [axis for axis in range(8) if self.axes >> axis & 1]

    @property
    def is_fourier(self) -> bool:
        """Whether the record has the fields of FOURIER: §6.4 "Its FOURIER part has the fields of a FOURIER record"."""
        return FOURIER in (self.kind, self.encoding)

    @property
    def form(self) -> tuple[int, int, int, float, float]:
        """What makes two layers equal (HED-7)."""
        return self.kind, self.tool_flags, self.width, self.omega, self.scale

    @property
    def needs_seed(self) -> bool:
        """Whether the record takes numbers from the generator."""
        return self.has_prior or self.tool == SPARSE or self.kind == FOURIER_SEEDED


@dataclass(frozen=True)
class Step:
    """What one record does, once for each repeat (clause 6.7).

    rows, columns: of its weights, 0 without weights; after: number of current values after it.
    """

    record: Record
    rows: int
    columns: int
    after: int
    is_complex: bool = False

    @property
    def outputs(self) -> int:
        """Of a layer. §6.7: "OUTPUT is one layer: it takes the current values and leaves them as they are." """
        return self.rows if self.record.kind == OUTPUT else self.after


@dataclass(frozen=True, slots=True)
class Tensor:
    """A weight matrix (out, in) or a bias (out), with its ordinal of clause 6.7; or a block of one (clause 13.2)."""

    ordinal: int
    shape: tuple[int, ...]
    record: Record
    has_base: bool = False
    role: int = WEIGHTS
    level: int = 0  # of latents
    begins: int = 0  # §7.3: "A tensor *begins* in pass 0, or in the pass that clause 13.2 gives."
    row: int = 0  # of the whole matrix or bias, where a block has its first one
    column: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """§9.5: "a bias is a matrix (out, 1)"."""
        return self.shape[0], math.prod(self.shape[1:])

    @property
    def tool(self) -> int:
        """The coding tool. Context tensors are plain values."""
        return (self.record.tool, SCALAR, LATENT)[self.role]

    @property
    def is_half(self) -> bool:
        return self.record.is_half

    @property
    def has_prior(self) -> bool:
        return self.record.has_prior and self.role == WEIGHTS

    @property
    def has_row_steps(self) -> bool:
        return self.record.has_row_steps and self.role == WEIGHTS and len(self.shape) == 2

    @property
    def is_sparse(self) -> bool:
        """§9.5: "Biases of a layer with tool 3 are coded with tool 1; but with SHARED_BASE they are sparse codes like
        the matrices, for which a bias is a matrix (out, 1)."
        """
        return self.tool == SPARSE and (len(self.shape) == 2 or self.has_base)


@dataclass
class Head:
    """The fields of HEAD, and the layers that follow from its records. Fields ending in `_at` are offsets."""

    profile: int = 0
    level: Level = LEVELS[1]
    features: int = 0
    features_at: int = 0
    features_optional: int = 0
    modality: int = 0
    in_dims: int = 0
    out_channels: int = 0
    coords: int = 0
    values: int = 0
    n_passes: int = 0
    grid: tuple[int, ...] = ()
    grid_at: int = 0
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    box_at: int = 0
    dictionary_law: int = 0
    rng_dictionary_at: int = 0
    seed: int = 0
    n_records_at: int = 0
    records: list[Record] = field(default_factory=list)
    split: tuple[int, ...] = ()
    split_at: int = 0
    overlap: tuple[int, ...] = ()
    overlap_at: int = 0
    shared: bool = False
    shared_at: int = 0
    active_width: list[int] = field(default_factory=list)
    active_width_at: int = 0
    base_digest: bytes = b""
    base_digest_at: int = 0
    quality_length: int | None = None
    quality_at: int = 0

    @property
    def encoding(self) -> Record | None:
        """The input encoding, if there is one."""
        return self.records[0] if self.records[0].kind in INPUT_ENCODINGS else None

    @property
    def first_values(self) -> int:
        """§6.7: "The *current values* are at first the coordinates; or the outputs of the input encoding (clause 16.2),
        if the first record is one; or none, if the first record is an INPUT."
        """
        first = self.records[0]
        if first.kind in INPUT_ENCODINGS:
            return encoded_width(first, self.in_dims)
        return 0 if first.kind == INPUT else self.in_dims

    @cached_property
    def steps(self) -> list[Step]:
        """§6.7: "The records follow in order. A record of the groups
        layer and lattice_filter is `repeat` layers"."""
        found: list[Step] = []
        values = self.first_values
        gabor = 0  # width of the GABOR layer whose outputs the current values are, if they are
        for record in self.records:
            for _ in range(0 if record is self.encoding else record.repeat):
                step = next_step(record, values, gabor, self)
                found.append(step)
                values = step.after
                # "nothing appended or multiplied in between (an OUTPUT between them does not matter)"
                if record.kind != OUTPUT:
                    gabor = record.width if record.kind == GABOR else 0
        return found

    @property
    def layers(self) -> list[Step]:
        """§6.7: "Layer l, counted from 0 over all records"."""
        return [step for step in self.steps if step.record.is_counted]

    @property
    def widths(self) -> list[int]:
        """How many current values there are at first and after every step."""
        return [self.first_values] + [step.after for step in self.steps]

    @property
    def n_parts(self) -> int:
        """§13.1: "There are P parts, the product of them, numbered in C order."; 1 without the feature PARTS."""
        return math.prod(self.split)

    @property
    def n_groups(self) -> int:
        """PASS chunks of a pass. What one of them codes is called a group of tensors here.

        §13.1: "In each pass one PASS chunk codes the shared tensors, if there are any, with `part` 65535; then one PASS
        chunk for each part, `part` = 0 … P - 1, codes the tensors of that part."
        """
        return self.n_parts + self.shared

    def part_of(self, group: int) -> int:
        """The field `part` of a group's chunk."""
        return SHARED_PART if self.shared and group == 0 else group - self.shared

    @cached_property
    def axes(self) -> list[Axis]:
        """The parts along each axis."""
        return [Axis(*numbers) for numbers in zip(self.grid, self.split, self.overlap, strict=True)]

    def part_index(self, part: int) -> tuple[int, ...]:
        """The number of a part along each axis."""
        return tuple(int(k) for k in np.unravel_index(part, self.split))

    def part(self, part: int) -> "Head":
        """The HEAD of a file that holds a part alone.

        §13.1: "Wherever this text speaks of the native grid in connection with a part's tensors (clause 9.6.2) or
        values (clauses 16.1 to 16.6) it is the part lattice, as if that were the whole grid."
        """
        return self.of_lattice(
            tuple(int(axis.size(k)) for axis, k in zip(self.axes, self.part_index(part), strict=True))
        )

    @cached_property
    def of_lattice(self) -> Callable[[tuple[int, ...]], "Head"]:
        """`part` for the sizes of its lattice; neighbours often have the same."""
        features = self.features & ~PARTS
        return lru_cache(8)(
            lambda grid: replace(self, grid=grid, features=features, split=(), overlap=(), shared=False)
        )

    def group_tensors(self, group: int) -> list[Tensor]:
        """The tensors of a group, in table order.

        §13.1: "With `shared` = 1 the tensors with ordinals below 65792, that is all but the latents, are *shared*:
        there is one of each for all parts. With `shared` = 0 every part has all tensors."
        """
        if not self.split:
            return self.tensors
        part = self.part_of(group)
        if part == SHARED_PART:
            return [tensor for tensor in self.tensors if tensor.ordinal < LATENT_LEVELS]
        tensors = self.part(part).tensors
        return [tensor for tensor in tensors if tensor.ordinal >= LATENT_LEVELS] if self.shared else tensors

    @cached_property
    def group_ends(self) -> npt.NDArray[np.int64]:
        """How many parameters there are up to the end of each group; the last is how many there are."""
        if not self.split:
            return np.array([sum(tensor.size for tensor in self.tensors)])
        is_pyramid = self.records[0].kind == PYRAMID
        both = sum(tensor.size for tensor in self.tensors if tensor.ordinal < LATENT_LEVELS)
        latents = 0 if is_pyramid else sum(tensor.size for tensor in self.tensors) - both
        sizes = np.full(self.n_parts, latents + (0 if self.shared else both), np.int64)
        if is_pyramid:
            for level in range(self.records[0].n_levels):
                sizes += self.level_sizes(level)
        return np.cumsum(np.insert(sizes, 0, both) if self.shared else sizes)

    def level_sizes(self, level: int) -> npt.NDArray[np.int64]:
        """Latents of a pyramid's level in each part."""
        sizes = level_shape(
            self.records[0], tuple(axis.size(np.arange(axis.s, dtype=np.int64)) for axis in self.axes), level
        )
        found: npt.NDArray[np.int64] = reduce(np.multiply.outer, sizes).reshape(-1)
        return found

    @property
    def growing(self) -> list[Record]:
        """§13.2: "each record of the groups layer and lattice_filter but the last"; only the last record is the last
        one.
        """
        return [record for record in self.records[:-1] if record.is_layer]

    def units(self, number: int) -> list[int]:
        """c[g, l] of clause 13.2 for all layers but the last, g being `number`.

        §13.2: "a record with a repeat has as many in each of its layers. After the last pass all are there."
        """
        n = len(self.growing)
        active = self.active_width[number * n : (number + 1) * n] or [record.width for record in self.growing]
        return [c for record, c in zip(self.growing, active, strict=True) for _ in range(record.repeat)]

    @cached_property
    def tensors(self) -> list[Tensor]:
        """§6.7: "*Table order* is ascending ordinal." """
        if self.features & WIDTHS:
            return blocks_of_layers(self)
        tensors, has_base = [], bool(self.features & SHARED_BASE)
        for index, step in enumerate(self.layers):
            # "has the tensors of ordinals 2l, its weights (out, in), and 2l + 1, its bias (out), which is absent if bit
            # 5 of tool_flags is set."
            tensors.append(Tensor(2 * index, (step.rows, step.columns), step.record, has_base))
            if step.record.has_bias:
                tensors.append(Tensor(2 * index + 1, (step.rows,), step.record, has_base))
        # "The tensors of a GRID or PYRAMID record follow those of the layers"
        if self.records[0].kind == GRID:
            tensors += grid_tensors(self.records[0], has_base)
        if self.records[0].kind == PYRAMID:
            tensors += pyramid_tensors(self.records[0], self.grid, has_base)
        return tensors


def encoded_width(record: Record, dims: int) -> int:
    """Outputs of an input encoding, or of an INPUT, for `dims` coordinates (clauses 16.2, 16.3, 16.5 and 16.6)."""
    if record.is_fourier:
        return dims * (record.flags & 1) + 2 * record.octaves * dims
    if record.kind == FOURIER_SEEDED:
        return 2 * record.n_features
    if record.kind == GRID:
        features = record.feature_dim * (1 if record.flags & 1 else record.n_levels)
        return features + (dims if record.flags & 2 else dims - record.n_axes)
    return record.n_levels if record.kind == PYRAMID else dims


def blocks_of_layers(head: Head) -> list[Tensor]:
    """§13.2: "the tensors of layer l are the *blocks*"; "A block without entries does not exist." """
    found = []
    layers, first = head.layers, head.first_values
    inputs_before = [0] * len(layers)  # "d[-1, l] = 0"; "c[-1, l] = 0" for d[-1, l + 1]
    for g in range(head.n_passes):
        # "the inputs of layer l after pass g, which are c[g, l - 1] and for the first layer the outputs of the input
        # encoding or the coordinates"
        inputs = [first, *head.units(g)]
        for index, step in enumerate(layers[:-1]):
            # "rows from c[g-1, l] on, columns from 0 on"; c[g, l] is d[g, l + 1]
            row = inputs_before[index + 1]
            rows = inputs[index + 1] - row
            found += layer_blocks(step.record, g, index, (rows, inputs[index]), row=row)
        # "rows from 0 on, columns from d[g-1, l] on"
        column = inputs_before[-1]
        shape = layers[-1].rows, inputs[-1] - column
        found += layer_blocks(layers[-1].record, g, len(layers) - 1, shape, column=column)
        inputs_before = inputs
    return found


def layer_blocks(
    record: Record, g: int, index: int, shape: tuple[int, int], row: int = 0, column: int = 0
) -> list[Tensor]:
    """The blocks of a layer that begin in pass g: of its weights, and of its bias.

    §13.2: "bias of layer l but the last: rows from c[g-1, l] on; of the last layer: all rows, g = 0 only".
    """
    if 0 in shape:
        return []
    ordinal = BLOCKS_OF_PASS * g + 2 * index
    found = [Tensor(ordinal, shape, record, begins=g, row=row, column=column)]
    if record.has_bias and column == 0:  # those of the last layer that begin later have a column above 0
        found.append(Tensor(ordinal + 1, shape[:1], record, begins=g, row=row))
    return found


def grid_tensors(record: Record, has_base: bool) -> list[Tensor]:
    """§9.6.1: "The tensors are, with D = n_levels if flags bit 3 is set and 1 if not"."""
    rows = record.feature_dim * (record.n_levels if record.flags & 8 else 1)
    tensors = [Tensor(GRID_DECODER, (rows, record.latent_dim), record, has_base)]
    if record.has_bias:
        tensors.append(Tensor(GRID_DECODER + 1, (rows,), record, has_base))
    for level, resolution in enumerate(record.resolutions):
        # "a level whose product of resolutions is at most T is *dense*: it has that many entries"; "Every other level
        # is *hashed*: it has T entries"
        shape = (min(math.prod(resolution), record.table_size), record.latent_dim)
        tensors.append(Tensor(LATENT_LEVELS + level, shape, record, has_base, LATENTS, level))
    return tensors


def pyramid_tensors(record: Record, grid: tuple[int, ...], has_base: bool) -> list[Tensor]:
    """§9.6.2: "F, the number of filters: 1 if bit 4 is set, n_levels - 1 if not." """
    tensors = []
    if record.n_levels > 1:
        filters = 1 if record.has_one_filter else record.n_levels - 1
        tensors.append(Tensor(PYRAMID_FILTER, (filters, record.taps), record, has_base))
    if record.context != FACTORISED:
        tensors += context_tensors(record, has_base)
    for level in range(record.n_levels):
        shape = level_shape(record, grid, level)
        tensors.append(Tensor(LATENT_LEVELS + level, shape, record, has_base, LATENTS, level))
    return tensors


def context_tensors(record: Record, has_base: bool) -> list[Tensor]:
    """§9.6.2: "c = 16 for context id 1 and 12 for 2; g = 10 and 1; o = 4 and 0." """
    c, g, o = (16, 10, 4) if record.context == INTERLACED else (12, 1, 0)
    w = record.hidden_width
    shapes = [(w, COARSE_INPUTS), (w, c), (g, w), *[(w, w), (1, w)] * record.n_hidden]
    outputs = [(2, w), (2, COARSE_INPUTS + c), (record.n_levels + o, 2)]
    found = [*enumerate(shapes, CONTEXT_TENSORS), *enumerate(outputs, CONTEXT_OUTPUTS)]
    return [Tensor(ordinal, shape, record, has_base, CONTEXT) for ordinal, shape in found]


def level_shape(record: Record, grid: tuple[Any, ...], level: int) -> tuple[Any, ...]:
    """§9.6.2: "Level l has ceil(N / 2^k) samples on a halved axis with N native samples, k = n_levels - 1 - l, and N
    samples on the others."

    The sizes of the grid are numbers, or arrays of them.
    """
    k = record.n_levels - 1 - level
    return tuple(-(-n >> k) if record.axes >> axis & 1 else n for axis, n in enumerate(grid))


def next_step(record: Record, values: int, gabor: int, head: Head) -> Step:
    """The step of a record where there are `values` current values.

    §6.7: "INPUT appends to the current values. OUTPUT is one layer: it takes the current values and leaves them as they
    are. FILTER is one layer with the coordinates (all in_dims, without encoding) as inputs and as many outputs as there
    are current values, with which these are multiplied. MULTIPLY is no layer and has no tensors".
    """
    if record.kind in (INPUT, MULTIPLY):
        return Step(record, 0, 0, values + encoded_width(record, record.count))  # a MULTIPLY has a count of 0
    if record.kind == OUTPUT:
        return Step(record, record.width, values, values)
    if record.kind == FILTER:
        return Step(record, values, head.in_dims, values)
    if record.kind in LATTICE_FILTERS:
        # §16.6: "With h the halved axes, the weight matrix (out, in·3^h)"
        return Step(record, record.width, values * 3 ** len(head.records[0].halved), record.width)
    if record.kind == GABOR and gabor:
        # "with n the width of that layer, its weights are (2m, n): the real parts, then the imaginary ones, and so is
        # its bias (2m)."
        return Step(record, 2 * record.width, gabor, 2 * record.width, is_complex=True)
    return Step(record, record.width, values, record.width * (2 if record.kind == GABOR else 1))


def read_head(p: Payload) -> Head:
    """Read HEAD; every number in it is within the level's limits afterwards.

    §5.5: "Then CON-10 is applied to the end, and then the rules that span fields in the order of their numbers (of
    clause 6: HED-13, HED-14, GRD-1 to GRD-3, PRT-1 to PRT-5, WID-1 and WID-2 before HED-8), each to all records in
    order before the next rule."
    """
    head = Head()
    read_fixed_fields(p, head)
    read_grid(p, head)
    read_seed(p, head)
    read_records(p, head)
    read_parts(p, head)
    read_active_width(p, head)
    read_base_digest(p, head)
    read_optional_blocks(p, head)
    p.finish()
    check_grid(head)
    check_records(head)
    # §9.6.2: "GRD-1 to GRD-3 are checked between HED-14 and PRT-1, GRD-4 after HED-12."
    check_inputs(head)
    check_outputs(head)
    check_grid_axes(head)
    check_pyramid(head)
    check_lattice_filters(head)
    if head.features & PARTS:
        check_parts(head)
    if head.features & WIDTHS:
        check_growth(head)
        check_active_width(head)
    check_limits(head)
    check_features(head)
    check_optional_blocks(head)
    check_frequencies(head)
    check_grid_feature(head)
    check_relative(head)
    check_products(head)
    return head


def read_fixed_fields(p: Payload, head: Head) -> None:
    """§6.1, the table HEAD from `version` to `n_passes`."""
    # HED-1: "A decoder of this version accepts every minor version."
    p.require(p.unsigned(1) >> 4 == 1, "UNSUPPORTED_VERSION")
    profile_level = p.unsigned(1)
    head.profile = profile_level >> 4
    p.require(head.profile in (CORE, MAIN), "UNSUPPORTED_PROFILE")
    p.require(profile_level & 15 in LEVELS, "UNSUPPORTED_LEVEL")
    head.level = LEVELS[profile_level & 15]
    head.features = p.unsigned(2)
    head.features_at = p.field
    # "an unknown or reserved one is `UNSUPPORTED_FEATURE`"
    p.require(head.features & ~KNOWN_FEATURES == 0, "UNSUPPORTED_FEATURE")
    head.features_optional = p.unsigned(1)
    head.modality = p.unsigned(1)
    p.require(head.modality in MODALITIES, "UNKNOWN_ID")
    head.in_dims = p.unsigned(1)
    p.require(1 <= head.in_dims <= 8, "BAD_DIMENSIONS")
    head.out_channels = p.unsigned(1)
    p.require(head.out_channels >= 1, "BAD_DIMENSIONS")
    coords_values = p.unsigned(1)
    head.coords, head.values = coords_values & 15, coords_values >> 4
    p.require(head.coords in COORDS and head.values in VALUES, "UNKNOWN_ID")
    head.n_passes = p.unsigned(1)
    p.require(head.n_passes >= 1, "BAD_DIMENSIONS")


def read_grid(p: Payload, head: Head) -> None:
    """§6.1: "native samples of an axis", "lower edge of the box", "upper edge of the box"."""
    head.grid_at = p.at
    head.grid = tuple(p.unsigned(4 if head.features & WIDE else 2) for _ in range(head.in_dims))
    head.box_at = p.at
    if head.coords == BOX:
        head.low = [p.f32() for _ in range(head.in_dims)]
        head.high = [p.f32() for _ in range(head.in_dims)]


def read_seed(p: Payload, head: Head) -> None:
    """§6.1: "rng << 4 | dictionary law", then the seed; there with the feature SEEDED."""
    if head.features & SEEDED:
        rng_dictionary = p.unsigned(1)
        head.rng_dictionary_at = p.field
        head.dictionary_law = rng_dictionary & 15
        p.require(rng_dictionary >> 4 in GENERATORS and head.dictionary_law in DICTIONARY_LAWS, "UNKNOWN_ID")
        head.seed = p.unsigned(8 if head.features & WIDE else 4)


def read_records(p: Payload, head: Head) -> None:
    """§6.4: "There are `n_records` records. All but the last have this form; its `body` depends on the kind"."""
    n_records = p.unsigned(1)
    head.n_records_at = p.field
    p.require(n_records >= 1, "BAD_RECORD")
    for index in range(n_records):
        record = Record(p.unsigned(1), p.field)
        # CON-11: "An id that is not in the registry, or is a reserved record kind there, is `UNKNOWN_ID`."
        p.require(record.kind in RECORD_KINDS, "UNKNOWN_ID")
        head.records.append(record)
        body = read_last if index == n_records - 1 else BODIES.get(record.kind, read_layer)
        body(p, record)
    # "The last record is a layer with repeat 1. It has as many outputs as `out_channels` is larger than the widths of
    # all OUTPUT records together". HED-14 comes after the rules that need a width.
    head.records[-1].width = max(0, head.out_channels - sum(r.width for r in head.records if r.kind == OUTPUT))


def read_tool_flags(p: Payload, record: Record, reserved: int = 0x80) -> None:
    """§6.4: "bits 0-2 coding tool; bit 3 prior; bit 4 row steps; bit 5 no bias; bit 6 binary16 (tool 0)"."""
    record.tool_flags = flags = p.unsigned(1)
    record.tool_flags_at = p.field
    p.require(not flags & reserved, "RESERVED_NOT_ZERO")
    record.tool = flags & 7
    record.has_prior, record.has_row_steps = bool(flags & 0x08), bool(flags & 0x10)
    record.has_bias, record.is_half = not flags & 0x20, bool(flags & 0x40)
    p.require(record.tool <= LATENT, "UNKNOWN_ID")


def read_omega(p: Payload, record: Record) -> None:
    """§6.4: "omega stands only where the kind has one; it is 1 for the others"."""
    if record.activation in HAS_OMEGA:
        # "omega as an integer; 0: a binary32 follows"
        record.omega = float(p.unsigned(1)) or read_float(p)


def read_layer(p: Payload, record: Record) -> None:
    """§6.4, LAYER_BODY."""
    record.activation = record.kind
    read_tool_flags(p, record)
    record.width = p.unsigned(2)
    p.require(record.width >= 1, "BAD_RECORD")
    record.repeat = p.unsigned(1)
    p.require(record.repeat >= 1, "BAD_RECORD")
    read_omega(p, record)
    if record.kind == GABOR:
        read_scale(p, record)


def read_last(p: Payload, record: Record) -> None:
    """§6.4, LAST_RECORD; the kind was read: "a layer kind other than GABOR"."""
    p.require(record.is_layer and record.kind != GABOR, "BAD_RECORD")
    record.activation = record.kind
    read_tool_flags(p, record)
    read_omega(p, record)


def read_output(p: Payload, record: Record) -> None:
    """§6.4, OUTPUT_BODY."""
    record.activation = p.unsigned(1)
    p.require(record.activation in RECORD_KINDS, "UNKNOWN_ID")
    p.require(record.activation in LAYER_KINDS and record.activation != GABOR, "BAD_RECORD")
    read_tool_flags(p, record)
    record.width = p.unsigned(1)
    record.width_at = p.field
    p.require(record.width >= 1, "BAD_RECORD")
    read_omega(p, record)


def read_filter(p: Payload, record: Record) -> None:
    """§6.4, FILTER_BODY. §16.3: "the current values are multiplied, one by one, by sin(omega·t)"."""
    record.activation = SINE
    read_tool_flags(p, record)
    read_omega(p, record)


def read_multiply(p: Payload, record: Record) -> None:
    """§6.4, MULTIPLY_BODY."""
    record.layer = p.unsigned(1)
    record.layer_at = p.field


def read_input(p: Payload, record: Record) -> None:
    """§6.4, INPUT_BODY."""
    record.first = p.unsigned(1)
    record.first_at = p.field
    record.count = p.unsigned(1)
    p.require(1 <= record.count <= 8, "BAD_RECORD")
    record.encoding = p.unsigned(1)
    p.require(record.encoding in (0, FOURIER), "UNKNOWN_ID")
    if record.is_fourier:
        read_fourier(p, record)


def read_float(p: Payload) -> float:
    """§6.4: "above 0, below 2^64, not an integer of 1 to 255"."""
    value = p.f32()
    p.require(0 < value < FLOAT_END and not (value.is_integer() and 1 <= value <= 255), "BAD_FLOAT")
    return value


def read_fourier(p: Payload, record: Record) -> None:
    """§6.4, FOURIER_BODY."""
    record.flags = p.unsigned(1)
    p.require(not record.flags & 0xFC, "RESERVED_NOT_ZERO")
    record.octaves = p.unsigned(1)
    p.require(1 <= record.octaves <= 32, "BAD_RECORD")
    base = p.unsigned(1)
    record.base_at = p.field
    p.require(base != 1, "BAD_RECORD")
    record.base = float(base) or read_float(p)


def read_fourier_seeded(p: Payload, record: Record) -> None:
    """§6.4, FOURIER_SEEDED_BODY."""
    record.n_features = p.unsigned(2)
    p.require(record.n_features >= 1, "BAD_RECORD")
    read_scale(p, record)


def read_scale(p: Payload, record: Record) -> None:
    """§6.4: "above 0, below 2^64"."""
    record.scale = p.f32()
    p.require(0 < record.scale < FLOAT_END, "BAD_FLOAT")


def read_latent_grid(p: Payload, record: Record) -> None:
    """§6.4, GRID_BODY."""
    read_tool_flags(p, record)
    record.n_axes = p.unsigned(1)
    record.n_axes_at = p.field
    p.require(1 <= record.n_axes <= 4, "BAD_RECORD")
    record.n_levels = p.unsigned(1)
    p.require(1 <= record.n_levels <= 64, "BAD_RECORD")
    record.latent_dim = p.unsigned(1)
    p.require(record.latent_dim >= 1, "BAD_RECORD")
    record.feature_dim = p.unsigned(1)
    p.require(record.feature_dim >= 1, "BAD_RECORD")
    log2_table_size = p.unsigned(1)
    p.require(log2_table_size <= 30, "BAD_RECORD")
    record.table_size = 1 << log2_table_size
    record.flags = p.unsigned(1)
    p.require(not record.flags & 0xF0, "RESERVED_NOT_ZERO")
    record.resolutions = tuple(read_resolution(p, record) for _ in range(record.n_levels))


def read_resolution(p: Payload, record: Record) -> tuple[int, ...]:
    """§9.6.1: "`resolutions` holds the vertices along each axis, level by level, in a level axis by axis (flags bit 2:
    one number a level, for all axes)".
    """
    found = []
    for _ in range(1 if record.flags & 4 else record.n_axes):
        found.append(p.unsigned(2))
        p.require(found[-1] >= 1, "BAD_RECORD")
    return tuple(found * record.n_axes if record.flags & 4 else found)


def read_pyramid(p: Payload, record: Record) -> None:
    """§6.4, PYRAMID_BODY."""
    read_tool_flags(p, record, reserved=0xA0)
    record.n_levels = p.unsigned(1)
    p.require(1 <= record.n_levels <= 16, "BAD_RECORD")
    record.axes = p.unsigned(1)
    record.axes_at = p.field
    p.require(1 <= record.axes <= 15, "BAD_RECORD")
    filter_ = p.unsigned(1)
    p.require(not filter_ & 0xE0, "RESERVED_NOT_ZERO")
    record.taps, record.has_one_filter = filter_ & 15, bool(filter_ & 16)
    p.require(1 <= record.taps <= 8, "BAD_RECORD")
    # "bits 0-1 context id; bits 2-3 hidden layers; bits 4-6 width / 4 - 1"
    context = p.unsigned(1)
    record.context_at = p.field
    p.require(not context & 0x80, "RESERVED_NOT_ZERO")
    record.context = context & 3
    p.require(record.context in CONTEXTS, "UNKNOWN_ID")
    p.require(record.context != FACTORISED or context == 0, "RESERVED_NOT_ZERO")
    record.n_hidden, record.hidden_width = context >> 2 & 3, 4 * ((context >> 4) + 1)


# §6.4: "its `body` depends on the kind"; all other kinds have that of a layer
BODIES: dict[int, Callable[[Payload, Record], None]] = {
    FOURIER: read_fourier,
    FOURIER_SEEDED: read_fourier_seeded,
    GRID: read_latent_grid,
    PYRAMID: read_pyramid,
    INPUT: read_input,
    OUTPUT: read_output,
    FILTER: read_filter,
    MULTIPLY: read_multiply,
}


def read_parts(p: Payload, head: Head) -> None:
    """§6.1: "parts along an axis", "samples that a part has on the other side of its edges", "1: all tensors but the
    latents are shared"; there with the feature PARTS.
    """
    if head.features & PARTS:
        head.split_at = p.at
        head.split = tuple(p.unsigned(2) for _ in range(head.in_dims))
        head.overlap_at = p.at
        head.overlap = tuple(p.unsigned(2) for _ in range(head.in_dims))
        shared = p.unsigned(1)
        head.shared_at = p.field
        p.require(shared <= 1, "RESERVED_NOT_ZERO")
        head.shared = bool(shared)


def read_active_width(p: Payload, head: Head) -> None:
    """§6.1: "units of a layer record after the pass"; there with the feature WIDTHS.

    §13.2: "`active_width` gives for each pass but the last, pass by pass, the units of each record of the groups layer
    and lattice_filter but the last that are there after it".
    """
    head.active_width_at = p.at
    if head.features & WIDTHS:
        head.active_width = [p.unsigned(2) for _ in range((head.n_passes - 1) * len(head.growing))]


def read_base_digest(p: Payload, head: Head) -> None:
    """§6.1: "names the base, clause 9.8"; there with the feature SHARED_BASE."""
    if head.features & SHARED_BASE:
        at = p.skip(DIGEST_BYTES)
        head.base_digest_at = at
        head.base_digest = bytes(p.data[at : at + DIGEST_BYTES])


def read_optional_blocks(p: Payload, head: Head) -> None:
    """§6.6: "For each bit of `features_optional`, in ascending order, a block follows"."""
    for feature in range(8):
        if head.features_optional >> feature & 1:
            length = p.unsigned(1)
            if feature == QUALITY:
                head.quality_length, head.quality_at = length, p.field
            p.skip(length)  # "A decoder skips the blocks of features it does not know."


def check_grid(head: Head) -> None:
    """HED-2 to HED-4 of clause 6.2."""
    # HED-2: "The grid's entries are all non-zero, or all zero: then there is no native grid"
    if any(head.grid) and not all(head.grid):
        raise DecodeError("BAD_DIMENSIONS", head.grid_at)
    # HED-3: "Their product is at most the level's `grid_samples`"
    if math.prod(head.grid) > head.level.grid_samples:
        raise DecodeError("LIMIT_GRID", head.grid_at)
    # HED-4: "For coords 15, `low` and `high` of each axis are finite and low < high"
    for low, high in zip(head.low, head.high, strict=True):
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise DecodeError("BAD_FLOAT", head.box_at)


def check_records(head: Head) -> None:
    """HED-5 to HED-7 of clause 6.4, one rule after the other, each for all records in order."""
    # HED-5: "A record of the group input_encoding is the first of at least two"
    for record in head.records[1:]:
        if record.kind in INPUT_ENCODINGS:
            raise DecodeError("BAD_RECORD", record.kind_at)
    # HED-6: "tool_flags, those of GRID and PYRAMID included: tool 4 stands in none; bits 3 and 4 go with tools 1 to 3
    # only; bit 6 with tool 0 only"
    for record in head.records:
        raw_only, others_only = record.is_half, record.has_prior or record.has_row_steps
        if record.tool == LATENT or (others_only if record.tool == RAW else raw_only):
            raise DecodeError("BAD_RECORD", record.tool_flags_at)
    # HED-7 §6.4: "Of two records of the groups layer and lattice_filter that follow each other, neither of them the
    # last record, kind, tool_flags, width, omega, scale or, with WIDTHS, an active_width differ"
    active = {record.kind_at: head.active_width[k :: len(head.growing)] for k, record in enumerate(head.growing)}
    for first, second in pairwise(head.records[:-1]):
        is_equal = first.is_layer and first.form == second.form
        if is_equal and active[first.kind_at] == active[second.kind_at]:
            raise DecodeError("BAD_RECORD", second.kind_at)


def check_grid_axes(head: Head) -> None:
    """GRD-1 §9.6.2: "GRID: n_axes is at most in_dims (`BAD_RECORD`, at n_axes)."."""
    for record in head.records:
        if record.n_axes > head.in_dims:
            raise DecodeError("BAD_RECORD", record.n_axes_at)


def check_pyramid(head: Head) -> None:
    """GRD-2 §9.6.2: "there is a native grid and in_dims is at most 4 (`BAD_RECORD`, at its kind); `axes` has no bit at
    or above in_dims (`BAD_RECORD`, at axes); with context id 1 or 2, in_dims is at least 2 and the halved axes are
    exactly the last two (`BAD_RECORD`, at context)."
    """
    record = head.records[0]
    if record.kind != PYRAMID:
        return
    if not any(head.grid) or head.in_dims > 4:
        raise DecodeError("BAD_RECORD", record.kind_at)
    if record.axes >> head.in_dims:
        raise DecodeError("BAD_RECORD", record.axes_at)
    last_two = [head.in_dims - 2, head.in_dims - 1]
    if record.context != FACTORISED and (head.in_dims < 2 or record.halved != last_two):
        raise DecodeError("BAD_RECORD", record.context_at)


def check_lattice_filters(head: Head) -> None:
    """GRD-3 §9.6.2: "A CONV or CONV_RELU record, the last one too, has a PYRAMID as input encoding; no record of
    another kind follows it (INPUT, OUTPUT, FILTER and MULTIPLY are other kinds); its outputs are as many as its inputs
    (`BAD_RECORD`, at its kind)."
    """
    inputs: dict[int, int] = {}  # of the first layer of the record at an offset
    for before, step in zip(head.widths, head.steps, strict=False):
        inputs.setdefault(step.record.kind_at, before)
    for index, record in enumerate(head.records):
        if record.kind in LATTICE_FILTERS:
            others = any(r.kind not in LATTICE_FILTERS for r in head.records[index:])
            if head.records[0].kind != PYRAMID or others or record.width != inputs[record.kind_at]:
                raise DecodeError("BAD_RECORD", record.kind_at)


def check_grid_feature(head: Head) -> None:
    """GRD-4 §9.6.2: "a GRID or PYRAMID record without the feature GRID, at its kind; the feature GRID without such a
    record, at features_required."
    """
    has_record, has_feature = head.records[0].is_latent, bool(head.features & HAS_GRID)
    if has_record != has_feature:
        raise DecodeError("FEATURE_MISMATCH", head.records[0].kind_at if has_record else head.features_at)


def check_parts(head: Head) -> None:
    """PRT-1 to PRT-5 of clause 13.1."""
    # PRT-1 §13.1: "PARTS goes neither with SHARED_BASE nor with WIDTHS (`FEATURE_MISMATCH`, at features_required)."
    if head.features & (SHARED_BASE | WIDTHS):
        raise DecodeError("FEATURE_MISMATCH", head.features_at)
    # PRT-2 §13.1: "There is a native grid, coords is CENTRES, each `split` is from 1 to the grid's entry, and P is at
    # least 2 (`BAD_DIMENSIONS`, at split, which is the first byte of its first entry)."
    fits = all(
        1 <= s <= n for n, s in zip(head.grid, head.split, strict=True)
    )  # not without a grid, whose entries are 0
    if not fits or head.coords != CENTRES or head.n_parts < 2:
        raise DecodeError("BAD_DIMENSIONS", head.split_at)
    # PRT-3 §13.1: "On every axis 2·overlap is at most N / S, and overlap is 0 where S is 1 (`BAD_DIMENSIONS`, at
    # overlap, the first byte of its first entry)."
    if any(2 * axis.overlap > axis.n // axis.s or (axis.s == 1 and axis.overlap) for axis in head.axes):
        raise DecodeError("BAD_DIMENSIONS", head.overlap_at)
    # PRT-4 §13.1: "shared = 1 needs a GRID or a PYRAMID (`BAD_RECORD`, at shared)."
    if head.shared and not head.records[0].is_latent:
        raise DecodeError("BAD_RECORD", head.shared_at)
    # PRT-5 §13.1: "P is at most the level's `parts` (`LIMIT_PARTS`, at split)."
    if head.n_parts > head.level.parts:
        raise DecodeError("LIMIT_PARTS", head.split_at)


def check_growth(head: Head) -> None:
    """WID-1 §13.2: "`FEATURE_MISMATCH`, at features_required: WIDTHS with n_passes = 1, with SHARED_BASE, with a GRID
    or PYRAMID, with a record that is neither an input encoding nor of the group layer, or with a GABOR; or no
    active_width is below its record's width."
    """
    allowed = (*LAYER_KINDS, FOURIER, FOURIER_SEEDED)
    others = any(record.kind not in allowed or record.kind == GABOR for record in head.records)
    widths = [record.width for record in head.growing] * (head.n_passes - 1)
    grows = any(active < width for active, width in zip(head.active_width, widths, strict=True))
    if others or head.features & SHARED_BASE or not grows:  # with n_passes = 1 there is no active_width
        raise DecodeError("FEATURE_MISMATCH", head.features_at)


def check_active_width(head: Head) -> None:
    """WID-2 §13.2: "active_width is from 1 to the width of its record, and not below that of the pass before
    (`BAD_RECORD`, at active_width, the first entry at fault)."
    """
    n = len(head.growing)
    least = [1] * n + head.active_width
    for index, active in enumerate(head.active_width):
        if not least[index] <= active <= head.growing[index % n].width:
            raise DecodeError("BAD_RECORD", head.active_width_at + 2 * index)


def check_limits(head: Head) -> None:
    """HED-8 §6.5: "At most the level's `layers` layers, repeats, OUTPUT and FILTER counted"; then width, "inputs are
    the current values of clause 6.7, outputs those of GABOR twice its width"; then "at most its `parameters` parameters
    in all tensors, of all parts where there are parts".
    """
    if sum(record.repeat for record in head.records if record.is_counted) > head.level.layers:
        raise DecodeError("LIMIT_LAYERS", head.n_records_at)
    if max(head.widths) > head.level.width:
        raise DecodeError("LIMIT_WIDTH", head.n_records_at)
    if head.group_ends[-1] > head.level.parameters:
        raise DecodeError("LIMIT_PARAMETERS", head.n_records_at)


def check_features(head: Head) -> None:
    """HED-9 and HED-10 §6.5.

    HED-9: "`FEATURE_MISMATCH`, at tool_flags: tool 2 without TRELLIS, tool 3 without SPARSE or without SEEDED,
    bit 3 without SEEDED; at its kind: a FOURIER_SEEDED record without SEEDED; at rng_dictionary: a dictionary law other
    than 0 without SPARSE."
    """
    used = 0
    for record in head.records:
        needed = TOOL_FEATURES.get(record.tool, 0) | (SEEDED if record.needs_seed else 0)
        if needed & ~head.features:
            raise DecodeError("FEATURE_MISMATCH", record.tool_flags_at if record.has_tool_flags else record.kind_at)
        used |= needed
    if head.dictionary_law != 0 and not head.features & HAS_SPARSE:
        raise DecodeError("FEATURE_MISMATCH", head.rng_dictionary_at)
    # HED-10: "TRELLIS, and no record has tool 2; SPARSE, and no record has tool 3; SEEDED, and no record has bit 3,
    # tool 3 or kind FOURIER_SEEDED; WIDE, and every grid entry is below 2^16 and the seed, if there is one, below
    # 2^32."
    if head.features & (HAS_TRELLIS | HAS_SPARSE | SEEDED) & ~used:
        raise DecodeError("FEATURE_MISMATCH", head.features_at)
    if head.features & WIDE and max(head.grid) < 1 << 16 and head.seed < 1 << 32:
        raise DecodeError("FEATURE_MISMATCH", head.features_at)


def check_optional_blocks(head: Head) -> None:
    """HED-11 §6.6: "The length of QUALITY is 2·n_passes"."""
    if head.quality_length is not None and head.quality_length != 2 * head.n_passes:
        raise DecodeError("BAD_OPTIONAL_BLOCK", head.quality_at)


def check_frequencies(head: Head) -> None:
    """HED-12 §6.6: "FOURIER, in INPUT too: p[octaves - 1] of clause 16.2 is below 2^64"."""
    for record in head.records:
        # a product of binary64 numbers that is too large is an infinity; a power would be an exception
        if record.is_fourier and math.prod([record.base] * (record.octaves - 1)) >= FLOAT_END:
            raise DecodeError("BAD_FLOAT", record.base_at)


def check_inputs(head: Head) -> None:
    """HED-13 §6.4: "INPUT: first + count is at most in_dims (`BAD_RECORD`, at first). An INPUT that is the first record
    has not all axes (`BAD_RECORD`, at its kind)".
    """
    for index, record in enumerate(head.records):
        if record.first + record.count > head.in_dims:
            raise DecodeError("BAD_RECORD", record.first_at)
        if index == 0 and record.count == head.in_dims:
            raise DecodeError("BAD_RECORD", record.kind_at)


def check_outputs(head: Head) -> None:
    """HED-14 §6.4: "The widths of all OUTPUT records together are below out_channels (`BAD_RECORD`, at the width with
    which they are not)."
    """
    left = head.out_channels
    for record in head.records:
        if record.kind == OUTPUT:
            left -= record.width
            if left <= 0:
                raise DecodeError("BAD_RECORD", record.width_at)


def check_relative(head: Head) -> None:
    """HED-15 §6.6: "With SHARED_BASE bits 3 and 4 of every tool_flags are 0 (`BAD_RECORD`, at tool_flags)."."""
    for record in head.records:
        if head.features & SHARED_BASE and (record.has_prior or record.has_row_steps):
            raise DecodeError("BAD_RECORD", record.tool_flags_at)


def check_products(head: Head) -> None:
    """HED-16 §6.4: "MULTIPLY: more than `layer` layers come before it, and layer `layer` (counted as in clause 6.7) has
    as many outputs as there are current values (`BAD_RECORD`, at layer)."
    """
    outputs: list[int] = []  # of the layers so far
    for values, step in zip(head.widths, head.steps, strict=False):
        if step.record.kind == MULTIPLY and outputs[step.record.layer :][:1] != [values]:
            raise DecodeError("BAD_RECORD", step.record.layer_at)
        if step.record.is_counted:
            outputs.append(step.outputs)
