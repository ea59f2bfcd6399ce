"""Signals to files: what the encoder chose, packed.

The last stage of encoding. Everything that is written is parsed back before it is given to the caller.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.container import build_file
from sinrfmt.faults import error, translate
from sinrfmt.field import Field
from sinrfmt.head import Header, build_head, fitting_level, lowest_level
from sinrfmt.metrics import Samples
from sinrfmt.network import Network
from sinrfmt.payload import States, TensorCode, pack
from sinrfmt.registry import ChunkKind, Coding, Dictionary, Profile, Tool
from sinrfmt.torch.encoder import StageProgress, Target, WeightCoding, encode_signal, quantise_module
from sinrfmt.torch.presets import Preset, bits_per_parameter, preset_of
from sinrfmt.torch.rate import LAW
from sinrfmt.torch.search import one_thread
from sinrfmt.torch.signals import Signal, image_signal
from sinrfmt.torch.sparse_codes import published_bits, quantise_as_published, quantise_sparse, sparse_bits
from sinrfmt.wire import Fault

SMALL_SIGNAL = 1 << 17
"""Samples; the network that suits so few has layers of less than about 64."""
WEIGHT_CODINGS = {
    "scalar": WeightCoding(quantise_module, bits_per_parameter, payload=Coding.RANS),
    "sparse": WeightCoding(quantise_sparse, sparse_bits, payload=Coding.RANS),
    "sinr-paper": WeightCoding(quantise_as_published, published_bits, payload=Coding.BROTLI),
}
MAIN_CODINGS = (Coding.BROTLI, Coding.ZSTANDARD)


@dataclass(frozen=True)
class Encoding:
    """An encoded signal.

    Attributes:
        field: the file, decoded.
        psnr: of the decoded samples against the signal, in dB.
        float_psnr: of the float32 network before quantisation, in dB.
        float_arrays: that network, float32 array by tensor name.
    """

    field: Field
    psnr: float
    float_psnr: float
    float_arrays: dict[str, NDArray[np.float32]]

    @property
    def n_bytes(self) -> int:
        """Of the file."""
        return len(self.field.data)


def encode(
    picture: Samples | Signal,
    *,
    preset: str | Preset = "balanced",
    max_bytes: int | None = None,
    min_psnr: float | None = None,
    weight_coding: str = "scalar",
    coding: Coding | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: StageProgress | None = None,
) -> Encoding:
    """Fit a network to a signal and write it as a file.

    Args:
        picture: uint8 or uint16 [rows, columns] or [rows, columns, channels], 1 to 4 channels; or any signal.
        preset: ``fast``, ``balanced`` or ``best``, or how much work to do in figures.
        max_bytes: size of the file at most.
        min_psnr: PSNR of the decoded samples at least, in dB. At most one of the two.
        weight_coding: ``scalar``, ``sparse`` (coding tool 3) or ``sinr-paper`` (the same, as published).
        coding: payload coding; None for that of the weight coding: BROTLI for ``sinr-paper``, otherwise RANS.
        seed: of everything random; the same seed on the same machine gives the same file.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.
        on_progress: called with (stage, done, in all, PSNR in dB).

    Raises:
        UsageError: the target cannot be reached, or the arguments do not fit.
    """
    way = weight_coding_of(weight_coding)
    payload = way.payload if coding is None else coding
    signal = picture if isinstance(picture, Signal) else image_signal(picture)

    def size_of(network: Network, codes: Sequence[TensorCode], network_seed: int) -> int:
        return len(build(header_of(network, signal, network_seed), codes, payload))

    with one_thread_if_small(signal.n_samples):
        chosen = encode_signal(
            signal,
            preset_of(preset) if isinstance(preset, str) else preset,
            Target(max_bytes, min_psnr),
            weight_coding=way,
            seed=seed,
            device=device_of(device),
            size_of=size_of,
            on_progress=on_progress,
        )
    data = build(header_of(chosen.network, signal, chosen.seed), chosen.codes, payload)
    return Encoding(sinrfmt.loads(data), chosen.psnr, chosen.float_psnr, chosen.float_arrays)


def one_thread_if_small(n_samples: int) -> AbstractContextManager[None]:
    """One torch thread for a small picture."""
    return one_thread(n_samples <= SMALL_SIGNAL)


def weight_coding_of(name: str) -> WeightCoding:
    """The weight coding of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in WEIGHT_CODINGS:
        raise error("USAGE", f"weight coding {name!r}: expected one of {', '.join(WEIGHT_CODINGS)}")
    return WEIGHT_CODINGS[name]


def device_of(name: str) -> torch.device:
    """``auto`` is CUDA where there is one.

    Raises:
        UsageError: CUDA is asked for and not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise error("USAGE", "--device cuda: torch finds no CUDA device here")
    return device


def header_of(network: Network, signal: Signal, seed: int) -> Header:
    """HEAD of a one-pass file of a signal."""
    return Header(
        network,
        signal.modality,
        grid=signal.grid,
        coords=signal.coords_rule,
        values=signal.value_range,
        seed=seed,
        dictionary=LAW
        if any(record.tool is Tool.SPARSE for record in network.layer_records)
        else Dictionary.RADEMACHER,
        level=lowest_level(network, signal.grid),
    )


def build(header: Header, codes: Sequence[TensorCode], coding: Coding, before: States | None = None) -> bytes:
    """A one-pass file; see ``build_passes``."""
    return build_passes(header, [codes], coding, before)


def build_passes(
    header: Header, passes: Sequence[Sequence[TensorCode]], coding: Coding, before: States | None = None
) -> bytes:
    """A file of as many passes as there are lists of codes; its level and profile are the lowest that fit.

    ``before`` is for a file with a base.

    Raises:
        FormatError, LimitError: the integers or the network cannot be written.
    """
    if coding in MAIN_CODINGS:
        header = replace(header, profile=Profile.MAIN)
    chunks, states = [], before
    try:
        for index, codes in enumerate(passes):
            payload, states = pack(codes, header, coding=coding, index=index, before=states)
            chunks.append((ChunkKind.PASS, payload))
        data = build_file(build_head(header), chunks)
    except Fault as fault:
        raise translate(fault, 0, "encoder") from None
    if len(data) <= header.level.file_bytes:
        return data
    return build_passes(replace(header, level=fitting_level(header.level, len(data))), passes, coding, before)
