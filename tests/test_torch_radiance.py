"""Radiance fields by torch: the same picture as NumPy's, a training that learns a scene, and the verbs on it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import reference_decoder
import sinrfmt
from sinrfmt import Field, UsageError
from sinrfmt.cli import radiance
from sinrfmt.cli.app import _command
from sinrfmt.media.scene import Scene, Views, read_scene
from sinrfmt.media.video import read_clip
from sinrfmt.metrics import psnr
from sinrfmt.network import InputRecord, LayerRecord
from sinrfmt.registry import Modality, RecordKind
from sinrfmt.render import box_of, render, scenery, sight_of, turntable
from sinrfmt.torch import Preset, SceneEncoding, compress, encode_scene, field_renderer, scene_psnr, uncompressed_scene
from sinrfmt.torch.marching import Pixels, Samples, Space, light, march, space_of
from sinrfmt.torch.marching import render as torch_render
from sinrfmt.torch.point_files import point_preset_of
from sinrfmt.torch.point_recipes import PointPreset
from sinrfmt.torch.radiance import ray_network
from sinrfmt.torch.space import carve, first_box, tight_box
from tests.scenes import RADIUS, SIZE, ball, ball_scenery, cameras, write_scene

TINY = replace(
    point_preset_of("radiance-fast"),
    n_steps=100,
    network_rate=0.02,
    latent_rate=0.2,
    rate_weight=2e-5,
    n_levels=3,
    first_resolution=4,
    last_resolution=12,
    log2_table_size=11,
    width=16,
    batch_size=1500,
)


NETWORK = Preset("tiny", 1, (1.0,), 0.0, 150, 0.0, 3000, 1000, 4, 0, 0)
BUDGET = 2500


def torch_ball(coords: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(ball(coords.numpy()))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scenes") / "ball", n_train=6)


@pytest.fixture(scope="module")
def scene(folder: Path) -> Scene:
    return read_scene(folder)


@pytest.fixture(scope="module")
def encoded(scene: Scene) -> SceneEncoding:
    return encode_scene(scene, preset=TINY, seed=1, device="cpu")


@pytest.fixture(scope="module")
def network(scene: Scene) -> Iterator[SceneEncoding]:
    """A network without latents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compress, "N_RAYS", 1000)
        yield encode_scene(scene, preset=NETWORK, max_bytes=BUDGET, seed=1, device="cpu")


# --- rendering -------------------------------------------------------------------------------------------------------


def test_torch_renders_what_numpy_renders() -> None:
    scene = ball_scenery()
    space = space_of(scene, torch.device("cpu"))
    for camera in cameras(3):
        np.testing.assert_allclose(torch_render(torch_ball, space, camera), render(scene, camera), atol=2e-3)


def test_light_is_that_of_each_ray_by_itself() -> None:
    rays = torch.tensor([1, 1, 3])
    values = torch.tensor([[1.0, 0, 0, 2.0], [0, 1.0, 0, 3.0], [0, 0, 1.0, 1.0]])
    seen = light(Samples(rays, torch.zeros(3, 6)), values, 0.5, 4)
    first, second, third = 1 - np.exp(-1.0), np.exp(-1.0) * (1 - np.exp(-1.5)), 1 - np.exp(-0.5)
    expected = [[0, 0, 0, 0], [first, second, 0, first + second], [0, 0, 0, 0], [0, 0, third, third]]
    np.testing.assert_allclose(seen.numpy(), expected, atol=1e-6)


def test_empty_places_can_fill_again() -> None:
    values = torch.tensor([[0.5, 0.5, 0.5, -1.0]], requires_grad=True)
    light(Samples(torch.tensor([0]), torch.zeros(1, 6)), values, 0.5, 1)[0, 3].backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad[0, 3] == 0  # an increase of opacity as the loss: the density is to fall, and is empty already
    values.grad = None
    (-light(Samples(torch.tensor([0]), torch.zeros(1, 6)), values, 0.5, 1)[0, 3]).backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad[0, 3] < 0


