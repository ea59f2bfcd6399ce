"""Every byte of a file with its field and value: Annex A of the text, and a tool to read any small file with.

    python spec/annotate.py FILE.sinr

The fields are those that the parser reads: the layout's own parsing is listened to, so that nothing is said twice.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sinrfmt
from sinrfmt import bits, layout, wire
from sinrfmt.container import (
    FRAMING_BYTES,
    PASS_HEADER_BYTES,
    TRAILER_BYTES,
    Chunk,
    ChunkReader,
    PassHeader,
    parse_pass_header,
)
from sinrfmt.head import Header, parse_head
from sinrfmt.registry import SIGNATURE, ChunkKind
from sinrfmt.tables import SIZES, checked_steps, parse

Row = tuple[str, str, str, str]  # offset, bytes, field, value
Coded = dict[int | None, set[int]]  # part to the ordinals of its tensors that a pass coded
Seen = tuple[int, int, str, str]  # first byte, end, field, value, in a payload


@contextmanager
def _listening(cls: Any, name: str, listener: Callable[..., Any]) -> Iterator[None]:
    original = getattr(cls, name)
    setattr(cls, name, lambda self, *args: listener(original, self, *args))
    try:
        yield
    finally:
        setattr(cls, name, original)


def _fields(parse_payload: Callable[[], Any]) -> list[Seen]:
    """The checked fields that a layout reads, in order."""
    seen: list[Seen] = []

    def listener(original: Any, field: Any, stream: Any, context: Any, path: str) -> Any:
        start = stream.tell()
        value = original(field, stream, context, path)
        name = path.rsplit(" -> ", 1)[-1]
        seen.append((start, stream.tell(), name, value.hex() if isinstance(value, bytes) else f"{value}"))
        return value

    with _listening(wire.Field, "_parse", listener):
        parse_payload()
    return seen


def _table_bits(payload: bytes, header: Header, pass_header: PassHeader, coded: set[int]) -> tuple[list[str], int]:
    """The bit fields of a tensor table in order, as text, and the offset of the body."""
    seen: list[str] = []

    def listener(original: Any, reader: Any, name: str) -> int:
        value: int = original(reader, name)
        seen.append(f"{name}({SIZES[name]})={value}")
        return value

    with _listening(bits.BitReader, "read", listener):
        tensors = header.tensors_of(pass_header.index)
        entries, body = parse(payload, pass_header.n_bytes, tensors, pass_header.coding, checked_steps(coded))
    coded.update(entry.tensor.ordinal for entry in entries)
    return seen, body


def _chunk_rows(chunk: Chunk, framing: bytes, header: Header, coded: Coded) -> Iterator[Row]:
    kind = chunk.kind.name if chunk.kind is not None else "?"
    for start, end, name, value in _fields(lambda: layout.CHUNK_HEADER.parse(framing[:5])):
        shown = f"{kind}, last chunk" if name == "type" and chunk.is_last else kind if name == "type" else value
        yield str(chunk.offset + start), framing[start:end].hex(), f"chunk.{name}", shown
    yield from _payload_rows(chunk, header, coded)
    trailer = chunk.payload_offset + len(chunk.payload)
    yield str(trailer), framing[-TRAILER_BYTES:].hex(), "chunk.crc32", framing[-TRAILER_BYTES:][::-1].hex()


def _payload_rows(chunk: Chunk, header: Header, coded: Coded) -> Iterator[Row]:
    if chunk.kind is ChunkKind.HEAD:
        seen = _fields(lambda: layout.HEAD.parse(chunk.payload))
        yield from _seen_rows(chunk, seen)
    elif chunk.kind is ChunkKind.PASS:
        yield from _seen_rows(chunk, _fields(lambda: layout.PASS_HEADER.parse(chunk.payload)))
        pass_header = parse_pass_header(chunk, header)
        own = header
        if pass_header.part is not None:
            own = header.of_chunk(pass_header.part)
            yield _row(chunk, PASS_HEADER_BYTES, pass_header.n_bytes, "part", str(pass_header.part))
        table, body = _table_bits(chunk.payload, own, pass_header, coded.setdefault(pass_header.part, set()))
        yield _row(chunk, pass_header.n_bytes, body, "table", " ".join(table))
        yield _row(chunk, body, len(chunk.payload), "body", f"coding {pass_header.coding.name}")
    else:
        yield _row(chunk, 0, len(chunk.payload), "payload", "")


def _seen_rows(chunk: Chunk, seen: list[Seen]) -> Iterator[Row]:
    return (_row(chunk, *one) for one in seen)


def _row(chunk: Chunk, start: int, end: int, name: str, value: str) -> Row:
    return str(chunk.payload_offset + start), chunk.payload[start:end].hex(), name, value


def rows(data: bytes) -> list[Row]:
    """Rows (offset, bytes in hex, field, value) that cover every byte of a valid file."""
    result: list[Row] = [("0", data[: len(SIGNATURE)].hex(), "signature", "")]
    reader = ChunkReader()
    reader.feed(data)
    header: Header | None = None
    coded: Coded = {}
    while (chunk := reader.next_chunk(passes_complete=False)) is not None:
        if header is None:
            header = parse_head(chunk.payload)
            coded[None] = set() if header.base_digest is None else {tensor.ordinal for tensor in header.tensors}
        framing = data[chunk.offset : chunk.offset + len(chunk.payload) + FRAMING_BYTES]
        result += _chunk_rows(chunk, framing, header, coded)
    return result


def integers(field: sinrfmt.Field) -> list[Row]:
    """Rows (tensor, acc, step code, weights) of a decoded file."""
    return [
        (
            state.tensor.name,
            " ".join(map(str, state.acc)),
            str(state.step),
            " ".join(repr(float(w)) for w in state.weights().ravel()),
        )
        for state in field.states
    ]


if __name__ == "__main__":
    for row in rows(Path(sys.argv[1]).read_bytes()):
        print("{:>6}  {:<24} {:<20} {}".format(*row))
