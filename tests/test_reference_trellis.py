"""Clause 9.4 in the reference decoder: tool 2 against a plain walk through the states."""

import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest

from reference_decoder import decode
from reference_decoder.entropy import decay, frequencies, mf8
from reference_decoder.generator import signed_numbers
from reference_decoder.limits import BLOCK
from reference_decoder.trellis import POWERS, T, Trellis
from tests.reference_writer import (
    SEEDED,
    TRELLIS,
    HeadFields,
    bits,
    encode_lanes,
    encode_one_lane,
    int32_crc,
    last,
    layer,
    pass_payload,
    raw_runs,
    trellis_r,
    trellis_runs,
    value_runs,
)
from tests.test_reference_pass import CODE, STEP, fails, file

N = 300  # weights of the layer of the tests
START = ((0, 1), STEP)

# R, p0, tb, rb, heavy, b, esc
MODELS = [(3, 0, 90, 0, 0, 0, 1), (4, 150, 120, 30, 1, 0, 1), (0, 0, 0, 0, 0, 0, 0), (30, 9, 130, 0, 0, 0, 0)]
LOW_BITS = [(3, 0, 90, 0, 0, 2, 1), (1, 60, 100, 0, 0, 1, 1)]


def head_of(**fields: Any) -> HeadFields:
    """One layer 1 -> N of tool 2 without a bias, behind it one of tool 0."""
    records = (layer(1, 0x22, N), last(1, 0x20))
    return HeadFields(**{"features": TRELLIS, "records": records, "in_dims": 1, "grid": (6,), **fields})


def second_quantiser(model: tuple[int, ...]) -> list[int]:
    """TRE-1, as it is written."""
    R, p0, tb, rb, heavy = model[:5]
    tail = decay(2**24 - mf8(tb), 2**24 - mf8(rb), bool(heavy))
    g = [next(tail) for _ in range(R + 1)]
    u = [0] * (2 * R + 1)
    u[R] = 0 if p0 > 0 else g[0] >> 1
    for k in range(1, R + 1):
        u[R + k] = u[R - k] = (g[k - 1] + g[k]) >> 1
    avail = 2**14 - (2 * R + 1)
    z = avail * p0 >> 8
    f = [1 + w * (avail - z) // max(1, sum(u)) for w in u]
    f[R] += z
    f[R] += 2**14 - sum(f)
    return f


def both(model: tuple[int, ...]) -> tuple[list[int], list[int]]:
    R, p0, tb, rb, heavy = model[:5]
    return frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), bool(heavy)), second_quantiser(model)


def long_form(model: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(2, 2), *zip(model, (10, 8, 8, 8, 1, 4, 1), strict=True)]


def values_of(model: tuple[int, ...], n: int = N) -> list[int]:
    spread = max(1, model[0]) << model[5]
    found = np.round(np.random.default_rng(n + model[0]).laplace(0, spread, n)).astype(np.int64)
    return [int(v) for v in (found if model[6] else found.clip(-model[0], model[0]))]


def coded(values: list[int], model: tuple[int, ...], lanes: int) -> tuple[bytes, int | None]:
    """The body of a list of values, and the R that its parities are limited to. Raw weights of 0 follow."""
    n = 1 << lanes if lanes else 1
    if model[5]:
        runs, R = value_runs(values, both(model)[0], model[5], bool(model[6])), None
    else:
        runs, R = trellis_runs(values, both(model), bool(model[6]), n), model[0]
    runs += raw_runs([(0, 32)] * N)
    return encode_lanes(runs, lanes) if lanes else encode_one_lane(runs), R


def weights_of(acc: list[int], code: int = CODE) -> list[float]:
    step = np.float32(8388608 * 2.0 ** ((code >> 3) - 123))
    return [float(np.float32(a) * step) for a in acc]


# --- states --------------------------------------------------------------------------------------------------------


def test_powers_are_those_of_the_transitions() -> None:
    for state in range(8):
        assert POWERS[1, state] == T[state][0]
        assert T[state][1] == T[state][0] ^ 2
        assert T[POWERS[3, state]][0] == state
    assert all(T[a ^ b][0] == T[a][0] ^ T[b][0] for a in range(8) for b in range(8))


