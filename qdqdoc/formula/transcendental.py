"""``exp``, ``log`` and ``sqrt`` of rationals to more than 150 significant bits, in integers.

The first two are real functions whose values no rational equals (but exp(0) and log(1)), so a
formula has to round them; with this many bits every format's rounding is decided, ties never occur.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache, lru_cache
from typing import Final

from qdqdoc.formula.rounding import INF, NAN, Exact
from qdqdoc.formula.values import magnitude

_BITS: Final = 256
_ONE: Final = 1 << _BITS
# There every format has long overflowed or reached zero; the exact value would only cost time.
_FAR: Final = 2**15
_HALVINGS: Final = 16
_RECENT: Final = 2**14
"""How many results are kept: formulas ask again for the same exponentials, row by row."""


@lru_cache(_RECENT)
def exp(value: Exact) -> Exact:
    """Return e to the power of a value; inf above 2**15 and 0 below -2**15.

    >>> float(exp(1)), exp(0), exp(-INF)
    (2.718281828459045, 1, 0)
    """
    if isinstance(value, float) or magnitude(value) > _FAR:
        return _exp_far(value)
    if not value:
        return 1
    fixed = (value.numerator << _BITS) // value.denominator
    twos, rest = divmod(fixed, _ln2())
    mantissa = _exp_series(rest)
    return Fraction(mantissa << twos, _ONE) if twos >= 0 else Fraction(mantissa, _ONE << -twos)


def _exp_far(value: Exact) -> Exact:
    if math.isnan(value):
        return NAN
    return INF if value > 0 else 0


def _exp_series(rest: int) -> int:
    """Return the fixed-point exponential of ``0 <= rest < ln 2``: a series, then squarings."""
    small = rest >> _HALVINGS
    total = term = _ONE
    step = 0
    while term:
        step += 1
        term = (term * small >> _BITS) // step
        total += term
    for _ in range(_HALVINGS):
        total = total * total >> _BITS
    return total


@lru_cache(_RECENT)
def log(value: Exact) -> Exact:
    """Return the natural logarithm; -inf of 0, nan of what is negative.

    >>> float(log(10)), log(1), log(0)
    (2.302585092994046, 0, -inf)
    """
    if isinstance(value, float):
        return INF if value > 0 else NAN
    if value <= 0:
        return NAN if value else -INF
    if value == 1:
        return 0
    twos = value.numerator.bit_length() - value.denominator.bit_length()
    if value / Fraction(2) ** twos > Fraction(4, 3):
        twos += 1  # so that a value just below 1 is not the difference of two logarithms
    return _two_artanh(value / Fraction(2) ** twos) + twos * Fraction(_ln2(), _ONE)


def sqrt(value: Exact) -> Exact:
    """Return the square root, exact where it is rational; nan of what is negative.

    >>> float(sqrt(2)), sqrt(Fraction(9, 4)), sqrt(-1)
    (1.4142135623730951, Fraction(3, 2), nan)
    """
    if isinstance(value, float):
        return INF if value > 0 else NAN
    if value < 0:
        return NAN
    fraction = Fraction(value)
    roots = [math.isqrt(part) for part in (fraction.numerator, fraction.denominator)]
    if [root**2 for root in roots] == [fraction.numerator, fraction.denominator]:
        return Fraction(*roots)
    # Bits enough for any size; the last one says that the root goes on, so that it is no tie.
    bits = _BITS + max(0, fraction.denominator.bit_length() - fraction.numerator.bit_length())
    root = math.isqrt((fraction.numerator << 2 * bits) // fraction.denominator)
    return Fraction(2 * root + 1, 2 << bits)


def _two_artanh(mantissa: int | Fraction) -> Fraction:
    """Return ln of a mantissa between 1/2 and 2, as twice the area tangent of (m - 1) / (m + 1)."""
    ratio = Fraction(mantissa - 1) / (mantissa + 1)
    # A mantissa close to 1 keeps its leading digits: its shift grows as the ratio shrinks.
    bits = _BITS + max(0, ratio.denominator.bit_length() - ratio.numerator.bit_length())
    power = (ratio.numerator << bits) // ratio.denominator
    square = power * power >> bits
    total = 0
    odd = 1
    while power not in (0, -1):
        total += power // odd
        power = power * square >> bits
        odd += 2
    return Fraction(2 * total, 1 << bits)


@cache
def _ln2() -> int:
    # 2 has the ratio 1/3, whose series gains three bits a term.
    two = _two_artanh(Fraction(2))
    return (two.numerator << _BITS) // two.denominator
