"""Products of matrices: which shapes fit, and which row, column and parameters serve an element.

Operands multiply as by :func:`numpy.matmul`: batches broadcast, a vector is a single row or
column. A parameter is one value, a vector with an entry for each row or column, or a tensor of
the matrix's shape in which the summed dimension is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.formats import DTYPES, integer_range, tensor
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.operator import UNWRITTEN, Call, Differs
from qdqdoc.registry.values import expect_one_value, is_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qdqdoc.numerics.formats import Array


def as_matrices(operator: str, operands: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return both operands with two dimensions or more; refuse what does not multiply.

    Raises
    ------
    OperatorError
        If inner dimensions are missing or differ, or batches do not broadcast.
    """
    (name_a, a), (name_b, b) = operands.items()
    inner = a.shape[-1:], b.shape[-2:][:1]
    fits = inner[0] == inner[1] != ()
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        fits = False
    if not fits:
        allowed = f"a shape that {name_a} of shape {a.shape} multiplies"
        refuse(operator, name_b, f"shape {b.shape}", allowed)
    return (a if a.ndim > 1 else a[None, :]), (b if b.ndim > 1 else b[:, None])


def without_vectors(y: Array, a: Array, b: Array) -> Array:
    """Drop the dimensions of the product that vectors among the operands were given."""
    rows = y.shape[-2:-1] if a.ndim > 1 else ()
    return y.reshape((*y.shape[:-2], *rows, *(y.shape[-1:] if b.ndim > 1 else ())))


def per_row(operator: str, name: str, parameter: Array | None, a: Array) -> Array:
    """Shape a scale or zero point so that it broadcasts along the rows of ``a``; 0 if absent.

    >>> per_row("MatMul", "a_scale", np.float32([0.5, 2]), np.ones((2, 7))).tolist()
    [[0.5], [2.0]]

    A vector is a single row, and has one value:

    >>> per_row("MatMul", "a_scale", np.float32([0.5, 2]), np.ones(2))
    Traceback (most recent call last):
    ...
    qdqdoc.registry.checks.OperatorError: MatMul: a_scale: found shape (2,), allowed: one value

    Raises
    ------
    OperatorError
        If it is neither one value, nor a vector of M, nor of the matrix's shape (..., M, 1).
    """
    return _along(operator, name, parameter, a, -2)


def per_column(operator: str, name: str, parameter: Array | None, b: Array) -> Array:
    """Shape a scale or zero point so that it broadcasts along the columns of ``b``; 0 if absent.

    Raises
    ------
    OperatorError
        If it is neither one value, nor a vector of N, nor of the matrix's shape (..., 1, N).
    """
    return _along(operator, name, parameter, b, -1)


def _along(operator: str, name: str, parameter: Array | None, matrix: Array, axis: int) -> Array:
    if parameter is None:
        return np.zeros((), matrix.dtype)
    if matrix.ndim == 1 or is_one_value(parameter):
        return one_value(operator, name, parameter)
    across, count = -3 - axis, matrix.shape[axis]
    if parameter.shape == (count,):
        return np.expand_dims(parameter, across)
    full = [*matrix.shape]
    full[across] = 1
    if parameter.shape != tuple(full):
        refuse(operator, name, f"shape {parameter.shape}", f"(), ({count},) or {tuple(full)}")
    return parameter


def is_vector_of_batch(parameter: Array | None, matrix: Array) -> bool:
    """Tell whether several values stand as a vector beside more than one matrix."""
    return matrix.ndim > 2 and parameter is not None and parameter.ndim == 1 < parameter.size  # noqa: PLR2004 - rows, columns


def one_value(operator: str, name: str, parameter: Array | None, absent: int = 0) -> Array:
    """Return a parameter that has to be a scalar, or a vector of one, as a scalar.

    Raises
    ------
    OperatorError
        If it has another shape.
    """
    if parameter is None:
        return np.array(absent)
    expect_one_value(operator, **{name: parameter})
    return parameter.reshape(())


def same_shape(operator: str, scale: tuple[str, Array], zero_point: tuple[str, Array]) -> None:
    """Refuse a zero point of another shape than its scale; one value is one value.

    Raises
    ------
    OperatorError
        If the shapes differ.
    """
    (_, one), (name, other) = scale, zero_point
    if one.shape != other.shape and not one.size == other.size == 1:
        refuse(operator, name, f"shape {other.shape}", f"the shape of {scale[0]}, {one.shape}")


