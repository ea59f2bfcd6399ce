"""Clauses 9.6, 16.5 and 16.6 in the reference decoder: grids and pyramids, their lists and their fields."""

import hashlib
import math
import struct
import zlib
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from reference_decoder import DecodeError, Field, decode
from reference_decoder import field as field_module
from reference_decoder.container import Payload
from reference_decoder.entropy import frequencies, mf8, table_frequencies
from reference_decoder.head import Head, read_head
from reference_decoder.lattice import hashed_entry
from reference_decoder.limits import LEVELS
from tests.reference_writer import (
    GRID,
    SEEDED,
    SHARED_BASE,
    SPARSE,
    TRELLIS,
    HeadFields,
    bits,
    encode_lanes,
    encode_one_lane,
    filter_,
    gabor,
    grid_record,
    input_,
    int32_crc,
    last,
    layer,
    multiply,
    output,
    pass_payload,
    pyramid,
    raw_runs,
    value_runs,
)
from tests.test_reference_pass import CODE, STEP, fails, file

RECORDS = 10 + 4 + 1  # offset of the first record in HEAD
TABLE = 6
STEPS = (
    (8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775),
    -123,
)


def head_of(record: bytes, *rest: bytes, **fields: Any) -> HeadFields:
    return HeadFields(**{"features": GRID, "records": (record, *(rest or (last(1, 0x20),))), **fields})


def read(fields: HeadFields) -> Head:
    payload = fields.payload()
    return read_head(Payload(memoryview(payload), 0, len(payload)))


def head_failure(record: bytes, *rest: bytes, **fields: Any) -> tuple[str, int | None]:
    with pytest.raises(DecodeError) as caught:
        read(head_of(record, *rest, **fields))
    return caught.value.name, caught.value.offset


def conv(width: int = 3, flags: int = 0, kind: int = 11, repeat: int = 1) -> bytes:
    return layer(kind, flags, width, repeat)


# --- HEAD ----------------------------------------------------------------------------------------------------------


def patched(record: bytes, at: int, value: int) -> bytes:
    return record[:at] + bytes([value]) + record[at + 1 :]


@pytest.mark.parametrize(
    ("at", "value", "name"),
    [
        (1, 0x80, "RESERVED_NOT_ZERO"),
        (1, 5, "UNKNOWN_ID"),
        (2, 0, "BAD_RECORD"),
        (2, 5, "BAD_RECORD"),
        (3, 0, "BAD_RECORD"),
        (3, 65, "BAD_RECORD"),
        (4, 0, "BAD_RECORD"),
        (5, 0, "BAD_RECORD"),
        (6, 31, "BAD_RECORD"),
        (7, 0x10, "RESERVED_NOT_ZERO"),
        (8, 0, "BAD_RECORD"),
        (10, 0, "BAD_RECORD"),
    ],
)
def test_value_that_a_grid_cannot_have(at: int, value: int, name: str) -> None:
    assert head_failure(patched(grid_record([3, 4]), at, value)) == (name, RECORDS + at)


@pytest.mark.parametrize(
    ("at", "value", "name"),
    [
        (1, 0x80, "RESERVED_NOT_ZERO"),
        (1, 0x20, "RESERVED_NOT_ZERO"),
        (1, 7, "UNKNOWN_ID"),
        (2, 0, "BAD_RECORD"),
        (2, 17, "BAD_RECORD"),
        (3, 0, "BAD_RECORD"),
        (3, 16, "BAD_RECORD"),
        (4, 0x24, "RESERVED_NOT_ZERO"),
        (4, 0x10, "BAD_RECORD"),
        (4, 9, "BAD_RECORD"),
        (5, 0x81, "RESERVED_NOT_ZERO"),
        (5, 3, "UNKNOWN_ID"),
        (5, 0x04, "RESERVED_NOT_ZERO"),
        (5, 0x10, "RESERVED_NOT_ZERO"),
    ],
)
def test_value_that_a_pyramid_cannot_have(at: int, value: int, name: str) -> None:
    assert head_failure(patched(pyramid(2), at, value)) == (name, RECORDS + at)


@pytest.mark.parametrize("record", [grid_record([3, 4]), pyramid(2)])
def test_grids_and_pyramids_are_the_first_of_two_records(record: bytes) -> None:
    assert head_failure(layer(), record, last()) == ("BAD_RECORD", RECORDS + 5)
    assert head_failure(layer(), record) == ("BAD_RECORD", RECORDS + 5)


@pytest.mark.parametrize("record", [grid_record([3, 4]), pyramid(2)])
@pytest.mark.parametrize("flags", [0x04, 0x08, 0x10, 0x41])
def test_tool_flags_of_grids_that_do_not_go_together(record: bytes, flags: int) -> None:
    assert head_failure(patched(record, 1, flags)) == ("BAD_RECORD", RECORDS + 1)


def test_axes_of_a_grid_are_axes_that_there_are() -> None:
    assert head_failure(grid_record([3, 4, 5], n_axes=3)) == ("BAD_RECORD", RECORDS + 2)
    assert read(head_of(grid_record([3], n_axes=1))).widths == [2, 1]


