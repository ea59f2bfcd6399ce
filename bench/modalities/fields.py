"""Scientific fields: networks and grids beside zfp, at equal largest error and at equal PSNR.

    python -m bench.modalities.fields ../shared/data [--preset fast] [--short] [--workers N] [--results DIR]

For every file of ours zfp, in the mode of a fixed accuracy, is asked for the fewest bytes with no larger a largest
error, and for the fewest with no lower a PSNR. zfp codes floats: integers go in as float32 and come out rounded. With
``--short`` one size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.modalities.tables import Job, Row, arguments, draw, made, stopwatch, write
from sinrfmt.metrics import max_error, psnr
from sinrfmt.pictures import FieldKind
from sinrfmt.quantity import quantity_of
from sinrfmt.torch.sampled import encode_sampled
from sinrfmt.torch.signals import array_signal

FIELDS = ("era5_temperature_5x46x90.npy", "ct_head_93x64x64_u16.npy")
BITS_PER_SAMPLE = (0.25, 0.5, 1.0, 2.0)
SHORT_BITS_PER_SAMPLE = (0.5,)
N_HALVINGS = 18
"""In the search for zfp's accuracy: its steps are powers of two, so a few would do."""


@dataclass(frozen=True)
class Coded:
    """A field coded by zfp."""

    n_bytes: int
    max_error: float
    psnr: float
    seconds: float


def main() -> None:
    given = arguments(__doc__ or "").parse_args()
    rates = SHORT_BITS_PER_SAMPLE if given.short else BITS_PER_SAMPLE
    jobs: list[Job] = [
        partial(_rows, given.data / "field" / name, field, given.preset, given.seed, rate)
        for name in FIELDS
        for field in (FieldKind.MLP, FieldKind.GRID)
        for rate in rates
    ]
    rows = list(made(jobs, given.workers))
    command = f"python -m bench.modalities.fields ../shared/data --preset {given.preset}{' --short' * given.short}"
    notes = [
        "Largest errors are in the units of the samples: ERA5 is scaled to about 0 to 1, the CT has raw numbers from",
        "0 to 3926. PSNR is relative to the span of the samples. Rows of zfp name the file that they are no worse",
        "than, by largest error or by PSNR.",
    ]
    write("fields", "Scientific fields", rows, notes, command, results=given.results)
    drawn = [row for row in rows if "error" not in row.codec]
    draw("fields", drawn, "bytes", "psnr", ("bytes", "PSNR, dB"), results=given.results)


def _rows(path: Path, field: FieldKind, preset: str, seed: int, rate: float) -> list[Row]:
    """Our file and those of zfp that are no worse."""
    samples = np.load(path)
    row = _own(path.stem, samples, field, preset, seed, rate)
    goals: dict[str, Callable[[Coded], bool]] = {
        "zfp at equal error": lambda coded: coded.max_error <= row.figures["max_error"],
        "zfp at equal PSNR": lambda coded: coded.psnr >= row.figures["psnr"],
    }
    setting = f"{row.codec} {row.setting}"
    return [row, *(_zfp_row(path.stem, samples, codec, setting, meets) for codec, meets in goals.items())]


def _own(name: str, samples: NDArray[Any], field: FieldKind, preset: str, seed: int, rate: float) -> Row:
    signal = array_signal(samples)
    n_bytes = int(rate * signal.n_samples / 8)
    with stopwatch() as seconds:
        encoding = encode_sampled(signal, field=field, preset=preset, max_bytes=n_bytes, seed=seed).encoding
    decoded = signal.decoded(encoding.field.grid().reshape(signal.samples.shape))
    figures = {"psnr": psnr(signal.samples, decoded, signal.peak), "max_error": max_error(signal.samples, decoded)}
    return Row(name, f".sinr {field.value}", f"{rate} bit/sample", len(encoding.field.data), seconds(), figures)


def _zfp_row(name: str, samples: NDArray[Any], codec: str, setting: str, meets: Callable[[Coded], bool]) -> Row:
    """The largest accuracy that meets the goal, by halving its logarithm."""
    span = quantity_of(samples).peak
    low, high = span * 2.0**-24, span * 4.0
    best = _zfp(samples, low)
    for _ in range(N_HALVINGS):
        middle = (low * high) ** 0.5
        coded = _zfp(samples, middle)
        low, high = (middle, high) if meets(coded) else (low, middle)
        if meets(coded) and coded.n_bytes < best.n_bytes:
            best = coded
    return Row(name, codec, setting, best.n_bytes, best.seconds, {"psnr": best.psnr, "max_error": best.max_error})


def _zfp(samples: NDArray[Any], accuracy: float) -> Coded:
    import zfpy

    with stopwatch() as seconds:
        data = zfpy.compress_numpy(np.ascontiguousarray(samples, dtype=np.float32), tolerance=accuracy)
        elapsed = seconds()
    found = zfpy.decompress_numpy(data).astype(np.float64)
    decoded = found if samples.dtype.kind == "f" else np.rint(found)
    return Coded(len(data), max_error(samples, decoded), psnr(samples, decoded, quantity_of(samples).peak), elapsed)


if __name__ == "__main__":
    main()
