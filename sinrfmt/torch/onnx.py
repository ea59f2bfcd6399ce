"""ONNX graphs to networks and networks to ONNX graphs.

Read are chains: one input, one output, and on the way from one to the other products with constant matrices, additions,
scalings and activations. What a chain computes is its architecture; no TOML is needed. Written is what clause 16.3
computes, record by record. Source of the operators: https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt.faults import error
from sinrfmt.registry import KINDS_WITH_OMEGA, Coords, Modality, RecordKind, Values
from sinrfmt.torch.architecture import Architecture, LayerStep
from sinrfmt.torch.checkpoints import Tensors, library, load_onnx

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
