"""Join tensors of codes along an axis; those of another grid are brought to the result's first.

The inputs come in triples: a tensor, its scale, its zero point. A tensor that already has scale and
zero point of the result is copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.regrid import regrid
from qdqdoc.registry import REQUIRED, Call, Element, Version, operator, refuse
from qdqdoc.registry.elementwise import (
    DECIDING_GRIDS,
    ODD_SCALES,
    grids_with_ties,
    wrong_values,
)
from qdqdoc.registry.ties import every_code
from qdqdoc.registry.values import expect_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "QLinearConcat"
TRIPLE = 3

V1 = Version(
    since=1,
    inputs={"Y_scale": "TF", "Y_zero_point": "T8", "inputs": "TV"},
    outputs={"Y": "T8"},
    types={"T8": ("uint8", "int8"), "TF": ("float32",), "TV": ("uint8", "int8", "float32")},
    attributes={"axis": REQUIRED},
    variadic="inputs",
)

JOINED = Formula(
    "y = x if s_x == s_y and z_x == z_y else saturate(rint(f32(f32(s_x * (x - z_x)) / s_y)) + z_y)",
    symbols={
        "x": "element of the tensor that the position falls into",
        "s_x": "scale of that tensor",
        "z_x": "zero point of that tensor",
        "s_y": "`Y_scale`",
        "z_y": "`Y_zero_point`",
    },
    types={"T": "type of all codes"},
    name="joined",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: copies and conversions, axes, rails, empty tensors, odd scales."""
    for kind in ("uint8", "int8"):
        codes = every_code(kind)
        low, high = int(codes[0]), int(codes[-1])
        for zero in (low, low + 128, high):
            parts = [(codes[::5], 0.5, zero), (codes[::7], 1, zero), (codes[::9], 1, high - zero)]
            if kind == "int8":
                parts[2] = (codes[::9], 1, -1 - zero)
            yield _call(parts, 1, zero, 0, f"{kind}, three grids, zero point {zero}")
        for scale in ODD_SCALES:
            few = codes[::15]
            # The same grid, another zero point, another scale: copied, converted, converted.
            parts = [(few, scale, 3), (few, scale, 4), (few, 1, 3)]
            yield _call(parts, scale, 3, 0, f"{kind}, Y_scale {scale}")
            yield _call(parts[:1], 1, 3, 0, f"{kind}, scale {scale}")
    for number, ((s_x, s_y), (z_x, z_y), code) in enumerate(DECIDING_GRIDS):
        kind = "int8" if min(z_x, z_y, code) < 0 else "uint8"
        yield _call([(tensor(kind, [code]), s_x, z_x)], s_y, z_y, 0, f"deciding {number}")
    yield from _layout_vectors()


def _call(
    parts: Sequence[tuple[Array, object, int]], scale: object, zero: int, axis: int, name: str
) -> Call:
    kind = parts[0][0].dtype
    more: list[Array] = []
    for codes, s, z in parts:
        s_x = tensor("float32", s)
        more += [np.asarray(codes), s_x, np.full(s_x.shape, z, kind)]
    s_y = tensor("float32", scale)
    inputs = {"Y_scale": s_y, "Y_zero_point": np.full(s_y.shape, zero, kind)}
    return Call(name=name, inputs=inputs, attributes={"axis": axis}, more=tuple(more))


def _layout_vectors() -> Iterator[Call]:
    whole = tensor("uint8", range(60)).reshape(3, 4, 5)
    for axis in range(-3, 3):
        pieces = np.split(whole, [1, 2], axis)
        parts = [(piece, s, z) for piece, s, z in zip(pieces, (0.5, 1, 2), (1, 2, 3), strict=True)]
        yield _call(parts, 1, 2, axis, f"axis {axis}")
    empty = whole[:, :0]
    yield _call([(empty, 0.5, 1), (whole, 0.5, 1)], 1, 2, 1, "nothing and something")
    yield _call([(empty, 0.5, 1), (empty, 1, 2)], 1, 2, 1, "nothing at all")
    yield _call([(whole, [0.5], 1), (whole, [1], 2)], [1], 2, 0, "vectors of one scale")
    yield _call([(whole, 0.5, 1)], 1, 2, 0, "one tensor")


