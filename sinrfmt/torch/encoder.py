"""From a signal to the integers of a file: size of the network, screening, training, curvature, steps.

Everything of the encoder but bytes: building the file from an ``EncodedField`` is the caller's. Nothing here is
normative: a decoder sees only the result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from sinrfmt.faults import error
from sinrfmt.network import Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding
from sinrfmt.torch.fit import FitOptions, Progress, fit, measure, screen_seeds
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import Preset, bits_per_parameter, network_for_bytes
from sinrfmt.torch.rate import start_knob
from sinrfmt.torch.search import (
    Goal,
    Problem,
    SizeOf,
    Work,
    all_zero,
    search_codes,
    tool_of,
    with_tool,
    without_unused_prior,
)
from sinrfmt.torch.sensitivity import Curvature, curvature_of
from sinrfmt.torch.signals import VALUE_RANGES, Signal, psnr_of

StageProgress = Callable[[str, int, int, float], None]
"""Called with (stage, done, in all, PSNR in dB); stages are ``screen``, ``fit`` and ``quantise``."""

DEFAULT_BITS_PER_SAMPLE = 0.35
"""Size of a file when nothing is asked for, per sample position."""
DEFAULT_DROP = 0.3
"""Quality given up to quantisation when no size is asked for, in dB: there no network of another size is better."""
# A larger batch keeps a GPU busy; on a CPU it only leaves the cache.
BATCH_SIZES = {"cpu": 4096}
GPU_BATCH_SIZE = 32768
SEED_LIMIT = 1 << 32
RATE_SHARES = (1.0, 0.5, 0.25)
"""Of the learning rate: a training that ends below where it started has diverged and is done again with the next."""

# A search for the size that reaches a PSNR: what an octave of bytes brings, what the full training adds to a probe, and
# the loss to quantisation at which a size is best.
PSNR_PER_OCTAVE = 3.0
PROBE_GAIN = 2.5
BEST_DROP = 0.35
MAX_PROBES = 5
MAX_SIZES = 3
LARGER, SMALLER = 1.3, 0.8
MAX_DROP = 1.0
"""Loss to quantisation, in dB, from which on a smaller network is tried."""
MIN_BYTES, MAX_BYTES = 128, 400_000


@dataclass(frozen=True)
class Target:
    """What the file should be; at most one is set.

    Attributes:
        max_bytes: size of the whole file.
        min_psnr: of the decoded samples, in dB.
    """

    max_bytes: int | None = None
    min_psnr: float | None = None


@dataclass(frozen=True)
class EncodedField:
    """A signal's network in integers.

    Attributes:
        network: records as they go into the file; ``prior`` only where a tensor uses it.
        seed: of prior and seeded Fourier features.
        codes: in table order.
        psnr: of the decoded samples, in dB.
        float_psnr: of the samples before quantisation.
        n_bytes: size by the caller's measure.
        float_arrays: float32 array per tensor name, before quantisation.
    """

    network: Network
    seed: int
    codes: tuple[TensorCode, ...]
    psnr: float
    float_psnr: float
    n_bytes: int
    float_arrays: dict[str, NDArray[np.float32]]


Quantiser = Callable[["Job", FieldModule, Target], EncodedField | None]
"""The integers of a trained module for a target; None if it cannot be reached."""


@dataclass(frozen=True)
class WeightCoding:
    """How weights become integers.

    Attributes:
        quantise: does it.
        bits_of_rate: bits of a weight at which the size of the network is right, for a rate in bits per grid position.
        payload: payload coding where none is asked for.
    """

    quantise: Quantiser
    bits_of_rate: Callable[[float], float]
    payload: Coding


def encode_signal(
    signal: Signal,
    preset: Preset,
    target: Target,
    *,
    weight_coding: WeightCoding,
    seed: int,
    device: torch.device,
    size_of: SizeOf,
    on_progress: StageProgress | None = None,
) -> EncodedField:
    """Fit a network to a signal and choose its integers.

    Args:
        signal: what to encode.
        preset: how much work to do.
        target: size or quality.
        weight_coding: how weights become integers.
        seed: of everything; the seed in the file is one of the candidates that follow from it.
        device: where to train.
        size_of: bytes of the file.
        on_progress: see ``StageProgress``.

    Raises:
        UsageError: the target cannot be reached.
    """
    job = Job(signal, preset, seed, device, size_of, on_progress)
    if target.min_psnr is not None:
        return _encode_for_psnr(job, weight_coding, target.min_psnr)
    return _encode_for_bytes(job, weight_coding, target)


@dataclass(frozen=True)
class Job:
    """The arguments of ``encode_signal`` that every stage needs."""

    signal: Signal
    preset: Preset
    seed: int
    device: torch.device
    size_of: SizeOf
    on_progress: StageProgress | None

    def stage(self, name: str) -> Progress | None:
        return partial(self.on_progress, name) if self.on_progress else None


def options_of(job: Job, n_steps: int, rate_share: float = 1.0) -> FitOptions:
    batch_size = BATCH_SIZES.get(job.device.type, GPU_BATCH_SIZE)
    return FitOptions(max(1, n_steps), job.preset.learning_rate * rate_share, batch_size)


def _network_for(
    job: Job, max_bytes: int, waves: tuple[float, float], bits_of_rate: Callable[[float], float]
) -> Network:
    signal, (first, omega) = job.signal, waves
    in_dims = signal.coords.shape[1]
    return network_for_bytes(in_dims, signal.channels, max_bytes, signal.n_samples, omega, bits_of_rate, first)


def _train(job: Job, max_bytes: int, bits_of_rate: Callable[[float], float]) -> FieldModule:
    """Screen seeds and omegas for the network of a budget and train the best one to the end."""
    preset, signal = job.preset, job.signal
    networks = [_network_for(job, max_bytes, waves, bits_of_rate) for waves in preset.waves]
    seeds = [(job.seed + i) % SEED_LIMIT for i in range(preset.n_seeds)]
    candidates = [(network, seed) for seed in seeds for network in networks]
    screening = options_of(job, round(preset.n_steps * preset.screening_share))
    best = screen_seeds(candidates, signal, screening, device=job.device, on_progress=job.stage("screen"))
    module, progress = best.module, job.stage("fit")
    screened = module.arrays()
    for share in RATE_SHARES:
        options = options_of(job, preset.n_steps, share)
        if fit(module, signal, options, seed=best.seed, device=job.device, on_progress=progress) >= best.psnr:
            break
        module.load_arrays(screened)
    return module


def _encode_for_bytes(job: Job, weight_coding: WeightCoding, target: Target) -> EncodedField:
    """Encode for a budget; where the weights turn out to need more bits than expected, with a smaller network.

    Where nothing is asked for and no step keeps the quality, which happens to a few samples, with a larger one.
    """
    max_bytes = target.max_bytes or max(MIN_BYTES, int(DEFAULT_BITS_PER_SAMPLE * job.signal.n_samples / 8))
    smallest = _network_for(job, 0, (1.0, 1.0), weight_coding.bits_of_rate)
    if job.size_of(*all_zero(smallest), job.seed) > max_bytes:  # known before any work is done
        raise error("USAGE", f"{max_bytes} bytes are fewer than the smallest network takes")
    results = []
    # Where nothing is asked for, all codings get the same network.
    bits_of_rate = bits_per_parameter if target.max_bytes is None else weight_coding.bits_of_rate
    factor = LARGER if target.max_bytes is None else SMALLER
    for attempt in range(MAX_SIZES):
        module = _train(job, round(max_bytes * factor**attempt), bits_of_rate)
        encoded = weight_coding.quantise(job, module, target)
        if encoded is not None:
            results.append(encoded)
        if encoded is not None and (target.max_bytes is None or encoded.float_psnr - encoded.psnr <= MAX_DROP):
            break
    if not results:
        raise error("USAGE", f"{max_bytes} bytes are too few for any network of this signal")
    return max(results, key=lambda encoded: encoded.psnr)


def _encode_for_psnr(job: Job, weight_coding: WeightCoding, min_psnr: float) -> EncodedField:
    """Encode for a quality; with a larger network where it is missed, a smaller one where it is far exceeded."""
    max_bytes = probe_size(job, min_psnr, weight_coding.bits_of_rate)
    results: list[EncodedField] = []
    for _ in range(MAX_SIZES):
        module = _train(job, max_bytes, weight_coding.bits_of_rate)
        encoded = weight_coding.quantise(job, module, Target(min_psnr=min_psnr))
        if encoded is not None:
            results.append(encoded)
        if results and (encoded is None or encoded.float_psnr - min_psnr <= MAX_DROP):
            break
        max_bytes = round(max_bytes * (LARGER if encoded is None else SMALLER))
    if not results:
        raise error("USAGE", f"{min_psnr:g} dB were not reached with a network of {max_bytes} bytes")
    return min(results, key=lambda encoded: encoded.n_bytes)


def probe_size(job: Job, min_psnr: float, bits_of_rate: Callable[[float], float]) -> int:
    """Bytes that should give ``min_psnr``, from short trainings of one seed."""
    signal = job.signal
    size = DEFAULT_BITS_PER_SAMPLE * signal.n_samples / 8
    options = options_of(job, round(job.preset.n_steps * job.preset.screening_share))
    # A file larger than the samples themselves is not worth looking for.
    max_size = max(MIN_BYTES, min(MAX_BYTES, signal.samples.size))
    for _ in range(MAX_PROBES):
        size = min(max(size, MIN_BYTES), max_size)
        network = _network_for(job, round(size), job.preset.waves[0], bits_of_rate)
        psnr = fit(FieldModule(network, seed=job.seed), signal, options, seed=job.seed, device=job.device)
        missing = min_psnr + BEST_DROP - PROBE_GAIN - psnr
        size *= 2.0 ** (missing / PSNR_PER_OCTAVE)
        if abs(missing) < BEST_DROP:
            break
    return round(min(max(size, MIN_BYTES), max_size))


def quantise_module(job: Job, module: FieldModule, target: Target) -> EncodedField | None:
    """The integers of a trained module for a target; None if no step reaches it."""
    signal, preset, network = job.signal, job.preset, module.network
    float_psnr = measure(module, signal, device=job.device)
    problem = Problem(
        module,
        curvature_for(job, module),
        signal.coords,
        signal.values,
        partial(psnr_of, signal),
        job.size_of,
        Work(preset.n_trials, preset.n_refit_trials, preset.n_refits),
        job.seed,
        job.device,
        job.stage("quantise"),
    )
    scale = VALUE_RANGES[signal.value_range][0]
    c_start = start_knob(float_psnr, DEFAULT_DROP, scale, network.n_parameters)
    trial = search_codes(problem, _goal(target, float_psnr), c_start)
    if trial is None:
        return None
    written_network, written_codes = without_unused_prior(with_tool(network, tool_of(trial.codes)), trial.codes)
    return EncodedField(
        written_network,
        module.seed,
        written_codes,
        trial.psnr,
        float_psnr,
        trial.n_bytes,
        module.arrays(),
    )


def curvature_for(job: Job, module: FieldModule) -> Curvature:
    """The curvature of a trained module, as large and as exact as the preset has it."""
    return curvature_of(
        module,
        job.signal.coords,
        n_samples=job.preset.curvature_samples,
        block_limit=job.preset.feedback_limit,
        seed=job.seed,
        device=job.device,
    )


def _goal(target: Target, float_psnr: float) -> Goal:
    if target.max_bytes is not None:
        return Goal(max_bytes=target.max_bytes)
    return Goal(min_quality=float_psnr - DEFAULT_DROP if target.min_psnr is None else target.min_psnr)
