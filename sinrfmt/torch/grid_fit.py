"""Training of a pyramid: distortion + lambda * rate over latents, synthesis and context network at once.

Method: overfitted codecs (Ladune et al., "COOL-CHIC", 2023; Kim et al., "C3", 2023), with what was found to matter at
short trainings: latents softly rounded before and after the noise, a synthesis that is linear at first, learning rates
that fall to nothing, the price of the networks' own bits in the loss, and networks rounded to their steps for the last
part. Nothing here is normative.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor as Values
from torch import nn

from sinrfmt.network import Network, Tensor, TensorRole
from sinrfmt.torch.fit import Progress, cosine_share
from sinrfmt.torch.latents import laplace_bits, relaxed
from sinrfmt.torch.pyramid import PyramidModule
from sinrfmt.torch.soap import Soap
from sinrfmt.torch.weight_steps import Steps, first_steps, rounded, search_steps, weight_bits

OfArrays = Callable[[Mapping[str, Values]], Values]

PROGRESS_INTERVAL = 50
LATENT_BETAS = (0.9, 0.999)
TINY = 1e-12
ERROR_MEMORY = 0.9
"""Share of the mean error so far in the next one, of every prefix."""
CLIP = 0.1
"""Largest norm of the networks' gradient."""
LEAST_SCALE = 0.02
"""Of a level's factorised law."""
LATE_SHARE = 0.05
"""Least share of the networks' learning rate while they are rounded."""
STEP_UPDATES = 4
"""Times that steps are chosen again before networks are rounded."""
USUAL_RATE_WEIGHT, LEAST_RATE_WEIGHT = 1e-3, 1e-6
"""Lambda for which first weights and rates are what they are, and that below which they change no more."""
LEVEL_EXPONENT = -0.25
"""Of what a latent is worth beside one of the next finer level, over the amplitude: more samples share it, and with
small steps that counts."""
NETWORK_EXPONENT, LATENT_EXPONENT = -0.5, -0.25
"""Of learning rates over the amplitude: what is to be exact must move little."""
AGAIN_RATES, AGAIN_SHARES = (2 / 3, 1 / 2), 1.5
"""Of a training that starts from trained networks: learning rates of latents and networks, and the last shares of its
fewer steps, in those of one that starts from nothing."""


@dataclass(frozen=True)
class GridFitOptions:
    """How long and how to train.

    Attributes:
        n_steps: optimiser steps.
        rate_weight: lambda, what a bit per sample position adds to the mean squared error of values in [0, 1].
        latent_rate: learning rate of the finest latents, in steps; falls to zero along half a cosine.
        network_rate: of everything else; both at the usual lambda.
        warm_share: share of the training with a factorised rate. It costs steps; prefixes of levels are better for it,
            for it keeps smooth fields out of the finest level, which a context codes cheaply there.
        hard_share: last share, with latents rounded.
        coded_share: last share, with networks rounded to their steps.
        price_share: first share without a price on the networks' bits.
        temperatures: of soft rounding, first and last.
        noises: deviations of the noise, first and last.
        prefixes: numbers of coarsest levels that are to make a good picture without the finer ones.
        prefix_share: of the steps, that train one of them in place of the whole.
        prefix_weight: what the error of a prefix counts beside that of the whole, and a bit of the levels that prefixes
            have beside others. Both together: the weight of errors alone fills these levels with bits.
    """

    n_steps: int
    rate_weight: float
    latent_rate: float = 0.16
    network_rate: float = 0.02
    warm_share: float = 0.0
    hard_share: float = 0.02
    coded_share: float = 0.08
    price_share: float = 0.7
    temperatures: tuple[float, float] = (0.35, 0.08)
    noises: tuple[float, float] = (0.22, 0.15)
    prefixes: tuple[int, ...] = ()
    prefix_share: float = 0.3
    prefix_weight: float = 1.5

    def for_trained(self, n_steps: int) -> "GridFitOptions":
        """For a pyramid whose networks are trained already: few and smaller steps, none with the factorised rate."""
        return replace(
            self,
            n_steps=n_steps,
            latent_rate=AGAIN_RATES[0] * self.latent_rate,
            network_rate=AGAIN_RATES[1] * self.network_rate,
            warm_share=0.0,
            hard_share=AGAIN_SHARES * self.hard_share,
            coded_share=AGAIN_SHARES * self.coded_share,
        )


