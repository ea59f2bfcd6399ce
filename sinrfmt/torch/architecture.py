"""Architectures: how the tensors of somebody's checkpoint become records of the format, read from a small TOML.

Specification: clause 6.4 has the kinds of records, clause 16.1 the coordinates; nothing here is normative. Knows no
tensors: :mod:`sinrfmt.torch.mapping` brings both together. The ready ones are files in the folder ``architectures``
beside this module; docs/import.md explains every key.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

from sinrfmt.faults import error
from sinrfmt.registry import Coords, Modality, RecordKind, Values

READY = Path(__file__).with_name("architectures")
FEATURE_AXES = ("octave", "function", "axis")
"""Order of Fourier features in the format, slowest first; ``function`` is sine, then cosine."""
MAX_AXES = 8
STEP_KINDS = frozenset(kind for kind in RecordKind if kind < RecordKind.FOURIER) | {
    RecordKind.OUTPUT,
    RecordKind.FILTER,
    RecordKind.MULTIPLY,
}

Code = TypeVar("Code", bound=IntEnum)
Table = Mapping[str, Any]


@dataclass(frozen=True)
class LayerStep:
    """One or more layers.

    Attributes:
        kind: LINEAR, SINE, ...; OUTPUT and FILTER too. MULTIPLY: no new layers, but products with the outputs of layers
            that earlier steps name. None: by ``activations``.
        layer: pattern of the layers' names; ``*`` is one part of a dotted name, ``**`` any.
        index: which of the matches, in natural order: a slice as ``"1:-1"``, one as ``"-1"``, or a list.
        omega, scale: a number, or the pattern of a tensor that holds it.
        bias_in_omega: ``sin(omega (W x + b))``; if not, ``sin(omega W x + b)``.
        columns: column c of the field's weights is column ``columns[c]`` of the checkpoint's.
        activation: kind of the layer of an OUTPUT.
        activations: pattern of a tensor that follows a layer's and names its activation, and the kind it stands for.
    """

    layer: str
    kind: RecordKind | None = None
    index: str | tuple[int, ...] = ":"
    omega: float | str = 1.0
    scale: float | str | None = None
    bias_in_omega: bool = True
    columns: tuple[int, ...] | None = None
    activation: RecordKind = RecordKind.LINEAR
    activations: Mapping[str, RecordKind] | None = None


@dataclass(frozen=True)
class InputStep:
    """Coordinates, as Fourier features or as they are, appended to the current values.

    Attributes:
        axes: neighbouring axes, ascending.
        encoded: as Fourier features, as many octaves as the next layer has columns for.
        base, include_input, times_pi: as in a FOURIER record.
        order: the three of ``FEATURE_AXES`` as the checkpoint's columns have them, slowest first.
        in_front: the checkpoint has them before the current values.
    """

    axes: tuple[int, ...]
    encoded: bool = True
    base: float = 2.0
    include_input: bool = False
    times_pi: bool = True
    order: tuple[str, ...] = FEATURE_AXES
    in_front: bool = False


@dataclass(frozen=True)
class EachStep:
    """Steps that take turns: the first layer of each, then the second of each, ..."""

    steps: tuple[LayerStep, ...]


Step = LayerStep | InputStep | EachStep


@dataclass(frozen=True)
class RawLayout:
    """What a file of bare numbers does not say."""

    in_dims: int
    out_channels: int


@dataclass(frozen=True)
class Architecture:
    """A family of networks, of any width and depth.

    Attributes:
        name: of the TOML file, without suffix.
        modality, coords, values, box: for the header.
        records: in order.
        submodule: where in the checkpoint the network is, if the file has such a part.
        transpose: matrices are (in, out).
        tensor_names: last parts of the names of a layer's weight and bias.
        ignore: patterns of tensors that the network does not use.
        raw: for files of bare numbers only.
    """

    name: str
    modality: Modality
    coords: Coords
    values: Values
    records: tuple[Step, ...]
    box: tuple[tuple[float, float], ...] | None = None
    submodule: str = ""
    transpose: bool = False
    tensor_names: tuple[str, str] = ("weight", "bias")
    ignore: tuple[str, ...] = ()
    raw: RawLayout | None = None


def ready_names() -> list[str]:
    """Names of the architectures that come with the package."""
    return sorted(path.stem for path in READY.glob("*.toml"))


def ready_architecture(name: str) -> Architecture:
    """An architecture that comes with the package.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in ready_names():
        raise error("USAGE", f"architecture {name!r}: expected one of {', '.join(ready_names())}")
    return read_architecture(READY / f"{name}.toml")


def read_architecture(path: Path) -> Architecture:
    """The architecture of a TOML file.

    Raises:
        UsageError: not readable, or not an architecture; the message names the key.
    """
    try:
        return parse_architecture(path.read_text(encoding="utf-8"), path.stem)
    except OSError as failure:
        raise error("USAGE", f"{path}: {failure.strerror}") from failure
    except (ValueError, UnicodeDecodeError) as failure:
        raise error("USAGE", f"{path}: {failure}") from failure


def parse_architecture(text: str, name: str) -> Architecture:
    """The architecture of a TOML text.

    Raises:
        ValueError: not an architecture.
    """
    table = tomllib.loads(text)
    architecture: Architecture = _build(Architecture, table | {"name": name}, "", ARCHITECTURE_READERS)
    axes = architecture.box
    if (architecture.coords is Coords.BOX) != (axes is not None):
        raise ValueError('a box goes with coords = "BOX", and only with it')
    return architecture


