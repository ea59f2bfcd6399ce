"""Clause 9.5, tool 3: SPA-1 to SPA-6, both supports, all codings, passes and memory, against plain Python integers."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sinrfmt
from sinrfmt import payload, report, sparse
from sinrfmt.container import PASS_HEADER_BYTES, PassHeader
from sinrfmt.head import Header, build_head, parse_head
from sinrfmt.model_fit import fit_one_sided, values_cost_bits
from sinrfmt.models import long_model, mf8
from sinrfmt.network import LayerRecord, Network, SeededFourierEncoding
from sinrfmt.payload import TensorCode, pack
from sinrfmt.philox import T8, dictionary_columns, philox
from sinrfmt.registry import LEVELS, Coding, Dictionary, Feature, RecordKind, Tool
from sinrfmt.sparse import SparseCode, Vectors, accumulate, matrix_of, vectors_of, vectors_shape
from sinrfmt.tables import Entry, SparseTable, Width
from tests.reference_writer import encode_lanes, encode_one_lane
from tests.strategies import (
    HEAD,
    PASS,
    STEP,
    assert_decodes,
    assert_fault,
    assert_pass_error,
    bit_string,
    file_of,
    fixed,
    header_of,
    make_file,
    pass_payload,
    seal,
    siren,
    sparse_code,
)

Bits = tuple[int, int]
Run = list[tuple[int, int]]
RANS, LANES = 0x09, 0x69  # flags: coding, bit 3, log2_lanes
SEED = 7
ALL_CODINGS = [*((coding, 0) for coding in Coding), (Coding.RANS, 6)]


# --- the text in plain integers --------------------------------------------------------------------------------------


@cache
def entry_of(law: int, row: int, atom: int, ordinal: int, seed: int) -> int:
    """RNG-7 and RNG-8."""
    per_block = 128 if law == Dictionary.RADEMACHER else 16
    words = philox(row // per_block, atom, ordinal, 0, seed & 0xFFFFFFFF, seed >> 32).tolist()
    if law == Dictionary.RADEMACHER:
        return 1 if words[row % 128 >> 5] >> (row & 31) & 1 else -1
    return int(T8[words[(row & 15) >> 2] >> 8 * (row & 3) & 255])


def naive(code: SparseCode, shape: tuple[int, int], law: int, ordinal: int, seed: int) -> list[int]:
    """r in C order, entry by entry."""
    acc = []
    for o in range(shape[0]):
        for i in range(shape[1]):
            j, row = {0: (i, o), 1: (o, i), 2: (0, o * shape[1] + i)}[code.vectors]
            pairs = zip(code.atoms[j].tolist(), code.coefficients[j].tolist(), strict=True)
            acc.append(sum(entry_of(law, row, a, ordinal, seed) * x for a, x in pairs))
    return acc


def one_sided_frequencies(R: int, p0: int, theta: int, rho: int, heavy: bool) -> list[int]:
    u, t = [], 2**28
    for _ in range(R + 1):
        u.append(t)
        t = t * theta >> 24
        theta = 2**24 - ((2**24 - theta) * rho >> 24) if heavy else theta * rho >> 24
    avail = 2**14 - (R + 1)
    z = avail * p0 >> 8
    avail -= z
    if p0:
        u[0] = 0
    f = [1 + w * avail // max(1, sum(u)) for w in u]
    f[0] += z
    f[0] += 2**14 - sum(f)
    return f


def bitmap_run(atoms: Sequence[int], k2: int) -> Run:
    run, rem = [], len(atoms)
    for a in range(k2):
        left = k2 - a
        if rem in (0, left):
            break
        f1 = min(max((rem * 2**14 + (left >> 1)) // left, 1), 2**14 - 1)
        run.append((f1, 2**14 - f1) if a in atoms else (2**14 - f1, 0))
        rem -= a in atoms
    return run


def flat_run(values: Sequence[int], f: Sequence[int]) -> Run:
    """Model symbols from 0, without low bits and escapes."""
    return [(f[v], sum(f[:v])) for v in values]


# --- files by hand ---------------------------------------------------------------------------------------------------


def plain(n_in: int = 2, n_out: int = 3, **options: Any) -> Network:
    """One linear layer with tool SPARSE, by default 3 x 2 weights and no bias."""
    record = LayerRecord(RecordKind.LINEAR, n_out, tool=Tool.SPARSE, **({"bias": False} | options))
    return Network(n_in, n_out, (record,))


def code_of(atoms: Sequence[Sequence[int]], coefficients: Sequence[Sequence[int]], n_atoms: int = 8,
            vectors: int = 0) -> SparseCode:  # fmt: skip
    return SparseCode(vectors, n_atoms, np.array(atoms, np.int32), np.array(coefficients, np.int32))


def fields_of(code: SparseCode) -> list[Bits]:
    return [(code.vectors, 2), (code.n_atoms - 1, 20), (code.n_nonzero, 16)]


def packed_pass(code: SparseCode, *, lead: Sequence[Bits] = STEP, index_bits: int = 3, width: int = 6,
                index: int = 0, acc: Sequence[int] | None = None) -> bytes:  # fmt: skip
    """A packed pass of one 3 x 2 matrix by the text."""
    table = [*lead, *fields_of(code), (index_bits - 1, 5), (width - 1, 5)]
    indices = [(a, index_bits) for a in code.atoms.ravel().tolist()]
    lists = indices + [(x, width) for x in code.coefficients.ravel().tolist()]
    acc = naive(code, (3, 2), 0, 0, SEED) if acc is None else acc
    return pass_payload(table, bit_string(*lists), acc, index=index)


GOOD = code_of([[0, 5], [2, 7]], [[3, -1], [4, 2]])


def test_a_packed_pass_by_hand() -> None:
    field = sinrfmt.loads(file_of(plain(), packed_pass(GOOD)))
    assert field.states[0].acc.tolist() == naive(GOOD, (3, 2), 0, 0, SEED)


CERTAIN = [(2, 2), (3, 10), (0, 8), (0, 8), (0, 8), (0, 1), (0, 4), (0, 1)]  # R = 3, flat: theta = rho = 2^24


def two_sided_flat() -> list[int]:
    f = [1 + (2**14 - 7) // 7] * 7
    f[3] += 2**14 - sum(f)
    return f


SMALL = code_of([[0, 5], [2, 7]], [[3, -1], [-3, 2]])


def rans_pass(code: SparseCode, runs: list[Run], *, support: Sequence[Bits], coefficients: Sequence[Bits],
              flags: int = RANS, lead: Sequence[Bits] = STEP) -> bytes:  # fmt: skip
    body = encode_lanes(runs, 6) if flags == LANES else encode_one_lane(runs)
    return pass_payload([*lead, *fields_of(code), *support, *coefficients], body, naive(code, (3, 2), 0, 0, SEED),
                        flags=flags)  # fmt: skip


def coefficient_run(code: SparseCode) -> Run:
    return flat_run([x + 3 for x in code.coefficients.ravel().tolist()], two_sided_flat())


def test_support_0_by_hand() -> None:
    """The bitmaps of all vectors, then the coefficients of all vectors."""
    bitmaps = [pair for row in SMALL.atoms.tolist() for pair in bitmap_run(row, 8)]
    one = rans_pass(SMALL, [bitmaps, coefficient_run(SMALL)], support=[(0, 1)], coefficients=CERTAIN)
    assert sinrfmt.loads(file_of(plain(), one)).states[0].acc.tolist() == naive(SMALL, (3, 2), 0, 0, SEED)


@pytest.mark.parametrize("flags", [RANS, LANES])
def test_support_1_by_hand_and_form_3_repeats_the_gaps_parameters(flags: int) -> None:
    """The same parameters are one-sided for gaps (0 .. R) and two-sided for coefficients."""
    code = code_of([[0, 3], [2, 6]], [[3, -1], [-3, 2]])
    gaps = flat_run([0, 2, 2, 3], one_sided_frequencies(3, 0, 2**24, 2**24, False))
    for coefficients in (CERTAIN, [(3, 2)]):
        one = rans_pass(code, [gaps, coefficient_run(code)], support=[(1, 1), *CERTAIN], coefficients=coefficients,
                        flags=flags)  # fmt: skip
        assert sinrfmt.loads(file_of(plain(), one)).states[0].acc.tolist() == naive(code, (3, 2), 0, 0, SEED)


def test_later_values_repeat_the_parameters_of_a_sparse_code() -> None:
    """Form 3 of the bias, which is coded with tool 1."""
    bitmaps = [pair for row in SMALL.atoms.tolist() for pair in bitmap_run(row, 8)]
    bias = flat_run([3 + b for b in (1, -2, 3)], two_sided_flat())
    table = [*STEP, *fields_of(SMALL), (0, 1), *CERTAIN, *STEP, (3, 2)]
    body = encode_one_lane([bitmaps, coefficient_run(SMALL), bias])
    acc = naive(SMALL, (3, 2), 0, 0, SEED)
    field = sinrfmt.loads(file_of(plain(bias=True), pass_payload(table, body, [*acc, 1, -2, 3], flags=RANS)))
    assert [state.acc.tolist() for state in field.states] == [acc, [1, -2, 3]]


# --- vectors = 3 -----------------------------------------------------------------------------------------------------

TWO = Network(2, 2, (LayerRecord(RecordKind.RELU, 3, tool=Tool.SPARSE, bias=False),
                     LayerRecord(RecordKind.LINEAR, 2, tool=Tool.SPARSE, bias=False)))  # fmt: skip
SECOND = code_of([[1, 2], [0, 1], [6, 7]], [[3, 1], [-2, 2], [1, 1]])


def packed_codes(*codes: tuple[SparseCode, Sequence[Bits]], acc: Sequence[int] = ()) -> bytes:
    """A packed pass of sparse codes whose first fields are given; indices have 3 bits, coefficients 6."""
    table = [bits for _, fields in codes for bits in (*STEP, *fields, (2, 5), (5, 5))]
    lists = [pair for code, _ in codes
             for pair in (*((a, 3) for a in code.atoms.ravel().tolist()),
                          *((x, 6) for x in code.coefficients.ravel().tolist()))]  # fmt: skip
    return pass_payload(table, bit_string(*lists), acc)


def test_vectors_3_repeats_the_fields_but_not_the_values() -> None:
    accs = [naive(GOOD, (3, 2), 0, 0, SEED), naive(SECOND, (2, 3), 0, 2, SEED)]
    one = packed_codes((GOOD, fields_of(GOOD)), (SECOND, [(3, 2)]), acc=[*accs[0], *accs[1]])
    assert [state.acc.tolist() for state in sinrfmt.loads(file_of(TWO, one)).states] == accs


def test_vectors_3_repeats_the_support() -> None:
    """Coding 1: neither the bitmaps nor the gaps say it again, the gaps say their values again."""
    second = code_of([[1, 2], [0, 1], [5, 7]], [[3, 1], [-2, 2], [1, 1]])
    accs = [naive(SMALL, (3, 2), 0, 0, SEED), naive(second, (2, 3), 0, 2, SEED)]
    bitmaps = [[pair for row in code.atoms.tolist() for pair in bitmap_run(row, 8)] for code in (SMALL, second)]
    runs = [bitmaps[0], coefficient_run(SMALL), bitmaps[1], coefficient_run(second)]
    table = [*STEP, *fields_of(SMALL), (0, 1), *CERTAIN, *STEP, (3, 2), (3, 2)]
    one = pass_payload(table, encode_one_lane(runs), [*accs[0], *accs[1]], flags=RANS)
    assert [state.acc.tolist() for state in sinrfmt.loads(file_of(TWO, one)).states] == accs
    first = code_of([[0, 3], [2, 6]], [[3, -1], [-3, 2]])
    second = code_of([[1, 2], [0, 1], [3, 7]], [[3, 1], [-2, 2], [1, 1]])
    accs = [naive(first, (3, 2), 0, 0, SEED), naive(second, (2, 3), 0, 2, SEED)]
    f = one_sided_frequencies(3, 0, 2**24, 2**24, False)
    gaps = [flat_run(values, f) for values in ([0, 2, 2, 3], [1, 0, 0, 0, 3, 3])]
    runs = [gaps[0], coefficient_run(first), gaps[1], coefficient_run(second)]
    table = [*STEP, *fields_of(first), (1, 1), *CERTAIN, (3, 2), *STEP, (3, 2), (3, 2), (3, 2)]
    one = pass_payload(table, encode_one_lane(runs), [*accs[0], *accs[1]], flags=RANS)
    assert [state.acc.tolist() for state in sinrfmt.loads(file_of(TWO, one)).states] == accs


def test_vectors_3_needs_a_sparse_code_before_it_in_the_table() -> None:
    """SPA-1: at vectors, 8 bits into the table; not one of a pass before."""
    assert_pass_error("BAD_TABLE", 6 + 1, TWO, packed_codes((GOOD, [(3, 2)]), (SECOND, fields_of(SECOND))))
    accs = [naive(GOOD, (3, 2), 0, 0, SEED), naive(SECOND, (2, 3), 0, 2, SEED)]
    first = packed_codes((GOOD, fields_of(GOOD)), (SECOND, [(3, 2)]), acc=[*accs[0], *accs[1]])
    later = pass_payload([(1, 1), (0, 4), (3, 2), (2, 5), (5, 5), (0, 1)], index=1)
    assert_pass_error("BAD_TABLE", 6, TWO, first, later)


def test_fields_that_are_repeated_fit_the_matrix() -> None:
    """SPA-1: n_nonzero = 3 is at most k1 of the first matrix only; at vectors."""
    three = code_of([[0, 2, 5], [2, 4, 7]], [[3, -1, 1], [4, 2, 2]])
    # The first entry has 8 + 38 + 10 bits, the step of the second 8.
    assert_pass_error("BAD_TABLE", 6 + (56 + 8) // 8, TWO, packed_codes((three, fields_of(three)), (SECOND, [(3, 2)])))


@pytest.mark.parametrize(("coding", "log2_lanes"), ALL_CODINGS)
def test_equal_fields_are_written_once(coding: Coding, log2_lanes: int) -> None:
    header = header_of(siren(6, 9, tool=Tool.SPARSE, bias=False))
    sizes = []
    for n_atoms in (40, 41):
        codes = []
        for position, tensor in enumerate(header.tensors[1:-1]):
            rng = np.random.default_rng(position)
            code = sparse_code(tensor.shape, rng, vectors=1, n_atoms=40, n_nonzero=4)
            codes.append(replace(code, n_atoms=n_atoms if position % 2 else 40))
        ends = [sparse_code(t.shape, np.random.default_rng(9), vectors=0, n_atoms=50, n_nonzero=1)
                for t in (header.tensors[0], header.tensors[-1])]  # fmt: skip
        all_codes = [TensorCode(tensor, step=700, sparse=code)
                     for tensor, code in zip(header.tensors, [ends[0], *codes, ends[1]], strict=True)]  # fmt: skip
        one, states = pack(all_codes, header, coding=coding, log2_lanes=log2_lanes)
        data = seal([(HEAD, build_head(header)), (PASS, one)])
        for found, expected in zip(sinrfmt.loads(data).states, states, strict=True):
            np.testing.assert_array_equal(found.acc, expected.acc)
        sizes.append(len(one))
    # Four of five say it in 2 bits instead of 38 and the support.
    assert sizes[0] <= sizes[1] - 4 * 36 // 8 + 4


# --- exact integers --------------------------------------------------------------------------------------------------


@st.composite
def codes(draw: st.DrawFn) -> tuple[SparseCode, tuple[int, int]]:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    return sparse_code(
        shape, rng, draw(st.sampled_from([0.5, 30.0, 1e5])), vectors=draw(st.sampled_from(Vectors))
    ), shape


@fixed(60)
@given(codes(), st.sampled_from(Dictionary), st.integers(0, 500), st.integers(0, (1 << 64) - 1))
def test_integers_equal_plain_python(
    made: tuple[SparseCode, tuple[int, int]], law: Dictionary, ordinal: int, seed: int
) -> None:
    code, shape = made
    assert accumulate(code, shape, law, ordinal, seed).tolist() == naive(code, shape, law, ordinal, seed)


@pytest.mark.parametrize("law", Dictionary)
@pytest.mark.parametrize(
    ("shape", "vectors", "n_atoms", "n_nonzero"),
    [
        ((40, 30), 2, 1 << 20, 1000),  # several blocks of rows, atoms all over the range
        ((70, 300), 0, 5000, 60),  # several groups of atoms, several blocks of products
        ((700, 60), 1, 70_000, 50),  # several blocks of pairs, and of the range of atoms
        ((300, 2), 0, 300, 300),  # as many atoms as rows
    ],
)
def test_blocks_and_groups_do_not_change_the_integers(
    law: Dictionary, shape: tuple[int, int], vectors: int, n_atoms: int, n_nonzero: int
) -> None:
    code = sparse_code(shape, np.random.default_rng(3), 1e3, vectors=vectors, n_atoms=n_atoms, n_nonzero=n_nonzero)
    used, place = np.unique(code.atoms, return_inverse=True)
    n_vectors, k1 = vectors_shape(vectors, shape)
    entries = dictionary_columns(law, k1, used, 4, 99).astype(np.int64)
    dense = np.zeros((n_vectors, used.size), np.int64)
    np.put_along_axis(dense, place.reshape(code.atoms.shape), code.coefficients, axis=1)
    expected = matrix_of(dense @ entries.T, vectors, shape).ravel()
    np.testing.assert_array_equal(accumulate(code, shape, law, 4, 99), expected)


@pytest.mark.parametrize("law", Dictionary)
def test_the_largest_sums_that_spa_5_allows_are_exact(law: Dictionary) -> None:
    largest = ((1 << 31) - 1) // 127
    code = code_of([[3, 4]], [[largest - 1, -1]], vectors=2)
    assert accumulate(code, (2, 100), law, 0, 5).tolist() == naive(code, (2, 100), law, 0, 5)


@pytest.mark.parametrize("first_row", [0, 128, 384])
@pytest.mark.parametrize("law", Dictionary)
def test_a_stretch_of_rows_is_that_of_the_whole_column(law: Dictionary, first_row: int) -> None:
    whole = dictionary_columns(law, 500, [3, 9], 2, SEED)
    part = dictionary_columns(law, 70, [3, 9], 2, SEED, first_row=first_row)
    np.testing.assert_array_equal(part, whole[first_row : first_row + 70])


@pytest.mark.parametrize("vectors", Vectors)
def test_vectors_and_matrix_are_inverse(vectors: int) -> None:
    matrix = np.arange(12, dtype=np.int32).reshape(3, 4)
    rows = vectors_of(matrix, vectors)
    assert rows.shape == vectors_shape(vectors, matrix.shape)
    np.testing.assert_array_equal(matrix_of(rows, vectors, matrix.shape), matrix)
    first = {0: [0, 4, 8], 1: [0, 1, 2, 3], 2: list(range(12))}
    assert rows[0].tolist() == first[vectors]


# --- models ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1023), st.integers(0, 255), st.integers(0, 168), st.integers(0, 168), st.booleans())
def test_one_sided_frequencies_equal_plain_integers(R: int, p0: int, tb: int, rb: int, heavy: bool) -> None:
    model = replace(long_model(R, p0, tb, rb, heavy, b=0, esc=False), one_sided=True)
    expected = one_sided_frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), heavy)
    assert model.frequencies().tolist() == expected
    assert sum(expected) == 2**14 and min(expected) >= 1


@given(st.integers(0, 1 << 32), st.sampled_from([1, 2, 40, 3000, 500_000]))
@fixed(40)
def test_the_model_of_gaps_holds_them_and_is_near_their_entropy(seed: int, mean: int) -> None:
    gaps = np.random.default_rng(seed).geometric(1 / (mean + 1), 500) - 1
    parameters, bits = fit_one_sided(gaps)
    model = replace(parameters.model(), one_sided=True)
    assert bits == pytest.approx(values_cost_bits(gaps, model) + parameters.parameter_bits)
    p = 1 / (mean + 1)
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) / p
    assert bits / gaps.size < 1.15 * entropy + 0.1


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("coding", "log2_lanes"), [*ALL_CODINGS, (Coding.RANS, 12)])
@pytest.mark.parametrize("law", Dictionary)
@pytest.mark.parametrize("options", [{}, {"prior": True, "row_steps": True}])
def test_every_coding_of_several_passes(
    coding: Coding, log2_lanes: int, law: Dictionary, options: dict[str, bool]
) -> None:
    header = header_of(siren(2, 9, tool=Tool.SPARSE, **options), dictionary=law, level=LEVELS[2])
    made = make_file(header, [(coding, log2_lanes)] * 3, seed=law)
    assert assert_decodes(made).header.dictionary is law
    for n in (1, 2):
        for state, expected in zip(sinrfmt.loads(made.data, passes=n).states, made.states[n - 1], strict=True):
            np.testing.assert_array_equal(state.acc, expected.acc)


def write(code: SparseCode, coding: Coding = Coding.RANS, log2_lanes: int = 0, **fields: Any) -> tuple[Header, bytes]:
    header = header_of(plain())
    return header, pack([TensorCode(header.network.tensors[0], step=700, sparse=code, **fields)], header, coding=coding,
                        log2_lanes=log2_lanes)[0]  # fmt: skip


def table_of(header: Header, one: bytes, coding: Coding, log2_lanes: int = 0) -> tuple[Entry, int]:
    (entry,), body = payload.tables.parse(
        one, PASS_HEADER_BYTES, header.network.tensors, coding, {}, log2_lanes=log2_lanes
    )
    return entry, body


@pytest.mark.parametrize(("coding", "log2_lanes"), ALL_CODINGS)
@pytest.mark.parametrize("vectors", Vectors)
def test_a_code_without_atoms(coding: Coding, log2_lanes: int, vectors: int) -> None:
    """SPA-2: its fields are there, no list is."""
    empty = np.empty((vectors_shape(vectors, (3, 2))[0], 0), np.int32)
    _, one = write(SparseCode(vectors, 5, empty, empty), coding, log2_lanes)
    assert not sinrfmt.loads(file_of(plain(), one)).states[0].acc.any()


def test_the_writer_takes_the_cheaper_support() -> None:
    network = plain(30, 200)
    header = header_of(network)
    rng = np.random.default_rng(1)
    tensor = network.tensors[0]
    few_of_many = sparse_code(tensor.shape, rng, vectors=0, n_atoms=20_000, n_nonzero=2)
    ends = np.tile(np.r_[0:40, 160:200].astype(np.int32), (30, 1))
    close = SparseCode(0, 200, ends, np.ones_like(ends))
    uniform = sparse_code(tensor.shape, rng, vectors=0, n_atoms=200, n_nonzero=100)
    for code, is_bitmap in ((few_of_many, True), (close, False), (uniform, True)):
        one = pack([TensorCode(tensor, step=700, sparse=code)], header)[0]
        table = table_of(header, one, Coding.RANS)[0].sparse
        assert table is not None and (table.indices is None) == is_bitmap


@pytest.mark.parametrize(("least", "widths"), [(1, (3, 4)), (4, (4, 4)), (16, (16, 16))])
def test_packed_widths_are_those_needed_or_asked_for(least: int, widths: tuple[int, int]) -> None:
    header, one = write(GOOD, Coding.PACKED, least_width=least)
    entry, body = table_of(header, one, Coding.PACKED)
    assert entry.sparse is not None
    assert (entry.sparse.indices, entry.values) == (Width(widths[0]), Width(widths[1]))
    assert len(one) - body == -(-4 * sum(widths) // 8)
    assert sinrfmt.loads(file_of(plain(), one)).states[0].acc.tolist() == naive(GOOD, (3, 2), 0, 0, SEED)


# --- HEAD ------------------------------------------------------------------------------------------------------------


def test_features_follow_from_the_tool() -> None:
    head = build_head(header_of(plain(), dictionary=Dictionary.T8))
    features = int.from_bytes(head[2:4], "little")
    assert features == 1 << Feature.SPARSE | 1 << Feature.SEEDED
    assert parse_head(head).dictionary is Dictionary.T8
    tool_flags_at = len(head) - 1
    without = head[:2] + (1 << Feature.SEEDED).to_bytes(2, "little") + head[4:]
    assert_fault("FEATURE_MISMATCH", tool_flags_at, parse_head, without)


def test_tool_3_needs_a_seed() -> None:
    """HED-9 with the feature SEEDED: without it there is no dictionary."""
    head = build_head(header_of(plain(), grid=()))
    seeded_at = 14  # after the two grid entries of u16
    without = head[:2] + (1 << Feature.SPARSE).to_bytes(2, "little") + head[4:seeded_at] + head[seeded_at + 5 :]
    assert_fault("FEATURE_MISMATCH", len(without) - 1, parse_head, without)


# --- SPA-1 and SPA-2 -------------------------------------------------------------------------------------------------


def table_pass(*fields: Bits, flags: int = 0x08, lead: Sequence[Bits] = STEP) -> bytes:
    return pass_payload([*lead, *fields], flags=flags)


def test_spa_1_vectors() -> None:
    assert_pass_error("BAD_TABLE", 6 + 1, plain(), table_pass((3, 2), (0, 46)))


@pytest.mark.parametrize(("vectors", "k2", "most"), [(0, 8, 3), (1, 8, 2), (2, 8, 6), (2, 5, 5), (0, 2, 2)])
def test_spa_1_n_nonzero_is_at_most_k1_and_k2(vectors: int, k2: int, most: int) -> None:
    """BAD_TABLE at the byte of the field's first bit, which is bit 30 of the table; the fields after it are there."""
    fields = [(vectors, 2), (k2 - 1, 20)]
    one = table_pass(*fields, (most, 16), (0, 10))
    assert_pass_error("PAYLOAD_TOO_SHORT", len(one), plain(), one)
    assert_pass_error("BAD_TABLE", 6 + 3, plain(), table_pass(*fields, (most + 1, 16), (0, 10)))


