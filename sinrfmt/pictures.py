"""What the file of a picture is to be: all that an encoder can be asked for, without an encoder.

The command line checks a request with it, and a batch knows from it what is finished, before torch is imported. Nothing
here is normative.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import pairwise

from sinrfmt.container import FRAMING_BYTES
from sinrfmt.faults import error
from sinrfmt.registry import Coding, ContextId

GRID_PRESETS = ("pyramid", "pyramid-large", "shacira")
SHIFT_CODINGS = ("scalar", "sparse")


class FieldKind(StrEnum):
    MLP = "mlp"
    GRID = "grid"
    AUTO = "auto"


GRID_BYTES = 4000
"""Size of a picture's file from which on latents are chosen.

At 192 x 128 pixels networks are ahead up to there, by 0.8 dB at 2,160 bytes of ``coffee`` and by 0.3 dB at 3,980; at
768 x 512 latents are, by 1.7 dB at 6,070 bytes of kodim15 (docs/fresh.md).
"""
LARGE_PICTURE = 100_000
"""Positions from which on lattice filters are worth their bytes and time: of a quarter of kodim05 they save 8 %."""
PREVIEW_SHARES = (0.015, 0.04, 0.09)
"""Bytes of previews as shares of those of the file without them, where only their number is given: the largest ones."""
FEWEST_PREVIEW_BYTES = 220
"""Below, a network has no picture: smaller shares are left out."""
QUALITY_BLOCK_BYTES = 3
"""Of a file of one pass."""
DEFAULT_BITS_PER_PIXEL = 0.35
"""Of a network, where nothing is asked for."""
DEFAULT_PRESETS = {FieldKind.GRID: "pyramid", FieldKind.MLP: "balanced", FieldKind.AUTO: "balanced"}


@dataclass(frozen=True)
class PictureOptions:
    """How a picture is to be encoded.

    Attributes:
        preset: how much work to do; None for ``balanced``, for grids ``pyramid`` or, for large pictures without tiles,
            ``pyramid-large``.
        max_bytes, max_bpp, min_psnr: size of the file, bits per pixel, PSNR in dB; at most one of the three.
        passes: how many, or the bytes up to the end of each, None for as many as it takes.
        previews: small files in front of the passes: how many, at most 3, or the bytes of each at most, rising. Sizes
            and bits per pixel are those of the whole file, with them.
        field: what holds the signal; ``auto`` goes by the preset, and without one by the size: see :meth:`for_size`.
        context: what predicts a pyramid's latents.
        rate_weight: of latents, lambda: what a bit per pixel adds to the mean squared error of values in [0, 1]; None
            for that of the preset, or for the one that a size or quality takes.
        tiles: samples on an axis that a part of a pyramid owns at most; None for a file without parts.
        overlap: samples of a part beyond its edges; None for 4 where there are tiles.
        weight_coding: ``scalar``, ``sparse`` or ``sinr-paper``.
        coding: payload coding; None for that of the weight coding.
        base: the bytes of a file of which only the biases are shifted.
        n_atoms: numbers of a layer, with a base and ``sparse``.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or any torch device.

    Raises:
        UsageError: options that do not go together.
    """

    preset: str | None = None
    max_bytes: int | None = None
    max_bpp: float | None = None
    min_psnr: float | None = None
    passes: int | tuple[int | None, ...] = 1
    previews: int | tuple[int, ...] = 0
    field: FieldKind = FieldKind.AUTO
    context: ContextId = ContextId.INTERLACED
    rate_weight: float | None = None
    tiles: int | None = None
    overlap: int | None = None
    weight_coding: str = "scalar"
    coding: Coding | None = None
    base: bytes | None = None
    n_atoms: int | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if sum(target is not None for target in self._targets) > 1:
            raise error("USAGE", "--bytes, --bpp, --psnr and --rate-weight exclude each other")
        if (
            self.preset is not None
            and self.field is not FieldKind.AUTO
            and self.is_grid != (self.field is FieldKind.GRID)
        ):
            raise error("USAGE", f"--preset {self.preset} does not go with --field {self.field.value}")
        if self.base is None and self.n_atoms is not None:
            raise error("USAGE", "--atoms goes with --base")
        if self.base is not None and (self.coding is not None or self.weight_coding not in SHIFT_CODINGS):
            raise error("USAGE", "--base goes with --coding scalar or sparse, and without --payload")
        if self.is_grid and (self.base is not None or self.coding is not None or self.weight_coding != "scalar"):
            raise error("USAGE", "grids go without --base, --coding and --payload")
        is_plain = self.base is None and self.coding is None and self.weight_coding == "scalar"
        if self.passes != 1 and not is_plain:
            raise error("USAGE", "--passes goes without --base, --coding and --payload")
        if self.rate_weight is not None and not self.is_grid:
            raise error("USAGE", "--rate-weight goes with --field grid")
        self._check_previews()
        self._check_tiles()

    def _check_previews(self) -> None:
        if not self.previews:
            return
        if self.base is not None:
            raise error("USAGE", "--previews goes without --base")
        if isinstance(self.previews, int) and not 0 < self.previews <= len(PREVIEW_SHARES):
            raise error("USAGE", f"--previews {self.previews}: expected 1 to {len(PREVIEW_SHARES)}, or their sizes")
        if isinstance(self.previews, tuple) and any(b <= a for a, b in pairwise((0, *self.previews))):
            raise error("USAGE", "--previews: expected sizes that rise")

    def _check_tiles(self) -> None:
        if self.tiles is None:
            if self.overlap is not None:
                raise error("USAGE", "--overlap goes with --tiles")
            return
        if self.chosen_preset != "pyramid":
            raise error("USAGE", "--tiles goes with --field grid and the preset pyramid")
        if self.passes != 1:
            raise error("USAGE", "--tiles goes without --passes")

    @property
    def _targets(self) -> tuple[float | None, ...]:
        return self.max_bytes, self.max_bpp, self.min_psnr, self.rate_weight

    @property
    def chosen_preset(self) -> str:
        return self.preset or DEFAULT_PRESETS[self.field]

    @property
    def is_grid(self) -> bool:
        return self.chosen_preset in GRID_PRESETS

    def for_size(self, sizes: Sequence[int]) -> tuple["PictureOptions", str | None]:
        """The same options with field and preset chosen for (rows, columns), and why if that was free."""
        is_free = self.field is FieldKind.AUTO and self.preset is None and self.min_psnr is None
        if not is_free or self.base is not None or self.coding is not None or self.weight_coding != "scalar":
            return self._with_preset(sizes), None
        n_bytes = self.passes[-1] if isinstance(self.passes, tuple) else self.budget(sizes)
        expected = int(DEFAULT_BITS_PER_PIXEL * sizes[0] * sizes[1] / 8) if n_bytes is None else n_bytes
        field = FieldKind.GRID if expected >= GRID_BYTES else FieldKind.MLP
        reason = f"about {expected} bytes; latents are better from {GRID_BYTES} bytes on"
        return replace(self, field=field)._with_preset(sizes), reason

    def _with_preset(self, sizes: Sequence[int]) -> "PictureOptions":
        """The larger networks for a large picture, where nothing else is asked for."""
        is_large = self.field is FieldKind.GRID and sizes[0] * sizes[1] >= LARGE_PICTURE
        is_free = self.preset is None and self.tiles is None
        return replace(self, preset="pyramid-large") if is_large and is_free else self

    def budget(self, sizes: Sequence[int]) -> int | None:
        """Bytes at most for a picture of (rows, columns)."""
        return self.max_bytes if self.max_bpp is None else int(self.max_bpp * sizes[0] * sizes[1] / 8)

    def for_passes(self, sizes: Sequence[int]) -> "PictureOptions":
        """What is left for the passes of a picture of (rows, columns) that has previews.

        Raises:
            UsageError: nothing is.
        """
        n_bytes = self.budget(sizes)
        if n_bytes is not None:
            number, share, fixed = self._previews_sum()
            n_bytes = int((n_bytes - fixed - QUALITY_BLOCK_BYTES - number * FRAMING_BYTES) / (1.0 + share))
            if n_bytes < 1:
                raise error("USAGE", "the previews take all of the bytes")
        return replace(self, previews=0, max_bytes=n_bytes, max_bpp=None)

    def _previews_sum(self) -> tuple[int, float, int]:
        """How many previews, and their bytes: a share of those of the passes, and a number."""
        if isinstance(self.previews, tuple):
            return len(self.previews), 0.0, sum(self.previews)
        shares = _largest_shares(self.previews)
        return len(shares), sum(shares), 0

    def preview_sizes(self, n_bytes: int) -> tuple[int, ...]:
        """Bytes at most of the previews of a file that has ``n_bytes`` without them."""
        if isinstance(self.previews, tuple):
            return self.previews
        sizes = (int(share * n_bytes) for share in _largest_shares(self.previews))
        return tuple(size for size in sizes if size >= FEWEST_PREVIEW_BYTES)

    def of_preview(self, n_bytes: int) -> "PictureOptions":
        """How a preview of so many bytes is made: a plain file; presets of networks stay."""
        is_small = n_bytes < GRID_BYTES
        return PictureOptions(
            preset=self.preset if is_small and not self.is_grid else None,
            max_bytes=n_bytes - QUALITY_BLOCK_BYTES,
            field=FieldKind.MLP if is_small else FieldKind.GRID,
            seed=self.seed,
            device=self.device,
        )

    @property
    def identity(self) -> dict[str, object]:
        """Everything here that a file depends on, as JSON; the base by its digest."""
        base = None if self.base is None else hashlib.sha256(self.base).hexdigest()
        return asdict(self) | {"preset": self.chosen_preset, "base": base}


def _largest_shares(n_previews: int) -> tuple[float, ...]:
    """Of the bytes, for so many previews."""
    return PREVIEW_SHARES[len(PREVIEW_SHARES) - n_previews :]
