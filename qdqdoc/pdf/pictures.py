"""Vector drawings on paper: black on white, and as large as a page allows."""

from __future__ import annotations

import re
from math import ceil
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

OVERLAP = 70.0
"""Points that two strips share: about a box with its arrows, so that each is whole somewhere."""

GUTTER = 14.0
"""Points between two strips."""

MOST_SHEETS = 12
"""A drawing that needs more sheets is shown small, on one: whoever reads it must enlarge it."""

HEADING = 40.0
"""Points that are left for a heading."""

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


class Strips(NamedTuple):
    """How a drawing that is too tall is cut: so many strips, so many of them side by side."""

    sheet: Sheet
    columns: int
    strips: int

    @property
    def sheets(self) -> int:
        """How many sheets they take."""
        return ceil(self.strips / self.columns)

    @property
    def height(self) -> float:
        """Points of a strip; the first stands below a heading."""
        return self.sheet.height - CAPTION - HEADING


def drawing(writer: Writer, node: nodes.Element, svg: str, alt: str) -> str:
    """Return a drawing as Typst source; ``alt`` is for those who cannot see it."""
    name = writer.builder.keep(coloured(svg).encode(), ".svg")
    width, height = size(svg)
    if not (width and height):
        writer.complain(node, "a drawing without width and height")
        return ""
    described = f"{string(name)}, alt: {string(alt)}"
    cut = strips(width, height)
    if cut is not None:
        sizes = {"width": width * LEGIBLE, "height": height * LEGIBLE, "strip": cut.height}
        given = "".join(f", {key}: {value:.1f}pt" for key, value in sizes.items())
        given += f", columns: {cut.columns}, count: {cut.strips}, overlap: {OVERLAP:.1f}pt"
        return f"#q-strips({described}{given});\n\n"
    sheet = writer.sheet or UPRIGHT
    shown = width * min(1, scale(sheet, width, height))
    return f"#q-picture({described}, width: {shown:.1f}pt);\n\n"


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


def strips(width: float, height: float) -> Strips | None:
    """Return how to cut a drawing that is far too tall for any sheet; none if it need not be.

    >>> cut = strips(689, 4000)
    >>> cut.sheet.options, cut.columns, cut.strips, cut.sheets
    ('paper: "a3"', 1, 3, 3)
    >>> strips(689, 2000), strips(4000, 689), strips(689, 100_000)
    (None, None, None)
    """
    if not width or max(scale(sheet, width, height) for sheet in SHEETS) >= LEGIBLE / 2:
        return None
    found = []
    for sheet in SHEETS[2:]:
        columns = int((sheet.width + GUTTER) // (width * LEGIBLE + GUTTER))
        if columns:
            each = Strips(sheet, columns, 1).height - OVERLAP
            found.append(Strips(sheet, columns, ceil((height * LEGIBLE - OVERLAP) / each)))
    best = min(found, key=lambda one: one.sheets, default=None)
    return best if best is not None and best.sheets <= MOST_SHEETS else None


def sheet_for(width: float, height: float) -> Sheet:
    """Return the smallest sheet on which a drawing can be read, or that on which it is largest.

    >>> sheet_for(400, 300).options, sheet_for(1044, 788).options
    ('', 'paper: "a3", flipped: true')
    """
    cut = strips(width, height)
    if cut is not None:
        return cut.sheet
    handy = [sheet for sheet in SHEETS[:2] if scale(sheet, width, height) >= LEGIBLE]
    return handy[0] if handy else max(SHEETS, key=lambda sheet: scale(sheet, width, height))


def coloured(svg: str) -> str:
    """Return a drawing in which the colour of the text is that of the book.

    >>> coloured('<svg width="1pt"><g stroke="currentColor"/></svg>')
    '<svg color="#1b222c" width="1pt"><g stroke="currentColor"/></svg>'
    """
    return svg.replace("<svg", f'<svg color="{INK}"', 1)
