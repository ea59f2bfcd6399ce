"""Recipes of the invalid vectors: one fault each, its code and offset predicted from the text."""

import struct
from dataclasses import replace
from typing import Any

from conformance.generate.build import SHORT_STEPS, build
from conformance.generate.describe import (
    PACKED,
    SEEDED,
    SPARSE,
    WIDE,
    Entry,
    File,
    Fourier,
    FourierSeeded,
    Layer,
    Pass,
    Zero,
)
from conformance.generate.faults import Bits, Edit, Flip
from conformance.generate.philox import prior
from conformance.generate.primitives import (
    WINDOW_9_MIB,
    brotli_stored,
    npy_bytes,
    zlib_fixed,
    zlib_stored,
    zlib_zeros,
    zstandard_raw,
    zstandard_skippable,
)
from conformance.generate.recipe import Call, Invalid, Valid, with_entry, with_head, with_pass
from conformance.generate.recipes_valid import (
    FROZEN,
    FROZEN_ENTRIES,
    packed_bytes,
    unchanged_file,
    unchanged_raw_file,
    valid,
)

EVERYTHING = 1 << 24  # more bytes than any vector has: to the end of the file
SEAL = ("hcheck", "crc32")  # the length stays wrong
TWO_64 = 2.0**64

PARENTS: dict[str, Valid] = {recipe.name: recipe for recipe in valid()}
PACKED_PARENT, RANS_PARENT = "valid-min-packed", "valid-rans-one-lane"


def parent(name: str) -> File:
    """The description of a valid vector."""
    return PARENTS[name].file


def u8(value: int) -> bytes:
    return bytes([value])


def u16(value: int) -> bytes:
    return struct.pack("<H", value)


def u24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def f32(value: float) -> bytes:
    return struct.pack("<f", value)


def container() -> list[Invalid]:
    """Clause 5: signature, chunk headers, check values, order, ends."""
    P = PACKED_PARENT

    def sealed(
        name: str, title: str, clause: str, source: str, error: str, at: str, *edits: Any, **more: Any
    ) -> Invalid:
        return Invalid(f"invalid-{name}", title, tuple(clause.split()), source, error, at, edits, **more)

    def bare(name: str, title: str, clause: str, source: str, error: str, at: str, *edits: Any, **more: Any) -> Invalid:
        return sealed(name, title, clause, source, error, at, *edits, reseal=(), **more)

    def cut(name: str, title: str, at: str, plus: int = 0, error: str = "TRUNCATED", where: str = "end") -> Invalid:
        return bare(f"cut-{name}", title, "CON-7", P, error, where, Edit(at, b"", plus, EVERYTHING))

    def retyped(label: str, value: int, title: str, error: str, source: str = P, clause: str = "CON-4") -> Invalid:
        name = f"type-{label.lower()}-{value:02x}"
        return sealed(name, title, clause, source, error, f"{label}.type", Edit(f"{label}.type", u8(value)))

    meta, hashed = "valid-meta", "valid-hash"
    two = "valid-pass-2"
    out = [
        bare(
            "signature-ascii",
            "the fourth byte of the signature without its high bit",
            "CON-1",
            P,
            "BAD_SIGNATURE",
            "signature",
            Edit("signature", b"SINR"),
        ),
        bare(
            "signature-first", "another first byte", "CON-1", P, "BAD_SIGNATURE", "signature", Flip("signature", 0x20)
        ),
        cut("empty", "an empty file", "signature"),
        cut("signature", "three bytes of the signature", "signature", 3),
        bare(
            "cut-signature-wrong",
            "two bytes that do not begin a signature",
            "CON-1",
            P,
            "BAD_SIGNATURE",
            "signature",
            Edit("signature", b"SX", 0, EVERYTHING),
        ),
        cut("after-signature", "the signature alone", "HEAD.type"),
        cut("head-header", "four bytes of the header of HEAD", "HEAD.hcheck"),
        cut("head-payload", "the payload of HEAD ends early", "HEAD.modality"),
        cut("head-trailer", "three bytes of HEAD's crc32", "HEAD.crc32", 3),
        cut("after-head", "HEAD alone", "PASS0.type"),
        cut("pass-header", "one byte of the header of PASS", "PASS0.type", 1),
        cut("pass-body", "the body ends early", "PASS0.body", 1),
        cut("last-byte", "the last byte is missing", "end", -1),
        bare("hcheck-head", "hcheck of HEAD", "CON-2", P, "HEADER_CHECK_MISMATCH", "HEAD.hcheck", Flip("HEAD.hcheck")),
        bare(
            "hcheck-pass",
            "hcheck of PASS",
            "CON-2",
            P,
            "HEADER_CHECK_MISMATCH",
            "PASS0.hcheck",
            Flip("PASS0.hcheck", 0x80),
        ),
        bare(
            "hcheck-meta",
            "hcheck of an ancillary chunk",
            "CON-2",
            meta,
            "HEADER_CHECK_MISMATCH",
            "META.hcheck",
            Flip("META.hcheck", 0x10),
        ),
        bare(
            "hcheck-length",
            "a bit of length",
            "CON-2",
            P,
            "HEADER_CHECK_MISMATCH",
            "PASS0.hcheck",
            Flip("PASS0.length", 1, 1),
        ),
        bare(
            "hcheck-type",
            "a bit of type",
            "CON-2",
            P,
            "HEADER_CHECK_MISMATCH",
            "PASS0.hcheck",
            Flip("PASS0.type", 0x80),
        ),
        bare(
            "crc-head", "a bit of HEAD's payload", "CON-3", P, "CHUNK_CRC_MISMATCH", "HEAD.crc32", Flip("HEAD.n_passes")
        ),
        bare(
            "crc-head-stored",
            "a bit of HEAD's crc32",
            "CON-3",
            P,
            "CHUNK_CRC_MISMATCH",
            "HEAD.crc32",
            Flip("HEAD.crc32", 0x40, 3),
        ),
        bare("crc-pass", "a bit of the body", "CON-3", P, "CHUNK_CRC_MISMATCH", "PASS0.crc32", Flip("PASS0.body", 4)),
        bare(
            "crc-meta",
            "a bit of an ancillary chunk that is known",
            "CON-3",
            meta,
            "CHUNK_CRC_MISMATCH",
            "META.crc32",
            Flip("META.payload", 1, 2),
        ),
        bare(
            "crc-between",
            "a bit of META between two passes",
            "DEC-5",
            "valid-pass-ancillary",
            "CHUNK_CRC_MISMATCH",
            "META.crc32",
            Flip("META.payload", 1, 2),
            whole_passes=1,
        ),
        bare(
            "crc-unknown",
            "a bit of an ancillary chunk that is not known",
            "CON-3",
            "valid-unknown-ancillary",
            "CHUNK_CRC_MISMATCH",
            "X6.crc32",
            Flip("X6.payload"),
        ),
        sealed(
            "crc-other-head",
            "a PASS chunk under another HEAD",
            "CON-3",
            P,
            "CHUNK_CRC_MISMATCH",
            "PASS0.crc32",
            Edit("HEAD.modality", u8(8)),
            reseal=("HEAD.crc32",),
        ),
        bare(
            "crc-second-pass",
            "a bit of the second pass",
            "CON-3",
            two,
            "CHUNK_CRC_MISMATCH",
            "PASS1.crc32",
            Flip("PASS1.body"),
            whole_passes=1,
        ),
        sealed(
            "crc-start-zero",
            "the CRC-32 of PASS starts at 0",
            "CON-3",
            P,
            "CHUNK_CRC_MISMATCH",
            "PASS0.crc32",
            Edit("PASS0.crc32", crc_from_zero(P)),
            reseal=(),
        ),
        retyped("HEAD", 0x00, "kind 0", "BAD_CHUNK_TYPE"),
        retyped("HEAD", 0x81, "HEAD as ancillary", "BAD_CHUNK_TYPE"),
        retyped("HEAD", 0x21, "HEAD safe to copy", "BAD_CHUNK_TYPE"),
        retyped("HEAD", 0x06, "an unknown critical chunk first", "UNKNOWN_CRITICAL_CHUNK", clause="CON-5"),
        retyped("HEAD", 0x41, "a private critical chunk of kind 1", "UNKNOWN_CRITICAL_CHUNK", clause="CON-5"),
        retyped("HEAD", 0x02, "PASS before HEAD", "CHUNK_ORDER", clause="CON-6"),
        retyped("HEAD", 0xA4, "META before HEAD", "CHUNK_ORDER", clause="CON-6"),
        retyped("HEAD", 0x86, "an unknown ancillary chunk before HEAD", "CHUNK_ORDER", clause="CON-6"),
        retyped("PASS0", 0x1F, "kind 15, critical", "BAD_CHUNK_TYPE"),
        retyped("PASS0", 0x92, "PASS as ancillary", "BAD_CHUNK_TYPE"),
        retyped("PASS0", 0x36, "an unknown critical chunk that is safe to copy", "BAD_CHUNK_TYPE"),
        retyped("PASS0", 0x52, "a private critical chunk of kind 2", "UNKNOWN_CRITICAL_CHUNK", clause="CON-5"),
        retyped("PASS0", 0x1E, "an unknown critical chunk", "UNKNOWN_CRITICAL_CHUNK", clause="CON-5"),
        retyped("META", 0x84, "META not safe to copy", "BAD_CHUNK_TYPE", meta),
        retyped("META", 0x04, "META as critical", "BAD_CHUNK_TYPE", meta),
        retyped("META", 0x80, "kind 0, ancillary", "BAD_CHUNK_TYPE", meta),
        retyped("META", 0xCF, "kind 15, private", "BAD_CHUNK_TYPE", meta),
        retyped("META", 0x01, "a second HEAD", "CHUNK_ORDER", meta, "CON-6"),
        retyped("HASH", 0xB5, "HASH safe to copy", "BAD_CHUNK_TYPE", hashed),
        retyped("HASH", 0x93, "INDX behind a PASS", "CHUNK_ORDER", hashed, "CON-6"),
        retyped("HASH", 0x12, "a PASS behind the last pass", "CHUNK_ORDER", hashed, "CON-6"),
        bare(
            "trailing-byte",
            "one zero byte behind the last chunk",
            "CON-7",
            P,
            "TRAILING_DATA",
            "end",
            Edit("end", b"\0", 0, 0),
            plus=-1,
            whole_passes=1,
        ),
        sealed(
            "trailing-chunk",
            "a chunk behind the last chunk",
            "CON-7",
            hashed,
            "TRAILING_DATA",
            "HASH.type",
            Edit("PASS0.type", u8(0x12)),
        ),
        sealed(
            "no-last-chunk",
            "no chunk is marked as the last",
            "CON-7",
            P,
            "TRUNCATED",
            "end",
            Edit("PASS0.type", u8(0x02)),
            whole_passes=1,
        ),
        sealed(
            "missing-pass-head",
            "HEAD is the last chunk",
            "CON-8",
            P,
            "MISSING_PASS",
            "HEAD.type",
            Edit("HEAD.type", u8(0x11)),
            Edit("PASS0.type", b"", 0, EVERYTHING),
        ),
        sealed(
            "missing-pass-second",
            "the last chunk is the first PASS of two",
            "CON-8",
            P,
            "MISSING_PASS",
            "PASS0.type",
            Edit("HEAD.n_passes", u8(2)),
            whole_passes=1,
        ),
        sealed(
            "missing-pass-ancillary",
            "an ancillary chunk is the last before the second pass",
            "CON-8",
            hashed,
            "MISSING_PASS",
            "HASH.type",
            Edit("HEAD.n_passes", u8(2)),
        ),
        sealed(
            "missing-pass-trailing",
            "the last chunk comes early and bytes follow",
            "5.4",
            two,
            "MISSING_PASS",
            "PASS0.type",
            Edit("PASS0.type", u8(0x12)),
        ),
        sealed(
            "limit-head-bytes",
            "HEAD would end at byte 16385",
            "CON-9",
            P,
            "LIMIT_FILE_BYTES",
            "HEAD.length",
            Edit("HEAD.length", u24(16372)),
            reseal=("hcheck",),
        ),
        sealed(
            "limit-head-bytes-not",
            "HEAD would end at byte 16384",
            "CON-9",
            P,
            "TRUNCATED",
            "end",
            Edit("HEAD.length", u24(16371)),
            reseal=("hcheck",),
        ),
        sealed(
            "limit-chunk-bytes",
            "a PASS would end at byte 65537 of level 1",
            "CON-9",
            P,
            "LIMIT_FILE_BYTES",
            "PASS0.length",
            Edit("PASS0.length", u24(65537 - 9 - after_head(P))),
            reseal=("hcheck",),
        ),
        sealed(
            "limit-chunk-bytes-not",
            "a PASS would end at byte 65536 of level 1",
            "CON-9",
            P,
            "TRUNCATED",
            "end",
            Edit("PASS0.length", u24(65536 - 9 - after_head(P))),
            reseal=("hcheck",),
        ),
        sealed(
            "limit-chunk-bytes-most",
            "a PASS of 2^24 - 1 bytes in a small file",
            "CON-9 LIM-2",
            P,
            "LIMIT_FILE_BYTES",
            "PASS0.length",
            Edit("PASS0.length", u24(0xFFFFFF)),
            reseal=("hcheck",),
        ),
        sealed(
            "limit-chunk-bytes-ancillary",
            "an ancillary chunk of 2^24 - 1 bytes",
            "CON-9 LIM-2",
            meta,
            "LIMIT_FILE_BYTES",
            "META.length",
            Edit("META.length", u24(0xFFFFFF)),
            reseal=("hcheck",),
        ),
    ]
    return out


