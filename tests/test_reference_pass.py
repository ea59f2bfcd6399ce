"""Clauses 7, 9, 10 and 11 in the reference decoder: passes, weights, entropy coding, packed values."""

import hashlib
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reference_decoder import DecodeError, decode
from reference_decoder.entropy import PREFIX, Model, decay, frequencies, mf8, short_model
from reference_decoder.generator import T8, philox, signed_numbers
from reference_decoder.head import Record, Tensor
from reference_decoder.limits import LEVELS
from reference_decoder.weights import State, weights
from tests.reference_writer import (
    HEAD,
    MAIN1,
    PASS,
    SEEDED,
    HeadFields,
    bits,
    build,
    encode_lanes,
    encode_one_lane,
    int32_crc,
    last,
    layer,
    pass_payload,
    raw_runs,
    value_runs,
)

SIZES = (6, 3, 3, 1)  # of the tensors of HeadFields' defaults
STEP_SHORT = 680  # the least step code with a short form
CODE = STEP_SHORT + 40
STEP = (40, 7)  # step_short of CODE
ACC = list(range(-6, 7))


def one_layer(**fields: Any) -> HeadFields:
    """One layer 2 -> 1 without a bias: one tensor of two integers."""
    return HeadFields(**{"records": (last(1, 0x21),), "grid": (2, 3), **fields})


def packed_pass(acc: list[int], sizes: tuple[int, ...] = SIZES, width: int = 8, **fields: int) -> bytes:
    """Pass 0 of coding 0, every tensor with the step code CODE."""
    table = bits(*[f for _ in sizes for f in ((0, 1), STEP, (width - 1, 5))])
    return pass_payload(table, bits(*[(a, width) for a in acc]), int32_crc(acc), **fields)


def file(passes: list[bytes], head: HeadFields | None = None) -> bytes:
    head = head or HeadFields()
    head.n_passes = max(1, len(passes))
    return build([(HEAD, head.payload()), *[(PASS, p) for p in passes]])


def pass_at(data: bytes) -> int:
    """Offset of the last PASS chunk's payload."""
    at = 4
    while not data[at] & 0x10:
        at += 9 + int.from_bytes(data[at + 1 : at + 4], "little")
    return at + 5


def failure(data: bytes, **options: Any) -> tuple[str, int | None]:
    with pytest.raises(DecodeError) as caught:
        decode(data, **options)
    return caught.value.name, caught.value.offset


def fails(passes: list[bytes], name: str, offset: int, head: HeadFields | None = None) -> None:
    """The last pass fails at this offset in its payload; negative: from the payload's end."""
    data = file(passes, head)
    at = pass_at(data)
    size = int.from_bytes(data[at - 4 : at - 1], "little")
    assert failure(data) == (name, at + (offset if offset >= 0 else size + 1 + offset))


# --- clause 8 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, int], words: str) -> None:
    found = philox(np.array([counter[0]], np.uint64), counter[1], counter[2], counter[3], *key)[0]
    assert " ".join(f"{w:08x}" for w in found.tolist()) == words


def test_t8_has_the_digest_of_the_text() -> None:
    assert hashlib.sha256(T8.astype(np.int8).tobytes()).hexdigest().startswith("b25218facf6f7bfe")


def test_signed_numbers_of_a_tensor_do_not_depend_on_where_a_block_begins() -> None:
    whole = signed_numbers(0, 23, 5, 1, 99 << 32 | 3)
    parts = [signed_numbers(first, 5, 5, 1, 99 << 32 | 3) for first in (0, 5, 10, 15)]
    assert whole[:20].tolist() == np.concatenate(parts).tolist()
    assert whole.min() < 0 < whole.max()
    assert np.abs(whole).max() <= 1 << 23


# --- clause 9 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 7, 500, 720, 984, 1023])
def test_weight_is_two_roundings_and_an_exact_step(code: int) -> None:
    M = [8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775]
    acc = np.array([0, 1, -1, 16777217, -16777219, 2**31 - 1], np.int32)
    step = np.float32(M[code & 7] * 2.0 ** ((code >> 3) - 123))
    assert float(step) == M[code & 7] * 2.0 ** ((code >> 3) - 123)
    expected = [np.float32(np.float32(a) * step) for a in acc.tolist()]
    found = weights(State(Tensor(0, (6,), Record(1, 0, tool=1)), acc, code))
    assert found.tolist() == [float(e) for e in expected]


