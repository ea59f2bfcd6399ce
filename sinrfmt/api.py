"""Files and bytes to fields, and back.

``load`` and ``loads`` are eager and verify everything; ``open`` is lazy. A URL is a file too. Writing is atomic: a
temporary file in the same folder is renamed over the target. Specification: clauses 15 and 17.
"""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from sinrfmt.base import Base, BaseSource
from sinrfmt.container import PREFIX_BYTES
from sinrfmt.faults import error
from sinrfmt.field import Field, Previews
from sinrfmt.head import Header
from sinrfmt.index import Places
from sinrfmt.previews import Preview, find_step, read_preview
from sinrfmt.remote import UNBOUNDED, RemoteFile, is_url, open_source
from sinrfmt.stream import (
    READ_BYTES,
    Event,
    HeaderRead,
    IndexRead,
    MetaRead,
    Note,
    Parser,
    PassComplete,
    PreviewRead,
)

NOTES_LIMIT = 100  # a file of many odd chunks does not fill memory with notes
FIRST_PREVIEW_BYTES = 1024
"""Of the first request for a preview at a distance: HEAD and a picture. Who waits for a picture waits for no more."""
PathLike = str | os.PathLike[str]
Opened = BinaryIO | RemoteFile
Source = PathLike | Opened
"""A path, a URL, or an object opened in binary mode."""
BaseFile = Source | bytes | Field
"""A base (clause 9.8): a path, a URL, an open file, its bytes, or the field."""


def loads(data: bytes, *, passes: int | None = None, partial: bool = False, base: BaseFile | None = None) -> Field:
    """Decode a file held in memory.

    Args:
        data: the bytes.
        passes: decode the first ``passes`` passes only; bytes after them are not looked at.
        partial: take the last whole pass of a file that ends early.
        base: the file that the weights are relative to (clause 9.8); not read if they are not.

    Raises:
        FormatError, UnsupportedError, LimitError, ChecksumError: by the rule that is broken.
        UsageError: more passes asked for than the file has.

    >>> loads(b"not a field")
    Traceback (most recent call last):
    sinrfmt.errors.FormatError: BAD_SIGNATURE [101] at byte 0: found 6e6f7420, expected 53494ed2
    """
    return _decode(io.BytesIO(data), passes=passes, partial=partial, base=base)


def _base_source(base: BaseFile | None) -> BaseSource | None:
    if base is None:
        return None

    def read() -> Base:
        field = base if isinstance(base, Field) else loads(base) if isinstance(base, bytes) else load(base)
        if field.n_passes < field.header.n_passes:
            raise error("TRUNCATED", f"pass {field.n_passes} of {field.header.n_passes} of a base")
        return Base(field.header, field.states)

    return read


def _decode(file: Opened, *, passes: int | None, partial: bool, base: BaseFile | None) -> Field:
    parser = Parser(_base_source(base))
    data = bytearray()
    meta: dict[str, str] = {}
    notes: list[str] = []
    previews: list[Preview] = []
    done: list[PassComplete] = []
    for event in _events(parser, file, data):
        if isinstance(event, HeaderRead):
            _check_passes(passes, event.header)
            if passes is None and isinstance(file, RemoteFile):
                file.until = UNBOUNDED
        elif isinstance(event, IndexRead):
            _read_ahead(file, event, passes, parser.header)
        elif isinstance(event, MetaRead):
            meta |= event.meta
        elif isinstance(event, PreviewRead):
            previews.append(event.preview)
        elif isinstance(event, Note):
            notes += [f"{event.message} at byte {event.offset}"] if len(notes) < NOTES_LIMIT else []
        elif isinstance(event, PassComplete):
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
        acc_crc=[crc for event in done for crc in event.acc_crc],
        pass_ends=[event.end for event in done],
        meta=meta,
        notes=notes,
        previews=Previews(previews, loads),
    )


def _read_ahead(file: Opened, event: IndexRead, passes: int | None, header: Header | None) -> None:
    """With an index, all passes that are wanted take one request; were it wrong, too few or too many bytes come."""
    if isinstance(file, RemoteFile) and isinstance(event.index, Places) and passes is not None:
        parts = None if header is None else header.parts
        n_chunks = passes * (1 if parts is None else parts.chunks_per_pass)
        place = event.index.place(n_chunks - 1)
        file.until = max(file.until, 0 if place is None else place[1])


def _events(parser: Parser, file: Opened, data: bytearray) -> Iterator[Event]:
    """Events of a file, which is read no further than they need; ``data`` grows by what is read."""
    while piece := file.read(min(parser.n_wanted, READ_BYTES)):
        if not isinstance(piece, bytes):
            raise TypeError("the file must be opened in binary mode: open(path, 'rb')")
        data += piece
        yield from parser.feed(piece)


def _check_passes(passes: int | None, header: Header) -> None:
    if passes is not None and not 1 <= passes <= header.n_passes:
        raise error("USAGE", f"passes = {passes}: the file has {header.n_passes}")


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[Opened]:
    """A binary file of a path or URL, or the given one.

    Raises:
        UsageError: the path or URL cannot be read.
    """
    if isinstance(source, str) and is_url(source):
        with contextlib.closing(RemoteFile(open_source(source))) as remote:
            yield remote
        return
    if not isinstance(source, (str, os.PathLike)):
        yield source
        return
    try:
        with Path(source).open("rb") as file:
            yield file
    except OSError as failure:
        raise error("USAGE", f"{source}: {failure.strerror}") from failure


