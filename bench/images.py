"""Rate and distortion of pictures, from files on disk: many encodings, then tables and plots.

Run from the root of the repository:

    python -m bench.images encode --out DIR [--data KODAK] [--images kodim23 ...] [--presets pyramid/serial ...]
        [--rate-weights 1e-3 ...] [--bpp 0.2 ...] [--steps N] [--chain] [--device cuda] [--jobs N] [--crop] [--quick]
    python -m bench.images report DIR [DIR ...] [TABLE.csv ...] [--data KODAK] [--anchors FOLDER] [--decoder COMMAND]
        [--name NAME]

``encode`` gives every job a process of its own with one torch thread, writes its files to DIR and appends a line for
each to ``DIR/jobs.jsonl``; files that are there without an error are not made again. A job makes one file; with
``--chain`` those of all lambdas of a picture, where each training but the first starts from the one before. It needs
torch, NumPy, Pillow and construct, so that it can run on another machine than ``report``, which is in
``bench/image_report.py``. Files of a TABLE.csv that an earlier report wrote are taken as it has them.
"""

import argparse
import json
import multiprocessing
import os
import platform
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import sinrfmt
from sinrfmt.registry import ContextId
from sinrfmt.torch.files import Encoding, encode
from sinrfmt.torch.grid_files import PyramidPreset, encode_grids, grid_preset_of
from sinrfmt.torch.presets import preset_of

DATA = Path("../shared/data/kodak")
IMAGES, CROP_IMAGES, QUICK_IMAGES = ("kodim05", "kodim15", "kodim23"), ("kodim05", "kodim23"), ("kodim23",)
CROP_SIZE = (192, 128)
"""Width and height of the centre that ``--crop`` takes."""
CONTEXTS = {"serial": ContextId.SERIAL, "interlaced": ContextId.INTERLACED, "factorised": ContextId.FACTORISED}
PRESETS = (
    *("pyramid-best/interlaced", "pyramid-best/serial", "pyramid-best/factorised"),
    *("pyramid-large/interlaced", "pyramid-large/serial", "pyramid-large/factorised"),
    *("pyramid/serial", "pyramid/interlaced", "pyramid/factorised", "shacira", "mlp/fast"),
)
QUICK_PRESETS = PRESETS[6:10]
RATE_WEIGHTS, CROP_RATE_WEIGHTS, QUICK_RATE_WEIGHTS = (4e-4, 1e-3, 4e-3, 2e-2), (5e-4, 1e-3, 2e-3, 5e-3), (1e-3, 4e-3)
"""Full pictures have four of the five lambdas of Cool-chic's own results, whose unit is the same."""
BITS_PER_PIXEL = (0.1, 0.2, 0.4, 0.8)
"""Sizes for networks without latents, which have no lambda."""
QUICK_STEPS = 500
SEED = 0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
JOBS_FILE = "jobs.jsonl"

Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One encoding, or several that start from each other.

    Attributes:
        image: name of the picture, without ``.png``.
        is_crop: of the centre alone.
        preset: of ``PRESETS``; ``mlp/`` with a preset of networks.
        targets: lambdas; for ``mlp/`` bits per pixel.
        n_steps: optimiser steps; None for those of the preset.
        seed: of everything random.
        device: of torch.
    """

    image: str
    is_crop: bool
    preset: str
    targets: tuple[float, ...]
    n_steps: int | None
    seed: int
    device: str

    def name(self, target: float) -> str:
        """Of a file, without the suffix."""
        place = "crop" if self.is_crop else "full"
        steps = "preset" if self.n_steps is None else str(self.n_steps)
        chain = "_chain" if len(self.targets) > 1 else ""
        return f"{self.image}_{place}_{self.preset.replace('/', '-')}_{target:g}_{steps}_{self.seed}{chain}"


def load_picture(data: Path, image: str, *, is_crop: bool) -> NDArray[np.uint8]:
    """uint8 [rows, columns, 3]; with ``is_crop`` the centre."""
    with Image.open(data / f"{image}.png") as opened:
        picture = np.asarray(opened.convert("RGB"))
    if not is_crop:
        return picture
    top, left = ((n - size) // 2 for n, size in zip(picture.shape, reversed(CROP_SIZE), strict=False))
    return np.ascontiguousarray(picture[top : top + CROP_SIZE[1], left : left + CROP_SIZE[0]])


def machine_name(device: str) -> str:
    """Of the GPU, otherwise of the processor."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} threads"


