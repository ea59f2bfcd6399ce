"""Clauses 7.1, 7.4, 7.5, 9 and 11: PASS chunks written by hand and by the library; PAS-1 to PAS-5, WGT-3 to WGT-5."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import brotli
import numpy as np
import pytest
import zstandard
from hypothesis import given

import sinrfmt
from sinrfmt import payload
from sinrfmt.head import Header, build_head
from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode, pack
from sinrfmt.rans import StreamEncoder
from sinrfmt.registry import LEVELS, Coding, Profile, RecordKind, Tool
from sinrfmt.tables import Prior
from tests.strategies import (
    HEAD,
    PASS,
    STEP,
    Made,
    assert_decodes,
    assert_error,
    assert_fault,
    assert_pass_error,
    bit_string,
    file_of,
    files,
    fixed,
    header_of,
    make_file,
    pass_payload,
    payload_offset,
    seal,
    siren,
    small_file,
)

Field = tuple[int, int]
PACKED, RANS = 0x08, 0x09  # flags: coding, and bit 3


def plain(n_in: int = 2, n_out: int = 1, **options: Any) -> Network:
    """One linear layer, by default two weights and no bias."""
    return Network(n_in, n_out, (LayerRecord(RecordKind.LINEAR, n_out, **({"bias": False} | options)),))


def packed(values: Sequence[int], width: int) -> bytes:
    return bit_string(*((v, width) for v in values))


def good(values: Sequence[int] = (5, -3), width: int = 4, **options: Any) -> bytes:
    """A packed pass of the plain network."""
    return pass_payload([*STEP, (width - 1, 5)], packed(values, width), options.pop("acc", values), **options)


def test_a_pass_by_hand() -> None:
    field = sinrfmt.loads(file_of(plain(), good()))
    assert field.states[0].acc.tolist() == [5, -3]
    step = np.float32(11863283 * 2.0 ** (87 - 123))  # code 700 = 8 * 87 + 4
    np.testing.assert_array_equal(field.weights[0], [[5 * step, -3 * step]])
    assert field.acc_crc == (zlib.crc32(struct.pack("<2i", 5, -3)),)


def test_a_later_pass_by_hand() -> None:
    later = pass_payload([(1, 1), (1, 3), (2, 5)], packed([-4, 3], 3), [16, -9], index=1)
    field = sinrfmt.loads(file_of(plain(), good(), later))
    assert (field.states[0].acc.tolist(), field.states[0].step) == ([16, -9], 684)


# --- 7.1 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", [5, 6, 7])
def test_unknown_coding(coding: int) -> None:
    assert_pass_error("UNKNOWN_ID", 0, plain(), good(flags=8 | coding))


@pytest.mark.parametrize("coding", [Coding.BROTLI, Coding.ZSTANDARD])
def test_pas_1_codings_of_the_profile(coding: Coding) -> None:
    made = small_file((coding, 0))
    header = replace(made.header, profile=Profile.CORE)
    data = seal([(HEAD, build_head(header)), (PASS, pack_again(made))])
    assert_error("PROFILE_FORBIDS", payload_offset(data, 1), sinrfmt.loads, data)
    assert_pass_error("PROFILE_FORBIDS", 0, plain(), good(flags=coding), profile=Profile.CORE)  # before PAS-2 and PAS-3


def pack_again(made: Made) -> bytes:
    start = payload_offset(made.data, 1)
    return made.data[start:-4]


@pytest.mark.parametrize("coding", [Coding.PACKED, Coding.RANS, Coding.ZLIB])
def test_pas_1_core_has_three_codings(coding: Coding) -> None:
    assert_decodes(make_file(header_of(siren(1), profile=Profile.CORE), [(coding, 0)]))


@pytest.mark.parametrize("coding", Coding)
@pytest.mark.parametrize("log2_lanes", range(1, 16))
def test_pas_2_lanes(coding: Coding, log2_lanes: int) -> None:
    if coding is Coding.RANS and 6 <= log2_lanes <= 12:
        assert_decodes(small_file((coding, log2_lanes)))
    else:
        assert_pass_error("BAD_LANES", 0, plain(), good(flags=coding | log2_lanes << 4))  # before PAS-3


def test_pas_3_and_pas_4_pass_order() -> None:
    assert_pass_error("PASS_ORDER", 0, plain(), good(flags=0))
    assert_pass_error("PASS_ORDER", 0, plain(), good(flags=0, index=1))
    assert_pass_error("PASS_ORDER", 1, plain(), good(index=1))
    for index in (0, 2, 255):
        assert_pass_error("PASS_ORDER", 1, plain(), good(), good(index=index))


def test_a_sub_header_that_is_cut() -> None:
    for n in range(6):
        assert_pass_error("PAYLOAD_TOO_SHORT", n, plain(), good()[:n])


# --- 7.2 to 7.4 ------------------------------------------------------------------------------------------------------


def test_errors_of_the_table_are_at_their_byte() -> None:
    long_form = [(1, 1), (700, 10), (3, 5)]
    assert_pass_error("BAD_TABLE", 6, plain(), pass_payload(long_form, bytes(1)))
    assert_pass_error("PADDING_NOT_ZERO", 7, plain(), pass_payload([*STEP, (3, 5), (1, 1)], bytes(1)))
    assert_pass_error("BAD_MODEL", 7, plain(), pass_payload([*STEP, (3, 2)], bytes(4), flags=RANS))
    for n in (6, 7):
        assert_pass_error("PAYLOAD_TOO_SHORT", n, plain(), good()[:n])


def test_tab_4_is_at_refine_bits() -> None:
    base = pass_payload([(1, 1), (15, 10), (0, 5)], packed([0, 0], 1), [0, 0])
    fine = pass_payload([(1, 1), (0, 3), (0, 5)], packed([0, 0], 1), [0, 0], index=1)
    sinrfmt.loads(file_of(plain(), base, fine))
    wrong = pass_payload([(1, 1), (1, 3), (0, 5)], packed([0, 0], 1), [0, 0], index=1)
    assert_pass_error("STEP_OUT_OF_RANGE", 6, plain(), base, wrong)
    assert_pass_error("STEP_OUT_OF_RANGE", 6, plain(), base, fine, replace_index(fine, 2))  # 15 - 8 - 8


def replace_index(one: bytes, index: int) -> bytes:
    return one[:1] + bytes([index]) + one[2:]


@pytest.mark.parametrize(("rows", "allowed"), [([0, 0], 2), ([5, 9], 2), ([0, -1], 1), ([-9, 3], 0)])
def test_tab_4_counts_the_lowest_row(rows: list[int], allowed: int) -> None:
    """Step code 16 keeps two octaves unless a row is below it."""
    network = plain(1, 2, row_steps=True)
    base = pass_payload([(1, 1), (16, 10), (1, 1), (4, 5), (0, 5)], bit_string(*((d, 5) for d in rows), (0, 2)), [0, 0])
    for n in (1, 2, 3):
        later = pass_payload([(1, 1), (n - 1, 3), (0, 5)], packed([0, 0], 1), [0, 0], index=1)
        if n <= allowed:
            field = sinrfmt.loads(file_of(network, base, later))
            assert field.states[0].step == 16 - 8 * n
            assert field.states[0].row_steps is not None
            assert field.states[0].row_steps.tolist() == rows
        else:
            assert_pass_error("STEP_OUT_OF_RANGE", 6, network, base, later)


def symbols_file(n_passes: int, form: Sequence[Field]) -> bytes:
    """Passes of 2**17 weights in two tensors, each value with a symbol that costs nothing or with none."""
    network = Network(1, 255, tuple(LayerRecord(RecordKind.LINEAR, width, bias=False) for width in (512, 255)))
    acc = [0] * (1 << 17)
    base = pass_payload([*STEP, *form] * 2, bytes(4), acc, flags=RANS)
    later = [pass_payload([(1, 1), (0, 3), *form] * 2, bytes(4), acc, flags=RANS, index=i) for i in range(1, n_passes)]
    return file_of(network, base, *later)


def test_tab_5_symbols_of_all_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass counts all parameters, whatever it codes; the error is at the first byte after the sub-header."""
    certain = [(2, 2), (0, 10), (0, 8), (0, 8), (0, 8), (0, 1), (0, 4), (0, 1)]  # R = 0: one symbol
    monkeypatch.setitem(LEVELS, 2, replace(LEVELS[2], symbols=3 << 17))
    for form in (certain, [(0, 2)]):
        sinrfmt.loads(symbols_file(3, form))
        data = symbols_file(4, form)
        assert_error("LIMIT_SYMBOLS", payload_offset(data, 4) + 6, sinrfmt.loads, data)


