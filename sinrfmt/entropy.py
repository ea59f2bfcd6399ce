"""Lists of integer values in a stream: model symbols, raw low bits and escapes.

Specification: clause 10.1, with the fixed model of clause 10.3; one-sided lists by clause 9.5.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sinrfmt.models import PROBABILITY_TOTAL, Model, StreamFault
from sinrfmt.rans import BLOCK, StreamDecoder, StreamEncoder

ESCAPE_PREFIX_LIMIT = 20
ESCAPE_LIMIT = (2 << ESCAPE_PREFIX_LIMIT) - 2
"""Largest escape."""
VALUE_LIMIT = 1 << 31


def _escape_frequencies() -> NDArray[np.int64]:
    f: NDArray[np.int64] = np.maximum(1, (1 << 13) >> np.arange(ESCAPE_PREFIX_LIMIT + 1))
    f[0] = PROBABILITY_TOTAL - f[1:].sum()
    f.flags.writeable = False
    return f


ESCAPE_FREQUENCIES = _escape_frequencies()
"""int64[21]: frequencies of the escape prefixes 0 to 20."""


def _low_centre(b: int, one_sided: bool) -> int:
    """What is taken from (u << b) + low: half the range of low, so that u = 0 is around 0; nothing when one-sided."""
    return 0 if one_sided else (1 << b) >> 1


def split_low_bits(
    values: NDArray[np.int64], b: int, *, one_sided: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split v = (u << b) + low - 2^(b-1) (one-sided: (u << b) + low) into u and low, 0 <= low < 2^b; b = 0: u = v."""
    centred = values + _low_centre(b, one_sided)
    return centred >> b, centred & ((1 << b) - 1)


def escape_prefixes(escapes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The prefix p of every escape e: floor(log2(e + 1))."""
    return np.frexp(escapes + 1)[1].astype(np.int64) - 1


def encode_values(
    encoder: StreamEncoder, values: ArrayLike, model: Model, states: NDArray[np.uint8] | None = None
) -> None:
    """Add a list of integer values to a stream (clause 10.1).

    Args:
        encoder: the stream.
        values: n integers.
        model: how to code them.
        states: uint8[n], in which a trellis has them (clause 9.4); None for all other lists.

    Raises:
        ValueError: the model cannot hold one of the values.
    """
    v = np.asarray(values, dtype=np.int64).reshape(-1)
    u, low = split_low_bits(v, model.b, one_sided=model.one_sided)
    escapes = np.abs(u) - model.R
    largest = ESCAPE_LIMIT if model.esc else 0
    is_below = model.one_sided and v.min(initial=0) < 0
    if is_below or escapes.max(initial=0) > largest or np.abs(v).max(initial=0) >= VALUE_LIMIT:
        raise ValueError(f"values from {v.min()} to {v.max()} do not fit {model}")
    symbols = np.clip(u, model.lowest, model.R) - model.lowest
    if states is None:
        encoder.symbols(symbols, model.frequencies())
    else:
        encoder.trellis_symbols(symbols, states, model.frequency_tables())
    encoder.raw(low, model.b)
    if model.esc:
        e = escapes[escapes >= 0]
        p = escape_prefixes(e)
        encoder.symbols(p, ESCAPE_FREQUENCIES)
        encoder.raw(e + 1 - (1 << p), p)


def decode_values(decoder: StreamDecoder, n: int, model: Model, *, trellis: bool = False) -> NDArray[np.int32]:
    """Read a list of n integer values (clause 10.1).

    Args:
        decoder: the stream.
        n: number of values.
        model: how they are coded.
        trellis: states of a trellis choose the frequencies (clause 9.4).

    Returns:
        int32[n]

    Raises:
        StreamFault: BAD_STREAM, or ACC_OVERFLOW (ENT-1).
    """
    if trellis and not model.b:
        u = decoder.trellis_symbols(model.frequency_tables(), n)
    else:
        u = decoder.symbols(model.frequencies(), n)
    u += model.lowest
    low = decoder.raw(model.b, n)
    escapes = _decode_escapes(decoder, int(np.count_nonzero(np.abs(u) == model.R))) if model.esc else None
    centre = _low_centre(model.b, model.one_sided)
    values = np.empty(n, dtype=np.int32)
    used = 0
    # 64-bit intermediates of a block at a time: an escape times 2^b may pass 2^31.
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        wide = u[block].astype(np.int64)
        if escapes is not None:
            escaped = np.abs(wide) == model.R
            count = int(np.count_nonzero(escaped))
            wide[escaped] += np.sign(wide[escaped]) * escapes[used : used + count]
            used += count
        wide = (wide << model.b) + low[block] - centre
        if np.abs(wide).max() >= VALUE_LIMIT:
            raise StreamFault("ACC_OVERFLOW", "a coded value is not below 2^31 in magnitude")
        values[block] = wide
    return values


def _decode_escapes(decoder: StreamDecoder, n: int) -> NDArray[np.uint32]:
    p = decoder.symbols(ESCAPE_FREQUENCIES, n).astype(np.uint8)
    escapes = decoder.raw(p, n).astype(np.uint32, copy=False)
    escapes += np.left_shift(1, p, dtype=np.uint32)
    escapes -= 1
    return escapes
