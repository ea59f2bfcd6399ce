"""Clause 6: every field rule and every rule HED-2 to HED-16, at the offset that the text states."""

import struct
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from sinrfmt.head import Header, build_head, lowest_level, parse_head
from sinrfmt.network import (
    FourierEncoding,
    InputRecord,
    Layer,
    LayerRecord,
    MultiplyRecord,
    Network,
    SeededFourierEncoding,
)
from sinrfmt.registry import LEVELS, Coords, Dictionary, Feature, Modality, Profile, RecordKind, Tool, Values
from tests.strategies import PUBLISHED, assert_error, assert_fault, fixed, header_of, headers, siren

NAN, INF = float("nan"), float("inf")
LINEAR_LAST = b"\x01\x01"
GABOR = LayerRecord(RecordKind.GABOR, 4, omega=2.0)
FILTER = LayerRecord(RecordKind.FILTER, 0, omega=2.0)
OUTPUT = LayerRecord(RecordKind.LINEAR, 1, is_output=True)


def f32(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def layer(kind: int = 2, flags: int = 1, width: int = 5, repeat: int = 1, omega: bytes = b"\x1e") -> bytes:
    """A layer record; omega only for the kinds that have one."""
    has_omega = kind in (2, 4, 8, 9)
    return bytes([kind, flags]) + width.to_bytes(2, "little") + bytes([repeat]) + (omega if has_omega else b"")


def gabor(width: int = 5, scale: float = 0.5, **fields: Any) -> bytes:
    return layer(8, width=width, **fields) + f32(scale)


def input_of(first: int = 0, count: int = 1, fourier_body: bytes = b"") -> bytes:
    return bytes([64, first, count, 33 if fourier_body else 0]) + fourier_body


def output(kind: int = 1, flags: int = 1, width: int = 1, omega: bytes = b"") -> bytes:
    return bytes([65, kind, flags, width]) + omega


def filter_of(flags: int = 1, omega: bytes = b"\x1e") -> bytes:
    return bytes([66, flags]) + omega


def multiply(number: int) -> bytes:
    return bytes([67, number])


def fourier(flags: int = 0, octaves: int = 4, base: bytes = b"\x02") -> bytes:
    return bytes([33, flags, octaves]) + base


def fourier_seeded(n_features: int = 8, scale: float = 1.0) -> bytes:
    return b"\x22" + n_features.to_bytes(2, "little") + f32(scale)


def grid(n_axes: int = 2, n_levels: int = 1, flags: int = 0, resolutions: tuple[int, ...] = (3, 4)) -> bytes:
    head = bytes([35, 1, n_axes, n_levels, 2, 1, 8, flags])
    return head + struct.pack(f"<{len(resolutions)}H", *resolutions)


def pyramid(axes: int = 3, context: int = 0, n_levels: int = 3, filters: int = 4, flags: int = 1) -> bytes:
    return bytes([36, flags, n_levels, axes, filters, context])


class Bytes:
    """HEAD by the text, with the place of every field."""

    def __init__(self, **fields: Any) -> None:
        n_records = len(fields.get("records", [layer()])) + 1
        parts = {
            "version": b"\x10",
            "profile_level": b"\x11",
            "features_required": bytes(2),
            "features_optional": b"\x00",
            "modality": b"\x01",
            "in_dims": b"\x02",
            "out_channels": b"\x03",
            "coords_values": b"\x00",
            "n_passes": b"\x01",
            "grid": struct.pack("<2H", 4, 6),
            "box": b"",
            "seeded": b"",
            "n_records": bytes([n_records]),
            "records": [layer()],
            "last": LINEAR_LAST,
            "base_digest": b"",
            "blocks": b"",
        } | fields
        self.at: dict[str, int] = {}
        self.payload = b""
        for name, value in parts.items():
            self.at[name] = len(self.payload)
            for index, piece in enumerate(value if isinstance(value, list) else [value]):
                self.at[f"{name}{index}"] = len(self.payload)
                self.payload += bytes([piece]) if isinstance(piece, int) else piece


WIDE, SEEDED, TRELLIS, GRID, BASED = b"\x01\x00", b"\x02\x00", b"\x04\x00", b"\x10\x00", b"\x82\x00"
SEED = b"\x10" + bytes(4)
PRIOR = layer(flags=0x09)

# What breaks a rule: fields, name of the error, the field at whose start it is, and how many bytes after that.
FIELD_RULES = [
    ({"version": 0x20}, "UNSUPPORTED_VERSION", "version", 0),
    ({"version": 0x00}, "UNSUPPORTED_VERSION", "version", 0),
    ({"profile_level": 0x01}, "UNSUPPORTED_PROFILE", "profile_level", 0),
    ({"profile_level": 0x30}, "UNSUPPORTED_PROFILE", "profile_level", 0),
    ({"profile_level": 0x10}, "UNSUPPORTED_LEVEL", "profile_level", 0),
    ({"profile_level": 0x16}, "UNSUPPORTED_LEVEL", "profile_level", 0),
    *[({"features_required": struct.pack("<H", 1 << bit)}, "UNSUPPORTED_FEATURE", "features_required", 0)
      for bit in range(Feature.EXACT, 16)],
    ({"modality": 0}, "UNKNOWN_ID", "modality", 0),
    ({"modality": 9}, "UNKNOWN_ID", "modality", 0),
    ({"in_dims": 0}, "BAD_DIMENSIONS", "in_dims", 0),
    ({"in_dims": 9}, "BAD_DIMENSIONS", "in_dims", 0),
    ({"out_channels": 0}, "BAD_DIMENSIONS", "out_channels", 0),
    *[({"coords_values": coords}, "UNKNOWN_ID", "coords_values", 0) for coords in range(4, 15)],
    *[({"coords_values": values << 4}, "UNKNOWN_ID", "coords_values", 0) for values in range(3, 16)],
    ({"n_passes": 0}, "BAD_DIMENSIONS", "n_passes", 0),
    ({"features_required": SEEDED, "seeded": b"\x00" + bytes(4)}, "UNKNOWN_ID", "seeded", 0),
    ({"features_required": SEEDED, "seeded": b"\x20" + bytes(4)}, "UNKNOWN_ID", "seeded", 0),
    ({"features_required": SEEDED, "seeded": b"\x12" + bytes(4)}, "UNKNOWN_ID", "seeded", 0),
    ({"n_records": 0}, "BAD_RECORD", "n_records", 0),
    *[({"records": [layer(kind)]}, "UNKNOWN_ID", "records", 0) for kind in (0, 10, 13, 32, 37, 63, 68, 255)],
    ({"records": [layer(flags=0x81)]}, "RESERVED_NOT_ZERO", "records", 1),
    *[({"records": [layer(flags=tool)]}, "UNKNOWN_ID", "records", 1) for tool in (5, 6, 7)],
    ({"records": [layer(width=0)]}, "BAD_RECORD", "records", 2),
    ({"records": [layer(repeat=0)]}, "BAD_RECORD", "records", 4),
    *[({"records": [layer(omega=b"\x00" + f32(omega))]}, "BAD_FLOAT", "records", 6)
      for omega in (NAN, INF, -INF, 0.0, -0.0, -1.5, 1.0, 30.0, 255.0, 2.0**64)],
    *[({"records": [fourier(flags=1 << bit)]}, "RESERVED_NOT_ZERO", "records", 1) for bit in range(2, 8)],
    ({"records": [fourier(octaves=0)]}, "BAD_RECORD", "records", 2),
    ({"records": [fourier(octaves=33)]}, "BAD_RECORD", "records", 2),
    ({"records": [fourier(base=b"\x01")]}, "BAD_RECORD", "records", 3),
    *[({"records": [fourier(base=b"\x00" + f32(base))]}, "BAD_FLOAT", "records", 4)
      for base in (NAN, INF, 0.0, -2.5, 1.0, 2.0, 255.0, 2.0**64)],
    ({"records": [fourier_seeded(n_features=0)]}, "BAD_RECORD", "records", 1),
    *[({"records": [fourier_seeded(scale=scale)]}, "BAD_FLOAT", "records", 3)
      for scale in (NAN, INF, 0.0, -1.0, 2.0**64)],
    *[({"last": bytes([kind, 1])}, "UNKNOWN_ID", "last", 0) for kind in (0, 10, 13, 37, 68)],
    *[({"last": bytes([kind, 1])}, "BAD_RECORD", "last", 0) for kind in (8, 33, 34, 35, 36, 64, 65, 66, 67)],
    *[({"records": [gabor(scale=scale)]}, "BAD_FLOAT", "records", 6) for scale in (NAN, INF, 0.0, -1.0, 2.0**64)],
    *[({"records": [input_of(count=count)]}, "BAD_RECORD", "records", 2) for count in (0, 9)],
    *[({"records": [bytes([64, 0, 1, encoding])]}, "UNKNOWN_ID", "records", 3) for encoding in (1, 34, 35)],
    ({"records": [input_of(fourier_body=fourier(flags=4)[1:])]}, "RESERVED_NOT_ZERO", "records", 4),
    ({"records": [input_of(fourier_body=fourier(octaves=0)[1:])]}, "BAD_RECORD", "records", 5),
    ({"records": [input_of(fourier_body=fourier(base=b"\x01")[1:])]}, "BAD_RECORD", "records", 6),
    ({"records": [input_of(fourier_body=fourier(base=b"\x00" + f32(2.0))[1:])]}, "BAD_FLOAT", "records", 7),
    *[({"records": [output(kind)]}, "UNKNOWN_ID", "records", 1) for kind in (0, 10, 37, 68)],
    *[({"records": [output(kind)]}, "BAD_RECORD", "records", 1)
      for kind in (8, 11, 12, 33, 34, 35, 36, 64, 65, 66, 67)],
    ({"records": [output(flags=0x81)]}, "RESERVED_NOT_ZERO", "records", 2),
    ({"records": [output(flags=5)]}, "UNKNOWN_ID", "records", 2),
    ({"records": [output(width=0)]}, "BAD_RECORD", "records", 3),
    ({"records": [output(9, omega=b"\x00" + f32(3.0))]}, "BAD_FLOAT", "records", 5),
    ({"records": [filter_of(flags=0x80)]}, "RESERVED_NOT_ZERO", "records", 1),
    ({"records": [filter_of(omega=b"\x00" + f32(-1.0))]}, "BAD_FLOAT", "records", 3),
    *[({"features_required": GRID, "records": [bytes([35, 1]) + bytes(body)]}, "BAD_RECORD", "records", at)
      for body, at in (((0,), 2), ((5,), 2), ((1, 0), 3), ((1, 65), 3), ((1, 1, 0), 4), ((1, 1, 1, 0), 5),
                       ((1, 1, 1, 1, 31), 6), ((1, 1, 1, 1, 8, 0, 0, 0), 8))],
    ({"records": [grid(flags=0x10)]}, "RESERVED_NOT_ZERO", "records", 7),
    ({"records": [pyramid(flags=0x21)]}, "RESERVED_NOT_ZERO", "records", 1),
    ({"records": [pyramid(flags=0x81)]}, "RESERVED_NOT_ZERO", "records", 1),
    *[({"records": [pyramid(n_levels=n)]}, "BAD_RECORD", "records", 2) for n in (0, 17)],
    *[({"records": [pyramid(axes=axes)]}, "BAD_RECORD", "records", 3) for axes in (0, 16)],
    *[({"records": [pyramid(filters=filters)]}, "BAD_RECORD", "records", 4) for filters in (0, 9)],
    ({"records": [pyramid(filters=0x24)]}, "RESERVED_NOT_ZERO", "records", 4),
    ({"records": [pyramid(context=0x81)]}, "RESERVED_NOT_ZERO", "records", 5),
    ({"records": [pyramid(context=3)]}, "UNKNOWN_ID", "records", 5),
    ({"records": [pyramid(context=0x10)]}, "RESERVED_NOT_ZERO", "records", 5),
    ({"last": b"\x01\x81"}, "RESERVED_NOT_ZERO", "last", 1),
    ({"last": b"\x01\x07"}, "UNKNOWN_ID", "last", 1),
    ({"last": b"\x02\x01\x00" + f32(7.0)}, "BAD_FLOAT", "last", 3),
]  # fmt: skip
GRID0, BOX_COORDS = bytes(4), 0x0F
SMALL = {"in_dims": 1, "out_channels": 1, "grid": bytes(2)}
RULES = [
    ({"grid": struct.pack("<2H", 0, 6)}, "BAD_DIMENSIONS", "grid", 0),  # HED-2
    ({"grid": struct.pack("<2H", 4, 0)}, "BAD_DIMENSIONS", "grid", 0),
    ({"grid": struct.pack("<2H", 2048, 2049)}, "LIMIT_GRID", "grid", 0),  # HED-3
    ({"grid": struct.pack("<2H", 65535, 65535)}, "LIMIT_GRID", "grid", 0),
    *[({"coords_values": BOX_COORDS, "box": f32(0, axis[0], 1, axis[1])}, "BAD_FLOAT", "box", 0)  # HED-4
      for axis in ((NAN, 1), (0, NAN), (-INF, 1), (0, INF), (1, 1), (2, 1))],
    ({"records": [layer(), fourier()]}, "BAD_RECORD", "records1", 0),  # HED-5
    ({"records": [fourier(), fourier()]}, "BAD_RECORD", "records1", 0),
    ({"features_required": SEEDED, "seeded": SEED, "records": [layer(), fourier_seeded()]},
     "BAD_RECORD", "records1", 0),
    ({"records": [layer(flags=0x04)]}, "BAD_RECORD", "records", 1),  # HED-6
    ({"records": [layer(flags=0x08)]}, "BAD_RECORD", "records", 1),
    ({"records": [layer(flags=0x10)]}, "BAD_RECORD", "records", 1),
    ({"records": [layer(flags=0x41)]}, "BAD_RECORD", "records", 1),
    ({"records": [layer(flags=0x42)]}, "BAD_RECORD", "records", 1),
    ({"last": b"\x01\x04"}, "BAD_RECORD", "last", 1),
    ({"last": b"\x01\x18"}, "BAD_RECORD", "last", 1),
    ({"records": [layer(), output(flags=0x10)]}, "BAD_RECORD", "records1", 2),
    ({"records": [filter_of(flags=0x42)]}, "BAD_RECORD", "records", 1),
    ({"records": [layer(), layer()]}, "BAD_RECORD", "records1", 0),  # HED-7
    ({"records": [layer(repeat=254), layer()]}, "BAD_RECORD", "records1", 0),
    ({"records": [fourier(), layer(3), layer(3, repeat=255)]}, "BAD_RECORD", "records2", 0),
    ({"records": [layer(omega=b"\x00" + f32(0.5))] * 2}, "BAD_RECORD", "records1", 0),
    ({"records": [gabor(), gabor(scale=0.25), gabor(scale=0.25)]}, "BAD_RECORD", "records2", 0),
    ({"records": [layer(repeat=8)]}, "LIMIT_LAYERS", "n_records", 0),  # HED-8
    ({"records": [layer(width=4097)]}, "LIMIT_WIDTH", "n_records", 0),
    ({"features_required": SEEDED, "seeded": SEED, "records": [fourier_seeded(2049)]}, "LIMIT_WIDTH", "n_records", 0),
    ({"records": [layer(width=126, repeat=2)]}, "LIMIT_PARAMETERS", "n_records", 0),
    ({"records": [layer(width=65535, repeat=255)]}, "LIMIT_LAYERS", "n_records", 0),
    ({"records": [layer(repeat=5), output(), filter_of(), filter_of()]}, "LIMIT_LAYERS", "n_records", 0),
    ({"records": [layer(width=4096), input_of()], **SMALL}, "LIMIT_WIDTH", "n_records", 0),
    ({"records": [gabor(width=2049)], **SMALL}, "LIMIT_WIDTH", "n_records", 0),
    ({"records": [gabor(width=126, repeat=2)]}, "LIMIT_PARAMETERS", "n_records", 0),
    ({"records": [layer(width=4096), filter_of(), filter_of(), filter_of()], **SMALL},
     "LIMIT_PARAMETERS", "n_records", 0),
    ({"records": [layer(flags=0x02)]}, "FEATURE_MISMATCH", "records", 1),  # HED-9
    ({"records": [layer(flags=0x03)]}, "FEATURE_MISMATCH", "records", 1),
    ({"records": [layer(), PRIOR]}, "FEATURE_MISMATCH", "records1", 1),
    ({"last": b"\x01\x09"}, "FEATURE_MISMATCH", "last", 1),
    ({"records": [fourier_seeded()]}, "FEATURE_MISMATCH", "records", 0),
    ({"features_required": SEEDED, "seeded": b"\x11" + bytes(4), "records": [PRIOR]}, "FEATURE_MISMATCH", "seeded", 0),
    ({"features_required": SEEDED, "seeded": b"\x11" + bytes(4), "records": [layer(flags=3)]},
     "FEATURE_MISMATCH", "records", 1),
    ({"records": [layer(), output(flags=0x02)]}, "FEATURE_MISMATCH", "records1", 2),
    ({"records": [filter_of(flags=0x09)]}, "FEATURE_MISMATCH", "records", 1),
    ({"features_required": SEEDED, "seeded": SEED}, "FEATURE_MISMATCH", "features_required", 0),  # HED-10
    ({"features_required": TRELLIS}, "FEATURE_MISMATCH", "features_required", 0),
    ({"features_required": WIDE, "grid": struct.pack("<2I", 4, 65535)}, "FEATURE_MISMATCH", "features_required", 0),
    ({"features_required": b"\x03\x00", "grid": bytes(8), "seeded": b"\x10" + struct.pack("<Q", (1 << 32) - 1),
      "records": [PRIOR]}, "FEATURE_MISMATCH", "features_required", 0),
    ({"features_optional": 1, "blocks": b"\x01\x00"}, "BAD_OPTIONAL_BLOCK", "blocks", 0),  # HED-11
    ({"features_optional": 1, "blocks": b"\x00"}, "BAD_OPTIONAL_BLOCK", "blocks", 0),
    ({"features_optional": 3, "blocks": b"\x04" + bytes(4) + b"\x00"}, "BAD_OPTIONAL_BLOCK", "blocks", 0),
    *[({"features_required": GRID, "records": [record]}, "BAD_RECORD", "records", 1)
      for record in (grid()[:1] + b"\x04" + grid()[2:], pyramid(flags=4))],
    ({"records": [grid(n_axes=3, resolutions=(3, 4, 5))]}, "BAD_RECORD", "records", 2),  # GRD-1
    ({"records": [pyramid()], "grid": GRID0}, "BAD_RECORD", "records", 0),  # GRD-2
    ({"records": [pyramid()], "in_dims": 5, "grid": struct.pack("<5H", 2, 2, 2, 2, 2)}, "BAD_RECORD", "records", 0),
    ({"records": [pyramid(axes=4)]}, "BAD_RECORD", "records", 3),
    ({"records": [pyramid(axes=2, context=1)]}, "BAD_RECORD", "records", 5),
    ({"records": [pyramid(axes=1, context=2)], "in_dims": 1, "grid": b"\x05\x00"}, "BAD_RECORD", "records", 5),
    ({"records": [layer(11, width=2)]}, "BAD_RECORD", "records", 0),  # GRD-3
    ({"last": b"\x0c\x01"}, "BAD_RECORD", "last", 0),
    ({"features_required": GRID, "records": [grid(), layer(width=3)], "last": b"\x0b\x01"}, "BAD_RECORD", "last", 0),
    ({"features_required": GRID, "records": [pyramid(), layer(11, width=4)]}, "BAD_RECORD", "records1", 0),
    ({"features_required": GRID, "records": [pyramid(), layer(11, width=3)]}, "BAD_RECORD", "records1", 0),
    ({"features_required": GRID, "records": [pyramid(n_levels=4)], "last": b"\x0b\x01"}, "BAD_RECORD", "last", 0),
    *[({"features_required": GRID, "records": [pyramid(), layer(11, width=3), record]}, "BAD_RECORD", "records1", 0)
      for record in (output(), filter_of(), multiply(0))],
    ({"features_required": GRID, "records": [pyramid(), input_of(), layer(11, width=3)]}, "BAD_RECORD", "records2", 0),
    ({"features_required": GRID, "records": [pyramid(), gabor(width=3), layer(11, width=3)]},
     "BAD_RECORD", "records2", 0),
    ({"records": [grid()]}, "FEATURE_MISMATCH", "records", 0),  # GRD-4
    ({"records": [pyramid()]}, "FEATURE_MISMATCH", "records", 0),
    ({"features_required": GRID}, "FEATURE_MISMATCH", "features_required", 0),
    ({"features_required": GRID, "records": [pyramid(flags=9)]}, "FEATURE_MISMATCH", "records", 1),
    ({"features_required": GRID, "records": [pyramid(flags=2)]}, "FEATURE_MISMATCH", "records", 1),
    ({"features_required": GRID, "records": [grid(n_axes=2, resolutions=(60000, 60000))[:6] + b"\x1e\x04"
      + struct.pack("<H", 60000)]}, "LIMIT_PARAMETERS", "n_records", 0),
    ({"records": [fourier(octaves=32, base=b"\x05")]}, "BAD_FLOAT", "records", 3),  # HED-12
    ({"records": [fourier(octaves=9, base=b"\x00" + f32(256.0))]}, "BAD_FLOAT", "records", 3),
    ({"records": [fourier(octaves=32, base=b"\x00" + f32(2.0**63))]}, "BAD_FLOAT", "records", 3),
    ({"records": [layer(), input_of(fourier_body=fourier(octaves=32, base=b"\x05")[1:])]}, "BAD_FLOAT", "records1", 6),
    ({"records": [layer(), input_of(1, 2)]}, "BAD_RECORD", "records1", 1),  # HED-13
    ({"records": [layer(), input_of(255, 1)]}, "BAD_RECORD", "records1", 1),
    ({"records": [input_of(0, 2)]}, "BAD_RECORD", "records", 0),
    ({"records": [input_of(0, 2, fourier()[1:]), input_of(0, 3)]}, "BAD_RECORD", "records", 0),
    ({"records": [output(width=3)]}, "BAD_RECORD", "records", 3),  # HED-14
    ({"records": [output(width=1), layer(), output(width=255)]}, "BAD_RECORD", "records2", 3),
    *[({"base_digest": bytes(16)} | fields, "BAD_RECORD", field, after) for fields, field, after in (  # HED-15
        ({"features_required": BASED, "seeded": SEED, "records": [PRIOR], "last": b"\x01\x11"}, "records", 1),
        ({"features_required": BASED, "seeded": SEED, "records": [filter_of(flags=9)]}, "records", 1),
        ({"features_required": b"\x80\x00", "records": [layer(), output(flags=0x11)]}, "records1", 2),
        ({"features_required": b"\x92\x00", "seeded": SEED, "records": [pyramid(flags=9)]}, "records", 1),
        ({"features_required": b"\x80\x00", "last": b"\x01\x11"}, "last", 1))],
    *[({"records": before}, "BAD_RECORD", f"records{len(before) - 1}", 1) for before in (  # HED-16
        [multiply(0)],
        [layer(), multiply(1)],
        [layer(repeat=3), multiply(3)],
        [layer(), layer(width=4), multiply(0)],
        [layer(), input_of(), multiply(0)],
        [layer(), output(width=2), multiply(1)],
        [gabor(), layer(width=5), multiply(0)],
        [layer(), multiply(0), layer(width=4), multiply(0)])],
    ({"records": [layer(), multiply(1), filter_of()]}, "BAD_RECORD", "records1", 1),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "name", "field", "after"), [*FIELD_RULES, *RULES])
