"""Coordinates to values: the field's forward pass in NumPy.

Specification: clause 16. Binary32, in blocks of samples so that memory does not grow with the picture.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.grids import Frame, grid_features
from sinrfmt.metrics import Samples
from sinrfmt.network import (
    FourierEncoding,
    GridEncoding,
    InputEncoding,
    InputRecord,
    Layer,
    MultiplyRecord,
    Network,
    PyramidEncoding,
    SeededFourierEncoding,
    Step,
)
from sinrfmt.philox import fourier_sums
from sinrfmt.registry import Coords, RecordKind, Values

Floats = NDArray[np.float32]

BLOCK_VALUES = 1 << 20  # values between two layers that are alive at a time


def axis_coords(coords: Coords, n: int, n_first: int, box: tuple[float, float] | None = None) -> Floats:
    """Coordinates of the n samples of an axis, float32[n] (clause 16.1); ``n_first`` is the size of axis 0."""
    i = np.arange(n, dtype=np.float64)
    if coords is Coords.CENTRES:
        x = (2 * i + 1) / n - 1
    elif coords is Coords.CORNERS:
        x = 2 * i / max(n - 1, 1) - 1
    elif coords is Coords.CORNERS_PROPORTIONAL:
        x = 2 * i / max(n_first - 1, 1) - 1
    elif coords is Coords.CENTRES_UNIT:
        x = (i + 0.5) / n
    else:
        assert box is not None
        low, high = box
        x = low + (high - low) * (i + 0.5) / n
    return x.astype(np.float32)


def grid_axes(coords: Coords, size: Sequence[int], box: tuple[tuple[float, float], ...] | None) -> list[Floats]:
    """Coordinates along every axis of a grid."""
    return [axis_coords(coords, n, size[0], None if box is None else box[axis]) for axis, n in enumerate(size)]


def _elu(t: Floats) -> Floats:
    return np.where(t > 0, t, np.expm1(np.minimum(t, 0))).astype(np.float32)


def _sigmoid(t: Floats) -> Floats:
    # exp of a non-positive number on either side: no overflow.
    e = np.exp(-np.abs(t))
    return np.where(t >= 0, 1 / (1 + e), e / (1 + e)).astype(np.float32)


ACTIVATIONS: dict[RecordKind, Callable[[Floats], Floats]] = {
    RecordKind.LINEAR: lambda t: t,
    RecordKind.SINE: np.sin,
    RecordKind.RELU: lambda t: np.maximum(t, 0),
    RecordKind.GAUSSIAN: lambda t: np.exp(-t * t),
    RecordKind.TANH: np.tanh,
    RecordKind.SIGMOID: _sigmoid,
    RecordKind.ELU: _elu,
    RecordKind.FILTER: np.sin,
    RecordKind.CONV: lambda t: t,
    RecordKind.CONV_RELU: lambda t: np.maximum(t, 0),
}
"""act of the kinds with ``h = act(omega * (W x + b))``."""


def _finer(t: Floats, layer: Layer) -> Floats:
    # (|t| + 1) before omega, as the text has it: at large t the order is heard.
    sine: Floats = np.sin(np.float32(layer.omega) * ((np.abs(t) + 1) * t))
    return sine


def _gabor(t: Floats, layer: Layer) -> Floats:
    """exp(i omega t - (scale |t|)^2): the real parts, then the imaginary ones."""
    omega, scale = np.float32(layer.omega), np.float32(layer.record.scale)
    real, imaginary = np.split(t, 2, axis=1) if layer.is_complex else (t, np.float32(0))
    size = np.exp(-omega * imaginary - scale * scale * (real * real + imaginary * imaginary))
    return np.concatenate([size * np.cos(omega * real), size * np.sin(omega * real)], axis=1)


WAVELETS: dict[RecordKind, Callable[[Floats, Layer], Floats]] = {RecordKind.FINER: _finer, RecordKind.GABOR: _gabor}
"""h of ``t = W x + b`` for the other kinds (clause 16.3)."""


def fourier_frequencies(encoding: FourierEncoding) -> Floats:
    """float32[octaves] (clause 16.2)."""
    return np.array(encoding.frequencies).astype(np.float32)


@lru_cache(maxsize=4)  # it is asked for in every block of samples
def seeded_matrix(encoding: SeededFourierEncoding, in_dims: int, seed: int) -> Floats:
    """float32[n_features, in_dims], read-only (clause 16.2)."""
    matrix = fourier_sums(encoding.n_features, in_dims, seed).astype(np.float32)
    matrix *= np.float32(encoding.scale)
    matrix.flags.writeable = False
    return matrix


def encode_inputs(encoding: InputEncoding | None, x: Floats, seed: int | None) -> Floats:
    """The inputs of the first layer for coordinates x, float32[n, in_dims]."""
    if encoding is None:
        return x
    assert not isinstance(encoding, GridEncoding | PyramidEncoding)
    if isinstance(encoding, SeededFourierEncoding):
        assert seed is not None
        t = x @ seeded_matrix(encoding, x.shape[1], seed).T
        return np.concatenate([np.sin(t), np.cos(t)], axis=1)
    arguments = x[:, None, :] * fourier_frequencies(encoding)[None, :, None]  # (n, octaves, in_dims)
    waves = np.stack([np.sin(arguments), np.cos(arguments)], axis=2).reshape(len(x), -1)
    return np.concatenate([x, waves], axis=1) if encoding.include_input else waves


def named_tensors(network: Network, weights: Sequence[Floats]) -> dict[str, Floats]:
    """Tensors in table order, by name."""
    return {tensor.name: w for tensor, w in zip(network.tensors, weights, strict=True)}


def evaluate(
    network: Network, weights: Sequence[Floats], x: Floats, seed: int | None = None, frame: Frame | None = None
) -> Floats:
    """Values of the field; of one over a pyramid see :mod:`sinrfmt.lattice`.

    Args:
        network: the network.
        weights: its tensors in table order.
        x: float32[n, in_dims], coordinates.
        seed: of the file, for seeded Fourier features.
        frame: how the coordinates relate to the native grid, for latent grids.

    Returns:
        float32[n, out_channels], not clamped (clause 16.3).
    """
    out = np.empty((len(x), network.out_channels), dtype=np.float32)
    block = max(1, BLOCK_VALUES // network.most_values)
    tensors = named_tensors(network, weights)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for start in range(0, len(x), block):
            part = slice(start, start + block)
            first = _first_values(network, tensors, x[part], seed, frame)
            current, outputs = apply_steps(network.steps, tensors, first, x[part])
            out[part] = np.concatenate([current, *outputs], axis=1) if outputs else current
    return out


def _first_values(
    network: Network, tensors: Mapping[str, Floats], x: Floats, seed: int | None, frame: Frame | None
) -> Floats:
    """The current values before the first record."""
    encoding = network.input_encoding
    if isinstance(encoding, GridEncoding):
        return grid_features(encoding, tensors, frame or Frame(), x)
    return encode_inputs(encoding, x, seed) if network.starts_with_coordinates else x[:, :0]


def apply_steps(
    steps: Sequence[Step], tensors: Mapping[str, Floats], current: Floats, x: Floats
) -> tuple[Floats, list[Floats]]:
    """Steps of a network, none of them a lattice filter (clause 16.3).

    Args:
        steps: some that follow each other.
        tensors: those of the network, by name.
        current: float32[n, values], the current values before the steps.
        x: float32[n, in_dims], coordinates.

    Returns:
        The current values after the steps, and the outputs of every OUTPUT among them.
    """
    outputs = []
    kept: dict[int, Floats] = {}
    wanted = {step.layer for step in steps if isinstance(step, MultiplyRecord)}
    for step in steps:
        if isinstance(step, InputRecord):
            current = np.concatenate([current, append_inputs(step, x)], axis=1)
            continue
        if isinstance(step, MultiplyRecord):
            current = current * kept[step.layer]
            continue
        found = _outputs(step, tensors, x if step.kind is RecordKind.FILTER else current)
        if step.index in wanted:
            kept[step.index] = found
        if step.record.is_output:
            outputs.append(found)
        else:
            current = current * found if step.kind is RecordKind.FILTER else found
    return current, outputs


def append_inputs(step: InputRecord, x: Floats) -> Floats:
    """The values that an INPUT appends for coordinates x, float32[n, in_dims]."""
    return encode_inputs(step.encoding, x[:, step.first : step.first + step.count], None)


def _outputs(layer: Layer, tensors: Mapping[str, Floats], inputs: Floats) -> Floats:
    """Outputs of a layer."""
    matrix = tensors[layer.weight_name]
    t = inputs @ (complex_matrix(matrix) if layer.is_complex else matrix).T
    if layer.record.bias:
        t += tensors[layer.bias_name]
    if layer.kind in WAVELETS:
        return WAVELETS[layer.kind](t, layer)
    if layer.omega != 1.0:
        t *= np.float32(layer.omega)
    return ACTIVATIONS[layer.kind](t)


def complex_matrix(parts: Floats) -> Floats:
    """What complex weights, float32[2 m, n] with the real parts first, do to real parts followed by imaginary ones.

    Returns:
        float32[2 m, 2 n].
    """
    real, imaginary = np.split(parts, 2)
    return np.block([[real, -imaginary], [imaginary, real]])


def to_unit(values: Values, v: Floats) -> Floats:
    """Values as samples in [0, 1], clamped (clause 16.4)."""
    unit = (v + 1) / 2 if values is Values.SIGNED else v
    clamped: Floats = np.clip(np.nan_to_num(unit), 0, 1).astype(np.float32)
    return clamped


def to_uint8(values: Values, v: Floats) -> NDArray[np.uint8]:
    """8-bit samples (clause 16.4)."""
    samples: NDArray[np.uint8] = _samples(values, v, 255).astype(np.uint8)
    return samples


def to_uint16(values: Values, v: Floats) -> NDArray[np.uint16]:
    """16-bit samples: as clause 16.4 has it, with 65535 in place of 255."""
    samples: NDArray[np.uint16] = _samples(values, v, 65535).astype(np.uint16)
    return samples


def to_depth(depth: np.dtype[Any], values: Values, v: Floats) -> Samples:
    """Samples of the depth of some others, uint8 or uint16."""
    return to_uint16(values, v) if depth == np.uint16 else to_uint8(values, v)


def _samples(values: Values, v: Floats, top: int) -> Floats:
    rounded: Floats = np.floor(top * to_unit(values, v) + np.float32(0.5))
    return rounded
