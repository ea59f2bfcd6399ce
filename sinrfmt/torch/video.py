"""Clips to files: as grids over frames, rows and columns, or as pictures that share their networks.

Specification: clauses 9.6, 13.1 and 16. A whole clip, or every group of its frames, is a grid (``clip_grid``), which
codes once what stands still; a group is then a part with networks of its own. As pictures, every frame is a pyramid
with context coding and all share one set of networks, as tiles do: better for groups of very few frames, though nothing
is said of one frame by another. Parts are written as files of their own, joined, and given an index.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt import edit, joining
from sinrfmt.batch import CallerWorker
from sinrfmt.faults import error
from sinrfmt.grids import Frame
from sinrfmt.head import Header, lowest_level
from sinrfmt.network import Network, PyramidEncoding, TensorRole
from sinrfmt.parts import Parts
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, ContextId, Coords, Modality, Values
from sinrfmt.tables import UNIT_STEP
from sinrfmt.torch.clip_grid import ClipFitOptions, ClipGrid, clip_network, fit_clip
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, build_passes, device_of, one_thread_if_small
from sinrfmt.torch.fit import Progress
from sinrfmt.torch.grid_files import PyramidPreset, latent_codes, pyramid_network, sample_psnr
from sinrfmt.torch.tiles import Networks, fit_networks, fit_tile, networks_of

Frames = NDArray[np.uint8]

LEAST_STEPS = 300
LARGEST_GROUP = 48
"""Frames of a clip that is one grid when nobody says how many: memory grows with them."""
FEWEST_OF_GRID = 3
"""Frames from which on a grid takes fewer bytes than pictures."""
FRAMES_PER_STEP = 2
"""That a step of the training of a grid sees."""
MOSAIC_FRAMES = 2
"""Of a clip of pictures, that the shared networks are fitted to."""


@dataclass(frozen=True)
class VideoPreset:
    """A recipe for clips.

    Attributes:
        name: of the preset.
        n_visits: times that the training of a grid sees every frame; it has at least 300 steps.
        rate_weight: lambda, what a bit per sample position adds to the mean squared error of values in [0, 1].
        width: of the hidden layer of a grid.
        network_steps: optimiser steps for the networks that pictures share.
        frame_steps: those for the latents of one of the pictures.
    """

    name: str
    n_visits: int
    rate_weight: float = 3e-3
    width: int = 24
    network_steps: int = 1500
    frame_steps: int = 200

    @property
    def pictures(self) -> PyramidPreset:
        """The recipe for frames as pictures."""
        return PyramidPreset(self.name, self.network_steps, self.rate_weight, 16, 0, 12, 1, 0.0, self.frame_steps)


VIDEO_PRESETS = {
    preset.name: preset
    for preset in (
        VideoPreset("fast", 60, network_steps=500, frame_steps=80),
        VideoPreset("balanced", 200),
        VideoPreset("best", 600, network_steps=4000, frame_steps=400),
    )
}


def video_preset_of(name: str) -> VideoPreset:
    """The preset of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in VIDEO_PRESETS:
        raise error("USAGE", f"preset {name!r} of clips: expected one of {', '.join(VIDEO_PRESETS)}")
    return VIDEO_PRESETS[name]