def test_spa_1_lanes_have_no_bitmaps() -> None:
    fields = [(0, 2), (7, 20), (2, 16), (0, 1), (0, 2)]
    assert_pass_error("BAD_TABLE", 6 + 5, plain(), table_pass(*fields, flags=LANES))
    assert_pass_error("PAYLOAD_TOO_SHORT", 6 + 7, plain(), table_pass(*fields[:3], (1, 1), (1, 2), flags=LANES))


def later(code: SparseCode, n: int, before: Sequence[int], index: int = 1) -> bytes:
    acc = [a * 2**n + r for a, r in zip(before, naive(code, (3, 2), 0, 0, SEED), strict=True)]
    return packed_pass(code, lead=[(1, 1), (n, 4)], acc=acc, index=index)


@pytest.mark.parametrize("n", [0, 1, 8])
def test_spa_4_a_later_pass_adds_bits_or_atoms(n: int) -> None:
    before = naive(GOOD, (3, 2), 0, 0, SEED)
    state = sinrfmt.loads(file_of(plain(), packed_pass(GOOD), later(SMALL, n, before))).states[0]
    assert state.acc.tolist() == [a * 2**n + r for a, r in zip(before, naive(SMALL, (3, 2), 0, 0, SEED), strict=True)]
    assert state.step == 700 - 8 * n


