"""Vector drawings on paper: black on white, and as large as a page allows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from qdqdoc.pdf.markup import string

if TYPE_CHECKING:
    from docutils import nodes

    from qdqdoc.pdf.writer import Writer

INK = "#1b222c"
"""The colour of the text around a drawing, for what is drawn in the colour of the text."""

LEGIBLE = 0.62
"""A drawing that must be made smaller than this gets a larger page."""

CAPTION = 60.0
"""Points that are left for a caption."""

_SIZE = {
    name: re.compile(rf'<svg[^>]*?\s{name}="([\d.]+)(pt|px|)"', re.DOTALL)
    for name in ("width", "height")
}
_POINTS = {"pt": 1.0, "px": 0.75, "": 0.75}


class Sheet(NamedTuple):
    """A page: what Typst calls it, and the room on it in points."""

    options: str
    width: float
    height: float


UPRIGHT = Sheet("", 470.0, 700.0)
SHEETS = (
    UPRIGHT,
    Sheet("flipped: true", 716.0, 455.0),
    Sheet('paper: "a3"', 716.0, 1050.0),
    Sheet('paper: "a3", flipped: true', 1065.0, 700.0),
)
"""From the handiest to the largest; on A3, a drawing lies as is best for it."""


def drawing(writer: Writer, node: nodes.Element, svg: str, alt: str) -> str:
    """Return a drawing as Typst source; ``alt`` is for those who cannot see it."""
    name = writer.builder.keep(coloured(svg).encode(), ".svg")
    width, height = size(svg)
    if not (width and height):
        writer.complain(node, "a drawing without width and height")
        return ""
    sheet = writer.sheet or UPRIGHT
    shown = width * min(1, scale(sheet, width, height))
    return f"#q-picture({string(name)}, alt: {string(alt)}, width: {shown:.1f}pt);\n\n"


def size(svg: str) -> tuple[float, float]:
    """Return width and height in points, zeros where they are not said.

    >>> size('<svg width="504pt" height="100px">')
    (504.0, 75.0)
    """
    found = [pattern.search(svg) for pattern in _SIZE.values()]
    width, height = (float(one[1]) * _POINTS[one[2]] if one else 0.0 for one in found)
    return width, height


def scale(sheet: Sheet, width: float, height: float) -> float:
    """Return how large a drawing can be on a sheet, 1 for as it is."""
    return min(sheet.width / width, (sheet.height - CAPTION) / height)


def sheet_for(width: float, height: float) -> Sheet:
    """Return the smallest sheet on which a drawing can be read, or that on which it is largest.

    >>> sheet_for(400, 300).options, sheet_for(1044, 788).options
    ('', 'paper: "a3", flipped: true')
    """
    handy = [sheet for sheet in SHEETS[:2] if scale(sheet, width, height) >= LEGIBLE]
    return handy[0] if handy else max(SHEETS, key=lambda sheet: scale(sheet, width, height))


def coloured(svg: str) -> str:
    """Return a drawing in which the colour of the text is that of the book.

    >>> coloured('<svg width="1pt"><g stroke="currentColor"/></svg>')
    '<svg color="#1b222c" width="1pt"><g stroke="currentColor"/></svg>'
    """
    return svg.replace("<svg", f'<svg color="{INK}"', 1)
