"""The functions of numerics that no library rounds alike, against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from qdqdoc.formula.rounding import POINTS
from qdqdoc.formula.transcendental import exp as real_exp
from qdqdoc.formula.transcendental import log as real_log
from qdqdoc.numerics.elementary import exp, log, logistic, tanh
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.numerics.products import float_matmul
from qdqdoc.numerics.rounding import fma, multiply

ROUND = POINTS["f32"].round


def f32(values: object) -> Array:
    return tensor("float32", values)


def spread_out(count: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return rng.choice((-1.0, 1.0), count) * np.ldexp(rng.uniform(1, 2, count), rng.integers(-40, 8))


def test_exp_is_rounded_correctly() -> None:
    values = np.concatenate(
        [spread_out(400), np.array([0, -104, -103.97, 88.72283, 88.72283908187067, 88.7229])]
    )
    expected = [float(ROUND(real_exp(Fraction(v)))) for v in values]
    assert exp(values).tolist() == expected


def test_log_is_rounded_correctly() -> None:
    values = np.abs(spread_out(400, 1))
    expected = [float(ROUND(real_log(Fraction(v)))) for v in values]
    assert log(values).tolist() == expected


def test_doubt_is_decided_in_many_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a library that is far off, every value is decided; none changes."""
    values = spread_out(200, 2)
    values = values[np.abs(values) < 80]
    expected = exp(values)
    monkeypatch.setattr("qdqdoc.numerics.elementary._DOUBT", 2.0**-26)
    assert exp(values).tolist() == expected.tolist()


def test_fma_rounds_once() -> None:
    rng = np.random.default_rng(3)
    a, b = (f32(spread_out(4000, seed)) for seed in (4, 5))
    # Sums that nearly cancel, and addends far below the product's last bit, are the hard ones.
    c = f32(-multiply(a, b) * (1 + rng.choice((0.0, 1.0, 2.0**-20), 4000)))
    tiny = f32(np.ldexp(multiply(a, b), rng.integers(-60, 30, 4000)))
    for addend in (c, tiny):
        exact = [
            float(ROUND(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))))
            for x, y, z in zip(a, b, addend, strict=True)
        ]
        assert fma(a, b, addend).tolist() == exact
    assert (fma(a, b, c) != multiply(a, b) + c).mean() > 0.2


def test_fma_of_what_is_not_finite() -> None:
    inf, nan = f32(np.inf), f32(np.nan)
    found = fma(f32([1, inf, 0, nan, 2]), f32([inf, 1, inf, 1, 3]), f32(-inf))
    assert np.isnan(found[:4]).all()
    assert found[4] == -inf


@pytest.mark.parametrize("depth", [1, 7, 300])
def test_each_exact_sum_is_rounded_once(depth: int) -> None:
    rng = np.random.default_rng(depth)
    left, right = (f32(rng.normal(0, 1, shape)) for shape in ((2, 5, depth), (depth, 4)))
    left[0, 0], right[:, 0] = 2.0**24, f32(2.0**-24)
    left[:, 1] = np.resize(f32([1, -1]), depth) * f32(2.0**60)
    left[:, 1, -1] = 1
    found = float_matmul(left, right)
    for index in np.ndindex(found.shape):
        row, column = left[index[:2]], right[:, index[2]]
        pairs = zip(row, column, strict=True)
        exact = sum((Fraction(float(x)) * Fraction(float(w)) for x, w in pairs), Fraction())
        assert float(found[index]) == float(ROUND(exact))


def test_sums_with_infinities() -> None:
    left = f32([[np.inf, 1], [np.nan, 1], [0, 2]])
    right = f32([[1, 0, -1], [1, 1, -np.inf]])
    with np.errstate(invalid="ignore"):
        assert np.array_equal(float_matmul(left, right), left @ right, equal_nan=True)


def test_approximations_are_close_to_the_functions() -> None:
    v = f32(np.linspace(-20, 20, 100_001))
    wide = v.astype(np.float64)
    assert np.abs(tanh(v) - np.tanh(wide)).max() < 2.0**-21
    assert np.abs(logistic(v) - 1 / (1 + np.exp(-wide))).max() < 2.0**-21
