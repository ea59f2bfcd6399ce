"""Checkpoint files to fields: the network that others trained, as it is, behind a header of the format.

Specification: clause 6 (header), 9.2 (binary32 weights). What is written here is lossless; the size is up to the weight
coder, which takes a module and a header.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.evaluate import grid_axes
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import Header, lowest_level
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, Coords, Modality, Tool, Values
from sinrfmt.torch.architecture import Architecture
from sinrfmt.torch.checkpoints import RAW_SUFFIXES, read_raw, read_tensors
from sinrfmt.torch.files import build
from sinrfmt.torch.mapping import Mapped, map_tensors
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.onnx import read_chain
from sinrfmt.torch.signals import VALUE_RANGES, Signal


@dataclass(frozen=True)
class Imported:
    """A checkpoint as a field that is not coded yet.

    Attributes:
        module: its network with its weights.
        header: HEAD of the file; its network is the module's.
        mapped: where every tensor comes from.
    """

    module: FieldModule
    header: Header
    mapped: Mapped


def import_checkpoint(
    path: Path,
    architecture: Architecture | None = None,
    *,
    submodule: str | None = None,
    widths: tuple[int, ...] | None = None,
    grid: tuple[int, ...] = (),
    modality: Modality | None = None,
    coords: Coords | None = None,
    values: Values | None = None,
) -> Imported:
    """Read a trained network.

    Args:
        path: torch state dict, safetensors, npz, Keras HDF5, ONNX, or bare float32 numbers (``.bin``).
        architecture: of the network; an ONNX chain needs none.
        submodule: part of the checkpoint to take; None for the architecture's, or the only one that fits.
        widths: of the hidden layers, for bare numbers whose count does not tell.
        grid: native grid, one entry for each coordinate; empty for none.
        modality, coords, values: for the header, where they are not the architecture's.

    Raises:
        UsageError: not readable, or not a network of this architecture.
        LimitError: larger than any level of the format allows.
    """
    architecture, mapped = _mapped(path, architecture, submodule, widths)
    network = mapped.network
    if grid and len(grid) != network.in_dims:
        raise error("USAGE", f"a native grid of {len(grid)} axes, the network has {network.in_dims} inputs")
    coords_rule = architecture.coords if coords is None else coords
    header = Header(
        network,
        architecture.modality if modality is None else modality,
        grid=grid,
        coords=coords_rule,
        values=architecture.values if values is None else values,
        box=_box(architecture, coords_rule, network.in_dims),
        level=lowest_level(network, grid),
    )
    return Imported(FieldModule(network, mapped.arrays), header, mapped)


def _box(architecture: Architecture, coords: Coords, in_dims: int) -> tuple[tuple[float, float], ...] | None:
    if coords is not Coords.BOX:
        return None
    if architecture.box is None or len(architecture.box) != in_dims:
        n_axes = "no box" if architecture.box is None else f"a box of {len(architecture.box)} axes"
        raise error("USAGE", f"architecture {architecture.name} has {n_axes}, the network has {in_dims} inputs")
    return architecture.box


def _mapped(
    path: Path, architecture: Architecture | None, submodule: str | None, widths: tuple[int, ...] | None
) -> tuple[Architecture, Mapped]:
    suffix = path.suffix.lower()
    if architecture is None:
        if suffix != ".onnx":
            raise error("USAGE", f"{path}: only ONNX says what a network computes: give --like or --arch")
        architecture, tensors = read_chain(path)
    elif suffix in RAW_SUFFIXES:
        if architecture.raw is None:
            raise error("USAGE", f"{path}: architecture {architecture.name} has no [raw] part, which bare numbers need")
        tensors = read_raw(path, architecture.raw, widths)
    else:
        tensors = read_tensors(path)
    return architecture, map_tensors(architecture, tensors, submodule=submodule)


def lossless(module: FieldModule, header: Header) -> Field:
    """A file that keeps every binary32 of a module (coding tool RAW)."""
    network = module.network.with_layer_records(lambda record: replace(record, tool=Tool.RAW, prior=False))
    arrays = module.arrays()
    codes = [TensorCode(tensor, arrays[tensor.name].ravel().view(np.int32)) for tensor in network.tensors]
    return sinrfmt.loads(build(replace(header, network=network), codes, Coding.PACKED))


def signal_for(picture: NDArray[np.uint8], header: Header) -> Signal:
    """What an imported picture should have been: uint8[rows, columns, channels], at the coordinates of its header.

    Raises:
        UsageError: the network is not one of such a picture.
    """
    network = header.network
    channels = picture.shape[2]
    if network.in_dims != 2 or network.out_channels != channels or header.values not in VALUE_RANGES:
        message = f"a picture of {channels} channels is not what a network of {network.in_dims} inputs and"
        raise error("USAGE", f"{message} {network.out_channels} outputs with values {header.values.name} stands for")
    if header.grid != picture.shape[:2]:
        raise error("USAGE", f"the picture has {picture.shape[:2]} samples, the native grid is {header.grid}")
    scale, offset = VALUE_RANGES[header.values]
    samples = picture.reshape(-1, channels)
    axes = grid_axes(header.coords, header.grid, header.box)
    coords = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    values = (samples / 255.0 * scale + offset).astype(np.float32)
    return Signal(coords, values, samples, header.grid, header.modality, header.coords, header.values)
