"""Bytes, bits, check values and roundings (clauses 4, 5.2, 9.1); knows nothing of the format above them."""

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


def crc8(data: bytes) -> int:
    """CRC-8 with polynomial 0x07, initial value 0, no reflection (CNV-5)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def rne32(number: float) -> float:
    """Round to binary32, to nearest, ties to even; raises OverflowError above its range."""
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def binary32_of(bits: int) -> float:
    """The binary32 number with these 32 bits."""
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def binary16_of(bits: int) -> float:
    """The binary16 number with these 16 bits."""
    return float(struct.unpack("<e", struct.pack("<H", bits))[0])


def signed_width(values: Iterable[int]) -> int:
    """The least number of bits (at least 1) that hold every value in two's complement."""
    return max(((v if v >= 0 else ~v).bit_length() + 1 for v in values), default=1)


class BitWriter:
    """A bit string, least significant bit first (CNV-3)."""

    def __init__(self) -> None:
        self._number = 0
        self.length = 0

    def put(self, value: int, n_bits: int) -> None:
        """Append the low `n_bits` bits of `value` (two's complement for negative values)."""
        self._number |= (value & ((1 << n_bits) - 1)) << self.length
        self.length += n_bits

    def to_bytes(self) -> bytes:
        """The string padded with zero bits to whole bytes."""
        return self._number.to_bytes((self.length + 7) // 8, "little")


def pack_signed(values: Sequence[int], n_bits: int, into: BitWriter) -> None:
    """Append every value in `n_bits` bits; joined first, so that long lists stay fast."""
    if not any(values):
        into.put(0, n_bits * len(values))
        return
    mask = (1 << n_bits) - 1
    digits = "".join(f"{value & mask:0{n_bits}b}" for value in reversed(values))
    into.put(int(digits, 2), n_bits * len(values))


@dataclass(frozen=True)
class Mark:
    """Where a field stands: byte offset, first bit in that byte, size in bits."""

    offset: int
    bit: int = 0
    n_bits: int = 8


@dataclass
class Section:
    """Bytes under construction with the places of their named fields."""

    data: bytearray = field(default_factory=bytearray)
    marks: dict[str, Mark] = field(default_factory=dict)

    def put(self, name: str, fmt: str, *values: float) -> None:
        """Append `struct` values little-endian under a name."""
        self.put_bytes(name, struct.pack("<" + fmt, *values))

    def put_bytes(self, name: str, data: bytes) -> None:
        """Append bytes under a name."""
        self.marks[name] = Mark(len(self.data), 0, 8 * len(data))
        self.data += data

    def put_section(self, prefix: str, other: "Section") -> None:
        """Append another section, its names behind a prefix."""
        start = len(self.data)
        for name, mark in other.marks.items():
            self.marks[prefix + name] = Mark(start + mark.offset, mark.bit, mark.n_bits)
        self.data += other.data


# --- zlib streams whose bytes do not depend on a version of zlib -----------------------------------

ZLIB_HEADER = b"\x78\x01"


def zlib_stored(data: bytes) -> bytes:
    """RFC 1950 stream with one stored block; `data` below 65536 bytes."""
    block = struct.pack("<BHH", 1, len(data), len(data) ^ 0xFFFF) + data
    return ZLIB_HEADER + block + struct.pack(">I", zlib.adler32(data))


def _put_code(out: BitWriter, code: int, n_bits: int) -> None:
    """Huffman codes stand most significant bit first."""
    out.put(int(f"{code:0{n_bits}b}"[::-1], 2), n_bits)


def _put_literal(out: BitWriter, byte: int) -> None:
    if byte < 144:
        _put_code(out, 0x30 + byte, 8)
    else:
        _put_code(out, 0x190 + byte - 144, 9)


def zlib_fixed(data: bytes) -> bytes:
    """RFC 1950 stream with one block of fixed Huffman codes; runs of a byte become matches of 258 at distance 1."""
    out = BitWriter()
    out.put(0b011, 3)  # last block, fixed codes
    at = 0
    while at < len(data):
        run = data[at : at + 258]
        if at > 0 and len(run) == 258 and run == data[at - 1 : at] * 258:
            _put_code(out, 0xC0 + 285 - 280, 8)
            _put_code(out, 0, 5)
            at += 258
        else:
            _put_literal(out, data[at])
            at += 1
    _put_code(out, 0, 7)  # end of block
    return ZLIB_HEADER + out.to_bytes() + struct.pack(">I", zlib.adler32(data))


def zlib_zeros(n: int) -> bytes:
    """RFC 1950 stream of n zero bytes, as short as deflate allows: a match of 258 bytes takes two bits.

    One block of its own codes: 0 for length 258, 10 and 11 for the byte 0 and the end of the block; one for distance 1.
    """
    out = BitWriter()
    out.put(0b101, 3)  # last block, codes of its own
    for count, n_bits in ((286 - 257, 5), (1 - 1, 5), (18 - 4, 4)):  # code lengths: literals, distances, of the codes
        out.put(count, n_bits)
    for length in (0, 0, 1, *(0,) * 12, 2, 0, 2):  # of 18, 2 and 1, in the order of RFC 1951
        out.put(length, 3)
    one, two, zeros = (0b10, 2), (0b11, 2), (0, 1)
    for code, repeated in (
        *((two, 0), (zeros, 138), (zeros, 117)),  # the byte 0, then none
        *((two, 0), (zeros, 28), (one, 0)),  # the end of the block, none, length 258
        (one, 0),  # distance 1
    ):
        _put_code(out, *code)
        if repeated:
            out.put(repeated - 11, 7)
    n_matches, n_more = divmod(n - 1, 258)
    _put_code(out, 0b10, 2)
    out.put(0, 2 * n_matches)
    for _ in range(n_more):
        _put_code(out, 0b10, 2)
    _put_code(out, 0b11, 2)
    return ZLIB_HEADER + out.to_bytes() + struct.pack(">I", zlib.adler32(bytes(n)))


# --- Brotli streams of one stored meta-block (RFC 7932) ----------------------------------------------


def brotli_stored(data: bytes, large_window: int = 0) -> bytes:
    """A stream that is not compressed; `large_window`: bits of the window in the form that the RFC does not have."""
    out = BitWriter()
    if large_window:
        out.put(0x11, 8)  # invalid in the RFC; other decoders read six bits more
        out.put(large_window, 6)
    else:
        out.put(0, 1)  # a window of 16 bits
    out.put(0, 3)  # not the last meta-block; its length less 1 in 16 bits
    out.put(len(data) - 1, 16)
    out.put(1, 1)  # stored
    return out.to_bytes() + data + b"\x03"  # the last meta-block, empty


# --- Zstandard frames of one raw block (RFC 8878) ----------------------------------------------------

ZSTANDARD_MAGIC = b"\x28\xb5\x2f\xfd"
WINDOW_1_KIB, WINDOW_8_MIB, WINDOW_9_MIB = b"\x00", b"\x68", b"\x69"


def zstandard_raw(
    data: bytes, size_field: bytes | None = None, *, window: bytes = WINDOW_1_KIB, dictionary: int = 0
) -> bytes:
    """A frame without checksum; `size_field`: content size in 8 bytes, None for a frame that does not say it."""
    named = bytes([dictionary]) if dictionary else b""
    flags = len(named) | (0xE0 if size_field is not None else 0)
    descriptor = bytes([flags]) + (window if size_field is None else b"") + named + (size_field or b"")
    block = struct.pack("<I", 1 | len(data) << 3)[:3] + data
    return ZSTANDARD_MAGIC + descriptor + block


def zstandard_skippable(data: bytes) -> bytes:
    """A skippable frame."""
    return struct.pack("<II", 0x184D2A50, len(data)) + data


# --- NumPy's array file, version 1.0 ---------------------------------------------------------------


def npy_bytes(values: Sequence[float], shape: Sequence[int]) -> bytes:
    """An .npy file of binary32 values in C order."""
    if len(values) != math.prod(shape):
        raise ValueError(f"{len(values)} values do not fill the shape {tuple(shape)}")
    size = ", ".join(str(n) for n in shape) + ("," if len(shape) == 1 else "")
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({size}), }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(header))
        + header.encode()
        + struct.pack(f"<{len(values)}f", *values)
    )
