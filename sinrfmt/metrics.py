"""Rate and distortion, as they are reported everywhere in the project."""

import math

import numpy as np
from numpy.typing import NDArray


def psnr(reference: NDArray[np.uint8], samples: NDArray[np.uint8]) -> float:
    """PSNR in dB of 8-bit samples, mean over all of them and all channels; infinity where they are equal."""
    error = np.mean((reference.astype(np.float64) - samples.astype(np.float64)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / float(error))


def bits_per_sample(n_bytes: int, grid: tuple[int, ...]) -> float:
    """Bits of the file for each position of the native grid (bpp for images)."""
    return 8 * n_bytes / math.prod(grid)
