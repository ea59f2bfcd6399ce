"""A picture of the surface in a sampled field: rays through the samples, a light, NumPy alone.

Rays step through the cube until they are inside, then halve the last step. Where the field is a distance a ray steps as
far as the distance allows (Hart, "Sphere tracing", 1996); where it is not, half a cell at a time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

N_HALVINGS = 8
LIGHT = (0.4, 0.8, 0.55)
"""Towards the light, in the camera's right, up and back."""
AMBIENT, DIFFUSE, SHINE, SHINE_POWER = 0.22, 0.68, 0.18, 24
COLOUR, BACKGROUND = (0.86, 0.80, 0.72), (1.0, 1.0, 1.0)
STEP_SHARE = 0.9
"""Of a distance that is only learned."""


@dataclass(frozen=True)
class View:
    """A camera that looks at the middle of the cube from outside, upright along the second axis.

    Attributes:
        azimuth, elevation: of the camera, in degrees; 0, 0 looks along the third axis from its positive end.
        distance: of the camera from the middle, in half sides of the cube.
        field_of_view: in degrees, of the whole picture.
    """

    azimuth: float = 30.0
    elevation: float = 15.0
    distance: float = 4.5
    field_of_view: float = 30.0

    def axes(self) -> Floats:
        """Right, up and back as rows: float32 (3, 3)."""
        a, e = np.radians([self.azimuth, self.elevation])
        back = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
        right = np.array([np.cos(a), 0.0, -np.sin(a)])
        return np.array([right, np.cross(back, right), back], dtype=np.float32)


def shaded(
    values: Floats, level: float, size: int, *, is_distance: bool, view: View | None = None
) -> NDArray[np.uint8]:
    """Draw the surface where a field crosses a level.

    Args:
        values: float32 (n, n, n) at the centres of the cells of [-1, 1]^3, below the level inside.
        level: of the surface.
        size: rows and columns of the picture.
        is_distance: whether values are distances in the units of the cube.
        view: the camera.

    Returns:
        uint8 [size, size, 3]
    """
    view = View() if view is None else view
    field = _Samples(values - np.float32(level))
    origin, directions = _rays(view, size)
    near, far = _through_cube(origin, directions)
    hit, depth = _march(field, origin, directions, near, far, is_distance=is_distance)
    picture = np.tile(np.array(BACKGROUND, dtype=np.float32), (size * size, 1))
    picture[hit] = _lit(field.gradients(origin + depth[:, None] * directions[hit]), directions[hit], view)
    return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8).reshape(size, size, 3)


class _Samples:
    """Samples of a field with what lies between them."""

    def __init__(self, values: Floats) -> None:
        self.values = values

    @property
    def cell(self) -> float:
        return 2.0 / len(self.values)

    def at(self, points: Floats) -> Floats:
        """Trilinear values (n,) at points (n, 3); outside the samples those at the edge."""
        n = self.values.shape[0]
        positions = np.clip((points + 1) * np.float32(n / 2) - np.float32(0.5), 0, n - 1)
        lower = np.minimum(positions.astype(np.int32), max(n - 2, 0))
        x, y, z = (positions - lower).T
        start = (lower[:, 0] * n + lower[:, 1]) * n + lower[:, 2]
        flat = self.values.reshape(-1)
        below, above = (
            (flat[start + dx] * (1 - z) + flat[start + dx + 1] * z) * (1 - y)
            + (flat[start + dx + n] * (1 - z) + flat[start + dx + n + 1] * z) * y
            for dx in (0, n * n)
        )
        total: Floats = below * (1 - x) + above * x
        return total

    def gradients(self, points: Floats) -> Floats:
        """Central differences over a cell on either side: (n, 3)."""
        shifts = np.eye(3, dtype=np.float32) * np.float32(self.cell)
        return np.stack([self.at(points + shift) - self.at(points - shift) for shift in shifts], axis=1)


def _rays(view: View, size: int) -> tuple[Floats, Floats]:
    """Where the camera is, float32 (3,), and where its pixels look, float32 (size * size, 3) of unit length."""
    axes = view.axes()
    half = np.tan(np.radians(view.field_of_view / 2))
    across = ((2 * np.arange(size) + 1) / size - 1) * half
    y, x = np.meshgrid(-across, across, indexing="ij")
    local = np.stack([x, y, -np.ones_like(x)], axis=-1).reshape(-1, 3)
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    return np.float32(view.distance) * axes[2], (local @ axes).astype(np.float32)


def _through_cube(origin: Floats, directions: Floats) -> tuple[Floats, Floats]:
    """Depths (n,) at which rays enter and leave the cube."""
    with np.errstate(divide="ignore"):
        sides = np.stack([(side - origin) / directions for side in (np.float32(-1), np.float32(1))])
    return np.maximum(sides.min(axis=0).max(axis=1), 0), sides.max(axis=0).min(axis=1)


def _march(
    field: _Samples, origin: Floats, directions: Floats, near: Floats, far: Floats, *, is_distance: bool
) -> tuple[NDArray[np.int64], Floats]:
    """The rays that hit the surface, and at which depth."""
    active, hit = np.flatnonzero(near < far), []
    depth, least = near.copy(), np.float32(field.cell / 2)
    before = depth.copy()
    while active.size:
        values = field.at(origin + depth[active, None] * directions[active])
        hit.append(active[values <= 0])
        active, values = active[values > 0], values[values > 0]
        before[active] = depth[active]
        depth[active] += np.maximum(np.float32(STEP_SHARE) * values, least) if is_distance else least
        active = active[depth[active] < far[active]]
    found = np.sort(np.concatenate(hit)) if hit else active
    outside, inside = before[found], depth[found]
    for _ in range(N_HALVINGS):
        middle = (outside + inside) / np.float32(2)
        is_in = field.at(origin + middle[:, None] * directions[found]) <= 0
        outside, inside = np.where(is_in, outside, middle), np.where(is_in, middle, inside)
    return found, inside


def _lit(gradients: Floats, directions: Floats, view: View) -> Floats:
    """Colours (n, 3) of a matt surface with a little shine."""
    normals = gradients / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), np.float32(1e-12))
    light = np.array(LIGHT, dtype=np.float32) @ view.axes()
    light /= np.linalg.norm(light)
    halfway = light - directions
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    facing = np.maximum(normals @ light, 0)
    shine = np.maximum((normals * halfway).sum(axis=1), 0) ** SHINE_POWER
    matt = (AMBIENT + DIFFUSE * facing)[:, None] * np.array(COLOUR, dtype=np.float32)
    lit: Floats = matt + SHINE * shine[:, None]
    return lit
