"""Clips as latents: grids of groups of frames and pictures that share networks, through the API and the verbs."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

import sinrfmt
from sinrfmt.cli import video as cli_video
from sinrfmt.cli.commands import app
from sinrfmt.cli.options import PicturePreset
from sinrfmt.cli.requests import EncodeRequest
from sinrfmt.grids import Frame
from sinrfmt.media.video import Clip, read_clip, write_clip, write_frames
from sinrfmt.metrics import psnr
from sinrfmt.parts import Parts
from sinrfmt.pictures import FieldKind
from sinrfmt.region import FIRST_BYTES, FileSource, read_region
from sinrfmt.registry import Coords, Modality
from sinrfmt.torch import VideoPreset, encode_video, preset_of, video
from sinrfmt.torch.clip_grid import ClipFitOptions, ClipGrid, clip_network, fit_clip
from sinrfmt.torch.files import Encoding
from tests.test_media_video import RATE, moving_square
from tests.test_remote import Site, site
from tests.test_torch_tiles import Wire

__all__ = ["site"]  # a fixture

TINY = VideoPreset("fast", 20, least_steps=40, width=8, network_steps=40, frame_steps=20)
BBB = Path(__file__).parents[2] / "shared" / "data" / "video" / "bbb_320x180"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=[1, 3, None], ids=["pictures", "grids", "whole"])
def encoding(request: pytest.FixtureRequest) -> Encoding:
    return encode_video(Clip(moving_square(7), Fraction(25)), group=request.param, preset=TINY)


def test_a_file_is_a_clip_with_what_is_said_of_it(encoding: Encoding) -> None:
    header = encoding.field.header
    assert header.modality is Modality.VIDEO
    assert encoding.field.shape == (7, 24, 32, 3)
    assert encoding.field.meta == {"frame_rate": "25"}
    assert encoding.psnr > 20.0


def test_numpy_decodes_what_was_trained(encoding: Encoding) -> None:
    assert abs(encoding.psnr - encoding.float_psnr) < 0.3


def test_frames_alone_are_those_of_the_whole(encoding: Encoding) -> None:
    parts = encoding.field.header.parts
    if parts is None:
        assert np.array_equal(encoding.field.region([(2, 5), (0, 24), (0, 32)]), encoding.field.grid()[2:5])
        return
    for first, end in ((0, 1), (2, 5), (6, 7)):
        source = FileSource(io.BytesIO(encoding.field.data))
        found = read_region(source, lambda header, a=first, b=end: [(a, b), (0, 24), (0, 32)])  # type: ignore[misc]
        assert np.array_equal(found.values, encoding.field.grid()[first:end])
        assert all(parts.lattice(part)[0][0] < end and parts.lattice(part)[0][1] > first for part in found.parts)
        assert found.meta == {"frame_rate": "25"}


@pytest.fixture(scope="module")
def network() -> Encoding:
    """A network alone for a clip."""
    preset = replace(preset_of("fast"), n_seeds=1, n_steps=200, n_trials=6, n_refits=0)
    return encode_video(Clip(moving_square(5), Fraction(25)), preset=preset, max_bytes=500)


def test_a_network_alone_holds_a_clip(network: Encoding) -> None:
    field = network.field
    assert field.header.network.latents is None
    assert (field.header.modality, field.shape) == (Modality.VIDEO, (5, 24, 32, 3))
    assert field.meta == {"frame_rate": "25"}
    assert len(field.data) <= 500
    assert network.psnr == pytest.approx(psnr(moving_square(5), field.to_uint8()))
    assert network.psnr > 18.0
    assert sum(array.size for array in network.float_arrays.values()) == field.header.n_parameters


def test_a_network_for_a_clip_has_no_groups() -> None:
    with pytest.raises(sinrfmt.UsageError, match="a network, which holds the whole clip"):
        encode_video(Clip(moving_square(5)), preset=preset_of("fast"), group=2)


def test_the_verb_makes_networks_of_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(preset_of("fast"), n_seeds=1, n_steps=20, n_trials=4, n_refits=0)
    monkeypatch.setattr(sinrfmt.torch, "preset_of", {"fast": tiny}.__getitem__)
    write_frames(tmp_path / "frames", moving_square(4))
    options = ("--field", "mlp", "--preset", "fast", "--bytes", 400, "--keep-network", tmp_path / "n.npz", "--json")
    made = last_json(run("encode", tmp_path / "frames", "-o", tmp_path / "c.sinr", *options))
    assert (made["field"], made["n_groups"], made["levels"]) == ("mlp", 1, [])
    assert made["file_bytes"] == (tmp_path / "c.sinr").stat().st_size <= 400
    with np.load(tmp_path / "n.npz") as arrays:
        assert sum(arrays[name].size for name in arrays) == made["parameters"]
    assert last_json(run("decode", tmp_path / "c.sinr", tmp_path / "out", "--frames", "1:3", "--json"))["n_frames"] == 2


@pytest.mark.parametrize(
    ("request_", "field", "reason"),
    [
        (EncodeRequest(Path(), n_bytes=9_999), FieldKind.MLP, "9999 bytes; a grid from 10000 bytes on"),
        (EncodeRequest(Path(), n_bytes=10_000), FieldKind.GRID, "10000 bytes; a grid from 10000 bytes on"),
        (EncodeRequest(Path()), FieldKind.GRID, "a grid where no size is asked for"),
        (EncodeRequest(Path(), n_bytes=500, group=2), FieldKind.GRID, "options that grids alone have"),
        (EncodeRequest(Path(), n_bytes=500, preset=PicturePreset.SHACIRA), FieldKind.GRID, "options that grids"),
        (EncodeRequest(Path(), n_bytes=500, field=FieldKind.GRID), FieldKind.GRID, None),
    ],
)
def test_auto_says_what_it_takes_and_why(request_: EncodeRequest, field: FieldKind, reason: str | None) -> None:
    needs_grid = not cli_video._suits_network(request_)
    found, said = request_.field_by_size(cli_video.GRID_BYTES, needs_grid=needs_grid)
    assert found is field
    assert (said is None) is (reason is None)
    assert (said or "").startswith(reason or "")


def test_pictures_share_their_networks_and_grids_do_not() -> None:
    assert video.parts_of((7, 24, 32), 1, TINY) == Parts((7, 24, 32), (7, 1, 1), (0, 0, 0), shared=True)
    assert video.parts_of((7, 24, 32), 3, TINY) == Parts((7, 24, 32), (3, 1, 1), (0, 0, 0), shared=False)
    assert video.parts_of((7, 24, 32), None, TINY).count == 1
    assert video.parts_of((100, 24, 32), None, TINY).count == 3  # memory does not grow with the clip
    assert video.parts_of((7, 24, 32), 3, video.VIDEO_PRESETS["pyramid"]).shared


@pytest.mark.parametrize("group", [1, 3])
def test_workers_make_the_same_file(group: int) -> None:
    clip, wire = Clip(moving_square(6)), Wire()
    alone = encode_video(clip, group=group, preset=TINY)
    assert encode_video(clip, group=group, preset=TINY, executor=wire).field == alone.field
    assert wire.n_jobs == 6 // group


def test_a_clip_of_one_frame_is_a_picture_in_a_clip() -> None:
    encoding = encode_video(Clip(moving_square(1)), preset=TINY)
    assert encoding.field.shape == (1, 24, 32, 3)
    assert encoding.psnr > 20.0


def test_what_stands_still_is_coded_once() -> None:
    still = np.repeat(moving_square(1), 6, axis=0)
    one, six = (
        encode_video(Clip(clip), preset=VideoPreset("t", 40, fewest_of_grid=1, width=8)) for clip in (still[:1], still)
    )
    assert six.psnr > one.psnr
    assert len(six.field.data) < 3 * len(one.field.data)


@pytest.fixture(scope="module")
def noise() -> sinrfmt.Field:
    """A file of 16 pictures of noise, which are long."""
    samples = np.random.default_rng(0).integers(0, 256, (16, 24, 32, 3), dtype=np.uint8)
    preset = VideoPreset("t", 0, rate_weight=1e-5, network_steps=40, frame_steps=40)
    return encode_video(Clip(samples), group=1, preset=preset).field


def test_one_frame_takes_little_more_than_its_share_of_the_bytes(noise: sinrfmt.Field) -> None:
    source = FileSource(io.BytesIO(noise.data))
    found = read_region(source, lambda _: [(9, 10), (0, 24), (0, 32)])
    assert found.parts == (9,)
    assert source.n_fetched < FIRST_BYTES + len(noise.data) / 8 < len(noise.data)


def test_frames_of_a_url_fetch_their_parts_alone(noise: sinrfmt.Field, site: Site, tmp_path: Path) -> None:
    site.data = noise.data
    url = site.url  # type: ignore[attr-defined]
    summary = last_json(run("decode", url, tmp_path / "some.npy", "--frames", "9:10", "--json"))
    assert summary["parts"] == [9]
    assert summary["fetched_bytes"] < FIRST_BYTES + len(noise.data) / 8 < len(noise.data)
    assert np.array_equal(np.load(tmp_path / "some.npy"), noise.grid()[9:10])


def test_frames_lie_on_planes_of_their_own() -> None:
    for coords, n_planes in ((Coords.CORNERS, 5), (Coords.CENTRES, 11)):
        network = clip_network((5, 12, 16), coords, 8)
        assert network.input_encoding is not None
        module = ClipGrid(network, Frame(grid=(5, 12, 16), coords=coords), mean=np.zeros(3, np.float32))
        moving = [n for n, (planes, *_) in enumerate(module.encoding.resolutions) if planes > 1]
        assert {module.encoding.resolutions[level][0] for level in moving} == {n_planes}
        seen = [module.planes_of(moving[0], torch.tensor([frame])).tolist() for frame in range(5)]
        assert [len(planes) for planes in seen] == [1] * 5
        assert len({planes[0] for planes in seen}) == 5


def test_the_same_seed_gives_the_same_clip() -> None:
    values = torch.from_numpy(moving_square(3).reshape(3, -1, 3).transpose(2, 0, 1) / 255).float()
    network = clip_network((3, 24, 32), Coords.CORNERS, 8)
    frame = Frame(grid=(3, 24, 32), coords=Coords.CORNERS)
    fits = [
        fit_clip(ClipGrid(network, frame, mean=np.zeros(3, np.float32)), values, ClipFitOptions(20, 1e-3), seed=seed)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(fits[0].latents, fits[1].latents)
    assert not torch.equal(fits[0].latents, fits[2].latents)


@pytest.mark.parametrize("group", [0, -1])
def test_a_group_has_a_frame(group: int) -> None:
    with pytest.raises(sinrfmt.UsageError, match="at least 1"):
        encode_video(Clip(moving_square()), group=group, preset=TINY)


def test_what_is_no_clip_is_refused() -> None:
    for frames in (
        moving_square()[..., :1],
        moving_square().astype(np.uint16),
        moving_square()[:0],
        moving_square()[0],
    ):
        with pytest.raises(sinrfmt.UsageError, match="a clip is uint8"):
            encode_video(Clip(frames), preset=TINY)
    with pytest.raises(sinrfmt.UsageError, match="preset 'slow' of clips"):
        encode_video(Clip(moving_square()), preset="slow")


# --- the verbs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def tiny_presets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(video.VIDEO_PRESETS, "fast", TINY)
        yield


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def last_json(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    parsed: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return parsed


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of frames as a file with a part for each frame."""
    folder = tmp_path_factory.mktemp("verbs")
    write_frames(folder / "frames", moving_square())
    made = run("encode", folder / "frames", "-o", folder / "clip.sinr", "--preset", "fast", "--group", 1, "--json")
    summary = last_json(made)
    assert (summary["modality"], summary["n_frames"], summary["n_groups"]) == ("VIDEO", 4, 4)
    assert summary["psnr"] > 20.0
    return folder / "clip.sinr"


