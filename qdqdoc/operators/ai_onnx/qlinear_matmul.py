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

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import DTYPES, Array, is_integer, tensor, type_name
from qdqdoc.numerics.products import Overflow, accumulate, float8_matmul, integer_matmul
from qdqdoc.numerics.rounding import divide, f32, multiply, requantize
from qdqdoc.registry import (
    NEWEST_OPSET,
    PEERS,
    UNWRITTEN,
    Call,
    Differs,
    Element,
    Version,
    operator,
    refuse,
)
from qdqdoc.registry.ties import products

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
MULTIPLIER = "m = f32(f32(f32(s_a) * f32(s_b)) / f32(s_y))\n"

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


def vectors() -> Iterator[Call]:
    """Yield each corner: sign combinations, ties, rails, per row and column, batches, float8."""
    ramp = np.arange(-12, 12).reshape(6, 4)
    for a, b, y in ((a, b, y) for a in INT8 for b in INT8 for y in INT8):
        left, right = ramp + (12 if a == "uint8" else 0), ramp.T + (12 if b == "uint8" else 0)
        for zero in (1, 2):
            call = _call(left.astype(a), right.astype(b), y, (0.5, 0.25, 1.0), (3, 1, zero))
            yield replace(call, name=f"{a} by {b} to {y}, zero point {zero}", opset=10)
    rows, one = tensor("int8", [[1], [2], [3], [5], [7], [9], [-5], [100]]), tensor("int8", [[1]])
    yield _call(rows, one, "int8", (0.1, 1, 1), (0, 0, 0), "ties in float32 only")
    yield _call(rows, tensor("int8", [[127]]), "uint8", (1, 1, 1.0), (0, 0, 200), "both rails")
    yield from _shape_vectors()
    big, long = (np.full((1, n), 255, np.uint8) for n in (34000, 301))
    yield _call(big, big.T, "uint8", (0.5, 0.5, 4e7), (0, 0, 100), "the accumulator wraps")
    yield _call(long, long.T, "uint8", (5.5 / (301 * 255**2), 1, 1), (0, 0, 1), "beyond 2**24")
    for kind in ("float16", "bfloat16"):
        scales = tuple(tensor(kind, s) for s in (0.3, 0.07, 0.9))
        yield _call(ramp.astype(np.int8), ramp.T.astype(np.int8), "int8", scales, (1, 2, 3), kind)
    for a, y in ((a, y) for a in FLOAT8 for y in (*FLOAT8, "int8")):
        left, right = tensor(a, ramp / 4), tensor("float8e5m2", ramp.T * 8)
        left[0, 0], left[1, 1] = np.inf, np.nan
        yield _call(left, right, y, (0.5, 0.25, 0.3), (0, 0, 1), f"{a} by float8e5m2 to {y}")


