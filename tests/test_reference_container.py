"""Clauses 4, 5, 12, 15 and 17 in the reference decoder: chunks, their order, prefixes, hostile bytes."""

import random
import re
import struct
import tomllib
import tracemalloc
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference_decoder import DecodeError, container, decode
from reference_decoder.entropy import frequencies, mf8
from reference_decoder.errors import ERRORS, EXIT_STATUS
from reference_decoder.limits import LEVELS
from tests.reference_writer import (
    HASH,
    HEAD,
    INDX,
    LAST,
    META,
    PASS,
    SEEDED,
    SIGNATURE,
    HeadFields,
    bits,
    build,
    chunk,
    chunk_offsets,
    crc8,
    encode_one_lane,
    int32_crc,
    last,
    layer,
    pass_payload,
    value_runs,
)

SPEC = Path(__file__).parents[1] / "spec"
TABLE = [f for _ in range(4) for f in ((0, 1), (40, 7), (7, 5))]
ACC = list(range(13))


def base(number: int = 0) -> bytes:
    return pass_payload(bits(*TABLE), bytes(ACC), int32_crc(ACC), number=number)


def nothing(number: int) -> bytes:
    """A later pass that refines no tensor."""
    return pass_payload(bits((0, 4)), b"", 0, number=number)


def head(n_passes: int = 1, **fields: Any) -> tuple[int, bytes]:
    return HEAD, HeadFields(n_passes=n_passes, **fields).payload()


def three_passes() -> bytes:
    chunks = [head(3), (META, b""), (PASS, base()), (PASS, nothing(1)), (HASH, b""), (PASS, nothing(2)), (META, b"")]
    return build(chunks)


def failure(data: bytes, **options: Any) -> tuple[str, int | None]:
    with pytest.raises(DecodeError) as caught:
        decode(data, **options)
    return caught.value.name, caught.value.offset


# --- the text and the tables ---------------------------------------------------------------------------------------


def test_errors_and_levels_are_those_of_the_registry() -> None:
    registry = tomllib.loads((SPEC / "registry.toml").read_text())
    assert {e["name"]: (e["code"], e["class"]) for e in registry["error"]} == ERRORS
    levels = {entry.pop("id"): entry for entry in registry["level"]}
    assert levels == {number: vars(level) for number, level in LEVELS.items()}
    assert {class_ for _, class_ in ERRORS.values()} == set(EXIT_STATUS)


def test_every_quotation_is_in_the_text() -> None:
    def flat(text: str) -> str:
        return re.sub(r"\s+", " ", text.replace("#", " ").replace("\\|", "|"))

    text = flat((SPEC / "sinr-1.md").read_text())
    quotations = []
    for path in sorted(Path(container.__file__).parent.glob("*.py")):
        source = flat(path.read_text())
        quotations += [(path.name, q) for q in re.findall(r"(?:[A-Z]{3}-\d+ )?§[\d.]+: \"(.*?)\"(?:[^\w]|$)", source)]
    assert len(quotations) > 60
    assert [q for q in quotations if q[1] not in text] == []


def test_crc_known_answers() -> None:
    assert container.crc8(b"123456789") == crc8(b"123456789") == 0xF4
    assert zlib.crc32(b"123456789") == 0xCBF43926


# --- 5.1 to 5.3 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"S", b"SIN"])
def test_prefix_of_the_signature_is_truncated(data: bytes) -> None:
    assert failure(data) == ("TRUNCATED", len(data))


@pytest.mark.parametrize("data", [b"X", b"SIM", b"SINR", b"\x89PNG\r\n"])
def test_other_first_bytes_are_no_signature(data: bytes) -> None:
    assert failure(data) == ("BAD_SIGNATURE", 0)


def test_header_check_comes_before_the_type_and_the_length() -> None:
    data = bytearray(build([head(), (PASS, base())]))
    data[8] ^= 1
    assert failure(bytes(data)) == ("HEADER_CHECK_MISMATCH", 8)
    assert failure(SIGNATURE + b"\0\xff\xff\xff\1") == ("HEADER_CHECK_MISMATCH", 8)


