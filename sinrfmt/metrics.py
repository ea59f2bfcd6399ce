"""Rate and distortion, as they are reported everywhere in the project."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8] | NDArray[np.uint16]


def psnr(reference: NDArray[Any], samples: NDArray[Any], peak: float | None = None) -> float:
    """PSNR in dB of samples of one type; infinity where they are equal.

    The mean is over all samples and channels. ``peak`` is the span that the samples could have; None for the largest
    number of their type, which is then unsigned.
    """
    error = np.mean((reference.astype(np.float64) - samples.astype(np.float64)) ** 2)
    top = float(np.iinfo(reference.dtype).max) if peak is None else peak
    return math.inf if error == 0 else 10 * math.log10(top**2 / float(error))


def snr(reference: NDArray[Any], samples: NDArray[Any]) -> float:
    """Power of the reference over that of the error, in dB; infinity where they are equal."""
    signal = reference.astype(np.float64)
    error = np.sum((signal - samples.astype(np.float64)) ** 2)
    power = float(np.sum(signal**2))
    if error == 0:
        return math.inf
    return 10 * math.log10(power / float(error)) if power else -math.inf


def max_error(reference: NDArray[Any], samples: NDArray[Any]) -> float:
    """Largest difference of two samples, in their units."""
    return float(np.max(np.abs(reference.astype(np.float64) - samples.astype(np.float64))))


def bits_per_sample(n_bytes: int, grid: tuple[int, ...]) -> float:
    """Bits of the file for each position of the native grid (bpp for images)."""
    return 8 * n_bytes / math.prod(grid)
