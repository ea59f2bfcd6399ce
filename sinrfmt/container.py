"""Signature and chunks: bytes in pieces to whole, verified chunks, and chunks to bytes.

Specification: clauses 5.1 to 5.4 and 7.1. :class:`ChunkReader` is sans-IO: it never looks at weights. It reads HEAD,
since the rules of the chunks after it follow from it.
"""

import zlib
from dataclasses import dataclass

from construct import Container

from sinrfmt import codecs, layout
from sinrfmt.errors import SinrError
from sinrfmt.faults import error, translate
from sinrfmt.head import Header, parse_head
from sinrfmt.registry import SIGNATURE, ChunkKind, Coding, Profile
from sinrfmt.wire import Fault

HEADER_BYTES: int = layout.CHUNK_HEADER.sizeof()
TRAILER_BYTES: int = layout.CHUNK_TRAILER.sizeof()
FRAMING_BYTES = HEADER_BYTES + TRAILER_BYTES
PASS_HEADER_BYTES: int = layout.PASS_HEADER.sizeof()
PASS_PART_BYTES: int = layout.PASS_PART.sizeof()
PAYLOAD_BYTES_LIMIT = (1 << 24) - 1
PREFIX_BYTES = 16384  # HEAD ends within it (CON-9)

ANCILLARY, PRIVATE, SAFE_TO_COPY, LAST = 0x80, 0x40, 0x20, 0x10
PROPERTY_BITS = {  # bits 7 and 5 of the kinds of the registry (clause 5.3)
    ChunkKind.HEAD: 0,
    ChunkKind.PASS: 0,
    ChunkKind.INDX: ANCILLARY,
    ChunkKind.META: ANCILLARY | SAFE_TO_COPY,
    ChunkKind.HASH: ANCILLARY,
    ChunkKind.PREV: ANCILLARY | SAFE_TO_COPY,
}


