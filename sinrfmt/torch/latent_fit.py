"""Latents for networks that are given: distortion + lambda * rate over the latents of a pyramid alone.

For tiles that share their networks (clause 13.1). Gradients go through the context network: a latent pays for what it
makes of its neighbours' laws too. Relaxation as in ``grid_fit``. Coarse latents start from a linear estimate of what
the networks want them to be for a picture, learnt where both were trained together, the finest from zeros, which most
of them become: docs/tiles.md has the measurements. Nothing here is normative.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor as Values
from torch import nn

from sinrfmt.network import PyramidEncoding
from sinrfmt.torch.fit import cosine_share
from sinrfmt.torch.grid_fit import LATENT_BETAS, latent_bits, move_latents
from sinrfmt.torch.latents import relaxed
from sinrfmt.torch.pyramid import PyramidModule

DAMPING = 20.0
"""Of Adam, in prices of a bit: latents with a lower gradient move less, or the finest would wander in flat areas."""
ZERO_LEVELS = 1
"""Finest levels that start from zeros: of what an estimate puts there, most is not worth its bits."""
RIDGE = 1e-4
"""Of the linear estimate, as a share of the samples."""


@dataclass(frozen=True)
class LatentFitOptions:
    """How long and how to train; fields as in ``GridFitOptions`` where they have the same name.

    Attributes:
        n_steps: optimiser steps.
        rate_weight: lambda.
        latent_rate: learning rate of the finest, in steps of a latent.
        hard_share: last share, with latents rounded.
        temperatures: of soft rounding, first and last.
        noises: deviations of the noise, first and last.
    """

    n_steps: int
    rate_weight: float
    latent_rate: float = 0.16
    hard_share: float = 0.02
    temperatures: tuple[float, float] = (0.5, 0.08)
    noises: tuple[float, float] = (0.15, 0.1)


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
    """Fit latents, from those that the module has, and round them.

    Args:
        module: of the lattice, on the device of ``values``; its latents are changed, its own networks not used.
        values: float32 (channels, rows * columns), in [0, 1].
        arrays: tensors of the networks, as the file will have them.
        options: see there.
        seed: of the noise.
    """
    generator = torch.Generator(device=values.device).manual_seed(seed & (2**63 - 1))
    latents = module.latents
    price = options.rate_weight / values.shape[1]
    optimiser = torch.optim.Adam([latents], betas=LATENT_BETAS, eps=DAMPING * price)
    o, rates = options, module.latent_rates()
    for step in range(o.n_steps):
        share = step / o.n_steps
        soft = relaxed(latents, share, o.hard_share, o.temperatures, o.noises, generator, twice=True)
        loss = (module(soft, arrays) - values).square().mean() + price * latent_bits(module, soft, arrays).sum()
        latents.grad = None
        loss.backward()
        move_latents(optimiser, o.latent_rate * cosine_share(step, o.n_steps), rates)
    with torch.no_grad():
        integers = latents.round()
        error = (module(integers, arrays) - values).square().mean()
        bits = latent_bits(module, integers, arrays).sum()
    return LatentFit(integers, float(error), float(bits))


# --- where to start ---------------------------------------------------------------------------------------------------


def learn_start(encoding: PyramidEncoding, values: Values, latents: Sequence[Values]) -> list[Values]:
    """Coefficients of the linear estimate of every level, by ridge regression.

    Args:
        encoding: of the pyramid of a picture.
        values: float32 (channels, rows * columns) of that picture.
        latents: of every level, of any shape, as they were trained.

    Returns:
        float32 (features,) for each level.
    """
    found = []
    for features, trained in zip(_features(encoding, values), latents, strict=True):
        x, y = features.double(), trained.reshape(-1).double()
        ridge = RIDGE * x.shape[1] * torch.eye(len(x), dtype=x.dtype, device=x.device)
        found.append(torch.linalg.solve(x @ x.T + ridge, x @ y).float())
    return found


def start_latents(
    encoding: PyramidEncoding, values: Values, coefficients: Sequence[Values], *, n_zero: int = 0
) -> Values:
    """The linear estimate for another picture: float32 (n,), not rounded; zeros in the ``n_zero`` finest levels."""
    features = _features(encoding, values)
    levels = [weights @ x for weights, x in zip(coefficients, features, strict=True)]
    n_kept = len(levels) - n_zero
    return torch.cat([*levels[:n_kept], *map(torch.zeros_like, levels[n_kept:])])


def _features(encoding: PyramidEncoding, values: Values) -> Iterator[Values]:
    """(features, sites) of every level: samples around a site in the picture shrunk to it and to the level below."""
    pictures = [values.view(1, -1, *encoding.grid)]
    for _ in range(encoding.n_levels - 1):
        pictures.insert(0, nn.functional.avg_pool2d(pictures[0], 2, ceil_mode=True, count_include_pad=False))
    for level, picture in enumerate(pictures):
        rows, columns = picture.shape[2:]
        near = [_neighbourhoods(picture), picture.new_ones(1, rows * columns)]
        if level:
            coarse = nn.functional.interpolate(pictures[level - 1], scale_factor=2.0, mode="bilinear")
            near.append(_neighbourhoods(coarse[:, :, :rows, :columns]))
        yield torch.cat(near)


def _neighbourhoods(picture: Values) -> Values:
    """Three by three samples around each: (9 * channels, samples)."""
    padded = nn.functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    return nn.functional.unfold(padded, 3)[0]