def test_packed_pass_gives_its_integers_weights_and_digest() -> None:
    field = decode(file([packed_pass(ACC)]))
    step = np.float32(8388608 * 2.0 ** ((CODE >> 3) - 123))
    expected = [np.float32(a) * step for a in ACC]
    assert np.concatenate([w.ravel() for w in field.weights]).tolist() == [float(e) for e in expected]
    assert [w.shape for w in field.weights] == [(3, 2), (3,), (1, 3), (1,)]
    assert field.weights_sha256 == hashlib.sha256(struct.pack("<13f", *expected)).hexdigest()
    assert (field.passes, field.acc_crc) == (1, [int32_crc(ACC)])


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("lanes", [None, 0, 6])
def test_raw_weights_are_their_bit_patterns(half: bool, lanes: int | None) -> None:
    numbers = [1.5, -2.25]
    patterns = list(struct.unpack("<2H", struct.pack("<2e", *numbers))) if half else None
    patterns = patterns or list(struct.unpack("<2I", struct.pack("<2f", *numbers)))
    width = 16 if half else 32
    fields = [(p, width) for p in patterns]
    body = bits(*fields)
    if lanes is not None:
        body = encode_lanes(raw_runs(fields), lanes) if lanes else encode_one_lane(raw_runs(fields))
    crc = zlib.crc32(struct.pack("<2I", *patterns))
    flags = 8 if lanes is None else 9 | lanes << 4
    head = one_layer(records=(last(1, 0x60 if half else 0x20),))
    field = decode(file([pass_payload(b"", body, crc, flags=flags)], head))
    assert field.weights[0].tolist() == [numbers]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_raw_weights_are_finite(half: bool, number: float) -> None:
    body = struct.pack("<2e" if half else "<2f", 1.0, number)
    head = one_layer(records=(last(1, 0x60 if half else 0x20),))
    fails([pass_payload(b"", body, 0)], "NON_FINITE_WEIGHT", 6, head)


def test_refinement_with_n_bits_replaces_acc_and_step() -> None:
    r = [-1, 0, 1]
    # only the first bias is refined, by 3 bits, with values of 2 bits
    table = bits((0, 1), (1, 1), (2, 3), (1, 5), (0, 1), (0, 1))
    refined = [8 * a + d for a, d in zip(ACC[6:9], r, strict=True)]
    data = file([packed_pass(ACC), pass_payload(table, bits(*[(v, 2) for v in r]), int32_crc(refined), number=1)])
    field, base = decode(data), decode(data, passes=1)
    step = np.float32(8388608 * 2.0 ** (((CODE - 24) >> 3) - 123))
    assert field.weights[1].tolist() == [float(np.float32(a) * step) for a in refined]
    assert field.weights[0].tolist() == base.weights[0].tolist()
    assert (field.passes, base.passes) == (2, 1)
    assert field.acc_crc == [int32_crc(ACC), int32_crc(refined)]


def test_pass_that_refines_nothing_has_the_crc_of_nothing() -> None:
    data = file([packed_pass(ACC), pass_payload(bits((0, 4)), b"", 0, number=1)])
    assert decode(data).weights_sha256 == decode(data, passes=1).weights_sha256


def test_row_steps_apply_to_rows_of_matrices_only() -> None:
    head = HeadFields(records=(last(1, 0x11),), out_channels=2)
    d, acc = [3, -5], [1, 2, 3, 4]
    table = bits((0, 1), STEP, (1, 1), (3, 5), (7, 5), (0, 1), STEP, (7, 5))
    body = bits(*[(v, 4) for v in d], *[(v, 8) for v in [*acc, 9, 9]])
    field = decode(file([pass_payload(table, body, int32_crc([*acc, 9, 9]))], head))
    M = [8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775]
    step = [M[(CODE + x) & 7] * 2.0 ** (((CODE + x) >> 3) - 123) for x in (*d, 0)]
    expected = [[acc[0] * step[0], acc[1] * step[0]], [acc[2] * step[1], acc[3] * step[1]]]
    assert field.weights[0].tolist() == np.array(expected, np.float32).tolist()
    assert field.weights[1].tolist() == np.array([9 * step[2]] * 2, np.float32).tolist()


