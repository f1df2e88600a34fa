"""Turn codes into shares of one: exponentials of float32, their sum, and one quotient of float64.

A code counts by its distance from the largest one of its row, so the zero point of ``X`` has no
effect. All exponents are moved up until a row of the largest codes nearly fills float32. The scale
of ``Y`` enters as a whole number of steps: the reciprocal of the scale, rounded down.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.grids import as_vectors, grid_call, several_values, without
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, tensor, type_name
from qdqdoc.numerics.rounding import subtract32
from qdqdoc.numerics.softmax import exponentials, shares
from qdqdoc.registry import REQUIRED, Call, Element, Version, operator, refuse
from qdqdoc.registry.values import expect_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "QLinearSoftmax"
PER_AXIS = 13
"""The version of Softmax from which on a row runs along one axis."""

V1 = Version(
    since=1,
    inputs={
        "X": "T",
        "X_scale": "float32",
        "x_zero_point": "T",
        "y_scale": "float32",
        "y_zero_point": "T",
    },
    optional=("x_zero_point",),
    outputs={"Y": "T"},
    types={"T": ("int8", "uint8")},
    attributes={"axis": -1, "opset": REQUIRED},
)

SHARES = Formula(
    """
    h = f64((f32(log(f32(M / n))) - 5) / s_x)
    top = max(x[k] for k in K)
    e[k] = f32(exp(f64(f64(x[k] - top + h) * s_x)))
    d = sum_f32(e[k] for k in K)
    p = f64(e[j] * floor(f32(1 / s_y)) / d)
    y = saturate(rint(p) + z_y)
    """,
    symbols={
        "x": "row of `X`",
        "j": "position of the element in it",
        "n": "number of elements in it",
        "M": "the largest float32",
        "s_x": "`X_scale`",
        "s_y": "`y_scale`",
        "z_y": "`y_zero_point`",
    },
    sets={"K": "positions of the row, in order"},
    types={"T": "type of `X` and `Y`"},
    name="shares",
)

# Codes that begin a row of so many, scale of x, scale of y: searched so that orders of roundings
# differ. Shares of long rows are small, so it takes fine scales to see their last places.
DECIDING = (
    ((0,), 1, 0.1, 0.33333334),
    ((255, 255), 3, 0.2, 0.0019646364),
    ((255, 99), 2, 0.0387975, 1.1043135e-05),
    ((102, 151, 190, 6), 4, 0.11435144, 5.3683954e-07),
    ((102, 151, 190, 6), 4, 0.11435144, 1.9600886e-06),
    ((102, 151, 190, 6), 4, 0.11435144, 5.170786e-07),
    ((184, 55, 145, 32), 4, 0.1166918, 1.1480458e-07),
    ((255, 127), 61, 0.083611995, 7.891875e-07),
    ((255, 188), 430, 0.107535906, 5.283848e-06),
)

_call = partial(grid_call, tuple(V1.inputs), opset=PER_AXIS)


def vectors() -> Iterator[Call]:
    """Yield each corner: ties, both rails, flat and steep rows, both meanings of axis."""
    for kind in V1.types["T"]:
        low, high = integer_range(DTYPES[kind])
        x = tensor(kind, np.arange(72).reshape(6, 12) ** 3 % 256 + low)
        x[0], x[1, :3], x[2, 4:] = high, high, low
        for scales in ((0.05, 1 / 256), (1, 1 / 255), (0.004, 0.003), (0.05, 1e-4)):
            for zero in (low, low + 41, high):
                yield _call(f"{kind}, zero point {zero}, scales {scales}", x, scales, (3, zero))
        for s_x in (3e38, 1e-40):
            yield _call(f"{kind}, X_scale {s_x}", x, (s_x, 0.004), (3, low))
        for s_y in (2, 0.6, 0.34, 1e-39):
            yield _call(f"{kind}, y_scale {s_y}", x, (0.05, s_y), (3, low + 2))
        equal = np.full((2, 4), high, x.dtype)
        for zero, s_y in product((low, low + 1), (0.1, 0.07)):
            yield _call(f"{kind}, ties, zero point {zero}, {s_y}", equal, (0.1, s_y), (3, zero))
    for codes, n, s_x, s_y in DECIDING:
        row = tensor("uint8", [*codes, *[0] * (n - len(codes))])
        yield _call(f"a tie in one order, {codes}, y_scale {s_y}", row, (s_x, s_y), (0, 0))
    rng = np.random.default_rng(17)
    yield from _layout_vectors(rng.integers(-128, 128, (2, 3, 4, 5), np.int8))


def _layout_vectors(x: Array) -> Iterator[Call]:
    make = partial(_call, x=x, scales=(0.02, 0.004), zeros=(5, -100))
    plain = make("the default axis")
    yield plain
    for axis in range(-4, 4):
        for opset in (12, 13):
            yield make(f"axis {axis} of opset {opset}", axis=axis, opset=opset)
    yield make("opset 1", axis=1, opset=1)
    yield make("opset 28", axis=1, opset=28)
    yield make("one axis", x=x[0, 0, 0])
    yield make("no rows", x=x[:0])
    yield make("empty rows", x=x[..., :0])
    yield as_vectors(plain)
    yield without(plain, "x_zero_point")


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs, attributes = call.inputs, call.attributes
    x, axis = inputs["X"], attributes.get("axis", -1) % inputs["X"].ndim
    if attributes["opset"] < PER_AXIS:
        row = x[index[:axis]].reshape(-1)
        position = int(np.ravel_multi_index(index[axis:], x.shape[axis:]))
    else:
        row = np.moveaxis(x, axis, -1)[index[:axis] + index[axis + 1 :]]
        position = index[axis]
    values = {
        "x": row,
        "j": position,
        "n": len(row),
        "M": np.finfo(np.float32).max,
        "s_x": inputs["X_scale"].reshape(-1)[0],
        "s_y": inputs["y_scale"].reshape(-1)[0],
        "z_y": inputs["y_zero_point"].reshape(-1)[0],
    }
    types = {"T": type_name(x.dtype)}
    return Element(formula=SHARES, values=values, sets={"K": range(len(row))}, types=types)


def ties() -> Iterator[Call]:
    """Yield rows of few codes, whose shares are nearly ratios of small numbers."""
    rng = np.random.default_rng(9)
    for kind in V1.types["T"]:
        low, _ = integer_range(DTYPES[kind])
        for number in range(60):
            gap, ratio = int(rng.integers(1, 8)), int(rng.integers(2, 9))
            n = int(rng.integers(2, 20))
            x = tensor(kind, low + 100 + gap * rng.integers(0, 4, (40, n)))
            s_x = float(np.log(ratio) / gap)
            s_y = float(1 / np.float32(rng.choice([256, 255, 100, 77, 510, 1000])))
            zeros = low, low + int(rng.integers(0, 30))
            yield _call(f"{kind}, {number}th, powers of {ratio}", x, (s_x, s_y), zeros)


def rejects() -> Iterator[Call]:
    """Yield axes that are not there, scales that are none, and what is no scale of a tensor."""
    x = tensor("uint8", np.arange(6).reshape(2, 3))
    make = partial(_call, x=x, scales=(0.1, 0.004), zeros=(0, 0))
    plain = make("")
    for axis in (2, -3):
        yield make(f"axis {axis}", axis=axis)
    yield make("no axis", x=x[0, 0])
    for opset in (0, -1):
        yield make(f"opset {opset}", opset=opset)
    for name in ("X_scale", "y_scale"):
        for value in (0, -0.1, np.inf, np.nan):
            inputs = {**plain.inputs, name: tensor("float32", value)}
            yield replace(plain, name=f"{name} {value}", inputs=inputs)
    yield from several_values(plain)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(SHARES,),
    cites=("ort-contrib", "onnx-softmax"),
    vectors=vectors,
    element=element,
    rejects=rejects,
    ties=ties,
)
def qlinear_softmax(
    X: Array,
    X_scale: Array,
    x_zero_point: Array | None,
    y_scale: Array,
    y_zero_point: Array,
    *,
    axis: int = -1,
    opset: int = REQUIRED,  # type: ignore[assignment]  # checked before
) -> Array:
    """Divide the exponential of each code by the sum over its row, round to the grid.

    Parameters
    ----------
    X
        Codes, of one axis or more.
    X_scale, x_zero_point
        Grid of ``X``: a positive value, and a code without effect that may be left out.
    y_scale, y_zero_point
        Grid of ``Y``: a positive value and a code.
    axis
        Axis of the rows, or the first of them; negative counts from the back.
    opset
        Version of Softmax that is meant: before 13 all axes from ``axis`` on are one row.

    Returns
    -------
    Y
        Codes in the shape of ``X``.

    Raises
    ------
    OperatorError
        For a missing input or ``opset``, another type, an axis outside the rank, a scale that is
        not positive and finite, or a scale or zero point of more than one value.

    Examples
    --------
    Four equal shares of ten steps, or of fourteen, are ties; they go to the even neighbour, then
    the zero point is added:

    >>> import numpy as np
    >>> x, s_x, tenth = np.uint8([[9, 9, 9, 9]]), np.float32(0.1), np.float32(0.1)
    >>> qlinear_softmax(x, s_x, None, tenth, np.uint8(1), opset=13)
    array([[3, 3, 3, 3]], dtype=uint8)
    >>> qlinear_softmax(x, s_x, None, np.float32(0.07), np.uint8(1), opset=13)
    array([[5, 5, 5, 5]], dtype=uint8)

    The reciprocal of the scale is rounded down: 1 / 0.3 counts as 3 steps, 1 / 2 as none:

    >>> x = np.int8([50, -100, -100])
    >>> qlinear_softmax(x, s_x, None, np.float32(0.3), np.int8(1), opset=13)
    array([4, 1, 1], dtype=int8)
    >>> qlinear_softmax(x, s_x, None, np.float32(2), np.int8(1), opset=13)
    array([1, 1, 1], dtype=int8)

    A share of one is 256 steps of 1 / 256, one more than there is:

    >>> qlinear_softmax(x, s_x, None, np.float32(1 / 256), np.int8(-128), opset=13)
    array([ 127, -128, -128], dtype=int8)

    Before opset 13 the axes from ``axis`` on are one row:

    >>> x = np.uint8([[0, 0], [7, 7]])
    >>> percent, zero = np.float32(0.01), np.uint8(0)
    >>> qlinear_softmax(x, s_x, None, percent, zero, axis=0, opset=13)
    array([[33, 33],
           [67, 67]], dtype=uint8)
    >>> qlinear_softmax(x, s_x, None, percent, zero, axis=0, opset=12)
    array([[17, 17],
           [33, 33]], dtype=uint8)
    """
    expect_one_value(
        NAME,
        X_scale=X_scale,
        x_zero_point=x_zero_point,
        y_scale=y_scale,
        y_zero_point=y_zero_point,
    )
    for name, scale in (("X_scale", X_scale), ("y_scale", y_scale)):
        if not (scale > 0 and np.isfinite(scale)):
            refuse(NAME, name, scale, "a positive number")
    if opset < 1:
        refuse(NAME, "opset", opset, "1 or newer")
    if not -X.ndim <= axis < X.ndim:
        refuse(NAME, "axis", axis, f"an axis of X, which has rank {X.ndim}")
    if not X.size:
        return X
    if opset < PER_AXIS:
        count = int(np.prod(X.shape[: axis % X.ndim]))
        rows = X.reshape(count, X.size // count)
        return _rows(rows, X_scale, y_scale, y_zero_point).reshape(X.shape)
    rows = np.moveaxis(X, axis, -1)
    return np.moveaxis(_rows(rows, X_scale, y_scale, y_zero_point), -1, axis)


def _rows(x: Array, x_scale: Array, y_scale: Array, y_zero_point: Array) -> Array:
    """Take codes to codes along the last axis."""
    table = exponentials(x_scale, x.shape[-1])
    weights = table[subtract32(x.max(axis=-1, keepdims=True), x)]
    return shares(weights, y_scale, y_zero_point, x.dtype)
