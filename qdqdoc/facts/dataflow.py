"""The way of the data through the model, one group a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.facts.reading import listed, scale_cell, shape_text, zero_cell
from qdqdoc.groups import groups, pattern
from qdqdoc.tables import Cell, Code, Table, show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdqdoc.document import Document, Quantization
    from qdqdoc.groups import Group, Operand

COLUMNS = (
    *("#", "Group", "Node", "Reads", "Shape in", "Shape out"),
    *("Type", "Scale in", "Scale out", "Zero point"),
)


def dataflow(document: Document) -> Table:
    """Return the groups in graph order: shapes, types, scales and zero points in and out.

    ``Reads`` names the rows whose results a group takes; several inputs stand side by side.
    """
    found = groups(document)
    return Table(
        COLUMNS,
        tuple(_row(document, group) for group in found),
        keys=tuple(f"group-{group.index}" for group in found),
    )


def inner_nodes(document: Document) -> int:
    """Return how many nodes stand in the graphs of other nodes and in functions."""
    return sum(1 for _ in document.walk()) - len(document.operations)


def _row(document: Document, group: Group) -> tuple[Cell, ...]:
    inputs = group.activations
    made = next(filter(None, group.operation.outputs), "")
    result = group.result or _passed_on(group)
    kinds = _arrow(listed(_type(document, o) for o in inputs), _made_type(document, group))
    zeros_in = [zero_cell(o.quantization) for o in inputs]
    return (
        group.index,
        Code(pattern(group)),
        Code(group.name),
        listed(_source(o) for o in inputs) or "stored values",
        listed(shape_text(document.tensors.get(o.tensor)) for o in inputs),
        shape_text(document.tensors.get(made)),
        kinds,
        _one_or_listed([scale_cell(document, o.quantization) for o in inputs]),
        scale_cell(document, result),
        _arrow(_words(zeros_in), show(zero_cell(result))),
    )


def _source(operand: Operand) -> str:
    return "model input" if operand.source is None else str(operand.source)


def _type(document: Document, operand: Operand) -> str:
    if operand.quantization is not None and operand.quantization.dtype:
        return operand.quantization.dtype
    tensor = document.tensors.get(operand.codes or operand.tensor)
    return (tensor.dtype if tensor is not None else "") or "?"


def _made_type(document: Document, group: Group) -> str:
    if group.result is not None:
        return group.result.dtype
    tensor = document.tensors.get(group.output)
    return (tensor.dtype if tensor is not None else "") or "?"


def _passed_on(group: Group) -> Quantization | None:
    """Return the quantization of codes that an operator only moves, as Reshape on codes does."""
    first = next(iter(group.activations), None)
    moves = group.kind == "operator" and group.operation.op_type in {"Reshape", "Transpose"}
    if not moves or first is None or first.dequantize is not None:
        return None
    return first.quantization


def _one_or_listed(cells: list[Cell]) -> Cell:
    return cells[0] if len(cells) == 1 else _words(cells)


def _words(cells: Iterable[Cell]) -> str:
    return ", ".join(map(show, cells)) or show(None)


def _arrow(left: str, right: str) -> str:
    return f"{left or show(None)} → {right}"
