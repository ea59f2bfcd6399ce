"""Image files to arrays and back, through Pillow (extra ``cli``)."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The picture as it is meant to be seen: uint8[rows, columns, channels], 1 to 4 channels.

    Raises:
        UsageError: not a readable image, or one with more than 8 bits a sample.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            picture.load()
    except UnidentifiedImageError as failure:
        raise error("USAGE", f"{path}: not an image that Pillow can read") from failure
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as failure:
        raise error("USAGE", f"{path}: {getattr(failure, 'strerror', None) or failure}") from failure
    if picture.mode in DEEP_MODES:
        raise error("USAGE", f"{path}: images with more than 8 bits a sample cannot be encoded yet")
    samples = np.asarray(picture.convert(_mode(picture)))
    return samples.reshape(*samples.shape[:2], -1)


def _mode(picture: "object") -> str:
    mode: str = getattr(picture, "mode", "")
    has_alpha = mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in getattr(picture, "info", {})
    is_grey = mode in ("1", "L", "LA", "La")
    return {(True, False): "L", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}[is_grey, has_alpha]


def write_png(path: Path, samples: NDArray[np.uint8]) -> None:
    """Write uint8[rows, columns, channels], 1 to 4 channels.

    Raises:
        OSError: the file cannot be written.
    """
    from PIL import Image

    channels = samples.shape[2]
    Image.fromarray(samples[:, :, 0] if channels == 1 else samples, MODES[channels]).save(path, format="PNG")
