"""Choice of a model: its cost is the one of the stream, and no cheaper form is passed over."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sinrfmt.entropy import encode_values
from sinrfmt.model_fit import fit_model, values_cost_bits
from sinrfmt.models import LongModel, Model, ShortModel, ZeroModel, short_model, short_scale_range
from sinrfmt.rans import StreamEncoder
from sinrfmt.registry import Law

VALUES = st.one_of(
    st.lists(st.integers(-5, 5), min_size=1, max_size=60),
    st.lists(st.integers(-3000, 3000), min_size=1, max_size=60),
    st.lists(st.integers(1 - 2**31, 2**31 - 1), min_size=1, max_size=8),
)


def coded_bits(values: list[int] | NDArray[np.int64], model: Model) -> float:
    encoder = StreamEncoder()
    encode_values(encoder, values, model)
    return encoder.bits


@given(VALUES)
def test_the_fit_costs_what_the_stream_costs(values: list[int]) -> None:
    parameters, bits = fit_model(values)
    model = parameters.model()
    assert bits == pytest.approx(coded_bits(values, model) + parameters.parameter_bits, rel=1e-9)
    assert values_cost_bits(values, model) == pytest.approx(coded_bits(values, model), rel=1e-9)


@settings(max_examples=20)
@given(st.lists(st.integers(-3000, 3000), min_size=1, max_size=60))
def test_no_short_form_is_cheaper_than_the_fit(values: list[int]) -> None:
    _, bits = fit_model(values)
    scales = [(law, q) for law in Law for b in range(15) for q in short_scale_range(law, b)]
    cheapest = min(values_cost_bits(values, short_model(law, q)) for law, q in scales)
    # A stray scale may win on lists of a few values by the odd bit.
    assert bits <= cheapest + ShortModel.parameter_bits + 1


@pytest.mark.parametrize("values", [[], [0], [0] * 50])
def test_a_list_of_zeros_takes_the_zero_form(values: list[int]) -> None:
    assert fit_model(values) == (ZeroModel(), 0.0)


def test_a_value_outside_a_model_costs_infinitely_much() -> None:
    assert values_cost_bits([6], LongModel(5, 0, 160, 0, heavy=False, b=0, esc=False).model()) == np.inf
    assert values_cost_bits([1 << 22], short_model(Law.LAPLACE, 5)) == np.inf


@pytest.mark.parametrize("deviation", [4, 40, 3000])
def test_a_law_is_found_for_values_that_follow_it(deviation: float) -> None:
    rng = np.random.default_rng(4)
    gauss, _ = fit_model(np.rint(rng.normal(0, deviation, 20_000)))
    laplace, _ = fit_model(np.rint(rng.laplace(0, deviation, 20_000)))
    assert isinstance(gauss, ShortModel)
    assert isinstance(laplace, ShortModel)
    assert (gauss.law, laplace.law) == (Law.GAUSS, Law.LAPLACE)


def test_a_flat_list_takes_the_flat_law() -> None:
    values = np.random.default_rng(7).uniform(-28, 28, 300).round()
    parameters, _ = fit_model(values)
    assert isinstance(parameters, ShortModel)
    assert parameters.law == Law.FLAT


def test_a_long_form_is_taken_where_it_pays() -> None:
    rng = np.random.default_rng(5)
    values = np.rint(rng.normal(0, 20, 4000)) * (rng.random(4000) < 0.2)
    parameters, bits = fit_model(values)
    assert isinstance(parameters, LongModel)
    assert parameters.p0 > 180
    share = np.unique(values, return_counts=True)[1] / values.size
    entropy = -values.size * float(share @ np.log2(share))
    assert bits < 1.05 * entropy


def test_one_far_value_does_not_widen_the_model_of_the_others() -> None:
    values = np.rint(np.random.default_rng(6).normal(0, 4, 3000)).astype(np.int64)
    _, bits = fit_model(values)
    _, with_outlier = fit_model(np.append(values, 1_000_000))
    assert with_outlier - bits < 80
