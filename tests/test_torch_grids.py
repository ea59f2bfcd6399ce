"""Training of latent grids: what it trains is what the format evaluates, and what it writes decodes to the same."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

import sinrfmt
import sinrfmt.torch
from sinrfmt.contexts import ContextNetwork, ContextTensor, LevelContext, Plane
from sinrfmt.metrics import Samples
from sinrfmt.network import LayerRecord, Network, PyramidEncoding, TensorRole
from sinrfmt.registry import ContextId, RecordKind, Tool
from sinrfmt.torch.grid_files import (
    PyramidPreset,
    latent_codes,
    picture_header,
    pyramid_network,
    sample_psnr,
)
from sinrfmt.torch.grid_fit import (
    GridFit,
    GridFitOptions,
    amplitude_of,
    fit_pyramid,
    level_gain_of,
    new_pyramid,
    remembered,
)
from sinrfmt.torch.latents import (
    MonotoneCdf,
    centred_bits,
    gumbel_round,
    kumaraswamy_noise,
    laplace_bits,
    round_through,
    soft_round,
)
from sinrfmt.torch.mosaic import LARGE_PICTURE, LARGE_PIECE, PIECE, mosaic_of
from sinrfmt.torch.point_recipes import PointPreset
from sinrfmt.torch.pyramid import PyramidModule
from sinrfmt.torch.soap import Soap

TINY_PYRAMID = PyramidPreset("pyramid", 30, 1e-3, 6, 2, 8, 1)
TINY_SHACIRA = PointPreset(
    name="shacira",
    n_steps=20,
    rate_weight=1e-3,
    method="published",
    n_levels=3,
    first_resolution=4,
    last_resolution=12,
    log2_table_size=5,
    width=8,
    depth=2,
)
CONTEXTS = (ContextId.INTERLACED, ContextId.SERIAL)


def _picture(rows: int, columns: int, channels: int, top: int = 255) -> Samples:
    y, x, c = np.indices((rows, columns, channels))
    wave = np.rint((0.5 + 0.3 * np.sin(0.4 * x + c) + 0.2 * np.cos(0.3 * y)) * top)
    narrow: Samples = wave.astype(np.uint8)
    return narrow if top == 255 else wave.astype(np.uint16)


def _module(context: ContextId, grid: tuple[int, int] = (13, 22)) -> PyramidModule:
    """A pyramid with random integers everywhere, on steps that the format has."""
    module = PyramidModule(pyramid_network(grid, 3, TINY_PYRAMID, context), seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        module.latents.copy_(torch.randint(-4, 5, module.latents.shape, generator=generator).float())
        for array in module.arrays().values():
            array.copy_(torch.randint(-9, 10, array.shape, generator=generator) / 32.0)
    return module


def _fit_of(module: PyramidModule) -> GridFit:
    steps = dict.fromkeys(module.arrays(), 1 / 32)
    return GridFit(steps, module.arrays(), module.latents.detach(), 0.0, 0.0)


@pytest.mark.parametrize("context", [ContextId.FACTORISED, *CONTEXTS])
def test_what_a_file_of_a_pyramid_evaluates_to_is_what_was_trained(context: ContextId) -> None:
    module = _module(context)
    header = picture_header(module.network, (13, 22))
    data = sinrfmt.torch.files.build(header, latent_codes(module, _fit_of(module)), sinrfmt.registry.Coding.RANS)
    decoded = sinrfmt.loads(data).grid().reshape(-1, 3).T
    with torch.no_grad():
        trained = module(module.latents).numpy()
    np.testing.assert_allclose(decoded, trained, atol=2e-4 * np.abs(trained).max())


@pytest.mark.parametrize("context", CONTEXTS)
def test_trained_laws_are_those_of_the_integer_network(context: ContextId) -> None:
    module = _module(context)
    with torch.no_grad():
        mean, log_scale = (law.numpy() for law in module.laws(module.latents))
    order = module.get_buffer("order").numpy()
    tensors = {
        name.removeprefix("context."): ContextTensor((array.detach().numpy() * 32).astype(np.int32), 5)
        for name, array in module.arrays().items()
        if name.startswith("context.")
    }
    encoding = module.encoding
    levels = [module.level(module.latents.detach(), level).numpy().astype(np.int32) for level in range(3)]
    planes = [Plane.of(values, encoding.level_shape(level)) for level, values in enumerate(levels)]
    position = {int(place): i for i, place in enumerate(order)}
    runs = LevelContext(ContextNetwork(tensors), context, 2, planes[2], [planes[1], planes[0], None]).runs()
    for run in runs:
        sites = [position[module.level_starts[2] + int(place)] for place in run.places]
        coded_mean = run.centres + (run.rows % 16 - 8) / 16.0
        np.testing.assert_allclose(coded_mean, mean[sites], atol=0.1)
        np.testing.assert_allclose(run.rows // 16 / 8.0 - 4.0, log_scale[sites], atol=0.13)


@pytest.mark.parametrize(("channels", "top"), [(1, 255), (3, 255), (4, 255), (3, 65535)])
def test_a_picture_of_any_kind_becomes_a_file_of_the_measured_quality(channels: int, top: int) -> None:
    picture = _picture(17, 24, channels, top)
    encoding = sinrfmt.torch.encode_grid(picture, preset=TINY_PYRAMID, device="cpu")
    again = sinrfmt.loads(encoding.field.data).grid()
    assert encoding.psnr == sample_psnr(picture, again.reshape(-1, channels))
    assert encoding.psnr > sample_psnr(picture, np.full_like(again, 0.5).reshape(-1, channels)) - 1.0


def test_the_same_seed_gives_the_same_file() -> None:
    picture = _picture(12, 16, 3)
    files = [sinrfmt.torch.encode_grid(picture, preset=TINY_PYRAMID, seed=s, device="cpu").field.data for s in (1, 1)]
    assert files[0] == files[1]


def test_a_training_starts_from_one_with_a_near_lambda_in_fewer_steps() -> None:
    steps: list[int] = []
    weights = [1e-3, 2e-3, 1e-1]
    made = list(
        sinrfmt.torch.encode_grids(
            _picture(16, 16, 3), weights, preset=TINY_PYRAMID, device="cpu", on_progress=lambda *at: steps.append(at[2])
        )
    )
    assert steps == [TINY_PYRAMID.n_steps, TINY_PYRAMID.n_steps // 2, TINY_PYRAMID.n_steps]
    sizes = [len(encoding.field.data) for encoding in made]
    assert sizes[-1] < sizes[0]
    (alone,) = sinrfmt.torch.encode_grids(_picture(16, 16, 3), weights[:1], preset=TINY_PYRAMID, device="cpu")
    assert alone.field.data == made[0].field.data


def test_networks_of_a_mosaic_are_where_the_whole_starts() -> None:
    picture = _picture(110, 140, 3)
    stages: list[tuple[str, int]] = []
    preset = replace(TINY_PYRAMID, mosaic_steps=10)
    encoding = sinrfmt.torch.encode_grid(
        picture, preset=preset, device="cpu", on_progress=lambda stage, done, total, psnr: stages.append((stage, total))
    )
    assert stages == [("mosaic", 10), ("fit", TINY_PYRAMID.n_steps)]
    assert encoding.psnr == sample_psnr(picture, encoding.field.grid().reshape(-1, 3))


def test_what_is_remembered_is_evaluated_again_where_one_of_its_tensors_is_another() -> None:
    calls: list[float] = []

    def total(arrays: Mapping[str, torch.Tensor]) -> torch.Tensor:
        calls.append(float(arrays["a"]))
        return arrays["a"] + arrays["b"]

    known = remembered(total, ["a", "b"])
    first = {"a": torch.tensor(1.0), "b": torch.tensor(2.0), "c": torch.tensor(4.0)}
    assert float(known(first)) == float(known({**first, "c": torch.tensor(5.0)})) == 3.0
    assert calls == [1.0]
    assert float(known({**first, "b": torch.tensor(3.0)})) == 4.0
    assert float(known(first)) == 3.0
    assert calls == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("rate_weight", [1e-5, 4e-4, 1e-2])
def test_a_small_lambda_leaves_no_factor_in_what_was_trained(rate_weight: float) -> None:
    values = torch.tensor((_picture(16, 16, 3).reshape(-1, 3).T / 255.0).astype(np.float32))
    network = pyramid_network((16, 16), 3, TINY_PYRAMID, ContextId.INTERLACED)
    module = new_pyramid(network, values, rate_weight)
    fitted = fit_pyramid(module, values, GridFitOptions(60, rate_weight), seed=0)
    with torch.no_grad():
        rounded_error = float((module(fitted.latents, fitted.arrays) - values).square().mean())
        error = float((module(fitted.latents) - values).square().mean())
    assert rounded_error == pytest.approx(fitted.mse, rel=1e-5)
    assert error < 0.3 * float(values.var())
    steps = {name: array / fitted.steps[name] for name, array in fitted.arrays.items()}
    assert all(torch.allclose(array, array.round(), rtol=1e-5) for array in steps.values())


def test_small_lambdas_have_finer_steps_where_many_samples_share_a_latent() -> None:
    assert amplitude_of(1e-3) == amplitude_of(2e-2) == level_gain_of(1e-3) == 1.0
    assert amplitude_of(1e-5) == 8.0
    assert amplitude_of(0.0) == amplitude_of(1e-6) == 32.0
    network = pyramid_network((16, 24), 3, TINY_PYRAMID, ContextId.INTERLACED)
    fine, usual = PyramidModule(network, seed=1, level_gain=0.5), PyramidModule(network, seed=1)
    assert torch.equal(fine.arrays()["layers.0.weight"], usual.arrays()["layers.0.weight"] * fine.level_gains)
    rates = fine.latent_rates().split(np.diff(fine.level_starts).tolist())
    assert [float(level.unique()) for level in rates] == [4, 2, 1]
    assert set(usual.latent_rates().tolist()) == {1.0}


@pytest.mark.parametrize("shape", [(512, 768), (96, 2000), (40, 3000), (130, 131), (1100, 2000)])
def test_a_mosaic_has_four_pieces_of_the_picture(shape: tuple[int, int]) -> None:
    piece = LARGE_PIECE if shape[0] * shape[1] >= LARGE_PICTURE else PIECE
    rows, columns = (np.arange(n)[:, None] if axis == 0 else np.arange(n)[None] for axis, n in enumerate(shape))
    picture = np.stack(np.broadcast_arrays(rows, columns), axis=-1).astype(np.uint16)
    mosaic = mosaic_of(picture)
    height, width = min(shape[0], piece[0]), min(shape[1], piece[1])
    assert mosaic.shape == (2 * height, 2 * width, 2)
    assert len({tuple(mosaic[y, x]) for y in (0, height) for x in (0, width)}) >= 2
    inside = mosaic[:height, :width].astype(int)
    assert (np.diff(inside[:, :, 0], axis=0) == 1).all()
    assert (np.diff(inside[:, :, 1], axis=1) == 1).all()


def test_hashed_grids_become_a_file_of_the_measured_quality() -> None:
    picture = _picture(17, 24, 3)
    encoding = sinrfmt.torch.encode_grid(picture, preset=TINY_SHACIRA, device="cpu")
    assert encoding.psnr == sample_psnr(picture, sinrfmt.loads(encoding.field.data).grid().reshape(-1, 3))


def test_training_lowers_distortion_and_rate() -> None:
    picture = _picture(16, 16, 3)
    values = torch.tensor((picture.reshape(-1, 3).T / 255.0).astype(np.float32))
    network = pyramid_network((16, 16), 3, TINY_PYRAMID, ContextId.INTERLACED)

    def cost(n_steps: int) -> float:
        module = PyramidModule(network, mean=values.mean(dim=1).numpy())
        fitted = fit_pyramid(module, values, GridFitOptions(n_steps, 1e-3), seed=0)
        return fitted.mse + 1e-3 * fitted.latent_bits / 256

    assert cost(200) < 0.5 * cost(1)


def test_an_interruption_leaves_the_module_as_it_stands() -> None:
    values = torch.rand(3, 256, generator=torch.Generator().manual_seed(0))
    module = PyramidModule(pyramid_network((16, 16), 3, TINY_PYRAMID, ContextId.INTERLACED))

    def stop(done: int, total: int, psnr: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_pyramid(module, values, GridFitOptions(50, 1e-3), seed=0, on_progress=stop)
    assert torch.isfinite(module.latents).all()


def test_targets_exclude_each_other() -> None:
    with pytest.raises(sinrfmt.UsageError, match="exclude each other"):
        sinrfmt.torch.encode_grid(_picture(8, 8, 1), max_bytes=100, min_psnr=30.0)


def test_a_context_network_that_no_record_describes_is_refused_before_the_training() -> None:
    preset = replace(TINY_PYRAMID, n_steps=10**9, context_width=6)
    with pytest.raises(sinrfmt.UsageError, match="multiple of 4"):
        sinrfmt.torch.encode_grid(_picture(8, 8, 1), preset=preset)


def test_a_module_needs_the_pyramid_of_a_picture() -> None:
    network = Network(2, 1, (LayerRecord(RecordKind.LINEAR, 1),))
    with pytest.raises(ValueError, match="pyramid of a picture"):
        PyramidModule(network)
    over_time = PyramidEncoding((4, 8, 8), 2, axes=(1, 2), record=LayerRecord(RecordKind.PYRAMID, 1, tool=Tool.SCALAR))
    with pytest.raises(ValueError, match="pyramid of a picture"):
        PyramidModule(Network(3, 1, (LayerRecord(RecordKind.LINEAR, 1),), over_time))


def test_soft_rounding_keeps_integers_and_halves() -> None:
    x = torch.tensor([-1.0, 0.0, 0.5, 2.5, 3.0])
    torch.testing.assert_close(soft_round(x, 0.2), x)
    assert float(soft_round(torch.tensor(0.4), 0.05)) < 0.02


def test_rounding_straight_through_has_the_gradient_of_the_identity() -> None:
    x = torch.tensor([0.4, 1.6], requires_grad=True)
    (round_through(x) * torch.tensor([2.0, 3.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2.0, 3.0]


def test_cold_annealing_rounds_to_the_nearer_side() -> None:
    x = torch.tensor([0.2, 0.8, -1.3])
    cold = gumbel_round(x, 0.02, torch.Generator().manual_seed(0))
    torch.testing.assert_close(cold, torch.tensor([0.0, 1.0, -1.0]), atol=1e-3, rtol=0.0)


def test_noise_stays_in_half_a_step_and_is_uniform_for_shape_one() -> None:
    like = torch.zeros(20000)
    for shape in (1.0, 2.0):
        noise = kumaraswamy_noise(like, shape, torch.Generator().manual_seed(0))
        assert float(noise.abs().max()) <= 0.5
    uniform = kumaraswamy_noise(like, 1.0, torch.Generator().manual_seed(0))
    assert abs(float(uniform.std()) - 1.0 / math.sqrt(12.0)) < 0.01


def test_laplace_masses_sum_to_one() -> None:
    x = torch.arange(-60.0, 61.0)
    for mean, log_scale in ((0.0, -2.0), (0.3, 0.5), (-0.5, 2.0)):
        masses = 2.0 ** -laplace_bits(x, mean, torch.full_like(x, log_scale))
        assert float(masses.sum()) == pytest.approx(1.0, abs=0.01)


def test_bits_of_centred_laws_are_those_of_any_laplace_law() -> None:
    x = torch.tensor([-3.3, -0.6, -0.2, 0.0, 0.3, 0.7, 40.0], requires_grad=True)
    log_scale = torch.tensor([0.5, -1.0, -3.0, 0.0, 1.0, -2.0, 2.0])
    wanted, found = laplace_bits(x, 0.0, log_scale), centred_bits(x, log_scale)
    torch.testing.assert_close(found, wanted)
    slopes = [torch.autograd.grad(bits.sum(), x)[0] for bits in (wanted, found)]
    torch.testing.assert_close(slopes[1], slopes[0])


def test_the_learned_distribution_is_monotone_and_its_masses_sum_to_one() -> None:
    cdf = MonotoneCdf(2)
    x = torch.linspace(-200.0, 200.0, 401).expand(2, -1)
    with torch.no_grad():
        assert bool((cdf(x).diff(dim=1) >= 0.0).all())
        masses = 2.0 ** -cdf.bits(x)
    torch.testing.assert_close(masses.sum(dim=1), torch.ones(2), atol=0.05, rtol=0.0)


def test_soap_reaches_the_bottom_of_a_skewed_bowl() -> None:
    matrix = torch.full((3, 4), 2.0, requires_grad=True)
    vector = torch.full((5,), -1.0, requires_grad=True)
    slopes = torch.logspace(0.0, 3.0, 12).view(3, 4)
    optimizer = Soap([matrix, vector])
    for step in range(300):
        matrix.grad = vector.grad = None
        ((slopes * matrix.square()).sum() + vector.square().sum()).backward()
        optimizer.step(0.05 * (1.0 - step / 300))
    assert float(matrix.detach().abs().max()) < 0.05
    assert float(vector.detach().abs().max()) < 0.05


def test_tensors_have_the_names_and_shapes_of_the_file() -> None:
    module = _module(ContextId.SERIAL)
    shapes = {t.name: t.shape for t in module.network.tensors if t.role is not TensorRole.LATENT}
    assert {name: tuple(array.shape) for name, array in module.arrays().items()} == shapes
