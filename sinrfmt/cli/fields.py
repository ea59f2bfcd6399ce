"""Scientific fields on the command line: the handler of ``encode`` and ``decode`` for arrays and NetCDF.

What maps values back to samples, and what a reader should know about them, goes into META: range, type, units, name,
axes and their coordinates. Coordinates that are evenly spaced are kept as the first and the last one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.cli.handlers import Decoding, Encoded, Handler, Writer
from sinrfmt.cli.options import torch_api
from sinrfmt.cli.progress import OnProgress
from sinrfmt.cli.requests import COMMON_DECODE, EncodeRequest
from sinrfmt.cli.sampled import check_request, decoded_samples, encode_signal
from sinrfmt.cli.writers import samples_or_values
from sinrfmt.faults import error
from sinrfmt.media.fields import NETCDF_SUFFIXES, SampledField, read_field, write_field
from sinrfmt.registry import Modality

VARIABLE, UNITS, AXES, COORDS, FILL, MISSING, CHANNEL_AXIS = (
    *("variable", "units", "axes", "coords.", "fill_value", "n_missing", "channel_axis"),
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
    samples, missing = _filled(found.samples, request.fill, source)
    has_channels = request.channel_axis is not None
    if request.channel_axis is not None:
        samples = _channels_last(samples, request.channel_axis)
    meta = _meta(found, request) | missing
    try:
        signal = torch_api().array_signal(
            samples, modality=_modality(samples, request), has_channels=has_channels, meta=meta
        )
    except ValueError as failure:
        raise error("USAGE", f"{source}: {failure}") from failure
    return encode_signal(signal, request, found.units, on_progress)


def _filled(samples: NDArray[Any], fill: float | None, source: Path) -> tuple[NDArray[Any], dict[str, str]]:
    """Samples without NaN, and what META says of those that were missing."""
    is_missing = ~np.isfinite(samples)
    n_missing = int(is_missing.sum())
    if not n_missing:
        return samples, {}
    if fill is None:
        raise error(
            "USAGE", f"{source}: {n_missing} values are missing or not finite: --fill VALUE puts a number there"
        )
    return np.where(is_missing, samples.dtype.type(fill), samples), {FILL: repr(fill), MISSING: str(n_missing)}


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


# --- decode -----------------------------------------------------------------------------------------------------------


def _write_field(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    write_field(path, _field_of(decoding))
    return {}


def _field_of(decoding: Decoding) -> SampledField:
    """The samples with the axes that they had, and what META says about them."""
    meta = decoding.meta
    samples = decoded_samples(decoding)
    if decoding.request.coords is not None:
        return SampledField(samples)
    axis = meta.get(CHANNEL_AXIS, "")
    if axis.isascii() and axis.isdigit() and int(axis) < samples.ndim:
        samples = np.moveaxis(samples, -1, int(axis))
    elif samples.shape[-1] == 1:
        samples = samples[..., 0]
    axes = tuple(filter(None, meta.get(AXES, "").split(LIST)))
    if len(axes) != samples.ndim:
        return SampledField(samples, meta.get(VARIABLE, ""), meta.get(UNITS, ""))
    return SampledField(samples, meta.get(VARIABLE, ""), meta.get(UNITS, ""), axes, _coords_for(decoding, axes))


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
)
