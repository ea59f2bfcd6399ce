"""Tensors of a checkpoint, by an architecture, to a network of the format and its float32 weights.

Specification: clauses 6.7 (layers and tensors), 16.2 and 16.3 (what they compute). First the tensors are found, then
brought into the format's form: (out, in), omega around weights and bias, columns in the format's order, complex numbers
as pairs of real ones. Every tensor is used or said to be unused: a wrong architecture does not go unnoticed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error
from sinrfmt.layout import FLOAT_LIMIT
from sinrfmt.network import FourierEncoding, InputRecord, LayerRecord, MultiplyRecord, Network, Record
from sinrfmt.registry import KINDS_WITH_OMEGA, RecordKind
from sinrfmt.torch.architecture import FEATURE_AXES, Architecture, EachStep, InputStep, LayerStep, Step
from sinrfmt.torch.checkpoints import Floats, Numbers, Tensors

Columns = NDArray[np.int64]


@dataclass(frozen=True)
class SourceLayer:
    """One layer as the checkpoint has it.

    Attributes:
        step: its kind is known.
        weight, bias: names in the checkpoint; no bias is None.
        omega, scale: numbers.
    """

    step: LayerStep
    weight: str
    bias: str | None
    omega: float
    scale: float


@dataclass(frozen=True)
class MappedLayer:
    """Where a layer of the field comes from: its source, its rows, and the source's column for each of its columns."""

    source: SourceLayer
    n_rows: int
    columns: Columns
    is_complex: bool


@dataclass(frozen=True)
class Mapped:
    """A checkpoint as a network.

    Attributes:
        network: without coding tools.
        arrays: float32 by tensor name (``layers.0.weight``).
        layers: where each layer comes from.
        prefix: of the names in the checkpoint; ends with a dot, or is empty.
    """

    network: Network
    arrays: dict[str, Floats]
    layers: tuple[MappedLayer, ...]
    prefix: str


def map_tensors(architecture: Architecture, tensors: Tensors, *, submodule: str | None = None) -> Mapped:
    """The network that an architecture makes of the tensors of a checkpoint.

    Args:
        architecture: what to look for.
        tensors: by dotted name.
        submodule: dotted name of the part to take; None for the architecture's, or the only one that fits.

    Raises:
        UsageError: a layer that is not there, a tensor that is not used, a shape that does not fit, a weight that is
            not finite. The message names the tensor.
    """
    prefix = _prefix(architecture, tensors, submodule)
    part = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
    found = tuple(_found(architecture, part))
    _check_all_used(architecture, part, found)
    return Mapped(*_network(architecture, part, found), prefix)


# --- names -----------------------------------------------------------------------------------------------------------


def _expression(pattern: str) -> re.Pattern[str]:
    """``*`` is one part of a dotted name or a piece of it, ``**`` any."""
    parts = re.split(r"(\*\*|\*)", pattern)
    wild = {"*": r"[^.]*", "**": ".*"}
    return re.compile("".join(wild.get(part, re.escape(part)) for part in parts))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts numbers in a name as numbers."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"([0-9]+)", name)]


def _matches(pattern: str, names: Sequence[str]) -> list[str]:
    expression = _expression(pattern)
    return sorted((name for name in names if expression.fullmatch(name)), key=_natural)


def _layer_steps(steps: Sequence[Step]) -> Iterator[LayerStep]:
    for step in steps:
        if isinstance(step, EachStep):
            yield from step.steps
        if isinstance(step, LayerStep):
            yield step


