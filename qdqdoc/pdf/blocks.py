"""Rules for what stands by itself: headings, paragraphs, lists, boxes, code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.locale import admonitionlabels

from qdqdoc.pdf.markup import call, string, words
from qdqdoc.pdf.pictures import sheet_for, size
from qdqdoc.pdf.writer import block, nothing, rules_for, through

if TYPE_CHECKING:
    from qdqdoc.pdf.writer import Rule, Writer

LONG_LINE = 96
"""Letters of code that fit side by side on a page."""


def section(writer: Writer, node: nodes.Element) -> str:
    """Write a heading with what is below it."""
    return writer.nested(node)


def title(writer: Writer, node: nodes.Element) -> str:
    """Write the heading of a section, or of a box."""
    parent = node.parent
    body = writer.inner(node)
    if not isinstance(parent, nodes.section):
        return f"{writer.note(node)}{call('q-rubric', body)}\n"
    name = writer.places.claim(f"{writer.docname}#{parent['ids'][0]}")
    place = f" #label({string(name)})" if name else ""
    level = f"level: {writer.depth}, supplement: {string(writer.heading)}"
    made = f"{writer.note(node)}{call('heading', body, level).removesuffix(';')}{place}\n"
    if not isinstance(_after(node), nodes.figure | nodes.table):
        return made
    # What may get a page of its own takes its heading along.
    writer.held += made
    return ""


def _after(node: nodes.Element) -> nodes.Node | None:
    """Return what is shown next."""
    siblings = node.parent.children
    unseen = nodes.Invisible | nodes.target
    following = siblings[siblings.index(node) + 1 :]
    return next((one for one in following if not isinstance(one, unseen)), None)


ANNOUNCED = (
    *(nodes.table, nodes.literal_block, nodes.doctest_block, nodes.bullet_list, nodes.math_block),
)
"""What a paragraph that ends in a colon speaks of."""


def paragraph(writer: Writer, node: nodes.Element) -> str:
    """Write a paragraph; one that announces something stays with it."""
    body = f"{writer.anchors(node)}{writer.inner(node)}"
    if node.astext().endswith(":") and isinstance(_after(node), ANNOUNCED):
        return f"{writer.note(node)}#block(sticky: true)[{body}];\n"
    return f"{writer.note(node)}{body}\n\n"


def bullets(writer: Writer, node: nodes.Element) -> str:
    """Write a list with dots."""
    items = ", ".join(f"[{through(writer, item)}]" for item in _items(node))
    return f"{writer.note(node)}{writer.anchors(node)}#list({items});\n"


def enumeration(writer: Writer, node: nodes.Element) -> str:
    """Write a list with numbers or letters."""
    kinds = {"loweralpha": "a", "upperalpha": "A", "lowerroman": "i", "upperroman": "I"}
    kind = kinds.get(node.get("enumtype", ""), "1")
    mark = string(f"{node.get('prefix', '')}{kind}{node.get('suffix', '.') or '.'}")
    items = ", ".join(f"[{through(writer, item)}]" for item in _items(node))
    start = f"numbering: {mark}, start: {node.get('start', 1)}"
    return f"{writer.note(node)}{writer.anchors(node)}#enum({start}, {items});\n"


def _items(node: nodes.Element) -> list[nodes.list_item]:
    return [child for child in node.children if isinstance(child, nodes.list_item)]


def definition(writer: Writer, node: nodes.Element) -> str:
    """Write one or more terms and what they mean."""
    terms = [child for child in node.children if isinstance(child, nodes.term)]
    meant = [child for child in node.children if isinstance(child, nodes.definition)]
    heads = "#linebreak();".join(through(writer, term) for term in terms)
    body = "".join(through(writer, child) for child in meant)
    return f"{writer.note(node)}#q-definition[{heads}][{body}];\n"


def field(writer: Writer, node: nodes.Element) -> str:
    """Write a named field, such as the parameters of a function."""
    name, body = node.children
    return f'{writer.note(node)}#q-field[{words(name.astext(), 30)}#":";][{writer.write(body)}];\n'


def code(writer: Writer, node: nodes.Element) -> str:
    """Write a block of code as it is, in the colours of its language."""
    language = node.get("language", "")
    known = {"pycon": "python", "python3": "python", "console": "", "default": "", "none": ""}
    kind = "python" if isinstance(node, nodes.doctest_block) else known.get(language, language)
    named = f", lang: {string(kind)}" if kind else ""
    text = node.astext()
    longest = max(map(len, text.splitlines()), default=0)
    size = f"{min(1, LONG_LINE / max(longest, 1)):.3f}"
    return (
        f"{writer.note(node)}{writer.anchors(node)}"
        f"#q-listing({size}, raw(block: true{named}, {string(text)}));\n"
    )


def admonition(writer: Writer, node: nodes.Element) -> str:
    """Write a box with a title."""
    children = list(node.children)
    kind = type(node).__name__
    head = str(admonitionlabels.get(kind, ""))
    shown = words(head, writer.chunk)
    if children and isinstance(children[0], nodes.title):
        shown = writer.inner(children.pop(0))  # type: ignore[arg-type] # a title has children
    body = "".join(map(writer.write, children))
    return f"{writer.note(node)}#q-box[{writer.anchors(node)}{shown}][{body}];\n"


def note_text(writer: Writer, node: nodes.Element) -> str:
    """Write a footnote or a source, where the page has it."""
    mark, *rest = node.children
    body = "".join(map(writer.write, rest))
    head = f"{writer.anchors(node)}{words(f'[{mark.astext()}]', writer.chunk)}"
    return f"{writer.note(node)}#q-note[{head}][{body}];\n"


def lines(writer: Writer, node: nodes.Element) -> str:
    """Write lines that are kept apart."""
    made = "#linebreak();".join(
        lines(writer, child) if isinstance(child, nodes.line_block) else through(writer, child)
        for child in node.children
        if isinstance(child, nodes.Element)
    )
    return f"{writer.note(node)}{writer.anchors(node)}#block[{made}];\n"


def transition(writer: Writer, node: nodes.Element) -> str:
    """Write a line between paragraphs."""
    return f"{writer.note(node)}#q-rule\n"


def figure(writer: Writer, node: nodes.Element) -> str:
    """Write a picture with its caption and what explains it."""
    captions = [child for child in node.children if isinstance(child, nodes.caption)]
    legends = [child for child in node.children if isinstance(child, nodes.legend)]
    others = [child for child in node.children if child not in (*captions, *legends)]
    shown = "".join(f"[{numbered(writer, child, 'figure')}]" for child in captions) or "[]"
    sheet = sheet_for(*_largest(node))
    writer.sheet = sheet if sheet.options else None
    body = "".join(map(writer.write, others))
    writer.sheet = None
    after = "".join(map(writer.write, legends))
    made = f"q-figure{shown}[{writer.anchors(node)}{body}]"
    return f"{standing(writer, node, made, sheet.options)}{after}"


def standing(writer: Writer, node: nodes.Element, made: str, options: str) -> str:
    """Return a figure or table with the heading before it, on a page of its own if need be."""
    head, writer.held = writer.held, ""
    if not options:
        return f"{head}{writer.note(node)}#{made};\n"
    return f"#q-across({options})[{head}{writer.note(node)}#{made};];\n"


def _largest(node: nodes.Element) -> tuple[float, float]:
    """Return width and height of the largest drawing below a node."""
    sizes = [size(raw.astext()) for raw in node.findall(nodes.raw) if "<svg" in raw.astext()]
    return max(sizes, default=(1.0, 1.0))


def numbered(writer: Writer, node: nodes.Element, kind: str) -> str:
    """Return a caption with the number that the text refers to."""
    holder: Any = node.parent
    numbers = writer.builder.fignumbers.get(kind, {})
    number = next((numbers[one] for one in holder["ids"] if one in numbers), None)
    if number is None:
        return writer.inner(node)
    named = writer.builder.config.numfig_format[kind] % ".".join(map(str, number))
    return f"{call('strong', words(f'{named} ', writer.chunk))}{writer.inner(node)}"


ADMONITIONS = (*admonitionlabels, "admonition", "topic", "sidebar")

RULES: dict[str, Rule] = {
    "section": section,
    "title": title,
    "subtitle": block("q-rubric"),
    "rubric": block("q-rubric"),
    "paragraph": paragraph,
    "compact_paragraph": through,
    "bullet_list": bullets,
    "enumerated_list": enumeration,
    "definition_list_item": definition,
    "field": field,
    "literal_block": code,
    "doctest_block": code,
    "block_quote": block("q-quote"),
    "attribution": paragraph,
    "footnote": note_text,
    "citation": note_text,
    "line_block": lines,
    "transition": transition,
    "figure": figure,
    **rules_for(ADMONITIONS, admonition),
    **rules_for(
        (
            *("document", "container", "compound", "glossary", "definition_list", "field_list"),
            *("field_body", "legend", "start_of_file"),
        ),
        through,
    ),
    # Lists of pages: the book's contents stand at its beginning.
    "toctree": nothing,
}
