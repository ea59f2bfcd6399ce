"""Clauses 15 and 16 on the decoded object: sampling, grids of any size, samples, limits and errors."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sinrfmt
from sinrfmt import evaluate, field
from sinrfmt.head import Header
from sinrfmt.network import SeededFourierEncoding
from sinrfmt.registry import Coding, Coords, Tool, Values
from tests.strategies import Made, assert_error, files, fixed, header_of, make_file, siren, small_file


def field_of(header: Header | None = None, **options: Any) -> sinrfmt.Field:
    return sinrfmt.loads(make_file(header or header_of(siren(1)), [(Coding.PACKED, 0)], **options).data)


BOX = {"coords": Coords.BOX, "box": ((0.0, 1.0), (-4.0, 4.0))}


@pytest.mark.parametrize("fields", [*({"coords": c} for c in list(Coords)[:4]), BOX], ids=str)
@pytest.mark.parametrize("size", [None, (1, 1), (1, 5), (7, 2)])
def test_a_grid_is_the_samples_at_its_coordinates(fields: dict[str, Any], size: tuple[int, int] | None) -> None:
    decoded = field_of(header_of(siren(1), grid=(3, 4), **fields))
    rows, columns = evaluate.grid_axes(decoded.header.coords, size or (3, 4), decoded.header.box)
    coords = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    grid = decoded.grid(size)
    assert (grid.dtype, grid.shape) == (np.float32, (*(size or (3, 4)), 3))
    np.testing.assert_allclose(grid, decoded.sample(coords), atol=1e-5)


@pytest.mark.parametrize("in_dims", range(1, 9))
def test_grids_of_every_number_of_axes(in_dims: int) -> None:
    network = replace(siren(1), in_dims=in_dims)
    grid = (2, 3, 1, 2, 1, 2, 1, 2)[:in_dims]
    decoded = field_of(header_of(network, grid=grid))
    axes = evaluate.grid_axes(decoded.header.coords, grid, None)
    coords = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    np.testing.assert_allclose(decoded.grid(), decoded.sample(coords), atol=1e-5)


def test_a_grid_does_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = field_of(header_of(replace(siren(1), input_encoding=SeededFourierEncoding(3, 0.1)), grid=(9, 7)))
    whole = decoded.grid()
    monkeypatch.setattr(evaluate, "BLOCK_VALUES", 20)
    np.testing.assert_allclose(decoded.grid(), whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(2,), (5, 2), (0, 2), (2, 3, 2), (4, 0, 2)])
def test_samples_have_the_shape_of_the_coordinates(shape: tuple[int, ...]) -> None:
    decoded = field_of()
    assert decoded.sample(np.zeros(shape)).shape == (*shape[:-1], 3)


def test_samples_of_lists_and_other_layouts() -> None:
    decoded = field_of()
    x = np.random.default_rng(0).uniform(-1, 1, (6, 4))
    expected = decoded.sample(np.ascontiguousarray(x[:, ::2], dtype=np.float32))
    np.testing.assert_array_equal(decoded.sample(x[:, ::2]), expected)
    np.testing.assert_array_equal(decoded.sample(x[:, ::2].tolist()), expected)


@pytest.mark.parametrize("coords", [0.0, [], [0.0], [0.0, 0.0, 0.0], np.zeros((2, 3)), np.zeros((3, 0))])
def test_coordinates_of_another_number_of_axes(coords: Any) -> None:
    assert_error("USAGE", None, field_of().sample, coords)


@pytest.mark.parametrize("size", [(3,), (3, 4, 5), (0, 4), (3, -1)])
def test_sizes_that_do_not_fit(size: tuple[int, ...]) -> None:
    assert_error("USAGE", None, field_of().grid, size)
    assert_error("USAGE", None, field_of().to_uint8, size)


def test_a_field_without_native_grid_needs_a_size() -> None:
    decoded = field_of(header_of(siren(1), grid=()))
    assert (decoded.shape, decoded.ndim) == ((), 0)
    assert_error("USAGE", None, decoded.grid)
    assert decoded.grid((2, 2)).shape == (2, 2, 3)


def test_the_limit_on_output_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """LIM-3, before anything is allocated."""
    decoded = field_of()
    assert_error("LIMIT_CALLER", None, decoded.grid, (1 << 16, 1 << 16))
    monkeypatch.setattr(field, "OUTPUT_VALUES_LIMIT", 3 * 20)
    assert decoded.grid((4, 5)).shape == (4, 5, 3)
    assert_error("LIMIT_CALLER", None, decoded.grid, (3, 7))


@pytest.mark.parametrize("values", Values)
def test_8_bit_samples_of_the_grid(values: Values) -> None:
    decoded = field_of(header_of(siren(1), values=values))
    samples = decoded.to_uint8()
    assert (samples.dtype, samples.shape) == (np.uint8, (4, 6, 3))
    np.testing.assert_array_equal(samples, evaluate.to_uint8(values, decoded.grid()))


def test_a_field_is_an_array() -> None:
    decoded = field_of()
    assert (decoded.shape, decoded.ndim, decoded.dtype) == ((4, 6, 3), 3, np.float32)
    np.testing.assert_array_equal(np.asarray(decoded), decoded.grid())
    assert np.asarray(decoded, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.asarray(decoded, dtype=np.float64), decoded.grid().astype(np.float64))
    with pytest.raises(ValueError, match="always a copy"):
        decoded.__array__(copy=False)


def test_weights_by_name() -> None:
    decoded = field_of(header_of(siren(2, bias=False)))
    assert {name: w.shape for name, w in decoded.state_dict.items()} == {
        "layers.0.weight": (5, 2),
        "layers.1.weight": (5, 5),
        "layers.2.weight": (3, 5),
    }
    assert all(w.dtype == np.float32 for w in decoded.weights)
    with pytest.raises(ValueError, match="read-only"):
        decoded.weights[0][0, 0] = 1


def test_equality_is_that_of_bytes_and_passes() -> None:
    two = small_file((Coding.PACKED, 0), (Coding.PACKED, 0)).data
    assert sinrfmt.loads(two) == sinrfmt.loads(two)
    assert hash(sinrfmt.loads(two)) == hash(sinrfmt.loads(two))
    assert sinrfmt.loads(two) != sinrfmt.loads(two, passes=1)
    assert sinrfmt.loads(two) != field_of()
    assert sinrfmt.loads(two) != two
    assert "pass 1 of 2" in repr(sinrfmt.loads(two, passes=1))
    assert "field 4x6x3, 33 parameters" in repr(field_of())
    assert "field 2-D" in repr(field_of(header_of(siren(1), grid=())))


def test_raw_weights_are_used_as_they_are() -> None:
    decoded = field_of(header_of(siren(1, tool=Tool.RAW)))
    np.testing.assert_array_equal(decoded.weights[0].ravel().view(np.int32), decoded.states[0].acc)


@fixed(60)
@given(files(max_passes=1), st.integers(0, 5))
def test_any_field_can_be_sampled(made: Made, n: int) -> None:
    decoded = sinrfmt.loads(made.data)
    network = decoded.header.network
    x = np.random.default_rng(n).uniform(-1, 1, (n, network.in_dims))
    assert decoded.sample(x).shape == (n, network.out_channels)
