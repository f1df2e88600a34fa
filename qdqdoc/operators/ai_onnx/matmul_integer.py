"""Multiply matrices of codes and keep the sums: what comes out is the int32 accumulator itself.

Nothing is rounded. Each zero point is subtracted before its code is multiplied, products are
summed in 32 bits, and a sum that leaves them wraps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.saturation import PAIR, adds_pairs
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.numerics.products import Overflow, accumulate, integer_matmul
from qdqdoc.numerics.rounding import subtract32
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
    is_vector_of_batch,
    misshaped_parameters,
    operands,
    parameter_shapes,
    per_column,
    per_row,
    place,
    random_codes,
    unwritten_sums,
    without_vectors,
)
from qdqdoc.registry.values import is_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "MatMulInteger"
INT8 = ("int8", "uint8")

V10 = Version(
    since=10,
    inputs={"A": "T1", "B": "T2", "a_zero_point": "T1", "b_zero_point": "T2"},
    outputs={"Y": "T3"},
    types={"T1": INT8, "T2": INT8, "T3": ("int32",)},
    optional=("a_zero_point", "b_zero_point"),
)

SUMS = Formula(
    "y = wrap32(sum((a[k] - z_a) * (b[k] - z_b) for k in K))",
    symbols={
        "a": "row of `A`",
        "b": "column of `B`",
        "z_a": "`a_zero_point` of the tensor or row, 0 if absent",
        "z_b": "`b_zero_point` of the tensor or column, 0 if absent",
    },
    sets={"K": "positions along the inner dimension"},
    name="sums",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: signs, shapes, zero points per row and column, sums beyond 32 bits."""
    long = np.full((1, 33026), 255, np.uint8)
    yield _call("a sum wraps", long, long.T)
    zeros = {"b_zero_point": tensor("uint8", 255)}
    yield _call("a sum wraps downwards", long, np.zeros_like(long.T), **zeros)
    odd = long[:, :400]
    yield _call("beyond float32", odd, odd.T)
    for a, b in ((a, b) for a in INT8 for b in INT8):
        for number, (name, left, right) in enumerate(operands(a, b)):
            if (a, b) == ("uint8", "int8") or number < 3:  # noqa: PLR2004 - some of all shapes
                yield _call(f"{name}, {a} by {b}", left, right, 3, -2 if b == "int8" else 130)
    yield from _parameters()


def _call(name: str, a: Array, b: Array, *zeros: int, **more: Array) -> Call:
    inputs = {"A": a, "B": b, **more}
    for key, zero, like in zip(("a_zero_point", "b_zero_point"), zeros, (a, b), strict=False):
        inputs[key] = np.array(zero, like.dtype)
    return Call(name=name, inputs=inputs)


def _parameters() -> Iterator[Call]:
    """Yield zero points of each shape, for matrices and batches."""
    for a, b in (((5, 7), (7, 4)), ((2, 3, 5, 7), (3, 7, 4)), ((1, 4), (4, 1))):
        plain = _call(f"{a} by {b}", random_codes("int8", a, 1), random_codes("uint8", b, 2))
        for matrix, shape, axis, kind in (("a", a, -2, "int8"), ("b", b, -1, "uint8")):
            for name, allowed in parameter_shapes(shape, axis):
                zeros = {f"{matrix}_zero_point": random_codes(kind, allowed, 3)}
                inputs = {**plain.inputs, **zeros}
                yield replace(plain, name=f"{plain.name}, {matrix}: {name}", inputs=inputs)


def rejects() -> Iterator[Call]:
    """Yield shapes that do not multiply, and zero points that fit neither rows nor columns."""
    for name, (a, b) in MISFITS.items():
        yield _call(name, np.zeros(a, np.int8), np.zeros(b, np.int8))
    left, right = np.zeros((5, 7), np.int8), np.zeros((7, 4), np.int8)
    for matrix, shape, axis in (("a", left.shape, -2), ("b", right.shape, -1)):
        for name, wrong in misshaped_parameters(shape, axis):
            zeros = {f"{matrix}_zero_point": np.zeros(wrong, np.int8)}
            yield _call(f"{matrix}_zero_point: {name}", left, right, **zeros)


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    a, b = call.inputs["A"], call.inputs["B"]
    at = place(a, b, index)
    values = {
        "a": at.row_of(a),
        "b": at.column_of(b),
        "z_a": at.of_row(call.inputs.get("a_zero_point")),
        "z_b": at.of_column(call.inputs.get("b_zero_point")),
    }
    return Element(formula=SUMS, values=values, sets={"K": range(a.shape[-1])})


