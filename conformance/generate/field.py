"""Values of the field in binary64 with a bound of the error of binary32 evaluation (clause 16)."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from conformance.generate import lattice, philox
from conformance.generate.describe import (
    BOX,
    CENTRES,
    CENTRES_UNIT,
    CORNERS,
    CORNERS_PROPORTIONAL,
    LATTICE_FILTERS,
    Filter,
    Fourier,
    FourierSeeded,
    Grid,
    Head,
    Input,
    Multiply,
    Output,
    Pyramid,
    Unit,
)
from conformance.generate.lattice import UNIT_ROUNDOFF, Lattice, Number, dot
from conformance.generate.primitives import rne32

FLOOR = 1e-7  # least tolerance stated
FUNCTION_ULPS = 4  # error allowed to sin, exp, tanh of a binary32 library, in units of UNIT_ROUNDOFF

Point = tuple[float, ...]
Encoding = Callable[[Point], list[Number]]


@dataclass(frozen=True)
class Samples:
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


def evaluate(
    head: Head, weights: list[list[float]], points: list[tuple[float, ...]], shape: tuple[int, ...]
) -> Samples:
    """Field values at points (n, in_dims), to be written in `shape`."""
    if head.active_widths:
        weights = full_matrices(head, weights)
    at = field_of(head, weights)
    return judged([number for point in points for number in at(point)], shape)


def judged(results: Sequence[Number], shape: tuple[int, ...]) -> Samples:
    """Values in C order, and the tolerance that follows from their bounds."""
    bounds = [bound for _, bound in results]
    peak = max(*bounds, FLOOR)
    rms = max(math.sqrt(sum(b * b for b in bounds) / len(bounds)), FLOOR)
    return Samples([rne32(value) for value, _ in results], shape, _round_up(peak), _round_up(rms))


def _round_up(number: float) -> float:
    """Two significant digits, upwards."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 1)
    return float(f"{math.ceil(number / unit) * unit:.1e}")


