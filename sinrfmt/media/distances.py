"""Distances to a mesh, which points are inside it, and points to take them at. NumPy and scipy (extra ``mesh``).

Distances are exact to the few triangles near which the closest samples of the surface lie. Inside a closed mesh is
where a ray crosses it more often in one direction than in the other; of an open one, where its generalized winding
number is above one half (Jacobson et al., "Robust inside-outside segmentation using generalized winding numbers",
2013), summed over a tree of triangles whose far nodes count as one dipole (Barill et al., "Fast winding numbers for
soups and clouds", 2018).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.media.mesh import Closure, Floats, Indices, Mesh

Bools = NDArray[np.bool_]

N_SITES = 100_000
"""Samples of the surface in the tree, and one more at most for each triangle."""
N_NEAREST = 8
"""Samples whose triangles are looked at."""
CHUNK = 1 << 16
MAX_PAIRS = 1 << 21
"""Pairs of a point and a triangle that are looked at together."""
MAX_BINS = 256
"""Along each axis, of the triangles as rays see them."""
SPREADS = {0.003: 0.25, 0.01: 0.25, 0.04: 0.15, 0.15: 0.1}
"""Shares of the points around a surface by their standard deviation; the rest is anywhere.

With less of it crumbs are left in the air that no point of the training has met."""
REACH = 1.1
"""Half the side of the cube that the rest is drawn in, before it is moved onto the box."""
LEAF_TRIANGLES = 16
FAR = 2.0
"""Radii of a node from which on it counts as a dipole."""


@dataclass(frozen=True)
class Nearest:
    """The closest point of a surface, for n points.

    Attributes:
        distances: float64 (n,).
        triangles: int64 (n,), where it is.
    """

    distances: Floats
    triangles: Indices


class Surface:
    """A mesh that can be asked how far away it is."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    @cached_property
    def normals(self) -> Floats:
        """Of the triangles, unit length: float64 (m, 3)."""
        return self.mesh.area_vectors / self.mesh.areas[:, None]

    @cached_property
    def _sites(self) -> tuple[Any, Indices]:
        """A tree of samples, and the triangle of each."""
        from scipy.spatial import cKDTree

        areas = self.mesh.areas
        counts = np.ceil(areas * (N_SITES / areas.sum())).astype(np.int64)
        owners = np.repeat(np.arange(len(areas)), counts)
        order = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        # The first two coordinates of a low-discrepancy sequence, the first sample of each triangle near its middle.
        u, v = (0.5 + order * 0.754877666) % 1.0, (0.4 + order * 0.569840291) % 1.0
        # Boxes that are not shrunk to their points are quicker for the far points of a volume.
        return cKDTree(on_triangles(self.mesh, owners, u, v), compact_nodes=False), owners

    @cached_property
    def _winding(self) -> "Callable[[Floats], NDArray[np.float64]]":
        mesh = self.mesh
        return _winding_tree(mesh) if mesh.closure is Closure.OPEN else _crossings(mesh)

    def nearest(self, points: Floats) -> Nearest:
        """The closest point of the surface to each of some points (n, 3)."""
        parts = [self._nearest(points[at : at + CHUNK]) for at in range(0, len(points), CHUNK)]
        return Nearest(np.concatenate([p.distances for p in parts]), np.concatenate([p.triangles for p in parts]))

    def _nearest(self, points: Floats) -> Nearest:
        tree, owners = self._sites
        n_nearest = min(N_NEAREST, len(owners))
        near = tree.query(points, k=n_nearest)[1].reshape(len(points), n_nearest)
        candidates = owners[near]
        squared = squared_distances(np.repeat(points, n_nearest, axis=0), self.mesh.triangles[candidates.ravel()])
        squared = squared.reshape(candidates.shape)
        best = squared.argmin(axis=1)
        rows = np.arange(len(points))
        return Nearest(np.sqrt(squared[rows, best]), candidates[rows, best])

    def cells_inside(self, size: int) -> Bools:
        """Which centres of the size^3 cells of [-1, 1]^3 are inside: bool (size, size, size).

        For rays a whole column of centres is one point.
        """
        along = (2 * np.arange(size) + 1) / size - 1
        if self.mesh.closure is Closure.OPEN:
            planes = [np.stack(np.meshgrid([x], along, along, indexing="ij"), axis=-1).reshape(-1, 3) for x in along]
            return np.stack([self.is_inside(plane) for plane in planes]).reshape(size, size, size)
        columns = np.stack([*np.meshgrid(along, along, indexing="ij"), np.full((size, size), -np.inf)], axis=-1)
        return _columns_inside(self.mesh, columns.reshape(-1, 3), along).reshape(size, size, size)

    def is_inside(self, points: Floats) -> Bools:
        """Which of some points (n, 3) are inside: bool (n,)."""
        parts = [np.abs(self._winding(points[at : at + CHUNK])) > 0.5 for at in range(0, len(points), CHUNK)]
        return np.concatenate(parts)

    def signed_distances(self, points: Floats) -> Floats:
        """Distances (n,) of some points (n, 3), negative inside."""
        return np.where(self.is_inside(points), -1.0, 1.0) * self.nearest(points).distances

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Floats, Indices]:
        """Points (n, 3) spread evenly over the surface, and their triangles (n,)."""
        ends = np.cumsum(self.mesh.areas)
        owners = np.minimum(np.searchsorted(ends, rng.uniform(0, ends[-1], n), side="right"), len(ends) - 1)
        return on_triangles(self.mesh, owners, *rng.random((2, n))), owners


