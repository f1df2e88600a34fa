"""Every rounding decision of the package, on one page.

``rint``, ``clip`` and the casts that can change a value stand in this module alone; a test
says so. NumPy's ``rint`` rounds to nearest, ties to even, as ONNX asks
:cite:p:`onnx-quantizelinear`; a division, a product and a cast in float32 are each rounded
once to nearest, ties to even, as :cite:t:`ieee754` defines them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import Array, integer_range, is_integer, largest_finite, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike


def f32(values: object) -> Array:
    """Round each value once to float32.

    Integers above 2**24 are rounded too, which requantization feels:

    >>> f32(np.int32(2**24 + 1))
    array(1.6777216e+07, dtype=float32)
    """
    return np.asarray(values).astype(np.float32, copy=False)


def to_float(values: Array, dtype: DTypeLike) -> Array:
    """Round each value once to a float type, whole numbers of 32 bits included.

    A plain cast takes an int32 to bfloat16 by way of float32, which are two roundings:

    >>> import ml_dtypes
    >>> x = np.array([2**30 + 2**22 + 1], np.int32)
    >>> to_float(x, ml_dtypes.bfloat16).astype(np.int32)
    array([1082130432], dtype=int32)
    >>> x.astype(ml_dtypes.bfloat16).astype(np.int32)
    array([1073741824], dtype=int32)
    """
    with np.errstate(all="ignore"):
        if np.dtype(dtype).itemsize < np.dtype(np.float32).itemsize and values.dtype == np.int32:
            near = f32(values)
            values = to_odd(near, values - near)
        return np.asarray(values.astype(dtype, copy=False))


def to_odd(near: Array, error: Array) -> Array:
    """Round ``near + error`` to odd: cut it off, and set the last bit if anything is lost.

    ``near`` is the sum rounded to its type, ``error`` what that left. A value rounded to odd can
    be rounded again, to a type of at least two bits less, as if it were exact
    :cite:p:`boldo2008`: it stays on its side of every tie.

    >>> to_odd(np.float64([1, 1, 1, np.inf]), np.float64([0, 1e-20, -1e-20, np.nan])) - 1
    array([ 0.00000000e+00,  2.22044605e-16, -1.11022302e-16,             inf])
    """
    inexact = np.abs(error) > 0
    beyond = inexact & (np.signbit(error) != np.signbit(near))
    bits = near.view(f"i{near.itemsize}")
    return np.asarray(((bits - beyond) | inexact).view(near.dtype))


def divide(dividend: Array, divisor: Array, dtype: DTypeLike) -> Array:
    """Round both operands to ``dtype`` and divide, rounding the quotient once to ``dtype``.

    A zero or infinite divisor follows IEEE 754, without a warning:

    >>> divide(np.float32([1, -1, 0]), np.float32(0), np.float32)
    array([ inf, -inf,  nan], dtype=float32)
    """
    with np.errstate(all="ignore"):
        return np.asarray(to_float(dividend, dtype) / to_float(divisor, dtype))


def multiply(left: Array, right: Array) -> Array:
    """Round both operands to float32 and multiply, rounding the product once to float32.

    >>> multiply(np.int32(5), np.float32(0.1))
    array(0.5, dtype=float32)
    """
    with np.errstate(all="ignore"):
        return np.asarray(f32(left) * f32(right))


def cast(values: Array, dtype: DTypeLike) -> Array:
    """Round each float32 once to a float type; what is too large becomes infinite or NaN.

    The types of four and six bits have neither and stay on their rail. NaN becomes the upper
    rail of float4e2m1 :cite:p:`onnx-float4`; for float6 ONNX leaves it open, and zero comes out.

    >>> import ml_dtypes
    >>> cast(np.float32([0.1, 70000]), np.float16)
    array([0.1, inf], dtype=float16)
    >>> cast(np.float32([1.3, 70000, np.nan]), ml_dtypes.float4_e2m1fn)
    array([1.5, 6, 6], dtype='float4_e2m1fn')
    """
    if type_name(dtype) == "float4e2m1":
        values = np.where(np.isnan(values), largest_finite(dtype), values)
    with np.errstate(all="ignore"):
        return np.asarray(values, dtype)


def saturate_float(values: Array, dtype: DTypeLike) -> Array:
    """Round each float32 once to a float type after clipping it to the finite range; NaN stays.

    >>> import ml_dtypes
    >>> saturate_float(np.float32([500, -np.inf, 17]), ml_dtypes.float8_e4m3fn)
    array([448, -448, 16], dtype='float8_e4m3fn')
    """
    limit = largest_finite(dtype)
    return cast(values.clip(-limit, limit), dtype)


def round_to_grid(values: Array, zero_point: Array, dtype: DTypeLike) -> Array:
    """Round to integers, ties to even; then add the zero point; then clip. NaN: lowest code.

    ``values`` are counted in steps of the scale. The zero point is added after rounding, so
    an odd one does not turn ties the other way:

    >>> round_to_grid(np.float32([0.5, 1.5, 2.5]), np.int8(1), np.int8)
    array([1, 3, 3], dtype=int8)

    Clipping stands before the cast, so nothing wraps however far out it is:

    >>> round_to_grid(np.float32([3e9, -3e9, np.nan]), np.int8(1), np.int8)
    array([ 127, -128, -128], dtype=int8)
    """
    low, high = integer_range(dtype)
    # A sum that is not exact in float32 is far beyond the rails of 16 bits, where it is clipped.
    codes = np.asarray((np.rint(values) + f32(zero_point)).clip(low, high))
    codes[np.isnan(codes)] = low
    return codes.astype(dtype)


def away_from_zero(values: Array, dtype: DTypeLike) -> Array:
    """Round to integers, ties away from zero, as C's ``round`` does; then clip.

    >>> away_from_zero(np.float32([0.5, -2.5, 2.4, 300, -300]), np.int8)
    array([   1,   -3,    2,  127, -128], dtype=int8)
    """
    low, high = integer_range(dtype)
    nearest = np.trunc(values + np.copysign(np.float64(0.5), values))
    return np.asarray(nearest.clip(low, high)).astype(dtype)


def requantize(accumulator: Array, multiplier: Array, zero_point: Array, dtype: DTypeLike) -> Array:
    """Bring an accumulator to the grid of the result: one product, one rounding, zero point, rails.

    The accumulator is rounded to float32 and multiplied in float32. For a float ``dtype`` the
    zero point is added in float32 and the sum is rounded to the type, held within its rails.

    >>> requantize(np.int32([1, 2, 3, 1000]), np.float32(0.5), np.int8(1), np.int8)
    array([  1,   2,   3, 127], dtype=int8)
    """
    scaled = multiply(accumulator, multiplier)
    if is_integer(dtype):
        return round_to_grid(scaled, zero_point, dtype)
    return saturate_float(scaled + zero_point, dtype)


def wrap32(values: Array) -> Array:
    """Reduce whole numbers modulo 2**32 into int32, as a 32-bit register does.

    >>> wrap32(np.int64([2**31 - 1, 2**31, -(2**31) - 1]))
    array([ 2147483647, -2147483648,  2147483647], dtype=int32)
    """
    return values.astype(np.int32)


def subtract32(left: Array, right: Array) -> Array:
    """Subtract codes in int32, where those of up to 16 bits cannot overflow; others wrap.

    >>> subtract32(np.int8([-128]), np.int8(127)), subtract32(np.int32([-(2**31)]), np.int32(1))
    (array([-255], dtype=int32), array([2147483647], dtype=int32))
    """
    with np.errstate(over="ignore"):
        return np.asarray(left.astype(np.int32) - right)


def f32_of(exact: Fraction) -> np.float32:
    """Round a rational number once to float32, however many digits it has.

    A tie, and the least there is above it. The second can be seen in no double:

    >>> tie = Fraction(2**24 + 1)
    >>> f32_of(tie), f32_of(tie + Fraction(1, 2**99))
    (np.float32(1.6777216e+07), np.float32(1.6777218e+07))
    """
    near = float(exact)
    error = float(exact - Fraction(near))
    with np.errstate(all="ignore"):
        return np.float32(to_odd(np.asarray(near), np.asarray(error)))


def rounded_once(
    near: Array, exact: Callable[[tuple[int, ...]], Fraction], bound: Array | float
) -> Array:
    """Round float64 approximations to float32 as if they were exact.

    Each is within ``bound`` of its exact value. Only where two floats are possible is ``exact``
    asked, with the place of the value; here for the second, which is next to a tie:

    >>> exact = {(1,): Fraction(2**24 + 1) + Fraction(1, 2**99)}
    >>> rounded_once(np.float64([1, 2**24 + 1, np.nan]), exact.__getitem__, 2**-27)
    array([1.0000000e+00, 1.6777218e+07,           nan], dtype=float32)
    """
    with np.errstate(all="ignore"):
        result = f32(near)
        doubtful = (f32(near - bound) != f32(near + bound)) & np.isfinite(near)
    for place in map(tuple, np.argwhere(doubtful)):
        result[place] = f32_of(exact(place))
    return result


def fma(a: Array, b: Array, c: Array) -> Array:
    """Compute a * b + c of float32 with one rounding to float32: a fused multiply-add.

    The product is exact in float64, and so is what the sum leaves. With it the sum is rounded to
    odd, so that the rounding to float32 still sees on which side of a tie the exact value is.

    >>> a, c = np.float32(4097), np.float32(-(4097**2) + 1)
    >>> fma(a, a, c), multiply(a, a) + c
    (array(1., dtype=float32), np.float32(0.0))

    These products are ties, with and without an addend that float64 has no room for; and these
    sums are nearly ties, for the product is 2**-46 less than one:

    >>> b, c = np.float32([4097, 4097, 4099, 4099]), np.float32([0, 2**-40, 0, -(2**-40)])
    >>> fma(a, b, c).astype(int)
    array([16785408, 16785410, 16793604, 16793602])
    >>> more, less, c = np.float32(1 + 2**-23), np.float32(1 - 2**-23), np.float32(2**24 + 2)
    >>> fma(more, less, np.float32([c, -c])).astype(int)
    array([ 16777218, -16777218])
    """
    with np.errstate(all="ignore"):
        product = np.asarray(a, np.float64) * b
        total = product + c
        part = total - product
        error = (product - (total - part)) + (c - part)
        return f32(to_odd(total, error))


def hold(values: Array, low: float, high: float) -> Array:
    """Hold within a range and round to float32; NaN stays.

    >>> hold(np.float64([-3, 0.5, np.nan]), -1, 1)
    array([-1. ,  0.5,  nan], dtype=float32)
    """
    return f32(values.clip(low, high))


def hold_and_round(values: Array, low: float, high: float, rounded: Array) -> None:
    """Hold float32 within whole numbers, in place; write them rounded, ties to even.

    For large tensors: no memory is taken. Where ``low`` and ``high`` are whole numbers, so are
    the results that are held there.

    >>> values, rounded = np.float32([-9.5, 0.5, 1.5, 9]), np.zeros(4, np.float32)
    >>> hold_and_round(values, -3, 7, rounded)
    >>> rounded, values
    (array([-3.,  0.,  2.,  7.], dtype=float32), array([-3. ,  0.5,  1.5,  7. ], dtype=float32))
    """
    values.clip(low, high, out=values)
    np.rint(values, out=rounded)


def count_from(rounded: Array, origin: Array, out: Array) -> None:
    """Add whole numbers in place and write the sums as integers; the caller knows that they fit.

    >>> out = np.zeros(2, np.uint16)
    >>> count_from(np.float32([-128, 127]), np.float32([128, 384]), out)
    >>> out
    array([  0, 511], dtype=uint16)
    """
    np.add(rounded, origin, out=rounded)
    np.copyto(out, rounded, casting="unsafe")


def whole_steps(values: Array, step: Array) -> Array | None:
    """Count float32 values in steps, if each is a whole number of steps rounded to float32.

    >>> tenth = np.float32(0.1)
    >>> whole_steps(np.int8([-3, 7]) * tenth, tenth)
    array([-3.,  7.])
    >>> whole_steps(np.float32([0.35]), tenth)
    """
    counts = nearest_steps(values, step)
    exact = (np.abs(counts) <= 2**24) & (multiply(counts, step) == values)
    return counts if exact.all() else None


def nearest_steps(values: Array, step: Array) -> Array:
    """Count values in steps: the nearest whole number of them, as float64.

    >>> nearest_steps(np.float32([0.34, -0.1]), np.float64([0.1, 0.1]))
    array([ 3., -1.])
    """
    with np.errstate(all="ignore"):
        return np.asarray(np.rint(np.asarray(values, np.float64) / step))
