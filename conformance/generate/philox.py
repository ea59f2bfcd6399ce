"""Philox4x32-10 and the numbers drawn from it (clause 8)."""

import hashlib
from functools import lru_cache

MASK = 0xFFFFFFFF
TAG_DICTIONARY = 0
TAG_PRIOR = 1
TAG_FOURIER = 2

T8_UPPER = (
    "0 1 1 1 2 2 3 3 3 4 4 5 5 6 6 6 7 7 8 8 8 9 9 10 10 11 11 11 12 12 13 13 "
    "14 14 14 15 15 16 16 17 17 18 18 18 19 19 20 20 21 21 22 22 23 23 24 24 25 25 26 26 27 27 28 28 "
    "29 29 30 30 31 31 32 32 33 33 34 35 35 36 36 37 38 38 39 39 40 41 41 42 43 43 44 45 46 46 47 48 "
    "49 50 50 51 52 53 54 55 56 57 58 59 60 61 63 64 65 67 68 70 71 73 75 77 79 82 85 89 93 98 106 125"
)
_UPPER = [int(word) for word in T8_UPPER.split()]
T8 = [-v for v in reversed(_UPPER)] + _UPPER
T8_SHA256 = "b25218facf6f7bfe92125bc3a3b6dd9e199b110d728d7205ac1b73562cb9426b"


@lru_cache(1 << 10)
def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Ten rounds on a counter of four words under a key of two (clause 8.1)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first = 0xD2511F53 * c0
        second = 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (second >> 32) ^ c1 ^ k0,
            second & MASK,
            (first >> 32) ^ c3 ^ k1,
            first & MASK,
        )
        k0 = (k0 + 0x9E3779B9) & MASK
        k1 = (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def word(number: int, tensor: int, tag: int, seed: int) -> int:
    """Word of number `number` of a tensor ordinal under a tag (RNG-1, RNG-2, RNG-4)."""
    return philox((number >> 2, 0, tensor, tag), (seed & MASK, seed >> 32))[number & 3]


def signed_number(number: int, tensor: int, seed: int) -> int:
    """U of the prior: the word as int32, shifted right by 8 (RNG-5)."""
    bits = word(number, tensor, TAG_PRIOR, seed)
    return (bits - (1 << 32) if bits >> 31 else bits) >> 8


def prior(number: int, tensor: int, seed: int, m: int, exponent: int) -> int:
    """The prior of an entry (clause 9.7)."""
    return (signed_number(number, tensor, seed) * m + (1 << (exponent - 1))) >> exponent


def fourier_integer(row: int, column: int, in_dims: int, seed: int) -> int:
    """Entry of the Fourier matrix before its scale: the sum of T8 over the four bytes of a word (RNG-6)."""
    bits = word(row * in_dims + column, 0, TAG_FOURIER, seed)
    return sum(T8[(bits >> shift) & 255] for shift in (0, 8, 16, 24))


def t8_digest() -> str:
    """SHA-256 of T8 as int8."""
    return hashlib.sha256(bytes(v & 255 for v in T8)).hexdigest()


def dictionary_column(law: int, n_rows: int, atom: int, tensor: int, seed: int) -> list[int]:
    """Rows 0 to n_rows - 1 of an atom (clause 8.3)."""
    entry = (rademacher, t8_entry)[law]
    return [entry(row, atom, tensor, seed) for row in range(n_rows)]


def rademacher(row: int, atom: int, tensor: int, seed: int) -> int:
    """Entry of the dictionary under law 0 (RNG-7)."""
    words = philox((row >> 7, atom, tensor, TAG_DICTIONARY), (seed & MASK, seed >> 32))
    return 1 if words[(row & 127) >> 5] >> (row & 31) & 1 else -1


def t8_entry(row: int, atom: int, tensor: int, seed: int) -> int:
    """Entry of the dictionary under law 1 (RNG-8)."""
    words = philox((row >> 4, atom, tensor, TAG_DICTIONARY), (seed & MASK, seed >> 32))
    byte = row & 15
    return T8[words[byte >> 2] >> 8 * (byte & 3) & 255]
