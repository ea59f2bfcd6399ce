"""Rate and distortion, as they are reported everywhere in the project."""

import math

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8] | NDArray[np.uint16]


def psnr(reference: Samples, samples: Samples) -> float:
    """PSNR in dB of samples of one depth, uint8 or uint16; infinity where they are equal.

    The mean is over all samples and channels, the peak is the largest number of the type.
    """
    error = np.mean((reference.astype(np.float64) - samples.astype(np.float64)) ** 2)
    peak = int(np.iinfo(reference.dtype).max)
    return math.inf if error == 0 else 10 * math.log10(peak**2 / float(error))


def bits_per_sample(n_bytes: int, grid: tuple[int, ...]) -> float:
    """Bits of the file for each position of the native grid (bpp for images)."""
    return 8 * n_bytes / math.prod(grid)
