"""Tables from data: every cell is text, whatever characters a model put into its names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.transforms.post_transforms import SphinxPostTransform

from qdqdoc.sphinxext.anchors import BOX, row_label
from qdqdoc.sphinxext.page import PageDirective
from qdqdoc.sphinxext.printing import Name
from qdqdoc.sphinxext.scope import PageError
from qdqdoc.tables import Code, Quoted, Table, show

if TYPE_CHECKING:
    from qdqdoc.tables import Cell

WIDE = 5
"""A table of so many columns rather scrolls than squeezes them."""


class UniqueIds(SphinxPostTransform):
    """Take ids from the boxes that the theme puts around tables and formulas, which have them."""

    formats = ("html",)
    default_priority = 501  # after furo's

    def run(self, **kwargs: object) -> None:
        """Leave each id where its name leads to."""
        del kwargs
        for box in self.document.findall(nodes.container):
            inner = box.children[0] if len(box) == 1 else None
            if isinstance(inner, nodes.table | nodes.math_block) and inner["ids"] == box["ids"]:
                box["ids"] = []


class TableDirective(PageDirective):
    """``{qdq-table} expression``: a `Table`; ``:picture:`` names that with a box for each row."""

    option_spec: ClassVar[dict[str, Any]] = {
        **PageDirective.option_spec,
        "picture": directives.unchanged_required,
    }

    def show(self) -> list[nodes.Node]:
        """Return the table in a box that scrolls by itself."""
        table = self.evaluate(self.arguments[0])
        if not isinstance(table, Table):
            raise PageError(f"expected a Table, found {type(table).__name__}")
        made = self.anchored(table_node(table))
        captions = self.caption(nodes.title)
        made[:0] = captions[:1]
        self.add_anchors(table, made)
        return [made, *captions[1:]]

    def add_anchors(self, table: Table, made: nodes.Element) -> None:
        """Give each row its anchor; in a table with a name it can be referred to as name-key."""
        name = next(iter(made["names"]), "")
        rows = [row for row in made.findall(nodes.row) if isinstance(row.parent, nodes.tbody)]
        for key, row in zip(table.keys, rows, strict=False):
            label = row_label(name, key)
            if "picture" in self.options:
                row[BOX] = row_label(self.options["picture"], key)
            if name:
                row["names"].append(label)
                self.state.document.note_explicit_target(row, row)
            else:
                row["ids"].append(nodes.make_id(label) or nodes.make_id(f"row-{label}"))


def table_node(table: Table) -> nodes.table:
    """Return a table whose columns are numeric where all their cells are numbers."""
    group = nodes.tgroup(cols=len(table.columns))
    group += [nodes.colspec(colwidth=1) for _ in table.columns]
    numeric = [_numeric([row[k] for row in table.rows]) for k in range(len(table.columns))]
    head = nodes.row("", *(_entry(name, n) for name, n in zip(table.columns, numeric, strict=True)))
    group += nodes.thead("", head)
    group += nodes.tbody("", *(_row(row, numeric) for row in table.rows))
    classes = ["qdq-table", *(["qdq-wide"] if len(table.columns) >= WIDE else [])]
    return nodes.table("", group, classes=classes, align="left")


def _row(cells: tuple[Cell, ...], numeric: list[bool]) -> nodes.row:
    return nodes.row("", *(_entry(cell, n) for cell, n in zip(cells, numeric, strict=True)))


def _entry(cell: Cell, numeric: bool) -> nodes.entry:
    classes = ["qdq-number", "text-right"] if numeric else []
    return nodes.entry("", nodes.paragraph("", "", *content(cell)), classes=classes)


def _numeric(cells: list[Cell]) -> bool:
    known = [cell for cell in cells if cell is not None]
    return bool(known) and all(isinstance(cell, int | float | np.number) for cell in known)


def content(value: object) -> list[nodes.Node]:
    """Return a value as nodes: code may be broken at the marks that divide names."""
    if isinstance(value, Code):
        return [Name(value.text, value.text, classes=["qdq-name"])]
    if isinstance(value, Quoted):
        return [nodes.inline(value.text, value.text, classes=["quoted"])]
    return [nodes.Text(show(value))]
