"""What the bytes look like, in file order, and nothing else.

Specification: clauses 5 to 7 and 12; the tables of the text are made from these definitions. A payload is parsed from
an exact slice. Rules that span fields are not here but in :mod:`sinrfmt.container`. A strict subset of construct:
Struct, Switch over checked values, If, counted Array, Bytes, Tell, fixed-width numbers, and the checked fields of
:mod:`sinrfmt.wire`; never ``compile()``, ``VarInt``, ``GreedyRange``, ``Optional``, ``Select``, ``Padding``, ``Enum``.
"""

from construct import (
    Array,
    Bytes,
    Float32l,
    If,
    IfThenElse,
    Int8ul,
    Int16ul,
    Int24ul,
    Int32ul,
    Int64ul,
    Struct,
    Switch,
    Tell,
    this,
)

from sinrfmt.registry import (
    IN_DIMS_LIMIT,
    KINDS_WITH_OMEGA,
    LEVELS,
    RESERVED_FEATURES,
    VERSION_MAJOR,
    Coding,
    ContextId,
    Coords,
    Dictionary,
    Feature,
    Modality,
    Profile,
    RecordKind,
    Rng,
    Tool,
    Values,
)
from sinrfmt.wire import Ended, Field, Rule, between, bits_clear, one_of

SUPPORTED_FEATURES = sum(1 << feature for feature in Feature if feature not in RESERVED_FEATURES)
FLOAT_LIMIT = 2.0**64
LAYER_KINDS = frozenset(kind for kind in RecordKind if kind < RecordKind.FOURIER)
"""Kinds of the groups layer and lattice_filter, whose records have one form."""
LAST_KINDS = LAYER_KINDS - {RecordKind.GABOR}
OUTPUT_KINDS = LAST_KINDS - {RecordKind.CONV, RecordKind.CONV_RELU}
LATENT_KINDS = frozenset({RecordKind.GRID, RecordKind.PYRAMID})
ENCODING_KINDS = frozenset({RecordKind.FOURIER, RecordKind.FOURIER_SEEDED}) | LATENT_KINDS

# --- 5.2 chunk -------------------------------------------------------------------------------------------------------

CHUNK_HEADER = Struct(
    "type" / Field(Int8ul, "kind and property bits, clause 5.3"),
    "length" / Field(Int24ul, "bytes of the payload"),
    "hcheck" / Field(Int8ul, "CRC-8 of the four bytes before it"),
)
CHUNK_TRAILER = Struct(
    "crc32" / Field(Int32ul, "CRC-32 of the chunk, clause 5.2"),
)

# --- 6 HEAD ----------------------------------------------------------------------------------------------------------


def _is_shortest(low: int, high: int) -> Rule:
    """A binary32 that is finite, positive and not one of the integers that a byte can say."""
    return Rule(
        "BAD_FLOAT",
        f"above 0, below 2^64, not an integer of {low} to {high}",
        lambda v, _: 0 < v < FLOAT_LIMIT and not (v.is_integer() and low <= v <= high),
    )


_POSITIVE = Rule("BAD_FLOAT", "above 0, below 2^64", lambda v, _: 0 < v < FLOAT_LIMIT)

OMEGA = Struct(
    "omega" / Field(Int8ul, "omega as an integer; 0: a binary32 follows"),
    "omega_binary32" / If(this.omega == 0, Field(Float32l, "omega", _is_shortest(1, 255))),
)
_OMEGA_IF_ANY = If(lambda context: context._.kind in KINDS_WITH_OMEGA, OMEGA)

_TOOL_FLAGS = Field(
    Int8ul,
    "bits 0-2 coding tool; bit 3 prior; bit 4 row steps; bit 5 no bias; bit 6 binary16 (tool 0)",
    bits_clear("RESERVED_NOT_ZERO", 0x80),
    Rule("UNKNOWN_ID", "bits 0-2 a tool of the registry", lambda v, _: v & 7 <= max(Tool)),
)

