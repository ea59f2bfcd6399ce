"""Pictures of a radiance field, with NumPy alone: rays through its box, samples on them, light added up.

Method: volume rendering of Mildenhall et al., "NeRF: representing scenes as neural radiance fields for view synthesis"
(2020), equation 3, with even samples; cells in which the field is empty are skipped. A field is coordinates (position
and unit direction away from the eye) -> (red, green, blue, density); density counts from zero. What a viewer needs
beside HEAD is in META (:class:`Sight`). Nothing here is normative.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.media.scene import Camera, Doubles, orbit
from sinrfmt.registry import Coords

Floats = NDArray[np.float32]
Cells = NDArray[np.bool_]
Sample = Callable[[Floats], Floats]
"""Coordinates float32 (n, 6) -> values float32 (n, 4)."""

RAY_AXES, CHANNELS, DENSITY = 6, 4, 3
"""Coordinates, values, and the channel of the density after red, green and blue."""
RAYS_AT_ONCE = 4096
CELL_STEPS = 2.0
"""Side of a cell, in distances between two samples of a ray."""
EMPTY_THICKNESS = 1e-3
"""Optical thickness of a step below which a place counts as empty."""
DOWN = (0.0, 0.0, -1.0)
"""Direction in which cells are looked at: densities are taken to be the same from all sides."""
META_PREFIX = "radiance."
HALF_DIAGONALS = 2.0
"""Distance of the camera from the middle of the box, where META says nothing."""


@dataclass(frozen=True)
class Sight:
    """How a field is looked at: keys of META with ``radiance.`` before the names; numbers are parted by spaces.

    Attributes:
        n_samples: samples on a ray as long as the box's diagonal.
        background: red, green and blue behind everything.
        camera_angle_x: horizontal angle of view in radians, of the cameras that go round the box.
        size: rows and columns of their pictures.
        distance: from the middle of the box; 0 for two half diagonals.
        elevation: above the horizon, in radians; the vertical is the third axis.
    """

    n_samples: int = 256
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    camera_angle_x: float = 0.7
    size: tuple[int, int] = (200, 200)
    distance: float = 0.0
    elevation: float = 0.5

    def meta(self) -> dict[str, str]:
        """The keys and values of META."""
        numbers = {
            "n_samples": (self.n_samples,),
            "background": self.background,
            "camera_angle_x": (self.camera_angle_x,),
            "size": self.size,
            "distance": (self.distance,),
            "elevation": (self.elevation,),
        }
        return {META_PREFIX + name: " ".join(f"{number:.7g}" for number in found) for name, found in numbers.items()}


def sight_of(meta: Mapping[str, str]) -> Sight:
    """What META says; defaults for keys that it has not.

    Raises:
        UsageError: a value that is none.
    """
    usual = Sight()
    n_samples = int(_numbers(meta, "n_samples", (usual.n_samples,))[0])
    red, green, blue = _numbers(meta, "background", usual.background)
    rows, columns = (int(n) for n in _numbers(meta, "size", usual.size))
    angle, distance, elevation = (
        _numbers(meta, name, (getattr(usual, name),))[0] for name in ("camera_angle_x", "distance", "elevation")
    )
    if min(n_samples, rows, columns) < 1 or not 0 < angle < math.pi:
        raise error("USAGE", f"META: {META_PREFIX}n_samples, size or camera_angle_x are out of range")
    return Sight(n_samples, (red, green, blue), angle, (rows, columns), distance, elevation)


def _numbers(meta: Mapping[str, str], name: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    text = meta.get(META_PREFIX + name)
    if text is None:
        return usual
    try:
        numbers = tuple(float(part) for part in text.split())
    except ValueError:
        numbers = ()
    if len(numbers) != len(usual) or not all(map(math.isfinite, numbers)):
        raise error("USAGE", f"META: {META_PREFIX}{name} is {text!r}, expected {len(usual)} numbers")
    return numbers


def box_of(header: Header) -> Doubles:
    """The box of the positions of a radiance field: float64 (3, 2).

    Raises:
        UsageError: HEAD is not that of a field of positions and directions to colour and density.
    """
    sizes = (header.network.in_dims, header.network.out_channels)
    if sizes != (RAY_AXES, CHANNELS):
        raise error("USAGE", f"a field of {sizes[0]} axes and {sizes[1]} values cannot be seen: expected 6 and 4")
    return np.array(header.box[:3] if header.coords is Coords.BOX and header.box else ((-1.0, 1.0),) * 3)


@dataclass(frozen=True)
class Scenery:
    """A field, ready to be rendered.

    Attributes:
        sample: its values.
        box: float64 (3, 2).
        step: distance of two samples of a ray.
        cells: where it is not empty: bool [x, y, z], parts of the box.
    """

    sample: Sample
    box: Doubles
    step: float
    cells: Cells


def scenery(sample: Sample, box: Doubles, n_samples: int) -> Scenery:
    """Find where a field is empty."""
    sides = box[:, 1] - box[:, 0]
    step = float(np.linalg.norm(sides)) / n_samples
    shape = np.maximum(1, np.ceil(sides / (CELL_STEPS * step))).astype(np.int64)
    axes = [np.linspace(low, high, n + 1) for (low, high), n in zip(box, shape, strict=True)]
    thickness = np.empty([n + 1 for n in shape])
    for plane, x in zip(thickness, axes[0], strict=True):
        places = np.stack(np.meshgrid([x], axes[1], axes[2], indexing="ij"), axis=-1).reshape(-1, 3)
        coords = np.concatenate([places, np.broadcast_to(DOWN, places.shape)], axis=1).astype(np.float32)
        plane[:] = sample(coords)[:, DENSITY].reshape(plane.shape) * step
    return Scenery(sample, box, step, cells_near(thickness > EMPTY_THICKNESS))


def cells_near(vertices: Cells) -> Cells:
    """The cells of a lattice with a marked vertex, and the cells around those."""
    cells = vertices
    for axis in range(cells.ndim):
        # A cell's own two vertices on an axis, and one more on either side.
        padded = np.pad(cells, [(1, 1) if other == axis else (0, 0) for other in range(cells.ndim)])
        n = vertices.shape[axis] - 1
        cells = np.any([padded.take(range(first, first + n), axis) for first in range(4)], axis=0)
    return cells


def render(scene: Scenery, camera: Camera) -> Floats:
    """What a camera sees: float32 (rows, columns, 4), colour in front of black and opacity."""
    origins, directions = camera.rays()
    picture = np.zeros((len(origins), CHANNELS), dtype=np.float32)
    near, far = crossing(origins, directions, scene.box)
    for rays in np.array_split(np.flatnonzero(near < far), max(1, len(origins) // RAYS_AT_ONCE)):
        if rays.size:
            picture[rays] = _light(scene, origins[rays], directions[rays], near[rays], far[rays])
    return picture.reshape(*camera.size, CHANNELS)


def crossing(origins: Doubles, directions: Doubles, box: Doubles) -> tuple[Doubles, Doubles]:
    """Distances at which rays enter and leave a box, from the eye on: (n,) each; near >= far for those that miss it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = (box.T[:, None] - origins) / directions
    near = np.nan_to_num(ends.min(axis=0), nan=-np.inf).max(axis=1)
    return np.maximum(near, 0.0), np.nan_to_num(ends.max(axis=0), nan=np.inf).min(axis=1)


