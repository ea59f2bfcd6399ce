"""The training loop: a seeded network is fitted to a signal.

Method: Sitzmann et al., "Implicit neural representations with periodic activation functions" (2020), with a cosine
learning rate and, in place of Adam, SOAP: networks of sines are so badly conditioned that it gets further in a tenth of
the steps. The only place of the library that is random, and it takes a seed: two runs on one machine give the same
weights. Nothing is printed; progress goes to a callback. An interruption leaves the module usable as it stands.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.network import Network
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.signals import Signal, psnr_of
from sinrfmt.torch.soap import Soap

Progress = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, PSNR in dB)."""

ADAM_BETAS = (0.9, 0.99)
"""Of the trainings that use Adam, which are not those of this module."""
WARM_STEPS, WARM_SHARE = 100, 0.02
"""Steps in which the learning rate rises, and their largest share: the first know little of the second moments."""
PROGRESS_INTERVAL = 100
EVALUATION_BATCH = 16384

REACH = 240.0
"""Reach of a tensor, omega times the number of inputs, above which its learning rate falls.

Adam and SOAP move every weight by about the rate, whatever the gradient, so the phases of a layer move by up to
``rate * reach``: 1.2 radians at 5e-3 and this bound. Without it wide and deep networks of sines diverge at rates that
narrow ones need.
"""


@dataclass(frozen=True)
class FitOptions:
    """How long and how fast to train.

    Attributes:
        n_steps: optimiser steps.
        learning_rate: at the start, less in networks of long reach; it falls to zero along half a cosine.
        batch_size: samples a step. A signal of no more samples is used whole; a larger one is shuffled every epoch.
            A small batch makes several steps in the time of one, a large one has less noise at the end.
    """

    n_steps: int
    learning_rate: float = 5e-3
    batch_size: int = 4096


def fit(
    module: FieldModule,
    signal: Signal,
    options: FitOptions,
    *,
    seed: int,
    device: torch.device,
    on_progress: Progress | None = None,
) -> float:
    """Train ``module`` in place.

    Args:
        module: moved to ``device``.
        signal: the target.
        options: steps, rate and batch.
        seed: order of the samples.
        device: where to train.
        on_progress: called every 100 steps and at the end.

    Returns:
        the PSNR of the trained module, in dB
    """
    module.to(device).train()
    source = batches(signal, options.batch_size, seed, device)

    def loss(_: int) -> Values:
        coords, values = next(source)
        return torch.nn.functional.mse_loss(module(coords), values)

    for done, _ in descend(module, loss, options.n_steps, options.learning_rate):
        if on_progress and done % PROGRESS_INTERVAL == 0 and done < options.n_steps:
            on_progress(done, options.n_steps, measure(module, signal, device=device))
    psnr = measure(module, signal, device=device)
    if on_progress:
        on_progress(options.n_steps, options.n_steps, psnr)
    return psnr


def descend(
    module: FieldModule,
    loss_of: Callable[[int], Values],
    n_steps: int,
    learning_rate: float,
    masks: Mapping[str, Values] | None = None,
) -> Iterator[tuple[int, Values]]:
    """Train a module in place, whatever for: the rate rises for a few steps and falls along half a cosine.

    Args:
        module: on its device.
        loss_of: called with the number of every step; a scalar with a gradient.
        n_steps: optimiser steps.
        learning_rate: see ``FitOptions``.
        masks: by the name of every tensor, 1 where it may change and 0 where it stays; None for 1 everywhere.

    Yields:
        the steps done and the loss of the last one.
    """
    rate, shares = _common_rate(module.network, learning_rate)
    n_warm = min(WARM_STEPS, WARM_SHARE * n_steps)
    names = [tensor.name for tensor in module.network.tensors]
    ordered = None if masks is None else [masks[name] for name in names]
    optimizer = Soap([module.get_parameter(name) for name in names], ordered)
    for step in range(n_steps):
        module.zero_grad(set_to_none=True)
        loss = loss_of(step)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(rate * min(1.0, step / n_warm) * cosine_share(step, n_steps), shares)
        yield step + 1, loss


