"""Latents of tool 4: entries of hashed levels, tables of frequencies, the context network (clauses 9.6 and 10.6)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from typing import NamedTuple

from conformance.generate.rans import PRECISION, Run, Symbol, escape_runs

PRIMES = (1, 2654435761, 805459861, 3674653429)
MOST_INPUT = 63
MOST_HIDDEN = 16383
INTERLACED, SERIAL = 1, 2
MOST_TAIL = 127

Site = tuple[int, int]
Plane = list[list[int]]
Phase = tuple[int, int, int, list[Site]]  # phase, kind, stride, sites of a plane


def hashed_entry(vertex: Sequence[int], n_entries: int) -> int:
    """The entry of a vertex in a hashed level of this power of two of entries."""
    mixed = 0
    for index, prime in zip(vertex, PRIMES, strict=False):
        mixed ^= index * prime & 0xFFFFFFFF
    return mixed & (n_entries - 1)


# --- tables (GRD-7) ----------------------------------------------------------------------------------


def table_frequencies(codes: Sequence[int]) -> list[int]:
    """Frequencies of the symbols of latent form 4."""
    weights = [(8 + (code & 7)) << (code >> 3) for code in codes]
    avail = (1 << PRECISION) - len(codes)
    f = [1 + weight * avail // sum(weights) for weight in weights]
    f[f.index(max(f))] += (1 << PRECISION) - sum(f)
    return f


def table_runs(values: Sequence[int], below: int, codes: Sequence[int], escape: int) -> list[Run]:
    """Runs of a list of values under a table."""
    model = SiteModel(0, below, tuple(table_frequencies(codes)))
    if not escape:
        return [[model.symbol(v) for v in values]]
    return site_runs(values, [model] * len(values))


class SiteModel(NamedTuple):
    """Model of one latent: v = centre + u, u = -below … by its frequencies."""

    centre: int
    below: int
    frequencies: tuple[int, ...]

    def split(self, value: int) -> tuple[int, int | None]:
        """The symbol u of a value, and its escape if it has one."""
        u, above = value - self.centre, len(self.frequencies) - 1 - self.below
        if u <= -self.below:
            return -self.below, -self.below - u
        return (above, u - above) if u >= above else (u, None)

    def symbol(self, value: int) -> Symbol:
        """Frequency and cumulative frequency of the symbol of a value."""
        index = self.split(value)[0] + self.below
        return self.frequencies[index], _starts(self.frequencies)[index]


@cache
def _starts(frequencies: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(accumulate(frequencies, initial=0))


def site_runs(values: Sequence[int], models: Sequence[SiteModel]) -> list[Run]:
    """A run of symbols, each by its own model, and their escapes (CTX-1)."""
    pairs = list(zip(values, models, strict=True))
    escapes = [escape for value, model in pairs if (escape := model.split(value)[1]) is not None]
    return [[model.symbol(value) for value, model in pairs], *escape_runs(escapes)]


# --- orders of the sites and their inputs (clause 10.6) ------------------------------------------------


def interlaced(height: int, width: int) -> Iterator[Phase]:
    """The ten runs of context id 1."""
    yield 0, 0, 8, _lattice(height, width, 0, 0, 8)
    phase = 1
    for stride in (4, 2, 1):
        for kind, y, x in INTERLACED_KINDS:
            yield phase, kind, stride, _lattice(height, width, y * stride, x * stride, 2 * stride)
            phase += 1


INTERLACED_KINDS = ((1, 1, 1), (2, 0, 1), (3, 1, 0))  # kind, first site in strides


def _lattice(height: int, width: int, y0: int, x0: int, step: int) -> list[Site]:
    return [(y, x) for y in range(y0, height, step) for x in range(x0, width, step)]


def wavefronts(height: int, width: int) -> Iterator[Phase]:
    """The runs of context id 2."""
    for t in range(width + 3 * (height - 1)):
        yield 0, 0, 1, [(y, t - 3 * y) for y in range(height) if 0 <= t - 3 * y < width]


ORDERS: dict[int, Callable[[int, int], Iterator[Phase]]] = {INTERLACED: interlaced, SERIAL: wavefronts}
CROSS = ((-1, 0), (0, -1), (0, 1), (1, 0))
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
NEAR: dict[int, tuple[int, tuple[Site, ...]]] = {0: (0, ()), 1: (0, CORNERS), 2: (4, CROSS), 3: (8, CROSS + CORNERS)}
CAUSAL = (*((y, x) for y in (-2, -1) for x in range(-2, 3)), (0, -2), (0, -1))


def latent(plane: Plane | None, y: int, x: int) -> int:
    """An input: the latent at a place, clipped; 0 outside of the plane and where there is no level."""
    if not plane or not (0 <= y < len(plane) and 0 <= x < len(plane[0])):
        return 0
    return max(-MOST_INPUT, min(MOST_INPUT, plane[y][x]))


def side(place: int) -> int:
    """On which side of its parent's middle a child lies."""
    return 1 if place & 1 else -1


