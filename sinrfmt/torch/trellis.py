"""Paths through the trellis of coding tool 2: Viterbi search in which every survivor carries its own error feedback.

Specification: clauses 9.4 (trellis) and 10.2 (code lengths). Method: Marcellin and Fischer, "Trellis coded quantization
of memoryless and Gauss-Markov sources", 1990, with the squared error of a weight measured after the weights still to
come have made up for it (``Block`` in ``sensitivity``), and a price for its bits under the model that will code it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sinrfmt.entropy import ESCAPE_LIMIT, escape_bits
from sinrfmt.models import PROBABILITY_BITS, Model
from sinrfmt.trellis import N_STATES, TRANSITIONS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LOOK_BACK = 64
"""Weights between updates of the targets that are further away."""
FORBIDDEN = 1e9
"""Bits of a value that must not be chosen."""
TABLE_LIMIT = 1 << 16
"""Magnitudes of which a model's code lengths are tabulated; larger ones are priced as this one."""

_QUANTISERS = np.arange(N_STATES) & 1
# The two branches, 2 state + low bit, that lead to each state.
_INTO = np.array([[2 * s + p for s in range(N_STATES) for p in (0, 1) if TRANSITIONS[s, p] == d] for d in range(8)])
_NEIGHBOURS = np.array([(0, 1), (1, 0)])
"""By the parity of the lower neighbour: what is added to it for the even one of both, and for the odd one."""
_ALL = np.arange(N_STATES)


@dataclass(frozen=True)
class Price:
    """What values of a tensor cost.

    Attributes:
        bits: float64 (2, 2 largest + 1), of k = -largest ... largest under each quantiser; infinite where the model
            would turn the states another way than the low bit of k.
        largest: largest magnitude in the table.
    """

    bits: Floats
    largest: int

    @classmethod
    def of(cls, model: Model, largest: int) -> "Price":
        """Of a model, for values up to ``largest`` and some above."""
        largest = min(2 * largest + 8, TABLE_LIMIT)
        k = np.arange(-largest, largest + 1)
        centre = (1 << model.b) >> 1
        u = (k + centre) >> model.b
        magnitudes = np.abs(u)
        symbols = np.minimum(magnitudes, model.R)
        tables = PROBABILITY_BITS - np.log2(model.frequency_tables()[:, model.R :])
        bits = tables[:, symbols] + model.b
        beyond = magnitudes - model.R
        if model.esc:
            bits = bits + np.where(beyond >= 0, escape_bits(np.clip(beyond, 0, ESCAPE_LIMIT)), 0.0)
            odd = (beyond > 0) & (beyond & 1 == 1) & (model.b == 0)
        else:
            odd = beyond > 0
        bits[:, odd] = FORBIDDEN
        return cls(bits, largest)

    @classmethod
    def free(cls, largest: int) -> "Price":
        """Of nothing: for a first path, whose values a model is then fitted to."""
        return cls(np.zeros((2, 2 * largest + 17)), largest + 8)


@dataclass(frozen=True)
class Stretch:
    """What a path is searched for: consecutive values of one tensor.

    Attributes:
        step: the half step of the tensor.
        offsets: int64 (n,), added to r: the prior, or zeros.
        price: of its values.
        rate_weight: what a bit is worth, in units of the error.
    """

    step: float
    offsets: Integers
    price: Price
    rate_weight: float


def search_path(
    targets: Floats, spread: Floats, conditional: Floats, stretch: Stretch, state: int = 0
) -> tuple[Integers, Integers, int]:
    """The best path for a stretch of weights.

    Args:
        targets: float64 (n + m,), of the weights of the stretch and of those after it; those after it are changed.
        spread: float64 (n, n + m), rows of a ``Block``'s.
        conditional: float64 (n,).
        stretch: the tensor's.
        state: before the first value.

    Returns:
        k int64 (n,), r int64 (n,), and the state after the last.
    """
    n = conditional.size
    survivors = _Survivors(targets, n, stretch, state)
    for start in range(0, n, LOOK_BACK):
        survivors.advance(start, min(start + LOOK_BACK, n), spread, conditional)
    k, r, last = survivors.best()
    targets[n:] = survivors.far[last, n:]
    return k, r, last


class _Survivors:
    """The best path into each of the eight states."""

    def __init__(self, targets: Floats, n: int, stretch: Stretch, state: int) -> None:
        self.far = np.repeat(targets[None, :], N_STATES, axis=0)
        self._stretch = stretch
        self._costs = np.full(N_STATES, np.inf)
        self._costs[state] = 0.0
        self._k = np.zeros((N_STATES, n), dtype=np.int64)
        self._r = np.zeros((N_STATES, n), dtype=np.int64)

    def best(self) -> tuple[Integers, Integers, int]:
        last = int(np.argmin(self._costs))
        return self._k[last].copy(), self._r[last].copy(), last

    def advance(self, start: int, stop: int, spread: Floats, conditional: Floats) -> None:
        """Extend all paths over the weights from ``start`` to ``stop``."""
        size, step, price = stop - start, self._stretch.step, self._stretch.price
        near = self.far[:, start:stop] / step - self._stretch.offsets[start:stop]
        weights = conditional[start:stop] * step * step
        inner = spread[start:stop, start:stop]
        costs = self._costs
        k = np.empty((size, N_STATES), dtype=np.int64)
        r, made = np.empty_like(k), np.empty((size, N_STATES))
        origins = np.empty_like(k)
        bits = price.bits.ravel() * self._stretch.rate_weight
        last = 2 * price.largest
        for i in range(size):
            x = near[:, i]
            # Neighbours of the target on either side differ in their low bit.
            below = np.floor((x + _QUANTISERS * np.sign(x)) * 0.5).astype(np.int64)
            pair = below[:, None] + _NEIGHBOURS[below & 1]
            integers = 2 * pair - _QUANTISERS[:, None] * np.sign(pair)
            change = integers - x[:, None]
            index = np.minimum(np.maximum(pair + price.largest, 0), last) + (last + 1) * _QUANTISERS[:, None]
            into = (costs[:, None] + weights[i] * change * change + bits[index]).ravel()[_INTO]
            choice = into[:, 1] < into[:, 0]
            costs = np.where(choice, into[:, 1], into[:, 0])
            branches = np.where(choice, _INTO[:, 1], _INTO[:, 0])
            parents = branches >> 1
            origins[i], made[i] = parents, change.ravel()[branches]
            k[i], r[i] = pair.ravel()[branches], integers.ravel()[branches]
            near = near[parents]
            near[:, i + 1 :] += made[i, :, None] * inner[i, i + 1 :]
        # Back along each survivor, from the state in which it ends.
        paths = np.empty_like(origins)
        roots = _ALL
        for i in range(size - 1, -1, -1):
            paths[i], roots = roots, origins[i, roots]
        along = np.arange(size)[:, None], paths
        errors = made[along].T
        errors = errors * step
        self._costs = costs
        self._k, self._r, self.far = self._k[roots], self._r[roots], self.far[roots]
        self._k[:, start:stop], self._r[:, start:stop] = k[along].T, r[along].T
        self.far[:, stop:] += errors @ spread[start:stop, stop:]