def test_tab_5_is_checked_before_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=1))
    assert_pass_error("LIMIT_SYMBOLS", 6, plain(), good()[:-1])
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=2))
    assert_pass_error("PAYLOAD_TOO_SHORT", 8, plain(), good()[:-1])
    network = plain(1, 3, row_steps=True)
    table = [*STEP, (1, 1), (0, 5), (0, 5)]
    assert_pass_error("LIMIT_SYMBOLS", 6, network, pass_payload(table, bytes(1), [0] * 3))
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=6))
    sinrfmt.loads(file_of(network, pass_payload(table, bytes(1), [0] * 3)))


def test_tab_5_of_a_table_without_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=1))
    assert_pass_error("LIMIT_SYMBOLS", 6, plain(tool=Tool.RAW), pass_payload([], bytes(8), [0, 0]))


# --- 11 --------------------------------------------------------------------------------------------------------------


def test_packed_body_of_another_size() -> None:
    whole = pass_payload([*STEP, (6, 5)], packed([5, -3], 7), [5, -3])
    sinrfmt.loads(file_of(plain(), whole))
    for cut in (1, 2):
        assert_pass_error("PAYLOAD_TOO_SHORT", len(whole) - cut, plain(), whole[:-cut])
    assert_pass_error("SURPLUS_BYTES", len(whole), plain(), whole + bytes(3))


