"""Operators on rational numbers: what a group computes before anything is rounded."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.execute.errors import ExecuteError
from qdqdoc.execute.rationals import (
    Rational,
    added,
    aligned,
    divided,
    mapped,
    multiplied,
    negated,
    product,
    python,
    rational,
    summed,
    whole,
)
from qdqdoc.numerics.layout import pad, windows
from qdqdoc.registry.pooling import channels_second, pool
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Context, Decimal

    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry.pooling import Pool

# ruff: noqa: ANN401 - attributes as ONNX has them

MATRIX = 2
LEAK, EPSILON = float(np.float32(0.01)), float(np.float32(1e-5))
"""Defaults of ONNX, which are float32 like every attribute."""


def conv(x: Rational, w: Rational, b: Rational | None = None, **attributes: Any) -> Rational:
    """Correlate; the bias is a part of the sum."""
    group = attributes.pop("group", 1)
    shape = window("Conv", x.whole, w.whole, group=group, **attributes)
    filters, terms = w.shape[0], prod(w.shape[1:])
    fields = windows(python(pad(x.whole, shape.pads)), shape.kernel, shape.strides, shape.dilations)
    rank = x.ndim - 2
    out = fields.shape[2 : 2 + rank]
    columns = np.moveaxis(fields, range(2, 2 + rank), range(-rank, 0))
    columns = columns.reshape(x.shape[0], group, terms, prod(out))
    weights = w.whole.reshape(1, group, filters // group, terms)
    sums = summed(weights, columns).reshape(x.shape[0], filters, *out)
    y = Rational(sums, x.unit * w.unit)
    if b is None:
        return y
    return added(y, Rational(b.whole.reshape(1, -1, *[1] * rank), b.unit))


def gemm(
    a: Rational,
    b: Rational,
    c: Rational | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Rational:
    """Return ``alpha * A' @ B' + beta * C``."""
    if not a.ndim == b.ndim == MATRIX:
        raise ExecuteError(f"found shapes {a.shape} and {b.shape}, allowed: two matrices")
    left = Rational(a.whole.T, a.unit) if transA else a
    right = Rational(b.whole.T, b.unit) if transB else b
    y = multiplied(product(left, right), rational(np.asarray(alpha)))
    return y if c is None else added(y, multiplied(c, rational(np.asarray(beta))))


def matmul(a: Rational, b: Rational) -> Rational:
    """Multiply matrices as NumPy does, vectors and stacks of matrices too."""
    left = a.whole[None] if a.ndim == 1 else a.whole
    right = b.whole[:, None] if b.ndim == 1 else b.whole
    y = summed(left, right)
    y = y[..., 0, :] if a.ndim == 1 else y
    return Rational(np.asarray(y[..., 0] if b.ndim == 1 else y), a.unit * b.unit)


def chosen(left: Rational, right: Rational, take: Callable[[Array, Array], Array]) -> Rational:
    """Take the larger or the smaller of two."""
    a, b, unit = aligned(left, right)
    return Rational(np.asarray(take(a, b)), unit)


def clip(
    x: Rational, least: Rational | None = None, most: Rational | None = None, **bounds: float
) -> Rational:
    """Hold within bounds, which are inputs or, in old models, attributes."""
    least = rational(np.asarray(bounds["min"])) if "min" in bounds else least
    most = rational(np.asarray(bounds["max"])) if "max" in bounds else most
    x = x if least is None else chosen(x, least, np.maximum)
    return x if most is None else chosen(x, most, np.minimum)


def leaky_relu(x: Rational, alpha: float = LEAK) -> Rational:
    """Multiply what is negative by ``alpha``."""
    below = multiplied(x, rational(np.asarray(alpha)))
    a, b, unit = aligned(x, below)
    return Rational(np.where(x.whole < 0, b, a), unit)


def _windows(x: Rational, name: str, attributes: Mapping[str, Any]) -> Pool:
    size = channels_second(name, x.whole, 0).shape[2:]
    return pool(name, size, {"kernel_shape": (), **attributes})


def average_pool(x: Rational, **attributes: Any) -> Rational:
    """Average what each window sees."""
    shape = _windows(x, "AveragePool", attributes)
    fields = python(shape.fields(x.whole, 0))
    sums = fields.sum(axis=tuple(range(x.ndim, fields.ndim)))
    inside = whole(np.ones((1, 1, *x.shape[2:])))
    if attributes.get("count_include_pad", 0):
        return _over_padding(Rational(sums, x.unit), inside, shape)
    seen = python(shape.fields(inside, 0))
    counts = seen.sum(axis=tuple(range(x.ndim, seen.ndim)))
    return divided(Rational(sums, x.unit), Rational(counts, Fraction(1)))


def _over_padding(sums: Rational, inside: Array, shape: Pool) -> Rational:
    """Divide by what each window sees of the padded image; beyond it nothing counts."""
    rank = len(shape.size)
    around = [(0, 0), (0, 0), *zip(shape.pads[:rank], shape.pads[rank:], strict=True)]
    padded = np.pad(inside, around, constant_values=1)
    bare = replace(shape, size=padded.shape[2:], pads=(0,) * (2 * rank))
    seen = python(bare.fields(padded, 0))
    counts = seen.sum(axis=tuple(range(2 + rank, seen.ndim)))
    return divided(sums, Rational(counts, Fraction(1)))


def max_pool(x: Rational, **attributes: Any) -> Rational:
    """Take the largest that each window sees."""
    shape = _windows(x, "MaxPool", attributes)
    lowest = min((int(v) for v in x.whole.ravel()), default=0)
    fields = python(shape.fields(x.whole, lowest))
    return Rational(fields.max(axis=tuple(range(x.ndim, fields.ndim))), x.unit)


def reduced(
    x: Rational, axes: Sequence[int], take: Callable[..., Array], *, keepdims: int, mean: bool
) -> Rational:
    """Reduce along axes."""
    gone = tuple(sorted({axis % x.ndim for axis in axes}))
    found = np.asarray(take(x.whole, axis=gone, keepdims=bool(keepdims)), object)
    count = prod(x.shape[axis] for axis in gone)
    return Rational(found, x.unit / count if mean else x.unit)


def _reduction(take: Callable[..., Array], *, mean: bool = False) -> Callable[..., Rational]:
    def run(x: Rational, axes: Array | None = None, **attributes: Any) -> Rational:
        named = attributes.get("axes", []) if axes is None else [int(a) for a in np.asarray(axes)]
        if not named and attributes.get("noop_with_empty_axes", 0):
            return x
        keepdims = attributes.get("keepdims", 1)
        return reduced(x, named or range(x.ndim), take, keepdims=keepdims, mean=mean)

    return run


def global_average_pool(x: Rational) -> Rational:
    """Average each channel of each image."""
    return reduced(x, range(2, x.ndim), np.sum, keepdims=1, mean=True)


def batch_normalization(
    x: Rational, scale: Rational, b: Rational, mean: Rational, var: Rational, **attributes: Any
) -> Rational:
    """Normalize each channel; the root is taken to many digits."""
    epsilon = rational(np.asarray(attributes.get("epsilon", EPSILON)))
    root = mapped(added(var, epsilon), lambda v, context: v.sqrt(context))
    factor = divided(scale, root)
    shape = (1, -1, *[1] * (x.ndim - 2))
    per_channel = [Rational(v.whole.reshape(shape), v.unit) for v in (mean, factor, b)]
    middle, slope, offset = per_channel
    return added(multiplied(added(x, negated(middle)), slope), offset)


def softmax(x: Rational, axis: int = -1) -> Rational:
    """Share one out; equal numbers have equal shares, exactly."""
    largest = x.whole.max(axis=axis, keepdims=True)
    powers = mapped(Rational(x.whole - largest, x.unit), lambda v, context: v.exp(context))
    sums = Rational(powers.whole.sum(axis=axis, keepdims=True), powers.unit)
    return divided(powers, sums)


def _logistic(value: Decimal, context: Context) -> Decimal:
    return context.divide(1, context.add(1, (-value).exp(context)))


def _tanh(value: Decimal, context: Context) -> Decimal:
    power = context.multiply(2, value).exp(context)
    return context.divide(context.subtract(power, 1), context.add(power, 1))


def _absolute(x: Rational) -> Rational:
    return Rational(np.asarray(abs(x.whole)), x.unit)


def _many(take: Callable[[Rational, Rational], Rational]) -> Callable[..., Rational]:
    def run(*inputs: Rational) -> Rational:
        found = inputs[0]
        for value in inputs[1:]:
            found = take(found, value)
        return found

    return run


OPERATORS_EXACTLY: Mapping[str, Callable[..., Rational]] = MappingProxyType(
    {
        "Abs": _absolute,
        "Add": added,
        "AveragePool": average_pool,
        "BatchNormalization": batch_normalization,
        "Clip": clip,
        "Conv": conv,
        "Div": divided,
        "Exp": lambda x: mapped(x, lambda v, context: v.exp(context)),
        "Gemm": gemm,
        "GlobalAveragePool": global_average_pool,
        "LeakyRelu": leaky_relu,
        "MatMul": matmul,
        "Max": _many(lambda a, b: chosen(a, b, np.maximum)),
        "MaxPool": max_pool,
        "Min": _many(lambda a, b: chosen(a, b, np.minimum)),
        "Mul": multiplied,
        "Neg": negated,
        "ReduceMax": _reduction(np.max),
        "ReduceMean": _reduction(np.sum, mean=True),
        "ReduceMin": _reduction(np.min),
        "ReduceSum": _reduction(np.sum),
        "Relu": lambda x: Rational(np.asarray(np.maximum(x.whole, 0)), x.unit),
        "Sigmoid": lambda x: mapped(x, _logistic),
        "Softmax": softmax,
        "Sqrt": lambda x: mapped(x, lambda v, context: v.sqrt(context)),
        "Sub": lambda a, b: added(a, negated(b)),
        "Sum": _many(added),
        "Tanh": lambda x: mapped(x, _tanh),
    }
)
"""Operators of ai.onnx that compute, by name."""

MOVERS = frozenset(
    {"Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GatherElements"}
    | {"GatherND", "Identity", "Pad", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze"}
    | {"Tile", "Transpose", "Unsqueeze", "Where"}
)
"""Operators that only move values: where each goes is found with numbers of places."""


def moved(inputs: Sequence[Any], run: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """Move rational numbers as an operator moves the numbers of their places."""
    held = [value for value in inputs if isinstance(value, Rational)]
    unit = held[0].unit
    for value in held[1:]:
        _, _, unit = aligned(Rational(whole(np.ones(())), unit), value)
    flat, given = [whole(np.zeros(1))], []
    count = 1
    for value in inputs:
        if not isinstance(value, Rational):
            given.append(value)
            continue
        given.append(np.arange(count, count + value.whole.size).reshape(value.shape))
        flat.append(value.with_unit(unit).ravel())
        count += value.whole.size
    everything = np.concatenate(flat)
    # Place 0 is what an operator fills in, the zeros of a Pad.
    return [Rational(everything[np.asarray(places)], unit) for places in run(given)]
