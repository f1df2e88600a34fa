"""A graph while it is being understood: nodes, constants, types, and the graph around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qdqdoc.extract.types import UNKNOWN, ValueType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.document.model import Role
    from qdqdoc.extract.constants import Constant


@dataclass(slots=True)
class Node:
    """A node whose attributes are plain values already."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    graphs: dict[str, Scope] = field(default_factory=dict)

    def at(self, position: int | None) -> str:
        """Return the tensor at a position (outputs from -1 down), empty where there is none."""
        if position is None:
            return ""
        names, index = (self.inputs, position) if position >= 0 else (self.outputs, -1 - position)
        return names[index] if index < len(names) else ""

    def number(self, attribute: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attributes.get(attribute)
        return value if isinstance(value, int) else default


@dataclass(slots=True, eq=False)
class Scope:
    """One graph and, through ``outer``, all that its nodes can name."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    outer: Scope | None
    types: dict[str, ValueType]
    initializers: dict[str, Constant]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    makers: dict[str, Node] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    roles: dict[str, Role] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)

    def owner(self, name: str) -> Scope | None:
        """Return the graph that defines a name, from here outwards."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.constants or name in scope.makers or name in scope.inputs:
                return scope
            scope = scope.outer
        return None

    def origin(self, name: str) -> tuple[Scope, str] | None:
        """Return where a value comes from, past the nodes that only pass it on."""
        scope = self.owner(name)
        while scope is not None:
            node = scope.makers.get(name)
            if node is None or (node.domain, node.op_type) != ("", "Identity"):
                return scope, name
            name = node.at(0)
            scope = scope.owner(name)
        return None

    def constant(self, name: str) -> Constant | None:
        """Return the value of a name, if the model holds it."""
        found = self.origin(name) if name else None
        return found[0].constants.get(found[1]) if found else None

    def type_of(self, name: str) -> ValueType:
        """Return element type and shape of a name."""
        scope = self.owner(name) if name else None
        return scope.types.get(name, UNKNOWN) if scope else UNKNOWN

    def walk(self) -> Iterator[Scope]:
        """Yield this graph and all graphs inside it."""
        yield self
        for node in self.nodes:
            for graph in node.graphs.values():
                yield from graph.walk()
