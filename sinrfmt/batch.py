"""Many files by many workers: jobs on any executor, a journal of what is finished, and no job that stops the others.

A job is a picklable call that gives the bytes of one file, the key of everything those bytes depend on, and where they
go. Workers only compute: the caller's process writes every file, by renaming a temporary one, and a line of the journal
beside it. The journal, not META, says what a file was made of, so that a file of a batch has the bytes that it has
alone. This module knows no encoder and no scheduler. Nothing here is normative.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sinrfmt.api import PathLike, writing
from sinrfmt.errors import SinrError
from sinrfmt.faults import error
from sinrfmt.registry import EXTENSION, VERSION_MAJOR, VERSION_MINOR
from sinrfmt.report import SCHEMA, error_object

JOURNAL = "results.jsonl"
N_ATTEMPTS = 3
"""Attempts of a job whose worker dies."""
NAME_DIGITS = 8
"""Hex digits that tell apart outputs of inputs with one stem."""
LOST = (BrokenExecutor, CancelledError)
"""What a future has when its worker died: not the job's fault as far as one can tell."""

P = ParamSpec("P")
T = TypeVar("T")


class Status(StrEnum):
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Output:
    """What a job gives: the bytes of its file, and what its line says about them (JSON)."""

    data: bytes
    report: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One file to make.

    Attributes:
        name: what the file is made of, for people: a path, a tile of a picture.
        output: the file to write.
        key: hex digest of everything the bytes depend on, see :func:`key_of`.
        call: makes it; picklable, so a module's function or a ``partial`` of one.
    """

    name: str
    output: Path
    key: str
    call: Callable[[], Output]


@dataclass(frozen=True)
class Result:
    """What became of a job.

    Attributes:
        job: the job.
        status: ``done``, ``skipped`` (it was finished before) or ``failed``.
        sha256: of the file, hex; None where it failed.
        seconds: from the first attempt to the end.
        n_attempts: more than one where workers died.
        report: what the call says about the file; when skipped, what the journal has of it.
        error: the object of a failure as every command has it; ``code`` is null for what the registry does not know.
    """

    job: Job
    status: Status
    sha256: str | None = None
    seconds: float = 0.0
    n_attempts: int = 0
    report: Mapping[str, object] = field(default_factory=dict)
    error: Mapping[str, object] | None = None

    @property
    def line(self) -> dict[str, object]:
        """The line of the journal and of ``--json``."""
        entry: dict[str, object] = {
            "schema": SCHEMA,
            "input": self.job.name,
            "output": str(self.job.output),
            "status": self.status.value,
            "key": self.job.key,
            "sha256": self.sha256,
            "seconds": round(self.seconds, 2),
            "attempts": self.n_attempts,
        }
        return entry | ({"report": dict(self.report)} if self.error is None else {"error": dict(self.error)})


OnResult = Callable[[Result], None]


# --- what is to be done ----------------------------------------------------------------------------------------------


def key_of(content: str, options: Mapping[str, object]) -> str:
    """The key of a job: SHA-256 over version of the format, digest of the input, and options, as hex.

    Args:
        content: hex digest of the input, or whatever else names its bytes.
        options: everything else the output depends on, as JSON.
    """
    parts = {"format": f"{VERSION_MAJOR}.{VERSION_MINOR}", "input": content, "options": dict(options)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_jobs(
    inputs: Iterable[PathLike],
    out_dir: PathLike,
    call: Callable[[Path], Output],
    options: Mapping[str, object],
) -> list[Job]:
    """One job for each input file, in the order given.

    ``photo.png`` becomes ``photo.sinr``. Inputs with one stem but other bytes become ``photo-`` and the first eight
    digits of their SHA-256, each of them, so that names do not depend on the order; equal bytes are one job. An input
    that cannot be read is a job that fails.

    Args:
        inputs: the files; workers find them under the same absolute paths.
        out_dir: where the outputs go.
        call: picklable; makes the output of a path, in a worker.
        options: what the output depends on beside the input's bytes, as JSON.

    Raises:
        UsageError: two different inputs would have one output all the same.
    """
    paths = [Path(source) for source in inputs]
    contents = [_content_of(path) for path in paths]
    # Some file systems take Photo and photo for one name.
    stems = [path.stem.casefold() for path in paths]
    n_of_stem = Counter(stem for stem, _ in set(zip(stems, contents, strict=True)))
    jobs: dict[Path, Job] = {}
    for path, stem, content in zip(paths, stems, contents, strict=True):
        suffix = f"-{content[:NAME_DIGITS]}" if n_of_stem[stem] > 1 else ""
        output = Path(out_dir) / f"{path.stem}{suffix}{EXTENSION}"
        task = partial(_call_on_file, call, path.absolute(), content)
        job = jobs.setdefault(output, Job(str(path), output, key_of(content, options), task))
        if job.key != key_of(content, options):
            raise error("USAGE", f"{job.name} and {path} would both be {output}")
    return list(jobs.values())


def _content_of(path: Path) -> str:
    """SHA-256 of a file; of its name where it cannot be read, which its job will report."""
    try:
        return _sha256_of(path)
    except OSError:
        return hashlib.sha256(os.fsencode(path)).hexdigest()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _call_on_file(call: Callable[[Path], Output], path: Path, content: str) -> Output:
    """Runs in a worker; an input that is not what the key says would be journalled under a false key."""
    try:
        found = _sha256_of(path)
    except OSError as failure:
        raise error("USAGE", f"{path}: {failure.strerror}") from failure
    if found != content:
        raise error("USAGE", f"{path}: changed since the batch began")
    return call(path)


# --- what is finished ------------------------------------------------------------------------------------------------


class Journal:
    """The results of a folder, one JSON line each, only ever appended to.

    A file counts as finished when it has the digest that a line of a done job gives it, and that line the job's key. A
    line that was cut short by a crash is no line.

    Raises:
        UsageError: the journal can be neither read nor made.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._done: dict[str, dict[str, dict[str, Any]]] = {}  # output: digest of the file: line
        try:
            self._needs_newline = self._read()
        except OSError as failure:
            raise error("USAGE", f"{self.path}: {failure.strerror}") from failure

    def _read(self) -> bool:
        if not self.path.exists():
            return False
        data = self.path.read_bytes()
        for text in data.split(b"\n"):
            self._remember(_line_of(text))
        return not data.endswith(b"\n") and len(data) > 0

    def _remember(self, line: dict[str, Any]) -> None:
        if line.get("status") == Status.DONE:
            self._done.setdefault(Path(line["output"]).name, {})[line["sha256"]] = line

    def line_of(self, output: Path) -> dict[str, Any] | None:
        """The line of a done job that wrote the file that is there now; None where there is none.

        Raises:
            OSError: the file is there and cannot be read.
        """
        lines = self._done.get(output.name, {})
        return lines.get(_sha256_of(output)) if lines and output.exists() else None

    def append(self, result: Result) -> None:
        """Add a line, in one write.

        Raises:
            UsageError: the journal cannot be written.
        """
        text = ("\n" if self._needs_newline else "") + json.dumps(result.line) + "\n"
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(text.encode())
        except OSError as failure:
            raise error("USAGE", f"{self.path}: {failure.strerror}") from failure
        self._needs_newline = False
        self._remember(result.line)


