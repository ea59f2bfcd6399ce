"""Weights: from decoded values to integers, from integers to weights (clause 9)."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_decoder.errors import DecodeError
from reference_decoder.generator import PRIOR, signed_numbers
from reference_decoder.head import RAW, Tensor
from reference_decoder.limits import blocks
from reference_decoder.trellis import Trellis

Integers = npt.NDArray[np.int32]

# §9.1: "M = (8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775)"
M = np.array((8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775), np.float64)
MAX_STEP_CODE = 1023


@dataclass(slots=True)
class State:
    """What is known of a tensor after a pass. For tool 0 `acc` holds bit patterns; zeros, where not coded."""

    tensor: Tensor
    acc: Integers  # flat, C order
    step: int = 0  # step code s
    row_steps: npt.NDArray[np.int16] | None = None  # d_r
    is_coded: bool = True


def step(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """§9.1: "return M[s & 7] * 2.0 ** ((s >> 3) - 123)"; "step(s) is exact in binary32"."""
    steps: npt.NDArray[np.float32] = np.ldexp(M[codes & 7], (codes >> 3) - 123).astype(np.float32)
    return steps


def least_step(state: State) -> int:
    """The least step code of the tensor's rows: "row r of a matrix uses the code s + d_r" (§9.1)."""
    return state.step + (0 if state.row_steps is None else int(state.row_steps.min()))


def check_row_steps(code: int, differences: Integers, at: int) -> npt.NDArray[np.int16]:
    """WGT-3 §9.1: "In pass 0 a step code s + d_r outside 0 … 1023 is `STEP_OUT_OF_RANGE`"."""
    if code + int(differences.min()) < 0 or code + int(differences.max()) > MAX_STEP_CODE:
        raise DecodeError("STEP_OUT_OF_RANGE", at)
    return differences.astype(np.int16)


def check_finite(tensor: Tensor, patterns: Integers, at: int) -> None:
    """WGT-5 §9.2: "An infinity or a NaN is `NON_FINITE_WEIGHT`." """
    exponent = 0x7C00 if tensor.is_half else 0x7F800000
    for block in blocks(patterns.size):
        if ((patterns[block] & exponent) == exponent).any():
            raise DecodeError("NON_FINITE_WEIGHT", at)


def contributions(values: Integers, trellis: Trellis | None, at: int) -> Iterator[tuple[slice, npt.NDArray[np.int64]]]:
    """ "The value the tool gives" in blocks: §9.3: "r = v: the decoded value."; for tool 2 that of the trellis."""
    for block in blocks(values.size):
        r = values[block].astype(np.int64) if trellis is None else trellis.contributions(values[block])
        # TRE-3 §9.4: "|r| is below 2^31 (`ACC_OVERFLOW`, at the body's first byte), checked where SPA-5 is."
        if trellis is not None and np.abs(r).max() >= 1 << 31:
            raise DecodeError("ACC_OVERFLOW", at)
        yield block, r


def begin(
    acc: Integers,
    values: Integers,
    trellis: Trellis | None,
    ordinal: int,
    seed: int,
    prior: tuple[int, int] | None,
    at: int,
) -> None:
    """Make acc from the values of the pass in which a tensor begins. `prior` is (m, E) of clause 9.7.

    WGT-1 §9.1: "In pass 0, acc = r + P, where r is the value the tool gives (clauses 9.3 to 9.5) and P the prior
    (clause 9.7), or 0."
    """
    for block, r in contributions(values, trellis, at):
        if prior is not None:
            m, e = prior
            # §9.7: "return U * m + 2 ** (E - 1) >> E"
            np.add(r, (signed_numbers(block.start, r.size, ordinal, PRIOR, seed) * m + (1 << (e - 1))) >> e, out=r)
        store(r, acc, block, at)


def refine(acc: Integers, values: Integers, trellis: Trellis | None, n: int, at: int) -> None:
    """Change acc by the values of a later pass.

    WGT-2 §9.1: "A later pass with n = refine_bits + 1 (tool 3: SPA-4) replaces acc by acc·2^n + r".
    """
    for block, r in contributions(values, trellis, at):
        store((acc[block].astype(np.int64) << n) + r, acc, block, at)


def store(found: npt.NDArray[np.int64], acc: Integers, block: slice, at: int) -> None:
    """WGT-4 §9.1: "|acc| >= 2^31 after WGT-1 or WGT-2, and for latents, whose acc is y, is `ACC_OVERFLOW`." """
    if np.abs(found).max() >= 1 << 31:
        raise DecodeError("ACC_OVERFLOW", at)
    acc[block] = found


def acc_crc(states: list[State]) -> int:
    """PAS-5 §7.5: "CRC-32 of the acc of all tensors that the chunk codes, as little-endian int32, in table order"."""
    crc = 0
    for state in states:
        for block in blocks(state.acc.size):
            crc = zlib.crc32(state.acc[block].astype("<i4", copy=False).data, crc)
    return crc


def weight_blocks(state: State) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """The weights of a tensor in blocks.

    §9.1: "return RNE32(RNE32(acc) * step(s))": "one conversion and one binary32 multiplication".
    """
    columns = state.tensor.shape[-1]
    for block in blocks(state.acc.size):
        acc = state.acc[block]
        if state.tensor.tool == RAW:
            # §9.2: "w is that number, as binary32"
            is_half = state.tensor.is_half
            yield block, acc.astype(np.uint16).view(np.float16).astype(np.float32) if is_half else acc.view(np.float32)
            continue
        codes = np.array([state.step])
        if state.row_steps is not None:
            codes = state.row_steps[np.arange(block.start, block.stop) // columns] + codes
        yield block, acc.astype(np.float32) * step(codes)


def weights(state: State) -> npt.NDArray[np.float32]:
    """The weights of a tensor in its shape, in the place of its acc."""
    found = state.acc.view(np.float32)
    for block, values in weight_blocks(state):
        found[block] = values
    return found.reshape(state.tensor.shape)


def weights_sha256(states: Iterable[State], passes: int) -> bytes:
    """§9.1: "`weights_sha256` is the SHA-256 of all w as little-endian binary32, in table order, of the
    tensors that begin in the passes decoded (clause 7.3; latents that no pass has coded are there, as zeros); with
    PARTS, those of the shared tensors, if there are any, then those of every part in order."
    """
    digest = hashlib.sha256()
    for state in states:
        for _, values in weight_blocks(state) if state.tensor.begins < passes else ():
            digest.update(values.astype("<f4", copy=False).data)
    return digest.digest()