@pytest.mark.parametrize("n", [9, 15])
def test_spa_1_add_bits_is_at_most_8(n: int) -> None:
    assert_pass_error("BAD_TABLE", 6, plain(), packed_pass(GOOD), later(GOOD, n, [0] * 6))


def test_tab_4_at_add_bits() -> None:
    base = packed_pass(GOOD, lead=[(1, 1), (15, 10)])
    acc = naive(GOOD, (3, 2), 0, 0, SEED)
    sinrfmt.loads(file_of(plain(), base, later(GOOD, 1, acc)))
    assert_pass_error("STEP_OUT_OF_RANGE", 6, plain(), base, later(GOOD, 2, acc))
    sinrfmt.loads(file_of(plain(), packed_pass(GOOD, lead=[(1, 1), (0, 10)]), later(GOOD, 0, acc)))


def test_spa_2_gaps_have_no_form_0() -> None:
    fields = [(0, 2), (7, 20), (2, 16), (1, 1)]
    assert_pass_error("BAD_MODEL", 6 + 5, plain(), table_pass(*fields, (0, 2), flags=RANS))
    assert_pass_error("BAD_MODEL", 6 + 5, plain(), table_pass(*fields, (3, 2), flags=RANS))  # TAB-3: nothing to repeat
    assert_pass_error("BAD_MODEL", 6 + 6, plain(), table_pass(*fields, (1, 2), (0, 2), (255, 8), (0, 2), flags=RANS))