@pytest.mark.parametrize("type_", [0x00, 0x80, 0xC0, 0x0F, 0xFF, 0x21, 0x26, 0x61, 0x81, 0x03, 0xA3, 0x84, 0x24, 0xA5])
def test_type_that_cannot_be(type_: int) -> None:
    data = build([head(), (type_, b""), (PASS, base())])
    assert failure(data) == ("BAD_CHUNK_TYPE", chunk_offsets(data)[1])
    assert failure(SIGNATURE + chunk(type_, b"")) == ("BAD_CHUNK_TYPE", 4)


@pytest.mark.parametrize("type_", [0x06, 0x0E, 0x41, 0x42, 0x4E])
def test_critical_chunk_that_is_unknown(type_: int) -> None:
    data = build([head(), (type_, b""), (PASS, base())])
    assert failure(data) == ("UNKNOWN_CRITICAL_CHUNK", chunk_offsets(data)[1])


@pytest.mark.parametrize("type_", [0x86, 0xAE, 0xC1, 0xE2, 0xC3])
def test_ancillary_chunk_that_is_unknown_is_skipped_but_checked(type_: int) -> None:
    data = build([head(), (type_, b"abc"), (PASS, base()), (type_, b"d")])
    assert decode(data).passes == 1
    at = chunk_offsets(data)[1]
    bad = data[: at + 5] + b"x" + data[at + 6 :]
    assert failure(bad) == ("CHUNK_CRC_MISMATCH", at + 8)


def test_crc_continues_from_that_of_head() -> None:
    first, second = head(), (PASS, base())
    data = SIGNATURE + chunk(*first) + chunk(PASS | LAST, second[1])
    assert failure(data)[0] == "CHUNK_CRC_MISMATCH"


# --- 5.4 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", [PASS, INDX, META, HASH, 0xC7, 0xC1])
def test_head_is_first(type_: int) -> None:
    assert failure(SIGNATURE + chunk(type_, b"")) == ("CHUNK_ORDER", 4)


@pytest.mark.parametrize("where", [1, 2])
def test_there_is_one_head(where: int) -> None:
    chunks = [head(), (PASS, base()), (META, b"")]
    data = build([*chunks[:where], head(), *chunks[where:]])
    assert failure(data) == ("CHUNK_ORDER", chunk_offsets(data)[where])


def test_no_pass_after_the_last_and_no_index_after_a_pass() -> None:
    data = build([head(), (PASS, base()), (PASS, b"")])
    assert failure(data) == ("CHUNK_ORDER", chunk_offsets(data)[2])
    data = build([head(2), (INDX, b""), (PASS, base()), (INDX, b""), (PASS, nothing(1))])
    assert failure(data) == ("CHUNK_ORDER", chunk_offsets(data)[3])


def test_order_comes_before_size_and_content() -> None:
    data = SIGNATURE + struct.pack("<I", PASS | 0xFFFFFF << 8)
    assert failure(data + bytes([crc8(data[4:])])) == ("CHUNK_ORDER", 4)


def test_head_ends_in_the_first_16384_bytes() -> None:
    room = 16384 - 4 - 9
    assert failure(SIGNATURE + chunk(HEAD, bytes(room))) == ("UNSUPPORTED_VERSION", 9)
    assert failure(SIGNATURE + chunk(HEAD, bytes(room + 1))) == ("LIMIT_FILE_BYTES", 5)


def test_no_chunk_ends_beyond_the_limit_of_the_level() -> None:
    used = len(build([head(), (PASS, base()), (META, b"")]))
    assert decode(build([head(), (PASS, base()), (META, bytes(65536 - used))])).passes == 1
    data = build([head(), (PASS, base()), (META, bytes(65537 - used))])
    limit = ("LIMIT_FILE_BYTES", chunk_offsets(data)[2] + 1)
    assert failure(data) == limit
    assert failure(data[:-1]) == limit  # before the payload is missed


