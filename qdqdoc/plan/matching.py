"""Which Conv, MatMul and Gemm are sums of whole numbers, and which operations may follow them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.formats import Array, integer_range
from qdqdoc.numerics.rounding import divide, multiply, nearest_steps, subtract32, whole_steps
from qdqdoc.numerics.sums import image_multiplier
from qdqdoc.plan.certificate import WIDEST, Certified, Real
from qdqdoc.plan.products import Product, Shape
from qdqdoc.plan.requantize import Grid, Quantize, Requantize
from qdqdoc.plan.tables import CODES, Root, Table
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.document import Operation
    from qdqdoc.plan.documented import Documented
    from qdqdoc.plan.sample import Sample

LARGEST = 2**31
"""An accumulator of 32 bits holds all sums below."""

MOST_TAIL = 4
"""So many operations may stand between a product and its Q."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A constant factor as whole numbers, (group, terms, filters of a group), and its shape."""

    counts: Array
    shape: Shape

    def ordered(self, values: Array) -> Array:
        """Put other values of the factor into the same order."""
        return _ordered(values, self.shape)


def _ordered(w: Array, shape: Shape) -> Array:
    """Turn (filters, channels of a group, kernel...) into (group, kernel and channels, filters)."""
    width = shape.filters // shape.group
    grouped = w.reshape(shape.group, width, *w.shape[1:])
    last = np.moveaxis(grouped, (1, 2), (-1, -2))
    return np.ascontiguousarray(last.reshape(shape.group, shape.terms, width))


def conv_shape(x: Array, w: Array, y: Array, attributes: Mapping[str, Any]) -> Shape | None:
    """Return the shape of a Conv whose parameters have been run already; none if it takes away."""
    known = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
    given = {name: attributes[name] for name in known if name in attributes}
    found = window("Conv", x, w, group=attributes.get("group", 1), **given)
    if min(found.pads, default=0) < 0:
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
    """Return the shape of a product with a matrix (terms, filters)."""
    return Shape((), (), (), (), (), (), channels=w.shape[0], filters=w.shape[1])


Followed = tuple["Operation", tuple[Array | None, ...]]
"""An operation with its inputs behind the first, which are constants."""


@dataclass(frozen=True, eq=False)
class Pending:
    """An operation on codes whose result is rounded to codes by what follows.

    ``operands`` are the inputs that move; ``constants`` has all inputs, with ``None`` in the place
    of those. ``tail`` are the operations since, each with its constant inputs.
    """

    operation: Operation
    operands: tuple[Table, ...]
    constants: tuple[Array | None, ...] = ()
    tail: tuple[Followed, ...] = ()

    def followed(self, operation: Operation, constants: Sequence[Array | None]) -> Pending:
        """Return the same with one more operation."""
        return replace(self, tail=(*self.tail, (operation, tuple(constants))))