def after_head(name: str) -> int:
    """Offset of the chunk behind HEAD."""
    return build(parent(name)).chunk_end("HEAD")


def crc_from_zero(name: str) -> bytes:
    """The CRC-32 of PASS 0 that starts at 0."""
    import zlib

    built = build(parent(name))
    chunk = built.data[built.marks["PASS0.type"].offset : built.marks["PASS0.crc32"].offset]
    return struct.pack("<I", zlib.crc32(chunk))


def heads() -> list[Invalid]:
    """Clause 6."""
    out: list[Invalid] = []

    def field(name: str, new: bytes, error: str, clause: str, source: str = PACKED_PARENT, title: str = "") -> None:
        tag = f"invalid-head-{name.replace('.', '-').replace('_', '-')}-{new.hex()}"
        out.append(
            Invalid(
                tag,
                title or f"HEAD's {name} is {new.hex()} (hex)",
                tuple(clause.split()),
                source,
                error,
                f"HEAD.{name}",
                (Edit(f"HEAD.{name}", new),),
            )
        )

    def built(
        name: str, title: str, clause: str, source: str, error: str, at: str, head: dict[str, Any], **more: Any
    ) -> None:
        file = with_head(parent(source), **head)
        if "in_dims" in head:  # the parent's passes do not fit; a decoder never comes to them
            file = replace(file, passes=(), order=("HEAD",))
        out.append(Invalid(f"invalid-head-{name}", title, tuple(clause.split()), source, error, at, (), file, **more))

    field("version", u8(0x20), "UNSUPPORTED_VERSION", "6.1")
    field("version", u8(0x00), "UNSUPPORTED_VERSION", "6.1")
    field("profile_level", u8(0x01), "UNSUPPORTED_PROFILE", "6.1")
    field("profile_level", u8(0x31), "UNSUPPORTED_PROFILE", "6.1")
    field("profile_level", u8(0x10), "UNSUPPORTED_LEVEL", "6.1")
    field("profile_level", u8(0x16), "UNSUPPORTED_LEVEL", "6.1")
    for bit in (8, 9, 15):
        field("features_required", u16(1 << bit), "UNSUPPORTED_FEATURE", "6.1")
    field("features_required", u16(SPARSE), "FEATURE_MISMATCH", "HED-10", title="SPARSE and no layer of tool 3")
    field("features_required", u16(SPARSE | 256), "UNSUPPORTED_FEATURE", "6.1", title="SPARSE and a reserved feature")
    field("modality", u8(0), "UNKNOWN_ID", "6.1")
    field("modality", u8(9), "UNKNOWN_ID", "6.1")
    field("in_dims", u8(0), "BAD_DIMENSIONS", "6.1")
    field("in_dims", u8(9), "BAD_DIMENSIONS", "6.1")
    field("out_channels", u8(0), "BAD_DIMENSIONS", "6.1")
    field("coords_values", u8(0x04), "UNKNOWN_ID", "6.1")
    field("coords_values", u8(0x0E), "UNKNOWN_ID", "6.1")
    field("coords_values", u8(0x30), "UNKNOWN_ID", "6.1")
    field("n_passes", u8(0), "BAD_DIMENSIONS", "6.1")
    field("n_records", u8(0), "BAD_RECORD", "6.1")

    P = PACKED_PARENT
    built(
        "grid-first-zero",
        "the first grid entry alone is 0",
        "HED-2",
        P,
        "BAD_DIMENSIONS",
        "HEAD.grid",
        {"grid": (0, 3)},
    )
    built(
        "grid-second-zero",
        "the second grid entry alone is 0",
        "HED-2",
        P,
        "BAD_DIMENSIONS",
        "HEAD.grid",
        {"grid": (3, 0)},
    )
    built("grid-limit", "a sample more than level 1 has", "HED-3", P, "LIMIT_GRID", "HEAD.grid", {"grid": (1985, 2113)})
    built(
        "grid-most", "65535 x 65535 samples at level 1", "HED-3", P, "LIMIT_GRID", "HEAD.grid", {"grid": (65535, 65535)}
    )
    wide = {"features_required": WIDE, "in_dims": 4, "grid": (65536,) * 4, "level": 5}
    built("grid-wraps", "2^64 samples: a product of 64 bits wraps to 0", "HED-3", P, "LIMIT_GRID", "HEAD.grid", wide)
    wide = {"features_required": WIDE, "in_dims": 8, "grid": (0xFFFFFFFF,) * 8, "level": 5}
    built("grid-wide-most", "8 axes of 2^32 - 1 samples", "HED-3", P, "LIMIT_GRID", "HEAD.grid", wide)

    for name, low, high in (
        ("nan", float("nan"), 1.0),
        ("infinite", 0.0, float("inf")),
        ("equal", 1.0, 1.0),
        ("falls", 1.0, -1.0),
    ):
        box = ((low, 0.1), (high, 7.3))
        built(
            f"box-{name}",
            f"the box runs from {low} to {high}",
            "HED-4",
            "valid-coords-box",
            "BAD_FLOAT",
            "HEAD.low",
            {"box": box},
        )
    built(
        "box-second-axis",
        "the box is wrong on its second axis",
        "HED-4",
        "valid-coords-box",
        "BAD_FLOAT",
        "HEAD.low",
        {"box": ((-2.5, 2.0), (1.0, 2.0))},
    )

    seeded = "valid-prior-short"
    field("rng_dictionary", u8(0x00), "UNKNOWN_ID", "6.3", seeded)
    field("rng_dictionary", u8(0x20), "UNKNOWN_ID", "6.3", seeded)
    field("rng_dictionary", u8(0x12), "UNKNOWN_ID", "6.3", seeded)
    field("rng_dictionary", u8(0x11), "FEATURE_MISMATCH", "HED-9", seeded, "dictionary law 1 without SPARSE")
    return out + head_records()


