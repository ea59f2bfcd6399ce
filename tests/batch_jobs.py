"""Jobs that tests of batches give to real processes: top-level functions, so that workers can import them."""

import os
import signal
import threading
from pathlib import Path

from sinrfmt.batch import Output


def shout(path: Path) -> Output:
    """The right file of an input, by a job that takes next to no time."""
    data = path.read_bytes().upper()
    return Output(data, {"length": len(data)})


def die_once(path: Path, marker: Path, victim: str) -> Output:
    """As ``shout``, but at the first attempt at one input the worker kills itself in the middle of it."""
    if path.name == victim and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()
    return shout(path)


def die_always(path: Path, victim: str) -> Output:
    """As ``shout``, but one input kills every worker."""
    if path.name == victim:
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()
    return shout(path)


def never_end() -> None:
    """A job that takes for ever."""
    threading.Event().wait()


def refuse(path: Path, victim: str) -> Output:
    """As ``shout``, but one input is beyond it in a way that no registry has."""
    if path.name == victim:
        raise ZeroDivisionError("beyond it")
    return shout(path)
