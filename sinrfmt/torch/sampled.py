"""Sampled signals of any kind to files, as a network or as a grid of latents: sound, scientific fields.

The choice between the two, and the waves of a network along one axis, come from measurements, which stand in
docs/audio-and-fields.md. META goes into the finished file, within the bytes asked for. Nothing here is normative.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import sinrfmt
from sinrfmt import edit
from sinrfmt.faults import error
from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode
from sinrfmt.pictures import FieldKind
from sinrfmt.registry import Coding, Modality, RecordKind
from sinrfmt.torch.encoder import DEFAULT_BITS_PER_SAMPLE, StageProgress
from sinrfmt.torch.files import Encoding, build, encode, header_of
from sinrfmt.torch.point_files import encode_signal_grid, point_preset_of
from sinrfmt.torch.presets import Preset, preset_of
from sinrfmt.torch.signals import Signal, psnr_of

GRID_PRESETS = {Modality.AUDIO: "audio", Modality.VIDEO: "video"}
"""Recipes of modalities; ``field`` is that of the others."""
GRID_WORK = {"fast": 1.0 / 3.0, "balanced": 1.0, "best": 3.0}
"""Shares of the steps of a recipe."""
ENERGY_SHARE = 0.6
"""Of a sound, below the frequency up to which the first layer's waves begin."""
FIRST_SHARES = (1.0, 0.5)
"""Of that frequency, that are tried; ``fast`` tries the first alone."""
LEAST_OMEGA = 10.0
GRID_BYTES = 40_000
"""Size of a file of a field from which on ``auto`` takes a grid: networks were 3 dB better at 12 and 23 kB, 0.5 dB at
47 kB, in twice the time, and 1.3 dB worse at 95 kB (docs/audio-and-fields.md)."""
GRID_SAMPLES = 50_000
"""Samples of a sound from which on ``auto`` takes a grid: networks were 3 dB better for 22,050, 2 to 4 dB worse for
308,207 (docs/audio-and-fields.md)."""
FEW_WEIGHTS = 16


@dataclass(frozen=True)
class Sampled:
    """An encoded signal.

    Attributes:
        encoding: the file, and its quality.
        field: what holds the signal.
        reason: why it was chosen, in a few words; None where it was asked for.
    """

    encoding: Encoding
    field: FieldKind
    reason: str | None


@dataclass(frozen=True)
class Choice:
    """What holds a signal, and why."""

    field: FieldKind
    reason: str


def encode_sampled(
    signal: Signal,
    *,
    field: FieldKind = FieldKind.AUTO,
    preset: str = "balanced",
    max_bytes: int | None = None,
    min_psnr: float | None = None,
    rate_weight: float | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Sampled:
    """Encode a signal with its META.

    Args:
        signal: what to encode.
        field: what holds it; ``auto`` for what measurements say.
        preset: ``fast``, ``balanced`` or ``best``: how much work to do.
        max_bytes: size of the whole file at most.
        min_psnr: PSNR of the decoded samples at least, in dB, relative to ``signal.peak``. At most one of the two.
        rate_weight: of a grid, lambda; in place of a target.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, PSNR in dB).

    Raises:
        UsageError: the target cannot be reached.
    """
    n_meta = edit.meta_bytes(signal.meta)
    if max_bytes is not None and max_bytes <= n_meta:
        raise error("USAGE", f"{max_bytes} bytes: META alone takes {n_meta}")
    if (signal.samples == signal.samples[0, 0]).all():
        return Sampled(_with_meta(_constant(signal), signal), FieldKind.MLP, "all samples are equal")
    chosen = choose_field(signal, max_bytes) if field is FieldKind.AUTO else Choice(field, "")
    if rate_weight is not None:
        chosen = Choice(FieldKind.GRID, "a rate weight is that of a grid")
    common: dict[str, Any] = {
        "max_bytes": None if max_bytes is None else max_bytes - n_meta,
        "min_psnr": min_psnr,
        "seed": seed,
        "device": device,
        "on_progress": on_progress,
    }
    if chosen.field is FieldKind.GRID:
        recipe = point_preset_of(GRID_PRESETS.get(signal.modality, "field"))
        recipe = replace(recipe, n_steps=max(1, round(recipe.n_steps * GRID_WORK[preset])))
        if rate_weight is not None:
            recipe = replace(recipe, rate_weight=rate_weight)
        encoding = encode_signal_grid(signal, recipe, **common)
    else:
        encoding = encode(signal, preset=_with_waves(preset_of(preset), signal), **common)
    reason = chosen.reason if field is FieldKind.AUTO else None
    return Sampled(_with_meta(encoding, signal), chosen.field, reason)


def _with_meta(encoding: Encoding, signal: Signal) -> Encoding:
    return replace(encoding, field=sinrfmt.loads(edit.with_meta(encoding.field.data, signal.meta)))


def _constant(signal: Signal) -> Encoding:
    """The file of a signal of one number, which is in the middle of its range: a layer of zeros."""
    network = Network(len(signal.grid), signal.channels, (LayerRecord(RecordKind.LINEAR, signal.channels),))
    codes = [TensorCode(tensor, np.zeros(tensor.size, dtype=np.int32)) for tensor in network.tensors]
    field = sinrfmt.loads(build(header_of(network, signal, 0), codes, Coding.RANS))
    arrays = {tensor.name: np.zeros(tensor.shape, dtype=np.float32) for tensor in network.tensors}
    psnr = psnr_of(signal, field.grid().reshape(signal.values.shape))
    return Encoding(field, psnr, psnr, arrays)


def choose_field(signal: Signal, max_bytes: int | None) -> Choice:
    """MLP or grid: of sound by length, of others by size, without a target that of a network at the usual bits."""
    if signal.modality is Modality.AUDIO:
        field = FieldKind.GRID if signal.n_samples >= GRID_SAMPLES else FieldKind.MLP
        return Choice(field, f"{signal.n_samples} samples; for sound grids are better from {GRID_SAMPLES} on")
    expected = int(DEFAULT_BITS_PER_SAMPLE * signal.n_samples / 8) if max_bytes is None else max_bytes
    field = FieldKind.GRID if expected >= GRID_BYTES else FieldKind.MLP
    return Choice(field, f"about {expected} bytes; a grid from {GRID_BYTES} bytes on")


def _with_waves(preset: Preset, signal: Signal) -> Preset:
    """The preset for a signal: one along a single axis gets first waves as fine as the signal is."""
    if len(signal.grid) > 1 or signal.n_samples < FEW_WEIGHTS:
        return preset
    finest = max(LEAST_OMEGA, math.pi * signal.n_samples * _bandwidth(signal))
    shares = FIRST_SHARES[:1] if preset.n_seeds <= 2 else FIRST_SHARES
    return replace(preset, omegas=preset.omegas[:1], first_omegas=tuple(_binary32(finest * share) for share in shares))


def _bandwidth(signal: Signal) -> float:
    """The frequency, in cycles a sample, below which a share of the signal's energy lies."""
    energy = np.sum(np.abs(np.fft.rfft(signal.values.astype(np.float64), axis=0)) ** 2, axis=1)
    total = np.cumsum(energy)
    return float(np.searchsorted(total, ENERGY_SHARE * total[-1])) / signal.n_samples


def _binary32(number: float) -> float:
    return float(np.float32(number))
