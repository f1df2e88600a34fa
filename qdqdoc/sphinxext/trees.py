"""The trees of pages: nothing hangs on them by accident, and nobody searches them for garbage."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.config import Config

MANY = 100_000
"""New objects after which Python looks for garbage: a tree is full of cycles, and alive."""


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


def search_less(app: Sphinx, config: Config) -> None:
    """Have Python look for garbage less often, until the build is over.

    A third of the time of a build went into looking again and again at trees that are needed.
    """
    del config
    before = gc.get_threshold()
    gc.set_threshold(MANY, *before[1:])
    app.connect("build-finished", partial(search_as_before, before))


def search_as_before(before: tuple[int, int, int], app: Sphinx, problem: Exception | None) -> None:
    """Leave Python as it was found."""
    del app, problem
    gc.set_threshold(*before)


def register(app: Sphinx) -> None:
    """Look at each page when it has been read; what was known of the others is read before."""
    app.connect("doctree-read", own)
    app.connect("config-inited", search_less)
