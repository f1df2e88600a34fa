"""Rounding of exact rationals to the number formats of ONNX, in integers only.

A format is a row of a table: precision, smallest normal exponent, largest value, and what becomes
of overflow and nan. One function rounds to nearest, ties to even, for all of them.

The result is a value, not bits: rationals have no -0, and a negative number that underflows gives
0. ``float8e8m0`` has a range but no rounding here: ONNX's Cast has three for it to choose from, by
its attribute ``round_mode``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

Exact = int | Fraction | float
"""A value inside the oracle: exact, or a float that is infinite or nan and nothing else."""

INF: Final = math.inf
NAN: Final = math.nan


@dataclass(frozen=True)
class FloatFormat:
    """A binary floating-point format.

    Attributes
    ----------
    name : str
        ONNX's lower-case name.
    precision : int
        Significant bits, the hidden one included.
    emin : int
        Exponent of the smallest normal number.
    highest : int or Fraction
        Largest finite value.
    overflow : int, Fraction or float
        What a value above ``highest`` becomes, infinity included.
    not_a_number : int or float
        What nan becomes.
    """

    name: str
    precision: int
    emin: int
    highest: int | Fraction
    overflow: Exact
    not_a_number: Exact = NAN

    @property
    def lowest(self) -> int | Fraction:
        """Return the smallest finite value."""
        return -self.highest

    def round(self, value: Exact) -> Exact:
        """Round to nearest, ties to even.

        >>> TYPES["float32"].round(Fraction(1, 3))
        Fraction(11184811, 33554432)
        >>> TYPES["float8e4m3fn"].round(17), TYPES["float8e4m3fn"].round(500)
        (16, nan)
        """
        if isinstance(value, float):
            return self._special(value)
        rounded = nearest_even(value, self.precision, self.emin)
        if rounded > self.highest:
            return self.overflow
        return -self.overflow if rounded < self.lowest else rounded

    def _special(self, value: Exact) -> Exact:
        if value != value:  # noqa: PLR0124 - nan is what differs from itself
            return self.not_a_number
        return self.overflow if value > 0 else -self.overflow


@dataclass(frozen=True)
class IntegerType:
    """The range of an integer type."""

    name: str
    lowest: int
    highest: int


@dataclass(frozen=True)
class ScaleFormat:
    """``float8e8m0``: powers of two. A range without a rounding, see the module's docstring."""

    name: str
    lowest: Fraction
    highest: int


def nearest_even(value: int | Fraction, precision: int, emin: int) -> int | Fraction:
    """Round to ``precision`` significant bits, fewer below ``2**emin``; no largest value.

    >>> nearest_even(Fraction(5, 2), 2, 0), nearest_even(Fraction(3, 4), 2, 0)
    (2, 1)
    """
    if not value:
        return 0
    numerator, denominator = abs(value.numerator), value.denominator
    shift = max(_exponent(numerator, denominator), emin) - (precision - 1)
    if shift >= 0:
        denominator <<= shift
    else:
        numerator <<= -shift
    steps = _divide_even(numerator, denominator)
    if value < 0:
        steps = -steps
    return steps << shift if shift >= 0 else reduced(steps, -shift)


def _exponent(numerator: int, denominator: int) -> int:
    """Return e with ``2**e <= numerator / denominator < 2**(e + 1)``."""
    guess = numerator.bit_length() - denominator.bit_length()
    below = numerator < denominator << guess if guess >= 0 else numerator << -guess < denominator
    return guess - below


def _divide_even(numerator: int, denominator: int) -> int:
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    up = twice > denominator or (twice == denominator and quotient & 1)
    return quotient + 1 if up else quotient


def reduced(numerator: int, bits: int) -> int | Fraction:
    """Return ``numerator / 2**bits``, as an int where it is one.

    >>> reduced(12, 2), reduced(6, 2)
    (3, Fraction(3, 2))
    """
    spare = min((numerator & -numerator).bit_length() - 1, bits) if numerator else bits
    numerator >>= spare
    return Fraction(numerator, 1 << (bits - spare)) if bits > spare else numerator


