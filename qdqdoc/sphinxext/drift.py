"""The recorded drift score as tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qdqdoc.drift.report import SCORE, equivalents
from qdqdoc.operators import OPERATORS
from qdqdoc.score.record import baselines, recorded
from qdqdoc.sphinxext.numerals import KINDS
from qdqdoc.tables import Code, Quoted, Table
from qdqdoc.witnesses import compared_declarations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdqdoc.tables import Cell


def _recorded() -> dict[str, Any]:
    held: dict[str, Any] = json.loads(SCORE.read_text(encoding="utf-8"))
    return held


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def whole() -> Table:
    """Return the whole score: what was tried, what was noticed, and what the goal is."""
    held, mutants = recorded(), _recorded()
    rows: list[tuple[Cell, ...]] = []
    for measure, part, what in (("D1", "kernels", "kernels"), ("D2", "formulas", "formulas")):
        found = mutants[part]
        equal = sum(len(row["equivalent"]) for row in found)
        made = sum(row["total"] for row in found) - equal
        missed = sum(len(row["unnoticed"]) for row in found)
        rows.append((measure, f"errors in {what} that change a value", made, made - missed, "all"))
    rows.append(("D3", "stored values of the running example", *_sums(held["values"]), "all"))
    typed = len(held["numerals"]["typed"])
    rows.append(("D4", "typed numerals on the pages", held["numerals"]["texts"], typed, "none"))
    rows.append(("D5", "damaged files", *_sums(held["damage"]), "all"))
    shown = [sum(row[key] for row in held["examples"]) for key in ("shown", "executed")]
    rows.append(("D6", "examples that are shown", *shown, "all"))
    count, different = compared_declarations(OPERATORS.values())
    rows.append(("D7", "declared versions of operators", count, count - len(different), "all"))
    derived = held["adding"]["derived"]
    files = len(held["adding"]["files"])
    rows.append(("D8", "files that a new operator takes", len(derived), files, "one"))
    columns = ("measure", "of what", "tried", "noticed, or found", "goal")
    return Table(columns=columns, rows=tuple(rows), keys=tuple(str(row[0]) for row in rows))


def _sums(rows: Iterable[dict[str, Any]]) -> tuple[int, int]:
    held = [*rows]
    return sum(row["made"] for row in held), sum(row["noticed"] for row in held)


def field() -> Table:
    """Return what was measured of others."""
    rows = tuple(
        (one["measure"], Quoted(one["of"]), Quoted(one["value"]), Quoted(one["how"]))
        for one in baselines()
    )
    return Table(columns=("measure", "of", "found", "how"), rows=rows)


def values() -> Table:
    """Return the nudged values of the running example by kind (D3)."""
    rows = tuple((row["kind"], row["made"], row["noticed"]) for row in recorded()["values"])
    return Table(columns=("stored", "nudged", "shown by a page"), rows=rows)


def kinds() -> Table:
    """Return the kinds of numerals that may be typed (D4)."""
    return Table(columns=("kind", "what it is"), rows=tuple(KINDS.items()))


def numerals() -> dict[str, Any]:
    """Return the counts of the last time that all pages were read for the record (D4)."""
    held: dict[str, Any] = recorded()["numerals"]
    return held


def damage() -> Table:
    """Return the damages by kind (D5)."""
    rows = tuple(
        (row["of"], row["files"], row["damage"], row["made"], row["noticed"])
        for row in recorded()["damage"]
    )
    return Table(columns=("what", "files", "each of them", "made", "noticed"), rows=rows)


def examples() -> Table:
    """Return the examples by place (D6)."""
    rows = tuple((row["of"], row["shown"], row["executed"]) for row in recorded()["examples"])
    return Table(columns=("where", "shown", "executed"), rows=rows)


def derived() -> str:
    """Name what a new operator is in, by its one file (D8)."""
    return ", ".join(recorded()["adding"]["derived"])


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
