"""Steps, priors, rounding with feedback, and the search of the knob."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import RecordKind
from sinrfmt.tables import Prior
from sinrfmt.torch.fit import FitOptions, fit, outputs
from sinrfmt.torch.modules import FieldModule, initial_arrays, initial_bound
from sinrfmt.torch.presets import sine_network
from sinrfmt.torch.rate import (
    Refit,
    Trial,
    code_bits,
    dequantise,
    prior_for,
    quantise,
    round_with_feedback,
    search_bytes,
    search_psnr,
    steps_of,
)
from sinrfmt.torch.sensitivity import Curvature, curvature_of, split_vector
from sinrfmt.torch.signals import image_signal
from sinrfmt.weights import nearest_step_code, prior_values, step_value

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")

NETWORK = sine_network(2, 3, 2, 16, 20.0)
SEED = 77


def vector_of(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([array.reshape(-1) for array in arrays.values()]).astype(np.float64)


def is_short(prior: Prior) -> bool:
    return prior.multiplier % 256 == 0


@pytest.mark.parametrize("code", [0, 1, 7, 8, 700, 703, 1023])
def test_steps_follow_the_table(code: int) -> None:
    mantissas = (8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775)
    exact = Fraction(mantissas[code % 8]) * Fraction(2) ** (code // 8 - 123)
    assert Fraction(float(step_value(code))) == exact


def test_every_step_is_nearest_to_its_own_code() -> None:
    codes = range(1024)
    assert [nearest_step_code(float(step_value(code))) for code in codes] == list(codes)


def test_an_extreme_step_gets_the_last_code() -> None:
    assert nearest_step_code(1e-300) == 0
    assert nearest_step_code(1e300) == 1023


@pytest.mark.parametrize("steps_per_bound", [1.5, 7.0, 100.0, 130.0, 1000.0, 99999.0])
def test_the_prior_is_the_initial_value_to_within_a_step(steps_per_bound: float) -> None:
    for tensor in NETWORK.tensors:
        bound = initial_bound(NETWORK, tensor)
        step = bound / steps_per_bound
        prior = prior_for(bound, step)
        assert prior is not None and 1 << 15 <= prior.multiplier < 1 << 16
        initial = initial_arrays(NETWORK, SEED)[tensor.name].astype(np.float64)
        slack = 0.26 if is_short(prior) else 0.01 + steps_per_bound * 2.0**-16
        assert (
            np.abs(prior_values(prior, tensor.ordinal, tensor.size, SEED).reshape(tensor.shape) - initial / step).max()
            <= 0.5 + slack
        )


def test_a_fine_step_needs_the_long_form_of_the_prior() -> None:
    bound = 0.371
    coarse, fine = prior_for(bound, bound / 50), prior_for(bound, bound / 5000)
    assert coarse is not None and is_short(coarse)
    assert fine is not None and not is_short(fine)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0**40])
def test_no_prior_where_it_says_nothing_or_cannot_be_written(ratio: float) -> None:
    assert prior_for(1.0, 1.0 / ratio) is None


def test_prior_values_are_the_rounded_products() -> None:
    tensor = NETWORK.tensors[0]
    prior = Prior(multiplier=40000, shift=30)
    numbers = np.round(initial_arrays(NETWORK, SEED)[tensor.name].astype(np.float64) / 0.5 * 2.0**23)
    expected = np.floor(numbers * 40000 / 2.0**30 + 0.5)
    np.testing.assert_array_equal(prior_values(prior, tensor.ordinal, tensor.size, SEED), expected.ravel())


def test_an_untrained_network_costs_next_to_nothing() -> None:
    weights = vector_of(initial_arrays(NETWORK, SEED))
    curvature = curvature_of(
        FieldModule(NETWORK, seed=SEED),
        np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32),
        n_samples=500,
        block_limit=0,
        seed=0,
        device=CPU,
    )
    tensors = quantise(NETWORK, weights, curvature, 1e-3, seed=SEED)
    hidden = [part for tensor, part in zip(NETWORK.tensors, tensors, strict=True) if tensor.record.prior]
    assert all(part.prior is not None for part in hidden)
    n = sum(part.values.size for part in hidden)
    assert sum(code_bits(part) - 45 for part in hidden) < 0.7 * n
    assert max(np.abs(part.values).max() for part in hidden) <= 1


def test_weights_are_one_conversion_and_one_product() -> None:
    tensor = NETWORK.tensors[0]
    q = np.arange(tensor.size, dtype=np.int32) + 123456789
    rest = [TensorCode(t, np.zeros(t.size, dtype=np.int32), 700) for t in NETWORK.tensors[1:]]
    weights = dequantise(NETWORK, [TensorCode(tensor, q, 701), *rest], SEED)
    np.testing.assert_array_equal(weights["layers.0.weight"].ravel(), np.float32(q) * step_value(701))


@pytest.fixture(scope="module")
def trained() -> tuple[FieldModule, np.ndarray]:
    y, x = np.mgrid[0:32, 0:32]
    image = np.stack([128 + 90 * np.sin(x / 5 + y**2 / 200), 128 + 80 * np.cos(y / 4 + x / 9), 4 * x + 4 * y], axis=-1)
    signal = image_signal(image.astype(np.uint8))
    module = FieldModule(NETWORK, seed=SEED)
    fit(module, signal, FitOptions(400), seed=1, device=CPU)
    return module, signal.coords


def output_error(network: Network, module: FieldModule, coords: np.ndarray, curvature: Curvature, c: float) -> float:
    tensors = quantise(network, vector_of(module.arrays()), curvature, c, seed=SEED)
    decoded = FieldModule(network, dequantise(network, tensors, SEED), seed=SEED)
    difference = outputs(decoded, coords, device=CPU) - outputs(module, coords, device=CPU)
    return float(np.mean(difference.astype(np.float64) ** 2))


def test_feedback_lowers_the_output_error_at_equal_steps(trained: tuple[FieldModule, np.ndarray]) -> None:
    module, coords = trained
    full = curvature_of(module, coords, n_samples=10**6, block_limit=10**6, seed=0, device=CPU)
    rows = curvature_of(module, coords, n_samples=10**6, block_limit=20, seed=0, device=CPU)

    class EqualSteps(Curvature):
        effective = full.diagonal

    plain, by_rows, whole = (
        output_error(NETWORK, module, coords, EqualSteps(full.diagonal, blocks), 1e-3)
        for blocks in ((), rows.blocks, full.blocks)
    )
    assert whole < 0.6 * plain
    assert whole < by_rows < plain


def test_corrections_by_the_gradient_lower_the_error(trained: tuple[FieldModule, np.ndarray]) -> None:
    module, coords = trained
    full = curvature_of(module, coords, n_samples=10**6, block_limit=10**6, seed=0, device=CPU)
    weights, target = vector_of(module.arrays()), outputs(module, coords, device=CPU)
    calls = []

    def error_of(vector: np.ndarray, with_gradient: bool) -> tuple[float, np.ndarray]:
        calls.append(vector)
        names = [tensor.name for tensor in NETWORK.tensors]
        arrays = dict(zip(names, split_vector(NETWORK, vector.astype(np.float32)), strict=True))
        moved = FieldModule(NETWORK, arrays, seed=SEED)
        error = torch.nn.functional.mse_loss(moved(torch.tensor(coords)), torch.tensor(target))
        gradients = torch.autograd.grad(error, [moved.get_parameter(name) for name in names])
        return error.item(), 0.5 * torch.cat([g.reshape(-1) for g in gradients]).numpy().astype(np.float64)

    steps = np.full(weights.size, 0.02)
    acc = round_with_feedback(weights, steps, full.blocks)
    corrected = round_with_feedback(weights, steps, full.blocks, Refit(error_of, interval=40))
    assert len(calls) >= 2 * (weights.size // 40)
    assert error_of(corrected * steps, False)[0] < 0.9 * error_of(acc * steps, False)[0]


def test_the_knob_predicts_the_error_of_plain_rounding(trained: tuple[FieldModule, np.ndarray]) -> None:
    module, coords = trained
    diagonal = curvature_of(module, coords, n_samples=10**6, block_limit=0, seed=0, device=CPU)
    c = 1e-3
    predicted = NETWORK.n_parameters * c**2 / 12
    assert 0.6 * predicted < output_error(NETWORK, module, coords, diagonal, c) < 1.7 * predicted


def test_a_prior_is_used_only_where_the_record_allows_it_and_it_pays(trained: tuple[FieldModule, np.ndarray]) -> None:
    module, coords = trained
    diagonal = curvature_of(module, coords, n_samples=500, block_limit=0, seed=0, device=CPU)
    tensors = quantise(NETWORK, vector_of(module.arrays()), diagonal, 1e-3, seed=SEED)
    assert tensors[0].prior is not None
    assert tensors[-1].prior is None
    without = sine_network(2, 3, 2, 16, 20.0).records
    plain_network = Network(2, 3, tuple(type(r)(**{**vars(r), "prior": False}) for r in without))
    plain = quantise(plain_network, vector_of(module.arrays()), diagonal, 1e-3, seed=SEED)
    assert all(part.prior is None for part in plain)
    for with_choice, without_choice in zip(tensors, plain, strict=True):
        assert code_bits(with_choice) <= code_bits(without_choice)
    for name, array in dequantise(NETWORK, tensors, SEED).items():
        np.testing.assert_array_equal(array, dequantise(plain_network, plain, SEED)[name])


def ideal_trial(c: float) -> Trial:
    """A file of 1000 bytes and 30 dB at c = 1; a byte costs what it should."""
    return Trial(c, (), round(1000 - 125 * math.log2(c)), 30.0 - 6.0 * math.log2(c))


@pytest.mark.parametrize("max_bytes", [300, 999, 1000, 1700])
@pytest.mark.parametrize("c_start", [1e-3, 1.0, 50.0])
def test_the_search_fills_a_budget_of_bytes(max_bytes: int, c_start: float) -> None:
    trial = search_bytes(ideal_trial, max_bytes, c_start=c_start, n_trials=20)
    assert trial is not None and max_bytes - 3 <= trial.n_bytes <= max_bytes


@pytest.mark.parametrize("c_start", [1e-3, 1.0, 50.0])
def test_the_search_stops_just_above_a_psnr(c_start: float) -> None:
    trial = search_psnr(ideal_trial, 33.3, c_start=c_start, n_trials=20)
    assert trial is not None and 33.3 <= trial.psnr <= 33.35


@pytest.mark.parametrize("tolerance", [1 / 8, 1 / 32, 1 / 128])
def test_the_search_ends_within_its_tolerance_and_no_later(tolerance: float) -> None:
    knobs = []

    def bent_trial(c: float) -> Trial:
        knobs.append(c)
        return Trial(c, (), round(1e6 / c), -10.0 * math.log10(1.0 + c * c))

    c_best = math.sqrt(10.0**0.03 - 1.0)
    trial = search_psnr(bent_trial, -0.3, c_start=0.1, n_trials=40, tolerance=tolerance)
    assert trial is not None and c_best * 2.0**-tolerance <= trial.c <= c_best
    n_rough = len(knobs)
    search_psnr(bent_trial, -0.3, c_start=0.1, n_trials=40, tolerance=tolerance / 64)
    assert n_rough < len(knobs) - n_rough < 40


def test_steps_of_rows_follow_the_knob_evenly() -> None:
    hidden = LayerRecord(RecordKind.LINEAR, 200, row_steps=True, bias=False)
    network = Network(8, 1, (hidden, LayerRecord(RecordKind.LINEAR, 1, bias=False)))
    rng = np.random.default_rng(2)
    curvature = Curvature(np.concatenate([np.repeat(np.exp(rng.normal(0, 2, 200)), 8), np.ones(200)]))
    octaves = -8 + np.arange(17) / 64
    weights = rng.normal(size=1800)
    found = np.array([np.log2(steps_of(network, weights, curvature, 2.0**c)[0].values()).mean() for c in octaves])
    assert np.ptp(found - octaves) < 0.03  # steps of tensors turn by an eighth


@pytest.mark.parametrize("c_start", [0.02, 0.2, 0.9])
def test_where_quality_follows_a_line_four_trials_find_the_knob(c_start: float) -> None:
    def smooth_trial(c: float) -> Trial:
        return Trial(c, (), round(1e6 / c), -19.5 * math.log10(c) + 0.2 * c)

    trial = search_psnr(smooth_trial, 12.0, c_start=c_start, n_trials=4, slope=6.02)
    assert trial is not None and 12.0 <= trial.psnr <= 12.05


def test_a_target_out_of_reach_gives_nothing() -> None:
    assert search_bytes(lambda c: Trial(c, (), 500, 30.0), 499, c_start=1.0, n_trials=10) is None
    assert search_psnr(lambda c: Trial(c, (), 500, 30.0), 30.1, c_start=1.0, n_trials=10) is None


def test_a_vector_splits_into_the_tensors_of_the_table() -> None:
    parts = split_vector(NETWORK, np.arange(NETWORK.n_parameters))
    assert [part.shape for part in parts] == [tensor.shape for tensor in NETWORK.tensors]
    np.testing.assert_array_equal(np.concatenate([p.reshape(-1) for p in parts]), np.arange(NETWORK.n_parameters))
