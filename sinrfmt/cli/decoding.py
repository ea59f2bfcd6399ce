"""The verb ``decode``: what a file's HEAD and the name of the output say, checked before any weight is decoded."""

from pathlib import Path
from typing import Annotated

import typer

import sinrfmt
from sinrfmt.api import writing, writing_folder
from sinrfmt.cli import parts
from sinrfmt.cli.handlers import Decoding
from sinrfmt.cli.modalities import check_decode, check_unread, plan_of, writer_of
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
    is_folder = output.suffix == ""
    if is_folder:
        check_folder(output)
    else:
        check_output(output, force)
    with sinrfmt.open(source, passes=passes, partial=partial, base=base, preview=preview, step=step) as opened:
        writer = writer_of(opened.header, output)
        check_decode(opened.header, writer, request, output)
        decoding = Decoding(source, opened, request, plan_of(opened.header, writer, request))
        with (writing_folder if is_folder else writing)(output) as temporary:
            added = writer.write(temporary, decoding)
        summary = decoding.summary | dict(added)
        text = f"{output}: {decoding.line}"
    print_result(text, as_json=summary if json_output else None)
