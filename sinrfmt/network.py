"""The network of a file: records as written, steps, layers and tensors as they follow from them.

Specification: clauses 6.4 (records), 6.7 (current values, layers, tensor order) and 9.6 (tensors of grids). Knows
nothing of bytes, NumPy or torch. A network is a list of steps on the *current values*, which are the coordinates at
first, or what an input encoding makes of them: a layer takes them and replaces them, gives values of the field beside
them (OUTPUT) or multiplies them (FILTER); an input is appended to them; a MULTIPLY multiplies them by the outputs of an
earlier layer.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from itertools import accumulate, repeat
from operator import mul

from sinrfmt.registry import ContextId, RecordKind, Tool

LATTICE_KINDS = frozenset({RecordKind.CONV, RecordKind.CONV_RELU})
"""Layers that filter the lattice of a pyramid (clause 16.6)."""
# Ordinals of clause 9.6: behind those of any layer.
GRID_ORDINAL = 1 << 16
CONTEXT_ORDINAL = GRID_ORDINAL + 16
CONTEXT_OUTPUT_ORDINAL = GRID_ORDINAL + 48
LEVEL_ORDINAL = GRID_ORDINAL + 256
GROWTH_ORDINAL = 1 << 20
"""Added for each pass to the ordinals of the tensors that begin in it (clause 13.2)."""
N_COARSE = 11
"""Inputs of the context network from coarser levels."""


@dataclass(frozen=True)
class LayerRecord:
    """One or more equal layers ``h = act(omega * (W x + b))``.

    ``width`` is the number of outputs of each, complex ones for GABOR; 0 for FILTER, which has as many as there are
    current values. The last record of a network has ``repeat`` 1 and the outputs that no OUTPUT record gives.
    ``omega`` is 1.0 for kinds that have none; ``scale`` is for GABOR only. ``half`` is for tool RAW only: binary16.
    ``is_output``: the record is an OUTPUT, the outputs of its one layer are values of the field.
    """

    kind: RecordKind
    width: int
    repeat: int = 1
    omega: float = 1.0
    tool: Tool = Tool.SCALAR
    prior: bool = False
    row_steps: bool = False
    bias: bool = True
    half: bool = False
    scale: float = 1.0
    is_output: bool = False


@dataclass(frozen=True)
class FourierEncoding:
    """Log-spaced Fourier features: frequency j is ``base**j`` (times pi), j = 0 .. octaves - 1 (clause 16.2)."""

    octaves: int
    base: float = 2.0
    include_input: bool = False
    times_pi: bool = True

    @property
    def frequencies(self) -> tuple[float, ...]:
        """binary64, before they are rounded to binary32: a product at a time, so that they are the same everywhere."""
        powers = accumulate(repeat(self.base, self.octaves - 1), mul, initial=1.0)
        return tuple(power * (math.pi if self.times_pi else 1.0) for power in powers)

    def n_out(self, n_in: int) -> int:
        return n_in * (2 * self.octaves + int(self.include_input))


@dataclass(frozen=True)
class SeededFourierEncoding:
    """``n_features`` seeded Gaussian projections: all sines, then all cosines. ``scale`` is a binary32."""

    n_features: int
    scale: float

    def n_out(self, n_in: int) -> int:
        return 2 * self.n_features


class TensorRole(Enum):
    """What a tensor is to the tables: part of a layer (or coded like one), of the context network, or latents."""

    LAYER = "layer"
    CONTEXT = "context"
    LATENT = "latent"


@dataclass(frozen=True)
class Tensor:
    """One tensor of the table: its ordinal, name, C-order shape, (out, in) or (out,) in layers, and layer record.

    Latents are coded as ``n_lists`` lists, one for each column; ``has_context`` if a context network may predict them.
    ``is_relative``: its integers are relative to those of a base (clause 9.8). ``begins`` is the pass that codes it
    first; ``origin`` is the row and the column of its first entry in ``whole_name``, the matrix or bias that it is a
    block of: (0, 0) and its own name, but in networks that grow (clause 13.2).
    """

    ordinal: int
    name: str
    shape: tuple[int, ...]
    record: LayerRecord
    role: TensorRole = TensorRole.LAYER
    n_lists: int = 1
    has_context: bool = False
    is_relative: bool = False
    begins: int = 0
    origin: tuple[int, int] = (0, 0)

    @property
    def whole_name(self) -> str:
        return self.name.rsplit(".", 1)[0] if self.begins else self.name

    @property
    def is_bias(self) -> bool:
        return self.role is TensorRole.LAYER and len(self.shape) == 1

    @property
    def is_sparse(self) -> bool:
        """A weight matrix with tool SPARSE; the bias of its layer is coded with tool SCALAR unless it is relative."""
        return self.record.tool is Tool.SPARSE and (self.is_relative or not self.is_bias)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """The shape for sparse codes, where a bias is a matrix (out, 1); not for latents."""
        return (self.shape[0], 1) if self.is_bias else (self.shape[0], self.shape[1])

    @property
    def is_trellis(self) -> bool:
        """A tensor with tool TRELLIS: a weight matrix or a bias."""
        return self.record.tool is Tool.TRELLIS

    @property
    def size(self) -> int:
        return math.prod(self.shape)


_CONTEXT_RECORD = LayerRecord(RecordKind.LINEAR, 1)
_LATENT_RECORD = LayerRecord(RecordKind.LINEAR, 1, tool=Tool.LATENT)


@dataclass(frozen=True)
class GridEncoding:
    """Dense and hashed grids of latents over the first coordinates (clause 9.6.1).

    ``resolutions`` has the vertices along each axis, level by level. ``record`` says how the linear latent decoder is
    coded; its kind and width say nothing.
    """

    resolutions: tuple[tuple[int, ...], ...]
    latent_dim: int = 1
    feature_dim: int = 1
    log2_table_size: int = 11
    summed: bool = False
    append_input: bool = False
    decoder_per_level: bool = False
    record: LayerRecord = LayerRecord(RecordKind.GRID, 1)

    @property
    def n_levels(self) -> int:
        return len(self.resolutions)

    @property
    def n_axes(self) -> int:
        return len(self.resolutions[0])

    @property
    def n_decoders(self) -> int:
        return self.n_levels if self.decoder_per_level else 1

    def n_out(self, n_in: int) -> int:
        n_features = self.feature_dim * (1 if self.summed else self.n_levels)
        return n_features + n_in - (0 if self.append_input else self.n_axes)

    def is_dense(self, level: int) -> bool:
        return math.prod(self.resolutions[level]) <= 1 << self.log2_table_size

    def n_entries(self, level: int) -> int:
        return min(math.prod(self.resolutions[level]), 1 << self.log2_table_size)

    def tensors(self) -> Iterator[Tensor]:
        """In table order."""
        n_rows = self.n_decoders * self.feature_dim
        yield Tensor(GRID_ORDINAL, "grid.decoder.weight", (n_rows, self.latent_dim), self.record)
        if self.record.bias:
            yield Tensor(GRID_ORDINAL + 1, "grid.decoder.bias", (n_rows,), self.record)
        for level in range(self.n_levels):
            shape = (self.n_entries(level), self.latent_dim)
            yield _latents(f"grid.levels.{level}", level, shape, n_lists=self.latent_dim)


@dataclass(frozen=True)
class PyramidEncoding:
    """Dyadic levels of latents over the native grid (clause 9.6.2), level 0 the coarsest.

    ``axes`` are the halved ones; ``filter_numbers`` those of an up-sampling filter. ``context_width`` and
    ``context_hidden`` are not used by context FACTORISED. ``record`` says how the filters are coded.
    """

    grid: tuple[int, ...]
    n_levels: int
    axes: tuple[int, ...] = (0, 1)
    filter_numbers: int = 4
    shared_filter: bool = False
    context: ContextId = ContextId.INTERLACED
    context_width: int = 12
    context_hidden: int = 1
    record: LayerRecord = LayerRecord(RecordKind.PYRAMID, 1)

    @property
    def has_context(self) -> bool:
        return self.context is not ContextId.FACTORISED

    @property
    def n_filters(self) -> int:
        return min(self.n_levels - 1, 1) if self.shared_filter else self.n_levels - 1

    def n_out(self, n_in: int) -> int:
        return self.n_levels

    def level_shape(self, level: int) -> tuple[int, ...]:
        """Samples along every axis of a level."""
        scale = self.n_levels - 1 - level
        return tuple(-(-n >> scale) if axis in self.axes else n for axis, n in enumerate(self.grid))

    def tensors(self) -> Iterator[Tensor]:
        """In table order."""
        if self.n_filters:
            yield Tensor(GRID_ORDINAL, "pyramid.filter", (self.n_filters, self.filter_numbers), self.record)
        if self.has_context:
            yield from self._context_tensors()
        for level in range(self.n_levels):
            shape = self.level_shape(level)
            yield _latents(f"pyramid.levels.{level}", level, shape, has_context=self.has_context)

    def _context_tensors(self) -> Iterator[Tensor]:
        w = self.context_width
        n_near, n_phases, n_strides = (16, 10, 4) if self.context is ContextId.INTERLACED else (12, 1, 0)
        shapes: dict[str, tuple[int, ...]] = {"coarse": (w, N_COARSE), "near": (w, n_near), "phase": (n_phases, w)}
        for index in range(self.context_hidden):
            shapes |= {f"hidden.{index}.weight": (w, w), f"hidden.{index}.bias": (1, w)}
        output = {"output": (2, w), "linear": (2, N_COARSE + n_near), "offset": (self.n_levels + n_strides, 2)}
        for first, named in ((CONTEXT_ORDINAL, shapes), (CONTEXT_OUTPUT_ORDINAL, output)):
            for ordinal, (name, shape) in enumerate(named.items(), first):
                yield Tensor(ordinal, f"context.{name}", shape, _CONTEXT_RECORD, TensorRole.CONTEXT)


def _latents(name: str, level: int, shape: tuple[int, ...], *, n_lists: int = 1, has_context: bool = False) -> Tensor:
    return Tensor(LEVEL_ORDINAL + level, name, shape, _LATENT_RECORD, TensorRole.LATENT, n_lists, has_context)


LatentEncoding = GridEncoding | PyramidEncoding
InputEncoding = FourierEncoding | SeededFourierEncoding | GridEncoding | PyramidEncoding


@dataclass(frozen=True)
class InputRecord:
    """The coordinates of ``count`` axes from ``first`` on, encoded or not, are appended to the current values."""

    first: int
    count: int
    encoding: FourierEncoding | None = None

    @property
    def n_out(self) -> int:
        """Values that it appends."""
        return self.count if self.encoding is None else self.encoding.n_out(self.count)


@dataclass(frozen=True)
class MultiplyRecord:
    """The current values are multiplied by the outputs of an earlier layer: the number ``layer`` counts all layers."""

    layer: int


Record = LayerRecord | InputRecord | MultiplyRecord


@dataclass(frozen=True)
class Layer:
    """Layer ``index`` of the expanded network: ``n_in`` values in, ``n_out`` out.

    A GABOR layer gives the real parts of all outputs, then the imaginary parts; it ``is_complex`` where its inputs are
    such outputs too. ``n_taps`` is the number of weights for each pair of values: more than 1 in lattice filters.
    """

    index: int
    kind: RecordKind
    n_in: int
    n_out: int
    omega: float
    record: LayerRecord
    is_complex: bool = False
    n_taps: int = 1

    @property
    def weight_name(self) -> str:
        """Name of the tensor of its weights."""
        return f"layers.{self.index}.weight"

    @property
    def bias_name(self) -> str:
        """Name of the tensor of its bias, if it has one."""
        return f"layers.{self.index}.bias"

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(rows, columns) of its weights: (n_out, n_in), but for GABOR layers (clause 6.7) and lattice filters."""
        if self.is_complex:
            return self.n_out, self.n_in // 2
        return (self.record.width if self.kind is RecordKind.GABOR else self.n_out), self.n_in * self.n_taps


