"""What a modality gives the verbs ``encode`` and ``decode``, a handler, and what its writers are given.

A handler is one constant, ``HANDLER``, of one module beside this one. :mod:`sinrfmt.cli.modalities` has the table of
all of them and refuses what a handler does not take. Nothing here fits, reads or writes anything of one modality.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sinrfmt
from sinrfmt import report
from sinrfmt.api import LazyField
from sinrfmt.cli import parts, streams
from sinrfmt.cli.progress import OnProgress
from sinrfmt.cli.requests import COMMON_DECODE, DecodeRequest, EncodeRequest
from sinrfmt.head import Header
from sinrfmt.parts import Range
from sinrfmt.region import RegionOf
from sinrfmt.registry import Modality

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """What a handler made.

    Attributes:
        data: the bytes of the file.
        summary: what ``--json`` says; PSNR and what the modality reports beside it.
        line: the same for people, without the name of the file.
        float_arrays: of ``--keep-network``: float32 array by tensor name before quantisation.
    """

    data: bytes
    summary: Mapping[str, Any]
    line: str
    float_arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def held_by(summary: Mapping[str, Any]) -> str:
    """What holds the signal, and where nobody asked for it why: the end of a line."""
    return str(summary["field"]) + (f" ({summary['reason']})" if summary["reason"] else "")


class Decoding:
    """A file to decode and what is asked for, for writers: nothing but HEAD is read before ``field`` or ``values``.

    Attributes:
        header: what HEAD says.
        request: the options.
        size: samples on every axis of the grid asked for; None where coordinates or a region are.
    """

    def __init__(self, source: str, opened: LazyField, request: DecodeRequest, plan: "Plan") -> None:
        self.header: Header = opened.header
        self.request = request
        self.size = None if plan.coords is not None or plan.ranges is not None else plan.size or opened.header.grid
        self._source = source
        self._opened = opened
        self._plan = plan

    @cached_property
    def field(self) -> sinrfmt.Field:
        """The decoded field; all weights, checked."""
        return self._opened.field

    @property
    def ranges(self) -> Sequence[Range] | None:
        """Of the samples of a region, on every axis; None where something else is asked for."""
        return None if self._plan.ranges is None else self._plan.ranges(self.header)

    @cached_property
    def _cut(self) -> parts.Cut:
        assert self._plan.ranges is not None
        return parts.cut_region(self._source, self.header, self._plan.ranges, self.request.passes)

    @property
    def meta(self) -> Mapping[str, str]:
        """Keys and values of META; of a region of a file with parts where it came with its first bytes."""
        return self.field.meta if self._plan.ranges is None else self._cut.meta

    @cached_property
    def values(self) -> Values:
        """What is asked for: float32 (*sizes, out_channels), or (n, out_channels) at coordinates; not clamped."""
        if self._plan.ranges is not None:
            return self._cut.values
        if self._plan.coords is not None:
            return self.field.sample(self._plan.coords)
        return self.field.grid(self.size)

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` says about what was decoded."""
        if self._plan.ranges is not None:
            return self._cut.summary
        return report.summary(self.field) | streams.fetched(self._opened)

    @property
    def line(self) -> str:
        """The same for people."""
        if self._plan.ranges is not None:
            n_passes = self._cut.summary["passes"]
            return f"pass {n_passes} of {self.header.n_passes}{parts.cut_text(self._cut.summary)}"
        found = self.field
        text = f"pass {found.n_passes} of {found.header.n_passes}, weights {found.weights_sha256[:16]}…"
        return text + streams.fetched_text(streams.fetched(self._opened))


@dataclass(frozen=True)
class Plan:
    """Where the values are wanted; at most one is set. None of them: on the native grid."""

    size: tuple[int, ...] | None = None
    coords: Values | None = None
    ranges: RegionOf | None = None


def anything(header: Header, request: DecodeRequest) -> None:
    """The check of a writer that takes every field."""


@dataclass(frozen=True)
class Writer:
    """A way to write a field to a path.

    Attributes:
        write: writes to the path given, which is a temporary file that then takes the place of the output (for a folder
            the output itself, which is there and empty); returns what it adds to the summary.
        check: of HEAD and request before any weight is decoded.
        options: of ``decode`` that it takes.
        needs_grid: whether a field without a native grid needs ``--size``, ``--scale`` or ``--coords``.
        is_cubic: whether one number of ``--size`` stands for every axis.
        draws: whether ``--size`` is that of what it draws, which it takes from the request.
    """

    write: Callable[[Path, Decoding], Mapping[str, Any]]
    check: Callable[[Header, DecodeRequest], None] = anything
    options: frozenset[str] = COMMON_DECODE
    needs_grid: bool = True
    is_cubic: bool = False
    draws: bool = False


@dataclass(frozen=True)
class Handler:
    """One modality of the command line.

    Attributes:
        name: as ``--modality`` has it.
        modalities: of HEAD, whose files ``decode`` gives to these writers.
        suffixes: of inputs, lower case with the dot.
        takes: whether an input that has none of the suffixes, or whose suffix several handlers have, is one of these:
            looks at a folder's names or an array's shape; must be quick and must not raise.
        options: of ``encode`` that it takes beside the common ones.
        encode: reads the input and fits. Raises UsageError for what it cannot do, options first.
        writers: by suffix of the output, the dot included; "" is a folder.
        shown: what ``view`` writes: a suffix, and its writer where it is not that of ``decode``.
        fixed_axes: leading axes that ``--scale`` leaves as they are.
    """

    name: str
    modalities: frozenset[Modality]
    suffixes: frozenset[str]
    encode: Callable[[Path, EncodeRequest, OnProgress | None], Encoded]
    options: frozenset[str] = frozenset()
    writers: Mapping[str, Writer] = field(default_factory=dict)
    shown: tuple[str, Writer | None] = (".png", None)
    takes: Callable[[Path], bool] = lambda path: False
    fixed_axes: int = 0


def scaled(grid: Sequence[int], scale: float, fixed_axes: int) -> tuple[int, ...]:
    """A native grid with so many times the samples on every axis but the first ``fixed_axes``."""
    return tuple(n if axis < fixed_axes else max(1, round(n * scale)) for axis, n in enumerate(grid))
