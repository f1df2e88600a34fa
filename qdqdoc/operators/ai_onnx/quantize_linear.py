"""Turn real numbers into codes: divide by the scale, round, add the zero point, stay on the rails.

The quotient is rounded twice: once by the division, to the compute type *C*, and once to the
grid. *C* is float32 up to opset 21; from opset 23 it is ``precision`` where that is given, else
the type of ``y_scale`` (float32 for an int32 or float8e8m0 scale, types in which nobody divides).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.blockwise import by_blocks
from qdqdoc.numerics.formats import DTYPES, ONNX_TYPE, Array, is_integer, tensor, type_name
from qdqdoc.numerics.layout import spread
from qdqdoc.numerics.rounding import cast, divide, f32, round_to_grid, saturate_float
from qdqdoc.registry import (
    NEWEST_OPSET,
    Call,
    Differs,
    Element,
    Version,
    operator,
    pick,
    refuse,
)
from qdqdoc.registry.granularity import (
    CASE_SHAPE,
    check_granularity,
    granularity_rejects,
    parameter_index,
)
from qdqdoc.registry.linear import (
    DIVISIONS,
    division_vectors,
    layout_vectors,
    middle_vectors,
    quotient,
    quotient_vectors,
    rail_vectors,
    type_by_number,
)
from qdqdoc.registry.ties import quotients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "QuantizeLinear"
FLOATS = ("float32", "float16", "bfloat16", "int32")
FLOAT8 = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")

V10 = Version(
    since=10,
    inputs={"x": "T1", "y_scale": "float32", "y_zero_point": "T2"},
    optional=("y_zero_point",),
    outputs={"y": "T2"},
    types={"T1": ("float32", "int32"), "T2": ("int8", "uint8")},
)
V13 = replace(V10, since=13, attributes={"axis": 1})
V19 = replace(
    V13,
    since=19,
    inputs={"x": "T1", "y_scale": "T1", "y_zero_point": "T2"},
    types={"T1": FLOATS, "T2": ("int8", "uint8", *FLOAT8)},
    attributes={"axis": 1, "saturate": 1},
)
V21 = replace(
    V19,
    since=21,
    types={"T1": FLOATS, "T2": (*V19.types["T2"], "int16", "uint16", "int4", "uint4")},
    attributes={"axis": 1, "saturate": 1, "block_size": 0, "output_dtype": 0},
)
V23 = replace(
    V21,
    since=23,
    inputs={"x": "T1", "y_scale": "T2", "y_zero_point": "T3"},
    outputs={"y": "T3"},
    types={"T1": FLOATS, "T2": FLOATS, "T3": (*V21.types["T2"], "float4e2m1")},
    attributes={**V21.attributes, "precision": 0},
)
V24 = replace(V23, since=24, types={**V23.types, "T2": (*FLOATS, "float8e8m0")})
V25 = replace(V24, since=25, types={**V24.types, "T3": (*V24.types["T3"], "int2", "uint2")})
V28 = replace(
    V25, since=28, types={**V25.types, "T3": (*V25.types["T3"], "float6e2m3", "float6e3m2")}
)
VERSIONS = (V10, V13, V19, V21, V23, V24, V25, V28)

SYMBOLS = {
    "x": "element of `x`",
    "s": "`y_scale` of the element's tensor, slice or block",
    "z": "`y_zero_point` likewise; zero where it is absent",
}
TYPES = {"C": "type of the division", "T": "type of `y`"}

_rule = partial(Formula, symbols=SYMBOLS, types=TYPES)
TO_INTEGER = _rule(
    "y = saturate(rint(C(C(x) / C(s))) + z)", name="integers", when="`y` holds integers"
)
TO_FLOAT = _rule(
    "v = f32(C(C(x) / C(s)) + z)\ny = T(clip(v, lowest(T), highest(T)))",
    name="floats",
    when="`y` holds floats that saturate: float8 with `saturate` 1, float4, float6",
)
TO_FLOAT8_OPEN = _rule(
    "y = T(f32(C(C(x) / C(s)) + z))",
    name="floats, not saturated",
    when="`y` holds float8 and `saturate` is 0: what is too large becomes infinite or NaN",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: ties, rails, granularities, compute types, infinities and NaN."""
    yield from quotient_vectors(kind for kind in V25.types["T3"] if is_integer(DTYPES[kind]))
    for kind in V28.types["T3"]:
        if not is_integer(DTYPES[kind]):
            yield from rail_vectors(kind)
            yield from middle_vectors(kind)
    yield from layout_vectors()
    x, three = np.full(CASE_SHAPE, 6, np.float32), tensor("float32", [1, 2, 3])
    yield quotient("3 scales at opset 13", x, three, tensor("int8", [0, 1, 2]), 13)
    yield from division_vectors()
    almost, half_one = tensor("float8e4m3fn", 2**-9), tensor("float16", 1)
    yield quotient("beside a tie by its zero point", tensor("float16", [17]), half_one, almost)