def test_a_clip_is_decoded_to_a_folder_an_array_and_a_video(written: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    expected = sinrfmt.load(written).to_uint8()
    assert last_json(run("decode", written, tmp_path / "out", "--json"))["n_frames"] == 4
    assert np.array_equal(read_clip(tmp_path / "out").frames, expected)
    assert run("decode", written, tmp_path / "out.npy").exit_code == 0
    assert np.array_equal(np.load(tmp_path / "out.npy"), sinrfmt.load(written).grid())
    assert run("decode", written, tmp_path / "out.mp4", "--scale", 2).exit_code == 0
    assert read_clip(tmp_path / "out.mp4").frames.shape == (4, 48, 64, 3)


def test_some_frames_take_their_parts_alone(written: Path, tmp_path: Path) -> None:
    summary = last_json(run("decode", written, tmp_path / "two", "--frames", "1:3", "--json"))
    assert (summary["parts"], summary["n_frames"]) == ([1, 2], 2)
    assert summary["fetched_bytes"] <= written.stat().st_size
    assert np.array_equal(read_clip(tmp_path / "two").frames, sinrfmt.load(written).to_uint8()[1:3])


def test_a_video_file_keeps_its_rate_through_the_verbs(tmp_path: Path) -> None:
    pytest.importorskip("av")
    write_clip(tmp_path / "in.mp4", moving_square(), RATE)
    options = ("--preset", "fast", "--group", 2, "--json")
    assert last_json(run("encode", tmp_path / "in.mp4", "-o", tmp_path / "c.sinr", *options))["frame_rate"] == str(RATE)
    summary = last_json(run("decode", tmp_path / "c.sinr", tmp_path / "out.mp4", "--frames", "2:4", "--json"))
    assert Fraction(summary["frame_rate"]) == RATE
    assert read_clip(tmp_path / "out.mp4").rate == RATE


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--field", "mlp", "--group", 2), "a network holds the whole clip"),
        (("--field", "mlp", "--rate-weight", 0.1), "--rate-weight goes with --field grid"),
        (("--field", "mlp", "--preset", "pyramid"), "is for pictures"),
        (("--keep-network", "n.npz"), "--keep-network goes with --field mlp"),
        (("--workers", 2), "--workers goes with --group"),
        (("--tiles", 16), "--tiles does not go with"),
        (("--preset", "shacira", "--group", 2), "groups of frames do not go with a hashed grid"),
    ],
)
def test_options_that_do_not_suit_a_clip_are_refused(
    written: Path, tmp_path: Path, options: tuple[object, ...], said: str
) -> None:
    made = run("encode", written.parent / "frames", "-o", tmp_path / "c.sinr", *options)
    assert isinstance(made.exception, sinrfmt.UsageError)
    assert said in str(made.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not BBB.is_dir(), reason="needs shared/data/video/bbb_320x180 beside the repository")
def test_a_real_clip_goes_through_the_verbs(tmp_path: Path) -> None:
    frames = read_clip(BBB).frames[::8, 40:100, 20:120]
    write_frames(tmp_path / "frames", frames)
    made = last_json(run("encode", tmp_path / "frames", "-o", tmp_path / "c.sinr", "--preset", "fast", "--json"))
    assert made["psnr"] > 20.0
    assert run("decode", tmp_path / "c.sinr", tmp_path / "out").exit_code == 0
    assert read_clip(tmp_path / "out").frames.shape == frames.shape
