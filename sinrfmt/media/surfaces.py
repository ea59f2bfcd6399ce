"""Sampled fields to surfaces, and how alike two shapes are.

Marching cubes by scikit-image (extra ``mesh``); IoU, Chamfer distance, normal consistency.

Samples stand at the centres of the cells of a box, the first axis first. Inside is where a field is below its level.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error
from sinrfmt.media.distances import Bools, Surface
from sinrfmt.media.mesh import Floats, Mesh, welded

N_SURFACE_SAMPLES = 30_000
"""Of each of two surfaces that are compared."""


@dataclass(frozen=True)
class SurfaceMatch:
    """How far two surfaces are apart, in their own units.

    Attributes:
        chamfer_l1: mean distance from a point of one to the other surface, averaged over both directions.
        chamfer_l2: mean squared distance, summed over both directions.
        normal_consistency: mean of the absolute cosine between normals at such points, averaged over both directions.
    """

    chamfer_l1: float
    chamfer_l2: float
    normal_consistency: float


def surface_of(values: NDArray[np.float32], level: float, low: Floats, high: Floats) -> Mesh:
    """The surface where a sampled field crosses a level.

    Args:
        values: float32 (n_x, n_y, n_z), at least 2 along each axis, at the centres of the cells of a box.
        level: the field is below it inside.
        low, high: float64 (3,), corners of the box.

    Returns:
        a mesh whose triangles are counterclockwise from outside, in coordinates of the box.

    Raises:
        UsageError: the field does not cross the level.
    """
    from skimage import measure

    marching_cubes: Any = measure.marching_cubes
    if min(values.shape) < 2 or not values.min() < level < values.max():
        raise error("USAGE", f"the field has no surface on a grid of {'x'.join(map(str, values.shape))}")
    cells = (high - low) / values.shape
    vertices, faces, _, _ = marching_cubes(values, level, spacing=tuple(cells), gradient_direction="descent")
    return welded(vertices.astype(np.float64) + low + cells / 2, faces.astype(np.int64))


def cell_centres(size: int) -> Floats:
    """The centres of size^3 cells of [-1, 1]^3, C order: float64 (size**3, 3)."""
    along = (2 * np.arange(size) + 1) / size - 1
    return np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1).reshape(-1, 3)


def iou(a: Bools, b: Bools) -> float:
    """Intersection over union of what is inside two shapes, at the same points; 1 where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def match_surfaces(a: Surface, b: Surface, *, n: int = N_SURFACE_SAMPLES, seed: int = 0) -> SurfaceMatch:
    """Compare two surfaces at ``n`` points of each, to the exact closest point of the other."""
    rng = np.random.default_rng(seed)
    means = [_one_way(*pair, n, rng) for pair in ((a, b), (b, a))]
    (near_a, square_a, cosine_a), (near_b, square_b, cosine_b) = means
    return SurfaceMatch((near_a + near_b) / 2, square_a + square_b, (cosine_a + cosine_b) / 2)


def _one_way(a: Surface, b: Surface, n: int, rng: np.random.Generator) -> tuple[float, float, float]:
    points, owners = a.sample(n, rng)
    found = b.nearest(points)
    cosines = np.abs((a.normals[owners] * b.normals[found.triangles]).sum(axis=1))
    return float(found.distances.mean()), float((found.distances**2).mean()), float(cosines.mean())
