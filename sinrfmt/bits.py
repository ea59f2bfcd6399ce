"""Bit strings, least significant bit first, with the named fields of a tensor table.

Specification: CNV-3 and clauses 7.2 and 11.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sinrfmt.wire import Fault

BLOCK_VALUES = 8192  # bounds the bits that are spread out at a time


class BitReader:
    """Reads fields of given sizes from ``data``, from byte ``start`` on.

    Attributes:
        field_offset: the byte that holds the first bit of the field read last.
    """

    def __init__(self, data: bytes, start: int, sizes: dict[str, int]) -> None:
        self._data = data
        self._position = 8 * start
        self._sizes = sizes
        self.field_offset = start

    def read(self, name: str) -> int:
        """The next field as an unsigned integer.

        Raises:
            Fault: PAYLOAD_TOO_SHORT, where the data end inside the field.
        """
        n_bits = self._sizes[name]
        first, end = self._position >> 3, (self._position + n_bits + 7) >> 3
        if end > len(self._data):
            raise Fault("PAYLOAD_TOO_SHORT", "the tensor table goes on", offset=len(self._data), path=name)
        window = int.from_bytes(self._data[first:end], "little")
        value = window >> (self._position & 7) & ((1 << n_bits) - 1)
        self._position += n_bits
        self.field_offset = first
        return value

    def align(self) -> int:
        """Skip the padding; the offset of the byte after it.

        Raises:
            Fault: PADDING_NOT_ZERO.
        """
        end = (self._position + 7) >> 3
        if self._position & 7 and self._data[end - 1] >> (self._position & 7):
            raise Fault("PADDING_NOT_ZERO", "padding bits of the tensor table must be zero", offset=end - 1)
        return end


class BitWriter:
    """Collects fields of given sizes."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes
        self._value = 0
        self._n_bits = 0

    def write(self, name: str, value: int) -> None:
        n_bits = self._sizes[name]
        if not 0 <= value < 1 << n_bits:
            raise ValueError(f"{name} = {value} does not fit {n_bits} bits")
        self._value |= value << self._n_bits
        self._n_bits += n_bits

    def getvalue(self) -> bytes:
        return self._value.to_bytes((self._n_bits + 7) >> 3, "little")


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, BLOCK_VALUES):
        yield start, min(start + BLOCK_VALUES, n)


def unpack_values(data: bytes, first_bit: int, n_bits: int, n: int, *, signed: bool) -> NDArray[np.int32]:
    """``n`` values of ``n_bits`` bits each (1 to 32) from bit ``first_bit`` of ``data``.

    Returns:
        int32[n]: two's complement if ``signed``, else the bit pattern, zero-extended below 32 bits.
    """
    values = np.empty(n, dtype=np.int32)
    weights = np.left_shift(np.int64(1), np.arange(n_bits, dtype=np.int64))
    if signed:
        weights[-1] = -weights[-1]
    for start, end in _blocks(n):
        bit, last = first_bit + start * n_bits, first_bit + end * n_bits
        raw = np.frombuffer(data, dtype=np.uint8, count=((last + 7) >> 3) - (bit >> 3), offset=bit >> 3)
        bits = np.unpackbits(raw, bitorder="little")[bit & 7 : (bit & 7) + (last - bit)]
        block = bits.reshape(end - start, n_bits) @ weights  # |value| < 2^32: exact in int64
        values[start:end] = block.astype(np.uint32).view(np.int32)
    return values


def value_bits(values: NDArray[np.int32], n_bits: int) -> NDArray[np.uint8]:
    """The bits of two's-complement values, one uint8 0 or 1 each, n * n_bits in all."""
    little = np.ascontiguousarray(values, dtype="<i4").reshape(-1, 1).view(np.uint8)
    return np.unpackbits(little, axis=1, count=n_bits, bitorder="little").ravel()


def signed_width(values: NDArray[np.int32]) -> int:
    """Bits that two's complement needs for every value, at least 1."""
    if values.size == 0:
        return 1
    low, high = int(values.min()), int(values.max())
    return max(high.bit_length() + 1 if high > 0 else 1, (-low - 1).bit_length() + 1 if low < 0 else 1)
