"""Small files that try to make a decoder crash, hang, take memory or see something else than another decoder.

`python -m tests.attacks.make` writes them and `attacks.json`, which holds what each must be answered with; the bytes
and the answers are written down here by the text of spec/sinr-1.md. tests/test_attacks.py runs them.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conformance.framing import HEAD, LAST, PASS, TRAILER_BYTES, sealed
from conformance.generate.primitives import crc8, zlib_fixed

FOLDER = Path(__file__).parent
META, HASH, PRIVATE = 0xA4, 0x85, 0xC1
SIGNATURE = b"SIN\xd2"
HEAD_PAYLOAD = 9  # offset of HEAD's payload in a file
GRID = 19  # offset of the first grid entry
LINEAR, RELU, SINE = b"\x01", b"\x03", b"\x02"

LATENTS = (
    "53494ed20125000095101510000008020120010100010002230102030101"  # level 5, GRID: one axis, three levels of 2^30
    "1e00008000800080008000800080010110997e7c12180000b80900e6ad6e68b001011b108001011b101101c06e220057c200ed1f80"
)


@dataclass(frozen=True)
class Attack:
    """A file, what it tries, and its answer: an error with its offset, or none where it decodes as `SMALL`."""

    name: str
    title: str
    error: str | None
    offset: int | None
    data: bytes


def head(
    *,
    level: int = 1,
    profile: int = 1,
    in_dims: int = 2,
    out_channels: int = 1,
    coords: int = 0,
    grid: Sequence[int] = (3, 3),
    box: Sequence[float] = (),
    records: Sequence[bytes] = (b"\x01\x01",),
    n_records: int | None = None,
) -> bytes:
    """Payload of HEAD without features (clause 6.1)."""
    count = len(records) if n_records is None else n_records
    fixed = struct.pack("<BBHBBBBBB", 0x10, profile << 4 | level, 0, 0, 1, in_dims, out_channels, coords, 1)
    edges = struct.pack(f"<{len(box)}f", *box)
    return fixed + struct.pack(f"<{len(grid)}H", *grid) + edges + bytes([count]) + b"".join(records)


def layer(kind: bytes, width: int, repeat: int = 1, tool: int = 1, more: bytes = b"") -> bytes:
    """A record of a layer that is not the last."""
    return kind + struct.pack("<BHB", tool, width, repeat) + more


def file(*chunks: tuple[int, bytes]) -> bytes:
    """Chunks behind the signature; the last one is marked."""
    data, start = SIGNATURE, 0
    for i, (kind, payload) in enumerate(chunks):
        chunk = sealed(kind | (LAST if i == len(chunks) - 1 else 0), payload, start)
        start = start or int.from_bytes(chunk[-TRAILER_BYTES:], "little")
        data += chunk
    return data


def bits(*fields: tuple[int, int]) -> bytes:
    """Fields of value and size, least significant bit first."""
    number = at = 0
    for value, n in fields:
        number |= value << at
        at += n
    return number.to_bytes((at + 7) // 8, "little")


def packed(table: bytes, body: bytes, acc: Sequence[int], coding: int = 0) -> bytes:
    """Payload of pass 0."""
    crc = zlib.crc32(struct.pack(f"<{len(acc)}i", *acc))
    return bytes([8 | coding, 0]) + struct.pack("<I", crc) + table + body


ACC = (3, -2, 1)  # two weights and a bias, 4 bits each, both steps 768
STEP = [(0, 1), (88, 7)]
STEP_SIZE = 2.0**-4  # of step code 768 (clause 9.1)
TABLE = bits(*STEP, (3, 5), *STEP, (3, 5))
BODY = bits(*((v & 15, 4) for v in ACC))
GOOD = (HEAD, head())
SMALL_PASS = packed(TABLE, BODY, ACC)
SMALL = file(GOOD, (PASS, SMALL_PASS))
FIRST = HEAD_PAYLOAD + len(GOOD[1]) + 4  # offset of the chunk behind HEAD
BODY_AT = FIRST + 5 + 6 + len(TABLE)
MIB = 1 << 20
ZSTANDARD_FRAME = bytes.fromhex("28b52ffd") + b"\x00\x68"  # no content size, a window of 8 MiB
RLE_BLOCK = struct.pack("<I", (1 << 17) << 3 | 1 << 1)[:3] + b"\0"  # 128 KiB of zeros in four bytes
BROTLI_BOMB = (  # 64 MiB of zeros
    "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ffeffffc13f0110870500"
    "baf77ffcffff837f02200e0b0074effff8ffff07ff04401c1600e8defff1ffff0ffe0980382c00d0bdffe3ffff1ffc130071"
    "5800a07bff37"
)


def bomb(coding: int, stream: bytes) -> bytes:
    profile = 2 if coding > 2 else 1
    return file((HEAD, head(profile=profile)), (PASS, packed(TABLE, stream, ACC, coding)))


def headed(**fields: Any) -> bytes:
    """A file of a HEAD with these fields alone."""
    return file((HEAD, head(**fields)))


def small_with(*chunks: tuple[int, bytes]) -> bytes:
    """SMALL with chunks between its own."""
    return file(GOOD, *chunks, (PASS, SMALL_PASS))


def pair(key: bytes, value: bytes) -> bytes:
    return bytes([len(key)]) + key + struct.pack("<H", len(value)) + value


def attacks() -> list[Attack]:
    """Every attack, in the order of SECURITY.md."""
    wide = layer(RELU, 65535, 2)
    last = b"\x01\x01"
    nan, inf = struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))
    flood = b"".join(pair(b"%04d" % i, b"") for i in range(4200))
    lie = bytearray(SMALL)
    lie[4:9] = header(HEAD, 0xFFFFFF)
    end = len(SMALL)
    wrong_digest = b"\0" + bytes(32)
    raw_nan = bytes([8, 0]) + struct.pack("<I", zlib.crc32(struct.pack("<2I", 0x7E00, 0))) + b"\x00\x7e\0\0"
    long_step = bits((1, 1), (768, 10), (3, 5), *STEP, (3, 5))
    return [
        Attack("length-head-16-mib", "HEAD says 16 MiB", "LIMIT_FILE_BYTES", 5, bytes(lie)),
        Attack("length-pass-60-kb", "PASS says 60 kB", "TRUNCATED", FIRST + 5, SMALL[:FIRST] + header(PASS, 60000)),
        Attack(
            "length-pass-16-mib",
            "above the level",
            "LIMIT_FILE_BYTES",
            FIRST + 1,
            SMALL[:FIRST] + header(PASS, 0xFFFFFF),
        ),
        Attack("length-payload-empty", "a pass of no bytes", "PAYLOAD_TOO_SHORT", FIRST + 5, file(GOOD, (PASS, b""))),
        Attack("length-pair", "a pair says more than there is", None, None, small_with((META, b"\xffk"))),
        Attack("product-grid", "65535^8 samples", "LIMIT_GRID", GRID, headed(level=5, in_dims=8, grid=[65535] * 8)),
        Attack(
            "product-parameters", "2^32 weights", "LIMIT_PARAMETERS", GRID + 4, headed(level=5, records=[wide, last])
        ),
        Attack(
            "product-repeats",
            "10^12 weights",
            "LIMIT_PARAMETERS",
            GRID + 4,
            headed(level=5, records=[layer(RELU, 65535, 255), last]),
        ),
        Attack(
            "bomb-zlib",
            "a MiB in 7 kB, 2 bytes are right",
            "BAD_COMPRESSED_DATA",
            BODY_AT,
            bomb(2, zlib_fixed(bytes(MIB))),
        ),
        Attack(
            "bomb-brotli", "64 MiB in 106 bytes", "BAD_COMPRESSED_DATA", BODY_AT, bomb(3, bytes.fromhex(BROTLI_BOMB))
        ),
        Attack(
            "bomb-zstandard",
            "64 MiB in 2 kB",
            "BAD_COMPRESSED_DATA",
            BODY_AT,
            bomb(4, ZSTANDARD_FRAME + RLE_BLOCK * 512),
        ),
        Attack("zero-dimensions", "no coordinates", "BAD_DIMENSIONS", 15, headed(in_dims=0, grid=())),
        Attack("zero-channels", "no values", "BAD_DIMENSIONS", 16, headed(out_channels=0)),
        Attack("zero-grid", "an axis without samples", "BAD_DIMENSIONS", GRID, headed(grid=(0, 3))),
        Attack("zero-records", "no layer", "BAD_RECORD", GRID + 4, headed(records=())),
        Attack("zero-width", "a layer without outputs", "BAD_RECORD", GRID + 7, headed(records=[layer(RELU, 0), last])),
        Attack(
            "zero-repeat",
            "a layer that is not there",
            "BAD_RECORD",
            GRID + 9,
            headed(records=[layer(RELU, 1, 0), last]),
        ),
        Attack("zero-chunks", "500 empty chunks", None, None, small_with(*[(PRIVATE, b"")] * 500)),
        Attack(
            "resolution",
            "4 thousand million samples",
            "LIMIT_CALLER",
            None,
            file((HEAD, head(level=5, grid=(65535, 65535))), (PASS, SMALL_PASS)),
        ),
        Attack(
            "resolution-most",
            "275 thousand million samples, the most of all levels",
            "LIMIT_CALLER",
            None,
            file(
                (HEAD, head(level=5, in_dims=3, grid=(65535, 65535, 64))),
                (PASS, packed(TABLE, bits(*((v & 15, 4) for v in (3, -2, 1, 1))), (3, -2, 1, 1))),
            ),
        ),
        Attack("latents", "3 times 2^30 latents, all of them zero", "LIMIT_CALLER", None, bytes.fromhex(LATENTS)),
        Attack(
            "nan-box",
            "an edge that is no number",
            "BAD_FLOAT",
            GRID + 4,
            headed(coords=15, box=(float("nan"), 0, 1, 1)),
        ),
        Attack(
            "nan-omega",
            "a frequency that is no number",
            "BAD_FLOAT",
            GRID + 11,
            headed(records=[layer(SINE, 1, more=b"\0" + nan), last]),
        ),
        Attack(
            "infinite-omega",
            "an infinite frequency",
            "BAD_FLOAT",
            GRID + 11,
            headed(records=[layer(SINE, 1, more=b"\0" + inf), last]),
        ),
        Attack(
            "nan-weight",
            "a weight that is no number",
            "NON_FINITE_WEIGHT",
            FIRST + 11,
            file((HEAD, head(records=[b"\x01\x60"])), (PASS, raw_nan)),
        ),
        Attack("flood-meta", "4200 pairs", None, None, small_with((META, flood))),
        Attack(
            "flood-hash",
            "100 wrong digests",
            "WEIGHTS_HASH_MISMATCH",
            FIRST + 5,
            small_with(*[(HASH, wrong_digest)] * 100),
        ),
        Attack("flood-same-keys", "a key twice", None, None, small_with((META, pair(b"k", b"a") + pair(b"k", b"b")))),
        Attack("polyglot-zip", "an archive behind the file", "TRAILING_DATA", end, SMALL + b"PK\x05\x06" + bytes(18)),
        Attack("polyglot-two", "two files in one", "TRAILING_DATA", end, SMALL + SMALL),
        Attack("polyglot-html", "a page in front", "BAD_SIGNATURE", 0, b"<!--" + SMALL),
        Attack("polyglot-inside", "a picture inside a chunk", None, None, small_with((PRIVATE, b"\x89PNG\r\n\x1a\n"))),
        Attack("two-heads", "which one counts?", "CHUNK_ORDER", FIRST, small_with(GOOD)),
        Attack(
            "two-passes",
            "which one counts?",
            "CHUNK_ORDER",
            FIRST + len(SMALL_PASS) + 9,
            small_with((PASS, SMALL_PASS)),
        ),
        Attack("last-too-early", "readers that stop, readers that go on", "MISSING_PASS", 4, file(GOOD)),
        Attack(
            "long-form",
            "a step in two forms",
            "BAD_TABLE",
            FIRST + 11,
            file(GOOD, (PASS, packed(long_step, BODY, ACC))),
        ),
        Attack(
            "hidden-bits",
            "bits in the padding",
            "PADDING_NOT_ZERO",
            BODY_AT + 1,
            file(GOOD, (PASS, packed(TABLE, BODY[:1] + bytes([BODY[1] | 0x80]), ACC))),
        ),
        Attack(
            "hidden-byte", "a byte behind the body", "SURPLUS_BYTES", BODY_AT + 2, file(GOOD, (PASS, SMALL_PASS + b"!"))
        ),
        Attack(
            "moved-chunk",
            "a pass of another file",
            "CHUNK_CRC_MISMATCH",
            len(SMALL) - 4,
            file((HEAD, head(coords=1)), (PASS, SMALL_PASS))[:FIRST] + SMALL[FIRST:],
        ),
    ]


def header(kind: int, length: int) -> bytes:
    """A chunk header with a right check that says this length."""
    start = bytes([kind]) + length.to_bytes(3, "little")
    return start + bytes([crc8(start)])


def main() -> None:
    """Write the files and their answers."""
    for old in FOLDER.glob("*.sinr"):
        old.unlink()
    for attack in attacks():
        (FOLDER / f"{attack.name}.sinr").write_bytes(attack.data)
    answers = [{key: value for key, value in asdict(attack).items() if key != "data"} for attack in attacks()]
    (FOLDER / "attacks.json").write_text(json.dumps(answers, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
