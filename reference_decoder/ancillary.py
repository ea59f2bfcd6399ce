"""Ancillary chunks (clause 12): only HASH has a meaning for the decoder of a whole file."""

from itertools import pairwise

from reference_decoder.container import Chunk
from reference_decoder.errors import DecodeError

ENTRY_BYTES = 33

Digest = tuple[int, int, bytes]  # offset of the entry, pass, digest


def read_hash(data: memoryview, chunk: Chunk) -> list[Digest]:
    """§12.3: "Entries up to the payload's end, pass strictly ascending"; none if the chunk is not of that form.

    §12: "Content that breaks a rule of 12.1, 12.2 or 12.4, or the layout or order of 12.3, is not an error: the chunk
    is ignored".
    """
    if (chunk.end - chunk.start) % ENTRY_BYTES:
        return []
    entries = [
        (at, data[at], bytes(data[at + 1 : at + ENTRY_BYTES])) for at in range(chunk.start, chunk.end, ENTRY_BYTES)
    ]
    ascending = all(first[1] < second[1] for first, second in pairwise(entries))
    return entries if ascending else []


def check_hashes(entries: list[Digest], digests: list[bytes]) -> None:
    """ANC-1 §12.3: "The digest of an entry whose pass was decoded equals that pass's `weights_sha256`
    (`WEIGHTS_HASH_MISMATCH`, at the entry; the first in the file that differs)."
    """
    for at, number, digest in entries:
        if number < len(digests) and digests[number] != digest:
            raise DecodeError("WEIGHTS_HASH_MISMATCH", at)
