"""Multiply matrices of codes and bring the sums back to real numbers.

The sums are those of MatMulInteger. Both scales become one float32 multiplier, the accumulator is
multiplied by it, and the bias, a real number, is added last: a rounding each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.saturation import PAIR, adds_pairs
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.products import Overflow, accumulate, integer_matmul
from qdqdoc.numerics.rounding import cast, multiply, subtract32
from qdqdoc.numerics.scaled import scaled
from qdqdoc.registry import Call, Element, Version, operator, refuse
from qdqdoc.registry.matrices import (
    MISFITS,
    as_matrices,
    misshaped_parameters,
    one_value,
    operands,
    parameter_shapes,
    per_column,
    place,
    random_codes,
    unwritten_sums,
    vectors_of_batches,
    without_vectors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "MatMulIntegerToFloat"
INT8 = ("int8", "uint8")

V1 = Version(
    since=1,
    inputs={
        "A": "T1",
        "B": "T2",
        "a_scale": "T3",
        "b_scale": "T3",
        "a_zero_point": "T1",
        "b_zero_point": "T2",
        "bias": "T3",
    },
    outputs={"Y": "T3"},
    types={"T1": INT8, "T2": INT8, "T3": ("float32", "float16")},
    optional=("a_zero_point", "b_zero_point", "bias"),
)

SCALED_SUMS = Formula(
    "acc = wrap32(sum((a[k] - z_a) * (b[k] - z_b) for k in K))\n"
    "y = T(f32(f32(f32(acc) * f32(s_a * s_b)) + c))",
    symbols={
        "a": "row of `A`",
        "b": "column of `B`",
        "s_a": "`a_scale`",
        "s_b": "`b_scale` of the tensor or column",
        "z_a": "`a_zero_point`, 0 if absent",
        "z_b": "`b_zero_point` of the tensor or column, 0 if absent",
        "c": "`bias` of the column, 0 if absent",
    },
    sets={"K": "positions along the inner dimension"},
    types={"T": "type of the scales, the bias and `Y`"},
    name="scaled sums",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: signs, shapes, scales and zero points per column, bias, wrapping."""
    yield from _roundings()
    for a, b in ((a, b) for a in INT8 for b in INT8):
        for number, (name, left, right) in enumerate(operands(a, b)):
            if (a, b) == ("uint8", "int8") or number < 2:  # noqa: PLR2004 - some of all shapes
                yield _call(f"{name}, {a} by {b}", left, right)
    yield from _columns()


