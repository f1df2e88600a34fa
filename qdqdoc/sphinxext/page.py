"""What all directives share: evaluation, and errors that name page, line and expression."""

from __future__ import annotations

import logging
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import ENV_PICKLE_FILENAME
from sphinx.util import logging as sphinx_logging
from sphinx.util.build_phase import BuildPhase
from sphinx.util.docutils import SphinxDirective

from qdqdoc.sphinxext.scope import scope

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.builders import Builder
    from sphinx.environment import BuildEnvironment

LAST = 950
"""After all that may still have something to say against the pages."""

logger = sphinx_logging.getLogger(__name__)

COMPUTED = "qdq-computed"
"""Attribute of a node: whether it was computed (or typed), with all in it that says nothing."""
TYPED = "qdq-typed"
"""Attribute of a computed node: text that was typed for it, and that no child of it shows."""
TIED = "qdq-tied"
"""Attribute of a node: numbers that may be named within it, for they are declared and checked."""


def evaluate(env: BuildEnvironment, expression: str) -> Any:  # noqa: ANN401 - whatever it gives
    """Return the value of an expression of the page."""
    return eval(expression.strip(), scope(env))  # noqa: S307 - the page's own text, as is conf.py


def builder(env: BuildEnvironment) -> Builder:
    """Return what writes the pages; it knows where they will be."""
    # Sphinx has deprecated env.app without telling what shall be used instead.
    return env._app.builder  # noqa: SLF001


def report(env: BuildEnvironment, location: str, text: str, error: Exception) -> nodes.Node:
    """Report an error on a page, each time it is built, and return what is shown instead."""
    message = f"{text.strip()}: {type(error).__name__}: {error}"
    logger.error("%s", message, location=location, type="qdqdoc")
    # Without this, Sphinx remembers the page as read and the next build passes.
    env.note_reread()
    return nodes.literal(text=message, classes=["qdq-error"])


def computed(shown: list[nodes.Node]) -> list[nodes.Node]:
    """Mark nodes as computed: whoever looks for typed numerals passes them by."""
    for node in shown:
        if isinstance(node, nodes.Element):
            node[COMPUTED] = True
    return shown


class PageDirective(SphinxDirective):
    """A directive that shows something computed; subclasses say what in `show`."""

    computes: ClassVar[bool] = True
    """Whether all that it shows was computed, but for its caption."""
    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {
        "name": directives.unchanged,
        "caption": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Show it, or the error."""
        try:
            return computed(self.show()) if self.computes else self.show()
        except Exception as error:  # noqa: BLE001 - an expression may raise anything
            shown = report(self.env, self.get_location(), self.asked, error)
            return [nodes.paragraph("", "", shown)]

    @property
    def asked(self) -> str:
        """The text that is shown in an error."""
        return f"{self.name} {' '.join(self.arguments)}"

    @abstractmethod
    def show(self) -> list[nodes.Node]:
        """Return the nodes."""

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever it gives
        """Return the value of an expression of the page."""
        return evaluate(self.env, expression)

    def caption(self, kind: type[nodes.TextElement]) -> list[nodes.Node]:
        """Return the caption, whose text may contain roles, as a node of a kind."""
        text = self.options.get("caption")
        if not text:
            return []
        inner, messages = self.parse_inline(text)
        made = kind(text, "", *inner)
        made[COMPUTED] = False
        self.set_source_info(made)
        return [made, *messages]

    def anchored(self, node: nodes.Element) -> nodes.Element:
        """Give a node its name, so that it can be referred to."""
        self.set_source_info(node)
        if "name" in self.options:
            self.add_name(node)
        return node


class _Repeat(logging.Handler):
    """Remembers which pages had a warning, so that they have it again in the next build."""

    def __init__(self, app: Sphinx) -> None:
        super().__init__(logging.WARNING)
        self.app = app
        self.late = False

    def emit(self, record: logging.LogRecord) -> None:
        """Have the page that is being read be read again; once all are read, have all of them."""
        del record
        self.late |= self.app.phase > BuildPhase.READING
        docname = getattr(self.app.env, "current_document", None)
        if docname is not None and docname.docname:
            self.app.env.reread_always.add(docname.docname)


def repeat_warnings(app: Sphinx) -> None:
    """Keep ``-W`` from passing the second time: an unchanged page would not be read again."""
    heard = _Repeat(app)
    logging.getLogger("sphinx").addHandler(heard)

    def forget(app: Sphinx, exception: Exception | None) -> None:
        """Let the next build begin anew: what is known of the pages was saved before."""
        del exception
        if heard.late:
            Path(app.doctreedir, ENV_PICKLE_FILENAME).unlink(missing_ok=True)

    app.connect("build-finished", forget, priority=LAST)
