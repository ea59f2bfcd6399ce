"""Clips to files: as grids over frames, rows and columns, as pictures that share their networks, or as one network.

Specification: clauses 9.6, 13.1 and 16. A whole clip, or every group of its frames, is a grid (``clip_grid``), which
codes once what stands still; a group is then a part with networks of its own. As pictures, every frame is a pyramid
with context coding and all share one set of networks, as tiles do: this is for groups of one frame, as nothing is said
of one frame by another. Parts are written as files of their own, joined, and given an index. A network without latents
holds the whole clip.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

import sinrfmt
from sinrfmt import edit, joining
from sinrfmt.batch import CallerWorker
from sinrfmt.faults import error
from sinrfmt.grids import Frame
from sinrfmt.head import Header, lowest_level
from sinrfmt.media.video import Clip, Frames
from sinrfmt.network import Network, PyramidEncoding, TensorRole
from sinrfmt.parts import Parts
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, ContextId, Coords, Modality, Values
from sinrfmt.tables import UNIT_STEP
from sinrfmt.torch.clip_grid import ClipFitOptions, ClipGrid, clip_network, fit_clip
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, build_passes, device_of, encode, one_thread_if_small
from sinrfmt.torch.fit import Progress
from sinrfmt.torch.grid_files import PyramidPreset, encode_for, latent_codes, pyramid_network, sample_psnr
from sinrfmt.torch.point_files import encode_signal_grid, point_preset_of
from sinrfmt.torch.point_recipes import PointPreset
from sinrfmt.torch.presets import Preset
from sinrfmt.torch.signals import VALUE_RANGES, Signal, grid_coords
from sinrfmt.torch.tiles import Networks, fit_networks, fit_tile, networks_of

LARGEST_GROUP = 48
"""Frames of a clip that is one grid when nobody says how many: memory grows with them."""
FEWEST_OF_GRID = 2
"""Frames from which on a grid is no worse than pictures where things move, and better where they stand still."""
MOST_FRAMES = 65535
PUBLISHED = "shacira"
"""The preset of clips as one hashed grid, as published."""
FRAMES_PER_STEP = 2
"""That a step of the training of a grid sees."""
MOSAIC_FRAMES = 2
"""Of a clip of pictures, that the shared networks are fitted to."""
_KIND = {PointPreset: "a hashed grid", Preset: "a network, which holds the whole clip"}


@dataclass(frozen=True)
class VideoPreset:
    """A recipe for clips.

    Attributes:
        name: of the preset.
        n_visits: times that the training of a grid sees every frame.
        least_steps: that it has in any case.
        rate_weight: lambda, what a bit per sample position adds to the mean squared error of values in [0, 1].
        width: of the hidden layer of a grid.
        fewest_of_grid: frames of a group from which on it is a grid; smaller ones are pictures.
        network_steps: optimiser steps for the networks that pictures share.
        frame_steps: those for the latents of one of the pictures.
    """

    name: str
    n_visits: int
    least_steps: int = 300
    rate_weight: float = 3e-3
    width: int = 24
    fewest_of_grid: int = FEWEST_OF_GRID
    network_steps: int = 1500
    frame_steps: int = 200

    @property
    def pictures(self) -> PyramidPreset:
        """The recipe for frames as pictures."""
        return PyramidPreset(self.name, self.network_steps, self.rate_weight, 16, 0, 12, 1, self.frame_steps)


VIDEO_PRESETS = {
    preset.name: preset
    for preset in (
        VideoPreset("fast", 60, network_steps=500, frame_steps=80),
        VideoPreset("balanced", 200),
        VideoPreset("best", 600, network_steps=4000, frame_steps=400),
        VideoPreset("pyramid", 0, fewest_of_grid=MOST_FRAMES + 1),
    )
}


def video_preset_of(name: str) -> VideoPreset | PointPreset:
    """The preset of a name: ``shacira`` is one hashed grid, as published.

    Raises:
        UsageError: there is none.
    """
    if name == PUBLISHED:
        return point_preset_of("video")
    if name not in VIDEO_PRESETS:
        raise error("USAGE", f"preset {name!r} of clips: expected one of {', '.join([*VIDEO_PRESETS, PUBLISHED])}")
    return VIDEO_PRESETS[name]


def encode_video(
    clip: Clip,
    *,
    group: int | None = None,
    preset: str | Preset | VideoPreset | PointPreset = "balanced",
    max_bytes: int | None = None,
    min_psnr: float | None = None,
    executor: Executor | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Encoding:
    """Fit latents or a network to a clip and write it as a file; groups of frames are decoded one by one.

    Args:
        clip: frames, uint8 [frames, rows, columns, 3], and their rate, which goes into META.
        group: frames of a part at most; parts are as equal as can be. None for the whole clip in one piece, or parts of
            at most 48 frames where it is longer.
        preset: ``fast``, ``balanced`` or ``best``; ``pyramid`` for pictures in any case, ``shacira`` for one hashed
            grid, as published; or a recipe in figures, with its lambda. With a ``Preset`` of networks one network alone
            holds the whole clip.
        max_bytes: size of the file at most; lambda is searched.
        min_psnr: PSNR of the decoded samples at least, in dB. At most one of the two.
        executor: does the groups; None for this thread.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, PSNR in dB), stages ``fit`` and ``groups``; of a network those of
            ``encode``.

    Returns:
        The file; ``float_psnr`` is that of the values as torch has them, without ``float_arrays`` but for a network.

    Raises:
        UsageError: the arguments do not fit, or the target cannot be reached.
        LimitError: the clip is beyond the highest level.
    """
    frames, meta = clip.frames, clip.meta
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise error("USAGE", f"a clip is uint8 (frames, rows, columns, 3), found {frames.dtype} {frames.shape}")
    recipe = video_preset_of(preset) if isinstance(preset, str) else preset
    if max_bytes is not None:
        max_bytes = max(1, max_bytes - edit.meta_bytes(meta))
    if not isinstance(recipe, VideoPreset):
        if group is not None:
            raise error("USAGE", f"groups of frames do not go with {_KIND[type(recipe)]}")
        encoding = _encode_signal(
            frames, recipe, max_bytes=max_bytes, min_psnr=min_psnr, seed=seed, device=device, on_progress=on_progress
        )
    else:
        parts = parts_of(frames.shape[:3], group, recipe)
        job = _Job(frames, parts, recipe, executor, seed, device, on_progress)
        encoding = encode_for(job.run, recipe.rate_weight, max_bytes=max_bytes, min_psnr=min_psnr)
    if not meta:
        return encoding
    return replace(encoding, field=sinrfmt.loads(edit.with_meta(encoding.field.data, meta)))


def _encode_signal(frames: Frames, recipe: Preset | PointPreset, **options: Any) -> Encoding:
    """The file of a whole clip by an encoder of any signal."""
    if isinstance(recipe, PointPreset):
        return encode_signal_grid(clip_signal(frames), recipe, **options)
    return encode(clip_signal(frames, value_range=Values.SIGNED), preset=recipe, **options)


def clip_signal(frames: Frames, *, value_range: Values = Values.UNIT) -> Signal:
    """The signal of a clip, uint8 [frames, rows, columns, channels], for encoders of any signal."""
    samples = frames.reshape(-1, frames.shape[3])
    scale, offset = VALUE_RANGES[value_range]
    return Signal(
        coords=grid_coords(frames.shape[:3]),
        values=(samples / 255.0 * scale + offset).astype(np.float32),
        samples=samples,
        grid=frames.shape[:3],
        modality=Modality.VIDEO,
        coords_rule=Coords.CENTRES,
        value_range=value_range,
    )


def parts_of(grid: Sequence[int], group: int | None, preset: VideoPreset) -> Parts:
    """Groups of frames, one for the whole clip; they share their networks if they are pictures.

    Raises:
        UsageError: a group without frames.
    """
    if group is not None and group < 1:
        raise error("USAGE", f"groups of {group} frames: expected at least 1")
    split = -(-grid[0] // (LARGEST_GROUP if group is None else group))
    largest = -(-grid[0] // split)
    return Parts(tuple(grid), (split, 1, 1), (0, 0, 0), shared=largest < preset.fewest_of_grid)


@dataclass(frozen=True)
class _Group:
    """The file of a group alone, and its mean squared error."""

    data: bytes
    mse: float
    n_frames: int


_Fit = Callable[[Frames], _Group]


@dataclass(frozen=True)
class _Job:
    """What every training of a clip shares."""

    frames: Frames
    parts: Parts
    preset: VideoPreset
    executor: Executor | None
    seed: int
    device: str
    on_progress: StageProgress | None

    def run(self, rate_weight: float) -> Encoding:
        """Train all groups and write."""
        parts, job = self.parts, replace(self, preset=replace(self.preset, rate_weight=rate_weight))
        fit = _pictures_way(job) if parts.shared else _grid_way(job)
        groups = _map(fit, job)
        data = groups[0].data if parts.count == 1 else edit.reindex(joining.join([one.data for one in groups], parts))
        field = sinrfmt.loads(data)
        return Encoding(field, sample_psnr(self.frames.reshape(-1, 1, 3), field.grid()), _psnr_of(groups), {})

    @property
    def fit_progress(self) -> Progress | None:
        return partial(self.on_progress, "fit") if self.on_progress else None

    def check(self, network: Network) -> None:
        """Fail before the work.

        Raises:
            LimitError: beyond the highest level.
        """
        lowest_level(network, self.parts.grid, None if self.parts.count == 1 else self.parts)


def _map(fit: _Fit, job: _Job) -> list[_Group]:
    """Fit groups by the executor, in order."""
    workers = CallerWorker() if job.executor is None else job.executor
    ranges = [job.parts.lattice(part)[0] for part in range(job.parts.count)]
    done: list[_Group] = []
    for future in [workers.submit(fit, job.frames[slice(*one)]) for one in ranges]:
        done.append(future.result())
        if job.on_progress and len(ranges) > 1:
            job.on_progress("groups", len(done), len(ranges), _psnr_of(done))
    return done


def _psnr_of(groups: Sequence[_Group]) -> float:
    mse = sum(group.mse * group.n_frames for group in groups) / sum(group.n_frames for group in groups)
    return math.inf if mse == 0 else -10.0 * math.log10(mse)


def _header(network: Network, grid: tuple[int, ...], coords: Coords) -> Header:
    """HEAD of a one-pass clip in [0, 1]."""
    level = lowest_level(network, grid)
    return Header(network, Modality.VIDEO, grid=grid, coords=coords, values=Values.UNIT, level=level)


# --- grids ------------------------------------------------------------------------------------------------------------


def _grid_way(job: _Job) -> _Fit:
    is_whole = job.parts.count == 1
    coords = Coords.CORNERS if is_whole else Coords.CENTRES  # PRT-2
    network = clip_network(max(shape for shape, _ in job.parts.shapes()), coords, job.preset.width)
    job.check(network)
    # A worker has no one to tell of its progress.
    progress = job.fit_progress if is_whole else None
    return partial(
        _fit_grid,
        network=network,
        coords=coords,
        preset=job.preset,
        seed=job.seed,
        device=job.device,
        on_progress=progress,
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
    n_steps = max(preset.least_steps, -(-preset.n_visits * n_frames // FRAMES_PER_STEP))
    options = ClipFitOptions(n_steps, preset.rate_weight)
    with one_thread_if_small(rows * columns):
        fitted = fit_clip(module, values, options, seed=seed, on_progress=on_progress)
    data = build_passes(_header(network, grid, coords), [latent_codes(module, fitted)], Coding.RANS)
    return _Group(data, fitted.mse, n_frames)


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictures_way(job: _Job) -> _Fit:
    """Networks from a few frames below each other; each group then has its frames fitted to them."""
    recipe, frames = job.preset.pictures, job.frames
    network = pyramid_network(frames.shape[1:3], frames.shape[3], recipe, ContextId.INTERLACED)
    job.check(_over_frames(network, job.parts.grid))
    n = min(MOSAIC_FRAMES, len(frames))
    chosen = [(2 * i + 1) * len(frames) // (2 * n) for i in range(n)]
    mosaic = frames[chosen].reshape(-1, *frames.shape[2:])
    trained = fit_networks(mosaic, network, recipe, seed=job.seed, device=job.device, on_progress=job.fit_progress)
    networks = networks_of(sinrfmt.loads(trained.data), mosaic)
    return partial(_fit_pictures, networks=networks, recipe=recipe, seed=job.seed, device=job.device)


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
