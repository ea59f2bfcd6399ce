"""Clause 13.2 in the reference decoder: networks that grow from pass to pass."""

import hashlib
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from reference_decoder import DecodeError, decode
from reference_decoder.container import Payload
from reference_decoder.generator import signed_numbers
from reference_decoder.head import Head, read_head
from tests.reference_writer import (
    HEAD,
    PASS,
    SEEDED,
    SHARED_BASE,
    WIDTHS,
    HeadFields,
    bits,
    build,
    filter_,
    gabor,
    grid_record,
    input_,
    int32_crc,
    last,
    layer,
    output,
    pass_payload,
)
from tests.test_reference_base import digest

CODE, SHORT = 760, 80  # a step of 1/32, and its short form
WIDTH = 12  # bits of a value
ACTIVE_AT = len(HeadFields().payload())  # offset of active_width after the default records


def head_of(**fields: Any) -> HeadFields:
    """2 -> 3 (ReLU) -> 1, of which pass 0 has two units."""
    return HeadFields(**{"features": WIDTHS, "n_passes": 2, "active_width": (2,), **fields})


def read(fields: HeadFields) -> Head:
    payload = fields.payload()
    return read_head(Payload(memoryview(payload), 0, len(payload)))


def failure(fields: HeadFields) -> tuple[str, int | None]:
    with pytest.raises(DecodeError) as caught:
        read(fields)
    return caught.value.name, caught.value.offset


def blocks_of(fields: HeadFields) -> list[tuple[int, tuple[int, ...]]]:
    return [(tensor.ordinal, tensor.shape) for tensor in read(fields).tensors]


def packed(old: list[list[int] | None], new: list[list[int]], number: int) -> bytes:
    """A pass of coding 0: `old` are the values of the tensors before, None where they are not refined; `new` begin."""
    table: list[tuple[int, int]] = []
    for values in old:
        table += [(0, 1)] if values is None else [(1, 1), (0, 3), (WIDTH - 1, 5)]
    table += [field for _ in new for field in ((0, 1), (SHORT, 7), (WIDTH - 1, 5))]
    coded = [v for values in [*old, *new] for v in values or []]
    return pass_payload(bits(*table), bits(*[(v, WIDTH) for v in coded]), 0, number=number)


def flat(lists: list[list[int]]) -> list[int]:
    return [v for values in lists for v in values]


def with_crc(payload: bytes, acc: list[int]) -> bytes:
    return payload[:2] + struct.pack("<I", int32_crc(acc)) + payload[6:]


def grown(fields: HeadFields, *, seed: int = 1) -> tuple[bytes, list[list[int]]]:
    """A file whose passes code what begins in them, and the acc of its tensors in table order."""
    rng = np.random.default_rng(seed)
    tensors = read(fields).tensors
    acc = [rng.integers(-60, 60, tensor.size).tolist() for tensor in tensors]
    passes = []
    for number in range(fields.n_passes):
        new = [values for t, values in zip(tensors, acc, strict=True) if t.begins == number]
        old: list[list[int] | None] = [None for t in tensors if t.begins < number]
        passes.append((PASS, with_crc(packed(old, new, number), flat(new))))
    return build([(HEAD, fields.payload()), *passes]), acc


