"""The verbs. Each one reads, calls the library, and prints either a few lines or one JSON object."""

import json
import shutil
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import sinrfmt
from sinrfmt import evaluate, plot, report
from sinrfmt.api import write_atomically, writing
from sinrfmt.cli import exchange, parts, streams
from sinrfmt.cli.batch import engine
from sinrfmt.cli.options import (
    Atoms,
    BasePath,
    Budget,
    Device,
    Force,
    Json,
    Partial,
    Passes,
    PassSizes,
    PresetName,
    Quality,
    Where,
    Workers,
    check_output,
    print_result,
    sizes_of,
    torch_api,
)
from sinrfmt.cli.pictures import (
    BitsPerPixel,
    CodingTool,
    Context,
    ContextName,
    FieldOption,
    Overlap,
    Payload,
    Preset,
    RateWeight,
    Seed,
    ShiftedBase,
    Tiles,
    Tool,
    picture_line,
    picture_options,
    picture_summary,
)
from sinrfmt.cli.progress import OnProgress, encoder_progress
from sinrfmt.faults import error
from sinrfmt.media import image
from sinrfmt.metrics import Samples
from sinrfmt.parts import Range
from sinrfmt.pictures import FieldKind, PictureOptions
from sinrfmt.region import RegionOf
from sinrfmt.registry import Values

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Implicit neural representations as small, exact, portable files.",
)

MODES_OF_OUTPUT = (".npy", ".png")

Points = NDArray[np.float32]


class Depth(StrEnum):
    EIGHT = "8"
    SIXTEEN = "16"


class ShiftTool(StrEnum):
    SCALAR = "scalar"
    SPARSE = "sparse"


DEPTHS: dict[Depth, np.dtype[Any]] = {Depth.EIGHT: np.dtype(np.uint8), Depth.SIXTEEN: np.dtype(np.uint16)}


@app.command()
def encode(
    source: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture: PNG, JPEG, WebP, …")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.sinr", help="The file to write.")],
    preset: Preset = None,
    n_bytes: Budget = None,
    bpp: BitsPerPixel = None,
    psnr: Quality = None,
    passes: PassSizes = None,
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
    keep_network: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Also write the float32 network before quantisation.")
    ] = None,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Fit a network to a picture and write it as a .sinr file."""
    options = picture_options(
        preset=preset,
        n_bytes=n_bytes,
        bpp=bpp,
        psnr=psnr,
        passes=passes,
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
    )
    if options.tiles is None and workers is not None:
        raise error("USAGE", "--workers goes with --tiles")
    if options.tiles is not None and keep_network is not None:
        raise error("USAGE", "--keep-network goes without --tiles")
    for path in (output, keep_network):
        if path is not None:
            check_output(path, force)
    picture = image.read_image(source)
    started = time.monotonic()
    library = torch_api()
    with encoder_progress(quiet=not sys.stderr.isatty()) as on_progress:
        if options.tiles is None:
            encoding = library.encode_picture(picture, options, on_progress=on_progress)
        else:
            encoding = _encode_tiles(picture, options, output, workers, on_progress)
    write_atomically(output, encoding.field.data)
    if keep_network is not None:
        with writing(keep_network) as temporary, temporary.open("wb") as file:
            np.savez(file, **encoding.float_arrays)
    summary = picture_summary(picture, encoding) | {
        "preset": options.chosen_preset,
        "seconds": round(time.monotonic() - started, 2),
    }
    print_result(f"{output}: {picture_line(summary)}", as_json=summary if json_output else None)


def _encode_tiles(
    picture: Samples, options: PictureOptions, output: Path, workers: int | None, on_progress: OnProgress | None
) -> Any:
    """Tiles by processes; their files stay beside the output until it is whole, so that work cut short goes on."""
    library = torch_api()
    folder = output.with_name(f"{output.name}.tiles")
    with engine(workers) as (executor, n_pending):
        work = library.TileWork(folder, executor, n_pending)
        encoding = library.encode_picture(picture, options, work=work, on_progress=on_progress)
    shutil.rmtree(folder)
    return encoding


@app.command()
def encode_set(
    sources: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures that are alike.")],
    output: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write to.")],
    preset: Annotated[PresetName, typer.Option(help="How much work to do.")] = PresetName.FAST,
    base_bytes: Annotated[int | None, typer.Option(min=1, help="About the size of the base.")] = None,
    n_bytes: Budget = None,
    psnr: Quality = None,
    coding: Annotated[ShiftTool, typer.Option(help="Coding tool of the files on the base.")] = ShiftTool.SCALAR,
    atoms: Atoms = None,
    seed: Seed = 0,
    device: Where = Device.AUTO,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Fit one base to several pictures, and write it with a small file for each that only shifts its biases."""
    if n_bytes is not None and psnr is not None:
        raise error("USAGE", "--bytes and --psnr exclude each other")
    if not output.is_dir():
        raise error("USAGE", f"{output}: no such folder")
    paths = [output / f"{source.stem}.sinr" for source in sources]
    if len(set(paths)) < len(paths):
        raise error("USAGE", "two pictures have the same name")
    for path in paths:
        check_output(path, force)
    pictures = [image.read_image(source) for source in sources]
    started = time.monotonic()
    library = torch_api()
    n_atoms = {} if atoms is None else {"n_atoms": atoms}
    way = library.Modulation(
        coding.value, max_bytes=n_bytes, min_psnr=psnr, preset=preset.value, device=device.value, **n_atoms
    )
    with encoder_progress(quiet=not sys.stderr.isatty()) as on_progress:
        encoded = library.encode_set(pictures, way, base_bytes=base_bytes, seed=seed, on_progress=on_progress)
    digest = encoded.base.state_digest.hex()
    base_path = output / f"base-{digest}.sinr"
    write_atomically(base_path, encoded.base.data)
    files = []
    for path, picture, encoding in zip(paths, pictures, encoded.encodings, strict=True):
        write_atomically(path, encoding.field.data)
        files.append({"file": str(path)} | picture_summary(picture, encoding))
    summary = {
        "schema": report.SCHEMA,
        "base": {"file": str(base_path), "state_digest": digest} | report.summary(encoded.base),
        "files": files,
        "preset": preset.value,
        "seconds": round(time.monotonic() - started, 2),
    }
    lines = [f"{base_path}: {len(encoded.base.data)} bytes"]
    lines += [f"{one['file']}: {one['file_bytes']} bytes, {one['psnr']:.2f} dB" for one in files]
    print_result("\n".join(lines), as_json=summary if json_output else None)


