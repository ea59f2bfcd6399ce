"""Recipes for latent grids over points of any dimension, and the networks that follow from them.

Specification: clause 9.6.1. Names and figures are in ``grid_presets.toml``; initial values, rates and sizes there begin
with section 2 of SHACIRA's appendix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sinrfmt.network import GridEncoding, LayerRecord, Network
from sinrfmt.registry import RecordKind
from sinrfmt.torch.point_fit import PointFitOptions

MOST_VERTICES = 65535
"""On an axis."""


@dataclass(frozen=True, kw_only=True)
class PointPreset(PointFitOptions):
    """A recipe: how to train (see ``PointFitOptions``), and the shape of grid and layers.

    Attributes:
        name: of the preset.
        n_levels: levels; vertices on an axis grow by one factor from each to the next.
        first_resolution: vertices of the coarsest level, on the longest axis.
        last_resolution: of the finest one, where ``last_share`` is 0 or there is no native grid; the same on all axes.
        last_share: vertices of the finest level for a sample of the native grid; axes are in its proportions.
        log2_table_size: of the most entries of a level.
        latent_dim, feature_dim: numbers of an entry, and what the linear decoder makes of them.
        width, depth: of the hidden layers.
        batch_size: points of a step, where the signal is sampled on a grid.
    """

    name: str
    n_levels: int
    first_resolution: int
    last_resolution: int
    last_share: float = 0.0
    log2_table_size: int
    latent_dim: int = 1
    feature_dim: int = 1
    width: int
    depth: int
    batch_size: int = 1 << 14


def point_network(
    preset: PointPreset, in_dims: int, channels: int, *, grid: Sequence[int] = (), n_axes: int | None = None
) -> Network:
    """The network of a preset.

    Args:
        preset: shape of grid and layers.
        in_dims: coordinates.
        channels: values of a point.
        grid: native grid, where there is one.
        n_axes: coordinates that the latents lie over, the first ones; None for all. The others are appended.
    """
    encoding = GridEncoding(
        level_resolutions(preset, in_dims if n_axes is None else n_axes, grid),
        latent_dim=preset.latent_dim,
        feature_dim=preset.feature_dim,
        log2_table_size=preset.log2_table_size,
    )
    hidden = LayerRecord(RecordKind.RELU, preset.width, repeat=preset.depth)
    return Network(in_dims, channels, (hidden, LayerRecord(RecordKind.LINEAR, channels)), encoding)


def level_resolutions(preset: PointPreset, n_axes: int, grid: Sequence[int] = ()) -> tuple[tuple[int, ...], ...]:
    """Vertices on every axis of every level, coarse to fine."""
    is_proportional = bool(preset.last_share and grid)
    last = preset.last_share * max(grid) if is_proportional else preset.last_resolution
    last = min(float(last), MOST_VERTICES)
    sides = [n / max(grid) for n in grid[:n_axes]] if is_proportional else [1.0] * n_axes
    samples = grid[:n_axes] or [MOST_VERTICES] * n_axes
    first = min(float(preset.first_resolution), last)
    factor = (last / first) ** (1.0 / max(1, preset.n_levels - 1))
    sizes = [first * factor**level for level in range(preset.n_levels)]
    return tuple(tuple(_vertices(size * side, n) for side, n in zip(sides, samples, strict=True)) for size in sizes)


def _vertices(size: float, n_samples: int) -> int:
    """Two at least; but an axis of one sample needs one."""
    return min(max(2, round(size)), MOST_VERTICES) if n_samples > 1 else 1
