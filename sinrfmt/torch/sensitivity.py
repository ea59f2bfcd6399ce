"""How much each weight matters: Gauss-Newton curvature of the output error, and the factors for error feedback.

Method: with J the Jacobian of the outputs with respect to the weights, a small change d of the weights adds
``d^T G d`` to the mean squared error, ``G = J^T J`` averaged over samples and channels. The diagonal gives a step per
tensor; whole blocks of G let a quantiser spread the error of one weight over the weights still to come (Frantar et al.,
"GPTQ: accurate post-training quantization", 2022; it is Babai's nearest-plane rounding). Blocks are float64.

The *parameter vector* is all tensors in table order, each in C order.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.network import Network
from sinrfmt.torch.modules import DenseLayer, FieldModule
from sinrfmt.torch.views import EACH, View

Entry = TypeVar("Entry", bound=np.generic)

DAMPING = 1e-3
"""Share of the diagonal added to it before a block is factored."""
IDLE_DAMPING = 1e-2
"""Share of the tensor's mean added too. Without it a weight that has next to no influence, such as one of a neuron that
is never heard, would be moved without bounds to make up for others, where the quadratic model says nothing."""
SAMPLES_PER_CHUNK = 2048
ROWS_PER_WEIGHT = 8
"""Rows of the Jacobian from which a block is measured, per weight of it. What few rows do not see counts for nothing,
and the error goes there: with 5 rows a weight, files are 2.5 % larger than with 13."""
BYTES_PER_ENTRY = 48
"""Memory of an entry of a block while it is factored."""
TILE = 512


def split_vector(network: Network, vector: NDArray[Entry]) -> list[NDArray[Entry]]:
    """A parameter vector as one array per tensor, of the tensor's shape."""
    ends = np.cumsum([tensor.size for tensor in network.tensors])
    parts = np.split(vector, ends[:-1])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, network.tensors, strict=True)]


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
class KroneckerBlock:
    """The weights of one layer, whose curvature is taken as the product of one between outputs and one between inputs.

    Method: Martens and Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015. Every
    row of weights is quantised like a ``Block`` with the factors of the inputs, then its error is spread over the rows
    still to come with those of the outputs; biases come last, so that the factors of the inputs are those with a bias
    that makes up for the mean.

    Attributes:
        weights: int64 (rows, columns), positions in the parameter vector.
        biases: int64 (rows,), or empty.
        outputs: (spread, conditional) of the rows.
        inputs: (spread, conditional) of the columns.
        bias_shift: float64 (columns,), by how much a bias should change for a change of each weight in its row.
        bias_conditional: curvature of a bias per unit of its output's.
    """

    weights: NDArray[np.int64]
    biases: NDArray[np.int64]
    outputs: tuple[NDArray[np.float64], NDArray[np.float64]]
    inputs: tuple[NDArray[np.float64], NDArray[np.float64]]
    bias_shift: NDArray[np.float64]
    bias_conditional: float

    @property
    def indices(self) -> NDArray[np.int64]:
        return np.concatenate([self.weights.ravel(), self.biases])

    @property
    def conditional(self) -> NDArray[np.float64]:
        """In the order of ``indices``."""
        rows = self.outputs[1]
        products = [np.outer(rows, self.inputs[1]).ravel(), rows[: self.biases.size] * self.bias_conditional]
        return np.concatenate(products)


@dataclass(frozen=True)
class Curvature:
    """The Gauss-Newton curvature of a network on a signal.

    Attributes:
        diagonal: float64 (n_parameters,), positive.
        blocks: disjoint; empty without error feedback.
    """

    diagonal: NDArray[np.float64]
    blocks: tuple[Block | KroneckerBlock, ...] = ()

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
class _Chunk:
    """Some samples, and the combinations of their channels whose Jacobian is taken.

    Attributes:
        coords: (n * depth, in_dims).
        depth: points of a sample.
        see: outputs (n * depth, channels) -> what is seen of them (n, channels seen).
        directions: (combinations, n, channels seen).
    """

    coords: Values
    depth: int
    see: Callable[[Values], Values]
    directions: Values


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
    view: View = EACH,
) -> Curvature:
    """Measure the curvature on a subset of the samples.

    Args:
        module: the trained network, on ``device``.
        coords: float32 (n, in_dims), the points of all samples.
        n_samples: size of the subset at least; more where a block needs them, all samples when there are fewer.
        block_limit: most parameters in a block: the whole network where it fits, else rows of one layer; 0 for the
            diagonal only. Time grows with its square, and with its cube for the whole network.
        seed: of the subset.
        device: where to compute.
        view: what is seen of the outputs: that is what should not change.
    """
    n_rows = max(n_samples, ROWS_PER_WEIGHT * min(block_limit, module.network.n_parameters))
    chunks = _chunks(module, coords, view, n_rows, seed, device)
    diagonal = _positive(_diagonal(module, chunks))
    blocks = (
        _block(module, chunks, pieces, diagonal) for pieces in _partition(module.network, block_limit) if block_limit
    )
    return Curvature(diagonal, tuple(blocks))


