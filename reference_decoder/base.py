"""Another file as the base of this one's weights (clause 9.8)."""

import hashlib
from typing import Any

import numpy as np

from reference_decoder.errors import DecodeError
from reference_decoder.head import (
    DIGEST_BYTES,
    FOURIER_SEEDED,
    HAS_GRID,
    INPUT,
    PARTS,
    RAW,
    SHARED_BASE,
    WIDTHS,
    Head,
    Record,
    Step,
)
from reference_decoder.limits import blocks
from reference_decoder.states import States
from reference_decoder.weights import State

FLAG_BITS = 0x60  # bits 5 and 6 of tool_flags


def state_digest(states: list[State]) -> bytes:
    """§9.8: "for each in table order: step codes (one, or one for each row; none for tool 0), acc".

    "For tool 0 the patterns stand for acc, as unsigned numbers; a step code of a tensor with row steps is s + d_r, one
    for each row."
    """
    digest = hashlib.sha256()
    for state in states:
        if state.tensor.tool != RAW:
            rows = np.zeros(1, np.int16) if state.row_steps is None else state.row_steps
            digest.update((rows + state.step).astype("<u2").data)
        for block in blocks(state.acc.size):
            digest.update(state.acc[block].astype("<i4", copy=False).data)
    return digest.digest()[:DIGEST_BYTES]


def rebase(head: Head, states: States) -> None:
    """Make the state of the base, after its last pass, that of this file before pass 0.

    §9.8: "the acc and the step codes of this file before pass 0 are those of the base after its last pass".

    BAS-2 §9.8: "it has SHARED_BASE itself; `base_digest` is not its state digest after its last pass".
    """
    base = states.head
    # "either file has a GRID or PYRAMID; the base has PARTS or WIDTHS"
    is_plain = not base.features & (SHARED_BASE | HAS_GRID | PARTS | WIDTHS) and not head.features & HAS_GRID
    is_named = is_plain and state_digest(states.load(0)) == head.base_digest
    if not is_named or network_form(base) != network_form(head):
        raise DecodeError("BASE_MISMATCH", head.base_digest_at)
    states.head = head


def network_form(head: Head) -> tuple[Any, ...]:
    """What the two files have in common.

    §9.8: "in_dims or out_channels differ"; "there is a FOURIER_SEEDED record, and seed or generator differ." There is
    one generator.
    """
    encoding = head.encoding
    seed = head.seed if encoding is not None and encoding.kind == FOURIER_SEEDED else None
    steps = [step_form(step) for step in head.steps]
    return head.in_dims, head.out_channels, encoding and encoding_form(encoding), seed, steps


def encoding_form(record: Record) -> tuple[Any, ...]:
    """§9.8: "the input encoding or an INPUT record differs in any field but tool_flags"."""
    axes = record.first, record.count, record.encoding
    fourier = record.flags, record.octaves, record.base, record.n_features, record.scale
    return record.kind, *axes, *fourier


def step_form(step: Step) -> tuple[Any, ...]:
    """§9.8: "the layers of clause 6.7 and the INPUT records between them differ in their order, kind, inputs, outputs,
    omega, scale, or bits 5 and 6 of tool_flags, or a layer has tool 0 in one of the two files only".
    """
    record = step.record
    if record.kind == INPUT:
        return encoding_form(record)
    flags = record.tool_flags & FLAG_BITS, record.tool == RAW
    return record.kind, record.activation, step.rows, step.columns, record.omega, record.scale, *flags
