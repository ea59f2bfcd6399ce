"""SHACIRA as published: hashed grids of integer latents, annealed to integers while their entropy is trained down.

Method: Girish et al., "SHACIRA: scalable hash-grid compression for implicit neural representations" (2023), with its
appendix: section 2 for initial values and learning rates, equations 1 to 3 for the learned probabilities. Latents are
rounded by stochastic Gumbel annealing, and straight through at the end; their rate is taken with uniform noise. The
learned probabilities serve the training; the file holds the cheapest tables of the integers that came of it.
Specification: clauses 9.6.1 and 16.5.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor as Values
from torch import nn

from sinrfmt.grids import Frame, corners, entry_indices, lower_vertices, unit_coordinates
from sinrfmt.network import GridEncoding, Network, Tensor, TensorRole
from sinrfmt.torch.fit import Progress
from sinrfmt.torch.grid_fit import GridFit
from sinrfmt.torch.latents import MonotoneCdf, gumbel_round, round_through
from sinrfmt.torch.modules import ACTIVATIONS
from sinrfmt.torch.signals import grid_coords
from sinrfmt.torch.weight_steps import first_steps, rounded, search_steps

DECODER_DEVIATION = 0.1
LATENT_BOUND = 0.01
LEARNING_RATES = {"layers": 1e-3, "grid.decoder": 1e-2, "latents": 1e-2, "probabilities": 1e-4}
PROGRESS_INTERVAL = 100


@dataclass(frozen=True)
class ShaciraOptions:
    """How long and how to train.

    Attributes:
        n_steps: optimiser steps.
        rate_weight: lambda of the steps of the networks.
        entropy_weights: of the mean bits of a latent in the loss, first and last; between them the weight falls by
            the same factor every step.
        annealing_share: share of the training until latents are rounded straight through.
        temperatures: of the annealing, first and last.
        batch_size: sample positions of a step.
    """

    n_steps: int
    rate_weight: float
    entropy_weights: tuple[float, float] = (1e-3, 1e-4)
    annealing_share: float = 0.95
    temperatures: tuple[float, float] = (0.5, 0.1)
    batch_size: int = 1 << 15


class GridModule(nn.Module):
    """Latents, linear decoder and layers of a ``Network`` with a ``GridEncoding`` over all coordinates of a picture."""

    entries: Values
    corner_weights: Values

    def __init__(self, network: Network, grid: tuple[int, ...], *, seed: int = 0) -> None:
        """Build the module with the published initial values.

        Args:
            network: the description; concatenated levels, one decoder.
            grid: native grid: the places at which it is evaluated.
            seed: of the initial values.

        Raises:
            ValueError: the network has another input encoding.
        """
        super().__init__()
        encoding = network.input_encoding
        if not isinstance(encoding, GridEncoding) or encoding.summed or encoding.decoder_per_level:
            raise ValueError("expected a grid of concatenated levels with one decoder")
        self.network, self.encoding = network, encoding
        generator = torch.Generator().manual_seed(seed & (2**63 - 1))
        n_entries = [encoding.n_entries(level) for level in range(encoding.n_levels)]
        self.level_starts = [0, *np.cumsum(n_entries).tolist()]
        uniform = torch.rand(self.level_starts[-1], encoding.latent_dim, generator=generator)
        self.latents = nn.Parameter((2.0 * uniform - 1.0) * LATENT_BOUND)
        self.tensors = [tensor for tensor in network.tensors if tensor.role is TensorRole.LAYER]
        self.weights = nn.ParameterDict({_key(t.name): nn.Parameter(_initial(t, generator)) for t in self.tensors})
        entries, weights = self._corners(grid)
        self.register_buffer("entries", entries, persistent=False)
        self.register_buffer("corner_weights", weights, persistent=False)

    def _corners(self, grid: tuple[int, ...]) -> tuple[Values, Values]:
        """Entries and weights of the vertices around every sample: (levels, vertices, n)."""
        encoding = self.encoding
        coords, frame = grid_coords(grid), Frame(grid=grid)
        unit = np.stack([unit_coordinates(frame, coords[:, axis], axis) for axis in range(encoding.n_axes)], axis=-1)
        entries, weights = [], []
        for level, sizes in enumerate(encoding.resolutions):
            positions = unit * (np.array(sizes) - 1)
            around = list(corners(positions, lower_vertices(positions, sizes), sizes))
            entries.append([self.level_starts[level] + entry_indices(encoding, level, v) for v, _ in around])
            weights.append([w for _, w in around])
        return torch.from_numpy(np.array(entries)), torch.from_numpy(np.array(weights, dtype=np.float32))

    def arrays(self) -> dict[str, Values]:
        """The trainable tensors but latents by their names in the file."""
        return {tensor.name: self.weights[_key(tensor.name)] for tensor in self.tensors}

    def forward(self, latents: Values, arrays: Mapping[str, Values] | None = None, at: Values | None = None) -> Values:
        """Values: (channels, n).

        Args:
            latents: (entries, latent_dim).
            arrays: other tensors than the module's own.
            at: int64 (n,), samples of the native grid in C order; None for all.
        """
        arrays = self.arrays() if arrays is None else arrays
        entries, weights = self.entries, self.corner_weights
        if at is not None:
            entries, weights = entries[..., at], weights[..., at]
        gathered = latents.index_select(0, entries.reshape(-1)).view(*entries.shape, -1)
        z = (gathered * weights.unsqueeze(-1)).sum(dim=1)  # (levels, n, latent_dim)
        features = z @ arrays["grid.decoder.weight"].T + arrays["grid.decoder.bias"]
        x = features.transpose(1, 2).reshape(-1, features.shape[1])  # level by level
        for index, layer in enumerate(self.network.layers):
            x = torch.addmm(arrays[f"layers.{index}.bias"][:, None], arrays[f"layers.{index}.weight"], x)
            x = ACTIVATIONS[layer.kind](x)
        return x


def fit_shacira(
    module: GridModule,
    values: Values,
    options: ShaciraOptions,
    *,
    seed: int,
    on_progress: Progress | None = None,
) -> GridFit:
    """Train a grid in place as published, and round it.

    Args:
        module: on the device of ``values``.
        values: float32 (channels, samples), in [0, 1].
        options: see there.
        seed: of noise and batches.
        on_progress: called with (steps done, steps in all, PSNR of the rounded latents in dB).
    """
    generator = torch.Generator(device=values.device).manual_seed(seed & (2**63 - 1))
    probabilities = MonotoneCdf(module.encoding.latent_dim).to(values.device)
    optimizer = torch.optim.Adam(_groups(module, probabilities))
    n = values.shape[1]
    for step in range(options.n_steps):
        share = step / options.n_steps
        at = None
        if n > options.batch_size:
            at = torch.randint(n, (options.batch_size,), generator=generator, device=values.device)
        latents, noisy = _relaxed(module.latents, share, options, generator)
        error = (module(latents, None, at) - (values if at is None else values[:, at])).square().mean()
        first, last = options.entropy_weights
        loss = error + first * (last / first) ** share * probabilities.bits(noisy.T).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if on_progress and ((step + 1) % PROGRESS_INTERVAL == 0 or step + 1 == options.n_steps):
            with torch.no_grad():
                now = (module(module.latents.round()).clamp(0.0, 1.0) - values).square().mean()
            on_progress(step + 1, options.n_steps, -10.0 * math.log10(float(now)))
    return _rounded_fit(module, values, options, probabilities)


def _groups(module: GridModule, probabilities: MonotoneCdf) -> list[dict[str, object]]:
    arrays = module.arrays()
    decoder = [array for name, array in arrays.items() if name.startswith("grid.decoder")]
    layers = [array for name, array in arrays.items() if name.startswith("layers")]
    return [
        {"params": layers, "lr": LEARNING_RATES["layers"]},
        {"params": decoder, "lr": LEARNING_RATES["grid.decoder"]},
        {"params": [module.latents], "lr": LEARNING_RATES["latents"]},
        {"params": list(probabilities.parameters()), "lr": LEARNING_RATES["probabilities"]},
    ]


def _relaxed(
    latents: Values, share: float, options: ShaciraOptions, generator: torch.Generator
) -> tuple[Values, Values]:
    """Latents for the synthesis and for the rate."""
    if share >= options.annealing_share:
        hard = round_through(latents)
        return hard, hard
    first, last = options.temperatures
    temperature = first * (last / first) ** (share / options.annealing_share)
    noise = torch.rand(latents.shape, generator=generator, device=latents.device) - 0.5
    return gumbel_round(latents, temperature, generator), latents + noise


def _rounded_fit(module: GridModule, values: Values, options: ShaciraOptions, probabilities: MonotoneCdf) -> GridFit:
    arrays = module.arrays()
    latents = module.latents.detach().round()

    def loss(candidate: Mapping[str, Values]) -> float:
        return float((module(latents, candidate) - values).square().mean())

    price = options.rate_weight / values.shape[1]
    steps = search_steps(module.tensors, arrays, first_steps(module.tensors, arrays), loss, price)
    final = {name: array.detach() for name, array in rounded(arrays, steps).items()}
    with torch.no_grad():
        bits = float(probabilities.bits(latents.T).sum())
    return GridFit(steps, final, latents, loss(final), bits)


def _key(name: str) -> str:
    return name.replace(".", "_")


def _initial(tensor: Tensor, generator: torch.Generator) -> Values:
    if tensor.name == "grid.decoder.weight":
        return DECODER_DEVIATION * torch.randn(tensor.shape, generator=generator)
    if tensor.is_bias:
        return torch.zeros(tensor.shape)
    bound = math.sqrt(6.0 / sum(tensor.shape))  # Xavier
    return bound * (2.0 * torch.rand(tensor.shape, generator=generator) - 1.0)
