"""Samples to files as latents: the network for a preset, training, integers, bytes.

Specification: clauses 9.6, 10.6, 16.5 and 16.6. Everything that is written is parsed back before it is
given to the caller.
"""

import copy
import math
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.resources import files
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.grids import Frame
from sinrfmt.head import Header, lowest_level
from sinrfmt.metrics import Samples
from sinrfmt.network import LayerRecord, Network, PyramidEncoding, Tensor, TensorRole
from sinrfmt.payload import TensorCode
from sinrfmt.registry import ContextId, Coords, Modality, RecordKind, Values
from sinrfmt.tables import UNIT_STEP
from sinrfmt.torch.clip_grid import ClipGrid
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, device_of, one_thread_if_small
from sinrfmt.torch.fit import Progress
from sinrfmt.torch.grid_fit import GridFit, GridFitOptions, fit_pyramid, new_pyramid
from sinrfmt.torch.grid_module import GridModule
from sinrfmt.torch.grid_passes import Passes, budget_of, build_levels, check_passes, check_sizes, trained_prefixes
from sinrfmt.torch.mosaic import mosaic_of, trained_on_mosaic
from sinrfmt.torch.point_fit import fit_objective, sampled_objective
from sinrfmt.torch.point_recipes import PointPreset, point_network
from sinrfmt.torch.pyramid import PyramidModule
from sinrfmt.torch.signals import grid_coords
from sinrfmt.torch.weight_steps import integers
from sinrfmt.weights import nearest_step_code

Floats = NDArray[np.float32]

MAX_LEVELS = 7
FEWEST_LEVELS = 3
FILTER_NUMBERS = 4
CONTEXT_WIDTHS = range(4, 65, 4)
"""Hidden values of a context network that a PYRAMID record can have."""
# A search for a size or a quality: exponent of bytes over lambda, decibels that an octave of lambda costs.
BYTES_EXPONENT = -0.6
PSNR_PER_OCTAVE = -1.1
MAX_TRAININGS = 4
PREFIX_WARM_SHARE = 0.3
"""Of a training with prefixes: see ``GridFitOptions``."""
AGAIN_STEPS, AGAIN_OCTAVES = 0.5, 1.0
"""A pyramid starts from one whose lambda is at most so far away, with that share of the usual steps: from further away
latents that were worth their bits stay (docs/images.md)."""
SLOPE_FACTOR = 3.0
"""How much flatter than that a signal may be."""
MARGIN = 0.1
"""Least share of the interval between two trials on either side of the next one."""
CLOSE_BYTES = 0.97
CLOSE_PSNR = 0.15
RATE_WEIGHTS = (1e-6, 1.0)
"""Least and largest lambda that a search tries."""


@dataclass(frozen=True)
class PyramidPreset:
    """A recipe for pyramids.

    Attributes:
        name: of the preset.
        n_steps: optimiser steps.
        rate_weight: lambda, what a bit per sample position adds to the mean squared error of values in [0, 1]; where a
            size or a quality is asked for, the first one tried.
        synthesis_width: of the hidden layer.
        n_lattice_filters: residual 3x3 filters behind it.
        context_width, context_hidden: of the context network.
        tile_steps: optimiser steps for the latents of a tile, where tiles share networks that have had ``n_steps``.
        tile_context_width: of the context network that tiles share; None for ``context_width``.
        mosaic_steps: optimiser steps of the networks on pieces of a picture, before those of the whole.
    """

    name: str
    n_steps: int
    rate_weight: float
    synthesis_width: int
    n_lattice_filters: int
    context_width: int
    context_hidden: int
    tile_steps: int = 200
    tile_context_width: int | None = None
    mosaic_steps: int = 0


GridPreset = PyramidPreset | PointPreset


@cache
def grid_presets() -> dict[str, GridPreset]:
    """All presets by name."""
    table = tomllib.loads(files("sinrfmt.torch").joinpath("grid_presets.toml").read_text(encoding="utf-8"))
    return {name: _preset(name, fields) for name, fields in table.items()}


