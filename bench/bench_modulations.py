"""Sets of pictures on one base against separate files: bytes of a file, bytes of all, PSNR.

Run from the root of the repository: ``python -m bench.bench_modulations FOLDER`` with eight or more PNG pictures of at
least 64 x 64. Writes ``bench/results/modulations.md``. The middle 64 x 64 of the first eight pictures are one set.
Separate files get the bytes of a file of the set, and their share of all bytes, base included. One thread; every PSNR
is that of decoded samples.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.media.image import read_image
from sinrfmt.metrics import psnr
from sinrfmt.torch import Modulation, encode, encode_set, preset_of

RESULTS = Path(__file__).parent / "results"
SIDE, N_PICTURES = 64, 8
BASE_BYTES = 3000
SEED = 1
SET_PRESET = replace(preset_of("fast"), n_steps=500, n_trials=6, n_refits=0)
SEPARATE_PRESET = replace(preset_of("fast"), n_steps=800, n_seeds=1, n_trials=8, n_refits=0, n_refit_trials=0)
WAYS = (("scalar", 0), ("sparse", 8))

Pictures = Sequence[NDArray[np.uint8]]
Row = tuple[str, float, float, float, float]  # name, bytes of the base, mean bytes of a file, of all, mean PSNR


def crops(folder: Path) -> list[NDArray[np.uint8]]:
    """The middle of the first pictures of a folder."""
    pictures = [read_image(path) for path in sorted(folder.glob("*.png"))[:N_PICTURES]]
    if len(pictures) < N_PICTURES:
        raise SystemExit(f"{folder}: fewer than {N_PICTURES} pictures")
    starts = [((p.shape[0] - SIDE) // 2, (p.shape[1] - SIDE) // 2) for p in pictures]
    return [p[y : y + SIDE, x : x + SIDE] for p, (y, x) in zip(pictures, starts, strict=True)]


def set_row(pictures: Pictures, coding: str, n_atoms: int) -> Row:
    """A set, decoded from its bytes."""
    way = Modulation(coding, n_atoms=n_atoms or 1, preset=SET_PRESET, device="cpu")
    encoded = encode_set(pictures, way, base_bytes=BASE_BYTES, seed=SEED)
    base = sinrfmt.loads(encoded.base.data)
    files = [encoding.field.data for encoding in encoded.encodings]
    psnrs = [psnr(p, sinrfmt.loads(data, base=base).to_uint8()) for p, data in zip(pictures, files, strict=True)]
    mean = float(np.mean([len(data) for data in files]))
    name = f"set, {coding}" + (f", {n_atoms} numbers a layer" if n_atoms else "")
    return name, len(base.data), mean, mean + len(base.data) / len(files), float(np.mean(psnrs))


def separate_row(pictures: Pictures, max_bytes: int) -> Row:
    """A file for each picture."""
    encodings = [encode(p, preset=SEPARATE_PRESET, max_bytes=max_bytes, seed=SEED, device="cpu") for p in pictures]
    mean = float(np.mean([len(encoding.field.data) for encoding in encodings]))
    return f"separate, at most {max_bytes} bytes", 0, mean, mean, float(np.mean([e.psnr for e in encodings]))


def table(rows: Sequence[Row], seconds: float) -> str:
    lines = [
        f"Middle {SIDE} x {SIDE} of {N_PICTURES} pictures; {seconds:.0f} s of one processor.",
        "",
        "| files | base, bytes | a file, bytes | with its share of the base | PSNR, dB |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {base:.0f} | {own:.0f} | {whole:.0f} | {quality:.2f} |" for name, base, own, whole, quality in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    pictures = crops(parser.parse_args().folder)
    torch.set_num_threads(1)
    started = time.process_time()
    rows = [set_row(pictures, *way) for way in WAYS]
    sizes = (round(rows[0][2]), round(rows[1][3]))
    rows += [separate_row(pictures, size) for size in sizes]
    text = table(rows, time.process_time() - started)
    print(text)
    (RESULTS / "modulations.md").write_text(text)


if __name__ == "__main__":
    main()