def load(
    source: Source,
    *,
    passes: int | None = None,
    partial: bool = False,
    base: BaseFile | None = None,
    preview: int | None = None,
    step: int | None = None,
) -> Field:
    """Decode a file: a path, a URL, or an object opened in binary mode. See :func:`loads`.

    Of a URL no more is fetched than the passes asked for and the first 16 KiB, or than the preview and the first KiB.

    Args:
        source: of the file.
        passes, partial, base: as for :func:`loads`; of the preview, where one is asked for.
        preview: decode this preview of the file instead, from 0 on (clause 12.4); what follows it is not read.
        step: decode what a reader has after so many steps, from 1 on: previews come first, then passes. Goes without
            ``passes`` and ``preview``; a file object must be seekable.

    Raises:
        SinrError: as :func:`loads`; of a URL also SOURCE_CHANGED and, where it cannot be read, USAGE.
    """
    with _opened(source) as file:
        found = _find(file, passes, preview, step)
        if isinstance(found, Preview):
            return loads(found.data, passes=passes, partial=partial, base=base)
        passes = passes if found is None else found
        return _decode(file, passes=passes, partial=partial, base=base)


def dumps(field: Field) -> bytes:
    """The bytes of a field; ``loads(dumps(field)) == field``.

    Of a field of which only some passes were decoded they are a prefix of its file: ``loads`` then needs ``partial``.
    """
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


@contextlib.contextmanager
def writing_folder(path: PathLike) -> Iterator[Path]:
    """A folder to write to that becomes ``path`` when the block ends without an exception.

    Raises:
        UsageError: the folder cannot be made, or is there and holds something; nothing is left behind.
    """
    target = Path(path)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as failure:
        raise error("USAGE", f"{target}: {failure.strerror}") from failure
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        os.replace(temporary, target)  # takes the place of an empty folder
    except OSError as failure:
        raise error("USAGE", f"{target}: {failure.strerror or failure}") from failure
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class LazyField:
    """A file whose header was read; its weights are decoded when :attr:`field` is first asked for."""

    def __init__(
        self,
        source: Source,
        *,
        passes: int | None,
        partial: bool,
        base: BaseFile | None,
        preview: int | None = None,
        step: int | None = None,
    ) -> None:
        with _opened(source) as file:
            found = _find(file, passes, preview, step)
        self._source = source
        self._passes = found if isinstance(found, int) else passes
        self._partial = partial
        self._base = base
        self._field: Field | None = None
        self._preview = found if isinstance(found, Preview) else None
        self.header = read_header(source) if self._preview is None else self._preview.header

    @property
    def fetched_bytes(self) -> int | None:
        """Bytes of the file that were fetched so far; None where it is not at a distance."""
        return self._source.fetched_bytes if isinstance(self._source, RemoteFile) else None

    @property
    def n_requests(self) -> int | None:
        """Requests so far; None where the file is not at a distance."""
        return self._source.n_requests if isinstance(self._source, RemoteFile) else None

    @property
    def field(self) -> Field:
        if self._field is None and self._preview is not None:
            self._field = loads(self._preview.data, passes=self._passes, partial=self._partial, base=self._base)
        if self._field is None:
            self._field = load(self._source, passes=self._passes, partial=self._partial, base=self._base)
        return self._field


def read_header(source: Source) -> Header:
    """What HEAD says; nothing after it is read. A file object is left where it was.

    Raises:
        SinrError: HEAD is not valid or not whole.
    """
    with _opened(source) as file:
        start = file.tell() if file is source else 0
        data = bytearray()
        try:
            headers = (event.header for event in _events(Parser(), file, data) if isinstance(event, HeaderRead))
            header = next(headers, None)
        finally:
            if file is source:
                file.seek(start)
    if header is None:
        raise error("TRUNCATED", "the file ends before HEAD does", offset=len(data))
    return header


def _find(file: Opened, passes: int | None, preview: int | None, step: int | None) -> Preview | int | None:
    """The preview asked for, or the passes that a step is; None where neither is. The file is left where it was."""
    if preview is None and step is None:
        return None
    if step is not None and (passes is not None or preview is not None):
        raise error("USAGE", "step goes without passes and preview")
    start = file.tell()
    if isinstance(file, RemoteFile):
        file.until = FIRST_PREVIEW_BYTES
    try:
        return read_preview(file.read, preview) if preview is not None else find_step(file.read, step or 0)
    finally:
        file.seek(start)
        if isinstance(file, RemoteFile):
            file.until = PREFIX_BYTES


@contextlib.contextmanager
def open(
    source: Source,
    *,
    passes: int | None = None,
    partial: bool = False,
    base: BaseFile | None = None,
    preview: int | None = None,
    step: int | None = None,
) -> Iterator[LazyField]:
    """A field whose header is there at once and whose weights are decoded when they are needed.

    Arguments are those of :func:`load`; of a preview the header is its own.

    Raises:
        SinrError: HEAD is not valid, or there is no such preview or step.
    """
    if not (isinstance(source, str) and is_url(source)):
        yield LazyField(source, passes=passes, partial=partial, base=base, preview=preview, step=step)
        return
    with _opened(source) as file:  # what HEAD took is not fetched again
        yield LazyField(file, passes=passes, partial=partial, base=base, preview=preview, step=step)
