"""Range and type of samples, in META and back."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sinrfmt.evaluate import to_uint8, to_uint16
from sinrfmt.quantity import Quantity, full_range, quantity_from, quantity_of
from sinrfmt.registry import Values

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64")


def signed(quantity: Quantity, samples: NDArray[np.generic]) -> NDArray[np.float32]:
    return (quantity.unit(samples) * 2.0 - 1.0).astype(np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_come_back_in_their_type(dtype: str) -> None:
    samples = np.array([1, 2, 5, 100, 127], dtype=dtype)
    quantity = quantity_of(samples)
    found = quantity.samples(signed(quantity, samples), Values.SIGNED)
    assert found.dtype == samples.dtype
    np.testing.assert_allclose(found, samples, atol=0 if found.dtype.kind in "iu" else 2e-5)


def test_meta_says_the_range_to_the_last_bit() -> None:
    quantity = quantity_of(np.array([0.1, 1 / 3, -7e-30]))
    assert quantity_from(quantity.meta) == quantity


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"low": "0", "high": "1"},
        {"low": "1", "high": "1", "dtype": "float32"},
        {"low": "x", "high": "1", "dtype": "uint8"},
        {"low": "0", "high": "inf", "dtype": "float32"},
        {"low": "0", "high": "1", "dtype": "object"},
        {"low": "0", "high": "1", "dtype": "no type"},
    ],
)
def test_nonsense_in_meta_says_nothing(meta: dict[str, str]) -> None:
    assert quantity_from(meta) is None


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_full_range_of_a_type_is_that_of_pictures(dtype: str) -> None:
    values = np.linspace(-0.2, 1.2, 999, dtype=np.float32)
    own = {"uint8": to_uint8, "uint16": to_uint16}[dtype](Values.UNIT, values)
    found = full_range(np.dtype(dtype)).samples(values, Values.UNIT)
    assert np.abs(found.astype(int) - own).max() <= 1  # halves, and binary32 against binary64


@pytest.mark.parametrize("number", [0.0, 0.3, -1e-20, 7e12, -5.0])
def test_a_constant_is_in_the_middle_of_its_range(number: float) -> None:
    samples = np.full((3, 1), number, dtype=np.float32)
    quantity = quantity_of(samples)
    np.testing.assert_array_equal(quantity.samples(np.zeros((3, 1), np.float32), Values.SIGNED), samples)


def test_zero_stays_in_the_middle_of_a_symmetric_range() -> None:
    quantity = quantity_of(np.array([-3, 1], dtype=np.int16), symmetric=True)
    assert (quantity.low, quantity.high, quantity.peak) == (-3.0, 3.0, 6.0)


def test_integers_do_not_leave_their_type() -> None:
    quantity = Quantity(-40000.0, 40000.0, np.dtype(np.int16))
    assert quantity.samples(np.array([-1, 1], np.float32), Values.SIGNED).tolist() == [-32768, 32767]
