"""Writers that every modality has: values as an array (.npy), and a picture (.png) of what has rows and columns."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sinrfmt import evaluate
from sinrfmt.cli.handlers import Decoding, Writer
from sinrfmt.cli.options import Depth
from sinrfmt.cli.requests import COMMON_DECODE, DecodeRequest
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.media import image
from sinrfmt.media.arrays import write_array
from sinrfmt.registry import Values

Write = Callable[[Path, Decoding], Mapping[str, Any]]
DEPTHS: dict[Depth, np.dtype[Any]] = {Depth.EIGHT: np.dtype(np.uint8), Depth.SIXTEEN: np.dtype(np.uint16)}


def _write_values(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    write_array(path, decoding.values)
    return {}


def _write_picture(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    depth = DEPTHS[decoding.request.bits]
    image.write_png(path, evaluate.to_depth(depth, decoding.header.values, decoding.values))
    return {}


def _check_picture(header: Header, request: DecodeRequest) -> None:
    network = header.network
    if request.coords is not None:
        raise error("USAGE", "--coords does not go with a picture")
    if network.in_dims != 2 or network.out_channels > 4 or header.values is Values.RAW:
        raise error("USAGE", "only two-dimensional fields of 1 to 4 channels in [0, 1] or [-1, 1] are pictures")


NPY = Writer(_write_values)
"""The values as they are decoded, float32 (DEC-3)."""
PNG = Writer(_write_picture, _check_picture, options=COMMON_DECODE | {"bits"})


def samples_or_values(write_samples: Write) -> Writer:
    """An array of values as of any field (DEC-3); with ``--samples`` what ``write_samples`` writes."""

    def write(path: Path, decoding: Decoding) -> Mapping[str, Any]:
        return (write_samples if decoding.request.samples else _write_values)(path, decoding)

    return Writer(write, options=COMMON_DECODE | {"samples"})


WRITERS: Mapping[str, Writer] = {".npy": NPY, ".png": PNG}
"""Of every modality; a handler's own writer of the same suffix goes before."""
