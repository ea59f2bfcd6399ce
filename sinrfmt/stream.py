"""Push parser: bytes in, events out, no I/O.

Specification: clauses 5.4, 7.5, 12.3 and 17. Any split of the input gives the same events; an event is given as soon as
the bytes that make it are there. What is kept is the chunk that is not whole yet, at most 16 MiB and its framing, the
last preview, and the integers after the last whole pass; a chunk is never used before it is whole, so there is no
half-applied pass. The work is linear in the bytes, fed one by one or all at once. Errors are sticky.

A parser that is saved fits a few hundred bytes: the number of bytes read and their SHA-256. The bytes themselves stay
with the caller, who is downloading them anyway: coded, they are the smallest form of what the parser knows, and to read
them again gives the exact integers without another format for them. :meth:`Parser.restore` does so and refuses others.
"""

import hashlib
import io
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from sinrfmt.ancillary import HASH_ENTRY_BYTES, META_PAIRS_LIMIT, parse_hash, parse_meta
from sinrfmt.base import Base, BaseSource, states_from
from sinrfmt.container import Chunk, ChunkReader
from sinrfmt.errors import SinrError
from sinrfmt.faults import error, translate
from sinrfmt.head import Header, base_digest_offset
from sinrfmt.index import Directory, Places, parse_index
from sinrfmt.passes import PassStates
from sinrfmt.payload import States
from sinrfmt.previews import Preview, PreviewReader
from sinrfmt.registry import ChunkKind
from sinrfmt.weights import weights_sha256
from sinrfmt.wire import Fault


@dataclass(frozen=True)
class HeaderRead:
    """HEAD was read: everything about the file but its numbers."""

    header: Header


@dataclass(frozen=True)
class PassComplete:
    """The weights after one more pass.

    ``end`` is the offset of the first byte after the pass; ``sha256`` is weights_sha256; ``acc_crc`` has those of the
    pass's chunks. With parts ``states`` are the shared tensors, then those of every part.
    """

    index: int
    states: States
    acc_crc: tuple[int, ...]
    sha256: bytes
    end: int


@dataclass(frozen=True)
class PartComplete:
    """One chunk of a pass of a file with parts was read; ``part`` is 65535 for the shared tensors (clause 13.1)."""

    index: int
    part: int
    end: int


@dataclass(frozen=True)
class MetaRead:
    """Keys and values of a META chunk."""

    meta: dict[str, str]


@dataclass(frozen=True)
class PreviewRead:
    """A whole preview (clause 12.4) whose HEAD is right; its weights are not decoded here.

    ``index`` counts from 0; ``end`` is the offset of the first byte after its chunk.
    """

    index: int
    preview: Preview
    end: int


@dataclass(frozen=True)
class IndexRead:
    """Where PASS chunks stand, as an INDX chunk says; nothing here was compared with the chunks."""

    index: Places | Directory


@dataclass(frozen=True)
class Note:
    """Something odd that is not an error."""

    message: str
    offset: int


Event = HeaderRead | PreviewRead | PassComplete | PartComplete | MetaRead | IndexRead | Note

STATE_VERSION = 1
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Snapshot:
    """What is known of a file so far, and can be shown.

    Attributes:
        header: what HEAD says, once it was read.
        latest: the last whole pass, if there is one.
        n_bytes: bytes fed.
        has_ended: whether the last chunk of the file was read.
        preview: the last whole preview, where it is to be shown instead (clause 17): no pass is whole yet, or the
            preview announces a higher PSNR than the last whole pass. None otherwise.
        n_previews: previews that are complete.
    """

    header: Header | None
    latest: PassComplete | None
    n_bytes: int
    has_ended: bool
    preview: Preview | None = None
    n_previews: int = 0

    @property
    def is_preview(self) -> bool:
        """Whether what can be shown is a preview and not a pass."""
        return self.preview is not None

    @property
    def n_passes(self) -> int:
        """Passes that are complete."""
        return 0 if self.latest is None else self.latest.index + 1

    @property
    def n_steps(self) -> int:
        """Steps that are complete: previews, then passes."""
        return self.n_previews + self.n_passes


