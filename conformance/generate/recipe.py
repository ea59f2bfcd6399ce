"""The forms of a recipe, and helpers that choose small integers for a network's tensors."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from conformance.generate.build import step_code
from conformance.generate.describe import PACKED, RANS, RAW, Entry, File, Head, Pass, Tensor
from conformance.generate.faults import Change

EVERY_CHECK = ("length", "hcheck", "crc32")  # what an edit makes right again, if it says nothing else


@dataclass(frozen=True)
class Valid:
    """A file that every decoder of its profile must decode.

    `coords`: points (n, in_dims) for `--coords`; `size`: sizes by axis for `--size`; both None: the native grid.
    `each_pass`: `--passes N` for every N too. `prefixes`: cuts at every structural boundary and beside it.
    `base`: the vector whose file is for `--base`. `options`: arguments beside these.
    """

    name: str
    title: str
    clauses: tuple[str, ...]
    file: File
    coords: tuple[tuple[float, ...], ...] | None = None
    size: tuple[int, ...] | None = None
    each_pass: bool = False
    prefixes: bool = False
    optional: bool = False
    base: str | None = None
    options: str = ""


@dataclass(frozen=True)
class Invalid:
    """A file with exactly one fault: a patched parent, or a description that is wrong in one place.

    `error` is a name of the registry; `at` a mark of the built file, `plus` bytes further. `whole_passes`: with
    `--passes` up to this number the fault is not read, and with `--partial` it still is an error. `also`: options
    under which the fault is read all the same. `base`: the vector whose file is for `--base`; by itself the
    parent's, and none where it is empty.
    """

    name: str
    title: str
    clauses: tuple[str, ...]
    parent: str
    error: str
    at: str
    edits: tuple[Change, ...] = ()
    file: File | None = None
    plus: int = 0
    reseal: tuple[str, ...] = EVERY_CHECK
    whole_passes: int = 0
    also: tuple[str, ...] = ()
    base: str | None = None


@dataclass(frozen=True)
class Call:
    """A file of another vector called wrongly. `coords`: bytes of the file for `--coords`; `base`: as for Valid.

    `error`: USAGE, or one that the call makes, at a mark of the file.
    """

    name: str
    title: str
    clauses: tuple[str, ...]
    parent: str
    args: tuple[str, ...]
    coords: bytes | None = None
    base: str | None = None
    error: str = "USAGE"
    at: str | None = None


Recipe = Valid | Invalid | Call


def numbers(count: int, spread: int, salt: int = 0) -> tuple[int, ...]:
    """Integers in -spread … spread that look irregular; a fixed linear congruence, no library's generator."""
    state = 12345 + 7919 * salt
    out = []
    for _ in range(count):
        state = (1103515245 * state + 12345) & 0x7FFFFFFF
        out.append((state >> 8) % (2 * spread + 1) - spread)
    return tuple(out)


def patterns(count: int, half: bool, salt: int = 0) -> tuple[int, ...]:
    """Bit patterns of binary16 or binary32 numbers below 1 in magnitude."""
    values = [v / 1024 for v in numbers(count, 900, salt)]
    return tuple(struct.unpack("<H" if half else "<I", struct.pack("<e" if half else "<f", v))[0] for v in values)


def entry_for(tensor: Tensor, spread: int, **fields: Any) -> Entry:
    """An entry with irregular values."""
    if tensor.layer.tool == RAW:
        return Entry(values=patterns(tensor.size, tensor.layer.half, tensor.ordinal))
    given = {"step": step_code(-4), **fields}
    return Entry(values=numbers(tensor.size, spread, tensor.ordinal), **given)


def entries(head: Head, spread: int = 12, **fields: Any) -> tuple[Entry, ...]:
    """One entry for each tensor of pass 0."""
    return tuple(entry_for(tensor, spread, **fields) for tensor in head.tensors())


def base(head: Head, spread: int = 12, coding: int = RANS, log2_lanes: int = 0, **fields: Any) -> File:
    """A file of one pass."""
    return File(head, (Pass(entries(head, spread, **fields), coding, log2_lanes),))


def packed(head: Head, spread: int = 12, coding: int = PACKED, **fields: Any) -> File:
    """A file of one pass of packed values, compressed or not."""
    return base(head, spread, coding, **fields)


def with_entry(file: File, index: int, number: int = 0, **changes: Any) -> File:
    """The same file with other fields in one entry of one pass."""
    changed = file.passes[number]
    rows = list(changed.entries)
    rows[index] = replace(rows[index], **changes)
    return with_pass(file, number, entries=tuple(rows))


def with_pass(file: File, number: int, **changes: Any) -> File:
    """The same file with other fields in one pass."""
    passes = list(file.passes)
    passes[number] = replace(passes[number], **changes)
    return replace(file, passes=tuple(passes))


def with_head(file: File, **changes: Any) -> File:
    """The same file with other fields in HEAD."""
    return replace(file, head=replace(file.head, **changes))


def points(in_dims: int, count: int = 5) -> tuple[tuple[float, ...], ...]:
    """Coordinates that binary32 holds exactly."""
    flat: Sequence[int] = numbers(count * in_dims, 64, 3)
    return tuple(tuple(v / 64 for v in flat[i * in_dims : (i + 1) * in_dims]) for i in range(count))
