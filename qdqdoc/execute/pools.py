"""Averages over windows, and the table of all operators whose sums are rounded once."""

from __future__ import annotations

from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.execute.errors import ExecuteError
from qdqdoc.execute.sums import averaged, conv, gemm, matmul, reduced, wide
from qdqdoc.registry.pooling import SMALLEST_RANK, Pool
from qdqdoc.registry.spatial import flag, padding, per_axis

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    if x.ndim < SMALLEST_RANK:
        raise ExecuteError(f"found shape {x.shape}, allowed: rank {SMALLEST_RANK} or more")
    pool = _windows(x.shape[2:], attributes)
    fields = pool.fields(wide(x), 0)
    counts = [_counts(pool, a, attributes.get("count_include_pad", 0)) for a in range(x.ndim - 2)]
    divisor = reduce(np.multiply.outer, counts)
    rows = fields.reshape(*fields.shape[: x.ndim], -1)
    return averaged(rows, np.broadcast_to(divisor, rows.shape[:-1]), x.dtype)


def _windows(size: Sequence[int], attributes: Mapping[str, Any]) -> Pool:
    """Fill in the defaults and count the windows; those may have gaps, since opset 19."""
    rank = len(size)
    kernel = per_axis(AVERAGE_POOL, "kernel_shape", attributes.get("kernel_shape", ()), rank)
    strides = per_axis(AVERAGE_POOL, "strides", attributes.get("strides"), rank)
    dilations = per_axis(AVERAGE_POOL, "dilations", attributes.get("dilations"), rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = padding(AVERAGE_POOL, attributes, size, reach, strides)
    ceil_mode = attributes.get("ceil_mode", 0)
    flag(AVERAGE_POOL, "ceil_mode", ceil_mode)
    outputs = []
    for axis in range(rank):
        steps = size[axis] + pads[axis] + pads[rank + axis] - reach[axis]
        if steps < 0:
            found = steps + reach[axis]
            raise ExecuteError(
                f"found {found} padded values along axis {2 + axis}, allowed: {reach[axis]} or more"
            )
        count = -(-steps // strides[axis]) if ceil_mode else steps // strides[axis]
        # A window that begins behind the image would see padding alone.
        behind = ceil_mode and count * strides[axis] >= size[axis] + pads[axis]
        outputs.append(count if behind else count + 1)
    return Pool(tuple(size), kernel, strides, dilations, pads, tuple(outputs))


def _counts(pool: Pool, axis: int, include_pad: int) -> Array:
    """Count along one axis what each window sees of the image, or of the padded image."""
    begin, end = (pool.pads[axis], pool.pads[len(pool.size) + axis])
    starts = np.arange(pool.outputs[axis]) * pool.strides[axis] - begin
    taps = starts[:, None] + np.arange(pool.kernel[axis]) * pool.dilations[axis]
    low, high = (-begin, pool.size[axis] + end) if include_pad else (0, pool.size[axis])
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
