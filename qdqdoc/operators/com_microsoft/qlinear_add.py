"""Add two tensors of codes: each brings its ratio of scales, and one constant all zero points.

The sum is a chain of two fused multiply-adds in float32, then one rounding to the grid. The
operand added last is rounded once less; which one that is depends on how the shapes broadcast.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, integer_range, tensor, type_name
from qdqdoc.numerics.rounding import divide, fma, multiply, round_to_grid
from qdqdoc.registry import Call, Differs, Element, Version, operator
from qdqdoc.registry.elementwise import (
    broadcast_index,
    broadcasts,
    check_broadcast,
    every_pair,
    forbidden,
    no_zero_point,
    odd_scales,
    random_zero_points,
    two_operands,
)
from qdqdoc.registry.ties import nudge
from qdqdoc.registry.values import expect_scalars

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.registry.elementwise import Shape

    Term = tuple[Array, Array, Array]

NAME = "QLinearAdd"

V1 = Version(
    since=1,
    inputs={
        "A": "T",
        "A_scale": "float32",
        "A_zero_point": "T",
        "B": "T",
        "B_scale": "float32",
        "B_zero_point": "T",
        "C_scale": "float32",
        "C_zero_point": "T",
    },
    optional=("A_zero_point", "B_zero_point", "C_zero_point"),
    outputs={"C": "T"},
    types={"T": ("uint8", "int8")},
)

_rule = partial(
    Formula,
    symbols={
        "a": "element of `A`",
        "s_a": "`A_scale`",
        "z_a": "`A_zero_point`; zero where it is absent",
        "b": "element of `B`",
        "s_b": "`B_scale`",
        "z_b": "`B_zero_point` likewise",
        "s_c": "`C_scale`",
        "z_c": "`C_zero_point` likewise",
    },
    types={"T": "type of `A`, `B` and `C`"},
)
RATIOS = "r_a = f32(s_a / s_c)\nr_b = f32(s_b / s_c)\n"
A_LAST = _rule(
    RATIOS
    + "f = f32(z_c - f32(r_a * z_a + f32(r_b * z_b)))\n"
    + "c = saturate(rint(f32(a * r_a + f32(b * r_b + f))))",
    name="a last",
    when="along the innermost axis where either is longer than one, `A` is",
)
B_LAST = _rule(
    RATIOS
    + "f = f32(z_c - f32(r_b * z_b + f32(r_a * z_a)))\n"
    + "c = saturate(rint(f32(b * r_b + f32(a * r_a + f))))",
    name="b last",
    when="along that axis `A` has one element, or there is no such axis",
)

# (scales of A, B, C; their zero points; codes of A and B): searched so that orders of roundings
# differ. With the first, so do the two formulas.
DECIDING = (
    ((0.7578125, 0.60284895, 1), (167, 225, 16), (231, 225)),
    ((0.8629031, 0.062500015, 1), (128, 155, 248), (35, 87)),
    ((0.8629031, 0.062500015, 1), (128, 155, 248), (4, 19)),
    ((0.3651102, 0.47656253, 0.059661906), (-116, -20, 114), (-121, -28)),
    ((0.63756603, 1.102649, 0.29617828), (106, 72, 188), (5, 112)),
    ((0.63756603, 1.102649, 0.29617828), (106, 72, 188), (20, 95)),
    ((0.56047595, 0.859375, 1), (209, 181, 245), (209, 85)),
    ((0.8671876, 0.018066317, 1), (80, 45, 174), (141, 189)),
    ((0.8671876, 0.018066317, 1), (80, 45, 174), (57, 125)),
    ((0.04088585, 0.019876089, 0.19741642), (23, 14, 148), (241, 236)),
    ((1.8593751, 2.246479, 1), (35, 25, 14), (99, -46)),
    ((0.20703122, 4.0624995, 0.9561856), (229, 124, 245), (5, 124)),
    ((2.8157895, 0.052146915, 1), (35, 42, 71), (-22, 42)),
    ((0.17179489, 0.060113367, 0.036348797), (108, 154, 168), (91, 140)),
    ((0.04380676, 4.062499, 1), (39, 82, -112), (39, 90)),
    ((0.36718753, 0.005725058, 1), (36, 34, -60), (100, 34)),
    ((0.04450583, 0.77916676, 0.49393934), (219, 49, 118), (9, 119)),
)


def vectors() -> Iterator[Call]:
    """Yield each corner: orders of roundings, shapes, rails, absent zero points, odd scales."""
    for kind in V1.types["T"]:
        low, high = integer_range(kind)
        some = tensor(kind, range(low, high + 1, 17))
        half = tensor("float32", 0.5)
        for zeros in ((low, low, low), (high, low, high), (1, 2, 3), (high, high, 0)):
            pair = some, some[::-1]
            yield two_operands(pair, (half, 0.25, 0.75), zeros, f"{kind}, zero points {zeros}")
        grid = some[:, None], some
        yield two_operands(grid, (half, half, 1), (1, 2, 3), f"{kind}, ties everywhere")
        yield two_operands(grid, (half, half, 1), (1, 2, None), f"{kind}, no zero point of C")
    yield two_operands(pair, (half, half, 1), (None, 2, 3), "no zero point of A")
    yield two_operands(pair, (half, half, 1), (1, None, 3), "no zero point of B")
    yield two_operands(pair, (half, half, 1), (None, None, None), "no zero points")
    yield from broadcasts(*DECIDING[0])
    yield from _deciding_vectors()
    yield from odd_scales()


def _deciding_vectors() -> Iterator[Call]:
    for number, (scales, zeros, codes) in enumerate(DECIDING):
        kind = "int8" if min(*zeros, *codes) < 0 else "uint8"
        a, b = (tensor(kind, [code]) for code in codes)
        # With a vector, A is added last; the same turned around is a scalar and a vector.
        yield two_operands((a.repeat(2), b), scales, zeros, f"deciding {number}")
        (s_a, s_b, s_c), (z_a, z_b, z_c) = scales, zeros
        turned, name = (b.reshape(()), a.repeat(2)), f"deciding {number}, turned"
        yield two_operands(turned, (s_b, s_a, s_c), (z_b, z_a, z_c), name)


def ties() -> Iterator[Call]:
    """Yield all pairs of codes for ratios of scales that are, or almost are, odd / 2**k."""
    yield from every_pair(_tie_scales(), random_zero_points(5))


def _tie_scales() -> Iterator[tuple[Array, Array, Array]]:
    rng = np.random.default_rng(4)
    for number in range(36):
        c = tensor("float32", 1 if number % 4 else rng.random() + 0.1)
        several = [
            nudge(tensor("float32", odd / 2.0**shift) * c, steps)
            for odd, shift, steps in zip(
                2 * rng.integers(0, 40, 2) + 1,
                rng.integers(4, 9, 2),
                rng.integers(-2, 3, 2),
                strict=True,
            )
        ]
        yield several[0], several[1], c


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs, values = call.inputs, dict[str, object]()
    for letter in "abc":
        name = letter.upper()
        values[f"s_{letter}"] = inputs[f"{name}_scale"]
        values[f"z_{letter}"] = inputs.get(f"{name}_zero_point", 0)
    for letter in "ab":
        operand = inputs[letter.upper()]
        values[letter] = operand[broadcast_index(index, operand.shape)]
    shapes = inputs["A"].shape, inputs["B"].shape
    common = max(1, min(map(len, shapes)))
    a, b = ((1, *shape)[-common:] for shape in shapes)
    long = [m for m, n in zip(a, b, strict=True) if (m, n) != (1, 1)]
    formula = A_LAST if long and long[-1] > 1 else B_LAST
    return Element(formula=formula, values=values, types={"T": type_name(inputs["A"].dtype)})


def _terms(call: Call, kind: type[np.floating[Any]]) -> tuple[Array, Array, Array]:
    """Compute both products and the constant in one type, each step rounded to it."""
    inputs = call.inputs
    scales, zeros = (
        [np.asarray(inputs.get(f"{letter}_{name}", 0)).astype(kind) for letter in "ABC"]
        for name in ("scale", "zero_point")
    )
    with np.errstate(all="ignore"):
        r_a, r_b = scales[0] / scales[2], scales[1] / scales[2]
        constant = zeros[2] - (r_a * zeros[0] + r_b * zeros[1])
        return inputs["A"].astype(kind) * r_a, inputs["B"].astype(kind) * r_b, constant


def _leaves_int32(call: Call) -> Array:
    a, b, constant = _terms(call, np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(a + b + constant >= 2.0**31)


def _rounds_products(call: Call) -> Array:
    """Mask what plain products and sums bring to another code, in the order that SSE adds them.

    ``A`` is added first, unless along that axis ``A`` is longer than one and ``B`` is not.
    """
    a, b, constant = _terms(call, np.float32)
    ours = qlinear_add(**call.inputs)
    shapes = call.inputs["A"].shape, call.inputs["B"].shape
    if _runs(*shapes) and not _runs(*shapes[::-1]):
        a, b = b, a
    with np.errstate(all="ignore"):
        total = (constant + a) + b
    return np.asarray(round_to_grid(total, np.zeros((), ours.dtype), ours.dtype) != ours)


_PAIR = tensor("uint8", [1, 2]), tensor("uint8", [0, 0])

DIFFERS = (
    no_zero_point(two_operands(_PAIR, (1, 1, 1), (None, 0, 0), "no zero point of A")),
    Differs(
        "onnxruntime",
        two_operands(_PAIR, (2**30, 1, 1), (0, 0, 3), "a sum beyond int32"),
        (255, 0),
        "A sum of 2**31 steps or more becomes the lowest int32, and so the lower rail.",
        "Silent; the arithmetic of the other operators saturates.",
        _leaves_int32,
    ),
    Differs(
        "onnxruntime",
        two_operands(
            (tensor("uint8", [1]), tensor("uint8", [6])),
            (0.1, 0.9, 1),
            (0, 0, 0),
            "a tie without FMA",
        ),
        (5,),
        "Each product is rounded before it is added, and the operands are added in another order.",
        "Silent on the order and the number of roundings.",
        _rounds_products,
        "without FMA",
    ),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(A_LAST, B_LAST),
    cites=("ort-contrib", "ort-mlas", "boldo2008", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=forbidden,
    ties=ties,
)
def qlinear_add(
    A: Array,
    A_scale: Array,
    A_zero_point: Array | None,
    B: Array,
    B_scale: Array,
    B_zero_point: Array | None,
    C_scale: Array,
    C_zero_point: Array | None = None,
) -> Array:
    """Add codes of two grids, rounding the sum once to a third.

    Parameters
    ----------
    A, B
        Codes, uint8 or int8, of shapes that broadcast.
    A_scale, B_scale, C_scale
        Steps of the three grids: scalars.
    A_zero_point, B_zero_point, C_zero_point
        Codes of the real number zero: scalars of the type of the codes; zero where absent.

    Returns
    -------
    C
        Codes of the type of ``A``, in the shape that both broadcast to.

    Raises
    ------
    OperatorError
        For a missing input, types that are not all the same, shapes that do not broadcast, or a
        scale or zero point that is no scalar.

    Notes
    -----
    Each product of a code and its ratio of scales is added unrounded: a fused multiply-add. Where
    ``A`` is one element along the innermost axis, of those both have, along which either is longer
    than one, or there is no such axis, ``A`` is added first and ``B`` last; else the other way
    round. The zero points meet in the constant that both are added to.

    A scale of zero or NaN needs no rule of its own: what is not a number gets the lowest code. A
    sum beyond the grid, an infinite one too, gets the rail on its side.

    Examples
    --------
    A tie goes to the even code, zero points included, so an odd one turns it around:

    >>> import numpy as np
    >>> a, none, half, one = np.uint8([1, 3, 5]), np.uint8(0), np.float32(0.5), np.float32(1)
    >>> qlinear_add(a, half, none, np.uint8([0]), one, none, one, none)
    array([0, 2, 2], dtype=uint8)
    >>> qlinear_add(a, half, none, np.uint8([0]), one, none, one, np.uint8(1))
    array([2, 2, 4], dtype=uint8)

    Both zero points are subtracted; a zero point left out is zero; both rails hold:

    >>> b, ten = np.int8([[-128], [12], [127]]), np.int8(10)
    >>> qlinear_add(np.int8([10, 100]), one, ten, b, one, ten, one)
    array([[-128,  -48],
           [   2,   92],
           [ 117,  127]], dtype=int8)

    The same two codes, added in either order: 0.1 + 6 * 0.9 is a tie or beside it.

    >>> tenth, most, six = np.float32(0.1), np.float32(0.9), np.uint8([6])
    >>> qlinear_add(np.uint8([1]), tenth, none, six, most, none, one, none)
    array([6], dtype=uint8)
    >>> qlinear_add(np.uint8([1, 1]), tenth, none, six, most, none, one, none)
    array([5, 5], dtype=uint8)

    Against a row, a column is one element along the last axis:

    >>> column = np.uint8([[1], [1]])
    >>> qlinear_add(column, tenth, none, np.uint8([6, 6, 6]), most, none, one, none)
    array([[6, 6, 6],
           [6, 6, 6]], dtype=uint8)

    What is not a number becomes the lowest code:

    >>> qlinear_add(np.int8([0, 1]), np.float32(np.nan), ten, np.int8([3]), one, ten, one, ten)
    array([-128, -128], dtype=int8)
    """
    check_broadcast(NAME, {"A": A, "B": B})
    scales = {"A_scale": A_scale, "B_scale": B_scale, "C_scale": C_scale}
    zero_points = {
        "A_zero_point": A_zero_point,
        "B_zero_point": B_zero_point,
        "C_zero_point": C_zero_point,
    }
    expect_scalars(NAME, **scales, **zero_points)
    none = np.zeros((), A.dtype)
    z_a, z_b, z_c = (none if zero is None else zero for zero in zero_points.values())
    last = A, divide(A_scale, C_scale, np.float32), z_a
    first = B, divide(B_scale, C_scale, np.float32), z_b
    if not _runs(A.shape, B.shape):
        first, last = last, first
    return round_to_grid(_sum(first, last, z_c), none, A.dtype)


def _runs(a: Shape, b: Shape) -> bool:
    """Tell whether ``A`` is longer than one along the innermost axis where ``A`` or ``B`` is.

    Only the axes that both have are looked at; a scalar has one, of length one.
    """
    for length_a, length_b in zip(reversed(a), reversed(b or (1,)), strict=False):
        if (length_a, length_b) != (1, 1):
            return length_a != 1
    return False


def _sum(first: Term, last: Term, z_c: Array) -> Array:
    """Add the operands in steps of the result, as they come, to what all zero points make."""
    (codes, ratio, zero), (codes_last, ratio_last, zero_last) = first, last
    constant = z_c - fma(ratio_last, zero_last, multiply(ratio, zero))
    return fma(codes_last, ratio_last, fma(codes, ratio, constant))
