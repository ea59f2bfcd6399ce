"""Pictures of what is inside a file: decoded passes, latents, integers, where the bytes go; and of fields by planes.

Drawn with matplotlib (extra ``plot``). Nothing here is normative.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.network import TensorRole
from sinrfmt.registry import Tool, Values
from sinrfmt.report import coded_tensors
from sinrfmt.weights import TensorState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

INCH = 2.6
"""Width of a panel."""
N_COLUMNS = 4
DPI = 110
LATENT_COLOURS = "RdBu_r"
PASS_COLOURS = "viridis"
INK, PALE = "#26323d", "#e6e9ed"
LEAST_SPAN = 2.0
"""Largest magnitude of a latent that the colours reach, at least."""
SPAN_SHARE = 99.5
"""Per cent of the latents that are not zero within the range of the colours."""
N_BINS = 41
LEAST_REACH = 4
"""Magnitude of an integer that the axis of a histogram reaches, at least."""
SMALL = 100
"""Bytes below which a tenth of one is shown."""
N_HISTOGRAMS = 16
N_CHANNELS = 4
"""Of a picture, at most."""
BAR_COLOUR = "#4c78a8"
BAR_INCH = 0.26
RATIOS = (0.3, 1.6)
"""Least and largest height of a panel in its width."""


Item = TypeVar("Item")


@dataclass(frozen=True)
class _Part:
    """Some panels under a heading: their height in inches, and what draws them."""

    heading: str
    height: float
    draw: Callable[["SubFigure"], None]


def draw(field: Field, path: Path, *, title: str) -> None:
    """Draw a field as a PNG, or what else the name of the file ends with.

    Args:
        field: decoded; of its passes all that were decoded are shown.
        path: of the file to write.
        title: over the drawing.

    Raises:
        UsageError: matplotlib is not installed, or does not know the kind of file.
    """
    parts = [part for part in (_passes(field), _latents(field), _integers(field), _bits(field)) if part is not None]
    heights = [part.height for part in parts]
    figure = _new_figure(sum(heights), _title(field, title))
    places = figure.subfigures(len(parts), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, place in zip(parts, places, strict=True):
        place.suptitle(part.heading, fontsize=9, color=INK, x=0.01, ha="left")
        part.draw(place)
    _save(figure, path)


def draw_planes(samples: NDArray[Any], path: Path, *, title: str, axes: Sequence[str] = ()) -> None:
    """Draw an array through its middle: a plane for every two of its axes; a curve of one axis.

    Args:
        samples: of at least one axis; NaN where nothing is.
        path, title: as for :func:`draw`.
        axes: their names; numbers where there are none.

    Raises:
        UsageError: as :func:`draw`.
    """
    names = [*axes] or [f"axis {axis}" for axis in range(samples.ndim)]
    planes = [*combinations(range(samples.ndim), 2)]
    shapes = [(samples.shape[rows], samples.shape[columns]) for rows, columns in planes] or [(1, 2)]
    figure = _new_figure(_height(shapes, len(shapes)), title)
    (place,) = figure.subfigures(1, 1, squeeze=False)[0]
    if not planes:
        place.subplots().plot(samples, color=BAR_COLOUR, linewidth=0.8)
    for (rows, columns), panel in _panels(place, planes) if planes else ():
        middle = tuple(slice(None) if axis in (rows, columns) else n // 2 for axis, n in enumerate(samples.shape))
        shown = panel.imshow(samples[middle], cmap=PASS_COLOURS, aspect="auto", interpolation="nearest")
        _add_bar(place, panel, shown)
        _label(panel, f"{names[rows]} by {names[columns]}")
    _save(figure, path)


def _new_figure(height: float, title: str) -> "Figure":
    """An empty drawing with room for panels of that many inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as failure:
        raise error("USAGE", f"{failure.name} is not installed: pip install 'sinrfmt[plot]'") from failure
    figure = Figure(figsize=(INCH * N_COLUMNS, height + 0.4), dpi=DPI, layout="constrained")
    figure.suptitle(title, color=INK, fontsize=11, x=0.01, ha="left")
    return figure


