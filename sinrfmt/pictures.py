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
from sinrfmt.previews import IMPLIED_BYTES
from sinrfmt.registry import Coding, ContextId

GRID_PRESETS = ("pyramid", "pyramid-fast", "pyramid-large", "pyramid-best", "shacira")
SHIFT_CODINGS = ("scalar", "sparse")


class Ladder(StrEnum):
    """How a file comes in several steps."""

    AUTO = "auto"
    GROWTH = "growth"
    LEVELS = "levels"
    PREVIEWS = "previews"


class FieldKind(StrEnum):
    MLP = "mlp"
    GRID = "grid"
    AUTO = "auto"


GRID_BYTES = 4000
"""Size of a picture's file from which on latents are chosen.

At 192 x 128 pixels networks are ahead up to there, by 0.8 dB at 2,160 bytes of ``coffee`` and by 0.3 dB at 3,980; at
768 x 512 latents are, by 1.7 dB at 6,070 bytes of kodim15 (docs/fresh.md).
"""
LARGE_GRID_BYTES = 2500
"""The same for previews of large pictures. Latents of kodim15, 768 x 512, are 1.05 dB ahead at 2,300 bytes already, but
take as long as the whole picture; those of kodim23 reduced to 384 x 256 are not ahead of networks at 1,600."""
LARGE_PICTURE = 100_000
"""Positions from which on lattice filters are worth their bytes and time: of a quarter of kodim05 they save 8 %."""
MAX_PREVIEWS = 3
"""Where only their number is given."""
PREVIEW_SHARES = {False: 0.19, True: 0.14}
"""Bytes of three previews as a share of those of the file without them, by whether it is latents; of fewer ones a third
of it each. Networks have few bytes, so that previews of less stand too close together (docs/previews.md)."""
PREVIEW_RATIOS = (7.0, 6.0, 5.0, 4.0, 3.5, 3.0, 2.6, 2.3, 2.1, 1.9, 1.7)
"""How many times as large as the preview before it one may be: the first ratio that makes all of them large enough."""
FEWEST_PREVIEW_BYTES = 110 - IMPLIED_BYTES
"""Below, a network has no picture: its file has 110 bytes."""
HEAD_BYTES = 64
"""Signature and HEAD in front of previews, at most."""
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
        passes: how many steps the file comes in, or the bytes up to the end of each, None for as many as it takes.
        ladder: what the steps are: previews and one pass; passes of a network that grows or of an encoding's levels; or
            what :meth:`for_ladder` takes.
        previews: small files in front of the passes: how many, at most 3, or the bytes of each at most as the file
            holds it (payload of PREV), rising. Sizes and bits per pixel are those of the whole file, with them.
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
    ladder: Ladder = Ladder.AUTO
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
            raise error("USAGE", "--bytes, --bpp, --psnr, --rate-weight and a size of the last pass exclude each other")
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
        self._check_ladder()
        self._check_previews()
        self._check_tiles()

    def _check_ladder(self) -> None:
        if self.ladder is Ladder.AUTO:
            return
        if self.passes == 1:
            raise error("USAGE", "--ladder goes with --passes")
        if self.ladder is Ladder.PREVIEWS and self.previews:
            raise error("USAGE", "--previews goes without --ladder previews")

    def _check_previews(self) -> None:
        if not self.previews:
            return
        if self.base is not None:
            raise error("USAGE", "--previews goes without --base")
        if isinstance(self.previews, int) and not 0 < self.previews <= MAX_PREVIEWS:
            raise error("USAGE", f"--previews {self.previews}: expected 1 to {MAX_PREVIEWS}, or their sizes")
        if isinstance(self.previews, tuple) and any(b <= a for a, b in pairwise((0, *self.previews))):
            raise error("USAGE", "--previews: expected sizes that rise")

    def _check_tiles(self) -> None:
        if self.tiles is None:
            if self.overlap is not None:
                raise error("USAGE", "--overlap goes with --tiles")
            return
        if self.chosen_preset != "pyramid":
            raise error("USAGE", "--tiles goes with --field grid and the preset pyramid")
        if self.passes != 1 and (self.previews or self.ladder in (Ladder.GROWTH, Ladder.LEVELS)):
            raise error("USAGE", "steps of --tiles are previews")
        if isinstance(self.passes, tuple):
            raise error("USAGE", "--tiles goes without sizes of --passes")

    @property
    def _targets(self) -> tuple[float | None, ...]:
        return self.max_bytes, self.max_bpp, self.min_psnr, self.rate_weight, self._last_size

    @property
    def _last_size(self) -> int | None:
        """Bytes of the whole file at most, where sizes of the steps say so."""
        return self.passes[-1] if isinstance(self.passes, tuple) else None

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
        expected = self._expected_bytes(sizes)
        field = FieldKind.GRID if expected >= GRID_BYTES else FieldKind.MLP
        reason = f"about {expected} bytes; latents are better from {GRID_BYTES} bytes on"
        return replace(self, field=field)._with_preset(sizes), reason

    def _expected_bytes(self, sizes: Sequence[int]) -> int:
        """Of the whole file, as far as it is known."""
        n_bytes = self.budget(sizes) if self._last_size is None else self._last_size
        return int(DEFAULT_BITS_PER_PIXEL * sizes[0] * sizes[1] / 8) if n_bytes is None else n_bytes

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
            n_bytes = self._left_by_previews(n_bytes)
            if n_bytes < 1:
                raise error("USAGE", "the previews take all of the bytes")
        return replace(self, previews=0, max_bytes=n_bytes, max_bpp=None)

    def _left_by_previews(self, n_bytes: int) -> int:
        number, share, fixed = self._previews_sum()
        return int((n_bytes - fixed - QUALITY_BLOCK_BYTES - number * FRAMING_BYTES) / (1.0 + share))

    def _previews_sum(self) -> tuple[int, float, int]:
        """How many previews, and their bytes: a share of those of the passes, and a number."""
        if isinstance(self.previews, tuple):
            return len(self.previews), 0.0, sum(self.previews)
        return self.previews, self._preview_share, 0

    @property
    def _preview_share(self) -> float:
        """Bytes of a number of previews beside those of the passes."""
        assert isinstance(self.previews, int)
        return PREVIEW_SHARES[self.is_grid] * self.previews / MAX_PREVIEWS

    def preview_sizes(self, n_bytes: int) -> tuple[int, ...]:
        """Bytes at most of the previews of a file that has ``n_bytes`` without them; :meth:`for_size` comes first."""
        if isinstance(self.previews, tuple):
            return self.previews
        total = self._preview_share * n_bytes
        for number in range(self.previews, 0, -1):
            for ratio in PREVIEW_RATIOS:
                steps = [ratio**step for step in range(number)]
                if total >= FEWEST_PREVIEW_BYTES * sum(steps):
                    return tuple(int(total * step / sum(steps)) for step in steps)
        return ()

    def for_ladder(self, sizes: Sequence[int]) -> tuple["PictureOptions", str | None]:
        """The same options with their steps as previews or as passes, and why if that was free.

        Previews are taken where all of them fit and cost no more than their share; see docs/passes.md for what the
        ladders cost. :meth:`for_size` comes first.

        Args:
            sizes: (rows, columns).

        Raises:
            UsageError: the field has no such ladder, or the steps cannot be previews and nothing else was asked for.
        """
        n_steps = self.passes if isinstance(self.passes, int) else len(self.passes)
        if n_steps == 1 or (self.previews and self.ladder is Ladder.AUTO):
            return self, None
        own = Ladder.LEVELS if self.is_grid else Ladder.GROWTH
        if self.ladder not in (own, Ladder.PREVIEWS, Ladder.AUTO):
            raise error("USAGE", f"--ladder {self.ladder.value}: steps of this field are {own.value} or previews")
        if self.ladder is own:
            return self, None
        missing = self._why_not_previews(sizes)
        if missing is None:
            reason = f"steps are previews, each near a file of its size; {own.value} would not be"
            return self._with_previews(), reason if self.ladder is Ladder.AUTO else None
        if self.ladder is Ladder.PREVIEWS or self.tiles is not None:
            raise error("USAGE", f"steps cannot be previews: {missing}")
        return replace(self, ladder=own), f"steps are {own.value} and not previews: {missing}"

    def _why_not_previews(self, sizes: Sequence[int]) -> str | None:
        """What speaks against steps as previews; None where nothing does."""
        if isinstance(self.passes, int):
            if self.passes > MAX_PREVIEWS + 1:
                return f"{self.passes} are more than {MAX_PREVIEWS + 1}"
        elif any(b <= a for a, b in pairwise((FEWEST_PREVIEW_BYTES - 1, *self._step_sizes()))):
            return f"each must add more bytes than the one before, and {FEWEST_PREVIEW_BYTES} at least"
        options, n_bytes = self._with_previews(), self._expected_bytes(sizes)
        if options.budget(sizes) is not None:
            n_bytes = max(1, options._left_by_previews(n_bytes))
        if isinstance(options.previews, int):
            is_enough = len(options.preview_sizes(n_bytes)) == options.previews
            return None if is_enough else f"they would leave no picture to the smallest of about {n_bytes} bytes"
        share = sum(options.previews) / n_bytes
        is_cheap = share <= PREVIEW_SHARES[self.is_grid] or self.ladder is Ladder.PREVIEWS
        return None if is_cheap else f"they would add {share:.0%} to about {n_bytes} bytes"

    def _with_previews(self) -> "PictureOptions":
        """The same steps as previews and one pass."""
        options = replace(self, passes=1, ladder=Ladder.AUTO)
        if isinstance(self.passes, int):
            return replace(options, previews=self.passes - 1)
        max_bytes = self.max_bytes if self._last_size is None else self._last_size
        return replace(options, previews=self._step_sizes(), max_bytes=max_bytes)

    def _step_sizes(self) -> tuple[int, ...]:
        """Bytes of previews that end where the passes but the last are to end."""
        assert isinstance(self.passes, tuple)
        ends = [HEAD_BYTES, *(size for size in self.passes[:-1] if size is not None)]
        return tuple(end - start - FRAMING_BYTES for start, end in pairwise(ends))

    def of_preview(self, n_bytes: int, sizes: Sequence[int]) -> "PictureOptions":
        """How a preview in so many bytes of PREV is made of (rows, columns): a plain file; presets of networks stay."""
        is_small = n_bytes < (LARGE_GRID_BYTES if sizes[0] * sizes[1] >= LARGE_PICTURE else GRID_BYTES)
        return PictureOptions(
            preset=self.preset if is_small and not self.is_grid else None,
            max_bytes=n_bytes + IMPLIED_BYTES - QUALITY_BLOCK_BYTES,
            field=FieldKind.MLP if is_small else FieldKind.GRID,
            seed=self.seed,
            device=self.device,
        )

    @property
    def identity(self) -> dict[str, object]:
        """Everything here that a file depends on, as JSON; the base by its digest."""
        base = None if self.base is None else hashlib.sha256(self.base).hexdigest()
        return asdict(self) | {"preset": self.chosen_preset, "base": base}
