"""Compute the whole drift score: ``python -m qdqdoc.score [--write | NAME ...]``.

Mutants come first (D1, D2) and the declarations (D7); with names, which are those of
``python -m qdqdoc.drift``, nothing else is tried. Then the stored values of the running example
(D3), typed numerals (D4), damaged files (D5), examples (D6) and the files that a new operator takes
(D8). It compares with what is recorded, or records with ``--write``. It exits with 1 if something
is unnoticed or stale, and with 2 if it cannot be computed.

For example: ``python -m qdqdoc.score --write``
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from qdqdoc.drift.__main__ import main as score_mutants
from qdqdoc.errors import QdqdocError
from qdqdoc.extract import extract
from qdqdoc.guide.pages import manual
from qdqdoc.score import adding, damage
from qdqdoc.score.doctests import ROOT, doctests
from qdqdoc.score.nudging import nudges
from qdqdoc.score.record import SCORE, complaints, digest, recorded, verdicts
from qdqdoc.sphinxext import counting, rereading

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ROOT / "models"
MODEL = "resnet8_int8.onnx"


def main(arguments: list[str]) -> int:
    """Score, print, and return the exit code."""
    if {"-h", "--help"} & {*arguments}:
        sys.stdout.write(__doc__ or "")
        return 0
    code = score_mutants(arguments)
    if code == 2 or {*arguments} - {"--write"}:  # noqa: PLR2004 - a usage error by convention
        return code
    try:
        score = compute(tell)
    except QdqdocError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    said = complaints(score) + compare(score, write="--write" in arguments)
    sys.stdout.writelines(f"{line}\n" for line in said)
    return 1 if said else code


def tell(measure: str, what: str, made: int, noticed: int) -> None:
    """Print one line for what is ready."""
    sys.stdout.write(f"{measure} {what:<64}{made:>6}{noticed:>12}\n")
    sys.stdout.flush()


def show(done: int, total: int) -> None:
    """Show on a terminal how far it is."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done}/{total}" if done < total else "\r\033[K")
        sys.stderr.flush()


def compute(tell: Callable[[str, str, int, int], None]) -> dict[str, Any]:
    """Compute all but mutants and declarations; ``tell`` hears of each part that is ready."""
    score: dict[str, Any] = {"sources": digest(), "values": values(), "damage": damages()}
    score["models"] = damage.digests(damage.committed(MODELS))
    for row in score["values"]:
        tell("D3", f"stored values of {MODEL}: {row['kind']}", row["made"], row["noticed"])
    for row in score["damage"]:
        tell("D5", f"{row['of']}: {row['damage']}", row["made"], row["noticed"])
    found = counting.read(manual().home)
    score["numerals"] = {
        "pages": found.pages,
        "texts": found.texts,
        "computed": found.computed,
        "typed": found.typed,
    }
    tell("D4", "numerals that were typed", found.texts, len(found.typed))
    executed, shown = doctests()
    score["examples"] = [
        {"of": "pages, as HTML and PDF", "shown": found.shown, "executed": found.executed},
        {"of": "docstrings, README, CONTRIBUTING", "shown": shown, "executed": executed},
    ]
    score["idle"] = found.idle
    for row in score["examples"]:
        tell("D6", f"examples of {row['of']}", row["shown"], row["executed"])
    with TemporaryDirectory() as place:
        files, derived = adding.walk_through(Path(place))
    score["adding"] = {"files": files, "derived": derived}
    tell("D8", "files that a new operator takes", len(files), len(derived))
    return score


def values() -> list[dict[str, Any]]:
    """Nudge every stored value of the running example and read the guide each time (D3)."""
    document = extract(MODELS / MODEL)
    every = [*nudges(document)]
    made: Counter[str] = Counter()
    unseen: dict[str, list[str]] = {nudge.kind: [] for nudge in every}
    for nudge, seen in rereading.seen(manual().home, document, every):
        made[nudge.kind] += 1
        if not seen:
            unseen[nudge.kind].append(nudge.place)
        show(made.total(), len(every))
    return [
        {"kind": kind, "made": made[kind], "noticed": made[kind] - len(places), "unseen": places}
        for kind, places in sorted(unseen.items())
    ]


def damages() -> list[dict[str, Any]]:
    """Damage the conformance pack and the committed models (D5)."""
    rows = []
    for name, (files, found) in (
        ("conformance pack", damage.pack(show)),
        ("committed models", damage.models(MODELS)),
    ):
        for kind in damage.DAMAGES:
            noticed = found[kind, True]
            made = noticed + found[kind, False]
            row = {"of": name, "files": files, "damage": kind, "made": made, "noticed": noticed}
            rows.append(row)
    return rows


def compare(score: dict[str, Any], *, write: bool) -> list[str]:
    """Record a score, or say that another one is recorded."""
    if write:
        text = json.dumps(score, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        SCORE.write_text(text, encoding="utf-8")
        return []
    if not SCORE.is_file() or verdicts(recorded()) != verdicts(score):
        return [f"{SCORE.parent.name}/{SCORE.name} is stale: run `tox -e drift -- --write`"]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
