"""Rules for tables: whole on the page whatever is in them, their heads on every page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from docutils import nodes

from qdqdoc.pdf.blocks import numbered, standing
from qdqdoc.pdf.markup import flat, pieces
from qdqdoc.pdf.mathematics import MathError, letters
from qdqdoc.pdf.widths import FEW, SHAPES, SHORT, TALL, fit, height

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdqdoc.pdf.metrics import Metrics
    from qdqdoc.pdf.widths import Cell, Shape
    from qdqdoc.pdf.writer import Rule, Writer

UPRIGHT, ACROSS = 470.0, 716.0
"""Width of the text on a page in points, as the template has it."""
WORTH = 0.6
"""A smaller or wider setting must save so much to be taken when none is comfortable."""
CODE = 0.85
"""Size of code beside text."""
MATH = 0.62
"""A letter of a formula is about as wide, in em."""


def table(writer: Writer, node: nodes.Element) -> str:
    """Write a table with its caption, on a page across if it is too wide for one upright."""
    titles = [child for child in node.children if isinstance(child, nodes.title)]
    caption = "".join(numbered(writer, child, "table") for child in titles)
    group = next(child for child in node.children if isinstance(child, nodes.tgroup))
    head, body = _rows(group, nodes.thead), _rows(group, nodes.tbody)
    setting = choose([*head, *body], writer.builder.metrics, across=writer.sheet is None)
    shape = setting.shape
    outer, writer.chunk = writer.chunk, shape.chunk
    place = writer.anchors(node)
    first = ", ".join(_cells(writer, head, place))
    cells = [f"table.header({first})"] if head else []
    cells += _cells(writer, body, "" if head else place)
    writer.chunk = outer
    columns = ", ".join(f"{width * shape.size:.2f}pt" for width in setting.widths)
    whole, together = (str(flag).lower() for flag in (not setting.tall, setting.lines <= FEW))
    given = f"columns: ({columns},), size: {shape.size}pt, whole: {whole}, together: {together}"
    shown = f"[{caption}]" if titles else "none"
    made = f"q-table({shown}, {given},\n" + ",\n".join(cells) + "\n)"
    # A place is put within the table, so that it is on the same page.
    options = "flipped: true" if shape.across else ""
    return standing(writer, node, made, options)


class Setting(NamedTuple):
    """How a table is set: widths of columns in em, lines in all, whether a row is very tall."""

    shape: Shape
    widths: list[float]
    lines: float
    tall: bool

    @property
    def height(self) -> float:
        """How high the table is, but for the space between its rows."""
        return self.lines * self.shape.size


def choose(rows: Sequence[nodes.row], metrics: Metrics, *, across: bool) -> Setting:
    """Return the first comfortable setting of a table, or the best that there is."""
    best: Setting | None = None
    for shape in SHAPES:
        if shape.across and not across:
            continue
        cells = [_measured(row, metrics, shape.chunk) for row in rows]
        widths = fit(cells, (ACROSS if shape.across else UPRIGHT) / shape.size)
        if widths is None:
            continue
        lines = height(cells, widths) * len(rows)
        tall = any(height([row], widths) > TALL for row in cells)
        setting = Setting(shape, widths, lines, tall)
        if lines <= max(shape.comfort * len(rows), 0 if shape.across else SHORT):
            return setting
        if best is None or setting.height < best.height * WORTH:
            best = setting
    if best is not None:
        return best
    # More columns than a page has room for letters: their share is all they get.
    shape, count = SHAPES[-1], max(map(len, rows), default=1)
    return Setting(shape, [ACROSS / shape.size / count] * count, math.inf, tall=True)


def _rows(group: nodes.Element, part: type[nodes.Element]) -> list[nodes.row]:
    return [
        child
        for holder in group.children
        if isinstance(holder, part)
        for child in holder.children
        if isinstance(child, nodes.row)
    ]


def _cells(writer: Writer, rows: Sequence[nodes.row], place: str = "") -> list[str]:
    made = []
    for number, row in enumerate(rows):
        before = writer.anchors(row) + ("" if number else place)
        entries = (entry for entry in row.children if isinstance(entry, nodes.entry))
        cells = [_cell(writer, entry, "" if k else before) for k, entry in enumerate(entries)]
        made.append(", ".join(cells))
    return made


def _cell(writer: Writer, entry: nodes.Element, before: str) -> str:
    body = before + writer.anchors(entry) + writer.inner(entry).strip()
    spans = (("colspan", "morecols"), ("rowspan", "morerows"))
    options = [f"{name}: {entry[more] + 1}" for name, more in spans if more in entry]
    sides = [side for side in ("right", "center") if f"text-{side}" in entry["classes"]]
    options += [f"align: {side}" for side in sides]
    if not options:
        return f"[{body}]"
    return f"table.cell({', '.join(options)})[{body}]"


def _measured(row: nodes.row, metrics: Metrics, chunk: int) -> list[Cell]:
    head = isinstance(row.parent, nodes.thead)
    cells: list[Cell] = []
    for entry in row.children:
        span = entry.get("morecols", 0) if isinstance(entry, nodes.Element) else 0
        cell = tuple(_line(line, metrics, chunk, head=head) for line in _text_lines(entry))
        # What spans columns has the room of several.
        cells += [() if span else cell, *[()] * span]
    return cells


def _text_lines(entry: nodes.Node) -> Iterator[nodes.Element]:
    yield from entry.findall(nodes.paragraph)


def _line(line: nodes.Element, metrics: Metrics, chunk: int, *, head: bool) -> tuple[float, ...]:
    """Return the widths of the words of a line; a word may change its font on the way."""
    widths = [0.0]
    code: nodes.Node | None = None
    for leaf in line.findall(_is_leaf):
        if isinstance(leaf, nodes.Text):
            if code is not None and leaf.parent is code:
                # Between two texts of one piece of code it may be broken.
                widths.append(0.0)
            code = leaf.parent if isinstance(leaf.parent, nodes.literal) else None
            kind, scale = _font(leaf, line, head=head)
            _add(widths, leaf.astext(), chunk, lambda text: metrics.width(text, kind) * scale)  # noqa: B023
        else:
            widths[-1] += _formula_width(leaf)
    return tuple(widths)


def _is_leaf(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Text):
        return not isinstance(node.parent, nodes.math | nodes.raw)
    return isinstance(node, nodes.math)


def _font(leaf: nodes.Node, line: nodes.Element, *, head: bool) -> tuple[str, float]:
    node = leaf.parent
    while node is not line and node is not None:
        if isinstance(node, nodes.literal):
            return "q-mono", CODE
        if isinstance(node, nodes.strong):
            return "q-strong", 1.0
        node = node.parent
    return ("q-strong" if head else "q-sans"), 1.0


def _add(widths: list[float], text: str, chunk: int, width: object) -> None:
    for number, piece in enumerate(pieces(flat(text), chunk)):
        if number:
            widths.append(0.0)
        for place, word in enumerate(piece.split(" ")):
            if place:
                widths[-1] += width(" ")  # type: ignore[operator]
                widths.append(0.0)
            widths[-1] += width(word)  # type: ignore[operator]


def _formula_width(node: nodes.Node) -> float:
    try:
        return len(letters(node.astext())) * MATH
    except (MathError, ValueError):
        return len(node.astext()) * MATH


RULES: dict[str, Rule] = {"table": table}