def head_records() -> list[Invalid]:
    """Clauses 6.4 to 6.6."""
    out: list[Invalid] = []
    SINE, FOURIER, BASE, FEATURES = (
        "valid-kind-sine",
        "valid-encoding-fourier",
        "valid-encoding-fourier-base",
        "valid-encoding-seeded",
    )

    def field(name: str, new: bytes, error: str, clause: str, source: str, title: str = "") -> None:
        tag = f"invalid-record-{source.removeprefix('valid-')}-{name.replace('.', '-').replace('_', '-')}-{new.hex()}"
        mark = f"HEAD.{name}"
        out.append(
            Invalid(
                tag,
                title or f"{name} is {new.hex()} (hex)",
                tuple(clause.split()),
                source,
                error,
                mark,
                (Edit(mark, new),),
            )
        )

    for kind in (0, 10, 13, 32, 37, 63, 68, 255):
        field("record0.kind", u8(kind), "UNKNOWN_ID", "CON-11", SINE)
    for kind in (8, 33, 34, 35, 36, 64, 65, 66, 67):
        field("record1.kind", u8(kind), "BAD_RECORD", "6.4", SINE, f"the last record is of kind {kind}")
    field("record1.kind", u8(37), "UNKNOWN_ID", "CON-11", SINE, "the last record is of an unknown kind")
    for flags in (0x81, 0xE1):
        field("record0.tool_flags", u8(flags), "RESERVED_NOT_ZERO", "CON-11", SINE)
    for tool in (5, 6, 7):
        field("record0.tool_flags", u8(tool), "UNKNOWN_ID", "CON-11", SINE)
    for flags, record in ((0x04, 0), (0x0C, 0), (0x24, 0), (0x04, 1)):
        field(f"record{record}.tool_flags", u8(flags), "BAD_RECORD", "HED-6", SINE, "tool 4 in a layer")
    for flags, record in ((0x02, 0), (0x03, 0), (0x1A, 0), (0x33, 0), (0x02, 1), (0x03, 1)):
        title = f"tool {flags & 7} without its feature"
        field(f"record{record}.tool_flags", u8(flags), "FEATURE_MISMATCH", "HED-9", SINE, title)
    field("record1.tool_flags", u8(0x07), "UNKNOWN_ID", "CON-11", SINE)
    for flags in (0x08, 0x10, 0x41, 0x42, 0x43):
        field("record0.tool_flags", u8(flags), "BAD_RECORD", "HED-6", SINE)
    field("record1.tool_flags", u8(0x41), "BAD_RECORD", "HED-6", SINE)
    field("record0.tool_flags", u8(0x09), "FEATURE_MISMATCH", "HED-9", SINE, "a prior without SEEDED")
    field(
        "record1.tool_flags", u8(0x09), "FEATURE_MISMATCH", "HED-9", SINE, "a prior without SEEDED in the last record"
    )
    field("record0.width", u16(0), "BAD_RECORD", "6.4", SINE)
    field("record0.repeat", u8(0), "BAD_RECORD", "6.4", SINE)
    for value in (0.0, -0.0, -1.5, float("inf"), float("nan"), 1.0, 30.0, 255.0, TWO_64):
        field("record0.omega_binary32", f32(value), "BAD_FLOAT", "6.4", SINE, f"omega as binary32 is {value}")
    field("record1.omega_binary32", f32(2.0), "BAD_FLOAT", "6.4", SINE, "omega of the last record as binary32 is 2.0")
    for flags in (0x04, 0x81):
        field("record0.flags", u8(flags), "RESERVED_NOT_ZERO", "CON-11", FOURIER)
    for octaves in (0, 33):
        field("record0.octaves", u8(octaves), "BAD_RECORD", "6.4", FOURIER)
    field("record0.base", u8(1), "BAD_RECORD", "6.4", FOURIER)
    for value in (0.0, -1.5, float("inf"), float("nan"), 1.0, 2.0, 255.0, TWO_64):
        field("record0.base_binary32", f32(value), "BAD_FLOAT", "6.4", BASE, f"base as binary32 is {value}")
    field("record0.n_features", u16(0), "BAD_RECORD", "6.4", FEATURES)
    for value in (0.0, -0.5, float("inf"), float("nan"), TWO_64):
        field("record0.scale", f32(value), "BAD_FLOAT", "6.4", FEATURES, f"scale is {value}")

    return out + record_rules() + head_ends()


