"""A latent grid as a differentiable function of points: hashed and dense levels, linear decoder, the layers behind.

Specification: clauses 9.6.1 (entries of vertices), 16.5 (positions, interpolation) and 16.3 (what follows). One to four
axes, and any records behind them. Positions are binary64 as in the text; tensors have the names and shapes of the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values
from torch import nn
from torch.func import functional_call

from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.grids import PRIMES, Frame
from sinrfmt.network import GridEncoding, Network, Tensor, TensorRole
from sinrfmt.registry import Coords
from sinrfmt.torch.modules import StepsModule, initial_bound

EVALUATION_BATCH = 16384
DECODER_DEVIATION = 0.1
LATENT_BOUND = 0.01
"""First values as published: normal for the decoder, uniform for latents."""


@dataclass(frozen=True)
class Points:
    """Coordinates with the corners around them, for points that are evaluated more than once.

    Attributes:
        coords: float32 (n, in_dims).
        entries: int32 (levels, vertices, n), entries counted over all levels.
        weights: float32 (levels, vertices, n).
    """

    coords: Values
    entries: Values
    weights: Values


@dataclass(frozen=True)
class Lattice:
    """All combinations of coordinates on the axes, for dense levels: interpolated one axis after the other.

    Attributes:
        axes: float32 (m,) for each axis.
        lower, upper: int64 (levels, m) for each axis, the vertices around.
        weights: float32 (levels, m) for each axis, of the upper vertices.
    """

    axes: tuple[Values, ...]
    lower: tuple[Values, ...]
    upper: tuple[Values, ...]
    weights: tuple[Values, ...]

    def at(self, chosen: Sequence[Values]) -> "Lattice":
        """Some of the coordinates on every axis: int64 (m,) each."""
        parts = (self.axes, self.lower, self.upper, self.weights)
        return Lattice(*(tuple(x[..., i] for x, i in zip(part, chosen, strict=True)) for part in parts))

    @property
    def coords(self) -> Values:
        """float32 (product of the lengths, axes), C order."""
        return torch.cartesian_prod(*self.axes).view(-1, len(self.axes))


Places = Values | Points | Lattice
"""Where a field is evaluated: coordinates float32 (n, in_dims), or prepared ones."""


class _Decoder(nn.Module):
    """Holds the linear decoder's parameters by their names."""

    weight: Values
    bias: Values


