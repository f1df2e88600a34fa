"""References to pages of the manual that a guide by itself does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes

from qdqdoc.operators import OPERATORS
from qdqdoc.sphinxext.reference import operator_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

    from qdqdoc.guide.pages import Manual

FORMULA = "a formula there"
TABLE = "a table there"


def named(pages: Manual) -> Callable[..., nodes.Node | None]:
    """Return what answers Sphinx where a reference leads nowhere: the name of the place.

    The manual's own build, which has all pages, refuses names that nobody has.
    """
    titles = {
        **pages.titles,
        **{operator_page(*key): entry.name for key, entry in OPERATORS.items()},
    }

    def answer(
        app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
    ) -> nodes.Node | None:
        del app, env
        if node.get("refdomain") == "py":
            return content
        if node.get("refexplicit"):
            text = content.astext()
            return nodes.inline(text, text)
        target = str(node["reftarget"])
        page = pages.beside(str(node.get("refdoc", "")), target)
        known = {
            "doc": titles.get(page, page),
            "ref": pages.labels.get(target, target),
            "eq": FORMULA,
            "numref": TABLE,
        }
        text = known.get(str(node.get("reftype")), "")
        return nodes.emphasis(text, text) if text else None

    return answer