class Parser:
    """Feed it bytes, take events.

    Attributes:
        header: of the file, once it was read.
        n_bytes: bytes fed.
    """

    def __init__(self, base: BaseSource | None = None) -> None:
        """``base`` is asked for only if the file has one (clause 9.8)."""
        self._reader = ChunkReader()
        self._base = base
        self._passes: PassStates | None = None
        self._acc_crcs: list[int] = []  # of the chunks of the pass that is not whole yet
        self._n_meta_pairs = 0
        self._expected: dict[int, list[tuple[int, bytes]]] = {}  # pass to offsets and digests (clause 12.3)
        self._digests: list[bytes] = []
        self._error: SinrError | None = None
        self._latest: PassComplete | None = None
        self._previews = PreviewReader()
        self._preview: Preview | None = None
        self._sha256 = hashlib.sha256()  # of all bytes fed
        self.header: Header | None = None
        self.n_bytes = 0

    @classmethod
    def restore(cls, state: bytes, kept: bytes | BinaryIO, base: BaseSource | None = None) -> "Parser":
        """A parser that goes on where another one, perhaps of another process, was saved.

        Args:
            state: what :meth:`save` gave.
            kept: the bytes that the other one was fed, from the first on; more may follow and are not read.
            base: as for the parser.

        Events that the other parser gave are not given again; :meth:`snapshot` has what they said.

        Raises:
            ChecksumError: SOURCE_CHANGED, the bytes kept are others, or fewer.
            UsageError: ``state`` is none.
            SinrError: the bytes kept are not even valid.
        """
        n_bytes, digest = _parse_state(state)
        parser = cls(base)
        file = io.BytesIO(kept) if isinstance(kept, bytes) else kept
        while piece := file.read(min(n_bytes - parser.n_bytes, READ_BYTES)):
            for _ in parser.feed(piece):
                pass
        if parser.n_bytes != n_bytes or parser._sha256.digest() != digest:
            message = f"the {parser.n_bytes} bytes kept are not the {n_bytes} bytes read before"
            raise error("SOURCE_CHANGED", message, offset=0)
        return parser

    def save(self) -> bytes:
        """What :meth:`restore` needs beside the bytes fed so far: JSON of about 120 bytes.

        Raises:
            SinrError: the file is not valid; there is nothing to go on with.
        """
        if self._error is not None:
            raise self._error
        state = {"sinr_parser": STATE_VERSION, "n_bytes": self.n_bytes, "sha256": self._sha256.hexdigest()}
        return json.dumps(state).encode()

    def snapshot(self) -> Snapshot:
        """What can be shown now: the file as of its last whole pass or preview, also after an error."""
        preview = self._preview if self._shows_preview() else None
        return Snapshot(self.header, self._latest, self.n_bytes, self.has_ended, preview, self._previews.n_previews)

    def _shows_preview(self) -> bool:
        """Clause 17."""
        if self._preview is None or self._latest is None or self.header is None:
            return self._preview is not None
        announced, psnr = self.header.quality, self._preview.psnr
        return announced is not None and psnr is not None and psnr > announced[self._latest.index]

    @property
    def n_passes_complete(self) -> int:
        return len(self._digests)

    @property
    def is_complete(self) -> bool:
        """Whether all passes of the file are there; ancillary chunks may follow."""
        return self._passes is not None and self._passes.is_complete

    @property
    def has_ended(self) -> bool:
        """Whether the last chunk of the file was read."""
        return self._reader.last is not None

    @property
    def n_wanted(self) -> int:
        """Bytes to feed for the next step; 0 where no more of the file is needed. Only after ``feed`` is exhausted."""
        return self._reader.n_wanted

    def feed(self, data: bytes) -> Iterator[Event]:
        """Events of all chunks that ``data`` completes. The iterator must be exhausted before the next call.

        Raises:
            SinrError: the file is not valid; every later call raises it again.
        """
        if self._error is not None:
            raise self._error
        self._reader.feed(data)
        self._sha256.update(data)
        self.n_bytes += len(data)
        while True:
            try:
                chunk = self._reader.next_chunk(passes_complete=self.is_complete)
                given = [] if chunk is None else self._read(chunk)
            except SinrError as failure:
                self._error = failure
                raise
            if chunk is None:
                return
            yield from given
            # After the event: who only wants the header needs no base.
            if chunk.kind is ChunkKind.HEAD and self.header is not None and self.header.base_digest is not None:
                self._start_from_base(chunk, self.header)

    def _read(self, chunk: Chunk) -> list[Event]:
        readers = {
            ChunkKind.HEAD: self._read_head,
            ChunkKind.PASS: self._read_pass,
            ChunkKind.INDX: self._read_index,
            ChunkKind.META: self._read_meta,
            ChunkKind.HASH: self._read_hash,
            ChunkKind.PREV: self._read_preview,
        }
        if chunk.kind is None:
            return [Note(f"skipped a chunk of unknown type {chunk.type:#04x}", chunk.offset)]
        return readers[chunk.kind](chunk)

    def _read_head(self, chunk: Chunk) -> list[Event]:
        self.header = self._reader.header
        self._passes = PassStates(self.header)
        return [HeaderRead(self.header)]

    def _start_from_base(self, head: Chunk, header: Header) -> None:
        """BAS-1 and BAS-2."""
        offset = head.payload_offset + base_digest_offset(head.payload)
        try:
            self._passes = PassStates(header, states_from(self._read_base(offset), header))
        except Fault as fault:
            self._error = error(fault.name, fault.message, offset=offset, path="head.base_digest")
            raise self._error from None
        except SinrError as failure:
            self._error = failure
            raise

    def _read_base(self, offset: int) -> Base:
        if self._base is None:
            message = "the weights are relative to another file: give it as base"
            raise error("BASE_REQUIRED", message, offset=offset, path="head.base_digest")
        try:
            return self._base()
        except SinrError as failure:
            if failure.error_class == "usage":
                raise
            raise Fault("BASE_MISMATCH", f"the base does not decode: {failure}") from None

    def _read_pass(self, chunk: Chunk) -> list[Event]:
        assert self._passes is not None
        index = self._passes.index
        try:
            pass_header = self._passes.read(chunk)
        except Fault as fault:
            raise translate(fault, chunk.payload_offset, f"pass[{index}]") from None
        self._acc_crcs.append(pass_header.acc_crc)
        part = pass_header.part
        given: list[Event] = [] if part is None else [PartComplete(index, part, self._reader.offset)]
        return [*given, self._complete(index)] if pass_header.ends_pass else given

    def _complete(self, index: int) -> PassComplete:
        """All chunks of a pass were read."""
        assert self._passes is not None
        states = self._passes.states
        digest = weights_sha256(state.weights() for state in states if state.tensor.begins <= index)
        self._digests.append(digest)
        self._latest = PassComplete(index, states, tuple(self._acc_crcs), digest, self._reader.offset)
        self._acc_crcs.clear()
        return self._latest

    def _read_index(self, chunk: Chunk) -> list[Event]:
        index = parse_index(chunk.payload)
        if index is None:
            return [Note("ignored an INDX chunk that is not well formed", chunk.offset)]
        return [IndexRead(index)]

    def _read_preview(self, chunk: Chunk) -> list[Event]:
        assert self.header is not None
        seen_pass = bool(self._digests or self._acc_crcs)
        try:
            self._preview = self._previews.read(chunk.payload, self.header, seen_pass=seen_pass)
        except SinrError as failure:
            return [Note(f"ignored a PREV chunk: {failure.message}", chunk.offset)]
        return [PreviewRead(self._previews.n_previews - 1, self._preview, self._reader.offset)]

    def _read_meta(self, chunk: Chunk) -> list[Event]:
        meta = parse_meta(chunk.payload, META_PAIRS_LIMIT - self._n_meta_pairs)
        if meta is None:
            return [Note("ignored a META chunk that is not well formed or too long", chunk.offset)]
        self._n_meta_pairs += len(meta)
        return [MetaRead(meta)]

    def _read_hash(self, chunk: Chunk) -> list[Event]:
        entries = parse_hash(chunk.payload)
        if entries is None:
            return [Note("ignored a HASH chunk that is not well formed", chunk.offset)]
        for i, (index, digest) in enumerate(entries):
            kept = self._expected.setdefault(index, [])
            # The first entry of a pass and the first that differs from it: whatever the pass gives, one of them is the
            # first that is wrong, so memory does not grow with the number of HASH chunks.
            if all(digest != earlier for _, earlier in kept) and len(kept) < 2:
                kept.append((chunk.payload_offset + HASH_ENTRY_BYTES * i, digest))
        return []

    def close(self) -> None:
        """The file ends here and must be whole.

        Raises:
            SinrError: TRUNCATED, MISSING_PASS, TRAILING_DATA, WEIGHTS_HASH_MISMATCH.
        """
        if self._error is not None:
            raise self._error
        self._reader.close(passes_complete=self.is_complete)
        self.check_hashes()

    def check_hashes(self) -> None:
        """ANC-1 over what was read so far.

        Raises:
            ChecksumError: WEIGHTS_HASH_MISMATCH.
        """
        wrong = [
            (offset, index)
            for index, digest in enumerate(self._digests)
            for offset, expected in self._expected.get(index, [])
            if digest != expected
        ]
        if wrong:
            offset, index = min(wrong)
            raise error("WEIGHTS_HASH_MISMATCH", f"pass {index} has another digest", offset=offset, path="hash")


