"""Radiance fields on the command line: sets of views in, rendered views and turntables out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt import report
from sinrfmt.cli.handlers import Decoding, Encoded, Handler, Writer, held_by
from sinrfmt.cli.options import PicturePreset, sizes_of, torch_api
from sinrfmt.cli.progress import OnProgress
from sinrfmt.cli.requests import DecodeRequest, EncodeRequest
from sinrfmt.evaluate import to_uint8
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.media import video
from sinrfmt.media.image import write_png
from sinrfmt.media.scene import Camera, is_scene, read_cameras, read_scene
from sinrfmt.pictures import FieldKind
from sinrfmt.registry import Modality, Values
from sinrfmt.render import Sight, box_of, on_background, render, scenery, sight_of, turntable

PRESETS = {
    None: "radiance",
    PicturePreset.FAST: "radiance-fast",
    PicturePreset.BALANCED: "radiance",
    PicturePreset.BEST: "radiance-best",
}
GRID_BYTES = 30_000
"""Size of a file from which on ``auto`` takes a grid: no worse there, in a third of the time (docs/radiance.md)."""
N_VIEWS = 36
"""Views of a turntable."""
TURNTABLE_RATE = 12
"""Of them a second, in a clip."""
LOOKS = frozenset({"passes", "partial", "base", "preview", "step", "size", "view", "views", "camera", "device"})

See = Callable[[Camera], NDArray[np.float32]]


def encode(source: Path, request: EncodeRequest, on_progress: OnProgress | None) -> Encoded:
    """Fit a radiance field to a set of views."""
    if request.preset not in PRESETS:
        raise error("USAGE", f"--preset {request.preset}: expected fast, balanced or best")
    if request.n_bytes is not None and request.psnr is not None:
        raise error("USAGE", "--bytes and --psnr exclude each other")
    if request.rate_weight is not None and request.field is FieldKind.MLP:
        raise error("USAGE", "--rate-weight goes with --field grid")
    field, reason = request.field_by_size(GRID_BYTES, needs_grid=request.rate_weight is not None)
    library = torch_api()
    name = (request.preset or PicturePreset.BALANCED).value
    scene = read_scene(source)
    encoded = library.encode_scene(
        scene,
        preset=library.preset_of(name) if field is FieldKind.MLP else PRESETS[request.preset],
        rate_weight=request.rate_weight,
        max_bytes=request.n_bytes,
        min_psnr=request.psnr,
        seed=request.seed,
        device=request.device.value,
        on_progress=on_progress,
    )
    measured = scene.test or scene.train
    summary = report.summary(encoded.field) | {
        "psnr": round(encoded.psnr, 4),
        "fp32_psnr": round(encoded.encoding.float_psnr, 4),
        "test_views": 0 if scene.test is None else len(scene.test),
        "train_views": len(scene.train),
        "field": field.value,
        "reason": reason,
        "preset": name,
    }
    kind = "train" if scene.test is None else "test"
    line = (
        f"{summary['file_bytes']} bytes, {encoded.psnr:.2f} dB on {len(measured)} {kind} views, "
        f"{summary['parameters']} parameters, {held_by(summary)}"
    )
    return Encoded(encoded.field.data, summary, line, encoded.encoding.float_arrays)


def _check(header: Header, request: DecodeRequest) -> None:
    box_of(header)
    size = sizes_of(request.size)
    if size is not None and len(size) != 2:
        raise error("USAGE", f"--size {request.size}: a view has two sides, WxH")
    if request.camera is not None and request.views is not None:
        raise error("USAGE", "--camera and --views exclude each other")


def _check_view(header: Header, request: DecodeRequest) -> None:
    _check(header, request)
    n_views = N_VIEWS if request.views is None else request.views
    if request.camera is None and (request.view or 0) >= n_views:
        raise error("USAGE", f"--view {request.view}: the turntable has the views 0 to {n_views - 1}")


def _check_views(header: Header, request: DecodeRequest) -> None:
    _check(header, request)
    if request.view is not None:
        raise error("USAGE", "--view goes with a picture; a folder and a clip have all views")


def _write_view(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    sight, cameras = _look(decoding)
    number = decoding.request.view or 0
    if number >= len(cameras):
        raise error("USAGE", f"--view {number}: the file of cameras has the views 0 to {len(cameras) - 1}")
    (picture,) = _rendered(decoding, sight, cameras[number : number + 1])
    write_png(path, picture)
    return {"view": number}


def _write_views(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    sight, cameras = _look(decoding)
    for number, picture in enumerate(_rendered(decoding, sight, cameras)):
        write_png(path / f"view_{number:03}.png", picture)
    return {"views": len(cameras)}


def _write_turntable(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    sight, cameras = _look(decoding)
    video.write_clip(path, np.stack([*_rendered(decoding, sight, cameras)]), Fraction(TURNTABLE_RATE))
    return {"views": len(cameras)}


def _look(decoding: Decoding) -> tuple[Sight, tuple[Camera, ...]]:
    """How the field is looked at: by the cameras of a file, or from all around."""
    request = decoding.request
    sight = sight_of(decoding.meta)
    size = sizes_of(request.size)
    size = sight.size if size is None else (size[0], size[1])
    if request.camera is not None:
        return sight, read_cameras(request.camera, size)
    n_views = N_VIEWS if request.views is None else request.views
    cameras = turntable(box_of(decoding.header), sight, n_views)
    return sight, tuple(Camera(camera.pose, camera.angle_x, size) for camera in cameras)


def _renderer(decoding: Decoding, sight: Sight) -> See:
    """By torch where a device is asked for; else NumPy alone."""
    field, device = decoding.field, decoding.request.device
    if device is not None:
        see: See = torch_api().field_renderer(field, device=device.value)
        return see
    scene = scenery(field.sample, box_of(field.header), sight.n_samples)
    return lambda camera: render(scene, camera)


def _rendered(decoding: Decoding, sight: Sight, cameras: Iterable[Camera]) -> Iterator[NDArray[np.uint8]]:
    """What the cameras see, on the background: uint8 [rows, columns, 3] each."""
    see = _renderer(decoding, sight)
    return (to_uint8(Values.UNIT, on_background(see(camera), sight.background)) for camera in cameras)


HANDLER = Handler(
    "radiance",
    frozenset({Modality.RADIANCE}),
    frozenset({".json"}),
    encode,
    options=frozenset({"keep_network"}),
    writers={
        ".png": Writer(_write_view, _check_view, options=LOOKS, needs_grid=False, draws=True),
        ".mp4": Writer(_write_turntable, _check_views, options=LOOKS - {"view"}, needs_grid=False, draws=True),
        "": Writer(_write_views, _check_views, options=LOOKS - {"view"}, needs_grid=False, draws=True),
    },
    takes=is_scene,
)