# --- SPA-3 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "expected"), [(None, 2 * 3 + 2 * 8 + 1), (Width(3), 2 * 3 + 2 * 3 + 1), (Width(32), 2 * 3 + 2 * 3 + 1)]
)
def test_spa_3_symbols_of_an_entry(indices: Width | None, expected: int) -> None:
    table = SparseTable(0, 8, 3, indices)
    tensor = plain().tensors[0]
    assert Entry(tensor, Width(1), 700, sparse=table).n_own_symbols == expected
    assert Entry(tensor, Width(1), 700, Width(1), sparse=table).n_own_symbols == expected + 3


def test_spa_3_is_checked_before_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    one = packed_pass(GOOD)
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=6 + 4 + 4))
    assert_pass_error("LIMIT_SYMBOLS", 6, plain(), one[:-1])
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=6 + 4 + 4 + 1))
    assert_pass_error("PAYLOAD_TOO_SHORT", len(one) - 1, plain(), one[:-1])


# --- SPA-5 and SPA-6 -------------------------------------------------------------------------------------------------

BODY = 6 + 7  # packed: 8 + 38 + 10 bits of table


@pytest.mark.parametrize("coefficients", [[1 << 30, 0], [-(1 << 31), 0], [8454660, 8454660 + 1]])
def test_spa_5_sums_of_a_vector(coefficients: list[int]) -> None:
    """127 * 16909320 < 2^31 <= 127 * 16909321; one vector is enough, a weight that is small after all is no excuse."""
    code = code_of([[0, 5], [2, 7]], [[0, 0], coefficients])
    assert_pass_error("ACC_OVERFLOW", BODY, plain(), packed_pass(code, width=32))
    assert_fault("ACC_OVERFLOW", 0, write, code)


