"""Softmax in float32 with every rounding stated, so that each machine gives the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.elementary import exp
from qdqdoc.numerics.products import float_matmul
from qdqdoc.numerics.rounding import divide, f32, multiply

if TYPE_CHECKING:
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
