"""What the chapters on arithmetic, other ecosystems and corrections compute."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docutils import nodes

from qdqdoc import __version__, facts
from qdqdoc.document import Document, Graph
from qdqdoc.extract import extract
from qdqdoc.sphinxext import arithmetic, citing, corrections, ecosystem, thresholds
from qdqdoc.sphinxext.atlas import RULES, TIES, WILD, Rule, Scales, fixed_point
from qdqdoc.sphinxext.tabular import content
from qdqdoc.sphinxext.thresholds import EXACT, Step, differing, size
from qdqdoc.tables import Quoted, Table, show

ROOT = Path(__file__).parent.parent
MODELS = ["resnet8_int8.onnx", "resnet8_uint8.onnx", "resnet8_int8_per_channel.onnx"]
EMPTY = Document(model_path="empty.onnx", graph=Graph())
HALF = Fraction(1, 2)


@cache
def model(name: str) -> Document:
    return extract(ROOT / "models" / name)


def rows(table: Table) -> list[tuple[Any, ...]]:
    return [*table.rows]


# Thresholds


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("scales", [*WILD, replace(TIES, zero_point=3)], ids=str)
def test_thresholds_say_what_every_accumulator_becomes(rule: Rule, scales: Scales) -> None:
    step = Step("node", scales, -700, 650, -128, 127)
    every = range(step.least, step.most + 1)
    codes = [step.code(rule, accumulator) for accumulator in every]
    assert codes == sorted(codes)
    found = thresholds.thresholds(step, rule)
    expected = [
        next((a for a, reached in zip(every, codes, strict=True) if reached >= code), step.most + 1)
        for code in range(step.low + 1, step.high + 1)
    ]
    assert list(found) == expected
    wrong = [a for a, code in zip(every, codes, strict=True) if code != step.code(EXACT, a)]
    spans = differing(step, rule, EXACT)
    assert [a for first, last in spans for a in range(first, last)] == wrong
    assert size(spans) == len(wrong)


def test_codes_that_differ_by_more_than_a_step_are_counted_once() -> None:
    far = Rule("three steps off", "", "", lambda a, s: EXACT.apply(a, s) + 3)
    step = Step("node", WILD[0], -700, 650, -128, 127)
    wrong = [a for a in range(-700, 651) if step.code(far, a) != step.code(EXACT, a)]
    assert size(differing(step, far, EXACT)) == len(wrong)


@pytest.mark.parametrize("name", MODELS)
def test_what_layers_reach_is_within_what_is_known_of_them(name: str) -> None:
    bounds = {one.node: one for one in facts.bounds(model(name))}
    found = thresholds.steps(model(name))
    assert len(found) == len(bounds)
    for step in found:
        bound = bounds[step.node]
        assert max(-step.least, step.most) == bound.largest
        assert bound.low <= step.least < 0 < step.most <= bound.high


@pytest.mark.parametrize("name", MODELS)
def test_two_roundings_cost_what_the_theorem_says(name: str) -> None:
    found = rows(ecosystem.multipliers(model(name)))
    assert len(found) == len(thresholds.steps(model(name)))
    for _, _, _, _, expected, counted in found:
        assert 0 < expected <= 256
        assert abs(counted - expected) < 0.05 * expected
    if "per_channel" not in name:
        # All that lies between the rails can be reached.
        assert all(128 < row[4] <= 256 for row in found)


def test_a_multiplier_is_stored_as_near_as_its_bits_allow() -> None:
    for step in thresholds.steps(model(MODELS[0])):
        mantissa, shift = fixed_point(step.scales.exact)
        assert 2**30 <= mantissa < 2**31
        assert abs(Fraction(mantissa, 2**shift) - step.scales.exact) <= Fraction(
            1, 2 ** (shift + 1)
        )


def test_the_accumulator_that_is_shown_is_one_that_differs() -> None:
    document = model(MODELS[0])
    known = {step.node: step for step in thresholds.steps(document)}
    named = {rule.name: rule for rule in RULES}
    shown = [row for row in rows(ecosystem.counted(document)) if row[1]]
    assert shown
    for name, count, layers, node, accumulator, exact, right, wrong in shown:
        step = known[node.text]
        assert (
            right == step.code(EXACT, accumulator) != step.code(named[name], accumulator) == wrong
        )
        assert exact == pytest.approx(float(accumulator * step.scales.exact), rel=1e-9)
        assert count >= layers > 0


def test_a_model_without_layers_has_nothing_to_count() -> None:
    assert ecosystem.reached(EMPTY) == 0
    assert not ecosystem.multipliers(EMPTY).rows
    assert not arithmetic.errors(EMPTY).rows
    assert all(row[1:3] == (0, 0) for row in ecosystem.counted(EMPTY).rows)


# Theorems


QUARTERS = [Fraction(k, 4) for k in range(-40, 41)]


@pytest.mark.parametrize("zero", range(-3, 4))
def test_the_zero_point_may_be_added_first_only_if_it_is_even(zero: int) -> None:
    wrong = [v for v in QUARTERS if round(v) + zero != round(v + zero)]
    ties = [v for v in QUARTERS if v % 1 == HALF]
    assert wrong == (ties if zero % 2 else [])


def test_rounding_and_clamping_may_be_exchanged() -> None:
    for low, high in ((-3, 4), (-1, 0), (2, 2)):
        for v in QUARTERS:
            clamped = min(max(v, Fraction(low)), Fraction(high))
            assert min(max(round(v), low), high) == round(clamped)


def test_float32_changes_a_code_only_by_landing_on_a_tie() -> None:
    draw = np.random.default_rng(4)
    near = [Fraction(2 * int(k) + 1, 2) for k in draw.integers(-300, 300, 2000)]
    off = [Fraction(int(n), 2**30) for n in draw.integers(-200, 201, 2000)]
    changed = 0
    for v in (a + b for a, b in zip(near, off, strict=True)):
        single = Fraction(float(np.float32(float(v))))
        assert single % 1 == HALF or round(single) == round(v)
        changed += round(single) != round(v)
    assert changed > 0


def test_the_bound_on_float32_holds() -> None:
    rule = next(rule for rule in RULES if rule.name == "float32, then the zero point")
    for step in thresholds.steps(model(MODELS[0])):
        for first, last in differing(step, rule, EXACT):
            for accumulator in range(first, last):
                value = accumulator * step.scales.exact
                tie = abs(value - (value // 1 + HALF))
                assert tie <= arithmetic.float32_bound(256)


def test_the_error_of_a_layer_stays_within_its_bound() -> None:
    found = rows(arithmetic.errors(model(MODELS[0])))
    assert found
    for _, products, bound, expected, seen in found:
        assert 0 < expected < seen < bound
        # Evenly spread errors of K products: no less than the bound over the root of three K.
        assert expected >= bound / (3 * products) ** 0.5 * 0.99


def test_a_grid_of_one_more_bit_has_half_the_step() -> None:
    found = {row[0].text: row for row in rows(arithmetic.grids())}
    assert found["int8"][1:4] == (256, 0.00784, 0.00392)
    assert found["int16"][5] - found["int8"][5] == pytest.approx(48.2, abs=0.1)


def test_results_on_the_lower_rail_are_counted() -> None:
    on_rail, known = arithmetic.relu_for_free(model("resnet8_int8_folded.onnx"))
    assert 0 < on_rail <= known
    assert arithmetic.relu_for_free(EMPTY) == (0, 0)


# Corrections


PINNED = {
    "conv-sum": 2606,
    "conv-code": 30,
    "matmul-sum": 1533,
    "matmul-code": 45,
    "wrap": -15808,
    "tie": (2, -2, 4),
    "worst": 1212416,
}


def test_the_corrected_numbers() -> None:
    found = {one.key: one.value() for one in corrections.CORRECTIONS}
    assert found["margin"] == pytest.approx(2080.4, abs=0.05)
    assert {key: found[key] for key in PINNED} == PINNED
    assert len(found) == len(PINNED) + 1


def test_the_corrected_numbers_by_another_way() -> None:
    conv = sum(
        int(x) * int(w) for x, w in zip(corrections.X.ravel(), corrections.W.ravel(), strict=True)
    )
    matmul = sum((int(a) - 20) * int(b) for a, b in zip(corrections.A, corrections.B, strict=True))
    assert (conv, matmul) == (2606, 1533)
    exact = conv * Fraction("0.0235") * Fraction("0.0152") / Fraction("0.0314")
    logit = matmul * Fraction("0.1903") * Fraction("0.0245") / Fraction("0.1585")
    assert (round(exact), round(logit)) == (30, 45)
    assert (576 * 127 * 127 + 2**15) % 2**16 - 2**15 == -15808


def test_what_was_printed_is_marked_and_wrong() -> None:
    table = corrections.corrections()
    for _, printed, computed, *_ in rows(table):
        assert isinstance(printed, Quoted)
        assert show(printed) != show(computed)
    for _, text, file in rows(corrections.contradictions()):
        assert isinstance(text, Quoted)
        assert isinstance(file, Quoted)
        assert text != file


def test_a_quotation_is_a_node_of_its_own_class() -> None:
    (node,) = content(Quoted("<3847>"))
    assert isinstance(node, nodes.inline)
    assert node["classes"] == ["quoted"]
    assert node.astext() == "<3847>"


# Citing


def test_the_citation_names_this_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(citing, "metadata", missing)
    entry = citing.bibtex()
    assert f"  version = {{{__version__}}}," in entry
    assert entry.startswith("@software{qdqdoc,")
    assert entry.endswith("}")
    assert entry.count("{") == entry.count("}")
    assert __version__ in citing.sentence()


def test_metadata_and_checkout_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from_checkout = citing._from_checkout()  # noqa: SLF001 - the way taken without metadata
    held = {
        "Name": from_checkout["name"],
        "Version": __version__,
        "Author": from_checkout["author"],
        "License-Expression": from_checkout["licence"],
        "Summary": from_checkout["summary"],
    }
    monkeypatch.setattr(citing, "metadata", lambda _: held)
    assert citing.about() == from_checkout
    monkeypatch.setattr(citing, "metadata", lambda _: {**held, "Version": "0.0.0"})
    assert citing.about()["version"] == __version__
