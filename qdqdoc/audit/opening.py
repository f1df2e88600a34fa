"""The document in a form in which every group has a name and stands in sight.

Functions are opened in the place of their calls, as onnxruntime does before it optimizes, and
nodes without a name, or with that of another, get one: that of what they make.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qdqdoc.audit.answer import AuditError
from qdqdoc.groups import roots

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from qdqdoc.document import Document, Function, Graph, Operation, Quantization, Tensor


DEPTH = 64
"""Functions that call functions deeper than this are taken for a cycle."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A graph, with the stored tensors around it, as a document of its own.

    ``path`` is what stands before the names of its nodes.
    """

    path: str
    document: Document


def scopes(document: Document) -> Iterator[Scope]:
    """Yield the main graph and every graph inside a node."""
    yield from _scopes(document, document.graph, "")


def _scopes(document: Document, graph: Graph, path: str) -> Iterator[Scope]:
    own = replace(document, graph=graph)
    yield Scope(path, own)
    for operation in graph.operations:
        for name, inner in operation.graphs.items():
            stored = {key: _stored(tensor) for key, tensor in graph.tensors.items()}
            seen = {**stored, **inner.tensors}
            yield from _scopes(own, replace(inner, tensors=seen), f"{path}{operation.name}/{name}/")


def _stored(tensor: Tensor) -> Tensor:
    """Let a constant of an outer graph be one inside, however it is written."""
    known = tensor.values is not None or tensor.sha256 is not None
    return replace(tensor, initializer=True) if known else tensor


def named(document: Document) -> Document:
    """Give each node of the main graph a name that no other has."""
    return replace(document, graph=_named(document.graph))


def opened(document: Document) -> Document:
    """Return a document without calls of its own functions, all of whose nodes have names."""
    return named(replace(document, graph=_Opener(document).graph(document.graph), functions=()))


def foreign_versions(document: Document) -> list[str]:
    """Return the functions that import ai.onnx in another version than the model."""
    version = document.opset_imports.get("")
    return sorted(
        function.name
        for function in document.functions
        if function.opset_imports.get("", version) != version
    )


def _named(graph: Graph) -> Graph:
    """Give each node a name that no other node of the graph has."""
    taken = {operation.name for operation in graph.operations}
    seen: set[str] = set()
    operations = []
    for operation in graph.operations:
        name = operation.name
        if not name or name in seen:
            base = next(filter(None, operation.outputs), operation.op_type)
            name, count = base, 1
            while name in taken:
                name, count = f"{base}/{count}", count + 1
        seen.add(name)
        taken.add(name)
        graphs = {key: _named(inner) for key, inner in operation.graphs.items()}
        operations.append(replace(operation, name=name, graphs=graphs))
    return replace(graph, operations=tuple(operations))


class _Opener:
    """Puts the nodes of functions in the place of their calls."""

    def __init__(self, document: Document) -> None:
        self.functions = {(f.domain, f.name): f for f in document.functions}

    def graph(self, graph: Graph) -> Graph:
        if not self.functions:
            return graph
        tensors = dict(graph.tensors)
        names = {name: name for name in tensors}
        operations = tuple(self._open(graph.operations, names, tensors, "", 0))
        return replace(graph, operations=operations, tensors=tensors)

    def _open(
        self,
        operations: tuple[Operation, ...],
        names: dict[str, str],
        tensors: dict[str, Tensor],
        path: str,
        depth: int,
    ) -> Iterator[Operation]:
        for operation in operations:
            function = self.functions.get((operation.domain, operation.op_type))
            if function is None:
                yield self._renamed(operation, names, tensors, path)
            elif depth > DEPTH:
                raise AuditError(f"{operation.name}: calls of functions deeper than {DEPTH}")
            else:
                yield from self._call(operation, function, names, tensors, path, depth)

    def _call(
        self,
        call: Operation,
        function: Function,
        names: dict[str, str],
        tensors: dict[str, Tensor],
        path: str,
        depth: int,
    ) -> Iterator[Operation]:
        body, inside = function.graph, f"{path}{call.name}/"
        given = {
            inner: names.get(outer, outer)
            for inner, outer in zip(body.inputs, call.inputs, strict=False)
        }
        given |= dict.fromkeys(body.inputs[len(call.inputs) :], "")
        given |= {
            inner: names.get(outer, f"{path}{outer}")
            for inner, outer in zip(body.outputs, call.outputs, strict=False)
            if outer
        }
        for name, tensor in body.tensors.items():
            known = given.setdefault(name, inside + name)
            if known and (known not in tensors or not tensors[known].dtype):
                tensors[known] = replace(tensor, name=known)
        yield from self._open(body.operations, given, tensors, inside, depth + 1)

    def _renamed(
        self, operation: Operation, names: dict[str, str], tensors: dict[str, Tensor], path: str
    ) -> Operation:
        for name in filter(None, operation.outputs):
            names.setdefault(name, f"{path}{name}")
        inner = {key: self.graph(_outer(graph, names)) for key, graph in operation.graphs.items()}
        return replace(
            operation,
            name=f"{path}{operation.name}" if operation.name else "",
            inputs=tuple(names.get(name, name) for name in operation.inputs),
            outputs=tuple(names[name] if name else "" for name in operation.outputs),
            quantization={
                key: _resolved(one, names, tensors, operation.attributes.get("axis", 1))
                for key, one in operation.quantization.items()
            },
            graphs=inner,
        )


def _outer(graph: Graph, names: Mapping[str, str]) -> Graph:
    """Rename what a graph inside a node reads from outside."""
    own = {*graph.inputs, *(t.name for t in graph.tensors.values() if t.initializer)}
    own |= {name for operation in graph.operations for name in operation.outputs}
    outside = {old: new for old, new in names.items() if old not in own and old != new}
    if not outside:
        return graph
    operations = tuple(_reading(operation, outside) for operation in graph.operations)
    outputs = tuple(outside.get(name, name) for name in graph.outputs)
    return replace(graph, operations=operations, outputs=outputs)


def _reading(operation: Operation, names: Mapping[str, str]) -> Operation:
    """Let an operation, and the graphs inside it, read tensors of other names."""
    return replace(
        operation,
        inputs=tuple(names.get(name, name) for name in operation.inputs),
        quantization={
            key: replace(
                one,
                tensor=names.get(one.tensor, one.tensor),
                scale=names.get(one.scale, one.scale),
                zero_point=names.get(one.zero_point or "", one.zero_point),
            )
            for key, one in operation.quantization.items()
        },
        graphs={key: _outer(inner, names) for key, inner in operation.graphs.items()},
    )


def direct(document: Document) -> Document:
    """Return a document whose main graph has no Identity but for those that make its outputs."""
    names = roots(document)
    if not names:
        return document
    operations = tuple(
        _reading(operation, names)
        for operation in document.operations
        if not _passes(operation, names, document.graph.outputs)
    )
    return replace(document, graph=replace(document.graph, operations=operations))


def _passes(operation: Operation, names: Mapping[str, str], results: Container[str]) -> bool:
    made = next(iter(operation.outputs), "")
    return operation.op_type == "Identity" and made in names and made not in results


def _resolved(
    one: Quantization, names: Mapping[str, str], tensors: Mapping[str, Tensor], axis: int
) -> Quantization:
    """Fill in what a function learns of its parameters from the call."""
    scale, zero = names.get(one.scale, one.scale), names.get(one.zero_point or "", one.zero_point)
    tensor = names.get(one.tensor, one.tensor)
    known = [tensors.get(name or "") for name in (scale, zero, tensor)]
    values = [t.values if t is not None else None for t in known]
    codes, scales = known[2], one.scale_values or values[0]
    if one.granularity == "per_tensor" and len(scales or ()) > 1:
        one = replace(one, granularity="per_axis", axis=axis)
    return replace(
        one,
        tensor=tensor,
        scale=scale,
        zero_point=zero or None,
        dtype=one.dtype or (known[1].dtype if known[1] else "") or (codes.dtype if codes else ""),
        scale_values=scales,
        zero_point_values=one.zero_point_values or values[1],
    )
