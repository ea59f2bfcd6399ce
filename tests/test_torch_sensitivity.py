"""The Gauss-Newton curvature against plain autograd, and its factors."""

import numpy as np
import pytest
import torch

from sinrfmt.network import LayerRecord, Network
from sinrfmt.registry import RecordKind
from sinrfmt.torch import sensitivity
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.rate import round_with_feedback
from sinrfmt.torch.sensitivity import DAMPING, IDLE_DAMPING, Curvature, curvature_of, feedback_factor, split_vector
from tests.strategies import PUBLISHED

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")

NETWORK = Network(
    2,
    2,
    (
        LayerRecord(RecordKind.SINE, 4, omega=5.0),
        LayerRecord(RecordKind.GAUSSIAN, 3, bias=False),
        LayerRecord(RecordKind.TANH, 3),
        LayerRecord(RecordKind.LINEAR, 2),
    ),
)


def coords_of(module: FieldModule) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (30, module.network.in_dims)).astype(np.float32)


@pytest.fixture(scope="module")
def module() -> FieldModule:
    return FieldModule(NETWORK, seed=1)


def autograd_gram(module: FieldModule) -> np.ndarray:
    """J^T J averaged over samples and channels, from one backward pass per output."""
    parameters = [module.get_parameter(tensor.name) for tensor in module.network.tensors]
    outputs = module(torch.tensor(coords_of(module))).reshape(-1)
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    rows = [torch.autograd.grad(output, parameters, **options) for output in outputs]  # type: ignore[arg-type]
    jacobian = np.stack([torch.cat([g.reshape(-1) for g in row]).numpy() for row in rows]).astype(np.float64)
    return jacobian.T @ jacobian / len(rows)


def curvature(module: FieldModule, block_limit: int) -> Curvature:
    return curvature_of(module, coords_of(module), n_samples=1000, block_limit=block_limit, seed=0, device=CPU)


def test_the_diagonal_is_that_of_autograd(module: FieldModule) -> None:
    expected = autograd_gram(module).diagonal()
    np.testing.assert_allclose(curvature(module, 0).diagonal, expected, rtol=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_diagonal_of_a_network_that_is_no_chain_is_that_of_autograd(name: str) -> None:
    module = FieldModule(PUBLISHED[name](), seed=1)
    expected = autograd_gram(module).diagonal()
    np.testing.assert_allclose(curvature(module, 0).diagonal, expected, rtol=1e-3, atol=1e-5 * expected.max())


@pytest.mark.parametrize("name", [None, "bacon", "wire"])
@pytest.mark.parametrize("block_limit", [1, 9, 20, 1000])
def test_blocks_hold_every_weight_once_and_factor_its_part_of_the_matrix(name: str | None, block_limit: int) -> None:
    module = FieldModule(NETWORK if name is None else PUBLISHED[name](), seed=1)
    gram = autograd_gram(module)
    means = np.concatenate([np.full(part.size, part.mean()) for part in split_vector(module.network, gram.diagonal())])
    blocks = curvature(module, block_limit).blocks
    indices = np.concatenate([block.indices for block in blocks])
    np.testing.assert_array_equal(np.sort(indices), np.arange(module.network.n_parameters))
    for block in blocks:
        part = gram[np.ix_(block.indices, block.indices)]
        part[np.diag_indices_from(part)] += DAMPING * part.diagonal() + IDLE_DAMPING * means[block.indices]
        unit = np.linalg.inv(block.spread)
        rebuilt = unit @ np.diag(block.conditional) @ unit.T
        tolerance = 1e-4 * np.sqrt(np.outer(part.diagonal(), part.diagonal()))
        assert np.all(np.abs(rebuilt - part) <= tolerance)


def test_a_network_within_the_limit_is_one_block(module: FieldModule) -> None:
    assert curvature(module, NETWORK.n_parameters).is_whole
    assert not curvature(module, NETWORK.n_parameters - 1).is_whole
    assert not curvature(module, 0).is_whole


def test_the_precision_of_other_products_is_left_alone(module: FieldModule) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        curvature(module, 1000)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_jacobian_rounded_to_bfloat16_can_be_factored(module: FieldModule, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, add = curvature(module, 1000).blocks[0].conditional, sensitivity._add_upper_half
    monkeypatch.setattr(sensitivity, "_add_upper_half", lambda sums, rows: add(sums, rows.bfloat16().float()))
    rounded = curvature(module, 1000).blocks[0].conditional
    assert not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, rtol=0.02)


def test_spread_moves_later_entries_to_the_minimum() -> None:
    rng = np.random.default_rng(3)
    jacobian = rng.normal(size=(40, 6))
    gram = jacobian.T @ jacobian
    gram /= np.sqrt(np.outer(gram.diagonal(), gram.diagonal()))
    damped = gram + DAMPING * np.eye(6)
    spread, conditional = feedback_factor(torch.tensor(damped))
    for i in range(6):
        later = slice(i + 1, 6)
        best = np.linalg.solve(damped[later, later], -damped[later, i])
        np.testing.assert_allclose(spread[i, later], best, atol=1e-9)
        error = np.concatenate([[1.0], best])
        assert error @ damped[i:, i:] @ error == pytest.approx(conditional[i])


def test_a_neuron_that_is_never_heard_does_not_take_the_blame() -> None:
    idle = FieldModule(NETWORK, seed=5)
    with torch.no_grad():
        idle.get_parameter("layers.1.weight")[:, 0] = 1e-7  # nobody listens to the first neuron
    weights = np.concatenate([array.ravel() for array in idle.arrays().values()]).astype(np.float64)
    steps = np.full(weights.size, 0.02)
    rounded = round_with_feedback(weights, steps, curvature(idle, 1000).blocks) * steps
    assert np.abs(rounded - weights).max() < 0.2
