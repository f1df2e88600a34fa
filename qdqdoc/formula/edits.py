"""The errors that mutants make: for one node, what else somebody might have written.

Each function takes a node and yields pairs of a description and another node. They need not care
whether two of them propose the same; :mod:`qdqdoc.formula.mutants` keeps one.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

from qdqdoc.formula.rounding import POINTS
from qdqdoc.formula.tree import (
    And,
    Binary,
    Call,
    Choice,
    Compare,
    Item,
    Limit,
    Name,
    Negate,
    Node,
    Number,
    Reduce,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from fractions import Fraction

    Edits = Iterator[tuple[str, Node]]

# What a rounding point is mistaken for; a type variable for any of the usual three.
_USUAL: Final = ("f32", "f64", "f16")
_OTHER_POINTS: Final[dict[str, tuple[str, ...]]] = {
    "f64": ("f32",),
    "f32": ("f64", "f16"),
    "f16": ("f32", "bf16"),
    "bf16": ("f32", "f16"),
    "f8e4m3fn": ("f8e5m2", "f8e4m3fnuz"),
    "f8e5m2": ("f8e4m3fn", "f8e5m2fnuz"),
    "f8e4m3fnuz": ("f8e5m2fnuz", "f8e4m3fn"),
    "f8e5m2fnuz": ("f8e4m3fnuz", "f8e5m2"),
    "f4e2m1": ("f6e2m3",),
    "f6e2m3": ("f6e3m2", "f4e2m1"),
    "f6e3m2": ("f6e2m3", "f4e2m1"),
}
_OTHER_FUNCTIONS: Final[dict[str, tuple[str, ...]]] = {
    "rint": ("floor", "trunc", "half_up", "half_away"),
    "floor": ("rint", "trunc"),
    "saturate": ("saturate_narrow", "wrap"),
    "wrap32": ("wrap_int16", "wrap_uint32", "saturate_int32"),
    "abs": (),
}
_OTHER_SUMS: Final[dict[str, tuple[str, ...]]] = {
    "sum": ("sum_f32",),
    "sum_f32": ("sum", "sum_f64"),
    "anysum_f32": (),
    "min": ("max",),
    "max": ("min",),
}
_OTHER_COMPARISONS: Final[dict[str, tuple[str, ...]]] = {
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "==": ("!=",),
    "!=": ("==",),
}
_ADDITIVE, _MULTIPLICATIVE = "+-", "*/"


def other_roundings(node: Node, types: Collection[str]) -> Edits:
    """Drop a rounding point, or round to another type."""
    match node:
        case Call(point, (inner,)) if point in POINTS or point in types:
            yield f"no {point}", inner
            others = [*_USUAL, *types] if point in types else _OTHER_POINTS[point]
            for other in others:
                if other != point:
                    yield f"{other} for {point}", Call(other, (inner,))


def split_roundings(node: Node, types: Collection[str]) -> Edits:
    """Round the operand of a compound as well: what a processor without FMA does."""
    match node:
        case Call(point, (Binary(op, left, right),)) if point in POINTS or point in types:
            if isinstance(left, Binary):
                rounded = Binary(op, Call(point, (left,)), right)
                yield f"{point} on the left too", Call(point, (rounded,))
            if isinstance(right, Binary):
                rounded = Binary(op, left, Call(point, (right,)))
                yield f"{point} on the right too", Call(point, (rounded,))


def reciprocals(node: Node, types: Collection[str]) -> Edits:
    """Multiply by a rounded reciprocal instead of dividing."""
    match node:
        case Call(point, (Binary("/", left, right),)) if point in POINTS or point in types:
            one = Number(1, "1")
            if left != one:
                reciprocal = Call(point, (Binary("/", one, right),))
                yield "multiply by reciprocal", Call(point, (Binary("*", left, reciprocal),))


def associations(node: Node, types: Collection[str]) -> Edits:
    """Combine three operands in another order, where the order rounds differently."""
    match node:
        case Call(point, (Binary(op, left, right),)) if point in POINTS or point in types:
            group = _ADDITIVE if op in _ADDITIVE else _MULTIPLICATIVE
            for pair, third in _three_leaves(point, group, (op, left, right)):
                for leaf, other in (pair, pair[::-1]):
                    inner = _combine(point, group, leaf, third)
                    whole, _ = _combine(point, group, inner, other)
                    yield "another order", whole


_Leaf = tuple[Node, bool]
"""An operand, and whether it is subtracted or divided by."""


def _three_leaves(
    point: str, group: str, outer: tuple[str, Node, Node]
) -> Iterator[tuple[tuple[_Leaf, _Leaf], _Leaf]]:
    """Yield the two operands that are combined first, and the third."""
    op, left, right = outer
    away = op == group[1]
    match left:
        case Call(other, (Binary(inner, a, b),)) if other == point and inner in group:
            yield ((a, False), (b, inner == group[1])), (right, away)
    match right:
        case Call(other, (Binary(inner, a, b),)) if other == point and inner in group:
            yield ((a, away), (b, away != (inner == group[1]))), (left, False)


def _combine(point: str, group: str, one: _Leaf, two: _Leaf) -> _Leaf:
    """Combine two operands; if both are subtracted, their sum is."""
    (a, a_away), (b, b_away) = one, two
    if a_away and not b_away:
        a, b = b, a
    op = group[a_away != b_away]
    return Call(point, (Binary(op, a, b),)), a_away and b_away


def zero_point_moves(node: Node, types: Collection[str]) -> Edits:
    """Add the zero point before rounding to an integer instead of after, or the reverse."""
    match node:
        case Binary("+" | "-" as op, Call("rint", (inner,)), Name() | Number() | Item() as zero):
            moved = Binary(op, inner, zero)
            yield "zero point before rint", Call("rint", (moved,))
            if isinstance(inner, Call) and (inner.function in POINTS or inner.function in types):
                rounded = Call(inner.function, (moved,))
                yield f"zero point before rint, {inner.function}", Call("rint", (rounded,))
        case Binary("+", Name() | Number() | Item() as zero, Call("rint") as rounded):
            yield from zero_point_moves(Binary("+", rounded, zero), types)
        case Call("rint", (Binary("+" | "-" as op, inner, Name() | Number() | Item() as zero),)):
            yield "zero point after rint", Binary(op, Call("rint", (inner,)), zero)
        case Call(
            "rint",
            (Call(_, (Binary("+" | "-" as op, inner, Name() | Number() | Item() as zero),)),),
        ):
            yield "zero point after rint", Binary(op, Call("rint", (inner,)), zero)


def other_functions(node: Node) -> Edits:
    """Leave out or replace what rounds to integers, saturates or wraps."""
    match node:
        case Call(name, (inner,)) if name in _OTHER_FUNCTIONS or name.startswith("saturate_"):
            yield f"no {name}", inner
            modulo = (f"wrap_{name.removeprefix('saturate_')}",)
            for other in _OTHER_FUNCTIONS.get(name, modulo):
                yield f"{other} for {name}", Call(other, (inner,))
        case Call("clip", (value, low, high)):
            yield "no clip", value
            yield "no upper limit", Call("max", (value, low))
            yield "no lower limit", Call("min", (value, high))
        case Call("min" | "max" as name, arguments):
            other = "max" if name == "min" else "min"
            yield f"{other} for {name}", Call(other, arguments)
            for i in range(len(arguments)):
                rest = arguments[:i] + arguments[i + 1 :]
                yield "argument dropped", Call(name, rest) if len(rest) > 1 else rest[0]
        case Limit(end, type_):
            other = "highest" if end == "lowest" else "lowest"
            yield f"{other} for {end}", Limit(other, type_)


def other_sums(node: Node) -> Edits:
    """Sum in another type or order, or one term too few."""
    match node:
        case Reduce(kind, body, index, set_):
            for other in _OTHER_SUMS[kind]:
                yield f"{other} for {kind}", Reduce(other, body, index, set_)
            orders = ["all but the first of", "all but the last of"]
            if kind == "sum_f32":
                orders.append("reversed")
            for order in orders:
                yield f"{order} {set_}", Reduce(kind, body, index, set_, order)


def other_operators(node: Node) -> Edits:
    """Take + for -, or drop an operand."""
    match node:
        case Binary(op, left, right):
            if op in _ADDITIVE:
                other = "-" if op == "+" else "+"
                yield f"{other} for {op}", Binary(other, left, right)
            yield "right operand dropped", left
            if op in "+*":
                yield "left operand dropped", right
        case Negate(operand):
            yield "no minus", operand


def other_numbers(node: Node) -> Edits:
    """Change a constant by one."""
    match node:
        case Number(value, _) if math.isfinite(value):
            yield "constant + 1", _number(value + 1)
            yield "constant - 1", _number(value - 1)


def _number(value: Fraction | float) -> Node:
    if value < 0:
        return Negate(_number(-value))
    return Number(value, str(int(value) if value == int(value) else float(value)))


def other_choices(node: Node) -> Edits:
    """Swap or fix the branches of a choice, change or drop a comparison."""
    match node:
        case Choice(test, then, other):
            yield "branches swapped", Choice(test, other, then)
            yield "always the first branch", then
            yield "always the last branch", other
        case And(parts):
            for i in range(len(parts)):
                rest = parts[:i] + parts[i + 1 :]
                yield "comparison dropped", And(rest) if len(rest) > 1 else rest[0]
        case Compare(operands, ops):
            for i, op in enumerate(ops):
                for other_op in _OTHER_COMPARISONS[op]:
                    changed = (*ops[:i], other_op, *ops[i + 1 :])
                    yield f"{other_op} for {op}", Compare(operands, changed)


def other_names(node: Node, kin: Callable[[str], Collection[str]]) -> Edits:
    """Take another scale for a scale, another zero point for a zero point."""
    match node:
        case Name(name):
            for other in kin(name):
                yield f"{other} for {name}", Name(other)
        case Item(name, index):
            for other in kin(name):
                yield f"{other} for {name}", Item(other, index)


def edits(node: Node, types: Collection[str], kin: Callable[[str], Collection[str]]) -> Edits:
    """Yield every edit of one node."""
    typed = (
        other_roundings,
        split_roundings,
        reciprocals,
        associations,
        zero_point_moves,
    )
    plain = (other_functions, other_sums, other_operators, other_numbers, other_choices)
    yield from itertools.chain.from_iterable(edit(node, types) for edit in typed)
    yield from itertools.chain.from_iterable(edit(node) for edit in plain)
    yield from other_names(node, kin)
