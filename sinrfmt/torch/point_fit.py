"""Training of latent grids for any objective: distortion at points + lambda * rate of the latents.

Two methods. ``published`` is SHACIRA's: Adam at constant rates, stochastic Gumbel annealing and straight through at the
end, rate of uniform noise under the learned distribution (Girish et al., "SHACIRA: scalable hash-grid compression for
implicit neural representations", 2023; its appendix, section 2 and equations 1 to 3). ``soft`` is what was found to
train better, as for pyramids: SOAP for the networks, soft rounding, the law that each list of the file would have,
rates that fall to nothing, networks rounded to their steps for the last part. Nothing here is normative.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.torch.fit import Progress, cosine_share
from sinrfmt.torch.grid_fit import CLIP, LATE_SHARE, LATENT_BETAS, LEAST_SCALE, TINY, WEIGHT_SCALE_FLOOR, GridFit
from sinrfmt.torch.grid_module import GridModule, Points
from sinrfmt.torch.latents import MonotoneCdf, gumbel_round, laplace_bits, relaxed, round_through
from sinrfmt.torch.soap import Soap
from sinrfmt.torch.weight_steps import Steps, first_steps, rounded, search_steps

Evaluate = Callable[[Values | Points], Values]
"""Coordinates float32 (n, in_dims) or prepared points -> values float32 (n, out_channels)."""

PROGRESS_REPORTS = 20
"""Calls of a progress callback in a training."""
PREPARED_CORNERS = 1 << 25
"""Most corners of all samples that are kept, 8 bytes each."""
VALIDATION_POINTS = 1 << 15
EPOCH_LIMIT = 1 << 32
STEP_UPDATES = 4
"""Times that steps are chosen again before networks are rounded."""


@dataclass(frozen=True)
class Objective:
    """What a field is to be good at.

    Attributes:
        distortion: called with (evaluate, step) in every step of the training; the distortion of a batch, a scalar with
            a gradient. Whatever is random in it must follow from the step.
        validation: the distortion on the same fixed points every time; steps of the networks are chosen by it.
        n_positions: sample positions that the distortion is a mean over: lambda prices bits per position.
        quality: in dB, of what is announced; None for the PSNR that ``validation`` as a mean squared error has.
    """

    distortion: Callable[[Evaluate, int], Values]
    validation: Callable[[Evaluate], Values]
    n_positions: int
    quality: Callable[[Evaluate], float] | None = None

    def measure(self, evaluate: Evaluate) -> float:
        """Quality in dB."""
        if self.quality is not None:
            return self.quality(evaluate)
        error = float(self.validation(evaluate))
        return -10.0 * math.log10(error) if error > 0.0 else math.inf


@dataclass(frozen=True)
class PointFitOptions:
    """How long and how to train.

    Attributes:
        n_steps: optimiser steps.
        rate_weight: lambda, what a bit per sample position adds to the distortion. 0 trains without a rate and rounds
            nothing, for grids that are stored in binary16.
        method: ``published`` or ``soft``.
        latent_rate: learning rate of the latents, in steps.
        network_rate: of layers.
        decoder_rate: of the linear decoder; ``published`` only, ``soft`` takes that of the layers.
        probability_rate: of the learned distribution; ``published`` only.
        warm_share: first share, without a rate; ``soft`` only.
        hard_share: last share, with latents rounded.
        coded_share: last share, with networks rounded to their steps; ``soft`` only.
        price_share: first share without a price on the networks' bits; ``soft`` only.
        rate_shares: of lambda, at the first step and at the last; between them it changes by one factor.
        temperatures: of rounding, first and last.
        noises: deviations of the noise, first and last; ``soft`` only.
    """

    n_steps: int
    rate_weight: float
    method: str = "soft"
    latent_rate: float = 0.1
    network_rate: float = 0.01
    decoder_rate: float = 0.01
    probability_rate: float = 1e-4
    warm_share: float = 0.1
    hard_share: float = 0.05
    coded_share: float = 0.08
    price_share: float = 0.7
    rate_shares: tuple[float, float] = (1.0, 1.0)
    temperatures: tuple[float, float] = (0.35, 0.08)
    noises: tuple[float, float] = (0.22, 0.15)


def sampled_objective(
    module: GridModule, coords: NDArray[np.float32], values: Values, *, batch_size: int, seed: int, span: float = 1.0
) -> Objective:
    """The mean squared error of samples, in shuffled batches.

    Args:
        module: that will be trained; corners are prepared once where they fit into memory.
        coords: float32 (n, in_dims).
        values: float32 (n, channels), on the device of the module.
        batch_size: samples of a step.
        seed: of the order.
        span: difference of the largest and the least value: errors are those of values divided by it.
    """
    source = _Samples(module, coords, values, batch_size, seed, span)
    return Objective(source.distortion, source.validation, len(values))


class _Samples:
    """Samples dealt into batches once; every epoch has them in another order."""

    def __init__(
        self,
        module: GridModule,
        coords: NDArray[np.float32],
        values: Values,
        batch_size: int,
        seed: int,
        span: float,
    ) -> None:
        self.coords, self.values = torch.tensor(coords, device=values.device), values
        self.seed, self.scale = seed, 1.0 / (span * span)
        n = len(values)
        order = torch.randperm(n, generator=self._generator(0)).to(values.device)
        self.batches = torch.tensor_split(order, -(-n // batch_size))
        n_corners = n * (module.encoding.n_levels << module.encoding.n_axes)
        is_prepared = n_corners <= PREPARED_CORNERS
        self.prepared = [self._batch(module, index) for index in self.batches] if is_prepared else []
        self.epoch, self.order = 0, [0]
        self.validation_batch = self._batch(module, order[:VALIDATION_POINTS])

    def _generator(self, epoch: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * EPOCH_LIMIT + epoch) & (2**63 - 1))

    def _batch(self, module: GridModule, index: Values) -> tuple[Points, Values]:
        return module.points(self.coords[index]), self.values[index]

    def distortion(self, evaluate: Evaluate, step: int) -> Values:
        epoch, place = divmod(step, len(self.batches))
        if epoch + 1 != self.epoch:
            self.epoch = epoch + 1
            self.order = torch.randperm(len(self.batches), generator=self._generator(self.epoch)).tolist()
        which = self.order[place]
        if self.prepared:
            return self._error(evaluate, *self.prepared[which])
        index = self.batches[which]
        return self._error(evaluate, self.coords[index], self.values[index])

    def validation(self, evaluate: Evaluate) -> Values:
        return self._error(evaluate, *self.validation_batch)

    def _error(self, evaluate: Evaluate, points: Values | Points, wanted: Values) -> Values:
        return (evaluate(points) - wanted).square().mean() * self.scale


def fit_objective(
    module: GridModule,
    objective: Objective,
    options: PointFitOptions,
    *,
    seed: int,
    on_progress: Progress | None = None,
) -> GridFit:
    """Train a grid in place and round it.

    Args:
        module: on the device of the training. An interruption leaves it as it stands.
        objective: what to train for; it gives batches on the same device.
        options: see there.
        seed: of the noise.
        on_progress: called with (steps done, steps in all, quality with rounded latents in dB).

    Returns:
        rounded tensors and latents; ``mse`` is the distortion of the validation. With lambda 0 tensors and latents
        as they are, without steps.
    """
    run = METHODS[options.method](module, objective, options, seed)
    interval = max(1, options.n_steps // PROGRESS_REPORTS)
    for step in range(options.n_steps):
        run.step(step)
        if on_progress and ((step + 1) % interval == 0 or step + 1 == options.n_steps):
            on_progress(step + 1, options.n_steps, run.quality())
    return run.result()


class _Run:
    """One training: what both methods share."""

    def __init__(self, module: GridModule, objective: Objective, options: PointFitOptions, seed: int) -> None:
        self.module, self.objective, self.options = module, objective, options
        self.generator = torch.Generator(device=module.latents.device).manual_seed(seed & (2**63 - 1))
        self.arrays: dict[str, Values] = dict(module.arrays())
        self.price = options.rate_weight / objective.n_positions
        self.is_coded = options.rate_weight > 0.0

    def step(self, index: int) -> None:
        raise NotImplementedError

    def bits(self, latents: Values) -> Values:
        """Bits of every latent, by the law of the training."""
        raise NotImplementedError

    def rate_price(self, share: float) -> float:
        """What a bit adds to the loss."""
        first, last = self.options.rate_shares
        return self.price * first * math.exp(share * math.log(last / first))

    def loss(self, latents: Values, arrays: Mapping[str, Values] | None, index: int) -> Values:
        """Distortion of the batch of a step."""
        return self.objective.distortion(lambda coords: self.module(latents, coords, arrays), index)

    def final_latents(self) -> Values:
        latents = self.module.latents.detach()
        return latents.round() if self.is_coded else latents.clone()

    @torch.no_grad()
    def quality(self) -> float:
        latents = self.final_latents()
        return self.objective.measure(lambda coords: self.module(latents, coords))

    @torch.no_grad()
    def validation(self, latents: Values, arrays: Mapping[str, Values]) -> float:
        return float(self.objective.validation(lambda coords: self.module(latents, coords, arrays)))

    def search(self, start: Steps | None, *, n_rounds: int) -> Steps:
        """Steps of the networks for the latents as they are."""
        latents, tensors = self.final_latents(), self.module.tensors
        steps = first_steps(tensors, self.arrays) if start is None else start
        return search_steps(
            tensors, self.arrays, steps, lambda arrays: self.validation(latents, arrays), self.price, n_rounds=n_rounds
        )

    def result(self, start: Steps | None = None) -> GridFit:
        latents = self.final_latents()
        steps = self.search(start, n_rounds=3) if self.is_coded else {}
        with torch.no_grad():
            arrays = rounded(self.arrays, steps) if steps else {n: a.detach().clone() for n, a in self.arrays.items()}
            bits = float(self.bits(latents).sum()) if self.is_coded else 0.0
        return GridFit(steps, arrays, latents, self.validation(latents, arrays), bits)


class _Published(_Run):
    def __init__(self, module: GridModule, objective: Objective, options: PointFitOptions, seed: int) -> None:
        super().__init__(module, objective, options, seed)
        self.probabilities = MonotoneCdf(module.encoding.latent_dim, generator=torch.Generator().manual_seed(seed))
        self.probabilities.to(module.latents.device)
        decoder = [array for name, array in self.arrays.items() if name.startswith("grid.")]
        layers = [array for name, array in self.arrays.items() if not name.startswith("grid.")]
        self.optimizer = torch.optim.Adam(
            [
                {"params": layers, "lr": options.network_rate},
                {"params": decoder, "lr": options.decoder_rate},
                {"params": [module.latents], "lr": options.latent_rate},
                {"params": list(self.probabilities.parameters()), "lr": options.probability_rate},
            ]
        )

    def step(self, index: int) -> None:
        share = index / self.options.n_steps
        latents, noisy = self._relaxed(share)
        loss = self.loss(latents, None, index)
        if self.is_coded:
            loss = loss + self.rate_price(share) * self.bits(noisy).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _relaxed(self, share: float) -> tuple[Values, Values]:
        """Latents for the synthesis and for the rate."""
        latents, options = self.module.latents, self.options
        if not self.is_coded:
            return latents, latents
        annealed = 1.0 - options.hard_share
        if share >= annealed:
            hard = round_through(latents)
            return hard, hard
        first, last = options.temperatures
        temperature = first * (last / first) ** (share / annealed)
        noise = torch.rand(latents.shape, generator=self.generator, device=latents.device) - 0.5
        return gumbel_round(latents, temperature, self.generator), latents + noise

    def bits(self, latents: Values) -> Values:
        return self.probabilities.bits(latents.T)


class _Soft(_Run):
    def __init__(self, module: GridModule, objective: Objective, options: PointFitOptions, seed: int) -> None:
        super().__init__(module, objective, options, seed)
        self.networks = Soap(list(self.arrays.values()))
        self.latents = torch.optim.Adam([module.latents], betas=LATENT_BETAS, eps=TINY)
        self.steps: Steps | None = None
        starts = torch.tensor(module.level_starts, device=module.latents.device)
        self.level_sizes = starts.diff()

    def step(self, index: int) -> None:
        options = self.options
        share = index / options.n_steps
        if self.is_coded:
            self._update_steps(index)
        is_rounded = self.steps is not None and share >= 1.0 - options.coded_share
        arrays = rounded(self.arrays, self.steps) if is_rounded and self.steps is not None else None
        latents: Values = self.module.latents
        if self.is_coded:
            latents = relaxed(latents, share, options.hard_share, options.temperatures, options.noises, self.generator)
        loss = self.loss(latents, arrays, index)
        if self.is_coded and share >= options.warm_share:
            loss = loss + self.rate_price(share) * self.bits(latents).sum()
        if self.steps is not None:
            loss = loss + self.price * self._weight_bits(self.steps)
        for parameter in (*self.arrays.values(), self.module.latents):
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(cosine_share(index, options.n_steps), is_rounded=is_rounded)

    def _update(self, share: float, *, is_rounded: bool) -> None:
        torch.nn.utils.clip_grad_norm_(list(self.arrays.values()), CLIP)
        self.networks.step(self.options.network_rate * (max(share, LATE_SHARE) if is_rounded else share))
        self.latents.param_groups[0]["lr"] = self.options.latent_rate * share
        self.latents.step()

    def _update_steps(self, index: int) -> None:
        options = self.options
        first, last = (round(share * options.n_steps) for share in (options.price_share, 1.0 - options.coded_share))
        interval = max(1, (last - first) // STEP_UPDATES)
        if first <= index <= last and (index - first) % interval == 0:
            self.steps = self.search(self.steps, n_rounds=2 if self.steps is None else 1)

    def bits(self, latents: Values) -> Values:
        return laplace_bits(latents, 0.0, self._log_scales(latents))

    @torch.no_grad()
    def _log_scales(self, latents: Values) -> Values:
        """Log scale of the best Laplace law of every list of the file, at every latent."""
        parts = torch.split(latents.abs(), self.level_sizes.tolist())
        scales = torch.stack([part.mean(dim=0) for part in parts]).clamp_min(LEAST_SCALE).log()
        return scales.repeat_interleave(self.level_sizes, dim=0)

    def _weight_bits(self, steps: Steps) -> Values:
        """What stands for the bits of the networks: log likelihoods of Laplace laws over their integers."""
        total = self.module.latents.new_zeros(())
        for name, array in self.arrays.items():
            size = array.abs() / steps[name]
            total = total + size.sum() / size.detach().mean().clamp_min(WEIGHT_SCALE_FLOOR)
        return total / math.log(2.0)

    def result(self, start: Steps | None = None) -> GridFit:
        return super().result(self.steps if start is None else start)


METHODS: dict[str, type[_Run]] = {"published": _Published, "soft": _Soft}
