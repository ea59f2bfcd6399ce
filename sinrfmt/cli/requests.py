"""The options of ``encode`` and ``decode`` as records, so that a handler says by name which of them it takes."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sinrfmt.cli.options import CodingTool, ContextName, Depth, Device, PayloadCoding, PicturePreset
from sinrfmt.faults import error
from sinrfmt.pictures import FieldKind, Ladder

COMMON_ENCODE = frozenset({"preset", "n_bytes", "psnr", "field", "rate_weight", "seed", "device"})
"""Options of ``encode`` that every handler takes."""
COMMON_DECODE = frozenset(
    {"passes", "partial", "base", "preview", "step", "size", "scale", "coords", "region", "frames"}
)
"""Options of ``decode`` that writers of values take; a writer of its own names those it takes."""
FLAGS = {"n_bytes": "--bytes"}


def flag(name: str) -> str:
    """The option of a field of a request."""
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


@dataclass(frozen=True)
class EncodeRequest:
    """The options of ``encode``; an option that is not given has its default.

    An option of one modality is a field here, a parameter of the verb of the same name, and in ``options`` of the
    handlers that take it. ``output`` is where the file will be written, by the verb.
    """

    output: Path
    preset: PicturePreset | None = None
    n_bytes: int | None = None
    bpp: float | None = None
    psnr: float | None = None
    passes: str | None = None
    ladder: Ladder = Ladder.AUTO
    previews: str | None = None
    field: FieldKind = FieldKind.AUTO
    context: ContextName = ContextName.INTERLACED
    rate_weight: float | None = None
    tiles: int | None = None
    overlap: int | None = None
    coding: CodingTool = CodingTool.SCALAR
    payload: PayloadCoding | None = None
    seed: int = 0
    device: Device = Device.AUTO
    base: Path | None = None
    atoms: int | None = None
    workers: int | None = None
    group: int | None = None
    keep_network: Path | None = None
    variable: str | None = None
    fill: float | None = None
    channel_axis: int | None = None
    iou: float | None = None

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that do not have their default."""
        return _given(self) - {"output"}

    def field_by_size(self, grid_bytes: int, *, needs_grid: bool) -> tuple[FieldKind, str | None]:
        """What holds the signal, and why, where it was not asked for.

        Args:
            grid_bytes: size of a file from which on a grid is better.
            needs_grid: whether another option goes with grids alone.
        """
        if self.field is not FieldKind.AUTO:
            return self.field, None
        if needs_grid:
            return FieldKind.GRID, "options that grids alone have"
        if self.n_bytes is None:
            return FieldKind.GRID, "a grid where no size is asked for"
        field = FieldKind.GRID if self.n_bytes >= grid_bytes else FieldKind.MLP
        return field, f"{self.n_bytes} bytes; a grid from {grid_bytes} bytes on"


@dataclass(frozen=True)
class DecodeRequest:
    """The options of ``decode``; an option that is not given has its default. Fields as in :class:`EncodeRequest`."""

    coords: Path | None = None
    size: str | None = None
    scale: float | None = None
    bits: Depth = Depth.EIGHT
    passes: int | None = None
    partial: bool = False
    base: Path | None = None
    preview: int | None = None
    step: int | None = None
    region: str | None = None
    frames: str | None = None
    view: int | None = None
    views: int | None = None
    camera: Path | None = None
    device: Device | None = None
    samples: bool = False

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that do not have their default."""
        return _given(self)


def _given(request: Any) -> frozenset[str]:
    return frozenset(one.name for one in fields(request) if getattr(request, one.name) != one.default)


def check_options(given: frozenset[str], taken: frozenset[str], what: str) -> None:
    """
    Raises:
        UsageError: an option that is not taken.
    """
    for name in sorted(given - taken):
        raise error("USAGE", f"{flag(name)} does not go with {what}")
