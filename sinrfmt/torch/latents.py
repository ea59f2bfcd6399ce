"""Latents in training: what stands for rounding while a gradient is needed, and what a latent costs.

Methods:
- soft rounding, and noise of the Kumaraswamy law: Kim et al., "C3: high-performance and low-complexity neural
  compression from a single image or video" (2023);
- stochastic Gumbel annealing: Yang et al., "Improving inference for neural image compression" (2020), as SHACIRA uses
  it (Girish et al., 2023);
- monotone CDF network: SHACIRA, appendix, equations 1 to 3, after Balle et al., "Variational image compression with a
  scale hyperprior" (2018).

Latents are in units of their own step: the integers of the file are their nearest integers.
"""

import math
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor as Values
from torch import nn

LOG_SCALE_RANGE = (-5.0, 4.0)
"""Natural logarithms of the scales that a latent's law may have."""
LEAST_PROBABILITY = 2.0**-16
"""Of any integer in the coder's tables."""


class _RoundThrough(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, x: Values) -> Values:
        return x.round()

    @staticmethod
    def backward(_ctx: object, gradient: Values) -> Values:
        return gradient


def round_through(x: Values) -> Values:
    """Nearest integers, with the gradient of the identity."""
    return cast(Values, _RoundThrough.apply(x))  # type: ignore[no-untyped-call]


def soft_round(x: Values, temperature: float) -> Values:
    """A smooth step function that keeps integers and halves: the identity when hot, rounding when cold."""
    below = x.floor()
    bend = torch.tanh((x - below - 0.5) / temperature) / (2.0 * math.tanh(0.5 / temperature))
    return below + bend + 0.5


def kumaraswamy_noise(like: Values, shape: float, generator: torch.Generator) -> Values:
    """Noise in (-1/2, 1/2) with its mode at 0; uniform for shape 1, narrower above."""
    second = (2.0**shape * (shape - 1.0) + 1.0) / shape
    uniform = torch.rand(like.shape, generator=generator, device=like.device)
    return (1.0 - (1.0 - uniform).pow(1.0 / second)).pow(1.0 / shape) - 0.5


def gaussian_noise(like: Values, deviation: float, generator: torch.Generator) -> Values:
    """Normal noise of a standard deviation."""
    return deviation * torch.randn(like.shape, generator=generator, device=like.device)


def gumbel_round(x: Values, temperature: float, generator: torch.Generator) -> Values:
    """Stochastic Gumbel annealing: a soft sample of floor and ceiling, in favour of the nearer one.

    The log odds of a side are ``-atanh(distance) / temperature``.
    """
    below = x.floor()
    part = (x - below).clamp(1e-4, 1.0 - 1e-4)
    log_odds = (torch.atanh(1.0 - part) - torch.atanh(part)) / temperature
    uniform = torch.rand(x.shape, generator=generator, device=x.device).clamp(1e-6, 1.0 - 1e-6)
    # The difference of two Gumbel numbers is logistic.
    logistic = torch.log(uniform) - torch.log1p(-uniform)
    return below + torch.sigmoid((logistic - log_odds) / temperature)


def relaxed(
    latents: Values,
    share: float,
    hard_share: float,
    temperatures: tuple[float, float],
    noises: tuple[float, float],
    generator: torch.Generator,
    *,
    twice: bool = False,
) -> Values:
    """Latents as a training sees them: softly rounded with noise, rounded for the last of its steps.

    Args:
        latents: of any shape.
        share: of the training that is done, 0 to 1.
        hard_share: last share, with latents rounded.
        temperatures: of soft rounding, first and last.
        noises: deviations of the noise, first and last.
        generator: of the noise.
        twice: whether what has noise is softly rounded again, as in C3.
    """
    if share >= 1.0 - hard_share:
        return round_through(latents)
    part = share / (1.0 - hard_share)
    temperature, deviation = (a + (b - a) * part for a, b in (temperatures, noises))
    soft = soft_round(latents, temperature)
    noisy = soft + gaussian_noise(soft, deviation, generator)
    return soft_round(noisy, temperature) if twice else noisy


