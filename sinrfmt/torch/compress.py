"""Weights that are given to a file of a size or a quality: the encoder without the training.

Nothing here is normative. What a network without a signal is measured against is its own output.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sinrfmt.evaluate import to_uint8
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.network import Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, Tool
from sinrfmt.torch.encoder import Job, StageProgress, Target, quantise_module
from sinrfmt.torch.files import build, device_of
from sinrfmt.torch.fit import measure, outputs
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import Preset, preset_of
from sinrfmt.torch.signals import VALUE_RANGES, Signal, grid_coords

NOMINAL_PSNR = 30.0
"""What a network is taken to reach where its signal is not given, in dB."""


@dataclass(frozen=True)
class WeightTarget:
    """What the file should be; exactly one is set.

    Attributes:
        max_bytes: size of the whole file.
        max_bpp: bits of the file per sample position of the header's grid.
        min_psnr: in dB on 8-bit samples, against the signal, else against the float32 network.
        max_drop: dB lost against the float32 network, on the signal.
        min_snr: in dB, against the float32 network.
    """

    max_bytes: int | None = None
    max_bpp: float | None = None
    min_psnr: float | None = None
    max_drop: float | None = None
    min_snr: float | None = None


@dataclass(frozen=True)
class Compressed:
    """A file of given weights.

    Attributes:
        data: the file.
        quality: PSNR of what was written, in dB.
        float_quality: of the float32 network; infinite without a signal.
        tool: of the weights.
    """

    data: bytes
    quality: float
    float_quality: float
    tool: Tool


def compress_weights(  # noqa: PLR0913
    module: FieldModule,
    header: Header,
    target: WeightTarget,
    *,
    signal: Signal | None = None,
    points: NDArray[np.float32] | None = None,
    preset: str | Preset = "balanced",
    memory: int = 4 << 30,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Compressed:
    """Write the weights of a module, for a grid of samples in [0, 1] or [-1, 1].

    Raises:
        UsageError: the target cannot be reached, or there are no such samples.
    """
    torch_device = device_of(device)
    module = module.to(torch_device)
    own = signal is None
    if header.values not in VALUE_RANGES or not header.grid:
        raise error("USAGE", "a network without a grid of samples in a range is written with --lossless only, as yet")
    if signal is None:
        coords = grid_coords(header.grid, header.coords)
        values = outputs(module, coords, device=torch_device)
        samples = to_uint8(header.values, values)
        signal = Signal(coords, values, samples, header.grid, header.modality, header.coords, header.values)

    def header_for(network: Network, network_seed: int) -> Header:
        return replace(header, network=network, seed=network_seed)

    def size_of(network: Network, codes: Sequence[TensorCode], network_seed: int) -> int:
        return len(build(header_for(network, network_seed), codes, Coding.RANS))

    float_quality = measure(module, signal, device=torch_device)
    chosen_preset = preset_of(preset) if isinstance(preset, str) else preset
    job = Job(signal, chosen_preset, seed, torch_device, size_of, on_progress)
    chosen = quantise_module(job, module, _encoder_target(target, header, NOMINAL_PSNR if own else float_quality, own))
    if chosen is None:
        raise error("USAGE", "the size or quality that is asked for was not reached")
    data = build(header_for(chosen.network, chosen.seed), chosen.codes, Coding.RANS)
    return Compressed(data, chosen.psnr, float_quality, Tool.SCALAR)


def _encoder_target(target: WeightTarget, header: Header, float_psnr: float, own: bool) -> Target:
    if target.max_bytes is not None or target.max_bpp is not None:
        n_samples = int(np.prod(header.grid))
        return Target(max_bytes=target.max_bytes or int((target.max_bpp or 0.0) * n_samples / 8))
    if target.max_drop is None:
        return Target(min_psnr=target.min_psnr if target.min_psnr is not None else target.min_snr)
    if not own:
        return Target(min_psnr=float_psnr - target.max_drop)
    # Against itself: errors that would take the drop from a network of the nominal quality.
    noise = 10.0 ** (-(float_psnr - target.max_drop) / 10.0) - 10.0 ** (-float_psnr / 10.0)
    return Target(min_psnr=float(-10.0 * np.log10(noise)))
