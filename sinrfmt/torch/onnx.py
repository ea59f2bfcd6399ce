"""ONNX graphs to networks and networks to ONNX graphs.

Read are chains: one input, one output, and on the way from one to the other products with constant matrices, additions,
scalings and activations. What a chain computes is its architecture; no TOML is needed. Written is what clause 16.3
computes, record by record. Source of the operators: https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.evaluate import complex_matrix, fourier_frequencies, seeded_matrix
from sinrfmt.faults import error
from sinrfmt.network import (
    FourierEncoding,
    InputEncoding,
    InputRecord,
    Layer,
    MultiplyRecord,
    Network,
    SeededFourierEncoding,
)
from sinrfmt.registry import KINDS_WITH_OMEGA, Coords, Modality, RecordKind, Values
from sinrfmt.torch.architecture import Architecture, LayerStep
from sinrfmt.torch.checkpoints import Floats, Tensors, library, load_onnx

Doubles = NDArray[np.float64]

ACTIVATIONS = {
    "Sin": RecordKind.SINE,
    "Relu": RecordKind.RELU,
    "Tanh": RecordKind.TANH,
    "Sigmoid": RecordKind.SIGMOID,
    "Elu": RecordKind.ELU,
}
WITHOUT_EFFECT = frozenset({"Identity", "Dropout", "Cast", "Squeeze"})
"""Operators that change no value of a row; Squeeze drops the channel axis of a field with one channel."""


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass
class _Chain:
    """The layers so far and what happened since: an affine map of the last activation's outputs.

    With a weight matrix the map is ``gain (weight x + bias)``, without one ``gain x + bias``, by element.
    """

    steps: list[LayerStep] = field(default_factory=list)
    tensors: Tensors = field(default_factory=dict)
    weight: Doubles | None = None
    gain: Doubles = field(default_factory=lambda: np.ones(1))
    bias: Doubles | None = None

    def multiply(self, factor: Doubles) -> None:
        """By a number, or one for each value."""
        if self.weight is None:
            self.gain = self.gain * factor
            self.bias = None if self.bias is None else self.bias * factor
        elif factor.size == 1:
            self.gain = self.gain * factor
        else:
            self.weight = self.weight * factor[:, None]
            self.bias = None if self.bias is None else self.bias * factor

    def add(self, shift: Doubles) -> None:
        inside = shift if self.weight is None else shift / self.gain
        self.bias = inside if self.bias is None else self.bias + inside

    def product(self, matrix: Doubles) -> None:
        """With a matrix (out, in)."""
        if self.weight is not None:
            self.activate(RecordKind.LINEAR)
        weight = matrix * self.gain
        self.bias = None if self.bias is None else matrix @ np.broadcast_to(self.bias, matrix.shape[1:])
        self.weight, self.gain = weight, np.ones(1)

    def activate(self, kind: RecordKind) -> None:
        """The layer is whole: omega is the gain where the kind has one."""
        if self.weight is None:
            raise ValueError("an activation without a matrix before it")
        has_omega = kind in KINDS_WITH_OMEGA
        omega = np.abs(self.gain) if has_omega else np.ones(1)
        rest = np.sign(self.gain) if has_omega else self.gain
        index = len(self.steps)
        self.steps.append(LayerStep(f"layers.{index}", kind, omega=float(omega[0])))
        self.tensors[f"layers.{index}.weight"] = (self.weight * rest).astype(np.float32)
        if self.bias is not None:
            bias = np.broadcast_to(self.bias * rest, self.weight.shape[:1])
            self.tensors[f"layers.{index}.bias"] = bias.astype(np.float32)
        self.weight, self.gain, self.bias = None, np.ones(1), None


@dataclass(frozen=True)
class _Node:
    """One operator: whether the values come first, its constants, its attributes."""

    name: str
    values_first: bool
    constants: list[Doubles]
    attributes: dict[str, Any]


def _gemm(node: _Node, chain: _Chain) -> None:
    matrix = node.constants[0] if node.attributes.get("transB", 0) else node.constants[0].T
    if not node.values_first or node.attributes.get("transA", 0):
        raise ValueError("the values are not the left factor")
    chain.product(matrix * node.attributes.get("alpha", 1.0))
    for shift in node.constants[1:]:
        chain.add(_row(shift) * node.attributes.get("beta", 1.0))


def _mat_mul(node: _Node, chain: _Chain) -> None:
    if not node.values_first:
        raise ValueError("the values are not the left factor")
    chain.product(node.constants[0].T)


def _add(node: _Node, chain: _Chain) -> None:
    chain.add(_row(node.constants[0]))


def _sub(node: _Node, chain: _Chain) -> None:
    shift = _row(node.constants[0])
    if not node.values_first:
        chain.multiply(np.full(1, -1.0))
    chain.add(-shift if node.values_first else shift)


def _mul(node: _Node, chain: _Chain) -> None:
    chain.multiply(_row(node.constants[0]))


def _div(node: _Node, chain: _Chain) -> None:
    if not node.values_first:
        raise ValueError("the values are the divisor")
    chain.multiply(1.0 / _row(node.constants[0]))


def _activation(node: _Node, chain: _Chain) -> None:
    if node.attributes.get("alpha", 1.0) != 1.0:
        raise ValueError("alpha is not 1")
    chain.activate(ACTIVATIONS[node.name])


def _row(constant: Doubles) -> Doubles:
    """A constant as one number or one for each value of a row."""
    if constant.size != max(constant.shape, default=1):
        raise ValueError(f"a constant of shape {constant.shape}, expected a number or a row")
    return constant.reshape(-1)


OPERATORS: dict[str, Callable[[_Node, _Chain], None]] = {
    "Gemm": _gemm,
    "MatMul": _mat_mul,
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys(WITHOUT_EFFECT, lambda node, chain: None),
}


def read_chain(path: Path) -> tuple[Architecture, Tensors]:
    """The architecture and the tensors of an ONNX chain.

    Raises:
        UsageError: not readable, or not such a chain; the message names the operator.
    """
    onnx = library("onnx")
    graph = load_onnx(path).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in arrays]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise error("USAGE", f"{path}: {len(inputs)} inputs and {len(graph.output)} outputs, expected one of each")
    current, chain = inputs[0], _Chain()
    for node in graph.node:
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            arrays[node.output[0]] = onnx.numpy_helper.to_array(attributes["value"])
            continue
        _apply(path, node, attributes, current, arrays, chain)
        current = node.output[0]
    if current != graph.output[0].name:
        raise error("USAGE", f"{path}: the chain does not end in the output {graph.output[0].name}")
    if chain.weight is not None:
        chain.activate(RecordKind.LINEAR)
    if chain.bias is not None or not chain.steps or chain.gain[0] != 1:
        raise error("USAGE", f"{path}: the chain does not end in a layer")
    steps = tuple(chain.steps)
    return Architecture(path.stem, Modality.FIELD, Coords.CENTRES, Values.RAW, steps), chain.tensors


def _apply(
    path: Path, node: Any, attributes: dict[str, Any], current: str, arrays: dict[str, NDArray[Any]], chain: _Chain
) -> None:
    """Add one node of a graph to the chain."""
    name = f"{node.op_type} {node.name or node.output[0]}"
    operator = OPERATORS.get(node.op_type)
    if operator is None or list(node.input).count(current) != 1:
        raise error("USAGE", f"{path}: {name} is no link of a chain of layers")
    others = [entry for entry in node.input if entry and entry != current]
    unknown = [entry for entry in others if entry not in arrays]
    if unknown:
        raise error("USAGE", f"{path}: {name} has the input {unknown[0]}, which is not a constant")
    constants = [arrays[entry].astype(np.float64) for entry in others]
    try:
        operator(_Node(node.op_type, node.input[0] == current, constants, attributes), chain)
    except (ValueError, IndexError) as failure:
        raise error("USAGE", f"{path}: {name}: {failure}") from failure


# --- writing ---------------------------------------------------------------------------------------------------------

OPSET = 17
IR_VERSION = 8
"""The oldest that goes with the operator set: more readers take the file."""
INPUT_NAME, OUTPUT_NAME = "coords", "values"

OPERATOR_OF = {kind: name for name, kind in ACTIVATIONS.items()} | {RecordKind.FILTER: "Sin"}


class _Graph:
    """Nodes and constants of a graph that is being written."""

    def __init__(self, onnx: ModuleType) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, array: NDArray[Any], name: str = "") -> str:
        """Its name."""
        name = name or f"constant_{len(self.constants)}"
        self.constants[name] = self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def number(self, value: float) -> str:
        """The name of a float32 constant."""
        return self.constant(np.array(value, dtype=np.float32))

    def node(self, operator: str, *inputs: str, **attributes: int) -> str:
        """The name of its only output."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def joined(self, parts: Sequence[str]) -> str:
        """Values beside each other."""
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=1)

    def part(self, values: str, first: int, count: int) -> str:
        """Some neighbouring values."""
        return self.node("Gather", values, self.constant(np.arange(first, first + count)), axis=1)