@pytest.mark.parametrize("R", [None, 1, 6])
@pytest.mark.parametrize(("lanes", "parts"), [(1, (1, 2, 70)), (1, (73,)), (64, (64, 128, 50)), (64, (7,))])
def test_contributions_are_those_of_a_walk_through_the_states(
    lanes: int, parts: tuple[int, ...], R: int | None
) -> None:
    k = np.random.default_rng(lanes).integers(-9, 10, sum(parts)).astype(np.int32)
    trellis = Trellis(lanes, R)
    found = [trellis.contributions(part) for part in np.split(k, np.cumsum(parts)[:-1])]
    assert np.concatenate(found).tolist() == trellis_r(k.tolist(), R, lanes)


def test_every_state_is_reached_from_zero() -> None:
    p = np.random.default_rng(2).integers(0, 2, 5000).astype(np.int32)
    seen, state = set(), 0
    for bit in p.tolist():
        seen.add(state)
        state = T[state][bit]
    assert seen == set(range(8))
    assert Trellis(1, None).contributions(p).tolist() == trellis_r(p.tolist())


# --- coding 1 ------------------------------------------------------------------------------------------------------


def test_frequencies_of_the_second_quantiser_sum_to_2_to_the_14_and_are_those_of_the_text() -> None:
    generator = np.random.default_rng(1)
    for _ in range(200):
        R, p0, tb, rb, heavy = (int(generator.integers(n)) for n in (1024, 256, 169, 169, 2))
        f = frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), bool(heavy), quantiser=1)
        assert f == second_quantiser((R, p0, tb, rb, heavy))
        assert (sum(f), len(f), min(f) >= 1) == (1 << 14, 2 * R + 1, True)


@pytest.mark.parametrize("lanes", [0, 6, 7])
@pytest.mark.parametrize("model", [*MODELS, *LOW_BITS])
def test_values_of_tool_2_come_back(model: tuple[int, ...], lanes: int) -> None:
    values = values_of(model)
    body, R = coded(values, model, lanes)
    acc = trellis_r(values, R, 1 << lanes if lanes else 1)
    data = pass_payload(bits(*START, *long_form(model)), body, int32_crc(acc + [0] * N), flags=9 | lanes << 4)
    field = decode(file([data], head_of()))
    assert field.weights[0].ravel().tolist() == weights_of(acc)


@pytest.mark.parametrize("lanes", [0, 6])
def test_states_are_carried_over_blocks(lanes: int) -> None:
    n, model = BLOCK + 777, MODELS[0]
    values = values_of(model, n)
    runs = trellis_runs(values, both(model), True, 1 << lanes if lanes else 1)
    body = encode_lanes(runs, lanes) if lanes else encode_one_lane(runs)
    records = (layer(1, 0x22, n), last(1, 0x22))
    head = head_of(records=records, profile_level=0x14)
    acc = trellis_r(values, model[0], 1 << lanes if lanes else 1) + [0] * n
    table = bits(*START, *long_form(model), *START, (0, 2))
    assert decode(file([pass_payload(table, body, int32_crc(acc), flags=9 | lanes << 4)], head)).passes == 1


def test_tensor_without_symbols_is_zero_and_every_tensor_starts_in_state_zero() -> None:
    head = head_of(records=(layer(1, 0x02, 4), last(1, 0x02)))
    values = [[1, 1, -1, 3], [1, 1, 0, 0], [], [1]]
    model = MODELS[3]
    f = both(model)
    runs = [run for part in values if part for run in trellis_runs(part, f, False)]
    table = bits(*START, *long_form(model), *START, (3, 2), *START, (0, 2), *START, (3, 2))
    acc = [r for part in values for r in trellis_r(part, model[0]) or [0] * 4]
    assert decode(file([pass_payload(table, encode_one_lane(runs), int32_crc(acc), flags=9)], head)).passes == 1


def test_state_zero_of_the_coder_gives_first_symbols_under_both_quantisers() -> None:
    model = MODELS[0]  # u = -3, whose lowest bit is 1, and an escape of 0
    acc = trellis_r([-3] * N, 3)
    assert len(set(acc)) == 2
    data = pass_payload(bits(*START, *long_form(model)), bytes(4), int32_crc(acc + [0] * N), flags=9)
    assert decode(file([data], head_of())).passes == 1


