"""Pages of the guide as a reader has them, for one document after the other."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from qdqdoc.document import dump

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from docutils import nodes

    from qdqdoc.document import Document
    from qdqdoc.score.nudging import Nudge

FIRST = "guide/stored"
"""The page that is to show every change; the others are asked only where it does not."""
SLOW = ("guide/diagrams", "guide/index", "guide/trace", "guide/contracts")
"""Pages that draw or run the model: what only they showed would count as unseen."""


class Guide:
    """The pages of the guide, read in this process: no other page is read, and none is written."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stack = ExitStack()
        self._read = ""

    def __enter__(self) -> Self:
        """Make the application, without a build."""
        self._folder = Path(self._stack.enter_context(TemporaryDirectory()))
        self._stack.enter_context(docutils_namespace())
        self._said = io.StringIO()
        self._app = Sphinx(
            self._home / "source",
            self._home,
            self._folder / "out",
            self._folder / "doctrees",
            "dummy",
            status=None,
            warning=self._said,
        )
        self._app.env.find_files(self._app.config, self._app.builder)
        # Sphinx remembers the tree of a page as if it could not change while it runs.
        self._app.connect("doctree-read", self._keep)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget everything."""
        self._stack.close()

    def _keep(self, app: Sphinx, tree: nodes.document) -> None:
        del app
        self._read = tree.astext()

    def others(self) -> list[str]:
        """Return the pages that are asked last."""
        pages = sorted(page for page in self._app.env.found_docs if page.startswith("guide/"))
        return [page for page in pages if page not in {FIRST, *SLOW}]

    def text(self, page: str, document: Document) -> str:
        """Return the text of a page about a document."""
        path = self._folder / "model.json"
        path.unlink(missing_ok=True)
        dump(document, path)
        self._app.config.qdqdoc_model = str(path)
        self._app.env.clear_doc(page)
        self._app.builder.read_doc(page)
        return self._read


def seen(home: Path, document: Document, nudges: Iterable[Nudge]) -> Iterator[tuple[Nudge, bool]]:
    """Yield each nudge, and whether some page of the guide shows it."""
    with Guide(home) as guide:
        pages = [FIRST, *guide.others()]
        known = {page: guide.text(page, document) for page in pages}
        for nudge in nudges:
            yield nudge, any(guide.text(page, nudge.document) != known[page] for page in pages)
