"""Signals to files of several passes: a network that grows, every prefix of which is a picture worth looking at.

Specification: clauses 6.6 (QUALITY), 13.2 (WIDTHS) and 17. All prefixes are trained at once (``growth``); then pass
after pass becomes integers, and what is still to come makes up for the rounding of what is written. ``docs/passes.md``
has the measurements behind the choice. Nothing here is normative.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.container import FRAMING_BYTES
from sinrfmt.faults import error
from sinrfmt.head import Header, build_head
from sinrfmt.metrics import Samples
from sinrfmt.payload import States, TensorCode, pack
from sinrfmt.registry import SIGNATURE, Coding, Tool
from sinrfmt.torch.encoder import (
    DEFAULT_BITS_PER_SAMPLE,
    RATE_SHARES,
    SEED_LIMIT,
    Job,
    StageProgress,
    options_of,
    probe_size,
)
from sinrfmt.torch.files import Encoding, build_passes, device_of, encode, header_of, one_thread_if_small
from sinrfmt.torch.grid_passes import Passes, budget_of, check_order, count_of
from sinrfmt.torch.growth import (
    LEAST_WIDTH,
    Gain,
    GrowingModule,
    Widths,
    expected_size,
    fit_growth,
    gains_of,
    growing_network,
    widths_for_sizes,
)
from sinrfmt.torch.presets import Preset, bits_per_parameter, preset_of
from sinrfmt.torch.rate import FINEST_STRIDE, Refit, Trial, dequantise, quantise, search_bytes
from sinrfmt.torch.search import (
    MAX_REFIT_SAMPLES,
    REFIT_BATCH,
    REFIT_STRIDE,
    REFIT_WORK,
    ROUGH,
    TRELLIS_GAIN,
    Goal,
    with_tool,
)
from sinrfmt.torch.sensitivity import ROWS_PER_WEIGHT, Block, Curvature, block_of, gram_of
from sinrfmt.torch.signals import Signal, image_signal, psnr_of

FIRST_END, SECOND_END = 0.15, 0.86
"""Where the first two passes of several end, as shares of the file."""
PREFIX_SHARE = 1.2
"""What a decibel of all prefixes is worth beside one of the whole."""
FIRST_SHARE = 5 / 6
"""How much of that is the first prefix's: the others are much like the whole, the more so the later they end."""
FEWER_BITS = 0.3
"""By how much a weight takes less than in a file of one pass, where the error before rounding is smaller."""
MAX_PASSES = 127
"""QUALITY has room for as many."""
MAX_SIZES = 3
SMALLER, LARGER = 0.85, 1.3
MAX_DROP = 1.0
"""Loss to quantisation in dB from which on a smaller network is tried."""
PROGRESSIVE_PRICE = 1.2
"""Bytes of a file of several passes, beside those of one pass and the same quality: where a search starts."""
EXPECTED_DROP = 0.3
N_MOVES = 4
"""Corrections of what is still to come after every pass."""
MOVE_SHARES = (1.0, 0.5, 0.2)

Vector = NDArray[np.float64]


