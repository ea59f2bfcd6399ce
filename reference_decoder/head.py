"""HEAD: what the file holds, its limits, its network (clause 6)."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

from reference_decoder.container import Payload
from reference_decoder.errors import DecodeError
from reference_decoder.limits import LEVELS, Level

CORE, MAIN = 1, 2
WIDE, SEEDED, HAS_SPARSE = 1 << 0, 1 << 1, 1 << 3
KNOWN_FEATURES = WIDE | SEEDED | HAS_SPARSE  # the others of clause 6.1 are reserved
QUALITY = 0
MODALITIES = range(1, 9)
COORDS = (0, 1, 2, 3, 15)
BOX = 15
VALUES = (0, 1, 2)
GENERATORS = (1,)
DICTIONARY_LAWS = (0, 1)
LAYER_KINDS = {1: "LINEAR", 2: "SINE", 3: "RELU", 4: "GAUSSIAN", 5: "TANH", 6: "SIGMOID", 7: "ELU"}
HAS_OMEGA = (2, 4)
FOURIER, FOURIER_SEEDED = 33, 34
RAW, SCALAR, TRELLIS, SPARSE, LATENT = range(5)
FLOAT_END = 2.0**64


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
    width: int = 0
    repeat: int = 1
    omega: float = 1.0
    flags: int = 0
    octaves: int = 0
    base: float = 0.0
    base_at: int = 0
    n_features: int = 0
    scale: float = 0.0

    @property
    def is_layer(self) -> bool:
        return self.kind in LAYER_KINDS

    @property
    def form(self) -> tuple[int, int, int, float]:
        """What makes two layers equal (HED-7)."""
        return self.kind, self.tool_flags, self.width, self.omega

    @property
    def needs_seed(self) -> bool:
        """Whether the record takes numbers from the generator."""
        return self.has_prior or self.tool == SPARSE or self.kind == FOURIER_SEEDED


@dataclass(frozen=True)
class Tensor:
    """A weight matrix (out, in) or a bias (out), with its ordinal of clause 6.7."""

    ordinal: int
    shape: tuple[int, ...]
    record: Record

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def has_row_steps(self) -> bool:
        return self.record.has_row_steps and len(self.shape) == 2

    @property
    def is_sparse(self) -> bool:
        """§9.5: "Biases of a layer with tool 3 are coded with tool 1." """
        return self.record.tool == SPARSE and len(self.shape) == 2


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
    quality_length: int | None = None
    quality_at: int = 0

    @property
    def encoding(self) -> Record | None:
        """The input encoding, if there is one."""
        return None if self.records[0].is_layer else self.records[0]

    @property
    def layers(self) -> list[Record]:
        """§6.7: "The layers are those of the records in order, each repeated `repeat` times." """
        return [r for r in self.records if r.is_layer for _ in range(r.repeat)]

    @property
    def widths(self) -> list[int]:
        """Inputs of the first layer, then the outputs of every layer (clauses 6.7 and 16.2)."""
        return [encoded_width(self.encoding, self.in_dims)] + [layer.width for layer in self.layers]

    @property
    def tensors(self) -> list[Tensor]:
        """§6.7: "*Table order* is ascending ordinal." """
        widths, tensors = self.widths, []
        for index, record in enumerate(self.layers):
            # "Layer l has the tensors of ordinals 2l, its weights (out, in), and 2l + 1, its bias (out), which is
            # absent if bit 5 of tool_flags is set."
            tensors.append(Tensor(2 * index, (widths[index + 1], widths[index]), record))
            if record.has_bias:
                tensors.append(Tensor(2 * index + 1, (widths[index + 1],), record))
        return tensors


def encoded_width(encoding: Record | None, in_dims: int) -> int:
    """Outputs of the input encoding, by clause 16.2; the coordinates alone if there is none."""
    if encoding is None:
        return in_dims
    if encoding.kind == FOURIER:
        return in_dims * (encoding.flags & 1) + 2 * encoding.octaves * in_dims
    return 2 * encoding.n_features


def read_head(p: Payload) -> Head:
    """Read HEAD; every number in it is within the level's limits afterwards.

    §5.5: "Then CON-10 is applied to the end, and then the rules that span fields in the order of their numbers, each to
    all records in order before the next rule."
    """
    head = Head()
    read_fixed_fields(p, head)
    read_grid(p, head)
    read_seed(p, head)
    read_records(p, head)
    read_optional_blocks(p, head)
    p.finish()
    check_grid(head)
    check_records(head)
    check_limits(head)
    check_features(head)
    check_optional_blocks(head)
    check_frequencies(head)
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
        kind = p.unsigned(1)
        record = Record(kind, p.field)
        # CON-11: "An id that is not in the registry, or is a reserved record kind there, is `UNKNOWN_ID`."
        p.require(record.is_layer or kind in (FOURIER, FOURIER_SEEDED), "UNKNOWN_ID")
        head.records.append(record)
        is_last = index == n_records - 1
        if is_last:
            p.require(record.is_layer, "BAD_RECORD")
        if kind == FOURIER:
            read_fourier(p, record)
        elif kind == FOURIER_SEEDED:
            read_fourier_seeded(p, record)
        else:
            read_layer(p, record, head.out_channels if is_last else None)


def read_layer(p: Payload, record: Record, last_width: int | None) -> None:
    """§6.4, LAYER_BODY; `last_width` is set for "a layer with `out_channels` outputs and repeat 1"."""
    record.tool_flags = flags = p.unsigned(1)
    record.tool_flags_at = p.field
    p.require(not flags & 0x80, "RESERVED_NOT_ZERO")
    # "bits 0-2 coding tool; bit 3 prior; bit 4 row steps; bit 5 no bias; bit 6 binary16 (tool 0)"
    record.tool = flags & 7
    record.has_prior, record.has_row_steps = bool(flags & 0x08), bool(flags & 0x10)
    record.has_bias, record.is_half = not flags & 0x20, bool(flags & 0x40)
    # CON-11: "A reserved tool is a known id: what it needs is its feature bit (HED-9)."
    p.require(record.tool <= LATENT, "UNKNOWN_ID")
    if last_width is None:
        record.width = p.unsigned(2)
        p.require(record.width >= 1, "BAD_RECORD")
        record.repeat = p.unsigned(1)
        p.require(record.repeat >= 1, "BAD_RECORD")
    else:
        record.width = last_width
    if record.kind in HAS_OMEGA:
        # "omega as an integer; 0: a binary32 follows"
        record.omega = float(p.unsigned(1)) or read_float(p)


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
    record.scale = p.f32()
    p.require(0 < record.scale < FLOAT_END, "BAD_FLOAT")


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
    # HED-5: "A record that is not a layer is the first of at least two"
    for record in head.records[1:]:
        if not record.is_layer:
            raise DecodeError("BAD_RECORD", record.kind_at)
    # HED-6: "tool 4 is not a layer's; bits 3 and 4 go with tools 1 to 3 only; bit 6 with tool 0 only"
    for record in head.records:
        raw_only, others_only = record.is_half, record.has_prior or record.has_row_steps
        if record.tool == LATENT or (others_only if record.tool == RAW else raw_only):
            raise DecodeError("BAD_RECORD", record.tool_flags_at)
    # HED-7: "Of two layer records that follow each other, neither of them the last record, kind, tool_flags, width or
    # omega differ"
    inner = [record for record in head.records[:-1] if record.is_layer]
    for first, second in pairwise(inner):
        if first.form == second.form:
            raise DecodeError("BAD_RECORD", second.kind_at)


def check_limits(head: Head) -> None:
    """HED-8 §6.5: "At most the level's `layers` layers, repeats counted"; then width; then parameters."""
    if sum(record.repeat for record in head.records if record.is_layer) > head.level.layers:
        raise DecodeError("LIMIT_LAYERS", head.n_records_at)
    if max(head.in_dims, *head.widths) > head.level.width:
        raise DecodeError("LIMIT_WIDTH", head.n_records_at)
    if sum(tensor.size for tensor in head.tensors) > head.level.parameters:
        raise DecodeError("LIMIT_PARAMETERS", head.n_records_at)


def check_features(head: Head) -> None:
    """HED-9 and HED-10 §6.5. A file with TRELLIS does not get here (§6.1), so tool 2 does not pass.

    HED-9: "`FEATURE_MISMATCH`, at tool_flags: tool 2 without TRELLIS, tool 3 without SPARSE or without SEEDED,
    bit 3 without SEEDED; at its kind: a FOURIER_SEEDED record without SEEDED; at rng_dictionary: a dictionary law other
    than 0 without SPARSE."
    """
    for record in head.records:
        needed = (SEEDED if record.needs_seed else 0) | (HAS_SPARSE if record.tool == SPARSE else 0)
        if record.tool == TRELLIS or needed & ~head.features:
            raise DecodeError("FEATURE_MISMATCH", record.tool_flags_at if record.is_layer else record.kind_at)
    if head.dictionary_law != 0 and not head.features & HAS_SPARSE:
        raise DecodeError("FEATURE_MISMATCH", head.rng_dictionary_at)
    # HED-10: "SPARSE, and no record has tool 3; SEEDED, and no record has bit 3, tool 3 or kind FOURIER_SEEDED; WIDE,
    # and every grid entry is below 2^16 and the seed, if there is one, below 2^32."
    if head.features & HAS_SPARSE and not any(record.tool == SPARSE for record in head.records):
        raise DecodeError("FEATURE_MISMATCH", head.features_at)
    if head.features & SEEDED and not any(record.needs_seed for record in head.records):
        raise DecodeError("FEATURE_MISMATCH", head.features_at)
    if head.features & WIDE and max(head.grid) < 1 << 16 and head.seed < 1 << 32:
        raise DecodeError("FEATURE_MISMATCH", head.features_at)


def check_optional_blocks(head: Head) -> None:
    """HED-11 §6.6: "The length of QUALITY is 2·n_passes"."""
    if head.quality_length is not None and head.quality_length != 2 * head.n_passes:
        raise DecodeError("BAD_OPTIONAL_BLOCK", head.quality_at)


def check_frequencies(head: Head) -> None:
    """HED-12 §6.6: "FOURIER: base^(octaves - 1), computed in binary64, is below 2^64"."""
    for record in head.records:
        # a product of binary64 numbers that is too large is an infinity; a power would be an exception
        if record.kind == FOURIER and math.prod([record.base] * (record.octaves - 1)) >= FLOAT_END:
            raise DecodeError("BAD_FLOAT", record.base_at)