LAYER_BODY = Struct(
    "tool_flags" / _TOOL_FLAGS,
    "width" / Field(Int16ul, "outputs of the layer", between("BAD_RECORD", 1, 65535)),
    "repeat" / Field(Int8ul, "how many such layers follow each other", between("BAD_RECORD", 1, 255)),
    "omega" / _OMEGA_IF_ANY,
    "scale"
    / If(lambda context: context._.kind == RecordKind.GABOR, Field(Float32l, "scale of the Gabor wavelet", _POSITIVE)),
)

LAST_LAYER_BODY = Struct(
    "tool_flags" / _TOOL_FLAGS,
    "omega" / _OMEGA_IF_ANY,
)

FOURIER_BODY = Struct(
    "flags" / Field(Int8ul, "bit 0 input included; bit 1 times pi", bits_clear("RESERVED_NOT_ZERO", 0xFC)),
    "octaves" / Field(Int8ul, "number of frequencies", between("BAD_RECORD", 1, 32)),
    "base"
    / Field(
        Int8ul,
        "ratio of the frequencies as an integer; 0: a binary32 follows",
        Rule("BAD_RECORD", "not 1", lambda v, _: v != 1),
    ),
    "base_binary32" / If(this.base == 0, Field(Float32l, "ratio of the frequencies", _is_shortest(1, 255))),
)

FOURIER_SEEDED_BODY = Struct(
    "n_features" / Field(Int16ul, "rows of the Fourier matrix", between("BAD_RECORD", 1, 65535)),
    "scale" / Field(Float32l, "factor of the Fourier matrix", _POSITIVE),
)

INPUT_BODY = Struct(
    "first" / Field(Int8ul, "first axis"),
    "count" / Field(Int8ul, "number of axes", between("BAD_RECORD", 1, IN_DIMS_LIMIT)),
    "encoding"
    / Field(Int8ul, "0: none; 33: FOURIER", Rule("UNKNOWN_ID", "0 or 33", lambda v, _: v in (0, RecordKind.FOURIER))),
    "fourier" / If(this.encoding == RecordKind.FOURIER, FOURIER_BODY),
)

OUTPUT_BODY = Struct(
    "kind"
    / Field(
        Int8ul,
        "kind of the layer",
        one_of("UNKNOWN_ID", RecordKind),
        Rule("BAD_RECORD", "of the group layer, not GABOR", lambda v, _: v in OUTPUT_KINDS),
    ),
    "tool_flags" / _TOOL_FLAGS,
    "width" / Field(Int8ul, "outputs of the layer", between("BAD_RECORD", 1, 255)),
    "omega" / If(lambda context: context.kind in KINDS_WITH_OMEGA, OMEGA),
)

FILTER_BODY = Struct(
    "tool_flags" / _TOOL_FLAGS,
    "omega" / OMEGA,
)

MULTIPLY_BODY = Struct("layer" / Field(Int8ul, "number of the layer"))

GRID_AXES_LIMIT = 4
GRID_LEVELS_LIMIT = 64
PYRAMID_LEVELS_LIMIT = 16
TABLE_LOG2_LIMIT = 30
FILTER_NUMBERS_LIMIT = 8
SUM, APPEND_INPUT, ISOTROPIC, DECODER_PER_LEVEL = 1, 2, 4, 8  # flags of GRID
SHARED_FILTER = 0x10  # bit of a pyramid's filter byte

GRID_BODY = Struct(
    "tool_flags" / _TOOL_FLAGS,
    "n_axes" / Field(Int8ul, "axes of the grid: the first coordinates", between("BAD_RECORD", 1, GRID_AXES_LIMIT)),
    "n_levels" / Field(Int8ul, "number of levels", between("BAD_RECORD", 1, GRID_LEVELS_LIMIT)),
    "latent_dim" / Field(Int8ul, "latents of a vertex", between("BAD_RECORD", 1, 255)),
    "feature_dim" / Field(Int8ul, "features of a level", between("BAD_RECORD", 1, 255)),
    "log2_table_size"
    / Field(Int8ul, "log2 of the most entries of a level", between("BAD_RECORD", 0, TABLE_LOG2_LIMIT)),
    "flags"
    / Field(
        Int8ul,
        "bit 0 levels are summed; bit 1 input appended; bit 2 one resolution for all axes; bit 3 a decoder a level",
        bits_clear("RESERVED_NOT_ZERO", 0xF0),
    ),
    "resolutions"
    / Array(
        lambda context: context.n_levels * (1 if context.flags & ISOTROPIC else context.n_axes),
        Field(Int16ul, "vertices along an axis", between("BAD_RECORD", 1, 65535)),
    ),
)