COMPRESS = {
    Coding.PACKED: lambda data: data,
    Coding.ZLIB: zlib.compress,
    Coding.BROTLI: brotli.compress,
    Coding.ZSTANDARD: zstandard.compress,
}


@pytest.mark.parametrize("coding", COMPRESS)
def test_padding_of_the_body(coding: Coding) -> None:
    """At the last byte of packed values, at the body's first byte of compressed ones."""
    for bit in (14, 15):
        body = COMPRESS[coding](bit_string((5, 7), (-3, 7), (1 << bit - 14, 2)))
        one = pass_payload([*STEP, (6, 5)], body, [5, -3], flags=8 | coding)
        assert_pass_error("PADDING_NOT_ZERO", len(one) - 1 if coding is Coding.PACKED else 8, plain(), one)


@pytest.mark.parametrize("coding", [Coding.ZLIB, Coding.BROTLI, Coding.ZSTANDARD])
def test_cmp_1_compressed_body_of_another_size(coding: Coding) -> None:
    for body in (
        b"",
        bytes(2),
        COMPRESS[coding](bytes(1)),
        COMPRESS[coding](bytes(3)),
        COMPRESS[coding](bytes(2)) + b"x",
    ):
        one = pass_payload([*STEP, (6, 5)], body, [0, 0], flags=8 | coding)
        assert_pass_error("BAD_COMPRESSED_DATA", 8, plain(), one)


