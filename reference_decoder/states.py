"""What the passes have made of all tensors of a file, in a few arrays."""

from collections.abc import Iterator

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
        # a group before it, and what a later one has: the same for all but the first
        first, later = head.group_tensors(0), head.group_tensors(head.n_groups - 1)
        self.tensors = len(first), len(later)
        self.row_steps = sum(map(rows_of, first)), sum(map(rows_of, later))
        self.acc = np.empty(0, np.int32)
        self.steps, self.rows = np.empty(0, np.int16), np.empty(0, np.int16)
        self.flags = np.empty(0, np.uint8)

    def starts(self, group: int) -> tuple[int, int, int]:
        """The first places of a group in acc, in steps and flags, and in rows."""
        tensors, rows = (
            numbers[0] + (group - 1) * numbers[1] if group else 0 for numbers in (self.tensors, self.row_steps)
        )
        return int(self.head.group_ends[group - 1]) if group else 0, tensors, rows

    def place(self, group: int, states: list[State]) -> None:
        """Give the tensors of a group their places in `acc`, to be changed there.

        §14: "MUST check sizes before it allocates": the arrays are made when the lists of a first chunk were read.
        """
        if not self.acc.size:
            n, tensors, rows = int(self.head.group_ends[-1]), *self.starts(self.head.n_groups)[1:]
            self.acc = np.zeros(n, np.int32)
            self.steps, self.flags = np.zeros(tensors, np.int16), np.zeros(tensors, np.uint8)
            self.rows = np.zeros(rows, np.int16)
        at = self.starts(group)[0]
        for state in states:
            state.acc = self.acc[at : at + state.tensor.size]
            at += state.tensor.size

    def load(self, group: int) -> list[State]:
        """The tensors of a group in table order; those that no pass has coded may have no acc yet.

        §7.3: "In passes before that it has no entry, not even `refined`, and its weights are 0."; §9.6: "A level that
        no pass has coded yet is all zeros."
        """
        found = [State(tensor, self.acc, is_coded=False) for tensor in self.head.group_tensors(group)]
        if not self.acc.size:
            return found
        self.place(group, found)
        _, first, row = self.starts(group)
        for index, state in enumerate(found, first):
            state.step, state.is_coded = int(self.steps[index]), bool(self.flags[index] & CODED)
            if self.flags[index] & ROW_STEPS:
                state.row_steps = self.rows[row : row + rows_of(state.tensor)]
            row += rows_of(state.tensor)
        return found

    def save(self, group: int, states: list[State]) -> None:
        """Keep the other numbers of the tensors that `load` gave."""
        _, first, row = self.starts(group)
        for index, state in enumerate(states, first):
            self.steps[index] = state.step
            self.flags[index] = (CODED if state.is_coded else 0) | (0 if state.row_steps is None else ROW_STEPS)
            if state.row_steps is not None:
                self.rows[row : row + len(state.row_steps)] = state.row_steps
            row += rows_of(state.tensor)

    def all(self) -> Iterator[State]:
        """The tensors of all groups."""
        for group in range(self.head.n_groups):
            yield from self.load(group)

    def to_weights(self) -> npt.NDArray[np.float32]:
        """All weights, in the place of the integers: both are never there in full."""
        for state in self.all():
            weights(state)
        return self.acc.view(np.float32)


def rows_of(tensor: Tensor) -> int:
    """Row steps that the tensor may have, its own or those of its base."""
    return tensor.shape[0] if tensor.role == WEIGHTS and len(tensor.shape) == 2 else 0
