"""Encoder of clauses 9.4 and 10: model GL, trellis, raw fields, escapes, the rANS coder with one lane or N lanes."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

PRECISION = 14
LOWER = 1 << 16
LAWS = ("LAPLACE", "GAUSS", "FLAT", "HEAVY")

Symbol = tuple[int, int]  # frequency, cumulative frequency
Run = list[Symbol]


@dataclass(frozen=True)
class Parameters:
    """Parameters of model GL (clause 10.2): theta and rho in units of 2^-24."""

    max_symbol: int
    zero_probability: int
    theta: int
    rho: int
    heavy: int
    low_bits: int
    escape: int


def mf8(code: int) -> int:
    """The eight-bit minifloat of clause 10.2."""
    return 0 if code == 0 else min((8 + (code & 7)) << (code >> 3), 1 << 24)


def _weights(theta: int, rho: int, heavy: int, count: int) -> list[int]:
    """g[0] to g[count - 1]."""
    out = []
    t = 1 << 28
    for _ in range(count):
        out.append(t)
        t = (t * theta) >> 24
        theta = (1 << 24) - ((((1 << 24) - theta) * rho) >> 24) if heavy else (theta * rho) >> 24
    return out


def short_parameters(law: str, scale: int) -> Parameters:
    """Parameters of the short form (ENT-3)."""
    gauss = law in ("GAUSS", "FLAT")
    b0 = 40 if gauss else 32
    d = 2 if gauss else 1
    if scale < b0:
        low_bits, tail = 0, 168 - d * scale
    else:
        low_bits, tail = 1 + ((scale - b0) >> 3), (104 if gauss else 144) - d * ((scale - b0) & 7)
    theta = (1 << 24) - mf8(tail)
    rho = {
        "LAPLACE": 1 << 24,
        "GAUSS": (theta * theta) >> 24,
        "FLAT": (theta * theta) >> 24,
        "HEAVY": (1 << 24) - (((1 << 24) - theta) >> 3),
    }[law]
    heavy = int(law == "HEAVY")
    g = _weights(theta, rho, heavy, 255)
    cut = 1 << 27 if law == "FLAT" else 1 << 17
    max_symbol = next((k for k in range(1, 255) if g[k] < cut), 255)
    return Parameters(max_symbol, 0, theta, rho, heavy, low_bits, 1)


def long_parameters(fields: Sequence[int]) -> Parameters:
    """Parameters of the long form (ENT-2) from its seven fields."""
    max_symbol, zero_probability, tail, tail_change, heavy, low_bits, escape = fields
    theta, rho = (1 << 24) - mf8(tail), (1 << 24) - mf8(tail_change)
    return Parameters(max_symbol, zero_probability, theta, rho, heavy, low_bits, escape)


@cache
def symbol_table(model: Parameters) -> dict[int, Symbol]:
    """Frequency and cumulative frequency of every model symbol (clause 10.2)."""
    r = model.max_symbol
    g = _weights(model.theta, model.rho, model.heavy, r + 1)
    return _two_sided(model, [g[abs(v)] for v in range(-r, r + 1)])


@cache
def second_table(model: Parameters) -> dict[int, Symbol]:
    """The table of quantiser 1 where b = 0 (TRE-1)."""
    r = model.max_symbol
    g = _weights(model.theta, model.rho, model.heavy, r + 1)
    between = [g[0] >> 1] + [(g[k - 1] + g[k]) >> 1 for k in range(1, r + 1)]
    return _two_sided(model, [between[abs(v)] for v in range(-r, r + 1)])


def _two_sided(model: Parameters, u: list[int]) -> dict[int, Symbol]:
    """Frequencies of the symbols -R to R from their weights."""
    r = model.max_symbol
    avail = (1 << PRECISION) - (2 * r + 1)
    z = (avail * model.zero_probability) >> 8
    avail -= z
    if model.zero_probability:
        u[r] = 0
    total = max(1, sum(u))
    f = [1 + (w * avail) // total for w in u]
    f[r] += z
    f[r] += (1 << PRECISION) - sum(f)
    starts = accumulate(f, initial=0)
    return {k - r: item for k, item in enumerate(zip(f, starts, strict=False))}


@cache
def one_sided_table(model: Parameters) -> dict[int, Symbol]:
    """Frequency and cumulative frequency of the symbols 0 to R of a model of gaps (clause 9.5)."""
    r = model.max_symbol
    u = _weights(model.theta, model.rho, model.heavy, r + 1)
    avail = (1 << PRECISION) - (r + 1)
    z = (avail * model.zero_probability) >> 8
    avail -= z
    if model.zero_probability:
        u[0] = 0
    total = max(1, sum(u))
    f = [1 + (w * avail) // total for w in u]
    f[0] += z
    f[0] += (1 << PRECISION) - sum(f)
    return dict(enumerate(zip(f, accumulate(f, initial=0), strict=False)))


PREFIX_FREQUENCIES = [8186] + [max(1, (1 << 13) >> p) for p in range(1, 21)]


def raw_runs(fields: Sequence[tuple[int, int]]) -> list[Run]:
    """Runs of raw fields (value, width), 14 bits at a time from the top (clause 10.5)."""
    runs = []
    done = 0
    while any(width > done for _, width in fields):
        run = []
        for value, width in fields:
            if width > done:
                n = min(width - done, PRECISION)
                part = (value >> (width - done - n)) & ((1 << n) - 1)
                run.append((1 << (PRECISION - n), part << (PRECISION - n)))
        runs.append(run)
        done += PRECISION
    return runs


def value_runs(values: Sequence[int], model: Parameters) -> list[Run]:
    """Runs of a list of values under a model (clause 10.1)."""
    table = symbol_table(model)
    return symbol_runs(shifted(values, model), model, [table] * len(values))


def gap_runs(gaps: Sequence[int], model: Parameters) -> list[Run]:
    """Runs of a list of gaps under a one-sided model (clause 9.5)."""
    table = one_sided_table(model)
    return symbol_runs(gaps, model, [table] * len(gaps))


def trellis_runs(values: Sequence[int], model: Parameters, states: Sequence[int]) -> list[Run]:
    """Runs of the values k of a tensor of tool 2, each with its state (TRE-1)."""
    tables = [second_table(model) if state & 1 and not model.low_bits else symbol_table(model) for state in states]
    return symbol_runs(shifted(values, model), model, tables)


def shifted(values: Sequence[int], model: Parameters) -> list[int]:
    """Values as u·2^b + low."""
    half = (1 << model.low_bits) >> 1
    return [v + half for v in values]


def symbol_runs(values: Sequence[int], model: Parameters, tables: Sequence[dict[int, Symbol]]) -> list[Run]:
    """Runs of u·2^b + low for each value, its symbol by its own table."""
    full = [v >> model.low_bits for v in values]
    if not model.escape and any(abs(u) > model.max_symbol for u in full):
        raise ValueError("a value needs an escape")
    runs = [[table[_clipped(u, model)] for u, table in zip(full, tables, strict=True)]]
    if model.low_bits:
        runs += raw_runs([(v & ((1 << model.low_bits) - 1), model.low_bits) for v in values])
    if model.escape:
        runs += escape_runs([abs(u) - model.max_symbol for u in full if abs(u) >= model.max_symbol])
    return runs


def escape_runs(escapes: Sequence[int]) -> list[Run]:
    """Runs of prefixes and of their raw fields (clause 10.1)."""
    prefixes = [(e + 1).bit_length() - 1 for e in escapes]
    raw = raw_runs([(e + 1 - (1 << p), p) for e, p in zip(escapes, prefixes, strict=True)])
    return [[(PREFIX_FREQUENCIES[p], sum(PREFIX_FREQUENCIES[:p])) for p in prefixes], *raw]


def _clipped(u: int, model: Parameters) -> int:
    return max(-model.max_symbol, min(model.max_symbol, u))


# --- the trellis (clause 9.4) ------------------------------------------------------------------------

TRANSITIONS = ((0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6))


def parity(k: int, model: Parameters | None) -> int:
    """p of a value; model None: a coding other than 1."""
    return (k if model is None or model.low_bits else _clipped(k, model)) & 1


def trellis_states(parities: Sequence[int], n_lanes: int) -> list[int]:
    """The state of every value of a tensor (TRE-2)."""
    lanes = [0] * n_lanes
    out = []
    for i, p in enumerate(parities):
        out.append(lanes[i % n_lanes])
        lanes[i % n_lanes] = TRANSITIONS[lanes[i % n_lanes]][p]
    return out


def contribution(k: int, state: int) -> int:
    """What k adds to acc in this state."""
    return 2 * k - (state & 1) * ((k > 0) - (k < 0))


def bitmap_run(atoms: Sequence[int], n_atoms: int) -> Run:
    """Binary symbols that say which of n_atoms slots are in use (clause 9.5)."""
    used = set(atoms)
    run: Run = []
    rem = len(used)
    for slot in range(n_atoms):
        left = n_atoms - slot
        if rem in (0, left):
            break
        one = min(max(((rem << PRECISION) + (left >> 1)) // left, 1), (1 << PRECISION) - 1)
        zero = (1 << PRECISION) - one
        run.append((one, zero) if slot in used else (zero, 0))
        rem -= slot in used
    return run


def encode(runs: Sequence[Run], log2_lanes: int = 0) -> bytes:
    """The rANS stream of clause 10.4 that holds these runs in order."""
    n_lanes = 1 << log2_lanes
    states = [LOWER if log2_lanes else 0] * n_lanes
    words: list[int] = []
    for run in reversed(runs):
        for i in reversed(range(len(run))):
            f, c = run[i]
            x = states[i % n_lanes]
            if x >= f << 18:
                words.append(x & 0xFFFF)
                x >>= 16
            states[i % n_lanes] = ((x // f) << PRECISION) + x % f + c
    return struct.pack(f"<{n_lanes}I", *states) + struct.pack(f"<{len(words)}H", *reversed(words))
