"""The builder of the PDF, on projects of one page or two."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from docutils import nodes
from printed import Said, pieces
from pypdfium2 import PdfDocument
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from qdqdoc.pdf.compiling import complaint
from qdqdoc.pdf.mathematics import MathError, mathematics
from qdqdoc.pdf.pictures import drawing
from qdqdoc.pdf.widths import SHAPES

if TYPE_CHECKING:
    from pathlib import Path

    from qdqdoc.pdf.writer import Writer

# MyST uses what the next Sphinx will not have.
pytestmark = pytest.mark.filterwarnings("ignore:.*MystReferenceResolver.app")

Build = Callable[..., tuple[int, str, "PdfDocument | None"]]


class Strange(nodes.General, nodes.Element):
    """A node that nobody knows."""


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="600pt" height="{0}pt" viewBox="0 0 600 {0}">'
    "{1}</svg>"
)


class Drawing(nodes.raw):
    """A drawing."""


def draw(writer: Writer, node: nodes.Element) -> str:
    return drawing(writer, node, node.astext(), "a drawing")


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Build a page with `-W`, in the same folder each time."""

    def run(
        text: str, *, change: Callable[..., None] | None = None, **pages: str
    ) -> tuple[int, str, PdfDocument | None]:
        source, out = tmp_path / "source", tmp_path / "out"
        source.mkdir(exist_ok=True)
        for name, content in {"index": text, **pages}.items():
            (source / f"{name}.md").write_text(content, encoding="utf-8")
        heard = io.StringIO()
        settings = {
            "project": "book",
            "extensions": ["myst_parser", "qdqdoc.pdf"],
            "myst_enable_extensions": ["colon_fence", "deflist", "dollarmath", "fieldlist"],
            "numfig": True,
        }
        with docutils_namespace():
            app = Sphinx(
                source,
                None,
                out,
                tmp_path / "doctrees",
                "pdf",
                confoverrides=settings,
                status=None,
                warning=heard,
                warningiserror=True,
            )
            builder: Any = app.builder
            builder.rules["Drawing"] = draw
            if change is not None:
                app.connect("doctree-read", change)
            code = 0
            try:
                app.build()
            except Exception as error:  # noqa: BLE001 - the command shows it on one line
                code, heard = 2, io.StringIO(f"{heard.getvalue()}{error}")
        file = out / "book.pdf"
        said = re.sub(r"\x1b\[[\d;]*m", "", heard.getvalue())
        return code or app.statuscode, said, PdfDocument(file) if file.exists() else None

    return run


def add_strange(app: Sphinx, tree: nodes.document) -> None:
    del app
    for paragraph in tree.findall(nodes.paragraph):
        paragraph.append(Strange())


def said(book: PdfDocument | None) -> str:
    assert book is not None
    made = Said()
    for number in range(len(book)):
        for piece in pieces(book, number):
            if not piece.furniture:
                made.add(piece.text, formula=False)
    return made.text


def test_a_node_without_a_rule_fails_with_page_and_line_each_time(build: Build) -> None:
    for _ in range(2):
        code, heard, book = build("# Page\n\nGood.\n\nBad.\n", change=add_strange)
        assert code
        assert "index.md:3: ERROR: no rule for the node Strange" in heard
        assert "index.md:5: ERROR: no rule for the node Strange" in heard
        assert book is None, "no half of a book"


@pytest.mark.parametrize(
    ("text", "complaint_shown"),
    [
        ("# P\n\n<b>x</b>\n", "index.md:3: ERROR: no rule for HTML"),
        ("# P\n\n$\\nonsense$\n", "index.md:3: ERROR: math: "),
        ("# P\n\n[a](missing.zip)\n", "index.md:3"),
        ("# P\n\n![a](missing.svg)\n", "index.md:3"),
    ],
)
def test_what_cannot_be_shown_fails_with_page_and_line(
    build: Build, text: str, complaint_shown: str
) -> None:
    for _ in range(2):
        code, heard, _ = build(text)
        assert code
        assert complaint_shown in heard


ALL = """# First page

Text with *emphasis*, **strong**, `code`, $x_1$ and a note[^1]. See [](other.md) and {ref}`here`.

1. one
2. two

- dot

Term
: Meaning.

:name: value

> Quoted.

```python
print("a  b")
```

:::{note}
Take care.
:::

$$ y = x $$ (second)

Equation {eq}`second`.

(here)=
## Section

:::{table} A table
| a | b |
|---|--:|
| 1 | 2 |
:::

[^1]: The note.

```{toctree}
:caption: Part
other
```
"""
OTHER = "# Other\n\nText.\n\n---\n\nLine\\\nbreak <https://example.org/a_b>.\n"


