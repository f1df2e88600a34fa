"""Averages over windows, and the table of all operators whose sums are rounded once."""

from __future__ import annotations

from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.execute.errors import ExecuteError
from qdqdoc.execute.sums import averaged, conv, gemm, matmul, reduced, wide
from qdqdoc.registry.pooling import Pool, channels_second, pool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdqdoc.numerics.formats import Array

# ruff: noqa: ANN401 - attributes as ONNX has them

AVERAGE_POOL = "AveragePool"


def average_pool(x: Array, **attributes: Any) -> Array:
    """Average what each window sees.

    >>> x = np.float32([[[1, 2, 4]]])
    >>> average_pool(x, kernel_shape=[2], pads=[1, 0])
    array([[[1. , 1.5, 3. ]]], dtype=float32)
    >>> average_pool(x, kernel_shape=[2], pads=[1, 0], count_include_pad=1)
    array([[[0.5, 1.5, 3. ]]], dtype=float32)
    """
    image = channels_second(AVERAGE_POOL, x, 0)
    windows = pool(AVERAGE_POOL, image.shape[2:], {"kernel_shape": (), **attributes})
    fields = windows.fields(wide(image), 0)
    included = attributes.get("count_include_pad", 0)
    counts = [_counts(windows, axis, included) for axis in range(x.ndim - 2)]
    divisor = reduce(np.multiply.outer, counts)
    rows = fields.reshape(*fields.shape[: x.ndim], -1)
    return averaged(rows, np.broadcast_to(divisor, rows.shape[:-1]), x.dtype)


def _counts(windows: Pool, axis: int, include_pad: int) -> Array:
    """Count along one axis what each window sees of the image, or of the padded image."""
    begin, end = (windows.pads[axis], windows.pads[len(windows.size) + axis])
    starts = np.arange(windows.outputs[axis]) * windows.strides[axis] - begin
    taps = starts[:, None] + np.arange(windows.kernel[axis]) * windows.dilations[axis]
    low, high = (-begin, windows.size[axis] + end) if include_pad else (0, windows.size[axis])
    return np.asarray(((taps >= low) & (taps < high)).sum(axis=1))


def global_average_pool(x: Array) -> Array:
    """Average each channel of each image.

    >>> global_average_pool(np.float32([[[1, 2, 4], [0, 0, 3]]]))
    array([[[2.3333333],
            [1.       ]]], dtype=float32)
    """
    return reduced(x, range(2, x.ndim), keepdims=1, mean=True)


def _reduce(
    x: Array,
    given: Array | None,
    attributes: Mapping[str, Any],
    *,
    mean: bool,
) -> Array:
    """Reduce along the axes that an input (newer opsets) or an attribute (older ones) names."""
    axes = attributes.get("axes", []) if given is None else [int(axis) for axis in given]
    if not axes and attributes.get("noop_with_empty_axes", 0):
        return x
    for axis in axes:
        if not -x.ndim <= axis < x.ndim:
            raise ExecuteError(f"axes: found {axis}, allowed: {-x.ndim} to {x.ndim - 1}")
    keepdims = attributes.get("keepdims", 1)
    return reduced(x, axes or range(x.ndim), keepdims=keepdims, mean=mean)


def reduce_sum(x: Array, axes: Array | None = None, **attributes: Any) -> Array:
    """Add along axes.

    >>> reduce_sum(np.float32([[1, 2], [3, 5]]), np.int64([-1]), keepdims=0)
    array([3., 8.], dtype=float32)
    """
    return _reduce(x, axes, attributes, mean=False)


def reduce_mean(x: Array, axes: Array | None = None, **attributes: Any) -> Array:
    """Average along axes.

    >>> reduce_mean(np.float32([[1, 2], [3, 5]]))
    array([[2.75]], dtype=float32)
    """
    return _reduce(x, axes, attributes, mean=True)


SUMS: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "Conv": conv,
        "MatMul": matmul,
        "Gemm": gemm,
        "ReduceSum": reduce_sum,
        "ReduceMean": reduce_mean,
        AVERAGE_POOL: average_pool,
        "GlobalAveragePool": global_average_pool,
    }
)
"""Operators of ai.onnx whose sums are rounded once."""