def laplace_bits(x: Values, mean: Values | float, log_scale: Values) -> Values:
    """Bits of every entry of ``x`` under Laplace laws, each taken over an interval of one step."""
    inverse = torch.exp(-log_scale.clamp(*LOG_SCALE_RANGE))
    distance = (x - mean).abs()
    near = torch.exp(-(distance - 0.5).abs() * inverse)
    far = torch.exp(-(distance + 0.5) * inverse)
    mass = torch.where(distance >= 0.5, 0.5 * (near - far), 1.0 - 0.5 * (near + far))
    return -torch.log2(mass + LEAST_PROBABILITY)


class _CentredBits(torch.autograd.Function):
    """Bits and their gradient in a third of the passes over memory that separate operations take."""

    @staticmethod
    def forward(ctx: Any, x: Values, inverse: Values) -> Values:
        distance = x.abs()
        near = torch.exp((distance - 0.5).abs_().mul_(inverse).neg_())
        far = torch.exp((distance + 0.5).mul_(inverse).neg_())
        mass = torch.where(distance >= 0.5, 0.5 * (near - far), 1.0 - 0.5 * (near + far)).add_(LEAST_PROBABILITY)
        slope = near.sub_(far).mul_(inverse).mul_(torch.sign(x)).div_(mass).mul_(0.5 / math.log(2.0))
        ctx.save_for_backward(slope)
        return mass.log2_().neg_()

    @staticmethod
    def backward(ctx: Any, gradient: Values) -> tuple[Values, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None


def centred_bits(x: Values, log_scale: Values) -> Values:
    """``laplace_bits`` for the mean 0 and scales without a gradient."""
    inverse = torch.exp(-log_scale.clamp(*LOG_SCALE_RANGE))
    return cast(Values, _CentredBits.apply(x, inverse))  # type: ignore[no-untyped-call]


class MonotoneCdf(nn.Module):
    """A learned distribution function of one variable: monotone layers of softplus weights, a sigmoid at the end.

    Equations 1 to 3 of the appendix. Latent dimensions are apart from each other.
    """

    def __init__(
        self,
        n_dims: int,
        hidden: tuple[int, ...] = (3, 3, 3),
        scale: float = 10.0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """Args:
        n_dims: latent dimensions.
        hidden: widths of the hidden layers.
        scale: half width of the range that it covers at first.
        generator: of the first biases.
        """
        super().__init__()
        widths = (1, *hidden, 1)
        gain = scale ** (1.0 / (len(widths) - 1))
        pairs = list(pairwise(widths))
        self.weights = nn.ParameterList(
            torch.full((n_dims, n_out, n_in), math.log(math.expm1(1.0 / gain / n_out))) for n_in, n_out in pairs
        )
        self.biases = nn.ParameterList(torch.rand(n_dims, n_out, 1, generator=generator) - 0.5 for _, n_out in pairs)
        self.bends = nn.ParameterList(torch.zeros(n_dims, n_out, 1) for _, n_out in pairs[:-1])

    def forward(self, x: Values) -> Values:
        """Logits of the distribution function: (n_dims, n) -> (n_dims, n)."""
        y = x.unsqueeze(1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            y = nn.functional.softplus(weight) @ y + bias
            if i < len(self.bends):
                y = y + torch.tanh(self.bends[i]) * torch.tanh(y)
        return y.squeeze(1)

    def bits(self, x: Values) -> Values:
        """Bits of every entry of ``x`` (n_dims, n): mass of the interval of one step around it."""
        upper, lower = self(x + 0.5), self(x - 0.5)
        # Differences of sigmoids are exact on the side where both are small.
        sign = -torch.sign(upper + lower).detach()
        mass = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
        return -torch.log2(mass + LEAST_PROBABILITY)