def _line_of(text: bytes) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    is_whole = isinstance(line, dict) and all(isinstance(line.get(key), str) for key in ("output", "key", "sha256"))
    return line if is_whole else {}


# --- doing it --------------------------------------------------------------------------------------------------------


def run_batch(
    jobs: Sequence[Job],
    executor: Executor,
    journal: Journal,
    *,
    n_pending: int,
    on_result: OnResult | None = None,
    stop: threading.Event | None = None,
    force: bool = False,
) -> list[Result]:
    """Do what is not finished; one result for each job, in the order in which they end.

    A job that fails is a result like any other. A job whose worker dies is given to the executor again, three times
    in all. An executor that takes no more work fails the jobs that are left, and another batch goes on from there.

    Args:
        jobs: with different outputs.
        executor: any: processes, threads, ``dask.distributed.Client.get_executor()``; left open.
        journal: of the folder that the outputs go to.
        n_pending: jobs that the executor has at a time, best as many as it has workers.
        on_result: called with each result, in the caller's thread, after its file and its line are written.
        stop: once set, no job is begun any more; those under way are waited for.
        force: overwrite outputs that no batch has written.

    Raises:
        UsageError: the journal cannot be written.
    """
    return _Run(executor, journal, n_pending, on_result, stop or threading.Event(), force).of(jobs)


@dataclass
class _Attempt:
    job: Job
    started: float
    n_attempts: int = 1


