"""The scalar oracle: the checked tree as closures over one frame, in exact arithmetic.

Every name has a slot in a list, the frame. Compiling decides the slots once, so that evaluating
costs list reads and integer arithmetic; two reductions may both call their index k and
get two slots.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from qdqdoc.formula.binding import number
from qdqdoc.formula.errors import FormulaError
from qdqdoc.formula.functions import GATHERS, MONOTONE, ORDERS, RANGES, SEVERAL, UNARY
from qdqdoc.formula.language import RESULT_TYPE
from qdqdoc.formula.tree import (
    And,
    Binary,
    Call,
    Choice,
    Compare,
    Item,
    Limit,
    Line,
    Name,
    Negate,
    Node,
    Number,
    Reduce,
    walk,
)
from qdqdoc.formula.values import Interval, add, divide, exact, multiply, subtract

if TYPE_CHECKING:
    from qdqdoc.formula.rounding import Exact

Frame = list[Any]
Run = Callable[[Frame], Any]

_ARITHMETIC: Final[dict[str, Callable[[Exact, Exact], Exact]]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
}
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Family:
    """The members of a family line, computed when they are asked for."""

    def __init__(self, body: Run, frame: Frame, slot: int) -> None:
        self.body, self.frame, self.slot = body, frame, slot
        self.members: dict[Any, Any] = {}

    def __call__(self, index: Any) -> Any:  # noqa: ANN401 - an index may be anything hashable
        """Return the member with this index."""
        if index not in self.members:
            self.frame[self.slot] = index
            self.members[index] = self.body(self.frame)
        return self.members[index]


class Compiler:
    """Turns nodes into closures and remembers which slot each name has."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.size = 0
        self.slots: dict[str, int] = {}
        self.typed: dict[tuple[str, str], int] = {}  # (function, type variable) -> slot
        nodes = [node for line in lines for node in walk(line.value)]
        self.items = {node.name for node in nodes if isinstance(node, Item)}
        # A name that stands alone as an index may hold any index, for instance a tuple.
        self.raw = {
            index.name
            for node in nodes
            if isinstance(node, Item)
            for index in node.index
            if isinstance(index, Name)
        }

    def allocate(self) -> int:
        """Take the next slot."""
        self.size += 1
        return self.size - 1

    def slot(self, name: str) -> int:
        """Return the slot of a name."""
        if name not in self.slots:
            self.slots[name] = self.allocate()
        return self.slots[name]

    def bind(self, index: str) -> int:
        """Give an index a slot of its own; it may hold any index."""
        self.raw.add(index)
        self.slots[index] = self.allocate()
        return self.slots[index]

    def compile(self, node: Node) -> Run:  # noqa: PLR0911 - one for each kind of node
        """Return the closure that computes a node."""
        match node:
            case Number(value, _):
                constant = exact(value)
                return lambda _: constant
            case Name(name):
                return self.name(name)
            case Item(name, index):
                return self.item(name, index)
            case Binary(op, left, right):
                return _two(_ARITHMETIC[op], self.compile(left), self.compile(right))
            case Negate(operand):
                inner = self.compile(operand)
                return lambda frame: -inner(frame)
            case Limit(end, type_):
                slot, limit = self.slot(type_), operator.attrgetter(end)
                return lambda frame: limit(frame[slot])
            case Call(function, arguments):
                return self.call(function, [self.compile(argument) for argument in arguments])
            case Reduce():
                return self.reduce(node)
            case _:
                return self.choice(node)

    def name(self, name: str) -> Run:
        """Compile the reading of a scalar."""
        slot = self.slot(name)
        if name in self.raw:
            return lambda frame: number(name, frame[slot])
        return operator.itemgetter(slot)

    def item(self, name: str, index: tuple[Node, ...]) -> Run:
        """Compile the reading of an element."""
        slot = self.slot(name)
        places = [self.place(node) for node in index]
        if len(places) == 1:
            (place,) = places
            return lambda frame: frame[slot](place(frame))
        return lambda frame: frame[slot](tuple(place(frame) for place in places))

    def place(self, node: Node) -> Run:
        """Compile an index."""
        if isinstance(node, Name) and node.name in self.raw:
            return operator.itemgetter(self.slot(node.name))
        run = self.compile(node)
        return lambda frame: _whole(run(frame))

    def call(self, function: str, arguments: list[Run]) -> Run:
        """Compile a call; what a type variable means is known when the frame is bound."""
        if function in SEVERAL and len(arguments) > 1:
            several = SEVERAL[function]
            return lambda frame: several(*[argument(frame) for argument in arguments])
        (inner,) = arguments
        if function in UNARY:
            unary = UNARY[function]
            return lambda frame: unary(inner(frame))
        if function in MONOTONE:
            return _monotone(MONOTONE[function], inner)
        variable = RESULT_TYPE if function in RANGES else function
        slot = self.typed.setdefault((function, variable), self.size)
        if slot == self.size:
            self.allocate()
        self.slot(variable)
        return lambda frame: _monotone(frame[slot], inner)(frame)

    def reduce(self, node: Reduce) -> Run:
        """Compile a reduction to its value."""
        slot, (body,) = self.scoped(node, (node.body,))
        indices, order, gather = self.slot(node.set), ORDERS[node.order], GATHERS[node.kind]

        def gathered(frame: Frame) -> Any:  # noqa: ANN401 - exact or an interval
            terms = []
            for index in frame[indices][order]:
                frame[slot] = index
                terms.append(body(frame))
            return gather(terms)

        return gathered

    def trace(self, node: Reduce) -> Callable[[Frame], list[tuple[Any, ...]]]:
        """Compile a reduction to rows of index, term and the factors of the term."""
        slot, bodies = self.scoped(node, (node.body, *_factors(node.body)))
        indices = self.slot(node.set)

        def rows(frame: Frame) -> list[tuple[Any, ...]]:
            found = []
            for index in frame[indices]:
                frame[slot] = index
                found.append((index, *(body(frame) for body in bodies)))
            return found

        return rows

    def scoped(self, node: Reduce, bodies: Iterable[Node]) -> tuple[int, list[Run]]:
        """Compile bodies in which the index of a reduction has a slot of its own."""
        slot = self.bind(node.index)
        return slot, [self.compile(body) for body in bodies]

    def choice(self, node: Node) -> Run:
        """Compile a choice or its condition."""
        match node:
            case Choice(test, then, other):
                runs = self.compile(test), self.compile(then), self.compile(other)
                return lambda frame: runs[1](frame) if runs[0](frame) else runs[2](frame)
            case And(parts):
                tests = [self.compile(part) for part in parts]
                return lambda frame: all(test(frame) for test in tests)
            case Compare(operands, ops):
                return _chain([self.compile(o) for o in operands], [_COMPARISONS[o] for o in ops])
            case _:  # pragma: no cover - compile() has met all other kinds
                raise TypeError(node)


def _factors(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Binary) and node.op == "*":
        return (*_factors(node.left), *_factors(node.right))
    return (node,)


def _two(function: Callable[[Exact, Exact], Exact], left: Run, right: Run) -> Run:
    return lambda frame: function(left(frame), right(frame))


def _monotone(function: Callable[[Exact], Exact], inner: Run) -> Run:
    def run(frame: Frame) -> Any:  # noqa: ANN401 - exact or an interval
        value = inner(frame)
        return value.map(function) if isinstance(value, Interval) else function(value)

    return run


def _chain(operands: list[Run], tests: list[Callable[[Any, Any], bool]]) -> Run:
    def run(frame: Frame) -> bool:
        values = [operand(frame) for operand in operands]
        pairs = zip(tests, values, values[1:], strict=False)
        return all(test(a, b) for test, a, b in pairs)

    return run


def _whole(value: Exact) -> int:
    if isinstance(value, float) or value.denominator != 1:
        raise FormulaError(f"an index must be a whole number, not {value}")
    return int(value)
