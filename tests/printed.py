"""What a PDF and what a page of HTML say, letter by letter, so that both can be compared."""

from __future__ import annotations

import ctypes
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from pypdfium2 import PdfDocument, PdfTextObj, raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MATH_FONT = "NewCMMath"
SIGNS = ("∎",)
"""Signs in text that only the font of formulas has."""
VOID = ("br", "hr", "img", "input", "link", "meta", "wbr", "col")
# Typst and browsers write the minus, the dots and the accents of formulas each with a sign of
# their own that looks the same.
ALIKE = str.maketrans({"−": "-", "∗": "*", "⋅": "·", "′": "'", "‖": "∥", "ˆ": "\u0302"})  # noqa: RUF001 - signs


@dataclass
class Said:
    """The text of a page, and beside it the letters of its formulas in no order."""

    text: str = ""
    formulas: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, *, formula: bool) -> None:
        letters = plain(text)
        if formula:
            self.formulas.update(letters)
        else:
            self.text += letters


def plain(text: str) -> str:
    """Return the letters of a text without spaces, ligatures and styles of letters."""
    letters = unicodedata.normalize("NFKC", text).translate(ALIKE)
    return re.sub(r"[\s\u00ad\u200b\u2060-\u2064]+", "", letters)


class Page(HTMLParser):
    """The part of an HTML page that a PDF shows."""

    def __init__(self) -> None:
        super().__init__()
        self.said = Said()
        self.title = ""
        self.open: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("class") or ""))
        if tag == "msqrt":
            # A browser draws the sign by itself.
            self.said.add("√", formula=True)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        hidden = any("headerlink" in classes.split() for _, classes in self.open)
        if "article" not in tags or hidden:
            return
        if "svg" in tags and "text" not in tags:
            return
        if not {*tags} & {"script", "style", "button"}:
            self.said.add(data, formula="math" in tags)
            self.title += data if "h1" in tags else ""


def html_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@dataclass(frozen=True)
class Piece:
    """A piece of text on a sheet, where it is, and whether it belongs to the page's furniture."""

    text: str
    font: str
    furniture: bool
    left: float
    bottom: float
    right: float
    top: float

    @property
    def formula(self) -> bool:
        return MATH_FONT in self.font and self.text.strip() not in SIGNS


def pieces(document: PdfDocument, number: int) -> Iterator[Piece]:
    """Yield the pieces of a sheet in the order in which they were written."""
    sheet = document[number]
    texts = sheet.get_textpage()
    letters = _letters(texts.raw)
    for piece in sheet.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT]):
        assert isinstance(piece, PdfTextObj)
        address = ctypes.cast(piece.raw, ctypes.c_void_p).value
        text = "".join(letters.get(address, ())).encode("utf-16", "surrogatepass").decode("utf-16")
        bounds = piece.get_bounds()
        yield Piece(text, _font(piece), "Artifact" in _marks(piece), *bounds)
    texts.close()
    sheet.close()


def _letters(texts: object) -> dict[int | None, list[str]]:
    """Return the letters of each piece; pdfium takes a hyphen at the end of a line for none."""
    found: dict[int | None, list[str]] = defaultdict(list)
    for index in range(raw.FPDFText_CountChars(texts)):
        piece = raw.FPDFText_GetTextObject(texts, index)
        letter = "-" if raw.FPDFText_IsHyphen(texts, index) == 1 else None
        code = raw.FPDFText_GetUnicode(texts, index)
        found[ctypes.cast(piece, ctypes.c_void_p).value].append(letter or chr(code))
    return found


def _font(piece: PdfTextObj) -> str:
    buffer = ctypes.create_string_buffer(200)
    raw.FPDFFont_GetBaseFontName(raw.FPDFTextObj_GetFont(piece.raw), buffer, 200)
    return buffer.value.decode()


def _marks(piece: PdfTextObj) -> list[str]:
    found = []
    for number in range(raw.FPDFPageObj_CountMarks(piece.raw)):
        mark, length = raw.FPDFPageObj_GetMark(piece.raw, number), ctypes.c_ulong()
        buffer = (ctypes.c_ushort * 64)()
        raw.FPDFPageObjMark_GetName(mark, buffer, 128, length)
        found.append(bytes(buffer)[: length.value].decode("utf-16-le").rstrip("\0"))
    return found