def amplitude_of(rate_weight: float) -> float:
    """What values are multiplied by in a training: a power of two.

    A step of latents is worth then what it is at the usual lambda. 1 from that on, as larger ones gain nothing by it.
    """
    ratio = USUAL_RATE_WEIGHT / max(rate_weight, LEAST_RATE_WEIGHT)
    return math.ldexp(1.0, max(round(0.5 * math.log2(ratio)), 0))


def level_gain_of(rate_weight: float) -> float:
    """What a latent is worth at first, beside one of the next finer level."""
    return math.pow(amplitude_of(rate_weight), LEVEL_EXPONENT)


def new_pyramid(network: Network, values: Values, rate_weight: float, *, seed: int = 0) -> PyramidModule:
    """A pyramid as a training begins with it, on the device of the values, whose mean it gives.

    Args:
        network: the description.
        values: float32 (channels, rows * columns).
        rate_weight: lambda of the training.
        seed: of the synthesis weights.
    """
    mean = values.mean(dim=1).cpu().numpy()
    return PyramidModule(network, seed=seed, mean=mean, level_gain=level_gain_of(rate_weight)).to(values.device)


@dataclass(frozen=True)
class GridFit:
    """A trained pyramid.

    Attributes:
        steps: of every tensor but the latents.
        arrays: those tensors rounded to their steps.
        latents: integers as float32 (n,).
        mse: mean squared error of the values, with rounded tensors.
        latent_bits: estimate of the latents' size.
    """

    steps: Steps
    arrays: dict[str, Values]
    latents: Values
    mse: float
    latent_bits: float


def fit_pyramid(
    module: PyramidModule,
    values: Values,
    options: GridFitOptions,
    *,
    seed: int,
    on_progress: Progress | None = None,
) -> GridFit:
    """Train a pyramid in place and round it.

    Args:
        module: on the device of ``values``.
        values: float32 (channels, rows * columns), in [0, 1].
        options: see there.
        seed: of noise and dropout.
        on_progress: called with (steps done, steps in all, PSNR of the rounded latents in dB).
    """
    with _amplified(module, amplitude_of(options.rate_weight)):
        run = _Run(module, values, options, seed)
        for step in range(options.n_steps):
            run.step(step)
            if on_progress and ((step + 1) % PROGRESS_INTERVAL == 0 or step + 1 == options.n_steps):
                on_progress(step + 1, options.n_steps, run.psnr())
        return run.result()


@contextmanager
def _amplified(module: PyramidModule, amplitude: float) -> Iterator[None]:
    """Multiplies the values of a module while it is trained."""
    outputs = [array.data for name, array in module.arrays().items() if name in module.output_names]
    for array in outputs:
        array.mul_(amplitude)
    try:
        yield
    finally:
        for array in outputs:
            array.div_(amplitude)


