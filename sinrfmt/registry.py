"""Ids, limits and error codes of the bitstream. Made by ``spec/generate.py`` from ``spec/registry.toml``."""

from dataclasses import dataclass
from enum import IntEnum

SIGNATURE = bytes.fromhex("53494ed2")
VERSION_MAJOR = 1
VERSION_MINOR = 0
MEDIA_TYPE = "application/vnd.sinr"
EXTENSION = ".sinr"


class ChunkKind(IntEnum):
    """Bits 0-3 of a chunk's type byte."""

    HEAD = 1
    PASS = 2
    INDX = 3
    META = 4
    HASH = 5
    PREV = 7


class Feature(IntEnum):
    """Bit numbers of ``features_required``."""

    WIDE = 0
    SEEDED = 1
    TRELLIS = 2
    SPARSE = 3
    GRID = 4
    PARTS = 5
    WIDTHS = 6
    SHARED_BASE = 7
    EXACT = 8


class OptionalFeature(IntEnum):
    """Bit numbers of ``features_optional``."""

    QUALITY = 0


class Profile(IntEnum):
    """Which tools a file uses."""

    CORE = 1
    MAIN = 2


class Modality(IntEnum):
    """What the signal is."""

    IMAGE = 1
    VIDEO = 2
    AUDIO = 3
    VOLUME = 4
    SDF = 5
    OCCUPANCY = 6
    RADIANCE = 7
    FIELD = 8


class Coords(IntEnum):
    """How grid indices become coordinates."""

    CENTRES = 0
    CORNERS = 1
    CORNERS_PROPORTIONAL = 2
    CENTRES_UNIT = 3
    BOX = 15


class Values(IntEnum):
    """Range of the field's values."""

    UNIT = 0
    SIGNED = 1
    RAW = 2


class Rng(IntEnum):
    """Random generators."""

    PHILOX4X32_10 = 1


class Dictionary(IntEnum):
    """Laws of a seeded dictionary's entries."""

    RADEMACHER = 0
    T8 = 1


class RecordKind(IntEnum):
    """Kinds of layer records."""

    LINEAR = 1
    SINE = 2
    RELU = 3
    GAUSSIAN = 4
    TANH = 5
    SIGMOID = 6
    ELU = 7
    GABOR = 8
    FINER = 9
    CONV = 11
    CONV_RELU = 12
    FOURIER = 33
    FOURIER_SEEDED = 34
    GRID = 35
    PYRAMID = 36
    INPUT = 64
    OUTPUT = 65
    FILTER = 66
    MULTIPLY = 67


class Tool(IntEnum):
    """Coding tools of a tensor."""

    RAW = 0
    SCALAR = 1
    TRELLIS = 2
    SPARSE = 3
    LATENT = 4


class Coding(IntEnum):
    """Payload codings of a PASS chunk."""

    PACKED = 0
    RANS = 1
    ZLIB = 2
    BROTLI = 3
    ZSTANDARD = 4


class ModelForm(IntEnum):
    """How a model's parameters are given."""

    ZERO = 0
    SHORT = 1
    LONG = 2
    SAME = 3


class LatentForm(IntEnum):
    """How the model of a level's latents is given."""

    ZERO = 0
    SHORT = 1
    LONG = 2
    SAME = 3
    TABLE = 4
    CONTEXT = 5


class ContextId(IntEnum):
    """How latents of a pyramid are predicted from others."""

    FACTORISED = 0
    INTERLACED = 1
    SERIAL = 2


class Law(IntEnum):
    """Laws of a short-form model."""

    LAPLACE = 0
    GAUSS = 1
    FLAT = 2
    HEAVY = 3


# Reserved ids: their fields are fixed, a decoder of this version may refuse them as unsupported.
RESERVED_FEATURES = frozenset({Feature.EXACT})
KINDS_WITH_OMEGA = frozenset(
    {RecordKind.SINE, RecordKind.GAUSSIAN, RecordKind.GABOR, RecordKind.FINER, RecordKind.FILTER}
)


@dataclass(frozen=True)
class Level:
    """Limits of one level."""

    id: int
    file_bytes: int
    layers: int
    parameters: int
    width: int
    grid_samples: int
    symbols: int
    parts: int


