"""Every rounding decision of the package, on one page.

``rint``, ``clip`` and the casts that can change a value stand in this module alone; a test
says so. NumPy's ``rint`` rounds to nearest, ties to even, as ONNX asks
:cite:p:`onnx-quantizelinear`; a division, a product and a cast in float32 are each rounded
once to nearest, ties to even, as :cite:t:`ieee754` defines them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import Array, integer_range, is_integer, largest_finite, type_name

if TYPE_CHECKING:
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
            values = _round_to_odd(values)
        return np.asarray(values.astype(dtype, copy=False))


def _round_to_odd(values: Array) -> Array:
    """Take integers to float32 so that a second rounding still sees the side of each tie."""
    near = values.astype(np.float32)
    exact, rounded = values.astype(np.float64), near.astype(np.float64)
    bits = near.view(np.int32) - (np.abs(rounded) > np.abs(exact))
    return np.asarray((bits | (rounded != exact)).astype(np.int32).view(np.float32))


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
        values = np.where(np.isnan(values), f32(largest_finite(dtype)), values)
    with np.errstate(all="ignore"):
        return np.asarray(values.astype(dtype, copy=False))


def saturate_float(values: Array, dtype: DTypeLike) -> Array:
    """Round each float32 once to a float type after clipping it to the finite range; NaN stays.

    >>> import ml_dtypes
    >>> saturate_float(np.float32([500, -np.inf, 17]), ml_dtypes.float8_e4m3fn)
    array([448, -448, 16], dtype='float8_e4m3fn')
    """
    limit = np.float32(largest_finite(dtype))
    return cast(np.clip(values, -limit, limit), dtype)


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
    codes = np.asarray(np.clip(np.rint(f32(values)) + f32(zero_point), low, high))
    codes[np.isnan(codes)] = low
    return codes.astype(dtype)


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
    return saturate_float(scaled + f32(zero_point), dtype)


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
        return np.asarray(left.astype(np.int32) - right.astype(np.int32))


def f32_of_ratio(numerator: int, bits: int) -> np.float32:
    """Round ``numerator / 2**bits`` once to float32, however long the numerator is.

    Bits beyond a double's are folded into its last one (round to odd), so that the second
    rounding sees which side of a tie the exact value was on.

    >>> f32_of_ratio(2**24 + 1, 0), f32_of_ratio((2**24 + 1) * 2**60 + 1, 60)
    (np.float32(1.6777216e+07), np.float32(1.6777218e+07))
    """
    magnitude, extra = abs(numerator), max(abs(numerator).bit_length() - 53, 0)
    kept = magnitude >> extra
    if kept << extra != magnitude:
        kept |= 1
    value = np.ldexp(np.float64(kept), extra - bits)
    with np.errstate(over="ignore"):
        return np.float32(np.copysign(value, numerator))


def fma(a: Array, b: Array, c: Array) -> Array:
    """Compute a * b + c of float32 with one rounding to float32: a fused multiply-add.

    The product is exact in float64. The sum is rounded to odd there, so that the rounding to
    float32 still sees on which side of a tie the exact value is :cite:p:`boldo2008`.

    >>> a, c = np.float32(4097), np.float32(-(4097**2) + 1)
    >>> fma(a, a, c), multiply(a, a) + c
    (array(1., dtype=float32), np.float32(0.0))
    """
    with np.errstate(all="ignore"):
        product = np.asarray(a, np.float64) * np.asarray(b, np.float64)
        addend = np.asarray(c, np.float64)
        total = product + addend
        part = total - product
        error = (product - (total - part)) + (addend - part)
        even = total.view(np.int64) & 1 == 0
        step = np.where(np.signbit(error) == np.signbit(total), 1, -1)
        inexact = (error != 0) & np.isfinite(total) & np.isfinite(error) & even
        odd = total.view(np.int64) + np.where(inexact, step, 0)
        return f32(odd.view(np.float64))


def hold(values: Array, low: float, high: float) -> Array:
    """Round to float32 and hold within a range; NaN stays.

    >>> hold(np.float64([-3, 0.5, np.nan]), -1, 1)
    array([-1. ,  0.5,  nan], dtype=float32)
    """
    return np.clip(f32(values), np.float32(low), np.float32(high))
