"""Clauses 16.5 and 16.6: grids and pyramids against sums written out one by one in binary64."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sinrfmt import evaluate, lattice
from sinrfmt.grids import Frame, grid_features
from sinrfmt.lattice import Lattice
from sinrfmt.network import GridEncoding, InputRecord, LayerRecord, MultiplyRecord, Network, PyramidEncoding, Record
from sinrfmt.registry import ContextId, Coords, RecordKind

Floats = NDArray[np.float64]
BOX = ((-3.0, 5.0), (0.5, 0.75), (10.0, 11.0))
POINTWISE = (LayerRecord(RecordKind.RELU, 5), LayerRecord(RecordKind.LINEAR, 2))
FILTERS = (LayerRecord(RecordKind.CONV_RELU, 2), LayerRecord(RecordKind.CONV, 2, bias=False))
STRUCTURE = (
    InputRecord(0, 1),
    LayerRecord(RecordKind.RELU, 5),
    LayerRecord(RecordKind.LINEAR, 1, is_output=True),
    LayerRecord(RecordKind.FILTER, 0, omega=2.0),
    MultiplyRecord(2),
    LayerRecord(RecordKind.LINEAR, 2),
)
"""With coordinates in several places, an output aside, and a filter that is multiplied in twice."""
APPENDED = (LayerRecord(RecordKind.CONV_RELU, 2), InputRecord(0, 1), LayerRecord(RecordKind.CONV, 3, bias=False))
ALL_RECORDS = [POINTWISE, POINTWISE + FILTERS, STRUCTURE, STRUCTURE + APPENDED]


def network_of(records: tuple[Record, ...], encoding: PyramidEncoding) -> Network:
    """With the outputs of the last record, and those aside."""
    layers = [record for record in records if isinstance(record, LayerRecord)]
    n_aside = sum(record.width for record in layers if record.is_output)
    return Network(len(encoding.grid), layers[-1].width + n_aside, records, encoding)


def random_weights(network: Network, seed: int = 0) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(-3, 4, t.shape) if "levels" in t.name else rng.normal(0, 0.3, t.shape)).astype(np.float32)
        for t in network.tensors
    ]


# --- the text, sample by sample --------------------------------------------------------------------------------------

DEFAULTS = {1: [1.0], 2: [0.75, 0.25], 3: [0.75, 0.25, 0.0]}
OFFSETS = (0, 1, -1, 2, -2, 3, -3, 4)


def upsampled(before: Floats, n: int, filters: Floats) -> Floats:
    """The first axis from m to n samples."""
    t = len(filters)
    default = DEFAULTS.get(t, [111 / 128, 29 / 128, -9 / 128, -3 / 128, *[0.0] * 4][:t])
    out = np.zeros((n, *before.shape[1:]))
    for i in range(n):
        s = 1 if i % 2 else -1
        for j in range(t):
            place = min(max((i >> 1) + s * OFFSETS[j], 0), len(before) - 1)
            out[i] += (default[j] + filters[j]) * before[place]
    return out


def lattice_features(encoding: PyramidEncoding, tensors: dict[str, Any]) -> Floats:
    """(*grid, n_levels)"""
    features = []
    for level in range(encoding.n_levels):
        plane = tensors[f"pyramid.levels.{level}"].astype(np.float64)
        for finer in range(level + 1, encoding.n_levels):
            filters = tensors["pyramid.filter"][0 if encoding.shared_filter else finer - 1].astype(np.float64)
            for axis in encoding.axes:
                n = encoding.level_shape(finer)[axis]
                plane = np.moveaxis(upsampled(np.moveaxis(plane, axis, 0), n, filters), 0, axis)
        features.append(plane)
    return np.stack(features, axis=-1)


def steps(network: Network, tensors: dict[str, Any], h: Floats, x: Floats, axes: tuple[int, ...] = ()) -> Floats:
    """All steps on (..., channels) at coordinates (..., in_dims); lattice filters over ``axes``."""
    outputs = []
    waves: dict[int, Floats] = {}
    for step in network.steps:
        if isinstance(step, InputRecord):
            h = np.concatenate([h, x[..., step.first : step.first + step.count]], axis=-1)
            continue
        if isinstance(step, MultiplyRecord):
            h = h * waves[step.layer]
            continue
        weight = tensors[step.weight_name].astype(np.float64)
        bias = tensors[step.bias_name] if step.record.bias else 0.0
        if step.kind is RecordKind.FILTER:
            waves[step.index] = np.sin(step.omega * (x @ weight.T + bias))
            h = h * waves[step.index]
        elif step.record.is_output:
            outputs.append(h @ weight.T + bias)
        elif step.kind in (RecordKind.CONV, RecordKind.CONV_RELU):
            h = h + filtered(h, weight.reshape(step.n_out, step.n_in, *[3] * len(axes)), axes) + bias
        else:
            h = h @ weight.T + bias
        h = np.maximum(h, 0) if step.kind in (RecordKind.RELU, RecordKind.CONV_RELU) else h
    return np.concatenate([h, *outputs], axis=-1)


def lattice_coords(frame: Frame) -> Floats:
    """(*grid, axes)"""
    axes = evaluate.grid_axes(frame.coords, frame.grid, frame.box)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float64)


def filtered(x: Floats, weight: Floats, axes: tuple[int, ...]) -> Floats:
    out = np.zeros((*x.shape[:-1], len(weight)))
    for point in product(*map(range, x.shape[:-1])):
        for k in product(range(3), repeat=len(axes)):
            place = list(point)
            for axis, step in zip(axes, k, strict=True):
                place[axis] = min(max(point[axis] + step - 1, 0), x.shape[axis] - 1)
            out[point] += weight[(slice(None), slice(None), *k)] @ x[tuple(place)]
    return out


def interpolated(values: Floats, position: Floats) -> Floats:
    """Multilinear interpolation of (*sizes, channels)."""
    total = np.zeros(values.shape[-1])
    lower = [int(min(np.floor(p), max(n - 2, 0))) for p, n in zip(position, values.shape[:-1], strict=True)]
    for corner in product((0, 1), repeat=len(lower)):
        weight = np.prod([p - i if c else 1 - (p - i) for p, i, c in zip(position, lower, corner, strict=True)])
        if weight:
            total += weight * values[tuple(i + c for i, c in zip(lower, corner, strict=True))]
    return total


def cubic(values: Floats, position: Floats) -> Floats:
    """Cubic interpolation of (*sizes, channels), one point after the other."""
    total = np.zeros(values.shape[-1])
    sizes = values.shape[:-1]
    lower = [int(min(np.floor(p), max(n - 2, 0))) for p, n in zip(position, sizes, strict=True)]
    for corner in product((-1, 0, 1, 2), repeat=len(lower)):
        weight = np.prod([kernel(p - i - k) for p, i, k in zip(position, lower, corner, strict=True)])
        place = (min(max(i + k, 0), n - 1) for i, k, n in zip(lower, corner, sizes, strict=True))
        total += weight * values[tuple(place)]
    return total


def kernel(s: float) -> float:
    """Keys' own form: a distance in samples -> the weight."""
    s = abs(s)
    return 1.5 * s**3 - 2.5 * s**2 + 1 if s <= 1 else -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2


