"""Sparse codes in a dictionary: pursuit and L1 solvers for all vectors of a tensor at once.

Specification: clauses 8.3 (dictionary) and 9.5 (what the codes are for); nothing here is normative. Methods: Pati,
Rezaiifar, Krishnaprasad, "Orthogonal matching pursuit" (1993); Beck, Teboulle, "A fast iterative shrinkage-thresholding
algorithm for linear inverse problems" (2009). Every step works on all vectors in a few matrix products, on any device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor as Values

from sinrfmt.philox import dictionary_columns
from sinrfmt.registry import Dictionary

SPAN_TOLERANCE = 1e-3
"""An atom of which no larger share than this times the square root of the precision is outside the span of the chosen
ones adds nothing but noise."""
CANCELLED = 0.7
"""Gram-Schmidt is repeated when less than this share of an atom is left (Daniel, Gragg, Kaufman, Stewart, 1976)."""
TINY = 1e-30
"""Norm of a residual that is taken for zero."""
POWER_STEPS = 30
"""Steps of the power iteration for the largest eigenvalue of the Gram matrix."""
EIGENVALUE_MARGIN = 1.02


def seeded_dictionary(
    law: Dictionary, rows: int, n_atoms: int, ordinal: int, seed: int, *, dtype: torch.dtype, device: torch.device
) -> Values:
    """The dictionary of a tensor ordinal (clause 8.3): (rows, n_atoms), its integers."""
    columns = dictionary_columns(law, rows, range(n_atoms), ordinal, seed)
    dictionary: Values = torch.from_numpy(columns.T).to(device).T.to(dtype)
    return dictionary


@dataclass(frozen=True)
class Pursuit:
    """What a pursuit found for n vectors, in the order it chose: every shorter code is a part of it.

    Attributes:
        atoms: int64 (n, s), atoms in order of choice.
        projections: (n, s), of the vectors on the orthonormal basis that the chosen atoms span one by one.
        triangles: (n, s, s), upper triangular: the chosen atoms in that basis.
    """

    atoms: Values
    projections: Values
    triangles: Values

    def coefficients(self, n_nonzero: int) -> Values:
        """The least-squares coefficients (n, n_nonzero) of the first atoms, in order of choice."""
        part = slice(0, n_nonzero)
        right = self.projections[:, part].unsqueeze(2)
        solution: Values = torch.linalg.solve_triangular(self.triangles[:, part, part], right, upper=True)
        return solution.squeeze(2)


@torch.no_grad()
def orthogonal_matching_pursuit(dictionary: Values, vectors: Values, n_nonzero: int) -> Pursuit:
    """Choose atoms one by one, each the one that is most parallel to what is left of its vector.

    One product of the residuals with the dictionary is most of the work of a step: k1 k2 for each vector, however many
    atoms it has. It is done in float32, for it only has to find the largest entry; everything else has the precision of
    the arguments. The chosen atoms are kept as an orthonormal basis, so that residuals need no solution of a system and
    no Gram matrix of k2 x k2 entries.

    Args:
        dictionary: (k1, k2), floating point. Atoms need no unit norm: they are compared as if they had.
        vectors: (n, k1), same dtype and device.
        n_nonzero: atoms of every vector, at most k1 and k2.
    """
    n, k1 = vectors.shape
    by_atom = dictionary.T.contiguous()
    unit_atoms = torch.nn.functional.normalize(dictionary.float(), dim=0)
    basis = vectors.new_zeros(n, n_nonzero, k1)
    triangles = vectors.new_zeros(n, n_nonzero, n_nonzero)
    projections = vectors.new_zeros(n, n_nonzero)
    atoms = torch.zeros(n, n_nonzero, dtype=torch.int64, device=vectors.device)
    residuals = vectors.clone()
    scores = unit_atoms.new_empty(n, dictionary.shape[1])
    for k in range(n_nonzero):
        # A residual of any size is brought to about 1: float32 has a shorter range than float64.
        torch.mm(torch.nn.functional.normalize(residuals, dim=1, eps=TINY).float(), unit_atoms, out=scores)
        scores.abs_().scatter_(1, atoms[:, :k], -1.0)
        atoms[:, k] = scores.argmax(dim=1)
        direction, triangles[:, : k + 1, k] = _next_direction(basis[:, :k], by_atom[atoms[:, k]])
        basis[:, k] = direction
        projections[:, k] = (direction * residuals).sum(1)
        residuals -= projections[:, k, None] * direction
    return Pursuit(atoms, projections, triangles)


def _next_direction(basis: Values, columns: Values) -> tuple[Values, Values]:
    """The unit vectors (n, k1) that columns (n, k1) add to bases (n, k, k1), and the columns in it: (n, k + 1)."""
    norms = columns.norm(dim=1)
    shares, columns = _without_span(basis, columns)
    rest = columns.norm(dim=1)
    if (rest < CANCELLED * norms).any():  # what is left has lost digits: once more
        corrections, columns = _without_span(basis, columns)
        shares += corrections
        rest = columns.norm(dim=1)
    # A column in the span gets no direction; with 1 on the diagonal its coefficient is 0.
    is_new = rest > SPAN_TOLERANCE * torch.finfo(columns.dtype).eps ** 0.5 * norms
    rest = torch.where(is_new, rest, 1.0)
    direction = columns * (is_new / rest).unsqueeze(1)
    return direction, torch.cat([shares, rest.unsqueeze(1)], dim=1)


def _without_span(basis: Values, columns: Values) -> tuple[Values, Values]:
    """The parts of columns (n, k1) on bases (n, k, k1): (n, k), and what is left of them: (n, k1)."""
    shares = torch.bmm(basis, columns.unsqueeze(2))
    return shares.squeeze(2), columns - torch.bmm(shares.transpose(1, 2), basis).squeeze(1)


@torch.no_grad()
def fista(dictionary: Values, vectors: Values, penalties: Values, n_steps: int) -> Values:
    """Minimise ``|y - A x|^2 / 2 + penalty |x|_1`` for every vector y.

    Args:
        dictionary: (k1, k2), floating point.
        vectors: (n, k1), same dtype and device.
        penalties: (n,), positive.
        n_steps: of accelerated shrinkage.

    Returns:
        (n, k2)
    """
    rate = 1.0 / _largest_eigenvalue(dictionary)
    threshold = (rate * penalties).unsqueeze(1)
    x = vectors.new_zeros(vectors.shape[0], dictionary.shape[1])
    ahead, momentum = x, 1.0
    for _ in range(n_steps):
        gradient = (ahead @ dictionary.T - vectors) @ dictionary
        moved = ahead - rate * gradient
        moved = moved.sign() * (moved.abs() - threshold).clamp_min(0.0)
        next_momentum = 0.5 + (0.25 + momentum**2) ** 0.5
        ahead = moved + (momentum - 1.0) / next_momentum * (moved - x)
        x, momentum = moved, next_momentum
    return x


def _largest_eigenvalue(dictionary: Values) -> float:
    """An upper estimate of the largest eigenvalue of ``A^T A``, by power iteration."""
    x = dictionary.new_ones(dictionary.shape[0])
    for _ in range(POWER_STEPS):
        x = dictionary @ (dictionary.T @ x)
        norm = x.norm()
        x = x / norm
    return EIGENVALUE_MARGIN * float(norm)


@torch.no_grad()
def least_squares(columns: Values, vectors: Values) -> Values:
    """Least-squares coefficients for fixed atoms.

    Args:
        columns: (n, s, k1), the atoms of every vector.
        vectors: (n, k1).

    Returns:
        (n, s)
    """
    solution: Values = torch.linalg.lstsq(columns.transpose(1, 2), vectors.unsqueeze(2)).solution
    return solution.squeeze(2)
