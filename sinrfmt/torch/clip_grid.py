"""A clip as a grid of latents in three axes: what stands still once, what moves once for every frame.

Specification: clauses 9.6.1 and 16.5. Every scale of the picture has two dense levels: a still one with one plane for
all frames, and a moving one with a plane for each. The rate keeps a moving plane empty where the still one will do,
which is what a codec saves by looking at the frame before. Where frames lie on vertices a step of the training touches
the planes of its frames alone, so that its time does not grow with the clip. Training as in ``grid_fit``, with the
factorised rate that grids have. Nothing here is normative.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values
from torch import nn

from sinrfmt.evaluate import grid_axes
from sinrfmt.grids import Frame, unit_coordinates
from sinrfmt.network import GridEncoding, LayerRecord, Network, Tensor, TensorRole
from sinrfmt.registry import Coords, RecordKind
from sinrfmt.torch.fit import Progress, cosine_share
from sinrfmt.torch.grid_fit import CLIP, LEAST_SCALE, GridFit
from sinrfmt.torch.latent_fit import DAMPING
from sinrfmt.torch.latents import laplace_bits, relaxed
from sinrfmt.torch.modules import ACTIVATIONS
from sinrfmt.torch.soap import Soap
from sinrfmt.torch.weight_steps import Steps, first_steps, rounded, search_steps

MAX_SCALES = 7
COARSEST = 3
"""Rows or columns, whichever are fewer, that the coarsest level has at least, where the frame has them."""
FIRST_GAIN, LAST_GAIN = 0.3, 0.06
"""Deviations of the first weights, as those of a pyramid's synthesis."""
LEAST_WEIGHT = 1e-4
"""Of a plane in a frame: less is rounding, of frames that lie on a vertex."""
SCALE_MEMORY = 0.9
"""Share of a level's scale so far in the next one."""
FRAMES_OF_A_SEARCH = 3
"""On which the steps of the networks are chosen."""
PROGRESS_INTERVAL = 50
BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class ClipFitOptions:
    """How long and how to train; fields as in ``GridFitOptions`` where they have the same name.

    Attributes:
        n_steps: optimiser steps.
        rate_weight: lambda, what a bit per sample position adds to the mean squared error of values in [0, 1].
        frames_per_step: frames that a step sees.
        latent_rate: learning rate of the latents, in steps.
        network_rate: of everything else.
        still_share: first share of the steps, on the mean of all frames with the still levels alone.
        hard_share: last share, with latents rounded.
        coded_share: last share, with networks rounded to their steps.
        temperatures: of soft rounding, first and last.
        noises: deviations of the noise, first and last.
    """

    n_steps: int
    rate_weight: float
    frames_per_step: int = 2
    latent_rate: float = 0.3
    network_rate: float = 0.02
    still_share: float = 0.1
    hard_share: float = 0.02
    coded_share: float = 0.1
    temperatures: tuple[float, float] = (0.35, 0.08)
    noises: tuple[float, float] = (0.22, 0.15)


def clip_network(grid: tuple[int, ...], coords: Coords, width: int) -> Network:
    """The network for frames, rows and columns.

    Args:
        grid: samples of every axis.
        coords: CORNERS, where vertices lie on samples, or CENTRES, where there are twice as many planes, every second
            of which lies on a frame and the others are empty.
        width: of the hidden layer.
    """
    n_frames, *sides = grid
    planes = (1,) if n_frames == 1 else (1, n_frames if coords is Coords.CORNERS else 2 * n_frames + 1)
    n_scales = min(MAX_SCALES, int(math.log2(max(1.0, min(sides) / COARSEST))) + 1)
    shapes = [tuple(-(-n >> scale) for n in sides) for scale in range(n_scales - 1, -1, -1)]
    resolutions = tuple((n, *shape) for shape in shapes for n in planes)
    log2_table_size = (max(math.prod(r) for r in resolutions) - 1).bit_length()
    record = LayerRecord(RecordKind.GRID, 1, bias=False)
    encoding = GridEncoding(resolutions, log2_table_size=log2_table_size, latent_dim=1, feature_dim=1, record=record)
    records = (LayerRecord(RecordKind.RELU, width), LayerRecord(RecordKind.LINEAR, 3))
    return Network(3, 3, records, encoding)


