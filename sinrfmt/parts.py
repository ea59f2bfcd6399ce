"""Parts of a field: where they lie on the native grid, what they own, and how their values are blended.

Specification: clause 13.1. Geometry only: knows neither bytes nor networks.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

SHARED_PART = 65535
"""The number of the shared tensors in PASS chunks."""

Range = tuple[int, int]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """One axis of ``n_samples`` native samples that is split into ``n_parts``."""

    n_samples: int
    n_parts: int
    overlap: int

    def edge(self, k: int) -> int:
        """b[k]: the first sample that part k owns."""
        return k * self.n_samples // self.n_parts

    def lattice(self, k: int) -> Range:
        """First sample and end of a part lattice."""
        return max(self.edge(k) - self.overlap, 0), min(self.edge(k + 1) + self.overlap, self.n_samples)

    def sizes(self) -> Counter[int]:
        """How many parts have a lattice of each size."""
        return Counter(stop - start for start, stop in map(self.lattice, range(self.n_parts)))

    def blend(self, positions: Doubles) -> tuple[Indices, Doubles]:
        """The last part with a weight at each position, and that weight u; the part before it has 1 - u."""
        edges = np.array([self.edge(k) for k in range(self.n_parts)], dtype=np.float64)
        place = positions + 0.5
        if not self.overlap:
            return np.searchsorted(edges[1:], place, side="right"), np.ones(len(place))
        last = np.searchsorted(edges[1:] - self.overlap, place, side="left")
        weight = np.clip((place - (edges[last] - self.overlap)) / (2 * self.overlap), 0, 1)
        return last, np.where(last == 0, 1.0, weight)


@dataclass(frozen=True)
class Parts:
    """How a native grid is cut.

    Attributes:
        grid: native samples of every axis.
        split: number of parts along every axis.
        overlap: samples that a part lattice has on the other side of its edges, for every axis.
        shared: whether all tensors but the latents are shared.
    """

    grid: tuple[int, ...]
    split: tuple[int, ...]
    overlap: tuple[int, ...]
    shared: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.split)

    @property
    def chunks_per_pass(self) -> int:
        return self.count + self.shared

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(Axis(*numbers) for numbers in zip(self.grid, self.split, self.overlap, strict=True))

    def number(self, places: Sequence[int]) -> int:
        """Of the part at these places along the axes: C order."""
        number = 0
        for place, n in zip(places, self.split, strict=True):
            number = number * n + place
        return number

    def places(self, part: int) -> tuple[int, ...]:
        """Along the axes."""
        return tuple(int(i) for i in np.unravel_index(part, self.split))

    def lattice(self, part: int) -> tuple[Range, ...]:
        """First sample and end of the part lattice on every axis."""
        return tuple(axis.lattice(k) for axis, k in zip(self.axes, self.places(part), strict=True))

    def shape(self, part: int) -> tuple[int, ...]:
        """Samples of the part lattice."""
        return tuple(stop - start for start, stop in self.lattice(part))

    def shapes(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """Every shape of a part lattice, and how many parts have it."""
        for sizes in product(*(axis.sizes().items() for axis in self.axes)):
            yield tuple(size for size, _ in sizes), math.prod(n for _, n in sizes)

    def chunk(self, position: int) -> int:
        """The ``part`` of the PASS chunk at a position of its pass."""
        return SHARED_PART if self.shared and not position else position - self.shared


@dataclass(frozen=True)
class Share:
    """What one part gives of a list of positions or points.

    Attributes:
        part: its number; in :func:`stretches` its place along the axis.
        chosen: which of the list, as ascending indices.
        weights: float64, above 0, for each of them.
    """

    part: int
    chosen: Indices
    weights: Doubles


def stretches(axis: Axis, positions: Doubles) -> list[Share]:
    """Of every part along an axis that has a weight at one of the positions, in order."""
    last, weight = axis.blend(positions)
    return _shares([(last, weight), (last - 1, 1 - weight)])


def scattered(parts: Parts, positions: Sequence[Doubles]) -> list[Share]:
    """Of every part that has a weight at one of the points; ``positions`` has one array for each axis."""
    choices = []
    blends = [axis.blend(along) for axis, along in zip(parts.axes, positions, strict=True)]
    for steps in product((0, 1), repeat=len(blends)):
        number, weights = np.zeros(len(positions[0]), dtype=np.int64), np.ones(len(positions[0]))
        for step, n, (last, weight) in zip(steps, parts.split, blends, strict=True):
            number = number * n + last - step
            weights = weights * (1 - weight if step else weight)
        choices.append((number, weights))
    return _shares(choices)


def _shares(choices: Sequence[tuple[Indices, Doubles]]) -> list[Share]:
    """Grouped by part; choices with the weight 0 may name parts that do not exist."""
    numbers, weights = (np.concatenate(lists) for lists in zip(*choices, strict=True))
    indices = np.tile(np.arange(len(choices[0][0])), len(choices))
    kept = weights > 0
    numbers, weights, indices = numbers[kept], weights[kept], indices[kept]
    order = np.lexsort((indices, numbers))
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    groups = np.split(order, starts[1:]) if len(starts) else []
    return [Share(int(numbers[group[0]]), indices[group], weights[group]) for group in groups]


def part_coords(axis: Axis, place: int, positions: Doubles) -> NDArray[np.float32]:
    """Coordinates in a part of positions on the native grid."""
    start, stop = axis.lattice(place)
    coords: NDArray[np.float32] = ((2 * (positions - start) + 1) / (stop - start) - 1).astype(np.float32)
    return coords


def grid_positions(n_samples: int, n: int, chosen: Range | None = None) -> Doubles:
    """Positions on an axis of n_samples of the indices 0 .. n - 1 of a grid of n, or of some of them."""
    index = np.arange(*(chosen or (0, n)), dtype=np.float64)
    return ((2 * index + 1) * n_samples / n - 1) / 2


def coord_positions(n_samples: int, coords: NDArray[np.float32]) -> Doubles:
    """Positions of coordinates (CENTRES); 0 for one that is not a number."""
    x = coords.astype(np.float64)
    return np.where(np.isnan(x), 0.0, ((x + 1) * n_samples - 1) / 2)
