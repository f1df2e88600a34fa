"""The recorded comparison with PyTorch, checked without PyTorch; `tox -e torch` runs it again."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from qdqdoc.numerics.formats import tensor
from qdqdoc.pytorch import CASES, inputs, record, recorded, rules
from qdqdoc.pytorch.__main__ import main, needs_newer
from qdqdoc.pytorch.cases import ENGINES, OLDER, Case, Rule
from qdqdoc.sphinxext import pytorch as shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdqdoc.formula import Formula
    from qdqdoc.numerics.formats import Array

LINES = {(one.case, one.engine): one for one in recorded()[1]}
PAIRS = [(case, engine) for case in CASES for engine in case.rules]
SAMPLES = 150


def test_every_case_is_recorded_on_every_engine_and_follows_a_rule() -> None:
    assert set(LINES) == {(case.key, engine) for case, engine in PAIRS}
    assert not [one for one in LINES.values() if one.unexplained]
    assert {engine for _, engine in PAIRS} >= set(ENGINES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_the_record_is_of_these_kernels_and_rules(case: Case) -> None:
    ours = case.ours()
    for engine, rule in case.rules.items():
        held = LINES[case.key, engine]
        answer = rule.answer()
        assert record.digest(ours) == held.ours
        assert record.digest(answer) == held.theirs
        assert record.differing(ours, answer) == held.differing
        assert sum(one.size for one in ours) == held.values


def test_the_inputs_tell_rules_apart() -> None:
    """Of the rules of one case, no two give the same values."""
    for case in CASES:
        by_name = {rule.formula.name: rule for rule in case.rules.values()}
        digests = {record.digest(rule.answer()) for rule in by_name.values()}
        assert len(digests) == len(by_name), case.key


def _reals(given: inputs.Reals) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    shape = given.x.shape
    scale, zero = np.broadcast_to(given.scale, shape), np.broadcast_to(given.zero, shape)
    for x, s, z in zip(given.x.ravel(), scale.ravel(), zero.ravel(), strict=True):
        yield {"x": x, "s": s, "z": int(z)}, {}


def _product(given: inputs.Product) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    fixed = {"s_x": given.s_x, "s_w": given.s_w, "s_y": given.s_y, "z_y": int(given.z_y)}
    for row in given.sums:
        for acc, b in zip(row, given.bias, strict=True):
            yield {**fixed, "acc": int(acc), "b": b}, {}


def _addition(given: inputs.Addition) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    fixed = {name: getattr(given, name) for name in ("s_a", "s_b", "s_y", "z_a", "z_b")}
    fixed |= {"z_y": int(given.z_y), "h": rules.unit(given)}
    for a, b in zip(given.a.ravel(), given.b.ravel(), strict=True):
        yield {**fixed, "a": int(a), "b": int(b)}, {}


def _pool(given: inputs.Pool) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for window in given.windows.reshape(-1, given.windows.shape[-1]):
        values = {"x": window, "z": int(given.zero), "n": len(window)}
        yield values, {"K": range(len(window))}


BINDINGS: dict[type, Any] = {
    inputs.Reals: _reals,
    inputs.Product: _product,
    inputs.Addition: _addition,
    inputs.Pool: _pool,
}

FORMULAS = [
    (rules.PER_TENSOR, rules.per_tensor, inputs.reals()),
    (rules.PER_CHANNEL, rules.per_channel, inputs.channels()),
    (rules.DECOMPOSED, rules.decomposed, inputs.reals()),
    (rules.FAKE, rules.fake, inputs.reals()),
    (rules.STUBS, rules.stubs, inputs.reals()),
    (rules.DEQUANTIZE, lambda given: rules.dequantized(given.x, given), inputs.codes()),
    (rules.FBGEMM, rules.fbgemm, inputs.products(bias=True)),
    (rules.QNNPACK, rules.qnnpack, inputs.products(bias=True)),
    (rules.ONEDNN_CONV, rules.onednn_conv, inputs.products(bias=True)),
    (rules.ONEDNN_LINEAR, rules.onednn_linear, inputs.products(bias=True)),
    (rules.ONEDNN_CONV_OLDER, rules.onednn_conv_older, inputs.products(bias=True)),
    (rules.ONEDNN_LINEAR_OLDER, rules.onednn_linear_older, inputs.products(bias=True)),
    (rules.ADD, rules.add, inputs.additions()),
    (rules.ADD_QNNPACK, rules.add_qnnpack, inputs.additions()),
    (rules.MEAN, rules.mean, inputs.pools()),
    (rules.MEAN_QNNPACK, rules.mean_qnnpack, inputs.pools()),
]


@pytest.mark.parametrize(
    ("formula", "function", "sets"), FORMULAS, ids=[formula.name for formula, *_ in FORMULAS]
)
def test_formula_and_function_of_a_rule_agree(
    formula: Formula, function: Callable[[Any], Array], sets: tuple[Any, ...]
) -> None:
    draw = np.random.default_rng(11)
    for given in sets:
        answer: Array = function(given).ravel()
        elements = [*BINDINGS[type(given)](given)]
        assert len(elements) == answer.size
        for index in draw.choice(answer.size, min(SAMPLES // len(sets) + 1, answer.size)):
            values, taps = elements[index]
            types = {"T": given.kind} if formula.types else {}
            assert formula.evaluate(values, sets=taps, types=types) == answer[index], values


def test_every_rule_has_been_compared_with_its_formula() -> None:
    known = {formula.name for formula, *_ in FORMULAS} | {rules.RELU.name}
    assert set(shown.rules()) == known


def test_a_record_that_does_not_fit_is_told() -> None:
    now = [*LINES.values()]
    assert not [*record.complaints(now)]
    first, *others = now
    stale = [*record.complaints([replace(first, ours="another kernel"), *others])]
    assert stale == ["quantize on any: ours changed since it was recorded"]
    (lost, changed) = record.complaints([replace(first, unexplained=7), *others])
    assert lost == f"quantize on any: 7 of {first.values} values follow no rule"
    assert changed == "quantize on any: unexplained changed since it was recorded"
    assert [*record.complaints(others)] == ["quantize on any: recorded, and gone"]
    assert not [*record.complaints(others, complete=False)]
    unknown = [*record.complaints([*now, replace(first, engine="new")])]
    assert unknown == ["quantize on new: not recorded"]


def test_a_line_counts_what_differs_from_kernel_and_rule() -> None:
    ours, theirs = [tensor("int8", [1, 2, 3])], [tensor("int8", [1, 5, 9])]
    rule = Rule(rules.RELU, lambda: [tensor("int8", [1, 5, 4])])
    case = Case("key", "name", "peer", lambda: ours, {"any": rule})
    made = record.line(case, "any", rule, theirs)
    assert (made.values, made.differing, made.unexplained) == (3, 2, 1)


def test_only_lines_of_the_newer_path_are_left_out_on_older_processors() -> None:
    left = {(case.key, engine) for case, engine in PAIRS if needs_newer(case, engine)}
    convolutions = {(key, e) for key in ("conv", "conv-bias") for e in ("x86", "onednn")}
    assert left == convolutions | {("linear", "onednn"), ("linear-bias", "onednn")}
    assert not [pair for pair in left if pair[1] == OLDER]


def test_without_torch_there_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main([]) == 2
    said = capsys.readouterr().err
    assert said == "Error: torch is missing: pip install torch torchao, or run `tox -e torch`\n"


def test_the_command_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "tox -e torch -- --write" in capsys.readouterr().out
    assert main(["--wrong"]) == 2
    assert capsys.readouterr().err == "Error: found --wrong, allowed: --write\n"


def test_the_page_shows_the_record() -> None:
    table = shown.counted()
    named = [engine for row in table.rows for engine in str(row[1]).split("; ")]
    assert len(named) == len(LINES)
    held = {(one.values, one.differing, one.unexplained) for one in LINES.values()}
    assert {row[3:6] for row in table.rows} == held
    assert shown.together()[0] == sum(one.values for one in LINES.values())
