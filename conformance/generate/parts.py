"""Values of a field of parts (clause 13.1)."""

import math
from collections.abc import Iterator, Sequence
from itertools import product

from conformance.generate.describe import SHARED_PART, Head
from conformance.generate.field import Encoding, Point, Samples, field_of, judged
from conformance.generate.lattice import Number, dot
from conformance.generate.primitives import rne32


def positions(head: Head, sizes: Sequence[int]) -> list[Point]:
    """Positions of every sample of a grid of these sizes, in C order."""
    axes = [[((2 * i + 1) * n / size - 1) / 2 for i in range(size)] for n, size in zip(head.grid, sizes, strict=True)]
    return list(product(*axes))


def positions_of(head: Head, points: Sequence[Point]) -> list[Point]:
    """Positions of coordinates, which are rounded to binary32; 0 for what is not a number."""
    return [tuple(position_at(rne32(x), n) for x, n in zip(point, head.grid, strict=True)) for point in points]


def position_at(x: float, n: int) -> float:
    """The position of a coordinate on an axis of so many samples."""
    return 0.0 if math.isnan(x) else ((x + 1) * n - 1) / 2


def ramp(head: Head, axis: int, k: int, p: float) -> float:
    """u[k] at a position."""
    edge, overlap = head.edges(axis)[k], head.overlap[axis]
    if k in (0, head.split[axis]):
        return 1.0 if k == 0 else 0.0
    if overlap == 0:
        return 1.0 if p + 0.5 >= edge else 0.0
    return min(max((p + 0.5 - (edge - overlap)) / (2 * overlap), 0.0), 1.0)


def weight(head: Head, place: Sequence[int], position: Point) -> float:
    """The weight of a part at a position."""
    pairs = enumerate(zip(place, position, strict=True))
    return math.prod(ramp(head, axis, k, p) * (1 - ramp(head, axis, k + 1, p)) for axis, (k, p) in pairs)


def own_point(head: Head, place: Sequence[int], position: Point) -> Point:
    """The coordinate of a position in a part's own field."""
    spans = (head.spans(axis)[k] for axis, k in enumerate(place))
    return tuple(rne32((2 * (p - a) + 1) / m - 1) for p, (a, m) in zip(position, spans, strict=True))


def fields(head: Head, weights: Sequence[list[float]]) -> Iterator[Encoding]:
    """The field of every part; `weights`: the shared tensors, then those of every part."""
    rest = list(weights)
    n_shared = len(head.tensors_of(SHARED_PART)) if head.shared else 0
    shared, rest = rest[:n_shared], rest[n_shared:]
    for part in head.chunk_parts():
        if part != SHARED_PART:
            n = len(head.tensors_of(part))
            own, rest = rest[:n], rest[n:]
            yield field_of(head.of_part(part), [*shared, *own])


def value(head: Head, parts: Sequence[Encoding], position: Point) -> list[Number]:
    """The sum over the parts of weight times value."""
    found = []
    for part, at in enumerate(parts):
        place = head.place_of(part)
        w = weight(head, place, position)
        if w > 0:
            found.append((w, at(own_point(head, place, position))))
    factors = [w for w, _ in found]
    return [dot(factors, numbers) for numbers in zip(*(values for _, values in found), strict=True)]


def evaluate_parts(
    head: Head, weights: Sequence[list[float]], places: Sequence[Point], shape: tuple[int, ...]
) -> Samples:
    """Field values at positions, to be written in `shape`."""
    parts = list(fields(head, weights))
    return judged([number for position in places for number in value(head, parts, position)], shape)
