"""Quantize real numbers as they come, multiply them by a matrix of codes, bring the sums back.

Three operators in one: DynamicQuantizeLinear fits a scale and zero point of uint8 to all of ``A``,
MatMulInteger sums, and the sums are scaled and get their bias as in MatMulIntegerToFloat.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.saturation import PAIR, adds_pairs, dynamic_factors
from qdqdoc.formula import Formula
from qdqdoc.numerics.dynamic import dynamic_parameters
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.numerics.products import Overflow, accumulate, integer_matmul
from qdqdoc.numerics.rounding import divide, multiply, round_to_grid, subtract32
from qdqdoc.numerics.scaled import scaled
from qdqdoc.registry import Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.matrices import (
    MISFITS,
    as_matrices,
    misshaped_parameters,
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

NAME = "DynamicQuantizeMatMul"
INT8 = ("int8", "uint8")

V1 = Version(
    since=1,
    inputs={"A": "T1", "B": "T2", "b_scale": "T1", "b_zero_point": "T2", "bias": "T1"},
    outputs={"Y": "T1"},
    types={"T1": ("float32",), "T2": INT8},
    optional=("b_zero_point", "bias"),
)

RULE = Formula(
    """
    lo = min(min(x[i] for i in X), 0)
    hi = max(max(x[i] for i in X), 0)
    s = 1 if hi == lo else f32(f32(hi - lo) / 255)
    z = saturate_uint8(rint(0 - f32(lo / s)))
    q[k] = saturate_uint8(rint(f32(a[k] / s)) + z)
    acc = wrap32(sum((q[k] - z) * (b[k] - z_b) for k in K))
    y = f32(f32(f32(acc) * f32(s * s_b)) + c)
    """,
    symbols={
        "x": "every value of `A`",
        "a": "row of `A`",
        "b": "column of `B`",
        "s_b": "`b_scale` of the tensor or column",
        "z_b": "`b_zero_point` of the tensor or column, 0 if absent",
        "c": "`bias` of the column, 0 if absent",
    },
    sets={"X": "positions in `A`", "K": "positions along the inner dimension"},
    name="quantize, sum, scale",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: shapes, ranges, ties, scales and zero points per column, bias."""
    long = np.full((1, 33026), 255, np.float32)
    wide = {"b_scale": tensor("float32", 1e-3), "b_zero_point": tensor("uint8", 0)}
    wide["bias"] = tensor("float32", [0])
    for name, row in (("wraps", long), ("is beyond 24 bits", long[:, :267])):
        yield _call(f"a sum that {name}", row, np.full(row.T.shape, 255, np.uint8), **wide)
    for b in INT8:
        for seed, (name, left, right) in enumerate(operands("int8", b)):
            values = np.random.default_rng(seed).normal(0, 2, left.shape).astype(np.float32)
            yield _call(f"{name}, {b}", values, right)
    yield from _columns()
    yield from _ranges()


def _call(name: str, a: Array, b: Array, **more: Array) -> Call:
    """Make a call with everything there is: a zero point and a bias that are not 0."""
    columns = b.shape[-1] if b.ndim > 1 else 1
    inputs = {
        "A": a,
        "B": b,
        "b_scale": tensor("float32", 0.3),
        "b_zero_point": np.array(120, b.dtype),
        "bias": tensor("float32", 7 * np.arange(columns) - 10.1),
    }
    return Call(name=name, inputs={**inputs, **more})


def _columns() -> Iterator[Call]:
    """Yield scales and zero points of each shape; optional inputs left out."""
    for a, b in (((5, 7), (7, 4)), ((2, 3, 5, 7), (3, 7, 4)), ((2, 7), (7,))):
        values = np.random.default_rng(1).normal(0, 2, a).astype(np.float32)
        plain = _call(f"{a} by {b}", values, random_codes("int8", b, 2))
        for name, shape in parameter_shapes(b, -1):
            count = int(np.prod(shape))
            scale = tensor("float32", np.linspace(0.01, 0.05, count)).reshape(shape)
            zeros = random_codes("int8", shape, 3)
            for key, value in (("b_scale", scale), ("b_zero_point", zeros)):
                inputs = {**plain.inputs, key: value}
                yield replace(plain, name=f"{plain.name}, {key}: {name}", inputs=inputs)
    for absent in (("b_zero_point",), ("bias",), V1.optional):
        inputs = {k: v for k, v in plain.inputs.items() if k not in absent}
        yield replace(plain, name=f"without {' and '.join(absent)}", inputs=inputs)


