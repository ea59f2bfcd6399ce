"""The integers of given weights for a size or a quality: the search that every encoder of whole networks shares.

The knob is searched without corrections by the gradient, which are slow, for both coding tools, and then once more
near by with them. Nothing here knows what the values of the network stand for: quality is any measure in dB.
"""

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Tool
from sinrfmt.torch.fit import Progress
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.rate import FINEST_STRIDE, Refit, Trial, dequantise, quantise, search_bytes, search_psnr
from sinrfmt.torch.sensitivity import Curvature, split_vector
from sinrfmt.torch.views import EACH, View, seen

Floats = NDArray[np.float64]
Values = NDArray[np.float32]
SizeOf = Callable[[Network, Sequence[TensorCode], int], int]
"""Bytes of the file of a network, its codes and its seed."""

TRELLIS_GAIN = 1.0 / 8.0
"""By how many octaves of the knob the trellis is expected to be ahead of the other tool: about 2 % of the bytes."""
REFIT_GAIN = 1.0 / 8.0
"""The same for corrections, which save about as much."""
REFIT_STRIDE = 1.0 / 16.0
"""First stride of the search with corrections, in octaves: every one of its trials is slow."""
ROUGH = 1.0 / 32.0
"""Octaves from the best knob at which a search may end that another one follows: 0.5 % of the bytes."""
MAX_REFIT_SAMPLES = 1 << 19
REFIT_WORK = 1 << 21
"""Samples, over all corrections of a quantisation, that the error is measured on. All samples count in each: a network
corrected on a quarter of them is worse than one not corrected."""
REFIT_BATCH = 1 << 14
LARGE = 50_000
"""Weights of a network whose size and quality hardly stray from a line: few trials find the knob."""
DB_PER_OCTAVE = 20 * math.log10(2)
"""Quality that twice the error costs, where all of it is the network's own."""
N_PLAIN_LARGE, N_LARGE = 6, 4
"""Trials of such a network without the trellis, which only say where to begin with it, and with it."""
NARROW = 64
"""Widest layer of a network that is run in one thread."""


@contextmanager
def one_thread(wanted: bool) -> Iterator[None]:
    """One torch thread where it is wanted: for products so small that two threads mostly wait for each other."""
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Work:
    """How much work a search does: trials without and with corrections, and corrections in each of those."""

    n_trials: int
    n_refit_trials: int
    n_refits: int


@dataclass(frozen=True)
class Problem:
    """A trained network whose weights become integers.

    Attributes:
        module: the network; its tensors are coded with tool SCALAR or TRELLIS.
        curvature: of it.
        coords: float32 (n * depth, in_dims), where the outputs matter.
        values: float32 (n, channels seen), what should be seen there.
        quality: in dB, of what is seen, as ``values``.
        size_of: bytes of the file.
        work: how much to do.
        seed: of everything random.
        device: where to measure.
        on_trial: called with (trials done, in all, quality).
        view: what is seen of the outputs.
        whole: records whose weights are whole numbers.
    """

    module: FieldModule
    curvature: Curvature
    coords: Values
    values: Values
    quality: Callable[[Values], float]
    size_of: SizeOf
    work: Work
    seed: int
    device: torch.device
    on_trial: Progress | None = None
    view: View = EACH
    whole: frozenset[LayerRecord] = frozenset()


@dataclass(frozen=True)
class Goal:
    """Exactly one is set: bytes of the file at most, or dB at least."""

    max_bytes: int | None = None
    min_quality: float | None = None

    def search(self, *, is_smooth: bool = False) -> Callable[..., Trial | None]:
        if self.max_bytes is not None:
            return partial(search_bytes, max_bytes=self.max_bytes)
        assert self.min_quality is not None
        return partial(search_psnr, min_psnr=self.min_quality, slope=DB_PER_OCTAVE if is_smooth else None)

    def best(self, trials: Sequence[Trial]) -> Trial:
        """The best of trials that all reach it."""
        if self.max_bytes is not None:
            return max(trials, key=lambda trial: trial.psnr)
        return min(trials, key=lambda trial: trial.n_bytes)


def parameter_vector(module: FieldModule) -> Floats:
    """All weights in table order: float64 (n_parameters,)."""
    return np.concatenate([array.reshape(-1) for array in module.arrays().values()]).astype(np.float64)


def with_tool(network: Network, tool: Tool, whole: Collection[LayerRecord] = ()) -> Network:
    """The network with one coding tool for all layers, but for records of whole weights, which need none but SCALAR."""
    return network.with_layer_records(lambda record: replace(record, tool=Tool.SCALAR if record in whole else tool))


def tool_of(codes: Sequence[TensorCode]) -> Tool:
    """The tool that codes of ``with_tool`` were made with."""
    return max(code.tensor.record.tool for code in codes)


def search_codes(problem: Problem, goal: Goal, c_start: float) -> Trial | None:
    """The integers that reach a goal, with the tool that does it best; None if none of the trials reached it.

    Args:
        problem: what to code.
        goal: size or quality.
        c_start: where the search of the knob starts.
    """
    is_narrow = max(layer.weight_shape[0] for layer in problem.module.network.layers) <= NARROW
    with one_thread(is_narrow and problem.device.type == "cpu"):
        return _search_codes(problem, goal, c_start)


