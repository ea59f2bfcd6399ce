"""Image files to arrays and back, through Pillow (extra ``cli``).

Pillow holds pictures of several channels with 8 bits a sample only. It reads their deeper PNG files all the same, by
keeping one of the two bytes of each sample; so they are read twice, once for either byte. Deep pictures are written
here: PNG of one row filter, as RFC 2083 has it.
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error
from sinrfmt.metrics import Samples

if TYPE_CHECKING:
    from PIL import Image, ImageFile

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
UNREADABLE_MODES = ("I", "F")
DEEP_BYTES = {"RGB;16B": ("RGB;16B", "RGB;16L"), "RGBA;16B": ("RGBA;16B", "RGBA;16L"), "LA;16B": ("RGBA", "RGBA")}
"""What Pillow's PNG reader unpacks, and how it is to unpack for the first byte of each sample and for the second.

Two deep samples of grey and alpha are four bytes, as one of RGBA is: there both bytes come at once.
"""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
PNG_FILTER_UP = 2


def read_image(path: str | os.PathLike[str]) -> Samples:
    """The picture as it is meant to be seen: uint8 or uint16 [rows, columns, channels], 1 to 4 channels.

    Raises:
        UsageError: not a readable image, or one with more than 8 bits a sample that is neither grey nor PNG.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            rawmode = _rawmode(file)
            if "16" in rawmode and "transparency" in file.info:
                raise ValueError("a transparent colour of 16 bits a sample cannot be read: give it an alpha channel")
            if rawmode in DEEP_BYTES:
                return _read_deep(path, rawmode)
            return _read(file)
    except UnidentifiedImageError as failure:
        raise error("USAGE", f"{path}: not an image that Pillow can read") from failure
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as failure:
        raise error("USAGE", f"{path}: {getattr(failure, 'strerror', None) or failure}") from failure


def _rawmode(file: "ImageFile.ImageFile") -> str:
    """How Pillow is to unpack the samples of a file that was opened and not loaded."""
    arguments = file.tile[0].args if file.tile else None
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _read(file: "ImageFile.ImageFile") -> Samples:
    from PIL import ImageOps

    if _is_reduced(file):
        raise ValueError("of images with more than 8 bits a sample, only grey ones and PNG can be read")
    picture = ImageOps.exif_transpose(file)
    if picture.mode in DEEP_MODES:
        deep: NDArray[np.uint16] = np.asarray(picture).astype(np.uint16)
        return deep.reshape(*deep.shape[:2], 1)
    samples: NDArray[np.uint8] = np.asarray(picture.convert(_mode(picture)))
    return samples.reshape(*samples.shape[:2], -1)


def _is_reduced(file: "ImageFile.ImageFile") -> bool:
    """Whether Pillow would drop bits of the samples, or has no integers of them."""
    return file.mode in UNREADABLE_MODES or ("16" in _rawmode(file) and file.mode not in DEEP_MODES)


def _read_deep(path: str | os.PathLike[str], rawmode: str) -> NDArray[np.uint16]:
    """A PNG of 16 bits a sample and several channels."""
    high, low = (_unpacked(path, way) for way in DEEP_BYTES[rawmode])
    if DEEP_BYTES[rawmode] == ("RGBA", "RGBA"):
        high, low = high[..., 0::2], low[..., 1::2]
    return high.astype(np.uint16) * np.uint16(256) + low


def _unpacked(path: str | os.PathLike[str], rawmode: str) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        file._mode = rawmode.partition(";")[0]
        file.tile = [tile._replace(args=rawmode) for tile in file.tile]
        samples: NDArray[np.uint8] = np.asarray(ImageOps.exif_transpose(file))
    return samples


def _mode(picture: "Image.Image") -> str:
    has_alpha = picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info
    is_grey = picture.mode in ("1", "L", "LA", "La")
    return {(True, False): "L", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}[is_grey, has_alpha]


def write_png(path: Path, samples: Samples) -> None:
    """Write uint8 or uint16 [rows, columns, channels], 1 to 4 channels.

    Raises:
        OSError: the file cannot be written.
    """
    writers: dict[np.dtype[np.generic], Callable[[Path, Samples], None]] = {np.dtype(np.uint16): _write_deep}
    writers.get(samples.dtype, _write)(path, samples)


def _write(path: Path, samples: Samples) -> None:
    from PIL import Image

    channels = samples.shape[2]
    Image.fromarray(samples[:, :, 0] if channels == 1 else samples, MODES[channels]).save(path, format="PNG")


def _write_deep(path: Path, samples: Samples) -> None:
    rows, columns, channels = samples.shape
    lines = samples.astype(">u2").reshape(rows, -1).view(np.uint8)
    above = np.concatenate([np.zeros_like(lines[:1]), lines[:-1]])
    filtered = np.insert(lines - above, 0, PNG_FILTER_UP, axis=1)
    head = struct.pack(">IIBBBBB", columns, rows, 16, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes(), 9)), (b"IEND", b"")]
    path.write_bytes(PNG_SIGNATURE + b"".join(_png_chunk(kind, data) for kind, data in chunks))


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
