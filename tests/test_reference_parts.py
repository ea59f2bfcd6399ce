"""Clause 13.1 in the reference decoder: a native grid that is cut into parts."""

import json
import math
import struct
import tracemalloc
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_decoder.__main__ as command
from reference_decoder import DecodeError, Field, decode
from reference_decoder import field as field_module
from reference_decoder.container import Payload
from reference_decoder.head import LATENTS, Head, Tensor, read_head
from tests.reference_writer import (
    GRID,
    HASH,
    HEAD,
    INDX,
    PARTS,
    PASS,
    SHARED_BASE,
    WIDE,
    WIDTHS,
    HeadFields,
    bits,
    build,
    chunk_offsets,
    grid_record,
    int32_crc,
    last,
    layer,
    pass_payload,
    pyramid,
)
from tests.test_reference_base import digest

SHORT = 80  # the short form of step code 760, 1/32
WIDTH = 9  # bits of a value
SHARED = 65535
SPLIT_AT = len(HeadFields().payload())  # offset of split after the default records
Lists = list[list[int]]


def head_of(**fields: Any) -> HeadFields:
    """A picture of 5 x 7 pixels in 2 x 3 parts."""
    return HeadFields(**{"features": PARTS, "grid": (5, 7), "split": (2, 3), "overlap": (1, 1), **fields})


def pyramid_head(shared: int = 1, context: int = 0, **fields: Any) -> HeadFields:
    records = (pyramid(2, context=context, flags=1), layer(3), last())
    return head_of(**{"features": PARTS | GRID, "records": records, "shared": shared, **fields})


def grid_head(shared: int = 1) -> HeadFields:
    record = bytearray(grid_record([2, 3, 4, 4]))
    record[1] = 1
    return head_of(features=PARTS | GRID, records=(bytes(record), layer(3), last()), shared=shared)


def read(fields: HeadFields) -> Head:
    payload = fields.payload()
    return read_head(Payload(memoryview(payload), 0, len(payload)))


def failure(data: HeadFields | bytes, **options: Any) -> tuple[str, int | None]:
    with pytest.raises(DecodeError) as caught:
        read(data) if isinstance(data, HeadFields) else decode(data, **options)
    return caught.value.name, caught.value.offset


