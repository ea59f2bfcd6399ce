"""Clause 8: the generator, the numbers of a tensor and the dictionary, each against a plain-integer computation."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinrfmt.philox import (
    BLOCKS_PER_PASS,
    T8,
    Tag,
    dictionary_columns,
    fourier_sums,
    philox,
    signed_numbers,
    words,
)
from sinrfmt.registry import Dictionary

MASK = 0xFFFFFFFF
WORD = st.integers(0, MASK)
SEED = 0x0123456789ABCDEF


def plain_block(c0: int, c1: int, c2: int, c3: int, k0: int, k1: int) -> list[int]:
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [c0, c1, c2, c3]


def plain_word(n: int, ordinal: int, tag: int, seed: int) -> int:
    return plain_block(n >> 2, 0, ordinal, tag, seed & MASK, seed >> 32)[n & 3]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0,) * 4, (0,) * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((MASK,) * 4, (MASK,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], expected: str
) -> None:
    assert " ".join(f"{word:08x}" for word in philox(*counter, *key)) == expected


@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_philox_equals_plain_integers(counter: tuple[int, int, int, int], key: tuple[int, int]) -> None:
    assert philox(*counter, *key).tolist() == plain_block(*counter, *key)


def test_philox_broadcasts_counters_over_several_passes() -> None:
    blocks = np.arange(BLOCKS_PER_PASS // 2 + 7, dtype=np.uint32)
    made = philox(blocks, [[1], [MASK], [3]], 5, 0, 11, 12)
    assert made.shape == (3, blocks.size, 4)
    for i, atom in enumerate([1, MASK, 3]):
        for block in (0, 1, BLOCKS_PER_PASS // 3, blocks.size - 1):
            assert made[i, block].tolist() == plain_block(block, atom, 5, 0, 11, 12)


@pytest.mark.parametrize("n", [0, 1, 4, 7, 4 * BLOCKS_PER_PASS + 5])
def test_rng4_number_n_is_a_word_of_block_n_over_4(n: int) -> None:
    made = words(n, ordinal=9, tag=Tag.PRIOR, seed=SEED)
    assert made.shape == (n,)
    for i in {0, n // 2, n - 2, n - 1} & set(range(n)):
        assert made[i] == plain_word(i, 9, 1, SEED)


def test_rng5_signed_numbers_are_arithmetic_shifts_of_words() -> None:
    made = signed_numbers(1000, ordinal=3, seed=SEED).tolist()
    plain = [plain_word(n, 3, 1, SEED) for n in range(1000)]
    assert made == [(w - (1 << 32) if w >> 31 else w) >> 8 for w in plain]
    assert min(made) < 0 < max(made)


def test_rng6_fourier_entries_sum_four_table_values() -> None:
    made = fourier_sums(5, 3, SEED)
    for i in range(5):
        for j in range(3):
            word = plain_word(i * 3 + j, 0, 2, SEED)
            assert made[i, j] == sum(int(T8[byte]) for byte in word.to_bytes(4, "little"))


def test_rng7_rademacher_entries_are_bits() -> None:
    atoms = [7, 0, 70000]
    made = dictionary_columns(Dictionary.RADEMACHER, 300, atoms, 4, SEED)
    assert made.dtype == np.int8
    for column, atom in enumerate(atoms):
        for row in range(300):
            block = plain_block(row >> 7, atom, 4, 0, SEED & MASK, SEED >> 32)
            bit = block[(row & 127) >> 5] >> (row & 31) & 1
            assert made[row, column] == 2 * bit - 1


def test_rng8_t8_entries_are_table_values_of_bytes() -> None:
    atoms = [7, 0, 70000]
    made = dictionary_columns(Dictionary.T8, 50, atoms, 4, SEED)
    assert made.dtype == np.int8
    for column, atom in enumerate(atoms):
        for row in range(50):
            block = plain_block(row >> 4, atom, 4, 0, SEED & MASK, SEED >> 32)
            i = row & 15
            assert made[row, column] == T8[block[i >> 2] >> (8 * (i & 3)) & 255]


@pytest.mark.parametrize("law", Dictionary)
def test_a_dictionary_column_does_not_depend_on_the_others(law: Dictionary) -> None:
    together = dictionary_columns(law, 77, np.arange(40), 2, SEED)
    alone = dictionary_columns(law, 20, [31], 2, SEED)
    assert together.shape == (77, 40)
    assert (together[:20, 31:32] == alone).all()
    assert dictionary_columns(law, 77, [], 2, SEED).shape == (77, 0)


def test_t8_is_the_table_of_the_specification() -> None:
    digest = "b25218facf6f7bfe92125bc3a3b6dd9e199b110d728d7205ac1b73562cb9426b"
    assert hashlib.sha256(T8.tobytes()).hexdigest() == digest
    assert (T8[:128] == -T8[:127:-1]).all()
