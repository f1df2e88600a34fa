"""The drift score: what was killed, what is equivalent and why, and what nobody noticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdqdoc.drift.formulas import FormulaScore
    from qdqdoc.drift.kernels import Score

PACKAGE = Path(__file__).parent.parent
EQUIVALENT = Path(__file__).parent / "equivalent"
SCORE = Path(__file__).with_name("score.json")
SOURCES = ("operators", "numerics", "registry", "calls", "formula", "drift")
"""Rooms that the score depends on."""

Reasons = dict[str, dict[str, str]]


def equivalents(folder: Path = EQUIVALENT) -> dict[str, Reasons]:
    """Read which mutants can change no value, and why."""
    held = {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("operators", "shared", "registry", "formulas")
    }
    kernels = held["operators"] | held["shared"] | held["registry"]
    return {"kernels": kernels, "formulas": held["formulas"]}


def digest() -> str:
    """Return the sha256 of everything that the score depends on."""
    files = sorted(path for room in SOURCES for path in (PACKAGE / room).rglob("*.py"))
    total = hashlib.sha256()
    for path in (*sorted(EQUIVALENT.glob("*.json")), *files):
        total.update(path.relative_to(PACKAGE).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def kernel_rows(scores: Iterable[Score], known: Reasons) -> list[dict[str, Any]]:
    """Return one row for each module, its survivors split into equivalent and unnoticed."""
    rows = []
    for one in scores:
        reasons = known.get(one.module, {})
        rows.append(
            {
                "module": one.module,
                "total": one.total,
                "by examples": one.by_examples,
                "by vectors": one.by_vectors,
                "equivalent": sorted(label for label in one.alive if label in reasons),
                "unnoticed": sorted(label for label in one.alive if label not in reasons),
                "gone": sorted(set(reasons) - set(one.alive)),
            }
        )
    return rows


def formula_rows(scores: Iterable[FormulaScore], known: Reasons) -> list[dict[str, Any]]:
    """Return one row for each operator, its survivors split likewise."""
    rows = []
    for one in scores:
        alive = [f"{name}: {label}" for name, labels in one.alive.items() for label in labels]
        reasons = known.get(one.operator, {})
        rows.append(
            {
                "operator": one.operator,
                "total": one.total,
                "killed": one.killed,
                "equivalent": sorted(label for label in alive if label in reasons),
                "unnoticed": sorted(label for label in alive if label not in reasons),
                "gone": sorted(set(reasons) - set(alive)),
            }
        )
    return rows


def complaints(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Say what is wrong: mutants that nobody noticed, and listed ones that are not alive."""
    said = []
    for row in rows:
        name = row.get("module") or row["operator"]
        said += [f"{name}: nobody notices: {label}" for label in row["unnoticed"]]
        said += [f"{name}: listed as equivalent, but it is not alive: {x}" for x in row["gone"]]
    return said