def _search_codes(problem: Problem, goal: Goal, c_start: float) -> Trial | None:
    work, has_feedback = problem.work, bool(problem.curvature.blocks)
    n_refit_trials = work.n_refit_trials if problem.curvature.is_whole and work.n_refits else 0
    n_near = max(4, work.n_trials // 2) if has_feedback else 0
    is_large = has_feedback and not problem.curvature.is_whole and problem.module.network.n_parameters > LARGE
    search = goal.search(is_smooth=is_large)
    n_plain, n_near = (N_PLAIN_LARGE, N_LARGE) if is_large else (work.n_trials, n_near)
    run = _runner(problem, n_plain + n_near + n_refit_trials)
    tolerance = ROUGH if n_refit_trials else FINEST_STRIDE
    plain = partial(run, Tool.SCALAR, None)
    best = search(plain, c_start=c_start, n_trials=n_plain, tolerance=ROUGH if is_large else tolerance)
    if best is None:
        return None
    if n_near:
        c, path = best.c * 2.0**TRELLIS_GAIN, partial(run, Tool.TRELLIS, None)
        trial = search(path, c_start=c, n_trials=n_near, stride=TRELLIS_GAIN, tolerance=tolerance)
        best = goal.best([best, trial]) if trial else best
    if n_refit_trials:
        c, corrected = best.c * 2.0**REFIT_GAIN, partial(run, tool_of(best.codes), _refit_of(problem))
        trial = search(corrected, c_start=c, n_trials=n_refit_trials, stride=REFIT_STRIDE)
        best = goal.best([best, trial]) if trial else best
    return best


def _runner(problem: Problem, n_trials: int) -> Callable[[Tool, Refit | None, float], Trial]:
    """A function that quantises with a knob and measures size and quality; it counts for the progress."""
    network, seed = problem.module.network, problem.module.seed
    networks = {tool: with_tool(network, tool, problem.whole) for tool in (Tool.SCALAR, Tool.TRELLIS)}
    weights = parameter_vector(problem.module)
    decoded = FieldModule(network, seed=seed).to(problem.device)
    counter = itertools.count(1)

    def run(tool: Tool, refit: Refit | None, c: float) -> Trial:
        codes = quantise(networks[tool], weights, problem.curvature, c, seed=seed, refit=refit)
        decoded.load_arrays(dequantise(networks[tool], codes, seed))
        n_bytes = problem.size_of(*without_unused_prior(networks[tool], codes), seed)
        quality = problem.quality(seen(decoded, problem.coords, problem.view, device=problem.device))
        if problem.on_trial:
            problem.on_trial(min(next(counter), n_trials), n_trials, quality)
        return Trial(c, codes, n_bytes, quality)

    return run


def _refit_of(problem: Problem) -> Refit:
    n_points = min(problem.coords.shape[0], MAX_REFIT_SAMPLES)
    n_refits = max(1, min(problem.work.n_refits, REFIT_WORK // n_points))
    interval = math.ceil(problem.module.network.n_parameters / (n_refits + 1))
    return Refit(_error_function(problem), interval)


def _error_function(problem: Problem) -> Callable[[Floats, bool], tuple[float, Floats]]:
    """``Refit.error_of``, on a fixed sample of very many."""
    network = problem.module.network
    rng = np.random.default_rng(problem.seed)
    view, n = problem.view, problem.values.shape[0]
    most = MAX_REFIT_SAMPLES // view.depth
    chosen = np.arange(n) if n <= most else rng.choice(n, most, replace=False)
    coords = torch.tensor(problem.coords.reshape(n, view.depth, -1)[chosen], device=problem.device)
    values = torch.tensor(problem.values[chosen], device=problem.device)
    module = FieldModule(network, seed=problem.module.seed).to(problem.device)
    parameters = [module.get_parameter(tensor.name) for tensor in network.tensors]
    names = [tensor.name for tensor in network.tensors]

    def error_of(vector: Floats, with_gradient: bool) -> tuple[float, Floats]:
        parts = split_vector(network, vector.astype(np.float32))
        module.load_arrays(dict(zip(names, parts, strict=True)))
        total, gradient = 0.0, np.zeros(vector.size)
        size = max(1, REFIT_BATCH // view.depth)
        for part in range(0, chosen.size, size):
            batch = slice(part, part + size)
            with torch.set_grad_enabled(with_gradient):
                error = ((view.see(chosen[batch], module(coords[batch].flatten(0, 1))) - values[batch]) ** 2).sum()
            total += error.item()
            if not with_gradient:
                continue
            gradients = torch.autograd.grad(error, parameters, allow_unused=True, materialize_grads=True)
            gradient += torch.cat([g.reshape(-1) for g in gradients]).cpu().numpy().astype(np.float64)
        return total / values.numel(), 0.5 * gradient / values.numel()

    return error_of


def all_zero(network: Network) -> tuple[Network, tuple[TensorCode, ...]]:
    """A network without a weight, which no other of its shape is smaller than; and its integers."""
    codes = [TensorCode(tensor, np.zeros(tensor.size, dtype=np.int32)) for tensor in network.tensors]
    return without_unused_prior(network, codes)


def without_unused_prior(network: Network, codes: Sequence[TensorCode]) -> tuple[Network, tuple[TensorCode, ...]]:
    """The network with ``prior`` and ``row_steps`` only in records that use them, and the codes of its tensors."""
    coded = list(zip(network.tensors, codes, strict=True))
    priors = {id(tensor.record) for tensor, code in coded if code.prior is not None}
    rows = {id(tensor.record) for tensor, code in coded if code.row_steps is not None}
    written = network.with_layer_records(
        lambda record: replace(record, prior=id(record) in priors, row_steps=id(record) in rows)
    )
    return written, tuple(replace(code, tensor=t) for code, t in zip(codes, written.tensors, strict=True))