Step = Layer | InputRecord | MultiplyRecord


@dataclass(frozen=True)
class Network:
    """A network without its numbers.

    ``active_widths`` is for a network that grows: for each pass but the last, the units of each layer record but the
    last that are there after it (clause 13.2); such a network has no records of other kinds.
    """

    in_dims: int
    out_channels: int
    records: tuple[Record, ...]
    input_encoding: InputEncoding | None = None
    active_widths: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def whole(self) -> "Network":
        """The network after its last pass, its tensors in one piece."""
        return replace(self, active_widths=()) if self.active_widths else self

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The records expanded. Check ``n_layers`` first where the records are not trusted."""
        return tuple(self._expand())

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers among the steps, OUTPUT and FILTER included: layer l has the tensors 2 l and 2 l + 1."""
        return tuple(step for step in self.steps if isinstance(step, Layer))

    @cached_property
    def multiplied_layers(self) -> frozenset[int]:
        """The layers by whose outputs some MULTIPLY multiplies: these are kept while the network is evaluated."""
        return frozenset(step.layer for step in self.steps if isinstance(step, MultiplyRecord))

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """Table order: weight before bias, layer by layer; then those of a latent grid or pyramid."""
        return tuple(self._list_tensors())

    @property
    def coded_records(self) -> tuple[LayerRecord, ...]:
        """How tensors are coded: the records that have tool_flags, and that of a latent grid or pyramid."""
        return self.layer_records if self.latents is None else (*self.layer_records, self.latents.record)

    @property
    def layer_records(self) -> tuple[LayerRecord, ...]:
        """The records of layers."""
        return tuple(record for record in self.records if isinstance(record, LayerRecord))

    def with_layer_records(self, change: Callable[[LayerRecord], LayerRecord]) -> "Network":
        """The network with every record of layers changed."""
        records = tuple(change(record) if isinstance(record, LayerRecord) else record for record in self.records)
        return replace(self, records=records)

    @property
    def latents(self) -> LatentEncoding | None:
        """The input encoding, where it is one of latents."""
        encoding = self.input_encoding
        return encoding if isinstance(encoding, LatentEncoding) else None

    @property
    def n_taps(self) -> int:
        """Weights of a lattice filter for each pair of channels."""
        return 3 ** len(self.input_encoding.axes) if isinstance(self.input_encoding, PyramidEncoding) else 1

    @property
    def n_layers(self) -> int:
        return sum(record.repeat for record in self.layer_records)

    @property
    def widest(self) -> int:
        """Most inputs or outputs of a layer; so also most current values, which some layer takes (HED-8)."""
        return max(max(layer.n_in, layer.n_out) for layer in self.layers)

    @property
    def most_values(self) -> int:
        """Most values of a sample that are alive between two layers: current ones, and outputs that are kept."""
        return self.widest + sum(self.layers[index].n_out for index in self.multiplied_layers)

    @property
    def starts_with_coordinates(self) -> bool:
        """Whether the coordinates, encoded or not, are the first current values; else there are none."""
        return self.input_encoding is not None or not isinstance(self.records[0], InputRecord)

    @property
    def input_width(self) -> int:
        """Current values before the first record."""
        if self.input_encoding is not None:
            return self.input_encoding.n_out(self.in_dims)
        return self.in_dims if self.starts_with_coordinates else 0

    def _expand(self) -> Iterator[Step]:
        n_values = self.input_width
        index = 0
        is_complex = False  # whether the current values are the outputs of a GABOR layer
        for record in self.records:
            if isinstance(record, InputRecord):
                yield record
                n_values, is_complex = n_values + record.n_out, False
                continue
            if isinstance(record, MultiplyRecord):
                yield record
                is_complex = False
                continue
            for _ in range(record.repeat):
                layer = self._layer(index, record, n_values, is_complex=is_complex)
                yield layer
                index += 1
                if not record.is_output:
                    n_values, is_complex = layer.n_out, layer.kind is RecordKind.GABOR

    def _layer(self, index: int, record: LayerRecord, n_values: int, *, is_complex: bool) -> Layer:
        kind, omega = record.kind, record.omega
        if kind is RecordKind.FILTER:
            return Layer(index, kind, self.in_dims, n_values, omega, record)
        if kind is RecordKind.GABOR:
            return Layer(index, kind, n_values, 2 * record.width, omega, record, is_complex)
        n_taps = self.n_taps if kind in LATTICE_KINDS else 1
        return Layer(index, kind, n_values, record.width, omega, record, n_taps=n_taps)

    def _list_tensors(self) -> Iterator[Tensor]:
        if self.active_widths:
            yield from self._list_blocks()
            return
        for layer in self.layers:
            rows, columns = layer.weight_shape
            yield Tensor(2 * layer.index, layer.weight_name, (rows, columns), layer.record)
            if layer.record.bias:
                yield Tensor(2 * layer.index + 1, layer.bias_name, (rows,), layer.record)
        if self.latents is not None:
            yield from self.latents.tensors()

    def _list_blocks(self) -> Iterator[Tensor]:
        """The tensors of a network that grows (clause 13.2)."""
        before = [0] * self.n_layers
        n_inputs = 0  # of the first layer, before pass 0
        for index, units in enumerate((*map(self._units, self.active_widths), self._units(None))):
            for layer, old, new, old_in, new_in in zip(
                self.layers, before, units, (n_inputs, *before), (self.input_width, *units), strict=False
            ):
                yield from _blocks(layer, index, (old, new), (old_in, new_in), is_last=layer is self.layers[-1])
            before, n_inputs = units, self.input_width

    def _units(self, active: tuple[int, ...] | None) -> list[int]:
        """Units of each layer where those of each record but the last are ``active``, or all of them."""
        *records, last = self.layer_records
        widths = [record.width for record in records] if active is None else active
        each = [width for width, record in zip(widths, records, strict=True) for _ in range(record.repeat)]
        return [*each, last.width]

    @property
    def n_parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors)


def _blocks(
    layer: Layer, index: int, units: tuple[int, int], inputs: tuple[int, int], *, is_last: bool
) -> Iterator[Tensor]:
    """What a layer gains in a pass in which its units and its inputs grow from the first number to the second."""
    rows, columns = ((0, units[1]), inputs) if is_last else (units, (0, inputs[1]))
    shape = (rows[1] - rows[0], columns[1] - columns[0])
    origin = (rows[0], columns[0])
    ordinal, suffix = index * GROWTH_ORDINAL + 2 * layer.index, f".{index}" if index else ""
    if min(shape) > 0:
        yield Tensor(ordinal, layer.weight_name + suffix, shape, layer.record, begins=index, origin=origin)
    if layer.record.bias and shape[0] > 0 and not (is_last and index):
        bias = layer.bias_name + suffix
        yield Tensor(ordinal + 1, bias, shape[:1], layer.record, begins=index, origin=(rows[0], 0))
