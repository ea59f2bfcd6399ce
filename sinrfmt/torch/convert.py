"""Fields to torch modules and torch modules to fields.

A module is described as a network (clause 6.4), its parameters are its tensors. Nothing is trained here: the signal
of a module that is to be written is its own output on a grid.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

import sinrfmt
from sinrfmt.evaluate import to_uint8
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, Coords, Modality, RecordKind, Values
from sinrfmt.torch.encoder import Job, Target, quantise_module
from sinrfmt.torch.files import build, device_of, header_of
from sinrfmt.torch.fit import outputs
from sinrfmt.torch.importing import lossless as write_lossless
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import preset_of
from sinrfmt.torch.signals import Signal, grid_coords

KINDS: dict[type[nn.Module], RecordKind] = {
    nn.ReLU: RecordKind.RELU,
    nn.Tanh: RecordKind.TANH,
    nn.Sigmoid: RecordKind.SIGMOID,
    nn.ELU: RecordKind.ELU,
}


def to_module(field: Field) -> FieldModule:
    """A field as a torch module: coords float32 (n, in_dims) -> values float32 (n, out_channels), not clamped.

    Raises:
        UsageError: the field is one over latent grids.
    """
    if field.header.network.latents is not None:
        raise error("USAGE", "a field over latent grids has no module")
    return FieldModule(field.header.network.whole, field.state_dict, seed=field.header.seed or 0)


def from_module(
    module: nn.Module,
    *,
    grid: Sequence[int],
    modality: Modality = Modality.IMAGE,
    coords: Coords = Coords.CENTRES,
    values: Values = Values.SIGNED,
    min_psnr: float = 50.0,
    lossless: bool = False,
    preset: str = "fast",
    device: str = "auto",
) -> Field:
    """Write a trained module as a field.

    Args:
        module: a ``FieldModule``, or an ``nn.Sequential`` of ``nn.Linear`` and ReLU, Tanh, Sigmoid or ELU layers.
        grid: native grid, one entry for each input.
        modality, coords, values: what the module stands for; its outputs are in the range of ``values``.
        min_psnr: of the quantised module against the module itself, in dB, on 8-bit samples of the grid.
        lossless: keep every binary32 (coding tool RAW) instead.
        preset: how much work the quantiser does.
        device: where to measure.

    Raises:
        UsageError: a layer that the format does not have, or a quality that is not reached.
    """
    field_module = module if isinstance(module, FieldModule) else _from_sequential(module)
    torch_device = device_of(device)
    field_module = field_module.to(torch_device)
    points = grid_coords(tuple(grid), coords)
    own = outputs(field_module, points, device=torch_device)
    signal = Signal(points, own, to_uint8(values, own), tuple(grid), modality, coords, values)
    if lossless:
        return write_lossless(field_module, header_of(field_module.network, signal, field_module.seed))

    def size_of(network: Network, codes: Sequence[TensorCode], seed: int) -> int:
        return len(build(header_of(network, signal, seed), codes, Coding.RANS))

    job = Job(signal, preset_of(preset), field_module.seed, torch_device, size_of, None)
    chosen = quantise_module(job, field_module, Target(min_psnr=min_psnr))
    if chosen is None:
        raise error("USAGE", f"{min_psnr:g} dB were not reached; lossless=True keeps every bit")
    return sinrfmt.loads(build(header_of(chosen.network, signal, chosen.seed), chosen.codes, Coding.RANS))


def _from_sequential(module: nn.Module) -> FieldModule:
    if not isinstance(module, nn.Sequential) or not isinstance(module[0], nn.Linear):
        raise error("USAGE", "expected a FieldModule, or an nn.Sequential that starts with an nn.Linear")
    records: list[LayerRecord] = []
    arrays: dict[str, NDArray[np.float32]] = {}
    for index, (linear, kind) in enumerate(_layers(module)):
        has_bias = linear.bias is not None
        records.append(LayerRecord(kind, linear.out_features, prior=False, bias=has_bias))
        arrays[f"layers.{index}.weight"] = linear.weight.detach().cpu().numpy()
        if has_bias:
            arrays[f"layers.{index}.bias"] = linear.bias.detach().cpu().numpy()
    return FieldModule(Network(module[0].in_features, records[-1].width, tuple(records)), arrays)


def _layers(module: nn.Sequential) -> Iterator[tuple[nn.Linear, RecordKind]]:
    """Every linear layer with the activation that follows it."""
    parts = list(module)
    for part, follower in zip(parts, [*parts[1:], nn.Identity()], strict=True):
        if isinstance(part, nn.Linear):
            yield part, KINDS.get(type(follower), RecordKind.LINEAR)
        elif type(part) not in KINDS:
            raise error("USAGE", f"a layer of type {type(part).__name__} is not in the format")
