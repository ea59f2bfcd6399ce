"""Meshes to files: a network of sines or a grid of latents learns signed distances or occupancy.

What counts is where the surface is. A distance is seen twice: bent by tanh at a fiftieth of half the box, beyond which
an error does not move the surface, and relative to the distance, so that far away it still is one. Occupancy is the
bent distance as a probability. Curvature and rounding see what the training sees. Nothing here is normative.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

import sinrfmt
from sinrfmt.edit import meta_bytes, with_meta
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import Header, lowest_level
from sinrfmt.media.distances import Surface, points_around
from sinrfmt.media.mesh import Mesh, placement_of
from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode
from sinrfmt.pictures import FieldKind
from sinrfmt.registry import Coding, Modality, RecordKind
from sinrfmt.registry import Values as Range
from sinrfmt.shapes import iou_decibels, iou_with
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, build, device_of
from sinrfmt.torch.fit import PROGRESS_INTERVAL, Progress, descend, outputs
from sinrfmt.torch.grid_module import GridModule
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.point_files import encode_objective, grid_header, point_preset_of
from sinrfmt.torch.point_fit import Evaluate, Objective
from sinrfmt.torch.point_recipes import point_network
from sinrfmt.torch.presets import Preset, largest_network, preset_of
from sinrfmt.torch.rate import start_knob
from sinrfmt.torch.search import Goal, Problem, Work, one_thread, search_codes, tool_of, with_tool, without_unused_prior
from sinrfmt.torch.sensitivity import curvature_of
from sinrfmt.torch.sizes import Sizes, encode_for_bytes, encode_for_quality
from sinrfmt.torch.views import View, seen

Floats = NDArray[np.float32]

BEND = 0.02
"""Distance, in half sides of the box, at which tanh bends. Twice as much loses 0.1 % of IoU at 2.5 kB."""
FAR_WEIGHT = 0.3
"""Of the squared relative error of a distance. A tenth gains 0.1 % of IoU, and distances are off by a third."""
DEPTH, OMEGA, LEARNING_RATE = 4, 20.0, 1e-2
MIN_WIDTH, MAX_WIDTH = 6, 256
N_POINTS = {"fast": 1 << 16, "balanced": 1 << 18, "best": 1 << 19}
N_CODING_POINTS = 1 << 15
"""Points that quality is measured on while integers are chosen."""
STEP_SHARE = 0.5
"""Of the steps of a preset for pictures."""
BATCH_SIZE, GPU_BATCH_SIZE = 4096, 32768
BITS = 6.0
"""Of a weight, at which the size of the network is right."""
DEFAULT_BYTES = 8000
SIZES = Sizes(first=4000, least=400, most=200_000, db_per_octave=6.0, close=0.8)
GRID_PRESET = "shape"


class ShapePreset(StrEnum):
    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


@dataclass(frozen=True)
class ShapeOptions:
    """What the file of a shape is to be.

    Attributes:
        modality: SDF or OCCUPANCY.
        field: MLP or GRID; AUTO takes the network.
        preset: how much work to do.
        max_bytes: size of the file at most.
        min_iou: IoU at least.
        min_snr: power of the distances over that of their errors, at the points of the training, in dB; SDF only. At
            most one of the three; 8000 bytes where none is given.
        rate_weight: of latents, lambda; None for that of the preset.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.

    Raises:
        UsageError: options that do not go together.
    """

    modality: Modality = Modality.SDF
    field: FieldKind = FieldKind.AUTO
    preset: ShapePreset = ShapePreset.BALANCED
    max_bytes: int | None = None
    min_iou: float | None = None
    min_snr: float | None = None
    rate_weight: float | None = None
    seed: int = 0
    device: str = "auto"

    @property
    def chosen_field(self) -> FieldKind:
        """MLP or GRID."""
        return FieldKind.GRID if self.field is FieldKind.GRID else FieldKind.MLP

    def __post_init__(self) -> None:
        targets = (self.max_bytes, self.min_iou, self.min_snr)
        if sum(target is not None for target in targets) > 1:
            raise error("USAGE", "of bytes, IoU and SNR at most one is asked for")
        if self.min_snr is not None and self.modality is not Modality.SDF:
            raise error("USAGE", "occupancy has no distances, and so no SNR")
        if self.min_iou is not None and not 0 < self.min_iou < 1:
            raise error("USAGE", f"an IoU is between 0 and 1, found {self.min_iou:g}")


@dataclass(frozen=True)
class ShapeSamples:
    """A shape in the box, and points to learn it at.

    Attributes:
        surface: the mesh in the box.
        coords: float32 (n, 3).
        distances: float32 (n,), negative inside.
        modality: what a field of it says.
    """

    surface: Surface
    coords: Floats
    distances: Floats
    modality: Modality

    @property
    def n(self) -> int:
        return len(self.distances)

    def view(self, device: torch.device) -> View:
        """What counts of a field's values at these points."""
        if self.modality is Modality.OCCUPANCY:
            return View(lambda _, values: values)
        scales = torch.from_numpy(_far_scales(self.distances)).to(device)

        def see(indices: NDArray[np.int64], values: Values) -> Values:
            far = scales[torch.from_numpy(indices).to(device)][:, None]
            return torch.cat([torch.tanh(values / BEND), values * far], dim=1)

        return View(see, channels=2)

    @property
    def wanted(self) -> Floats:
        """What should be seen, float32 (n, channels seen)."""
        bent = np.tanh(self.distances / BEND)
        if self.modality is Modality.OCCUPANCY:
            return np.asarray((1 - bent) / 2, dtype=np.float32)[:, None]
        return np.stack([bent, self.distances * _far_scales(self.distances)], axis=1)

    def some(self, n: int, seed: int) -> "ShapeSamples":
        """So many of them at most."""
        chosen = np.random.default_rng(seed).permutation(self.n)[:n]
        return replace(self, coords=self.coords[chosen], distances=self.distances[chosen])

    def snr(self, field: Field) -> float:
        """Power of the distances over that of their errors, in dB."""
        error = field.sample(self.coords)[:, 0].astype(np.float64) - self.distances
        return 10 * math.log10(float(np.sum(self.distances.astype(np.float64) ** 2) / np.sum(error**2)))


