"""A picture and a request to a file, by whichever of the encoders the request is for."""

from dataclasses import replace
from typing import Any

import sinrfmt
from sinrfmt.metrics import Samples
from sinrfmt.pictures import PictureOptions
from sinrfmt.torch.encoder import StageProgress
from sinrfmt.torch.files import Encoding, encode
from sinrfmt.torch.grid_files import encode_grid, grid_preset_of
from sinrfmt.torch.modulations import DEFAULT_ATOMS, Modulation, encode_on_base
from sinrfmt.torch.progressive import encode_passes
from sinrfmt.torch.tiles import OVERLAP, TileWork, encode_tiles


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
