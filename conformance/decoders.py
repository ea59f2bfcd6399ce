"""Both decoders of the project in one process: `reference_decoder` and `sinrfmt` give verdicts of one form (clause 15).

They are imported by name: the import contracts keep the decoders apart, and this module only compares what they say.
What they make of a HEAD depends on its bytes alone, so programs that ask about thousands of files with the same one may
have them remember it, which halves the time (clause 6).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

import numpy as np

NAMES = ("reference_decoder", "sinrfmt")
DIAGONAL = (0.25, -0.75)  # points at which a decoded field is evaluated
MOST_WEIGHTS_EVALUATED = 1 << 16  # larger networks would take the time of thousands of small files
HEADS = 4096  # that are remembered; the small vectors have a third as many
# Answers that depend on the machine, not on the file.
MACHINE = {"CODEC_MISSING"}


@dataclass(frozen=True)
class Given:
    """A file and how it is asked for; `base`: the file of clause 9.8."""

    data: bytes
    passes: int | None = None
    partial: bool = False
    base: bytes | None = None


@dataclass(frozen=True)
class Verdict:
    """An error with its offset, or the digests of what was decoded."""

    name: str = ""
    code: int = 0
    error_class: str = ""
    offset: int | None = None
    weights_sha256: str = ""
    acc_crc: tuple[int, ...] = ()
    passes: int = 0

    def __str__(self) -> str:
        return f"{self.name} at {self.offset}" if self.name else f"{self.passes} passes, {self.weights_sha256[:16]}"


@dataclass(frozen=True)
class Answers:
    """What both decoders say; `words` is the library's sentence on its error."""

    reference: Verdict
    library: Verdict
    words: str = ""

    @property
    def agree(self) -> bool:
        """Whether both took the same decision for the same reason at the same place."""
        return self.reference == self.library or bool(MACHINE & {self.reference.name, self.library.name})

    def __str__(self) -> str:
        return f"reference_decoder: {self.reference}; sinrfmt: {self.library}"


def ask_both(given: Given) -> Answers:
    """The verdicts of both decoders. An exception that is no coded error passes through: it is a crash."""
    first = by_reference(given)
    second, words = by_library(given)
    return Answers(first, second, words)


def by_reference(given: Given) -> Verdict:
    """The verdict of `reference_decoder`; raises what it raises beside DecodeError."""
    decoder = _module("reference_decoder")
    try:
        field = decoder.decode(given.data, passes=given.passes, partial=given.partial, base=given.base)
    except decoder.DecodeError as error:
        return Verdict(error.name, error.code, error.class_, error.offset)
    _evaluate(field, field.values.size, field.head.in_dims)
    return Verdict(weights_sha256=field.weights_sha256, acc_crc=tuple(field.acc_crc), passes=field.passes)


def by_library(given: Given) -> tuple[Verdict, str]:
    """The verdict of `sinrfmt`, and its words; raises what it raises beside SinrError."""
    library = _module("sinrfmt")
    try:
        field = library.loads(given.data, passes=given.passes, partial=given.partial, base=given.base)
    except _module("sinrfmt.errors").SinrError as error:
        return Verdict(error.name, error.code, error.error_class, error.offset), str(error)
    _evaluate(field, sum(state.acc.size for state in field.states), field.header.network.in_dims)
    crcs = tuple(field.acc_crc)
    return Verdict(weights_sha256=field.weights_sha256, acc_crc=crcs, passes=field.n_passes), ""


def _evaluate(field: Any, n_weights: int, in_dims: int) -> None:
    """Values of a small field: any weights must evaluate, to infinities too."""
    if n_weights <= MOST_WEIGHTS_EVALUATED:
        with np.errstate(all="ignore"):
            field.sample(np.array([[x] * in_dims for x in DIAGONAL], np.float32))


@contextmanager
def heads(*, remembered: bool) -> Iterator[None]:
    """Whether both decoders read a HEAD anew that they have read before. One that is wrong is always read anew."""
    library, reference = _module("sinrfmt.container"), _module("reference_decoder")
    before = library.parse_head, reference.read_head
    library.parse_head, reference.read_head = _head_readers(remembered)
    try:
        yield
    finally:
        library.parse_head, reference.read_head = before


@cache
def _head_readers(remembered: bool) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """The functions of `sinrfmt` and of `reference_decoder` that read a HEAD."""
    parse, read = _module("sinrfmt.head").parse_head, _module("reference_decoder.head").read_head
    if not remembered:
        return parse, read
    payload = _module("reference_decoder.container").Payload

    @lru_cache(HEADS)
    def read_at(start: int, data: bytes) -> Any:
        return read(payload(memoryview(bytes(start) + data), start, start + len(data)))

    return lru_cache(HEADS)(parse), lambda p: read_at(p.at, bytes(p.data[p.at : p.end]))


@cache
def _module(name: str) -> Any:
    return import_module(name)
