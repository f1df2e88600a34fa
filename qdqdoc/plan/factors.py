"""The shapes of products, and their weights in the order of the windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.rounding import nearest_steps
from qdqdoc.plan.fields import Shape
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.numerics.formats import Array

LARGEST = 2**31
"""An accumulator of 32 bits holds what is smaller."""

WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
MATRIX = 2


def conv_shape(x: Array, w: Array, y: Array, attributes: Mapping[str, Any]) -> Shape | None:
    """Return the shape of a Conv, whose attributes fit; none if it takes parts of images away."""
    given = {name: attributes[name] for name in WINDOW if name in attributes}
    found = window("Conv", x, w, group=attributes.get("group", 1), **given)
    if min(found.pads) < 0:
        return None
    return Shape(
        x.shape[2:],
        y.shape[2:],
        found.kernel,
        found.strides,
        found.dilations,
        found.pads,
        channels=x.shape[1],
        filters=w.shape[0],
        group=found.group,
    )


def matrix_shape(w: Array) -> Shape:
    """Return the shape of a product with a matrix (filters, terms)."""
    return Shape((), (), (), (), (), (), channels=w.shape[1], filters=w.shape[0])


def pool_shape(x: Array, y: Array, kernel: tuple[int, ...], strides: tuple[int, ...]) -> Shape:
    """Return the shape of a pool without padding: each channel has a filter of its own."""
    ones, channels = (1,) * len(kernel), x.shape[1]
    sizes = x.shape[2:], y.shape[2:], kernel, strides, ones, (0,) * (2 * len(kernel))
    return Shape(*sizes, channels=channels, filters=channels, group=channels)


def ordered(w: Array, shape: Shape) -> Array:
    """Turn (filters, channels of a group, kernel...) into (group, kernel and channels, filters).

    >>> flat = Shape((3,), (2,), (2,), (1,), (1,), (0, 0), channels=2, filters=1)
    >>> ordered(np.int8([[[1, 2], [10, 20]]]), flat).ravel()
    array([ 1, 10,  2, 20], dtype=int8)
    """
    width = shape.filters // shape.group
    grouped = w.reshape(shape.group, width, *w.shape[1:])
    last = np.moveaxis(grouped, (1, 2), (-1, -2))
    return np.ascontiguousarray(last.reshape(shape.group, shape.terms, width))


def for_each(bias: Array, filters: int) -> Array | None:
    """Return one value for each filter; none if the bias has another form.

    >>> for_each(np.int32([[3, 4]]), 2), for_each(np.int32([5]), 2)
    (array([3, 4], dtype=int32), array([5, 5], dtype=int32))
    >>> for_each(np.int32([[3], [4]]), 2)
    """
    if bias.size == 1:
        return np.broadcast_to(bias.reshape(-1), (filters,))
    return bias.reshape(-1) if bias.size == filters == bias.shape[-1] else None


def whole_bias(bias: Array, unit: Array) -> Array:
    """Count a bias in the unit of the sums, as near as may be; too many for int32 are none.

    >>> whole_bias(np.float32([0.3, -0.1, 1e30]), np.float64([0.1, 0.1, 0.1]))
    array([ 3, -1,  0])
    """
    near = nearest_steps(bias, unit)
    return np.where(np.abs(near) < LARGEST, near, 0).astype(np.int64)


def unpadded(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a pool sees nothing but the image.

    >>> unpadded({"pads": [0, 0]}), unpadded({"auto_pad": "SAME_UPPER"})
    (True, False)
    """
    automatic = attributes.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}
    return not automatic and not any(attributes.get("pads") or ())


def plain_gemm(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a Gemm only multiplies and adds.

    >>> plain_gemm({"transB": 1}), plain_gemm({"alpha": 0.5})
    (True, False)
    """
    factors = {attributes.get(name, 1.0) for name in ("alpha", "beta")}
    return not attributes.get("transA", 0) and factors == {1.0}
