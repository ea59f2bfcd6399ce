"""Clauses 5.4, 12 and 17: events of the push parser, and that no split of the input changes them."""

import asyncio
import hashlib
import io
import json
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sinrfmt
from sinrfmt import ancillary, container, passes, stream
from sinrfmt.ancillary import build_hash, build_meta, parse_hash, parse_meta
from sinrfmt.errors import SinrError
from sinrfmt.registry import ChunkKind, Coding
from sinrfmt.stream import Event, HeaderRead, IndexRead, MetaRead, Note, Parser, PassComplete
from tests.strategies import HASH, HEAD, INDX, META, PASS, assert_error, fixed, meta_payload, seal, small_file, split

MADE = small_file((Coding.RANS, 0), (Coding.PACKED, 0), (Coding.ZLIB, 0))
_, *PASSES = split(MADE.data)
HEAD_CHUNK = split(MADE.data)[0]
PASSES = [(PASS, payload) for _, payload in PASSES]
DIGESTS = [
    hashlib.sha256(b"".join(s.weights().astype("<f4").tobytes() for s in states)).digest() for states in MADE.states
]


def hash_payload(*entries: tuple[int, bytes]) -> bytes:
    return b"".join(bytes([index]) + digest for index, digest in entries)


RICH = seal(
    [
        HEAD_CHUNK,
        (META, meta_payload([(b"author", "Zoë".encode()), (b"title", b"two\nlines")])),
        (INDX, b"not well formed"),
        (HASH, hash_payload((0, DIGESTS[0]), (2, DIGESTS[2]))),
        PASSES[0],
        (0xC3, b"private"),
        PASSES[1],
        (HASH, b"odd"),
        PASSES[2],
        (0x86, b"unknown"),
        (META, b"\xff"),
    ]
)


def parse(data: bytes, cuts: Iterable[int] = ()) -> list[Event]:
    parser, events = Parser(), []
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        events += list(parser.feed(data[start:end]))
    parser.close()
    return events


def shown(events: Sequence[Event]) -> list[Any]:
    """Events without arrays, which do not compare."""
    plain = []
    for event in events:
        if isinstance(event, PassComplete):
            accs = [state.acc.tolist() for state in event.states]
            plain.append((event.index, accs, event.acc_crc, event.sha256, event.end))
        else:
            plain.append(event)
    return plain


EXPECTED = shown(parse(RICH))


def test_events_come_in_file_order() -> None:
    events = parse(RICH)
    assert [type(event) for event in events] == [
        HeaderRead, MetaRead, Note, PassComplete, Note, PassComplete, Note, PassComplete, Note, Note,
    ]  # fmt: skip
    assert events[0] == HeaderRead(MADE.header)
    assert events[1] == MetaRead({"author": "Zoë", "title": "two\nlines"})
    passes = [event for event in events if isinstance(event, PassComplete)]
    assert [event.index for event in passes] == [0, 1, 2]
    assert [event.sha256 for event in passes] == DIGESTS
    for event, states in zip(passes, MADE.states, strict=True):
        for found, expected in zip(event.states, states, strict=True):
            np.testing.assert_array_equal(found.acc, expected.acc)
    assert [RICH[event.end] for event in passes[:2]] == [0xC3, HASH]


def test_notes_tell_what_and_where() -> None:
    notes = [event for event in parse(RICH) if isinstance(event, Note)]
    assert [RICH[note.offset] & 0xEF for note in notes] == [INDX, 0xC3, HASH, 0x86, META]
    words = ["INDX chunk", "unknown type 0xc3", "HASH chunk", "unknown type 0x86", "META chunk"]
    assert all(word in note.message for word, note in zip(words, notes, strict=True))


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_events_do_not_depend_on_the_size_of_the_pieces(size: int) -> None:
    assert shown(parse(RICH, range(size, len(RICH), size))) == EXPECTED


