"""Clause 13.2: networks that grow from pass to pass."""

from collections.abc import Sequence

import numpy as np
import pytest

import sinrfmt
from sinrfmt import container, edit
from sinrfmt.head import Header, build_head, parse_head
from sinrfmt.network import LayerRecord, MultiplyRecord, Network
from sinrfmt.payload import States, TensorCode, pack
from sinrfmt.registry import ChunkKind, Coding, Feature, Modality, RecordKind, Tool
from sinrfmt.wire import Fault
from tests.strategies import assert_fault

SINE = RecordKind.SINE
GROWING = Network(
    2,
    3,
    (LayerRecord(SINE, 4, omega=20.0), LayerRecord(SINE, 5, 2, omega=3.0), LayerRecord(RecordKind.LINEAR, 3)),
    active_widths=((2, 3), (4, 3)),
)
"""Units after each pass: 2 3 3, then 4 3 3, then 4 5 5."""
SHAPES = [
    {"layers.0.weight": (2, 2), "layers.0.bias": (2,), "layers.1.weight": (3, 2), "layers.1.bias": (3,),
     "layers.2.weight": (3, 3), "layers.2.bias": (3,), "layers.3.weight": (3, 3), "layers.3.bias": (3,)},
    {"layers.0.weight.1": (2, 2), "layers.0.bias.1": (2,)},
    {"layers.1.weight.2": (2, 4), "layers.1.bias.2": (2,), "layers.2.weight.2": (2, 5), "layers.2.bias.2": (2,),
     "layers.3.weight.2": (3, 2)},
]  # fmt: skip


def header_of(network: Network = GROWING, n_passes: int = 3) -> Header:
    return Header(network, Modality.IMAGE, grid=(3, 4), n_passes=n_passes)


def codes_of(header: Header, index: int, rng: np.random.Generator, *, refined: Sequence[str] = ()) -> list[TensorCode]:
    codes = []
    for tensor in header.tensors_of(index):
        low = 0 if tensor.record.tool is Tool.RAW else -9
        values = rng.integers(low, 10, tensor.size).astype(np.int32)
        if tensor.begins == index:
            codes.append(TensorCode(tensor, values, step=770))
        elif tensor.name in refined:
            codes.append(TensorCode(tensor, values, refine_bits=2))
    return codes


def written(coding: Coding = Coding.RANS) -> tuple[bytes, list[States]]:
    """A file of three passes, the last of which refines the first matrix, and the tensors after each."""
    header, rng = header_of(), np.random.default_rng(5)
    payloads, states = [], []
    for index in range(3):
        before = states[-1] if states else None
        codes = codes_of(header, index, rng, refined=("layers.0.weight",) if index == 2 else ())
        payload, after = pack(codes, header, coding=coding, index=index, before=before)
        payloads.append(payload)
        states.append(after)
    return container.build_file(build_head(header), [(ChunkKind.PASS, payload) for payload in payloads]), states


def test_blocks_have_the_shapes_and_ordinals_of_the_pass_in_which_they_begin() -> None:
    tensors = GROWING.tensors
    assert [t.ordinal for t in tensors] == sorted(t.ordinal for t in tensors)
    for index, shapes in enumerate(SHAPES):
        begun = [t for t in tensors if t.begins == index]
        assert {t.name: t.shape for t in begun} == shapes
        assert all(t.ordinal >> 20 == index for t in begun)
    assert tensors[-1].ordinal == (2 << 20) + 6


@pytest.mark.parametrize("coding", [Coding.RANS, Coding.PACKED, Coding.ZLIB])
def test_a_field_after_a_pass_is_that_of_the_smaller_network(coding: Coding) -> None:
    data, states = written(coding)
    small = Network(2, 3, (LayerRecord(SINE, 2, omega=20.0), LayerRecord(SINE, 3, 2, omega=3.0), GROWING.records[2]))
    first = sinrfmt.loads(data, passes=1)
    alone = dict(zip((t.name for t in small.tensors), (s.weights() for s in states[0]), strict=False))
    values = sinrfmt.evaluate.evaluate(small, list(alone.values()), np.zeros((1, 2), np.float32))
    assert np.allclose(first.sample(np.zeros((1, 2))), values, atol=1e-5)
    assert not np.allclose(sinrfmt.loads(data).grid(), first.grid())


def test_entries_of_no_block_are_zero() -> None:
    data, _ = written()
    for name, zeros in {"layers.0.weight": [], "layers.1.weight": [(slice(0, 3), slice(2, 4))],
                        "layers.2.weight": [(slice(0, 3), slice(3, 5))], "layers.3.weight": []}.items():  # fmt: skip
        matrix = sinrfmt.loads(data).state_dict[name]
        outside = np.zeros(matrix.shape, bool)
        for place in zeros:
            outside[place] = True
        assert not matrix[outside].any()
        assert np.count_nonzero(matrix[~outside]) > matrix[~outside].size // 2


