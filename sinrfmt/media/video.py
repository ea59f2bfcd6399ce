"""Clips to arrays and back: folders of pictures, and video files through PyAV (extra ``media``).

Pictures of a folder are frames in the natural order of their names (f2 before f10). Frames are RGB of 8 bits a sample
in any case, since a clip has one kind of frame. What is written for people to look at is H.264 or, where this build of
PyAV has no x264, the MPEG-4 encoder that every build has, both nearly without loss.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error
from sinrfmt.media.image import read_image, write_png

if TYPE_CHECKING:
    from types import ModuleType

Frames = NDArray[np.uint8]
"""uint8 [frames, rows, columns, 3]."""

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m", ".gif")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
META_RATE = "frame_rate"
"""Key of META: frames per second as a fraction, such as 24 or 30000/1001."""
DEFAULT_RATE = Fraction(24)
"""Frames per second of a video file that is written for a clip that says nothing of them."""
MAX_FRAMES, MAX_SAMPLES = 65535, 1 << 30
"""Of a clip that is read: frames, as its axis has 16 bits, and samples of all channels, which are that many bytes."""
OUTPUT_CODECS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("libx264", "yuv444p", {"crf": "4", "preset": "medium"}),
    ("mpeg4", "yuv420p", {"qscale": "1"}),
)
"""Encoder, pixel format and options of a video file that is written, the best one first."""
PLAYED_EVERYWHERE = ("libx264", "yuv420p", {"crf": "10", "preset": "medium"})
"""For even sizes: 4:2:0 is what every player shows."""


@dataclass(frozen=True)
class Clip:
    """Frames, and how fast they follow each other.

    Attributes:
        frames: uint8 [frames, rows, columns, 3], at least one.
        rate: frames per second, above 0; None where nothing says so.
    """

    frames: Frames
    rate: Fraction | None = None

    @property
    def meta(self) -> dict[str, str]:
        """What META says of it."""
        return {} if self.rate is None else {META_RATE: str(self.rate)}


def rate_of(meta: Mapping[str, str]) -> Fraction | None:
    """Frames per second that META tells; None where it does not, or not as a fraction above 0."""
    match = re.fullmatch(r"([0-9]{1,9})(?:/([0-9]{1,9}))?", meta.get(META_RATE, ""), re.ASCII)
    numerator, denominator = (int(match[1]), int(match[2] or 1)) if match else (0, 0)
    return Fraction(numerator, denominator) if numerator and denominator else None


def is_folder_of_frames(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder that has pictures in it and nothing else but hidden files."""
    try:
        paths = [one for one in Path(path).iterdir() if not one.name.startswith(".")]
    except OSError:
        return False
    return bool(paths) and all(one.suffix.lower() in PICTURE_SUFFIXES for one in paths)


def read_clip(path: str | os.PathLike[str]) -> Clip:
    """The frames of a folder of pictures, or of a video file.

    Raises:
        UsageError: nothing that can be read, no frames, frames of different sizes, or more than fit.
    """
    return _read_folder(Path(path)) if Path(path).is_dir() else _read_file(Path(path))


def write_clip(path: Path, frames: Frames, rate: Fraction | None = None) -> None:
    """Write uint8 [frames, rows, columns, channels], 1 or 3 channels, as a video file.

    ``rate`` is in frames per second; 24 where it is None.

    Raises:
        UsageError: PyAV is not installed, or its build cannot write this.
        OSError: the file cannot be written.
    """
    av = _av()
    shown = frames if frames.shape[3] == 3 else np.repeat(frames, 3, axis=3)
    rows, columns = shown.shape[1:3]
    codec, pixel_format, options = _output_codec(av, is_even=rows % 2 == columns % 2 == 0)
    try:
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream(codec, rate=rate or DEFAULT_RATE, options=options)
            stream.width, stream.height, stream.pix_fmt = columns, rows, pixel_format
            for frame in shown:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
    except av.FFmpegError as failure:
        raise error("USAGE", f"{path}: {codec} cannot write {columns}x{rows}: {failure.strerror}") from failure


def write_frames(folder: Path, frames: Iterable[NDArray[Any]]) -> None:
    """Write frames as PNG files of a folder, f00001.png first; the folder is made.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, 1):
        write_png(folder / f"f{number:05}.png", frame)


# --- folders ----------------------------------------------------------------------------------------------------------


def _read_folder(folder: Path) -> Clip:
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES]
    except OSError as failure:
        raise error("USAGE", f"{folder}: {failure.strerror}") from failure
    paths = sorted((path for path in paths if not path.name.startswith(".")), key=lambda path: _natural(path.name))
    if not paths:
        raise error("USAGE", f"{folder}: no pictures in it ({', '.join(PICTURE_SUFFIXES)})")
    return Clip(_stacked(str(folder), ((path.name, _rgb(path)) for path in paths)))


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts numbers in names by their size."""
    pieces = re.split(r"([0-9]+)", name)
    return tuple((i % 2, int(piece) if i % 2 else 0, piece) for i, piece in enumerate(pieces))


def _rgb(path: Path) -> Frames:
    """uint8 [rows, columns, 3] of a picture."""
    samples = read_image(path)
    if samples.dtype != np.uint8:
        raise error("USAGE", f"{path}: frames have 8 bits a sample, found 16")
    channels = samples.shape[2]
    if channels in (2, 4):
        if (samples[..., -1] < 255).any():
            raise error("USAGE", f"{path}: frames are opaque, found transparency")
        samples = samples[..., :-1]
    return np.repeat(samples, 3, axis=2) if samples.shape[2] == 1 else samples.astype(np.uint8)


def _stacked(source: str, pictures: Iterator[tuple[str, Frames]]) -> Frames:
    """All frames in one array; each comes with a name for messages."""
    frames: list[Frames] = []
    n_samples = 0
    for name, picture in pictures:
        if frames and picture.shape != frames[0].shape:
            (height, width), (first_height, first_width) = picture.shape[:2], frames[0].shape[:2]
            found = f"{name} has {width}x{height}, the first one {first_width}x{first_height}"
            raise error("USAGE", f"{source}: all frames have one size: {found}")
        n_samples += picture.size
        if n_samples > MAX_SAMPLES or len(frames) == MAX_FRAMES:
            raise error("USAGE", f"{source}: more than {MAX_FRAMES} frames or {MAX_SAMPLES} samples: cut the clip")
        frames.append(picture)
    return np.stack(frames)


# --- video files ------------------------------------------------------------------------------------------------------


def _av() -> "ModuleType":
    try:
        import av
    except ImportError as failure:
        raise error("USAGE", "PyAV is not installed: pip install 'sinrfmt[media]'") from failure
    return av


def _read_file(path: Path) -> Clip:
    av = _av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise error("USAGE", f"{path}: no video in it")
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.base_rate
            decoded = container.decode(stream)
            pictures = ((f"frame {i}", frame.to_ndarray(format="rgb24")) for i, frame in enumerate(decoded))
            frames = _stacked(str(path), pictures)
    except ValueError as failure:  # of np.stack
        raise error("USAGE", f"{path}: no frames in it") from failure
    except (av.FFmpegError, OSError) as failure:
        raise error("USAGE", f"{path}: {failure.strerror or 'not a video that PyAV can read'}") from failure
    return Clip(frames, Fraction(rate) if rate else None)


def _output_codec(av: "ModuleType", *, is_even: bool) -> tuple[str, str, dict[str, str]]:
    found = (PLAYED_EVERYWHERE,) * is_even + OUTPUT_CODECS
    return next(way for way in found if way[0] in av.codecs_available)