class Matcher:
    """Finds the integers in the products of one model."""

    def __init__(self, documented: Documented, sample: Sample) -> None:
        self.documented = documented
        self.sample = sample

    def requantized(
        self, operation: Operation, table: Table, attributes: Mapping[str, Any]
    ) -> Requantize | None:
        """Return the fast form of QLinearConv, QLinearMatMul or QGemm; none if it has none."""
        parts = self._linear(operation, attributes)
        if parts is None or attributes.get("channels_last", 0):
            return None
        w, zero_w, scales, bias, (y_scale, y_zero), shape = parts
        zero_x = self.sample.constant(operation.inputs[2])
        if zero_x is None or zero_x.size != 1 or y_zero.size != 1 or y_scale.size != 1:
            return None
        if y_zero.dtype not in CODES:
            return None
        weights = _ordered(subtract32(w, zero_w.reshape(-1, *[1] * (w.ndim - 1))), shape)
        counts = subtract32(table.values, zero_x.reshape(()))
        steps = bias.astype(np.int64)
        product = Product(table, counts, weights.astype(np.int64), steps, shape)
        multiplier = divide(scales, y_scale.reshape(()), np.float32)
        if product.bound >= LARGEST or not np.isfinite(multiplier).all():
            return None
        low, high = integer_range(y_zero.dtype)
        grid = Grid(int(y_zero.reshape(())), low, high)
        return Requantize(product, multiplier, grid, self.root(operation))

    def _linear(self, operation: Operation, attributes: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a few arrays
        """Return weights, their zero points, the scales of sums, bias, the result's grid, shape."""
        constants = [self.sample.constant(name) for name in operation.inputs]
        added, target = (6, 7) if operation.op_type == "QGemm" else (8, 6)
        grid, extra = constants[target : target + 2], [*constants[added:], None][0]
        needed = [*constants[1:6], *grid]
        if len(needed) < NEEDED or any(one is None for one in needed):
            return None
        a_scale, _, b, b_scale, b_zero = needed[:5]
        x = self.sample.values[operation.inputs[0]]
        if operation.op_type == "QLinearConv":
            y = self.sample.values[operation.outputs[0]]
            shape = conv_shape(x, b, y, attributes)
        else:
            if b.ndim != x.ndim or x.ndim != 2 or attributes.get("transA", 0):  # noqa: PLR2004 - matrices
                return None
            b = b if attributes.get("transB", 0) else b.T
            shape = matrix_shape(b.T)
        if shape is None or a_scale.size != 1 or b_scale.dtype != np.float32:
            return None
        alpha = np.asarray(attributes.get("alpha", 1.0))
        first = multiply(alpha, a_scale) if operation.op_type == "QGemm" else a_scale
        scales = multiply(first.reshape(()), b_scale.reshape(-1))
        bias = np.zeros(shape.filters, np.int64) if extra is None else _for_each(extra, shape)
        if bias is None or b_zero.size not in {1, shape.filters}:
            return None
        return b, b_zero, scales, bias, grid, shape

    def averaged(
        self, operation: Operation, table: Table, attributes: Mapping[str, Any]
    ) -> Requantize | None:
        """Return the fast form of an integer average of whole images; none if it is another."""
        x, y = (self.sample.values[n] for n in (operation.inputs[0], operation.outputs[0]))
        constants = [self.sample.constant(name) for name in operation.inputs[1:]]
        x_scale, x_zero, y_scale, y_zero = (*constants, None, None)[:4]
        if attributes.get("channels_last", 0) or x_scale is None or y_scale is None:
            return None
        if operation.op_type != "QLinearGlobalAveragePool":
            kernel = tuple(attributes.get("kernel_shape", ()))
            if kernel != x.shape[2:] or not unpadded(attributes):
                return None
        if any(n != 1 for n in y.shape[2:]) or y.dtype not in CODES:
            return None
        shape = pool_shape(x, y, x.shape[2:], x.shape[2:])
        zeros = [0 if one is None else int(one.reshape(())) for one in (x_zero, y_zero)]
        counts = subtract32(table.values, np.asarray(zeros[0]))
        none = np.zeros(shape.filters, np.int64)
        product = Product(table, counts, np.ones((shape.group, shape.terms, 1), np.int64), none, shape)
        multiplier = image_multiplier(x_scale, y_scale, shape.terms).reshape(-1)
        if product.bound >= LARGEST or multiplier.size != 1 or not np.isfinite(multiplier).all():
            return None
        grid = Grid(zeros[1], *integer_range(y.dtype))
        return Requantize(product, multiplier, grid, self.root(operation))

    def quantized(self, operation: Operation) -> Quantize | None:
        """Return the fast form of a Q of real numbers; none if it has none."""
        grid = self._grid((), operation)
        name = operation.inputs[0]
        scale = self.sample.constant(operation.inputs[1])
        if grid is None or scale is None or self.sample.dtype(name) != np.float32:
            return None
        return Quantize(name, scale.reshape(()), grid, self.root(operation))

    def certified(self, pending: Pending, quantize: Operation) -> Certified | None:
        """Return the fast form of a float product and its Q; none if it has none."""
        operation, (table,) = pending.operation, pending.operands
        pools = operation.op_type in POOLS
        weights = self._pool(operation) if pools else self._weights(operation)
        if weights is None or table.step is None:
            return None
        shape, real, steps = weights
        counts = whole_steps(table.values, table.step)
        grid = self._grid(pending.tail, quantize)
        if counts is None or grid is None or not 0 < float(table.step) < np.inf:
            return None
        counted = whole_steps(real, steps)
        if counted is None:
            return None
        weight, each = _ordered(counted, shape), np.ascontiguousarray(steps.reshape(-1))
        each = np.broadcast_to(each, (shape.filters,))
        bias = self._bias(operation, shape)
        if bias is None or not (each > 0).all():
            return None
        y_scale = np.asarray(self.sample.constant(quantize.inputs[1])).reshape(())
        unit = float(table.step) * each.astype(np.float64)
        counted_bias = whole_bias(bias, unit)
        rest = bias - unit * counted_bias
        count = shape.terms if pools else 1
        near = np.abs(rest) / float(y_scale) < 2.0**-14
        rest = np.where(near, 0.0, rest)
        product = Product(
            table, counts.astype(np.int64), weight.astype(np.int64), counted_bias, shape
        )
        numbers = Real(table.step, each, _ordered(real, shape), bias, rest)
        fast = Certified(product, numbers, y_scale, grid, self.root(quantize), count)
        return fast if product.bound < 2**53 and fast.margin < WIDEST else None

    def _constants(self, operation: Operation) -> list[Array | None]:
        return [self.sample.constant(name) for name in operation.inputs[1:]]

    def root(self, operation: Operation) -> Root:
        """Return the root that an operation makes."""
        (name,) = operation.outputs
        return Root(name, self.sample.dtype(name), self.sample.shape(name))

    def _grid(self, tail: Sequence[Followed], quantize: Operation) -> Grid | None:
        """Return the grid of a Q, held as the operations before it hold it."""
        scale, zero = ([*self._constants(quantize), None])[:2]
        target = self.sample.dtype(quantize.outputs[0])
        if scale is None or scale.size != 1 or scale.dtype != np.float32 or target not in CODES:
            return None
        if not 0 < float(scale.reshape(())) < np.inf or quantize.attributes.get("block_size", 0):
            return None
        if quantize.attributes.get("precision", 0) not in {0, 1}:
            return None
        middle = 0 if zero is None else int(zero.reshape(()))
        rank = self.sample.values[quantize.outputs[0]].ndim
        ends = np.asarray([-np.inf, np.inf], np.float64).reshape(2, *[1] * (rank - 1))
        held: Any = multiply(ends, np.asarray(1.0))
        for operation, constants in (*tail, (quantize, tuple(self._constants(quantize)))):
            (held,) = self.documented.run(operation, [held, *constants])
        low, high = (int(code) for code in held.ravel())
        return Grid(middle, low, high)

    def _weights(self, operation: Operation) -> tuple[Shape, Array, Array] | None:
        """Return the shape of a product, its weights (filters, ...), and their steps, alike."""
        name = operation.inputs[1]
        w, maker = self.sample.constant(name), self.sample.makers.get(name)
        if w is None or maker is None or maker.op_type != "DequantizeLinear" or maker.domain:
            return None
        scale = self.sample.constant(maker.inputs[1])
        x, y = (self.sample.values[n] for n in (operation.inputs[0], operation.outputs[0]))
        if scale is None or any(one.dtype != np.float32 for one in (w, scale, x)):
            return None
        axis = maker.attributes.get("axis", 1) % w.ndim
        attributes = operation.attributes
        if operation.op_type == "Conv":
            shape, filters = conv_shape(x, w, y, attributes), 0
        else:
            turned = attributes.get("transB", 0)
            if x.ndim != 2 or w.ndim != 2 or not plain_gemm(attributes):  # noqa: PLR2004 - matrices
                return None
            shape, filters = matrix_shape(w.T if turned else w), 0 if turned else 1
            w = w if turned else w.T
        if shape is None or (scale.size != 1 and (axis != filters or scale.ndim != 1)):
            return None
        return shape, w, scale.reshape(-1, *[1] * (w.ndim - 1))

    def _pool(self, operation: Operation) -> tuple[Shape, Array, Array] | None:
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
        if x.dtype != np.float32 or x.ndim < 3:  # noqa: PLR2004 - there is an image
            return None
        shape = pool_shape(x, y, kernel, strides)
        ones = np.ones((shape.filters, 1, *kernel), np.float32)
        return shape, ones, np.ones((1,) * ones.ndim, np.float32)

    def _bias(self, operation: Operation, shape: Shape) -> Array | None:
        names = operation.inputs[2:3]
        if operation.op_type in POOLS or not names or not names[0]:
            return np.zeros(shape.filters, np.float32)
        found = self.sample.constant(names[0])
        return None if found is None or not np.isfinite(found).all() else _for_each(found, shape)


POOLS = frozenset({"AveragePool", "GlobalAveragePool"})

NEEDED = 7
"""Grids of two factors and of the result, and the second factor."""


def _for_each(bias: Array, shape: Shape) -> Array | None:
    """Return one value for each filter; none if the bias has another form."""
    if bias.size == shape.filters and bias.shape[-1:] == (shape.filters,):
        return bias.reshape(-1)
    return np.broadcast_to(bias.reshape(-1), (shape.filters,)) if bias.size == 1 else None


def whole_bias(bias: Array, unit: Array) -> Array:
    """Count a bias in the unit of the sums, as near as may be; too many for int32 are none.

    >>> whole_bias(np.float32([0.3, -0.1, 1e30]), np.float64([0.1, 0.1, 0.1]))
    array([ 3, -1,  0])
    """
    near = nearest_steps(bias, unit)
    return np.where(np.abs(near) < LARGEST, near, 0).astype(np.int64)


def pool_shape(x: Array, y: Array, kernel: tuple[int, ...], strides: tuple[int, ...]) -> Shape:
    """Return the shape of a pool without padding: each channel has a filter of its own."""
    ones, channels = (1,) * len(kernel), x.shape[1]
    sizes = x.shape[2:], y.shape[2:], kernel, strides, ones, (0,) * (2 * len(kernel))
    return Shape(*sizes, channels=channels, filters=channels, group=channels)


def unpadded(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a pool sees nothing but the image.

    >>> unpadded({"pads": [0, 0]}), unpadded({"auto_pad": "SAME_UPPER"})
    (True, False)
    """
    return not any(attributes.get("pads") or ()) and attributes.get("auto_pad", "NOTSET") in {
        "NOTSET",
        "VALID",
    }


def plain_gemm(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a Gemm only multiplies and adds.

    >>> plain_gemm({"transB": 1}), plain_gemm({"alpha": 0.5})
    (True, False)
    """
    kept = {name: attributes.get(name, 1.0) for name in ("alpha", "beta")}
    return not attributes.get("transA", 0) and all(value == 1.0 for value in kept.values())
