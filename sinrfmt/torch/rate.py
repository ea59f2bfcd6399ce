"""From trained weights to integers: a step per tensor, rounding with error feedback, one knob searched to a target.

Specification: clauses 9.1 (weights), 9.3 (scalar tool), 9.4 (trellis), 9.7 (prior). The step of tensor t is
``c / sqrt(curvature of t)``, so that every weight adds the same expected error c^2 / 12; c is the only knob.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import itemgetter
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from sinrfmt.model_fit import fit_model, fit_trellis_model, trellis_cost_bits, values_cost_bits
from sinrfmt.models import LongModel, Model, ModelParameters, ShortModel, ZeroModel
from sinrfmt.network import Network, Tensor
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Dictionary
from sinrfmt.sparse import accumulate
from sinrfmt.tables import PRIOR_SHIFT_FIRST, PRIOR_SHIFT_LAST, SIZES, STEP_LAST, Prior
from sinrfmt.torch.modules import SIGNED_NUMBER_RANGE, initial_bound
from sinrfmt.torch.sensitivity import Block, Curvature, KroneckerBlock, split_vector
from sinrfmt.torch.trellis import Price, Stretch, search_path
from sinrfmt.trellis import low_bits, reconstruct, states_of
from sinrfmt.weights import (
    Acc,
    TensorState,
    add_prior,
    nearest_step_code,
    prior_values,
    step_value,
    to_weights,
)

Integers = NDArray[np.int64]

LAW = Dictionary.T8
"""Law of the dictionaries of sparse codes: Gaussian, as the paper has it."""
SHORT_MULTIPLIER_UNIT = 256
"""A prior's multiplier that is a multiple of this has a short form (TAB-2)."""
MULTIPLIER_LIMIT = 1 << 16

REFIT_SHARES = (1.0, 0.5, 0.2)
MOST_BEND = 4.0
"""By how much the slope of a line through two trials may be below the one before."""
OVERSHOOT = 1.25
"""How much further than a line says the search goes that has twice missed the goal."""
FINEST_STRIDE = 1.0 / 128.0
"""In octaves of the knob: about 0.01 dB on a drop of 0.3 dB, or 0.15 % of the bytes."""
RATE_WEIGHT = 0.08
"""What a bit is worth along a trellis, in units of c^2: close to where an error of c^2 / 17 halves with half a bit."""
ACC_PEAK = 1 << 28
"""No step is so fine that a weight, or its difference from the prior, could leave 32 bits."""
STEPS_OF_OCTAVE = 8
ROW_STRIDE = 2
"""Step codes from one possible step of a row to the next: half as many cost a bit more for each row, for 0.004 bits of
each of its weights."""
ROW_PEAK, ROW_MEAN = 60.0, 16.0
"""A row's step is not so fine that an integer of it is more than so many times the mean of all, or this mean."""
WHOLE_STEP = nearest_step_code(1.0)
"""The coarsest step that whole numbers keep all of their value with."""
ROW_STEP_BITS = 5.0
"""What the step of a row is taken to cost."""


def prior_for(bound: float, step: float) -> Prior | None:
    """The prior that stands for initial values in [-bound, bound) at a step.

    The short form if its error stays below a quarter of a step; None if the bound is below the step or out of range,
    where a prior says nothing.
    """
    ratio = bound / step / SIGNED_NUMBER_RANGE
    if bound <= step:
        return None
    fraction, exponent = math.frexp(ratio)
    m = round(fraction * MULTIPLIER_LIMIT)
    short = round(fraction * SHORT_MULTIPLIER_UNIT) * SHORT_MULTIPLIER_UNIT
    if abs(short - m) * bound / step < 0.25 * m:
        m = short
    shift = 16 - exponent
    if m == MULTIPLIER_LIMIT:
        m, shift = m // 2, shift - 1
    return Prior(m, shift) if PRIOR_SHIFT_FIRST <= shift <= PRIOR_SHIFT_LAST else None


def dequantise(network: Network, codes: Sequence[TensorCode], seed: int) -> dict[str, NDArray[np.float32]]:
    """The weights that a decoder computes."""
    return {
        tensor.name: to_weights(TensorState(tensor, acc_of(code, seed), code.step, code.row_steps))
        for tensor, code in zip(network.tensors, codes, strict=True)
    }


