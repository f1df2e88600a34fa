"""Nodes in an order in which they can run, which a file should have and not every file has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import AttributeProto, NodeProto

from qdqdoc.document.order import arrange
from qdqdoc.extract.errors import ExtractError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import GraphProto


def sort(nodes: Any) -> None:  # noqa: ANN401 - the node field of a graph or a function
    """Sort nodes in place, and those of the graphs inside; a good order stays as it is."""
    for node in nodes:
        for attribute in node.attribute:
            for graph in graphs_of(attribute):
                sort(graph.node)
    order = _order(nodes)
    if order != sorted(order):
        copies = [NodeProto.FromString(nodes[index].SerializeToString()) for index in order]
        del nodes[:]
        nodes.extend(copies)


def graphs_of(attribute: AttributeProto) -> list[GraphProto]:
    """Return the graphs that an attribute holds."""
    if attribute.type == AttributeProto.GRAPH and not attribute.ref_attr_name:
        return [attribute.g]
    return list(attribute.graphs) if attribute.type == AttributeProto.GRAPHS else []


def _order(nodes: Sequence[NodeProto]) -> list[int]:
    writes = [set(filter(None, node.output)) for node in nodes]
    seen: set[str] = set()
    for names in writes:
        for name in sorted(names & seen):
            raise ExtractError(f"two nodes make the tensor {name!r}")
        seen |= names
    order = arrange([_read_by(node) for node in nodes], writes)
    if len(order) < len(nodes):
        left = min(set(range(len(nodes))) - set(order))
        node = nodes[left]
        raise ExtractError(f"node {left} ({node.op_type} {node.name!r}) waits for itself: a cycle")
    return order


def _read_by(node: NodeProto) -> set[str]:
    """Return what a node reads, also from inside its graphs."""
    names = set(filter(None, node.input))
    for attribute in node.attribute:
        for graph in graphs_of(attribute):
            own = {tensor.name for tensor in graph.initializer}
            own |= {value.name for value in graph.input}
            own |= {name for inner in graph.node for name in inner.output}
            inside = {name for inner in graph.node for name in _read_by(inner)}
            names |= (inside | {value.name for value in graph.output}) - own
    return names
