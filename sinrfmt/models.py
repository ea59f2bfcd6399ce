"""Model GL: the integer symbol models of the entropy coder and the forms in which a file gives their parameters.

Specification: clauses 9.5, 9.6.3 and 10.2. Symbols keep its names (R, p0, theta, rho, heavy, b, esc, tb, rb, q).
Everything here is exact integer arithmetic: encoder and decoder on any machine build the same frequencies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sinrfmt.registry import LatentForm, Law, ModelForm

PROBABILITY_BITS = 14
PROBABILITY_TOTAL = 1 << PROBABILITY_BITS
ONE = 1 << 24
"""Fixed-point one of theta and rho."""
WEIGHT_START = 1 << 28
"""g[0]."""
MF8_LIMIT = 168
R_LIMIT = 1023
SHORT_R_LIMIT = 255
LOW_BITS_LIMIT = 14


class StreamFault(ValueError):  # noqa: N818 - not an error of the library: the caller makes one of it
    """Coded data break a rule of clause 10.

    The caller knows where the data stand in the file and turns this into an error with a code and an offset.

    Attributes:
        name: name of the error in the registry (``BAD_STREAM``, ``BAD_MODEL``, ``ACC_OVERFLOW``).
    """

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)


def mf8(c: int) -> int:
    """Expand an 8-bit floating-point code, 0 to 168, to a 24-bit fraction (clause 10.2)."""
    return min((8 + (c & 7)) << (c >> 3), ONE) if c else 0


def weights(theta: int, rho: int, heavy: bool) -> Iterator[int]:
    """Yield g[0], g[1], … of the recurrence of clause 10.2 without end."""
    t = WEIGHT_START
    while True:
        yield t
        t = (t * theta) >> 24
        theta = ONE - (((ONE - theta) * rho) >> 24) if heavy else (theta * rho) >> 24


@dataclass(frozen=True)
class Model:
    """A symbol model with its number of raw low bits and its escape rule.

    Attributes:
        R: largest magnitude of a symbol.
        p0: share of the zero symbol in 1/256, or 0 when it follows the recurrence.
        theta, rho: ratio of neighbouring weights and its drift, 1 = 2^24.
        heavy: the ratio drifts towards 1 instead of towards 0.
        b: number of raw low bits of a value.
        esc: a symbol of magnitude R is followed by an escape.
        one_sided: symbols are 0 to R, for values that are not negative (clause 9.5).
    """

    R: int
    p0: int
    theta: int
    rho: int
    heavy: bool
    b: int
    esc: bool
    one_sided: bool = False

    @property
    def lowest(self) -> int:
        """The first symbol: -R, or 0."""
        return 0 if self.one_sided else -self.R

    @property
    def highest(self) -> int:
        """The last symbol."""
        return self.R

    def frequencies(self) -> NDArray[np.int64]:
        """Frequencies of the symbols -R to R or, one-sided, 0 to R, read-only.

        Returns:
            int64[2 R + 1] or int64[R + 1], every entry >= 1, sum 2^14.
        """
        return _frequencies(self.R, self.p0, self.theta, self.rho, self.heavy, self.one_sided)


# A bound keeps hostile files from filling memory: 32 tables of at most 16 kB.
@lru_cache(maxsize=32)
def _frequencies(R: int, p0: int, theta: int, rho: int, heavy: bool, one_sided: bool) -> NDArray[np.int64]:
    g = np.fromiter(weights(theta, rho, heavy), dtype=np.int64, count=R + 1)
    f = frequencies_of_weights(g, p0, one_sided=one_sided)
    f.flags.writeable = False
    return f


def frequencies_of_weights(g: NDArray[np.int64], p0: int, *, one_sided: bool = False) -> NDArray[np.int64]:
    """Turn weights g[0 … R] into frequencies of the symbols -R to R (clause 10.2) or 0 to R (clause 9.5).

    Args:
        g: int64[R + 1]; not changed.
        p0: share of the zero symbol in 1/256, or 0.
        one_sided: whether the symbols start at 0.

    Returns:
        int64[2 R + 1] or int64[R + 1], sum 2^14.
    """
    u = g.copy() if one_sided else np.concatenate([g[:0:-1], g])
    zero = u.size - g.size
    avail = PROBABILITY_TOTAL - u.size
    z = (avail * p0) >> 8
    avail -= z
    if p0:
        u[zero] = 0
    f = 1 + (u * avail) // max(1, int(u.sum()))
    f[zero] += z
    f[zero] += PROBABILITY_TOTAL - int(f.sum())
    return f


def bitmap_symbols(ones: NDArray[np.int32], n_slots: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The binary symbols of a bitmap whose number of ones is known (clause 9.5, support 0).

    Args:
        ones: int32[s], the slots that hold a one, strictly ascending.
        n_slots: slots of the bitmap.

    Returns:
        int64[n] frequencies and int64[n] cumulative frequencies of the n symbols that are coded, n <= n_slots.
    """
    is_one = np.zeros(n_slots, dtype=np.int64)
    is_one[ones] = 1
    rem = ones.size - np.cumsum(is_one) + is_one
    left = n_slots - np.arange(n_slots)
    coded = (rem > 0) & (rem < left)
    is_one, rem, left = is_one[coded], rem[coded], left[coded]
    f1 = ((rem << PROBABILITY_BITS) + (left >> 1)) // left
    zero = PROBABILITY_TOTAL - np.clip(f1, 1, PROBABILITY_TOTAL - 1)
    return np.where(is_one, PROBABILITY_TOTAL - zero, zero), zero * is_one


