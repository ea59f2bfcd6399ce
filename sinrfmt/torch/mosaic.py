"""A start for the training of a large picture: its networks, fitted to a mosaic of pieces from all over it.

Networks take thousands of steps to settle, however few positions there are; latents then need hundreds. So the
networks are trained on an eighth of the picture, and the latents of the whole start from a linear estimate of what
those networks want them to be. Nothing here is normative.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor as Values

from sinrfmt.head import over_lattice
from sinrfmt.metrics import Samples
from sinrfmt.network import Network
from sinrfmt.torch.fit import Progress
from sinrfmt.torch.grid_fit import GridFitOptions, fit_pyramid, new_pyramid
from sinrfmt.torch.latent_fit import learn_start, start_latents
from sinrfmt.torch.pyramid import PyramidModule

PIECE, LARGE_PIECE = (96, 128), (216, 216)
"""Rows and columns of a piece, at most; of a large picture, which may be smooth."""
LARGE_PICTURE = 1 << 21
"""Positions from which on a picture is large."""
SIDE = 2
"""Pieces along each axis."""


def mosaic_of(samples: Samples) -> Samples:
    """Pieces of samples [rows, columns, channels] as one picture."""
    piece = LARGE_PIECE if samples.shape[0] * samples.shape[1] >= LARGE_PICTURE else PIECE
    sizes = [min(n, most) for n, most in zip(samples.shape, piece, strict=False)]
    rows, columns = ([_start(i, n, size) for i in range(SIDE)] for n, size in zip(samples.shape, sizes, strict=False))
    return np.block([[[samples[y : y + sizes[0], x : x + sizes[1]]] for x in columns] for y in rows])


def _start(index: int, n: int, size: int) -> int:
    """Of a piece around the middle of its share of an axis."""
    middle = (2 * index + 1) * n // (2 * SIDE)
    return min(max(middle - size // 2, 0), n - size)


def trained_on_mosaic(
    network: Network,
    values: Values,
    mosaic: Values,
    shape: tuple[int, int],
    options: GridFitOptions,
    *,
    seed: int,
    on_progress: Progress | None = None,
) -> PyramidModule:
    """A module of the whole picture with the networks of the mosaic, and latents that they want.

    Args:
        network: of the whole.
        values: float32 (channels, rows * columns) of the whole, in [0, 1].
        mosaic: float32 (channels, rows * columns) of the mosaic.
        shape: rows and columns of the mosaic.
        options: of the training on the mosaic.
        seed: of everything random.
        on_progress: called with (steps done, steps in all, PSNR in dB) of the mosaic.
    """
    small = new_pyramid(over_lattice(network, shape), values, options.rate_weight, seed=seed)
    fitted = fit_pyramid(small, mosaic, replace(options, prefixes=()), seed=seed, on_progress=on_progress)
    sizes = np.diff(small.level_starts).tolist()
    start = learn_start(small.encoding, mosaic, torch.split(fitted.latents, sizes))
    module = new_pyramid(network, values, options.rate_weight, seed=seed)
    module.weights.load_state_dict(small.weights.state_dict())
    with torch.no_grad():
        module.latents.copy_(start_latents(module.encoding, values, start))
    return module
