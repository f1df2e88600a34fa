"""Manuals of one page, built with ``-W``."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

if TYPE_CHECKING:
    from pathlib import Path

COLOUR = re.compile(r"\x1b\[[\d;]*m")
EXTENSIONS = ["myst_parser", "sphinx.ext.autodoc", "qdqdoc.sphinxext"]


@dataclass(frozen=True)
class Built:
    """What a build wrote and said."""

    code: int
    said: str
    html: str

    @property
    def words(self) -> str:
        """The text of the page."""
        return re.sub(r"<[^>]+>", "", self.html)


def build(folder: Path, text: str, **settings: object) -> Built:
    """Build a page, in the same folder as the time before; what has not changed is not read."""
    source, out = folder / "source", folder / "out"
    source.mkdir(exist_ok=True)
    page = source / "index.md"
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, encoding="utf-8")
    config = {
        "extensions": EXTENSIONS,
        "html_theme": "basic",
        "html_math_renderer": "mathml",
        "myst_enable_extensions": ["colon_fence", "deflist", "dollarmath"],
        "qdqdoc_examples": False,
        **settings,
    }
    heard = io.StringIO()
    with docutils_namespace():
        app = Sphinx(
            source,
            None,
            out,
            folder / "doctrees",
            "html",
            confoverrides=config,
            status=None,
            warning=heard,
            warningiserror=True,
        )
        app.build()
    html = (out / "index.html").read_text(encoding="utf-8")
    return Built(app.statuscode, COLOUR.sub("", heard.getvalue()), html)