@fixed(60)
@given(st.sets(st.integers(0, len(RICH)), max_size=12))
def test_events_do_not_depend_on_the_split(cuts: set[int]) -> None:
    assert shown(parse(RICH, cuts)) == EXPECTED


def test_an_event_comes_with_the_last_byte_of_its_chunk() -> None:
    parser, seen = Parser(), []
    for at in range(len(RICH)):
        seen += [(at + 1, event) for event in parser.feed(RICH[at : at + 1])]
    ends = [at for at, event in seen if isinstance(event, PassComplete)]
    assert ends == [event.end for _, event in seen if isinstance(event, PassComplete)]
    assert [at for at, event in seen if isinstance(event, HeaderRead)] == [4 + 9 + len(HEAD_CHUNK[1])]


def test_progress_of_the_parser() -> None:
    parser = Parser()
    states = []
    for event in parser.feed(RICH):
        if isinstance(event, PassComplete):
            states.append((parser.n_passes_complete, parser.is_complete, parser.has_ended))
    assert states == [(1, False, False), (2, False, False), (3, True, False)]
    assert parser.has_ended
    assert parser.n_wanted == 1
    assert list(parser.feed(b"\x00")) == []
    assert parser.n_wanted == 0


def test_errors_are_sticky_and_come_after_the_events_before_them() -> None:
    damaged = bytearray(RICH)
    damaged[-1] ^= 1
    parser, events = Parser(), []
    with pytest.raises(SinrError) as first:
        events.extend(parser.feed(bytes(damaged)))
    assert shown(events) == EXPECTED[:-1]
    for again in (lambda: list(parser.feed(RICH)), parser.close):
        with pytest.raises(SinrError) as caught:
            again()
        assert caught.value is first.value


# --- what is kept, saved and resumed ---------------------------------------------------------------------------------

REAL = (Path(__file__).parent / "files" / "kodim23_48x32_4_passes.sinr").read_bytes()
REAL_PASSES = [event for event in stream.events([REAL]) if isinstance(event, PassComplete)]


def test_every_cut_of_a_real_file_gives_the_passes_that_are_whole() -> None:
    """Never success before the end, never an error but TRUNCATED, never a half-applied pass."""
    assert [event.index for event in REAL_PASSES] == [0, 1, 2, 3]
    parser = Parser()
    for cut in range(len(REAL)):
        seen = parser.snapshot()
        expected = [event for event in REAL_PASSES if event.end <= cut]
        assert (seen.n_bytes, seen.n_passes, seen.has_ended) == (cut, len(expected), False)
        if expected:
            assert seen.latest is not None
            assert shown([seen.latest]) == shown(expected[-1:])
        assert parser.n_wanted > 0
        assert_error("TRUNCATED", cut, parser.close)
        for _ in parser.feed(REAL[cut : cut + 1]):
            pass
    parser.close()
    assert parser.snapshot().has_ended


def test_partial_decoding_of_every_tenth_cut_of_a_real_file() -> None:
    """The same through ``loads``, which starts anew for each."""
    for cut in range(0, len(REAL), 10):
        expected = [event for event in REAL_PASSES if event.end <= cut]
        if expected:
            field = sinrfmt.loads(REAL[:cut], partial=True)
            assert (field.n_passes, field.weights_sha256) == (len(expected), expected[-1].sha256.hex())
        else:
            assert_error("TRUNCATED", cut, sinrfmt.loads, REAL[:cut], partial=True)


def test_the_snapshot_after_an_error_is_that_of_the_last_whole_pass() -> None:
    damaged = bytearray(REAL)
    damaged[REAL_PASSES[1].end + 20] ^= 1
    parser = Parser()
    with pytest.raises(SinrError):
        list(parser.feed(bytes(damaged)))
    seen = parser.snapshot()
    assert seen.latest is not None
    assert shown([seen.latest]) == shown([REAL_PASSES[1]])
    with pytest.raises(SinrError):
        parser.save()


