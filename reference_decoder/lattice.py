"""Grids, pyramids and lattice filters (clauses 16.5 and 16.6)."""

import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from reference_decoder.head import CONV_RELU, Head, Record, Step, level_shape

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

PRIMES = (1, 2654435761, 805459861, 3674653429)
# §16.6: "e = 0, 1, -1, 2, -2, 3, -3, 4"
PLACES = (0, 1, -1, 2, -2, 3, -3, 4)


# --- 16.5 Interpolation and grids --------------------------------------------------------------------------------


def corners(position: Doubles, sizes: tuple[int, ...]) -> Iterator[tuple[Longs, Floats]]:
    """The vertices around each position and their weights; position and vertices (samples, axes).

    §16.5: "i = min(floor(p), max(R - 2, 0)); the vertices around it are i with the weight 1 - (p - i) and, if R > 1,
    i + 1 with the weight p - i."
    """
    last = np.array(sizes)
    i = np.minimum(np.floor(position).astype(np.int64), np.maximum(last - 2, 0))
    part = position - i
    for corner in product(*[(0, 1) if size > 1 else (0,) for size in sizes]):
        chosen = np.array(corner)
        weight = np.where(chosen == 1, part, 1 - part).prod(axis=1)
        yield i + chosen, weight.astype(np.float32)


def clipped(position: Doubles, ends: Doubles | float) -> Doubles:
    """§16.5: "clipped to 0 … 1"; VAL-2 §16.6: "A coordinate that is not a number has position 0"."""
    found: Doubles = np.nan_to_num(np.clip(position, 0, ends), copy=False, nan=0.0)
    return found


def unit_coordinates(head: Head, coords: Floats, n_axes: int) -> Doubles:
    """§16.5: "With x the coordinate of axis a, *unit coordinate* t is"; (samples, n_axes)."""
    x = coords[:, :n_axes].astype(np.float64)
    if head.coords == 3:
        return clipped(x, 1.0)
    if head.coords == 15:
        low, high = np.array(head.low[:n_axes]), np.array(head.high[:n_axes])
        return clipped((x - low) / (high - low), 1.0)
    t = (x + 1) / 2
    if head.coords == 2 and any(head.grid):
        # "(x + 1)/2·max(n0 - 1, 1)/max(n_a - 1, 1)"
        t = t * max(head.grid[0] - 1, 1) / np.maximum(np.array(head.grid[:n_axes]) - 1, 1)
    return clipped(t, 1.0)


def latent_grid(record: Record, head: Head, weights: list[Floats]) -> Callable[[Floats], Floats]:
    """The outputs of a GRID record; `weights` are its tensors in table order."""
    matrix = weights[0].reshape(-1, record.feature_dim, record.latent_dim)
    bias = weights[1].reshape(-1, record.feature_dim) if record.has_bias else None
    levels = weights[2 if record.has_bias else 1 :]

    def encode(coords: Floats) -> Floats:
        t = unit_coordinates(head, coords, record.n_axes)
        features = []
        for level, resolution in enumerate(record.resolutions):
            z = interpolated_latents(levels[level], resolution, t, record.table_size)
            # "with L the rows d·feature_dim … (d + 1)·feature_dim - 1 of grid.decoder.weight and b those of
            # grid.decoder.bias (0 if absent); d = l with flags bit 3, else 0"
            d = level if record.flags & 8 else 0
            feature = z @ matrix[d].T
            features.append(feature if bias is None else feature + bias[d])
        # "the features of all levels in order (flags bit 0: their sum over the levels); then, with flags bit 1, all
        # coordinates as they are; without it, the coordinates of the axes from n_axes on"
        joined = [sum(features[1:], features[0])] if record.flags & 1 else features
        return np.concatenate([*joined, coords if record.flags & 2 else coords[:, record.n_axes :]], axis=1)

    return encode


def interpolated_latents(level: Floats, resolution: tuple[int, ...], t: Doubles, table_size: int) -> Floats:
    """§16.5: "The level's interpolated latents z are the sums over the 2^n_axes vertices of the products of the weights
    of the axes times their latents"; (samples, latent_dim).
    """
    z = np.zeros((len(t), level.shape[1]), np.float32)
    is_dense = math.prod(resolution) <= table_size
    # "In a level with R vertices on the axis, the position is p = t·(R - 1)"
    for vertex, weight in corners(t * (np.array(resolution) - 1), resolution):
        entry = dense_entry(vertex, resolution) if is_dense else hashed_entry(vertex, table_size)
        z += weight[:, np.newaxis] * level[entry]
    return z


def dense_entry(vertex: Longs, resolution: tuple[int, ...]) -> Longs:
    """§9.6.1: "vertex (i_0, i_1, …) has the entry of its C order"."""
    entry: Longs = np.ravel_multi_index(tuple(vertex.T), resolution).astype(np.int64)
    return entry


def hashed_entry(vertex: Longs, table_size: int) -> Longs:
    """§9.6.1: "for i, p in zip(vertex, (1, 2654435761, 805459861, 3674653429)): h = h ^ (i * p) % 2**32"."""
    h = np.zeros(len(vertex), np.int64)
    for i, p in zip(vertex.T, PRIMES, strict=False):
        h ^= (i * p) % 2**32  # below 2^48: exact
    return h % table_size


# --- 16.6 Pyramids and lattice filters ---------------------------------------------------------------------------