def test_pyramid_has_a_native_grid_of_at_most_four_axes() -> None:
    assert head_failure(pyramid(2), grid=(0, 0)) == ("BAD_RECORD", RECORDS)
    five: dict[str, Any] = {"in_dims": 5, "grid": (1,) * 5}
    assert head_failure(pyramid(2), **five) == ("BAD_RECORD", RECORDS + 6)
    assert head_failure(pyramid(2, axes=4)) == ("BAD_RECORD", RECORDS + 3)
    assert head_failure(pyramid(2, axes=4), grid=(0, 0)) == ("BAD_RECORD", RECORDS)


@pytest.mark.parametrize("context", [1, 2])
def test_context_network_is_for_the_last_two_axes(context: int) -> None:
    three: dict[str, Any] = {"in_dims": 3, "grid": (2, 3, 4)}
    assert head_failure(pyramid(2, 1, context=context)) == ("BAD_RECORD", RECORDS + 5)
    assert head_failure(pyramid(2, 1, context=context), in_dims=1, grid=(4,)) == ("BAD_RECORD", RECORDS - 2 + 5)
    for axes in (3, 5, 7):
        assert head_failure(pyramid(2, axes, context=context), **three) == ("BAD_RECORD", RECORDS + 2 + 5)
    assert read(head_of(pyramid(2, 6, context=context), **three))
    assert read(head_of(pyramid(2, 5), **three))


def test_lattice_filters_come_last_and_keep_the_width() -> None:
    before, at = layer(3, 0, 3), RECORDS + 6 + 5
    assert read(head_of(pyramid(2), before, conv(), conv(kind=12), last(12, 0), out_channels=3))
    assert head_failure(layer(3, 0, 3), conv(), last(11, 0), out_channels=3, features=0) == ("BAD_RECORD", RECORDS + 5)
    assert head_failure(layer(3, 0, 2), last(11, 0), out_channels=2, features=0) == ("BAD_RECORD", RECORDS + 5)
    for after in (layer(3, 0, 3), output(1), filter_(), multiply(0)):
        assert head_failure(pyramid(2), before, conv(), after, last(11, 0), out_channels=3) == ("BAD_RECORD", at)
    assert head_failure(pyramid(2), before, conv(), last(1, 0), out_channels=3) == ("BAD_RECORD", at)
    assert head_failure(pyramid(2), before, conv(4), last(11, 0), out_channels=4) == ("BAD_RECORD", at)
    assert head_failure(pyramid(2), before, conv(), last(11, 0), out_channels=4) == ("BAD_RECORD", at + 5)
    assert head_failure(pyramid(2), conv(3), last(11, 0), out_channels=3) == ("BAD_RECORD", RECORDS + 6)
    assert head_failure(pyramid(2), last(11, 0), out_channels=1) == ("BAD_RECORD", RECORDS + 6)


def test_grid_rules_stand_between_the_rules_of_head() -> None:
    # HED-7, GRD-1 to GRD-3, HED-8
    equal = (layer(), layer(), last())
    assert head_failure(grid_record([3], n_axes=3, flags=4), *equal)[1] == RECORDS + 10 + 5
    wide = layer(width=4097)
    assert head_failure(grid_record([3], n_axes=3, flags=4), wide, last()) == ("BAD_RECORD", RECORDS + 2)
    assert head_failure(pyramid(2), wide, conv(), last()) == ("BAD_RECORD", RECORDS + 6 + 5)
    assert head_failure(pyramid(2), wide, last(), features=0)[0] == "LIMIT_WIDTH"
    # HED-11, HED-12, GRD-4; HED-13 long before
    block: dict[str, Any] = {"features_optional": 1, "tail": b"\0"}
    assert head_failure(pyramid(2), features=0, **block)[0] == "BAD_OPTIONAL_BLOCK"
    axes = input_(2, 1)
    assert head_failure(pyramid(2), axes, last(), features=0) == ("BAD_RECORD", RECORDS + 6 + 1)
    assert head_failure(pyramid(2), axes, last()) == ("BAD_RECORD", RECORDS + 6 + 1)


def test_feature_goes_with_the_record() -> None:
    assert head_failure(grid_record([3, 4]), features=0) == ("FEATURE_MISMATCH", RECORDS)
    assert head_failure(layer()) == ("FEATURE_MISMATCH", 2)
    for tool, feature in ((2, TRELLIS), (3, SPARSE), (0x09, SEEDED)):
        record = patched(grid_record([3, 4]), 1, tool)
        assert head_failure(record) == ("FEATURE_MISMATCH", RECORDS + 1)
        both = GRID | feature | (SEEDED if tool == 3 else 0)
        assert read(head_of(record, features=both)).features == both