@pytest.mark.parametrize("size", [1, 7, 500])
def test_no_more_than_one_chunk_is_kept(size: int) -> None:
    parser = Parser()
    longest = max(9 + len(payload) for _, payload in split(REAL))
    for at in range(0, len(REAL), size):
        list(parser.feed(REAL[at : at + size]))
        assert len(parser._reader._buffer) < longest
    for _ in range(100):
        list(parser.feed(b"surplus"))
    assert len(parser._reader._buffer) <= 1
    damaged = Parser()
    for _ in range(100):
        with pytest.raises(SinrError):
            list(damaged.feed(b"not a field"))
    assert len(damaged._reader._buffer) < 20


class CountingBuffer(bytearray):
    """Counts the bytes that are copied out of a parser's buffer."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        piece = super().__getitem__(key)
        CountingBuffer.copied += len(piece) if isinstance(key, slice) else 1
        return piece


def work_of(data: bytes, size: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Bytes copied and bytes checked, and calls made, when a file is fed in pieces of ``size``."""
    checked, calls = 0, 0

    def crc32(view: bytes, start: int = 0) -> int:
        nonlocal checked
        checked += len(view)
        return zlib.crc32(view, start)

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    parser = Parser()
    CountingBuffer.copied = 0
    with monkeypatch.context() as patch:
        patch.setattr(parser._reader, "_buffer", CountingBuffer())
        patch.setattr(container, "zlib", SimpleNamespace(crc32=crc32))
        sys.setprofile(count)
        try:
            for at in range(0, len(data), size):
                for _ in parser.feed(data[at : at + size]):
                    pass
        finally:
            sys.setprofile(None)
    return CountingBuffer.copied + checked, calls


