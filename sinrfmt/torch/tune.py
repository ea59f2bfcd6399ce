"""Fine-tuning of a sparse network on its signal: supports stay, coefficients and other weights move.

Nothing here is normative. The gradient reaches the numbers of an expansion through the weights; a quantiser in the loop
is passed straight through (Bengio, Leonard, Courville, "Estimating or propagating gradients through stochastic
neurons", 2013).
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.torch.expansion import Expansion
from sinrfmt.torch.fit import ADAM_BETAS, batches, cosine_share, tensor_rates
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.signals import Signal

BATCH_SIZE = 8192


def tuned(
    module: FieldModule,
    expansion: Expansion,
    numbers: NDArray[np.float64],
    signal: Signal,
    *,
    learning_rate: float,
    n_steps: int,
    steps: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Train the numbers of an expansion with Adam.

    Args:
        module: the network, on the device to train on; its weights are not used and not changed.
        expansion: supports and atoms.
        numbers: where to start, float64 (n_numbers,).
        signal: the target.
        learning_rate: of a weight; a coefficient has less, so that the weights of a vector move as far.
        n_steps: of the optimiser.
        steps: quantiser in the loop: the step of every number; None for none.

    Returns:
        the trained numbers before rounding, float64 (n_numbers,)
    """
    device = next(module.parameters()).device
    columns = [torch.tensor(part.columns, dtype=torch.float32, device=device) for part in expansion.parts]
    places = [torch.tensor(np.argsort(part.positions, axis=None), device=device) for part in expansion.parts]
    free = [_float32(piece, device).requires_grad_() for piece in expansion.split(numbers)]
    grids = [None] * len(free) if steps is None else [_float32(piece, device) for piece in expansion.split(steps)]
    rates = tensor_rates(module.network, learning_rate)
    groups = [
        {"params": [piece], "lr": rates[part.tensor.name] / _reach(part.columns)}
        for part, piece in zip(expansion.parts, free, strict=True)
    ]
    optimizer = torch.optim.Adam(groups, betas=ADAM_BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine_share(step, n_steps))
    source = batches(signal, BATCH_SIZE, module.seed, device)
    for _ in range(n_steps):
        weights = {
            part.tensor.name: _weights(_on_grid(piece, grid), atoms, place).reshape(part.tensor.shape)
            for part, piece, grid, atoms, place in zip(expansion.parts, free, grids, columns, places, strict=True)
        }
        coords, values = next(source)
        optimizer.zero_grad(set_to_none=True)
        outputs = torch.func.functional_call(module, weights, (coords,))
        torch.nn.functional.mse_loss(outputs, values).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return np.concatenate([piece.detach().cpu().numpy().astype(np.float64).ravel() for piece in free])


def _float32(array: NDArray[np.float64], device: torch.device) -> Values:
    return torch.tensor(array, dtype=torch.float32, device=device)


def _reach(columns: NDArray[np.float64]) -> float:
    """How far a weight moves when all coefficients of its vector move by 1, in random directions."""
    return math.sqrt(float((columns**2).mean()) * columns.shape[1])


def _on_grid(numbers: Values, steps: Values | None) -> Values:
    """Rounded to multiples of the steps, with the gradient of the numbers themselves."""
    if steps is None:
        return numbers
    return numbers + (torch.round(numbers / steps) * steps - numbers).detach()


def _weights(numbers: Values, columns: Values, place: Values) -> Values:
    """The weights of a tensor, flat: numbers (n, s) times columns (n, s, k1), brought to C order."""
    return torch.bmm(numbers.unsqueeze(1), columns).reshape(-1)[place]