RANGES = {
    "ties": [0, 0.5, 1.5, 2.5, 254.5, 255],
    "ties above an odd zero point": [254, -1, 0.5, 1.5, 2.5],
    "a zero point on a tie": [-127.5, -0.5, 0.5, 127.5],
    "nothing but zeros": [0, 0],
    "above zero": [3, 5, 7.7],
    "below zero": [-3, -5, -7.7],
    "a range beyond float32": [-3e38, 3e38, 0],
    "a scale of zero": [0, 1e-45],
    "a scale of zero, below": [0, -1e-45],
}
# Highest, lowest and another value, searched so that orders of rounding differ: in the zero
# point, which shows where a rail is near, and in the codes.
DECIDING = (
    (64.00822, -197.1453, 50.6945),
    (135.07675, -19.730312, 50.691727),
    (71.564865, -71.62709, -1.9653797),
    (286.13245, -208.53719, 47.52708),
    (59.90625, -242.59747, -163.11476),
    (37.858685, -95.299446, -43.080574),
    (45.91964, -105.170784, 0),
)


def _ranges() -> Iterator[Call]:
    """Yield values that decide about the scale, the zero point and each rounding."""
    unit = {"b_scale": tensor("float32", 1), "b_zero_point": tensor("int8", 0)}
    deciding = ((f"{values}", values) for values in DECIDING)
    for name, values in (*RANGES.items(), *deciding):
        column = tensor("float32", values)[:, None]
        yield _call(name, column, tensor("int8", [[1, 2]]), **unit)
    unit["b_scale"] = tensor("float32", 3e38)
    yield _call(
        "zeros by a large scale", np.zeros((2, 1), np.float32), tensor("int8", [[1, 2]]), **unit
    )


def rejects() -> Iterator[Call]:
    """Yield shapes that do not multiply, and parameters that do not fit."""
    for name, (a, b) in MISFITS.items():
        bias = np.zeros(4, np.float32)
        yield _call(name, np.zeros(a, np.float32), np.zeros(b, np.int8), bias=bias)
    left, right = np.zeros((5, 7), np.float32), np.zeros((7, 4), np.int8)
    for name, wrong in misshaped_parameters(right.shape, -1):
        yield _call(f"b_scale: {name}", left, right, b_scale=np.zeros(wrong, np.float32))
        yield _call(f"b_zero_point: {name}", left, right, b_zero_point=np.zeros(wrong, np.int8))
    for shape in ((), (1,), (5,), (1, 4), (5, 4)):
        yield _call(f"bias of shape {shape}", left, right, bias=np.zeros(shape, np.float32))


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = call.inputs
    at = place(inputs["A"], inputs["B"], index)
    every = inputs["A"].ravel() if inputs["A"].size else np.zeros(1)
    values = {
        "x": every,
        "a": at.row_of(inputs["A"]),
        "b": at.column_of(inputs["B"]),
        "s_b": at.of_column(inputs["b_scale"]),
        "z_b": at.of_column(inputs.get("b_zero_point")),
        "c": at.of_column(inputs.get("bias")),
    }
    sets = {"X": range(every.size), "K": range(inputs["A"].shape[-1])}
    return Element(formula=RULE, values=values, sets=sets)


_BATCH = _call(
    "a bias, and one scale per column of a batch",
    tensor("float32", [[[255]]]),
    tensor("uint8", [[[1, 1, 1]]]),
    b_scale=tensor("float32", [0.1, 0.2, 0.3]),
    b_zero_point=tensor("uint8", 0),
    bias=tensor("float32", [10, 20, 30]),
)
_ZEROS = replace(
    _BATCH,
    name="one zero point per column of a batch",
    inputs={**_BATCH.inputs, "b_zero_point": tensor("uint8", [1, 2, 3])},
)
_PAIR = _call(
    "a pair of products",
    tensor("float32", [[255, 255]]),
    PAIR[1],
    b_scale=tensor("float32", 1),
    b_zero_point=tensor("int8", 0),
    bias=tensor("float32", [0]),
)