class _Run:
    """One training: the module, its optimisers and the steps of its networks so far.

    Values are ``amplitude`` times as large as those of the file.
    """

    def __init__(self, module: PyramidModule, values: Values, options: GridFitOptions, seed: int) -> None:
        self.module, self.options, self.amplitude = module, options, amplitude_of(options.rate_weight)
        self.values = self.amplitude * values
        self.latent_rates = module.latent_rates()
        self.generator = torch.Generator(device=values.device).manual_seed(seed & (2**63 - 1))
        self.arrays = module.arrays()
        self.networks = Soap(list(self.arrays.values()))
        self.latents = torch.optim.Adam([module.latents], betas=LATENT_BETAS, eps=TINY)
        self.n_samples = values.shape[1]
        self.tensors: list[Tensor] = [t for t in module.network.tensors if t.role is not TensorRole.LATENT]
        self.steps: Steps | None = None
        self.errors: dict[int, Values] = {}

    @property
    def bit_price(self) -> float:
        return self.amplitude**2 * self.options.rate_weight / self.n_samples

    @property
    def n_levels(self) -> int:
        return self.module.encoding.n_levels

    def step(self, index: int) -> None:
        options = self.options
        share = index / options.n_steps
        self._update_steps(index)
        is_coded = share >= 1.0 - options.coded_share
        arrays: Mapping[str, Values] = self.arrays
        if is_coded and self.steps is not None:
            arrays = rounded(self.arrays, self.steps)
        latents = self._relaxed(share)
        loss = self._loss(latents, arrays, is_warm=share < options.warm_share, n_levels=self._drawn_levels())
        if self.steps is not None:
            loss = loss + self.bit_price * weight_bits(self.arrays, self.steps)
        for parameter in (*self.arrays.values(), self.module.latents):
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(cosine_share(index, options.n_steps), is_coded=is_coded)

    def _update(self, share: float, *, is_coded: bool) -> None:
        nn.utils.clip_grad_norm_(list(self.arrays.values()), CLIP)
        network_rate = self.options.network_rate * self.amplitude**NETWORK_EXPONENT
        self.networks.step(network_rate * (max(share, LATE_SHARE) if is_coded else share))
        latent_rate = self.options.latent_rate * self.amplitude**LATENT_EXPONENT
        move_latents(self.latents, latent_rate * share, self.latent_rates)

    def _update_steps(self, index: int) -> None:
        options = self.options
        first, last = (round(share * options.n_steps) for share in (options.price_share, 1.0 - options.coded_share))
        interval = max(1, (last - first) // STEP_UPDATES)
        if first <= index <= last and (index - first) % interval == 0:
            start = first_steps(self.tensors, self.arrays) if self.steps is None else self.steps
            self.steps = self._search(start, n_rounds=2 if self.steps is None else 1)

    def _search(self, steps: Steps, *, n_rounds: int) -> Steps:
        latents = self.module.latents.detach().round()
        contexts = [tensor.name for tensor in self.tensors if tensor.role is TensorRole.CONTEXT]
        others = [tensor.name for tensor in self.tensors if tensor.role is not TensorRole.CONTEXT]
        error = remembered(lambda arrays: (self.module(latents, arrays) - self.values).square().mean(), others)
        bits = remembered(lambda arrays: self.latent_bits(latents, arrays, is_warm=False).sum(), contexts)

        def loss(arrays: Mapping[str, Values]) -> float:
            return float(error(arrays) + self.bit_price * bits(arrays))

        return search_steps(self.tensors, self.arrays, steps, loss, self.bit_price, n_rounds=n_rounds)

    def _relaxed(self, share: float) -> Values:
        o = self.options
        return relaxed(self.module.latents, share, o.hard_share, o.temperatures, o.noises, self.generator, twice=True)

    def _drawn_levels(self) -> int:
        """Levels that a step trains: all, or a prefix."""
        if not self.options.prefixes:
            return self.n_levels
        draw, which = torch.rand(2, generator=self.generator, device=self.values.device).tolist()
        prefixes = self.options.prefixes
        return prefixes[int(which * len(prefixes))] if draw < self.options.prefix_share else self.n_levels

    def _loss(self, latents: Values, arrays: Mapping[str, Values], *, is_warm: bool, n_levels: int) -> Values:
        """Distortion + lambda * rate of the picture that the coarsest ``n_levels`` levels make.

        The error of a prefix counts in proportion to that of the whole: what is weighed is PSNR against bits. With
        equal weights the prefixes, whose errors are ten times as large, would take the coarse levels for themselves.
        ``prefix_weight`` is on top of that.
        """
        end = self.module.level_starts[n_levels]
        seen = nn.functional.pad(latents[:end], (0, latents.numel() - end))
        error: Values = (self.module(seen, arrays) - self.values).square().mean()
        bits = self.latent_bits(latents, arrays, is_warm=is_warm)
        if self.options.prefixes:
            error = error * self._error_weight(error.detach(), n_levels)
            bits = bits * self._bit_weights(self._sites(is_warm=is_warm), end)
        return error + self.bit_price * bits.sum()

    def _error_weight(self, error: Values, n_levels: int) -> Values:
        before = self.errors.get(n_levels, error)
        self.errors[n_levels] = ERROR_MEMORY * before + (1.0 - ERROR_MEMORY) * error
        weight = self.options.prefix_weight if n_levels < self.n_levels else 1.0
        return weight * self.errors.get(self.n_levels, error) / self.errors[n_levels]

    def _bit_weights(self, sites: Values, end: int) -> Values:
        """What a bit at every site counts, of latents up to ``end``; those behind it are not seen."""
        of_prefixes = self.module.level_starts[max(self.options.prefixes)]
        weights = torch.where(sites < of_prefixes, self.options.prefix_weight, 1.0)
        return weights * (sites < end)

    def _sites(self, *, is_warm: bool) -> Values:
        """The latents that ``latent_bits`` counts, in its order."""
        if is_warm or self.module.sites is None:
            return torch.arange(self.module.latents.numel(), device=self.values.device)
        return self.module.get_buffer("order")

    def latent_bits(self, latents: Values, arrays: Mapping[str, Values], *, is_warm: bool) -> Values:
        """Bits of every latent."""
        return level_bits(self.module, latents) if is_warm else latent_bits(self.module, latents, arrays)

    @torch.no_grad()
    def psnr(self) -> float:
        """Of the values with rounded latents, in dB."""
        values = self.module(self.module.latents.round()).clamp(0.0, self.amplitude)
        return -10.0 * math.log10(self._unit_error(values))

    def _unit_error(self, values: Values) -> float:
        """Mean squared error, of values in [0, 1]."""
        return float((values - self.values).square().mean()) / self.amplitude**2

    def result(self) -> GridFit:
        """Choose the steps once more and round everything."""
        start = first_steps(self.tensors, self.arrays) if self.steps is None else self.steps
        steps = self._search(start, n_rounds=3)
        with torch.no_grad():
            arrays = rounded(self.arrays, steps)
            latents = self.module.latents.round()
            error = self._unit_error(self.module(latents, arrays))
            bits = self.latent_bits(latents, arrays, is_warm=False).sum()
        for name in self.module.output_names:
            steps[name] /= self.amplitude
            arrays[name] = arrays[name] / self.amplitude
        return GridFit(steps, arrays, latents, error, float(bits))


def remembered(function: OfArrays, names: Sequence[str]) -> OfArrays:
    """A function of the tensors of these names, called only where one is another than the last time."""
    last: list[tuple[list[Values], Values]] = []

    def call(arrays: Mapping[str, Values]) -> Values:
        used = [arrays[name] for name in names]
        if not last or any(new is not old for new, old in zip(used, last[0][0], strict=True)):
            last[:] = [(used, function(arrays))]
        return last[0][1]

    return call


@torch.no_grad()
def move_latents(optimiser: torch.optim.Adam, rate: float, factors: Values) -> None:
    """A step of the latents, each at ``rate`` times its factor."""
    (group,) = optimiser.param_groups
    (latents,) = group["params"]
    before = latents.clone()
    group["lr"] = rate
    optimiser.step()
    latents.copy_(before.lerp(latents, factors))


@torch.no_grad()
def level_scales(module: PyramidModule, latents: Values) -> Values:
    """Log scale of each level's best Laplace law, at every latent."""
    parts = [latents[start:stop] for start, stop in pairwise(module.level_starts)]
    return torch.cat([part.abs().mean().clamp_min(LEAST_SCALE).log().expand(part.numel()) for part in parts])


def level_bits(module: PyramidModule, latents: Values) -> Values:
    """Bits of every latent by one law for each level."""
    return laplace_bits(latents, 0.0, level_scales(module, latents))


def latent_bits(module: PyramidModule, latents: Values, arrays: Mapping[str, Values]) -> Values:
    """Bits of every latent, in the order of its context: by its laws, or those of the levels where there is none."""
    if module.sites is None:
        return level_bits(module, latents)
    mean, log_scale = module.laws(latents, arrays)
    return laplace_bits(latents.index_select(0, module.get_buffer("order")), mean, log_scale)
