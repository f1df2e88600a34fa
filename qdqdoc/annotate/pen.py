"""What all views share: a DOT graph with our defaults, identities, links and words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qdqdoc.annotate.label import Cell, label, table
from qdqdoc.annotate.text import operation_text, plain, shape_text
from qdqdoc.document import Document, Operation
from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from qdqdoc.annotate.theme import Part, Theme
    from qdqdoc.groups import Operand

Link = Callable[[Operation], str | None]


class AnnotateError(QdqdocError):
    """The document cannot be drawn in the way that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Pen:
    """The document, how it shall look, and where its boxes lead.

    ``prefix`` begins every id in the drawing, so that several can stand in one HTML page.
    """

    document: Document
    theme: Theme
    link: Link | None = None
    prefix: str = "qdq"

    def canvas(self, view: str, **settings: str) -> Any:  # noqa: ANN401 - graphviz has no types
        """Return an empty graph with the defaults of all views."""
        theme = self.theme
        return _graphviz().Digraph(
            "qdqdoc",
            graph_attr={
                "id": f"{self.prefix}-{view}",
                "class": f"qdq-{view}",
                "bgcolor": "transparent",
                "fontname": theme.font,
                "fontsize": f"{theme.size:g}",
                "fontcolor": theme.line,
                "margin": "0",
                "pad": "0.05",
                "nodesep": "0.16",
                "ranksep": "0.04",
                **settings,
            },
            node_attr={
                "shape": "plain",
                "fontname": theme.font,
                "fontsize": f"{theme.size:g}",
                "fontcolor": theme.inks["plain"].text,
                "color": theme.border,
            },
            edge_attr={
                "color": theme.line,
                "fontname": theme.font,
                "fontsize": f"{theme.size:g}",
                "fontcolor": theme.line,
                "arrowsize": "0.6",
                "penwidth": "1.1",
            },
        )

    def node(self, canvas: Any, name: str, content: str, kind: str, tip: str = "") -> None:  # noqa: ANN401
        """Add a box whose content is markup."""
        canvas.node(
            name,
            label=label(content),
            **{"id": self.identity(name), "class": f"qdq-box {kind}", "tooltip": tooltip(tip)},
        )

    def edge(
        self,
        canvas: Any,  # noqa: ANN401
        tail: str,
        head: str,
        text: str = "",
        tip: str = "",
        **settings: str,
    ) -> None:
        """Add an edge; its text stands on a small plate that is legible on any page."""
        tip = tooltip(tip)
        if text:
            # A packed drawing has no room for labels between neighbouring ranks.
            settings = {"minlen": "2", "label": label(self.plate(text)), **settings}
        canvas.edge(tail, head, edgetooltip=tip, labeltooltip=tip, **settings)

    def plate(self, text: str) -> str:
        """Return the markup of an edge's label."""
        ink = self.theme.inks["note"]
        cell = Cell(text, fill=ink.soft, ink=ink.text, align="center")
        return table([[cell]], border="0", cellborder="0", cellspacing="0", cellpadding="1")

    def frame(self, rows: Iterable[Iterable[Cell]], *, padding: int = 2, style: str = "") -> str:
        """Return the markup of a box; its ground hides the seams between cells."""
        return table(
            rows,
            border="1",
            cellborder="0",
            cellspacing="0",
            cellpadding=str(padding),
            color=self.theme.border,
            bgcolor=self.theme.inks["note" if style == "rounded" else "plain"].soft,
            style=style,
        )

    def identity(self, name: str) -> str:
        """Return the id of a box in the drawing."""
        return f"{self.prefix}-{name}"

    def cell(self, part: Part, text: str, *, strong: bool = False, **settings: Any) -> Cell:  # noqa: ANN401
        """Return a cell in the colours of its part."""
        ink = self.theme.inks[part]
        look = {"fill": ink.strong if strong else ink.soft, "ink": ink.text, "bold": strong}
        return Cell(text, **{**look, **settings})

    def url(self, operation: Operation) -> str | None:
        """Return where the manual tells more of an operation."""
        return self.link(operation) if self.link else None

    def words(self, operation: Operation) -> str:
        """Return an operator's name and main attributes."""
        return operation_text(operation)

    def dtype(self, name: str) -> str:
        """Return a tensor's element type, empty where it is unknown."""
        tensor = self.document.tensors.get(name)
        return tensor.dtype if tensor else ""

    def shape(self, name: str) -> str:
        """Return a tensor's shape in words, empty where it is unknown."""
        tensor = self.document.tensors.get(name)
        return shape_text(tensor.shape) if tensor else ""

    def codes_type(self, operand: Operand) -> str:
        """Return the type in which an operand is stored."""
        told = operand.quantization.dtype if operand.quantization else ""
        return told or self.dtype(operand.codes or operand.tensor)

    def flow(self, operand: Operand) -> str:
        """Return storage and computation type and shape: what an edge says."""
        stored, computed = self.codes_type(operand), ""
        if operand.dequantize is not None:
            scale = operand.quantization.scale if operand.quantization else ""
            computed = self.dtype(operand.tensor) or self.dtype(scale)
        types = " → ".join(filter(None, (stored, computed)))
        shape = self.shape(operand.tensor) or self.shape(operand.codes or "")
        return "\n".join(filter(None, (types, shape)))


def tooltip(text: str) -> str:
    """Return text for an attribute in which DOT would expand a backslash."""
    escaped: str = _graphviz().escape(plain(text))
    return escaped or " "


def source(canvas: Any) -> str:  # noqa: ANN401 - graphviz has no types
    """Return the DOT text of a finished graph."""
    text: str = canvas.source
    return text


def counted(count: int, noun: str) -> str:
    """Return ``1 node``, ``2 nodes``.

    >>> counted(1, "node"), counted(2100, "node")
    ('1 node', '2,100 nodes')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def listed(words: Sequence[str], most: int = 3) -> str:
    """Return the first words of a list and how many more there are."""
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")


def _graphviz() -> Any:  # noqa: ANN401 - graphviz has no types
    try:
        import graphviz  # noqa: PLC0415 - drawing is an extra
    except ImportError as error:
        raise AnnotateError(NEEDS) from error
    return graphviz


NEEDS = "annotate needs graphviz and pygraphviz: pip install 'qdqdoc[annotate]'"