def _has_no_range(call: Call) -> Array:
    """Tell what comes of a tensor with NaN, and of a row with minus infinity."""
    A = call.inputs["A"]
    rows = np.asarray(np.isnan(A).any() | np.isneginf(A).any(axis=-1))
    return rows if call.inputs["B"].ndim == 1 else rows[..., None]


_EMPTY = _call("nothing to sum", np.zeros((2, 0), np.float32), np.zeros((0, 3), np.uint8))

DIFFERS = (
    *vectors_of_batches(_BATCH, _ZEROS, 26.5, 55, 85.5),
    Differs(
        "onnxruntime",
        replace(_PAIR, name="NaN", inputs={**_PAIR.inputs, "A": tensor("float32", [[np.nan, 1]])}),
        (float(tensor("float32", 127.00001)),),
        "NaN does not count as lowest or highest, and minus infinity takes the other rail.",
        "Silent. Here scale and product are NaN.",
        _has_no_range,
    ),
    unwritten_sums(_EMPTY),
    adds_pairs(_PAIR, 32767, factors=dynamic_factors),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(RULE,),
    cites=("ort-contrib", "onnx-dynamicquantizelinear", "onnx-matmulinteger"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
)
def dynamic_quantize_matmul(
    A: Array,
    B: Array,
    b_scale: Array,
    b_zero_point: Array | None = None,
    bias: Array | None = None,
    *,
    overflow: Overflow = "wrap",
) -> Array:
    """Quantize ``A`` to uint8 by its own range, sum products in int32, scale the sums.

    Parameters
    ----------
    A
        Real numbers, float32: (..., M, K), or a vector. One scale serves all of it, batches
        included.
    B
        Codes of int8 or uint8, (..., K, N), or a vector.
    b_scale, b_zero_point
        One value, N values (per column), or (..., 1, N); a zero point that is absent is 0.
    bias
        N values; none if absent.
    overflow
        ``"wrap"``: a sum beyond int32 wraps; ``"raise"``: it is an error.

    Returns
    -------
    Y
        Real numbers, float32, (..., M, N).

    Raises
    ------
    OperatorError
        For a missing input, a type that is not allowed, or shapes that do not fit.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Notes
    -----
    NaN and infinities in ``A`` have no documented meaning. Here a NaN makes all results NaN; what
    onnxruntime returns depends on where the NaN stands.

    Examples
    --------
    The range -1 to 254 has steps of 1 and its zero at code 1; 2.5 is a tie:

    >>> import numpy as np
    >>> A = np.float32([[-1, 254], [0, 2.5]])
    >>> dynamic_quantize_matmul(A, np.int8([[10], [1]]), np.float32(0.5))
    array([[122.],
           [  1.]], dtype=float32)

    One scale and zero point per column; the bias is not scaled:

    >>> dynamic_quantize_matmul(A, np.int8([[10, 10], [1, 1]]), np.float32([0.5, 1]),
    ...                         np.int8([0, 1]), np.float32([1000, 2000]))
    array([[1122., 1991.],
           [1001., 2000.]], dtype=float32)

    Values of one row change the steps of another: within a tenth of it 2.5 is kept better.

    >>> A[0] /= 10
    >>> dynamic_quantize_matmul(A, np.int8([[10], [1]]), np.float32(0.5))
    array([[12.2 ],
           [ 1.25]], dtype=float32)

    Zero is exact, whatever the range, and nothing but zeros gives the bias:

    >>> dynamic_quantize_matmul(np.float32([0, 0]), np.uint8([7, 9]), np.float32(0.5), None,
    ...                         np.float32([3]))
    array(3., dtype=float32)
    """
    left, right = as_matrices(NAME, {"A": A, "B": B})
    columns = right.shape[-1:]
    if bias is not None and bias.shape != columns:
        refuse(NAME, "bias", f"shape {bias.shape}", columns)
    zero_b = per_column(NAME, "b_zero_point", b_zero_point, B)
    scale_b = per_column(NAME, "b_scale", b_scale, B)
    scale, zero_point = dynamic_parameters(A)
    codes = round_to_grid(divide(left, scale, np.float32), zero_point, zero_point.dtype)
    sums = integer_matmul(subtract32(codes, zero_point), subtract32(right, zero_b))
    real = scaled(accumulate(sums, overflow), multiply(scale, scale_b), bias)
    return without_vectors(real, A, B)
