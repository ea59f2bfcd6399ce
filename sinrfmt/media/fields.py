"""Sampled scientific fields to arrays and back: .npy, and NetCDF through netCDF4 (extra ``fields``).

A field is a variable with the names of its axes, their coordinates, its units; a value that is missing is NaN here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error
from sinrfmt.media.arrays import read_array, write_array

NETCDF_SUFFIXES = frozenset({".nc", ".nc4", ".cdf"})
WIDE = {"int64": "int32", "uint64": "uint32"}
"""Types that are read as shorter ones, where all samples fit."""
DEFAULT_NAME = "values"


@dataclass(frozen=True)
class SampledField:
    """A field on a grid.

    Attributes:
        samples: integers or floats, one axis for each of the field's; NaN where a value is missing.
        name: of the variable; empty where the file has no names.
        units: of the samples; empty where unknown.
        axes: names of the axes; none where the file has no names.
        coords: float64 coordinates along some of the axes, by name.
    """

    samples: NDArray[Any]
    name: str = ""
    units: str = ""
    axes: tuple[str, ...] = ()
    coords: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def read_field(path: Path, variable: str | None = None) -> SampledField:
    """The field of a .npy file, or a variable of a NetCDF file.

    Args:
        path: the file.
        variable: name of the variable; None for the only one that is no coordinate.

    Raises:
        UsageError: it cannot be read, there is no such variable, or several without a name.
    """
    if path.suffix.lower() in NETCDF_SUFFIXES:
        found = _read_netcdf(path, variable)
    elif variable is None:
        found = SampledField(read_array(path))
    else:
        raise error("USAGE", f"--variable goes with NetCDF, not with {path.suffix}")
    return SampledField(_narrowed(found.samples, path), found.name, found.units, found.axes, found.coords)


def _narrowed(samples: NDArray[Any], path: Path) -> NDArray[Any]:
    """64-bit integers as 32-bit ones."""
    if samples.dtype.name not in WIDE or not samples.size:
        return samples
    narrow = samples.astype(WIDE[samples.dtype.name])
    if not np.array_equal(narrow, samples):
        raise error("USAGE", f"{path}: integers of more than 32 bits cannot be kept")
    return narrow


def _read_netcdf(path: Path, name: str | None) -> SampledField:
    netcdf = _netcdf()
    try:
        with netcdf.Dataset(path) as file:
            variable = file.variables[_chosen(path, file, name)]
            values = np.ma.asarray(variable[...])
            axes = tuple(variable.dimensions)
            coords = {axis: _coords(file.variables[axis]) for axis in axes if axis in file.variables}
            units = str(getattr(variable, "units", ""))
            chosen = str(variable.name)
    except OSError as failure:
        raise error("USAGE", f"{path}: {failure.strerror or failure}") from failure
    if values.dtype.kind not in "fiu":
        raise error("USAGE", f"{path}: {chosen} is of type {values.dtype}, expected integers or floats")
    return SampledField(_with_nan(values), chosen, units, axes, coords)


def _chosen(path: Path, file: Any, name: str | None) -> str:
    """The variable of that name, or the only one that is no coordinate of an axis."""
    names = [one for one, variable in file.variables.items() if variable.dimensions and one not in file.dimensions]
    if name is not None and name in file.variables:
        return name
    if name is None and len(names) == 1:
        return str(names[0])
    what = "which variable" if name is None else f"no variable {name}"
    raise error("USAGE", f"{path}: {what}: --variable takes one of {', '.join(names) or 'none'}")


def _coords(variable: Any) -> NDArray[np.float64]:
    return np.ma.filled(np.ma.asarray(variable[...], dtype=np.float64), np.nan).astype(np.float64)


def _with_nan(values: Any) -> NDArray[Any]:
    """Missing values as NaN; integers stay what they are where none is missing."""
    if not np.ma.is_masked(values):
        return np.asarray(values.data)
    kind = values.dtype if values.dtype.kind == "f" else np.float64
    filled: NDArray[Any] = np.ma.filled(values.astype(kind), np.nan)
    return filled


def write_field(path: Path, found: SampledField) -> None:
    """Write a field in the format that the suffix of the name says.

    Raises:
        OSError: the file cannot be written.
    """
    if path.suffix.lower() in NETCDF_SUFFIXES:
        _write_netcdf(path, found)
    else:
        write_array(path, found.samples)


def _write_netcdf(path: Path, found: SampledField) -> None:
    axes = found.axes or tuple(f"axis_{index}" for index in range(found.samples.ndim))
    samples = found.samples.astype(np.float32) if found.samples.dtype == np.float16 else found.samples
    with _netcdf().Dataset(path, "w") as file:
        for axis, size in zip(axes, samples.shape, strict=True):
            file.createDimension(axis, size)
            if axis in found.coords:
                file.createVariable(axis, np.float64, (axis,))[...] = found.coords[axis]
        variable = file.createVariable(found.name or DEFAULT_NAME, samples.dtype, axes)
        variable[...] = samples
        if found.units:
            variable.units = found.units


def _netcdf() -> Any:
    try:
        import netCDF4
    except ImportError as failure:
        raise error("USAGE", "netCDF4 is not installed: pip install 'sinrfmt[fields]'") from failure
    return netCDF4
