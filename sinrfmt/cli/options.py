"""What the verbs have in common: options, checks before the work, one way to print a result."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sinrfmt.faults import error

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing output.")]
Passes = Annotated[int | None, typer.Option("--passes", min=1, help="Decode the first N passes only.")]
Partial = Annotated[bool, typer.Option("--partial", help="Take the last whole pass of a file that ends early.")]
BasePath = Annotated[
    Path | None, typer.Option("--base", metavar="BASE.sinr", help="The file that the weights are relative to.")
]
Atoms = Annotated[int | None, typer.Option(min=1, help="Numbers of a layer, with a base and --coding sparse.")]
Budget = Annotated[int | None, typer.Option("--bytes", min=1, help="Size of the file at most.")]
Quality = Annotated[float | None, typer.Option("--psnr", min=0, help="PSNR at least, in dB.")]


class PresetName(StrEnum):
    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


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