def lattice_positions(head: Head, coords: Floats) -> Doubles:
    """§16.6: "At a coordinate x the lattice position p on each axis is the inverse of clause 16.1 for the native grid's
    n"; (samples, in_dims).
    """
    x, n = coords.astype(np.float64), np.array(head.grid, np.float64)
    match head.coords:
        case 0:
            p = ((x + 1) * n - 1) / 2
        case 1:
            p = (x + 1) * np.maximum(n - 1, 1) / 2
        case 2:
            p = (x + 1) * max(n[0] - 1, 1) / 2
        case 3:
            p = x * n - 0.5
        case _:
            low, high = np.array(head.low), np.array(head.high)
            p = (x - low) / (high - low) * n - 0.5
    return clipped(p, n - 1)


def interpolated(values: Floats, position: Doubles) -> Floats:
    """§16.6: "the *cubic interpolation* of numbers on the lattice is the sum over the 4^in_dims combinations of these
    points of the products of the weights of the axes times the numbers there"; values (grid…, channels), position
    (samples, in_dims).
    """
    grid = np.array(values.shape[:-1])
    i = np.minimum(np.floor(position).astype(np.int64), np.maximum(grid - 2, 0))
    weights = cubic_weights(position - i)
    found = np.zeros((len(position), values.shape[-1]), np.float32)
    for k in product(range(4), repeat=len(grid)):
        # "clip(i + k, 0, n - 1) for k = -1, 0, 1, 2"
        point = np.clip(i + np.array(k) - 1, 0, grid - 1)
        weight = np.prod([weights[number][:, axis] for axis, number in enumerate(k)], axis=0)
        found += weight.astype(np.float32)[:, np.newaxis] * values[tuple(point.T)]
    return found


def cubic_weights(f: Doubles) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """§16.6: the weights of k = -1, 0, 1 and 2."""
    square, cube = f**2, f**3
    return (
        -f / 2 + square - cube / 2,
        1 - 5 * square / 2 + 3 * cube / 2,
        f / 2 + 2 * square - 3 * cube / 2,
        -square / 2 + cube / 2,
    )


def pyramid_features(record: Record, head: Head, weights: list[Floats]) -> Floats:
    """The features of the finest lattice, (grid…, n_levels).

    §16.6: "the features of the finest lattice are the n_levels numbers, in the order of levels, that come of every
    level l by up-sampling it with the filters l, l + 1, …, n_levels - 2; those of the finest level are its latents."
    """
    levels = weights[-record.n_levels :]
    found = levels[0][..., np.newaxis]
    for level in range(1, record.n_levels):
        shape = level_shape(record, head.grid, level)
        # "f = l - 1, or 0 where there is one filter for all levels"
        a = up_filter(weights[0][0 if record.has_one_filter else level - 1])
        for axis in record.halved:
            found = up_sampled(found, axis, shape[axis], a)
        found = np.concatenate([found, levels[level][..., np.newaxis]], axis=-1)
    return found


def up_filter(numbers: Floats) -> Floats:
    """§16.6: "a[j] = default[j] + pyramid.filter[f, j]"."""
    # "default = 1 for t = 1; 3/4 1/4 0 for t = 2 and 3; 111/128 29/128 -9/128 -3/128 0 0 0 0 for t = 4 to 8"
    t = len(numbers)
    default = [1.0] if t == 1 else [0.75, 0.25, 0.0] if t < 4 else [111 / 128, 29 / 128, -9 / 128, -3 / 128, 0, 0, 0, 0]
    return np.array(default[:t], np.float32) + numbers


def up_sampled(before: Floats, axis: int, n: int, a: Floats) -> Floats:
    """One plane or more of samples, from m to n samples along an axis.

    §16.6: "a[j] · before[clip((i >> 1) + s · e[j], 0, m - 1)] s = 1 for odd i, -1 for even i".
    """
    i = np.arange(n)
    s = 2 * (i & 1) - 1
    shape = list(before.shape)
    shape[axis] = n
    found = np.zeros(shape, np.float32)
    for number, e in zip(a, PLACES, strict=False):
        found += number * np.take(before, np.clip((i >> 1) + s * e, 0, before.shape[axis] - 1), axis=axis)
    return found


def lattice_filter(step: Step, halved: list[int], matrix: Floats, bias: Floats | None) -> Callable[[Floats], Floats]:
    """A CONV or CONV_RELU layer on values (grid…, channels).

    §16.6: "act(x[o](p) + b[o] + sum over i and k of W[o, i, k] · x[i](clip(p + k - 1)))".
    """
    taps = matrix.reshape(step.rows, step.rows, -1)

    def apply(x: Floats) -> Floats:
        found = x.copy() if bias is None else x + bias
        for number, k in enumerate(product(range(3), repeat=len(halved))):
            found += shifted(x, halved, k) @ taps[:, :, number].T
        return np.maximum(found, 0, out=found) if step.record.kind == CONV_RELU else found

    return apply


def shifted(x: Floats, halved: list[int], k: tuple[int, ...]) -> Floats:
    """§16.6: "with k - 1 added on the halved axes only, and every index clipped into the lattice"."""
    for axis, number in zip(halved, k, strict=True):
        if number != 1:
            n = x.shape[axis]
            x = np.take(x, np.clip(np.arange(n) + number - 1, 0, n - 1), axis=axis)
    return x
