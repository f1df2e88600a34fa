"""Tables from data: every cell is text, whatever characters a model put into its names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from qdqdoc.sphinxext.page import PageDirective
from qdqdoc.sphinxext.scope import PageError
from qdqdoc.tables import Code, Table, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.tables import Cell

BREAKS = re.compile(r"(?<=[/_:;.,])(?=[^/_:;.,])")
"""Where a long name may be continued on the next line."""

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
    """``{qdq-table} expression``: a `Table`."""

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
            label = nodes.fully_normalize_name(f"{name}-{key}" if name else key)
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
    classes = ["qdq-number"] if numeric else []
    return nodes.entry("", nodes.paragraph("", "", *content(cell)), classes=classes)


def _numeric(cells: list[Cell]) -> bool:
    known = [cell for cell in cells if cell is not None]
    return bool(known) and all(isinstance(cell, int | float | np.number) for cell in known)


def content(value: object) -> list[nodes.Node]:
    """Return a value as nodes: code may be broken at the marks that divide names."""
    if isinstance(value, Code):
        return [nodes.literal(value.text, "", *_breakable(value.text), classes=["qdq-name"])]
    return [nodes.Text(show(value))]


def _breakable(text: str) -> Iterator[nodes.Node]:
    for number, part in enumerate(BREAKS.split(text)):
        if number:
            yield nodes.raw("", "<wbr>", format="html")
        yield nodes.Text(part)
