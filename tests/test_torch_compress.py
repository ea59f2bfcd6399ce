"""Given weights to files: paths along the trellis, layers by themselves, and the search that chooses."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import sinrfmt
from sinrfmt.errors import UsageError
from sinrfmt.head import Header
from sinrfmt.metrics import psnr
from sinrfmt.models import ShortModel
from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, Law, Modality, RecordKind, Tool, Values
from sinrfmt.torch import rate, search
from sinrfmt.torch.compress import WeightTarget, compress_weights
from sinrfmt.torch.files import build
from sinrfmt.torch.fit import FitOptions, fit, measure, outputs
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import preset_of, sine_network
from sinrfmt.torch.rate import dequantise, quantise, round_with_feedback, share_models
from sinrfmt.torch.search import parameter_vector, with_tool
from sinrfmt.torch.sensitivity import (
    Block,
    Curvature,
    KroneckerBlock,
    curvature_of,
    feedback_factor,
    kronecker_curvature_of,
)
from sinrfmt.torch.signals import Signal, image_signal
from sinrfmt.torch.trellis import Price, Stretch, search_path
from sinrfmt.trellis import reconstruct, states_of

CPU = torch.device("cpu")
PRESET = replace(preset_of("fast"), n_trials=8, n_refit_trials=3, n_refits=4)
NETWORK = sine_network(2, 3, 3, 12, 15.0)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small only lose time to a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def signal() -> Signal:
    y, x = np.mgrid[0:24, 0:32] / 24
    image = np.stack([np.sin(7 * x + 3 * y), np.cos(5 * y), np.sin(9 * x * y)], axis=-1)
    return image_signal(np.rint(127.5 + 120 * image).astype(np.uint8))


@pytest.fixture(scope="module")
def trained(signal: Signal) -> FieldModule:
    module = FieldModule(NETWORK, seed=5)
    fit(module, signal, FitOptions(100, 5e-3), seed=5, device=CPU)
    return module


def random_gram(n: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(3 * n, n))
    return rows.T @ rows / (3 * n)


# --- paths ------------------------------------------------------------------------------------------------------------


def test_without_feedback_the_path_is_the_cheapest_of_all() -> None:
    n, model = 5, ShortModel(Law.GAUSS, 8).model()
    targets = np.random.default_rng(3).normal(0, 3, n)
    price = Price.of(model, 9)
    stretch = Stretch(0.7, np.zeros(n, dtype=np.int64), price, rate_weight=0.1)
    k, r, _ = search_path(targets.copy(), np.eye(n), np.ones(n), stretch)

    def cost(values: tuple[int, ...]) -> float:
        path = np.array(values, dtype=np.int32)
        states = states_of((path & 1).astype(np.uint8))
        bits = price.bits[states & 1, path + price.largest].sum()
        return float(np.sum((reconstruct(path, states) * 0.7 - targets) ** 2) + 0.1 * bits)

    near = [range(math.floor(t / 1.4) - 1, math.ceil(t / 1.4) + 2) for t in targets]
    best = min(itertools.product(*near), key=cost)
    assert cost(tuple(k.tolist())) == pytest.approx(cost(best))
    assert r.tolist() == reconstruct(k.astype(np.int32), states_of((k & 1).astype(np.uint8))).tolist()


def test_feedback_makes_up_for_errors_along_the_path() -> None:
    n = 150  # more than one look-back
    gram = random_gram(n, 1)
    spread, conditional = feedback_factor(torch.from_numpy(gram))
    targets = np.random.default_rng(2).normal(0, 20, n)
    stretch = Stretch(1.0, np.zeros(n, dtype=np.int64), Price.free(100), rate_weight=0.0)

    def error(r: np.ndarray) -> float:
        return float((r - targets) @ gram @ (r - targets))

    fed = error(search_path(targets.copy(), spread, conditional, stretch)[1])
    plain = error(search_path(targets.copy(), np.eye(n), np.ones(n), stretch)[1])
    assert fed < 0.8 * plain


def test_no_path_takes_a_value_whose_escape_would_turn_the_states() -> None:
    model = ShortModel(Law.LAPLACE, 0).model()
    targets = np.linspace(-30, 30, 40) * model.R / 8
    stretch = Stretch(1.0, np.zeros(40, dtype=np.int64), Price.of(model, 60), rate_weight=1e-3)
    k, _, _ = search_path(targets, np.eye(40), np.ones(40), stretch)
    beyond = np.abs(k) - model.R
    assert (beyond > 0).any()
    assert not (beyond[beyond > 0] & 1).any()


def test_a_stretch_goes_on_in_the_state_of_the_one_before() -> None:
    n = 30
    targets = np.random.default_rng(4).normal(0, 9, n)
    stretch = Stretch(1.0, np.zeros(n, dtype=np.int64), Price.free(60), rate_weight=0.0)
    first, _, state = search_path(targets[:10].copy(), np.eye(10), np.ones(10), stretch)
    second, r, _ = search_path(targets[10:].copy(), np.eye(20), np.ones(20), stretch, state)
    k = np.concatenate([first, second])
    assert reconstruct(k, states_of((k & 1).astype(np.uint8)))[10:].tolist() == r.tolist()


def test_a_path_takes_a_model_whose_escapes_it_has_to_step_around() -> None:
    hidden = LayerRecord(RecordKind.LINEAR, 90, repeat=2, bias=False)
    network = Network(8, 1, (hidden, LayerRecord(RecordKind.LINEAR, 1, bias=False)))
    weights = np.random.default_rng(1).laplace(0, 2, network.n_parameters)
    weights[::81] *= 500  # far beyond any table
    blocks = tuple(Block(np.arange(i, i + 90), np.eye(90), np.ones(90)) for i in range(0, weights.size, 90))
    curvature = Curvature(np.ones(weights.size), blocks)

    def file_of(tool: Tool) -> tuple[bytes, dict[str, np.ndarray]]:
        tooled = with_tool(network, tool)
        codes = quantise(tooled, weights, curvature, 1.0, seed=0)
        data = build(Header(tooled, Modality.FIELD, values=Values.RAW), codes, Coding.RANS)
        return data, dequantise(tooled, codes, 0)

    (rounded, _), (path, expected) = file_of(Tool.SCALAR), file_of(Tool.TRELLIS)
    assert len(path) < 1.05 * len(rounded)
    decoded = sinrfmt.loads(path).state_dict
    for name, array in expected.items():
        np.testing.assert_array_equal(decoded[name], array)
    assert np.abs(np.concatenate([a.ravel() for a in decoded.values()]) - weights).max() <= 2.0


# --- layers by themselves ---------------------------------------------------------------------------------------------


def test_rows_of_a_kronecker_block_are_rounded_as_by_the_whole_matrix() -> None:
    rows, columns = 4, 5
    a, b = random_gram(rows, 1), random_gram(columns, 2)
    outputs_, inputs = feedback_factor(torch.from_numpy(a)), feedback_factor(torch.from_numpy(b))
    positions = np.arange(rows * columns)
    weights = np.random.default_rng(3).normal(0, 5, positions.size)
    layer = KroneckerBlock(positions.reshape(rows, columns), positions[:0], outputs_, inputs, np.zeros(columns), 1.0)
    whole = Block(positions, *feedback_factor(torch.from_numpy(np.kron(a, b))))
    np.testing.assert_allclose(layer.conditional, whole.conditional)
    steps = np.full(positions.size, 0.9)
    found = round_with_feedback(weights, steps, [layer])
    assert found.tolist() == round_with_feedback(weights, steps, [whole]).tolist()


def test_the_bias_makes_up_for_the_mean_error_of_its_row() -> None:
    network = Network(3, 2, (LayerRecord(RecordKind.LINEAR, 2),))
    module = FieldModule(network, seed=1)
    points = np.random.default_rng(0).uniform(0, 1, (500, 3)).astype(np.float32)
    (block,) = kronecker_curvature_of(module, points, n_samples=500, seed=0, device=CPU).blocks
    weights, steps = parameter_vector(module), np.array([0.3] * 6 + [1e-4] * 2)
    change = round_with_feedback(weights, steps, [block]) * steps - weights
    errors = points @ change[:6].reshape(2, 3).T + change[6:]
    assert np.abs(errors.mean(0)).max() < 2e-4


def test_layers_by_themselves_beat_plain_rounding(trained: FieldModule, signal: Signal) -> None:
    factored = kronecker_curvature_of(trained, signal.coords, n_samples=10**6, seed=0, device=CPU)
    weights = parameter_vector(trained)

    def loss(blocks: tuple[Block | KroneckerBlock, ...]) -> float:
        codes = quantise(NETWORK, weights, replace(factored, blocks=blocks), 2e-3, seed=5)
        decoded = FieldModule(NETWORK, dequantise(NETWORK, codes, 5), seed=5)
        wanted = outputs(trained, signal.coords, device=CPU)
        return float(np.mean((outputs(decoded, signal.coords, device=CPU) - wanted) ** 2))

    assert sum(block.indices.size for block in factored.blocks) == NETWORK.n_parameters
    coarse = replace(factored, diagonal=factored.effective)
    codes = quantise(NETWORK, weights, replace(coarse, blocks=()), 2e-3, seed=5)
    decoded = FieldModule(NETWORK, dequantise(NETWORK, codes, 5), seed=5)
    wanted = outputs(trained, signal.coords, device=CPU)
    plain = float(np.mean((outputs(decoded, signal.coords, device=CPU) - wanted) ** 2))
    assert loss(factored.blocks) < 0.9 * plain  # with the same steps


# --- both tools -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", [Tool.SCALAR, Tool.TRELLIS])
def test_codes_mean_what_they_are_dequantised_to(tool: Tool, trained: FieldModule, signal: Signal) -> None:
    curvature = curvature_of(trained, signal.coords, n_samples=800, block_limit=900, seed=0, device=CPU)
    network = with_tool(NETWORK, tool)
    codes = quantise(network, parameter_vector(trained), curvature, 1e-3, seed=5)
    header = Header(network, Modality.IMAGE, grid=signal.grid, values=Values.SIGNED, seed=5)
    data = build(header, codes, Coding.RANS)
    decoded, expected = sinrfmt.loads(data).state_dict, dequantise(network, codes, 5)
    for name, weights in expected.items():
        np.testing.assert_array_equal(decoded[name], weights)


def test_a_model_is_shared_where_that_is_shorter(trained: FieldModule) -> None:
    tensor = with_tool(NETWORK, Tool.SCALAR).tensors[2]
    rng = np.random.default_rng(0)
    codes = [
        TensorCode(tensor, np.rint(rng.normal(0, scale, tensor.size)).astype(np.int32), 700)
        for scale in (6.0, 6.0, 300.0)
    ]
    first, second, third = (code.parameters for code in share_models(codes))
    assert first == second != third


@pytest.mark.parametrize("tool", [Tool.SCALAR, Tool.TRELLIS])
@pytest.mark.parametrize("block_limit", [100, 900])
def test_rows_that_matter_little_have_coarser_steps_in_the_file(tool: Tool, block_limit: int) -> None:
    network = Network(2, 1, (LayerRecord(RecordKind.SINE, 40, omega=9.0), LayerRecord(RecordKind.LINEAR, 1)))
    module = FieldModule(network, seed=3)
    with torch.no_grad():
        module.get_parameter("layers.1.weight")[:, :20] *= 1e-2  # the first half is hardly heard
    points = np.random.default_rng(1).uniform(-1, 1, (1500, 2)).astype(np.float32)
    curvature = curvature_of(module, points, n_samples=1500, block_limit=block_limit, seed=0, device=CPU)
    stepped = with_tool(network, tool).with_layer_records(lambda record: replace(record, row_steps=True))
    # A matrix of two columns is too narrow for steps of its rows by their price: they are free here.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rate, "ROW_STEP_BITS", 0.0)
        codes = quantise(stepped, parameter_vector(module), curvature, 1e-3, seed=3)
    rows = codes[0].row_steps
    assert rows is not None
    assert rows[:20].mean() > rows[20:].mean() + rate.STEPS_OF_OCTAVE / 2
    written, written_codes = search.without_unused_prior(stepped, codes)
    assert [record.row_steps for record in written.coded_records] == [True, False]
    header = Header(written, Modality.FIELD, values=Values.RAW, seed=3)
    decoded = sinrfmt.loads(build(header, written_codes, Coding.RANS)).state_dict
    for name, weights in dequantise(stepped, codes, 3).items():
        np.testing.assert_array_equal(decoded[name], weights)


def header_of(module: FieldModule, signal: Signal) -> Header:
    return Header(module.network, Modality.IMAGE, grid=signal.grid, values=Values.SIGNED, seed=module.seed)


@pytest.mark.parametrize("wanted", [False, True])
def test_one_thread_is_taken_only_where_it_is_wanted_and_given_back(wanted: bool) -> None:
    torch.set_num_threads(2)
    try:
        with search.one_thread(wanted):
            assert torch.get_num_threads() == (1 if wanted else 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_drop_is_kept_on_the_signal(trained: FieldModule, signal: Signal) -> None:
    compressed = compress_weights(
        trained, header_of(trained, signal), WeightTarget(max_drop=0.5), signal=signal, preset=PRESET, device="cpu"
    )
    before = measure(trained, signal, device=CPU)
    found = sinrfmt.loads(compressed.data).to_uint8().reshape(signal.samples.shape)
    assert compressed.float_quality == pytest.approx(before)
    assert before - 0.5 <= psnr(signal.samples, found) == pytest.approx(compressed.quality, abs=1e-3)
    assert len(compressed.data) < NETWORK.n_parameters


def test_bytes_and_bits_per_sample_are_kept_without_a_signal(trained: FieldModule, signal: Signal) -> None:
    header = header_of(trained, signal)
    by_bytes = compress_weights(trained, header, WeightTarget(max_bytes=400), preset=PRESET, device="cpu")
    by_bpp = compress_weights(trained, header, WeightTarget(max_bpp=400 * 8 / 768), preset=PRESET, device="cpu")
    assert len(by_bytes.data) <= 400
    assert by_bytes.data == by_bpp.data
    assert math.isinf(by_bytes.float_quality)


def test_a_field_without_a_range_is_measured_by_snr_at_given_points() -> None:
    network = Network(3, 1, (LayerRecord(RecordKind.TANH, 10), LayerRecord(RecordKind.LINEAR, 1)))
    module = FieldModule(network, seed=2)
    header = Header(network, Modality.SDF, values=Values.RAW)
    points = np.random.default_rng(1).uniform(-1, 1, (2000, 3)).astype(np.float32)
    compressed = compress_weights(
        module, header, WeightTarget(min_snr=40.0), signal=points, preset=PRESET, device="cpu"
    )
    wanted = outputs(module, points, device=CPU)
    error = sinrfmt.loads(compressed.data).sample(points) - wanted
    assert 10 * math.log10(float((wanted**2).sum() / (error**2).sum())) == pytest.approx(compressed.quality, abs=0.05)
    assert compressed.quality >= 40.0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (WeightTarget(), "exactly one"),
        (WeightTarget(max_bytes=100, max_drop=0.3), "exactly one"),
        (WeightTarget(max_bytes=20), "not reached"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(
    target: WeightTarget, message: str, trained: FieldModule, signal: Signal
) -> None:
    with pytest.raises(UsageError, match=message):
        compress_weights(trained, header_of(trained, signal), target, preset=PRESET, device="cpu")
