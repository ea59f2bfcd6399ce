"""Clause 6 in the reference decoder: the fields of HEAD, its rules and their order."""

import math
import struct
from collections.abc import Callable
from typing import Any

import pytest

from reference_decoder import DecodeError
from reference_decoder.container import Payload
from reference_decoder.head import Head, read_head
from tests.reference_writer import SEEDED, SIGNATURE, SPARSE, WIDE, HeadFields, chunk, last, layer

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
        *[({"features": 1 << bit}, "UNSUPPORTED_FEATURE", 2) for bit in (4, 5, 6, *range(8, 16))],
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


@pytest.mark.parametrize("kind", [0, 10, 32, 35, 63, 67, 255])
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
    assert len(read(HeadFields(records=(layer(width=1), last()))).layers) == 2  # the last record does not count
    assert failure(records=(layer(repeat=255), layer(repeat=2), last()), profile_level=0x15)[0] == "BAD_RECORD"


@pytest.mark.parametrize(
    ("records", "level", "name"),
    [
        ((layer(repeat=8), last()), 1, "LIMIT_LAYERS"),
        ((layer(width=4097), last()), 1, "LIMIT_WIDTH"),
        ((fourier(octaves=32), layer(repeat=7, width=200), last()), 1, "LIMIT_PARAMETERS"),
        ((layer(width=4097, repeat=8), last()), 1, "LIMIT_LAYERS"),
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
    assert failure(features=SEEDED) == ("FEATURE_MISMATCH", 2)
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
