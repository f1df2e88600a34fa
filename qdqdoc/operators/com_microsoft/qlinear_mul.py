"""Multiply two tensors of codes: one exact product, one multiplier, the zero point before rounding.

The zero point of the result is added in float32, so the sum is rounded there before it is rounded
to the grid, and a tie is one with the zero point included: an odd one turns it around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, integer_range, tensor, type_name
from qdqdoc.numerics.rounding import divide, multiply, round_to_grid, subtract32
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
from qdqdoc.registry.ties import tie_multipliers
from qdqdoc.registry.values import expect_scalars

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "QLinearMul"

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

PRODUCT = Formula(
    "m = f32(f32(s_a * s_b) / s_c)\nc = saturate(rint(f32(f32((a - z_a) * (b - z_b) * m) + z_c)))",
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
    name="product",
)

# (scales of A, B, C; their zero points; codes of A and B): searched so that orders of roundings
# differ.
DECIDING = (
    ((0.0422918, 1, 1), (130, 69, 0), (57, 6)),
    ((0.01189637, 0.96317893, 1), (171, 0, 3), (251, 18)),
    ((0.054143973, 0.4807705, 1), (115, 51, 3), (66, 2)),
    ((0.083665214, 1, 0.70223916), (76, -80, 1), (68, -112)),
    ((0.019536197, 1, 1.0940268), (105, 12, 85), (74, 40)),
    ((0.6059866, 0.7579789, 0.40269598), (16, 150, 208), (14, 198)),
    ((0.0033417617, 1, 0.44814783), (4, 104, -2), (-87, -78)),
    ((0.53382146, 0.7646884, 0.99524766), (8, 214, 10), (6, 150)),
    ((0.04695364, 0.365787, 0.15031825), (0, 12, 113), (64, 20)),
    ((0.007784384, 1.0204035, 0.7746524), (211, 158, 71), (83, 198)),
)


def vectors() -> Iterator[Call]:
    """Yield each corner: orders of roundings, shapes, rails, absent zero points, odd scales."""
    for kind in V1.types["T"]:
        low, high = integer_range(kind)
        some = tensor(kind, range(low, high + 1, 17))
        pair, grid = (some, some[::-1]), (some[:, None], some)
        for zeros in ((low, low, low), (high, low, high), (1, 2, 3), (high, high, 0)):
            yield two_operands(pair, (0.1, 0.07, 0.75), zeros, f"{kind}, zero points {zeros}")
        yield two_operands(grid, (0.5, 0.125, 1), (1, 2, 3), f"{kind}, ties everywhere")
        yield two_operands(grid, (0.5, 0.125, 1), (1, 2, None), f"{kind}, no zero point of C")
        yield two_operands(pair, (0.5, 0.125, 1), (None, 2, 3), f"{kind}, no zero point of A")
        yield two_operands(pair, (0.5, 0.125, 1), (1, None, 3), f"{kind}, no zero point of B")
        yield two_operands(pair, (0.5, 0.125, 1), (None, None, None), f"{kind}, no zero points")
    for number, (scales, zeros, codes) in enumerate(DECIDING):
        kind = "int8" if min(*zeros, *codes) < 0 else "uint8"
        a, b = (tensor(kind, [code]) for code in codes)
        yield two_operands((a, b), scales, zeros, f"deciding {number}")
    yield from broadcasts((0.1, 0.07, 0.3), (200, 3, 100), (231, 225))
    yield from odd_scales()


def ties() -> Iterator[Call]:
    """Yield all pairs of codes for multipliers that put some products on or beside ties."""
    yield from every_pair(_tie_scales(), random_zero_points(6))


def _tie_scales() -> Iterator[tuple[Array, Array, Array]]:
    rng = np.random.default_rng(7)
    for seed in (3, 4, 5):
        for multiplier in tie_multipliers(seed):
            c = tensor("float32", rng.random() + 0.1)
            b = tensor("float32", 1 if rng.integers(2) else rng.random() + 0.1)
            yield multiplier * c / b, b, c


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs, values = call.inputs, dict[str, object]()
    for letter in "abc":
        name = letter.upper()
        values[f"s_{letter}"] = inputs[f"{name}_scale"]
        values[f"z_{letter}"] = inputs.get(f"{name}_zero_point", 0)
        if letter != "c":
            operand = inputs[name]
            values[letter] = operand[broadcast_index(index, operand.shape)]
    return Element(formula=PRODUCT, values=values, types={"T": type_name(inputs["A"].dtype)})


def _leaves_int32(call: Call) -> Array:
    """Mask the products of 2**31 steps or more, the zero point of the result included."""
    inputs = call.inputs
    s_a, s_b, s_c = (inputs[f"{letter}_scale"].astype(np.float64) for letter in "ABC")
    z_a, z_b, z_c = (int(inputs.get(f"{letter}_zero_point", 0)) for letter in "ABC")
    product = (inputs["A"].astype(np.int64) - z_a) * (inputs["B"].astype(np.int64) - z_b)
    with np.errstate(all="ignore"):
        return np.asarray(product * (s_a * s_b / s_c) + z_c >= 2.0**31)


_PAIR = tensor("uint8", [1, 2]), tensor("uint8", [2, 0])

DIFFERS = (
    no_zero_point(two_operands(_PAIR, (1, 1, 1), (None, 0, 0), "no zero point of A")),
    Differs(
        "onnxruntime",
        two_operands(_PAIR, (2**30, 1, 1), (0, 0, 3), "a product beyond int32"),
        (0, 3),
        "A result of 2**31 steps or more becomes the lowest int32, and so the lower rail.",
        "Silent; the arithmetic of the other operators saturates.",
        _leaves_int32,
    ),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(PRODUCT,),
    cites=("ort-contrib", "ort-mlas", "jacob2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=forbidden,
    ties=ties,
)
def qlinear_mul(
    A: Array,
    A_scale: Array,
    A_zero_point: Array | None,
    B: Array,
    B_scale: Array,
    B_zero_point: Array | None,
    C_scale: Array,
    C_zero_point: Array | None = None,
) -> Array:
    """Multiply codes of two grids, rounding the product to a third.

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
    The scaled product is rounded to float32, then its sum with the zero point, then that to a
    code: with a zero point far from 0, what was beside a tie can become one.

    A scale of zero or NaN needs no rule of its own: what is not a number gets the lowest code. A
    product beyond the grid, an infinite one too, gets the rail on its side.

    Examples
    --------
    Ties go to the even code after the zero point was added:

    >>> import numpy as np
    >>> a, none, half, one = np.uint8([1, 3, 5]), np.uint8(0), np.float32(0.5), np.float32(1)
    >>> qlinear_mul(a, half, none, np.uint8([1]), one, none, one, none)
    array([0, 2, 2], dtype=uint8)
    >>> qlinear_mul(a, half, none, np.uint8([1]), one, none, one, np.uint8(1))
    array([2, 2, 4], dtype=uint8)

    Both zero points are subtracted; a zero point left out is zero; both rails hold:

    >>> b, ten = np.int8([[-128], [12], [127]]), np.int8(10)
    >>> qlinear_mul(np.int8([8, 13]), one, ten, b, one, ten, one)
    array([[ 127, -128],
           [  -4,    6],
           [-128,  127]], dtype=int8)

    A zero point of 100 takes 0.5000001 steps to a tie:

    >>> above = np.float32(0.5000001)
    >>> qlinear_mul(a[:1], above, none, a[:1], one, none, one, none)
    array([1], dtype=uint8)
    >>> qlinear_mul(a[:1], above, none, a[:1], one, none, one, np.uint8(100))
    array([100], dtype=uint8)

    What is not a number becomes the lowest code:

    >>> qlinear_mul(np.int8([10, 11]), np.float32(np.inf), ten, np.int8([3]), one, ten, one, ten)
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
    multiplier = divide(multiply(A_scale, B_scale), C_scale, np.float32)
    # Differences of codes have 9 bits, so the product is exact in int32 and in float32.
    product = subtract32(A, z_a) * subtract32(B, z_b)
    return round_to_grid(multiply(product, multiplier) + z_c, none, A.dtype)