def test_bytes_after_the_last_chunk() -> None:
    data = build([head(), (PASS, base())])
    assert failure(data + b"\0") == ("TRAILING_DATA", len(data))


def test_missing_pass_is_at_the_last_chunk_and_before_trailing_data() -> None:
    data = build([head(2), (PASS, base()), (META, b"")])
    assert failure(data + b"\0") == ("MISSING_PASS", chunk_offsets(data)[2])
    assert failure(build([head()])) == ("MISSING_PASS", 4)


def test_file_without_a_last_chunk_is_truncated() -> None:
    data = build([head(), (PASS, base())], mark_last=False)
    assert failure(data) == ("TRUNCATED", len(data))


def test_every_truncation_is_truncated_at_the_end_of_the_file() -> None:
    data = three_passes()
    assert decode(data).passes == 3
    for n in range(len(data)):
        assert failure(data[:n]) == ("TRUNCATED", n)


# --- 12 ------------------------------------------------------------------------------------------------------------


def digest_entry(number: int, digest: str) -> bytes:
    return bytes([number]) + bytes.fromhex(digest)


def test_hash_is_checked_wherever_it_stands() -> None:
    plain = build([head(2), (PASS, base()), (PASS, nothing(1))])
    right, wrong = decode(plain).weights_sha256, "00" * 32
    for where in (1, 2, 3):
        chunks = [head(2), (PASS, base()), (PASS, nothing(1))]
        chunks.insert(where, (HASH, digest_entry(0, right) + digest_entry(1, right) + digest_entry(7, wrong)))
        assert decode(build(chunks)).passes == 2
        chunks[where] = (HASH, digest_entry(0, right) + digest_entry(1, wrong))
        data = build(chunks)
        assert failure(data) == ("WEIGHTS_HASH_MISMATCH", chunk_offsets(data)[where] + 5 + 33)
        assert failure(data + b"\0")[0] == "TRAILING_DATA"


def test_hash_of_passes_that_are_not_decoded_is_not_checked() -> None:
    data = build([head(2), (HASH, digest_entry(1, "00" * 32)), (PASS, base()), (PASS, nothing(1))])
    assert decode(data, passes=1).passes == 1
    assert failure(data)[0] == "WEIGHTS_HASH_MISMATCH"


@pytest.mark.parametrize("content", [b"\0" * 32, b"\0" * 66, b"\1" + b"\0" * 65, b"\0" * 34])
def test_hash_that_is_not_of_its_layout_or_order_is_ignored(content: bytes) -> None:
    assert decode(build([head(), (PASS, base()), (HASH, content)])).passes == 1


@pytest.mark.parametrize(("type_", "content"), [(INDX, b"x"), (META, b"\5a"), (META, b"\1\xff\0\0")])
def test_other_ancillary_content_is_not_an_error(type_: int, content: bytes) -> None:
    assert decode(build([head(), (type_, content), (PASS, base())])).passes == 1


# --- 15, 17 --------------------------------------------------------------------------------------------------------


def test_prefix_needs_no_byte_after_its_last_pass() -> None:
    data = three_passes()
    ends = chunk_offsets(data)[3:5] + chunk_offsets(data)[6:7]
    for passes, end in enumerate(ends, 1):
        assert decode(data[:end], passes=passes).passes == passes
        assert decode(data[:end] + b"\xff" * 9, passes=passes).passes == passes
        assert failure(data[: end - 1], passes=passes) == ("TRUNCATED", end - 1)


def test_partial_takes_the_last_whole_pass() -> None:
    data = three_passes()
    ends = chunk_offsets(data)[3:5] + chunk_offsets(data)[6:7]
    for n in range(len(data) + 1):
        whole = sum(n >= end for end in ends)
        if whole:
            assert decode(data[:n], partial=True).passes == whole
        else:
            assert failure(data[:n], partial=True) == ("TRUNCATED", n)
    assert decode(data[: ends[1]], partial=True, passes=1).passes == 1