def kronecker_curvature_of(
    module: FieldModule,
    coords: NDArray[np.float32],
    *,
    n_samples: int,
    seed: int,
    device: torch.device,
    view: View = EACH,
) -> Curvature:
    """Measure the curvature layer by layer, as products: for networks of any size. Arguments as ``curvature_of``.

    The factors are the partial traces of a layer's matrix. Where what a neuron hears and how much it is heard go
    together, as on a ray of which only the first surface is seen, means of each alone would be far off.
    """
    chunks = _chunks(module, coords, view, n_samples, seed, device)
    sums: list[tuple[Values, Values]] | None = None
    for chunk in chunks:
        for factors in _factors(module, chunk):
            traces = [_partial_traces(terms, chunk.depth) for terms in factors]
            sums = traces if sums is None else [(a + c, b + d) for (a, b), (c, d) in zip(sums, traces, strict=True)]
    assert sums is not None
    n = _n_outputs(chunks)
    blocks = [
        _kronecker_block(module.network, index, outputs / n, inputs) for index, (outputs, inputs) in enumerate(sums)
    ]
    diagonals = [torch.outer(a.diagonal() / n, b.diagonal() / b.trace()) for a, b in sums]
    columns = [part for d in diagonals for part in (d[:, :-1], d[:, -1])]
    return Curvature(_positive(_select(module.network, columns)), tuple(blocks))


