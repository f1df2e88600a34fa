"""Exact sums of products, through floating-point BLAS where a bound proves that it is exact.

A sum of whole numbers is exact in float32 as long as no partial sum leaves 2**24, in float64
as long as none leaves 2**53. The bound is computed from the operands at hand; the order in
which BLAS adds does not matter to it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

from qdqdoc.errors import QdqdocError
from qdqdoc.numerics.formats import Array, integer_range
from qdqdoc.numerics.layout import windows
from qdqdoc.numerics.rounding import f32, f32_of_ratio, wrap32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

Overflow = Literal["wrap", "raise"]


FINEST_FLOAT8 = 17
"""Every finite float of eight bits is a whole multiple of two to the power of minus this."""


class AccumulatorOverflowError(QdqdocError):
    """A sum left the int32 accumulator, and the caller asked to be told."""


def sum_bound(left: Array, right: Array) -> int:
    """Bound every partial sum of ``left @ right``: largest |left| times largest column of |right|.

    >>> sum_bound(np.int32([[-3, 2]]), np.int32([[1, 4], [1, -5]]))
    27
    """
    columns = np.abs(right.astype(np.int64)).sum(axis=-2)
    return _largest(left) * int(columns.max(initial=0))


def _largest(values: Array) -> int:
    """Return the largest magnitude, 0 if there is no value."""
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))


def exact_dtype(bound: int) -> DTypeLike:
    """Return the narrowest type of BLAS in which sums up to ``bound`` are exact.

    >>> exact_dtype(2**24), exact_dtype(2**24 + 1)
    (<class 'numpy.float32'>, <class 'numpy.float64'>)
    """
    if bound <= 2**24:
        return np.float32
    return np.float64 if bound <= 2**53 else np.int64


SHALLOWEST = 64
"""Slices of fewer products than this are slower in float32 than the whole is in float64."""


def integer_matmul(left: Array, right: Array) -> Array:
    """Multiply integer matrices exactly; the result is int64 and has not wrapped.

    Where the sums leave float32, they are cut into slices whose sums do not.

    >>> integer_matmul(np.int32([[255, 255]]), np.int32([[127], [127]]))
    array([[64770]])
    >>> long = np.full((1, 40001), 255, np.int32)
    >>> integer_matmul(long, long.T)
    array([[2601065025]])
    """
    dtype, inner = exact_dtype(sum_bound(left, right)), left.shape[-1]
    depth = 2**24 // max(_largest(left) * _largest(right), 1)
    if dtype is np.float64 and depth >= SHALLOWEST:
        dtype = np.float32
    else:
        depth = max(inner, 1)
    rows, columns = left.astype(dtype), right.astype(dtype)
    sums = np.asarray(rows[..., :depth] @ columns[..., :depth, :]).astype(np.int64)
    for start in range(depth, inner, depth):
        cut = slice(start, start + depth)
        sums += np.asarray(rows[..., cut] @ columns[..., cut, :]).astype(np.int64)
    return sums


CONV_BLOCK = 2**16
"""About so many values does a matrix of windows hold: few enough to stay in a cache."""


CONV_BLOCK = 2**16
"""About so many values does a matrix of windows hold: few enough to stay in a cache."""


def integer_conv(
    x: Array, w: Array, *, strides: Sequence[int], dilations: Sequence[int], group: int
) -> Array:
    """Correlate ``x`` (N, C, spatial...) with ``w`` (M, C / group, kernel...) exactly, in int64.

    ``x`` is padded already. The windows of some rows of outputs at a time become the columns of
    a matrix, so that each product is a block of the result.

    >>> integer_conv(np.int32([[[1, 2, 3]]]), np.int32([[[1, 10]]]),
    ...              strides=[1], dilations=[1], group=1)
    array([[[21, 32]]])
    """
    filters, (depth, *kernel) = w.shape[0], w.shape[1:]
    rank, terms = len(kernel), depth * int(np.prod(kernel))
    weights = w.reshape(group, filters // group, terms)
    dtype = exact_dtype(sum_bound(x, weights.swapaxes(1, 2)))
    weights = weights.astype(dtype)
    fields = windows(x.astype(dtype), kernel, strides, dilations)
    out = fields.shape[2 : 2 + rank]
    # (N, C, kernel..., outputs...): in this order the copy below reads whole rows of an image.
    fields = np.moveaxis(fields, range(2, 2 + rank), range(-rank, 0))
    sums = np.empty((x.shape[0], filters, *out), np.int64)
    # Of so many rows of outputs at a time; the values of the result do not depend on it.
    rows = 1 + CONV_BLOCK // (1 + group * terms * int(np.prod(out[1:])))
    for image, field in zip(sums, fields, strict=True):
        for first in range(0, out[0], rows):
            block = image[:, first : first + rows]
            seen = field[(slice(None),) * (1 + rank) + (slice(first, first + rows),)]
            columns = seen.reshape(group, terms, int(np.prod(block.shape[1:])))
            block[...] = (weights @ columns).reshape(block.shape)
    return sums


def accumulate(sums: Array, overflow: Overflow) -> Array:
    """Put exact sums into the int32 accumulator: wrap, as ONNX says, or raise.

    >>> accumulate(np.int64([2**31]), "wrap")
    array([-2147483648], dtype=int32)
    >>> accumulate(np.int64([2**31]), "raise")
    Traceback (most recent call last):
    ...
    qdqdoc.numerics.products.AccumulatorOverflowError: sum 2147483648 leaves int32
    """
    if overflow == "raise" and sums.size:
        low, high = integer_range(np.int32)
        outside = sums[(sums < low) | (sums > high)]
        if outside.size:
            raise AccumulatorOverflowError(f"sum {outside[0]} leaves int32")
    return wrap32(sums)


def float8_matmul(left: Array, right: Array) -> Array:
    """Multiply matrices of small floats: each exact sum is rounded once to float32.

    Counted in the finest step of any type of eight bits, the values are whole numbers.

    >>> import ml_dtypes
    >>> one = np.array([[57344, 2**-16]], ml_dtypes.float8_e5m2)
    >>> float8_matmul(one.astype(np.float64), one.astype(np.float64).T)
    array([[3.2883343e+09]], dtype=float32)
    """
    rows, columns = (
        np.isfinite(left).all(-1, keepdims=True),
        np.isfinite(right).all(-2, keepdims=True),
    )
    odd = ~(rows & columns)
    whole = np.vectorize(int, [object])
    scaled = [whole(np.ldexp(np.where(np.isfinite(m), m, 0), FINEST_FLOAT8)) for m in (left, right)]
    rounded = np.frompyfunc(lambda total: f32_of_ratio(total, 2 * FINEST_FLOAT8), 1, 1)
    with np.errstate(all="ignore"):
        # A sum with an infinity or NaN in it is one of them, in any precision.
        return np.where(odd, f32(left @ right), f32(rounded(scaled[0] @ scaled[1])))


def float_matmul(left: Array, right: Array) -> Array:
    """Multiply float32 matrices: each exact sum of products is rounded once to float32.

    float64 finds nearly all of them, whatever the order in which BLAS adds: its error is bounded,
    and where the bound reaches across a rounding boundary the sum is taken in exact arithmetic.

    >>> float_matmul(np.float32([[2**60, 1, -(2**60)]]), np.float32([[1], [1], [1]]))
    array([[1.]], dtype=float32)
    """
    with np.errstate(all="ignore"):
        wide = [np.asarray(m, np.float64) for m in (left, right)]
        sums = wide[0] @ wide[1]
        # Twice the textbook bound: it has itself been rounded.
        bound = (np.abs(wide[0]) @ np.abs(wide[1])) * (wide[0].shape[-1] * 2.0**-52)
        result, decided = f32(sums), f32(sums - bound) == f32(sums + bound)
    batches = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    rows_of = np.broadcast_to(left, (*batches, *left.shape[-2:]))
    columns_of = np.broadcast_to(right, (*batches, *right.shape[-2:]))
    for place in zip(*np.nonzero(~decided & np.isfinite(sums)), strict=True):
        *batch, row, column = place
        pair = rows_of[(*batch, row)], columns_of[(*batch, slice(None), column)]
        result[place] = _exact_dot(*pair)
    return result


def _exact_dot(row: Array, column: Array) -> np.float32:
    exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, column, strict=True))
    total = Fraction(exact)
    return f32_of_ratio(total.numerator, total.denominator.bit_length() - 1)
