"""Clause 13.1 from the encoder's side: a picture as tiles that share their networks."""

import pickle
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sinrfmt
import sinrfmt.torch
from sinrfmt.batch import CallerWorker
from sinrfmt.cli.commands import app
from sinrfmt.metrics import Samples
from sinrfmt.network import LEVEL_ORDINAL, PyramidEncoding
from sinrfmt.parts import Parts
from sinrfmt.pictures import FieldKind, Ladder, PictureOptions
from sinrfmt.region import FileSource, read_region
from sinrfmt.registry import ContextId
from sinrfmt.torch import TileWork, encode_tiles, grid_files
from sinrfmt.torch.files import Encoding
from sinrfmt.torch.grid_files import PyramidPreset, pyramid_network
from sinrfmt.torch.latent_fit import LatentFitOptions, fit_latents, learn_start, start_latents
from sinrfmt.torch.pyramid import PyramidModule
from sinrfmt.torch.tiles import parts_of
from tests.strategies import assert_error

TINY = PyramidPreset("pyramid", 60, 1e-3, 6, 1, 8, 1, 60)
PARTS = Parts((48, 64), (2, 3), (4, 4), shared=True)

pytestmark = pytest.mark.usefixtures("one_thread")


class Wire(CallerWorker):
    """Gets its jobs as workers do, in bytes."""

    n_jobs = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.n_jobs += 1
        return super().submit(pickle.loads(pickle.dumps(partial(fn, *args, **kwargs))))


def picture() -> Samples:
    y, x, c = np.indices((48, 64, 3))
    return np.rint((0.5 + 0.3 * np.sin(0.2 * x + c) + 0.2 * np.cos(0.15 * y)) * 255).astype(np.uint8)


def tiled(folder: Path | None = None, executor: CallerWorker | None = None, **options: Any) -> Encoding:
    work = None if folder is None else TileWork(folder, executor or CallerWorker())
    return encode_tiles(picture(), tile=24, preset=TINY, work=work, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def encoding(folder: Path) -> Encoding:
    return tiled(folder, Wire())


def test_one_file_has_all_tiles_and_their_networks_once(encoding: Encoding) -> None:
    field = encoding.field
    assert field.header.parts == PARTS
    assert encoding.psnr > 28.0
    assert abs(encoding.psnr - encoding.float_psnr) < 1.5
    names = [state.tensor.name for state in field.states]
    assert names.count("context.linear") == names.count("layers.0.weight") == 1
    assert names.count("pyramid.levels.0") == 6
    assert set(encoding.float_arrays) == {s.tensor.name for s in field.states if s.tensor.ordinal < LEVEL_ORDINAL}


def test_a_region_reads_its_tiles_alone(encoding: Encoding, tmp_path: Path) -> None:
    path = tmp_path / "tiles.sinr"
    sinrfmt.save(encoding.field, path)
    with path.open("rb") as file:
        source = FileSource(file)
        found = read_region(source, lambda _: [(30, 40), (44, 60)])
    assert found.parts == (4, 5)
    assert np.array_equal(found.values, encoding.field.grid()[30:40, 44:60])


def test_tiles_fill_a_size(encoding: Encoding) -> None:
    budget = round(0.9 * len(encoding.field.data))
    found = tiled(max_bytes=budget)
    assert 0.95 * budget < len(found.field.data) <= budget
    assert found.field.header.parts == PARTS
    assert found.psnr < encoding.psnr


def test_tiles_reach_a_quality(encoding: Encoding) -> None:
    found = tiled(min_psnr=encoding.psnr + 0.5)
    assert 0.0 <= found.psnr - encoding.psnr - 0.5 < 0.6
    assert len(found.field.data) > len(encoding.field.data)


def test_tiles_have_one_target() -> None:
    with pytest.raises(sinrfmt.UsageError, match="exclude each other"):
        tiled(max_bytes=900, min_psnr=30.0)


def test_a_size_that_no_lambda_gives_is_refused() -> None:
    with pytest.raises(sinrfmt.UsageError, match="the target was not reached"):
        encode_tiles(picture(), tile=32, preset=replace(TINY, n_steps=5, tile_steps=2), max_bytes=60)


def test_tiles_share_a_context_network_of_their_own_width() -> None:
    preset = replace(TINY, n_steps=5, tile_steps=2, tile_context_width=12)
    encoding = encode_tiles(picture(), tile=32, preset=preset).field.header.network.input_encoding
    assert isinstance(encoding, PyramidEncoding)
    assert (TINY.context_width, encoding.context_width) == (8, 12)


def test_finished_work_is_not_done_again(encoding: Encoding, folder: Path) -> None:
    stages = []
    wire = Wire()
    (folder / "00003.sinr").unlink()
    again = tiled(folder, wire, on_progress=lambda stage, *_: stages.append(stage))
    assert again.field.data == encoding.field.data
    assert wire.n_jobs == 1
    assert set(stages) == {"tiles"}
    assert again.float_psnr == pytest.approx(encoding.float_psnr)


def test_what_failed_is_said(encoding: Encoding, folder: Path) -> None:
    path = folder / "00002.sinr"
    data = path.read_bytes()
    path.write_bytes(b"of somebody else")
    with pytest.raises(sinrfmt.UsageError, match="1 of 6 jobs failed, the first of them tile 2"):
        tiled(folder)
    path.write_bytes(data)
    assert tiled(folder).field == encoding.field


def test_parts_are_as_equal_as_can_be() -> None:
    parts = parts_of((2856, 2799), 136, 4)
    assert parts == Parts((2856, 2799), (21, 21), (4, 4), shared=True)
    assert parts_of((100, 20), 24, 4).overlap == (4, 0)
    assert max(max(shape) for shape, _ in parts.shapes()) == 144


@pytest.mark.parametrize(("grid", "tile", "overlap"), [((24, 24), 24, 4), ((48, 64), 7, 0), ((48, 64), 24, 13)])
def test_what_is_no_tiling_is_refused(grid: tuple[int, int], tile: int, overlap: int) -> None:
    assert_error("USAGE", None, parts_of, grid, tile, overlap)


def test_tiles_are_pyramids() -> None:
    with pytest.raises(sinrfmt.UsageError, match="tiles are pyramids"):
        encode_tiles(picture(), tile=24, preset="shacira")


@pytest.mark.parametrize(
    "options",
    [
        {"tiles": 24},
        {"tiles": 24, "preset": "shacira"},
        {"tiles": 24, "field": FieldKind.GRID, "max_bytes": 900, "rate_weight": 1e-3},
        {"tiles": 24, "field": FieldKind.GRID, "passes": 2, "ladder": Ladder.LEVELS},
        {"overlap": 4, "field": FieldKind.GRID},
        {"rate_weight": 1e-3},
        {"rate_weight": 1e-3, "min_psnr": 30.0, "field": FieldKind.GRID},
    ],
)
def test_options_that_do_not_go_with_tiles_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(sinrfmt.UsageError):
        PictureOptions(**options)


# --- fits of one tile -------------------------------------------------------------------------------------------------


def _case(context: ContextId) -> tuple[PyramidModule, PyramidEncoding, torch.Tensor]:
    values = torch.from_numpy(grid_files.unit_values(picture()[:21, :30]))
    mean = values.mean(dim=1).numpy()
    module = PyramidModule(pyramid_network((21, 30), 3, TINY, context), seed=2, mean=mean)
    return module, module.encoding, values


def test_a_linear_law_of_the_latents_is_found() -> None:
    _, encoding, values = _case(ContextId.INTERLACED)
    noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(0))
    law = [torch.linspace(-1.0, 1.0, n) for n in (28, *[55] * (encoding.n_levels - 1))]
    sizes = [int(np.prod(encoding.level_shape(level))) for level in range(encoding.n_levels)]
    latents = start_latents(encoding, noise, law)
    found = learn_start(encoding, noise, torch.split(latents, sizes))
    error = (start_latents(encoding, noise, found) - latents).square().mean()
    assert float(error) < 1e-3 * float(latents.var())