def ties() -> Iterator[Call]:
    """Yield every code for pairs of grids that put some on ties, or one unit beside them."""
    for number, (codes, scales, zeros) in enumerate(grids_with_ties(9, 150)):
        yield _call([(codes, scales[0], zeros[0])], scales[1], zeros[1], 0, f"ties {number}")


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element: find the tensor that the position falls into."""
    along = call.attributes["axis"] % len(index)
    where, position = index[along], 0
    while where >= call.more[position].shape[along]:
        where -= call.more[position].shape[along]
        position += TRIPLE
    x, scale, zero = call.more[position : position + TRIPLE]
    values = {
        "x": x[(*index[:along], where, *index[along + 1 :])],
        "s_x": scale.item(),
        "z_x": zero.item(),
        "s_y": call.inputs["Y_scale"].item(),
        "z_y": call.inputs["Y_zero_point"].item(),
    }
    return Element(formula=JOINED, values=values, types={"T": type_name(x.dtype)})


def rejects() -> Iterator[Call]:
    """Yield triples that are not whole or not of one type, and shapes that do not join."""
    codes, one, none = (tensor("uint8", [[1, 2]]), tensor("float32", 1), tensor("uint8", 0))
    right = _call([(codes, 1, 0), (codes, 1, 0)], 1, 0, 0, "")
    yield from wrong_values(right, ("Y_scale", "Y_zero_point"), ((2,), (1, 1), (0,)))
    wrong = {
        "no tensor": (),
        "no scale and zero point": (codes,),
        "no zero point": (codes, one),
        "a triple and a tensor": (codes, one, none, codes),
        "a float tensor": (codes.astype(np.float32), one, none),
        "a tensor of another type": (codes, one, none, codes.astype(np.int8), one, none),
        "a scale of codes": (codes, none, none),
        "a zero point of another type": (codes, one, tensor("int8", 0)),
        "a float zero point": (codes, one, one),
        "two scales": (codes, tensor("float32", [1, 1]), none),
        "a matrix of one scale": (codes, tensor("float32", [[1]]), none),
        "two zero points": (codes, one, tensor("uint8", [0, 0])),
        "two zero points of the second": (codes, one, none, codes, one, tensor("uint8", [0, 0])),
        "a scalar": (tensor("uint8", 1), one, none),
        "another rank": (codes, one, none, codes[0], one, none),
        "another length": (codes, one, none, codes[:, :1], one, none),
    }
    for name, more in wrong.items():
        yield Call(name=name, inputs=right.inputs, attributes={"axis": 0}, more=more)
    for axis in (-3, 2):
        attributes = {"axis": axis}
        yield Call(name=f"axis {axis}", inputs=right.inputs, attributes=attributes, more=right.more)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(JOINED,),
    cites=("ort-contrib",),
    vectors=vectors,
    element=element,
    rejects=rejects,
    ties=ties,
)
def qlinear_concat(Y_scale: Array, Y_zero_point: Array, *inputs: Array, axis: int) -> Array:
    """Join tensors along an axis, on one grid.

    Parameters
    ----------
    Y_scale, Y_zero_point
        Grid of the result: one value each. The zero point's type is that of all codes.
    inputs
        For each tensor its codes, its scale and its zero point, one value each. The tensors have
        the same shape but for their lengths along ``axis``.
    axis
        Axis along which the tensors are joined; negative counts from the back.

    Returns
    -------
    Y
        Codes of the type of ``Y_zero_point``.

    Raises
    ------
    OperatorError
        For inputs that are no whole triples, types that are not the same, shapes that do not fit,
        an axis outside the rank, or a scale or zero point that is not one value.

    Notes
    -----
    A tensor on the result's grid is copied. That is visible where its scale is zero, or so large
    that real values are infinite: a way through real values would lose the codes.

    Examples
    --------
    The first tensor is on the result's grid. Steps of the second are half as wide, ties go to the
    even step, and then the zero point is added:

    >>> import numpy as np
    >>> half, one, three = np.float32(0.5), np.float32(1), np.uint8(3)
    >>> x, y = np.uint8([[1, 2]]), np.uint8([[1, 3], [5, 255]])
    >>> qlinear_concat(one, three, x, one, three, y, half, np.uint8(0), axis=0)
    array([[  1,   2],
           [  3,   5],
           [  5, 131]], dtype=uint8)
    >>> qlinear_concat(one, three, y.T, half, np.uint8(0), x.T, one, three, axis=-1)
    array([[  3,   5,   1],
           [  5, 131,   2]], dtype=uint8)

    Both rails hold:

    >>> x = np.int8([-128, 0, 127])
    >>> qlinear_concat(half, np.int8(9), x, one, np.int8(0), axis=0)
    array([-128,    9,  127], dtype=int8)

    A scale of zero: copied on the same grid, and with another zero point no number at all:

    >>> none = np.float32(0)
    >>> qlinear_concat(none, np.int8(9), x, none, np.int8(9), x, none, np.int8(8), axis=0)
    array([-128,    0,  127, -128, -128, -128], dtype=int8)
    """
    if not inputs or len(inputs) % TRIPLE:
        refuse(NAME, "inputs", f"{len(inputs)} tensors", "triples of codes, scale and zero point")
    expect_one_value(NAME, Y_scale=Y_scale, Y_zero_point=Y_zero_point)
    triples = [inputs[k : k + TRIPLE] for k in range(0, len(inputs), TRIPLE)]
    for number, triple in enumerate(triples):
        _check_triple(number * TRIPLE, triple, Y_zero_point.dtype)
    _check_shapes([codes for codes, _, _ in triples], axis)
    target = Y_scale, Y_zero_point
    parts = [regrid(codes, (scale, zero), target) for codes, scale, zero in triples]
    return np.concatenate(parts, axis)


def _check_triple(first: int, triple: tuple[Array, ...], kind: np.dtype[Any]) -> None:
    """Refuse what is no triple of codes, scale and zero point in one type."""
    names = [f"inputs[{first + k}]" for k in range(TRIPLE)]
    wanted = type_name(kind), "float32", type_name(kind)
    for name, array, allowed in zip(names, triple, wanted, strict=True):
        if type_name(array.dtype) != allowed:
            refuse(NAME, name, type_name(array.dtype), allowed)
    expect_one_value(NAME, **dict(zip(names[1:], triple[1:], strict=True)))


def _check_shapes(tensors: list[Array], axis: int) -> None:
    """Refuse an axis that the first tensor lacks, and tensors that do not continue it there."""
    rank = tensors[0].ndim
    if not -rank <= axis < rank:
        refuse(NAME, "axis", axis, f"{-rank} to {rank - 1}" if rank else "none for a scalar")
    along = axis % rank
    for number, codes in enumerate(tensors):
        wanted = list(tensors[0].shape)
        if codes.ndim == rank:
            wanted[along] = codes.shape[along]
        if codes.shape != tuple(wanted):
            text = f"{tuple(wanted)}, but for axis {along}"
            refuse(NAME, f"inputs[{number * TRIPLE}]", f"shape {codes.shape}", text)