def _call(
    a: Array, b: Array, y: str, scales: tuple[object, ...], zeros: tuple[int, ...], name: str = ""
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


def _shape_vectors() -> Iterator[Call]:
    rng = np.random.default_rng(3)
    a, b = (rng.integers(-128, 128, shape, np.int8) for shape in ((2, 3, 5, 7), (3, 7, 4)))
    plain = _call(a, b, "int8", (0.02, 0.01, 0.9), (3, -2, 5), "a batch")
    yield plain
    rows, columns = _several("a", (5,)), _several("b", (4,))
    flat = {**plain.inputs, "a": a[0, 0], "b": b[0]}
    yield replace(plain, name="per row", inputs={**flat, **rows})
    yield replace(plain, name="per column", inputs={**flat, **columns})
    yield replace(plain, name="per row and column", inputs={**flat, **rows, **columns})
    deep = {**_several("a", (2, 3, 5, 1)), **_several("b", (3, 1, 4))}
    yield replace(plain, name="per row and column of a batch", inputs={**plain.inputs, **deep})
    yield replace(plain, name="a vector by a matrix", inputs={**flat, "a": a[0, 0, 0]})
    yield replace(plain, name="a matrix by a vector", inputs={**flat, "b": b[0, :, 0]})
    yield replace(plain, name="two vectors", inputs={**flat, "a": a[0, 0, 0], "b": b[0, :, 0]})
    empty = {**flat, "a": a[0, 0, :, :0], "b": b[0, :0]}
    yield replace(plain, name="nothing to sum", inputs=empty)
    yield replace(plain, name="no rows", inputs={**flat, "a": a[0, 0, :0]})


def _several(matrix: str, shape: tuple[int, ...]) -> dict[str, Array]:
    count = int(np.prod(shape))
    scale = np.linspace(0.01, 0.05, count, dtype=np.float32).reshape(shape)
    zero_point = tensor("int8", np.arange(count).reshape(shape))
    return {f"{matrix}_scale": scale, f"{matrix}_zero_point": zero_point}


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = call.inputs
    a = inputs["a"] if inputs["a"].ndim > 1 else inputs["a"][None, :]
    b = inputs["b"] if inputs["b"].ndim > 1 else inputs["b"][:, None]
    position = [*index]
    if inputs["a"].ndim == 1:
        position.insert(len(position) - (inputs["b"].ndim > 1), 0)
    if inputs["b"].ndim == 1:
        position.append(0)
    *batch, row, column = position
    row_of_a = a[tuple(_aligned(batch, a.shape[:-2]))][row]
    column_of_b = b[tuple(_aligned(batch, b.shape[:-2]))][:, column]
    values: dict[str, object] = {"a": row_of_a, "b": column_of_b}
    for name in ("scale", "zero_point"):
        values[f"{name[0]}_a"] = _entry(inputs[f"a_{name}"], batch, row, 0)
        values[f"{name[0]}_b"] = _entry(inputs[f"b_{name}"], batch, 0, column)
        values[f"{name[0]}_y"] = inputs[f"y_{name}"].reshape(-1)[0]
    target = type_name(inputs["y_zero_point"].dtype)
    formula = TO_INTEGER if _all_integer(inputs["a"], inputs["b"]) else MIXED_TO_INTEGER
    if not is_integer(DTYPES[target]):
        formula = TO_FLOAT8
    sets = {"K": range(len(row_of_a))}
    return Element(formula=formula, values=values, sets=sets, types={"T": target})


def _aligned(batch: list[int], shape: tuple[int, ...]) -> list[int]:
    tail = batch[len(batch) - len(shape) :]
    return [0 if n == 1 else i for i, n in zip(tail, shape, strict=True)]


def _entry(parameter: Array, batch: list[int], row: int, column: int) -> object:
    if parameter.size == 1:
        return parameter.reshape(-1)[0]
    if parameter.ndim == 1:
        return parameter[row or column]
    where = [*_aligned(batch, parameter.shape[:-2]), row, column]
    return parameter[tuple(i if n > 1 else 0 for i, n in zip(where, parameter.shape, strict=True))]


def _all_integer(*arrays: Array) -> bool:
    return all(is_integer(array.dtype) for array in arrays)


def _shaped(name: str, parameter: Array, matrix: Array) -> Array:
    """Let a vector run along the rows of ``a`` or the columns of ``b``."""
    along, across = (-2, -1) if name.startswith("a") else (-1, -2)
    count = matrix.shape[along]
    if parameter.size == 1:
        return parameter.reshape(())
    if parameter.shape == (count,):
        return np.expand_dims(parameter, across)
    full = [*matrix.shape]
    full[across] = 1
    if parameter.shape != tuple(full):
        refuse(NAME, name, f"shape {parameter.shape}", f"(), ({count},) or {tuple(full)}")
    return parameter


def _check_shapes(a: Array, b: Array) -> None:
    inner = a.shape[-1:], b.shape[-2:][:1]
    fits = inner[0] == inner[1] != ()
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        fits = False
    if not fits:
        refuse(NAME, "b", f"shape {b.shape}", f"a shape that a of shape {a.shape} multiplies")


_COLUMN, _UNIT = tensor("int8", [[1], [2], [3], [4], [5], [6], [7], [8]]), tensor("int8", [[1]])
_TIES = _call(_COLUMN, _UNIT, "int8", (0.5, 1, 1), (0, 0, 3), "ties, odd zero point")
_NARROW = _call(_COLUMN, _UNIT, "int8", (0.1, 1, 1), (0, 0, 0), "a tie in float32 only")
_PER_ROW = replace(
    _TIES,
    name="per row",
    inputs={
        **_TIES.inputs,
        "a_scale": tensor("float32", range(1, 9)),
        "a_zero_point": tensor("int8", [0] * 8),
    },
)
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
            "A vector of scales for the rows of a is refused.",
            "a may have a scale per row.",
            lambda call: call.inputs["a_scale"].size > 1,
        )
        for peer in PEERS
    ),
    Differs(
        "onnxruntime",
        _EMPTY,
        UNWRITTEN,
        "With nothing to sum, the result is memory that was never written.",
        "A sum of nothing is 0.",
        lambda call: call.inputs["a"].shape[-1] == 0,
    ),
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
    _check_shapes(a, b)
    for name, parameter in (("y_scale", y_scale), ("y_zero_point", y_zero_point)):
        if parameter.size != 1:
            refuse(NAME, name, f"shape {parameter.shape}", "one value")
    left, right = (a if a.ndim > 1 else a[None, :]), (b if b.ndim > 1 else b[:, None])
    scales = _shaped("a_scale", a_scale, left), _shaped("b_scale", b_scale, right)
    zero_a = _shaped("a_zero_point", a_zero_point, left)
    zero_b = _shaped("b_zero_point", b_zero_point, right)
    if _all_integer(a, b):
        sums = integer_matmul(left.astype(np.int32) - zero_a, right.astype(np.int32) - zero_b)
        accumulator = accumulate(sums, overflow)
    else:
        pairs = ((left, zero_a), (right, zero_b))
        accumulator = float8_matmul(
            *(m.astype(np.float64) - z.astype(np.float64) for m, z in pairs)
        )
    multiplier = divide(multiply(*scales), f32(y_scale.reshape(())), np.float32)
    y = requantize(accumulator, multiplier, y_zero_point.reshape(()), y_zero_point.dtype)
    return y.reshape(_result_shape(a, b, y.shape))


def _result_shape(a: Array, b: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the dimensions that vectors were given."""
    rows = shape[-2:-1] if a.ndim > 1 else ()
    return (*shape[:-2], *rows, *(shape[-1:] if b.ndim > 1 else ()))