def test_spa_5_the_largest_sum() -> None:
    code = code_of([[0, 5], [2, 7]], [[8454660, -8454660], [-16909320, 0]])
    one = packed_pass(code, width=32)
    assert sinrfmt.loads(file_of(plain(), one)).states[0].acc.tolist() == naive(code, (3, 2), 0, 0, SEED)


def test_spa_5_comes_after_the_end_of_the_body() -> None:
    """Clause 7.5: overflow of clause 9 is looked for when all values are read."""
    one = packed_pass(code_of([[0, 5], [2, 7]], [[1 << 30, 0], [0, 0]]), width=32)
    assert_pass_error("SURPLUS_BYTES", len(one), plain(), one + b"\x00")


@pytest.mark.parametrize("atoms", [[5, 5], [5, 2], [5, 8], [8, 5], [0, (1 << 32) - 1], [1 << 31, 3]])
@pytest.mark.parametrize("vector", [0, 1])
def test_spa_6_indices(atoms: list[int], vector: int) -> None:
    """n_atoms is 8; indices are unsigned."""
    rows = [[1, 2], [1, 2]]
    rows[vector] = atoms
    code = SparseCode(0, 8, np.array(rows, np.int64), np.ones((2, 2), np.int32))  # type: ignore[arg-type]
    assert_pass_error("BAD_TABLE", BODY, plain(), packed_pass(code, index_bits=32, acc=[0] * 6))


