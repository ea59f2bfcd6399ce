"""Values of a field over a pyramid of latents: tile by tile on the native grid, elsewhere between its samples.

Specification: clause 16.6. A tile is evaluated with the margin that its lattice filters need, so memory does not grow
with the picture.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sinrfmt.evaluate import ACTIVATIONS, BLOCK_VALUES, apply_layers, named_tensors
from sinrfmt.grids import Box, Floats, Frame, corners, lattice_positions, lower_vertices, pyramid_window
from sinrfmt.network import LATTICE_KINDS, Layer, Network, PyramidEncoding


class Lattice:
    """A pyramid field, ready to evaluate.

    Args:
        network: with a pyramid as input encoding.
        weights: its tensors in table order.
        frame: what HEAD says of the native grid.
    """

    def __init__(self, network: Network, weights: Sequence[Floats], frame: Frame) -> None:
        assert isinstance(network.input_encoding, PyramidEncoding)
        self._network = network
        self._encoding = network.input_encoding
        self._tensors = named_tensors(network, weights)
        self._frame = frame
        self._pointwise = [layer for layer in network.layers if layer.kind not in LATTICE_KINDS]
        self._filters = [layer for layer in network.layers if layer.kind in LATTICE_KINDS]

    @property
    def tile(self) -> tuple[int, ...]:
        """Samples of a tile on every axis."""
        n_samples = max(1, BLOCK_VALUES // max(self._network.widest, self._encoding.n_levels))
        side = max(1, int(n_samples ** (1 / len(self._frame.grid))))
        return tuple(min(side, n) for n in self._frame.grid)

    def grid(self) -> Floats:
        """float32[*grid, out_channels]: the values on the native grid."""
        shape = self._frame.grid
        out = np.empty((*shape, self._network.out_channels), dtype=np.float32)
        for box in _tiles(shape, self.tile):
            out[tuple(slice(*edges) for edges in box)] = np.moveaxis(self._values(box), 0, -1)
        return out

    def sample(self, x: Floats) -> Floats:
        """float32[n, out_channels]: the values at coordinates float32[n, in_dims]."""
        out = np.empty((len(x), self._network.out_channels), dtype=np.float32)
        positions = lattice_positions(self._frame, x)
        lower = lower_vertices(positions, self._frame.grid)
        tiles = lower // np.array(self.tile)
        counts = tuple(-(-n // side) for n, side in zip(self._frame.grid, self.tile, strict=True))
        numbers = np.ravel_multi_index(tuple(tiles.T), counts)
        order = np.argsort(numbers, kind="stable")
        _, starts = np.unique(numbers[order], return_index=True)
        block = max(1, BLOCK_VALUES // self._network.widest)
        for points in np.split(order, starts[1:]) if len(x) else ():
            for start in range(0, len(points), block):
                chosen = points[start : start + block]
                out[chosen] = self._between(positions[chosen], lower[chosen])
        return out

    def _between(self, positions: NDArray[np.float64], lower: NDArray[np.int64]) -> Floats:
        """Values at positions that lie in one tile."""
        low, high = lower.min(axis=0), lower.max(axis=0) + 2
        grid = self._frame.grid
        box = tuple((int(a), min(int(b), n)) for a, b, n in zip(low, high, grid, strict=True))
        samples = self._values(box) if self._filters else self._features(box)
        flat = samples.reshape(len(samples), -1)
        sizes = samples.shape[1:]
        h = np.zeros((len(positions), len(samples)), dtype=np.float32)
        for vertices, weights in corners(positions, lower, grid):
            h += flat[:, np.ravel_multi_index(tuple((vertices - low).T), sizes)].T * weights[:, None]
        return h if self._filters else apply_layers(self._pointwise, self._tensors, h)

    def _features(self, box: Box) -> Floats:
        return pyramid_window(self._encoding, self._tensors, self._encoding.n_levels - 1, box)

    def _values(self, box: Box) -> Floats:
        """float32[out_channels, *box] on the lattice."""
        wide = self._widened(box, len(self._filters))
        features = self._features(wide)
        h = apply_layers(self._pointwise, self._tensors, features.reshape(len(features), -1).T)
        values = np.ascontiguousarray(h.T).reshape(-1, *features.shape[1:])
        first = len(self._pointwise)
        for index, layer in enumerate(self._filters):
            narrow = self._widened(box, len(self._filters) - 1 - index)
            values = self._filtered(values, layer, first + index, wide, narrow)
            wide = narrow
        return values

    def _widened(self, box: Box, margin: int) -> Box:
        """A box and its surroundings on the halved axes, inside the lattice."""
        grid = self._frame.grid
        return tuple(
            (max(a - margin, 0), min(b + margin, n)) if axis in self._encoding.axes else (a, b)
            for axis, ((a, b), n) in enumerate(zip(box, grid, strict=True))
        )

    def _filtered(self, x: Floats, layer: Layer, index: int, box: Box, inner: Box) -> Floats:
        """Values of a lattice filter inside ``inner``, from those of the layer before it inside ``box``."""
        axes = self._encoding.axes
        # The box goes one sample beyond the inner one, but at the lattice's border: there samples are repeated.
        margins = [
            (1 - (i - a), 1 - (b - j)) if axis in axes else (0, 0)
            for axis, ((a, b), (i, j)) in enumerate(zip(box, inner, strict=True))
        ]
        padded = np.pad(x, [(0, 0), *margins], mode="edge")
        sizes = [j - i for i, j in inner]
        weight = self._tensors[f"layers.{index}.weight"].reshape(layer.n_out, layer.n_in, -1)
        centre = tuple(slice(1, n + 1) if axis in axes else slice(None) for axis, n in enumerate(sizes))
        t = padded[(slice(None), *centre)].reshape(layer.n_in, -1).copy()
        for column, taps in enumerate(product(range(3), repeat=len(axes))):
            shift = dict(zip(axes, taps, strict=True))
            part = tuple(slice(shift[a], shift[a] + n) if a in shift else slice(None) for a, n in enumerate(sizes))
            t += weight[:, :, column] @ padded[(slice(None), *part)].reshape(layer.n_in, -1)
        if layer.record.bias:
            t += self._tensors[f"layers.{index}.bias"][:, None]
        return ACTIVATIONS[layer.kind](t).reshape(layer.n_out, *sizes)


def _tiles(shape: Sequence[int], tile: Sequence[int]) -> Iterator[Box]:
    axes = ([(i, min(i + side, n)) for i in range(0, n, side)] for n, side in zip(shape, tile, strict=True))
    yield from product(*axes)
