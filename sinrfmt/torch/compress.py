"""Trained weights to the smallest file at a size or a quality, with the signal that they stand for or without.

Without a signal the network's own outputs are what is to be kept: on its native grid, near the surface of a distance
field, or anywhere in the box of its coordinates. Of a radiance field it is what rays through it show. Nothing here is
normative.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from sinrfmt.evaluate import grid_axes, to_uint8
from sinrfmt.faults import error
from sinrfmt.head import Header, lowest_level
from sinrfmt.metrics import psnr
from sinrfmt.network import Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, Coords, Modality, Tool, Values
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.equivalent import with_even_columns, with_whole_weights
from sinrfmt.torch.files import build, device_of
from sinrfmt.torch.fit import outputs
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import Preset, preset_of
from sinrfmt.torch.rate import start_knob
from sinrfmt.torch.rays import CHANNELS, cast_rays
from sinrfmt.torch.search import Goal, Problem, Work, search_codes, tool_of, with_tool, without_unused_prior
from sinrfmt.torch.sensitivity import Curvature, curvature_of, kronecker_curvature_of, largest_block
from sinrfmt.torch.signals import VALUE_RANGES, Signal, psnr_of
from sinrfmt.torch.views import EACH, View, seen

Floats = NDArray[np.float32]

WHOLE_LIMIT = 10_000
"""Most parameters that share their error; above, each layer is taken by itself."""
MAX_POINTS = 1 << 19
N_POINTS = 100_000
"""Points of a network without a native grid."""
N_RAYS = 24_000
"""Of a radiance field. With a third of them files are 8 % larger: what few rays meet is next to nothing to the rest."""
RAY_AXES = 6
"""Coordinates of a field that is seen along rays: a position and a direction."""
KRONECKER_SAMPLES = 1 << 14
NOMINAL_PSNR = 30.0
"""PSNR that a network is taken to have where a drop is asked for and its signal is not known, in dB."""
NOMINAL_SNR = 45.0
"""Ratio to the network's own outputs that stands for a drop where values have no range, in dB."""
START_DROP = 0.3

N_PROJECTIONS = 6
SURFACE_SPREAD = 0.01
"""Standard deviation around a surface, as a share of the box."""
BOXES = {Coords.CENTRES_UNIT: (0.0, 1.0)}
DEFAULT_BOX = (-1.0, 1.0)
N_POSITIONS = 3
"""Coordinates of a radiance field that are positions; the rest is a direction."""


@dataclass(frozen=True)
class WeightTarget:
    """What the file should be; exactly one is set.

    Attributes:
        max_bytes: size of the whole file.
        max_bpp: bits of the file for each sample of the native grid.
        min_psnr: of 8-bit samples, in dB: against the signal, else against those of the float32 network. Of a radiance
            field: of the colour and opacity of rays, not rounded.
        max_drop: dB lost to quantisation, on the signal; without one, what a network of 30 dB would lose, or an SNR of
            45 dB for values without a range.
        min_snr: ratio of the power of the outputs, or of what rays show, to that of their error against the float32
            network, in dB.
    """

    max_bytes: int | None = None
    max_bpp: float | None = None
    min_psnr: float | None = None
    max_drop: float | None = None
    min_snr: float | None = None


@dataclass(frozen=True)
class Compressed:
    """A file and what it is worth.

    Attributes:
        data: the file.
        quality: PSNR, or SNR for a target of SNR or values without a range, of what was written, in dB. PSNR for rays.
        float_quality: the same of the float32 network; infinite without a signal.
        tool: coding tool of all layers but those of whole weights.
    """

    data: bytes
    quality: float
    float_quality: float
    tool: Tool


@dataclass(frozen=True)
class _Reference:
    """What outputs are measured against: points, what should be seen there, and the measure in dB.

    ``peak`` is the power that the dB are relative to: an error of mean square e has the quality
    10 log10(peak / e).
    """

    points: Floats
    values: Floats
    quality: Callable[[Floats], float]
    peak: float
    view: View = EACH


