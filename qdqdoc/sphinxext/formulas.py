"""Registered formulas as displayed mathematics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives

from qdqdoc.operators import OPERATORS
from qdqdoc.sphinxext.page import PageDirective
from qdqdoc.sphinxext.scope import PageError, note_dependencies

if TYPE_CHECKING:
    from sphinx.domains.math import MathDomain

    from qdqdoc.formula import Formula
    from qdqdoc.registry import Operator


class FormulaDirective(PageDirective):
    """``{qdq-formula} QLinearMatMul integers``: one formula, the first if none is named.

    Its label for ``{eq}`` is the kernel's name with dashes, then the formula's name if one is
    given: ``qlinear-matmul-integers``. ``:label:`` sets another.
    """

    option_spec: ClassVar[dict[str, Any]] = {"label": directives.unchanged_required}

    def show(self) -> list[nodes.Node]:
        """Return the formula with its number."""
        note_dependencies(self.env)
        name, _, which = self.arguments[0].partition(" ")
        operator = find_operator(name)
        formula = find_formula(operator, which.strip())
        label = self.options.get("label") or formula_label(operator, which.strip())
        return self.equation(formula.latex(), label)

    def equation(self, latex: str, label: str) -> list[nodes.Node]:
        """Return displayed mathematics under a label."""
        docname = self.env.docname
        node = nodes.math_block(latex, latex, docname=docname, number=None, label=label)
        node["nowrap"] = node["no-wrap"] = True
        self.set_source_info(node)
        domain: MathDomain = self.env.domains.math_domain
        domain.note_equation(docname, label, location=node)
        node["number"] = domain.get_equation_number_for(label)
        target = nodes.target("", "", ids=[nodes.make_id(f"equation-{label}")])
        self.state.document.note_explicit_target(target)
        return [target, node]


def find_operator(name: str) -> Operator:
    """Return a registered operator by its ONNX name, with its domain if that is not ai.onnx."""
    domain, _, short = name.rpartition("::")
    entry = OPERATORS.get((domain, short))
    if entry is None:
        known = ", ".join(known.full_name for known in OPERATORS.values())
        raise PageError(f"{name} is not a registered operator: {known}")
    return entry


def find_formula(operator: Operator, name: str) -> Formula:
    """Return a formula of an operator by its name, the first one for an empty name."""
    for formula in operator.formulas:
        if name in {"", formula.name}:
            return formula
    known = ", ".join(formula.name for formula in operator.formulas)
    raise PageError(f"{operator.name} has no formula {name!r}: {known}")


def slug(operator: Operator) -> str:
    """Return an operator's name as it stands in labels: domain and kernel, with dashes."""
    return nodes.make_id(f"{operator.domain} {operator.kernel.__name__}")


def formula_label(operator: Operator, name: str) -> str:
    """Return the label under which a formula can be referred to."""
    return nodes.make_id(f"{slug(operator)} {name}") if name else slug(operator)
