"""The PDF is kept while nothing that it is made of has changed; else it is what a fresh one is."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from qdqdoc.pdf import compiling, keeping
from qdqdoc.pdf.compiling import Compiler

if TYPE_CHECKING:
    from collections.abc import Callable

# MyST uses what the next Sphinx will not have.
pytestmark = pytest.mark.filterwarnings("ignore:.*MystReferenceResolver.app")

PAGES = {
    "index": "# Book\n\n```{toctree}\nother\n```\n\nSee [there](other.md#below).\n\n![a](a.svg)\n",
    "other": "# Other\n\n## Below\n\nOne.\n\n```{only} short\nShort.\n```\n",
}
PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="9pt">'
    '<rect width="5" height="3"/></svg>'
)
EXTENSION = "def setup(app):\n    app.connect('pdf-cover', lambda app: [('Of', 'a model')])\n"


@dataclass
class Project:
    """A project of two pages, its settings, and how many books were compiled."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    compiled: int = 0

    @property
    def source(self) -> Path:
        """Where the pages are."""
        return self.folder / "source"

    def build(self, where: str = "build", builder: str = "pdf") -> bytes:
        """Build, and return the book."""
        out = self.folder / where
        config = {
            "project": "book",
            "extensions": ["myst_parser", "qdqdoc.pdf", "cover"],
            "myst_heading_anchors": 2,
            **self.settings,
        }
        heard = io.StringIO()
        with docutils_namespace():
            app = Sphinx(
                self.source,
                None,
                out / builder,
                out / "doctrees",
                builder,
                confoverrides=config,
                status=None,
                warning=heard,
                tags=self.tags,
            )
            app.build()
        assert not heard.getvalue()
        return (out / "pdf" / "book.pdf").read_bytes() if builder == "pdf" else b""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with an extension of its own."""
    made = Project(tmp_path)
    made.source.mkdir()
    for name, text in PAGES.items():
        (made.source / f"{name}.md").write_text(text, "utf-8")
    (made.source / "a.svg").write_text(PICTURE, "utf-8")
    (tmp_path / "cover.py").write_text(EXTENSION, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cover", raising=False)
    compile_book = Compiler.compile

    def counted(self: Compiler, source: str) -> bytes:
        made.compiled += 1
        return compile_book(self, source)

    monkeypatch.setattr(Compiler, "compile", counted)
    return made


def test_a_book_is_made_once(project: Project) -> None:
    book = project.build()
    assert project.build() == book
    project.build(builder="html")
    assert project.build() == book
    assert project.compiled == 1
    assert project.build("elsewhere") == book
    assert project.compiled == 2


def page(project: Project) -> None:
    path = project.source / "other.md"
    path.write_text(path.read_text("utf-8").replace("One.", "Two."), "utf-8")


def heading(project: Project) -> None:
    path = project.source / "other.md"
    path.write_text(path.read_text("utf-8").replace("# Other", "# Another"), "utf-8")


def picture(project: Project) -> None:
    # Nobody sees it by the time of the file.
    path = project.source / "a.svg"
    before = path.stat()
    path.write_text(PICTURE.replace('"5"', '"6"'), "utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def tag(project: Project) -> None:
    project.tags = ("short",)


def setting(name: str, value: object) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        project.settings[name] = value

    return change


CHANGES: dict[str, Callable[[Project], None]] = {
    "a page": page,
    "a heading that another page names": heading,
    "a picture": picture,
    "a tag": tag,
    "the author": setting("author", "Somebody"),
    "the release": setting("release", "7"),
    "the fonts": setting("pdf_fonts", []),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_makes_the_book_that_a_fresh_build_makes(
    project: Project, change: Callable[[Project], None]
) -> None:
    before = project.build()
    change(project)
    after = project.build()
    assert after != before
    assert project.compiled == 2
    assert project.build("fresh") == after


def test_the_date_is_part_of_a_book(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = project.build()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    after = project.build()
    assert after != before
    assert project.build("fresh") == after


def test_what_writes_a_book_is_part_of_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = project.build()
    (project.folder / "cover.py").write_text(EXTENSION.replace("a model", "another one"), "utf-8")
    assert project.build() == before, "a module that is loaded stays as it is"
    assert project.compiled == 2, "but its file is another one"
    monkeypatch.delitem(sys.modules, "cover")
    assert project.build() != before


def test_a_template_is_part_of_a_book(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = project.build()
    own = tmp_path / "own.typ"
    own.write_text(compiling.TEMPLATE.read_text("utf-8").replace("10.2pt", "11pt"), "utf-8")
    monkeypatch.setattr(compiling, "TEMPLATE", own)
    monkeypatch.setattr(keeping, "TEMPLATE", own)
    assert project.build() != before


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"%PDF")])
def test_a_book_that_was_lost_or_damaged_is_made_again(
    project: Project, damage: Callable[[Path], object]
) -> None:
    book = project.build()
    damage(project.folder / "build" / "pdf" / "book.pdf")
    assert project.build() == book


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"of": 1'])
def test_a_record_that_cannot_be_read_keeps_nothing(project: Project, record: str) -> None:
    book = project.build()
    (project.folder / "build" / "doctrees" / "qdqdoc-pdf.json").write_text(record, "utf-8")
    assert project.build() == book
    assert project.compiled == 2


def test_what_was_said_against_a_book_is_said_each_time(project: Project) -> None:
    # Nobody knows the name; that is found out when the book is written.
    (project.source / "other.md").write_text("# Other\n\n## Below\n\n{ref}`nowhere`\n", "utf-8")
    for _ in range(2):
        with pytest.raises(AssertionError, match="undefined label: 'nowhere'"):
            project.build()
    assert project.compiled == 2
