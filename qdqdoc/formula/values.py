"""Numbers of the oracle: conversion from outside, arithmetic with infinities, intervals.

Inside the oracle a value is an ``int``, a ``Fraction``, or a ``float`` that is infinite or nan.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NoReturn

from qdqdoc.formula.errors import FormulaError
from qdqdoc.formula.rounding import INF, NAN, POINTS, Exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True)
class Interval:
    """All results that a sum of unspecified order may have, both ends included.

    Adding, multiplying by a number and anything that never decreases act on the ends; all else is
    refused.

    >>> unit = Interval(0, 1)
    >>> 0.25 in unit, 2 in unit, unit * -2
    (True, False, Interval(low=-2, high=0))
    """

    low: Exact
    high: Exact

    def __contains__(self, number: object) -> bool:
        """Tell whether a number of any library lies inside."""
        return bool(self.low <= exact(number) <= self.high)

    def map(self, function: Callable[[Exact], Exact]) -> Interval:
        """Apply a function that never decreases."""
        return Interval(function(self.low), function(self.high))

    def __neg__(self) -> Interval:
        """Mirror at 0."""
        return Interval(-self.high, -self.low)

    def __add__(self, other: Exact | Interval) -> Interval:
        """Add a number or an interval."""
        if isinstance(other, Interval):
            return Interval(add(self.low, other.low), add(self.high, other.high))
        return Interval(add(self.low, other), add(self.high, other))

    __radd__ = __add__

    def __sub__(self, other: Exact | Interval) -> Interval:
        """Subtract a number or an interval."""
        return self + -other

    def __rsub__(self, other: Exact) -> Interval:
        """Subtract from a number."""
        return -self + other

    def __mul__(self, other: Exact | Interval) -> Interval:
        """Multiply by a number."""
        if isinstance(other, Interval):
            self._refuse()
        ends = multiply(self.low, other), multiply(self.high, other)
        return Interval(min(ends), max(ends))

    __rmul__ = __mul__

    def __truediv__(self, other: Exact | Interval) -> Interval:
        """Divide by a number that is not 0."""
        if isinstance(other, Interval) or not other:
            self._refuse()
        return self * divide(1, other)

    def _refuse(self, *_: object) -> NoReturn:
        raise FormulaError(
            "the result of anysum_f32 is an interval; only + and -, * and / by a number, rounding "
            "points, rint, floor and saturate are defined on it"
        )

    __lt__ = __le__ = __gt__ = __ge__ = __rtruediv__ = __abs__ = __mod__ = _refuse


Inner = Exact | Interval
"""Any value inside the oracle."""

Value = Fraction | float | Interval
"""What comes out: a Fraction (whole numbers included), inf or nan as float, or an interval."""


def exact(number: object) -> Exact:
    """Convert a number of any library to its exact value.

    >>> exact(0.75), exact(3.0), exact(Fraction(8, 4)), exact(float("inf"))
    (Fraction(3, 4), 3, 2, inf)
    """
    if isinstance(number, int):
        return int(number)
    if isinstance(number, Fraction):
        return number.numerator if number.denominator == 1 else number
    if isinstance(number, float):
        return _from_float(number)
    return _foreign(number)


def _from_float(number: float) -> Exact:
    if not math.isfinite(number):
        return float(number)
    return int(number) if number.is_integer() else Fraction(float(number))


def _foreign(number: object) -> Exact:
    """Convert a scalar that is no Python number; ml_dtypes has some that know only float()."""
    if not isinstance(number, str | bytes | bytearray):
        try:
            return operator.index(number)  # type: ignore[arg-type]  # asking is the test
        except TypeError:
            pass
        try:
            return _from_float(float(number))  # type: ignore[arg-type]  # the same
        except (TypeError, ValueError, OverflowError):
            pass
    raise FormulaError(f"not a real number: {number!r}")


def outer(value: Inner) -> Value:
    """Give whole numbers to the outside as Fraction, so that there is one type of rational."""
    if isinstance(value, Interval):
        return Interval(outer_end(value.low), outer_end(value.high))
    return outer_end(value)


def outer_end(value: Exact) -> Fraction | float:
    """Do the same for one number."""
    return Fraction(value) if isinstance(value, int) else value


def agrees(expected: Value, number: object) -> bool:
    """Tell whether a number is the oracle's value, or lies in its interval; nan agrees with nan.

    >>> agrees(Fraction(1, 4), 0.25), agrees(NAN, NAN), agrees(Interval(0, 1), 0.5)
    (True, True, True)
    """
    if isinstance(expected, Interval):
        return number in expected
    got = exact(number)
    return bool(got == expected) or (_is_nan(got) and _is_nan(expected))


def _is_nan(value: Exact) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _sign(value: Exact) -> float:
    """Reduce a finite value to its sign: as good when an infinity multiplies it."""
    return value if isinstance(value, float) else float((value > 0) - (value < 0))


# Inner arithmetic. Python would turn a rational beside a float into a float, and int / int too; all
# else its operators do rightly, those of Interval included, which pass here as plain numbers.


def _unless_finite(value: Exact) -> float:
    """Reduce a finite value, or an interval, to 0: as good when an infinity is added."""
    return value if isinstance(value, float) else 0.0


def add(a: Exact, b: Exact) -> Exact:
    """Add exactly; infinities as in IEEE 754."""
    if isinstance(a, float) or isinstance(b, float):
        return _unless_finite(a) + _unless_finite(b)
    return a + b


def subtract(a: Exact, b: Exact) -> Exact:
    """Subtract exactly; infinities as in IEEE 754."""
    if isinstance(a, float) or isinstance(b, float):
        return _unless_finite(a) - _unless_finite(b)
    return a - b


def multiply(a: Exact, b: Exact) -> Exact:
    """Multiply exactly; infinity times 0 is nan."""
    if isinstance(a, float) or isinstance(b, float):
        return _sign(a) * _sign(b)
    return a * b


def magnitude(value: Exact) -> Exact:
    """Return the value without its sign."""
    return -value if value < 0 else value


def divide(a: Exact, b: Exact) -> Exact:
    """Divide exactly; x / 0 is an infinity with the sign of x, 0 / 0 is nan.

    >>> divide(6, 4), divide(6, 3), divide(-1, 0), divide(0, 0), divide(1, INF)
    (Fraction(3, 2), 2, -inf, nan, 0)
    """
    if isinstance(a, int) and isinstance(b, int) and b:
        return Fraction(a, b) if a % b else a // b
    if isinstance(a, float) or isinstance(b, float) or not b:
        return _divide_special(a, b)
    return a / b


def _divide_special(a: Exact, b: Exact) -> Exact:
    if not b:
        return _sign(a) * INF
    if isinstance(b, float):
        return NAN if isinstance(a, float) or _is_nan(b) else 0
    return _sign(a) * _sign(b)


def smallest(values: Iterable[Exact]) -> Exact:
    """Return the least value; nan if one is nan, inf of none."""
    return _extreme(values, operator.lt, INF)


def largest(values: Iterable[Exact]) -> Exact:
    """Return the greatest value; nan if one is nan, -inf of none.

    >>> largest([1, NAN, 2]), largest([1, INF]), largest([])
    (nan, inf, -inf)
    """
    return _extreme(values, operator.gt, -INF)


def _extreme(
    values: Iterable[Exact], better: Callable[[Exact, Exact], bool], start: float
) -> Exact:
    best: Exact = start
    for value in values:
        if _is_nan(value):
            return NAN
        if better(value, best):
            best = value
    return best


def clip(value: Exact, low: Exact, high: Exact) -> Exact:
    """Limit to a range; nan stays nan.

    >>> clip(INF, -448, 448), clip(NAN, -448, 448)
    (448, nan)
    """
    return smallest((largest((value, low)), high))


_UNIT = Fraction(1, 2**24)


def any_order_sum(terms: list[Exact]) -> Inner:
    """Bound a float32 sum of unspecified order, whose terms may be rounded or fused.

    Each term and each addition rounds at most once, so the exact sum is missed by no more than
    gamma(n + 1) times the sum of the magnitudes (Higham, Accuracy and Stability of Numerical
    Algorithms, section 4.2); terms below the normal range add half the smallest step each. If a
    partial sum might overflow, nothing is known.
    """
    total: Exact = 0
    size: Exact = 0
    for term in terms:
        total, size = add(total, term), add(size, magnitude(term))
    if isinstance(total, float) or isinstance(size, float):
        return total
    count = len(terms) + 1
    gamma = count * _UNIT / (1 - count * _UNIT)
    if size * (1 + gamma) > POINTS["f32"].highest:
        return Interval(-INF, INF)
    slack = gamma * size + Fraction(len(terms), 2**150)
    return Interval(total - slack, total + slack)
