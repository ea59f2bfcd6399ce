"""Clause 6 in the reference decoder: the fields of HEAD, its rules and their order."""

import math
import struct
from collections.abc import Callable
from typing import Any

import pytest

from reference_decoder import DecodeError
from reference_decoder.container import Payload
from reference_decoder.head import Head, read_head
from tests.reference_writer import (
    SEEDED,
    SHARED_BASE,
    SIGNATURE,
    SPARSE,
    TRELLIS,
    WIDE,
    HeadFields,
    chunk,
    filter_,
    gabor,
    input_,
    last,
    layer,
    multiply,
    output,
)

FIXED = 10  # bytes before the grid
N_RECORDS = FIXED + 4
RECORDS = N_RECORDS + 1
NOT_IN_RANGE = (0.0, -1.5, 2.0**64, math.inf, math.nan)  # of a binary32 that is above 0 and below 2^64


def read(fields: HeadFields) -> Head:
    payload = fields.payload()
    return read_head(Payload(memoryview(payload), 0, len(payload)))


def failure(**fields: Any) -> tuple[str, int | None]:
    with pytest.raises(DecodeError) as caught:
        read(HeadFields(**fields))
    return caught.value.name, caught.value.offset


def fourier(flags: int = 0, octaves: int = 4, base: int = 2, tail: bytes = b"") -> bytes:
    return bytes([33, flags, octaves, base]) + tail


def f32(x: float) -> bytes:
    return struct.pack("<f", x)


@pytest.mark.parametrize(
    ("fields", "name", "offset"),
    [
        ({"version": 0x20}, "UNSUPPORTED_VERSION", 0),
        ({"version": 0x0F}, "UNSUPPORTED_VERSION", 0),
        ({"profile_level": 0x01}, "UNSUPPORTED_PROFILE", 1),
        ({"profile_level": 0x37}, "UNSUPPORTED_PROFILE", 1),
        ({"profile_level": 0x10}, "UNSUPPORTED_LEVEL", 1),
        ({"profile_level": 0x16}, "UNSUPPORTED_LEVEL", 1),
        *[({"features": 1 << bit}, "UNSUPPORTED_FEATURE", 2) for bit in range(8, 16)],
        ({"modality": 0}, "UNKNOWN_ID", 5),
        ({"modality": 9}, "UNKNOWN_ID", 5),
        ({"in_dims": 0}, "BAD_DIMENSIONS", 6),
        ({"in_dims": 9}, "BAD_DIMENSIONS", 6),
        ({"out_channels": 0}, "BAD_DIMENSIONS", 7),
        ({"coords_values": 4}, "UNKNOWN_ID", 8),
        ({"coords_values": 0x30}, "UNKNOWN_ID", 8),
        ({"n_passes": 0}, "BAD_DIMENSIONS", 9),
        ({"features": SEEDED, "rng_dictionary": 0x20}, "UNKNOWN_ID", N_RECORDS),
        ({"features": SEEDED, "rng_dictionary": 0x12}, "UNKNOWN_ID", N_RECORDS),
        ({"n_records": 0}, "BAD_RECORD", N_RECORDS),
    ],
)
def test_value_that_a_field_cannot_have(fields: dict[str, Any], name: str, offset: int) -> None:
    assert failure(**fields) == (name, offset)


def test_minor_versions_are_accepted() -> None:
    assert read(HeadFields(version=0x1F)).in_dims == 2


@pytest.mark.parametrize("n", range(len(HeadFields().payload())))
def test_head_that_ends_early_is_at_its_end(n: int) -> None:
    payload = HeadFields().payload()[:n]
    with pytest.raises(DecodeError) as caught:
        read_head(Payload(memoryview(payload), 0, n))
    assert (caught.value.name, caught.value.offset) == ("PAYLOAD_TOO_SHORT", n)


def test_surplus_is_at_its_first_byte_and_before_the_spanning_rules() -> None:
    size = len(HeadFields().payload())
    assert failure(tail=b"ab") == ("SURPLUS_BYTES", size)
    assert failure(tail=b"a", grid=(0, 3)) == ("SURPLUS_BYTES", size)


@pytest.mark.parametrize("grid", [(0, 3), (3, 0)])
def test_grid_is_all_zero_or_all_non_zero(grid: tuple[int, int]) -> None:
    assert failure(grid=grid) == ("BAD_DIMENSIONS", FIXED)
    assert read(HeadFields(grid=(0, 0))).grid == (0, 0)


