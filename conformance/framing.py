"""Chunks of a file from their headers alone (clause 5.2): where they end, and how to put one between two others."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from conformance.generate.primitives import crc8

SIGNATURE_BYTES, HEADER_BYTES, TRAILER_BYTES = 4, 5, 4
KIND, LAST = 0x0F, 0x10
ENDS_PASS = 0x08  # of the flags of a PASS chunk
HEAD, PASS, INDX = 1, 2, 3
LEVEL_OFFSET = 10  # of the byte profile_level, in the file
LEVEL_BITS = 0x0F
FEATURES_OFFSET, FEATURES_END = 11, 13  # of features_required, in the file
SPARSE, PARTS = 0x08, 0x20


@dataclass(frozen=True)
class Chunk:
    """Type and place of a chunk: from its first byte to the one after its crc32."""

    type: int
    offset: int
    end: int

    @property
    def is_head(self) -> bool:
        return self.type & ~LAST == HEAD

    @property
    def is_pass(self) -> bool:
        return self.type & ~LAST == PASS


def whole_chunks(data: bytes) -> list[Chunk]:
    """The chunks that are whole, up to the last of the file. Check values are not looked at."""
    found: list[Chunk] = []
    for chunk in chunks_by_length(data):
        found.append(chunk)
        if chunk.type & LAST:
            break
    return found


def chunks_by_length(data: bytes) -> Iterator[Chunk]:
    """The whole chunks as far as their lengths lead, beyond the last of the file too."""
    at = SIGNATURE_BYTES
    while at + HEADER_BYTES <= len(data):
        end = at + HEADER_BYTES + int.from_bytes(data[at + 1 : at + 4], "little") + TRAILER_BYTES
        if end > len(data):
            break
        yield Chunk(data[at], at, end)
        at = end


def pass_ends(data: bytes) -> list[int]:
    """The end of each whole pass: of the PASS chunks that say they are the last of theirs (PAS-3)."""
    chunks = [chunk for chunk in whole_chunks(data) if chunk.is_pass]
    return [chunk.end for chunk in chunks if data[chunk.offset + HEADER_BYTES] & ENDS_PASS]


def level_of(data: bytes) -> int:
    """The level that the file names; 0 where it names none of the registry's."""
    level = data[LEVEL_OFFSET] & LEVEL_BITS if len(data) > LEVEL_OFFSET else 0
    return level if 1 <= level <= 5 else 0


def features_of(data: bytes) -> int:
    """The required features that the file names; 0 where it ends before."""
    return int.from_bytes(data[FEATURES_OFFSET:FEATURES_END], "little")


def inserted(data: bytes, before: Chunk, chunk_type: int, payload: bytes) -> bytes:
    """The file with one more chunk, sealed, before another one that is not HEAD."""
    start = int.from_bytes(data[whole_chunks(data)[0].end - TRAILER_BYTES :][:TRAILER_BYTES], "little")
    return data[: before.offset] + sealed(chunk_type, payload, start) + data[before.offset :]


def sealed(chunk_type: int, payload: bytes, start: int) -> bytes:
    """A chunk with its check values (CON-2, CON-3)."""
    header = bytes([chunk_type]) + len(payload).to_bytes(3, "little")
    header += bytes([crc8(header)])
    return header + payload + struct.pack("<I", zlib.crc32(header + payload, start))


def resealed(data: bytes) -> bytes:
    """The file with every check value of its framing made right."""
    out, start = bytearray(data), 0
    for chunk in whole_chunks(data):
        payload = data[chunk.offset + HEADER_BYTES : chunk.end - TRAILER_BYTES]
        out[chunk.offset : chunk.end] = sealed(chunk.type, payload, start)
        start = start or int.from_bytes(out[chunk.end - TRAILER_BYTES : chunk.end], "little")
    return bytes(out)
