"""How the harness reaches a decoder: a process for each call (level A), a worker (level B); URLs in place of paths are
level C, see remote.py.

Every call has a time limit and, if asked for, a limit of its address space.
"""

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from conformance.claims import Json, Settings
from conformance.remote import Server

CRASHED = 1  # an exit status outside the contract
STDERR_KEPT = 2000
KIBIBYTES = 1 << 10  # of a MiB


@dataclass(frozen=True)
class Answer:
    """What the command did: exit status (None: it was stopped), its JSON line, its standard error; with level C the
    bytes that it fetched by ranges.
    """

    status: int | None
    reply: Json | None
    stderr: str
    fetched: int | None = None


Call = Callable[[Sequence[str], Settings], Answer]  # of a decoder with the arguments of a case
Exchange = Callable[[Json], Json | None]  # a line to a worker and its reply, None where there was none


def process_for_each(command: Sequence[str]) -> Call:
    """Level A: every call starts the command."""

    def call(arguments: Sequence[str], settings: Settings) -> Answer:
        try:
            done = subprocess.run(
                _limited([*command, *arguments], settings.memory),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=settings.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(None, None, "")
        return Answer(done.returncode, json_line(done.stdout), done.stderr[-STDERR_KEPT:].decode("utf-8", "replace"))

    return call


def _limited(command: Sequence[str], memory: int) -> list[str]:
    """The command under a limit of its address space in MiB; as it is without one."""
    if not memory:
        return list(command)
    return ["/bin/sh", "-c", f'ulimit -v {memory * KIBIBYTES} && exec "$0" "$@"', *command]


def json_line(stdout: bytes) -> Json | None:
    """The reply, if standard output is exactly one line that holds one JSON object."""
    lines = stdout.splitlines()
    if len(lines) != 1:
        return None
    try:
        reply = json.loads(lines[0])
    except ValueError:
        return None
    return reply if isinstance(reply, dict) else None


class Worker:
    """Level B: a process that answers call after call; started again after it crashed or hung."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._memory = 0
        self._n_calls = 0
        self.was_late = False  # whether the last request ran out of time

    def __call__(self, arguments: Sequence[str], settings: Settings) -> Answer:
        """One answer. Where a worker breaks off, an earlier call may be to blame: a new one is asked once more."""
        was_running = self._process is not None and not settings.is_alone
        answer = self._ask(arguments, settings)
        if answer is None and was_running:
            answer = self._ask(arguments, settings)
        return answer or Answer(CRASHED, None, "the worker gave no answer")

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def request(self, message: Json, settings: Settings) -> Json | None:
        """The reply to a message, which gets an id. Without one that bears this id the worker is ended, and None."""
        process = self._running(settings)
        self._n_calls += 1
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(settings.timeout, give_up)
        timer.start()
        reply = _exchange(process, json.dumps({"id": self._n_calls} | message).encode() + b"\n") or {}
        timer.cancel()
        self.was_late = is_late.is_set()
        if reply.get("id") == self._n_calls:
            return reply
        self.stop()
        return None

    def _ask(self, arguments: Sequence[str], settings: Settings) -> Answer | None:
        """The answer, or None if the worker gave none that is one."""
        reply = self.request({"args": list(arguments)}, settings) or {}
        if isinstance(reply.get("status"), int):
            return answer_in(reply)
        self.stop()
        return Answer(None, None, "") if self.was_late else None

    def _running(self, settings: Settings) -> subprocess.Popen[bytes]:
        """The process, started if there is none under this limit of memory, or one is asked for anew."""
        if self._process is None or self._memory != settings.memory or settings.is_alone:
            self.stop()
            self._memory = settings.memory
            self._process = subprocess.Popen(
                _limited(self._command, settings.memory),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process


def answer_in(reply: Json) -> Answer:
    """The answer that a worker's line holds."""
    stderr = str(reply.get("stderr", ""))[-STDERR_KEPT:]
    return Answer(reply.get("status"), json_line(str(reply.get("stdout", "")).encode()), stderr)


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> Json | None:
    """Write a line, read a line; None if the other side has gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(request)
        process.stdin.flush()
    except BrokenPipeError:
        return None
    return json_line(process.stdout.readline())


@contextmanager
def borrowing(command: Sequence[str], n_workers: int) -> Iterator[Callable[[], "Borrowed"]]:
    """Workers that end with the context, each lent to one borrower at a time."""
    workers = [Worker(command) for _ in range(n_workers)]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)
    try:
        yield lambda: Borrowed(idle)
    finally:
        for worker in workers:
            worker.stop()


class Borrowed:
    """A worker of a pool, given back at the end of a `with` block."""

    def __init__(self, idle: "SimpleQueue[Worker]") -> None:
        self._idle = idle

    def __enter__(self) -> Worker:
        self._worker = self._idle.get()
        return self._worker

    def __exit__(self, *_: object) -> None:
        self._idle.put(self._worker)


@contextmanager
def calling(command: Sequence[str], settings: Settings) -> Iterator[Call]:
    """How to call a decoder. Workers of level B, one for each job, and the server of level C end with the context."""
    with _local_calls(command, settings) as call:
        if not settings.http:
            yield call
            return
        with Server() as server:
            yield _over_http(call, server)


@contextmanager
def _local_calls(command: Sequence[str], settings: Settings) -> Iterator[Call]:
    if not settings.worker:
        yield process_for_each(command)
        return
    with borrowing(command, settings.jobs) as borrow:

        def call(arguments: Sequence[str], settings: Settings) -> Answer:
            with borrow() as worker:
                return worker(arguments, settings)

        yield call


def _over_http(call: Call, server: Server) -> Call:
    """Level C: the file's address in place of its path."""

    def remote(arguments: Sequence[str], settings: Settings) -> Answer:
        source, *rest = arguments
        with server.serving(Path(source)) as served:
            answer = call([served.url, *rest], settings)
            fetched = served.n_bytes if served.has_ranges else None
        return Answer(answer.status, answer.reply, answer.stderr, fetched)

    return remote


def feed_message(data: bytes) -> Json:
    """The line that feeds a piece of a file."""
    return {"op": "feed", "data": base64.b64encode(data).decode("ascii")}
