"""Tool 2: the trellis-coded quantiser (clause 9.4)."""

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint8]

# §9.4: "T = ((0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6))"
T = ((0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6))

# The states after many values are found at once: T[s][p] = A(s) ^ 2p with A(s) = T[s][0], A is linear over XOR, and
# four times A is the identity. So A^-i of the state after i values is the XOR of the first state and of one number for
# each value whose p is 1.
ORDER = 4
POWERS = np.array([range(8)] * ORDER, np.uint8)
for _power in range(1, ORDER):
    POWERS[_power] = np.array(T, np.uint8)[POWERS[_power - 1], 0]


class Trellis:
    """The states of one list of values, which is taken in blocks.

    TRE-2 §9.4: "With N lanes every lane has its own state: value i of a tensor belongs to lane i mod N, whose state is
    0 before its first value, and advances by the values of that lane. The other codings have one state."
    """

    def __init__(self, lanes: int, R: int | None) -> None:
        """R is that of the model where the model symbols drive the states, None where the values do."""
        self.R = R
        self.state = np.zeros(lanes, np.uint8)

    def contributions(self, k: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """r of the next values; their number is a multiple of the lanes but for the last block.

        §9.4: "return 2 * k - (state & 1) * sign, T[state][p]".
        """
        # "the lowest bit of the model symbol u before its escape if b = 0, of k if b > 0; of k in the codings other
        # than 1; and 0 for values of form 0"
        u = k if self.R is None else np.clip(k, -self.R, self.R)
        wide = k.astype(np.int64)
        r: npt.NDArray[np.int64] = 2 * wide - self.quantisers((u & 1).astype(np.uint8)) * np.sign(wide)
        return r

    def quantisers(self, p: Bits) -> Bits:
        """§9.4: "`state & 1` is the *quantiser*" of each value; the states advance over the values."""
        lanes = self.state.size
        rows = -(-p.size // lanes)
        padded = np.zeros((rows, lanes), np.uint8)
        padded.reshape(-1)[: p.size] = p
        power = np.arange(rows + 1) % ORDER
        given = np.empty((rows + 1, lanes), np.uint8)
        given[0] = self.state
        given[1:] = padded * POWERS[-power[1:] % ORDER, 2][:, np.newaxis]
        states = POWERS[power[:, np.newaxis], np.bitwise_xor.accumulate(given, axis=0)]
        self.state = states[-1]
        found: Bits = states[:-1].reshape(-1)[: p.size] & np.uint8(1)
        return found
