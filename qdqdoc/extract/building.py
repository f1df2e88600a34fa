"""Scopes to the graphs of a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.document.model import Graph, Operation, Tensor
from qdqdoc.extract.quantization import stated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.extract.scope import Node, Scope


def graph(scope: Scope) -> Graph:
    """Return a graph of the document; tensors are in order of first appearance."""
    names = dict.fromkeys(_own_names(scope))
    return Graph(
        name=scope.name,
        inputs=scope.inputs,
        outputs=scope.outputs,
        operations=tuple(_operation(node, scope) for node in scope.nodes),
        tensors={name: _tensor(name, scope) for name in names},
    )


def _own_names(scope: Scope) -> Iterator[str]:
    yield from scope.inputs
    for node in scope.nodes:
        yield from (name for name in node.inputs if name and scope.owner(name) in {scope, None})
        yield from filter(None, node.outputs)
    yield from scope.initializers
    yield from (name for name in scope.outputs if scope.owner(name) in {scope, None})


def _operation(node: Node, scope: Scope) -> Operation:
    found = stated(node, scope)
    return Operation(
        name=node.name,
        op_type=node.op_type,
        domain=node.domain,
        inputs=node.inputs,
        outputs=node.outputs,
        attributes=node.attributes,
        scales=found.scales,
        zero_points=found.zero_points,
        quantization=found.quantization,
        graphs={name: graph(inner) for name, inner in node.graphs.items()},
    )


def _tensor(name: str, scope: Scope) -> Tensor:
    dtype, shape = scope.type_of(name)
    constant = scope.constants.get(name)
    return Tensor(
        name=name,
        dtype=dtype,
        shape=shape,
        role=scope.roles.get(name, "activation"),
        initializer=name in scope.initializers,
        bits=scope.bits.get(name),
        sha256=constant.sha256 if constant else None,
        values=constant.values if constant else None,
    )