@dataclass(frozen=True)
class Place:
    """Where an element of the product stands: in which batch, row and column."""

    batch: tuple[int, ...]
    row: int
    column: int

    def row_of(self, a: Array) -> Array:
        """Return the row of the first operand that is multiplied."""
        matrix = a if a.ndim > 1 else a[None, :]
        return np.asarray(matrix[_aligned(self.batch, matrix.shape[:-2])][self.row])

    def column_of(self, b: Array) -> Array:
        """Return the column of the second operand that is multiplied."""
        matrix = b if b.ndim > 1 else b[:, None]
        return np.asarray(matrix[_aligned(self.batch, matrix.shape[:-2])][:, self.column])

    def of_row(self, parameter: Array | None) -> Any:  # noqa: ANN401 - a scalar of any type
        """Return the entry of a parameter that serves the row; 0 if there is no parameter."""
        return self._entry(parameter, self.row, (self.row, 0))

    def of_column(self, parameter: Array | None) -> Any:  # noqa: ANN401 - a scalar of any type
        """Return the entry of a parameter that serves the column; 0 if there is no parameter."""
        return self._entry(parameter, self.column, (0, self.column))

    def _entry(self, parameter: Array | None, single: int, pair: tuple[int, int]) -> Any:  # noqa: ANN401 - a scalar of any type
        if parameter is None:
            return 0
        if parameter.size == 1:
            return parameter.reshape(-1)[0]
        if parameter.ndim == 1:
            return parameter[single]
        return parameter[(*_aligned(self.batch, parameter.shape[:-2]), *pair)]


def place(a: Array, b: Array, index: Sequence[int]) -> Place:
    """Say where an element of the product stands, whatever vectors were multiplied.

    >>> place(np.ones((5, 7)), np.ones(7), (3,))
    Place(batch=(), row=3, column=0)
    >>> place(np.ones(7), np.ones((2, 7, 4)), (1, 3))
    Place(batch=(1,), row=0, column=3)
    """
    where = [*index]
    column = where.pop() if b.ndim > 1 else 0
    row = where.pop() if a.ndim > 1 else 0
    return Place(tuple(where), row, column)


