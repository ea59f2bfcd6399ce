"""From trained weights to integers: a step per tensor, rounding with error feedback, one knob searched to a target.

Specification: clauses 9.1 (weights), 9.3 (scalar tool), 9.7 (prior). The step of tensor t is ``c / sqrt(curvature of
t)``, so that every weight adds the same expected error c^2 / 12; c is the only knob.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sinrfmt.model_fit import fit_model
from sinrfmt.network import Network, Tensor
from sinrfmt.philox import signed_numbers
from sinrfmt.torch.modules import SIGNED_NUMBER_RANGE, initial_bound
from sinrfmt.torch.sensitivity import Block, Curvature

Entry = TypeVar("Entry", bound=np.generic)

STEP_MANTISSAS = (8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775)
STEP_CODE_MAX = 1023
STEP_EXPONENT_BIAS = 123
STEPS_PER_OCTAVE = 8
# log2 of the step of code 0.
STEP_LOG2_MIN = 23 - STEP_EXPONENT_BIAS

REFIT_SHARES = (1.0, 0.5, 0.2)
# The format ends at 2^31; the margin is for feedback and the prior.
ACC_PEAK = 1 << 28

PRIOR_M_MIN, PRIOR_M_LIMIT = 1 << 15, 1 << 16
PRIOR_SHIFT_MIN, PRIOR_SHIFT_MAX = 8, 38


@dataclass(frozen=True)
class Prior:
    """Multiplier m and shift E of a tensor's seeded prior ``P = (U m + 2^(E-1)) >> E``."""

    m: int
    shift: int

    @property
    def is_short(self) -> bool:
        """Only the top 8 bits of m are used, so that the short form of the file can hold it."""
        return self.m % 256 == 0


@dataclass(frozen=True)
class QuantisedTensor:
    """The integers of a tensor under tool SCALAR.

    Attributes:
        ordinal: of the tensor.
        step_code: s of clause 9.1.
        q: int64, of the tensor's shape: what is coded; ``acc = q + P``.
        prior: None when P = 0.
    """

    ordinal: int
    step_code: int
    q: NDArray[np.int64]
    prior: Prior | None


SizeOf = Callable[[Sequence[QuantisedTensor]], int]
"""Bytes of a file with these tensors."""


def step_of(code: int) -> np.float32:
    """The step of a step code; exact in binary32 (clause 9.1)."""
    return np.float32(math.ldexp(STEP_MANTISSAS[code & 7], (code >> 3) - STEP_EXPONENT_BIAS))


def nearest_step_code(step: float) -> int:
    """The code whose step is nearest on a logarithmic scale, 0 to 1023."""
    code = round(STEPS_PER_OCTAVE * (math.log2(step) - STEP_LOG2_MIN))
    return min(max(code, 0), STEP_CODE_MAX)


def prior_values(prior: Prior, tensor: Tensor, seed: int) -> NDArray[np.int64]:
    """P of every entry, of the tensor's shape (clause 9.7)."""
    numbers = signed_numbers(tensor.size, tensor.ordinal, seed).astype(np.int64)
    return ((numbers * prior.m + (1 << (prior.shift - 1))) >> prior.shift).reshape(tensor.shape)


def prior_for(bound: float, step: float) -> Prior | None:
    """The prior that stands for initial values in [-bound, bound) at a step.

    The short form if its error stays below a quarter of a step; None if the bound is below the step or out of range,
    where a prior says nothing.
    """
    ratio = bound / step / SIGNED_NUMBER_RANGE
    if bound <= step:
        return None
    fraction, exponent = math.frexp(ratio)
    m = round(fraction * PRIOR_M_LIMIT)
    short = round(fraction * 256) * 256
    if abs(short - m) * bound / step < 0.25 * m:
        m = short
    shift = 16 - exponent
    if m == PRIOR_M_LIMIT:
        m, shift = PRIOR_M_MIN, shift - 1
    return Prior(m, shift) if PRIOR_SHIFT_MIN <= shift <= PRIOR_SHIFT_MAX else None


def acc_of(tensor: Tensor, quantised: QuantisedTensor, seed: int) -> NDArray[np.int64]:
    """The integers of a tensor, ``q + P`` (rule WGT-1)."""
    if quantised.prior is None:
        return quantised.q
    return quantised.q + prior_values(quantised.prior, tensor, seed)


