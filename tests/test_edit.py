"""Clauses 5, 6 and 12 for editors: what is cut or indexed is a valid file of the same weights, for both decoders."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sinrfmt
from sinrfmt import edit
from sinrfmt.index import Directory, Places
from sinrfmt.registry import LEVELS, Coding
from sinrfmt.stream import IndexRead, events
from tests.strategies import (
    HASH,
    HEAD,
    INDX,
    META,
    PASS,
    Made,
    assert_error,
    files,
    fixed,
    header_of,
    make_file,
    meta_payload,
    seal,
    siren,
    small_file,
    split,
)

ROOT = Path(__file__).parents[1]
REAL = (ROOT / "tests" / "files" / "kodim23_48x32_4_passes.sinr").read_bytes()
MADE = small_file((Coding.RANS, 0), (Coding.PACKED, 0), (Coding.ZLIB, 0))
HEAD_CHUNK, *PASS_CHUNKS = split(MADE.data)
META_CHUNK = (META, meta_payload([(b"a", b"1")]))


def hash_chunk(*passes: int) -> tuple[int, bytes]:
    digests = [bytes.fromhex(sinrfmt.loads(MADE.data, passes=n + 1).weights_sha256) for n in range(3)]
    return HASH, b"".join(bytes([n]) + digests[n] for n in passes)


def kinds(data: bytes) -> list[int]:
    return [kind & 0xEF for kind, _ in split(data)]


def index_of(data: bytes) -> Places | Directory:
    found = [event.index for event in events([data]) if isinstance(event, IndexRead)]
    return found[0]


def assert_index_is_right(data: bytes) -> None:
    """Every PASS chunk is where the index, or the INDX chunk that the directory names, says."""
    at, starts = 4, {}
    for kind, payload in split(data):
        starts[at] = (kind & 15, at + 9 + len(payload))
        at += 9 + len(payload)
    assert min(start for start, (kind, _) in starts.items() if kind == 3) == 4 + 9 + len(split(data)[0][1])
    passes = [(start, end) for start, (kind, end) in starts.items() if kind == 2]
    indices = [event.index for event in events([data]) if isinstance(event, IndexRead)]
    if isinstance(indices[0], Directory):
        assert [starts[offset][1] - offset for _, offset, _ in indices[0].entries] == [e[2] for e in indices[0].entries]
    places = [index for index in indices if isinstance(index, Places)]
    assert [
        place.place(n) for place in places for n in range(place.first, place.first + len(place.bounds) - 1)
    ] == passes


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_real_file_cut_to_its_first_passes_verifies_in_both_decoders(n: int, tmp_path: Path) -> None:
    cut = edit.cut(REAL, n)
    expected = sinrfmt.loads(REAL, passes=n)
    for data in (cut, edit.reindex(cut), edit.cut(edit.reindex(REAL), n)):
        field = sinrfmt.loads(data)
        assert (field.n_passes, field.header.n_passes) == (n, n)
        assert (field.weights_sha256, field.acc_crc) == (expected.weights_sha256, expected.acc_crc)
        assert field.header.level == expected.header.level
        path = tmp_path / "cut.sinr"
        path.write_bytes(data)
        command = [sys.executable, "-m", "reference_decoder", str(path), str(tmp_path / "out.npy")]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
        assert expected.weights_sha256 in result.stdout
    assert len(cut) <= expected.pass_ends[-1]
    assert cut == REAL if n == 4 else len(cut) < len(REAL)


@fixed(40)
@given(files(), st.integers(1, 3))
def test_any_file_cut_to_its_first_passes_has_their_weights(made: Made, n: int) -> None:
    n = min(n, made.header.n_passes)
    data = edit.reindex(edit.cut(made.data, n))
    field = sinrfmt.loads(data)
    assert field.weights_sha256 == sinrfmt.loads(made.data, passes=n).weights_sha256
    assert_index_is_right(data)


def test_ancillary_chunks_of_a_cut_file() -> None:
    """META and what is safe to copy stay, HASH keeps the passes that stay, what is unknown goes, INDX is made anew."""
    data = seal(
        [HEAD_CHUNK, (INDX, b"odd"), META_CHUNK, hash_chunk(0, 1, 2), (0x86, b"unknown"), PASS_CHUNKS[0],
         (0xA6, b"safe"), (0xC1, b"private"), PASS_CHUNKS[1], hash_chunk(2), (HASH, b"odd"), PASS_CHUNKS[2],
         (0xE7, b"safe too")]
    )  # fmt: skip
    cut = edit.cut(data, 2)
    assert kinds(cut) == [HEAD, INDX, INDX, INDX, META, HASH, PASS, 0xA6, PASS, 0xE7]
    field = sinrfmt.loads(cut)
    assert (field.n_passes, field.meta) == (2, {"a": "1"})
    assert split(cut)[5][1] == hash_chunk(0, 1)[1]
    assert_index_is_right(cut)
    assert INDX not in kinds(edit.cut(seal([HEAD_CHUNK, *PASS_CHUNKS]), 2))


def test_the_quality_of_a_cut_file_is_that_of_its_passes() -> None:
    made = make_file(
        header_of(siren(), n_passes=3, quality=(10.0, 20.0, 30.0)),
        [(Coding.RANS, 0), (Coding.RANS, 0), (Coding.RANS, 0)],
    )
    assert sinrfmt.loads(edit.cut(made.data, 2)).header.quality == (10.0, 20.0)


def test_optional_blocks_that_are_unknown_stay() -> None:
    payload = bytearray(HEAD_CHUNK[1])
    payload[4] = 0x06  # features_optional: two of later versions
    data = seal([(HEAD, bytes(payload) + b"\2ab\0"), *PASS_CHUNKS])
    for changed in (edit.cut(data, 1), edit.reindex(data)):
        head = split(changed)[0][1]
        assert head[4] == 0x06 and head.endswith(b"\2ab\0")
        sinrfmt.loads(changed)


def test_reindexing_twice_is_reindexing_once() -> None:
    data = seal([HEAD_CHUNK, META_CHUNK, *PASS_CHUNKS])
    once = edit.reindex(data)
    assert kinds(once) == [HEAD, INDX, META, PASS, PASS, PASS]
    assert_index_is_right(once)
    assert len(once) == len(data) + 9 + 10 + 3 * 1
    assert edit.reindex(once) == once


def test_passes_with_chunks_between_them_have_a_directory() -> None:
    data = edit.reindex(seal([HEAD_CHUNK, PASS_CHUNKS[0], META_CHUNK, *PASS_CHUNKS[1:]]))
    assert kinds(data) == [HEAD, INDX, INDX, INDX, PASS, META, PASS, PASS]
    assert isinstance(index_of(data), Directory)
    assert_index_is_right(data)


def test_a_file_that_an_index_makes_too_long_gets_the_next_level() -> None:
    rest = LEVELS[1].file_bytes - len(MADE.data) - 9
    data = seal([HEAD_CHUNK, *PASS_CHUNKS, (META, bytes(rest))])
    assert (len(data), sinrfmt.loads(data).header.level.id) == (LEVELS[1].file_bytes, 1)
    assert sinrfmt.loads(edit.reindex(data)).header.level.id == 2


@pytest.mark.parametrize("n", [-1, 0, 4, 255])
def test_passes_that_a_file_does_not_have_cannot_be_kept(n: int) -> None:
    assert_error("USAGE", None, edit.cut, MADE.data, n)


@pytest.mark.parametrize("change", [edit.reindex, lambda data: edit.cut(data, 1)])
def test_an_invalid_container_is_not_edited(change: edit.Edit) -> None:
    for cut in (0, 3, 20, len(MADE.data) - 1):
        assert_error("TRUNCATED", cut, change, MADE.data[:cut])
    assert_error("TRAILING_DATA", len(MADE.data), change, MADE.data + b"\0")
    for at in range(4, len(MADE.data), 7):
        damaged = bytearray(MADE.data)
        damaged[at] ^= 1
        with pytest.raises(sinrfmt.ChecksumError):
            change(bytes(damaged))
    swapped = seal([HEAD_CHUNK, PASS_CHUNKS[1], PASS_CHUNKS[0], PASS_CHUNKS[2]])
    assert_error("PASS_ORDER", 4 + 9 + len(HEAD_CHUNK[1]) + 5 + 1, change, swapped)
    assert_error("MISSING_PASS", sinrfmt.loads(MADE.data).pass_ends[0], change, seal([HEAD_CHUNK, *PASS_CHUNKS[:2]]))


def test_meta_is_written_into_a_finished_file() -> None:
    before = sinrfmt.loads(REAL)
    data = edit.with_meta(REAL, {"units": "K", "low": "0.5"})
    field = sinrfmt.loads(data)
    assert field.meta == {"units": "K", "low": "0.5"}
    assert field.weights_sha256 == before.weights_sha256
    assert len(data) - len(REAL) == edit.meta_bytes(field.meta)
    assert sinrfmt.loads(edit.with_meta(data, {"a": "b"})).meta == {"a": "b"}
    assert edit.with_meta(data, {}) == edit.with_meta(REAL, {})
    assert edit.meta_bytes({}) == 0


def test_an_index_stays_right_when_meta_is_added() -> None:
    assert_index_is_right(edit.with_meta(edit.reindex(REAL), {"k": "v"}))
