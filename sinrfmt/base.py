"""A file whose weights are relative to another one, its base.

Specification: clause 9.8. The base is named by the digest of its integers, so a copy of it that was written again, in
another coding or in more passes, still is the base.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sinrfmt.head import Header
from sinrfmt.network import Layer, Network, SeededFourierEncoding, Step
from sinrfmt.payload import States
from sinrfmt.registry import Tool
from sinrfmt.wire import Fault

DIGEST_BYTES = 16


@dataclass(frozen=True)
class Base:
    """What another file is needed for: its HEAD, and its tensors after its last pass."""

    header: Header
    states: States


BaseSource = Callable[[], Base]
"""Reads and decodes a base. It is called only for a file that has one, so that nothing is read in vain (DEC-6)."""


def state_digest(states: States) -> bytes:
    """The 16 bytes that name these integers: step codes, as uint16, and acc of every tensor in table order."""
    digest = hashlib.sha256()
    for state in states:
        if state.tensor.record.tool is not Tool.RAW:
            rows = np.zeros(1) if state.row_steps is None else state.row_steps
            digest.update((rows + state.step).astype("<u2").tobytes())
        digest.update(np.ascontiguousarray(state.acc, dtype="<i4").data)
    return digest.digest()[:DIGEST_BYTES]


def states_from(base: Base, header: Header) -> States:
    """The tensors of a file before its pass 0.

    Raises:
        Fault: BASE_MISMATCH (BAS-2); the offset is left to the caller.
    """
    if base.header.base_digest is not None:
        raise _mismatch("it has a base itself")
    if base.header.parts is not None:
        raise _mismatch("it is in parts")
    if (digest := state_digest(base.states)) != header.base_digest:
        raise _mismatch(f"its state digest is {digest.hex()}")
    if base.header.network.active_widths:
        raise _mismatch("it grows")
    if base.header.network.latents is not None or header.network.latents is not None:
        raise _mismatch("latent grids have no base")
    if _identity(base.header) != _identity(header):
        raise _mismatch("its network is another one")
    return tuple(replace(state, tensor=tensor) for state, tensor in zip(base.states, header.tensors, strict=True))


def _mismatch(reason: str) -> Fault:
    return Fault("BASE_MISMATCH", f"not the base of this file: {reason}", path="base_digest")


def _identity(header: Header) -> tuple[Any, ...]:
    """What must be equal in a file and its base."""
    network: Network = header.network
    has_seed = isinstance(network.input_encoding, SeededFourierEncoding)
    return (
        network.in_dims,
        network.out_channels,
        network.input_encoding,
        header.seed if has_seed else None,
        [_step_identity(step) for step in network.steps],
    )


def _step_identity(step: Step) -> Any:
    if not isinstance(step, Layer):
        return step
    record = step.record
    shape = (step.kind, step.n_in, step.n_out, step.omega, record.scale, record.is_output)
    return (*shape, record.bias, record.half, record.tool is Tool.RAW)
