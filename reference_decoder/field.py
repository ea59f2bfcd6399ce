"""Values of the field (clause 16). Evaluation is in binary32, in blocks of samples."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, product

import numpy as np
import numpy.typing as npt

from reference_decoder.errors import DecodeError
from reference_decoder.generator import fourier_integers
from reference_decoder.head import (
    BLOCKS_OF_PASS,
    ELU,
    FILTER,
    FINER,
    FOURIER,
    GABOR,
    GAUSSIAN,
    GRID,
    INPUT,
    LATTICE_FILTERS,
    LINEAR,
    MULTIPLY,
    OUTPUT,
    PYRAMID,
    RELU,
    SIGMOID,
    SINE,
    TANH,
    Head,
    Record,
    Step,
)
from reference_decoder.lattice import (
    interpolated,
    latent_grid,
    lattice_filter,
    lattice_positions,
    pyramid_features,
)
from reference_decoder.limits import OUTPUT_VALUES

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

BLOCK_VALUES = 1 << 18  # numbers of the widest layer that are evaluated at once
BLOCK_SAMPLES = 1 << 13


# §16.3: "act as in the table of clause 6.4"
ACTIVATIONS: dict[int, Callable[[Floats], Floats]] = {
    LINEAR: lambda t: t,
    SINE: lambda t: np.sin(t, out=t),
    RELU: lambda t: np.maximum(t, 0, out=t),
    GAUSSIAN: lambda t: np.exp(-t * t),
    TANH: lambda t: np.tanh(t, out=t),
    SIGMOID: lambda t: np.reciprocal(1 + np.exp(-t)),
    ELU: lambda t: np.where(t > 0, t, np.expm1(np.minimum(t, 0))),
}


@dataclass(frozen=True)
class Field:
    """A decoded field.

    values: binary32, of all tensors in the order of the digest; weights_sha256: hex, of the last pass; passes: how many
    were decoded; acc_crc: one for each PASS chunk decoded.
    """

    head: Head
    values: Floats
    weights_sha256: str
    passes: int
    acc_crc: list[int]

    @cached_property
    def weights(self) -> list[Floats]:
        """The tensors in table order, zeros where they begin later; with PARTS the shared ones, then those of every
        part.
        """
        return [tensor for group in range(self.head.n_groups) for tensor in self.group_weights(group)]

    def group_weights(self, group: int) -> list[Floats]:
        """The tensors of a PASS chunk."""
        tensors = self.head.group_tensors(group)
        ends = np.cumsum([tensor.size for tensor in tensors]) + (self.head.group_ends[group - 1] if group else 0)
        return [self.values[end - t.size : end].reshape(t.shape) for t, end in zip(tensors, ends, strict=True)]

    def network(self, part: int = 0) -> "Network":
        """The function that the weights make after the passes decoded.

        §13.1: "Each part is a network of its own; all parts have the records of HEAD."
        """
        head = self.head.part(part) if self.head.split else self.head
        shared = self.group_weights(0) if self.head.shared else []
        return Network(head, shared + self.group_weights(part + self.head.shared), self.passes)

    def sample(self, coords: npt.ArrayLike) -> Floats:
        """Values (n, out_channels) at coordinates (n, in_dims), not clamped."""
        points = np.asarray(coords, np.float32)
        check_output(len(points), self.head)
        if self.head.split:
            return blend_points(self, points)
        found = np.empty((len(points), self.head.out_channels), np.float32)
        network = self.network()
        for block in sample_blocks(len(points), self.head):
            found[block] = network(points[block])
        return found

    def grid(self, size: Sequence[int] | None = None) -> Floats:
        """Values (grid…, out_channels) on the native grid, or on one of `size` samples, in the order of the axes.

        §16.1: "The same rule with another size gives the field at that size."
        """
        shape = output_shape(self.head, size)
        n = math.prod(shape)
        check_output(n, self.head)
        if self.head.split:
            return blend_grid(self, shape).reshape(*shape, self.head.out_channels)
        found = np.empty((n, self.head.out_channels), np.float32)
        network = self.network()
        for block in sample_blocks(n, self.head):
            coords = grid_coordinates(self.head, shape, block)
            found[block] = network.native(block, coords) if shape == self.head.grid else network(coords)
        return found.reshape(*shape, self.head.out_channels)

    def samples_8bit(self, size: Sequence[int] | None = None) -> npt.NDArray[np.uint8]:
        """§16.4: "An 8-bit sample is floor(255·min(max(v', 0), 1) + 0.5)"; shape as grid."""
        v = self.grid(size)
        if self.head.values == 1:
            v = (v + np.float32(1)) / np.float32(2)  # "v' = (v + 1)/2 for values 1"
        # "in binary32 as written; a value that is not a number gives 0"
        np.clip(np.nan_to_num(v, copy=False, nan=0.0), 0, 1, out=v)
        v *= 255
        v += 0.5
        return v.astype(np.uint8)


def output_shape(head: Head, size: Sequence[int] | None) -> tuple[int, ...]:
    """DEC-4 §15: "Without `--size` and `--coords` and without a native grid: `USAGE`." """
    if size is not None and (len(size) != head.in_dims or min(size) < 1):
        raise DecodeError("USAGE", None, f"a size has {head.in_dims} positive numbers")
    if size is None and not any(head.grid):
        raise DecodeError("USAGE", None, "the file has no native grid: a size or coordinates are needed")
    return tuple(head.grid if size is None else size)


def check_output(n: int, head: Head) -> None:
    """LIM-3 §14: "limits of its caller on memory, on work (symbols, products, samples) and on output samples
    (`LIMIT_CALLER`, offset null)"."""
    if n * head.out_channels > OUTPUT_VALUES:
        raise DecodeError("LIMIT_CALLER", None, "too many output values")


