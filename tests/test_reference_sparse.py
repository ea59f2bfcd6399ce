"""Clauses 8.3 and 9.5 in the reference decoder: the dictionary and sparse codes, against plain Python integers."""

import contextlib
import tracemalloc
import zlib
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from reference_decoder import DecodeError, decode, sparse
from reference_decoder.entropy import OneLane, decay, frequencies, long_model, mf8, one_sided_frequencies
from reference_decoder.generator import T8_UPPER, dictionary, signed_numbers
from reference_decoder.limits import LEVELS
from tests.reference_writer import (
    SEEDED,
    SPARSE,
    HeadFields,
    bitmap_run,
    bits,
    encode_lanes,
    encode_one_lane,
    int32_crc,
    last,
    layer,
    pass_payload,
    value_runs,
)
from tests.test_reference_pass import CODE, STEP, fails, failure, file

SEED = 0x89ABCDEF
OUT, IN = 40, 8
COLUMNS, ROWS, FLATTENED = 0, 1, 2
TABLE = 6  # offset of the table in the payload
Fields = list[tuple[int, int]]
Runs = list[list[tuple[int, int]]]

# R, p0, tb, rb, heavy, b, esc
NARROW = (3, 0, 110, 20, 0, 0, 1)
GAP_MODELS = [NARROW, (5, 60, 120, 0, 1, 0, 1), (2, 0, 100, 0, 0, 3, 1), (1023, 0, 60, 0, 0, 0, 0)]


# --- the text in plain Python --------------------------------------------------------------------------------------