@pytest.mark.parametrize("difference", [-1, 1024])
def test_row_step_out_of_range_is_at_the_body(difference: int) -> None:
    head = one_layer(records=(last(1, 0x31),))
    table = bits((1, 1), (0, 10), (1, 1), (15, 5), (7, 5))
    fails([pass_payload(table, bits((difference, 16), (0, 16)), 0)], "STEP_OUT_OF_RANGE", 6 + 3, head)


def test_refinement_below_step_zero_is_at_refine_bits() -> None:
    head = one_layer()
    base = pass_payload(bits((1, 1), (7, 10), (7, 5)), bits((1, 8), (2, 8)), int32_crc([1, 2]))
    fails([base, pass_payload(bits((1, 1), (0, 3), (0, 5)), b"\0", 0, number=1)], "STEP_OUT_OF_RANGE", 6, head)


@pytest.mark.parametrize(("short", "shift"), [(True, 0), (False, 12), (True, 30)])
def test_prior_is_added(short: bool, shift: int) -> None:
    m = 200 << 8 if short else 40001
    head = one_layer(features=SEEDED, seed=0xDEADBEEF, records=(last(1, 0x29),))
    prior = [(1, 1), (0, 1), (72, 7)] if short else [(1, 1), (1, 1), (m, 16)]
    table = bits((0, 1), STEP, *prior, (shift, 5), (7, 5))
    e = shift + 8
    u = signed_numbers(0, 2, 0, 1, 0xDEADBEEF).tolist()
    acc = [v + ((x * m + 2 ** (e - 1)) >> e) for v, x in zip((5, -9), u, strict=True)]
    data = file([pass_payload(table, bits((5, 8), (-9, 8)), int32_crc([a % 2**31 for a in acc]))], head)
    if max(map(abs, acc)) >= 2**31:
        assert failure(data)[0] == "ACC_OVERFLOW"
        return
    assert decode(file([pass_payload(table, bits((5, 8), (-9, 8)), int32_crc(acc))], head)).passes == 1


def test_prior_that_overflows_is_at_the_body() -> None:
    head = one_layer(features=SEEDED, seed=1, records=(last(1, 0x29),))
    table = bits((0, 1), STEP, (1, 1), (0, 1), (127, 7), (0, 5), (31, 5))
    u = signed_numbers(0, 2, 0, 1, 1).tolist()
    values = [(2**31 - 1) * (1 if x > 0 else -1) for x in u]
    fails([pass_payload(table, bits(*[(v, 32) for v in values]), 0)], "ACC_OVERFLOW", 6 + len(table), head)


def test_refinement_that_overflows_is_at_the_body() -> None:
    head = one_layer()
    base = pass_payload(bits((0, 1), STEP, (30, 5)), bits((2**30 - 1, 31), (0, 31)), int32_crc([2**30 - 1, 0]))
    fails([base, pass_payload(bits((1, 1), (1, 3), (0, 5)), b"\0", 0, number=1)], "ACC_OVERFLOW", 6 + 2, head)


# --- clause 7 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "number", "name", "offset"),
    [
        (8 | 5, 0, "UNKNOWN_ID", 0),
        (8 | 7, 9, "UNKNOWN_ID", 0),
        (8 | 3, 9, "PROFILE_FORBIDS", 0),
        (0x18, 9, "BAD_LANES", 0),
        (0x19, 0, "BAD_LANES", 0),
        (0x59, 0, "BAD_LANES", 0),
        (0xD9, 0, "BAD_LANES", 0),
        (0x00, 1, "PASS_ORDER", 0),
        (0x08, 1, "PASS_ORDER", 1),
    ],
)
def test_sub_header_rules_in_their_order(flags: int, number: int, name: str, offset: int) -> None:
    fails([packed_pass(ACC, flags=flags, number=number)], name, offset)


