"""A compiled formula, and one evaluation of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from qdqdoc.formula.binding import elements, index_set, number, number_type, typed, wanted
from qdqdoc.formula.errors import FormulaError
from qdqdoc.formula.oracle import Compiler, Family, Frame, Run
from qdqdoc.formula.tree import Line, Reduce, walk
from qdqdoc.formula.values import Value, outer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Term(NamedTuple):
    """One term of a reduction: its index, its value, and the factors if the term is a product."""

    index: Any
    value: Value
    factors: tuple[Value, ...]


class Given(NamedTuple):
    """What the caller gives for one evaluation."""

    values: Mapping[str, Any]
    sets: Mapping[str, Any] | None
    types: Mapping[str, str] | None


class _Step(NamedTuple):
    """A compiled line: the slots of its target and, for a family, of its index."""

    target: int
    member: int | None
    run: Run


class Program:
    """A formula ready to run."""

    def __init__(self, lines: tuple[Line, ...], sets: Iterable[str], types: Iterable[str]) -> None:
        self.lines = lines
        self.compiler = Compiler(lines)
        self.steps = [self._step(line) for line in lines]
        slots = self.compiler.slots
        self.sets = [name for name in sets if name in slots]
        self.types = [name for name in types if name in slots]
        inner = {*self.sets, *self.types, *(line.target for line in lines), *_indices(lines)}
        self.inputs = [name for name in slots if name not in inner]
        self._traces: dict[int, Callable[[Frame], list[tuple[Any, ...]]]] = {}

    def _step(self, line: Line) -> _Step:
        index = None if line.index is None else self.compiler.bind(line.index)
        run = self.compiler.compile(line.value)
        return _Step(self.compiler.slot(line.target), index, run)

    def result(self, given: Given) -> Value:
        """Return the value of the last line."""
        frame = self._run(given, len(self.lines))
        return outer(self._last(frame, given))

    def trace(self, given: Given) -> dict[str, Value]:
        """Return every line's value by target, families by the members that were asked for."""
        frame = self._run(given, len(self.lines))
        self._last(frame, given)
        found: dict[str, Value] = {}
        for line, step in zip(self.lines, self.steps, strict=True):
            value = frame[step.target]
            if isinstance(value, Family):
                members = value.members.items()
                found.update({f"{line.target}[{i}]": outer(member) for i, member in members})
            else:
                found[line.target] = outer(value)
        return found

    def terms(self, target: str | None, given: Given) -> list[Term]:
        """Return the terms of the outermost reduction of a line."""
        position, reduction = self._reduction(target)
        rows = self._traces.get(position) or self._compile_trace(position, reduction)
        frame = self._run(given, position)
        step = self.steps[position]
        if step.member is not None:
            frame[step.member] = self._member(self.lines[position], given)
        return [
            Term(index, outer(value), tuple(map(outer, factors)))
            for index, value, *factors in rows(frame)
        ]

    def _run(self, given: Given, count: int) -> Frame:
        """Bind the inputs and run the first lines in order; families wait until asked."""
        frame: Frame = [None] * self.compiler.size
        self._bind(frame, given)
        for target, member, run in self.steps[:count]:
            frame[target] = run(frame) if member is None else Family(run, frame, member)
        return frame

    def _bind(self, frame: Frame, given: Given) -> None:
        compiler, slots = self.compiler, self.compiler.slots
        for name in self.inputs:
            value = wanted("value", name, given.values)
            if name in compiler.items:
                value = elements(name, value)
            elif name not in compiler.raw:
                value = number(name, value)
            frame[slots[name]] = value
        for name in self.sets:
            frame[slots[name]] = index_set(name, wanted("set", name, given.sets))
        for name in self.types:
            frame[slots[name]] = number_type(name, wanted("type", name, given.types))
        for (function, variable), slot in compiler.typed.items():
            frame[slot] = typed(function, variable, frame[slots[variable]])

    def _last(self, frame: Frame, given: Given) -> Any:  # noqa: ANN401 - exact or an interval
        value = frame[self.steps[-1].target]
        return value(self._member(self.lines[-1], given)) if isinstance(value, Family) else value

    def _member(self, line: Line, given: Given) -> Any:  # noqa: ANN401 - any index
        return wanted(f"value (which element of {line.target})", line.index or "", given.values)

    def _reduction(self, target: str | None) -> tuple[int, Reduce]:
        for position, line in enumerate(self.lines):
            if target in (None, line.target):
                for node in walk(line.value):
                    if isinstance(node, Reduce):
                        return position, node
        where = "the formula" if target is None else f"line {target!r}"
        raise FormulaError(f"{where} has no sum, min or max over an index set")

    def _compile_trace(
        self, position: int, reduction: Reduce
    ) -> Callable[[Frame], list[tuple[Any, ...]]]:
        line, step = self.lines[position], self.steps[position]
        if line.index is not None and step.member is not None:
            # A later line may have given the name of the index another slot.
            self.compiler.slots[line.index] = step.member
        self._traces[position] = self.compiler.trace(reduction)
        return self._traces[position]


def _indices(lines: Iterable[Line]) -> set[str]:
    nodes = (node for line in lines for node in walk(line.value))
    bound = {node.index for node in nodes if isinstance(node, Reduce)}
    return bound | {line.index for line in lines if line.index is not None}