def largest_block(memory: int) -> int:
    """Most parameters of a block that is factored in so many bytes."""
    return math.isqrt(memory // BYTES_PER_ENTRY)


def _positive(diagonal: NDArray[np.float64]) -> NDArray[np.float64]:
    """A weight without any influence still needs a finite step."""
    positive: NDArray[np.float64] = np.maximum(diagonal, diagonal.max() * 1e-12 + 1e-30)
    return positive


def _chunks(
    module: FieldModule,
    coords: NDArray[np.float32],
    view: View,
    n_rows: int,
    seed: int,
    device: torch.device,
) -> list[_Chunk]:
    """Samples that give about ``n_rows`` rows of the Jacobian.

    Rows of different samples say more than rows of one: where there are samples enough, each gives one row, the sum of
    its channels with random signs, whose products are on average those of all channels.
    """
    rng = np.random.default_rng(seed)
    channels = view.channels or module.network.out_channels
    samples = coords.reshape(-1, view.depth, coords.shape[1])
    n = samples.shape[0]
    chosen = np.arange(n)
    takes_all = n * channels <= 2 * n_rows
    if not takes_all and n_rows < n:
        chosen = ((np.arange(n_rows) + rng.random(n_rows)) * (n / n_rows)).astype(np.int64)
    chunks = []
    size = max(1, SAMPLES_PER_CHUNK // view.depth)
    for part in np.split(chosen, range(size, chosen.size, size)):
        if takes_all:
            directions = torch.eye(channels)[:, None, :].expand(channels, part.size, channels)
        else:
            signs = rng.integers(0, 2, (1, part.size, channels)) * 2 - 1
            directions = torch.from_numpy(signs.astype(np.float32))
        points = torch.from_numpy(samples[part].reshape(-1, coords.shape[1]))
        chunks.append(_Chunk(points.to(device), view.depth, partial(view.see, part), directions.to(device)))
    return chunks


Terms = list[tuple[Values, Values]]
"""(delta (n, rows), inputs (n, columns)) at n points: the Jacobian of what is seen with respect to a layer's weights is
the sum of their outer products over the points of a sample, with respect to the bias that of the first deltas."""


def _factors(module: FieldModule, chunk: _Chunk) -> Iterator[list[Terms]]:
    """Yield, per combination of output channels, the terms of every layer."""
    seen: list[tuple[DenseLayer, Values, Values]] = []  # layer, inputs, phase

    def run(layer: DenseLayer, x: Values) -> Values:
        phase = layer.phase(x)
        seen.append((layer, x.detach(), phase))
        return layer.activation(phase)

    values = chunk.see(module(chunk.coords, run))
    phases = [phase for _, _, phase in seen]
    for direction in chunk.directions:
        # An OUTPUT does not depend on the layers after it.
        gradients = torch.autograd.grad(
            (values * direction).sum(), phases, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        yield [_terms(layer, x, g * layer.phase_factor) for g, (layer, x, _) in zip(gradients, seen, strict=True)]


def _terms(layer: DenseLayer, x: Values, delta: Values) -> Terms:
    if not layer.layer.is_complex:
        return [(delta, x)]
    real, imaginary = delta.chunk(2, dim=1)
    x_real, x_imaginary = x.chunk(2, dim=1)
    return [(delta, x_real), (torch.cat([imaginary, -real], dim=1), x_imaginary)]


def _diagonal(module: FieldModule, chunks: list[_Chunk]) -> NDArray[np.float64]:
    """Mean over samples and channels of the squared Jacobian: float64 (n_parameters,)."""
    total = np.zeros(module.network.n_parameters)
    for chunk in chunks:
        for factors in _factors(module, chunk):
            columns = [part for terms in factors for part in _squares(terms, chunk.depth)]
            total += _select(module.network, columns)
    return total / _n_outputs(chunks)


def _squares(terms: Terms, depth: int) -> tuple[Values, Values]:
    """Sums over samples of the squared Jacobian of a layer's weights (rows, columns) and of its biases (rows,)."""
    biases = _by_sample(terms[0][0], depth).sum(1).square().sum(0)
    if depth > 1:
        return _products(terms, depth).square().sum(0), biases
    products = [(d1 * d2).T @ (x1 * x2) for (d1, x1), (d2, x2) in itertools.product(terms, repeat=2)]
    return torch.stack(products).sum(0) if len(products) > 1 else products[0], biases


def _by_sample(values: Values, depth: int) -> Values:
    """(n * depth, k) -> (n, depth, k)."""
    return values.reshape(-1, depth, values.shape[1])


def _products(terms: Terms, depth: int) -> Values:
    """The Jacobian of every sample with respect to a layer's weights: (n, rows, columns)."""
    products = [torch.einsum("gdr,gdc->grc", _by_sample(d, depth), _by_sample(x, depth)) for d, x in terms]
    return torch.stack(products).sum(0) if len(products) > 1 else products[0]


def _select(network: Network, columns: list[Values]) -> NDArray[np.float64]:
    """The (weight, bias) pairs of all layers as one parameter vector, without the biases that do not exist."""
    kept = [columns[tensor.ordinal].reshape(-1) for tensor in network.tensors]
    vector: NDArray[np.float64] = torch.cat(kept).cpu().numpy().astype(np.float64)
    return vector


def _n_outputs(chunks: list[_Chunk]) -> int:
    return sum(chunk.directions.shape[1] * chunk.directions.shape[2] for chunk in chunks)


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


def _block(module: FieldModule, chunks: list[_Chunk], pieces: list[_Piece], diagonal: NDArray[np.float64]) -> Block:
    indices = _indices(module.network, pieces)
    device = chunks[0].coords.device
    # Unit diagonal: entries differ by many orders of magnitude.
    scale = 1.0 / np.sqrt(diagonal[indices])
    column_scale = torch.from_numpy(scale.astype(np.float32)).to(device)
    products = torch.zeros(indices.size, indices.size, device=device)
    for chunk in chunks:
        for factors in _factors(module, chunk):
            jacobian = _jacobian(module.network, factors, pieces, chunk.depth) * column_scale
            with _quick_products():
                _add_upper_half(products, jacobian)
    gram = products.double()
    del products
    gram /= _n_outputs(chunks)
    gram.triu_()
    gram += gram.triu(1).T
    damping = DAMPING + IDLE_DAMPING * _tensor_means(module.network, diagonal)[indices] / diagonal[indices]
    gram.diagonal().add_(torch.from_numpy(damping).to(gram.device))
    spread, conditional = feedback_factor(gram)
    return Block(indices, spread * scale / scale[:, None], conditional / scale**2)


def gram_of(
    module: FieldModule,
    coords: NDArray[np.float32],
    positions: NDArray[np.int64],
    *,
    n_rows: int,
    seed: int,
    device: torch.device,
) -> Values:
    """G of some weights: float64 (k, k).

    Args:
        module: the network, on ``device``.
        coords: float32 (n, in_dims), all samples.
        positions: int64 (k,), of the weights in the parameter vector.
        n_rows: rows of the Jacobian to measure from, about.
        seed: of the choice of samples.
        device: where to compute.
    """
    network = module.network
    chunks = _chunks(module, coords, EACH, n_rows, seed, device)
    pieces = [_Piece(i, 0, layer.weight_shape[0]) for i, layer in enumerate(network.layers)]
    columns = torch.tensor(positions, device=device)
    products = torch.zeros(positions.size, positions.size, device=device)
    for chunk in chunks:
        for factors in _factors(module, chunk):
            jacobian = _jacobian(network, factors, pieces, chunk.depth)[:, columns]
            with _quick_products():
                _add_upper_half(products, jacobian)
    gram = products.double()
    gram /= _n_outputs(chunks)
    gram.triu_()
    return gram + gram.triu(1).T


def block_of(gram: Values, indices: NDArray[np.int64], tensors: NDArray[np.int64]) -> Block:
    """The block of weights whose G is known, damped as everywhere.

    Args:
        gram: float64 (k, k).
        indices: int64 (k,), positions in the parameter vector, ascending.
        tensors: int64 (k,), a number for the tensor of each.
    """
    diagonal = _positive(gram.diagonal().cpu().numpy())
    _, group = np.unique(tensors, return_inverse=True)
    means = np.bincount(group, diagonal) / np.bincount(group)
    scale = 1.0 / np.sqrt(diagonal)
    factor = torch.from_numpy(scale).to(gram.device)
    unit = gram * factor * factor[:, None]
    unit.diagonal().add_(torch.from_numpy(DAMPING + IDLE_DAMPING * means[group] / diagonal).to(gram.device))
    spread, conditional = feedback_factor(unit)
    return Block(indices, spread * scale / scale[:, None], conditional / scale**2)


@contextmanager
def _quick_products() -> Iterator[None]:
    """Products of matrices that may be rounded to bfloat16, and take half the time even where they are not.

    A rounded Jacobian is that of weights a few thousandths more or less important: files of a network of 7,479
    parameters come within 0.3 % of the same size. What is measured with it is still the square of a matrix, and is
    summed in float32, so that it can be factored.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _add_upper_half(products: Values, jacobian: Values) -> None:
    """Add ``jacobian^T jacobian``, (k, k) of (n, k), which is symmetric: little more than its upper half."""
    for start in range(0, products.shape[0], TILE):
        rows = jacobian[:, start : start + TILE].T
        products[start : start + TILE, start:].addmm_(rows, jacobian[:, start:])


def _partial_traces(terms: Terms, depth: int) -> tuple[Values, Values]:
    """With J the Jacobian of a sample, (rows, columns + 1) with the bias: sums over samples of J J^T and of J^T J."""
    # The bias of complex weights has the Jacobian of the first term alone.
    with_one = [torch.cat([x, torch.full_like(x[:, :1], float(i == 0))], dim=1) for i, (_, x) in enumerate(terms)]
    deltas = torch.cat([_by_sample(delta, depth) for delta, _ in terms], dim=1)
    inputs = torch.cat([_by_sample(x, depth) for x in with_one], dim=1)
    return _trace(deltas, inputs), _trace(inputs, deltas)


def _trace(kept: Values, traced: Values) -> Values:
    """Sum over g of ``K^T T T^T K``, (k, k), of K (g, d, k) and T (g, d, t)."""
    weighted = (
        torch.bmm(torch.bmm(traced, traced.mT), kept) if kept.shape[1] > 1 else traced.square().sum(2, True) * kept
    )
    return kept.flatten(0, 1).T @ weighted.flatten(0, 1)


def _kronecker_block(network: Network, layer: int, outputs: Values, inputs: Values) -> KroneckerBlock:
    rows, columns = network.layers[layer].weight_shape
    positions = _indices(network, [_Piece(layer, 0, rows)])
    weights, biases = positions[: rows * columns].reshape(rows, columns), positions[rows * columns :]
    moments = inputs.double()
    moments /= moments.trace()
    # To all that a weight sees, the bias has the mean of it: what is left is what the bias cannot make up for.
    mean_square = float(moments[-1, -1])
    shift = moments[-1, :-1] / mean_square if biases.size else torch.zeros(columns, dtype=torch.float64)
    centred = moments[:-1, :-1] - mean_square * torch.outer(shift, shift)
    return KroneckerBlock(
        weights,
        biases,
        _damped_factor(outputs.double()),
        _damped_factor(centred),
        -shift.cpu().numpy(),
        mean_square,
    )


def _damped_factor(gram: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    diagonal = gram.diagonal().clone()
    floor = float(diagonal.max()) * 1e-9 + 1e-30
    gram.diagonal().add_(DAMPING * diagonal + IDLE_DAMPING * diagonal.mean() + floor)
    scale = gram.diagonal().rsqrt()
    spread, conditional = feedback_factor(gram * scale * scale[:, None])
    s = scale.cpu().numpy()
    return spread * s / s[:, None], conditional / s**2


def _tensor_means(network: Network, diagonal: NDArray[np.float64]) -> NDArray[np.float64]:
    """For every parameter the mean of its tensor's diagonal: float64 (n_parameters,)."""
    return np.concatenate([np.full(part.size, part.mean()) for part in split_vector(network, diagonal)])


def _jacobian(network: Network, factors: list[Terms], pieces: list[_Piece], depth: int) -> Values:
    """The Jacobian of one channel with respect to the block's parameters: (n, k)."""
    columns = []
    for piece in pieces:
        rows = slice(piece.start, piece.stop)
        terms = [(delta[:, rows], x) for delta, x in factors[piece.layer]]
        columns.append(_products(terms, depth).flatten(1))
        if network.layers[piece.layer].record.bias:
            columns.append(_by_sample(terms[0][0], depth).sum(1))
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