def test_broken_rule_gives_its_error_at_its_field(fields: dict[str, Any], name: str, field: str, after: int) -> None:
    made = Bytes(**fields)
    assert_fault(name, made.at[field] + after, parse_head, made.payload)


# Of two broken rules the first in the order of checks counts: fields in order, then rules as clauses 5.5 and 9.6.2 say.
BASE = {"features_required": BASED, "base_digest": bytes(16)}
ORDER = [
    ({"version": 0x20, "profile_level": 0x00}, "UNSUPPORTED_VERSION"),
    ({"profile_level": 0x00}, "UNSUPPORTED_PROFILE"),
    ({"records": [layer(flags=0x87)]}, "RESERVED_NOT_ZERO"),
    ({"grid": struct.pack("<2H", 0, 6), "last": b"\x01\x07"}, "UNKNOWN_ID"),
    ({"grid": struct.pack("<2H", 0, 6), "records": [layer(), layer()]}, "BAD_DIMENSIONS"),
    ({"grid": struct.pack("<2H", 65535, 65535), "records": [layer(), fourier()]}, "LIMIT_GRID"),
    ({"records": [layer(flags=0x08), fourier()]}, "BAD_RECORD"),
    ({"records": [PRIOR, layer(repeat=255)]}, "LIMIT_LAYERS"),
    ({"records": [layer(repeat=255), input_of(1, 2)]}, "BAD_RECORD"),  # HED-13 and HED-14 before HED-8
    ({"records": [layer(repeat=255), output(width=3)]}, "BAD_RECORD"),
    ({"records": [pyramid(), layer(repeat=255)], "grid": GRID0}, "BAD_RECORD"),  # GRD-2 before HED-8
    ({"records": [fourier(octaves=32, base=b"\x05")], "features_required": GRID}, "BAD_FLOAT"),  # GRD-4 after HED-12
    ({"features_required": b"\x90\x00", "base_digest": bytes(16), "last": b"\x01\x11"}, "FEATURE_MISMATCH"),
    ({"records": [multiply(0), layer(repeat=255)]}, "LIMIT_LAYERS"),  # HED-16 after HED-8 and HED-15
    ({"records": [multiply(0)], "last": b"\x01\x19", "seeded": SEED, **BASE}, "BAD_RECORD: prior and row steps"),
    ({"records": [layer(width=5000, repeat=9)]}, "LIMIT_LAYERS"),
    ({"records": [layer(width=5000)]}, "LIMIT_WIDTH"),
    ({"features_required": WIDE, "grid": struct.pack("<2I", 4, 6), "records": [PRIOR]}, "FEATURE_MISMATCH"),
    ({"features_required": SEEDED, "seeded": SEED, "features_optional": 1, "blocks": b"\x00"}, "FEATURE_MISMATCH"),
    ({"last": b"\x01\x08", "blocks": b"\x00"}, "SURPLUS_BYTES"),
]


