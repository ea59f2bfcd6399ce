"""Clauses 5.1 to 5.4: signature, chunk headers, types, order, checks, and their offsets; CON-1 to CON-9."""

import zlib
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sinrfmt
from sinrfmt import container, registry
from sinrfmt.container import Chunk, ChunkReader, build_file, frame
from sinrfmt.errors import SinrError
from sinrfmt.registry import LEVELS, ChunkKind, Coding
from sinrfmt.wire import Fault
from tests.strategies import (
    HASH,
    HEAD,
    INDX,
    LAST,
    META,
    PASS,
    SIGNATURE,
    Made,
    assert_error,
    chunk,
    crc8,
    fixed,
    meta_payload,
    seal,
    small_file,
    split,
)

MADE = small_file()
DATA = MADE.data
HEAD_PAYLOAD, PASS_PAYLOAD = (payload for _, payload in split(DATA))
HEAD_END = 4 + 9 + len(HEAD_PAYLOAD)
HEAD_CHUNK = (HEAD, HEAD_PAYLOAD)
PASS_CHUNK = (PASS, PASS_PAYLOAD)


def test_check_values_of_the_text() -> None:
    """CNV-5."""
    assert container.crc8(b"123456789") == crc8(b"123456789") == 0xF4
    assert zlib.crc32(b"123456789") == 0xCBF43926


@fixed(100)
@given(st.binary(max_size=8))
def test_crc8_is_polynomial_division(data: bytes) -> None:
    assert container.crc8(data) == crc8(data)


def test_the_writer_frames_as_the_text_says() -> None:
    """CON-2, CON-3: crc32 starts at 0 for HEAD and at HEAD's crc32 for every later chunk."""
    meta = meta_payload([(b"a", b"b")])
    chunks = [(ChunkKind.META, meta), (ChunkKind.PASS, PASS_PAYLOAD), (ChunkKind.HASH, bytes(33))]
    expected = seal([HEAD_CHUNK, (META, meta), PASS_CHUNK, (HASH, bytes(33))])
    assert build_file(HEAD_PAYLOAD, chunks) == expected


def test_a_payload_over_the_length_field_is_not_framed() -> None:
    frame(ChunkKind.PASS, bytes((1 << 24) - 1), 0)
    with pytest.raises(Fault, match="LIMIT_FILE_BYTES"):
        frame(ChunkKind.PASS, bytes(1 << 24), 0)


# --- CON-1 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(4))
def test_prefix_of_the_signature_is_truncated(n: int) -> None:
    assert_error("TRUNCATED", n, sinrfmt.loads, SIGNATURE[:n])


@pytest.mark.parametrize("position", range(4))
def test_wrong_signature(position: int) -> None:
    for value in set(range(256)) - {SIGNATURE[position]}:
        wrong = SIGNATURE[:position] + bytes([value])
        assert_error("BAD_SIGNATURE", 0, sinrfmt.loads, wrong)
        assert_error("BAD_SIGNATURE", 0, sinrfmt.loads, wrong + DATA[position + 1 :])


# --- CON-2, CON-3 ----------------------------------------------------------------------------------------------------


def flipped(data: bytes, bits: tuple[int, ...]) -> bytes:
    changed = bytearray(data)
    for bit in bits:
        changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


@pytest.mark.parametrize("n_errors", [1, 2, 3])
def test_hcheck_detects_up_to_three_wrong_bits_of_a_header(n_errors: int) -> None:
    header = DATA[4:9]
    for bits in combinations(range(40), n_errors):
        reader = ChunkReader()
        reader.feed(SIGNATURE + flipped(header, bits))
        with pytest.raises(SinrError) as caught:
            reader.next_chunk(passes_complete=False)
        assert (caught.value.name, caught.value.offset) == ("HEADER_CHECK_MISMATCH", 8)


@pytest.mark.parametrize("chunk_start", [4, HEAD_END])
def test_wrong_crc_is_at_the_stored_crc(chunk_start: int) -> None:
    length = int.from_bytes(DATA[chunk_start + 1 : chunk_start + 4], "little")
    crc_at = chunk_start + 5 + length
    for byte in range(chunk_start + 5, crc_at + 4):
        assert_error("CHUNK_CRC_MISMATCH", crc_at, sinrfmt.loads, flipped(DATA, (8 * byte + byte % 8,)))


@pytest.mark.parametrize("kind", [INDX, META, HASH, 0x86, 0xC1])
def test_crc_of_ancillary_chunks_is_verified(kind: int) -> None:
    """CON-3."""
    data = seal([HEAD_CHUNK, (kind, b"abc"), PASS_CHUNK])
    sinrfmt.loads(data)
    assert_error("CHUNK_CRC_MISMATCH", HEAD_END + 8, sinrfmt.loads, flipped(data, (8 * (HEAD_END + 6),)))


