"""The manual's pages as files: what can be said of them without building."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from qdqdoc.extract import extract
from qdqdoc.operators import OPERATORS
from qdqdoc.sphinxext.boundary import first_grid, type_table
from qdqdoc.sphinxext.operator_pages import write_pages

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "source"
OPERATOR_PAGES = SOURCE / "operators"
PAGES = sorted(
    p for p in SOURCE.rglob("*.md") if OPERATOR_PAGES not in p.parents or p.stem == "index"
)


def test_adding_an_operator_adds_its_page(tmp_path: Path) -> None:
    folder = tmp_path / "operators"
    folder.mkdir()
    (folder / "index.md").write_text("# Operators\n")
    (folder / "of_an_operator_that_is_gone.md").write_text("")
    config = SimpleNamespace(qdqdoc_operators=None)
    write_pages(SimpleNamespace(srcdir=tmp_path, config=config))  # type: ignore[arg-type] # all that it uses
    pages = {
        path.relative_to(folder).with_suffix("").as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*.md")
    }
    assert len(pages) == len(OPERATORS) + 1
    gemm = "# QGemm (com.microsoft)\n\n```{qdq-operator} com.microsoft::QGemm\n```\n"
    assert pages["com_microsoft/qgemm"] == gemm
    assert pages["qlinear_conv"] == "# QLinearConv\n\n```{qdq-operator} QLinearConv\n```\n"


def test_the_pages_of_operators_are_listed_whatever_they_are() -> None:
    index = (OPERATOR_PAGES / "index.md").read_text("utf-8")
    assert "```{toctree}\n:maxdepth: 1\n:glob:\n\n*\ncom_microsoft/*\n```" in index


def test_every_source_that_is_cited_is_in_the_bibliography() -> None:
    known = set(
        re.findall(r"^@\w+\{([\w-]+),", (SOURCE / "references.bib").read_text(), re.MULTILINE)
    )
    cited = {key for entry in OPERATORS.values() for key in entry.cites}
    texts = [*PAGES, *(ROOT / "qdqdoc").rglob("*.py")]
    for path in texts:
        found = re.findall(r"[:{]cite:\w+[:}]`([\w, -]+)`", path.read_text(encoding="utf-8"))
        cited.update(key.strip() for keys in found for key in keys.split(","))
    assert cited <= known, cited - known


@pytest.mark.parametrize("name", ["resnet8_int8.onnx", "resnet8_uint8.onnx"])
def test_the_round_trip_stays_within_the_bound_that_is_proved(name: str) -> None:
    grid = first_grid(extract(ROOT / "models" / name))
    assert grid is not None
    assert 0 < grid.excess() < grid.excess_allowed() < 1


def test_the_types_are_those_of_onnx() -> None:
    rows = {kind: row[1:] for kind, row in zip(type_table().keys, type_table().rows, strict=True)}
    assert rows["int4"] == (4, -8, 7, 16, 21)
    assert rows["float8e4m3fn"] == (8, -448, 448, 253, 19)
