"""The entropy coder: one static rANS stream with one lane or many, its encoder and its two decoders.

Specification: clauses 10.3 to 10.5, bitmaps of clause 9.5. Method: Duda, "Asymmetric numeral systems", arXiv 1311.2540;
lanes: Giesen, "Interleaved entropy coders", arXiv 1402.3392. A decoder meets hostile bytes with ``StreamFault`` only:
its state stays inside its 32 bits whatever it reads, and it takes memory for the symbols asked of it and for 64 k
symbols at a time.
"""

import math
import sys
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import repeat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sinrfmt.models import PROBABILITY_BITS, PROBABILITY_TOTAL, RowTable, StreamFault, bitmap_symbols

SLOT_MASK = PROBABILITY_TOTAL - 1
WORD_BITS = 16
STATE_LOW = 1 << WORD_BITS
"""A state below this takes a word."""
EMIT_SHIFT = 32 - PROBABILITY_BITS
"""A state of at least f << 18 gives a word away before a symbol of frequency f."""
FIELD_BITS_LIMIT = 32
LANES_LOG2 = range(6, 13)
PAYLOAD_BITS_PER_LANE = 2400
"""A lane costs 24 bits; with this payload the lanes cost at most 1 %."""
# Symbols handled as one Python list, about 2 MB.
BLOCK = 1 << 16
MIXED_BLOCK = 1 << 13  # of those with a model each: four lists

FieldValues = NDArray[np.uint16] | NDArray[np.uint32]


def lanes_for(payload_bits: float) -> int:
    """The largest log2_lanes that costs at most 1 % of the payload; 0 below 64 lanes."""
    log2_lanes = int(math.log2(max(1.0, payload_bits / PAYLOAD_BITS_PER_LANE)))
    return min(log2_lanes, LANES_LOG2[-1]) if log2_lanes >= LANES_LOG2[0] else 0


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def _digits(widths: NDArray[np.uint8]) -> Iterator[tuple[slice | NDArray[np.bool_], NDArray[np.uint8]]]:
    """Split raw fields into runs of at most 14 bits from the top (clause 10.5).

    Yields, for each run that is not empty, which of the fields it holds and how many bits of each.
    """
    done = 0
    while done < FIELD_BITS_LIMIT:
        chosen = widths > done
        if not chosen.any():
            return
        members = slice(None) if chosen.all() else chosen
        yield members, np.minimum(widths[members] - np.uint8(done), PROBABILITY_BITS)
        done += PROBABILITY_BITS


