"""Compute the drift score: ``python -m qdqdoc.drift [--write | NAME ...]``.

A name is a module (``qdqdoc.operators.ai_onnx.qlinear_conv``) or an operator (``QLinearConv``,
``com.microsoft::QGemm``). Without names everything is tried, and compared with the recorded score,
or recorded with ``--write``. It exits with 1 if something is unnoticed or stale, and with 2 if
there is no such name.

For example: ``python -m qdqdoc.drift com.microsoft::QGemm qdqdoc.numerics.rounding``
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from qdqdoc.drift import formulas, kernels
from qdqdoc.drift.kernels import Score
from qdqdoc.drift.names import expect_known
from qdqdoc.drift.report import (
    SCORE,
    complaints,
    digest,
    equivalents,
    formula_rows,
    kernel_rows,
)
from qdqdoc.errors import QdqdocError
from qdqdoc.operators import OPERATORS
from qdqdoc.witnesses import compared_declarations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.drift.formulas import FormulaScore


def tell(one: Score | FormulaScore) -> None:
    """Print one line for what is ready."""
    if isinstance(one, Score):
        if one.total:
            killed = f"{one.by_examples:>6}{one.by_examples + one.by_vectors:>6}"
            sys.stdout.write(f"D1 {one.module:<64}{one.total:>6}{killed}\n")
    else:
        sys.stdout.write(f"D2 {one.operator:<64}{one.total:>6}{one.killed:>12}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Score, print, and return the exit code."""
    if {"-h", "--help"} & {*arguments}:
        sys.stdout.write(__doc__ or "")
        return 0
    write = "--write" in arguments
    names = [name for name in arguments if name != "--write"]
    try:
        expect_known(names, write=write)
    except QdqdocError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    return _score(names, write=write)


def _score(names: Sequence[str], *, write: bool) -> int:
    entries = [entry for entry in OPERATORS.values() if entry.full_name in names]
    places = [entry.kernel.__module__ for entry in entries]
    places += [name for name in names if name.startswith("qdqdoc.")]
    known = equivalents()
    sys.stdout.write(f"   {'mutants':<63}{'total':>7}{'examples':>6}{'all':>4}\n")
    rows: dict[str, list[dict[str, object]]] = {"kernels": [], "formulas": []}
    if places or not names:
        rows["kernels"] = kernel_rows(kernels.score(places, tell), known["kernels"])
    if entries or not names:
        chosen = [entry.full_name for entry in entries]
        rows["formulas"] = formula_rows(formulas.score(chosen, tell), known["formulas"])
    said = complaints([*rows["kernels"], *rows["formulas"]])
    count, different = compared_declarations(OPERATORS.values())
    same = count - len(different)
    sys.stdout.write(f"D7 {'versions that are declared so':<64}{count:>6}{same:>12}\n")
    said += [f"{name}: is declared otherwise" for name in different]
    if not names:
        said += _compare({"sources": digest(), **rows}, write=write)
    sys.stdout.writelines(f"{line}\n" for line in said)
    return 1 if said else 0


def _compare(score: dict[str, object], *, write: bool) -> list[str]:
    text = json.dumps(score, indent=1, sort_keys=True) + "\n"
    if write:
        SCORE.write_text(text, encoding="utf-8")
        return []
    if not SCORE.is_file() or SCORE.read_text(encoding="utf-8") != text:
        return [f"{SCORE.name} is stale: run `tox -e drift -- --write`"]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
