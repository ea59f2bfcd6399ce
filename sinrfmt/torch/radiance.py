"""Views of a scene to a file: a latent grid over positions, trained on rays with lambda * rate.

Density is that of the position alone: the weights that would bring the direction to it are kept zero. Empty space is
skipped by an estimate of the density in cells that is renewed while the training runs (Müller et al., "Instant neural
graphics primitives with a multiresolution hash encoding", 2022). Specification: clauses 6.1 (RADIANCE), 9.6.1, 12.2.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

import sinrfmt
from sinrfmt.container import ChunkReader, build_file
from sinrfmt.edit import meta_bytes, with_meta
from sinrfmt.evaluate import to_uint8
from sinrfmt.field import Field
from sinrfmt.head import Header, build_head
from sinrfmt.media.scene import Camera, Doubles, Scene, Views, straight_rgba
from sinrfmt.metrics import psnr
from sinrfmt.network import FourierEncoding, GridEncoding, InputRecord, LayerRecord, Network
from sinrfmt.registry import ChunkKind, Coords, Modality, RecordKind
from sinrfmt.registry import Values as ValueRange
from sinrfmt.render import CHANNELS, DENSITY, DOWN, RAY_AXES, Cells, Sight, box_of, on_background, scenery, sight_of
from sinrfmt.torch.convert import to_module
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, device_of
from sinrfmt.torch.grid_module import GridModule, Points
from sinrfmt.torch.marching import Evaluate, Pixels, Samples, Space, light, march, render, space_of
from sinrfmt.torch.point_files import Uncompressed, encode_objective, grid_header, point_preset_of, uncompressed_grid
from sinrfmt.torch.point_fit import Evaluate as EvaluatePoints
from sinrfmt.torch.point_fit import Objective
from sinrfmt.torch.point_recipes import PointPreset, level_resolutions
from sinrfmt.torch.space import carve, cells_of, tight_box

Floats = NDArray[np.float32]
See = Callable[[Camera], Floats]

DIRECTION_OCTAVES = 2
LATENT_GAIN = 20.0
"""Of the first latents: without a rate, and so without its noise, features of a thousandth would hold the start up."""
DENSITY_GAIN, FIRST_DENSITY = 20.0, 2.0
"""Of the first weights and bias of the density: a surface needs densities of tens in a box of a few units."""
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
class SceneEncoding:
    """An encoded scene.

    Attributes:
        encoding: the file and its arrays; its ``psnr`` is of some rays of the test views (of the others without them).
        psnr: mean over all test views (the others without them) of the PSNR of each, rendered, in dB.
    """

    encoding: Encoding
    psnr: float

    @property
    def field(self) -> Field:
        """The file, decoded."""
        return self.encoding.field


@dataclass(frozen=True)
class Prepared:
    """What every training of a scene shares.

    Attributes:
        header: of the file while it is trained: densities are not yet cut off at zero.
        objective: for ``encode_objective``.
        recipe: how to train.
        sight: for META.
        test: the views that quality is measured on.
    """

    header: Header
    objective: Callable[[GridModule], Objective]
    recipe: PointPreset
    sight: Sight
    test: Views


def encode_scene(
    scene: Scene,
    *,
    preset: str | PointPreset = "radiance",
    rate_weight: float | None = None,
    max_bytes: int | None = None,
    min_psnr: float | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> SceneEncoding:
    """Fit a radiance field to views and write it as a file.

    Args:
        scene: the views.
        preset: ``radiance``, or a recipe in figures; its ``batch_size`` counts samples on rays.
        rate_weight: lambda in place of the preset's; where there is a target, the first one tried.
        max_bytes: size of the file at most.
        min_psnr: PSNR at least, in dB, of rays of the test views (of the others without them).
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, PSNR in dB).

    Raises:
        UsageError: the target cannot be reached, or the arguments do not fit.
    """
    prepared = prepare(scene, preset, seed=seed)
    recipe = prepared.recipe if rate_weight is None else replace(prepared.recipe, rate_weight=rate_weight)
    encoding = encode_objective(
        prepared.header,
        prepared.objective,
        recipe,
        max_bytes=None if max_bytes is None else max_bytes - meta_bytes(prepared.sight.meta()),
        min_psnr=min_psnr,
        seed=seed,
        device=device,
        on_progress=on_progress,
    )
    encoding = replace(encoding, field=finished(encoding.field, prepared.sight))
    return SceneEncoding(encoding, scene_psnr(encoding.field, prepared.test, device=device))


def uncompressed_scene(
    scene: Scene,
    *,
    preset: str | PointPreset = "radiance",
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> tuple[Uncompressed, float]:
    """The same grid as binary16, trained without a rate; and its PSNR as that of ``SceneEncoding``."""
    prepared = prepare(scene, preset, seed=seed)
    result = uncompressed_grid(
        prepared.header, prepared.objective, prepared.recipe, seed=seed, device=device, on_progress=on_progress
    )
    evaluate = partial(result.module, result.module.latents)
    see = renderer_of(evaluate, box_of(prepared.header), prepared.sight, device_of(device))
    return result, views_psnr(see, prepared.sight, prepared.test)


def prepare(scene: Scene, preset: str | PointPreset, *, seed: int) -> Prepared:
    """Look for the box of a scene, and make the network and the objective."""
    recipe = point_preset_of(preset)
    box = tight_box(scene.train)
    sight = _sight(scene.train, box)
    step = float(np.linalg.norm(box[:, 1] - box[:, 0])) / sight.n_samples
    n_cells = math.ceil(float((box[:, 1] - box[:, 0]).max()) / (CELL_STEPS * step))
    cells = carve(scene.train, box, cells_of(box, min(n_cells, MOST_CELLS)))
    network = scene_network(recipe, box)
    whole = (*((float(low), float(high)) for low, high in box.astype(np.float32)), *((-1.0, 1.0),) * 3)
    header = grid_header(Header(network, Modality.RADIANCE, coords=Coords.BOX, box=whole, values=ValueRange.RAW))
    test = scene.test or scene.train
    objective = partial(
        _RayObjective.of, box_of(header), sight.n_samples, cells, scene.train, test, recipe.batch_size, seed
    )
    return Prepared(header, objective, recipe, sight, test)


def scene_network(recipe: PointPreset, box: Doubles) -> Network:
    """The network of a recipe: a layer or more, density, then the direction and a layer for the colour."""
    cube = replace(recipe, last_share=1.0)
    encoding = GridEncoding(
        level_resolutions(cube, 3, cells_of(box, recipe.last_resolution)),
        latent_dim=recipe.latent_dim,
        feature_dim=recipe.feature_dim,
        log2_table_size=recipe.log2_table_size,
    )
    records = (
        LayerRecord(RecordKind.RELU, recipe.width, repeat=max(1, recipe.depth - 1)),
        LayerRecord(RecordKind.LINEAR, 1, is_output=True),
        InputRecord(3, 3, FourierEncoding(DIRECTION_OCTAVES, include_input=True)),
        LayerRecord(RecordKind.RELU, recipe.width),
        LayerRecord(RecordKind.SIGMOID, DENSITY),
    )
    return Network(RAY_AXES, CHANNELS, records, encoding)


def _sight(views: Views, box: Doubles) -> Sight:
    """How the middle one of the views looks at the box; steps of rays are as long as a pixel is wide there."""
    towards = np.array([camera.pose[:, 3] for camera in views.cameras]) - box.mean(axis=1)
    distances = np.linalg.norm(towards, axis=1)
    elevation = float(np.median(np.arcsin(np.clip(towards[:, 2] / distances, -1, 1))))
    first, distance = views.cameras[0], float(np.median(distances))
    pixel = 2 * distance * math.tan(0.5 * first.angle_x) / first.size[1]
    n_samples = math.ceil(float(np.linalg.norm(box[:, 1] - box[:, 0])) / pixel)
    return Sight(n_samples, (1.0, 1.0, 1.0), first.angle_x, first.size, distance, elevation)


class _RayObjective:
    """Rays through random pixels: squared error in front of the background, and of opacity."""

    def __init__(
        self,
        module: GridModule,
        box: Doubles,
        n_samples: int,
        cells: Cells,
        pixels: Pixels,
        test: Pixels,
        n_points: int,
        seed: int,
    ) -> None:
        device = module.latents.device
        low, high = torch.tensor(box.astype(np.float32), device=device).unbind(1)
        shape = torch.tensor(cells.shape, device=device)
        carved_cells = torch.tensor(cells.reshape(-1), device=device)
        thickness = torch.where(carved_cells, FIRST_THICKNESS, 0.0)
        self.space = Space(low, high, float((high - low).norm()) / n_samples, shape, thickness)
        self.empty = self._left_out()
        self.module, self.pixels, self.test, self.n_points, self.seed = module, pixels, test, n_points, seed
        self.prepared: tuple[Samples, Points, Points] | None = None
        self.n_rays = min(FIRST_RAYS, len(pixels))
        drawn = self._generator(-1)
        self.validated, self.tested = (
            torch.randint(len(these), (N_VALIDATION,), generator=drawn).to(device) for these in (pixels, test)
        )

    @classmethod
    def of(
        cls,
        box: Doubles,
        n_samples: int,
        cells: Cells,
        train: Views,
        test: Views,
        n_points: int,
        seed: int,
        module: GridModule,
    ) -> Objective:
        """The objective for a module, whose weights it starts."""
        _start(module)
        device = module.latents.device
        pixels = Pixels(train, device)
        own = cls(
            module, box, n_samples, cells, pixels, pixels if test is train else Pixels(test, device), n_points, seed
        )
        return Objective(own.distortion, own.validation, len(pixels), own.quality)

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

    def validation(self, evaluate: EvaluatePoints) -> Values:
        """Prepared until the estimate changes: a search of the networks' steps asks hundreds of times."""
        if self.prepared is None:
            samples = self._middle(self.pixels, self.validated)
            empty = self._empty_points(self._generator(-1), N_EMPTY_VALIDATED)
            self.prepared = samples, self.module.points(samples.coords), self.module.points(empty)
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


