"""Scientific fields on the command line: the handler of ``encode`` and ``decode`` for arrays and NetCDF.

What maps values back to samples, and what a reader should know about them, goes into META: range, type, units, name,
axes and their coordinates, and where values are missing. Coordinates that are evenly spaced are kept as the first and
the last one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt import plot
from sinrfmt.cli.handlers import Decoding, Encoded, Handler, Writer
from sinrfmt.cli.options import torch_api
from sinrfmt.cli.progress import OnProgress
from sinrfmt.cli.requests import COMMON_DECODE, EncodeRequest
from sinrfmt.cli.sampled import check_request, decoded_samples, encode_signal
from sinrfmt.cli.writers import samples_or_values
from sinrfmt.faults import error
from sinrfmt.media.fields import NETCDF_SUFFIXES, SampledField, read_field, write_field
from sinrfmt.registry import Modality

Bools = NDArray[np.bool_]

VARIABLE, UNITS, AXES, COORDS, FILL, MISSING, RUNS, CHANNEL_AXIS = (
    *("variable", "units", "axes", "coords.", "fill_value", "n_missing", "missing", "channel_axis"),
)
"""Keys of META; that of coordinates ends with the name of the axis."""
RANGE, LIST = "..", ","
"""What separates the first and the last of even coordinates, and all of others."""
EVEN = 1e-9
"""Largest deviation of coordinates from even ones, of their span."""


def encode(source: Path, request: EncodeRequest, on_progress: OnProgress | None) -> Encoded:
    """Fit a field."""
    check_request(request)
    found = read_field(source, request.variable)
    is_missing = ~np.isfinite(found.samples)
    samples, missing = _filled(found.samples, is_missing, request.fill, source)
    has_channels = request.channel_axis is not None
    if request.channel_axis is not None:
        samples, is_missing = (_channels_last(array, request.channel_axis) for array in (samples, is_missing))
    meta = _meta(found, request) | missing
    try:
        signal = torch_api().array_signal(
            samples, modality=_modality(samples, request), has_channels=has_channels, meta=meta
        )
    except ValueError as failure:
        raise error("USAGE", f"{source}: {failure}") from failure
    if RUNS not in missing:
        return encode_signal(signal, request, found.units, on_progress)
    made = encode_signal(signal, request, found.units, on_progress, present=~is_missing)
    return replace(made, line=f"{made.line}; {missing[MISSING]} values are missing and stay so")


def _filled(
    samples: NDArray[Any], is_missing: Bools, fill: float | None, source: Path
) -> tuple[NDArray[Any], dict[str, str]]:
    """Samples without NaN, and what META says of those that were missing."""
    if not is_missing.any():
        return samples, {}
    if is_missing.all():
        raise error("USAGE", f"{source}: all {samples.size} values are missing or not finite")
    meta = {MISSING: str(np.count_nonzero(is_missing))}
    if fill is not None:
        return np.where(is_missing, samples.dtype.type(fill), samples), {FILL: repr(fill)} | meta
    return _spread(samples, is_missing), {RUNS: _runs_text(is_missing)} | meta


def _spread(samples: NDArray[Any], is_missing: Bools) -> NDArray[Any]:
    """Missing values as means of their neighbours, from those that are there inwards: nothing that costs bytes."""
    values = np.where(is_missing, 0.0, samples.astype(np.float64))
    known = ~is_missing
    while not known.all():
        sums, counts = (_neighbour_sums(array) for array in (values, known.astype(np.float64)))
        reached = ~known & (counts > 0)
        values[reached] = sums[reached] / counts[reached]
        known |= reached
    return values.astype(samples.dtype)


def _neighbour_sums(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the two neighbours on every axis; none beyond the ends."""
    sums = np.zeros_like(array)
    for axis in range(array.ndim):
        target, source = np.moveaxis(sums, axis, 0), np.moveaxis(array, axis, 0)
        target[1:] += source[:-1]
        target[:-1] += source[1:]
    return sums


def _channels_last(samples: NDArray[Any], axis: int) -> NDArray[Any]:
    if not -samples.ndim <= axis < samples.ndim or samples.ndim < 2:
        raise error("USAGE", f"--channel-axis {axis}: the array has {samples.ndim} axes, one of them is left to others")
    return np.moveaxis(samples, axis, -1)


def _modality(samples: NDArray[Any], request: EncodeRequest) -> Modality:
    """Three axes without channels are slices of rows and columns."""
    return Modality.VOLUME if samples.ndim == 3 and request.channel_axis is None else Modality.FIELD


# --- META -------------------------------------------------------------------------------------------------------------


def _meta(found: SampledField, request: EncodeRequest) -> dict[str, str]:
    meta = {VARIABLE: found.name, UNITS: found.units, AXES: LIST.join(found.axes)}
    meta |= {COORDS + axis: _coords_text(coords) for axis, coords in found.coords.items()}
    if request.channel_axis is not None:
        meta[CHANNEL_AXIS] = str(request.channel_axis % found.samples.ndim)
    return {key: text for key, text in meta.items() if text}


