"""A network as a ``torch.nn.Module``: layers, input encodings and the seeded initial values.

Specification: clauses 6.4 (layers), 8.2 (seeded numbers), 11 (evaluation). Knows nothing of files, images or training.
The initial value of entry n of a tensor is ``bound * U[n] / 2^23`` with the file's own generator: what the decoder can
make again need not be stored, so a trained tensor may be coded as its difference from where it started.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values
from torch import nn

from sinrfmt.network import (
    GROWTH_ORDINAL,
    FourierEncoding,
    InputEncoding,
    InputRecord,
    Layer,
    MultiplyRecord,
    Network,
    SeededFourierEncoding,
    Tensor,
)
from sinrfmt.philox import fourier_sums, signed_numbers
from sinrfmt.registry import RecordKind

SIGNED_NUMBER_RANGE = 2.0**23

ACTIVATIONS: dict[RecordKind, Callable[[Values], Values]] = {
    RecordKind.LINEAR: lambda t: t,
    RecordKind.SINE: torch.sin,
    RecordKind.RELU: torch.relu,
    RecordKind.GAUSSIAN: lambda t: torch.exp(-t * t),
    RecordKind.TANH: torch.tanh,
    RecordKind.SIGMOID: torch.sigmoid,
    RecordKind.ELU: nn.functional.elu,
    RecordKind.FILTER: torch.sin,
}


def _finer(t: Values, layer: Layer) -> Values:
    return torch.sin(layer.omega * ((t.abs() + 1.0) * t))


def _gabor(t: Values, layer: Layer) -> Values:
    """The complex Gabor wavelet (clause 16.3): the real parts of all outputs, then the imaginary ones."""
    if not layer.is_complex:
        size = torch.exp(-((layer.record.scale * t) ** 2))
        return torch.cat([size * torch.cos(layer.omega * t), size * torch.sin(layer.omega * t)], dim=-1)
    real, imaginary = t.chunk(2, dim=-1)
    size = torch.exp(-layer.omega * imaginary - layer.record.scale**2 * (real * real + imaginary * imaginary))
    return torch.cat([size * torch.cos(layer.omega * real), size * torch.sin(layer.omega * real)], dim=-1)


WAVELETS: dict[RecordKind, Callable[[Values, Layer], Values]] = {RecordKind.FINER: _finer, RecordKind.GABOR: _gabor}
"""Kinds whose argument is ``W x + b``, without omega."""

# Uniform bounds that keep the variance of the signal: He for ReLU and ELU, LeCun for the others; a weight of a kind
# with omega is smaller by omega (Sitzmann et al., "Implicit neural representations with periodic activation functions",
# 2020), but for GABOR, where the scale keeps the wavelet near zero anyway.
WEIGHT_GAINS: dict[RecordKind, float] = {
    RecordKind.LINEAR: 1.0,
    RecordKind.SINE: math.sqrt(6.0),
    RecordKind.RELU: math.sqrt(6.0),
    RecordKind.GAUSSIAN: math.sqrt(6.0),
    RecordKind.TANH: math.sqrt(3.0),
    RecordKind.SIGMOID: math.sqrt(3.0),
    RecordKind.ELU: math.sqrt(6.0),
    RecordKind.FINER: math.sqrt(6.0),
    RecordKind.GABOR: 1.0,
}
COORDINATE_KINDS = frozenset({RecordKind.SINE, RecordKind.FINER, RecordKind.FILTER})
"""Kinds whose weights on coordinates do not get smaller with omega: it says how fine the waves are there."""


class DenseLayer(nn.Module):
    """``act(omega * (W x + b))`` over the last axis, or a wavelet of ``W x + b``."""

    bias: nn.Parameter | None

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        self.phase_factor = 1.0 if layer.kind in WAVELETS else layer.omega
        shape = layer.weight_shape
        self.weight = nn.Parameter(torch.zeros(shape))
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape[0])) if layer.record.bias else None)

    def phase(self, x: Values) -> Values:
        """The argument of the activation: (..., n_in) -> (..., rows of the weights).

        omega scales the small matrix, not the large product: one pass over memory less in each direction.
        """
        weight = complex_matrix(self.weight) if self.layer.is_complex else self.weight
        if self.phase_factor == 1.0:
            return nn.functional.linear(x, weight, self.bias)
        bias = None if self.bias is None else self.bias * self.phase_factor
        return nn.functional.linear(x, weight * self.phase_factor, bias)

    def activation(self, phase: Values) -> Values:
        """(..., rows of the weights) -> (..., n_out)."""
        if self.layer.kind in WAVELETS:
            return WAVELETS[self.layer.kind](phase, self.layer)
        return ACTIVATIONS[self.layer.kind](phase)

    def forward(self, x: Values) -> Values:
        """(..., n_in) -> (..., n_out)."""
        return self.activation(self.phase(x))


def complex_matrix(parts: Values) -> Values:
    """What complex weights (2 m, n), real parts first, do to real parts followed by imaginary ones: (2 m, 2 n)."""
    real, imaginary = parts.chunk(2)
    return torch.cat([torch.cat([real, -imaginary], dim=1), torch.cat([imaginary, real], dim=1)])


class IdentityInput(nn.Module):
    """No input encoding."""

    def forward(self, coords: Values) -> Values:
        """(..., in_dims) -> the same."""
        return coords


class FourierInput(nn.Module):
    """Log-spaced Fourier features: the input if asked for, then per octave all sines, then all cosines."""

    frequencies: Values

    def __init__(self, encoding: FourierEncoding) -> None:
        super().__init__()
        self.include_input = encoding.include_input
        self.register_buffer("frequencies", torch.tensor(encoding.frequencies, dtype=torch.float32), persistent=False)

    def forward(self, coords: Values) -> Values:
        """(..., in_dims) -> (..., n_features)."""
        angles = coords.unsqueeze(-2) * self.frequencies.unsqueeze(-1)  # (..., octaves, in_dims)
        features = torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(-2)
        return torch.cat([coords, features], dim=-1) if self.include_input else features


class SeededFourierInput(nn.Module):
    """Seeded Gaussian Fourier features: all sines, then all cosines of B x."""

    matrix: Values

    def __init__(self, encoding: SeededFourierEncoding, in_dims: int, seed: int) -> None:
        super().__init__()
        sums = fourier_sums(encoding.n_features, in_dims, seed).astype(np.float32)
        self.register_buffer("matrix", torch.from_numpy(sums * np.float32(encoding.scale)), persistent=False)

    def forward(self, coords: Values) -> Values:
        """(..., in_dims) -> (..., 2 n_features)."""
        angles = nn.functional.linear(coords, self.matrix)
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


RunLayer = Callable[[DenseLayer, Values], Values]


class StepsModule(nn.Module):
    """The steps of a network: what follows its input encoding. Parameters are named as the tensors of the file."""

    def __init__(self, network: Network, seed: int) -> None:
        """All weights are zeros. ``seed`` is the file's, for seeded Fourier features."""
        super().__init__()
        self.network = network
        self.seed = seed
        self.layers = nn.ModuleList(DenseLayer(layer) for layer in network.layers)
        self.appended = nn.ModuleList(
            _build_input(step.encoding, step.count, seed) for step in network.steps if isinstance(step, InputRecord)
        )

    def run_steps(self, current: Values, coords: Values, run_layer: RunLayer | None = None) -> Values:
        """Values (..., out_channels) for the current values before the first record and coords (..., in_dims).

        ``run_layer`` stands between: called with every layer and its inputs, it gives the layer's outputs.
        """
        run = run_layer or DenseLayer.__call__
        outputs = []
        kept: dict[int, Values] = {}
        layers, appended = iter(self.layers), iter(self.appended)
        for step in self.network.steps:
            if isinstance(step, InputRecord):
                current = torch.cat(
                    [current, next(appended)(coords[..., step.first : step.first + step.count])], dim=-1
                )
                continue
            if isinstance(step, MultiplyRecord):
                current = current * kept[step.layer]
                continue
            layer = next(layers)
            assert isinstance(layer, DenseLayer)
            found = run(layer, coords if step.kind is RecordKind.FILTER else current)
            if step.index in self.network.multiplied_layers:
                kept[step.index] = found
            if step.record.is_output:
                outputs.append(found)
            else:
                current = current * found if step.kind is RecordKind.FILTER else found
        return torch.cat([current, *outputs], dim=-1) if outputs else current


