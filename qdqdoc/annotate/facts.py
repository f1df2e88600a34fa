"""The table beside the overview: what the model consists of, and how to read the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.annotate.pen import counted
from qdqdoc.annotate.text import MINUS, TIMES, shorten
from qdqdoc.document.model import QDQ
from qdqdoc.groups import partial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.annotate.label import Cell
    from qdqdoc.annotate.pen import Pen
    from qdqdoc.document import Document, Tensor

ROLES = {
    "weight": ("weight", "weights"),
    "bias": ("bias", "biases"),
    "constant": ("constant", "constants"),
    "scale": ("scale", "scales"),
    "zero_point": ("zero point", "zero points"),
}
MOST_TYPES = 24
LONGEST_TITLE = 30
LEGEND = f"""x activation, w weight, b bias, c constant
real number = scale {TIMES} (integer {MINUS} zero point)
Q DQ in one row: the same parameters
a numbered disc: goes on in another column"""


def facts(pen: Pen, notes: tuple[str, ...] = ()) -> str:
    """Return the markup of the table: title, nodes by type, parameters, legend, notes."""
    rows = [*_title(pen), *_counts(pen), *_parameters(pen), *_legend(pen)]
    rows += [[pen.cell("plain", _wrapped(note), span=2, italic=True)] for note in notes]
    return pen.frame(rows)


def _title(pen: Pen) -> Iterator[list[Cell]]:
    document, size = pen.document, pen.theme.size
    name = shorten(document.model_path, LONGEST_TITLE) or "model"
    yield [pen.cell("note", name, span=2, strong=True, size=size + 3, tip=document.model_path)]
    if document.opset_version:
        yield [pen.cell("note", f"opset {document.opset_version}", span=2)]


def _counts(pen: Pen) -> Iterator[list[Cell]]:
    counts = pen.document.op_type_counts
    yield _heading(pen, "nodes", f"{pen.document.total_nodes:,}")
    for op_type, part in zip(QDQ, ("q", "dq"), strict=True):
        if counts.get(op_type):
            yield [
                pen.cell(part, op_type),  # type: ignore[arg-type]
                pen.cell(part, f"{counts[op_type]:,}", align="right"),  # type: ignore[arg-type]
            ]
    others = sorted((-count, name) for name, count in counts.items() if name not in QDQ)
    for count, name in others[:MOST_TYPES]:
        yield [pen.cell("op", name), pen.cell("op", f"{-count:,}", align="right")]
    if others[MOST_TYPES:]:
        rest = others[MOST_TYPES:]
        more = f"{sum(-count for count, _ in rest):,}"
        yield [
            pen.cell("op", f"{len(rest)} more types"),
            pen.cell("op", more, align="right"),
        ]


def _parameters(pen: Pen) -> Iterator[list[Cell]]:
    rows = stored(pen.document)
    constants = pen.document.op_type_counts.get("Constant", 0)
    if partial(pen.document) or (not rows and not constants):
        return
    yield _heading(pen, "stored tensors", "values")
    for words, values in rows:
        yield [pen.cell("plain", words), pen.cell("plain", values, align="right")]
    where = "In the model file, as initializers"
    if constants:
        where += f"\nand {counted(constants, 'Constant node')}"
    yield [pen.cell("plain", where, span=2, italic=True)]


def stored(document: Document) -> list[tuple[str, str]]:
    """Return the initializers of all graphs: how many of each role and type, how many values."""
    found: dict[tuple[str, str], list[int]] = {}
    for tensor in _initializers(document):
        key = (tensor.role, tensor.dtype)
        entry = found.setdefault(key, [0, 0])
        entry[0] += 1
        entry[1] += tensor.size or 0
    order = list(ROLES)
    keys = sorted(found, key=lambda k: (order.index(k[0]) if k[0] in order else -1, k[1]))
    return [
        (f"{found[k][0]:,} {_role(k[0], found[k][0])} {k[1]}".strip(), f"{found[k][1]:,}")
        for k in keys
    ]


def _role(role: str, count: int) -> str:
    one, several = ROLES.get(role, (role, role))
    return one if count == 1 else several


def _initializers(document: Document) -> Iterator[Tensor]:
    graphs = [document.graph, *(function.graph for function in document.functions)]
    while graphs:
        graph = graphs.pop()
        yield from (tensor for tensor in graph.tensors.values() if tensor.initializer)
        graphs += [inner for operation in graph.operations for inner in operation.graphs.values()]


def _legend(pen: Pen) -> Iterator[list[Cell]]:
    yield _heading(pen, "how to read", "")
    yield [pen.cell("dq", "DQ  operand, type, scale, zero point", span=2)]
    yield [pen.cell("op", "number of the group, operator", span=2)]
    yield [pen.cell("q", "Q  type, scale, zero point", span=2)]
    yield [pen.cell("plain", LEGEND, span=2)]
    if partial(pen.document):
        yield [pen.cell("plain", "dashed: an operator the file does not tell", span=2)]


def _heading(pen: Pen, left: str, right: str) -> list[Cell]:
    return [
        pen.cell("note", left, strong=True),
        pen.cell("note", right, strong=True, align="right"),
    ]


def _wrapped(text: str, width: int = 44) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