def _preset(name: str, fields: dict[str, Any]) -> GridPreset:
    if "synthesis_width" in fields:
        return PyramidPreset(name=name, **fields)
    arguments: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
    return PointPreset(name=name, **arguments)


def grid_preset_of(name: str) -> GridPreset:
    """The preset of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in grid_presets():
        raise error("USAGE", f"preset {name!r} of grids: expected one of {', '.join(grid_presets())}")
    return grid_presets()[name]


def encode_grid(
    picture: Samples,
    *,
    preset: str | GridPreset = "pyramid",
    context: ContextId = ContextId.INTERLACED,
    max_bytes: int | None = None,
    min_psnr: float | None = None,
    passes: int | Sequence[int | None] = 1,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Encoding:
    """Fit latents to a picture and write them as a file.

    Args:
        picture: uint8 or uint16 [rows, columns] or [rows, columns, channels], 1 to 4 channels.
        preset: ``pyramid``, or that with ``-fast``, ``-large`` or ``-best``, ``shacira``, or a recipe in figures, with
            its lambda.
        context: what predicts the latents of a pyramid.
        max_bytes: size of the file at most; lambda is searched.
        min_psnr: PSNR of the decoded samples at least, in dB. At most one of the two.
        passes: how many passes the file has, each of which ends with a level; or the bytes up to the end of every pass
            at most, None for the last one for as many as it takes. A number there stands for ``max_bytes``.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, PSNR in dB).

    Raises:
        UsageError: the target cannot be reached, or the arguments do not fit.
    """
    planned = passes if isinstance(passes, int) else tuple(passes)
    budget = budget_of(planned, max_bytes, min_psnr)
    recipe = grid_preset_of(preset) if isinstance(preset, str) else preset
    job = _Job(as_samples(picture), recipe, context, planned, seed, device_of(device), on_progress)
    check_passes(planned, job.n_levels)
    with one_thread_if_small(job.samples.shape[0] * job.samples.shape[1]):
        encoding = encode_for(job.run, recipe.rate_weight, max_bytes=budget, min_psnr=min_psnr)
    check_sizes(encoding.field, planned)
    return encoding


def encode_grids(
    picture: Samples,
    rate_weights: Sequence[float],
    *,
    preset: str | GridPreset = "pyramid",
    context: ContextId = ContextId.INTERLACED,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Iterator[Encoding]:
    """Files of one picture for one lambda after another; a pyramid starts from one that is trained, if it is near.

    Arguments and errors are those of ``encode_grid``. From small to large lambdas is the better order.
    """
    recipe = grid_preset_of(preset) if isinstance(preset, str) else preset
    job = _Job(as_samples(picture), recipe, context, 1, seed, device_of(device), on_progress)
    with one_thread_if_small(job.samples.shape[0] * job.samples.shape[1]):
        for rate_weight in rate_weights:
            yield job.run(rate_weight)


@dataclass(frozen=True)
class Verdict:
    """What a target makes of a file.

    Attributes:
        is_met, is_close: whether it meets the target, whether it is near.
        excess: what the logarithm of lambda brings to zero, and ``slope``, how much of it a unit does as a rule.
    """

    is_met: bool
    is_close: bool
    excess: float
    slope: float


Judge = Callable[[int, float], Verdict]
"""Of bytes, and PSNR in dB."""


def judge_of(max_bytes: int | None, min_psnr: float | None) -> Judge | None:
    """What says whether a file is as it was asked for; None where nothing was.

    Raises:
        UsageError: both.
    """
    if max_bytes is not None and min_psnr is not None:
        raise error("USAGE", "max_bytes and min_psnr exclude each other")
    if max_bytes is not None:
        return partial(_for_bytes, max_bytes)
    return None if min_psnr is None else partial(_for_psnr, min_psnr)


def _for_bytes(max_bytes: int, n_bytes: int, _: float) -> Verdict:
    share = n_bytes / max_bytes
    return Verdict(share <= 1.0, CLOSE_BYTES <= share <= 1.0, math.log(share / CLOSE_BYTES**0.5), BYTES_EXPONENT)


def _for_psnr(min_psnr: float, _: int, psnr: float) -> Verdict:
    excess = psnr - min_psnr
    is_close = 0.0 <= excess <= CLOSE_PSNR
    return Verdict(excess >= 0.0, is_close, excess - 0.5 * CLOSE_PSNR, PSNR_PER_OCTAVE / math.log(2.0))


class Made(Protocol):
    """A file, or what is expected of one."""

    @property
    def n_bytes(self) -> int: ...

    @property
    def psnr(self) -> float: ...


MadeT = TypeVar("MadeT", bound=Made)


@dataclass(frozen=True)
class Search(Generic[MadeT]):
    """What meets the target and is nearest to it, if anything does; the lambda to try next."""

    best: MadeT | None
    rate_weight: float


def search(run: Callable[[float], MadeT], rate_weight: float, judge: Judge) -> Search[MadeT]:
    """Train with lambda after lambda: by the usual slope, then by that of the last two."""
    best: tuple[float, MadeT] | None = None
    trials: list[tuple[float, Verdict]] = []
    for _ in range(MAX_TRAININGS):
        made = run(rate_weight)
        verdict = judge(made.n_bytes, made.psnr)
        distance = abs(verdict.excess)
        if verdict.is_met and (best is None or distance < best[0]):
            best = distance, made
        if verdict.is_close:
            break
        trials.append((math.log(rate_weight), verdict))
        rate_weight = min(max(math.exp(_next_log(trials)), RATE_WEIGHTS[0]), RATE_WEIGHTS[1])
    return Search(best and best[1], rate_weight)


def _next_log(trials: Sequence[tuple[float, Verdict]]) -> float:
    """Where the excess should be 0: between trials on both sides of it, or else by the flatter slope."""
    (x, last), slope = trials[-1], trials[-1][1].slope
    more = max(((at, v.excess) for at, v in trials if v.excess > 0.0), default=None)
    less = min(((at, v.excess) for at, v in trials if v.excess <= 0.0), default=None)
    if more is not None and less is not None and more[0] < less[0]:
        share = more[1] / (more[1] - less[1])
        return more[0] + min(max(share, MARGIN), 1.0 - MARGIN) * (less[0] - more[0])
    if len(trials) > 1 and trials[-2][0] != x:
        measured = (last.excess - trials[-2][1].excess) / (x - trials[-2][0])
        slope = min(max(measured, slope), slope / SLOPE_FACTOR)  # both are negative
    return x - last.excess / slope


def found(searched: Search[MadeT]) -> MadeT:
    """The best of a search.

    Raises:
        UsageError: nothing meets the target.
    """
    if searched.best is None:
        raise error("USAGE", f"the target was not reached in {MAX_TRAININGS} trainings")
    return searched.best


def encode_for(
    run: Callable[[float], Encoding], rate_weight: float, *, max_bytes: int | None, min_psnr: float | None
) -> Encoding:
    """Train with lambda after lambda until a file meets a target; without a target once.

    Args:
        run: trains with a lambda and writes.
        rate_weight: the first lambda.
        max_bytes: size of the file at most.
        min_psnr: its quality at least, in dB. At most one of the two.

    Raises:
        UsageError: the target was not reached, or there are two.
    """
    judge = judge_of(max_bytes, min_psnr)
    return run(rate_weight) if judge is None else found(search(run, rate_weight, judge))


@dataclass(frozen=True)
class _Job:
    """What every training of a picture shares. ``samples`` are uint8 or uint16 [rows, columns, channels]."""

    samples: Samples
    preset: GridPreset
    context: ContextId
    passes: Passes
    seed: int
    device: torch.device
    on_progress: StageProgress | None
    trained: dict[float, PyramidModule] = field(default_factory=dict)
    """Pyramids by their lambda: where the next training starts."""

    @property
    def grid(self) -> tuple[int, int]:
        return self.samples.shape[0], self.samples.shape[1]

    @property
    def n_levels(self) -> int:
        return self.preset.n_levels if isinstance(self.preset, PointPreset) else n_levels_of(self.grid)

    @property
    def progress(self) -> Progress | None:
        return partial(self.on_progress, "fit") if self.on_progress else None

    def quality(self, field: Field) -> float:
        """PSNR of a decoded field in dB."""
        return sample_psnr(self.samples, field.grid())

    def near(self, rate_weight: float) -> PyramidModule | None:
        """The pyramid that was trained with the nearest lambda, if that is near."""
        distances = {abs(math.log2(known / rate_weight)): module for known, module in self.trained.items()}
        return distances[min(distances)] if distances and min(distances) <= AGAIN_OCTAVES else None

    def run(self, rate_weight: float) -> Encoding:
        """Train, round and write."""
        target = torch.tensor(unit_values(self.samples), device=self.device)
        trained = _train_pyramid if isinstance(self.preset, PyramidPreset) else _train_points
        module, fitted = trained(self, target, rate_weight)
        header, codes = picture_header(module.network, self.grid), latent_codes(module, fitted)
        field = sinrfmt.loads(build_levels(header, codes, self.passes, self.quality))
        floats = _float_values(module, fitted.latents, self.grid)
        return Encoding(field, self.quality(field), sample_psnr(self.samples, floats), float_arrays(module))


@torch.no_grad()
def _float_values(module: PyramidModule | GridModule, latents: torch.Tensor, grid: tuple[int, int]) -> Floats:
    """Values float32 (rows * columns, channels) with networks that are not rounded."""
    values = module(latents).T if isinstance(module, PyramidModule) else module.values_at(latents, grid_coords(grid))
    array: Floats = values.cpu().numpy()
    return array


def _train_pyramid(job: _Job, values: torch.Tensor, rate_weight: float) -> tuple[PyramidModule, GridFit]:
    preset = job.preset
    assert isinstance(preset, PyramidPreset)
    options = GridFitOptions(preset.n_steps, rate_weight)
    prefixes = trained_prefixes(job.passes, job.n_levels)
    if prefixes:
        options = replace(options, prefixes=prefixes, warm_share=PREFIX_WARM_SHARE)
    known = job.near(rate_weight)
    if known is not None:
        module = copy.deepcopy(known)
        options = options.for_trained(max(1, round(AGAIN_STEPS * preset.n_steps)))
    else:
        module = _first_module(job, preset, values, replace(options, n_steps=preset.mosaic_steps))
        options = options.for_trained(preset.n_steps) if preset.mosaic_steps else options
    fitted = fit_pyramid(module, values, options, seed=job.seed, on_progress=job.progress)
    job.trained[rate_weight] = module
    return module, fitted


def _first_module(job: _Job, preset: PyramidPreset, values: torch.Tensor, options: GridFitOptions) -> PyramidModule:
    """A pyramid with initial values, or with networks that know a mosaic."""
    network = pyramid_network(job.grid, values.shape[0], preset, job.context)
    if not preset.mosaic_steps:
        return new_pyramid(network, values, options.rate_weight, seed=job.seed)
    mosaic = mosaic_of(job.samples)
    pieces = torch.tensor(unit_values(mosaic), device=job.device)
    progress = partial(job.on_progress, "mosaic") if job.on_progress else None
    return trained_on_mosaic(network, values, pieces, mosaic.shape[:2], options, seed=job.seed, on_progress=progress)


def _train_points(job: _Job, values: torch.Tensor, rate_weight: float) -> tuple[GridModule, GridFit]:
    preset = job.preset
    assert isinstance(preset, PointPreset)
    network = point_network(preset, 2, values.shape[0], grid=job.grid)
    module = GridModule(network, Frame(grid=job.grid), seed=job.seed).to(job.device)
    objective = sampled_objective(module, grid_coords(job.grid), values.T, batch_size=preset.batch_size, seed=job.seed)
    options = replace(preset, rate_weight=rate_weight)
    return module, fit_objective(module, objective, options, seed=job.seed, on_progress=job.progress)


def as_samples(picture: Samples) -> Samples:
    """A picture as samples [rows, columns, channels].

    Raises:
        UsageError: it is none.
    """
    if picture.dtype not in (np.uint8, np.uint16) or picture.ndim not in (2, 3) or picture.size == 0:
        raise error("USAGE", f"a picture is uint8 or uint16 (rows, columns[, channels]), found {picture.dtype}")
    return picture.reshape(*picture.shape[:2], -1)


def unit_values(samples: Samples) -> NDArray[np.float32]:
    """Values in [0, 1] of samples [rows, columns, channels]: float32 (channels, rows * columns)."""
    top = float(np.iinfo(samples.dtype).max)
    return (samples.reshape(-1, samples.shape[2]).T / top).astype(np.float32)


def sample_psnr(samples: Samples, values: NDArray[np.float32]) -> float:
    """PSNR in dB of values in [0, 1], rounded to the depth of the samples."""
    top = float(np.iinfo(samples.dtype).max)
    rounded = np.rint(np.clip(values.astype(np.float64), 0.0, 1.0) * top)
    mse = np.mean((rounded.reshape(-1) - samples.reshape(-1)) ** 2)
    return math.inf if mse == 0 else float(10.0 * np.log10(top * top / mse))


def n_levels_of(grid: tuple[int, int]) -> int:
    """Levels of a pyramid: the coarsest has about six samples on its short side; a small picture has three."""
    octaves = max(1, int(math.log2(min(grid))))
    return min(MAX_LEVELS, max(octaves - 2, min(octaves, FEWEST_LEVELS)))


def pyramid_network(grid: tuple[int, int], channels: int, preset: PyramidPreset, context: ContextId) -> Network:
    """The network of a preset for a picture.

    Raises:
        UsageError: a context network that a PYRAMID record cannot describe.
    """
    has_context = context is not ContextId.FACTORISED
    if has_context and preset.context_width not in CONTEXT_WIDTHS:
        raise error("USAGE", f"context_width = {preset.context_width}: expected a multiple of 4 up to 64")
    encoding = PyramidEncoding(
        grid,
        n_levels_of(grid),
        filter_numbers=FILTER_NUMBERS,
        context=context,
        context_width=preset.context_width if has_context else 4,
        context_hidden=preset.context_hidden if has_context else 0,
    )
    records = [
        LayerRecord(RecordKind.RELU, preset.synthesis_width),
        LayerRecord(RecordKind.LINEAR, channels),
        LayerRecord(RecordKind.CONV_RELU, channels, repeat=max(1, preset.n_lattice_filters - 1)),
        LayerRecord(RecordKind.CONV, channels),
    ]
    n_filters = preset.n_lattice_filters
    kept = [*records[:2], *(records[2:3] if n_filters > 1 else ()), *(records[3:] if n_filters else ())]
    return Network(2, channels, tuple(kept), encoding)


def picture_header(network: Network, grid: tuple[int, int]) -> Header:
    """HEAD of a one-pass picture in [0, 1]."""
    level = lowest_level(network, grid)
    return Header(network, Modality.IMAGE, grid=grid, coords=Coords.CENTRES, values=Values.UNIT, level=level)


def float_arrays(module: PyramidModule | GridModule) -> dict[str, NDArray[np.float32]]:
    """A float32 copy of every tensor but the latents, by name."""
    return {name: array.detach().cpu().numpy().copy() for name, array in module.arrays().items()}


def latent_codes(module: PyramidModule | GridModule | ClipGrid, fitted: GridFit) -> tuple[TensorCode, ...]:
    """The integers of trained latents and their networks, in table order."""
    arrays = module.arrays()
    latents = fitted.latents.to(torch.int32).cpu().numpy()
    parts = iter(np.split(latents, module.level_starts[1:-1]))

    def code(tensor: Tensor) -> TensorCode:
        if tensor.role is TensorRole.LATENT:
            return TensorCode(tensor, next(parts).reshape(-1), UNIT_STEP)
        step = fitted.steps[tensor.name]
        acc = integers(arrays[tensor.name], step).reshape(-1).astype(np.int32)
        return TensorCode(tensor, acc, nearest_step_code(step))

    return tuple(code(tensor) for tensor in module.network.tensors)
