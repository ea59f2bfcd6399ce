"""The verbs ``decode`` and ``view``: what a file's HEAD and the output say, checked before any weight is decoded."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import sinrfmt
from sinrfmt.api import writing, writing_folder
from sinrfmt.cli import parts
from sinrfmt.cli.handlers import Decoding, Writer
from sinrfmt.cli.modalities import check_decode, check_unread, plan_of, shown_as, writer_of
from sinrfmt.cli.options import (
    BasePath,
    Depth,
    Device,
    Force,
    Json,
    Partial,
    Passes,
    PreviewNumber,
    StepNumber,
    check_folder,
    check_output,
    print_result,
)
from sinrfmt.cli.requests import DecodeRequest
from sinrfmt.faults import error
from sinrfmt.head import Header


def decode(
    source: Annotated[str, typer.Argument(metavar="IN.sinr", help="A file or a URL.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Its suffix says what to write: .npy, .png, .wav, …; none: a folder.")
    ],
    coords: Annotated[Path | None, typer.Option(metavar="C.npy", help="Coordinates, float32 (n, in_dims).")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Output grid instead of the native one.")] = None,
    scale: Annotated[
        float | None, typer.Option(metavar="FACTOR", min=1e-6, help="So many times the samples on every axis.")
    ] = None,
    bits: Annotated[Depth, typer.Option(help="Bits of a sample of the picture.")] = Depth.EIGHT,
    passes: Passes = None,
    partial: Partial = False,
    base: BasePath = None,
    preview: PreviewNumber = None,
    step: StepNumber = None,
    region: parts.RegionText = None,
    frames: parts.FramesText = None,
    view: Annotated[int | None, typer.Option(min=0, help="Of a radiance field: which view, from 0 on.")] = None,
    views: Annotated[int | None, typer.Option(min=1, help="Views of a turntable; 36 when not given.")] = None,
    camera: Annotated[
        Path | None, typer.Option(metavar="T.json", help="Views by these cameras (transforms.json).")
    ] = None,
    device: Annotated[
        Device | None, typer.Option(help="Where torch renders views; NumPy alone does when not given.")
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Of .npy: samples in the range, type and axes of the input, not values.")
    ] = False,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Decode a file to a picture, a sound, an array, …, by the suffix of the output."""
    request = DecodeRequest(
        coords=coords,
        size=size,
        scale=scale,
        bits=bits,
        passes=passes,
        partial=partial,
        base=base,
        preview=preview,
        step=step,
        region=region,
        frames=frames,
        view=view,
        views=views,
        camera=camera,
        device=device,
        samples=samples,
    )
    check_unread(request)
    if output.suffix == "":
        check_folder(output)
    else:
        check_output(output, force)
    summary, line = _decoded(source, request, lambda header: (output, writer_of(header, output)))
    print_result(f"{output}: {line}", as_json=summary if json_output else None)


def view(
    source: Annotated[str, typer.Argument(metavar="IN.sinr", help="A file or a URL.")],
    scale: Annotated[
        float | None, typer.Option(metavar="FACTOR", min=1e-6, help="So many times the samples on every axis.")
    ] = None,
    passes: Passes = None,
    base: BasePath = None,
    preview: PreviewNumber = None,
    step: StepNumber = None,
) -> None:
    """Decode a file to a temporary one, and show that with what the system shows such files with."""
    request = DecodeRequest(scale=scale, passes=passes, base=base, preview=preview, step=step)
    check_unread(request)
    folder = Path(tempfile.mkdtemp(prefix="sinrfmt-"))

    def target(header: Header) -> tuple[Path, Writer]:
        suffix, writer = shown_as(header)
        return folder / f"{Path(source).stem}{suffix}", writer

    try:
        _, line = _decoded(source, request, target)
    except BaseException:
        shutil.rmtree(folder)
        raise
    (output,) = folder.iterdir()
    print_result(f"{output}: {line}", as_json=None)
    if typer.launch(str(output)):
        raise error("USAGE", f"{output}: there is nothing to show it with")


def _decoded(
    source: str, request: DecodeRequest, target: Callable[[Header], tuple[Path, Writer]]
) -> tuple[dict[str, Any], str]:
    """Decode a file and write it where ``target`` says: what ``--json`` says about it, and a line for people."""
    with sinrfmt.open(
        source,
        passes=request.passes,
        partial=request.partial,
        base=request.base,
        preview=request.preview,
        step=request.step,
    ) as opened:
        output, writer = target(opened.header)
        check_decode(opened.header, writer, request, output)
        decoding = Decoding(source, opened, request, plan_of(opened.header, writer, request))
        with (writing_folder if output.suffix == "" else writing)(output) as temporary:
            added = writer.write(temporary, decoding)
        return decoding.summary | dict(added), decoding.line
