"""Named recipes of the encoder, and the network for a budget of bytes.

The numbers are in ``presets.toml``. The best network for a budget is the one whose weights get 5 to 6 bits each; a
larger one at fewer bits, or a smaller one at more, gives a worse picture.
"""

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import product

from sinrfmt.faults import error
from sinrfmt.network import LayerRecord, Network
from sinrfmt.registry import RecordKind

OVERHEAD_BYTES = 66
"""Container and start of the stream of a one-pass file."""
TENSOR_BYTES = 3.5
"""Side information of a tensor."""

MIN_WIDTH = 6
MAX_WIDTH = 256
DEPTH = 6
"""Hidden layers from 250 bytes on: at equal bytes 3 are about 1 dB worse, 7 no better."""
SMALL_DEPTH, SMALL_WIDTHS = 4, range(3, 8)
"""Of files of 110 to 250 bytes: six layers of six units are rounded too coarsely there, 4 dB worse at 200 bytes."""


@dataclass(frozen=True)
class Preset:
    """How much work the encoder does.

    Attributes:
        name: of the preset.
        n_seeds: seeds that are screened, for each omega.
        omegas: candidates for omega of the sine layers.
        first_omegas: candidates for that of the first one alone; none where it is that of the others.
        screening_share: steps of a screened candidate, as a share of ``n_steps``.
        n_steps: steps of the training that follows.
        learning_rate: at the start of the cosine.
        feedback_limit: most parameters that share their rounding error.
        curvature_samples: samples from which the curvature is measured.
        n_trials: quantisations in the search of the knob.
        n_refits: corrections by the true gradient during a quantisation; 0 for none.
        n_refit_trials: quantisations with corrections, in the neighbourhood that the search without them found.
    """

    name: str
    n_seeds: int
    omegas: tuple[float, ...]
    screening_share: float
    n_steps: int
    learning_rate: float
    feedback_limit: int
    curvature_samples: int
    n_trials: int
    n_refits: int
    n_refit_trials: int
    first_omegas: tuple[float, ...] = ()

    @property
    def waves(self) -> list[tuple[float, float]]:
        """All candidates: omega of the first layer, and that of the others."""
        return [(first, omega) for omega in self.omegas for first in self.first_omegas or (omega,)]


@cache
def presets() -> dict[str, Preset]:
    """All presets by name, the fastest first."""
    table = tomllib.loads(files("sinrfmt.torch").joinpath("presets.toml").read_text(encoding="utf-8"))
    return {name: Preset(name=name, **{**fields, "omegas": tuple(fields["omegas"])}) for name, fields in table.items()}


def preset_of(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in presets():
        raise error("USAGE", f"preset {name!r}: expected one of {', '.join(presets())}")
    return presets()[name]


def sine_network(
    in_dims: int, out_channels: int, depth: int, width: int, omega: float, first_omega: float | None = None
) -> Network:
    """A SIREN of ``depth`` hidden layers with seeded prior; with one omega unless the first layer has its own."""
    hidden = LayerRecord(RecordKind.SINE, width, repeat=depth, omega=omega, prior=True)
    last = LayerRecord(RecordKind.LINEAR, out_channels)
    if first_omega is None or first_omega == omega:
        return Network(in_dims, out_channels, (hidden, last))
    first = LayerRecord(RecordKind.SINE, width, omega=first_omega, prior=True)
    return Network(in_dims, out_channels, (first, replace(hidden, repeat=depth - 1), last))


def bits_per_parameter(bits_per_sample: float) -> float:
    """Bits of a weight at which the size of the network is right for a rate in bits per grid position.

    Measured on photographs: 5.2 at 1/3 bit per pixel, and half a bit more for every doubling, as the quality rises.
    """
    return min(max(5.2 + 0.5 * math.log2(3.0 * bits_per_sample), 4.5), 8.0)


def expected_bytes(network: Network, bits: float) -> float:
    """Bytes of a file of this network with so many bits per parameter."""
    return OVERHEAD_BYTES + TENSOR_BYTES * len(network.tensors) + network.n_parameters * bits / 8.0


def network_for_bytes(
    in_dims: int,
    out_channels: int,
    max_bytes: int,
    n_samples: int,
    omega: float,
    bits_of_rate: Callable[[float], float] = bits_per_parameter,
    first_omega: float | None = None,
) -> Network:
    """The widest SIREN that is expected to fit; the smallest one when none does.

    Args:
        in_dims, out_channels: of the signal.
        max_bytes: size of the file.
        n_samples: grid positions of the signal.
        omega: of the sine layers.
        bits_of_rate: bits of a weight at a rate in bits per grid position.
        first_omega: of the first layer; None for that of the others.
    """
    bits = bits_of_rate(max(8.0 * max_bytes, 1.0) / n_samples)
    sizes = [*product([SMALL_DEPTH], SMALL_WIDTHS), *product([DEPTH], range(MIN_WIDTH, MAX_WIDTH + 1))]
    networks = [sine_network(in_dims, out_channels, depth, width, omega, first_omega) for depth, width in sizes]
    return largest_network(networks, bits, max_bytes)


def largest_network(networks: Sequence[Network], bits: float, max_bytes: int) -> Network:
    """The last of some networks, the smallest first, that is expected to fit; the first one when none does."""
    n_fitting = sum(expected_bytes(network, bits) <= max_bytes for network in networks)
    return networks[max(0, n_fitting - 1)]
