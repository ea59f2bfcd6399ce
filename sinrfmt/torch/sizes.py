"""Networks of the right size: for a budget of bytes, or for a quality, where only a training tells.

For signals whose distortion is their own, such as what is seen of a shape or along rays. Nothing here is normative.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sinrfmt.faults import error
from sinrfmt.network import Network
from sinrfmt.payload import TensorCode
from sinrfmt.torch.files import Encoding
from sinrfmt.torch.search import all_zero

BUDGET_SHARES = (1.0, 0.8, 0.6)
"""Of the bytes, for which networks are made until one fits: weights may take more than is expected."""
MAX_SIZES = 4


@dataclass(frozen=True)
class Sizes:
    """Where a search of the size begins and how it goes on.

    Attributes:
        first, least, most: bytes of the file.
        db_per_octave: what twice the bytes bring.
        close: excess in dB from which on a smaller file is tried.
    """

    first: int
    least: int
    most: int
    db_per_octave: float
    close: float


def encode_for_bytes(
    make: Callable[[Network, int], Encoding | None],
    network_of: Callable[[int], Network],
    build: Callable[[Network, Sequence[TensorCode]], bytes],
    budget: int,
) -> Encoding:
    """The file of a network for a budget; of a smaller one where its weights take too much.

    Args:
        make: the file of a network in a budget; None if it does not fit.
        network_of: the network that is expected to take so many bytes.
        build: the file of integers.
        budget: of the file, META not counted.

    Raises:
        UsageError: none of them fits.
    """
    if len(build(*all_zero(network_of(0)))) > budget:  # known before any work is done
        raise error("USAGE", f"{budget} bytes beside META are fewer than the smallest network takes")
    for share in BUDGET_SHARES:
        encoding = make(network_of(round(share * budget)), budget)
        if encoding is not None:
            return encoding
    raise error("USAGE", f"{budget} bytes beside META are too few for any network of this signal")


def encode_for_quality(
    encode: Callable[[int], Encoding], quality: Callable[[Encoding], float], least: float, sizes: Sizes
) -> Encoding:
    """The smallest file found that has a quality.

    Args:
        encode: the file for a budget.
        quality: of a file, in dB.
        least: that is asked for.
        sizes: to try.

    Raises:
        UsageError: none of them has it.
    """
    n_bytes, best = sizes.first, None
    for _ in range(MAX_SIZES):
        encoding = encode(n_bytes)
        excess = quality(encoding) - least
        if excess >= 0 and (best is None or encoding.n_bytes < best.n_bytes):
            best = encoding
        if 0 <= excess <= sizes.close:
            break
        octaves = (sizes.close / 2 - excess) / sizes.db_per_octave
        n_bytes = round(min(max(n_bytes * 2.0**octaves, sizes.least), sizes.most))
    if best is None:
        raise error("USAGE", f"the target was not reached with {n_bytes} bytes")
    return best
