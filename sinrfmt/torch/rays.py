"""What a radiance field shows: rays through its box, and the colour and opacity that each of them ends up with.

Rays from all around aim at points of the box. On each the field is sampled evenly, and again by the share of the ray's
light that comes from there (Mildenhall et al., "NeRF: representing scenes as neural radiance fields for view
synthesis", 2020, equation 3 and section 5.2). Nothing here is normative.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.torch.fit import outputs
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.views import View

Box = tuple[tuple[float, float], ...]
Floats = NDArray[np.float64]

N_EVEN, N_DRAWN = 16, 16
"""Samples of a ray: even ones find what is there, the others lie where it is seen."""
EMPTY_SHARE = 0.01
"""Light of a ray that is spread over all of it, so that a ray that meets nothing is sampled too."""
DISTANCE = 2.0
"""Of the eyes from the centre, in half diagonals of the box."""
DENSITY = 3
"""Channel of the density, after red, green and blue."""
CHANNELS = 4
"""Seen of a ray: red, green and blue in front of black, and opacity. In front of another colour it is a sum of them."""


@dataclass(frozen=True)
class Rays:
    """Points on rays through a radiance field, and what is seen along them.

    Attributes:
        coords: float32 (n * depth, 6), position, and unit direction away from the eye; ray after ray, from the eye on.
        view: of n rays.
    """

    coords: NDArray[np.float32]
    view: View


def cast_rays(module: FieldModule, box: Box, n: int, *, seed: int, device: torch.device) -> Rays:
    """Rays on which a field is seen.

    Args:
        module: coords (position, direction) -> (red, green, blue, density).
        box: (low, high) of the three axes of the position; more axes are not looked at.
        n: number of rays.
        seed: of the rays.
        device: where the module is.
    """
    rng = np.random.default_rng(seed)
    low, high = np.array(box[:3]).T
    eyes = _on_sphere(rng, n) * DISTANCE * np.linalg.norm(high - low) / 2 + (low + high) / 2
    directions = rng.uniform(low, high, (n, 3)) - eyes
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    near, far = _crossing(eyes, directions, low, high)
    depths = _depths(rng, near, far)
    density = outputs(module, _coords(eyes, directions, depths), device=device)[:, DENSITY].reshape(depths.shape)
    drawn = _drawn(rng, depths, far, _light(depths, far, density))
    depths = np.sort(np.concatenate([depths, drawn], axis=1), axis=1)
    gaps = torch.tensor(_gaps(depths, far).astype(np.float32), device=device)
    return Rays(_coords(eyes, directions, depths), View(partial(composite, gaps), depths.shape[1], CHANNELS))


def composite(gaps: Values, rays: NDArray[np.int64], values: Values) -> Values:
    """Colour in front of black and opacity, (n, 4), of some rays.

    Args:
        gaps: (all rays, depth), from every sample to the next.
        rays: int64 (n,), which of them.
        values: (n * depth, 4).
    """
    samples = values.reshape(len(rays), -1, CHANNELS)
    colours, density = samples[..., :DENSITY], samples[..., DENSITY:]
    thickness = density.relu() * gaps[torch.from_numpy(rays).to(gaps.device)].unsqueeze(2)
    before = thickness.cumsum(1) - thickness
    shares = torch.exp(-before) * -torch.expm1(-thickness)
    return torch.cat([(shares * colours).sum(1), shares.sum(1)], dim=1)


def _on_sphere(rng: np.random.Generator, n: int) -> Floats:
    points = rng.normal(size=(n, 3))
    unit: Floats = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit


def _crossing(eyes: Floats, directions: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Where rays that aim into a box enter and leave it."""
    with np.errstate(divide="ignore"):
        first, second = (low - eyes) / directions, (high - eyes) / directions
    return np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)


def _depths(rng: np.random.Generator, near: Floats, far: Floats) -> Floats:
    """One sample anywhere in each of equal parts of every ray: (n, N_EVEN)."""
    steps = (np.arange(N_EVEN) + rng.uniform(size=(len(near), N_EVEN))) / N_EVEN
    depths: Floats = near[:, None] + (far - near)[:, None] * steps
    return depths


def _coords(eyes: Floats, directions: Floats, depths: Floats) -> NDArray[np.float32]:
    positions = eyes[:, None] + depths[:, :, None] * directions[:, None]
    coords = np.concatenate([positions, np.broadcast_to(directions[:, None], positions.shape)], axis=2)
    return coords.reshape(-1, 6).astype(np.float32)


def _gaps(depths: Floats, far: Floats) -> Floats:
    return np.diff(depths, axis=1, append=far[:, None])


def _light(depths: Floats, far: Floats, density: NDArray[np.float32]) -> Floats:
    """Share of the ray's light that comes from each sample; what passes through is not counted."""
    thickness = np.maximum(density, 0.0) * _gaps(depths, far)
    before = np.cumsum(thickness, axis=1) - thickness
    light: Floats = np.exp(-before) * -np.expm1(-thickness)
    return light


def _drawn(rng: np.random.Generator, depths: Floats, far: Floats, light: Floats) -> Floats:
    """More samples of every ray, drawn by their share: (n, N_DRAWN).

    The light of a sample is that of the gap behind it; whether what is met there begins before it is not known.
    """
    share = light + EMPTY_SHARE / N_EVEN
    share[:, :-1] += light[:, 1:]
    edges = np.concatenate([depths, far[:, None]], axis=1)
    cumulated = np.pad(np.cumsum(share, axis=1), ((0, 0), (1, 0)))
    at = (np.arange(N_DRAWN) + rng.uniform(size=(len(depths), N_DRAWN))) / N_DRAWN
    return np.array([np.interp(a * c[-1], c, e) for a, c, e in zip(at, cumulated, edges, strict=True)])
