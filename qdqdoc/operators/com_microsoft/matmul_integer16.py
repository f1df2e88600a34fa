"""Multiply matrices of 16 bits and keep the sums in 32, which two products can leave.

There are no zero points: the codes themselves are multiplied. The sum of two
of the largest products wraps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.numerics.products import Overflow, accumulate, integer_matmul
from qdqdoc.registry import Call, Element, Version, operator
from qdqdoc.registry.matrices import MISFITS, as_matrices, operands, place, without_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "MatMulInteger16"
INT16 = ("int16", "uint16")

V1 = Version(
    since=1,
    inputs={"A": "T1", "B": "T2"},
    outputs={"Y": "T3"},
    types={"T1": INT16, "T2": INT16, "T3": ("int32", "uint32")},
)

SUMS = Formula(
    "y = wrap32(sum(a[k] * b[k] for k in K))",
    symbols={"a": "row of `A`", "b": "column of `B`"},
    sets={"K": "positions along the inner dimension"},
    name="sums",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: shapes, rails, sums that wrap and sums that float32 cannot hold."""
    low, high = tensor("int16", [[-(2**15)] * 2]), tensor("int16", [[2**15 - 1] * 2])
    yield _call("one more than int32 holds", low, low.T)
    yield _call("just within int32", low, high.T)
    yield _call("just within int32, upwards", high, high.T)
    for a, b in (("int16", "int16"), ("uint16", "uint16"), ("int16", "uint16")):
        for name, left, right in operands(a, b):
            yield _call(f"{name}, {a} by {b}", left, right)
    for name, left, right in operands("int8", "int8"):
        small = (left.astype(np.int16), right.astype(np.int16))
        yield _call(f"{name}, codes of eight bits", *small)
    long = np.full((2, 600), 2**13 - 1, np.int16)
    yield _call("far beyond int32", long, long.T)
    yield _call("beyond float32", long[:, :7], long[:, :7].T)


def _call(name: str, a: Array, b: Array) -> Call:
    return Call(name=name, inputs={"A": a, "B": b})


def rejects() -> Iterator[Call]:
    """Yield shapes that do not multiply."""
    for name, (a, b) in MISFITS.items():
        yield _call(name, np.zeros(a, np.int16), np.zeros(b, np.int16))


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    a, b = call.inputs["A"], call.inputs["B"]
    at = place(a, b, index)
    values = {"a": at.row_of(a), "b": at.column_of(b)}
    return Element(formula=SUMS, values=values, sets={"K": range(a.shape[-1])})


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(SUMS,),
    cites=("ort-contrib", "onnx-matmulinteger"),
    vectors=vectors,
    element=element,
    rejects=rejects,
)
def matmul_integer16(A: Array, B: Array, *, overflow: Overflow = "wrap") -> Array:
    """Multiply, sum in int32.

    Parameters
    ----------
    A, B
        Codes of int16 or uint16, multiplied as by :func:`numpy.matmul`: (..., M, K) by
        (..., K, N), or vectors.
    overflow
        ``"wrap"``: a sum beyond int32 wraps; ``"raise"``: it is an error.

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

    Notes
    -----
    uint16 and a result of uint32 are declared, but onnxruntime runs int16 alone.

    Examples
    --------
    >>> import numpy as np
    >>> matmul_integer16(np.int16([[300, -2]]), np.int16([[300, 1], [5, 7]]))
    array([[89990,   286]], dtype=int32)

    A vector is a single row or column, whose dimension the result does not have:

    >>> matmul_integer16(np.int16([300, -2]), np.int16([[300, 1], [5, 7]]))
    array([89990,   286], dtype=int32)
    >>> matmul_integer16(np.int16([[300, 1], [5, 7]]), np.int16([300, -2]))
    array([89998,  1486], dtype=int32)

    Two products of the lowest code are one more than 32 bits hold, and wrap:

    >>> low = np.int16([-32768, -32768])
    >>> matmul_integer16(low, low)
    array(-2147483648, dtype=int32)
    >>> matmul_integer16(low, low, overflow="raise")
    Traceback (most recent call last):
    ...
    qdqdoc.numerics.products.AccumulatorOverflowError: sum 2147483648 leaves int32
    """
    left, right = as_matrices(NAME, {"A": A, "B": B})
    sums = integer_matmul(left, right)
    return without_vectors(accumulate(sums, overflow), A, B)