def ties() -> Iterator[Call]:
    """Yield quotients on and beside ties, for each division; and a sweep of all floats."""
    for opset in (10, 19, 21, 25):
        for kind in pick(VERSIONS, opset).allowed("y"):
            for float_type in ("float32", "float16") if opset > V13.since else ("float32",):
                if is_integer(DTYPES[kind]):
                    yield from quotients(kind, float_type, opset)
    every = np.arange(0, 2**32, 16001, dtype=np.uint32).view(np.float32)
    for kind in FLOAT8:
        yield quotient(f"sweep {kind}", every, _ONE, tensor(kind, 0), 21)
        yield quotient(f"open sweep {kind}", every, _ONE, tensor(kind, 0), 21, saturate=0)


def rejects() -> Iterator[Call]:
    """Yield shapes that fit no granularity, and types that cannot be asked for."""
    yield from granularity_rejects(np.ones(CASE_SHAPE, np.float32), "y", "int8")
    x, three, zero = np.ones(3, np.float32), np.ones(3, np.float32), tensor("int8", 0)
    yield Call(name="3 scales at opset 10", inputs={"x": x, "y_scale": three}, opset=10)
    yield quotient("two types", x, _ONE, zero, output_dtype=ONNX_TYPE["uint8"])
    for number, opset in ((99, 28), (ONNX_TYPE["float32"], 28), (ONNX_TYPE["int2"], 24)):
        name = f"output_dtype {number} at opset {opset}"
        yield quotient(name, x, _ONE, zero, opset, output_dtype=number)
    for number in (ONNX_TYPE["int8"], 99):
        yield quotient(f"precision {number}", x, _ONE, zero, precision=number)


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    x, scale = call.inputs["x"], call.inputs["y_scale"]
    zero = call.inputs.get("y_zero_point")
    target = _target(zero, call.attributes.get("output_dtype", 0), call.opset)
    at = parameter_index(index, x.shape, scale.shape, call.attributes)
    values = {"x": x[index], "s": scale[at], "z": 0}
    if zero is not None:
        values["z"] = zero[parameter_index(index, x.shape, zero.shape, call.attributes)]
    compute = _compute_type(scale, call.attributes.get("precision", 0), call.opset)
    formula = TO_INTEGER if is_integer(DTYPES[target]) else TO_FLOAT
    if target in FLOAT8 and not call.attributes.get("saturate", 1):
        formula = TO_FLOAT8_OPEN
    return Element(formula=formula, values=values, types={"C": compute, "T": target})


def _target(y_zero_point: Array | None, output_dtype: int, opset: int) -> str:
    allowed = pick(VERSIONS, opset).allowed("y")
    named = type_by_number(NAME, "output_dtype", output_dtype, allowed)
    if y_zero_point is None:
        return named or "uint8"
    kind = type_name(y_zero_point.dtype)
    if named not in (None, kind):
        refuse(NAME, "output_dtype", named, f"the type of y_zero_point, {kind}")
    return kind


def _compute_type(y_scale: Array, precision: int, opset: int) -> str:
    named = type_by_number(NAME, "precision", precision, DIVISIONS)
    kind = type_name(y_scale.dtype)
    return named or (kind if opset >= V23.since and kind in DIVISIONS else "float32")


