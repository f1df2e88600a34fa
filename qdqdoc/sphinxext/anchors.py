"""Links that only HTML has: to each row of a table, from a row to its box, and from boxes back.

Where a box or a row stands is known when all pages have been read, so both are resolved late.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, cast

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from qdqdoc.sphinxext.page import builder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.environment import BuildEnvironment

ROWS = "guide-dataflow-table"
"""The table to whose rows the boxes of all diagrams lead, where a build has it."""

ROW = "row:"
"""Begins a link to a row until it is resolved."""

BOX = "qdq-box"
"""Attribute of a row: the label of its box in a diagram."""

LONGEST = 40
UNRESOLVED = re.compile(rf'xlink:href="{ROW}([\w-]+)" ?')


def row_label(table: str, key: str) -> str:
    """Return the label under which other pages refer to a row of a table.

    >>> row_label("Layers", "group-3")
    'layers-group-3'
    """
    label: str = nodes.fully_normalize_name(f"{table}-{key}" if table else key)
    return label


def note_box(env: BuildEnvironment, picture: str, key: str, identity: str) -> None:
    """Remember where the box of a group is in the picture of a name."""
    label = row_label(picture, key)
    env.domains.standard_domain.note_hyperlink_target(label, env.docname, identity)


def linked(svg: str, env: BuildEnvironment, page: str) -> str:
    """Return a drawing whose boxes lead to their rows, as seen from a page."""

    def link(found: re.Match[str]) -> str:
        uri = _address(env, page, row_label(ROWS, found[1]))
        return f'xlink:href="{escape(uri)}" ' if uri else ""

    return UNRESOLVED.sub(link, svg)


class BoxLinks(SphinxPostTransform):
    """Let the boxes of diagrams lead to their rows."""

    formats = ("html",)
    default_priority = 502

    def run(self, **kwargs: object) -> None:
        """Go through all drawings of a page."""
        del kwargs
        for picture in self.document.findall(nodes.raw):
            if f'"{ROW}' in picture.astext():
                drawn = linked(picture.astext(), self.env, self.env.docname)
                picture.children = [nodes.Text(drawn)]


def _address(env: BuildEnvironment, page: str, label: str) -> str:
    """Return where a label is, seen from a page; nothing if nobody has it."""
    target, identity = env.domains.standard_domain.anonlabels.get(label, ("", ""))
    if not target:
        return ""
    uri: str = builder(env).get_relative_uri(page, target)
    return f"{uri}#{identity}"


class RowAnchors(SphinxPostTransform):
    """Give each row of each table an id, a link to itself, and one to its box if it has one."""

    formats = ("html",)
    default_priority = 502

    def run(self, **kwargs: object) -> None:
        """Go through all tables of a page."""
        del kwargs
        taken = self.once()
        for table in self.document.findall(nodes.table):
            stem = _stem(table)
            for row in _rows(table):
                if not row["ids"]:
                    row["ids"].append(_free(f"{stem}-{_slug(row)}", taken))
                taken.update(row["ids"])
                self.mark(row)

    def once(self) -> set[str]:
        """Take from nodes the ids that others have before them; return all that are left.

        Citations in docstrings are numbered in each docstring anew.
        """
        taken: set[str] = set()
        for node in self.document.findall(nodes.Element):
            ids: list[str] = node.get("ids", [])
            node["ids"] = [identity for identity in ids if identity not in taken]
            taken.update(node["ids"])
        return taken

    def mark(self, row: nodes.row) -> None:
        """Put the links into the first cell."""
        cell = cast("nodes.entry", row[0])
        if not cell.children:
            cell.append(nodes.paragraph())
        text = cell[0] if isinstance(cell[0], nodes.TextElement) else cell
        box = _address(self.env, self.env.docname, row[BOX]) if BOX in row else ""
        if box:
            shown = nodes.reference("", "", *text.children, refuri=box, internal=True)
            shown["reftitle"] = "Show it in the diagram"
            text.children = []
            text.append(shown)
        identity = row["ids"][0]
        said = 'title="Link to this row" aria-label="Link to this row"'
        link = f'<a class="headerlink qdq-row-link" href="#{identity}" {said}>#</a>'
        text.append(nodes.raw("", link, format="html"))


def _rows(table: nodes.table) -> Iterator[nodes.row]:
    yield from (row for body in table.findall(nodes.tbody) for row in body.findall(nodes.row))


def _stem(table: nodes.table) -> str:
    """Return what begins the ids of a table's rows: its name, or that of its section."""
    if table["names"] and table["ids"]:
        return str(table["ids"][0])
    place = table.parent
    while place is not None and not (isinstance(place, nodes.section) and place["ids"]):
        place = place.parent
    return str(place["ids"][0]) if place is not None else "row"


def _slug(row: nodes.row) -> str:
    return nodes.make_id(row[0].astext()[:LONGEST]) or "row"


def _free(wanted: str, taken: set[str]) -> str:
    """Return an id that is not taken: the wanted one, or with a number behind it."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