@app.command()
def decode(
    source: Annotated[str, typer.Argument(metavar="IN.sinr", help="A file or a URL.")],
    output: Annotated[Path, typer.Argument(metavar="OUT.{npy,png}", help="Float32 values, or a picture.")],
    coords: Annotated[Path | None, typer.Option(metavar="C.npy", help="Coordinates, float32 (n, in_dims).")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Output grid instead of the native one.")] = None,
    bits: Annotated[Depth, typer.Option(help="Bits of a sample of the picture.")] = Depth.EIGHT,
    passes: Passes = None,
    partial: Partial = False,
    base: BasePath = None,
    region: parts.RegionText = None,
    frames: parts.FramesText = None,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Decode a file to values (.npy) or a picture (.png)."""
    if output.suffix not in MODES_OF_OUTPUT:
        raise error("USAGE", f"{output}: expected a name that ends with {' or '.join(MODES_OF_OUTPUT)}")
    check_output(output, force)
    if bits is not Depth.EIGHT and output.suffix != ".png":
        raise error("USAGE", "--bits goes with a picture")
    if coords is not None and (size is not None or output.suffix == ".png"):
        raise error("USAGE", "--coords goes neither with --size nor with a picture")
    if region is not None or frames is not None:
        if size is not None or coords is not None or partial or base is not None:
            raise error("USAGE", "--region and --frames go with --passes only")
        _decode_region(source, output, parts.region_of(region, frames), passes, bits, json_output)
        return
    sizes = sizes_of(size)
    points = None if coords is None else _read_coords(coords)
    with sinrfmt.open(source, passes=passes, partial=partial, base=base) as opened:
        _check_request(opened.header, output, sizes, points)
        result = opened.field
        fetched = streams.fetched(opened)
    values = result.grid(sizes) if points is None else result.sample(points)
    _write_values(output, result.header, values, bits)
    summary = report.summary(result) | fetched
    text = f"{output}: pass {result.n_passes} of {result.header.n_passes}, weights {result.weights_sha256[:16]}…"
    text += streams.fetched_text(fetched)
    print_result(text, as_json=summary if json_output else None)


def _write_values(output: Path, header: sinrfmt.Header, values: Points, depth: Depth) -> None:
    """An array, or a picture of the values of a grid."""
    if output.suffix == ".png":
        samples = evaluate.to_depth(DEPTHS[depth], header.values, values)
        with writing(output) as temporary:
            image.write_png(temporary, samples)
    else:
        with writing(output) as temporary, temporary.open("wb") as file:
            np.save(file, values)


def _decode_region(
    source: str, output: Path, ranges: RegionOf, passes: int | None, depth: Depth, json_output: bool
) -> None:
    def checked(header: sinrfmt.Header) -> Sequence[Range]:
        _check_request(header, output, None, None)
        return ranges(header)

    cut = parts.cut_region(source, checked, passes)
    _write_values(output, cut.header, cut.values, depth)
    text = f"{output}: pass {cut.summary['passes']} of {cut.header.n_passes}{parts.cut_text(cut.summary)}"
    print_result(text, as_json=cut.summary if json_output else None)


def _read_coords(path: Path) -> Points:
    try:
        coords = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as failure:
        raise error("USAGE", f"{path}: {getattr(failure, 'strerror', None) or failure}") from failure
    if not isinstance(coords, np.ndarray) or coords.ndim != 2 or coords.dtype.kind not in "fiu":
        raise error("USAGE", f"{path}: expected an array (n, in_dims) of float32")
    return coords.astype(np.float32)


def _check_request(header: sinrfmt.Header, output: Path, sizes: tuple[int, ...] | None, points: Points | None) -> None:
    """What the caller asks for against what HEAD says, before any weight is decoded (DEC-3, DEC-4)."""
    network = header.network
    if sizes is not None and len(sizes) != network.in_dims:
        raise error("USAGE", f"--size has {len(sizes)} entries, the field has {network.in_dims} axes")
    if points is not None and points.shape[1] != network.in_dims:
        raise error("USAGE", f"--coords has {points.shape[1]} columns, the field has {network.in_dims} axes")
    if output.suffix == ".png" and (network.in_dims != 2 or network.out_channels > 4 or header.values is Values.RAW):
        raise error("USAGE", "only two-dimensional fields of 1 to 4 channels in [0, 1] or [-1, 1] are pictures")
    if sizes is None and points is None and not header.grid:
        raise error("USAGE", "this field has no native grid: give --size or --coords")


@app.command()
def inspect(
    source: Annotated[Path, typer.Argument(metavar="IN.sinr")],
    drawing: Annotated[
        Path | None, typer.Option("--plot", metavar="OUT.png", help="Also draw it: latents, integers, bytes.")
    ] = None,
    base: BasePath = None,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Show what a file holds and where its bytes go."""
    if drawing is not None:
        check_output(drawing, force)
    field = sinrfmt.load(source, base=base)
    description = report.describe(field)
    if drawing is not None:
        with writing(drawing) as temporary:
            plot.draw(field, temporary, title=source.name)
    if json_output:
        print(json.dumps(description))
        return
    console = Console()
    console.print(_head_table(source, description))
    console.print(_layer_table(description))
    if description["levels"]:
        console.print(_level_table(description))
    console.print(_chunk_table(description))


def _head_table(source: Path, description: dict[str, Any]) -> Table:
    table = Table(title=str(source), show_header=False)
    shown = ("version", "profile", "level", "modality", "grid", "coords", "values", "parameters", "passes", "seed")
    digests = ("weights_sha256", "state_digest", "base_digest")
    for key in ("file_bytes", "overhead_bytes", *shown, "input_encoding", "inputs", "multiplies", *digests):
        if description[key] not in (None, []):
            table.add_row(key, str(description[key]))
    for key, value in description["meta"].items():
        table.add_row(f"meta {key}", value)
    for note in description["notes"]:
        table.add_row("note", note)
    return table


def _rows_table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(*("" if row.get(column) is None else str(row[column]) for column in columns))
    return table


def _layer_table(description: dict[str, Any]) -> Table:
    columns = (
        "kind",
        "inputs",
        "outputs",
        "is_output",
        "omega",
        "scale",
        "tool",
        "prior",
        "bits_per_weight",
        "bits_per_bias",
    )
    return _rows_table("layers", description["layers"], columns)


def _level_table(description: dict[str, Any]) -> Table:
    columns = ("level", "shape", "nonzero", "pass", "form", "bits", "bits_per_latent")
    return _rows_table("levels", description["levels"], columns)


def _chunk_table(description: dict[str, Any]) -> Table:
    return _rows_table("chunks", description["chunks"], ("name", "offset", "length", "pass", "coding", "log2_lanes"))


@app.command()
def verify(
    source: Annotated[Path, typer.Argument(metavar="IN.sinr")],
    passes: Passes = None,
    partial: Partial = False,
    base: BasePath = None,
    json_output: Json = False,
) -> None:
    """Check a file: structure, checksums, limits, and every weight."""
    result = sinrfmt.load(source, passes=passes, partial=partial, base=base)
    text = f"{source}: valid, pass {result.n_passes} of {result.header.n_passes}, weights {result.weights_sha256}"
    print_result(text, as_json=report.summary(result) if json_output else None)


app.command()(parts.join)
app.command()(parts.extract)
app.command()(streams.cut)
app.command()(streams.reindex)
app.command("import")(exchange.import_network)
app.command("export")(exchange.export_network)
