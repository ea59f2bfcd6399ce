"""Tool 3: weight matrices as sparse sums of the atoms of a seeded dictionary.

Specification: clause 9.5, dictionary of clause 8.3. Everything is int32 arithmetic: SPA-5 bounds every partial sum. The
dictionary is never whole in memory: only atoms that are used are made, a group of them and a block of rows at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sinrfmt.philox import dictionary_columns
from sinrfmt.registry import Dictionary
from sinrfmt.wire import Fault

SUM_LIMIT = 1 << 31
LARGEST_ENTRY = 127
MASK_BLOCK = 1 << 16
GROUP_ATOMS = 2048
ROWS_STEP = 128
"""Rows of a block of the generator, by the law that has more of them (RNG-7)."""
ROWS_LIMIT = 8192
DICTIONARY_ENTRIES = GROUP_ATOMS * ROWS_STEP
PAIRS_BLOCK = 1 << 15
PRODUCTS_BLOCK = 1 << 17

T = TypeVar("T", bound=np.generic)
Shape = tuple[int, ...]


class Vectors(IntEnum):
    """What of a matrix the vectors of a sparse code are (the field ``vectors``)."""

    COLUMNS = 0
    ROWS = 1
    MATRIX = 2


@dataclass(frozen=True)
class SparseCode:
    """Which atoms make up every vector of a matrix.

    Attributes:
        vectors: what the vectors are, 0 to 2.
        n_atoms: k2, atoms in use, 1 to 2^20.
        atoms: int32[n_vectors, s], strictly ascending in each row, below k2.
        coefficients: int32[n_vectors, s].
    """

    vectors: int
    n_atoms: int
    atoms: NDArray[np.int32]
    coefficients: NDArray[np.int32]

    @property
    def n_nonzero(self) -> int:
        """s, atoms of each vector."""
        return int(self.atoms.shape[1])


def vectors_shape(vectors: int, shape: Shape) -> tuple[int, int]:
    """(n_vectors, k1) of a matrix of ``shape`` (out, in); a bias is a matrix (out, 1)."""
    n_out, n_in = shape
    return {Vectors.COLUMNS: (n_in, n_out), Vectors.ROWS: (n_out, n_in), Vectors.MATRIX: (1, n_out * n_in)}[
        Vectors(vectors)
    ]


def vectors_of(matrix: NDArray[T], vectors: int) -> NDArray[T]:
    """The vectors of a C-order matrix (out, in) as the rows of (n_vectors, k1): a view."""
    by_row = matrix.T if vectors == Vectors.COLUMNS else matrix
    return by_row.reshape(1, -1) if vectors == Vectors.MATRIX else by_row


def matrix_of(rows: NDArray[T], vectors: int, shape: Shape) -> NDArray[T]:
    """The matrix (out, in) whose vectors are the rows of (n_vectors, k1); inverse of :func:`vectors_of`."""
    return rows.T if vectors == Vectors.COLUMNS else rows.reshape(shape)


def gaps_of(atoms: NDArray[np.int32]) -> NDArray[np.int32]:
    """The gaps of support 1, int32[n_vectors, s]."""
    gaps = np.diff(atoms, axis=1, prepend=-1)
    gaps -= 1
    return gaps


def atoms_of_gaps(gaps: NDArray[np.int32], n_atoms: int) -> NDArray[np.int32]:
    """The atoms that gaps lead to, written over ``gaps`` (n_vectors, s).

    Raises:
        Fault: BAD_STREAM (SPA-6).
    """
    for rows in _row_slices(gaps):
        # 64 bits: a hostile list of 2^16 gaps may pass 2^31.
        atoms = np.cumsum(gaps[rows] + np.int64(1), axis=1) - 1
        if atoms.max(initial=0) >= n_atoms:
            raise Fault("BAD_STREAM", f"an atom is not below {n_atoms}")
        gaps[rows] = atoms
    return gaps


def check_atoms(atoms: NDArray[np.int32], n_atoms: int) -> None:
    """SPA-6 for indices; a negative number stands for one of 32 bits.

    Raises:
        Fault: BAD_TABLE.
    """
    for rows in _row_slices(atoms):
        block = atoms[rows]
        if block.min(initial=0) < 0 or block.max(initial=0) >= n_atoms or (block[:, 1:] <= block[:, :-1]).any():
            raise Fault("BAD_TABLE", f"the atoms of a vector are not strictly ascending and below {n_atoms}")


def _row_slices(array: NDArray[np.int32]) -> Iterator[slice]:
    step = max(1, PAIRS_BLOCK // max(1, array.shape[1]))
    return (slice(start, start + step) for start in range(0, len(array), step))


def _check_sums(coefficients: NDArray[np.int32]) -> None:
    for rows in _row_slices(coefficients):
        sums = np.abs(coefficients[rows].astype(np.int64)).sum(axis=1)
        if LARGEST_ENTRY * int(sums.max(initial=0)) >= SUM_LIMIT:
            raise Fault("ACC_OVERFLOW", "the coefficients of a vector are too large together")


def accumulate(code: SparseCode, shape: Shape, law: Dictionary, ordinal: int, seed: int) -> NDArray[np.int32]:
    """The integers r of a weight matrix (clause 9.5).

    Args:
        code: its sparse code.
        shape: of the matrix, (out, in).
        law: of the dictionary's entries.
        ordinal: of the tensor.
        seed: of the file.

    Returns:
        int32[out * in], C order.

    Raises:
        Fault: ACC_OVERFLOW (SPA-5).
    """
    _check_sums(code.coefficients)
    matrix = np.zeros(shape, dtype=np.int32)
    target = vectors_of(matrix, code.vectors)
    for group in _used_atoms(code):
        for rows in _row_blocks(target.shape[1], group.size):
            entries = dictionary_columns(law, rows.stop - rows.start, group, ordinal, seed, first_row=rows.start).T
            _add_products(target[:, rows], code, group, entries)
    return matrix.reshape(-1)


def _flat_blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _used_atoms(code: SparseCode) -> Iterator[NDArray[np.int64]]:
    """The atoms that any vector uses, ascending, in groups."""
    is_used = np.zeros(code.n_atoms, dtype=np.bool_)
    atoms = code.atoms.reshape(-1)
    for block in _flat_blocks(atoms.size, PAIRS_BLOCK):
        is_used[atoms[block]] = True
    for block in _flat_blocks(code.n_atoms, MASK_BLOCK):
        used = np.flatnonzero(is_used[block]) + block.start
        yield from (used[group] for group in _flat_blocks(used.size, GROUP_ATOMS))


def _row_blocks(n_rows: int, n_atoms: int) -> Iterator[slice]:
    return _flat_blocks(n_rows, min(DICTIONARY_ENTRIES // n_atoms // ROWS_STEP * ROWS_STEP, ROWS_LIMIT))


def _add_products(
    target: NDArray[np.int32], code: SparseCode, group: NDArray[np.int64], entries: NDArray[np.int8]
) -> None:
    """Add to ``target`` (n_vectors, rows) what the atoms of ``group`` give, their ``entries`` being (group, rows)."""
    atoms, coefficients = code.atoms.reshape(-1), code.coefficients.reshape(-1)
    for block in _flat_blocks(atoms.size, PAIRS_BLOCK):
        chosen = np.flatnonzero((atoms[block] >= group[0]) & (atoms[block] <= group[-1])) + block.start
        for part in _flat_blocks(chosen.size, max(1, PRODUCTS_BLOCK // target.shape[1])):
            pairs = chosen[part]
            vectors = pairs // code.n_nonzero
            starts = np.flatnonzero(np.diff(vectors, prepend=-1))
            columns = entries[np.searchsorted(group, atoms[pairs])]
            products = np.multiply(columns, coefficients[pairs, None], dtype=np.int32)
            target[vectors[starts]] += np.add.reduceat(products, starts, axis=0)
