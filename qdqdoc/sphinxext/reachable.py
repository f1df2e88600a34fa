"""What screen readers need and the theme leaves out: levels of headings, roles that are allowed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.config import Config

TEMPLATES = Path(__file__).parent / "templates"
LAST = 900
"""After the theme, which makes its navigation in the same event."""

MENDED = {
    # A caption in the navigation says that it is a heading, not of which level.
    "furo_navigation_tree": (('role="heading"', 'role="heading" aria-level="2"'),),
    "body": (
        # A role that its standard has withdrawn; an item of a list must say so.
        ('role="doc-biblioentry"', 'role="listitem"'),
        # The corner of a table is no heading of anything.
        ('<th class="head"><p></p></th>', '<td class="head"></td>'),
    ),
}


def add_templates(app: Sphinx, config: Config) -> None:
    """Let our templates stand before the theme's."""
    del app
    config.templates_path = [*config.templates_path, str(TEMPLATES)]


def mend(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Mend the markup of a page before it is written."""
    del app, page, template, doctree
    for part, changes in MENDED.items():
        if isinstance(context.get(part), str):
            for found, allowed in changes:
                context[part] = context[part].replace(found, allowed)


def register(app: Sphinx) -> None:
    """Connect both with Sphinx."""
    app.connect("config-inited", add_templates)
    app.connect("html-page-context", mend, priority=LAST)