def rint(value: Exact) -> Exact:
    """Round to an integer, ties to even.

    >>> [rint(Fraction(n, 2)) for n in (-3, -1, 1, 3, 5)]
    [-2, 0, 0, 2, 2]
    """
    if isinstance(value, float):
        return value
    return _divide_even(value.numerator, value.denominator)


def floor(value: Exact) -> Exact:
    """Round down to an integer.

    >>> floor(Fraction(-1, 2)), floor(INF)
    (-1, inf)
    """
    return value if isinstance(value, float) else value.numerator // value.denominator


def saturate(value: Exact, lowest: int | Fraction, highest: int | Fraction) -> Exact:
    """Clip to a range; nan becomes the lowest value.

    >>> saturate(300, -128, 127), saturate(NAN, -128, 127)
    (127, -128)
    """
    if value > highest:
        return highest
    return value if value >= lowest else lowest  # noqa: FURB136 - max() would keep nan


def wrap(value: Exact, lowest: int, highest: int) -> Exact:
    """Reduce modulo the size of an integer range, into it; infinities and nan become nan.

    >>> wrap(2**31, -(2**31), 2**31 - 1)
    -2147483648
    """
    if isinstance(value, float):
        return NAN
    return (value - lowest) % (highest - lowest + 1) + lowest


def _largest(precision: int, emax: int) -> int:
    return ((1 << precision) - 1) << (emax - precision + 1)


def _integers() -> list[IntegerType]:
    widths = (2, 4, 8, 16, 32, 64)
    signed = [IntegerType(f"int{n}", -(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in widths]
    return signed + [IntegerType(f"uint{n}", 0, 2**n - 1) for n in widths]


_FLOATS = (
    FloatFormat("float64", 53, -1022, _largest(53, 1023), INF),
    FloatFormat("float32", 24, -126, _largest(24, 127), INF),
    FloatFormat("float16", 11, -14, 65504, INF),
    FloatFormat("bfloat16", 8, -126, _largest(8, 127), INF),
    FloatFormat("float8e4m3fn", 4, -6, 448, NAN),
    FloatFormat("float8e5m2", 3, -14, 57344, INF),
    FloatFormat("float8e4m3fnuz", 4, -7, 240, NAN),
    FloatFormat("float8e5m2fnuz", 3, -15, 57344, NAN),
    # Without infinity and nan. ONNX maps nan to 6 in float4e2m1, and "unspecified" to -0 in float6.
    FloatFormat("float4e2m1", 2, 0, 6, 6, 6),
    FloatFormat("float6e2m3", 4, 0, Fraction(15, 2), Fraction(15, 2), 0),
    FloatFormat("float6e3m2", 3, -2, 28, 28, 0),
)

NumberType = FloatFormat | IntegerType | ScaleFormat

_ALL: Final[tuple[NumberType, ...]] = (
    *_FLOATS,
    ScaleFormat("float8e8m0", Fraction(1, 2**127), 2**127),
    *_integers(),
)

TYPES: Final[dict[str, NumberType]] = {entry.name: entry for entry in _ALL}
"""Every type a type variable may be bound to, by ONNX's lower-case name."""

POINTS: Final[dict[str, FloatFormat]] = {
    short: next(entry for entry in _FLOATS if entry.name == name)
    for short, name in {
        "f64": "float64",
        "f32": "float32",
        "f16": "float16",
        "bf16": "bfloat16",
        "f8e4m3fn": "float8e4m3fn",
        "f8e5m2": "float8e5m2",
        "f8e4m3fnuz": "float8e4m3fnuz",
        "f8e5m2fnuz": "float8e5m2fnuz",
        "f4e2m1": "float4e2m1",
        "f6e2m3": "float6e2m3",
        "f6e3m2": "float6e3m2",
    }.items()
}
"""The rounding points of the language."""