# --- one job ---------------------------------------------------------------------------------------------------------


def run_job(job: Job, data: Path, out: Path) -> Iterator[Record]:
    """Encode, write, read again: what ``jobs.jsonl`` says of each file."""
    torch.set_num_threads(1)
    picture = load_picture(data, job.image, is_crop=job.is_crop)
    n_pixels = picture.shape[0] * picture.shape[1]
    start, start_cpu = time.perf_counter(), time.process_time()
    encodings = _mlp(job, picture) if job.preset.startswith("mlp/") else _grids(job, picture)
    for target, encoding in zip(job.targets, encodings, strict=True):
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        path = out / f"{job.name(target)}.sinr"
        path.write_bytes(encoding.field.data)
        start = time.perf_counter()
        field = sinrfmt.load(path)
        decoded = field.to_uint8()
        yield {
            "name": job.name(target),
            "target": target,
            "bytes": len(field.data),
            "bpp": 8 * len(field.data) / n_pixels,
            "psnr": psnr_of(picture, decoded),
            "float_psnr": encoding.float_psnr,
            "encode_seconds": seconds,
            "encode_cpu_seconds": cpu_seconds,
            "decode_seconds": time.perf_counter() - start,
            "weights_sha256": field.weights_sha256,
        }
        start, start_cpu = time.perf_counter(), time.process_time()


def _grids(job: Job, picture: NDArray[np.uint8]) -> Iterator[Encoding]:
    name, _, context = job.preset.partition("/")
    preset = grid_preset_of(name)
    if job.n_steps is not None:
        preset = replace(preset, n_steps=job.n_steps)
    chosen = CONTEXTS[context] if isinstance(preset, PyramidPreset) else ContextId.FACTORISED
    return encode_grids(picture, job.targets, preset=preset, context=chosen, seed=job.seed, device=job.device)


def _mlp(job: Job, picture: NDArray[np.uint8]) -> Iterator[Encoding]:
    preset = preset_of(job.preset.partition("/")[2])
    if job.n_steps is not None:
        preset = replace(preset, n_steps=job.n_steps)
    for target in job.targets:
        max_bytes = round(target * picture.shape[0] * picture.shape[1] / 8)
        yield encode(picture, preset=preset, max_bytes=max_bytes, seed=job.seed, device=job.device)


