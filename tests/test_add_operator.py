"""The walk-through of CONTRIBUTING, in a copy of the package: one new file is all that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.score.adding import walk_through

if TYPE_CHECKING:
    from pathlib import Path


def test_one_file_makes_an_operator(tmp_path: Path) -> None:
    """Registry, page, tables, conformance pack, evaluator and drift score follow from the file."""
    files, derived = walk_through(tmp_path)
    assert files == ["operators/halve.py"]
    assert [*derived] == ["kernel", "page", "pack", "refusals", "evaluator", "tables", "score"]
    assert all(derived.values()), derived
