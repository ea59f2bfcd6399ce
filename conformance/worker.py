"""A worker (level B): answers many calls of the contract of clause 15 in one process, for decoders written in Python.

Usage: `python -m conformance.worker [--stream MODULE:CLASS] MODULE [ARG...]`, for `python -m MODULE [ARG...]`. Each
line of standard input is one call, `{"id": 1, "args": ["IN.sinr", "OUT.npy", …]}`; each is answered by one line of
standard output, `{"id": 1, "status": 0, "stdout": "…", "stderr": "…"}`. Any program that speaks so is a worker.

For files in pieces (clause 17) a line has `op`: `{"id": 2, "op": "open", "args": ["--base", "BASE.sinr"]}`, then
`{"id": 3, "op": "feed", "data": "base64"}` for each piece, both answered by `{"id": 3, "events": […]}`, then
`{"id": 4, "op": "close"}`, answered like a call. Events are `{"event": "head"}` when HEAD was read, `{"event": "pass",
"pass": 0, "acc_crc": "…", "weights_sha256": "…"}` after a pass, and `{"event": "error", …}` with the members of DEC-2.
`--stream` names a class with `__init__(options)`, `feed(data) -> events` and `close() -> (status, line)`; without it
the module is called with `--partial` on what there is whenever a chunk is whole.
"""

import argparse
import base64
import importlib
import io
import json
import os
import runpy
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from conformance.framing import whole_chunks

CRASHED = 1  # the exit status of an interpreter after an exception that nobody catches


def call(module: str, arguments: Sequence[str]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `python -m module arguments…`."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = [module, *arguments]
    with redirect_stdout(out), redirect_stderr(err):
        status = _status(module)
    return status, out.getvalue(), err.getvalue()


def _status(module: str) -> int:
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return CRASHED
    except Exception:  # noqa: BLE001  the verdict on it is the harness's
        traceback.print_exc()
        return CRASHED
    return 0


Json = dict[str, Any]
AXES_OFFSET = 15  # of in_dims in a file (clause 6.1)


class Stream(Protocol):
    """A decoder that is fed a file in pieces."""

    def feed(self, data: bytes) -> list[Json]:
        """The events of what has become whole."""
        ...

    def close(self) -> tuple[int, str]:
        """The file ends: exit status and line of the contract."""
        ...


class Prefixes:
    """A stream for a decoder of whole files: it is asked for what there is, each time that a chunk is whole."""

    def __init__(self, module: str, fixed: Sequence[str], options: Sequence[str]) -> None:
        self._module, self._arguments = module, (list(fixed), list(options))
        self._data = b""
        self._n_chunks = self._n_passes = 0
        self._failure: tuple[int, str] | None = None

    def feed(self, data: bytes) -> list[Json]:
        self._data += data
        events: list[Json] = []
        for chunk in whole_chunks(self._data)[self._n_chunks :]:
            self._n_chunks += 1
            if chunk.is_head or chunk.is_pass:
                events += self._events(self._data[: chunk.end], is_head=chunk.is_head)
            if events and events[-1]["event"] == "error":
                break
        return events

    def close(self) -> tuple[int, str]:
        """An error found in a prefix stands: without the bytes that were not fed the file might end too early."""
        return self._failure or self._decode(self._data)

    def _events(self, data: bytes, *, is_head: bool) -> list[Json]:
        status, out = self._decode(data, "--partial")
        line = json.loads(out)
        if line.get("name") == "TRUNCATED":  # no pass is whole: after HEAD, or with parts to come (clause 13.1)
            return [{"event": "head"}] if is_head else []
        if status:
            self._failure = status, out
            return [{"event": "error"} | line]
        if line["passes"] == self._n_passes:
            return []
        self._n_passes = line["passes"]
        last = {"acc_crc": line["acc_crc"][-1], "weights_sha256": line["weights_sha256"]}
        return [{"event": "pass", "pass": self._n_passes - 1} | last]

    def _decode(self, data: bytes, *more: str) -> tuple[int, str]:
        """At no coordinates: a file need not have a native grid."""
        with tempfile.TemporaryDirectory() as folder:
            source, coords = Path(folder) / "in.sinr", Path(folder) / "coords.npy"
            source.write_bytes(data)
            np.save(coords, np.zeros((0, data[AXES_OFFSET] if len(data) > AXES_OFFSET else 1), np.float32))
            fixed, options = self._arguments
            asked = [str(source), str(Path(folder) / "out.npy"), "--coords", str(coords), *options, *more]
            status, out, err = call(self._module, [*fixed, *asked])
        print(err, end="", file=sys.stderr)
        return status, out


class Replies:
    """The replies to the lines of the harness."""

    def __init__(self, module: str, fixed: Sequence[str], stream: Callable[[Sequence[str]], Stream]) -> None:
        self._module, self._fixed = module, fixed
        self._open = stream
        self._stream: Stream | None = None

    def to(self, request: Json) -> Json:
        """The reply without its id; raises KeyError for an operation that there is not."""
        operations = {"call": self._call, "open": self._start, "feed": self._feed, "close": self._close}
        return operations[request.get("op", "call")](request)

    def _call(self, request: Json) -> Json:
        status, out, err = call(self._module, [*self._fixed, *request["args"]])
        return {"status": status, "stdout": out, "stderr": err}

    def _start(self, request: Json) -> Json:
        self._stream = self._open(request["args"])
        return {"events": []}

    def _feed(self, request: Json) -> Json:
        assert self._stream is not None
        return {"events": self._stream.feed(base64.b64decode(request["data"]))}

    def _close(self, request: Json) -> Json:
        assert self._stream is not None
        status, line = self._stream.close()
        return {"status": status, "stdout": line, "stderr": ""}


def main(argv: Sequence[str]) -> int:
    """Answer calls until standard input ends."""
    parser = argparse.ArgumentParser(prog="worker", description=__doc__)
    parser.add_argument("--stream", metavar="MODULE:CLASS")
    parser.add_argument("module")
    parser.add_argument("fixed", nargs=argparse.REMAINDER)
    given = parser.parse_args(argv)
    stream: Callable[[Sequence[str]], Stream] = partial(Prefixes, given.module, given.fixed)
    if given.stream:
        module, _, name = given.stream.partition(":")
        stream = getattr(importlib.import_module(module), name)
    answers = Replies(given.module, given.fixed, stream)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints past Python must not come between the replies
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"id": request["id"]} | answers.to(request)), file=replies, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
