"""D8: the walk-through of CONTRIBUTING in a copy of the package, and the files that it takes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import qdqdoc
from qdqdoc.errors import QdqdocError

PACKAGE = Path(qdqdoc.__file__).parent
ROOT = PACKAGE.parent
PLACE = "operators/halve.py"

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
print("kernel", y[:5].tolist() == [-64, -64, -63, -62, -62])
print("page", page_text(halve).startswith("# Halve (org.example)") and len([*page(halve)]) > 30)
print("pack", sum(case.operator is halve for case in cases()) > 10)
print("refusals", len([*wrong_calls(halve)]) >= 10)
print("evaluator", "Halve" in [cls.__name__ for cls in reference_ops()])
print("tables", "org.example::Halve" in [row[0].text for row in operators().rows])
(one,) = score(["org.example::Halve"], lambda _: None)
print("score", one.total > 3 and one.killed > 3)
"""


def walk_through(folder: Path) -> tuple[list[str], dict[str, bool]]:
    """Add CONTRIBUTING's operator to a copy of the package.

    Returns the files that are not as before, and for each thing that is derived whether the
    operator is in it.
    """
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    found = re.findall(r"```python\n(\"\"\"Halve codes.*?)```", text, re.DOTALL)
    if len(found) != 1:
        raise QdqdocError(f"CONTRIBUTING.md: found {len(found)} operators, allowed: one")
    copy = folder / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / PLACE).write_text(found[0], "utf-8")
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-B", "-c", PROGRAM],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise QdqdocError(f"CONTRIBUTING.md: its operator fails: {done.stderr.strip()[-500:]}")
    held = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    return sorted(_touched(copy)), {name: said == "True" for name, said in held.items()}


def _touched(copy: Path) -> set[str]:
    after = {path.relative_to(copy).as_posix(): path for path in copy.rglob("*") if path.is_file()}
    return {
        name
        for name, path in after.items()
        if not (PACKAGE / name).is_file() or path.read_bytes() != (PACKAGE / name).read_bytes()
    }
