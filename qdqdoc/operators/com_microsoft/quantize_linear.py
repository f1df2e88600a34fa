"""Turn real numbers into codes, as the operator of ai.onnx did before it learned blocks.

onnxruntime's own QuantizeLinear, made for 4 and 16 bits when ai.onnx had 8 alone. The division
is always made in float32. There is no block size, and ``axis`` has no default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.blockwise import by_blocks
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.layout import spread
from qdqdoc.numerics.rounding import divide, round_to_grid
from qdqdoc.registry import Call, Element, Version, operator
from qdqdoc.registry.granularity import (
    CASE_SHAPE,
    check_granularity,
    granularity_rejects,
    parameter_index,
)
from qdqdoc.registry.linear import layout_vectors, quotient, quotient_vectors
from qdqdoc.registry.ties import quotients

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "QuantizeLinear"

V1 = Version(
    since=1,
    inputs={"x": "T1", "y_scale": "T1", "y_zero_point": "T2"},
    optional=("y_zero_point",),
    outputs={"y": "T2"},
    types={
        "T1": ("float16", "float32"),
        "T2": ("int8", "uint8", "int16", "uint16", "int4", "uint4"),
    },
    attributes={"axis": None},
)

RULE = Formula(
    "y = saturate(rint(f32(x / s)) + z)",
    symbols={
        "x": "element of `x`",
        "s": "`y_scale` of the tensor or of the element's slice",
        "z": "`y_zero_point` likewise; zero where it is absent",
    },
    types={"T": "type of `y`"},
)


def vectors() -> Iterator[Call]:
    """Yield each corner: ties, rails, slices, float16, infinities and NaN."""
    yield from quotient_vectors(V1.types["T2"])
    yield from layout_vectors(blocks=False)
    x, scale = tensor("float16", np.arange(-1000, 1000, 31)), tensor("float16", 0.3)
    for kind in ("uint16", "int8"):
        yield quotient(f"float16 to {kind}", x, scale, tensor(kind, 100))


def ties() -> Iterator[Call]:
    """Yield quotients on and beside ties, for each type."""
    for kind in V1.types["T2"]:
        for float_type in V1.types["T1"]:
            yield from quotients(kind, float_type, V1.since)


def rejects() -> Iterator[Call]:
    """Yield shapes that are neither one value nor one for each slice along the axis."""
    x = np.ones(CASE_SHAPE, np.float32)
    yield from granularity_rejects(x, "y", "int8", blocks=False)
    zeros, three = tensor("int8", np.zeros(3)), tensor("float32", np.ones(3))
    yield quotient("3 scales without an axis", x, three, zeros)


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    x, scale = call.inputs["x"], call.inputs["y_scale"]
    zero = call.inputs.get("y_zero_point", tensor("uint8", 0))
    at = [parameter_index(index, x.shape, p.shape, call.attributes) for p in (scale, zero)]
    values = {"x": x[index], "s": scale[at[0]], "z": zero[at[1]]}
    return Element(formula=RULE, values=values, types={"T": type_name(zero.dtype)})


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(RULE,),
    cites=("ort-contrib", "onnx-quantizelinear"),
    vectors=vectors,
    element=element,
    rejects=rejects,
    ties=ties,
)
def quantize_linear(
    x: Array, y_scale: Array, y_zero_point: Array | None = None, *, axis: int | None = None
) -> Array:
    """Divide in float32, round half to even, add the zero point, clip.

    Parameters
    ----------
    x
        Real values, any shape: float32 or float16.
    y_scale
        Step of the grid, of the type of ``x``: one value, or a vector along ``axis``.
    y_zero_point
        Code of the real number zero, shaped as ``y_scale``; its type is the type of ``y``, which
        is uint8 without it.
    axis
        Axis of per-axis scales; negative counts from the back. Without it the scale must be one
        value.

    Returns
    -------
    y
        Codes in the shape of ``x``.

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
    Ties go to the even neighbour, the zero point is added after rounding, and rails hold:

    >>> import numpy as np
    >>> quantize_linear(np.float32([0.5, 1.5, 2.5, -1e9, np.nan]), np.float32(1), np.int16(1))
    array([     1,      3,      3, -32768, -32768], dtype=int16)

    One scale per slice along ``axis``:

    >>> x = np.float32([[3, 3, 3], [5, 5, 5]])
    >>> quantize_linear(x, np.float32([1, 2]), axis=0)
    array([[3, 3, 3],
           [2, 2, 2]], dtype=uint8)
    >>> quantize_linear(x, np.float32([1, 2, 3]))
    Traceback (most recent call last):
    ...
    qdqdoc.registry.checks.OperatorError: QuantizeLinear: y_scale: found shape (3,), allowed: one \
value, as axis is not given

    A float16 quotient is taken in float32, unlike in ai.onnx from opset 23:

    >>> quantize_linear(np.float16([1000]), np.float16(0.3), np.uint16(0))
    array([3333], dtype=uint16)
    """
    parameters = {"y_scale": y_scale, "y_zero_point": y_zero_point}
    check_granularity(NAME, x, parameters, axis=axis)
    zero = np.zeros((), np.uint8) if y_zero_point is None else y_zero_point

    def rule(x: Array, scale: Array, shift: Array) -> Array:
        return round_to_grid(divide(x, scale, np.float32), shift, zero.dtype)

    scale, shift = (spread(p, x.shape, axis or 0, 0) for p in (y_scale, zero))
    return by_blocks(rule, zero.dtype, x, scale, shift)
