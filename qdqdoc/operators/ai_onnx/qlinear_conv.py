"""Convolve codes: sum products of integers over a window, then bring the sum to the result's grid.

Two stages. The first is integer arithmetic and exact: both zero points are subtracted, products
and the bias are summed in an int32 accumulator. The second rounds: the three scales become one
float32 multiplier per channel, the accumulator is multiplied by it, rounded half to even, and
the zero point added. Padding holds the zero point of ``x``, which stands for the real number zero.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.convolution import (
    DILATED,
    EMPTY,
    FILTERS,
    IMAGE,
    PAIRS,
    Geometry,
    fill,
    forbidden_parameters,
    forbidden_shapes,
    is_dilated_same,
    linear_call,
    linear_calls,
    sums_nothing,
)
from qdqdoc.calls.pairs import adds_pairs
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.layout import pad, spread
from qdqdoc.numerics.products import Overflow, accumulate, integer_conv
from qdqdoc.numerics.rounding import divide, multiply, requantize, subtract32
from qdqdoc.registry import UNWRITTEN, Call, Differs, Element, Version, operator
from qdqdoc.registry.convolution import check_linear, linear_values, summed
from qdqdoc.registry.ties import products
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "QLinearConv"
INT8 = ("int8", "uint8")

V10 = Version(
    since=10,
    inputs={
        "x": "T1",
        "x_scale": "float32",
        "x_zero_point": "T1",
        "w": "T2",
        "w_scale": "float32",
        "w_zero_point": "T2",
        "y_scale": "float32",
        "y_zero_point": "T3",
        "B": "T4",
    },
    optional=("B",),
    outputs={"y": "T3"},
    types={"T1": INT8, "T2": INT8, "T3": INT8, "T4": ("int32",)},
    attributes={
        "auto_pad": "NOTSET",
        "dilations": None,
        "group": 1,
        "kernel_shape": None,
        "pads": None,
        "strides": None,
    },
)

RULE = Formula(
    "m = f32(f32(s_x * s_w) / s_y)\n"
    "acc = wrap32(sum((x[k] - z_x) * (w[k] - z_w) for k in K) + b)\n"
    "y = saturate(rint(f32(f32(acc) * m)) + z_y)",
    symbols={
        "x": "`x` under the window",
        "w": "`w` of the output channel",
        "b": "`B` of the output channel; zero where it is absent",
        "s_x": "`x_scale`",
        "z_x": "`x_zero_point`",
        "s_w": "`w_scale` of the tensor or the output channel",
        "z_w": "`w_zero_point` of the tensor or the output channel",
        "s_y": "`y_scale`",
        "z_y": "`y_zero_point`",
    },
    sets={"K": "input channels of the group and window positions inside the image"},
    types={"T": "type of `y`"},
    name="convolution",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: ties, rails, signs, padding, groups, ranks, per-channel parameters."""
    yield from linear_calls()


def rejects() -> Iterator[Call]:
    """Yield shapes and attributes that do not fit, and parameters of wrong shapes."""
    call = linear_call(*fill(Geometry(IMAGE, FILTERS, {}), ("int8", "int8")), (1, 1, 1), (0, 0, 0))
    yield from forbidden_shapes(call)
    yield from forbidden_parameters(call)


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = call.inputs
    terms = summed(NAME, inputs["x"], inputs["w"], call.attributes, index)
    return Element(
        formula=RULE,
        values={**terms, **linear_values(inputs, index[1])},
        sets={"K": [*terms["x"]]},
        types={"T": type_name(inputs["y_zero_point"].dtype)},
    )


_EDGE = tensor("int8", [[[1, 2, 3, 4, 5, 6, 7, 8]]])
_UNIT, _PAIR = tensor("int8", [[[1]]]), tensor("int8", [[[1]], [[2]]])
_TIES = linear_call(_EDGE, _UNIT, (0.5, 1, 1), (0, 0, 3), name="ties, odd zero point")
_NARROW = linear_call(_EDGE, _UNIT, (0.1, 1, 1), (0, 0, 0), name="a tie in float32 only")
_PER_CHANNEL = linear_call(_EDGE[..., :2], _PAIR, (1, 1, 1), (0, 0, 0), name="1-D, per channel")
_PER_CHANNEL = replace(
    _PER_CHANNEL, inputs={**_PER_CHANNEL.inputs, "w_scale": tensor("float32", [1, 3])}
)
_ROUNDS = "Rounding to nearest, ties to even, comes before the zero point."

