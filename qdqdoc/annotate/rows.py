"""The rows of a box: DQ, operator and Q of one group, with every scale and zero point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdqdoc.annotate.label import Cell, table
from qdqdoc.annotate.text import RANGE, domain_text, scale_text, shorten, spread_text, zero_text
from qdqdoc.groups import DEQUANTIZE, partial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.annotate.pen import Pen
    from qdqdoc.annotate.theme import Part
    from qdqdoc.document import Quantization, Role
    from qdqdoc.groups import Group, Operand

LETTERS: dict[Role, str] = {"activation": "x", "weight": "w", "bias": "b", "constant": "c"}
MOST_BRANCHES = 4
COLUMNS = 4
"""Tag, what it is, scale, zero point."""


def box(pen: Pen, chain: tuple[Group, ...], *, brief: bool = False) -> str:
    """Return the markup of a box for groups that follow one another."""
    rows: list[list[Cell]] = []
    for position, group in enumerate(chain):
        before = chain[position - 1] if position else None
        after = chain[position + 1] if position + 1 < len(chain) else None
        rows += _brief(pen, group, after) if brief else _full(pen, group, before, after)
    return pen.frame(rows, padding=1)


def row_count(chain: tuple[Group, ...], *, brief: bool = False) -> int:
    """Return about how many rows `box` will have."""
    if brief:
        return len(chain) + 2
    joined = sum(3 for group in chain if len(group.activations) > 1)
    shown = [o for g in chain for o in g.operands if o.quantization is not None]
    doubled = sum(1 for o in shown if o.role == "weight" and _is_spread(o))
    return joined + len(shown) + doubled + len(chain) + 1


def _is_spread(operand: Operand) -> bool:
    return operand.quantization is not None and bool(spread_text(operand.quantization))


def _full(
    pen: Pen, group: Group, before: Group | None, after: Group | None
) -> Iterator[list[Cell]]:
    branches = tuple(o for o in group.activations if o.quantization is not None)
    if len(branches) > 1:
        yield [_meeting(pen, branches)]
    for operand in group.operands:
        if len(branches) > 1 and operand in branches:
            continue
        if operand.quantization is None or (before is not None and handed_on(before, operand)):
            continue
        yield _operand_row(pen, group, operand)
    yield from _own_rows(pen, group, after)


def _own_rows(pen: Pen, group: Group, after: Group | None) -> Iterator[list[Cell]]:
    if group.kind == "operator":
        yield [_operator(pen, group)]
    elif group.kind == "quantize" and partial(pen.document):
        yield [_untold(pen, group)]
    if group.result is None:
        return
    taken = [o for o in after.operands if handed_on(group, o)] if after is not None else []
    if any(operand.dequantize is not None for operand in taken):
        yield _handed_row(pen, group, group.result, after)
    else:
        yield _result_row(pen, group, group.result)


def _brief(pen: Pen, group: Group, after: Group | None) -> Iterator[list[Cell]]:
    branches = tuple(o for o in group.activations if o.quantization is not None)
    if len(branches) > 1:
        yield [_meeting(pen, branches)]
    if group.kind == "operator":
        yield [_operator(pen, group)]
    elif group.kind == "dequantize":
        yield _operand_row(pen, group, group.operands[0])
    if group.result is not None and (after is None or group.kind != "operator"):
        yield _result_row(pen, group, group.result)


def handed_on(group: Group, operand: Operand) -> bool:
    """Tell whether an operand takes a group's codes back with the same parameters."""
    made, taken = group.result, operand.quantization
    if made is None or taken is None:
        return False
    return operand.source == group.index and _same(made, taken)


def _same(one: Quantization, other: Quantization) -> bool:
    if (one.scale, one.zero_point) == (other.scale, other.zero_point):
        return True
    known = one.scale_values is not None and one.zero_point_values is not None
    values = (one.scale_values, one.zero_point_values)
    return known and values == (other.scale_values, other.zero_point_values)


def _operand_row(pen: Pen, group: Group, operand: Operand) -> list[Cell]:
    quantization = operand.quantization
    assert quantization is not None  # noqa: S101 - the caller looked
    what = f"{LETTERS.get(operand.role, 'x')} {pen.codes_type(operand)}".strip()
    tag = "DQ" if operand.dequantize is not None else "in"
    node = operand.dequantize or group.operation
    tip = f"{node.op_type} {node.name}: {operand.codes or operand.tensor}"
    hooks = {"tip": tip, "link": pen.url(node), "port": f"o{operand.position}"}
    if group.kind == "dequantize":
        hooks["identity"] = known_as(pen, group)
    return _parameter_row(pen, quantization, "dq", (tag, what), **hooks)


