"""Negative vectors as minimal pairs: a valid parent, a patch that makes one fault, check values made right again."""

import struct
import zlib
from dataclasses import dataclass

from conformance.generate.build import HEADER_BYTES, TRAILER_BYTES, Built
from conformance.generate.primitives import Mark, crc8


@dataclass(frozen=True)
class Edit:
    """Replace the bytes from a mark on: `size` bytes (None: those of the field) become `new`."""

    at: str
    new: bytes
    plus: int = 0
    size: int | None = None


@dataclass(frozen=True)
class Bits:
    """Give a bit field of a tensor table another value."""

    at: str
    value: int


@dataclass(frozen=True)
class Flip:
    """Invert the bits of a mask in one byte."""

    at: str
    mask: int = 1
    plus: int = 0


Change = Edit | Bits | Flip


@dataclass(frozen=True)
class Patch:
    """An edit with its place: these bytes at this offset of the parent were `old`."""

    offset: int
    old: bytes
    new: bytes


def resolve(edit: Change, parent: Built) -> Patch:
    """The bytes an edit stands for."""
    mark = parent.marks[edit.at]
    if isinstance(edit, Flip):
        start = mark.offset + edit.plus
        byte = parent.data[start]
        return Patch(start, bytes([byte]), bytes([byte ^ edit.mask]))
    if isinstance(edit, Edit):
        start = mark.offset + edit.plus
        size = mark.n_bits // 8 if edit.size is None else edit.size
        return Patch(start, parent.data[start : start + size], edit.new)
    size = (mark.bit + mark.n_bits + 7) // 8
    old = parent.data[mark.offset : mark.offset + size]
    mask = ((1 << mark.n_bits) - 1) << mark.bit
    number = int.from_bytes(old, "little") & ~mask | edit.value << mark.bit
    return Patch(mark.offset, old, number.to_bytes(size, "little"))


def apply(parent: Built, patches: list[Patch], reseal: tuple[str, ...]) -> Built:
    """Patch a file, move the marks behind each patch, and make the named check values right again.

    `reseal` names `length`, `hcheck` and `crc32`, each made right in every chunk where it stands, or in one chunk
    if its label comes before, as in `HEAD.crc32`.
    """
    data = bytearray(parent.data)
    marks = dict(parent.marks)
    for patch in sorted(patches, key=lambda p: p.offset, reverse=True):
        end = patch.offset + len(patch.old)
        if data[patch.offset : end] != patch.old:
            raise ValueError(f"the parent does not have {patch.old.hex()} at {patch.offset}")
        data[patch.offset : end] = patch.new
        moved = len(patch.new) - len(patch.old)
        kept = {name: mark for name, mark in marks.items() if not patch.offset < mark.offset < end}
        marks = {name: _moved(mark, end, moved) for name, mark in kept.items()}
    if reseal:
        _reseal(data, marks, reseal)
    return Built(bytes(data), marks, parent.acc_crcs)


def _moved(mark: Mark, end: int, by: int) -> Mark:
    return Mark(mark.offset + by, mark.bit, mark.n_bits) if mark.offset >= end else mark


def _reseal(data: bytearray, marks: dict[str, Mark], reseal: tuple[str, ...]) -> None:
    labels = [name.removesuffix(".type") for name in marks if name.endswith(".type")]
    labels = [label for label in labels if f"{label}.crc32" in marks]
    labels.sort(key=lambda label: marks[f"{label}.type"].offset)
    start = 0
    for label in labels:
        head, tail = marks[f"{label}.type"].offset, marks[f"{label}.crc32"].offset
        if {"length", f"{label}.length"} & set(reseal):
            data[head + 1 : head + 4] = struct.pack("<I", tail - head - HEADER_BYTES)[:3]
        if {"hcheck", f"{label}.hcheck"} & set(reseal):
            data[head + 4] = crc8(bytes(data[head : head + 4]))
        if {"crc32", f"{label}.crc32"} & set(reseal):
            data[tail : tail + TRAILER_BYTES] = struct.pack("<I", zlib.crc32(data[head:tail], start))
        if label == labels[0]:
            start = struct.unpack("<I", data[tail : tail + TRAILER_BYTES])[0]
