"""The training loop: it learns, repeats itself, reports, and can be interrupted."""

import numpy as np
import pytest
import torch

from sinrfmt.network import FourierEncoding, LayerRecord, Network, SeededFourierEncoding
from sinrfmt.registry import RecordKind
from sinrfmt.torch.fit import REACH, FitOptions, cosine_share, fit, measure, screen_seeds, tensor_rates
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import sine_network
from sinrfmt.torch.signals import Signal, image_signal

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")

NETWORK = sine_network(2, 3, 2, 12, 15.0)


@pytest.fixture(scope="module")
def signal() -> Signal:
    y, x = np.mgrid[0:24, 0:32]
    image = np.stack([128 + 90 * np.sin(x / 5), 128 + 80 * np.cos(y / 4 + x / 9), 4 * x + 4 * y], axis=-1)
    return image_signal(image.astype(np.uint8))


@pytest.mark.parametrize("kind", [k for k in RecordKind if RecordKind.SINE <= k <= RecordKind.ELU])
@pytest.mark.parametrize("encoding", [FourierEncoding(3), SeededFourierEncoding(8, 0.01)])
def test_every_layer_kind_learns(
    signal: Signal, kind: RecordKind, encoding: FourierEncoding | SeededFourierEncoding
) -> None:
    records = (LayerRecord(kind, 16, repeat=2), LayerRecord(RecordKind.LINEAR, 3))
    module = FieldModule(Network(2, 3, records, encoding), seed=1)
    before = measure(module, signal, device=CPU)
    assert fit(module, signal, FitOptions(300), seed=1, device=CPU) > before + 4.0


@pytest.mark.parametrize("batch_size", [100, 10**6])
def test_equal_seeds_give_equal_weights(signal: Signal, batch_size: int) -> None:
    modules = [FieldModule(NETWORK, seed=4) for _ in range(2)]
    for module in modules:
        fit(module, signal, FitOptions(30, batch_size=batch_size), seed=4, device=CPU)
    for name, array in modules[0].arrays().items():
        np.testing.assert_array_equal(modules[1].arrays()[name], array)


def test_no_step_moves_a_phase_beyond_the_bound() -> None:
    network = sine_network(2, 3, 3, 64, 30.0)
    rates = tensor_rates(network, 5e-3)
    for tensor in network.tensors:
        layer = network.layers[tensor.ordinal // 2]
        phase_step = rates[tensor.name] * layer.omega * (1 if tensor.is_bias else layer.n_in)
        assert phase_step <= 5e-3 * REACH * (1 + 1e-12)
    assert rates["layers.0.weight"] == 5e-3
    assert rates["layers.1.weight"] < 1e-3


def test_the_rate_falls_from_all_to_nothing() -> None:
    assert [cosine_share(step, 10) for step in (0, 5, 10)] == pytest.approx([1.0, 0.5, 0.0])


def test_the_result_is_the_psnr_of_the_module(signal: Signal) -> None:
    module = FieldModule(NETWORK, seed=4)
    psnr = fit(module, signal, FitOptions(20), seed=4, device=CPU)
    assert psnr == measure(module, signal, device=CPU)


def test_progress_ends_with_the_last_step(signal: Signal) -> None:
    calls: list[tuple[int, int, float]] = []
    module = FieldModule(NETWORK, seed=4)
    psnr = fit(module, signal, FitOptions(250), seed=4, device=CPU, on_progress=lambda *call: calls.append(call))
    assert [call[:2] for call in calls] == [(100, 250), (200, 250), (250, 250)]
    assert calls[-1][2] == psnr


def test_an_interruption_leaves_the_module_usable(signal: Signal) -> None:
    def interrupt(*_: float) -> None:
        raise KeyboardInterrupt

    module = FieldModule(NETWORK, seed=4)
    with pytest.raises(KeyboardInterrupt):
        fit(module, signal, FitOptions(10**6), seed=4, device=CPU, on_progress=interrupt)
    reference = FieldModule(NETWORK, seed=4)
    assert measure(module, signal, device=CPU) > measure(reference, signal, device=CPU) + 3.0


def test_screening_keeps_the_best_seed(signal: Signal) -> None:
    options = FitOptions(40)
    seeds = (1, 2, 3, 4)
    psnrs = {}
    for seed in seeds:
        psnrs[seed] = fit(FieldModule(NETWORK, seed=seed), signal, options, seed=seed, device=CPU)
    best = screen_seeds([(NETWORK, seed) for seed in seeds], signal, options, device=CPU)
    assert (best.seed, best.psnr) == max(psnrs.items(), key=lambda item: item[1])
    assert measure(best.module, signal, device=CPU) == best.psnr
