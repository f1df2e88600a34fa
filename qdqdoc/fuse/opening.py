"""From a graph of the document to one that can be changed: functions are opened in their place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qdqdoc.fuse.answer import FuseError
from qdqdoc.fuse.network import Network, Node
from qdqdoc.groups import captured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qdqdoc.document import Document, Function, Graph, Operation

DEPTH = 64
"""Functions that call functions deeper than this are taken for a cycle."""

CALLS = 10_000
"""More calls than this are not opened: functions that call others twice double with each depth."""


def opened(
    document: Document, graph: Graph, outer: Network | None = None, around: Node | None = None
) -> Network:
    """Return a graph of a document in the form in which it can be changed.

    ``around`` is the node that holds it, ``outer`` the graph in which that node stands.
    """
    names = dict(
        zip(around.origins, (*around.inputs, *around.hidden), strict=True) if around else ()
    )
    found = Network((names.get(name, name) for name in graph.outputs), document)
    if outer is not None:
        found.tensors.update(outer.tensors)
        found.constants.update(outer.constants)
        found.around = frozenset(outer.tensors)
        found.data = outer.data
    _Builder(document, found).graph(graph, names)
    return found


@dataclass(frozen=True, slots=True)
class _Body:
    """Where operations stand: the names and attributes they are given, and how deep."""

    names: dict[str, str]
    opsets: Mapping[str, int]
    attributes: Mapping[str, Any] | None = None
    path: str = ""
    depth: int = 0


class _Builder:
    """Adds the nodes of a graph, those of its functions in the place of their calls."""

    def __init__(self, document: Document, network: Network) -> None:
        self.network = network
        self.version = document.ir_version
        self.functions = {(f.domain, f.name): f for f in document.functions}
        self.opsets = document.opset_imports
        self.calls = 0

    def graph(self, graph: Graph, outside: Mapping[str, str]) -> None:
        overridable = set(graph.inputs) if (self.version or 0) > 3 else set()  # noqa: PLR2004 - IR 4
        for tensor in graph.tensors.values():
            self.network.tensors[tensor.name] = tensor
            if tensor.initializer and tensor.name not in overridable:
                self.network.constants.add(tensor.name)
        made = {name for operation in graph.operations for name in operation.outputs}
        held = {t.name for t in graph.tensors.values() if t.initializer}
        own = {name: name for name in (*graph.inputs, *made, *held)}
        self._nodes(graph.operations, _Body({**outside, **own}, self.opsets))

    def _nodes(self, operations: Iterable[Operation], body: _Body) -> None:
        for operation in operations:
            function = self.functions.get((operation.domain, operation.op_type))
            if function is not None:
                self._call(operation, function, body)
                continue
            node = self._node(operation, body)
            if node.is_onnx("Constant"):
                self.network.constants.update(node.outputs)
                self.network.folded.append(node)
            else:
                self.network.add(node)

    def _node(self, operation: Operation, body: _Body) -> Node:
        names, path = body.names, body.path
        made = [name and names.setdefault(name, f"{path}{name}") for name in operation.outputs]
        domain = "" if operation.domain == "ai.onnx" else operation.domain
        hidden = captured(operation)
        return Node(
            name=path + operation.name,
            op_type=operation.op_type,
            inputs=[names.get(name, name) for name in operation.inputs],
            outputs=made,
            domain=domain,
            opset=body.opsets.get(domain, 0),
            attributes=_attributes(operation, body),
            graphs=operation.graphs,
            hidden=tuple(names.get(name, name) for name in hidden),
            origins=(*operation.inputs, *hidden),
            replaces=((path + operation.name, operation.op_type),),
        )

    def _call(self, call: Operation, function: Function, body: _Body) -> None:
        """Open a function: its tensors get the caller's names, or its own behind the call's."""
        if body.depth > DEPTH:
            raise FuseError(
                f"{call.name}: function {function.name!r}: found calls deeper than {DEPTH}; "
                "it may call itself"
            )
        self.calls += 1
        if self.calls > CALLS:
            raise FuseError(f"{call.name}: found more than {CALLS} calls of functions")
        inner, inside = function.graph, f"{body.path}{call.name}/"
        given = _given(call, inner, body.names)
        for name, tensor in inner.tensors.items():
            known = given.setdefault(name, inside + name)
            if known not in self.network.tensors or not self.network.tensors[known].dtype:
                self.network.tensors[known] = replace(tensor, name=known)
        attributes = _attributes(call, body)
        place = _Body(given, function.opset_imports, attributes, inside, body.depth + 1)
        self._nodes(inner.operations, place)


def _given(call: Operation, inner: Graph, names: Mapping[str, str]) -> dict[str, str]:
    """Return what a call gives the inputs of a function and takes from its outputs."""
    given = dict.fromkeys(inner.inputs, "")
    given |= {
        inside: names.get(outside, outside)
        for inside, outside in zip(inner.inputs, call.inputs, strict=False)
    }
    taken = zip(inner.outputs, call.outputs, strict=False)
    return given | {inside: names.get(outside, outside) for inside, outside in taken if outside}


def _attributes(operation: Operation, body: _Body) -> dict[str, Any]:
    """Return the attributes; what a function was not given is left out."""
    values = dict(operation.attributes)
    if body.attributes is None:
        return values
    for name, value in operation.attributes.items():
        if isinstance(value, dict) and "attribute" in value:
            del values[name]
            if value["attribute"] in body.attributes:
                values[name] = body.attributes[value["attribute"]]
    return values