def test_partial_does_not_excuse_damage() -> None:
    data = bytearray(three_passes())
    at = chunk_offsets(bytes(data))[3]
    data[at + 6] ^= 1
    assert failure(bytes(data[:-3]), partial=True)[0] == "CHUNK_CRC_MISMATCH"
    data[at + 1] ^= 1
    assert failure(bytes(data[: at + 7]), partial=True) == ("HEADER_CHECK_MISMATCH", at + 4)


@pytest.mark.parametrize("passes", [-1, 0, 4])
def test_number_of_passes_that_the_file_does_not_have_is_usage(passes: int) -> None:
    assert failure(three_passes(), passes=passes) == ("USAGE", None)


# --- hostile bytes -------------------------------------------------------------------------------------------------


def coded() -> bytes:
    """A small file with most of what there is: seed, prior, row steps, coding 1 with escapes, a refinement, HASH."""
    f = frequencies(2, 0, 2**24 - mf8(100), 2**24, False)
    values = [[1, -1, 0], [5, -2, 0, 1, 9, 2], [1, 0, 0], [0], [1, 2, 3], [7]]
    long = [(2, 2), (2, 10), (0, 8), (100, 8), (0, 8), (0, 1), (0, 4), (1, 1)]
    start, same = [(0, 1), (40, 7)], [(3, 2)]
    no_prior = [(0, 1)]
    table = [*start, (1, 1), *long, *no_prior, *same]
    for rows in ([], [(1, 1), *same], []):
        table += [*start, *rows, *no_prior, *same]
    body = encode_one_lane([run for part in values for run in value_runs(part, f, 0, True)])
    acc = [v for part in (values[1], values[2], values[4], values[5]) for v in part]
    first = pass_payload(bits(*table), body, int32_crc(acc), flags=9)
    refined = [2 * a for a in acc[:6]]
    second = pass_payload(bits((1, 1), (0, 3), (0, 2), (0, 3)), bytes(4), int32_crc(refined), flags=9, number=1)
    records = (layer(2, 0x19, omega=b"\x1e"), last(1, 0x19))
    whole = HeadFields(n_passes=2, features=SEEDED, features_optional=1, records=records, tail=b"\4" + bytes(4))
    return build([(HEAD, whole.payload()), (META, b"\1a\1\0b"), (PASS, first), (PASS, second), (HASH, b"")])


def refused_or_decoded(data: bytes) -> str:
    """The name of the error, or OK; any other exception is a failure of the test."""
    try:
        decode(data)
    except DecodeError as error:
        name, offset = error.name, error.offset
    else:
        return "OK"
    assert offset is not None
    assert 0 <= offset <= len(data)
    return name


def test_every_bit_flip_is_found() -> None:
    data = three_passes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        assert refused_or_decoded(bytes(flipped)) != "OK"


def test_random_bytes_are_refused() -> None:
    source = random.Random(1)
    for _ in range(3000):
        data = SIGNATURE + source.randbytes(source.randrange(60))
        assert refused_or_decoded(data) != "OK"


@pytest.mark.parametrize("which", [0, 1, 2])
def test_damaged_payloads_with_right_checks_never_crash(which: int) -> None:
    source = random.Random(which)
    chunks = payloads(coded())
    seen = set()
    for _ in range(1500):
        damaged = [(t, bytearray(p)) for t, p in chunks]
        target = damaged[(0, 2, 3)[which]][1]
        for _ in range(source.choice((1, 1, 2, 8))):
            target[source.randrange(len(target))] = source.randrange(256)
        if source.random() < 0.1:
            del target[source.randrange(len(target)) :]
        if which == 0 and len(target) > 1:
            target[1] = 0x10 | source.choice((1, 1, 2))  # the larger levels allow long work
        seen.add(refused_or_decoded(build([(t, bytes(p)) for t, p in damaged])))
    assert len(seen) >= (8, 6, 4)[which]


def payloads(data: bytes) -> list[tuple[int, bytes]]:
    offsets = chunk_offsets(data)
    return [(data[a] & ~LAST, data[a + 5 : b - 4]) for a, b in pairwise(offsets)]


