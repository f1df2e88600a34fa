"""Convolve codes without scales: sum products of integers over a window, exactly, in int32.

It is the first stage of QLinearConv, and all of it is integer arithmetic: both zero points are
subtracted, products are summed, and a sum that leaves int32 wraps. Padding holds the zero point
of ``x``, so it adds nothing. What the sums mean is for the scales to say, and those are elsewhere
in the model.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.convolution import (
    FILTERS,
    IMAGE,
    Geometry,
    fill,
    forbidden_shapes,
    geometries,
    is_dilated_same,
    sums_nothing,
)
from qdqdoc.calls.pairs import integer_adds_pairs
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.numerics.layout import pad, spread
from qdqdoc.numerics.products import Overflow, accumulate, integer_conv
from qdqdoc.numerics.rounding import subtract32
from qdqdoc.registry import UNWRITTEN, Call, Differs, Element, Version, operator
from qdqdoc.registry.convolution import check_per_filter, of_filter, summed
from qdqdoc.registry.values import expect_one_value
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAME = "ConvInteger"
INT8 = ("int8", "uint8")

V10 = Version(
    since=10,
    inputs={"x": "T1", "w": "T2", "x_zero_point": "T1", "w_zero_point": "T2"},
    optional=("x_zero_point", "w_zero_point"),
    outputs={"y": "T3"},
    types={"T1": INT8, "T2": INT8, "T3": ("int32",)},
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
    "y = wrap32(sum((x[k] - z_x) * (w[k] - z_w) for k in K))",
    symbols={
        "x": "`x` under the window",
        "w": "`w` of the output channel",
        "z_x": "`x_zero_point`; zero where it is absent",
        "z_w": "`w_zero_point` of the tensor or the output channel; zero where it is absent",
    },
    sets={"K": "input channels of the group and window positions inside the image"},
    name="integer convolution",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: signs, zero points, padding, groups, ranks, sums that wrap."""
    row = {
        "x": tensor("uint8", [[[1, 2, 3, 255]]]),
        "w": tensor("int8", [[[5, -128]]]),
        "x_zero_point": tensor("uint8", 2),
        "w_zero_point": tensor("int8", 3),
    }
    yield _call("a row", row, dilations=[2])
    for kinds in product(INT8, repeat=2):
        x, w = fill(Geometry((1, 2, 4, 5), (3, 2, 2, 3), {}), kinds)
        first, second = np.array(101, x.dtype), np.array(77, w.dtype)
        points: dict[str, Mapping[str, Array]] = {
            "no zero points": {},
            "both zero points": {"x_zero_point": first, "w_zero_point": second},
            "zero point of x": {"x_zero_point": first},
            "zero point of w": {"w_zero_point": second},
            "as vectors of one": {"x_zero_point": first[None], "w_zero_point": second[None]},
            "per filter": {"w_zero_point": np.array([0, 7, 120], w.dtype)},
        }
        for name, given in points.items():
            inputs = {"x": x, "w": w, **given}
            yield _call(f"{kinds[0]} by {kinds[1]}, {name}", inputs, pads=[1, 0, 1, 2])
    for name, geometry in geometries():
        x, w = fill(geometry, ("uint8", "int8"))
        inputs = {"x": x, "w": w, "x_zero_point": tensor("uint8", 119)}
        yield _call(name, inputs, **geometry.attributes)
    for rank in (1, 3):
        shapes = (1, 2, *(4, 3, 3)[:rank]), (2, 2, *(2, 2, 1)[:rank])
        x, w = fill(Geometry(*shapes, {}), ("int8", "int8"))
        each = {"w_zero_point": tensor("int8", [-3, 100])}
        yield _call(f"per filter, {rank} spatial axes", {"x": x, "w": w, **each})
    yield from _long_sums()
    # So large that integer_conv takes it in parts.
    x, w = fill(Geometry((1, 1, 300, 225), (2, 1, 1, 1), {}), ("int8", "int8"))
    yield _call("a large image", {"x": x, "w": w})


