"""The decoded function: coordinates to values.

Specification: clauses 15 and 16. A field is immutable and keeps the bytes it came from, so saving it is exact.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, reduce
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sinrfmt import evaluate
from sinrfmt.base import state_digest
from sinrfmt.faults import error
from sinrfmt.grids import Frame
from sinrfmt.head import Header
from sinrfmt.lattice import Lattice
from sinrfmt.metrics import Samples
from sinrfmt.network import PyramidEncoding
from sinrfmt.parts import (
    SHARED_PART,
    Doubles,
    Parts,
    Range,
    coord_positions,
    grid_positions,
    part_coords,
    scattered,
    stretches,
)
from sinrfmt.payload import States
from sinrfmt.previews import Preview
from sinrfmt.weights import whole_weights

OUTPUT_VALUES_LIMIT = 1 << 30  # LIMIT_CALLER: 4 GiB of float32


def check_region(ranges: Sequence[Range], size: Sequence[int]) -> None:
    """Whether a region is one of a grid.

    Raises:
        UsageError: it is not.
    """
    fits = len(ranges) == len(size) and all(0 <= a < b <= n for (a, b), n in zip(ranges, size, strict=False))
    if not size or not fits:
        raise error("USAGE", f"the region {list(ranges)} is not inside a grid of {tuple(size)}")


def part_states(header: Header, states: States, number: int) -> States:
    """The tensors of one part among those of a file with parts, the shared ones first."""
    n_shared = len(header.of_chunk(SHARED_PART).tensors) if header.parts is not None and header.parts.shared else 0
    n_own = len(header.of_chunk(number).tensors)
    start = n_shared + number * n_own
    return (*states[:n_shared], *states[start : start + n_own])


def part_field(header: Header, number: int, states: States) -> "Field":
    """A part as a field of its own; ``header`` is that of the whole file."""
    own = header.of_part(number)
    return Field(b"", own, states, weights_sha256="", acc_crc=(), pass_ends=(), meta={}, notes=())


def region_values(
    header: Header, ranges: Sequence[Range], size: Sequence[int], part: "Callable[[int], Field]"
) -> NDArray[np.float32]:
    """Values of a field with parts on some of the samples of a grid (clause 13.1).

    Args:
        header: of the file.
        ranges: first index and end along every axis.
        size: samples of the whole grid along every axis.
        part: gives a part as a field of its own; called once for each part that has a weight in the region.

    Returns:
        float32[*lengths, out_channels], not clamped.
    """
    parts = header.parts
    assert parts is not None
    out = np.zeros((*(stop - start for start, stop in ranges), header.network.out_channels), dtype=np.float32)
    positions = [grid_positions(n, m, chosen) for n, m, chosen in zip(parts.grid, size, ranges, strict=True)]
    shares = [stretches(axis, along) for axis, along in zip(parts.axes, positions, strict=True)]
    for group in product(*shares):
        place = np.ix_(*(share.chosen for share in group))
        weights = [share.weights.astype(np.float32) for share in group]
        own = part(parts.number([share.part for share in group]))
        chosen = [along[share.chosen] for along, share in zip(positions, group, strict=True)]
        values = _part_values(own, parts, [share.part for share in group], chosen, is_native=tuple(size) == parts.grid)
        out[place] += values * reduce(np.multiply.outer, weights)[..., None]
    return out


def _part_values(
    field: "Field", parts: Parts, places: Sequence[int], positions: Sequence[Doubles], *, is_native: bool
) -> NDArray[np.float32]:
    """Values of a part at the outer product of positions on the axes."""
    if is_native:
        starts = [axis.lattice(place)[0] for axis, place in zip(parts.axes, places, strict=True)]
        ends = [(int(along[0]), int(along[-1]) + 1) for along in positions]
        return field.region([(first - at, end - at) for (first, end), at in zip(ends, starts, strict=True)])
    axes = [part_coords(*pair) for pair in zip(parts.axes, places, positions, strict=True)]
    coords = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return field.sample(coords)


class Previews:
    """The previews of a file (clause 12.4), smallest first: each is decoded when it is first asked for.

    Attributes:
        files: their bytes and headers.
    """

    def __init__(self, files: Sequence[Preview] = (), decode: "Callable[[bytes], Field] | None" = None) -> None:
        self.files = tuple(files)
        self._decode = decode
        self._decoded: dict[int, Field] = {}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> "Field":
        """
        Raises:
            IndexError: there is none of this number.
            SinrError: its pass is not valid: it is none (PRV-1).
        """
        at = range(len(self.files))[number]
        if at not in self._decoded:
            assert self._decode is not None
            self._decoded[at] = self._decode(self.files[at].data)
        return self._decoded[at]

    def __iter__(self) -> "Iterator[Field]":
        return (self[number] for number in range(len(self)))


class Field:
    """An implicit neural representation, decoded.

    Attributes:
        data: the bytes of the file it was read from (a prefix where not all passes were).
        header: what its HEAD says.
        states: integers and steps of every tensor, in table order; with parts the shared tensors first, then those of
            every part.
        n_passes: passes decoded.
        weights_sha256: digest of the weights, 64 hex digits.
        acc_crc: CRC of the integers of each PASS chunk decoded.
        meta: keys and values of META.
        notes: what was odd in the file and is not an error.
        previews: fields that stand in the file in front of its passes, smallest first (clause 12.4).
    """

    def __init__(
        self,
        data: bytes,
        header: Header,
        states: States,
        *,
        weights_sha256: str,
        acc_crc: Sequence[int],
        pass_ends: Sequence[int],
        meta: dict[str, str],
        notes: Sequence[str],
        previews: Previews | None = None,
    ) -> None:
        self.data = data
        self.header = header
        self.states = states
        self.n_passes = len(pass_ends)
        self.weights_sha256 = weights_sha256
        self.acc_crc = tuple(acc_crc)
        self.pass_ends = tuple(pass_ends)
        self.meta = dict(meta)
        self.notes = tuple(notes)
        self.previews = Previews() if previews is None else previews

    @cached_property
    def weights(self) -> tuple[NDArray[np.float32], ...]:
        """float32 tensors of ``header.network.whole`` in table order, read-only; with parts see :meth:`part`."""
        weights = whole_weights(self.header.network, self.states)
        for tensor in weights:
            tensor.flags.writeable = False
        return weights

    @property
    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """Tensor name (``layers.0.weight``) to float32 array."""
        return evaluate.named_tensors(self.header.network.whole, self.weights)

    @cached_property
    def state_digest(self) -> bytes:
        """The 16 bytes by which a file names this one as its base (clause 9.8), after the passes decoded."""
        return state_digest(self.states)

    @property
    def shape(self) -> tuple[int, ...]:
        """Native grid and channels; () where the field has no native grid."""
        return (*self.header.grid, self.header.network.out_channels) if self.header.grid else ()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[np.float32]:
        return np.dtype(np.float32)

    @cached_property
    def _frame(self) -> Frame:
        return Frame(self.header.coords, self.header.grid, self.header.box)

    @cached_property
    def _lattice(self) -> Lattice | None:
        """What evaluates a field over a pyramid."""
        network = self.header.network
        is_lattice = isinstance(network.input_encoding, PyramidEncoding)
        return Lattice(network, self.weights, self._frame) if is_lattice else None

    def part(self, number: int) -> "Field":
        """One part as a field of its own, on its part lattice (clause 13.1).

        Its ``data`` and ``weights_sha256`` are empty: it was not read from a file of its own.

        Raises:
            UsageError: there is no such part.
        """
        parts = self.header.parts
        if parts is None or not 0 <= number < parts.count:
            raise error("USAGE", f"there is no part {number}")
        return part_field(self.header, number, part_states(self.header, self.states, number))

    def _evaluate(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values at float32[n, in_dims] coordinates."""
        if self.header.parts is not None:
            return self._blend(self.header.parts, x)
        if self._lattice is not None:
            return self._lattice.sample(x)
        return evaluate.evaluate(self.header.network.whole, self.weights, x, self.header.seed, self._frame)

    def _blend(self, parts: Parts, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values at scattered coordinates of a field with parts."""
        out = np.zeros((len(x), self.header.network.out_channels), dtype=np.float32)
        positions = [coord_positions(n, along) for n, along in zip(parts.grid, x.T, strict=True)]
        for share in scattered(parts, positions):
            places = parts.places(share.part)
            own = [
                part_coords(axis, place, along[share.chosen])
                for axis, place, along in zip(parts.axes, places, positions, strict=True)
            ]
            values = self.part(share.part).sample(np.stack(own, axis=1))
            out[share.chosen] += share.weights[:, None].astype(np.float32) * values
        return out

    def sample(self, coords: ArrayLike) -> NDArray[np.float32]:
        """Values at coordinates.

        Args:
            coords: float32[..., in_dims], in the units of the header's coordinate convention.

        Returns:
            float32[..., out_channels], not clamped.

        Raises:
            UsageError: the last axis is not in_dims.
        """
        x = np.asarray(coords, dtype=np.float32)
        in_dims = self.header.network.in_dims
        if x.ndim == 0 or x.shape[-1] != in_dims:
            raise error("USAGE", f"coordinates of shape {x.shape}, expected (..., {in_dims})")
        flat = np.ascontiguousarray(x.reshape(-1, in_dims))
        values = self._evaluate(flat)
        return values.reshape(*x.shape[:-1], self.header.network.out_channels)

    def grid(self, size: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Values on the native grid or on one of another size.

        Args:
            size: samples of every axis, in axis order (rows first for images).

        Returns:
            float32[*size, out_channels], not clamped.

        Raises:
            UsageError: there is no native grid and no size, or the size does not fit.
            LimitError: LIMIT_CALLER, too many values.
        """
        size = tuple(size) if size is not None else self.header.grid
        network = self.header.network
        if not size:
            raise error("USAGE", "this field has no native grid: give a size or coordinates")
        if len(size) != network.in_dims or min(size) < 1:
            raise error("USAGE", f"size {size} does not have {network.in_dims} positive entries")
        if math.prod(size) * network.out_channels > OUTPUT_VALUES_LIMIT:
            raise error("LIMIT_CALLER", f"a grid of {size} is over {OUTPUT_VALUES_LIMIT} values")
        if self.header.parts is not None:
            return region_values(self.header, [(0, n) for n in size], size, self.part)
        if self._lattice is not None and size == self.header.grid:
            return self._lattice.grid()
        axes = evaluate.grid_axes(self.header.coords, size, self.header.box)
        out = np.empty((math.prod(size), network.out_channels), dtype=np.float32)
        block = max(1, evaluate.BLOCK_VALUES // network.widest)
        for start in range(0, len(out), block):
            flat = np.arange(start, min(start + block, len(out)))
            indices = np.unravel_index(flat, size)
            x = np.stack([axis[i] for axis, i in zip(axes, indices, strict=True)], axis=1)
            out[start : start + block] = self._evaluate(x)
        return out.reshape(*size, network.out_channels)

    def region(self, ranges: Sequence[Range], size: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Values on some samples of the native grid, or of a grid of another size.

        Args:
            ranges: first index and end along every axis.
            size: samples of the whole grid along every axis.

        Returns:
            float32[*lengths, out_channels], not clamped.

        Raises:
            UsageError: there is no grid, or the region is not inside it.
        """
        size = tuple(size) if size is not None else self.header.grid
        check_region(ranges, size)
        if self.header.parts is not None:
            return region_values(self.header, ranges, size, self.part)
        if self._lattice is not None and size == self.header.grid:
            return self._lattice.grid(ranges)
        axes = evaluate.grid_axes(self.header.coords, size, self.header.box)
        own = [along[start:stop] for along, (start, stop) in zip(axes, ranges, strict=True)]
        return self.sample(np.stack(np.meshgrid(*own, indexing="ij"), axis=-1))

    def to_uint8(self, size: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """8-bit samples of :meth:`grid` (clause 16.4), uint8[*size, out_channels]."""
        return evaluate.to_uint8(self.header.values, self.grid(size))

    def to_uint16(self, size: Sequence[int] | None = None) -> NDArray[np.uint16]:
        """16-bit samples of :meth:`grid`, uint16[*size, out_channels]."""
        return evaluate.to_uint16(self.header.values, self.grid(size))

    def to_samples(self, depth: DTypeLike) -> Samples:
        """Samples of :meth:`grid` of the depth of others, to compare with them: uint8 or uint16."""
        return evaluate.to_depth(np.dtype(depth), self.header.values, self.grid())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[np.float32]:
        if copy is False:
            raise ValueError("the values of a field are computed: an array of them is always a copy")
        values = self.grid()
        return values if dtype is None else values.astype(dtype, copy=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Field) and self.data == other.data and self.n_passes == other.n_passes

    def __hash__(self) -> int:
        return hash((self.data, self.n_passes))

    def __repr__(self) -> str:
        header = self.header
        size = "x".join(map(str, self.shape)) or f"{header.network.in_dims}-D"
        return (
            f"<sinrfmt.Field {header.modality.name.lower()} {size}, {header.n_parameters} parameters, "
            f"{len(self.data)} bytes, pass {self.n_passes} of {header.n_passes}>"
        )
