"""Previews of encoded pictures: as large as asked for, within the bytes of the file, of the quality announced."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_decoder
import sinrfmt
from sinrfmt.media.image import read_image
from sinrfmt.metrics import Samples, psnr
from sinrfmt.pictures import FieldKind, Ladder, PictureOptions
from sinrfmt.torch import files, grid_files, pictures
from sinrfmt.torch.presets import preset_of

PHOTO = Path(__file__).parents[1] / "examples" / "kodim23_192x128.png"
QUICK = replace(preset_of("fast"), n_seeds=1, n_steps=30, n_trials=6, n_refits=0, n_refit_trials=0)
pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def picture() -> Samples:
    return read_image(PHOTO)[::8, ::8].copy()  # 16 x 24


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*arguments: Any, **options: Any) -> sinrfmt.torch.Encoding:
        return files.encode(*arguments, **options | {"preset": QUICK})

    def encode_grid(*arguments: Any, **options: Any) -> sinrfmt.torch.Encoding:
        return grid_files.encode_grid(*arguments, **options | {"preset": replace(options["preset"], n_steps=20)})

    monkeypatch.setattr(pictures, "encode", encode)
    monkeypatch.setattr(pictures, "encode_grid", encode_grid)


def test_previews_of_sizes_share_the_bytes_of_the_file() -> None:
    stages: list[tuple[str, int, int]] = []
    options = PictureOptions(previews=(240, 330), max_bytes=1000, device="cpu")
    encoding = sinrfmt.torch.encode_picture(
        picture(), options, on_progress=lambda stage, done, total, _: stages.append((stage, done, total))
    )
    field = encoding.field
    assert len(field.data) <= 1000
    for file, size in zip(field.previews.files, (240, 330), strict=True):
        assert len(file.payload) <= size and len(file.data) == len(file.payload) + 20
    assert [stage for stage in stages if stage[0] == "previews"] == [("previews", 1, 2), ("previews", 2, 2)]
    for preview in field.previews:
        assert preview.header.quality == pytest.approx([psnr(picture(), preview.to_uint8())], abs=0.0051)
    assert field.header.quality == pytest.approx([encoding.psnr], abs=0.0051)
    assert encoding.psnr == psnr(picture(), field.to_uint8())
    assert reference_decoder.decode(field.data).weights_sha256 == field.weights_sha256


def test_steps_of_given_sizes_end_within_them() -> None:
    sizes = (330, 680, 1200)
    encoding = sinrfmt.torch.encode_picture(
        picture(), PictureOptions(passes=sizes, ladder=Ladder.PREVIEWS, device="cpu")
    )
    data = encoding.field.data
    ends = [event.end for event in sinrfmt.stream.events([data]) if hasattr(event, "end")]
    assert len(ends) == 3 and all(end <= size for end, size in zip(ends, sizes, strict=True))
    assert len(data) <= 1200 and encoding.field.header.n_passes == 1


def test_previews_go_with_latents_and_passes() -> None:
    options = PictureOptions(
        previews=(240,), passes=2, field=FieldKind.GRID, preset="pyramid", rate_weight=1e-3, device="cpu"
    )
    field = sinrfmt.torch.encode_picture(picture(), options).field
    assert field.header.n_passes == 2 and len(field.previews) == 1
    assert field.header.quality is not None and len(field.header.quality) == 2
    assert field.previews[0].header.network.input_encoding is None


def test_a_preview_of_a_large_picture_has_its_grid_and_announces_what_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "PREVIEW_POSITIONS", {False: 100, True: 100})
    plain = PictureOptions(device="cpu")
    data, quality = pictures.encode_preview(picture(), plain.of_preview(300, picture().shape[:2]))
    field = sinrfmt.loads(data)
    assert field.header.grid == (16, 24) and len(data) <= 320
    assert quality == psnr(picture(), field.to_uint8())
    data, quality = pictures.encode_preview(picture(), replace(plain, field=FieldKind.GRID))
    field = sinrfmt.loads(data)
    assert field.header.grid == (8, 12)
    assert quality == psnr(picture(), field.to_uint8((16, 24)))


@pytest.mark.parametrize("shape", [(16, 24, 3), (17, 5), (1, 90, 1)])
def test_a_reduced_picture_keeps_its_mean(shape: tuple[int, ...]) -> None:
    whole = np.random.default_rng(1).integers(0, 65536, shape).astype(np.uint16)
    reduced = pictures.reduced(whole, 20)
    assert reduced.dtype == np.uint16 and reduced.ndim == len(shape)
    assert reduced.shape[0] * reduced.shape[1] <= shape[0] * shape[1] / 2
    assert abs(reduced.mean() - whole.mean()) < 1.0
    assert pictures.reduced(whole, 1000) is whole


def test_sizes_that_cannot_be_reached_are_wrong_use() -> None:
    with pytest.raises(sinrfmt.UsageError):
        sinrfmt.torch.encode_picture(picture(), PictureOptions(previews=(40,), max_bytes=700, device="cpu"))
