"""What is looked at in the outputs of a network, where that is not the outputs themselves.

Curvature, corrections and quality are those of what is seen. Nothing here is normative.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.torch.fit import outputs
from sinrfmt.torch.modules import FieldModule

See = Callable[[NDArray[np.int64], Values], Values]
"""With the numbers (n,) of samples and their outputs (n * depth, channels), what is seen: (n, channels seen)."""


@dataclass(frozen=True)
class View:
    """How points of a network become what is seen. A *sample* is what consecutive points give together.

    Attributes:
        see: differentiable in the outputs.
        depth: points of a sample.
        channels: seen; None for those of the network.
    """

    see: See
    depth: int = 1
    channels: int | None = None


def _same(_: NDArray[np.int64], values: Values) -> Values:
    return values


EACH = View(_same)
"""Every output by itself."""


def seen(module: FieldModule, coords: NDArray[np.float32], view: View, *, device: torch.device) -> NDArray[np.float32]:
    """What is seen of a module at all samples: float32 (n, channels seen) of coords (n * depth, in_dims)."""
    values = torch.from_numpy(outputs(module, coords, device=device)).to(device)
    pixels: NDArray[np.float32] = view.see(np.arange(len(coords) // view.depth), values).cpu().numpy()
    return pixels
