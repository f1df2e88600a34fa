"""Exact sums of products, through floating-point BLAS where a bound proves that it is exact.

A sum of whole numbers is exact in float32 as long as no partial sum leaves 2**24, in float64
as long as none leaves 2**53. The bound is computed from the operands at hand; the order in
which BLAS adds does not matter to it.
"""

from __future__ import annotations

from fractions import Fraction
from math import prod
from operator import mul
from typing import TYPE_CHECKING, Literal

import numpy as np

from qdqdoc.errors import QdqdocError
from qdqdoc.numerics.formats import Array, integer_range
from qdqdoc.numerics.layout import windows
from qdqdoc.numerics.rounding import rounded_once, wrap32

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike

Overflow = Literal["wrap", "raise"]


class AccumulatorOverflowError(QdqdocError):
    """A sum left the int32 accumulator, and the caller asked to be told."""


def sum_bound(left: Array, right: Array) -> int:
    """Bound every partial sum of ``left @ right``: largest |left| times largest column of |right|.

    >>> sum_bound(np.int32([[-3, 2]]), np.int32([[1, 4], [1, -5]]))
    27
    >>> [sum_bound(np.int32([[1]]), np.int32([[code]])) for code in (-(2**31), 0)]
    [2147483648, 0]
    """
    columns = np.abs(right.astype(np.int64)).sum(axis=-2)
    return _largest(left) * int(columns.max(initial=0))


def _largest(values: Array) -> int:
    """Return the largest magnitude, 0 if there is no value.

    >>> _largest(np.int8([-128, 127])), _largest(np.int8([])), _largest(np.int8([3, 5]))
    (128, 0, 5)
    """
    return max(abs(int(end)) for end in (values.max(initial=0), values.min(initial=0)))


def exact_dtype(bound: int) -> DTypeLike:
    """Return the narrowest type of BLAS in which sums up to ``bound`` are exact.

    >>> exact_dtype(2**24), exact_dtype(2**24 + 1)
    (<class 'numpy.float32'>, <class 'numpy.float64'>)
    >>> exact_dtype(2**53), exact_dtype(2**53 + 1)
    (<class 'numpy.float64'>, <class 'numpy.int64'>)
    """
    if bound <= 2**24:
        return np.float32
    return np.float64 if bound <= 2**53 else np.int64


SHALLOWEST = 64
"""Slices of fewer products than this are slower in float32 than the whole is in float64."""


def exact_slices(left: Array, right: Array) -> tuple[DTypeLike, int]:
    """Return a type of BLAS, and how many products at a time are added in it exactly.

    Where the sums leave float32, they are cut into slices whose sums do not:

    >>> exact_slices(np.full((2, 1, 3), 512), np.full((3, 1), 512))
    (<class 'numpy.float32'>, 3)
    >>> exact_slices(np.full((1, 99), 512), np.full((99, 1), 512))
    (<class 'numpy.float32'>, 64)
    >>> exact_slices(np.full((1, 99), 512), np.full((99, 1), 513))
    (<class 'numpy.float64'>, 99)
    >>> exact_slices(np.ones((1, 0)), np.ones((0, 1)))
    (<class 'numpy.float32'>, 1)
    """
    dtype = exact_dtype(sum_bound(left, right))
    if dtype is np.float64:
        depth = 2**24 // (_largest(left) * _largest(right))
        if depth >= SHALLOWEST:
            return np.float32, depth
    return dtype, left.shape[-1] or 1


def integer_matmul(left: Array, right: Array) -> Array:
    """Multiply integer matrices exactly; the result is int64 and has not wrapped.

    >>> integer_matmul(np.int32([[255, 255]]), np.int32([[127], [127]]))
    array([[64770]])
    >>> codes = np.full((299, 299), 255, np.int32)
    >>> integer_matmul(codes[:1], codes).max()
    np.int64(19442475)
    >>> integer_matmul(np.int32([[2**31 - 1]]), np.int32([[2**31 - 1]]))
    array([[4611686014132420609]])
    """
    dtype, depth = exact_slices(left, right)
    rows, columns = (m.astype(dtype) for m in (left, right))

    def slice_at(start: int) -> Array:
        cut = slice(start, start + depth)
        return np.asarray(rows[..., cut] @ columns[..., cut, :]).astype(np.int64)

    sums = slice_at(0)
    for start in range(depth, left.shape[-1], depth):
        sums += slice_at(start)
    return sums


