"""Grids, pyramids and lattice filters in binary64 with a bound of the error of binary32 (clauses 16.5 and 16.6)."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from conformance.generate.describe import (
    BOX,
    CENTRES,
    CENTRES_UNIT,
    CORNERS,
    CORNERS_PROPORTIONAL,
    Grid,
    Head,
    Pyramid,
)
from conformance.generate.latents import hashed_entry
from conformance.generate.primitives import rne32

UNIT_ROUNDOFF = 2.0**-24
POSITION_ULPS = 10  # roundings between a coordinate and its position, in units of the samples of the axis
SLOPE = 6.0  # of cubic interpolation, for numbers up to 1, at most
WEIGHT_ULPS = 8  # roundings of a cubic weight on an axis

Number = tuple[float, float]  # value, bound of its error
Index = tuple[int, ...]
Lattice = Mapping[Index, list[Number]]  # values of every lattice point
STEPS_TO_TAPS = (0, 1, -1, 2, -2, 3, -3, 4)
BICUBIC = (111 / 128, 29 / 128, -9 / 128, -3 / 128, 0.0, 0.0, 0.0, 0.0)
DEFAULTS = {1: (1.0,), 2: (3 / 4, 1 / 4), 3: (3 / 4, 1 / 4, 0.0)} | {t: BICUBIC[:t] for t in range(4, 9)}


def dot(row: Sequence[float], inputs: Sequence[Number], start: Number = (0.0, 0.0)) -> Number:
    """The sum of products, and what it is added to."""
    products = [w * x for w, (x, _) in zip(row, inputs, strict=True)]
    size = sum(map(abs, products)) + abs(start[0])
    error = sum(abs(w) * e for w, (_, e) in zip(row, inputs, strict=True)) + start[1]
    return math.fsum([*products, start[0]]), error + (len(row) + 3) * UNIT_ROUNDOFF * size


def clip(index: int, n: int) -> int:
    """The nearest sample of an axis."""
    return max(0, min(n - 1, index))


# --- positions ---------------------------------------------------------------------------------------


def proportion(head: Head, axis: int) -> float:
    """Clause 16.5, coords 2: what the range of an axis is multiplied by."""
    if not any(head.grid):
        return 1.0
    return max(head.grid[0] - 1, 1) / max(head.grid[axis] - 1, 1)


def unit_coordinate(head: Head, axis: int, x: float) -> float:
    """t of clause 16.5, clipped; 0 for what is not a number."""
    rules: dict[int, Callable[[], float]] = {
        CENTRES: lambda: (x + 1) / 2,
        CORNERS: lambda: (x + 1) / 2,
        CORNERS_PROPORTIONAL: lambda: (x + 1) / 2 * proportion(head, axis),
        CENTRES_UNIT: lambda: x,
        BOX: lambda: _in_box(head, axis, x),
    }
    return clipped(rules[head.coords](), 1.0)


def clipped(x: float, most: float) -> float:
    """A number between 0 and `most`; 0 for what is not a number (VAL-2)."""
    return 0.0 if math.isnan(x) else max(0.0, min(most, x))


def _in_box(head: Head, axis: int, x: float) -> float:
    low, high = (rne32(edges[axis]) for edges in head.box)
    return (x - low) / (high - low)


def lattice_position(head: Head, axis: int, x: float) -> float:
    """p of clause 16.6, clipped."""
    n = head.grid[axis]
    rules: dict[int, Callable[[], float]] = {
        CENTRES: lambda: ((x + 1) * n - 1) / 2,
        CORNERS: lambda: (x + 1) * max(n - 1, 1) / 2,
        CORNERS_PROPORTIONAL: lambda: (x + 1) * max(head.grid[0] - 1, 1) / 2,
        CENTRES_UNIT: lambda: x * n - 0.5,
        BOX: lambda: _in_box(head, axis, x) * n - 0.5,
    }
    return clipped(rules[head.coords](), n - 1.0)


def interpolated(
    at: Callable[[Index], list[Number]], positions: Sequence[float], sizes: Sequence[int], most: float
) -> list[Number]:
    """Multilinear interpolation; `most`: the largest magnitude of a sample, which bounds the slopes."""
    axes = []
    for p, n in zip(positions, sizes, strict=True):
        i = min(math.floor(p), max(n - 2, 0))
        axes.append([(i, 1 - (p - i)), (i + 1, p - i)] if n > 1 else [(i, 1.0)])
    moved = sum(POSITION_ULPS * UNIT_ROUNDOFF * n * 2 * most for n in sizes if n > 1)
    return [(value, error + moved) for value, error in weighted(at, axes)]


def weighted(at: Callable[[Index], list[Number]], axes: Sequence[Sequence[tuple[int, float]]]) -> list[Number]:
    """Sums of samples times the products of weights; `axes`: places on each axis and their weights."""
    corners = [(tuple(i for i, _ in corner), math.prod(w for _, w in corner)) for corner in product(*axes)]
    found = [at(index) for index, _ in corners]
    return [dot([w for _, w in corners], [values[k] for values in found]) for k in range(len(found[0]))]


# --- grids (clause 16.5) -------------------------------------------------------------------------------


def entry_of(grid: Grid, level: int, vertex: Index) -> int:
    """The entry of a vertex in its level."""
    if grid.is_hashed(level):
        return hashed_entry(vertex, grid.n_entries(level))
    entry = 0
    for i, n in zip(vertex, grid.vertices(level), strict=True):
        entry = entry * n + i
    return entry


def grid_values(head: Head, grid: Grid, tensors: Sequence[Sequence[float]], point: Sequence[float]) -> list[Number]:
    """Outputs of GRID at a point; `tensors`: its own in table order."""
    matrix, rest = tensors[0], tensors[1:]
    bias, levels = (rest[0], rest[1:]) if grid.layer.bias else ([0.0] * len(matrix), rest)
    features = []
    for level, latents in enumerate(levels):
        z = interpolated_latents(head, grid, level, latents, point)
        first = level * grid.feature_dim if grid.decoder_each else 0
        rows = range(first, first + grid.feature_dim)
        k = grid.latent_dim
        features.append([dot(matrix[r * k : (r + 1) * k], z, (bias[r], 0.0)) for r in rows])
    return joined_features(grid, features) + appended_coordinates(grid, point)


def interpolated_latents(
    head: Head, grid: Grid, level: int, latents: Sequence[float], point: Sequence[float]
) -> list[Number]:
    """z of a level."""
    sizes = grid.vertices(level)
    positions = [unit_coordinate(head, axis, point[axis]) * (n - 1) for axis, n in enumerate(sizes)]
    k = grid.latent_dim

    def at(vertex: Index) -> list[Number]:
        entry = entry_of(grid, level, vertex)
        return [(y, 0.0) for y in latents[entry * k : (entry + 1) * k]]

    return interpolated(at, positions, sizes, max(map(abs, latents)))


def joined_features(grid: Grid, features: list[list[Number]]) -> list[Number]:
    """The features of all levels one after the other, or their sum."""
    if not grid.summed:
        return [number for level in features for number in level]
    return [dot([1.0] * len(column), column) for column in zip(*features, strict=True)]


def appended_coordinates(grid: Grid, point: Sequence[float]) -> list[Number]:
    """The coordinates behind the features."""
    return [(x, 0.0) for x in (point if grid.append_input else point[grid.n_axes :])]


# --- pyramids (clause 16.6) ----------------------------------------------------------------------------


def points_of(sizes: Sequence[int]) -> list[Index]:
    """Every index in C order."""
    return list(product(*(range(n) for n in sizes)))


def taps_of(pyramid: Pyramid, weights: Sequence[float], level: int) -> list[float]:
    """The numbers of the filter that makes this level of the one below."""
    t = pyramid.n_taps
    f = 0 if pyramid.one_filter else level - 1
    return [default + w for default, w in zip(DEFAULTS[t], weights[f * t : (f + 1) * t], strict=True)]


def pyramid_features(head: Head, pyramid: Pyramid, tensors: Sequence[Sequence[float]]) -> dict[Index, list[Number]]:
    """The features of every point of the native lattice; `tensors`: those of the pyramid in table order."""
    n_levels = pyramid.n_levels
    levels = []
    for level, latents in enumerate(tensors[-n_levels:]):
        plane: dict[Index, list[Number]] = {
            index: [(y, 0.0)] for index, y in zip(points_of(pyramid.sizes(level, head.grid)), latents, strict=True)
        }
        for finer in range(level + 1, n_levels):
            taps = taps_of(pyramid, tensors[0], finer)
            plane = up_sampled(
                plane, pyramid, taps, pyramid.sizes(finer - 1, head.grid), pyramid.sizes(finer, head.grid)
            )
        levels.append(plane)
    return {index: [plane[index][0] for plane in in_order(levels)] for index in points_of(head.grid)}


def in_order(levels: list[dict[Index, list[Number]]]) -> list[dict[Index, list[Number]]]:
    """Features stand in the order of levels."""
    return levels


def up_sampled(
    plane: dict[Index, list[Number]], pyramid: Pyramid, taps: Sequence[float], before: Index, after: Index
) -> dict[Index, list[Number]]:
    """A level on the lattice of the next one."""
    sizes = list(before)
    for axis in range(len(before)):
        if not pyramid.halved >> axis & 1:
            continue
        sizes[axis] = after[axis]
        plane = {index: [_tapped(plane, taps, index, axis, before[axis])] for index in points_of(sizes)}
    return plane


def _tapped(plane: Lattice, taps: Sequence[float], index: Index, axis: int, m: int) -> Number:
    i = index[axis]
    direction = 1 if i & 1 else -1
    sources = [clip((i >> 1) + direction * step, m) for step in STEPS_TO_TAPS[: len(taps)]]
    inputs = [plane[(*index[:axis], source, *index[axis + 1 :])][0] for source in sources]
    return dot(taps, inputs)


def neighbour(values: Lattice, index: Index, sizes: Sequence[int]) -> list[Number]:
    """The values at a lattice point, or at the nearest one for an index outside."""
    return values[tuple(clip(i, n) for i, n in zip(index, sizes, strict=True))]


def conv_sums(
    head: Head, pyramid: Pyramid, entries: Sequence[float], bias: Sequence[float], values: Lattice
) -> dict[Index, list[Number]]:
    """Values of a lattice filter before its activation."""
    sizes = head.grid
    offsets = [(-1, 0, 1) if pyramid.halved >> axis & 1 else (0,) for axis in range(len(sizes))]
    out = {}
    for index in values:
        around = [
            neighbour(values, tuple(i + d for i, d in zip(index, shift, strict=True)), sizes)
            for shift in product(*offsets)
        ]
        inputs = [near[i] for i in range(len(values[index])) for near in around]
        n = len(inputs)
        sums = []
        for o, (b, x) in enumerate(zip(bias, values[index], strict=True)):
            sums.append(dot([*entries[o * n : (o + 1) * n], 1.0], [*inputs, x], (b, 0.0)))
        out[index] = sums
    return out


def lattice_values(head: Head, values: Lattice, point: Sequence[float]) -> list[Number]:
    """Cubic interpolation of values of the native lattice."""
    most = max(abs(v) for numbers in values.values() for v, _ in numbers)
    positions = [lattice_position(head, axis, x) for axis, x in enumerate(point)]
    axes = []
    for p, n in zip(positions, head.grid, strict=True):
        i = min(math.floor(p), max(n - 2, 0))
        axes.append([(max(0, min(i + k - 1, n - 1)), w) for k, w in enumerate(cubic_weights(p - i))])
    moved = sum(POSITION_ULPS * UNIT_ROUNDOFF * n * SLOPE * most for n in head.grid if n > 1)
    moved += WEIGHT_ULPS * UNIT_ROUNDOFF * len(axes) * math.prod(map(len, axes)) * most
    return [(value, error + moved) for value, error in weighted(lambda index: values[index], axes)]


def cubic_weights(f: float) -> tuple[float, ...]:
    """Of the points one below, below, above and one above."""
    return (
        -f / 2 + f**2 - f**3 / 2,
        1 - 5 * f**2 / 2 + 3 * f**3 / 2,
        f / 2 + 2 * f**2 - 3 * f**3 / 2,
        -(f**2) / 2 + f**3 / 2,
    )