def test_tensors_of_a_grid() -> None:
    record = patched(grid_record([3, 4, 20, 30], latents=2, features=5), 1, 0)
    found = [(t.ordinal, t.shape) for t in read(head_of(record, layer(width=3), last())).tensors]
    assert found == [
        (0, (3, 10)),
        (1, (3,)),
        (2, (1, 3)),
        (3, (1,)),
        (65536, (5, 2)),
        (65537, (5,)),
        (65792, (12, 2)),
        (65793, (256, 2)),
    ]
    each = grid_record([3, 300], latents=2, features=5, flags=4 | 8)
    found = [(t.ordinal, t.shape) for t in read(head_of(each)).tensors][1:]
    assert found == [(65536, (10, 2)), (65792, (9, 2)), (65793, (256, 2))]


@pytest.mark.parametrize(("flags", "width"), [(0, 6 + 1), (1, 3 + 1), (2, 6 + 3), (3, 3 + 3)])
def test_outputs_of_a_grid_are_the_inputs_of_the_first_layer(flags: int, width: int) -> None:
    record = grid_record([3, 4, 5, 6], features=3, flags=flags)
    assert read(head_of(record, in_dims=3, grid=(1, 1, 1))).widths[0] == width


def test_tensors_of_a_pyramid() -> None:
    record = pyramid(3, 3, 4, context=1 | 2 << 2 | 1 << 4)
    tensors = read(head_of(record, layer(width=3), last(12, 0), out_channels=3, grid=(5, 9))).tensors
    assert [(t.ordinal, t.shape) for t in tensors] == [
        (0, (3, 3)),
        (1, (3,)),
        (2, (3, 27)),
        (3, (3,)),
        (65536, (2, 4)),
        (65552, (8, 11)),
        (65553, (8, 16)),
        (65554, (10, 8)),
        (65555, (8, 8)),
        (65556, (1, 8)),
        (65557, (8, 8)),
        (65558, (1, 8)),
        (65584, (2, 8)),
        (65585, (2, 27)),
        (65586, (7, 2)),
        (65792, (2, 3)),
        (65793, (3, 5)),
        (65794, (5, 9)),
    ]
    tensors = read(head_of(pyramid(2, 2, 16 | 3, context=0), grid=(5, 9))).tensors
    assert [t.shape for t in tensors[1:]] == [(1, 3), (5, 5), (5, 9)]
    tensors = read(head_of(pyramid(1, 3, 3, context=2), grid=(5, 9))).tensors
    assert [(t.ordinal, t.shape) for t in tensors[1:]] == [
        (65552, (4, 11)),
        (65553, (4, 12)),
        (65554, (1, 4)),
        (65584, (2, 4)),
        (65585, (2, 23)),
        (65586, (1, 2)),
        (65792, (5, 9)),
    ]


def test_latents_are_parameters() -> None:
    assert head_failure(pyramid(1), grid=(128, 129)) == ("LIMIT_PARAMETERS", RECORDS - 1)
    assert read(head_of(pyramid(1), grid=(128, 127)))
    assert head_failure(grid_record([65535] * 4, n_axes=2, size=30))[0] == "LIMIT_PARAMETERS"


# --- passes --------------------------------------------------------------------------------------------------------


def floats(*numbers: float) -> list[tuple[int, int]]:
    return [(struct.unpack("<I", struct.pack("<f", x))[0], 32) for x in numbers]


def lattice_pass(weights: list[float], levels: list[Any], width: int = 8) -> bytes:
    """Pass 0 of coding 0: raw weights, then all levels."""
    values = [int(v) for level in levels for v in np.ravel(level)]
    content = struct.pack(f"<{len(weights)}f{len(values)}i", *weights, *values)
    table = bits(*[(1, 1), (width - 1, 5)] * len(levels))
    return pass_payload(table, bits(*floats(*weights), *[(v, width) for v in values]), zlib.crc32(content))


def raw_body(n: int) -> list[list[tuple[int, int]]]:
    return raw_runs([(0, 32)] * n)


PAIR = grid_record([2, 1, 2, 2], latents=2)  # two levels of 2 and 4 entries with two latents; weights (1, 2), (1, 2)
N_RAW = 4  # of the last layer (1, 2) and of the decoder (1, 2)
LONG = [(3, 10), (0, 8), (110, 8), (0, 8), (0, 1), (0, 4), (1, 1)]
NARROW = frequencies(3, 0, 2**24 - mf8(110), 2**24, False)


