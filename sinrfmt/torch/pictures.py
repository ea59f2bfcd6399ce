"""A picture and a request to a file, by whichever of the encoders the request is for, with previews (clause 12.4)."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sinrfmt
from sinrfmt import edit
from sinrfmt.evaluate import to_depth
from sinrfmt.metrics import Samples, psnr
from sinrfmt.pictures import PictureOptions
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, encode
from sinrfmt.torch.grid_files import encode_grid, grid_preset_of
from sinrfmt.torch.modulations import DEFAULT_ATOMS, Modulation, encode_on_base
from sinrfmt.torch.progressive import encode_passes
from sinrfmt.torch.tiles import OVERLAP, TileWork, encode_tiles

PREVIEW_POSITIONS = {False: 1 << 15, True: 1 << 20}
"""Positions that a preview is fitted to at most, by whether it is latents: it has too few bytes for more."""


def encode_picture(
    picture: Samples,
    options: PictureOptions,
    *,
    work: TileWork | None = None,
    on_progress: StageProgress | None = None,
) -> Encoding:
    """Encode a picture as a network, as latents, in tiles, or on a base.

    Args:
        picture: uint8 or uint16 [rows, columns, channels], 1 to 4 channels.
        options: what the file is to be.
        work: where and by whom tiles are made; None for a temporary folder and this thread.
        on_progress: called with (stage, done, in all, PSNR in dB).

    Raises:
        UsageError: the target cannot be reached, or the base does not fit.
    """
    options, _ = options.for_size(picture.shape[:2])
    options, _ = options.for_ladder(picture.shape[:2])
    if not options.previews:
        return _encode_passes(picture, options, work, on_progress)
    whole = _encode_passes(picture, options.for_passes(picture.shape[:2]), work, on_progress)
    sizes = options.preview_sizes(whole.n_bytes)
    files: list[bytes] = []
    for number, size in enumerate(sizes):
        preview, quality = encode_preview(picture, options.of_preview(size, picture.shape[:2]))
        if len(preview) > len(files[-1] if files else b""):  # PRV-3
            files.append(preview)
        if on_progress is not None:
            on_progress("previews", number + 1, len(sizes), quality)
    announced = whole.field.header.quality or (whole.psnr,)
    data = edit.with_previews(edit.with_quality(whole.field.data, announced), files)
    return replace(whole, field=sinrfmt.loads(data))


def encode_preview(picture: Samples, options: PictureOptions) -> tuple[bytes, float]:
    """A small file of a picture that announces its quality, and that PSNR in dB.

    A large picture is reduced first. The file of a network has the picture's native grid all the same, that of latents
    has the one of the reduced picture; the PSNR is that on the picture's grid.

    Args:
        picture: uint8 or uint16 [rows, columns, channels], 1 to 4 channels.
        options: what the file is to be.

    Raises:
        UsageError: the target cannot be reached.
    """
    rows, columns = picture.shape[:2]
    encoding = _encode_passes(reduced(picture, PREVIEW_POSITIONS[options.is_grid]), options, None, None)
    header = encoding.field.header
    values = encoding.field.grid((rows, columns))
    samples = to_depth(picture.dtype, header.values, values)
    quality = psnr(picture, samples.reshape(picture.shape))
    return edit.with_quality(encoding.field.data, (quality,), None if options.is_grid else (rows, columns)), quality


def reduced(picture: Samples, n_positions: int) -> Samples:
    """A picture of about so many positions at most, each the mean of the area that it stands for; else as it is."""
    factor = math.sqrt(picture.shape[0] * picture.shape[1] / n_positions)
    if factor <= 1.0:
        return picture
    rows, columns = (_areas(n, max(1, round(n / factor))) for n in picture.shape[:2])
    means = np.einsum("ir,rcv,jc->ijv", rows, picture.reshape(*picture.shape[:2], -1), columns, optimize=True)
    samples: Samples = np.rint(means).astype(picture.dtype).reshape(*means.shape[:2], *picture.shape[2:])
    return samples


def _areas(n: int, n_reduced: int) -> NDArray[np.float64]:
    """Share of each of n samples in each of fewer ones, float64 [n_reduced, n]; rows sum to 1."""
    edges = np.linspace(0.0, n, n_reduced + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    at = np.arange(n)
    overlap: NDArray[np.float64] = np.clip(np.minimum(ends, at + 1) - np.maximum(starts, at), 0.0, None)
    return overlap / (ends - starts)


def _encode_passes(
    picture: Samples, options: PictureOptions, work: TileWork | None, on_progress: StageProgress | None
) -> Encoding:
    """The file without previews."""
    options, _ = options.for_size(picture.shape[:2])
    budget, preset = options.budget(picture.shape[:2]), options.chosen_preset
    common: dict[str, Any] = {"max_bytes": budget, "min_psnr": options.min_psnr, "device": options.device}
    if options.base is not None:
        n_atoms = DEFAULT_ATOMS if options.n_atoms is None else options.n_atoms
        way = Modulation(options.weight_coding, n_atoms, preset=preset, **common)
        return encode_on_base(picture, sinrfmt.loads(options.base), way)
    common |= {"seed": options.seed, "on_progress": on_progress}
    if options.is_grid:
        recipe = grid_preset_of(preset)
        if options.rate_weight is not None:
            recipe = replace(recipe, rate_weight=options.rate_weight)
        if options.tiles is not None:
            overlap = OVERLAP if options.overlap is None else options.overlap
            common |= {"overlap": overlap, "work": work}
            return encode_tiles(picture, tile=options.tiles, preset=recipe, context=options.context, **common)
        return encode_grid(picture, preset=recipe, context=options.context, passes=options.passes, **common)
    if options.passes != 1:
        return encode_passes(picture, options.passes, preset=preset, **common)
    return encode(picture, preset=preset, weight_coding=options.weight_coding, coding=options.coding, **common)
