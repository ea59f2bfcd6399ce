"""What a distance or occupancy field says about a shape: its mesh, its picture, and how like another shape it is.

Specification: clause 16 for the values. Needs the extra ``mesh`` for meshes and measures; knows nothing of fitting.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sinrfmt.evaluate import grid_axes
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import Header
from sinrfmt.media.distances import Surface
from sinrfmt.media.mesh import Closure, Mesh, placement_of_meta
from sinrfmt.media.shading import View, shaded
from sinrfmt.media.surfaces import SurfaceMatch, cell_centres, iou, match_surfaces, surface_of
from sinrfmt.registry import Modality

Floats = NDArray[np.float32]

HALF = 0.5
"""Occupancy probability at the surface."""
MODALITIES = frozenset({Modality.SDF, Modality.OCCUPANCY})
IOU_CELLS = {Closure.CLOSED: 128, Closure.UNORIENTED: 128, Closure.OPEN: 64}
"""Cells along each axis whose centres are compared; winding numbers of open meshes take long."""
MESH_CELLS = 128
"""Samples along each axis from which a surface is made where no size is asked for."""

# From values to what is negative inside and zero at the surface.
SIDES: dict[Modality, Callable[[Floats], Floats]] = {
    Modality.SDF: lambda values: values,
    Modality.OCCUPANCY: lambda values: np.float32(HALF) - values,
}


@dataclass(frozen=True)
class ShapeQuality:
    """How like a mesh a field is; lengths are shares of the longest side of the mesh.

    Attributes:
        iou: intersection over union of what is inside, at the centres of 128^3 cells of the box (64^3 for a mesh that
            is not watertight).
        match: Chamfer distances and normal consistency of the field's own surface.
    """

    iou: float
    match: SurfaceMatch


def check_shape(header: Header) -> None:
    """
    Raises:
        UsageError: a file of another modality, or not of three coordinates and one value.
    """
    sizes = header.network.in_dims, header.network.out_channels
    if header.modality not in MODALITIES or sizes != (3, 1):
        raise error("USAGE", "a shape is a field of modality SDF or OCCUPANCY with three coordinates and one value")


def sides_of(field: Field, values: Floats) -> Floats:
    """Values (..., 1) of a field as float32 (...), negative inside."""
    return SIDES[field.header.modality](values[..., 0])


def mesh_of(field: Field, size: tuple[int, ...] | None = None) -> Mesh:
    """The surface of a field by marching cubes, in the coordinates that the mesh had.

    Args:
        field: a shape.
        size: samples along every axis; None for 128 on each.

    Raises:
        UsageError: the field is no shape, or has no surface there.
    """
    check_shape(field.header)
    return placement_of_meta(field.meta).out_of_box(_surface(field, size or (MESH_CELLS,) * 3))


def _surface(field: Field, size: tuple[int, ...]) -> Mesh:
    header = field.header
    axes = [axis.astype(np.float64) for axis in grid_axes(header.coords, size, header.box)]
    if min(size) < 2:
        raise error("USAGE", "a surface needs two samples along every axis")
    halves = np.array([(axis[-1] - axis[0]) / (len(axis) - 1) / 2 for axis in axes])
    low = np.array([axis[0] for axis in axes]) - halves
    high = np.array([axis[-1] for axis in axes]) + halves
    return surface_of(sides_of(field, field.grid(size)), 0.0, low, high)


def draw_shape(field: Field, pixels: int, *, cells: int = MESH_CELLS, view: View | None = None) -> NDArray[np.uint8]:
    """A picture of a field's surface, uint8 [pixels, pixels, 3], through samples at cells^3 places.

    Raises:
        UsageError: the field is no shape.
    """
    check_shape(field.header)
    sides = sides_of(field, field.grid((cells,) * 3))
    return shaded(sides, 0.0, pixels, is_distance=field.header.modality is Modality.SDF, view=view)


def iou_with(field: Field, surface: Surface) -> float:
    """IoU of a field and a surface in the same box; see ``ShapeQuality``."""
    size = IOU_CELLS[surface.mesh.closure]
    values = sides_of(field, field.sample(cell_centres(size).astype(np.float32)))
    return iou(values < 0, surface.cells_inside(size).reshape(-1))


def quality_of(field: Field, surface: Surface) -> ShapeQuality:
    """Compare a field with the surface that it was made from, which is in the same box.

    Raises:
        UsageError: the field has no surface.
    """
    found = Surface(_surface(field, (MESH_CELLS,) * 3))
    match = match_surfaces(found, surface)
    side = float(np.ptp(surface.mesh.vertices[np.unique(surface.mesh.faces)], axis=0).max())
    lengths = SurfaceMatch(match.chamfer_l1 / side, match.chamfer_l2 / side**2, match.normal_consistency)
    return ShapeQuality(iou_with(field, surface), lengths)


def iou_decibels(value: float) -> float:
    """-20 log10(1 - IoU): what is missing is as large as the error of the surface; infinite for 1."""
    return math.inf if value >= 1 else -20 * math.log10(1 - value)
