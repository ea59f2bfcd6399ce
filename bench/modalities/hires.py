"""A large picture: our files beside hash grids that are kept as they are, in binary16.

    python -m bench.modalities.hires ../shared/data [--ours FILE.sinr ...] [--rate-weights L ...] [--tables T ...]
        [--our-tables T ...] [--steps N ...] [--batch-size N] [--out DIR] [--device cuda]

The hash grids have the shape of the published comparison (Müller et al., "Instant neural graphics primitives with a
multiresolution hash encoding", 2022; Girish et al., "SHACIRA", 2023): 16 levels from 16 vertices on, two features an
entry, at most 2^T entries a level, two hidden layers of 64. Each is trained here in mini-batches, for every T,
resolution of the finest level, learning rate and number of steps that was asked for, written to DIR as binary16, and
measured as read back from there; those in DIR are not trained again. Ours has the first number of steps. FILE.sinr is
``OUT/tiles.sinr`` of ``python -m bench.tiles OUT PICTURE``, or of ``sinrfmt encode PICTURE -o FILE.sinr --field grid
--preset pyramid-fast --rate-weight 5e-6``; the reference decoder decodes it. AVIF and JPEG 2000, by Pillow, stand
beside them. Seconds are those of the clock.
"""

import argparse
import hashlib
import io
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features

import sinrfmt
from bench.image_report import AVIF, JPEG_2000, jpeg_2000_options
from bench.images import machine_name
from bench.modalities.tables import Row, draw, stopwatch, write
from sinrfmt.evaluate import to_depth
from sinrfmt.media.image import read_image
from sinrfmt.metrics import Samples, psnr
from sinrfmt.torch import GridModule, PointPreset
from sinrfmt.torch.files import device_of
from sinrfmt.torch.point_files import encode_signal_grid, frame_of, signal_header, signal_objective, uncompressed_grid
from sinrfmt.torch.signals import Signal, grid_coords, image_signal

PICTURE = "hires/smacs0723_2799x2856.jpg"
GRIDS, OURS, TILES, PYRAMID = "hash grid, binary16", ".sinr, hash grid", ".sinr, tiles", ".sinr, pyramid"
FREE_SHARE = 0.5
"""Of the steps of our grids: without a rate, and with latents as they are."""
TABLES, OUR_TABLES = (13, 15, 16), (16,)
RATE_WEIGHTS = (8e-6,)
OUR_LATENT_RATE = 0.2
"""Of our grids, whose steps get finer by it."""
AVIF_QUALITIES = (20, 40, 60)
JPEG_2000_BITS = (0.07, 0.15, 0.3)
"""Bits per position."""
QUALITY = "psnr"
SEED = 0


@dataclass(frozen=True)
class HashGrid:
    """One of the hash grids: T, vertices of the finest level for a sample, learning rate of the entries, steps."""

    log2_table_size: int
    last_share: float
    latent_rate: float
    n_steps: int
    batch_size: int

    @property
    def recipe(self) -> PointPreset:
        return PointPreset(
            name="hash",
            n_steps=self.n_steps,
            rate_weight=0.0,
            latent_rate=self.latent_rate,
            n_levels=16,
            first_resolution=16,
            last_resolution=65535,
            last_share=self.last_share,
            log2_table_size=self.log2_table_size,
            latent_dim=2,
            feature_dim=2,
            width=64,
            depth=2,
            batch_size=self.batch_size,
        )

    @property
    def setting(self) -> str:
        return f"T {self.log2_table_size}, finest {self.last_share:g}, rate {self.latent_rate:g}, {self.n_steps} steps"

    def path(self, folder: Path) -> Path:
        """Of its numbers."""
        figures = (self.log2_table_size, f"{self.last_share:g}", f"{self.latent_rate:g}", self.n_steps, self.batch_size)
        return folder / f"hash-{'-'.join(map(str, figures))}.bin"


# --- ways to keep it -------------------------------------------------------------------------------------------------


def grid_row(signal: Signal, folder: Path, device: str, grid: HashGrid) -> Row:
    """A hash grid, trained unless its file is there, and measured from the file."""
    path = grid.path(folder)
    journal = path.with_suffix(".json")
    if not journal.exists():
        with stopwatch() as seconds:
            path.write_bytes(trained(signal, device, grid))
            journal.write_text(json.dumps({"seconds": seconds(), "machine": machine_name(device)}), encoding="utf-8")
    found = json.loads(journal.read_text(encoding="utf-8"))
    quality = psnr(signal.samples, decoded(signal, path.read_bytes(), device, grid))
    return Row(Path(PICTURE).stem, GRIDS, grid.setting, path.stat().st_size, found["seconds"], {QUALITY: quality})


def trained(signal: Signal, device: str, grid: HashGrid) -> bytes:
    """All numbers of a trained grid as binary16: tensors in table order, then the entries."""
    objective = partial(signal_objective, signal, batch_size=grid.batch_size, seed=SEED)
    header = signal_header(signal, grid.recipe)
    found = uncompressed_grid(header, objective, grid.recipe, seed=SEED, device=device, on_progress=say)
    arrays = [*found.module.arrays().values(), found.module.latents]
    return b"".join(array.detach().cpu().numpy().astype("<f2").tobytes() for array in arrays)