def _common_rate(network: Network, learning_rate: float) -> tuple[float, list[float]]:
    """The rate of all tensors, the least of those behind the first layer, and the share of it that each one has.

    The first layer may have a far larger omega, as fine waves along time need: that must not slow the others down.
    """
    rates = tensor_rates(network, learning_rate)
    behind = [rate for tensor, rate in zip(network.tensors, rates.values(), strict=True) if tensor.ordinal // 2 > 0]
    common = min(behind or rates.values())
    return common, [min(1.0, rate / common) for rate in rates.values()]


def tensor_rates(network: Network, learning_rate: float) -> dict[str, float]:
    """The learning rate of every tensor by name: the common one, less where a phase would move too far."""
    rates = {}
    for tensor in network.tensors:
        layer = network.layers[tensor.ordinal // 2]
        reach = layer.omega * (1 if tensor.is_bias else layer.n_in)
        rates[tensor.name] = learning_rate * min(1.0, REACH / reach)
    return rates


def cosine_share(step: int, n_steps: int) -> float:
    """The share of the learning rate at a step: 1 at the first, 0 after the last."""
    return 0.5 * (1.0 + math.cos(math.pi * step / n_steps))


def batches(signal: Signal, batch_size: int, seed: int, device: torch.device) -> Iterator[tuple[Values, Values]]:
    """Yield (coords, values) without end; the last, smaller batch of an epoch is left out."""
    coords = torch.tensor(signal.coords, device=device)
    values = torch.tensor(signal.values, device=device)
    n = signal.n_samples
    if n <= batch_size:
        while True:
            yield coords, values
    generator = torch.Generator().manual_seed(seed & (2**63 - 1))
    while True:
        order = torch.randperm(n, generator=generator).to(device)
        shuffled_coords, shuffled_values = coords[order], values[order]
        for start in range(0, n - batch_size + 1, batch_size):
            part = slice(start, start + batch_size)
            yield shuffled_coords[part], shuffled_values[part]


@torch.no_grad()
def outputs(module: FieldModule, coords: NDArray[np.float32], *, device: torch.device) -> NDArray[np.float32]:
    """The module's values at coords (n, in_dims), in batches: float32 (n, out_channels)."""
    points = torch.tensor(coords).to(device)
    parts = [module(part) for part in torch.split(points, EVALUATION_BATCH)]
    values: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
    return values


def measure(module: FieldModule, signal: Signal, *, device: torch.device) -> float:
    """PSNR of the module on the signal's samples, in dB."""
    return psnr_of(signal, outputs(module, signal.coords, device=device))


@dataclass(frozen=True)
class Candidate:
    """One network and seed of a screening, with its PSNR after the short training."""

    network: Network
    seed: int
    module: FieldModule
    psnr: float


def screen_seeds(
    candidates: Sequence[tuple[Network, int]],
    signal: Signal,
    options: FitOptions,
    *,
    device: torch.device,
    on_progress: Progress | None = None,
) -> Candidate:
    """Train every (network, seed) for ``options.n_steps`` and keep the best.

    Seeds differ by about 0.5 dB and a short training ranks the extremes correctly (the choice is free for the
    decoder: the seed is in the file anyway).

    Args:
        candidates: at least one; networks may differ in omega.
        signal, options, device: as for ``fit``; ``n_steps`` is that of one candidate.
        on_progress: called after each candidate with (candidates done, candidates in all, best PSNR).
    """
    best: Candidate | None = None
    for i, (network, seed) in enumerate(candidates):
        module = FieldModule(network, seed=seed)
        psnr = fit(module, signal, options, seed=seed, device=device)
        if best is None or psnr > best.psnr:
            best = Candidate(network, seed, module, psnr)
        if on_progress:
            on_progress(i + 1, len(candidates), best.psnr)
    if best is None:
        raise ValueError("no candidates to screen")
    return best
