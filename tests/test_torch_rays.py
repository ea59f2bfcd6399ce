"""What rays through a radiance field show, and files that keep it."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import sinrfmt
from sinrfmt.head import Header
from sinrfmt.registry import Coords, Modality, Values
from sinrfmt.torch import compress, rate
from sinrfmt.torch.compress import WeightTarget, compress_weights
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import preset_of
from sinrfmt.torch.rays import DENSITY, N_DRAWN, N_EVEN, Rays, cast_rays, composite
from sinrfmt.torch.sensitivity import curvature_of, kronecker_curvature_of
from sinrfmt.torch.views import seen
from tests.strategies import PUBLISHED

CPU = torch.device("cpu")
BOX = ((-1.5, 1.5),) * 3 + ((-1.0, 1.0),) * 3
N_RAYS = 60
PRESET = replace(preset_of("fast"), n_trials=8, n_refit_trials=2, n_refits=2)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def module() -> FieldModule:
    """A small NeRF of which rays see something, in front and behind."""
    field = FieldModule(PUBLISHED["nerf"](), seed=4)
    with torch.no_grad():
        for name, parameter in field.named_parameters():
            parameter.mul_(2.0 if name.endswith("weight") else 1.0)
    return field


@pytest.fixture(scope="module")
def rays(module: FieldModule) -> Rays:
    return cast_rays(module, BOX, N_RAYS, seed=1, device=CPU)


def header_of(module: FieldModule) -> Header:
    return Header(module.network, Modality.RADIANCE, coords=Coords.BOX, values=Values.RAW, box=BOX)


def test_what_is_hidden_is_not_seen() -> None:
    gaps = torch.ones(1, 3)
    values = torch.tensor([[0.2, 0.4, 0.6, 0.0], [0.1, 0.5, 0.9, 1e6], [0.9, 0.9, 0.9, 7.0]])
    other = values.clone()
    other[2] = torch.tensor([0.3, 0.1, 0.2, 500.0])
    other[0, :DENSITY] = 0.0  # the colour of empty space
    pixel = composite(gaps, np.array([0]), values)
    torch.testing.assert_close(pixel, torch.tensor([[0.1, 0.5, 0.9, 1.0]]))
    torch.testing.assert_close(composite(gaps, np.array([0]), other), pixel)


def test_half_of_the_light_passes_a_thickness_of_one_bit() -> None:
    gaps = torch.tensor([[9.0, 9.0], [2.0, 0.5]])  # of two rays; the second is looked at
    values = torch.tensor([[1.0, 0.0, 0.0, math.log(2) / 2], [0.0, 1.0, 0.0, 2 * math.log(2)]])
    torch.testing.assert_close(composite(gaps, np.array([1]), values), torch.tensor([[0.5, 0.25, 0.0, 0.75]]))


def test_rays_stay_in_the_box_and_go_away_from_the_eye(rays: Rays) -> None:
    coords = rays.coords.reshape(N_RAYS, N_EVEN + N_DRAWN, 6)
    assert rays.view.depth == N_EVEN + N_DRAWN
    assert (np.abs(coords[..., :3]) <= 1.5001).all()
    np.testing.assert_allclose(np.linalg.norm(coords[..., 3:], axis=2), 1.0, atol=1e-5)
    along = np.einsum("rda,ra->rd", coords[..., :3], coords[:, 0, 3:])
    assert (np.diff(along, axis=1) > -1e-5).all()


def test_curvature_along_rays_is_that_of_their_pixels(module: FieldModule, rays: Rays) -> None:
    parameters = [module.get_parameter(tensor.name) for tensor in module.network.tensors]
    values = rays.view.see(np.arange(N_RAYS), module(torch.from_numpy(rays.coords))).reshape(-1)
    gradients_of = partial(torch.autograd.grad, retain_graph=True, allow_unused=True, materialize_grads=True)
    rows = [gradients_of(value, parameters) for value in values]
    jacobian = np.stack([torch.cat([g.reshape(-1) for g in row]).numpy() for row in rows]).astype(np.float64)
    expected = (jacobian**2).mean(0)
    found = curvature_of(
        module, rays.coords, n_samples=10**6, block_limit=0, seed=0, device=CPU, view=rays.view
    ).diagonal
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_factors_along_rays_have_the_trace_of_a_layers_matrix(module: FieldModule, rays: Rays) -> None:
    exact = curvature_of(module, rays.coords, n_samples=10**6, block_limit=0, seed=0, device=CPU, view=rays.view)
    factored = kronecker_curvature_of(module, rays.coords, n_samples=10**6, seed=0, device=CPU, view=rays.view)
    for block in factored.blocks:
        total = exact.diagonal[block.indices].sum()
        assert factored.diagonal[block.indices].sum() == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize("whole_limit", [10_000, 0])
def test_a_radiance_field_is_kept_as_rays_show_it(
    module: FieldModule, monkeypatch: pytest.MonkeyPatch, whole_limit: int
) -> None:
    monkeypatch.setattr(compress, "N_RAYS", 300)
    monkeypatch.setattr(compress, "WHOLE_LIMIT", whole_limit)
    monkeypatch.setattr(rate, "ROW_STEP_BITS", 0.5)  # the network is narrow
    compressed = compress_weights(
        module, header_of(module), WeightTarget(min_psnr=40.0), preset=PRESET, seed=2, device="cpu"
    )
    rays = cast_rays(module, BOX, 300, seed=2, device=CPU)
    wanted = seen(module, rays.coords, rays.view, device=CPU)
    values = torch.from_numpy(sinrfmt.loads(compressed.data).sample(rays.coords))
    error = rays.view.see(np.arange(300), values).numpy() - wanted
    assert np.abs(wanted).max() > 0.1
    assert -10 * math.log10(float(np.mean(error**2))) == pytest.approx(compressed.quality, abs=0.05)
    assert compressed.quality >= 40.0
    records = sinrfmt.loads(compressed.data).header.network.coded_records
    assert any(record.row_steps for record in records) == (whole_limit == 0)
