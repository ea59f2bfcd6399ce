"""Small files of freshly fitted pictures, beside classic codecs and the frontier of the study this project began with.

Run from the root of the repository:

    python -m bench.fresh OUT [--images coffee ...] [--presets balanced ...] [--bytes 450 ...] [--jobs N] [--report]

Encodes the pictures of ``bench/data`` into the folder OUT (what is there is not encoded again; ``--report`` encodes
nothing), has the reference decoder decode every file, and writes ``bench/results/fresh.csv``, ``.md`` and ``.png``.
"""

import argparse
import csv
import itertools
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.image_report import classic_points
from bench.images import THREAD_VARIABLES, machine_name, psnr_of
from sinrfmt.torch.files import encode

mpl.use("Agg")
from matplotlib import pyplot as plt

DATA = Path(__file__).parent / "data"
RESULTS = Path(__file__).parent / "results"
IMAGES = ("coffee", "chelsea", "astronaut")
PRESETS = ("balanced", "best")
SIZES = (450, 700, 1000, 1500, 2200, 3000, 4000)
SEED = 0
LARGEST_SHOWN = 6000
"""Bytes of a file of a classic codec from which it is left out."""
FRONTIER, JPEG = "frontier", "JPEG"
FRONTIER_POINTS = (
    (439, 22.79), (685, 24.13), (803, 24.63), (970, 25.11), (1145, 25.59), (1593, 26.43), (1755, 26.85), (2201, 27.66),
    (2422, 28.06), (3454, 30.40), (4093, 30.99),
)  # fmt: skip
"""(bytes, dB) of the picture ``coffee``: SIRENs of the best size for a budget, Adam, trellis with feedback; the byte
counts are code lengths without container."""
STYLES = {"WebP": "--", "AVIF": ":", JPEG: "-.", FRONTIER: "-"}


@dataclass(frozen=True)
class Point:
    """One file.

    Attributes:
        image: name of the picture.
        codec: preset, classic codec or ``frontier``.
        setting: bytes asked for, or a codec's own options.
        bytes: of the file.
        psnr: of the decoded 8-bit picture in dB.
        float_psnr: of the network before quantisation; None for others.
        seconds, cpu_seconds: of the encoder, one thread; None where not measured.
    """

    image: str
    codec: str
    setting: str
    bytes: int
    psnr: float
    float_psnr: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class Job:
    """One encoding; ``path`` is that of its file without the suffix."""

    image: str
    preset: str
    max_bytes: int
    out: Path

    @property
    def path(self) -> Path:
        return self.out / f"{self.image}_{self.preset}_{self.max_bytes}"


def load(image: str) -> NDArray[np.uint8]:
    """uint8 [128, 192, 3]."""
    with Image.open(DATA / f"{image}_192x128.png") as opened:
        return np.asarray(opened.convert("RGB"))


def run_job(job: Job) -> None:
    """Encode a picture and decode it with the reference decoder; leaves PATH.sinr and PATH.json."""
    torch.set_num_threads(1)
    picture = load(job.image)
    start, start_cpu = time.perf_counter(), time.process_time()
    encoding = encode(picture, preset=job.preset, max_bytes=job.max_bytes, seed=SEED, device="cpu")
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    path = job.path.with_suffix(".sinr")
    path.write_bytes(encoding.field.data)
    psnr = psnr_of(picture, reference_picture(path))
    point = Point(
        job.image, job.preset, f"{job.max_bytes}", path.stat().st_size, psnr, encoding.float_psnr, seconds, cpu_seconds
    )
    job.path.with_suffix(".json").write_text(json.dumps(asdict(point)), encoding="utf-8")
    print(f"{path.stem}: {point.bytes} B, {psnr:.2f} dB, {seconds:.0f} s, {cpu_seconds:.0f} CPU s", flush=True)


def reference_picture(path: Path) -> NDArray[np.uint8]:
    """What ``reference_decoder`` makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.png"
        command = [sys.executable, "-m", "reference_decoder", str(path), str(out)]
        subprocess.run(command, check=True, capture_output=True)
        with Image.open(out) as opened:
            return np.asarray(opened.convert("RGB"))


def run_all(jobs: Sequence[Job], n_processes: int) -> None:
    """Encode what is not there yet, every job in a process of one thread."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    waiting = [job for job in jobs if not job.path.with_suffix(".json").exists()]
    with multiprocessing.get_context("spawn").Pool(n_processes, maxtasksperchild=1) as pool:
        pool.map(run_job, waiting, chunksize=1)


# --- report ----------------------------------------------------------------------------------------------------------