def test_sub_header_that_ends_early_is_at_the_end_of_the_payload() -> None:
    fails([b"\x08\x00\x00\x00\x00"], "PAYLOAD_TOO_SHORT", -1)


@pytest.mark.parametrize("code", [STEP_SHORT, STEP_SHORT + 127])
def test_long_step_that_has_a_short_form(code: int) -> None:
    fails([pass_payload(bits((1, 1), (code, 10), (7, 5)), b"\0\0", 0)], "BAD_TABLE", 6, one_layer())


@pytest.mark.parametrize("code", [STEP_SHORT - 1, STEP_SHORT + 128])
def test_long_step_beside_the_short_ones(code: int) -> None:
    data = pass_payload(bits((1, 1), (code, 10), (7, 5)), b"\0\0", int32_crc([0, 0]))
    assert decode(file([data], one_layer())).passes == 1


@pytest.mark.parametrize(
    ("prior", "offset"),
    [
        (((1, 1), (0x7FFF, 16)), 7),
        (((1, 1), (0x8100, 16)), 7),
        (((0, 1), (0, 7), (31, 5)), 8),
    ],
)
def test_prior_that_cannot_be(prior: tuple[tuple[int, int], ...], offset: int) -> None:
    head = one_layer(features=SEEDED, records=(last(1, 0x29),))
    # 1 + 7 bits of the step, has_prior at bit 8, prior_form at bit 9, m at bit 10, prior_shift at bit 17
    fails([pass_payload(bits((0, 1), STEP, (1, 1), *prior, (0, 40)), b"", 0)], "BAD_TABLE", offset, head)


@pytest.mark.parametrize(
    ("fields", "bit"),
    [
        (((3, 2),), 8),
        (((1, 2), (0, 2), (32 + 112, 8)), 12),
        (((1, 2), (1, 2), (40 + 112, 8)), 12),
        (((2, 2), (1, 10), (0, 8), (169, 8)), 28),
        (((2, 2), (1, 10), (0, 8), (0, 8), (169, 8)), 36),
        (((2, 2), (1, 10), (0, 8), (0, 8), (0, 8), (0, 1), (15, 4)), 45),
        (((2, 2), (0, 10), (0, 8), (0, 8), (0, 8), (0, 1), (0, 4), (1, 1)), 49),
    ],
)
def test_model_that_cannot_be_is_at_its_field(fields: tuple[tuple[int, int], ...], bit: int) -> None:
    table = bits((0, 1), STEP, *fields, (0, 64))
    fails([pass_payload(table, b"", 0, flags=9)], "BAD_MODEL", 6 + bit // 8, one_layer())


def test_form_same_takes_the_last_model_of_this_table_only() -> None:
    f = frequencies(3, 0, 2**24 - mf8(90), 2**24, False)
    long = [(2, 2), (3, 10), (0, 8), (90, 8), (0, 8), (0, 1), (0, 4), (1, 1)]
    table = bits((0, 1), STEP, *long, *[x for form in (3, 0, 3) for x in ((0, 1), STEP, (form, 2))])
    acc = [1, -2, 3, 9, -3, 0, 2, -20, 1, 0, 0, 0, -4]
    runs = [r for part in (acc[:6], acc[6:9], acc[12:]) for r in value_runs(part, f, 0, True)]
    base = pass_payload(table, encode_one_lane(runs), int32_crc(acc), flags=9)
    assert decode(file([base])).acc_crc == [int32_crc(acc)]
    fails([base, pass_payload(bits((1, 1), (0, 3), (3, 2)), b"", 0, flags=9, number=1)], "BAD_MODEL", 6)


def test_table_that_ends_early_is_at_the_end_of_the_payload() -> None:
    fails([pass_payload(bits((0, 1), STEP), b"", 0)], "PAYLOAD_TOO_SHORT", -1)


def test_padding_of_the_table_is_at_its_last_byte() -> None:
    fails([pass_payload(bits((0, 13), (1, 1)), b"\0", 0)], "PADDING_NOT_ZERO", 7, one_layer())


def test_symbols_of_all_passes_count_against_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    later = pass_payload(bits((0, 1), (1, 1), (0, 3), (0, 5), (0, 2)), b"\0", int32_crc([0, 2, 4]), number=1)
    nothing = pass_payload(bits((0, 4)), b"", 0, number=2)
    for passes in ([packed_pass(ACC)], [packed_pass(ACC), later], [packed_pass(ACC), later, nothing]):
        # every pass counts the 13 parameters, whatever it codes
        monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=13 * len(passes)))
        assert decode(file(passes)).passes == len(passes)
        monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=13 * len(passes) - 1))
        fails(passes, "LIMIT_SYMBOLS", 6)
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=12))
    fails([packed_pass(ACC)[:-1]], "LIMIT_SYMBOLS", 6)  # before the body
    fails([pass_payload(bits((0, 13 * 4), (1, 1)), b"", 0)], "PADDING_NOT_ZERO", 12)  # after the padding