def _result_row(pen: Pen, group: Group, result: Quantization) -> list[Cell]:
    node = group.quantize or group.operation
    tip = f"{node.op_type} {node.name}: {result.tensor}"
    tag = "Q" if group.quantize is not None else "out"
    what = result.dtype or pen.dtype(result.tensor)
    hooks = {"tip": tip, "link": pen.url(node)}
    if group.kind == "quantize":
        hooks["identity"] = known_as(pen, group)
    return _parameter_row(pen, result, "q", (tag, what), **hooks)


def _handed_row(pen: Pen, group: Group, result: Quantization, after: Group | None) -> list[Cell]:
    """Return one row for a Q and the DQ right behind it, which has the same parameters."""
    quantize, *values = _result_row(pen, group, result)
    what = f"DQ {result.dtype or pen.dtype(result.tensor)}".strip()
    hooks: dict[str, Any] = {}
    if after is not None and after.kind == "dequantize":
        # This DQ is a group of its own, and has no other row.
        hooks = {"link": pen.url(after.operation), "tip": f"{DEQUANTIZE} {after.name}"}
        hooks["identity"] = known_as(pen, after)
    return [quantize, pen.cell("dq", what, width=widths(pen)[1], **hooks), *values[1:]]


def _parameter_row(
    pen: Pen, quantization: Quantization, part: Part, words: tuple[str, str], **hooks: str | None
) -> list[Cell]:
    tag, what = words
    what, scale = _told(pen, quantization, what)
    tag_width, what_width, scale_width, zero_width = widths(pen)
    return [
        pen.cell(part, tag, strong=True, align="center", width=tag_width, **hooks),
        pen.cell(part, what, width=what_width),
        pen.cell(part, scale, width=scale_width),
        pen.cell(part, zero_text(quantization), align="right", width=zero_width),
    ]


def _told(pen: Pen, quantization: Quantization, what: str) -> tuple[str, str]:
    """Return a tensor's kind and its scale; of several scales the range, on a second line.

    Of a bias the count must do, or the page is too small to read: view group has the range.
    """
    spread = spread_text(quantization)
    scale = scale_text(quantization, pen.document.tensors)
    if not spread:
        return what, scale
    if what.startswith(f"{LETTERS['bias']} "):
        return what, spread
    return f"{what}\n{spread} ", scale.replace(RANGE, f"{RANGE.rstrip()}\n")


def widths(pen: Pen) -> tuple[int, ...]:
    """Return the least widths of the four columns, so that boxes are aligned."""
    return tuple(round(ems * pen.theme.size) for ems in (2.0, 4.5, 6.3, 2.7))


def _operator(pen: Pen, group: Group) -> Cell:
    node = group.operation
    words = pen.words(node)
    return pen.cell(
        "op",
        f"{group.index}   {words}",
        strong=True,
        span=COLUMNS,
        tip=" ".join(filter(None, (domain_text(node), node.op_type, node.name))),
        link=pen.url(node),
        identity=known_as(pen, group),
        port="op",
    )


def known_as(pen: Pen, group: Group) -> str:
    """Return the id of the row that stands for a group in an overview."""
    return pen.identity(f"g{group.index}")


def _untold(pen: Pen, group: Group) -> Cell:
    """Return the place of an operator that the document does not tell."""
    tensor = group.operands[0].tensor
    text = f"{group.index}   → {shorten(tensor, 24)}"
    return pen.cell("plain", text, span=COLUMNS, italic=True, tip=tensor, border=1, dashed=True)


def _meeting(pen: Pen, branches: tuple[Operand, ...]) -> Cell:
    """Return the branches of a join side by side, each with its own parameters."""
    cells = [_branch(pen, operand) for operand in branches[:MOST_BRANCHES]]
    if branches[MOST_BRANCHES:]:
        cells.append(pen.cell("dq", f"+{len(branches) - MOST_BRANCHES}", align="center"))
    inner = table([cells], border="0", cellborder="0", cellspacing="1", cellpadding="2")
    return Cell("", span=COLUMNS, inner=inner, fill=pen.theme.inks["dq"].strong)


def _branch(pen: Pen, operand: Operand) -> Cell:
    quantization = operand.quantization
    assert quantization is not None  # noqa: S101 - the caller looked
    origin = f"from {operand.source}" if operand.source is not None else "input"
    node = operand.dequantize
    lines = (
        f"{'DQ' if node else 'in'}  {pen.codes_type(operand)}  {origin}",
        f"s {scale_text(quantization, pen.document.tensors)}",
        f"z {zero_text(quantization)}",
    )
    return pen.cell(
        "dq",
        "\n".join(lines),
        port=f"o{operand.position}",
        tip=f"{node.op_type} {node.name}" if node else operand.tensor,
        link=pen.url(node) if node else None,
    )
