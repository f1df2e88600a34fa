"""Operators that work on codes where onnx's evaluator knows floats alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.formats import integer_range, type_name
from qdqdoc.registry.pooling import channels_second, pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.numerics.formats import Array

MAX_POOL = "MaxPool"
CODES = ("int8", "uint8")
"""The integers of which ONNX has a MaxPool."""


def max_pool(x: Array, **attributes: Any) -> Array:  # noqa: ANN401 - as ONNX has them
    """Take the largest code that each window sees; padding never is.

    onnx's evaluator pads with NaN, which no integer can hold.

    >>> max_pool(np.int8([[[-5, -7, 3]]]), kernel_shape=[2], pads=[1, 0])
    array([[[-5, -5,  3]]], dtype=int8)
    """
    image = channels_second(MAX_POOL, x, 0)
    windows = pool(MAX_POOL, image.shape[2:], {"kernel_shape": (), **attributes})
    low, _ = integer_range(type_name(x.dtype))
    fields = windows.fields(image, low)
    return np.asarray(fields.max(axis=tuple(range(x.ndim, fields.ndim))))


def pools_codes(name: str, inputs: Sequence[Any], outputs: int) -> bool:
    """Tell whether this is a MaxPool of codes whose positions nobody asks for.

    >>> pools_codes("MaxPool", [np.int8([[[1]]])], 1), pools_codes("MaxPool", [np.int8([[[1]]])], 2)
    (True, False)
    """
    return name == MAX_POOL and outputs == 1 and type_name(inputs[0].dtype) in CODES
