"""Progress of long work: a bar on a terminal, silence in a pipe."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

OnProgress = Callable[[str, int, int, float], None]
STAGES = {
    "screen": "trying seeds",
    "mosaic": "a mosaic",
    "fit": "fitting",
    "quantise": "quantising",
    "tiles": "tiles",
    "previews": "previews",
    "groups": "groups",
}


@contextlib.contextmanager
def encoder_progress(*, quiet: bool) -> Iterator[OnProgress | None]:
    """A callback (stage, done, in all, PSNR in dB) that draws one bar for each stage."""
    if quiet:
        yield None
        return
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<13}"),
        BarColumn(),
        TextColumn("{task.fields[psnr]:6.2f} dB"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        console.print("Ctrl-C stops; nothing is written before the end.")
        tasks = {}

        def on_progress(stage: str, done: int, total: int, psnr: float) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(STAGES[stage], total=total, psnr=psnr)
            progress.update(tasks[stage], completed=done, total=total, psnr=psnr)

        yield on_progress


@contextlib.contextmanager
def batch_progress(n_jobs: int, *, quiet: bool) -> Iterator[Callable[[bool], None]]:
    """A callback (has failed), called at the end of each job, that draws one bar for all."""
    if quiet:
        yield lambda _: None
        return
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # Only lines that go to the terminal themselves may be woven into it; those for a pipe must reach the pipe.
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task("batch", total=n_jobs, failed=0)
        n_failed = 0

        def on_progress(has_failed: bool) -> None:
            nonlocal n_failed
            n_failed += has_failed
            progress.update(task, advance=1, failed=n_failed)

        yield on_progress
