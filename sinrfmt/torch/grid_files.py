"""Sampless to files as latents: the network for a preset, training, integers, bytes.

Specification: clauses 9.6, 10.6, 16.5 and 16.6. Everything that is written is parsed back before it is
given to the caller.
"""

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import Header, lowest_level
from sinrfmt.metrics import Samples
from sinrfmt.network import GridEncoding, LayerRecord, Network, PyramidEncoding, Tensor, TensorRole
from sinrfmt.payload import TensorCode
from sinrfmt.registry import ContextId, Coords, Modality, RecordKind, Values
from sinrfmt.tables import UNIT_STEP
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, device_of, one_thread_if_small
from sinrfmt.torch.fit import Progress
from sinrfmt.torch.grid_fit import GridFit, GridFitOptions, fit_pyramid
from sinrfmt.torch.grid_passes import Passes, budget_of, build_levels, check_passes, check_sizes, trained_prefixes
from sinrfmt.torch.pyramid import PyramidModule
from sinrfmt.torch.shacira import GridModule, ShaciraOptions, fit_shacira
from sinrfmt.torch.weight_steps import integers
from sinrfmt.weights import nearest_step_code

MAX_LEVELS = 7
FEWEST_LEVELS = 3
FILTER_NUMBERS = 4
# A search for a size or a quality: exponent of bytes over lambda, decibels that an octave of lambda costs.
BYTES_EXPONENT = -0.6
PSNR_PER_OCTAVE = -1.1
STEEPEST = 5.0
"""A measured slope counts as at least this part of the usual one."""
MAX_TRAININGS = 4
CLOSE_BYTES = 0.97
CLOSE_PSNR = 0.15
RATE_WEIGHTS = (1e-6, 1.0)
"""Least and largest lambda that a search tries."""
PUBLISHED_ENTROPY_WEIGHTS = (1e-3, 1e-4)
PUBLISHED_RATE_WEIGHT = 1e-3
"""What stands for them in the search of the networks' steps, which SHACIRA does not code."""


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
        prefix_share: see ``GridFitOptions``; for files of several passes.
        tile_steps: optimiser steps for the latents of a tile, where tiles share networks that have had ``n_steps``.
    """

    name: str
    n_steps: int
    rate_weight: float
    synthesis_width: int
    n_lattice_filters: int
    context_width: int
    context_hidden: int
    prefix_share: float
    tile_steps: int = 200


@dataclass(frozen=True)
class ShaciraPreset:
    """A recipe for SHACIRA.

    Attributes:
        name: of the preset.
        n_steps: optimiser steps.
        rate_weight: as for pyramids; the published entropy weights are those of 1e-3, and in proportion to it.
        n_levels: levels, from ``first_resolution`` to ``last_resolution`` vertices on an axis by one factor.
        first_resolution, last_resolution: see there.
        log2_table_size: of the most entries of a level.
        width, depth: of the hidden layers.
    """

    name: str
    n_steps: int
    rate_weight: float
    n_levels: int
    first_resolution: int
    last_resolution: int
    log2_table_size: int
    width: int
    depth: int


GridPreset = PyramidPreset | ShaciraPreset
_KINDS: dict[str, type[GridPreset]] = {"pyramid": PyramidPreset, "shacira": ShaciraPreset}


@cache
def grid_presets() -> dict[str, GridPreset]:
    """All presets by name."""
    table = tomllib.loads(files("sinrfmt.torch").joinpath("grid_presets.toml").read_text(encoding="utf-8"))
    return {name: _KINDS[name](name=name, **fields) for name, fields in table.items()}


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
        preset: ``pyramid`` or ``shacira``, or a recipe in figures, with its lambda.
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
    judge = judge_of(budget, min_psnr)
    with one_thread_if_small(job.samples.shape[0] * job.samples.shape[1]):
        encoding = job.run(recipe.rate_weight) if judge is None else found(search(job.run, recipe.rate_weight, judge))
    check_sizes(encoding.field, planned)
    return encoding


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
    """What meets the target with the largest or smallest lambda needed, if anything does; the lambda nearest to it."""

    best: MadeT | None
    rate_weight: float


def search(run: Callable[[float], MadeT], rate_weight: float, judge: Judge) -> Search[MadeT]:
    """Train with lambda after lambda: by the usual slope, then by that of the last two."""
    best: MadeT | None = None
    trials: list[tuple[float, Verdict]] = []
    for _ in range(MAX_TRAININGS):
        made = run(rate_weight)
        verdict = judge(made.n_bytes, made.psnr)
        if verdict.is_met and (best is None or verdict.is_close):
            best = made
        if verdict.is_close:
            break
        trials.append((math.log(rate_weight), verdict))
        rate_weight = min(max(math.exp(_next_log(trials)), RATE_WEIGHTS[0]), RATE_WEIGHTS[1])
    return Search(best, rate_weight)


def _next_log(trials: Sequence[tuple[float, Verdict]]) -> float:
    (x, last), slope = trials[-1], trials[-1][1].slope
    if len(trials) > 1 and trials[-2][0] != x:
        measured = (last.excess - trials[-2][1].excess) / (x - trials[-2][0])
        slope = min(measured, slope / STEEPEST)  # both are negative; noise may turn the measured one round
    return x - last.excess / slope


def found(searched: Search[MadeT]) -> MadeT:
    """The best of a search.

    Raises:
        UsageError: nothing meets the target.
    """
    if searched.best is None:
        raise error("USAGE", f"the target was not reached in {MAX_TRAININGS} trainings")
    return searched.best


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

    @property
    def grid(self) -> tuple[int, int]:
        return self.samples.shape[0], self.samples.shape[1]

    @property
    def n_levels(self) -> int:
        return self.preset.n_levels if isinstance(self.preset, ShaciraPreset) else n_levels_of(self.grid)

    @property
    def progress(self) -> Progress | None:
        return partial(self.on_progress, "fit") if self.on_progress else None

    def quality(self, field: Field) -> float:
        """PSNR of a decoded field in dB."""
        return sample_psnr(self.samples, field.grid())

    def run(self, rate_weight: float) -> Encoding:
        """Train, round and write."""
        target = torch.tensor(unit_values(self.samples), device=self.device)
        trained = _train_pyramid if isinstance(self.preset, PyramidPreset) else _train_shacira
        module, fitted = trained(self, target, rate_weight)
        header, codes = picture_header(module.network, self.grid), latent_codes(module, fitted)
        field = sinrfmt.loads(build_levels(header, codes, self.passes, self.quality))
        with torch.no_grad():
            floats = module(fitted.latents).cpu().numpy().T
        arrays = {name: array.detach().cpu().numpy().copy() for name, array in module.arrays().items()}
        return Encoding(field, self.quality(field), sample_psnr(self.samples, floats), arrays)


def _train_pyramid(job: _Job, values: torch.Tensor, rate_weight: float) -> tuple[PyramidModule, GridFit]:
    preset = job.preset
    assert isinstance(preset, PyramidPreset)
    network = pyramid_network(job.grid, values.shape[0], preset, job.context)
    mean = values.mean(dim=1).cpu().numpy()
    module = PyramidModule(network, seed=job.seed, mean=mean).to(job.device)
    prefixes = trained_prefixes(job.passes, job.n_levels)
    options = GridFitOptions(preset.n_steps, rate_weight, prefixes=prefixes, prefix_share=preset.prefix_share)
    return module, fit_pyramid(module, values, options, seed=job.seed, on_progress=job.progress)


def _train_shacira(job: _Job, values: torch.Tensor, rate_weight: float) -> tuple[GridModule, GridFit]:
    preset = job.preset
    assert isinstance(preset, ShaciraPreset)
    network = shacira_network(values.shape[0], preset)
    module = GridModule(network, job.grid, seed=job.seed).to(job.device)
    scale = rate_weight / PUBLISHED_RATE_WEIGHT
    first, last = (weight * scale for weight in PUBLISHED_ENTROPY_WEIGHTS)
    options = ShaciraOptions(preset.n_steps, rate_weight, entropy_weights=(first, last))
    return module, fit_shacira(module, values, options, seed=job.seed, on_progress=job.progress)


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
    """The network of a preset for a picture."""
    has_context = context is not ContextId.FACTORISED
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


def shacira_network(channels: int, preset: ShaciraPreset) -> Network:
    """The network of a preset for a picture."""
    factor = (preset.last_resolution / preset.first_resolution) ** (1.0 / max(1, preset.n_levels - 1))
    sizes = [round(preset.first_resolution * factor**level) for level in range(preset.n_levels)]
    encoding = GridEncoding(tuple((n, n) for n in sizes), log2_table_size=preset.log2_table_size)
    hidden = LayerRecord(RecordKind.RELU, preset.width, repeat=preset.depth)
    return Network(2, channels, (hidden, LayerRecord(RecordKind.LINEAR, channels)), encoding)


def picture_header(network: Network, grid: tuple[int, int]) -> Header:
    """HEAD of a one-pass picture in [0, 1]."""
    level = lowest_level(network, grid)
    return Header(network, Modality.IMAGE, grid=grid, coords=Coords.CENTRES, values=Values.UNIT, level=level)


def latent_codes(module: PyramidModule | GridModule, fitted: GridFit) -> tuple[TensorCode, ...]:
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
