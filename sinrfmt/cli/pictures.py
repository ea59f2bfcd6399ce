"""What the verbs that encode pictures have in common: their options, and what they say about a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sinrfmt import metrics, report
from sinrfmt.cli.options import (
    CodingTool,
    ContextName,
    PayloadCoding,
    PicturePreset,
    passes_of,
    previews_of,
    read_input,
)
from sinrfmt.cli.requests import EncodeRequest
from sinrfmt.pictures import FieldKind, Ladder, PictureOptions
from sinrfmt.registry import Coding, ContextId

Preset = Annotated[
    PicturePreset | None, typer.Option(help="How much work to do; balanced, for grids pyramid, when not given.")
]
BitsPerPixel = Annotated[float | None, typer.Option("--bpp", min=0, help="Bits per pixel at most.")]
FieldOption = Annotated[FieldKind, typer.Option(help="What holds the signal.")]
LadderOption = Annotated[
    Ladder, typer.Option("--ladder", help="What the steps of --passes are; auto says which it takes, and why.")
]
Context = Annotated[ContextName, typer.Option(help="What predicts a pyramid's latents.")]
RateWeight = Annotated[
    float | None,
    typer.Option("--rate-weight", min=1e-6, max=1, help="Of grids: price of a bit per pixel, in squared error."),
]
Tiles = Annotated[int | None, typer.Option("--tiles", min=8, help="Parts of at most so many rows and columns.")]
Overlap = Annotated[
    int | None, typer.Option("--overlap", min=0, help="Samples of a tile beyond each of its edges; 4 when not given.")
]
Tool = Annotated[
    CodingTool, typer.Option(help="Way to code the weights; scalar takes the trellis where it is the better one.")
]
Payload = Annotated[
    PayloadCoding | None, typer.Option(help="Payload coding; brotli for sinr-paper, else rans, when not given.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")]
ShiftedBase = Annotated[
    Path | None, typer.Option(metavar="BASE.sinr", help="Only shift the biases of this file (see encode-set).")
]


def picture_options(request: EncodeRequest) -> PictureOptions:
    """What is asked for of a picture.

    Raises:
        UsageError: options that do not go together, or the base cannot be read.
    """
    return PictureOptions(
        preset=None if request.preset is None else request.preset.value,
        max_bytes=request.n_bytes,
        max_bpp=request.bpp,
        min_psnr=request.psnr,
        passes=1 if request.passes is None else passes_of(request.passes),
        ladder=request.ladder,
        previews=0 if request.previews is None else previews_of(request.previews),
        field=request.field,
        context=ContextId[request.context.name],
        rate_weight=request.rate_weight,
        tiles=request.tiles,
        overlap=request.overlap,
        weight_coding=request.coding.value,
        coding=None if request.payload is None else Coding[request.payload.name],
        base=None if request.base is None else read_input(request.base),
        n_atoms=request.atoms,
        seed=request.seed,
        device=request.device.value,
    )


def picture_summary(picture: metrics.Samples, encoding: Any) -> dict[str, Any]:
    """What is said about the file of a picture."""
    result = encoding.field
    previews = [{"payload_bytes": len(one.payload), "psnr": one.psnr} for one in result.previews.files]
    return report.summary(result) | {
        "psnr": round(metrics.psnr(picture, result.to_samples(picture.dtype)), 4),
        "fp32_psnr": round(encoding.float_psnr, 4),
        "previews": previews,
        "bpp": round(metrics.bits_per_sample(len(result.data), picture.shape[:2]), 5),
    }


def picture_line(summary: dict[str, Any]) -> str:
    """The same in a few words."""
    return (
        f"{summary['file_bytes']} bytes, {summary['bpp']:.3f} bpp, {summary['psnr']:.2f} dB "
        f"(float32 network {summary['fp32_psnr']:.2f} dB), {summary['parameters']} parameters"
        + "".join(f", preview {one['payload_bytes']} bytes {one['psnr']:.2f} dB" for one in summary["previews"])
    )