def test_feeding_byte_by_byte_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that are looked at are the same in any pieces; the calls for each byte do not grow with the file."""
    short, long = (seal([*split(REAL), (META, bytes(n))]) for n in (15_000, 60_000))
    whole = [work_of(data, len(data), monkeypatch) for data in (short, long)]
    bytewise = [work_of(data, 1, monkeypatch) for data in (short, long)]
    assert bytewise[0][0] - whole[0][0] <= len(short)
    assert bytewise[1][0] - whole[1][0] <= len(long)
    calls = [(few[1] - once[1]) / len(data) for few, once, data in zip(bytewise, whole, (short, long), strict=True)]
    assert calls[1] <= calls[0] * 1.01
    assert calls[1] < 60


@pytest.mark.parametrize("cut", [0, 3, 20, *(event.end for event in REAL_PASSES), REAL_PASSES[1].end + 99, len(REAL)])
def test_a_saved_parser_goes_on_with_the_events_that_are_missing(cut: int) -> None:
    parser = Parser()
    before = list(parser.feed(REAL[:cut]))
    state = parser.save()
    assert len(state) < 200
    for kept in (REAL[:cut], REAL, io.BytesIO(REAL)):
        restored = Parser.restore(state, kept)
        assert restored.save() == state
        assert restored.snapshot().n_passes == parser.snapshot().n_passes
        after = list(restored.feed(REAL[cut:]))
        restored.close()
        assert shown(before + after) == shown(list(stream.events([REAL])))


RESUME = """
import sys
from pathlib import Path
from sinrfmt.stream import Parser, PassComplete
state, kept, rest = (Path(name).read_bytes() for name in sys.argv[1:])
parser = Parser.restore(state, kept)
done = [event.sha256.hex() for event in parser.feed(rest) if isinstance(event, PassComplete)]
parser.close()
print(*done)
"""


def test_a_saved_parser_survives_its_process(tmp_path: Path) -> None:
    cut = REAL_PASSES[1].end + 50
    parser = Parser()
    list(parser.feed(REAL[:cut]))
    paths = [tmp_path / name for name in ("state", "kept", "rest")]
    for path, data in zip(paths, (parser.save(), REAL[:cut], REAL[cut:]), strict=True):
        path.write_bytes(data)
    result = subprocess.run([sys.executable, "-c", RESUME, *paths], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [event.sha256.hex() for event in REAL_PASSES[2:]]


def test_a_saved_parser_refuses_other_bytes() -> None:
    cut = REAL_PASSES[0].end + 50
    parser = Parser()
    list(parser.feed(REAL[:cut]))
    state = parser.save()
    other = bytearray(REAL)
    other[cut - 1] ^= 1  # in a chunk that is not whole: no check of the format can see it yet
    assert_error("SOURCE_CHANGED", 0, Parser.restore, state, bytes(other))
    assert_error("SOURCE_CHANGED", 0, Parser.restore, state, REAL[: cut - 1])


@pytest.mark.parametrize(
    "state",
    [b"", b"{}", b"[]", b"7", b"\xff", b'{"sinr_parser": 1, "n_bytes": "3", "sha256": ""}',
     b'{"sinr_parser": 1, "n_bytes": -1, "sha256": ""}', b'{"sinr_parser": 2, "n_bytes": 1, "sha256": "00"}',
     b'{"sinr_parser": 1, "n_bytes": 1, "sha256": "zz"}'],
)  # fmt: skip
def test_what_is_no_state_is_refused(state: bytes) -> None:
    assert_error("USAGE", None, Parser.restore, state, b"")


def test_a_state_says_nothing_but_how_much_was_read() -> None:
    state = json.loads(Parser().save())
    assert state == {"sinr_parser": 1, "n_bytes": 0, "sha256": hashlib.sha256().hexdigest()}


async def trickle(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        await asyncio.sleep(0)
        yield data[at : at + size]


@pytest.mark.parametrize("size", [100, 10_000])
def test_events_of_iterators_are_those_of_the_parser(size: int) -> None:
    async def collect(data: bytes) -> list[Event]:
        return [event async for event in stream.aevents(trickle(data, size))]

    pieces = [RICH[at : at + size] for at in range(0, len(RICH), size)]
    assert shown(list(stream.events(pieces))) == EXPECTED
    assert shown(asyncio.run(collect(RICH))) == EXPECTED
    assert_error("TRUNCATED", len(RICH) - 1, lambda: list(stream.events([RICH[:-1]])))
    assert_error("TRUNCATED", len(RICH) - 1, lambda: asyncio.run(collect(RICH[:-1])))


def test_other_tasks_run_while_a_pass_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass waits for a task of the event loop: were it decoded there, this would not end."""
    import threading

    other_ran = threading.Event()
    unpack = passes.payload.unpack

    def waiting(*arguments: Any) -> Any:
        assert other_ran.wait(60)
        return unpack(*arguments)

    async def both() -> int:
        async def other() -> None:
            other_ran.set()

        async def read() -> int:
            return len([event async for event in stream.aevents(trickle(REAL, len(REAL)))])

        n_events, _ = await asyncio.gather(read(), other())
        return n_events

    monkeypatch.setattr(passes.payload, "unpack", waiting)
    assert asyncio.run(both()) == len(list(stream.events([REAL])))


def test_an_index_is_an_event() -> None:
    data = seal([HEAD_CHUNK, (INDX, bytes(9) + b"\1\5"), *PASSES])
    found = [event.index for event in stream.events([data]) if isinstance(event, IndexRead)]
    assert len(found) == 1 and found[0].place(0) == (0, 14)


# --- HASH ------------------------------------------------------------------------------------------------------------


def with_hash(*payloads: bytes, after: bool = False) -> bytes:
    hashes = [(HASH, payload) for payload in payloads]
    return seal([HEAD_CHUNK, *PASSES, *hashes] if after else [HEAD_CHUNK, *hashes, *PASSES])


FIRST_HASH = 4 + 9 + len(HEAD_CHUNK[1]) + 5
WRONG, OTHER = bytes(32), bytes([1] * 32)