TABLE_CODE_LIMIT = 127


@dataclass(frozen=True)
class TableModel:
    """Form TABLE of latents (GRD-7): a frequency for each symbol from ``-below`` on, by its code 0 to 127."""

    codes: tuple[int, ...]
    below: int
    esc: bool
    form: ClassVar[LatentForm] = LatentForm.TABLE
    b: ClassVar[int] = 0
    one_sided: ClassVar[bool] = False

    @property
    def lowest(self) -> int:
        return -self.below

    @property
    def highest(self) -> int:
        return len(self.codes) - 1 - self.below

    def model(self) -> "TableModel":
        """Itself: a table has nothing to expand but its frequencies."""
        return self

    def frequencies(self) -> NDArray[np.int64]:
        """Frequencies of the symbols, int64[K], every entry >= 1, sum 2^14."""
        codes = np.array(self.codes, dtype=np.int64)
        weights = np.left_shift(8 + (codes & 7), codes >> 3)
        f: NDArray[np.int64] = 1 + weights * (PROBABILITY_TOTAL - codes.size) // weights.sum()
        f[f.argmax()] += PROBABILITY_TOTAL - f.sum()
        return f


SymbolModel = Model | TableModel
"""What a list of values can be coded with."""


@dataclass(frozen=True)
class RowTable:
    """Many models side by side, for runs in which every symbol has its own (clause 10.6).

    The symbols of all rows are numbered through. A symbol of row r is found by ``r << 14 | slot``.

    Attributes:
        ends: int32[S], r << 14 + the cumulative frequency of a symbol and those before it; ascending.
        frequencies: int32[S].
        offsets: int32[S], r << 14 + the cumulative frequency of those before it.
        firsts: int32[rows + 1], number of the first symbol of a row.
        centres: int32[rows], number of a row's symbol 0.
    """

    ends: NDArray[np.int32]
    frequencies: NDArray[np.int32]
    offsets: NDArray[np.int32]
    firsts: NDArray[np.int32]
    centres: NDArray[np.int32]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, NDArray[np.int64]]]) -> "RowTable":
        """Rows of (number of symbols below 0, frequencies that sum to 2^14)."""
        sizes = [f.size for _, f in rows]
        frequencies = np.concatenate([f for _, f in rows]).astype(np.int32)
        ends = np.cumsum(frequencies, dtype=np.int32)  # every row sums to 2^14
        firsts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        centres = firsts[:-1] + np.array([below for below, _ in rows], dtype=np.int32)
        return cls(ends, frequencies, ends - frequencies, firsts, centres)


@dataclass(frozen=True)
class ZeroModel:
    """Form ZERO: every value is 0 and nothing is coded."""

    form: ClassVar[ModelForm] = ModelForm.ZERO
    parameter_bits: ClassVar[int] = 0

    def model(self) -> Model:
        """The model of one symbol; coding any number of its symbols leaves a stream unchanged."""
        return Model(R=0, p0=0, theta=0, rho=0, heavy=False, b=0, esc=False)


@dataclass(frozen=True)
class ShortModel:
    """Form SHORT: a law and a scale (ENT-3)."""

    form: ClassVar[ModelForm] = ModelForm.SHORT
    parameter_bits: ClassVar[int] = 10

    law: int
    q: int

    def model(self) -> Model:
        """Expand the parameters.

        Raises:
            StreamFault: BAD_MODEL for a scale out of range.
        """
        return short_model(self.law, self.q)


