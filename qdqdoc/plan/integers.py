"""Integer operators as products of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qdqdoc.numerics.formats import Array, integer_range
from qdqdoc.numerics.rounding import divide, multiply, subtract32
from qdqdoc.numerics.sums import image_multiplier
from qdqdoc.plan.batching import MS
from qdqdoc.plan.factors import (
    LARGEST,
    MATRIX,
    conv_shape,
    for_each,
    matrix_shape,
    ordered,
    pool_shape,
    unpadded,
)
from qdqdoc.plan.products import Product
from qdqdoc.plan.requantize import Grid, Requantize
from qdqdoc.plan.roots import CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.document import Operation
    from qdqdoc.plan.fields import Shape
    from qdqdoc.plan.sample import Sample
    from qdqdoc.plan.tables import Table

INTEGER_PRODUCTS = frozenset(
    {("", "QLinearConv"), ("", "QLinearMatMul"), (MS, "QLinearConv"), (MS, "QGemm")}
)
INTEGER_POOLS = frozenset((MS, name) for name in ("QLinearAveragePool", "QLinearGlobalAveragePool"))
GLOBAL = "QLinearGlobalAveragePool"


class Inputs(NamedTuple):
    """The constant inputs of an integer product; the bias may be missing."""

    x_scale: Array
    x_zero: Array
    w: Array
    w_scale: Array
    w_zero: Array
    y_scale: Array
    y_zero: Array
    bias: Array | None

    @property
    def plain(self) -> bool:
        """Whether x and y have one scale each, and the codes are of common types."""
        single = (self.x_scale, self.x_zero, self.y_scale, self.y_zero)
        return all(one.size == 1 for one in single) and self.y_zero.dtype in CODES


def integer_product(
    sample: Sample, operation: Operation, table: Table, attributes: Mapping[str, Any]
) -> Requantize | None:
    """Return the fast form of QLinearConv, QLinearMatMul or QGemm; none if it has none."""
    given = _inputs(sample, operation)
    if given is None or not given.plain or attributes.get("channels_last", 0):
        return None
    conv = operation.op_type == "QLinearConv"
    x, y = (sample.values[one] for one in (operation.inputs[0], operation.outputs[0]))
    if not conv and (x.ndim != MATRIX or given.w.ndim != MATRIX or attributes.get("transA", 0)):
        return None
    w = given.w if conv or attributes.get("transB", 0) else given.w.T
    shape = conv_shape(x, w, y, attributes) if conv else matrix_shape(w)
    if shape is None or {given.w_scale.size, given.w_zero.size} - {1, shape.filters}:
        return None
    bias = for_each(np.zeros(1, np.int32) if given.bias is None else given.bias, shape.filters)
    if bias is None:
        return None
    codes = subtract32(w, given.w_zero.reshape(-1, *[1] * (w.ndim - 1)))
    counts = subtract32(table.values, given.x_zero.reshape(()))
    weights = ordered(codes, shape).astype(np.int64)
    product = Product(table, counts, weights, bias.astype(np.int64), shape)
    # QGemm multiplies its alpha with the first scale.
    alpha = [np.asarray(attributes.get("alpha", 1.0))] if operation.op_type == "QGemm" else []
    first = multiply(alpha[0], given.x_scale) if alpha else given.x_scale
    scales = multiply(first.reshape(()), given.w_scale.reshape(-1))
    multiplier = divide(scales, given.y_scale.reshape(()), np.float32)
    return _requantize(sample, operation, product, multiplier, int(given.y_zero.reshape(())))


def _inputs(sample: Sample, operation: Operation) -> Inputs | None:
    """Return the inputs behind the first; none if one moves that must not, or is missing."""
    found: list[Any] = [sample.constant(name) for name in operation.inputs]
    added, grid = (6, 7) if operation.op_type == "QGemm" else (8, 6)
    needed = [*found[1:6], *found[grid : grid + 2]]
    names = operation.inputs[added : added + 1]
    moving = any(name in sample.moving for name in names)
    if len(needed) < len(Inputs._fields) - 1 or moving or any(one is None for one in needed):
        return None
    bias = found[added] if names and names[0] else None
    return Inputs._make([*needed, bias])


def integer_average(
    sample: Sample, operation: Operation, table: Table, attributes: Mapping[str, Any]
) -> Requantize | None:
    """Return the fast form of an integer average of whole images; none if it is another."""
    x, y = (sample.values[n] for n in (operation.inputs[0], operation.outputs[0]))
    constants = [sample.constant(name) for name in operation.inputs[1:]]
    x_scale, x_zero, y_scale, y_zero = (*constants, None, None)[:4]
    whole = x.shape[2:] == tuple(attributes.get("kernel_shape", x.shape[2:]))
    single = all(n == 1 for n in y.shape[2:]) and y.dtype in CODES
    if not whole or not single or not unpadded(attributes) or attributes.get("channels_last", 0):
        return None
    if x_scale is None or y_scale is None or x_scale.size != 1 or y_scale.size != 1:
        return None
    shape: Shape = pool_shape(x, y, x.shape[2:], x.shape[2:])
    zeros = [0 if one is None else int(one.reshape(())) for one in (x_zero, y_zero)]
    counts = subtract32(table.values, np.asarray(zeros[0]))
    ones = np.ones((shape.group, shape.terms, 1), np.int64)
    product = Product(table, counts, ones, np.zeros(shape.filters, np.int64), shape)
    multiplier = image_multiplier(x_scale, y_scale, shape.terms).reshape(-1)
    return _requantize(sample, operation, product, multiplier, zeros[1])


def _requantize(
    sample: Sample, operation: Operation, product: Product, multiplier: Array, zero: int
) -> Requantize | None:
    """Return the step, if no sum can wrap in 32 bits and every multiplier is a number."""
    if product.bound >= LARGEST or not np.isfinite(multiplier).all():
        return None
    root = sample.root(operation)
    return Requantize(product, multiplier, Grid(zero, *integer_range(root.dtype)), root)
