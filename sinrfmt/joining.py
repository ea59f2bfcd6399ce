"""Files of single parts to one file with parts, and one of its parts to a file again, without a weight changed.

Specification: clause 13.1. Tensors that stay where they are keep the bytes of their tables and bodies. Where tensors
become shared, or shared ones a part's own, tables are written anew from the same integers and models.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sinrfmt import payload
from sinrfmt.container import (
    ChunkReader,
    PassHeader,
    build_file,
    build_pass_header,
    parse_pass_header,
)
from sinrfmt.faults import error, translate
from sinrfmt.head import Header, build_head, fitting_level, lowest_level, over_lattice
from sinrfmt.network import LEVEL_ORDINAL
from sinrfmt.parts import SHARED_PART, Parts
from sinrfmt.passes import PassStates
from sinrfmt.payload import States, TensorCode
from sinrfmt.registry import ChunkKind
from sinrfmt.wire import Fault

Payloads = list[tuple[ChunkKind, bytes]]


@dataclass(frozen=True)
class _Coded:
    """One PASS chunk that was read."""

    pass_header: PassHeader
    payload: bytes
    codes: tuple[TensorCode, ...]


@dataclass(frozen=True)
class _File:
    """A file whose chunks were all read; ``chunks`` by pass, then by their place in it."""

    header: Header
    chunks: tuple[tuple[_Coded, ...], ...]
    n_symbols: int


def join(files: Sequence[bytes], parts: Parts) -> bytes:
    """One file of the files of single parts.

    Args:
        files: of every part, in order; what their HEAD says is what the whole file will say, but for grid and level.
        parts: where they lie; with ``shared`` all must have the same tensors but for the latents.

    Raises:
        UsageError: a file is not that of its part.
        SinrError: a file is not valid.
    """
    if len(files) != parts.count:
        raise error("USAGE", f"{len(files)} files for {parts.count} parts")
    read = [_read(data, lambda _: parts.shared) for data in files]
    header = _joint_header([file.header for file in read], parts)
    payloads: Payloads = []
    known: dict[int, States] = {}
    for index in range(header.n_passes):
        chunks = [file.chunks[index][0] for file in read]
        if not parts.shared:
            payloads += (_pass(_moved(chunk, header, part)) for part, chunk in enumerate(chunks))
            continue
        if len({_shared_codes(chunk) for chunk in chunks}) > 1:
            raise error("USAGE", f"the tensors to be shared differ between the parts in pass {index}")
        for position in range(parts.chunks_per_pass):
            part = parts.chunk(position)
            codes = _of_chunk(chunks[0 if part == SHARED_PART else part].codes, part)
            payloads.append(_pass(_packed(codes, chunks[0].pass_header, header, part, known)))
    return _build(header, payloads, sum(file.n_symbols for file in read))


def extract(data: bytes, part: int) -> bytes:
    """A file of one part alone: its HEAD, and the tensors of the part with the shared ones.

    Raises:
        UsageError: the file has no such part.
        SinrError: the file is not valid.
    """
    file = _read(data, lambda header: header.parts is not None and header.parts.shared)
    parts = file.header.parts
    if parts is None or not 0 <= part < parts.count:
        raise error("USAGE", f"there is no part {part}")
    header = file.header.of_part(part)
    payloads: Payloads = []
    states: States | None = None
    for index, chunks in enumerate(file.chunks):
        own = chunks[part + parts.shared]
        if not parts.shared:
            payloads.append(_pass(_moved(own, header, None)))
            continue
        codes = [*chunks[0].codes, *own.codes]
        lanes = own.pass_header.log2_lanes
        packed, states = payload.pack(
            codes, header, coding=own.pass_header.coding, log2_lanes=lanes, index=index, before=states
        )
        payloads.append(_pass(packed))
    return _build(header, payloads, file.n_symbols)


def _pass(data: bytes) -> tuple[ChunkKind, bytes]:
    return ChunkKind.PASS, data


def _read(data: bytes, needs_codes: Callable[[Header], bool]) -> _File:
    """All PASS chunks of a file, decoded and checked, and where HEAD makes them needed their codes.

    Raises:
        SinrError: the file is not valid.
    """
    reader = ChunkReader()
    reader.feed(data)
    passes: PassStates | None = None
    chunks: list[list[_Coded]] = []
    while (chunk := reader.next_chunk(passes_complete=passes is not None and passes.is_complete)) is not None:
        if chunk.kind is ChunkKind.HEAD:
            passes = PassStates(reader.header)
            if passes.header.base_digest is not None or passes.header.network.active_widths:
                raise error("USAGE", "a file with a base, or of a network that grows, cannot be a part")
        elif chunk.kind is ChunkKind.PASS and passes is not None:
            try:
                pass_header = parse_pass_header(chunk, passes.header)
                codes = passes.codes(chunk, pass_header) if needs_codes(passes.header) else ()
                index = passes.index
                passes.read(chunk)
            except Fault as fault:
                raise translate(fault, chunk.payload_offset, "pass") from None
            chunks += [[]] if len(chunks) == index else []
            chunks[index].append(_Coded(pass_header, chunk.payload, codes))
    reader.close(passes_complete=passes is not None and passes.is_complete)
    assert passes is not None
    return _File(passes.header, tuple(map(tuple, chunks)), passes.n_symbols)


def _joint_header(headers: Sequence[Header], parts: Parts) -> Header:
    whole = replace(
        headers[0], grid=parts.grid, parts=parts, network=over_lattice(headers[0].network, parts.grid), quality=None
    )
    for part, header in enumerate(headers):
        expected = whole.of_part(part)
        if replace(header, level=expected.level, quality=None) != expected:
            raise error("USAGE", f"the file of part {part} does not say what the first says on its lattice")
    return whole


def _moved(chunk: _Coded, header: Header, part: int | None) -> bytes:
    """The payload under a sub-header of another file."""
    ends_pass = header.parts is None or part == header.parts.count - 1
    pass_header = replace(chunk.pass_header, part=part, ends_pass=ends_pass)
    return build_pass_header(pass_header) + chunk.payload[chunk.pass_header.n_bytes :]


def _of_chunk(codes: Iterable[TensorCode], part: int) -> list[TensorCode]:
    is_shared = part == SHARED_PART
    return [code for code in codes if (code.tensor.ordinal < LEVEL_ORDINAL) == is_shared]


def _shared_codes(chunk: _Coded) -> tuple[tuple[object, ...], ...]:
    """What makes the shared tensors of a chunk equal to those of another."""
    return tuple(
        (code.tensor, code.step, code.prior, code.refine_bits, code.values.tobytes(), *_sparse_bytes(code))
        for code in _of_chunk(chunk.codes, SHARED_PART)
    )


def _sparse_bytes(code: TensorCode) -> Iterator[object]:
    if code.row_steps is not None:
        yield code.row_steps.tobytes()
    if code.sparse is not None:
        yield (code.sparse.vectors, code.sparse.n_atoms, code.sparse.atoms.tobytes())
        yield code.sparse.coefficients.tobytes()


def _packed(
    codes: Sequence[TensorCode], like: PassHeader, header: Header, part: int, known: dict[int, States]
) -> bytes:
    own = header.of_chunk(part)
    before = known.get(part) or payload.uncoded(own)
    shared = known[SHARED_PART] if part != SHARED_PART else ()
    data, states = payload.pack(
        codes, own, coding=like.coding, log2_lanes=like.log2_lanes, index=like.index, before=(*shared, *before)
    )
    known[part] = states[len(shared) :]
    return data


def _build(header: Header, payloads: Payloads, n_symbols: int) -> bytes:
    """The file on the lowest level that its network, bytes and symbols fit; it is as long on any."""
    header = replace(header, level=lowest_level(header.network, header.grid, header.parts))
    data = build_file(build_head(header), payloads)
    level = fitting_level(header.level, len(data), n_symbols)
    return data if level == header.level else build_file(build_head(replace(header, level=level)), payloads)
