"""What is kept of a page that was read: its own tree, and nothing that hangs on it by accident."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx


def own(app: Sphinx, tree: nodes.document) -> None:
    """Let every node of a page name the page as its document.

    MyST parses ``{eval-rst}`` into a document of its own, and some nodes go on naming that one. Its
    settings hold what Sphinx knows of all pages: it would be written down with each such page, and
    read again with it in every build.
    """
    del app
    for node in tree.findall():
        if node.document is not tree:
            node.document = tree


def register(app: Sphinx) -> None:
    """Look at each page when it has been read."""
    app.connect("doctree-read", own)