def test_grid_has_at_most_the_samples_of_the_level() -> None:
    assert read(HeadFields(grid=(2048, 2048))).grid == (2048, 2048)
    assert failure(grid=(2048, 2049)) == ("LIMIT_GRID", FIXED)


@pytest.mark.parametrize(
    "box", [(0, 0, 1, 0), (0, 2, 1, 1), (0, math.nan, 1, 1), (-math.inf, 0, 1, 1), (0, 0, math.inf, 1)]
)
def test_box_is_finite_and_not_empty(box: tuple[float, ...]) -> None:
    assert failure(coords_values=15, box=box) == ("BAD_FLOAT", FIXED + 4)
    good = read(HeadFields(coords_values=15, box=(-1, 0, 1, 0.5)))
    assert (good.low, good.high) == ([-1, 0], [1, 0.5])


@pytest.mark.parametrize("kind", [0, 10, 13, 32, 37, 63, 68, 255])
def test_record_kind_that_is_unknown_or_reserved(kind: int) -> None:
    assert failure(records=(bytes([kind]), last())) == ("UNKNOWN_ID", RECORDS)
    assert failure(records=(bytes([kind]),)) == ("UNKNOWN_ID", RECORDS)


@pytest.mark.parametrize(
    ("record", "name", "offset"),
    [
        (layer(flags=0x81), "RESERVED_NOT_ZERO", 1),
        (layer(flags=0x82), "RESERVED_NOT_ZERO", 1),
        *[(layer(flags=tool), "UNKNOWN_ID", 1) for tool in (5, 6, 7)],
        (layer(width=0), "BAD_RECORD", 2),
        (layer(repeat=0), "BAD_RECORD", 4),
        *[(layer(2, omega=b"\0" + f32(x)), "BAD_FLOAT", 6) for x in (1.0, 255.0, 30.0, *NOT_IN_RANGE)],
        (fourier(flags=4), "RESERVED_NOT_ZERO", 1),
        (fourier(octaves=0), "BAD_RECORD", 2),
        (fourier(octaves=33), "BAD_RECORD", 2),
        (fourier(base=1), "BAD_RECORD", 3),
        *[(fourier(base=0, tail=f32(x)), "BAD_FLOAT", 4) for x in (1.0, 2.0, 255.0, *NOT_IN_RANGE)],
        (bytes([34, 0, 0]) + f32(1), "BAD_RECORD", 1),
        *[(bytes([34, 1, 0]) + f32(x), "BAD_FLOAT", 3) for x in NOT_IN_RANGE],
        *[(layer(kind, omega=b"\0" + f32(2)), "BAD_FLOAT", 6) for kind in (8, 9)],
        *[(layer(8, omega=b"\1") + f32(x), "BAD_FLOAT", 6) for x in NOT_IN_RANGE],
        (input_(0, 0), "BAD_RECORD", 2),
        (input_(0, 9), "BAD_RECORD", 2),
        *[(bytes([64, 0, 1, encoding]), "UNKNOWN_ID", 3) for encoding in (1, 34, 255)],
        (input_(0, 1, b"\4\1\2"), "RESERVED_NOT_ZERO", 4),
        (input_(0, 1, b"\0\0\2"), "BAD_RECORD", 5),
        (input_(0, 1, b"\0\41\2"), "BAD_RECORD", 5),
        (input_(0, 1, b"\0\1\1"), "BAD_RECORD", 6),
        (input_(0, 1, b"\0\1\0" + f32(1)), "BAD_FLOAT", 7),
        *[(output(1, kind), "UNKNOWN_ID", 1) for kind in (0, 10, 13, 37, 68)],
        *[(output(1, kind), "BAD_RECORD", 1) for kind in (8, 11, 12, 33, 34, 35, 36, 64, 65, 66)],
        (output(1, flags=0x80), "RESERVED_NOT_ZERO", 2),
        (output(1, flags=5), "UNKNOWN_ID", 2),
        (output(0), "BAD_RECORD", 3),
        (output(1, 9, omega=b"\0" + f32(3)), "BAD_FLOAT", 5),
        (filter_(0x80), "RESERVED_NOT_ZERO", 1),
        (filter_(7), "UNKNOWN_ID", 1),
        (filter_(omega=b"\0" + f32(0)), "BAD_FLOAT", 3),
    ],
)
def test_value_that_a_record_cannot_have(record: bytes, name: str, offset: int) -> None:
    assert failure(records=(record, last())) == (name, RECORDS + offset)


