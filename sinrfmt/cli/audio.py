"""Sound on the command line: the handler of ``encode`` and ``decode``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sinrfmt.cli.handlers import Decoding, Encoded, Handler, Writer
from sinrfmt.cli.options import torch_api
from sinrfmt.cli.progress import OnProgress
from sinrfmt.cli.requests import COMMON_DECODE, DecodeRequest, EncodeRequest
from sinrfmt.cli.sampled import check_request, decoded_samples, encode_signal
from sinrfmt.cli.writers import samples_or_values
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.media.arrays import write_array
from sinrfmt.media.audio import Sound, read_sound, subtype_of, write_sound
from sinrfmt.registry import Modality

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".aif", ".aiff", ".au", ".caf"})
SAMPLE_RATE, SUBTYPE = "sample_rate", "subtype"
"""Keys of META."""
DEFAULT_RATE = 44100
"""Samples a second of a file that does not say."""


def encode(source: Path, request: EncodeRequest, on_progress: OnProgress | None) -> Encoded:
    """Fit a sound."""
    check_request(request)
    sound = read_sound(source)
    try:
        signal = torch_api().audio_signal(sound.samples, sound.sample_rate, meta={SUBTYPE: sound.subtype})
    except ValueError as failure:
        raise error("USAGE", f"{source}: {failure}") from failure
    return encode_signal(signal, request, "", on_progress)


def _write_sound(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    samples = decoded_samples(decoding)
    rate = _sample_rate(decoding)
    write_sound(path, Sound(samples, rate, decoding.meta.get(SUBTYPE, subtype_of(samples.dtype))))
    return {"sample_rate": rate}


def _sample_rate(decoding: Decoding) -> int:
    """The rate at which the samples asked for take the time that the native ones take."""
    text = decoding.meta.get(SAMPLE_RATE, "")
    rate = int(text) if text.isascii() and text.isdigit() and int(text) else DEFAULT_RATE
    if decoding.size is None or not decoding.header.grid:
        return rate
    return max(1, round(rate * decoding.size[0] / decoding.header.grid[0]))


def _write_samples(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    write_array(path, decoded_samples(decoding))
    return {}


def _check_sound(header: Header, request: DecodeRequest) -> None:
    if header.network.in_dims != 1:
        raise error("USAGE", f"a field of {header.network.in_dims} axes is no sound")


SOUND = Writer(_write_sound, _check_sound, options=COMMON_DECODE - {"coords"})
HANDLER = Handler(
    "audio",
    frozenset({Modality.AUDIO}),
    SUFFIXES,
    encode,
    options=frozenset({"keep_network"}),
    writers={".wav": SOUND, ".flac": SOUND, ".npy": samples_or_values(_write_samples)},
    shown=(".wav", None),
)