@pytest.mark.parametrize(("gaps", "is_valid"), [([0, 3, 3, 3], True), ([3, 3, 0, 0], True), ([0, 4, 0, 0], True),
                                                ([0, 0, 4, 4], False), ([4, 3, 0, 0], False)])  # fmt: skip
def test_spa_6_gaps_end_below_n_atoms(gaps: list[int], is_valid: bool) -> None:
    """n_atoms is 8: the gaps of a vector and its s - 1 steps add up to 7 at most."""
    f = one_sided_frequencies(4, 0, 2**24, 2**24, False)
    model = [(2, 2), (4, 10), *CERTAIN[2:]]
    atoms = [[gaps[0], gaps[0] + gaps[1] + 1], [gaps[2], gaps[2] + gaps[3] + 1]]
    code = code_of(atoms, [[0, 0], [0, 0]])
    one = pass_payload([*STEP, *fields_of(code), (1, 1), *model, (0, 2)], encode_one_lane([flat_run(gaps, f)]),
                       [0] * 6, flags=RANS)  # fmt: skip
    if is_valid:
        assert not sinrfmt.loads(file_of(plain(), one)).states[0].acc.any()
    else:
        assert_pass_error(
            "BAD_STREAM", 6 + len(bit_string(*STEP, *fields_of(code), (1, 1), *model, (0, 2))), plain(), one
        )