def record_rules() -> list[Invalid]:
    """Rules of clauses 6.4 to 6.6 that span fields."""
    out: list[Invalid] = []
    SINE, FOURIER, FEATURES = "valid-kind-sine", "valid-encoding-fourier", "valid-encoding-seeded"

    def records(
        name: str, title: str, clause: str, source: str, error: str, at: str, records: tuple[Any, ...], **head: Any
    ) -> None:
        # the passes stay those of the parent: a decoder never comes to them
        head_bytes = with_head(parent(source), records=records, **head)
        file = replace(head_bytes, passes=(), order=("HEAD",))
        out.append(Invalid(f"invalid-record-{name}", title, tuple(clause.split()), source, error, at, (), file))

    sine = Layer("SINE", 3, omega=2)
    kind1 = "HEAD.record1.kind"
    records(
        "encoding-second",
        "an input encoding as second record",
        "HED-5",
        FOURIER,
        "BAD_RECORD",
        kind1,
        (sine, Fourier(), Layer()),
    )
    records(
        "encoding-twice", "two input encodings", "HED-5", FOURIER, "BAD_RECORD", kind1, (Fourier(), Fourier(3), Layer())
    )
    records(
        "equal",
        "two equal records in place of one with repeat 2",
        "HED-7",
        SINE,
        "BAD_RECORD",
        kind1,
        (sine, sine, Layer()),
    )
    repeated = (replace(sine, repeat=2), replace(sine, repeat=3), Layer())
    records("equal-repeat", "two records that differ in repeat alone", "HED-7", SINE, "BAD_RECORD", kind1, repeated)

    most = (Layer("TANH", 1, repeat=255), Layer("TANH", 1), Layer())
    title = "a record of 255 layers goes on in a second one; 257 layers come later"
    records("equal-255", title, "HED-7", SINE, "BAD_RECORD", kind1, most, level=5)
    same = (Layer("SINE", 3, omega=0.5), Layer("SINE", 3, repeat=4, omega=0.5), Layer())
    records("equal-binary32", "two equal records, omega as binary32", "HED-7", SINE, "BAD_RECORD", kind1, same)
    third = (Fourier(), sine, replace(sine, repeat=7), Layer())
    records("equal-third", "the second and third record", "HED-7", FOURIER, "BAD_RECORD", "HEAD.record2.kind", third)

    ratio = "HEAD.record0.base"
    for name, encoding in (
        ("integer", Fourier(10, base=255)),
        ("2-64", Fourier(17, base=16)),
        ("binary32", Fourier(3, base=2.0**33)),
        ("most", Fourier(32, base=2.0**63)),
        ("just", Fourier(32, base=4.1875)),
    ):
        title = f"{encoding.base} to the power of {encoding.octaves - 1} is 2^64 or more"
        records(
            f"frequency-{name}", title, "HED-12", FOURIER, "BAD_FLOAT", ratio, (encoding, Layer("SINE", 3), Layer())
        )

    where = "HEAD.n_records"
    records(
        "limit-layers",
        "9 layers at level 1",
        "HED-8",
        "valid-limit-layers",
        "LIMIT_LAYERS",
        where,
        (Layer("TANH", 2, repeat=8), Layer()),
    )
    deepest = (Layer("TANH", 1, repeat=255), Layer("RELU", 1, repeat=255), Layer())
    records(
        "limit-layers-most",
        "511 layers at level 5",
        "HED-8",
        "valid-limit-layers",
        "LIMIT_LAYERS",
        where,
        deepest,
        level=5,
    )
    broad = (Layer("RELU", 4097, bias=False), Layer(bias=False))
    records(
        "limit-width", "a layer of 4097 outputs at level 1", "HED-8", "valid-limit-width", "LIMIT_WIDTH", where, broad
    )
    features = (FourierSeeded(2049), Layer("RELU", 1), Layer())
    records(
        "limit-width-encoding",
        "an input encoding of 4098 outputs at level 1",
        "HED-8",
        FEATURES,
        "LIMIT_WIDTH",
        where,
        features,
    )
    features = (FourierSeeded(65535), Layer("RELU", 1), Layer())
    records(
        "limit-width-encoding-most",
        "an input encoding of 131070 outputs at level 5",
        "HED-8",
        FEATURES,
        "LIMIT_WIDTH",
        where,
        features,
        level=5,
    )
    full = (Layer("RELU", 4096, bias=False), Layer())
    records(
        "limit-parameters",
        "16385 parameters at level 1",
        "HED-8",
        "valid-limit-parameters",
        "LIMIT_PARAMETERS",
        where,
        full,
    )
    bomb = (Layer("RELU", 65535, repeat=255), Layer())
    records(
        "limit-parameters-most",
        "a million million parameters at level 5",
        "HED-8 LIM-2",
        "valid-limit-parameters",
        "LIMIT_PARAMETERS",
        where,
        bomb,
        level=5,
    )

    encoded = (FourierSeeded(5), Layer("RELU", 4), Layer())
    records(
        "seeded-encoding-unseeded",
        "seeded features without SEEDED",
        "HED-9",
        FEATURES,
        "FEATURE_MISMATCH",
        "HEAD.record0.kind",
        encoded,
        features_required=0,
    )
    required = "HEAD.features_required"
    records(
        "seeded-unused",
        "SEEDED and nothing that uses the seed",
        "HED-10",
        SINE,
        "FEATURE_MISMATCH",
        required,
        (sine, Layer()),
        features_required=SEEDED,
    )
    records(
        "wide-unused",
        "WIDE and every number is small",
        "HED-10",
        SINE,
        "FEATURE_MISMATCH",
        required,
        (sine, Layer()),
        features_required=WIDE,
    )
    wide_seed = {"features_required": WIDE | SEEDED, "seed": 0xFFFFFFFF, "grid": (65535, 3)}
    records(
        "wide-unused-edge",
        "WIDE, a seed of 2^32 - 1 and an axis of 65535",
        "HED-10",
        "valid-head-wide-seed",
        "FEATURE_MISMATCH",
        required,
        (Layer(prior=True),),
        **wide_seed,
    )

    return out


def head_ends() -> list[Invalid]:
    """Optional blocks and the end of the payload."""
    out: list[Invalid] = []
    quality = "valid-head-quality"
    for size in (0, 1, 3):
        edits = (Edit("HEAD.block0", u8(size) + bytes(size), 0, 3),)
        out.append(
            Invalid(
                f"invalid-head-quality-{size}",
                f"QUALITY of {size} bytes for one pass",
                ("HED-11",),
                quality,
                "BAD_OPTIONAL_BLOCK",
                "HEAD.block0",
                edits,
            )
        )

    # 2 * 128 is 0 in one byte
    many = with_head(parent(quality), n_passes=128, features_optional=1, optional_blocks=(b"",))
    title = "QUALITY of 0 bytes for 128 passes"
    error, at = "BAD_OPTIONAL_BLOCK", "HEAD.block0"
    file = replace(many, passes=(), order=("HEAD",))
    out.append(Invalid("invalid-head-quality-128-passes", title, ("HED-11",), quality, error, at, (), file))

    def payload(name: str, title: str, error: str, at: str, source: str, *edits: Edit, plus: int = 0) -> None:
        out.append(Invalid(f"invalid-head-{name}", title, ("CON-10",), source, error, at, edits, plus=plus))

    P, end = PACKED_PARENT, "HEAD.crc32"
    payload(
        "short-by-one", "HEAD's last byte is missing", "PAYLOAD_TOO_SHORT", end, P, Edit("HEAD.record0.tool_flags", b"")
    )
    size = after_head(P) - 4 - 9
    payload("empty", "HEAD without payload", "PAYLOAD_TOO_SHORT", end, P, Edit("HEAD.version", b"", 0, size))
    payload(
        "short-u16",
        "HEAD ends inside features_required",
        "PAYLOAD_TOO_SHORT",
        end,
        P,
        Edit("HEAD.features_required", b"", 1, size - 3),
    )
    payload(
        "short-records",
        "one more record announced than there is",
        "PAYLOAD_TOO_SHORT",
        end,
        P,
        Edit("HEAD.n_records", u8(2)),
    )
    payload(
        "short-block",
        "an optional feature without its block",
        "PAYLOAD_TOO_SHORT",
        end,
        P,
        Edit("HEAD.features_optional", u8(0x80)),
    )
    payload(
        "short-block-data",
        "an optional block that ends early",
        "PAYLOAD_TOO_SHORT",
        end,
        quality,
        Edit("HEAD.block1", u8(200)),
    )
    payload("surplus", "one byte behind HEAD's fields", "SURPLUS_BYTES", end, P, Edit(end, b"\0", 0, 0), plus=-1)
    payload(
        "surplus-block",
        "a block without its feature",
        "SURPLUS_BYTES",
        "HEAD.block1",
        quality,
        Edit("HEAD.features_optional", u8(1)),
    )
    return out


