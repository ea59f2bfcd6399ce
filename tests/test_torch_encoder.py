"""The encoder as a whole: targets are met, results repeat, presets are sound."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from sinrfmt.errors import UsageError
from sinrfmt.network import Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding
from sinrfmt.torch import encoder
from sinrfmt.torch.encoder import EncodedField, SizeOf, Target, encode_signal
from sinrfmt.torch.files import WEIGHT_CODINGS, build, header_of
from sinrfmt.torch.fit import FitOptions, Progress, fit, measure
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import Preset, bits_per_parameter, expected_bytes, network_for_bytes, preset_of, presets
from sinrfmt.torch.rate import dequantise
from sinrfmt.torch.signals import Signal, image_signal

SCALAR = WEIGHT_CODINGS["scalar"]
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")

PRESET = replace(preset_of("fast"), n_seeds=2, n_steps=300, n_trials=10, n_refits=3, n_refit_trials=2)


@pytest.fixture(scope="module")
def signal() -> Signal:
    y, x = np.mgrid[0:32, 0:48]
    image = np.stack([128 + 90 * np.sin(x / 5 + y**2 / 200), 128 + 80 * np.cos(y / 4 + x / 9), 3 * x + 3 * y], axis=-1)
    return image_signal(image.astype(np.uint8))


def encode(signal: Signal, target: Target, preset: Preset = PRESET, seed: int = 1) -> EncodedField:
    return encode_signal(signal, preset, target, weight_coding=SCALAR, seed=seed, device=CPU, size_of=file_size(signal))


def file_size(signal: Signal, surplus: int = 0) -> SizeOf:
    def size_of(network: Network, codes: Sequence[TensorCode], network_seed: int) -> int:
        return len(build(header_of(network, signal, network_seed), codes, Coding.RANS)) + surplus

    return size_of


def test_a_budget_of_bytes_is_kept_and_used(signal: Signal) -> None:
    encoded = encode(signal, Target(max_bytes=500))
    assert 430 < encoded.n_bytes <= 500
    assert file_size(signal)(encoded.network, encoded.codes, encoded.seed) == encoded.n_bytes


def test_a_psnr_is_reached(signal: Signal) -> None:
    encoded = encode(signal, Target(min_psnr=24.0))
    assert 24.0 <= encoded.psnr < 26.0


def test_without_a_target_quantisation_costs_at_most_the_default_drop(signal: Signal) -> None:
    encoded = encode(signal, Target())
    assert encoded.float_psnr - 0.3 <= encoded.psnr


def test_the_psnr_is_that_of_the_decoded_integers(signal: Signal) -> None:
    encoded = encode(signal, Target(max_bytes=500))
    weights = dequantise(encoded.network, encoded.codes, encoded.seed)
    decoded = FieldModule(encoded.network, weights, seed=encoded.seed)
    assert measure(decoded, signal, device=CPU) == encoded.psnr
    trained = FieldModule(encoded.network, encoded.float_arrays, seed=encoded.seed)
    assert measure(trained, signal, device=CPU) == encoded.float_psnr


def test_equal_seeds_give_equal_files(signal: Signal) -> None:
    first, second, other = (encode(signal, Target(max_bytes=450), seed=seed) for seed in (1, 1, 9))
    assert (first.seed, first.network, first.psnr) == (second.seed, second.network, second.psnr)
    for a, b in zip(first.codes, second.codes, strict=True):
        assert (a.step, a.prior) == (b.step, b.prior)
        np.testing.assert_array_equal(a.values, b.values)
    assert any(not np.array_equal(a.values, b.values) for a, b in zip(first.codes, other.codes, strict=True))


def test_the_prior_flag_of_a_record_says_that_a_tensor_uses_it(signal: Signal) -> None:
    encoded = encode(signal, Target(max_bytes=500))
    for record in encoded.network.records:
        users = [
            code.prior
            for tensor, code in zip(encoded.network.tensors, encoded.codes, strict=True)
            if tensor.record is record
        ]
        assert record.prior == any(prior is not None for prior in users)


def test_the_callers_measure_of_size_counts(signal: Signal) -> None:
    encoded = encode_signal(
        signal,
        PRESET,
        Target(max_bytes=500),
        weight_coding=SCALAR,
        seed=1,
        device=CPU,
        size_of=file_size(signal, surplus=50),
    )
    assert 440 < encoded.n_bytes <= 500
    assert file_size(signal)(encoded.network, encoded.codes, encoded.seed) == encoded.n_bytes - 50


def test_a_training_that_diverges_is_done_again_at_half_the_rate(
    signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def first_fails(
        module: FieldModule,
        signal: Signal,
        options: FitOptions,
        *,
        seed: int,
        device: torch.device,
        on_progress: Progress | None = None,
    ) -> float:
        rates.append(options.learning_rate)
        psnr = fit(module, signal, options, seed=seed, device=device, on_progress=on_progress)
        return 0.0 if len(rates) == 1 else psnr

    monkeypatch.setattr(encoder, "fit", first_fails)
    encode(signal, Target(max_bytes=450))
    assert rates[:2] == [PRESET.learning_rate, PRESET.learning_rate / 2]


@pytest.mark.parametrize("target", [Target(max_bytes=60), Target(min_psnr=90.0)])
def test_a_target_out_of_reach_is_a_usage_error(signal: Signal, target: Target) -> None:
    with pytest.raises(UsageError):
        encode(signal, target, replace(PRESET, n_steps=20, n_seeds=1, feedback_limit=0))


def test_progress_names_the_stages_in_order(signal: Signal) -> None:
    stages: list[str] = []

    def note(stage: str, done: int, total: int, psnr: float) -> None:
        assert 0 < done <= total
        if stage not in stages:
            stages.append(stage)

    encode_signal(
        signal,
        PRESET,
        Target(max_bytes=450),
        weight_coding=SCALAR,
        seed=1,
        device=CPU,
        size_of=file_size(signal),
        on_progress=note,
    )
    assert stages == ["screen", "fit", "quantise"]


@pytest.mark.parametrize("max_bytes", [140, 200, 240, 500, 900, 1600, 4000, 20000, 100000])
def test_the_network_of_a_budget_fits_and_fills_it(max_bytes: int) -> None:
    n_samples = 24 * max_bytes
    network = network_for_bytes(2, 3, max_bytes, n_samples, 20.0)
    assert 0.75 * max_bytes < expected_bytes(network, bits_per_parameter(1 / 3)) <= max_bytes


def test_a_better_picture_gets_more_bits_per_parameter() -> None:
    assert bits_per_parameter(0.1) < bits_per_parameter(1 / 3) < bits_per_parameter(1.0)
    sizes = [network_for_bytes(2, 3, 4000, n_samples, 20.0).n_parameters for n_samples in (10_000, 100_000)]
    assert sizes[0] < sizes[1]


def test_presets_are_ordered_by_work() -> None:
    assert list(presets()) == ["fast", "balanced", "best"]
    steps = [preset.n_steps for preset in presets().values()]
    assert steps == sorted(steps)


def test_an_unknown_preset_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="fast, balanced, best"):
        preset_of("fastest")
