"""A tree of nodes to Typst source: one small rule for each kind of node, no rule is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util import logging

from qdqdoc.pdf.markup import call, label, string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qdqdoc.pdf.book import Places
    from qdqdoc.pdf.builder import PdfBuilder
    from qdqdoc.pdf.pictures import Sheet

    Rule = Callable[["Writer", nodes.Element], str]

logger = logging.getLogger(__name__)

CHUNK = 60
"""In running text, a word of more letters than this may be broken anywhere."""

HEADINGS = ("page", "first", "second", "last")
"""What headings stand above: a page, its sections, and theirs."""


class Writer:
    """Writes the tree of one page; rules call it for what is below their node."""

    def __init__(
        self, builder: PdfBuilder, docname: str, rules: Mapping[str, Rule], places: Places
    ) -> None:
        self.builder = builder
        self.docname = docname
        self.rules = rules
        self.places = places
        self.depth = self.top = 0
        """Level of the heading that is written next, and of that above the whole page."""
        self.chunk = CHUNK
        """A word of more letters may be broken anywhere; narrow columns need shorter ones."""
        self.sheet: Sheet | None = None
        """The page that what is being written has for itself, if it has."""
        self.held = ""
        """A heading that goes where what follows it goes."""
        self.failed = False

    @property
    def heading(self) -> str:
        """What the heading that is written next stands above, as the template calls it."""
        return HEADINGS[min(self.depth - self.top, len(HEADINGS)) - 1]

    def write(self, node: nodes.Node) -> str:
        """Return a node as Typst source."""
        for kind in type(node).__mro__:
            rule = self.rules.get(kind.__name__)
            if rule is not None:
                return rule(self, node)  # type: ignore[arg-type] # a Text is no Element, and harmless
        self.complain(node, f"no rule for the node {type(node).__name__}")
        return ""

    def inner(self, node: nodes.Element) -> str:
        """Return what is below a node."""
        return "".join(map(self.write, node.children))

    def complain(self, node: nodes.Node, message: str) -> None:
        """Report what cannot be shown, with page and line, and have the build fail."""
        self.failed = True
        logger.error("%s", message, location=_placed(node))

    def note(self, node: nodes.Node) -> str:
        """Return a comment that tells where a block comes from, for when Typst complains."""
        line = getattr(_placed(node), "line", None)
        return f"\n//@ {string(self.docname)} {line or 0}\n"

    def anchors(self, node: nodes.Element) -> str:
        """Return a place for each id of a node that something refers to."""
        return "".join(map(self.anchor, node["ids"]))

    def anchor(self, identity: str) -> str:
        """Return a place for an id, once; nothing if nothing refers to it."""
        name = self.places.claim(f"{self.docname}#{identity}")
        return f"#q-anchor({string(name)});" if name else ""

    def link(self, name: str, body: str) -> str:
        """Return a link to a place in the book."""
        return call("link", body, label(self.places.home(name)))

    def nested(self, node: nodes.Element) -> str:
        """Return the headings and text below a node, one level deeper."""
        self.depth += 1
        inner = self.inner(node)
        self.depth -= 1
        return inner


def _placed(node: nodes.Node) -> nodes.Node:
    """Return the nearest node around this one that knows its line."""
    found: nodes.Node = node
    while not (isinstance(found, nodes.Element) and found.line) and found.parent is not None:
        found = found.parent
    return found


def wrap(function: str, *arguments: str) -> Rule:
    """Return a rule that puts what is below a node into a call."""
    return lambda writer, node: call(function, writer.inner(node), *arguments)


def block(function: str) -> Rule:
    """Return the same for a node that stands by itself."""

    def rule(writer: Writer, node: nodes.Element) -> str:
        body = writer.anchors(node) + writer.inner(node)
        return f"{writer.note(node)}{call(function, body)}\n"

    return rule


def through(writer: Writer, node: nodes.Element) -> str:
    """Return what is below a node that looks like nothing itself."""
    return writer.anchors(node) + writer.inner(node)


def nothing(writer: Writer, node: nodes.Element) -> str:
    """Leave a node out, but not the places that it names."""
    return writer.anchors(node)


def rules_for(names: Iterable[str], rule: Rule) -> dict[str, Rule]:
    """Return one rule under several names."""
    return dict.fromkeys(names, rule)