def write_graph(path: Path, network: Network, weights: Mapping[str, Floats], seed: int | None) -> None:
    """Write a field as a model with the input ``coords``, float32[n, in_dims], and the output ``values``.

    Args:
        path: the file to write.
        network: the description.
        weights: float32 array by tensor name.
        seed: of the file, for seeded Fourier features.

    Raises:
        UsageError: onnx is not installed.
    """
    onnx = library("onnx")
    graph = _Graph(onnx)
    values = _field(graph, network, weights, seed)
    graph.nodes.append(onnx.helper.make_node("Identity", [values], [OUTPUT_NAME], OUTPUT_NAME))
    kind = onnx.TensorProto.FLOAT
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "field",
            [onnx.helper.make_tensor_value_info(INPUT_NAME, kind, ["n", network.in_dims])],
            [onnx.helper.make_tensor_value_info(OUTPUT_NAME, kind, ["n", network.out_channels])],
            list(graph.constants.values()),
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="sinrfmt",
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _field(graph: _Graph, network: Network, weights: Mapping[str, Floats], seed: int | None) -> str:
    """Clause 16.3, record by record; ``current`` are the current values of clause 6.7."""
    current: list[str] = []
    if network.starts_with_coordinates:
        current = [_encoded(graph, network.input_encoding, INPUT_NAME, network.in_dims, seed)]
    outputs: list[str] = []
    results: list[str] = []
    for step in network.steps:
        if isinstance(step, InputRecord):
            coords = graph.part(INPUT_NAME, step.first, step.count)
            current.append(_encoded(graph, step.encoding, coords, step.count, seed))
            continue
        if isinstance(step, MultiplyRecord):
            current = [graph.node("Mul", graph.joined(current), results[step.layer])]
            continue
        inputs = INPUT_NAME if step.kind is RecordKind.FILTER else graph.joined(current)
        result = _layer(graph, step, inputs, f"layers.{step.index}", weights)
        results.append(result)
        if step.record.is_output:
            outputs.append(result)
        elif step.kind is RecordKind.FILTER:
            current = [graph.node("Mul", graph.joined(current), result)]
        else:
            current = [result]
    return graph.joined([*current, *outputs])


