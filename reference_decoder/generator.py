"""The seeded generator and the dictionary (clause 8)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from reference_decoder.limits import blocks

DICTIONARY, PRIOR, FOURIER_FEATURES = range(3)  # tags, RNG-2
RADEMACHER = 0  # a dictionary law; the other is T8
LOW_WORD = np.uint64(0xFFFFFFFF)
PHILOX_BLOCKS = 1 << 12  # of the dictionary made at once: their words stay in the processor's cache

# §8.3: "`T8[128 + i]` for i = 0 … 127 is the table below"
T8_UPPER = (
    "0 1 1 1 2 2 3 3 3 4 4 5 5 6 6 6 7 7 8 8 8 9 9 10 10 11 11 11 12 12 13 13 "
    "14 14 14 15 15 16 16 17 17 18 18 18 19 19 20 20 21 21 22 22 23 23 24 24 25 25 26 26 27 27 28 28 "
    "29 29 30 30 31 31 32 32 33 33 34 35 35 36 36 37 38 38 39 39 40 41 41 42 43 43 44 45 46 46 47 48 "
    "49 50 50 51 52 53 54 55 56 57 58 59 60 61 63 64 65 67 68 70 71 73 75 77 79 82 85 89 93 98 106 125"
)
UPPER = np.array(T8_UPPER.split(), np.int8)
T8 = np.concatenate([-UPPER[::-1], UPPER])  # "`T8[127 - i] = -T8[128 + i]`"


def philox(
    c0: npt.NDArray[np.uint64], c1: npt.NDArray[np.uint64] | int, c2: int, c3: int, k0: int, k1: int
) -> npt.NDArray[np.uint64]:
    """§8.1: Philox4x32-10 of an array of blocks; the four words of each, shape (…, 4). c1 has the shape of c0, or one
    that is stretched to it.

    "All arithmetic is on unsigned 32-bit words." They are kept in 64 bits, which hold the products.
    """
    shift = np.uint64(32)
    x0, x1, x2, x3 = (np.broadcast_to(np.asarray(c, np.uint64), c0.shape) for c in (c0, c1, c2, c3))
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * x0
        product1 = np.uint64(0xCD9E8D57) * x2
        x0, x1, x2, x3 = (
            (product1 >> shift) ^ x1 ^ np.uint64(k0),
            product1 & LOW_WORD,
            (product0 >> shift) ^ x3 ^ np.uint64(k1),
            product0 & LOW_WORD,
        )
        k0 = (k0 + 0x9E3779B9) % 2**32
        k1 = (k1 + 0xBB67AE85) % 2**32
    return np.stack([x0, x1, x2, x3], axis=-1)


def words(first: int, n: int, ordinal: int, tag: int, seed: int) -> npt.NDArray[np.uint32]:
    """Numbers `first` … `first + n - 1` of a tensor as unsigned words.

    RNG-4 §8.2: "Number `n` (n = 0, 1, …) of tensor ordinal `t` under tag `g` is word `n & 3` of the block
    `philox(n >> 2, 0, t, g, k0, k1)`."
    """
    first_block, last_block = first >> 2, (first + n + 3) >> 2
    # RNG-1 §8.1: "The key of a file is `k0` = low word, `k1` = high word of `seed`."
    block = np.arange(first_block, last_block, dtype=np.uint64)
    found = philox(block, 0, ordinal, tag, seed % 2**32, seed >> 32).ravel()
    start = first - 4 * first_block
    return found[start : start + n].astype(np.uint32)


def signed_numbers(first: int, n: int, ordinal: int, tag: int, seed: int) -> npt.NDArray[np.int64]:
    """RNG-5 §8.2: "As a *signed number* it is `U = word >> 8` with the word read as a two's-complement int32"."""
    signed: npt.NDArray[np.int64] = words(first, n, ordinal, tag, seed).view(np.int32).astype(np.int64) >> 8
    return signed


def fourier_integers(n_features: int, in_dims: int, seed: int) -> npt.NDArray[np.int16]:
    """The integers S of a FOURIER_SEEDED record, shape (n_features, in_dims).

    RNG-6 §8.2: "entry (i, j) belongs to number `n = i * in_dims + j`, tensor ordinal 0, tag 2, and is the exact integer
    sum of T8 (clause 8.3) over the four bytes of that word."
    """
    sums: npt.NDArray[Any] = np.empty(n_features * in_dims, np.int16)
    for block in blocks(sums.size):
        word = words(block.start, block.stop - block.start, 0, FOURIER_FEATURES, seed)
        sums[block] = T8[word.view(np.uint8).reshape(-1, 4)].sum(axis=1, dtype=np.int16)
    return sums.reshape(n_features, in_dims)


def dictionary(
    atoms: npt.NDArray[np.int64], first: int, rows: int, ordinal: int, law: int, seed: int
) -> npt.NDArray[np.int8]:
    """Entries (row, atom) of the dictionary of a tensor for some atoms, shape (atoms, rows); rows from `first`, a
    multiple of 128.

    §8.3: "Entry (row, atom) of the dictionary of tensor ordinal `t` comes from blocks `philox(block, atom, t, 0, k0,
    k1)`."
    """
    # RNG-7: "Law 0 (RADEMACHER): 128 rows a block"; RNG-8: "Law 1 (T8): 16 rows a block"
    rows_per_block = 128 if law == RADEMACHER else 16
    first_block, n_blocks = first // rows_per_block, -(-rows // rows_per_block)
    block = np.arange(first_block, first_block + n_blocks, dtype=np.uint64)
    found = np.empty((atoms.size, rows), np.int8)
    for start in range(0, atoms.size, step := max(1, PHILOX_BLOCKS // n_blocks)):
        atom = atoms[start : start + step].astype(np.uint64)[:, np.newaxis]
        c0 = np.broadcast_to(block, (atom.size, n_blocks))
        words = philox(c0, atom, ordinal, DICTIONARY, seed % 2**32, seed >> 32)
        # RNG-3 §8.1: "The four words of a block are numbered 0 to 3 in the order returned; their bytes are taken least
        # significant first."
        content = words.astype("<u4").reshape(atom.size, -1).view(np.uint8)
        entries = signs(content) if law == RADEMACHER else T8[content]
        found[start : start + step] = entries[:, :rows]
    return found


def signs(content: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """RNG-7 §8.3: "row r is bit `r & 31` (bit 0 least significant) of word `(r & 127) >> 5` of block `r >> 7`; 1 means
    +1, 0 means -1."
    """
    bits = np.unpackbits(content, axis=1, bitorder="little").view(np.int8)
    return 2 * bits - np.int8(1)