_ONE = tensor("float32", 1)
_HALF_TYPE = tensor("float16", 0.3)
_BEYOND_INT32 = quotient(
    "beyond int32", tensor("float32", [3e9, -3e9]), _ONE, tensor("int8", 0), 21
)
_F16 = quotient("float16", tensor("float16", [1000]), _HALF_TYPE, tensor("uint16", 0), 21)
_MIXED = quotient("float32 by float16", tensor("float32", [1000]), _HALF_TYPE, tensor("uint16", 0))
_SHIFTED = quotient("float8 zero point", tensor("float32", [1]), _ONE, tensor("float8e4m3fn", 2))
_ABOVE_E4M3 = tensor("float32", [464, 465, 479, 480, 495, 496])
_ABOVE_E5M2 = tensor("float32", [61439, 61440, 65535, 65536])
_E4M3 = quotient("E4M3FN", _ABOVE_E4M3, _ONE, tensor("float8e4m3fn", 0), saturate=0)
_E5M2 = quotient("E5M2", _ABOVE_E5M2, _ONE, tensor("float8e5m2", 0), saturate=0)
_NAN4 = quotient("float4 NaN", tensor("float32", [np.nan]), _ONE, tensor("float4e2m1", 0))
_BFLOAT16 = quotient("in bfloat16", _ONE, _ONE, tensor("int8", 0), precision=ONNX_TYPE["bfloat16"])
_NANS = (np.nan, np.nan)
_IGNORED = "The zero point is ignored."
_ADDED = "The formula is the same for all types: the zero point is added."
_OPEN = "Not saturated, what rounds beyond the largest value is NaN in E4M3FN, infinite in E5M2."


def _has_zero_point(call: Call) -> bool:
    zero = call.inputs.get("y_zero_point")
    is_float8 = zero is not None and type_name(zero.dtype) in FLOAT8
    return is_float8 and bool(f32(zero).any())


def _in_band(kind: str, low: float, high: float) -> Callable[[Call], Any]:
    def covers(call: Call) -> Any:  # noqa: ANN401 - a mask, or nothing at all
        target = _target(
            call.inputs.get("y_zero_point"), call.attributes.get("output_dtype", 0), call.opset
        )
        if call.attributes.get("saturate", 1) or target != kind:
            return False
        v = np.abs(divide(call.inputs["x"], call.inputs["y_scale"], np.float32))
        return (low <= v) & (v < high)

    return covers


DIFFERS = (
    Differs(
        "onnx",
        _BEYOND_INT32,
        (-128, -128),
        "The quotient is cast to int32 before it is clipped, and the cast wraps.",
        "The result saturates.",
    ),
    Differs(
        "onnx",
        _F16,
        (3332,),
        "The division is made in float16.",
        "Silent before opset 23; onnxruntime divides in float32, and so do we.",
    ),
    Differs(
        "onnx",
        _MIXED,
        (3333,),
        "The division is made in float32.",
        "The type of y_scale determines the precision of the division.",
    ),
    Differs("onnx", _NAN4, (0,), "A zero comes out.", "NaN is cast to the largest value."),
    Differs("onnx", _SHIFTED, (1,), _IGNORED, _ADDED),
    Differs("onnxruntime", _SHIFTED, (1,), _IGNORED, _ADDED, _has_zero_point),
    Differs(
        "onnxruntime",
        _E4M3,
        (448, *_NANS, 448, 448, np.nan),
        "Some stay finite.",
        _OPEN,
        _in_band("float8e4m3fn", 480, 496),
    ),
    Differs(
        "onnxruntime",
        _E5M2,
        (57344, *_NANS, np.inf),
        "Some become NaN.",
        _OPEN,
        _in_band("float8e5m2", 61440, 65536),
    ),
    Differs(
        "onnxruntime",
        _BFLOAT16,
        None,
        "A division in bfloat16 is refused.",
        "precision may be float32, float16 or bfloat16.",
        lambda call: call.attributes.get("precision") == ONNX_TYPE["bfloat16"],
    ),
)


