"""Choose between two tensors of codes, element by element, on the grid of the result.

Condition and tensors broadcast against each other. A tensor that already has scale and zero point
of the result is copied; the other is dequantized and quantized again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.regrid import regrid
from qdqdoc.registry import Call, Element, Version, operator
from qdqdoc.registry.elementwise import (
    DECIDING_GRIDS,
    ODD_SCALES,
    broadcast_index,
    check_broadcast,
    grids_with_ties,
    wrong_values,
)
from qdqdoc.registry.ties import every_code
from qdqdoc.registry.values import expect_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.registry.elementwise import Shape

NAME = "QLinearWhere"

V1 = Version(
    since=1,
    inputs={
        "condition": "B",
        "X": "T",
        "x_scale": "TF",
        "x_zero_point": "T",
        "Y": "T",
        "y_scale": "TF",
        "y_zero_point": "T",
        "z_scale": "TF",
        "z_zero_point": "T",
    },
    outputs={"Z": "T"},
    types={"B": ("bool",), "TF": ("float32",), "T": ("uint8", "int8")},
)

CHOSEN = Formula(
    "v = x if c != 0 else y\n"
    "s = s_x if c != 0 else s_y\n"
    "o = z_x if c != 0 else z_y\n"
    "z = v if s == s_z and o == z_z"
    " else saturate(rint(f32(f32(s * (v - o)) / s_z)) + z_z)",
    symbols={
        "c": "element of `condition`, 0 or 1",
        "x": "element of `X`",
        "s_x": "`x_scale`",
        "z_x": "`x_zero_point`",
        "y": "element of `Y`",
        "s_y": "`y_scale`",
        "z_y": "`y_zero_point`",
        "s_z": "`z_scale`",
        "z_z": "`z_zero_point`",
    },
    types={"T": "type of all codes"},
    name="chosen",
)

# Shapes of the condition, X and Y.
SHAPES: tuple[tuple[Shape, Shape, Shape], ...] = (
    ((2, 3), (2, 3), (2, 3)),
    ((), (6,), (6,)),
    ((6,), (), ()),
    ((6,), (1,), (6,)),
    ((6,), (6,), (1,)),
    ((2, 1), (3,), (1,)),
    ((1,), (3,), (2, 1)),
    ((2, 3), (1,), (2, 1)),
    ((2, 1, 1), (3, 1), (4,)),
    ((2, 3, 1), (3, 4), (4,)),
    ((4,), (2, 1, 1), (3, 1)),
    ((), (), ()),
    ((0,), (1,), (1,)),
    ((3,), (3,), (0, 3)),
)


def vectors() -> Iterator[Call]:
    """Yield each corner: copies and conversions, shapes, rails, empty tensors, odd scales."""
    for kind in ("uint8", "int8"):
        codes = every_code(kind)
        low, high = int(codes[0]), int(codes[-1])
        pair = np.tile([True, False, False], 86)[:256], codes, codes[::-1]
        for zero in (low, low + 128, high):
            name = f"{kind}, three grids, zero point {zero}"
            yield _call(pair, (0.5, zero), (0.75, low + 3), (1, zero), name)
        few = pair[0][:18], codes[::15], codes[::-15]
        yield _call(few, (1, 3), (0.5, 3), (1, 3), f"{kind}, X copied")
        yield _call(few, (0.5, 3), (1, 3), (1, 3), f"{kind}, Y copied")
        for scale in ODD_SCALES:
            name = f"{kind}, scale {scale}"
            yield _call(few, (scale, 3), (scale, 4), (scale, 3), f"{name}, X copied")
            yield _call(few, (scale, 4), (scale, 3), (scale, 3), f"{name}, Y copied")
            yield _call(few, (scale, 4), (1, 4), (1, 3), f"{name} of X")
            yield _call(few, (1, 4), (scale, 4), (1, 3), f"{name} of Y")
            yield _call(few, (1, 4), (0.5, 4), (scale, 3), f"{name} of Z")
    for number, (scales, zeros, code) in enumerate(DECIDING_GRIDS):
        kind = "int8" if min(*zeros, code) < 0 else "uint8"
        codes = tensor(kind, [code])
        x_grid, z_grid = zip(scales, zeros, strict=True)
        yield _call((np.array([True]), codes, codes), x_grid, (2, 1), z_grid, f"deciding {number}")
    some, codes = np.array([True, False, True]), tensor("uint8", [1, 3, 5, 77, 78, 79])
    for shapes in SHAPES:
        chosen, x, y = (
            np.resize(values, shape)
            for values, shape in zip((some, codes, codes[::-1]), shapes, strict=True)
        )
        name = " and ".join(map(str, shapes))
        yield _call((chosen, x, y), (0.5, 1), (2, 3), (0.75, 5), name)
    grids = ([0.5], 1), ([2], 3), ([0.75], 5)
    yield _call((some, codes[:3], codes[3:]), *grids, "vectors of one scale")


def _call(
    tensors: tuple[Array, Array, Array],
    x_grid: tuple[object, int],
    y_grid: tuple[object, int],
    z_grid: tuple[object, int],
    name: str,
) -> Call:
    inputs: dict[str, Array] = {"condition": tensors[0]}
    operands = {"x": tensors[1], "y": tensors[2]}
    for letter, (scale, zero) in zip("xyz", (x_grid, y_grid, z_grid), strict=True):
        if letter in operands:
            inputs[letter.upper()] = np.asarray(operands[letter])
        held = tensor("float32", scale)
        inputs[f"{letter}_scale"] = held
        inputs[f"{letter}_zero_point"] = np.full(held.shape, zero, tensors[1].dtype)
    return Call(name=name, inputs=inputs)


def ties() -> Iterator[Call]:
    """Yield every code for pairs of grids that put some on ties, or one unit beside them."""
    first, second = grids_with_ties(10, 150), grids_with_ties(11, 150)
    for number, ((x, x_scales, zeros), (_, y_scales, y_zeros)) in enumerate(
        zip(first, second, strict=True)
    ):
        condition = np.array([[True], [False]])
        grids = (x_scales[0], zeros[0]), (y_scales[0], y_zeros[0]), (x_scales[1], zeros[1])
        yield _call((condition, x, x), *grids, f"ties {number}")


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = call.inputs
    values: dict[str, object] = {}
    for symbol, name in (("c", "condition"), ("x", "X"), ("y", "Y")):
        operand = inputs[name]
        values[symbol] = operand[broadcast_index(index, operand.shape)].item()
    for letter in "xyz":
        values[f"s_{letter}"] = inputs[f"{letter}_scale"].item()
        values[f"z_{letter}"] = inputs[f"{letter}_zero_point"].item()
    return Element(formula=CHOSEN, values=values, types={"T": type_name(inputs["X"].dtype)})


def rejects() -> Iterator[Call]:
    """Yield scales and zero points that are not one value, and shapes that do not broadcast."""
    codes, chosen = tensor("uint8", [1, 2]), np.array([True, False])
    grids = (1, 0), (1, 0), (1, 0)
    right = _call((chosen, codes, codes), *grids, "")
    names = [name for name in V1.inputs if name not in {"condition", "X", "Y"}]
    yield from wrong_values(right, names, ((2,), (1, 1), (0,)))
    three, column = tensor("uint8", [1, 2, 3]), tensor("uint8", [[1], [2]])
    yield _call((chosen, three, codes), *grids, "X does not broadcast")
    yield _call((chosen, codes, three), *grids, "Y does not broadcast")
    yield _call((chosen[:1], codes, three), *grids, "Y does not broadcast against X")
    yield _call((chosen, column, three), *grids, "Y does not broadcast against both")


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(CHOSEN,),
    cites=("ort-contrib",),
    vectors=vectors,
    element=element,
    rejects=rejects,
    ties=ties,
)
def qlinear_where(
    condition: Array,
    X: Array,
    x_scale: Array,
    x_zero_point: Array,
    Y: Array,
    y_scale: Array,
    y_zero_point: Array,
    z_scale: Array,
    z_zero_point: Array,
) -> Array:
    """Take ``X`` where the condition holds and ``Y`` elsewhere, both on the grid of the result.

    Parameters
    ----------
    condition
        Truth values.
    X, Y
        Codes, uint8 or int8. The three tensors broadcast against each other.
    x_scale, y_scale, z_scale
        Steps of the grids of ``X``, ``Y`` and the result: one value each.
    x_zero_point, y_zero_point, z_zero_point
        Codes of the real number zero, of the type of ``X``: one value each.

    Returns
    -------
    Z
        Codes of the type of ``X``, in the shape that all three broadcast to.

    Raises
    ------
    OperatorError
        For a missing input, types that are not the same, shapes that do not broadcast, or a scale
        or zero point that is not one value.

    Notes
    -----
    A tensor on the result's grid is copied. That is visible where its scale is zero, or so large
    that real values are infinite: a way through real values would lose the codes.

    Examples
    --------
    ``X`` is on the result's grid. Steps of ``Y`` are half as wide, ties go to the even step, and
    then the zero point is added:

    >>> import numpy as np
    >>> half, one, three, none = np.float32(0.5), np.float32(1), np.uint8(3), np.uint8(0)
    >>> some, y = np.array([True, False, False, False]), np.uint8([1, 3, 5, 7])
    >>> qlinear_where(some, np.uint8(9), one, three, y, half, none, one, three)
    array([9, 5, 5, 7], dtype=uint8)
    >>> qlinear_where(some[:, None], y, half, none, np.uint8([9]), one, three, one, three)
    array([[3, 5, 5, 7],
           [9, 9, 9, 9],
           [9, 9, 9, 9],
           [9, 9, 9, 9]], dtype=uint8)

    Both rails hold:

    >>> x, nine, zero = np.int8([-128, 0, 127]), np.int8(9), np.int8(0)
    >>> qlinear_where(np.array(False), x, one, zero, x, one, zero, half, nine)
    array([-128,    9,  127], dtype=int8)

    A scale of zero: copied on the same grid, and with another zero point no number at all:

    >>> s = np.float32(0)
    >>> qlinear_where(np.array([[True], [False]]), x, s, nine, x, s, np.int8(8), s, nine)
    array([[-128,    0,  127],
           [-128, -128, -128]], dtype=int8)
    """
    check_broadcast(NAME, {"condition": condition, "X": X, "Y": Y})
    parameters = {
        "x_scale": x_scale,
        "x_zero_point": x_zero_point,
        "y_scale": y_scale,
        "y_zero_point": y_zero_point,
        "z_scale": z_scale,
        "z_zero_point": z_zero_point,
    }
    expect_one_value(NAME, **parameters)
    target = z_scale, z_zero_point
    x = regrid(X, (x_scale, x_zero_point), target)
    y = regrid(Y, (y_scale, y_zero_point), target)
    return np.where(condition, x, y)