def acc_of(code: TensorCode, seed: int) -> Acc:
    """The integer weights of a code, flat; the dictionary of sparse codes is that of ``LAW``."""
    if code.sparse is not None:
        return accumulate(code.sparse, code.tensor.shape, LAW, code.tensor.ordinal, seed)
    values = _trellis_integers(code) if code.tensor.is_trellis else code.values
    if code.prior is None:
        return values
    return add_prior(values.copy(), code.prior, code.tensor.ordinal, seed)


def _trellis_integers(code: TensorCode) -> Acc:
    """r of clause 9.4, in a stream of one lane."""
    return reconstruct(code.values, states_of(low_bits(code.values, _model_of(code)))).astype(np.int32)


def _model_of(code: TensorCode) -> Model | None:
    return None if code.parameters is None else code.parameters.model()


@dataclass(frozen=True)
class Steps:
    """The steps of a tensor.

    Attributes:
        tensor: whose they are.
        code: the step code.
        rows: int16, differences from it for every row, or None.
    """

    tensor: Tensor
    code: int
    rows: NDArray[np.int16] | None = None

    def values(self) -> NDArray[np.float64]:
        """The step of every entry: float64 (size,)."""
        if self.rows is None:
            return np.full(self.tensor.size, float(step_value(self.code)))
        by_row = [float(step_value(self.code + int(d))) for d in self.rows]
        return np.repeat(by_row, self.tensor.size // len(by_row))


def steps_of(network: Network, weights: NDArray[np.float64], curvature: Curvature, c: float) -> list[Steps]:
    """The steps of all tensors for knob c: from the mean curvature of a tensor, or of each of its rows where that pays.

    Rows of a tensor have steps of their own only if its record has ``row_steps``, and no prior.
    """
    parts = zip(
        network.tensors, split_vector(network, weights), split_vector(network, curvature.effective), strict=True
    )
    return [_steps_of_tensor(*part, c) for part in parts]


def _steps_of_tensor(tensor: Tensor, weights: NDArray[np.float64], curvature: NDArray[np.float64], c: float) -> Steps:
    finest = float(np.abs(weights).max()) / ACC_PEAK
    exact = max(c / math.sqrt(curvature.mean()), finest)
    code = nearest_step_code(exact)
    if code < WHOLE_STEP and _are_whole(weights):
        return Steps(tensor, WHOLE_STEP)
    if tensor.is_bias or tensor.record.prior or not tensor.record.row_steps:
        return Steps(tensor, code)
    octaves = np.log2(curvature.mean() / curvature.mean(axis=1)) / 2
    if octaves.sum() * weights.shape[1] <= ROW_STEP_BITS * len(octaves):
        return Steps(tensor, code)
    lowest = nearest_step_code(max(finest, 2.0**-100)) + STEPS_OF_OCTAVE  # a trellis halves it
    step = float(step_value(code))
    octaves += math.log2(exact / step)  # not all rows turn to another step at one knob: quality follows it evenly
    # A few rows of very large integers would keep the model of all others from being a short table.
    peak = ROW_PEAK * max(float(np.abs(weights).mean()) / step, ROW_MEAN)
    octaves = np.maximum(octaves, np.log2(np.abs(weights).max(axis=1) / (peak * step) + 2.0**-100))
    rows = np.clip(ROW_STRIDE * np.rint(STEPS_OF_OCTAVE / ROW_STRIDE * octaves), lowest - code, STEP_LAST - code)
    return Steps(tensor, code, rows.astype(np.int16))


def _are_whole(weights: NDArray[np.float64]) -> bool:
    return bool(weights.any()) and np.array_equal(weights, np.rint(weights))


@dataclass(frozen=True)
class Refit:
    """What the curvature does not know: the error surface bends, so the feedback of many entries drifts from the best.

    Attributes:
        error_of: mean squared error at a parameter vector and half its gradient, float64 (n_parameters,); without the
            gradient, zeros in its place, where the second argument is False.
        interval: entries between corrections.
    """

    error_of: Callable[[NDArray[np.float64], bool], tuple[float, NDArray[np.float64]]]
    interval: int


Visit = Callable[[Integers, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], None]
"""Quantises consecutive entries of one tensor. Called with their positions int64 (n,), targets float64 (n + m,) of them
and of later entries, the rows of ``spread`` (n, n + m) and ``conditional`` (n,); it replaces the first n targets by
what they are rounded to, and moves the others."""


def round_with_feedback(
    weights: NDArray[np.float64],
    steps: NDArray[np.float64],
    blocks: Sequence[Block | KroneckerBlock],
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

    def visit(
        positions: Integers,
        targets: NDArray[np.float64],
        spread: NDArray[np.float64],
        conditional: NDArray[np.float64],
    ) -> None:
        acc[positions] = _rounded(targets, spread, steps[positions])

    walk(weights, blocks, visit, refit)
    return acc


def _rounded(targets: NDArray[np.float64], spread: NDArray[np.float64], steps: NDArray[np.float64]) -> Integers:
    """Integers (n,) of consecutive entries, whose errors move the targets; see ``Visit``."""
    levels = np.empty(steps.size, dtype=np.int64)
    for i in range(steps.size):
        step = steps.item(i)
        level = round(targets.item(i) / step)
        change = level * step - targets.item(i)
        levels[i] = level
        targets[i:] += change * spread[i, i:]
    return levels


def walk(
    weights: NDArray[np.float64],
    blocks: Sequence[Block | KroneckerBlock],
    visit: Visit,
    refit: Refit | None = None,
    starts: Integers | None = None,
) -> None:
    """Visit the entries of all blocks in the order of quantisation.

    Args:
        weights: float64 (n_parameters,).
        blocks: disjoint.
        visit: see there; one call never passes a position of ``starts``.
        refit: see ``round_with_feedback``.
        starts: positions where tensors start, or rows with another step.
    """
    for block in blocks:
        if isinstance(block, KroneckerBlock):
            _walk_layer(weights, block, visit)
        else:
            _walk_block(weights, block, visit, refit, np.zeros(0, np.int64) if starts is None else starts)


def _walk_block(
    weights: NDArray[np.float64], block: Block, visit: Visit, refit: Refit | None, starts: Integers
) -> None:
    targets = weights[block.indices]  # of entries that are done: their rounded value
    n = targets.size
    corrections = set(range(refit.interval, n, refit.interval)) if refit else set()
    # A block holds its positions in ascending order, but not all of them.
    borders = {int(i) for i in np.searchsorted(block.indices, starts)} | {0, n} | corrections
    gaps = np.flatnonzero(np.diff(block.indices) > 1) + 1
    for start, stop in pairwise(sorted(borders | set(gaps.tolist()))):
        if refit and start in corrections:
            targets[:] = _corrected(targets, block, start, refit)
        part = slice(start, stop)
        visit(block.indices[part], targets[start:], block.spread[part, start:], block.conditional[part])


def _walk_layer(weights: NDArray[np.float64], block: KroneckerBlock, visit: Visit) -> None:
    """Row by row: what a row ends up away from its targets is spread over the rows after it."""
    wanted = weights[block.weights]
    targets = wanted.copy()
    row_spread, row_conditional = block.outputs
    for i, positions in enumerate(block.weights):
        before = targets[i].copy()
        visit(positions, targets[i], block.inputs[0], block.inputs[1] * row_conditional[i])
        targets[i + 1 :] += row_spread[i, i + 1 :, None] * (targets[i] - before)
    if block.biases.size:
        biases = weights[block.biases] + (targets - wanted) @ block.bias_shift
        visit(block.biases, biases, row_spread, row_conditional * block.bias_conditional)


def _corrected(targets: NDArray[np.float64], block: Block, start: int, refit: Refit) -> NDArray[np.float64]:
    """Move the entries from ``start`` on by a Newton step, shortened until it helps; earlier entries are fixed.

    The factors of the trailing part of a matrix are the trailing parts of its factors.
    """
    error, gradient = refit.error_of(targets, True)
    spread = block.spread[start:, start:]
    step = -spread.T @ (spread @ gradient[start:] / block.conditional[start:])
    for share in REFIT_SHARES:
        moved = targets.copy()
        moved[start:] += share * step
        if refit.error_of(moved, False)[0] < error:
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
) -> tuple[TensorCode, ...]:
    """Quantise a network for knob c.

    Args:
        network: the description; tensors of records with ``prior`` use it where it pays. Those of tool TRELLIS get the
            best path.
        weights: float64 (n_parameters,), the trained parameter vector.
        curvature: with blocks for error feedback; a path needs them.
        c: the knob; a larger one gives fewer bytes.
        seed: the file's.
        refit: see ``round_with_feedback``.
    """
    steps = steps_of(network, weights, curvature, c)
    if not any(tensor.is_trellis for tensor in network.tensors):
        return share_models(_quantise_scalar(network, weights, curvature, steps, seed, refit))
    models = _quantise_scalar(network, weights, curvature, steps, seed, None)
    return share_models(_quantise_trellis(network, weights, curvature, models, c, seed, refit))


def _quantise_scalar(
    network: Network,
    weights: NDArray[np.float64],
    curvature: Curvature,
    steps: Sequence[Steps],
    seed: int,
    refit: Refit | None,
) -> tuple[TensorCode, ...]:
    values = np.concatenate([part.values() for part in steps])
    accs = split_vector(network, round_with_feedback(weights, values, curvature.blocks, refit))
    return tuple(with_cheaper_prior(network, part, acc, seed) for part, acc in zip(steps, accs, strict=True))


def _quantise_trellis(
    network: Network,
    weights: NDArray[np.float64],
    curvature: Curvature,
    rounded: Sequence[TensorCode],
    c: float,
    seed: int,
    refit: Refit | None,
) -> tuple[TensorCode, ...]:
    """Best paths under the models and with the priors of ``rounded``, the same weights in whole steps."""
    plans = [_plan(network, code, seed, RATE_WEIGHT * c * c) for code in rounded]
    ends = np.cumsum([tensor.size for tensor in network.tensors])
    steps = np.concatenate([plan.steps.values() for plan in plans])
    # Within a stretch all weights have one step.
    starts = np.union1d(ends[:-1], np.flatnonzero(np.diff(steps)) + 1)
    states = [0] * len(plans)
    values = np.zeros(weights.size, dtype=np.int64)

    def visit(
        positions: Integers,
        targets: NDArray[np.float64],
        spread: NDArray[np.float64],
        conditional: NDArray[np.float64],
    ) -> None:
        first, n = int(positions[0]), positions.size
        index = int(np.searchsorted(ends, first, side="right"))
        plan = plans[index]
        if not plan.code.tensor.is_trellis:
            values[first : first + n] = _rounded(targets, spread, steps[first : first + n])
            return
        offset = first - (int(ends[index]) - network.tensors[index].size)
        step = steps.item(first)
        stretch = replace(plan.stretch, step=step, offsets=plan.stretch.offsets[offset : offset + n])
        k, r, states[index] = search_path(targets, spread, conditional, stretch, states[index])
        values[first : first + n] = k
        targets[:n] = (r + stretch.offsets) * step

    walk(weights, curvature.blocks, visit, refit, starts)
    return tuple(
        _refitted(plan, part.ravel().astype(np.int32))
        if plan.code.tensor.is_trellis
        else with_cheaper_prior(network, plan.steps, part, seed)
        for plan, part in zip(plans, split_vector(network, values), strict=True)
    )


@dataclass(frozen=True)
class _Plan:
    """A tensor before its path is known: step, prior and the model that prices its values."""

    code: TensorCode
    stretch: Stretch

    @property
    def steps(self) -> Steps:
        return Steps(self.code.tensor, self.code.step, self.code.row_steps)


def _plan(network: Network, rounded: TensorCode, seed: int, rate_weight: float) -> _Plan:
    tensor = rounded.tensor
    if not tensor.is_trellis:
        step = float(step_value(rounded.step))
        return _Plan(rounded, Stretch(step, np.zeros(0, dtype=np.int64), Price.free(0), rate_weight))
    # The step of a trellis is half of a quantiser's.
    step = max(rounded.step - STEPS_OF_OCTAVE, 0)
    half = float(step_value(step))
    prior = None if rounded.prior is None else prior_for(initial_bound(network, tensor), half)
    offsets = np.zeros(tensor.size, dtype=np.int64)
    if prior is not None:
        offsets = prior_values(prior, tensor.ordinal, tensor.size, seed)
    largest = int(np.abs(rounded.values).max(initial=0)) + 2
    fitted = _model_for_path(rounded.values)
    price = Price.free(largest) if isinstance(fitted, ZeroModel) else Price.of(fitted.model(), largest)
    code = replace(rounded, step=step, prior=prior, parameters=None if isinstance(fitted, ZeroModel) else fitted)
    return _Plan(code, Stretch(half, offsets, price, rate_weight))


def _model_for_path(rounded: Acc) -> ModelParameters:
    """Of the values of a tensor in whole steps, for a path: one may have escapes, those that turn states it avoids."""
    fitted, bits = fit_trellis_model(rounded, low_bits(rounded, None))
    free, free_bits = fit_model(rounded)
    return free if free_bits < bits and _has_turning_escapes(free) else fitted


def _has_turning_escapes(parameters: ModelParameters) -> TypeGuard[ShortModel | LongModel]:
    if isinstance(parameters, ZeroModel):
        return False
    model = parameters.model()
    return model.esc and not model.b


def _refitted(plan: _Plan, values: Acc) -> TensorCode:
    code = replace(plan.code, values=values)
    return replace(code, parameters=_own_model(code)[0])


def share_models(codes: Sequence[TensorCode]) -> tuple[TensorCode, ...]:
    """The codes, each with the model given before wherever that saves more than it costs (TAB-3, form 3)."""
    shared = []
    last: ModelParameters | None = None
    for code in codes:
        own, bits = _own_model(code)
        if isinstance(own, ZeroModel):
            shared.append(replace(code, parameters=own))
            continue
        if last is None or _bits_under(code, last) > bits:
            last = own
        shared.append(replace(code, parameters=last))
    return tuple(shared)


def _own_model(code: TensorCode) -> tuple[ModelParameters, float]:
    if not code.tensor.is_trellis:
        return fit_model(code.values)
    fitted = fit_trellis_model(code.values, low_bits(code.values, _model_of(code)))
    before = code.parameters
    if before is None or not _has_turning_escapes(before):
        return fitted
    # Escapes from the same magnitude on leave the states as they are.
    free, _ = fit_model(code.values)
    forms: list[ShortModel | LongModel] = [before]
    if isinstance(free, LongModel) and not free.b:
        forms.append(replace(free, R=before.model().R, esc=True))
    return min([fitted, *((form, _bits_under(code, form) + form.parameter_bits) for form in forms)], key=itemgetter(1))


def _bits_under(code: TensorCode, parameters: ModelParameters) -> float:
    """Bits of the values of a code under another model; infinite if that would change them."""
    model = parameters.model()
    if not code.tensor.is_trellis:
        return values_cost_bits(code.values, model)
    bits = low_bits(code.values, _model_of(code))
    if not np.array_equal(low_bits(code.values, model), bits):
        return math.inf
    return trellis_cost_bits(code.values, states_of(bits), model)


def with_cheaper_prior(network: Network, steps: Steps, acc: Integers, seed: int) -> TensorCode:
    """The code of a tensor's integers, as their difference from the prior where that is shorter."""
    tensor, step = steps.tensor, steps.code
    plain = TensorCode(tensor, acc.ravel().astype(np.int32), step, steps.rows)
    prior = prior_for(initial_bound(network, tensor), float(step_value(step))) if tensor.record.prior else None
    if prior is None:
        return plain
    rest = acc.ravel() - prior_values(prior, tensor.ordinal, tensor.size, seed)
    return min(plain, replace(plain, values=rest.astype(np.int32), prior=prior), key=code_bits)


PRIOR_BITS = SIZES["prior_form"] + SIZES["prior_shift"]
SHORT_PRIOR_BITS = PRIOR_BITS + SIZES["prior_short"]
LONG_PRIOR_BITS = PRIOR_BITS + SIZES["prior_long"]


def code_bits(code: TensorCode) -> float:
    """Bits of a tensor in a file that depend on the choice of its prior: values, model and prior."""
    bits = fit_model(code.values)[1]
    if code.prior is None:
        return bits
    return bits + (SHORT_PRIOR_BITS if code.prior.multiplier % SHORT_MULTIPLIER_UNIT == 0 else LONG_PRIOR_BITS)


@dataclass(frozen=True)
class Trial:
    """One setting of the knob and what it gives."""

    c: float
    codes: tuple[TensorCode, ...]
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


def search_bytes(
    run: RunTrial,
    max_bytes: int,
    *,
    c_start: float,
    n_trials: int,
    stride: float = 0.5,
    tolerance: float = FINEST_STRIDE,
) -> Trial | None:
    """The best quality found in at most ``max_bytes``; None if none of the trials was small enough.

    Args:
        run: one trial.
        max_bytes: the budget.
        c_start: first knob; the second is ``stride`` octaves away.
        n_trials: number of trials at most.
        tolerance: octaves of the knob from the best one at which the search ends.
    """

    def surplus(trial: Trial) -> float:
        return trial.n_bytes - max_bytes - 0.5

    trials = _close_in(run, surplus, c_start, n_trials, stride, tolerance, good_sign=-1)
    return max((t for t in trials if t.n_bytes <= max_bytes), key=lambda t: t.psnr, default=None)


def search_psnr(
    run: RunTrial,
    min_psnr: float,
    *,
    c_start: float,
    n_trials: int,
    stride: float = 0.5,
    tolerance: float = FINEST_STRIDE,
    slope: float | None = None,
) -> Trial | None:
    """The fewest bytes found at ``min_psnr`` dB or better; None if none of the trials was good enough.

    Other arguments as for ``search_bytes``.

    Args:
        slope: dB lost in an octave of the knob, about, where quality does not stray from a line.
    """

    def surplus(trial: Trial) -> float:
        return trial.psnr - min_psnr + 1e-9

    trials = _close_in(run, surplus, c_start, n_trials, stride, tolerance, good_sign=1, slope=slope)
    return min((t for t in trials if t.psnr >= min_psnr), key=lambda t: t.n_bytes, default=None)


def _close_in(
    run: RunTrial,
    surplus: Callable[[Trial], float],
    c_start: float,
    n_trials: int,
    stride: float,
    tolerance: float,
    *,
    good_sign: int,
    slope: float | None = None,
) -> list[Trial]:
    """Close in on the knob where ``surplus`` falls below 0: growing strides until both sides are known, then inwards.

    Ends near it on the side where the surplus has ``good_sign``.

    Size and quality are all but linear in the octaves of the knob; what they are not is noise, which is left alone.
    With a ``slope`` there is none, and straight lines are followed from the first trial on.
    """
    trials: list[Trial] = []
    fine, coarse = (-math.inf, 0.0), (math.inf, 0.0)  # octave and surplus
    log_c = math.log2(c_start)
    last: tuple[float, float] | None = None
    for _ in range(n_trials):
        trials.append(run(2.0**log_c))
        found = log_c, surplus(trials[-1])
        if found[1] >= 0:
            fine = found
        else:
            coarse = found
        is_open = math.isinf(coarse[0]) or math.isinf(fine[0])
        if is_open and slope is not None and math.isfinite(found[1]):
            if last is not None:
                slope = max((found[1] - last[1]) / (last[0] - found[0]), slope / MOST_BEND)
            is_good, away = found[1] * good_sign >= 0, found[1] / slope
            if is_good and abs(away) < tolerance:
                break
            log_c += away * (1.0 if is_good or last is None else OVERSHOOT) - good_sign * tolerance / 2
            last = found
            continue
        if is_open:
            log_c += stride if math.isinf(coarse[0]) else -stride
            stride *= 2.0
            continue
        width, drop = coarse[0] - fine[0], fine[1] - coarse[1]
        zero = fine[0] + (width * fine[1] / drop if math.isfinite(drop) else width / 2)
        if abs(zero - (fine if good_sign > 0 else coarse)[0]) < tolerance:
            break
        # Every other trial halves: a straight line alone may come nearer from one side for ever.
        halves = slope is None and len(trials) % 2 == 0
        log_c = fine[0] + width / 2 if halves else zero - good_sign * tolerance / 2
    return trials