def _prefix(architecture: Architecture, tensors: Tensors, submodule: str | None) -> str:
    """The part of the checkpoint that has every layer of the architecture; of nested ones, the outermost."""
    if submodule is not None:
        prefix = f"{submodule}." if submodule else ""
        if not any(name.startswith(prefix) for name in tensors):
            raise error("USAGE", f"no tensors below {submodule!r}: the checkpoint has {_some(tensors)}")
        return prefix
    own = f"{architecture.submodule}."
    if architecture.submodule and any(name.startswith(own) for name in tensors):
        return own
    cuts = {name[: match.end()] for name in tensors for match in re.finditer(r"\.", name)} | {""}
    fitting = [prefix for prefix in cuts if not _missing(architecture, tensors, prefix)]
    if not fitting:
        missing = _missing(architecture, tensors, "")
        message = f"architecture {architecture.name}: no tensor {missing}; the checkpoint has {_some(tensors)}"
        raise error("USAGE", message)
    least = min(prefix.count(".") for prefix in fitting)
    outermost = sorted(prefix.removesuffix(".") for prefix in fitting if prefix.count(".") == least)
    if len(outermost) > 1:
        raise error("USAGE", f"several networks fit: --submodule {' or '.join(outermost)}")
    return f"{outermost[0]}." if outermost[0] else ""


def _missing(architecture: Architecture, tensors: Tensors, prefix: str) -> str:
    """The first pattern that no tensor below a prefix matches, or an empty string."""
    names = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
    patterns = (f"{step.layer}.{architecture.tensor_names[0]}" for step in _layer_steps(architecture.records))
    return next((pattern for pattern in patterns if not _matches(pattern, names)), "")


def _some(tensors: Tensors) -> str:
    names = sorted(tensors, key=_natural)
    return ", ".join(names[:4]) + (f", … ({len(names)} in all)" if len(names) > 4 else "")


def _found(architecture: Architecture, part: Tensors) -> Iterator[SourceLayer | InputStep]:
    for step in architecture.records:
        if isinstance(step, InputStep):
            yield step
        elif isinstance(step, LayerStep):
            yield from _source_layers(step, architecture, part)
        else:
            turns = [_source_layers(inner, architecture, part) for inner in step.steps]
            if len({len(layers) for layers in turns}) > 1:
                counts = ", ".join(f"{len(layers)} of {s.layer}" for s, layers in zip(step.steps, turns, strict=True))
                raise error("USAGE", f"layers that take turns are as many of each, found {counts}")
            yield from (layer for turn in zip(*turns, strict=True) for layer in turn)


def _source_layers(step: LayerStep, architecture: Architecture, part: Tensors) -> list[SourceLayer]:
    """The layers that a step stands for, in order."""
    weight_name, bias_name = architecture.tensor_names
    names = list(part)
    layers = [name.removesuffix(weight_name) for name in _matches(f"{step.layer}.{weight_name}", names)]
    chosen = _chosen(layers, step)
    omegas = _numbers(step.omega, step, len(layers), part)
    scales = _numbers(0.0 if step.scale is None else step.scale, step, len(layers), part)
    found = []
    for layer, omega, scale in zip(chosen, omegas, scales, strict=True):
        bias = layer + bias_name
        known = step if step.kind is not None else replace(step, kind=_named_kind(step, layer, names))
        found.append(SourceLayer(known, layer + weight_name, bias if bias in part else None, omega, scale))
    return found


def _chosen(entries: list[str], step: LayerStep) -> list[str]:
    if isinstance(step.index, tuple):
        bad = [i for i in step.index if not -len(entries) <= i < len(entries)]
        if bad:
            raise error("USAGE", f"index {bad[0]} of {step.layer}: the checkpoint has {len(entries)}")
        return [entries[i] for i in step.index]
    ends = [int(end) if end else None for end in step.index.split(":")]
    if len(ends) == 1:
        return _chosen(entries, replace(step, index=(ends[0] or 0,)))
    return entries[slice(*ends)]


def _numbers(given: float | str, step: LayerStep, n_layers: int, part: Tensors) -> list[float]:
    """A number for every layer that is chosen."""
    if isinstance(given, float):
        return [given] * len(_chosen([""] * n_layers, step))
    names = _chosen(_matches(given, list(part)), step)
    bad = next((name for name in names if part[name].size != 1), None)
    if bad is not None:
        raise error("USAGE", f"{bad}: expected one number, found shape {part[bad].shape}")
    return [float(part[name].real.item()) for name in names]


