"""The network of a file: layer records as written, layers and tensors as they follow from them.

Specification: clauses 6.4 (records), 6.7 (tensor order) and 9.6 (tensors of grids). Knows nothing of bytes, NumPy or
torch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from sinrfmt.registry import ContextId, RecordKind, Tool

LATTICE_KINDS = frozenset({RecordKind.CONV, RecordKind.CONV_RELU})
"""Layers that filter the lattice of a pyramid (clause 16.6)."""
# Ordinals of clause 9.6: behind those of any layer.
GRID_ORDINAL = 1 << 16
CONTEXT_ORDINAL = GRID_ORDINAL + 16
CONTEXT_OUTPUT_ORDINAL = GRID_ORDINAL + 48
LEVEL_ORDINAL = GRID_ORDINAL + 256
N_COARSE = 11
"""Inputs of the context network from coarser levels."""


@dataclass(frozen=True)
class LayerRecord:
    """One or more equal layers ``h = act(omega * (W x + b))``.

    ``width`` is the number of outputs of each; the last record of a network has ``out_channels`` outputs and
    ``repeat`` 1. ``omega`` is 1.0 for kinds that have none. ``half`` is for tool RAW only: binary16.
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


@dataclass(frozen=True)
class FourierEncoding:
    """Log-spaced Fourier features: frequency j is ``base**j`` (times pi), j = 0 .. octaves - 1."""

    octaves: int
    base: float = 2.0
    include_input: bool = False
    times_pi: bool = True

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
    """

    ordinal: int
    name: str
    shape: tuple[int, ...]
    record: LayerRecord
    role: TensorRole = TensorRole.LAYER
    n_lists: int = 1
    has_context: bool = False

    @property
    def is_bias(self) -> bool:
        return self.role is TensorRole.LAYER and len(self.shape) == 1

    @property
    def is_sparse(self) -> bool:
        """A weight matrix with tool SPARSE; the bias of its layer is coded with tool SCALAR."""
        return self.record.tool is Tool.SPARSE and not self.is_bias

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
class Layer:
    """One layer of the expanded network."""

    kind: RecordKind
    n_in: int
    n_out: int
    omega: float
    record: LayerRecord


@dataclass(frozen=True)
class Network:
    """A network without its numbers."""

    in_dims: int
    out_channels: int
    records: tuple[LayerRecord, ...]
    input_encoding: InputEncoding | None = None

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The records expanded. Check ``n_layers`` first where the records are not trusted."""
        return tuple(self._expand())

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """Table order: weight before bias, layer by layer."""
        return tuple(self._list_tensors())

    @property
    def latents(self) -> LatentEncoding | None:
        """The input encoding, where it is one of latents."""
        encoding = self.input_encoding
        return encoding if isinstance(encoding, LatentEncoding) else None

    @property
    def input_width(self) -> int:
        """Inputs of the first layer."""
        return self.input_encoding.n_out(self.in_dims) if self.input_encoding else self.in_dims

    @property
    def n_taps(self) -> int:
        """Weights of a lattice filter for each pair of channels."""
        return 3 ** len(self.input_encoding.axes) if isinstance(self.input_encoding, PyramidEncoding) else 1

    @property
    def n_layers(self) -> int:
        return sum(record.repeat for record in self.records)

    @property
    def widest(self) -> int:
        """Most values between two layers, the encoded inputs included."""
        return max(max(layer.n_in, layer.n_out) for layer in self.layers)

    def _expand(self) -> Iterator[Layer]:
        n_in = self.input_width
        for record in self.records:
            for _ in range(record.repeat):
                yield Layer(record.kind, n_in, record.width, record.omega, record)
                n_in = record.width

    def _list_tensors(self) -> Iterator[Tensor]:
        for index, layer in enumerate(self.layers):
            n_columns = layer.n_in * (self.n_taps if layer.kind in LATTICE_KINDS else 1)
            yield Tensor(2 * index, f"layers.{index}.weight", (layer.n_out, n_columns), layer.record)
            if layer.record.bias:
                yield Tensor(2 * index + 1, f"layers.{index}.bias", (layer.n_out,), layer.record)
        if self.latents is not None:
            yield from self.latents.tensors()

    @property
    def n_parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors)