def full_matrices(head: Head, weights: Sequence[Sequence[float]]) -> list[list[float]]:
    """Weights and biases of all layers of the blocks that have begun; what belongs to none is 0 (clause 13.2)."""
    full = {(u.number, False): [0.0] * (u.rows * u.columns) for u in head.units()}
    full |= {(u.number, True): [0.0] * u.rows for u in head.units() if u.layer.bias}
    columns = {u.number: u.columns for u in head.units()}
    for block, entries in zip(head.blocks(), weights, strict=False):
        is_bias = block.tensor.columns == 0
        stride, n = (1, 1) if is_bias else (columns[block.number], block.tensor.columns)
        for i, weight in enumerate(entries):
            place = (block.first_row + i // n) * stride + block.first_column + i % n
            full[block.number, is_bias][place] = weight
    return [full[key] for key in sorted(full)]


def field_of(head: Head, weights: list[list[float]]) -> Encoding:
    """The field as a function of a point."""
    first = head.records[0]
    own = weights[n_layer_tensors(head) :]
    if isinstance(first, Grid):
        return lambda point: _network(head, weights, point, lattice.grid_values(head, first, own, point))
    if isinstance(first, Pyramid):
        features = lattice.pyramid_features(head, first, own)
        if any(unit.layer.kind in LATTICE_FILTERS for unit in head.units()):
            values = _on_lattice(head, first, weights, features)
            return lambda point: lattice.lattice_values(head, values, point)
        return lambda point: _network(head, weights, point, lattice.lattice_values(head, features, point))
    return lambda point: _network(head, weights, point, _encoded(head, point))


def n_layer_tensors(head: Head) -> int:
    """Tensors of the layers, which stand before those of an input encoding."""
    return sum(1 + unit.layer.bias for unit in head.units())


def _network(head: Head, weights: list[list[float]], point: Point, values: list[Number]) -> list[Number]:
    """The layers at a point."""
    return field_values(*_steps(head.steps(), iter(weights), point, values))


def _steps(
    steps: Iterable[Input | Multiply | Unit], matrices: Iterator[list[float]], point: Point, values: list[Number]
) -> tuple[list[Number], list[Number]]:
    """The current values after these steps, and the values of the OUTPUT records among them."""
    coordinates = _exact(point)
    extra: list[Number] = []
    layers: list[list[Number]] = []  # what a MULTIPLY takes of each
    for step in steps:
        if isinstance(step, Input):
            values = joined(values, appended_values(step, point))
            continue
        if isinstance(step, Multiply):
            values = products(values, factors_of(layers, step))
            continue
        outputs = _activated(step, layer_sums(step, matrices, coordinates if step.role is Filter else values))
        if step.role is Output:
            extra += outputs
        else:
            values = products(values, outputs) if step.role is Filter else outputs
        layers.append(factors_from(step, outputs, values))
    return values, extra


def products(values: list[Number], factors: list[Number]) -> list[Number]:
    """The current values behind a FILTER or a MULTIPLY."""
    return [multiplied(value, factor) for value, factor in zip(values, factors, strict=True)]


def factors_of(layers: Sequence[list[Number]], record: Multiply) -> list[Number]:
    """The factors of a MULTIPLY."""
    return layers[record.layer]


def factors_from(unit: Unit, outputs: list[Number], values: list[Number]) -> list[Number]:
    """What a layer leaves for a MULTIPLY: its outputs, which of a FILTER are not the current values behind it."""
    return outputs


def _on_lattice(head: Head, pyramid: Pyramid, weights: list[list[float]], values: Lattice) -> Lattice:
    """Layers and the lattice filters behind them, on the whole native lattice."""
    steps = head.steps()
    filters = [s for s in steps if isinstance(s, Unit) and s.layer.kind in LATTICE_FILTERS]
    before = steps[: len(steps) - len(filters)]
    points = dict(zip(product(*map(range, head.grid)), coordinates(head, head.grid), strict=True))
    found = {p: _steps(before, iter(weights), points[p], numbers) for p, numbers in values.items()}
    values = {p: current for p, (current, _) in found.items()}
    matrices = islice(weights, sum(1 + s.layer.bias for s in before if isinstance(s, Unit)), None)
    for unit in filters:
        entries = next(matrices)
        bias = next(matrices) if unit.layer.bias else [0.0] * unit.rows
        sums = lattice.conv_sums(head, pyramid, entries, bias, values)
        values = {p: _activated(unit, numbers) for p, numbers in sums.items()}
    return {p: field_values(numbers, found[p][1]) for p, numbers in values.items()}


def field_values(last: list[Number], extra: list[Number]) -> list[Number]:
    """The outputs of the last layer, then those of the OUTPUT records."""
    return last + extra


def joined(values: list[Number], appended: list[Number]) -> list[Number]:
    """The current values behind an INPUT."""
    return values + appended


def _exact(numbers: Sequence[float]) -> list[Number]:
    return [(x, 0.0) for x in numbers]


def layer_sums(unit: Unit, matrices: Iterator[list[float]], inputs: list[Number]) -> list[Number]:
    """W x + b; of a complex layer the real parts, then the imaginary ones."""
    entries = next(matrices)
    bias = next(matrices) if unit.layer.bias else [0.0] * unit.rows
    rows = [entries[r * unit.columns : (r + 1) * unit.columns] for r in range(unit.rows)]
    if unit.is_complex:
        width = unit.rows // 2
        real, imaginary = rows[:width], rows[width:]
        rows = [[*w1, *(-w for w in w2)] for w1, w2 in zip(real, imaginary, strict=True)]
        rows += [[*w2, *w1] for w1, w2 in zip(real, imaginary, strict=True)]
    return [dot(row, inputs, (b, 0.0)) for row, b in zip(rows, bias, strict=True)]


def _activated(unit: Unit, sums: list[Number]) -> list[Number]:
    """The outputs of a layer (clause 16.3)."""
    omega = rne32(unit.layer.omega)
    kind = "SINE" if unit.role is Filter else unit.layer.kind
    if kind == "GABOR":
        return _gabor(sums, omega, rne32(unit.layer.scale), is_complex=unit.is_complex)
    return [ACTIVATIONS[kind](t, omega) for t in sums]


def _of_slope_1(act: Callable[[float], float], ulps: int) -> Callable[[Number, float], Number]:
    """An activation whose slope is at most 1."""

    def apply(t: Number, omega: float) -> Number:
        return act(omega * t[0]), omega * t[1] + ulps * UNIT_ROUNDOFF

    return apply


def finer(t: Number, omega: float) -> Number:
    """The activation of FINER."""
    value, error = t
    argument = omega * ((abs(value) + 1) * value)
    slope = omega * (2 * (abs(value) + error) + 1)
    error = slope * error + 4 * UNIT_ROUNDOFF * abs(argument)
    return math.sin(argument), error + FUNCTION_ULPS * UNIT_ROUNDOFF


ACTIVATIONS: dict[str, Callable[[Number, float], Number]] = {
    "LINEAR": _of_slope_1(lambda t: t, 0),
    "SINE": _of_slope_1(math.sin, FUNCTION_ULPS),
    "RELU": _of_slope_1(lambda t: max(t, 0.0), 0),
    "GAUSSIAN": _of_slope_1(lambda t: math.exp(-t * t), FUNCTION_ULPS),
    "TANH": _of_slope_1(math.tanh, FUNCTION_ULPS),
    "SIGMOID": _of_slope_1(lambda t: 1 / (1 + math.exp(-t)), FUNCTION_ULPS),
    "ELU": _of_slope_1(lambda t: t if t > 0 else math.exp(t) - 1, FUNCTION_ULPS),
    "FINER": finer,
    "CONV": _of_slope_1(lambda t: t, 0),
    "CONV_RELU": _of_slope_1(lambda t: max(t, 0.0), 0),
}


def _gabor(sums: list[Number], omega: float, scale: float, *, is_complex: bool) -> list[Number]:
    """Real parts of all wavelets, then imaginary parts."""
    width = len(sums) // 2 if is_complex else len(sums)
    imaginary = sums[width:] if is_complex else [(0.0, 0.0)] * width
    waves = [wavelet(t1, t2, omega, scale) for t1, t2 in zip(sums[:width], imaginary, strict=True)]
    return [real for real, _ in waves] + [imag for _, imag in waves]


def wavelet(t1: Number, t2: Number, omega: float, scale: float) -> tuple[Number, Number]:
    """One wavelet; the envelope's relative error is the absolute error of its exponent."""
    (x, ex), (y, ey) = t1, t2
    exponent = -omega * y - scale**2 * (x * x + y * y)
    size = abs(omega * y) + scale**2 * (x * x + y * y)
    error = omega * ey + scale**2 * (2 * abs(x) * ex + 2 * abs(y) * ey + ex * ex + ey * ey)
    relative = math.expm1(error + (8 * size + FUNCTION_ULPS) * UNIT_ROUNDOFF)
    phase = omega * ex + 2 * UNIT_ROUNDOFF * abs(omega * x)
    envelope = math.exp(exponent)
    bound = envelope * (relative + (1 + relative) * (phase + (FUNCTION_ULPS + 2) * UNIT_ROUNDOFF))
    return (envelope * math.cos(omega * x), bound), (envelope * math.sin(omega * x), bound)


def multiplied(value: Number, factor: Number) -> Number:
    """A product of a current value and a factor."""
    (a, ea), (b, eb) = value, factor
    return a * b, abs(a) * eb + abs(b) * ea + ea * eb + UNIT_ROUNDOFF * abs(a * b)


def appended_values(record: Input, point: tuple[float, ...]) -> list[Number]:
    """What an INPUT appends."""
    chosen = point[record.first : record.first + record.count]
    return _exact(chosen) if record.encoding is None else _fourier(record.encoding, chosen)


def _waves(arguments: list[Number]) -> tuple[list[Number], list[Number]]:
    extra = FUNCTION_ULPS * UNIT_ROUNDOFF
    sines = [(math.sin(t), e + extra) for t, e in arguments]
    cosines = [(math.cos(t), e + extra) for t, e in arguments]
    return sines, cosines


def _fourier(encoding: Fourier, point: tuple[float, ...]) -> list[Number]:
    """Outputs of FOURIER for some coordinates (clause 16.2)."""
    out = _exact(point) if encoding.include_input else []
    for j in range(encoding.octaves):
        frequency = rne32(rne32(encoding.base) ** j * (math.pi if encoding.times_pi else 1))
        # the frequency itself may be one unit off where a library's power is
        arguments = [(rne32(x * frequency), 2 * UNIT_ROUNDOFF * abs(x * frequency)) for x in point]
        sines, cosines = _waves(arguments)
        out += sines + cosines
    return out


def _encoded(head: Head, point: tuple[float, ...]) -> list[Number]:
    """The first current values: outputs of the input encoding (clause 16.2), the coordinates, or none."""
    first = head.records[0]
    if isinstance(first, Fourier):
        return _fourier(first, point)
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
    return [] if isinstance(first, Input) else _exact(point)
