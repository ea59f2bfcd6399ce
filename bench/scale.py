"""Super-resolution: pictures decoded at twice their size, beside what resizing makes of them.

Run from the root of the repository:

    python -m bench.scale --out DIR [--data KODAK] [--images kodim23 ...] [--steps N]

The centre of a picture, 384 x 256, is shrunk to half by means of 2 x 2 samples and encoded; the file is decoded by the
reference decoder at its own size and at twice that. What is lost is seen twice: against the centre itself, and against
the shrunk picture. Resizing (Pillow) starts from the shrunk picture as it is, which no file had to carry, and from the
decoded one. The table and the picture are ``bench/results/scale.md`` and ``.png``.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import reference_decoder
from bench.images import DATA, IMAGES, load_picture, machine_name
from sinrfmt.metrics import Samples, psnr
from sinrfmt.torch.files import encode
from sinrfmt.torch.grid_files import encode_grid, grid_preset_of
from sinrfmt.torch.presets import preset_of

RESULTS = Path(__file__).parent / "results"
CENTRE = (256, 384)
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "Lanczos": Image.Resampling.LANCZOS,
}
RATE_WEIGHT = 1e-4
N_STEPS = 3000
SHOWN = (80, 120, 64, 96)
"""Rows and columns of the centre that the picture shows: first row, first column, rows, columns."""
ZOOM = 3


@dataclass(frozen=True)
class Row:
    """One way to the doubled picture: bytes of the file (0: none), PSNR of the shrunk and of the doubled picture."""

    image: str
    way: str
    n_bytes: int
    own: float
    doubled: float
    picture: Samples


def centre_of(picture: Samples) -> Samples:
    """The samples in the middle."""
    top, left = ((n - size) // 2 for n, size in zip(picture.shape, CENTRE, strict=False))
    return np.ascontiguousarray(picture[top : top + CENTRE[0], left : left + CENTRE[1]])


def halved(picture: Samples) -> Samples:
    """Means of 2 x 2 samples."""
    rows, columns, channels = picture.shape
    return np.rint(picture.reshape(rows // 2, 2, columns // 2, 2, channels).mean(axis=(1, 3))).astype(np.uint8)


def file_of(path: Path, small: Samples, kind: str, n_steps: int, n_bytes: int) -> bytes:
    """The bytes of one encoding, which is made if it is not there; a network gets the size of the grid's file."""
    if not path.exists():
        if kind == "mlp":
            field = encode(small, preset=preset_of("balanced"), max_bytes=n_bytes, device="cpu").field
        else:
            preset = replace(grid_preset_of(kind), n_steps=n_steps, rate_weight=RATE_WEIGHT)
            field = encode_grid(small, preset=preset, device="cpu").field
        path.write_bytes(field.data)
    return path.read_bytes()


def rows_of(image: str, options: argparse.Namespace) -> Iterator[Row]:
    """Every way for one picture."""
    whole = centre_of(load_picture(options.data, image, is_crop=False))
    small = halved(whole)

    def resized(source: Samples, name: str) -> Samples:
        return np.asarray(Image.fromarray(source).resize(CENTRE[::-1], FILTERS[name]))

    for name in FILTERS:
        doubled = resized(small, name)
        yield Row(image, f"{name} of the shrunk picture", 0, float("inf"), psnr(whole, doubled), doubled)
    n_bytes = 0
    for kind in ("pyramid", "pyramid-large", "mlp"):
        data = file_of(options.out / f"{image}_{kind}_{options.steps}.sinr", small, kind, options.steps, n_bytes)
        n_bytes = n_bytes or len(data)
        decoded = reference_decoder.decode(data)
        same = decoded.samples_8bit().reshape(small.shape)
        doubled = decoded.samples_8bit(CENTRE).reshape(whole.shape)
        own = psnr(small, same)
        yield Row(image, f"{kind} at twice its size", len(data), own, psnr(whole, doubled), doubled)
        for name in ("bicubic", "Lanczos"):
            other = resized(same, name)
            yield Row(image, f"{name} of {kind}", len(data), own, psnr(whole, other), other)


def markdown(rows: Sequence[Row], options: argparse.Namespace) -> str:
    """The table."""
    images = " ".join(options.images)
    lines = [
        "<!-- made by bench/scale.py -->",
        "# Pictures at twice their size",
        "",
        f"Made by `python -m bench.scale --out DIR --images {images} --steps {options.steps}`",
        f"on {machine_name('cpu')}: centres of 384 x 256 samples, shrunk by means to half; lambda {RATE_WEIGHT:g},",
        "one seed, decoded by the reference decoder. `own`: PSNR of the file at its own size, in dB.",
        "",
        "| picture | way | bytes | own | doubled |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        file = f"{row.n_bytes} | {row.own:.2f}" if row.n_bytes else "  |  "
        lines.append(f"| {row.image} | {row.way} | {file} | {row.doubled:.2f} |")
    return "\n".join([*lines, "", "![A part of each, and of the original](scale.png)", ""])


def write_picture(rows: Sequence[Row], options: argparse.Namespace, path: Path) -> None:
    """A part of the original, of bicubic and Lanczos, and of our files, side by side; a line for each picture."""
    ways = ("bicubic of the shrunk picture", "Lanczos of the shrunk picture", "pyramid-large at twice its size", "mlp")
    lines = []
    for image in options.images:
        shown = [centre_of(load_picture(options.data, image, is_crop=False))]
        shown += [next(r.picture for r in rows if r.image == image and r.way.startswith(way)) for way in ways]
        lines.append(np.concatenate([_part(picture) for picture in shown], axis=1))
    Image.fromarray(np.concatenate(lines)).save(path, optimize=True)


def _part(picture: Samples) -> Samples:
    top, left, rows, columns = SHOWN
    return picture[top : top + rows, left : left + columns].repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="bench.scale", description="Pictures at twice their size.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the PNG files")
    parser.add_argument("--images", nargs="+", default=list(IMAGES))
    parser.add_argument("--steps", type=int, default=N_STEPS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows = [row for image in options.images for row in rows_of(image, options)]
    write_picture(rows, options, RESULTS / "scale.png")
    (RESULTS / "scale.md").write_text(markdown(rows, options), encoding="utf-8")
    print(markdown(rows, options))


if __name__ == "__main__":
    main()
