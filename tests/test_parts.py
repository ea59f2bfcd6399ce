"""Clause 13.1: fields in parts, and what their values are where parts meet."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

import sinrfmt
from sinrfmt import container, edit, report, stream
from sinrfmt.head import Header, build_head, lowest_level, parse_head
from sinrfmt.network import GridEncoding, LayerRecord, Network, PyramidEncoding
from sinrfmt.parts import SHARED_PART, Axis, Parts, grid_positions
from sinrfmt.passes import apply_chunk
from sinrfmt.payload import States, TensorCode, pack, uncoded
from sinrfmt.registry import LEVELS, ChunkKind, Coding, ContextId, Feature, Modality, RecordKind
from sinrfmt.stream import PartComplete, PassComplete
from sinrfmt.weights import weights_sha256
from tests.strategies import assert_error, assert_fault, random_codes

RELU, LINEAR = RecordKind.RELU, RecordKind.LINEAR
GRID = (23, 30)
CHAIN = (LayerRecord(RecordKind.SINE, 5, omega=4.0), LayerRecord(LINEAR, 3))
PYRAMID = PyramidEncoding(GRID, 3, context=ContextId.INTERLACED, context_width=4)
HASHED = GridEncoding(((3, 4), (5, 5)), latent_dim=2, feature_dim=2, append_input=True)
NETWORKS = {
    "mlp": Network(2, 3, CHAIN),
    "pyramid": Network(2, 3, (LayerRecord(RELU, 4), LayerRecord(LINEAR, 3)), PYRAMID),
    "filters": Network(2, 2, (LayerRecord(LINEAR, 2), LayerRecord(RecordKind.CONV, 2)), PYRAMID),
    "grid": Network(2, 1, (LayerRecord(RELU, 4), LayerRecord(LINEAR, 1)), HASHED),
}
PARTS = Parts(GRID, (2, 3), (3, 2))


def header_of(name: str = "mlp", parts: Parts = PARTS, **options: object) -> Header:
    level = lowest_level(NETWORKS[name], GRID, parts)
    return Header(NETWORKS[name], Modality.IMAGE, GRID, parts=parts, level=level, **options)  # type: ignore[arg-type]


def written(header: Header, coding: Coding = Coding.RANS, seed: int = 3) -> tuple[bytes, list[list[States]]]:
    """A file with random numbers, and by pass the tensors of each chunk, without the shared ones."""
    parts, rng = header.parts, np.random.default_rng(seed)
    assert parts is not None
    chunks, after = [], []
    before: list[States] = [uncoded(header.of_chunk(parts.chunk(k))) for k in range(parts.chunks_per_pass)]
    for index in range(header.n_passes):
        done: list[States] = []
        for position in range(parts.chunks_per_pass):
            own = header.of_chunk(parts.chunk(position))
            shared = done[0] if parts.shared and position else ()
            codes = [c for c in random_codes(own.tensors, rng, 3.0, index, None) if not index or c.refine_bits]
            payload, states = pack(codes, own, coding=coding, index=index, before=(*shared, *before[position]))
            chunks.append((ChunkKind.PASS, payload))
            done.append(states[len(shared) :])
        before = done
        after.append(done)
    return container.build_file(build_head(header), chunks), after


CASES = [("mlp", False), ("pyramid", False), ("pyramid", True), ("filters", True), ("grid", False), ("grid", True)]


@pytest.mark.parametrize(("name", "shared"), CASES)
@pytest.mark.parametrize("coding", [Coding.RANS, Coding.PACKED])
def test_integers_of_all_parts_come_back(name: str, shared: bool, coding: Coding) -> None:
    header = header_of(name, replace(PARTS, shared=shared))
    data, after = written(header, coding)
    field = sinrfmt.loads(data)
    expected = [state for states in after[-1] for state in states]
    assert [s.acc.tolist() for s in field.states] == [s.acc.tolist() for s in expected]
    assert field.weights_sha256 == weights_sha256(s.weights() for s in expected).hex()
    assert len(field.acc_crc) == PARTS.count + shared
    assert field.header == header
    assert parse_head(build_head(header)) == header
    assert report.describe(field)["parts"]["count"] == 6


def blended(field: sinrfmt.Field, positions: np.ndarray) -> np.ndarray:
    """Values at scattered positions as the text says them, part by part."""
    parts = field.header.parts
    assert parts is not None
    total = np.zeros((len(positions), field.header.network.out_channels))
    for number in range(parts.count):
        weight = np.ones(len(positions))
        coords = []
        for axis, k, p in zip(parts.axes, parts.places(number), positions.T, strict=True):
            edges = [axis.edge(i) for i in range(axis.n_parts)]
            u = [
                np.ones(len(p)) if i == 0
                else np.zeros(len(p)) if i == axis.n_parts
                else np.clip((p + 0.5 - (edges[i] - axis.overlap)) / (2 * axis.overlap), 0, 1) if axis.overlap
                else (p + 0.5 >= edges[i]).astype(float)
                for i in (k, k + 1)
            ]  # fmt: skip
            weight *= u[0] * (1 - u[1])
            start, stop = axis.lattice(k)
            coords.append((2 * (p - start) + 1) / (stop - start) - 1)
        values = field.part(number).sample(np.stack(coords, axis=1).astype(np.float32))
        total += np.where(weight[:, None] > 0, weight[:, None] * values, 0)
    return total


@pytest.mark.parametrize(("name", "shared"), CASES)
@pytest.mark.parametrize("overlap", [(3, 2), (0, 0), (5, 0)])
def test_values_are_the_weighted_sum_over_parts(name: str, shared: bool, overlap: tuple[int, int]) -> None:
    field = sinrfmt.loads(written(header_of(name, replace(PARTS, shared=shared, overlap=overlap)))[0])
    for size in (GRID, (11, 40)):
        axes = [grid_positions(n, m) for n, m in zip(GRID, size, strict=True)]
        positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        expected = blended(field, positions).reshape(*size, -1)
        scale = np.abs(expected).max()
        assert np.allclose(field.grid(size), expected, atol=2e-5 * scale)
        assert np.array_equal(field.region([(3, 9), (5, 31 if size[1] > 31 else 30)], size),
                              field.grid(size)[3:9, 5:31 if size[1] > 31 else 30])  # fmt: skip
    points = np.random.default_rng(1).uniform(-1.2, 1.2, (50, 2)).astype(np.float32)
    at = ((points.astype(np.float64) + 1) * np.array(GRID) - 1) / 2
    assert np.allclose(field.sample(points), blended(field, at), atol=1e-4 * scale)


def test_a_part_alone_has_the_values_of_its_lattice_where_it_is_alone() -> None:
    field = sinrfmt.loads(written(header_of("pyramid"))[0])
    (top, bottom), (left, right) = PARTS.lattice(0)
    own = field.part(0).grid()
    assert own.shape == (bottom - top, right - left, 3)
    assert np.array_equal(field.grid()[: bottom - 6, : right - 4], own[: bottom - 6, : right - 4])


def test_levels_of_parts_may_come_in_passes() -> None:
    header = header_of("pyramid", replace(PARTS, shared=True), n_passes=2)
    parts, rng = header.parts, np.random.default_rng(0)
    assert parts is not None
    chunks = []
    known: dict[int, States] = {}
    for index in range(2):
        for position in range(parts.chunks_per_pass):
            part = parts.chunk(position)
            own = header.of_chunk(part)
            before = known.get(part, uncoded(own))
            shared = known[SHARED_PART] if part != SHARED_PART else ()
            tensors = own.tensors[2 * index : 2 + index] if part != SHARED_PART else own.tensors * (not index)
            codes = [TensorCode(tensor, rng.integers(-3, 4, tensor.size).astype(np.int32), 784) for tensor in tensors]
            payload, states = pack(codes, own, index=index, before=(*shared, *before))
            known[part] = states[len(shared) :]
            chunks.append((ChunkKind.PASS, payload))
    data = container.build_file(build_head(header), chunks)
    events = list(stream.events([data[:100], data[100:]]))
    seen = [(e.index, e.part) for e in events if isinstance(e, PartComplete)]
    assert seen == [(index, parts.chunk(k)) for index in range(2) for k in range(7)]
    assert [e.index for e in events if isinstance(e, PassComplete)] == [0, 1]
    first, whole = sinrfmt.loads(data, passes=1), sinrfmt.loads(data)
    assert [len(f.acc_crc) for f in (first, whole)] == [7, 14]
    assert not np.array_equal(first.grid(), whole.grid())


def test_a_cut_file_has_only_whole_passes() -> None:
    data, _ = written(header_of("mlp"))
    assert_error("TRUNCATED", len(data) - 1, sinrfmt.loads, data[:-1])
    assert_error("TRUNCATED", len(data) - 60, sinrfmt.loads, data[:-60], partial=True)


def resealed(data: bytes, change: tuple[int, int, int]) -> bytes:
    """A byte of the payload of one PASS chunk changed."""
    position, at, value = change
    reader = container.ChunkReader()
    reader.feed(data)
    chunks = []
    while (chunk := reader.next_chunk(passes_complete=False)) is not None:
        chunks.append(chunk)
    payloads = [bytearray(c.payload) for c in chunks]
    payloads[1 + position][at] = value
    return container.build_file(bytes(payloads[0]), [(ChunkKind.PASS, bytes(p)) for p in payloads[1:]])


@pytest.mark.parametrize(("change", "at"), [((0, 0, 9), 0), ((5, 0, 1), 0), ((2, 1, 1), 1), ((3, 6, 2), 6)])
def test_chunks_of_a_pass_stand_in_order(change: tuple[int, int, int], at: int) -> None:
    data = written(header_of("mlp"))[0]
    with pytest.raises(sinrfmt.SinrError, match="PASS_ORDER"):
        sinrfmt.loads(resealed(data, change))


@pytest.mark.parametrize(
    ("parts", "name", "error"),
    [
        (Parts(GRID, (1, 1), (0, 0)), "mlp", "BAD_DIMENSIONS"),
        (Parts(GRID, (24, 1), (0, 0)), "mlp", "BAD_DIMENSIONS"),
        (Parts(GRID, (2, 3), (6, 0)), "mlp", "BAD_DIMENSIONS"),
        (Parts(GRID, (2, 1), (0, 1)), "mlp", "BAD_DIMENSIONS"),
        (Parts(GRID, (2, 3), (0, 0), shared=True), "mlp", "BAD_RECORD"),
    ],
)
def test_parts_that_cannot_be(parts: Parts, name: str, error: str) -> None:
    with pytest.raises(Exception, match=error):
        build_head(replace(header_of(name), parts=parts))


def test_levels_bound_the_number_of_parts() -> None:
    parts = Parts(GRID, (13, 5), (0, 0))
    assert lowest_level(NETWORKS["mlp"], GRID, parts).id == 2
    header = replace(header_of(), parts=parts, level=LEVELS[1])
    assert_fault("LIMIT_PARTS", len(build_head(replace(header, level=LEVELS[2]))) - 9, build_head, header)


def test_parameters_are_those_of_all_parts() -> None:
    header = header_of("pyramid", replace(PARTS, shared=True))
    found = sinrfmt.loads(written(header)[0]).states
    assert header.n_parameters == sum(state.tensor.size for state in found)
    big = replace(header, parts=Parts((4096, 4096), (256, 255), (0, 3)), grid=(4096, 4096))
    big = replace(big, network=replace(big.network, input_encoding=replace(PYRAMID, grid=(4096, 4096))))
    assert big.n_parameters > 4096 * 4096


def test_parts_tile_an_axis() -> None:
    axis = Axis(23, 4, 2)
    assert [axis.edge(k) for k in range(5)] == [0, 5, 11, 17, 23]
    assert [axis.lattice(k) for k in range(4)] == [(0, 7), (3, 13), (9, 19), (15, 23)]
    assert sum(axis.sizes().values()) == 4


def test_the_feature_is_set() -> None:
    payload = build_head(header_of())
    assert payload[2] == 1 << Feature.PARTS
    assert payload[-9:] == bytes([2, 0, 3, 0, 3, 0, 2, 0, 0])
    assert zlib.crc32(payload) != 0


def test_one_part_decodes_without_the_others() -> None:
    header = header_of("pyramid", replace(PARTS, shared=True))
    data, after = written(header)
    reader = container.ChunkReader()
    reader.feed(data)
    chunks = []
    while (chunk := reader.next_chunk(passes_complete=False)) is not None:
        chunks.append(chunk)
    shared_chunk, third = chunks[1], chunks[1 + 1 + 2]
    shared, _ = apply_chunk(
        shared_chunk.payload, container.parse_pass_header(shared_chunk, header), header, None, (), 0
    )
    own, _ = apply_chunk(third.payload, container.parse_pass_header(third, header), header, None, shared, 0)
    assert [s.acc.tolist() for s in own] == [s.acc.tolist() for s in after[0][3]]


def test_passes_of_parts_are_cut_and_indexed() -> None:
    data = written(header_of("mlp", n_passes=3))[0]
    for n in (1, 2):
        short = sinrfmt.loads(edit.cut(data, n))
        assert short.weights_sha256 == sinrfmt.loads(data, passes=n).weights_sha256
    assert sinrfmt.loads(edit.reindex(data)).weights_sha256 == sinrfmt.loads(data).weights_sha256
