"""The verbs that take the networks of other tools in, and give them back."""

import math
import sys
import time
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

import sinrfmt
from sinrfmt import metrics, report
from sinrfmt.api import write_atomically, writing
from sinrfmt.cli.options import (
    Device,
    Force,
    Json,
    Passes,
    PresetName,
    check_output,
    print_result,
    sizes_of,
    torch_api,
)
from sinrfmt.cli.progress import encoder_progress
from sinrfmt.faults import error
from sinrfmt.media import image
from sinrfmt.registry import Coords, Modality, Values

Code = TypeVar("Code", bound=IntEnum)

DEFAULT_DROP = 0.3
GIB = 1 << 30

Like = Annotated[
    str | None, typer.Option(metavar="NAME", help="Architecture of a known kind; a wrong name lists them.")
]
Arch = Annotated[Path | None, typer.Option(metavar="ARCH.toml", help="Architecture of another kind.")]
Submodule = Annotated[
    str | None, typer.Option(metavar="NAME", help="Part of the checkpoint to take, where several networks are in it.")
]


def import_network(
    source: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help=".pt, .safetensors, .npz, .h5, .onnx or .bin")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.sinr", help="The file to write.")],
    like: Like = None,
    arch: Arch = None,
    submodule: Submodule = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,N,…", help="Widths of the hidden layers, for bare numbers.")
    ] = None,
    signal: Annotated[
        Path | None, typer.Option(metavar="IMAGE", help="What the network stands for: measure against it.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Native grid; that of --signal when not given.")
    ] = None,
    n_bytes: Annotated[int | None, typer.Option("--bytes", min=1, help="Size of the file at most.")] = None,
    bpp: Annotated[float | None, typer.Option("--bpp", min=0, help="Bits per sample of the grid at most.")] = None,
    psnr: Annotated[float | None, typer.Option("--psnr", min=0, help="PSNR at least, in dB.")] = None,
    snr: Annotated[
        float | None, typer.Option("--snr", min=0, help="Signal-to-noise ratio against the network itself, in dB.")
    ] = None,
    drop: Annotated[
        float | None, typer.Option("--drop", min=0, help="Loss against the float32 network at most, in dB.")
    ] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Keep every float32.")] = False,
    preset: Annotated[PresetName, typer.Option(help="How much work to do.")] = PresetName.BALANCED,
    memory: Annotated[float, typer.Option(min=0.1, metavar="GIB", help="Memory that the work may take.")] = 4.0,
    modality: Annotated[str | None, typer.Option(help="What it is, instead of what the architecture says.")] = None,
    coords: Annotated[str | None, typer.Option(help="Convention of the coordinates, likewise.")] = None,
    values: Annotated[str | None, typer.Option(help="Range of the values, likewise.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything random.")] = 0,
    device: Annotated[Device, typer.Option(help="Where to work.")] = Device.AUTO,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Write a trained network of another tool as a .sinr file."""
    asked = {"max_bytes": n_bytes, "max_bpp": bpp, "min_psnr": psnr, "min_snr": snr, "max_drop": drop}
    target = {name: value for name, value in asked.items() if value is not None}
    if len(target) + lossless > 1:
        raise error("USAGE", "--bytes, --bpp, --psnr, --snr, --drop and --lossless exclude each other")
    check_output(output, force)
    library = torch_api()
    architecture = _architecture(library, like, arch)
    picture = None if signal is None else image.read_image(signal)
    grid = sizes_of(size) or (() if picture is None else picture.shape[:2])
    if bpp is not None and not grid:
        raise error("USAGE", "--bpp needs a native grid: give --size or --signal")
    started = time.monotonic()
    imported = library.import_checkpoint(
        source,
        architecture,
        submodule=submodule,
        widths=_widths(widths),
        grid=grid,
        modality=_code(Modality, modality, "--modality"),
        coords=_code(Coords, coords, "--coords"),
        values=_code(Values, values, "--values"),
    )
    truth = None if picture is None else library.signal_for(picture, imported.header)
    if lossless:
        result, quality = library.lossless(imported.module, imported.header), {}
    else:
        with encoder_progress(quiet=not sys.stderr.isatty()) as on_progress:
            compressed = library.compress_weights(
                imported.module,
                imported.header,
                library.WeightTarget(**(target or {"max_drop": DEFAULT_DROP})),
                signal=truth,
                preset=preset.value,
                memory=int(memory * GIB),
                seed=seed,
                device=device.value,
                on_progress=on_progress,
            )
        result = sinrfmt.loads(compressed.data)
        quality = {"quality": compressed.quality, "fp32_quality": compressed.float_quality}
    write_atomically(output, result.data)
    summary = report.summary(result) | _figures(result, picture, quality)
    summary["seconds"] = round(time.monotonic() - started, 2)
    print_result(f"{output}: {_line(summary)}", as_json=summary if json_output else None)


def _architecture(library: Any, like: str | None, arch: Path | None) -> Any:
    if like is not None and arch is not None:
        raise error("USAGE", "--like and --arch exclude each other")
    if like is not None:
        return library.ready_architecture(like)
    return None if arch is None else library.read_architecture(arch)


def _widths(given: str | None) -> tuple[int, ...] | None:
    if given is None:
        return None
    parts = given.split(",")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise error("USAGE", f"--widths {given}: expected positive numbers joined by commas")
    return tuple(int(part) for part in parts)


def _code(codes: type[Code], given: str | None, option: str) -> Code | None:
    if given is None:
        return None
    if given.upper() not in codes.__members__:
        raise error("USAGE", f"{option} {given}: expected one of {', '.join(codes.__members__)}")
    return codes[given.upper()]


def _figures(result: sinrfmt.Field, picture: Any, quality: dict[str, float]) -> dict[str, Any]:
    """What is known of the quality: of a picture, the PSNR that a decoder gets, and bits per pixel."""
    figures: dict[str, Any] = {name: _finite(value) for name, value in quality.items()}
    if picture is not None:
        figures["psnr"] = round(metrics.psnr(picture, result.to_samples(picture.dtype)), 4)
    if result.header.grid:
        figures["bpp"] = round(metrics.bits_per_sample(len(result.data), result.header.grid), 5)
    return figures


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return round(value, 4) if math.isfinite(value) else None


def _line(summary: dict[str, Any]) -> str:
    parts = [f"{summary['file_bytes']} bytes"]
    if "bpp" in summary:
        parts.append(f"{summary['bpp']:.3f} bpp")
    if "psnr" in summary:
        parts.append(f"{summary['psnr']:.2f} dB")
    elif summary.get("quality") is not None:
        parts.append(f"{summary['quality']:.2f} dB against the network itself")
    if summary.get("fp32_quality") is not None:
        parts.append(f"float32 network {summary['fp32_quality']:.2f} dB")
    return ", ".join([*parts, f"{summary['parameters']} parameters"])


def export_network(
    source: Annotated[Path, typer.Argument(metavar="IN.sinr")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", help=".pt, .safetensors, .npz, .onnx, or .toml (the architecture)"
        ),
    ],
    passes: Passes = None,
    template: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="Write the tensors under the names and in the form of this one."),
    ] = None,
    like: Like = None,
    arch: Arch = None,
    submodule: Submodule = None,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Write the network of a .sinr file for another tool."""
    library = torch_api()
    suffix = output.suffix.lower()
    if suffix not in library.EXPORT_SUFFIXES:
        raise error("USAGE", f"{output}: expected a name that ends with one of {', '.join(library.EXPORT_SUFFIXES)}")
    if (template is None) != (like is None and arch is None):
        raise error("USAGE", "--template goes with --like or --arch, which say how to read it")
    check_output(output, force)
    architecture = _architecture(library, like, arch)
    field = sinrfmt.load(source, passes=passes)
    with writing(output) as temporary:
        if template is None:
            library.export_field(field, temporary)
        else:
            library.export_into(field, temporary, template, architecture, submodule=submodule)
    n_bytes = output.stat().st_size
    summary = report.summary(field) | {"output_bytes": n_bytes}
    text = f"{output}: {n_bytes} bytes, {summary['parameters']} parameters"
    print_result(text, as_json=summary if json_output else None)
