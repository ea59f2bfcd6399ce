"""Views of a scene to a file: a latent grid over positions, trained on rays with lambda * rate, or a network alone.

Density is that of the position alone: of a grid, the weights that would bring the direction to it are kept zero; a
network is that of NeRF (Mildenhall et al., "NeRF: representing scenes as neural radiance fields for view synthesis",
2020), smaller. Specification: clauses 6.1 (RADIANCE), 9.6.1, 12.2, 16.2.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.container import ChunkReader, build_file
from sinrfmt.edit import meta_bytes, with_meta
from sinrfmt.evaluate import to_uint8
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import Header, build_head
from sinrfmt.media.scene import Camera, Doubles, Scene, Views, straight_rgba
from sinrfmt.metrics import psnr
from sinrfmt.network import FourierEncoding, GridEncoding, InputRecord, LayerRecord, Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import ChunkKind, Coding, RecordKind
from sinrfmt.registry import Values as ValueRange
from sinrfmt.render import CHANNELS, DENSITY, RAY_AXES, Sight, box_of, on_background, scenery, sight_of
from sinrfmt.torch.compress import WeightTarget, compressed_for
from sinrfmt.torch.convert import to_module
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, build, device_of
from sinrfmt.torch.fit import PROGRESS_INTERVAL, descend
from sinrfmt.torch.grid_module import GridModule
from sinrfmt.torch.marching import Evaluate, render, space_of
from sinrfmt.torch.modules import FieldModule, StepsModule
from sinrfmt.torch.point_files import Uncompressed, encode_objective, point_preset_of, uncompressed_grid
from sinrfmt.torch.point_fit import Objective
from sinrfmt.torch.point_recipes import PointPreset, level_resolutions
from sinrfmt.torch.presets import Preset, largest_network
from sinrfmt.torch.ray_objective import RayObjective, Stage
from sinrfmt.torch.search import one_thread
from sinrfmt.torch.sizes import Sizes, encode_for_bytes, encode_for_quality
from sinrfmt.torch.space import cells_of

Floats = NDArray[np.float32]
See = Callable[[Camera], Floats]

DIRECTION_OCTAVES = 2
LATENT_GAIN = 20.0
"""Of the first latents: without a rate, and so without its noise, features of a thousandth would hold the start up."""
DENSITY_GAIN, FIRST_DENSITY = 20.0, 2.0
"""Of the first weights and bias of the density: a surface needs densities of tens in a box of a few units."""
DEPTH, LEARNING_RATE = 4, 1.5e-2
"""Of networks: hidden layers before the density."""
FINEST = 150.0
"""Phase in radians of the finest Fourier features at the ends of the box, from its middle; 40 lose 0.3 dB."""
MOST_OCTAVES = 16
BATCH_SIZE = 16000
"""Samples on rays that a step of a network has."""
BITS = 4.5
"""Of a weight, at which the size of the network is right."""
WIDTHS = range(8, 257, 4)
DEFAULT_BYTES = 20_000
SIZES = Sizes(first=20_000, least=1000, most=400_000, db_per_octave=1.5, close=0.3)


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
        stage: the scene.
    """

    header: Header
    objective: Callable[[GridModule], Objective]
    recipe: PointPreset
    stage: Stage