def _far_scales(distances: Floats) -> Floats:
    scales: Floats = (math.sqrt(FAR_WEIGHT) / (np.abs(distances) + BEND)).astype(np.float32)
    return scales


def shape_samples(mesh: Mesh, options: ShapeOptions) -> ShapeSamples:
    """Place a mesh in the box and take its distances at points most of which are near its surface."""
    surface = Surface(placement_of(mesh).into_box(mesh))
    rng = np.random.default_rng(options.seed)
    points = points_around(surface, N_POINTS[options.preset], rng).astype(np.float32)
    distances = surface.signed_distances(points.astype(np.float64)).astype(np.float32)
    return ShapeSamples(surface, points, distances, options.modality)


def encode_shape(
    mesh: Mesh, options: ShapeOptions, *, samples: ShapeSamples | None = None, on_progress: StageProgress | None = None
) -> Encoding:
    """Fit a field to a mesh and write it as a file, with the mesh's place and scale in META.

    Args:
        mesh: in its own coordinates.
        options: what the file is to be.
        samples: of this mesh, where there are some already.
        on_progress: called with (stage, done, in all, dB): of what counts, see ``ShapeSamples.view``.

    Returns:
        the file; ``psnr`` is the SNR of the distances for SDF, and -20 log10(1 - IoU) for OCCUPANCY.

    Raises:
        UsageError: the target cannot be reached.
    """
    if samples is None:
        samples = shape_samples(mesh, options)
    meta = placement_of(mesh).meta
    job = _Job(samples, options, preset_of(options.preset), meta, device_of(options.device), on_progress)
    encode = {FieldKind.GRID: _encode_grid, FieldKind.MLP: _encode_mlp}[options.chosen_field]
    return encode(job)


