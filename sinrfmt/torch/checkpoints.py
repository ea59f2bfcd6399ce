"""Checkpoint files to named arrays, and named arrays to files.

Nothing in a checkpoint is executed: torch files are read with ``weights_only``, NumPy files without pickles. Names are
dotted whatever the container writes (``dense/kernel:0`` is ``dense.kernel``), nested tables are flattened, and what is
not an array of numbers is left out. Knows nothing of networks.
"""

import importlib
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sinrfmt.errors import SinrError
from sinrfmt.faults import error
from sinrfmt.torch.architecture import RawLayout

Floats = NDArray[np.float32]
Numbers = NDArray[np.inexact[Any]]
"""float32, or complex64 where a network is complex."""
Tensors = dict[str, Numbers]

WIDTH_MULTIPLE = 8
RAW_DEPTHS = range(2, 17)
"""Bare numbers of unknown widths: hidden layers, all as wide as a multiple of ``WIDTH_MULTIPLE``."""


def library(name: str) -> ModuleType:
    """An optional library.

    Raises:
        UsageError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as failure:
        raise error("USAGE", f"{failure.name} is not installed: pip install 'sinrfmt[convert]'") from failure


# --- reading ---------------------------------------------------------------------------------------------------------


def read_tensors(path: Path) -> Tensors:
    """The arrays of a checkpoint by dotted name: float32, or complex64 where they are complex.

    Raises:
        UsageError: not readable, or of a kind that no reader is for.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise error("USAGE", f"{path}: expected a name that ends with one of {', '.join(READERS)}")
    try:
        found = {name.replace("/", "."): array for name, array in reader(path)}
    except SinrError:  # a library that is missing
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        KeyError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as failure:
        raise error("USAGE", f"{path}: {_first_line(failure)}") from failure
    tensors = {name: _as_single(array) for name, array in found.items() if array.dtype.kind in "fiuc"}
    if not tensors:
        raise error("USAGE", f"{path}: holds no arrays of numbers")
    return tensors


def _first_line(failure: Exception) -> str:
    text = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
    return str(text).splitlines()[0]


def _as_single(array: NDArray[Any]) -> Numbers:
    with np.errstate(over="ignore"):  # the mapping refuses what is not finite, and names it
        single: Numbers = array.astype(np.complex64 if array.dtype.kind == "c" else np.float32)
    return single