def test_bodies_of_rans_that_no_encoder_makes() -> None:
    """ENT-4 to ENT-6 at the body's first byte."""
    table = [*STEP, (1, 2), (0, 2), (20, 8)]
    for body in (b"", bytes(3), bytes(5), bytes(4) + b"\x01\x00", b"\xff" * 4):
        assert_pass_error("BAD_STREAM", 9, plain(), pass_payload(table, body, [0, 0], flags=RANS))
    for body in (bytes(256), bytes(255), b"\x00\x00\x01\x00" * 63):
        assert_pass_error("BAD_STREAM", 9, plain(), pass_payload(table, body, [0, 0], flags=RANS | 6 << 4))


@pytest.mark.parametrize("coding", Coding)
def test_a_pass_that_refines_nothing_is_valid(coding: Coding) -> None:
    """The CRC of nothing is 0; the body is what codes no values."""
    body = bytes(4) if coding is Coding.RANS else COMPRESS[coding](b"")
    later = pass_payload([(0, 1)], body, [], flags=8 | coding, index=1)
    field = sinrfmt.loads(file_of(plain(), good(), later))
    assert (field.states[0].acc.tolist(), field.acc_crc[1]) == ([5, -3], 0)
    surplus = pass_payload([(0, 1)], body + b"x", [], flags=8 | coding, index=1)
    names = {Coding.PACKED: "SURPLUS_BYTES", Coding.RANS: "BAD_STREAM"}
    assert_pass_error(names.get(coding, "BAD_COMPRESSED_DATA"), 7, plain(), good(), surplus)


@pytest.mark.parametrize("log2_lanes", [0, 6, 12])
def test_a_pass_of_raw_tensors_only_has_no_table(log2_lanes: int) -> None:
    network = plain(tool=Tool.RAW)
    made = make_file(header_of(network), [(Coding.RANS, log2_lanes), (Coding.RANS, log2_lanes)])
    assert_decodes(made)
    assert len(pack_again(made)) == len(made.data) - payload_offset(made.data, 1) - 4


# --- 9 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "row"), [(0, -1), (1023, 1), (700, 324), (700, -701), (0, -(1 << 31))])
def test_wgt_3_row_steps_in_pass_0(step: int, row: int) -> None:
    """STEP_OUT_OF_RANGE at the body's first byte."""
    network = plain(1, 2, row_steps=True)
    short = 680 <= step <= 807
    step_fields = [(0, 1), (step - 680, 7)] if short else [(1, 1), (step, 10)]
    table = [*step_fields, (1, 1), (31, 5), (0, 5)]
    body_at = 6 + len(bit_string(*table))
    inner = row + 1 if row < 0 else row - 1
    for value, is_valid in ((inner, step + inner in range(1024)), (row, False)):
        one = pass_payload(table, bit_string((0, 32), (value, 32), (0, 2)), [0, 0])
        if is_valid:
            state = sinrfmt.loads(file_of(network, one)).states[0]
            assert state.row_steps is not None
            assert state.row_steps.tolist() == [0, value]
        else:
            assert_pass_error("STEP_OUT_OF_RANGE", body_at, network, one)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("coding", [Coding.PACKED, Coding.RANS, Coding.ZLIB])
def test_wgt_5_infinities_and_nans(half: bool, coding: Coding) -> None:
    network = plain(tool=Tool.RAW, half=half)
    width = 16 if half else 32
    infinity = 0x7C00 if half else 0x7F800000
    sign = 1 << width - 1
    for pattern in (infinity, infinity | sign, infinity + 1, infinity | sign | 1, sign - 1):
        stream = StreamEncoder()
        stream.raw(np.array([0, pattern]), width)
        body = stream.encode() if coding is Coding.RANS else COMPRESS[coding](bit_string((0, width), (pattern, width)))
        assert_pass_error("NON_FINITE_WEIGHT", 6, network, pass_payload([], body, [0, pattern], flags=8 | coding))
    largest = [infinity - 1, infinity - 1 | sign]
    body = bit_string(*((p, width) for p in largest))
    field = sinrfmt.loads(file_of(network, pass_payload([], body, largest)))
    assert np.isfinite(field.weights[0]).all()


