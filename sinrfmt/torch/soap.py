"""An optimiser for a few small matrices: Adam in the eigenbases of their gradients' second moments.

Method: Vyas et al., "SOAP: improving and stabilizing Shampoo using Adam" (2024). The matrices of a grid's networks are
so small that calls cost more than arithmetic; they are padded to one shape and treated as a batch. Nothing here is
normative.
"""

from collections.abc import Sequence

import torch
from torch import Tensor as Values

MOMENTUM, SECOND_MOMENT, FACTOR_DECAY = 0.95, 0.95, 0.95
BASIS_INTERVAL = 10
"""Steps between two refinements of the eigenbases."""
LARGEST = 1.0
"""Of an entry of a step in the eigenbases, before the learning rate. Second moments are not turned with the bases:
where one says too little of a new direction, the quotient would have no bound."""
TINY = 1e-10
"""Added to the root of the second moment: below every gradient that means something."""


class Soap:
    """Updates parameters in place from their ``grad``."""

    def __init__(self, parameters: Sequence[Values], masks: Sequence[Values] | None = None) -> None:
        """All state is on the device of the parameters.

        Args:
            parameters: float32 leaves of one device, vectors or matrices; a vector is a matrix of one row.
            masks: of the shape of each parameter, 1 where it may change and 0 where it stays; None for 1 everywhere.
        """
        self.parameters = list(parameters)
        self._shapes = [(1, *p.shape)[-2:] for p in parameters]
        n_rows, n_columns = (max(shape[axis] for shape in self._shapes) for axis in (0, 1))
        empty = torch.zeros(len(self.parameters), n_rows, n_columns, device=self.parameters[0].device)
        self._momentum, self._second = empty.clone(), empty.clone()
        self._left = empty @ empty.mT
        self._right = empty.mT @ empty
        self._bases: tuple[Values, Values] | None = None
        self._mask = None if masks is None else self._padded(masks)
        self._n_steps = 0

    @torch.no_grad()
    def step(self, learning_rate: float, shares: Sequence[float] | None = None) -> None:
        """One update; the very first call only measures, it has no basis yet. A missing gradient counts as zero.

        ``shares`` are those of the learning rate that the parameters have; None for all of it.
        """
        gradient = self._padded([parameter.grad for parameter in self.parameters])
        if self._mask is not None:
            gradient *= self._mask
        self._left.lerp_(gradient @ gradient.mT, 1.0 - FACTOR_DECAY)
        self._right.lerp_(gradient.mT @ gradient, 1.0 - FACTOR_DECAY)
        if self._bases is None:
            self._bases = _eigenbasis(self._left), _eigenbasis(self._right)
            return
        self._n_steps += 1
        change = self._direction(gradient, *self._bases)
        if self._mask is not None:  # what is turned back reaches entries that had no gradient
            change *= self._mask
        rates = [learning_rate * share for share in shares or [1.0] * len(self.parameters)]
        for parameter, (n_rows, n_columns), part, rate in zip(
            self.parameters, self._shapes, change, rates, strict=True
        ):
            parameter.sub_(part[:n_rows, :n_columns].reshape(parameter.shape), alpha=rate)
        if self._n_steps % BASIS_INTERVAL == 0:
            self._refine_bases(*self._bases)

    def _padded(self, arrays: Sequence[Values | None]) -> Values:
        """Arrays of the shapes of the parameters as a batch; None is zero."""
        batch = torch.zeros_like(self._momentum)
        for array, (n_rows, n_columns), part in zip(arrays, self._shapes, batch, strict=True):
            if array is not None:
                part[:n_rows, :n_columns] = array
        return batch

    def _direction(self, gradient: Values, left: Values, right: Values) -> Values:
        """The step of Adam in the eigenbases, turned back."""
        self._momentum.lerp_(gradient, 1.0 - MOMENTUM)
        turned = left.mT @ gradient @ right
        self._second.mul_(SECOND_MOMENT).addcmul_(turned, turned, value=1.0 - SECOND_MOMENT)
        mean = (left.mT @ self._momentum @ right) / (1.0 - MOMENTUM**self._n_steps)
        root = (self._second / (1.0 - SECOND_MOMENT**self._n_steps)).sqrt_()
        return left @ (mean / (root + TINY)).clamp_(-LARGEST, LARGEST) @ right.mT

    def _refine_bases(self, left: Values, right: Values) -> None:
        """One power iteration each, in descending order; the second moment follows the order."""
        left, order = _sorted_basis(left, self._left)
        self._second = torch.gather(self._second, 1, order[:, :, None].expand_as(self._second))
        right, order = _sorted_basis(right, self._right)
        self._second = torch.gather(self._second, 2, order[:, None, :].expand_as(self._second))
        self._bases = torch.linalg.qr(self._left @ left)[0], torch.linalg.qr(self._right @ right)[0]


def _eigenbasis(factor: Values) -> Values:
    basis: Values = torch.linalg.eigh(factor)[1].flip(-1)
    return basis


def _sorted_basis(basis: Values, factor: Values) -> tuple[Values, Values]:
    strengths = torch.einsum("bij,bik,bkj->bj", basis, factor, basis)
    order = strengths.argsort(dim=1, descending=True)
    return torch.gather(basis, 2, order[:, None, :].expand_as(basis)), order