class GridModule(StepsModule):
    """The field of a network over a latent grid: coords float32 (n, in_dims) -> values float32 (n, out_channels).

    ``latents`` (entries of all levels, latent_dim) are in units of their step; ``level_starts`` is where levels begin.
    """

    spans: Values
    low: Values
    extent: Values
    factor: Values

    def __init__(self, network: Network, frame: Frame | None = None, *, seed: int = 0) -> None:
        """Build the module with the published initial values of grids, and those of the project in layers.

        Args:
            network: the description.
            frame: how coordinates relate to the native grid; that of ``frame_of`` of the file's header.
            seed: of the initial values; and the file's.

        Raises:
            ValueError: the network has another input encoding.
        """
        super().__init__(network, seed)
        encoding = network.input_encoding
        if not isinstance(encoding, GridEncoding):
            raise ValueError("expected a network over a latent grid")
        self.encoding = encoding
        self.level_starts = [0, *np.cumsum([encoding.n_entries(n) for n in range(encoding.n_levels)]).tolist()]
        generator = torch.Generator().manual_seed(seed & (2**63 - 1))
        uniform = torch.rand(self.level_starts[-1], encoding.latent_dim, generator=generator)
        self.latents = nn.Parameter((2.0 * uniform - 1.0) * LATENT_BOUND)
        self.tensors = [tensor for tensor in network.tensors if tensor.role is TensorRole.LAYER]
        self.grid = nn.ModuleDict({"decoder": _Decoder()})
        for tensor in self.tensors:
            self._start(tensor, generator)
        spans = torch.tensor(encoding.resolutions, dtype=torch.float64).unsqueeze(-1) - 1.0
        self.register_buffer("spans", spans, persistent=False)  # (levels, axes, 1)
        for name, numbers in zip(("low", "extent", "factor"), _frame_numbers(frame or Frame(), encoding), strict=True):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.float64).unsqueeze(-1), persistent=False)
        self._groups = [list(levels) for _, levels in groupby(range(encoding.n_levels), encoding.is_dense)]

    @classmethod
    def of_field(cls, field: Field) -> "GridModule":
        """The module of a decoded file, with its latents and weights.

        Raises:
            UsageError: a field over something else, or in parts.
        """
        header = field.header
        if not isinstance(header.network.input_encoding, GridEncoding) or header.parts is not None:
            raise error("USAGE", "expected a field in one part over a latent grid")
        module = cls(header.network, Frame(header.coords, header.grid, header.box), seed=header.seed or 0)
        weights = {name: torch.tensor(array) for name, array in field.state_dict.items()}
        levels = [weights[f"grid.levels.{level}"] for level in range(module.encoding.n_levels)]
        with torch.no_grad():
            module.latents.copy_(torch.cat(levels))
            for name, array in module.arrays().items():
                array.copy_(weights[name])
        return module

    def _start(self, tensor: Tensor, generator: torch.Generator) -> None:
        if not tensor.name.startswith("grid."):
            bound = initial_bound(self.network, tensor)
            first = bound * (2.0 * torch.rand(tensor.shape, generator=generator) - 1.0)
        elif tensor.is_bias:
            first = torch.zeros(tensor.shape)
        else:
            first = DECODER_DEVIATION * torch.randn(tensor.shape, generator=generator)
        *path, name = tensor.name.split(".")
        self.get_submodule(".".join(path)).register_parameter(name, nn.Parameter(first))

    def arrays(self) -> dict[str, nn.Parameter]:
        """The trainable tensors but latents by their names in the file."""
        return {tensor.name: self.get_parameter(tensor.name) for tensor in self.tensors}

    @torch.no_grad()
    def points(self, coords: Values) -> Points:
        """Coordinates float32 (n, in_dims) with what does not change while the module is trained."""
        return Points(coords, *self._corners(coords))

    @property
    def has_lattice(self) -> bool:
        """Whether it can be evaluated on a ``Lattice``: all levels are dense, over all coordinates."""
        return self.encoding.n_axes == self.network.in_dims and all(
            self.encoding.is_dense(level) for level in range(self.encoding.n_levels)
        )

    @torch.no_grad()
    def lattice(self, axes: Sequence[Values]) -> Lattice:
        """All combinations of float32 (m,) coordinates on every axis.

        Raises:
            ValueError: the module has hashed levels, or coordinates beside those of the grid.
        """
        if not self.has_lattice:
            raise ValueError("a lattice needs dense levels over all coordinates")
        lower, upper, weights = [], [], []
        for axis, x in enumerate(axes):
            below, part = (side[:, 0] for side in self._sides(x[None], slice(axis, axis + 1)))
            lower.append(below.to(torch.int64))
            upper.append(torch.minimum(lower[-1] + 1, self.spans[:, axis].to(torch.int64)))
            weights.append(part)
        return Lattice(tuple(axes), tuple(lower), tuple(upper), tuple(weights))

    def forward(self, latents: Values, coords: Places, arrays: Mapping[str, Values] | None = None) -> Values:
        """Values: float32 (n, out_channels), not clamped.

        Args:
            latents: (entries, latent_dim).
            coords: where. Coordinates that are not prepared get a gradient if they need one.
            arrays: other tensors than the module's own, by their names.
        """
        if arrays is not None:
            return cast(Values, functional_call(self, dict(arrays), (latents, coords)))
        if isinstance(coords, Lattice):
            at, z = coords.coords, self._lattice_latents(latents, coords)
        elif isinstance(coords, Points):
            at, z = coords.coords, interpolate(latents, coords.entries, coords.weights)
        else:
            at, z = coords, interpolate(latents, *self._corners(coords))
        return self.run_steps(self._features(z, at), at)

    @torch.no_grad()
    def values_at(
        self, latents: Values, coords: NDArray[np.float32], arrays: Mapping[str, Values] | None = None
    ) -> Values:
        """Values float32 (n, out_channels) at many coordinates, in batches, on the device of the module."""
        points = torch.from_numpy(np.ascontiguousarray(coords))
        device = self.latents.device
        return torch.cat([self(latents, part.to(device), arrays) for part in torch.split(points, EVALUATION_BATCH)])

    def _lattice_latents(self, latents: Values, lattice: Lattice) -> Values:
        """Interpolated latents: (levels, latent_dim, n)."""
        levels = []
        sizes = [self.encoding.n_entries(level) for level in range(self.encoding.n_levels)]
        for level, part in enumerate(torch.split(latents, sizes)):
            z = part.view(*self.encoding.resolutions[level], -1)
            for axis, weights in enumerate(lattice.weights):
                low, high = (z.index_select(axis, side[axis][level]) for side in (lattice.lower, lattice.upper))
                z = torch.lerp(low, high, weights[level].view(-1, *[1] * (z.dim() - 1 - axis)))
            levels.append(z.reshape(-1, self.encoding.latent_dim).T)
        return torch.stack(levels)

    def _features(self, z: Values, coords: Values) -> Values:
        """Inputs of the first layer, features first: (n, n_out) for z (levels, latent_dim, n)."""
        encoding, decoder = self.encoding, cast(_Decoder, self.grid["decoder"])
        weight = decoder.weight.view(encoding.n_decoders, encoding.feature_dim, -1)
        features = torch.matmul(weight, z) if encoding.latent_dim > 1 else weight * z
        if encoding.record.bias:
            features = features + decoder.bias.view(encoding.n_decoders, encoding.feature_dim, 1)
        features = features.sum(dim=0) if encoding.summed else features.flatten(0, 1)
        first = 0 if encoding.append_input else encoding.n_axes
        appended = coords[:, first:]
        return torch.cat([features, appended.T]).T if appended.shape[1] else features.T

    def _corners(self, coords: Values) -> tuple[Values, Values]:
        """Entries and weights of the vertices around every point: int32 and float32 (levels, vertices, n)."""
        lower, upper_weights = self._sides(coords[:, : self.encoding.n_axes].T)
        weights = _outer(torch.stack([1.0 - upper_weights, upper_weights], dim=2), torch.mul)
        vertices = lower.to(torch.int64)
        parts = [self._entries(vertices[levels[0] : levels[-1] + 1], levels) for levels in self._groups]
        return torch.cat(parts) if len(parts) > 1 else parts[0], weights

    def _sides(self, x: Values, axes: slice = slice(None)) -> tuple[Values, Values]:
        """Lower vertices float64 and weights float32 of the upper ones, (levels, axes, n), of coordinates (axes, n)."""
        unit = (x.to(torch.float64) - self.low[axes]) / self.extent[axes] * self.factor[axes]
        unit = torch.nan_to_num(unit, nan=0.0, posinf=1.0, neginf=0.0).clamp(0.0, 1.0)
        spans = self.spans[:, axes]
        positions = unit * spans
        lower = torch.minimum(positions.detach().floor(), (spans - 1.0).clamp_min(0.0))
        return lower, (positions - lower).to(torch.float32)

    def _entries(self, vertices: Values, levels: list[int]) -> Values:
        """Entries int32 (levels, corners, n) of lower vertices int64 (levels, axes, n) of levels of one sort."""
        encoding = self.encoding
        is_dense = encoding.is_dense(levels[0])
        sizes = [encoding.resolutions[level] for level in levels]
        axes = range(encoding.n_axes)
        factors = [[prod(size[a + 1 :]) if is_dense else PRIMES[a] for a in axes] for size in sizes]
        # An axis of one vertex has its two neighbours in one place, the upper with the weight 0.
        moves = [[f if n > 1 else 0 for f, n in zip(*pair, strict=True)] for pair in zip(factors, sizes, strict=True)]
        low = vertices * vertices.new_tensor(factors).unsqueeze(-1)
        terms = torch.stack([low, low + vertices.new_tensor(moves).unsqueeze(-1)], dim=2)
        if not is_dense:
            terms &= (1 << encoding.log2_table_size) - 1
        entries = _outer(terms.to(torch.int32), torch.add if is_dense else torch.bitwise_xor)
        return entries.add_(entries.new_tensor([self.level_starts[n] for n in levels])[:, None, None])


