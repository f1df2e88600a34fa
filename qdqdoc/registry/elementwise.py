"""What the element-wise operators share: shapes that broadcast, single values, grids of codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.operator import Call, Differs
from qdqdoc.registry.ties import every_code, nudge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Shape = tuple[int, ...]

ODD_SCALES = (0, np.inf, np.nan, -0.75, 3e38, 1e-45)
"""What a scale should not be; the arithmetic is defined for each of them."""

DECIDING_GRIDS = (
    ((0.5186566, 1), (155, 161), 21),
    ((0.0063809166, 0.27565563), (141, 8), 249),
    ((0.20362028, 0.7706244), (-25, -121), 98),
    ((0.6626395, 0.75045925), (98, 206), 145),
    ((7.8976626, 0.69430006), (44, 18), 40),
    ((2.3301888, 1), (-45, -69), 8),
    ((1.5100125, 0.6127587), (79, 4), 177),
    ((1.5100125, 0.6127587), (79, 4), 93),
    ((1.5100125, 0.6127587), (79, 4), 121),
    ((0.026043445, 1.0764623), (-18, -18), 44),
    ((0.39649403, 0.32532844), (202, 177), 58),
)
"""Scales of a source and a target, their zero points, and a code whose way from one to the other
tells orders of roundings apart: found by searching."""

LAYOUTS: tuple[tuple[Shape, Shape], ...] = (((-1, 1), (1, -1)), ((1, -1), (-1, 1)))
"""How two vectors of codes make all pairs: the first or the second runs along the inner axis."""


PAIRS: tuple[tuple[Shape, Shape], ...] = (
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 3), (2, 1)),
    ((2, 1), (2, 3)),
    ((2, 1), (1, 3)),
    ((1, 3), (2, 1)),
    ((2, 3, 1), (3, 1)),
    ((3, 1), (2, 3, 1)),
    ((2, 3, 1), (1, 1)),
    ((1, 3, 1), (2, 1, 1)),
    ((2, 1, 1), (1, 3, 1)),
    ((4,), ()),
    ((), (4,)),
    ((), ()),
    ((1,), (1,)),
    ((4, 1), (1,)),
    ((1,), (4, 1)),
    ((4, 1), ()),
    ((4, 1), (4, 1)),
    ((4, 1, 1), (1, 1)),
    ((2, 0), (2, 1)),
    ((0,), (1,)),
)
"""Shapes of two operands: each way in which one, both or neither is repeated."""


def check_broadcast(operator: str, tensors: Mapping[str, Array]) -> None:
    """Refuse the first tensor whose shape does not broadcast against those before it.

    >>> check_broadcast("Add", {"A": np.ones(2), "B": np.ones(3)})
    Traceback (most recent call last):
    ...
    qdqdoc.registry.checks.OperatorError: Add: B: found shape (3,), allowed: one that fits (2,)
    """
    shape: Shape = ()
    for name, one in tensors.items():
        try:
            shape = np.broadcast_shapes(shape, one.shape)
        except ValueError:
            refuse(operator, name, f"shape {one.shape}", f"one that fits {shape}")


def broadcast_index(index: Sequence[int], shape: Shape) -> Shape:
    """Tell which element of a tensor of this shape an element of the result comes from.

    >>> broadcast_index((1, 2, 3), (1, 7)), broadcast_index((1, 2, 3), ())
    ((0, 3), ())
    """
    tail = index[len(index) - len(shape) :]
    return tuple(0 if length == 1 else i for i, length in zip(tail, shape, strict=True))


def two_operands(
    operands: tuple[Array, Array],
    scales: Sequence[object],
    zero_points: Sequence[int | None],
    name: str,
) -> Call:
    """Make a call of an operator with inputs A, B and result C; a zero point may be left out."""
    kind = operands[0].dtype
    inputs: dict[str, Array] = {}
    for letter, scale, zero in zip("ABC", scales, zero_points, strict=True):
        if letter != "C":
            inputs[letter] = operands[letter == "B"]
        inputs[f"{letter}_scale"] = tensor("float32", scale)
        if zero is not None:
            inputs[f"{letter}_zero_point"] = np.array(zero, kind)
    return Call(name=name, inputs=inputs)


def broadcasts(
    scales: Sequence[object], zero_points: Sequence[int], codes: Sequence[int]
) -> Iterator[Call]:
    """Yield uint8 calls with operands of many shapes, whose first elements are the codes."""
    for shapes in PAIRS:
        first, second = (
            np.arange(code, code - int(np.prod(shape)), -1).astype(np.uint8).reshape(shape)
            for code, shape in zip(codes, shapes, strict=True)
        )
        name = f"{shapes[0]} and {shapes[1]}"
        yield two_operands((first, second), scales, zero_points, name)


def odd_scales() -> Iterator[Call]:
    """Yield calls where one of the three scales is zero, infinite, NaN, negative, huge or tiny."""
    for kind, zeros in (("uint8", (1, 2, 3)), ("int8", (-1, -2, 3))):
        pair = tensor(kind, [0, 1, 2, 3, 50, 100, 127]), tensor(kind, [2])
        for position, letter in enumerate("ABC"):
            for value in ODD_SCALES:
                scales = [value if i == position else 1 for i in range(3)]
                yield two_operands(pair, scales, zeros, f"{kind}, {letter}_scale {value}")


def forbidden() -> Iterator[Call]:
    """Yield shapes that do not broadcast, and scales and zero points that are no scalars."""
    codes = tensor("uint8", [[1, 2, 3]])
    right = two_operands((codes, codes), (1, 1, 1), (0, 0, 0), "")
    names = [name for name in right.inputs if name not in {"A", "B"}]
    yield from wrong_values(right, names, ((1,), (2,), (1, 1)))
    for first, second in (((3,), (2,)), ((2, 3), (2,)), ((2, 1), (3, 2)), ((0,), (2,))):
        pair = np.ones(first, np.uint8), np.ones(second, np.uint8)
        yield two_operands(pair, (1, 1, 1), (0, 0, 0), f"{first} and {second}")


def every_pair(
    scales: Iterator[Sequence[object]], zero_points: Iterator[Sequence[int]]
) -> Iterator[Call]:
    """Yield calls with all pairs of codes, in each type and layout by turns."""
    for number, several in enumerate(scales):
        kind = ("uint8", "int8")[number % 2]
        codes, layout = every_code(kind), number // 2 % 3
        if layout < len(LAYOUTS):
            first, second = (codes.reshape(shape) for shape in LAYOUTS[layout])
        else:
            first, second = np.repeat(codes, codes.size), np.tile(codes, codes.size)
        low = int(codes[0])
        zeros = [low + zero for zero in next(zero_points)]
        yield two_operands((first, second), several, zeros, f"{number}: every pair of {kind}")


def no_zero_point(call: Call) -> Differs:
    """Return the difference that operators of two operands share: ``call`` lacks one in between."""
    return Differs(
        "onnxruntime",
        call,
        None,
        "Only the last zero point can be left out: an empty name has no type to infer from.",
        "All three zero points are optional.",
        lambda other: not {"A_zero_point", "B_zero_point"} <= other.inputs.keys(),
    )


def wrong_values(right: Call, names: Sequence[str], shapes: Sequence[Shape]) -> Iterator[Call]:
    """Yield the call with each of the named scales and zero points in each wrong shape."""
    for name in names:
        for shape in shapes:
            inputs = {**right.inputs, name: np.full(shape, right.inputs[name])}
            yield Call(
                name=f"{name} of shape {shape}",
                inputs=inputs,
                attributes=right.attributes,
                more=right.more,
            )


def random_zero_points(seed: int) -> Iterator[tuple[int, int, int]]:
    """Yield three zero points without end, counted from the lower rail; often a rail itself."""
    rng = np.random.default_rng(seed)
    while True:
        a, b, c = (int(z) for z in rng.choice([0, 1, 127, 128, 255, *range(0, 255, 7)], 3))
        yield a, b, c


def grids_with_ties(
    seed: int, count: int
) -> Iterator[tuple[Array, tuple[Array, Array], tuple[int, int]]]:
    """Yield all codes, scales of a source and a target that put some on ties, and zero points."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        codes, target = every_code(("uint8", "int8")[number % 2]), rng.random() + 0.1
        odd, shift, steps = 2 * rng.integers(0, 40) + 1, rng.integers(1, 8), rng.integers(-2, 3)
        half = (rng.integers(0, 127) + 0.5) / rng.integers(1, 128)
        ratio = half if number % 3 else odd / 2.0**shift
        s_y = tensor("float32", target)
        s_x = nudge(tensor("float32", ratio) * s_y, int(steps))
        z_x, z_y = (int(z) for z in rng.integers(codes[0], codes[-1], 2, endpoint=True))
        yield codes, (s_x, s_y), (z_x, z_y)