def _parse_state(state: bytes) -> tuple[int, bytes]:
    """Number of bytes and their digest."""
    try:
        raw = json.loads(state)
        version, n_bytes, digest = raw["sinr_parser"], raw["n_bytes"], bytes.fromhex(raw["sha256"])
    except (ValueError, TypeError, KeyError):
        raise error("USAGE", "not the state of a parser") from None
    if version != STATE_VERSION or not isinstance(n_bytes, int) or n_bytes < 0:
        raise error("USAGE", f"a parser's state of version {version}, expected {STATE_VERSION}")
    return n_bytes, digest


def events(pieces: Iterable[bytes], base: BaseSource | None = None) -> Iterator[Event]:
    """Events of a whole file that comes in pieces of any size.

    Raises:
        SinrError: the file is not valid or not whole; after the events before the fault.
    """
    parser = Parser(base)
    for piece in pieces:
        yield from parser.feed(piece)
    parser.close()


async def aevents(pieces: AsyncIterable[bytes], base: BaseSource | None = None) -> AsyncIterator[Event]:
    """As :func:`events`, of pieces that are awaited. Passes are decoded in a thread: the event loop goes on meanwhile.

    Raises:
        SinrError: as :func:`events`.
    """
    import asyncio  # it would take longer to load than the rest of this module

    parser = Parser(base)
    async for piece in pieces:
        # A generator that ends cannot say so through a thread's StopIteration: None stands for it.
        given = parser.feed(piece)
        while (event := await asyncio.to_thread(next, given, None)) is not None:
            yield event
    parser.close()
