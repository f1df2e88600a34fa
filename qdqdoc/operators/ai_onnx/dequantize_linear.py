"""Turn codes back into real numbers: subtract the zero point, multiply by the scale.

The difference of integer codes is exact (in their own type two of 8 bits would overflow; int32
wraps), that of float codes is rounded to float32. So is the product, and then to the type of the
result.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.blockwise import by_blocks
from qdqdoc.numerics.formats import DTYPES, ONNX_TYPE, Array, is_integer, tensor, type_name
from qdqdoc.numerics.layout import spread
from qdqdoc.numerics.rounding import cast, f32, multiply, subtract32
from qdqdoc.registry import (
    NEWEST_OPSET,
    PEERS,
    Call,
    Differs,
    Element,
    Version,
    operator,
    refuse,
)
from qdqdoc.registry.granularity import (
    CASE_SHAPE,
    check_granularity,
    granularity_rejects,
    granularity_vectors,
    parameter_index,
)
from qdqdoc.registry.linear import code_vectors, product_ties, some_codes, type_by_number

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "DequantizeLinear"
FLOAT8 = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")
RESULTS = ("float32", "float16", "bfloat16")

V10 = Version(
    since=10,
    inputs={"x": "T", "x_scale": "float32", "x_zero_point": "T"},
    optional=("x_zero_point",),
    outputs={"y": "float32"},
    types={"T": ("int8", "uint8", "int32")},
)
V13 = replace(V10, since=13, attributes={"axis": 1})
V19 = replace(
    V13,
    since=19,
    inputs={"x": "T1", "x_scale": "T2", "x_zero_point": "T1"},
    outputs={"y": "T2"},
    types={"T1": ("int8", "uint8", "int32", *FLOAT8), "T2": RESULTS},
)
V21 = replace(
    V19,
    since=21,
    types={"T1": (*V19.types["T1"], "int16", "uint16", "int4", "uint4"), "T2": RESULTS},
    attributes={"axis": 1, "block_size": 0},
)
V23 = replace(
    V21,
    since=23,
    outputs={"y": "T3"},
    types={"T1": (*V21.types["T1"], "float4e2m1"), "T2": RESULTS, "T3": RESULTS},
    attributes={"axis": 1, "block_size": 0, "output_dtype": 0},
)
V24 = replace(V23, since=24, types={**V23.types, "T2": (*RESULTS, "float8e8m0")})
V25 = replace(V24, since=25, types={**V24.types, "T1": (*V24.types["T1"], "int2", "uint2")})
V28 = replace(
    V25, since=28, types={**V25.types, "T1": (*V25.types["T1"], "float6e2m3", "float6e3m2")}
)
VERSIONS = (V10, V13, V19, V21, V23, V24, V25, V28)

SYMBOLS = {
    "x": "element of `x`",
    "s": "`x_scale` of the element's tensor, slice or block",
    "z": "`x_zero_point` likewise; zero where it is absent",
}
TYPES = {"T": "type of `y`"}

FROM_INTEGER = Formula(
    "y = T(f32(f32(wrap32(x - z)) * s))",
    symbols=SYMBOLS,
    types=TYPES,
    name="integers",
    when="`x` holds integers",
)
FROM_FLOAT = Formula(
    "y = T(f32(f32(x - z) * s))",
    symbols=SYMBOLS,
    types=TYPES,
    name="floats",
    when="`x` holds floats of eight bits or less",
)


# Searched: 3 times the scale is a tie of the result's type after it was rounded to float32, and
# none before; so two roundings give another number than one would.
TWICE = {"float16": 0.3347982, "bfloat16": 0.3424479}
# Likewise: this times a difference that does not fit into float32.
WIDE = {"x": 57344, "x_zero_point": 3 * 2**-16, "x_scale": 0.9653628}


def vectors() -> Iterator[Call]:
    """Yield each corner: every code, every zero point rail, granularities, result types."""
    yield from code_vectors(V28.types["T1"])
    for kind in V28.types["T1"]:
        for result in RESULTS:
            yield from _result_vectors(kind, result)
    for kind, (result, scale) in product(("int8", "float8e5m2", "float4e2m1"), TWICE.items()):
        inputs = {"x": tensor(kind, [3, -3]), "x_scale": tensor("float32", scale)}
        attributes = {"output_dtype": ONNX_TYPE[result]}
        yield Call(name=f"{kind} rounded twice to {result}", inputs=inputs, attributes=attributes)
    wide = {k: tensor("float32" if k == "x_scale" else "float8e5m2", v) for k, v in WIDE.items()}
    yield Call(name="a wide difference", inputs=wide)
    x = tensor("int8", np.arange(42).reshape(CASE_SHAPE) - 20)
    yield from granularity_vectors(x, "x", "int8")
    one = {"x": x[0, 0, :3], "x_scale": tensor("float32", [0.5]), "x_zero_point": tensor("int8", 3)}
    yield Call(name="a vector of one scale", inputs=one, opset=10)
    three = {"x": x, "x_scale": tensor("float32", [1, 2, 3])}
    yield Call(name="3 scales at opset 13", inputs=three, opset=13)
    yield Call(name="empty", inputs={"x": x[:, :0], "x_scale": tensor("float32", 0.25)})
    for scale in tensor("float32", [0, np.inf, np.nan, 3e38]):
        yield Call(name=f"scale {scale}", inputs={"x": x[:1, :1], "x_scale": scale})


def _result_vectors(kind: str, result: str) -> Iterator[Call]:
    codes, attributes = some_codes(kind), {"output_dtype": ONNX_TYPE[result]}
    for scale in RESULTS:
        inputs = {"x": codes, "x_scale": tensor(scale, 0.3)}
        yield Call(name=f"{kind} by {scale} to {result}", inputs=inputs, attributes=attributes)
    inputs = {"x": codes, "x_scale": tensor("float8e8m0", 4)}
    yield Call(name=f"{kind} by float8e8m0 to {result}", inputs=inputs, attributes=attributes)


def ties() -> Iterator[Call]:
    """Yield products on and beside ties of the result, for each version and its types."""
    for version in VERSIONS[1:-1]:
        pairs = [(kind, kind) for kind in RESULTS if kind in version.allowed("x_scale")]
        if version.since >= V23.since:
            pairs += [("float32", result) for result in TWICE]
        for kind, (scale, result) in product(version.allowed("x"), pairs):
            yield product_ties(kind, scale, result, version.since)


def rejects() -> Iterator[Call]:
    """Yield shapes that fit no granularity, and types that cannot be asked for."""
    yield from granularity_rejects(tensor("int8", np.ones(CASE_SHAPE)), "x", "int8")
    x, three = tensor("int8", [1, 2, 3]), np.ones(3, np.float32)
    yield Call(name="3 scales at opset 10", inputs={"x": x, "x_scale": three}, opset=10)
    yield Call(name="float8e8m0", inputs={"x": x, "x_scale": tensor("float8e8m0", 1)})
    for number in (ONNX_TYPE["int8"], 99):
        inputs, attributes = {"x": x, "x_scale": tensor("float32", 1)}, {"output_dtype": number}
        yield Call(name=f"output_dtype {number}", inputs=inputs, attributes=attributes)


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    x, scale = call.inputs["x"], call.inputs["x_scale"]
    zero = call.inputs.get("x_zero_point")
    values = {
        "x": x[index],
        "s": scale[parameter_index(index, x.shape, scale.shape, call.attributes)],
        "z": 0,
    }
    if zero is not None:
        values["z"] = zero[parameter_index(index, x.shape, zero.shape, call.attributes)]
    result = _result(scale, call.attributes.get("output_dtype", 0))
    formula = FROM_INTEGER if is_integer(x.dtype) else FROM_FLOAT
    return Element(formula=formula, values=values, types={"T": result})


def _result(x_scale: Array, output_dtype: int) -> str:
    named = type_by_number(NAME, "output_dtype", output_dtype, RESULTS)
    kind = type_name(x_scale.dtype)
    if not named and kind not in RESULTS:
        refuse(NAME, "output_dtype", f"0 with a scale of {kind}", " or ".join(RESULTS))
    return named or kind


_ZERO = "float8 zero point"
_SHIFTED = {"x": tensor("float8e4m3fn", [3]), "x_scale": tensor("float32", 1)}
_SHIFTED["x_zero_point"] = tensor("float8e4m3fn", 1)
_OLD = {"x": tensor("int8", [3]), "x_scale": tensor("float32", 1)}
_WHOLE = {"x": tensor("int32", [2**24 + 1]), "x_scale": tensor("float32", 1)}
_WHOLE["x_zero_point"] = tensor("int32", 1)


def _has_zero_point(call: Call) -> bool:
    zero = call.inputs.get("x_zero_point")
    return zero is not None and not is_integer(zero.dtype) and bool(zero.astype(np.float64).any())


DIFFERS = (
    Differs(
        "onnx",
        Call(name="before opset 19", inputs=_OLD, opset=13),
        None,
        "There is no implementation below opset 19.",
        "Defined since opset 10.",
    ),
    Differs(
        "onnx",
        Call(name="int32 zero point", inputs=_WHOLE, opset=21),
        (2**24 - 1,),
        "The code is rounded to float32 before the zero point is subtracted.",
        "The zero point of int32 codes is supposed to be 0.",
    ),
    *(
        Differs(
            peer,
            Call(name=_ZERO, inputs=_SHIFTED, opset=21),
            None,
            "A float8 zero point must be 0.",
            "Not usually used, but the formula is the same: it is subtracted.",
            _has_zero_point,
        )
        for peer in PEERS
    ),
)


@operator(
    name=NAME,
    versions=VERSIONS,
    formulas=(FROM_INTEGER, FROM_FLOAT),
    cites=("onnx-dequantizelinear", "onnx-float8", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=ties,
)
def dequantize_linear(
    x: Array,
    x_scale: Array,
    x_zero_point: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    opset: int = NEWEST_OPSET,
) -> Array:
    """Subtract the zero point in int32, multiply by the scale in float32, round to the result.

    Parameters
    ----------
    x
        Codes, any shape: integers of 2 to 32 bits, or floats of eight bits or less.
    x_scale
        Step of the grid: one value, a vector along ``axis``, or one value per block.
    x_zero_point
        Code of the real number zero, shaped as ``x_scale``, of the type of ``x``.
    axis
        Axis of per-axis and blocked scales; negative counts from the back.
    block_size
        How many neighbours along ``axis`` share a scale; 0 where scales are not blocked.
    output_dtype
        Type of ``y`` as a number of ``TensorProto.DataType``; 0 takes the type of ``x_scale``.
    opset
        Version of the operator set that the model imports.

    Returns
    -------
    y
        Real values in the shape of ``x``.

    Raises
    ------
    OperatorError
        For a missing input, a type that this version does not allow, an axis outside the rank,
        or a scale or zero point whose shape fits no granularity.

    Notes
    -----
    For int32 codes ONNX asks for a zero point of 0 :cite:p:`onnx-dequantizelinear`; with another
    one the difference wraps, as it does in onnxruntime.

    Examples
    --------
    The difference does not wrap in the type of the codes:

    >>> import numpy as np
    >>> dequantize_linear(np.int8([-128, 0, 127]), np.float32(0.5), np.int8(127))
    array([-127.5,  -63.5,    0. ], dtype=float32)

    One scale per slice along ``axis``, or per block of neighbours:

    >>> x = np.int8([[1, 2, 3], [1, 2, 3]])
    >>> dequantize_linear(x, np.float32([1, 10]), np.int8([0, 1]), axis=0)
    array([[ 1.,  2.,  3.],
           [ 0., 10., 20.]], dtype=float32)
    >>> dequantize_linear(x, np.float32([[1, 2], [10, 20]]), axis=1, block_size=2)
    array([[ 1.,  2.,  6.],
           [10., 20., 60.]], dtype=float32)

    The type of the scale is the type of the result:

    >>> dequantize_linear(np.int32([2**24 + 1, 7]), np.float16(0.25))
    array([ inf, 1.75], dtype=float16)
    """
    result = _result(x_scale, output_dtype)
    if opset < V13.since and x_scale.size != 1:
        refuse(NAME, "x_scale", f"shape {x_scale.shape}", "one value before opset 13")
    parameters = {"x_scale": x_scale, "x_zero_point": x_zero_point}
    check_granularity(NAME, x, parameters, axis=axis, block_size=block_size)
    zero = np.zeros((), x.dtype) if x_zero_point is None else x_zero_point

    def rule(x: Array, scale: Array, shift: Array) -> Array:
        # Of codes up to 16 bits the difference is exact in float32; that of int32 wraps.
        difference = subtract32(x, shift) if x.dtype == np.int32 else f32(x) - shift
        return cast(multiply(difference, scale), DTYPES[result])

    scale, shift = (spread(p, x.shape, axis, block_size) for p in (x_scale, zero))
    return by_blocks(rule, DTYPES[result], x, scale, shift)