def test_a_later_pass_refines_what_began_earlier() -> None:
    data, states = written()
    before, after = (s[0] for s in states[1:])
    assert (after.step, before.step) == (770 - 16, 770)
    assert np.abs(after.acc - 4 * before.acc).max() <= 9
    assert sinrfmt.loads(data).states[0].acc.tolist() == after.acc.tolist()


def test_the_head_says_the_active_widths() -> None:
    payload = build_head(header_of())
    assert payload[2] == 1 << Feature.WIDTHS
    assert parse_head(payload).network == GROWING
    assert np.frombuffer(payload[-8:], "<u2").tolist() == [2, 3, 4, 3]


@pytest.mark.parametrize("active", [((0, 3), (4, 3)), ((2, 6), (4, 5)), ((2, 3), (1, 3))])
def test_active_widths_do_not_fall_and_stay_within_the_width(active: tuple[tuple[int, ...], ...]) -> None:
    network = Network(2, 3, GROWING.records, active_widths=active)
    with pytest.raises(Fault, match="units after pass"):
        build_head(header_of(network))


@pytest.mark.parametrize(
    "network",
    [
        Network(2, 3, GROWING.records, active_widths=((4, 5), (4, 5))),
        Network(2, 3, (LayerRecord(RecordKind.GABOR, 4, omega=2.0), GROWING.records[2]), active_widths=((2,), (3,))),
        *[Network(2, 3, (LayerRecord(SINE, 4), record, GROWING.records[2]), active_widths=((2,), (3,)))
          for record in (LayerRecord(RecordKind.FILTER, 0), MultiplyRecord(0))],
    ],
)  # fmt: skip
def test_only_a_chain_of_layers_grows(network: Network) -> None:
    assert_fault("FEATURE_MISMATCH", 2, build_head, header_of(network))


@pytest.mark.parametrize("tool", [Tool.RAW, Tool.TRELLIS])
def test_blocks_may_have_any_tool(tool: Tool) -> None:
    network = GROWING.with_layer_records(lambda r: LayerRecord(r.kind, r.width, r.repeat, r.omega, tool))
    header, states = header_of(network), None
    payloads = []
    for index in range(3):
        codes = codes_of(header, index, np.random.default_rng(index))
        payload, states = pack(codes, header, index=index, before=states)
        payloads.append(payload)
    field = sinrfmt.loads(container.build_file(build_head(header), [(ChunkKind.PASS, payload) for payload in payloads]))
    assert states is not None
    assert [s.acc.tolist() for s in field.states] == [s.acc.tolist() for s in states]
    assert len(field.acc_crc) == 3


def test_a_cut_file_is_that_of_the_smaller_network() -> None:
    data, _ = written()
    whole = sinrfmt.loads(data)
    for n in (1, 2):
        short, prefix = sinrfmt.loads(edit.cut(data, n)), sinrfmt.loads(data, passes=n)
        assert short.weights_sha256 == prefix.weights_sha256
        assert np.allclose(short.grid(), prefix.grid(), atol=1e-5)
        assert short.header.network.n_parameters < whole.header.network.n_parameters
    assert sinrfmt.loads(edit.cut(data, 1)).header.network.active_widths == ()
    assert sinrfmt.loads(edit.cut(data, 2)).header.network.active_widths == ((2, 3),)


def test_layers_that_become_equal_are_one_record() -> None:
    records = (LayerRecord(SINE, 6, omega=3.0), LayerRecord(SINE, 6, 2, omega=3.0), LayerRecord(RecordKind.LINEAR, 3))
    network = Network(2, 3, records, active_widths=((4, 4), (5, 4)))
    header, states, chunks = header_of(network), None, []
    for index in range(3):
        payload, states = pack(
            codes_of(header, index, np.random.default_rng(index)), header, index=index, before=states
        )
        chunks.append((ChunkKind.PASS, payload))
    data = container.build_file(build_head(header), chunks)
    short = sinrfmt.loads(edit.cut(data, 1))
    assert short.header.network.records == (LayerRecord(SINE, 4, 3, omega=3.0), records[2])
    assert np.allclose(short.grid(), sinrfmt.loads(data, passes=1).grid(), atol=1e-5)
    assert sinrfmt.loads(edit.cut(data, 2)).weights_sha256 == sinrfmt.loads(data, passes=2).weights_sha256