def decoded(signal: Signal, data: bytes, device: str, grid: HashGrid) -> Samples:
    """The samples of a grid's file."""
    header = signal_header(signal, grid.recipe)
    module = GridModule(header.network, frame_of(header), seed=SEED)
    numbers = torch.from_numpy(np.frombuffer(data, dtype="<f2").astype(np.float32))
    arrays = [*module.arrays().values(), module.latents]
    with torch.no_grad():
        for array, part in zip(arrays, torch.split(numbers, [array.numel() for array in arrays]), strict=True):
            array.copy_(part.view(array.shape))
    module.to(device_of(device))
    return signal.decoded(module.values_at(module.latents, grid_coords(signal.grid)).cpu().numpy())


def our_grid_row(signal: Signal, folder: Path, device: str, grid: HashGrid, rate_weight: float) -> Row:
    """The same grid as a file of ours, trained unless it is there."""
    path = grid.path(folder).with_name(f"{grid.path(folder).stem}-{rate_weight:g}.sinr")
    if not path.exists():
        recipe = replace(grid.recipe, rate_weight=rate_weight, warm_share=FREE_SHARE, free_share=FREE_SHARE)
        with stopwatch() as seconds:
            encoding = encode_signal_grid(signal, recipe, seed=SEED, device=device, on_progress=say)
            path.with_suffix(".seconds").write_text(f"{seconds():.0f}", encoding="utf-8")
        path.write_bytes(encoding.field.data)
    elapsed = float(path.with_suffix(".seconds").read_text(encoding="utf-8"))
    quality = reference_quality(signal.samples, path, folder)[QUALITY]
    setting = f"T {grid.log2_table_size}, lambda {rate_weight:g}, {grid.n_steps} steps"
    return Row(Path(PICTURE).stem, OURS, setting, path.stat().st_size, elapsed, {QUALITY: quality})


def file_row(samples: Samples, path: Path, folder: Path) -> Row:
    """A file of ours, in tiles or not; seconds are those of the reference decoder."""
    found = reference_quality(samples, path, folder)
    figures = {QUALITY: found[QUALITY]}
    with sinrfmt.open(path) as opened:
        codec = PYRAMID if opened.header.parts is None else TILES
    return Row(Path(PICTURE).stem, codec, "reference decoder", path.stat().st_size, found["seconds"], figures)


def reference_quality(samples: Samples, path: Path, folder: Path) -> dict[str, float]:
    """PSNR in dB by the reference decoder, and its seconds; decoded once."""
    journal = folder / f"ours-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.json"
    if not journal.exists():
        with tempfile.TemporaryDirectory() as name, stopwatch() as seconds:
            out = Path(name) / "decoded.npy"
            subprocess.run(
                [sys.executable, "-m", "reference_decoder", path, out], check=True, stdout=subprocess.DEVNULL
            )
            values: NDArray[np.float32] = np.load(out)
            elapsed = seconds()
        with sinrfmt.open(path) as opened:
            decoded = to_depth(samples.dtype, opened.header.values, values)
        quality = psnr(samples, decoded.reshape(samples.shape))
        journal.write_text(json.dumps({"seconds": elapsed, QUALITY: quality}), encoding="utf-8")
    found: dict[str, float] = json.loads(journal.read_text(encoding="utf-8"))
    return found


def avif_row(samples: Samples, quality: int) -> Row:
    return pillow_row(samples, AVIF, f"quality {quality}", {"quality": quality, "subsampling": "4:4:4"})


def jpeg_2000_row(samples: Samples, bits: float) -> Row:
    ratio = 8.0 * samples.shape[2] / bits
    return pillow_row(samples, JPEG_2000, f"{bits:g} bits per position", jpeg_2000_options(ratio))


def pillow_row(samples: Samples, codec: str, setting: str, options: dict[str, object]) -> Row:
    """A file of Pillow's."""
    buffer = io.BytesIO()
    with stopwatch() as seconds:
        Image.fromarray(samples).save(buffer, codec.replace(" ", ""), **options)
        elapsed = seconds()
    found = np.asarray(Image.open(buffer).convert("RGB"))
    return Row(Path(PICTURE).stem, codec, setting, len(buffer.getvalue()), elapsed, {QUALITY: psnr(samples, found)})


def say(stage: str, done: int, total: int, quality: float) -> None:
    print(f"  {stage} {done} of {total}: {quality:.2f} dB", flush=True)


# --- results ---------------------------------------------------------------------------------------------------------


def best(rows: Sequence[Row]) -> list[Row]:
    """Of hash grids of one size that of the highest quality: what is compared."""
    grids = [row for row in rows if row.codec == GRIDS]
    chosen = {row.n_bytes: row for row in sorted(grids, key=lambda row: row.figures[QUALITY])}
    return sorted((row for row in chosen.values()), key=lambda row: row.n_bytes)


