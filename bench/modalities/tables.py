"""What the benchmarks of modalities share: rows to a table, a list and a picture; commands timed; the arguments."""

import argparse
import csv
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import matplotlib as mpl
import torch

from bench.images import THREAD_VARIABLES, machine_name

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"

# Of lines: hues that stay apart without colour vision, in this order.
COLOURS = ("#0b5fa5", "#d1661f", "#3a8a5c", "#8a4fa8", "#b8323f", "#6b6b6b", "#b08a00", "#2aa0a8")
OTHERS = ("Opus", "MP3", "zfp", "x265", "AVIF", "Draco")
"""First words of codecs of others: drawn with broken lines."""


@dataclass(frozen=True)
class Row:
    """One file.

    Attributes:
        signal: what it holds.
        codec: which of the compared ways made it; files of one are joined by a line.
        setting: what was asked for.
        n_bytes: the whole file.
        seconds: of encoding.
        figures: quality by name, in the order of the columns.
    """

    signal: str
    codec: str
    setting: str
    n_bytes: int
    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)


def arguments(description: str) -> argparse.ArgumentParser:
    """The arguments that all have: the folder of data, how much work, seeds."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder that holds audio/, field/, …")
    parser.add_argument("--preset", default="balanced", help="of the encoder")
    parser.add_argument("--short", action="store_true", help="a part of the signals, few points: minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the table and the plot")
    return parser


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Seconds since the block began, when called."""
    started = time.monotonic()
    yield lambda: time.monotonic() - started


def write(
    name: str, title: str, rows: Sequence[Row], notes: Sequence[str], command: str, *, results: Path = RESULTS
) -> None:
    """``modalities-NAME.csv`` and ``.md`` of all rows."""
    figures = list(dict.fromkeys(key for row in rows for key in row.figures))
    head = ["signal", "codec", "setting", "bytes", *figures, "seconds"]
    body = [
        [
            row.signal,
            row.codec,
            row.setting,
            str(row.n_bytes),
            *(_text(row.figures.get(key)) for key in figures),
            f"{row.seconds:.1f}",
        ]
        for row in rows
    ]
    with (results / f"modalities-{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *body])
    lines = [
        f"<!-- made by bench/modalities/{name}.py -->",
        f"# {title}",
        "",
        f"Made by `{command}`",
        f"on {_machine()}.",
        "",
    ]
    lines += ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body)]
    lines += ["", *notes, "", f"![{title}](modalities-{name}.png)", ""]
    (results / f"modalities-{name}.md").write_text("\n".join(lines), encoding="utf-8")


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:.4g}" if abs(number) < 1 else f"{number:.2f}"


def _machine() -> str:
    load = os.getloadavg()[0]
    return f"{machine_name('cpu')}, {torch.get_num_threads()} thread, load {load:.1f} at the end"


def draw(
    name: str,
    rows: Sequence[Row],
    x: str,
    y: str,
    labels: tuple[str, str],
    *,
    logarithmic: Sequence[str] = ("x",),
    results: Path = RESULTS,
) -> None:
    """``modalities-NAME.png``: a panel for each signal, a line for each codec.

    Args:
        name: of the file.
        rows: what to draw.
        x, y: a figure, or ``bytes``.
        labels: of the two axes.
        logarithmic: which axes are.
        results: the folder.
    """
    signals = list(dict.fromkeys(row.signal for row in rows))
    codecs = list(dict.fromkeys(row.codec for row in rows))
    figure, panels = plt.subplots(
        1, len(signals), figsize=(5.6 * len(signals), 4.2), squeeze=False, layout="constrained"
    )
    for signal, panel in zip(signals, panels[0], strict=True):
        for codec, colour in zip(codecs, COLOURS, strict=False):
            points = sorted((_at(row, x), _at(row, y)) for row in rows if (row.signal, row.codec) == (signal, codec))
            style = "--" if codec.startswith(OTHERS) else "-"
            panel.plot(
                *zip(*points, strict=True), style, marker="o", ms=4, color=colour, label=codec
            ) if points else None
        if "x" in logarithmic:
            panel.set_xscale("log")
        if "y" in logarithmic:
            panel.set_yscale("log")
        panel.set(title=signal, xlabel=labels[0], ylabel=labels[1])
        panel.grid(alpha=0.3, which="both")
        panel.legend(fontsize=8)
    figure.savefig(results / f"modalities-{name}.png", dpi=110)
    plt.close(figure)


def _at(row: Row, key: str) -> float:
    return float(row.n_bytes) if key == "bytes" else float(row.figures[key])


Job = Callable[[], Sequence[Row]]
"""Makes some rows of a table; must be able to travel to another process."""


def made(jobs: Sequence[Job], n_workers: int) -> Iterator[Row]:
    """The rows of all jobs in their order, said as they come; one thread and one process for each of ``n_workers``."""
    if n_workers == 1:
        torch.set_num_threads(1)
        for job in jobs:
            yield from map(_said, job())
        return
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    with ProcessPoolExecutor(n_workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for future in [pool.submit(job) for job in jobs]:
            yield from map(_said, future.result())


def _said(row: Row) -> Row:
    print(f"{row.signal}: {row.codec} {row.setting}: {row.n_bytes} bytes, {dict(row.figures)}", flush=True)
    return row
