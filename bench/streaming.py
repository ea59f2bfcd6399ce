"""What steps are worth to somebody who waits: quality against bytes and against time, for both ladders and plain files.

Run from the root of the repository:

    python -m bench.streaming OUT [--image FILE] [--bytes N] [--steps N] [--report]

OUT keeps the files, which are not made again when they are there; ``--report`` makes none. For each field, a network
and a pyramid of latents, three kinds of files are compared at equal final quality or size: one pass; four passes, of a
network that grows or of levels; and the one pass behind the previews that ``encode --previews 3`` makes. Plain files of
some sizes say what a reader could have had instead. Written to ``bench/results/streaming.md``, ``.csv`` and ``.png``.

A prefix is decoded by the reference decoder; its time is that of ``sinrfmt`` on one core, measured here. Time of
arrival is bytes over bandwidth plus one round trip; nothing is sent.
"""

import argparse
import csv
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image

import sinrfmt
from bench.previews import steps_of, with_previews
from sinrfmt import SinrError
from sinrfmt.metrics import Samples
from sinrfmt.pictures import FieldKind, PictureOptions
from sinrfmt.torch import encode, encode_passes
from sinrfmt.torch.grid_files import encode_grid, grid_preset_of
from sinrfmt.torch.pictures import encode_preview

mpl.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent / "results"
IMAGE = Path(__file__).parent.parent / "examples" / "kodim23_192x128.png"
KINDS = {"network": FieldKind.MLP, "pyramid": FieldKind.GRID}
PASSES = {"network": "growth", "pyramid": "levels"}
PREVIEWS = "previews"
N_PASSES, N_PREVIEWS = 4, 3
SHARES = (0.15, 0.3, 0.55, 1.0)
"""Sizes of the one-pass files that prefixes are compared with, of the whole."""
BANDWIDTHS = (1_000, 8_000, 64_000)
"""Bytes per second: a bad radio link, a bad mobile line, a slow line."""
ROUND_TRIP = 0.1
"""Seconds before the first byte."""
TIMES = np.geomspace(0.1, 10, 200)
SHOWN = 1_000
"""The bandwidth of the plot."""
COLUMNS = ("field", "kind", "step", "bytes", "share", "psnr", "one_pass_psnr", "behind", "decode_ms")


def picture_of(path: Path) -> Samples:
    """uint8[rows, columns, 3]."""
    return np.asarray(Image.open(path).convert("RGB"))


class Files:
    """Encodings by name, made once."""

    def __init__(self, out: Path, picture: Samples, n_bytes: int, n_steps: int | None, *, may_encode: bool) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.picture, self.n_bytes, self.n_steps, self.may_encode = out, picture, n_bytes, n_steps, may_encode

    def get(self, field: str, n_passes: int, share: float = 1.0) -> bytes | None:
        """A file of ``share`` of the bytes; None where it is not there and none is or can be made."""
        path = self.out / f"{field}-{n_passes}-{share:g}.sinr"
        if not path.exists():
            if not self.may_encode:
                return None
            try:
                path.write_bytes(self._encode(field, n_passes, round(self.n_bytes * share)))
            except SinrError as failure:
                print(f"{path.name}: {failure.message}", flush=True)
                return None
            print(f"{path.name}: {path.stat().st_size} bytes", flush=True)
        return path.read_bytes()

    def with_previews(self, field: str) -> bytes | None:
        """The file of one pass behind previews."""
        whole = self.get(field, 1)
        if whole is None:
            return None
        asked = PictureOptions(previews=N_PREVIEWS, field=KINDS[field], device="cpu")
        paths = {self.out / f"{field}-preview-{size}.sinr": size for size in asked.preview_sizes(len(whole))}
        for path, size in paths.items():
            if not path.exists() and self.may_encode:
                path.write_bytes(encode_preview(self.picture, asked.of_preview(size, self.picture.shape[:2]))[0])
        if not all(path.exists() for path in paths):
            return None
        return with_previews(whole, [path.read_bytes() for path in paths], self.picture)

    def _encode(self, field: str, n_passes: int, n_bytes: int) -> bytes:
        common: dict[str, Any] = {"max_bytes": n_bytes, "device": "cpu"}
        if field == "pyramid":
            recipe = grid_preset_of("pyramid")
            preset = recipe if self.n_steps is None else replace(recipe, n_steps=self.n_steps)
            return encode_grid(self.picture, preset=preset, passes=n_passes, **common).field.data
        if n_passes == 1:
            return encode(self.picture, **common).field.data
        return encode_passes(self.picture, n_passes, **common).field.data


