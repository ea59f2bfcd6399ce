"""A region of a field with parts, from the chunks that it needs and no others.

Specification: clauses 12.1, 13.1 and 17. Works on bytes by offset and length, of a file or at a distance: HEAD and the
index come first, with little else, then each run of neighbouring chunks in one request. Every chunk that is used is
checked as in whole-file decoding; what is not read is not judged.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sinrfmt.ancillary import META_PAIRS_LIMIT, parse_meta
from sinrfmt.container import (
    FRAMING_BYTES,
    HEADER_BYTES,
    PASS_HEADER_BYTES,
    PREFIX_BYTES,
    Chunk,
    ChunkReader,
    parse_pass_header,
)
from sinrfmt.faults import error, translate
from sinrfmt.field import Field, check_region, part_field, region_values
from sinrfmt.head import Header
from sinrfmt.index import Directory, Places, parse_index
from sinrfmt.parts import SHARED_PART, Range, grid_positions, stretches
from sinrfmt.passes import apply_chunk
from sinrfmt.payload import States
from sinrfmt.registry import SIGNATURE, ChunkKind
from sinrfmt.remote import Source
from sinrfmt.wire import Fault

FIRST_BYTES = 2048
"""Of the first request: HEAD and an index of some 900 chunks. What is longer is asked for when its length is known."""
KIND_AND_PROPERTIES = 0xEF
"""Of a chunk's type: all but whether it is the last."""
GAP_BYTES = 1024
"""Bytes between two chunks that are rather fetched than asked for around."""

RegionOf = Callable[[Header], Sequence[Range]]


@dataclass(frozen=True)
class Region:
    """What was read.

    Attributes:
        values: float32[*lengths, out_channels], not clamped.
        header: of the file.
        parts: numbers of the parts that were read.
        n_passes: passes decoded.
        meta: keys and values of META, where it came with the first bytes.
    """

    values: NDArray[np.float32]
    header: Header
    parts: tuple[int, ...]
    n_passes: int
    meta: Mapping[str, str]


class FileSource:
    """A local file as a source of bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.n_fetched = 0
        self.n_requests = 0

    def get_bytes(self, offset: int, length: int) -> bytes:
        """See :meth:`sinrfmt.remote.Source.get_bytes`."""
        self._file.seek(offset)
        data = self._file.read(length)
        self.n_fetched += len(data)
        self.n_requests += 1
        return data

    def close(self) -> None:
        """The file is the caller's."""


def read_region(source: Source, region: RegionOf, *, passes: int | None = None) -> Region:
    """Values on some samples of the native grid.

    Args:
        source: of the file's bytes.
        region: first index and end along every axis, for the HEAD of the file.
        passes: decode the first ``passes`` passes only.

    Raises:
        UsageError: the file has no parts, the region is not inside the grid, or there are fewer passes.
        SinrError: HEAD or a chunk that is needed is not valid.
    """
    chunks = _Chunks(source)
    header = chunks.header
    ranges = region(header)
    check_region(ranges, header.grid)
    n_passes = header.n_passes if passes is None else passes
    if header.parts is None:
        raise error("USAGE", "the file is not in parts: it has to be read whole")
    if not 1 <= n_passes <= header.n_passes:
        raise error("USAGE", f"passes = {passes}: the file has {header.n_passes}")
    needed = _needed_parts(header, ranges)
    states = _read_parts(chunks, header, needed, n_passes)
    values = region_values(header, ranges, header.grid, lambda part: part_field(header, part, states[part]))
    return Region(values, header, tuple(needed), n_passes, chunks.meta)


def _needed_parts(header: Header, ranges: Sequence[Range]) -> list[int]:
    """Those with a weight in the region, ascending."""
    parts = header.parts
    assert parts is not None
    along = [
        [share.part for share in stretches(axis, grid_positions(axis.n_samples, axis.n_samples, chosen))]
        for axis, chosen in zip(parts.axes, ranges, strict=True)
    ]
    return sorted(parts.number(places) for places in product(*along))


def _read_parts(chunks: "_Chunks", header: Header, needed: Sequence[int], n_passes: int) -> dict[int, States]:
    """The tensors of the parts needed, the shared ones first."""
    parts = header.parts
    assert parts is not None
    positions = [0] * parts.shared + [part + parts.shared for part in needed]
    numbers = [index * parts.chunks_per_pass + at for index in range(n_passes) for at in positions]
    known: dict[int, States] = {}
    for number, chunk in zip(numbers, chunks.read(numbers), strict=True):
        index, position = divmod(number, parts.chunks_per_pass)
        part = parts.chunk(position)
        shared = known.get(SHARED_PART, ()) if part != SHARED_PART else ()
        known[part] = _apply(chunk, header, index, part, known.get(part), shared)
    return {part: (*known.get(SHARED_PART, ()), *known[part]) for part in needed}


def _apply(chunk: Chunk, header: Header, index: int, part: int, before: States | None, shared: States) -> States:
    try:
        pass_header = parse_pass_header(chunk, header)
        if (pass_header.index, pass_header.part) != (index, part):
            message = f"found part {pass_header.part} of pass {pass_header.index}, expected {part} of {index}"
            raise Fault("PASS_ORDER", message, offset=PASS_HEADER_BYTES, path="part")
        return apply_chunk(chunk.payload, pass_header, header, before, shared, 0)[0]
    except Fault as fault:
        raise translate(fault, chunk.payload_offset, f"pass[{index}]") from None


