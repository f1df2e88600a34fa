"""Diagrams of an operations document, as DOT text.

Three views: ``overview`` holds the whole network on one page, ``graph`` every node, ``group``
one operation with its Q and DQ nodes and its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from qdqdoc.annotate.graph import MOST_NODES, graph
from qdqdoc.annotate.group import group_view
from qdqdoc.annotate.overview import overview
from qdqdoc.annotate.pen import NEEDS, AnnotateError, Link, Pen
from qdqdoc.annotate.theme import DEFAULT, Ink, Theme

if TYPE_CHECKING:
    from qdqdoc.document import Document

__all__ = [
    "DEFAULT",
    "MOST_NODES",
    "NEEDS",
    "AnnotateError",
    "Ink",
    "Link",
    "Theme",
    "View",
    "annotate",
]

View = Literal["overview", "graph", "group"]


def annotate(
    document: Document,
    view: View = "overview",
    *,
    group: str | None = None,
    theme: Theme = DEFAULT,
    link: Link | None = None,
    prefix: str = "qdq",
) -> str:
    """Return a diagram of the document as DOT text: the same text for the same document.

    ``group`` names the operation that view ``group`` shows. ``link`` tells where a box leads.
    ``prefix`` begins every id in the drawing: give each diagram of one HTML page its own.
    """
    pen = Pen(document=document, theme=theme, link=link, prefix=prefix)
    if view == "overview":
        return overview(pen)
    if view == "graph":
        return graph(pen)
    if view == "group":
        if group is None:
            raise AnnotateError("group: view group needs the name of an operation")
        return group_view(pen, group)
    raise AnnotateError(f"view: {view!r} is not one of {', '.join(get_args(View))}")