def test_floats_without_a_shorter_form() -> None:
    for x in (0.5, 256.0, 30.5, 2.0**-149, 2.0**64 - 2.0**40):
        assert read(HeadFields(records=(layer(2, omega=b"\0" + f32(x)), last()))).records[0].omega == x
    assert read(HeadFields(records=(fourier(base=0, tail=f32(1.5)), last()))).records[0].base == 1.5
    assert read(HeadFields(records=(last(4, omega=b"\x1e"),))).records[0].omega == 30


def test_last_record_is_a_layer_and_has_no_width() -> None:
    assert failure(records=(fourier(),)) == ("BAD_RECORD", RECORDS)
    assert failure(records=(layer(), fourier())) == ("BAD_RECORD", RECORDS + 5)
    for kind in (8, 33, 34, 35, 36, 64, 65, 66):
        assert failure(records=(layer(), bytes([kind]))) == ("BAD_RECORD", RECORDS + 5)
    head = read(HeadFields(records=(fourier(1), layer(width=5, repeat=2), last()), out_channels=3))
    assert head.widths == [2 + 2 * 4 * 2, 5, 5, 3]
    assert [(t.ordinal, t.shape) for t in head.tensors] == [
        (0, (5, 18)),
        (1, (5,)),
        (2, (5, 5)),
        (3, (5,)),
        (4, (3, 5)),
        (5, (3,)),
    ]


def test_bias_that_is_absent_keeps_its_ordinal() -> None:
    head = read(HeadFields(records=(layer(flags=0x21), last())))
    assert [t.ordinal for t in head.tensors] == [0, 2, 3]


def shapes(records: tuple[bytes, ...], **fields: Any) -> list[tuple[int, ...]]:
    return [tensor.shape for tensor in read(HeadFields(records=records, **fields)).tensors]


def test_input_appends_to_the_current_values() -> None:
    records = (fourier(1), layer(width=5), input_(1, 1, b"\1\3\2"), layer(width=4), input_(0, 2), last())
    assert shapes(records) == [(5, 18), (5,), (4, 5 + 7), (4,), (1, 4 + 2), (1,)]
    head = read(HeadFields(records=(input_(1, 1), layer(width=5), last())))
    assert [tensor.shape for tensor in head.tensors][:2] == [(5, 1), (5,)]
    assert head.widths == [0, 1, 5, 1]


def test_output_is_a_layer_that_leaves_the_current_values() -> None:
    records = (output(1, flags=0x21), layer(width=5), output(2), layer(3, width=6), last())
    head = read(HeadFields(records=records, out_channels=7))
    assert [(t.ordinal, t.shape) for t in head.tensors] == [
        (0, (1, 2)),
        (2, (5, 2)),
        (3, (5,)),
        (4, (2, 5)),
        (5, (2,)),
        (6, (6, 5)),
        (7, (6,)),
        (8, (7 - 3, 6)),
        (9, (4,)),
    ]


def test_filter_has_the_coordinates_as_inputs_and_the_current_values_as_outputs() -> None:
    records = (fourier(), filter_(), layer(width=5), filter_(0x21), last())
    assert shapes(records) == [(16, 2), (16,), (5, 16), (5,), (5, 2), (1, 5), (1,)]
    assert shapes((filter_(), last())) == [(2, 2), (2,), (1, 2), (1,)]


def test_gabor_layer_is_complex_where_its_inputs_are_those_of_a_gabor_layer() -> None:
    assert shapes((gabor(3, repeat=3), last())) == [(3, 2), (3,), (6, 3), (6,), (6, 3), (6,), (1, 6), (1,)]
    assert shapes((gabor(3), output(1), gabor(4), last()), out_channels=2)[2:6] == [(1, 6), (1,), (8, 3), (8,)]
    for between in (input_(0, 1), filter_(), layer(width=6)):
        inputs = 7 if between[0] == 64 else 6
        assert (4, inputs) in shapes((gabor(3), between, gabor(4), last()))


