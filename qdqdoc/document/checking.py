"""What must hold between the parts of a document, beyond the type of each part."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from qdqdoc.document.arrays import encode
from qdqdoc.document.elements import STORAGE, flat
from qdqdoc.document.order import arrange
from qdqdoc.document.problems import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdqdoc.document.model import Document, Graph, Operation, Tensor

HINTS = 20
"""Looking for a similar name takes time; further problems go without."""


def check(document: Document) -> list[str]:
    """Return every contradiction in a document, each with its path."""
    notes = _Graph(document.graph, "", ()).problems()
    for index, function in enumerate(document.functions):
        notes += _Graph(function.graph, f"functions[{index}].graph.", ()).problems()
    return notes


class _Graph:
    """One graph, the path to it, and the graphs around it, each with what is defined so far."""

    def __init__(self, graph: Graph, path: str, outer: Sequence[_Graph]) -> None:
        self.graph = graph
        self.path = path
        self.scopes = (self, *outer)
        self.defined = {t.name for t in graph.tensors.values() if t.initializer} | set(graph.inputs)
        self.writers: dict[str, int] = {}
        self.notes: list[str] = []
        self.hints = HINTS

    def problems(self) -> list[str]:
        for name, tensor in self.graph.tensors.items():
            self.notes += [f"{self.path}tensors[{name!r}].{note}" for note in _of_tensor(tensor)]
        self._outputs_once()
        for index, operation in enumerate(self.graph.operations):
            self._operation(index, operation)
        self._cycles()
        self._listed("inputs", self.graph.inputs)
        self._readable("outputs", self.graph.outputs)
        return self.notes

    def _outputs_once(self) -> None:
        names: set[str] = set()
        for index, operation in enumerate(self.graph.operations):
            path = f"{self.path}operations[{index}]"
            if operation.name in names:
                self.notes.append(f"{path}.name: {operation.name!r} is the name of another one")
            names.add(operation.name)
            for position, name in enumerate(operation.outputs):
                if name and (name in self.defined or name in self.writers):
                    self.notes.append(f"{path}.outputs[{position}]: tensor {name!r} is made before")
                if name:
                    self.writers.setdefault(name, index)

    def _operation(self, index: int, operation: Operation) -> None:
        place = f"operations[{index}]"
        self._readable(f"{place}.inputs", operation.inputs, index)
        self._listed(f"{place}.outputs", operation.outputs)
        self.notes += [f"{self.path}{place}.{note}" for note in _of_operation(operation)]
        self.notes += [f"{self.path}{place}.{note}" for note in _of_values(operation, self.scopes)]
        for key, graph in operation.graphs.items():
            path = f"{self.path}{place}.graphs[{key!r}]."
            self.notes += _Graph(graph, path, self.scopes).problems()
        self.defined.update(name for name in operation.outputs if name)

    def _readable(self, place: str, names: Sequence[str], reader: int | None = None) -> None:
        for position, name in enumerate(names):
            if name and not any(name in scope.defined for scope in self.scopes):
                note = self._undefined(name, reader)
                self.notes.append(f"{self.path}{place}[{position}]: tensor {name!r} {note}")
        self._listed(place, [n for n in names if any(n in scope.defined for scope in self.scopes)])

    def _undefined(self, name: str, reader: int | None) -> str:
        if name in self.writers and reader is not None:
            return f"is made only by operations[{self.writers[name]}], not before it is read"
        self.hints -= 1
        known = {n for scope in self.scopes for n in (*scope.defined, *scope.writers)}
        return "is not defined" + (nearest(name, sorted(known)) if self.hints >= 0 else "")

    def _listed(self, place: str, names: Sequence[str]) -> None:
        self.notes += [
            f"{self.path}{place}: tensor {name!r} is not listed in tensors"
            for name in names
            if name and not any(name in scope.graph.tensors for scope in self.scopes)
        ]

    def _cycles(self) -> None:
        operations = self.graph.operations
        order = arrange([o.inputs for o in operations], [o.outputs for o in operations])
        left = sorted(set(range(len(operations))) - set(order))
        if left:
            names = ", ".join(f"operations[{index}]" for index in left[:5])
            self.notes.append(f"{self.path}{names}: wait for each other, a cycle")


def _of_tensor(tensor: Tensor) -> Iterator[str]:
    """Yield what is wrong with a tensor alone."""
    values = tensor.values
    if values is None:
        return
    if tensor.size is not None and len(values) != tensor.size:
        yield f"values: found {len(values)}, the shape has {tensor.size}"
    if tensor.sha256 is None or tensor.dtype not in STORAGE:
        return
    try:
        raw = encode(values, tensor.dtype)
    except (OverflowError, ValueError, TypeError):
        yield f"values: not all of them are {tensor.dtype}"
        return
    if sha256(raw).hexdigest() != tensor.sha256:
        yield "values: do not give the sha256 that stands beside them"


def _of_operation(operation: Operation) -> Iterator[str]:
    """Yield what is wrong with the names inside an operation."""
    own = {*operation.inputs, *operation.outputs} - {""}
    for key in ("scales", "zero_points"):
        for name in getattr(operation, key):
            if name not in own:
                yield f"{key}[{name!r}]: is neither an input nor an output{nearest(name, own)}"
    for parameter, item in operation.quantization.items():
        for key in ("tensor", "scale", "zero_point"):
            name = getattr(item, key)
            if name is not None and name not in own:
                where = f"quantization[{parameter!r}].{key}"
                yield f"{where}: {name!r} is neither an input nor an output{nearest(name, own)}"


def _of_values(operation: Operation, scopes: Sequence[_Graph]) -> Iterator[str]:
    """Yield where an operation states other parameters than the tensor that holds them."""
    for key in ("scales", "zero_points"):
        for name, value in getattr(operation, key).items():
            tensor = next((s.graph.tensors[name] for s in scopes if name in s.graph.tensors), None)
            held = tensor.values if tensor is not None else None
            if held is not None and not _same(held, flat(value) or ()):
                yield f"{key}[{name!r}]: differs from the values of the tensor"


def _same(left: Sequence[Any], right: Sequence[Any]) -> bool:
    """Compare numbers so that nan equals nan and -0.0 differs from 0.0."""
    return [_plain(one) for one in left] == [_plain(one) for one in right]


def _plain(one: Any) -> str:  # noqa: ANN401 - a number, or text where the type is unknown
    return str(float(one)) if isinstance(one, int | float) else repr(one)
