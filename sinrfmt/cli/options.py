"""What the verbs have in common: options, checks before the work, one way to print a result."""

import json
import re
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from sinrfmt.faults import error

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing output.")]
Passes = Annotated[int | None, typer.Option("--passes", min=1, help="Decode the first N passes only.")]
PreviewNumber = Annotated[
    int | None, typer.Option("--preview", metavar="K", min=0, help="A preview of the file instead, from 0 on.")
]
StepNumber = Annotated[
    int | None, typer.Option("--step", metavar="K", min=1, help="What is there after K steps: previews, then passes.")
]
Partial = Annotated[bool, typer.Option("--partial", help="Take the last whole pass of a file that ends early.")]
BasePath = Annotated[
    Path | None, typer.Option("--base", metavar="BASE.sinr", help="The file that the weights are relative to.")
]
Atoms = Annotated[int | None, typer.Option(min=1, help="Numbers of a layer, with a base and --coding sparse.")]
Budget = Annotated[int | None, typer.Option("--bytes", min=1, help="Size of the file at most.")]
Quality = Annotated[float | None, typer.Option("--psnr", min=0, help="PSNR at least, in dB.")]

Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes of this machine; one for each core when not given."),
]
PassSizes = Annotated[
    str | None, typer.Option("--passes", metavar="N|SIZE,…", help="Steps: how many, or sizes such as 2kB,8kB,full.")
]

PreviewSizes = Annotated[
    str | None,
    typer.Option("--previews", metavar="N|SIZE,…", help="Small files in front: 1 to 3, or sizes such as 500B,2kB."),
]

SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(B|kB|MB|KiB|MiB)?")
UNITS = {None: 1, "B": 1, "kB": 1000, "MB": 1000_000, "KiB": 1 << 10, "MiB": 1 << 20}
FULL = "full"
MAX_PASSES = 255


class PresetName(StrEnum):
    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class PicturePreset(StrEnum):
    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"
    PYRAMID = "pyramid"
    PYRAMID_FAST = "pyramid-fast"
    PYRAMID_LARGE = "pyramid-large"
    PYRAMID_BEST = "pyramid-best"
    SHACIRA = "shacira"


class ContextName(StrEnum):
    FACTORISED = "factorised"
    INTERLACED = "interlaced"
    SERIAL = "serial"


class CodingTool(StrEnum):
    SCALAR = "scalar"
    SPARSE = "sparse"
    SINR_PAPER = "sinr-paper"


class PayloadCoding(StrEnum):
    PACKED = "packed"
    RANS = "rans"
    ZLIB = "zlib"
    BROTLI = "brotli"
    ZSTANDARD = "zstandard"


class Depth(StrEnum):
    EIGHT = "8"
    SIXTEEN = "16"


Where = Annotated[Device, typer.Option(help="Where to fit the network.")]


def check_output(path: Path, force: bool) -> None:
    """Fail before the work, not after it.

    Raises:
        UsageError: the file is there, or cannot be.
    """
    if path.exists() and not force:
        raise error("USAGE", f"{path} exists; --force overwrites it")
    if path.is_dir():
        raise error("USAGE", f"{path} is a folder")
    if not path.parent.is_dir():
        raise error("USAGE", f"{path.parent}: no such folder")


def check_folder(path: Path) -> None:
    """The same for an output that is a folder: it may be there if it is empty.

    Raises:
        UsageError: it holds something, or cannot be.
    """
    if path.is_dir() and any(path.iterdir()):
        raise error("USAGE", f"{path} is a folder that is not empty")
    if path.is_file():
        raise error("USAGE", f"{path} exists and is no folder; the suffix of an output says what to write")
    if not path.parent.is_dir():
        raise error("USAGE", f"{path.parent}: no such folder")


def read_input(path: Path) -> bytes:
    """
    Raises:
        UsageError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as failure:
        raise error("USAGE", f"{path}: {failure.strerror}") from failure


def print_result(text: str, *, as_json: dict[str, Any] | None) -> None:
    """A line, or one JSON object."""
    print(json.dumps(as_json) if as_json is not None else text)


def torch_api() -> Any:
    """:mod:`sinrfmt.torch`.

    Raises:
        UsageError: torch is not installed.
    """
    try:
        import sinrfmt.torch
    except ImportError as failure:
        raise error("USAGE", f"{failure.name} is not installed: pip install 'sinrfmt[torch]'") from failure
    return sinrfmt.torch


def sizes_of(size: str | None) -> tuple[int, ...] | None:
    """``WxH``, last axis first, as sizes in axis order.

    Raises:
        UsageError: not positive numbers joined by x.
    """
    if size is None:
        return None
    parts = size.split("x")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise error("USAGE", f"--size {size}: expected positive numbers joined by x, last axis first (WxH)")
    return tuple(int(part) for part in reversed(parts))


def passes_of(text: str) -> int | tuple[int | None, ...]:
    """``--passes`` of an encoder: ``N`` as a number of passes, ``SIZE,SIZE,...,full`` as bytes up to each pass's end.

    A size is a number with B, kB, MB, KiB or MiB behind it, or without a unit, in bytes; a lone number is a number of
    passes. None stands for ``full``, which only the last pass may be: as large as it comes.

    Raises:
        UsageError: neither, more than 255 passes, or sizes that do not rise.
    """
    if text.isascii() and text.isdigit():
        return _count_of(text)
    parts = text.split(",")
    is_full = parts[-1] == FULL
    sizes = [_bytes_of(part, f"--passes {text}") for part in (parts[:-1] if is_full else parts)]
    if len(parts) > MAX_PASSES or any(after <= before for before, after in pairwise([0, *sizes])):
        raise error("USAGE", f"--passes {text}: expected at most {MAX_PASSES} sizes, each above the one before")
    return (*sizes, None) if is_full else tuple(sizes)


def previews_of(text: str) -> int | tuple[int, ...]:
    """``--previews`` of an encoder: ``N`` as a number, ``SIZE,SIZE,...`` as the bytes of each at most.

    Raises:
        UsageError: neither.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    return tuple(_bytes_of(part, f"--previews {text}") for part in text.split(","))


def _count_of(text: str) -> int:
    if not 1 <= int(text) <= MAX_PASSES:
        raise error("USAGE", f"--passes {text}: expected 1 to {MAX_PASSES} passes")
    return int(text)


def _bytes_of(part: str, option: str) -> int:
    match = SIZE.fullmatch(part)
    if match is None:
        raise error("USAGE", f"{option}: expected a number, or sizes such as 2kB,8kB")
    return int(float(match[1]) * UNITS[match[2]])
