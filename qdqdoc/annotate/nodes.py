"""Boxes for single nodes: a Q or DQ with its parameters, an operator, a stored tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.annotate.text import (
    all_scales,
    domain_text,
    scale_text,
    shorten,
    spread_words,
    zero_text,
)
from qdqdoc.groups import DEQUANTIZE, QUANTIZE, own_quantization

if TYPE_CHECKING:
    from qdqdoc.annotate.label import Cell
    from qdqdoc.annotate.pen import Pen
    from qdqdoc.annotate.theme import Part
    from qdqdoc.document import Operation
    from qdqdoc.groups import Group

KINDS: dict[str, Part] = {QUANTIZE: "q", DEQUANTIZE: "dq"}
LONGEST_VALUE = 48
MOST_ATTRIBUTES = 12


def node(pen: Pen, operation: Operation, *, full: bool = False) -> str:
    """Return the markup of one node; ``full`` adds names and attributes."""
    part = KINDS.get(operation.op_type, "op")
    rows = [_head(pen, part, operation)]
    if part == "op":
        rows += _attributes(pen, operation) if full else []
    else:
        rows += _parameters(pen, part, operation, full=full)
    name = operation.name if part == "op" or full else _described(operation)
    if name:
        rows.append([pen.cell(part, shorten(name, 28), size=pen.theme.size - 1, align="center")])
    return pen.frame(rows)


def _described(operation: Operation) -> str:
    """Return the tensor that a Q or DQ is about: what the rest of the model calls it."""
    return next(iter(operation.inputs), "")


def node_kind(operation: Operation) -> str:
    """Return the class of a node in the SVG."""
    return f"qdq-{KINDS.get(operation.op_type, 'op')}"


def node_tip(operation: Operation) -> str:
    """Return everything that a box had no room for."""
    made = ", ".join(filter(None, operation.outputs))
    return f"{operation.op_type} {operation.name}: {made}"


def terminal(pen: Pen, word: str, tensor: str) -> str:
    """Return the markup of an end of the drawing: an input, an output, a stored tensor."""
    text = f"{word} {shorten(tensor)}"
    return pen.frame(
        [[pen.cell("note", text, align="center", tip=tensor, fill="")]], style="rounded"
    )


def neighbour(pen: Pen, group: Group) -> str:
    """Return the markup of a group that stands beside the drawn one."""
    text = f"{group.index}   {group.operation.op_type}\n{shorten(group.name)}"
    link = pen.url(group.operation)
    cell = pen.cell("note", text, align="center", link=link, tip=group.name, fill="")
    return pen.frame([[cell]], style="rounded")


def placeholder(pen: Pen, tensor: str) -> str:
    """Return the markup of an operator that the document does not tell."""
    hint = shorten(tensor, 26)
    cell = pen.cell(
        "plain", f"operator not told\n→ {hint}", align="center", italic=True, tip=tensor
    )
    return pen.frame([[cell]], style="dashed")


def _head(pen: Pen, part: Part, operation: Operation) -> list[Cell]:
    domain = domain_text(operation)
    words = operation.op_type if part != "op" else pen.words(operation)
    return [
        pen.cell(
            part,
            f"{words}\n{shorten(domain)}" if domain else words,
            strong=True,
            align="center",
            link=pen.url(operation),
            tip=node_tip(operation),
        )
    ]


def _parameters(pen: Pen, part: Part, operation: Operation, *, full: bool) -> list[list[Cell]]:
    quantization = own_quantization(operation)
    if quantization is None:
        return []
    scales = all_scales(quantization, pen.document.tensors) if full else ""
    lines = [
        f"s = {scales or scale_text(quantization, pen.document.tensors)}",
        f"z = {zero_text(quantization)}",
    ]
    if quantization.granularity != "per_tensor":
        lines.append(spread_words(quantization))
    if full:
        lines.append(f"scale {shorten(quantization.scale)}")
        if quantization.zero_point:
            lines.append(f"zero point {shorten(quantization.zero_point)}")
    return [[pen.cell(part, "\n".join(lines))]]


def _attributes(pen: Pen, operation: Operation) -> list[list[Cell]]:
    lines = [f"{key} = {_value(value)}" for key, value in sorted(operation.attributes.items())]
    more = len(lines) - MOST_ATTRIBUTES
    lines = lines[:MOST_ATTRIBUTES] + ([f"{more} more attributes"] if more > 0 else [])
    return [[pen.cell("op", "\n".join(lines))]] if lines else []


def _value(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