def psnr_of(picture: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """PSNR in dB over all samples."""
    mse = float(np.mean((picture.astype(np.float64) - decoded.astype(np.float64).reshape(picture.shape)) ** 2))
    return 10.0 * float(np.log10(255.0**2 / mse)) if mse else float("inf")


# --- all jobs --------------------------------------------------------------------------------------------------------


def _child(connection: Connection, job: Job, data: Path, out: Path) -> None:
    """Body of a process: records through the pipe. Whatever stops a job is a record too, not the end of the run."""
    try:
        for record in run_job(job, data, out):
            connection.send(record)
    except Exception as problem:  # noqa: BLE001
        connection.send({"error": f"{type(problem).__name__}: {problem}", "traceback": traceback.format_exc()})


def in_own_process(job: Job, data: Path, out: Path) -> Iterator[Record]:
    """Run a job in a new interpreter."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, job, data, out))
    process.start()
    there.close()
    try:
        while True:
            yield here.recv()
    except EOFError:
        process.join()
    if process.exitcode:
        yield {"error": f"the process ended with status {process.exitcode}"}


def run_all(jobs: Sequence[Job], data: Path, out: Path, n_processes: int) -> None:
    """Run jobs side by side; every line is on disk as soon as its job is done."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    out.mkdir(parents=True, exist_ok=True)
    done = {record["name"] for record in read_jobs(out) if "error" not in record}
    waiting = [job for job in jobs if not done.issuperset(map(job.name, job.targets))]
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    with ThreadPoolExecutor(n_processes) as pool, (out / JOBS_FILE).open("a", encoding="utf-8") as lines:

        def run(job: Job) -> None:
            about = {"name": job.name(job.targets[0]), **asdict(job), "n_processes": n_processes, **versions}
            for made in in_own_process(job, data, out):
                record = {**about, "machine": machine_name(job.device), **made}
                lines.write(json.dumps(record) + "\n")
                lines.flush()
                print(_shown(record), flush=True)

        for future in [pool.submit(run, job) for job in waiting]:
            future.result()


def _shown(record: Record) -> str:
    if "error" in record:
        return f"{record['name']}: {record['error']}"
    return (
        f"{record['name']}: {record['bytes']} B, {record['bpp']:.4f} bpp, {record['psnr']:.2f} dB, "
        f"{record['encode_seconds']:.0f} s, decoded in {record['decode_seconds']:.2f} s"
    )


def read_jobs(out: Path) -> list[Record]:
    """The lines of ``jobs.jsonl``; [] where there is none."""
    path = out / JOBS_FILE
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def jobs_of(options: argparse.Namespace) -> Iterator[Job]:
    """What the command line asks for; lambdas of a chain from the smallest on."""
    is_crop = options.crop or options.quick
    images = QUICK_IMAGES if options.quick else CROP_IMAGES if is_crop else IMAGES
    weights = QUICK_RATE_WEIGHTS if options.quick else CROP_RATE_WEIGHTS if is_crop else RATE_WEIGHTS
    presets = options.presets or (QUICK_PRESETS if options.quick else PRESETS)
    n_steps = options.steps or (QUICK_STEPS if options.quick else None)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    for preset in presets:
        targets = options.bpp if preset.startswith("mlp/") else options.rate_weights or weights
        chains = [tuple(sorted(targets))] if options.chain else [(target,) for target in targets]
        for image, chain in product(options.images or images, chains):
            yield Job(image, is_crop, preset, chain, n_steps, options.seed, device)


def parser() -> argparse.ArgumentParser:
    """The two commands."""
    found = argparse.ArgumentParser(prog="bench.images", description="Rate and distortion of pictures.")
    commands = found.add_subparsers(dest="command", required=True)
    make = commands.add_parser("encode", help="encode many times")
    make.add_argument("--out", type=Path, required=True, help="folder for the files and jobs.jsonl")
    make.add_argument("--data", type=Path, default=DATA, help="folder of the PNG files")
    make.add_argument("--images", nargs="+", help=f"default: {' '.join(IMAGES)}; crops: {' '.join(CROP_IMAGES)}")
    make.add_argument("--presets", nargs="+", help=f"default: {' '.join(PRESETS)}")
    make.add_argument("--rate-weights", nargs="+", type=float, help="lambdas of everything but mlp/")
    make.add_argument("--bpp", nargs="+", type=float, default=BITS_PER_PIXEL, help="bits per pixel of mlp/")
    make.add_argument("--steps", type=int, help="optimiser steps in place of the preset's")
    make.add_argument("--chain", action="store_true", help="one job for all lambdas: from training to training")
    make.add_argument("--seed", type=int, default=SEED)
    make.add_argument("--device", help="default: cuda where there is one")
    make.add_argument("--jobs", type=int, default=1, help="processes side by side")
    make.add_argument("--crop", action="store_true", help="the centre, 192 x 128")
    make.add_argument("--quick", action="store_true", help="a crop of one picture, 500 steps, two lambdas")
    show = commands.add_parser("report", help="tables and plots of what was encoded")
    show.add_argument("encoded", type=Path, nargs="+", help="folders of earlier `encode`s; tables of earlier reports")
    show.add_argument("--data", type=Path, default=DATA, help="folder of the PNG files")
    show.add_argument("--anchors", type=Path, default=Path("../shared/anchors"), help="folder of other codecs' figures")
    show.add_argument(
        "--decoder", default="python -m reference_decoder", help="command that reads FILE, writes OUT.npy"
    )
    show.add_argument("--name", default="images", help="of the results: bench/results/NAME.csv, .md and .png")
    return found


def main() -> None:
    """Command line."""
    options = parser().parse_args()
    if options.command == "encode":
        run_all(list(jobs_of(options)), options.data, options.out, options.jobs)
        return
    from bench.image_report import write_report

    write_report(options.encoded, options.data, options.anchors, options.decoder, options.name)


if __name__ == "__main__":
    main()