@pytest.mark.parametrize("context", [ContextId.INTERLACED, ContextId.FACTORISED])
def test_fitted_latents_cost_less_than_none(context: ContextId) -> None:
    module, _, values = _case(context)
    arrays = {name: array.detach() for name, array in module.arrays().items()}
    price = 1e-4
    none = fit_latents(module, values, arrays, LatentFitOptions(0, price), seed=0)
    fitted = fit_latents(module, values, arrays, LatentFitOptions(200, price), seed=0)

    def cost(mse: float, bits: float) -> float:
        return mse + price * bits / values.shape[1]

    assert cost(fitted.mse, fitted.latent_bits) < 0.5 * cost(none.mse, none.latent_bits)
    assert torch.equal(fitted.latents, fitted.latents.round())


# --- the command ------------------------------------------------------------------------------------------------------


def test_encode_tiles_and_decode_a_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_files, "grid_presets", lambda: {"pyramid": TINY})
    source, output, cut = tmp_path / "in.png", tmp_path / "out.sinr", tmp_path / "cut.png"
    Image.fromarray(picture()).save(source)
    options = ["--field", "grid", "--tiles", "24", "--overlap", "2", "--rate-weight", "0.002", "--workers", "1"]
    made = CliRunner().invoke(app, ["encode", str(source), "-o", str(output), *options])
    assert made.exit_code == 0, made.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.sinr"]  # the tiles are gone
    parts = sinrfmt.read_header(output).parts
    assert parts is not None and (parts.split, parts.overlap) == ((2, 3), (2, 2))
    decoded = CliRunner().invoke(app, ["decode", str(output), str(cut), "--region", "40,20,16,12"])
    assert decoded.exit_code == 0, decoded.output
    with Image.open(cut) as image:
        assert np.array_equal(np.asarray(image), sinrfmt.load(output).to_uint8()[20:32, 40:56])


def test_workers_and_networks_to_keep_are_checked(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    Image.fromarray(picture()).save(source)
    for extra in (["--workers", "2"], ["--field", "grid", "--tiles", "24", "--keep-network", str(tmp_path / "n.npz")]):
        made = CliRunner().invoke(app, ["encode", str(source), "-o", str(tmp_path / "out.sinr"), *extra])
        assert isinstance(made.exception, sinrfmt.UsageError)
