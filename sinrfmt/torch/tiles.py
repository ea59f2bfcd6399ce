"""Large pictures as tiles: networks that all tiles share, fitted once, and the latents of every tile on its own.

Specification: clause 13.1. The networks are trained on a mosaic of a few tiles from all over the picture; each tile is
then a job of ``sinrfmt.batch`` that fits latents to its part lattice and writes them as a file of its own in a work
folder. What is there is not made again, so that work which was cut short goes on. For a size or a quality lambda is
found on the tiles of the mosaic first, then on all. Nothing here is normative.
"""

import hashlib
import math
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt import edit, joining
from sinrfmt.batch import JOURNAL, CallerWorker, Job, Journal, Output, Result, key_of, run_batch
from sinrfmt.container import FRAMING_BYTES, PASS_HEADER_BYTES, PASS_PART_BYTES
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import lowest_level, over_lattice
from sinrfmt.metrics import Samples
from sinrfmt.network import LEVEL_ORDINAL, Network, PyramidEncoding, TensorRole
from sinrfmt.parts import Parts, Range
from sinrfmt.payload import TensorCode
from sinrfmt.registry import EXTENSION, Coding, ContextId
from sinrfmt.tables import UNIT_STEP
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, build_passes, device_of, one_thread_if_small
from sinrfmt.torch.fit import Progress
from sinrfmt.torch.grid_files import (
    GridPreset,
    MadeT,
    PyramidPreset,
    as_samples,
    found,
    grid_preset_of,
    judge_of,
    latent_codes,
    picture_header,
    pyramid_network,
    sample_psnr,
    search,
    unit_values,
)
from sinrfmt.torch.grid_fit import GridFitOptions, fit_pyramid, new_pyramid
from sinrfmt.torch.latent_fit import ZERO_LEVELS, LatentFitOptions, fit_latents, learn_start, start_latents
from sinrfmt.torch.search import one_thread
from sinrfmt.weights import TensorState

TILE, OVERLAP = 136, 4
"""Samples on an axis that a part owns at most, and samples on the other side of its edges."""
LEAST_TILE = 8
MOSAIC_SIDE = 432
"""Samples along each axis that the tiles of the mosaic have, about: networks of less are worse for all others."""
NETWORKS = "networks"
"""Stem of the mosaic's file in the work folder."""
PART_BYTES = FRAMING_BYTES + PASS_HEADER_BYTES + PASS_PART_BYTES + 2
"""Of a part beside its latents: its chunk, and 2 bytes of the index, which hold the length of a chunk below 64 KiB."""


@dataclass(frozen=True)
class TileWork:
    """Where and by whom tiles are made. The networks are trained in the caller's thread in any case.

    Attributes:
        folder: where the files of the tiles go, and stay; made if need be.
        executor: does the tiles.
        n_pending: tiles that it has at a time, best as many as it has workers.
    """

    folder: Path
    executor: Executor = field(default_factory=CallerWorker)
    n_pending: int = 1


