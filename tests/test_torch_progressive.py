"""Networks that grow (clause 13.2) from the encoder: every prefix is a picture of the quality announced."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sinrfmt
import sinrfmt.torch
from sinrfmt.errors import UsageError
from sinrfmt.metrics import psnr
from sinrfmt.pictures import PictureOptions
from sinrfmt.torch import pictures
from sinrfmt.torch.fit import FitOptions
from sinrfmt.torch.growth import GrowingModule, expected_size, fit_growth, growing_network, widths_for_sizes
from sinrfmt.torch.presets import preset_of
from sinrfmt.torch.progressive import encode_passes
from sinrfmt.torch.sensitivity import curvature_of, gram_of
from sinrfmt.torch.signals import Signal, image_signal
from tests.strategies import assert_passes_are_announced, assert_passes_decode_in_both

CPU = torch.device("cpu")
PRESET = replace(preset_of("fast"), n_seeds=1, n_steps=200, n_trials=6, n_refits=2, n_refit_trials=2)
WIDTHS = [(3, 3), (6, 5), (6, 8)]
pytestmark = pytest.mark.usefixtures("one_thread")


def picture() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:32, 0:48]
    image = np.stack([128 + 90 * np.sin(x / 5 + y**2 / 200), 128 + 80 * np.cos(y / 4 + x / 9), 3 * x + 3 * y], axis=-1)
    clipped: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return clipped


@pytest.fixture(scope="module")
def signal() -> Signal:
    return image_signal(picture())


def growing() -> GrowingModule:
    return GrowingModule(growing_network(2, 3, WIDTHS, 15.0), seed=3)


def encode(passes: Any, **options: Any) -> sinrfmt.torch.Encoding:
    return encode_passes(picture(), passes, preset=PRESET, device="cpu", **options)


@pytest.fixture(scope="module")
def of_three() -> sinrfmt.Field:
    return encode(3, max_bytes=700).field


# --- files ------------------------------------------------------------------------------------------------------------


def test_every_pass_is_a_better_picture_of_the_quality_announced(of_three: sinrfmt.Field) -> None:
    assert_passes_are_announced(of_three, 3, lambda prefix: psnr(picture(), prefix.to_uint8()))


def test_every_pass_decodes_in_the_reference_decoder(of_three: sinrfmt.Field) -> None:
    assert_passes_decode_in_both(of_three.data, 3)


def test_the_budget_is_kept_and_used(of_three: sinrfmt.Field) -> None:
    assert 600 < len(of_three.data) <= 700
    assert len(of_three.header.network.active_widths) == 2


def test_sizes_are_kept() -> None:
    field = encode((260, 420, 700)).field
    assert all(end <= size for end, size in zip(field.pass_ends, (260, 420, 700), strict=True))


def test_a_quality_is_reached() -> None:
    encoding = encode(2, min_psnr=19.0)
    assert encoding.psnr >= 19.0
    assert encoding.psnr == psnr(picture(), encoding.field.to_uint8())


def test_a_request_for_passes_of_a_network_reaches_this_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode_few(*arguments: Any, **options: Any) -> sinrfmt.torch.Encoding:
        return encode_passes(*arguments, **options | {"preset": PRESET})

    monkeypatch.setattr(pictures, "encode_passes", encode_few)
    options = PictureOptions(passes=2, max_bytes=500, device="cpu")
    field = sinrfmt.torch.encode_picture(picture(), options).field
    assert field.header.n_passes == 2 and len(field.header.network.active_widths) == 1


def test_one_pass_is_a_file_without_growth() -> None:
    field = encode(1, max_bytes=500).field
    assert field.header.n_passes == 1 and not field.header.network.active_widths
    assert len(field.data) <= 500


def test_rounding_in_groups_gives_whole_files_too() -> None:
    preset = replace(PRESET, feedback_limit=100)
    field = encode_passes(picture(), 2, preset=preset, max_bytes=700, device="cpu").field
    assert field.header.n_passes == 2 and len(field.data) <= 700


@pytest.mark.parametrize(
    ("passes", "options", "message"),
    [
        (0, {}, "expected 1 to"),
        (128, {}, "expected 1 to"),
        ((500, 300), {}, "sizes that rise"),
        ((None, 300), {}, "sizes that rise"),
        ((300, 900), {"max_bytes": 800}, "exclude each other"),
        (3, {"max_bytes": 800, "min_psnr": 20.0}, "exclude each other"),
        (3, {"max_bytes": 150}, "too few"),
        ((100, 700), {}, "too few"),
    ],
)
def test_passes_that_cannot_be(passes: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encode(passes, **options)


# --- networks that grow -----------------------------------------------------------------------------------------------


def test_widths_end_in_time_and_rise() -> None:
    for sizes in ([225, 1050, 1275, 1500], [600, 1200, 2100, 4000], [400, 3000]):
        widths = widths_for_sizes(2, 3, sizes, 5.5)
        assert widths is not None
        assert all(b >= a for before, after in pairwise(widths) for a, b in zip(before, after, strict=True))
        for n in range(1, len(sizes) + 1):
            assert expected_size(growing_network(2, 3, widths[:n], 1.0), 5.5, len(sizes)) <= sizes[n - 1]


def test_prefix_outputs_are_those_of_the_prefix_networks(signal: Signal) -> None:
    module = growing()
    coords = torch.tensor(signal.coords[:50])
    for index, found in enumerate(module.prefix_outputs(coords)):
        torch.testing.assert_close(found, module.prefix_module(index)(coords))


def test_later_weights_do_not_change_earlier_prefixes(signal: Signal) -> None:
    module = growing()
    coords = torch.tensor(signal.coords[:50])
    before = module.prefix_outputs(coords)
    vector = module.vector()
    vector[module.ends[1] :] += 1.0
    module.load(vector)
    after = module.prefix_outputs(coords)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
    assert not torch.allclose(before[2], after[2])


def test_training_leaves_what_belongs_to_no_block_at_zero(signal: Signal) -> None:
    module = growing()
    before = module.measure(signal, CPU)
    after = fit_growth(module, signal, FitOptions(60, 4e-3, 512), [0.2, 0.2, 1.0], seed=0, device=CPU)
    assert all(b > a for a, b in zip(before, after, strict=True))
    kept = module.module.arrays()
    module.load(module.vector())
    for name, array in module.module.arrays().items():
        assert np.array_equal(array, kept[name])
    assert np.count_nonzero(kept["layers.1.weight"][:3, 3:]) == 0


def test_gradients_are_those_of_the_blocks(signal: Signal) -> None:
    module = growing()
    coords, values = torch.tensor(signal.coords[:64]), torch.tensor(signal.values[:64])

    def error() -> torch.Tensor:
        return torch.stack([((found - values) ** 2).mean() for found in module.prefix_outputs(coords)]).sum()

    gradient, vector = module.gradients(error()), module.vector()
    for place in (0, module.ends[0] + 2, vector.size - 1):
        moved = vector.copy()
        ends = []
        for change in (1e-3, -1e-3):
            moved[place] = vector[place] + change
            module.load(moved)
            ends.append(error().item())
        assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=0.05, abs=1e-4)


def test_the_gram_matrix_is_that_of_the_curvature(signal: Signal) -> None:
    module = growing().module
    n = module.network.n_parameters
    gram = gram_of(module, signal.coords, np.arange(n), n_rows=10**6, seed=0, device=CPU)
    diagonal = curvature_of(module, signal.coords, n_samples=10**6, block_limit=0, seed=0, device=CPU).diagonal
    heard = diagonal > diagonal.max() * 1e-6
    np.testing.assert_allclose(gram.diagonal().numpy()[heard], diagonal[heard], rtol=0.02)