def sample_blocks(n: int, head: Head) -> Iterator[slice]:
    """Slices of samples that need a bounded memory in every layer."""
    step = max(1, min(BLOCK_SAMPLES, BLOCK_VALUES // max(head.widths)))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


# --- 16.1 Coordinates --------------------------------------------------------------------------------------------


def grid_coordinates(head: Head, shape: tuple[int, ...], block: slice) -> Floats:
    """Coordinates (samples, in_dims) of the grid's samples in C order.

    §16.1: "The axes are those of the grid; axis 0 is the first coordinate (for images the row)."
    """
    indices = np.unravel_index(np.arange(block.start, block.stop), shape)
    return np.stack([axis_coordinates(head, shape, axis, i) for axis, i in enumerate(indices)], axis=-1)


def axis_coordinates(head: Head, shape: tuple[int, ...], axis: int, i: npt.NDArray[np.intp]) -> Floats:
    """§16.1: "Index i of n on an axis (i = 0 … n-1) has the coordinate, computed in binary64 from left to right as
    written and rounded to binary32".
    """
    n, n0 = shape[axis], shape[0]
    match head.coords:
        case 0:
            x = (2 * i + 1) / n - 1
        case 1:
            x = 2 * i / max(n - 1, 1) - 1
        case 2:
            x = 2 * i / max(n0 - 1, 1) - 1
        case 3:
            x = (i + 0.5) / n
        case _:
            low, high = head.low[axis], head.high[axis]
            x = low + (high - low) * (i + 0.5) / n
    return x.astype(np.float32)


# --- 13.1 Parts --------------------------------------------------------------------------------------------------


def blend_grid(field: Field, shape: tuple[int, ...]) -> Floats:
    """Values (samples, channels) of a field of parts on a grid: part by part, each where it has a weight.

    §13.1: "The value of the field at a coordinate x, a position p = ((x + 1)·N - 1)/2 on each axis, is the sum of
    weight times value over the parts whose weight is not 0."
    """
    head = field.head
    found = np.zeros((math.prod(shape), head.out_channels), np.float32)
    for part in range(head.n_parts):
        index = head.part_index(part)
        box = [axis.indices(k, n) for axis, k, n in zip(head.axes, index, shape, strict=True)]
        size = tuple(len(indices) for indices in box)
        network = field.network(part) if all(size) else None
        for block in sample_blocks(math.prod(size), head):
            assert network is not None
            inside = np.unravel_index(np.arange(block.start, block.stop), size)
            i = [places + indices.start for places, indices in zip(inside, box, strict=True)]
            p = [axis.position_of(places, n) for axis, places, n in zip(head.axes, i, shape, strict=True)]
            weight = part_weight(head, index, p)
            is_in = weight != 0
            i, p, weight = [a[is_in] for a in i], [a[is_in] for a in p], weight[is_in]
            coords = part_coordinates(head, index, p)
            if shape == head.grid:
                places = [a - axis.first(k) for axis, k, a in zip(head.axes, index, i, strict=True)]
                values = network.native(np.ravel_multi_index(tuple(places), network.head.grid), coords)
            else:
                values = network(coords)
            found[np.ravel_multi_index(tuple(i), shape)] += (weight[:, np.newaxis] * values).astype(np.float32)
    return found


def blend_points(field: Field, points: Floats) -> Floats:
    """Values (n, channels) of a field of parts at coordinates (n, in_dims), block by block."""
    head = field.head
    # "At most two parts along an axis have a weight that is not 0"
    corners = list(product(*[(0, 1) if axis.overlap else (0,) for axis in head.axes]))
    found = np.zeros((len(points), head.out_channels), np.float32)
    step = max(1, BLOCK_VALUES // len(corners))
    for start in range(0, len(points), step):
        blend_block(field, points[start : start + step], corners, found[start : start + step])
    return found


def blend_block(field: Field, points: Floats, corners: list[tuple[int, ...]], found: Floats) -> None:
    """Add the values of all parts at some points."""
    head = field.head
    p = [axis.position(x) for axis, x in zip(head.axes, points.T, strict=True)]
    lower = [axis.lower_part(q) for axis, q in zip(head.axes, p, strict=True)]
    parts, samples, weights = [], [], []
    for corner in corners:
        k = [np.minimum(low + more, axis.s - 1) for axis, low, more in zip(head.axes, lower, corner, strict=True)]
        weight = part_weight(head, k, p)
        # where there is no next part, the last one is not taken again
        is_in = weight != 0
        for axis, low, more in zip(head.axes, lower, corner, strict=True):
            is_in &= low + more < axis.s
        parts.append(np.ravel_multi_index(tuple(k), head.split)[is_in])
        samples.append(np.flatnonzero(is_in))
        weights.append(weight[is_in])
    part, sample, weight = (np.concatenate(arrays) for arrays in (parts, samples, weights))
    order = np.argsort(part, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(part[order])) + 1) if order.size else ():
        number = int(part[group[0]])
        index, network = head.part_index(number), field.network(number)
        for block in sample_blocks(len(group), head):
            chosen = group[block]
            places = sample[chosen]
            values = network(part_coordinates(head, index, [q[places] for q in p]))
            found[places] += (weight[chosen][:, np.newaxis] * values).astype(np.float32)


def part_weight(head: Head, index: Sequence[int | Longs], p: list[Doubles]) -> Doubles:
    """§13.1: "A part's weight is the product over the axes of u[k]·(1 - u[k + 1])"."""
    weight = np.ones(len(p[0]))
    for axis, k, q in zip(head.axes, index, p, strict=True):
        weight *= axis.weight(k, q)
    return weight


def part_coordinates(head: Head, index: Sequence[int], p: list[Doubles]) -> Floats:
    """§13.1: "A part's value is that of its own field at the coordinate (2·(p - a) + 1)/m - 1 of each axis"."""
    return np.stack([axis.coordinate(k, q) for axis, k, q in zip(head.axes, index, p, strict=True)], axis=-1)


# --- 16.2 Input encodings, 16.3 Layers ---------------------------------------------------------------------------


class Network:
    """§16.3: "The values of the field are the outputs of the last layer, then those of the OUTPUT records in
    order."
    """

    def __init__(self, head: Head, weights: list[Floats], passes: int) -> None:
        self.head = head
        self.steps: list[tuple[Step, Callable[[Floats], Floats]]] = []
        matrices, rest = layer_weights(head, weights, passes)
        for step in head.steps:
            weights_of_step = next(matrices) if step.record.is_counted else ([], None)
            self.steps.append((step, step_function(head, step, *weights_of_step)))
        self.features: Floats | None = None  # of a pyramid, on the lattice
        self.values: Floats | None = None  # of lattice filters, on the lattice
        if head.records[0].kind != PYRAMID:
            self.encode = input_encoding(head, rest)
        else:
            check_lattice(head)
            with np.errstate(all="ignore"):
                self.features = pyramid_features(head.records[0], head, rest)
            if any(step.record.kind in LATTICE_FILTERS for step in head.steps):
                self.values = self.lattice_values()

    def __call__(self, coords: Floats) -> Floats:
        """Values (n, out_channels) at coordinates (n, in_dims)."""
        # weights are finite, values need not be: what overflows is an infinity, as binary32 has it
        with np.errstate(all="ignore"):
            if self.features is None:
                return joined(*run(self.steps, coords, self.encode(coords)))
            position = lattice_positions(self.head, coords)
            # §16.6: "With them, all values of the field, those of OUTPUT records too, are the cubic
            # interpolation of their values on the lattice"
            if self.values is not None:
                return interpolated(self.values, position)
            return joined(*run(self.steps, coords, interpolated(self.features, position)))

    def native(self, block: slice | Longs, coords: Floats) -> Floats:
        """Values of some samples of the native grid, by their place in its C order; `coords` are theirs.

        §16.6: "At the lattice points themselves both are the lattice's values."
        """
        if self.values is not None:
            return self.values.reshape(-1, self.values.shape[-1])[block]
        if self.features is None:
            return self(coords)
        with np.errstate(all="ignore"):
            return joined(*run(self.steps, coords, self.features.reshape(-1, self.features.shape[-1])[block]))

    def lattice_values(self) -> Floats:
        """The values of all layers on the lattice, (grid…, out_channels): lattice filters one by one, what is between
        them in blocks of samples.
        """
        assert self.features is not None
        h, outputs = self.features, []
        for is_filter, group in groupby(self.steps, lambda item: item[0].record.kind in LATTICE_FILTERS):
            part = list(group)
            with np.errstate(all="ignore"):
                for _, apply in part if is_filter else ():
                    h = apply(h)
            if not is_filter:
                h, more = self.pointwise(part, h)
                outputs += more
        return joined(h, outputs)

    def pointwise(self, steps: list[tuple[Step, Callable[[Floats], Floats]]], h: Floats) -> tuple[Floats, list[Floats]]:
        """What `run` gives for every point of the lattice."""
        grid, flat = self.head.grid, h.reshape(-1, h.shape[-1])
        parts = []
        with np.errstate(all="ignore"):
            for block in sample_blocks(len(flat), self.head):
                parts.append(run(steps, grid_coordinates(self.head, grid, block), flat[block]))
        whole = [np.concatenate(arrays).reshape(*grid, -1) for arrays in zip(*((h, *o) for h, o in parts), strict=True)]
        return whole[0], whole[1:]


def check_lattice(head: Head) -> None:
    """LIM-3 §14: the values that are kept on the lattice are limited like those of the output."""
    filters = [step.after for step in head.steps if step.record.kind in LATTICE_FILTERS]
    if math.prod(head.grid) * max(head.first_values, head.out_channels, *filters) > OUTPUT_VALUES:
        raise DecodeError("LIMIT_CALLER", None, "too many values on the lattice")


def run(steps: list[tuple[Step, Callable[[Floats], Floats]]], coords: Floats, h: Floats) -> tuple[Floats, list[Floats]]:
    """The current values after some steps, and the values of the OUTPUT records among them."""
    outputs: list[Floats] = []
    taken = {step.record.layer for step, _ in steps if step.record.kind == MULTIPLY}
    layers: list[Floats | None] = []  # what the layers so far gave, kept where a MULTIPLY takes it
    for step, apply in steps:
        kind = step.record.kind
        if kind == MULTIPLY:
            factors = layers[step.record.layer]
            assert factors is not None
            h = h * factors
            continue
        values = apply(coords if kind in (INPUT, FILTER) else h)
        if step.record.is_counted:
            layers.append(values if len(layers) in taken else None)
        if kind == INPUT:
            h = np.concatenate([h, values], axis=1)
        elif kind == OUTPUT:
            outputs.append(values)
        else:
            h = h * values if kind == FILTER else values
    return h, outputs


def joined(h: Floats, outputs: list[Floats]) -> Floats:
    """The values of the field."""
    return np.concatenate([h, *outputs], axis=-1) if outputs else h


@dataclass(frozen=True)
class Block:
    """A part of a weight matrix, from `row` and `column` on; the whole of it without the feature WIDTHS."""

    row: int
    column: int
    matrix: Floats


def layer_weights(
    head: Head, weights: list[Floats], passes: int
) -> tuple[Iterator[tuple[list[Block], Floats | None]], list[Floats]]:
    """The blocks and the bias of each layer, in order, and the tensors that are of no layer.

    §13.2: "units that are not there yet have weights of 0 on their way to the last layer, so that a decoder may leave
    them out."
    """
    n = len(head.layers)
    blocks: list[list[Block]] = [[] for _ in range(n)]
    biases: list[list[Floats]] = [[] for _ in range(n)]
    rest = []
    for tensor, values in zip(head.tensors, weights, strict=True):
        index, is_bias = divmod(tensor.ordinal % BLOCKS_OF_PASS, 2)
        if index >= n:
            rest.append(values)
        elif tensor.begins < passes:
            if is_bias:
                biases[index].append(values)
            else:
                blocks[index].append(Block(tensor.row, tensor.column, values))
    joined_biases = [np.concatenate(parts) if parts else None for parts in biases]
    return iter(zip(blocks, joined_biases, strict=True)), rest


def weighted(x: Floats, blocks: list[Block]) -> Floats:
    """W x, W not made in full: it may have far more numbers than the blocks.

    §13.2: "The weights that belong to no block, those of a unit and the inputs that came after it, are 0."
    """
    if len(blocks) == 1:
        return x[:, : blocks[0].matrix.shape[1]] @ blocks[0].matrix.T
    t = np.zeros((len(x), max(block.row + len(block.matrix) for block in blocks)), np.float32)
    for block in blocks:
        rows, columns = block.matrix.shape
        t[:, block.row : block.row + rows] += x[:, block.column : block.column + columns] @ block.matrix.T
    return t


def step_function(head: Head, step: Step, blocks: list[Block], bias: Floats | None) -> Callable[[Floats], Floats]:
    """The function of a record; those without weights have no blocks."""
    if step.record.kind == INPUT:
        return coordinates_of(step.record)
    if step.record.kind in LATTICE_FILTERS:
        return lattice_filter(step, head.records[0].halved, blocks[0].matrix, bias)
    return layer(step, blocks, bias)


def layer(step: Step, blocks: list[Block], bias: Floats | None) -> Callable[[Floats], Floats]:
    """§16.3: "h = act(omega * (W x + b))"; "b is 0 where there is no bias"."""
    omega, scale = np.float32(step.record.omega), np.float32(step.record.scale)
    kind = step.record.activation

    def apply(x: Floats) -> Floats:
        t = complex_product(x, blocks[0].matrix) if step.is_complex else weighted(x, blocks)
        if bias is not None:
            t += bias
        if kind == GABOR:
            return gabor(t, omega, scale, is_complex=step.is_complex)
        if kind == FINER:
            # "h = sin(omega·((|t| + 1)·t))"
            return ACTIVATIONS[SINE](omega * ((np.abs(t) + 1) * t))
        return ACTIVATIONS[kind](t if omega == 1 else t * omega)

    return apply


def complex_product(x: Floats, matrix: Floats) -> Floats:
    """§16.3: "t' = W' z' - W'' z'' + b' and t'' = W' z'' + W'' z' + b'', with z' and z'' the first and the second half
    of the inputs, W' and W'', b' and b'' those of the rows." Without b; t' first, then t''.
    """
    real, imaginary = np.split(matrix.T, 2, axis=1)
    z1, z2 = np.split(x, 2, axis=1)
    return np.concatenate([z1 @ real - z2 @ imaginary, z2 @ real + z1 @ imaginary], axis=1)


def gabor(t: Floats, omega: np.float32, scale: np.float32, *, is_complex: bool) -> Floats:
    """§16.3: "exp(-omega·t'' - scale^2·(t'^2 + t''^2)) times cos(omega·t') for the real and sin(omega·t') for the
    imaginary part. The outputs are the real parts of all, then the imaginary parts of all. In a layer that is not
    complex t'' = 0".

    The scale is multiplied before squaring: scale^2 alone may be no binary32 number.
    """
    t1, t2 = np.split(t, 2, axis=1) if is_complex else (t, np.zeros_like(t))
    size = np.exp(-omega * t2 - np.square(scale * t1) - np.square(scale * t2))
    angle = omega * t1
    return np.concatenate([size * np.cos(angle), size * np.sin(angle)], axis=1)


def coordinates_of(record: Record) -> Callable[[Floats], Floats]:
    """§16.3: "INPUT: the coordinates of `count` axes from `first` on are appended; with encoding 33 the outputs of
    FOURIER (clause 16.2) for these coordinates."
    """
    encode = fourier(record) if record.is_fourier else identity
    return lambda coords: encode(coords[:, record.first : record.first + record.count])


def identity(x: Floats) -> Floats:
    """The coordinates as they are."""
    return x


def input_encoding(head: Head, weights: list[Floats]) -> Callable[[Floats], Floats]:
    """The function that gives the first current values of clause 6.7."""
    encoding = head.encoding
    if encoding is None:
        return identity if head.first_values else lambda x: x[:, :0]
    if encoding.kind == GRID:
        return latent_grid(encoding, head, weights)
    return fourier(encoding) if encoding.kind == FOURIER else fourier_seeded(encoding, head)


def fourier(encoding: Record) -> Callable[[Floats], Floats]:
    """§16.2: "FOURIER: frequency j is p[j] or, with flag bit 1, p[j]·pi, with p[0] = 1 and p[j + 1] = p[j]·base,
    computed in binary64 and rounded once to binary32, j = 0 … octaves - 1."

    "Outputs: the coordinates, if flag bit 0 is set; then for each j the sines of all coordinates, then their cosines;
    the argument is the binary32 product coordinate·frequency."
    """
    powers = np.cumprod([1.0] + [float(encoding.base)] * (encoding.octaves - 1))
    frequencies = (powers * (np.pi if encoding.flags & 2 else 1.0)).astype(np.float32)

    def encode(x: Floats) -> Floats:
        parts = [x] if encoding.flags & 1 else []
        for frequency in frequencies:
            parts += [np.sin(x * frequency), np.cos(x * frequency)]
        return np.concatenate(parts, axis=1)

    return encode


def fourier_seeded(encoding: Record, head: Head) -> Callable[[Floats], Floats]:
    """§16.2: "FOURIER_SEEDED: B = RNE32(RNE32(S)·scale), S the integers of RNG-6; t = B x"."""
    integers = fourier_integers(encoding.n_features, head.in_dims, head.seed)
    matrix = (integers.astype(np.float32) * np.float32(encoding.scale)).T

    def encode(x: Floats) -> Floats:
        t = x @ matrix
        return np.concatenate([np.sin(t), np.cos(t)], axis=1)

    return encode