def _encoded(graph: _Graph, encoding: InputEncoding | None, coords: str, n: int, seed: int | None) -> str:
    """Clause 16.2."""
    if encoding is None:
        return coords
    if isinstance(encoding, SeededFourierEncoding):
        assert seed is not None
        waves = graph.node("MatMul", coords, graph.constant(seeded_matrix(encoding, n, seed).T))
        return graph.joined([graph.node("Sin", waves), graph.node("Cos", waves)])
    assert isinstance(encoding, FourierEncoding)
    parts = [coords] if encoding.include_input else []
    for frequency in fourier_frequencies(encoding):
        waves = graph.node("Mul", coords, graph.number(float(frequency)))
        parts += [graph.node("Sin", waves), graph.node("Cos", waves)]
    return graph.joined(parts)


def _layer(graph: _Graph, layer: Layer, inputs: str, name: str, weights: Mapping[str, Floats]) -> str:
    weight = weights[f"{name}.weight"]
    operands = [inputs, graph.constant(complex_matrix(weight) if layer.is_complex else weight, f"{name}.weight")]
    if layer.record.bias:
        operands.append(graph.constant(weights[f"{name}.bias"], f"{name}.bias"))
    t = graph.node("Gemm", *operands, transB=1)
    if layer.kind in WAVELETS:
        return WAVELETS[layer.kind](graph, layer, t)
    if layer.omega != 1.0:
        t = graph.node("Mul", t, graph.number(layer.omega))
    if layer.kind is RecordKind.GAUSSIAN:
        return graph.node("Exp", graph.node("Neg", graph.node("Mul", t, t)))
    return t if layer.kind is RecordKind.LINEAR else graph.node(OPERATOR_OF[layer.kind], t)


def _finer(graph: _Graph, layer: Layer, t: str) -> str:
    bent = graph.node("Mul", graph.node("Add", graph.node("Abs", t), graph.number(1.0)), t)
    return graph.node("Sin", graph.node("Mul", bent, graph.number(layer.omega)))


def _gabor(graph: _Graph, layer: Layer, t: str) -> str:
    n, omega = layer.record.width, graph.number(layer.omega)
    real = graph.part(t, 0, n) if layer.is_complex else t
    square = graph.node("Mul", real, real)
    if layer.is_complex:
        imaginary = graph.part(t, n, n)
        square = graph.node("Add", square, graph.node("Mul", imaginary, imaginary))
    exponent = graph.node("Mul", square, graph.number(-(layer.record.scale**2)))
    if layer.is_complex:
        exponent = graph.node("Sub", exponent, graph.node("Mul", imaginary, omega))
    size, phase = graph.node("Exp", exponent), graph.node("Mul", real, omega)
    waves = [graph.node("Mul", size, graph.node(operator, phase)) for operator in ("Cos", "Sin")]
    return graph.joined(waves)


WAVELETS: dict[RecordKind, Callable[[_Graph, Layer, str], str]] = {
    RecordKind.FINER: _finer,
    RecordKind.GABOR: _gabor,
}
"""Values of ``t = W x + b`` for the kinds where omega is not around t."""