def _light(scene: Scenery, origins: Doubles, directions: Doubles, near: Doubles, far: Doubles) -> Floats:
    """Colour and opacity of rays that cross the box: (n, 4). Samples are in the middle of their steps."""
    n_steps = max(1, math.ceil((far - near).max() / scene.step))
    depths = near[:, None] + (np.arange(n_steps) + 0.5) * scene.step
    positions = origins[:, None] + depths[..., None] * directions[:, None]
    is_used = depths < far[:, None]
    is_used[is_used] = _is_occupied(scene, positions[is_used])
    rays = np.nonzero(is_used)[0]
    coords = np.concatenate([positions[is_used], directions[rays]], axis=1).astype(np.float32)
    values = np.zeros((*is_used.shape, CHANNELS), dtype=np.float32)
    values[is_used] = scene.sample(coords)
    thickness = np.maximum(values[..., DENSITY], 0.0) * np.float32(scene.step)
    before = np.cumsum(thickness, axis=1) - thickness
    shares = np.exp(-before) * -np.expm1(-thickness)
    colours = np.einsum("rd,rdc->rc", shares, values[..., :DENSITY])
    return np.concatenate([colours, shares.sum(axis=1, keepdims=True)], axis=1).astype(np.float32)


def _is_occupied(scene: Scenery, positions: Doubles) -> NDArray[np.bool_]:
    shape = np.array(scene.cells.shape)
    inside = (positions - scene.box[:, 0]) / (scene.box[:, 1] - scene.box[:, 0])
    x, y, z = np.clip((inside * shape).astype(np.int64), 0, shape - 1).T
    found: NDArray[np.bool_] = scene.cells[x, y, z]
    return found


def on_background(picture: Floats, background: tuple[float, float, float]) -> Floats:
    """Colours (..., 3) in front of a background, of colour in front of black and opacity (..., 4)."""
    colours: Floats = picture[..., :DENSITY] + (1.0 - picture[..., DENSITY:]) * np.array(background, dtype=np.float32)
    return colours


def turntable(box: Doubles, sight: Sight, n_views: int) -> tuple[Camera, ...]:
    """Cameras in a circle round a box, all looking at its middle."""
    x, y, z = box.mean(axis=1).tolist()
    distance = sight.distance or HALF_DIAGONALS * float(np.linalg.norm(box[:, 1] - box[:, 0])) / 2
    angles = (2 * math.pi * view / n_views for view in range(n_views))
    return tuple(
        Camera(orbit((x, y, z), distance, sight.elevation, angle), sight.camera_angle_x, sight.size) for angle in angles
    )