@operator(
    name=NAME,
    versions=VERSIONS,
    formulas=(TO_INTEGER, TO_FLOAT, TO_FLOAT8_OPEN),
    cites=("onnx-quantizelinear", "onnx-float8", "onnx-float4", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=ties,
)
def quantize_linear(
    x: Array,
    y_scale: Array,
    y_zero_point: Array | None = None,
    *,
    axis: int = 1,
    saturate: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    opset: int = NEWEST_OPSET,
) -> Array:
    """Divide, round half to even, add the zero point, clip.

    Parameters
    ----------
    x
        Real values, any shape: float32, float16, bfloat16 or int32.
    y_scale
        Step of the grid: one value, a vector along ``axis``, or one value per block.
    y_zero_point
        Code of the real number zero, shaped as ``y_scale``; its type is the type of ``y``.
    axis
        Axis of per-axis and blocked scales; negative counts from the back.
    saturate
        For float8 only: 1 clips to the largest finite value, 0 lets infinity and NaN appear.
    block_size
        How many neighbours along ``axis`` share a scale; 0 where scales are not blocked.
    output_dtype
        Type of ``y`` as a number of ``TensorProto.DataType``; 0 takes it from ``y_zero_point``,
        and uint8 if that is absent too.
    precision
        Type of the division, likewise as a number; 0 takes the type of ``y_scale``.
    opset
        Version of the operator set that the model imports.

    Returns
    -------
    y
        Codes in the shape of ``x``.

    Raises
    ------
    OperatorError
        For a missing input, a type that this version does not allow, an axis outside the rank,
        or a scale or zero point whose shape fits no granularity.

    Notes
    -----
    Not a number becomes the lowest code of an integer type, which is what onnxruntime does;
    ONNX leaves it open :cite:p:`onnx-quantizelinear`. An infinite quotient saturates in all
    float8 types, as in onnx's evaluator and onnxruntime; the table of casts says so for E4M3FN
    and E5M2, but has NaN for the two FNUZ types :cite:p:`onnx-float8`:

    >>> import numpy as np
    >>> quantize_linear(np.float32([np.inf, -np.inf]), np.float32(1), output_dtype=18)
    array([240, -240], dtype='float8_e4m3fnuz')

    Examples
    --------
    Ties go to the even neighbour, and the zero point is added after rounding:

    >>> import numpy as np
    >>> quantize_linear(np.float32([0.5, 1.5, 2.5, -2.5]), np.float32(1), np.int8(1))
    array([ 1,  3,  3, -1], dtype=int8)

    Values beyond the type stay on its rails, however far out they are:

    >>> quantize_linear(np.float32([-1e9, -1, 127, 128, 3e9]), np.float32(1), np.int8(0))
    array([-128,   -1,  127,  127,  127], dtype=int8)

    One scale per slice along ``axis``, or per block of neighbours:

    >>> x = np.float32([[3, 3, 3], [5, 5, 5]])
    >>> quantize_linear(x, np.float32([1, 2]), np.int8([0, 0]), axis=0)
    array([[3, 3, 3],
           [2, 2, 2]], dtype=int8)
    >>> quantize_linear(x, np.float32([[1, 2], [2, 4]]), axis=-1, block_size=2)
    array([[3, 3, 2],
           [2, 2, 1]], dtype=uint8)

    Up to opset 21 a float16 quotient is taken in float32, from opset 23 in float16:

    >>> x, scale, zero = np.float16([1000]), np.float16(0.3), np.uint16(0)
    >>> quantize_linear(x, scale, zero, opset=21), quantize_linear(x, scale, zero)
    (array([3333], dtype=uint16), array([3332], dtype=uint16))
    """
    target = _target(y_zero_point, output_dtype, opset)
    compute = _compute_type(y_scale, precision, opset)
    if opset < V13.since and y_scale.size != 1:
        refuse(NAME, "y_scale", f"shape {y_scale.shape}", "one value before opset 13")
    parameters = {"y_scale": y_scale, "y_zero_point": y_zero_point}
    check_granularity(NAME, x, parameters, axis=axis, block_size=block_size)
    zero = np.zeros((), DTYPES[target]) if y_zero_point is None else y_zero_point

    def rule(x: Array, scale: Array, shift: Array) -> Array:
        quotient = divide(x, scale, DTYPES[compute])
        if is_integer(DTYPES[target]):
            return round_to_grid(quotient, shift, DTYPES[target])
        shifted = quotient + shift  # in float32: the type of both, if one has eight bits
        if target in FLOAT8 and not saturate:
            return cast(shifted, DTYPES[target])
        return saturate_float(shifted, DTYPES[target])

    scale, shift = (spread(p, x.shape, axis, block_size) for p in (y_scale, zero))
    return by_blocks(rule, DTYPES[target], x, scale, shift)
