"""The reference page of an operator, all of it derived from its registration."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from qdqdoc.formula import name_latex
from qdqdoc.operators import OPERATORS
from qdqdoc.sphinxext.declared import declared
from qdqdoc.sphinxext.formulas import find_operator, formula_label
from qdqdoc.sphinxext.page import TIED, PageDirective
from qdqdoc.sphinxext.reference_tables import bounds, differences, symbols, vectors, versions
from qdqdoc.sphinxext.scope import scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes

    from qdqdoc.registry import Operator

NAMES = "_reference"
"""Under this name the tables of the page stand in its namespace while it is read."""


class OperatorDirective(PageDirective):
    """``{qdq-operator} QLinearConv``: the same skeleton for every operator."""

    computes = False
    option_spec: ClassVar[dict[str, Any]] = {}

    def show(self) -> list[nodes.Node]:
        """Write the page as MyST and have it parsed: each part is a directive of its own."""
        operator = find_operator(self.arguments[0])
        scope(self.env)[NAMES] = {
            "versions": versions(operator),
            "differences": differences(operator),
            "vectors": vectors(operator),
            "bounds": bounds(operator),
            "since": ", ".join(str(version.since) for version in operator.versions),
        }
        text = "\n".join(page(operator))
        # MyST puts the sections into the page by itself: what is returned does not hold them.
        self.state.document[TIED] = sorted(declared(operator))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def page(operator: Operator) -> Iterator[str]:
    """Yield the lines of an operator's page, the same parts in the same order for each."""
    yield from _prose(operator)
    yield from _formulas(operator)
    yield from _versions(operator)
    yield from _python(operator)
    yield from _differences(operator)
    yield from _vectors(operator)
    yield from _sources(operator)


def public_name(operator: Operator) -> str:
    """Return the name under which readers import a kernel."""
    if operator.domain:
        return f"{operator.kernel.__module__}.{operator.kernel.__name__}"
    return f"qdqdoc.operators.{operator.kernel.__name__}"


def operator_page(domain: str, op_type: str) -> str:
    """Return the name of an operator's page, empty if it has none."""
    entry = OPERATORS.get(("" if domain == "ai.onnx" else domain, op_type))
    if entry is None:
        return ""
    place = f"{entry.domain.replace('.', '_')}/" if entry.domain else ""
    return f"operators/{place}{entry.kernel.__name__}"


def _prose(operator: Operator) -> Iterator[str]:
    module = inspect.getmodule(operator.kernel)
    # All text stands under headings: MyST would put what comes before the first one last.
    text = inspect.getdoc(module) or operator.summary
    yield from ("## What it does", "", "```{eval-rst}", text, "```", "")


def _formulas(operator: Operator) -> Iterator[str]:
    yield from ("## Formula", "")
    for formula in operator.formulas:
        if formula.when:
            yield from (f"Where {formula.when}:", "")
        label = formula_label(operator, formula.name)
        yield f"```{{qdq-formula}} {operator.full_name} {formula.name}".rstrip()
        yield from (f":label: reference-{label}", "```", "")
    yield (
        "A circled operator is rounded once to float32, or to the type at its foot; "
        "$\\lfloor\\cdot\\rceil$ rounds to the nearest integer, {term}`ties <tie>` to even; "
        "$\\mathrm{sat}_T$ {term}`saturates <saturate>` to the rails of $T$."
    )
    yield from ("", "| symbol | meaning |", "|---|---|")
    for name, meaning in symbols(operator).items():
        yield f"| ${name_latex(name)}$ | {meaning} |"
    yield ""


def _versions(operator: Operator) -> Iterator[str]:
    numbers = f"{{qdq}}`{NAMES}['since']`"
    yield from ("## Versions and types", "")
    if operator.domain:
        yield from (f"{operator.domain} declares version {numbers}, which stands before each.", "")
    else:
        yield f"ONNX changed {operator.name} in these opsets: {numbers}. Before each type and each"
        yield from ("attribute stands the opset that brought it.", "")
    yield from (f"```{{qdq-table}} {NAMES}['versions']", "```", "")


def _python(operator: Operator) -> Iterator[str]:
    name = public_name(operator)
    yield from ("## Python", "", "```{eval-rst}", f".. autofunction:: {name}", "```", "")


def _differences(operator: Operator) -> Iterator[str]:
    yield from ("## Where others differ", "")
    if not operator.differs:
        yield from ("No difference from onnx's reference or onnxruntime is registered.", "")
        return
    yield "Checked strictly: when the other side changes, the tests fail and the row goes."
    yield from ("", f"```{{qdq-table}} {NAMES}['differences']", "```", "")


def _vectors(operator: Operator) -> Iterator[str]:
    yield from ("## Vectors and witnesses", "")
    ties = " and on larger grids of ties" if next(operator.ties(), None) else ""
    cases = "" if operator.domain else " It is compared with ONNX's own test cases too."
    yield (
        f"{{qdq}}`len({NAMES}['vectors'].rows)` vectors hold the corners. On them{ties} the kernel "
        "is compared with the formula above, evaluated in exact arithmetic that shares nothing "
        "with NumPy's, and with onnxruntime at every version and type for which that has a "
        f"kernel.{cases}"
    )
    if operator.bounds:
        yield from ("", "Where onnxruntime sums floats in an order of its own, it may be this far:")
        yield from ("", f"```{{qdq-table}} {NAMES}['bounds']", "```")
    yield from ("", f"```{{qdq-table}} {NAMES}['vectors']", "```", "")


def _sources(operator: Operator) -> Iterator[str]:
    yield from ("## Sources", "", ", ".join(f"{{cite:t}}`{key}`" for key in operator.cites), "")