def _named_kind(step: LayerStep, layer: str, names: list[str]) -> RecordKind:
    """The activation that is named by a tensor between this layer's and the next one's; LINEAR without one."""
    order = sorted(names, key=_natural)
    last = max(i for i, name in enumerate(order) if name.startswith(layer))
    for name in order[last + 1 :]:
        if _expression(f"{step.layer}.*").fullmatch(name):
            break
        for pattern, kind in (step.activations or {}).items():
            if _expression(pattern).fullmatch(name):
                return kind
    return RecordKind.LINEAR


def _check_all_used(architecture: Architecture, part: Tensors, found: Sequence[SourceLayer | InputStep]) -> None:
    layers = [entry for entry in found if isinstance(entry, SourceLayer)]
    used = {name for layer in layers for name in (layer.weight, layer.bias)}
    patterns = list(architecture.ignore)
    for step in _layer_steps(architecture.records):
        patterns += [given for given in (step.omega, step.scale) if isinstance(given, str)]
        patterns += list(step.activations or ())
    expressions = [_expression(pattern) for pattern in patterns]
    for name in part:
        if name not in used and not any(expression.fullmatch(name) for expression in expressions):
            message = f"architecture {architecture.name} does not use the tensor {name}, shape {part[name].shape}"
            raise error("USAGE", f"{message}; if it is not needed, name it in ignore")


# --- numbers ---------------------------------------------------------------------------------------------------------


def feature_columns(step: InputStep, octaves: int) -> Columns:
    """For every feature of the format, which of the checkpoint's features it is."""
    sizes = {"octave": octaves, "function": 2, "axis": len(step.axes)}
    theirs = np.arange(2 * octaves * len(step.axes)).reshape([sizes[name] for name in step.order])
    ours = theirs.transpose([step.order.index(name) for name in FEATURE_AXES]).ravel()
    if not step.include_input:
        return ours
    return np.concatenate([np.arange(len(step.axes)), len(step.axes) + ours])


@dataclass
class _Values:
    """The current values (clause 6.7) as the checkpoint has them.

    ``columns``: for every current value of the format, which of the checkpoint's it is; None for coordinates.
    """

    in_dims: int
    columns: Columns | None
    is_complex: bool = False


def _network(
    architecture: Architecture, part: Tensors, found: Sequence[SourceLayer | InputStep]
) -> tuple[Network, dict[str, Floats], tuple[MappedLayer, ...]]:
    """Walk over what was found: the network, its arrays, and where each layer comes from."""
    values = _first_values(architecture, part, found)
    encoding: FourierEncoding | None = None
    records: list[Record] = []
    arrays: dict[str, Floats] = {}
    layers: list[MappedLayer] = []
    for position, entry in enumerate(found):
        if isinstance(entry, InputStep):
            record = _input_record(entry, _next_matrix(architecture, part, found[position:]), values)
            if position == 0 and len(entry.axes) == values.in_dims:
                encoding = record.encoding  # all coordinates, encoded, are an input encoding (HED-13)
            else:
                records.append(record)
            continue
        if entry.step.kind is RecordKind.MULTIPLY:
            records.append(_multiply_record(entry, layers, values))
            continue
        layer, weight, bias = _map_layer(architecture, part, entry, values)
        arrays[f"layers.{len(layers)}.weight"] = weight
        if bias is not None:
            arrays[f"layers.{len(layers)}.bias"] = bias
        layers.append(layer)
        records.append(_layer_record(layer, weight, bias))
    out_channels = sum(record.width for record in records if isinstance(record, LayerRecord) and record.is_output)
    last = records[-1]
    if not isinstance(last, LayerRecord) or last.is_output or last.kind in (RecordKind.FILTER, RecordKind.GABOR):
        raise error("USAGE", f"architecture {architecture.name}: the last record is no plain layer")
    return Network(values.in_dims, out_channels + last.width, tuple(records), encoding), arrays, tuple(layers)


