"""Signature, chunks and HEAD: bytes to frozen descriptions and back, with every rule that spans fields.

Specification: clauses 5, 6, 7.1 and 12. :class:`ChunkReader` is sans-IO: it is fed bytes and gives whole, verified
chunks; it never looks at weights. Faults of the layout become coded errors with file offsets here and nowhere else.
"""

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from construct import Container

from sinrfmt import layout
from sinrfmt.errors import CLASSES, SinrError
from sinrfmt.network import FourierEncoding, InputEncoding, LayerRecord, Network, SeededFourierEncoding
from sinrfmt.registry import (
    ERRORS,
    KINDS_WITH_OMEGA,
    LEVELS,
    SIGNATURE,
    VERSION_MAJOR,
    VERSION_MINOR,
    ChunkKind,
    Coding,
    Coords,
    Dictionary,
    Feature,
    Level,
    Modality,
    OptionalFeature,
    Profile,
    RecordKind,
    Rng,
    Tool,
    Values,
)
from sinrfmt.wire import Fault

HEADER_BYTES = layout.CHUNK_HEADER.sizeof()
TRAILER_BYTES = layout.CHUNK_TRAILER.sizeof()
FRAMING_BYTES = HEADER_BYTES + TRAILER_BYTES
PASS_HEADER_BYTES = layout.PASS_HEADER.sizeof()
PREFIX_BYTES = 16384  # HEAD ends within it (CON-9)

ANCILLARY, PRIVATE, SAFE_TO_COPY, LAST = 0x80, 0x40, 0x20, 0x10
PROPERTY_BITS = {  # bits 7 and 5 of the kinds of the registry (clause 5.3)
    ChunkKind.HEAD: 0,
    ChunkKind.PASS: 0,
    ChunkKind.INDX: ANCILLARY,
    ChunkKind.META: ANCILLARY | SAFE_TO_COPY,
    ChunkKind.HASH: ANCILLARY,
}

_HALF, _NO_BIAS, _ROW_STEPS, _PRIOR, _TOOL = 0x40, 0x20, 0x10, 0x08, 0x07


def error(name: str, message: str, *, offset: int | None = None, path: str = "") -> SinrError:
    """The error of the registry's ``name``."""
    code, error_class = ERRORS[name]
    return CLASSES[error_class](code, name, message, offset=offset, path=path)


def translate(fault: Fault, payload_offset: int, path: str) -> SinrError:
    """A fault inside a payload as an error of the file."""
    full_path = f"{path}.{fault.path}" if fault.path else path
    return error(fault.name, fault.message, offset=payload_offset + fault.offset, path=full_path)


