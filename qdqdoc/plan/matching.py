"""Which Conv, MatMul, Gemm and averages are sums of whole numbers, with a Q behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qdqdoc.numerics.formats import Array
from qdqdoc.numerics.rounding import f32, whole_steps
from qdqdoc.plan.certificate import WIDEST, Certified, Real
from qdqdoc.plan.factors import (
    MATRIX,
    conv_shape,
    for_each,
    matrix_shape,
    ordered,
    plain_gemm,
    pool_shape,
    unpadded,
    whole_bias,
)
from qdqdoc.plan.products import Product
from qdqdoc.plan.requantize import Grid, Quantize
from qdqdoc.plan.roots import CODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.document import Operation
    from qdqdoc.plan.documented import Documented
    from qdqdoc.plan.fields import Shape
    from qdqdoc.plan.sample import Sample
    from qdqdoc.plan.tables import Table

POOLS = frozenset({"AveragePool", "GlobalAveragePool"})
FLOAT = 1
"""float32, as a number of ``TensorProto.DataType``."""

NEAR = 2.0**-14
"""A bias that is so few steps beside a whole number counts as a part of the margin."""

Followed = tuple["Operation", tuple[Array | None, ...]]
"""An operation with its inputs behind the first, which are constants."""


@dataclass(frozen=True, eq=False)
class Pending:
    """An operation on codes whose result is rounded to codes by what follows.

    ``operands`` are the inputs that move; ``constants`` has all inputs, with ``None`` in the place
    of those. ``tail`` are the operations since.
    """

    operation: Operation
    operands: tuple[Table, ...]
    constants: tuple[Array | None, ...] = ()
    tail: tuple[Followed, ...] = ()

    def followed(self, operation: Operation, constants: Sequence[Array | None]) -> Pending:
        """Return the same with one more operation."""
        return replace(self, tail=(*self.tail, (operation, tuple(constants))))


class Factor(NamedTuple):
    """The constant side of a product: float32 (filters, ...) and the steps that it is made of."""

    shape: Shape
    values: Array
    steps: Array


class Matcher:
    """Finds the whole numbers in the float products of one model."""

    def __init__(self, documented: Documented, sample: Sample) -> None:
        self.documented = documented
        self.sample = sample

    def quantized(self, operation: Operation) -> Quantize | None:
        """Return the fast form of a Q of real numbers; none if it has none."""
        grid, name = self._grid((), operation), operation.inputs[0]
        scale = self.sample.constant(operation.inputs[1])
        if grid is None or scale is None or self.sample.dtype(name) != np.float32:
            return None
        return Quantize(name, scale.reshape(()), grid, self.sample.root(operation))

    def certified(self, pending: Pending, quantize: Operation) -> Certified | None:
        """Return the fast form of a float product and its Q; none if it has none."""
        operation, (table,) = pending.operation, pending.operands
        pools = operation.op_type in POOLS
        factor = self._pool(operation) if pools else self._factor(operation)
        grid = self._grid(pending.tail, quantize)
        if factor is None or grid is None or table.step is None:
            return None
        shape = factor.shape
        counts, weights = whole_steps(table.values, table.step), whole_steps(*factor[1:])
        bias = np.zeros(shape.filters, np.float32) if pools else self._bias(operation, shape)
        y_scale = self.sample.constant(quantize.inputs[1])
        if counts is None or weights is None or bias is None or y_scale is None:
            return None
        each = np.broadcast_to(factor.steps.reshape(-1), (shape.filters,))
        if not _positive(each, table.step):
            return None
        unit = float(table.step) * each.astype(np.float64)
        whole = whole_bias(bias, unit)
        rest = bias - unit * whole
        rest = np.where(np.abs(rest) < NEAR * float(y_scale.reshape(())), 0.0, rest)
        numbers = ordered(weights, shape).astype(np.int64)
        product = Product(table, counts.astype(np.int64), numbers, whole, shape)
        real = Real(table.step, each, ordered(factor.values, shape), bias, rest)
        root, count = self.sample.root(quantize), shape.terms if pools else 1
        fast = Certified(product, real, y_scale.reshape(()), grid, root, count)
        return fast if product.bound < 2**53 and fast.margin < WIDEST else None

    def _grid(self, tail: Sequence[Followed], quantize: Operation) -> Grid | None:
        """Return the grid of a Q with one scale, held as the operations before it hold it."""
        constants = tuple(self.sample.constant(name) for name in quantize.inputs[1:])
        scale, zero = (*constants, None)[:2]
        (name,) = quantize.outputs
        if self.sample.dtype(name) not in CODES or quantize.attributes.get("block_size", 0):
            return None
        if scale is None or scale.size != 1 or scale.dtype != np.float32 or not _positive(scale):
            return None
        if quantize.attributes.get("precision", 0) not in {0, FLOAT}:
            return None
        ends: Any = f32([-np.inf, np.inf]).reshape(2, *[1] * (self._rank(name) - 1))
        for operation, more in (*tail, (quantize, constants)):
            (ends,) = self.documented.run(operation, [ends, *more])
        return Grid(0 if zero is None else int(zero.reshape(())), *map(int, ends.ravel()))

    def _rank(self, name: str) -> int:
        return self.sample.values[name].ndim

    def _factor(self, operation: Operation) -> Factor | None:
        """Return the weights of a product, if a DequantizeLinear makes them."""
        x, w, y = (self.sample.values[n] for n in (*operation.inputs[:2], operation.outputs[0]))
        found = self._scale_of(operation.inputs[1])
        attributes, conv = operation.attributes, operation.op_type == "Conv"
        if found is None or any(one.dtype != np.float32 for one in (x, w, found[0])):
            return None
        if not conv and (self._rank(operation.inputs[0]) != MATRIX or w.ndim != MATRIX):
            return None
        if not conv and not plain_gemm(attributes):
            return None
        turned = not conv and not attributes.get("transB", 0)
        w = w.T if turned else w
        shape = conv_shape(x, w, y, attributes) if conv else matrix_shape(w)
        scale, axis = found
        if shape is None or (scale.size != 1 and (axis != turned or scale.ndim != 1)):
            return None
        return Factor(shape, w, scale.reshape(-1, *[1] * (w.ndim - 1)))

    def _scale_of(self, name: str) -> tuple[Array, int] | None:
        """Return scale and axis of the DequantizeLinear that makes a constant."""
        maker = self.sample.makers.get(name)
        if name in self.sample.moving or maker is None or maker.op_type != "DequantizeLinear":
            return None
        axis = int(maker.attributes.get("axis", 1)) % max(self._rank(name), 1)
        return self.sample.values[maker.inputs[1]], axis

    def _pool(self, operation: Operation) -> Factor | None:
        """Return an average as a product with ones; none if windows differ in what they see."""
        x, y = (self.sample.values[n] for n in (operation.inputs[0], operation.outputs[0]))
        attributes = operation.attributes
        kernel = strides = x.shape[2:]
        if operation.op_type == "AveragePool":
            kernel = tuple(attributes["kernel_shape"])
            strides = tuple(attributes.get("strides") or [1] * len(kernel))
            dilated = any(n != 1 for n in attributes.get("dilations") or ())
            if not unpadded(attributes) or attributes.get("ceil_mode", 0) or dilated:
                return None
        if x.dtype != np.float32 or not kernel:
            return None
        shape = pool_shape(x, y, kernel, strides)
        ones = np.ones((shape.filters, 1, *kernel), np.float32)
        return Factor(shape, ones, np.ones((1,) * ones.ndim, np.float32))

    def _bias(self, operation: Operation, shape: Shape) -> Array | None:
        names = operation.inputs[2:3]
        if not names or not names[0]:
            return np.zeros(shape.filters, np.float32)
        found = self.sample.constant(names[0])
        fits = found is not None and found.dtype == np.float32 and np.isfinite(found).all()
        return for_each(found, shape.filters) if found is not None and fits else None


def _positive(*scales: Array) -> bool:
    return all(((one > 0) & np.isfinite(one)).all() for one in scales)
