"""Clause 9.4: states, tables and integers of coding tool 2, against the clause in plain Python."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.container import build_file
from sinrfmt.entropy import encode_values
from sinrfmt.head import Header, build_head, parse_head
from sinrfmt.model_fit import fit_trellis_model, trellis_cost_bits
from sinrfmt.models import LongModel, Model, ModelParameters, ShortModel, StreamFault
from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode, pack
from sinrfmt.rans import StreamEncoder, open_stream
from sinrfmt.registry import ChunkKind, Coding, Feature, Law, Modality, RecordKind, Tool
from sinrfmt.trellis import low_bits, reconstruct, states_of
from sinrfmt.wire import Fault

NEXT = [(0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6)]
NETWORK = Network(3, 40, (LayerRecord(RecordKind.LINEAR, 40, tool=Tool.TRELLIS),))
HEADER = Header(NETWORK, Modality.FIELD)
MODELS: list[ModelParameters] = [
    ShortModel(Law.LAPLACE, 20),
    ShortModel(Law.GAUSS, 30),
    ShortModel(Law.GAUSS, 50),  # two raw low bits
    ShortModel(Law.FLAT, 12),
    LongModel(R=6, p0=90, tb=120, rb=100, heavy=False, b=0, esc=True),
    LongModel(R=7, p0=0, tb=120, rb=100, heavy=True, b=0, esc=True),
]
values_lists = st.lists(st.integers(-40, 40), max_size=300)


def states_in_words(values: list[int], model: Model | None, n_lanes: int) -> list[int]:
    lanes, states = [0] * n_lanes, []
    for i, k in enumerate(values):
        states.append(lanes[i % n_lanes])
        limit = model.R if model is not None and model.b == 0 and model.esc else abs(k)
        lanes[i % n_lanes] = NEXT[states[-1]][max(-limit, min(limit, k)) & 1]
    return states


def integers_in_words(values: list[int], states: list[int]) -> list[int]:
    return [2 * k - (s & 1) * ((k > 0) - (k < 0)) for k, s in zip(values, states, strict=True)]


def tables_in_words(model: Model) -> list[list[int]]:
    """Both frequency tables, by the formulas of clauses 9.4 and 10.2."""
    g, t, theta = [], 2**28, model.theta
    for _ in range(model.R + 1):
        g.append(t)
        t = t * theta >> 24
        theta = 2**24 - ((2**24 - theta) * model.rho >> 24) if model.heavy else theta * model.rho >> 24
    halves = [g[0] >> 1, *((before + after) >> 1 for before, after in pairwise(g))]
    tables = []
    for weights in (g, g if model.b else halves):
        avail = 2**14 - (2 * model.R + 1)
        z = avail * model.p0 >> 8
        u = [weights[abs(v)] for v in range(-model.R, model.R + 1)]
        if model.p0:
            u[model.R] = 0
        f = [1 + w * (avail - z) // max(1, sum(u)) for w in u]
        f[model.R] += z
        f[model.R] += 2**14 - sum(f)
        tables.append(f)
    return tables


@given(values_lists, st.sampled_from([*MODELS, None]), st.sampled_from([1, 2, 64]))
def test_states_follow_the_low_bits_of_each_lane(
    values: list[int], parameters: ModelParameters | None, n_lanes: int
) -> None:
    model = None if parameters is None else parameters.model()
    bits = low_bits(np.array(values, dtype=np.int32), model)
    assert states_of(bits, n_lanes).tolist() == states_in_words(values, model, n_lanes)


@given(values_lists)
def test_odd_states_take_one_from_the_magnitude(values: list[int]) -> None:
    k = np.array(values, dtype=np.int32)
    states = states_of(low_bits(k, None))
    assert reconstruct(k, states).tolist() == integers_in_words(values, states.tolist())


@pytest.mark.parametrize("parameters", MODELS)
def test_there_is_a_table_for_each_quantiser(parameters: ModelParameters) -> None:
    model = parameters.model()
    assert model.frequency_tables().tolist() == tables_in_words(model)


def plain_symbols(data: bytes, model: Model, n: int) -> list[int]:
    """The symbols of a one-lane stream of one list, in the words of clauses 9.4 and 10.4."""
    x, words = int.from_bytes(data[:4], "little"), np.frombuffer(data[4:], dtype="<u2").tolist()
    tables, state, symbols = tables_in_words(model), 0, []
    for _ in range(n):
        f, slot, symbol, c = tables[state & 1], x & 16383, 0, 0
        while slot >= c + f[symbol]:
            c, symbol = c + f[symbol], symbol + 1
        x = f[symbol] * (x >> 14) + slot - c
        if x < 2**16 and words:
            x = x << 16 | words.pop(0)
        symbols.append(symbol - model.R)
        state = NEXT[state][symbols[-1] & 1]
    return symbols


@given(values_lists, st.sampled_from([p for p in MODELS if not p.model().b]))
def test_the_state_chooses_the_table_of_every_symbol(values: list[int], parameters: ModelParameters) -> None:
    model = parameters.model()
    k = np.array(values, dtype=np.int32)
    stream = StreamEncoder()
    encode_values(stream, k, model, states_of(low_bits(k, model)))
    assert plain_symbols(stream.encode(), model, k.size) == np.clip(k, -model.R, model.R).tolist()


def codes_of(seed: int, scale: float, parameters: ModelParameters | None = None) -> list[TensorCode]:
    rng = np.random.default_rng(seed)
    return [
        TensorCode(t, np.rint(rng.normal(0, scale, t.size)).astype(np.int32), 700, parameters=parameters)
        for t in NETWORK.tensors
    ]


@pytest.mark.parametrize("parameters", [*MODELS, None])
@pytest.mark.parametrize("log2_lanes", [0, 6, 7])
def test_a_pass_gives_the_integers_of_its_values(log2_lanes: int, parameters: ModelParameters | None) -> None:
    codes = codes_of(1, 6.0, parameters)
    payload, states = pack(codes, HEADER, log2_lanes=log2_lanes)
    field = sinrfmt.loads(build_file(build_head(HEADER), [(ChunkKind.PASS, payload)]))
    for code, state, decoded in zip(codes, states, field.states, strict=True):
        k = code.values.tolist()
        model = None if parameters is None else parameters.model()
        expected = integers_in_words(k, states_in_words(k, model, 1 << log2_lanes))
        assert state.acc.tolist() == decoded.acc.tolist() == expected


@pytest.mark.parametrize("coding", [Coding.PACKED, Coding.ZLIB])
def test_packed_values_are_driven_by_their_own_low_bits(coding: Coding) -> None:
    codes = codes_of(2, 20.0)
    payload, _ = pack(codes, HEADER, coding=coding)
    field = sinrfmt.loads(build_file(build_head(HEADER), [(ChunkKind.PASS, payload)]))
    for code, state in zip(codes, field.states, strict=True):
        k = code.values.tolist()
        assert state.acc.tolist() == integers_in_words(k, states_in_words(k, None, 1))


def test_a_later_pass_adds_the_integers_of_its_own_trellis() -> None:
    header = replace(HEADER, n_passes=2)
    first, second = codes_of(3, 5.0), [replace(code, refine_bits=2) for code in codes_of(4, 2.0)]
    base, states = pack(first, header)
    later, _ = pack(second, header, index=1, before=states)
    field = sinrfmt.loads(build_file(build_head(header), [(ChunkKind.PASS, base), (ChunkKind.PASS, later)]))
    for one, two, state in zip(first, second, field.states, strict=True):
        r = [integers_in_words(k, states_in_words(k, None, 1)) for k in (one.values.tolist(), two.values.tolist())]
        assert state.acc.tolist() == [4 * a + b for a, b in zip(*r, strict=True)]
        assert state.step == 700 - 16


def test_the_head_names_the_tool_as_a_feature() -> None:
    head = build_head(HEADER)
    assert int.from_bytes(head[2:4], "little") >> Feature.TRELLIS & 1
    assert parse_head(head).network == NETWORK


def test_an_integer_of_2_to_31_is_an_overflow() -> None:
    code = TensorCode(NETWORK.tensors[0], np.full(120, 1 << 30, dtype=np.int32), 700)
    zeros = TensorCode(NETWORK.tensors[1], np.zeros(40, dtype=np.int32), 700)
    with pytest.raises(Fault, match="2\\^31") as caught:
        pack([code, zeros], HEADER, coding=Coding.PACKED)
    assert caught.value.name == "ACC_OVERFLOW"


@given(values_lists)
def test_the_fit_keeps_the_states_and_costs_what_the_stream_costs(values: list[int]) -> None:
    k = np.array(values, dtype=np.int32)
    bits = low_bits(k, None)
    parameters, cost = fit_trellis_model(k, bits)
    model = parameters.model()
    states = states_of(bits)
    if not k.any():
        assert cost == 0.0
        return
    assert low_bits(k, model).tolist() == bits.tolist()
    stream = StreamEncoder()
    encode_values(stream, k, model, states)
    assert trellis_cost_bits(k, states, model) == pytest.approx(stream.bits)
    assert cost == pytest.approx(stream.bits + parameters.parameter_bits)


@pytest.mark.parametrize("log2_lanes", [0, 6])
@given(data=st.binary(min_size=256, max_size=600))
def test_hostile_bytes_give_symbols_or_a_fault(log2_lanes: int, data: bytes) -> None:
    tables: NDArray[np.int64] = MODELS[0].model().frequency_tables()
    try:
        stream = open_stream(data, log2_lanes)
        symbols = stream.trellis_symbols(tables, 500)
    except StreamFault:
        return
    assert symbols.min() >= 0
    assert symbols.max() < tables.shape[1]


def test_a_list_with_escapes_far_out_on_either_side_of_even_has_a_model() -> None:
    values = np.random.default_rng(5).laplace(0, 4, 60_000).round().astype(np.int64)
    values[::1000] = np.arange(60) * 31 + 1100
    bits = (values & 1).astype(np.uint8)
    parameters, _ = fit_trellis_model(values, bits)
    assert np.array_equal(low_bits(values, parameters.model()), bits)