def crc8(data: bytes) -> int:
    """CRC-8, polynomial 0x07 (CNV-5)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


# --- descriptions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """What HEAD says.

    ``grid`` is empty where there is no native grid; ``box`` has (low, high) for each axis for coords BOX only;
    ``quality`` is the PSNR in dB announced for each pass, or None.
    """

    network: Network
    modality: Modality
    grid: tuple[int, ...] = ()
    coords: Coords = Coords.CENTRES
    values: Values = Values.UNIT
    n_passes: int = 1
    seed: int | None = None
    dictionary: Dictionary = Dictionary.RADEMACHER
    box: tuple[tuple[float, float], ...] | None = None
    quality: tuple[float, ...] | None = None
    profile: Profile = Profile.CORE
    level: Level = LEVELS[1]
    version_minor: int = VERSION_MINOR


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
    """Sub-header of a PASS chunk."""

    coding: Coding
    log2_lanes: int
    ends_pass: bool
    index: int
    acc_crc: int


# --- HEAD ------------------------------------------------------------------------------------------------------------


def parse_head(payload: bytes) -> Header:
    """Clause 6.

    Raises:
        Fault: the offset is in ``payload``.
    """
    raw = layout.HEAD.parse(payload)
    header = _header(raw)
    for rule in HEAD_RULES:
        rule(raw, header)
    return replace(header, quality=_quality(raw))


def _header(raw: Container) -> Header:
    records = [r for r in raw.records if r.kind in layout.LAYER_KINDS]
    encodings = [r for r in raw.records if r.kind not in layout.LAYER_KINDS]
    network = Network(
        in_dims=raw.in_dims,
        out_channels=raw.out_channels,
        records=tuple(_record(r, r.body.width, r.body.repeat) for r in records)
        + (_record(raw.last_record, raw.out_channels, 1),),
        input_encoding=_encoding(encodings[0]) if encodings else None,
    )
    return Header(
        network=network,
        modality=Modality(raw.modality),
        grid=tuple(raw.grid) if any(raw.grid) else (),
        coords=Coords(raw.coords_values & 15),
        values=Values(raw.coords_values >> 4),
        n_passes=raw.n_passes,
        seed=raw.seeded.seed if raw.seeded else None,
        dictionary=Dictionary(raw.seeded.rng_dictionary & 15) if raw.seeded else Dictionary.RADEMACHER,
        box=tuple((axis.low, axis.high) for axis in raw.box) if raw.box is not None else None,
        profile=Profile(raw.profile_level >> 4),
        level=LEVELS[raw.profile_level & 15],
        version_minor=raw.version & 15,
    )


def _record(raw: Container, width: int, repeat: int) -> LayerRecord:
    flags = raw.body.tool_flags
    omega = raw.body.omega
    return LayerRecord(
        kind=RecordKind(raw.kind),
        width=width,
        repeat=repeat,
        omega=1.0 if omega is None else float(omega.omega or omega.omega_binary32),
        tool=Tool(flags & _TOOL),
        prior=bool(flags & _PRIOR),
        row_steps=bool(flags & _ROW_STEPS),
        bias=not flags & _NO_BIAS,
        half=bool(flags & _HALF),
    )


def _encoding(raw: Container) -> InputEncoding:
    body = raw.body
    if raw.kind == RecordKind.FOURIER_SEEDED:
        return SeededFourierEncoding(body.n_features, body.scale)
    base = float(body.base or body.base_binary32)
    return FourierEncoding(body.octaves, base, bool(body.flags & 1), bool(body.flags & 2))


def _quality(raw: Container) -> tuple[float, ...] | None:
    for bit, block in zip(_set_bits(raw.features_optional), raw.optional_blocks, strict=True):
        if bit == OptionalFeature.QUALITY:
            return tuple(float(q) / 100 for q in np.frombuffer(block.data, dtype="<u2"))
    return None


def _set_bits(value: int) -> Iterator[int]:
    return (bit for bit in range(8) if value >> bit & 1)


# Error, measure and name of the limit, layers first: the later ones expand the network.
NETWORK_LIMITS: tuple[tuple[str, Callable[[Network], int], str], ...] = (
    ("LIMIT_LAYERS", lambda network: network.n_layers, "layers"),
    ("LIMIT_WIDTH", lambda network: network.widest, "width"),
    ("LIMIT_PARAMETERS", lambda network: network.n_parameters, "parameters"),
)

# Rules that span fields, in the order of their numbers.


def _grid_is_whole(raw: Container, header: Header) -> None:
    """HED-2."""
    if any(raw.grid) and not all(raw.grid):
        raise Fault(
            "BAD_DIMENSIONS", "some grid entries are zero and some are not", offset=raw.grid_offset, path="grid"
        )


def _grid_is_bounded(raw: Container, header: Header) -> None:
    """HED-3."""
    samples, limit = math.prod(raw.grid), header.level.grid_samples
    if samples > limit:
        raise Fault("LIMIT_GRID", f"{samples} samples, level allows {limit}", offset=raw.grid_offset, path="grid")


def _box_is_proper(raw: Container, header: Header) -> None:
    """HED-4."""
    for low, high in header.box or ():
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise Fault("BAD_FLOAT", f"box edge from {low} to {high}", offset=raw.box_offset, path="box")


def _encoding_is_first(raw: Container, header: Header) -> None:
    """HED-5."""
    for record in raw.records[1:]:
        if record.kind not in layout.LAYER_KINDS:
            raise Fault("BAD_RECORD", "an input encoding is the first record", offset=record.offset, path="records")


def _layer_records(raw: Container) -> Iterator[Container]:
    yield from (record for record in raw.records if record.kind in layout.LAYER_KINDS)
    yield raw.last_record


def _flags_fit_the_tool(raw: Container, header: Header) -> None:
    """HED-6."""
    for record in _layer_records(raw):
        flags = record.body.tool_flags
        tool = flags & _TOOL
        quantised = tool in (Tool.SCALAR, Tool.TRELLIS, Tool.SPARSE)
        allowed = tool != Tool.LATENT and (quantised or not flags & (_PRIOR | _ROW_STEPS))
        if not allowed or (flags & _HALF and tool != Tool.RAW):
            message = f"tool_flags {flags:#04x}: a flag that tool {tool} does not have"
            raise Fault("BAD_RECORD", message, offset=record.offset + 1, path="tool_flags")


def _layer_identity(record: Container) -> tuple[Any, ...]:
    omega = record.body.omega
    return (
        record.kind,
        record.body.tool_flags,
        record.body.width,
        None if omega is None else (omega.omega, omega.omega_binary32),
    )


def _equal_layers_are_merged(raw: Container, header: Header) -> None:
    """HED-7."""
    for first, second in zip(raw.records, raw.records[1:], strict=False):
        if first.kind not in layout.LAYER_KINDS or first.body.repeat == 255:
            continue
        if _layer_identity(first) == _layer_identity(second):
            raise Fault("BAD_RECORD", "equal layers are one record", offset=second.offset, path="records")


def _network_is_bounded(raw: Container, header: Header) -> None:
    """HED-8."""
    network, level = header.network, header.level
    for name, measure, limit in NETWORK_LIMITS:
        found, allowed = measure(network), getattr(level, limit)
        if found > allowed:
            raise Fault(name, f"found {found}, level {level.id} allows {allowed}", offset=raw.records_offset)


def _used_features_are_set(raw: Container, header: Header) -> None:
    """HED-9."""
    set_bits = raw.features_required
    for record in (*raw.records, raw.last_record):
        if record.kind == RecordKind.FOURIER_SEEDED:
            needed, offset = [Feature.SEEDED], record.offset
        elif record.kind in layout.LAYER_KINDS:
            needed, offset = _features_of_flags(record.body.tool_flags), record.offset + 1
        else:
            continue
        for feature in needed:
            if not set_bits >> feature & 1:
                raise Fault("FEATURE_MISMATCH", f"a record needs {feature.name}", offset=offset, path="records")
    if header.dictionary and not set_bits >> Feature.SPARSE & 1:
        raise Fault("FEATURE_MISMATCH", "a dictionary law without SPARSE", offset=raw.seeded_offset, path="seeded")


def _features_of_flags(flags: int) -> list[Feature]:
    by_tool = {Tool.TRELLIS: Feature.TRELLIS, Tool.SPARSE: Feature.SPARSE}
    needed = [by_tool[Tool(flags & _TOOL)]] if Tool(flags & _TOOL) in by_tool else []
    return [*needed, Feature.SEEDED] if flags & _PRIOR else needed


def _set_features_are_used(raw: Container, header: Header) -> None:
    """HED-10."""
    used = _required_features(header)
    for feature in (Feature.SEEDED, Feature.WIDE):
        if raw.features_required >> feature & 1 and not used >> feature & 1:
            raise Fault("FEATURE_MISMATCH", f"{feature.name} is not needed", offset=2, path="features_required")


def _quality_fits(raw: Container, header: Header) -> None:
    """HED-11."""
    for bit, block in zip(_set_bits(raw.features_optional), raw.optional_blocks, strict=True):
        if bit == OptionalFeature.QUALITY and block.length != 2 * raw.n_passes:
            message = f"QUALITY has {block.length} bytes, not {2 * raw.n_passes}"
            raise Fault("BAD_OPTIONAL_BLOCK", message, offset=block.offset, path="optional_blocks")


HEAD_RULES: tuple[Callable[[Container, Header], None], ...] = (
    _grid_is_whole,
    _grid_is_bounded,
    _box_is_proper,
    _encoding_is_first,
    _flags_fit_the_tool,
    _equal_layers_are_merged,
    _network_is_bounded,
    _used_features_are_set,
    _set_features_are_used,
    _quality_fits,
)


def _required_features(header: Header) -> int:
    """The feature bits that the content needs."""
    network = header.network
    needed = {feature for record in network.records for feature in _features_of_flags(_tool_flags(record))}
    if isinstance(network.input_encoding, SeededFourierEncoding):
        needed.add(Feature.SEEDED)
    if max(header.grid, default=0) >= 1 << 16 or (header.seed or 0) >= 1 << 32:
        needed.add(Feature.WIDE)
    return sum(1 << feature for feature in needed)


def build_head(header: Header) -> bytes:
    """Clause 6: the payload of HEAD, parsed back so that nothing is written that a decoder refuses.

    Raises:
        Fault: the header cannot be written.
    """
    network = header.network
    features = _required_features(header)
    records = _merge_records(network.records[:-1])
    encoding = [_raw_encoding(network.input_encoding)] if network.input_encoding else []
    optional = [_raw_quality(header.quality)] if header.quality is not None else []
    raw = {
        "version": VERSION_MAJOR << 4 | header.version_minor,
        "profile_level": header.profile << 4 | header.level.id,
        "features_required": features,
        "features_optional": 1 << OptionalFeature.QUALITY if optional else 0,
        "modality": header.modality,
        "in_dims": network.in_dims,
        "out_channels": network.out_channels,
        "coords_values": header.coords | header.values << 4,
        "n_passes": header.n_passes,
        "grid": header.grid or (0,) * network.in_dims,
        "box": [{"low": low, "high": high} for low, high in header.box] if header.box else None,
        "seeded": _raw_seeded(header) if features >> Feature.SEEDED & 1 else None,
        "n_records": len(encoding) + len(records) + 1,
        "records": encoding + [_raw_record(record, is_last=False) for record in records],
        "last_record": _raw_record(network.records[-1], is_last=True),
        "optional_blocks": optional,
    }
    payload = bytes(layout.HEAD.build(raw))
    parse_head(payload)
    return payload


def _merge_records(records: tuple[LayerRecord, ...]) -> list[LayerRecord]:
    """Equal neighbours written once (HED-7)."""
    merged: list[LayerRecord] = []
    for record in records:
        if merged and replace(merged[-1], repeat=record.repeat) == record:
            total = merged.pop().repeat + record.repeat
            merged += [replace(record, repeat=255)] * (total // 255)
            merged += [replace(record, repeat=total % 255)] if total % 255 else []
        else:
            merged.append(record)
    return merged


def _tool_flags(record: LayerRecord) -> int:
    bits = ((_PRIOR, record.prior), (_ROW_STEPS, record.row_steps), (_NO_BIAS, not record.bias), (_HALF, record.half))
    return record.tool | sum(bit for bit, is_set in bits if is_set)


def _byte_or_float(value: float, name: str, low: int) -> dict[str, Any]:
    fits = float(value).is_integer() and low <= value <= 255
    return {name: int(value) if fits else 0, f"{name}_binary32": None if fits else float(value)}


def _raw_record(record: LayerRecord, *, is_last: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"tool_flags": _tool_flags(record)}
    if not is_last:
        body |= {"width": record.width, "repeat": record.repeat}
    body["omega"] = _byte_or_float(record.omega, "omega", 1) if record.kind in KINDS_WITH_OMEGA else None
    return {"kind": record.kind, "body": body}


def _raw_encoding(encoding: InputEncoding) -> dict[str, Any]:
    if isinstance(encoding, SeededFourierEncoding):
        body: dict[str, Any] = {"n_features": encoding.n_features, "scale": encoding.scale}
        return {"kind": RecordKind.FOURIER_SEEDED, "body": body}
    flags = encoding.include_input | encoding.times_pi << 1
    body = {"flags": flags, "octaves": encoding.octaves} | _byte_or_float(encoding.base, "base", 2)
    return {"kind": RecordKind.FOURIER, "body": body}


def _raw_seeded(header: Header) -> dict[str, int]:
    return {"rng_dictionary": Rng.PHILOX4X32_10 << 4 | header.dictionary, "seed": header.seed or 0}


def _raw_quality(quality: tuple[float, ...]) -> dict[str, Any]:
    data = np.round(np.asarray(quality) * 100).clip(0, 65535).astype("<u2").tobytes()
    return {"length": len(data), "data": data}


def lowest_level(network: Network, grid: tuple[int, ...]) -> Level:
    """The lowest level whose limits on the network and grid hold; file bytes and symbols are seen to by the writer.

    Raises:
        LimitError: beyond the highest level.
    """
    found = [(name, measure(network), limit) for name, measure, limit in NETWORK_LIMITS]
    found.append(("LIMIT_GRID", math.prod(grid), "grid_samples"))
    for level in LEVELS.values():
        exceeded = [(name, value) for name, value, limit in found if value > getattr(level, limit)]
        if not exceeded:
            return level
    name, value = exceeded[0]
    raise error(name, f"found {value}, the highest level allows less")


# --- chunks ----------------------------------------------------------------------------------------------------------


def parse_pass_header(chunk: Chunk, header: Header) -> PassHeader:
    """Clause 7.1, PAS-1 and PAS-2.

    Raises:
        Fault: the offset is in the payload.
    """
    raw = layout.PASS_HEADER.parse(chunk.payload)
    coding, log2_lanes = Coding(raw.flags & 7), raw.flags >> 4
    if header.profile is Profile.CORE and coding in (Coding.BROTLI, Coding.ZSTANDARD):
        raise Fault("PROFILE_FORBIDS", f"profile CORE does not have coding {coding.name}", path="flags")
    allowed_lanes = (0, *range(6, 13)) if coding is Coding.RANS else (0,)
    if log2_lanes not in allowed_lanes:
        raise Fault("BAD_LANES", f"log2_lanes = {log2_lanes} with coding {coding.name}", path="flags")
    return PassHeader(coding, log2_lanes, bool(raw.flags & 8), raw["pass"], raw.acc_crc)


def build_pass_header(pass_header: PassHeader) -> bytes:
    flags = pass_header.coding | pass_header.ends_pass << 3 | pass_header.log2_lanes << 4
    return bytes(layout.PASS_HEADER.build({"flags": flags, "pass": pass_header.index, "acc_crc": pass_header.acc_crc}))


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
        self._header: Header | None = None
        self._error: SinrError | None = None
        self.last: Chunk | None = None

    @property
    def offset(self) -> int:
        """Bytes of whole chunks given so far, signature included."""
        return self._offset

    def feed(self, data: bytes) -> None:
        """Add the next bytes of the file."""
        self._buffer += data

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
        if self.last is not None or not self._read_signature() or len(self._buffer) < HEADER_BYTES:
            return None
        raw = layout.CHUNK_HEADER.parse(bytes(self._buffer[:HEADER_BYTES]))
        self._check_header(raw, passes_complete)
        end = HEADER_BYTES + raw.length
        if len(self._buffer) < end + TRAILER_BYTES:
            return None
        chunk = Chunk(raw.type, self._offset, bytes(self._buffer[HEADER_BYTES:end]))
        self._check_crc(end, is_head=self._header is None)
        del self._buffer[: end + TRAILER_BYTES]
        self._offset += end + TRAILER_BYTES
        self._note(chunk)
        return chunk

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
            raise error("TRAILING_DATA", f"{len(self._buffer)} bytes follow the last chunk", offset=self._offset)


def frame(kind: ChunkKind, payload: bytes, start_crc: int, *, is_last: bool = False) -> tuple[bytes, int]:
    """One chunk, and its crc32."""
    chunk_type = kind | PROPERTY_BITS[kind] | (LAST if is_last else 0)
    length = len(payload).to_bytes(3, "little")
    check = crc8(bytes([chunk_type]) + length)
    header = bytes(layout.CHUNK_HEADER.build({"type": chunk_type, "length": len(payload), "hcheck": check}))
    crc = zlib.crc32(header + payload, start_crc)
    return header + payload + bytes(layout.CHUNK_TRAILER.build({"crc32": crc})), crc


def build_file(head: bytes, chunks: list[tuple[ChunkKind, bytes]]) -> bytes:
    """A whole file from the payload of HEAD and the kinds and payloads of all later chunks."""
    framed, head_crc = frame(ChunkKind.HEAD, head, 0)
    parts = [SIGNATURE, framed]
    for position, (kind, payload) in enumerate(chunks):
        parts.append(frame(kind, payload, head_crc, is_last=position == len(chunks) - 1)[0])
    return b"".join(parts)


# --- ancillary chunks ------------------------------------------------------------------------------------------------


def parse_hash(payload: bytes) -> list[tuple[int, bytes]] | None:
    """Clause 12.3: (pass, digest) of each entry, or None where the content is to be ignored."""
    size = layout.HASH_ENTRY.sizeof(length=32)
    if len(payload) % size:
        return None
    raw = [layout.HASH_ENTRY.parse(payload[at : at + size]) for at in range(0, len(payload), size)]
    entries = [(entry["pass"], bytes(entry.digest)) for entry in raw]
    passes = [index for index, _ in entries]
    return entries if passes == sorted(set(passes)) else None


def build_hash(entries: list[tuple[int, bytes]]) -> bytes:
    return b"".join(layout.HASH_ENTRY.build({"pass": index, "digest": digest}) for index, digest in entries)


def parse_meta(payload: bytes) -> dict[str, str] | None:
    """Clause 12.2: keys and values, or None where the content is to be ignored."""
    pairs: list[tuple[bytes, bytes]] = []
    position = 0
    try:
        while position < len(payload):
            key = layout.META_KEY.parse(payload[position:])
            position += 1 + key.length
            value = layout.META_VALUE.parse(payload[position:])
            position += 2 + value.length
            pairs.append((key.key, value.value))
        texts = {key.decode(): value.decode() for key, value in pairs}
    except (Fault, UnicodeDecodeError):
        return None
    ascending = all(first[0] < second[0] for first, second in zip(pairs, pairs[1:], strict=False))
    return texts if ascending and all(map(_is_text, texts, texts.values())) else None


def _is_text(key: str, value: str) -> bool:
    return not any(ord(c) < 32 or ord(c) == 127 for c in key + value.replace("\n", ""))


def build_meta(meta: dict[str, str]) -> bytes:
    """Clause 12.2.

    Raises:
        UsageError: a key or value that cannot be written.
    """
    parts = []
    for key, value in sorted((key.encode(), value.encode()) for key, value in meta.items()):
        if not 0 < len(key) < 256 or len(value) >= 1 << 16 or not _is_text(key.decode(), value.decode()):
            raise error("USAGE", f"metadata {key.decode()!r} is too long or has control characters")
        parts.append(layout.META_KEY.build({"length": len(key), "key": key}))
        parts.append(layout.META_VALUE.build({"length": len(value), "value": value}))
    return b"".join(parts)