LEVELS: dict[int, Level] = {
    1: Level(
        id=1, file_bytes=65536, layers=8, parameters=16384, width=4096, grid_samples=4194304, symbols=4194304, parts=64
    ),
    2: Level(
        id=2,
        file_bytes=524288,
        layers=16,
        parameters=131072,
        width=8192,
        grid_samples=67108864,
        symbols=16777216,
        parts=512,
    ),
    3: Level(
        id=3,
        file_bytes=4194304,
        layers=32,
        parameters=1048576,
        width=16384,
        grid_samples=1073741824,
        symbols=67108864,
        parts=4096,
    ),
    4: Level(
        id=4,
        file_bytes=67108864,
        layers=64,
        parameters=16777216,
        width=32768,
        grid_samples=17179869184,
        symbols=268435456,
        parts=16384,
    ),
    5: Level(
        id=5,
        file_bytes=2147483648,
        layers=256,
        parameters=4294967296,
        width=65535,
        grid_samples=274877906944,
        symbols=17179869184,
        parts=65534,
    ),
}
IN_DIMS_LIMIT = 8
MEMORY_BYTES_PER_PARAMETER_LIMIT = 16
MEMORY_CHUNKS_LIMIT = 4
MEMORY_BYTES_FIXED_LIMIT = 4194304
MEMORY_BYTES_PER_PART_LIMIT = 16384

ERRORS: dict[str, tuple[int, str]] = {
    "BAD_SIGNATURE": (101, "malformed"),
    "HEADER_CHECK_MISMATCH": (102, "integrity"),
    "CHUNK_CRC_MISMATCH": (103, "integrity"),
    "BAD_CHUNK_TYPE": (104, "malformed"),
    "UNKNOWN_CRITICAL_CHUNK": (105, "unsupported"),
    "CHUNK_ORDER": (106, "malformed"),
    "TRAILING_DATA": (107, "malformed"),
    "TRUNCATED": (108, "truncated"),
    "MISSING_PASS": (109, "malformed"),
    "UNSUPPORTED_VERSION": (201, "unsupported"),
    "UNSUPPORTED_PROFILE": (202, "unsupported"),
    "UNSUPPORTED_LEVEL": (203, "unsupported"),
    "UNSUPPORTED_FEATURE": (204, "unsupported"),
    "PAYLOAD_TOO_SHORT": (205, "malformed"),
    "SURPLUS_BYTES": (206, "malformed"),
    "RESERVED_NOT_ZERO": (207, "malformed"),
    "UNKNOWN_ID": (208, "unsupported"),
    "BAD_DIMENSIONS": (209, "malformed"),
    "BAD_FLOAT": (210, "malformed"),
    "FEATURE_MISMATCH": (211, "malformed"),
    "BAD_RECORD": (212, "malformed"),
    "BAD_OPTIONAL_BLOCK": (213, "malformed"),
    "BASE_REQUIRED": (214, "unsupported"),
    "PASS_ORDER": (301, "malformed"),
    "PROFILE_FORBIDS": (302, "malformed"),
    "BAD_LANES": (303, "malformed"),
    "PADDING_NOT_ZERO": (304, "malformed"),
    "BAD_TABLE": (305, "malformed"),
    "BAD_MODEL": (306, "malformed"),
    "STEP_OUT_OF_RANGE": (307, "malformed"),
    "BAD_STREAM": (308, "malformed"),
    "ACC_OVERFLOW": (309, "malformed"),
    "ACC_CRC_MISMATCH": (310, "integrity"),
    "NON_FINITE_WEIGHT": (311, "malformed"),
    "BAD_COMPRESSED_DATA": (312, "malformed"),
    "CODEC_MISSING": (313, "unsupported"),
    "LIMIT_FILE_BYTES": (401, "limit"),
    "LIMIT_LAYERS": (402, "limit"),
    "LIMIT_PARAMETERS": (403, "limit"),
    "LIMIT_WIDTH": (404, "limit"),
    "LIMIT_GRID": (405, "limit"),
    "LIMIT_SYMBOLS": (406, "limit"),
    "LIMIT_CALLER": (407, "limit"),
    "LIMIT_PARTS": (408, "limit"),
    "WEIGHTS_HASH_MISMATCH": (501, "integrity"),
    "BASE_MISMATCH": (502, "integrity"),
    "SOURCE_CHANGED": (503, "integrity"),
    "USAGE": (601, "usage"),
}
