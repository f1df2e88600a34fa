"""The checked tree of a formula: a handful of frozen nodes, and how to print them as text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    """A constant: an exact rational, an infinity or nan, with the text it was written as."""

    value: Fraction | float
    text: str


@dataclass(frozen=True, slots=True)
class Name:
    """A scalar: an input symbol, the target of an earlier line, or a bound index."""

    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """One element of an indexed input or of a family: ``x[k]``, ``x[i, j]``."""

    name: str
    index: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """``left op right`` with op one of ``+ - * /``; exact."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negate:
    """Unary minus."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A function, a rounding point or a type variable applied to its arguments."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """``lowest(T)`` or ``highest(T)``: an end of the finite range of a type variable."""

    end: str
    type: str


@dataclass(frozen=True, slots=True)
class Reduce:
    """``kind(body for index in set)``; ``order`` is empty except in mutants."""

    kind: str
    body: Node
    index: str
    set: str
    order: str = ""


@dataclass(frozen=True, slots=True)
class Compare:
    """A chain of comparisons, ``operands[0] ops[0] operands[1] ...``."""

    operands: tuple[Node, ...]
    ops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class And:
    """All of several comparisons."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """``then if test else other``; only the taken branch is evaluated."""

    test: Node
    then: Node
    other: Node


Node = Number | Name | Item | Binary | Negate | Call | Limit | Reduce | Compare | And | Choice


@dataclass(frozen=True, slots=True)
class Line:
    """``target = value``, or the family ``target[index] = value``."""

    target: str
    index: str | None
    value: Node


# The fields of each node that hold nodes, in reading order.
_ONE: dict[type, tuple[str, ...]] = {
    Binary: ("left", "right"),
    Negate: ("operand",),
    Reduce: ("body",),
    Choice: ("then", "test", "other"),
}
_MANY: dict[type, str] = {Item: "index", Call: "arguments", Compare: "operands", And: "parts"}


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below ``node``, in reading order."""
    kind = type(node)
    if kind in _MANY:
        below: tuple[Node, ...] = getattr(node, _MANY[kind])
        return below
    return tuple(getattr(node, field) for field in _ONE.get(kind, ()))


def with_children(node: Node, below: tuple[Node, ...]) -> Node:
    """Return ``node`` with other nodes below it."""
    kind = type(node)
    fields: dict[str, Any] = dict(zip(_ONE.get(kind, ()), below, strict=False))
    if kind in _MANY:
        fields = {_MANY[kind]: below}
    return replace(node, **fields)


def walk(node: Node) -> Iterator[Node]:
    """Yield ``node`` and everything below it, in reading order of their beginnings."""
    yield node
    for child in children(node):
        yield from walk(child)


_STRENGTH = {"+": 4, "-": 4, "*": 5, "/": 5}
_UNARY, _ATOM = 6, 9


def source(node: Node) -> str:
    """Return the text of a tree, with no more parentheses than it needs.

    >>> a, b = Name("a"), Name("b")
    >>> source(Binary("-", a, Binary("-", a, Call("f32", (Negate(b),)))))
    'a - (a - f32(-b))'
    """
    return _source(node)[0]


def line_source(line: Line) -> str:
    """Return the text of a line."""
    index = "" if line.index is None else f"[{line.index}]"
    return f"{line.target}{index} = {source(line.value)}"


def _source(node: Node) -> tuple[str, int]:  # noqa: PLR0911 - one for each kind of node
    """Return the text of a tree and how strongly its outermost operator binds."""
    match node:
        case Number(_, text):
            return text, _ATOM
        case Name(name):
            return name, _ATOM
        case Item(name, index):
            return f"{name}[{_commas(index)}]", _ATOM
        case Call(function, arguments):
            return f"{function}({_commas(arguments)})", _ATOM
        case Limit(end, type_):
            return f"{end}({type_})", _ATOM
        case Reduce():
            return _reduce_source(node), _ATOM
        case _:
            return _operator_source(node)


def _reduce_source(node: Reduce) -> str:
    order = f"{node.order} " if node.order else ""
    return f"{node.kind}({source(node.body)} for {node.index} in {order}{node.set})"


def _operator_source(node: Node) -> tuple[str, int]:
    match node:
        case Binary(op, left, right):
            own = _STRENGTH[op]
            return f"{_wrapped(left, own)} {op} {_wrapped(right, own + 1)}", own
        case Negate(operand):
            return f"-{_wrapped(operand, _UNARY)}", _UNARY
        case Compare(operands, ops):
            texts = [_wrapped(operand, 4) for operand in operands]
            tail = "".join(f" {op} {text}" for op, text in zip(ops, texts[1:], strict=True))
            return texts[0] + tail, 3
        case And(parts):
            return " and ".join(_wrapped(part, 3) for part in parts), 2
        case Choice(test, then, other):
            return f"{_wrapped(then, 2)} if {_wrapped(test, 2)} else {_wrapped(other, 1)}", 1
        case _:  # pragma: no cover - the callers dispatch on all kinds
            raise TypeError(node)


def _wrapped(node: Node, least: int) -> str:
    text, strength = _source(node)
    return text if strength >= least else f"({text})"


def _commas(nodes: tuple[Node, ...]) -> str:
    return ", ".join(source(node) for node in nodes)


def canonical(node: Node) -> Node:
    """Return the tree with the operands of ``+`` and ``*`` in one order.

    Trees with equal canonical forms have equal values: a mutant that merely commutes is none.

    >>> canonical(Binary("*", Name("b"), Name("a"))) == Binary("*", Name("a"), Name("b"))
    True
    """
    node = with_children(node, tuple(canonical(child) for child in children(node)))
    if isinstance(node, Binary) and node.op in "+*" and source(node.right) < source(node.left):
        return Binary(node.op, node.right, node.left)
    return node
