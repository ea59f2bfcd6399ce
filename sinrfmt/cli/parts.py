"""The verbs for files with parts: ``join`` and ``extract``, and regions of ``decode`` (clause 13.1)."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

import sinrfmt
from sinrfmt import joining, report
from sinrfmt.api import write_atomically
from sinrfmt.cli.options import Force, Json, check_output, print_result, read_input, sizes_of
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.parts import Parts, Range
from sinrfmt.region import FileSource, RegionOf, read_region
from sinrfmt.remote import Source, is_url, open_source

Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT.sinr", help="The file to write.")]
RegionText = Annotated[
    str | None, typer.Option("--region", metavar="X,Y,W,H", help="Only these columns and rows of the native grid.")
]
FramesText = Annotated[
    str | None, typer.Option("--frames", metavar="A:B", help="Only frames A to B - 1 of the native grid.")
]


def join(
    sources: Annotated[list[Path], typer.Argument(metavar="PART.sinr...", help="The files of all parts, in order.")],
    grid: Annotated[str, typer.Option(metavar="WxH", help="The whole native grid, last axis first.")],
    split: Annotated[str, typer.Option(metavar="WxH", help="Number of parts along every axis.")],
    output: Output,
    overlap: Annotated[int, typer.Option(min=0, help="Samples of a part on the other side of its edges.")] = 0,
    shared: Annotated[bool, typer.Option("--shared", help="Write all but the latents once for all parts.")] = False,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Put files of single parts into one, without encoding anything again."""
    check_output(output, force)
    axes, numbers = sizes_of(grid), sizes_of(split)
    assert axes is not None
    assert numbers is not None
    if len(axes) != len(numbers):
        raise error("USAGE", f"--grid has {len(axes)} axes and --split {len(numbers)}")
    parts = Parts(axes, numbers, tuple(overlap if n > 1 else 0 for n in numbers), shared)
    data = joining.join([read_input(source) for source in sources], parts)
    _write(output, data, f"{parts.count} parts", json_output)


def extract(
    source: Annotated[Path, typer.Argument(metavar="IN.sinr")],
    part: Annotated[int, typer.Option(min=0, help="Number of the part.")],
    output: Output,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Take one part out of a file, as a file of its own."""
    check_output(output, force)
    _write(output, joining.extract(read_input(source), part), f"part {part}", json_output)


def _write(output: Path, data: bytes, what: str, json_output: bool) -> None:
    write_atomically(output, data)
    summary = {"schema": report.SCHEMA, "file_bytes": len(data)}
    print_result(f"{output}: {what}, {len(data)} bytes", as_json=summary if json_output else None)


# --- regions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """Values of a region, and what reading them took.

    Attributes:
        values: float32[*lengths, out_channels].
        header: of the file.
        meta: keys and values of META; of a file with parts where it came with its first bytes.
        summary: what ``--json`` says.
    """

    values: NDArray[np.float32]
    header: Header
    meta: Mapping[str, str]
    summary: dict[str, Any]


def region_of(region: str | None, frames: str | None) -> RegionOf:
    """The ranges that ``--region`` and ``--frames`` ask for, on every axis of a file.

    Raises:
        UsageError: not numbers of that form; when HEAD is known: not for its axes.
    """
    window = None if region is None else _numbers(region, ",", 4, "--region X,Y,W,H")
    span = None if frames is None else _numbers(frames, ":", 2, "--frames A:B")

    def ranges(header: Header) -> Sequence[Range]:
        axes: list[Range] = [(0, n) for n in header.grid]
        if window is not None and len(axes) > 1:
            x, y, width, height = window
            axes[-2:] = [(y, y + height), (x, x + width)]
        elif window is not None:
            raise error("USAGE", "--region is for fields of rows and columns")
        if span is not None and len(axes) != 3:
            raise error("USAGE", "--frames is for fields of frames, rows and columns")
        if span is not None:
            axes[0] = (span[0], span[1])
        return axes

    return ranges


def _numbers(text: str, separator: str, n: int, form: str) -> list[int]:
    fields = text.split(separator)
    if len(fields) != n or not all(field.isascii() and field.isdigit() for field in fields):
        raise error("USAGE", f"expected {form}, found {text}")
    return [int(field) for field in fields]


def cut_region(source: str, header: Header, ranges: RegionOf, passes: int | None) -> Cut:
    """Read a region of a file or URL with this HEAD; of one without parts after decoding all of it.

    Raises:
        SinrError: as :func:`sinrfmt.region.read_region`.
    """
    if header.parts is None:
        field = sinrfmt.load(source, passes=passes)
        values = field.region(ranges(field.header))
        return Cut(values, field.header, field.meta, {"schema": report.SCHEMA, "passes": field.n_passes})
    with ExitStack() as stack:
        opened = _source(source, stack)
        found = read_region(opened, ranges, passes=passes)
        summary = {
            "schema": report.SCHEMA,
            "passes": found.n_passes,
            "parts": list(found.parts),
            "fetched_bytes": opened.n_fetched,
            "n_requests": opened.n_requests,
        }
    return Cut(found.values, found.header, found.meta, summary)


def _source(source: str, stack: ExitStack) -> Source:
    if is_url(source):
        return stack.enter_context(closing(open_source(source)))
    try:
        return FileSource(stack.enter_context(Path(source).open("rb")))
    except OSError as failure:
        raise error("USAGE", f"{source}: {failure.strerror}") from failure


def cut_text(summary: dict[str, Any]) -> str:
    """What reading took, for people."""
    if "parts" not in summary:
        return ""
    n = len(summary["parts"])
    return f", {n} part{'s'[: n > 1]}, {summary['fetched_bytes']} bytes in {summary['n_requests']} requests"