@dataclass(frozen=True)
class _Job:
    samples: ShapeSamples
    options: ShapeOptions
    preset: Preset
    meta: dict[str, str]
    device: torch.device
    on_progress: StageProgress | None

    def stage(self, name: str) -> Progress | None:
        return partial(self.on_progress, name) if self.on_progress else None

    @property
    def is_distance(self) -> bool:
        return self.options.modality is Modality.SDF

    @property
    def value_range(self) -> Range:
        return Range.RAW if self.is_distance else Range.UNIT

    @property
    def last(self) -> LayerRecord:
        return LayerRecord(RecordKind.LINEAR if self.is_distance else RecordKind.SIGMOID, 1)

    def built(self, network: Network, codes: Sequence[TensorCode]) -> bytes:
        """The file without META."""
        header = Header(network, self.options.modality, values=self.value_range, seed=self.options.seed)
        return build(replace(header, level=lowest_level(network, ())), codes, Coding.RANS)

    def finished(self, data: bytes) -> Field:
        return sinrfmt.loads(with_meta(data, self.meta))

    def target(self) -> tuple[Callable[[Field], float], float] | None:
        """The quality that is asked for: its measure and its least value, in dB."""
        if self.options.min_iou is not None:
            return self.iou_quality, iou_decibels(self.options.min_iou)
        return None if self.options.min_snr is None else (self.samples.snr, self.options.min_snr)

    def iou_quality(self, field: Field) -> float:
        return iou_decibels(iou_with(field, self.samples.surface))

    def announced(self, field: Field) -> float:
        return self.samples.snr(field) if self.is_distance else self.iou_quality(field)

    def body_bytes(self, max_bytes: int) -> int:
        """What META leaves of a budget."""
        return max_bytes - meta_bytes(self.meta)


# --- networks ---------------------------------------------------------------------------------------------------------


def _encode_mlp(job: _Job) -> Encoding:
    target = job.target()
    if target is None:
        return _encode_for_bytes(job, job.options.max_bytes or DEFAULT_BYTES)
    measure, least = target
    return encode_for_quality(partial(_encode_for_bytes, job), lambda made: measure(made.field), least, SIZES)


def _encode_for_bytes(job: _Job, max_bytes: int) -> Encoding:
    network_of = partial(_network, last=job.last)
    return encode_for_bytes(partial(_encode_network, job), network_of, job.built, job.body_bytes(max_bytes))


def _encode_network(job: _Job, network: Network, budget: int) -> Encoding | None:
    with one_thread(network.layers[0].weight_shape[0] <= 64):
        module = FieldModule(network, seed=job.options.seed).to(job.device)
        _fit(job, module)
        return _quantised(job, module, budget)


def _network(n_bytes: int, last: LayerRecord) -> Network:
    def of_width(width: int) -> Network:
        hidden = LayerRecord(RecordKind.SINE, width, repeat=DEPTH, omega=OMEGA, prior=True)
        return Network(3, 1, (hidden, last))

    return largest_network([of_width(width) for width in range(MIN_WIDTH, MAX_WIDTH + 1)], BITS, n_bytes)


def _fit(job: _Job, module: FieldModule) -> None:
    """Train in place for what is seen."""
    samples, device = job.samples, job.device
    view, wanted = samples.view(device), torch.from_numpy(samples.wanted).to(device)
    coords = torch.from_numpy(samples.coords).to(device)
    n_steps = max(1, round(STEP_SHARE * job.preset.n_steps))
    batch_size = min(samples.n, BATCH_SIZE if device.type == "cpu" else GPU_BATCH_SIZE)
    orders = np.random.default_rng(job.options.seed)
    n_batches = samples.n // batch_size
    order = np.arange(samples.n)

    def loss_of(step: int) -> Values:
        nonlocal order
        if step % n_batches == 0:
            order = orders.permutation(samples.n)
        chosen = order[step % n_batches * batch_size :][:batch_size]
        index = torch.from_numpy(chosen).to(device)
        return torch.nn.functional.mse_loss(view.see(chosen, module(coords[index])), wanted[index])

    progress = job.stage("fit")
    for done, loss in descend(module, loss_of, n_steps, LEARNING_RATE):
        if progress and (done % PROGRESS_INTERVAL == 0 or done == n_steps):
            progress(done, n_steps, -10 * math.log10(loss.item()))


