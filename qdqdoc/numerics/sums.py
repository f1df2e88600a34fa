"""Sums whose order is a part of the rule, and one whose order does not matter: that of codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.rounding import divide, multiply, requantize, subtract32

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array

MOST_POSITIONS = 2**23
"""So many codes, each at most 255 from the zero point, add up within int32."""


def sum_in_order(values: Array) -> Array:
    """Add float32 along the last axis, first to last, rounding each partial sum to float32.

    >>> sum_in_order(np.float32([2**24, 1, 1])), sum_in_order(np.float32([1, 1, 2**24]))
    (array(1.6777216e+07, dtype=float32), array(1.6777218e+07, dtype=float32))
    """
    with np.errstate(all="ignore"):
        # Unlike `sum`, which adds in pairs, `accumulate` is defined by its order.
        return np.asarray(np.add.accumulate(values, axis=-1)[..., -1])


def image_average(
    x: Array, x_scale: Array, x_zero_point: Array, y_scale: Array, y_zero_point: Array
) -> Array:
    """Average codes along the last axis; the number of codes becomes a part of the multiplier.

    The sum is exact, so the order of the codes does not matter. 3 codes of 1 and 2 of 2 are 7 / 5:

    >>> one, zero = np.float32(1), np.int8(0)
    >>> image_average(np.int8([[1, 1, 2, 2, 1]]), one, zero, np.float32(0.1), zero)
    array([14], dtype=int8)
    """
    sums = subtract32(x, x_zero_point).sum(axis=-1)
    multiplier = image_multiplier(x_scale, y_scale, x.shape[-1])
    return requantize(sums, multiplier, y_zero_point, x.dtype)


def image_multiplier(x_scale: Array, y_scale: Array, positions: int) -> Array:
    """Divide the scale of ``x`` by that of ``y`` times the positions, both in float32.

    >>> image_multiplier(np.float32(1), np.float32(0.1), 5)
    array(2., dtype=float32)
    """
    return divide(x_scale, multiply(y_scale, np.asarray(positions)), np.float32)
