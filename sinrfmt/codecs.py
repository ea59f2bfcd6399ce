"""Bytes to bytes: the compressed payload codings, each bounded by the size that it must give.

Specification: clause 11. Brotli and Zstandard are optional libraries, imported where they are used.
"""

import zlib
from collections.abc import Callable
from typing import Any

from sinrfmt.registry import Coding
from sinrfmt.wire import Fault

ZSTANDARD_WINDOW = 8 << 20
ZSTANDARD_MAGIC = bytes.fromhex("28b52ffd")
READ_BYTES = 1 << 16  # CMP-1: no output grows further beyond its size
OUT_OF_MEMORY = "not enough memory"  # in the words of the library of Zstandard


def _import(library: str) -> Any:
    try:
        return __import__(library)
    except ImportError:
        raise Fault("CODEC_MISSING", f"this file needs the library {library}: pip install 'sinrfmt[codecs]'") from None


def _zlib_decompress(data: bytes, size: int) -> bytes | None:
    decompressor = zlib.decompressobj()
    try:
        out = decompressor.decompress(data, size + 1)
    except zlib.error:
        return None
    return out if decompressor.eof and not decompressor.unused_data and not decompressor.unconsumed_tail else None


def _brotli_decompress(data: bytes, size: int) -> bytes | None:
    brotli = _import("brotli")
    decompressor = brotli.Decompressor()
    out = b""
    try:
        # The limit is soft (the library fills at least its own buffer), so the output is asked for in pieces.
        out = decompressor.process(data, output_buffer_limit=size + 1)
        while len(out) <= size and not decompressor.is_finished():
            piece = decompressor.process(b"", output_buffer_limit=size + 1 - len(out))
            if not piece and decompressor.can_accept_more_data():
                return None
            out += piece
    except brotli.error:
        return None
    # A stream that is finished refuses more input; one that took surplus bytes has raised above.
    return out if decompressor.is_finished() else None


def _zstandard_decompress(data: bytes, size: int) -> bytes | None:
    zstandard = _import("zstandard")
    if data[:4] != ZSTANDARD_MAGIC:
        return None  # a skippable frame
    out = bytearray()
    try:
        announced = zstandard.frame_content_size(data)
        if announced not in (-1, size) or _frame_end(data, zstandard.frame_header_size(data)) != len(data):
            return None
        reader = zstandard.ZstdDecompressor(max_window_size=ZSTANDARD_WINDOW).stream_reader(data)
        while len(out) <= size and (piece := reader.read(min(READ_BYTES, size + 1 - len(out)))):
            out += piece
    except zstandard.ZstdError as failure:
        if OUT_OF_MEMORY in str(failure):  # which says nothing about the data
            raise MemoryError(str(failure)) from None
        return None
    return bytes(out)


def _frame_end(data: bytes, header_size: int) -> int | None:
    """Where a Zstandard frame ends by the sizes of its blocks (RFC 8878, 3.1.1), or None where it is cut.

    The library reads neither what follows a frame in every case nor complains where the last bytes are missing.
    """
    has_checksum = data[4] >> 2 & 1
    at = header_size
    while at + 3 <= len(data):
        block = int.from_bytes(data[at : at + 3], "little")
        is_last, repeats_one_byte, length = block & 1, block >> 1 & 3 == 1, block >> 3
        at += 3 + (1 if repeats_one_byte else length)
        if is_last:
            return at + 4 * has_checksum
    return None


def _brotli_compress(data: bytes) -> bytes:
    return bytes(_import("brotli").compress(data, quality=11, lgwin=22))


def _zstandard_compress(data: bytes) -> bytes:
    return bytes(_import("zstandard").ZstdCompressor(level=19).compress(data))


_DECOMPRESS: dict[Coding, Callable[[bytes, int], bytes | None]] = {
    Coding.ZLIB: _zlib_decompress,
    Coding.BROTLI: _brotli_decompress,
    Coding.ZSTANDARD: _zstandard_decompress,
}
_COMPRESS: dict[Coding, Callable[[bytes], bytes]] = {
    Coding.ZLIB: lambda data: zlib.compress(data, 9),
    Coding.BROTLI: _brotli_compress,
    Coding.ZSTANDARD: _zstandard_compress,
}
_LIBRARY = {Coding.BROTLI: "brotli", Coding.ZSTANDARD: "zstandard"}
COMPRESSED_CODINGS = frozenset(_DECOMPRESS)


def require(coding: Coding) -> None:
    """Raises Fault CODEC_MISSING where the library for ``coding`` is not installed."""
    if coding in _LIBRARY:
        _import(_LIBRARY[coding])


def decompress(coding: Coding, data: bytes, size: int) -> bytes:
    """Exactly ``size`` bytes.

    Raises:
        Fault: BAD_COMPRESSED_DATA, CODEC_MISSING.
    """
    out = _DECOMPRESS[coding](data, size)
    if out is None or len(out) != size:
        raise Fault("BAD_COMPRESSED_DATA", f"the body does not decompress to exactly {size} bytes")
    return out


def compress(coding: Coding, data: bytes) -> bytes:
    """Compress as small as the library can."""
    return _COMPRESS[coding](data)
