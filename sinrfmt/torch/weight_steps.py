"""Steps of a grid's networks: each tensor's is chosen by what the whole file costs, distortion + lambda * rate.

Specification: clauses 9.1 (steps of layers), 9.6.3 (steps of context tensors: powers of two). The step of a tensor is
counted in octaves, and halves of them where the file can have them.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.model_fit import fit_model
from sinrfmt.network import Tensor, TensorRole
from sinrfmt.torch.latents import round_through
from sinrfmt.weights import nearest_step_code, step_value

Steps = dict[str, float]
"""Step per tensor name."""
Loss = Callable[[Mapping[str, Values]], float]
"""Distortion + lambda * rate of the latents, with the given tensors."""

FIRST_STEPS = {TensorRole.LAYER: 2.0**-8, TensorRole.CONTEXT: 2.0**-5}
RATIOS = {TensorRole.LAYER: (2.0, 0.5, 2.0**0.5, 0.5**0.5), TensorRole.CONTEXT: (2.0, 0.5)}
CONTEXT_ACC_LIMIT = 1 << 11
CONTEXT_STEPS = (2.0**-15, 1.0)
SIDE_BITS = {TensorRole.LAYER: 11.0, TensorRole.CONTEXT: 4.0}
"""Bits of a step in the tensor table."""
LEAST_GAIN = 1e-9
SCALE_FLOOR = 0.15
"""Least mean size of a tensor's integers in the law of ``weight_bits``."""


def rounded(arrays: Mapping[str, Values], steps: Steps) -> dict[str, Values]:
    """Every tensor rounded to its step, with the gradient of the identity."""
    return {name: round_through(array / steps[name]) * steps[name] for name, array in arrays.items()}


def integers(array: Values, step: float) -> NDArray[np.int64]:
    """The integers of a tensor."""
    values: NDArray[np.int64] = torch.round(array.detach() / step).to(torch.int64).cpu().numpy()
    return values


def tensor_bits(array: Values, step: float, role: TensorRole) -> float:
    """Bits of a tensor in the file."""
    return float(fit_model(integers(array, step).reshape(-1))[1]) + SIDE_BITS[role]


def first_steps(tensors: Iterable[Tensor], arrays: Mapping[str, Values]) -> Steps:
    """Fine steps to begin a search with."""
    return {tensor.name: _allowed(FIRST_STEPS[tensor.role], tensor, arrays[tensor.name]) for tensor in tensors}


def search_steps(
    tensors: Iterable[Tensor],
    arrays: Mapping[str, Values],
    steps: Steps,
    loss: Loss,
    bit_price: float,
    *,
    n_rounds: int = 2,
) -> Steps:
    """Move one step after the other while it lowers the loss.

    Args:
        tensors: those to code, in table order.
        arrays: their trained values.
        steps: where to start.
        loss: without the rate of the tensors themselves.
        bit_price: what a bit adds to the loss.
        n_rounds: times that all tensors are visited, at most.
    """
    tensors = list(tensors)
    steps = {tensor.name: _allowed(steps[tensor.name], tensor, arrays[tensor.name]) for tensor in tensors}
    with torch.no_grad():
        current = rounded(arrays, steps)
        for _ in range(n_rounds):
            before = dict(steps)
            for tensor in tensors:
                steps[tensor.name] = _search_one(tensor, arrays[tensor.name], steps, current, loss, bit_price)
                current[tensor.name] = rounded({tensor.name: arrays[tensor.name]}, steps)[tensor.name]
            if steps == before:
                break
    return steps


def _search_one(
    tensor: Tensor, array: Values, steps: Steps, current: Mapping[str, Values], loss: Loss, bit_price: float
) -> float:
    def cost(step: float) -> float:
        value = torch.round(array / step) * step
        return loss({**current, tensor.name: value}) + bit_price * tensor_bits(array, step, tensor.role)

    best = steps[tensor.name]
    best_cost = cost(best)
    for ratio in RATIOS[tensor.role]:
        while (step := _allowed(best * ratio, tensor, array)) != best and (now := cost(step)) < best_cost - LEAST_GAIN:
            best, best_cost = step, now
    return best


def _allowed(step: float, tensor: Tensor, array: Values) -> float:
    """The step, or the nearest one that the file can have."""
    if tensor.role is TensorRole.CONTEXT:
        peak = float(array.detach().abs().max())
        least, most = CONTEXT_STEPS
        while peak / step >= CONTEXT_ACC_LIMIT - 1 and step < most:
            step *= 2.0
        step = min(max(step, least), most)
    return float(step_value(nearest_step_code(step)))


def weight_bits(arrays: Mapping[str, Values], steps: Steps) -> Values:
    """What stands for the bits of networks in a loss: log likelihoods of Laplace laws over their integers."""
    sizes = [array.abs() / steps[name] for name, array in arrays.items()]
    terms = [size.sum() / size.detach().mean().clamp_min(SCALE_FLOOR) for size in sizes]
    return torch.stack(terms).sum() / math.log(2.0)