@cache
def philox_words(counter: tuple[int, int, int, int], seed: int) -> list[int]:
    c, k = list(counter), [seed % 2**32, seed >> 32]
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 % 2**32, p0 >> 32 ^ c[3] ^ k[1], p0 % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def dictionary_entry(row: int, atom: int, ordinal: int, law: int, seed: int) -> int:
    if law == 0:
        word = philox_words((row // 128, atom, ordinal, 0), seed)[row % 128 // 32]
        return 1 if word >> row % 32 & 1 else -1
    word = philox_words((row // 16, atom, ordinal, 0), seed)[row % 16 // 4]
    byte = word >> 8 * (row % 4) & 255
    upper = [int(x) for x in T8_UPPER.split()]
    return upper[byte - 128] if byte >= 128 else -upper[127 - byte]


@dataclass(frozen=True)
class Code:
    """A sparse code of a matrix (OUT, IN)."""

    vectors: int
    k2: int
    atoms: list[list[int]]
    x: list[list[int]]

    @property
    def s(self) -> int:
        return len(self.atoms[0])

    def r(self, law: int, ordinal: int = 0) -> list[int]:
        """The integers of the matrix in C order."""
        found = [0] * (OUT * IN)
        for j, (atoms, x) in enumerate(zip(self.atoms, self.x, strict=True)):
            for i in range(SHAPES[self.vectors][1]):
                n = (i * IN + j, j * IN + i, i)[self.vectors]
                found[n] = sum(dictionary_entry(i, a, ordinal, law, SEED) * c for a, c in zip(atoms, x, strict=True))
        return found


SIZES = (39, 5, 50)  # atoms of a vector
SHAPES = ((IN, OUT), (OUT, IN), (1, OUT * IN))  # n_vectors and k1


def code(vectors: int, s: int, k2: int, spread: int = 9) -> Code:
    generator = np.random.default_rng(1000 * vectors + 10 * s + k2)
    n_vectors = SHAPES[vectors][0]
    atoms = [sorted(generator.choice(k2, s, replace=False).tolist()) for _ in range(n_vectors)]
    return Code(vectors, k2, atoms, generator.integers(-spread, spread + 1, (n_vectors, s)).tolist())


# --- writing -------------------------------------------------------------------------------------------------------


def long_form(model: tuple[int, ...]) -> Fields:
    return [(2, 2), *zip(model, (10, 8, 8, 8, 1, 4, 1), strict=True)]


def two_sided(model: tuple[int, ...]) -> list[int]:
    R, p0, tb, rb, heavy = model[:5]
    return frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), bool(heavy))


def one_sided(model: tuple[int, ...]) -> list[int]:
    R, p0, tb, rb, heavy = model[:5]
    g = decay(2**24 - mf8(tb), 2**24 - mf8(rb), bool(heavy))
    u = [next(g) for _ in range(R + 1)]
    rest = 2**14 - (R + 1)
    zero = rest * p0 >> 8
    if p0:
        u[0] = 0
    f = [1 + k * (rest - zero) // max(1, sum(u)) for k in u]
    return [2**14 - sum(f[1:]), *f[1:]]


def gaps(code: Code) -> list[int]:
    return [b - a - 1 for atoms in code.atoms for a, b in zip([-1, *atoms], atoms, strict=False)]


def sparse_fields(code: Code, s: int | None = None) -> Fields:
    return [(code.vectors, 2), (code.k2 - 1, 20), (code.s if s is None else s, 16)]


def coefficients(code: Code) -> list[int]:
    return [c for x in code.x for c in x]


def with_bitmap(code: Code) -> tuple[Fields, Runs]:
    f = two_sided(NARROW)
    runs = [bitmap_run(atoms, code.k2) for atoms in code.atoms]
    fields = [*sparse_fields(code), (0, 1), *long_form(NARROW)]
    return fields, [*runs, *value_runs(coefficients(code), f, 0, True)]


def with_gaps(code: Code, model: tuple[int, ...] = NARROW) -> tuple[Fields, Runs]:
    """The coefficients repeat the model of the gaps (form 3)."""
    b, esc = model[5], bool(model[6])
    runs = value_runs(gaps(code), one_sided(model), b, esc, one_sided=True)
    fields = [*sparse_fields(code), (1, 1), *long_form(model), (3, 2)]
    return fields, [*runs, *value_runs(coefficients(code), two_sided(model), b, esc)]


def with_indices(code: Code, width: int = 10, coefficient_width: int = 8) -> tuple[Fields, Fields]:
    fields = [*sparse_fields(code), (width - 1, 5), (coefficient_width - 1, 5)]
    indices = [(a, width) for atoms in code.atoms for a in atoms]
    return fields, [*indices, *[(c, coefficient_width) for c in coefficients(code)]]


def head_of(law: int = 0, flags: int = 0x23, **fields: Any) -> HeadFields:
    """One layer IN -> OUT of tool 3; without a bias if nothing else is said."""
    given = {"features": SEEDED | SPARSE, "rng_dictionary": 0x10 | law, "seed": SEED, "records": (last(1, flags),)}
    return HeadFields(**{**given, "in_dims": IN, "out_channels": OUT, "grid": (0,) * IN, **fields})


FIRST: Fields = [(0, 1), STEP]  # what stands before the sparse code in pass 0
SUPPORTS = ["bitmap", "gaps", "gaps, 64 lanes", "indices", "indices, zlib"]


def payload(code: Code, support: str, acc: list[int], before: Fields = FIRST, number: int = 0) -> bytes:
    """A PASS chunk of one sparse code."""
    crc = int32_crc(acc)
    if support.startswith("indices"):
        fields, values = with_indices(code)
        body, coding = (bits(*values), 0) if support == "indices" else (zlib.compress(bits(*values)), 2)
        return pass_payload(bits(*before, *fields), body, crc, flags=8 | coding, number=number)
    fields, runs = with_bitmap(code) if support == "bitmap" else with_gaps(code)
    lanes = 6 if "lanes" in support else 0
    body = encode_lanes(runs, lanes) if lanes else encode_one_lane(runs)
    return pass_payload(bits(*before, *fields), body, crc, flags=9 | lanes << 4, number=number)


def weights_of(acc: list[int], step_code: int = CODE) -> list[float]:
    step = np.float32(8388608 * 2.0 ** ((step_code >> 3) - 123))
    return [float(np.float32(a) * step) for a in acc]


# --- 8.3 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [0, 1])
@pytest.mark.parametrize("seed", [SEED, 3 << 40 | 5])
def test_dictionary_entries_are_those_of_plain_integers(law: int, seed: int) -> None:
    atoms = [0, 1, 77, 2**20 - 1]
    for first, rows in ((0, 300), (128, 1), (1024, 200)):
        found = dictionary(np.array(atoms), first, rows, 6, law, seed)
        expected = [[dictionary_entry(first + i, a, 6, law, seed) for i in range(rows)] for a in atoms]
        assert found.tolist() == expected


def test_atoms_made_in_several_steps_are_those_made_in_one() -> None:
    atoms = np.arange(5000)
    whole = dictionary(atoms, 0, 40, 2, 1, SEED)
    assert whole[4097:4099].tolist() == dictionary(atoms[4097:4099], 0, 40, 2, 1, SEED).tolist()


# --- 9.5: what a code gives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [0, 1])
@pytest.mark.parametrize("vectors", [COLUMNS, ROWS, FLATTENED])
@pytest.mark.parametrize("support", SUPPORTS)
def test_vectors_are_sums_of_atoms(law: int, vectors: int, support: str) -> None:
    made = code(vectors, 5, 100)
    field = decode(file([payload(made, support, made.r(law))], head_of(law)))
    assert field.acc_crc == [int32_crc(made.r(law))]
    assert field.weights[0].shape == (OUT, IN)
    assert field.weights[0].ravel().tolist() == weights_of(made.r(law))


@pytest.mark.parametrize("support", SUPPORTS)
@pytest.mark.parametrize(
    ("vectors", "s", "k2"), [(0, 40, 40), (1, 8, 9), (2, 1, 1), (2, 100, 1000), (1, 0, 1), (0, 0, 50)]
)
def test_number_of_atoms_goes_from_none_to_all(support: str, vectors: int, s: int, k2: int) -> None:
    made = code(vectors, s, k2)
    assert decode(file([payload(made, support, made.r(1))], head_of(1))).passes == 1


def test_coefficients_taken_in_groups_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # groups of one column, each with several parts of its atoms
    monkeypatch.setattr(sparse, "GROUP", 16)
    monkeypatch.setattr(sparse, "APPLIED", 16)
    for vectors in (COLUMNS, ROWS, FLATTENED):
        made = code(vectors, SIZES[vectors], 700)
        assert decode(file([payload(made, "indices", made.r(1))], head_of(1))).acc_crc == [int32_crc(made.r(1))]


def test_dictionary_is_that_of_the_tensors_ordinal() -> None:
    made = code(ROWS, 3, 50)
    head = head_of(1, records=(layer(1, 0x23, IN), last(1, 0x23)))
    # the layer of IN inputs and outputs has no atoms
    fields, values = with_indices(made)
    table = bits(*FIRST, (2, 2), (0, 20), (0, 16), (0, 5), (0, 5), *FIRST, *fields)
    acc = [0] * IN * IN + made.r(1, ordinal=2)
    field = decode(file([pass_payload(table, bits(*values), int32_crc(acc))], head))
    assert field.weights[1].ravel().tolist() == weights_of(made.r(1, ordinal=2))


@pytest.mark.parametrize("model", GAP_MODELS)
@pytest.mark.parametrize("lanes", [0, 6])
def test_gaps_of_a_one_sided_model_come_back(model: tuple[int, ...], lanes: int) -> None:
    made = code(COLUMNS, 6, 900, spread=3)
    assert one_sided_frequencies(*parameters(model)) == one_sided(model)
    fields, runs = with_gaps(made, model)
    body = encode_lanes(runs, lanes) if lanes else encode_one_lane(runs)
    data = pass_payload(bits(*FIRST, *fields), body, int32_crc(made.r(0)), flags=9 | lanes << 4)
    assert decode(file([data], head_of(0))).passes == 1


def parameters(model: tuple[int, ...]) -> tuple[int, int, int, int, bool]:
    R, p0, tb, rb, heavy, b, esc = model
    found = long_model(R, p0, tb, rb, bool(heavy), b, bool(esc))
    return found.R, found.p0, found.theta, found.rho, found.heavy


def test_one_sided_frequencies_sum_to_2_to_the_14_and_are_never_zero() -> None:
    generator = np.random.default_rng(1)
    for _ in range(200):
        R, p0, tb, rb = (int(generator.integers(n)) for n in (1024, 256, 169, 169))
        f = one_sided_frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), bool(generator.integers(2)))
        assert (sum(f), len(f), min(f) >= 1) == (1 << 14, R + 1, True)


@pytest.mark.parametrize("coding", [0, 1])
def test_row_steps_prior_and_bias_go_with_a_sparse_code(coding: int) -> None:
    made = code(COLUMNS, 4, 60)
    d = [n % 7 - 3 for n in range(OUT)]
    m, e = 200 << 8, 30
    u = signed_numbers(0, OUT * IN, 0, 1, SEED).tolist()
    acc = [r + (n * m + 2 ** (e - 1) >> e) for r, n in zip(made.r(1), u, strict=True)]
    bias = [2 * n - 9 for n in range(OUT)]
    prior: Fields = [(1, 1), (0, 1), (72, 7), (e - 8, 5)]
    if coding:
        f = two_sided(NARROW)
        fields, runs = with_bitmap(made)
        table = bits(*FIRST, (1, 1), *long_form(NARROW), *prior, *fields, *FIRST, (0, 1), (3, 2))
        body = encode_one_lane([*value_runs(d, f, 0, True), *runs, *value_runs(bias, f, 0, True)])
    else:
        fields, values = with_indices(made)
        table = bits(*FIRST, (1, 1), (3, 5), *prior, *fields, *FIRST, (0, 1), (7, 5))
        body = bits(*[(x, 4) for x in d], *values, *[(x, 8) for x in bias])
    data = pass_payload(table, body, int32_crc([*acc, *bias]), flags=8 | coding)
    field = decode(file([data], head_of(1, 0x1B)))
    M = [8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775]
    steps = [np.float32(M[(CODE + x) & 7] * 2.0 ** (((CODE + x) >> 3) - 123)) for x in d]
    expected = [float(np.float32(a) * steps[n // IN]) for n, a in enumerate(acc)]
    assert field.weights[0].ravel().tolist() == expected
    assert field.weights[1].tolist() == weights_of(bias)


# --- 9.5: later passes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 8])
@pytest.mark.parametrize("support", SUPPORTS)
def test_later_pass_adds_atoms_and_bits(n: int, support: str) -> None:
    base, more = code(COLUMNS, 4, 60), code(FLATTENED, 7, 200)
    acc = [(a << n) + r for a, r in zip(base.r(1), more.r(1), strict=True)]
    later = payload(more, support, acc, [(1, 1), (n, 4)], number=1)
    field = decode(file([payload(base, support, base.r(1)), later], head_of(1)))
    assert field.weights[0].ravel().tolist() == weights_of(acc, CODE - 8 * n)
    assert field.acc_crc == [int32_crc(base.r(1)), int32_crc(acc)]


def test_later_pass_leaves_what_it_does_not_name_and_refines_a_bias_with_refine_bits() -> None:
    base = code(ROWS, 2, 60)
    bias = list(range(OUT))
    fields, values = with_indices(base)
    first = pass_payload(
        bits(*FIRST, *fields, *FIRST, (7, 5)),
        bits(*values, *[(b, 8) for b in bias]),
        int32_crc([*base.r(0), *bias]),
    )
    refined = [4 * b for b in bias]
    later = pass_payload(bits((0, 1), (1, 1), (1, 3), (0, 5)), bytes(OUT // 8), int32_crc(refined), number=1)
    field = decode(file([first, later], head_of(0, 3)))
    assert field.weights[0].ravel().tolist() == weights_of(base.r(0))
    assert field.weights[1].tolist() == weights_of(refined, CODE - 16)


def test_later_pass_keeps_row_steps_at_zero_or_above_at_add_bits() -> None:
    made = code(COLUMNS, 1, 1)
    fields, values = with_indices(made)
    table = bits((1, 1), (16, 10), (1, 1), (4, 5), *fields)
    base = pass_payload(table, bits(*[(-8, 5)] * OUT, *values), int32_crc(made.r(0)))
    head = head_of(0, 0x33)
    assert decode(file([base, payload(made, "indices", [3 * r for r in made.r(0)], [(1, 1), (1, 4)], 1)], head))
    fails([base, payload(made, "indices", [], [(1, 1), (2, 4)], 1)], "STEP_OUT_OF_RANGE", TABLE, head)


# --- 9.5: rules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vectors", "k2", "s", "bit"),
    [
        (COLUMNS, 100, OUT + 1, 30),
        (ROWS, 100, IN + 1, 30),
        (FLATTENED, 1000, OUT * IN + 1, 30),
        (FLATTENED, 100, 101, 30),
    ],
)
@pytest.mark.parametrize("coding", [0, 1])
def test_vectors_and_number_of_atoms_that_cannot_be(vectors: int, k2: int, s: int, bit: int, coding: int) -> None:
    table = bits(*FIRST, (vectors, 2), (k2 - 1, 20), (s, 16), (0, 100))
    fails([pass_payload(table, b"", 0, flags=8 | coding)], "BAD_TABLE", TABLE + bit // 8, head_of())


# --- 9.5: vectors = 3 ----------------------------------------------------------------------------------------------

REPEATED = 3


def two_codes(support: str, repeats: bool, shape: int = OUT) -> tuple[bytes, HeadFields]:
    """Two layers of tool 3, IN -> OUT -> IN, both in columns; the second says so or repeats the first."""
    first, second = (
        code(COLUMNS, 3, 100),
        Code(COLUMNS, 100, [[7, 9, n] for n in range(10, 10 + OUT)], [[1, -2, 3]] * OUT),
    )
    r = [0] * (IN * OUT)
    for j, (atoms, x) in enumerate(zip(second.atoms, second.x, strict=True)):
        for i in range(IN):
            r[i * OUT + j] = sum(dictionary_entry(i, a, 2, 0, SEED) * c for a, c in zip(atoms, x, strict=True))
    write = with_bitmap if support == "bitmap" else with_gaps
    if support == "indices":
        fields, values = with_indices(first)
        more, more_values = with_indices(second)
        body, flags, kept = bits(*values, *more_values), 8, 3
    else:
        fields, runs = write(first)
        more, more_runs = write(second)
        lanes = 6 if "lanes" in support else 0
        body = encode_lanes(runs + more_runs, lanes) if lanes else encode_one_lane(runs + more_runs)
        flags, kept = 9 | lanes << 4, 4
    tail = [(REPEATED, 2), *more[kept:]] if repeats else more
    head = head_of(records=(layer(1, 0x23, shape), last(1, 0x23)), out_channels=IN)
    return pass_payload(bits(*FIRST, *fields, *FIRST, *tail), body, int32_crc(first.r(0) + r), flags=flags), head


@pytest.mark.parametrize("support", ["bitmap", "gaps", "gaps, 64 lanes", "indices"])
def test_repeated_fields_are_those_of_the_last_sparse_code(support: str) -> None:
    (whole, head), (short, _) = two_codes(support, repeats=False), two_codes(support, repeats=True)
    assert len(short) < len(whole)
    assert decode(file([short], head)).weights_sha256 == decode(file([whole], head)).weights_sha256


def test_repeated_fields_may_be_repeated_again_and_skip_what_is_not_sparse() -> None:
    records = (layer(1, 0x03, 3), layer(1, 0x21, 3), layer(1, 0x23, 4), last(1, 0x23))
    table = [*FIRST, (ROWS, 2), (9, 20), (1, 16), (1, 1), (1, 2), (0, 2), (9, 8), (0, 2)]  # the first matrix
    table += [*FIRST, (0, 2), *FIRST, (0, 2)]  # its bias, and the layer of tool 1
    table += [*FIRST, (REPEATED, 2), (3, 2), (0, 2)] * 2
    head = head_of(records=records, in_dims=2, out_channels=2, grid=(0, 0))
    n = 3 * 2 + 3 + 3 * 3 + 4 * 3 + 2 * 4
    # every gap is the first symbol, 0
    data = pass_payload(bits(*table), bytes(4), int32_crc([0] * n), flags=9)
    assert decode(file([data], head)).passes == 1


def test_repeated_fields_need_a_sparse_code_in_this_table() -> None:
    made = code(COLUMNS, 3, 30)
    again = pass_payload(bits((1, 1), (0, 4), (REPEATED, 2), (0, 100)), b"", 0, number=1)
    fails([payload(made, "indices", made.r(0)), again], "BAD_TABLE", TABLE, head_of())
    # at vectors, which is in the second byte of the table
    fails([pass_payload(bits(*FIRST, (REPEATED, 2), (0, 100)), b"", 0)], "BAD_TABLE", TABLE + 1, head_of())


@pytest.mark.parametrize("coding", [0, 1])
def test_repeated_number_of_atoms_fits_the_vectors_at_vectors(coding: int) -> None:
    head = head_of(records=(layer(1, 0x23, OUT), last(1, 0x23)), out_channels=IN)
    for s, fits in ((IN, True), (IN + 1, False)):
        rest = [(1, 1), (1, 2), (0, 2), (9, 8), (0, 2)] if coding else [(5, 5), (0, 5)]
        table = bits(*FIRST, (COLUMNS, 2), (99, 20), (s, 16), *rest, *FIRST, (REPEATED, 2), (0, 100))
        bit = 8 + 38 + sum(n for _, n in rest) + 8
        found = failure(file([pass_payload(table, b"", 0, flags=8 | coding)], head))
        assert (found[0] == "BAD_TABLE") == (not fits)
        if not fits:
            fails([pass_payload(table, b"", 0, flags=8 | coding)], "BAD_TABLE", TABLE + bit // 8, head)


def test_bitmap_is_for_one_lane_only() -> None:
    table = bits(*FIRST, (0, 2), (9, 20), (1, 16), (0, 1), (0, 100))
    fails([pass_payload(table, b"", 0, flags=0x69)], "BAD_TABLE", TABLE + 46 // 8, head_of())


@pytest.mark.parametrize("n", [9, 15])
def test_add_bits_above_8(n: int) -> None:
    made = code(FLATTENED, 1, 2)
    later = pass_payload(bits((1, 1), (n, 4), (0, 100)), b"", 0, number=1)
    fails([payload(made, "indices", made.r(0)), later], "BAD_TABLE", TABLE, head_of())


@pytest.mark.parametrize("s", [0, 1])
@pytest.mark.parametrize("form", [0, 3])
def test_gaps_have_a_model(s: int, form: int) -> None:
    table = bits(*FIRST, (0, 2), (9, 20), (s, 16), (1, 1), (form, 2), (0, 100))
    fails([pass_payload(table, b"", 0, flags=9)], "BAD_MODEL", TABLE + 47 // 8, head_of())


def test_model_of_gaps_that_cannot_be_is_at_its_field() -> None:
    table = bits(*FIRST, (0, 2), (9, 20), (1, 16), (1, 1), (2, 2), (1, 10), (0, 8), (169, 8), (0, 99))
    fails([pass_payload(table, b"", 0, flags=9)], "BAD_MODEL", TABLE + 67 // 8, head_of())


def test_coefficients_may_all_be_zero() -> None:
    made = replace(code(FLATTENED, 3, 9), x=[[0, 0, 0]])
    fields = [*sparse_fields(made), (0, 1), (0, 2)]
    body = encode_one_lane([bitmap_run(made.atoms[0], 9)])
    data = pass_payload(bits(*FIRST, *fields), body, int32_crc([0] * OUT * IN), flags=9)
    assert not decode(file([data], head_of())).weights[0].any()


@pytest.mark.parametrize(("support", "more"), [("bitmap", 5 + 100), ("gaps", 5 + 5), ("indices", 5 + 5)])
def test_atoms_and_coefficients_are_symbols(monkeypatch: pytest.MonkeyPatch, support: str, more: int) -> None:
    made = code(COLUMNS, 5, 100)
    data = payload(made, support, made.r(0))
    symbols = OUT * IN + IN * more + (IN * 5 * OUT + 63) // 64
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=symbols))
    assert decode(file([data], head_of())).passes == 1
    nothing = pass_payload(bits((0, 1)), b"", 0, number=1)
    fails([data, nothing], "LIMIT_SYMBOLS", TABLE, head_of())
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=symbols + OUT * IN))
    assert decode(file([data, nothing], head_of())).passes == 2
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=symbols - 1))
    fails([data], "LIMIT_SYMBOLS", TABLE, head_of())


MOST = (2**31 - 1) // 127


@pytest.mark.parametrize("law", [0, 1])
@pytest.mark.parametrize("x", [[MOST, 0], [-MOST, 0], [MOST - 5, -5]])
def test_largest_coefficients_are_exact_and_larger_ones_overflow(law: int, x: list[int]) -> None:
    def data(code: Code, number: int = 0, before: Fields = FIRST) -> bytes:
        fields, values = with_indices(code, 10, 32)
        return pass_payload(bits(*before, *fields), bits(*values), int32_crc(code.r(law)), number=number)

    made = Code(FLATTENED, 10, [[3, 9]], [x])
    assert decode(file([data(made)], head_of(law))).acc_crc == [int32_crc(made.r(law))]
    for more in ([x[0], x[1] + 1 if x[1] > 0 else x[1] - 1], [-(2**31), 0]):
        at = len(data(made)) - 11  # two indices of 10 bits and two coefficients of 32
        fails([replace_r(data, made, more)], "ACC_OVERFLOW", at, head_of(law))
    zero = replace(made, x=[[0, 0]])
    later = data(replace(made, x=[[MOST + 1, 0]]), 1, [(1, 1), (0, 4)])
    fails([data(zero), later], "ACC_OVERFLOW", len(later) - 11, head_of(law))


def replace_r(data: Any, made: Code, x: list[int]) -> bytes:
    """As `data`, with other coefficients and the CRC of the old ones."""
    content: bytes = data(made)
    fields, values = with_indices(replace(made, x=[x]), 10, 32)
    return content[:TABLE] + bits(*FIRST, *fields) + bits(*values)


def test_prior_is_added_after_the_sum_is_checked() -> None:
    made = Code(FLATTENED, 1, [[0]], [[MOST]])
    fields, values = with_indices(made, 1, 32)
    # U·m / 2^8 overflows with almost any coefficient
    table = bits(*FIRST, (1, 1), (0, 1), (127, 7), (0, 5), *fields)
    head = head_of(1, 0x2B)
    fails([pass_payload(table, bits(*values), 0)], "ACC_OVERFLOW", TABLE + len(table), head)


@pytest.mark.parametrize("atoms", [[3, 3], [4, 3], [3, 10], [1023, 1023]])
def test_indices_that_are_not_ascending_or_not_below_the_number_of_atoms(atoms: list[int]) -> None:
    made = Code(FLATTENED, 10, [atoms], [[2**30, 1]])  # SPA-5 is broken too
    fields, values = with_indices(made, 10, 32)
    table = bits(*FIRST, *fields)
    fails([pass_payload(table, bits(*values), 0)], "BAD_TABLE", TABLE + len(table), head_of())


def test_index_of_32_bits_has_no_sign() -> None:
    made = Code(FLATTENED, 10, [[2**32 - 1]], [[1]])
    fields, values = with_indices(made, 32)
    table = bits(*FIRST, *fields)
    fails([pass_payload(table, bits(*values), 0)], "BAD_TABLE", TABLE + len(table), head_of())


@pytest.mark.parametrize("lanes", [0, 6])
@pytest.mark.parametrize("atoms", [[3, 10], [0, 2**20], [10, 11]])
def test_gaps_that_leave_the_dictionary(lanes: int, atoms: list[int]) -> None:
    made = Code(FLATTENED, 10, [atoms], [[1, 1]])
    fields, runs = with_gaps(made)
    body = encode_lanes(runs, lanes) if lanes else encode_one_lane(runs)
    table = bits(*FIRST, *fields)
    data = pass_payload(table, body, 0, flags=9 | lanes << 4)
    fails([data], "BAD_STREAM", TABLE + len(table), head_of())


def test_atoms_are_checked_when_the_coefficients_are_read() -> None:
    model = (1, 0, 0, 0, 0, 14, 1)
    made = Code(FLATTENED, 10, [[3, 10]], [[2**31, 1]])  # ENT-1 is broken too
    fields, runs = with_gaps(made, model)
    table = bits(*FIRST, *fields)
    fails([pass_payload(table, encode_one_lane(runs), 0, flags=9)], "ACC_OVERFLOW", TABLE + len(table), head_of())


def test_gap_of_2_to_the_31_overflows() -> None:
    model = (1, 0, 0, 0, 0, 14, 1)
    made = Code(FLATTENED, 10, [[2**31]], [[1]])
    fields, runs = with_gaps(made, model)
    table = bits(*FIRST, *fields)
    fails([pass_payload(table, encode_one_lane(runs), 0, flags=9)], "ACC_OVERFLOW", TABLE + len(table), head_of())


def test_bitmap_in_state_zero_has_its_atoms_at_the_end() -> None:
    made = Code(FLATTENED, 1000, [[998, 999]], [[0, 0]])
    table = bits(*FIRST, *sparse_fields(made), (0, 1), (0, 2))
    # zeros cost nothing where the state is 0, and the coefficients have form 0
    assert decode(file([pass_payload(table, bytes(4), int32_crc([0] * OUT * IN), flags=9)], head_of())).passes == 1


@pytest.mark.parametrize(("k2", "atoms"), [(40001, list(range(1, 40001))), (40001, [39999]), (50, [0, 48])])
def test_frequency_of_one_is_kept_from_both_ends(k2: int, atoms: list[int]) -> None:
    # another vector follows, so that the state is not 0
    coder = OneLane(memoryview(encode_one_lane([bitmap_run(atoms, k2), bitmap_run([1, 4], 9)])), 0)
    assert coder.bitmap(k2, len(atoms)) == atoms
    assert coder.bitmap(9, 2) == [1, 4]
    coder.finish()


def test_row_steps_out_of_range_come_before_the_sum_of_the_coefficients() -> None:
    made = Code(FLATTENED, 1, [[0]], [[2**31 - 1]])
    fields, values = with_indices(made, 1, 32)
    table = bits(*FIRST, (1, 1), (15, 5), *fields)
    body = bits(*[(-1000, 16)] * OUT, *values)
    fails([pass_payload(table, body, 0)], "STEP_OUT_OF_RANGE", TABLE + len(table), head_of(0, 0x33))


def test_damaged_sparse_passes_are_decoded_or_refused_with_a_decode_error() -> None:
    made = code(COLUMNS, 3, 30)
    generator = np.random.default_rng(5)
    for support in SUPPORTS:
        good = payload(made, support, made.r(1))
        for _ in range(60):
            bad = bytearray(good)
            bad[int(generator.integers(TABLE, len(bad)))] ^= 1 << int(generator.integers(8))
            for content in (bytes(bad), bytes(bad[: int(generator.integers(len(bad)))])):
                with contextlib.suppress(DecodeError):
                    decode(file([content], head_of(1)))


# --- 14 ------------------------------------------------------------------------------------------------------------


def test_million_coefficients_stay_within_the_memory_of_the_text() -> None:
    """LIM-2: as many coefficients as parameters, escapes that cost nothing, and a pass that adds as many again."""
    rows, k1 = 16000, 64
    records = (bytes([34, 32, 0, 0, 0, 128, 63]), layer(1, 0x23, rows), last(1, 0x21))
    head = HeadFields(features=SEEDED | SPARSE, profile_level=0x13, seed=SEED, records=records)
    # a bitmap that is full, and in state 0 the coefficients -R with escapes of 0
    sparse: Fields = [(ROWS, 2), (k1 - 1, 20), (k1, 16), (0, 1), (2, 2), (1, 10), *[(0, 8)] * 3, (0, 1), (1, 4), (1, 1)]
    row = -3 * dictionary(np.arange(k1), 0, k1, 0, 0, SEED).sum(axis=0, dtype=np.int64)
    passes = []
    for number, before in enumerate((FIRST, [(1, 1), (0, 4)])):
        acc = np.tile((number + 1) * row, rows).astype("<i4").tobytes()
        rest = [*FIRST, (0, 2)] if number == 0 else [(0, 1)]
        crc = zlib.crc32(acc + bytes(4 * rows)) if number == 0 else zlib.crc32(acc)
        passes.append(pass_payload(bits(*before, *sparse, *rest), bytes(4), crc, flags=9, number=number))
    data = file(passes, head)
    tracemalloc.start()
    try:
        assert decode(data).passes == 2
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * (rows * k1 + rows) + (4 << 20)


def test_failure_names_the_field_of_a_sparse_code_that_is_cut() -> None:
    whole = payload(code(COLUMNS, 3, 30), "gaps", [])
    data = file([whole[: TABLE + 4]], head_of())
    assert failure(data) == ("PAYLOAD_TOO_SHORT", len(data) - 4)
