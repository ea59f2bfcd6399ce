"""What is fitted: sampled signals as coordinates and values, and the distortion measure on decoded samples.

Specification: clause 16 (coordinates, values). A ``Signal`` is what training sees; distortion is always measured on the
samples that a decoder would write, of the type and in the range of the input.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sinrfmt.evaluate import grid_axes, to_depth
from sinrfmt.metrics import Samples, psnr
from sinrfmt.quantity import Quantity, full_range, quantity_of
from sinrfmt.registry import Coords, Modality, Values

MAX_AXES = 4
SAMPLE_RATE = "sample_rate"
"""Key of META: samples a second, of sound."""

Entry = TypeVar("Entry", bound=np.generic)

# (scale, offset) from a value in [0, 1] to the network's range.
VALUE_RANGES: dict[Values, tuple[float, float]] = {Values.UNIT: (1.0, 0.0), Values.SIGNED: (2.0, -1.0)}


@dataclass(frozen=True)
class Signal:
    """A signal sampled on a grid, one row per sample in C order of the grid.

    Attributes:
        coords: float32 (n, in_dims).
        values: float32 (n, channels), in the range that ``value_range`` names.
        samples: integers or floats (n, channels), the input itself.
        grid: size of each grid axis; rows first for images.
        modality, coords_rule, value_range: codes of the file's header.
        quantity: which samples are at the ends of the range; None for those of a picture, all of an unsigned type.
        meta: keys and values of META that say it and what else a reader should know; none for pictures.
    """

    coords: NDArray[np.float32]
    values: NDArray[np.float32]
    samples: NDArray[Any]
    grid: tuple[int, ...]
    modality: Modality
    coords_rule: Coords
    value_range: Values
    quantity: Quantity | None = None
    meta: Mapping[str, str] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Number of values of a sample."""
        return int(self.values.shape[1])

    @property
    def n_samples(self) -> int:
        """Number of grid positions."""
        return int(self.values.shape[0])

    @cached_property
    def peak(self) -> float:
        """What PSNR is relative to, in the units of the samples: the span of their range."""
        return (self.quantity or full_range(self.samples.dtype)).peak

    def decoded(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Network outputs (n, channels) as samples of the same type."""
        if self.quantity is None:
            return to_depth(self.samples.dtype, self.value_range, values)
        return self.quantity.samples(values, self.value_range)


def image_signal(image: Samples, *, value_range: Values = Values.SIGNED) -> Signal:
    """Make the signal of an image.

    Args:
        image: uint8 or uint16 (height, width) or (height, width, channels).
        value_range: UNIT or SIGNED.

    Raises:
        ValueError: another dtype or number of axes, or no samples.
    """
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"an image is uint8 or uint16 (height, width[, channels]), found {image.dtype} {image.shape}")
    grid = image.shape[:2]
    samples: Samples = image.reshape(grid[0] * grid[1], -1)
    scale, offset = VALUE_RANGES[value_range]
    values = _frozen((samples / np.float64(np.iinfo(image.dtype).max) * scale + offset).astype(np.float32))
    return Signal(
        coords=_frozen(grid_coords(grid)),
        values=values,
        samples=_frozen(samples),
        grid=grid,
        modality=Modality.IMAGE,
        coords_rule=Coords.CENTRES,
        value_range=value_range,
    )


def array_signal(
    array: NDArray[Any],
    *,
    modality: Modality = Modality.FIELD,
    has_channels: bool = False,
    quantity: Quantity | None = None,
    meta: Mapping[str, str] | None = None,
) -> Signal:
    """Make the signal of any sampled quantity; its values are in [-1, 1].

    Args:
        array: integers or finite floats of 1 to 4 axes, and one more with channels.
        modality: of the file.
        has_channels: whether the last axis is that of the values of a sample.
        quantity: range of the samples; None for the least that holds them all.
        meta: more keys and values of META.

    Raises:
        ValueError: another number of axes, no samples, or samples that are not finite.
    """
    grid = array.shape[:-1] if has_channels else array.shape
    if not 1 <= len(grid) <= MAX_AXES or array.size == 0:
        raise ValueError(f"expected samples on 1 to {MAX_AXES} axes, found {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("there are samples that are not finite")
    samples = array.reshape(int(np.prod(grid)), -1)
    chosen = quantity_of(samples) if quantity is None else quantity
    scale, offset = VALUE_RANGES[Values.SIGNED]
    return Signal(
        coords=_frozen(grid_coords(grid)),
        values=_frozen((chosen.unit(samples) * scale + offset).astype(np.float32)),
        samples=_frozen(samples),
        grid=grid,
        modality=modality,
        coords_rule=Coords.CENTRES,
        value_range=Values.SIGNED,
        quantity=chosen,
        meta={**(meta or {}), **chosen.meta},
    )


def audio_signal(samples: NDArray[Any], sample_rate: int, *, meta: Mapping[str, str] | None = None) -> Signal:
    """Make the signal of a sound; zero stays in the middle of the range.

    Args:
        samples: int16, int32 or finite floats (n,) or (n, channels).
        sample_rate: samples a second.
        meta: more keys and values of META.

    Raises:
        ValueError: as :func:`array_signal`.
    """
    columns = samples.reshape(len(samples), -1)
    return array_signal(
        columns,
        modality=Modality.AUDIO,
        has_channels=True,
        quantity=quantity_of(columns, symmetric=True) if np.isfinite(columns).all() and columns.size else None,
        meta={**(meta or {}), SAMPLE_RATE: str(sample_rate)},
    )


def grid_coords(grid: tuple[int, ...], rule: Coords = Coords.CENTRES) -> NDArray[np.float32]:
    """Coordinates of the samples of a grid (clause 16.1).

    Returns:
        float32 (product of grid, number of axes), C order
    """
    axes = grid_axes(rule, grid, None)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(grid))


def psnr_of(signal: Signal, values: NDArray[np.float32]) -> float:
    """PSNR in dB of network outputs (n, channels), on samples, relative to ``signal.peak``; infinite where equal."""
    return psnr(signal.samples, signal.decoded(values), signal.peak)


def _frozen(array: NDArray[Entry]) -> NDArray[Entry]:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