def _long_sums() -> Iterator[Call]:
    """Yield sums beyond what float32 holds, and beyond int32."""
    for count in (301, 34000):
        x, w = np.full((1, count, 1, 2), 255, np.uint8), np.full((1, count, 1, 1), 255, np.uint8)
        x[0, ::3, 0, 1] = 254
        yield _call(f"{count} products", {"x": x, "w": w})
    x, w = np.full((1, 34000, 1), 128, np.uint8), np.full((1, 34000, 1), -128, np.int8)
    first, second = tensor("uint8", 255), tensor("int8", 127)
    yield _call("wraps with the zero point of x", {"x": x, "w": w, "x_zero_point": first})
    both = {"x_zero_point": first, "w_zero_point": second}
    yield _call("wraps with both zero points", {"x": x - 128, "w": w, **both})


def _call(name: str, inputs: Mapping[str, Array], **attributes: object) -> Call:
    return Call(name=name, inputs=inputs, attributes=attributes, opset=10)


def rejects() -> Iterator[Call]:
    """Yield shapes and attributes that do not fit, and zero points of wrong shapes."""
    x, w = fill(Geometry(IMAGE, FILTERS, {}), ("int8", "int8"))
    call = _call("", {"x": x, "w": w})
    yield from forbidden_shapes(call)
    points: dict[str, Mapping[str, Array]] = {
        "x_zero_point for each channel": {"x_zero_point": np.zeros(4, np.int8)},
        "x_zero_point of rank 2": {"x_zero_point": np.zeros((1, 1), np.int8)},
        "w_zero_point for each channel": {"w_zero_point": np.zeros(4, np.int8)},
        "w_zero_point of rank 2": {"w_zero_point": np.zeros((6, 1), np.int8)},
    }
    for name, given in points.items():
        yield replace(call, name=name, inputs={**call.inputs, **given})


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = call.inputs
    terms = summed(NAME, inputs["x"], inputs["w"], call.attributes, index)
    points = {f"z_{k}": of_filter(inputs.get(f"{k}_zero_point"), index[1]) for k in "xw"}
    return Element(formula=RULE, values={**terms, **points}, sets={"K": [*terms["x"]]})


_ROW = tensor("int8", [[[1, 2, 3, 4]]])
_PER_FILTER = _call(
    "a zero point per filter",
    {
        "x": _ROW,
        "w": tensor("int8", [[[1]], [[1]]]),
        "w_zero_point": tensor("int8", [0, 2]),
    },
)
_DILATED = _call(
    "SAME_UPPER and dilated",
    {"x": _ROW, "w": tensor("int8", [[[1, 1]]])},
    auto_pad="SAME_UPPER",
    dilations=[2],
)
_EMPTY = _call("nothing to sum", {"x": _ROW[:, :0], "w": tensor("int8", [[[1]]])[:, :0]})

_CUBES = _call(
    "a zero point per filter, 3-D",
    {
        "x": tensor("int8", [1, 2]).reshape(1, 2, 1, 1, 1),
        "w": tensor("int8", [[1, 1], [1, 1]]).reshape(2, 2, 1, 1, 1),
        "w_zero_point": tensor("int8", [0, 2]),
    },
)
_PAIRS = _call(
    "two products beyond int16",
    {"x": tensor("int8", [[[127], [127]]]), "w": tensor("uint8", [[[255], [255]]])},
)

DIFFERS = (
    Differs(
        "onnx",
        _PER_FILTER,
        None,
        "With one spatial dimension a zero point for each filter is refused.",
        "w_zero_point may have one value per output channel, whatever the rank.",
    ),
    Differs(
        "onnx",
        _CUBES,
        (-1, -1),
        "With three, a zero point for each filter is subtracted along the input channels.",
        "w_zero_point may have one value per output channel, whatever the rank.",
    ),
    Differs(
        "onnxruntime",
        _PER_FILTER,
        None,
        "A zero point for each filter is refused.",
        "w_zero_point may have one value per output channel.",
        lambda call: call.inputs.get("w_zero_point", _ROW[0, 0, 0]).size > 1,
    ),
    Differs(
        "onnxruntime",
        _DILATED,
        None,
        "SAME padding and dilation are not taken together.",
        "The output has ceil(input / stride) positions.",
        is_dilated_same,
    ),
    Differs(
        "onnxruntime",
        _EMPTY,
        UNWRITTEN,
        "With no channels to sum, the result is memory that was never written.",
        "A sum of nothing is 0.",
        sums_nothing,
    ),
    Differs(
        "onnxruntime",
        _PAIRS,
        (32767,),
        "Pairs of products of int8 in x and uint8 in w are added in int16, which saturates.",
        "The accumulation may overflow if and only if in 32 bits.",
        integer_adds_pairs,
        processor="saturating",
    ),
)