@dataclass(frozen=True)
class LongModel:
    """Form LONG: every parameter of a model (ENT-2)."""

    form: ClassVar[ModelForm] = ModelForm.LONG
    parameter_bits: ClassVar[int] = 40

    R: int
    p0: int
    tb: int
    rb: int
    heavy: bool
    b: int
    esc: bool

    def model(self) -> Model:
        """Expand the parameters.

        Raises:
            StreamFault: BAD_MODEL for parameters out of range.
        """
        return long_model(self.R, self.p0, self.tb, self.rb, self.heavy, self.b, self.esc)


ModelParameters = ZeroModel | ShortModel | LongModel


@dataclass(frozen=True)
class ContextForm:
    """Form CONTEXT of latents: the context network gives the models (clause 10.6)."""

    form: ClassVar[LatentForm] = LatentForm.CONTEXT


LatentParameters = ModelParameters | TableModel | ContextForm


def long_model(R: int, p0: int, tb: int, rb: int, heavy: bool, b: int, esc: bool) -> Model:
    """Make the model of a long form (ENT-2).

    Raises:
        StreamFault: BAD_MODEL for parameters out of range.
    """
    if not (0 <= R <= R_LIMIT and 0 <= p0 <= 255):
        raise StreamFault("BAD_MODEL", f"R = {R}, p0 = {p0} is out of range")
    if not (0 <= tb <= MF8_LIMIT and 0 <= rb <= MF8_LIMIT):
        raise StreamFault("BAD_MODEL", f"tb = {tb}, rb = {rb}: expected at most {MF8_LIMIT}")
    if not 0 <= b <= LOW_BITS_LIMIT:
        raise StreamFault("BAD_MODEL", f"b = {b}: expected at most {LOW_BITS_LIMIT}")
    if esc and R == 0:
        raise StreamFault("BAD_MODEL", "an escape needs R > 0")
    return Model(R, p0, theta=ONE - mf8(tb), rho=ONE - mf8(rb), heavy=bool(heavy), b=b, esc=bool(esc))


@dataclass(frozen=True)
class _LawRule:
    """How a law turns its scale q into b, tb and R (ENT-3).

    Attributes:
        b0: first scale with a raw low bit.
        tb0: tb at that scale and at every eighth scale above.
        d: decrease of tb a scale.
        cut: R is the first magnitude with a weight below this.
    """

    b0: int
    tb0: int
    d: int
    cut: int


_LAW_RULES = {
    Law.LAPLACE: _LawRule(b0=32, tb0=144, d=1, cut=1 << 17),
    Law.GAUSS: _LawRule(b0=40, tb0=104, d=2, cut=1 << 17),
    # Half of the weight at 0: a flat top whose tail is left to the escapes.
    Law.FLAT: _LawRule(b0=40, tb0=104, d=2, cut=1 << 27),
    Law.HEAVY: _LawRule(b0=32, tb0=144, d=1, cut=1 << 17),
}


def short_scale_range(law: int, b: int) -> range:
    """The scales q of a law that leave b low bits raw."""
    b0 = _LAW_RULES[Law(law)].b0
    return range(b0) if b == 0 else range(b0 + 8 * (b - 1), b0 + 8 * b)


def _law_rho(law: Law, theta: int) -> int:
    match law:
        case Law.LAPLACE:
            return ONE
        case Law.GAUSS | Law.FLAT:
            return (theta * theta) >> 24
        case Law.HEAVY:
            return ONE - ((ONE - theta) >> 3)


@lru_cache(maxsize=1024)
def short_model(law: int, q: int) -> Model:
    """Make the model of a short form (ENT-3).

    Raises:
        StreamFault: BAD_MODEL for a scale or law out of range.
    """
    if not (0 <= law <= max(Law) and 0 <= q <= 255):
        raise StreamFault("BAD_MODEL", f"law = {law}, q = {q} is out of range")
    rule = _LAW_RULES[Law(law)]
    b, tb = 0, MF8_LIMIT - rule.d * q
    if q >= rule.b0:
        octave, eighth = divmod(q - rule.b0, 8)
        b, tb = 1 + octave, rule.tb0 - rule.d * eighth
    if b > LOW_BITS_LIMIT:
        raise StreamFault("BAD_MODEL", f"law = {law}, q = {q} needs {b} low bits, more than {LOW_BITS_LIMIT}")
    theta = ONE - mf8(tb)
    rho = _law_rho(Law(law), theta)
    heavy = law == Law.HEAVY
    tail = enumerate(islice(weights(theta, rho, heavy), SHORT_R_LIMIT))
    R = next((k for k, g in tail if k and g < rule.cut), SHORT_R_LIMIT)
    return Model(R, p0=0, theta=theta, rho=rho, heavy=heavy, b=b, esc=True)
