"""Rules for described functions and classes, as autodoc makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sphinx import addnodes

from qdqdoc.pdf.markup import string, words
from qdqdoc.pdf.writer import rules_for, through, wrap

if TYPE_CHECKING:
    from docutils import nodes

    from qdqdoc.pdf.writer import Rule, Writer


def described(writer: Writer, node: nodes.Element) -> str:
    """Write signatures, then what is said about them."""
    heads = [child for child in node.children if isinstance(child, addnodes.desc_signature)]
    others = [child for child in node.children if child not in heads]
    shown = "#linebreak();".join(through(writer, head) for head in heads)
    body = "".join(map(writer.write, others))
    return f"{writer.note(node)}#q-described[{shown}][{body}];\n"


def parameters(opening: str, closing: str) -> Rule:
    """Return a rule for a list of parameters between brackets."""

    def rule(writer: Writer, node: nodes.Element) -> str:
        inner = '#", ";'.join(map(writer.write, node.children))
        return f"#{string(opening)};{inner}#{string(closing)};"

    return rule


def optional(writer: Writer, node: nodes.Element) -> str:
    """Write parameters that may be left out."""
    inner = '#", ";'.join(map(writer.write, node.children))
    return f'#"[";{inner}#"]";'


def returned(writer: Writer, node: nodes.Element) -> str:
    """Write what a function returns."""
    return f"{words(' → ', writer.chunk)}{writer.inner(node)}"


RULES: dict[str, Rule] = {
    "desc": described,
    "desc_name": wrap("strong"),
    "desc_parameterlist": parameters("(", ")"),
    "desc_type_parameter_list": parameters("[", "]"),
    "desc_optional": optional,
    "desc_returns": returned,
    **rules_for(
        (
            *("desc_signature_line", "desc_addname", "desc_annotation", "desc_parameter"),
            *("desc_type_parameter", "desc_type", "desc_content", "desc_inline"),
            *("desc_sig_element",),
        ),
        through,
    ),
}
