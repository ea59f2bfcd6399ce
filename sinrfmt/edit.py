"""Files changed without decoding a weight: passes dropped, an index written, previews put in and taken out.

Specification: clauses 5, 6 and 12. Every check of the container is made on what is read; HEAD and the chunks are then
sealed anew. An ancillary chunk that is unknown and not marked as safe to copy is dropped, as its meaning may depend on
what was changed. Weights, and so their digests, stay as they are: whether the integers of a pass are right is
``acc_crc``, which decoders check.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from construct import Container

from sinrfmt import layout
from sinrfmt.ancillary import build_hash, build_meta, parse_hash
from sinrfmt.container import FRAMING_BYTES, LAST, SAFE_TO_COPY, Chunk, ChunkReader, chunk_type, seal_file
from sinrfmt.errors import SinrError
from sinrfmt.faults import error, translate
from sinrfmt.head import Header, build_head, fitting_level, lowest_level
from sinrfmt.index import build_index
from sinrfmt.previews import Preview, PreviewReader, standing_for
from sinrfmt.registry import SIGNATURE, ChunkKind, Feature, Level, OptionalFeature
from sinrfmt.wire import Fault

QUALITY_BYTES = 2  # of a pass in the optional block (clause 6.6)
Edit = Callable[[bytes], bytes]
"""A whole file to a whole file."""


@dataclass(frozen=True)
class _Parts:
    """A file in pieces: payload of HEAD, all later chunks but INDX, whether there was an INDX."""

    header: Header
    head: bytes
    chunks: list[Chunk]
    has_index: bool


def cut(data: bytes, passes: int) -> bytes:
    """A whole file of the first ``passes`` passes.

    n_passes, the announced quality, the last-chunk flag, HASH, INDX and every CRC are made right; the level stays.
    A file that has no more passes is given back as it is.

    Raises:
        FormatError, UnsupportedError, LimitError, ChecksumError: the file breaks a rule of the container.
        UsageError: it does not have so many passes.
    """
    parts = _read(data)
    if not 1 <= passes <= parts.header.n_passes:
        raise error("USAGE", f"passes = {passes}: the file has {parts.header.n_passes}")
    if passes == parts.header.n_passes:
        return data
    kept = [_cut_chunk(chunk, passes) for chunk in parts.chunks]
    chunks = [chunk for chunk in kept if chunk is not None]
    return _write(replace(parts, head=_cut_head(parts.head, passes), chunks=chunks))


def reindex(data: bytes) -> bytes:
    """The same file with an INDX (clause 12.1) right behind HEAD, in place of those it had.

    The level rises if the file would be too long for it.

    Raises:
        FormatError, UnsupportedError, LimitError, ChecksumError: the file breaks a rule of the container.
    """
    return _write(replace(_read(data), has_index=True))


def with_meta(data: bytes, meta: Mapping[str, str]) -> bytes:
    """The same file with a META chunk (clause 12.2) of these keys in front of its passes, in place of those it had.

    The level rises if the file would be too long for it.

    Raises:
        FormatError, UnsupportedError, LimitError, ChecksumError: the file breaks a rule of the container.
        UsageError: a key or value that cannot be written.
    """
    parts = _read(data)
    kept = [chunk for chunk in parts.chunks if chunk.kind is not ChunkKind.META]
    payload = build_meta(dict(meta))
    return _write(replace(parts, chunks=kept), [(chunk_type(ChunkKind.META), payload)] if meta else [])


def previews(data: bytes) -> list[Preview]:
    """The previews of a file (clause 12.4), smallest first.

    Raises:
        FormatError, UnsupportedError, LimitError, ChecksumError: the file breaks a rule of the container.
    """
    parts = _read(data)
    reader, found, seen_pass = PreviewReader(), [], False
    for chunk in parts.chunks:
        seen_pass = seen_pass or chunk.kind is ChunkKind.PASS
        if chunk.kind is ChunkKind.PREV:
            with contextlib.suppress(SinrError):
                found.append(reader.read(chunk.payload, parts.header, seen_pass=seen_pass))
    return found


def preview(data: bytes, number: int) -> bytes:
    """The file that one preview of a file is, from 0 on.

    Raises:
        FormatError, UnsupportedError, LimitError, ChecksumError: the file breaks a rule of the container.
        UsageError: there is none of this number.
    """
    found = previews(data)
    if not 0 <= number < len(found):
        raise error("USAGE", f"there is no preview {number}: the file has {len(found)}")
    return found[number].data


def with_previews(data: bytes, files: Sequence[bytes]) -> bytes:
    """The same file with these previews right in front of its first pass, in place of those it had.

    INDX is made anew if there was one. The level rises where the bytes or a preview need a higher one.

    Args:
        data: the file.
        files: whole files of the same signal, each longer than the one before; none to take the previews out. In a
            preview is no place for META, HASH or INDX: a file that has them is refused.

    Raises:
        FormatError, UnsupportedError, LimitError, ChecksumError: a file breaks a rule of the container.
        UsageError: a preview breaks a rule of clause 12.4.
    """
    parts = _read(data)
    small = [_read(file) for file in files]
    level = max((one.header.level for one in (parts, *small)), key=lambda level: level.id)
    parts = replace(parts, header=replace(parts.header, level=level))
    reader, payloads = PreviewReader(), []
    for number, one in enumerate(small):
        try:
            payloads.append(_preview_payload(one))
            reader.read(payloads[-1], parts.header, seen_pass=False)
        except SinrError as failure:
            raise error("USAGE", f"preview {number}: {failure.message}") from failure
    kept = [chunk for chunk in parts.chunks if chunk.kind is not ChunkKind.PREV]
    at = next(i for i, chunk in enumerate(kept) if chunk.kind is ChunkKind.PASS)
    kept[at:at] = [Chunk(chunk_type(ChunkKind.PREV), 0, payload) for payload in payloads]
    return _write(replace(parts, chunks=kept))


def _preview_payload(parts: _Parts) -> bytes:
    if parts.has_index or [chunk.kind for chunk in parts.chunks] != [ChunkKind.PASS]:
        raise error("USAGE", "it has other chunks than HEAD and one PASS")
    return standing_for(parts.head, parts.chunks[0].payload)


def with_quality(data: bytes, quality: Sequence[float], grid: tuple[int, ...] | None = None) -> bytes:
    """The same file with another announced quality (clause 6.6), and with another native grid.

    Args:
        data: the file.
        quality: in dB for each pass.
        grid: samples on every axis; None to keep them. Only for a network without a lattice of its own.

    Raises:
        FormatError, UnsupportedError, LimitError, ChecksumError: the file breaks a rule of the container.
    """
    parts = _read(data)
    header = replace(parts.header, quality=tuple(quality))
    if grid is not None:
        lowest = lowest_level(header.network, grid)
        header = replace(header, grid=grid, level=max(header.level, lowest, key=lambda level: level.id))
    return _write(replace(parts, header=header, head=build_head(header)))


def meta_bytes(meta: Mapping[str, str]) -> int:
    """Bytes that :func:`with_meta` adds to a file that has no META."""
    return FRAMING_BYTES + len(build_meta(dict(meta))) if meta else 0


def _read(data: bytes) -> _Parts:
    reader = ChunkReader()
    reader.feed(data)
    chunks: list[Chunk] = []
    n_complete = 0
    while True:
        is_complete = bool(chunks) and n_complete == reader.header.n_passes
        chunk = reader.next_chunk(passes_complete=is_complete)
        if chunk is None:
            break
        chunks.append(chunk)
        n_complete += _ends_pass(chunk, n_complete)
    reader.close(passes_complete=bool(chunks) and n_complete == reader.header.n_passes)
    head, *others = chunks
    kept = [chunk for chunk in others if chunk.kind is not ChunkKind.INDX]
    return _Parts(reader.header, head.payload, kept, len(kept) < len(others))


def _ends_pass(chunk: Chunk, n_complete: int) -> bool:
    """Whether a chunk is the last of pass ``n_complete``, to which it belongs if it is a PASS chunk."""
    if chunk.kind is not ChunkKind.PASS:
        return False
    try:
        raw = layout.PASS_HEADER.parse(chunk.payload)
    except Fault as fault:
        raise translate(fault, chunk.payload_offset, "pass") from None
    if raw["pass"] != n_complete:
        message = f"found pass {raw['pass']}, expected {n_complete}"
        raise error("PASS_ORDER", message, offset=chunk.payload_offset + 1, path="pass")
    return bool(raw.flags & 8)


def _cut_chunk(chunk: Chunk, passes: int) -> Chunk | None:
    """A chunk as it stands in a file of fewer passes; None if it does not."""
    if chunk.kind is ChunkKind.PASS:
        return chunk if layout.PASS_HEADER.parse(chunk.payload)["pass"] < passes else None
    if chunk.kind is ChunkKind.HASH:
        entries = [entry for entry in parse_hash(chunk.payload) or [] if entry[0] < passes]
        return replace(chunk, payload=build_hash(entries)) if entries else None
    return chunk if chunk.type & SAFE_TO_COPY else None


def _cut_head(payload: bytes, passes: int) -> bytes:
    raw = layout.HEAD.parse(payload)
    if raw.active_width is not None:
        _cut_widths(raw, passes)
    raw.n_passes = passes
    for bit, block in zip(_bits(raw.features_optional), raw.optional_blocks, strict=True):
        if bit == OptionalFeature.QUALITY:
            block.data = block.data[: QUALITY_BYTES * passes]
            block.length = len(block.data)
    return bytes(layout.HEAD.build(raw))


def _cut_widths(raw: Container, passes: int) -> None:
    """The network as it is after the last pass kept becomes the whole one (clause 13.2)."""
    layers = [record for record in raw.records if record.kind in layout.LAYER_KINDS]
    active = [raw.active_width[at : at + len(layers)] for at in range(0, len(raw.active_width), len(layers))]
    for record, width in zip(layers, active[passes - 1], strict=True):
        record.body.width = width
    kept = active[: passes - 1]
    growing = {index for widths in kept for index, width in enumerate(widths) if width < layers[index].body.width}
    _merge_equal(raw, kept)
    raw.active_width = [width for widths in kept for width in widths] if growing else None
    if not growing:
        raw.features_required &= ~(1 << Feature.WIDTHS)


def _merge_equal(raw: Container, active: list[list[int]]) -> None:
    """Layers that have become equal are one record (HED-7)."""
    at = len(raw.records) - len(active[0]) if active else sum(r.kind not in layout.LAYER_KINDS for r in raw.records)
    place = 0
    while at + place + 1 < len(raw.records):
        first, second = raw.records[at + place], raw.records[at + place + 1]
        if (first.kind, _but_repeat(first)) == (second.kind, _but_repeat(second)) and all(
            widths[place] == widths[place + 1] for widths in active
        ):
            first.body.repeat += second.body.repeat
            del raw.records[at + place + 1]
            for widths in active:
                del widths[place + 1]
            raw.n_records -= 1
        else:
            place += 1


def _but_repeat(record: Container) -> tuple[object, ...]:
    body = record.body
    omega = None if body.omega is None else (body.omega.omega, body.omega.omega_binary32)
    return body.tool_flags, body.width, omega


def _bits(value: int) -> list[int]:
    return [bit for bit in range(value.bit_length()) if value >> bit & 1]


def _write(parts: _Parts, first: Sequence[tuple[int, bytes]] = ()) -> bytes:
    """A file of the parts; ``first`` are types and payloads of more chunks, in front of all but HEAD and INDX."""
    sizes = [(False, len(payload)) for _, payload in first]
    sizes += [(chunk.kind is ChunkKind.PASS, len(chunk.payload)) for chunk in parts.chunks]
    offset = len(SIGNATURE) + FRAMING_BYTES + len(parts.head)
    index = build_index(offset, sizes) if parts.has_index else []
    chunks = [(chunk_type(ChunkKind.INDX), payload) for payload in index]
    chunks += first
    chunks += [(chunk.type & ~LAST, chunk.payload) for chunk in parts.chunks]
    n_bytes = offset + sum(FRAMING_BYTES + len(payload) for _, payload in chunks)
    return seal_file(_with_level(parts.head, parts.header.level, n_bytes), chunks)


def _with_level(payload: bytes, level: Level, n_bytes: int) -> bytes:
    """HEAD for a file of ``n_bytes``: of the level it has, or the next that allows them."""
    raw = layout.HEAD.parse(payload)
    raw.profile_level = raw.profile_level & 0xF0 | fitting_level(level, n_bytes).id
    return bytes(layout.HEAD.build(raw))
