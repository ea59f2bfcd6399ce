"""What the context network sees, as tables of positions: one gather makes all its inputs.

Specification: clause 10.6. Latents of all levels stand in one flat vector, level after level in C order, with a zero
behind the last for everything outside of a plane.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sinrfmt.contexts import CAUSAL, NEAR, Sites, group_of, interlaced_cosets
from sinrfmt.network import PyramidEncoding
from sinrfmt.registry import ContextId

Positions = NDArray[np.int64]

N_PHASES = sum(1 for _ in interlaced_cosets())


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

    def at(self, level: Positions, sites: Sites) -> Positions:
        """Flat positions; that of the zero where a site is outside of its plane or has no level."""
        known = np.maximum(level, 0)
        rows, columns = (np.array([shape[axis] for shape in self.shapes])[known] for axis in (1, 2))
        inside = (level >= 0) & (sites.y >= 0) & (sites.y < rows) & (sites.x >= 0) & (sites.x < columns)
        inner = self.starts[known] + (sites.p * rows + sites.y) * columns + sites.x
        places: Positions = np.where(inside, inner, self.starts[-1])
        return places


def context_sites(encoding: PyramidEncoding) -> ContextSites:
    """The sites of a pyramid with context INTERLACED or SERIAL."""
    shapes = tuple(_plane_shape(encoding.level_shape(level)) for level in range(encoding.n_levels))
    sizes = [planes * rows * columns for planes, rows, columns in shapes]
    plan = _Plan(shapes, np.concatenate([[0], np.cumsum(sizes)]))
    level = np.repeat(np.arange(len(sizes)), sizes)
    parts = np.concatenate([np.indices(shape, dtype=np.int32).reshape(3, -1) for shape in shapes], axis=1)
    sites = Sites(*parts)
    if encoding.context is ContextId.SERIAL:
        near = Near(0, level.size, 0, plan.at(level, sites.neighbours(CAUSAL)))
        return ContextSites(
            np.arange(level.size), _coarse(plan, level, sites), (near,), np.zeros_like(level), level, None
        )
    phase, kind = _interlacing(sites)
    order = np.lexsort((phase, kind))
    level, phase, kind, sites = level[order], phase[order], kind[order], Sites(*parts[:, order])
    group = np.array([group_of(number) for number in range(N_PHASES)])[phase]
    near_parts = _near(plan, level, sites, phase, kind)
    return ContextSites(order, _coarse(plan, level, sites), near_parts, phase, level, group)


def _near(plan: _Plan, level: Positions, sites: Sites, phase: Positions, kind: Positions) -> tuple[Near, ...]:
    strides = np.array([stride for *_, stride in interlaced_cosets()], dtype=np.int32)[phase]
    parts = []
    for number, (offsets, columns) in enumerate(NEAR):
        if not len(offsets):
            continue
        start, stop = (int(i) for i in np.searchsorted(kind, (number, number + 1)))
        here = slice(start, stop)
        y, x = (v + offsets[:, axis, None] * strides[here] for axis, v in enumerate((sites.y[here], sites.x[here])))
        parts.append(Near(start, stop, columns.start, plan.at(level[here], Sites(sites.p[here], y, x))))
    return tuple(parts)


def _plane_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return int(np.prod(shape[:-2])), shape[-2], shape[-1]


def _interlacing(sites: Sites) -> tuple[Positions, Positions]:
    """Phase and its kind of every site."""
    phase, kind = np.zeros(sites.y.size, dtype=np.int64), np.zeros(sites.y.size, dtype=np.int64)
    for number, (kind_number, y0, x0, step, _) in enumerate(interlaced_cosets()):
        here = (sites.y % step == y0) & (sites.x % step == x0)
        phase[here], kind[here] = number, kind_number
    return phase, kind


def _coarse(plan: _Plan, level: Positions, sites: Sites) -> Positions:
    above = [plan.at(level - generations, sites.ancestors(generations))[None] for generations in (2, 3)]
    return np.concatenate([plan.at(level - 1, sites.parents()), *above])
