"""The network of a file: layer records as written, layers and tensors as they follow from them.

Specification: clauses 6.4 (records) and 6.7 (tensor order). Knows nothing of bytes, NumPy or torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sinrfmt.registry import RecordKind, Tool


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


InputEncoding = FourierEncoding | SeededFourierEncoding


@dataclass(frozen=True)
class Layer:
    """One layer of the expanded network."""

    kind: RecordKind
    n_in: int
    n_out: int
    omega: float
    record: LayerRecord


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
    def n_layers(self) -> int:
        return sum(record.repeat for record in self.records)

    @property
    def widest(self) -> int:
        """Most values between two layers, the encoded inputs included."""
        return max(max(layer.n_in, layer.n_out) for layer in self.layers)

    def _expand(self) -> Iterator[Layer]:
        n_in = self.input_encoding.n_out(self.in_dims) if self.input_encoding else self.in_dims
        for record in self.records:
            for _ in range(record.repeat):
                yield Layer(record.kind, n_in, record.width, record.omega, record)
                n_in = record.width

    def _list_tensors(self) -> Iterator[Tensor]:
        for index, layer in enumerate(self.layers):
            yield Tensor(2 * index, f"layers.{index}.weight", (layer.n_out, layer.n_in), layer.record)
            if layer.record.bias:
                yield Tensor(2 * index + 1, f"layers.{index}.bias", (layer.n_out,), layer.record)

    @property
    def n_parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors)