def crc8(data: bytes) -> int:
    """CRC-8, polynomial 0x07 (CNV-5)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


@dataclass(frozen=True)
class Chunk:
    """One whole chunk whose checks hold. ``offset`` is that of its type byte in the file."""

    type: int
    offset: int
    payload: bytes

    @property
    def payload_offset(self) -> int:
        return self.offset + HEADER_BYTES

    @property
    def is_last(self) -> bool:
        return bool(self.type & LAST)

    @property
    def kind(self) -> ChunkKind | None:
        """None for a chunk that this version does not know."""
        kind = self.type & 15
        return ChunkKind(kind) if not self.type & PRIVATE and kind in set(ChunkKind) else None


@dataclass(frozen=True)
class PassHeader:
    """Sub-header of a PASS chunk; ``part`` is None in files without parts."""

    coding: Coding
    log2_lanes: int
    ends_pass: bool
    index: int
    acc_crc: int
    part: int | None = None

    @property
    def n_bytes(self) -> int:
        return PASS_HEADER_BYTES + (0 if self.part is None else PASS_PART_BYTES)


def parse_pass_header(chunk: Chunk, header: Header) -> PassHeader:
    """Clause 7.1, PAS-1 and PAS-2.

    Raises:
        Fault: the offset is in the payload; CODEC_MISSING among others.
    """
    raw = layout.PASS_HEADER.parse(chunk.payload)
    part = None if header.parts is None else _parse_part(chunk.payload)
    coding, log2_lanes = Coding(raw.flags & 7), raw.flags >> 4
    if header.profile is Profile.CORE and coding in (Coding.BROTLI, Coding.ZSTANDARD):
        raise Fault("PROFILE_FORBIDS", f"profile CORE does not have coding {coding.name}", path="flags")
    codecs.require(coding)
    allowed_lanes = (0, *range(6, 13)) if coding is Coding.RANS else (0,)
    if log2_lanes not in allowed_lanes:
        raise Fault("BAD_LANES", f"log2_lanes = {log2_lanes} with coding {coding.name}", path="flags")
    return PassHeader(coding, log2_lanes, bool(raw.flags & 8), raw["pass"], raw.acc_crc, part)


def _parse_part(payload: bytes) -> int:
    try:
        return int(layout.PASS_PART.parse(payload[PASS_HEADER_BYTES:]).part)
    except Fault as fault:
        raise Fault(fault.name, fault.message, offset=PASS_HEADER_BYTES + fault.offset, path=fault.path) from None


def build_pass_header(pass_header: PassHeader) -> bytes:
    flags = pass_header.coding | pass_header.ends_pass << 3 | pass_header.log2_lanes << 4
    raw = {"flags": flags, "pass": pass_header.index, "acc_crc": pass_header.acc_crc}
    part = b"" if pass_header.part is None else layout.PASS_PART.build({"part": pass_header.part})
    return bytes(layout.PASS_HEADER.build(raw) + part)


class ChunkReader:
    """Gives the chunks of a file that is fed in pieces of any size; clauses 5.1 to 5.4.

    Keeps at most the chunk that is not whole yet. Errors are sticky: the same one is raised again.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0  # in the file, of the buffer's first byte
        self._seen_signature = False
        self._seen_pass = False
        self._start_crc = 0
        self._limit = PREFIX_BYTES
        self._chunk_header: Container | None = None  # of the chunk that is not whole yet, checked
        self._header: Header | None = None
        self._error: SinrError | None = None
        self.last: Chunk | None = None

    @property
    def offset(self) -> int:
        """Bytes of whole chunks given so far, signature included."""
        return self._offset

    @property
    def n_wanted(self) -> int:
        """Bytes that must be fed for the next step; 0 where no more of the file is needed to judge it.

        Only after :meth:`next_chunk` gave None.
        """
        if self.last is not None:
            return 0 if self._buffer else 1  # one more byte would be TRAILING_DATA
        if not self._seen_signature:
            return len(SIGNATURE) - len(self._buffer)
        n_bytes = HEADER_BYTES if self._chunk_header is None else FRAMING_BYTES + self._chunk_header.length
        return int(n_bytes - len(self._buffer))

    @property
    def coming(self) -> ChunkKind | None:
        """The kind of the chunk that is not whole yet, as soon as its header was read; None for an unknown one."""
        return None if self._chunk_header is None else Chunk(self._chunk_header.type, self._offset, b"").kind

    def feed(self, data: bytes) -> None:
        """Add the next bytes of the file. Of those after the last chunk one is kept: they are an error anyway."""
        self._buffer += data if self.last is None else data[: 1 - len(self._buffer)]

    def jump(self, offset: int) -> None:
        """Go on with the chunk at another offset of the file, once HEAD was read.

        What follows from a chunk's place alone (clause 5.4) is not known of chunks that were jumped over.
        """
        assert self._header is not None
        self._buffer.clear()
        self._chunk_header = None
        self._offset = offset
        self._seen_pass = False
        self.last = None

    def next_chunk(self, *, passes_complete: bool) -> Chunk | None:
        """The next whole chunk, or None where more bytes are needed or the last chunk was given.

        Args:
            passes_complete: whether all passes of the file are (CON-6).

        Raises:
            SinrError: a rule of clauses 5.1 to 5.4 is broken.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._next_chunk(passes_complete)
        except SinrError as failure:
            self._error = failure
            raise

    def _next_chunk(self, passes_complete: bool) -> Chunk | None:
        if self.last is not None or not self._read_signature():
            return None
        raw = self._read_chunk_header(passes_complete)
        if raw is None or len(self._buffer) < raw.length + FRAMING_BYTES:
            return None
        end = HEADER_BYTES + raw.length
        self._check_crc(end, is_head=self._header is None)
        chunk = Chunk(raw.type, self._offset, bytes(self._buffer[HEADER_BYTES:end]))
        del self._buffer[: end + TRAILER_BYTES]
        self._offset += end + TRAILER_BYTES
        self._chunk_header = None
        self._note(chunk)
        return chunk

    def _read_chunk_header(self, passes_complete: bool) -> Container | None:
        if self._chunk_header is None and len(self._buffer) >= HEADER_BYTES:
            raw = layout.CHUNK_HEADER.parse(bytes(self._buffer[:HEADER_BYTES]))
            self._check_header(raw, passes_complete)
            self._chunk_header = raw
        return self._chunk_header

    def _read_signature(self) -> bool:
        if self._seen_signature:
            return True
        found = bytes(self._buffer[: len(SIGNATURE)])
        if found != SIGNATURE[: len(found)]:
            raise error("BAD_SIGNATURE", f"found {found.hex()}, expected {SIGNATURE.hex()}", offset=0)
        if len(found) < len(SIGNATURE):
            return False
        del self._buffer[: len(SIGNATURE)]
        self._offset = len(SIGNATURE)
        self._seen_signature = True
        return True

    def _check_header(self, raw: Container, passes_complete: bool) -> None:
        at = self._offset
        expected = crc8(bytes(self._buffer[: HEADER_BYTES - 1]))
        if raw.hcheck != expected:
            message = f"found {raw.hcheck:#04x}, expected {expected:#04x}"
            raise error("HEADER_CHECK_MISMATCH", message, offset=at + HEADER_BYTES - 1, path="chunk.hcheck")
        self._check_type(raw.type)
        self._check_order(raw.type, passes_complete)
        end = at + FRAMING_BYTES + raw.length
        if end > self._limit:
            message = f"the chunk ends at byte {end}, the limit is {self._limit}"
            raise error("LIMIT_FILE_BYTES", message, offset=at + 1, path="chunk.length")

    def _check_type(self, chunk_type: int) -> None:
        kind, at = chunk_type & 15, self._offset
        known = PROPERTY_BITS.get(ChunkKind(kind)) if kind in set(ChunkKind) and not chunk_type & PRIVATE else None
        is_critical = not chunk_type & ANCILLARY
        wrong_bits = known is not None and chunk_type & (ANCILLARY | SAFE_TO_COPY) != known
        if kind in (0, 15) or (is_critical and chunk_type & SAFE_TO_COPY) or wrong_bits:
            raise error("BAD_CHUNK_TYPE", f"type {chunk_type:#04x}", offset=at, path="chunk.type")
        if is_critical and known is None:
            raise error("UNKNOWN_CRITICAL_CHUNK", f"type {chunk_type:#04x}", offset=at, path="chunk.type")

    def _check_order(self, chunk_type: int, passes_complete: bool) -> None:
        kind = None if chunk_type & PRIVATE else chunk_type & 15
        is_head = kind == ChunkKind.HEAD
        misplaced = (
            is_head != (self._header is None)
            or (kind == ChunkKind.PASS and passes_complete)
            or (kind == ChunkKind.INDX and self._seen_pass)
        )
        if misplaced:
            message = f"a chunk of type {chunk_type:#04x} cannot stand here"
            raise error("CHUNK_ORDER", message, offset=self._offset, path="chunk.type")

    def _check_crc(self, end: int, *, is_head: bool) -> None:
        stored = layout.CHUNK_TRAILER.parse(bytes(self._buffer[end : end + TRAILER_BYTES])).crc32
        with memoryview(self._buffer) as view, view[:end] as covered:
            expected = zlib.crc32(covered, self._start_crc)
        if stored != expected:
            message = f"found {stored:08x}, expected {expected:08x}"
            raise error("CHUNK_CRC_MISMATCH", message, offset=self._offset + end, path="chunk.crc32")
        if is_head:
            self._start_crc = stored

    def _note(self, chunk: Chunk) -> None:
        if chunk.kind is ChunkKind.HEAD:
            try:
                self._header = parse_head(chunk.payload)
            except Fault as fault:
                raise translate(fault, chunk.payload_offset, "head") from None
            self._limit = self._header.level.file_bytes
        self._seen_pass = self._seen_pass or chunk.kind is ChunkKind.PASS
        if chunk.is_last:
            self.last = chunk
            del self._buffer[1:]

    @property
    def header(self) -> Header:
        """What HEAD says; only after its chunk was given."""
        assert self._header is not None
        return self._header

    def close(self, *, passes_complete: bool) -> None:
        """The input ends here; CON-7 and CON-8.

        Raises:
            SinrError: TRUNCATED, MISSING_PASS, TRAILING_DATA.
        """
        if self._error is not None:
            raise self._error
        if self.last is None:
            end = self._offset + len(self._buffer)
            raise error("TRUNCATED", "the file ends before its last chunk does", offset=end)
        if not passes_complete:
            raise error("MISSING_PASS", "the last chunk comes before the last pass", offset=self.last.offset)
        if self._buffer:
            raise error("TRAILING_DATA", "bytes follow the last chunk", offset=self._offset)


def chunk_type(kind: ChunkKind) -> int:
    """The type of a chunk of the registry, but for bit 4."""
    return kind | PROPERTY_BITS[kind]


def frame(kind: ChunkKind, payload: bytes, start_crc: int, *, is_last: bool = False) -> tuple[bytes, int]:
    """One chunk, and its crc32.

    Raises:
        Fault: LIMIT_FILE_BYTES, where the payload is longer than ``length`` can say.
    """
    return _seal(chunk_type(kind) | (LAST if is_last else 0), payload, start_crc)


def _seal(type_byte: int, payload: bytes, start_crc: int) -> tuple[bytes, int]:
    """A chunk of any type, and its crc32.

    Raises:
        Fault: LIMIT_FILE_BYTES, where the payload is longer than ``length`` can say.
    """
    if len(payload) > PAYLOAD_BYTES_LIMIT:
        raise Fault("LIMIT_FILE_BYTES", f"{len(payload)} bytes do not fit a chunk", path="chunk.length")
    length = len(payload).to_bytes(3, "little")
    check = crc8(bytes([type_byte]) + length)
    header = bytes(layout.CHUNK_HEADER.build({"type": type_byte, "length": len(payload), "hcheck": check}))
    crc = zlib.crc32(header + payload, start_crc)
    return header + payload + bytes(layout.CHUNK_TRAILER.build({"crc32": crc})), crc


def build_file(head: bytes, chunks: list[tuple[ChunkKind, bytes]]) -> bytes:
    """A whole file from the payload of HEAD and the kinds and payloads of all later chunks."""
    return seal_file(head, [(chunk_type(kind), payload) for kind, payload in chunks])


def seal_file(head: bytes, chunks: list[tuple[int, bytes]]) -> bytes:
    """A whole file from the payload of HEAD and the types, without bit 4, and payloads of all later chunks."""
    framed, head_crc = frame(ChunkKind.HEAD, head, 0)
    parts = [SIGNATURE, framed]
    for position, (type_byte, payload) in enumerate(chunks):
        last = LAST if position == len(chunks) - 1 else 0
        parts.append(_seal(type_byte | last, payload, head_crc)[0])
    return b"".join(parts)
