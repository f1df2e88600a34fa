"""Typst source to PDF: fonts that come with pip, a fixed date, and errors that name the page."""

from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typst

from qdqdoc.pdf.errors import PdfError
from qdqdoc.pdf.markup import string

if TYPE_CHECKING:
    from collections.abc import Mapping

MAIN = "book.typ"
TEMPLATE = Path(__file__).with_name("template.typ")
STANDARDS: list[typst.PDFStandard] = ["a-2a", "ua-1"]
"""Archivable, tagged and accessible: Typst refuses what these standards refuse."""

NO_FONT = "could not be displayed"
"""What Typst says of a letter that no font has."""

EPOCH = "SOURCE_DATE_EPOCH"
"""Environment variable with the date that a reproducible build writes into its files."""

_PLACE = re.compile(r'^//@ (".*") (\d+)$')
_WHERE = re.compile(re.escape(MAIN) + r":(\d+):")


class Compiler:
    """Compiles what lies in a folder; the machine's own fonts are not looked at."""

    def __init__(self, folder: Path, font_packages: list[str]) -> None:
        self.folder = folder
        self.fonts = typst.Fonts(
            include_system_fonts=False,
            font_paths=[fonts_of(package) for package in font_packages],
        )
        (folder / "template.typ").write_bytes(TEMPLATE.read_bytes())

    def ask(self, expression: str) -> object:
        """Return the value of an expression of Typst that may use the template."""
        source = f'#import "template.typ": *\n#context [#metadata({expression})<value>]\n'
        path = self.folder / "question.typ"
        path.write_text(source, encoding="utf-8")
        found = typst.query(
            path, "<value>", field="value", one=True, root=self.folder, font_paths=self.fonts
        )
        return json.loads(found)

    def shows(self, text: str) -> bool:
        """Tell whether some font of the book has each letter of a text.

        Raises
        ------
        PdfError
            Where Typst finds an error of another kind.
        """
        path = self.folder / "letters.typ"
        lines = "\n\n".join(f"#{string(letter)};" for letter in text)
        path.write_text(f'#set document(title: "letters")\n{lines}\n', encoding="utf-8")
        try:
            self._made(path)
        except typst.TypstError as error:
            if NO_FONT not in error.message:
                raise PdfError(error.message) from None
            return False
        return True

    def compile(self, source: str) -> bytes:
        """Return the PDF of a book.

        Raises
        ------
        PdfError
            Where Typst finds an error, with the page and line that it comes from.
        """
        path = self.folder / MAIN
        path.write_text(source, encoding="utf-8")
        try:
            made = self._made(path)
        except typst.TypstError as error:
            raise PdfError(complaint(error, source)) from None
        if not isinstance(made, bytes):
            raise PdfError("Typst gave no PDF")
        return made

    def _made(self, path: Path) -> object:
        return typst.Compiler(path, root=self.folder, font_paths=self.fonts).compile(
            format="pdf", pdf_standards=STANDARDS, timestamp=date(os.environ)
        )


def fonts_of(package: str) -> Path:
    """Return the folder of a package with fonts."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise PdfError(f"pdf_fonts: the package {package} with the fonts is not installed")
    return Path(spec.origin).parent


def date(environment: Mapping[str, str]) -> int:
    """Return the date of the book in seconds since 1970; it never depends on the clock.

    >>> date({}), date({"SOURCE_DATE_EPOCH": "1700000000"})
    (0, 1700000000)
    """
    given = environment.get(EPOCH) or "0"
    if not given.isdecimal():
        raise PdfError(f"{EPOCH}: found {given!r}, allowed: a number of seconds since 1970")
    return int(given)


def complaint(error: typst.TypstError, source: str) -> str:
    """Return Typst's complaint on one line that names page and line of the manual."""
    found = [int(line) for line in _WHERE.findall(error.diagnostic)]
    place = origin(source, found[0]) if found else ""
    hints = "".join(f" ({hint})" for hint in error.hints)
    return f"{place}{error.message}{hints}".replace("\n", " ")


def origin(source: str, line: int) -> str:
    r"""Return where a line of Typst comes from.

    >>> origin('//@ "guide/index" 7\n#nonsense', 2)
    'guide/index:7: '
    """
    for text in reversed(source.splitlines()[:line]):
        match = _PLACE.match(text)
        if match:
            return f"{json.loads(match[1])}:{match[2]}: "
    return ""