def prefixes_of(data: bytes, picture: Samples) -> list[tuple[int, float, float]]:
    """Bytes, PSNR and milliseconds of decoding up to the end of every step."""
    steps = enumerate(steps_of(data, picture), 1)
    return [(end, quality, _decode_ms(data[:end], number)) for number, (end, quality) in steps]


def _decode_ms(data: bytes, step: int) -> float:
    """From bytes to a picture, at best."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        sinrfmt.load(io.BytesIO(data), step=step).to_uint8()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def curve_at(curve: Sequence[tuple[float, float]], n_bytes: float) -> float:
    """PSNR of one-pass files at a size: linear between logarithms, and on beyond the ends."""
    points = sorted(curve)
    logs, values = np.log([b for b, _ in points]), [q for _, q in points]
    x = np.log(n_bytes)
    i = int(np.clip(np.searchsorted(logs, x), 1, len(logs) - 1))
    slope = (values[i] - values[i - 1]) / (logs[i] - logs[i - 1])
    return float(values[i - 1] + slope * (x - logs[i - 1]))


def size_at(curve: Sequence[tuple[float, float]], quality: float) -> float:
    """Bytes of a one-pass file of a PSNR, by the same curve."""
    low, high = 1.0, 1e9
    for _ in range(100):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if curve_at(curve, middle) < quality else (low, middle)
    return low


def rows_of(field: str, files: Files) -> Iterator[dict[str, Any]]:
    """One row for each one-pass file and each pass."""
    plain = [(share, files.get(field, 1, share)) for share in SHARES]
    measured = [(share, prefixes_of(data, files.picture)[0]) for share, data in plain if data is not None]
    curve = [(float(n_bytes), quality) for _, (n_bytes, quality, _) in measured]
    for share, (n_bytes, quality, ms) in measured:
        yield {"field": field, "kind": "one pass", "step": "", "bytes": n_bytes, "share": share, "psnr": quality,
               "decode_ms": ms}  # fmt: skip
    for kind, data in ((PASSES[field], files.get(field, N_PASSES)), (PREVIEWS, files.with_previews(field))):
        if data is None or len(curve) < 2:
            continue
        for number, (n_bytes, quality, ms) in enumerate(prefixes_of(data, files.picture), 1):
            best = curve_at(curve, n_bytes)
            yield {"field": field, "kind": kind, "step": number, "bytes": n_bytes, "share": n_bytes / len(data),
                   "psnr": quality, "one_pass_psnr": best, "behind": best - quality, "decode_ms": ms,
                   "price": len(data) / size_at(curve, quality) - 1}  # fmt: skip


def waiting(rows: Sequence[dict[str, Any]], bandwidth: int) -> list[tuple[float, float]]:
    """(seconds, PSNR) of what is seen: each pass once it has arrived and is decoded."""
    return [(ROUND_TRIP + row["bytes"] / bandwidth + row["decode_ms"] / 1000, row["psnr"]) for row in rows]


def ladders_of(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of one field by kind: of files in several steps."""
    kinds = dict.fromkeys(row["kind"] for row in rows if row["step"] != "")
    return {kind: [row for row in rows if row["kind"] == kind] for kind in kinds}


