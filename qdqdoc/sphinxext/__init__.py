"""The manual's own roles and directives: pages say what to show, this computes it.

``{qdq}`expression``` shows a value, ``{quoted}`text``` what somebody else printed;
``{qdq-table}``, ``{qdq-diagram}``, ``{qdq-plot}``, ``{qdq-formula}`` and ``{qdq-operator}`` show
what their names say; ``{qdq-run}`` shows Python with the output that it really gave,
``{qdq-text}`` a block of text, ``{qdq-exec}`` prepares, ``{qdq-when}`` chooses. All expressions
of a page share one namespace, see `qdqdoc.sphinxext.scope`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdqdoc import __version__
from qdqdoc.sphinxext import (
    downloads,
    examples,
    mathml,
    numerals,
    operator_pages,
    printing,
    reachable,
    searching,
    shared,
    trees,
)
from qdqdoc.sphinxext.anchors import BoxLinks, RowAnchors
from qdqdoc.sphinxext.formulas import FormulaDirective
from qdqdoc.sphinxext.page import repeat_warnings
from qdqdoc.sphinxext.pictures import DiagramDirective, PlotDirective
from qdqdoc.sphinxext.pytorch import RuleDirective
from qdqdoc.sphinxext.reference import OperatorDirective
from qdqdoc.sphinxext.scope import anchor_model, installed
from qdqdoc.sphinxext.tabular import TableDirective, UniqueIds
from qdqdoc.sphinxext.values import (
    ExecDirective,
    QuotedRole,
    RunDirective,
    TextDirective,
    ValueRole,
    WhenDirective,
)

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DIRECTIVES = {
    "qdq-table": TableDirective,
    "qdq-diagram": DiagramDirective,
    "qdq-plot": PlotDirective,
    "qdq-run": RunDirective,
    "qdq-exec": ExecDirective,
    "qdq-text": TextDirective,
    "qdq-when": WhenDirective,
    "qdq-operator": OperatorDirective,
    "qdq-formula": FormulaDirective,
    "qdq-torch-rule": RuleDirective,
    "qdq-downloads": downloads.DownloadsDirective,
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything with Sphinx."""
    app.add_config_value("qdqdoc_model", "", "env", types=frozenset({str}))
    app.add_config_value("qdqdoc_examples", default=True, rebuild="", types=frozenset({bool}))
    app.add_config_value("qdqdoc_operators", None, "", types=frozenset({list}))
    # Its default is its value: pages are read anew when Python or a package is another one.
    app.add_config_value("qdqdoc_installed", installed(), "env", types=frozenset({str}))
    app.add_role("qdq", ValueRole())
    app.add_role("quoted", QuotedRole())
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    app.add_post_transform(UniqueIds)
    app.add_post_transform(RowAnchors)
    app.add_post_transform(BoxLinks)
    app.connect("config-inited", anchor_model)
    app.connect("builder-inited", repeat_warnings)
    operator_pages.register(app)
    downloads.register(app)
    mathml.register(app)
    examples.register(app)
    numerals.register(app)
    reachable.register(app)
    printing.register(app)
    searching.register(app)
    shared.register(app)
    trees.register(app)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
