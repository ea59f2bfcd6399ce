"""Tool 4: the latents of grids and pyramids (clause 9.6.3)."""

from dataclasses import dataclass, field

import numpy as np

from reference_decoder.context import Context, ContextTensor, read_level
from reference_decoder.entropy import Integers, RansBody, Values
from reference_decoder.errors import DecodeError
from reference_decoder.head import CONTEXT, LATENTS, Record, Tensor
from reference_decoder.packed import Packed

LATENT_STEP = 800  # §9.6: "its step code is 800 (a step of 1), which is not written"
CONTEXT_END = 1 << 11


@dataclass(frozen=True)
class LatentCode:
    """How the latents of a level stand in the body: in lists, or None of them where the context network gives models.

    §9.6.3: "the latents of a GRID level are one list for each dimension d, of the entries in order; those of a PYRAMID
    level one list in C order, or the lists of clause 10.6 for latent form 5."
    """

    lists: list[Values] | None

    @property
    def bits(self) -> int:
        """Bits of the lists in a packed body."""
        return sum(values.bits for values in self.lists or [])


@dataclass
class Known:
    """What the levels of a pyramid are decoded from: the levels below, and the context tensors with their steps."""

    record: Record
    levels: list[Integers] = field(default_factory=list)
    tensors: list[ContextTensor] = field(default_factory=list)

    def add(self, tensor: Tensor, acc: Integers, step: int) -> None:
        """Take note of a tensor whose integers are known, in table order."""
        if tensor.role == LATENTS:
            self.levels.append(acc.reshape(tensor.shape))
        elif tensor.role == CONTEXT:
            # §9.6.3: "Its step code is s = 800 - 8·context_step"
            self.tensors.append(ContextTensor(acc.reshape(tensor.shape).astype(np.float64), (LATENT_STEP - step) // 8))


def check_context(acc: Integers, at: int) -> None:
    """GRD-8 §9.6.3: "The acc of a context tensor are below 2^11 in magnitude (`ACC_OVERFLOW`, at the body's first byte;
    checked when the list of the entry is read)."
    """
    if np.abs(acc.astype(np.int64)).max() >= CONTEXT_END:
        raise DecodeError("ACC_OVERFLOW", at)


def read_latents(body: RansBody | Packed, tensor: Tensor, code: LatentCode, known: Known) -> Integers:
    """The latents of a level, flat, in C order."""
    if code.lists is None:
        assert isinstance(body, RansBody)
        context = Context(known.record.context, known.record.n_levels, known.tensors)
        return read_level(body.coder, context, tensor.level, tensor.shape, known.levels)
    if len(code.lists) == 1:
        return body.read(code.lists[0])
    found = np.empty(tensor.shape, np.int32)
    for dimension, values in enumerate(code.lists):
        found[:, dimension] = body.read(values)
    return found.reshape(-1)
