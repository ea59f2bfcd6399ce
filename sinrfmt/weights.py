"""From integers to weights: steps, priors, refinement, digests.

Specification: clause 9. Integers are exact; the only floating-point operation of a decoder is the last multiplication.
Everything works in blocks, so that a tensor costs its int32 and its float32 and little beside.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sinrfmt.network import Network, Tensor
from sinrfmt.philox import signed_numbers
from sinrfmt.registry import Tool
from sinrfmt.tables import STEP_LAST, Prior
from sinrfmt.wire import Fault

MANTISSAS = (8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775)  # 1/8 octave
ACC_LIMIT = 1 << 31
BLOCK = 1 << 16

Acc = NDArray[np.int32]


@dataclass(frozen=True)
class TensorState:
    """One tensor after a pass: integers (C order, flat), step code, row differences (int16, or None).

    ``is_coded`` is False for what no pass has coded yet; it is all zeros.
    """

    tensor: Tensor
    acc: Acc
    step: int
    row_steps: NDArray[np.int16] | None = None
    is_coded: bool = True

    @property
    def lowest_step(self) -> int:
        """The lowest step code that a weight has: the tensor's, or that of a row where there are row steps."""
        return self.step + (0 if self.row_steps is None else int(self.row_steps.min()))

    def weights(self) -> NDArray[np.float32]:
        """float32, of the tensor's shape."""
        return to_weights(self)


def step_value(code: int) -> np.float32:
    """step(s), clause 9.1."""
    return np.float32(MANTISSAS[code & 7] * 2.0 ** ((code >> 3) - 123))


def nearest_step_code(step: float) -> int:
    """The code whose step is nearest to ``step`` on a logarithmic scale."""
    code = round(8 * (np.log2(step) + 100))  # step(0) = 2^-100
    return int(min(max(code, 0), STEP_LAST))


def _prior_of(numbers: NDArray[np.int32], prior: Prior) -> NDArray[np.int64]:
    return (numbers.astype(np.int64) * prior.multiplier + (1 << (prior.shift - 1))) >> prior.shift


def prior_values(prior: Prior, ordinal: int, n: int, seed: int) -> NDArray[np.int64]:
    """P of clause 9.7, int64[n]."""
    return _prior_of(signed_numbers(n, ordinal, seed), prior)


def add_prior(values: Acc, prior: Prior, ordinal: int, seed: int) -> Acc:
    """acc of pass 0 (WGT-1), written over ``values``.

    Raises:
        Fault: ACC_OVERFLOW.
    """
    numbers = signed_numbers(values.size, ordinal, seed)
    for start in range(0, values.size, BLOCK):
        block = slice(start, start + BLOCK)
        values[block] = _checked(values[block] + _prior_of(numbers[block], prior))
    return values


def refine(acc: Acc, n_bits: int, values: Acc) -> Acc:
    """acc * 2^n + r (WGT-2), written over ``values``.

    Raises:
        Fault: ACC_OVERFLOW.
    """
    for start in range(0, values.size, BLOCK):
        block = slice(start, start + BLOCK)
        values[block] = _checked((acc[block].astype(np.int64) << n_bits) + values[block])
    return values


def _checked(acc: NDArray[np.int64]) -> NDArray[np.int64]:
    if np.abs(acc).max(initial=0) >= ACC_LIMIT:
        raise Fault("ACC_OVERFLOW", "an integer weight is not below 2^31 in magnitude")
    return acc


def to_weights(state: TensorState) -> NDArray[np.float32]:
    """Clause 9.1, or the raw numbers of tool 0 (clause 9.2)."""
    record = state.tensor.record
    if record.tool is Tool.RAW:
        flat = state.acc.astype(np.uint16).view(np.float16) if record.half else state.acc.view(np.float32)
        return flat.astype(np.float32).reshape(state.tensor.shape)
    weights = state.acc.astype(np.float32).reshape(state.tensor.shape)
    if state.row_steps is None:
        weights *= step_value(state.step)
    else:
        weights *= np.array([[step_value(state.step + int(d))] for d in state.row_steps], dtype=np.float32)
    return weights


def whole_weights(network: Network, states: Sequence[TensorState]) -> tuple[NDArray[np.float32], ...]:
    """float32 tensors of ``network.whole`` in table order; zeros where no block of clause 13.2 is."""
    if not network.active_widths:
        return tuple(state.weights() for state in states)
    whole = {tensor.name: np.zeros(tensor.shape, dtype=np.float32) for tensor in network.whole.tensors}
    for state in states:
        row, column = state.tensor.origin
        block = state.weights()
        places = tuple(slice(at, at + n) for at, n in zip((row, column), block.shape, strict=False))
        whole[state.tensor.whole_name][places] = block
    return tuple(whole.values())


def acc_crc(accs: Iterable[Acc]) -> int:
    """PAS-5: CRC-32 of little-endian int32."""
    crc = 0
    for acc in accs:
        crc = zlib.crc32(np.ascontiguousarray(acc, dtype="<i4").data, crc)
    return crc


def weights_sha256(weights: Iterable[NDArray[np.float32]]) -> bytes:
    """SHA-256 of little-endian binary32 in table order (clause 9.1)."""
    digest = hashlib.sha256()
    for tensor in weights:
        digest.update(np.ascontiguousarray(tensor, dtype="<f4").data)
    return digest.digest()
