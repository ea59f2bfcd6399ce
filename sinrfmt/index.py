"""INDX: where the PASS chunks stand, for readers that do not read the whole file.

Specification: clause 12.1. An index is advice: content that is not well formed is ignored, so parsing gives None and
never an error, and what is found at a place is checked as any chunk is.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from sinrfmt import layout
from sinrfmt.container import FRAMING_BYTES, PREFIX_BYTES
from sinrfmt.faults import error
from sinrfmt.wire import Fault

KIND_PLACES, KIND_DIRECTORY = 0, 1
KIND_BYTES: int = layout.INDX.sizeof()
LENGTHS_AT: int = KIND_BYTES + layout.INDX_PLACES.sizeof()
ENTRY_BYTES: int = layout.INDX_ENTRY.sizeof()
PLACES_OF_ONE = 4096
"""PASS chunks that one INDX chunk of a directory names: 12 KiB, about what a reader gets at once anyway."""


@dataclass(frozen=True, eq=False)
class Places:
    """INDX of kind 0: PASS chunks that stand one after the other.

    Attributes:
        first: number of the first of them.
        bounds: int64 offsets in the file, ascending: chunk ``first + i`` goes from ``bounds[i]`` to ``bounds[i + 1]``.
    """

    first: int
    bounds: NDArray[np.int64]

    def place(self, number: int) -> tuple[int, int] | None:
        """Where PASS chunk ``number`` begins and ends, framing included; None if it is not among these."""
        i = number - self.first
        return (int(self.bounds[i]), int(self.bounds[i + 1])) if 0 <= i < len(self.bounds) - 1 else None


@dataclass(frozen=True)
class Directory:
    """INDX of kind 1: where further INDX chunks stand.

    Attributes:
        entries: of each, the number of the first PASS chunk that it names, its offset, its bytes with framing.
    """

    entries: tuple[tuple[int, int, int], ...]

    def place(self, number: int) -> tuple[int, int] | None:
        """Where the INDX chunk that would name PASS chunk ``number`` begins and ends."""
        at = bisect_right(self.entries, number, key=lambda entry: entry[0]) - 1
        if at < 0:
            return None
        _, offset, n_bytes = self.entries[at]
        return offset, offset + n_bytes


def parse_index(payload: bytes) -> Places | Directory | None:
    """Clause 12.1, or None where the content is to be ignored."""
    reader = READERS.get(payload[0]) if payload else None
    return None if reader is None else reader(payload)


def _parse_places(payload: bytes) -> Places | None:
    try:
        raw = layout.INDX_PLACES.parse(payload[KIND_BYTES:LENGTHS_AT])
    except Fault:
        return None
    n, surplus = divmod(len(payload) - LENGTHS_AT, raw.length_bytes)
    if n < 1 or surplus:
        return None
    digits = np.frombuffer(payload, np.uint8, offset=LENGTHS_AT).reshape(n, raw.length_bytes)
    lengths = digits @ (1 << 8 * np.arange(raw.length_bytes))  # 3 bytes have no dtype
    bounds = np.empty(n + 1, np.int64)
    bounds[0] = 0
    np.cumsum(lengths + FRAMING_BYTES, out=bounds[1:])
    return Places(raw.first, bounds + raw.offset)


def _parse_directory(payload: bytes) -> Directory | None:
    n, surplus = divmod(len(payload) - KIND_BYTES, ENTRY_BYTES)
    if n < 1 or surplus:
        return None
    raw = [layout.INDX_ENTRY.parse(payload[at:]) for at in range(KIND_BYTES, len(payload), ENTRY_BYTES)]
    entries = tuple((entry.first, entry.offset, entry.length) for entry in raw)
    in_order = all(a < b and start + n_bytes <= end for (a, start, n_bytes), (b, end, _) in pairwise(entries))
    return Directory(entries) if in_order and all(n_bytes > FRAMING_BYTES for *_, n_bytes in entries) else None


READERS = {KIND_PLACES: _parse_places, KIND_DIRECTORY: _parse_directory}


@dataclass(frozen=True)
class _Run:
    """PASS chunks one after the other; ``at`` is the offset of the first, from the end of the INDX chunks."""

    first: int
    at: int
    lengths: list[int]

    @property
    def index_bytes(self) -> int:
        return FRAMING_BYTES + LENGTHS_AT + fewest_bytes(self.lengths) * len(self.lengths)

    def build(self, index_end: int) -> bytes:
        length_bytes = fewest_bytes(self.lengths)
        raw = {"first": self.first, "offset": index_end + self.at, "length_bytes": length_bytes}
        lengths = b"".join(length.to_bytes(length_bytes, "little") for length in self.lengths)
        return bytes(layout.INDX.build({"kind": KIND_PLACES}) + layout.INDX_PLACES.build(raw)) + lengths

    def pieces(self) -> Iterator["_Run"]:
        """Runs that one INDX chunk each can name."""
        starts = accumulate((length + FRAMING_BYTES for length in self.lengths), initial=self.at)
        for i, at in zip(range(len(self.lengths)), starts, strict=False):
            if i % PLACES_OF_ONE == 0:
                yield _Run(self.first + i, at, self.lengths[i : i + PLACES_OF_ONE])


def fewest_bytes(lengths: Sequence[int]) -> int:
    """``length_bytes`` of an INDX chunk that names PASS chunks of these lengths."""
    return max(1, -(-max(lengths).bit_length() // 8))


def build_index(offset: int, chunks: Sequence[tuple[bool, int]]) -> list[bytes]:
    """Payloads of the INDX chunks of a file.

    Args:
        offset: where the first of them is to stand; the others follow.
        chunks: of each chunk after them whether it is a PASS chunk, and the length of its payload.

    Raises:
        UsageError: the directory does not fit the first 16384 bytes.
    """
    runs = list(_runs(chunks))
    if len(runs) == 1 and (end := offset + runs[0].index_bytes) <= PREFIX_BYTES:
        return [runs[0].build(end)]
    pieces = [piece for run in runs for piece in run.pieces()]
    start = offset + FRAMING_BYTES + KIND_BYTES + ENTRY_BYTES * len(pieces)
    if start > PREFIX_BYTES:
        raise error(
            "USAGE", f"a directory of {len(pieces)} entries does not fit the first {PREFIX_BYTES} bytes with HEAD"
        )
    starts = list(accumulate((piece.index_bytes for piece in pieces), initial=start))
    entries = [
        layout.INDX_ENTRY.build({"first": piece.first, "offset": at, "length": piece.index_bytes})
        for piece, at in zip(pieces, starts, strict=False)
    ]
    directory = bytes(layout.INDX.build({"kind": KIND_DIRECTORY})) + b"".join(entries)
    return [directory, *(piece.build(starts[-1]) for piece in pieces)]


def _runs(chunks: Sequence[tuple[bool, int]]) -> Iterator[_Run]:
    number = at = 0
    run = _Run(0, 0, [])
    for is_pass, length in chunks:
        if is_pass:
            run = run if run.lengths else _Run(number, at, [])
            run.lengths.append(length)
            number += 1
        elif run.lengths:
            yield run
            run = _Run(number, at, [])
        at += length + FRAMING_BYTES
    if run.lengths:
        yield run
