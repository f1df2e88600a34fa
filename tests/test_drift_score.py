"""The record of the whole score: new enough, without a hole, and compared as it says."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from small_manual import build

from qdqdoc.score import __main__ as command
from qdqdoc.score import record
from qdqdoc.score.record import NOTHING, baselines, complaints, recorded, verdicts
from qdqdoc.sphinxext import drift

if TYPE_CHECKING:
    from pathlib import Path

MEASURES = ["D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8"]


def test_the_record_is_not_older_than_the_sources() -> None:
    assert recorded()["sources"] == record.digest(), "run `tox -e drift -- --write`"


def test_nothing_recorded_is_unnoticed() -> None:
    assert not complaints(recorded())
    assert sum(row["made"] for row in recorded()["values"]) > 250
    assert sum(row["made"] for row in recorded()["damage"]) > 100_000


def broken(*path: Any, value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    score = copy.deepcopy(recorded())
    part: Any = score
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return score


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (broken("values", 0, "unseen", value=["w[3]"]), "D3 nobody sees: w[3]"),
        (broken("numerals", "typed", value=["index: 7"]), "D4 typed: index: 7"),
        (broken("damage", 0, "noticed", value=1), "D5 conformance pack, a bit flipped: 1 of"),
        (broken("damage", 0, "made", value=0), "of 0"),
        (broken("examples", 0, "executed", value=3), "shown, 3 executed"),
        (broken("idle", value=["faq: 'x'"]), "D6 nobody runs: faq: 'x'"),
        (broken("adding", "files", value=["a", "b"]), "D8 adding an operator took 2 files: a, b"),
        (broken("adding", "derived", "page", value=False), "D8 the new operator is not in: page"),
        (NOTHING | {"adding": {"files": [], "derived": {}}}, "took 0 files"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_hole_is_told(score: dict[str, Any], said: str) -> None:
    assert said in "\n".join(complaints(score))


def test_a_verdict_makes_a_record_stale_and_a_longer_page_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = broken("numerals", "texts", value=1)
    assert verdicts(longer) == verdicts(recorded())
    assert not command.compare(longer, write=False)
    (said,) = command.compare(broken("numerals", "typed", value=["x"]), write=False)
    assert said.endswith("is stale: run `tox -e drift -- --write`")
    monkeypatch.setattr(command, "SCORE", tmp_path / "score.json")
    assert command.compare(longer, write=False)
    assert not command.compare(longer, write=True)
    monkeypatch.setattr(record, "SCORE", tmp_path / "score.json")
    assert recorded() == longer


def test_names_are_those_of_mutants(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["QLinerConv"]) == 2
    assert "nearest: 'QLinearConv'" in capsys.readouterr().err
    assert command.main(["--help"]) == 0
    assert "python -m qdqdoc.score --write" in capsys.readouterr().out


def test_the_page_has_every_measure() -> None:
    assert [row[0] for row in drift.whole().rows] == MEASURES
    assert [row["measure"] for row in baselines()] == MEASURES
    found: dict[Any, Any] = {row[0]: row[2:] for row in drift.whole().rows}
    for measure in ("D1", "D2", "D3", "D5", "D6", "D7"):
        tried, noticed, goal = found[measure]
        assert tried == noticed > 0, measure
        assert goal == "all"
    assert found["D4"][1:] == (0, "none")
    assert found["D8"][1:] == (1, "one")


IDLE = {
    "python": "```python\nx = one\n```",
    "a console": "```console\n$ ls\n```",
    "a prompt without a language": "```\n$ ls\n```",
    "an import": "```text\nimport numpy\n```",
    "reST": "```{eval-rst}\n::\n\n    from a import b\n```",
}


@pytest.mark.parametrize("block", IDLE.values(), ids=IDLE)
def test_a_block_that_nobody_runs_fails_the_build(tmp_path: Path, block: str) -> None:
    text = "# T\n\n```{qdq-run}\n1 + 1\n```\n\n```{qdq-text} '$ computed'\n```\n"
    assert not build(tmp_path, text, qdqdoc_examples=True).code
    built = build(tmp_path, f"{text}\n{block}\n", qdqdoc_examples=True)
    assert built.code
    assert "nobody runs index: " in built.said