@pytest.mark.parametrize(("fields", "name"), ORDER)
def test_of_two_broken_rules_the_first_in_order_counts(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(Exception, match=name):
        parse_head(Bytes(**fields).payload)


ACCEPTED = [
    {},
    {"version": 0x1F},
    {"grid": GRID0},
    {"grid": struct.pack("<2H", 2048, 2048)},
    {"coords_values": BOX_COORDS, "box": f32(-1, 0, 1, 0.5)},
    {"records": []},
    {"records": [fourier()]},
    {"records": [fourier(base=b"\x00" + f32(0.5))]},
    {"records": [fourier(flags=3, octaves=32, base=b"\x04")]},
    {"records": [fourier(octaves=8, base=b"\x00" + f32(256.0))]},
    {"records": [fourier(octaves=1, base=b"\x00" + f32(2.0**63))]},
    {"records": [layer(repeat=7)]},
    {"records": [layer(width=4096, omega=b"\x00" + f32(256.0))], "in_dims": 1, "out_channels": 1, "grid": bytes(2)},
    {"records": [layer(), layer(flags=0x21), layer()]},
    {"records": [layer(), output(), layer(), filter_of(), layer(), input_of(), layer()]},
    {"records": [filter_of(), filter_of(), output(), output(), input_of(), input_of()]},
    {"records": [layer(repeat=3), multiply(0), multiply(2)]},
    {"records": [layer(), filter_of(), layer(width=4), layer(), multiply(1), input_of(), layer(), multiply(3)]},
    {"records": [layer(width=2), output(width=2), multiply(1), multiply(0)]},
    {"records": [filter_of(), multiply(0)]},
    {"records": [gabor(), layer(width=10), multiply(0)]},
    {"records": [layer(), multiply(0), layer()]},  # HED-7: they do not follow each other
    {"records": [gabor(), gabor(scale=0.25), gabor(scale=0.25, width=6)]},
    {"records": [input_of(1, 1), input_of(0, 2)]},
    {"records": [fourier(), input_of(0, 2)]},
    {"records": [input_of(0, 1, fourier(octaves=32, base=b"\x03")[1:])]},
    {"records": [layer(kind=9), output(9, width=2, omega=b"\x00" + f32(0.5))]},
    {"records": [gabor(width=2048)], **SMALL},
    {"features_required": b"\x80\x00", "base_digest": bytes(16)},
    {"features_required": TRELLIS, "records": [filter_of(flags=2)]},
    {"features_required": TRELLIS, "records": [output(flags=2)]},
    {"profile_level": 0x15, "records": [layer(repeat=255)]},
    {"profile_level": 0x15, "features_required": WIDE, "grid": struct.pack("<2I", 65536, 1)},
    {"features_required": b"\x03\x00", "grid": bytes(8), "seeded": b"\x10" + struct.pack("<Q", 1 << 32),
     "records": [PRIOR]},
    {"features_required": SEEDED, "seeded": SEED, "records": [fourier_seeded(2048)]},
    {"features_required": GRID, "records": [grid()]},
    {"features_required": GRID, "records": [grid(n_axes=1, n_levels=2)]},
    {"features_required": GRID, "records": [grid(flags=15, n_levels=2)]},
    {"features_required": GRID, "records": [pyramid(context=0x75, filters=0x18)]},
    {"features_required": GRID, "records": [pyramid(), layer(12, width=3, repeat=2)], "last": b"\x0b\x01"},
    {"features_required": GRID, "records": [pyramid(axes=6, context=2)], "in_dims": 3, "grid": bytes([2, 0] * 3)},
    {"features_required": b"\x12\x00", "seeded": SEED, "records": [pyramid(flags=9)]},
    {"features_required": b"\x14\x00", "records": [pyramid(flags=2)]},
    {"features_required": b"\x14\x00", "records": [grid()[:1] + b"\x02" + grid()[2:]]},
    {"features_required": b"\x90\x00", "base_digest": bytes(16), "records": [pyramid()]},
    {"records": [layer(flags=0x40)], "last": b"\x03\x20"},
    {"features_optional": 1, "blocks": b"\x02\x10\x27"},
    {"features_optional": 0xFF, "blocks": b"\x02\x10\x27" + b"\x00" * 6 + b"\xff" + bytes(255)},
]  # fmt: skip


@pytest.mark.parametrize("fields", ACCEPTED)
def test_borders_of_the_rules_are_accepted(fields: dict[str, Any]) -> None:
    parse_head(Bytes(**fields).payload)


def test_a_repeat_of_255_is_as_many_as_any_level_allows() -> None:
    """HED-7 has no exception, and HED-8 allows 256 layers at level 5."""
    records = [layer(width=3, repeat=255)]
    assert parse_head(Bytes(profile_level=0x15, records=records).payload).network.n_layers == 256
    for more, name, field in (
        (layer(width=3), "BAD_RECORD", "records1"),
        (layer(width=4), "LIMIT_LAYERS", "n_records"),
    ):
        made = Bytes(profile_level=0x15, records=[*records, more])
        assert_fault(name, made.at[field], parse_head, made.payload)


def test_head_that_is_cut_is_too_short_at_its_end() -> None:
    """CON-10."""
    payload = Bytes(features_required=b"\x03\x00", grid=struct.pack("<2I", 1 << 16, 1),
                    seeded=b"\x10" + bytes(8), records=[fourier(), PRIOR]).payload  # fmt: skip
    parse_head(payload)
    for n in range(len(payload)):
        assert_fault("PAYLOAD_TOO_SHORT", n, parse_head, payload[:n])


def test_bytes_after_head_are_surplus() -> None:
    """CON-10."""
    payload = Bytes().payload
    assert_fault("SURPLUS_BYTES", len(payload), parse_head, payload + b"\x00")


def test_head_says_what_its_bytes_say() -> None:
    made = Bytes(
        version=0x13,
        profile_level=0x23,
        features_required=b"\x03\x00",
        features_optional=3,
        modality=4,
        coords_values=0x1F,
        n_passes=2,
        grid=struct.pack("<2I", 65536, 2),
        box=f32(-1, 0.25, 1, 0.5),
        seeded=b"\x10" + struct.pack("<Q", (1 << 64) - 2),
        records=[fourier(3, 5, b"\x00" + f32(1.5)), layer(4, 0x39, 300, 2, b"\x00" + f32(0.5)), layer(7, 0x40, 9)],
        last=b"\x02\x01\x07",
        blocks=b"\x04" + struct.pack("<2H", 3001, 4000) + b"\x01\xaa",
    )
    first = LayerRecord(RecordKind.GAUSSIAN, 300, 2, 0.5, prior=True, row_steps=True, bias=False)
    assert parse_head(made.payload) == Header(
        network=Network(
            in_dims=2,
            out_channels=3,
            records=(
                first,
                LayerRecord(RecordKind.ELU, 9, tool=Tool.RAW, half=True),
                LayerRecord(RecordKind.SINE, 3, omega=7.0),
            ),
            input_encoding=FourierEncoding(5, 1.5, include_input=True, times_pi=True),
        ),
        modality=Modality.VOLUME,
        grid=(65536, 2),
        coords=Coords.BOX,
        values=Values.SIGNED,
        n_passes=2,
        seed=(1 << 64) - 2,
        dictionary=Dictionary.RADEMACHER,
        box=((-1.0, 1.0), (0.25, 0.5)),
        quality=(30.01, 40.0),
        profile=Profile.MAIN,
        level=LEVELS[3],
        version_minor=3,
    )


def single_steps(header: Header) -> list[Any]:
    """Steps whatever the records that repeat them."""
    return [
        replace(step, record=replace(step.record, repeat=1)) if isinstance(step, Layer) else step
        for step in header.network.steps
    ]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_come_back(name: str) -> None:
    network = PUBLISHED[name]()
    assert parse_head(build_head(header_of(network, grid=()))).network == network


def test_records_that_are_not_a_chain_say_what_their_bytes_say() -> None:
    body = fourier(1, 6, b"\x00" + f32(1.5))[1:]
    made = Bytes(
        records=[input_of(1, 1, body), gabor(7, 0.25, repeat=2), output(9, 0x21, 2, b"\x05"), filter_of(0x40, b"\x09")],
        base_digest=bytes(range(16)),
        features_required=b"\x80\x00",
    )
    header = parse_head(made.payload)
    assert header.base_digest == bytes(range(16))
    assert header.network.records == (
        InputRecord(1, 1, FourierEncoding(6, 1.5, include_input=True, times_pi=False)),
        LayerRecord(RecordKind.GABOR, 7, 2, 30.0, scale=0.25),
        LayerRecord(RecordKind.FINER, 2, omega=5.0, bias=False, is_output=True),
        LayerRecord(RecordKind.FILTER, 0, omega=9.0, tool=Tool.RAW, half=True),
        LayerRecord(RecordKind.LINEAR, 1),
    )
    assert [tensor.shape for tensor in header.network.tensors] == [
        (7, 13), (7,), (14, 7), (14,), (2, 14), (14, 2), (14,), (1, 14), (1,),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "shapes"),
    [
        ((GABOR, GABOR), [(4, 2), (8, 4), (1, 8)]),
        ((GABOR, OUTPUT, GABOR), [(4, 2), (1, 8), (8, 4), (1, 8)]),
        ((GABOR, InputRecord(0, 2), GABOR), [(4, 2), (4, 10), (1, 8)]),
        ((GABOR, FILTER, GABOR), [(4, 2), (8, 2), (4, 8), (1, 8)]),
        ((GABOR, MultiplyRecord(0), GABOR), [(4, 2), (4, 8), (1, 8)]),
        ((GABOR, replace(FILTER, kind=RecordKind.SINE, width=8), GABOR), [(4, 2), (8, 8), (4, 8), (1, 8)]),
        ((FILTER, GABOR), [(2, 2), (4, 2), (1, 8)]),
    ],
)
def test_a_gabor_layer_is_complex_only_right_after_another(records: Any, shapes: list[tuple[int, int]]) -> None:
    """Clause 6.7."""
    network = Network(2, 2 if OUTPUT in records else 1, (*records, LayerRecord(RecordKind.LINEAR, 1)))
    assert [tensor.shape for tensor in network.tensors if not tensor.is_bias] == shapes