@pytest.mark.parametrize("rows", [0, 1])
def test_row_steps_are_symbols_whatever_their_form(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    head = one_layer(records=(last(1, 0x31),))
    payload = pass_payload(bits((0, 1), STEP, (rows, 1), (0, 4)), bytes(4), int32_crc([0, 0]), flags=9)
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=2 + rows))
    assert decode(file([payload], head)).passes == 1
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=1 + rows))
    fails([payload], "LIMIT_SYMBOLS", 6, head)


@pytest.mark.parametrize("size", [12, 14])
def test_packed_body_has_exactly_the_size_of_the_table(size: int) -> None:
    payload = packed_pass(ACC)
    whole = payload[: 6 + 7] + bytes(size)
    name, offset = ("PAYLOAD_TOO_SHORT", -1) if size < 13 else ("SURPLUS_BYTES", 6 + 7 + 13)
    fails([whole], name, offset)


def test_padding_of_a_packed_body_is_at_its_last_byte() -> None:
    fails([pass_payload(bits((0, 1), STEP, (4, 5)), b"\0\x04", 0)], "PADDING_NOT_ZERO", 6 + 2 + 1, one_layer())


def test_acc_crc_is_checked_last() -> None:
    payload = bytearray(packed_pass(ACC))
    payload[2] ^= 1
    fails([bytes(payload)], "ACC_CRC_MISMATCH", 2)


# --- clause 11 -----------------------------------------------------------------------------------------------------


def compress(coding: int, data: bytes) -> bytes:
    if coding == 2:
        return zlib.compress(data)
    if coding == 3:
        compressed: bytes = pytest.importorskip("brotli").compress(data)
        return compressed
    frame: bytes = pytest.importorskip("zstandard").ZstdCompressor().compress(data)
    return frame


def compressed_pass(coding: int, body: bytes) -> bytes:
    table = packed_pass(ACC)[6:13]
    return pass_payload(table, body, int32_crc(ACC), flags=8 | coding)


@pytest.mark.parametrize("coding", [2, 3, 4])
def test_compressed_body_is_that_of_coding_0(coding: int) -> None:
    body = compress(coding, bits(*[(a, 8) for a in ACC]))
    field = decode(file([compressed_pass(coding, body)], HeadFields(profile_level=MAIN1)))
    assert field.acc_crc == [int32_crc(ACC)]


@pytest.mark.parametrize("coding", [2, 3, 4])
@pytest.mark.parametrize("damage", ["short", "long", "surplus", "cut", "empty", "bomb", "twice"])
def test_compressed_body_is_one_stream_of_exactly_that_size(coding: int, damage: str) -> None:
    plain = bits(*[(a, 8) for a in ACC])
    body = {
        "short": compress(coding, plain[:-1]),
        "long": compress(coding, plain + b"\0"),
        "surplus": compress(coding, plain) + b"\0",
        "cut": compress(coding, plain)[:-1],
        "empty": b"",
        "bomb": compress(coding, bytes(10**7)),
        "twice": compress(coding, plain) * 2,
    }[damage]
    table = len(packed_pass(ACC)[6:13])
    fails([compressed_pass(coding, body)], "BAD_COMPRESSED_DATA", 6 + table, HeadFields(profile_level=MAIN1))


