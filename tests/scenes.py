"""A scene for tests: a ball, red above and blue below, seen from around, as a set of views on disk."""

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sinrfmt.media.image import write_png
from sinrfmt.media.scene import Camera, orbit
from sinrfmt.render import Scenery, render, scenery

Floats = NDArray[np.float32]

RADIUS, DENSITY = 0.5, 40.0
BOX = np.array([(-0.7, 0.7), (-0.6, 0.6), (-0.65, 0.65)])
ANGLE_X, SIZE = 0.6, (16, 20)


def ball(coords: Floats) -> Floats:
    """The field of the ball."""
    x, _, z = coords[:, :3].T
    inside = np.linalg.norm(coords[:, :3], axis=1) < RADIUS
    colour = np.where(z[:, None] > 0, (0.9, 0.2, 0.1), (0.1, 0.3, 0.8)) + 0.1 * x[:, None]
    return np.concatenate([colour, inside[:, None] * DENSITY], axis=1).astype(np.float32)


def ball_scenery(n_samples: int = 64) -> Scenery:
    return scenery(ball, BOX, n_samples)


def cameras(n: int, *, first: float = 0.0) -> list[Camera]:
    """Cameras around the ball, above and below the horizon in turn."""
    poses = [orbit((0, 0, 0), 3.0, 0.5 - 0.7 * (i % 2), first + 2 * math.pi * i / n) for i in range(n)]
    return [Camera(pose, ANGLE_X, SIZE) for pose in poses]


def write_scene(folder: Path, *, n_train: int = 4, n_test: int = 2) -> Path:
    """A set of views with straight alpha; ``file_path`` without suffix, as in the synthetic scenes of NeRF."""
    scene = ball_scenery()
    for split, views in (("train", cameras(n_train)), ("test", cameras(n_test, first=0.4))):
        (folder / split).mkdir(parents=True)
        frames = []
        for number, camera in enumerate(views):
            seen = render(scene, camera)
            alpha = seen[..., 3:]
            straight = np.where(alpha > 0, seen[..., :3] / np.maximum(alpha, 1e-6), 0)
            rgba = np.rint(255 * np.clip(np.concatenate([straight, alpha], axis=2), 0, 1)).astype(np.uint8)
            write_png(folder / split / f"r_{number}.png", rgba)
            matrix = [*camera.pose.tolist(), [0.0, 0.0, 0.0, 1.0]]
            frames.append({"file_path": f"./{split}/r_{number}", "transform_matrix": matrix})
        content = {"camera_angle_x": ANGLE_X, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
