"""Modules built from a network description: names, order of features, seeded initial values."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sinrfmt.evaluate import evaluate
from sinrfmt.network import FourierEncoding, LayerRecord, Network, SeededFourierEncoding
from sinrfmt.philox import fourier_sums
from sinrfmt.registry import RecordKind
from sinrfmt.torch.modules import FieldModule, initial_arrays, initial_bound
from tests.strategies import PUBLISHED

KINDS = [RecordKind.SINE, RecordKind.RELU, RecordKind.GAUSSIAN, RecordKind.TANH, RecordKind.SIGMOID, RecordKind.ELU]
FORMULAS: dict[RecordKind, Callable[[np.ndarray], np.ndarray]] = {
    RecordKind.LINEAR: lambda t: t,
    RecordKind.SINE: np.sin,
    RecordKind.RELU: lambda t: np.maximum(t, 0.0),
    RecordKind.GAUSSIAN: lambda t: np.exp(-(t**2)),
    RecordKind.TANH: np.tanh,
    RecordKind.SIGMOID: lambda t: 1.0 / (1.0 + np.exp(-t)),
    RecordKind.ELU: lambda t: np.where(t > 0.0, t, np.exp(np.minimum(t, 0.0)) - 1.0),
}


def two_layers(kind: RecordKind, **fields: object) -> Network:
    return Network(2, 3, (LayerRecord(kind, 5, **fields), LayerRecord(RecordKind.LINEAR, 3)))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_the_activation_of_omega_times_the_affine_map(kind: RecordKind) -> None:
    omega = 7.0 if kind in (RecordKind.SINE, RecordKind.GAUSSIAN) else 1.0
    module = FieldModule(two_layers(kind, omega=omega), seed=3)
    w = module.arrays()
    x = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    hidden = FORMULAS[kind](omega * (x @ w["layers.0.weight"].T + w["layers.0.bias"]))
    expected = hidden @ w["layers.1.weight"].T + w["layers.1.bias"]
    found = module(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_layer_without_bias_has_no_bias_tensor() -> None:
    module = FieldModule(two_layers(RecordKind.SINE, omega=9.0, bias=False), seed=3)
    assert list(module.arrays()) == ["layers.0.weight", "layers.1.weight", "layers.1.bias"]
    w = module.arrays()
    x = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    expected = np.sin(9.0 * x @ w["layers.0.weight"].T) @ w["layers.1.weight"].T + w["layers.1.bias"]
    found = module(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("bias", [True, False])
def test_a_network_that_is_no_chain_has_the_values_of_the_decoder(name: str, bias: bool) -> None:
    module = FieldModule(PUBLISHED[name](bias=bias), seed=3)
    x = np.random.default_rng(0).uniform(-1, 1, (20, module.network.in_dims)).astype(np.float32)
    expected = evaluate(module.network, list(module.arrays().values()), x)
    found = module(torch.from_numpy(x)).detach().numpy()
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_tensor_of_a_network_that_is_no_chain_learns(name: str) -> None:
    module = FieldModule(PUBLISHED[name](), seed=3)
    x = np.random.default_rng(0).uniform(-1, 1, (20, module.network.in_dims)).astype(np.float32)
    (module(torch.from_numpy(x)) ** 2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


def test_initial_waves_on_coordinates_do_not_depend_on_omega() -> None:
    network = PUBLISHED["bacon"]()
    bounds = {t.name: initial_bound(network, t) for t in network.tensors}
    assert bounds["layers.0.weight"] == bounds["layers.2.weight"] == bounds["layers.5.weight"] == 0.5
    assert bounds["layers.1.weight"] == pytest.approx(1 / math.sqrt(6))
    wire = PUBLISHED["wire"]()
    assert initial_bound(wire, wire.tensors[0]) == pytest.approx(1 / math.sqrt(2))


def test_fourier_features_are_per_octave_all_sines_then_all_cosines() -> None:
    encoding = FourierEncoding(octaves=2, base=2.0, include_input=True)
    module = FieldModule(Network(2, 1, (LayerRecord(RecordKind.LINEAR, 1),), encoding))
    x, y = 0.3, -0.7
    phases = [math.pi * x, math.pi * y, 2 * math.pi * x, 2 * math.pi * y]
    sines, cosines = np.sin(phases), np.cos(phases)
    expected = [x, y, *sines[:2], *cosines[:2], *sines[2:], *cosines[2:]]
    np.testing.assert_allclose(module.input(torch.tensor([[x, y]]))[0].numpy(), expected, atol=1e-6)


def test_seeded_fourier_features_are_all_sines_then_all_cosines_of_the_seeded_matrix() -> None:
    encoding = SeededFourierEncoding(n_features=6, scale=0.01)
    module = FieldModule(Network(3, 1, (LayerRecord(RecordKind.LINEAR, 1),), encoding), seed=11)
    x = np.array([0.3, -0.7, 0.1])
    phases = fourier_sums(6, 3, 11) * 0.01 @ x
    expected = np.concatenate([np.sin(phases), np.cos(phases)])
    found = module.input(torch.tensor(x, dtype=torch.float32)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_arrays_and_module_are_the_same_thing() -> None:
    network = two_layers(RecordKind.SINE, omega=20.0)
    module = FieldModule(network, seed=5)
    again = FieldModule(network, module.arrays(), seed=6)
    for name, array in module.arrays().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert list(dict(module.named_parameters())) == [tensor.name for tensor in network.tensors]


def test_an_array_of_another_shape_is_refused() -> None:
    network = two_layers(RecordKind.SINE, omega=20.0)
    arrays = FieldModule(network).arrays()
    arrays["layers.0.weight"] = arrays["layers.0.weight"].T
    with pytest.raises(ValueError, match=r"layers.0.weight: expected shape \(5, 2\)"):
        FieldModule(network, arrays)


def test_arrays_do_not_follow_the_module() -> None:
    module = FieldModule(two_layers(RecordKind.SINE, omega=20.0))
    before = module.arrays()["layers.0.bias"].copy()
    arrays = module.arrays()
    with torch.no_grad():
        module.get_parameter("layers.0.bias").add_(1.0)
    np.testing.assert_array_equal(arrays["layers.0.bias"], before)


def test_initial_values_fill_their_bounds_and_follow_the_seed() -> None:
    network = Network(2, 3, (LayerRecord(RecordKind.SINE, 64, repeat=2, omega=30.0), LayerRecord(RecordKind.LINEAR, 3)))
    bounds = {tensor.name: initial_bound(network, tensor) for tensor in network.tensors}
    assert bounds["layers.0.weight"] == 0.5
    assert bounds["layers.1.weight"] == pytest.approx(math.sqrt(6 / 64) / 30)
    assert bounds["layers.1.bias"] == pytest.approx(1 / 8)
    arrays, others = initial_arrays(network, 1), initial_arrays(network, 2)
    for name, array in arrays.items():
        assert np.abs(array).max() <= bounds[name]
        assert not np.array_equal(array, others[name])
    assert np.abs(arrays["layers.1.weight"]).max() > 0.99 * bounds["layers.1.weight"]