class ClipGrid(nn.Module):
    """Latents and layers of a network of :func:`clip_network`. The decoder of the grid is 1 and not trained."""

    def __init__(self, network: Network, frame: Frame, *, seed: int = 0, mean: NDArray[np.float32]) -> None:
        """Build the module: latents of zeros, layers that give ``mean``.

        Args:
            network: the description.
            frame: what HEAD says of the native grid.
            seed: of the weights.
            mean: float32 (channels,), bias of the last layer.
        """
        super().__init__()
        encoding = network.input_encoding
        assert isinstance(encoding, GridEncoding)
        self.network, self.encoding, self.grid = network, encoding, frame.grid
        sizes = [encoding.n_entries(level) for level in range(encoding.n_levels)]
        self.level_starts = [0, *np.cumsum(sizes).tolist()]
        self.levels = nn.ParameterList(torch.zeros(resolutions) for resolutions in encoding.resolutions)
        self.tensors = [tensor for tensor in network.tensors if tensor.role is TensorRole.LAYER]
        generator = torch.Generator().manual_seed(seed & (2**63 - 1))
        self.weights = nn.ParameterDict({_key(t.name): nn.Parameter(_initial(t, generator)) for t in self.tensors})
        self.weights[_key(network.layers[-1].bias_name)].data.copy_(torch.from_numpy(mean))
        axes = grid_axes(frame.coords, frame.grid, frame.box)
        for level, resolutions in enumerate(encoding.resolutions):
            for axis, n_vertices in enumerate(resolutions):
                unit = unit_coordinates(frame, axes[axis], axis)
                self.register_buffer(f"axis_{level}_{axis}", _interpolation(unit, n_vertices), persistent=False)

    def arrays(self) -> dict[str, Values]:
        """The tensors but latents by their names in the file; all but the decoder of the grid are trained."""
        return {tensor.name: self.weights[_key(tensor.name)] for tensor in self.tensors}

    def trained(self) -> list[Values]:
        """Those that are trained."""
        return [array for name, array in self.arrays().items() if not name.startswith("grid.")]

    @property
    def still_levels(self) -> list[int]:
        """Levels with one plane."""
        return [level for level, (planes, *_) in enumerate(self.encoding.resolutions) if planes == 1]

    def planes_of(self, level: int, frames: Values) -> Values:
        """int64: planes of a level that frames are made of, ascending."""
        return (self.get_buffer(f"axis_{level}_0")[frames] > LEAST_WEIGHT).any(dim=0).nonzero()[:, 0]

    def forward(
        self, planes: Mapping[int, tuple[Values, Values]], frames: Values, arrays: Mapping[str, Values] | None = None
    ) -> Values:
        """Values of some frames: (channels, frames * rows * columns).

        Args:
            planes: for every level that is not empty the numbers of planes and their latents (planes, rows, columns).
            frames: int64 (n,).
            arrays: other tensors than the module's own.
        """
        arrays = self.arrays() if arrays is None else arrays
        _, rows, columns = self.grid
        features = []
        for level in range(self.encoding.n_levels):
            if level not in planes:
                features.append(frames.new_zeros(1, len(frames) * rows * columns, dtype=torch.float32))
                continue
            numbers, latents = planes[level]
            over_time = self.get_buffer(f"axis_{level}_0")[frames][:, numbers]
            if self.encoding.resolutions[level][0] > 1:
                latents = (over_time @ latents.flatten(1)).view(-1, *latents.shape[1:])
            down, across = (self.get_buffer(f"axis_{level}_{axis}") for axis in (1, 2))
            values = (down @ latents) @ across.T
            features.append(values.expand(len(frames), rows, columns).reshape(1, -1))
        x = torch.cat(features) * arrays["grid.decoder.weight"]
        for layer in self.network.layers:
            x = torch.addmm(arrays[layer.bias_name][:, None], arrays[layer.weight_name], x)
            x = ACTIVATIONS[layer.kind](x)
        return x

    @torch.no_grad()
    def integers(self, frames: Values) -> dict[int, tuple[Values, Values]]:
        """Rounded latents that frames are made of, as ``forward`` takes them."""
        found = {}
        for level, latents in enumerate(self.levels):
            numbers = self.planes_of(level, frames)
            found[level] = (numbers, latents[numbers].round())
        return found