@torch.no_grad()
def _start(module: GridModule) -> None:
    """Latents and densities of the right size, and none of the density from the direction."""
    module.latents.mul_(LATENT_GAIN)
    first = module.get_parameter("layers.0.weight")
    is_feature = torch.ones_like(first)
    is_feature[:, -DENSITY:] = 0.0
    first.mul_(is_feature)
    first.register_hook(lambda gradient: gradient * is_feature)  # type: ignore[no-untyped-call]
    index = next(layer.index for layer in module.network.layers if layer.record.is_output)
    module.get_parameter(f"layers.{index}.weight").mul_(DENSITY_GAIN)
    module.get_parameter(f"layers.{index}.bias").fill_(FIRST_DENSITY)


def finished(field: Field, sight: Sight) -> Field:
    """The file with densities cut off at zero and with the keys of META."""
    records = tuple(
        replace(record, kind=RecordKind.RELU) if isinstance(record, LayerRecord) and record.is_output else record
        for record in field.header.network.records
    )
    header = replace(field.header, network=replace(field.header.network, records=records))
    data = build_file(build_head(header), _passes(field.data))
    return sinrfmt.loads(with_meta(data, sight.meta()))


def _passes(data: bytes) -> list[tuple[ChunkKind, bytes]]:
    """The PASS chunks of a file of one pass."""
    reader = ChunkReader()
    reader.feed(data)
    found: list[tuple[ChunkKind, bytes]] = []
    while (chunk := reader.next_chunk(passes_complete=bool(found))) is not None:
        if chunk.kind is ChunkKind.PASS:
            found.append((ChunkKind.PASS, bytes(chunk.payload)))
    return found


