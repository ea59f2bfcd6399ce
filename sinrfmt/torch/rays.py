"""Where a radiance field is seen: points and directions at which its values make a picture.

Rays from all around cross the box of the field; on each a point is drawn by its share of the ray's light (Mildenhall et
al., "NeRF: representing scenes as neural radiance fields for view synthesis", 2020, equation 3). Empty space is met
too: a weight that makes it opaque matters. Nothing here is normative.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from sinrfmt.torch.fit import outputs
from sinrfmt.torch.modules import FieldModule

Box = tuple[tuple[float, float], ...]

SAMPLES_PER_RAY = 64
EMPTY_SHARE = 0.1
"""Light of a ray that is spread over all of its samples, so that empty space is drawn as well."""
DISTANCE = 2.0
"""Of the eyes from the centre, in half diagonals of the box."""
DENSITY = 3
"""Channel of the density, after red, green and blue."""


def visible_points(module: FieldModule, box: Box, n: int, *, seed: int, device: torch.device) -> NDArray[np.float32]:
    """Draw points of a radiance field by how much they are seen.

    Args:
        module: coords (position, direction) -> (red, green, blue, density).
        box: (low, high) of the three axes of the position; more axes are not looked at.
        n: number of points.
        seed: of the rays.
        device: where the module is.

    Returns:
        float32 (n, 6): position, and unit direction away from the eye.
    """
    rng = np.random.default_rng(seed)
    low, high = np.array(box[:3]).T
    eyes = _on_sphere(rng, n) * DISTANCE * np.linalg.norm(high - low) / 2 + (low + high) / 2
    directions = rng.uniform(low, high, (n, 3)) - eyes
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    near, far = _crossing(eyes, directions, low, high)
    steps = (np.arange(SAMPLES_PER_RAY) + rng.uniform(size=(n, SAMPLES_PER_RAY))) / SAMPLES_PER_RAY
    depths = near[:, None] + (far - near)[:, None] * steps
    positions = eyes[:, None] + depths[:, :, None] * directions[:, None]
    coords = np.concatenate([positions, np.broadcast_to(directions[:, None], positions.shape)], axis=2)
    values = outputs(module, coords.reshape(-1, 6).astype(np.float32), device=device)
    density = values[:, DENSITY].reshape(depths.shape).astype(np.float64)
    chosen = _draw(rng, _light(density, (far - near) / SAMPLES_PER_RAY))
    return coords[np.arange(n), chosen].astype(np.float32)


def _on_sphere(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    points = rng.normal(size=(n, 3))
    unit: NDArray[np.float64] = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit


def _crossing(
    eyes: NDArray[np.float64], directions: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where rays that aim into a box enter and leave it."""
    with np.errstate(divide="ignore"):
        first, second = (low - eyes) / directions, (high - eyes) / directions
    return np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)


def _light(density: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the ray's light that comes from each sample; what passes through is not counted."""
    depth = np.maximum(density, 0.0) * step[:, None]
    before = np.cumsum(depth, axis=1) - depth
    light: NDArray[np.float64] = np.exp(-before) * -np.expm1(-depth)
    return light


def _draw(rng: np.random.Generator, light: NDArray[np.float64]) -> NDArray[np.int64]:
    """One sample of each ray by its share."""
    share = light + EMPTY_SHARE / SAMPLES_PER_RAY
    cumulated = np.cumsum(share, axis=1)
    chosen: NDArray[np.int64] = (cumulated < rng.uniform(size=(len(light), 1)) * cumulated[:, -1:]).sum(axis=1)
    return chosen