@pytest.mark.parametrize("wrong", [0, 1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_anc_1_digest_of_a_decoded_pass(wrong: int, after: bool) -> None:
    good = hash_payload(*enumerate(DIGESTS))
    sinrfmt.loads(with_hash(good, after=after))
    bad = hash_payload(*((i, WRONG if i == wrong else digest) for i, digest in enumerate(DIGESTS)))
    data = with_hash(bad, after=after)
    start = len(MADE.data) + 5 if after else FIRST_HASH
    assert_error("WEIGHTS_HASH_MISMATCH", start + 33 * wrong, sinrfmt.loads, data)


def test_anc_1_digests_of_other_passes_are_not_compared() -> None:
    sinrfmt.loads(with_hash(hash_payload((3, WRONG), (255, WRONG))))
    data = with_hash(hash_payload((1, WRONG)))
    assert sinrfmt.loads(data, passes=1).n_passes == 1
    assert_error("WEIGHTS_HASH_MISMATCH", FIRST_HASH, sinrfmt.loads, data, passes=2)


@pytest.mark.parametrize(
    ("payloads", "position"),
    [
        ([(1, WRONG)], [(0, WRONG)]),
        ([(0, DIGESTS[0]), (1, DIGESTS[1])], [(0, WRONG)]),
        ([(0, DIGESTS[0])], [(0, DIGESTS[0])]),
    ],
)
def test_anc_1_the_first_in_the_file_that_differs(payloads: list[tuple[int, bytes]], position: list[Any]) -> None:
    """Of several HASH chunks, whichever pass comes first."""
    chunks = [payloads, position, [(0, OTHER)], [(0, WRONG), (1, OTHER)]]
    data = with_hash(*(hash_payload(*entries) for entries in chunks))
    at, expected = FIRST_HASH, None
    for entries in chunks:
        for i, (index, digest) in enumerate(entries):
            if digest != DIGESTS[index] and expected is None:
                expected = at + 33 * i
        at += 33 * len(entries) + 9
    assert_error("WEIGHTS_HASH_MISMATCH", expected, sinrfmt.loads, data)


def test_hashes_that_are_kept_do_not_grow_with_the_file() -> None:
    parser = Parser()
    n = 500
    chunks = [(HASH, hash_payload((0, i.to_bytes(32, "big")), (9, i.to_bytes(32, "big")))) for i in range(n)]
    list(parser.feed(seal([HEAD_CHUNK, *chunks], mark_last=False)))
    assert sum(map(len, parser._expected.values())) == 4


def test_the_hash_comes_after_trailing_data() -> None:
    """Clause 5.4: CON-8, TRAILING_DATA, then clause 12.3."""
    data = with_hash(hash_payload((0, WRONG)))
    assert_error("TRAILING_DATA", len(data), sinrfmt.loads, data + b"\x00")


@pytest.mark.parametrize(
    "payload", [b"x", bytes(32), bytes(34), hash_payload((1, WRONG), (0, WRONG)), hash_payload((0, WRONG), (0, WRONG)),
                bytes(33 * 300)]
)  # fmt: skip
def test_a_hash_chunk_that_is_not_well_formed_is_ignored(payload: bytes) -> None:
    assert parse_hash(payload) is None
    field = sinrfmt.loads(with_hash(payload))
    assert len(field.notes) == 1


def test_hash_of_the_writer() -> None:
    entries = [(i, bytes([i] * 32)) for i in range(256)]
    assert build_hash(entries) == hash_payload(*entries)
    assert parse_hash(build_hash(entries)) == entries


# --- META ------------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
PAIRS = st.dictionaries(TEXT.filter(lambda key: 0 < len(key.encode()) < 256), TEXT, max_size=6)


@fixed(100)
@given(PAIRS)
def test_metadata_comes_back(meta: dict[str, str]) -> None:
    payload = build_meta(meta)
    assert payload == meta_payload(sorted((k.encode(), v.encode()) for k, v in meta.items()))
    assert parse_meta(payload, 100) == meta


IGNORED = [
    b"\x00",
    b"\x00\x00\x00",
    b"\x01",
    b"\x01a",
    b"\x01a\x00",
    b"\x01a\x01\x00",
    meta_payload([(b"b", b""), (b"a", b"")]),
    meta_payload([(b"a", b""), (b"a", b"")]),
    meta_payload([("é".encode(), b""), (b"z", b"")]),
    meta_payload([(b"\xff", b"")]),
    meta_payload([(b"a", b"\xc3")]),
    meta_payload([(b"a", b"\xed\xa0\x80")]),
    meta_payload([(b"a\n", b"")]),
    meta_payload([(b"a", b"\x00")]),
    meta_payload([(b"a", b"\t")]),
    meta_payload([(b"a", b"\x7f")]),
    meta_payload([(b"a", b"")]) + b"\x00",
]


@pytest.mark.parametrize("payload", IGNORED)
def test_a_meta_chunk_that_is_not_well_formed_is_ignored(payload: bytes) -> None:
    assert parse_meta(payload, 100) is None
    field = sinrfmt.loads(seal([HEAD_CHUNK, (META, payload), *PASSES]))
    assert (field.meta, len(field.notes)) == ({}, 1)


def test_metadata_of_several_chunks_is_merged() -> None:
    chunks = [(META, meta_payload([(b"a", b"1"), (b"b", b"2")])), (META, meta_payload([(b"a", b"3")]))]
    assert sinrfmt.loads(seal([HEAD_CHUNK, *chunks, *PASSES])).meta == {"a": "3", "b": "2"}


def test_pairs_over_the_limit_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "META_PAIRS_LIMIT", 3)
    chunks = [(META, meta_payload([(bytes([c]), b"") for c in keys])) for keys in (b"ab", b"cd", b"e", b"f")]
    field = sinrfmt.loads(seal([HEAD_CHUNK, *chunks, *PASSES]))
    assert sorted(field.meta) == ["a", "b", "e"]
    assert len(field.notes) == 2


@pytest.mark.parametrize(
    "meta",
    [{"": "x"}, {"k" * 256: ""}, {"k": "v" * 65536}, {"k\n": ""}, {"k": "\r"}, {"k": "\x00"}, {"k": "\ud800"},
     {"é" * 128: ""}],
)  # fmt: skip
def test_metadata_that_cannot_be_written(meta: dict[str, str]) -> None:
    assert_error("USAGE", None, build_meta, meta)


def test_metadata_at_its_limits() -> None:
    meta = {"k" * 255: "v" * 65535, "é" * 127: "\n", "~": ""}
    assert parse_meta(build_meta(meta), 3) == meta


def test_every_pair_of_meta_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is linear in the payload: no pair is copied again for those before it."""
    reads: list[int] = []

    class Counting(ancillary.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            reads.append(len(data))
            return data

    monkeypatch.setattr(ancillary, "BytesIO", Counting)
    payload = meta_payload([(i.to_bytes(2, "big"), b"v") for i in range(0x3030, 0x3070)])
    assert parse_meta(payload, 100) is not None
    assert sum(reads) == len(payload)


def test_unknown_ancillary_chunks_change_nothing() -> None:
    kinds = [kind for kind in range(0x80, 0x100) if kind & 15 not in (0, 15) and not kind & 0x10]
    kinds = [kind for kind in kinds if kind & 0x40 or kind & 15 not in list(ChunkKind)]
    plain = sinrfmt.loads(MADE.data)
    for kind in kinds:
        field = sinrfmt.loads(seal([HEAD_CHUNK, (kind, b"?"), *PASSES, (kind, b"")]))
        assert (field.weights_sha256, field.acc_crc) == (plain.weights_sha256, plain.acc_crc)
        assert len(field.notes) == 2


def test_head_must_be_first_for_the_parser_too() -> None:
    assert HEAD_CHUNK[0] == HEAD
    assert_error("CHUNK_ORDER", 4, sinrfmt.loads, seal(PASSES))