def dequantise(network: Network, quantised: Sequence[QuantisedTensor], seed: int) -> dict[str, NDArray[np.float32]]:
    """The weights that a decoder computes: one conversion and one multiplication in binary32 each."""
    return {
        tensor.name: acc_of(tensor, part, seed).astype(np.float32) * step_of(part.step_code)
        for tensor, part in zip(network.tensors, quantised, strict=True)
    }


def step_codes(network: Network, weights: NDArray[np.float64], curvature: Curvature, c: float) -> list[int]:
    """The step code of every tensor for knob c, from the mean curvature of its entries."""
    means = [float(part.mean()) for part in split_vector(network, curvature.effective)]
    peaks = [float(np.abs(part).max()) for part in split_vector(network, weights)]
    return [
        nearest_step_code(max(c / math.sqrt(mean), peak / ACC_PEAK)) for mean, peak in zip(means, peaks, strict=True)
    ]


def split_vector(network: Network, vector: NDArray[Entry]) -> list[NDArray[Entry]]:
    """A parameter vector as one array per tensor, of the tensor's shape."""
    ends = np.cumsum([tensor.size for tensor in network.tensors])
    parts = np.split(vector, ends[:-1])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, network.tensors, strict=True)]


@dataclass(frozen=True)
class Refit:
    """What the curvature does not know: the error surface bends, so the feedback of many entries drifts from the best.

    Attributes:
        error_of: mean squared error at a parameter vector and half its gradient, float64 (n_parameters,).
        interval: entries between corrections.
    """

    error_of: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]
    interval: int


def round_with_feedback(
    weights: NDArray[np.float64],
    steps: NDArray[np.float64],
    blocks: Sequence[Block],
    refit: Refit | None = None,
) -> NDArray[np.int64]:
    """Round a parameter vector to multiples of its steps; inside a block later entries make up for earlier errors.

    Args:
        weights, steps: float64 (n_parameters,).
        blocks: may be empty: plain rounding.
        refit: corrects the entries still to come by the true gradient; for a single block of all weights.

    Returns:
        int64 (n_parameters,)
    """
    acc = np.rint(weights / steps).astype(np.int64)
    for block in blocks:
        acc[block.indices] = _round_block(weights[block.indices], steps[block.indices], block, refit)
    return acc


def _round_block(
    weights: NDArray[np.float64], steps: NDArray[np.float64], block: Block, refit: Refit | None
) -> NDArray[np.int64]:
    acc = np.empty(weights.size, dtype=np.int64)
    targets = weights.copy()  # of entries that are done: their rounded value
    interval = refit.interval if refit else weights.size
    for start in range(0, weights.size, interval):
        if refit and start:
            targets = _corrected(targets, block, start, refit)
        for i in range(start, min(start + interval, weights.size)):
            step = steps.item(i)
            level = round(targets.item(i) / step)
            change = level * step - targets.item(i)
            acc[i] = level
            targets[i:] += change * block.spread[i, i:]
    return acc


def _corrected(targets: NDArray[np.float64], block: Block, start: int, refit: Refit) -> NDArray[np.float64]:
    """Move the entries from ``start`` on by a Newton step, shortened until it helps; earlier entries are fixed.

    The factors of the trailing part of a matrix are the trailing parts of its factors.
    """
    error, gradient = refit.error_of(targets)
    spread = block.spread[start:, start:]
    step = -spread.T @ (spread @ gradient[start:] / block.conditional[start:])
    for share in REFIT_SHARES:
        moved = targets.copy()
        moved[start:] += share * step
        if refit.error_of(moved)[0] < error:
            return moved
    return targets


def quantise(
    network: Network,
    weights: NDArray[np.float64],
    curvature: Curvature,
    c: float,
    *,
    seed: int,
    refit: Refit | None = None,
) -> tuple[QuantisedTensor, ...]:
    """Quantise a network for knob c.

    Args:
        network: the description; tensors of records with ``prior`` use it where it pays.
        weights: float64 (n_parameters,), the trained parameter vector.
        curvature: with blocks for error feedback.
        c: the knob; a larger one gives fewer bytes.
        seed: the file's.
        refit: see ``round_with_feedback``.
    """
    codes = step_codes(network, weights, curvature, c)
    steps = np.concatenate(
        [np.full(t.size, float(step_of(code))) for t, code in zip(network.tensors, codes, strict=True)]
    )
    accs = split_vector(network, round_with_feedback(weights, steps, curvature.blocks, refit))
    return tuple(
        _with_cheaper_prior(network, tensor, code, acc, seed)
        for tensor, code, acc in zip(network.tensors, codes, accs, strict=True)
    )


