"""The verb that judges any decoder with the conformance suite, which is no part of the installed package."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from sinrfmt.faults import error

SOURCE_TREE = Path(__file__).resolve().parents[2]
HARNESS = "run.py"
ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Settings of the verb: the harness reads its own options."""


def conform(
    context: typer.Context,
    suite: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The folder of the suite; that of the source tree when not given."),
    ] = None,
) -> None:
    """Judge a decoder: [OPTIONS OF THE HARNESS] -- COMMAND...

    The options are those of conformance/run.py, such as --worker, --grade XPM, --filter NAME and --html FILE. The exit
    status is 0 if the claim holds, and 1 if not.
    """
    words = [sys.executable, str(_harness(suite)), *_with_separator(context.args)]
    raise typer.Exit(subprocess.run(words, check=False).returncode)


def _with_separator(words: list[str]) -> list[str]:
    """The words with the ``--`` that the parser took for its own."""
    if "--" not in sys.argv:
        return words
    n_command = len(sys.argv) - sys.argv.index("--") - 1
    at = len(words) - n_command
    return [*words[:at], "--", *words[at:]]


def _harness(suite: Path | None) -> Path:
    """The harness in a folder.

    Raises:
        UsageError: it is not there.
    """
    folder = SOURCE_TREE / "conformance" if suite is None else suite
    if not (folder / HARNESS).is_file():
        raise error(
            "USAGE",
            f"{folder} holds no conformance suite ({HARNESS}): it is not in the installed package; get the source tree "
            "and give its folder: sinrfmt conform --suite PATH/conformance -- COMMAND...",
        )
    return folder / HARNESS
