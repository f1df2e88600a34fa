"""How much memory an operator will take whose inputs are small and whose output is not.

Of the operators that onnx runs, onnx tells the sizes beforehand, see
:meth:`qdqdoc.execute.reference.Reference.announced`. Here are those that are run without it, and
what onnx does not tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

WIDE = 8
"""Bytes of a sum before it is rounded: int64 or float64."""

FLOAT = 4
"""Bytes of float32."""

MOST = 2.0**62
"""More values than any machine has."""

Shape = tuple[int, ...]


def announced(name: str, inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    """Return the bytes that the inputs of an operator announce, 0 for one that does not grow.

    Inputs that do not fit announce nothing: the operator itself says what is wrong with them.

    >>> column, row = np.ones((2**20, 1), np.float32), np.ones((1, 2**21), np.float32)
    >>> announced("MatMul", [column, row], {}) == 8 * 2**41
    True
    >>> announced("MatMul", [column, column], {}), announced("Relu", [column], {})
    (8388608, 0)
    >>> announced("MatMul", [column], {})
    0
    """
    if name not in _RULES:
        return 0
    try:
        return max(_RULES[name](inputs, attributes), 0)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return 0


def _broadcast(*shapes: Sequence[int]) -> int:
    """Multiply the sizes of shapes that are broadcast; no array is made."""
    rank = max(map(len, shapes))
    filled = [[1] * (rank - len(shape)) + [*shape] for shape in shapes]
    return prod(0 if 0 in sizes else max(sizes) for sizes in zip(*filled, strict=True))


def _elementwise(inputs: Sequence[Any], _: Mapping[str, Any], *, operands: Sequence[int]) -> int:
    shapes = [inputs[place].shape for place in operands if inputs[place] is not None]
    return FLOAT * _broadcast(*shapes)


def _product(inputs: Sequence[Any], _: Mapping[str, Any], *, right: int = 1) -> int:
    a, b = inputs[0].shape, inputs[right].shape
    a = (1, *a) if len(a) == 1 else a
    b = (*b, 1) if len(b) == 1 else b
    return int(WIDE * _broadcast(a[:-2], b[:-2]) * a[-2] * b[-1])


def _gemm(inputs: Sequence[Any], attributes: Mapping[str, Any], *, right: int = 1) -> int:
    rows = inputs[0].shape[1 if attributes.get("transA") else 0]
    return int(WIDE * rows * inputs[right].shape[0 if attributes.get("transB") else 1])


def _packed_product(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    return int(WIDE * prod(inputs[0].shape[:-1]) * attributes["N"])


def _product_of_blob(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    return int(WIDE * prod(inputs[0].shape[:-1]) * int(inputs[2][1]))


def _correlation(inputs: Sequence[Any], attributes: Mapping[str, Any], *, filters: int = 1) -> int:
    x, w = _channels_second(inputs[0].shape, attributes), inputs[filters].shape
    padded, outputs = _windows(x[2:], w[2:], attributes)
    each = inputs[0].itemsize
    total = WIDE if inputs[0].dtype.kind in "iu" else each
    return int(x[0] * (each * x[1] * prod(padded) + total * w[0] * prod(outputs)))


def _averages(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    """Count what each window sees: it is copied, to be added in order."""
    x, kernel = _channels_second(inputs[0].shape, attributes), attributes["kernel_shape"]
    padded, outputs = _windows(x[2:], kernel, attributes)
    return int(WIDE * x[0] * x[1] * (prod(padded) + prod(outputs) * prod(kernel)))


def _largest(inputs: Sequence[Any], attributes: Mapping[str, Any], *, last: int = 0) -> int:
    x = _channels_second(inputs[0].shape, {"channels_last": last})
    padded, outputs = _windows(x[2:], attributes["kernel_shape"], attributes)
    return int(inputs[0].itemsize * x[0] * x[1] * (prod(padded) + prod(outputs)))


def _channels_second(shape: Sequence[int], attributes: Mapping[str, Any]) -> Shape:
    last = attributes.get("channels_last")
    return (shape[0], shape[-1], *shape[1:-1]) if last else tuple(shape)


def _windows(
    size: Sequence[int], kernel: Sequence[int], attributes: Mapping[str, Any]
) -> tuple[list[int], list[int]]:
    """Return the sizes of a padded image, and how many windows it has at most."""
    ones = [1] * len(size)
    strides, dilations = (attributes.get(name) or ones for name in ("strides", "dilations"))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = attributes.get("pads") or [0] * (2 * len(size))
    ends = zip(pads[: len(size)], pads[len(size) :], strict=True)
    # SAME padding adds no more than the window reaches.
    same = "SAME" in str(attributes.get("auto_pad"))
    added = [r if same else sum(pair) for r, pair in zip(reach, ends, strict=True)]
    padded = [n + more for n, more in zip(size, added, strict=True)]
    spans = zip(padded, reach, strides, strict=True)
    return padded, [max(n - r + s - 1, 0) // s + 1 for n, r, s in spans]


def _looked_up(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    data, indices = inputs[0].shape, inputs[1].size
    axis = attributes.get("gather_axis", 0) % len(data)
    packed = 8 // attributes.get("bits", 4) if inputs[0].dtype == np.uint8 else 1
    return int(FLOAT * packed * indices * prod(data[:axis] + data[axis + 1 :]))


def _embedded(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    return FLOAT * int(inputs[0].size) * int(inputs[2].shape[-1])


def _attended(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    batch, length, _ = inputs[0].shape
    past = inputs[8].shape[3] if len(inputs) > 8 and inputs[8] is not None else 0  # noqa: PLR2004 - its place
    scores = length * (length + past) * attributes["num_heads"]
    return int(FLOAT * batch * (length * inputs[1].shape[1] + scores))


def _experts(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    rows = inputs[0].size // inputs[0].shape[-1]
    return int(FLOAT * rows * inputs[2].shape[1])


def _recurrent(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    steps, batch, _ = inputs[0].shape
    directions, hidden, _ = inputs[2].shape
    return int(FLOAT * steps * batch * directions * hidden)


def _one_hot(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    """Onnx knows the depth where it is an int64 alone."""
    return int(inputs[0].size) * int(inputs[1].item()) * int(inputs[2].itemsize)


def _counted(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    """Onnx knows the number of some types alone."""
    start, limit, delta = (float(value.item()) for value in inputs)
    return int(min(max((limit - start) / delta, 0), MOST)) * int(inputs[0].itemsize)


def _unpooled(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    return int(inputs[0].itemsize) * prod(int(size) for size in inputs[2])


def _places(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    return WIDE * int(inputs[0].size) * int(inputs[0].ndim)


def _normalized(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    """Scales that are larger than what they scale are broadcast, though nobody allows them."""
    return int(inputs[0].itemsize) * _broadcast(*(v.shape for v in inputs if v is not None))


def _per_channel(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    x = inputs[0].shape
    channels = max(int(v.size) for v in inputs[1:])
    return int(inputs[0].itemsize * channels * (prod(x) // max(x[1], 1)))


def _joined(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    """Texts have no size of their own in an array, but in memory."""
    letters = sum(max((len(text) for text in one.flat), default=0) for one in inputs)
    return (WIDE + letters) * _broadcast(*(one.shape for one in inputs))


def _split(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    delimiter = attributes.get("delimiter") or None
    parts = max((len(text.split(delimiter)) for text in inputs[0].flat), default=0)
    return WIDE * int(inputs[0].size) * parts


Rule = Callable[[Sequence[Any], Mapping[str, Any]], int]

_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "AveragePool": _averages,
        "BatchNormalization": _per_channel,
        "Conv": _correlation,
        "ConvInteger": _correlation,
        "DynamicQuantizeLSTM": _recurrent,
        "DynamicQuantizeMatMul": _product,
        "GatherBlockQuantized": _looked_up,
        "Gemm": _gemm,
        "InstanceNormalization": _per_channel,
        "LayerNormalization": _normalized,
        "MatMul": _product,
        "MatMulBnb4": _packed_product,
        "MatMulFpQ4": _product_of_blob,
        "MatMulInteger": _product,
        "MatMulInteger16": _product,
        "MatMulIntegerToFloat": _product,
        "MatMulNBits": _packed_product,
        "MaxPool": _largest,
        "MaxUnpool": _unpooled,
        "NhwcMaxPool": partial(_largest, last=1),
        "NonZero": _places,
        "OneHot": _one_hot,
        "PRelu": _normalized,
        "QAttention": _attended,
        "QEmbedLayerNormalization": _embedded,
        "QGemm": partial(_gemm, right=3),
        "QLinearAdd": partial(_elementwise, operands=(0, 3)),
        "QLinearAveragePool": _averages,
        "QLinearConv": partial(_correlation, filters=3),
        "QLinearMatMul": partial(_product, right=3),
        "QLinearMul": partial(_elementwise, operands=(0, 3)),
        "QLinearWhere": partial(_elementwise, operands=(0, 1, 4)),
        "QMoE": _experts,
        "Range": _counted,
        "RMSNormalization": _normalized,
        "StringConcat": _joined,
        "StringSplit": _split,
    }
)
