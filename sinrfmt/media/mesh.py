"""Mesh files to triangles and back, through trimesh (extra ``mesh``), and where they stand in the box of a field.

A mesh is welded by position: files repeat a vertex for every texture coordinate or normal it has, and a loader that
keeps them apart sees a closed surface as open.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MESH_SUFFIXES = (".obj", ".ply", ".stl", ".off", ".glb")
FAILURES = (OSError, ValueError, LookupError, TypeError, AttributeError, NotImplementedError, ImportError, struct.error)
"""What trimesh's readers of a file that is not what its name says raise."""
MARGIN = 0.05
"""Free space on either side of the longest side of a mesh, as a share of half the box."""
SCALE_KEY, OFFSET_KEY = "mesh_scale", "mesh_offset"


class Closure(Enum):
    """How the triangles of a mesh hang together.

    CLOSED: watertight, and triangles side by side agree on which side is out. UNORIENTED: watertight, and they do not.
    OPEN: some edge has an odd number of triangles.
    """

    CLOSED = "closed"
    UNORIENTED = "unoriented"
    OPEN = "open"


NOTES = {
    Closure.UNORIENTED: "the mesh is watertight, but its triangles do not agree on which side is out: what an odd "
    "number of its sheets lies above is inside",
    Closure.OPEN: "the mesh is not watertight: inside is where its generalized winding number is above one half",
}


@dataclass(frozen=True)
class Mesh:
    """Triangles.

    Attributes:
        vertices: float64 (n, 3).
        faces: int64 (m, 3), vertices of every triangle.
    """

    vertices: Floats
    faces: Indices

    @cached_property
    def triangles(self) -> Floats:
        """Corners of the triangles: float64 (m, 3, 3)."""
        corners: Floats = self.vertices[self.faces]
        return corners

    @cached_property
    def area_vectors(self) -> Floats:
        """Normals as long as the areas: float64 (m, 3)."""
        a, b, c = self.triangles.swapaxes(0, 1)
        return np.cross(b - a, c - a) / 2

    @cached_property
    def areas(self) -> Floats:
        """float64 (m,)."""
        lengths: Floats = np.linalg.norm(self.area_vectors, axis=1)
        return lengths

    @cached_property
    def closure(self) -> Closure:
        """Whether it is watertight."""
        n = len(self.vertices)
        first, second = self.faces.ravel(), np.roll(self.faces, -1, axis=1).ravel()
        directed, forward = np.unique(first * n + second, return_counts=True)
        reverse, backward = np.unique(second * n + first, return_counts=True)
        if np.array_equal(directed, reverse) and np.array_equal(forward, backward):
            return Closure.CLOSED
        counts = np.unique(np.minimum(first, second) * n + np.maximum(first, second), return_counts=True)[1]
        return Closure.OPEN if (counts % 2).any() else Closure.UNORIENTED

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said about it."""
        return (NOTES[self.closure],) if self.closure in NOTES else ()


@dataclass(frozen=True)
class Placement:
    """Where a mesh stands in the box: its own coordinates are ``scale`` times those of the field plus ``offset``.

    Distances of the field times ``scale`` are distances of the mesh.
    """

    scale: float = 1.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def meta(self) -> dict[str, str]:
        """Pairs of META that keep it; numbers are those of binary64, joined by spaces."""
        return {SCALE_KEY: repr(self.scale), OFFSET_KEY: " ".join(map(repr, self.offset))}

    def into_box(self, mesh: Mesh) -> Mesh:
        """From the mesh's own coordinates to those of the field."""
        return Mesh((mesh.vertices - self.offset) / self.scale, mesh.faces)

    def out_of_box(self, mesh: Mesh) -> Mesh:
        """From coordinates of the field to the mesh's own."""
        return Mesh(mesh.vertices * self.scale + self.offset, mesh.faces)


def placement_of_meta(meta: Mapping[str, str]) -> Placement:
    """What META says; the box itself where it says nothing that can be read."""
    try:
        scale = float(meta[SCALE_KEY])
        x, y, z = map(float, meta[OFFSET_KEY].split(" "))
    except (KeyError, ValueError):
        return Placement()
    is_usable = np.isfinite([scale, x, y, z]).all() and scale > 0
    return Placement(scale, (x, y, z)) if is_usable else Placement()


def placement_of(mesh: Mesh, margin: float = MARGIN) -> Placement:
    """The placement with the mesh in the middle of [-1, 1]^3 and its longest side in all but the margins.

    Raises:
        UsageError: the mesh is a point.
    """
    used = mesh.vertices[np.unique(mesh.faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    scale = float((high - low).max()) / 2 / (1.0 - margin)
    if not scale > 0:
        raise error("USAGE", "the mesh has no extent")
    x, y, z = ((low + high) / 2).tolist()
    return Placement(scale, (x, y, z))


def read_mesh(path: str | os.PathLike[str]) -> Mesh:
    """The triangles of a file, welded by position, those without an area left out.

    Raises:
        UsageError: not a readable mesh, one without triangles, or with vertices that are not numbers.
    """
    import trimesh

    try:
        loaded = trimesh.load_mesh(path, process=False, maintain_order=True, skip_materials=True)
    except FAILURES as failure:
        raise error("USAGE", f"{path}: {getattr(failure, 'strerror', None) or failure or 'not a mesh'}") from failure
    vertices = np.asarray(getattr(loaded, "vertices", ()), dtype=np.float64).reshape(-1, 3)
    faces = np.asarray(getattr(loaded, "faces", ()), dtype=np.int64).reshape(-1, 3)
    if not np.isfinite(vertices).all():
        raise error("USAGE", f"{path}: vertices that are not finite numbers")
    mesh = welded(vertices, faces)
    if not len(mesh.faces):
        raise error("USAGE", f"{path}: a mesh without triangles")
    return mesh


def welded(vertices: Floats, faces: Indices) -> Mesh:
    """The mesh with one vertex at each position, without triangles that have no area."""
    positions, places = np.unique(vertices + 0.0, axis=0, return_inverse=True)  # + 0.0: no negative zero
    corners = places.reshape(-1)[faces]
    mesh = Mesh(positions, corners)
    return Mesh(positions, corners[mesh.areas > 0])


def write_mesh(path: Path, mesh: Mesh) -> None:
    """Write a mesh in the format that the name's end, one of ``MESH_SUFFIXES``, stands for.

    Raises:
        OSError: the file cannot be written.
    """
    import trimesh

    out = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    data: Any = out.export(file_type=path.suffix[1:].lower())
    path.write_bytes(data.encode() if isinstance(data, str) else data)