def test_skippable_zstandard_frame_is_not_a_frame_of_values() -> None:
    body = bytes.fromhex("502a4d18") + struct.pack("<I", 3) + b"abc" + compress(4, bits(*[(a, 8) for a in ACC]))
    fails([compressed_pass(4, body)], "BAD_COMPRESSED_DATA", 6 + 7, HeadFields(profile_level=MAIN1))


@pytest.mark.parametrize(
    ("frame_header", "is_right"),
    [
        ("200d", True),  # content size 13
        ("200e", False),
        ("0000", True),  # no content size, a window
        ("21000d", True),  # dictionary 0 is none
        ("21050d", False),  # names dictionary 5
    ],
)
def test_zstandard_frame_names_no_dictionary_and_may_have_no_content_size(frame_header: str, is_right: bool) -> None:
    pytest.importorskip("zstandard")
    plain = bits(*[(a, 8) for a in ACC])
    block = (len(plain) << 3 | 1).to_bytes(3, "little") + plain  # raw, the last one
    body = bytes.fromhex("28b52ffd" + frame_header) + block
    head = HeadFields(profile_level=MAIN1)
    if is_right:
        assert decode(file([compressed_pass(4, body)], head)).acc_crc == [int32_crc(ACC)]
    else:
        fails([compressed_pass(4, body)], "BAD_COMPRESSED_DATA", 6 + 7, head)


@pytest.mark.parametrize("coding", [2, 3, 4])
@pytest.mark.parametrize("damage", ["none", "long", "surplus", "cut", "empty", "bomb", "twice"])
def test_compressed_body_of_no_bytes_is_a_whole_stream(coding: int, damage: str) -> None:
    body = {
        "none": compress(coding, b""),
        "long": compress(coding, b"\0"),
        "surplus": compress(coding, b"") + b"\0",
        "cut": compress(coding, b"")[:-1],
        "empty": b"",
        "bomb": compress(coding, bytes(10**7)),
        "twice": compress(coding, b"") * 2,
    }[damage]
    passes = [packed_pass(ACC), pass_payload(bits((0, 4)), body, 0, flags=8 | coding, number=1)]
    if damage == "none":
        assert decode(file(passes, HeadFields(profile_level=MAIN1))).passes == 2
    else:
        fails(passes, "BAD_COMPRESSED_DATA", 6 + 1, HeadFields(profile_level=MAIN1))


@pytest.mark.parametrize(
    ("frame", "is_right"),
    [
        ("2000 010000", True),  # content size 0, a raw block of 0 bytes
        ("0000 010000", True),  # no content size
        ("2000 000000 010000", True),  # two blocks
        ("2400 010000 99e9d851", True),  # with its checksum
        ("2400 010000 98e9d851", False),
        ("2400 010000", False),  # without the checksum that it announces
        ("2000 290000", False),  # a block that claims five bytes that are missing
        ("0000 290000", False),
        ("2000 290000 0000000000", False),  # they are there, against the content size
        ("0000 290000 0000000000", False),
        ("2000 2d0000 07", False),  # a compressed block that is none
        ("2000 000000", False),  # no last block
        ("2000", False),
        ("20", False),
    ],
)
def test_zstandard_frame_without_content_is_read_to_its_end(frame: str, is_right: bool) -> None:
    pytest.importorskip("zstandard")
    body = bytes.fromhex("28b52ffd" + frame)
    passes = [packed_pass(ACC), pass_payload(bits((0, 4)), body, 0, flags=12, number=1)]
    if is_right:
        assert decode(file(passes, HeadFields(profile_level=MAIN1))).passes == 2
    else:
        fails(passes, "BAD_COMPRESSED_DATA", 6 + 1, HeadFields(profile_level=MAIN1))


def test_padding_of_a_compressed_body_is_at_its_first_byte() -> None:
    payload = pass_payload(bits((0, 1), STEP, (4, 5)), zlib.compress(b"\0\x04"), 0, flags=10)
    fails([payload], "PADDING_NOT_ZERO", 6 + 2, one_layer())


def test_absent_library_is_a_coded_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "brotli", None)
    fails([compressed_pass(3, b"")], "CODEC_MISSING", 0, HeadFields(profile_level=MAIN1))


# --- clause 10 -----------------------------------------------------------------------------------------------------


