"""Nodes that HTML and PDF show each in its own way, and the facts on the PDF's cover.

To HTML they are raw text. What only a screen can do (zooming, copying, links of rows and boxes,
the search) is made by the HTML theme and its transforms, so that a PDF never meets it; a file for
download is there by its name.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from docutils import nodes

from qdqdoc.pdf.pictures import drawing
from qdqdoc.pdf.writer import Writer, through
from qdqdoc.sphinxext.scope import document_of, model_path

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator


BREAKS = re.compile(r"(?<=[/_:;.,])(?=[^/_:;.,])")
"""Where a long name may be continued on the next line."""


class Picture(nodes.raw):
    """A drawing as SVG, with ``alt``."""


class Name(nodes.literal):
    """A name in code type that may be continued on the next line after the marks in it."""


class Download(nodes.inline):
    """The name of a file, at ``address`` seen from the first page."""


def picture(svg: str, alt: str) -> Picture:
    """Return a drawing."""
    return Picture("", svg, format="html", alt=alt)


def draw(writer: Writer, node: nodes.Element) -> str:
    """Write a drawing into the PDF."""
    return drawing(writer, node, node.astext(), node["alt"])


def spell(translator: HTML5Translator, node: nodes.Element) -> None:
    """Write a name into HTML, with the places where it may be broken."""
    parts = (f'<span class="pre">{escape(part)}</span>' for part in BREAKS.split(node.astext()))
    begin = translator.starttag(node, "code", "", CLASS="docutils literal notranslate")
    translator.body.append(f"{begin}{'<wbr>'.join(parts)}</code>")
    raise nodes.SkipNode


def open_download(translator: HTML5Translator, node: nodes.Element) -> None:
    """Begin the link to a file."""
    page = translator.builder.get_target_uri(translator.builder.current_docname)
    address = "../" * page.count("/") + node["address"]
    translator.body.append(
        translator.starttag(node, "a", "", CLASS="reference internal", href=address)
    )


def close_download(translator: HTML5Translator, node: nodes.Element) -> None:
    """End the link to a file."""
    del node
    translator.body.append("</a>")


def cover(app: Sphinx) -> list[tuple[str, str]]:
    """Return which model the manual is about, for the cover."""
    if model_path(app.env) is None:
        return []
    document = document_of(app.env)
    fingerprint = document.model_sha256 or "not recorded"
    return [("Model", document.model_path), ("SHA-256 of the model", fingerprint)]


def register(app: Sphinx) -> None:
    """Give each node its rules; the builder of the PDF brings the event."""
    app.setup_extension("qdqdoc.pdf")
    app.add_node(Picture, pdf=(draw, None))  # type: ignore[arg-type] # a rule gives the text
    app.add_node(Name, html=(spell, None))
    app.add_node(Download, html=(open_download, close_download), pdf=(through, None))  # type: ignore[arg-type]
    app.connect("pdf-cover", cover)
