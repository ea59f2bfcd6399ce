"""Clause 9: steps, weights, priors, refinement and digests, against exact rational arithmetic."""

import hashlib
import math
import struct
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sinrfmt import weights
from sinrfmt.network import LayerRecord, Network, Tensor
from sinrfmt.philox import signed_numbers
from sinrfmt.registry import RecordKind, Tool
from sinrfmt.tables import Prior
from sinrfmt.weights import TensorState, acc_crc, add_prior, nearest_step_code, refine, step_value, weights_sha256
from tests.strategies import assert_fault, fixed

M = (8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775)
ACC_LAST = (1 << 31) - 1
EDGES = [0, 1, (1 << 24) - 1, 1 << 24, (1 << 24) + 1, (1 << 24) + 3, (1 << 25) + 2, (1 << 30) + 64, (1 << 30) + 192,
         ACC_LAST - 127, ACC_LAST - 64, ACC_LAST - 63, ACC_LAST]  # fmt: skip


def rne32(x: Fraction) -> Fraction:
    """The binary32 nearest to x, ties to even, for normal results."""
    if x == 0:
        return x
    sign, x = (-1, -x) if x < 0 else (1, x)
    exponent = math.floor(math.log2(x))
    exponent += (x >= Fraction(2) ** (exponent + 1)) - (x < Fraction(2) ** exponent)
    unit = Fraction(2) ** (exponent - 23)
    quotient, rest = divmod(x, unit)
    quotient += rest * 2 > unit or (rest * 2 == unit and quotient % 2 == 1)
    return sign * quotient * unit


def exact_step(code: int) -> Fraction:
    return M[code & 7] * Fraction(2) ** ((code >> 3) - 123)


def tensor_of(shape: tuple[int, ...], **options: object) -> Tensor:
    return Tensor(0, "layers.0.weight", shape, LayerRecord(RecordKind.LINEAR, shape[0], **options))  # type: ignore[arg-type]


def test_rne32_agrees_with_the_machine() -> None:
    for acc in EDGES:
        assert float(rne32(Fraction(acc))) == struct.unpack("<f", struct.pack("<f", acc))[0]


def test_every_step_is_exact() -> None:
    for code in range(1024):
        value = step_value(code)
        assert value.dtype == np.float32
        assert Fraction(float(value)) == exact_step(code)


def test_mantissas_are_eighths_of_an_octave() -> None:
    assert weights.MANTISSAS == M == tuple(round(2 ** (23 + i / 8)) for i in range(8))
    assert all(exact_step(code + 8) == 2 * exact_step(code) for code in range(1016))


@pytest.mark.parametrize("code", [0, 1, 7, 8, 679, 680, 743, 807, 1023])
def test_weights_are_rounded_twice(code: int) -> None:
    """w = RNE32(RNE32(acc) * step(s)), by rational arithmetic."""
    accs = [sign * acc for acc in EDGES for sign in (1, -1)]
    state = TensorState(tensor_of((len(accs), 1)), np.array(accs, dtype=np.int32), code)
    found = state.weights()
    assert (found.dtype, found.shape) == (np.float32, (len(accs), 1))
    expected = [rne32(rne32(Fraction(acc)) * exact_step(code)) for acc in accs]
    assert [Fraction(float(w)) for w in found.ravel()] == expected


@fixed(200)
@given(st.integers(-ACC_LAST, ACC_LAST), st.integers(0, 1023))
def test_any_weight_is_rounded_twice(acc: int, code: int) -> None:
    (found,) = TensorState(tensor_of((1,)), np.array([acc], dtype=np.int32), code).weights()
    assert Fraction(float(found)) == rne32(rne32(Fraction(acc)) * exact_step(code))


def test_no_weight_is_subnormal_or_infinite() -> None:
    for acc, code in ((1, 0), (ACC_LAST, 1023)):
        (found,) = TensorState(tensor_of((1,)), np.array([acc], dtype=np.int32), code).weights()
        assert np.finfo(np.float32).tiny <= found < np.inf


def test_row_steps_shift_the_code_of_a_row() -> None:
    acc = np.arange(-3, 3, dtype=np.int32)
    state = TensorState(tensor_of((3, 2)), acc, 700, np.array([-5, 0, 9], dtype=np.int16))
    expected = [[rne32(int(a) * exact_step(700 + d)) for a in row]
                for row, d in zip(acc.reshape(3, 2), (-5, 0, 9), strict=True)]  # fmt: skip
    assert [[Fraction(float(w)) for w in row] for row in state.weights()] == expected


@pytest.mark.parametrize(("rows", "lowest"), [(None, 700), ([3, 5], 703), ([0, -7], 693)])
def test_lowest_step_is_that_of_a_weight(rows: list[int] | None, lowest: int) -> None:
    """TAB-4: the step code, or that of every row where there are row steps."""
    row_steps = None if rows is None else np.array(rows, dtype=np.int16)
    assert TensorState(tensor_of((2, 1)), np.zeros(2, np.int32), 700, row_steps).lowest_step == lowest