def _read_torch(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, tensor in _torch_tensors(torch.load(path, map_location="cpu", weights_only=True), ""):
        yield name, _as_array(tensor)


def _torch_tensors(content: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of nested tables and lists."""
    if isinstance(content, torch.Tensor):
        yield prefix, content
    entries = dict(enumerate(content)) if isinstance(content, (list, tuple)) else content
    for key, value in entries.items() if isinstance(entries, Mapping) else ():
        yield from _torch_tensors(value, f"{prefix}.{key}" if prefix else str(key))


def _as_array(tensor: torch.Tensor) -> NDArray[Any]:
    plain = tensor.detach().resolve_conj()
    array: NDArray[Any] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return array


def _read_safetensors(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    safetensors = library("safetensors")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                yield name, _as_array(file.get_tensor(name))
    except safetensors.SafetensorError as failure:
        raise ValueError(f"not a safetensors file ({failure})") from failure


def _read_npz(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    with np.load(path, allow_pickle=False) as file:
        if isinstance(file, np.ndarray):
            raise ValueError("one array, expected an archive of named ones")
        for name in file.files:
            yield name, file[name]


def _read_hdf5(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    h5py = library("h5py")
    found: list[tuple[str, NDArray[Any]]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiuc":
            found.append((name.removesuffix(":0"), item[()]))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    yield from found


def load_onnx(path: Path) -> Any:
    """The model of an ONNX file.

    Raises:
        UsageError: not readable, or onnx is not installed.
    """
    onnx = library("onnx")
    try:
        return onnx.load(path)
    except (OSError, ValueError, onnx.parser.ParseError) as failure:
        raise error("USAGE", f"{path}: {_first_line(failure)}") from failure
    except library("google.protobuf.message").DecodeError as failure:
        raise error("USAGE", f"{path}: not an ONNX model") from failure


def _read_onnx(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    to_array = library("onnx").numpy_helper.to_array
    for tensor in load_onnx(path).graph.initializer:
        yield tensor.name, to_array(tensor)


Reader = Callable[[Path], Iterator[tuple[str, NDArray[Any]]]]
TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".tar")
READERS: dict[str, Reader] = {
    **dict.fromkeys(TORCH_SUFFIXES, _read_torch),
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".onnx": _read_onnx,
}
RAW_SUFFIXES = (".bin", ".raw", ".f32")


def read_raw(path: Path, layout: RawLayout, widths: tuple[int, ...] | None) -> Tensors:
    """Little-endian float32 numbers without a header, W1, b1, W2, ...: ``0.weight`` (out, in), ``0.bias``, ....

    Args:
        path: the file.
        layout: inputs and outputs of the network.
        widths: of the hidden layers; None where the size of the file tells.

    Raises:
        UsageError: not readable, or a size that does not fit, or that fits several networks.
    """
    try:
        data = path.read_bytes()
    except OSError as failure:
        raise error("USAGE", f"{path}: {failure.strerror}") from failure
    if len(data) % 4:
        raise error("USAGE", f"{path}: {len(data)} bytes are not whole float32 numbers")
    numbers = np.frombuffer(data, dtype="<f4").astype(np.float32)
    hidden = _widths_of(numbers.size, layout, str(path)) if widths is None else widths
    sizes = (layout.in_dims, *hidden, layout.out_channels)
    if _n_numbers(sizes) != numbers.size:
        layers = "-".join(map(str, sizes))
        raise error("USAGE", f"{path}: {numbers.size} numbers, a network {layers} has {_n_numbers(sizes)}")
    return dict(_raw_layers(numbers, sizes))


def _raw_layers(numbers: Floats, sizes: tuple[int, ...]) -> Iterator[tuple[str, Floats]]:
    start = 0
    for index, (n_in, n_out) in enumerate(pairwise(sizes)):
        end = start + n_in * n_out
        yield f"{index}.weight", numbers[start:end].reshape(n_out, n_in)
        yield f"{index}.bias", numbers[end : end + n_out]
        start = end + n_out


def _n_numbers(sizes: tuple[int, ...]) -> int:
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))


def _widths_of(n: int, layout: RawLayout, path: str) -> tuple[int, ...]:
    """The only hidden layers of one width that give n numbers."""
    found = []
    for depth in RAW_DEPTHS:
        for width in range(WIDTH_MULTIPLE, n, WIDTH_MULTIPLE):
            size = _n_numbers((layout.in_dims, *(width,) * depth, layout.out_channels))
            if size == n:
                found.append((width,) * depth)
            if size >= n:
                break
    if len(found) == 1:
        return found[0]
    several = " or ".join(",".join(map(str, widths)) for widths in found)
    reason = f"fit the widths {several}" if found else "fit no widths that are all one multiple of 8"
    raise error("USAGE", f"{path}: {n} numbers {reason}: give --widths")


# --- writing ---------------------------------------------------------------------------------------------------------


def write_torch(path: Path, tensors: Mapping[str, Numbers]) -> None:
    """A state dict."""
    torch.save({name: torch.tensor(array) for name, array in tensors.items()}, path)


def rewrite_torch(template: Path, path: Path, tensors: Mapping[str, Numbers]) -> None:
    """A copy of a torch checkpoint, whatever it holds, with other numbers in its tensors.

    Args:
        template: the checkpoint, which :func:`read_tensors` can read.
        path: the file to write.
        tensors: those to replace by dotted name, of the shapes they have in the template.
    """
    content = torch.load(template, map_location="cpu", weights_only=True)
    with torch.no_grad():
        for name, tensor in _torch_tensors(content, ""):
            if name in tensors:
                tensor.copy_(torch.tensor(tensors[name]))
    torch.save(content, path)


def write_safetensors(path: Path, tensors: Mapping[str, Numbers]) -> None:
    """A safetensors file.

    Raises:
        UsageError: safetensors is not installed.
    """
    library("safetensors")
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    importlib.import_module("safetensors.numpy").save_file(arrays, path)


def write_npz(path: Path, tensors: Mapping[str, Numbers]) -> None:
    """An archive of NumPy arrays."""
    with path.open("wb") as file:
        np.savez(file, **dict(tensors))  # type: ignore[arg-type]  # numpy takes allow_pickle among the arrays


Writer = Callable[[Path, Mapping[str, Numbers]], None]
WRITERS: dict[str, Writer] = {
    **dict.fromkeys(TORCH_SUFFIXES, write_torch),
    ".safetensors": write_safetensors,
    ".npz": write_npz,
}