def test_frequencies_sum_to_2_to_the_14_and_are_never_zero() -> None:
    generator = np.random.default_rng(1)
    for _ in range(300):
        R, p0, tb, rb = (int(generator.integers(n)) for n in (1024, 256, 169, 169))
        f = frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), bool(generator.integers(2)))
        assert sum(f) == 1 << 14
        assert len(f) == 2 * R + 1
        assert min(f) >= 1
        assert f == f[::-1]


def test_mf8_known_values() -> None:
    assert [mf8(c) for c in (0, 1, 8, 15, 16, 167, 168)] == [0, 9, 16, 30, 32, 15 << 20, 1 << 24]


# law: (b0, d, the greatest tb with b > 0, where the tail ends)
LAWS = {0: (32, 1, 144, 17), 1: (40, 2, 104, 17), 2: (40, 2, 104, 27), 3: (32, 1, 144, 17)}


@pytest.mark.parametrize("law", LAWS)
def test_short_form_reaches_to_where_the_tail_is_thin(law: int) -> None:
    b0, d, top, cut = LAWS[law]
    for q in range(b0 + 112):
        model = short_model(law, q)
        assert model is not None
        b = 0 if q < b0 else 1 + ((q - b0) >> 3)
        tb = 168 - d * q if q < b0 else top - d * ((q - b0) & 7)
        theta = 2**24 - mf8(tb)
        rho = {0: 2**24, 1: theta * theta >> 24, 2: theta * theta >> 24, 3: 2**24 - ((2**24 - theta) >> 3)}[law]
        g = decay(theta, rho, law == 3)
        tail = [next(g) for _ in range(255)]
        R = min([k for k in range(1, 255) if tail[k] < 1 << cut], default=255)
        assert model == Model(R, 0, theta, rho, law == 3, b, True)
    assert short_model(law, b0 + 112) is None


def test_prefix_model_is_that_of_the_text() -> None:
    assert sum(PREFIX.f) == 1 << 14
    assert len(PREFIX.f) == 21
    assert [PREFIX.f[0], *PREFIX.f[12:]] == [8186, 2, 1, 1, 1, 1, 1, 1, 1, 1]


def coded_file(acc: list[int], model: tuple[int, ...], lanes: int) -> bytes:
    """One tensor (1, n) of these values under a long model (R, p0, tb, rb, heavy, b, esc)."""
    R, p0, tb, rb, heavy, b, esc = model
    f = frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), bool(heavy))
    runs = value_runs(acc, f, b, bool(esc))
    body = encode_lanes(runs, lanes) if lanes else encode_one_lane(runs)
    long = [(2, 2), (R, 10), (p0, 8), (tb, 8), (rb, 8), (heavy, 1), (b, 4), (esc, 1)]
    # a layer without a bias whose input encoding has as many outputs as there are values
    half = len(acc) // 2
    seeded = bytes([34]) + struct.pack("<Hf", half, 1.0)
    head = HeadFields(features=SEEDED, records=(seeded, last(1, 0x21)), profile_level=0x14)
    table = bits((0, 1), STEP, *long)
    return file([pass_payload(table, body, int32_crc(acc), flags=9 | lanes << 4)], head)


MODELS = [
    (3, 0, 90, 0, 0, 0, 1),
    (1, 200, 100, 40, 1, 0, 1),
    (40, 0, 120, 60, 0, 5, 1),
    (255, 0, 130, 0, 0, 14, 1),
    (1000, 1, 110, 0, 0, 0, 0),
]


@pytest.mark.parametrize("lanes", [0, 6, 7])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n", [2, 100, 1200])
def test_values_with_low_bits_and_escapes_come_back(lanes: int, model: tuple[int, ...], n: int) -> None:
    generator = np.random.default_rng(n + lanes)
    spread = (model[0] << model[5]) * (0.8 if model[6] else 0.3)
    acc = np.round(generator.laplace(0, spread, n)).astype(np.int64)
    if not model[6]:
        acc = acc.clip(-model[0], model[0])
    assert decode(coded_file(acc.tolist(), model, lanes)).acc_crc == [int32_crc(acc.tolist())]


