"""Values of the field in binary64 with a bound of the error of binary32 evaluation (clause 16)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from conformance.generate import philox
from conformance.generate.describe import (
    BOX,
    CENTRES,
    CENTRES_UNIT,
    CORNERS,
    CORNERS_PROPORTIONAL,
    Fourier,
    FourierSeeded,
    Head,
)
from conformance.generate.primitives import rne32

UNIT_ROUNDOFF = 2.0**-24
FLOOR = 1e-7  # least tolerance stated
FUNCTION_ULPS = 4  # error allowed to sin, exp, tanh of a binary32 library, in units of UNIT_ROUNDOFF

ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "LINEAR": lambda t: t,
    "SINE": math.sin,
    "RELU": lambda t: max(t, 0.0),
    "GAUSSIAN": lambda t: math.exp(-t * t),
    "TANH": math.tanh,
    "SIGMOID": lambda t: 1 / (1 + math.exp(-t)),
    "ELU": lambda t: t if t > 0 else math.exp(t) - 1,
}

Number = tuple[float, float]  # value, bound of its error


@dataclass(frozen=True)
class Output:
    """Field values of one case and the tolerance a decoder has (VAL-1)."""

    values: list[float]
    shape: tuple[int, ...]
    peak: float
    rms: float


def coordinates(head: Head, sizes: Sequence[int]) -> list[tuple[float, ...]]:
    """Coordinates of every sample of a grid of these sizes, in C order, rounded to binary32 (clause 16.1)."""
    axes = [[rne32(_coordinate(head, axis, i, sizes)) for i in range(n)] for axis, n in enumerate(sizes)]
    return list(product(*axes))


def _coordinate(head: Head, axis: int, i: int, sizes: Sequence[int]) -> float:
    n = sizes[axis]
    if head.coords == BOX:
        low, high = (rne32(edges[axis]) for edges in head.box)
        return low + (high - low) * (i + 0.5) / n
    rules: dict[int, Callable[[], float]] = {
        CENTRES: lambda: (2 * i + 1) / n - 1,
        CORNERS: lambda: 2 * i / max(n - 1, 1) - 1,
        CORNERS_PROPORTIONAL: lambda: 2 * i / max(sizes[0] - 1, 1) - 1,
        CENTRES_UNIT: lambda: (i + 0.5) / n,
    }
    return rules[head.coords]()


def evaluate(head: Head, weights: list[list[float]], points: list[tuple[float, ...]], shape: tuple[int, ...]) -> Output:
    """Field values at points (n, in_dims), to be written in `shape`."""
    results = [number for point in points for number in _network(head, weights, point)]
    bounds = [bound for _, bound in results]
    peak = max(*bounds, FLOOR)
    rms = max(math.sqrt(sum(b * b for b in bounds) / len(bounds)), FLOOR)
    return Output([rne32(value) for value, _ in results], shape, _round_up(peak), _round_up(rms))


def _round_up(number: float) -> float:
    """Two significant digits, upwards."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 1)
    return float(f"{math.ceil(number / unit) * unit:.1e}")


def _network(head: Head, weights: list[list[float]], point: tuple[float, ...]) -> list[Number]:
    values = _encoded(head, point)
    matrices = iter(zip(head.tensors(), weights, strict=True))
    for layer in head.layers():
        matrix, entries = next(matrices)
        bias = next(matrices)[1] if layer.bias else [0.0] * matrix.rows
        act = ACTIVATIONS[layer.kind]
        omega = rne32(layer.omega)
        rows = (entries[r * matrix.columns : (r + 1) * matrix.columns] for r in range(matrix.rows))
        values = [_unit(row, b, values, omega, act) for row, b in zip(rows, bias, strict=True)]
    return values


def _unit(
    row: Sequence[float], bias: float, inputs: list[Number], omega: float, act: Callable[[float], float]
) -> Number:
    """One output of a layer; every activation of the registry has slope at most 1."""
    total = math.fsum([w * x for w, (x, _) in zip(row, inputs, strict=True)] + [bias])
    size = sum(abs(w * x) for w, (x, _) in zip(row, inputs, strict=True)) + abs(bias)
    error = sum(abs(w) * e for w, (_, e) in zip(row, inputs, strict=True))
    error = omega * (error + (len(row) + 3) * UNIT_ROUNDOFF * size)
    value = act(omega * total)
    if act is ACTIVATIONS["LINEAR"] or act is ACTIVATIONS["RELU"]:
        return value, error
    return value, error + FUNCTION_ULPS * UNIT_ROUNDOFF


def _waves(arguments: list[Number]) -> tuple[list[Number], list[Number]]:
    extra = FUNCTION_ULPS * UNIT_ROUNDOFF
    sines = [(math.sin(t), e + extra) for t, e in arguments]
    cosines = [(math.cos(t), e + extra) for t, e in arguments]
    return sines, cosines


def _encoded(head: Head, point: tuple[float, ...]) -> list[Number]:
    """Outputs of the input encoding (clause 16.2), or the coordinates."""
    first = head.records[0]
    inputs = [(x, 0.0) for x in point]
    if isinstance(first, Fourier):
        out = list(inputs) if first.include_input else []
        for j in range(first.octaves):
            frequency = rne32(rne32(first.base) ** j * (math.pi if first.times_pi else 1))
            # the frequency itself may be one unit off where a library's power is
            arguments = [(rne32(x * frequency), 2 * UNIT_ROUNDOFF * abs(x * frequency)) for x in point]
            sines, cosines = _waves(arguments)
            out += sines + cosines
        return out
    if isinstance(first, FourierSeeded):
        scale = rne32(first.scale)
        arguments = []
        for i in range(first.n_features):
            row = [rne32(scale * philox.fourier_integer(i, j, head.in_dims, head.seed)) for j in range(head.in_dims)]
            terms = [b * x for b, x in zip(row, point, strict=True)]
            bound = (len(terms) + 1) * UNIT_ROUNDOFF * sum(abs(t) for t in terms)
            arguments.append((math.fsum(terms), bound))
        sines, cosines = _waves(arguments)
        return sines + cosines
    return inputs
