"""A pyramid of latents as a differentiable function: up-sampling, synthesis, and the laws of its context network.

Specification: clauses 9.6.2 (tensors), 10.6 (context) and 16.6 (up-sampling, lattice filters). Tensors have the names
and shapes of the file. The arithmetic is binary32 where the format has integers: it trains what the format evaluates.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values
from torch import nn

from sinrfmt.contexts import N_STRIDES
from sinrfmt.grids import CUBIC_DEFAULT, FILTER_DEFAULTS, TAP_OFFSETS
from sinrfmt.network import LATTICE_KINDS, N_COARSE, Network, PyramidEncoding, Tensor, TensorRole
from sinrfmt.registry import ContextId, RecordKind
from sinrfmt.torch.modules import ACTIVATIONS
from sinrfmt.torch.sites import N_PHASES, ContextSites, context_sites

Arrays = Mapping[str, Values]

LATENT_CLIP = 63.0
HIDDEN_CLIP = 16383.0 / 256.0
MEAN_CLIP = 64.0
LOG_SCALE_RANGE = (-4.0625, 3.9375)
"""Natural logarithms that round to one of the 64 scales."""

_ACTIVATIONS = {**ACTIVATIONS, RecordKind.CONV: ACTIVATIONS[RecordKind.LINEAR], RecordKind.CONV_RELU: torch.relu}

BLOCK = 32
"""Samples that are up-sampled by one product of matrices: a band of a whole level would be nearly all zeros."""
REACH = max(map(abs, TAP_OFFSETS))

FIRST_GAIN, LAST_GAIN = 0.3, 0.06
"""Deviations of the first weights of the synthesis: a latent of 1 changes a value by about a hundredth of its range."""
LINEAR_GAIN, OTHER_GAIN = 0.04, 0.02
"""Largest weight of a feature in a value, and deviation of all others, where the synthesis is linear at first."""


class PyramidModule(nn.Module):
    """Latents, filters, synthesis and context network of a ``Network`` with the pyramid of a picture."""

    def __init__(
        self,
        network: Network,
        *,
        seed: int = 0,
        mean: NDArray[np.float32] | None = None,
        level_gain: float = 1.0,
    ) -> None:
        """Build the module with initial values: latents and filters of zeros, a synthesis that gives ``mean``.

        Args:
            network: the description; pointwise layers first, then lattice filters.
            seed: of the synthesis weights.
            mean: float32 (channels,), bias of the last pointwise layer.
            level_gain: what a latent is worth at first, beside one of the next finer level.

        Raises:
            ValueError: the network has no pyramid, or one over other axes than the last two.
        """
        super().__init__()
        encoding = network.input_encoding
        if not isinstance(encoding, PyramidEncoding) or len(encoding.grid) != 2 or encoding.axes != (0, 1):
            raise ValueError("expected the pyramid of a picture")
        self.network, self.encoding = network, encoding
        self.level_gains = level_gain ** torch.arange(encoding.n_levels - 1.0, -1.0, -1.0)
        sizes = [tensor.size for tensor in network.tensors if tensor.role is TensorRole.LATENT]
        self.level_starts = [0, *np.cumsum(sizes).tolist()]
        self.latents = nn.Parameter(torch.zeros(self.level_starts[-1]))
        self.names = [tensor.name for tensor in network.tensors if tensor.role is not TensorRole.LATENT]
        tensors = {tensor.name: tensor for tensor in network.tensors}
        generator = torch.Generator().manual_seed(seed & (2**63 - 1))
        self.weights = nn.ParameterDict({_key(n): _initial(tensors[n], network, generator) for n in self.names})
        self._start_linear(generator)
        self.weights["layers_0_weight"].data.mul_(self.level_gains)
        last = sum(layer.kind not in LATTICE_KINDS for layer in network.layers) - 1
        biases = [f"layers.{index}.bias" for index in range(last, len(network.layers))]
        self.output_names = [f"layers.{last}.weight", *(name for name in biases if name in tensors)]
        """Tensors that, all multiplied by a positive number, multiply the values: filters have no other activation than
        ReLU."""
        if mean is not None:
            self.weights[_key(f"layers.{last}.bias")].data.copy_(torch.from_numpy(mean))
        self._make_buffers()

    def latent_rates(self) -> Values:
        """How far every latent should move for a finest one that moves by 1, in steps: (latents,)."""
        sizes = torch.tensor(self.level_starts).diff()
        return (1.0 / self.level_gains).repeat_interleave(sizes).to(self.latents.device)

    def _start_linear(self, generator: torch.Generator) -> None:
        """Let hidden values in pairs, a feature and its negative, make the synthesis linear at first, if there is room.

        Nonlinear features then grow out of what a linear synthesis leaves, and latents need not follow their drift.
        """
        n = self.encoding.n_levels
        first, *others = self.network.layers
        is_pair = first.kind is RecordKind.RELU and bool(others) and others[0].kind not in LATTICE_KINDS
        if not is_pair or first.weight_shape[0] < 2 * n:
            return
        first_weight, second_weight = self.weights["layers_0_weight"].data, self.weights["layers_1_weight"].data
        gains = LINEAR_GAIN * (2.0 * torch.rand(second_weight.shape[0], n, generator=generator) - 1.0)
        first_weight.mul_(OTHER_GAIN / FIRST_GAIN)[: 2 * n] = torch.cat([torch.eye(n), -torch.eye(n)])
        second_weight.mul_(OTHER_GAIN / LAST_GAIN)[:, : 2 * n] = torch.cat([gains, -gains], dim=1)

    def _make_buffers(self) -> None:
        encoding = self.encoding
        self.register_buffer("taps", torch.from_numpy(_taps(encoding.filter_numbers)), persistent=False)
        self.sites = context_sites(encoding) if encoding.has_context else None
        if self.sites is not None:
            self._make_site_buffers(self.sites)

    def _make_site_buffers(self, sites: ContextSites) -> None:
        encoding = self.encoding
        levels = _one_hot(sites.level, encoding.n_levels)
        offsets = levels if sites.group is None else torch.cat([levels, _one_hot(sites.group, N_STRIDES)])
        buffers = {"order": torch.from_numpy(sites.order), "offsets": offsets}
        inputs = {"coarse": sites.coarse} | {f"near_{i}": near.positions for i, near in enumerate(sites.near)}
        if sites.group is None:
            inputs = {"inputs": np.concatenate(list(inputs.values()))}
        else:
            buffers["phases"] = _one_hot(sites.phase, N_PHASES)
        buffers |= {name: torch.from_numpy(positions.reshape(-1)) for name, positions in inputs.items()}
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def arrays(self) -> dict[str, Values]:
        """The trainable tensors but latents by their names in the file, of their shapes there."""
        return {name: self.weights[_key(name)] for name in self.names}

    def level(self, latents: Values, level: int) -> Values:
        """One level of a flat vector of latents: (rows, columns)."""
        part = latents[self.level_starts[level] : self.level_starts[level + 1]]
        return part.view(self.encoding.level_shape(level))

    def features(self, latents: Values, arrays: Arrays) -> Values:
        """Features of the native lattice: (levels, rows * columns)."""
        stack = self.level(latents, 0).unsqueeze(1)  # (rows, levels so far, columns)
        for level in range(1, self.encoding.n_levels):
            rows, columns = self.encoding.level_shape(level)
            band = torch.tensordot(self._filter(arrays, level), self.get_buffer("taps"), 1)
            before, n, _ = stack.shape
            wide = _across(stack.reshape(before * n, -1), band)[:, :columns]
            tall = _down(wide.reshape(before, n * columns), band)[:rows].view(rows, n, columns)
            stack = torch.cat([tall, self.level(latents, level).unsqueeze(1)], dim=1)
        return stack.transpose(0, 1).reshape(self.encoding.n_levels, -1)

    def _filter(self, arrays: Arrays, level: int) -> Values:
        coded = arrays["pyramid.filter"]
        row = coded[0 if self.encoding.shared_filter else level - 1]
        return row + torch.tensor(default_filter(self.encoding.filter_numbers), device=row.device)

    def forward(self, latents: Values, arrays: Arrays | None = None) -> Values:
        """Values of the native lattice: (channels, rows * columns).

        Args:
            latents: (n,), all levels.
            arrays: other tensors than the module's own, such as rounded ones.
        """
        arrays = self.arrays() if arrays is None else arrays
        x = self.features(latents, arrays)
        for index, layer in enumerate(self.network.layers):
            weight, bias = arrays[f"layers.{index}.weight"], arrays.get(f"layers.{index}.bias")
            if layer.kind in LATTICE_KINDS:
                x = x + self._filtered(x, weight)
                x = x if bias is None else x + bias[:, None]
            else:
                x = weight @ x if bias is None else torch.addmm(bias[:, None], weight, x)
            x = _ACTIVATIONS[layer.kind](x)
        return x

    def _filtered(self, x: Values, weight: Values) -> Values:
        n = x.shape[0]
        padded = nn.functional.pad(x.view(1, n, *self.encoding.grid), (1, 1, 1, 1), mode="replicate")
        return nn.functional.conv2d(padded, weight.view(n, n, 3, 3)).view(n, -1)

    def laws(self, latents: Values, arrays: Arrays | None = None) -> tuple[Values, Values]:
        """Mean and log scale of every site's law, each (n,), in the order of ``order``.

        Args:
            latents: (n,), all levels; rounded or with noise.
            arrays: as for ``forward``.
        """
        if self.sites is None:
            raise ValueError("this pyramid has no context network")
        arrays = self.arrays() if arrays is None else arrays
        sums = self._first_sums(latents, arrays)
        hidden, direct = torch.split_with_sizes(sums, [self.encoding.context_width, 2])
        h = nn.functional.hardtanh(hidden, 0.0, HIDDEN_CLIP)
        for index in range(self.encoding.context_hidden):
            bias = arrays[f"context.hidden.{index}.bias"]
            sums = h + torch.addmm(bias.T, arrays[f"context.hidden.{index}.weight"], h)
            h = nn.functional.hardtanh(sums, 0.0, HIDDEN_CLIP)
        out = direct + arrays["context.output"] @ h + arrays["context.offset"].T @ self.get_buffer("offsets")
        return out[0].clamp(-MEAN_CLIP, MEAN_CLIP), out[1].clamp(*LOG_SCALE_RANGE)

    def _first_sums(self, latents: Values, arrays: Arrays) -> Values:
        """The first product at every site: the hidden layer, then the two outputs of the linear branch."""
        source = torch.cat([latents.clamp(-LATENT_CLIP, LATENT_CLIP), latents.new_zeros(1)])
        phase = nn.functional.pad(arrays["context.phase"].T, (0, 0, 0, 2))
        hidden = torch.cat([arrays["context.coarse"], arrays["context.near"]], dim=1)
        weight = torch.cat([hidden, arrays["context.linear"]])
        if self.encoding.context is ContextId.SERIAL:
            inputs = source.index_select(0, self.get_buffer("inputs")).view(weight.shape[1], -1)
            return torch.addmm(phase, weight, inputs)
        from_coarse, from_near = weight[:, :N_COARSE], weight[:, N_COARSE:]
        coarse = source.index_select(0, self.get_buffer("coarse")).view(N_COARSE, -1)
        sums = torch.cat([from_coarse, phase], dim=1) @ torch.cat([coarse, self.get_buffer("phases")])
        return self._with_near(sums, source, from_near)

    def _with_near(self, sums: Values, source: Values, weight: Values) -> Values:
        assert self.sites is not None
        sizes = [self.sites.near[0].start, *(near.stop - near.start for near in self.sites.near)]
        first, *parts = torch.split_with_sizes(sums, sizes, dim=1)
        for i, near in enumerate(self.sites.near):
            n = near.positions.shape[0]
            inputs = source.index_select(0, self.get_buffer(f"near_{i}")).view(n, -1)
            parts[i] = torch.addmm(parts[i], weight[:, near.first_column : near.first_column + n], inputs)
        return torch.cat([first, *parts], dim=1)


def default_filter(n_numbers: int) -> tuple[float, ...]:
    """The up-sampling filter that coded zeros stand for (clause 16.6)."""
    known = FILTER_DEFAULTS.get(n_numbers, CUBIC_DEFAULT)
    return (*known, *(0.0,) * (n_numbers - len(known)))


def _taps(n_numbers: int) -> NDArray[np.float32]:
    """Bands that the numbers of a filter are coefficients of: float32 (numbers, 2 REACH + BLOCK, 2 BLOCK).

    A band takes a block of samples with ``REACH`` more on both sides to the samples of the next level.
    """
    taps = np.zeros((n_numbers, BLOCK + 2 * REACH, 2 * BLOCK), dtype=np.float32)
    i = np.arange(2 * BLOCK)
    side = np.where(i % 2 == 1, 1, -1)
    for j in range(n_numbers):
        taps[j, REACH + (i >> 1) + side * TAP_OFFSETS[j], i] = 1.0
    return taps


def _across(x: Values, band: Values) -> Values:
    """Twice the columns of (rows, columns), in whole blocks."""
    after = REACH + -x.shape[1] % BLOCK
    padded = torch.cat([x[:, :1].expand(-1, REACH), x, x[:, -1:].expand(-1, after)], dim=1)
    return (padded.unfold(1, BLOCK + 2 * REACH, BLOCK) @ band).flatten(1)


def _down(x: Values, band: Values) -> Values:
    """Twice the rows of (rows, columns), in whole blocks."""
    after = REACH + -x.shape[0] % BLOCK
    padded = torch.cat([x[:1].expand(REACH, -1), x, x[-1:].expand(after, -1)])
    return (band.T @ padded.unfold(0, BLOCK + 2 * REACH, BLOCK).mT).flatten(0, 1)


def _one_hot(rows: NDArray[np.int64], n_rows: int) -> Values:
    return torch.from_numpy((np.arange(n_rows)[:, None] == rows).astype(np.float32))


def _key(name: str) -> str:
    return name.replace(".", "_")


def _initial(tensor: Tensor, network: Network, generator: torch.Generator) -> nn.Parameter:
    values = torch.zeros(tensor.shape)
    gain = _initial_gain(tensor, network)
    if gain:
        values = gain * torch.randn(tensor.shape, generator=generator)
    if tensor.name == "context.offset":
        values[:, 1] = -0.25
    return nn.Parameter(values)


def _initial_gain(tensor: Tensor, network: Network) -> float:
    if tensor.role is TensorRole.CONTEXT:
        gains = {"context.coarse": 0.3, "context.near": 0.3, "context.output": 0.1}
        return (
            gains.get(tensor.name, 0.0) / math.sqrt(tensor.shape[1]) * (3.0 if tensor.name == "context.output" else 1.0)
        )
    if tensor.is_bias or tensor.name == "pyramid.filter":
        return 0.0
    kind = network.layers[tensor.ordinal // 2].kind
    if kind in LATTICE_KINDS:
        return 0.0
    return FIRST_GAIN if tensor.ordinal == 0 else LAST_GAIN
