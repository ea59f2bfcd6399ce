"""Clause 16: coordinates, input encodings, layers and samples against a straightforward binary64 evaluation."""

import cmath
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sinrfmt import evaluate
from sinrfmt.grids import Frame, grid_features
from sinrfmt.network import (
    FourierEncoding,
    GridEncoding,
    InputRecord,
    Layer,
    LayerRecord,
    MultiplyRecord,
    Network,
    PyramidEncoding,
    SeededFourierEncoding,
)
from sinrfmt.philox import T8, Tag, words
from sinrfmt.registry import Coords, RecordKind, Values
from tests.strategies import LAYER_KINDS, PUBLISHED, fixed, networks

Doubles = NDArray[np.float64]
FORMULAS = {
    Coords.CENTRES: lambda i, n, n0: (2 * i + 1) / n - 1,
    Coords.CORNERS: lambda i, n, n0: 2 * i / max(n - 1, 1) - 1,
    Coords.CORNERS_PROPORTIONAL: lambda i, n, n0: 2 * i / max(n0 - 1, 1) - 1,
    Coords.CENTRES_UNIT: lambda i, n, n0: (i + 0.5) / n,
    Coords.BOX: lambda i, n, n0: -0.3 + (7.1 - -0.3) * (i + 0.5) / n,
}
ACTIVATIONS = {
    RecordKind.LINEAR: lambda t: t,
    RecordKind.SINE: math.sin,
    RecordKind.RELU: lambda t: max(t, 0.0),
    RecordKind.GAUSSIAN: lambda t: math.exp(-(t**2)),
    RecordKind.TANH: math.tanh,
    RecordKind.SIGMOID: lambda t: 1 / (1 + math.exp(-t)),
    RecordKind.ELU: lambda t: t if t > 0 else math.exp(t) - 1,
    RecordKind.FILTER: math.sin,
}


@pytest.mark.parametrize("coords", Coords)
@pytest.mark.parametrize(("n", "n0"), [(1, 1), (1, 7), (2, 2), (3, 5), (7, 1), (256, 100), (1000, 1000)])
def test_coordinates_of_an_axis(coords: Coords, n: int, n0: int) -> None:
    """Clause 16.1: in binary64, rounded to binary32."""
    found = evaluate.axis_coords(coords, n, n0, (-0.3, 7.1))
    assert found.dtype == np.float32
    assert found.tolist() == [float(np.float32(FORMULAS[coords](i, n, n0))) for i in range(n)]


@pytest.mark.parametrize(
    ("coords", "n", "ends"),
    [(Coords.CENTRES, 4, (-0.75, 0.75)), (Coords.CENTRES, 1, (0, 0)), (Coords.CORNERS, 5, (-1, 1)),
     (Coords.CORNERS, 1, (-1, -1)), (Coords.CENTRES_UNIT, 1, (0.5, 0.5)), (Coords.CENTRES_UNIT, 4, (0.125, 0.875))],
)  # fmt: skip
def test_ends_of_an_axis(coords: Coords, n: int, ends: tuple[float, float]) -> None:
    x = evaluate.axis_coords(coords, n, n)
    assert (x[0], x[-1]) == ends


def test_corners_proportional_keeps_the_spacing_of_the_first_axis() -> None:
    rows, columns = evaluate.grid_axes(Coords.CORNERS_PROPORTIONAL, (3, 5), None)
    assert (rows.tolist(), columns.tolist()) == ([-1, 0, 1], [-1, 0, 1, 2, 3])


def test_every_axis_has_its_box() -> None:
    axes = evaluate.grid_axes(Coords.BOX, (2, 1), ((0.0, 4.0), (-1.0, 2.0)))
    assert [axis.tolist() for axis in axes] == [[1.0, 3.0], [0.5]]


@pytest.mark.parametrize("kind", LAYER_KINDS)
def test_activations(kind: RecordKind) -> None:
    """Clause 6.4, also where a naive exponential would overflow."""
    t = np.array([-200, -90, -20, -3.5, -1, -1e-4, -0.0, 0.0, 1e-4, 0.5, 1, 3.5, 20, 90, 200], dtype=np.float32)
    with np.errstate(over="raise", invalid="raise"):
        found = evaluate.ACTIVATIONS[kind](t)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [ACTIVATIONS[kind](float(v)) for v in t], rtol=1e-6, atol=1e-37)


