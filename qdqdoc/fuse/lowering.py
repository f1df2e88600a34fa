"""From the graph that was changed back to a document: what onnxruntime runs in the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qdqdoc.document import Document, Graph, Operation, Tensor
from qdqdoc.document.order import arrange, distinct_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qdqdoc.fuse.network import Network, Node

MICROSOFT = "com.microsoft"


def lowered(document: Document, graph: Graph, data: Mapping[str, bytes]) -> Document:
    """Return the document with another graph, all functions opened, and more data."""
    imports = {**document.opset_imports}
    if any(operation.domain == MICROSOFT for operation in graph.walk()):
        imports.setdefault(MICROSOFT, 1)
    return replace(
        document,
        graph=graph,
        functions=(),
        opset_imports=imports,
        data={**document.data, **data},
        declared_counts=None,
        declared_total=None,
    )


def lowered_graph(
    network: Network, like: Graph, bodies: Mapping[int, Mapping[str, Graph]]
) -> Graph:
    """Return a changed graph; ``bodies`` are the graphs in its nodes, by the id of the node.

    What onnxruntime folds into constants stands first, as operations that are run like others.
    """
    nodes = [*network.folded, *network.nodes]
    order = arrange(
        [[*node.inputs, *node.hidden] for node in nodes], [node.outputs for node in nodes]
    )
    placed = [nodes[index] for index in order]
    names = distinct_names([node.name for node in placed], [node.op_type for node in placed])
    operations = tuple(
        _operation(node, name, bodies.get(id(node), {}))
        for node, name in zip(placed, names, strict=True)
    )
    made = {name for node in placed for name in node.outputs if name}
    named = {name for node in placed for name in (*node.inputs, *node.hidden) if name}
    kept = {*made, *named, *like.inputs, *network.results} - network.around
    return Graph(
        name=like.name,
        inputs=like.inputs,
        outputs=network.results,
        operations=operations,
        tensors=_tensors(network, kept, made),
    )


def _tensors(network: Network, kept: Iterable[str], made: set[str]) -> dict[str, Tensor]:
    """Return the tensors that are named, those of the document in its order first."""
    wanted = set(kept)
    names = [name for name in network.tensors if name in wanted]
    names += sorted(wanted.difference(network.tensors))
    found = {}
    for name in names:
        tensor = network.tensors.get(name) or Tensor(name=name)
        if name in made:
            tensor = replace(tensor, initializer=False, values=None, sha256=None)
            tensor = replace(tensor, dtype=network.dtype(name))
        found[name] = tensor
    return found


def _operation(node: Node, name: str, graphs: Mapping[str, Graph]) -> Operation:
    return Operation(
        name=name,
        op_type=node.op_type,
        inputs=_trimmed(node.inputs),
        outputs=tuple(node.outputs),
        domain=node.domain,
        attributes=_attributes(node),
        graphs=graphs,
    )


def _trimmed(names: list[str]) -> tuple[str, ...]:
    while names and not names[-1]:
        names = names[:-1]
    return tuple(names)


def _attributes(node: Node) -> dict[str, Any]:
    return {k: v for k, v in node.attributes.items() if k != "output_dtype" or not node.input(2)}