def test_multiply_has_no_tensors_and_is_no_layer() -> None:
    assert shapes((layer(), multiply(0), last())) == shapes((layer(), last()))
    assert len(read(HeadFields(records=(layer(repeat=7), multiply(6), multiply(0), last()))).layers) == 8


@pytest.mark.parametrize(
    ("before", "numbers"),
    [
        ((), ()),
        ((layer(),), (0,)),
        ((fourier(), layer()), (0,)),
        ((layer(repeat=3),), (0, 1, 2)),
        ((layer(), multiply(0)), (0,)),
        ((layer(width=4), layer()), (1,)),
        ((layer(), filter_(), output(2), output(3)), (0, 1, 3)),
        ((layer(width=1), input_(0, 2), layer(width=3)), (1,)),
        ((layer(width=1), input_(0, 2)), ()),
        ((layer(width=6), gabor(3)), (0, 1)),
        ((layer(), gabor(3)), (1,)),
        ((gabor(3), gabor(2)), (1,)),
    ],
)
def test_multiply_is_by_a_layer_before_it_with_as_many_outputs(before: tuple[bytes, ...], numbers: set[int]) -> None:
    at = RECORDS + sum(map(len, before)) + 1
    for number in (*range(5), 254, 255):
        given: dict[str, Any] = {"records": (*before, multiply(number), layer(5), last()), "out_channels": 6}
        if number in numbers:
            assert read(HeadFields(**given)).records[len(before)].layer == number
        else:
            assert failure(**given) == ("BAD_RECORD", at)


def test_multiply_makes_the_gabor_layer_behind_it_real() -> None:
    assert (4, 6) in shapes((gabor(3), multiply(0), gabor(4), last()))


def test_multiply_is_checked_after_the_rules_of_lower_numbers() -> None:
    wrong = (layer(), multiply(1))
    at = RECORDS + 5 + 2
    assert failure(records=(*wrong, layer(width=4097), last()))[0] == "LIMIT_WIDTH"
    assert failure(records=(*wrong, input_(0, 1, bytes([0, 10, 255])), last()))[0] == "BAD_FLOAT"
    relative: dict[str, Any] = {"features": SHARED_BASE, "base_digest": bytes(16)}
    assert failure(**relative, records=(*wrong, last(flags=0x11))) == ("BAD_RECORD", at + 1)
    assert failure(**relative, records=(*wrong, last())) == ("BAD_RECORD", RECORDS + 5 + 1)


def test_input_is_of_axes_that_there_are() -> None:
    assert failure(records=(layer(), input_(1, 2), last())) == ("BAD_RECORD", RECORDS + 5 + 1)
    assert failure(records=(input_(2, 1), last())) == ("BAD_RECORD", RECORDS + 1)
    assert failure(records=(layer(), input_(255, 8), last())) == ("BAD_RECORD", RECORDS + 5 + 1)
    assert len(shapes((layer(), input_(0, 2), last()))) == 4


@pytest.mark.parametrize("encoded", [b"", b"\0\1\2"])
def test_input_that_is_first_has_not_all_axes(encoded: bytes) -> None:
    assert failure(records=(input_(0, 2, encoded), last())) == ("BAD_RECORD", RECORDS)
    assert read(HeadFields(records=(input_(0, 1, encoded), input_(0, 2, encoded), last())))


def test_outputs_leave_the_last_layer_a_channel() -> None:
    records = (output(1), layer(), output(2), output(1), last())
    assert shapes(records, out_channels=5)[-1] == (1,)
    assert failure(records=records, out_channels=4) == ("BAD_RECORD", RECORDS + 4 + 5 + 4 + 3)
    assert failure(records=records, out_channels=3) == ("BAD_RECORD", RECORDS + 4 + 5 + 3)
    assert failure(records=records, out_channels=1) == ("BAD_RECORD", RECORDS + 3)


@pytest.mark.parametrize("record", [filter_, output])
def test_layers_of_structure_have_the_rules_of_tool_flags(record: Callable[..., bytes]) -> None:
    at = 1 if record is filter_ else 2
    for flags in (0x04, 0x08, 0x41):
        body = record(flags) if record is filter_ else record(1, flags=flags)
        assert failure(records=(body, last()), out_channels=2) == ("BAD_RECORD", RECORDS + at)
    for flags in (2, 3, 9):
        body = record(flags) if record is filter_ else record(1, flags=flags)
        assert failure(records=(body, last()), out_channels=2) == ("FEATURE_MISMATCH", RECORDS + at)


