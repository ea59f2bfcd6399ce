"""Values of a field over a pyramid of latents: tile by tile on the native grid, elsewhere between its samples.

Specification: clause 16.6. A tile is evaluated with the margin that its lattice filters need, so memory does not grow
with the picture.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sinrfmt.evaluate import ACTIVATIONS, BLOCK_VALUES, append_inputs, apply_steps, grid_axes, named_tensors
from sinrfmt.grids import Box, Floats, Frame, cubic_corners, lattice_positions, lower_vertices, pyramid_window
from sinrfmt.network import LATTICE_KINDS, InputRecord, Layer, Network, PyramidEncoding, Step


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
        self._axes = grid_axes(frame.coords, frame.grid, frame.box)
        self._n_filters = sum(_is_filter(step) for step in network.steps)
        first = next((index for index, step in enumerate(network.steps) if _is_filter(step)), len(network.steps))
        self._pointwise, self._filters = network.steps[:first], network.steps[first:]

    @property
    def tile(self) -> tuple[int, ...]:
        """Samples of a tile on every axis."""
        n_samples = max(1, BLOCK_VALUES // max(self._network.most_values, self._encoding.n_levels))
        side = max(1, int(n_samples ** (1 / len(self._frame.grid))))
        return tuple(min(side, n) for n in self._frame.grid)

    def grid(self, ranges: Sequence[tuple[int, int]] | None = None) -> Floats:
        """float32[*grid, out_channels]: the values on the native grid, or on what ``ranges`` cut out of it."""
        region = ranges or [(0, n) for n in self._frame.grid]
        firsts = [start for start, _ in region]
        shape = [stop - start for start, stop in region]
        out = np.empty((*shape, self._network.out_channels), dtype=np.float32)
        for tile in _tiles(shape, self.tile):
            box = tuple((first + start, first + stop) for first, (start, stop) in zip(firsts, tile, strict=True))
            out[tuple(slice(*edges) for edges in tile)] = np.moveaxis(self._values(box), 0, -1)
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
        block = max(1, BLOCK_VALUES // self._network.most_values)
        for points in np.split(order, starts[1:]) if len(x) else ():
            for start in range(0, len(points), block):
                chosen = points[start : start + block]
                out[chosen] = self._between(x[chosen], positions[chosen], lower[chosen])
        return out

    def _between(self, x: Floats, positions: NDArray[np.float64], lower: NDArray[np.int64]) -> Floats:
        """Values at coordinates whose positions lie in one tile."""
        grid = self._frame.grid
        low, high = np.maximum(lower.min(axis=0) - 1, 0), np.minimum(lower.max(axis=0) + 3, grid)
        box = tuple((int(a), int(b)) for a, b in zip(low, high, strict=True))
        samples = self._values(box) if self._filters else self._features(box)
        flat = samples.reshape(len(samples), -1)
        sizes = samples.shape[1:]
        between = np.zeros((len(positions), len(samples)), dtype=np.float32)
        for vertices, weights in cubic_corners(positions, lower, grid):
            between += flat[:, np.ravel_multi_index(tuple((vertices - low).T), sizes)].T * weights[:, None]
        if self._filters:
            return between
        current, outputs = apply_steps(self._pointwise, self._tensors, between, x)
        return np.concatenate([current, *outputs], axis=1)

    def _features(self, box: Box) -> Floats:
        return pyramid_window(self._encoding, self._tensors, self._encoding.n_levels - 1, box)

    def _coordinates(self, box: Box) -> Floats:
        """float32[samples, in_dims] of the lattice, C order."""
        axes = (axis[slice(*edges)] for axis, edges in zip(self._axes, box, strict=True))
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(box))

    def _values(self, box: Box) -> Floats:
        """float32[out_channels, *box] on the lattice."""
        margin = self._n_filters
        wide = self._widened(box, margin)
        features = self._features(wide)
        pixels = features.reshape(len(features), -1).T
        current, outputs = apply_steps(self._pointwise, self._tensors, pixels, self._coordinates(wide))
        values = _planes(current, wide)
        aside = [_cropped(_planes(output, wide), wide, box) for output in outputs]
        for step in self._filters:
            if isinstance(step, InputRecord):
                appended = append_inputs(step, self._coordinates(wide))
                values = np.concatenate([values, _planes(appended, wide)])
                continue
            assert isinstance(step, Layer)  # GRD-3
            margin -= 1
            narrow = self._widened(box, margin)
            values = self._filtered(values, step, wide, narrow)
            wide = narrow
        return np.concatenate([values, *aside])

    def _widened(self, box: Box, margin: int) -> Box:
        """A box and its surroundings on the halved axes, inside the lattice."""
        grid = self._frame.grid
        return tuple(
            (max(a - margin, 0), min(b + margin, n)) if axis in self._encoding.axes else (a, b)
            for axis, ((a, b), n) in enumerate(zip(box, grid, strict=True))
        )

    def _filtered(self, x: Floats, layer: Layer, box: Box, inner: Box) -> Floats:
        """Values of a lattice filter inside ``inner``, from those of the layer before it inside ``box``."""
        axes = self._encoding.axes
        # The box goes one sample beyond the inner one, but at the lattice's border: there samples are repeated.
        margins = [
            (1 - (i - a), 1 - (b - j)) if axis in axes else (0, 0)
            for axis, ((a, b), (i, j)) in enumerate(zip(box, inner, strict=True))
        ]
        padded = np.pad(x, [(0, 0), *margins], mode="edge")
        sizes = [j - i for i, j in inner]
        weight = self._tensors[layer.weight_name].reshape(layer.n_out, layer.n_in, -1)
        centre = tuple(slice(1, n + 1) if axis in axes else slice(None) for axis, n in enumerate(sizes))
        t = padded[(slice(None), *centre)].reshape(layer.n_in, -1).copy()
        for column, taps in enumerate(product(range(3), repeat=len(axes))):
            shift = dict(zip(axes, taps, strict=True))
            part = tuple(slice(shift[a], shift[a] + n) if a in shift else slice(None) for a, n in enumerate(sizes))
            t += weight[:, :, column] @ padded[(slice(None), *part)].reshape(layer.n_in, -1)
        if layer.record.bias:
            t += self._tensors[layer.bias_name][:, None]
        return ACTIVATIONS[layer.kind](t).reshape(layer.n_out, *sizes)


def _is_filter(step: Step) -> bool:
    return isinstance(step, Layer) and step.kind in LATTICE_KINDS


def _planes(samples: Floats, box: Box) -> Floats:
    """Samples float32[samples, channels] of a box as float32[channels, *box]."""
    return np.ascontiguousarray(samples.T).reshape(-1, *(b - a for a, b in box))


def _cropped(planes: Floats, box: Box, inner: Box) -> Floats:
    """What of float32[channels, *box] lies in ``inner``."""
    return planes[(slice(None), *(slice(i - a, j - a) for (a, _), (i, j) in zip(box, inner, strict=True)))]


def _tiles(shape: Sequence[int], tile: Sequence[int]) -> Iterator[Box]:
    axes = ([(i, min(i + side, n)) for i in range(0, n, side)] for n, side in zip(shape, tile, strict=True))
    yield from product(*axes)
