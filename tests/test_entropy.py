"""Clauses 10.1 and 10.3 to 10.5: streams of one lane and of many, raw fields, value lists and damaged data."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sinrfmt.entropy import ESCAPE_FREQUENCIES, ESCAPE_LIMIT, decode_values, encode_values
from sinrfmt.models import LongModel, Model, ModelParameters, ShortModel, StreamFault, ZeroModel
from sinrfmt.rans import LANES_LOG2, StreamEncoder, lanes_for, open_stream

ALL_LANES = [0, *LANES_LOG2]
LANES = st.sampled_from([0, 6, 12])
CODES = st.integers(0, 168)
LONG_MODELS = st.builds(
    LongModel,
    R=st.integers(1, 1023),
    p0=st.integers(0, 255),
    tb=CODES,
    rb=CODES,
    heavy=st.booleans(),
    b=st.integers(0, 14),
    esc=st.booleans(),
)
FLAT_LONG = LongModel(R=0, p0=0, tb=0, rb=0, heavy=False, b=3, esc=False)
MODELS = st.one_of(
    LONG_MODELS,
    st.builds(ShortModel, law=st.integers(0, 3), q=st.integers(0, 143)),
    st.sampled_from([ZeroModel(), FLAT_LONG]),
)


def stream_of(values: NDArray[np.int64], model: Model, log2_lanes: int) -> bytes:
    encoder = StreamEncoder()
    encode_values(encoder, values, model)
    return encoder.encode(log2_lanes)


def read_all(data: bytes, n: int, model: Model, log2_lanes: int) -> NDArray[np.int32]:
    decoder = open_stream(data, log2_lanes)
    values = decode_values(decoder, n, model)
    decoder.finish()
    return values


def assert_fault(name: str, call: Callable[[], object]) -> None:
    with pytest.raises(StreamFault) as fault:
        call()
    assert fault.value.name == name


def gauss(n: int, deviation: float, seed: int = 1) -> NDArray[np.int64]:
    return np.rint(np.random.default_rng(seed).normal(0, deviation, n)).astype(np.int64)


def plain_runs(data: bytes, log2_lanes: int, runs: list[list[list[int]]]) -> list[list[int]]:
    """Decode runs symbol by symbol as clause 10.4 words it; a run lists the frequencies for each of its symbols."""
    lanes = 1 << log2_lanes
    states = [int.from_bytes(data[4 * i : 4 * i + 4], "little") for i in range(lanes)]
    words = [int.from_bytes(data[i : i + 2], "little") for i in range(4 * lanes, len(data), 2)]
    decoded = []
    for run in runs:
        symbols = []
        for start in range(0, len(run), lanes):
            row = run[start : start + lanes]
            for lane, frequencies in enumerate(row):
                slot = states[lane] % 16384
                symbol, c = 0, 0
                while slot >= c + frequencies[symbol]:
                    c += frequencies[symbol]
                    symbol += 1
                states[lane] = frequencies[symbol] * (states[lane] >> 14) + slot - c
                symbols.append(symbol)
            for lane in range(len(row)):
                if states[lane] < 65536 and (words or log2_lanes):
                    states[lane] = states[lane] * 65536 + words.pop(0)
        decoded.append(symbols)
    assert not words
    assert states == [65536 if log2_lanes else 0] * lanes
    return decoded


def even(bits: int) -> list[int]:
    return [1 << (14 - bits)] * (1 << bits)


@pytest.mark.parametrize("log2_lanes", [0, 6, 7])
def test_a_stream_decodes_as_the_clause_words_it(log2_lanes: int) -> None:
    frequencies = ShortModel(1, 20).model().frequencies()
    symbols = np.clip(gauss(300, 4) + frequencies.size // 2, 0, frequencies.size - 1)
    prefixes = [0, 3, 20, 1, 1]
    widths = [3, 14, 20, 0, 32, 9]
    fields = [5, 16383, 1 << 19, 0, 0xDEADBEEF, 77]
    encoder = StreamEncoder()
    encoder.symbols(symbols, frequencies)
    encoder.symbols(prefixes, ESCAPE_FREQUENCIES)
    encoder.raw(fields, widths)
    runs = [
        [frequencies.tolist()] * 300,
        [ESCAPE_FREQUENCIES.tolist()] * 5,
        [even(3), even(14), even(14), even(14), even(9)],
        [even(6), even(14)],
        [even(4)],
    ]
    decoded = plain_runs(encoder.encode(log2_lanes), log2_lanes, runs)
    assert decoded[:2] == [symbols.tolist(), prefixes]
    big = 0xDEADBEEF
    assert decoded[2:] == [[5, 16383, (1 << 19) >> 6, big >> 18, 77], [0, big >> 4 & 16383], [big & 15]]


def test_escape_prefixes_have_the_frequencies_of_clause_10_3() -> None:
    assert ESCAPE_FREQUENCIES.tolist() == [8186, *(1 << (13 - p) for p in range(1, 14)), *[1] * 7]


@given(MODELS, LANES, st.integers(0, 300), st.integers(0, 2**32 - 1))
def test_value_lists_come_back(parameters: ModelParameters, log2_lanes: int, n: int, seed: int) -> None:
    model = parameters.model()
    rng = np.random.default_rng(seed)
    u = rng.integers(-model.R, model.R + 1, n)
    if model.esc:
        largest = min(ESCAPE_LIMIT, (1 << 30 >> model.b) - model.R)
        escapes = np.exp(rng.uniform(0, np.log(largest + 1), n)).astype(np.int64)
        u += np.sign(u) * np.where(abs(u) == model.R, escapes, 0)
    values = (u << model.b) + rng.integers(0, 1 << model.b, n) - ((1 << model.b) >> 1)
    data = stream_of(values, model, log2_lanes)
    decoded = read_all(data, n, model, log2_lanes)
    assert decoded.dtype == np.int32
    assert np.array_equal(decoded, values)


@pytest.mark.parametrize("log2_lanes", ALL_LANES)
def test_several_lists_share_a_stream(log2_lanes: int) -> None:
    lists = [
        (gauss(5000, 4), ShortModel(1, 20).model()),
        (np.zeros(700, dtype=np.int64), ZeroModel().model()),
        (np.zeros(0, dtype=np.int64), ShortModel(0, 5).model()),
        (gauss(9000, 500), ShortModel(0, 70).model()),
    ]
    fields = np.random.default_rng(2).integers(0, 1 << 32, 5000)
    encoder = StreamEncoder()
    for values, model in lists:
        encode_values(encoder, values, model)
    encoder.raw(fields, 32)
    decoder = open_stream(encoder.encode(log2_lanes), log2_lanes)
    for values, model in lists:
        assert np.array_equal(decode_values(decoder, values.size, model), values)
    assert np.array_equal(decoder.raw(32, fields.size), fields)
    decoder.finish()


@pytest.mark.parametrize("log2_lanes", ALL_LANES)
def test_an_empty_stream_is_its_first_states(log2_lanes: int) -> None:
    data = StreamEncoder().encode(log2_lanes)
    state = 65536 if log2_lanes else 0
    assert data == state.to_bytes(4, "little") * (1 << log2_lanes)
    open_stream(data, log2_lanes).finish()


def test_an_all_zero_list_costs_nothing() -> None:
    encoder = StreamEncoder()
    encode_values(encoder, np.zeros(1000), ZeroModel().model())
    assert encoder.bits == 0
    assert encoder.encode() == bytes(4)


@pytest.mark.parametrize(
    ("value", "parameters"),
    [
        (6, LongModel(R=5, p0=0, tb=160, rb=0, heavy=False, b=0, esc=False)),
        (1 << 22, ShortModel(0, 5)),
        (1 << 31, ShortModel(0, 143)),
        (1, ZeroModel()),
    ],
    ids=str,
)
def test_a_value_outside_its_model_is_refused(value: int, parameters: ModelParameters) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        encode_values(StreamEncoder(), [value], parameters.model())


@pytest.mark.parametrize("sign", [1, -1])
def test_ent1_a_value_of_2_to_31_is_an_overflow(sign: int) -> None:
    model = LongModel(R=1, p0=0, tb=160, rb=0, heavy=False, b=14, esc=True).model()
    # u = ±2^17 and the low bits of -2^13 + 8192 = 0: the value is ±2^31.
    escape = (1 << 17) - 1
    encoder = StreamEncoder()
    encoder.symbols([1 + sign], model.frequencies())
    encoder.raw([8192], 14)
    encoder.symbols([17], ESCAPE_FREQUENCIES)
    encoder.raw([escape + 1 - (1 << 17)], 17)
    data = encoder.encode()
    assert_fault("ACC_OVERFLOW", lambda: read_all(data, 1, model, 0))


MODEL = ShortModel(1, 20).model()
VALUES = gauss(2000, 4)


@pytest.mark.parametrize("data", [b"", b"\0\0", bytes(5), bytes(7), b"\xff\xff\0\0\1\0"], ids=bytes.hex)
def test_ent4_a_bad_start_of_one_lane_is_a_bad_stream(data: bytes) -> None:
    assert_fault("BAD_STREAM", lambda: open_stream(data, 0))


@pytest.mark.parametrize("log2_lanes", ALL_LANES)
@pytest.mark.parametrize("n", [0, 1, 1999])
def test_ent5_ent6_too_few_symbols_are_a_bad_stream(n: int, log2_lanes: int) -> None:
    data = stream_of(VALUES, MODEL, log2_lanes)
    assert_fault("BAD_STREAM", lambda: read_all(data, n, MODEL, log2_lanes))


@pytest.mark.parametrize("log2_lanes", LANES_LOG2)
def test_ent6_too_many_symbols_are_a_bad_stream(log2_lanes: int) -> None:
    data = stream_of(VALUES, MODEL, log2_lanes)
    assert_fault("BAD_STREAM", lambda: read_all(data, VALUES.size + 1, MODEL, log2_lanes))


def test_one_lane_that_has_ended_goes_on_with_first_symbols() -> None:
    data = stream_of(VALUES, MODEL, 0)
    longer = read_all(data, VALUES.size + 5, MODEL, 0)
    # The bits of nothing: state 0 is a first symbol and stays 0. A last escape prefix of 0 is such a symbol too.
    assert np.array_equal(longer, [*VALUES, *[-MODEL.R] * 5])


@pytest.mark.parametrize("log2_lanes", ALL_LANES)
def test_ent5_ent6_words_left_are_a_bad_stream(log2_lanes: int) -> None:
    data = stream_of(VALUES, MODEL, log2_lanes) + b"\1\2"
    assert_fault("BAD_STREAM", lambda: read_all(data, VALUES.size, MODEL, log2_lanes))


@pytest.mark.parametrize("log2_lanes", LANES_LOG2)
@pytest.mark.parametrize("left", [0, 1, 3, 0.3, 0.9, -2, -1])
def test_ent6_every_cut_is_a_bad_stream(log2_lanes: int, left: float) -> None:
    data = stream_of(VALUES, MODEL, log2_lanes)
    cut = data[: int(left * len(data)) if 0 < left < 1 else int(left)]
    assert_fault("BAD_STREAM", lambda: read_all(cut, VALUES.size, MODEL, log2_lanes))


@pytest.mark.parametrize("log2_lanes", LANES_LOG2)
def test_ent6_a_small_first_state_is_a_bad_stream(log2_lanes: int) -> None:
    data = bytearray(stream_of(VALUES, MODEL, log2_lanes))
    data[8:12] = (65535).to_bytes(4, "little")
    assert_fault("BAD_STREAM", lambda: open_stream(bytes(data), log2_lanes))


def test_ent6_a_lane_that_is_not_used_must_hold_2_to_16() -> None:
    data = bytearray(StreamEncoder().encode(6))
    data[4 * 63] = 1
    assert_fault("BAD_STREAM", open_stream(bytes(data), 6).finish)


@pytest.mark.parametrize("log2_lanes", [-1, 1, 5, 13])
def test_other_numbers_of_lanes_are_refused(log2_lanes: int) -> None:
    assert_fault("BAD_LANES", lambda: open_stream(bytes(1 << 16), log2_lanes))
    assert_fault("BAD_LANES", lambda: StreamEncoder().encode(log2_lanes))


@pytest.mark.parametrize("log2_lanes", ALL_LANES)
def test_a_changed_byte_never_gives_the_same_values(log2_lanes: int) -> None:
    data = stream_of(VALUES, MODEL, log2_lanes)
    rng = np.random.default_rng(3)
    for place in rng.integers(0, len(data), 30):
        damaged = bytearray(data)
        damaged[place] ^= int(rng.integers(1, 256))
        try:
            decoded = read_all(bytes(damaged), VALUES.size, MODEL, log2_lanes)
        except StreamFault:
            continue
        assert not np.array_equal(decoded, VALUES)


@given(st.binary(max_size=700), MODELS, st.sampled_from([0, 6, 7]), st.integers(0, 3000))
def test_hostile_bytes_give_values_or_a_fault(
    data: bytes, parameters: ModelParameters, log2_lanes: int, n: int
) -> None:
    # High first states get past ENT-6, so that the symbols themselves are read.
    padded = b"\xff" * (4 << log2_lanes) + data if log2_lanes else data
    try:
        decoder = open_stream(padded, log2_lanes)
        values = decode_values(decoder, n, parameters.model())
    except StreamFault:
        return
    assert values.size == n
    assert abs(values.astype(np.int64)).max(initial=0) < 2**31


@pytest.mark.parametrize(
    ("deviation", "q", "n", "log2_lanes"),
    [(1, 5, 12000, 0), (4, 20, 6000, 0), (60, 51, 4000, 0), (4, 20, 100_000, 6), (4, 20, 1_000_000, 8)],
)
def test_the_size_is_within_half_a_percent_of_the_information(
    deviation: float, q: int, n: int, log2_lanes: int
) -> None:
    encoder = StreamEncoder()
    encode_values(encoder, gauss(n, deviation), ShortModel(1, q).model())
    size = 8 * len(encoder.encode(log2_lanes))
    assert size >= 8 * 3000
    assert size <= 1.005 * encoder.bits


@pytest.mark.parametrize(("payload_bits", "log2_lanes"), [(0, 0), (153_599, 0), (153_600, 6), (1e6, 8), (1e9, 12)])
def test_lanes_cost_at_most_one_percent_of_the_payload(payload_bits: float, log2_lanes: int) -> None:
    assert lanes_for(payload_bits) == log2_lanes


@pytest.mark.parametrize("log2_lanes", [0, 12])
@pytest.mark.parametrize("escapes", [False, True], ids=["values", "escapes"])
def test_decoding_keeps_to_the_memory_of_a_decoder(log2_lanes: int, escapes: bool) -> None:
    n = 400_000 if log2_lanes else 100_000
    model = LongModel(R=1, p0=0, tb=160, rb=0, heavy=False, b=14, esc=True).model() if escapes else MODEL
    values = np.full(n, 1 << 30) if escapes else gauss(n, 4)
    data = stream_of(values, model, log2_lanes)
    tracemalloc.start()
    try:
        decoded = read_all(data, n, model, log2_lanes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert decoded[-1] == values[-1]
    assert peak <= 16 * n + 4 * len(data) + (4 << 20)
