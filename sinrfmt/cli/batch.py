"""The verb that encodes many pictures: by processes of this machine, or by the workers of a dask cluster."""

import contextlib
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from sinrfmt.batch import JOURNAL, Journal, Output, ProcessWorkers, Result, Status, file_jobs, n_cores, run_batch
from sinrfmt.cli.options import (
    Atoms,
    Budget,
    CodingTool,
    ContextName,
    Device,
    Force,
    PassSizes,
    PreviewSizes,
    Quality,
    Where,
    Workers,
    torch_api,
)
from sinrfmt.cli.pictures import (
    BitsPerPixel,
    Context,
    FieldOption,
    LadderOption,
    Overlap,
    Payload,
    Preset,
    RateWeight,
    Seed,
    ShiftedBase,
    Tiles,
    Tool,
    picture_line,
    picture_options,
    picture_summary,
)
from sinrfmt.cli.progress import batch_progress
from sinrfmt.cli.requests import EncodeRequest
from sinrfmt.faults import error
from sinrfmt.media import image
from sinrfmt.pictures import FieldKind, Ladder, PictureOptions

EXIT_SOME_FAILED = 1
EXIT_INTERRUPTED = 130
DASK_TIMEOUT_SECONDS = 10


def batch(
    sources: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="The pictures.")],
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write to; made if need be.")],
    workers: Workers = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Work on this dask cluster, such as tcp://host:8786.")
    ] = None,
    preset: Preset = None,
    n_bytes: Budget = None,
    bpp: BitsPerPixel = None,
    psnr: Quality = None,
    passes: PassSizes = None,
    ladder: LadderOption = Ladder.AUTO,
    previews: PreviewSizes = None,
    field: FieldOption = FieldKind.AUTO,
    context: Context = ContextName.INTERLACED,
    rate_weight: RateWeight = None,
    tiles: Tiles = None,
    overlap: Overlap = None,
    coding: Tool = CodingTool.SCALAR,
    payload: Payload = None,
    seed: Seed = 0,
    device: Where = Device.AUTO,
    base: ShiftedBase = None,
    atoms: Atoms = None,
    force: Force = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object for each result.")] = False,
) -> None:
    """Encode many pictures; what is finished already is skipped, and a picture that fails does not stop the rest."""
    if workers is not None and dask is not None:
        raise error("USAGE", "--workers and --dask exclude each other")
    request = EncodeRequest(
        output=out_dir,
        preset=preset,
        n_bytes=n_bytes,
        bpp=bpp,
        psnr=psnr,
        passes=passes,
        ladder=ladder,
        previews=previews,
        field=field,
        context=context,
        rate_weight=rate_weight,
        tiles=tiles,
        overlap=overlap,
        coding=coding,
        payload=payload,
        seed=seed,
        device=device,
        base=base,
        atoms=atoms,
    )
    options = picture_options(request)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise error("USAGE", f"{out_dir}: {failure.strerror}") from failure
    jobs = file_jobs(sources, out_dir, partial(encode_file, options=options), options.identity)
    journal = Journal(out_dir / JOURNAL)
    with (
        engine(workers, dask) as (executor, n_pending),
        _interruptible() as stop,
        batch_progress(len(jobs), quiet=not sys.stderr.isatty()) as on_progress,
    ):

        def on_result(result: Result) -> None:
            _print(result, json_output)
            on_progress(result.status is Status.FAILED)

        results = run_batch(jobs, executor, journal, n_pending=n_pending, on_result=on_result, stop=stop, force=force)
    counts = Counter(result.status for result in results)
    n_left = len(jobs) - len(results)
    left = [f"{n_left} not begun"] if n_left else []
    print(", ".join([*(f"{counts[status]} {status}" for status in Status), *left]), file=sys.stderr)
    if stop.is_set():
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(EXIT_SOME_FAILED if counts[Status.FAILED] else 0)


def encode_file(path: Path, options: PictureOptions) -> Output:
    """The job of a picture, in a worker."""
    picture = image.read_image(path)
    encoding = torch_api().encode_picture(picture, options)
    return Output(encoding.field.data, picture_summary(picture, encoding))


def _print(result: Result, json_output: bool) -> None:
    if json_output:
        text = json.dumps(result.line)
    elif result.error is not None:
        code = "" if result.error["code"] is None else f" [{result.error['code']}]"
        text = f"{result.job.name}: failed: {result.error['name']}{code}: {result.error['message']}"
    else:
        skipped = " (skipped)" if result.status is Status.SKIPPED else ""
        text = f"{result.job.output}: {picture_line(dict(result.report))}{skipped}"
    # Of many names one may be no text; it must not stop the rest.
    print(text.encode(errors="backslashreplace").decode(), flush=True)


@contextlib.contextmanager
def engine(workers: int | None, dask: str | None = None) -> Iterator[tuple[Executor, int]]:
    """An executor, and how many jobs it takes at a time."""
    if dask is not None:
        with _dask_engine(dask) as engine:
            yield engine
        return
    n_workers = workers or n_cores()
    processes = ProcessWorkers(n_workers)
    try:
        yield processes, n_workers
    except BaseException:
        processes.kill()
        raise
    finally:
        processes.shutdown()


@contextlib.contextmanager
def _dask_engine(address: str) -> Iterator[tuple[Executor, int]]:
    try:
        from distributed import Client
    except ImportError as failure:
        raise error("USAGE", f"{failure.name} is not installed: pip install 'sinrfmt[dask]'") from failure
    try:
        client = Client(address, timeout=DASK_TIMEOUT_SECONDS)
    except (OSError, ValueError) as failure:
        raise error("USAGE", f"--dask {address}: {failure}") from failure
    with client:
        n_threads = sum(client.nthreads().values())
        yield client.get_executor(pure=False), max(1, n_threads)


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event and says so; the second is one as always."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        print(
            "sinrfmt: waiting for the jobs under way; Ctrl-C again gives them up. Finished files stay, and the same "
            "command goes on from there.",
            file=sys.stderr,
        )

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    except KeyboardInterrupt:
        print("sinrfmt: the jobs under way were given up", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, before)