CONV_BLOCK = 2**16
"""About so many values does a matrix of windows hold: few enough to stay in a cache."""


def row_blocks(rows: int, *, size: int) -> Iterator[slice]:
    """Cut rows that hold ``size`` values together into blocks of no more than ``CONV_BLOCK``.

    >>> [*row_blocks(5, size=5 * 2**15)]
    [slice(0, 2, None), slice(2, 4, None), slice(4, 6, None)]
    >>> [*row_blocks(2, size=2 * 2**17)], [*row_blocks(1, size=0)]
    ([slice(0, 1, None), slice(1, 2, None)], [slice(0, 65536, None)])
    """
    step = max(rows * CONV_BLOCK // max(size, 1), 1)
    for first in range(0, rows, step):
        yield slice(first, first + step)


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
    rank, terms = len(kernel), depth * prod(kernel)
    weights = w.reshape(group, filters // group, terms)
    dtype = exact_dtype(sum_bound(x, weights.mT))
    x, weights = (m.astype(dtype) for m in (x, weights))
    fields = windows(x, kernel, strides, dilations)
    out = fields.shape[2 : 2 + rank]
    # (N, C, kernel..., outputs...): in this order the copy below reads whole rows of an image.
    fields = np.moveaxis(fields, range(2, 2 + rank), range(-rank, 0))
    sums = np.empty((x.shape[0], filters, *out), np.int64)
    for image, field in zip(sums, fields, strict=True):
        for rows in row_blocks(out[0], size=field.size):
            block = image[:, rows]
            seen = field[(slice(None),) * (1 + rank) + (rows,)]
            columns = seen.reshape(group, terms, prod(block.shape[1:]))
            block[...] = (weights @ columns).reshape(block.shape)
    return sums


def accumulate(sums: Array, overflow: Overflow) -> Array:
    """Put exact sums into the int32 accumulator: wrap, as ONNX says, or raise.

    >>> accumulate(np.int64([2**31]), "wrap")
    array([-2147483648], dtype=int32)
    >>> accumulate(np.int64([-(2**31), 2**31 - 1]), "raise")
    array([-2147483648,  2147483647], dtype=int32)
    >>> accumulate(np.int64([2**31]), "raise")
    Traceback (most recent call last):
    ...
    qdqdoc.numerics.products.AccumulatorOverflowError: sum 2147483648 leaves int32
    """
    if overflow == "raise":
        low, high = integer_range(np.int32)
        outside = sums[(sums < low) | (sums > high)]
        if outside.size:
            raise AccumulatorOverflowError(f"sum {outside[0]} leaves int32")
    return wrap32(sums)


def float_matmul(left: Array, right: Array) -> Array:
    """Multiply matrices of floats: each exact sum of products is rounded once to float32.

    float64 finds nearly all of them, whatever the order in which BLAS adds: its error is bounded,
    and where the bound reaches across a rounding boundary the sum is taken in exact arithmetic.

    >>> float_matmul(np.float32([[2**60, 1, -(2**60)]]), np.float32([[1], [1], [1]]))
    array([[1.]], dtype=float32)
    """
    wide = [np.asarray(m, np.float64) for m in (left, right)]
    batches = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    rows, columns = (np.broadcast_to(m, (*batches, *m.shape[-2:])) for m in wide)

    def exact(place: tuple[int, ...]) -> Fraction:
        batch, (row, column) = place[:-2], place[-2:]
        factors = rows[batch][row], columns[batch][:, column]
        return sum(map(mul, *([Fraction(v) for v in vector] for vector in factors)), Fraction())

    with np.errstate(all="ignore"):
        return rounded_once(wide[0] @ wide[1], exact, sum_error(*wide))


def sum_error(left: Array, right: Array) -> Array:
    """Bound the error of each sum of ``left @ right`` in float64, added in any order.

    It is the sum of the magnitudes times as many halves of float64's step at 1 as there are
    terms, doubled, because the bound has itself been rounded. Here are three terms:

    >>> sum_error(np.float64([[[1, -2, 3]]]), np.float64([[1, 1], [1, 0], [-1, 0]])) * 2**52
    array([[[18.,  3.]]])
    """
    return np.asarray((np.abs(left) @ np.abs(right)) * (left.shape[-1] * np.finfo(np.float64).eps))
