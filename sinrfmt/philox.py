"""Seeded numbers: the Philox4x32-10 generator, the numbers of a tensor and the columns of a dictionary.

Specification: clause 8. Generator: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
Every number has an address (tensor ordinal, position), so any part can be made alone and in any order.
NumPy's own ``Philox`` is the 4x64 variant and cannot be used here.
"""

from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sinrfmt.registry import Dictionary


class Tag(IntEnum):
    """What a block of random words is for (RNG-2)."""

    DICTIONARY = 0
    PRIOR = 1
    FOURIER = 2


ROUNDS = 10
MULTIPLIER_0 = np.uint64(0xD2511F53)
MULTIPLIER_1 = np.uint64(0xCD9E8D57)
KEY_STEP_0 = 0x9E3779B9
KEY_STEP_1 = 0xBB67AE85
LOW_WORD = np.uint64(0xFFFFFFFF)
HIGH_SHIFT = np.uint64(32)
# Blocks a pass: the six working arrays of a pass stay in a CPU core's second-level cache.
BLOCKS_PER_PASS = 16384
RADEMACHER_ROWS_PER_BLOCK = 128
T8_ROWS_PER_BLOCK = 16

_T8_UPPER_HALF = """
0 1 1 1 2 2 3 3 3 4 4 5 5 6 6 6 7 7 8 8 8 9 9 10 10 11 11 11 12 12 13 13
14 14 14 15 15 16 16 17 17 18 18 18 19 19 20 20 21 21 22 22 23 23 24 24 25 25 26 26 27 27 28 28
29 29 30 30 31 31 32 32 33 33 34 35 35 36 36 37 38 38 39 39 40 41 41 42 43 43 44 45 46 46 47 48
49 50 50 51 52 53 54 55 56 57 58 59 60 61 63 64 65 67 68 70 71 73 75 77 79 82 85 89 93 98 106 125
"""


_OPERAND_FLAGS: list[list[Literal["readonly", "writeonly"]]] = [*[["readonly"]] * 4, *[["writeonly"]] * 4]  # type: ignore[list-item]


def _t8_table() -> NDArray[np.int8]:
    upper = np.array(_T8_UPPER_HALF.split(), dtype=np.int8)
    table = np.concatenate([-upper[::-1], upper])
    table.flags.writeable = False
    return table


T8 = _t8_table()
"""int8[256]: the quantile table of clause 8.3, indexed by a random byte."""


def _run_rounds(counter: list[NDArray[np.uint64]], k0: int, k1: int) -> list[NDArray[np.uint64]]:
    """Apply the ten rounds to four equal-length arrays that hold 32-bit words; the arrays are overwritten."""
    c0, c1, c2, c3 = counter
    for step in range(ROUNDS):
        c0 *= MULTIPLIER_0
        c2 *= MULTIPLIER_1
        c1 ^= np.uint64((k0 + step * KEY_STEP_0) & 0xFFFFFFFF)
        c1 ^= c2 >> HIGH_SHIFT
        c2 &= LOW_WORD
        c3 ^= np.uint64((k1 + step * KEY_STEP_1) & 0xFFFFFFFF)
        c3 ^= c0 >> HIGH_SHIFT
        c0 &= LOW_WORD
        c0, c1, c2, c3 = c1, c2, c3, c0
    return [c0, c1, c2, c3]


def philox(c0: ArrayLike, c1: ArrayLike, c2: ArrayLike, c3: ArrayLike, k0: int, k1: int) -> NDArray[np.uint32]:
    """Make the blocks of the given counters under one key (clause 8.1).

    Args:
        c0, c1, c2, c3: counter words, 0 to 2^32 - 1, of shapes that broadcast to a shape S.
        k0, k1: key words.

    Returns:
        uint32 of shape S + (4,): the four words of every block, in the order of RNG-3.
    """
    counters = [np.asarray(c, dtype=np.uint32) for c in (c0, c1, c2, c3)]
    blocks = np.empty((*np.broadcast_shapes(*(c.shape for c in counters)), 4), dtype=np.uint32)
    operands = [*counters, *(blocks[..., i] for i in range(4))]
    passes = np.nditer(
        operands,
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=_OPERAND_FLAGS,
        op_dtypes=[np.dtype(np.uint64)] * 8,
        casting="same_kind",
        buffersize=BLOCKS_PER_PASS,
    )
    with passes:
        for chunk in passes:
            # Copies, for the rounds overwrite their input and a buffer may be filled once for several passes.
            block = _run_rounds([np.array(c) for c in chunk[:4]], k0, k1)
            for target, word in zip(chunk[4:], block, strict=True):
                target[...] = word
    return blocks


