"""Latents for networks that are given: distortion + lambda * rate over the latents of a pyramid alone.

For tiles that share their networks (clause 13.1). No gradient goes through the context network, which costs half as
much and in few steps gives fewer bits; the laws that it gives are held for some steps. Relaxation as in ``grid_fit``.
Latents start from a linear estimate of what the networks want them to be for a picture, learnt where both
were trained together: a hundred steps from there are worth more than two hundred from zeros. Nothing here is normative.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor as Values
from torch import nn

from sinrfmt.network import PyramidEncoding
from sinrfmt.torch.fit import cosine_share
from sinrfmt.torch.grid_fit import LATENT_BETAS, level_scales
from sinrfmt.torch.latents import laplace_bits, relaxed
from sinrfmt.torch.pyramid import PyramidModule

Laws = tuple[Values, Values]

DAMPING = 20.0
"""Of Adam, in prices of a bit: latents with a lower gradient move less, or the finest would wander in flat areas."""
RIDGE = 1e-4
"""Of the linear estimate, as a share of the samples."""


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
    latent_rate: float = 0.2
    law_steps: int = 2
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
    laws = _laws(module, latents, arrays)
    for step in range(options.n_steps):
        soft = relaxed(
            latents, step / options.n_steps, options.hard_share, options.temperatures, options.noises, generator
        )
        if step % options.law_steps == 0:
            laws = _laws(module, soft, arrays)
        error = (module(soft, arrays) - values).square().mean()
        loss = error + price * _bits(module, soft, laws)
        latents.grad = None
        loss.backward()
        optimiser.param_groups[0]["lr"] = options.latent_rate * cosine_share(step, options.n_steps)
        optimiser.step()
    with torch.no_grad():
        integers = latents.round()
        error = (module(integers, arrays) - values).square().mean()
        bits = _bits(module, integers, _laws(module, integers, arrays))
    return LatentFit(integers, float(error), float(bits))


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


def start_latents(encoding: PyramidEncoding, values: Values, coefficients: Sequence[Values]) -> Values:
    """The linear estimate for another picture: float32 (n,), not rounded."""
    features = _features(encoding, values)
    return torch.cat([weights @ x for weights, x in zip(coefficients, features, strict=True)])


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