def encode_video(
    frames: Frames,
    *,
    group: int | None = None,
    preset: str | VideoPreset = "balanced",
    meta: dict[str, str] | None = None,
    executor: Executor | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Encoding:
    """Fit latents to a clip and write it as a file; groups of frames are parts that are decoded one by one.

    Args:
        frames: uint8 [frames, rows, columns, 3].
        group: frames of a part at most; parts are as equal as can be. None for the whole clip in one piece, or parts of
            at most 48 frames where it is longer.
        preset: ``fast``, ``balanced`` or ``best``, or a recipe in figures.
        meta: what META of the file says.
        executor: does the groups; None for this thread.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, PSNR in dB), stages ``fit`` and ``groups``.

    Returns:
        The file; ``float_psnr`` is that of the values as torch has them, without ``float_arrays``.

    Raises:
        UsageError: the arguments do not fit.
        LimitError: the clip is beyond the highest level.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise error("USAGE", f"a clip is uint8 (frames, rows, columns, 3), found {frames.dtype} {frames.shape}")
    recipe = video_preset_of(preset) if isinstance(preset, str) else preset
    parts = parts_of(frames.shape[:3], group)
    way = _pictures_way if parts.shared else _grid_way
    fit = way(frames, parts, recipe, seed, device, on_progress)
    groups = _map(fit, [frames[slice(*parts.lattice(part)[0])] for part in range(parts.count)], executor, on_progress)
    data = groups[0].data if parts.count == 1 else edit.reindex(joining.join([one.data for one in groups], parts))
    field = sinrfmt.loads(edit.with_meta(data, meta) if meta else data)
    return Encoding(field, sample_psnr(frames.reshape(-1, 1, 3), field.grid()), _psnr_of(groups), {})


def parts_of(grid: Sequence[int], group: int | None) -> Parts:
    """Groups of frames; one for the whole clip.

    Raises:
        UsageError: a group without frames.
    """
    if group is not None and group < 1:
        raise error("USAGE", f"groups of {group} frames: expected at least 1")
    split = -(-grid[0] // (LARGEST_GROUP if group is None else group))
    largest = -(-grid[0] // split)
    return Parts(tuple(grid), (split, 1, 1), (0, 0, 0), shared=largest < FEWEST_OF_GRID)


@dataclass(frozen=True)
class _Group:
    """The file of a group alone, and its mean squared error."""

    data: bytes
    mse: float
    n_frames: int


_Fit = Callable[[Frames], _Group]


def _map(
    fit: _Fit, groups: Sequence[Frames], executor: Executor | None, on_progress: StageProgress | None
) -> list[_Group]:
    """Fit groups by an executor, in order."""
    workers = CallerWorker() if executor is None else executor
    done: list[_Group] = []
    for future in [workers.submit(fit, frames) for frames in groups]:
        done.append(future.result())
        if on_progress and len(groups) > 1:
            on_progress("groups", len(done), len(groups), _psnr_of(done))
    return done


def _psnr_of(groups: Sequence[_Group]) -> float:
    mse = sum(group.mse * group.n_frames for group in groups) / sum(group.n_frames for group in groups)
    return math.inf if mse == 0 else -10.0 * math.log10(mse)


def _header(network: Network, grid: tuple[int, ...], coords: Coords) -> Header:
    """HEAD of a one-pass clip in [0, 1]."""
    level = lowest_level(network, grid)
    return Header(network, Modality.VIDEO, grid=grid, coords=coords, values=Values.UNIT, level=level)


# --- grids ------------------------------------------------------------------------------------------------------------


def _grid_way(
    frames: Frames, parts: Parts, preset: VideoPreset, seed: int, device: str, on_progress: StageProgress | None
) -> _Fit:
    is_whole = parts.count == 1
    coords = Coords.CORNERS if is_whole else Coords.CENTRES  # PRT-2
    largest = max(shape for shape, _ in parts.shapes())
    network = clip_network(largest, coords, preset.width)
    lowest_level(network, parts.grid, None if is_whole else parts)  # fails before the work
    # A worker has no one to tell of its progress.
    progress = partial(on_progress, "fit") if on_progress and is_whole else None
    return partial(
        _fit_grid, network=network, coords=coords, preset=preset, seed=seed, device=device, on_progress=progress
    )


def _fit_grid(
    frames: Frames,
    *,
    network: Network,
    coords: Coords,
    preset: VideoPreset,
    seed: int,
    device: str,
    on_progress: Progress | None,
) -> _Group:
    """The file of a group as a grid: may run in a worker."""
    n_frames, rows, columns, channels = frames.shape
    unit = (frames.reshape(n_frames, rows * columns, channels).transpose(2, 0, 1) / 255.0).astype(np.float32)
    values = torch.tensor(unit, device=device_of(device))
    grid = (n_frames, rows, columns)
    module = ClipGrid(network, Frame(grid=grid, coords=coords), seed=seed, mean=unit.mean(axis=(1, 2)))
    module = module.to(values.device)
    n_steps = max(LEAST_STEPS, -(-preset.n_visits * n_frames // FRAMES_PER_STEP))
    options = ClipFitOptions(n_steps, preset.rate_weight)
    with one_thread_if_small(rows * columns):
        fitted = fit_clip(module, values, options, seed=seed, on_progress=on_progress)
    data = build_passes(_header(network, grid, coords), [latent_codes(module, fitted)], Coding.RANS)
    return _Group(data, fitted.mse, n_frames)


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictures_way(
    frames: Frames, parts: Parts, preset: VideoPreset, seed: int, device: str, on_progress: StageProgress | None
) -> _Fit:
    """Networks from a few frames below each other; each group then has its frames fitted to them."""
    recipe = preset.pictures
    network = pyramid_network(frames.shape[1:3], frames.shape[3], recipe, ContextId.INTERLACED)
    over_frames = _over_frames(network, frames.shape[:3])
    lowest_level(over_frames, parts.grid, None if parts.count == 1 else parts)  # fails before the work
    n = min(MOSAIC_FRAMES, len(frames))
    chosen = [(2 * i + 1) * len(frames) // (2 * n) for i in range(n)]
    mosaic = frames[chosen].reshape(-1, *frames.shape[2:])
    progress = partial(on_progress, "fit") if on_progress else None
    trained = fit_networks(mosaic, network, recipe, seed=seed, device=device, on_progress=progress)
    networks = networks_of(sinrfmt.loads(trained.data), mosaic)
    return partial(_fit_pictures, networks=networks, recipe=recipe, seed=seed, device=device)


def _fit_pictures(frames: Frames, *, networks: Networks, recipe: PyramidPreset, seed: int, device: str) -> _Group:
    """The file of a group as pictures with networks that are given: may run in a worker.

    Planes of a pyramid do not see each other, so that its levels are those of the pictures one behind the other.
    """
    made = [fit_tile(frame, networks, preset=recipe, seed=seed, device=device) for frame in frames]
    pictures = [sinrfmt.loads(one.data).states for one in made]
    network = _over_frames(networks.network, frames.shape[:3])
    known = {code.tensor.name: code for code in networks.codes}
    codes = []
    for tensor, *states in zip(network.tensors, *pictures, strict=True):
        if tensor.role is TensorRole.LATENT:
            latents = np.concatenate([state.acc.reshape(-1) for state in states])
            codes.append(TensorCode(tensor, latents, UNIT_STEP))
        else:
            codes.append(replace(known[tensor.name], tensor=tensor))
    data = build_passes(_header(network, frames.shape[:3], Coords.CENTRES), [codes], Coding.RANS)
    return _Group(data, float(np.mean([one.report["mse"] for one in made])), len(frames))


def _over_frames(network: Network, grid: tuple[int, ...]) -> Network:
    """The network of a picture as that of frames, whose axis is not halved."""
    encoding = network.input_encoding
    assert isinstance(encoding, PyramidEncoding)
    return replace(network, in_dims=3, input_encoding=replace(encoding, grid=grid, axes=(1, 2)))