PYRAMID_BODY = Struct(
    "tool_flags"
    / Field(
        Int8ul,
        "as of a layer",
        bits_clear("RESERVED_NOT_ZERO", 0xA0),
        Rule("UNKNOWN_ID", "bits 0-2 a tool of the registry", lambda v, _: v & 7 <= max(Tool)),
    ),
    "n_levels" / Field(Int8ul, "number of levels", between("BAD_RECORD", 1, PYRAMID_LEVELS_LIMIT)),
    "axes" / Field(Int8ul, "bit i: axis i is halved from level to level", between("BAD_RECORD", 1, 15)),
    "filter"
    / Field(
        Int8ul,
        "bits 0-3 numbers of a filter; bit 4 one filter for all levels",
        bits_clear("RESERVED_NOT_ZERO", 0xE0),
        Rule("BAD_RECORD", "bits 0-3 1 to 8", lambda v, _: 1 <= v & 15 <= FILTER_NUMBERS_LIMIT),
    ),
    "context"
    / Field(
        Int8ul,
        "bits 0-1 context id; bits 2-3 hidden layers; bits 4-6 width / 4 - 1",
        bits_clear("RESERVED_NOT_ZERO", 0x80),
        Rule("UNKNOWN_ID", "bits 0-1 a context of the registry", lambda v, _: v & 3 in set(ContextId)),
        Rule("RESERVED_NOT_ZERO", "0 for context 0", lambda v, _: v == 0 or v & 3 != ContextId.FACTORISED),
    ),
)

RECORD = Struct(
    "offset" / Tell,
    "kind" / Field(Int8ul, "what follows", one_of("UNKNOWN_ID", RecordKind)),
    "body"
    / Switch(
        this.kind,
        {
            RecordKind.FOURIER: FOURIER_BODY,
            RecordKind.FOURIER_SEEDED: FOURIER_SEEDED_BODY,
            RecordKind.INPUT: INPUT_BODY,
            RecordKind.OUTPUT: OUTPUT_BODY,
            RecordKind.FILTER: FILTER_BODY,
            RecordKind.MULTIPLY: MULTIPLY_BODY,
            RecordKind.GRID: GRID_BODY,
            RecordKind.PYRAMID: PYRAMID_BODY,
        },
        default=LAYER_BODY,
    ),
)

LAST_RECORD = Struct(
    "offset" / Tell,
    "kind"
    / Field(
        Int8ul,
        "kind of the last layer",
        one_of("UNKNOWN_ID", RecordKind),
        Rule("BAD_RECORD", "of the groups layer and lattice_filter, not GABOR", lambda v, _: v in LAST_KINDS),
    ),
    "body" / LAST_LAYER_BODY,
)

OPTIONAL_BLOCK = Struct(
    "offset" / Tell,
    "length" / Field(Int8ul, "bytes of the block"),
    "data" / Field(Bytes(this.length), "content, by the feature"),
)

_IS_WIDE = this.features_required & (1 << Feature.WIDE) != 0
_IS_SEEDED = this.features_required & (1 << Feature.SEEDED) != 0
_HAS_PARTS = this.features_required & (1 << Feature.PARTS) != 0
_HAS_WIDTHS = this.features_required & (1 << Feature.WIDTHS) != 0
_IS_BASED = this.features_required & (1 << Feature.SHARED_BASE) != 0

