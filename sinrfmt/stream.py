"""Push parser: bytes in, events out, no I/O.

Specification: clauses 5.4, 7.5, 12.3 and 17. Any split of the input gives the same events; an event is given as soon as
the bytes that make it are there; what is kept is the chunk that is not whole yet, and the weights. Errors are sticky.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sinrfmt import payload
from sinrfmt.ancillary import HASH_ENTRY_BYTES, parse_hash, parse_meta
from sinrfmt.base import Base, BaseSource, states_from
from sinrfmt.container import Chunk, ChunkReader, parse_pass_header
from sinrfmt.errors import SinrError
from sinrfmt.faults import error, translate
from sinrfmt.head import Header, base_digest_offset
from sinrfmt.payload import States
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

    ``end`` is the offset of the first byte after the pass; ``sha256`` is weights_sha256.
    """

    index: int
    states: States
    acc_crc: int
    sha256: bytes
    end: int


@dataclass(frozen=True)
class MetaRead:
    """Keys and values of a META chunk."""

    meta: dict[str, str]


@dataclass(frozen=True)
class Note:
    """Something odd that is not an error."""

    message: str
    offset: int


META_PAIRS_LIMIT = 4096
"""Pairs of META that are kept of one file: a short pair costs many times its bytes in memory."""

Event = HeaderRead | PassComplete | MetaRead | Note


class Parser:
    """Feed it bytes, take events.

    Attributes:
        header: of the file, once it was read.
    """

    def __init__(self, base: BaseSource | None = None) -> None:
        """``base`` is asked for only if the file has one (clause 9.8)."""
        self._reader = ChunkReader()
        self._base = base
        self._states: States | None = None
        self._n_symbols = 0
        self._n_meta_pairs = 0
        self._expected: dict[int, list[tuple[int, bytes]]] = {}  # pass to offsets and digests (clause 12.3)
        self._digests: list[bytes] = []
        self._error: SinrError | None = None
        self.header: Header | None = None

    @property
    def n_passes_complete(self) -> int:
        return len(self._digests)

    @property
    def is_complete(self) -> bool:
        """Whether all passes of the file are there; ancillary chunks may follow."""
        return self.header is not None and self.n_passes_complete == self.header.n_passes

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
        self._reader.feed(data)
        while True:
            if self._error is not None:
                raise self._error
            try:
                chunk = self._reader.next_chunk(passes_complete=self.is_complete)
                event = None if chunk is None else self._read(chunk)
            except SinrError as failure:
                self._error = failure
                raise
            if chunk is None:
                return
            if event is not None:
                yield event
            # After the event: who only wants the header needs no base.
            if isinstance(event, HeaderRead) and event.header.base_digest is not None:
                self._start_from_base(chunk, event.header)

    def _read(self, chunk: Chunk) -> Event | None:
        readers = {
            ChunkKind.HEAD: self._read_head,
            ChunkKind.PASS: self._read_pass,
            ChunkKind.META: self._read_meta,
            ChunkKind.HASH: self._read_hash,
        }
        if chunk.kind is None:
            return Note(f"skipped a chunk of unknown type {chunk.type:#04x}", chunk.offset)
        reader = readers.get(chunk.kind)
        return None if reader is None else reader(chunk)

    def _read_head(self, chunk: Chunk) -> Event:
        self.header = self._reader.header
        return HeaderRead(self.header)

    def _start_from_base(self, head: Chunk, header: Header) -> None:
        """BAS-1 and BAS-2."""
        offset = head.payload_offset + base_digest_offset(head.payload)
        try:
            self._states = states_from(self._read_base(offset), header)
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

    def _read_pass(self, chunk: Chunk) -> Event:
        assert self.header is not None
        index = self.n_passes_complete
        try:
            pass_header = parse_pass_header(chunk, self.header)
            if not pass_header.ends_pass:
                raise Fault("PASS_ORDER", "the chunk is not marked as the end of its pass", path="flags")
            if pass_header.index != index:
                raise Fault("PASS_ORDER", f"found pass {pass_header.index}, expected {index}", offset=1, path="pass")
            self._states, self._n_symbols = payload.unpack(
                chunk.payload, pass_header, self.header, self._states, self._n_symbols
            )
        except Fault as fault:
            raise translate(fault, chunk.payload_offset, f"pass[{index}]") from None
        digest = weights_sha256(state.weights() for state in self._states)
        self._digests.append(digest)
        return PassComplete(index, self._states, pass_header.acc_crc, digest, self._reader.offset)

    def _read_meta(self, chunk: Chunk) -> Event:
        meta = parse_meta(chunk.payload, META_PAIRS_LIMIT - self._n_meta_pairs)
        if meta is None:
            return Note("ignored a META chunk that is not well formed or too long", chunk.offset)
        self._n_meta_pairs += len(meta)
        return MetaRead(meta)

    def _read_hash(self, chunk: Chunk) -> Event | None:
        entries = parse_hash(chunk.payload)
        if entries is None:
            return Note("ignored a HASH chunk that is not well formed", chunk.offset)
        for i, (index, digest) in enumerate(entries):
            kept = self._expected.setdefault(index, [])
            # The first entry of a pass and the first that differs from it: whatever the pass gives, one of them is the
            # first that is wrong, so memory does not grow with the number of HASH chunks.
            if all(digest != earlier for _, earlier in kept) and len(kept) < 2:
                kept.append((chunk.payload_offset + HASH_ENTRY_BYTES * i, digest))
        return None

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