def field_renderer(field: Field, *, device: str = "auto") -> See:
    """What renders a decoded file with torch: a camera -> float32 (rows, columns, 4), as ``sinrfmt.render.render``.

    Raises:
        UsageError: not a radiance field, or one in parts.
    """
    where = device_of(device)
    box, sight = box_of(field.header), sight_of(field.meta)
    if field.header.network.latents is None:
        return renderer_of(to_module(field).to(where), box, sight, where)
    module = GridModule.of_field(field).to(where)
    return renderer_of(partial(module, module.latents), box, sight, where)


def renderer_of(evaluate: Evaluate, box: Doubles, sight: Sight, device: torch.device) -> See:
    """What renders a function of coordinates: a camera -> float32 (rows, columns, 4)."""

    @torch.no_grad()
    def sample(coords: Floats) -> Floats:
        values: Floats = evaluate(torch.from_numpy(coords).to(device)).cpu().numpy()
        return values

    return partial(render, evaluate, space_of(scenery(sample, box, sight.n_samples), device))


def scene_psnr(field: Field, views: Views, *, device: str = "auto") -> float:
    """Mean of the PSNR of views rendered from a file, 8 bits a sample, in dB."""
    return views_psnr(field_renderer(field, device=device), sight_of(field.meta), views)


def views_psnr(see: See, sight: Sight, views: Views) -> float:
    """Mean of the PSNR of views, 8 bits a sample in front of the background, in dB."""
    found = []
    for camera, picture in zip(views.cameras, views.pictures, strict=True):
        rgba = straight_rgba(picture)
        wanted = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], axis=2)
        first, second = (
            to_uint8(ValueRange.UNIT, on_background(one, sight.background)) for one in (wanted, see(camera))
        )
        found.append(psnr(first, second))
    return float(np.mean(found))
