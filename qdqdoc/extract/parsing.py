"""Protobuf to scopes: constants, types, and names that are unique."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from onnx import AttributeProto, GraphProto, NodeProto

from qdqdoc.document.order import distinct_names
from qdqdoc.extract.attributes import Attributes, sparse
from qdqdoc.extract.scope import Node, Scope
from qdqdoc.extract.sorting import graphs_of
from qdqdoc.extract.types import UNKNOWN, ValueType, collected, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx import FunctionProto


def plain(domain: str) -> str:
    """Return the one spelling of the standard domain that the document uses.

    >>> plain("ai.onnx"), plain("com.microsoft")
    ('', 'com.microsoft')
    """
    return "" if domain == "ai.onnx" else domain


class _Pair(NamedTuple):
    """A node, and the same node after type inference."""

    node: NodeProto
    typed: NodeProto


class Parser:
    """Reads the graphs of one model."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes

    def graph(self, graph: GraphProto, typed: GraphProto, outer: Scope | None = None) -> Scope:
        """Return the scope of a graph; `typed` is the same graph after type inference."""
        stored = {tensor.name: self.attributes.stored(tensor) for tensor in graph.initializer}
        stored |= {item.values.name: sparse(item) for item in graph.sparse_initializer}
        types = collected(graph.value_info, graph.input, graph.output)
        for name, found in collected(typed.value_info, typed.input, typed.output).items():
            types[name] = merged(types.get(name, UNKNOWN), found)
        scope = Scope(
            name=graph.name,
            # An initializer that is an input too has a value: the model can run without more.
            inputs=tuple(value.name for value in graph.input if value.name not in stored),
            outputs=tuple(value.name for value in graph.output),
            outer=outer,
            types=types,
            initializers=stored,
        )
        self._fill(scope, [_Pair(*both) for both in zip(graph.node, typed.node, strict=True)])
        return scope

    def function(self, function: FunctionProto) -> Scope:
        """Return the scope of a function body, which sees nothing around it."""
        known: Iterable[Any] = getattr(function, "value_info", ())
        scope = Scope(
            name=function.name,
            inputs=tuple(function.input),
            outputs=tuple(function.output),
            outer=None,
            types=collected(known),
            initializers={},
        )
        self._fill(scope, [_Pair(node, node) for node in function.node])
        return scope

    def _fill(self, scope: Scope, pairs: Sequence[_Pair]) -> None:
        scope.constants.update(scope.initializers)
        nodes = [pair.node for pair in pairs]
        names = distinct_names([n.name for n in nodes], [n.op_type for n in nodes])
        for name, node in zip(names, nodes, strict=True):
            parsed = self._node(node, name)
            scope.nodes.append(parsed)
            scope.makers.update(dict.fromkeys(filter(None, parsed.outputs), parsed))
            if (parsed.domain, parsed.op_type) == ("", "Constant") and parsed.outputs:
                held = self.attributes.constant_of(node)
                if held is not None:
                    scope.constants[parsed.outputs[0]] = held
        scope.types.update((n, (c.dtype, c.shape)) for n, c in scope.constants.items())
        infer_quantized(scope)
        for parsed, pair in zip(scope.nodes, pairs, strict=True):
            parsed.graphs = self._graphs(pair, scope)

    def _node(self, node: NodeProto, name: str) -> Node:
        values = {a.name: self.attributes.value(a) for a in node.attribute if not graphs_of(a)}
        return Node(
            name=name,
            op_type=node.op_type,
            domain=plain(node.domain),
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes=values,
        )

    def _graphs(self, pair: _Pair, scope: Scope) -> dict[str, Scope]:
        result = {}
        for attribute, typed in zip(pair.node.attribute, pair.typed.attribute, strict=True):
            graphs = list(zip(graphs_of(attribute), graphs_of(typed), strict=True))
            for index, (graph, typed_graph) in enumerate(graphs):
                single = attribute.type == AttributeProto.GRAPH
                key = attribute.name if single else f"{attribute.name}[{index}]"
                result[key] = self.graph(graph, typed_graph, scope)
        return result


def infer_quantized(scope: Scope) -> None:
    """Carry types over the Q and DQ that ONNX's inference did not get past."""
    for node in scope.nodes:
        if node.domain not in {"", "com.microsoft"} or not node.at(-1):
            continue
        if node.op_type == "QuantizeLinear":
            dtype = scope.type_of(node.at(2))[0]
        elif node.op_type == "DequantizeLinear":
            dtype = scope.type_of(node.at(1))[0]
        else:
            continue
        found: ValueType = (dtype, scope.type_of(node.at(0))[1])
        scope.types[node.at(-1)] = merged(scope.types.get(node.at(-1), UNKNOWN), found)