class _Chunks:
    """Chunks of a file by their number among the PASS chunks."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._prefix = bytearray()
        self._reader = ChunkReader()
        self._index: Places | Directory | None = None
        self.meta: dict[str, str] = {}
        self._behind = 0  # offset behind the last chunk that was read here
        self._places: dict[int, Places] = {}
        self._fill(FIRST_BYTES)
        while (self._index is None or self._next_is_here()) and (chunk := self._next_in_front()) is not None:
            self._behind = self._reader.offset
            if chunk.kind is ChunkKind.INDX:
                self._index = self._index or parse_index(chunk.payload)
            elif chunk.kind is ChunkKind.META:
                self.meta |= parse_meta(chunk.payload, META_PAIRS_LIMIT - len(self.meta)) or {}
        if not self._behind:
            raise error("TRUNCATED", "the file ends before HEAD does", offset=len(self._prefix))
        if self._index is None:
            self._fill(PREFIX_BYTES)  # a reader that has to walk rather takes a small file at once

    def _fill(self, end: int) -> None:
        """The file up to an offset, or to its end."""
        if end > len(self._prefix):
            data = self._source.get_bytes(len(self._prefix), end - len(self._prefix))
            self._prefix += data
            self._reader.feed(data)

    def _next_is_here(self) -> bool:
        """Whether all of the next chunk came with what was read."""
        header = self._prefix[self._behind : self._behind + HEADER_BYTES]
        end = self._behind + FRAMING_BYTES + int.from_bytes(header[1:4], "little")
        return len(header) == HEADER_BYTES and end <= len(self._prefix)

    def _next_in_front(self) -> Chunk | None:
        """The next chunk if it stands before the first PASS chunk and, but for HEAD, in the first 16384 bytes."""
        at = self._behind
        if at:
            self._fill(at + HEADER_BYTES)
            if self._prefix[at : at + 1] and self._prefix[at] & KIND_AND_PROPERTIES == ChunkKind.PASS:
                return None
        chunk = self._reader.next_chunk(passes_complete=False)  # checks the header before its length is believed
        if chunk is None:
            start = at or len(SIGNATURE)
            end = start + FRAMING_BYTES + int.from_bytes(self._prefix[start + 1 : start + 4], "little")
            if not at or end <= PREFIX_BYTES:
                self._fill(end)
                chunk = self._reader.next_chunk(passes_complete=False)
        return chunk

    @property
    def header(self) -> Header:
        return self._reader.header

    def read(self, numbers: Sequence[int]) -> Iterator[Chunk]:
        """PASS chunks of ascending numbers, checked.

        Raises:
            SinrError: one is not valid, or does not stand where the index says.
        """
        ranges = list(self._by_index(numbers) or self._by_walking(numbers))
        for start, end in _merged(ranges):
            data = self._get(start, end)
            for first, behind in ranges:
                if start <= first and behind <= end:
                    yield self._chunk(data[first - start : behind - start], first)

    def _chunk(self, data: bytes, offset: int) -> Chunk:
        self._reader.jump(offset)
        self._reader.feed(data)
        chunk = self._reader.next_chunk(passes_complete=False)
        if chunk is None:
            raise error("TRUNCATED", "the file ends before a chunk does", offset=offset + len(data))
        if chunk.kind is not ChunkKind.PASS or self._reader.offset != offset + len(data):
            raise error("CHUNK_ORDER", "no PASS chunk where the index says one is", offset=offset, path="chunk.type")
        return chunk

    def _get(self, start: int, end: int) -> bytes:
        known = bytes(self._prefix[start:end])
        missing = end - start - len(known)
        return known + self._source.get_bytes(start + len(known), missing) if missing else known

    def _by_index(self, numbers: Sequence[int]) -> list[Range] | None:
        """Where the chunks stand by INDX; None where that does not say."""
        found = [self._place(number) for number in numbers]
        known = [place for place in found if place is not None]
        return known if len(known) == len(found) else None

    def _place(self, number: int) -> Range | None:
        if not isinstance(self._index, Directory):
            return None if self._index is None else self._index.place(number)
        at = self._index.place(number)
        if at is None:
            return None
        if at[0] not in self._places:
            index = self._index_chunk(*at)
            if not isinstance(index, Places):
                return None
            self._places[at[0]] = index
        return self._places[at[0]].place(number)

    def _index_chunk(self, start: int, end: int) -> Places | Directory | None:
        self._reader.jump(start)
        self._reader.feed(self._get(start, end))
        chunk = self._reader.next_chunk(passes_complete=False)
        return parse_index(chunk.payload) if chunk is not None and chunk.kind is ChunkKind.INDX else None

    def _by_walking(self, numbers: Sequence[int]) -> Iterator[Range]:
        """Without an index: from chunk header to chunk header."""
        wanted, number, at = set(numbers), 0, self._behind
        while number <= numbers[-1]:
            header = self._get(at, at + HEADER_BYTES)
            if len(header) < HEADER_BYTES:
                raise error("TRUNCATED", "the file ends before its last chunk does", offset=at + len(header))
            end = at + FRAMING_BYTES + int.from_bytes(header[1:4], "little")
            if header[0] & KIND_AND_PROPERTIES == ChunkKind.PASS:
                if number in wanted:
                    yield at, end
                number += 1
            at = end


def _merged(ranges: Sequence[Range]) -> list[Range]:
    """Neighbouring byte ranges as one."""
    merged: list[Range] = []
    for start, end in ranges:
        if merged and 0 <= start - merged[-1][1] <= GAP_BYTES:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def part_of(source: Source, part: int) -> Field:
    """One part of a file as a field, from its own chunks alone.

    Raises:
        SinrError: as :func:`read_region`.
    """
    chunks = _Chunks(source)
    if chunks.header.parts is None or not 0 <= part < chunks.header.parts.count:
        raise error("USAGE", f"there is no part {part}")
    states = _read_parts(chunks, chunks.header, [part], chunks.header.n_passes)
    return part_field(chunks.header, part, states[part])
