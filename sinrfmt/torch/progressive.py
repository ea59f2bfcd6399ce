"""Signals to files of several passes: a network that grows, every prefix of which is a picture worth looking at.

Specification: clauses 6.6 (QUALITY), 13.2 (WIDTHS) and 17. All prefixes are trained at once (``growth``). Then the
first pass becomes integers, as coarse as a file of its size would have them; the others are trained on around these
before they become integers too, pass after pass. ``docs/passes.md`` has the measurements behind the choice. Nothing
here is normative.
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
JOINT_SHARE = 0.5
"""Of the steps: those in which the first prefix is trained too. In the others its integers stand."""
LATER_RATE = 2 / 3
"""Of the learning rate, in those others."""
FEWER_BITS = 0.5
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
        sizes = _sizes(job, passes, n_bytes)
        growing = _train(job, _widths(job, sizes), shares)
        limits = [sizes[0], *([None] * (len(sizes) - 2) if isinstance(passes, int) else sizes[1:-1])]
        encoding = _Rounding(job, growing, shares, limits).run(goal)
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
    bits = [_bits(job, sizes[0]), *[_bits(job, sizes[-1])] * (len(sizes) - 1)]
    widths = widths_for_sizes(signal.coords.shape[1], signal.channels, sizes, bits)
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
        options = options_of(job, round(preset.n_steps * JOINT_SHARE), rate_share)
        psnrs = fit_growth(
            growing, signal, options, shares, seed=growing.seed, device=job.device, on_progress=job.stage("fit")
        )
        if float(np.dot(shares, psnrs)) >= best[0]:
            break
        growing.load(screened)
    return growing


class _Rounding:
    """Pass after pass of a trained network becomes integers; after the first one the others are trained on.

    ``targets`` are the weights: those of the passes done as they were rounded, the others as they should be now.
    ``limits`` are bytes up to the end of every pass but the last, None for as many as it takes. The first pass
    always has one: alone it may be coarser than the whole.
    """

    def __init__(self, job: Job, growing: GrowingModule, shares: Sequence[float], limits: Sequence[int | None]) -> None:
        self.job, self.growing, self.shares, self.limits = job, growing, shares, limits
        self.targets = growing.vector()
        self._counter = itertools.count(1)
        self._n_trials = 0

    def run(self, goal: Goal) -> Encoding | None:
        """The file; None if no step reaches the goal."""
        preset = self.job.preset
        n_searches = 1 + sum(limit is not None for limit in self.limits)
        self._n_trials = n_searches * self._n_near + self.n_passes - n_searches + preset.n_refit_trials
        written = _Written.start(self.job, self.growing)
        first = self._choose_first(written)
        if first is None:
            return None
        written = written.followed_by(first.codes)
        self._place(0, first.codes)
        self._train_rest()
        goal = self._with_quality(goal)
        c_start = _knob_of_drop(self.growing.ends[-1] - self.growing.ends[0])
        run_all = partial(self._run_all, written)
        plan = goal.search()(run_all, c_start=c_start, n_trials=preset.n_trials, tolerance=ROUGH)
        if plan is None:
            return None
        for index in range(1, self.n_passes):
            trial = self._choose(index, written, plan.c, goal)
            if trial is None:
                return None
            written = written.followed_by(trial.codes)
            self._place(index, trial.codes)
        return self._finish(written)

    @property
    def n_passes(self) -> int:
        return self.growing.n_passes

    @property
    def _n_near(self) -> int:
        """Trials of a search near a knob that is known."""
        return max(4, self.job.preset.n_trials // 2)

    def _part(self, index: int) -> slice:
        return slice(self.growing.ends[index - 1] if index else 0, self.growing.ends[index])

    def _with_quality(self, goal: Goal) -> Goal:
        if goal.max_bytes is None and goal.min_quality is None:
            return Goal(min_quality=self.float_psnrs[-1] - EXPECTED_DROP)
        return goal

    def _choose_first(self, written: "_Written") -> Trial | None:
        """The integers of the first pass, for its own picture alone: what follows is not yet trained to the end."""
        self._measure_curvature(0, 1)
        c = _knob_of_drop(self.growing.ends[0])
        return self._choose_in(partial(self._run, 0, written, None), self.limits[0], c)

    def _choose_in(self, run: Callable[[float], Trial], limit: int | None, c: float) -> Trial | None:
        """With knob c, or a coarser one where the limit asks for it."""
        if limit is None:
            return run(c)
        trial = search_bytes(run, limit, c_start=c, n_trials=self._n_near, stride=TRELLIS_GAIN)
        return trial and (trial if trial.c >= c else run(c))

    def _train_rest(self) -> None:
        """Train all passes but the first, whose integers stand."""
        job, growing = self.job, self.growing
        growing.load(self.targets)
        options = options_of(job, round(job.preset.n_steps * (1.0 - JOINT_SHARE)), LATER_RATE)
        seed, progress = growing.seed + 1, job.stage("fit")
        self.float_psnrs = fit_growth(
            growing, job.signal, options, self.shares, seed=seed, device=job.device, first=1, on_progress=progress
        )
        self.targets[growing.ends[0] :] = growing.vector()[growing.ends[0] :]
        self.float_vector = self.targets.copy()
        self._measure_curvature(1, self.n_passes)

    def _measure_curvature(self, first: int, stop: int) -> None:
        """Of the weights of passes ``first`` to ``stop - 1``, on what the prefixes are worth that end with them."""
        self.growing.load(self.targets)
        errors = self.growing.errors(self.job.signal, self.job.device)
        worth = [share / found for share, found in zip(self.shares, errors, strict=True)]
        self.weights = [weight if first <= index < stop else 0.0 for index, weight in enumerate(worth)]
        self.blocks = _blocks(self.job, self.growing, self.weights, first, stop)
        self.is_whole = len(self.blocks) == 1

    def _run_all(self, written: "_Written", c: float) -> Trial:
        """All passes that are left with one knob: what the file comes to."""
        kept = self.targets.copy()
        codes: tuple[TensorCode, ...] = ()
        for index in range(1, self.n_passes):
            codes = self._integers(index, written, c, None)
            written = written.followed_by(codes)
            self._place(index, codes)
        psnr = self._measure(self.n_passes - 1)
        self.targets = kept
        return Trial(c, codes, written.n_bytes, psnr)

    def _choose(self, index: int, written: "_Written", c: float, goal: Goal) -> Trial | None:
        """The integers of a pass after the first."""
        if index == self.n_passes - 1:
            return self._choose_last(partial(self._run, index, written), c, goal)
        return self._choose_in(partial(self._run, index, written, None), self.limits[index], c)

    def _choose_last(self, run: Callable[[Refit | None, float], Trial], c: float, goal: Goal) -> Trial | None:
        search, preset = goal.search(), self.job.preset
        has_refit = self.is_whole and preset.n_refit_trials > 0 and preset.n_refits > 0
        tolerance = ROUGH if has_refit else FINEST_STRIDE
        best = search(partial(run, None), c_start=c, n_trials=self._n_near, stride=TRELLIS_GAIN, tolerance=tolerance)
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
        if index and self.is_whole:
            start = self.growing.ends[0]
            done, rest = slice(part.start - start, part.stop - start), slice(part.stop - start, None)
            spread = self.blocks[0].spread
            # Each entry was rounded after the ones before it had moved it.
            changes = np.linalg.solve(spread[done, done].T, moved)
            self.targets[part.stop :] += changes @ spread[done, rest]

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
                terms = [w * ((found - values) ** 2).sum() for w, found in zip(self.weights, outputs, strict=True) if w]
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
    def start(cls, job: Job, growing: GrowingModule) -> "_Written":
        network, n_passes = with_tool(growing.network, Tool.TRELLIS), growing.n_passes
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


def _knob_of_drop(n_parameters: int) -> float:
    """The knob at which so many weights are expected to cost ``EXPECTED_DROP`` together."""
    return math.sqrt(12.0 * (10.0 ** (EXPECTED_DROP / 10.0) - 1.0) / n_parameters)


def _blocks(job: Job, growing: GrowingModule, weights: Sequence[float], first: int, stop: int) -> tuple[Block, ...]:
    """The curvature of the weighted sum of the prefixes' errors: of the weights of passes ``first`` to ``stop - 1``.

    Those share their error; where they are too many, some of a pass at a time.
    """
    tensors = np.concatenate([np.full(t.size, t.ordinal) for t in growing.network.tensors])
    borders = [0, *growing.ends][first : stop + 1]
    heard = [(growing.prefix_module(index).to(job.device), weights[index]) for index in range(first, stop)]
    blocks = []
    for indices in _groups(borders, job.preset.feedback_limit):
        gram = torch.zeros(indices.size, indices.size, dtype=torch.float64, device=job.device)
        for (module, weight), end in zip(heard, borders[1:], strict=True):
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


def _groups(borders: Sequence[int], limit: int) -> list[NDArray[np.int64]]:
    """Weights that share their error: all, if there are no more than ``limit``; else so many of a pass at a time."""
    if borders[-1] - borders[0] <= limit:
        return [np.arange(borders[0], borders[-1])]
    return [
        np.arange(first, min(first + limit, end))
        for start, end in itertools.pairwise(borders)
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
