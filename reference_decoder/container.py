"""The container: signature, chunks, their order, fields of a payload (clauses 4 and 5)."""

import struct
import zlib
from dataclasses import dataclass

from reference_decoder.errors import DecodeError

SIGNATURE = bytes.fromhex("53494ed2")
HEAD, PASS, INDX, META, HASH, PREV = 1, 2, 3, 4, 5, 7

# kind: (ancillary, safe to copy), the table of clause 5.3
PROPERTIES = {
    HEAD: (False, False),
    PASS: (False, False),
    INDX: (True, False),
    META: (True, True),
    HASH: (True, False),
    PREV: (True, True),
}
HEADER_BYTES = 5
TRAILER_BYTES = 4
HEAD_END = 16384  # §5.4: "The chunk HEAD ends at or before byte 16384"


def crc8(data: bytes | memoryview) -> int:
    """§4: "CRC-8 has polynomial 0x07, initial value 0, no reflection, no final XOR." """
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ 0x07 if crc & 0x80 else crc << 1
            crc &= 0xFF
    return crc


def check_signature(data: memoryview) -> None:
    """§5.1: "A file begins with the four bytes `53 49 4E D2`"."""
    start = bytes(data[:4])
    if start != SIGNATURE[: len(start)]:
        raise DecodeError("BAD_SIGNATURE", 0)
    if len(start) < 4:
        raise DecodeError("TRUNCATED", len(data))


@dataclass(frozen=True)
class Chunk:
    """A chunk whose header, order, size and CRC are right. Offsets are from the start of the file."""

    kind: int  # 0 for a private chunk: its meaning is not in the text
    last: bool
    offset: int  # of type
    start: int  # of the payload
    end: int  # of the payload, and the offset of crc32
    crc32: int

    @property
    def next(self) -> int:
        """Offset of the first byte after the chunk."""
        return self.end + TRAILER_BYTES


@dataclass
class Progress:
    """What is known of the file so far: the rules of order, size and CRC depend on it."""

    head_crc: int | None = None  # crc32 of HEAD, None before it
    file_bytes: int = HEAD_END  # how far a chunk may go; the level's from HEAD on
    n_passes: int = 0
    passes: int = 0  # whole passes decoded
    groups: int = 0  # PASS chunks of the next pass that are decoded


def read_chunk(data: memoryview, offset: int, progress: Progress) -> Chunk:
    """Read the chunk at `offset` up to CON-3; what it holds is not looked at.

    §5.4: "At each chunk a decoder checks, in this order: the five header bytes are there; CON-2; CON-4; CON-5; CON-6;
    CON-9; payload and crc32 are there; CON-3; the content."
    """
    start = offset + HEADER_BYTES
    if len(data) < start:
        raise DecodeError("TRUNCATED", len(data))
    if crc8(data[offset : start - 1]) != data[start - 1]:
        raise DecodeError("HEADER_CHECK_MISMATCH", start - 1)
    kind = check_type(data[offset], offset)
    check_order(kind, offset, progress)
    end = start + int.from_bytes(data[offset + 1 : offset + 4], "little")
    if end + TRAILER_BYTES > progress.file_bytes:
        raise DecodeError("LIMIT_FILE_BYTES", offset + 1)
    if end + TRAILER_BYTES > len(data):
        raise DecodeError("TRUNCATED", len(data))
    crc = check_crc(data, offset, end, progress.head_crc or 0)
    return Chunk(kind, bool(data[offset] & 0x10), offset, start, end, crc)


def check_type(type_: int, offset: int) -> int:
    """The kind of a chunk, 0 if it is private.

    §5.3: "Bit 7 of `type` set: the chunk is *ancillary*, a decoder that does not know it skips it. Bit 6: private, its
    meaning is not in this text. Bit 5: safe to copy by an editor that does not know it."
    """
    kind = type_ & 15
    ancillary, private, safe = bool(type_ & 0x80), bool(type_ & 0x40), bool(type_ & 0x20)
    # CON-4 §5.3: "kind 0 or 15; a chunk that is not ancillary and has bit 5; a chunk of a kind in the table, bit 6
    # clear, whose bits 7 and 5 are not those of the table."
    known = kind in PROPERTIES and not private
    if kind in (0, 15) or (safe and not ancillary) or (known and PROPERTIES[kind] != (ancillary, safe)):
        raise DecodeError("BAD_CHUNK_TYPE", offset)
    # CON-5 §5.3: "a chunk that is neither ancillary nor of kind HEAD or PASS with bit 6 clear"
    if not ancillary and not known:
        raise DecodeError("UNKNOWN_CRITICAL_CHUNK", offset)
    return 0 if private else kind


def check_order(kind: int, offset: int, progress: Progress) -> None:
    """CON-6 §5.4: "HEAD is first and there is no other"."""
    allowed = (kind == HEAD) == (progress.head_crc is None)
    # "No PASS chunk follows the end of the last pass, and no INDX chunk follows a PASS chunk"
    if kind == PASS and progress.passes == progress.n_passes:
        allowed = False
    if kind == INDX and progress.passes + progress.groups > 0:
        allowed = False
    if not allowed:
        raise DecodeError("CHUNK_ORDER", offset)


def check_crc(data: memoryview, offset: int, end: int, start_value: int) -> int:
    """CON-3 §5.2: "start is 0 for HEAD and the value stored in HEAD's `crc32` for every later chunk"."""
    stored = int.from_bytes(data[end : end + TRAILER_BYTES], "little")
    if zlib.crc32(data[offset:end], start_value) != stored:
        raise DecodeError("CHUNK_CRC_MISMATCH", end)
    return stored


class Payload:
    """§5.5: "It is read field by field". All numbers little-endian."""

    def __init__(self, data: memoryview, start: int, end: int) -> None:
        self.data = data
        self.at = start  # of the next field
        self.field = start  # of the field read last
        self.end = end

    def skip(self, n: int) -> int:
        """Step over a field of n bytes and return its offset.

        CON-10 §5.5: "A payload that ends inside a field: `PAYLOAD_TOO_SHORT`, at the payload's end."
        """
        if self.end - self.at < n:
            raise DecodeError("PAYLOAD_TOO_SHORT", self.end)
        self.field = self.at
        self.at += n
        return self.field

    def unsigned(self, n: int) -> int:
        """§4: "All numbers of more than one byte are little-endian." An unsigned integer of n bytes."""
        at = self.skip(n)
        return int.from_bytes(self.data[at : at + n], "little")

    def f32(self) -> float:
        """§4: "`f32` is IEEE 754 binary32"."""
        at = self.skip(4)
        value: float = struct.unpack_from("<f", self.data, at)[0]
        return value

    def finish(self) -> None:
        """CON-10 §5.5: "Bytes after the last field: `SURPLUS_BYTES`, at the first of them."."""
        if self.at < self.end:
            raise DecodeError("SURPLUS_BYTES", self.at)

    def require(self, condition: bool, name: str) -> None:
        """§5.5: "each field is checked when it is read": the field read last is at fault if `condition` is false."""
        if not condition:
            raise DecodeError(name, self.field)
