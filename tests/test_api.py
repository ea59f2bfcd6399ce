"""Clauses 15 and 17: files and bytes to fields; prefixes, passes, lazy opening, atomic writing, errors of callers."""

import errno
import io
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sinrfmt
from sinrfmt import api
from sinrfmt.registry import Coding
from tests.strategies import HEAD, META, PASS, assert_error, meta_payload, seal, small_file, split

MADE = small_file((Coding.RANS, 0), (Coding.PACKED, 0), (Coding.ZLIB, 0))
DATA = MADE.data
CHUNK_ENDS = np.cumsum([4, *(9 + len(payload) for _, payload in split(DATA))]).tolist()
HEAD_END, *PASS_ENDS = CHUNK_ENDS[1:]


class Wire(io.RawIOBase):
    """A file that cannot be read beyond ``end``: neither may a byte be asked for."""

    def __init__(self, data: bytes, end: int) -> None:
        self.data, self.end, self.at = data, end, 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "the whole rest was asked for"
        assert self.at + size <= self.end, f"byte {self.at + size} was asked for"
        piece = self.data[self.at : self.at + size]
        self.at += len(piece)
        return piece


def assert_same_states(field: sinrfmt.Field, n: int) -> None:
    for found, expected in zip(field.states, MADE.states[n - 1], strict=True):
        np.testing.assert_array_equal(found.acc, expected.acc)
        assert found.step == expected.step


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_byte_after_the_pass_is_read(n: int) -> None:
    """DEC-5."""
    wire = Wire(DATA, PASS_ENDS[n - 1])
    field = sinrfmt.load(wire, passes=n)  # type: ignore[arg-type]
    assert wire.at == PASS_ENDS[n - 1]
    assert (field.n_passes, field.data) == (n, DATA[: PASS_ENDS[n - 1]])
    assert_same_states(field, n)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_prefix_gives_what_the_whole_file_gives(n: int) -> None:
    """Clause 17."""
    prefix = DATA[: PASS_ENDS[n - 1]]
    whole = sinrfmt.loads(DATA, passes=n)
    for field in (sinrfmt.loads(prefix, passes=n), sinrfmt.loads(prefix, partial=True)):
        assert field.weights_sha256 == whole.weights_sha256
        assert field.pass_ends == tuple(PASS_ENDS[:n])
        assert_same_states(field, n)


def test_bytes_after_the_pass_do_not_matter() -> None:
    assert sinrfmt.loads(DATA[: PASS_ENDS[0]] + b"garbage", passes=1).n_passes == 1
    assert sinrfmt.loads(DATA + b"garbage", passes=3).n_passes == 3


def test_a_whole_file_is_read_to_its_end_and_one_byte_more() -> None:
    """CON-7: TRAILING_DATA needs one byte, not all that follow."""
    wire = Wire(DATA + bytes(1 << 20), len(DATA) + 1)
    assert_error("TRAILING_DATA", len(DATA), sinrfmt.load, wire)
    assert sinrfmt.load(Wire(DATA, len(DATA) + 1)).n_passes == 3  # type: ignore[arg-type]


def test_nothing_is_read_after_an_error() -> None:
    wire = Wire(b"SIN\xd1" + DATA[4:], 4)
    assert_error("BAD_SIGNATURE", 0, sinrfmt.load, wire)
    damaged = bytearray(DATA)
    damaged[HEAD_END] ^= 1
    assert_error("HEADER_CHECK_MISMATCH", HEAD_END + 4, sinrfmt.load, Wire(bytes(damaged), HEAD_END + 5))


@pytest.mark.parametrize("cut", range(len(DATA)))
def test_partial_at_every_cut(cut: int) -> None:
    """The passes that are whole, or TRUNCATED where the file ends; never another error, never half a pass."""
    n = sum(end <= cut for end in PASS_ENDS)
    assert_error("TRUNCATED", cut, sinrfmt.loads, DATA[:cut])
    if n == 0:
        assert_error("TRUNCATED", cut, sinrfmt.loads, DATA[:cut], partial=True)
        assert_error("TRUNCATED", cut, sinrfmt.loads, DATA[:cut], passes=1)
        return
    field = sinrfmt.loads(DATA[:cut], partial=True)
    assert (field.n_passes, field.data) == (n, DATA[: PASS_ENDS[n - 1]])
    assert_same_states(field, n)
    if n < 3:
        assert_error("TRUNCATED", cut, sinrfmt.loads, DATA[:cut], passes=n + 1)


def test_partial_hides_no_damage() -> None:
    """DEC-5."""
    for at in range(4, len(DATA)):
        damaged = bytearray(DATA)
        damaged[at] ^= 1
        with pytest.raises(sinrfmt.ChecksumError):
            sinrfmt.loads(bytes(damaged), partial=True)
    assert_error("TRAILING_DATA", len(DATA), sinrfmt.loads, DATA + b"\x00", partial=True)
    missing = seal(split(DATA)[:3])
    assert_error("MISSING_PASS", PASS_ENDS[0], sinrfmt.loads, missing, partial=True)


@pytest.mark.parametrize("passes", [0, -1, 4, 255])
def test_passes_that_the_file_does_not_have(passes: int) -> None:
    assert_error("USAGE", None, sinrfmt.loads, DATA, passes=passes)


def test_all_passes_asked_for_leave_out_what_follows() -> None:
    data = seal([*split(DATA), (META, meta_payload([(b"k", b"v")]))])
    assert (sinrfmt.loads(data).meta, sinrfmt.loads(data).data) == ({"k": "v"}, data)
    field = sinrfmt.loads(data, passes=3)
    assert (field.meta, len(field.data)) == ({}, len(DATA))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like_objects(kind: Any) -> None:
    assert sinrfmt.loads(kind(DATA)).data == DATA