def lattice_position(coords: Coords, x: float, n: int, n_first: int, box: tuple[float, float]) -> float:
    p = {
        Coords.CENTRES: ((x + 1) * n - 1) / 2,
        Coords.CORNERS: (x + 1) * max(n - 1, 1) / 2,
        Coords.CORNERS_PROPORTIONAL: (x + 1) * max(n_first - 1, 1) / 2,
        Coords.CENTRES_UNIT: x * n - 0.5,
        Coords.BOX: (x - box[0]) / (box[1] - box[0]) * n - 0.5,
    }[coords]
    return min(max(p, 0.0), n - 1.0)


# --- pyramids --------------------------------------------------------------------------------------------------------

PYRAMIDS = {
    "an axis": PyramidEncoding((11,), 3, axes=(0,), context=ContextId.FACTORISED),
    "one sample": PyramidEncoding((1, 1), 4),
    "two taps, one filter for all": PyramidEncoding((9, 7), 4, filter_numbers=1, shared_filter=True),
    "four taps": PyramidEncoding((6, 7), 3, filter_numbers=2),
    "six taps": PyramidEncoding((6, 7), 3, filter_numbers=3),
    "eight taps": PyramidEncoding((13, 10), 4),
    "sixteen taps": PyramidEncoding((9, 12), 3, filter_numbers=8),
    "one axis of two": PyramidEncoding((5, 6), 2, axes=(1,), context=ContextId.FACTORISED),
    "frames": PyramidEncoding((3, 5, 6), 3, axes=(1, 2)),
    "one level": PyramidEncoding((4, 4), 1),
}