def dense(fields: HeadFields, acc: list[list[int]], passes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The whole matrices and biases after some passes, by the table of clause 13.2."""
    head = read(fields)
    found = [(np.zeros((step.rows, step.columns)), np.zeros(step.rows)) for step in head.layers]
    active = np.array(fields.active_width).reshape(fields.n_passes - 1, -1)
    c = [[0] * len(found), *np.repeat(active, [r.repeat for r in head.growing], axis=1).tolist()]
    for tensor, values in zip(head.tensors, acc, strict=True):
        g, index = tensor.ordinal >> 20, (tensor.ordinal & 0xFFFFF) // 2
        if g >= passes:
            continue
        is_last = index == len(found) - 1
        row, column = (0, c[g][-1]) if is_last else (c[g][index], 0)
        block = np.array(values).reshape(tensor.shape) / 32
        if tensor.ordinal & 1:
            found[index][1][row : row + len(block)] = block
        else:
            rows, columns = block.shape
            found[index][0][row : row + rows, column : column + columns] = block
    return found


THREE = head_of(
    n_passes=3, records=(layer(3, width=4), layer(5, width=5), last()), active_width=(1, 2, 3, 2), out_channels=2
)


def test_blocks_of_the_table() -> None:
    g = 1 << 20
    assert blocks_of(head_of()) == [
        (0, (2, 2)),
        (1, (2,)),
        (2, (1, 2)),
        (3, (1,)),
        (g, (1, 2)),
        (g + 1, (1,)),
        (g + 2, (1, 1)),
    ]
    assert blocks_of(THREE) == [
        (0, (1, 2)),
        (1, (1,)),
        (2, (2, 1)),
        (3, (2,)),
        (4, (2, 2)),
        (5, (2,)),
        (g, (2, 2)),
        (g + 1, (2,)),
        (2 * g, (1, 2)),
        (2 * g + 1, (1,)),
        (2 * g + 2, (3, 4)),
        (2 * g + 3, (3,)),
        (2 * g + 4, (2, 3)),
    ]


def test_repeat_has_as_many_units_in_each_layer() -> None:
    fields = head_of(records=(layer(3, 0x21, width=3, repeat=2), last(1, 0x21)))
    assert [shape for _, shape in blocks_of(fields)] == [(2, 2), (2, 2), (1, 2), (1, 2), (1, 3), (1, 1)]


def test_first_layer_has_the_outputs_of_the_encoding_as_inputs() -> None:
    fields = head_of(records=(bytes([33, 0, 4, 2]), layer(3), last()))
    assert blocks_of(fields)[0] == (0, (2, 16))


@pytest.mark.parametrize("fields", [head_of(), THREE, head_of(records=(layer(3, repeat=3), last(9, omega=b"\2")))])
def test_field_after_each_pass_is_that_of_the_units_that_are_there(fields: HeadFields) -> None:
    data, acc = grown(fields)
    x = np.random.default_rng(2).uniform(-1, 1, (50, 2)).astype(np.float32)
    kinds = [step.record.kind for step in read(fields).layers]
    act = {1: lambda t: t, 3: lambda t: np.maximum(t, 0), 5: np.tanh, 9: lambda t: np.sin(2 * (abs(t) + 1) * t)}
    for passes in range(1, fields.n_passes + 1):
        h = x.astype(np.float64)
        for kind, (matrix, bias) in zip(kinds, dense(fields, acc, passes), strict=True):
            h = act[kind](h @ matrix.T + bias)
        field = decode(data, passes=passes)
        assert np.allclose(field.sample(x), h, atol=1e-3 * abs(h).max())


def test_digest_is_of_the_blocks_that_have_begun() -> None:
    data, acc = grown(head_of())
    for passes, begun in ((1, acc[:4]), (2, acc)):
        weights = struct.pack(f"<{len(flat(begun))}f", *[v / 32 for v in flat(begun)])
        assert decode(data, passes=passes).weights_sha256 == hashlib.sha256(weights).hexdigest()


def test_equal_records_may_grow_differently() -> None:
    fields = head_of(n_passes=3, records=(layer(3), layer(3), last()), active_width=(1, 2, 3, 3))
    assert [step.after for step in read(fields).steps] == [3, 3, 1]
    fields.active_width = (1, 1, 3, 3)
    assert failure(fields) == ("BAD_RECORD", 15 + 5)


def test_block_is_refined_after_the_pass_in_which_it_begins() -> None:
    fields = head_of(n_passes=3, active_width=(2, 3))
    tensors = read(fields).tensors
    first = [[k + 1] * t.size for k, t in enumerate(tensors)]
    passes = [
        with_crc(packed([], first[:4], 0), flat(first[:4])),
        with_crc(packed([None] * 4, first[4:], 1), flat(first[4:])),
        with_crc(packed([None] * 4 + [[1, 0], None, None], [], 2), [11, 10]),
    ]
    field = decode(build([(HEAD, fields.payload()), *((PASS, payload) for payload in passes)]))
    assert field.weights[4].tolist() == [[11 / 32 / 2, 10 / 32 / 2]]
    assert field.weights[0].tolist() == [[1 / 32] * 2] * 2


def test_prior_of_a_block_has_its_ordinal() -> None:
    records = (layer(3, 0x29), last(1, 0x21))
    fields = head_of(features=WIDTHS | SEEDED, records=records, n_records=2)
    M, E = 128 << 8, 30
    entry = [(0, 1), (SHORT, 7), (1, 1), (0, 1), (0, 7), (E - 8, 5), (WIDTH - 1, 5)]
    plain = [(0, 1), (SHORT, 7), (WIDTH - 1, 5)]
    P = [
        [(int(U) * M + (1 << E - 1)) >> E for U in signed_numbers(0, n, ordinal, 1, fields.seed)]
        for n, ordinal in ((4, 0), (2, 1 << 20))
    ]
    assert P[1] != P[0][:2]
    data = build(
        [
            (HEAD, fields.payload()),
            (PASS, pass_payload(bits(*entry, *plain), bits((0, 6 * WIDTH)), int32_crc([*P[0], 0, 0]))),
            (PASS, pass_payload(bits((0, 2), *entry, *plain), bits((0, 3 * WIDTH)), int32_crc([*P[1], 0]), number=1)),
        ]
    )
    assert decode(data).weights[2].tolist() == [[v / 32 for v in P[1]]]


@pytest.mark.parametrize(
    "fields",
    [
        {"n_passes": 1, "active_width": ()},
        {"features": WIDTHS | SHARED_BASE, "base_digest": bytes(16)},
        {"records": (grid_record([2, 2]), layer(3), last())},
        {"records": (input_(0, 1), layer(3), last())},
        {"records": (layer(3), output(1), last()), "out_channels": 2},
        {"records": (layer(3), filter_(), last())},
        {"records": (gabor(3), last())},
        {"active_width": (3,)},
        {"n_passes": 3, "active_width": (3, 3)},
        {"active_width": (4,)},
        {"records": (last(),), "active_width": ()},
    ],
)
def test_wid_1(fields: dict[str, Any]) -> None:
    assert failure(head_of(**fields)) == ("FEATURE_MISMATCH", 2)


@pytest.mark.parametrize(("active", "entry"), [((0, 2), 0), ((2, 4), 1), ((2, 1), 1), ((4, 2), 0)])
def test_wid_2(active: tuple[int, ...], entry: int) -> None:
    assert failure(head_of(n_passes=3, active_width=active)) == ("BAD_RECORD", ACTIVE_AT + 2 * entry)


def test_order_of_the_rules() -> None:
    wide = head_of(records=(layer(3, width=5000), last()))
    assert failure(wide) == ("LIMIT_WIDTH", 14)
    wide.active_width = (0,)
    assert failure(wide)[0] == "BAD_RECORD"  # WID-2 before HED-8
    wide.active_width = (5000,)
    assert failure(wide)[0] == "FEATURE_MISMATCH"  # WID-1 before WID-2
    assert failure(head_of(active_width=(2, 2))) == ("SURPLUS_BYTES", ACTIVE_AT + 2)
    assert failure(head_of(active_width=())) == ("PAYLOAD_TOO_SHORT", ACTIVE_AT)


def test_parameters_are_those_of_the_blocks() -> None:
    """The whole matrix would have 4096 x 4096 weights; what is not in a block is not counted, and not made."""
    records = (layer(1, 0x21, 4096), layer(3, 0x21, 4096), last(1, 0x21))
    fields = head_of(in_dims=1, grid=(2,), n_passes=2, records=records, active_width=(1, 4096), profile_level=0x11)
    assert sum(tensor.size for tensor in read(fields).tensors) == 1 + 4096 + 4096 + 4095
    data, _ = grown(fields)
    tracemalloc.start()
    try:
        field = decode(data)
        assert tracemalloc.get_traced_memory()[1] < 16 * 16384 + 4 * len(data) + (4 << 20)
        assert field.grid().shape == (2, 1)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_symbols_count_all_blocks_in_every_pass() -> None:
    records = (layer(3, 0x21, 8000), layer(3, 0x21, 12), last(1, 0x21))
    fields = head_of(profile_level=0x12, records=records, active_width=(1, 1))
    size = sum(tensor.size for tensor in read(fields).tensors)
    fields.n_passes, fields.active_width = 255, (1, 1) * 254
    # each pass counts all blocks, those of the last one too, so the file has too many symbols before its end
    allowed = 16777216 // size
    table = bits(*[(0, 1), (SHORT, 7), (0, 5)] * 3)
    passes = [(PASS, pass_payload(table, bits((0, 4)), int32_crc([0] * 4)))]
    passes += [(PASS, pass_payload(bits((0, 3)), b"", 0, number=n)) for n in range(1, 254)]
    assert allowed < 254
    with pytest.raises(DecodeError) as caught:
        decode(build([(HEAD, fields.payload()), *passes]))
    assert caught.value.name == "LIMIT_SYMBOLS"
    decode(build([(HEAD, fields.payload()), *passes]), passes=allowed)


def test_base_with_widths_is_refused() -> None:
    base, acc = grown(head_of())
    fields = HeadFields(features=SHARED_BASE, base_digest=digest([[CODE]] * len(acc), acc))
    data = build([(HEAD, fields.payload()), (PASS, pass_payload(bits((0, 4)), b"", 0))])
    with pytest.raises(DecodeError, match="BASE_MISMATCH"):
        decode(data, base=base)
