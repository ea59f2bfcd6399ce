"""The verbs for files that are sent: ``cut`` and ``reindex``, and what a file at a distance took."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sinrfmt import edit, report
from sinrfmt.api import LazyField, write_atomically
from sinrfmt.cli.options import Force, Json, check_output, print_result, read_input

Input = Annotated[Path, typer.Argument(metavar="IN.sinr")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT.sinr", help="The file to write.")]


def cut(
    source: Input,
    passes: Annotated[int, typer.Option("--passes", min=1, help="Keep the first N passes.")],
    output: Output,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Drop the last passes of a file, without decoding it."""
    check_output(output, force)
    _edit(source, output, lambda data: edit.cut(data, passes), json_output)


def reindex(
    source: Input,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT.sinr", help="The file to write instead of IN."),
    ] = None,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Write where the passes stand into a file, for readers that fetch a part of it."""
    if output is not None:
        check_output(output, force)
    _edit(source, output or source, edit.reindex, json_output)


def _edit(source: Path, output: Path, change: edit.Edit, json_output: bool) -> None:
    data = read_input(source)
    changed = change(data)
    write_atomically(output, changed)
    summary = {"schema": report.SCHEMA, "file_bytes": len(changed), "source_bytes": len(data)}
    print_result(f"{output}: {len(changed)} bytes, was {len(data)}", as_json=summary if json_output else None)


def fetched(opened: LazyField) -> dict[str, Any]:
    """What ``--json`` says of a file at a distance; nothing of others."""
    if opened.fetched_bytes is None:
        return {}
    return {"fetched_bytes": opened.fetched_bytes, "n_requests": opened.n_requests}


def fetched_text(summary: dict[str, Any]) -> str:
    """The same for people."""
    if not summary:
        return ""
    return f", fetched {summary['fetched_bytes']} bytes in {summary['n_requests']} requests"
