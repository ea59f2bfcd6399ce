"""Volume rendering with a gradient: samples on rays where a field is not empty, and the light they add up to.

The same rule as :mod:`sinrfmt.render`, which says it with NumPy alone. In a training samples are also left out where
the estimate of what is before them lets nothing through. Nothing here is normative.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.media.scene import Camera, Views, straight_rgba
from sinrfmt.render import CHANNELS, DENSITY, Scenery

Evaluate = Callable[[Values], Values]
"""Coordinates float32 (n, 6) -> values float32 (n, 4)."""

RAYS_AT_ONCE = 1 << 11


@dataclass(frozen=True)
class Space:
    """A box with an estimate of what is in it.

    Attributes:
        low, high: float32 (3,), corners of the box.
        step: distance of two samples of a ray.
        shape: int64 (3,), cells along every axis.
        thickness: float32 (cells,), estimate of the optical thickness of a step in every cell; 0 where it is empty.
    """

    low: Values
    high: Values
    step: float
    shape: Values
    thickness: Values

    @property
    def diagonal(self) -> float:
        """Of the box."""
        return float((self.high - self.low).norm())

    def cell(self, positions: Values) -> Values:
        """Numbers of the cells of positions (n, 3) in the box: int64 (n,)."""
        at = ((positions - self.low) / (self.high - self.low) * self.shape).to(torch.int64)
        x, y, z = torch.minimum(at.clamp_min(0), self.shape - 1).unbind(1)
        return (x * self.shape[1] + y) * self.shape[2] + z


def space_of(scene: Scenery, device: torch.device) -> Space:
    """The space of a field that is ready to be rendered: every cell that is not empty counts."""
    low, high = torch.tensor(scene.box.astype(np.float32), device=device).unbind(1)
    shape = torch.tensor(scene.cells.shape, device=device)
    return Space(low, high, scene.step, shape, torch.tensor(scene.cells.reshape(-1).astype(np.float32), device=device))


@dataclass(frozen=True)
class Samples:
    """Places on rays, ray after ray, from the eye on.

    Attributes:
        rays: int64 (n,), the ray of each.
        coords: float32 (n, 6), position and direction.
    """

    rays: Values
    coords: Values


@torch.no_grad()
def march(
    space: Space, origins: Values, directions: Values, offsets: Values, *, least: float, most_before: float = math.inf
) -> Samples:
    """Samples of rays.

    Args:
        space: where to look.
        origins, directions: float32 (rays, 3); directions are unit vectors.
        offsets: float32 (rays,), of the first sample, in steps: 0.5 for the middle of the first step.
        least: thickness of a cell below which it is left out.
        most_before: estimated thickness in front of a sample from which on it is left out.
    """
    near, far = crossing(space, origins, directions)
    n_steps = max(1, math.ceil(float((far - near).amax()) / space.step))
    depths = near[:, None] + (torch.arange(n_steps, device=near.device) + offsets[:, None]) * space.step
    rays, steps = (depths < far[:, None]).nonzero(as_tuple=True)
    places = origins[rays] + depths[rays, steps, None] * directions[rays]
    thickness = space.thickness[space.cell(places)]
    used = thickness >= least
    if most_before < math.inf:
        found = torch.zeros_like(depths)
        found[rays, steps] = thickness
        used &= (found.cumsum(1) - found)[rays, steps] < most_before
    return Samples(rays[used], torch.cat([places[used], directions[rays[used]]], dim=1))


def crossing(space: Space, origins: Values, directions: Values) -> tuple[Values, Values]:
    """Distances at which rays enter and leave the box, from the eye on; near >= far for those that miss it."""
    first, second = (space.low - origins) / directions, (space.high - origins) / directions
    near = torch.minimum(first, second).nan_to_num(nan=-math.inf).amax(1).clamp_min(0.0)
    return near, torch.maximum(first, second).nan_to_num(nan=math.inf).amin(1)


class _Positive(torch.autograd.Function):
    """max(x, 0), whose gradient also reaches negative numbers that are to grow: what is empty may fill again."""

    @staticmethod
    def forward(ctx: Any, x: Values) -> Values:
        ctx.save_for_backward(x)
        return x.clamp_min(0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Values) -> Values:
        (x,) = ctx.saved_tensors
        return torch.where((x > 0.0) | (gradient < 0.0), gradient, 0.0)


def light(samples: Samples, values: Values, step: float, n_rays: int) -> Values:
    """Colour in front of black and opacity of rays: float32 (n_rays, 4).

    Args:
        samples: of the rays.
        values: float32 (n, 4) there.
        step: distance of two samples.
        n_rays: rays, those without samples counted.
    """
    # binary64: sums run on over all rays, and only their differences count.
    density = cast(Values, _Positive.apply(values[:, DENSITY]))  # type: ignore[no-untyped-call]
    thickness = density.to(torch.float64) * step
    until = thickness.cumsum(0) - thickness
    is_first = torch.ones_like(samples.rays, dtype=torch.bool)
    is_first[1:] = samples.rays[1:] != samples.rays[:-1]
    before = until - until[is_first][is_first.cumsum(0) - 1]
    shares = (torch.exp(-before) * -torch.expm1(-thickness)).to(torch.float32).unsqueeze(1)
    parts = torch.cat([values[:, :DENSITY] * shares, shares], dim=1)
    return parts.new_zeros(n_rays, CHANNELS).index_add(0, samples.rays, parts)


@torch.no_grad()
def render(evaluate: Evaluate, space: Space, camera: Camera) -> NDArray[np.float32]:
    """What a camera sees: float32 (rows, columns, 4), as ``sinrfmt.render.render`` has it."""
    device = space.low.device
    origins, directions = (torch.tensor(array.astype(np.float32), device=device) for array in camera.rays())
    parts = []
    blocks = (torch.split(rays, RAYS_AT_ONCE) for rays in (origins, directions))
    for eye, towards in zip(*blocks, strict=True):
        offsets = torch.full((len(eye),), 0.5, device=device)
        samples = march(space, eye, towards, offsets, least=1.0)
        parts.append(light(samples, evaluate(samples.coords), space.step, len(eye)))
    picture: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
    return picture.reshape(*camera.size, CHANNELS)


class Pixels:
    """All pixels of some views, by number, with the rays through them. Pictures are kept with 8 bits a sample."""

    def __init__(self, views: Views, device: torch.device) -> None:
        sizes = torch.tensor([camera.size for camera in views.cameras])
        self.starts = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.prod(1).cumsum(0)]).to(device)
        self.sizes = sizes.to(device)
        poses = np.stack([camera.pose for camera in views.cameras]).astype(np.float32)
        self.poses = torch.tensor(poses, device=device)
        focal = [0.5 * camera.size[1] / math.tan(0.5 * camera.angle_x) for camera in views.cameras]
        self.focal = torch.tensor(focal, dtype=torch.float32, device=device)
        rgba = [np.rint(straight_rgba(picture) * 255).astype(np.uint8).reshape(-1, 4) for picture in views.pictures]
        self.rgba = torch.tensor(np.concatenate(rgba), device=device)
        self.has_alpha = all(picture.shape[2] in (2, 4) for picture in views.pictures)

    def __len__(self) -> int:
        return len(self.rgba)

    def rays(self, numbers: Values) -> tuple[Values, Values]:
        """Eyes and unit directions, float32 (n, 3) each, of pixels int64 (n,)."""
        view = torch.searchsorted(self.starts, numbers, right=True) - 1
        rows, columns = self.sizes[view].unbind(1)
        within = numbers - self.starts[view]
        x = ((within % columns) + 0.5 - columns / 2) / self.focal[view]
        y = (rows / 2 - within // columns - 0.5) / self.focal[view]
        local = torch.stack([x, y, -torch.ones_like(x)], dim=1)
        directions = (self.poses[view, :, :3] @ local.unsqueeze(2)).squeeze(2)
        return self.poses[view, :, 3], directions / directions.norm(dim=1, keepdim=True)

    def colours(self, numbers: Values) -> Values:
        """Colour in front of black and opacity of pixels: float32 (n, 4)."""
        rgba = self.rgba[numbers].to(torch.float32) / 255
        return torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
