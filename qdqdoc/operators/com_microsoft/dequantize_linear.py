"""Turn codes back into real numbers, as the operator of ai.onnx did before it learned blocks.

onnxruntime's own DequantizeLinear, made for 4 and 16 bits when ai.onnx had 8 and 32 alone. There
is no block size, and ``axis`` has no default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.blockwise import by_blocks
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.layout import spread
from qdqdoc.numerics.rounding import cast, multiply, subtract32
from qdqdoc.registry import Call, Element, Version, operator
from qdqdoc.registry.granularity import (
    CASE_SHAPE,
    check_granularity,
    granularity_rejects,
    granularity_vectors,
    parameter_index,
)
from qdqdoc.registry.linear import code_vectors, product_ties, some_codes

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "DequantizeLinear"

V1 = Version(
    since=1,
    inputs={"x": "T1", "x_scale": "T2", "x_zero_point": "T1"},
    optional=("x_zero_point",),
    outputs={"y": "T2"},
    types={
        "T1": ("int8", "uint8", "int16", "uint16", "int32", "int4", "uint4"),
        "T2": ("float16", "float32"),
    },
    attributes={"axis": None},
)

RULE = Formula(
    "y = T(f32(f32(wrap32(x - z)) * s))",
    symbols={
        "x": "element of `x`",
        "s": "`x_scale` of the tensor or of the element's slice",
        "z": "`x_zero_point` likewise; zero where it is absent",
    },
    types={"T": "type of `y`"},
)

# Searched: this code times this float16 scale is a tie of float16 after it was rounded to
# float32, and none before; so two roundings give another number than one would.
TWICE = ((5533129, 0.00024461746), (2783674, 0.0006518364))


def vectors() -> Iterator[Call]:
    """Yield each corner: every code, every zero point rail, slices, float16, odd scales."""
    yield from code_vectors(V1.types["T1"])
    for kind in V1.types["T1"]:
        inputs = {"x": some_codes(kind), "x_scale": tensor("float16", 0.3)}
        yield Call(name=f"{kind} by float16", inputs=inputs)
    for code, scale in TWICE:
        inputs = {"x": tensor("int32", [code, -code]), "x_scale": tensor("float16", scale)}
        yield Call(name=f"{code} rounded twice", inputs=inputs)
    x = tensor("int8", np.arange(42).reshape(CASE_SHAPE) - 20)
    yield from granularity_vectors(x, "x", "int8", blocks=False)
    one = {"x": x[0, 0, :3], "x_scale": tensor("float32", [0.5]), "x_zero_point": tensor("int8", 3)}
    yield Call(name="a vector of one scale", inputs=one)
    yield Call(name="empty", inputs={"x": x[:, :0], "x_scale": tensor("float32", 0.25)})
    for scale in tensor("float32", [0, np.inf, np.nan, 3e38]):
        yield Call(name=f"scale {scale}", inputs={"x": x[:1, :1], "x_scale": scale})


def ties() -> Iterator[Call]:
    """Yield products on and beside ties, for each pair of types."""
    for kind in V1.types["T1"]:
        for scale in V1.types["T2"]:
            yield product_ties(kind, scale, scale, V1.since)


def rejects() -> Iterator[Call]:
    """Yield shapes that are neither one value nor one for each slice along the axis."""
    x, three = tensor("int8", np.ones(CASE_SHAPE)), tensor("float32", np.ones(3))
    yield from granularity_rejects(x, "x", "int8", blocks=False)
    yield Call(name="3 scales without an axis", inputs={"x": x, "x_scale": three})


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    x, scale = call.inputs["x"], call.inputs["x_scale"]
    zero = call.inputs.get("x_zero_point", tensor("int8", 0))
    at = [parameter_index(index, x.shape, p.shape, call.attributes) for p in (scale, zero)]
    values = {"x": x[index], "s": scale[at[0]], "z": zero[at[1]]}
    return Element(formula=RULE, values=values, types={"T": type_name(scale.dtype)})


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(RULE,),
    cites=("ort-contrib", "onnx-dequantizelinear"),
    vectors=vectors,
    element=element,
    rejects=rejects,
    ties=ties,
)
def dequantize_linear(
    x: Array, x_scale: Array, x_zero_point: Array | None = None, *, axis: int | None = None
) -> Array:
    """Subtract the zero point in int32, multiply by the scale in float32, round to the result.

    Parameters
    ----------
    x
        Codes, any shape: integers of 4 to 32 bits.
    x_scale
        Step of the grid: one value, or a vector along ``axis``; its type is the type of ``y``.
    x_zero_point
        Code of the real number zero, shaped as ``x_scale``, of the type of ``x``.
    axis
        Axis of per-axis scales; negative counts from the back. Without it the scale must be one
        value.

    Returns
    -------
    y
        Real values in the shape of ``x``.

    Raises
    ------
    OperatorError
        For a missing input, a type that is not allowed, an axis outside the rank, or a scale or
        zero point that is neither one value nor one for each slice.

    Notes
    -----
    By the text, ``axis`` must be given for a vector of scales :cite:p:`ort-contrib`. onnxruntime
    takes 1 where it is not.

    Examples
    --------
    The difference does not wrap in the type of the codes, but in int32, and is rounded:

    >>> import numpy as np
    >>> dequantize_linear(np.int16([-32768, 0, 32767]), np.float32(0.5), np.int16(32767))
    array([-32767.5, -16383.5,      0. ], dtype=float32)
    >>> dequantize_linear(np.int32([2**24 + 1, -(2**31)]), np.float32(1), np.int32(1))
    array([1.6777216e+07, 2.1474836e+09], dtype=float32)

    One scale per slice along ``axis``:

    >>> x = np.int8([[1, 2, 3], [1, 2, 3]])
    >>> dequantize_linear(x, np.float32([1, 10]), np.int8([0, 1]), axis=0)
    array([[ 1.,  2.,  3.],
           [ 0., 10., 20.]], dtype=float32)
    >>> dequantize_linear(x, np.float32([1, 10, 100]))
    Traceback (most recent call last):
    ...
    qdqdoc.registry.checks.OperatorError: DequantizeLinear: x_scale: found shape (3,), allowed: \
one value, as axis is not given

    The product is rounded to float32 and then to the type of the scale:

    >>> dequantize_linear(np.int32([2**24 + 1, 7]), np.float16(0.25))
    array([ inf, 1.75], dtype=float16)
    """
    parameters = {"x_scale": x_scale, "x_zero_point": x_zero_point}
    check_granularity(NAME, x, parameters, axis=axis)
    zero = np.zeros((), x.dtype) if x_zero_point is None else x_zero_point

    def rule(x: Array, scale: Array, shift: Array) -> Array:
        return cast(multiply(subtract32(x, shift), scale), x_scale.dtype)

    scale, shift = (spread(p, x.shape, axis or 0, 0) for p in (x_scale, zero))
    return by_blocks(rule, x_scale.dtype, x, scale, shift)