def test_file_of_the_hostile_tests_decodes() -> None:
    assert decode(coded()).passes == 2


# --- memory --------------------------------------------------------------------------------------------------------


def peak(data: bytes) -> int:
    tracemalloc.start()
    try:
        decode(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["packed", "zlib", "rans", "escapes", "refined", "rows"])
def test_memory_stays_below_the_bound(kind: str) -> None:
    n = 900_000
    chunks = big_file(kind, n)
    data = build(chunks)
    largest = max(len(payload) + 9 for _, payload in chunks)
    assert peak(data) <= 16 * n + 4 * largest + (4 << 20)


def big_file(kind: str, n: int) -> list[tuple[int, bytes]]:
    """One tensor of n zeros or ones, coded in the way that takes the most memory."""
    rows = kind == "rows"
    records = (layer(1, 0x31 if rows else 0x21, 300), layer(1, 0x31 if rows else 0x21, n // 300), last(1, 0x21))
    first = HeadFields(
        profile_level=0x13, records=records, n_passes=2 if kind == "refined" else 1, in_dims=1, grid=(6,)
    )
    sizes = (300, n, n // 300)
    total = sum(sizes)
    step = [(0, 1), (40, 7)]
    zeros = int32_crc([0] * total)
    if kind in ("packed", "zlib"):
        table = bits(*[f for _ in sizes for f in (*step, (31, 5))])
        plain = bytes(4 * total)
        body, flags = (plain, 8) if kind == "packed" else (zlib.compress(plain), 10)
        return [(HEAD, first.payload()), (PASS, pass_payload(table, body, zeros, flags=flags))]
    # R = 1 with escapes, all frequencies on 0: or on the edge, by the state that starts and stays at symbol -1
    long = [(2, 2), (1, 10), (0, 8), (0, 8), (0, 8), (0, 1), (0, 4), (1, 1)]
    free = [(2, 2), (0, 10), (0, 8), (0, 8), (0, 8), (0, 1), (0, 4), (0, 1)]
    edge = kind in ("escapes", "refined")
    values = long if edge else free
    head_row = [(1, 1), *free] if rows else []
    table = bits(*[f for s in sizes for f in (*step, *(head_row if s != sizes[2] else []), *values)])
    crc = zlib.crc32(struct.pack("<i", -1) * total) if edge else zeros
    out = [(HEAD, first.payload()), (PASS, pass_payload(table, bytes(4), crc, flags=9))]
    if kind == "refined":
        later = bits(*[f for _ in sizes for f in ((1, 1), (0, 3), *values)])
        crc = zlib.crc32(struct.pack("<i", -3) * total)
        out.append((PASS, pass_payload(later, bytes(4), crc, flags=9, number=1)))
    return out


def test_sizes_are_checked_before_anything_is_allocated() -> None:
    records = (layer(1, 0x21, 1024), layer(1, 0x21, 1000), last(1, 0x21))
    whole = HeadFields(profile_level=0x13, records=records)
    table = bits(*[f for _ in range(3) for f in ((0, 1), (40, 7), (31, 5))])
    data = build([(HEAD, whole.payload()), (PASS, pass_payload(table, b"", 0))])
    tracemalloc.start()
    try:
        assert failure(data)[0] == "PAYLOAD_TOO_SHORT"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_zlib_bomb_is_stopped_at_the_announced_size() -> None:
    body = zlib.compress(bytes(60_000_000), 9)
    data = build([head(), (PASS, pass_payload(bits(*TABLE), body, 0, flags=10))])
    tracemalloc.start()
    try:
        assert failure(data)[0] == "BAD_COMPRESSED_DATA"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_evaluation_of_many_samples_is_bounded() -> None:
    field = decode(build([head(), (PASS, base())]))
    tracemalloc.start()
    try:
        found = field.grid((500, 700))
        assert tracemalloc.get_traced_memory()[1] < found.nbytes + (8 << 20)
    finally:
        tracemalloc.stop()
    assert np.isfinite(found).all()
