"""Images as signals, and the distortion measure."""

import math

import numpy as np
import pytest

from sinrfmt.evaluate import to_uint8, to_uint16
from sinrfmt.registry import Values
from sinrfmt.torch.signals import array_signal, audio_signal, image_signal, psnr_of

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)


def test_coordinates_are_pixel_centres_with_rows_first() -> None:
    signal = image_signal(IMAGE)
    assert signal.grid == (3, 4)
    np.testing.assert_allclose(signal.coords[0], [-2 / 3, -3 / 4])
    np.testing.assert_allclose(signal.coords[1], [-2 / 3, -1 / 4])
    np.testing.assert_allclose(signal.coords[-1], [2 / 3, 3 / 4])


@pytest.mark.parametrize("value_range", [Values.UNIT, Values.SIGNED])
def test_values_come_back_as_the_same_samples(value_range: Values) -> None:
    signal = image_signal(IMAGE, value_range=value_range)
    np.testing.assert_array_equal(to_uint8(value_range, signal.values), IMAGE.reshape(-1, 3))
    assert psnr_of(signal, signal.values) == math.inf


def test_samples_are_clamped_and_rounded_half_up() -> None:
    values = np.array([[-0.1, 1.1, 0.5, 1.49 / 255, 1.51 / 255]], dtype=np.float32)
    np.testing.assert_array_equal(to_uint8(Values.UNIT, values), [[0, 255, 128, 1, 2]])


def test_psnr_counts_the_error_of_samples() -> None:
    signal = image_signal(np.zeros((2, 2), dtype=np.uint8), value_range=Values.UNIT)
    values = np.array([[0.0], [0.0], [0.001], [2.0 / 255]], dtype=np.float32)
    assert psnr_of(signal, values) == pytest.approx(10 * math.log10(255**2 / 1.0))


def test_a_grey_image_has_one_channel() -> None:
    assert image_signal(IMAGE[..., 0]).channels == 1


@pytest.mark.parametrize("image", [IMAGE.astype(np.float32), IMAGE[None], IMAGE[:0]])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image is uint8"):
        image_signal(image)


def test_samples_of_16_bits_keep_them() -> None:
    deep = np.array([[0, 1, 32768, 65534, 65535]], dtype=np.uint16)
    for value_range in (Values.UNIT, Values.SIGNED):
        signal = image_signal(deep, value_range=value_range)
        np.testing.assert_array_equal(to_uint16(value_range, signal.values), deep.reshape(-1, 1))
        assert psnr_of(signal, signal.values) == math.inf


def test_a_signal_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        image_signal(IMAGE).values[0] = 0.0


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4), (2, 2, 3, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_arrays_of_one_to_four_axes_are_signals(shape: tuple[int, ...], dtype: type) -> None:
    array = np.random.default_rng(0).normal(0, 100, shape).astype(dtype)
    signal = array_signal(array)
    assert (signal.grid, signal.channels, signal.coords.shape) == (shape, 1, (array.size, len(shape)))
    assert signal.values.min() == -1.0 and signal.values.max() == 1.0
    assert psnr_of(signal, signal.values) > 120  # infinite for integers
    assert signal.meta["dtype"] == array.dtype.name


def test_the_last_axis_may_be_that_of_channels() -> None:
    signal = array_signal(np.arange(24.0).reshape(4, 3, 2), has_channels=True)
    assert (signal.grid, signal.channels) == ((4, 3), 2)


@pytest.mark.parametrize(
    "array", [np.zeros(()), np.zeros((2,) * 5), np.zeros((0, 3)), np.array([1.0, np.nan]), np.array([np.inf])]
)
def test_what_is_no_sampled_field_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="samples"):
        array_signal(array)


def test_psnr_is_relative_to_the_span_of_the_samples() -> None:
    signal = array_signal(np.array([250.0, 300.0], dtype=np.float32))
    assert signal.peak == 50.0
    off = np.array([[-1.0], [0.8]], dtype=np.float32)  # 250 and 295
    assert psnr_of(signal, off) == pytest.approx(10 * math.log10(50.0**2 / 12.5), abs=1e-4)


def test_sound_keeps_zero_in_the_middle() -> None:
    signal = audio_signal(np.array([0, -100, 50], dtype=np.int16), 8000)
    assert (signal.values[0, 0], signal.peak, signal.meta["sample_rate"]) == (0.0, 200.0, "8000")