def _build(cls: type[Any], table: Table, where: str, readers: Mapping[str, Callable[[Any], Any]]) -> Any:
    """A dataclass of a table: every key is one of its fields, read by the reader of its name or taken as it is."""
    known = {field.name: field for field in fields(cls)}
    for key in table:
        if key not in known:
            raise ValueError(f"{where}unknown key {key!r}, expected one of {', '.join(known)}")
    for key, field in known.items():
        if field.default is MISSING and key not in table:
            raise ValueError(f"{where}{key} is missing")
    values = {}
    for key, value in table.items():
        try:
            values[key] = readers[key](value)
        except (ValueError, TypeError, KeyError) as failure:
            raise ValueError(f"{where}{key} = {value!r}: {failure}") from failure
    return cls(**values)


def _code(codes: type[Code]) -> Callable[[Any], Code]:
    def read(value: Any) -> Code:
        if value not in codes.__members__:
            raise ValueError(f"expected one of {', '.join(codes.__members__)}")
        return codes[value]

    return read


def _exactly(kind: type[Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"expected {kind.__name__}")
        return value

    return read


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError("expected a number")
    return float(value)


def _number_or_name(value: Any) -> float | str:
    return value if isinstance(value, str) else _number(value)


def _list_of(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read_list(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("expected a list")
        return tuple(read(entry) for entry in value)

    return read_list


def _pair_of(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read_pair(value: Any) -> tuple[Any, ...]:
        pair = _list_of(read)(value)
        if len(pair) != 2:
            raise ValueError("expected two entries")
        return pair

    return read_pair


def _index(value: Any) -> str | tuple[int, ...]:
    if isinstance(value, list):
        return _list_of(_exactly(int))(value)
    parts = _exactly(str)(value).split(":")
    if len(parts) > 2 or not all(part == "" or part.removeprefix("-").isdigit() for part in parts) or parts == [""]:
        raise ValueError('expected a list, one number as "-1", or a slice as "1:-1"')
    return str(value)


def _order(value: Any) -> tuple[str, ...]:
    order = _list_of(_exactly(str))(value)
    if sorted(order) != sorted(FEATURE_AXES):
        raise ValueError(f"expected {', '.join(FEATURE_AXES)} in some order")
    return order


def _axes(value: Any) -> tuple[int, ...]:
    axes = _list_of(_exactly(int))(value)
    if not axes or axes[0] < 0 or axes[-1] >= MAX_AXES or list(axes) != list(range(axes[0], axes[-1] + 1)):
        raise ValueError(f"expected neighbouring axes in ascending order, 0 to {MAX_AXES - 1}")
    return axes


def _activations(value: Any) -> Mapping[str, RecordKind]:
    if not isinstance(value, dict):
        raise ValueError("expected a table")
    return {pattern: _code(RecordKind)(kind) for pattern, kind in value.items()}


def _steps(value: Any) -> tuple[Step, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("expected at least one table")
    return tuple(_step(table, f"record {number}: ") for number, table in enumerate(value, 1))


def _step(table: Table, where: str) -> Step:
    if "each" in table:
        steps = [_layer_step(inner, where) for inner in table["each"]]
        return EachStep(tuple(steps))
    if table.get("kind") == RecordKind.INPUT.name:
        step: InputStep = _build(InputStep, {k: v for k, v in table.items() if k != "kind"}, where, INPUT_READERS)
        return step
    return _layer_step(table, where)


def _layer_step(table: Table, where: str) -> LayerStep:
    step: LayerStep = _build(LayerStep, table, where, LAYER_READERS)
    if (step.kind is None) == (step.activations is None):
        raise ValueError(f"{where}either kind or activations is needed")
    if step.kind is not None and step.kind not in STEP_KINDS:
        raise ValueError(f"{where}{step.kind.name} has no layers of a checkpoint")
    return step


def _raw(value: Any) -> RawLayout:
    layout: RawLayout = _build(RawLayout, value, "", {"in_dims": _exactly(int), "out_channels": _exactly(int)})
    return layout


LAYER_READERS: dict[str, Callable[[Any], Any]] = {
    "layer": _exactly(str),
    "kind": _code(RecordKind),
    "index": _index,
    "omega": _number_or_name,
    "scale": _number_or_name,
    "bias_in_omega": _exactly(bool),
    "columns": _list_of(_exactly(int)),
    "activation": _code(RecordKind),
    "activations": _activations,
}
INPUT_READERS: dict[str, Callable[[Any], Any]] = {
    "axes": _axes,
    "encoded": _exactly(bool),
    "base": _number,
    "include_input": _exactly(bool),
    "times_pi": _exactly(bool),
    "order": _order,
    "in_front": _exactly(bool),
}
ARCHITECTURE_READERS: dict[str, Callable[[Any], Any]] = {
    "name": _exactly(str),
    "modality": _code(Modality),
    "coords": _code(Coords),
    "values": _code(Values),
    "records": _steps,
    "box": _list_of(_pair_of(_number)),
    "submodule": _exactly(str),
    "transpose": _exactly(bool),
    "tensor_names": _pair_of(_exactly(str)),
    "ignore": _list_of(_exactly(str)),
    "raw": _raw,
}