DIFFERS = (
    Differs(
        "onnx",
        _TIES,
        (4, 4, 4, 5, 6, 6, 6, 7),
        "The zero point is added before rounding, which turns ties around.",
        _ROUNDS,
    ),
    Differs(
        "onnx",
        _NARROW,
        (0, 0, 0, 0, 1, 1, 1, 1),
        "The product is taken in float64, where it is above the tie.",
        "Silent on the precision; the scales are float32.",
    ),
    Differs(
        "onnx",
        _PER_CHANNEL,
        (1, 2, 2, 4, 3, 6, 6, 12),
        "Scales per channel are shaped for two spatial dimensions; other ranks grow by one.",
        "w_scale may have one value per output channel, whatever the rank.",
    ),
    Differs(
        "onnxruntime",
        DILATED,
        None,
        "SAME padding and dilation are not taken together.",
        "The output has ceil(input / stride) positions.",
        is_dilated_same,
    ),
    Differs(
        "onnxruntime",
        EMPTY,
        UNWRITTEN,
        "With no channels to sum, the result is memory that was never written.",
        "A sum of nothing is 0.",
        sums_nothing,
    ),
    Differs(
        "onnxruntime",
        PAIRS,
        (101,),
        "Pairs of products are added in int16, which saturates: 32767 for 64770.",
        "The accumulator has 32 bits.",
        adds_pairs,
        processor="saturating",
    ),
)


@operator(
    name=NAME,
    versions=(V10,),
    formulas=(RULE,),
    cites=("onnx-qlinearconv", "jacob2018", "krishnamoorthi2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=products(("x", "w"), ((1, 1, -1), (-1, 1, 1))),
)
def qlinear_conv(
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    w: Array,
    w_scale: Array,
    w_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    B: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    overflow: Overflow = "wrap",
) -> Array:
    """Sum products of codes in int32, scale the sum once in float32, round it to the grid.

    Parameters
    ----------
    x
        Codes (N, C, D1, ..., Dn).
    x_scale, x_zero_point, y_scale, y_zero_point
        One value each; the type of ``y_zero_point`` is the type of ``y``.
    w
        Codes (M, C / group, k1, ..., kn).
    w_scale, w_zero_point
        One value, or M values: one per output channel.
    B
        Bias (M,) in int32, counted in steps of ``x_scale * w_scale``.
    auto_pad
        ``NOTSET`` (``pads`` counts), ``SAME_UPPER``, ``SAME_LOWER`` or ``VALID``.
    dilations, strides
        One number per spatial axis; 1 by default.
    group
        Number of groups into which input and output channels are divided.
    kernel_shape
        Spatial shape of ``w``; need not be given.
    pads
        Padding before each spatial axis, then after each; 0 by default.
    overflow
        ``"wrap"``: a sum beyond int32 wraps, as ONNX says; ``"raise"``: it is an error.

    Returns
    -------
    y
        Codes (N, M, outputs...).

    Raises
    ------
    OperatorError
        For a missing input, a type that ONNX does not allow, or shapes that do not fit.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Examples
    --------
    Odd sums of halves are ties; they go to the even neighbour before the zero point is added:

    >>> import numpy as np
    >>> one, half, zero = np.float32(1), np.float32(0.5), np.int8(0)
    >>> x, w = np.int8([[[1, 3, 5, -1]]]), np.int8([[[1]]])
    >>> qlinear_conv(x, half, zero, w, one, zero, one, np.int8(1))
    array([[[1, 3, 3, 1]]], dtype=int8)

    Padding holds the zero point, which stands for nothing; it is not the code 0:

    >>> qlinear_conv(x, one, np.int8(1), w, one, zero, one, zero, pads=[1, 0])
    array([[[ 0,  0,  2,  4, -2]]], dtype=int8)

    A scale per output channel, a bias in steps of ``x_scale * w_scale``:

    >>> w = np.int8([[[1]], [[1]]])
    >>> qlinear_conv(x, one, zero, w, np.float32([1, 2]), np.int8([0, 0]), one, zero,
    ...              B=np.int32([0, 10]))
    array([[[ 1,  3,  5, -1],
            [22, 26, 30, 18]]], dtype=int8)

    Sums beyond the rails stay on them, sums beyond the accumulator wrap:

    >>> x = np.full((1, 1, 2), 127, np.int8)
    >>> qlinear_conv(x, one, zero, w[:1], one, zero, one, np.int8(5))
    array([[[127, 127]]], dtype=int8)
    >>> qlinear_conv(x, one, zero, w[:1], one, zero, one, zero, B=np.int32([2**31 - 127]))
    array([[[-128, -128]]], dtype=int8)
    """
    shape = window(
        NAME,
        x,
        w,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    check_linear(
        NAME,
        w.shape[0],
        B,
        x_scale=x_scale,
        x_zero_point=x_zero_point,
        w_scale=w_scale,
        w_zero_point=w_zero_point,
        y_scale=y_scale,
        y_zero_point=y_zero_point,
    )
    # Zero after the zero point is subtracted: padding with x_zero_point.
    centred = pad(subtract32(x, x_zero_point), shape.pads)
    weights = subtract32(w, spread(w_zero_point, w.shape, 0, 0))
    sums = integer_conv(
        centred, weights, strides=shape.strides, dilations=shape.dilations, group=shape.group
    )
    if B is not None:
        sums = sums + spread(B, sums.shape, 1, 0)
    scales = multiply(x_scale, spread(w_scale, sums.shape, 1, 0))
    multiplier = divide(scales, y_scale, np.float32)
    return requantize(accumulate(sums, overflow), multiplier, y_zero_point, y_zero_point.dtype)