HEAD = Struct(
    "version"
    / Field(
        Int8ul,
        "major << 4 | minor",
        Rule("UNSUPPORTED_VERSION", f"major {VERSION_MAJOR}", lambda v, _: v >> 4 == VERSION_MAJOR),
    ),
    "profile_level"
    / Field(
        Int8ul,
        "profile << 4 | level",
        Rule("UNSUPPORTED_PROFILE", "a profile of the registry", lambda v, _: v >> 4 in set(Profile)),
        Rule("UNSUPPORTED_LEVEL", "a level of the registry", lambda v, _: v & 15 in LEVELS),
    ),
    "features_required"
    / Field(
        Int16ul,
        "bits of clause 6.1",
        Rule("UNSUPPORTED_FEATURE", "only features that are known", lambda v, _: v & ~SUPPORTED_FEATURES == 0),
    ),
    "features_optional" / Field(Int8ul, "bits of clause 6.6"),
    "modality" / Field(Int8ul, "what the signal is", one_of("UNKNOWN_ID", Modality)),
    "in_dims" / Field(Int8ul, "number of coordinates", between("BAD_DIMENSIONS", 1, IN_DIMS_LIMIT)),
    "out_channels" / Field(Int8ul, "number of values", between("BAD_DIMENSIONS", 1, 255)),
    "coords_values"
    / Field(
        Int8ul,
        "coords | values << 4",
        Rule("UNKNOWN_ID", "bits 0-3 a coords id", lambda v, _: v & 15 in set(Coords)),
        Rule("UNKNOWN_ID", "bits 4-7 a values id", lambda v, _: v >> 4 in set(Values)),
    ),
    "n_passes" / Field(Int8ul, "number of passes", between("BAD_DIMENSIONS", 1, 255)),
    "grid_offset" / Tell,
    "grid"
    / IfThenElse(
        _IS_WIDE,
        Array(this.in_dims, Field(Int32ul, "native samples of an axis")),
        Array(this.in_dims, Field(Int16ul, "native samples of an axis")),
    ),
    "box_offset" / Tell,
    "box"
    / If(
        this.coords_values & 15 == Coords.BOX,
        Struct(
            "low" / Array(this._.in_dims, Field(Float32l, "lower edge of the box")),
            "high" / Array(this._.in_dims, Field(Float32l, "upper edge of the box")),
        ),
    ),
    "seeded_offset" / Tell,
    "seeded"
    / If(
        _IS_SEEDED,
        Struct(
            "rng_dictionary"
            / Field(
                Int8ul,
                "rng << 4 | dictionary law",
                Rule("UNKNOWN_ID", "bits 4-7 a generator", lambda v, _: v >> 4 in set(Rng)),
                Rule("UNKNOWN_ID", "bits 0-3 a dictionary law", lambda v, _: v & 15 in set(Dictionary)),
            ),
            "seed"
            / IfThenElse(
                this._.features_required & (1 << Feature.WIDE) != 0,
                Field(Int64ul, "seed"),
                Field(Int32ul, "seed"),
            ),
        ),
    ),
    "records_offset" / Tell,
    "n_records" / Field(Int8ul, "number of records", between("BAD_RECORD", 1, 255)),
    "records" / Array(this.n_records - 1, RECORD),
    "last_record" / LAST_RECORD,
    "parts_offset" / Tell,
    "parts"
    / If(
        _HAS_PARTS,
        Struct(
            "split" / Array(this._.in_dims, Field(Int16ul, "parts along an axis")),
            "overlap_offset" / Tell,
            "overlap" / Array(this._.in_dims, Field(Int16ul, "samples that a part has on the other side of its edges")),
            "shared_offset" / Tell,
            "shared"
            / Field(Int8ul, "1: all tensors but the latents are shared", bits_clear("RESERVED_NOT_ZERO", 0xFE)),
        ),
    ),
    "widths_offset" / Tell,
    "active_width"
    / If(
        _HAS_WIDTHS,
        Array(
            lambda context: (context.n_passes - 1) * sum(r.kind in LAYER_KINDS for r in context.records),
            Field(Int16ul, "units of a layer record after the pass"),
        ),
    ),
    "base_offset" / Tell,
    "base_digest" / If(_IS_BASED, Field(Bytes(16), "names the base, clause 9.8")),
    "optional_blocks" / Array(lambda context: context.features_optional.bit_count(), OPTIONAL_BLOCK),
    "end" / Ended(),
)

# --- 7 PASS ----------------------------------------------------------------------------------------------------------

PASS_HEADER = Struct(
    "flags"
    / Field(
        Int8ul,
        "bits 0-2 coding; bit 3 last chunk of its pass; bits 4-7 log2_lanes",
        Rule("UNKNOWN_ID", "bits 0-2 a coding of the registry", lambda v, _: v & 7 in set(Coding)),
    ),
    "pass" / Field(Int8ul, "number of the pass, from 0"),
    "acc_crc" / Field(Int32ul, "CRC-32 of the integer weights, clause 7.5"),
)
PASS_PART = Struct(
    "part" / Field(Int16ul, "number of the part; 65535: the shared tensors"),
)

