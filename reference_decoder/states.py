"""What the passes have made of all tensors of a file, in a few arrays."""

import numpy as np
import numpy.typing as npt

from reference_decoder.head import WEIGHTS, Head, Tensor
from reference_decoder.weights import State, weights

CODED, ROW_STEPS = 1, 2  # flags of a tensor


class States:
    """The integers, step codes and row step differences of every tensor.

    §14: "A decoder needs at most 16 bytes a parameter": where tensors are many and small, that is less than an object
    for each of them takes. So they are made from the arrays when they are needed.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        self.acc = np.empty(0, np.int32)
        self.steps, self.rows = np.empty(0, np.int16), np.empty(0, np.int16)
        self.flags = np.empty(0, np.uint8)

    def place(self, states: list[State]) -> None:
        """Give tensors their part of `acc`, to be changed in place.

        §14: "MUST check sizes before it allocates": the arrays are made when the lists of a first chunk were read.
        """
        if not self.acc.size:
            tensors = self.head.tensors
            self.acc = np.zeros(sum(tensor.size for tensor in tensors), np.int32)
            self.steps = np.zeros(len(tensors), np.int16)
            self.flags = np.zeros(len(tensors), np.uint8)
            self.rows = np.zeros(sum(rows_of(tensor) for tensor in tensors), np.int16)
        at = 0
        for state in states:
            state.acc = self.acc[at : at + state.tensor.size]
            at += state.tensor.size

    def load(self) -> list[State]:
        """The tensors in table order; those that no pass has coded may have no acc yet.

        §7.3: "In passes before that it has no entry, not even `refined`, and its weights are 0."; §9.6: "A level that
        no pass has coded yet is all zeros."
        """
        found, row = [State(tensor, self.acc, is_coded=False) for tensor in self.head.tensors], 0
        if not self.acc.size:
            return found
        self.place(found)
        for state, step, flags in zip(found, self.steps.tolist(), self.flags.tolist(), strict=True):
            state.step, state.is_coded = step, bool(flags & CODED)
            if flags & ROW_STEPS:
                state.row_steps = self.rows[row : row + rows_of(state.tensor)]
            row += rows_of(state.tensor)
        return found

    def save(self, states: list[State]) -> None:
        """Keep the other numbers of the tensors that `load` gave."""
        row = 0
        for index, state in enumerate(states):
            self.steps[index] = state.step
            self.flags[index] = (CODED if state.is_coded else 0) | (0 if state.row_steps is None else ROW_STEPS)
            if state.row_steps is not None:
                self.rows[row : row + len(state.row_steps)] = state.row_steps
            row += rows_of(state.tensor)

    def to_weights(self) -> npt.NDArray[np.float32]:
        """All weights, in the place of the integers: both are never there in full."""
        for state in self.load():
            weights(state)
        return self.acc.view(np.float32)


def rows_of(tensor: Tensor) -> int:
    """Row steps that the tensor may have, its own or those of its base."""
    return tensor.shape[0] if tensor.role == WEIGHTS and len(tensor.shape) == 2 else 0