def fit_clip(
    module: ClipGrid,
    values: Values,
    options: ClipFitOptions,
    *,
    seed: int,
    on_progress: Progress | None = None,
) -> GridFit:
    """Train a clip in place and round it.

    Args:
        module: on the device of ``values``.
        values: float32 (channels, frames, rows * columns), in [0, 1].
        options: see there.
        seed: of noise and of the order of frames.
        on_progress: called with (steps done, steps in all, PSNR of the rounded latents on some frames in dB).
    """
    run = _Run(module, values, options, seed)
    for step in range(options.n_steps):
        run.step(step)
        if on_progress and ((step + 1) % PROGRESS_INTERVAL == 0 or step + 1 == options.n_steps):
            on_progress(step + 1, options.n_steps, -10.0 * math.log10(run.error(run.some_frames())))
    return run.result()


class _PlaneAdam:
    """Adam over planes of latents of which a step sees some; each counts its own steps."""

    def __init__(self, levels: Sequence[Values], damping: float) -> None:
        self._levels, self._damping = levels, damping
        self._first = [torch.zeros_like(level) for level in levels]
        self._second = [torch.zeros_like(level) for level in levels]
        self._counts = [level.new_zeros(len(level), 1, 1) for level in levels]

    @torch.no_grad()
    def step(self, level: int, numbers: Values, gradient: Values, rate: float) -> None:
        self._counts[level][numbers] += 1
        count = self._counts[level][numbers]
        first = self._first[level][numbers].lerp_(gradient, 1.0 - BETAS[0])
        second = self._second[level][numbers].lerp_(gradient.square(), 1.0 - BETAS[1])
        self._first[level][numbers], self._second[level][numbers] = first, second
        size = (second / (1.0 - BETAS[1] ** count)).sqrt_().add_(self._damping)
        self._levels[level][numbers] -= (rate / (1.0 - BETAS[0] ** count)) * first / size