def _frame_numbers(frame: Frame, encoding: GridEncoding) -> tuple[list[float], list[float], list[float]]:
    """(low, extent, factor) of every axis: the unit coordinate of x is ``(x - low) / extent * factor``."""
    axes = range(encoding.n_axes)
    factors = [1.0 for _ in axes]
    if frame.coords is Coords.BOX:
        assert frame.box is not None
        return [frame.box[a][0] for a in axes], [frame.box[a][1] - frame.box[a][0] for a in axes], factors
    if frame.coords is Coords.CENTRES_UNIT:
        return [0.0 for _ in axes], factors, factors
    if frame.coords is Coords.CORNERS_PROPORTIONAL and frame.grid:
        factors = [max(frame.grid[0] - 1, 1) / max(frame.grid[axis] - 1, 1) for axis in axes]
    return [-1.0 for _ in axes], [2.0 for _ in axes], factors


def _outer(sides: Values, combine: Any) -> Values:
    """(levels, axes, 2, n) -> (levels, 2^axes, n): every choice of a side on every axis, the last axis fastest."""
    result: Values = sides[:, 0]
    for axis in range(1, sides.shape[1]):
        result = combine(result.unsqueeze(2), sides[:, axis].unsqueeze(1)).flatten(1, 2)
    return result


