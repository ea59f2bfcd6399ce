"""Clause 13.1: files of parts that are joined, and parts that are taken out again."""

from dataclasses import replace

import numpy as np
import pytest

import sinrfmt
from sinrfmt import container
from sinrfmt.head import Header, build_head
from sinrfmt.joining import extract, join
from sinrfmt.network import LEVEL_ORDINAL
from sinrfmt.parts import Parts
from sinrfmt.payload import pack
from sinrfmt.registry import ChunkKind, Coding
from tests.strategies import assert_error, random_codes
from tests.test_parts import GRID, PARTS, header_of


def lone_files(header: Header, coding: Coding = Coding.RANS, n_passes: int = 1) -> list[bytes]:
    """A file of each part; tensors that are not latents are the same in all."""
    parts = header.parts
    assert parts is not None
    made = []
    for part in range(parts.count):
        own = replace(header.of_part(part), n_passes=n_passes)
        chunks, states = [], None
        for index in range(n_passes):
            equal, rng = np.random.default_rng(index), np.random.default_rng(100 * part + index)
            tensors = own.tensors
            codes = [
                code
                for chosen, source in (
                    ([t for t in tensors if t.ordinal < LEVEL_ORDINAL], equal),
                    ([t for t in tensors if t.ordinal >= LEVEL_ORDINAL], rng),
                )
                for code in random_codes(chosen, source, 3.0, index, None)
                if not index or code.refine_bits
            ]
            payload, states = pack(codes, own, coding=coding, index=index, before=states)
            chunks.append((ChunkKind.PASS, payload))
        made.append(container.build_file(build_head(own), chunks))
    return made


@pytest.mark.parametrize(("name", "shared"), [("mlp", False), ("pyramid", False), ("pyramid", True), ("grid", True)])
@pytest.mark.parametrize("coding", [Coding.RANS, Coding.PACKED])
@pytest.mark.parametrize("n_passes", [1, 2])
def test_parts_come_out_as_they_went_in(name: str, shared: bool, coding: Coding, n_passes: int) -> None:
    parts = replace(PARTS, shared=shared)
    files = lone_files(header_of(name, parts), coding, n_passes)
    whole = join(files, parts)
    field = sinrfmt.loads(whole)
    for part, data in enumerate(files):
        alone = sinrfmt.loads(data)
        assert np.array_equal(field.part(part).grid(), alone.grid())
        again = sinrfmt.loads(extract(whole, part))
        assert again.weights_sha256 == alone.weights_sha256
        assert again.header.network == alone.header.network
    if shared:
        assert len(whole) < len(join(files, PARTS))


def test_bodies_are_not_touched_where_nothing_is_shared() -> None:
    files = lone_files(header_of("mlp"))
    whole = join(files, PARTS)
    assert all(data[-30:-4] in whole for data in files)
    assert extract(whole, 4)[-30:-4] == files[4][-30:-4]


def test_files_of_another_network_or_place_are_refused() -> None:
    files = lone_files(header_of("mlp"))
    assert_error("USAGE", None, join, files[:-1], PARTS)
    assert_error("USAGE", None, join, [*files[:-1], files[0]], PARTS)
    other = lone_files(header_of("grid"))
    assert_error("USAGE", None, join, [*files[:-1], other[-1]], PARTS)


def test_what_is_shared_must_be_equal() -> None:
    parts = replace(PARTS, shared=True)
    files = lone_files(header_of("pyramid", parts))
    own = header_of("pyramid", parts).of_part(5)
    payload, _ = pack(random_codes(own.tensors, np.random.default_rng(9), 3.0, 0, None), own)
    files[5] = container.build_file(build_head(own), [(ChunkKind.PASS, payload)])
    assert_error("USAGE", None, join, files, parts)


def test_a_damaged_file_is_named() -> None:
    files = lone_files(header_of("mlp"))
    files[2] = files[2][:-1]
    with pytest.raises(sinrfmt.SinrError, match="TRUNCATED"):
        join(files, PARTS)


def test_there_must_be_such_a_part() -> None:
    files = lone_files(header_of("mlp"))
    assert_error("USAGE", None, extract, files[0], 0)
    assert_error("USAGE", None, extract, join(files, PARTS), 6)
    assert_error("USAGE", None, sinrfmt.loads(files[0]).part, 0)
    with pytest.raises(sinrfmt.SinrError):
        join(files, Parts(GRID, (3, 2), (0, 0)))