def encode_scene(
    scene: Scene,
    *,
    preset: str | Preset | PointPreset = "radiance",
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
        preset: ``radiance``, or a recipe in figures; its ``batch_size`` counts samples on rays. A ``Preset`` of
            networks has one without latents hold the scene.
        rate_weight: of a grid, lambda in place of the preset's; where there is a target, the first one tried.
        max_bytes: size of the file at most; of a network, 20,000 bytes where there is no target.
        min_psnr: PSNR at least, in dB, of rays of the test views (of the others without them).
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, PSNR in dB).

    Raises:
        UsageError: the target cannot be reached, or the arguments do not fit.
    """
    if isinstance(preset, Preset):
        if rate_weight is not None:
            raise error("USAGE", "a rate weight is that of a grid")
        stage = Stage.of(scene)
        job = _NetworkJob(stage, preset, seed, device_of(device), on_progress)
        encoding = job.run(max_bytes, min_psnr)
    else:
        prepared = prepare(scene, preset, seed=seed)
        stage = prepared.stage
        recipe = prepared.recipe if rate_weight is None else replace(prepared.recipe, rate_weight=rate_weight)
        encoding = encode_objective(
            prepared.header,
            prepared.objective,
            recipe,
            max_bytes=None if max_bytes is None else max_bytes - meta_bytes(stage.sight.meta()),
            min_psnr=min_psnr,
            seed=seed,
            device=device,
            on_progress=on_progress,
        )
        encoding = replace(encoding, field=finished(encoding.field, stage.sight))
    return SceneEncoding(encoding, scene_psnr(encoding.field, stage.test, device=device))


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
    stage = prepared.stage
    see = renderer_of(evaluate, stage.box, stage.sight, device_of(device))
    return result, views_psnr(see, stage.sight, stage.test)


def prepare(scene: Scene, preset: str | PointPreset, *, seed: int) -> Prepared:
    """Look for the box of a scene, and make the network and the objective."""
    recipe, stage = point_preset_of(preset), Stage.of(scene)
    header = stage.header(scene_network(recipe, stage.box))
    return Prepared(header, partial(_grid_objective, stage, recipe.batch_size, seed), recipe, stage)


def scene_network(recipe: PointPreset, box: Doubles) -> Network:
    """The network of a recipe: a layer or more, density, then the direction and a layer for the colour."""
    cube = replace(recipe, last_share=1.0)
    encoding = GridEncoding(
        level_resolutions(cube, 3, cells_of(box, recipe.last_resolution)),
        latent_dim=recipe.latent_dim,
        feature_dim=recipe.feature_dim,
        log2_table_size=recipe.log2_table_size,
    )
    hidden = LayerRecord(RecordKind.RELU, recipe.width, repeat=max(1, recipe.depth - 1))
    return Network(RAY_AXES, CHANNELS, (hidden, *_density_and_colour(recipe.width)), encoding)


def _density_and_colour(width: int) -> tuple[LayerRecord | InputRecord, ...]:
    """The density, then the direction and a layer for the colour."""
    return (
        LayerRecord(RecordKind.LINEAR, 1, is_output=True),
        InputRecord(3, 3, FourierEncoding(DIRECTION_OCTAVES, include_input=True)),
        LayerRecord(RecordKind.RELU, width),
        LayerRecord(RecordKind.SIGMOID, DENSITY),
    )


def _grid_objective(stage: Stage, n_points: int, seed: int, module: GridModule) -> Objective:
    """The objective for a module, whose weights it starts."""
    _start(module)
    own = RayObjective(stage, n_points, seed, module.latents.device, module.points)
    return Objective(own.distortion, own.validation, len(own.pixels), own.quality)


@torch.no_grad()
def _start(module: GridModule) -> None:
    """Latents and densities of the right size, and none of the density from the direction."""
    module.latents.mul_(LATENT_GAIN)
    first = module.get_parameter("layers.0.weight")
    is_feature = torch.ones_like(first)
    is_feature[:, -DENSITY:] = 0.0
    first.mul_(is_feature)
    first.register_hook(lambda gradient: gradient * is_feature)  # type: ignore[no-untyped-call]
    _start_density(module)


@torch.no_grad()
def _start_density(module: StepsModule) -> None:
    index = next(layer.index for layer in module.network.layers if layer.record.is_output)
    module.get_parameter(f"layers.{index}.weight").mul_(DENSITY_GAIN)
    module.get_parameter(f"layers.{index}.bias").fill_(FIRST_DENSITY)


# --- networks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _NetworkJob:
    """What every network for a scene shares."""

    stage: Stage
    preset: Preset
    seed: int
    device: torch.device
    on_progress: StageProgress | None

    def run(self, max_bytes: int | None, min_psnr: float | None) -> Encoding:
        """The file for a target."""
        if max_bytes is not None and min_psnr is not None:
            raise error("USAGE", "of bytes and PSNR at most one is asked for")
        if min_psnr is None:
            return self.for_bytes(DEFAULT_BYTES if max_bytes is None else max_bytes)
        return encode_for_quality(self.for_bytes, lambda encoding: encoding.psnr, min_psnr, SIZES)

    def for_bytes(self, max_bytes: int) -> Encoding:
        """The file of a network of the right size for a budget."""
        budget = max_bytes - meta_bytes(self.stage.sight.meta())
        return encode_for_bytes(self._encoded, self._network, self._built, budget)

    def _built(self, network: Network, codes: Sequence[TensorCode]) -> bytes:
        return build(self.stage.header(network), codes, Coding.RANS)

    def _network(self, n_bytes: int) -> Network:
        return largest_network([ray_network(width, self.stage.box) for width in WIDTHS], BITS, n_bytes)

    def _encoded(self, network: Network, budget: int) -> Encoding | None:
        """The file of a network in a budget without META; None if no step of its weights is coarse enough."""
        module = FieldModule(network, seed=self.seed).to(self.device)
        objective = RayObjective(self.stage, BATCH_SIZE, self.seed, self.device)
        with one_thread(network.widest <= 64):
            self._fit(module, objective)
            found = compressed_for(
                module,
                replace(self.stage.header(network), seed=self.seed),
                WeightTarget(max_bytes=budget),
                preset=self.preset,
                seed=self.seed,
                device=str(self.device),
                on_progress=self.on_progress,
            )
        if found is None:
            return None
        field = finished(sinrfmt.loads(found.data), self.stage.sight)
        quality = torch.no_grad()(objective.quality)
        return Encoding(field, quality(to_module(field).to(self.device)), quality(module), module.arrays())

    def _fit(self, module: FieldModule, objective: RayObjective) -> None:
        """Train in place."""
        _start_density(module)
        n_steps = self.preset.n_steps
        for done, _ in descend(module, partial(objective.distortion, module), n_steps, LEARNING_RATE):
            if self.on_progress and (done % PROGRESS_INTERVAL == 0 or done == n_steps):
                with torch.no_grad():
                    self.on_progress("fit", done, n_steps, objective.quality(module))


def ray_network(width: int, box: Doubles) -> Network:
    """The network of a width: Fourier features of the position as fine as the box asks for, layers, density, colour."""
    half_side = 0.5 * float((box[:, 1] - box[:, 0]).max())
    octaves = 1 + min(max(round(math.log2(FINEST / half_side)), 0), MOST_OCTAVES - 1)
    features = InputRecord(0, 3, FourierEncoding(octaves, include_input=True, times_pi=False))
    hidden = LayerRecord(RecordKind.RELU, width, repeat=DEPTH)
    return Network(RAY_AXES, CHANNELS, (features, hidden, *_density_and_colour(max(8, width // 2))))


# --- files and what they show -----------------------------------------------------------------------------------------


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
