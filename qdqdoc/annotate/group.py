"""One group with its DQ and Q nodes, everything they say, and what stands around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdqdoc.annotate.nodes import neighbour, node, node_kind, node_tip, terminal
from qdqdoc.annotate.pen import AnnotateError, listed, source
from qdqdoc.annotate.text import shorten
from qdqdoc.document.problems import nearest
from qdqdoc.groups import Group, groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.annotate.pen import Pen
    from qdqdoc.document import Operation
    from qdqdoc.groups import Operand

MOST_READERS = 6


def group_view(pen: Pen, name: str) -> str:
    """Return the DOT text of the group that an operation belongs to."""
    found = groups(pen.document)
    group = _find(found, name)
    if group is None:
        known = [g.name for g in found]
        raise AnnotateError(
            f"group: no operation is named {shorten(name, 60)!r}{nearest(name, known)}"
        )
    return _Drawing(pen, found, group).draw()


def _find(found: Sequence[Group], name: str) -> Group | None:
    """Find a group by its operator first, by one of its Q and DQ nodes second."""
    by_name = {}
    for group in reversed(found):
        for operation in _members(group):
            by_name[operation.name] = group
    by_name |= {group.name: group for group in reversed(found)}
    return by_name.get(name)


def _members(group: Group) -> list[Operation]:
    members = [operand.dequantize for operand in group.operands]
    return [m for m in (*members, group.operation, group.quantize) if m is not None]


class _Drawing:
    """One group while it is drawn."""

    def __init__(self, pen: Pen, found: Sequence[Group], group: Group) -> None:
        self.pen = pen
        self.found = found
        self.group = group
        self.around: dict[int, str] = {}

    def draw(self) -> str:
        canvas = self.pen.canvas("group", ranksep="0.22")
        group = self.group
        if group.kind == "operator":
            self._node(canvas, "op", group.operation)
        end = "op"
        if group.quantize is not None:
            self._node(canvas, "q", group.quantize)
            end = "q"
        for operand in group.operands:
            self._operand(canvas, operand)
        if group.kind == "operator" and group.quantize is not None:
            self._edge(canvas, "op", "q", group.quantize.inputs[0])
        self._readers(canvas, "d0" if group.kind == "dequantize" else end)
        return source(canvas)

    def _node(self, canvas: Any, name: str, operation: Operation) -> None:  # noqa: ANN401 - graphviz has no types
        content = node(self.pen, operation, full=True)
        self.pen.node(canvas, name, content, node_kind(operation), node_tip(operation))

    def _edge(self, canvas: Any, tail: str, head: str, tensor: str) -> None:  # noqa: ANN401
        types = "\n".join(filter(None, (self.pen.dtype(tensor), self.pen.shape(tensor))))
        self.pen.edge(canvas, tail, head, types, tip=tensor)

    def _operand(self, canvas: Any, operand: Operand) -> None:  # noqa: ANN401
        head = "q" if self.group.kind == "quantize" else "op"
        first = operand.tensor
        if operand.dequantize is not None:
            name = f"d{operand.position}"
            self._node(canvas, name, operand.dequantize)
            if self.group.kind != "dequantize":
                self._edge(canvas, name, head, operand.tensor)
            first, head = operand.dequantize.inputs[0], name
        self._edge(canvas, self._origin(canvas, operand, first), head, first)

    def _origin(self, canvas: Any, operand: Operand, tensor: str) -> str:  # noqa: ANN401
        if operand.source is not None:
            return self._neighbour(canvas, self.found[operand.source])
        name = f"s{operand.position}"
        stored = operand.role != "activation"
        word = operand.role if stored else "input"
        content = terminal(self.pen, word, tensor)
        self.pen.node(canvas, name, content, "qdq-stored" if stored else "qdq-terminal", tensor)
        return name

    def _neighbour(self, canvas: Any, group: Group) -> str:  # noqa: ANN401
        if group.index not in self.around:
            name = f"g{group.index}"
            self.around[group.index] = name
            self.pen.node(canvas, name, neighbour(self.pen, group), "qdq-neighbour", group.name)
        return self.around[group.index]

    def _readers(self, canvas: Any, tail: str) -> None:  # noqa: ANN401
        readers = [
            (other, operand)
            for other in self.found
            for operand in other.operands
            if operand.source == self.group.index
        ]
        for other, operand in readers[:MOST_READERS]:
            tensor = operand.codes or operand.tensor
            self._edge(canvas, tail, self._neighbour(canvas, other), tensor)
        if readers[MOST_READERS:]:
            rest = listed([other.name for other, _ in readers[MOST_READERS:]])
            self.pen.node(canvas, "more", terminal(self.pen, "and", rest), "qdq-neighbour")
            self.pen.edge(canvas, tail, "more")
        if not readers:
            made = self.group.output
            self.pen.node(canvas, "end", terminal(self.pen, "output", made), "qdq-terminal", made)
            self._edge(canvas, tail, "end", made)
