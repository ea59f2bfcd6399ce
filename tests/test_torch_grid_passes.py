"""Latents in several passes: every level boundary is a picture, in both decoders, of the quality announced."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import sinrfmt
import sinrfmt.torch
from sinrfmt.metrics import Samples
from sinrfmt.network import TensorRole
from sinrfmt.registry import ContextId
from sinrfmt.torch.grid_files import PyramidPreset, pyramid_network, sample_psnr
from sinrfmt.torch.grid_fit import GridFitOptions, fit_pyramid
from sinrfmt.torch.grid_passes import Prefix, _by_size, trained_prefixes
from sinrfmt.torch.point_recipes import PointPreset
from sinrfmt.torch.pyramid import PyramidModule
from tests.strategies import assert_passes_are_announced, assert_passes_decode_in_both

PRESET = PyramidPreset("pyramid", 250, 2e-4, 8, 0, 8, 1)
HASHED = PointPreset(
    name="shacira",
    n_steps=20,
    rate_weight=1e-3,
    n_levels=3,
    first_resolution=4,
    last_resolution=12,
    log2_table_size=5,
    width=8,
    depth=2,
)


def _picture() -> Samples:
    y, x, c = np.indices((24, 32, 3))
    waves = np.sin(0.25 * x + c) + 0.6 * np.cos(0.9 * y + 0.3 * x) + 0.4 * np.cos(2.6 * x) * np.sin(2.3 * y)
    picture: Samples = np.clip(128 + 50 * waves, 0, 255).astype(np.uint8)
    return picture


def _encode(passes: Any, **options: Any) -> sinrfmt.torch.Encoding:
    return sinrfmt.torch.encode_grid(_picture(), preset=PRESET, passes=passes, device="cpu", **options)


@pytest.fixture(scope="module")
def of_three() -> sinrfmt.Field:
    return _encode(3).field


def test_every_pass_is_a_better_picture_of_the_quality_announced(of_three: sinrfmt.Field) -> None:
    assert_passes_are_announced(of_three, 3, lambda prefix: sample_psnr(_picture(), prefix.grid()))


def test_every_pass_decodes_in_the_reference_decoder(of_three: sinrfmt.Field) -> None:
    assert_passes_decode_in_both(of_three.data, 3)


def test_levels_of_a_hashed_grid_end_passes_too() -> None:
    field = sinrfmt.torch.encode_grid(_picture(), preset=HASHED, passes=3, device="cpu").field
    assert field.header.n_passes == len(field.pass_ends) == 3
    assert field.header.quality is not None


def test_one_pass_announces_nothing() -> None:
    field = _encode(1).field
    assert (field.header.n_passes, field.header.quality) == (1, None)


def test_passes_keep_within_their_sizes(of_three: sinrfmt.Field) -> None:
    first = of_three.pass_ends[0]
    field = _encode((first + 60, None)).field
    assert len(field.pass_ends) == 2
    assert field.pass_ends[0] <= first + 60


def test_sizes_that_no_level_ends_within_are_refused() -> None:
    with pytest.raises(sinrfmt.UsageError, match="passes end where levels do: here at"):
        _encode((60, None))


@pytest.mark.parametrize("passes", [0, 9, (), (200, 100, None), (None, 500), (None, None)])
def test_passes_that_cannot_be_are_refused_before_the_training(passes: Any) -> None:
    preset = replace(PRESET, n_steps=10**9)
    with pytest.raises(sinrfmt.UsageError, match="passes ="):
        sinrfmt.torch.encode_grid(_picture(), preset=preset, passes=passes, device="cpu")


def test_the_size_of_the_last_pass_is_the_size_of_the_file() -> None:
    with pytest.raises(sinrfmt.UsageError, match="exclude each other"):
        _encode((200, 500), min_psnr=30.0)


def test_a_number_of_passes_ends_at_the_finest_levels() -> None:
    encoding = _encode(2)
    levels = [state.tensor for state in encoding.field.states if state.tensor.role is TensorRole.LATENT]
    first = sinrfmt.loads(encoding.field.data, passes=1)
    assert len(levels) > 2
    assert trained_prefixes(2, len(levels)) == (len(levels) - 1,)
    assert trained_prefixes(4, len(levels)) == tuple(range(len(levels) - 3, len(levels)))
    assert trained_prefixes((900, None), 6) == (3, 4, 5)
    assert trained_prefixes((900, None), 3) == (1, 2)
    assert not any(np.any(state.acc) for state in first.states if state.tensor == levels[-1])
    assert any(np.any(state.acc) for state in first.states if state.tensor == levels[-2])


def test_sizes_take_the_most_levels_within() -> None:
    prefixes = [Prefix(n + 1, 100 * 2**n, 20.0 + n) for n in range(5)]
    assert _by_size(prefixes, (250, 900, None)) == [2, 4, 5]
    assert _by_size(prefixes, (5000, None)) == [4, 5]
    assert _by_size(prefixes, (50, 60, None)) == [1, 2, 5]


def test_training_of_prefixes_makes_them_better() -> None:
    samples = _picture()
    values = torch.tensor((samples.reshape(-1, 3).T / 255.0).astype(np.float32))

    def errors(prefixes: tuple[int, ...]) -> list[float]:
        module = PyramidModule(pyramid_network((24, 32), 3, PRESET, ContextId.INTERLACED))
        options = GridFitOptions(PRESET.n_steps, PRESET.rate_weight, prefixes=prefixes, prefix_share=0.4)
        latents = fit_pyramid(module, values, options, seed=0).latents
        ends = module.level_starts[1:]
        kept = [torch.cat([latents[:end], torch.zeros(latents.numel() - end)]) for end in ends]
        with torch.no_grad():
            return [float((module(part) - values).square().mean()) for part in kept]

    plain, trained = errors(()), errors((1, 2))
    assert trained[1] < plain[1]