def raw_and(runs: list[list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    return [*raw_body(2), *raw_body(2), *runs]


@pytest.mark.parametrize("lanes", [0, 6])
def test_dimensions_of_a_grid_have_lists_and_models_of_their_own(lanes: int) -> None:
    """Forms 2, 0 in the first level; 4 and 3 in the second."""
    first, second = [[3, 0], [-9, 0]], [[1, 2], [0, 1], [2, -1], [9, 5]]
    codes = [40, 52, 47, 30]  # of the symbols -1 … 2
    f = table_frequencies(codes)
    cumulative = [sum(f[:i]) for i in range(4)]

    def table_runs(values: list[int]) -> list[list[tuple[int, int]]]:
        symbols = [max(-1, min(2, v)) + 1 for v in values]
        escapes = [abs(v - (s - 1)) for v, s in zip(values, symbols, strict=True) if s in (0, 3)]
        p = [(e + 1).bit_length() - 1 for e in escapes]
        fixed = [8186] + [max(1, 2**13 >> q) for q in range(1, 21)]
        extras = [(e - (2**q - 1), q) for e, q in zip(escapes, p, strict=True)]
        return [
            [(f[s], cumulative[s]) for s in symbols],
            [(fixed[q], sum(fixed[:q])) for q in p],
            *raw_runs(extras),
        ]

    runs = value_runs([3, -9], NARROW, 0, True) + table_runs([1, 0, 2, 9]) + table_runs([2, 1, -1, 5])
    form_4 = [(4, 3), (1, 8), (2, 8), (1, 1), (40, 7), (15, 4), (52, 7), (2, 4), (15, 4), (30, 7)]
    table = bits((1, 1), (2, 3), *LONG, (0, 3), (1, 1), *form_4, (3, 3))
    acc = [0] * N_RAW + [v for row in first + second for v in row]
    body = raw_and(runs)
    coded = encode_lanes(body, lanes) if lanes else encode_one_lane(body)
    field = decode(file([pass_payload(table, coded, int32_crc(acc), flags=9 | lanes << 4)], head_of(PAIR)))
    assert [w.tolist() for w in field.weights[-2:]] == [first, second]


def test_frequencies_of_a_table_are_those_of_the_text() -> None:
    generator = np.random.default_rng(1)
    for n in (2, 3, 511):
        codes = generator.integers(0, 128, n).tolist()
        w = [(8 + c % 8) * 2 ** (c // 8) for c in codes]
        f = [1 + x * (2**14 - n) // sum(w) for x in w]
        f[f.index(max(f))] += 2**14 - sum(f)
        assert table_frequencies(codes) == f
        assert (sum(f), min(f) >= 1) == (2**14, True)
    assert table_frequencies([5, 5]) == [8192, 8192]


def test_levels_are_coded_in_any_pass_once_and_are_zero_before() -> None:
    first = pass_payload(bits((1, 1), (7, 5), (0, 1)), bits(*[(0, 32)] * 4, *[(v, 8) for v in (1, 2, 3, 4)]), 0)
    first = first[:2] + struct.pack("<I", int32_crc([0] * N_RAW + [1, 2, 3, 4])) + first[6:]
    nothing = pass_payload(bits((0, 1)), b"", 0, number=1)
    second = [5, 6, 7, 8, 9, 10, 11, -12]
    third = pass_payload(bits((1, 1), (4, 5)), bits(*[(v, 5) for v in second]), int32_crc(second), number=2)
    data = file([first, nothing, third, pass_payload(b"", b"", 0, number=3)], head_of(PAIR))
    early, late = decode(data, passes=2), decode(data)
    assert [w.ravel().tolist() for w in early.weights[-2:]] == [[1, 2, 3, 4], [0] * 8]
    assert late.weights[-1].ravel().tolist() == second
    whole = struct.pack("<16f", *[0] * N_RAW, 1, 2, 3, 4, *[0] * 8)
    assert early.weights_sha256 == hashlib.sha256(whole).hexdigest()


def test_level_needs_the_one_below_it() -> None:
    table = bits((0, 1), (1, 1), (0, 60))
    for coding in (0, 1):
        fails([pass_payload(table, b"", 0, flags=8 | coding)], "BAD_TABLE", TABLE, head_of(PAIR))
    first = pass_payload(bits((0, 2)), bits(*[(0, 32)] * 4), int32_crc([0] * 4))
    fails([first, pass_payload(bits((0, 1), (1, 1), (0, 60)), b"", 0, number=1)], "BAD_TABLE", TABLE, head_of(PAIR))


@pytest.mark.parametrize(
    ("fields", "bit"),
    [
        (((6, 3),), 1),
        (((7, 3),), 1),
        (((5, 3),), 1),
        (((3, 3),), 1),
        (((0, 3), (3, 3)), 4),
        (((1, 3), (0, 2), (200, 8)), 6),
        (((2, 3), (1, 10), (0, 8), (169, 8)), 22),
        (((4, 3), (0, 8), (0, 8)), 12),
        (((4, 3), (1, 8), (0, 8), (0, 1), (3, 7), (3, 4)), 28),
        (((4, 3), (1, 8), (0, 8), (0, 1), (127, 7), (8, 4)), 28),
    ],
)
def test_latent_model_that_cannot_be_is_at_its_field(fields: tuple[tuple[int, int], ...], bit: int) -> None:
    payload = pass_payload(bits((1, 1), *fields, (0, 90)), b"", 0, flags=9)
    fails([payload], "BAD_MODEL", TABLE + bit // 8, head_of(PAIR))


def test_model_of_weights_is_not_one_of_latents_and_the_other_way_round() -> None:
    head = head_of(patched(PAIR, 1, 0x21), last(1, 0x21))
    start = [(0, 1), STEP, (2, 2), *LONG, (0, 1), STEP, (3, 2)]
    bit = sum(n for _, n in start) + 1
    payload = pass_payload(bits(*start, (1, 1), (3, 3), (0, 90)), b"", 0, flags=9)
    fails([payload], "BAD_MODEL", TABLE + bit // 8, head)


@pytest.mark.parametrize("form", [2, 4])
def test_latents_beyond_32_bits_overflow(form: int) -> None:
    if form == 2:
        model = [(2, 3), (1, 10), (0, 8), (0, 8), (0, 8), (0, 1), (14, 4), (1, 1)]
        flat = frequencies(1, 0, 2**24, 2**24, False)
        runs = value_runs([2**31, 0], flat, 14, True)
        table = bits((1, 1), *model, (0, 3), (0, 1))
        payload = pass_payload(table, encode_one_lane(raw_and(runs)), 0, flags=9)
    else:
        # packed: -2^31 is no acc
        table = bits((1, 1), (31, 5), (0, 1))
        payload = pass_payload(table, bits(*[(0, 32)] * 4, (2**31, 32), *[(0, 32)] * 3), 0)
    fails([payload], "ACC_OVERFLOW", TABLE + len(table), head_of(PAIR))


def test_latents_count_as_symbols_in_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pass_payload(bits((0, 2)), bits(*[(0, 32)] * 4), int32_crc([0] * 4))
    nothing = pass_payload(bits((0, 2)), b"", 0, number=1)
    size = N_RAW + 4 + 8
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=2 * size))
    assert decode(file([first, nothing], head_of(PAIR))).passes == 2
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], symbols=2 * size - 1))
    fails([first, nothing], "LIMIT_SYMBOLS", TABLE, head_of(PAIR))


def test_decoder_of_a_grid_has_the_tool_of_the_record() -> None:
    head = head_of(patched(PAIR, 1, 0x01), last(1, 0x20))
    table = bits((0, 1), STEP, (7, 5), (0, 1), STEP, (7, 5), (0, 2))
    values = [5, -6, 7]
    body = bits(*[(0, 32)] * 2, *[(v, 8) for v in values])
    field = decode(file([pass_payload(table, body, int32_crc([0, 0, *values]))], head))
    step = STEPS[0][CODE & 7] * 2.0 ** ((CODE >> 3) + STEPS[1])
    assert [w.ravel().tolist() for w in field.weights[1:3]] == [[5 * step, -6 * step], [7 * step]]


def test_latents_go_with_no_base() -> None:
    """BAS-2: either file has a GRID or PYRAMID."""
    first = bits(*[(0, 32)] * 4, *[(v, 8) for v in (1, 2, 3, 4)])
    base = file([pass_payload(bits((1, 1), (7, 5), (0, 1)), first, int32_crc([0] * 4 + [1, 2, 3, 4]))], head_of(PAIR))
    state = b""
    for codes, acc in (([], [0, 0]), ([], [0, 0]), ([800], [1, 2, 3, 4]), ([800], [0] * 8)):
        state += struct.pack(f"<{len(codes)}H{len(acc)}i", *codes, *acc)
    name = hashlib.sha256(state).digest()[:16]
    values = [1, 0, 0, 0, 0, 0, 0, -1]
    coded = pass_payload(bits((1, 1), (1, 5)), bits(*[(v, 2) for v in values]), int32_crc(values))
    data = file([coded], head_of(PAIR, features=GRID | SHARED_BASE, base_digest=name))
    with pytest.raises(DecodeError) as caught:
        decode(data, base=base)
    assert caught.value.name == "BASE_MISMATCH"


# --- 16.5 ----------------------------------------------------------------------------------------------------------


def test_hashed_entry_is_that_of_the_text() -> None:
    vertices = np.random.default_rng(1).integers(0, 65535, (50, 4))
    for n in (1, 2, 3, 4):
        for size in (0, 5, 20, 30):
            found = hashed_entry(vertices[:, :n], 1 << size).tolist()
            for vertex, entry in zip(vertices[:, :n].tolist(), found, strict=True):
                h = 0
                for i, p in zip(vertex, (1, 2654435761, 805459861, 3674653429), strict=False):
                    h ^= i * p % 2**32
                assert entry == h % (1 << size)


def plain_grid(
    record: Any, levels: list[Any], matrix: Any, bias: Any, t: list[float], coords: list[float]
) -> list[float]:
    """Clause 16.5 in plain Python."""
    resolutions, n_axes, F, size, flags = record
    features = []
    for number, resolution in enumerate(resolutions):
        p = [x * (R - 1) for x, R in zip(t, resolution, strict=True)]
        i = [min(math.floor(x), max(R - 2, 0)) for x, R in zip(p, resolution, strict=True)]
        z = np.zeros(matrix.shape[1])
        for corner in product((0, 1), repeat=n_axes):
            vertex = [a + b for a, b in zip(i, corner, strict=True)]
            if any(v >= R for v, R in zip(vertex, resolution, strict=True)):
                continue
            weight = math.prod(x - a if b else 1 - (x - a) for x, a, b in zip(p, i, corner, strict=True))
            if math.prod(resolution) <= 1 << size:
                entry = 0
                for v, R in zip(vertex, resolution, strict=True):
                    entry = entry * R + v
            else:
                entry = 0
                for v, prime in zip(vertex, (1, 2654435761, 805459861, 3674653429), strict=False):
                    entry ^= v * prime % 2**32
                entry %= 1 << size
            z += weight * levels[number][entry]
        d = number if flags & 8 else 0
        features.append(matrix[d * F : (d + 1) * F] @ z + (0 if bias is None else bias[d * F : (d + 1) * F]))
    joined = np.sum(features, axis=0) if flags & 1 else np.concatenate(features)
    return [*joined.tolist(), *(coords if flags & 2 else coords[n_axes:])]


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("flags", range(16))
def test_grid_is_the_multilinear_interpolation_of_its_latents(flags: int, has_bias: bool) -> None:
    resolutions = [(2, 2), (5, 5), (9, 9), (1, 1)] if flags & 4 else [(2, 3), (4, 1), (9, 8), (1, 5)]
    numbers = [R[0] for R in resolutions] if flags & 4 else [r for R in resolutions for r in R]
    F, C, size, D = 3, 2, 5, 4 if flags & 8 else 1
    generator = np.random.default_rng(flags)
    levels = [generator.integers(-9, 10, (min(math.prod(R), 32), C)) for R in resolutions]
    matrix = generator.uniform(-1, 1, (D * F, C)).astype(np.float32)
    bias = generator.uniform(-1, 1, D * F).astype(np.float32) if has_bias else None
    n_out = (F if flags & 1 else 4 * F) + (3 if flags & 2 else 1)
    record = patched(grid_record(numbers, 2, C, F, size, flags), 1, 0 if has_bias else 0x20)
    weights = [*np.eye(n_out).ravel(), *matrix.ravel(), *(bias if bias is not None else [])]
    given = {"out_channels": n_out, "in_dims": 3, "grid": (2, 3, 4)}
    field = decode(file([lattice_pass(weights, levels)], head_of(record, **given)))
    form = (resolutions, 2, F, size, flags)
    for coords in ([-1, 1, 5], [0.25, -0.5, 0.125], [-3, 0.75, 0], [0.0, 1.5, -2.0]):
        t = [min(max((x + 1) / 2, 0), 1) for x in coords[:2]]
        expected = plain_grid(form, levels, matrix, bias, t, coords)
        np.testing.assert_allclose(field.sample([coords])[0], expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("coords_values", "fields", "x", "t"),
    [
        (0, {}, (0.5, -0.5), (0.75, 0.25)),
        (1, {}, (0.5, -0.5), (0.75, 0.25)),
        (2, {"grid": (3, 9)}, (0.5, -0.5), (0.75, 0.0625)),
        (2, {"grid": (1, 9)}, (0.5, -0.5), (0.75, 0.03125)),
        (2, {"grid": (3, 1)}, (0.5, -0.75), (0.75, 0.25)),
        (2, {"grid": (0, 0)}, (0.5, -0.5), (0.75, 0.25)),
        (3, {}, (0.5, 0.25), (0.5, 0.25)),
        (15, {"box": (-1, 10, 3, 18)}, (0, 12), (0.25, 0.25)),
        (0, {}, (math.inf, -math.inf), (1, 0)),
        (15, {"box": (-1, 10, 3, 18)}, (math.nan, math.nan), (0, 0)),
    ],
)
def test_unit_coordinates(coords_values: int, fields: Any, x: tuple[float, ...], t: tuple[float, ...]) -> None:
    """Two axes with 0 and 64 at the ends: the value is 64 t of one axis, and 16384 more for each 1/64 of the other."""
    record = grid_record([2, 2], latents=2, features=2)
    weights = [1.0, 0, 0, 1, 1, 0, 0, 1]
    levels = [[[0, 0], [0, 64], [64, 0], [64, 64]]]
    head = head_of(record, out_channels=2, coords_values=coords_values, **fields)
    field = decode(file([lattice_pass(weights, levels)], head))
    assert field.sample([x])[0].tolist() == [64 * t[0], 64 * t[1]]


# --- 16.6 ----------------------------------------------------------------------------------------------------------


def level_shapes(grid: tuple[int, ...], n_levels: int, axes: int) -> list[tuple[int, ...]]:
    return [
        tuple(math.ceil(n / 2 ** (n_levels - 1 - level)) if axes >> i & 1 else n for i, n in enumerate(grid))
        for level in range(n_levels)
    ]


def plain_up(x: Any, axis: int, n: int, a: list[float]) -> Any:
    """Clause 16.6 in plain Python, one sample after the other."""
    e = [0, 1, -1, 2, -2, 3, -3, 4]
    x = np.moveaxis(np.asarray(x, np.float64), axis, 0)
    out = []
    for i in range(n):
        s = 1 if i % 2 else -1
        out.append(sum(c * x[min(max(i // 2 + s * e[j], 0), len(x) - 1)] for j, c in enumerate(a)))
    return np.moveaxis(np.array(out), 0, axis)


DEFAULTS = {1: [1], 2: [3 / 4, 1 / 4], 3: [3 / 4, 1 / 4, 0]}


def plain_features(levels: list[Any], filters: Any, axes: int, shapes: list[tuple[int, ...]], one: bool) -> list[Any]:
    t = filters.shape[1]
    default = DEFAULTS.get(t, [111 / 128, 29 / 128, -9 / 128, -3 / 128, 0, 0, 0, 0][:t])
    found = []
    for level, latents in enumerate(levels):
        x = latents
        for stage in range(level, len(levels) - 1):
            a = [d + float(f) for d, f in zip(default, filters[0 if one else stage], strict=True)]
            for axis in range(len(shapes[0])):
                if axes >> axis & 1:
                    x = plain_up(x, axis, shapes[stage + 1][axis], a)
        found.append(np.asarray(x, np.float64))
    return found


def pyramid_field(
    grid: tuple[int, ...], n_levels: int, axes: int, taps: int, one: bool, coords_values: int = 0, **fields: Any
) -> tuple[Field, list[Any]]:
    """A field whose values are the features, and the features of the lattice."""
    generator = np.random.default_rng(taps)
    shapes = level_shapes(grid, n_levels, axes)
    levels = [generator.integers(-9, 10, shape) for shape in shapes]
    filters = generator.uniform(-0.1, 0.1, (1 if one else n_levels - 1, taps)).astype(np.float32)
    weights = [*np.eye(n_levels).ravel(), *(filters.ravel() if n_levels > 1 else [])]
    record = pyramid(n_levels, axes, taps | 16 * one)
    given = {"out_channels": n_levels, "in_dims": len(grid), "grid": grid, "coords_values": coords_values}
    head = head_of(record, **{**given, **fields})
    return decode(file([lattice_pass(weights, levels)], head)), plain_features(levels, filters, axes, shapes, one)


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("taps", range(1, 9))
def test_features_of_a_pyramid_are_up_sampled_levels(taps: int, one: bool) -> None:
    for grid, n_levels, axes in (((7, 10), 4, 3), ((5, 6), 2, 1), ((3, 5, 4), 3, 6), ((9,), 3, 1), ((4, 4), 1, 3)):
        field, features = pyramid_field(grid, n_levels, axes, taps, one)
        for channel, feature in enumerate(features):
            np.testing.assert_allclose(field.grid()[..., channel], feature, rtol=1e-5, atol=1e-4)


def plain_cubic(f: Any, position: tuple[float, ...]) -> Any:
    """Cubic interpolation of numbers on a lattice, by Keys' kernel of the distance."""
    total = 0.0
    for place in product(*(range(math.floor(p) - 2, math.floor(p) + 4) for p in position)):
        weight = math.prod(keys_kernel(abs(p - i)) for p, i in zip(position, place, strict=True))
        total = total + weight * f[tuple(min(max(i, 0), n - 1) for i, n in zip(place, f.shape, strict=False))]
    return total


def keys_kernel(s: float) -> float:
    if s >= 2:
        return 0.0
    return 1.5 * s**3 - 2.5 * s**2 + 1 if s <= 1 else -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2


@pytest.mark.parametrize(
    ("coords_values", "fields"), [(0, {}), (1, {}), (2, {}), (3, {}), (15, {"box": (-1, 10, 3, 18)})]
)
def test_features_between_lattice_points_are_interpolated(coords_values: int, fields: Any) -> None:
    grid = (5, 7)
    field, features = pyramid_field(grid, 2, 3, 4, False, coords_values, **fields)
    low, size = fields.get("box", (0, 0, 1, 1))[:2], (4, 8) if fields else (1, 1)

    def coordinate(axis: int, p: float) -> float:
        n = grid[axis]
        return [
            (2 * p + 1) / n - 1,
            2 * p / (n - 1) - 1,
            2 * p / (grid[0] - 1) - 1,
            (p + 0.5) / n,
            low[axis] + size[axis] * (p + 0.5) / n,
        ][min(coords_values, 4)]

    for y, x in ((0, 0), (4, 6), (1.25, 3.5), (3.5, 0.125), (2, 5)):
        for channel, f in enumerate(features):
            expected = plain_cubic(f, (y, x))
            found = field.sample([(coordinate(0, y), coordinate(1, x))])[0, channel]
            assert found == pytest.approx(expected, abs=2e-4)
    corner = field.sample([(coordinate(0, -9), coordinate(1, 99)), (math.nan, math.nan), (-math.inf, math.inf)])
    expected = [[f[0, -1] for f in features], [f[0, 0] for f in features], [f[0, -1] for f in features]]
    np.testing.assert_allclose(corner, expected, atol=1e-4)
    np.testing.assert_allclose(field.grid(), np.stack(features, -1), atol=1e-4)


def plain_filter(x: Any, halved: list[int], w: Any, b: Any, relu: bool) -> Any:
    """x (grid…, channels), one point after the other."""
    grid = x.shape[:-1]
    w = w.reshape(len(b), len(b), *(3,) * len(halved))
    out = np.zeros_like(x)
    for p in product(*(range(n) for n in grid)):
        total = x[p] + b
        for k in product(range(3), repeat=len(halved)):
            q = list(p)
            for axis, step in zip(halved, k, strict=True):
                q[axis] = min(max(q[axis] + step - 1, 0), grid[axis] - 1)
            total = total + w[(slice(None), slice(None), *k)] @ x[tuple(q)]
        out[p] = np.maximum(total, 0) if relu else total
    return out


@pytest.mark.parametrize(("grid", "axes"), [((4, 5), 3), ((3, 4), 2), ((2, 3, 4), 6), ((5,), 1)])
def test_lattice_filters_are_residual_sums_over_neighbours(grid: tuple[int, ...], axes: int) -> None:
    generator = np.random.default_rng(axes)
    halved = [axis for axis in range(3) if axes >> axis & 1]
    shapes = level_shapes(grid, 2, axes)
    levels = [generator.integers(-3, 4, shape) for shape in shapes]
    n = 2 * 2 * 3 ** len(halved)
    parts = [generator.uniform(-0.3, 0.3, size).astype(np.float32) for size in (4, 2, n, 2, n, 2, 1)]
    records = (layer(1, 0, 2), conv(2, kind=12), last(11, 0))
    head = head_of(pyramid(2, axes, 1), *records, out_channels=2, in_dims=len(grid), grid=grid)
    field = decode(file([lattice_pass([float(x) for part in parts for x in part], levels)], head))
    features = plain_features(levels, parts[6].reshape(1, 1), axes, shapes, False)
    x = np.stack(features, -1) @ parts[0].reshape(2, 2).T.astype(np.float64) + parts[1]
    x = plain_filter(x, halved, parts[2], parts[3], True)
    x = plain_filter(x, halved, parts[4], parts[5], False)
    np.testing.assert_allclose(field.grid(), x, atol=2e-5)
    # between the points the values are interpolated, not the features
    point = [
        0.5 * (a + b)
        for a, b in zip(lattice_point(grid, (0,) * len(grid)), lattice_point(grid, (1,) * len(grid)), strict=True)
    ]
    expected = plain_cubic(x, (0.5,) * len(grid))
    np.testing.assert_allclose(field.sample([point])[0], expected, atol=2e-5)


def lattice_point(grid: tuple[int, ...], index: tuple[int, ...]) -> list[float]:
    return [(2 * i + 1) / n - 1 for i, n in zip(index, grid, strict=True)]


def test_layers_and_structures_before_lattice_filters_are_evaluated_on_the_lattice() -> None:
    """INPUT and OUTPUT beside a pyramid; more samples than a block has."""
    grid = (90, 100)
    level = np.random.default_rng(1).integers(-9, 10, grid)
    records = (output(1, 1, 0x20), input_(1, 1), last(11, 0x20))
    identity = [0.0] * (2 * 2 * 9)
    head = head_of(pyramid(1), *records, out_channels=3, grid=grid)
    field = decode(file([lattice_pass([2.0, *identity], [level])], head))
    x = [(2 * j + 1) / 100 - 1 for j in range(100)]
    expected = np.stack([level, np.broadcast_to(x, grid), 2 * level], -1)
    np.testing.assert_allclose(field.grid(), expected, atol=1e-5)
    point = lattice_point(grid, (40, 50))
    np.testing.assert_allclose(field.sample([point])[0], expected[40, 50], atol=1e-3)


def test_layers_behind_a_pyramid_without_filters_are_evaluated_at_the_coordinates() -> None:
    weights = [1.0, -5.0, 1.0]
    head = head_of(pyramid(1, 1), layer(3, 0, 1), last(1, 0x20), in_dims=1, grid=(4,))
    field = decode(file([lattice_pass(weights, [[0, 10, 0, 10]])], head))
    # half way between 0 and 10 (0, 0, 10, 0 are around) the ReLU of 5.625 - 5, not the interpolation of 0, 0, 5, 0
    assert field.sample([[-0.5]])[0, 0] == pytest.approx(0.625, abs=1e-5)
    assert field.grid().ravel().tolist() == [0, 5, 0, 5]


def test_values_on_the_lattice_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    head = head_of(pyramid(1), grid=(6, 7))
    data = file([lattice_pass([1.0], [np.ones((6, 7))])], head)
    monkeypatch.setattr(field_module, "OUTPUT_VALUES", 42)
    assert decode(data).grid().size == 42
    monkeypatch.setattr(field_module, "OUTPUT_VALUES", 41)
    with pytest.raises(DecodeError) as caught:
        decode(data).sample([(0, 0)])
    assert (caught.value.name, caught.value.offset) == ("LIMIT_CALLER", None)


def test_gabor_layer_behind_a_pyramid_is_real() -> None:
    head = head_of(pyramid(2), gabor(3), gabor(2), last(1, 0x20), grid=(4, 4))
    assert [t.shape for t in read(head).tensors][:4] == [(3, 2), (3,), (4, 3), (4,)]
