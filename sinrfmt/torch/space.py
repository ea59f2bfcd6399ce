"""Where a scene may have something: the box that its cameras look at, and the cells that may have something.

Space carving: a cell that some picture sees through, by its alpha, is empty; so is one that no picture shows. Nothing
here is normative.
"""

import math

import numpy as np
from numpy.typing import NDArray

from sinrfmt.media.scene import Camera, Views
from sinrfmt.metrics import Samples

Doubles = NDArray[np.float64]
Cells = NDArray[np.bool_]

N_COARSE = 48
"""Cells along each axis of the box that all cameras look at, in which the tight box is looked for."""
LEAST_ALPHA = 1.0 / 255
MARGIN = 0.5
"""Cells that are added to the tight box on every side, of the coarse ones."""


def first_box(cameras: tuple[Camera, ...]) -> Doubles:
    """The cube around the point that all cameras look at, as wide as what they see of it: float64 (3, 2)."""
    eyes = np.array([camera.pose[:, 3] for camera in cameras])
    axes = np.array([camera.pose[:, 2] for camera in cameras])
    # The point nearest to all optical axes; a little of the eyes' middle where they are parallel.
    planes = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    ridge = 1e-6 * np.eye(3)
    centre = np.linalg.solve(planes.sum(0) + ridge, (planes @ eyes[:, :, None]).sum(0)[:, 0] + ridge @ eyes.mean(0))
    distances = np.linalg.norm(eyes - centre, axis=1)
    reach = np.max(distances * np.tan([0.5 * camera.angle_x for camera in cameras]))
    return np.stack([centre - reach, centre + reach], axis=1)


def tight_box(views: Views) -> Doubles:
    """The box of what may be in a scene: float64 (3, 2)."""
    wide = first_box(views.cameras)
    coarse = carve(views, wide, (N_COARSE,) * 3)
    if not coarse.any():
        coarse[:] = True
    used = np.argwhere(coarse)
    size = (wide[:, 1] - wide[:, 0]) / N_COARSE
    low = np.maximum(wide[:, 0], wide[:, 0] + (used.min(0) - MARGIN) * size)
    high = np.minimum(wide[:, 1], wide[:, 0] + (used.max(0) + 1 + MARGIN) * size)
    return np.stack([low, high], axis=1)


def cells_of(box: Doubles, n: int) -> tuple[int, int, int]:
    """Cells along every axis of a box, about cubes, ``n`` along the longest axis."""
    sides = box[:, 1] - box[:, 0]
    x, y, z = (max(1, round(n * side / sides.max())) for side in sides)
    return x, y, z


def carve(views: Views, box: Doubles, shape: tuple[int, int, int]) -> Cells:
    """The cells of a box that may have something.

    Args:
        views: with alpha; opaque pictures only carve what none of them shows.
        box: float64 (3, 2).
        shape: cells along every axis.
    """
    sides = (box[:, 1] - box[:, 0]) / shape
    numbers = np.arange(math.prod(shape))
    radius = 0.5 * float(np.linalg.norm(sides))
    is_shown = np.zeros(math.prod(shape), dtype=np.bool_)
    for camera, picture in zip(views.cameras, views.pictures, strict=True):
        alpha = picture[..., -1] if picture.shape[2] in (2, 4) else np.ones_like(picture[..., 0])
        centres = box[:, 0] + (np.stack(np.unravel_index(numbers, shape), axis=1) + 0.5) * sides
        shows, hides = _looks(camera, alpha, centres, radius)
        is_shown[numbers[shows]] = True
        numbers = numbers[shows | hides]
    cells = np.zeros(math.prod(shape), dtype=np.bool_)
    cells[numbers[is_shown[numbers]]] = True
    return cells.reshape(shape)


def _looks(camera: Camera, alpha: Samples, centres: Doubles, radius: float) -> tuple[Cells, Cells]:
    """Of balls around points: whether a pixel of their square shows something; whether they are partly out of sight."""
    rows, columns = camera.size
    seen, depth = camera.pixels(centres)
    focal = 0.5 * columns / math.tan(0.5 * camera.angle_x)
    is_behind = depth <= radius
    reach = focal * radius / np.where(is_behind, 1.0, depth)
    edges = np.array([rows, columns])
    low = np.floor(seen - reach[:, None])
    high = np.floor(seen + reach[:, None]) + 1
    is_outside = ((low < 0) | (high > edges)).any(axis=1)
    counts = np.pad(np.cumsum(np.cumsum(alpha > 0, axis=0), axis=1), ((1, 0), (1, 0)))
    with np.errstate(invalid="ignore"):
        (y0, x0), (y1, x1) = (np.clip(np.nan_to_num(p), 0, edges).astype(np.int64).T for p in (low, high))
    shown = counts[y1, x1] - counts[y0, x1] - counts[y1, x0] + counts[y0, x0]
    return ~is_behind & (shown > 0), is_behind | is_outside
