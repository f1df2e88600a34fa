"""Operations run the documented way, one at a time, by the code that `execute` runs them with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdqdoc.document import Graph
from qdqdoc.execute import LIMIT
from qdqdoc.execute.attributes import Place
from qdqdoc.execute.running import Recorder, Runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.document import Document, Operation

# ruff: noqa: ANN401 - a value is an array, a sequence of arrays or nothing


class _Forgetful(Recorder):
    """Keeps nothing; what one operation announces must fit by itself."""

    def take(self, name: str, value: Any, place: Place, operation: str = "") -> None:
        """Let go of a tensor."""

    def charge(self, where: str) -> None:
        """Count nothing."""


class Documented:
    """Runs operations of the main graph of a document on whatever is put before them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.runner = Runner(document, _Forgetful((), LIMIT))
        self.place = Place(imports=document.opset_imports)
        self._graphs: dict[int, tuple[Operation, Graph]] = {}

    def run(self, operation: Operation, inputs: Sequence[Any]) -> list[Any]:
        """Return the outputs that have a name; an input is ``None`` where it is left out.

        Raises
        ------
        ExecuteError
            If the operation does not run on these values; the message names it.
        """
        key = id(operation)
        if key not in self._graphs:
            outputs = tuple(filter(None, operation.outputs))
            graph = Graph(inputs=operation.inputs, outputs=outputs, operations=(operation,))
            self._graphs[key] = operation, graph
        named = zip(operation.inputs, inputs, strict=True)
        given = {name: value for name, value in named if name}
        return self.runner.graph(self._graphs[key][1], given, self.place)

    def whole(self, given: Mapping[str, Any]) -> list[Any]:
        """Run all of the main graph and return its outputs."""
        return self.runner.graph(self.document.graph, given, self.place)
