"""Scaled dot-product attention in float32 with every rounding stated :cite:p:`vaswani2017`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.products import float_matmul
from qdqdoc.numerics.rounding import divide, f32, fma
from qdqdoc.numerics.softmax import softmax

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array


def attend(
    query: Array, keys: Array, values: Array, added: Array, scale: float | None = None
) -> Array:
    """Weigh values by the softmax of scores; the last two axes are (positions, head size).

    A score is the exact product of query and key, rounded; times the scale, plus what is added,
    rounded once more. Without a scale, or with 0, it is one over the root of the head size.

    >>> values = np.float32([[1, 0], [0, 1]])
    >>> attend(np.float32([[2, 0]]), values, values, np.float32(0))
    array([[0.8044297 , 0.19557032]], dtype=float32)
    >>> attend(np.float32([[2, 0]]), values, values, np.float32([[-10000, 0]]), 0.5)
    array([[0., 1.]], dtype=float32)
    """
    root = np.sqrt(query.shape[-1])
    factor = f32(scale) if scale else divide(f32(1), root, np.float32)
    scores = fma(float_matmul(query, keys.mT), factor, added)
    return float_matmul(softmax(scores), values)


def added_to_scores(kept: Array, late: Array, filter_value: float) -> Array:
    """Return what is added to scores: the lowest float32 to late keys, a filter to dropped ones.

    >>> added_to_scores(np.array([True, False, False]), np.array([False, False, True]), -10000.0)
    array([ 0.0000000e+00, -1.0000000e+04, -3.4028235e+38], dtype=float32)
    """
    masked = np.where(kept, np.float32(0), filter_value)
    return np.where(late, np.finfo(np.float32).min, masked)


def late_keys(queries: int, keys: int) -> Array:
    """Tell which keys come after each query; the queries are the last of the keys.

    >>> late_keys(2, 4).astype(int)
    array([[0, 0, 0, 1],
           [0, 0, 0, 0]])
    """
    return np.arange(keys) > np.arange(keys - queries, keys)[:, None]