@fixed(150)
@given(headers())
def test_parsing_gives_back_what_was_built(header: Header) -> None:
    parsed = parse_head(build_head(header))
    assert single_steps(parsed) == single_steps(header)
    assert replace(parsed, network=header.network) == header
    assert build_head(parsed) == build_head(header)


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [([1, 1], [2]), ([200, 55], [255]), ([1] * 5, [5])],
)
def test_equal_records_are_merged(repeats: list[int], expected: list[int]) -> None:
    hidden = [LayerRecord(RecordKind.SINE, 2, repeat, 30.0) for repeat in repeats]
    network = Network(1, 1, (*hidden, LayerRecord(RecordKind.LINEAR, 1)))
    parsed = parse_head(build_head(header_of(network)))
    assert [record.repeat for record in parsed.network.records[:-1]] == expected


@pytest.mark.parametrize(
    "change", [{"width": 6}, {"omega": 31.0}, {"kind": RecordKind.GAUSSIAN}, {"bias": False}, {"row_steps": True}]
)
def test_records_that_differ_are_not_merged(change: dict[str, Any]) -> None:
    record = siren(1).records[0]
    network = Network(2, 3, (record, replace(record, **change), LayerRecord(RecordKind.LINEAR, 3)))
    assert parse_head(build_head(header_of(network))).network.records == network.records


