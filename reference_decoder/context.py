"""Context coding of the levels of a pyramid (clause 10.6)."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from reference_decoder.entropy import Coder, Integers, escape_values, escapes
from reference_decoder.head import INTERLACED

Longs = npt.NDArray[np.int64]

SITES = 1 << 10  # whose inputs are there at once
HIDDEN_END = 16383

# §10.6: "NEAR = { # context id 1: kind -> first column of context.near, neighbours in units of the stride"
CROSS = ((-1, 0), (0, -1), (0, 1), (1, 0))
DIAGONALS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
NEAR: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = {
    0: (0, ()),
    1: (0, DIAGONALS),
    2: (4, CROSS),
    3: (8, CROSS + DIAGONALS),
}
CAUSAL = tuple((i, j) for i in (-2, -1, 0) for j in range(-2, 3) if (i, j) < (0, 0))

# §10.6: "2^24 exp(-1/(16 b)), rounded, b = exp(scale/8 - 4)"; the numbers of the text
DECAY_TEXT = (
    "553019 825805 1176394 1607575 2117648 2700681 3347205 4045189 4781124 5541043 6311398 7079731 7835118 8568421 "
    "9272363 9941478 10571966 11161502 11709016 12214461 12678609 13102846 13489011 13839243 14155867 14441299 "
    "14697968 14928265 15134497 15318861 15483426 15630123 15760736 15876908 15980140 16071800 16153126 16225238 "
    "16289144 16345750 16395867 16440224 16479468 16514178 16544871 16572005 16595987 16617180 16635905 16652448 "
    "16667060 16679966 16691364 16701429 16710317 16718164 16725092 16731208 16736608 16741374 16745582 16749296 "
    "16752574 16755468"
)
DECAY = tuple(int(number) for number in DECAY_TEXT.split())
FRACTIONS = 16  # mean - 16·centre is in -8 … 7


# --- The models of the sites -------------------------------------------------------------------------------------


def context_frequencies(scale: int, fraction: int) -> tuple[int, list[int]]:
    """§10.6: "A, frequencies of the symbols -A .. B"."""
    t = decayed(scale)
    tails = []
    for s in (1, -1):
        k = 1
        while k < 127 and t[16 * k - 8 + s * fraction] >= 2**16:
            k += 1
        tail = [t[16 * i - 8 + s * fraction] - t[16 * i + 8 + s * fraction] for i in range(1, k)]
        tails.append([*tail, t[16 * k - 8 + s * fraction]])
    # "w = tails[0][::-1] + [2**29 - sum(tails[0]) - sum(tails[1])] + tails[1]"
    w = [*tails[0][::-1], 2**29 - sum(tails[0]) - sum(tails[1]), *tails[1]]
    avail = 2**14 - len(w)
    f = [1 + (x * avail >> 29) for x in w]
    A = len(tails[0])
    f[A] += 2**14 - sum(f)
    return A, f


@cache
def decayed(scale: int) -> list[int]:
    """§10.6: "t.append(t[-1] * DECAY[scale] >> 24)"."""
    t = [2**28]
    for _ in range(16 * 127):
        t.append(t[-1] * DECAY[scale] >> 24)
    return t


@dataclass(frozen=True)
class Models:
    """All models one after the other. Symbol s of model m has the place start[m] + s, the frequency f[place], and its
    cumulative frequency is c[place] - 16384·m; start has one entry more; lowest[m] is A."""

    start: Integers
    lowest: Integers
    f: Integers
    c: Integers


@cache
def models() -> Models:
    """Made when the first context list needs them: model (scale, fraction) has the number scale·16 + fraction + 8."""
    start, lowest, f, c = array("i", [0]), array("i"), array("i"), array("i")
    for number in range(FRACTIONS * len(DECAY)):
        A, frequencies = context_frequencies(number // FRACTIONS, number % FRACTIONS - 8)
        total = 16384 * number
        for frequency in frequencies:
            f.append(frequency)
            c.append(total)
            total += frequency
        lowest.append(A)
        start.append(len(f))
    return Models(*(np.array(numbers, np.int32) for numbers in (start, lowest, f, c)))


# --- The network -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContextTensor:
    """`acc` in its shape and `q`, its context_step. Products and sums of binary64 numbers are exact: §10.6: "Every
    intermediate is below 2^31 in magnitude."
    """

    acc: npt.NDArray[np.float64]
    q: int

    def product(self, x: npt.NDArray[np.float64], columns: slice = slice(None)) -> Longs:
        """Sums of acc times integers, for each site; x (sites, columns), result (sites, rows)."""
        found: Longs = (x @ self.acc[:, columns].T).astype(np.int64)
        return found

    def scaled(self, total: Longs) -> Longs:
        """§10.6: "return 256 * total >> t.q"."""
        return 256 * total >> self.q


@dataclass(frozen=True)
class Context:
    """The context network: its tensors in table order, and what the record says."""

    kind: int
    n_levels: int
    tensors: list[ContextTensor]

    def network(self, level: int, phase: int, coarse: Longs, near: Longs, column: int) -> tuple[Longs, Longs]:
        """`context_network` of many sites: out[0] and out[1]; coarse (sites, 11), near (sites, neighbours)."""
        t_coarse, t_near, t_phase, *hidden, t_output, t_linear, t_offset = self.tensors
        far, close = coarse.astype(np.float64), near.astype(np.float64)
        columns = slice(column, column + near.shape[1])
        a = t_coarse.scaled(t_coarse.product(far)) + t_near.scaled(t_near.product(close, columns))
        a += t_phase.scaled(t_phase.acc[phase].astype(np.int64))
        h = np.clip(a, 0, HIDDEN_END)
        for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
            # "r = [h[i] + r[i] + scaled(bias.acc[0][i], bias) for i in range(len(h))]"
            r = weight.product(h.astype(np.float64)) >> weight.q
            h = np.clip(h + r + bias.scaled(bias.acc[0].astype(np.int64)), 0, HIDDEN_END)
        out = t_output.product(h.astype(np.float64)) >> t_output.q
        # "linear = linear + sum(net.linear.acc[k][11 + j] * v for j, v in zip(columns, near))"
        beyond = slice(11 + column, 11 + column + near.shape[1])
        out += t_linear.scaled(t_linear.product(far, slice(11)) + t_linear.product(close, beyond))
        out += t_offset.scaled(t_offset.acc[level].astype(np.int64))
        if self.kind == INTERLACED:
            out += t_offset.scaled(t_offset.acc[self.n_levels + (phase + 2) // 3].astype(np.int64))
        return out[:, 0], out[:, 1]


def context_model(mean: Longs, log_scale: Longs) -> tuple[Longs, Longs]:
    """§10.6: "centre, scale, fraction"; here the centre, and the number of the model (scale, fraction)."""
    # "mean = min(max(out[0], -16384), 16383) + 8 >> 4"; "centre = mean + 8 >> 4"
    mean = np.clip(mean, -16384, 16383) + 8 >> 4
    centre = mean + 8 >> 4
    # "scale = min(max((out[1] + 16 >> 5) + 32, 0), 63)"
    scale = np.clip((log_scale + 16 >> 5) + 32, 0, 63)
    return centre, FRACTIONS * scale + mean - 16 * centre + 8


# --- Sites and what they see -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """The sites of a run: in every plane first + step·index, index over `counts` in C order; a wavefront is one row
    of sites whose x falls by 3 as y grows."""

    phase: int
    kind: int
    stride: int
    first: tuple[int, int]
    step: tuple[int, int]
    counts: tuple[int, int]
    is_wavefront: bool = False

    @property
    def size(self) -> int:
        """Sites in one plane."""
        return self.counts[0] * self.counts[1]

    def sites(self, numbers: Longs) -> tuple[Longs, Longs, Longs]:
        """Plane, y and x of some sites."""
        plane, inside = np.divmod(numbers, self.size)
        row, column = np.divmod(inside, self.counts[1])
        y = self.first[0] + self.step[0] * row
        if self.is_wavefront:
            return plane, y, self.first[1] - 3 * row
        return plane, y, self.first[1] + self.step[1] * column


def interlaced(height: int, width: int) -> Iterator[Run]:
    """§10.6: "(phase, kind, stride, sites of a plane) of the ten runs"."""

    def run(phase: int, kind: int, stride: int, y0: int, x0: int, step: int) -> Run:
        counts = max(0, -(-(height - y0) // step)), max(0, -(-(width - x0) // step))
        return Run(phase, kind, stride, (y0, x0), (step, step), counts)

    yield run(0, 0, 8, 0, 0, 8)
    # "for n, s in enumerate((4, 2, 1)):"
    for n, s in enumerate((4, 2, 1)):
        for kind, y0, x0 in ((1, s, s), (2, 0, s), (3, s, 0)):
            yield run(3 * n + kind, kind, s, y0, x0, 2 * s)


def wavefronts(height: int, width: int) -> Iterator[Run]:
    """§10.6: "yield 0, 0, 1, [(y, t - 3 * y) for y in range(H) if 0 <= t - 3 * y < W]"."""
    for t in range(width + 3 * (height - 1)):
        first, last = max(0, -(-(t - width + 1) // 3)), min(height - 1, t // 3)
        yield Run(0, 0, 1, (first, t - 3 * first), (1, 0), (last - first + 1, 1), is_wavefront=True)


def latent(level: Integers | None, plane: Longs, y: Longs, x: Longs) -> Longs:
    """§10.6: "latents y, clipped to -63 … 63, and 0 outside of a plane and for levels that there are not".

    plane, y, x: one row for each site. `level` (planes, height, width).
    """
    if level is None:
        return np.zeros(y.shape, np.int64)
    _, height, width = level.shape
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    found = level[plane, np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)].astype(np.int64)
    found *= inside
    return np.clip(found, -63, 63, out=found)


def coarse_inputs(levels: list[Integers | None], plane: Longs, y: Longs, x: Longs) -> Longs:
    """§10.6: "planes: this one in the levels l - 1, l - 2 and l - 3, None where there is none"; (sites, 11)."""
    plane, y, x = (a[:, np.newaxis] for a in (plane, y, x))
    # "sy, sx = 2 * (y & 1) - 1, 2 * (x & 1) - 1"
    i, j = (np.array(a) for a in zip(*[(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)], strict=True))
    parents = latent(levels[0], plane, (y >> 1) + (2 * (y & 1) - 1) * i, (x >> 1) + (2 * (x & 1) - 1) * j)
    older = [latent(levels[n], plane, y >> n + 1, x >> n + 1) for n in (1, 2)]
    return np.concatenate([parents, *older], axis=1)


def near_inputs(level: Integers, run: Run, kind: int, plane: Longs, y: Longs, x: Longs) -> tuple[int, Longs]:
    """§10.6: "column, near = NEAR[kind] if context_id == 1 else (0, CAUSAL)"; the values (sites, neighbours)."""
    column, near = NEAR[run.kind] if kind == INTERLACED else (0, CAUSAL)
    offsets = run.stride * np.array(near, np.int64).reshape(-1, 2)
    y, x = y[:, np.newaxis] + offsets[:, 0], x[:, np.newaxis] + offsets[:, 1]
    return column, latent(level, plane[:, np.newaxis], y, x)


# --- Decoding ----------------------------------------------------------------------------------------------------


def read_level(coder: Coder, context: Context, number: int, shape: tuple[int, ...], below: list[Integers]) -> Integers:
    """A level with latent form 5, flat; `below` are the levels below it in their shapes.

    §10.6: "The last two axes have the sizes H and W; a level with more axes is a stack of planes, one for each index of
    the axes before them, in C order."
    """
    level = np.zeros((int(np.prod(shape[:-2])), *shape[-2:]), np.int32)
    coarse = [below[-n].reshape(len(level), *below[-n].shape[-2:]) if len(below) >= n else None for n in (1, 2, 3)]
    for run in (interlaced if context.kind == INTERLACED else wavefronts)(*shape[-2:]):
        read_run(coder, context, number, run, level, coarse)
    return level.reshape(-1)


def read_run(
    coder: Coder, context: Context, number: int, run: Run, level: Integers, below: list[Integers | None]
) -> None:
    """Decode the sites of a run into the level.

    CTX-1 §10.6: "first the symbols of all sites of the run, then an escape for each symbol that is the lowest (u = -A)
    or the highest (u = B) of its model, in order; v = centre + u after the escape enlarged u."
    """
    n = len(level) * run.size
    edges: list[
        tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_]]
    ] = []  # numbers of the sites with an escape, and whether u = B
    table = models()
    coder.begin_run()
    for start in range(0, n, SITES):
        numbers = np.arange(start, min(start + SITES, n))
        plane, y, x = run.sites(numbers)
        coarse = coarse_inputs(below, plane, y, x)
        column, near = near_inputs(level, run, context.kind, plane, y, x)
        centre, model = context_model(*context.network(number, run.phase, coarse, near, column))
        symbol = coder.context_symbols(table.start, table.f, table.c, model)
        level[plane, y, x] = centre + symbol - table.lowest[model]
        is_top = symbol == table.start[model + 1] - table.start[model] - 1
        at_edge = (symbol == 0) | is_top
        edges.append((numbers[at_edge].astype(np.uint32), is_top[at_edge]))
    found = escapes(coder, sum(len(sites) for sites, _ in edges))
    used = 0
    for sites, is_top in edges:
        place = run.sites(sites.astype(np.int64))
        e = escape_values(found[used : used + len(sites)])
        # no overflow: §10.6: "A latent with form 5 is below 2^22 in magnitude, as centre and escape are bounded"
        level[place] += np.where(is_top, e, -e).astype(np.int32)
        used += len(sites)