def encode_passes(
    picture: Samples | Signal,
    passes: int | Sequence[int | None],
    *,
    preset: str | Preset = "balanced",
    max_bytes: int | None = None,
    min_psnr: float | None = None,
    prefix_share: float = PREFIX_SHARE,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Encoding:
    """Fit a network that grows to a signal and write it as a file of several passes, which announces their PSNR.

    Args:
        picture: as for ``encode``.
        passes: how many; or the bytes up to the end of every pass at most, None for the last one for as
            many as it takes. A number there stands for ``max_bytes``.
        preset: how much work to do.
        max_bytes: size of the file at most.
        min_psnr: PSNR of the decoded samples at least, in dB. At most one of the two.
        prefix_share: what a decibel of the prefixes is worth beside one of the whole, above 0.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, PSNR in dB).

    Raises:
        UsageError: the target cannot be reached, or the arguments do not fit.
    """
    planned = passes if isinstance(passes, int) else tuple(passes)
    _check_passes(planned)
    budget = budget_of(planned, max_bytes, min_psnr)
    signal = picture if isinstance(picture, Signal) else image_signal(picture)
    goal = Goal(budget, min_psnr)
    if count_of(planned) == 1:
        return encode(
            signal,
            preset=preset,
            max_bytes=goal.max_bytes,
            min_psnr=min_psnr,
            seed=seed,
            device=device,
            on_progress=on_progress,
        )
    recipe = preset_of(preset) if isinstance(preset, str) else preset
    job = Job(signal, recipe, seed, device_of(device), lambda *_: 0, on_progress)
    with one_thread_if_small(signal.n_samples):
        return _encode(job, planned, goal, prefix_share)


def _check_passes(passes: Passes) -> None:
    if not 1 <= count_of(passes) <= MAX_PASSES:
        raise error("USAGE", f"passes = {passes}: expected 1 to {MAX_PASSES}")
    check_order(passes)


def _encode(job: Job, passes: Passes, goal: Goal, prefix_share: float) -> Encoding:
    """Train and write; again with a smaller or larger network where the first one does not suit the goal."""
    n_bytes = float(_expected_bytes(job, passes, goal))
    shares = _shares(count_of(passes), prefix_share)
    results: list[Encoding] = []
    for _ in range(MAX_SIZES):
        growing = _train(job, _widths(job, _sizes(job, passes, n_bytes)), shares)
        encoding = _Rounding(job, growing, shares, passes).run(goal)
        if encoding is not None:
            results.append(encoding)
        is_near = encoding is not None and encoding.float_psnr - encoding.psnr <= MAX_DROP
        if results and (is_near or (encoding is None and goal.max_bytes is None)):
            break
        n_bytes *= LARGER if encoding is None and goal.min_quality is not None else SMALLER
    if not results:
        raise error("USAGE", f"not reached with a network that grows in {count_of(passes)} passes")
    if goal.min_quality is not None:
        return min(results, key=lambda encoding: len(encoding.field.data))
    return max(results, key=lambda encoding: encoding.psnr)


def _expected_bytes(job: Job, passes: Passes, goal: Goal) -> int:
    if goal.max_bytes is not None:
        return goal.max_bytes
    if goal.min_quality is not None:
        return round(PROGRESSIVE_PRICE * probe_size(job, goal.min_quality, bits_per_parameter))
    default = int(DEFAULT_BITS_PER_SAMPLE * job.signal.n_samples / 8)
    before = None if isinstance(passes, int) else passes[-2]
    return default if before is None else max(default, 2 * before)


def _sizes(job: Job, passes: Passes, n_bytes: float) -> list[int]:
    """Bytes up to the end of every pass: as asked for; or a small and a large first step, then equal amounts."""
    if not isinstance(passes, int):
        return [*(size for size in passes[:-1] if size is not None), round(n_bytes)]
    ends = [FIRST_END, *np.linspace(SECOND_END, 1.0, passes - 1)] if passes > 2 else [FIRST_END, 1.0]
    sizes = [round(n_bytes * end) for end in ends]
    smallest = growing_network(job.signal.coords.shape[1], job.signal.channels, [(LEAST_WIDTH, LEAST_WIDTH)], 1.0)
    return [max(sizes[0], math.ceil(expected_size(smallest, _bits(job, sizes[-1]), passes))), *sizes[1:]]


def _bits(job: Job, n_bytes: float) -> float:
    return bits_per_parameter(8.0 * n_bytes / job.signal.n_samples) - FEWER_BITS


def _shares(n_passes: int, prefix_share: float) -> list[float]:
    weights = range(n_passes - 2, 0, -1)
    later = [prefix_share * (1.0 - FIRST_SHARE) * weight / sum(weights) for weight in weights]
    return [prefix_share * FIRST_SHARE, *later, 1.0]


def _widths(job: Job, sizes: Sequence[int]) -> list[Widths]:
    signal = job.signal
    widths = widths_for_sizes(signal.coords.shape[1], signal.channels, sizes, _bits(job, sizes[-1]))
    if widths is None:
        raise error("USAGE", f"passes that end at {', '.join(map(str, sizes))} bytes: too few for a network that grows")
    return widths


def _train(job: Job, widths: Sequence[Widths], shares: Sequence[float]) -> GrowingModule:
    """Screen seeds and omegas by what all prefixes are worth, and train the best one to the end."""
    preset, signal = job.preset, job.signal
    in_dims, channels = signal.coords.shape[1], signal.channels
    best: tuple[float, GrowingModule] | None = None
    candidates = [(seed, omega) for seed in range(preset.n_seeds) for omega in preset.omegas]
    screening = options_of(job, round(preset.n_steps * preset.screening_share))
    for done, (seed, omega) in enumerate(candidates, 1):
        network = growing_network(in_dims, channels, widths, omega)
        growing = GrowingModule(network, seed=(job.seed + seed) % SEED_LIMIT)
        psnrs = fit_growth(growing, signal, screening, shares, seed=growing.seed, device=job.device)
        worth = float(np.dot(shares, psnrs))
        if best is None or worth > best[0]:
            best = worth, growing
        if job.on_progress:
            job.on_progress("screen", done, len(candidates), psnrs[-1])
    assert best is not None
    growing, screened = best[1], best[1].vector()
    for rate_share in RATE_SHARES:
        options, report = options_of(job, preset.n_steps, rate_share), job.stage("fit")
        psnrs = fit_growth(growing, signal, options, shares, seed=growing.seed, device=job.device, on_progress=report)
        if float(np.dot(shares, psnrs)) >= best[0]:
            break
        growing.load(screened)
    return growing


class _Rounding:
    """Pass after pass of a trained network becomes integers.

    ``targets`` are the weights: those of the passes done as they were rounded, the others as they should be now.
    """

    def __init__(self, job: Job, growing: GrowingModule, shares: Sequence[float], passes: Passes) -> None:
        self.job, self.growing, self.passes = job, growing, passes
        self.float_psnrs = growing.measure(job.signal, job.device)
        self.float_vector = growing.vector()
        self.weights = [s / e for s, e in zip(shares, growing.errors(job.signal, job.device), strict=True)]
        self.targets = self.float_vector.copy()
        self.blocks = _blocks(job, growing, self.weights)
        self.is_whole = len(self.blocks) == 1
        self._counter = itertools.count(1)
        self._n_trials = 0

    def run(self, goal: Goal) -> Encoding | None:
        """The file; None if no step reaches the goal."""
        preset = self.job.preset
        n_near = max(4, preset.n_trials // 2)
        n_sized = 0 if isinstance(self.passes, int) else self.n_passes - 1
        self._n_trials = preset.n_trials + n_near * (1 + n_sized) + preset.n_refit_trials
        goal = self._with_quality(goal)
        c_start = math.sqrt(12.0 * (10.0 ** (EXPECTED_DROP / 10.0) - 1.0) / self.growing.network.n_parameters)
        plan = goal.search()(self._run_all, c_start=c_start, n_trials=preset.n_trials, tolerance=ROUGH)
        if plan is None:
            return None
        c, tool = (plan.c * 2.0**TRELLIS_GAIN, Tool.TRELLIS) if self.is_whole else (plan.c, Tool.SCALAR)
        written = _Written.start(self.job, self.growing, tool)
        for index in range(self.n_passes):
            trial = self._choose(index, written, c, goal)
            if trial is None:
                return None
            written = written.followed_by(trial.codes)
            self._accept(index, trial.codes)
            c = trial.c
        return self._finish(written)

    @property
    def n_passes(self) -> int:
        return self.growing.n_passes

    def _part(self, index: int) -> slice:
        return slice(self.growing.ends[index - 1] if index else 0, self.growing.ends[index])

    def _with_quality(self, goal: Goal) -> Goal:
        if goal.max_bytes is None and goal.min_quality is None:
            return Goal(min_quality=self.float_psnrs[-1] - EXPECTED_DROP)
        return goal

    def _run_all(self, c: float) -> Trial:
        """All passes with one knob, quickly: what the file comes to."""
        kept, written = self.targets.copy(), _Written.start(self.job, self.growing, Tool.SCALAR)
        codes: tuple[TensorCode, ...] = ()
        for index in range(self.n_passes):
            codes = self._integers(index, written, c, None)
            written = written.followed_by(codes)
            self._place(index, codes)
        psnr = self._measure(self.n_passes - 1)
        self.targets = kept
        return Trial(c, codes, written.n_bytes, psnr)

    def _choose(self, index: int, written: "_Written", c: float, goal: Goal) -> Trial | None:
        """The integers of a pass."""
        run = partial(self._run, index, written)
        n_near = max(4, self.job.preset.n_trials // 2)
        if index == self.n_passes - 1:
            return self._choose_last(run, c, goal, n_near)
        limit = None if isinstance(self.passes, int) else self.passes[index]
        if limit is None:
            return run(None, c)
        trial = search_bytes(partial(run, None), limit, c_start=c, n_trials=n_near, stride=TRELLIS_GAIN)
        return trial and (trial if trial.c >= c else run(None, c))

    def _choose_last(
        self, run: Callable[[Refit | None, float], Trial], c: float, goal: Goal, n_near: int
    ) -> Trial | None:
        search, preset = goal.search(), self.job.preset
        has_refit = self.is_whole and preset.n_refit_trials > 0 and preset.n_refits > 0
        tolerance = ROUGH if has_refit else FINEST_STRIDE
        best = search(partial(run, None), c_start=c, n_trials=n_near, stride=TRELLIS_GAIN, tolerance=tolerance)
        if not has_refit or best is None:
            return best
        corrected = partial(run, self._refit())
        trial = search(corrected, c_start=best.c, n_trials=preset.n_refit_trials, stride=REFIT_STRIDE)
        return goal.best([best, trial]) if trial else best

    def _run(self, index: int, written: "_Written", refit: Refit | None, c: float) -> Trial:
        codes = self._integers(index, written, c, refit)
        kept = self.targets.copy()
        self._place(index, codes)
        psnr = self._measure(index)
        self.targets = kept
        if self.job.on_progress:
            self.job.on_progress("quantise", min(next(self._counter), self._n_trials), self._n_trials, psnr)
        return Trial(c, codes, written.followed_by(codes).n_bytes, psnr)

    def _integers(self, index: int, written: "_Written", c: float, refit: Refit | None) -> tuple[TensorCode, ...]:
        part = self._part(index)
        return quantise(
            written.gains[index],
            self.targets[part],
            _curvature_of_part(self.blocks, part),
            c,
            seed=self.growing.seed,
            refit=refit,
        )

    def _place(self, index: int, codes: Sequence[TensorCode]) -> None:
        """Put a pass where it was rounded to; where all weights share their error the later ones make up for it."""
        part = self._part(index)
        gain = gains_of(self.growing.network)[index]
        arrays = dequantise(gain, codes, self.growing.seed).values()
        rounded = np.concatenate([array.ravel() for array in arrays]).astype(np.float64)
        moved = rounded - self.targets[part]
        self.targets[part] = rounded
        if self.is_whole and part.stop < self.targets.size:
            spread = self.blocks[0].spread
            # Each entry was rounded after the ones before it had moved it.
            changes = np.linalg.solve(spread[part, part].T, moved)
            self.targets[part.stop :] += changes @ spread[part, part.stop :]

    def _accept(self, index: int, codes: Sequence[TensorCode]) -> None:
        """Go on from these integers."""
        self._place(index, codes)
        if self.is_whole:
            self._move(self._part(index).stop)

    def _move(self, start: int) -> None:
        """Newton steps of the weights from ``start`` on, along the true gradient, as long as they help."""
        rest = slice(start, self.targets.size)
        spread, conditional = self.blocks[0].spread[rest, rest], self.blocks[0].conditional[rest]
        for _ in range(N_MOVES if rest.start < rest.stop else 0):
            found, gradient = self._error(self.targets, True)
            step = -spread.T @ (spread @ gradient[rest] / conditional)
            for share in MOVE_SHARES:
                moved = self.targets.copy()
                moved[rest] += share * step
                if self._error(moved, False)[0] < found:
                    self.targets = moved
                    break
            else:
                return

    def _refit(self) -> Refit:
        """Corrections during the last pass."""
        part = self._part(self.n_passes - 1)

        def error_of(vector: Vector, with_gradient: bool) -> tuple[float, Vector]:
            whole = self.targets.copy()
            whole[part] = vector
            found, gradient = self._error(whole, with_gradient)
            return found, gradient[part]

        n_samples = min(self.job.signal.n_samples, MAX_REFIT_SAMPLES)
        n_refits = max(1, min(self.job.preset.n_refits, REFIT_WORK // n_samples))
        return Refit(error_of, math.ceil((part.stop - part.start) / (n_refits + 1)))

    def _error(self, vector: Vector, with_gradient: bool) -> tuple[float, Vector]:
        """What the curvature is of: the weighted sum of the prefixes' mean squared errors, and half its gradient."""
        signal, device = self.job.signal, self.job.device
        chosen = np.linspace(0, signal.n_samples - 1, min(signal.n_samples, MAX_REFIT_SAMPLES)).astype(np.int64)
        self.growing.load(vector)
        total, gradient = 0.0, np.zeros(vector.size)
        for start in range(0, chosen.size, REFIT_BATCH):
            batch = chosen[start : start + REFIT_BATCH]
            coords = torch.tensor(signal.coords[batch], device=device)
            values = torch.tensor(signal.values[batch], device=device)
            with torch.set_grad_enabled(with_gradient):
                outputs = self.growing.prefix_outputs(coords)
                terms = [w * ((found - values) ** 2).sum() for w, found in zip(self.weights, outputs, strict=True)]
                part = torch.stack(terms).sum()
            total += part.item()
            if with_gradient:
                gradient += 0.5 * self.growing.gradients(part)
        n = chosen.size * signal.channels
        return total / n, gradient / n

    def _measure(self, index: int) -> float:
        self.growing.load(self.targets)
        return self.growing.measure(self.job.signal, self.job.device)[index]

    def _finish(self, written: "_Written") -> Encoding:
        signal = self.job.signal
        silent = sinrfmt.loads(written.data())
        prefixes = [sinrfmt.loads(silent.data, passes=index + 1) for index in range(self.n_passes)]
        psnrs = tuple(psnr_of(signal, prefix.grid().reshape(-1, signal.channels)) for prefix in prefixes)
        field = sinrfmt.loads(replace(written, header=replace(written.header, quality=psnrs)).data())
        self.growing.load(self.float_vector)
        return Encoding(field, psnrs[-1], self.float_psnrs[-1], self.growing.module.arrays())


@dataclass(frozen=True)
class _Written:
    """The passes that are written: their codes, and the tensors and the bytes of the file after them."""

    header: Header
    gains: tuple[Gain, ...]
    codes: tuple[tuple[TensorCode, ...], ...]
    states: States | None
    n_bytes: int

    @classmethod
    def start(cls, job: Job, growing: GrowingModule, tool: Tool) -> "_Written":
        network, n_passes = with_tool(growing.network, tool), growing.n_passes
        header = header_of(network, job.signal, growing.seed)
        header = replace(header, n_passes=n_passes, quality=(0.0,) * n_passes)
        n_bytes = len(SIGNATURE) + FRAMING_BYTES + len(build_head(header))
        return cls(header, gains_of(network), (), None, n_bytes)

    def followed_by(self, codes: tuple[TensorCode, ...]) -> "_Written":
        payload, states = pack(codes, self.header, coding=Coding.RANS, index=len(self.codes), before=self.states)
        n_bytes = self.n_bytes + FRAMING_BYTES + len(payload)
        return replace(self, codes=(*self.codes, codes), states=states, n_bytes=n_bytes)

    def data(self) -> bytes:
        """The file, with ``prior`` only in records of which a tensor uses it."""
        network = self.header.network
        used = {id(code.tensor.record) for codes in self.codes for code in codes if code.prior is not None}
        network = network.with_layer_records(lambda record: replace(record, prior=id(record) in used))
        tensors = {tensor.ordinal: tensor for tensor in network.tensors}
        passes = [[replace(code, tensor=tensors[code.tensor.ordinal]) for code in codes] for codes in self.codes]
        return build_passes(replace(self.header, network=network), passes, Coding.RANS)


def _blocks(job: Job, growing: GrowingModule, weights: Sequence[float]) -> tuple[Block, ...]:
    """The curvature of the weighted sum of the prefixes' errors: of all weights, or of some of a pass at a time."""
    tensors = np.concatenate([np.full(t.size, t.ordinal) for t in growing.network.tensors])
    modules = [growing.prefix_module(index).to(job.device) for index in range(growing.n_passes)]
    blocks = []
    for indices in _groups(growing.ends, job.preset.feedback_limit):
        gram = torch.zeros(indices.size, indices.size, dtype=torch.float64, device=job.device)
        for module, weight, end in zip(modules, weights, growing.ends, strict=True):
            n = int(np.searchsorted(indices, end))
            if n:
                gram[:n, :n] += weight * gram_of(
                    module,
                    job.signal.coords,
                    growing.places[indices[:n]],
                    n_rows=max(job.preset.curvature_samples, ROWS_PER_WEIGHT * n),
                    seed=job.seed,
                    device=job.device,
                )
        blocks.append(block_of(gram, indices, tensors[indices]))
    return tuple(blocks)


def _groups(ends: Sequence[int], limit: int) -> list[NDArray[np.int64]]:
    """Weights that share their error: all, if there are no more than ``limit``; else so many of a pass at a time."""
    if ends[-1] <= limit:
        return [np.arange(ends[-1])]
    starts = (0, *ends[:-1])
    return [
        np.arange(first, min(first + limit, end))
        for start, end in zip(starts, ends, strict=True)
        for first in range(start, end, limit)
    ]


def _curvature_of_part(blocks: Sequence[Block], part: slice) -> Curvature:
    """The curvature of the weights of one pass, when those of later passes move with them."""
    cut = []
    for block in blocks:
        first, last = np.searchsorted(block.indices, (part.start, part.stop))
        if first < last:
            inside = slice(int(first), int(last))
            cut.append(
                Block(block.indices[inside] - part.start, block.spread[inside, inside], block.conditional[inside])
            )
    diagonal = np.concatenate([block.conditional for block in cut])
    return Curvature(diagonal, tuple(cut))
