"""Sphinx, run on the pages of a guide."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.docutils import docutils_namespace, patch_docutils

from qdqdoc.guide.elsewhere import named
from qdqdoc.guide.errors import GuideError
from qdqdoc.guide.pages import operators, write_source
from qdqdoc.sphinxext.printing import BREAKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from qdqdoc.document import Document
    from qdqdoc.guide.pages import Manual

Progress = Callable[[int, int], None]
"""Is told how many steps are done, of how many."""

COLOUR = re.compile(r"\x1b\[[\d;]*m")
MISSING = re.compile(r"No module named '([\w.]+)'")
STEPS = {"html": ("source-read", "html-page-context"), "pdf": ("source-read",)}
"""What Sphinx tells of each page while it reads and writes it."""
LONGEST_TITLE = 60


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be built, in a folder of its own: ``source``, ``doctrees`` and the results."""

    model: Path
    document: Document
    pages: Manual
    folder: Path
    progress: Progress

    def write(self) -> int:
        """Write the source; return how many pages it has."""
        return write_source(self.document, self.pages, self.folder / "source")

    def settings(self) -> Mapping[str, object]:
        """Return what is different from the manual's own configuration."""
        name = self.document.model_path
        short = name if len(name) <= LONGEST_TITLE else f"{name[:LONGEST_TITLE]}…"
        return {
            "qdqdoc_model": str(self.model.resolve()),
            "qdqdoc_operators": operators(self.document, self.pages),
            # The tests of the package have run the examples of its docstrings.
            "qdqdoc_examples": False,
            # Sphinx's templates take titles for HTML.
            "html_title": "<wbr>".join(map(html.escape, BREAKS.split(short))),
        }

    def build(self, builder: str) -> Path:
        """Run Sphinx; whatever it has to say against the pages is an error."""
        heard = io.StringIO()
        out = self.folder / builder
        try:
            with _calm(), patch_docutils(self.pages.home), docutils_namespace():
                app = Sphinx(
                    self.folder / "source",
                    self.pages.home,
                    out,
                    self.folder / "doctrees",
                    builder,
                    confoverrides=dict(self.settings()),
                    status=None,
                    warning=heard,
                )
                app.connect("missing-reference", named(self.pages))
                self._watch(app, builder)
                app.build()
        except SphinxError as error:
            raise GuideError(_explained(str(error))) from error
        said = COLOUR.sub("", heard.getvalue()).replace(f"{self.folder / 'source'}/", "")
        if app.statuscode or said.strip():
            raise GuideError(f"{self.document.model_path}: {said.strip().partition(chr(10))[0]}")
        return out

    def _watch(self, app: Sphinx, builder: str) -> None:
        done = 0

        def tick(_: Sphinx, page: str, *__: object) -> None:
            nonlocal done
            if page in app.env.found_docs:  # Sphinx writes pages of its own, too
                done += 1
                self.progress(done, len(STEPS[builder]) * len(app.env.found_docs))

        for event in STEPS[builder]:
            app.connect(event, tick)


@contextmanager
def _calm() -> Iterator[None]:
    """Leave out what extensions say of a Sphinx to come: the pages are made by this one."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", kind)
        yield


def _explained(message: str) -> str:
    """Turn Sphinx's words for a package that is missing into ours."""
    lacking = MISSING.search(message)
    if lacking:
        return f"guide needs {lacking[1]}: pip install 'qdqdoc[manual]'"
    return " ".join(message.split())