def _quantised(job: _Job, module: FieldModule, max_bytes: int) -> Encoding | None:
    """The file of a trained network in a budget without META; None if no step of its weights is coarse enough."""
    seed, preset, device = job.options.seed, job.preset, job.device
    some = job.samples.some(N_CODING_POINTS, seed)
    view, wanted = some.view(device), some.wanted

    def quality(found: Floats) -> float:
        return -10 * math.log10(float(np.mean((found.astype(np.float64) - wanted) ** 2)))

    curvature = curvature_of(
        module,
        some.coords,
        n_samples=preset.curvature_samples,
        block_limit=preset.feedback_limit,
        seed=seed,
        device=device,
        view=view,
    )
    float_quality = quality(seen(module, some.coords, view, device=device))
    problem = Problem(
        module,
        curvature,
        some.coords,
        wanted,
        quality,
        lambda network, codes, _: len(job.built(network, codes)),
        Work(preset.n_trials, preset.n_refit_trials, preset.n_refits),
        seed,
        device,
        job.stage("quantise"),
        view,
    )
    knob = start_knob(float_quality, 0.3, 1.0, module.network.n_parameters)
    trial = search_codes(problem, Goal(max_bytes=max_bytes), knob)
    if trial is None:
        return None
    network = with_tool(module.network, tool_of(trial.codes))
    field = job.finished(job.built(*without_unused_prior(network, trial.codes)))
    return Encoding(field, job.announced(field), _float_quality(job, module), module.arrays())


def _float_quality(job: _Job, module: FieldModule) -> float:
    """SNR of the network before quantisation; of occupancy, the ratio of what is seen."""
    found = outputs(module, job.samples.coords, device=job.device).astype(np.float64)
    wanted = job.samples.distances[:, None] if job.is_distance else job.samples.wanted
    return 10 * math.log10(float(np.sum(wanted.astype(np.float64) ** 2) / np.sum((found - wanted) ** 2)))


# --- grids ------------------------------------------------------------------------------------------------------------


def _encode_grid(job: _Job) -> Encoding:
    recipe = point_preset_of(GRID_PRESET)
    if job.options.rate_weight is not None:
        recipe = replace(recipe, rate_weight=job.options.rate_weight)
    network = point_network(recipe, 3, 1)
    network = replace(network, records=(*network.records[:-1], job.last))
    header = grid_header(Header(network, job.options.modality, values=job.value_range, seed=job.options.seed))
    target = job.target()
    measure, least = (job.announced, None) if target is None else target
    max_bytes = job.options.max_bytes
    encoding = encode_objective(
        header,
        partial(_objective, job, recipe.batch_size),
        recipe,
        measure=measure,
        max_bytes=None if max_bytes is None else job.body_bytes(max_bytes),
        min_psnr=least,
        seed=job.options.seed,
        device=job.options.device,
        on_progress=job.on_progress,
    )
    field = job.finished(encoding.field.data)
    return replace(encoding, field=field, psnr=job.announced(field))


def _objective(job: _Job, batch_size: int, module: GridModule) -> Objective:
    """What is seen of a grid's values, in batches; validated on some fixed points."""
    samples, device = job.samples, job.device
    view, wanted = samples.view(device), torch.from_numpy(samples.wanted).to(device)
    coords = torch.from_numpy(samples.coords).to(device)
    fixed = np.random.default_rng(job.options.seed).permutation(samples.n)[: N_CODING_POINTS // 2]
    fixed_points, fixed_wanted = module.points(coords[fixed]), wanted[fixed]

    def distortion(evaluate: Evaluate, step: int) -> Values:
        chosen = np.random.default_rng([job.options.seed, step]).integers(samples.n, size=batch_size)
        found = view.see(chosen, evaluate(coords[chosen]))
        return (found - wanted[chosen]).square().mean()

    def validation(evaluate: Evaluate) -> Values:
        return (view.see(fixed, evaluate(fixed_points)) - fixed_wanted).square().mean()

    return Objective(distortion, validation, n_positions=samples.n)