def bytes_at(rows: Sequence[Row], quality: float) -> float | None:
    """Bytes of hash grids at a quality, on a line through the logarithms of two sizes; None where no two are around."""
    for first, second in pairwise(rows):
        low, high = (row.figures[QUALITY] for row in (first, second))
        if low <= quality <= high:
            share = (quality - low) / (high - low)
            return math.exp((1 - share) * math.log(first.n_bytes) + share * math.log(second.n_bytes))
    return None


def comparison(rows: Sequence[Row]) -> Iterator[str]:
    """How many bytes hash grids take at the quality of each of our files."""
    grids = best(rows)
    for row in (row for row in rows if row.codec in (OURS, TILES, PYRAMID)):
        quality = row.figures[QUALITY]
        needed = bytes_at(grids, quality)
        what = f"- {row.codec} of {row.n_bytes:,} bytes, {quality:.2f} dB: "
        if needed is None:
            yield f"{what}no two sizes of hash grids are around it."
        else:
            yield f"{what}hash grids take {needed:,.0f} bytes there, **{needed / row.n_bytes:.1f} times** as many."


def rows_of(given: argparse.Namespace, samples: Samples) -> Iterator[Row]:
    """Files, one after the other."""
    for path in given.ours:
        yield file_row(samples, path, given.out)
    for bits in JPEG_2000_BITS if features.check("jpg_2000") else ():
        yield jpeg_2000_row(samples, bits)
    for quality in AVIF_QUALITIES if features.check("avif") else ():
        yield avif_row(samples, quality)
    signal = image_signal(samples)
    for table, share, rate, n_steps in product(given.tables, given.shares, given.latent_rates, given.steps):
        grid = HashGrid(table, share, rate, n_steps, given.batch_size)
        yield grid_row(signal, given.out, given.device, grid)
    for table, rate_weight in product(given.our_tables, given.rate_weights):
        grid = HashGrid(table, given.shares[0], OUR_LATENT_RATE, given.steps[0], given.batch_size)
        yield our_grid_row(signal, given.out, given.device, grid, rate_weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=f"folder with {PICTURE}")
    parser.add_argument("--ours", type=Path, nargs="*", default=(), help="our files")
    parser.add_argument("--out", type=Path, default=Path("out") / "hires", help="where hash grids stay")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--tables", type=int, nargs="*", default=TABLES, metavar="T")
    parser.add_argument("--our-tables", type=int, nargs="*", default=OUR_TABLES, metavar="T")
    parser.add_argument("--rate-weights", type=float, nargs="*", default=RATE_WEIGHTS, metavar="L")
    parser.add_argument("--shares", type=float, nargs="+", default=(0.5,), help="finest vertices for a sample")
    parser.add_argument("--latent-rates", type=float, nargs="+", default=(0.1,))
    parser.add_argument("--steps", type=int, nargs="+", default=(1200,))
    parser.add_argument("--batch-size", type=int, default=1 << 16, help="points of a step")
    parser.add_argument(
        "--crop", type=int, help="so many rows and columns of the middle: a quick look, without a report"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    samples = read_image(given.data / PICTURE)
    if given.crop is not None:
        top, left = ((n - given.crop) // 2 for n in samples.shape[:2])
        samples = np.ascontiguousarray(samples[top : top + given.crop, left : left + given.crop])
    steps = " ".join(map(str, given.steps))
    command = f"python -m bench.modalities.hires ../shared/data --ours FILE.sinr ... --steps {steps}"
    rows: list[Row] = []
    for row in rows_of(given, samples):
        print(f"{row.codec}, {row.setting}: {row.n_bytes} bytes, {row.figures[QUALITY]:.2f} dB, {row.seconds:.0f} s")
        sys.stdout.flush()
        rows.append(row)
        if given.crop is None:
            report(rows, samples, command, given)


def report(rows: Sequence[Row], samples: Samples, command: str, given: argparse.Namespace) -> None:
    """The table and the picture of what there is so far."""
    notes = [
        f"{samples.shape[1]} x {samples.shape[0]} samples of three channels; PSNR over all of them. Hash grids have",
        "16 levels from 16 vertices on, two features, two hidden layers of 64; T is the logarithm of the most entries",
        "of a level, `finest` the vertices of the finest level for a sample, `rate` the learning rate of entries.",
        f"Their bytes are those of a file of binary16 and nothing else. Batches have {given.batch_size} points.",
        f"Seconds are of trainings on {machine_name(given.device)}; of `--ours`, of decoding.",
        "By Pillow: AVIF, 4:4:4, whose colours are rounded once more; JPEG 2000, 9/7 wavelet, bare codestream.",
        "",
        "Bytes of hash grids at the quality of our files are on a line between the two sizes around it:",
        "",
        *comparison(rows),
    ]
    write("hires", "A large picture", rows, notes, command)
    drawn = [*best(rows), *(row for row in rows if row.codec != GRIDS)]
    draw("hires", drawn, "bytes", QUALITY, ("bytes", "PSNR, dB"))


if __name__ == "__main__":
    main()
