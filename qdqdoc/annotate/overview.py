"""The whole network on one page: chains of groups in boxes, boxes in columns."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from qdqdoc.annotate.boxes import Box, Edge, boxes, columns, edges
from qdqdoc.annotate.facts import facts
from qdqdoc.annotate.nodes import terminal
from qdqdoc.annotate.pen import counted, source
from qdqdoc.annotate.rows import box, known_as, row_count
from qdqdoc.annotate.text import scale_text, shorten, zero_text
from qdqdoc.groups import Group, groups, partial, roots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.annotate.label import Cell
    from qdqdoc.annotate.pen import Pen

MOST_DETAILED = 60
"""Groups that are drawn with all their rows; of more, one page holds the operators alone."""
MOST_DRAWN = 1200
"""Groups that are drawn at all: more take minutes and nobody finds anything."""
ROW = 1.58
"""Height of a row, in font sizes."""
WIDE = 18.0
"""Width of a box, in font sizes."""
FACTS_WIDTH = 175.0
MOST_STORED = 40


def overview(pen: Pen) -> str:
    """Return the DOT text of the overview."""
    found = groups(pen.document)
    stored = tuple(g for g in found if g.stored and g.kind != "operator")
    moving = tuple(g for g in found if not (g.stored and g.kind != "operator"))
    drawn, notes = moving[:MOST_DRAWN], _notes(pen, moving)
    page = _Page(pen, drawn, stored)
    return page.draw(notes)


def _notes(pen: Pen, moving: Sequence[Group]) -> tuple[str, ...]:
    notes = []
    if is_brief(moving):
        notes.append("Scales of stored operands are left out: draw one group for them.")
    if len(moving) > MOST_DRAWN:
        notes.append(f"Drawn: the first {MOST_DRAWN:,} of {counted(len(moving), 'group')}.")
    if partial(pen.document):
        notes.append("The file tells only of Q and DQ nodes. Boxes stand in its order.")
    if pen.document.functions:
        notes.append(f"{counted(len(pen.document.functions), 'function')} not unfolded.")
    return tuple(notes)


def is_brief(found: Sequence[Group]) -> bool:
    """Tell whether there are too many groups for all their rows."""
    return sum(1 for group in found if group.kind != "dequantize") > MOST_DETAILED


class _Page:
    """One overview while it is drawn."""

    def __init__(self, pen: Pen, drawn: Sequence[Group], stored: Sequence[Group]) -> None:
        self.pen = pen
        self.brief = is_brief(drawn)
        self.stored = stored
        self.boxes = boxes(drawn)
        self.links = edges(self.boxes)
        beside = FACTS_WIDTH * pen.theme.size / 9
        self.columns = columns(self.boxes, self._size, beside + (beside if stored else 0))
        self.column_of = {box.index: i for i, part in enumerate(self.columns) for box in part}
        self.ties: list[list[tuple[str, str]]] = [[] for _ in self.columns]

    def draw(self, notes: tuple[str, ...]) -> str:
        parts = 1 + len(self.columns) + bool(self.stored)
        canvas = self.pen.canvas("overview", pack="16", packmode=f"array_it{parts}")
        self.pen.node(canvas, "facts", facts(self.pen, notes), "qdq-facts")
        for column in self.columns:
            for item in column:
                self._box(canvas, item)
        self._inputs(canvas)
        self._outputs(canvas)
        for link in self.links:
            if self.column_of[link.source] == self.column_of[link.target]:
                self._edge(canvas, f"b{link.source}", link)
        self._crossings(canvas)
        self._hold_together(canvas)
        if self.stored:
            self.pen.node(canvas, "stored", _stored_table(self.pen, self.stored), "qdq-stored")
        return source(canvas)

    def _size(self, item: Box) -> tuple[float, float]:
        size = self.pen.theme.size
        rows = row_count(item.groups, brief=self.brief)
        return WIDE * size, rows * ROW * size

    def _box(self, canvas: Any, item: Box) -> None:  # noqa: ANN401 - graphviz has no types
        kind = "qdq-join" if len(item.groups[0].activations) > 1 else "qdq-group"
        content = box(self.pen, item.groups, brief=self.brief)
        self.pen.node(canvas, f"b{item.index}", content, kind)

    def _tie(self, column: int, one: str, other: str) -> None:
        self.ties[column].append((one, other))

    def _edge(self, canvas: Any, tail: str, link: Edge) -> None:  # noqa: ANN401
        operand = self.boxes[link.target].groups[0].operands[link.operand]
        target = f"b{link.target}"
        self._tie(self.column_of[link.target], tail, target)
        self.pen.edge(canvas, tail, self._port(target, link), self.pen.flow(operand))

    def _port(self, target: str, link: Edge) -> str:
        group = self.boxes[link.target].groups[0]
        branches = [o for o in group.activations if o.quantization is not None]
        shown = group.operands[link.operand] in branches[:4]
        if len(branches) > 1 and shown:
            return f"{target}:o{group.operands[link.operand].position}:n"
        return f"{target}:n"

    def _crossings(self, canvas: Any) -> None:  # noqa: ANN401
        """Continue tensors in other columns: a numbered disc below, the same one above."""
        numbers: dict[int, int] = {}
        for link in self.links:
            start, end = self.column_of[link.source], self.column_of[link.target]
            if start == end:
                continue
            if link.source not in numbers:
                numbers[link.source] = len(numbers) + 1
                tail = f"t{link.source}"
                self._disc(canvas, tail, numbers[link.source])
                self.pen.edge(canvas, f"b{link.source}:s", tail)
                self._tie(start, f"b{link.source}", tail)
            head = f"h{link.source}_{end}"
            self._disc(canvas, head, numbers[link.source])
            self._edge(canvas, head, link)

    def _disc(self, canvas: Any, name: str, number: int) -> None:  # noqa: ANN401
        ink = self.pen.theme.inks["note"]
        canvas.node(
            name,
            label=str(number),
            shape="circle",
            style="filled",
            fillcolor=ink.strong,
            fontcolor=ink.text,
            width="0.24",
            fixedsize="true",
            tooltip=" ",
            **{"id": self.pen.identity(name), "class": "qdq-disc"},
        )

    def _inputs(self, canvas: Any) -> None:  # noqa: ANN401
        if partial(self.pen.document):
            return
        inputs = {name: i for i, name in enumerate(self.pen.document.graph.inputs)}
        seen: set[tuple[str, int]] = set()
        for item in self.boxes:
            for position, operand in enumerate(item.groups[0].operands):
                if operand.source is not None or operand.origin not in inputs:
                    continue
                column = self.column_of[item.index]
                name = f"i{inputs[operand.origin]}_{column}"
                if (name, column) not in seen:
                    self._terminal(canvas, name, operand.origin, "input")
                    seen.add((name, column))
                self._edge(canvas, name, Edge(-1, item.index, position))

    def _outputs(self, canvas: Any) -> None:  # noqa: ANN401
        if partial(self.pen.document):
            return
        aliases, makers = roots(self.pen.document), _makers(self.boxes)
        for index, name in enumerate(self.pen.document.graph.outputs):
            maker = makers.get(aliases.get(name, name))
            if maker is None:
                continue
            tail, head = f"b{maker}", f"r{index}"
            self._terminal(canvas, head, name, "output")
            self.pen.edge(canvas, tail, head, _typed(self.pen, name))
            self._tie(self.column_of[maker], tail, head)

    def _terminal(self, canvas: Any, name: str, tensor: str, word: str) -> None:  # noqa: ANN401
        content = terminal(self.pen, word, tensor)
        self.pen.node(canvas, name, content, "qdq-terminal", tensor)

    def _hold_together(self, canvas: Any) -> None:  # noqa: ANN401
        """Tie what is not connected within a column, else it would become a column."""
        for column, ties in zip(self.columns, self.ties, strict=True):
            names = [f"b{item.index}" for item in column]
            leader = {name: name for tie in ties for name in tie} | {name: name for name in names}
            for one, other in ties:
                _unite(leader, one, other)
            for one, other in pairwise(names):
                if _lead(leader, one) != _lead(leader, other):
                    _unite(leader, one, other)
                    canvas.edge(one, other, style="invis")


def _lead(leader: dict[str, str], name: str) -> str:
    while leader[name] != name:
        leader[name] = leader[leader[name]]
        name = leader[name]
    return name


def _unite(leader: dict[str, str], one: str, other: str) -> None:
    leader[_lead(leader, one)] = _lead(leader, other)


def _makers(drawn: Sequence[Box]) -> Mapping[str, int]:
    made = {}
    for item in drawn:
        for group in item.groups:
            for name in (*group.operation.outputs, group.output):
                made[name] = item.index
    return made


def _typed(pen: Pen, name: str) -> str:
    return "\n".join(filter(None, (pen.dtype(name), pen.shape(name))))


def _stored_table(pen: Pen, stored: Sequence[Group]) -> str:
    """Return a table of the Q and DQ nodes whose readers the document does not tell."""
    heading = pen.cell("note", "stored tensors behind Q and DQ", span=4, strong=True)
    rows = [[heading], *(_stored_row(pen, group) for group in stored[:MOST_STORED])]
    if stored[MOST_STORED:]:
        rows.append([pen.cell("note", f"{len(stored) - MOST_STORED} more", span=4)])
    return pen.frame(rows, padding=1)


def _stored_row(pen: Pen, group: Group) -> list[Cell]:
    operand = group.operands[0]
    quantization = group.result or operand.quantization
    tag, part = ("Q", "q") if group.kind == "quantize" else ("DQ", "dq")
    name = operand.codes or operand.tensor
    cells = [tag, shorten(name.removesuffix("_quantized"), 28)]
    if quantization is not None:
        cells += [scale_text(quantization, pen.document.tensors), zero_text(quantization)]
    hooks = {"tip": f"{group.operation.op_type} {group.name}", "link": pen.url(group.operation)}
    hooks["identity"] = known_as(pen, group)
    return [
        pen.cell(part, cells[0], strong=True, align="center", **hooks),  # type: ignore[arg-type]
        *(pen.cell(part, text) for text in cells[1:]),  # type: ignore[arg-type]
    ]
