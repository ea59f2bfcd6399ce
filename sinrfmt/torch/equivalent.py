"""Networks that compute the same with weights that cost less: whole numbers for omega, columns that matter alike.

Nothing here is normative: a decoder gets another network of the same layers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sinrfmt.network import Layer, LayerRecord, Network, Record
from sinrfmt.registry import RecordKind
from sinrfmt.torch.sensitivity import Curvature, KroneckerBlock, split_vector

Floats = NDArray[np.float32]
Arrays = dict[str, Floats]
Scales = NDArray[np.float64]

KINDS_WITH_FACTOR = frozenset({RecordKind.SINE, RecordKind.FILTER})
"""Kinds whose activation is one of omega (W x + b)."""
KINDS_WITH_SCALE = frozenset({RecordKind.LINEAR, RecordKind.RELU})
"""Kinds whose outputs get s times as large where a row and its bias do, for s > 0."""
MAX_DIVISIONS = 12
"""The smallest weight is at most so many times the number of which all weights are multiples."""
WHOLE_TOLERANCE = 1e-5
"""Difference of a weight from a multiple, in that number: binary32 leaves less of a hundredth of it."""
MAX_OCTAVES = 3.0
"""Of a column's scale. One that nothing comes through would have any."""


def with_whole_weights(
    network: Network, arrays: Mapping[str, Floats]
) -> tuple[Network, Arrays, frozenset[LayerRecord]]:
    """Where all weights of a layer are multiples of one number, let omega be that number and the weights whole.

    The waves of a band-limited network are such: BACON's are multiples of 2 pi (Lindell et al., 2022).

    Returns:
        The network, its arrays, and the records whose weights are whole now.
    """
    changed = dict(arrays)
    records: list[Record] = []
    whole: set[LayerRecord] = set()
    layers = iter(network.layers)
    for record in network.records:
        if not isinstance(record, LayerRecord):
            records.append(record)
            continue
        own = [next(layers) for _ in range(record.repeat)]
        divisor = common_divisor(arrays[own[0].weight_name]) if _may_be_whole(record) else None
        if divisor is None:
            records.append(record)
            continue
        waves = replace(record, omega=float(np.float32(record.omega * divisor)))
        changed |= _divided(own[0], arrays, divisor)
        whole.add(waves)
        records.append(waves)
    return replace(network, records=tuple(records)), changed, frozenset(whole)


def _may_be_whole(record: LayerRecord) -> bool:
    return record.kind in KINDS_WITH_FACTOR and record.repeat == 1 and not record.prior


def _divided(layer: Layer, arrays: Mapping[str, Floats], divisor: float) -> Arrays:
    found = {layer.weight_name: np.rint(arrays[layer.weight_name] / divisor).astype(np.float32)}
    if layer.record.bias:
        found[layer.bias_name] = (arrays[layer.bias_name] / divisor).astype(np.float32)
    return found


def common_divisor(weights: Floats) -> float | None:
    """The largest number of which all weights are whole multiples, a few each; None where there is no such number.

    Of few weights that are many times it nothing can be said: there are always some.
    """
    values = np.unique(np.abs(weights.astype(np.float64)))
    values = values[values > 0]
    if not values.size:
        return None
    for divisions in range(1, MAX_DIVISIONS + 1):
        multiples = np.rint(values * divisions / values[0])
        if multiples[-1] >= weights.size:
            return None
        divisor = float(values @ multiples / (multiples @ multiples))
        if np.abs(values / divisor - multiples).max() < WHOLE_TOLERANCE:
            return divisor
    return None


# --- columns ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A layer whose outputs are the first of the current values, and the layers that take them."""

    layer: Layer
    consumers: list[Layer]


def with_even_columns(network: Network, arrays: Mapping[str, Floats], curvature: Curvature) -> tuple[Arrays, Curvature]:
    """Scale hidden values so that all columns of the layers that take them matter alike: they share a row's step.

    The rows that give those values are scaled the other way, and have steps of their own.

    Args:
        network: its layers have ``row_steps``.
        arrays: its weights.
        curvature: layer by layer, of these weights.

    Returns:
        Weights of the same network, and their curvature.
    """
    blocks = [block for block in curvature.blocks if isinstance(block, KroneckerBlock)]
    if len(blocks) != len(network.layers):
        return dict(arrays), curvature
    rows = [np.ones(layer.weight_shape[0]) for layer in network.layers]
    columns = [np.ones(layer.weight_shape[1]) for layer in network.layers]
    for source in _sources(network):
        scale = _scale(source, blocks)
        rows[source.layer.index] = scale
        for layer in source.consumers:
            columns[layer.index][: scale.size] = scale
    scaled = dict(arrays)
    for layer, row, column in zip(network.layers, rows, columns, strict=True):
        scaled[layer.weight_name] = (arrays[layer.weight_name] * row[:, None] / column).astype(np.float32)
        if layer.record.bias:
            scaled[layer.bias_name] = (arrays[layer.bias_name] * row).astype(np.float32)
    return scaled, _scaled_curvature(network, curvature, blocks, rows, columns)


def _sources(network: Network) -> Iterator[_Source]:
    """Layers whose outputs may be scaled, with those that take them.

    The scale goes through a product, by values that are not scaled: not of a layer that a MULTIPLY names.
    """
    source: _Source | None = None
    for step in network.steps:
        if not isinstance(step, Layer) or step.kind is RecordKind.FILTER:
            continue
        if source is not None:
            source.consumers.append(step)
        if step.record.is_output:
            continue
        if source is not None:
            yield source
        is_scaled = step.kind in KINDS_WITH_SCALE and step.index not in network.multiplied_layers
        source = _Source(step, []) if is_scaled else None


def _scale(source: _Source, blocks: list[KroneckerBlock]) -> Scales:
    """Of each output: the curvature of its column in every layer that takes it, as many times as that has rows."""
    n = source.layer.n_out
    total, n_rows = np.zeros(n), 0
    for layer in source.consumers:
        own = np.log2(blocks[layer.index].inputs[1][:n])
        total += layer.weight_shape[0] * (own - np.median(own))
        n_rows += layer.weight_shape[0]
    octaves = np.clip(-0.5 * total / n_rows, -MAX_OCTAVES, MAX_OCTAVES)
    scale: Scales = 2.0 ** (octaves - octaves.mean())
    return scale


def _scaled_curvature(
    network: Network, curvature: Curvature, blocks: list[KroneckerBlock], rows: list[Scales], columns: list[Scales]
) -> Curvature:
    changed = [
        replace(
            block,
            outputs=_scaled_factor(block.outputs, 1.0 / row),
            inputs=_scaled_factor(block.inputs, column),
            bias_shift=block.bias_shift * column,
        )
        for block, row, column in zip(blocks, rows, columns, strict=True)
    ]
    parts = []
    for tensor, part in zip(network.tensors, split_vector(network, curvature.diagonal), strict=True):
        row, column = rows[tensor.ordinal // 2], columns[tensor.ordinal // 2]
        parts.append((part / row**2 if tensor.is_bias else part * (column / row[:, None]) ** 2).ravel())
    return Curvature(np.concatenate(parts), tuple(changed))


def _scaled_factor(factor: tuple[Scales, Scales], scale: Scales) -> tuple[Scales, Scales]:
    """Of the matrix with its rows and columns scaled."""
    spread, conditional = factor
    return spread * scale[:, None] / scale, conditional * scale**2
