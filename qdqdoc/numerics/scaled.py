"""From an int32 accumulator back to real numbers, without a grid to round to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.rounding import multiply

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array


def scaled(accumulator: Array, multiplier: Array, bias: Array | None = None) -> Array:
    """Multiply sums by their scale and add a bias, each rounded once to float32.

    The accumulator is rounded first if it has more than 24 bits. The product is rounded before
    the bias is added; with one rounding for both, the second result would be -7.450581e-09:

    >>> scaled(np.int32([2**24 + 1]), np.float32(0.5))
    array([8.388608e+06], dtype=float32)
    >>> scaled(np.int32([10, 3]), np.float32(0.1), np.float32([1, -0.3]))
    array([2., 0.], dtype=float32)
    """
    product = multiply(accumulator, multiplier)
    if bias is None:
        return product
    with np.errstate(all="ignore"):
        return np.asarray(product + bias)