def test_all_that_myst_has_is_shown(build: Build, tmp_path: Path) -> None:
    code, heard, book = build(ALL, other=OTHER)
    assert code == 0, heard
    once = (tmp_path / "out" / "book.pdf").read_bytes()
    assert build(ALL, other=OTHER)[0] == 0
    assert once == (tmp_path / "out" / "book.pdf").read_bytes(), "the same bytes each time"
    text = said(book)
    for part in (
        *(
            "Textwithemphasis,strong,code,",
            "anote[1].SeeOtherandSection.",
            "1.one2.two",
            "TermMeaning.",
        ),
        *("name:value", "Quoted.", 'print("ab")', "NoteTakecare.", "(1)", "Table1Atable", "ab12"),
        *("[1]Thenote.", "PartOther", "Text.Linebreakhttps://example.org/a_b."),
    ):
        assert part in text, text
    assert book is not None
    assert [item.get_title() for item in book.get_toc()][:4] == [
        *("Contents", "First page", "Section", "Part"),
    ]


@pytest.mark.parametrize("columns", [3, 12, 40])
def test_a_table_stays_on_its_sheet_whatever_is_in_it(build: Build, columns: int) -> None:
    names = [f"resnet/stage_{k}/{'x' * 50}/BiasAdd_quantized" for k in range(columns)]
    row = "|" + "|".join(f"`{name}` {'y' * 40}" for name in names) + "|\n"
    table = "|" + "h|" * columns + "\n|" + "---|" * columns + "\n" + row * 30
    code, heard, book = build(f"# Page\n\n{table}")
    assert code == 0, heard
    assert book is not None
    boxes = 0
    for number in range(len(book)):
        width, height = book[number].get_size()
        for piece in pieces(book, number):
            assert 60 < piece.left <= piece.right < width - 60, piece
            assert 20 < piece.bottom <= piece.top < height - 20, piece
            boxes += 1
    text = said(book)
    assert boxes > columns * 30
    assert text.count("/BiasAdd_quantized") == columns * 30
    # The head stands on each sheet, as furniture on all but the first.
    sheets = [[piece.text.strip() for piece in pieces(book, n)] for n in range(len(book))]
    filled = [sheet.count("h") for sheet in sheets if "BiasAdd" in "".join(sheet)]
    assert len(filled) > 1
    assert set(filled) == {columns}


def test_letters_that_no_font_has_are_spelled(build: Build) -> None:
    svg = SVG.format(9, "<text y='9'>图x</text>")

    def add(app: Sphinx, tree: nodes.document) -> None:
        del app
        tree.append(Drawing("", svg, format="html"))

    code, heard, book = build("# 层\n\nIn 卷 `积/1` é ж. 😀\n\n| 卷 |\n|-|\n| ß |\n", change=add)
    assert code == 0, heard
    text = said(book)
    assert "In[U+5377][U+79EF]/1éж.[U+1F600][U+5377]ß" in text
    assert "[U+5C42]" in text
    assert "[U+56FE]x" in text


def test_what_is_announced_stands_on_the_same_sheet(build: Build) -> None:
    many = range(60)
    parts = ["Line.\n\n" * (n % 8) + f"Told{n}:\n\n| a |\n|-|\n| cell{n}x |\n\n" for n in many]
    code, heard, book = build("# Page\n\n" + "".join(parts))
    assert code == 0, heard
    assert book is not None
    assert len(book) > 5
    sheets = ["".join(piece.text for piece in pieces(book, n)) for n in range(len(book))]
    for n in many:
        (told,) = (number for number, text in enumerate(sheets) if f"Told{n}:" in text)
        assert f"cell{n}x" in sheets[told], n


def test_settings_go_from_readable_to_small() -> None:
    assert [shape.across for shape in SHAPES] == sorted(shape.across for shape in SHAPES)


@pytest.mark.parametrize(
    ("latex", "typst"),
    [
        (r"\frac{a}{2}", 'frac(\\u{61}, "2")'),
        (r"\sqrt{x}", r"sqrt(\u{78})"),
        (r"\bigl(a\bigr)", r"lr(\u{28}, size: #1.2em)\u{61}lr(\u{29}, size: #1.2em)"),
        (r"\left(\frac{a}{b}\right)", r"lr(\u{28}frac(\u{61}, \u{62})\u{29})"),
        (r"\hat x", r"accent(\u{78}, hat)"),
        (r"\text{,);}", '",);"'),
    ],
)
def test_formulas_are_translated_sign_by_sign(latex: str, typst: str) -> None:
    assert mathematics(latex, display=False) == typst


@pytest.mark.parametrize("latex", [r"\nonsense", r"\phantom{x}", "{"])
def test_a_formula_without_a_rule_is_an_error(latex: str) -> None:
    with pytest.raises(MathError):
        mathematics(latex, display=True)


def test_a_complaint_of_typst_names_the_page() -> None:
    class Complaint:
        diagnostic = "error: unknown variable\n  --> book.typ:3:2"
        message = "unknown variable: x"
        hints = ()

    source = '//@ "guide/index" 7\n\n#x'
    assert complaint(Complaint(), source) == "guide/index:7: unknown variable: x"  # type: ignore[arg-type]