def whole_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The largest file of one pass."""
    return max((row for row in rows if row["step"] == ""), key=lambda row: row["bytes"])


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The report, in Markdown."""
    for field in dict.fromkeys(row["field"] for row in rows):
        own = [row for row in rows if row["field"] == field]
        yield f"## {field}\n"
        yield "| file | bytes | share | PSNR dB | one-pass file of that size | behind | decoding, ms |"
        yield "|---|---:|---:|---:|---:|---:|---:|"
        for row in own:
            name = row["kind"] if row["step"] == "" else f"{row['kind']}, step {row['step']}"
            behind = "" if "behind" not in row else f"{row['behind']:.2f}"
            best = "" if "one_pass_psnr" not in row else f"{row['one_pass_psnr']:.2f}"
            yield (
                f"| {name} | {row['bytes']} | {100 * row['share']:.0f} % | {row['psnr']:.2f} | {best} | {behind} "
                f"| {row['decode_ms']:.0f} |"
            )
        yield "\n| ladder | price, bytes at equal quality | bandwidth | first picture, s | whole, s | plain file, s |"
        yield "|---|---:|---:|---:|---:|---:|"
        for kind, steps in ladders_of(own).items():
            for bandwidth in BANDWIDTHS:
                seen, plain = waiting(steps, bandwidth), waiting([whole_of(own)], bandwidth)
                yield (
                    f"| {kind} | {100 * steps[-1]['price']:.1f} % | {bandwidth / 1000:g} kB/s "
                    f"| {seen[0][0]:.2f} | {seen[-1][0]:.2f} | {plain[0][0]:.2f} |"
                )
        yield ""


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Quality against bytes, and against time at one bandwidth."""
    fields = list(dict.fromkeys(row["field"] for row in rows))
    figure, axes = plt.subplots(len(fields), 2, figsize=(11, 3.8 * len(fields)), squeeze=False)
    for (left, right), field in zip(axes, fields, strict=True):
        own = [row for row in rows if row["field"] == field]
        plain = sorted((row["bytes"], row["psnr"]) for row in own if row["step"] == "")
        left.plot(*zip(*plain, strict=True), "o--", color="0.45", label="files of one pass")
        for kind, steps in ladders_of(own).items():
            left.plot([row["bytes"] for row in steps], [row["psnr"] for row in steps], "s-", label=kind)
        left.set(title=f"{field}: quality against bytes", xlabel="bytes", ylabel="PSNR, dB")
        for kind, steps in {"one pass": [whole_of(own)], **ladders_of(own)}.items():
            seen = waiting(steps, SHOWN)
            times, qualities = [s for s, _ in seen], [q for _, q in seen]
            style = {"color": "0.45", "linestyle": "--"} if kind == "one pass" else {}
            right.step([*times, TIMES[-1]], [*qualities, qualities[-1]], where="post", label=kind, **style)
        right.set(title=f"what is seen at {SHOWN / 1000:g} kB/s", xlabel="seconds", ylabel="PSNR, dB", xscale="log")
        for axis in (left, right):
            axis.grid(alpha=0.3)
            axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Encode what is missing, measure everything, write table and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the files")
    parser.add_argument("--image", type=Path, default=IMAGE)
    parser.add_argument("--bytes", type=int, default=4000, help="of the largest files")
    parser.add_argument("--steps", type=int, help="optimiser steps of the pyramids")
    parser.add_argument("--fields", nargs="+", default=["network", "pyramid"], choices=["network", "pyramid"])
    parser.add_argument("--report", action="store_true", help="measure the files that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = Files(options.out, picture_of(options.image), options.bytes, options.steps, may_encode=not options.report)
    rows = [row for field in options.fields for row in rows_of(field, files)]
    with (RESULTS / "streaming.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, RESULTS / "streaming.png")
    command = f"python -m bench.streaming OUT --bytes {options.bytes}"
    command += "" if options.steps is None else f" --steps {options.steps}"
    head = f"# Steps on the way\n\nMade by `{command}` from `{options.image.name}`.\n\n![](streaming.png)\n"
    (RESULTS / "streaming.md").write_text("\n".join([head, *table(rows)]) + "\n")


if __name__ == "__main__":
    main()
