"""Mathematics as MathML, made while building: pages need no script and no other host."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
NAME = "mathml"


@cache
def _converter() -> LatexToMathML:
    return LatexToMathML(fancy_error=False)


def mathml(latex: str, *, display: bool) -> str:
    """Return MathML of LaTeX.

    >>> mathml("x", display=False)
    '<math><mi>x</mi></math>'
    """
    return _converter().convert_with_local_state(latex, displaystyle=display)


def _converted(node: nodes.Element, *, display: bool) -> str:
    try:
        return mathml(node.astext(), display=display)
    except LatexError as error:
        logger.error("math: %s in %s", error, node.astext(), location=node)  # noqa: TRY400
        return ""


def _inline(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(_converted(node, display=False))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(translator, node)  # type: ignore[arg-type]
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    box = f'<div class="qdq-math" tabindex="0">{_converted(node, display=True)}</div>'
    translator.body.append(f"{box}</div>\n")
    raise nodes.SkipNode


def register(app: Sphinx) -> None:
    """Offer ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer(NAME, (_inline, None), (_block, None))
