"""What a radiance field is trained for: the views of a scene, seen along rays through the box that it is in.

Every step draws random pixels. Empty space is skipped by an estimate of the density in cells that is renewed while the
training runs (Müller et al., "Instant neural graphics primitives with a multiresolution hash encoding", 2022); the same
rule as :mod:`sinrfmt.render` has makes a pixel of the samples that are left. Nothing here is normative.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor as Values

from sinrfmt.head import Header, lowest_level
from sinrfmt.media.scene import Doubles, Scene, Views
from sinrfmt.network import Network
from sinrfmt.registry import Coords, Modality
from sinrfmt.registry import Values as ValueRange
from sinrfmt.render import DENSITY, DOWN, RAY_AXES, Cells, Sight
from sinrfmt.torch.grid_module import Places
from sinrfmt.torch.marching import Evaluate, Pixels, Samples, Space, light, march
from sinrfmt.torch.point_fit import Evaluate as EvaluatePlaces
from sinrfmt.torch.space import carve, cells_of, tight_box

CELL_STEPS, MOST_CELLS = 3.0, 64
"""Side of a cell of the estimate in steps of a ray, and most of them along the longest side of the box."""
FIRST_THICKNESS = 0.05
LEAST_THICKNESS = 5e-3
"""Of a step, below which a cell is left out of the training."""
MOST_BEFORE = 14.0
"""Estimated thickness in front of a sample from which on it is left out: twice what lets a thousandth through."""
MEMORY = 0.8
"""Of an estimate, where the field is thinner now."""
UPDATE_INTERVAL, UPDATED_SHARE = 16, 0.25
FIRST_RAYS, RAY_RANGE = 1024, (64, 1 << 14)
OPACITY_WEIGHT = 0.1
N_EMPTY, EMPTY_WEIGHT, EMPTY_MARGIN = 512, 0.01, 0.02
"""Points of cells that are left out in every step, what a step's thickness there adds to the loss, and from where on it
counts: no ray of the training sees them, and every ray of a viewer does."""
N_VALIDATION, N_EMPTY_VALIDATED = 1 << 10, 1 << 12
"""Rays of the validation, and of the quality that is said while a training runs; points of cells that are left out."""


@dataclass(frozen=True)
class Stage:
    """A scene and the box that it is in.

    Attributes:
        box: float64 (3, 2), corners of what can be seen, as HEAD has them.
        sight: how a viewer looks at it, for META.
        cells: bool [x, y, z], parts of the box that no view sees through.
        train: the views that are learnt.
        test: those that quality is measured on; the same where there are no others.
    """

    box: Doubles
    sight: Sight
    cells: Cells
    train: Views
    test: Views

    @classmethod
    def of(cls, scene: Scene) -> "Stage":
        """Look for the box of a scene and what is empty in it."""
        box = tight_box(scene.train).astype(np.float32).astype(np.float64)
        sight = _sight(scene.train, box)
        step = float(np.linalg.norm(box[:, 1] - box[:, 0])) / sight.n_samples
        n_cells = math.ceil(float((box[:, 1] - box[:, 0]).max()) / (CELL_STEPS * step))
        cells = carve(scene.train, box, cells_of(box, min(n_cells, MOST_CELLS)))
        return cls(box, sight, cells, scene.train, scene.test or scene.train)

    def header(self, network: Network) -> Header:
        """HEAD of a network in the box, at the lowest level that it fits into."""
        whole = (*((float(low), float(high)) for low, high in self.box), *((-1.0, 1.0),) * 3)
        level = lowest_level(network, ())
        return Header(network, Modality.RADIANCE, coords=Coords.BOX, box=whole, values=ValueRange.RAW, level=level)


def _sight(views: Views, box: Doubles) -> Sight:
    """How the middle one of the views looks at the box; steps of rays are as long as a pixel is wide there."""
    towards = np.array([camera.pose[:, 3] for camera in views.cameras]) - box.mean(axis=1)
    distances = np.linalg.norm(towards, axis=1)
    elevation = float(np.median(np.arcsin(np.clip(towards[:, 2] / distances, -1, 1))))
    first, distance = views.cameras[0], float(np.median(distances))
    pixel = 2 * distance * math.tan(0.5 * first.angle_x) / first.size[1]
    n_samples = math.ceil(float(np.linalg.norm(box[:, 1] - box[:, 0])) / pixel)
    return Sight(n_samples, (1.0, 1.0, 1.0), first.angle_x, first.size, distance, elevation)


def _as_they_are(coords: Values) -> Values:
    return coords


class RayObjective:
    """Rays through random pixels: squared error in front of the background, and of opacity.

    It keeps the estimate of what is empty, so that a training needs one of its own.
    """

    def __init__(
        self,
        stage: Stage,
        n_points: int,
        seed: int,
        device: torch.device,
        points: Callable[[Values], Places] = _as_they_are,
    ) -> None:
        """Begin with what the views see through.

        Args:
            stage: the scene.
            n_points: samples on rays that a step has.
            seed: of all that is drawn.
            device: where the field is.
            points: prepares coordinates float32 (n, 6) that a field is asked for again and again.
        """
        low, high = torch.tensor(stage.box.astype(np.float32), device=device).unbind(1)
        shape = torch.tensor(stage.cells.shape, device=device)
        carved_cells = torch.tensor(stage.cells.reshape(-1), device=device)
        thickness = torch.where(carved_cells, FIRST_THICKNESS, 0.0)
        self.space = Space(low, high, float((high - low).norm()) / stage.sight.n_samples, shape, thickness)
        self.empty = self._left_out()
        self.points, self.n_points, self.seed = points, n_points, seed
        self.pixels = Pixels(stage.train, device)
        self.test = self.pixels if stage.test is stage.train else Pixels(stage.test, device)
        self.prepared: tuple[Samples, Places, Places] | None = None
        self.n_rays = min(FIRST_RAYS, len(self.pixels))
        drawn = self._generator(-1)
        self.validated, self.tested = (
            torch.randint(len(these), (N_VALIDATION,), generator=drawn).to(device) for these in (self.pixels, self.test)
        )

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * (1 << 32) + step + 1) & (2**63 - 1))

    def distortion(self, evaluate: Evaluate, step: int) -> Values:
        drawn = self._generator(step)
        if step % UPDATE_INTERVAL == 0:
            self._update(evaluate, drawn)
        device = self.space.low.device
        numbers = torch.randint(len(self.pixels), (self.n_rays,), generator=drawn).to(device)
        offsets = torch.rand(self.n_rays, generator=drawn).to(device)
        origins, directions = self.pixels.rays(numbers)
        samples = march(self.space, origins, directions, offsets, least=LEAST_THICKNESS, most_before=MOST_BEFORE)
        empty = self._empty_points(drawn, N_EMPTY)
        values = evaluate(torch.cat([samples.coords, empty]))
        seen = light(samples, values[: len(samples.rays)], self.space.step, self.n_rays)
        loss = _difference(self.pixels, numbers, seen)
        self.n_rays = self._next_rays(len(samples.rays))
        return loss + self._fog(values[len(samples.rays) :])

    def _fog(self, values: Values) -> Values:
        """What the values at points of cells that are left out add to the loss."""
        if not len(values):
            return values.new_zeros(())
        return EMPTY_WEIGHT * (values[:, DENSITY] * self.space.step + EMPTY_MARGIN).relu().mean()

    def _left_out(self) -> Values:
        """The cells in which rays have no samples."""
        return (self.space.thickness < LEAST_THICKNESS).nonzero().squeeze(1)

    def _next_rays(self, n_samples: int) -> int:
        """Rays of the next step, so that it has about as many samples as were asked for."""
        wanted = self.n_rays * self.n_points / max(1, n_samples)
        return round(
            min(max(wanted, 0.8 * self.n_rays, RAY_RANGE[0]), 1.25 * self.n_rays, RAY_RANGE[1], len(self.pixels))
        )

    def _empty_points(self, drawn: torch.Generator, n: int) -> Values:
        if not len(self.empty):
            return self.space.low.new_zeros(0, RAY_AXES)
        chosen = self.empty[torch.randint(len(self.empty), (n,), generator=drawn).to(self.empty.device)]
        return self._inside(chosen, drawn)

    def _inside(self, cells: Values, drawn: torch.Generator) -> Values:
        """A random point of each cell, looked at from above: float32 (n, 6)."""
        at = torch.stack(torch.unravel_index(cells, tuple(self.space.shape.tolist())), dim=1)
        at = at + torch.rand(at.shape, generator=drawn).to(at.device)
        places = self.space.low + at / self.space.shape * (self.space.high - self.space.low)
        return torch.cat([places, places.new_tensor(DOWN).expand_as(places)], dim=1)

    @torch.no_grad()
    def _update(self, evaluate: Evaluate, drawn: torch.Generator) -> None:
        """Look at some of the cells again."""
        n = self.space.thickness.numel()
        cells = torch.randperm(n, generator=drawn)[: max(1, round(UPDATED_SHARE * n))].to(self.space.low.device)
        found = evaluate(self._inside(cells, drawn))[:, DENSITY].relu() * self.space.step
        self.space.thickness[cells] = torch.maximum(MEMORY * self.space.thickness[cells], found)
        self.empty = self._left_out()
        self.prepared = None

    def _middle(self, pixels: Pixels, numbers: Values) -> Samples:
        """Samples in the middle of the steps of pixels' rays."""
        origins, directions = pixels.rays(numbers)
        offsets = torch.full((len(numbers),), 0.5, device=numbers.device)
        return march(self.space, origins, directions, offsets, least=LEAST_THICKNESS, most_before=MOST_BEFORE)

    def validation(self, evaluate: EvaluatePlaces) -> Values:
        """Prepared until the estimate changes: a search of the networks' steps asks hundreds of times."""
        if self.prepared is None:
            samples = self._middle(self.pixels, self.validated)
            empty = self._empty_points(self._generator(-1), N_EMPTY_VALIDATED)
            self.prepared = samples, self.points(samples.coords), self.points(empty)
        samples, points, empty_points = self.prepared
        seen = light(samples, evaluate(points), self.space.step, len(self.validated))
        return _difference(self.pixels, self.validated, seen) + self._fog(evaluate(empty_points))

    def quality(self, evaluate: Evaluate) -> float:
        samples = self._middle(self.test, self.tested)
        seen = light(samples, evaluate(samples.coords), self.space.step, len(self.tested))
        error = float(_on_white(self.test.colours(self.tested) - seen))
        return -10.0 * math.log10(error) if error > 0.0 else math.inf


def _on_white(difference: Values) -> Values:
    """Mean squared error in front of white, of differences (n, 4) of colour in front of black and opacity."""
    return (difference[:, :DENSITY] - difference[:, DENSITY:]).square().mean()


def _difference(pixels: Pixels, numbers: Values, seen: Values) -> Values:
    difference = seen - pixels.colours(numbers)
    error = _on_white(difference)
    return error + OPACITY_WEIGHT * difference[:, DENSITY].square().mean() if pixels.has_alpha else error