def compress_weights(
    module: FieldModule,
    header: Header,
    target: WeightTarget,
    *,
    signal: Signal | Floats | None = None,
    preset: str | Preset = "balanced",
    memory: int = 4 << 30,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Compressed:
    """Write trained weights as the smallest file that reaches a target.

    Args:
        module: the network with its float32 weights.
        header: what the file says beside the weights; its network has the same layers, whose coding tool and prior are
            chosen here.
        target: size or quality.
        signal: what the network stands for, in the conventions of the header; or the points float32 (n, in_dims) where
            its own outputs matter; None for those of the native grid, else near the surface of an SDF, on rays through
            a radiance field, else in the box.
        preset: how much work to do.
        memory: bytes that the curvature of the whole network may take; a larger network is taken layer by layer.
        seed: of everything random.
        device: where to work.
        on_progress: called with ("quantise", done, in all, dB).

    Raises:
        UsageError: the target cannot be reached, or does not fit the header.
    """
    found = compressed_for(
        module,
        header,
        target,
        signal=signal,
        preset=preset,
        memory=memory,
        seed=seed,
        device=device,
        on_progress=on_progress,
    )
    if found is None:
        raise error("USAGE", "the target is not reached with any step")
    return found


def compressed_for(
    module: FieldModule,
    header: Header,
    target: WeightTarget,
    *,
    signal: Signal | Floats | None = None,
    preset: str | Preset = "balanced",
    memory: int = 4 << 30,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Compressed | None:
    """``compress_weights``, but None where the target is not reached with any step."""
    if sum(value is not None for value in vars(target).values()) != 1:
        raise error("USAGE", "exactly one target is given")
    work = preset_of(preset) if isinstance(preset, str) else preset
    place = device_of(device)
    has_rows = header.network.n_parameters > WHOLE_LIMIT
    network = header.network.with_layer_records(lambda record: replace(record, tool=Tool.SCALAR, row_steps=has_rows))
    header = replace(header, network=network, level=lowest_level(network, header.grid))
    module = FieldModule(network, module.arrays(), seed=module.seed).to(place)
    reference = _reference(module, header, target, signal, seed, place)
    float_quality = reference.quality(seen(module, reference.points, reference.view, device=place))
    network, arrays, whole = with_whole_weights(network, module.arrays())
    module = FieldModule(network, arrays, seed=module.seed).to(place)
    curvature = _curvature(module, reference, work, memory, seed, place)
    if has_rows:
        arrays, curvature = with_even_columns(network, arrays, curvature)
        module.load_arrays(arrays)

    def size_of(written: Network, codes: Sequence[TensorCode], _: int) -> int:
        return len(build(replace(header, network=written), codes, Coding.RANS))

    problem = Problem(
        module,
        curvature,
        reference.points,
        reference.values,
        reference.quality,
        size_of,
        Work(work.n_trials, work.n_refit_trials, work.n_refits),
        seed,
        place,
        None if on_progress is None else lambda done, n, quality: on_progress("quantise", done, n, quality),
        reference.view,
        whole,
    )
    goal = _goal(target, header, reference, float_quality)
    trial = search_codes(problem, goal, _start(goal, reference, float_quality, network.n_parameters))
    if trial is None:
        return None
    tool = tool_of(trial.codes)
    written, codes = without_unused_prior(with_tool(network, tool, whole), trial.codes)
    data = build(replace(header, network=written), codes, Coding.RANS)
    return Compressed(data, trial.psnr, float_quality, tool)


def _goal(target: WeightTarget, header: Header, reference: _Reference, float_quality: float) -> Goal:
    if target.max_bytes is not None:
        return Goal(max_bytes=target.max_bytes)
    if target.max_bpp is not None:
        if not header.grid:
            raise error("USAGE", "bits per sample need a native grid")
        return Goal(max_bytes=int(target.max_bpp * math.prod(header.grid) / 8))
    if target.max_drop is None:
        return Goal(min_quality=target.min_psnr if target.min_snr is None else target.min_snr)
    if math.isfinite(float_quality):
        return Goal(min_quality=float_quality - target.max_drop)
    if header.values is Values.RAW and reference.view is EACH:
        return Goal(min_quality=NOMINAL_SNR)
    return Goal(min_quality=NOMINAL_PSNR - 10 * math.log10(10 ** (target.max_drop / 10) - 1))


def _start(goal: Goal, reference: _Reference, float_quality: float, n_parameters: int) -> float:
    """The knob at which plain rounding should come near the goal."""
    scale = math.sqrt(reference.peak)
    if math.isfinite(float_quality):
        drop = START_DROP if goal.min_quality is None else max(float_quality - goal.min_quality, 0.01)
        return start_knob(float_quality, drop, scale, n_parameters)
    # Twice the error is a drop of 3 dB: all of it is the network's own against itself.
    return start_knob(NOMINAL_SNR if goal.min_quality is None else goal.min_quality, 3.01, scale, n_parameters)


def _curvature(
    module: FieldModule, reference: _Reference, preset: Preset, memory: int, seed: int, device: torch.device
) -> Curvature:
    n, points, view = module.network.n_parameters, reference.points, reference.view
    if n <= min(WHOLE_LIMIT, largest_block(memory)):
        n_samples = preset.curvature_samples
        return curvature_of(module, points, n_samples=n_samples, block_limit=n, seed=seed, device=device, view=view)
    n_samples = KRONECKER_SAMPLES if view is EACH else N_RAYS
    return kronecker_curvature_of(module, points, n_samples=n_samples, seed=seed, device=device, view=view)


# --- what is measured -------------------------------------------------------------------------------------------------


def _reference(
    module: FieldModule,
    header: Header,
    target: WeightTarget,
    signal: Signal | Floats | None,
    seed: int,
    device: torch.device,
) -> _Reference:
    if isinstance(signal, Signal):
        if target.min_snr is not None:
            raise error("USAGE", "an SNR is measured against the network itself, without a signal")
        peak = VALUE_RANGES[signal.value_range][0] ** 2
        return _Reference(signal.coords, signal.values, partial(psnr_of, signal), peak)
    if signal is None and _is_seen_along_rays(header):
        return _ray_reference(module, header, target, seed, device)
    chosen = _points(module, header, seed, device) if signal is None else signal
    own = outputs(module, chosen, device=device)
    power = float(np.mean(own.astype(np.float64) ** 2))
    if target.min_snr is not None or header.values is Values.RAW:
        if target.min_psnr is not None:
            raise error("USAGE", "values without a range have no PSNR")
        return _Reference(chosen, own, lambda found: _snr(own, found), power)
    levels = to_uint8(header.values, own)
    peak = VALUE_RANGES[header.values][0] ** 2
    return _Reference(chosen, own, lambda found: psnr(levels, to_uint8(header.values, found)), peak)


def _is_seen_along_rays(header: Header) -> bool:
    sizes = header.network.in_dims, header.network.out_channels
    return header.modality is Modality.RADIANCE and sizes == (RAY_AXES, CHANNELS) and header.box is not None


def _ray_reference(
    module: FieldModule, header: Header, target: WeightTarget, seed: int, device: torch.device
) -> _Reference:
    """Colour and opacity of rays: a density may be anything where it is hidden, and nothing where it is not."""
    assert header.box is not None
    rays = cast_rays(module, header.box, N_RAYS, seed=seed, device=device)
    own = seen(module, rays.coords, rays.view, device=device)
    peak = 1.0 if target.min_snr is None else float(np.mean(own.astype(np.float64) ** 2))

    def quality(found: Floats) -> float:
        noise = float(np.mean((own.astype(np.float64) - found) ** 2))
        return math.inf if noise == 0 else 10 * math.log10(peak / noise)

    return _Reference(rays.coords, own, quality, peak, rays.view)


def _snr(wanted: Floats, found: Floats) -> float:
    """10 log10 of the power of the wanted values over that of the error, in dB; infinite for a perfect match."""
    noise = float(np.sum((wanted.astype(np.float64) - found) ** 2))
    return math.inf if noise == 0 else 10 * math.log10(float(np.sum(wanted.astype(np.float64) ** 2)) / noise)


def _points(module: FieldModule, header: Header, seed: int, device: torch.device) -> Floats:
    """Where the outputs matter: float32 (n, in_dims)."""
    rng = np.random.default_rng(seed)
    if header.grid:
        return _grid_points(header, rng)
    low, high = _box(header)
    if header.modality is Modality.SDF:
        return _surface_points(module, low, high, rng, device)
    points = rng.uniform(low, high, (N_POINTS, len(low)))
    if header.modality is Modality.RADIANCE and len(low) > N_POSITIONS:
        directions = rng.normal(size=(N_POINTS, len(low) - N_POSITIONS))
        points[:, N_POSITIONS:] = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return points.astype(np.float32)


def _grid_points(header: Header, rng: np.random.Generator) -> Floats:
    axes = grid_axes(header.coords, header.grid, header.box)
    n = math.prod(header.grid)
    chosen = np.arange(n) if n <= MAX_POINTS else np.sort(rng.choice(n, MAX_POINTS, replace=False))
    indices = np.unravel_index(chosen, header.grid)
    return np.stack([axis[index] for axis, index in zip(axes, indices, strict=True)], axis=1)


def _box(header: Header) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = header.network.in_dims
    if header.box is not None:
        low, high = zip(*header.box, strict=True)
        return np.array(low), np.array(high)
    low_high = BOXES.get(header.coords, DEFAULT_BOX)
    return np.full(n, low_high[0]), np.full(n, low_high[1])


def _surface_points(
    module: FieldModule,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    rng: np.random.Generator,
    device: torch.device,
) -> Floats:
    """Points of the box moved to the zero of the field along its gradient, and a little away from it again."""
    found: list[Floats] = []
    size = float((high - low).max())
    while sum(map(len, found)) < N_POINTS:
        x = torch.tensor(rng.uniform(low, high, (N_POINTS, len(low))).astype(np.float32), device=device)
        for _ in range(N_PROJECTIONS):
            x.requires_grad_(True)
            value = module(x)[:, :1]
            (gradient,) = torch.autograd.grad(value.sum(), x)
            with torch.no_grad():
                x = x - value.detach() * gradient / (gradient * gradient).sum(1, keepdim=True).clamp_min(1e-4)
        with torch.no_grad():
            value = module(x)[:, 0].abs().cpu().numpy()
        moved = x.detach().cpu().numpy()
        near = (value < SURFACE_SPREAD * size) & (moved >= low).all(1) & (moved <= high).all(1)
        if near.sum() < N_POINTS // 100:  # nowhere zero, or not a distance: all of the box then
            near = np.ones(N_POINTS, dtype=bool)
            moved = rng.uniform(low, high, moved.shape).astype(np.float32)
        found.append(moved[near])
    chosen = np.concatenate(found)[:N_POINTS]
    return (chosen + rng.normal(0, SURFACE_SPREAD * size, chosen.shape)).astype(np.float32)