_IDENTITY = tensor("uint8", [[1, 0], [0, 1]])
_SQUARE = _call(
    "one zero point per row",
    tensor("uint8", [[10, 20], [30, 40]]),
    _IDENTITY,
    a_zero_point=tensor("uint8", [1, 2]),
)
_OBLONG = replace(
    _SQUARE,
    name="one zero point per row, of more rows than columns",
    inputs={
        **_SQUARE.inputs,
        "A": tensor("uint8", [[10, 20], [30, 40], [50, 60]]),
        "a_zero_point": tensor("uint8", [1, 2, 3]),
    },
)
_BATCH = _call(
    "one zero point per column of a batch",
    tensor("uint8", [[[10, 20]]]),
    _IDENTITY[None],
    b_zero_point=tensor("uint8", [1, 2]),
)
_EMPTY = _call("nothing to sum", np.zeros((2, 0), np.uint8), np.zeros((0, 3), np.uint8))
_PER_ROW = "a_zero_point may have an entry per row."

DIFFERS = (
    Differs(
        "onnx",
        _SQUARE,
        (9, 18, 29, 38),
        "The zero points of rows are subtracted from columns; it shows where there are as many.",
        _PER_ROW,
    ),
    *(
        Differs(
            peer,
            _OBLONG,
            None,
            "Zero points for the rows of A are refused.",
            _PER_ROW,
            lambda call: not is_one_value(call.inputs.get("a_zero_point")),
        )
        for peer in PEERS
    ),
    Differs(
        "onnxruntime",
        _BATCH,
        None,
        "A vector of zero points is refused if B is a batch; shape (..., 1, N) is taken.",
        "Names the vector for matrices and (..., 1, N) for batches.",
        lambda call: is_vector_of_batch(call.inputs.get("b_zero_point"), call.inputs["B"]),
    ),
    unwritten_sums(_EMPTY),
    adds_pairs(_call("a pair of products", *PAIR), 32767),
)


@operator(
    name=NAME,
    versions=(V10,),
    formulas=(SUMS,),
    cites=("onnx-matmulinteger", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
)
def matmul_integer(
    A: Array,
    B: Array,
    a_zero_point: Array | None = None,
    b_zero_point: Array | None = None,
    *,
    opset: int = NEWEST_OPSET,  # noqa: ARG001 - the checks before the kernel use it
    overflow: Overflow = "wrap",
) -> Array:
    """Subtract the zero points, multiply, sum in int32.

    Parameters
    ----------
    A, B
        Codes of int8 or uint8, multiplied as by :func:`numpy.matmul`: (..., M, K) by
        (..., K, N), or vectors.
    a_zero_point
        One value, M values (per row), or (..., M, 1); 0 if absent.
    b_zero_point
        One value, N values (per column), or (..., 1, N); 0 if absent.
    opset
        Version of the operator set that the model imports.
    overflow
        ``"wrap"``: a sum beyond int32 wraps, as ONNX says; ``"raise"``: it is an error.

    Returns
    -------
    Y
        Sums, int32, (..., M, N).

    Raises
    ------
    OperatorError
        For a missing input, a type that is not allowed, or shapes that do not fit.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Examples
    --------
    No sum of up to 33,025 products of 8 bits wraps:

    >>> (2**31 - 1) // 255**2
    33025

    Both zero points are subtracted before the product; left out, they are 0:

    >>> import numpy as np
    >>> A, B = np.uint8([[5, 7]]), np.int8([[9], [4]])
    >>> matmul_integer(A, B, np.uint8(5), np.int8(1)), matmul_integer(A, B)
    (array([[6]], dtype=int32), array([[73]], dtype=int32))

    One zero point per row of ``A``, one per column of ``B``:

    >>> ones = np.int8([[1, 1], [1, 1]])
    >>> matmul_integer(ones, ones, np.int8([0, 1]), None)
    array([[2, 2],
           [0, 0]], dtype=int32)
    >>> matmul_integer(ones, ones, None, np.int8([[0, 1]]))
    array([[2, 0],
           [2, 0]], dtype=int32)

    A vector is a single row or column, whose dimension the result does not have:

    >>> matmul_integer(np.int8([1, 2]), np.int8([[3, 4], [5, 6]]))
    array([13, 16], dtype=int32)
    >>> matmul_integer(np.int8([[3, 4], [5, 6]]), np.int8([1, 2]))
    array([11, 17], dtype=int32)

    The accumulator has 32 bits and wraps, or says so:

    >>> row = np.full(33026, 255, np.uint8)
    >>> matmul_integer(row, row)
    array(-2147451646, dtype=int32)
    >>> matmul_integer(row, row, overflow="raise")
    Traceback (most recent call last):
    ...
    qdqdoc.numerics.products.AccumulatorOverflowError: sum 2147515650 leaves int32
    """
    left, right = as_matrices(NAME, {"A": A, "B": B})
    zero_a = per_row(NAME, "a_zero_point", a_zero_point, A)
    zero_b = per_column(NAME, "b_zero_point", b_zero_point, B)
    sums = integer_matmul(subtract32(left, zero_a), subtract32(right, zero_b))
    return without_vectors(accumulate(sums, overflow), A, B)
