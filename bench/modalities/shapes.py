"""Shapes: distance and occupancy fields beside Draco's meshes and a network of sines in binary16.

    python -m bench.modalities.shapes ../shared/data [--preset fast] [--short] [--grid] [--workers N] [--results DIR]

All are compared with the mesh itself in one box: IoU at the centres of 128^3 cells, Chamfer distance in longest sides.
Draco codes the mesh as it is, and meshes with fewer triangles, from marching cubes over the exact distances: the mesh
as it is has more corners than a file of this size needs. The network in binary16 has the weights before they were
rounded, two bytes each and nothing else. With ``--short`` the bunny alone, a few points.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench.modalities.tables import Job, Row, arguments, draw, made, stopwatch, write
from sinrfmt.media.distances import Surface
from sinrfmt.media.image import write_png
from sinrfmt.media.mesh import Mesh, placement_of, read_mesh, welded
from sinrfmt.media.surfaces import SurfaceMatch, cell_centres, iou, match_surfaces, surface_of
from sinrfmt.pictures import FieldKind
from sinrfmt.registry import Modality
from sinrfmt.shapes import IOU_CELLS, draw_shape, quality_of
from sinrfmt.torch.convert import to_module
from sinrfmt.torch.files import Encoding
from sinrfmt.torch.shapes import ShapeOptions, ShapePreset, ShapeSamples, encode_shape, shape_samples

MESHES = ("bunny", "spot", "armadillo")
SIZES = (1500, 2500, 5000, 10_000, 20_000, 40_000)
SHORT_SIZES = (2500, 5000)
WAYS = ((Modality.SDF, FieldKind.MLP), (Modality.OCCUPANCY, FieldKind.MLP), (Modality.SDF, FieldKind.GRID))
DRACO_BITS = (8, 9, 10, 11, 12, 14)
REMESHED_CELLS = (16, 24, 32, 48)
SHORT_DRACO_BITS, SHORT_REMESHED_CELLS = (9, 11), (24, 36)
REMESHED_BITS = 10
PICTURE_PIXELS = 320
SHOWN_SIZE = 5000


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--grid", action="store_true", help="grids of latents too, which take the longest")
    given = parser.parse_args()
    preset = ShapePreset(given.preset)
    ways = [way for way in WAYS if given.grid or way[1] is not FieldKind.GRID]
    jobs: list[Job] = []
    for name in MESHES[:1] if given.short else MESHES:
        path = given.data / "mesh" / f"{name}.obj"
        jobs.append(partial(_draco_rows, path, is_short=given.short))
        for modality, field in ways:
            options = ShapeOptions(modality, field, preset, seed=given.seed)
            sizes = SHORT_SIZES if given.short else SIZES
            jobs += [partial(_own_rows, path, replace(options, max_bytes=n_bytes), given.results) for n_bytes in sizes]
    rows = list(made(jobs, given.workers))
    flags = " --short" * given.short + " --grid" * given.grid
    command = f"python -m bench.modalities.shapes ../shared/data --preset {given.preset}{flags}"
    notes = [
        "IoU at the centres of 128^3 cells of the box; Chamfer L1 in longest sides of the mesh, between marching cubes",
        "of 128^3 samples and the mesh. Seconds are those of the clock, on a machine that others used too.",
    ]
    write("shapes", "Shapes", rows, notes, command, results=given.results)
    drawn = [replace(row, figures={"missing": 1 - row.figures["iou"]}) for row in rows]
    draw("shapes", drawn, "bytes", "missing", ("bytes", "1 - IoU"), logarithmic=("x", "y"), results=given.results)


def _draco_rows(path: Path, *, is_short: bool) -> list[Row]:
    mesh = read_mesh(path)
    surface = Surface(placement_of(mesh).into_box(mesh))
    bits, cells = (SHORT_DRACO_BITS, SHORT_REMESHED_CELLS) if is_short else (DRACO_BITS, REMESHED_CELLS)
    rows = [_draco_row(path.stem, "Draco", surface, surface.mesh, n) for n in bits]
    return rows + [_remeshed_row(path.stem, surface, n) for n in cells]


def _own_rows(path: Path, options: ShapeOptions, results: Path) -> list[Row]:
    """Our file; and for a network of distances its floats, and a picture of it."""
    mesh = read_mesh(path)
    samples = shape_samples(mesh, options)
    row, encoding = _own(path.stem, mesh, samples, options)
    if options.modality is not Modality.SDF or options.field is not FieldKind.MLP:
        return [row]
    if options.max_bytes == SHOWN_SIZE:
        write_png(results / f"modalities-shapes-{path.stem}.png", draw_shape(encoding.field, PICTURE_PIXELS))
    return [row, _half_row(path.stem, row, encoding, samples)]


def _figures(iou_found: float, match: SurfaceMatch) -> dict[str, float]:
    return {"iou": iou_found, "chamfer_l1": match.chamfer_l1, "normal_consistency": match.normal_consistency}


def _own(name: str, mesh: Mesh, samples: ShapeSamples, options: ShapeOptions) -> tuple[Row, Encoding]:
    with stopwatch() as seconds:
        encoding = encode_shape(mesh, options, samples=samples)
        elapsed = seconds()
    quality = quality_of(encoding.field, samples.surface)
    codec = f".sinr {options.modality.name} {options.field.value}"
    figures = _figures(quality.iou, quality.match)
    return Row(name, codec, f"{options.max_bytes} bytes", len(encoding.field.data), elapsed, figures), encoding


def _half_row(name: str, row: Row, encoding: Encoding, samples: ShapeSamples) -> Row:
    """The network that the file was rounded from, in binary16."""
    module = to_module(encoding.field)
    module.load_arrays({key: a.astype(np.float16).astype(np.float32) for key, a in encoding.float_arrays.items()})
    size = IOU_CELLS[samples.surface.mesh.closure]
    with torch.no_grad():
        parts = torch.split(torch.from_numpy(cell_centres(size).astype(np.float32)), 1 << 16)
        inside = np.concatenate([(module(part)[:, 0] < 0).numpy() for part in parts])
    found = iou(inside, samples.surface.cells_inside(size).reshape(-1))
    n_bytes = 2 * sum(array.size for array in encoding.float_arrays.values())
    return Row(name, "SIREN in binary16", row.setting, n_bytes, row.seconds, {"iou": found})


def _remeshed_row(name: str, surface: Surface, cells: int) -> Row:
    values = surface.signed_distances(cell_centres(cells)).reshape(cells, cells, cells)
    mesh = surface_of(values.astype(np.float32), 0.0, -np.ones(3), np.ones(3))
    return _draco_row(name, "Draco, fewer triangles", surface, mesh, REMESHED_BITS, cells)


def _draco_row(name: str, codec: str, surface: Surface, mesh: Mesh, bits: int, cells: int | None = None) -> Row:
    import DracoPy

    with stopwatch() as seconds:
        data = DracoPy.encode(mesh.vertices, mesh.faces, quantization_bits=bits, compression_level=10)
        elapsed = seconds()
    decoded = DracoPy.decode(data)
    found = Surface(welded(np.asarray(decoded.points, dtype=np.float64), np.asarray(decoded.faces, dtype=np.int64)))
    size = IOU_CELLS[surface.mesh.closure]
    overlap = iou(found.cells_inside(size), surface.cells_inside(size))
    match = match_surfaces(found, surface)
    side = float(np.ptp(surface.mesh.vertices, axis=0).max())
    figures = _figures(overlap, match) | {"chamfer_l1": match.chamfer_l1 / side}
    setting = f"{bits} bits" if cells is None else f"{cells}^3 cells, {bits} bits"
    return Row(name, codec, setting, len(data), elapsed, figures)


if __name__ == "__main__":
    main()
