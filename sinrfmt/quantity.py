"""What the values of a sampled field stand for: the range and the type of the samples, kept in META.

A network's values are in [-1, 1] or [0, 1]; ``low`` and ``high`` say which samples lie at the ends. The keys are
informative, as all of META (clause 12.2); a file without them is decoded to the values themselves. Nothing here knows a
format of files.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.evaluate import to_unit
from sinrfmt.registry import Values

DTYPES = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64"})
"""Of samples; 64-bit integers have no exact range in binary64."""
LOW, HIGH, DTYPE = "low", "high", "dtype"


@dataclass(frozen=True)
class Quantity:
    """Range and type of the samples of a signal.

    Attributes:
        low, high: the samples at the lower and the upper end of the network's range, in the units of the samples.
        dtype: of the samples.

    Raises:
        ValueError: not finite numbers, low first, or a type that samples do not have.
    """

    low: float
    high: float
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"expected finite low < high, found {self.low} and {self.high}")
        if self.dtype.name not in DTYPES:
            raise ValueError(f"samples cannot be {self.dtype}")

    @property
    def peak(self) -> float:
        """What PSNR is relative to: the span of the samples."""
        return self.high - self.low

    def unit(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """Samples to [0, 1]."""
        unit: NDArray[np.float64] = (samples.astype(np.float64) - self.low) / self.peak
        return unit

    def samples(self, values: NDArray[np.float32], value_range: Values) -> NDArray[Any]:
        """Values of a network, clamped, as samples of this type; integers are the nearest ones."""
        return self.of_unit(to_unit(value_range, values).astype(np.float64))

    def of_unit(self, unit: NDArray[np.float64]) -> NDArray[Any]:
        """Numbers in [0, 1] as samples."""
        found = self.low + unit * self.peak
        if self.dtype.kind == "f":
            return found.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(found), limits.min, limits.max).astype(self.dtype)

    @property
    def meta(self) -> dict[str, str]:
        """As keys and values of META; the numbers are those of binary64 to the last bit."""
        return {LOW: repr(self.low), HIGH: repr(self.high), DTYPE: self.dtype.name}


def quantity_of(samples: NDArray[Any], *, symmetric: bool = False) -> Quantity:
    """The least range that holds all samples.

    Args:
        samples: finite numbers, at least one.
        symmetric: with its middle at zero, as of sound.

    The range of a constant has it exactly in the middle, where a network of zeros has its value.
    """
    low, high = float(samples.min()), float(samples.max())
    if low == high:
        reach = 2.0 ** math.floor(math.log2(abs(low))) if low else 1.0
        return Quantity(low - reach, low + reach, samples.dtype)
    if symmetric:
        reach = max(abs(low), abs(high))
        return Quantity(-reach, reach, samples.dtype)
    return Quantity(low, high, samples.dtype)


def full_range(dtype: np.dtype[Any]) -> Quantity:
    """All of an unsigned type, as pictures have it."""
    return Quantity(0.0, float(np.iinfo(dtype).max), dtype)


def quantity_from(meta: Mapping[str, str]) -> Quantity | None:
    """What META says; None where it does not, or says nonsense."""
    try:
        return Quantity(float(meta[LOW]), float(meta[HIGH]), np.dtype(meta[DTYPE]))
    except (KeyError, TypeError, ValueError):
        return None
