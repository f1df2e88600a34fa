"""Softmax, of float32 and of codes, with every rounding stated: all machines give the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.elementary import exp, log
from qdqdoc.numerics.formats import largest_finite
from qdqdoc.numerics.products import float_matmul
from qdqdoc.numerics.rounding import divide, f32, multiply, round_to_grid
from qdqdoc.numerics.sums import sum_in_order

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from qdqdoc.numerics.formats import Array


def softmax(scores: Array) -> Array:
    """Turn float32 scores into weights along the last axis: all roundings are to float32.

    The largest score is subtracted, each exponential is rounded once, so is their exact sum,
    and its reciprocal is rounded before it multiplies.

    >>> softmax(np.float32([[0, 0, 1, -1000]]))
    array([[0.21194156, 0.21194156, 0.57611686, 0.        ]], dtype=float32)
    >>> softmax(np.float32([[3e38, -3.4e38], [5, -np.inf]]))
    array([[1., 0.],
           [1., 0.]], dtype=float32)
    """
    with np.errstate(all="ignore"):
        distance = scores - scores.max(-1, keepdims=True, initial=-np.inf)
    return normalize(exp(distance))


def normalize(weights: Array) -> Array:
    """Multiply float32 weights by the reciprocal of their sum along the last axis.

    A sum of 0 leaves zeros.

    >>> normalize(np.float32([[1, 2], [1, -1]]))
    array([[0.33333334, 0.6666667 ],
           [0.        , 0.        ]], dtype=float32)
    """
    total = float_matmul(weights, np.ones((weights.shape[-1], 1)))
    shares = multiply(weights, divide(f32(1), total, np.float32))
    return np.where(total == 0, 0, shares)


def exponentials(x_scale: Array, length: int) -> Array:
    """Exponentiate each distance that two codes of 8 bits can have, rounding to float32.

    All exponents are moved up by as much as a row of so many codes leaves room for in float32:

    >>> table = exponentials(np.float32(0.1), 10)
    >>> table.shape, table[:2], table[:1].repeat(10).sum()
    ((256,), array([2.2928127e+35, 2.0746227e+35], dtype=float32), np.float32(2.2928126e+36))
    """
    largest = np.asarray(largest_finite(np.float32))
    room = log(divide(largest, np.asarray(length), np.float32)) - 5
    shift = divide(room, x_scale, np.float64)
    return exp((shift - np.arange(256)) * x_scale)


def shares(weights: Array, y_scale: Array, y_zero_point: Array, dtype: DTypeLike) -> Array:
    """Divide float32 weights by their sum along the last axis, and round to the grid of the result.

    The reciprocal of the scale is rounded down, here from 9.99 to 9:

    >>> shares(np.float32([1, 1, 2]), np.float32(0.1001), np.uint8(3), np.uint8)
    array([5, 5, 7], dtype=uint8)
    """
    # The reciprocal is positive: its whole part is what rounding down leaves of it.
    _, steps = np.modf(divide(np.asarray(1), y_scale, np.float32))
    products = weights.astype(np.float64) * steps
    quotients = divide(products, sum_in_order(weights)[..., None], np.float64)
    return round_to_grid(quotients, y_zero_point, dtype)