def test_relative_weights_have_neither_prior_nor_row_steps() -> None:
    fields: dict[str, Any] = {"features": SHARED_BASE | SEEDED, "base_digest": bytes(16)}
    for flags in (0x09, 0x11, 0x19):
        seeded = (bytes([34, 1, 0]) + f32(1), layer(), last(flags=flags))
        assert failure(**fields, records=seeded) == ("BAD_RECORD", RECORDS + 5 + 7 + 5 + 1)
    # HED-14 comes before
    records = (output(1), last(flags=0x11))
    assert failure(features=SHARED_BASE, base_digest=bytes(16), records=records) == ("BAD_RECORD", RECORDS + 3)


def test_digest_of_the_base_stands_before_the_optional_blocks() -> None:
    fields: dict[str, Any] = {"features": SHARED_BASE, "features_optional": 2, "tail": b"\1a"}
    head = read(HeadFields(**fields, base_digest=bytes(range(16))))
    assert head.base_digest == bytes(range(16))
    assert head.base_digest_at == len(HeadFields().payload())
    end = head.base_digest_at + 15
    assert failure(features=SHARED_BASE, base_digest=bytes(15)) == ("PAYLOAD_TOO_SHORT", end)


def test_input_encoding_is_the_first_record() -> None:
    assert failure(records=(layer(), fourier(), last())) == ("BAD_RECORD", RECORDS + 5)
    assert failure(records=(fourier(), fourier(), last())) == ("BAD_RECORD", RECORDS + 4)


@pytest.mark.parametrize("flags", [0x04, 0x08, 0x10, 0x18, 0x41, 0x42, 0x43, 0x48])
def test_tool_flags_that_do_not_go_together(flags: int) -> None:
    assert failure(records=(layer(flags=flags), last())) == ("BAD_RECORD", RECORDS + 1)
    assert failure(records=(last(flags=flags),)) == ("BAD_RECORD", RECORDS + 1)


def test_equal_layers_are_written_once() -> None:
    assert failure(records=(layer(), layer(), last())) == ("BAD_RECORD", RECORDS + 5)
    assert failure(records=(layer(), layer(repeat=2), last())) == ("BAD_RECORD", RECORDS + 5)
    for second in (layer(3), layer(flags=0x21), layer(width=4)):
        assert len(read(HeadFields(records=(layer(), second, last()))).layers) == 3
    for between in (output(1), filter_(), input_(0, 1), multiply(0)):
        assert len(read(HeadFields(records=(layer(), between, layer(), last()), out_channels=2)).records) == 4
    at = RECORDS + 10
    assert failure(records=(gabor(3), gabor(3), last())) == ("BAD_RECORD", at)
    assert len(read(HeadFields(records=(gabor(3), gabor(3, scale=1), last()))).layers) == 3
    assert len(read(HeadFields(records=(filter_(), filter_(), last()))).layers) == 3
    assert len(read(HeadFields(records=(layer(width=1), last()))).layers) == 2  # the last record does not count
    assert failure(records=(layer(repeat=255), layer(repeat=2), last()), profile_level=0x15)[0] == "BAD_RECORD"


@pytest.mark.parametrize(
    ("records", "level", "name"),
    [
        ((layer(repeat=8), last()), 1, "LIMIT_LAYERS"),
        ((layer(width=4097), last()), 1, "LIMIT_WIDTH"),
        ((fourier(octaves=32), layer(repeat=7, width=200), last()), 1, "LIMIT_PARAMETERS"),
        ((layer(width=4097, repeat=8), last()), 1, "LIMIT_LAYERS"),
        ((layer(repeat=6), filter_(), filter_(), last()), 1, "LIMIT_LAYERS"),
        ((gabor(2049), last()), 1, "LIMIT_WIDTH"),
        ((layer(width=4095), input_(0, 2), last()), 1, "LIMIT_WIDTH"),
        ((gabor(89, repeat=2), last()), 1, "LIMIT_PARAMETERS"),
        ((bytes([34]) + struct.pack("<Hf", 2049, 1), last()), 1, "LIMIT_WIDTH"),
        ((bytes([34]) + struct.pack("<Hf", 65535, 1), last()), 5, "LIMIT_WIDTH"),
        ((layer(width=65535), layer(width=65534), last()), 5, "LIMIT_PARAMETERS"),
    ],
)
def test_limits_are_at_n_records_and_in_order(records: tuple[bytes, ...], level: int, name: str) -> None:
    assert failure(records=records, profile_level=0x10 | level) == (name, N_RECORDS)


