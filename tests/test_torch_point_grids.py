"""Latent grids over points: the module is the format's field, and what is trained decodes to the quality announced."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import reference_decoder
import sinrfmt
import sinrfmt.torch
from sinrfmt.evaluate import Floats, evaluate
from sinrfmt.grids import Frame
from sinrfmt.head import Header
from sinrfmt.metrics import psnr
from sinrfmt.network import (
    FourierEncoding,
    GridEncoding,
    InputRecord,
    LayerRecord,
    MultiplyRecord,
    Network,
    Record,
    TensorRole,
)
from sinrfmt.registry import Coords, Modality, RecordKind, Values
from sinrfmt.torch.grid_module import GridModule, Lattice, Places, interpolate
from sinrfmt.torch.point_files import (
    encode_objective,
    encode_signal_grid,
    frame_of,
    grid_header,
    signal_header,
    uncompressed_grid,
)
from sinrfmt.torch.point_fit import (
    Evaluate,
    Objective,
    PointFitOptions,
    fit_objective,
    lattice_objective,
    sampled_objective,
)
from sinrfmt.torch.point_recipes import PointPreset, level_resolutions, point_network
from sinrfmt.torch.signals import Signal, grid_coords

TINY = PointPreset(
    name="tiny",
    n_steps=80,
    rate_weight=1e-5,
    latent_rate=0.3,
    network_rate=0.02,
    n_levels=3,
    first_resolution=4,
    last_resolution=12,
    last_share=0.5,
    log2_table_size=7,
    width=8,
    depth=1,
    batch_size=256,
)
RELU, LINEAR = LayerRecord(RecordKind.RELU, 8), LayerRecord(RecordKind.LINEAR, 2)
WITH_RECORDS: tuple[Record, ...] = (
    LayerRecord(RecordKind.SINE, 8, omega=5.0),
    InputRecord(0, 2, FourierEncoding(2)),
    LayerRecord(RecordKind.LINEAR, 1, is_output=True),
    LayerRecord(RecordKind.FILTER, 0, omega=2.0),
    LayerRecord(RecordKind.FILTER, 0, omega=2.0),
    LayerRecord(RecordKind.LINEAR, 1),
)
BOX = ((-1.0, 1.0), (-2.0, 2.0), (-1.0, 0.5))


def _grid(*resolutions: tuple[int, ...], table: int = 5, **fields: Any) -> GridEncoding:
    return GridEncoding(resolutions, log2_table_size=table, **fields)


FIELDS = {
    "one axis": (Network(1, 2, (RELU, LINEAR), _grid((3,), (20,), (100,))), Frame()),
    "an axis of one vertex": (Network(2, 2, (RELU, LINEAR), _grid((5, 1), (40, 1))), Frame(Coords.CORNERS)),
    "records": (
        Network(2, 2, WITH_RECORDS, _grid((3, 4), (20, 30), latent_dim=2, feature_dim=3, decoder_per_level=True)),
        Frame(Coords.CENTRES_UNIT),
    ),
    "products": (Network(2, 2, (RELU, RELU, MultiplyRecord(0), LINEAR), _grid((3, 4), (20, 30))), Frame()),
    "appended coordinates": (
        Network(5, 2, (RELU, LINEAR), _grid((3, 4, 2), (20, 30, 9), latent_dim=2, feature_dim=4, summed=True)),
        Frame(Coords.BOX, (), (*BOX, (0.0, 1.0), (0.0, 1.0))),
    ),
    "four axes, hashed before dense": (
        Network(4, 2, (RELU, LINEAR), _grid((9, 8, 7, 6), (2, 2, 2, 2), feature_dim=2, append_input=True)),
        Frame(Coords.CORNERS_PROPORTIONAL, (8, 7, 5, 6)),
    ),
}


def _module(network: Network, frame: Frame) -> GridModule:
    """A module with random integers as latents."""
    module = GridModule(network, frame, seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        module.latents.copy_(torch.randint(-4, 5, module.latents.shape, generator=generator).float())
    return module


def _tensors(module: GridModule) -> list[Floats]:
    """In table order."""
    levels = iter(np.split(module.latents.detach().numpy(), module.level_starts[1:-1]))
    arrays = module.arrays()
    return [
        next(levels) if tensor.role is TensorRole.LATENT else arrays[tensor.name].detach().numpy()
        for tensor in module.network.tensors
    ]


def _coords(in_dims: int) -> Floats:
    """Random ones, some outside of the box, the corners of it and one that is no number."""
    coords = np.random.default_rng(0).uniform(-1.2, 1.2, (300, in_dims)).astype(np.float32)
    coords[:3] = [[-1.0], [1.0], [np.inf]]
    return coords


@pytest.mark.parametrize("name", FIELDS)
def test_the_module_is_the_field_that_the_format_evaluates(name: str) -> None:
    module = _module(*FIELDS[name])
    coords = _coords(module.network.in_dims)
    coords[2, module.encoding.n_axes :] = 0.0
    with np.errstate(invalid="ignore"):
        wanted = evaluate(module.network, _tensors(module), coords, 3, FIELDS[name][1])
    points = torch.tensor(coords)
    with torch.no_grad():
        np.testing.assert_allclose(module(module.latents, points).numpy()[3:], wanted[3:], atol=1e-5)
        np.testing.assert_allclose(module(module.latents, module.points(points)).numpy()[3:], wanted[3:], atol=1e-5)
        np.testing.assert_allclose(module.values_at(module.latents, coords).numpy()[:2], wanted[:2], atol=1e-5)


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_a_lattice_is_the_points_of_its_product(latent_dim: int) -> None:
    encoding = _grid((3, 4, 1), (9, 8, 1), table=12, latent_dim=latent_dim, feature_dim=2)
    module = _module(Network(3, 2, (RELU, LINEAR), encoding), Frame(Coords.CORNERS))
    axes = [torch.linspace(-1.1, 1.0, n) for n in (7, 6, 5)]
    chosen = [torch.tensor(places) for places in ([0, 6, 3], [5, 1], [4])]
    lattice = module.lattice(axes).at(chosen)
    points = torch.cartesian_prod(*(x[i] for x, i in zip(axes, chosen, strict=True)))
    values = [module(module.latents, places) for places in (lattice, points)]
    torch.testing.assert_close(values[0], values[1])
    gradients = [torch.autograd.grad(v.square().sum(), module.latents)[0] for v in values]
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_lattice_needs_dense_levels_over_all_coordinates() -> None:
    for network in (FIELDS["one axis"][0], Network(2, 2, (RELU, LINEAR), _grid((4,)))):
        with pytest.raises(ValueError, match="dense levels over all coordinates"):
            GridModule(network).lattice([torch.zeros(2)] * 2)


def test_an_epoch_takes_every_sample_of_a_lattice_once() -> None:
    module = GridModule(Network(2, 1, (LayerRecord(RecordKind.LINEAR, 1),), _grid((3, 3))))
    axes = [np.arange(n, dtype=np.float32) / 10.0 for n in (7, 10)]
    samples = torch.arange(70.0).view(-1, 1)
    objective = lattice_objective(module, axes, samples, batch_size=20, seed=0)
    seen: list[float] = []

    def evaluate(places: Places) -> torch.Tensor:
        assert isinstance(places, Lattice)
        wanted = (places.coords * 10.0).round() @ torch.tensor([[10.0], [1.0]])
        seen.extend(wanted.flatten().tolist())
        return wanted

    for step in range(4, 8):  # the second epoch
        assert float(objective.distortion(evaluate, step)) == 0.0
    assert sorted(seen) == list(range(70))


def test_gradients_of_interpolation_are_those_of_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.rand(9, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(3, 4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    entries = torch.randint(9, (3, 4, 6), generator=generator, dtype=torch.int32)
    assert torch.autograd.gradcheck(lambda y, w: interpolate(y, entries, w), (latents, weights))


def test_coordinates_have_the_gradient_of_the_field() -> None:
    module = _module(*FIELDS["appended coordinates"])
    coords = torch.tensor([[0.21, 0.33, -0.4, 0.2, 0.1]], requires_grad=True)
    module(module.latents, coords).sum().backward()
    assert coords.grad is not None
    shift = torch.zeros(1, 5)
    shift[0, 1] = 1e-3
    with torch.no_grad():
        difference = (module(module.latents, coords + shift) - module(module.latents, coords - shift)).sum() / 2e-3
    assert float(coords.grad[0, 1]) == pytest.approx(float(difference), rel=0.02)


def test_a_module_needs_a_grid() -> None:
    with pytest.raises(ValueError, match="over a latent grid"):
        GridModule(Network(2, 2, (RELU, LINEAR)))


def test_levels_have_the_proportions_of_the_native_grid() -> None:
    sizes = level_resolutions(TINY, 3, (1, 48, 24))
    assert sizes[-1] == (1, 24, 12)
    assert sizes[0] == (1, 4, 2)
    assert level_resolutions(TINY, 2) == ((4, 4), (7, 7), (12, 12))


def _signal(grid: tuple[int, ...], channels: int, modality: Modality, value_range: Values = Values.UNIT) -> Signal:
    coords = grid_coords(grid)
    waves = np.stack([np.sin(1.5 * coords.sum(axis=1) + c) for c in range(channels)], axis=1)
    samples = np.rint(127.5 + 100.0 * waves).astype(np.uint8)
    scale, offset = (1.0, 0.0) if value_range is Values.UNIT else (2.0, -1.0)
    values = (samples / 255.0 * scale + offset).astype(np.float32)
    return Signal(coords, values, samples, grid, modality, Coords.CENTRES, value_range)


SIGNALS = {
    "sound": _signal((600,), 1, Modality.AUDIO, Values.SIGNED),
    "picture": _signal((24, 32), 3, Modality.IMAGE),
    "video": _signal((6, 12, 16), 3, Modality.VIDEO),
    "field over time": _signal((3, 5, 6, 7), 1, Modality.FIELD),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_of_any_dimension_decodes_to_the_quality_announced(name: str) -> None:
    signal = SIGNALS[name]
    encoding = encode_signal_grid(signal, TINY, device="cpu")
    values = np.asarray(reference_decoder.decode(encoding.field.data).grid()).reshape(signal.n_samples, -1)
    assert psnr(signal.samples, _samples(values, signal.value_range)) == pytest.approx(encoding.psnr, abs=0.05)
    mean = np.broadcast_to(np.rint(signal.samples.mean(axis=0)).astype(np.uint8), signal.samples.shape)
    assert encoding.psnr > psnr(signal.samples, mean) + 3.0


def _samples(values: Floats, value_range: Values) -> np.ndarray[Any, np.dtype[np.uint8]]:
    unit = values if value_range is Values.UNIT else (values + 1.0) / 2.0
    samples: np.ndarray[Any, np.dtype[np.uint8]] = np.floor(255.0 * np.clip(unit, 0.0, 1.0) + 0.5).astype(np.uint8)
    return samples


@pytest.mark.parametrize("method", ["soft", "published"])
def test_a_seed_determines_the_file(method: str) -> None:
    preset = replace(TINY, n_steps=20, method=method)
    files = [encode_signal_grid(SIGNALS["sound"], preset, seed=s, device="cpu").field.data for s in (1, 1, 2)]
    assert files[0] == files[1] != files[2]


def _sphere(evaluate: Evaluate, points: torch.Tensor) -> torch.Tensor:
    distances: torch.Tensor = points.norm(dim=1) - 0.5
    return (evaluate(points)[:, 0] - distances).abs().mean()


def _random_points(seed: int) -> torch.Tensor:
    return 2.0 * torch.rand(256, 3, generator=torch.Generator().manual_seed(seed)) - 1.0


def _sphere_objective(_module: GridModule) -> Objective:
    return Objective(
        distortion=lambda evaluate, step: _sphere(evaluate, _random_points(step + 1)),
        validation=lambda evaluate: _sphere(evaluate, _random_points(0)),
        n_positions=4096,
        quality=lambda evaluate: -20.0 * float(_sphere(evaluate, _random_points(0)).log10()),
    )


SPHERE = grid_header(Header(point_network(TINY, 3, 1), Modality.SDF, values=Values.RAW))


def test_any_objective_can_be_trained_for() -> None:
    untrained = _sphere(lambda _points: torch.zeros(256, 1), _random_points(0))
    encoding = encode_objective(SPHERE, _sphere_objective, replace(TINY, n_steps=150), device="cpu")
    decoded = reference_decoder.decode(encoding.field.data)

    def sample(points: Any) -> torch.Tensor:
        return torch.tensor(np.asarray(decoded.sample(points.numpy())))

    assert encoding.psnr == pytest.approx(-20.0 * float(_sphere(sample, _random_points(0)).log10()), abs=0.01)
    assert float(_sphere(sample, _random_points(0))) < 0.5 * float(untrained)


def test_latents_are_seen_as_they_are_for_the_first_share_and_then_are_not() -> None:
    module = GridModule(SPHERE.network, frame_of(SPHERE))
    as_they_are: list[bool] = []

    def distortion(evaluate: Evaluate, step: int) -> torch.Tensor:
        points = _random_points(step + 1)
        with torch.no_grad():
            as_they_are.append(torch.equal(evaluate(points), module(module.latents, points)))
        return _sphere(evaluate, points)

    objective = replace(_sphere_objective(module), distortion=distortion)
    options = PointFitOptions(20, 1e-3, warm_share=0.5, free_share=0.5, hard_share=0.1)
    fitted = fit_objective(module, objective, options, seed=0)
    assert as_they_are == [True] * 10 + [False] * 10
    assert torch.equal(fitted.latents, fitted.latents.round())


def test_latents_that_stayed_small_get_a_finer_step() -> None:
    free = replace(TINY, n_steps=200, latent_rate=0.02, warm_share=0.5, free_share=0.5, rate_weight=1e-7)
    chosen = encode_signal_grid(SIGNALS["picture"], free, device="cpu")
    given = encode_signal_grid(SIGNALS["picture"], replace(free, warm_share=0.0), device="cpu")
    assert chosen.psnr > given.psnr + 3.0
    latents = [s.acc for s in chosen.field.states if s.tensor.role is TensorRole.LATENT]
    assert max(int(np.abs(level).max()) for level in latents) > 4


def test_a_decoded_file_is_a_module() -> None:
    field = encode_objective(SPHERE, _sphere_objective, replace(TINY, n_steps=5), device="cpu").field
    coords = _random_points(7)
    module = GridModule.of_field(field)
    with torch.no_grad():
        np.testing.assert_allclose(module(module.latents, coords).numpy(), field.sample(coords.numpy()), atol=1e-5)


def test_a_dearer_bit_makes_a_smaller_file() -> None:
    preset = replace(TINY, last_share=1.0, log2_table_size=10)
    files = [
        encode_signal_grid(SIGNALS["picture"], replace(preset, rate_weight=weight), device="cpu").field.data
        for weight in (1e-6, 1e-2)
    ]
    assert len(files[1]) < 0.7 * len(files[0])


def test_a_size_is_met_and_two_targets_are_refused() -> None:
    preset = replace(TINY, n_steps=30)
    assert len(encode_signal_grid(SIGNALS["picture"], preset, max_bytes=700, device="cpu").field.data) <= 700
    with pytest.raises(sinrfmt.UsageError, match="exclude each other"):
        encode_signal_grid(SIGNALS["picture"], preset, max_bytes=700, min_psnr=30.0, device="cpu")


def test_a_preset_of_pictures_does_not_fit_other_signals() -> None:
    with pytest.raises(sinrfmt.UsageError, match="pictures only"):
        encode_signal_grid(SIGNALS["sound"], "pyramid", device="cpu")


def test_the_uncompressed_twin_has_two_bytes_a_number_and_no_rate() -> None:
    signal = SIGNALS["picture"]
    header = signal_header(signal, TINY)

    def objective(module: GridModule) -> Objective:
        return sampled_objective(module, signal.coords, torch.tensor(signal.values), batch_size=256, seed=0)

    twin = uncompressed_grid(header, objective, TINY, device="cpu")
    assert twin.n_bytes == 2 * header.network.n_parameters
    with torch.no_grad():
        values = twin.module.values_at(twin.module.latents, signal.coords).numpy()
    assert twin.psnr == pytest.approx(-10.0 * np.log10(np.mean((values - signal.values) ** 2)), abs=0.01)
    assert twin.psnr > encode_signal_grid(signal, replace(TINY, rate_weight=1e-2), device="cpu").psnr
    assert all(bool((p == p.half().float()).all()) for p in twin.module.parameters())


@pytest.mark.parametrize("method", ["soft", "published"])
def test_an_interruption_leaves_the_module_as_it_stands(method: str) -> None:
    signal = SIGNALS["picture"]
    header = signal_header(signal, TINY)
    module = GridModule(header.network, frame_of(header))
    objective = sampled_objective(module, signal.coords, torch.tensor(signal.values), batch_size=256, seed=0)

    def stop(done: int, total: int, quality: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_objective(module, objective, PointFitOptions(40, 1e-3, method=method), seed=0, on_progress=stop)
    assert bool(torch.isfinite(module.latents).all())


def test_every_preset_makes_a_network_for_its_signals() -> None:
    grids: dict[str, Sequence[int]] = {"audio": (44100,), "video": (24, 180, 320), "field": (93, 64, 64)}
    for name, preset in sinrfmt.torch.grid_presets().items():
        if isinstance(preset, PointPreset):
            grid = grids.get(name, ())
            network = point_network(preset, len(grid) or 3, 1, grid=grid)
            assert GridModule(network).latents.shape[1] == preset.latent_dim
