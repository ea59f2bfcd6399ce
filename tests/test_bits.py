"""CNV-3 and clause 11: bit strings and packed values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sinrfmt import bits
from sinrfmt.bits import BitReader, BitWriter
from tests.strategies import assert_fault, bit_string, fixed

FIELDS = st.lists(
    st.integers(1, 16).flatmap(lambda n: st.tuples(st.integers(0, (1 << n) - 1), st.just(n))), max_size=30
)


@fixed(100)
@given(FIELDS)
def test_writer_and_reader_agree_with_the_text(fields: list[tuple[int, int]]) -> None:
    sizes = {f"f{i}": n for i, (_, n) in enumerate(fields)}
    writer = BitWriter(sizes)
    for name, (value, _) in zip(sizes, fields, strict=True):
        writer.write(name, value)
    assert writer.getvalue() == bit_string(*fields)
    reader = BitReader(b"\xff" + writer.getvalue() + b"\xff", 1, sizes)
    position = 8
    for name, (value, n) in zip(sizes, fields, strict=True):
        assert reader.read(name) == value
        assert reader.field_offset == position >> 3
        position += n
    assert reader.align() == (position + 7) >> 3


def test_a_field_that_is_cut_is_too_short_at_the_end() -> None:
    reader = BitReader(b"\x00\x00", 0, {"a": 10, "b": 7})
    reader.read("a")
    assert_fault("PAYLOAD_TOO_SHORT", 2, reader.read, "b")


@pytest.mark.parametrize("n_bits", range(1, 8))
def test_every_padding_bit_must_be_zero(n_bits: int) -> None:
    for bit in range(n_bits, 8):
        reader = BitReader(bytes([0, 0xFF, 1 << bit]), 2, {"a": n_bits})
        reader.read("a")
        assert_fault("PADDING_NOT_ZERO", 2, reader.align)


def test_a_table_without_bits_has_no_padding() -> None:
    assert BitReader(b"\xff\xff", 1, {}).align() == 1


@pytest.mark.parametrize("value", [-1, 4])
def test_a_value_that_does_not_fit_is_not_written(value: int) -> None:
    with pytest.raises(ValueError, match="2 bits"):
        BitWriter({"a": 2}).write("a", value)


def random_values(n: int, n_bits: int) -> NDArray[np.int32]:
    low = -(1 << (n_bits - 1))
    values = np.random.default_rng(n_bits).integers(low, -low, n)
    values[:2] = low, -low - 1
    return values.astype(np.int32)


@pytest.mark.parametrize("n_bits", range(1, 33))
def test_packed_values_of_every_width(n_bits: int) -> None:
    """Clause 11: two's complement, LSB first, from any bit of the string."""
    values = random_values(100, n_bits)
    shift = n_bits % 8
    data = bit_string((0, shift), *((int(v), n_bits) for v in values))
    packed = np.packbits(
        np.concatenate([np.zeros(shift, np.uint8), bits.value_bits(values, n_bits)]), bitorder="little"
    )
    assert packed.tobytes() == data
    np.testing.assert_array_equal(bits.unpack_values(data, shift, n_bits, 100, signed=True), values)
    unsigned = bits.unpack_values(data, shift, n_bits, 100, signed=False)
    np.testing.assert_array_equal(unsigned.view(np.uint32), values.view(np.uint32) & (2**n_bits - 1))


@pytest.mark.parametrize("n", [0, 1, bits.BLOCK_VALUES - 1, bits.BLOCK_VALUES, 2 * bits.BLOCK_VALUES + 1])
def test_packed_values_across_blocks(n: int) -> None:
    values = np.random.default_rng(n).integers(-4000, 4000, n).astype(np.int32)
    data = np.packbits(bits.value_bits(values, 13), bitorder="little").tobytes()
    np.testing.assert_array_equal(bits.unpack_values(data, 0, 13, n, signed=True), values)


@fixed(100)
@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=4))
def test_signed_width_is_the_least_that_holds_all_values(values: list[int]) -> None:
    width = bits.signed_width(np.array(values, dtype=np.int32))
    assert all(-(1 << width - 1) <= v < 1 << width - 1 for v in values)
    assert width == 1 or not all(-(1 << width - 2) <= v < 1 << width - 2 for v in values)
