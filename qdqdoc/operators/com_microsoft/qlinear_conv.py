"""Convolve codes with channels first or last: integer sums, then the grid of the result.

The arithmetic is that of ONNX's QLinearConv: zero points subtracted, an int32 accumulator, one
float32 multiplier per channel, one rounding half to even. New is ``channels_last``: with it ``x``
and ``y`` are (N, spatial..., C), while ``w`` stays (M, C / group, kernel...). onnxruntime puts this
operator into models that it optimizes for processors which read channels together.
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
from qdqdoc.numerics.formats import Array, type_name
from qdqdoc.numerics.layout import pad, spread
from qdqdoc.numerics.products import Overflow, accumulate, integer_conv
from qdqdoc.numerics.rounding import divide, multiply, requantize, subtract32
from qdqdoc.registry import UNWRITTEN, Call, Differs, Element, Version, operator
from qdqdoc.registry.convolution import check_linear, linear_values, summed
from qdqdoc.registry.spatial import flag
from qdqdoc.registry.ties import products
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "QLinearConv"
INT8 = ("int8", "uint8")

V1 = Version(
    since=1,
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
        "channels_last": 0,
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
    """Yield each corner of the convolution twice: channels first, channels last."""
    for call in linear_calls():
        yield call
        yield _last(call)


def _last(call: Call) -> Call:
    """Put the channels of a call last."""
    inputs = {**call.inputs, "x": np.moveaxis(call.inputs["x"], 1, -1)}
    attributes = {**call.attributes, "channels_last": 1}
    return replace(call, name=f"{call.name}, channels last", inputs=inputs, attributes=attributes)


def rejects() -> Iterator[Call]:
    """Yield shapes and attributes that do not fit, and parameters of wrong shapes."""
    call = linear_call(*fill(Geometry(IMAGE, FILTERS, {}), ("int8", "int8")), (1, 1, 1), (0, 0, 0))
    for forbidden in (forbidden_shapes, forbidden_parameters):
        yield from forbidden(call)
        yield from map(_last, forbidden(call))
    yield replace(_last(call), name="channels first, told last", inputs=call.inputs)
    yield replace(call, name="channels last, told first", inputs=_last(call).inputs)
    for value in (-1, 2):
        yield replace(call, name=f"channels_last {value}", attributes={"channels_last": value})


def ties() -> Iterator[Call]:
    """Yield products of codes near ties, channels first and last in turn."""
    calls = products(("x", "w"), ((1, 1, -1), (-1, 1, 1)))()
    for number, call in enumerate(calls):
        yield _last(call) if number % 2 else call


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs, attributes = call.inputs, dict(call.attributes)
    x = inputs["x"]
    if attributes.pop("channels_last", 0):
        x, index = np.moveaxis(x, -1, 1), (index[0], index[-1], *index[1:-1])
    terms = summed(NAME, x, inputs["w"], attributes, index)
    return Element(
        formula=RULE,
        values={**terms, **linear_values(inputs, index[1])},
        sets={"K": [*terms["x"]]},
        types={"T": type_name(inputs["y_zero_point"].dtype)},
    )


DIFFERS = (
    Differs(
        "onnxruntime",
        _last(DILATED),
        None,
        "SAME padding and dilation are not taken together.",
        "No text; ONNX's QLinearConv has ceil(input / stride) positions.",
        is_dilated_same,
    ),
    Differs(
        "onnxruntime",
        _last(EMPTY),
        UNWRITTEN,
        "With no channels to sum, the result is memory that was never written.",
        "No text; a sum of nothing is 0.",
        sums_nothing,
    ),
    Differs(
        "onnxruntime",
        _last(PAIRS),
        (101,),
        "Pairs of products are added in int16, which saturates: 32767 for 64770.",
        "No text; ONNX's QLinearConv has an accumulator of 32 bits.",
        adds_pairs,
        processor="saturating",
    ),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(RULE,),
    cites=("ort-contrib", "onnx-qlinearconv", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=ties,
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
    channels_last: int = 0,
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
        Codes (N, C, D1, ..., Dn), or (N, D1, ..., Dn, C) with ``channels_last``.
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
    channels_last
        1 if the channels of ``x`` and ``y`` are their last axis.
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
        Codes (N, M, outputs...), or (N, outputs..., M) with ``channels_last``.

    Raises
    ------
    OperatorError
        For a missing input, a type that ONNX does not allow, or shapes that do not fit.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Examples
    --------
    Two pixels of three channels each, and two filters, channels first and last:

    >>> import numpy as np
    >>> one, zero = np.float32(1), np.int8(0)
    >>> x, w = np.int8([[[1, 4], [2, 5], [3, 6]]]), np.int8([[[1], [0], [0]], [[0], [0], [9]]])
    >>> qlinear_conv(x, one, zero, w, one, zero, one, zero)
    array([[[ 1,  4],
            [27, 54]]], dtype=int8)
    >>> last = np.int8([[[1, 2, 3], [4, 5, 6]]])
    >>> qlinear_conv(last, one, zero, w, one, zero, one, zero, channels_last=1)
    array([[[ 1, 27],
            [ 4, 54]]], dtype=int8)

    Odd sums of halves are ties; they go to the even neighbour before the zero point is added:

    >>> x, unit = np.int8([[[1], [3], [5], [-1]]]), np.int8([[[1]]])
    >>> qlinear_conv(x, np.float32(0.5), zero, unit, one, zero, one, np.int8(1),
    ...              channels_last=1).ravel()
    array([1, 3, 3, 1], dtype=int8)

    Padding holds the zero point of ``x``; the scale and the bias belong to output channels:

    >>> qlinear_conv(x, one, np.int8(1), w[:, :1], np.float32([1, 2]), zero, one, zero,
    ...              np.int32([0, 10]), pads=[1, 0], channels_last=1)
    array([[[ 0, 20],
            [ 0, 20],
            [ 2, 20],
            [ 4, 20],
            [-2, 20]]], dtype=int8)

    Sums beyond the rails stay on them, sums beyond the accumulator wrap:

    >>> x = np.int8([[[127]]])
    >>> qlinear_conv(x, one, zero, unit, one, zero, one, np.int8(5), channels_last=1)
    array([[[127]]], dtype=int8)
    >>> qlinear_conv(x, one, zero, unit, one, zero, one, zero, B=np.int32([2**31 - 127]))
    array([[[-128]]], dtype=int8)
    """
    flag(NAME, "channels_last", channels_last)
    if channels_last:
        x = np.moveaxis(x, -1, 1)
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
    y = requantize(accumulate(sums, overflow), multiplier, y_zero_point, y_zero_point.dtype)
    return np.moveaxis(y, 1, -1) if channels_last else y