@operator(
    name=NAME,
    versions=(V10,),
    formulas=(RULE,),
    cites=("onnx-convinteger", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
)
def conv_integer(
    x: Array,
    w: Array,
    x_zero_point: Array | None = None,
    w_zero_point: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    overflow: Overflow = "wrap",
) -> Array:
    """Sum products of codes in int32.

    Parameters
    ----------
    x
        Codes (N, C, D1, ..., Dn).
    w
        Codes (M, C / group, k1, ..., kn).
    x_zero_point
        One value; 0 if left out.
    w_zero_point
        One value, or M values: one per output channel; 0 if left out.
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
        Sums (N, M, outputs...) in int32.

    Raises
    ------
    OperatorError
        For a missing input, a type that ONNX does not allow, or shapes that do not fit.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Examples
    --------
    Both zero points are subtracted before the product:

    >>> import numpy as np
    >>> x, w = np.uint8([[[10, 11, 12, 13]]]), np.int8([[[1, 2]]])
    >>> conv_integer(x, w, np.uint8(10), np.int8(-1))
    array([[[ 3,  8, 13]]], dtype=int32)

    Padding holds the zero point of ``x``, so it adds nothing; codes of 0 would:

    >>> conv_integer(x, w, np.uint8(10), pads=[1, 0])
    array([[[0, 2, 5, 8]]], dtype=int32)
    >>> conv_integer(x, w, pads=[1, 0])
    array([[[20, 32, 35, 38]]], dtype=int32)

    An odd padding of ``SAME_UPPER`` goes to the end, of ``SAME_LOWER`` to the beginning:

    >>> conv_integer(x, w, auto_pad="SAME_UPPER")
    array([[[32, 35, 38, 13]]], dtype=int32)
    >>> conv_integer(x, w, auto_pad="SAME_LOWER")
    array([[[20, 32, 35, 38]]], dtype=int32)

    Dilation spreads the window; the padding grows with it:

    >>> conv_integer(x, w, auto_pad="SAME_UPPER", strides=[3], dilations=[2])
    array([[[22, 12]]], dtype=int32)

    A group sees its own channels; each filter may have a zero point:

    >>> x, w = np.int8([[[1, 2], [3, 4]]]), np.int8([[[5]], [[5]]])
    >>> conv_integer(x, w, w_zero_point=np.int8([0, 4]), group=2)
    array([[[ 5, 10],
            [ 3,  4]]], dtype=int32)

    The accumulator has 32 bits and wraps:

    >>> x, w = np.full((1, 33026, 1), 255, np.uint8), np.full((1, 33026, 1), 255, np.uint8)
    >>> conv_integer(x, w), 33026 * 255**2
    (array([[[-2147451646]]], dtype=int32), 2147515650)
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
    expect_one_value(NAME, x_zero_point=x_zero_point)
    check_per_filter(NAME, w.shape[0], w_zero_point=w_zero_point)
    if x_zero_point is not None:
        x = subtract32(x, x_zero_point)
    if w_zero_point is not None:
        w = subtract32(w, spread(w_zero_point, w.shape, 0, 0))
    # Zero now that the zero point is subtracted: padding with x_zero_point.
    padded = pad(x, shape.pads)
    sums = integer_conv(
        padded, w, strides=shape.strides, dilations=shape.dilations, group=shape.group
    )
    return accumulate(sums, overflow)
