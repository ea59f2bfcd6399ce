"""A PNG writer for 8-bit samples."""

import struct
import zlib

import numpy as np
import numpy.typing as npt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # grey, grey+alpha, RGB, RGBA


def encode_png(samples: npt.NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file from samples (rows, columns, 1 to 4 channels)."""
    rows, columns, channels = samples.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, COLOUR_TYPE[channels], 0, 0, 0)
    lines = np.zeros((rows, 1 + columns * channels), np.uint8)  # filter 0 before each row
    lines[:, 1:] = samples.reshape(rows, -1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.data)), (b"IEND", b""))
    return SIGNATURE + b"".join(encode_chunk(kind, content) for kind, content in chunks)


def encode_chunk(kind: bytes, content: bytes) -> bytes:
    """Length, kind, content, CRC-32 of kind and content."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