def test_limits_themselves_are_allowed() -> None:
    assert len(read(HeadFields(records=(layer(repeat=7), last()))).layers) == 8
    assert read(HeadFields(records=(layer(width=4095), last()))).widths[1] == 4095  # 4 * 4095 + 1 parameters
    assert len(read(HeadFields(records=(layer(repeat=5), output(1), filter_(), last()), out_channels=2)).layers) == 8
    assert read(HeadFields(records=(gabor(2048), last()))).widths[1] == 4096  # 5 * 2048 + 1 parameters
    # 3 * 88 + 2 * 88 * 89 + 2 * 88 + 1 = 16105 parameters
    assert read(HeadFields(records=(gabor(88, repeat=2), last()))).tensors[2].size == 2 * 88 * 88
    assert read(HeadFields(records=(layer(flags=0x21, width=4096), last(1, 0x20)), in_dims=3, grid=(1, 1, 1)))


@pytest.mark.parametrize("flags", [2, 3, 0x0A, 0x1B])
def test_tool_that_is_not_in_every_file_needs_its_feature_at_tool_flags(flags: int) -> None:
    reserved, seeded = last(flags=flags), bytes([34, 1, 0]) + f32(1)
    assert failure(records=(layer(), reserved)) == ("FEATURE_MISMATCH", RECORDS + 6)
    # 5 bytes of the seed stand before the records
    assert failure(records=(layer(), reserved), features=SEEDED) == ("FEATURE_MISMATCH", RECORDS + 5 + 6)
    assert failure(records=(seeded, reserved), features=SEEDED) == ("FEATURE_MISMATCH", RECORDS + 5 + 8)
    assert failure(records=(seeded, reserved)) == ("FEATURE_MISMATCH", RECORDS)  # records in order
    assert failure(records=(layer(flags=flags, width=4097), last()))[0] == "LIMIT_WIDTH"  # HED-8 is before HED-9


def test_tool_3_needs_sparse_and_seeded_at_tool_flags() -> None:
    records = (layer(), last(flags=3))
    assert failure(records=records, features=SPARSE) == ("FEATURE_MISMATCH", RECORDS + 6)
    assert failure(records=records, features=SEEDED) == ("FEATURE_MISMATCH", RECORDS + 5 + 6)
    tensors = read(HeadFields(records=records, features=SEEDED | SPARSE)).tensors
    assert [tensor.is_sparse for tensor in tensors] == [False, False, True, False]


def test_dictionary_law_needs_sparse_at_rng_dictionary() -> None:
    records = (layer(flags=9), last())
    assert failure(records=records, features=SEEDED, rng_dictionary=0x11) == ("FEATURE_MISMATCH", N_RECORDS)
    records = (layer(flags=3), last())
    assert read(HeadFields(records=records, features=SEEDED | SPARSE, rng_dictionary=0x11)).dictionary_law == 1


@pytest.mark.parametrize(
    ("base", "tail", "most"),
    [
        (16, b"", 16),  # 16^16 is 2^64
        (5, b"", 28),
        (0, f32(256), 8),
        (0, f32(4.19), 31),
        (0, f32(2.0**64 - 2.0**40), 2),
    ],
)
def test_highest_frequency_is_below_2_to_the_64(base: int, tail: bytes, most: int) -> None:
    def inputs(octaves: int) -> dict[str, Any]:
        return {"records": (layer(), input_(0, 1, bytes([0, octaves, base]) + tail), last())}

    assert read(HeadFields(**inputs(most))).records[1].octaves == most
    assert failure(**inputs(most + 1)) == ("BAD_FLOAT", RECORDS + 5 + 6)

    def records(octaves: int) -> dict[str, Any]:
        return {"records": (fourier(octaves=octaves, base=base, tail=tail), last())}

    assert read(HeadFields(**records(most))).records[0].octaves == most
    assert failure(**records(most + 1)) == ("BAD_FLOAT", RECORDS + 3)
    assert failure(**records(32)) == ("BAD_FLOAT", RECORDS + 3)
    assert failure(**records(32), features_optional=1, tail=b"\1a")[0] == "BAD_OPTIONAL_BLOCK"


