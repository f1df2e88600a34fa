"""Multiply matrices of codes: sum products of integers, then bring the sum to the result's grid.

Two stages. The first is integer arithmetic and exact: both zero points are subtracted, products
are summed in an int32 accumulator. The second rounds: the three scales become one float32
multiplier, the accumulator is multiplied by it, rounded half to even, and the zero point added.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.saturation import PAIR, adds_pairs
from qdqdoc.calls.ties_float8 import float8_products
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import DTYPES, Array, is_integer, tensor, type_name
from qdqdoc.numerics.products import Overflow, accumulate, float_matmul, integer_matmul
from qdqdoc.numerics.rounding import divide, multiply, requantize, subtract32
from qdqdoc.registry import (
    NEWEST_OPSET,
    PEERS,
    Call,
    Differs,
    Element,
    Version,
    operator,
)
from qdqdoc.registry.matrices import (
    MISFITS,
    as_matrices,
    granularities,
    is_vector_of_batch,
    misshaped,
    one_value,
    operands,
    per_column,
    per_row,
    place,
    random_codes,
    same_shape,
    several,
    unwritten_sums,
    without_vectors,
)
from qdqdoc.registry.ties import every_code, products
from qdqdoc.registry.values import is_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "QLinearMatMul"
INT8 = ("int8", "uint8")
FLOAT8 = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")

V10 = Version(
    since=10,
    inputs={
        "a": "T1",
        "a_scale": "float32",
        "a_zero_point": "T1",
        "b": "T2",
        "b_scale": "float32",
        "b_zero_point": "T2",
        "y_scale": "float32",
        "y_zero_point": "T3",
    },
    outputs={"y": "T3"},
    types={"T1": INT8, "T2": INT8, "T3": INT8},
)
V21 = replace(
    V10,
    since=21,
    inputs={**V10.inputs, "a_scale": "TS", "b_scale": "TS", "y_scale": "TS"},
    types={
        "TS": ("float32", "float16", "bfloat16"),
        **dict.fromkeys(("T1", "T2", "T3"), (*INT8, *FLOAT8)),
    },
)
VERSIONS = (V10, V21)

SYMBOLS = {
    "a": "row of `a`",
    "b": "column of `b`",
    "s_a": "`a_scale` of the tensor or row",
    "z_a": "`a_zero_point` of the tensor or row",
    "s_b": "`b_scale` of the tensor or column",
    "z_b": "`b_zero_point` of the tensor or column",
    "s_y": "`y_scale`",
    "z_y": "`y_zero_point`",
}
SETS = {"K": "positions along the inner dimension"}
TYPES = {"T": "type of `y`"}
MULTIPLIER = "m = f32(f32(s_a * s_b) / s_y)\n"

_rule = partial(Formula, symbols=SYMBOLS, sets=SETS, types=TYPES)
TO_INTEGER = _rule(
    MULTIPLIER
    + "acc = wrap32(sum((a[k] - z_a) * (b[k] - z_b) for k in K))\n"
    + "y = saturate(rint(f32(f32(acc) * m)) + z_y)",
    name="integers",
    when="all three matrices hold integers",
)
MIXED_TO_INTEGER = _rule(
    MULTIPLIER
    + "acc = f32(sum((a[k] - z_a) * (b[k] - z_b) for k in K))\n"
    + "y = saturate(rint(f32(acc * m)) + z_y)",
    name="float8 to integers",
    when="`a` or `b` holds float8 and `y` holds integers",
)
TO_FLOAT8 = _rule(
    MULTIPLIER
    + "acc = f32(sum((a[k] - z_a) * (b[k] - z_b) for k in K))\n"
    + "v = f32(f32(acc * m) + z_y)\n"
    + "y = T(clip(v, lowest(T), highest(T)))",
    name="to float8",
    when="`y` holds float8",
)


# Scales of a, b and y with which orders of rounding differ on some code: searched.
DECIDING = (
    (0.20031343, 1.002476, 0.68038946),
    (1.0480522, 1.9034042, 0.6299581),
    (0.6412299, 0.93432087, 5.6520233),
)


def vectors() -> Iterator[Call]:
    """Yield each corner: signs, shapes, ties, rails, per row and column, float8."""
    ramp = np.arange(-12, 12).reshape(6, 4)
    for a, b, y in ((a, b, y) for a in INT8 for b in INT8 for y in INT8):
        left, right = ramp + (12 if a == "uint8" else 0), ramp.T + (12 if b == "uint8" else 0)
        for zero in (1, 2):
            name = f"{a} by {b} to {y}, zero point {zero}"
            scales, zeros = (0.5, 0.25, 1.0), (3, 1, zero)
            yield _call(left.astype(a), right.astype(b), y, scales, zeros, name)
    for name, left, right in operands("uint8", "int8"):
        yield _call(left, right, "uint8", (0.02, 0.03, 1.1), (120, -7, 99), name)
    rows, one = tensor("int8", [[1], [2], [3], [5], [7], [9], [-5], [100]]), tensor("int8", [[1]])
    yield _call(rows, one, "int8", (0.1, 1, 1), (0, 0, 0), "ties in float32 only")
    yield _call(rows, tensor("int8", [[127]]), "uint8", (1, 1, 1.0), (0, 0, 200), "both rails")
    for count, scale in ((34000, 6.25e-9), (301, 5.5 / (301 * 255**2)), (301, 1.0243963e-05)):
        long, name = np.full((1, count), 255, np.uint8), f"wraps, or exceeds 24 bits: {scale}"
        yield _call(long, long.T, "uint8", (scale, 1, 1), (0, 0, 50), name)
    for scales in DECIDING:
        name, codes = f"{scales}", every_code("uint8")[:, None]
        yield _call(codes, tensor("uint8", [[1]]), "uint8", scales, (0, 0, 1), name)
    yield from _per_row_and_column()
    yield from _other_types(ramp)


def _call(
    a: Array, b: Array, y: str, scales: tuple[object, ...], zeros: tuple[object, ...], name: str
) -> Call:
    s_a, s_b, s_y = (s if isinstance(s, np.ndarray) else tensor("float32", s) for s in scales)
    inputs = {
        "a": a,
        "a_scale": s_a,
        "a_zero_point": np.array(zeros[0], a.dtype),
        "b": b,
        "b_scale": s_b,
        "b_zero_point": np.array(zeros[1], b.dtype),
        "y_scale": s_y,
        "y_zero_point": np.array(zeros[2], DTYPES[y]),
    }
    return Call(name=name, inputs=inputs)


def _per_row_and_column() -> Iterator[Call]:
    """Yield scales and zero points of each shape, of one operand and of both."""
    for a, b in (((5, 7), (7, 4)), ((2, 3, 5, 7), (3, 7, 4)), ((7,), (7, 4)), ((5, 7), (7,))):
        left, right = random_codes("int8", a, 1), random_codes("int8", b, 2)
        plain = _call(left, right, "int8", (0.02, 0.01, 0.9), (3, -2, 5), f"{a} by {b}")
        for name, more in granularities(a, b):
            yield replace(plain, name=f"{plain.name}: {name}", inputs={**plain.inputs, **more})
    ones = {k: plain.inputs[k].reshape(1) for k in ("a_scale", "y_scale", "y_zero_point")}
    yield replace(plain, name="vectors of one value", inputs={**plain.inputs, **ones})


def _other_types(ramp: Array) -> Iterator[Call]:
    """Yield scales of 16 bits, and float8 with what is not finite."""
    codes, eighths = ramp.astype(np.int8), (0.5, 0.25, 0.3)
    for kind in ("float16", "bfloat16"):
        scales = tuple(tensor(kind, s) for s in (0.3, 0.07, 0.9))
        yield _call(codes, codes.T, "int8", scales, (1, 2, 3), kind)
    for a, y in ((a, y) for a in FLOAT8 for y in (*FLOAT8, "int8")):
        left, right = tensor(a, ramp / 4), tensor("float8e5m2", ramp.T * 8)
        left[0, 0], left[1, 1] = np.inf, np.nan
        for zeros in ((0, 0, 1), (1, 2, 1)):
            name = f"{a} by float8e5m2 to {y}, zero points {zeros}"
            yield _call(left, right, y, eighths, zeros, name)
    yield _call(codes, codes.T, "float8e5m2", eighths, (1, 2, 3), "int8 by int8 to float8e5m2")
    far, tiny = tensor("float8e5m2", [[57344, -57344]]), tensor("float8e5m2", 2.0**-16)
    yield _call(far, far.T * 0 + 1, "int8", (2.0**20, 1, 1), (tiny, 0, 1), "a long difference")
    yield _call(codes, right, "uint8", eighths, (1, 2, 3), "int8 by float8e5m2")
    yield _call(right.T, codes.T, "uint8", eighths, (1, 2, 3), "float8e5m2 by int8")
    for y, (left, right, *zero_points), searched in float8_products():
        yield _call(left, right, y, searched, tuple(zero_points), f"{searched} to {y}")


def rejects() -> Iterator[Call]:
    """Yield shapes that do not multiply, and scales and zero points that do not fit."""
    scales, zeros = (1, 1, 1), (0, 0, 0)
    for name, (a, b) in MISFITS.items():
        yield _call(np.zeros(a, np.int8), np.zeros(b, np.int8), "int8", scales, zeros, name)
    left, right = np.zeros((5, 7), np.int8), np.zeros((7, 4), np.int8)
    plain = _call(left, right, "int8", scales, zeros, "plain")
    changes = [*misshaped("a", left.shape, -2), *misshaped("b", right.shape, -1)]
    for one in (("a", (5,)), ("b", (4,)), ("y", (4,))):
        changes += ((f"{k} without the other", {k: v}) for k, v in several(*one).items())
    for name, more in changes:
        yield replace(plain, name=name, inputs={**plain.inputs, **more})


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = call.inputs
    at = place(inputs["a"], inputs["b"], index)
    values = {
        "a": at.row_of(inputs["a"]),
        "b": at.column_of(inputs["b"]),
        "s_a": at.of_row(inputs["a_scale"]),
        "z_a": at.of_row(inputs["a_zero_point"]),
        "s_b": at.of_column(inputs["b_scale"]),
        "z_b": at.of_column(inputs["b_zero_point"]),
        "s_y": at.of_row(inputs["y_scale"]),
        "z_y": at.of_row(inputs["y_zero_point"]),
    }
    target = inputs["y_zero_point"].dtype
    whole = [is_integer(inputs[name].dtype) for name in ("y_zero_point", "a", "b")]
    formula = TO_INTEGER if all(whole) else MIXED_TO_INTEGER if whole[0] else TO_FLOAT8
    sets = {"K": range(inputs["a"].shape[-1])}
    return Element(formula=formula, values=values, sets=sets, types={"T": type_name(target)})


_COLUMN, _UNIT = tensor("int8", [[1], [2], [3], [4], [5], [6], [7], [8]]), tensor("int8", [[1]])
_TIES = _call(_COLUMN, _UNIT, "int8", (0.5, 1, 1), (0, 0, 3), "ties, odd zero point")
_NARROW = _call(_COLUMN, _UNIT, "int8", (0.1, 1, 1), (0, 0, 0), "a tie in float32 only")
_PER_ROW = replace(_TIES, name="per row", inputs={**_TIES.inputs, **several("a", (8,))})
_WIDE = tensor("int8", [[[1, 2]]])
_PLAIN = _call(_COLUMN[None], _WIDE, "int8", (1, 1, 1), (0, 0, 0), "per column of a batch")
_BATCH = replace(_PLAIN, inputs={**_PLAIN.inputs, **several("b", (2,))})
_EMPTY = _call(_COLUMN[:, :0], _UNIT[:0], "int8", (1, 1, 1), (0, 0, 5), "nothing to sum")
_SIGNS = _call(_COLUMN, tensor("uint8", [[1]]), "int8", (1, 1, 1), (0, 0, 0), "int8 by uint8")

DIFFERS = (
    Differs(
        "onnx",
        _TIES,
        (4, 4, 4, 5, 6, 6, 6, 7),
        "The zero point is added before rounding, which turns ties around.",
        "Rounding to nearest, ties to even, comes before the zero point.",
    ),
    Differs(
        "onnx",
        _NARROW,
        (0, 0, 0, 0, 1, 1, 1, 1),
        "The product is taken in float64, where it is above the tie.",
        "Silent on the precision; the scales are float32.",
    ),
    *(
        Differs(
            peer,
            _PER_ROW,
            None,
            "Scales and zero points for the rows of a are refused.",
            "a may have a scale per row.",
            lambda call: not is_one_value(call.inputs["a_scale"]),
        )
        for peer in PEERS
    ),
    Differs(
        "onnxruntime",
        _BATCH,
        None,
        "Vectors are refused if b is a batch; shape (..., 1, N) is taken.",
        "Names the vector for matrices and (..., 1, N) for batches.",
        lambda call: is_vector_of_batch(call.inputs["b_scale"], call.inputs["b"]),
    ),
    unwritten_sums(_EMPTY),
    adds_pairs(_call(*PAIR, "uint8", (1, 1, 323.85), (0, 0, 0), "a pair of products"), 101),
    Differs(
        "onnxruntime",
        _SIGNS,
        None,
        "No kernel for a signed a and an unsigned b, or for mixed signs of a and y.",
        "Each of the three types may be int8 or uint8.",
    ),
)


@operator(
    name=NAME,
    versions=VERSIONS,
    formulas=(TO_INTEGER, MIXED_TO_INTEGER, TO_FLOAT8),
    cites=("onnx-qlinearmatmul", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=products(("a", "b"), ((-1, 1), (1, -1))),
)
def qlinear_matmul(
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    *,
    opset: int = NEWEST_OPSET,  # noqa: ARG001 - the checks before the kernel use it
    overflow: Overflow = "wrap",
) -> Array:
    """Sum products of codes in int32, scale the sum once in float32, round it to the grid.

    Parameters
    ----------
    a, b
        Codes, multiplied as by :func:`numpy.matmul`: (..., M, K) by (..., K, N), or vectors.
    a_scale, a_zero_point
        One value, M values (per row), or (..., M, 1).
    b_scale, b_zero_point
        One value, N values (per column), or (..., 1, N).
    y_scale, y_zero_point
        One value each; the type of ``y_zero_point`` is the type of ``y``.
    opset
        Version of the operator set that the model imports.
    overflow
        ``"wrap"``: a sum beyond int32 wraps, as ONNX says; ``"raise"``: it is an error.

    Returns
    -------
    y
        Codes, (..., M, N).

    Raises
    ------
    OperatorError
        For a missing input, a type that this version does not allow, or shapes that do not fit.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Notes
    -----
    Scales of float16 and bfloat16 are taken to float32 first. Sums of float8 products are rounded
    once to float32; no runtime that we know computes them, so the formula is their only witness.

    Examples
    --------
    Odd sums of halves are ties; they go to the even neighbour before the zero point is added:

    >>> import numpy as np
    >>> one, half, zero = np.float32(1), np.float32(0.5), np.int8(0)
    >>> a = np.int8([[1], [3], [5]])
    >>> qlinear_matmul(a, half, zero, np.int8([[1]]), one, zero, one, np.int8(1)).ravel()
    array([1, 3, 3], dtype=int8)

    Both zero points are subtracted before the product:

    >>> qlinear_matmul(np.uint8([[5, 7]]), one, np.uint8(5), np.int8([[9], [4]]), one, np.int8(1),
    ...                one, np.uint8(0))
    array([[6]], dtype=uint8)

    One scale per row of ``a``, one per column of ``b``:

    >>> qlinear_matmul(np.int8([[10], [10]]), np.float32([1, 0.5]), np.int8([0, 0]),
    ...                np.int8([[1, 1]]), np.float32([1, 2]), np.int8([0, 0]), one, zero)
    array([[10, 20],
           [ 5, 10]], dtype=int8)

    The accumulator has 32 bits and wraps:

    >>> row = np.full((1, 33026), 255, np.uint8)
    >>> scale, none = np.float32(2**24), np.uint8(0)
    >>> qlinear_matmul(row, one, none, row.T, one, none, scale, np.uint8(128))
    array([[0]], dtype=uint8)
    """
    left, right = as_matrices(NAME, {"a": a, "b": b})
    scale_a = per_row(NAME, "a_scale", a_scale, a)
    zero_a = per_row(NAME, "a_zero_point", a_zero_point, a)
    scale_b = per_column(NAME, "b_scale", b_scale, b)
    zero_b = per_column(NAME, "b_zero_point", b_zero_point, b)
    same_shape(NAME, ("a_scale", a_scale), ("a_zero_point", a_zero_point))
    same_shape(NAME, ("b_scale", b_scale), ("b_zero_point", b_zero_point))
    if all(is_integer(codes.dtype) for codes in (a, b, y_zero_point)):
        sums = integer_matmul(subtract32(left, zero_a), subtract32(right, zero_b))
        accumulator = accumulate(sums, overflow)
    else:
        pairs = ((left, zero_a), (right, zero_b))
        # In float64 the difference of two codes is exact.
        accumulator = float_matmul(*(m - z.astype(np.float64) for m, z in pairs))
    divisor = one_value(NAME, "y_scale", y_scale)
    multiplier = divide(multiply(scale_a, scale_b), divisor, np.float32)
    zero_y = one_value(NAME, "y_zero_point", y_zero_point)
    return without_vectors(requantize(accumulator, multiplier, zero_y, zero_y.dtype), a, b)
