"""Entry of the command line: verbs, exit statuses, and the one place where errors become lines.

Results go to standard output, progress and messages to standard error. With ``--json`` standard output has exactly one
JSON object, on failure too; ``batch`` has one for each input. Exit statuses are those of clause 15 of the
specification, 130 after an interruption, and of ``batch`` 1 when an input failed.
"""

import json
import sys
from functools import cache
from typing import Any, NoReturn

from sinrfmt.errors import EXIT_STATUS, SinrError
from sinrfmt.faults import error
from sinrfmt.report import error_object

EXIT_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        import typer
        from PIL import Image  # noqa: F401
        from rich import console  # noqa: F401
    except ImportError as failure:
        print(f"sinrfmt: {failure.name} is not installed: pip install 'sinrfmt[cli]'", file=sys.stderr)
        sys.exit(EXIT_STATUS["usage"])
    try:
        status = _command().main(prog_name="sinrfmt", standalone_mode=False)
    except SinrError as failure:
        sys.exit(_report(failure))
    except typer.Abort as stop:
        # typer takes every EOFError for the end of its input; one of ours is a file that ends early.
        status = _report(stop.__cause__) if isinstance(stop.__cause__, SinrError) else EXIT_INTERRUPTED
    except MemoryError:  # LIM-3
        sys.exit(_report(error("LIMIT_CALLER", "the machine gives no memory")))
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.exit(EXIT_STATUS["usage"])
    except Exception as failure:
        if not hasattr(failure, "format_message"):  # not click's own usage error: a bug, shown whole
            raise
        sys.exit(_report(error("USAGE", failure.format_message())))
    if status == EXIT_INTERRUPTED:  # typer gives it too
        print("sinrfmt: interrupted; nothing was written", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


@cache
def _command() -> Any:
    """All verbs. Built once: a worker of the conformance suite calls :func:`main` thousands of times."""
    import typer

    from sinrfmt.cli.batch import batch
    from sinrfmt.cli.commands import app
    from sinrfmt.cli.conform import ARGUMENTS, conform

    app.command()(batch)
    app.command(context_settings=ARGUMENTS)(conform)
    return typer.main.get_command(app)


def _report(failure: SinrError) -> int:
    if "--json" in sys.argv:
        print(json.dumps(error_object(failure)))
    print(f"sinrfmt: {failure}", file=sys.stderr)
    return EXIT_STATUS[failure.error_class]
