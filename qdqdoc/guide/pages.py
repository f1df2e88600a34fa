"""The pages of a guide: those of the manual's architecture guide, and what they refer to.

There is one copy of each page. It stands in the manual's source and travels in the wheel. What
a page of the guide names comes with it; what those chapters name in turn does not, and is shown
as a name without a link, see `qdqdoc.guide.elsewhere`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from qdqdoc.guide.errors import GuideError
from qdqdoc.operators import OPERATORS
from qdqdoc.sphinxext.reference import operator_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdqdoc.document import Document

STANDALONE = Path(__file__).with_name("standalone")
"""Pages that only a guide by itself has: its landing page, and the list of its operators."""
PACKAGED = Path(__file__).with_name("manual")
"""Where the wheel keeps what a checkout has in its root."""
NEEDED = ("conf.py", "source/guide/index.md")
BACK = ("glossary", "bibliography")
"""What stands behind the chapters of every guide."""

REFERENCE = re.compile(r"\{(?P<kind>ref|doc)\}`(?:[^`<]*<)?(?P<target>[^`<>]+)>?`")
LABELLED = re.compile(r"^\((?P<label>[\w-]+)\)=\n+#+ (?P<title>.+)$", re.MULTILINE)
TITLE = re.compile(r"^# (?P<title>.+)$", re.MULTILINE)


class Manual:
    """The source of the manual: what its pages are called, and to what they refer."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.source = home / "source"
        self.titles: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.homes: dict[str, str] = {}
        self.texts = {
            path.relative_to(self.source).with_suffix("").as_posix(): path.read_text("utf-8")
            for path in sorted(self.source.rglob("*.md"))
        }
        for page, text in self.texts.items():
            self._learn(page, text)

    def _learn(self, page: str, text: str) -> None:
        title = TITLE.search(text)
        self.titles[page] = title["title"] if title else page
        for found in LABELLED.finditer(text):
            self.labels[found["label"]] = found["title"]
            self.homes[found["label"]] = page

    @property
    def guide(self) -> list[str]:
        """The pages of the architecture guide."""
        return [page for page in self.texts if page.startswith("guide/")]

    def chapters(self) -> list[str]:
        """Return the chapters that the guide refers to, in the manual's order."""
        named = {page for guide in self.guide for page in self.named(guide)}
        named -= {*self.guide, *BACK}
        order = self.texts.get("index", "")
        found = (p for p in named if p in self.texts and not p.startswith("operators/"))
        return sorted(found, key=lambda page: (order.find(f"\n{page}\n"), page))

    def named(self, page: str) -> Iterator[str]:
        """Yield the pages to which a page refers by name or by label."""
        for found in REFERENCE.finditer(self.texts[page]):
            target = found["target"].strip()
            name = self.homes.get(target) if found["kind"] == "ref" else self.beside(page, target)
            if name is not None:
                yield name

    def beside(self, page: str, target: str) -> str:
        """Return a page by the name that another one has for it."""
        if target.startswith("/"):
            return target[1:]
        return "/".join([*page.split("/")[:-1], target])


def manual() -> Manual:
    """Return the manual's source: that of the installed package, or of the checkout around it."""
    for home in (PACKAGED, Path(__file__).parents[2]):
        if all((home / name).is_file() for name in NEEDED):
            return Manual(home)
    raise GuideError("the pages of the manual are missing: install qdqdoc again")


def operators(document: Document, pages: Manual) -> list[str]:
    """Return the registered operators that the model has or the chapters name, sorted."""
    had = {(operation.domain, operation.op_type) for operation in document.walk()}
    every = [*pages.guide, *pages.chapters()]
    named = {name for page in every for name in pages.named(page)}
    return sorted(
        entry.full_name
        for key, entry in OPERATORS.items()
        if key in had or operator_page(*key) in named
    )


def write_source(document: Document, pages: Manual, folder: Path) -> int:
    """Write the source of a guide into a folder; return how many pages it will have."""
    chapters, names = pages.chapters(), operators(document, pages)
    kept = [*pages.guide, *chapters, *BACK]
    for page in kept:
        target = folder / f"{page}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pages.source / f"{page}.md", target)
    _fill("index.md", folder, chapters=chapters)
    _fill("operators/index.md", folder, operators=map(_place, names))
    return len(kept) + len(names) + len(list(STANDALONE.rglob("*.md")))


def _place(full_name: str) -> str:
    """Return an operator's page as the list of operators names it."""
    domain, _, name = full_name.rpartition("::")
    return operator_page(domain, name).removeprefix("operators/")


def _fill(name: str, folder: Path, **lists: Iterable[str]) -> None:
    text = Template((STANDALONE / name).read_text("utf-8"))
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    filled = text.substitute({key: "\n".join(pages) for key, pages in lists.items()})
    (folder / name).write_text(filled, encoding="utf-8")
