"""Clause 10.2: the frequencies of model GL and the forms of its parameters, against plain Python integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinrfmt.models import (
    LongModel,
    Model,
    ShortModel,
    StreamFault,
    ZeroModel,
    long_model,
    mf8,
    short_model,
    short_scale_range,
)
from sinrfmt.registry import Law

CODES = st.integers(0, 168)


def plain_frequencies(R: int, p0: int, theta: int, rho: int, heavy: bool) -> list[int]:
    g, t = [], 2**28
    for _ in range(R + 1):
        g.append(t)
        t = t * theta // 2**24
        theta = 2**24 - (2**24 - theta) * rho // 2**24 if heavy else theta * rho // 2**24
    u = {v: g[abs(v)] for v in range(-R, R + 1)}
    if p0:
        u[0] = 0
    avail = 2**14 - (2 * R + 1)
    z = avail * p0 // 256
    avail -= z
    total = max(1, sum(u.values()))
    f = {v: 1 + u[v] * avail // total for v in u}
    f[0] += z
    f[0] += 2**14 - sum(f.values())
    return [f[v] for v in range(-R, R + 1)]


@given(R=st.integers(0, 1023), p0=st.integers(0, 255), tb=CODES, rb=CODES, heavy=st.booleans())
def test_frequencies_equal_plain_integers(R: int, p0: int, tb: int, rb: int, heavy: bool) -> None:
    model = long_model(R, p0, tb, rb, heavy, b=0, esc=False)
    frequencies = model.frequencies()
    assert frequencies.tolist() == plain_frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), heavy)
    assert frequencies.sum() == 2**14
    assert frequencies.min() >= 1


def test_frequencies_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(ValueError, match="read-only"):
        short_model(Law.GAUSS, 20).frequencies()[0] = 5


@pytest.mark.parametrize(
    ("code", "value"), [(0, 0), (1, 9), (7, 15), (8, 16), (9, 18), (160, 2**23), (167, 15 << 20), (168, 2**24)]
)
def test_mf8_is_a_float_of_three_mantissa_bits(code: int, value: int) -> None:
    assert mf8(code) == value


# Worked out by hand from ENT-3: b and a = 2^24 - theta at both ends of the scales without and with low bits.
@pytest.mark.parametrize(
    ("law", "q", "b", "a"),
    [
        (Law.LAPLACE, 0, 0, 2**24),
        (Law.LAPLACE, 31, 0, 9 << 17),
        (Law.LAPLACE, 32, 1, 8 << 18),
        (Law.LAPLACE, 39, 1, 9 << 17),
        (Law.LAPLACE, 143, 14, 9 << 17),
        (Law.GAUSS, 1, 0, 14 << 20),
        (Law.GAUSS, 39, 0, 10 << 11),
        (Law.GAUSS, 40, 1, 8 << 13),
        (Law.GAUSS, 151, 14, 10 << 11),
        (Law.FLAT, 39, 0, 10 << 11),
        (Law.FLAT, 40, 1, 8 << 13),
        (Law.HEAVY, 31, 0, 9 << 17),
        (Law.HEAVY, 40, 2, 8 << 18),
    ],
)
def test_ent3_scale_sets_low_bits_and_theta(law: Law, q: int, b: int, a: int) -> None:
    model = short_model(law, q)
    assert (model.b, 2**24 - model.theta) == (b, a)
    assert (model.p0, model.esc, model.heavy) == (0, True, law == Law.HEAVY)


@pytest.mark.parametrize("law", Law)
@pytest.mark.parametrize("q", [0, 1, 7, 20, 33, 45, 140])
def test_ent3_range_is_where_the_weights_fall_below_the_cut(law: Law, q: int) -> None:
    model = short_model(law, q)
    cut = 2**27 if law == Law.FLAT else 2**17
    t, theta, g = 2**28, model.theta, []
    for _ in range(256):
        g.append(t)
        t = t * theta // 2**24
        drifted = (2**24 - theta if model.heavy else theta) * model.rho // 2**24
        theta = 2**24 - drifted if model.heavy else drifted
    assert all(weight >= cut for weight in g[1 : model.R])
    assert model.R == 255 or g[model.R] < cut
    assert 1 <= model.R <= 255


def test_ent3_laws_have_their_drift() -> None:
    a = 9 << 17
    theta = 2**24 - a
    assert short_model(Law.LAPLACE, 31).rho == 2**24
    assert short_model(Law.HEAVY, 31).rho == 2**24 - a // 8
    gauss = short_model(Law.GAUSS, 31 // 2 + 1)
    assert gauss.rho == gauss.theta * gauss.theta // 2**24
    assert short_model(Law.FLAT, 16).rho == gauss.rho
    assert short_model(Law.LAPLACE, 31).theta == theta


@pytest.mark.parametrize(("law", "last"), [(0, 143), (1, 151), (2, 151), (3, 143)])
def test_ent3_low_bits_above_14_are_a_bad_model(law: int, last: int) -> None:
    assert short_model(law, last).b == 14
    with pytest.raises(StreamFault) as fault:
        short_model(law, last + 1)
    assert fault.value.name == "BAD_MODEL"


@pytest.mark.parametrize("law", Law)
def test_scale_range_lists_the_scales_of_a_number_of_low_bits(law: Law) -> None:
    scales = [q for b in range(15) for q in short_scale_range(law, b)]
    assert scales == list(range(len(scales)))
    assert all(short_model(law, q).b == b for b in range(15) for q in short_scale_range(law, b))


@pytest.mark.parametrize(
    "parameters",
    [
        LongModel(R=5, p0=0, tb=169, rb=0, heavy=False, b=0, esc=False),
        LongModel(R=5, p0=0, tb=0, rb=169, heavy=False, b=0, esc=False),
        LongModel(R=5, p0=0, tb=0, rb=0, heavy=False, b=15, esc=False),
        LongModel(R=0, p0=0, tb=0, rb=0, heavy=False, b=0, esc=True),
        LongModel(R=1024, p0=0, tb=0, rb=0, heavy=False, b=0, esc=False),
        LongModel(R=5, p0=256, tb=0, rb=0, heavy=False, b=0, esc=False),
        ShortModel(law=4, q=0),
        ShortModel(law=0, q=256),
    ],
    ids=str,
)
def test_ent2_parameters_out_of_range_are_a_bad_model(parameters: LongModel | ShortModel) -> None:
    with pytest.raises(StreamFault) as fault:
        parameters.model()
    assert fault.value.name == "BAD_MODEL"


def test_the_zero_form_has_one_certain_symbol() -> None:
    model = ZeroModel().model()
    assert model == Model(R=0, p0=0, theta=0, rho=0, heavy=False, b=0, esc=False)
    assert np.array_equal(model.frequencies(), [2**14])
