"""Pictures on the command line: the handler of ``encode`` and ``decode``."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.cli.batch import engine
from sinrfmt.cli.handlers import Encoded, Handler, held_by
from sinrfmt.cli.options import torch_api
from sinrfmt.cli.pictures import picture_line, picture_options, picture_summary
from sinrfmt.cli.progress import OnProgress
from sinrfmt.cli.requests import EncodeRequest
from sinrfmt.faults import error
from sinrfmt.media import image
from sinrfmt.media.arrays import array_head, read_array
from sinrfmt.metrics import Samples
from sinrfmt.pictures import FieldKind, PictureOptions
from sinrfmt.registry import Modality

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2", ".avif"}
)
OPTIONS = frozenset(
    {
        "bpp",
        "passes",
        "ladder",
        "previews",
        "context",
        "tiles",
        "overlap",
        "coding",
        "payload",
        "base",
        "atoms",
        "workers",
        "keep_network",
    }
)


def encode(source: Path, request: EncodeRequest, on_progress: OnProgress | None) -> Encoded:
    """Fit a picture."""
    options = picture_options(request)
    if options.tiles is None and request.workers is not None:
        raise error("USAGE", "--workers goes with --tiles")
    if options.tiles is not None and request.keep_network is not None:
        raise error("USAGE", "--keep-network goes without --tiles")
    picture = read_picture(source)
    chosen, reason = options.for_size(picture.shape[:2])
    _, ladder_reason = chosen.for_ladder(picture.shape[:2])
    if options.tiles is None:
        encoding = torch_api().encode_picture(picture, options, on_progress=on_progress)
    else:
        encoding = _encode_tiles(picture, options, request.output, request.workers, on_progress)
    field = FieldKind.GRID if chosen.is_grid else FieldKind.MLP
    reason = "; ".join(one for one in (reason, ladder_reason) if one) or None
    added = {"preset": chosen.chosen_preset, "field": field.value, "reason": reason}
    summary = picture_summary(picture, encoding) | added
    line = f"{picture_line(summary)}, {held_by(summary)}"
    return Encoded(encoding.field.data, summary, line, encoding.float_arrays)


def read_picture(path: Path) -> Samples:
    """An image file, or an array of pixels.

    Raises:
        UsageError: it cannot be read, or is no picture.
    """
    if path.suffix.lower() != ".npy":
        return image.read_image(path)
    array = read_array(path)
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3) or array.size == 0 or _channels(array) > 4:
        raise error("USAGE", f"{path}: a picture is uint8 or uint16 (rows, columns, 1 to 4 channels)")
    return array.reshape(*array.shape[:2], -1)


def _channels(array: NDArray[Any]) -> int:
    return array.shape[2] if array.ndim == 3 else 1


def is_picture(path: Path) -> bool:
    """Whether a file is an array of 8-bit colours."""
    head = array_head(path)
    return head is not None and head.dtype == np.uint8 and len(head.shape) == 3 and head.shape[2] in (3, 4)


def _encode_tiles(
    picture: Samples, options: PictureOptions, output: Path, workers: int | None, on_progress: OnProgress | None
) -> Any:
    """Tiles by processes; their files stay beside the output until it is whole, so that work cut short goes on."""
    library = torch_api()
    folder = output.with_name(f"{output.name}.tiles")
    with engine(workers) as (executor, n_pending):
        work = library.TileWork(folder, executor, n_pending)
        encoding = library.encode_picture(picture, options, work=work, on_progress=on_progress)
    shutil.rmtree(folder)
    return encoding


HANDLER = Handler("image", frozenset({Modality.IMAGE}), SUFFIXES, encode, options=OPTIONS, takes=is_picture)