def test_samples_behind_what_is_opaque_are_left_out() -> None:
    space = Space(-torch.ones(3), torch.ones(3), 0.1, torch.tensor([4, 1, 1]), torch.tensor([0.0, 0.5, 1.0, 1.0]))
    eye, towards = torch.tensor([[-3.0, 0, 0]]), torch.tensor([[1.0, 0, 0]])
    every = march(space, eye, towards, torch.tensor([0.5]), least=0.1)
    assert every.coords[:, 0].tolist() == pytest.approx([-0.45 + 0.1 * i for i in range(15)], abs=1e-5)
    seen = march(space, eye, towards, torch.tensor([0.5]), least=0.1, most_before=2.0)
    assert len(seen.rays) == 4


def test_pixels_have_the_rays_of_their_cameras(scene: Scene) -> None:
    pixels = Pixels(scene.train, torch.device("cpu"))
    chosen = torch.tensor([0, SIZE[0] * SIZE[1] - 1, SIZE[0] * SIZE[1] + 37])
    eyes, directions = pixels.rays(chosen)
    rays = [camera.rays() for camera in scene.train.cameras]
    np.testing.assert_allclose(eyes, np.concatenate([eye for eye, _ in rays])[chosen], atol=1e-6)
    np.testing.assert_allclose(directions, np.concatenate([d for _, d in rays])[chosen], atol=1e-6)


# --- space -----------------------------------------------------------------------------------------------------------


def test_the_carved_box_holds_the_ball_and_little_else(scene: Scene) -> None:
    box = tight_box(scene.train)
    cells = carve(scene.train, box, (14, 15, 16))
    assert (box[:, 0] < -RADIUS).all()
    assert (box[:, 1] > RADIUS).all()
    wide = first_box(scene.train.cameras)
    assert cells.mean() * np.prod(box[:, 1] - box[:, 0]) < 0.6 * np.prod(wide[:, 1] - wide[:, 0])
    centres = np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n for n in cells.shape), indexing="ij"), axis=-1)
    places = box[:, 0] + centres * (box[:, 1] - box[:, 0])
    assert cells[np.linalg.norm(places, axis=-1) < RADIUS].all()


def test_opaque_pictures_carve_only_what_none_of_them_shows(scene: Scene) -> None:
    views = scene.train
    opaque = Views(views.names, views.cameras, tuple(picture[..., :3] for picture in views.pictures))
    box = tight_box(opaque)
    cells = carve(opaque, box, (8, 8, 8))
    wide = first_box(views.cameras)
    assert (box[:, 0] >= wide[:, 0]).all()
    assert (box[:, 1] <= wide[:, 1]).all()
    assert cells[2:-2, 2:-2, 2:-2].all()


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_scene_is_learnt(encoded: SceneEncoding) -> None:
    assert encoded.psnr > 20
    assert encoded.field.header.modality is Modality.RADIANCE
    assert len(encoded.field.data) < encoded.field.header.n_parameters * 2


def test_the_file_says_all_that_a_viewer_needs(encoded: SceneEncoding, scene: Scene) -> None:
    field = sinrfmt.loads(encoded.field.data)
    sight = sight_of(field.meta)
    assert sight.size == SIZE
    assert sight.distance == pytest.approx(3.0, abs=0.2)
    box = box_of(field.header)
    np.testing.assert_allclose(box, tight_box(scene.train), rtol=1e-6)
    seen = render(scenery(field.sample, box, sight.n_samples), turntable(box, sight, 4)[1])
    assert 0.05 < seen[..., 3].mean() < 0.6