@pytest.mark.parametrize(
    ("header", "features"),
    [
        (header_of(siren()), set()),
        (header_of(siren(prior=True)), {Feature.SEEDED}),
        (header_of(siren(prior=True), seed=1 << 32), {Feature.SEEDED, Feature.WIDE}),
        (header_of(siren(), grid=(65536, 1)), {Feature.WIDE}),
        (header_of(siren(), seed=1 << 20), set()),
        (header_of(replace(siren(), input_encoding=SeededFourierEncoding(3, 1.0))), {Feature.SEEDED}),
        (header_of(replace(siren(), input_encoding=FourierEncoding(3))), set()),
        (header_of(siren(), base_digest=bytes(16)), {Feature.SHARED_BASE}),
        (header_of(siren(tool=Tool.TRELLIS)), {Feature.TRELLIS}),
    ],
)
def test_required_features_follow_from_the_content(header: Header, features: set[Feature]) -> None:
    assert int.from_bytes(build_head(header)[2:4], "little") == sum(1 << feature for feature in features)


def test_layers_are_counted_before_the_network_is_expanded() -> None:
    """LIM-2: 64 770 layers of 65 535 outputs are refused in little memory."""
    made = Bytes(profile_level=0x15, records=[layer(width=65000 + i, repeat=255) for i in range(254)])
    tracemalloc.start()
    try:
        assert_fault("LIMIT_LAYERS", made.at["n_records"], parse_head, made.payload)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"n_passes": 0}, "BAD_DIMENSIONS"),
        ({"n_passes": 256}, "BAD_DIMENSIONS"),
        ({"grid": (0, 3)}, "BAD_DIMENSIONS"),
        ({"grid": (5000, 5000), "level": LEVELS[1]}, "LIMIT_GRID"),
        ({"coords": Coords.BOX, "box": ((0.0, 1.0), (1.0, 1.0))}, "BAD_FLOAT"),
        ({"quality": (30.0, 31.0)}, "BAD_OPTIONAL_BLOCK"),
        ({"dictionary": Dictionary.T8, "network": siren(prior=True)}, "FEATURE_MISMATCH"),
        ({"network": siren(width=0)}, "BAD_RECORD"),
        ({"network": siren(depth=255), "level": LEVELS[4]}, "LIMIT_LAYERS"),
        ({"network": Network(2, 3, (LayerRecord(RecordKind.SINE, 4, 256, 30.0), *siren().records[1:]))}, "BAD_RECORD"),
        ({"network": siren(half=True)}, "BAD_RECORD"),
        ({"network": siren(tool=Tool.RAW, prior=True)}, "BAD_RECORD"),
        ({"network": replace(siren(), in_dims=9), "grid": ()}, "BAD_DIMENSIONS"),
        ({"network": Network(2, 3, (OUTPUT,))}, "BAD_RECORD"),
        ({"network": Network(2, 3, (replace(OUTPUT, width=3), *siren().records))}, "BAD_RECORD"),
        ({"network": Network(2, 3, (InputRecord(0, 2), *siren().records))}, "BAD_RECORD"),
        ({"network": siren(row_steps=True), "base_digest": bytes(16)}, "BAD_RECORD"),
    ],
)
def test_what_a_decoder_refuses_is_not_built(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(Exception, match=name):
        build_head(replace(header_of(siren()), **fields))


def test_announced_quality_is_rounded_to_hundredths_and_clipped() -> None:
    header = header_of(siren(), n_passes=3, quality=(30.004, 30.006, np.inf))
    assert parse_head(build_head(header)).quality == (30.0, 30.01, 655.35)


@pytest.mark.parametrize(
    ("network", "grid", "level"),
    [
        (siren(), (2048, 2048), 1),
        (siren(), (2048, 2049), 2),
        (siren(depth=7), (), 1),
        (siren(depth=8), (), 2),
        (siren(depth=1, width=4097, out_channels=1), (), 2),
        (siren(depth=3, width=128), (), 2),
        (siren(depth=255, width=8), (1 << 19, 1 << 19), 5),
    ],
)
def test_lowest_level_holds_the_network_and_its_grid(network: Network, grid: tuple[int, ...], level: int) -> None:
    assert lowest_level(network, grid) == LEVELS[level]


def test_lowest_level_refuses_what_no_level_holds() -> None:
    assert_error("LIMIT_LAYERS", None, lowest_level, siren(depth=256), ())
    assert_error("LIMIT_GRID", None, lowest_level, siren(), (1 << 19, (1 << 19) + 1))