@pytest.mark.parametrize("lanes", [0, 6, 12])
def test_runs_longer_than_a_block_come_back(lanes: int) -> None:
    generator = np.random.default_rng(lanes)
    acc = np.round(generator.laplace(0, 30, 20002)).astype(np.int64).tolist()
    assert decode(coded_file(acc, (40, 0, 120, 60, 0, 2, 1), lanes)).acc_crc == [int32_crc(acc)]


@pytest.mark.parametrize("lanes", [0, 6])
def test_largest_values_come_back_and_larger_ones_overflow(lanes: int) -> None:
    model = (1023, 0, 0, 0, 0, 14, 1)
    limit = 2**31 - 1
    assert decode(coded_file([limit, -limit], model, lanes)).acc_crc == [int32_crc([limit, -limit])]
    f = frequencies(1023, 0, 2**24, 2**24, False)
    for value in (limit + 1, -limit - 1):
        runs = value_runs([value, 0], f, 14, True)
        body = encode_lanes(runs, lanes) if lanes else encode_one_lane(runs)
        table = bits((0, 1), STEP, (2, 2), (1023, 10), (0, 8), (0, 8), (0, 8), (0, 1), (14, 4), (1, 1))
        fails([pass_payload(table, body, 0, flags=9 | lanes << 4)], "ACC_OVERFLOW", 6 + len(table), one_layer())


def test_certain_symbols_cost_nothing() -> None:
    acc = [0] * 30000
    assert decode(coded_file(acc, (0, 0, 0, 0, 0, 0, 0), 0)).acc_crc == [int32_crc(acc)]
    assert decode(coded_file(acc, (0, 0, 0, 0, 0, 0, 0), 6)).acc_crc == [int32_crc(acc)]


def test_state_zero_without_words_stays_at_the_first_symbol() -> None:
    table = bits((0, 1), STEP, (2, 2), (2, 10), (0, 8), (90, 8), (0, 8), (0, 1), (3, 4), (0, 1))
    acc = [-2 * 8 - 4] * 2  # symbol -2, low bits 0
    assert decode(file([pass_payload(table, bytes(4), int32_crc(acc), flags=9)], one_layer())).acc_crc
    raw = one_layer(records=(last(1, 0x20),))
    assert decode(file([pass_payload(b"", bytes(4), int32_crc([0, 0]), flags=9)], raw)).weights[0].tolist() == [[0, 0]]


@pytest.mark.parametrize("lanes", [0, 6])
@pytest.mark.parametrize("damage", ["short", "odd", "long", "state", "cut", "wrong"])
def test_stream_that_no_encoder_makes(lanes: int, damage: str) -> None:
    f = frequencies(40, 0, 2**24 - mf8(120), 2**24, False)
    acc = np.round(np.random.default_rng(3).laplace(0, 9, 300)).astype(np.int64).clip(-40, 40).tolist()
    state = 4 << lanes if lanes else 4
    long = bits((0, 1), STEP, (2, 2), (40, 10), (0, 8), (120, 8), (0, 8), (0, 1), (0, 4), (0, 1))
    head = HeadFields(records=(layer(1, 0x20, 300), last(1, 0x21)))
    # the first layer is raw: its patterns come first in the same stream, and 300 values of the second follow
    runs = [*raw_runs([(0, 32)] * 600), *value_runs(acc, f, 0, False)]
    good = encode_lanes(runs, lanes) if lanes else encode_one_lane(runs)
    bad = {
        "short": good[: state - 1],
        "odd": good + b"\0",
        "long": good + b"\1\0",
        "state": good[:2] + b"\0\0" + good[4:],
        "cut": good[:-2],
        "wrong": good[:-1] + bytes([good[-1] ^ 1]),
    }[damage]
    fails([pass_payload(long, bad, 0, flags=9 | lanes << 4)], "BAD_STREAM", 6 + len(long), head)


def test_body_of_coding_1_without_a_symbol_is_still_a_stream() -> None:
    table = bits((0, 1), STEP, (0, 2))
    good = pass_payload(table, bytes(4), int32_crc([0, 0]), flags=9)
    assert decode(file([good], one_layer())).passes == 1
    fails([pass_payload(table, b"", int32_crc([0, 0]), flags=9)], "BAD_STREAM", 6 + 2, one_layer())