class StreamDecoder(ABC):
    """Reads the runs of one stream in order. Every method may raise StreamFault (BAD_STREAM)."""

    def symbols(self, frequencies: NDArray[np.int64], n: int) -> NDArray[np.int16]:
        """Read a run of n symbols.

        Args:
            frequencies: int64[K], K <= 2^14, every entry >= 1, sum 2^14.
            n: number of symbols.

        Returns:
            int16[n], 0 to K - 1.
        """
        # A symbol that is certain leaves every state unchanged.
        return self._symbol_run(frequencies, n) if frequencies.size > 1 else np.zeros(n, dtype=np.int16)

    def raw(self, widths: int | NDArray[np.uint8], n: int) -> FieldValues:
        """Read a list of n raw fields (clause 10.5).

        Args:
            widths: bits of every field, 0 to 32: one number or uint8[n].
            n: number of fields.

        Returns:
            uint16[n] when no width is above 14, otherwise uint32[n].
        """
        each = np.broadcast_to(np.asarray(widths, dtype=np.uint8), n)
        widest = int(each.max(initial=0))
        values: FieldValues = np.zeros(n, np.uint16) if widest <= PROBABILITY_BITS else np.zeros(n, np.uint32)
        for members, bits in _digits(each):
            values[members] <<= bits
            values[members] |= self._field_run(bits)
        return values

    @abstractmethod
    def mixed(self, rows: NDArray[np.int32], table: RowTable) -> NDArray[np.int32]:
        """Read a run of symbols of which each has its own model (clause 10.6).

        Args:
            rows: int32[n], the model of every symbol.
            table: the models.

        Returns:
            int32[n], numbers of symbols in the table.
        """

    @abstractmethod
    def _symbol_run(self, frequencies: NDArray[np.int64], n: int) -> NDArray[np.int16]: ...

    @abstractmethod
    def _field_run(self, bits: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Read a run of raw fields of 1 to 14 bits each."""

    @abstractmethod
    def finish(self) -> None:
        """Check that the stream ends here."""


class OneLaneDecoder(StreamDecoder):
    """Decoder of a stream with one lane, in plain Python."""

    def __init__(self, data: bytes) -> None:
        """Open a stream.

        Raises:
            StreamFault: BAD_STREAM (ENT-4).
        """
        if len(data) < 4 or len(data) % 2:
            raise StreamFault("BAD_STREAM", f"a stream of one lane has an even length of at least 4, not {len(data)}")
        self._state = int.from_bytes(data[:4], "little")
        self._words = _words(memoryview(data)[4:])
        self._next = 0
        if self._words and self._state < STATE_LOW:
            raise StreamFault("BAD_STREAM", f"the state {self._state} of a stream with words is below 2^16")

    def _symbol_run(self, frequencies: NDArray[np.int64], n: int) -> NDArray[np.int16]:
        symbols = np.empty(n, dtype=np.int16)
        frequency = frequencies.tolist()
        ends = np.cumsum(frequencies)
        start, end = (ends - frequencies).tolist(), ends.tolist()
        for block in _blocks(n):
            symbols[block] = self._symbol_block(frequency, start, end, block.stop - block.start)
        return symbols

    def _symbol_block(self, frequency: list[int], start: list[int], end: list[int], n: int) -> list[int]:
        x, words, position, left = self._state, self._words, self._next, len(self._words)
        symbols = []
        for _ in repeat(None, n):
            slot = x & SLOT_MASK
            symbol = bisect_right(end, slot)
            symbols.append(symbol)
            x = frequency[symbol] * (x >> PROBABILITY_BITS) + slot - start[symbol]
            if x < STATE_LOW and position < left:
                x = x << WORD_BITS | words[position]
                position += 1
        self._state, self._next = x, position
        return symbols

    def mixed(self, rows: NDArray[np.int32], table: RowTable) -> NDArray[np.int32]:
        found = np.empty(rows.size, dtype=np.int32)
        for start in range(0, rows.size, MIXED_BLOCK):
            block = slice(start, start + MIXED_BLOCK)
            found[block] = self._mixed_block(rows[block], table)
        return found

    def _mixed_block(self, rows: NDArray[np.int32], table: RowTable) -> list[int]:
        x, words, position, left = self._state, self._words, self._next, len(self._words)
        ends, frequencies, offsets = table.ends.data, table.frequencies.data, table.offsets.data
        firsts, lasts = table.firsts[rows].tolist(), table.firsts[rows + 1].tolist()
        found = []
        for row, first, last in zip((rows << PROBABILITY_BITS).tolist(), firsts, lasts, strict=True):
            key = row | x & SLOT_MASK
            symbol = bisect_right(ends, key, first, last)
            found.append(symbol)
            x = frequencies[symbol] * (x >> PROBABILITY_BITS) + key - offsets[symbol]
            if x < STATE_LOW and position < left:
                x = x << WORD_BITS | words[position]
                position += 1
        self._state, self._next = x, position
        return found

    def _field_run(self, bits: NDArray[np.uint8]) -> NDArray[np.uint16]:
        values = np.empty(bits.size, dtype=np.uint16)
        for block in _blocks(bits.size):
            values[block] = self._field_block((PROBABILITY_BITS - bits[block]).tolist())
        return values

    def _field_block(self, shifts: list[int]) -> list[int]:
        x, words, position, left = self._state, self._words, self._next, len(self._words)
        values = []
        for shift in shifts:
            slot = x & SLOT_MASK
            value = slot >> shift
            values.append(value)
            x = (x >> PROBABILITY_BITS << shift) + slot - (value << shift)
            if x < STATE_LOW and position < left:
                x = x << WORD_BITS | words[position]
                position += 1
        self._state, self._next = x, position
        return values

    def bitmap(self, n_slots: int, n_ones: int) -> NDArray[np.int32]:
        """Read a bitmap with a known number of ones (clause 9.5, support 0).

        Returns:
            int32[n_ones], the slots that hold a one, ascending.
        """
        x, words, position, last = self._state, self._words, self._next, len(self._words)
        ones = array("i")
        rem, left = n_ones, n_slots
        while 0 < rem < left:
            f1 = min(max(((rem << PROBABILITY_BITS) + (left >> 1)) // left, 1), PROBABILITY_TOTAL - 1)
            zero = PROBABILITY_TOTAL - f1
            slot = x & SLOT_MASK
            if slot < zero:
                x = zero * (x >> PROBABILITY_BITS) + slot
            else:
                x = f1 * (x >> PROBABILITY_BITS) + slot - zero
                ones.append(n_slots - left)
                rem -= 1
            left -= 1
            if x < STATE_LOW and position < last:
                x = x << WORD_BITS | words[position]
                position += 1
        self._state, self._next = x, position
        ones.extend(range(n_slots - rem, n_slots))
        return np.array(ones, dtype=np.int32)

    def finish(self) -> None:
        if self._state or self._next != len(self._words):
            unread = len(self._words) - self._next
            raise StreamFault(
                "BAD_STREAM", f"the stream ends in state {self._state} with {unread} words left, not 0, 0"
            )


def _words(data: memoryview) -> "array[int]":
    words = array("H")
    words.frombytes(data)
    if sys.byteorder == "big":
        words.byteswap()
    return words


class LanesDecoder(StreamDecoder):
    """Decoder of a stream with 64 to 4096 lanes, a row of symbols at a time."""

    def __init__(self, data: bytes, log2_lanes: int) -> None:
        """Open a stream.

        Raises:
            StreamFault: BAD_STREAM (ENT-6).
        """
        lanes = 1 << log2_lanes
        if len(data) < 4 * lanes or len(data) % 2:
            raise StreamFault(
                "BAD_STREAM", f"{lanes} lanes need an even length of at least {4 * lanes}, not {len(data)}"
            )
        self._lanes = lanes
        self._states = np.frombuffer(data, dtype="<u4", count=lanes).astype(np.uint32)
        self._words = np.frombuffer(data, dtype="<u2", offset=4 * lanes)
        self._next = 0
        if (self._states < STATE_LOW).any():
            raise StreamFault("BAD_STREAM", "the first state of a lane is below 2^16")

    def _rows(self, n: int) -> Iterator[slice]:
        return (slice(start, min(start + self._lanes, n)) for start in range(0, n, self._lanes))

    def _symbol_run(self, frequencies: NDArray[np.int64], n: int) -> NDArray[np.int16]:
        starts = np.cumsum(frequencies) - frequencies
        offsets = np.arange(PROBABILITY_TOTAL) - np.repeat(starts, frequencies)
        # Frequency and offset in the interval of every slot, together for one look-up.
        steps = (np.repeat(frequencies, frequencies) << 16 | offsets).astype(np.uint32)
        symbol_of = np.repeat(np.arange(frequencies.size, dtype=np.int16), frequencies)
        symbols = np.empty(n, dtype=np.int16)
        for row in self._rows(n):
            states = self._states[: row.stop - row.start]
            slots = states & SLOT_MASK
            symbols[row] = slots
            step = steps.take(slots)
            states >>= PROBABILITY_BITS
            states *= step >> 16
            states += step & 0xFFFF
            self._refill(states)
        for block in _blocks(n):
            symbols[block] = symbol_of.take(symbols[block])
        return symbols

    def mixed(self, rows: NDArray[np.int32], table: RowTable) -> NDArray[np.int32]:
        found = np.empty(rows.size, dtype=np.int32)
        for row in self._rows(rows.size):
            states = self._states[: row.stop - row.start]
            keys = (states & SLOT_MASK).astype(np.int32)
            keys |= rows[row] << PROBABILITY_BITS
            symbols = table.ends.searchsorted(keys, side="right")
            found[row] = symbols
            keys -= table.offsets.take(symbols)
            states >>= PROBABILITY_BITS
            states *= table.frequencies.take(symbols).view(np.uint32)
            states += keys.view(np.uint32)
            self._refill(states)
        return found

    def _field_run(self, bits: NDArray[np.uint8]) -> NDArray[np.uint16]:
        values = np.empty(bits.size, dtype=np.uint16)
        for row in self._rows(bits.size):
            states = self._states[: row.stop - row.start]
            shifts = PROBABILITY_BITS - bits[row]
            slots = states & SLOT_MASK
            fields = slots >> shifts
            values[row] = fields
            states >>= PROBABILITY_BITS
            states <<= shifts
            states += slots - (fields << shifts)
            self._refill(states)
        return values

    def _refill(self, states: NDArray[np.uint32]) -> None:
        low = np.flatnonzero(states < STATE_LOW)
        words = self._words[self._next : self._next + low.size]
        if words.size < low.size:
            raise StreamFault("BAD_STREAM", "the stream ends before its symbols")
        self._next += low.size
        states[low] = states[low] << WORD_BITS | words

    def finish(self) -> None:
        unread = self._words.size - self._next
        if unread or (self._states != STATE_LOW).any():
            raise StreamFault(
                "BAD_STREAM", f"the stream has {unread} words left or a lane ends in a state other than 2^16"
            )


def open_stream(data: bytes, log2_lanes: int) -> StreamDecoder:
    """Open a stream for reading (clause 10.4).

    Args:
        data: the whole stream.
        log2_lanes: 0, or 6 to 12.

    Raises:
        StreamFault: BAD_LANES for another number of lanes, BAD_STREAM (ENT-4, ENT-6).
    """
    _check_lanes(log2_lanes)
    return LanesDecoder(data, log2_lanes) if log2_lanes else OneLaneDecoder(data)


def _check_lanes(log2_lanes: int) -> None:
    if log2_lanes and log2_lanes not in LANES_LOG2:
        raise StreamFault("BAD_LANES", f"log2_lanes = {log2_lanes}: expected 0 or 6 to 12")


class StreamEncoder:
    """Collects runs in reading order; ``encode`` then codes them from the last to the first."""

    def __init__(self) -> None:
        self._runs: list[tuple[NDArray[np.uint16], NDArray[np.uint16]]] = []
        self.bits = 0.0
        """Information in the runs so far, in bits."""

    def symbols(self, symbols: ArrayLike, frequencies: NDArray[np.int64]) -> None:
        """Add a run of symbols 0 to K - 1 under int64[K] frequencies."""
        chosen = np.asarray(symbols, dtype=np.intp)
        self._add(frequencies[chosen], (np.cumsum(frequencies) - frequencies)[chosen])

    def mixed(self, symbols: NDArray[np.int32], table: RowTable) -> None:
        """Add a run of symbols of which each has its own model: int32[n], their numbers in the table (clause 10.6)."""
        starts = table.offsets[symbols] & (PROBABILITY_TOTAL - 1)
        self._add(table.frequencies[symbols].astype(np.int64), starts.astype(np.int64))

    def raw(self, values: ArrayLike, widths: ArrayLike) -> None:
        """Add a list of raw fields (clause 10.5): n values below 2^32 and their widths, one number or n."""
        fields = np.asarray(values, dtype=np.int64)
        each = np.broadcast_to(np.asarray(widths, dtype=np.uint8), fields.shape)
        left = each.astype(np.int64)
        for members, bits in _digits(each):
            left[members] -= bits
            digit = (fields[members] >> left[members]) & ((1 << bits.astype(np.int64)) - 1)
            shifts = PROBABILITY_BITS - bits.astype(np.int64)
            self._add(1 << shifts, digit << shifts)

    def bitmap(self, ones: NDArray[np.int32], n_slots: int) -> None:
        """Add a bitmap of ``n_slots`` slots with ones at int32[s] (clause 9.5); for streams with one lane."""
        self._add(*bitmap_symbols(ones, n_slots))

    def _add(self, frequencies: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
        self.bits += float(np.sum(PROBABILITY_BITS - np.log2(frequencies)))
        self._runs.append((frequencies.astype(np.uint16), starts.astype(np.uint16)))

    def encode(self, log2_lanes: int = 0) -> bytes:
        """Code all runs.

        Args:
            log2_lanes: 0, or 6 to 12.

        Returns:
            The stream. Runs are kept: the same encoder may be coded again with other lanes.

        Raises:
            StreamFault: BAD_LANES.
        """
        _check_lanes(log2_lanes)
        return self._encode_lanes(1 << log2_lanes) if log2_lanes else self._encode_one_lane()

    def _encode_one_lane(self) -> bytes:
        x = 0
        words = array("H")
        for frequency, start in self._reversed_symbols():
            if x >= frequency << EMIT_SHIFT:
                words.append(x & 0xFFFF)
                x >>= WORD_BITS
            x = (x // frequency << PROBABILITY_BITS) + x % frequency + start
        words.reverse()
        return x.to_bytes(4, "little") + np.asarray(words, dtype="<u2").tobytes()

    def _reversed_symbols(self) -> Iterator[tuple[int, int]]:
        for frequencies, starts in reversed(self._runs):
            for block in reversed(list(_blocks(frequencies.size))):
                yield from zip(frequencies[block][::-1].tolist(), starts[block][::-1].tolist(), strict=True)

    def _encode_lanes(self, lanes: int) -> bytes:
        states = np.full(lanes, STATE_LOW, dtype=np.uint64)
        rows: list[NDArray[np.uint64]] = []
        for frequencies, starts in reversed(self._runs):
            for row in reversed(range(0, frequencies.size, lanes)):
                frequency = frequencies[row : row + lanes].astype(np.uint64)
                x = states[: frequency.size]
                full = np.flatnonzero(x >= frequency << np.uint64(EMIT_SHIFT))
                rows.append(x[full] & np.uint64(0xFFFF))
                x[full] >>= np.uint64(WORD_BITS)
                quotient, rest = np.divmod(x, frequency)
                x[:] = (quotient << np.uint64(PROBABILITY_BITS)) + rest + starts[row : row + lanes]
        rows.reverse()
        words = np.concatenate(rows) if rows else np.empty(0)
        return states.astype("<u4").tobytes() + words.astype("<u2").tobytes()
