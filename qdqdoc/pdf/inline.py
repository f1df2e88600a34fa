"""Rules for what stands in a line: emphasis, code, links, formulas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from docutils import nodes

from qdqdoc.pdf.markup import call, flat, pieces, string, words
from qdqdoc.pdf.mathematics import MathError, mathematics
from qdqdoc.pdf.writer import nothing, rules_for, through, wrap

if TYPE_CHECKING:
    from qdqdoc.pdf.writer import Rule, Writer

PAGE = "%"
"""What the address of a page of the book begins with; ids follow after ``#``."""


def text(writer: Writer, node: nodes.Element) -> str:
    """Write text, as text."""
    return words(node.astext(), writer.chunk)


def literal(writer: Writer, node: nodes.Element) -> str:
    """Write code; its children say where it may be broken."""
    texts = (text for text in node.findall(nodes.Text) if not isinstance(text.parent, nodes.raw))
    parts = [text.astext() for text in texts]
    found = [piece for part in parts for piece in pieces(flat(part), writer.chunk)]
    return f"{writer.anchors(node)}#q-code({', '.join(map(string, found))});"


def reference(writer: Writer, node: nodes.Element) -> str:
    """Write a link into the book or out of it."""
    body = writer.anchors(node) + writer.inner(node)
    target = reference_target(writer.docname, node)
    if target:
        return writer.link(target, body)
    address = node.get("refuri", "")
    if ":" not in address.partition("/")[0]:
        writer.complain(node, f"a link to {address!r}, which is neither in the book nor on a host")
    return call("q-out", body, string(address))


def reference_target(docname: str, node: nodes.Element) -> str:
    """Return the place in the book that a link leads to, empty for one that leads out of it."""
    if "refid" in node:
        return f"{docname}#{node['refid']}"
    address: str = node.get("refuri", "")
    return unquote(address.removeprefix(PAGE)) if address.startswith(PAGE) else ""


def note_reference(writer: Writer, node: nodes.Element) -> str:
    """Write the mark of a footnote."""
    mark = call("super", writer.anchors(node) + words(f"[{node.astext()}]", writer.chunk))
    return writer.link(f"{writer.docname}#{node['refid']}", mark)


def foreign(writer: Writer, node: nodes.Element) -> str:
    """Refuse what is written for HTML alone, but for the break of a line."""
    if "html" not in node["format"].split():
        return ""
    if not re.fullmatch(r"<br\s*/?>\s*", node.astext()):
        writer.complain(node, "no rule for HTML: what only HTML shows belongs into {only} html")
    return "#linebreak();"


def image(writer: Writer, node: nodes.Element) -> str:
    """Write a picture from a file."""
    source = writer.builder.srcdir / node["uri"]
    if not source.is_file():
        writer.complain(node, f"there is no picture {node['uri']}")
        return ""
    name = writer.builder.keep(source.read_bytes(), source.suffix)
    return f"#q-picture({string(name)}, alt: {string(node.get('alt') or node['uri'])});"


def formula(writer: Writer, node: nodes.Element) -> str:
    """Write a formula within the line."""
    made = _formula(writer, node, display=False)
    return f"#math.equation(alt: {string(flat(node.astext()))}, ${made}$);"


def equation(writer: Writer, node: nodes.Element) -> str:
    """Write a formula of its own with its number."""
    made = _formula(writer, node, display=True)
    number = string(f"({equation_number(writer, node)})") if node.get("number") else "none"
    alt = string(flat(node.astext()))
    return (
        f"{writer.note(node)}#q-equation(number: {number})[{writer.anchors(node)}"
        f"#math.equation(block: true, alt: {alt}, $ {made} $);];\n"
    )


def equation_number(writer: Writer, node: nodes.Element) -> str:
    """Return the number under which the text refers to a formula."""
    config = writer.builder.config
    if not (config.math_numfig and config.numfig):
        return str(node["number"])
    number = writer.builder.fignumbers.get("displaymath", {}).get(node["ids"][0], ())
    return str(config.math_numsep).join(".".join(map(str, number)).rsplit(".", 1))


def _formula(writer: Writer, node: nodes.Element, *, display: bool) -> str:
    try:
        return mathematics(node.astext(), display=display)
    except MathError as error:
        writer.complain(node, f"math: {error}")
        return '""'


RULES: dict[str, Rule] = {
    "Text": text,
    "emphasis": wrap("emph"),
    "title_reference": wrap("emph"),
    "strong": wrap("strong"),
    "literal_strong": wrap("strong"),
    "literal_emphasis": wrap("emph"),
    "subscript": wrap("sub"),
    "superscript": wrap("super"),
    "literal": literal,
    "reference": reference,
    "footnote_reference": note_reference,
    "citation_reference": note_reference,
    "math": formula,
    "math_block": equation,
    "image": image,
    "raw": foreign,
    **rules_for(("inline", "abbreviation", "acronym", "generated", "number_reference"), through),
    # What follows is not for the eye: comments, entries of an index, names of places.
    **rules_for(
        ("comment", "index", "target", "substitution_definition", "meta", "pending"), nothing
    ),
}
