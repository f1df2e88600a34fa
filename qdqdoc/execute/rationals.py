"""Tensors of rational numbers: whole numbers without a limit, times one unit.

Nothing here rounds but `quantized` and `f32`, and those once. Functions without a rational value
(an exponential, a root) are taken to `DIGITS` decimal digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from math import gcd, lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.execute.errors import ExecuteError
from qdqdoc.numerics.formats import integer_range, is_integer
from qdqdoc.numerics.layout import spread
from qdqdoc.numerics.rounding import rounded_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdqdoc.numerics.formats import Array

DIGITS = 60
ROOM = 2**62
"""Sums below this are taken in int64, others in Python's integers."""

MANTISSA = 53
LEAST = 2.0**-400
"""Between this and its inverse no product of two leaves the range of float64."""


@dataclass(frozen=True, eq=False)
class Rational:
    """The numbers ``whole * unit``; ``whole`` is an array of Python integers."""

    whole: Array
    unit: Fraction

    def __post_init__(self) -> None:
        """Keep a lone number an array of Python's integers, too."""
        object.__setattr__(self, "whole", np.asarray(self.whole, object))

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes."""
        return self.whole.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.whole.ndim

    def with_unit(self, unit: Fraction) -> Array:
        """Return the whole numbers for a unit that divides this one."""
        return np.asarray(self.whole * int(self.unit / unit), object)

    def at(self, place: tuple[int, ...]) -> Fraction:
        """Return one number."""
        return int(self.whole[place]) * self.unit


def whole(values: Array) -> Array:
    """Return whole numbers as Python's, which never overflow.

    >>> whole(np.int8([100, -3])) * 10**20
    array([10000000000000000000000, -300000000000000000000], dtype=object)
    """
    return np.asarray(np.asarray(values).astype(np.int64).astype(object), object)


def python(values: Array) -> Array:
    """Return objects as Python's integers: what NumPy pads with are its own, which overflow.

    >>> padded = np.pad(whole(np.int8([1])) * 2**70, 1)
    >>> python(padded) * 2**70 == padded * 1.0 * 2**70
    array([ True,  True,  True])
    """
    return np.asarray(np.frompyfunc(int, 1, 1)(values), object)


def rational(values: Array | np.floating[Any] | Rational) -> Rational:
    """Return floats as the rational numbers that they are.

    >>> tenth = rational(np.float32([0.1, -2]))
    >>> tenth.at((0,)), tenth.at((1,))
    (Fraction(13421773, 134217728), Fraction(-2, 1))
    """
    if isinstance(values, Rational):
        return values
    wide = np.asarray(values).astype(np.float64)
    if not np.isfinite(wide).all():
        raise ExecuteError("found NaN or infinity, which is no rational number")
    mantissas, exponents = np.frexp(wide)
    used = exponents[mantissas != 0]
    lowest = int(used.min()) if used.size else 0
    shifts = np.where(mantissas == 0, 0, exponents - lowest).astype(object)
    numbers = whole(np.ldexp(mantissas, MANTISSA)) << shifts
    return Rational(numbers, Fraction(2) ** (lowest - MANTISSA))


def of_fractions(values: Array, shape: tuple[int, ...]) -> Rational:
    """Return fractions, one after the other, as a tensor.

    >>> of_fractions(np.array([Fraction(1, 2), Fraction(1, 3)], object), (2,)).unit
    Fraction(1, 6)
    """
    unit = Fraction(1, lcm(*(value.denominator for value in values)))
    made = np.empty(len(values), object)
    made[:] = [int(value / unit) for value in values]
    return Rational(made.reshape(shape), unit)


def aligned(left: Rational, right: Rational) -> tuple[Array, Array, Fraction]:
    """Return both in one unit, the largest that divides theirs."""
    a, b = left.unit, right.unit
    common = gcd(a.numerator * b.denominator, b.numerator * a.denominator)
    unit = Fraction(common, a.denominator * b.denominator)
    return left.with_unit(unit), right.with_unit(unit), unit


def added(left: Rational, right: Rational) -> Rational:
    """Add.

    >>> added(rational(np.float32([0.5])), rational(np.float32([0.25]))).at((0,))
    Fraction(3, 4)
    """
    a, b, unit = aligned(left, right)
    return Rational(a + b, unit)


def negated(value: Rational) -> Rational:
    """Turn the sign."""
    return Rational(-value.whole, value.unit)


def multiplied(left: Rational, right: Rational) -> Rational:
    """Multiply element by element."""
    return Rational(left.whole * right.whole, left.unit * right.unit)


def divided(left: Rational, right: Rational) -> Rational:
    """Divide element by element.

    >>> divided(rational(np.float32([1, 2])), rational(np.float32([3]))).at((1,))
    Fraction(2, 3)
    """
    if (right.whole == 0).any():
        raise ExecuteError("found a division by zero, whose result is no rational number")
    ratio = left.unit / right.unit
    a, b = np.broadcast_arrays(left.whole, right.whole)
    parts = [Fraction(x, y) for x, y in zip(a.ravel(), b.ravel(), strict=True)]
    made = of_fractions(np.array(parts, object), a.shape)
    return Rational(made.whole, made.unit * ratio)


def product(left: Rational, right: Rational) -> Rational:
    """Multiply matrices; in int64 where no sum can be larger than that holds."""
    return Rational(summed(left.whole, right.whole), left.unit * right.unit)


def summed(left: Array, right: Array) -> Array:
    """Multiply matrices of whole numbers.

    What a row of the left has in common, a scale per channel, stays out of the sums: so nearly
    all of them are small.

    >>> summed(whole(np.int64([[2, 3]])), whole(np.int64([[2**40], [1]])))
    array([[2199023255555]], dtype=object)
    """
    common = np.asarray(np.gcd.reduce(left, axis=-1, keepdims=True), object)
    common = np.where(common == 0, 1, common)
    rows = np.asarray(left // common, object)
    if _largest(rows) * _largest(right) * left.shape[-1] < ROOM:
        return np.asarray(whole(rows.astype(np.int64) @ right.astype(np.int64)) * common, object)
    return np.asarray(left @ right, object)


def dequantized(
    x: Array, scale: Array, zero_point: Array | None, *, axis: int = 1, block_size: int = 0
) -> Rational:
    """Return what codes stand for.

    >>> dequantized(np.int8([3]), np.float32(0.5), np.int8(1)).at((0,))
    Fraction(1, 1)
    """
    steps = rational(scale)
    if steps.whole.size == 1:
        steps = Rational(whole(np.ones(())), steps.unit * int(steps.whole.item()))
    codes = Rational(whole(x), Fraction(1)) if is_integer(x.dtype) else rational(x)
    if zero_point is not None and is_integer(x.dtype):
        zero = spread(whole(zero_point), x.shape, axis, block_size)
        codes = Rational(codes.whole - zero, codes.unit)
    return multiplied(codes, Rational(spread(steps.whole, x.shape, axis, block_size), steps.unit))


def quantized(
    value: Rational, scale: Array, zero_point: Array, *, axis: int = 1, block_size: int = 0
) -> Array:
    """Divide by the scale, round once, ties to even; then add the zero point, then clip.

    >>> half = rational(np.float32([0.75, 1.25, 1000]))
    >>> quantized(half, np.float32(0.5), np.int8(1))
    array([  3,   3, 127], dtype=int8)
    """
    steps, kind = rational(scale), zero_point.dtype
    if (steps.whole == 0).any():
        raise ExecuteError("found a scale of 0")
    if not is_integer(kind):
        raise ExecuteError(f"found codes of {kind}; the exact contract knows integers alone")
    ratio = value.unit / steps.unit
    divisor, zero = (
        spread(held, value.shape, axis, block_size) for held in (steps.whole, whole(zero_point))
    )
    sign = np.where(divisor < 0, -1, 1).astype(object)
    over = np.asarray(value.whole * sign * ratio.numerator, object)
    under = np.asarray(divisor * sign * ratio.denominator, object)
    low, high = integer_range(kind)
    codes = np.minimum(np.maximum(nearest(over, under) + zero, low), high)
    return np.asarray(codes, object).astype(kind)


def nearest(over: Array, under: Array) -> Array:
    """Round quotients of whole numbers to the nearest whole number, ties to even.

    >>> nearest(whole(np.int64([5, 7, -5])), whole(np.int64([2, 2, 2])))
    array([2, 4, -2], dtype=object)
    """
    twice = np.asarray(2 * over + under, object)
    found = np.asarray(twice // (2 * under), object)
    tie = np.asarray((twice % (2 * under) == 0) & (found % 2 == 1))
    return np.asarray(found - whole(tie), object)


def rounded(value: Rational) -> Array:
    """Round to float32, once.

    >>> rounded(divided(rational(np.float32([1])), rational(np.float32([3]))))
    array([0.33333334], dtype=float32)
    """
    unit, largest = float(value.unit), _largest(value.whole)
    if not (LEAST < unit < 1 / LEAST and largest < 1 / LEAST):
        flat = [float(int(v) * value.unit) for v in value.whole.ravel()]
        near = np.array(flat, np.float64).reshape(value.shape)
    else:
        near = np.asarray(value.whole.astype(np.float64) * unit)
    if Fraction(unit) == value.unit and largest * value.unit.numerator < 2**MANTISSA:
        return rounded_once(near, value.at, 0.0)  # nothing was rounded so far
    # Number and unit were rounded to float64, and so was their product: this is more than enough.
    return rounded_once(near, value.at, np.abs(near) * 4 * np.finfo(np.float64).eps)


def _largest(values: Array) -> int:
    return int(np.abs(values).max(initial=0))


def mapped(value: Rational, function: Callable[[Decimal, Context], Decimal]) -> Rational:
    """Apply a function of decimal numbers, once for each number that occurs.

    >>> two = mapped(rational(np.float32([4])), lambda x, context: x.sqrt(context))
    >>> two.at((0,))
    Fraction(2, 1)
    """
    context = Context(prec=DIGITS)
    found: dict[int, Fraction] = {}
    for number in {int(v) for v in value.whole.ravel()}:
        exact = number * value.unit
        near = context.divide(Decimal(exact.numerator), Decimal(exact.denominator))
        found[number] = Fraction(function(near, context))
    flat = np.empty(value.whole.size, object)
    flat[:] = [found[int(v)] for v in value.whole.ravel()]
    return of_fractions(flat, value.shape)