def passes() -> list[Invalid]:
    """Clauses 7 and 9: sub-header, table, weights."""
    out: list[Invalid] = []
    P, R, TWO = PACKED_PARENT, RANS_PARENT, "valid-pass-2"

    def edit(name: str, title: str, clause: str, source: str, error: str, at: str, *edits: Any, **more: Any) -> None:
        out.append(Invalid(f"invalid-pass-{name}", title, tuple(clause.split()), source, error, at, edits, **more))

    def built(name: str, title: str, clause: str, source: str, error: str, at: str, file: File, **more: Any) -> None:
        out.append(Invalid(f"invalid-pass-{name}", title, tuple(clause.split()), source, error, at, (), file, **more))

    flags = "PASS0.flags"
    for coding in (5, 6, 7):
        edit(f"coding-{coding}", f"coding {coding}", "7.1", P, "UNKNOWN_ID", flags, Edit(flags, u8(8 | coding)))
    for coding in (3, 4):
        edit(
            f"coding-{coding}-core",
            f"coding {coding} in profile CORE",
            "PAS-1",
            "valid-zlib-dynamic",
            "PROFILE_FORBIDS",
            flags,
            Edit(flags, u8(8 | coding)),
        )
    for lanes in (1, 5, 13, 15):
        edit(f"lanes-{lanes}", f"log2_lanes {lanes}", "PAS-2", R, "BAD_LANES", flags, Edit(flags, u8(9 | lanes << 4)))
    edit("lanes-packed", "log2_lanes 6 for packed values", "PAS-2", P, "BAD_LANES", flags, Edit(flags, u8(0x68)))
    edit("lanes-zlib", "log2_lanes 6 for zlib", "PAS-2", "valid-zlib-fixed", "BAD_LANES", flags, Edit(flags, u8(0x6A)))
    edit(
        "not-its-last",
        "a PASS chunk that is not the last of its pass, without PARTS",
        "PAS-3",
        P,
        "PASS_ORDER",
        flags,
        Edit(flags, u8(0)),
    )
    edit(
        "number-1-first", "pass 1 in place of pass 0", "PAS-4", P, "PASS_ORDER", "PASS0.pass", Edit("PASS0.pass", u8(1))
    )
    edit(
        "number-0-again",
        "pass 0 twice",
        "PAS-4",
        TWO,
        "PASS_ORDER",
        "PASS1.pass",
        Edit("PASS1.pass", u8(0)),
        whole_passes=1,
    )
    edit(
        "number-2-next",
        "pass 2 after pass 0",
        "PAS-4",
        "valid-pass-3",
        "PASS_ORDER",
        "PASS1.pass",
        Edit("PASS1.pass", u8(2)),
        whole_passes=1,
    )

    end = "PASS0.crc32"
    edit(
        "empty",
        "a PASS chunk without payload",
        "CON-10",
        P,
        "PAYLOAD_TOO_SHORT",
        end,
        Edit(flags, b"", 0, pass_bytes(P)),
    )
    edit(
        "short-header",
        "the payload ends inside acc_crc",
        "CON-10",
        P,
        "PAYLOAD_TOO_SHORT",
        end,
        Edit("PASS0.acc_crc", b"", 3, pass_bytes(P) - 5),
    )
    edit(
        "short-table",
        "the payload ends inside the table",
        "7.2",
        R,
        "PAYLOAD_TOO_SHORT",
        end,
        Edit("PASS0.tensor0.law", b"", 1, table_end(R, "tensor0.law") - 1),
    )
    edit(
        "no-table",
        "the payload ends before the table",
        "7.2",
        R,
        "PAYLOAD_TOO_SHORT",
        end,
        Edit("PASS0.tensor0.step_form", b"", 0, table_end(R, "tensor0.step_form")),
    )
    edit(
        "table-padding",
        "a padding bit of the table",
        "7.2",
        "valid-model-short-laplace",
        "PADDING_NOT_ZERO",
        "PASS0.table_padding",
        Bits("PASS0.table_padding", 1),
    )
    edit(
        "table-padding-nothing",
        "a padding bit of a table of a later pass",
        "7.2",
        "valid-pass-nothing",
        "PADDING_NOT_ZERO",
        "PASS1.table_padding",
        Bits("PASS1.table_padding", 8),
    )

    for name, code in (("first", SHORT_STEPS.start), ("last", SHORT_STEPS.stop - 1)):
        source = f"valid-step-short-{name}"
        built(
            f"step-long-{name}",
            f"step code {code} in long form",
            "TAB-1",
            source,
            "BAD_TABLE",
            "PASS0.tensor0.step_long",
            with_entry(parent(source), 0, step_form=1),
        )
    built(
        "step-long-second",
        "a long step code that is short, in the second entry",
        "TAB-1",
        "valid-step-short-first",
        "BAD_TABLE",
        "PASS0.tensor1.step_long",
        with_entry(parent("valid-step-short-first"), 1, step_form=1),
    )
    short_prior, long_prior = "valid-prior-short", "valid-prior-long"
    built(
        "prior-long-short",
        "m in long form with low bits 0",
        "TAB-2",
        short_prior,
        "BAD_TABLE",
        "PASS0.tensor0.prior_long",
        with_entry(parent(short_prior), 0, prior_form=1),
    )
    edit(
        "prior-small",
        "m below 2^15",
        "TAB-2",
        long_prior,
        "BAD_TABLE",
        "PASS0.tensor0.prior_long",
        Bits("PASS0.tensor0.prior_long", 0x7FFF),
    )
    edit(
        "prior-shift",
        "prior_shift 31",
        "TAB-2",
        long_prior,
        "BAD_TABLE",
        "PASS0.tensor0.prior_shift",
        Bits("PASS0.tensor0.prior_shift", 31),
    )
    edit(
        "prior-shift-second",
        "prior_shift 31 in the second entry",
        "TAB-2",
        short_prior,
        "BAD_TABLE",
        "PASS0.tensor1.prior_shift",
        Bits("PASS0.tensor1.prior_shift", 31),
    )

    built(
        "same-first",
        "form SAME and no model before it",
        "TAB-3",
        R,
        "BAD_MODEL",
        "PASS0.tensor0.form",
        with_pass(parent(R), 0, entries=same_first(R)),
    )
    zero_first = with_pass(parent("valid-model-same"), 0, entries=same_after_zero())
    built(
        "same-after-zero",
        "form SAME and only form ZERO before it",
        "TAB-3",
        "valid-model-same",
        "BAD_MODEL",
        "PASS0.tensor1.form",
        zero_first,
    )
    for law, scale in (("laplace", 144), ("gauss", 152), ("heavy", 144), ("flat", 152)):
        source = {"laplace": "valid-model-short-laplace-14-bits", "gauss": "valid-model-short-gauss-14-bits"}.get(
            law, f"valid-model-short-{law}"
        )
        edit(
            f"scale-{law}",
            f"law {law.upper()} with scale {scale}: b above 14",
            "ENT-3",
            source,
            "BAD_MODEL",
            "PASS0.tensor0.scale",
            Bits("PASS0.tensor0.scale", scale),
        )
    source = "valid-model-long-escape"
    for name, value in (("tail", 169), ("tail", 255), ("tail_change", 169), ("low_bits", 15)):
        edit(
            f"model-{name.replace('_', '-')}-{value}",
            f"{name} {value}",
            "ENT-2",
            source,
            "BAD_MODEL",
            f"PASS0.tensor0.{name}",
            Bits(f"PASS0.tensor0.{name}", value),
        )
    edit(
        "model-escape-r-0",
        "esc = 1 with R = 0",
        "ENT-2",
        source,
        "BAD_MODEL",
        "PASS0.tensor0.escape",
        Bits("PASS0.tensor0.max_symbol", 0),
    )
    edit(
        "model-rows",
        "a model of row differences out of range",
        "TAB-3",
        "valid-rows-rans",
        "BAD_MODEL",
        "PASS0.tensor0.row.scale",
        Bits("PASS0.tensor0.row.scale", 200),
    )

    below = with_entry(parent("valid-pass-8-bits"), 0, step=63)
    built(
        "step-below-0",
        "8 bits gained from step code 63",
        "TAB-4",
        "valid-pass-8-bits",
        "STEP_OUT_OF_RANGE",
        "PASS1.tensor0.refine_bits",
        below,
        whole_passes=1,
    )
    built(
        "step-below-0-row",
        "a row's step code falls below 0, the tensor's does not",
        "TAB-4",
        "valid-rows-packed",
        "STEP_OUT_OF_RANGE",
        "PASS1.tensor0.refine_bits",
        row_below_zero(),
        whole_passes=1,
    )
    built(
        "step-row-above",
        "a row's step code is 1024",
        "WGT-3",
        "valid-rows-packed",
        "STEP_OUT_OF_RANGE",
        "PASS0.body",
        rows_from(1015),
    )
    built(
        "step-row-below",
        "a row's step code is -1",
        "WGT-3",
        "valid-rows-packed",
        "STEP_OUT_OF_RANGE",
        "PASS0.body",
        rows_from(2),
    )
    built(
        "limit-symbols-nothing",
        "the last of 129 passes, all without a change, has more than 2^24 symbols",
        "TAB-5",
        "valid-limit-symbols-nothing",
        "LIMIT_SYMBOLS",
        "PASS128.tensor0.refined",
        unchanged_file(129),
    )
    built(
        "limit-symbols-no-table",
        "129 passes of raw tensors: no table, no body, more than 2^24 symbols",
        "TAB-5",
        "valid-limit-symbols-no-table",
        "LIMIT_SYMBOLS",
        "PASS128.crc32",
        unchanged_raw_file(129),
    )

    acc = "PASS0.acc_crc"
    edit("acc-crc", "a bit of acc_crc", "PAS-5", R, "ACC_CRC_MISMATCH", acc, Flip(acc, 2, 1))
    edit("acc-crc-value", "another packed value", "PAS-5", P, "ACC_CRC_MISMATCH", acc, Flip("PASS0.body", 1))
    edit(
        "acc-crc-raw", "another raw pattern", "PAS-5", "valid-raw-half", "ACC_CRC_MISMATCH", acc, Flip("PASS0.body", 1)
    )
    edit(
        "acc-crc-second",
        "acc_crc of the second pass",
        "PAS-5",
        TWO,
        "ACC_CRC_MISMATCH",
        "PASS1.acc_crc",
        Flip("PASS1.acc_crc"),
        whole_passes=1,
    )
    edit(
        "acc-crc-nothing",
        "acc_crc of a pass that refines nothing",
        "PAS-5",
        "valid-pass-nothing",
        "ACC_CRC_MISMATCH",
        "PASS1.acc_crc",
        Flip("PASS1.acc_crc", 1, 3),
        whole_passes=1,
    )
    return out


