"""What passes of latents cost, and what their prefixes are worth: files of one pass and of four, then a table.

Run from the root of the repository:

    python -m bench.grid_passes --out DIR [--data KODAK] [--steps N] [--images kodim23 ...] [--rate-weights 1e-3 ...]
    python -m bench.grid_passes --out DIR --half --steps 800 --rate-weights 1e-3 [--images kodim15 ...]

Every file is written to DIR once, by one torch thread; files that are there are not made again. With ``--half`` they
are of full pictures, in two passes: all levels but the finest, and that one. Otherwise the pictures are the crops of
``bench.images``. A prefix is compared with the one-pass files of the same picture: their PSNR at its bytes and
their bytes at its PSNR are read off the curve through them, in which PSNR is linear between logarithms of bytes, and
beyond its ends as between the nearest two.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import reference_decoder
import sinrfmt
from bench.images import CROP_IMAGES, DATA, load_picture
from sinrfmt.metrics import Samples, psnr
from sinrfmt.torch.grid_files import encode_grid, grid_preset_of

RATE_WEIGHTS = (2e-4, 1e-3, 5e-3, 2e-2)
PROGRESSIVE = (2e-4, 1e-3)
"""Lambdas of the files of four passes."""
N_PASSES = 4
N_STEPS = 2400

HEADINGS = """\
| crop | lambda | pass | bytes | dB | dB behind one pass of its size | bytes above one pass of its PSNR |
|---|---|---|---|---|---|---|"""
HALF_HEADINGS = """\
| picture | lambda | half resolution, bytes | of all | dB | whole, bytes | dB | dB below |
|---|---|---|---|---|---|---|---|"""

Curve = list[tuple[float, float]]
"""(logarithm of bytes, PSNR) of one-pass files, by bytes."""


def file_of(
    out: Path, image: str, picture: Samples, rate_weight: float, n_steps: int, n_passes: int, name: str = "pyramid"
) -> bytes:
    """The bytes of one encoding by a preset, which is made if it is not there."""
    path = out / f"{image}_{name}_{rate_weight:g}_{n_steps}_{n_passes}.sinr"
    if not path.exists():
        preset = replace(grid_preset_of(name), n_steps=n_steps, rate_weight=rate_weight)
        path.write_bytes(encode_grid(picture, preset=preset, passes=n_passes, device="cpu").field.data)
    return path.read_bytes()


def prefixes_of(data: bytes, picture: Samples) -> Iterator[tuple[int, float]]:
    """Bytes and PSNR up to the end of every pass, by the reference decoder."""
    for index, end in enumerate(sinrfmt.loads(data).pass_ends):
        decoded = reference_decoder.decode(data[:end], passes=index + 1)
        yield end, psnr(picture, decoded.samples_8bit().reshape(picture.shape))


def at(x: float, curve: Sequence[tuple[float, float]]) -> float:
    """The value of a curve through points (x, y), ordered by x, at another x."""
    after = next((i for i, point in enumerate(curve) if point[0] >= x), len(curve) - 1)
    (x0, y0), (x1, y1) = curve[max(after, 1) - 1], curve[max(after, 1)]
    return y0 + (x - x0) * (y1 - y0) / (x1 - x0)


def compared(curve: Curve, n_bytes: int, quality: float) -> str:
    """Two cells: dB behind the curve at these bytes, and bytes above it at this PSNR."""
    behind = at(float(np.log(n_bytes)), curve) - quality
    more = n_bytes / np.exp(at(quality, [(y, x) for x, y in curve])) - 1.0
    return f"{behind:+.2f} | {more:+.1%}"


def rows_of(image: str, options: argparse.Namespace) -> Iterator[str]:
    """Lines of the table for a picture."""
    picture = load_picture(options.data, image, is_crop=True)
    curve: Curve = []
    for rate_weight in options.rate_weights:
        data = file_of(options.out, image, picture, rate_weight, options.steps, 1)
        ((n_bytes, quality),) = prefixes_of(data, picture)
        curve.append((float(np.log(n_bytes)), quality))
        yield f"| {image} | {rate_weight:g} | 1 | {n_bytes} | {quality:.2f} | | |"
    curve.sort()
    for rate_weight in sorted(set(PROGRESSIVE) & set(options.rate_weights)):
        data = file_of(options.out, image, picture, rate_weight, options.steps, N_PASSES)
        for index, (n_bytes, quality) in enumerate(prefixes_of(data, picture)):
            share = n_bytes / len(data)
            what, cells = f"{index + 1} of {N_PASSES}, {share:.0%}", compared(curve, n_bytes, quality)
            yield f"| {image} | {rate_weight:g} | {what} | {n_bytes} | {quality:.2f} | {cells} |"


def half_rows(image: str, options: argparse.Namespace) -> Iterator[str]:
    """Lines of a full picture: half resolution and coarser, and the whole."""
    picture = load_picture(options.data, image, is_crop=False)
    for rate_weight in options.rate_weights:
        data = file_of(options.out, image, picture, rate_weight, options.steps, 2, "pyramid-large")
        (first, coarse), (n_bytes, quality) = prefixes_of(data, picture)
        cells = f"{first} | {first / n_bytes:.1%} | {coarse:.2f} | {n_bytes} | {quality:.2f} | {quality - coarse:.2f}"
        yield f"| {image} | {rate_weight:g} | {cells} |"


def main() -> None:
    """Make what is not there and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--images", nargs="+", default=CROP_IMAGES)
    parser.add_argument("--rate-weights", nargs="+", type=float, default=RATE_WEIGHTS)
    parser.add_argument("--steps", type=int, default=N_STEPS)
    parser.add_argument("--half", action="store_true", help="full pictures in two passes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print(HALF_HEADINGS if options.half else HEADINGS)
    for image in options.images:
        for row in (half_rows if options.half else rows_of)(image, options):
            print(row, flush=True)


if __name__ == "__main__":
    main()
