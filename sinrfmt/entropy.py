"""Lists of integer values in a stream: model symbols, raw low bits and escapes.

Specification: clause 10.1, with the fixed model of clause 10.3; one-sided lists by clause 9.5, lists under a table of
frequencies by clause 9.6.3.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sinrfmt.models import PROBABILITY_BITS, PROBABILITY_TOTAL, StreamFault, SymbolModel
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
_ESCAPE_PREFIX_BITS = PROBABILITY_BITS - np.log2(ESCAPE_FREQUENCIES) + np.arange(ESCAPE_PREFIX_LIMIT + 1)


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


def encode_values(encoder: StreamEncoder, values: ArrayLike, model: SymbolModel) -> None:
    """Add a list of integer values to a stream (clause 10.1).

    Args:
        encoder: the stream.
        values: n integers.
        model: how to code them.

    Raises:
        ValueError: the model cannot hold one of the values.
    """
    v = np.asarray(values, dtype=np.int64).reshape(-1)
    u, low = split_low_bits(v, model.b, one_sided=model.one_sided)
    escapes = u - model.highest if model.one_sided else np.maximum(u - model.highest, model.lowest - u)
    largest = ESCAPE_LIMIT if model.esc else 0
    is_below = model.one_sided and v.min(initial=0) < 0
    if is_below or escapes.max(initial=0) > largest or np.abs(v).max(initial=0) >= VALUE_LIMIT:
        raise ValueError(f"values from {v.min()} to {v.max()} do not fit {model}")
    encoder.symbols(np.clip(u, model.lowest, model.highest) - model.lowest, model.frequencies())
    encoder.raw(low, model.b)
    if model.esc:
        encode_escapes(encoder, escapes[escapes >= 0])


def escape_bits(escapes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cost of escapes with their raw fields, in bits; infinite for those beyond ESCAPE_LIMIT."""
    held = escapes <= ESCAPE_LIMIT
    return np.where(held, _ESCAPE_PREFIX_BITS[escape_prefixes(np.where(held, escapes, 0))], np.inf)


def encode_escapes(encoder: StreamEncoder, escapes: NDArray[np.int64]) -> None:
    """Add escapes, 0 to ESCAPE_LIMIT each: their prefixes, then their raw fields (clause 10.1, step 3)."""
    p = escape_prefixes(escapes)
    encoder.symbols(p, ESCAPE_FREQUENCIES)
    encoder.raw(escapes + 1 - (1 << p), p)


def decode_values(decoder: StreamDecoder, n: int, model: SymbolModel) -> NDArray[np.int32]:
    """Read a list of n integer values (clause 10.1).

    Args:
        decoder: the stream.
        n: number of values.
        model: how they are coded.

    Returns:
        int32[n]

    Raises:
        StreamFault: BAD_STREAM, or ACC_OVERFLOW (ENT-1).
    """
    u = decoder.symbols(model.frequencies(), n)
    u += model.lowest
    low = decoder.raw(model.b, n)
    escapes = decode_escapes(decoder, int(np.count_nonzero(_escaped(u, model)))) if model.esc else None
    centre = _low_centre(model.b, model.one_sided)
    values = np.empty(n, dtype=np.int32)
    used = 0
    # 64-bit intermediates of a block at a time: an escape times 2^b may pass 2^31.
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        wide = u[block].astype(np.int64)
        if escapes is not None:
            escaped = np.flatnonzero(_escaped(wide, model))
            above = wide[escaped] == model.highest
            e = escapes[used : used + escaped.size].astype(np.int64)
            wide[escaped] += np.where(above, e, -e)
            used += escaped.size
        wide = (wide << model.b) + low[block] - centre
        if np.abs(wide).max() >= VALUE_LIMIT:
            raise StreamFault("ACC_OVERFLOW", "a coded value is not below 2^31 in magnitude")
        values[block] = wide
    return values


def _escaped(u: NDArray[Any], model: SymbolModel) -> NDArray[np.bool_]:
    """Which symbols an escape follows."""
    above: NDArray[np.bool_] = u == model.highest
    return above if model.one_sided else above | (u == model.lowest)


def decode_escapes(decoder: StreamDecoder, n: int) -> NDArray[np.uint32]:
    """Read n escapes: their prefixes, then their raw fields."""
    p = decoder.symbols(ESCAPE_FREQUENCIES, n).astype(np.uint8)
    escapes = decoder.raw(p, n).astype(np.uint32, copy=False)
    escapes += np.left_shift(1, p, dtype=np.uint32)
    escapes -= 1
    return escapes
