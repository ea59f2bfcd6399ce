"""Packed and compressed values (clause 11)."""

import importlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from reference_decoder.entropy import Integers, Values
from reference_decoder.errors import DecodeError
from reference_decoder.limits import blocks

ZLIB, BROTLI, ZSTANDARD = 2, 3, 4
LIBRARIES = {ZLIB: "zlib", BROTLI: "brotli", ZSTANDARD: "zstandard"}
FRAME_MAGIC = bytes.fromhex("28b52ffd")  # of a Zstandard frame that is not a skippable one (RFC 8878)

Decompress = Callable[[memoryview, int], bytes | None]


def load_codec(coding: int, at: int) -> Decompress:
    """The decompressor of codings 2 to 4: it returns None for bytes that are not one stream of exactly the size asked.

    PAS-1 §7.1: "A decoder without the library for it answers `CODEC_MISSING`, at flags, and not before."
    """
    try:
        library = importlib.import_module(LIBRARIES[coding])
    except ImportError:
        raise DecodeError("CODEC_MISSING", at) from None
    decompress = {ZLIB: inflate, BROTLI: unbrotli, ZSTANDARD: unzstandard}[coding]
    return lambda body, size: decompress(library, body, size)


# CMP-1 §11: "It decompresses to exactly the size that follows from the table and nothing follows it". "A decoder MUST
# NOT let it grow more than 64 KiB beyond that size": each function below asks for `size` bytes, then for the end of the
# stream, where at most one byte (Brotli: one block of its library, some 32 KiB) more can come out.


def inflate(_: Any, body: memoryview, size: int) -> bytes | None:
    """§11: "exactly one zlib stream (RFC 1950)"."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(body, max(size, 1))  # 0 would mean without limit
        surplus = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error:
        return None
    return found if len(found) == size and not surplus and stream.eof and not stream.unused_data else None


def unbrotli(library: Any, body: memoryview, size: int) -> bytes | None:
    """§11: "Brotli stream (RFC 7932)"."""
    stream = library.Decompressor()
    found, more = bytearray(), bytes(body)
    try:
        while len(found) <= size and not stream.is_finished():
            part = stream.process(more, output_buffer_limit=1)  # the library rounds up to some 32 KiB
            more = b""
            found += part
            if not part:
                break
    except library.error:
        return None
    return bytes(found) if len(found) == size and stream.is_finished() else None


def unzstandard(library: Any, body: memoryview, size: int) -> bytes | None:
    """§11: "A Zstandard frame is not a skippable one and names no dictionary (id 0 names none), its content size may be
    absent"."""
    if body[:4] != FRAME_MAGIC:
        return None
    try:
        if library.frame_content_size(body) not in (-1, size):
            return None
        # §11: "its window is at most 8 MiB"
        decompressor = library.ZstdDecompressor(max_window_size=8 << 20)
        if size == 0:
            return empty_frame(decompressor, body)
        found: bytes = decompressor.decompress(body, size, allow_extra_data=False)
    except library.ZstdError as error:
        if "not enough memory" in str(error):  # the machine is at fault, not the file
            raise MemoryError from None
        return None
    return found if len(found) == size else None


def empty_frame(decompressor: Any, body: memoryview) -> bytes | None:
    """A Zstandard frame without content: the library's function for a whole frame does not read the blocks of one.

    The first stream finds content, and takes no more than one byte of it; the second finds what is missing or surplus.
    """
    if decompressor.stream_reader(body).read(1):
        return None
    stream = decompressor.decompressobj()
    found: bytes = stream.decompress(body)
    return found if stream.eof and not stream.unused_data else None


class Packed:
    """The bit string of clause 11, read from its start."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.bytes = np.frombuffer(data, np.uint8)
        self.bit = 0

    def read(self, values: Values) -> Integers:
        """The next list of the body.

        §11: "one bit string, LSB first, of all values of the chunk in the order of clause 7.4, each in two's
        complement"; §9.2: "packed values of 16 or 32 bits, without sign".
        """
        found = np.empty(values.count, np.int32)
        sign = 0 if values.raw else 1 << (values.width - 1)
        for block in blocks(values.count):
            value = self.block(block.stop - block.start, values.width).astype(np.int64)
            found[block] = ((value ^ sign) - sign).astype(np.uint32).view(np.int32)
        return found

    def finish(self) -> None:
        """The end of the body was checked when it was opened."""

    def block(self, count: int, width: int) -> npt.NDArray[np.uint32]:
        """CNV-3 §4: "bit i of a bit string is bit `i & 7` of byte `i >> 3`"."""
        end = self.bit + count * width
        bits = np.unpackbits(self.bytes[self.bit >> 3 : (end + 7) >> 3], bitorder="little")
        word = np.zeros((count, 32), np.uint8)
        word[:, :width] = bits[self.bit & 7 :][: count * width].reshape(count, width)
        self.bit = end
        return np.packbits(word, axis=None, bitorder="little").view("<u4").astype(np.uint32, copy=False)


def open_packed(body: memoryview, at: int, bits: int) -> Packed:
    """Coding 0. §11: "Its size follows from the table." `bits` is the length of the bit string."""
    size = (bits + 7) // 8
    if len(body) < size:
        raise DecodeError("PAYLOAD_TOO_SHORT", at + len(body))
    if len(body) > size:
        raise DecodeError("SURPLUS_BYTES", at + size)
    # "padded with zero bits to a whole byte (`PADDING_NOT_ZERO`, at its last byte)"
    if has_padding(body, bits):
        raise DecodeError("PADDING_NOT_ZERO", at + size - 1)
    return Packed(body)


def open_compressed(body: memoryview, at: int, bits: int, decompress: Decompress) -> Packed:
    """Codings 2 to 4."""
    data = decompress(body, (bits + 7) // 8)
    if data is None:
        raise DecodeError("BAD_COMPRESSED_DATA", at)
    # "The size is checked before the padding; padding bits in the decompressed bytes: `PADDING_NOT_ZERO`, at the body's
    # first byte."
    if has_padding(data, bits):
        raise DecodeError("PADDING_NOT_ZERO", at)
    return Packed(data)


def has_padding(data: bytes | memoryview, bits: int) -> bool:
    """Whether a bit after the last one is set."""
    return bool(bits & 7) and data[-1] >> (bits & 7) != 0
