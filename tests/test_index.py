"""Clause 12.1: what an INDX says, what is ignored, and that what is written fits the first 16384 bytes."""

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinrfmt import index
from sinrfmt.errors import UsageError
from sinrfmt.index import Directory, Places, build_index, parse_index
from tests.strategies import fixed


def places(first: int, offset: int, *lengths: int, length_bytes: int = 3) -> bytes:
    """INDX of kind 0, by the text."""
    rows = b"".join(n.to_bytes(length_bytes, "little") for n in lengths)
    return struct.pack("<BIIB", 0, first, offset, length_bytes) + rows


def directory(*entries: tuple[int, int, int]) -> bytes:
    """INDX of kind 1, by the text."""
    return b"\1" + b"".join(struct.pack("<III", *entry) for entry in entries)


def test_places_stand_one_after_the_other() -> None:
    found = parse_index(places(3, 100, 10, 0x010203, 0))
    assert isinstance(found, Places)
    assert found.first == 3
    ends = [100, 119, 119 + 0x010203 + 9, 119 + 0x010203 + 18]
    assert [found.place(n) for n in (3, 4, 5)] == list(pairwise(ends))
    assert [found.place(n) for n in (2, 6)] == [None, None]


@pytest.mark.parametrize("length_bytes", [1, 2, 3, 4])
def test_lengths_have_as_many_bytes_as_the_index_says(length_bytes: int) -> None:
    longest = (1 << 8 * length_bytes) - 1
    found = parse_index(places(0, 50, 1, longest, longest - 1, length_bytes=length_bytes))
    assert isinstance(found, Places)
    assert found.bounds.tolist() == [50, 60, 69 + longest, 77 + 2 * longest]


def test_places_at_the_end_of_the_numbers_do_not_wrap() -> None:
    longest = 0xFFFFFFFF
    found = parse_index(places(longest, longest, *[longest] * 300, length_bytes=4))
    assert isinstance(found, Places)
    assert found.place(longest + 299) == (longest + 299 * (longest + 9), longest + 300 * (longest + 9))


def test_a_directory_names_the_chunk_in_which_a_number_is() -> None:
    found = parse_index(directory((0, 50, 30), (7, 80, 40), (9, 200, 12)))
    assert isinstance(found, Directory)
    assert [found.place(n) for n in (0, 6, 7, 8, 9, 99)] == [(50, 80)] * 2 + [(80, 120)] * 2 + [(200, 212)] * 2
    late = parse_index(directory((1, 50, 30)))
    assert isinstance(late, Directory) and late.place(0) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\2" + bytes(12),
        b"\xff",
        places(0, 0),
        places(0, 0, 5)[:-1],
        places(0, 0, 5) + b"\0",
        places(0, 0, 5)[:9],
        places(0, 0, 0, length_bytes=0) + b"\5",
        places(0, 0, 5, length_bytes=5),
        directory(),
        directory((0, 50, 30))[:-1],
        directory((0, 50, 30)) + b"\0",
        directory((0, 50, 9)),
        directory((0, 50, 30), (0, 80, 30)),
        directory((0, 50, 30), (1, 79, 30)),
    ],
)
def test_content_that_is_not_well_formed_is_ignored(payload: bytes) -> None:
    assert parse_index(payload) is None


def places_of(payloads: list[bytes], offset: int) -> tuple[list[tuple[int, int]], int]:
    """What a reader finds with INDX chunks at ``offset``: the place of each PASS chunk, and where the index ends."""
    starts = np.cumsum([offset, *(len(payload) + 9 for payload in payloads)]).tolist()
    by_offset = dict(zip(starts, payloads, strict=False))
    top, found, number = parse_index(payloads[0]), [], 0
    while True:
        here = top
        if isinstance(top, Directory):
            start, end = top.place(number) or (0, 0)
            assert len(by_offset[start]) + 9 == end - start
            here = parse_index(by_offset[start])
        assert isinstance(here, Places)
        place = here.place(number)
        if place is None:
            return found, starts[-1]
        found.append(place)
        number += 1


@fixed(200)
@given(st.integers(13, 3000), st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 16)), min_size=1, max_size=40))
def test_an_index_names_every_pass_chunk(offset: int, chunks: list[tuple[bool, int]]) -> None:
    chunks = [*chunks, (True, 7)]
    payloads = build_index(offset, chunks)
    found, end = places_of(payloads, offset)
    starts = np.cumsum([end, *(length + 9 for _, length in chunks)]).tolist()
    bounds = pairwise(starts)
    assert found == [place for place, (is_pass, _) in zip(bounds, chunks, strict=True) if is_pass]
    n_runs = sum(is_pass and (i == 0 or not chunks[i - 1][0]) for i, (is_pass, _) in enumerate(chunks))
    assert len(payloads) == (1 if n_runs == 1 else 1 + n_runs)


@pytest.mark.parametrize(
    ("length", "length_bytes"), [(0, 1), (255, 1), (256, 2), (65535, 2), (65536, 3), (0xFFFFFF, 3)]
)
def test_lengths_take_the_fewest_bytes_that_hold_them_all(length: int, length_bytes: int) -> None:
    offset = 40 + 9 + 10 + 2 * length_bytes
    assert build_index(40, [(True, 0), (True, length)]) == [places(0, offset, 0, length, length_bytes=length_bytes)]


def test_each_index_of_a_directory_has_its_own_length_bytes() -> None:
    payloads = build_index(40, [(True, 70000), (False, 1), (True, 7)])
    assert [payload[9] for payload in payloads[1:]] == [3, 1]


@pytest.mark.parametrize("n", [8162, 8163, 9000])
def test_places_that_do_not_fit_the_first_16_kib_have_a_directory(n: int) -> None:
    payloads = build_index(40, [(True, i) for i in range(n)])
    found, _ = places_of(payloads, 40)
    assert len(found) == n
    assert [end - start - 9 for start, end in found] == list(range(n))
    assert 40 + len(payloads[0]) + 9 <= 16384
    assert len(payloads) == (1 if n <= 8162 else 1 + -(-n // index.PLACES_OF_ONE))


def test_a_directory_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="1400 entries does not fit"):
        build_index(40, [(True, 1), (False, 1)] * 1400)
