"""Sums of float operators: each is taken exactly, as it were, and rounded once to its type.

float64 finds nearly every one, in whatever order BLAS adds; where its bounded error reaches across
a rounding boundary of float32, the sum is taken again in exact arithmetic. So sums of float32 are
the same bytes on every machine.
"""

from __future__ import annotations

from fractions import Fraction
from math import prod
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.execute.errors import ExecuteError
from qdqdoc.numerics.formats import type_name
from qdqdoc.numerics.layout import pad, windows
from qdqdoc.numerics.products import row_blocks, sum_error
from qdqdoc.numerics.rounding import f32, rounded_once, to_float, to_odd
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from qdqdoc.numerics.formats import Array

FLOATS = ("float32", "float16", "bfloat16")
"""Types whose sums have room in float64."""

MATRIX = 2
"""Axes of a matrix."""


def summed(
    left: Array,
    right: Array,
    *,
    addend: Array | float = 0.0,
    divisor: Array | float = 1.0,
    kind: DTypeLike = np.float32,
) -> Array:
    """Return ``(left @ right + addend) / divisor``, each element rounded once to its type.

    Of float32 the exact value is rounded, of shorter types the one of float64.

    >>> summed(np.float64([[2**60, 1, -(2**60)]]), np.ones((3, 1)), addend=2, divisor=2)
    array([[1.5]], dtype=float32)
    """
    near = np.asarray(left @ right)
    extra = np.broadcast_to(np.asarray(addend, np.float64), near.shape)
    parts = np.broadcast_to(np.asarray(divisor, np.float64), near.shape)
    batches = near.shape[:-2]
    rows, columns = (np.broadcast_to(m, (*batches, *m.shape[-2:])) for m in (left, right))

    def exact(place: tuple[int, ...]) -> Fraction:
        batch, (row, column) = place[:-2], place[-2:]
        factors = rows[batch][row], columns[batch][:, column]
        products = map(mul, *([Fraction(v) for v in vector] for vector in factors))
        return sum(products, Fraction(extra[place])) / Fraction(parts[place])

    # Beside the products there are the addend, its addition and the division.
    steps = 4 * np.finfo(np.float64).eps
    bound = sum_error(left, right) + (np.abs(left) @ np.abs(right) + np.abs(extra)) * steps
    value = (near + extra) / parts
    if np.dtype(kind) == np.float32:
        return rounded_once(value, exact, bound / parts)
    short = f32(value)
    return to_float(to_odd(short, value - short), kind)


def wide(value: Array) -> Array:
    """Return a value in float64, which holds every one of a shorter type."""
    return np.asarray(value, np.float64)


def matmul(a: Array, b: Array) -> Array:
    """Multiply matrices as NumPy does, vectors and stacks of matrices too.

    >>> matmul(np.float32([1, 2]), np.float32([3, 4]))
    array(11., dtype=float32)
    """
    left = wide(a)[None] if a.ndim == 1 else wide(a)
    right = wide(b)[:, None] if b.ndim == 1 else wide(b)
    y = summed(left, right, kind=a.dtype)
    y = y[..., 0, :] if a.ndim == 1 else y
    return np.asarray(y[..., 0] if b.ndim == 1 else y)


def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """Return ``alpha * A' @ B' + beta * C``.

    >>> gemm(np.float32([[1, 2]]), np.float32([[3, 4]]), np.float32([5]), transB=1, beta=2.0)
    array([[21.]], dtype=float32)
    """
    left, right = wide(a.T if transA else a), wide(b.T if transB else b)
    if not left.ndim == right.ndim == MATRIX:
        raise ExecuteError(f"found shapes {a.shape} and {b.shape}, allowed: two matrices")
    # Both factors have 24 bits, so that their product is exact.
    addend = 0.0 if c is None else beta * wide(c)
    return summed(alpha * left, right, addend=addend, kind=a.dtype)


def conv(x: Array, w: Array, b: Array | None = None, **attributes: Any) -> Array:  # noqa: ANN401 - as ONNX has them
    """Correlate an image with filters; the bias is a part of the sum.

    >>> conv(np.float32([[[1, 2, 3]]]), np.float32([[[1, 10]]]), np.float32([0.5]))
    array([[[21.5, 32.5]]], dtype=float32)
    """
    group = attributes.pop("group", 1)
    shape = window("Conv", x, w, group=group, **attributes)
    filters, terms = w.shape[0], prod(w.shape[1:])
    weights = wide(w).reshape(group, filters // group, terms)
    bias = np.zeros(filters) if b is None else wide(b)
    bias = bias.reshape(group, filters // group, 1)
    fields = windows(pad(x, shape.pads), shape.kernel, shape.strides, shape.dilations)
    rank = x.ndim - 2
    out = fields.shape[2 : 2 + rank]
    # (N, C, kernel..., outputs...)
    fields = np.moveaxis(fields, range(2, 2 + rank), range(-rank, 0))
    sums = np.empty((x.shape[0], filters, *out), x.dtype)
    for image, field in zip(sums, fields, strict=True):
        for rows in row_blocks(out[0], size=field.size):
            block = image[:, rows]
            seen = field[(slice(None),) * (1 + rank) + (rows,)]
            columns = wide(seen.reshape(group, terms, prod(block.shape[1:])))
            found = summed(weights, columns, addend=bias, kind=x.dtype)
            block[...] = found.reshape(block.shape)
    return sums


def averaged(values: Array, divisor: Array | float, kind: DTypeLike) -> Array:
    """Add along the last axis and divide; the quotient is rounded once.

    >>> averaged(np.float64([[1, 2], [3, 5]]), 2, np.float32)
    array([1.5, 4. ], dtype=float32)
    """
    ones = np.ones((values.shape[-1], 1))
    parts = np.broadcast_to(wide(np.asarray(divisor)), values.shape[:-1])
    rows = values.reshape(prod(values.shape[:-1]), values.shape[-1])
    found = summed(rows, ones, divisor=parts.reshape(-1, 1), kind=kind)
    return found.reshape(values.shape[:-1])


def reduced(x: Array, axes: Sequence[int], *, keepdims: int, mean: bool) -> Array:
    """Add along axes, and divide by the number of values for a mean.

    >>> reduced(np.float32([[1, 2], [3, 5]]), [0], keepdims=0, mean=True)
    array([2. , 3.5], dtype=float32)
    """
    gone = sorted({axis % x.ndim for axis in axes})
    kept = [axis for axis in range(x.ndim) if axis not in gone]
    rows = wide(x).transpose(*kept, *gone)
    count = prod(x.shape[axis] for axis in gone)
    shape = [x.shape[axis] for axis in kept]
    flat = rows.reshape(prod(shape), count)
    y = averaged(flat, count if mean else 1, x.dtype).reshape(shape)
    return np.expand_dims(y, gone) if keepdims else y


def has_sums(value: Array) -> bool:
    """Tell whether sums of this type are taken here.

    >>> has_sums(np.float32([1])), has_sums(np.int32([1]))
    (True, False)
    """
    return type_name(value.dtype) in FLOATS
