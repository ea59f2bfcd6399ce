"""The verbs. Each one reads, calls the library, and prints either a few lines or one JSON object."""

import json
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import sinrfmt
from sinrfmt import plot, report
from sinrfmt.api import write_atomically, writing
from sinrfmt.cli import exchange, parts, streams
from sinrfmt.cli.decoding import decode, view
from sinrfmt.cli.encoding import encode
from sinrfmt.cli.options import (
    Atoms,
    BasePath,
    Budget,
    Device,
    Force,
    Json,
    Partial,
    Passes,
    PresetName,
    Quality,
    Where,
    check_output,
    print_result,
    torch_api,
)
from sinrfmt.cli.pictures import (
    Seed,
    picture_summary,
)
from sinrfmt.cli.progress import encoder_progress
from sinrfmt.faults import error
from sinrfmt.media import image

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Implicit neural representations as small, exact, portable files.",
)


class ShiftTool(StrEnum):
    SCALAR = "scalar"
    SPARSE = "sparse"


app.command()(encode)


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


app.command()(decode)
app.command()(view)


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
    if description["previews"]:
        console.print(_preview_table(description))
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


def _preview_table(description: dict[str, Any]) -> Table:
    columns = ("preview", "payload_bytes", "grid", "parameters", "quality")
    rows = [{"preview": number} | row for number, row in enumerate(description["previews"])]
    return _rows_table("previews", rows, columns)


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
