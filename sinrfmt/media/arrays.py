"""NumPy's array files (.npy), read without pickles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error


@dataclass(frozen=True)
class ArrayHead:
    """What the head of an array file says."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_array(path: Path) -> NDArray[Any]:
    """An array of numbers.

    Raises:
        UsageError: not a readable .npy file, or of another kind than integers and floats.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as failure:
        raise error("USAGE", f"{path}: {getattr(failure, 'strerror', None) or failure}") from failure
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise error("USAGE", f"{path}: expected an array of integers or floats")
    return array


def array_head(path: Path) -> ArrayHead | None:
    """Shape and type of a .npy file; None where it is none, or cannot be read."""
    if path.suffix.lower() != ".npy":
        return None
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return ArrayHead(array.shape, array.dtype) if isinstance(array, np.ndarray) else None


def write_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array, whatever the name of the file.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:
        np.save(file, values)
