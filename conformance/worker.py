"""A worker (level B): answers many calls of the contract of clause 15 in one process, for decoders written in Python.

Usage: `python -m conformance.worker MODULE [ARG...]`, for `python -m MODULE [ARG...]`. Each line of standard
input is one call, `{"id": 1, "args": ["IN.sinr", "OUT.npy", …]}`; each is answered by one line of standard output,
`{"id": 1, "status": 0, "stdout": "…", "stderr": "…"}`. Any program that speaks these lines is a worker.
"""

import io
import json
import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

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


def main(argv: Sequence[str]) -> int:
    """Answer calls until standard input ends."""
    module, *fixed = argv
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints past Python must not come between the replies
    for line in sys.stdin:
        request = json.loads(line)
        status, out, err = call(module, [*fixed, *request["args"]])
        reply = {"id": request["id"], "status": status, "stdout": out, "stderr": err}
        print(json.dumps(reply), file=replies, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