def test_spa_6_gaps_that_pass_32_bits_together() -> None:
    gaps = np.full((1, 3), (1 << 31) - 1, np.int32)
    assert_fault("BAD_STREAM", 0, sparse.atoms_of_gaps, gaps, 1 << 20)


def test_what_a_decoder_refuses_is_not_packed() -> None:
    for atoms in ([5, 5], [5, 2], [5, 8], [-1, 3]):
        assert_fault("BAD_TABLE", 0, write, code_of([[0, 1], atoms], [[1, 1], [1, 1]]))
    assert_fault("BAD_TABLE", 0, write, code_of([[0, 1, 2, 3]] * 2, [[1] * 4] * 2))
    assert_fault("BAD_TABLE", 0, write, code_of([[0, 1, 2, 3]] * 2, [[1] * 4] * 2), Coding.PACKED)


# --- report ----------------------------------------------------------------------------------------------------------


def test_report_of_a_sparse_layer() -> None:
    _, one = write(GOOD, Coding.PACKED, least_width=16)
    (layer,) = report.summary(sinrfmt.loads(file_of(plain(), one)))["layers"]
    found = {name: layer[name] for name in ("tool", "vectors", "n_atoms", "n_nonzero", "numbers_per_vector")}
    assert found == {"tool": "SPARSE", "vectors": "COLUMNS", "n_atoms": 8, "n_nonzero": 2, "numbers_per_vector": 4}
    assert layer["bits_per_weight"] == round(4 * 32 / 6, 3)