class _Interpolate(torch.autograd.Function):
    """Gathers one latent dimension at a time: several times as fast as rows of two."""

    @staticmethod
    def forward(ctx: Any, latents: Values, entries: Values, weights: Values) -> Values:
        ctx.save_for_backward(latents, entries, weights)
        n_levels, _, n = weights.shape
        z = weights.new_empty(n_levels, latents.shape[1], n)
        for d, plane in enumerate(latents.T.contiguous()):
            torch.sum(_gathered(plane, entries).mul_(weights), dim=1, out=z[:, d])
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Values) -> tuple[Values | None, None, Values | None]:
        latents, entries, weights = ctx.saved_tensors
        of_latents = of_weights = None
        if ctx.needs_input_grad[0]:
            planes = torch.zeros_like(latents.T, memory_format=torch.contiguous_format)
            for d, plane in enumerate(planes):
                plane.index_add_(0, entries.view(-1), (weights * gradient[:, d].unsqueeze(1)).view(-1))
            of_latents = planes.T
        if ctx.needs_input_grad[2]:
            parts = [_gathered(p, entries) * gradient[:, d, None] for d, p in enumerate(latents.T.contiguous())]
            of_weights = torch.stack(parts).sum(dim=0)
        return of_latents, None, of_weights


def _gathered(plane: Values, entries: Values) -> Values:
    return plane.index_select(0, entries.reshape(-1)).view(entries.shape)


def interpolate(latents: Values, entries: Values, weights: Values) -> Values:
    """Weighted sums of latents: float32 (levels, latent_dim, n).

    Args:
        latents: float32 (entries, latent_dim).
        entries: int32 (levels, vertices, n).
        weights: float32 (levels, vertices, n).
    """
    return cast(Values, _Interpolate.apply(latents, entries, weights))  # type: ignore[no-untyped-call]
