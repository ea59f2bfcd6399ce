"""Parts along an axis of the native grid: their lattices, and their weights in the field (clause 13.1)."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """An axis with n native samples and s parts.

    §13.1: "`split` is the number of parts along each axis."
    """

    n: int
    s: int
    overlap: int

    def b(self, k: Any) -> Any:
        """§13.1: "part k *owns* the samples b[k] … b[k + 1] - 1 with b[k] = k·N / S"; k one number or many."""
        return k * self.n // self.s

    def first(self, k: Any) -> Any:
        """The first sample a of the lattice of part k.

        §13.1: "Its *part lattice* has the samples max(b[k] - overlap, 0) … min(b[k + 1] + overlap, N) - 1 of each
        axis."
        """
        return np.maximum(self.b(k) - self.overlap, 0)

    def size(self, k: Any) -> Any:
        """The samples m of the lattice of part k."""
        return np.minimum(self.b(k + 1) + self.overlap, self.n) - self.first(k)

    def position(self, x: npt.NDArray[np.float32]) -> Doubles:
        """§13.1: "a position p = ((x + 1)·N - 1)/2 on each axis"; "A coordinate that is not a number has position
        0."
        """
        p: Doubles = ((x.astype(np.float64) + 1) * self.n - 1) / 2
        return np.where(np.isnan(p), 0.0, p)

    def position_of(self, i: Any, n: int) -> Any:
        """§13.1: "For index i of n along an axis (clause 16.1) the position is p = ((2i + 1)·N/n - 1)/2."."""
        return ((2 * i + 1) * self.n / n - 1) / 2

    def indices(self, k: int, n: int) -> range:
        """The indices of n along the axis where part k may have a weight that is not 0."""
        first = bisect_left(range(n), self.b(k) - self.overlap, key=lambda i: self.position_of(i, n) + 0.5)
        end = bisect_right(range(n), self.b(k + 1) + self.overlap, key=lambda i: self.position_of(i, n) + 0.5)
        return range(first if k else 0, end if k < self.s - 1 else n)

    def weight(self, k: Longs | int, p: Doubles) -> Doubles:
        """§13.1: "A part's weight is the product over the axes of u[k]·(1 - u[k + 1])"; the factor of this axis."""
        k = np.asarray(k)
        return self.u(k, p) * (1 - self.u(k + 1, p))

    def u(self, k: Longs, p: Doubles) -> Doubles:
        """§13.1: "u[0] = 1, u[S] = 0, and for 0 < k < S:"."""
        b, o = self.b(k), self.overlap
        # "u[k] = min(max((p + 1/2 - (b[k] - overlap))/(2·overlap), 0), 1)       overlap > 0"
        # "u[k] = 1 if p + 1/2 >= b[k], else 0                                   overlap = 0"
        inner = np.clip((p + 0.5 - (b - o)) / (2 * o), 0.0, 1.0) if o else (p + 0.5 >= b).astype(np.float64)
        return np.where(k == 0, 1.0, np.where(k == self.s, 0.0, inner))

    def lower_part(self, p: Doubles) -> Longs:
        """The first part that may have a weight at a position: the next one is the only other.

        §13.1: "At most two parts along an axis have a weight that is not 0".
        """
        ends = self.b(np.arange(1, self.s, dtype=np.int64)) + self.overlap
        return np.searchsorted(ends, p + 0.5, side="right").astype(np.int64)

    def coordinate(self, k: Longs | int, p: Doubles) -> npt.NDArray[np.float32]:
        """§13.1: "the coordinate (2·(p - a) + 1)/m - 1 of each axis, computed in binary64 from left to right and
        rounded to binary32, where the part lattice has m samples from sample a on."
        """
        x: Doubles = (2 * (p - self.first(k)) + 1) / self.size(k) - 1
        return x.astype(np.float32)
