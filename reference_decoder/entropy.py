"""Entropy coding: models, the two coders, values (clause 10)."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice, pairwise

import numpy as np
import numpy.typing as npt

from reference_decoder.errors import DecodeError
from reference_decoder.limits import blocks
from reference_decoder.trellis import T

STATE_LOW = 1 << 16  # a state below takes a word

Integers = npt.NDArray[np.int32]


# --- 10.2 Model GL -----------------------------------------------------------------------------------------------


class Table:
    """The frequencies of a model and their cumulative frequencies c; the symbols are counted from 0."""

    def __init__(self, f: list[int]) -> None:
        self.f = f
        self.c = list(accumulate(f[:-1], initial=0))


@dataclass(frozen=True)
class Model:
    """§10.2: "A model is R, p0, theta, rho, heavy, b, esc." """

    R: int
    p0: int
    theta: int
    rho: int
    heavy: bool
    b: int
    esc: bool

    @cached_property
    def table(self) -> Table:
        """The frequencies, made when the first list needs them."""
        return Table(frequencies(self.R, self.p0, self.theta, self.rho, self.heavy))

    @cached_property
    def tables(self) -> tuple[Table, Table]:
        """The tables of the two quantisers of clause 9.4."""
        second = frequencies(self.R, self.p0, self.theta, self.rho, self.heavy, quantiser=1)
        return self.table, Table(second)

    @cached_property
    def one_sided_table(self) -> Table:
        """As `table`, for the gaps of clause 9.5."""
        return Table(one_sided_frequencies(self.R, self.p0, self.theta, self.rho, self.heavy))


@dataclass(frozen=True)
class TableModel:
    """Latent form 4 of clause 9.6.3: symbols from -A, their frequencies, and whether the ends have escapes."""

    A: int
    table: Table
    esc: bool


def table_frequencies(codes: list[int]) -> list[int]:
    """§9.6.3: "w = [(8 + (c & 7)) << (c >> 3) for c in codes]"; the remainder goes to the first of the largest."""
    w = [(8 + (c & 7)) << (c >> 3) for c in codes]
    avail, total = 2**14 - len(w), sum(w)
    f = [1 + x * avail // total for x in w]
    f[f.index(max(f))] += 2**14 - sum(f)
    return f


def mf8(c: int) -> int:
    """§10.2: "min((8 + (c & 7)) << (c >> 3), 2**24) if c > 0 else 0"."""
    return min((8 + (c & 7)) << (c >> 3), 1 << 24) if c > 0 else 0


def long_model(R: int, p0: int, tb: int, rb: int, heavy: bool, b: int, esc: bool) -> Model:
    """ENT-2 §10.2: "theta = 2^24 - mf8(tb), rho = 2^24 - mf8(rb)." """
    return Model(R, p0, (1 << 24) - mf8(tb), (1 << 24) - mf8(rb), heavy, b, esc)


def short_model(law: int, q: int) -> Model | None:
    """ENT-3 §10.2; None where "b above 14 is invalid"."""
    b0, d, top = (40, 2, 104) if law in (1, 2) else (32, 1, 144)
    if q < b0:
        b, tb = 0, 168 - d * q
    else:
        b, tb = 1 + ((q - b0) >> 3), top - d * ((q - b0) & 7)
    if b > 14:
        return None
    theta = (1 << 24) - mf8(tb)
    gaussian = (theta * theta) >> 24
    rho = (1 << 24, gaussian, gaussian, (1 << 24) - (((1 << 24) - theta) >> 3))[law]
    heavy = law == 3
    # "R is the least k >= 1 with g[k] < 2^17 (law 2: g[k] < 2^27), g as in `frequencies`, and 255 if there is none
    # below 255."
    cut = 1 << 27 if law == 2 else 1 << 17
    tail = islice(enumerate(decay(theta, rho, heavy)), 1, 255)
    R = next((k for k, g in tail if g < cut), 255)
    return Model(R, 0, theta, rho, heavy, b, esc=True)


def decay(theta: int, rho: int, heavy: bool) -> Iterator[int]:
    """§10.2, the loop of `frequencies`: g[0], g[1], …"""
    t = 1 << 28
    while True:
        yield t
        t = (t * theta) >> 24
        theta = (1 << 24) - ((((1 << 24) - theta) * rho) >> 24) if heavy else (theta * rho) >> 24


def frequencies(R: int, p0: int, theta: int, rho: int, heavy: bool, quantiser: int = 0) -> list[int]:
    """§10.2: the frequencies of the symbols -R … R; "all f sum to 2^14".

    TRE-1 §9.4: "For quantiser 1 they follow from the same formula with `u[R] = g[0] >> 1` (0 if p0 > 0) and, for k = 1
    … R, `u[R + k] = u[R - k] = (g[k - 1] + g[k]) >> 1` in the place of `u`."
    """
    g = list(islice(decay(theta, rho, heavy), R + 1))
    if quantiser == 1:
        g = [g[0] >> 1, *((a + b) >> 1 for a, b in pairwise(g))]
    avail = 2**14 - (2 * R + 1)
    z = avail * p0 >> 8
    avail -= z
    u = [*g[:0:-1], 0 if p0 > 0 else g[0], *g[1:]]
    total = max(1, sum(u))
    f = [1 + w * avail // total for w in u]
    f[R] += z
    f[R] += 2**14 - sum(f)
    return f


def one_sided_frequencies(R: int, p0: int, theta: int, rho: int, heavy: bool) -> list[int]:
    """The frequencies of the symbols 0 … R.

    §9.5: "g of clause 10.2 as always, u[k] = g[k] for k = 0 … R only, avail = 2^14 - (R + 1), T = max(1, sum of u),
    f[k] = 1 + (u[k]·avail)/T, with p0, z and the remainder to 2^14 on f[0] as in clause 10.2".
    """
    u = list(islice(decay(theta, rho, heavy), R + 1))
    avail = 2**14 - (R + 1)
    z = avail * p0 >> 8
    avail -= z
    if p0 > 0:
        u[0] = 0
    total = max(1, sum(u))
    f = [1 + w * avail // total for w in u]
    f[0] += z
    f[0] += 2**14 - sum(f)
    return f


# --- 10.3 Fixed models -------------------------------------------------------------------------------------------

# §10.3: "Escape prefix p: f[p] = max(1, 2^(13-p)) for p = 1 … 20, f[0] = 2^14 - (f[1] + … + f[20]) = 8186"
MAX_PREFIX = 20
PREFIX = Table([8186] + [max(1, (1 << 13) >> p) for p in range(1, MAX_PREFIX + 1)])


# --- 10.4 The coder ----------------------------------------------------------------------------------------------
# Both coders have the same methods. A run may be decoded in pieces, one call after the other: the words of a row
# are taken in lane order, so a row that is cut in two takes the same words.


class OneLane:
    """§10.4: "The stream is the state as u32, then u16 words in the order in which the decoder reads them." """

    n = 1

    def __init__(self, stream: memoryview, at: int) -> None:
        self.at = at
        # ENT-4: "The stream is at least 4 bytes long and of even length; if it has words, the initial state is >= 2^16.
        # (Then it is >= 2^16 after every word that is taken.)"
        if len(stream) < 4 or len(stream) % 2:
            raise DecodeError("BAD_STREAM", at)
        self.x = int.from_bytes(stream[:4], "little")
        self.words = np.frombuffer(stream, "<u2", offset=4).astype(np.uint16).data
        self.used = 0
        if len(self.words) and self.x < STATE_LOW:
            raise DecodeError("BAD_STREAM", at)

    def begin_run(self) -> None:
        """One lane has no rows."""

    def advance(self, x: int) -> None:
        """§10.4: "if x < 2**16 and len(words) > 0: x = x << 16 | words.pop(0)"."""
        if x < STATE_LOW and self.used < len(self.words):
            x = x << 16 | self.words[self.used]
            self.used += 1
        self.x = x

    def symbols(self, table: Table, n: int) -> npt.NDArray[np.int16]:
        """The next n symbols of a run of model symbols or prefixes, counted from 0."""
        found = np.zeros(n, np.int16)
        for i in range(n):
            if self.x == 0:
                break  # no word is left: ENT-5 "State 0 decodes as the first symbol of a run and stays 0"
            slot = self.x & 16383
            found[i] = symbol = bisect_right(table.c, slot) - 1
            # "x = f[symbol] * (x >> 14) + slot - c"
            self.advance(table.f[symbol] * (self.x >> 14) + slot - table.c[symbol])
        return found

    def trellis_symbols(self, model: Model, n: int, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
        """As symbols, for model symbols of tool 2; `states` holds the state of each lane and is advanced."""
        found = np.zeros(n, np.int16)
        tables, state = model.tables, int(states[0])
        for i in range(n):
            if self.x == 0:
                break  # from here on all symbols are the first one, whatever the state
            table, slot = tables[state & 1], self.x & 16383
            found[i] = symbol = bisect_right(table.c, slot) - 1
            self.advance(table.f[symbol] * (self.x >> 14) + slot - table.c[symbol])
            state = T[state][(symbol - model.R) & 1]
        states[0] = state
        return found

    def context_symbols(
        self, start: Integers, f: Integers, c: Integers, model: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int16]:
        """As symbols, each with its own model; how the models lie is said in clause 10.6's module."""
        found = np.zeros(len(model), np.int16)
        numbers, totals = f.data, c.data  # whose items are Python's integers
        first, end = start[model].tolist(), start[model + 1].tolist()
        for i, m in enumerate(model.tolist()):
            if self.x == 0:
                break  # from here on all symbols are the first ones
            slot = (self.x & 16383) + 16384 * m
            place = bisect_right(totals, slot, first[i], end[i]) - 1
            found[i] = place - first[i]
            self.advance(numbers[place] * (self.x >> 14) + slot - totals[place])
        return found

    def fields(self, widths: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
        """The next symbols of a run of raw fields of 1 to 14 bits.

        §10.3: "Raw field of q <= 14 bits with value x: f = 2^(14-q), c = x·2^(14-q)."
        """
        found = np.zeros(len(widths), np.uint16)
        for i, q in enumerate(widths.tolist()):
            if self.x == 0:
                break
            slot, f = self.x & 16383, 1 << (14 - q)
            found[i] = slot // f
            self.advance(f * (self.x >> 14) + slot % f)
        return found

    def bitmap(self, k2: int, s: int) -> list[int]:
        """The s atoms of a vector from its bitmap over k2 slots.

        §9.5: "for slot a = 0, 1, … with `left` = k2 - a and `rem` the ones still to come, stop when rem = 0; when rem =
        left all slots that are left are ones; otherwise one binary symbol".
        """
        x, words, used = self.x, self.words, self.used
        found: list[int] = []
        left, rem = k2, s
        while 0 < rem < left and x != 0:  # state 0 decodes as zeros until rem = left
            # "with the frequency f1 = min(max((rem·2^14 + (left >> 1)) / left, 1), 2^14 - 1) of "one""; both bounds are
            # written out for speed
            f0 = 16384 - (((rem << 14) + (left >> 1)) // left or 1) or 1
            slot = x & 16383
            # ""zero" has cumulative frequency 0 and frequency 2^14 - f1"
            if slot < f0:
                x = f0 * (x >> 14) + slot
            else:
                x = (16384 - f0) * (x >> 14) + slot - f0
                found.append(k2 - left)
                rem -= 1
            left -= 1
            if x < STATE_LOW and used < len(words):
                x = x << 16 | words[used]
                used += 1
        self.x, self.used = x, used
        return [*found, *range(k2 - rem, k2)]

    def finish(self) -> None:
        """ENT-5 §10.4: "After the last symbol x = 0 and no word is left." """
        if self.x != 0 or self.used != len(self.words):
            raise DecodeError("BAD_STREAM", self.at)


class Lanes:
    """§10.4: "The stream is N states as u32 in lane order, then u16 words shared by all lanes." """

    def __init__(self, stream: memoryview, log2_lanes: int, at: int) -> None:
        self.at = at
        self.n = 1 << log2_lanes
        # ENT-6: "The stream is of even length, at least 4·N bytes; every initial state is >= 2^16"
        if len(stream) < 4 * self.n or len(stream) % 2:
            raise DecodeError("BAD_STREAM", at)
        self.x = np.frombuffer(stream, "<u4", self.n).astype(np.int64)
        self.words = np.frombuffer(stream, "<u2", offset=4 * self.n)
        self.used = 0
        self.lane = 0
        if self.x.min() < STATE_LOW:
            raise DecodeError("BAD_STREAM", at)

    def begin_run(self) -> None:
        """§10.4: "Every run starts in lane 0: symbol i of a run is coded in lane i mod N." """
        self.lane = 0

    def rows(self, n: int) -> Iterator[tuple[slice, npt.NDArray[np.int64]]]:
        """The states that decode the next n symbols, row by row; they take their words after each row.

        "The decoder decodes all symbols of a row, then, in lane order, each lane of that row whose state is below 2^16
        takes the next word".
        """
        done = 0
        while done < n:
            m = min(self.n - self.lane, n - done)
            x = self.x[self.lane : self.lane + m]
            yield slice(done, done + m), x
            needy = np.flatnonzero(x < STATE_LOW)
            word = self.words[self.used : self.used + needy.size]
            # "a word that is needed is there"
            if word.size < needy.size:
                raise DecodeError("BAD_STREAM", self.at)
            x[needy] = (x[needy] << 16) | word
            self.used += needy.size
            self.lane = (self.lane + m) % self.n
            done += m

    def symbols(self, table: Table, n: int) -> npt.NDArray[np.int16]:
        """As OneLane.symbols."""
        f, c = np.array(table.f), np.array(table.c)
        found = np.empty(n, np.int16)
        for part, x in self.rows(n):
            slot = x & 16383
            found[part] = symbol = np.searchsorted(c, slot, "right") - 1
            x[:] = f[symbol] * (x >> 14) + slot - c[symbol]
        return found

    def trellis_symbols(self, model: Model, n: int, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
        """As OneLane.trellis_symbols; the two tables lie one after the other."""
        first, second = model.tables
        f, c = np.array(first.f + second.f), np.array(first.c + [16384 + start for start in second.c])
        transitions = np.array(T, np.uint8)
        found = np.empty(n, np.int16)
        for part, x in self.rows(n):
            state = states[self.lane : self.lane + x.size]
            odd = (state & 1).astype(np.int64)
            slot = (x & 16383) + 16384 * odd
            place = np.searchsorted(c, slot, "right") - 1
            found[part] = symbol = place - len(first.f) * odd
            x[:] = f[place] * (x >> 14) + slot - c[place]
            state[:] = transitions[state, (symbol - model.R) & 1]
        return found

    def context_symbols(
        self, start: Integers, f: Integers, c: Integers, model: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int16]:
        """As OneLane.context_symbols."""
        found = np.empty(len(model), np.int16)
        for part, x in self.rows(len(model)):
            slot = (x & 16383) + 16384 * model[part]
            place = np.searchsorted(c, slot, "right") - 1
            found[part] = place - start[model[part]]
            x[:] = f[place] * (x >> 14) + slot - c[place]
        return found

    def fields(self, widths: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
        """As OneLane.fields."""
        found = np.empty(len(widths), np.uint16)
        for part, x in self.rows(len(widths)):
            slot, f = x & 16383, 1 << (14 - widths[part].astype(np.int64))
            found[part] = slot // f
            x[:] = f * (x >> 14) + slot % f
        return found

    def finish(self) -> None:
        """ENT-6 §10.4: "after the last symbol every state is 2^16 and no word is left"."""
        if (self.x != STATE_LOW).any() or self.used != self.words.size:
            raise DecodeError("BAD_STREAM", self.at)


Coder = OneLane | Lanes


# --- 10.1 Values, 10.5 Raw fields --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Values:
    """How a list of `count` integers stands in the body (clause 7.3)."""

    count: int
    width: int = 0  # bits of a packed value or of a raw pattern; 0 for a model
    model: Model | TableModel | None = None  # None with width 0: form ZERO
    raw: bool = False  # without sign: bit patterns of tool 0, indices of tool 3
    one_sided: bool = False  # gaps of tool 3
    trellis: bool = False  # values of tool 2

    @property
    def symbols_drive(self) -> bool:
        """Whether model symbols drive the trellis, not values. TRE-1 §9.4: "With b > 0 the frequencies of quantiser 0
        are used throughout."
        """
        return self.trellis and isinstance(self.model, Model) and self.model.b == 0

    @property
    def bits(self) -> int:
        """Bits of the list in a packed body."""
        return self.count * self.width


class RansBody:
    """§10: "one rANS stream that holds the *runs* of clause 7.4 in order"."""

    def __init__(self, body: memoryview, log2_lanes: int, at: int) -> None:
        self.coder = Lanes(body, log2_lanes, at) if log2_lanes else OneLane(body, at)

    def read(self, values: Values) -> Integers:
        """The next list of the body."""
        if values.raw:
            # §9.2: "Coding 1 writes them as raw fields (clause 10.5)"
            return raw_fields(self.coder, values.count, values.width).view(np.int32)
        if values.model is None:
            return np.zeros(values.count, np.int32)
        if isinstance(values.model, TableModel):
            return decode_table_values(self.coder, values.model, values.count)
        return decode_values(self.coder, values.model, values)

    def bitmaps(self, n_vectors: int, k2: int, s: int) -> Integers:
        """The atoms of support 0, shape (n_vectors·s). §9.5: "All vectors' bitmaps are one run." """
        assert isinstance(self.coder, OneLane)  # SPA-1
        found = np.empty((n_vectors, s), np.int32)
        for row in found:
            row[:] = self.coder.bitmap(k2, s)
        return found.reshape(-1)

    def finish(self) -> None:
        self.coder.finish()


def decode_values(coder: Coder, model: Model, values: Values) -> Integers:
    """A list of integer values, in the three steps of clause 10.1.

    Of a one-sided model, §9.5: "v = u·2^b + low; an escape adds to u".
    """
    n, one_sided = values.count, values.one_sided
    table = model.one_sided_table if one_sided else model.table
    least = 0 if one_sided else -model.R
    half = 0 if one_sided else (1 << model.b) >> 1
    v = np.empty(n, np.int32)
    states = np.zeros(coder.n, np.uint8)
    # "1. a run of n model symbols u, -R <= u <= R"
    coder.begin_run()
    for block in blocks(n):
        size = block.stop - block.start
        v[block] = coder.trellis_symbols(model, size, states) if values.symbols_drive else coder.symbols(table, size)
        v[block] += least
    if model.b > 0:
        # "2. if b > 0: n raw fields of b bits, `low`; then `v = u·2^b + low - 2^(b-1)`"
        v <<= model.b
        v += raw_fields(coder, n, model.b).view(np.int32)  # not kept: LIM-2
        v -= half
    if model.esc:
        add_escapes(coder, model, v, half)
    return v


def add_escapes(coder: Coder, model: Model, v: Integers, half: int) -> None:
    """§10.1: "3. if esc = 1: for the k values with |u| = R, in order, an *escape* e >= 0 each".

    v holds the values without escapes. u is the rounded quotient of v and 2^b, so enlarging u by e adds e·2^b to |v|.
    """
    k = sum(int(np.count_nonzero(at_edge(v[block], model, half))) for block in blocks(v.size))
    prefixes_and_fields = escapes(coder, k)
    used = 0
    for block in blocks(v.size):
        edge = at_edge(v[block], model, half)
        count = int(np.count_nonzero(edge))
        # "u becomes `u + e` if u > 0 and `u - e` if u < 0"
        e = escape_values(prefixes_and_fields[used : used + count])
        old = v[block][edge].astype(np.int64)
        new = np.where(old + half >= 0, old + (e << model.b), old - (e << model.b))
        # ENT-1: "|v| MUST be below 2^31"
        if count and np.abs(new).max() >= 1 << 31:
            raise DecodeError("ACC_OVERFLOW", coder.at)
        v[block][edge] = new
        used += count


def decode_table_values(coder: Coder, model: TableModel, n: int) -> Integers:
    """A list of n latents under latent form 4.

    GRD-7 §9.6.3: "v = u; with table_escape = 1 an escape e follows (clause 10.1, step 3) for every symbol that is the
    lowest, v = u - e, or the highest, v = u + e."
    """
    lowest, highest = -model.A, len(model.table.f) - 1 - model.A
    v = np.empty(n, np.int32)
    coder.begin_run()
    for block in blocks(n):
        v[block] = coder.symbols(model.table, block.stop - block.start)
        v[block] += lowest
    if not model.esc:
        return v
    k = sum(int(np.count_nonzero((v[block] == lowest) | (v[block] == highest))) for block in blocks(n))
    prefixes_and_fields = escapes(coder, k)
    used = 0
    for block in blocks(n):
        is_top = v[block] == highest
        edge = is_top | (v[block] == lowest)
        count = int(np.count_nonzero(edge))
        e = escape_values(prefixes_and_fields[used : used + count])
        # ENT-1, "|v| MUST be below 2^31", cannot be broken: u is one of 511 symbols and e below 2^21
        v[block][edge] += np.where(is_top[edge], e, -e).astype(np.int32)
        used += count
    return v


def escape_values(prefixes_and_fields: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """§10.1: "`e = 2^p - 1 + x`"."""
    p, x = np.divmod(prefixes_and_fields.astype(np.int64), 1 << MAX_PREFIX)
    e: npt.NDArray[np.int64] = (1 << p) - 1 + x
    return e


def escapes(coder: Coder, k: int) -> npt.NDArray[np.uint32]:
    """§10.1: "a run of k prefix symbols p (0 to 20, the fixed model of clause 10.3), then one raw field of p bits, x,
    for each escape with p > 0".

    Each as p·2^20 + x: the four bytes of an escape are the last of the sixteen that LIM-2 allows.
    """
    found = np.empty(k, np.uint32)
    coder.begin_run()
    for block in blocks(k):
        found[block] = coder.symbols(PREFIX, block.stop - block.start)
        found[block] <<= MAX_PREFIX
    for block, more, width, piece in pieces(coder, k, lambda block: (found[block] >> MAX_PREFIX).astype(np.uint8)):
        old = found[block][more]
        x = old & ((1 << MAX_PREFIX) - 1)
        found[block][more] = old - x + ((x << width) | piece)
    return found


def at_edge(v: Integers, model: Model, half: int) -> npt.NDArray[np.bool_]:
    """Which values have |u| = R."""
    edge: npt.NDArray[np.bool_] = np.abs((v + half) >> model.b) == model.R
    return edge


def raw_fields(coder: Coder, n: int, width: int) -> npt.NDArray[np.uint32]:
    """A list of n raw fields of the same width."""
    fields = np.zeros(n, np.uint32)
    for block, _, bits, piece in pieces(coder, n, lambda block: np.full(block.stop - block.start, width, np.uint8)):
        if piece.size:
            fields[block] = (fields[block] << bits) | piece
    return fields


def pieces(
    coder: Coder, n: int, widths: Callable[[slice], npt.NDArray[np.uint8]]
) -> Iterator[tuple[slice, npt.NDArray[np.bool_], npt.NDArray[np.uint8], npt.NDArray[np.uint16]]]:
    """The pieces of n raw fields of 0 to 32 bits: a slice, which of its fields have a further piece, its bits, itself.

    §10.5: "A list of raw fields, each of a width of 0 to 32 bits, is coded 14 bits at a time from the top: first a run
    with the top min(q, 14) bits of every field with q > 0, then, for the fields with q > 14, a run with the next
    min(q - 14, 14) bits, then likewise for those with q > 28."
    """
    for done in (0, 14, 28):
        coder.begin_run()
        for block in blocks(n):
            width = widths(block)
            more = width > done
            width = np.minimum(width[more] - np.uint8(done), 14).astype(np.uint8)
            yield block, more, width, coder.fields(width)