def test_a_chunk_of_another_file_is_refused() -> None:
    """CON-3: the check of a later chunk starts from HEAD's."""
    other = Made(*vars(small_file(seed=1)).values())
    moved = DATA[:HEAD_END] + other.data[HEAD_END:]
    sinrfmt.loads(moved)  # the same HEAD
    changed_head = bytearray(HEAD_PAYLOAD)
    changed_head[0] ^= 1  # another minor version
    moved = seal([(HEAD, bytes(changed_head)), PASS_CHUNK])[:HEAD_END] + DATA[HEAD_END:]
    assert_error("CHUNK_CRC_MISMATCH", len(DATA) - 4, sinrfmt.loads, moved)


# --- CON-4 to CON-6 --------------------------------------------------------------------------------------------------

TABLE = {1: (False, False), 2: (False, False), 3: (True, False), 4: (True, True), 5: (True, False), 7: (True, True)}


def verdict(chunk_type: int, place: str) -> str | None:
    """Clauses 5.3 and 5.4: the error of a chunk type in the first place, before the last pass ends, or after it."""
    kind = chunk_type & 15
    is_ancillary, is_private, is_safe = (bool(chunk_type >> bit & 1) for bit in (7, 6, 5))
    is_listed = kind in TABLE and not is_private
    if kind in (0, 15) or (not is_ancillary and is_safe) or (is_listed and TABLE[kind] != (is_ancillary, is_safe)):
        return "BAD_CHUNK_TYPE"
    if not is_ancillary and not (is_listed and kind in (1, 2)):
        return "UNKNOWN_CRITICAL_CHUNK"
    name = registry.ChunkKind(kind).name if is_listed else "other"
    allowed = {
        "first": {"HEAD"},
        "middle": {"PASS", "INDX", "META", "HASH", "PREV", "other"},
        "after a pass": {"PASS", "META", "HASH", "PREV", "other"},
        "after the last pass": {"META", "HASH", "PREV", "other"},
    }
    return None if name in allowed[place] else "CHUNK_ORDER"


@pytest.mark.parametrize("place", ["first", "middle", "after a pass", "after the last pass"])
def test_every_chunk_type_in_every_place(place: str) -> None:
    """CON-4, CON-5, CON-6, over all 256 types."""
    before = {"first": [], "middle": [HEAD_CHUNK]}.get(place, [HEAD_CHUNK, PASS_CHUNK])
    results = {}
    for chunk_type in range(256):
        payload = HEAD_PAYLOAD if place == "first" else b""
        data = seal([*before, (chunk_type, payload)], mark_last=False)
        offset = len(seal(before, mark_last=False)) if before else 4
        if chunk_type & LAST:  # seal() has left the bit out: its type is sealed again with it
            start = int.from_bytes(data[HEAD_END - 4 : HEAD_END], "little") if before else 0
            data = data[:offset] + chunk(chunk_type, payload, start)
        reader = ChunkReader()
        reader.feed(data)
        try:
            while reader.next_chunk(passes_complete=place == "after the last pass" and reader.offset == offset):
                pass
            results[chunk_type] = (None, reader.offset - len(data))
        except SinrError as failure:
            results[chunk_type] = (failure.name, (failure.offset or 0) - offset)
    assert results == {chunk_type: (verdict(chunk_type, place), 0) for chunk_type in range(256)}


@pytest.mark.parametrize(
    ("chunks", "name", "position"),
    [
        ([PASS_CHUNK], "CHUNK_ORDER", 0),
        ([(META, b""), HEAD_CHUNK], "CHUNK_ORDER", 0),
        ([HEAD_CHUNK, HEAD_CHUNK], "CHUNK_ORDER", 1),
        ([HEAD_CHUNK, PASS_CHUNK, PASS_CHUNK], "CHUNK_ORDER", 2),
        ([HEAD_CHUNK, PASS_CHUNK, (INDX, b"")], "CHUNK_ORDER", 2),
        ([HEAD_CHUNK, PASS_CHUNK, HEAD_CHUNK], "CHUNK_ORDER", 2),
        ([HEAD_CHUNK], "MISSING_PASS", 0),
        ([HEAD_CHUNK, (META, b"")], "MISSING_PASS", 1),
    ],
)
def test_order_of_chunks(chunks: list[tuple[int, bytes]], name: str, position: int) -> None:
    """CON-6, CON-8."""
    offset = 4 + sum(9 + len(payload) for _, payload in chunks[:position])
    assert_error(name, offset, sinrfmt.loads, seal(chunks))


def test_order_is_checked_before_the_crc() -> None:
    """Clause 5.4: the header's checks come before the payload is there."""
    data = seal([HEAD_CHUNK, HEAD_CHUNK])
    assert_error("CHUNK_ORDER", HEAD_END, sinrfmt.loads, data[: HEAD_END + 5])
    assert_error("HEADER_CHECK_MISMATCH", HEAD_END + 4, sinrfmt.loads, flipped(data, (8 * HEAD_END,))[: HEAD_END + 5])
    assert_error("TRUNCATED", HEAD_END + 4, sinrfmt.loads, flipped(data, (8 * HEAD_END,))[: HEAD_END + 4])


