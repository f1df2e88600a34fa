"""The drift score is measured rightly: known errors are made, found, and put back."""

from __future__ import annotations

import ast
import json
import sys
from typing import Any

import pytest

from qdqdoc.drift import cases as drift_cases
from qdqdoc.drift.__main__ import main
from qdqdoc.drift.edits import edits
from qdqdoc.drift.formulas import score as score_formulas
from qdqdoc.drift.kernels import score as score_kernels
from qdqdoc.drift.mutants import mutants
from qdqdoc.drift.report import SCORE, complaints, digest, equivalents, kernel_rows
from qdqdoc.operators import OPERATORS

MODULE = "qdqdoc.operators.ai_onnx.dequantize_linear"


def labels(source: str) -> list[str]:
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    return [edit.label.partition(": ")[2] for edit in edits(function)]


def test_every_kind_of_error_is_made() -> None:
    made = labels(
        "def f(x, axis=-1):\n"
        "    check(x, axis)\n"
        "    if not x and axis < 0:\n"
        "        axis += 2\n"
        "    y = np.clip(np.rint(f32(x) / 2), 0, 255)\n"
        "    return y.astype(np.int32) if x == 'a' else divide(x, y)\n"
    )
    for wanted in (
        "-1 -> 1",
        "check(x, axis) -> nothing",
        "not x and axis < 0 -> not x or axis < 0",
        "axis < 0 -> axis <= 0",
        "axis += 2 -> axis -= 2",
        "f32(x) / 2 -> f32(x) * 2",
        "f32(x) -> x",
        "np.rint -> np.floor",
        "np.clip(np.rint(f32(x) / 2), 0, 255) -> np.rint(f32(x) / 2)",
        "255 -> 256",
        "np.int32 -> np.int16",
        "y.astype(np.int32) -> y",
        "x == 'a' -> x != 'a'",
        "divide -> multiply",
        "divide(x, y) -> divide(y, x)",
    ):
        assert wanted in made, wanted
    assert len(set(made)) == len(made)


def test_prose_is_left_alone() -> None:
    assert labels('def f(x):\n    """Say 1."""\n    raise E(f"{x + 1} of 2")\n') == []


def test_a_mutant_is_put_in_place_and_taken_out() -> None:
    operator = OPERATORS["", "DequantizeLinear"]
    call = next(operator.vectors())
    before = operator.run(call)[0]
    _, touched = drift_cases.traced(lambda: operator.run(call))
    every = [*mutants(sys.modules[MODULE], touched)]
    assert len(every) > 10
    changed = 0
    for mutant in every:
        with mutant.in_place():
            changed += not drift_cases.same(drift_cases.outcome(operator, call), (before,))
        assert drift_cases.same((before,), operator.run(call))
    assert 0 < changed < len(every)


def test_formula_mutants_are_counted() -> None:
    (one,) = score_formulas(["DequantizeLinear"], lambda _: None)
    alive = sum(map(len, one.alive.values()))
    assert one.total == one.killed + alive
    assert one.killed > alive


def test_what_nobody_notices_and_what_is_gone_are_errors() -> None:
    (one,) = score_kernels([MODULE], lambda _: None)
    assert one.total == one.by_examples + one.by_vectors + len(one.alive)
    reasons = {MODULE: dict.fromkeys(["no such mutant", *one.alive[1:]], "because")}
    said = complaints(kernel_rows([one], reasons))
    assert f"{MODULE}: listed as equivalent, but it is not alive: no such mutant" in said
    unnoticed = [line for line in said if "nobody notices" in line]
    assert unnoticed == [f"{MODULE}: nobody notices: {label}" for label in one.alive[:1]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["QLinerConv"], "found 'QLinerConv' (nearest: 'QLinearConv'), allowed: operators"),
        (["DequantizeLinear", "QGem"], "found 'QGem' (nearest: 'com.microsoft::QGemm')"),
        ([f"{MODULE}s"], f"(nearest: '{MODULE}')"),
        (["--wirte"], "found '--wirte', allowed: operators, modules of kernels"),
        (["--write", "QLinearConv"], "--write: found names (QLinearConv), allowed: none"),
    ],
)
def test_an_unknown_name_is_told_of_before_any_work(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("Error: drift: ")
    assert said in err
    assert err.count("\n") == 1


def test_known_names_are_scored(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["DequantizeLinear"]) == 0
    out, _ = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [
        ["D1", MODULE],
        ["D2", "DequantizeLinear"],
    ]


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "python -m qdqdoc.drift com.microsoft::QGemm" in capsys.readouterr().out


def recorded() -> dict[str, Any]:
    held: dict[str, Any] = json.loads(SCORE.read_text(encoding="utf-8"))
    return held


def test_the_recorded_score_is_not_older_than_the_sources() -> None:
    assert recorded()["sources"] == digest(), "run `tox -e drift -- --write`"


def test_every_recorded_mutant_is_noticed_or_listed() -> None:
    held = recorded()
    assert not complaints([*held["kernels"], *held["formulas"]])
    assert len(held["formulas"]) == len(OPERATORS)
    files = {entry.kernel.__module__ for entry in OPERATORS.values()}
    assert files <= {row["module"] for row in held["kernels"]}


@pytest.mark.parametrize("part", ["kernels", "formulas"])
def test_equivalent_mutants_have_reasons(part: str) -> None:
    for name, reasons in equivalents()[part].items():
        assert all(len(reason) > 10 for reason in reasons.values()), name
