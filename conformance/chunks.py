"""Chunks as bytes, for programs that change files: nothing is checked, all checks can be made anew (clause 5)."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.generate.primitives import crc8

SIGNATURE = b"SIN\xd2"
HEADER_BYTES, TRAILER_BYTES = 5, 4
HEAD, PASS, INDX, META, HASH = 1, 2, 3, 4, 5
LAST = 0x10
MOST_PAYLOAD = (1 << 24) - 1


@dataclass(frozen=True)
class Chunk:
    """A chunk without its checks; bit 4 of the type is there as it was in the file."""

    type: int
    payload: bytes

    @property
    def kind(self) -> int:
        """The number of the kind, whatever the other bits say."""
        return self.type & 15

    @property
    def is_private(self) -> bool:
        """Bit 6."""
        return bool(self.type & 0x40)


def split(data: bytes) -> list[Chunk]:
    """The whole chunks of a file, as far as their lengths lead."""
    out, at = [], len(SIGNATURE)
    while at + HEADER_BYTES + TRAILER_BYTES <= len(data):
        end = at + HEADER_BYTES + int.from_bytes(data[at + 1 : at + 4], "little")
        if end + TRAILER_BYTES > len(data):
            break
        out.append(Chunk(data[at], data[at + HEADER_BYTES : end]))
        at = end + TRAILER_BYTES
    return out


def seal(chunks: Sequence[Chunk]) -> bytes:
    """A file of these chunks with right lengths, hcheck and crc32."""
    out, start = [SIGNATURE], 0
    for i, chunk in enumerate(chunks):
        header = bytes([chunk.type]) + struct.pack("<I", len(chunk.payload))[:3]
        body = header + bytes([crc8(header)]) + chunk.payload
        crc = zlib.crc32(body, start)
        start = crc if i == 0 else start
        out += [body, struct.pack("<I", crc)]
    return b"".join(out)