# --- 16.2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [2.0, 1.0, 1.5, 0.5, 255.0])
@pytest.mark.parametrize("times_pi", [False, True])
def test_fourier_frequencies(base: float, times_pi: bool) -> None:
    found = evaluate.fourier_frequencies(FourierEncoding(8, base, times_pi=times_pi))
    expected = [np.float32(base**j * (math.pi if times_pi else 1)) for j in range(8)]
    assert found.tolist() == expected


def fourier(encoding: FourierEncoding, x: Doubles) -> Doubles:
    """Clause 16.2 in order; only the argument is a binary32 product, as the text says."""
    outputs = list(x) if encoding.include_input else []
    for j in range(encoding.octaves):
        frequency = np.float32(encoding.base**j * (math.pi if encoding.times_pi else 1))
        arguments = [float(np.float32(np.float32(v) * frequency)) for v in x]
        outputs += [math.sin(a) for a in arguments] + [math.cos(a) for a in arguments]
    return np.array(outputs)


@pytest.mark.parametrize("include_input", [False, True])
@pytest.mark.parametrize("times_pi", [False, True])
@pytest.mark.parametrize("in_dims", [1, 2, 3])
def test_fourier_features(include_input: bool, times_pi: bool, in_dims: int) -> None:
    encoding = FourierEncoding(5, 1.7, include_input, times_pi)
    x = np.random.default_rng(in_dims).uniform(-1, 1, (6, in_dims)).astype(np.float32)
    found = evaluate.encode_inputs(encoding, x, None)
    assert found.shape == (6, encoding.n_out(in_dims))
    np.testing.assert_allclose(found, [fourier(encoding, row.astype(np.float64)) for row in x], atol=1e-6)


def seeded_rows(encoding: SeededFourierEncoding, in_dims: int, seed: int) -> Doubles:
    """RNG-6: entry (i, j) is the sum of T8 over the four bytes of word i * in_dims + j."""
    sums = [sum(int(T8[(int(word) >> shift) & 0xFF]) for shift in (0, 8, 16, 24))
            for word in words(encoding.n_features * in_dims, 0, Tag.FOURIER, seed)]  # fmt: skip
    return np.array(sums, dtype=np.float64).reshape(-1, in_dims)


@pytest.mark.parametrize("in_dims", [1, 3])
@pytest.mark.parametrize("seed", [0, 5, (1 << 40) + 3])
def test_seeded_fourier_features(in_dims: int, seed: int) -> None:
    encoding = SeededFourierEncoding(7, float(np.float32(0.0123)))
    B = seeded_rows(encoding, in_dims, seed) * encoding.scale
    matrix = evaluate.seeded_matrix(encoding, in_dims, seed)
    np.testing.assert_array_equal(matrix, B.astype(np.float32))
    x = np.random.default_rng(in_dims).uniform(-1, 1, (6, in_dims)).astype(np.float32)
    t = x.astype(np.float64) @ matrix.astype(np.float64).T
    found = evaluate.encode_inputs(encoding, x, seed)
    np.testing.assert_allclose(found, np.concatenate([np.sin(t), np.cos(t)], axis=1), atol=2e-6)


# --- 16.3 ------------------------------------------------------------------------------------------------------------


def reference(network: Network, weights: list[NDArray[np.float32]], x: Doubles, seed: int | None) -> Doubles:
    """Clauses 6.7 and 16.3 in binary64, one sample."""
    first: Any = list(x)
    if isinstance(network.input_encoding, FourierEncoding):
        first = list(fourier(network.input_encoding, x))
    elif isinstance(network.input_encoding, GridEncoding):
        named = evaluate.named_tensors(network, weights)
        first = grid_features(network.input_encoding, named, Frame(), x[None].astype(np.float32))[0].tolist()
    elif isinstance(network.input_encoding, SeededFourierEncoding):
        assert seed is not None
        t = evaluate.seeded_matrix(network.input_encoding, len(x), seed).astype(np.float64) @ x
        first = [*np.sin(t), *np.cos(t)]
    elif isinstance(network.records[0], InputRecord):
        first = []
    current, outputs, tensors = first, [], iter(weights)
    found: list[list[float]] = []  # of every layer
    for step in network.steps:
        if isinstance(step, InputRecord):
            axes = x[step.first : step.first + step.count]
            current = [*current, *(axes if step.encoding is None else fourier(step.encoding, axes))]
        elif isinstance(step, MultiplyRecord):
            current = [a * b for a, b in zip(current, found[step.layer], strict=True)]
        else:
            found.append(outputs_of(step, tensors, list(x) if step.kind is RecordKind.FILTER else current))
            if step.kind is RecordKind.FILTER:
                current = [a * b for a, b in zip(current, found[-1], strict=True)]
            elif step.record.is_output:
                outputs += found[-1]
            else:
                current = found[-1]
    return np.array([*current, *outputs])