def zlib_adler(data: bytes) -> int:
    """The Adler-32 by which a zlib stream names a dictionary."""
    import zlib

    return zlib.adler32(data)


def pass_bytes(name: str) -> int:
    """Bytes of the payload of PASS 0."""
    marks = build(parent(name)).marks
    return marks["PASS0.crc32"].offset - marks["PASS0.flags"].offset


def table_end(name: str, field: str) -> int:
    """Bytes from a table field of PASS 0 to the end of the payload."""
    marks = build(parent(name)).marks
    return marks["PASS0.crc32"].offset - marks[f"PASS0.{field}"].offset


def same_first(name: str) -> tuple[Entry, ...]:
    """The entries of pass 0, the first with form SAME and a list of zeros that nobody can read."""
    rows = list(parent(name).passes[0].entries)
    rows[0] = replace(rows[0], model=Zero(), force={"form": 3})
    return tuple(rows)


def same_after_zero() -> tuple[Entry, ...]:
    """A form SAME behind a form ZERO alone."""
    rows = list(parent("valid-model-same").passes[0].entries)
    rows[0] = replace(rows[0], model=Zero(), values=(0,) * len(rows[0].values))
    rows[1] = replace(rows[1], model=Zero(), force={"form": 3})
    return tuple(rows)


def rows_from(step: int) -> File:
    """Row differences 0, -3 and 9 from another step code."""
    return with_entry(parent("valid-rows-packed"), 0, step=step)


def row_below_zero() -> File:
    """Two passes; the row with difference -3 falls to -1 when the tensor's code falls from 10 to 2."""
    file = with_head(rows_from(10), n_passes=2)
    sizes = [t.size for t in file.head.tensors()]
    refined = Pass(tuple(Entry((0,) * n, refine=1 if i == 0 else None) for i, n in enumerate(sizes)), PACKED)
    return replace(file, passes=(*file.passes, refined))


def bodies() -> list[Invalid]:
    """Clauses 9 to 11: bodies."""
    out: list[Invalid] = []
    P, R = PACKED_PARENT, RANS_PARENT
    body, end = "PASS0.body", "PASS0.crc32"

    def edit(name: str, title: str, clause: str, source: str, error: str, at: str, *edits: Any, **more: Any) -> None:
        out.append(Invalid(f"invalid-body-{name}", title, tuple(clause.split()), source, error, at, edits, **more))

    def built(name: str, title: str, clause: str, source: str, error: str, at: str, file: File, **more: Any) -> None:
        out.append(Invalid(f"invalid-body-{name}", title, tuple(clause.split()), source, error, at, (), file, **more))

    edit(
        "packed-short", "a packed body without its last byte", "11", P, "PAYLOAD_TOO_SHORT", end, Edit(end, b"", -1, 1)
    )
    edit(
        "packed-long",
        "a packed body with a byte too many",
        "11",
        P,
        "SURPLUS_BYTES",
        end,
        Edit(end, b"\0", 0, 0),
        plus=-1,
    )
    edit("packed-none", "no packed body", "11", P, "PAYLOAD_TOO_SHORT", end, Edit(body, b""))
    edit(
        "packed-padding",
        "a padding bit of a packed body",
        "11",
        "valid-packed-wide",
        "PADDING_NOT_ZERO",
        "PASS0.body_padding",
        Bits("PASS0.body_padding", 1),
    )
    edit(
        "packed-surplus-nothing",
        "a byte in the body of a pass that refines nothing",
        "11",
        "valid-pass-nothing-packed",
        "SURPLUS_BYTES",
        "PASS1.crc32",
        Edit("PASS1.crc32", b"\0", 0, 0),
        plus=-1,
        whole_passes=1,
    )

    Z, bad = "valid-zlib-stored", "BAD_COMPRESSED_DATA"
    plain = build(parent(Z))
    zlib_body = plain.data[plain.marks[body].offset : plain.marks[end].offset]
    data = zlib_body[7:-4]
    edit("zlib-none", "no zlib stream", "CMP-1", Z, bad, body, Edit(body, b""))
    edit("zlib-cut", "the zlib stream ends early", "CMP-1", Z, bad, body, Edit(end, b"", -1, 1))
    edit("zlib-trailing", "a byte behind the zlib stream", "CMP-1", Z, bad, body, Edit(end, b"\0", 0, 0))
    edit("zlib-header", "not a zlib header", "CMP-1", Z, bad, body, Flip(body, 1, 1))
    edit("zlib-adler", "the Adler-32 of the zlib stream", "CMP-1", Z, bad, body, Flip(end, 1, -1))
    edit(
        "zlib-one-less", "one byte less than the table says", "CMP-1", Z, bad, body, Edit(body, zlib_stored(data[:-1]))
    )
    edit(
        "zlib-one-more",
        "one byte more than the table says",
        "CMP-1",
        Z,
        bad,
        body,
        Edit(body, zlib_stored(data + b"\0")),
    )
    edit("zlib-twice", "two zlib streams", "CMP-1", Z, bad, body, Edit(end, zlib_body, 0, 0))
    edit("zlib-raw", "a raw deflate stream", "CMP-1", Z, bad, body, Edit(body, zlib_body[2:-4]))
    bomb = with_pass(parent(Z), 0, body_hex=zlib_zeros(1 << 20).hex())
    title = "1 MiB of zeros in 1 kB"
    out.append(Invalid("invalid-body-zlib-bomb", title, ("CMP-1", "LIM-2"), Z, bad, body, (), bomb))
    preset = b"\x78\x20" + struct.pack(">I", zlib_adler(b"sinr")) + zlib_body[2:]
    edit("zlib-dictionary", "a preset dictionary is named", "CMP-1", Z, bad, body, Edit(body, preset))
    wide = "valid-zlib-padding"
    edit(
        "zlib-padding",
        "padding bits in the decompressed bytes",
        "CMP-1",
        wide,
        "PADDING_NOT_ZERO",
        body,
        Edit(body, zlib_padding(wide)),
    )
    for name in ("brotli", "zstandard"):
        source = f"valid-main-{name}"
        edit(f"{name}-cut", f"the {name} stream ends early", "CMP-1", source, bad, body, Edit(end, b"", -1, 1))
        edit(f"{name}-trailing", f"a byte behind the {name} stream", "CMP-1", source, bad, body, Edit(end, b"\0", 0, 0))

    stream = "BAD_STREAM"
    zero, lanes, no_symbols = "valid-model-zero-everywhere", "valid-rans-64-lanes", "valid-rans-no-symbols-lanes"
    edit("rans-none", "no stream", "ENT-4", zero, stream, body, Edit(body, b""))
    edit("rans-2-bytes", "a stream of two bytes", "ENT-4", zero, stream, body, Edit(body, bytes(2)))
    edit("rans-odd", "a stream of odd length", "ENT-4", R, stream, body, Edit(end, b"\0", 0, 0))
    edit(
        "rans-small-start",
        "words behind an initial state below 2^16",
        "ENT-4",
        R,
        stream,
        body,
        Edit(body, b"\xff\xff\0\0", 0, 4),
    )
    edit("rans-state-left", "no symbol, and the state is 1", "ENT-5", zero, stream, body, Edit(body, b"\1\0\0\0"))
    edit("rans-word-left", "no symbol, and a word", "ENT-5", zero, stream, body, Edit(body, b"\0\0\1\0\0\0"))
    edit("lanes-odd", "64 lanes, a stream of odd length", "ENT-6", lanes, stream, body, Edit(end, b"\0", 0, 0))
    edit("lanes-short", "64 lanes, a stream of 254 bytes", "ENT-6", no_symbols, stream, body, Edit(end, b"", -2, 2))
    edit(
        "lanes-small-start",
        "64 lanes, one initial state below 2^16",
        "ENT-6",
        lanes,
        stream,
        body,
        Edit(body, b"\xff\xff\0\0", 4 * 63, 4),
    )
    edit(
        "lanes-word-missing",
        "64 lanes, a word that is needed is not there",
        "ENT-6",
        lanes,
        stream,
        body,
        Edit(end, b"", -2, 2),
    )
    edit("lanes-word-left", "64 lanes, a word is left", "ENT-6", lanes, stream, body, Edit(end, b"\0\0", 0, 0))
    edit(
        "lanes-state-left",
        "64 lanes, no symbol, and a state of 2^16 + 1",
        "ENT-6",
        no_symbols,
        stream,
        body,
        Edit(body, b"\1\0\1\0", 4 * 5, 4),
    )

    over, escapes = "ACC_OVERFLOW", "valid-escape-largest"
    for name, value in (("2-31", 2**31), ("minus-2-31", -(2**31))):
        built(
            f"overflow-{name}",
            f"a decoded value of {value}",
            "ENT-1",
            escapes,
            over,
            body,
            with_entry(parent(escapes), 0, values=(5, value)),
        )
    edit(
        "overflow-packed",
        "a packed value of -2^31",
        "WGT-4",
        "valid-packed-32-bits",
        over,
        body,
        Edit(body, struct.pack("<ii", 5, -(2**31)), 0, 8),
    )
    built(
        "overflow-prior",
        "the value and the prior add up to 2^31",
        "WGT-4",
        "valid-prior-large",
        over,
        body,
        prior_overflow(),
    )
    built(
        "overflow-refined",
        "a shift by 8 bits reaches 2^31",
        "WGT-4",
        "valid-pass-8-bits",
        over,
        "PASS1.body",
        with_entry(parent("valid-pass-8-bits"), 0, values=(0, 1 << 23)),
        whole_passes=1,
    )
    built(
        "overflow-refined-sum",
        "2^31 - 256 and 256 make 2^31",
        "WGT-4",
        "valid-pass-8-bits",
        over,
        "PASS1.body",
        refined_sum(),
        whole_passes=1,
    )

    finite = "NON_FINITE_WEIGHT"
    for source, name, pattern in (
        ("valid-raw-half", "half-infinity", 0x7C00),
        ("valid-raw-half", "half-nan", 0xFE01),
        ("valid-raw-single", "single-infinity", 0xFF800000),
        ("valid-raw-single", "single-nan", 0x7F800001),
    ):
        built(
            f"raw-{name}",
            f"a raw weight {pattern:x} (hex)",
            "WGT-5",
            source,
            finite,
            body,
            with_entry(parent(source), 1, values=(pattern,)),
        )
    return out