# 7.3: bits of the tensor table, LSB first. (name, bits, meaning)
TABLE_FIELDS: tuple[tuple[str, int, str], ...] = (
    ("refined", 1, "1: this pass changes the tensor; 0: nothing else follows for it"),
    ("refine_bits", 3, "n - 1; the integers gain n = 1 to 8 bits"),
    ("step_form", 1, "0: step_short follows; 1: step_long follows"),
    ("step_short", 7, "step code - 680"),
    ("step_long", 10, "step code"),
    ("has_row_steps", 1, "1: the rows have step differences, whose value parameters follow"),
    ("has_prior", 1, "1: the tensor has a prior"),
    ("prior_form", 1, "0: prior_short follows; 1: prior_long follows"),
    ("prior_short", 7, "(m >> 8) - 128, the low 8 bits of m being 0"),
    ("prior_long", 16, "m"),
    ("prior_shift", 5, "E - 8; 31 is invalid"),
    ("vectors", 2, "sparse code: 0 columns, 1 rows, 2 the flattened matrix, 3 as the sparse code before"),
    ("n_atoms", 20, "sparse code: k2 - 1"),
    ("n_nonzero", 16, "sparse code: s, atoms of each vector"),
    ("support", 1, "sparse code, coding 1: 0 bitmap, 1 gaps"),
    ("add_bits", 4, "sparse code in a later pass: n; the integers gain n = 0 to 8 bits"),
    ("context_step", 4, "context tensor: q; its step is 2^-q"),
    ("latent_form", 3, "latents, coding 1: model form"),
    ("table_below", 8, "latents, table form: A; the lowest symbol is -A"),
    ("table_above", 8, "latents, table form: B; the highest symbol is B"),
    ("table_escape", 1, "latents, table form: esc"),
    ("table_difference", 4, "latents, table form: code - the code before + 7; 15: table_code follows"),
    ("table_code", 7, "latents, table form: code of a frequency"),
    ("width", 5, "bits of a value - 1 (codings 0 and 2 to 4)"),
    ("form", 2, "model form (coding 1)"),
    ("law", 2, "short form: law"),
    ("scale", 8, "short form: q"),
    ("max_symbol", 10, "long form: R"),
    ("zero_probability", 8, "long form: p0"),
    ("tail", 8, "long form: tb"),
    ("tail_change", 8, "long form: rb"),
    ("heavy", 1, "long form: heavy"),
    ("low_bits", 4, "long form: b"),
    ("escape", 1, "long form: esc"),
)

# --- 12 ancillary chunks ---------------------------------------------------------------------------------------------

INDX = Struct("kind" / Field(Int8ul, "0: places; 1: directory"))
INDX_PLACES = Struct(
    "first" / Field(Int32ul, "number of a PASS chunk"),
    "offset" / Field(Int32ul, "of its type byte in the file"),
    "length_bytes" / Field(Int8ul, "bytes of a length", between("BAD_RECORD", 1, 4)),
)
INDX_ENTRY = Struct(
    "first" / Field(Int32ul, "the first PASS chunk that the INDX chunk names"),
    "offset" / Field(Int32ul, "of the INDX chunk in the file"),
    "length" / Field(Int32ul, "its bytes, framing included"),
)

META_KEY = Struct(
    "length" / Field(Int8ul, "bytes of the key", between("BAD_RECORD", 1, 255)),
    "key" / Field(Bytes(this.length), "UTF-8"),
)
META_VALUE = Struct(
    "length" / Field(Int16ul, "bytes of the value"),
    "value" / Field(Bytes(this.length), "UTF-8"),
)

HASH_ENTRY = Struct(
    "pass" / Field(Int8ul, "number of the pass"),
    "digest" / Field(Bytes(32), "weights_sha256 after that pass"),
)

PREV = Struct(
    "head_length" / Field(Int16ul, "bytes of head"),
    "head" / Field(Bytes(this.head_length), "payload of the preview's HEAD, clause 6"),
)