def _aligned(batch: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Align batch indices with the dimensions that an operand has, as broadcasting does."""
    tail = batch[len(batch) - len(shape) :]
    return tuple(0 if n == 1 else i for i, n in zip(tail, shape, strict=True))


Shape = tuple[int, ...]
SHAPES: Mapping[str, tuple[Shape, Shape]] = {
    "a matrix by a matrix": ((5, 7), (7, 4)),
    "a batch": ((2, 3, 5, 7), (3, 7, 4)),
    "broadcast batches": ((2, 1, 2, 3), (1, 3, 3, 4)),
    "a batch by a matrix": ((2, 5, 7), (7, 4)),
    "a matrix by a batch": ((5, 7), (2, 7, 4)),
    "a vector by a matrix": ((7,), (7, 4)),
    "a vector by a batch": ((7,), (3, 7, 4)),
    "a matrix by a vector": ((5, 7), (7,)),
    "a batch by a vector": ((2, 3, 5, 7), (7,)),
    "two vectors": ((7,), (7,)),
    "no rows": ((0, 7), (7, 4)),
    "no columns": ((5, 7), (7, 0)),
    "an empty batch": ((0, 5, 7), (7, 4)),
    "nothing to sum": ((5, 0), (0, 4)),
}
"""The shapes that operands of a product may have, one of each kind."""


def random_codes(kind: str, shape: Shape, seed: int) -> Array:
    """Return codes from everywhere between the rails of an integer type."""
    low, high = integer_range(DTYPES[kind])
    return np.random.default_rng(seed).integers(low, high + 1, shape, DTYPES[kind])


def operands(first: str, second: str) -> Iterator[tuple[str, Array, Array]]:
    """Yield a name and two operands with codes of the given types, for each of :data:`SHAPES`."""
    for seed, (name, (a, b)) in enumerate(SHAPES.items()):
        yield name, random_codes(first, a, seed), random_codes(second, b, seed + 50)


MISFITS: Mapping[str, tuple[Shape, Shape]] = {
    "inner dimensions differ": ((5, 7), (6, 4)),
    "a column is longer than a row": ((5, 1), (7, 4)),
    "batches do not broadcast": ((2, 5, 7), (3, 7, 4)),
    "a scalar by a matrix": ((), (7, 4)),
    "a matrix by a scalar": ((5, 7), ()),
    "vectors of different lengths": ((7,), (6,)),
}
"""Shapes that do not multiply."""


def parameter_shapes(shape: Shape, axis: int) -> Iterator[tuple[str, Shape]]:
    """Yield the shapes that a scale or zero point may have along an axis, -2 or -1, of a matrix.

    >>> dict(parameter_shapes((3, 7, 4), -1))
    {'one value': (1,), 'a vector': (4,), 'the whole shape': (3, 1, 4)}
    """
    yield "one value", (1,)
    if len(shape) == 1:
        return
    full = [*shape]
    full[-3 - axis] = 1
    yield "a vector", (shape[axis],)
    yield "the whole shape", tuple(full)


def misshaped_parameters(shape: Shape, axis: int) -> Iterator[tuple[str, Shape]]:
    """Yield shapes that a scale or zero point of a matrix must not have.

    >>> dict(misshaped_parameters((7, 4), -1))
    {'one too many': (5,), 'along the sum': (7,), 'turned': (4, 1), 'two dimensions': (1, 1)}
    """
    count, summed = shape[axis], shape[-3 - axis]
    yield "one too many", (count + 1,)
    yield "along the sum", (summed,)
    yield "turned", (1, count) if axis == -2 else (count, 1)  # noqa: PLR2004 - rows
    yield "two dimensions", (1, 1)


def several(matrix: str, shape: Shape) -> dict[str, Array]:
    """Return a scale and a zero point of int8 of a shape, as inputs of ``matrix``."""
    count = int(np.prod(shape))
    scale = np.linspace(0.01, 0.05, count, dtype=np.float32).reshape(shape)
    zero_point = np.linspace(-128, 127, count, dtype=np.int8).reshape(shape)
    return {f"{matrix}_scale": scale, f"{matrix}_zero_point": zero_point}


def granularities(a: Shape, b: Shape) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield a name and inputs: scales and zero points of rows, of columns, of both."""
    rows = {"no": {}, **{name: several("a", shape) for name, shape in parameter_shapes(a, -2)}}
    columns = {"no": {}, **{name: several("b", shape) for name, shape in parameter_shapes(b, -1)}}
    for row, column in product(rows, columns):
        yield f"{row} for rows, {column} for columns", {**rows[row], **columns[column]}


def misshaped(matrix: str, shape: Shape, axis: int) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield a name and one input, a scale or zero point that the matrix must not have."""
    for name, wrong in misshaped_parameters(shape, axis):
        for key, value in several(matrix, wrong).items():
            yield f"{key}: {name}", {key: value}


def vectors_of_batches(scales: Call, zeros: Call, *theirs: float) -> tuple[Differs, Differs]:
    """Return the differences of vectors beside a batch ``B``, one of scales and one of zero points.

    ``theirs`` is what onnxruntime makes of the call with scales.
    """
    return (
        Differs(
            "onnxruntime",
            scales,
            tuple(tensor("float32", theirs).tolist()),
            "If B is a batch, a vector of scales multiplies last: the bias is scaled, too. "
            "A scale of shape (..., 1, N) is applied before the bias.",
            "The bias is added to the product.",
            lambda call: is_vector_of_batch(call.inputs["b_scale"], call.inputs["B"]),
        ),
        Differs(
            "onnxruntime",
            zeros,
            None,
            "A vector of zero points is refused if B is a batch; shape (..., 1, N) is taken.",
            "b_zero_point may have an entry per column.",
            lambda call: is_vector_of_batch(call.inputs.get("b_zero_point"), call.inputs["B"]),
        ),
    )


def unwritten_sums(call: Call) -> Differs:
    """Return the difference that onnxruntime's products of codes share: ``call`` sums nothing."""
    return Differs(
        "onnxruntime",
        call,
        UNWRITTEN,
        "With nothing to sum, the result is memory that was never written.",
        "A sum of nothing is 0.",
        lambda other: next(iter(other.inputs.values())).shape[-1] == 0,
    )