@dataclass
class _Run:
    """The state of one batch."""

    executor: Executor
    journal: Journal
    n_pending: int
    on_result: OnResult | None
    stop: threading.Event
    force: bool
    results: list[Result] = field(default_factory=list)
    pending: dict[Future[Output], _Attempt] = field(default_factory=dict)

    def of(self, jobs: Sequence[Job]) -> list[Result]:
        waiting = deque(job for job in jobs if not self._is_settled(job))
        while self.pending or (waiting and not self.stop.is_set()):
            while waiting and len(self.pending) < self.n_pending and not self.stop.is_set():
                self._begin(_Attempt(waiting.popleft(), time.monotonic()))
            done, _ = wait(self.pending, return_when=FIRST_COMPLETED)
            for future in done:
                self._end(self.pending.pop(future), future)
        return self.results

    def _is_settled(self, job: Job) -> bool:
        """Whether a job needs no work: it is finished, or its file is somebody else's."""
        try:
            line = self.journal.line_of(job.output)
        except OSError as failure:
            self._fail(_Attempt(job, time.monotonic(), 0), error("USAGE", f"{job.output}: {failure.strerror}"))
            return True
        if line is not None and line["key"] == job.key:
            self._report(Result(job, Status.SKIPPED, line["sha256"], report=line.get("report", {})))
            return True
        if line is None and job.output.exists() and not self.force:
            failure_ = error("USAGE", f"{job.output} exists and is not of this batch; --force overwrites it")
            self._fail(_Attempt(job, time.monotonic(), 0), failure_)
            return True
        return False

    def _begin(self, attempt: _Attempt) -> None:
        try:
            self.pending[self.executor.submit(attempt.job.call)] = attempt
        except RuntimeError as failure:  # broken, or shut down
            self._fail(attempt, failure)

    def _end(self, attempt: _Attempt, future: Future[Output]) -> None:
        failure = CancelledError("the executor gave it up") if future.cancelled() else future.exception()
        if failure is None:
            self._write(attempt, future.result())
        elif isinstance(failure, LOST) and attempt.n_attempts < N_ATTEMPTS and not self.stop.is_set():
            self._begin(_Attempt(attempt.job, attempt.started, attempt.n_attempts + 1))
        else:
            self._fail(attempt, failure)

    def _write(self, attempt: _Attempt, output: Output) -> None:
        digest = hashlib.sha256(output.data).hexdigest()
        seconds = time.monotonic() - attempt.started
        result = Result(attempt.job, Status.DONE, digest, seconds, attempt.n_attempts, output.report)
        try:
            # The line first: a crash between the two then leaves a job to do again, not a file that nobody owns.
            with writing(attempt.job.output) as temporary:
                temporary.write_bytes(output.data)
                self.journal.append(result)
        except SinrError as failure:
            self._fail(attempt, failure)
        else:
            self._report(result)

    def _fail(self, attempt: _Attempt, failure: BaseException) -> None:
        seconds = time.monotonic() - attempt.started
        line = error_object(failure)
        if isinstance(failure, LOST):
            line["message"] = f"its worker died, {attempt.n_attempts} of {N_ATTEMPTS} times: {failure}"
        result = Result(attempt.job, Status.FAILED, None, seconds, attempt.n_attempts, error=line)
        self.journal.append(result)
        self._report(result)

    def _report(self, result: Result) -> None:
        self.results.append(result)
        if self.on_result:
            self.on_result(result)


# --- workers of this machine ------------------------------------------------------------------------------------------


class CallerWorker(Executor):
    """No worker: each call runs at once in the caller's thread, which so keeps its progress and its Ctrl-C."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as failure:  # noqa: BLE001 - an executor hands over whatever the call raises
            future.set_exception(failure)
        return future


class ProcessWorkers(Executor):
    """Processes of which one may die: its job fails with ``BrokenExecutor``, and a new process takes its place.

    A ``ProcessPoolExecutor`` gives up all its jobs when one worker dies, and cannot say whose fault it was. So here
    each worker is a pool of one process, with a thread that feeds it. Workers are spawned, do not see Ctrl-C, and end
    when this process does, in whatever way.

    Args:
        n_workers: number of processes; each starts with its first job.
    """

    def __init__(self, n_workers: int) -> None:
        # The tracker, when it starts, would let Ctrl-C through to the worker that comes after it.
        resource_tracker.ensure_running()
        self._n_threads = max(1, n_cores() // n_workers)
        self._feeders = ThreadPoolExecutor(n_workers, "batch", initializer=_block_interrupts)
        self._own = threading.local()
        self._pools: dict[ProcessPoolExecutor, int] = {}  # with the process's id
        self._is_killed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._feeders.submit(self._run, partial(fn, *args, **kwargs))

    def _run(self, call: Callable[[], T]) -> T:
        pool = getattr(self._own, "pool", None) or self._start()
        if self._is_killed:  # while this one started
            raise BrokenExecutor("the workers were ended")
        try:
            return pool.submit(call).result()
        except BrokenExecutor:
            self._own.pool = None
            self._pools.pop(pool, None)
            pool.shutdown()
            raise

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, context, initializer=_start_worker, initargs=(self._n_threads,))
        self._pools[pool] = pool.submit(os.getpid).result()
        self._own.pool = pool
        return pool

    def kill(self) -> None:
        """End the workers at once; their jobs fail."""
        self._is_killed = True
        self._feeders.shutdown(wait=False, cancel_futures=True)
        for pid in list(self._pools.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._feeders.shutdown(wait=wait, cancel_futures=cancel_futures)
        for pool in list(self._pools):
            pool.shutdown(wait=wait)


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _block_interrupts() -> None:
    """Of this thread and the processes that it starts, from their first instruction on."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _start_worker(n_threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", str(n_threads))  # read when torch is imported, which is later
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's process does not notice that the one that feeds it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
