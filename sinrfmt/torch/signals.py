"""What is fitted: sampled signals as coordinates and values, and the distortion measure on decoded samples.

Specification: clause 16 (coordinates, values). A ``Signal`` is what training sees; distortion is always measured on the
samples that a decoder would write, of the depth of the input.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sinrfmt.evaluate import grid_axes, to_depth
from sinrfmt.metrics import Samples, psnr
from sinrfmt.registry import Coords, Modality, Values

Entry = TypeVar("Entry", bound=np.generic)

# (scale, offset) from a value in [0, 1] to the network's range.
VALUE_RANGES: dict[Values, tuple[float, float]] = {Values.UNIT: (1.0, 0.0), Values.SIGNED: (2.0, -1.0)}


@dataclass(frozen=True)
class Signal:
    """A signal sampled on a grid, one row per sample in C order of the grid.

    Attributes:
        coords: float32 (n, in_dims).
        values: float32 (n, channels), in the range that ``value_range`` names.
        samples: uint8 or uint16 (n, channels), the input itself.
        grid: size of each grid axis; rows first for images.
        modality, coords_rule, value_range: codes of the file's header.
    """

    coords: NDArray[np.float32]
    values: NDArray[np.float32]
    samples: Samples
    grid: tuple[int, ...]
    modality: Modality
    coords_rule: Coords
    value_range: Values

    @property
    def channels(self) -> int:
        """Number of values of a sample."""
        return int(self.values.shape[1])

    @property
    def n_samples(self) -> int:
        """Number of grid positions."""
        return int(self.values.shape[0])


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
        samples=_frozen(samples),  # type: ignore[arg-type]
        grid=grid,
        modality=Modality.IMAGE,
        coords_rule=Coords.CENTRES,
        value_range=value_range,
    )


def grid_coords(grid: tuple[int, ...], rule: Coords = Coords.CENTRES) -> NDArray[np.float32]:
    """Coordinates of the samples of a grid (clause 16.1).

    Returns:
        float32 (product of grid, number of axes), C order
    """
    axes = grid_axes(rule, grid, None)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(grid))


def psnr_of(signal: Signal, values: NDArray[np.float32]) -> float:
    """PSNR in dB of network outputs (n, channels), on samples; infinite for a perfect match."""
    return psnr(signal.samples, to_depth(signal.samples.dtype, signal.value_range, values))


def _frozen(array: NDArray[Entry]) -> NDArray[Entry]:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
