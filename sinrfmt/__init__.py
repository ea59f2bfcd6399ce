"""sinrfmt: the open bitstream for implicit neural representations.

    import sinrfmt

    field = sinrfmt.load("photo.sinr")
    picture = field.to_uint8()            # uint8[rows, columns, channels]
    values = field.sample([[0.0, 0.0]])   # float32[1, channels]

torch is not imported here; encoding is in :mod:`sinrfmt.torch`.
"""

from sinrfmt.api import dumps, load, loads, open, read_header, save
from sinrfmt.errors import (
    ChecksumError,
    FormatError,
    LimitError,
    SinrError,
    TruncatedError,
    UnsupportedError,
    UsageError,
)
from sinrfmt.field import Field
from sinrfmt.head import Header
from sinrfmt.network import FourierEncoding, InputRecord, LayerRecord, MultiplyRecord, Network, SeededFourierEncoding
from sinrfmt.registry import EXTENSION, MEDIA_TYPE

__all__ = [
    "EXTENSION",
    "MEDIA_TYPE",
    "ChecksumError",
    "Field",
    "FormatError",
    "FourierEncoding",
    "Header",
    "InputRecord",
    "LayerRecord",
    "LimitError",
    "MultiplyRecord",
    "Network",
    "SeededFourierEncoding",
    "SinrError",
    "TruncatedError",
    "UnsupportedError",
    "UsageError",
    "dumps",
    "load",
    "loads",
    "open",
    "read_header",
    "save",
]
