"""The network of a file: records as written, steps, layers and tensors as they follow from them.

Specification: clauses 6.4 (records) and 6.7 (current values, layers, tensor order). Knows nothing of bytes, NumPy or
torch. A network is a list of steps on the *current values*, which are the coordinates at first: a layer takes them and
replaces them, gives values of the field beside them (OUTPUT) or multiplies them (FILTER); an input is appended to them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from sinrfmt.registry import RecordKind, Tool


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


InputEncoding = FourierEncoding | SeededFourierEncoding


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


Record = LayerRecord | InputRecord


@dataclass(frozen=True)
class Layer:
    """One layer of the expanded network: ``n_in`` values in, ``n_out`` out.

    A GABOR layer gives the real parts of all outputs, then the imaginary parts; it ``is_complex`` where its inputs are
    such outputs too.
    """

    kind: RecordKind
    n_in: int
    n_out: int
    omega: float
    record: LayerRecord
    is_complex: bool = False

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(rows, columns) of its weights: (n_out, n_in), but for GABOR layers (clause 6.7)."""
        if self.is_complex:
            return self.n_out, self.n_in // 2
        return (self.record.width if self.kind is RecordKind.GABOR else self.n_out), self.n_in


Step = Layer | InputRecord


@dataclass(frozen=True)
class Tensor:
    """One tensor of the table: its ordinal, name, C-order shape (out, in) or (out,), and layer record."""

    ordinal: int
    name: str
    shape: tuple[int, ...]
    record: LayerRecord

    @property
    def is_bias(self) -> bool:
        return len(self.shape) == 1

    @property
    def is_sparse(self) -> bool:
        """A weight matrix with tool SPARSE; the bias of its layer is coded with tool SCALAR."""
        return self.record.tool is Tool.SPARSE and not self.is_bias

    @property
    def is_trellis(self) -> bool:
        """A tensor with tool TRELLIS: a weight matrix or a bias."""
        return self.record.tool is Tool.TRELLIS

    @property
    def size(self) -> int:
        return self.shape[0] if self.is_bias else self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Network:
    """A network without its numbers."""

    in_dims: int
    out_channels: int
    records: tuple[Record, ...]
    input_encoding: InputEncoding | None = None

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The records expanded. Check ``n_layers`` first where the records are not trusted."""
        return tuple(self._expand())

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers among the steps, OUTPUT and FILTER included: layer l has the tensors 2 l and 2 l + 1."""
        return tuple(step for step in self.steps if isinstance(step, Layer))

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """Table order: weight before bias, layer by layer."""
        return tuple(self._list_tensors())

    @property
    def layer_records(self) -> tuple[LayerRecord, ...]:
        """The records that have tensors."""
        return tuple(record for record in self.records if isinstance(record, LayerRecord))

    def with_layer_records(self, change: Callable[[LayerRecord], LayerRecord]) -> "Network":
        """The network with every record that has tensors changed."""
        records = tuple(change(record) if isinstance(record, LayerRecord) else record for record in self.records)
        return replace(self, records=records)

    @property
    def n_layers(self) -> int:
        return sum(record.repeat for record in self.layer_records)

    @property
    def widest(self) -> int:
        """Most inputs or outputs of a layer; so also most current values, which some layer takes (HED-8)."""
        return max(max(layer.n_in, layer.n_out) for layer in self.layers)

    @property
    def starts_with_coordinates(self) -> bool:
        """Whether the coordinates, encoded or not, are the first current values; else there are none."""
        return self.input_encoding is not None or not isinstance(self.records[0], InputRecord)

    def _expand(self) -> Iterator[Step]:
        n_encoded = self.input_encoding.n_out(self.in_dims) if self.input_encoding else self.in_dims
        n_values = n_encoded if self.starts_with_coordinates else 0
        is_complex = False  # whether the current values are the outputs of a GABOR layer
        for record in self.records:
            if isinstance(record, InputRecord):
                yield record
                n_values, is_complex = n_values + record.n_out, False
                continue
            for _ in range(record.repeat):
                layer = self._layer(record, n_values, is_complex=is_complex)
                yield layer
                if not record.is_output:
                    n_values, is_complex = layer.n_out, layer.kind is RecordKind.GABOR

    def _layer(self, record: LayerRecord, n_values: int, *, is_complex: bool) -> Layer:
        if record.kind is RecordKind.FILTER:
            return Layer(record.kind, self.in_dims, n_values, record.omega, record)
        if record.kind is RecordKind.GABOR:
            return Layer(record.kind, n_values, 2 * record.width, record.omega, record, is_complex)
        return Layer(record.kind, n_values, record.width, record.omega, record)

    def _list_tensors(self) -> Iterator[Tensor]:
        for index, layer in enumerate(self.layers):
            rows, columns = layer.weight_shape
            yield Tensor(2 * index, f"layers.{index}.weight", (rows, columns), layer.record)
            if layer.record.bias:
                yield Tensor(2 * index + 1, f"layers.{index}.bias", (rows,), layer.record)

    @property
    def n_parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors)