def coarse_inputs(below: Sequence[Plane | None], y: int, x: int) -> list[int]:
    """Nine parents, mirrored to the child's side, a grandparent and a great-grandparent."""
    around = [(i * side(y), j * side(x)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    parents = [latent(below[0], (y >> 1) + dy, (x >> 1) + dx) for dy, dx in around]
    return [*parents, latent(below[1], y >> 2, x >> 2), latent(below[2], y >> 3, x >> 3)]


def near_inputs(context_id: int, plane: Plane, kind: int, stride: int, y: int, x: int) -> tuple[int, list[int]]:
    """The first column of context.near, and the neighbours in the level itself."""
    column, around = NEAR[kind] if context_id == INTERLACED else (0, CAUSAL)
    return column, [latent(plane, y + stride * dy, x + stride * dx) for dy, dx in around]


# --- the context network -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContextTensor:
    """Rows of integers in units of 2^-q."""

    rows: tuple[tuple[int, ...], ...]
    q: int

    def sums(self, inputs: Sequence[int], first: int = 0) -> list[int]:
        """Every row times the inputs, which meet the columns from `first` on."""
        return [sum(a * v for a, v in zip(row[first : first + len(inputs)], inputs, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Network:
    """The tensors of a context network; hidden: pairs of weight and bias."""

    context_id: int
    n_levels: int
    coarse: ContextTensor
    near: ContextTensor
    phase: ContextTensor
    hidden: tuple[tuple[ContextTensor, ContextTensor], ...]
    output: ContextTensor
    linear: ContextTensor
    offset: ContextTensor


def scaled(total: int, q: int) -> int:
    """A sum in units of 2^-8."""
    return total * 256 >> q


def hidden_value(total: int) -> int:
    """The activation of a hidden value."""
    return max(0, min(MOST_HIDDEN, total))


def offset_rows(net: Network, level: int, phase: int) -> list[int]:
    """The rows of context.offset that a site adds."""
    return [level, net.n_levels + (phase + 2) // 3] if net.context_id == INTERLACED else [level]


def evaluate(
    net: Network, level: int, phase: int, coarse: Sequence[int], near: Sequence[int], column: int
) -> tuple[int, int]:
    """Mean and log scale of a site, in units of 2^-8."""
    parts = [(net.coarse.sums(coarse), net.coarse.q), (net.near.sums(near, column), net.near.q)]
    parts.append((list(net.phase.rows[phase]), net.phase.q))
    h = [hidden_value(sum(scaled(sums[i], q) for sums, q in parts)) for i in range(len(net.coarse.rows))]
    for weight, bias in net.hidden:
        added = [total >> weight.q for total in weight.sums(h)]
        h = [hidden_value(v + a + scaled(b, bias.q)) for v, a, b in zip(h, added, bias.rows[0], strict=True)]
    outputs = [total >> net.output.q for total in net.output.sums(h)]
    linear = [a + b for a, b in zip(net.linear.sums(coarse), net.linear.sums(near, 11 + column), strict=True)]
    out = [o + scaled(a, net.linear.q) for o, a in zip(outputs, linear, strict=True)]
    for row in offset_rows(net, level, phase):
        out = [o + scaled(a, net.offset.q) for o, a in zip(out, net.offset.rows[row], strict=True)]
    return out[0], out[1]


def mean_of(out: int) -> int:
    """The mean in sixteenths."""
    return (max(-16384, min(16383, out)) + 8) >> 4


def centre_of(mean: int) -> int:
    """The integer nearest to a mean in sixteenths, halves upwards."""
    return (mean + 8) >> 4


def scale_of(out: int) -> int:
    """The index of a log scale in units of 2^-8."""
    return max(0, min(63, ((out + 16) >> 5) + 32))


def model_of(outputs: tuple[int, int]) -> SiteModel:
    """The model of a site from the outputs of the context network."""
    mean = mean_of(outputs[0])
    centre = centre_of(mean)
    below, f = context_frequencies(scale_of(outputs[1]), mean - 16 * centre)
    return SiteModel(centre, below, f)


@cache
def _decays(scale: int) -> list[int]:
    out = [1 << 28]
    for _ in range(16 * MOST_TAIL):
        out.append(out[-1] * DECAY[scale] >> 24)
    return out


@cache
def context_frequencies(scale: int, fraction: int) -> tuple[int, tuple[int, ...]]:
    """A, and the frequencies of the symbols -A to B."""
    t = _decays(scale)

    def tail(at: int) -> list[int]:
        """Weights of the symbols on one side, the nearest first; `at` shifts the borders between them."""
        borders = [t[16 * k - 8 + at] for k in range(1, MOST_TAIL + 1)]
        n = next((k for k, border in enumerate(borders[:-1], 1) if border < 1 << 16), MOST_TAIL)
        return [*(a - b for a, b in pairwise(borders[:n])), borders[n - 1]]

    lower, upper = tail(fraction), tail(-fraction)
    weights = [*reversed(lower), (1 << 29) - sum(lower) - sum(upper), *upper]
    avail = (1 << PRECISION) - len(weights)
    f = [1 + (weight * avail >> 29) for weight in weights]
    f[len(lower)] += (1 << PRECISION) - sum(f)
    return len(lower), tuple(f)


# --- a level -------------------------------------------------------------------------------------------


def planes_of(values: Sequence[int], sizes: Sequence[int]) -> list[Plane]:
    """Latents of a level in C order as planes of the last two axes."""
    height, width = sizes[-2:]
    rows = [list(values[i : i + width]) for i in range(0, len(values), width)]
    return [rows[i : i + height] for i in range(0, len(rows), height)]


def context_runs(levels: Sequence[list[Plane] | None], level: int, net: Network) -> list[Run]:
    """Runs of a level of latent form 5; `levels`: the planes of this level and of those below."""
    planes = levels[level] or []
    runs: list[Run] = []
    for phase, kind, stride, sites in ORDERS[net.context_id](len(planes[0]), len(planes[0][0])):
        values, models = [], []
        for k, plane in enumerate(planes):
            below = [_plane(levels, level - d, k) for d in (1, 2, 3)]
            for y, x in sites:
                column, near = near_inputs(net.context_id, plane, kind, stride, y, x)
                outputs = evaluate(net, level, phase, coarse_inputs(below, y, x), near, column)
                values.append(plane[y][x])
                models.append(model_of(outputs))
        runs += site_runs(values, models)
    return runs


def _plane(levels: Sequence[list[Plane] | None], level: int, k: int) -> Plane | None:
    planes = levels[level] if level >= 0 else None
    return planes[k] if planes else None


DECAY = (
    553019,
    825805,
    1176394,
    1607575,
    2117648,
    2700681,
    3347205,
    4045189,
    4781124,
    5541043,
    6311398,
    7079731,
    7835118,
    8568421,
    9272363,
    9941478,
    10571966,
    11161502,
    11709016,
    12214461,
    12678609,
    13102846,
    13489011,
    13839243,
    14155867,
    14441299,
    14697968,
    14928265,
    15134497,
    15318861,
    15483426,
    15630123,
    15760736,
    15876908,
    15980140,
    16071800,
    16153126,
    16225238,
    16289144,
    16345750,
    16395867,
    16440224,
    16479468,
    16514178,
    16544871,
    16572005,
    16595987,
    16617180,
    16635905,
    16652448,
    16667060,
    16679966,
    16691364,
    16701429,
    16710317,
    16718164,
    16725092,
    16731208,
    16736608,
    16741374,
    16745582,
    16749296,
    16752574,
    16755468,
)  # 2^24 exp(-1/(16 b)), rounded, b = exp(scale/8 - 4)
