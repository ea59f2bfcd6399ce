"""The whole line at once: a photograph in, a ``.sinr`` file, and back to pixels by NumPy alone.

    python examples/demo.py [PHOTO] [--out FOLDER] [--preset fast|balanced|best]

1. encodes the photograph with the command a newcomer would type;
2. decodes the file in a process where torch, construct and sinrfmt cannot be imported (``numpy_only.py``);
3. checks that both ends agree on every weight, bit for bit;
4. prints what it cost beside fp16 and fp16 + Brotli of the same network, and draws original, decoded and difference.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

EXAMPLES = Path(__file__).resolve().parent
ROOT = EXAMPLES.parent
PHOTO = EXAMPLES / "kodim23_192x128.png"
DIFFERENCE_GAIN = 8
PANEL_ZOOM = 3
CAPTION_PIXELS = 28
GAP_PIXELS = 8

Pixels = NDArray[np.uint8]  # (rows, columns, 3)


@dataclass(frozen=True)
class Row:
    """One line of the table; ``psnr`` in dB of the 8-bit picture, None where it is not measured."""

    form: str
    n_bytes: int
    psnr: float | None


def main() -> None:
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sinr, network, png = (arguments.out / name for name in ("demo.sinr", "demo.npz", "demo.png"))

    encoded = encode(arguments.photo, sinr, network, arguments.preset)
    decoded = decode_by_numpy_alone(sinr, png)
    if decoded["weights_sha256"] != encoded["weights_sha256"]:
        sys.exit(f"the two decoders disagree: {decoded['weights_sha256']} and {encoded['weights_sha256']}")

    before, after = read_pixels(arguments.photo), read_pixels(png)
    weights = read_weights(network)
    print_table(encoded, table_rows(arguments.photo, encoded, weights, psnr(before, after)), before)
    picture = arguments.out / "demo_side_by_side.png"
    side_by_side(before, after).save(picture)
    Console().print(f"weights_sha256 {decoded['weights_sha256'][:16]}…, the same in both decoders\nwrote {picture}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Encode a photograph, decode it by NumPy alone, show the result.")
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="folder for the results")
    parser.add_argument("--preset", default="balanced")
    return parser.parse_args()


def encode(photo: Path, sinr: Path, network: Path, preset: str) -> dict[str, Any]:
    """Runs ``sinrfmt encode``; returns its JSON report and leaves the fitted float32 network in ``network``."""
    command = [sys.executable, "-m", "sinrfmt", "encode", str(photo), "-o", str(sinr), "--preset", preset]
    return run_for_json([*command, "--force", "--json", "--keep-network", str(network)])


def decode_by_numpy_alone(sinr: Path, png: Path) -> dict[str, Any]:
    """Runs ``reference_decoder`` behind the import barrier; returns its JSON line."""
    return run_for_json([sys.executable, "-I", str(EXAMPLES / "numpy_only.py"), str(sinr), str(png)])


def run_for_json(command: list[str]) -> dict[str, Any]:
    """Runs a command that prints one JSON object. Its stderr (progress, errors) goes to ours."""
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed with status {process.returncode}: {process.stdout.strip()}")
    report: dict[str, Any] = json.loads(process.stdout)
    return report


def read_pixels(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_weights(network: Path) -> NDArray[np.float32]:
    """Every number of the fitted network, one after the other: (n,)."""
    with np.load(network, allow_pickle=False) as arrays:
        tensors = [arrays[name] for name in arrays.files]
    return np.concatenate([tensor.ravel() for tensor in tensors if tensor.dtype == np.float32])


def psnr(before: Pixels, after: Pixels) -> float:
    """PSNR in dB of 8-bit pictures of equal shape."""
    error = np.mean((before.astype(np.float64) - after.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def table_rows(photo: Path, encoded: dict[str, Any], weights: NDArray[np.float32], decoded_psnr: float) -> list[Row]:
    half = weights.astype("<f2").tobytes()
    return [
        Row("PNG, lossless", photo.stat().st_size, None),
        Row("network, raw fp32", weights.nbytes, encoded["fp32_psnr"]),
        Row("network, raw fp16", len(half), None),
        Row("network, fp16 + Brotli 11", len(brotli.compress(half, quality=11)), None),
        Row("network, .sinr", encoded["file_bytes"], decoded_psnr),
    ]


def print_table(encoded: dict[str, Any], rows: list[Row], pixels: Pixels) -> None:
    n_rows, n_columns = pixels.shape[:2]
    file_bytes = encoded["file_bytes"]
    table = Table(title=f"{n_columns}x{n_rows} pixels, encoded in {encoded['seconds']:.0f} s")
    table.add_column("form")
    for heading in ("bytes", "bits/pixel", "PSNR dB", ".sinr saves"):
        table.add_column(heading, justify="right")
    for row in rows:
        saving = "" if row.n_bytes == file_bytes else f"{1 - file_bytes / row.n_bytes:.1%}"
        quality = "" if row.psnr is None else f"{row.psnr:.2f}"
        table.add_row(row.form, f"{row.n_bytes:,}", f"{8 * row.n_bytes / (n_rows * n_columns):.3f}", quality, saving)
    table.caption = f"{encoded['overhead_bytes']} of {file_bytes:,} bytes are container, the rest is the coded network"
    Console().print(table)


def side_by_side(before: Pixels, after: Pixels) -> Image.Image:
    """Original, decoded and amplified difference, each with its caption, in one picture."""
    difference = DIFFERENCE_GAIN * np.abs(before.astype(np.int16) - after.astype(np.int16))
    panels = {
        "original": before,
        "decoded by NumPy alone": after,
        f"difference x {DIFFERENCE_GAIN}": np.minimum(difference, 255).astype(np.uint8),
    }
    height, width = (PANEL_ZOOM * size for size in before.shape[:2])
    sheet = Image.new("RGB", (len(panels) * (width + GAP_PIXELS) - GAP_PIXELS, height + CAPTION_PIXELS), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=CAPTION_PIXELS * 0.6)
    for n, (caption, panel) in enumerate(panels.items()):
        left = n * (width + GAP_PIXELS)
        sheet.paste(Image.fromarray(panel).resize((width, height), Image.Resampling.NEAREST), (left, CAPTION_PIXELS))
        draw.text((left + width / 2, CAPTION_PIXELS / 2), caption, fill="black", font=font, anchor="mm")
    return sheet


if __name__ == "__main__":
    main()
