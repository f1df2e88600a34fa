"""The recorded drift score as tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qdqdoc.drift.report import SCORE, equivalents
from qdqdoc.operators import OPERATORS
from qdqdoc.tables import Code, Table
from qdqdoc.witnesses import compared_declarations

if TYPE_CHECKING:
    from collections.abc import Iterable


def _recorded() -> dict[str, Any]:
    held: dict[str, Any] = json.loads(SCORE.read_text(encoding="utf-8"))
    return held


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def together() -> Table:
    """Return the figures of kernels and formulas, raw and without equivalent mutants."""
    held = _recorded()
    kernel_rows, formula_rows = held["kernels"], held["formulas"]
    examples = sum(row["by examples"] for row in kernel_rows)
    both = examples + sum(row["by vectors"] for row in kernel_rows)
    rows = [
        _line("kernels, by examples alone", kernel_rows, examples),
        _line("kernels, by examples and vectors", kernel_rows, both),
        _line("formulas, by vectors", formula_rows, sum(row["killed"] for row in formula_rows)),
    ]
    columns = ("mutants of", "made", "noticed", "equivalent", "raw", "of those that change a value")
    return Table(columns=columns, rows=tuple(rows))


def _line(
    name: str, rows: Iterable[dict[str, Any]], noticed: int
) -> tuple[str, int, int, int, str, str]:
    held = [*rows]
    total = sum(row["total"] for row in held)
    equal = sum(len(row["equivalent"]) for row in held)
    rest = _percent(noticed, total - equal)
    return (name, total, noticed, equal, _percent(noticed, total), rest)


def declarations() -> Table:
    """Compare the registry with what onnx and onnxruntime declare, here and now."""
    count, different = compared_declarations(OPERATORS.values())
    row = ("versions of operators", count, count - len(different))
    return Table(columns=("compared", "declared", "the same here"), rows=(row,))


def kernels() -> Table:
    """Return one row for each module that kernels run through."""
    rows = [
        (
            Code(row["module"].removeprefix("qdqdoc.")),
            row["total"],
            row["by examples"],
            row["by examples"] + row["by vectors"],
            len(row["equivalent"]),
        )
        for row in _recorded()["kernels"]
    ]
    columns = ("module", "made", "by examples", "by examples and vectors", "equivalent")
    return Table(columns=columns, rows=tuple(rows))


def formulas() -> Table:
    """Return one row for each operator."""
    rows = [
        (Code(row["operator"]), row["total"], row["killed"], len(row["equivalent"]))
        for row in _recorded()["formulas"]
    ]
    return Table(columns=("operator", "made", "noticed", "equivalent"), rows=tuple(rows))


def equivalent() -> Table:
    """Return every equivalent mutant with its reason."""
    rows = [
        (Code(name.removeprefix("qdqdoc.")), Code(label), reason)
        for part in equivalents().values()
        for name, reasons in sorted(part.items())
        for label, reason in sorted(reasons.items())
    ]
    return Table(columns=("where", "mutant", "why no value changes"), rows=tuple(rows))