# --- other codings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", [0, 2])
def test_packed_values_of_tool_2_have_one_state(coding: int) -> None:
    values = values_of((9, 0, 0, 0, 0, 0, 0))
    acc = trellis_r(values)
    body = bits(*[(v, 6) for v in values], *[(0, 32)] * N)
    body = zlib.compress(body) if coding else body
    data = pass_payload(bits(*START, (5, 5)), body, int32_crc(acc + [0] * N), flags=8 | coding)
    assert decode(file([data], head_of())).weights[0].ravel().tolist() == weights_of(acc)


# --- passes, prior, row steps --------------------------------------------------------------------------------------


def test_later_pass_of_tool_2_starts_again_in_state_zero() -> None:
    values, more = values_of(MODELS[3]), values_of((3, 0, 0, 0, 0, 0, 0))
    first = trellis_r(values)
    acc = [4 * a + r for a, r in zip(first, trellis_r(more), strict=True)]
    base = bits(*[(v, 8) for v in values], *[(0, 32)] * N)
    later = bits(*[(v, 3) for v in more])
    passes = [
        pass_payload(bits(*START, (7, 5)), base, int32_crc(first + [0] * N)),
        pass_payload(bits((1, 1), (1, 3), (2, 5)), later, int32_crc(acc), number=1),
    ]
    assert decode(file(passes, head_of())).weights[0].ravel().tolist() == weights_of(acc, CODE - 16)


def test_row_step_differences_of_tool_2_are_plain_values() -> None:
    head = head_of(records=(layer(1, 0x32, 3), last(1, 0x20)))
    d, values = [1, 3, -5], [1, 1, -3]
    body = bits(*[(v, 4) for v in d + values], *[(0, 32)] * 3)
    data = pass_payload(bits(*START, (1, 1), (3, 5), (3, 5)), body, int32_crc(trellis_r(values) + [0] * 3))
    M = [8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775]
    steps = [np.float32(M[(CODE + x) & 7] * 2.0 ** (((CODE + x) >> 3) - 123)) for x in d]
    expected = [float(np.float32(a) * s) for a, s in zip(trellis_r(values), steps, strict=True)]
    assert decode(file([data], head)).weights[0].ravel().tolist() == expected


def test_contribution_beyond_32_bits_is_an_error_whatever_the_prior_is() -> None:
    """TRE-3."""
    head = head_of(features=TRELLIS | SEEDED, records=(last(1, 0x2A),), out_channels=2)
    m, e = 255 << 8, 8
    prior = [(u * m + 2 ** (e - 1)) >> e for u in signed_numbers(0, 2, 0, 1, 7).tolist()]
    values = [2**30 if p < 0 else -(2**30) for p in prior]  # even: both in quantiser 0, r = ±2^31
    acc = [r + p for r, p in zip(trellis_r(values), prior, strict=True)]
    table = bits(*START, (1, 1), (0, 1), (127, 7), (0, 5), (31, 5))
    assert all(abs(a) < 2**31 for a in acc)
    for sign in (1, -1):
        coded = pass_payload(table, bits(*[(sign * v, 32) for v in values]), int32_crc(acc) if sign == 1 else 0)
        fails([coded], "ACC_OVERFLOW", 6 + len(table), head)


def test_contribution_beyond_32_bits_without_a_prior_overflows() -> None:
    head = head_of(records=(last(1, 0x22),))
    table = bits(*START, (31, 5))
    for k in (2**30, -(2**31)):
        fails([pass_payload(table, bits((k, 32)), 0)], "ACC_OVERFLOW", 6 + len(table), head)
    most = [2**30 - 1]
    data = pass_payload(table, bits((most[0], 32)), int32_crc(trellis_r(most)))
    assert decode(file([data], head)).passes == 1


# --- 14 ------------------------------------------------------------------------------------------------------------


def test_memory_stays_below_the_bound() -> None:
    n = 900_000
    records = (layer(1, 0x22, 300), layer(1, 0x22, n // 300), last(1, 0x22))
    head = head_of(records=records, profile_level=0x13)
    edge = long_form((1, 0, 0, 0, 0, 0, 1))
    sizes = (300, n, n // 300)
    acc = b"".join(np.array(trellis_r([-1] * s, 1), "<i4").tobytes() for s in sizes)
    data = file([pass_payload(bits(*[*START, *edge] * 3), bytes(4), zlib.crc32(acc), flags=9)], head)
    tracemalloc.start()
    try:
        assert decode(data).passes == 1
        assert tracemalloc.get_traced_memory()[1] <= 16 * n + (4 << 20)
    finally:
        tracemalloc.stop()
