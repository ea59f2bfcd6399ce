"""What the context network sees, as tables of positions: one gather makes all its inputs.

Specification: clause 10.6. Latents of all levels stand in one flat vector, level after level in C order, with a zero
behind the last for everything outside of a plane.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sinrfmt.network import PyramidEncoding
from sinrfmt.registry import ContextId

Positions = NDArray[np.int64]
Offsets = Sequence[tuple[int, int]]

STRIDES = (4, 2, 1)
BASE_STRIDE = 8
N_GROUPS, N_PHASES = 4, 10
_DIAGONAL: Offsets = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_DIRECT: Offsets = ((-1, 0), (0, -1), (0, 1), (1, 0))
# Kind of an interlaced phase: first column of context.near, neighbours in units of the stride.
_NEAR: dict[int, tuple[int, Offsets]] = {1: (0, _DIAGONAL), 2: (4, _DIRECT), 3: (8, (*_DIRECT, *_DIAGONAL))}
_CAUSAL: Offsets = (*((-2, x) for x in range(-2, 3)), *((-1, x) for x in range(-2, 3)), (0, -2), (0, -1))
_PARENTS: Offsets = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))


@dataclass(frozen=True)
class Near:
    """Own-level inputs of the sites ``start`` to ``stop``: columns of context.near and positions (columns, sites)."""

    start: int
    stop: int
    first_column: int
    positions: Positions


@dataclass(frozen=True)
class ContextSites:
    """All latents as sites, in an order in which equal kinds of inputs stand together.

    Attributes:
        order: int64 (n,), position of every site in the flat vector.
        coarse: int64 (11, n), positions of the inputs from coarser levels.
        near: the inputs from the own level.
        phase: int64 (n,), row of context.phase.
        level: int64 (n,).
        group: int64 (n,), row of context.offset behind those of the levels; None where there is none.
    """

    order: Positions
    coarse: Positions
    near: tuple[Near, ...]
    phase: Positions
    level: Positions
    group: Positions | None


@dataclass(frozen=True)
class _Plan:
    """Where levels lie in the flat vector."""

    shapes: tuple[tuple[int, int, int], ...]  # (planes, rows, columns)
    starts: Positions

    def at(self, level: Positions, plane: Positions, y: Positions, x: Positions) -> Positions:
        """Flat positions; that of the zero where a site is outside of its plane or has no level."""
        known = np.maximum(level, 0)
        rows, columns = (np.array([shape[axis] for shape in self.shapes])[known] for axis in (1, 2))
        inside = (level >= 0) & (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
        places: Positions = np.where(inside, self.starts[known] + (plane * rows + y) * columns + x, self.starts[-1])
        return places


def context_sites(encoding: PyramidEncoding) -> ContextSites:
    """The sites of a pyramid with context INTERLACED or SERIAL."""
    shapes = tuple(_plane_shape(encoding.level_shape(level)) for level in range(encoding.n_levels))
    sizes = [planes * rows * columns for planes, rows, columns in shapes]
    plan = _Plan(shapes, np.concatenate([[0], np.cumsum(sizes)]))
    level = np.repeat(np.arange(len(sizes)), sizes)
    plane, y, x = np.concatenate([np.indices(shape).reshape(3, -1) for shape in shapes], axis=1)
    if encoding.context is ContextId.SERIAL:
        near = _positions(plan, (level, plane, y, x), _CAUSAL, np.ones_like(y))
        coarse = _coarse(plan, (level, plane, y, x))
        return ContextSites(np.arange(y.size), coarse, (Near(0, y.size, 0, near),), np.zeros_like(y), level, None)
    group, kind = _interlacing(y, x)
    order = np.lexsort((group, kind))
    level, plane, y, x, group, kind = (values[order] for values in (level, plane, y, x, group, kind))
    sites = (level, plane, y, x)
    stride = np.array([BASE_STRIDE, *STRIDES])[group]
    near_parts = []
    for number, (column, offsets) in _NEAR.items():
        start, stop = (int(i) for i in np.searchsorted(kind, (number, number + 1)))
        part = tuple(values[start:stop] for values in sites)
        near_parts.append(Near(start, stop, column, _positions(plan, part, offsets, stride[start:stop])))
    phase = np.where(group == 0, 0, 3 * (group - 1) + kind)
    return ContextSites(order, _coarse(plan, sites), tuple(near_parts), phase, level, group)


def _plane_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return int(np.prod(shape[:-2])), shape[-2], shape[-1]


def _interlacing(y: Positions, x: Positions) -> tuple[Positions, Positions]:
    """Group (0, then 1 to 3 for the strides 4, 2, 1) and kind of every site."""
    group, kind = np.zeros_like(y), np.zeros_like(y)
    for number, stride in enumerate(STRIDES, 1):
        for kind_number, y0, x0 in ((1, stride, stride), (2, 0, stride), (3, stride, 0)):
            here = (y % (2 * stride) == y0) & (x % (2 * stride) == x0)
            group[here], kind[here] = number, kind_number
    return group, kind


def _positions(plan: _Plan, sites: tuple[Positions, ...], offsets: Offsets, stride: Positions) -> Positions:
    level, plane, y, x = sites
    return np.stack([plan.at(level, plane, y + stride * dy, x + stride * dx) for dy, dx in offsets])


def _coarse(plan: _Plan, sites: tuple[Positions, ...]) -> Positions:
    level, plane, y, x = sites
    side_y, side_x = 2 * (y & 1) - 1, 2 * (x & 1) - 1
    parents = [plan.at(level - 1, plane, (y >> 1) + side_y * dy, (x >> 1) + side_x * dx) for dy, dx in _PARENTS]
    return np.stack([*parents, plan.at(level - 2, plane, y >> 2, x >> 2), plan.at(level - 3, plane, y >> 3, x >> 3)])
