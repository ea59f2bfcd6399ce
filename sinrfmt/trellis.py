"""The trellis of coding tool 2: states, and integers from coded values.

Specification: clause 9.4. The next state is linear over GF(2) in the state and the low bit, so that the states of a
list follow from one running XOR and not from a loop.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.models import Model

TRANSITIONS = np.array([(0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6)], dtype=np.uint8)
"""uint8[8, 2]: state and low bit to the next state."""
N_STATES = len(TRANSITIONS)
BLOCK = 1 << 16

States = NDArray[np.uint8]


def _powers() -> States:
    """uint8[period, 8]: where a state is after so many zero bits, until it is back at itself."""
    rows = [np.arange(N_STATES, dtype=np.uint8)]
    while len(rows) == 1 or not np.array_equal(rows[-1], rows[0]):
        rows.append(TRANSITIONS[rows[-1], 0])
    return np.array(rows[:-1])


_POWERS = _powers()
_PERIOD = len(_POWERS)


def low_bits(values: NDArray[np.signedinteger[Any]], model: Model | None) -> States:
    """The low bit of every value that drives the states, uint8[n].

    Args:
        values: n integers, escapes included.
        model: of coding 1, whose escapes do not count; None for packed values.
    """
    has_escapes = model is not None and model.esc and not model.b
    clipped = np.clip(values, -model.R, model.R) if model is not None and has_escapes else values
    bits: States = np.bitwise_and(clipped, 1).astype(np.uint8)
    return bits


def states_of(bits: States, n_lanes: int = 1) -> States:
    """The state in which every value is coded, uint8[n]; each lane starts at 0.

    Args:
        bits: uint8[n], the low bits.
        n_lanes: value i belongs to lane i mod n_lanes.
    """
    n_rows = -(-bits.size // n_lanes)
    rows = np.zeros((n_rows, n_lanes), dtype=np.uint8)
    rows.ravel()[: bits.size] = bits
    # A bit that is read in row i is worth A^(j - 1 - i) * 2 in row j > i: with A^-(i + 1) applied to it at once and A^j
    # at the end, what is between is one running XOR.
    index = np.arange(n_rows)
    rows = _POWERS[-(index + 1) % _PERIOD, TRANSITIONS[0, 1]][:, None] * rows
    np.bitwise_xor.accumulate(rows, axis=0, out=rows)
    states = np.zeros_like(rows)
    states[1:] = _POWERS[(index[1:] % _PERIOD)[:, None], rows[:-1]]
    flat: States = states.ravel()[: bits.size]
    return flat


def reconstruct(values: NDArray[np.int32], states: States) -> NDArray[np.int64]:
    """r = 2 k - (state & 1) sgn(k) of values k in their states, int64[n]."""
    wide = values.astype(np.int64)
    return 2 * wide - (states & 1) * np.sign(wide)
