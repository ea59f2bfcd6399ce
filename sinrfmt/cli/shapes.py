"""Shapes on the command line: meshes to distance or occupancy fields, and back to meshes, pictures and samples."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sinrfmt import report, shapes
from sinrfmt.cli.handlers import Decoding, Encoded, Handler, Writer, held_by
from sinrfmt.cli.options import torch_api
from sinrfmt.cli.progress import OnProgress
from sinrfmt.cli.requests import DecodeRequest, EncodeRequest
from sinrfmt.cli.writers import NPY
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.media import image
from sinrfmt.media.mesh import MESH_SUFFIXES, read_mesh, write_mesh
from sinrfmt.pictures import FieldKind
from sinrfmt.registry import Modality

PIXELS = 512
"""Rows and columns of a picture where no size is asked for."""
REASON = "for shapes networks are ahead at every size measured"


def _check_extra() -> None:
    """
    Raises:
        UsageError: the extra ``mesh`` is not installed.
    """
    for name in ("scipy", "skimage", "trimesh"):
        if find_spec(name) is None:
            raise error("USAGE", f"{name} is not installed: pip install 'sinrfmt[mesh]'")


def encode(modality: Modality, source: Path, request: EncodeRequest, on_progress: OnProgress | None) -> Encoded:
    """Fit a mesh, and compare the field with it."""
    _check_extra()
    library = torch_api()
    options = library.ShapeOptions(
        modality=modality,
        field=request.field,
        preset=_preset_of(request),
        max_bytes=request.n_bytes,
        min_iou=request.iou,
        min_snr=request.psnr,
        rate_weight=request.rate_weight,
        seed=request.seed,
        device=request.device.value,
    )
    mesh = read_mesh(source)
    samples = library.shape_samples(mesh, options)
    encoding = library.encode_shape(mesh, options, samples=samples, on_progress=on_progress)
    quality = shapes.quality_of(encoding.field, samples.surface)
    summary = report.summary(encoding.field) | {
        "modality": modality.name,
        "field": options.chosen_field.value,
        "reason": REASON if options.field is FieldKind.AUTO else None,
        "preset": options.preset.value,
        "watertight": not mesh.notes,
        "notes": list(mesh.notes),
        "iou": round(quality.iou, 6),
        "chamfer_l1": round(quality.match.chamfer_l1, 8),
        "chamfer_l2": round(quality.match.chamfer_l2, 10),
        "normal_consistency": round(quality.match.normal_consistency, 5),
        "snr": round(samples.snr(encoding.field), 4) if modality is Modality.SDF else None,
    }
    return Encoded(encoding.field.data, summary, _line(summary), encoding.float_arrays)


def _preset_of(request: EncodeRequest) -> Any:
    presets = torch_api().ShapePreset
    name = "balanced" if request.preset is None else request.preset.value
    if name not in list(presets):
        raise error("USAGE", f"--preset {name}: shapes have {', '.join(presets)}")
    return presets(name)


def _line(summary: dict[str, Any]) -> str:
    text = (
        f"{summary['file_bytes']} bytes, IoU {summary['iou']:.4f}, Chamfer L1 {summary['chamfer_l1']:.2e} of the "
        f"longest side, normal consistency {summary['normal_consistency']:.3f}, {summary['parameters']} parameters, "
        f"{held_by(summary)}"
    )
    return "\n".join([text, *(f"note: {note}" for note in summary["notes"])])


def _write_mesh(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    mesh = shapes.mesh_of(decoding.field, decoding.size or None)
    write_mesh(path, mesh)
    return {"vertices": len(mesh.vertices), "triangles": len(mesh.faces)}


def _write_picture(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    pixels = decoding.size[0] if decoding.size else PIXELS
    image.write_png(path, shapes.draw_shape(decoding.field, pixels))
    return {}


def _check(header: Header, request: DecodeRequest) -> None:
    _check_extra()
    shapes.check_shape(header)


OPTIONS = frozenset({"iou", "keep_network"})
OUTPUT_OPTIONS = frozenset({"passes", "partial", "base", "preview", "step", "size"})
MESH = Writer(_write_mesh, _check, OUTPUT_OPTIONS, needs_grid=False, is_cubic=True)
PICTURE = Writer(_write_picture, _check, OUTPUT_OPTIONS, needs_grid=False, is_cubic=True)
WRITERS = dict.fromkeys(MESH_SUFFIXES, MESH) | {".png": PICTURE, ".npy": replace(NPY, is_cubic=True)}

SDF = Handler(
    "sdf",
    frozenset({Modality.SDF}),
    frozenset(MESH_SUFFIXES),
    partial(encode, Modality.SDF),
    options=OPTIONS,
    writers=WRITERS,
)
OCCUPANCY = Handler(
    "occupancy",
    frozenset({Modality.OCCUPANCY}),
    frozenset(),
    partial(encode, Modality.OCCUPANCY),
    options=OPTIONS,
    writers=WRITERS,
)
