"""Files and bytes to fields, and back.

``load`` and ``loads`` are eager and verify everything; ``open`` is lazy. Writing is atomic: a temporary file in the
same folder is renamed over the target. Specification: clauses 15 and 17.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import Header
from sinrfmt.stream import Event, HeaderRead, MetaRead, Note, Parser, PassComplete

HEADER_READ_BYTES = 16384
READ_BYTES = 1 << 20
PathLike = str | os.PathLike[str]
Source = PathLike | BinaryIO


def loads(data: bytes, *, passes: int | None = None, partial: bool = False) -> Field:
    """Decode a file held in memory.

    Args:
        data: the bytes.
        passes: decode the first ``passes`` passes only; bytes after them are not looked at.
        partial: take the last whole pass of a file that ends early.

    Raises:
        FormatError, UnsupportedError, LimitError: by the rule that is broken.
        UsageError: more passes asked for than the file has.

    >>> loads(b"not a field")
    Traceback (most recent call last):
    sinrfmt.errors.FormatError: BAD_SIGNATURE [101] at byte 0: found 6e6f7420, expected 53494ed2
    """
    return _decode([bytes(data)], passes=passes, partial=partial)


def _decode(pieces: Iterable[bytes], *, passes: int | None, partial: bool) -> Field:
    """Feed a file piece by piece; no more of it is asked for than is needed."""
    parser = Parser()
    data = bytearray()
    meta: dict[str, str] = {}
    notes: list[str] = []
    done: list[PassComplete] = []
    for event in _events(parser, pieces, data):
        if isinstance(event, HeaderRead):
            _check_passes(passes, event.header)
        elif isinstance(event, MetaRead):
            meta |= event.meta
        elif isinstance(event, Note):
            notes.append(f"{event.message} at byte {event.offset}")
        else:
            done = [*done[:-1], *(replace(earlier, states=()) for earlier in done[-1:]), event]
            if len(done) == passes:
                break
    if len(done) == passes or (partial and done and not parser.has_ended):
        parser.check_hashes()
    else:
        parser.close()
    assert parser.header is not None
    is_whole = parser.has_ended and len(done) != passes
    last = done[-1]
    return Field(
        bytes(data) if is_whole else bytes(data[: last.end]),
        parser.header,
        last.states,
        weights_sha256=last.sha256.hex(),
        acc_crc=[event.acc_crc for event in done],
        pass_ends=[event.end for event in done],
        meta=meta,
        notes=notes,
    )


def _events(parser: Parser, pieces: Iterable[bytes], data: bytearray) -> Iterator[Event]:
    for piece in pieces:
        data += piece
        yield from parser.feed(piece)


def _check_passes(passes: int | None, header: Header) -> None:
    if passes is not None and not 1 <= passes <= header.n_passes:
        raise error("USAGE", f"passes = {passes}: the file has {header.n_passes}")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(READ_BYTES):
        if not isinstance(piece, bytes):
            raise TypeError("the file must be opened in binary mode: open(path, 'rb')")
        yield piece


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    """A binary file of a path, or the given one.

    Raises:
        UsageError: the path cannot be read.
    """
    if not isinstance(source, (str, os.PathLike)):
        yield source
        return
    try:
        with Path(source).open("rb") as file:
            yield file
    except OSError as failure:
        raise error("USAGE", f"{source}: {failure.strerror}") from failure


def load(source: Source, *, passes: int | None = None, partial: bool = False) -> Field:
    """Decode a file: a path, or an object opened in binary mode. See :func:`loads`."""
    with _opened(source) as file:
        return _decode(_pieces(file), passes=passes, partial=partial)


def dumps(field: Field) -> bytes:
    """The bytes of a field; ``loads(dumps(field)) == field``."""
    return field.data


def save(field: Field, path: PathLike) -> None:
    """Write a field; the file is whole or not there.

    Raises:
        UsageError: the file cannot be written.
    """
    write_atomically(path, dumps(field))


def write_atomically(path: PathLike, data: bytes) -> None:
    """Write a file by renaming a temporary one of the same folder.

    Raises:
        UsageError: the file cannot be written; nothing is left behind.
    """
    with writing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[Path]:
    """A path to write to that becomes ``path`` when the block ends without an exception.

    Raises:
        UsageError: the file cannot be written; nothing is left behind.
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    except OSError as failure:
        raise error("USAGE", f"{target}: {failure.strerror}") from failure
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as failure:
        raise error("USAGE", f"{target}: {failure.strerror or failure}") from failure
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class LazyField:
    """A file whose header was read; its weights are decoded when :attr:`field` is first asked for."""

    def __init__(self, source: Source, *, passes: int | None, partial: bool) -> None:
        self._source = source
        self._passes = passes
        self._partial = partial
        self._field: Field | None = None
        self.header = read_header(source)

    @property
    def field(self) -> Field:
        if self._field is None:
            self._field = load(self._source, passes=self._passes, partial=self._partial)
        return self._field


def read_header(source: Source) -> Header:
    """What HEAD says, from the first 16 KiB of a file. A file object is left where it was.

    Raises:
        SinrError: HEAD is not valid or not whole.
    """
    with _opened(source) as file:
        start = file.tell() if file is source else 0
        prefix = file.read(HEADER_READ_BYTES)
        if file is source:
            file.seek(start)
    parser = Parser()
    for event in parser.feed(prefix):
        if isinstance(event, HeaderRead):
            return event.header
    raise error("TRUNCATED", "the file ends before HEAD does", offset=len(prefix))


@contextlib.contextmanager
def open(source: Source, *, passes: int | None = None, partial: bool = False) -> Iterator[LazyField]:
    """A field whose header is there at once and whose weights are decoded when they are needed.

    Raises:
        SinrError: HEAD is not valid.
    """
    yield LazyField(source, passes=passes, partial=partial)
