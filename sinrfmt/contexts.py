"""Context coding: latents of a pyramid's level, each under a model that a small integer network predicts.

Specification: clause 10.6. All arithmetic is exact: matrices hold integers times powers of two in float64, every
sum stays below 2^53, and rounding is floor. Sites are handled in blocks, so that memory grows with the latents only.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sinrfmt.entropy import ESCAPE_LIMIT, decode_escapes, encode_escapes, escape_bits
from sinrfmt.models import PROBABILITY_BITS, PROBABILITY_TOTAL, RowTable
from sinrfmt.rans import StreamDecoder, StreamEncoder
from sinrfmt.registry import ContextId

DECAY = (  # 2^24 exp(-1/(16 b)), rounded, b = exp(scale/8 - 4)
    *(553019, 825805, 1176394, 1607575, 2117648, 2700681, 3347205, 4045189),
    *(4781124, 5541043, 6311398, 7079731, 7835118, 8568421, 9272363, 9941478),
    *(10571966, 11161502, 11709016, 12214461, 12678609, 13102846, 13489011, 13839243),
    *(14155867, 14441299, 14697968, 14928265, 15134497, 15318861, 15483426, 15630123),
    *(15760736, 15876908, 15980140, 16071800, 16153126, 16225238, 16289144, 16345750),
    *(16395867, 16440224, 16479468, 16514178, 16544871, 16572005, 16595987, 16617180),
    *(16635905, 16652448, 16667060, 16679966, 16691364, 16701429, 16710317, 16718164),
    *(16725092, 16731208, 16736608, 16741374, 16745582, 16749296, 16752574, 16755468),
)
FRACTIONS = range(-8, 8)
SYMBOLS_ASIDE_LIMIT = 127
TAIL_END = 1 << 16
ACC_LIMIT = 1 << 11
"""Bound of the integers of a context tensor (GRD-8)."""
INPUT_LIMIT = 63
ACTIVATION_LIMIT = 16383
MEAN_LIMIT = 16384
# Sites of which the network is evaluated at a time: a few hundred bytes each.
BLOCK = 1 << 12

Integers = NDArray[np.int32]
Floats = NDArray[np.float64]

N_STRIDES = 4
"""Groups of phases: the base, then the strides 4, 2, 1."""


def _offsets(*pairs: tuple[int, int]) -> Integers:
    return np.array(pairs, dtype=np.int32).reshape(-1, 2)


_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_DIRECT = ((-1, 0), (0, -1), (0, 1), (1, 0))
NEAR = (  # by kind of phase: neighbours in units of the stride, columns of the matrices
    (_offsets(), slice(0, 0)),
    (_offsets(*_DIAGONAL), slice(0, 4)),
    (_offsets(*_DIRECT), slice(4, 8)),
    (_offsets(*_DIRECT, *_DIAGONAL), slice(8, 16)),
)
_PARENTS = _offsets(*((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)))
CAUSAL = _offsets(*((i, j) for i in (-2, -1) for j in range(-2, 3)), (0, -2), (0, -1))


# --- models ----------------------------------------------------------------------------------------------------------


def row_frequencies(scale: int, fraction: int, tails: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
    """Number of symbols below 0, and the frequencies of all symbols, of one model.

    Args:
        scale: 0 to 63.
        fraction: -8 to 7, of the mean in 1/16.
        tails: int64[2033], t[j] of the scale.
    """
    below, above = (_side(tails, sign * fraction) for sign in (1, -1))
    weights = np.concatenate([below[::-1], [(1 << 29) - below.sum() - above.sum()], above])
    frequencies = 1 + (weights * (PROBABILITY_TOTAL - weights.size) >> 29)
    frequencies[below.size] += PROBABILITY_TOTAL - frequencies.sum()
    return below.size, frequencies


def _side(tails: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """Weights of the symbols 1, 2, … away from the centre on one side; the last one has the rest of the tail."""
    edges = tails[8 + shift :: 16][:SYMBOLS_ASIDE_LIMIT]
    few = np.flatnonzero(edges < TAIL_END)
    n = int(few[0]) + 1 if few.size else SYMBOLS_ASIDE_LIMIT
    weights: NDArray[np.int64] = edges[:n] - np.append(edges[1:n], 0)
    return weights


@lru_cache(maxsize=1)
def row_table() -> RowTable:
    """The models of all scales and fractions: row 16 scale + fraction + 8."""
    decay = np.array(DECAY, dtype=np.int64)
    tails = np.empty((16 * SYMBOLS_ASIDE_LIMIT + 1, decay.size), dtype=np.int64)
    tails[0] = 1 << 28
    for j in range(1, len(tails)):
        tails[j] = tails[j - 1] * decay >> 24
    return RowTable.of([row_frequencies(s, f, tails[:, s]) for s in range(decay.size) for f in FRACTIONS])


# --- the network -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContextTensor:
    """Integers of a context tensor, int32 (rows, columns), in units of 2^-q."""

    acc: Integers
    q: int

    def matrix(self, unit_bits: int) -> Floats:
        """float64 (rows, columns): what gives sums in units of 2^-8 from inputs in units of 2^-(8 - unit_bits)."""
        return np.ldexp(self.acc.astype(np.float64), unit_bits - self.q)


class ContextNetwork:
    """The context network of a file, ready to evaluate.

    Args:
        tensors: name without ``context.`` to its integers.
    """

    def __init__(self, tensors: Mapping[str, ContextTensor]) -> None:
        self.coarse = tensors["coarse"].matrix(8)
        self.near = tensors["near"].matrix(8)
        self.phase = np.floor(tensors["phase"].matrix(8))
        hidden = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
        self.hidden = [
            (tensors[f"{name}.weight"].matrix(0), np.floor(tensors[f"{name}.bias"].matrix(8)).T) for name in hidden
        ]
        self.output = tensors["output"].matrix(0)
        linear = tensors["linear"].matrix(8)
        self.linear_coarse = linear[:, : self.coarse.shape[1]]
        self.linear_near = linear[:, self.coarse.shape[1] :]
        self.offset = np.floor(tensors["offset"].matrix(8))

    def from_coarse(self, x: Floats, phase: int) -> tuple[Floats, Floats]:
        """What the coarser levels give: first-layer sums (w, n) with the bias of the phase, linear sums (2, n)."""
        first = np.floor(self.coarse @ x)
        first += self.phase[phase][:, None]
        return first, self.linear_coarse @ x

    def rows(
        self, first: Floats, linear: Floats, near: Floats, columns: slice, offset: Floats
    ) -> tuple[Integers, Integers]:
        """Rows of :func:`row_table` and centres, int32[n] each, of n sites.

        Args:
            first, linear: of :meth:`from_coarse`; not changed.
            near: float64[k, n], latents around the sites.
            columns: theirs in the matrices.
            offset: float64[2, 1], of level and stride.
        """
        h = first
        out = linear
        if len(near):
            h = self.near[:, columns] @ near
            np.floor(h, out=h)
            h += first
            out = self.linear_near[:, columns] @ near
            out += linear
        h = np.maximum(h, 0)
        np.minimum(h, ACTIVATION_LIMIT, out=h)
        for weight, bias in self.hidden:
            r = weight @ h
            np.floor(r, out=r)
            r += h
            r += bias
            np.maximum(r, 0, out=r)
            h = np.minimum(r, ACTIVATION_LIMIT, out=r)
        out = np.floor(out)
        out += np.floor(self.output @ h)
        out += offset
        return _rows_of(out.astype(np.int32))


def _rows_of(out: Integers) -> tuple[Integers, Integers]:
    mean = np.minimum(np.maximum(out[0], -MEAN_LIMIT), MEAN_LIMIT - 1)
    mean += 8
    mean >>= 4
    mean += 8
    centre = mean >> 4
    scale = out[1] + 16
    scale >>= 5
    scale += 32
    np.maximum(scale, 0, out=scale)
    np.minimum(scale, len(DECAY) - 1, out=scale)
    scale <<= 4
    scale += mean & 15  # mean is 8 larger here: this is fraction + 8
    return scale, centre


# --- sites -----------------------------------------------------------------------------------------------------------


def clipped(latents: Integers) -> NDArray[np.int8]:
    """Latents as inputs of the network."""
    return np.clip(latents, -INPUT_LIMIT, INPUT_LIMIT).astype(np.int8)


@dataclass(frozen=True)
class Plane:
    """Latents of a level as inputs: int8, clipped, C order, and one 0 behind them for everything outside.

    ``shape`` is (planes, height, width).
    """

    shape: tuple[int, int, int]
    values: NDArray[np.int8]

    @classmethod
    def of(cls, latents: Integers, shape: Sequence[int]) -> "Plane":
        """Of a level's latents; the axes before the last two are those of the planes."""
        height, width = shape[-2:]
        values = np.zeros(latents.size + 1, dtype=np.int8)
        values[:-1] = clipped(latents).reshape(-1)
        return cls((latents.size // (height * width), height, width), values)

    def places(self, p: Integers, y: Integers, x: Integers) -> Integers:
        """Places of sites in ``values``; of those outside the place of the 0."""
        _, height, width = self.shape
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        place: Integers = (p * np.int32(height) + y) * np.int32(width) + x
        return np.where(inside, place, np.int32(self.values.size - 1))


@dataclass(frozen=True)
class Sites:
    """Plane, row and column of some sites, int32[n] each."""

    p: Integers
    y: Integers
    x: Integers

    def neighbours(self, offsets: Integers) -> "Sites":
        """int32[k, n]: the sites at int32[k, 2] offsets (dy, dx)."""
        return Sites(self.p, self.y + offsets[:, :1], self.x + offsets[:, 1:])

    def parents(self) -> "Sites":
        """int32[9, n]: the parents in the next coarser level; mirrored: the last ones are on the child's side."""
        side_y, side_x = 2 * (self.y & 1) - 1, 2 * (self.x & 1) - 1
        return Sites(self.p, (self.y >> 1) + _PARENTS[:, :1] * side_y, (self.x >> 1) + _PARENTS[:, 1:] * side_x)

    def ancestors(self, generations: int) -> "Sites":
        """The one site of a coarser level that each is in."""
        return Sites(self.p, self.y >> generations, self.x >> generations)


@dataclass(frozen=True)
class _Phase:
    """What the runs of a phase share: number, neighbours int32[k, 2] and their columns, offset float64[2, 1]."""

    number: int
    neighbours: Integers
    columns: slice
    offset: Floats


@dataclass(frozen=True)
class Run:
    """Sites of one run in order: their rows and centres, and their places in the level (C order), int32[n] each."""

    rows: Integers
    centres: Integers
    places: Integers


class LevelContext:
    """Forms the runs of a level one after the other, each from the latents that ``own`` holds by then.

    Args:
        network: the context network.
        context: INTERLACED or SERIAL.
        level: number of the level.
        own: the level; zeros, or what is known of it.
        coarser: the levels 1, 2 and 3 below, None where there is none.
    """

    def __init__(
        self, network: ContextNetwork, context: ContextId, level: int, own: Plane, coarser: Sequence[Plane | None]
    ) -> None:
        self._network = network
        self._context = context
        self._level = level
        self._own = own
        self._coarser = coarser

    def runs(self) -> Iterator[Run]:
        """The runs that are not empty. What a run holds is to be in ``own`` before the next one is asked for."""
        return self._interlaced() if self._context is ContextId.INTERLACED else self._serial()

    def _interlaced(self) -> Iterator[Run]:
        n_planes, height, width = self._own.shape
        offsets = self._network.offset
        strides = offsets[-N_STRIDES:]
        for number, (kind, y0, x0, step, stride) in enumerate(interlaced_cosets()):
            n_y, n_x = len(range(y0, height, step)), len(range(x0, width, step))
            neighbours, columns = NEAR[kind]
            offset = offsets[self._level] + strides[group_of(number)]
            phase = _Phase(number, neighbours * np.int32(stride), columns, offset[:, None])
            pieces = []
            for k in _blocks(n_planes * n_y * n_x):
                row, column = k // n_x, k % n_x
                sites = Sites(row // n_y, y0 + step * (row % n_y), x0 + step * column)
                pieces.append(self._piece(phase, sites))
            if pieces:
                yield _joined(pieces)

    def _serial(self) -> Iterator[Run]:
        phase = _Phase(0, CAUSAL, slice(0, len(CAUSAL)), self._network.offset[self._level][:, None])
        for waves in self._batches():
            if len(waves) == 1:
                yield _joined([self._piece(phase, _wave_sites(waves, k)) for k in _blocks(waves[0].n)])
            else:
                yield from self._wave_runs(phase, waves)

    def _batches(self) -> Iterator[list["_Wave"]]:
        """The wavefronts that have sites, in order, in groups of at most BLOCK sites or of one wavefront."""
        n_planes, height, width = self._own.shape
        batch: list[_Wave] = []
        total = 0
        for t in range(width + 3 * (height - 1)):
            first = max(0, (t - width + 3) // 3)
            n_y = min(height - 1, t // 3) - first + 1
            if n_y < 1:
                continue
            wave = _Wave(t, first, n_y, n_y * n_planes)
            if batch and total + wave.n > BLOCK:
                yield batch
                batch, total = [], 0
            batch.append(wave)
            total += wave.n
        yield batch

    def _wave_runs(self, phase: _Phase, waves: list["_Wave"]) -> Iterator[Run]:
        """The runs of several wavefronts; what the coarser levels give is formed for all of them at once."""
        counts = np.array([wave.n for wave in waves])
        ends = np.cumsum(counts)
        k = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        sites = _wave_sites(waves, k.astype(np.int32))
        first, linear = self._network.from_coarse(self._coarse_inputs(sites), phase.number)
        near = self._own.places(*_parts(sites.neighbours(phase.neighbours)))
        places = self._own.places(*_parts(sites))
        start = 0
        for end in ends.tolist():
            run = slice(start, end)
            values = self._own.values.take(near[:, run]).astype(np.float64)
            yield Run(
                *self._network.rows(first[:, run], linear[:, run], values, phase.columns, phase.offset), places[run]
            )
            start = end

    def _piece(self, phase: _Phase, sites: Sites) -> Run:
        first, linear = self._network.from_coarse(self._coarse_inputs(sites), phase.number)
        near = self._own.values.take(self._own.places(*_parts(sites.neighbours(phase.neighbours)))).astype(np.float64)
        rows, centres = self._network.rows(first, linear, near, phase.columns, phase.offset)
        return Run(rows, centres, self._own.places(*_parts(sites)))

    def _coarse_inputs(self, sites: Sites) -> Floats:
        """float64[11, n]."""
        x = np.zeros((len(_PARENTS) + 2, sites.y.size))
        rows = (slice(0, 9), slice(9, 10), slice(10, 11))
        for row, plane, generations in zip(rows, self._coarser, (1, 2, 3), strict=True):
            if plane is not None:
                ancestors = sites.parents() if generations == 1 else sites.ancestors(generations)
                x[row] = plane.values.take(plane.places(*_parts(ancestors)))
        return x


@dataclass(frozen=True)
class _Wave:
    """Wavefront t of a level: in every plane the sites (y, t - 3 y) of n_y rows from ``first`` on; n in all planes."""

    t: int
    first: int
    n_y: int
    n: int


def _wave_sites(waves: Sequence[_Wave], k: Integers) -> Sites:
    """Sites k of one wavefront, or sites k of their wavefronts for the sites of all."""
    counts = [wave.n for wave in waves] if len(waves) > 1 else [k.size]
    t, first, n_y = (
        np.repeat(np.array([getattr(wave, name) for wave in waves], dtype=np.int32), counts)
        for name in ("t", "first", "n_y")
    )
    y = first + k % n_y
    return Sites(k // n_y, y, t - 3 * y)


def _parts(sites: Sites) -> tuple[Integers, Integers, Integers]:
    return sites.p, sites.y, sites.x


def _blocks(n: int) -> Iterator[Integers]:
    for start in range(0, n, BLOCK):
        yield np.arange(start, min(start + BLOCK, n), dtype=np.int32)


def _joined(pieces: Sequence[Run]) -> Run:
    return Run(
        np.concatenate([piece.rows for piece in pieces]),
        np.concatenate([piece.centres for piece in pieces]),
        np.concatenate([piece.places for piece in pieces]),
    )


def interlaced_cosets() -> Iterator[tuple[int, int, int, int, int]]:
    """Kind, first row, first column, step and distance of the neighbours of the ten phases."""
    yield 0, 0, 0, 8, 8
    for s in (4, 2, 1):
        yield from ((1, s, s, 2 * s, s), (2, 0, s, 2 * s, s), (3, s, 0, 2 * s, s))


def group_of(phase: int) -> int:
    """0 for the base, 1 to 3 for the strides 4, 2, 1."""
    return (phase + 2) // 3


# --- lists -----------------------------------------------------------------------------------------------------------


def decode_level(stream: StreamDecoder, context: LevelContext, own: Plane) -> Integers:
    """Read the latents of a level (clause 10.6); ``own``, zeros before, holds them as inputs afterwards.

    Raises:
        StreamFault: BAD_STREAM.
    """
    table = row_table()
    latents = np.empty(own.values.size - 1, dtype=np.int32)
    for run in context.runs():
        symbols = stream.mixed(run.rows, table)
        values = run.centres
        values += symbols
        values -= table.centres.take(run.rows)
        below, above = _escaped(symbols, run.rows)
        places = np.flatnonzero(below | above)
        if places.size:
            escapes = decode_escapes(stream, places.size).astype(np.int32)
            values[places] += np.where(above[places], escapes, -escapes)  # below 2^22
        latents[run.places] = values
        own.values[run.places] = clipped(values)
    return latents


def _escaped(symbols: Integers, rows: Integers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which symbols are the lowest and which the highest of their rows."""
    firsts = row_table().firsts
    return symbols == firsts.take(rows), symbols == firsts.take(rows + 1) - 1


@dataclass(frozen=True)
class CodedRun:
    """Symbols of a run as numbers of :func:`row_table`, and its escapes."""

    symbols: Integers
    escapes: NDArray[np.int64]


def code_level(context: LevelContext, latents: Integers) -> list[CodedRun]:
    """What ``encode_level`` writes for a level whose latents ``own`` of the context holds already."""
    table = row_table()
    coded = []
    for run in context.runs():
        wanted = latents[run.places].astype(np.int64) - run.centres + table.centres[run.rows]
        first, last = table.firsts[run.rows], table.firsts[run.rows + 1] - 1
        symbols = np.clip(wanted, first, last)
        is_escaped = (symbols == first) | (symbols == last)
        coded.append(CodedRun(symbols.astype(np.int32), np.abs(wanted - symbols)[is_escaped]))
    return coded


def encode_level(stream: StreamEncoder, runs: Sequence[CodedRun]) -> None:
    """Add the runs of a level to a stream.

    Raises:
        ValueError: a latent is too far from its prediction for an escape.
    """
    table = row_table()
    for run in runs:
        stream.mixed(run.symbols, table)
        if run.escapes.max(initial=0) > ESCAPE_LIMIT:
            raise ValueError("a latent is too far from its prediction")
        encode_escapes(stream, run.escapes)


def level_bits(runs: Sequence[CodedRun]) -> float:
    """Information of a level's runs, in bits."""
    frequencies = row_table().frequencies
    return sum(
        float(np.sum(PROBABILITY_BITS - np.log2(frequencies[run.symbols]))) + float(escape_bits(run.escapes).sum())
        for run in runs
    )