def zstandard() -> list[Invalid]:
    """Coding 4: exactly one frame of exactly the right bytes."""
    source = "valid-main-zstandard-no-size"
    data = packed_bytes(FROZEN, FROZEN_ENTRIES)
    huge = struct.pack("<Q", 1 << 60)
    wrong = {
        "two-frames": (zstandard_raw(data[:100]) + zstandard_raw(data[100:]), "two frames that make the right bytes"),
        "skippable": (zstandard_skippable(b"x") + zstandard_raw(data), "a skippable frame before the frame"),
        "one-less": (zstandard_raw(data[:-1]), "one byte less than the table says"),
        "one-more": (zstandard_raw(data + b"\0"), "one byte more than the table says"),
        "huge-size": (zstandard_raw(data, huge), "a frame that says it has 2^60 bytes"),
        "magic": (b"\x27" + zstandard_raw(data)[1:], "another magic number"),
        "window": (zstandard_raw(data, window=WINDOW_9_MIB), "a window of 9 MiB"),
        "window-most": (zstandard_raw(data, window=b"\xff"), "the largest window that a frame can name"),
        "dictionary": (zstandard_raw(data, dictionary=7), "a dictionary is named"),
    }
    out = [
        Invalid(
            f"invalid-body-zstandard-{name}",
            title,
            ("CMP-1", "LIM-2") if name == "huge-size" else ("CMP-1",),
            source,
            "BAD_COMPRESSED_DATA",
            "PASS0.body",
            (Edit("PASS0.body", body),),
        )
        for name, (body, title) in wrong.items()
    ]
    of_nothing = {
        "empty-more": (zstandard_raw(b"x"), "a byte where the table says that there is none"),
        "empty-more-bytes": (zstandard_raw(bytes(1000)), "a thousand bytes where the table says that there is none"),
        "empty-two-frames": (zstandard_raw(b"") * 2, "two frames of nothing"),
        "empty-cut": (zstandard_raw(b"")[:-1], "a frame of nothing that ends early"),
    }
    out += [
        Invalid(
            f"invalid-body-zstandard-{name}",
            title,
            ("CMP-1",),
            "valid-main-zstandard-empty",
            "BAD_COMPRESSED_DATA",
            "PASS1.body",
            (Edit("PASS1.body", body),),
            whole_passes=1,
        )
        for name, (body, title) in of_nothing.items()
    ]
    checksum = (Flip("PASS0.crc32", 1, -1),)
    title = "the checksum of the frame"
    parent_name = "valid-main-zstandard"
    out.append(
        Invalid(
            "invalid-body-zstandard-checksum",
            title,
            ("CMP-1",),
            parent_name,
            "BAD_COMPRESSED_DATA",
            "PASS0.body",
            checksum,
        )
    )
    return out


def brotli() -> list[Invalid]:
    """Coding 3: exactly one stream of exactly the right bytes."""
    source = "valid-main-brotli-stored"
    data = packed_bytes(FROZEN, FROZEN_ENTRIES)
    wrong = {
        "one-less": (brotli_stored(data[:-1]), "one byte less than the table says"),
        "one-more": (brotli_stored(data + b"\0"), "one byte more than the table says"),
        "twice": (brotli_stored(data) * 2, "two streams"),
        "none": (b"", "no stream"),
        "large-window": (brotli_stored(data, large_window=22), "a stream of the large window form"),
    }
    error, at = "BAD_COMPRESSED_DATA", "PASS0.body"
    return [
        Invalid(f"invalid-body-brotli-{name}", title, ("CMP-1",), source, error, at, (Edit("PASS0.body", body),))
        for name, (body, title) in wrong.items()
    ]


def orders() -> list[Invalid]:
    """Clauses 5.4, 5.5 and 7.5: of two faults the first in the order of checks counts. No other vector has two."""
    P, hashed = PACKED_PARENT, "valid-hash"

    def two(
        name: str, title: str, source: str, error: str, at: str, reseal: tuple[str, ...], *edits: Any, plus: int = 0
    ) -> Invalid:
        return Invalid(f"invalid-order-{name}", title, ("5.4",), source, error, at, edits, reseal=reseal, plus=plus)

    version, trailing = Edit("HEAD.version", u8(0x20)), Edit("end", b"\0", 0, 0)
    unknown, damaged = Edit("PASS0.type", u8(0x1E)), Flip("PASS0.body")
    digest = Flip("HASH.payload", 1, 4)
    kind, trailer = "UNKNOWN_CRITICAL_CHUNK", "CHUNK_CRC_MISMATCH"
    return [
        two("crc-content", "crc32 before content", P, trailer, "HEAD.crc32", (), version),
        two("type-crc", "type before crc32", P, kind, "PASS0.type", ("hcheck",), unknown, damaged),
        two("hcheck-type", "hcheck before type", P, "HEADER_CHECK_MISMATCH", "PASS0.hcheck", (), unknown),
        two("head-pass", "HEAD before PASS", P, "UNSUPPORTED_VERSION", "HEAD.version", ("HEAD.crc32",), version),
        two(
            "trailing-hash",
            "trailing bytes before HASH",
            hashed,
            "TRAILING_DATA",
            "end",
            SEAL,
            digest,
            trailing,
            plus=-1,
        ),
        *orders_in_head(),
        *orders_in_pass(),
    ]


