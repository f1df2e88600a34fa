"""The page of each operator, made from the registry: adding an operator adds its page."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from qdqdoc.operators import OPERATORS
from qdqdoc.sphinxext.reference import operator_page

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from qdqdoc.registry import Operator

INDEX = "index.md"


def register(app: Sphinx) -> None:
    """Write the pages before Sphinx looks which there are."""
    app.connect("builder-inited", write_pages)


def write_pages(app: Sphinx) -> None:
    """Write a page for each operator, and remove those of operators that are gone.

    A manual without the folder ``operators`` has no such pages; the setting ``qdqdoc_operators``
    names those that are wanted, if not all are.
    """
    folder = Path(app.srcdir, "operators")
    if not (folder / INDEX).is_file():
        return
    chosen = app.config.qdqdoc_operators
    entries = [e for e in OPERATORS.values() if chosen is None or e.full_name in chosen]
    wanted = {page_file(entry): page_text(entry) for entry in entries}
    for path in folder.rglob("*.md"):
        if path.relative_to(folder).as_posix() not in {INDEX, *wanted}:
            path.unlink()
    for name, text in wanted.items():
        _write(folder / name, text)


def page_file(operator: Operator) -> str:
    """Return the path of an operator's page: in the folder of its domain, if that is not onnx's."""
    return operator_page(operator.domain, operator.name).partition("/")[2] + ".md"


def page_text(operator: Operator) -> str:
    """Return the source of an operator's page: a heading and the directive that does the rest."""
    title = f"{operator.name} ({operator.domain})" if operator.domain else operator.name
    return f"# {title}\n\n```{{qdq-operator}} {operator.full_name}\n```\n"


def _write(path: Path, text: str) -> None:
    """Leave a page that is right alone, so that it is not read again; several builds may run."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".page-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)