def _first_values(architecture: Architecture, part: Tensors, found: Sequence[SourceLayer | InputStep]) -> _Values:
    axes = [entry.axes[-1] + 1 for entry in found if isinstance(entry, InputStep)]
    first = found[0]
    if isinstance(first, InputStep):
        return _Values(max(axes), np.arange(0))
    return _Values(_matrix(architecture, part, first.weight).shape[1], None)


def _matrix(architecture: Architecture, part: Tensors, name: str) -> Numbers:
    """A weight matrix as (out, in)."""
    matrix = part[name]
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise error("USAGE", f"{name}: expected a matrix, found shape {matrix.shape}")
    return matrix.T if architecture.transpose else matrix


def _next_matrix(architecture: Architecture, part: Tensors, rest: Sequence[SourceLayer | InputStep]) -> tuple[str, int]:
    """Name and columns of the matrix that takes what an INPUT appends."""
    for entry in rest:
        if isinstance(entry, SourceLayer) and entry.step.kind not in (RecordKind.FILTER, RecordKind.MULTIPLY):
            return entry.weight, _matrix(architecture, part, entry.weight).shape[1]
    raise error("USAGE", f"architecture {architecture.name}: no layer after an INPUT")


def _input_record(step: InputStep, follower: tuple[str, int], values: _Values) -> InputRecord:
    """The record of an INPUT, which appends to ``values``."""
    columns = np.arange(values.in_dims) if values.columns is None else values.columns
    name, n_in = follower
    n_axes = len(step.axes)
    encoding, features = None, np.arange(n_axes)
    if step.encoded:
        octaves, rest = divmod(n_in - len(columns) - n_axes * step.include_input, 2 * n_axes)
        if rest or octaves < 1:
            message = f"{name}: {n_in} columns are not {len(columns)} values and Fourier features of {n_axes} axes"
            raise error("USAGE", message)
        encoding = FourierEncoding(octaves, step.base, step.include_input, step.times_pi)
        features = feature_columns(step, octaves)
    ahead, behind = (len(features), 0) if step.in_front else (0, len(columns))
    values.columns = np.concatenate([columns + ahead, features + behind])
    values.is_complex = False
    return InputRecord(step.axes[0], n_axes, encoding)


def _multiply_record(source: SourceLayer, layers: Sequence[MappedLayer], values: _Values) -> MultiplyRecord:
    """The record of a MULTIPLY: ``source`` is one of the layers before it."""
    index = next((i for i, layer in enumerate(layers) if layer.source.weight == source.weight), None)
    if index is None:
        raise error("USAGE", f"{source.weight}: MULTIPLY by a layer that does not come before it")
    layer = layers[index]
    if values.is_complex or layer.source.step.kind is RecordKind.GABOR:
        raise error("USAGE", f"{source.weight}: MULTIPLY of complex values")
    columns = np.arange(values.in_dims) if values.columns is None else values.columns
    if not np.array_equal(columns, np.arange(layer.n_rows)):
        message = f"{layer.n_rows} outputs multiply {len(columns)} values in the order of the format"
        raise error("USAGE", f"{source.weight}: {message}")
    return MultiplyRecord(index)


def _map_layer(
    architecture: Architecture, part: Tensors, source: SourceLayer, values: _Values
) -> tuple[MappedLayer, Floats, Floats | None]:
    """One layer: where it is from, weights and bias as the format has them. ``values`` become its outputs."""
    matrix = _matrix(architecture, part, source.weight)
    is_filter = source.step.kind is RecordKind.FILTER
    coords = np.arange(values.in_dims)
    columns = coords if is_filter or values.columns is None else values.columns
    n_values = len(coords if values.columns is None else values.columns)
    if matrix.shape[1] != len(columns):
        message = f"{source.weight}: {matrix.shape[1]} columns for {len(columns)} values"
        raise error("USAGE", f"{message}; its shape (out, in) is {matrix.shape}")
    if is_filter and len(matrix) != n_values:
        raise error("USAGE", f"{source.weight}: {len(matrix)} rows multiply {n_values} values")
    bias = None if source.bias is None else part[source.bias]
    if bias is not None and bias.shape != (len(matrix),):
        raise error("USAGE", f"{source.bias}: expected shape ({len(matrix)},), found {bias.shape}")
    columns = _permuted(source, columns)
    layer = MappedLayer(source, len(matrix), columns, values.is_complex and not is_filter)
    weight, bias = _form(layer, matrix[:, columns], bias)
    if is_filter:
        values.is_complex = False
    elif source.step.kind is not RecordKind.OUTPUT:
        values.columns, values.is_complex = np.arange(len(matrix)), source.step.kind is RecordKind.GABOR
    return layer, weight, bias


