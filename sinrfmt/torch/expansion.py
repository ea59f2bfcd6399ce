"""A network's weights as a linear function of fewer numbers: matrices as sums of chosen atoms, the rest as they are.

Specification: clause 9.5, from the encoder's side. The *numbers* of a network are, tensor by tensor in table order,
the coefficients of every vector (atoms ascending), or the weights of a tensor that is not expanded. Since weights are
linear in them, everything that the scalar coder does with weights and their curvature works with numbers too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sinrfmt.network import Network, Tensor
from sinrfmt.philox import dictionary_columns
from sinrfmt.sparse import vectors_of
from sinrfmt.torch.rate import LAW
from sinrfmt.torch.sensitivity import Block, Curvature, feedback_factor

REDUNDANCY_DAMPING = 1e-7
"""Share of the diagonal added to a Gram matrix of numbers: atoms may be nearly dependent."""

Entry = TypeVar("Entry", bound=np.generic)
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Support:
    """Which atoms the vectors of a matrix use: ``vectors`` and ``n_atoms`` of clause 9.5, atoms int64 (n, s)."""

    vectors: int
    n_atoms: int
    atoms: Integers


@dataclass(frozen=True)
class Part:
    """One tensor of an expansion.

    Attributes:
        tensor: of the network.
        support: None for a tensor whose numbers are its weights.
        positions: int64 (n, k1), of the entries of each vector in the parameter vector.
        columns: float64 (n, s, k1), entries of the atoms of each vector.
    """

    tensor: Tensor
    support: Support | None
    positions: Integers
    columns: Floats

    @property
    def size(self) -> int:
        """How many numbers."""
        return int(self.columns.shape[0] * self.columns.shape[1])


@dataclass(frozen=True)
class Expansion:
    """All tensors of a network in table order."""

    parts: tuple[Part, ...]

    @cached_property
    def ends(self) -> Integers:
        """Where the numbers of each part end."""
        return np.cumsum([part.size for part in self.parts])

    @property
    def n_numbers(self) -> int:
        return int(self.ends[-1])

    def split(self, numbers: NDArray[Entry]) -> list[NDArray[Entry]]:
        """Numbers as one array (n, s) for each tensor."""
        pieces = np.split(numbers, self.ends[:-1])
        return [piece.reshape(part.columns.shape[:2]) for part, piece in zip(self.parts, pieces, strict=True)]

    def weights(self, numbers: Floats) -> Floats:
        """The parameter vector that numbers stand for."""
        vector = np.empty(sum(part.positions.size for part in self.parts))
        for part, piece in zip(self.parts, self.split(numbers), strict=True):
            vector[part.positions] = (piece[:, None, :] @ part.columns)[:, 0]
        return vector

    def pull_back(self, gradient: Floats) -> Floats:
        """The gradient with respect to the numbers, from that with respect to the parameter vector."""
        return np.concatenate([(p.columns @ gradient[p.positions][:, :, None]).ravel() for p in self.parts])


def expansion_of(network: Network, supports: dict[int, Support], seed: int) -> Expansion:
    """The expansion with the supports of some tensors, by ordinal."""
    parts, start = [], 0
    for tensor in network.tensors:
        positions = np.arange(start, start + tensor.size).reshape(tensor.shape)
        start += tensor.size
        support = supports.get(tensor.ordinal)
        if support is None:
            parts.append(Part(tensor, None, positions.reshape(-1, 1), np.ones((tensor.size, 1, 1))))
            continue
        positions = vectors_of(positions, support.vectors)
        used, inverse = np.unique(support.atoms, return_inverse=True)
        entries = dictionary_columns(LAW, positions.shape[1], used, tensor.ordinal, seed).T.astype(np.float64)
        parts.append(Part(tensor, support, positions, entries[inverse.reshape(support.atoms.shape)]))
    return Expansion(tuple(parts))


def gram_factor(block: Block) -> Floats:
    """C, upper triangular, with ``C C^T`` the curvature of a block."""
    spread = torch.from_numpy(block.spread)
    identity = torch.eye(len(spread), dtype=spread.dtype)
    inverse = torch.linalg.solve_triangular(spread, identity, upper=True, unitriangular=True)
    factor: Floats = (inverse * torch.from_numpy(block.conditional).sqrt()).numpy()
    return factor


@dataclass(frozen=True)
class NumberBlock:
    """A block of the curvature of numbers: their positions, and the square root (m, k) of its Gram matrix."""

    indices: Integers
    weight_indices: Integers
    root: Floats
    weight_root: Floats


def number_blocks(expansion: Expansion, curvature: Curvature) -> list[NumberBlock]:
    """The blocks of a curvature in terms of numbers; a vector is never split between two blocks."""
    blocks = []
    for block in curvature.blocks:
        assert isinstance(block, Block)
        factor = gram_factor(block).T
        indices, matrix = _block_matrix(expansion, block.indices)
        blocks.append(NumberBlock(indices, block.indices, factor @ matrix, factor))
    return blocks


def _block_matrix(expansion: Expansion, weight_indices: Integers) -> tuple[Integers, Floats]:
    """The numbers that make up some weights, and the matrix from the one to the other."""
    place = np.full(sum(part.positions.size for part in expansion.parts), -1)
    place[weight_indices] = np.arange(weight_indices.size)
    indices, entries, start = [], [], 0
    n_before = 0
    for part in expansion.parts:
        inside = np.flatnonzero(place[part.positions[:, 0]] >= 0)
        n, s = inside.size, part.columns.shape[1]
        own = np.arange(start, start + part.size).reshape(-1, s)[inside]
        start += part.size
        columns = n_before + np.arange(n * s).reshape(n, s)
        n_before += n * s
        indices.append(own.ravel())
        entries.append((place[part.positions[inside]], columns, part.columns[inside]))
    matrix = np.zeros((weight_indices.size, n_before))
    for rows, columns, values in entries:
        matrix[rows[:, None, :], columns[:, :, None]] = values
    return np.concatenate(indices), matrix


def refitted(blocks: Sequence[NumberBlock], weights: Floats, n_numbers: int) -> Floats:
    """The numbers whose weights are nearest to ``weights`` in the metric of the curvature."""
    numbers = np.zeros(n_numbers)
    for block in blocks:
        target = block.weight_root @ weights[block.weight_indices]
        numbers[block.indices] = np.linalg.lstsq(block.root, target)[0]
    return numbers


def number_curvature(blocks: Sequence[NumberBlock], n_numbers: int) -> Curvature:
    """The curvature with respect to the numbers, ready for rounding with feedback."""
    diagonal = np.zeros(n_numbers)
    factored = []
    for block in blocks:
        gram = torch.from_numpy(block.root.T @ block.root)
        diagonal[block.indices] = gram.diagonal().numpy()
        gram.diagonal().mul_(1.0 + REDUNDANCY_DAMPING)
        factored.append(Block(block.indices, *feedback_factor(gram)))
    return Curvature(diagonal, tuple(factored))