def _with_cheaper_prior(
    network: Network, tensor: Tensor, code: int, acc: NDArray[np.int64], seed: int
) -> QuantisedTensor:
    plain = QuantisedTensor(tensor.ordinal, code, acc, None)
    prior = prior_for(initial_bound(network, tensor), float(step_of(code))) if tensor.record.prior else None
    if prior is None:
        return plain
    rest = acc - prior_values(prior, tensor, seed)
    with_prior = QuantisedTensor(tensor.ordinal, code, rest, prior)
    return min(plain, with_prior, key=tensor_bits)


ENTRY_BITS = 14
"""A tensor's entry of the table without model and prior."""
PRIOR_SHORT_BITS, PRIOR_LONG_BITS = 13, 21
ONE_PASS_BYTES = 66
"""Everything else in a one-pass file of few records, start of the stream included."""


def tensor_bits(quantised: QuantisedTensor) -> float:
    """Bits of a tensor in a file: its values under their cheapest model, and its entry of the table."""
    bits = ENTRY_BITS + fit_model(quantised.q)[1]
    if quantised.prior is None:
        return bits
    return bits + (PRIOR_SHORT_BITS if quantised.prior.is_short else PRIOR_LONG_BITS)


def estimate_bytes(quantised: Sequence[QuantisedTensor]) -> int:
    """Size of a one-pass file of these tensors, without building it; within a few bytes."""
    return ONE_PASS_BYTES + math.ceil(sum(tensor_bits(part) for part in quantised) / 8)


@dataclass(frozen=True)
class Trial:
    """One setting of the knob and what it gives."""

    c: float
    tensors: tuple[QuantisedTensor, ...]
    n_bytes: int
    psnr: float


RunTrial = Callable[[float], Trial]
"""Quantises with a knob and measures."""


def start_knob(psnr: float, drop: float, value_scale: float, n_parameters: int) -> float:
    """The knob at which plain rounding is expected to lower ``psnr`` by ``drop`` dB: all errors add up to N c^2 / 12.

    Args:
        value_scale: size of the interval of values that the 8-bit range stands for.
    """
    mean_square = value_scale**2 * 10.0 ** (-min(psnr, 80.0) / 10.0)
    return math.sqrt(12.0 * mean_square * (10.0 ** (drop / 10.0) - 1.0) / n_parameters)


def search_bytes(run: RunTrial, max_bytes: int, *, c_start: float, n_trials: int, stride: float = 0.5) -> Trial | None:
    """The best quality found in at most ``max_bytes``; None if none of the trials was small enough.

    Args:
        run: one trial.
        max_bytes: the budget.
        c_start: first knob; the second is ``stride`` octaves away.
        n_trials: number of trials.
    """
    trials = _bisect(run, lambda trial: trial.n_bytes > max_bytes, c_start, n_trials, stride)
    return max((t for t in trials if t.n_bytes <= max_bytes), key=lambda t: t.psnr, default=None)


def search_psnr(run: RunTrial, min_psnr: float, *, c_start: float, n_trials: int, stride: float = 0.5) -> Trial | None:
    """The fewest bytes found at ``min_psnr`` dB or better; None if none of the trials was good enough.

    Arguments as for ``search_bytes``.
    """
    trials = _bisect(run, lambda trial: trial.psnr >= min_psnr, c_start, n_trials, stride)
    return min((t for t in trials if t.psnr >= min_psnr), key=lambda t: t.n_bytes, default=None)


def _bisect(
    run: RunTrial, is_too_fine: Callable[[Trial], bool], c_start: float, n_trials: int, stride: float
) -> list[Trial]:
    """Close in on the knob where ``is_too_fine`` changes: growing strides until both sides are known, then halves."""
    trials: list[Trial] = []
    fine, coarse = -math.inf, math.inf
    log_c = math.log2(c_start)
    for _ in range(n_trials):
        trials.append(run(2.0**log_c))
        if is_too_fine(trials[-1]):
            fine = log_c
        else:
            coarse = log_c
        if math.isinf(coarse) or math.isinf(fine):
            log_c += stride if math.isinf(coarse) else -stride
            stride *= 2.0
        else:
            log_c = 0.5 * (fine + coarse)
    return trials