def other_points(image: str) -> list[Point]:
    """Classic codecs, and the frontier where it was measured."""
    classic = [
        Point(image, point.codec, point.setting, point.bytes, point.psnr, None, point.encode_seconds)
        for point in classic_points(load(image), "fresh", image)
        if point.codec in STYLES and point.bytes <= LARGEST_SHOWN
    ]
    study = FRONTIER_POINTS if image == "coffee" else ()
    return classic + [Point(image, FRONTIER, "", n_bytes, psnr) for n_bytes, psnr in study]


def curve(points: Sequence[Point], image: str, codec: str) -> list[tuple[int, float]]:
    """(bytes, dB) of the files that no other of the codec beats in both, in rising order."""
    rising: list[tuple[int, float]] = []
    chosen = ((p.bytes, p.psnr) for p in points if (p.image, p.codec) == (image, codec))
    for n_bytes, psnr in sorted(chosen, key=lambda pair: (pair[0], -pair[1])):
        if not rising or psnr > rising[-1][1]:
            rising.append((n_bytes, psnr))
    return rising


def psnr_at(rising: Sequence[tuple[int, float]], n_bytes: int) -> float | None:
    """dB at a size, straight in log(bytes) between files; None outside of them."""
    if not rising or not rising[0][0] <= n_bytes <= rising[-1][0]:
        return None
    sizes, psnrs = zip(*rising, strict=True)
    return float(np.interp(math.log(n_bytes), np.log(sizes), psnrs))


def table(points: Sequence[Point]) -> list[str]:
    """A row for every file of ours, with the others at its size."""
    names = list(STYLES)
    head = ["picture", "preset", "asked", "bytes", "dB", "dB in float32", *names, "s", "CPU s"]
    rows = []
    for p in points:
        if p.float_psnr is None:
            continue
        others = [psnr_at(curve(points, p.image, name), p.bytes) for name in names]
        cells = ["" if other is None else f"{other:.2f} ({p.psnr - other:+.2f})" for other in others]
        work = [f"{p.seconds:.0f}", f"{p.cpu_seconds:.0f}"]
        rows.append([p.image, p.codec, p.setting, f"{p.bytes}", f"{p.psnr:.2f}", f"{p.float_psnr:.2f}", *cells, *work])
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def write_report(points: Sequence[Point]) -> None:
    """``fresh.csv``, ``.md`` and ``.png``."""
    with (RESULTS / "fresh.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(point) for point in points)
    lines = [
        "<!-- made by bench/fresh.py -->",
        "# Freshly fitted pictures of 192 x 128",
        "",
        f"Made by `python -m bench.fresh OUT` on {machine_name('cpu')}; every encoding had one thread, and other work",
        "ran beside it: CPU seconds are what compares. Bytes are whole files, decoded by `reference_decoder`; dB are",
        "of 8-bit pictures. Other codecs: at the bytes of our file, and in brackets our lead; empty where they have no",
        "file so small. WebP: method 6. AVIF: speed 4, tuned for PSNR. JPEG: progressive, optimised; of 4:4:4 and",
        "4:2:0 the better. The frontier has no container.",
        "",
        "![Bytes and PSNR](fresh.png)",
        "",
        *table(points),
    ]
    (RESULTS / "fresh.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    plot(points, RESULTS / "fresh.png")


def plot(points: Sequence[Point], path: Path) -> None:
    """One panel a picture."""
    images = list(dict.fromkeys(point.image for point in points))
    codecs = list(dict.fromkeys(point.codec for point in points))
    figure, panels = plt.subplots(1, len(images), figsize=(5.0 * len(images), 4.5), squeeze=False)
    for panel, image in zip(panels[0], images, strict=True):
        for codec in codecs:
            rising = curve(points, image, codec)
            if rising:
                style = STYLES.get(codec)
                look = {"color": "0.5", "linestyle": style} if style else {"marker": "o"}
                panel.plot(*zip(*rising, strict=True), label=codec, **look)
        panel.set(title=image, xlabel="bytes", xlim=(0, 1.1 * max(SIZES)))
        panel.grid(visible=True, alpha=0.25)
        panel.legend()
    panels[0][0].set_ylabel("PSNR, dB")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="bench.fresh", description="Small files of freshly fitted pictures.")
    parser.add_argument("out", type=Path, help="folder for the files")
    parser.add_argument("--images", nargs="+", choices=IMAGES, default=IMAGES)
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--bytes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--report", action="store_true", help="only of what is in OUT")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.report:
        asked = itertools.product(options.images, options.presets, options.bytes)
        run_all([Job(*job, options.out) for job in asked], options.jobs)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.out.glob("*.json"))]
    ours = sorted((Point(**record) for record in found), key=lambda p: (IMAGES.index(p.image), p.codec, p.bytes))
    images = [image for image in IMAGES if any(point.image == image for point in ours)]
    write_report([*ours, *(point for image in images for point in other_points(image))])


if __name__ == "__main__":
    main()
