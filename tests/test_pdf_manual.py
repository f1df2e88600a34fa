"""The manual as PDF: it says what its HTML says, letter by letter, and nothing is cut.

HTML and PDF are built by the two commands of ``tox -e manual``, over one cache. The second of
them also tells whether what was read for HTML serves the PDF. ``QDQDOC_BUILD`` names a folder where
that was done; by itself the plain run of the tests builds neither: that is for ``tox -e browser``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from printed import Page, Said, html_page, pieces, plain
from pypdfium2 import PdfDocument

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
NO_PAGES = ("genindex.html", "search.html", "py-modindex.html")
MARGIN, HEAD = 40, 60
CONTENTS = "Contents"
BULLET = "•"


pytestmark = pytest.mark.skipif(
    not ({"QDQDOC_BUILD", "QDQDOC_BROWSER"} & {*os.environ}), reason="run tox -e browser"
)


def sphinx(builder: str, out: Path, *options: str) -> bytes:
    command = [sys.executable, "-m", "sphinx", "-c", ".", "-n", "-W", "--keep-going", "-q"]
    command += ["-b", builder, "-d", str(out.parent / "doctrees"), *options, "source", str(out)]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return (out / "qdqdoc.pdf").read_bytes() if builder == "pdf" else b""


def test_the_pdf_of_the_manual(tmp_path: Path) -> None:
    # One test: each worker would otherwise build both by itself.
    folder = Path(os.environ.get("QDQDOC_BUILD") or tmp_path)
    if folder == tmp_path:
        sphinx("html", folder / "html")
        sphinx("pdf", folder / "pdf")
    path = folder / "pdf" / "qdqdoc.pdf"
    assert [made.name for made in path.parent.iterdir()] == [path.name]
    check_standards(path.read_bytes())
    check_text(folder / "html", PdfDocument(path))
    check_programs(path, tmp_path)


def check_standards(book: bytes) -> None:
    metadata = re.findall(rb"<pdfaid:part>(\d)</pdfaid:part>|<pdfuaid:part>(\d)</", book)
    assert metadata == [(b"2", b""), (b"", b"1")], "PDF/A-2 and PDF/UA-1, which Typst enforces"
    assert b"<pdfaid:conformance>A</" in book
    assert b"/Marked true" in book
    assert b"/FontFile" in book
    assert book.count(b"/Subtype /Link") + book.count(b"/Subtype/Link") > 500
    assert b"/JavaScript" not in book


def check_text(root: Path, book: PdfDocument) -> None:
    pages = {page.title: page for page in html_pages(root)}
    index = (root / "index.html").read_text("utf-8")
    parts = set(re.findall(r'role="heading"[^>]*><span class="caption-text">([^<]+)<', index))
    said: dict[str, Said] = defaultdict(Said)
    for number in range(len(book)):
        head, body = sheet(book, number)
        title = max((t for t in pages if head.startswith(plain(t))), key=len, default="")
        assert title or head.startswith(CONTENTS) or not number, f"{number + 1}: {head}"
        said[title].text += body.text
        said[title].formulas.update(body.formulas)
    assert set(said) - {""} == set(pages), "every page of HTML, and no other"
    for title, page in pages.items():
        assert below(said[title].text, title, parts) == page.said.text, title
        assert said[title].formulas == page.said.formulas, title
    headings = [item.get_title() for item in book.get_toc()]
    assert parts
    assert parts <= set(headings)
    assert {plain(title) for title in pages} <= {plain(heading) for heading in headings}
    front = sheet(book, 0)[1].text
    assert re.search(r"SHA-256ofthemodel[0-9a-f]{64}", front)


def below(text: str, title: str, parts: set[str]) -> str:
    """Return the text of a page without the name of the part that it opens."""
    opened = [plain(part) for part in parts if text.startswith(plain(part) + plain(title))]
    return text.removeprefix(opened[0]) if opened else text


def html_pages(root: Path) -> Iterator[Page]:
    for path in sorted(root.rglob("*.html")):
        if path.name not in NO_PAGES:
            page = html_page(path)
            page.title = page.title.strip()
            yield page


def sheet(book: PdfDocument, number: int) -> tuple[str, Said]:
    """Return the running head of a sheet and what stands below it, all of it within the sheet."""
    width, height = book[number].get_size()
    head, body = "", Said()
    for piece in pieces(book, number):
        assert MARGIN < piece.left <= piece.right < width - MARGIN, f"{number + 1}: {piece}"
        assert MARGIN / 2 < piece.bottom <= piece.top < height - MARGIN / 2, (
            f"{number + 1}: {piece}"
        )
        if piece.furniture:
            head += plain(piece.text) if piece.bottom > height - HEAD else ""
        elif piece.text.strip() != BULLET:
            body.add(piece.text, formula=piece.formula)
    return head, body


def check_programs(path: Path, folder: Path) -> None:
    """Open the book with what else reads PDF here."""
    for program, *options in (["pdftotext", "-l", "3"], ["pdftoppm", "-r", "20", "-l", "2"]):
        if shutil.which(program):
            command = [program, *options, str(path), str(folder / "made")]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - as above


@pytest.mark.parametrize("name", ["resnet8_uint8"])
def test_the_pdf_of_another_model_names_it(name: str, tmp_path: Path) -> None:
    book = tmp_path / "pdf"
    sphinx("pdf", book, "-D", f"qdqdoc_model=models/{name}.onnx")
    front = sheet(PdfDocument(book / "qdqdoc.pdf"), 0)[1].text
    assert f"{name}.onnx" in front
