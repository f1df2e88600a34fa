"""The manual as a PDF, with pip alone: a Sphinx builder over Typst.

Typst comes as a Python package with the fonts in it. The builder knows nothing of what the manual
is about. A node for which it has no rule is an error that names page and line; an extension gives
one for a node of its own with ``app.add_node(node, pdf=(rule, None))``, where ``rule(writer,
node)`` returns Typst source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdqdoc import __version__
from qdqdoc.pdf.builder import COVER, PdfBuilder

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the builder with Sphinx."""
    app.add_config_value("pdf_fonts", ["fontpkg_arimo"], "", types=frozenset({list}))
    app.add_event(COVER)
    app.add_builder(PdfBuilder)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
