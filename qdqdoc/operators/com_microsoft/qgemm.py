"""Multiply two matrices of codes, add a bias of int32, and round to a grid or stay real.

The bias joins the accumulator, so it counts in steps of ``a_scale * b_scale`` and wraps with it.
The type of ``y_zero_point`` is the type of the result; without one the result is float32.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.saturation import PAIR, adds_pairs
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.products import Overflow, accumulate, integer_matmul
from qdqdoc.numerics.rounding import divide, multiply, requantize, subtract32
from qdqdoc.numerics.scaled import scaled
from qdqdoc.registry import UNWRITTEN, Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.matrices import (
    as_matrices,
    misshaped_parameters,
    one_value,
    per_column,
    place,
    random_codes,
)
from qdqdoc.registry.ties import every_code, products
from qdqdoc.registry.values import is_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "QGemm"
INT8 = ("uint8", "int8")

V1 = Version(
    since=1,
    inputs={
        "A": "TA",
        "a_scale": "T",
        "a_zero_point": "TA",
        "B": "TB",
        "b_scale": "T",
        "b_zero_point": "TB",
        "C": "TC",
        "y_scale": "T",
        "y_zero_point": "TYZ",
    },
    outputs={"Y": "TY"},
    types={
        "T": ("float32",),
        "TA": INT8,
        "TB": INT8,
        "TC": ("int32",),
        "TYZ": INT8,
        "TY": ("float32", *INT8),
    },
    optional=("C", "y_scale", "y_zero_point"),
    attributes={"transA": 0, "transB": 0, "alpha": 1.0},
)

_rule = partial(
    Formula,
    symbols={
        "a": "row of `A`, or column if `transA`",
        "b": "column of `B`, or row if `transB`",
        "c": "`C`, 0 if absent",
        "alpha": "`alpha`",
        "s_a": "`a_scale`",
        "z_a": "`a_zero_point`",
        "s_b": "`b_scale` of the tensor or column",
        "z_b": "`b_zero_point` of the tensor or column",
        "s_y": "`y_scale`, 1 if absent",
    },
    sets={"K": "positions along the inner dimension"},
)
SUMS = """
m = f32(f32(f32(alpha * s_a) * s_b) / s_y)
acc = wrap32(sum((a[k] - z_a) * (b[k] - z_b) for k in K) + c)
"""
TO_INTEGER = _rule(
    SUMS + "y = saturate(rint(f32(f32(acc) * m)) + z_y)",
    symbols={**_rule.keywords["symbols"], "z_y": "`y_zero_point`"},
    types={"T": "type of `y_zero_point`"},
    name="to integers",
    when="there is a `y_zero_point`",
)
TO_FLOAT = _rule(
    SUMS + "y = f32(f32(acc) * m)", name="to floats", when="there is no `y_zero_point`"
)

# alpha and the scales of a, b and y with which orders of rounding differ on some code: searched.
DECIDING = (
    (0.87548655, 1.6640201, 0.8479383, 0.7690581),
    (0.6412299, 0.93432087, 0.3113813, 0.4925976),
    (0.97022396, 0.58439434, 0.063829064, 0.048398256),
    (0.34064364, 1.9316871, 0.8331906, 0.50521654),
)


def vectors() -> Iterator[Call]:
    """Yield each corner: signs, transposes, bias, scales per column, ties, wrapping, optionals."""
    yield from _deciding()
    for a, b in ((a, b) for a in INT8 for b in INT8):
        left, right = random_codes(a, (6, 5), 1), random_codes(b, (5, 4), 2)
        for y in ("", *INT8):
            yield _call(f"{a} by {b} to {y or 'float32'}", left, right, y)
    left, right = random_codes("uint8", (6, 5), 1), random_codes("int8", (5, 4), 2)
    for y in ("", "uint8"):
        yield from _forms(left, right, y)
        long = np.full((1, 33026), 255, np.uint8)
        tall = dict.fromkeys(("a_zero_point", "b_zero_point"), tensor("uint8", 0))
        tall["y_scale"] = tensor("float32", 5e5)
        yield _call(f"a sum wraps, to {y}", long, long.T, y, **tall)
        bias = {"C": tensor("int32", [[2**31 - 1], [-(2**31)], [2**24 + 1]]), **tall}
        column = random_codes("uint8", (3, 1), 8)
        yield _call(f"a bias makes it wrap, to {y}", column, column[:1], y, **bias)


def _call(
    name: str,
    a: Array,
    b: Array,
    y: str = "",
    flags: Mapping[str, float] | None = None,
    /,
    **more: Array,
) -> Call:
    inputs = {
        "A": a,
        "a_scale": tensor("float32", 0.1),
        "a_zero_point": np.array(100, a.dtype),
        "B": b,
        "b_scale": tensor("float32", 0.3),
        "b_zero_point": np.array(5, b.dtype),
    }
    if y:
        inputs |= {"y_scale": tensor("float32", 3.7), "y_zero_point": tensor(y, 61)}
    return Call(name=name, inputs={**inputs, **more}, attributes=flags or {})


def _forms(a: Array, b: Array, y: str) -> Iterator[Call]:
    """Yield transposes, shapes of the bias, parameters per column, what may be left out."""
    to = f"to {y or 'float32'}"
    for flags, left, right in (
        ({"transA": 1}, a.T, b),
        ({"transB": 1}, a, b.T),
        ({"transA": 1, "transB": 1, "alpha": 0.7}, a.T, b.T),
        ({"transA": 2, "transB": -1}, a.T, b.T),
        ({"alpha": -1.3}, a, b),
        ({"alpha": np.inf}, a, b),
    ):
        yield _call(f"{flags}, {to}", left.copy(), right.copy(), y, flags)
    for shape in ((6, 4), (4,), (1, 4), (6, 1), (1, 1), (1,), ()):
        bias = random_codes("int16", shape, 4).astype(np.int32)
        yield _call(f"bias {shape}, {to}", a, b, y, C=bias)
    columns = {
        "b_scale": tensor("float32", [0.1, 0.3, 0.01, 0.7]),
        "b_zero_point": tensor("int8", [0, 1, -128, 127]),
    }
    yield _call(f"per column, {to}", a, b, y, **columns)
    yield _call(f"per column of a transposed b, {to}", a, b.T.copy(), y, {"transB": 1}, **columns)
    for name, value in columns.items():
        yield _call(f"{name} per column, {to}", a, b, y, **{name: value})
    ones = {k: v.reshape(1) for k, v in _call("", a, b, y).inputs.items() if not v.ndim}
    yield _call(f"vectors of one value, {to}", a, b, y, **ones)
    yield _call(f"nothing to sum, {to}", a[:, :0], b[:0], y, C=tensor("int32", [1, 20, 300, -400]))
    yield _call(f"no rows, {to}", a[:0], b, y)
    yield _call(f"no columns, {to}", a, b[:, :0], y)
    alone = tensor("float32", 0.3) if y else tensor("int8", 7)
    yield _call(f"half of a grid, {to}", a, b, **{"y_scale" if y else "y_zero_point": alone})


def _deciding() -> Iterator[Call]:
    """Yield codes times 1, and more than 24 bits, scaled so that orders of rounding differ."""
    codes, one, zero = every_code("uint8")[:, None], tensor("uint8", [[1]]), tensor("uint8", 0)
    long = np.full((1, 301), 255, np.uint8)
    cases = [(codes, one, *scales) for scales in DECIDING]
    cases.append((long, long.T, 1.0, 5.5 / (301 * 255**2), 1, 1))
    for a, b, alpha, *values in cases:
        scales = zip(("a_scale", "b_scale", "y_scale"), values, strict=True)
        more = {k: tensor("float32", v) for k, v in scales}
        more |= {"a_zero_point": zero, "b_zero_point": zero}
        name = f"{alpha}, {values}"
        yield _call(name, a, b, "", {"alpha": alpha}, **more)
        yield _call(f"{name}, to uint8", a, b, "uint8", {"alpha": alpha}, **more)


def rejects() -> Iterator[Call]:
    """Yield ranks and shapes that do not multiply, parameters and biases that do not fit."""
    a, b = np.zeros((6, 5), np.uint8), np.zeros((5, 4), np.int8)
    yield _call("a batch", a[None], b)
    yield _call("a batch of b", a, b[None])
    yield _call("a vector", a[0], b)
    yield _call("a vector b", a, b[:, 0])
    yield _call("inner dimensions differ", a[:, :4], b)
    yield _call("transA without need", a, b, "", {"transA": 1})
    yield _call("transB without need", a, b, "", {"transB": 1})
    for name, wrong in (*misshaped_parameters(b.shape, -1), ("one row", (1, 4))):
        yield _call(f"b_scale: {name}", a, b, b_scale=np.zeros(wrong, np.float32))
        yield _call(f"b_zero_point: {name}", a, b, b_zero_point=np.zeros(wrong, np.int8))
    for operand in "ay":
        for name, kind in (("scale", np.float32), ("zero_point", np.uint8)):
            key = f"{operand}_{name}"
            yield _call(f"{key}: several", a, b, "uint8", **{key: np.zeros(6, kind)})
    for shape in ((6,), (5, 4), (1, 6, 4), (2,)):
        yield _call(f"bias of shape {shape}", a, b, C=np.zeros(shape, np.int32))


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs, attributes = call.inputs, call.attributes
    a = inputs["A"].T if attributes.get("transA") else inputs["A"]
    b = inputs["B"].T if attributes.get("transB") else inputs["B"]
    at = place(a, b, index)
    bias = np.broadcast_to(inputs.get("C", np.zeros(1)), (len(a), b.shape[1]))
    values = {
        "a": at.row_of(a),
        "b": at.column_of(b),
        "c": bias[index],
        "alpha": tensor("float32", attributes.get("alpha", 1)),
        "s_a": at.of_row(inputs["a_scale"]),
        "z_a": at.of_row(inputs["a_zero_point"]),
        "s_b": at.of_column(inputs["b_scale"]),
        "z_b": at.of_column(inputs["b_zero_point"]),
        "s_y": at.of_row(inputs.get("y_scale", np.ones(1))),
    }
    sets = {"K": range(a.shape[1])}
    if "y_zero_point" not in inputs:
        return Element(formula=TO_FLOAT, values=values, sets=sets)
    values["z_y"] = at.of_row(inputs["y_zero_point"])
    types = {"T": type_name(inputs["y_zero_point"].dtype)}
    return Element(formula=TO_INTEGER, values=values, sets=sets, types=types)


_MIXED = _call(
    "a scale per column, one zero point",
    tensor("uint8", [[101]]),
    tensor("uint8", [[6, 7]]),
    b_scale=tensor("float32", [1, 2]),
)
_EMPTY = _call("nothing to sum", np.zeros((2, 0), np.uint8), np.zeros((0, 3), np.uint8))

DIFFERS = (
    Differs(
        "onnxruntime",
        _MIXED,
        None,
        "A scale per column with one zero point is refused, and the reverse.",
        "Each of the two may be one value or have an entry per column.",
        lambda call: (
            is_one_value(call.inputs["b_scale"]) != is_one_value(call.inputs["b_zero_point"])
        ),
    ),
    Differs(
        "onnxruntime",
        _EMPTY,
        UNWRITTEN,
        "With nothing to sum, the result is memory that was never written.",
        "Silent; a sum of nothing is 0.",
        lambda call: min(call.inputs["A"].shape) == 0 < call.inputs["B"].shape[-1],
    ),
    adds_pairs(_call("a pair of products", *PAIR, "uint8"), 108),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(TO_INTEGER, TO_FLOAT),
    cites=("ort-contrib", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=products(("A", "B"), ((-1, 1), (1, -1))),
)
def qgemm(
    A: Array,
    a_scale: Array,
    a_zero_point: Array,
    B: Array,
    b_scale: Array,
    b_zero_point: Array,
    C: Array | None = None,
    y_scale: Array | None = None,
    y_zero_point: Array | None = None,
    *,
    transA: int = 0,
    transB: int = 0,
    alpha: float = 1.0,
    overflow: Overflow = "wrap",
) -> Array:
    """Sum products of codes and a bias in int32, scale the sum once, round it to the grid or not.

    Parameters
    ----------
    A, B
        Codes of int8 or uint8, (M, K) and (K, N).
    a_scale, a_zero_point, y_scale, y_zero_point
        One value each; a ``y_scale`` that is absent is 1.
    b_scale, b_zero_point
        One value, or N values (per column).
    C
        Bias, int32, of a shape that broadcasts to (M, N); 0 if absent.
    transA, transB
        If not 0, ``A`` is (K, M), or ``B`` is (N, K).
    alpha
        Factor of the result, bias included; a float32.
    overflow
        ``"wrap"``: a sum beyond int32 wraps; ``"raise"``: it is an error.

    Returns
    -------
    Y
        (M, N): codes of the type of ``y_zero_point``, or real numbers, float32, if that is absent.

    Raises
    ------
    OperatorError
        For a missing input, a type that is not allowed, or shapes that do not fit.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Notes
    -----
    Declared is that ``y_scale`` and ``y_zero_point`` come together. With one of them alone this
    does as onnxruntime does: the scale divides all the same, the zero point decides on the type.

    Examples
    --------
    Odd sums of halves are ties; they go to the even neighbour before the zero point is added:

    >>> import numpy as np
    >>> one, half, zero = np.float32(1), np.float32(0.5), np.int8(0)
    >>> A, B = np.int8([[1], [3], [5]]), np.int8([[1]])
    >>> qgemm(A, half, zero, B, one, zero, y_scale=one, y_zero_point=np.int8(1)).ravel()
    array([1, 3, 3], dtype=int8)

    Without a grid for the result there is nothing to round to:

    >>> qgemm(A, half, zero, B, one, zero).ravel()
    array([0.5, 1.5, 2.5], dtype=float32)

    The bias is added before any scale, and ``alpha`` scales it, too:

    >>> qgemm(A, half, np.int8(1), B, one, np.int8(-1), np.int32([100]), alpha=2.0).ravel()
    array([100., 104., 108.], dtype=float32)

    Transposes, and a scale and zero point per column of what is multiplied:

    >>> qgemm(np.uint8([[5], [7]]), one, np.uint8(5), np.int8([[9, 4], [1, 2]]),
    ...       np.float32([1, 10]), np.int8([1, 0]), transA=1, transB=1)
    array([[ 6., 40.]], dtype=float32)

    The accumulator has 32 bits and wraps; both rails hold:

    >>> C = np.int32([[2**31 - 1]])
    >>> qgemm(A, half, zero, B, one, zero, C, one, zero).ravel()
    array([-128, -128, -128], dtype=int8)
    >>> qgemm(A, half, zero, B, one, zero, C - 5, one, zero).ravel()
    array([127, 127, 127], dtype=int8)
    """
    for name, matrix in (("A", A), ("B", B)):
        if matrix.ndim != 2:  # noqa: PLR2004 - matrices
            refuse(NAME, name, f"shape {matrix.shape}", "two dimensions")
    left, right = as_matrices(NAME, {"A": A.T if transA else A, "B": B.T if transB else B})
    shape = left.shape[0], right.shape[1]
    sums = integer_matmul(
        subtract32(left, one_value(NAME, "a_zero_point", a_zero_point)),
        subtract32(right, _vector("b_zero_point", b_zero_point, right)),
    )
    if C is not None:
        sums = sums + _bias(C, shape)
    scale = multiply(np.array(alpha), one_value(NAME, "a_scale", a_scale))
    scale = multiply(scale, _vector("b_scale", b_scale, right))
    multiplier = divide(scale, one_value(NAME, "y_scale", y_scale, absent=1), np.float32)
    accumulator = accumulate(sums, overflow)
    if y_zero_point is None:
        return scaled(accumulator, multiplier)
    zero_point = one_value(NAME, "y_zero_point", y_zero_point)
    return requantize(accumulator, multiplier, zero_point, zero_point.dtype)


def _vector(name: str, parameter: Array, b: Array) -> Array:
    """Shape a parameter to broadcast along columns; unlike elsewhere, (1, N) is not allowed."""
    if parameter.ndim > 1:
        refuse(NAME, name, f"shape {parameter.shape}", f"() or ({b.shape[1]},)")
    return per_column(NAME, name, parameter, b)


def _bias(bias: Array, shape: tuple[int, int]) -> Array:
    """Broadcast a bias to the shape of the result."""
    try:
        return np.broadcast_to(bias, shape)
    except ValueError:
        refuse(NAME, "C", f"shape {bias.shape}", f"a shape that broadcasts to {shape}")
