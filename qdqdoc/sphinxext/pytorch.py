"""The recorded comparison with PyTorch as tables, and its rules as formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from docutils.parsers.rst import directives

from qdqdoc.pytorch import CASES, RECORD, recorded
from qdqdoc.pytorch.cases import ENGINES
from qdqdoc.sphinxext.formulas import FormulaDirective
from qdqdoc.sphinxext.scope import PageError, note_dependencies
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from docutils import nodes

    from qdqdoc.formula import Formula
    from qdqdoc.pytorch.record import Line
    from qdqdoc.tables import Cell


def about() -> dict[str, str]:
    """Return the versions that were compared, when, and on which processor."""
    return recorded()[0]


def lines() -> tuple[Line, ...]:
    """Return what was recorded."""
    return recorded()[1]


def engines() -> str:
    """Name the engines."""
    return ", ".join(ENGINES)


def together() -> tuple[int, int, int]:
    """Count all values, those that are not the kernel's, and those that follow no rule."""
    every = lines()
    return (
        sum(one.values for one in every),
        sum(one.differing for one in every),
        sum(one.unexplained for one in every),
    )


def counted() -> Table:
    """Return one row for each case and answer: engines that gave the same stand together."""
    known = {case.key: case for case in CASES}
    answers: dict[tuple[str, str], list[Line]] = {}
    for one in lines():
        answers.setdefault((one.case, one.theirs), []).append(one)
    rows: list[tuple[Cell, ...]] = []
    for (key, _), group in answers.items():
        case, first = known[key], group[0]
        counts = (first.values, first.differing, first.unexplained)
        rule = case.rules[first.engine].formula.name
        named = "; ".join(one.engine for one in group)
        rows.append((Code(case.name), named, case.peer, *counts, rule))
    keys = tuple(f"{key}-{group[0].engine}" for (key, _), group in answers.items())
    columns = ("PyTorch", "engine", "here", "values", "not the kernel's", "not the rule's", "rule")
    return Table(columns=columns, rows=tuple(rows), keys=tuple(k.replace(", ", "-") for k in keys))


def rules() -> dict[str, Formula]:
    """Return every rule by its name."""
    every = (rule.formula for case in CASES for rule in case.rules.values())
    return {formula.name: formula for formula in every}


class RuleDirective(FormulaDirective):
    """``{qdq-torch-rule} fbgemm``: a rule of PyTorch as displayed mathematics."""

    option_spec: ClassVar[dict[str, Any]] = {"label": directives.unchanged_required}

    def show(self) -> list[nodes.Node]:
        """Return the formula with its number."""
        note_dependencies(self.env)
        self.env.note_dependency(str(RECORD))
        name, known = self.arguments[0], rules()
        if name not in known:
            raise PageError(f"{name!r} is no rule: {', '.join(known)}")
        label = self.options.get("label") or f"torch-{name}".replace(", ", "-").replace(" ", "-")
        return self.equation(known[name].latex(), label)