@pytest.mark.parametrize("made", ["encoded", "network"])
def test_density_is_never_negative_and_the_same_from_all_sides(made: str, request: pytest.FixtureRequest) -> None:
    encoded: SceneEncoding = request.getfixturevalue(made)
    rng = np.random.default_rng(0)
    places = rng.uniform(-1, 1, (500, 3))
    directions = rng.normal(size=(2, 500, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    one, other = (encoded.field.sample(np.concatenate([places, way], axis=1)) for way in directions)
    np.testing.assert_array_equal(one[:, 3], other[:, 3])
    assert (one[:, 3] >= 0).all()
    assert one[:, 3].max() > 1
    assert np.abs(one[:, :3] - other[:, :3]).max() > 0


@pytest.mark.parametrize("made", ["encoded", "network"])
def test_the_reference_decoder_and_numpy_render_the_same_pixels(made: str, request: pytest.FixtureRequest) -> None:
    field = request.getfixturevalue(made).field
    own = reference_decoder.decode(field.data)
    box, n_samples = box_of(field.header), sight_of(field.meta).n_samples
    camera = cameras(1, first=0.4)[0]
    by_reference = render(scenery(lambda coords: np.asarray(own.sample(coords)), box, n_samples), camera)
    np.testing.assert_allclose(by_reference, render(scenery(field.sample, box, n_samples), camera), atol=1e-4)
    np.testing.assert_allclose(field_renderer(field, device="cpu")(camera), by_reference, atol=2e-3)


def test_a_network_alone_learns_a_scene_within_its_budget(network: SceneEncoding) -> None:
    header = network.field.header
    assert header.network.latents is None
    assert BUDGET / 2 < len(network.field.data) <= BUDGET
    assert network.psnr > 18
    assert sum(array.size for array in network.encoding.float_arrays.values()) == header.n_parameters


def test_a_network_gets_features_as_fine_as_its_box_asks_for() -> None:
    unit = np.array([(-1.0, 1.0)] * 3)
    octaves = [
        record.encoding.octaves
        for scale in (0.01, 1.0, 100.0, 1e6)
        for record in ray_network(8, scale * unit).records[:1]
        if isinstance(record, InputRecord) and record.encoding is not None
    ]
    assert octaves == [15, 8, 2, 1]  # up to 1, 0.75 or 1.5 times 150 radians at the ends, as far as powers of two go


def test_a_network_takes_no_lambda(scene: Scene) -> None:
    with pytest.raises(UsageError, match="rate weight"):
        encode_scene(scene, preset=NETWORK, rate_weight=1e-3)


def test_a_budget_without_room_for_a_network_is_refused_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinrfmt.torch.radiance, "descend", None)  # nothing is trained
    with pytest.raises(UsageError, match="fewer than the smallest network takes"):
        encode_scene(scene, preset=NETWORK, max_bytes=300, device="cpu")


def test_the_psnr_reported_is_that_of_the_rendered_test_views(encoded: SceneEncoding, scene: Scene) -> None:
    assert scene.test is not None
    assert encoded.psnr == pytest.approx(scene_psnr(encoded.field, scene.test, device="cpu"))


def test_an_uncompressed_grid_has_the_shape_of_the_file(encoded: SceneEncoding, scene: Scene) -> None:
    floats, quality = uncompressed_scene(scene, preset=TINY, seed=1, device="cpu")
    assert floats.n_bytes == 2 * encoded.field.header.n_parameters
    assert quality > 20


# --- verbs -----------------------------------------------------------------------------------------------------------


def run(*arguments: object) -> None:
    _command().main([str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture
def tiny_presets(monkeypatch: pytest.MonkeyPatch) -> PointPreset:
    monkeypatch.setattr(radiance, "PRESETS", dict.fromkeys(radiance.PRESETS, TINY))
    return TINY


@pytest.fixture
def path(encoded: SceneEncoding, tmp_path: Path) -> Path:
    output = tmp_path / "ball.sinr"
    output.write_bytes(encoded.field.data)
    return output


@pytest.mark.usefixtures("tiny_presets")
def test_encode_takes_a_folder_of_views(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "ball.sinr"
    run("encode", folder, "-o", output, "--device", "cpu", "--seed", 1, "--json")
    summary = json.loads(capsys.readouterr().out)
    assert (summary["modality"], summary["train_views"], summary["test_views"]) == ("RADIANCE", 6, 2)
    assert summary["file_bytes"] == output.stat().st_size
    assert summary["psnr"] > 20
    assert (summary["field"], summary["reason"]) == ("grid", "a grid where no size is asked for")


def test_auto_takes_a_network_for_few_bytes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress, "N_RAYS", 1000)
    monkeypatch.setattr(sinrfmt.torch, "preset_of", {"fast": NETWORK}.__getitem__)
    output = tmp_path / "ball.sinr"
    run("encode", folder, "-o", output, "--preset", "fast", "--bytes", BUDGET, "--device", "cpu", "--json")
    summary = json.loads(capsys.readouterr().out)
    assert summary["file_bytes"] == output.stat().st_size <= BUDGET
    assert summary["field"] == "mlp"
    assert summary["reason"].startswith(f"{BUDGET} bytes")
    assert summary["levels"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--field", "mlp", "--rate-weight", 0.01), "--rate-weight goes with --field grid"),
        (("--preset", "pyramid"), "expected fast, balanced or best"),
        (("--bytes", 900, "--psnr", 20), "exclude each other"),
    ],
)
def test_options_that_do_not_suit_views_are_refused(
    folder: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run("encode", folder, "-o", tmp_path / "ball.sinr", *options)
    assert not list(tmp_path.iterdir())


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_decode_draws_the_view_of_a_camera(path: Path, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "view.png"
    run("decode", path, output, "--camera", folder / "transforms_test.json", "--view", 1)
    rgba = _pixels(folder / "test" / "r_1.png").astype(np.float64) / 255
    wanted = np.rint(255 * (rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:])).astype(np.uint8)
    assert psnr(wanted, _pixels(output)) > 20
    by_torch = tmp_path / "torch.png"
    run("decode", path, by_torch, "--camera", folder / "transforms_test.json", "--view", 1, "--device", "cpu")
    assert np.abs(_pixels(output).astype(int) - _pixels(by_torch)).max() <= 1


def test_decode_draws_a_turntable_into_a_clip(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    run("decode", path, tmp_path / "views.mp4", "--views", 3, "--size", "10x8")
    clip = read_clip(tmp_path / "views.mp4")
    assert (clip.frames.shape, clip.rate) == ((3, 8, 10, 3), radiance.TURNTABLE_RATE)


def test_decode_draws_a_turntable_into_a_folder(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "views"
    run("decode", path, output, "--views", 3, "--size", "10x8")
    assert sorted(one.name for one in output.iterdir()) == ["view_000.png", "view_001.png", "view_002.png"]
    assert _pixels(output / "view_000.png").shape == (8, 10, 3)
    one = tmp_path / "one.png"
    run("decode", path, one, "--views", 3, "--view", 2, "--size", "10x8")
    np.testing.assert_array_equal(_pixels(one), _pixels(output / "view_002.png"))


def test_decode_samples_values_at_coordinates(path: Path, encoded: SceneEncoding, tmp_path: Path) -> None:
    coords = np.random.default_rng(0).uniform(-0.5, 0.5, (9, 6)).astype(np.float32)
    np.save(tmp_path / "coords.npy", coords)
    run("decode", path, tmp_path / "values.npy", "--coords", tmp_path / "coords.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "values.npy"), encoded.field.sample(coords))


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("out.png", ("--view", 36), "views 0 to 35"),
        ("out.png", ("--size", "4"), "two sides"),
        ("out.png", ("--coords", "c.npy"), "--coords does not go with"),
        ("out", ("--view", 1), "--view does not go with"),
        ("out.npy", ("--view", 1), "--view does not go with"),
    ],
)
def test_what_does_not_fit_a_view_is_refused(
    path: Path, tmp_path: Path, output: str, options: tuple[object, ...], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        run("decode", path, tmp_path / output, *options)
    assert message in str(caught.value)
    assert not (tmp_path / output).exists()


def test_a_view_beyond_those_of_the_file_of_cameras_is_refused(path: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run("decode", path, tmp_path / "out.png", "--camera", folder / "transforms_test.json", "--view", 2)
    assert "views 0 to 1" in str(caught.value)
    assert not (tmp_path / "out.png").exists()


def test_the_file_cuts_densities_off_by_itself(encoded: SceneEncoding) -> None:
    heads = [r for r in encoded.field.header.network.records if isinstance(r, LayerRecord) and r.is_output]
    assert [head.kind for head in heads] == [RecordKind.RELU]


def test_pictures_without_views_are_no_radiance_field(tmp_path: Path) -> None:
    wave = Path(__file__).parents[1] / "spec" / "examples" / "wave.sinr"
    field: Field = sinrfmt.load(wave)
    with pytest.raises(UsageError):
        box_of(field.header)