def test_raw_patterns_stand_for_acc_zero_extended() -> None:
    """Clause 9.2 for acc_crc."""
    network = plain(tool=Tool.RAW, half=True)
    body = bit_string((0xBC00, 16), (0x3C00, 16))
    field = sinrfmt.loads(file_of(network, pass_payload([], body, [0xBC00, 0x3C00])))
    assert field.weights[0].tolist() == [[-1.0, 1.0]]
    assert_pass_error("ACC_CRC_MISMATCH", 2, network, pass_payload([], body, [0xBC00 - (1 << 16), 0x3C00]))


def test_wgt_4_the_least_integer() -> None:
    assert_pass_error("ACC_OVERFLOW", 8, plain(), good([-(1 << 31), 0], 32))
    edges = [1 - (1 << 31), (1 << 31) - 1]
    assert sinrfmt.loads(file_of(plain(), good(edges, 32))).states[0].acc.tolist() == edges


def test_wgt_4_a_prior_may_bring_the_least_integer_back() -> None:
    """|acc| counts, not the coded difference."""
    network = plain(prior=True)
    prior = Prior(1 << 15, 20)
    table = [*STEP, (1, 1), (0, 1), (0, 7), (12, 5), (31, 5)]
    body_at = 6 + len(bit_string(*table))
    for seed in range(20):
        P = sinrfmt.network and payload.add_prior(np.zeros(2, np.int32), prior, 0, seed).tolist()
        acc = [-(1 << 31) + P[0], P[1]]
        one = pass_payload(table, bit_string((-(1 << 31), 32), (0, 32)), acc)
        if P[0] > 0:
            assert sinrfmt.loads(file_of(network, one, seed=seed)).states[0].acc.tolist() == acc
        else:
            assert_pass_error("ACC_OVERFLOW", body_at, network, one, seed=seed)


def test_wgt_4_in_a_later_pass() -> None:
    base = good([(1 << 30) - 1, -(1 << 30)], 32)
    for r, is_valid in (([1, 1], True), ([2, 1], False), ([1, 0], False)):
        acc = [((1 << 30) - 1) * 2 + r[0], -(1 << 31) + r[1]]
        later = pass_payload([(1, 1), (0, 3), (2, 5)], packed(r, 3), acc, index=1)
        if is_valid:
            assert sinrfmt.loads(file_of(plain(), base, later)).states[0].acc.tolist() == acc
        else:
            assert_pass_error("ACC_OVERFLOW", 8, plain(), base, later)


def test_checks_after_the_body_go_by_entry() -> None:
    """7.5: for each entry in table order, step, finite, overflow; then the CRC."""
    records = (
        LayerRecord(RecordKind.LINEAR, 1, bias=False),
        LayerRecord(RecordKind.LINEAR, 1, tool=Tool.RAW, bias=False),
    )
    body = bit_string((-(1 << 31), 32), (0x7F800000, 32))
    assert_pass_error("ACC_OVERFLOW", 8, Network(1, 1, records), pass_payload([*STEP, (31, 5)], body))
    assert_pass_error("NON_FINITE_WEIGHT", 8, Network(1, 1, records[::-1]), pass_payload([*STEP, (31, 5)], bit_string(
        (0x7F800000, 32), (-(1 << 31), 32))))  # fmt: skip
    row_first = (LayerRecord(RecordKind.LINEAR, 1, bias=False, row_steps=True), records[1])
    table = [*STEP, (1, 1), (10, 5), (31, 5)]
    body = bit_string((-701, 11), (-(1 << 31), 32), (0x7F800000, 32))
    assert_pass_error("STEP_OUT_OF_RANGE", 9, Network(1, 1, row_first), pass_payload(table, body))


# --- PAS-5 -----------------------------------------------------------------------------------------------------------


def test_pas_5_crc_of_the_integers() -> None:
    assert_pass_error("ACC_CRC_MISMATCH", 2, plain(), good(acc=[5, -2]))
    assert_pass_error("ACC_CRC_MISMATCH", 2, plain(), good(acc=[-3, 5]))


