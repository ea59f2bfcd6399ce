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


def places(first: int, offset: int, *lengths: int) -> bytes:
    """INDX of kind 0, by the text."""
    return struct.pack("<BII", 0, first, offset) + b"".join(struct.pack("<I", n)[:3] for n in lengths)


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


def test_places_at_the_end_of_the_numbers_do_not_wrap() -> None:
    found = parse_index(places(0xFFFFFFFF, 0xFFFFFFFF, *[0xFFFFFF] * 300))
    assert isinstance(found, Places)
    assert found.place(0xFFFFFFFF + 299) == (0xFFFFFFFF + 299 * 0x1000008, 0xFFFFFFFF + 300 * 0x1000008)


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


@pytest.mark.parametrize("n", [5442, 5443, 9000])
def test_places_that_do_not_fit_the_first_16_kib_have_a_directory(n: int) -> None:
    payloads = build_index(40, [(True, i) for i in range(n)])
    found, _ = places_of(payloads, 40)
    assert len(found) == n
    assert [end - start - 9 for start, end in found] == list(range(n))
    assert 40 + len(payloads[0]) + 9 <= 16384
    assert len(payloads) == (1 if n <= 5442 else 1 + -(-n // index.PLACES_OF_ONE))


def test_a_directory_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="1400 entries does not fit"):
        build_index(40, [(True, 1), (False, 1)] * 1400)