class FieldModule(StepsModule):
    """The field of a network: coords float32 (n, in_dims) -> values float32 (n, out_channels).

    Its parameters are named as the tensors of the file, ``layers.N.weight`` and ``layers.N.bias``.
    """

    def __init__(
        self, network: Network, tensors: Mapping[str, NDArray[np.float32]] | None = None, *, seed: int = 0
    ) -> None:
        """Build the module.

        Args:
            network: the description.
            tensors: float32 array per tensor name; None for the seeded initial values.
            seed: the file's seed; also makes the matrix of seeded Fourier features.

        Raises:
            KeyError: a tensor is missing from ``tensors``.
            ValueError: an array has another shape than its tensor.
        """
        super().__init__(network, seed)
        self.input = _build_input(network.input_encoding, network.in_dims, seed)
        self.load_arrays(initial_arrays(network, seed) if tensors is None else tensors)

    def forward(self, coords: Values, run_layer: RunLayer | None = None) -> Values:
        """Coords (..., in_dims) -> values (..., out_channels); ``run_layer`` as in ``run_steps``."""
        first: Values = self.input(coords) if self.network.starts_with_coordinates else coords[..., :0]
        return self.run_steps(first, coords, run_layer)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """A float32 copy of every tensor, in table order."""
        return {name: p.detach().cpu().numpy().copy() for name, p in self._parameters_in_table_order()}

    @torch.no_grad()
    def load_arrays(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Set every tensor.

        Raises:
            KeyError: a tensor is missing.
            ValueError: an array has another shape than its tensor.
        """
        for name, parameter in self._parameters_in_table_order():
            array = np.asarray(tensors[name], dtype=np.float32)
            if array.shape != tuple(parameter.shape):
                raise ValueError(f"{name}: expected shape {tuple(parameter.shape)}, found {array.shape}")
            parameter.copy_(torch.tensor(array))

    def _parameters_in_table_order(self) -> list[tuple[str, nn.Parameter]]:
        return [(tensor.name, self.get_parameter(tensor.name)) for tensor in self.network.tensors]


def _build_input(encoding: InputEncoding | None, in_dims: int, seed: int) -> nn.Module:
    if encoding is None:
        return IdentityInput()
    if isinstance(encoding, FourierEncoding):
        return FourierInput(encoding)
    assert isinstance(encoding, SeededFourierEncoding)
    return SeededFourierInput(encoding, in_dims, seed)


def initial_bound(network: Network, tensor: Tensor) -> float:
    """Bound B of the seeded initial values of a tensor: they are uniform in [-B, B).

    Where the network grows, a block counts the inputs that its layer has after the pass in which it begins.
    """
    index = tensor.ordinal % GROWTH_ORDINAL // 2
    layer = network.layers[index]
    if tensor.is_bias:
        return 1.0 / math.sqrt(layer.n_in)
    takes_coordinates = index == 0 or layer.kind is RecordKind.FILTER
    if takes_coordinates and layer.kind in COORDINATE_KINDS:
        return 1.0 / layer.n_in
    if layer.kind is RecordKind.GABOR:
        return WEIGHT_GAINS[layer.kind] / math.sqrt(layer.n_in)
    n_in = tensor.origin[1] + tensor.shape[1] if network.active_widths else layer.n_in
    return WEIGHT_GAINS[layer.kind] / (math.sqrt(n_in) * layer.omega)


def initial_arrays(network: Network, seed: int) -> dict[str, NDArray[np.float32]]:
    """The seeded initial values ``bound * U / 2^23`` of every tensor (clause 8.2)."""
    arrays = {}
    for tensor in network.tensors:
        numbers = signed_numbers(tensor.size, tensor.ordinal, seed).reshape(tensor.shape)
        scale = initial_bound(network, tensor) / SIGNED_NUMBER_RANGE
        arrays[tensor.name] = (numbers * scale).astype(np.float32)
    return arrays