def points_around(surface: Surface, n: int, rng: np.random.Generator) -> Floats:
    """Points to learn a shape at, float64 (n, 3): near its surface at several spreads, and anywhere in [-1, 1]^3.

    A quarter of the latter are on its faces: a field that is told little there leaves loose crumbs of surface.
    """
    n_near = [round(share * n) for share in SPREADS.values()]
    near = [
        surface.sample(count, rng)[0] + rng.normal(0.0, spread, (count, 3))
        for spread, count in zip(SPREADS, n_near, strict=True)
    ]
    points = np.concatenate([*near, rng.uniform(-REACH, REACH, (n - sum(n_near), 3))])
    clipped: Floats = np.clip(points, -1.0, 1.0)
    return clipped


def on_triangles(mesh: Mesh, owners: Indices, u: Floats, v: Floats) -> Floats:
    """Points of triangles, evenly spread where u and v are over the unit square: float64 (n, 3)."""
    a, b, c = mesh.triangles[owners].swapaxes(0, 1)
    root = np.sqrt(u)[:, None]
    points: Floats = (1 - root) * a + root * (1 - v[:, None]) * b + root * v[:, None] * c
    return points


def squared_distances(points: Floats, triangles: Floats) -> Floats:
    """Of points (n, 3) to one triangle (n, 3, 3) each: to its plane above it, else to the nearest of its edges."""
    a, b, c = triangles.swapaxes(0, 1)
    normal = np.cross(b - a, c - a)
    inner = np.ones(len(points), dtype=bool)
    edges = np.full(len(points), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        edge, away = end - start, points - start
        inner &= _dots(np.cross(edge, away), normal) >= 0
        share = np.clip(_dots(away, edge) / _dots(edge, edge), 0.0, 1.0)
        rest = away - share[:, None] * edge
        edges = np.minimum(edges, _dots(rest, rest))
    plane = _dots(points - a, normal) ** 2 / _dots(normal, normal)
    return np.where(inner, plane, edges)


def _dots(a: Floats, b: Floats) -> Floats:
    products: Floats = np.einsum("ij,ij->i", a, b)
    return products


# --- rays -------------------------------------------------------------------------------------------------------------


def _crossings(mesh: Mesh) -> Callable[[Floats], Floats]:
    """How often the mesh is crossed above a point, in one direction more than in the other; modulo 2 where its
    triangles have no common side out."""
    bins = _Bins(mesh)
    is_oriented = mesh.closure is Closure.CLOSED

    def count(points: Floats) -> Floats:
        total = np.zeros(len(points))
        for owners, triangles in bins.pairs(points):
            hit, signs, heights = _crossed(mesh, triangles, points[owners])
            total += np.bincount(owners[hit], signs * (heights > points[owners[hit], 2]), minlength=len(points))
        return total if is_oriented else total % 2

    return count


def _columns_inside(mesh: Mesh, columns: Floats, along: Floats) -> Bools:
    """Which points of lines along the third axis are inside: bool (lines, points)."""
    total = np.zeros((len(columns), len(along) + 1))
    for owners, triangles in _Bins(mesh).pairs(columns):
        hit, signs, heights = _crossed(mesh, triangles, columns[owners])
        np.add.at(total, (owners[hit], np.searchsorted(along, heights)), signs)
    above = total.sum(axis=1, keepdims=True) - np.cumsum(total, axis=1)[:, :-1]
    inside: Bools = (above if mesh.closure is Closure.CLOSED else above % 2) != 0
    return inside


class _Bins:
    """Triangles by the cells of the xy plane that their boxes touch."""

    def __init__(self, mesh: Mesh) -> None:
        flat = mesh.triangles[:, :, :2]
        self.n = int(np.clip(np.sqrt(len(flat)), 1, MAX_BINS))
        self.low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
        self.size = np.maximum(high - self.low, np.finfo(np.float64).tiny) / self.n
        first, last = self._cells(flat.min(axis=1)), self._cells(flat.max(axis=1))
        n_columns = last - first + 1
        counts = n_columns.prod(axis=1)
        owners = np.repeat(np.arange(len(flat)), counts)
        order = _ranks(counts)
        columns = n_columns[owners, 1]
        cells = (first[owners, 0] + order // columns) * self.n + first[owners, 1] + order % columns
        by_cell = np.argsort(cells, kind="stable")
        self.triangles = owners[by_cell]
        self.starts = np.searchsorted(cells[by_cell], np.arange(self.n**2 + 1))

    def _cells(self, positions: Floats) -> Indices:
        cells: Indices = np.clip(np.floor((positions - self.low) / self.size), 0, self.n - 1).astype(np.int64)
        return cells

    def pairs(self, points: Floats) -> Iterator[tuple[Indices, Indices]]:
        """Points and the triangles in their cells."""
        cell = self._cells(points[:, :2]) @ np.array([self.n, 1])
        counts = self.starts[cell + 1] - self.starts[cell]
        group = np.cumsum(counts) // MAX_PAIRS
        for number in np.unique(group):
            chosen = np.flatnonzero(group == number)
            owners = np.repeat(chosen, counts[chosen])
            yield owners, self.triangles[np.repeat(self.starts[cell[chosen]], counts[chosen]) + _ranks(counts[chosen])]


def _ranks(counts: Indices) -> Indices:
    """0 … n - 1 for each of some counts n, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _crossed(mesh: Mesh, triangles: Indices, points: Floats) -> tuple[Indices, Floats, Floats]:
    """Which pairs of a point and a triangle meet along the third axis, the side that shows (1 or -1), and the height.

    An edge is on the same side of a point for both of its triangles, as it is always taken in the same direction: so
    that no ray slips through between them.
    """
    faces = mesh.faces[triangles]
    left = np.zeros(len(points), dtype=np.int64)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        i, j = faces[:, first], faces[:, second]
        start, end = mesh.vertices[np.minimum(i, j), :2], mesh.vertices[np.maximum(i, j), :2]
        along, away = end - start, points[:, :2] - start
        is_left = along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0] > 0
        left += is_left ^ (i > j)
    hit = np.flatnonzero((left == 3) | (left == 0))
    normal, corner = mesh.area_vectors[triangles[hit]], mesh.vertices[faces[hit, 0]]
    slope = -((points[hit, :2] - corner[:, :2]) * normal[:, :2]).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a triangle on its edge has the height of a corner
        heights = corner[:, 2] + np.nan_to_num(slope / normal[:, 2], nan=0.0, posinf=0.0, neginf=0.0)
    return hit, np.where(left[hit] == 3, 1.0, -1.0), heights


# --- winding numbers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Node:
    """Triangles close together, as one dipole or as two nodes."""

    triangles: Indices
    centre: Floats
    radius: float
    dipole: Floats
    children: "tuple[_Node, ...]"


def _node(mesh: Mesh, triangles: Indices) -> _Node:
    corners = mesh.triangles[triangles]
    middles = corners.mean(axis=1)
    centre = np.average(middles, axis=0, weights=mesh.areas[triangles])
    radius = float(np.linalg.norm(corners - centre, axis=2).max())
    children: tuple[_Node, ...] = ()
    if len(triangles) > LEAF_TRIANGLES:
        longest = np.ptp(middles, axis=0).argmax()
        halves = np.array_split(np.argsort(middles[:, longest], kind="stable"), 2)
        children = tuple(_node(mesh, triangles[half]) for half in halves)
    return _Node(triangles, centre, radius, mesh.area_vectors[triangles].sum(axis=0), children)


def _winding_tree(mesh: Mesh) -> Callable[[Floats], Floats]:
    """The generalized winding number of a mesh."""
    root = _node(mesh, np.arange(len(mesh.faces)))

    def winding(points: Floats) -> Floats:
        total = np.zeros(len(points))
        waiting = [(root, np.arange(len(points)))]
        while waiting:
            node, chosen = waiting.pop()
            away = node.centre - points[chosen]
            distance = np.sqrt(_dots(away, away))
            is_far = distance > FAR * node.radius
            total[chosen[is_far]] += away[is_far] @ node.dipole / distance[is_far] ** 3
            near = chosen[~is_far]
            if len(near) and node.children:
                waiting += [(child, near) for child in node.children]
            elif len(near):
                total[near] += _solid_angles(points[near], mesh.triangles[node.triangles])
        return total / (4 * np.pi)

    return winding


def _solid_angles(points: Floats, triangles: Floats) -> Floats:
    """What some triangles (m, 3, 3) together fill of the sphere around points (n, 3), float64 (n,).

    Method: Van Oosterom and Strackee, "The solid angle of a plane triangle", 1983.
    """
    corners = triangles[None] - points[:, None, None]
    a, b, c = np.moveaxis(corners, 2, 0)
    la, lb, lc = np.moveaxis(np.linalg.norm(corners, axis=3), 2, 0)
    ab, bc, ca = (a * b).sum(axis=2), (b * c).sum(axis=2), (c * a).sum(axis=2)
    volume = (a * np.cross(b, c)).sum(axis=2)
    angles: Floats = 2 * np.arctan2(volume, la * lb * lc + ab * lc + bc * la + ca * lb).sum(axis=1)
    return angles