def test_pas_5_counts_the_refined_tensors_only() -> None:
    network = plain(bias=True)
    base = pass_payload([*STEP, (3, 5), *STEP, (3, 5)], packed([1, 2, 3], 4), [1, 2, 3])
    for acc, is_valid in (([7], True), ([1, 2, 7], False), ([], False)):
        later = pass_payload([(0, 1), (1, 1), (0, 3), (1, 5)], packed([1], 2), acc, index=1)
        if is_valid:
            assert sinrfmt.loads(file_of(network, base, later)).states[1].acc.tolist() == [7]
        else:
            assert_pass_error("ACC_CRC_MISMATCH", 2, network, base, later)


def test_a_change_of_integers_under_a_sealed_chunk_is_found() -> None:
    """The chunk's CRC is made anew, acc_crc is not: every change of a packed value is found."""
    one = good()
    for bit in range(8):
        assert_pass_error("ACC_CRC_MISMATCH", 2, plain(), one[:-1] + bytes([one[-1] ^ 1 << bit]))


# --- both directions -------------------------------------------------------------------------------------------------


@fixed(120)
@given(files())
def test_decoding_gives_back_the_integers(made: Made) -> None:
    assert_decodes(made)


@pytest.mark.parametrize("coding", Coding)
@pytest.mark.parametrize("options", [{}, {"prior": True}, {"row_steps": True}, {"tool": Tool.RAW},
                                     {"tool": Tool.RAW, "half": True}, {"bias": False}])  # fmt: skip
def test_every_coding_of_every_kind_of_tensor(coding: Coding, options: dict[str, Any]) -> None:
    header = header_of(siren(2, **options))
    made = make_file(header, [(coding, 0)] * 3, seed=3)
    assert_decodes(made)
    for n in (1, 2, 3):
        states = sinrfmt.loads(made.data, passes=n).states
        for state, expected in zip(states, made.states[n - 1], strict=True):
            np.testing.assert_array_equal(state.acc, expected.acc)


@pytest.mark.parametrize("log2_lanes", [0, *range(6, 13)])
def test_every_number_of_lanes(log2_lanes: int) -> None:
    assert_decodes(make_file(header_of(siren(2, 40)), [(Coding.RANS, log2_lanes)] * 2, scale=300.0))


@pytest.mark.parametrize("coding", Coding)
@pytest.mark.parametrize("extreme", [0, 1, -1, (1 << 31) - 1, 1 - (1 << 31), 1 << 20])
def test_extreme_integers(coding: Coding, extreme: int) -> None:
    header = header_of(plain(5, 3, bias=True))
    codes = [TensorCode(tensor, np.full(tensor.size, extreme, np.int32), 700) for tensor in header.network.tensors]
    data = file_of(header.network, pack(codes, header, coding=coding)[0])
    assert all((state.acc == extreme).all() for state in sinrfmt.loads(data).states)


def refinement(header: Header, step: int, n_bits: int, value: int) -> None:
    (tensor,) = header.network.tensors
    _, states = pack([TensorCode(tensor, np.array([value, 0], np.int32), step)], header)
    pack([TensorCode(tensor, np.zeros(2, np.int32), refine_bits=n_bits)], header, index=1, before=states)


def test_what_a_decoder_refuses_is_not_packed() -> None:
    header = header_of(plain())
    refinement(header, 16, 2, (1 << 29) - 1)
    assert_fault("STEP_OUT_OF_RANGE", 0, refinement, header, 15, 2, 0)
    assert_fault("STEP_OUT_OF_RANGE", 0, refinement, header, 1024, 2, 0)
    assert_fault("ACC_OVERFLOW", 0, refinement, header, 16, 2, 1 << 29)
    assert_fault("ACC_OVERFLOW", 0, refinement, header, 16, 2, -(1 << 31))