# --- CON-7 to CON-9 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(len(DATA)))
def test_a_file_that_ends_early_is_truncated_where_it_ends(n: int) -> None:
    assert_error("TRUNCATED", n, sinrfmt.loads, DATA[:n])


def test_a_file_without_last_chunk_is_truncated() -> None:
    data = seal([HEAD_CHUNK, PASS_CHUNK], mark_last=False)
    assert_error("TRUNCATED", len(data), sinrfmt.loads, data)


@pytest.mark.parametrize("tail", [b"\x00", b"\n", DATA, bytes(1 << 16)])
def test_bytes_after_the_last_chunk(tail: bytes) -> None:
    assert_error("TRAILING_DATA", len(DATA), sinrfmt.loads, DATA + tail)


def test_a_missing_pass_counts_before_trailing_data() -> None:
    assert_error("MISSING_PASS", 4, sinrfmt.loads, seal([HEAD_CHUNK]) + b"\x00")


def test_head_ends_within_16384_bytes() -> None:
    """CON-9; the payload is read only after the limit, so its content does not matter."""
    assert_error("LIMIT_FILE_BYTES", 5, sinrfmt.loads, SIGNATURE + chunk(HEAD, bytes(16384 - 13 + 1))[:5])
    payload = HEAD_PAYLOAD + bytes(16384 - 13 - len(HEAD_PAYLOAD))
    assert_error("SURPLUS_BYTES", 9 + len(HEAD_PAYLOAD), sinrfmt.loads, seal([(HEAD, payload)]))


def test_no_chunk_ends_beyond_the_file_bytes_of_the_level() -> None:
    room = LEVELS[1].file_bytes - len(DATA) - 9
    assert len(seal([HEAD_CHUNK, PASS_CHUNK, (0x86, bytes(room))])) == LEVELS[1].file_bytes
    sinrfmt.loads(seal([HEAD_CHUNK, PASS_CHUNK, (0x86, bytes(room))]))
    data = seal([HEAD_CHUNK, PASS_CHUNK, (0x86, bytes(room + 1))])
    assert_error("LIMIT_FILE_BYTES", len(DATA) + 1, sinrfmt.loads, data)
    assert_error("LIMIT_FILE_BYTES", len(DATA) + 1, sinrfmt.loads, data[: len(DATA) + 5])


# --- pieces ----------------------------------------------------------------------------------------------------------


def chunks_of(data: bytes, size: int) -> list[Chunk]:
    reader, found = ChunkReader(), []
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        while (one := reader.next_chunk(passes_complete=False)) is not None:
            found.append(one)
    return found


@pytest.mark.parametrize("size", [1, 2, 7, len(DATA)])
def test_chunks_do_not_depend_on_how_the_file_is_fed(size: int) -> None:
    found = chunks_of(DATA, size)
    assert [(one.type, one.payload) for one in found] == split(DATA)
    assert [(one.offset, one.payload_offset, one.is_last) for one in found] == [
        (4, 9, False),
        (HEAD_END, HEAD_END + 5, True),
    ]


def test_a_header_is_checked_once_however_it_is_fed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is linear in the bytes: nothing of a chunk is done again for every byte of it."""
    data = small_file(*[(Coding.PACKED, 0)] * 3).data
    checked = []
    monkeypatch.setattr(container, "crc8", lambda data: checked.append(data) or crc8(data))
    chunks_of(data, 1)
    assert len(checked) == 4


def test_bytes_wanted_are_exactly_those_of_the_next_step() -> None:
    reader, at, wanted = ChunkReader(), 0, []
    while reader.n_wanted:
        n = reader.n_wanted
        wanted.append(n)
        reader.feed((DATA + b"\x00")[at : at + n])
        at += n
        while reader.next_chunk(passes_complete=False):
            pass
    assert wanted == [4, 5, len(HEAD_PAYLOAD) + 4, 5, len(PASS_PAYLOAD) + 4, 1]


def test_errors_are_sticky() -> None:
    reader = ChunkReader()
    reader.feed(flipped(DATA, (40,)))
    failures = []
    for _ in range(3):
        with pytest.raises(SinrError) as caught:
            reader.next_chunk(passes_complete=False)
        failures.append(caught.value)
        reader.feed(DATA)
    with pytest.raises(SinrError) as caught:
        reader.close(passes_complete=True)
    assert [*failures[1:], caught.value] == [failures[0]] * 3


def test_head_error_names_its_field() -> None:
    payload = HEAD_PAYLOAD[:5] + b"\x09" + HEAD_PAYLOAD[6:]
    with pytest.raises(sinrfmt.UnsupportedError) as caught:
        sinrfmt.loads(seal([(HEAD, payload), PASS_CHUNK]))
    assert (caught.value.path, caught.value.offset) == ("head.modality", 14)
    assert str(caught.value).startswith("UNKNOWN_ID [208] at byte 14 (head.modality): ")