def _coords_text(coords: NDArray[np.float64]) -> str:
    even = np.linspace(coords[0], coords[-1], len(coords))
    if np.abs(coords - even).max() <= EVEN * abs(coords[-1] - coords[0]):
        return f"{float(coords[0])!r}{RANGE}{float(coords[-1])!r}"
    return LIST.join(repr(float(one)) for one in coords)


def _coords_of(text: str, n: int) -> NDArray[np.float64] | None:
    """None where the text is not that of n coordinates."""
    try:
        if RANGE in text:
            first, last = (float(part) for part in text.split(RANGE))
            return np.linspace(first, last, n)
        coords = np.array([float(part) for part in text.split(LIST)])
    except ValueError:
        return None
    return coords if len(coords) == n else None


def _runs_text(is_missing: Bools) -> str:
    """How many values are there, how many are missing, and so on in turn, in C order; what is there at the end is not
    said."""
    edges = np.flatnonzero(np.diff(is_missing.reshape(-1), prepend=False, append=False))
    return LIST.join(map(str, np.diff(edges, prepend=0)))


def _missing_of(text: str, shape: Sequence[int]) -> Bools | None:
    """Where values are missing; None where the text is not that of an array of this shape."""
    parts = text.split(LIST)
    size = math.prod(shape)
    if not all(part.isascii() and part.isdigit() and len(part) <= len(str(size)) for part in parts):
        return None
    edges = np.cumsum([int(part) for part in parts])
    if len(edges) % 2 or edges[-1] > size:
        return None
    turns = np.searchsorted(edges, np.arange(size), side="right")
    is_missing: Bools = turns % 2 == 1
    return is_missing.reshape(shape)


# --- decode -----------------------------------------------------------------------------------------------------------


def _write_field(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    write_field(path, _field_of(decoding))
    return {}


def _draw_field(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    found = _field_of(decoding)
    name = f"{found.name} [{found.units}]" if found.units else found.name
    plot.draw_planes(found.samples, path, title=name, axes=found.axes)
    return {}


def _field_of(decoding: Decoding) -> SampledField:
    """The samples with the axes that they had, and what META says about them."""
    meta = decoding.meta
    samples = decoded_samples(decoding)
    if decoding.request.coords is not None:
        return SampledField(samples)
    axis = meta.get(CHANNEL_AXIS, "")
    shape, places = list(decoding.header.grid), _places(decoding)
    if axis.isascii() and axis.isdigit() and int(axis) < samples.ndim:
        samples = np.moveaxis(samples, -1, int(axis))
        shape.insert(int(axis), samples.shape[int(axis)])
        places.insert(int(axis), np.arange(samples.shape[int(axis)]))
    elif samples.shape[-1] == 1:
        samples = samples[..., 0]
    is_missing = _missing_of(meta[RUNS], shape) if RUNS in meta and samples.dtype.kind == "f" else None
    if is_missing is not None and len(places) == samples.ndim:
        samples = np.where(is_missing[np.ix_(*places)], samples.dtype.type(np.nan), samples)
    axes = tuple(filter(None, meta.get(AXES, "").split(LIST)))
    if len(axes) != samples.ndim:
        return SampledField(samples, meta.get(VARIABLE, ""), meta.get(UNITS, ""))
    return SampledField(samples, meta.get(VARIABLE, ""), meta.get(UNITS, ""), axes, _coords_for(decoding, axes))


def _places(decoding: Decoding) -> list[NDArray[np.int64]]:
    """The nearest native samples of what is asked for, along every axis."""
    if decoding.ranges is not None:
        return [np.arange(*ends) for ends in decoding.ranges]
    sizes = decoding.size or decoding.header.grid
    return [(2 * np.arange(n) + 1) * native // (2 * n) for native, n in zip(decoding.header.grid, sizes, strict=True)]


def _coords_for(decoding: Decoding, axes: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Coordinates of the samples asked for, where they are on a whole grid."""
    if decoding.size is None or CHANNEL_AXIS in decoding.meta:
        return {}
    found = {}
    for axis, n_native, n in zip(axes, decoding.header.grid, decoding.size, strict=True):
        coords = _coords_of(decoding.meta.get(COORDS + axis, ""), n_native)
        if coords is not None:
            positions = (np.arange(n) + 0.5) * n_native / n - 0.5
            found[axis] = _between(coords, positions)
    return found


def _between(coords: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates at positions among the samples; half a sample beyond the ends they go on as they do there."""
    if len(coords) == 1:
        return np.full(len(positions), coords[0])
    before = np.clip(np.floor(positions).astype(int), 0, len(coords) - 2)
    between: NDArray[np.float64] = coords[before] + (positions - before) * (coords[before + 1] - coords[before])
    return between


HANDLER = Handler(
    "field",
    frozenset({Modality.FIELD, Modality.VOLUME}),
    NETCDF_SUFFIXES | {".npy"},
    encode,
    options=frozenset({"keep_network", "variable", "fill", "channel_axis"}),
    writers={
        ".npy": samples_or_values(_write_field),
        **{suffix: Writer(_write_field, options=COMMON_DECODE - {"coords"}) for suffix in NETCDF_SUFFIXES},
    },
    shown=(".png", Writer(_draw_field)),
)
