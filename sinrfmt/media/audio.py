"""Sound files to samples and back, through libsndfile (extra ``media``): WAV, FLAC, Ogg, AIFF and others.

Samples keep the type of the file: int16, int32 (of 24-bit files with the sample in the upper bits, as libsndfile has
it), float32 or float64.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error

DTYPES = {"PCM_S8": "int16", "PCM_U8": "int16", "PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32"}
"""Of the samples of a subtype; ``float64`` for DOUBLE and float32 for all others."""
SUBTYPES = {"int16": "PCM_16", "int32": "PCM_24", "float32": "FLOAT", "float64": "DOUBLE"}
"""To write samples of a type as, where the file they came from does not say."""
FORMATS = {".wav": "WAV", ".flac": "FLAC"}


@dataclass(frozen=True)
class Sound:
    """Samples of a sound.

    Attributes:
        samples: int16, int32, float32 or float64 (n, channels).
        sample_rate: samples a second.
        subtype: libsndfile's name of how a file keeps them.
    """

    samples: NDArray[Any]
    sample_rate: int
    subtype: str


def read_sound(path: Path) -> Sound:
    """
    Raises:
        UsageError: not a readable sound, or one without samples.
    """
    soundfile = _soundfile()
    try:
        with soundfile.SoundFile(path) as file:
            dtype = DTYPES.get(file.subtype, "float64" if file.subtype == "DOUBLE" else "float32")
            samples = file.read(dtype=dtype, always_2d=True)
            found = Sound(samples, file.samplerate, file.subtype)
    except (OSError, soundfile.SoundFileError) as failure:
        raise error("USAGE", f"{path}: {failure}") from failure
    if not found.samples.size:
        raise error("USAGE", f"{path}: there are no samples")
    return found


def write_sound(path: Path, sound: Sound) -> None:
    """Write a sound in the format that the suffix of the name says; as another subtype if that has no such one.

    Raises:
        OSError: the file cannot be written.
    """
    soundfile = _soundfile()
    kind = FORMATS[path.suffix.lower()]
    subtype = sound.subtype if soundfile.check_format(kind, sound.subtype) else soundfile.default_subtype(kind)
    try:
        soundfile.write(path, sound.samples, sound.sample_rate, subtype=subtype, format=kind)
    except soundfile.SoundFileError as failure:
        raise OSError(str(failure)) from failure


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as failure:  # OSError: the package without the library it binds
        raise error("USAGE", "soundfile is not installed: pip install 'sinrfmt[media]'") from failure
    return soundfile


def subtype_of(dtype: np.dtype[Any]) -> str:
    """The subtype that keeps samples of a type."""
    return SUBTYPES.get(dtype.name, "FLOAT")