@pytest.mark.parametrize("log2_lanes", [0, 6])
def test_bits_of_a_sparse_layer_are_about_the_body(log2_lanes: int) -> None:
    hidden = LayerRecord(RecordKind.SINE, 60, tool=Tool.SPARSE, bias=False)
    network = Network(1, 1, (hidden, LayerRecord(RecordKind.LINEAR, 1, bias=False)), SeededFourierEncoding(50, 1.0))
    header = header_of(network)
    weight, last = network.tensors
    code = sparse_code(weight.shape, np.random.default_rng(2), vectors=0, n_atoms=256, n_nonzero=20)
    tensors = [TensorCode(weight, step=700, sparse=code), TensorCode(last, np.zeros(60, np.int32), 700)]
    one = pack(tensors, header, log2_lanes=log2_lanes)[0]
    layer, _ = report.summary(sinrfmt.loads(file_of(network, one)))["layers"]
    lanes_bits = 24 << log2_lanes  # what a lane costs beside its words
    assert layer["bits_per_weight"] * 6000 == pytest.approx(8 * (len(one) - 20) - lanes_bits, rel=0.02)


# --- LIM-2 -----------------------------------------------------------------------------------------------------------


def wide_network() -> Network:
    """2^18 weights in vectors of 16."""
    record = LayerRecord(RecordKind.LINEAR, 16, tool=Tool.SPARSE, bias=False)
    return Network(1, 16, (record,), SeededFourierEncoding(1 << 13, 1.0))


@pytest.mark.parametrize(
    ("coding", "log2_lanes", "vectors", "n_nonzero", "n_atoms"),
    [
        (Coding.PACKED, 0, 0, 16, 64),
        (Coding.ZLIB, 0, 0, 8, 300),
        (Coding.RANS, 12, 0, 16, 64),
        (Coding.PACKED, 0, 2, 100, 1 << 20),
        (Coding.RANS, 0, 2, 100, 1 << 16),
    ],
)
def test_lim_2_memory_of_two_passes(
    coding: Coding, log2_lanes: int, vectors: int, n_nonzero: int, n_atoms: int
) -> None:
    network = wide_network()
    header = header_of(network, n_passes=2, level=LEVELS[3], dictionary=Dictionary.T8)
    (tensor,) = network.tensors
    code = sparse_code(tensor.shape, np.random.default_rng(0), vectors=vectors, n_atoms=n_atoms, n_nonzero=n_nonzero)
    base, states = pack([TensorCode(tensor, step=700, sparse=code)], header, coding=coding, log2_lanes=log2_lanes)
    more, _ = pack([TensorCode(tensor, refine_bits=1, sparse=code)], header, coding=coding, log2_lanes=log2_lanes,
                   index=1, before=states)  # fmt: skip
    for index, (one, before) in enumerate([(base, None), (more, states)]):
        pass_header = PassHeader(coding, log2_lanes, True, index, int.from_bytes(one[2:6], "little"))
        tracemalloc.start()
        try:
            payload.unpack(one, pass_header, header, before, 0)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        held = len(one) + (4 * tensor.size if before else 0)
        assert peak + held < 16 * tensor.size + 4 * len(one) + (4 << 20)


def test_lim_2_memory_of_a_dictionary_that_is_never_whole() -> None:
    """2^16 atoms of 1024 rows would be 64 MiB."""
    code = sparse_code((1024, 256), np.random.default_rng(0), vectors=0, n_atoms=1 << 16, n_nonzero=8)
    tracemalloc.start()
    try:
        accumulate(code, (1024, 256), Dictionary.T8, 0, SEED)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 256 + (4 << 20)
