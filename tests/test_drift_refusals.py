"""Whatever a page gets wrong fails the build, with page and line, each time it is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_manual import EXTENSIONS, build

ROOT = Path(__file__).parent.parent

WRONG = {
    "an expression": ("Bad {qdq}`1 / 0`.", "ZeroDivisionError"),
    "no expression": ("Bad {qdq}`1 +`.", "SyntaxError"),
    "an unknown name": ("Bad {qdq}`nothing`.", "NameError"),
    "an expression in a caption": (
        '```{qdq-table} Table(("a",), ())\n:caption: {qdq}`nothing`\n```',
        "NameError",
    ),
    "an expression in a choice": ("```{qdq-when} nothing\n```", "NameError"),
    "an unknown option of a table": ("```{qdq-table} 1\n:colour: red\n```", "colour"),
    "an unknown option of a run": ("```{qdq-run}\n:colour: red\n1\n```", "colour"),
    "an unknown option of an operator": (
        "```{qdq-operator} QLinearConv\n:x: y\n```",
        "none permitted",
    ),
    "an unknown option of a choice": (
        "```{qdq-when} True\n:x: y\n```",
        "found ':x: y', allowed: no options",
    ),
    "an unknown directive": ("```{qdq-tabel} 1\n```", "qdq-tabel"),
    "an unknown role": ("Bad {qbq}`1`.", "qbq"),
    "a key that is not in the bibliography": ("{cite:t}`nobody2018`", "nobody2018"),
    "a label that does not exist": ("{ref}`nowhere`", "nowhere"),
    "a typed numeral": ("It is 3847.", "3847"),
}
SETTINGS = {
    "extensions": [*EXTENSIONS, "sphinxcontrib.bibtex"],
    "bibtex_bibfiles": [str(ROOT / "source" / "references.bib")],
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=WRONG)
def test_a_wrong_page_is_refused_each_time(tmp_path: Path, text: str, complaint: str) -> None:
    for _ in range(2):
        built = build(tmp_path, f"# Page\n\nGood.\n\n{text}\n", **SETTINGS)
        assert built.code == 1
        lines = [line for line in built.said.splitlines() if complaint in line]
        assert lines, built.said
        assert all("index.md:" in line for line in lines[:1]), built.said


MODELS = {
    "missing": (None, "is no file"),
    "empty": (b"", "empty.onnx"),
    "broken": (b"\x08\x07\xff\xff\xff\xff", "broken.onnx"),
    "no JSON": (b"{", "no JSON.json"),
}


@pytest.mark.parametrize(("kind", "content", "complaint"), [(k, *v) for k, v in MODELS.items()])
def test_a_wrong_model_is_refused_each_time(
    tmp_path: Path, kind: str, content: bytes | None, complaint: str
) -> None:
    model = tmp_path / (f"{kind}.json" if "JSON" in kind else f"{kind}.onnx")
    if content is not None:
        model.write_bytes(content)
    for _ in range(2):
        text = "# Page\n\n{qdq}`document.total_nodes`\n"
        built = build(tmp_path, text, qdqdoc_model=str(model))
        assert built.code == 1
        assert "index.md:3: ERROR: qdq `document.total_nodes`" in built.said
        assert complaint in built.said
