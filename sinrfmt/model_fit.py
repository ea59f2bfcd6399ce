"""Choice of a model for a list of values: what a list costs under a model, and the cheapest form of parameters.

Specification: clauses 10.1 and 10.2, from the encoder's side; nothing here is needed for decoding. Short forms are
compared one and all; a long form is searched from coarse to fine around them, with real-valued weights in place of the
integer ones, and its cost is then counted exactly.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sinrfmt.entropy import escape_bits, split_low_bits
from sinrfmt.models import (
    LOW_BITS_LIMIT,
    ONE,
    PROBABILITY_BITS,
    PROBABILITY_TOTAL,
    R_LIMIT,
    SHORT_R_LIMIT,
    TABLE_CODE_LIMIT,
    LongModel,
    Model,
    ModelParameters,
    ShortModel,
    TableModel,
    ZeroModel,
    mf8,
    short_model,
    short_scale_range,
)
from sinrfmt.registry import Law
from sinrfmt.trellis import low_bits, states_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Below this range of values counting is cheaper than sorting.
COUNTED_RANGE = 1 << 20
SEARCH_CODE_LIMIT = 160
"""Largest tb and rb tried: half of a ratio of 1."""
SEARCH_STEPS = (4, 2, 1)
SEARCH_RANGE_MEANS = 6
"""Range of the symbols in a search, in mean magnitudes; larger ones are escapes."""
TABLE_SIDE_LIMIT = 255
TABLE_WEIGHTS = np.array([(8 + (c & 7)) << (c >> 3) for c in range(TABLE_CODE_LIMIT + 1)])
_MF8 = np.array([mf8(c) for c in range(SEARCH_CODE_LIMIT + 1)]) / ONE


def values_cost_bits(values: ArrayLike, model: Model) -> float:
    """Information of a list of values under a model, with its low bits and escapes and without the model's parameters.

    Returns:
        bits; infinite when the model cannot hold one of the values.
    """
    return _model_cost(_Magnitudes.of(_Levels.of(values), model.b, one_sided=model.one_sided), model)


def trellis_cost_bits(values: ArrayLike, states: NDArray[np.uint8], model: Model) -> float:
    """As ``values_cost_bits``, of values whose trellis states choose between the two tables of a model (clause 9.4).

    Args:
        values: n integers.
        states: uint8[n].
        model: of the list.
    """
    return sum(
        _model_cost(_Magnitudes.of(levels, model.b), model, quantiser)
        for quantiser, levels in enumerate(_levels_by_quantiser(values, states))
    )


def fit_trellis_model(values: ArrayLike, bits: NDArray[np.uint8], n_lanes: int = 1) -> tuple[ModelParameters, float]:
    """Find the cheapest form of a model for a list of values that are coded along a trellis.

    Args:
        values: integers, each below 2^31 in magnitude.
        bits: uint8[n], the low bits that drive the states. No model is taken whose escapes would change them.
        n_lanes: of the stream.

    Returns:
        As for ``fit_model``.
    """
    v = np.asarray(values, dtype=np.int64).reshape(-1)
    if not v.any():
        return ZeroModel(), 0.0
    states = states_of(bits, n_lanes)
    parts = _levels_by_quantiser(v, states)
    candidates: list[tuple[float, ModelParameters]] = []
    likely = _low_bits_to_try(_Levels.of(v))
    for b in range(likely.start, LOW_BITS_LIMIT + 1):
        # With raw low bits no escape turns a state: where escapes rule out all that is likely, more of them are tried.
        if b >= likely.stop and candidates:
            break
        forms, costs = _short_costs(_Magnitudes.of(parts[0], b), 0)
        costs = costs + _short_costs(_Magnitudes.of(parts[1], b), 0 if b else 1)[1]
        order = np.argsort(costs, kind="stable")
        best = next((i for i in order if _keeps(forms[i], v, bits)), None)
        if best is not None:
            candidates.append((float(costs[best]) + ShortModel.parameter_bits, forms[best]))
    long = _long_for_trellis(v, bits, min((cost for cost, _ in candidates), default=math.inf))
    if long is not None:
        candidates.append((trellis_cost_bits(v, states, long.model()) + long.parameter_bits, long))
    cost, parameters = min(candidates, key=lambda candidate: candidate[0])
    return parameters, cost


def _levels_by_quantiser(values: ArrayLike, states: NDArray[np.uint8]) -> tuple["_Levels", "_Levels"]:
    v = np.asarray(values, dtype=np.int64).reshape(-1)
    odd = (states & 1).astype(bool)
    return _Levels.of(v[~odd]), _Levels.of(v[odd])


def _keeps(parameters: ModelParameters, values: Integers, bits: NDArray[np.uint8]) -> bool:
    """Whether the states under a model are those that the low bits give."""
    return np.array_equal(low_bits(values, parameters.model()), bits)


def _long_for_trellis(values: Integers, bits: NDArray[np.uint8], short_bits: float) -> LongModel | None:
    """A long form in the shape that suits the values without a trellis."""
    levels = _Levels.of(values)
    long = _fit_long(levels, _fit_short(levels)[0], short_bits)
    if long is None or _keeps(long, values, bits):
        return long
    largest = int(np.abs(split_low_bits(values, long.b)[0]).max())
    whole = replace(long, R=min(largest, R_LIMIT), esc=largest > R_LIMIT)
    return whole if _keeps(whole, values, bits) else None


def fit_one_sided(values: ArrayLike) -> tuple[ShortModel, float]:
    """Find the short form that is cheapest as a one-sided model, of those near the scale of the values.

    Args:
        values: integers, at least 0 and below 2^31.

    Returns:
        The parameters, and the bits of the values together with those of the parameters.
    """
    levels = _Levels.of(values)
    candidates = []
    for b in _low_bits_to_try(levels) if levels.values.size else range(1):
        magnitudes = _Magnitudes.of(levels, b, one_sided=True)
        forms = [ShortModel(law, q) for law in Law for q in short_scale_range(law, b)]
        costs = [_model_cost(magnitudes, replace(form.model(), one_sided=True)) for form in forms]
        best = int(np.argmin(costs))
        candidates.append((costs[best], forms[best]))
    bits, short = min(candidates, key=lambda candidate: candidate[0])
    return short, bits + short.parameter_bits


def fit_model(values: ArrayLike) -> tuple[ModelParameters, float]:
    """Find the cheapest form of a model for a list of values.

    Args:
        values: integers, each below 2^31 in magnitude.

    Returns:
        The parameters, and the bits of the values together with those of the parameters.
    """
    levels = _Levels.of(values)
    if not levels.values.any():
        return ZeroModel(), 0.0
    short, short_bits = _fit_short(levels)
    long = _fit_long(levels, short, short_bits)
    if long is None:
        return short, short_bits
    long_bits = _model_cost(_Magnitudes.of(levels, long.b), long.model()) + long.parameter_bits
    return (long, long_bits) if long_bits < short_bits else (short, short_bits)


TABLE_SHARE_LOW = 1e-5
"""Values beyond which less than this share of a list lies are escapes of its table."""


def fit_table(values: ArrayLike) -> TableModel:
    """A table of frequencies that follows a list of which not all values are 0 (GRD-7).

    The table reaches from the lowest to the highest value, or to where escapes are cheaper than symbols.
    """
    v = np.asarray(values, dtype=np.int64).reshape(-1)
    rare = max(1, int(v.size * TABLE_SHARE_LOW))
    ordered = np.sort(v)
    low = max(min(int(ordered[rare - 1]), 0), -TABLE_SIDE_LIMIT)
    high = min(max(int(ordered[-rare]), 0, low + 1), TABLE_SIDE_LIMIT)
    esc = bool(ordered[0] < low or ordered[-1] > high)
    counts = np.bincount(np.clip(v, low, high) - low, minlength=high - low + 1)
    return TableModel(tuple(_table_codes(counts)), -low, esc)


def _table_codes(counts: Integers) -> list[int]:
    """The nearest codes of weights in proportion to counts, the largest at the highest code."""
    weights = counts * (TABLE_WEIGHTS[-1] / counts.max())
    nearest = np.minimum(np.searchsorted(TABLE_WEIGHTS, weights), TABLE_CODE_LIMIT)
    below = np.maximum(nearest - 1, 0)
    codes = np.where(weights - TABLE_WEIGHTS[below] < TABLE_WEIGHTS[nearest] - weights, below, nearest)
    return [int(code) for code in codes]


def table_cost_bits(values: ArrayLike, model: TableModel) -> float:
    """Information of a list of values under a table of frequencies, without those of the table."""
    v = np.asarray(values, dtype=np.int64).reshape(-1)
    u = np.clip(v, model.lowest, model.highest)
    bits = PROBABILITY_BITS - np.log2(model.frequencies())
    counts = np.bincount(u - model.lowest, minlength=bits.size)
    escapes = np.abs(v - u)[(u == model.lowest) | (u == model.highest)]
    if not model.esc:
        return float(counts @ bits) if not escapes.any() else float("inf")
    return float(counts @ bits) + float(escape_bits(escapes).sum())


@dataclass(frozen=True)
class _Levels:
    """The different values of a list and how often each occurs."""

    values: Integers
    counts: Floats

    @classmethod
    def of(cls, values: ArrayLike) -> "_Levels":
        v = np.asarray(values, dtype=np.int64).reshape(-1)
        if v.size == 0:
            return cls(v, np.zeros(0))
        lowest = int(v.min())
        if int(v.max()) - lowest >= COUNTED_RANGE:
            distinct, counts = np.unique(v, return_counts=True)
            return cls(distinct, counts.astype(np.float64))
        counts = np.bincount(v - lowest)
        present = np.flatnonzero(counts)
        return cls(present + lowest, counts[present].astype(np.float64))


@dataclass(frozen=True)
class _Magnitudes:
    """Histogram of |u| after b low bits are split off.

    Attributes:
        b: number of low bits.
        counts: float64[R_LIMIT + 1], how many |u| of each magnitude up to R_LIMIT.
        tail, tail_counts: the magnitudes above R_LIMIT.
    """

    b: int
    counts: Floats
    tail: Integers
    tail_counts: Floats

    @classmethod
    def of(cls, levels: _Levels, b: int, *, one_sided: bool = False) -> "_Magnitudes":
        magnitudes = np.abs(split_low_bits(levels.values, b, one_sided=one_sided)[0])
        far = magnitudes > R_LIMIT
        counts = np.bincount(magnitudes[~far], levels.counts[~far], R_LIMIT + 1).astype(np.float64)
        return cls(b, counts, magnitudes[far], levels.counts[far])

    @property
    def n(self) -> float:
        return float(self.counts.sum() + self.tail_counts.sum())

    @property
    def largest(self) -> int:
        return int(self.tail.max()) if self.tail.size else int(np.flatnonzero(self.counts)[-1])

    def nonzero_mean(self) -> float:
        """Mean of the magnitudes that are not 0, up to R_LIMIT."""
        return float(self.counts @ np.arange(R_LIMIT + 1) / max(1.0, self.counts[1:].sum()))

    def clipped(self, R: int) -> Floats:
        """float64[R + 1]: counts with every magnitude above R counted as R."""
        head = self.counts[: R + 1].copy()
        head[R] += self.counts[R + 1 :].sum() + self.tail_counts.sum()
        return head

    def escape_bits(self, R: int) -> float:
        """Cost of the escapes when R is the largest symbol."""
        near = float(self.counts[R:] @ _ESCAPE_BITS[: R_LIMIT + 1 - R])
        return near + float(escape_bits(self.tail - R) @ self.tail_counts)


_ESCAPE_BITS = escape_bits(np.arange(R_LIMIT + 1))


def _model_cost(magnitudes: _Magnitudes, model: Model, quantiser: int = 0) -> float:
    if magnitudes.n == 0:
        return 0.0
    if not model.esc and magnitudes.largest > model.R:
        return float("inf")
    frequencies = model.frequency_tables()[1] if quantiser else model.frequencies()
    symbol_bits = PROBABILITY_BITS - np.log2(frequencies[-model.lowest :])
    escapes = magnitudes.escape_bits(model.R) if model.esc else 0.0
    return float(magnitudes.clipped(model.R) @ symbol_bits) + escapes + model.b * magnitudes.n


@dataclass(frozen=True)
class _Catalogue:
    """All short forms with the same number of low bits.

    Attributes:
        parameters: the G forms.
        R: int64[G].
        bits: float64[G, SHORT_R_LIMIT + 1], cost of every |u|, with its escape.
    """

    parameters: list[ShortModel]
    R: Integers
    bits: Floats


@lru_cache(maxsize=LOW_BITS_LIMIT + 2)
def _catalogue(b: int, quantiser: int) -> _Catalogue:
    parameters = [ShortModel(law, q) for law in Law for q in short_scale_range(law, b)]
    if b > 1:
        # The laws repeat from b = 1 on.
        return replace(_catalogue(1, 0), parameters=parameters)
    models = [p.model() for p in parameters]
    bits = np.empty((len(models), SHORT_R_LIMIT + 1))
    for row, model in zip(bits, models, strict=True):
        row[: model.R + 1] = PROBABILITY_BITS - np.log2(model.frequency_tables()[quantiser, model.R :])
        row[model.R :] = row[model.R] + _ESCAPE_BITS[: SHORT_R_LIMIT + 1 - model.R]
    return _Catalogue(parameters, np.array([m.R for m in models]), bits)


def _short_costs(magnitudes: _Magnitudes, quantiser: int = 0) -> tuple[list[ShortModel], Floats]:
    catalogue = _catalogue(magnitudes.b, quantiser)
    costs = catalogue.bits @ magnitudes.counts[: SHORT_R_LIMIT + 1] + magnitudes.b * magnitudes.n
    beyond = np.flatnonzero(magnitudes.counts[SHORT_R_LIMIT + 1 :]) + SHORT_R_LIMIT + 1
    far = np.concatenate([beyond, magnitudes.tail])
    if far.size:
        far_counts = np.concatenate([magnitudes.counts[beyond], magnitudes.tail_counts])
        last = catalogue.bits[np.arange(catalogue.R.size), catalogue.R] - _ESCAPE_BITS[0]
        costs += last * far_counts.sum() + escape_bits(far - catalogue.R[:, None]) @ far_counts
    return catalogue.parameters, costs


def _low_bits_to_try(levels: _Levels) -> range:
    """From the median magnitude, which outliers do not move, to the mean, which they do."""
    magnitudes = np.abs(levels.values)
    order = np.argsort(magnitudes)
    half = np.searchsorted(np.cumsum(levels.counts[order]), levels.counts.sum() / 2)
    median = int(magnitudes[order[half]])
    mean = int(magnitudes @ levels.counts / levels.counts.sum())
    # A scale of 8 to 16 after the split, the range of the laws.
    least, most = median.bit_length() - 5, mean.bit_length() - 3
    return range(min(max(least, 0), LOW_BITS_LIMIT), min(max(most, 0), LOW_BITS_LIMIT) + 1)


def _fit_short(levels: _Levels) -> tuple[ShortModel, float]:
    candidates = []
    for b in _low_bits_to_try(levels):
        parameters, costs = _short_costs(_Magnitudes.of(levels, b))
        best = int(np.argmin(costs))
        candidates.append((float(costs[best]), parameters[best]))
    bits, short = min(candidates, key=lambda candidate: candidate[0])
    return short, bits + short.parameter_bits


def _fit_long(levels: _Levels, short: ShortModel, short_bits: float) -> LongModel | None:
    """Search a long form; None where a model that fits perfectly would not pay for the parameters."""
    start = short_model(short.law, short.q)
    magnitudes = _Magnitudes.of(levels, start.b)
    if _entropy_bits(magnitudes) + LongModel.parameter_bits >= short_bits:
        return None
    R = max(start.R, math.ceil(SEARCH_RANGE_MEANS * magnitudes.nonzero_mean()))
    return _choose_range(magnitudes, _search_shape(magnitudes.clipped(min(R, magnitudes.largest, R_LIMIT))))


def _entropy_bits(magnitudes: _Magnitudes) -> float:
    """Estimate of what the best symmetric model costs: the entropy of the counts, corrected for its bias.

    Source: Miller, "Note on the bias of information estimates", 1955.
    """
    counts = magnitudes.counts
    present = counts[counts > 0]
    signs = float(counts[1:].sum())
    bias = (present.size - 1) / (2 * math.log(2))
    return float(present @ np.log2(present.sum() / present)) + bias + signs + magnitudes.b * magnitudes.n


@dataclass(frozen=True)
class _Shape:
    """Parameters that set the weights, and the share of the zero."""

    tb: int
    rb: int
    heavy: bool
    p0: int


def _log_weights(tb: Integers, rb: Integers, heavy: bool, R: int) -> Floats:
    """Natural logarithms of g[0 … R] / g[0] for G shapes, float64[G, R + 1], without the integer rounding."""
    k = np.arange(R + 1)
    a, drift = _MF8[tb][:, None], np.log1p(-_MF8[rb])[:, None]
    if not heavy:
        return np.log1p(-a) * k + drift * (k * (k - 1) / 2)
    ratios = np.log1p(-a * np.exp(drift * k[:-1]))
    return np.concatenate([np.zeros_like(a), np.cumsum(ratios, axis=1)], axis=1)


def _symbol_bits(g: Floats, p0: int) -> Floats:
    """Cost of |u| = 0 … R under weights g, float64[..., R + 1] both (clause 10.2 without the rounding)."""
    avail = PROBABILITY_TOTAL - (2 * g.shape[-1] - 1)
    z = avail * p0 // 256
    u = g.copy()
    if p0:
        u[..., 0] = 0
    total = np.maximum(2 * u[..., 1:].sum(axis=-1, keepdims=True) + u[..., :1], 1e-9)
    f = 1 + u * ((avail - z) / total)
    f[..., 0] += z
    bits: Floats = PROBABILITY_BITS - np.log2(f)
    return bits


def _search_shape(counts: Floats) -> _Shape:
    """Find the cheapest shape for counts of |u|, from coarse to fine."""
    zero_share = min(255, round(256 * counts[0] / counts.sum()))
    scale = 1 / max(1.0, float(counts @ np.arange(counts.size)) / max(1.0, counts[1:].sum()))
    grids = [
        (*_grid(_octaves(scale), _octaves(scale * scale)), False),
        (*_grid(_octaves(scale), _octaves(scale)), True),
    ]
    best_cost, best = np.inf, _Shape(0, 0, False, 0)
    for step in (0, *SEARCH_STEPS):
        if step:
            grids = [(*_neighbours(best, step), best.heavy)]
        for tb, rb, heavy in grids:
            g = np.exp(_log_weights(tb, rb, heavy, counts.size - 1))
            for p0 in {0, zero_share}:
                costs = _symbol_bits(g, p0) @ counts
                i = int(np.argmin(costs))
                if costs[i] < best_cost:
                    best_cost, best = costs[i], _Shape(int(tb[i]), int(rb[i]), heavy, p0)
    return best


def _octaves(fraction: float) -> Integers:
    """Codes of mf8 from 1/16 to 8 times a fraction, a factor of 2 apart, and code 0."""
    centre = round(math.log2(fraction)) + 21
    return np.unique(np.append(8 * np.arange(centre - 4, centre + 4).clip(0, SEARCH_CODE_LIMIT // 8), 0))


def _grid(tb: Integers, rb: Integers) -> tuple[Integers, Integers]:
    columns, rows = np.meshgrid(tb, rb)
    return columns.ravel(), rows.ravel()


def _neighbours(centre: _Shape, step: int) -> tuple[Integers, Integers]:
    offsets = np.arange(-2, 3) * step
    return _grid(*((code + offsets).clip(0, SEARCH_CODE_LIMIT) for code in (centre.tb, centre.rb)))


def _choose_range(magnitudes: _Magnitudes, shape: _Shape) -> LongModel:
    """Give a shape the range R, with or without escapes, that makes it cheapest."""
    largest = min(magnitudes.largest, R_LIMIT)
    ranges = {max(1, round(largest * share)) for share in np.geomspace(1, 1 / 16, 13)}
    g = np.exp(_log_weights(np.array([shape.tb]), np.array([shape.rb]), shape.heavy, largest))[0]
    candidates = [
        (float(_symbol_bits(g[: R + 1], shape.p0) @ magnitudes.clipped(R)) + magnitudes.escape_bits(R), R, True)
        for R in ranges
    ]
    if magnitudes.largest == largest:
        candidates.append((float(_symbol_bits(g, shape.p0) @ magnitudes.clipped(largest)), largest, False))
    _, R, esc = min(candidates)
    return LongModel(R, shape.p0, shape.tb, shape.rb, shape.heavy, magnitudes.b, esc)