class _Run:
    """One training: the module, its optimisers, and what is known of its levels."""

    def __init__(self, module: ClipGrid, values: Values, options: ClipFitOptions, seed: int) -> None:
        self.module, self.values, self.options = module, values, options
        self.generator = torch.Generator(device=values.device).manual_seed(seed & (2**63 - 1))
        self.mean_frame = values.mean(dim=1, keepdim=True)
        self.n_frames = values.shape[1]
        self.price = options.rate_weight / (self.n_frames * values.shape[2])
        self.networks = Soap(module.trained())
        self.latents = _PlaneAdam(list(module.levels), DAMPING * self.price)
        self.scales = [math.log(0.3)] * len(module.levels)
        self.steps: Steps | None = None
        self.order: list[int] = []

    def step(self, index: int) -> None:
        options = self.options
        share = index / options.n_steps
        if self.steps is None and share >= 1.0 - options.coded_share:
            self.steps = self._search()
        arrays: Mapping[str, Values] = self.module.arrays()
        arrays = arrays if self.steps is None else rounded(arrays, self.steps)
        is_still = share < options.still_share and self.n_frames > 1
        frames = torch.zeros(1, dtype=torch.int64, device=self.values.device) if is_still else self._drawn()
        target = self.mean_frame if is_still else self.values[:, frames]
        chosen = self.module.still_levels if is_still else range(len(self.module.levels))
        numbers = {level: self.module.planes_of(level, frames) for level in chosen}
        leaves = {level: self.module.levels[level].detach()[n].requires_grad_() for level, n in numbers.items()}
        planes = {level: (numbers[level], self._relaxed(leaf, share)) for level, leaf in leaves.items()}
        error = (self.module(planes, frames, arrays) - target.flatten(1)).square().mean()
        loss = error + self.price * self._bits(planes)
        parameters = self.module.trained()
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        falling = cosine_share(index, options.n_steps)
        self.networks.step(options.network_rate * falling)
        for level, leaf in leaves.items():
            assert leaf.grad is not None
            self.latents.step(level, numbers[level], leaf.grad, options.latent_rate * falling)

    def _drawn(self) -> Values:
        """Frames of the next step: all in turn, in an order drawn anew each time."""
        n = min(self.options.frames_per_step, self.n_frames)
        if len(self.order) < n:
            self.order = torch.randperm(self.n_frames, generator=self.generator, device=self.values.device).tolist()
        drawn, self.order = self.order[:n], self.order[n:]
        return torch.tensor(drawn, device=self.values.device)

    def _relaxed(self, latents: Values, share: float) -> Values:
        o = self.options
        return relaxed(latents, share, o.hard_share, o.temperatures, o.noises, self.generator)

    def _bits(self, planes: Mapping[int, tuple[Values, Values]]) -> Values:
        """Of all latents: those of the planes seen stand for the other planes that frames are made of."""
        total = self.values.new_zeros(())
        for level, (numbers, latents) in planes.items():
            scale = math.log(max(float(latents.detach().abs().mean()), LEAST_SCALE))
            self.scales[level] = SCALE_MEMORY * self.scales[level] + (1.0 - SCALE_MEMORY) * scale
            n_used = min(self.module.encoding.resolutions[level][0], self.n_frames)
            bits = laplace_bits(latents, 0.0, latents.new_tensor(self.scales[level])).sum()
            total = total + bits * (n_used / len(numbers))
        return total

    def some_frames(self) -> Values:
        """A few, from all over the clip."""
        n = min(FRAMES_OF_A_SEARCH, self.n_frames)
        return torch.tensor([(2 * i + 1) * self.n_frames // (2 * n) for i in range(n)], device=self.values.device)

    @torch.no_grad()
    def error(self, frames: Values, arrays: Mapping[str, Values] | None = None) -> float:
        """Mean squared error of frames with rounded latents."""
        out = self.module(self.module.integers(frames), frames, arrays)
        return float((out - self.values[:, frames].flatten(1)).square().mean())

    def _search(self) -> Steps:
        arrays, frames = self.module.arrays(), self.some_frames()

        def loss(candidate: Mapping[str, Values]) -> float:
            return self.error(frames, candidate)

        return search_steps(
            self.module.tensors, arrays, first_steps(self.module.tensors, arrays), loss, self.price, n_rounds=2
        )

    def result(self) -> GridFit:
        """Everything rounded."""
        steps = self._search() if self.steps is None else self.steps
        arrays = {name: array.detach() for name, array in rounded(self.module.arrays(), steps).items()}
        errors = [self.error(torch.tensor([frame]), arrays) for frame in range(self.n_frames)]
        latents = torch.cat([level.detach().round().flatten() for level in self.module.levels])
        counts = [torch.unique(level.detach().round(), return_counts=True)[1] for level in self.module.levels]
        bits = sum(float((n * (n.sum() / n).log2()).sum()) for n in counts)
        return GridFit(steps, arrays, latents, float(np.mean(errors)), bits)


def _interpolation(unit: NDArray[np.float64], n_vertices: int) -> Values:
    """float32 (samples, vertices): weights of the vertices of an axis at unit coordinates (clause 16.5)."""
    position = unit * (n_vertices - 1)
    lower = np.minimum(np.floor(position), max(n_vertices - 2, 0)).astype(np.int64)
    weights = np.zeros((len(unit), n_vertices), dtype=np.float32)
    at = np.arange(len(unit))
    weights[at, lower] = 1.0 - (position - lower)
    if n_vertices > 1:
        weights[at, lower + 1] = position - lower
    return torch.from_numpy(weights)


def _key(name: str) -> str:
    return name.replace(".", "_")


def _initial(tensor: Tensor, generator: torch.Generator) -> Values:
    if tensor.name.startswith("grid."):
        return torch.ones(tensor.shape)
    if tensor.is_bias:
        return torch.zeros(tensor.shape)
    gain = FIRST_GAIN if tensor.ordinal == 0 else LAST_GAIN
    return gain * torch.randn(tensor.shape, generator=generator)
