"""Training of latent grids for any objective: distortion at points + lambda * rate of the latents.

Two methods. ``published`` is SHACIRA's: Adam at constant rates, stochastic Gumbel annealing and straight through at the
end, rate of uniform noise under the learned distribution (Girish et al., "SHACIRA: scalable hash-grid compression for
implicit neural representations", 2023; its appendix, section 2 and equations 1 to 3). ``soft`` is what was found to
train better, as for pyramids: SOAP for the networks, soft rounding, the law that each list of the file would have,
rates that fall to nothing, networks rounded to their steps for the last part. Nothing here is normative.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.torch.fit import Progress, cosine_share
from sinrfmt.torch.grid_fit import CLIP, LATE_SHARE, LATENT_BETAS, LEAST_SCALE, TINY, GridFit
from sinrfmt.torch.grid_module import GridModule, Lattice, Places, Points
from sinrfmt.torch.latents import MonotoneCdf, centred_bits, gumbel_round, relaxed, round_through
from sinrfmt.torch.soap import Soap
from sinrfmt.torch.weight_steps import Steps, first_steps, rounded, search_steps, weight_bits

Evaluate = Callable[[Places], Values]
"""Coordinates float32 (n, in_dims), prepared or not -> values float32 (n, out_channels)."""

PROGRESS_REPORTS = 20
"""Calls of a progress callback in a training."""
PREPARED_CORNERS = 1 << 25
"""Most corners of all samples that are kept, 8 bytes each."""
VALIDATION_POINTS = 1 << 15
EPOCH_LIMIT = 1 << 32
UNITS = tuple(2.0**k for k in range(7))
"""Integers that a latent may have in its unit of the training. Not fewer than one: a coarser step looks cheap before
the training meets it, and costs a radiance field a quarter of a decibel at its end."""
DECODER = "grid.decoder.weight"
STEP_UPDATES = 2
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
        latent_rate: learning rate of the latents, in steps; of those that are free at first, in units of which a step
            is some power of two.
        network_rate: of layers.
        decoder_rate: of the linear decoder; ``published`` only, ``soft`` takes that of the layers.
        probability_rate: of the learned distribution; ``published`` only.
        warm_share: first share, without a rate; ``soft`` only.
        free_share: first share, with latents as they are, neither rounded nor noisy; ``soft`` only.
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
    free_share: float = 0.0
    hard_share: float = 0.05
    coded_share: float = 0.08
    price_share: float = 0.7
    rate_shares: tuple[float, float] = (1.0, 1.0)
    temperatures: tuple[float, float] = (0.35, 0.08)
    noises: tuple[float, float] = (0.22, 0.15)


def sampled_objective(
    module: GridModule,
    coords: NDArray[np.float32],
    values: Values,
    *,
    batch_size: int,
    seed: int,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Objective:
    """The mean squared error of samples, in shuffled batches.

    Args:
        module: that will be trained; corners are prepared once where they fit into memory.
        coords: float32 (n, in_dims).
        values: float32 (n, channels), on the device of the module.
        batch_size: samples of a step.
        seed: of the order.
        bounds: of the range of the values. Errors are in units of its length, and those of values that a reader
            clamps to the bound that they should have are none.
    """
    batches = _Scattered(module, torch.tensor(coords, device=values.device), values, batch_size, seed)
    return _squared_error(batches, len(values), bounds)


def lattice_objective(
    module: GridModule,
    axes: Sequence[NDArray[np.float32]],
    values: Values,
    *,
    batch_size: int,
    seed: int,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Objective:
    """The same for samples on a lattice and a module that ``has_lattice``: several times as fast in three dimensions.

    A batch has some of the coordinates of every axis.

    Args:
        axes: float32 (m,), coordinates on every axis.
        values: float32 (product of the lengths, channels), C order.
        module, batch_size, seed, bounds: as for ``sampled_objective``.
    """
    on_device = [torch.tensor(x, device=values.device) for x in axes]
    return _squared_error(_Crossed(module, on_device, values, batch_size, seed), len(values), bounds)


def _squared_error(batches: "_Batches", n_positions: int, bounds: tuple[float, float]) -> Objective:
    low, high = bounds

    def error(evaluate: Evaluate, places: Places, wanted: Values) -> Values:
        difference = evaluate(places) - wanted
        difference = torch.where(wanted <= low, difference.clamp_min(0.0), difference)
        difference = torch.where(wanted >= high, difference.clamp_max(0.0), difference)
        return difference.square().mean() / (high - low) ** 2

    return Objective(
        lambda evaluate, step: error(evaluate, *batches.of_step(step)),
        lambda evaluate: error(evaluate, *batches.validation),
        n_positions,
    )


class _Batches:
    """Samples in batches; every epoch takes them in another order."""

    validation: tuple[Places, Values]

    def __init__(self, seed: int) -> None:
        self.seed, self.epoch = seed, 0

    def of_step(self, step: int) -> tuple[Places, Values]:
        raise NotImplementedError

    def generator(self, epoch: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * EPOCH_LIMIT + epoch) & (2**63 - 1))


class _Scattered(_Batches):
    """Samples that are dealt into batches once."""

    def __init__(self, module: GridModule, coords: Values, values: Values, batch_size: int, seed: int) -> None:
        super().__init__(seed)
        self.module, self.coords, self.values = module, coords, values
        n = len(values)
        order = torch.randperm(n, generator=self.generator(0)).to(values.device)
        self.batches = torch.tensor_split(order, -(-n // batch_size))
        n_corners = n * (module.encoding.n_levels << module.encoding.n_axes)
        self.prepared = [self._prepare(index) for index in self.batches] if n_corners <= PREPARED_CORNERS else []
        self.order: list[int] = []
        self.validation = self._prepare(order[:VALIDATION_POINTS])

    def _prepare(self, index: Values) -> tuple[Points, Values]:
        return self.module.points(self.coords[index]), self.values[index]

    def of_step(self, step: int) -> tuple[Places, Values]:
        epoch, place = divmod(step, len(self.batches))
        if epoch + 1 != self.epoch:
            self.epoch = epoch + 1
            self.order = torch.randperm(len(self.batches), generator=self.generator(self.epoch)).tolist()
        which = self.order[place]
        if self.prepared:
            return self.prepared[which]
        index = self.batches[which]
        return self.coords[index], self.values[index]


class _Crossed(_Batches):
    """Samples of a lattice: every epoch deals the coordinates of every axis into groups, a batch is one of each."""

    def __init__(self, module: GridModule, axes: Sequence[Values], values: Values, batch_size: int, seed: int) -> None:
        super().__init__(seed)
        self.lattice = module.lattice(axes)
        self.lengths = [len(x) for x in axes]
        self.values = values.view(*self.lengths, -1)
        self.n_groups = _group_counts(self.lengths, batch_size)
        self.groups = self._deal(0, self.n_groups)
        parts = self._deal(0, _group_counts(self.lengths, VALIDATION_POINTS))
        self.validation = self._batch([part[0] for part in parts])
        self.order: list[int] = []

    def _deal(self, epoch: int, n_groups: Sequence[int]) -> list[tuple[Values, ...]]:
        generator, device = self.generator(epoch), self.values.device
        orders = [torch.randperm(n, generator=generator).to(device) for n in self.lengths]
        return [torch.tensor_split(order, n) for order, n in zip(orders, n_groups, strict=True)]

    def _batch(self, chosen: Sequence[Values]) -> tuple[Lattice, Values]:
        values = self.values
        for axis, index in enumerate(chosen):
            values = values.index_select(axis, index)
        return self.lattice.at(chosen), values.flatten(0, -2)

    def of_step(self, step: int) -> tuple[Places, Values]:
        epoch, place = divmod(step, math.prod(self.n_groups))
        if epoch + 1 != self.epoch:
            self.epoch = epoch + 1
            self.groups = self._deal(self.epoch, self.n_groups)
            self.order = torch.randperm(math.prod(self.n_groups), generator=self.generator(-self.epoch)).tolist()
        which = np.unravel_index(self.order[place], self.n_groups)
        return self._batch([group[int(i)] for group, i in zip(self.groups, which, strict=True)])


def _group_counts(lengths: Sequence[int], batch_size: int) -> list[int]:
    """Groups of coordinates on every axis: the longest ones are halved until a batch is small enough."""
    counts = [1] * len(lengths)
    while math.prod(sizes := [-(-n // count) for n, count in zip(lengths, counts, strict=True)]) > max(batch_size, 1):
        counts[sizes.index(max(sizes))] *= 2
    return counts


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
        self.unit = 1.0
        """Integers to a latent: the file's latents are multiplied by it, its decoder is divided."""

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
        return (latents * self.unit).round() / self.unit if self.is_coded else latents.clone()

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
        self.is_unit_chosen = False
        self.level_sizes = np.diff(module.level_starts).tolist()
        self.repeats = torch.tensor(self.level_sizes, device=module.latents.device)

    def step(self, index: int) -> None:
        options = self.options
        share = index / options.n_steps
        if self.is_coded:
            self._choose_unit(share)
            self._update_steps(index)
        is_rounded = self.steps is not None and share >= 1.0 - options.coded_share
        arrays = rounded(self.arrays, self.steps) if is_rounded and self.steps is not None else None
        latents: Values = self.module.latents
        if self.is_coded and share >= options.free_share:
            latents = self._relaxed(share)
        loss = self.loss(latents, arrays, index)
        if self.is_coded and share >= options.warm_share:
            loss = loss + self.rate_price(share) * self.bits(latents).sum()
        if self.steps is not None:
            loss = loss + self.price * weight_bits(self.arrays, self.steps)
        for parameter in (*self.arrays.values(), self.module.latents):
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(cosine_share(index, options.n_steps), is_rounded=is_rounded)

    def _choose_unit(self, share: float) -> None:
        """Where latents that nothing rounds meet the rate: the power of two that costs least if they were rounded.

        How large they have become has to do with rates and steps, and nothing with lambda.
        """
        first = self.options.warm_share
        if not self.is_unit_chosen and share >= first > 0.0 and self.options.free_share >= first:
            self.unit, self.is_unit_chosen = min(UNITS, key=self._cost_of), True

    @torch.no_grad()
    def _cost_of(self, unit: float) -> float:
        integers = (self.module.latents * unit).round()
        bits = float(centred_bits(integers, self._log_scales(integers)).sum())
        return self.validation(integers / unit, self.arrays) + self.price * bits

    def _relaxed(self, share: float) -> Values:
        options = self.options
        relaxed_share = 1.0 - options.free_share
        soft = relaxed(
            self.module.latents * self.unit,
            (share - options.free_share) / relaxed_share,
            options.hard_share / relaxed_share,
            options.temperatures,
            options.noises,
            self.generator,
        )
        return soft / self.unit

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
        integers = latents * self.unit
        return centred_bits(integers, self._log_scales(integers))

    @torch.no_grad()
    def _log_scales(self, latents: Values) -> Values:
        """Log scale of the best Laplace law of every list of the file, at every latent."""
        parts = torch.split(latents.abs(), self.level_sizes)
        scales = torch.stack([part.mean(dim=0) for part in parts]).clamp_min(LEAST_SCALE).log()
        return scales.repeat_interleave(self.repeats, dim=0, output_size=len(latents))

    def result(self, start: Steps | None = None) -> GridFit:
        """With latents in units of their step, as the file has them."""
        steps = self.steps if start is None else start
        with torch.no_grad():
            self.module.latents.mul_(self.unit)
            self.arrays[DECODER].div_(self.unit)
        if steps is not None:
            steps = {**steps, DECODER: steps[DECODER] / self.unit}
        self.unit = 1.0
        return super().result(steps)


METHODS: dict[str, type[_Run]] = {"published": _Published, "soft": _Soft}
