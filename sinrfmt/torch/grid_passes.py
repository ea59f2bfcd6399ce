"""Files of latents in several passes: which levels end a pass, and what a reader has after each.

Specification: clauses 6.6 (QUALITY), 9.6.3 and 17. The first pass has the networks and the coarsest levels, every later
one the next finer levels. Networks are not refined: fitted to a prefix anew they gain half a decibel there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import sinrfmt
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import Header
from sinrfmt.network import TensorRole
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding
from sinrfmt.torch.files import build_passes

Passes = int | tuple[int | None, ...]
"""How many, or the bytes up to the end of each; None for as many as it takes, in the last place."""
Quality = Callable[[Field], float]
"""PSNR of a decoded field in dB."""

LEAST_TRAINED = 3
"""Prefixes that are trained, at least, where passes have sizes: which levels end them is not known before."""


@dataclass(frozen=True)
class Prefix:
    """The coarsest levels of a file: how many, bytes up to their end, and PSNR in dB."""

    n_levels: int
    n_bytes: int
    psnr: float


def check_passes(passes: Passes, n_levels: int) -> None:
    """Fail before the training, not after it.

    Raises:
        UsageError: not a number of passes that so many levels can have, or sizes that do not rise.
    """
    n_passes = count_of(passes)
    if not 1 <= n_passes <= n_levels:
        raise error("USAGE", f"passes = {n_passes}: this picture has {n_levels} levels, each of which can end a pass")
    check_order(passes)


def check_order(passes: Passes) -> None:
    """
    Raises:
        UsageError: sizes that do not rise.
    """
    sizes = () if isinstance(passes, int) else passes[:-1] if passes[-1] is None else passes
    if None in sizes or any(a is not None and b is not None and a >= b for a, b in pairwise((0, *sizes))):
        raise error("USAGE", f"passes = {passes}: expected sizes that rise, and None in the last place only")


def budget_of(passes: Passes, max_bytes: int | None, min_psnr: float | None) -> int | None:
    """Bytes of the whole file at most, from whichever says them.

    Raises:
        UsageError: more than one target.
    """
    last_size = None if isinstance(passes, int) or not passes else passes[-1]
    if sum(target is not None for target in (max_bytes, min_psnr, last_size)) > 1:
        raise error("USAGE", "max_bytes, min_psnr and a size of the last pass exclude each other")
    return max_bytes if last_size is None else last_size


def count_of(passes: Passes) -> int:
    """How many passes."""
    return passes if isinstance(passes, int) else len(passes)


def trained_prefixes(passes: Passes, n_levels: int) -> tuple[int, ...]:
    """The numbers of levels that the training is to make a good picture of, beside all of them."""
    n_passes = count_of(passes)
    if not isinstance(passes, int) and n_passes > 1:
        n_passes = min(n_levels, max(n_passes, 1 + LEAST_TRAINED))
    return tuple(_finest(n_passes, n_levels)[:-1])


def build_levels(header: Header, codes: Sequence[TensorCode], passes: Passes, quality: Quality) -> bytes:
    """A file of several passes, which announces the PSNR of each.

    Args:
        header: HEAD of a one-pass file.
        codes: all tensors, in table order.
        passes: how many, or sizes. Sizes that no level ends below are not met; see ``check_sizes``.
        quality: PSNR of a decoded field.

    Raises:
        FormatError, LimitError: the integers or the network cannot be written.
    """
    n_levels = sum(code.tensor.role is TensorRole.LATENT for code in codes)
    if count_of(passes) == 1:
        return build_passes(header, [codes], Coding.RANS)
    if isinstance(passes, int):
        ends = _finest(passes, n_levels)
    else:
        ends = _by_size(_prefixes(_build(header, codes, range(1, n_levels + 1)), quality), passes)
    silent = _build(header, codes, ends)
    announced = [prefix.psnr for prefix in _prefixes(silent, quality)]
    return _build(replace(header, quality=tuple(announced)), codes, ends)


def check_sizes(field: Field, passes: Passes) -> None:
    """Whether every pass ends within its size.

    Raises:
        UsageError: one does not.
    """
    sizes = () if isinstance(passes, int) else passes
    if any(size is not None and end > size for size, end in zip(sizes, field.pass_ends, strict=False)):
        found = ", ".join(map(str, field.pass_ends))
        wanted = ", ".join("full" if size is None else str(size) for size in sizes)
        raise error("USAGE", f"passes end where levels do: here at {found} bytes, which is not within {wanted}")


def _build(header: Header, codes: Sequence[TensorCode], ends: Sequence[int]) -> bytes:
    """A file whose passes end after so many levels."""
    networks = [code for code in codes if code.tensor.role is not TensorRole.LATENT]
    latents = [code for code in codes if code.tensor.role is TensorRole.LATENT]
    groups = [latents[start:stop] for start, stop in pairwise((0, *ends))]
    header = replace(header, n_passes=len(groups))
    return build_passes(header, [[*networks, *groups[0]], *groups[1:]], Coding.RANS)


def _prefixes(data: bytes, quality: Quality) -> list[Prefix]:
    """The prefixes of a file, one a pass."""
    n_passes = sinrfmt.loads(data).header.n_passes
    fields = (sinrfmt.loads(data, passes=index + 1) for index in range(n_passes))
    return [Prefix(index + 1, field.pass_ends[-1], quality(field)) for index, field in enumerate(fields)]


def _finest(n_passes: int, n_levels: int) -> list[int]:
    """Levels up to the end of every pass, where the first has all but the finest ones: those are worth a pass each."""
    return list(range(n_levels - n_passes + 1, n_levels + 1))


def _by_size(prefixes: Sequence[Prefix], sizes: tuple[int | None, ...]) -> list[int]:
    """For every size but the last the most levels within it, and at least one more than before."""
    ends: list[int] = []
    n_levels = len(prefixes)
    for index, size in enumerate(sizes[:-1]):
        first = ends[-1] + 1 if ends else 1
        stop = n_levels - (len(sizes) - 1 - index)
        fitting = [p.n_levels for p in prefixes[first - 1 : stop] if size is not None and p.n_bytes <= size]
        ends.append(max(fitting, default=first))
    return [*ends, n_levels]
