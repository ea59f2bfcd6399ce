"""Objectives and sampled signals of any dimension to files: latents over points, integers, bytes.

Specification: clauses 9.6.1 and 16.5. Everything that is written is parsed back before it is given to the caller; its
quality is that of the decoded file.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

import sinrfmt
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.grids import Frame
from sinrfmt.head import Header, lowest_level
from sinrfmt.registry import Coding
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, build, device_of, one_thread_if_small
from sinrfmt.torch.fit import Progress
from sinrfmt.torch.grid_files import encode_for, float_arrays, grid_preset_of, latent_codes
from sinrfmt.torch.grid_module import GridModule
from sinrfmt.torch.point_fit import Objective, PointFitOptions, fit_objective, lattice_objective, sampled_objective
from sinrfmt.torch.point_recipes import PointPreset, point_network
from sinrfmt.torch.signals import VALUE_RANGES, Signal, psnr_of

MakeObjective = Callable[[GridModule], Objective]
"""The objective for a module that is about to be trained, on the device that the module is on."""
Measure = Callable[[Field], float]
"""Quality of a decoded file in dB."""

BYTES_PER_NUMBER = 2
"""Of binary16."""


@dataclass(frozen=True)
class Uncompressed:
    """The same grid, trained without a rate and kept as binary16.

    Attributes:
        n_bytes: two for each number.
        psnr: quality in dB with numbers rounded to binary16.
        module: with those numbers.
    """

    n_bytes: int
    psnr: float
    module: GridModule


def encode_objective(
    header: Header,
    objective: MakeObjective,
    recipe: PointFitOptions,
    *,
    measure: Measure | None = None,
    max_bytes: int | None = None,
    min_psnr: float | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Encoding:
    """Train a latent grid for an objective and write it as a file.

    Args:
        header: of the file, with the network: see ``grid_header``.
        objective: called once for each training.
        recipe: how to train; its lambda is the first one that is tried.
        measure: quality of the decoded file; None for the objective's, evaluated by torch.
        max_bytes: size of the file at most; lambda is searched.
        min_psnr: its quality at least, in dB. At most one of the two.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, quality in dB).

    Returns:
        the file and its quality; ``float_psnr`` is that with networks that are not rounded.

    Raises:
        UsageError: the target cannot be reached, or the arguments do not fit.
    """
    job = _Job(header, objective, recipe, measure, seed, device_of(device), on_progress)
    return encode_for(job.run, recipe.rate_weight, max_bytes=max_bytes, min_psnr=min_psnr)


def encode_signal_grid(
    signal: Signal,
    preset: str | PointPreset,
    *,
    max_bytes: int | None = None,
    min_psnr: float | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Encoding:
    """Train a latent grid for a sampled signal of one to four dimensions and write it as a file.

    Args:
        signal: its samples are drawn in batches.
        preset: a name, ``audio``, ``video`` or ``field`` for instance, or a recipe in figures.
        max_bytes, min_psnr, seed, device, on_progress: as for ``encode_objective``. Quality is that of ``psnr_of``.

    Raises:
        UsageError: the target cannot be reached, or the arguments do not fit.
    """
    recipe = point_preset_of(preset)
    header = signal_header(signal, recipe)
    with one_thread_if_small(signal.n_samples):
        return encode_objective(
            header,
            partial(signal_objective, signal, batch_size=recipe.batch_size, seed=seed),
            recipe,
            measure=lambda field: psnr_of(signal, field.grid().reshape(signal.n_samples, -1)),
            max_bytes=max_bytes,
            min_psnr=min_psnr,
            seed=seed,
            device=device,
            on_progress=on_progress,
        )


def uncompressed_grid(
    header: Header,
    objective: MakeObjective,
    recipe: PointFitOptions,
    *,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Uncompressed:
    """What a file is compared with: the same grid trained without a rate, every number as binary16.

    Args are those of ``encode_objective``.
    """
    job = _Job(header, objective, replace(recipe, rate_weight=0.0), None, seed, device_of(device), on_progress)
    module, goal = job.module()
    fit_objective(module, goal, job.recipe, seed=seed, on_progress=job.progress)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())
        psnr = goal.measure(lambda coords: module(module.latents, coords))
    return Uncompressed(BYTES_PER_NUMBER * module.network.n_parameters, psnr, module)


def point_preset_of(preset: str | PointPreset) -> PointPreset:
    """A recipe over points.

    Raises:
        UsageError: there is none of that name.
    """
    recipe = grid_preset_of(preset) if isinstance(preset, str) else preset
    if not isinstance(recipe, PointPreset):
        raise error("USAGE", f"preset {recipe.name!r} is for pictures only")
    return recipe


def signal_header(signal: Signal, recipe: PointPreset) -> Header:
    """HEAD of a sampled signal over the grid of a recipe."""
    network = point_network(recipe, signal.coords.shape[1], signal.channels, grid=signal.grid)
    return grid_header(
        Header(network, signal.modality, grid=signal.grid, coords=signal.coords_rule, values=signal.value_range)
    )


def signal_objective(signal: Signal, module: GridModule, *, batch_size: int, seed: int) -> Objective:
    """The mean squared error of a signal whose range has the length 1."""
    values = torch.tensor(np.array(signal.values), device=module.latents.device)
    scale, offset = VALUE_RANGES[signal.value_range]
    bounds = offset, offset + scale
    n_axes = signal.coords.shape[1]
    if n_axes == 1 or n_axes != len(signal.grid) or not module.has_lattice:
        return sampled_objective(module, signal.coords, values, batch_size=batch_size, seed=seed, bounds=bounds)
    along = signal.coords.reshape(*signal.grid, n_axes)
    axes = [along[(0,) * axis + (slice(None),) + (0,) * (n_axes - 1 - axis)][:, axis] for axis in range(n_axes)]
    return lattice_objective(module, axes, values, batch_size=batch_size, seed=seed, bounds=bounds)


def grid_header(header: Header) -> Header:
    """A header with the lowest level that its network fits into."""
    return replace(header, level=lowest_level(header.network, header.grid))


def frame_of(header: Header) -> Frame:
    """How coordinates of a file relate to its native grid."""
    return Frame(header.coords, header.grid, header.box)


@dataclass(frozen=True)
class _Job:
    """What every training for a file shares."""

    header: Header
    objective: MakeObjective
    recipe: PointFitOptions
    measure: Measure | None
    seed: int
    device: torch.device
    on_progress: StageProgress | None

    @property
    def progress(self) -> Progress | None:
        return partial(self.on_progress, "fit") if self.on_progress else None

    def module(self) -> tuple[GridModule, Objective]:
        module = GridModule(self.header.network, frame_of(self.header), seed=self.seed).to(self.device)
        return module, self.objective(module)

    def run(self, rate_weight: float) -> Encoding:
        """Train, round and write."""
        module, objective = self.module()
        options = replace(self.recipe, rate_weight=rate_weight)
        fitted = fit_objective(module, objective, options, seed=self.seed, on_progress=self.progress)
        field = sinrfmt.loads(build(self.header, latent_codes(module, fitted), Coding.RANS))
        with torch.no_grad():
            float_psnr = objective.measure(lambda coords: module(fitted.latents, coords))
        return Encoding(field, self._measured(field, objective), float_psnr, float_arrays(module))

    def _measured(self, field: Field, objective: Objective) -> float:
        if self.measure is not None:
            return self.measure(field)
        module = GridModule.of_field(field).to(self.device)
        with torch.no_grad():
            return objective.measure(lambda coords: module(module.latents, coords))
