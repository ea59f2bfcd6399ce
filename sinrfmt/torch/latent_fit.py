"""Latents for networks that are given: distortion + lambda * rate over the latents of a pyramid alone.

For tiles that share their networks (clause 13.1). Networks hold still, so a step costs little: no gradient goes through
the context network, and the laws that it gives are held for some steps. What is lost by that a few steps more make good.
Relaxation as in ``grid_fit``. Nothing here is normative.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor as Values

from sinrfmt.torch.fit import cosine_share
from sinrfmt.torch.grid_fit import LATENT_BETAS, TINY, level_scales
from sinrfmt.torch.latents import gaussian_noise, laplace_bits, round_through, soft_round
from sinrfmt.torch.pyramid import PyramidModule

Laws = tuple[Values, Values]


@dataclass(frozen=True)
class LatentFitOptions:
    """How long and how to train; fields as in ``GridFitOptions`` where they have the same name.

    Attributes:
        n_steps: optimiser steps.
        rate_weight: lambda.
        latent_rate: learning rate, in steps of a latent.
        law_steps: optimiser steps that a law is held for.
        hard_share: last share, with latents rounded.
        temperatures: of soft rounding, first and last.
        noises: deviations of the noise, first and last.
    """

    n_steps: int
    rate_weight: float
    latent_rate: float = 0.5
    law_steps: int = 4
    hard_share: float = 0.02
    temperatures: tuple[float, float] = (0.35, 0.08)
    noises: tuple[float, float] = (0.22, 0.15)


@dataclass(frozen=True)
class LatentFit:
    """Fitted latents.

    Attributes:
        latents: integers as float32 (n,).
        mse: mean squared error of the values.
        latent_bits: estimate of the latents' size.
    """

    latents: Values
    mse: float
    latent_bits: float


def fit_latents(
    module: PyramidModule, values: Values, arrays: Mapping[str, Values], options: LatentFitOptions, *, seed: int
) -> LatentFit:
    """Fit latents, from zeros, and round them.

    Args:
        module: of the lattice, on the device of ``values``; its latents are changed, its own networks not used.
        values: float32 (channels, rows * columns), in [0, 1].
        arrays: tensors of the networks, as the file will have them.
        options: see there.
        seed: of the noise.
    """
    generator = torch.Generator(device=values.device).manual_seed(seed & (2**63 - 1))
    latents = module.latents
    optimiser = torch.optim.Adam([latents], betas=LATENT_BETAS, eps=TINY)
    price = options.rate_weight / values.shape[1]
    laws = _laws(module, latents, arrays)
    for step in range(options.n_steps):
        relaxed = _relaxed(latents, step / options.n_steps, options, generator)
        if step % options.law_steps == 0:
            laws = _laws(module, relaxed, arrays)
        error = (module(relaxed, arrays) - values).square().mean()
        loss = error + price * _bits(module, relaxed, laws)
        latents.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.param_groups[0]["lr"] = options.latent_rate * cosine_share(step, options.n_steps)
        optimiser.step()
    with torch.no_grad():
        integers = latents.round()
        error = (module(integers, arrays) - values).square().mean()
        bits = _bits(module, integers, _laws(module, integers, arrays))
    return LatentFit(integers, float(error), float(bits))


def _relaxed(latents: Values, share: float, options: LatentFitOptions, generator: torch.Generator) -> Values:
    if share >= 1.0 - options.hard_share:
        return round_through(latents)
    part = share / (1.0 - options.hard_share)
    temperature, deviation = (a + (b - a) * part for a, b in (options.temperatures, options.noises))
    soft = soft_round(latents, temperature)
    return soft + gaussian_noise(soft, deviation, generator)


@torch.no_grad()
def _laws(module: PyramidModule, latents: Values, arrays: Mapping[str, Values]) -> Laws:
    """Mean and log scale of every latent: by the context network, or of its level where there is none."""
    if module.sites is not None:
        return module.laws(latents, arrays)
    scales = level_scales(module, latents)
    return torch.zeros_like(scales), scales


def _bits(module: PyramidModule, latents: Values, laws: Laws) -> Values:
    ordered = latents if module.sites is None else latents.index_select(0, module.get_buffer("order"))
    return laplace_bits(ordered, *laws).sum()
