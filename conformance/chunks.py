"""Chunks as bytes, for programs that change files: nothing is checked, all checks can be made anew (clause 5)."""

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.framing import HEADER_BYTES, TRAILER_BYTES, chunks_by_length, sealed

SIGNATURE = b"SIN\xd2"
HEAD, PASS, INDX, META, HASH, PREV = 1, 2, 3, 4, 5, 7
KINDS = (HEAD, PASS, INDX, META, HASH, PREV)
LAST = 0x10


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
    return [
        Chunk(place.type, data[place.offset + HEADER_BYTES : place.end - TRAILER_BYTES])
        for place in chunks_by_length(data)
    ]


def seal(chunks: Sequence[Chunk]) -> bytes:
    """A file of these chunks with right lengths, hcheck and crc32."""
    out, start = [SIGNATURE], 0
    for i, chunk in enumerate(chunks):
        out.append(sealed(chunk.type, chunk.payload, start))
        start = start if i else int.from_bytes(out[-1][-TRAILER_BYTES:], "little")
    return b"".join(out)
