"""How much each weight matters: Gauss-Newton curvature of the output error, and the factors for error feedback.

Method: with J the Jacobian of the outputs with respect to the weights, a small change d of the weights adds
``d^T G d`` to the mean squared error, ``G = J^T J`` averaged over samples and channels. The diagonal gives a step per
tensor; whole blocks of G let a quantiser spread the error of one weight over the weights still to come (Frantar et al.,
"GPTQ: accurate post-training quantization", 2022; it is Babai's nearest-plane rounding). Blocks are float64.

The *parameter vector* is all tensors in table order, each in C order.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.network import Network
from sinrfmt.torch.modules import DenseLayer, FieldModule

DAMPING = 1e-3
"""Share of the diagonal added to it before a block is factored."""
IDLE_DAMPING = 1e-2
"""Share of the tensor's mean added too. Without it a weight that has next to no influence, such as one of a neuron that
is never heard, would be moved without bounds to make up for others, where the quadratic model says nothing."""
SAMPLES_PER_CHUNK = 1024


@dataclass(frozen=True)
class Block:
    """Weights that share their quantisation error.

    Attributes:
        indices: int64 (k,), positions in the parameter vector, ascending: the order of quantisation.
        spread: float64 (k, k), unit upper triangular. When entry i changes by e, entry j > i should change by
            ``e * spread[i, j]``.
        conditional: float64 (k,), curvature of entry i when the later entries move so.
    """

    indices: NDArray[np.int64]
    spread: NDArray[np.float64]
    conditional: NDArray[np.float64]


@dataclass(frozen=True)
class Curvature:
    """The Gauss-Newton curvature of a network on a signal.

    Attributes:
        diagonal: float64 (n_parameters,), positive.
        blocks: disjoint; empty without error feedback.
    """

    diagonal: NDArray[np.float64]
    blocks: tuple[Block, ...] = ()

    @property
    def is_whole(self) -> bool:
        """All weights are in one block."""
        return len(self.blocks) == 1 and self.blocks[0].indices.size == self.diagonal.size

    @property
    def effective(self) -> NDArray[np.float64]:
        """Curvature of each weight as its own rounding error meets it: with feedback, the conditional one."""
        effective = self.diagonal.copy()
        for block in self.blocks:
            effective[block.indices] = block.conditional
        return effective


@dataclass(frozen=True)
class _Piece:
    """A range of output rows of one layer."""

    layer: int
    start: int
    stop: int


def curvature_of(
    module: FieldModule,
    coords: NDArray[np.float32],
    *,
    n_samples: int,
    block_limit: int,
    seed: int,
    device: torch.device,
) -> Curvature:
    """Measure the curvature on a random subset of the samples.

    Args:
        module: the trained network, on ``device``.
        coords: float32 (n, in_dims), all samples.
        n_samples: size of the subset; all samples when there are fewer.
        block_limit: most parameters in a block: the whole network where it fits, else rows of one layer; 0 for the
            diagonal only. Time and memory grow with its square.
        seed: of the subset.
        device: where to compute.
    """
    chunks = list(torch.split(_subset(coords, n_samples, seed, device), SAMPLES_PER_CHUNK))
    diagonal = _diagonal(module, chunks)
    # A weight without any influence still needs a finite step.
    diagonal = np.maximum(diagonal, diagonal.max() * 1e-12 + 1e-30)
    blocks = (
        _block(module, chunks, pieces, diagonal) for pieces in _partition(module.network, block_limit) if block_limit
    )
    return Curvature(diagonal, tuple(blocks))


def _subset(coords: NDArray[np.float32], n_samples: int, seed: int, device: torch.device) -> Values:
    rng = np.random.default_rng(seed)
    if n_samples < coords.shape[0]:
        coords = coords[rng.choice(coords.shape[0], n_samples, replace=False)]
    return torch.tensor(coords).to(device)


Terms = list[tuple[Values, Values]]
"""(delta (n, rows), inputs (n, columns)): the Jacobian of an output channel with respect to the weights of a layer is
the sum of their outer products, with respect to the bias the first delta."""


def _factors(module: FieldModule, coords: Values) -> Iterator[list[Terms]]:
    """Yield, per output channel, the terms of every layer."""
    seen: list[tuple[DenseLayer, Values, Values]] = []  # layer, inputs, phase

    def run(layer: DenseLayer, x: Values) -> Values:
        phase = layer.phase(x)
        seen.append((layer, x.detach(), phase))
        return layer.activation(phase)

    values = module(coords, run)
    phases = [phase for _, _, phase in seen]
    for channel in range(values.shape[-1]):
        # An OUTPUT does not depend on the layers after it.
        gradients = torch.autograd.grad(
            values[:, channel].sum(), phases, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        yield [_terms(layer, x, g * layer.phase_factor) for g, (layer, x, _) in zip(gradients, seen, strict=True)]


def _terms(layer: DenseLayer, x: Values, delta: Values) -> Terms:
    if not layer.layer.is_complex:
        return [(delta, x)]
    real, imaginary = delta.chunk(2, dim=1)
    x_real, x_imaginary = x.chunk(2, dim=1)
    return [(delta, x_real), (torch.cat([imaginary, -real], dim=1), x_imaginary)]


def _diagonal(module: FieldModule, chunks: list[Values]) -> NDArray[np.float64]:
    """Mean over samples and channels of the squared Jacobian: float64 (n_parameters,)."""
    total = np.zeros(module.network.n_parameters)
    for chunk in chunks:
        for factors in _factors(module, chunk):
            columns = [part for terms in factors for part in (_squares(terms), (terms[0][0] ** 2).sum(0))]
            total += _select(module.network, columns)
    return total / _n_outputs(module, chunks)


def _squares(terms: Terms) -> Values:
    """The sum over samples of the squared Jacobian of a layer's weights: (rows, columns)."""
    products = [(d1 * d2).T @ (x1 * x2) for (d1, x1), (d2, x2) in itertools.product(terms, repeat=2)]
    return torch.stack(products).sum(0) if len(products) > 1 else products[0]


