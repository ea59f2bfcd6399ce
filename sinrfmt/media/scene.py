"""Pictures of a scene with the cameras that took them: ``transforms*.json`` sets, and rays through pixels.

The layout is that of the synthetic scenes of NeRF (Mildenhall et al., 2020): ``camera_angle_x``, and for each frame
``file_path`` (with or without its suffix) and ``transform_matrix``, camera to world, where the camera looks along its
own -z with y up. A set is a folder with ``transforms_train.json`` and, for the views that are kept back,
``transforms_test.json``; or one ``transforms.json``. Alpha is straight. Nothing here knows of fields.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error
from sinrfmt.media.image import read_image
from sinrfmt.metrics import Samples

Doubles = NDArray[np.float64]

TRAIN_NAMES = ("transforms_train.json", "transforms.json")
TEST_NAME = "transforms_test.json"
SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")
"""What may follow a ``file_path``."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera.

    Attributes:
        pose: float64 (3, 4), camera to world: the axes right, up and backwards, and the eye.
        angle_x: horizontal angle of view in radians.
        size: rows and columns of its picture.
    """

    pose: Doubles
    angle_x: float
    size: tuple[int, int]

    def rays(self) -> tuple[Doubles, Doubles]:
        """Rays through the centres of the pixels, row by row: the eye and unit directions, float64 (pixels, 3) each."""
        rows, columns = self.size
        focal = 0.5 * columns / math.tan(0.5 * self.angle_x)
        y, x = np.mgrid[0:rows, 0:columns] + 0.5
        local = np.stack([(x - columns / 2) / focal, (rows / 2 - y) / focal, -np.ones_like(x)], axis=-1)
        directions = (local @ self.pose[:, :3].T).reshape(-1, 3)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.broadcast_to(self.pose[:, 3], directions.shape), directions

    def pixels(self, points: Doubles) -> tuple[Doubles, Doubles]:
        """Where world points (n, 3) are seen: row and column (n, 2), counted from the edges; and depths (n,).

        Points of depth zero or less are behind the camera.
        """
        rows, columns = self.size
        local = (points - self.pose[:, 3]) @ self.pose[:, :3]
        depth = -local[:, 2]
        focal = 0.5 * columns / math.tan(0.5 * self.angle_x)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.stack([rows / 2 - focal * local[:, 1] / depth, columns / 2 + focal * local[:, 0] / depth], axis=1)
        return seen, depth


@dataclass(frozen=True)
class Views:
    """Pictures of a scene.

    Attributes:
        names: ``file_path`` of each.
        cameras: of each.
        pictures: uint8 or uint16 [rows, columns, channels] each, 1 to 4 channels.
    """

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    pictures: tuple[Samples, ...]

    def __len__(self) -> int:
        return len(self.cameras)


@dataclass(frozen=True)
class Scene:
    """The views of a set that are for training, and those that are kept back for tests, if there are any."""

    train: Views
    test: Views | None


def is_scene(source: Path) -> bool:
    """Whether a path is that of a set: a folder with a file of cameras, or such a file."""
    if source.is_dir():
        return any((source / name).is_file() for name in TRAIN_NAMES)
    return source.suffix == ".json"


def read_scene(source: str | os.PathLike[str]) -> Scene:
    """A set of views.

    Args:
        source: the folder, or a file of cameras; its ``transforms_test.json`` stands beside it.

    Raises:
        UsageError: something is missing or no picture; the first thing found, by name.
    """
    path = Path(source)
    train = _train_file(path)
    test = train.with_name(TEST_NAME)
    return Scene(read_views(train), read_views(test) if test.is_file() and test != train else None)


def _train_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in TRAIN_NAMES:
        if (path / name).is_file():
            return path / name
    raise error("USAGE", f"{path}: found neither {' nor '.join(TRAIN_NAMES)}")


def read_views(path: Path) -> Views:
    """The views of one file of cameras.

    Raises:
        UsageError: as for :func:`read_scene`.
    """
    angle_x, frames = _read_transforms(path)
    pictures = tuple(read_image(_picture_file(path, name)) for name, _ in frames)
    cameras = (Camera(pose, angle_x, picture.shape[:2]) for (_, pose), picture in zip(frames, pictures, strict=True))
    return Views(tuple(name for name, _ in frames), tuple(cameras), pictures)


def read_cameras(path: Path, size: tuple[int, int]) -> tuple[Camera, ...]:
    """The cameras of a file, for pictures of ``size``; the pictures that it names need not be there.

    Raises:
        UsageError: it is no file of cameras.
    """
    angle_x, frames = _read_transforms(path)
    return tuple(Camera(pose, angle_x, size) for _, pose in frames)


def _read_transforms(path: Path) -> tuple[float, list[tuple[str, Doubles]]]:
    """Angle of view, and (file_path, pose) of every frame."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise error("USAGE", f"{path}: {failure.strerror or failure}") from failure
    except ValueError as failure:
        raise error("USAGE", f"{path}: not a JSON file: {failure}") from failure
    if not isinstance(content, dict):
        raise error("USAGE", f"{path}: expected an object with camera_angle_x and frames")
    angle_x, frames = content.get("camera_angle_x"), content.get("frames")
    if not isinstance(angle_x, float | int) or not 0 < angle_x < math.pi:
        raise error("USAGE", f"{path}: camera_angle_x is missing, or not an angle between 0 and pi")
    if not isinstance(frames, list) or not frames:
        raise error("USAGE", f"{path}: frames are missing")
    return float(angle_x), [_frame(path, index, frame) for index, frame in enumerate(frames)]


def _frame(path: Path, index: int, frame: Mapping[str, Any]) -> tuple[str, Doubles]:
    name = frame.get("file_path") if isinstance(frame, dict) else None
    if not isinstance(name, str):
        raise error("USAGE", f"{path}: frame {index} has no file_path")
    try:
        matrix = np.array(frame.get("transform_matrix"), dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all():
        raise error("USAGE", f"{path}: frame {index} ({name}) has no transform_matrix of 4 x 4 numbers")
    return name, matrix[:3]


def _picture_file(path: Path, name: str) -> Path:
    for suffix in SUFFIXES:
        picture = path.parent / f"{name}{suffix}"
        if picture.is_file():
            return picture
    raise error("USAGE", f"{path}: the picture {name} is missing (looked for {', '.join(SUFFIXES[1:])} too)")


def straight_rgba(picture: Samples) -> NDArray[np.float32]:
    """A picture as red, green, blue and straight alpha in [0, 1]: float32 (rows, columns, 4)."""
    values = picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)
    channels = values.shape[2]
    colours = values[..., :3] if channels >= 3 else np.repeat(values[..., :1], 3, axis=2)
    alpha = values[..., -1:] if channels in (2, 4) else np.ones_like(values[..., :1])
    return np.concatenate([colours, alpha], axis=2)


def orbit(centre: tuple[float, float, float], distance: float, elevation: float, azimuth: float) -> Doubles:
    """Pose (3, 4) of a camera that looks at a point, from an elevation above the horizon and an azimuth in radians."""
    backwards = np.array(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )
    right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    up = np.cross(backwards, right)
    return np.stack([right, up, backwards, np.array(centre) + distance * backwards], axis=1)
