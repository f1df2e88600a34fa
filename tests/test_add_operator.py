"""The walk-through of CONTRIBUTING, in a copy of the package: one new file is all that it takes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from test_house import PACKAGE, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import numpy as np
from qdqdoc.conformance import cases
from qdqdoc.drift.formulas import score
from qdqdoc.evaluator import reference_ops
from qdqdoc.operators import OPERATORS
from qdqdoc.calls.wrong import wrong_calls
from qdqdoc.sphinxext.operator_pages import page_text
from qdqdoc.sphinxext.reference import page
from qdqdoc.sphinxext.support import operators

halve = OPERATORS["org.example", "Halve"]
(y,) = halve.run(next(halve.vectors()))
print(y[:5].tolist(), page_text(halve).splitlines()[0], len([*page(halve)]) > 30)
print(sum(case.operator is halve for case in cases()) > 10, len([*wrong_calls(halve)]) >= 10)
print("Halve" in [cls.__name__ for cls in reference_ops()])
print("org.example::Halve" in [row[0].text for row in operators().rows])
(one,) = score(["org.example::Halve"], lambda _: None)
print(one.total > 3, one.killed > 3)
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "qdqdoc", ignore=ignored)
    return tmp_path


def test_one_file_makes_an_operator(copy: Path) -> None:
    """Registry, page, tables, conformance pack, evaluator and drift score follow from the file."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (source,) = re.findall(r"```python\n(\"\"\"Halve codes.*?)```", text, re.DOTALL)
    (copy / "qdqdoc" / "operators" / "halve.py").write_text(source, "utf-8")
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", PROGRAM], cwd=copy, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    assert done.stdout.splitlines() == [
        "[-64, -64, -63, -62, -62] # Halve (org.example) True",
        "True True",
        "True",
        "True",
        "True True",
    ]
