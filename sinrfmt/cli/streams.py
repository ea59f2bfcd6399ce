"""The verbs for files that are sent: ``cut`` (passes, previews) and ``reindex``, and what a file at a distance took."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from sinrfmt import edit, report
from sinrfmt.api import LazyField, write_atomically
from sinrfmt.cli.options import Force, Json, PreviewNumber, check_output, print_result, read_input
from sinrfmt.faults import error

Input = Annotated[Path, typer.Argument(metavar="IN.sinr")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT.sinr", help="The file to write.")]


def cut(
    source: Input,
    output: Output,
    passes: Annotated[int | None, typer.Option("--passes", min=1, help="Keep the first N passes.")] = None,
    preview: PreviewNumber = None,
    no_previews: Annotated[bool, typer.Option("--no-previews", help="Take the previews out.")] = False,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Drop the last passes or the previews of a file, or take one preview out of it, without decoding it."""
    if preview is not None and (passes is not None or no_previews):
        raise error("USAGE", "--preview goes without --passes and --no-previews")
    if passes is None and preview is None and not no_previews:
        raise error("USAGE", "one of --passes, --preview and --no-previews says what to cut")
    check_output(output, force)
    _edit(source, output, partial(_cut, passes=passes, preview=preview, no_previews=no_previews), json_output)


def _cut(data: bytes, passes: int | None, preview: int | None, no_previews: bool) -> bytes:
    if preview is not None:
        return edit.preview(data, preview)
    data = data if passes is None else edit.cut(data, passes)
    return edit.with_previews(data, ()) if no_previews else data


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