def outputs_of(layer: Layer, tensors: Any, z: list[float]) -> list[float]:
    """One layer of clause 16.3; GABOR in complex numbers."""
    matrix = next(tensors).astype(np.float64)
    bias = next(tensors).astype(np.float64) if layer.record.bias else np.zeros(len(matrix))
    if layer.is_complex:
        m, n = len(matrix) // 2, len(z) // 2
        matrix, bias = matrix[:m] + 1j * matrix[m:], bias[:m] + 1j * bias[m:]
        z = [a + 1j * b for a, b in zip(z[:n], z[n:], strict=True)]  # type: ignore[misc]
    t = matrix @ np.array(z) + bias
    if layer.kind is RecordKind.GABOR:
        waves = [cmath.exp(1j * layer.omega * v - (layer.record.scale * abs(v)) ** 2) for v in t]
        return [w.real for w in waves] + [w.imag for w in waves]
    if layer.kind is RecordKind.FINER:
        return [math.sin(layer.omega * ((abs(v) + 1) * v)) for v in t]
    return [ACTIVATIONS[layer.kind](v) for v in layer.omega * t]


def random_weights(network: Network, seed: int) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.4, tensor.shape).astype(np.float32) for tensor in network.tensors]


@pytest.mark.parametrize("kind", LAYER_KINDS)
@pytest.mark.parametrize(
    "encoding", [None, FourierEncoding(3, 2.0, True), SeededFourierEncoding(4, 0.01)], ids=["none", "fourier", "seeded"]
)
@pytest.mark.parametrize("bias", [True, False])
def test_every_kind_of_network_agrees_with_binary64(kind: RecordKind, encoding: Any, bias: bool) -> None:
    """VAL-1."""
    omega = {RecordKind.SINE: 3.0, RecordKind.GAUSSIAN: 0.5}.get(kind, 1.0)
    records = (LayerRecord(kind, 6, 2, omega, bias=bias), LayerRecord(kind, 3, omega=omega, bias=not bias))
    network = Network(2, 3, records, encoding)
    weights = random_weights(network, int(kind))
    x = np.random.default_rng(1).uniform(-1, 1, (20, 2)).astype(np.float32)
    found = evaluate.evaluate(network, weights, x, 11)
    assert (found.dtype, found.shape) == (np.float32, (20, 3))
    np.testing.assert_allclose(found, [reference(network, weights, row.astype(np.float64), 11) for row in x], atol=3e-5)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("bias", [True, False])
def test_networks_with_inputs_outputs_filters_and_wavelets_agree_with_binary64(name: str, bias: bool) -> None:
    """VAL-1, clauses 6.7 and 16.3."""
    network = PUBLISHED[name](bias=bias)
    weights = random_weights(network, 7)
    x = np.random.default_rng(1).uniform(-1, 1, (20, network.in_dims)).astype(np.float32)
    found = evaluate.evaluate(network, weights, x)
    expected = [reference(network, weights, row.astype(np.float64), None) for row in x]
    assert found.shape == (20, network.out_channels)
    np.testing.assert_allclose(found, expected, atol=3e-5)


def test_multiply_takes_the_outputs_of_its_layer() -> None:
    """Clause 16.3: the sines of a filter, one of a repeat, the values of an OUTPUT; written out."""
    waves, linear = LayerRecord(RecordKind.SINE, 4, omega=2.0), LayerRecord(RecordKind.LINEAR, 4)
    aside = LayerRecord(RecordKind.TANH, 4, is_output=True)
    filter_ = LayerRecord(RecordKind.FILTER, 0, omega=3.0)
    records = (waves, replace(linear, repeat=2), MultiplyRecord(1), filter_, aside, MultiplyRecord(3))
    network = Network(2, 5, (*records, MultiplyRecord(4), MultiplyRecord(0), LayerRecord(RecordKind.LINEAR, 1)))
    weights = random_weights(network, 3)
    w = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(weights[::2], weights[1::2], strict=True)]
    x = np.random.default_rng(1).uniform(-1, 1, (20, 2)).astype(np.float32)

    def affine(index: int, values: Doubles) -> Doubles:
        product: Doubles = values @ w[index][0].T + w[index][1]
        return product

    first = np.sin(2.0 * affine(0, x))
    second = affine(1, first)
    sines = np.sin(3.0 * affine(3, x))
    filtered = affine(2, second) * second * sines
    beside = np.tanh(affine(4, filtered))
    expected = np.concatenate([affine(5, filtered * sines * beside * first), beside], axis=1)
    np.testing.assert_allclose(evaluate.evaluate(network, weights, x), expected, atol=1e-5)


