"""Sound: networks and grids beside Opus and MP3 at about the same bytes, by SNR and PSNR of the samples.

    python -m bench.modalities.audio ../shared/data [--preset fast] [--short] [--workers N] [--results DIR]

Opus and MP3 keep what is heard, not the samples: their SNR says less about how they sound than that of the others.
What they decode is shifted to where it is most like the original. With ``--short`` the first two seconds after 1.36 s
and two sizes.
"""

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.modalities.tables import Job, Row, arguments, draw, made, stopwatch, write
from sinrfmt.media.audio import Sound, read_sound
from sinrfmt.metrics import psnr, snr
from sinrfmt.pictures import FieldKind
from sinrfmt.torch.sampled import encode_sampled
from sinrfmt.torch.signals import audio_signal

SOUND = "audio/gt_bach.wav"
SHORT = slice(60_000, 148_200)
BITS_PER_SECOND = (6_000, 9_000, 16_000, 32_000)
SHORT_BITS_PER_SECOND = (6_000, 16_000)
OTHERS = {"Opus": ("libopus", "ogg", 48_000), "MP3": ("libmp3lame", "mp3", 22_050)}
"""Encoder, container and sample rate."""
MAX_SHIFT = 4_096


def main() -> None:
    parser = arguments(__doc__ or "")
    given = parser.parse_args()
    sound = read_sound(given.data / SOUND)
    if given.short:
        sound = Sound(sound.samples[SHORT], sound.sample_rate, sound.subtype)
    rates = SHORT_BITS_PER_SECOND if given.short else BITS_PER_SECOND
    rows = list(made(_jobs(sound, rates, given.preset, given.seed), given.workers))
    seconds = len(sound.samples) / sound.sample_rate
    command = f"python -m bench.modalities.audio ../shared/data --preset {given.preset}{' --short' * given.short}"
    notes = [
        f"The signal has {len(sound.samples)} samples at {sound.sample_rate} Hz ({seconds:.2f} s). Bytes are those of",
        "whole files. PSNR is relative to the span of the range, twice the largest amplitude. Opus and MP3 keep what",
        "is heard, not the samples: their SNR says less about how they sound.",
    ]
    write("audio", "Sound", rows, notes, command, results=given.results)
    draw("audio", rows, "bytes", "snr", ("bytes", "SNR of the samples, dB"), results=given.results)


def _jobs(sound: Sound, rates: tuple[int, ...], preset: str, seed: int) -> list[Job]:
    seconds = len(sound.samples) / sound.sample_rate
    others: list[Job] = [partial(_other, sound, codec, rate) for codec in OTHERS for rate in rates]
    budgets = [int(rate * seconds / 8) for rate in rates]
    kinds = (FieldKind.MLP, FieldKind.GRID)
    return others + [partial(_own, sound, field, preset, seed, n_bytes) for field in kinds for n_bytes in budgets]


def _own(sound: Sound, field: FieldKind, preset: str, seed: int, n_bytes: int) -> Sequence[Row]:
    signal = audio_signal(sound.samples, sound.sample_rate, meta={"subtype": sound.subtype})
    with stopwatch() as seconds:
        encoding = encode_sampled(signal, field=field, preset=preset, max_bytes=n_bytes, seed=seed).encoding
    decoded = signal.decoded(encoding.field.grid().reshape(signal.samples.shape))
    name = f".sinr {field.value}"
    return [_row(sound, name, f"{n_bytes} bytes", len(encoding.field.data), seconds(), decoded.astype(np.float32))]


def _other(sound: Sound, codec: str, rate: int) -> Sequence[Row]:
    with stopwatch() as seconds:
        data = _encode(sound, codec, rate)
    decoded = _decode(data, sound.sample_rate)
    return [_row(sound, codec, f"{rate} bit/s", len(data), seconds(), _aligned(sound.samples, decoded))]


def _row(sound: Sound, codec: str, setting: str, n_bytes: int, seconds: float, decoded: NDArray[np.float32]) -> Row:
    span = 2.0 * float(np.abs(sound.samples).max())
    figures = {"psnr": psnr(sound.samples, decoded, span), "snr": snr(sound.samples, decoded)}
    return Row(Path(SOUND).name, codec, setting, n_bytes, seconds, figures)


def _encode(sound: Sound, codec: str, rate: int) -> bytes:
    import av

    encoder, container, sample_rate = OTHERS[codec]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(encoder, rate=sample_rate, layout="mono")
        stream.bit_rate = rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.samples.T, dtype=np.float32), "fltp", "mono")
        frame.sample_rate = sound.sample_rate
        resampler = av.AudioResampler(stream.codec_context.format, "mono", sample_rate, stream.codec_context.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def _decode(data: bytes, sample_rate: int) -> NDArray[np.float32]:
    import av

    with av.open(io.BytesIO(data)) as source:
        resampler = av.AudioResampler("fltp", "mono", sample_rate)
        pieces = [piece.to_ndarray() for frame in source.decode(audio=0) for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray() for piece in resampler.resample(None)]
    return np.concatenate(pieces, axis=1).T.astype(np.float32)


def _aligned(samples: NDArray[np.float32], decoded: NDArray[np.float32]) -> NDArray[np.float32]:
    """The decoded sound, of the original's length, shifted to where the two agree best."""
    padded = np.zeros((len(samples) + 2 * MAX_SHIFT, 1), dtype=np.float32)
    kept = decoded[: len(samples) + MAX_SHIFT]
    padded[MAX_SHIFT : MAX_SHIFT + len(kept)] = kept
    size = 1 << int(np.ceil(np.log2(len(padded) + len(samples))))
    product = np.fft.rfft(padded[:, 0], size) * np.conj(np.fft.rfft(samples[:, 0], size))
    start = int(np.argmax(np.fft.irfft(product, size)[: 2 * MAX_SHIFT]))
    return padded[start : start + len(samples)]


if __name__ == "__main__":
    main()
