"""The lint behind "no naked numeral": what stands on a page with digits was computed, or is named.

It looks at pages as they were parsed, so it holds for HTML and PDF alike. A role or directive
marks what it computed (`qdqdoc.sphinxext.page.COMPUTED`); all other text was typed, be it prose, a
table, a caption, a docstring or a comment in an example, and may hold numerals of the `KINDS`
alone. Each one that is found is an error with page and line, each time the manual is built.
"""

from __future__ import annotations

import doctest
import io
import re
import tokenize
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

from qdqdoc.sphinxext.page import COMPUTED, TIED, TYPED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

logger = logging.getLogger(__name__)

KINDS = {
    "name": "of an operator, a type, a processor: the digits follow a letter in one word",
    "standard": "version of a standard, which is named before it",
    "section": "section, chapter or appendix of another text",
    "quotation": "what somebody else printed, marked with the role quoted",
    "mathematics": "whole number of one or two digits beside a symbol in a formula",
    "reference": "citation, link whose text is its address, name that the build fills in",
    "docstring": "number of an example that is run beside it, or that the operator declares",
}
"""Numerals that may be typed, and why; default values in signatures are read from the code."""

NAME = re.compile(r"(?<!\w)[^\W\d]\w*")
STANDARD = re.compile(
    r"\b(?:opset|IEEE|JSON Schema \(?|RFC|WCAG|PDF/[AX]-?|PDF/UA-?) ?\d+(?:[.-]\d+)*"
)
SECTION = re.compile(r"(?:\b(?:[Ss]ection|[Cc]hapter|[Aa]ppendix)|§) ?\d+(?:\.\d+)*")
NUMERAL = re.compile(r"\d(?:[\d.,]*\d)?(?:[eE][-+]?\d+)?")

COMMAND = re.compile(r"\\(?!(?:alpha|beta|gamma|delta|epsilon|varepsilon|sigma)\b)[A-Za-z]+")
SYMBOL = re.compile(r"[A-Za-z]")
SMALL = re.compile(r"\d{1,2}")

SILENT = (
    nodes.Invisible,
    nodes.system_message,
    nodes.label,
    nodes.footnote_reference,
    addnodes.desc_signature,
    addnodes.index,
)
"""Nodes that show nothing, what Sphinx numbers by itself, or what is read from code."""
UNSEEN = ("alt", "caption", "reftitle")
"""Attributes that a reader sees or hears as text."""
LONGEST = 80


class Typed(NamedTuple):
    """A numeral that was typed, and the node in which it stands."""

    node: nodes.Element
    numeral: str
    text: str


def numerals(text: str) -> list[str]:
    """Return the numerals of typed text that are neither names nor versions nor sections.

    >>> numerals("int8 and float8e4m3fn since opset 13, IEEE 754, see section 4.2")
    []
    >>> numerals("It is 3847, wrapped -7744, 4.4e-11, about ½, of 3x3 or resnet-8.")
    ['3847', '7744', '4.4e-11', '3', '3', '8', '½']
    """
    for kind in (STANDARD, SECTION):
        text = kind.sub(" ", text)
    odd = [letter for letter in text if letter.isnumeric() and not letter.isdecimal()]
    # A name ends where its word does; what a dash or a point hangs on it is a number.
    return NUMERAL.findall(NAME.sub("", text)) + odd


def value(numeral: str) -> str:
    """Return a numeral as all write it that stand for the same number.

    >>> value("33,025"), value("0.50"), value("1e-3"), value("½")
    ('33025', '0.5', '0.001', '½')
    """
    try:
        return f"{Decimal(numeral.replace(',', '')).normalize():f}"
    except ArithmeticError:
        return numeral


def in_mathematics(latex: str) -> list[str]:
    r"""Return the numerals of a typed formula that are no part of its rule.

    >>> in_mathematics(r"\frac{s^2}{12} \le 2^{31-n}"), in_mathematics("1 + \\delta")
    ([], [])
    >>> in_mathematics("3847"), in_mathematics("s = 0.5"), in_mathematics(r"2 \cdot 3")
    (['3847'], ['0.5'], ['2', '3'])
    """
    bare = COMMAND.sub(" ", latex)
    found = re.findall(r"\d+(?:[.,]\d+)*", bare)
    if SYMBOL.search(bare) or "\\" in bare:
        return [numeral for numeral in found if not SMALL.fullmatch(numeral)]
    return found