def test_all_binary16_patterns() -> None:
    """Clause 9.2: the pattern, zero-extended, stands for acc; w is the number as binary32."""
    patterns = np.arange(1 << 16, dtype=np.int32)
    patterns = patterns[patterns & 0x7C00 != 0x7C00]
    found = TensorState(tensor_of((patterns.size,), tool=Tool.RAW, half=True), patterns, 0).weights()
    expected = [struct.unpack("<e", struct.pack("<H", p))[0] for p in patterns.tolist()]
    assert found.dtype == np.float32
    assert found.tolist() == expected
    assert np.signbit(found).tolist() == (patterns >= 1 << 15).tolist()


def test_binary32_patterns_are_the_weights() -> None:
    numbers = np.array([0.0, -0.0, 1e-45, -1e-40, 3.4e38, -1.5], dtype=np.float32)
    state = TensorState(tensor_of((6,), tool=Tool.RAW), numbers.view(np.int32), 0)
    assert state.weights().tobytes() == numbers.tobytes()


@pytest.mark.parametrize("prior", [Prior(1 << 15, 8), Prior(0xFFFF, 9), Prior(40961, 30), Prior(0x8001, 38)])
def test_prior_of_the_text(prior: Prior) -> None:
    """Clause 9.7, with unbounded integers."""
    U = signed_numbers(200, 4, 99).tolist()
    P = [(u * prior.multiplier + 2 ** (prior.shift - 1)) // 2**prior.shift for u in U]
    assert weights.prior_values(prior, 4, 200, 99).tolist() == P
    values = np.arange(200, dtype=np.int32)
    assert add_prior(values, prior, 4, 99).tolist() == [v + p for v, p in zip(range(200), P, strict=True)]


def prior_value(n: int) -> int:
    return int(weights.prior_values(Prior(1 << 15, 20), 0, n + 1, 1)[n])


@pytest.mark.parametrize("sign", [1, -1])
def test_wgt_4_acc_of_a_prior(sign: int) -> None:
    n = next(n for n in range(50) if prior_value(n) * sign > 1000)
    values = np.zeros(n + 1, dtype=np.int32)
    values[n] = sign * ACC_LAST - prior_value(n)
    assert add_prior(values.copy(), Prior(1 << 15, 20), 0, 1)[n] == sign * ACC_LAST
    values[n] += sign
    assert_fault("ACC_OVERFLOW", 0, add_prior, values, Prior(1 << 15, 20), 0, 1)


@pytest.mark.parametrize("n_bits", range(1, 9))
def test_wgt_2_and_wgt_4_of_a_later_pass(n_bits: int) -> None:
    top = ACC_LAST >> n_bits
    acc = np.array([0, 1, -1, top, -top], dtype=np.int32)
    r = np.array([-(1 << 31), 5, -5, ACC_LAST - (top << n_bits), -(ACC_LAST - (top << n_bits))], dtype=np.int32)
    r[0] = -ACC_LAST
    assert refine(acc, n_bits, r.copy()).tolist() == [(a << n_bits) + v for a, v in zip(acc.tolist(), r.tolist(),
                                                                                       strict=True)]  # fmt: skip
    for i, wrong in ((0, -(1 << 31)), (3, int(r[3]) + 1), (4, int(r[4]) - 1)):
        changed = r.copy()
        changed[i] = wrong
        assert_fault("ACC_OVERFLOW", 0, refine, acc, n_bits, changed)
    far = np.array([-1], dtype=np.int32)
    assert refine(np.array([1], dtype=np.int32), n_bits, far).tolist() == [(1 << n_bits) - 1]


def test_refinement_across_blocks() -> None:
    n = 2 * weights.BLOCK + 5
    acc, r = np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int32)[::-1].copy()
    np.testing.assert_array_equal(refine(acc, 3, r.copy()), 8 * acc + r)
    values = np.arange(n, dtype=np.int32)
    np.testing.assert_array_equal(
        add_prior(values.copy(), Prior(40961, 30), 2, 5), values + weights.prior_values(Prior(40961, 30), 2, n, 5)
    )


def test_acc_crc_of_the_text() -> None:
    """PAS-5: over all tensors, as little-endian int32, in table order."""
    accs = [np.array(values, dtype=np.int32) for values in ([1, -2, ACC_LAST], [-ACC_LAST], [7])]
    data = b"".join(struct.pack("<i", v) for acc in accs for v in acc.tolist())
    assert acc_crc(accs) == zlib.crc32(data)
    assert acc_crc([]) == 0


def test_weights_sha256_of_the_text() -> None:
    tensors: list[NDArray[np.float32]] = [np.array([[1.5, -0.0], [2.0, 3.0]], np.float32), np.array([4.0], np.float32)]
    data = struct.pack("<5f", 1.5, -0.0, 2.0, 3.0, 4.0)
    assert weights_sha256(tensors) == hashlib.sha256(data).digest()


def test_nearest_step_code_finds_every_step() -> None:
    assert [nearest_step_code(float(step_value(code))) for code in range(1024)] == list(range(1024))
    assert (nearest_step_code(1e-38), nearest_step_code(1e30)) == (0, 1023)


def test_shapes_follow_the_network() -> None:
    network = Network(3, 2, (LayerRecord(RecordKind.SINE, 4, omega=30.0), LayerRecord(RecordKind.LINEAR, 2)))
    assert [(t.ordinal, t.shape) for t in network.tensors] == [(0, (4, 3)), (1, (4,)), (2, (2, 4)), (3, (2,))]
