"""Latent grids and pyramids as inputs of a network: positions, interpolation, up-sampling.

Specification: clauses 9.6.1, 16.5 and 16.6. Positions are float64, latents and features float32.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sinrfmt.network import GridEncoding, PyramidEncoding
from sinrfmt.registry import Coords

Floats = NDArray[np.float32]
Positions = NDArray[np.float64]
Indices = NDArray[np.int64]
Box = tuple[tuple[int, int], ...]
"""First index and end on every axis."""

PRIMES = (1, 2654435761, 805459861, 3674653429)
TAP_OFFSETS = (0, 1, -1, 2, -2, 3, -3, 4)
FILTER_DEFAULTS = {1: (1.0,), 2: (0.75, 0.25), 3: (0.75, 0.25)}
CUBIC_DEFAULT = (111 / 128, 29 / 128, -9 / 128, -3 / 128)


@dataclass(frozen=True)
class Frame:
    """How coordinates relate to the native grid: what HEAD says of it (``grid`` is () where there is none)."""

    coords: Coords = Coords.CENTRES
    grid: tuple[int, ...] = ()
    box: tuple[tuple[float, float], ...] | None = None


# --- positions -------------------------------------------------------------------------------------------------------


def unit_coordinates(frame: Frame, x: Floats, axis: int) -> Positions:
    """Coordinates of an axis as float64[n] in [0, 1] (clause 16.5)."""
    c = x.astype(np.float64)
    if frame.coords is Coords.CENTRES_UNIT:
        t = c
    elif frame.coords is Coords.BOX:
        assert frame.box is not None
        low, high = frame.box[axis]
        t = (c - low) / (high - low)
    else:
        t = (c + 1) / 2
        if frame.coords is Coords.CORNERS_PROPORTIONAL and frame.grid:
            t *= max(frame.grid[0] - 1, 1) / max(frame.grid[axis] - 1, 1)
    return np.clip(np.nan_to_num(t, posinf=1, neginf=0), 0, 1)


def lattice_positions(frame: Frame, x: Floats) -> Positions:
    """float64[n, axes]: positions of coordinates float32[n, axes] on the native grid (clause 16.6)."""
    positions = np.empty(x.shape)
    for axis, n in enumerate(frame.grid):
        c = x[:, axis].astype(np.float64)
        if frame.coords is Coords.CENTRES:
            p = ((c + 1) * n - 1) / 2
        elif frame.coords is Coords.CORNERS:
            p = (c + 1) * max(n - 1, 1) / 2
        elif frame.coords is Coords.CORNERS_PROPORTIONAL:
            p = (c + 1) * max(frame.grid[0] - 1, 1) / 2
        elif frame.coords is Coords.CENTRES_UNIT:
            p = c * n - 0.5
        else:
            assert frame.box is not None
            low, high = frame.box[axis]
            p = (c - low) / (high - low) * n - 0.5
        positions[:, axis] = np.clip(np.nan_to_num(p, nan=0, posinf=n - 1, neginf=0), 0, n - 1)
    return positions


def lower_vertices(positions: Positions, sizes: Sequence[int]) -> Indices:
    """int64[n, axes]: the vertex below each position, the last but one at most."""
    lower: Indices = np.minimum(np.floor(positions), np.maximum(np.array(sizes) - 2, 0)).astype(np.int64)
    return lower


def corners(positions: Positions, lower: Indices, sizes: Sequence[int]) -> Iterator[tuple[Indices, Floats]]:
    """Yield the vertices int64[n, axes] around every position and their weights float32[n]."""
    fractions = (positions - lower).astype(np.float32)
    for corner in product(*((0, 1) if n > 1 else (0,) for n in sizes)):
        weights = np.ones(len(positions), dtype=np.float32)
        for axis, is_upper in enumerate(corner):
            weights *= fractions[:, axis] if is_upper else 1 - fractions[:, axis]
        yield lower + np.array(corner), weights


def cubic_corners(positions: Positions, lower: Indices, sizes: Sequence[int]) -> Iterator[tuple[Indices, Floats]]:
    """The same with the four vertices of every axis and the weights of cubic interpolation (clause 16.6)."""
    last = np.array(sizes) - 1
    weights = _cubic_weights(positions - lower)
    for corner in product(*(range(4) if n > 1 else (None,) for n in sizes)):
        weight = np.ones(len(positions), dtype=np.float32)
        for axis, number in enumerate(corner):
            if number is not None:
                weight *= weights[number][:, axis]
        steps = np.array([0 if number is None else number - 1 for number in corner])
        yield np.clip(lower + steps, 0, last), weight


def _cubic_weights(f: Positions) -> tuple[Floats, ...]:
    """float32[n, axes] of the vertices one below, below, above, one above (Keys, "Cubic convolution interpolation for
    digital image processing", 1981).
    """
    square, cube = f * f, f * f * f
    weights = (
        -f / 2 + square - cube / 2,
        1 - 2.5 * square + 1.5 * cube,
        f / 2 + 2 * square - 1.5 * cube,
        (cube - square) / 2,
    )
    return tuple(weight.astype(np.float32) for weight in weights)


# --- grids -----------------------------------------------------------------------------------------------------------


def entry_indices(encoding: GridEncoding, level: int, vertices: Indices) -> Indices:
    """The entries of vertices int64[n, axes] of a level (clause 9.6.1)."""
    resolutions = encoding.resolutions[level]
    if encoding.is_dense(level):
        return np.asarray(np.ravel_multi_index(tuple(vertices.T), resolutions), dtype=np.int64)
    hashed = np.zeros(len(vertices), dtype=np.uint32)
    for axis in range(encoding.n_axes):
        hashed ^= vertices[:, axis].astype(np.uint32) * np.uint32(PRIMES[axis])
    return (hashed & np.uint32((1 << encoding.log2_table_size) - 1)).astype(np.int64)


def grid_features(encoding: GridEncoding, tensors: Mapping[str, Floats], frame: Frame, x: Floats) -> Floats:
    """Inputs of the first layer, float32[n, n_out], at coordinates float32[n, in_dims] (clause 16.5)."""
    unit = np.stack([unit_coordinates(frame, x[:, axis], axis) for axis in range(encoding.n_axes)], axis=1)
    features = [_level_features(encoding, tensors, level, unit) for level in range(encoding.n_levels)]
    if encoding.summed:
        features = [np.sum(features, axis=0, dtype=np.float32)]
    return np.concatenate([*features, x if encoding.append_input else x[:, encoding.n_axes :]], axis=1)


def _level_features(encoding: GridEncoding, tensors: Mapping[str, Floats], level: int, unit: Positions) -> Floats:
    sizes = encoding.resolutions[level]
    positions = unit * (np.array(sizes) - 1)
    latents = tensors[f"grid.levels.{level}"]
    z = np.zeros((len(unit), encoding.latent_dim), dtype=np.float32)
    for vertices, weights in corners(positions, lower_vertices(positions, sizes), sizes):
        z += latents[entry_indices(encoding, level, vertices)] * weights[:, None]
    first = level * encoding.feature_dim if encoding.decoder_per_level else 0
    rows = slice(first, first + encoding.feature_dim)
    features: Floats = z @ tensors["grid.decoder.weight"][rows].T
    if encoding.record.bias:
        features += tensors["grid.decoder.bias"][rows]
    return features


# --- pyramids --------------------------------------------------------------------------------------------------------


def filter_taps(encoding: PyramidEncoding, tensors: Mapping[str, Floats], level: int) -> Floats:
    """float32[t]: the filter that takes samples of ``level`` to the next finer level."""
    t = encoding.filter_numbers
    taps = np.zeros(t, dtype=np.float32)
    default = FILTER_DEFAULTS.get(t, CUBIC_DEFAULT)
    taps[: len(default)] = default
    taps += tensors["pyramid.filter"][0 if encoding.shared_filter else level]
    return taps


def pyramid_window(encoding: PyramidEncoding, tensors: Mapping[str, Floats], level: int, box: Box) -> Floats:
    """Levels 0 to ``level``, up-sampled to the lattice of ``level``, inside a box of it.

    Returns:
        float32[level + 1, *box]
    """
    own = tensors[f"pyramid.levels.{level}"][tuple(slice(*edges) for edges in box)][None]
    if level == 0:
        return own
    coarse_shape = encoding.level_shape(level - 1)
    reach = encoding.filter_numbers // 2
    coarse_box = list(box)
    for axis in encoding.axes:
        start, end = box[axis]
        coarse_box[axis] = (
            max((start >> 1) - reach, 0),
            min(((end - 1) >> 1) + reach + 1, coarse_shape[axis]),
        )
    window = pyramid_window(encoding, tensors, level - 1, tuple(coarse_box))
    taps = filter_taps(encoding, tensors, level - 1)
    for axis in encoding.axes:
        window = _upsampled(window, taps, axis + 1, box[axis], coarse_box[axis][0], coarse_shape[axis])
    return np.concatenate([window, own])


def _upsampled(window: Floats, taps: Floats, axis: int, edges: tuple[int, int], first: int, n: int) -> Floats:
    """Up-sample one axis to the samples of ``edges``; ``window`` starts at sample ``first`` of n."""
    i = np.arange(*edges)
    shape = list(window.shape)
    shape[axis] = i.size
    result = np.empty(shape, dtype=np.float32)
    moved = np.moveaxis(result, axis, 0)
    source = np.moveaxis(window, axis, 0)
    for parity in (0, 1):
        chosen = slice((parity - edges[0]) & 1, None, 2)
        children = i[chosen]
        if not children.size:
            continue
        side = 2 * parity - 1
        places = [np.clip((children >> 1) + side * e, 0, n - 1) - first for e in TAP_OFFSETS[: taps.size]]
        part = source[places[0]] * taps[0]
        for tap, place in zip(taps[1:], places[1:], strict=True):
            part += source[place] * tap
        moved[chosen] = part
    return result