def lattice(n: int, s: int, overlap: int, k: int) -> tuple[int, int]:
    """First sample and samples of a part on an axis."""
    low, high = max(k * n // s - overlap, 0), min((k + 1) * n // s + overlap, n)
    return low, high - low


def alone(fields: HeadFields, part: int) -> HeadFields:
    """HEAD of a file that holds a part alone."""
    index = np.unravel_index(part, fields.split)
    grid = tuple(lattice(*axis)[1] for axis in zip(fields.grid, fields.split, fields.overlap, index, strict=True))
    return replace(fields, features=fields.features & ~PARTS, grid=grid, split=(), overlap=(), shared=0)


def groups(fields: HeadFields) -> list[tuple[int, list[Tensor]]]:
    """The field `part` and the tensors of each chunk of a pass."""
    whole = [read(alone(fields, part)).tensors for part in range(math.prod(fields.split))]
    if not fields.shared:
        return list(enumerate(whole))
    latents = [[t for t in tensors if t.role == LATENTS] for tensors in whole]
    return [(SHARED, [t for t in whole[0] if t.role != LATENTS]), *enumerate(latents)]


def entry(tensor: Tensor) -> list[tuple[int, int]]:
    step = [(1, 1)] if tensor.role == LATENTS else [(0, 1), (SHORT, 7)]
    return [*step, (WIDTH - 1, 5)]


def first_chunk(tensors: list[Tensor], acc: Lists, **fields: Any) -> tuple[int, bytes]:
    """A chunk of coding 0 in which tensors begin."""
    values = [v for found in acc for v in found]
    table = bits(*[field for tensor in tensors for field in entry(tensor)])
    return PASS, pass_payload(table, bits(*[(v, WIDTH) for v in values]), int32_crc(values), **fields)


def later_chunk(tensors: list[Tensor], **fields: Any) -> tuple[int, bytes]:
    """A chunk that changes nothing."""
    n = sum(tensor.role != LATENTS for tensor in tensors)
    return PASS, pass_payload(bits((0, n)), b"", 0, **fields)


def made(fields: HeadFields, seed: int = 1) -> tuple[list[tuple[int, bytes]], list[Lists]]:
    """The chunks of pass 0, and the acc of each."""
    rng = np.random.default_rng(seed)
    found, accs = [], []
    for part, tensors in groups(fields):
        accs.append([rng.integers(-40, 40, tensor.size).tolist() for tensor in tensors])
        is_last = part == math.prod(fields.split) - 1
        found.append(first_chunk(tensors, accs[-1], part=part, flags=8 * is_last))
    return found, accs


def whole(fields: HeadFields) -> bytes:
    return build([(HEAD, fields.payload()), *made(fields)[0]])


def parts_alone(fields: HeadFields) -> list[Field]:
    """The fields of the files that hold each part alone."""
    _, accs = made(fields)
    found = []
    for part in range(math.prod(fields.split)):
        one = alone(fields, part)
        acc = (accs[0] if fields.shared else []) + accs[part + fields.shared]
        found.append(decode(build([(HEAD, one.payload()), first_chunk(read(one).tensors, acc)])))
    return found


def u(n: int, s: int, overlap: int, k: int, p: float) -> float:
    if k in (0, s):
        return float(k == 0)
    if overlap == 0:
        return float(p + 0.5 >= k * n // s)
    return min(max((p + 0.5 - (k * n // s - overlap)) / (2 * overlap), 0.0), 1.0)


def blended(fields: HeadFields, position: list[float], parts: list[Field]) -> np.ndarray:
    """The field at a position, part by part."""
    total, weights = np.zeros(fields.out_channels), 0.0
    axes = list(zip(fields.grid, fields.split, fields.overlap, strict=True))
    for part, index in enumerate(product(*map(range, fields.split))):
        weight = 1.0
        for axis, k, p in zip(axes, index, position, strict=True):
            weight *= u(*axis, k, p) * (1 - u(*axis, k + 1, p))
        if weight == 0:
            continue
        lattices = [lattice(*axis, k) for axis, k in zip(axes, index, strict=True)]
        x = [(2 * (p - a) + 1) / m - 1 for (a, m), p in zip(lattices, position, strict=True)]
        total += weight * parts[part].sample([x])[0].astype(np.float64)
        weights += weight
    assert weights == pytest.approx(1)
    return total


HEADS = {
    "layers": head_of(),
    "no-overlap": head_of(overlap=(0, 0)),
    "edges": head_of(grid=(4, 8), split=(2, 2), overlap=(0, 0)),
    "one-axis": head_of(split=(1, 3), overlap=(0, 1)),
    "audio": head_of(in_dims=1, grid=(9,), split=(4,), overlap=(1,), out_channels=3),
    "volume": head_of(in_dims=3, grid=(4, 5, 6), split=(2, 1, 3), overlap=(1, 0, 1)),
    "pyramid": pyramid_head(0),
    "shared-pyramid": pyramid_head(),
    "grid": grid_head(0),
    "shared-grid": grid_head(),
}


@pytest.mark.parametrize("fields", HEADS.values(), ids=HEADS)
def test_field_is_the_weighted_sum_of_the_parts(fields: HeadFields) -> None:
    parts, field = parts_alone(fields), decode(whole(fields))
    size = tuple(n + 4 for n in fields.grid)
    for shape in (fields.grid, size, (1,) * len(size)):
        found = field.grid(shape)
        for i in product(*map(range, shape)):
            p = [((2 * j + 1) * N / n - 1) / 2 for j, n, N in zip(i, shape, fields.grid, strict=True)]
            assert found[i] == pytest.approx(blended(fields, p, parts), abs=2e-4)
    x = np.random.default_rng(3).uniform(-1.2, 1.2, (60, fields.in_dims)).astype(np.float32)
    x[0] = 0
    for point, value in zip(x.tolist(), field.sample(x), strict=True):
        p = [((c + 1) * N - 1) / 2 for c, N in zip(point, fields.grid, strict=True)]
        assert value == pytest.approx(blended(fields, p, parts), abs=2e-4)


@pytest.mark.parametrize("fields", HEADS.values(), ids=HEADS)
def test_samples_of_one_part_are_those_of_the_file_that_holds_it_alone(fields: HeadFields) -> None:
    found = decode(whole(fields)).grid()
    for index, part in zip(product(*map(range, fields.split)), parts_alone(fields), strict=True):
        axes = list(zip(fields.grid, fields.split, fields.overlap, index, strict=True))
        inner, own = [], []
        for n, s, overlap, k in axes:
            low = k * n // s + (overlap if k else 0)
            high = (k + 1) * n // s - (overlap if k < s - 1 else 0)
            inner.append(slice(low, high))
            own.append(slice(low - lattice(n, s, overlap, k)[0], high - lattice(n, s, overlap, k)[0]))
        assert np.allclose(found[tuple(inner)], part.grid()[tuple(own)], rtol=1e-5, atol=1e-5)


def test_digest_is_of_the_shared_tensors_then_of_the_parts() -> None:
    fields = pyramid_head()
    _, accs = made(fields)
    found = [w.reshape(-1).tolist() for w in decode(whole(fields)).weights]
    steps = [1 / 32] * len(accs[0]) + [1.0] * (len(found) - len(accs[0]))
    expected = [[v * step for v in acc] for acc, step in zip([a for group in accs for a in group], steps, strict=True)]
    assert found == expected


def test_not_a_number_and_infinities() -> None:
    field = decode(whole(head_of(overlap=(0, 0))))
    x = np.array([[np.nan, 0.3], [2 * 0.5 / 5 - 1, 0.3]], np.float32)
    found = field.sample(x)
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert not np.isfinite(field.sample([[np.inf, 0.0], [-np.inf, 0.0]])).all()


@pytest.mark.parametrize("fields", [head_of(), pyramid_head()], ids=["layers", "pyramid"])
def test_values_do_not_depend_on_the_blocks(fields: HeadFields, monkeypatch: pytest.MonkeyPatch) -> None:
    field = decode(whole(fields))
    x = np.random.default_rng(4).uniform(-1.2, 1.2, (40, 2)).astype(np.float32)
    samples, grid = field.sample(x), field.grid((6, 9))
    monkeypatch.setattr(field_module, "BLOCK_SAMPLES", 1)
    assert np.allclose(field.sample(x), samples, rtol=1e-4, atol=1e-5)
    assert np.allclose(field.grid((6, 9)), grid, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(field_module, "BLOCK_VALUES", 12)
    assert np.allclose(field.sample(x), samples, rtol=1e-4, atol=1e-5)


def test_no_points() -> None:
    assert decode(whole(head_of())).sample(np.zeros((0, 2))).shape == (0, 1)


# --- passes --------------------------------------------------------------------------------------------------------


def two_passes(fields: HeadFields) -> tuple[list[tuple[int, bytes]], list[list[Tensor]]]:
    """The chunks of two passes, of which the second refines the first tensor of the first part that has weights."""
    fields.n_passes = 2
    chunks, accs = made(fields)
    tensors = groups(fields)
    for group, (part, found) in enumerate(tensors):
        flags = 8 * (part == math.prod(fields.split) - 1)
        if group:
            chunks.append(later_chunk(found, number=1, part=part, flags=flags))
            continue
        acc = [2 * v + 1 for v in accs[0][0]]
        table = bits((1, 1), (0, 3), (WIDTH - 1, 5), (0, len(found) - 1))
        payload = pass_payload(table, bits(*[(1, WIDTH)] * len(acc)), int32_crc(acc), number=1, part=part, flags=flags)
        chunks.append((PASS, payload))
    return chunks, [found for _, found in tensors]


@pytest.mark.parametrize("fields", [head_of(), pyramid_head()], ids=["layers", "shared"])
def test_later_pass_and_passes(fields: HeadFields) -> None:
    chunks, tensors = two_passes(fields)
    data = build([(HEAD, fields.payload()), *chunks])
    first, second = decode(data, passes=1), decode(data)
    assert (first.passes, second.passes) == (1, 2)
    assert (len(first.acc_crc), len(second.acc_crc)) == (len(tensors), 2 * len(tensors))
    assert second.weights_sha256 != first.weights_sha256
    assert np.array_equal(second.weights[0], first.weights[0] + np.float32(1 / 64))
    assert all(np.array_equal(a, b) for a, b in zip(first.weights[1:], second.weights[1:], strict=True))
    cut = data[: chunk_offsets(data)[1 + len(tensors)]]
    assert decode(cut, passes=1).weights_sha256 == first.weights_sha256


@pytest.mark.parametrize("fields", [head_of(), pyramid_head()], ids=["layers", "shared"])
def test_parts_of_a_pass_that_is_not_whole_are_not_used(fields: HeadFields) -> None:
    chunks, tensors = two_passes(fields)
    data = build([(HEAD, fields.payload()), *chunks])
    first = decode(data, passes=1)
    offsets = chunk_offsets(data)
    for n in range(len(tensors)):
        cut = data[: offsets[1 + len(tensors) + n] + 3]
        found = decode(cut, partial=True)
        assert (found.weights_sha256, found.passes, found.acc_crc) == (first.weights_sha256, 1, first.acc_crc)
        assert np.array_equal(found.grid(), first.grid())
        assert failure(cut)[0] == "TRUNCATED"
        assert failure(data[: offsets[1 + n] + 3], partial=True)[0] == "TRUNCATED"


def test_damage_in_a_pass_that_is_not_whole_is_an_error() -> None:
    fields = head_of()
    chunks, _ = two_passes(fields)
    kind, payload = chunks[6]
    chunks[6] = kind, payload[:2] + bytes([payload[2] ^ 1]) + payload[3:]
    data = build([(HEAD, fields.payload()), *chunks])
    assert failure(data[: chunk_offsets(data)[9]], partial=True)[0] == "ACC_CRC_MISMATCH"


def test_hash_before_the_end_of_a_pass_is_checked() -> None:
    fields = head_of()
    chunks, _ = two_passes(fields)
    chunks.insert(8, (HASH, bytes(33)))
    data = build([(HEAD, fields.payload()), *chunks])
    offsets = chunk_offsets(data)
    assert failure(data[: offsets[10]], partial=True) == ("WEIGHTS_HASH_MISMATCH", offsets[9] + 5)
    assert decode(data, passes=1).passes == 1


def order_failure(fields: HeadFields, change: Any) -> tuple[str, int | None]:
    """The error of pass 0 after a change of its chunks, its offset from the payload of the chunk at fault."""
    chunks, _ = made(fields)
    found = change([payload for _, payload in chunks])
    data = build([(HEAD, fields.payload()), *[(PASS, payload) for payload in found]])
    name, at = failure(data)
    assert at is not None
    starts = [offset + 5 for offset in chunk_offsets(data)[1:-1]]
    number = max(i for i, start in enumerate(starts) if start <= at)
    return f"{name} {number}", at - starts[number]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: [c[1], c[0], *c[2:]], ("PASS_ORDER 0", 6)),
        (lambda c: [c[0], c[0], *c[2:]], ("PASS_ORDER 1", 6)),
        (lambda c: [c[0], *c[2:]], ("PASS_ORDER 1", 6)),
        (lambda c: [b"\x08" + c[0][1:], *c[1:]], ("PASS_ORDER 0", 0)),
        (lambda c: [*c[:-1], b"\x00" + c[-1][1:]], ("PASS_ORDER 6", 0)),
        (lambda c: [c[0], c[1][:1] + b"\x01" + c[1][2:], *c[2:]], ("PASS_ORDER 1", 1)),
        (lambda c: [c[0][:6] + b"\x00\x00" + c[0][8:], *c[1:]], ("PASS_ORDER 0", 6)),
        (lambda c: [c[0], c[1][:7]], ("PAYLOAD_TOO_SHORT 1", 7)),
    ],
)
def test_order_of_the_chunks_of_a_pass(change: Any, found: tuple[str, int]) -> None:
    assert order_failure(pyramid_head(), change) == found


def test_chunk_of_the_last_part_that_comes_too_soon() -> None:
    assert order_failure(head_of(), lambda c: [c[0], c[-1]]) == ("PASS_ORDER 1", 0)


def test_end_in_the_middle_of_a_pass_and_chunks_after_it() -> None:
    fields = head_of()
    chunks, _ = made(fields)
    data = build([(HEAD, fields.payload()), *chunks[:-1]])
    assert failure(data) == ("MISSING_PASS", chunk_offsets(data)[5])
    data = build([(HEAD, fields.payload()), *chunks, chunks[-1]])
    assert failure(data) == ("CHUNK_ORDER", chunk_offsets(data)[7])
    data = build([(HEAD, fields.payload()), chunks[0], (INDX, b""), *chunks[1:]])
    assert failure(data) == ("CHUNK_ORDER", chunk_offsets(data)[2])


def test_model_of_another_chunk_is_not_repeated() -> None:
    fields = head_of(records=(last(1, 0x21),), n_records=1, split=(1, 2), overlap=(0, 0))
    long_form = bits((0, 1), (SHORT, 7), (2, 2), (0, 40))  # R = 0: every symbol is 0
    same_form = bits((0, 1), (SHORT, 7), (3, 2))
    zeros = int32_crc([0, 0])

    def data(second: bytes) -> bytes:
        tables = [pass_payload(t, bytes(4), zeros, flags=1 | 8 * k, part=k) for k, t in enumerate((long_form, second))]
        return build([(HEAD, fields.payload()), *[(PASS, payload) for payload in tables]])

    assert decode(data(long_form)).passes == 1
    found = data(same_form)
    assert failure(found) == ("BAD_MODEL", chunk_offsets(found)[2] + 5 + 8 + 1)


def zero_parts(parts: int, records: tuple[bytes, ...], **fields: Any) -> bytes:
    """A file of one axis whose parts have no weight but 0, and no bias."""
    head = head_of(in_dims=1, grid=(parts,), split=(parts,), overlap=(0,), records=records, **fields)
    tensors = read(alone(head, 0)).tensors
    n = sum(tensor.size for tensor in tensors)
    chunks = []
    for part in range(parts):
        table = bits(*[field for _ in tensors for field in ((0, 1), (SHORT, 7), (0, 5))])
        body = bits((0, n))
        payload = pass_payload(table, body, int32_crc([0] * n), part=part, flags=8 * (part == parts - 1))
        chunks.append((PASS, payload))
    return build([(HEAD, head.payload()), *chunks])


def test_symbols_of_a_chunk_are_those_of_its_tensors() -> None:
    """400 chunks with 298 parameters each: if each counted those of all, there would be more than the level allows."""
    assert 400 * 400 * 298 > 16777216
    assert decode(zero_parts(400, (layer(3, 1, 99), last()), profile_level=0x12)).passes == 1


def test_context_tensors_are_shared() -> None:
    """With zeros for all context tensors every latent has the model of mean 0 and scale 1."""
    fields = pyramid_head(context=1)
    (part, shared), *latents = groups(fields)
    table = bits(*[f for t in shared for f in ([(0, 4), (0, 2)] if t.role == 1 else [(0, 1), (SHORT, 7), (0, 2)])])
    n = sum(t.size for t in shared)
    chunks = [(PASS, pass_payload(table, bytes(4), int32_crc([0] * n), flags=1, part=part))]
    for number, found in latents:
        table = bits(*[(1, 1), (0, 3)] * len(found))
        flags = 1 | 8 * (number == 5)
        zeros = int32_crc([0] * sum(t.size for t in found))
        chunks.append((PASS, pass_payload(table, bytes(4), zeros, flags=flags, part=number)))
    plain = decode(build([(HEAD, fields.payload()), *chunks]))
    assert all(not w.any() for w in plain.weights)
    number, found = latents[0]
    table = bits((1, 1), (0, 3), (1, 1), (5, 3))
    chunks[1] = PASS, pass_payload(table, struct.pack("<I", 1 << 20), 0, flags=1, part=number)
    # the context is there: the error is that of the stream or of the integers, not of the table
    assert failure(build([(HEAD, fields.payload()), *chunks]))[0] in ("BAD_STREAM", "ACC_CRC_MISMATCH")


def test_base_with_parts_is_refused() -> None:
    """Even where it is named by what one of its parts has."""
    fields = head_of()
    _, accs = made(fields)
    named = digest([[760]] * len(accs[0]), accs[0])
    head = HeadFields(features=SHARED_BASE, base_digest=named)
    data = build([(HEAD, head.payload()), (PASS, pass_payload(bits((0, 4)), b"", 0))])
    one = alone(fields, 0)
    assert decode(data, base=build([(HEAD, one.payload()), first_chunk(read(one).tensors, accs[0])])).passes == 1
    assert failure(data, base=whole(fields))[0] == "BASE_MISMATCH"


# --- HEAD ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "name", "offset"),
    [
        ({"features": PARTS | SHARED_BASE, "base_digest": bytes(16)}, "FEATURE_MISMATCH", 2),
        ({"features": PARTS | WIDTHS, "n_passes": 2, "active_width": (2,)}, "FEATURE_MISMATCH", 2),
        ({"grid": (0, 0)}, "BAD_DIMENSIONS", SPLIT_AT),
        ({"coords_values": 1}, "BAD_DIMENSIONS", SPLIT_AT),
        ({"coords_values": 3}, "BAD_DIMENSIONS", SPLIT_AT),
        ({"split": (0, 3)}, "BAD_DIMENSIONS", SPLIT_AT),
        ({"split": (2, 8), "overlap": (0, 0)}, "BAD_DIMENSIONS", SPLIT_AT),
        ({"split": (1, 1), "overlap": (0, 0)}, "BAD_DIMENSIONS", SPLIT_AT),
        ({"grid": (2, 40000), "split": (2, 32768), "overlap": (0, 0)}, "LIMIT_PARTS", SPLIT_AT),
        ({"grid": (5, 13), "split": (5, 13), "overlap": (0, 0)}, "LIMIT_PARTS", SPLIT_AT),
        ({"split": (5, 13), "grid": (5, 13), "overlap": (1, 0)}, "BAD_DIMENSIONS", SPLIT_AT + 4),
        ({"overlap": (1, 2)}, "BAD_DIMENSIONS", SPLIT_AT + 4),
        ({"overlap": (2, 1)}, "BAD_DIMENSIONS", SPLIT_AT + 4),
        ({"split": (1, 3)}, "BAD_DIMENSIONS", SPLIT_AT + 4),
        ({"shared": 2}, "RESERVED_NOT_ZERO", SPLIT_AT + 8),
        ({"shared": 1}, "BAD_RECORD", SPLIT_AT + 8),
        ({"tail": b"\0"}, "SURPLUS_BYTES", SPLIT_AT + 9),
        ({"split": (2,), "overlap": (1,)}, "PAYLOAD_TOO_SHORT", SPLIT_AT + 5),
    ],
)
def test_rules_of_head(fields: dict[str, Any], name: str, offset: int) -> None:
    assert failure(head_of(**fields)) == (name, offset)


def test_largest_overlap_and_most_parts_are_allowed() -> None:
    assert read(head_of(grid=(5, 12), overlap=(1, 2))).n_parts == 6
    fields = head_of(grid=(2, 32767), split=(2, 32767), overlap=(0, 0), records=(last(1, 0x21),), profile_level=0x15)
    assert read(fields).n_parts == 65534
    assert failure(replace(fields, grid=(1, 65535), split=(1, 65535))) == ("LIMIT_PARTS", 17)  # after one record
    fields = head_of(grid=(8, 8), split=(8, 8), overlap=(0, 0))
    assert read(fields).n_parts == 64


def test_parameters_are_those_of_all_parts() -> None:
    fields = head_of(records=(layer(3, 1, 682), last()))
    size = 2 * 682 + 682 + 682 + 1
    assert 6 * size <= 16384
    read(fields)
    assert failure(head_of(records=(layer(3, 1, 683), last())))[0] == "LIMIT_PARAMETERS"


def test_parameters_of_shared_tensors_are_counted_once() -> None:
    fields = pyramid_head(grid=(60, 70), records=(pyramid(2, flags=1), layer(3, 1, 700), last()))
    head = read(fields)
    assert int(head.group_ends[-1]) == sum(t.size for _, tensors in groups(fields) for t in tensors)
    assert failure(replace(fields, shared=0))[0] == "LIMIT_PARAMETERS"


def test_head_of_many_parts_is_read_without_a_tensor_for_each() -> None:
    records = (pyramid(16, axes=1, flags=1), layer(3, repeat=255), last())
    fields = head_of(
        features=PARTS | GRID | WIDE,
        in_dims=1,
        grid=(65534 * 4,),
        split=(65534,),
        overlap=(2,),
        records=records,
        profile_level=0x15,
    )
    tracemalloc.start()
    try:
        head = read(fields)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert head.n_parts == 65534
    assert peak < 8 << 20


def test_memory_of_many_small_parts_stays_below_the_bound() -> None:
    """No object is kept for each tensor of each part."""
    parts = 3000
    data = zero_parts(parts, (last(1, 0x21),), profile_level=0x13)
    tracemalloc.start()
    try:
        decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80 * parts + (1 << 18)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = pyramid_head()
    path, out = tmp_path / "in.sinr", tmp_path / "out.npy"
    path.write_bytes(whole(fields))
    assert command.main([str(path), str(out), "--size", "9x8"]) == 0
    answer = json.loads(capsys.readouterr().out)
    field = decode(path.read_bytes())
    assert (answer["passes"], len(answer["acc_crc"])) == (1, 7)
    assert answer["weights_sha256"] == field.weights_sha256
    assert np.array_equal(np.load(out), field.grid((8, 9)))