def _permuted(source: SourceLayer, columns: Columns) -> Columns:
    given = source.step.columns
    if given is None:
        return columns
    if sorted(given) != list(range(len(columns))):
        raise error("USAGE", f"columns of {source.weight}: expected each of 0 to {len(columns) - 1} once")
    return np.array(given)[columns]


def _form(layer: MappedLayer, matrix: Numbers, bias: Numbers | None) -> tuple[Floats, Floats | None]:
    """Weights and bias as the format has them, every number finite."""
    source = layer.source
    if bias is not None and not source.step.bias_in_omega:
        bias = (bias / source.omega).astype(bias.dtype)
    if layer.is_complex:
        weight, bias = COMPLEX_FORMS.get(source.step.kind, _real_part)(matrix, bias)
    elif matrix.dtype.kind == "c" or (bias is not None and bias.dtype.kind == "c"):
        raise error("USAGE", f"{source.weight}: complex weights are for the outputs of GABOR alone")
    else:
        weight, bias = matrix.real, None if bias is None else bias.real
    for name, array in ((source.weight, weight), (source.bias, bias)):
        if array is not None and not np.isfinite(array).all():
            raise error("USAGE", f"{name}: holds a number that is not finite in float32")
    return np.ascontiguousarray(weight), None if bias is None else np.ascontiguousarray(bias.real)


def _stacked(matrix: Numbers, bias: Numbers | None) -> tuple[Floats, Floats | None]:
    """A complex GABOR layer: the real parts, then the imaginary ones (clause 6.7)."""
    stacked_bias = None if bias is None else np.concatenate([bias.real, bias.imag])
    return np.concatenate([matrix.real, matrix.imag]), stacked_bias


def _real_part(matrix: Numbers, bias: Numbers | None) -> tuple[Floats, Floats | None]:
    """The real part of a complex layer, as a real layer of the real and the imaginary parts of its inputs."""
    return np.concatenate([matrix.real, -matrix.imag], axis=1), None if bias is None else bias.real


COMPLEX_FORMS: dict[RecordKind | None, Callable[[Numbers, Numbers | None], tuple[Floats, Floats | None]]] = {
    RecordKind.GABOR: _stacked,
}


def _layer_record(layer: MappedLayer, weight: Floats, bias: Floats | None) -> LayerRecord:
    source, step = layer.source, layer.source.step
    assert step.kind is not None
    is_output, is_filter = step.kind is RecordKind.OUTPUT, step.kind is RecordKind.FILTER
    kind = step.activation if is_output else step.kind
    n_rows = len(weight) // 2 if layer.is_complex and kind is RecordKind.GABOR else len(weight)
    return LayerRecord(
        kind,
        0 if is_filter else n_rows,
        omega=_positive(source.omega, source) if kind in KINDS_WITH_OMEGA else 1.0,
        scale=_positive(source.scale, source) if kind is RecordKind.GABOR else 1.0,
        bias=bias is not None,
        is_output=is_output,
    )


def _positive(value: float, source: SourceLayer) -> float:
    rounded = float(np.float32(value))
    if not 0 < rounded < FLOAT_LIMIT:
        raise error("USAGE", f"{source.weight}: omega or scale is {value:g}, expected a positive number")
    return rounded