def _key(seed: int) -> tuple[int, int]:
    return seed & 0xFFFFFFFF, seed >> 32


def words(n: int, ordinal: int, tag: int, seed: int) -> NDArray[np.uint32]:
    """Numbers 0 to n - 1 of a tensor ordinal under a tag, as words (RNG-4).

    Returns:
        uint32[n]
    """
    blocks = np.arange((n + 3) // 4, dtype=np.uint32)
    return philox(blocks, 0, ordinal, tag, *_key(seed)).reshape(-1)[:n]


def signed_numbers(n: int, ordinal: int, seed: int) -> NDArray[np.int32]:
    """Numbers 0 to n - 1 of a tensor's prior as signed numbers U, -2^23 <= U < 2^23 (RNG-5).

    Returns:
        int32[n]
    """
    numbers: NDArray[np.int32] = words(n, ordinal, Tag.PRIOR, seed).view(np.int32)
    numbers >>= 8
    return numbers


def _bytes_of(blocks: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """The bytes of uint32[..., w] as uint8[..., 4 w], least significant first."""
    return blocks.astype("<u4", copy=False).view(np.uint8)


def fourier_sums(n_features: int, in_dims: int, seed: int) -> NDArray[np.int32]:
    """The integer Fourier matrix of a ``FOURIER_SEEDED`` record: sums of four T8 values (RNG-6).

    Returns:
        int32[n_features, in_dims]
    """
    n = n_features * in_dims
    entries: NDArray[np.int8] = T8[_bytes_of(words(n, 0, Tag.FOURIER, seed))]
    sums: NDArray[np.int32] = entries.reshape(n_features, in_dims, 4).sum(axis=-1, dtype=np.int32)
    return sums


def dictionary_columns(
    law: int, rows: int, atoms: ArrayLike, ordinal: int, seed: int, *, first_row: int = 0
) -> NDArray[np.int8]:
    """The chosen columns of the seeded dictionary of a tensor, or a stretch of their rows (clause 8.3).

    Args:
        law: a ``Dictionary`` id.
        rows: number of rows.
        atoms: indices of the columns, each below 2^32, in any order.
        ordinal: tensor ordinal (clause 6.7).
        seed: 64-bit seed of the file.
        first_row: the first of the rows, a multiple of 128.

    Returns:
        int8[rows, len(atoms)]; each column is contiguous in memory.
    """
    expand, rows_per_block = _DICTIONARY_LAWS[Dictionary(law)]
    blocks = np.arange(-(-rows // rows_per_block), dtype=np.uint32) + np.uint32(first_row // rows_per_block)
    atom_column = np.asarray(atoms, dtype=np.uint32).reshape(-1, 1)
    entries = expand(philox(blocks, atom_column, ordinal, Tag.DICTIONARY, *_key(seed)))
    return entries.reshape(atom_column.size, blocks.size * rows_per_block)[:, :rows].T


def _expand_rademacher(blocks: NDArray[np.uint32]) -> NDArray[np.int8]:
    """uint32[..., 4] to int8[..., 128] of +1 and -1 (RNG-7)."""
    signs = np.unpackbits(_bytes_of(blocks), axis=-1, bitorder="little").view(np.int8)
    signs *= 2
    signs -= 1
    return signs


def _expand_t8(blocks: NDArray[np.uint32]) -> NDArray[np.int8]:
    """uint32[..., 4] to int8[..., 16] of table values (RNG-8)."""
    entries: NDArray[np.int8] = T8[_bytes_of(blocks)]
    return entries


_DICTIONARY_LAWS = {
    Dictionary.RADEMACHER: (_expand_rademacher, RADEMACHER_ROWS_PER_BLOCK),
    Dictionary.T8: (_expand_t8, T8_ROWS_PER_BLOCK),
}
