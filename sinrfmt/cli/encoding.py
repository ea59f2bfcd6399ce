"""The verb ``encode``: whose input it is, what is asked for, and what is said about the file."""

import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sinrfmt.api import write_atomically, writing
from sinrfmt.cli.modalities import HANDLERS, check_encode, handler_of_input
from sinrfmt.cli.options import (
    Atoms,
    Budget,
    CodingTool,
    ContextName,
    Device,
    Force,
    Json,
    PassSizes,
    PreviewSizes,
    Quality,
    Where,
    Workers,
    check_output,
    print_result,
)
from sinrfmt.cli.pictures import (
    BitsPerPixel,
    Context,
    FieldOption,
    LadderOption,
    Overlap,
    Payload,
    Preset,
    RateWeight,
    Seed,
    ShiftedBase,
    Tiles,
    Tool,
)
from sinrfmt.cli.progress import encoder_progress
from sinrfmt.cli.requests import EncodeRequest
from sinrfmt.pictures import FieldKind, Ladder

NAMES = "|".join(handler.name for handler in HANDLERS)


def encode(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A picture, a sound, an array, …")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.sinr", help="The file to write.")],
    modality: Annotated[
        str | None, typer.Option(metavar=NAMES, help="What the input is, where its name does not tell.")
    ] = None,
    preset: Preset = None,
    n_bytes: Budget = None,
    bpp: BitsPerPixel = None,
    psnr: Quality = None,
    passes: PassSizes = None,
    ladder: LadderOption = Ladder.AUTO,
    previews: PreviewSizes = None,
    field: FieldOption = FieldKind.AUTO,
    context: Context = ContextName.INTERLACED,
    rate_weight: RateWeight = None,
    tiles: Tiles = None,
    overlap: Overlap = None,
    coding: Tool = CodingTool.SCALAR,
    payload: Payload = None,
    seed: Seed = 0,
    device: Where = Device.AUTO,
    base: ShiftedBase = None,
    atoms: Atoms = None,
    workers: Workers = None,
    group: Annotated[
        int | None, typer.Option("--group", metavar="N", min=1, help="Of clips: frames that are decoded as one part.")
    ] = None,
    variable: Annotated[str | None, typer.Option(metavar="NAME", help="Of a file of several arrays: which.")] = None,
    fill: Annotated[
        float | None, typer.Option(metavar="VALUE", help="Of arrays: stands where a value is missing or not a number.")
    ] = None,
    channel_axis: Annotated[
        int | None, typer.Option(metavar="AXIS", help="Of arrays: the axis of the values of a sample, such as -1.")
    ] = None,
    iou: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of shapes: intersection over union with the mesh at least.")
    ] = None,
    keep_network: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Also write the float32 network before quantisation.")
    ] = None,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Fit a network or a grid of latents to a signal and write it as a .sinr file."""
    request = EncodeRequest(
        output=output,
        preset=preset,
        n_bytes=n_bytes,
        bpp=bpp,
        psnr=psnr,
        passes=passes,
        ladder=ladder,
        previews=previews,
        field=field,
        context=context,
        rate_weight=rate_weight,
        tiles=tiles,
        overlap=overlap,
        coding=coding,
        payload=payload,
        seed=seed,
        device=device,
        base=base,
        atoms=atoms,
        workers=workers,
        group=group,
        variable=variable,
        fill=fill,
        channel_axis=channel_axis,
        iou=iou,
        keep_network=keep_network,
    )
    handler = handler_of_input(source, modality)
    check_encode(handler, request)
    for path in (output, keep_network):
        if path is not None:
            check_output(path, force)
    started = time.monotonic()
    with encoder_progress(quiet=not sys.stderr.isatty()) as on_progress:
        made = handler.encode(source, request, on_progress)
    write_atomically(output, made.data)
    if keep_network is not None:
        with writing(keep_network) as temporary, temporary.open("wb") as file:
            np.savez(file, **dict(made.float_arrays))  # type: ignore[arg-type]
    seconds = round(time.monotonic() - started, 2)
    summary = dict(made.summary) | {"seconds": seconds}
    print_result(f"{output}: {made.line}", as_json=summary if json_output else None)