@pytest.mark.parametrize("records", ALL_RECORDS)
@pytest.mark.parametrize("case", PYRAMIDS)
@pytest.mark.parametrize("block", [evaluate.BLOCK_VALUES, 60])
def test_values_on_the_native_grid(
    case: str, records: tuple[Record, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = PYRAMIDS[case]
    network, frame = network_of(records, encoding), Frame(grid=encoding.grid)
    weights = random_weights(network)
    tensors = evaluate.named_tensors(network, weights)
    expected = steps(network, tensors, lattice_features(encoding, tensors), lattice_coords(frame), encoding.axes)
    monkeypatch.setattr(lattice, "BLOCK_VALUES", block)
    found = Lattice(network, weights, frame).grid()
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("coords", Coords)
@pytest.mark.parametrize("records", ALL_RECORDS)
@pytest.mark.parametrize("block", [evaluate.BLOCK_VALUES, 60])
def test_values_between_the_samples(
    coords: Coords, records: tuple[Record, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = PyramidEncoding((5, 9), 3)
    network, frame = network_of(records, encoding), Frame(coords, encoding.grid, BOX[:2])
    weights = random_weights(network, 1)
    tensors = evaluate.named_tensors(network, weights)
    features = lattice_features(encoding, tensors)
    whole = steps(network, tensors, features, lattice_coords(frame), encoding.axes)
    x = np.random.default_rng(2).uniform(-1.2, 2.2, (40, 2)).astype(np.float32)
    if coords is Coords.BOX:
        x = x * np.float32([4, 0.2]) + np.float32([1, 0.6])
    monkeypatch.setattr(lattice, "BLOCK_VALUES", block)
    found = Lattice(network, weights, frame).sample(x)
    for point, value in zip(x.astype(np.float64), found, strict=True):
        position = np.array([
            lattice_position(coords, float(c), n, 5, box)
            for c, n, box in zip(point, encoding.grid, BOX, strict=False)
        ])  # fmt: skip
        if records in (POINTWISE, STRUCTURE):
            expected = steps(network, tensors, cubic(features, position), point)
        else:
            expected = cubic(whole, position)
        np.testing.assert_allclose(value, expected, atol=2e-5)


@pytest.mark.parametrize("coords", Coords)
@pytest.mark.parametrize("records", ALL_RECORDS)
def test_samples_of_the_native_grid_are_its_values(coords: Coords, records: tuple[Record, ...]) -> None:
    encoding = PyramidEncoding((7, 1, 10), 3, axes=(1, 2))
    network, frame = network_of(records, encoding), Frame(coords, encoding.grid, BOX)
    field = Lattice(network, random_weights(network), frame)
    values = field.sample(lattice_coords(frame).reshape(-1, 3).astype(np.float32))
    np.testing.assert_allclose(values.reshape(7, 1, 10, network.out_channels), field.grid(), atol=1e-4)


def test_val_2_a_coordinate_that_is_not_a_number_has_position_0() -> None:
    encoding = PyramidEncoding((5, 9), 3)
    network = Network(2, 2, POINTWISE, encoding)
    field = Lattice(network, random_weights(network), Frame(grid=encoding.grid))
    odd = np.array([[np.nan, 0.1], [np.inf, 0.1], [-np.inf, 0.1]], dtype=np.float32)
    plain = np.array([[-1, 0.1], [1, 0.1], [-1, 0.1]], dtype=np.float32)
    np.testing.assert_array_equal(field.sample(odd), field.sample(plain))
    assert field.sample(odd[:0]).shape == (0, 2)


# --- grids -----------------------------------------------------------------------------------------------------------


def unit(coords: Coords, x: float, grid: tuple[int, ...], axis: int) -> float:
    low, high = BOX[axis]
    t = {
        Coords.CENTRES: (x + 1) / 2,
        Coords.CORNERS: (x + 1) / 2,
        Coords.CORNERS_PROPORTIONAL: (x + 1) / 2 * max(grid[0] - 1, 1) / max(grid[axis] - 1, 1),
        Coords.CENTRES_UNIT: x,
        Coords.BOX: (x - low) / (high - low),
    }[coords]
    return min(max(t, 0.0), 1.0)


def level_features(encoding: GridEncoding, tensors: dict[str, Any], level: int, t: list[float]) -> Floats:
    resolutions = encoding.resolutions[level]
    latents = tensors[f"grid.levels.{level}"].astype(np.float64)
    vertices = np.zeros((*resolutions, encoding.latent_dim))
    for vertex in product(*map(range, resolutions)):
        hashed = 0
        for i, prime in zip(vertex, (1, 2654435761, 805459861, 3674653429), strict=False):
            hashed ^= i * prime % 2**32
        dense = int(np.ravel_multi_index(vertex, resolutions))
        is_dense = np.prod(resolutions) <= 2**encoding.log2_table_size
        vertices[vertex] = latents[dense if is_dense else hashed % 2**encoding.log2_table_size]
    z = interpolated(vertices, np.array([u * (n - 1) for u, n in zip(t, resolutions, strict=True)]))
    first = level * encoding.feature_dim if encoding.decoder_per_level else 0
    rows = slice(first, first + encoding.feature_dim)
    bias = tensors["grid.decoder.bias"][rows] if encoding.record.bias else 0.0
    out: Floats = tensors["grid.decoder.weight"][rows].astype(np.float64) @ z + bias
    return out


GRID = GridEncoding(((2, 3), (4, 4), (9, 7)), latent_dim=2, feature_dim=3, log2_table_size=4)
GRIDS = {
    "as published": GridEncoding(((4, 4), (6, 6), (9, 9)), log2_table_size=5),
    "vectors": GRID,
    "a decoder a level": replace(GRID, decoder_per_level=True),
    "summed": replace(GRID, summed=True, decoder_per_level=True),
    "input appended, no bias": replace(GRID, append_input=True, record=LayerRecord(RecordKind.GRID, 1, bias=False)),
    "one axis": GridEncoding(((5,), (1,)), feature_dim=2),
    "three axes": GridEncoding(((2, 3, 2), (4, 5, 6)), log2_table_size=5),
}


@pytest.mark.parametrize("coords", Coords)
@pytest.mark.parametrize("case", GRIDS)
def test_features_of_grids(case: str, coords: Coords) -> None:
    encoding, grid = GRIDS[case], (6, 4, 9)
    network = Network(3, 1, (LayerRecord(RecordKind.LINEAR, 1),), encoding)
    weights = random_weights(network, 3)
    tensors = evaluate.named_tensors(network, weights)
    x = np.random.default_rng(4).uniform(-1.2, 1.3, (30, 3)).astype(np.float32)
    x[0], x[1] = -1, 1
    found = grid_features(encoding, tensors, Frame(coords, grid, BOX), x)
    assert found.shape == (30, network.input_width)
    for point, inputs in zip(x.astype(np.float64), found, strict=True):
        t = [unit(coords, float(point[axis]), grid, axis) for axis in range(encoding.n_axes)]
        features = [level_features(encoding, tensors, level, t) for level in range(encoding.n_levels)]
        levels = np.sum(features, axis=0) if encoding.summed else np.concatenate(features)
        tail = point if encoding.append_input else point[encoding.n_axes :]
        np.testing.assert_allclose(inputs, np.concatenate([levels, tail]), atol=2e-5)