def test_prior_needs_the_seed_at_tool_flags() -> None:
    assert failure(records=(layer(), layer(flags=9), last(flags=9))) == ("FEATURE_MISMATCH", RECORDS + 6)


def test_seeded_features_need_the_seed_at_kind() -> None:
    assert failure(records=(bytes([34, 1, 0]) + f32(1), last(flags=9))) == ("FEATURE_MISMATCH", RECORDS)


def test_dictionary_law_needs_sparse() -> None:
    fields: dict[str, Any] = {"features": SEEDED, "rng_dictionary": 0x11}
    assert failure(**fields, records=(last(flags=9),)) == ("FEATURE_MISMATCH", N_RECORDS)
    assert failure(**fields) == ("FEATURE_MISMATCH", N_RECORDS)  # before SEEDED without a use


def test_feature_without_a_use() -> None:
    for feature in (SEEDED, SPARSE, TRELLIS):
        assert failure(features=feature) == ("FEATURE_MISMATCH", 2)
    assert read(HeadFields(features=TRELLIS, records=(layer(), last(flags=2)))).records[1].tool == 2
    assert failure(features=WIDE) == ("FEATURE_MISMATCH", 2)
    both: dict[str, Any] = {"features": WIDE | SEEDED, "records": (last(flags=9),)}
    assert failure(**both, seed=2**32 - 1) == ("FEATURE_MISMATCH", 2)
    assert read(HeadFields(**both, seed=2**32)).seed == 2**32
    assert read(HeadFields(features=WIDE, grid=(65536, 2))).grid == (65536, 2)


def test_optional_blocks_are_skipped_and_quality_has_its_length() -> None:
    assert read(HeadFields(features_optional=0x06, tail=b"\2ab\0"))
    assert read(HeadFields(features_optional=0x03, tail=b"\2ab\1c"))
    at = len(HeadFields().payload())
    assert failure(features_optional=0x03, tail=b"\1a\1c") == ("BAD_OPTIONAL_BLOCK", at)
    assert failure(features_optional=0x01, tail=b"\2a") == ("PAYLOAD_TOO_SHORT", at + 2)


def spoil(*which: Callable[[dict[str, Any]], None]) -> tuple[str, int | None]:
    fields: dict[str, Any] = {"records": [layer(flags=0x21), layer(), last()], "tail": b""}
    for change in which:
        change(fields)
    return failure(**fields)


def test_spanning_rules_are_applied_in_the_order_of_their_numbers() -> None:
    def grid(f: dict[str, Any]) -> None:
        f["grid"] = (0, 3)

    def order(f: dict[str, Any]) -> None:
        f["records"].insert(1, fourier())

    def flags(f: dict[str, Any]) -> None:
        f["records"][0] = layer(flags=0x41)

    def twice(f: dict[str, Any]) -> None:
        f["records"].insert(-1, layer())

    def limit(f: dict[str, Any]) -> None:
        f["records"].insert(0, layer(repeat=9))

    def seed(f: dict[str, Any]) -> None:
        f["records"][-1] = last(flags=9)

    def block(f: dict[str, Any]) -> None:
        f["features_optional"], f["tail"] = 1, b"\0"

    names = ["BAD_DIMENSIONS", "BAD_RECORD", "BAD_RECORD", "BAD_RECORD", "LIMIT_LAYERS", "FEATURE_MISMATCH"]
    changes = [grid, order, flags, twice, limit, seed, block]
    assert [spoil(*changes[i:])[0] for i in range(6)] == names
    assert spoil(block)[0] == "BAD_OPTIONAL_BLOCK"
    # of the three BAD_RECORD the places tell which rule came first
    assert spoil(order, flags, twice)[1] == RECORDS + 5
    assert spoil(flags, twice)[1] == RECORDS + 1
    assert spoil(twice)[1] == RECORDS + 10


def test_offsets_are_from_the_start_of_the_file() -> None:
    from reference_decoder import decode

    with pytest.raises(DecodeError) as caught:
        decode(SIGNATURE + chunk(1, HeadFields(modality=0).payload()))
    assert (caught.value.name, caught.value.offset) == ("UNKNOWN_ID", 4 + 5 + 5)