def test_notes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "NOTES_LIMIT", 5)
    chunks = split(DATA)
    assert len(sinrfmt.loads(seal([chunks[0], *[(0x86, b"")] * 20, *chunks[1:]])).notes) == 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "field.sinr"
    file.write_bytes(DATA)
    return file


def test_load_takes_paths_and_binary_files(path: Path) -> None:
    with path.open("rb") as file:
        fields = [sinrfmt.load(path), sinrfmt.load(str(path)), sinrfmt.load(file), sinrfmt.load(io.BytesIO(DATA))]
    assert fields == [sinrfmt.loads(DATA)] * 4


def test_what_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    for source in (tmp_path / "missing.sinr", tmp_path, tmp_path / "missing" / "x.sinr"):
        for read in (sinrfmt.load, sinrfmt.read_header):
            assert_error("USAGE", None, read, source)
    assert_error("TRUNCATED", 0, sinrfmt.load, os.devnull)


def test_a_file_in_text_mode_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "text.sinr"
    file.write_text("SIN")
    with file.open() as text, pytest.raises(TypeError, match="'rb'"):
        sinrfmt.load(text)  # type: ignore[arg-type]
    with file.open() as text, pytest.raises(TypeError, match="'rb'"):
        sinrfmt.read_header(text)  # type: ignore[arg-type]


# --- the header and lazy opening -------------------------------------------------------------------------------------


class Seekable(Wire):
    def tell(self) -> int:
        return self.at

    def seek(self, at: int, whence: int = 0) -> int:
        self.at = at
        return at


def test_read_header_reads_head_only_and_goes_back() -> None:
    file = Seekable(b"before" + DATA, 6 + HEAD_END)
    file.seek(6)
    assert sinrfmt.read_header(file) == MADE.header  # type: ignore[arg-type]
    assert file.tell() == 6
    assert_error("BAD_SIGNATURE", 0, sinrfmt.read_header, io.BytesIO(b"before"))


def test_read_header_of_a_file_that_ends_in_head() -> None:
    for n in range(HEAD_END):
        assert_error("TRUNCATED", n, sinrfmt.read_header, io.BytesIO(DATA[:n]))


def test_open_decodes_when_the_field_is_asked_for(path: Path) -> None:
    path.write_bytes(DATA[: PASS_ENDS[0]] + b"damage")
    with sinrfmt.open(path) as lazy:
        assert lazy.header == MADE.header
        assert_error("HEADER_CHECK_MISMATCH", PASS_ENDS[0] + 4, lambda: lazy.field)
        path.write_bytes(DATA)
        assert lazy.field == sinrfmt.loads(DATA)
        path.unlink()
        assert lazy.field.n_passes == 3
    path.write_bytes(DATA[:-1])
    with sinrfmt.open(path, partial=True) as lazy:
        assert lazy.field.n_passes == 2
    with sinrfmt.open(path, passes=1) as lazy:
        assert lazy.field.n_passes == 1
    with sinrfmt.open(io.BytesIO(DATA)) as lazy:
        assert (lazy.header, lazy.field.n_passes) == (MADE.header, 3)


def test_open_refuses_a_bad_header_at_once(path: Path) -> None:
    path.write_bytes(b"SINR")
    with pytest.raises(sinrfmt.FormatError), sinrfmt.open(path):
        pass


# --- writing ---------------------------------------------------------------------------------------------------------

FIELD = sinrfmt.loads(DATA)


def test_saved_bytes_are_those_of_the_file(path: Path) -> None:
    assert sinrfmt.dumps(FIELD) == DATA
    target = path.with_name("copy.sinr")
    sinrfmt.save(FIELD, target)
    assert target.read_bytes() == DATA
    sinrfmt.save(sinrfmt.loads(DATA, passes=2), str(target))
    assert sinrfmt.load(target, partial=True).n_passes == 2
    assert sorted(file.name for file in path.parent.iterdir()) == ["copy.sinr", "field.sinr"]


def test_a_saved_file_has_the_usual_permissions(tmp_path: Path) -> None:
    sinrfmt.save(FIELD, tmp_path / "a.sinr")
    (tmp_path / "b.sinr").write_bytes(b"")
    a, b = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.sinr", "b.sinr"))
    assert a == b


@pytest.mark.parametrize("broken", ["os.replace", "os.chmod", "pathlib.Path.write_bytes", "tempfile.mkstemp"])
def test_a_failed_write_leaves_the_target_and_nothing_else(
    broken: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"as it was")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        with pytest.raises(sinrfmt.UsageError, match="No space left"):
            sinrfmt.save(FIELD, path)
    assert path.read_bytes() == b"as it was"
    assert [file.name for file in path.parent.iterdir()] == ["field.sinr"]


def test_an_interrupted_write_leaves_the_target_and_nothing_else(path: Path) -> None:
    def write() -> None:
        with api.writing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_bytes() == DATA
    assert [file.name for file in path.parent.iterdir()] == ["field.sinr"]


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "missing" / "x.sinr", tmp_path / "folder", tmp_path / ("x" * 300)):
        assert_error("USAGE", None, sinrfmt.save, FIELD, target)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


# --- the tree of errors ----------------------------------------------------------------------------------------------


def test_errors_are_also_the_standard_ones() -> None:
    cases: list[tuple[bytes, type[Exception]]] = [
        (b"NOPE", ValueError),
        (DATA[:-1], EOFError),
        (seal([(HEAD, b"\x20"), (PASS, b"")]), NotImplementedError),
    ]
    for data, standard in cases:
        with pytest.raises(standard) as caught:
            sinrfmt.loads(data)
        assert isinstance(caught.value, sinrfmt.SinrError)
