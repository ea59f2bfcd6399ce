"""Clauses 12.1 and 13.1: a region read from the chunks that it needs."""

import io
from dataclasses import replace

import numpy as np
import pytest

import sinrfmt
from sinrfmt import container, region
from sinrfmt.ancillary import build_meta
from sinrfmt.edit import reindex
from sinrfmt.head import Header, build_head, lowest_level
from sinrfmt.network import Network
from sinrfmt.parts import Parts
from sinrfmt.payload import TensorCode, pack
from sinrfmt.region import FileSource, part_of, read_region
from sinrfmt.registry import ChunkKind, Modality
from tests.strategies import assert_error
from tests.test_parts import CASES, CHAIN, GRID, PARTS, header_of, written

RANGES = [(2, 8), (17, 29)]


def source_of(data: bytes) -> FileSource:
    return FileSource(io.BytesIO(data))


def mosaic(n: int, width: int = 40, *, with_meta: bool = False) -> bytes:
    """A picture of n x n parts with one MLP each; META may stand in their middle."""
    parts = Parts((n * 8, n * 8), (n, n), (2, 2))
    network = Network(2, 3, (replace(CHAIN[0], width=width), CHAIN[1]))
    header = Header(network, Modality.IMAGE, parts.grid, parts=parts, level=lowest_level(network, parts.grid, parts))
    rng = np.random.default_rng(0)
    chunks = []
    for part in range(parts.count):
        own = header.of_chunk(part)
        codes = [TensorCode(t, rng.integers(-99, 99, t.size).astype(np.int32), 740) for t in own.tensors]
        chunks.append((ChunkKind.PASS, pack(codes, own)[0]))
    if with_meta:
        chunks.insert(parts.count // 2, (ChunkKind.META, build_meta({"title": "mosaic"})))
    return container.build_file(build_head(header), chunks)


@pytest.mark.parametrize(("name", "shared"), CASES)
@pytest.mark.parametrize("indexed", [False, True])
def test_a_region_is_that_of_the_whole_field(name: str, shared: bool, indexed: bool) -> None:
    data = written(header_of(name, replace(PARTS, shared=shared), n_passes=2 if name == "mlp" else 1))[0]
    data = reindex(data) if indexed else data
    found = read_region(source_of(data), lambda _: RANGES)
    assert np.array_equal(found.values, sinrfmt.loads(data).grid()[2:8, 17:29])
    assert found.parts == (1, 2)


def test_passes_of_a_region() -> None:
    data = written(header_of("mlp", n_passes=3))[0]
    found = read_region(source_of(data), lambda _: RANGES, passes=2)
    assert np.array_equal(found.values, sinrfmt.loads(data, passes=2).region(RANGES))


@pytest.mark.parametrize("with_meta", [False, True])
def test_only_what_a_region_needs_is_fetched(with_meta: bool) -> None:
    """With META between the parts the index takes a directory."""
    n = 16
    data = reindex(mosaic(n, with_meta=with_meta))
    source = source_of(data)
    found = read_region(source, lambda _: [(64, 72), (64, 72)])
    assert len(found.parts) == 9
    index_bytes = 2 * n**2 + 100
    part_bytes = (len(data) - index_bytes) // n**2 + 60
    assert source.n_fetched <= region.FIRST_BYTES + index_bytes + 9 * part_bytes + 6 * region.GAP_BYTES
    assert source.n_requests <= 5


def test_an_index_longer_than_the_first_request_is_read_to_its_end() -> None:
    data = reindex(mosaic(34, 50))
    source = source_of(data)
    found = read_region(source, lambda _: [(203, 205), (203, 205)])
    assert np.array_equal(found.values, sinrfmt.loads(data).region([(203, 205), (203, 205)]))
    assert source.n_requests == 3
    assert source.n_fetched < len(data) // 10


def test_a_chunk_that_is_partly_known_is_not_asked_for_again() -> None:
    data = reindex(mosaic(4))
    source = source_of(data)
    found = read_region(source, lambda _: [(0, 32), (0, 32)])
    assert len(found.parts) == 16
    assert source.n_fetched == len(data)


def test_without_an_index_only_headers_are_read_beside() -> None:
    data = mosaic(16)
    source = source_of(data)
    read_region(source, lambda _: [(120, 128), (120, 128)])
    assert source.n_fetched < len(data) // 3


def test_damage_elsewhere_is_not_seen_and_damage_in_the_region_is() -> None:
    data = bytearray(written(header_of("mlp"))[0])
    data[-6] ^= 1  # of the last part
    assert read_region(source_of(bytes(data)), lambda _: [(0, 4), (0, 4)]).parts == (0,)
    assert_error(
        "CHUNK_CRC_MISMATCH", len(data) - 4, read_region, source_of(bytes(data)), lambda _: [(20, 23), (28, 30)]
    )


def test_an_index_that_lies_gives_an_error() -> None:
    data = bytearray(reindex(written(header_of("mlp"))[0]))
    field = sinrfmt.loads(bytes(data))
    at = data.find(b"\x83")
    length = int.from_bytes(data[at + 1 : at + 4], "little")
    payload = bytearray(data[at + 5 : at + 5 + length])
    payload[5] += 1  # the offset of the first chunk
    reader = container.ChunkReader()
    reader.feed(bytes(data))
    chunks = []
    while (chunk := reader.next_chunk(passes_complete=False)) is not None:
        chunks.append((chunk.kind, bytes(payload) if chunk.kind is ChunkKind.INDX else chunk.payload))
    lying = container.build_file(chunks[0][1], [(k, p) for k, p in chunks[1:] if k is not None])
    assert np.array_equal(sinrfmt.loads(lying).grid(), field.grid())
    with pytest.raises(sinrfmt.SinrError):
        read_region(source_of(lying), lambda _: RANGES)


def test_what_cannot_be_read_is_said() -> None:
    data = written(header_of("mlp"))[0]
    assert_error("USAGE", None, read_region, source_of(data), lambda _: [(0, 24), (0, 4)])
    assert_error("USAGE", None, read_region, source_of(data), lambda _: [(0, 4)])
    assert_error("USAGE", None, read_region, source_of(data), lambda _: RANGES, passes=2)
    assert_error("TRUNCATED", len(data) - 9, read_region, source_of(data[:-9]), lambda _: [(20, 23), (28, 30)])
    assert_error("TRUNCATED", 20, read_region, source_of(data[:20]), lambda _: RANGES)


def test_one_part_is_a_field() -> None:
    data = written(header_of("pyramid", replace(PARTS, shared=True)))[0]
    assert np.array_equal(part_of(source_of(data), 4).grid(), sinrfmt.loads(data).part(4).grid())
    assert_error("USAGE", None, part_of, source_of(data), 6)
    assert sinrfmt.loads(data).header.grid == GRID