def in_comments(session: str) -> list[str]:
    r"""Return the numerals in the comments of an example; its code is input, its output was run.

    >>> in_comments(">>> x = 3  # it is 4\n>>> x  # int8\n3")
    ['4']
    """
    found: list[str] = []
    for example in doctest.DocTestParser().get_examples(session):
        for token in tokenize.generate_tokens(io.StringIO(example.source).readline):
            if token.type == tokenize.COMMENT:
                found += numerals(token.string)
    return found


def typed(
    tree: nodes.Element, *, computed: bool = False, tied: frozenset[str] = frozenset()
) -> Iterator[Typed]:
    """Yield every numeral of a page, or a part of one, that was typed and may not be."""
    computed = tree.get(COMPUTED, computed)
    if isinstance(tree, SILENT) or "quoted" in tree["classes"] or _is_reference(tree):
        return
    tied |= tied_to(tree)
    texts = [] if computed else [*_attributes(tree)]
    texts += [tree[TYPED]] if tree.get(TYPED) else []
    found = [one for text in texts for one in numerals(text)]
    if isinstance(tree, nodes.doctest_block):
        found += in_comments(tree.astext())
    elif computed:
        pass
    elif isinstance(tree, nodes.math | nodes.math_block):
        found += in_mathematics(tree.astext())
    else:
        found += [one for child in _texts(tree) for one in numerals(child)]
    shown = texts[0] if texts else tree.astext()
    yield from (Typed(tree, one, shown) for one in found if value(one) not in tied)
    for child in tree.children:
        if isinstance(child, nodes.Element):
            yield from typed(child, computed=computed, tied=tied)


def counted(tree: nodes.Element, *, computed: bool = False) -> tuple[int, int]:
    """Count the texts of a page that were looked at, and the numerals that were computed."""
    computed = tree.get(COMPUTED, computed)
    if isinstance(tree, SILENT):
        return 0, 0
    texts = [*_texts(tree)]
    total = (0, sum(len(numerals(text)) for text in texts)) if computed else (len(texts), 0)
    inner = (counted(c, computed=computed) for c in tree.children if isinstance(c, nodes.Element))
    sums = [total, *inner]
    return sum(one[0] for one in sums), sum(one[1] for one in sums)


def _texts(node: nodes.Element) -> Iterator[str]:
    yield from (child.astext() for child in node.children if isinstance(child, nodes.Text))


def tied_to(node: nodes.Element) -> frozenset[str]:
    """Return the numbers that may be named within a node, for there they are checked.

    An operator's own part of a page declares some; the examples of a docstring are run.
    """
    found: set[str] = {*node.get(TIED, ())}
    if isinstance(node, addnodes.desc):
        for block in node.findall(nodes.doctest_block):
            found.update(map(value, numerals(block.astext())))
    return frozenset(found)


def _is_reference(node: nodes.Element) -> bool:
    """Tell whether the text of a node is filled in later, or is an address."""
    if isinstance(node, addnodes.pending_xref):
        return node.get("refdomain") == "cite" or not node.get("refexplicit")
    return isinstance(node, nodes.reference) and node.get("refuri") == node.astext()


def _attributes(node: nodes.Element) -> Iterator[str]:
    yield from (node[name] for name in UNSEEN if isinstance(node.get(name), str))
    if isinstance(node, addnodes.toctree):
        yield from (title for title, _ in node["entries"] if title)


def check(app: Sphinx, tree: nodes.document) -> None:
    """Report what was typed on the page that was read, and have it read again."""
    for one in typed(tree):
        shown = re.sub(r"\s+", " ", one.text.strip())
        around = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
        logger.error(
            "found the typed numeral %s in %r, allowed: computed by a role or directive, or one of "
            "these kinds: %s",
            one.numeral,
            around,
            ", ".join(KINDS),
            location=one.node,
        )
        app.env.note_reread()


def register(app: Sphinx) -> None:
    """Look at each page when it has been read."""
    app.connect("doctree-read", check)