def _select(network: Network, columns: list[Values]) -> NDArray[np.float64]:
    """The (weight, bias) pairs of all layers as one parameter vector, without the biases that do not exist."""
    kept = [columns[tensor.ordinal].reshape(-1) for tensor in network.tensors]
    vector: NDArray[np.float64] = torch.cat(kept).cpu().numpy().astype(np.float64)
    return vector


def _n_outputs(module: FieldModule, chunks: list[Values]) -> int:
    return sum(chunk.shape[0] for chunk in chunks) * module.network.out_channels


def _partition(network: Network, block_limit: int) -> Iterator[list[_Piece]]:
    """Yield the pieces of each block: the whole network, or as many rows of a layer as fit (one at least)."""
    if network.n_parameters <= block_limit:
        yield [_Piece(i, 0, layer.weight_shape[0]) for i, layer in enumerate(network.layers)]
        return
    for i, layer in enumerate(network.layers):
        rows, columns = layer.weight_shape
        n_rows = max(1, block_limit // (columns + int(layer.record.bias)))
        for start in range(0, rows, n_rows):
            yield [_Piece(i, start, min(start + n_rows, rows))]


def _block(module: FieldModule, chunks: list[Values], pieces: list[_Piece], diagonal: NDArray[np.float64]) -> Block:
    indices = _indices(module.network, pieces)
    # Unit diagonal: entries differ by many orders of magnitude, and products of chunks are summed in float32.
    scale = 1.0 / np.sqrt(diagonal[indices])
    column_scale = torch.from_numpy(scale.astype(np.float32)).to(chunks[0].device)
    gram = torch.zeros(indices.size, indices.size, dtype=torch.float64, device=chunks[0].device)
    for chunk in chunks:
        for factors in _factors(module, chunk):
            jacobian = _jacobian(module.network, factors, pieces) * column_scale
            gram += jacobian.T @ jacobian
    gram /= _n_outputs(module, chunks)
    damping = DAMPING + IDLE_DAMPING * _tensor_means(module.network, diagonal)[indices] / diagonal[indices]
    gram.diagonal().add_(torch.from_numpy(damping).to(gram.device))
    spread, conditional = feedback_factor(gram)
    return Block(indices, spread * scale / scale[:, None], conditional / scale**2)


def _tensor_means(network: Network, diagonal: NDArray[np.float64]) -> NDArray[np.float64]:
    """For every parameter the mean of its tensor's diagonal: float64 (n_parameters,)."""
    ends = np.cumsum([tensor.size for tensor in network.tensors])
    return np.concatenate([np.full(part.size, part.mean()) for part in np.split(diagonal, ends[:-1])])


def _jacobian(network: Network, factors: list[Terms], pieces: list[_Piece]) -> Values:
    """The Jacobian of one channel with respect to the block's parameters: (n, k)."""
    columns = []
    for piece in pieces:
        rows = slice(piece.start, piece.stop)
        products = [delta[:, rows].unsqueeze(2) * x.unsqueeze(1) for delta, x in factors[piece.layer]]
        columns.append(torch.stack(products).sum(0).flatten(1) if len(products) > 1 else products[0].flatten(1))
        if network.layers[piece.layer].record.bias:
            columns.append(factors[piece.layer][0][0][:, rows])
    return torch.cat(columns, dim=1)


def _indices(network: Network, pieces: list[_Piece]) -> NDArray[np.int64]:
    """Positions of the pieces' parameters, in the order of ``_jacobian``'s columns, which is ascending."""
    starts, position = {}, 0
    for tensor in network.tensors:
        starts[tensor.ordinal] = position
        position += tensor.size
    parts = []
    for piece in pieces:
        layer = network.layers[piece.layer]
        weight = starts[2 * piece.layer]
        n_columns = layer.weight_shape[1]
        parts.append(np.arange(weight + piece.start * n_columns, weight + piece.stop * n_columns))
        if layer.record.bias:
            bias = starts[2 * piece.layer + 1]
            parts.append(np.arange(bias + piece.start, bias + piece.stop))
    return np.concatenate(parts)


def feedback_factor(gram: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factor a curvature block for sequential quantisation.

    Args:
        gram: float64 (k, k), symmetric, positive definite.

    Returns:
        spread and conditional as in ``Block``: with ``gram = V D V^T``, V unit upper triangular, spread is the inverse
        of V and conditional is D.
    """
    # The Cholesky factor of the matrix in reversed order, reversed again, is upper triangular.
    upper = torch.linalg.cholesky(gram.flip(0, 1)).flip(0, 1)
    pivots = upper.diagonal()
    identity = torch.eye(gram.shape[0], dtype=gram.dtype, device=gram.device)
    spread = torch.linalg.solve_triangular(upper / pivots, identity, upper=True, unitriangular=True)
    return spread.cpu().numpy(), (pivots**2).cpu().numpy()