def orders_in_head() -> list[Invalid]:
    """Clause 5.5: fields in their order, then CON-10, then rules by number, each for all records."""
    sine, frequency = Layer("SINE", 3, omega=2), Fourier(10, base=255)
    reserved = replace(sine, width=4, force={"tool_flags": 4})
    kind1, flags0 = "HEAD.record1.kind", "HEAD.record0.tool_flags"

    def two(name: str, title: str, error: str, at: str, records: tuple[Any, ...], **head: Any) -> Invalid:
        file = replace(with_head(parent("valid-kind-sine"), records=records, **head), passes=(), order=("HEAD",))
        return Invalid(f"invalid-order-{name}", title, ("5.5",), "valid-kind-sine", error, at, (), file)

    unseeded = replace(sine, prior=True)
    wrong_block = {"features_optional": 1, "optional_blocks": (b"",)}
    required, bad_record = "HEAD.features_required", "BAD_RECORD"
    layers = (reserved, Fourier(), Layer())
    deep = (Layer("SINE", 1, repeat=9, prior=True), Layer())
    return [
        two("record-rules", "HED-5 of the second record before HED-6 of the first", bad_record, kind1, layers),
        two("grid-records", "HED-2 before HED-6", "BAD_DIMENSIONS", "HEAD.grid", (reserved, Layer()), grid=(0, 3)),
        two("tool-equal", "HED-6 before HED-7", bad_record, flags0, (reserved, reserved, Layer())),
        two("limit-feature", "HED-8 before HED-9", "LIMIT_LAYERS", "HEAD.n_records", deep),
        two(
            "feature-unused",
            "HED-9 before HED-10",
            "FEATURE_MISMATCH",
            flags0,
            (unseeded, Layer()),
            features_required=WIDE,
        ),
        two(
            "unused-block",
            "HED-10 before HED-11",
            "FEATURE_MISMATCH",
            required,
            (sine, Layer()),
            features_required=WIDE,
            **wrong_block,
        ),
        two(
            "block-frequency",
            "HED-11 before HED-12",
            "BAD_OPTIONAL_BLOCK",
            "HEAD.block0",
            (frequency, sine, Layer()),
            **wrong_block,
        ),
        two(
            "field-record",
            "a field of the second record before HED-6 of the first",
            "BAD_RECORD",
            "HEAD.record1.repeat",
            (reserved, replace(sine, force={"repeat": 0}), Layer()),
        ),
    ]


def orders_in_pass() -> list[Invalid]:
    """Clause 7.5."""
    import zlib

    source, wide = "valid-limit-symbols-nothing", "valid-zlib-padding"
    crowded = unchanged_file(129)
    last = crowded.passes[-1]
    padding = Invalid(
        "invalid-order-padding-symbols",
        "the padding of the table before TAB-5",
        ("7.5",),
        source,
        "PADDING_NOT_ZERO",
        "PASS128.tensor0.refined",
        (),
        with_pass(crowded, 128, force={**last.force, "table_padding": 1}),
    )
    surplus = Invalid(
        "invalid-order-symbols-body",
        "TAB-5 before the body",
        ("7.5",),
        source,
        "LIMIT_SYMBOLS",
        "PASS128.tensor0.refined",
        (),
        with_pass(crowded, 128, body_hex="00"),
    )
    longer = zlib_fixed(zlib.decompress(zlib_padding(wide)) + b"\0")
    size = Invalid(
        "invalid-order-size-padding",
        "the size of decompressed bytes before their padding",
        ("CMP-1",),
        wide,
        "BAD_COMPRESSED_DATA",
        "PASS0.body",
        (Edit("PASS0.body", longer),),
    )
    return [padding, surplus, size]


def zlib_padding(name: str) -> bytes:
    """The packed bytes of a zlib vector with their last padding bit set."""
    import zlib

    built = build(parent(name))
    body = built.data[built.marks["PASS0.body"].offset : built.marks["PASS0.crc32"].offset]
    data = bytearray(zlib.decompress(body))
    data[-1] |= 0x80
    return zlib_fixed(bytes(data))


def prior_overflow() -> File:
    """Integers that reach 2^31 only with the prior."""
    file = parent("valid-prior-large")
    m, exponent = file.passes[0].entries[0].prior or (0, 0)
    priors = [prior(n, 0, file.head.seed, m, exponent) for n in range(2)]
    values = tuple((2**31 if p > 0 else -(2**31)) - p if i == 0 else 0 for i, p in enumerate(priors))
    return with_entry(file, 0, values=values)


def refined_sum() -> File:
    """Pass 0 within range; in pass 1 the sum, not the shift, reaches 2^31."""
    file = with_entry(parent("valid-pass-8-bits"), 0, values=((1 << 23) - 1, 0))
    return with_entry(file, 0, 1, values=(256, 0))


def ancillary() -> list[Invalid]:
    """Clause 12.3: the one rule of an ancillary chunk that can be broken."""
    mismatch = "WEIGHTS_HASH_MISMATCH"

    def digest(name: str, title: str, source: str, plus: int, at: int, **more: Any) -> Invalid:
        return Invalid(
            f"invalid-hash-{name}",
            title,
            ("ANC-1",),
            source,
            mismatch,
            "HASH.payload",
            (Flip("HASH.payload", 1, plus),),
            plus=at,
            **more,
        )

    return [
        digest("last", "a bit of the digest, HASH last", "valid-hash", 32, 0, whole_passes=1),
        digest(
            "before",
            "a bit of the digest, HASH before the pass",
            "valid-hash-before",
            1,
            0,
            also=("--passes 1", "--partial", "--passes 1 --partial"),
        ),
        digest("before-second", "the entry of a pass that may not be read", "valid-hash-two", 40, 33, whole_passes=1),
        digest("second", "the second entry", "valid-pass-ancillary", 40, 33, whole_passes=2),
        digest("first", "the first entry of two", "valid-pass-ancillary", 5, 0, whole_passes=2),
    ]


def invalid() -> list[Invalid]:
    """Every invalid vector."""
    return container() + heads() + passes() + bodies() + brotli() + zstandard() + ancillary() + orders()


def calls() -> list[Call]:
    """Files called wrongly: USAGE by the arguments alone, or when HEAD is read."""
    P, TWO, SOUND = PACKED_PARENT, "valid-pass-2", "valid-modality-audio"
    square = npy_bytes((0.5, -0.5), (1, 2))
    early, late = "invalid-signature-first", "invalid-crc-pass"

    def alone(name: str, title: str, clause: str, args: str, coords: bytes | None = None) -> list[Call]:
        """Arguments that are wrong whatever the file holds: it is not read."""
        words = tuple(args.split())
        return [
            Call(f"call-{name}", title, tuple(clause.split()), P, words, coords),
            Call(f"call-{name}-unread", f"{title}; the file is not read", tuple(clause.split()), early, words, coords),
        ]

    return [
        Call("call-passes-above", "--passes above n_passes", ("DEC-5", "DEC-2"), TWO, ("--passes", "3")),
        Call("call-passes-above-damaged", "HEAD is read, the damage is not", ("DEC-5",), late, ("--passes", "2")),
        Call("call-passes-above-partial", "--partial does not help", ("DEC-5",), TWO, ("--passes", "3", "--partial")),
        *alone("passes-0", "--passes 0", "DEC-5", "--passes 0"),
        *alone("passes-negative", "--passes -1", "DEC-5", "--passes=-1"),
        *alone("passes-word", "--passes all", "DEC-5", "--passes all"),
        *alone("size-zero", "a size of 0", "DEC-4", "--size 3x0"),
        *alone("size-negative", "a negative size", "DEC-4", "--size=-3x3"),
        *alone("size-fraction", "a size that is not a whole number", "DEC-4", "--size 3.5x3"),
        *alone("size-empty", "a size without its second number", "DEC-4", "--size 3x"),
        *alone("size-word", "a size that is no number", "DEC-4", "--size WxH"),
        *alone("coords-size", "--coords with --size", "DEC-4", "--size 3x3", square),
        Call("call-size-axes", "one size for two axes", ("DEC-4",), P, ("--size", "3")),
        Call("call-size-axes-3", "three sizes for two axes", ("DEC-4",), P, ("--size", "3x3x3")),
        Call("call-size-axes-1", "two sizes for one axis", ("DEC-4",), SOUND, ("--size", "3x3")),
        Call("call-size-axes-damaged", "HEAD is read, the damage is not", ("DEC-4",), late, ("--size", "3")),
        Call("call-coords-columns", "points of 3 coordinates for 2", ("DEC-4",), P, (), npy_bytes((0.5,) * 6, (2, 3))),
        Call("call-coords-flat", "an array of one axis", ("DEC-4",), P, (), npy_bytes((0.5,) * 2, (2,))),
        Call("call-coords-deep", "an array of three axes", ("DEC-4",), P, (), npy_bytes((0.5,) * 4, (2, 1, 2))),
        Call("call-coords-damaged", "HEAD is read, the damage is not", ("DEC-4",), late, (), npy_bytes((0.5,), (1, 1))),
        Call("call-coords-not-npy", "the file of --coords is no array", ("DEC-4",), P, (), b"0.5 0.5\n"),
        Call("call-coords-cut", "the file of --coords ends early", ("DEC-4",), P, (), square[:-1]),
        Call("call-no-grid", "no native grid, no --size, no --coords", ("DEC-4",), "valid-head-no-grid", ()),
        Call("call-unknown", "an argument that the contract does not have", ("DEC-2",), P, ("--no-such-option",)),
    ]
