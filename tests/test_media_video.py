"""Clips from folders and video files, and back."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sinrfmt
from sinrfmt.media import video
from sinrfmt.media.video import Clip, Frames, is_folder_of_frames, rate_of, read_clip, write_clip, write_frames

RATE = Fraction(30000, 1001)


def moving_square(n_frames: int = 4, rows: int = 24, columns: int = 32) -> Frames:
    """A red square that goes to the right over a still ramp."""
    frame, y, x = np.ogrid[:n_frames, :rows, :columns]
    square = (np.abs(y - 10) < 5) & (np.abs(x - 6 - 5 * frame) < 4)
    y, x = np.indices((rows, columns))
    return np.where(square[..., None], [230, 60, 40], np.stack([7 * x, 9 * y, x + y], axis=-1)).astype(np.uint8)


def test_frames_come_in_the_natural_order_of_their_names(tmp_path: Path) -> None:
    clip = moving_square(12)
    for number, frame in enumerate(clip):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    (tmp_path / ".hidden.png").write_bytes(b"of a file manager")
    assert np.array_equal(read_clip(tmp_path).frames, clip)


def test_a_folder_that_was_written_is_read_back(tmp_path: Path) -> None:
    write_frames(tmp_path / "new", moving_square())
    found = read_clip(tmp_path / "new")
    assert np.array_equal(found.frames, moving_square())
    assert found.rate is None and found.meta == {}


def test_grey_and_opaque_frames_become_colours(tmp_path: Path) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(grey).save(tmp_path / "1.png")
    Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)])).save(tmp_path / "2.png")
    assert np.array_equal(read_clip(tmp_path).frames, np.broadcast_to(grey[None, :, :, None], (2, 6, 8, 3)))


def test_what_is_no_frame_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "1.png")
    for name, picture, said in (
        ("2.png", np.zeros((4, 8, 3), np.uint8), "2.png has 8x4, the first one 6x4"),
        ("3.png", np.zeros((4, 6, 4), np.uint8), "frames are opaque"),
        ("4.png", np.zeros((4, 6), np.uint16), "8 bits a sample"),
    ):
        Image.fromarray(picture).save(tmp_path / name)
        with pytest.raises(sinrfmt.UsageError, match=said):
            read_clip(tmp_path)
        (tmp_path / name).unlink()


def test_a_folder_without_pictures_and_what_is_no_video_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 8)
    for name in ("empty", "noise.mp4", "absent.mp4"):
        with pytest.raises(sinrfmt.UsageError, match=name):
            read_clip(tmp_path / name)


def test_only_folders_of_pictures_alone_are_frames(tmp_path: Path) -> None:
    assert not is_folder_of_frames(tmp_path)
    write_frames(tmp_path, moving_square(2))
    assert is_folder_of_frames(tmp_path)
    (tmp_path / "transforms.json").write_text("{}")
    assert not is_folder_of_frames(tmp_path)
    assert not is_folder_of_frames(tmp_path / "transforms.json")


@pytest.mark.parametrize(("n_frames", "rows", "columns"), [(4, 24, 32), (1, 24, 32), (3, 23, 31)])
def test_a_video_file_keeps_size_frames_rate_and_nearly_the_samples(
    tmp_path: Path, n_frames: int, rows: int, columns: int
) -> None:
    pytest.importorskip("av")
    clip = moving_square(n_frames, rows, columns)
    write_clip(tmp_path / "clip.mp4", clip, RATE)
    found = read_clip(tmp_path / "clip.mp4")
    assert found.frames.shape == clip.shape
    assert found.rate == RATE and rate_of(found.meta) == RATE
    assert np.sqrt(np.mean((found.frames.astype(float) - clip) ** 2)) < 15  # even sizes have a quarter of the colours


def test_grey_values_are_written_as_video(tmp_path: Path) -> None:
    pytest.importorskip("av")
    write_clip(tmp_path / "clip.mp4", moving_square()[..., :1])
    found = read_clip(tmp_path / "clip.mp4")
    assert found.frames.shape == (4, 24, 32, 3) and found.rate == video.DEFAULT_RATE


def test_a_rate_is_a_fraction_above_zero() -> None:
    assert Clip(moving_square(), RATE).meta == {"frame_rate": "30000/1001"}
    assert rate_of({"frame_rate": "25"}) == 25
    for text in ("", "0", "25/0", "-25", "1e3", "24.5", "٢٥"):
        assert rate_of({"frame_rate": text}) is None
    assert rate_of({}) is None
