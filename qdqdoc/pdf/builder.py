"""The builder: every page of the manual in one PDF, or none and the reason why."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx.builders import Builder
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.display import progress_message

from qdqdoc.pdf import blocks, inline, python_api, tables
from qdqdoc.pdf.book import Leaf, Places, leaves, links, places_of
from qdqdoc.pdf.compiling import Compiler
from qdqdoc.pdf.errors import PdfError
from qdqdoc.pdf.keeping import Heard, Keeper
from qdqdoc.pdf.lacking import Spelling, lacking
from qdqdoc.pdf.markup import call, string, words
from qdqdoc.pdf.metrics import Metrics, measured
from qdqdoc.pdf.writer import CHUNK, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from qdqdoc.pdf.writer import Rule

logger = logging.getLogger(__name__)

COVER = "pdf-cover"
"""Event that asks for lines of the cover: each a name and a value."""
DEPTH = 3
"""Levels of headings in the contents."""


class PdfBuilder(Builder):
    """``sphinx-build -b pdf``: one file, named after the project."""

    name = "pdf"
    format = "pdf"
    epilog = "The PDF is in %(outdir)s."
    supported_image_types: ClassVar[list[str]] = ["image/svg+xml", "image/png", "image/jpeg"]
    supported_linkcode = ""
    allow_parallel = True

    fignumbers: dict[str, dict[str, tuple[int, ...]]]
    metrics: Metrics
    spelling: Spelling
    folder: Path
    facts: list[tuple[str, Any]]

    def init(self) -> None:
        """Collect the rules, those of other extensions too."""
        self.rules: dict[str, Rule] = {
            **inline.RULES,
            **blocks.RULES,
            **python_api.RULES,
            **tables.RULES,
        }
        given: Mapping[str, Any] = self._registry.translation_handlers.get(self.name, {})
        self.rules.update({node: rule for node, (rule, _depart) in given.items()})
        self.fignumbers = {}
        self.metrics = Metrics()

    def get_outdated_docs(self) -> str:
        """Return what is to be written: all of it, if anything has changed."""
        return "the whole book"

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        """Return the address of a page within the book."""
        del typ
        return f"{inline.PAGE}{docname}"

    def get_relative_uri(self, from_: str, to: str, typ: str | None = None) -> str:
        """Return the same address wherever it is used."""
        del from_
        return self.get_target_uri(to, typ)

    def keep(self, content: bytes, suffix: str) -> str:
        """Keep a picture until the book is made, and return the name of its file."""
        self.kept += 1
        name = f"picture-{self.kept}{suffix}"
        (self.folder / name).write_bytes(content)
        return name

    def write_documents(self, docnames: AbstractSet[str]) -> None:
        """Write the book, if it is not there already."""
        del docnames
        self.facts = [pair for pairs in self.events.emit(COVER) for pair in pairs]
        name = f"{self.config.project}.pdf"
        keeper = Keeper(self, Path(self.outdir, name), self.facts)
        if keeper.current():
            logger.info("nothing that the PDF is made of has changed")
            return
        with Heard() as heard:
            self._store(self._made(), name)
        if not heard.anything:
            keeper.note()

    def _made(self) -> bytes:
        order = leaves(self.env)
        with progress_message("resolving references"):
            trees = {leaf.docname: self._resolved(leaf.docname) for leaf in order}
        with tempfile.TemporaryDirectory(dir=self.outdir) as folder:
            self.folder, self.kept = Path(folder), 0
            with progress_message("writing Typst"):
                compiler = Compiler(self.folder, self.config.pdf_fonts)
                self.spelling = Spelling(lacking(_text(trees), compiler.shows))
                for tree in trees.values():
                    self.spelling.tree(tree)
                self.metrics = measured(_letters(trees), compiler.ask)
                source = self._book(order, trees)
            with progress_message("compiling the PDF"):
                pdf = compiler.compile(source)
        return pdf

    def _resolved(self, docname: str) -> nodes.document:
        return self.env.get_and_resolve_doctree(docname, self, tags=self.tags)

    def _book(self, order: list[Leaf], trees: Mapping[str, nodes.document]) -> str:
        places = places_of(trees)
        writers = {}
        pages = []
        for leaf in order:
            writer = Writer(self, leaf.docname, self.rules, places)
            writers[leaf.docname] = writer
            self.fignumbers = self.env.toc_fignumbers.get(leaf.docname, {})
            pages.append(self._page(writer, leaf, trees[leaf.docname]))
        self._check(writers, trees, places)
        return "\n".join([*self._front(trees[order[0].docname]), *pages])

    def _check(
        self, writers: Mapping[str, Writer], trees: Mapping[str, nodes.document], places: Places
    ) -> None:
        """Refuse a book with something left out, or with a link to nowhere."""
        for docname, tree in trees.items():
            for name, node in links(docname, tree):
                if places.home(name) not in places.placed:
                    writers[docname].complain(node, f"a link to {name!r}, which is nowhere")
        if any(writer.failed for writer in writers.values()):
            raise PdfError("not written; the errors are above")

    def _front(self, first: nodes.document) -> Iterator[str]:
        """Yield settings, cover and contents."""
        title = next((node.astext() for node in first.findall(nodes.title)), self.config.project)
        author = self.config.author if self.config.author != "unknown" else ""
        language = (self.config.language or "en").partition("_")[0]
        product = " ".join(filter(None, (self.config.project, self.config.release)))
        facts = [("Version", self.config.release)] if self.config.release else []
        facts += self.facts
        yield '#import "template.typ": *'
        yield (
            f"#set document(title: {string(title)}, author: {string(author)}, "
            f"keywords: ({string(self.config.project)},), date: auto)"
        )
        yield (
            f"#show: q-book.with(lang: {string(language)}, left: {string(product)})\n"
            f"#let q-running = {string(title)}"
        )
        shown = [(string(name), self._broken(value)) for name, value in facts]
        listed = "".join(f"({name}, [{value}])," for name, value in shown)
        yield (
            f"#q-cover(title: {string(title)}, product: {string(product)}, "
            f"author: {string(author)}, facts: ({listed}))"
        )
        yield f"#set page(header: q-header({string(_('Contents'))}, q-running))"
        yield f"#q-contents({string(_('Contents'))}, {DEPTH})"

    def _broken(self, value: Any) -> str:  # noqa: ANN401 - whatever an extension tells of itself
        return words(self.spelling.text(str(value)), CHUNK)

    def _page(self, writer: Writer, leaf: Leaf, tree: nodes.document) -> str:
        """Return a page, which begins on a new sheet."""
        title = next((node.astext() for node in tree.findall(nodes.title)), leaf.docname)
        head = f"#set page(header: q-header({string(title)}, q-running))\n"
        if leaf.part:
            kind = f"supplement: {string('part')}"
            head += f"{call('heading', words(leaf.part, CHUNK), 'level: 1', kind)}\n"
        writer.depth = writer.top = leaf.depth - 1
        return head + writer.write(tree)

    def _store(self, pdf: bytes, name: str) -> None:
        """Put the file into its place in one step."""
        handle, path = tempfile.mkstemp(dir=self.outdir, prefix=".pdf-")
        with os.fdopen(handle, "wb") as file:
            file.write(pdf)
        Path(path).chmod(0o644)
        Path(path).replace(Path(self.outdir, name))

    def finish(self) -> None:
        """Leave nothing else behind."""


def _text(trees: Mapping[str, nodes.document]) -> Iterator[str]:
    """Yield the letters of all pages."""
    for tree in trees.values():
        yield from {*tree.astext()}


def _letters(trees: Mapping[str, nodes.document]) -> set[str]:
    """Return the letters that stand in tables."""
    tables_found = (table for tree in trees.values() for table in tree.findall(nodes.table))
    return {" ", *(letter for table in tables_found for letter in table.astext())}