def _save(figure: "Figure", path: Path) -> None:
    try:
        figure.savefig(path)
    except ValueError as failure:
        raise error("USAGE", str(failure)) from failure


def _title(field: Field, title: str) -> str:
    header = field.header
    size = " x ".join(map(str, field.shape)) or f"{header.network.in_dims} axes"
    return (
        f"{title}: {header.modality.name.lower()} {size}, {len(field.data)} bytes, "
        f"{header.network.n_parameters} parameters, pass {field.n_passes} of {header.n_passes}"
    )


# --- the passes ------------------------------------------------------------------------------------------------------


def _passes(field: Field) -> _Part | None:
    """The picture after each pass, of a field that is one."""
    header = field.header
    if len(header.grid) != 2 or header.network.out_channels > N_CHANNELS or header.values is Values.RAW:
        return None
    earlier = () if header.base_digest is not None else range(1, field.n_passes)
    prefixes = [*(sinrfmt.loads(field.data, passes=index) for index in earlier), field]
    return _Part("the picture after each pass", _height([header.grid], len(prefixes)), partial(_draw_passes, prefixes))


def _draw_passes(prefixes: Sequence[Field], place: "SubFigure") -> None:
    for prefix, axes in _panels(place, prefixes):
        quality = prefix.header.quality
        announced = "" if quality is None else f", {quality[prefix.n_passes - 1]:.2f} dB announced"
        axes.imshow(_shown(prefix.to_uint8()), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        _label(axes, f"pass {prefix.n_passes - 1}: {prefix.pass_ends[-1]} bytes{announced}", has_ticks=False)


def _shown(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As matplotlib takes it: grey without an axis for it, grey with alpha as RGBA."""
    if samples.shape[2] == 1:
        return samples[..., 0]
    return samples[..., [0, 0, 0, 1]] if samples.shape[2] == 2 else samples


# --- latents ---------------------------------------------------------------------------------------------------------


def _latents(field: Field) -> _Part | None:
    levels = [state for state in field.states if state.tensor.role is TensorRole.LATENT]
    if not levels:
        return None
    shapes = [_plane(state).shape for state in levels]
    return _Part("latents of each level", _height(shapes, len(levels)), partial(_draw_levels, levels))


def _draw_levels(levels: Sequence[TensorState], place: "SubFigure") -> None:
    for index, (state, axes) in enumerate(_panels(place, levels)):
        plane = _plane(state)
        others = np.abs(plane[plane != 0])
        span = max(LEAST_SPAN, float(np.percentile(others, SPAN_SHARE))) if others.size else LEAST_SPAN
        image = axes.imshow(plane, cmap=LATENT_COLOURS, vmin=-span, vmax=span, interpolation="nearest")
        _add_bar(place, axes, image)
        size = "x".join(map(str, state.tensor.shape))
        share = f"{100.0 * np.count_nonzero(state.acc) / state.acc.size:.3g} % not zero"
        _label(axes, f"level {index}: {size}, {share if state.is_coded else 'not coded yet'}", has_ticks=False)


def _plane(state: TensorState) -> NDArray[np.int32]:
    """Latents as a picture: the middle plane of more than two axes; entries of a GRID in lines."""
    values = state.acc.reshape(state.tensor.shape)
    while values.ndim > 2:
        values = values[len(values) // 2]
    if min(values.shape) * N_COLUMNS * 4 > max(values.shape):
        return values
    width = math.ceil(math.sqrt(values.size * 1.5))
    return np.pad(values.reshape(-1), (0, -values.size % width)).reshape(-1, width)


# --- networks --------------------------------------------------------------------------------------------------------


def _integers(field: Field) -> _Part | None:
    """Histograms of the largest tensors of the networks."""
    states = [state for state in field.states if state.tensor.role is not TensorRole.LATENT]
    largest = sorted((s for s in states if s.tensor.record.tool is not Tool.RAW), key=lambda s: -s.tensor.size)
    names = {state.tensor.name for state in largest[:N_HISTOGRAMS]}
    chosen = [state for state in states if state.tensor.name in names]
    if not chosen:
        return None
    return _Part("integers of the networks", _height([(2, 3)], len(chosen)), partial(_draw_integers, chosen))


def _draw_integers(states: Sequence[TensorState], place: "SubFigure") -> None:
    from matplotlib.ticker import MaxNLocator

    for state, axes in _panels(place, states):
        low, high = int(state.acc.min()), int(state.acc.max())
        width = max(1, math.ceil((high - low + 1) / N_BINS))
        axes.hist(state.acc, bins=(np.arange(low, high + width + 1, width) - 0.5).tolist(), color=BAR_COLOUR)
        axes.set_xlim(min(low, -LEAST_REACH) - 0.5 * width, max(high, LEAST_REACH) + width)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="y", color=PALE)
        axes.set_axisbelow(True)
        _label(axes, f"{state.tensor.name}, {'x'.join(map(str, state.tensor.shape))}")


# --- bytes -----------------------------------------------------------------------------------------------------------


def _bits(field: Field) -> _Part:
    """Bytes of each tensor and pass."""
    sizes: dict[str, NDArray[np.float64]] = {}
    for coded in coded_tensors(field):
        sizes.setdefault(coded.name, np.zeros(field.n_passes))[coded.index] += coded.bits / 8
    rest = len(field.data) - sum(size.sum() for size in sizes.values())
    heading = f"bytes of the coded values; container, HEAD and tables have {rest:.0f} more"
    return _Part(heading, BAR_INCH * len(sizes) + 0.8, partial(_draw_bits, list(sizes), np.stack(list(sizes.values()))))


def _draw_bits(names: list[str], sizes: NDArray[np.float64], place: "SubFigure") -> None:
    from matplotlib import colormaps

    axes = place.subplots()
    starts = np.cumsum(sizes, axis=1) - sizes
    colours = colormaps[PASS_COLOURS](np.linspace(0.15, 0.85, sizes.shape[1]))
    lines = np.arange(len(names))
    for index, colour in enumerate(colours):
        label = f"pass {index}: {sizes[:, index].sum():.0f} bytes"
        axes.barh(lines, sizes[:, index], left=starts[:, index], color=colour, label=label)
    for line, size in enumerate(sizes.sum(axis=1).tolist()):
        share = 100.0 * size / max(float(sizes.sum()), 1.0)
        axes.text(size, line, f" {size:.{int(size < SMALL)}f} ({share:.2g} %)", va="center", fontsize=7, color=INK)
    axes.set_yticks(lines, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * sizes.sum(axis=1).max())
    axes.grid(axis="x", color=PALE)
    axes.set_axisbelow(True)
    axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 1), ncols=min(len(colours), 6), frameon=False)
    _label(axes, "")


# --- panels ----------------------------------------------------------------------------------------------------------


def _height(shapes: Sequence[tuple[int, ...]], n: int) -> float:
    """Inches of the lines that n panels need; the tallest of their shapes (rows, columns) counts."""
    low, high = RATIOS
    ratio = max(min(max(rows / columns, low), high) for rows, columns in shapes)
    return (INCH * ratio + 0.3) * math.ceil(n / N_COLUMNS) + 0.3


def _panels(place: "SubFigure", items: Sequence[Item]) -> Iterator[tuple[Item, "Axes"]]:
    """Every item with its axes, in lines of ``N_COLUMNS``."""
    grid = place.subplots(math.ceil(len(items) / N_COLUMNS), N_COLUMNS, squeeze=False)
    for axes in grid.flat[len(items) :]:
        axes.set_axis_off()
    yield from zip(items, grid.flat, strict=False)


def _add_bar(place: "SubFigure", axes: "Axes", image: "AxesImage") -> None:
    """A scale of colours beside a panel."""
    bar = place.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    bar.ax.tick_params(labelsize=6, colors=INK)
    bar.outline.set_visible(False)


def _label(axes: "Axes", title: str, *, has_ticks: bool = True) -> None:
    axes.set_title(title, fontsize=7.5, color=INK, loc="left")
    axes.tick_params(labelsize=7, colors=INK)
    for side in axes.spines.values():
        side.set_color(PALE)
    if not has_ticks:
        axes.set_xticks([])
        axes.set_yticks([])
