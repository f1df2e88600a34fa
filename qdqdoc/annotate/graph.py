"""Every node of the main graph, with the type and shape of every edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdqdoc.annotate.nodes import node, node_kind, node_tip, placeholder, terminal
from qdqdoc.annotate.pen import AnnotateError, counted, source
from qdqdoc.annotate.text import markup, shorten
from qdqdoc.groups import QUANTIZE, captured, partial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.annotate.pen import Pen
    from qdqdoc.document import Operation

MOST_NODES = 1500
"""More take Graphviz minutes, and the picture is metres long."""
MOST_LABELLED = 600
"""Labels make the layout five times as slow: beyond this, types stand in the tooltips alone."""
PACKED_COLUMNS = 8


def graph(pen: Pen) -> str:
    """Return the DOT text of the whole graph."""
    operations = pen.document.operations
    if len(operations) > MOST_NODES:
        raise AnnotateError(
            f"{pen.document.model_path}: view graph draws up to {counted(MOST_NODES, 'node')}, "
            f"this model has {len(operations):,}; draw view overview, or view group with the "
            "name of one operation"
        )
    return _Drawing(pen).draw()


class _Drawing:
    """One graph while it is drawn."""

    def __init__(self, pen: Pen) -> None:
        self.pen = pen
        self.partial = partial(pen.document)
        self.labelled = len(pen.document.operations) <= MOST_LABELLED
        self.makers: dict[str, str] = {}
        self.stored = {t.name for t in pen.document.tensors.values() if t.initializer}

    def draw(self) -> str:
        canvas = self.pen.canvas("graph", **self._settings())
        for index, operation in enumerate(self.pen.document.operations):
            content = node(self.pen, operation)
            self.pen.node(canvas, f"n{index}", content, node_kind(operation), node_tip(operation))
            self.makers.update((name, f"n{index}") for name in operation.outputs if name)
        if not self.partial:
            self._inputs(canvas)
        for index, operation in enumerate(self.pen.document.operations):
            self._edges(canvas, f"n{index}", operation)
        if not self.partial:
            self._outputs(canvas)
        return source(canvas)

    def _settings(self) -> dict[str, str]:
        document = self.pen.document
        title = f"{document.model_path}: {counted(document.total_nodes, 'node')}"
        settings = {
            "label": f"<{markup(title)}>",
            "labelloc": "t",
            "ranksep": "0.2",
            "nodesep": "0.14",
        }
        if self.partial:
            settings |= {"pack": "14", "packmode": f"array_it{PACKED_COLUMNS}"}
        return settings

    def _inputs(self, canvas: Any) -> None:  # noqa: ANN401 - graphviz has no types
        for index, name in enumerate(self.pen.document.graph.inputs):
            if name not in self.stored:
                self.pen.node(
                    canvas, f"i{index}", terminal(self.pen, "input", name), "qdq-terminal"
                )
                self.makers[name] = f"i{index}"

    def _outputs(self, canvas: Any) -> None:  # noqa: ANN401
        for index, name in enumerate(self.pen.document.graph.outputs):
            if name in self.makers:
                content = terminal(self.pen, "output", name)
                self.pen.node(canvas, f"r{index}", content, "qdq-terminal")
                self._edge(canvas, self.makers[name], f"r{index}", name)

    def _edges(self, canvas: Any, head: str, operation: Operation) -> None:  # noqa: ANN401
        for name in self._read(operation):
            if name in self.makers:
                self._edge(canvas, self.makers[name], head, name)
            elif self.partial and operation.op_type == QUANTIZE and name == operation.inputs[0]:
                unknown = f"u{head}"
                content = placeholder(self.pen, name)
                self.pen.node(canvas, unknown, content, "qdq-placeholder", name)
                self.pen.edge(canvas, unknown, head, style="dashed")

    def _read(self, operation: Operation) -> Iterator[str]:
        names = (*operation.inputs, *captured(operation))
        yield from (name for name in names if name and name not in self.stored)

    def _edge(self, canvas: Any, tail: str, head: str, name: str) -> None:  # noqa: ANN401
        types = "\n".join(filter(None, (self.pen.dtype(name), self.pen.shape(name))))
        text = (types or shorten(name, 20)) if self.labelled else ""
        self.pen.edge(canvas, tail, head, text, tip=f"{name} {types}")
