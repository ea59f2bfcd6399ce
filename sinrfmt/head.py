"""HEAD: bytes to a frozen description and back, with every rule that spans fields.

Specification: clause 6. What the single fields are and allow is in :mod:`sinrfmt.layout`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, cycle, pairwise
from typing import Any, TypeGuard

import numpy as np
from construct import Container

from sinrfmt import layout
from sinrfmt.faults import error
from sinrfmt.network import (
    LATTICE_KINDS,
    LEVEL_ORDINAL,
    FourierEncoding,
    GridEncoding,
    InputEncoding,
    InputRecord,
    LayerRecord,
    MultiplyRecord,
    Network,
    PyramidEncoding,
    Record,
    SeededFourierEncoding,
    Tensor,
)
from sinrfmt.parts import SHARED_PART, Parts
from sinrfmt.registry import (
    KINDS_WITH_OMEGA,
    LEVELS,
    VERSION_MAJOR,
    VERSION_MINOR,
    ContextId,
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

_HALF, _NO_BIAS, _ROW_STEPS, _PRIOR, _TOOL = 0x40, 0x20, 0x10, 0x08, 0x07
PYRAMID_DIMS_LIMIT = 4


@dataclass(frozen=True)
class Header:
    """What HEAD says.

    ``grid`` is empty where there is no native grid; ``box`` has (low, high) for each axis for coords BOX only;
    ``quality`` is the PSNR in dB announced for each pass, or None. ``base_digest`` (16 bytes, or None) is the state
    digest of the base that the weights are relative to (clause 9.8). ``parts`` says how the grid is cut (clause 13.1);
    ``coded_part`` is for what :meth:`of_chunk` gives: the chunk whose tensors are ``tensors``.
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
    base_digest: bytes | None = None
    profile: Profile = Profile.CORE
    level: Level = LEVELS[1]
    parts: Parts | None = None
    coded_part: int | None = None
    version_minor: int = VERSION_MINOR

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of the network in table order, as this file codes them."""
        is_relative = self.base_digest is not None
        tensors = (replace(tensor, is_relative=is_relative) for tensor in self.network.tensors)
        if self.coded_part is None or self.parts is None or not self.parts.shared:
            return tuple(tensors)
        is_shared = self.coded_part == SHARED_PART
        return tuple(tensor for tensor in tensors if (tensor.ordinal < LEVEL_ORDINAL) == is_shared)

    @cached_property
    def n_parameters(self) -> int:
        """Of all tensors, of all parts where there are parts."""
        if self.parts is None or self.coded_part is not None:
            return sum(tensor.size for tensor in self.tensors)
        shared = self.of_chunk(SHARED_PART).n_parameters if self.parts.shared else 0
        return shared + sum(n * self._of_lattice(0, shape).n_parameters for shape, n in self.parts.shapes())

    def of_chunk(self, part: int) -> "Header":
        """What a PASS chunk of a part, or of the shared tensors, is coded by."""
        assert self.parts is not None
        return self._of_lattice(part, self.parts.shape(0 if part == SHARED_PART else part))

    def _of_lattice(self, part: int, shape: tuple[int, ...]) -> "Header":
        return replace(self, network=over_lattice(self.network, shape), grid=shape, coded_part=part)

    def of_part(self, part: int) -> "Header":
        """That of a file of this part alone; its level is kept."""
        return replace(self.of_chunk(part), parts=None, coded_part=None)

    def tensors_of(self, index: int) -> tuple[Tensor, ...]:
        """Those that may have an entry in the table of a pass: the ones that begin in it or before it."""
        return tuple(tensor for tensor in self.tensors if tensor.begins <= index)


def over_lattice(network: Network, shape: tuple[int, ...]) -> Network:
    """The network of a part with another lattice."""
    encoding = network.input_encoding
    if not isinstance(encoding, PyramidEncoding):
        return network
    return replace(network, input_encoding=replace(encoding, grid=shape))


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


def base_digest_offset(payload: bytes) -> int:
    """Where ``base_digest`` stands in the payload of a HEAD that is valid and has one."""
    return int(layout.HEAD.parse(payload).base_offset)


def _header(raw: Container) -> Header:
    encodings = [r for r in raw.records if r.kind in layout.ENCODING_KINDS]
    records = tuple(_record(r) for r in raw.records if r.kind not in layout.ENCODING_KINDS)
    outputs = sum(r.body.width for r in raw.records if r.kind == RecordKind.OUTPUT)
    # HED-14 comes after the limits, which are for a network: until then its last layer may have nothing left to give.
    last = _layer_record(raw.last_record.kind, raw.last_record.body, width=max(raw.out_channels - outputs, 0))
    network = Network(
        in_dims=raw.in_dims,
        out_channels=raw.out_channels,
        records=(*records, last),
        input_encoding=_encoding(encodings[0], tuple(raw.grid)) if encodings else None,
        active_widths=_active_widths(raw),
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
        box=tuple(zip(raw.box.low, raw.box.high, strict=True)) if raw.box is not None else None,
        base_digest=raw.base_digest,
        profile=Profile(raw.profile_level >> 4),
        level=LEVELS[raw.profile_level & 15],
        parts=_parts(raw),
        version_minor=raw.version & 15,
    )


def _parts(raw: Container) -> Parts | None:
    """PRT-1 to PRT-4 are not checked yet."""
    if raw.parts is None:
        return None
    return Parts(tuple(raw.grid), tuple(raw.parts.split), tuple(raw.parts.overlap), bool(raw.parts.shared))


def _active_widths(raw: Container) -> tuple[tuple[int, ...], ...]:
    """Pass by pass; WID-1 and WID-2 are not checked yet."""
    n_passes = raw.n_passes - 1
    if not raw.active_width:
        return ()
    n = len(raw.active_width) // n_passes
    return tuple(tuple(raw.active_width[index * n : (index + 1) * n]) for index in range(n_passes))


def _record(raw: Container) -> Record:
    body = raw.body
    if raw.kind == RecordKind.INPUT:
        return InputRecord(body.first, body.count, None if body.fourier is None else _fourier(body.fourier))
    if raw.kind == RecordKind.MULTIPLY:
        return MultiplyRecord(body.layer)
    if raw.kind == RecordKind.OUTPUT:
        return _layer_record(body.kind, body, width=body.width, is_output=True)
    if raw.kind == RecordKind.FILTER:
        return _layer_record(raw.kind, body, width=0)
    return _layer_record(raw.kind, body, width=body.width, repeat=body.repeat, scale=body.scale or 1.0)


def _layer_record(kind: int, body: Container, **fields: Any) -> LayerRecord:
    """Of a layer, or how the weights of a latent grid or pyramid are coded."""
    flags = body.tool_flags
    omega = body.get("omega")
    return LayerRecord(
        kind=RecordKind(kind),
        omega=1.0 if omega is None else float(omega.omega or omega.omega_binary32),
        tool=Tool(flags & _TOOL),
        prior=bool(flags & _PRIOR),
        row_steps=bool(flags & _ROW_STEPS),
        bias=not flags & _NO_BIAS,
        half=bool(flags & _HALF),
        **fields,
    )


def _encoding(raw: Container, grid: tuple[int, ...]) -> InputEncoding:
    if raw.kind == RecordKind.FOURIER_SEEDED:
        return SeededFourierEncoding(raw.body.n_features, raw.body.scale)
    if raw.kind == RecordKind.GRID:
        return _grid_encoding(raw)
    if raw.kind == RecordKind.PYRAMID:
        return _pyramid_encoding(raw, grid)
    return _fourier(raw.body)


def _fourier(body: Container) -> FourierEncoding:
    base = float(body.base or body.base_binary32)
    return FourierEncoding(body.octaves, base, bool(body.flags & 1), bool(body.flags & 2))


def _grid_encoding(raw: Container) -> GridEncoding:
    body = raw.body
    if body.flags & layout.ISOTROPIC:
        resolutions = tuple((n,) * body.n_axes for n in body.resolutions)
    else:
        resolutions = tuple(zip(*[iter(body.resolutions)] * body.n_axes, strict=True))
    return GridEncoding(
        resolutions=resolutions,
        latent_dim=body.latent_dim,
        feature_dim=body.feature_dim,
        log2_table_size=body.log2_table_size,
        summed=bool(body.flags & layout.SUM),
        append_input=bool(body.flags & layout.APPEND_INPUT),
        decoder_per_level=bool(body.flags & layout.DECODER_PER_LEVEL),
        record=_layer_record(raw.kind, body, width=1),
    )


def _pyramid_encoding(raw: Container, grid: tuple[int, ...]) -> PyramidEncoding:
    body = raw.body
    return PyramidEncoding(
        grid=grid,
        n_levels=body.n_levels,
        axes=tuple(_set_bits(body.axes)),
        filter_numbers=body.filter & 15,
        shared_filter=bool(body.filter & layout.SHARED_FILTER),
        context=ContextId(body.context & 3),
        context_width=4 * ((body.context >> 4) + 1),
        context_hidden=body.context >> 2 & 3,
        record=_layer_record(raw.kind, body, width=1),
    )


def _quality(raw: Container) -> tuple[float, ...] | None:
    for bit, block in zip(_set_bits(raw.features_optional), raw.optional_blocks, strict=True):
        if bit == OptionalFeature.QUALITY:
            return tuple(float(q) / 100 for q in np.frombuffer(block.data, dtype="<u2"))
    return None


def _set_bits(value: int) -> Iterator[int]:
    return (bit for bit in range(8) if value >> bit & 1)


# Error, measure and name of the limit, layers first: the later ones expand the network.
NETWORK_LIMITS: tuple[tuple[str, Callable[[Header], int], str], ...] = (
    ("LIMIT_LAYERS", lambda header: header.network.n_layers, "layers"),
    ("LIMIT_WIDTH", lambda header: header.network.widest, "width"),
    ("LIMIT_PARAMETERS", lambda header: header.n_parameters, "parameters"),
)

# Rules that span fields, in the order in which they are checked (clauses 5.5 and 9.6.2).


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
        if record.kind in layout.ENCODING_KINDS:
            raise Fault("BAD_RECORD", "an input encoding is the first record", offset=record.offset, path="records")


# Bytes from the start of a record to its tool_flags, where the kind has them.
_FLAGS_AT = dict.fromkeys((*layout.LAYER_KINDS, *layout.LATENT_KINDS, RecordKind.FILTER), 1) | {RecordKind.OUTPUT: 2}


def _tool_flags_of(raw: Container) -> Iterator[tuple[int, int]]:
    """(tool_flags, their offset) of every record that has them."""
    for record in (*raw.records, raw.last_record):
        if record.kind in _FLAGS_AT:
            yield record.body.tool_flags, record.offset + _FLAGS_AT[record.kind]


def _flags_fit_the_tool(raw: Container, header: Header) -> None:
    """HED-6."""
    for flags, offset in _tool_flags_of(raw):
        tool = flags & _TOOL
        quantised = tool in (Tool.SCALAR, Tool.TRELLIS, Tool.SPARSE)
        allowed = tool != Tool.LATENT and (quantised or not flags & (_PRIOR | _ROW_STEPS))
        if not allowed or (flags & _HALF and tool != Tool.RAW):
            message = f"tool_flags {flags:#04x}: a flag that tool {tool} does not have"
            raise Fault("BAD_RECORD", message, offset=offset, path="tool_flags")


def _by_record(raw: Container) -> list[list[int]]:
    """The active widths of each record but the last, pass by pass; none of those that are not layers."""
    n = sum(record.kind in layout.LAYER_KINDS for record in raw.records)
    place = count()
    active = raw.active_width or []
    return [active[next(place) :: n] if record.kind in layout.LAYER_KINDS else [] for record in raw.records]


def _layer_identity(record: Container) -> tuple[Any, ...]:
    omega = record.body.omega
    return (
        record.kind,
        record.body.tool_flags,
        record.body.width,
        None if omega is None else (omega.omega, omega.omega_binary32),
        record.body.scale,
    )


def _equal_layers_are_merged(raw: Container, header: Header) -> None:
    """HED-7."""
    active = _by_record(raw)
    for (first, its_active), (second, also_active) in pairwise(zip(raw.records, active, strict=True)):
        is_same_kind = first.kind == second.kind and first.kind in layout.LAYER_KINDS
        if is_same_kind and its_active == also_active and _layer_identity(first) == _layer_identity(second):
            raise Fault("BAD_RECORD", "equal layers are one record", offset=second.offset, path="records")


def _inputs_are_axes(raw: Container, header: Header) -> None:
    """HED-13."""
    for index, record in enumerate(raw.records):
        if record.kind != RecordKind.INPUT:
            continue
        first, count = record.body.first, record.body.count
        if first + count > raw.in_dims:
            message = f"axes {first} to {first + count - 1} of {raw.in_dims}"
            raise Fault("BAD_RECORD", message, offset=record.offset + 1, path="records.first")
        if index == 0 and count == raw.in_dims:
            message = "an INPUT of all axes that is first says what is so without it"
            raise Fault("BAD_RECORD", message, offset=record.offset, path="records")


def _outputs_leave_some(raw: Container, header: Header) -> None:
    """HED-14."""
    left = raw.out_channels
    for record in raw.records:
        if record.kind == RecordKind.OUTPUT:
            left -= record.body.width
            if left <= 0:
                message = f"OUTPUT records leave nothing of {raw.out_channels} values for the last layer"
                raise Fault("BAD_RECORD", message, offset=record.offset + 3, path="records.width")


def _grid_fits(raw: Container, header: Header) -> None:
    """GRD-1."""
    encoding = header.network.input_encoding
    if isinstance(encoding, GridEncoding) and encoding.n_axes > raw.in_dims:
        message = f"a grid of {encoding.n_axes} axes for {raw.in_dims} coordinates"
        raise Fault("BAD_RECORD", message, offset=raw.records[0].offset + 2, path="records.n_axes")


def _pyramid_fits(raw: Container, header: Header) -> None:
    """GRD-2."""
    encoding = header.network.input_encoding
    if not isinstance(encoding, PyramidEncoding):
        return
    n, offset = raw.in_dims, raw.records[0].offset
    plane = (n - 2, n - 1)
    rules = (
        (bool(header.grid) and n <= PYRAMID_DIMS_LIMIT, 0, "a pyramid needs a native grid of at most 4 axes"),
        (encoding.axes[-1] < n, 3, f"axis {encoding.axes[-1]} of {n} axes"),
        (not encoding.has_context or encoding.axes == plane, 5, "a context needs the last two axes to be those halved"),
    )
    for holds, field, message in rules:
        if not holds:
            raise Fault("BAD_RECORD", message, offset=offset + field, path="records")


def _lattice_filters_fit(raw: Container, header: Header) -> None:
    """GRD-3."""
    network = header.network
    n_values = network.input_width
    described = [record for record in (*raw.records, raw.last_record) if record.kind not in layout.ENCODING_KINDS]
    for place, behind, record in zip(described, (*described[1:], None), network.records, strict=True):
        if isinstance(record, InputRecord):
            n_values += record.n_out
            continue
        if isinstance(record, MultiplyRecord):
            continue
        is_filter = record.kind in LATTICE_KINDS
        if is_filter and not isinstance(network.input_encoding, PyramidEncoding):
            raise Fault("BAD_RECORD", "a lattice filter without a pyramid", offset=place.offset, path="records")
        if is_filter and behind is not None and behind.kind not in LATTICE_KINDS:
            raise Fault("BAD_RECORD", "another record behind a lattice filter", offset=place.offset, path="records")
        if is_filter and record.width != n_values:
            message = f"a lattice filter of {n_values} inputs with {record.width} outputs"
            raise Fault("BAD_RECORD", message, offset=place.offset, path="records")
        if not record.is_output and record.kind is not RecordKind.FILTER:
            n_values = record.width * (2 if record.kind is RecordKind.GABOR else 1)


def _parts_stand_alone(raw: Container, header: Header) -> None:
    """PRT-1."""
    if raw.parts is not None and (raw.base_digest is not None or raw.active_width is not None):
        raise Fault("FEATURE_MISMATCH", "PARTS with SHARED_BASE or WIDTHS", offset=2, path="features_required")


def _grid_can_be_cut(raw: Container, header: Header) -> None:
    """PRT-2."""
    if header.parts is None:
        return
    n = header.parts.count
    fits = all(1 <= n_parts <= n_samples for n_parts, n_samples in zip(header.parts.split, raw.grid, strict=True))
    if not header.grid or header.coords is not Coords.CENTRES or not fits or n < 2:
        message = f"a grid of {tuple(raw.grid)} in {n} parts"
        raise Fault("BAD_DIMENSIONS", message, offset=raw.parts_offset, path="split")


def _parts_are_bounded(raw: Container, header: Header) -> None:
    """PRT-5."""
    if header.parts is not None and header.parts.count > header.level.parts:
        message = f"{header.parts.count} parts, level {header.level.id} allows {header.level.parts}"
        raise Fault("LIMIT_PARTS", message, offset=raw.parts_offset, path="split")


def _overlap_is_in_parts(raw: Container, header: Header) -> None:
    """PRT-3."""
    for axis in header.parts.axes if header.parts is not None else ():
        most = axis.n_samples // axis.n_parts // 2 if axis.n_parts > 1 else 0
        if axis.overlap > most:
            message = f"an overlap of {axis.overlap}, at most {most}"
            raise Fault("BAD_DIMENSIONS", message, offset=raw.parts.overlap_offset, path="overlap")


def _something_is_not_shared(raw: Container, header: Header) -> None:
    """PRT-4."""
    if header.parts is not None and header.parts.shared and header.network.latents is None:
        raise Fault("BAD_RECORD", "everything would be shared", offset=raw.parts.shared_offset, path="shared")


CHAIN_KINDS = (layout.LAYER_KINDS | layout.ENCODING_KINDS) - LATTICE_KINDS - layout.LATENT_KINDS - {RecordKind.GABOR}
"""Records of a network that may grow."""


def _growth_is_possible(raw: Container, header: Header) -> None:
    """WID-1."""
    if raw.active_width is None:
        return
    widths = _growing_widths(raw)
    rules = (
        (raw.n_passes > 1, "one pass"),
        (raw.base_digest is None, "SHARED_BASE"),
        (all(r.kind in CHAIN_KINDS for r in (*raw.records, raw.last_record)), "a record that is not of a chain"),
        (any(active < width for active, width in zip(raw.active_width, cycle(widths), strict=False)), "no growth"),
    )
    for holds, what in rules:
        if not holds:
            raise Fault("FEATURE_MISMATCH", f"WIDTHS with {what}", offset=2, path="features_required")


def _widths_do_not_fall(raw: Container, header: Header) -> None:
    """WID-2."""
    widths = _growing_widths(raw)
    least = [1] * len(widths)
    for index, active in enumerate(header.network.active_widths):
        for place, (found, low, high) in enumerate(zip(active, least, widths, strict=True)):
            if not low <= found <= high:
                message = f"{found} units after pass {index}, expected {low} to {high}"
                offset = raw.widths_offset + 2 * (index * len(widths) + place)
                raise Fault("BAD_RECORD", message, offset=offset, path="active_width")
        least = list(active)


def _growing_widths(raw: Container) -> list[int]:
    """Widths of the records that have an active_width."""
    return [record.body.width for record in raw.records if record.kind in layout.LAYER_KINDS]


def _network_is_bounded(raw: Container, header: Header) -> None:
    """HED-8."""
    level = header.level
    for name, measure, limit in NETWORK_LIMITS:
        found, allowed = measure(header), getattr(level, limit)
        if found > allowed:
            raise Fault(name, f"found {found}, level {level.id} allows {allowed}", offset=raw.records_offset)


def _used_features_are_set(raw: Container, header: Header) -> None:
    """HED-9."""
    set_bits = raw.features_required
    for record in (*raw.records, raw.last_record):
        if record.kind == RecordKind.FOURIER_SEEDED:
            needed, offset = [Feature.SEEDED], record.offset
        elif record.kind in _FLAGS_AT:
            needed, offset = _features_of_flags(record.body.tool_flags), record.offset + _FLAGS_AT[record.kind]
        else:
            continue
        for feature in needed:
            if not set_bits >> feature & 1:
                raise Fault("FEATURE_MISMATCH", f"a record needs {feature.name}", offset=offset, path="records")
    if header.dictionary and not set_bits >> Feature.SPARSE & 1:
        raise Fault("FEATURE_MISMATCH", "a dictionary law without SPARSE", offset=raw.seeded_offset, path="seeded")


def _features_of_flags(flags: int) -> list[Feature]:
    by_tool = {Tool.TRELLIS: [Feature.TRELLIS], Tool.SPARSE: [Feature.SPARSE, Feature.SEEDED]}
    needed = by_tool.get(Tool(flags & _TOOL), [])
    return [*needed, Feature.SEEDED] if flags & _PRIOR else needed


def _set_features_are_used(raw: Container, header: Header) -> None:
    """HED-10."""
    used = _required_features(header)
    for feature in (Feature.TRELLIS, Feature.SPARSE, Feature.SEEDED, Feature.WIDE):
        if raw.features_required >> feature & 1 and not used >> feature & 1:
            raise Fault("FEATURE_MISMATCH", f"{feature.name} is not needed", offset=2, path="features_required")


def _quality_fits(raw: Container, header: Header) -> None:
    """HED-11."""
    for bit, block in zip(_set_bits(raw.features_optional), raw.optional_blocks, strict=True):
        if bit == OptionalFeature.QUALITY and block.length != 2 * raw.n_passes:
            message = f"QUALITY has {block.length} bytes, not {2 * raw.n_passes}"
            raise Fault("BAD_OPTIONAL_BLOCK", message, offset=block.offset, path="optional_blocks")


def _fourier_bodies(raw: Container) -> Iterator[tuple[Container, int]]:
    """(fields of FOURIER, offset of their byte ``base``) of every record that has them."""
    for record in raw.records:
        if record.kind == RecordKind.FOURIER:
            yield record.body, record.offset + 3
        elif record.kind == RecordKind.INPUT and record.body.fourier is not None:
            yield record.body.fourier, record.offset + 6


def _frequencies_are_bounded(raw: Container, header: Header) -> None:
    """HED-12."""
    for body, offset in _fourier_bodies(raw):
        encoding = _fourier(body)
        highest = replace(encoding, times_pi=False).frequencies[-1]
        if highest >= layout.FLOAT_LIMIT:
            message = f"the highest frequency is {highest:g}, expected below 2^64"
            raise Fault("BAD_FLOAT", message, offset=offset, path="records.base")


def _grid_feature_is_right(raw: Container, header: Header) -> None:
    """GRD-4."""
    is_set = bool(raw.features_required >> Feature.GRID & 1)
    if header.network.latents is not None and not is_set:
        raise Fault("FEATURE_MISMATCH", "a record needs GRID", offset=raw.records[0].offset, path="records")
    if is_set and header.network.latents is None:
        raise Fault("FEATURE_MISMATCH", "GRID is not needed", offset=2, path="features_required")


def _shared_base_has_no_prior(raw: Container, header: Header) -> None:
    """HED-15."""
    for flags, offset in _tool_flags_of(raw):
        if raw.base_digest is not None and flags & (_PRIOR | _ROW_STEPS):
            message = "prior and row steps are for weights that are not relative to a base"
            raise Fault("BAD_RECORD", message, offset=offset, path="tool_flags")


def _factors_are_there(raw: Container, header: Header) -> None:
    """HED-16."""
    n_values = header.network.input_width
    widths: list[int] = []  # outputs of the layers so far
    multiplies = (record for record in raw.records if record.kind == RecordKind.MULTIPLY)
    for step in header.network.steps:
        if isinstance(step, MultiplyRecord):
            offset = next(multiplies).offset + 1
            if step.layer >= len(widths) or widths[step.layer] != n_values:
                found = f"{widths[step.layer]} outputs" if step.layer < len(widths) else f"behind {len(widths)} layers"
                message = f"{n_values} values by layer {step.layer}: {found}"
                raise Fault("BAD_RECORD", message, offset=offset, path="records.layer")
        elif isinstance(step, InputRecord):
            n_values += step.n_out
        else:
            widths.append(step.n_out)
            n_values = n_values if step.record.is_output else step.n_out


HEAD_RULES: tuple[Callable[[Container, Header], None], ...] = (
    _grid_is_whole,
    _grid_is_bounded,
    _box_is_proper,
    _encoding_is_first,
    _flags_fit_the_tool,
    _equal_layers_are_merged,
    _inputs_are_axes,
    _outputs_leave_some,
    _grid_fits,
    _pyramid_fits,
    _lattice_filters_fit,
    _parts_stand_alone,
    _grid_can_be_cut,
    _overlap_is_in_parts,
    _something_is_not_shared,
    _parts_are_bounded,
    _growth_is_possible,
    _widths_do_not_fall,
    _network_is_bounded,
    _used_features_are_set,
    _set_features_are_used,
    _quality_fits,
    _frequencies_are_bounded,
    _grid_feature_is_right,
    _shared_base_has_no_prior,
    _factors_are_there,
)


def _required_features(header: Header) -> int:
    """The feature bits that the content needs."""
    network = header.network
    needed = {feature for record in network.coded_records for feature in _features_of_flags(_tool_flags(record))}
    if network.latents is not None:
        needed.add(Feature.GRID)
    if isinstance(network.input_encoding, SeededFourierEncoding):
        needed.add(Feature.SEEDED)
    if max(header.grid, default=0) >= 1 << 16 or (header.seed or 0) >= 1 << 32:
        needed.add(Feature.WIDE)
    if header.base_digest is not None:
        needed.add(Feature.SHARED_BASE)
    if network.active_widths:
        needed.add(Feature.WIDTHS)
    if header.parts is not None:
        needed.add(Feature.PARTS)
    return sum(1 << feature for feature in needed)


def build_head(header: Header) -> bytes:
    """Clause 6: the payload of HEAD, parsed back so that nothing is written that a decoder refuses.

    Raises:
        Fault: the header cannot be written.
    """
    network = header.network
    if isinstance(network.input_encoding, PyramidEncoding) and network.input_encoding.grid != header.grid:
        raise Fault("BAD_RECORD", f"a pyramid over {network.input_encoding.grid} on a grid of {header.grid}")
    features = _required_features(header)
    records = list(network.records[:-1]) if network.active_widths else _merge_records(network.records[:-1])
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
        "box": dict(zip(("low", "high"), zip(*header.box, strict=True), strict=True)) if header.box else None,
        "seeded": _raw_seeded(header) if features >> Feature.SEEDED & 1 else None,
        "n_records": len(encoding) + len(records) + 1,
        "records": encoding + [_raw_record(record) for record in records],
        "last_record": _raw_last_record(network.records[-1]),
        "parts": None if header.parts is None else _raw_parts(header.parts),
        "active_width": [width for active in network.active_widths for width in active] or None,
        "base_digest": header.base_digest,
        "optional_blocks": optional,
    }
    payload = bytes(layout.HEAD.build(raw))
    parse_head(payload)
    return payload


def _merge_records(records: tuple[Record, ...]) -> list[Record]:
    """Equal neighbours written once (HED-7). No level has room for more than one record can repeat."""
    merged: list[Record] = []
    for record in records:
        last = merged[-1] if merged else None
        if _can_repeat(record) and _can_repeat(last) and replace(last, repeat=record.repeat) == record:
            merged[-1] = replace(record, repeat=last.repeat + record.repeat)
        else:
            merged.append(record)
    return merged


def _can_repeat(record: Record | None) -> TypeGuard[LayerRecord]:
    """Whether it is of the group layer."""
    return isinstance(record, LayerRecord) and not record.is_output and record.kind is not RecordKind.FILTER


def _tool_flags(record: LayerRecord) -> int:
    bits = ((_PRIOR, record.prior), (_ROW_STEPS, record.row_steps), (_NO_BIAS, not record.bias), (_HALF, record.half))
    return record.tool | sum(bit for bit, is_set in bits if is_set)


def _byte_or_float(value: float, name: str, low: int) -> dict[str, Any]:
    fits = float(value).is_integer() and low <= value <= 255
    return {name: int(value) if fits else 0, f"{name}_binary32": None if fits else float(value)}


def _raw_record(record: Record) -> dict[str, Any]:
    if isinstance(record, InputRecord):
        return {"kind": RecordKind.INPUT, "body": _raw_input(record)}
    if isinstance(record, MultiplyRecord):
        return {"kind": RecordKind.MULTIPLY, "body": {"layer": record.layer}}
    body = _raw_layer(record)
    if record.kind is RecordKind.FILTER:
        return {"kind": record.kind, "body": body}
    body["width"] = record.width
    if record.is_output:
        return {"kind": RecordKind.OUTPUT, "body": body | {"kind": record.kind}}
    scale = record.scale if record.kind is RecordKind.GABOR else None
    return {"kind": record.kind, "body": body | {"repeat": record.repeat, "scale": scale}}


def _raw_last_record(record: Record) -> dict[str, Any]:
    if not _can_repeat(record):
        raise Fault("BAD_RECORD", "the last record is a layer", path="last_record")
    return {"kind": record.kind, "body": _raw_layer(record)}


def _raw_layer(record: LayerRecord) -> dict[str, Any]:
    omega = _byte_or_float(record.omega, "omega", 1) if record.kind in KINDS_WITH_OMEGA else None
    return {"tool_flags": _tool_flags(record), "omega": omega}


def _raw_input(record: InputRecord) -> dict[str, Any]:
    fourier = None if record.encoding is None else _raw_fourier(record.encoding)
    encoding = 0 if fourier is None else RecordKind.FOURIER
    return {"first": record.first, "count": record.count, "encoding": encoding, "fourier": fourier}


def _raw_encoding(encoding: InputEncoding) -> dict[str, Any]:
    if isinstance(encoding, SeededFourierEncoding):
        body: dict[str, Any] = {"n_features": encoding.n_features, "scale": encoding.scale}
        return {"kind": RecordKind.FOURIER_SEEDED, "body": body}
    if isinstance(encoding, GridEncoding):
        return {"kind": RecordKind.GRID, "body": _raw_grid(encoding)}
    if isinstance(encoding, PyramidEncoding):
        return {"kind": RecordKind.PYRAMID, "body": _raw_pyramid(encoding)}
    return {"kind": RecordKind.FOURIER, "body": _raw_fourier(encoding)}


def _raw_fourier(encoding: FourierEncoding) -> dict[str, Any]:
    flags = encoding.include_input | encoding.times_pi << 1
    return {"flags": flags, "octaves": encoding.octaves} | _byte_or_float(encoding.base, "base", 2)


def _raw_grid(encoding: GridEncoding) -> dict[str, Any]:
    is_isotropic = encoding.n_axes > 1 and all(len(set(level)) == 1 for level in encoding.resolutions)
    bits = (
        (layout.SUM, encoding.summed),
        (layout.APPEND_INPUT, encoding.append_input),
        (layout.ISOTROPIC, is_isotropic),
        (layout.DECODER_PER_LEVEL, encoding.decoder_per_level),
    )
    return {
        "tool_flags": _tool_flags(encoding.record),
        "n_axes": encoding.n_axes,
        "n_levels": encoding.n_levels,
        "latent_dim": encoding.latent_dim,
        "feature_dim": encoding.feature_dim,
        "log2_table_size": encoding.log2_table_size,
        "flags": sum(bit for bit, is_set in bits if is_set),
        "resolutions": [n for level in encoding.resolutions for n in (level[:1] if is_isotropic else level)],
    }


def _raw_pyramid(encoding: PyramidEncoding) -> dict[str, Any]:
    network = (encoding.context_width // 4 - 1) << 4 | encoding.context_hidden << 2 if encoding.has_context else 0
    return {
        "tool_flags": _tool_flags(encoding.record),
        "n_levels": encoding.n_levels,
        "axes": sum(1 << axis for axis in encoding.axes),
        "filter": encoding.filter_numbers | (layout.SHARED_FILTER if encoding.shared_filter else 0),
        "context": encoding.context | network,
    }


def _raw_seeded(header: Header) -> dict[str, int]:
    return {"rng_dictionary": Rng.PHILOX4X32_10 << 4 | header.dictionary, "seed": header.seed or 0}


def _raw_parts(parts: Parts) -> dict[str, Any]:
    return {"split": parts.split, "overlap": parts.overlap, "shared": int(parts.shared)}


def _raw_quality(quality: tuple[float, ...]) -> dict[str, Any]:
    data = np.round(np.asarray(quality) * 100).clip(0, 65535).astype("<u2").tobytes()
    return {"length": len(data), "data": data}


def fitting_level(least: Level, n_bytes: int, n_symbols: int = 0) -> Level:
    """The lowest level from ``least`` on that allows a file of so many bytes and symbols.

    Raises:
        LimitError: none does.
    """
    for level in LEVELS.values():
        if level.id >= least.id and level.file_bytes >= n_bytes and level.symbols >= n_symbols:
            return level
    raise error("LIMIT_FILE_BYTES", f"{n_bytes} bytes are more than the highest level allows")


def lowest_level(network: Network, grid: tuple[int, ...], parts: Parts | None = None) -> Level:
    """The lowest level whose limits on network, grid and parts hold; file bytes and symbols are seen to by the writer.

    Raises:
        LimitError: beyond the highest level.
    """
    header = Header(network, Modality.FIELD, grid, parts=parts)
    found = [(name, measure(header), limit) for name, measure, limit in NETWORK_LIMITS]
    found.append(("LIMIT_GRID", math.prod(grid), "grid_samples"))
    found.append(("LIMIT_PARTS", 0 if parts is None else parts.count, "parts"))
    for level in LEVELS.values():
        exceeded = [(name, value) for name, value, limit in found if value > getattr(level, limit)]
        if not exceeded:
            return level
    name, value = exceeded[0]
    raise error(name, f"found {value}, the highest level allows less")
