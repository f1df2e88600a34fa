"""What was recorded: the score of everything but mutants, and what it depends on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from qdqdoc.drift.report import digest as digest_of_mutants

SCORE = Path(__file__).with_name("score.json")
BASELINES = Path(__file__).with_name("baselines.json")
PACKAGE = Path(__file__).parent.parent
SOURCES = ("conformance", "document", "extract", "score")
"""Rooms that the counts of values and damage depend on, besides those of the mutants."""
FILES = ("facts/stored.py",)
NOTHING: dict[str, Any] = {
    "sources": "",
    "values": [],
    "numerals": {"pages": 0, "texts": 0, "computed": 0, "typed": []},
    "damage": [],
    "examples": [],
    "idle": [],
    "adding": {"files": [""], "derived": {}},
    "models": {},
}
VOLUMES = ("pages", "texts", "computed", "shown", "executed")
"""Counts that grow with every sentence: they are told, a record is not stale for them."""


def digest() -> str:
    """Return the sha256 of what the counts of values and damage depend on."""
    total = hashlib.sha256(digest_of_mutants().encode())
    paths = [path for room in SOURCES for path in (PACKAGE / room).rglob("*.py")]
    for path in sorted([*paths, *(PACKAGE / name for name in FILES)]):
        total.update(path.relative_to(PACKAGE).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def recorded() -> dict[str, Any]:
    """Return the record; where there is none yet, that of nothing."""
    if not SCORE.is_file():
        return NOTHING
    held: dict[str, Any] = json.loads(SCORE.read_text(encoding="utf-8"))
    return held


def baselines() -> list[dict[str, str]]:
    """Return what was measured of others, by the number of the measure."""
    held: list[dict[str, str]] = json.loads(BASELINES.read_text(encoding="utf-8"))
    return held


def complaints(score: dict[str, Any]) -> list[str]:
    """Say what a score has that may not be."""
    said = [f"D3 nobody sees: {place}" for row in score["values"] for place in row["unseen"]]
    said += [f"D4 typed: {place}" for place in score["numerals"]["typed"]]
    for row in score["damage"]:
        if row["made"] != row["noticed"] or not row["made"]:
            said.append(f"D5 {row['of']}, {row['damage']}: {row['noticed']} of {row['made']}")
    for row in score["examples"]:
        if row["shown"] != row["executed"] or not row["shown"]:
            said.append(f"D6 {row['of']}: {row['shown']} shown, {row['executed']} executed")
    said += [f"D6 nobody runs: {place}" for place in score["idle"]]
    files, derived = score["adding"]["files"], score["adding"]["derived"]
    if len(files) != 1:
        said.append(f"D8 adding an operator took {len(files)} files: {', '.join(files)}")
    said += [f"D8 the new operator is not in: {name}" for name, good in derived.items() if not good]
    return said


def verdicts(score: dict[str, Any]) -> dict[str, Any]:
    """Return a score without its volumes: what must be as it was recorded."""
    numerals = {key: v for key, v in score["numerals"].items() if key not in VOLUMES}
    examples = [{k: v for k, v in row.items() if k not in VOLUMES} for row in score["examples"]]
    return {**score, "numerals": numerals, "examples": examples}