def encode_tiles(  # noqa: PLR0913 - those of encode_grid, and of tiles
    picture: Samples,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    preset: str | GridPreset = "pyramid",
    context: ContextId = ContextId.INTERLACED,
    max_bytes: int | None = None,
    min_psnr: float | None = None,
    work: TileWork | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Encoding:
    """Fit latents to the tiles of a picture and write them as parts of one file, with an index.

    Args:
        picture: uint8 or uint16 [rows, columns] or [rows, columns, channels], 1 to 4 channels.
        tile: samples on an axis that a part owns at most; parts are as equal as can be.
        overlap: samples that a part has beyond its edges, where it is blended with its neighbours.
        preset: ``pyramid``, or such a recipe in figures, with its lambda.
        context: what predicts the latents.
        max_bytes: size of the file at most; lambda is searched.
        min_psnr: PSNR of the decoded samples at least, in dB. At most one of the two.
        work: where and by whom; None for a temporary folder and this thread.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, PSNR in dB), stages ``fit`` (networks) and ``tiles``.

    Returns:
        The file; ``float_psnr`` is that of the tiles as torch has them, ``float_arrays`` the shared networks.

    Raises:
        UsageError: the arguments do not fit, the target cannot be reached, or a tile failed.
        LimitError: the picture is beyond the highest level, which has 2^28 latents.
    """
    recipe = grid_preset_of(preset) if isinstance(preset, str) else preset
    if not isinstance(recipe, PyramidPreset):
        raise error("USAGE", f"tiles are pyramids: found preset {recipe.name}")
    recipe = replace(recipe, context_width=recipe.tile_context_width or recipe.context_width)
    samples = as_samples(picture)
    judge = judge_of(max_bytes, min_psnr)
    plan = _Plan(samples, parts_of(samples.shape[:2], tile, overlap), recipe, context, seed, device)
    lowest_level(over_lattice(plan.network, plan.parts.grid), plan.parts.grid, plan.parts)  # fails before the work
    with ExitStack() as stack:
        if work is None:
            work = TileWork(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        if judge is None:
            return _whole(plan, work, on_progress)
        sample = search(partial(_of_lambda, _sample, plan, work, on_progress), recipe.rate_weight, judge)
        return found(search(partial(_of_lambda, _whole, plan, work, on_progress), sample.rate_weight, judge))


def parts_of(grid: Sequence[int], tile: int, overlap: int) -> Parts:
    """The parts of a picture for tiles of at most so many samples on an axis.

    Raises:
        UsageError: there is one part only, or tiles are too small, alone or for the overlap.
    """
    if tile < LEAST_TILE:
        raise error("USAGE", f"tiles of {tile} samples: expected at least {LEAST_TILE}")
    split = tuple(-(-n // tile) for n in grid)
    if math.prod(split) < 2:
        raise error("USAGE", f"a picture of {tuple(grid)} is not larger than a tile of {tile}")
    if any(n < 2 * overlap * s for n, s in zip(grid, split, strict=True) if s > 1):
        raise error("USAGE", f"an overlap of {overlap} is more than half a tile of {tile}")
    return Parts(tuple(grid), split, tuple(overlap if s > 1 else 0 for s in split), shared=True)


@dataclass(frozen=True)
class Networks:
    """What all tiles share.

    Attributes:
        network: over the mosaic.
        codes: tensors but the latents, as every file has them.
        start: of every level, the linear estimate of latents that fits of tiles start from.
        digest: SHA-256 of the file that they come from, hex.
    """

    network: Network
    codes: tuple[TensorCode, ...]
    start: tuple[NDArray[np.float32], ...]
    digest: str

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Weights by name of the tensor."""
        states = (TensorState(code.tensor, code.values, code.step) for code in self.codes)
        return {state.tensor.name: state.weights() for state in states}


def read_networks(path: Path, mosaic: Samples) -> Networks:
    """From the file of the mosaic, and what they make of it."""
    return networks_of(sinrfmt.load(path), mosaic)


def networks_of(trained: Field, mosaic: Samples) -> Networks:
    """Those of the mosaic's file, and what they make of it."""
    network = trained.header.network
    codes = [TensorCode(state.tensor, state.acc, state.step) for state in trained.states]
    shared = tuple(code for code in codes if code.tensor.ordinal < LEVEL_ORDINAL)
    latents = [torch.from_numpy(code.values).float() for code in codes[len(shared) :]]
    start = learn_start(_pyramid(network), torch.from_numpy(unit_values(mosaic)), latents)
    coefficients = tuple(weights.numpy() for weights in start)
    return Networks(network, shared, coefficients, hashlib.sha256(trained.data).hexdigest())


def _pyramid(network: Network) -> PyramidEncoding:
    assert isinstance(network.input_encoding, PyramidEncoding)
    return network.input_encoding


@dataclass(frozen=True)
class _Plan:
    """What is to be done. ``samples`` are uint8 or uint16 [rows, columns, channels]."""

    samples: Samples
    parts: Parts
    preset: PyramidPreset
    context: ContextId
    seed: int
    device: str

    @property
    def network(self) -> Network:
        """Over any one lattice; its number of levels is that of all."""
        return pyramid_network(_smallest(self.parts), self.samples.shape[2], self.preset, self.context)

    def tile(self, part: int) -> Samples:
        return _cut(self.samples, self.parts.lattice(part))

    def options(self) -> dict[str, object]:
        """What the networks depend on beside the mosaic, as JSON."""
        preset = asdict(self.preset)
        del preset["tile_steps"]
        return {"preset": preset, "context": self.context.name, "seed": self.seed}


def mosaic_of(samples: Samples, parts: Parts) -> Samples:
    """Tiles from all over a picture as one, each cut to the size that all have."""
    rows, columns = _smallest(parts)
    tiles = sample_of(parts)
    return np.block([[[_cut(samples, parts.lattice(part))[:rows, :columns]] for part in row] for row in tiles])


def sample_of(parts: Parts) -> list[list[int]]:
    """Numbers of a few parts from all over a picture, row by row."""
    rows, columns = (_spread(n, size) for n, size in zip(parts.split, _smallest(parts), strict=True))
    return [[parts.number((row, column)) for column in columns] for row in rows]


def _smallest(parts: Parts) -> tuple[int, int]:
    """Samples that every part lattice has."""
    rows, columns = (min(axis.sizes()) for axis in parts.axes)
    return rows, columns


def _spread(n: int, size: int) -> list[int]:
    """A few of n places of so many samples, evenly."""
    chosen = min(n, max(1, round(MOSAIC_SIDE / size)))
    return [(2 * i + 1) * n // (2 * chosen) for i in range(chosen)]


def _cut(samples: Samples, ranges: Sequence[Range]) -> Samples:
    (top, bottom), (left, right) = ranges
    return samples[top:bottom, left:right]


# --- lambda ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Expected:
    """What a few tiles say of a file of all."""

    n_bytes: int
    psnr: float


def _of_lambda(
    make: "Callable[[_Plan, TileWork, StageProgress | None], MadeT]",
    plan: _Plan,
    work: TileWork,
    on_progress: StageProgress | None,
    rate_weight: float,
) -> MadeT:
    """With this lambda, and in a folder of its own, so that the search too goes on where it was stopped."""
    folder = work.folder / f"{rate_weight:.6e}"
    return make(
        replace(plan, preset=replace(plan.preset, rate_weight=rate_weight)), replace(work, folder=folder), on_progress
    )


def _whole(plan: _Plan, work: TileWork, on_progress: StageProgress | None) -> Encoding:
    """All tiles in one file."""
    networks = _shared(plan, work, on_progress)
    results = _fit_tiles(plan, networks, work, range(plan.parts.count), on_progress)
    files = [_tile_path(work.folder, part).read_bytes() for part in range(plan.parts.count)]
    whole = sinrfmt.loads(edit.reindex(joining.join(files, plan.parts)))
    return Encoding(whole, sample_psnr(plan.samples, whole.grid()), _psnr_of(results), networks.arrays())


def _sample(plan: _Plan, work: TileWork, on_progress: StageProgress | None) -> _Expected:
    """The tiles of the mosaic, for all."""
    networks, parts = _shared(plan, work, on_progress), plan.parts
    chosen = [part for row in sample_of(parts) for part in row]
    results = _fit_tiles(plan, networks, work, chosen)
    sizes = [_tile_path(work.folder, part).stat().st_size for part in chosen]
    shared = _shared_bytes(networks)
    latents = sum(size - shared for size in sizes) / sum(_n_samples(parts, part) for part in chosen)
    n_samples = sum(_n_samples(parts, part) for part in range(parts.count))
    return _Expected(round(shared + latents * n_samples) + PART_BYTES * parts.count, _psnr_of(results))


def _shared_bytes(networks: Networks) -> int:
    """Of a file whose latents are all zero."""
    rows, columns = _pyramid(networks.network).grid
    header = picture_header(networks.network, (rows, columns))
    return len(build_passes(header, [list(networks.codes)], Coding.RANS))


def _n_samples(parts: Parts, part: int) -> int:
    return math.prod(stop - start for start, stop in parts.lattice(part))


# --- the work folder --------------------------------------------------------------------------------------------------


def networks_path(folder: Path) -> Path:
    """The mosaic's file in a work folder."""
    return folder / f"{NETWORKS}{EXTENSION}"


def _tile_path(folder: Path, part: int) -> Path:
    return folder / f"{part:05}{EXTENSION}"


def _shared(plan: _Plan, work: TileWork, on_progress: StageProgress | None) -> Networks:
    """The networks, made if they are not there yet."""
    try:
        work.folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise error("USAGE", f"{work.folder}: {failure.strerror}") from failure
    progress = partial(on_progress, "fit") if on_progress else None
    mosaic, journal = mosaic_of(plan.samples, plan.parts), Journal(work.folder / JOURNAL)
    _checked(run_batch([_networks_job(plan, mosaic, work.folder, progress)], CallerWorker(), journal, n_pending=1))
    return read_networks(networks_path(work.folder), mosaic)


def _fit_tiles(
    plan: _Plan,
    networks: Networks,
    work: TileWork,
    parts: Sequence[int],
    on_progress: StageProgress | None = None,
) -> list[Result]:
    """Make the files of these tiles that are not there yet."""
    jobs = [_tile_job(plan, work.folder, networks, part) for part in parts]
    done: list[Result] = []

    def on_result(result: Result) -> None:
        done.append(result)
        if on_progress and result.error is None:
            on_progress("tiles", len(done), len(jobs), _psnr_of(done))

    journal = Journal(work.folder / JOURNAL)
    return _checked(run_batch(jobs, work.executor, journal, n_pending=work.n_pending, on_result=on_result))


def _checked(results: list[Result]) -> list[Result]:
    failed = [result for result in results if result.error is not None]
    if failed:
        first = failed[0]
        assert first.error is not None
        what = f"{len(failed)} of {len(results)} jobs failed, the first of them {first.job.name}"
        raise error("USAGE", f"{what}: {first.error['message']}")
    return results


def _psnr_of(results: Sequence[Result]) -> float:
    """Of the tiles so far, from their errors."""
    reports = [result.report for result in results if result.error is None]
    pairs = [(float(str(report["mse"])), int(str(report["n_samples"]))) for report in reports]
    mean = sum(mse * n for mse, n in pairs) / sum(n for _, n in pairs)
    return math.inf if mean == 0 else -10.0 * math.log10(mean)


def _networks_job(plan: _Plan, mosaic: Samples, folder: Path, on_progress: Progress | None) -> Job:
    key = key_of(_digest(mosaic), plan.options())
    call: Callable[[], Output] = partial(
        fit_networks,
        mosaic,
        plan.network,
        plan.preset,
        seed=plan.seed,
        device=plan.device,
        on_progress=on_progress,
    )
    return Job(NETWORKS, networks_path(folder), key, call)


def _tile_job(plan: _Plan, folder: Path, networks: Networks, part: int) -> Job:
    tile = plan.tile(part)
    key = key_of(_digest(tile), plan.options() | {"networks": networks.digest, "tile_steps": plan.preset.tile_steps})
    call: Callable[[], Output] = partial(
        fit_tile, tile, networks, preset=plan.preset, seed=plan.seed, device=plan.device
    )
    return Job(f"tile {part}", _tile_path(folder, part), key, call)


def _digest(samples: Samples) -> str:
    """Of samples and their shape, hex."""
    described = f"{samples.dtype} {samples.shape} ".encode()
    return hashlib.sha256(described + samples.tobytes()).hexdigest()


# --- the jobs ---------------------------------------------------------------------------------------------------------


def fit_networks(
    mosaic: Samples,
    network: Network,
    preset: PyramidPreset,
    *,
    seed: int,
    device: str,
    on_progress: Progress | None = None,
) -> Output:
    """A file of the mosaic, of which the networks are taken.

    Args:
        mosaic: uint8 or uint16 [rows, columns, channels].
        network: over any lattice.
        preset: the recipe.
        seed: of everything random.
        device: as for :func:`encode_tiles`.
        on_progress: called with (steps done, steps in all, PSNR in dB).
    """
    rows, columns = mosaic.shape[:2]
    network = over_lattice(network, (rows, columns))
    values = _values(mosaic, device_of(device))
    module = new_pyramid(network, values, preset.rate_weight, seed=seed)
    options = GridFitOptions(preset.n_steps, preset.rate_weight)
    with one_thread_if_small(rows * columns):
        fitted = fit_pyramid(module, values, options, seed=seed, on_progress=on_progress)
    header = picture_header(network, (rows, columns))
    return Output(build_passes(header, [latent_codes(module, fitted)], Coding.RANS), {"mse": fitted.mse})


def fit_tile(tile: Samples, networks: Networks, *, preset: PyramidPreset, seed: int, device: str) -> Output:
    """The file of a tile, uint8 or uint16 [rows, columns, channels]: may run in a worker."""
    rows, columns = tile.shape[:2]
    network = over_lattice(networks.network, (rows, columns))
    values = _values(tile, device_of(device))
    arrays = {name: torch.tensor(array, device=values.device) for name, array in networks.arrays().items()}
    module = new_pyramid(network, values, preset.rate_weight)
    start = [torch.tensor(weights, device=values.device) for weights in networks.start]
    options = LatentFitOptions(preset.tile_steps, preset.rate_weight)
    with one_thread(True):
        with torch.no_grad():
            module.latents.copy_(start_latents(module.encoding, values, start, n_zero=ZERO_LEVELS))
        fitted = fit_latents(module, values, arrays, options, seed=seed)
    latents = [tensor for tensor in network.tensors if tensor.role is TensorRole.LATENT]
    parts = np.split(fitted.latents.to(torch.int32).cpu().numpy(), module.level_starts[1:-1])
    codes = [TensorCode(tensor, part, UNIT_STEP) for tensor, part in zip(latents, parts, strict=True)]
    data = build_passes(picture_header(network, (rows, columns)), [[*networks.codes, *codes]], Coding.RANS)
    return Output(data, {"mse": fitted.mse, "n_samples": rows * columns})


def _values(samples: Samples, device: torch.device) -> torch.Tensor:
    """float32 (channels, rows * columns) in [0, 1]."""
    return torch.tensor(unit_values(samples), device=device)
