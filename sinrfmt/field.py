"""The decoded function: coordinates to values.

Specification: clauses 15 and 16. A field is immutable and keeps the bytes it came from, so saving it is exact.
"""

import math
from collections.abc import Sequence
from functools import cached_property

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
from sinrfmt.payload import States

OUTPUT_VALUES_LIMIT = 1 << 30  # LIMIT_CALLER: 4 GiB of float32


class Field:
    """An implicit neural representation, decoded.

    Attributes:
        data: the bytes of the file it was read from (a prefix where not all passes were).
        header: what its HEAD says.
        states: integers and steps of every tensor, in table order.
        n_passes: passes decoded.
        weights_sha256: digest of the weights, 64 hex digits.
        acc_crc: CRC of the integers of each PASS chunk decoded.
        meta: keys and values of META.
        notes: what was odd in the file and is not an error.
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
    ) -> None:
        self.data = data
        self.header = header
        self.states = states
        self.n_passes = len(acc_crc)
        self.weights_sha256 = weights_sha256
        self.acc_crc = tuple(acc_crc)
        self.pass_ends = tuple(pass_ends)
        self.meta = dict(meta)
        self.notes = tuple(notes)

    @cached_property
    def weights(self) -> tuple[NDArray[np.float32], ...]:
        """float32 tensors in table order, read-only."""
        weights = tuple(state.weights() for state in self.states)
        for tensor in weights:
            tensor.flags.writeable = False
        return weights

    @property
    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """Tensor name (``layers.0.weight``) to float32 array."""
        return {state.tensor.name: w for state, w in zip(self.states, self.weights, strict=True)}

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

    def _evaluate(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values at float32[n, in_dims] coordinates."""
        if self._lattice is not None:
            return self._lattice.sample(x)
        return evaluate.evaluate(self.header.network, self.weights, x, self.header.seed, self._frame)

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
            f"<sinrfmt.Field {header.modality.name.lower()} {size}, {header.network.n_parameters} parameters, "
            f"{len(self.data)} bytes, pass {self.n_passes} of {header.n_passes}>"
        )
