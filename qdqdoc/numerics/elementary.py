"""Functions that no processor computes alike, defined here so that every machine gives one answer.

``exp`` and ``log`` are rounded correctly: the real value, once, to float32. ``logistic`` and
``tanh`` are the rational approximations that onnxruntime evaluates :cite:p:`ort-mlas`, step by
step in float32 with fused multiply-adds.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.rounding import f32, fma, hold, multiply, rounded_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qdqdoc.numerics.formats import Array

_DIGITS = Context(prec=60)
_DOUBT = 2.0**-48
"""No library's float64 is relatively further off than this; most are within 2**-52."""


def exp(values: Array) -> Array:
    """Round e to the power of each float64 correctly to float32.

    >>> exp(np.float64([0, 1, -200, 100]))
    array([1.       , 2.7182817, 0.       ,       inf], dtype=float32)

    To float64 this is 1 + 3 * 2**-24, a tie, which would go up; but it lies a bit below:

    >>> (exp(np.float64([3 * 2**-24 - 9 * 2**-49])) - 1) * 2**24
    array([2.], dtype=float32)
    """
    with np.errstate(all="ignore"):
        near = np.exp(np.asarray(values, np.float64))
    return _rounded(near, values, _DIGITS.exp)


def log(values: Array) -> Array:
    """Round the natural logarithm of each float64 correctly to float32.

    >>> log(np.float64([1, 10, 0, -1]))
    array([0.       , 2.3025851,      -inf,       nan], dtype=float32)
    """
    with np.errstate(all="ignore"):
        near = np.log(np.asarray(values, np.float64))
    return _rounded(near, values, _DIGITS.ln)


def _rounded(near: Array, values: Array, function: Callable[[Decimal], Decimal]) -> Array:
    """Round approximations; decide in 60 digits where they are too close to a boundary."""

    def exact(place: tuple[int, ...]) -> Fraction:
        return Fraction(function(Decimal(float(values[place]))))

    # Neither function reaches the middle of two floats: no rational argument but 0 and 1 does.
    return rounded_once(near, exact, near * _DOUBT)


LOGISTIC_NUMERATOR = (
    4.37031012579801e-11,
    1.15627324459942e-07,
    6.08574864600143e-05,
    8.51377133304701e-03,
    2.48287947061529e-01,
)
LOGISTIC_DENOMINATOR = (
    6.10247389755681e-13,
    5.76102136993427e-09,
    6.29106785017040e-06,
    1.70198817374094e-03,
    1.16817656904453e-01,
    9.93151921023180e-01,
)
LOGISTIC = (LOGISTIC_NUMERATOR, LOGISTIC_DENOMINATOR)
"""Coefficients of the two polynomials, from the highest power of the square down."""
_TANH_NUMERATOR = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_DENOMINATOR = (
    1.19825839466702e-06,
    1.18534705686654e-04,
    2.26843463243900e-03,
    4.89352518554385e-03,
)


_FUSED = ContextVar("fused", default=True)


@contextmanager
def without_fma() -> Iterator[None]:
    """Evaluate ``logistic`` and ``tanh`` as onnxruntime does on a processor without FMA.

    There each product is rounded before it is added, and ``logistic`` is held at 1, too:

    >>> v = np.float32([1.7, 16.393291, 17.934595])
    >>> logistic(v), tanh(v)[0]
    (array([0.84553474, 0.99999994, 1.0000001 ], dtype=float32), np.float32(0.93540907))
    >>> with without_fma():
    ...     logistic(v), tanh(v)[0]
    (array([0.84553474, 1.        , 1.        ], dtype=float32), np.float32(0.935409))
    """
    before = _FUSED.set(False)
    try:
        yield
    finally:
        _FUSED.reset(before)


def logistic(values: Array) -> Array:
    """Approximate 1 / (1 + exp(-v)) of float32 as onnxruntime does; NaN stays.

    >>> logistic(np.float32([0, 1, -20, np.inf]))
    array([0.5      , 0.7310586, 0.       , 1.       ], dtype=float32)

    Near its ends the approximation leaves the range from 0 to 1. It is held at 0, not at 1:

    >>> logistic(np.float32([-18, 17.934595]))
    array([0.       , 1.0000001], dtype=float32)
    """
    v = hold(values, -18, 18)
    ratio = _ratio(v, *LOGISTIC)
    return hold(ratio + 0.5, 0, np.inf if _FUSED.get() else 1)


def tanh(values: Array) -> Array:
    """Approximate the hyperbolic tangent of float32 as onnxruntime does; NaN stays.

    >>> tanh(np.float32([0, 1, -20, np.inf]))
    array([ 0.       ,  0.7615942, -1.       ,  1.       ], dtype=float32)
    """
    return _ratio(hold(values, -9, 9), _TANH_NUMERATOR, _TANH_DENOMINATOR)


def _ratio(v: Array, numerator: Sequence[float], denominator: Sequence[float]) -> Array:
    """Odd polynomial over even polynomial, each by Horner's rule with fused multiply-adds."""
    square = v * v
    return np.asarray(v * _horner(square, numerator) / _horner(square, denominator))


def _horner(square: Array, coefficients: Sequence[float]) -> Array:
    value = f32(coefficients[0])
    for coefficient in coefficients[1:]:
        addend = f32(coefficient)
        value = fma(value, square, addend) if _FUSED.get() else multiply(value, square) + addend
    return value