def _roundings() -> Iterator[Call]:
    """Yield sums that wrap or have more than 24 bits; results that float16 rounds once more."""
    for kind, scale in (("float32", 0.1), ("float16", 1e-3)):
        long = np.full((1, 33026), 255, np.uint8)
        scales = {"a_scale": tensor(kind, scale), "b_scale": tensor(kind, 1e-3)}
        scales |= dict.fromkeys(("a_zero_point", "b_zero_point"), tensor("uint8", 0))
        for name, rows in (("wraps", long), ("is beyond 24 bits", long[:, :401])):
            yield _call(f"a sum that {name}, {kind}", rows, rows.T, **scales)
    left, right = random_codes("uint8", (16, 9), 5), random_codes("int8", (9, 16), 6)
    halves = {"a_scale": tensor("float16", 0.3), "b_scale": tensor("float16", 0.07)}
    yield _call("float16", left, right, **halves)
    yield _call("float16 overflows", left, right, **halves | {"b_scale": tensor("float16", 90)})
    # 1 + 2**-11 + 2**-26 is above a tie of float16, but float32 brings it down to the tie.
    fine = {k: tensor("float16", 2.0**-13) for k in ("a_scale", "b_scale")}
    fine |= {k: tensor("uint8", 0) for k in V1.optional[:2]} | {"bias": tensor("float16", [1])}
    above = tensor("uint8", [[181, 8], [181, 7]])
    yield _call("float16 by way of float32", above, tensor("uint8", [[181], [1]]), **fine)
    infinite = {"b_scale": tensor("float32", np.inf)}
    yield _call("an infinite scale", left[:, :1] // 200, right[:1], **infinite)


def _call(name: str, a: Array, b: Array, **more: Array) -> Call:
    """Make a call with everything there is: zero points and a bias that are not 0."""
    kind = type_name(more.get("a_scale", np.zeros(0, np.float32)).dtype)
    columns = b.shape[-1] if b.ndim > 1 else 1
    inputs = {
        "A": a,
        "B": b,
        "a_scale": tensor(kind, 0.1),
        "b_scale": tensor(kind, 0.3),
        "a_zero_point": np.array(3, a.dtype),
        "b_zero_point": np.array(120, b.dtype),
        "bias": tensor(kind, 7 * np.arange(columns) - 10.1),
    }
    return Call(name=name, inputs={**inputs, **more})


def _columns() -> Iterator[Call]:
    """Yield scales and zero points of each shape; optional inputs left out."""
    for a, b in (((5, 7), (7, 4)), ((2, 3, 5, 7), (3, 7, 4)), ((2, 7), (7,))):
        plain = _call(f"{a} by {b}", random_codes("uint8", a, 1), random_codes("int8", b, 2))
        for name, shape in parameter_shapes(b, -1):
            count = int(np.prod(shape))
            scale = tensor("float32", np.linspace(0.01, 0.05, count)).reshape(shape)
            zeros = random_codes("int8", shape, 3)
            for key, value in (("b_scale", scale), ("b_zero_point", zeros)):
                inputs = {**plain.inputs, key: value}
                yield replace(plain, name=f"{plain.name}, {key}: {name}", inputs=inputs)
    for absent in (("a_zero_point",), ("b_zero_point",), ("bias",), V1.optional):
        inputs = {k: v for k, v in plain.inputs.items() if k not in absent}
        yield replace(plain, name=f"without {' and '.join(absent)}", inputs=inputs)
    ones = {k: plain.inputs[k].reshape(1) for k in ("a_scale", "a_zero_point")}
    yield replace(plain, name="vectors of one value", inputs={**plain.inputs, **ones})


def rejects() -> Iterator[Call]:
    """Yield shapes that do not multiply, and parameters that do not fit."""
    for name, (a, b) in MISFITS.items():
        yield _call(name, np.zeros(a, np.uint8), np.zeros(b, np.int8), bias=np.zeros(4, np.float32))
    left, right = np.zeros((5, 7), np.uint8), np.zeros((7, 4), np.int8)
    for name, wrong in misshaped_parameters(right.shape, -1):
        yield _call(f"b_scale: {name}", left, right, b_scale=np.zeros(wrong, np.float32))
        yield _call(f"b_zero_point: {name}", left, right, b_zero_point=np.zeros(wrong, np.int8))
    for count in left.shape:
        zeros = np.zeros(count, np.float32)
        yield _call(f"{count} scales of a", left, right, a_scale=zeros)
        yield _call(f"{count} zero points of a", left, right, a_zero_point=zeros.astype(np.uint8))
    for shape in ((), (1,), (5,), (1, 4), (5, 4)):
        yield _call(f"bias of shape {shape}", left, right, bias=np.zeros(shape, np.float32))


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = call.inputs
    at = place(inputs["A"], inputs["B"], index)
    values = {
        "a": at.row_of(inputs["A"]),
        "b": at.column_of(inputs["B"]),
        "s_a": at.of_row(inputs["a_scale"]),
        "s_b": at.of_column(inputs["b_scale"]),
        "z_a": at.of_row(inputs.get("a_zero_point")),
        "z_b": at.of_column(inputs.get("b_zero_point")),
        "c": at.of_column(inputs.get("bias")),
    }
    return Element(
        formula=SCALED_SUMS,
        values=values,
        sets={"K": range(inputs["A"].shape[-1])},
        types={"T": type_name(inputs["a_scale"].dtype)},
    )


_BATCH = _call(
    "a bias, and one scale per column of a batch",
    tensor("uint8", [[[1]]]),
    tensor("uint8", [[[1, 1, 1]]]),
    a_scale=tensor("float32", 1),
    b_scale=tensor("float32", [0.1, 0.2, 0.3]),
    a_zero_point=tensor("uint8", 0),
    b_zero_point=tensor("uint8", 0),
    bias=tensor("float32", [10, 20, 30]),
)
_ZEROS = replace(
    _BATCH,
    name="one zero point per column of a batch",
    inputs={**_BATCH.inputs, "b_zero_point": tensor("uint8", [1, 2, 3])},
)
_UNIT = {name: tensor("float32", 1) for name in ("a_scale", "b_scale")}
_UNIT |= {"a_zero_point": tensor("uint8", 0), "b_zero_point": tensor("int8", 0)}
_UNIT |= {"bias": tensor("float32", [0])}
_EMPTY = _call("nothing to sum", np.zeros((2, 0), np.uint8), np.zeros((0, 3), np.uint8))

DIFFERS = (
    *vectors_of_batches(_BATCH, _ZEROS, 1.1, 4.2000003, 9.3),
    unwritten_sums(_EMPTY),
    adds_pairs(_call("a pair of products", *PAIR, **_UNIT), 32767),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(SCALED_SUMS,),
    cites=("ort-contrib", "onnx-matmulinteger", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
)
def matmul_integer_to_float(
    A: Array,
    B: Array,
    a_scale: Array,
    b_scale: Array,
    a_zero_point: Array | None = None,
    b_zero_point: Array | None = None,
    bias: Array | None = None,
    *,
    overflow: Overflow = "wrap",
) -> Array:
    """Sum products of codes in int32, scale the sum in float32, add the bias.

    Parameters
    ----------
    A, B
        Codes of int8 or uint8, multiplied as by :func:`numpy.matmul`: (..., M, K) by
        (..., K, N), or vectors.
    a_scale, a_zero_point
        One value each; a zero point that is absent is 0.
    b_scale, b_zero_point
        One value, N values (per column), or (..., 1, N); a zero point that is absent is 0.
    bias
        N values; none if absent.
    overflow
        ``"wrap"``: a sum beyond int32 wraps; ``"raise"``: it is an error.

    Returns
    -------
    Y
        Real numbers of the type of the scales, (..., M, N).

    Raises
    ------
    OperatorError
        For a missing input, a type that is not allowed, or shapes that do not fit.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Notes
    -----
    The declaration also speaks of a scale per column of ``A``. It could not be taken out of a sum
    over those columns, and onnxruntime refuses it. Scales of float16 are taken to float32; the
    result is rounded to float16 at the end.

    Examples
    --------
    >>> import numpy as np
    >>> A, B, one = np.uint8([[5, 7]]), np.int8([[9, 1], [4, 2]]), np.float32(1)
    >>> matmul_integer_to_float(A, B, np.float32(0.5), one, np.uint8(5), np.int8(1))
    array([[3., 1.]], dtype=float32)
    >>> matmul_integer_to_float(A, B, np.float32(0.5), one)
    array([[36.5,  9.5]], dtype=float32)

    One scale and zero point per column of ``B``; the bias is not scaled:

    >>> matmul_integer_to_float(A, B, one, np.float32([1, 0.5]), np.uint8(5), np.int8([1, 2]),
    ...                         np.float32([100, 200]))
    array([[106., 200.]], dtype=float32)

    The scales are multiplied with each other first: 0.1 * 0.1 is rounded, then the product:

    >>> tenth = np.float32(0.1)
    >>> matmul_integer_to_float(np.uint8([3]), np.uint8([1]), tenth, tenth), 3 * tenth * tenth
    (array(0.03, dtype=float32), np.float32(0.030000001))

    float16 is rounded to at the end, where it may overflow:

    >>> half = np.float16(16)
    >>> matmul_integer_to_float(np.uint8([255, 0]), np.uint8([[255, 3], [1, 1]]), half, half)
    array([inf, inf], dtype=float16)
    """
    left, right = as_matrices(NAME, {"A": A, "B": B})
    columns = right.shape[-1:]
    if bias is not None and bias.shape != columns:
        refuse(NAME, "bias", f"shape {bias.shape}", columns)
    zero_a = one_value(NAME, "a_zero_point", a_zero_point)
    zero_b = per_column(NAME, "b_zero_point", b_zero_point, B)
    sums = integer_matmul(subtract32(left, zero_a), subtract32(right, zero_b))
    scale_b = per_column(NAME, "b_scale", b_scale, B)
    multiplier = multiply(one_value(NAME, "a_scale", a_scale), scale_b)
    real = cast(scaled(accumulate(sums, overflow), multiplier, bias), a_scale.dtype)
    return without_vectors(real, A, B)