def test_blocks_are_smaller_where_outputs_are_kept() -> None:
    """Three layers of 8 outputs are alive beside the current values; the others are not kept."""
    wide = LayerRecord(RecordKind.SINE, 8, repeat=5)
    multiplies = (MultiplyRecord(0), MultiplyRecord(2), MultiplyRecord(4), MultiplyRecord(2))
    network = Network(2, 1, (wide, *multiplies, LayerRecord(RecordKind.LINEAR, 1)))
    assert network.multiplied_layers == {0, 2, 4}
    assert (network.widest, network.most_values) == (8, 32)


@fixed(60)
@given(networks().filter(lambda network: not isinstance(network.input_encoding, PyramidEncoding)))
def test_any_network_is_evaluated_as_the_text_says(network: Network) -> None:
    """Which values go where: weights are small, so that rounding does not hide it."""
    weights = [w / 100 for w in random_weights(network, 1)]
    x = np.random.default_rng(1).uniform(-0.1, 0.1, (3, network.in_dims)).astype(np.float32)
    found = evaluate.evaluate(network, weights, x, 11)
    try:
        expected = np.array([reference(network, weights, row.astype(np.float64), 11) for row in x])
    except OverflowError:  # math.exp of a large number, where binary32 has an infinity
        return
    assert found.shape == expected.shape == (3, network.out_channels)
    if max([1.0, *(layer.omega for layer in network.layers)]) <= 255 and _is_tame(network):
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-3)


def _is_tame(network: Network) -> bool:
    """Whether no frequency is so high that the argument of a sine has no binary32 digits after the point."""
    encodings = [network.input_encoding, *(s.encoding for s in network.steps if isinstance(s, InputRecord))]
    return all(e.base ** (e.octaves - 1) < 1e3 for e in encodings if isinstance(e, FourierEncoding))


def test_samples_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(2, 1, (LayerRecord(RecordKind.SINE, 16, omega=30.0), LayerRecord(RecordKind.LINEAR, 1)))
    weights = random_weights(network, 0)
    x = np.random.default_rng(2).uniform(-1, 1, (50, 2)).astype(np.float32)
    whole = evaluate.evaluate(network, weights, x)
    for block in (1, 16, 100):
        monkeypatch.setattr(evaluate, "BLOCK_VALUES", block)
        np.testing.assert_allclose(evaluate.evaluate(network, weights, x), whole, atol=1e-5)


def test_huge_weights_give_no_warning_and_no_exception() -> None:
    records = (LayerRecord(RecordKind.RELU, 2), LayerRecord(RecordKind.SINE, 1, omega=255.0))
    network = Network(1, 1, records, FourierEncoding(32, float(np.float32(3e38)), True))
    weights = [np.full(tensor.shape, 3e38, dtype=np.float32) for tensor in network.tensors]
    with np.errstate(all="raise"):
        found = evaluate.evaluate(network, weights, np.array([[0.0], [1.0], [3e38]], dtype=np.float32))
    assert found.shape == (3, 1)


# --- 16.4 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "inputs"),
    [(Values.UNIT, [k / 255 for k in range(256)]), (Values.RAW, [k / 255 for k in range(256)]),
     (Values.SIGNED, [2 * k / 255 - 1 for k in range(256)])],
)  # fmt: skip
def test_all_256_samples(values: Values, inputs: list[float]) -> None:
    assert evaluate.to_uint8(values, np.array(inputs, dtype=np.float32)).tolist() == list(range(256))


@fixed(300)
@given(st.floats(-2, 2, width=32), st.sampled_from(Values))
def test_samples_of_the_text(v: float, values: Values) -> None:
    """floor(255 min(max(v', 0), 1) + 0.5), away from the ties that binary32 cannot tell apart."""
    unit = (v + 1) / 2 if values is Values.SIGNED else v
    exact = 255 * min(max(unit, 0), 1) + 0.5
    if abs(exact - round(exact)) > 1e-4:
        assert evaluate.to_uint8(values, np.array([v], dtype=np.float32)).tolist() == [math.floor(exact)]


@pytest.mark.parametrize("values", Values)
def test_samples_outside_the_range_are_clamped(values: Values) -> None:
    v = np.array([-1e30, -np.inf, -1.001, 1.001, 1e30, np.inf], dtype=np.float32)
    assert evaluate.to_uint8(values, v).tolist() == [0, 0, 0, 255, 255, 255]
