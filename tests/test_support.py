"""The derived pages: what they say is what the packages themselves declare and compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from peers import kinds, run_onnx

from qdqdoc import witnesses
from qdqdoc.numerics.formats import tensor
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import Call
from qdqdoc.sphinxext import atlas, drift, support
from qdqdoc.sphinxext.atlas import RULES, Scales, fixed_point

RUNTIME = "com.microsoft"
DECLARED, WITH_KERNEL = 43, 25
"""Operators on quantized values that the named release of onnxruntime declares, and can run."""


def test_every_operator_that_has_a_witness_is_here() -> None:
    declared = support.declared_by_runtime()
    assert len(declared) == DECLARED
    running = {name for name in declared if witnesses.kernels(RUNTIME, name)}
    assert len(running) == WITH_KERNEL
    assert running == {name for domain, name in OPERATORS if domain == RUNTIME}
    assert len(support.without_kernel().rows) == DECLARED - WITH_KERNEL


def test_every_quantized_operator_of_onnx_is_here() -> None:
    words = ("uantize", "QLinear", "Integer")
    names = {name for name in witnesses.names("") if any(word in name for word in words)}
    assert names == {name for domain, name in OPERATORS if not domain}


def test_the_table_of_operators_has_a_row_for_each_version() -> None:
    rows = support.operators().rows
    assert len(rows) == sum(len(entry.versions) for entry in OPERATORS.values())
    old = [row for row in rows if row[:2] == rows[1][:2] and row[3] == "no"]
    assert old  # DequantizeLinear, which onnx's evaluator has not below opset 19


def test_every_declaration_is_compared() -> None:
    count, different = witnesses.compared_declarations(OPERATORS.values())
    assert (count, different) == (sum(len(o.versions) for o in OPERATORS.values()), [])
    entry = OPERATORS["", "QLinearMatMul"]
    fewer = replace(entry, versions=entry.versions[:1])
    assert witnesses.compared_declarations([fewer]) == (2, ["QLinearMatMul 21"])


def test_every_difference_and_bound_has_a_row() -> None:
    assert len(support.differences().rows) == sum(len(o.differs) for o in OPERATORS.values())
    assert len(support.bounds().rows) == sum(len(o.bounds) for o in OPERATORS.values())
    counted = support.difference_counts().rows
    total = sum(int(str(cell)) for row in counted for cell in row[1:])
    assert total == len(support.differences().rows)


RANGE = range(-700, 700, 3)
ODD_SCALES = [
    Scales(np.float32(x), np.float32(w), np.float32(y), z)
    for x, w, y in ((0.5, 1, 1), (0.1, 1, 1), (0.0235, 0.61, 0.0471))
    for z in (0, 3)
]


def rule(name: str) -> atlas.Rule:
    return next(one for one in RULES if one.name == name)


def product_call(operator: str, scales: Scales) -> Call:
    names = ("a", "b", "y") if operator == "QLinearMatMul" else ("A", "B", "C")
    left = tensor("int8", [[-128], [-99], [-5], [3], [77], [127]])
    right = tensor("int8", [[-127, -31, 1, 5, 64, 127]])
    inputs = {
        names[0]: left,
        f"{names[0]}_scale": np.asarray(scales.x),
        f"{names[0]}_zero_point": tensor("int8", 0),
        names[1]: right,
        f"{names[1]}_scale": np.asarray(scales.w),
        f"{names[1]}_zero_point": tensor("int8", 0),
        f"{names[2]}_scale": np.asarray(scales.y),
        f"{names[2]}_zero_point": tensor("int8", scales.zero_point),
    }
    return Call(name="products", inputs=inputs, opset=10)


@pytest.mark.parametrize("scales", ODD_SCALES, ids=str)
@pytest.mark.parametrize(
    ("domain", "operator", "name"),
    [
        ("", "QLinearMatMul", "float32, then the zero point"),
        (RUNTIME, "QLinearMul", "float32, after the zero point"),
    ],
)
def test_rules_of_onnxruntime_are_those_of_its_kernels(
    scales: Scales, domain: str, operator: str, name: str
) -> None:
    call = product_call(operator, scales)
    (y,) = OPERATORS[domain, operator].run(call)
    first, second = (v for v in call.inputs.values() if v.ndim)
    products = first.astype(int) @ second.astype(int)
    assert y.tolist() == [[rule(name).code(int(a), scales) for a in row] for row in products]


@pytest.mark.parametrize("scales", ODD_SCALES, ids=str)
def test_the_rule_of_the_evaluator_is_what_it_computes(scales: Scales) -> None:
    operator = OPERATORS["", "QLinearMatMul"]
    call = product_call("QLinearMatMul", scales)
    (y,) = run_onnx(operator, call, kinds(operator.run(call)))
    products = call.inputs["a"].astype(int) @ call.inputs["b"].astype(int)
    named = rule("float64, after the zero point")
    assert y.tolist() == [[named.code(int(a), scales) for a in row] for row in products]


@pytest.mark.parametrize("scales", ODD_SCALES, ids=str)
def test_one_shift_is_half_up_of_the_fixed_multiplier(scales: Scales) -> None:
    mantissa, shift = fixed_point(scales.exact)
    assert 2**30 <= mantissa < 2**31
    assert abs(mantissa / 2**shift - scales.exact) <= scales.exact / 2**31
    for accumulator in RANGE:
        doubled = 2 * accumulator * mantissa + 2**shift
        expected = min(max((doubled >> shift + 1) + scales.zero_point, -128), 127)
        assert rule("31-bit multiplier, one rounding").code(accumulator, scales) == expected


def test_rules_agree_far_from_ties_and_differ_on_them() -> None:
    scales = Scales(np.float32(0.3), np.float32(1), np.float32(1), 0)
    for one in RULES:
        assert one.code(12, scales) == (3 if one.name == "towards zero" else 4)
    half = Scales(np.float32(0.5), np.float32(1), np.float32(1), 0)
    assert {one.code(-5, half) for one in RULES} == {-2, -3}


def test_double_rounding_moves_a_value_that_is_no_tie() -> None:
    """A quarter of 13 is 3.25: rounded to halves it is 3.5, and that is rounded up."""
    scales = Scales(np.float32(0.25), np.float32(1), np.float32(1), 0)
    found = {one.name: one.code(13, scales) for one in RULES}
    assert {name for name, code in found.items() if code == 4} == {
        "31-bit multiplier, double rounding",
        "31-bit multiplier, gemmlowp",
    }


def test_the_drift_page_shows_what_is_recorded() -> None:
    together = drift.together().rows
    kernels = drift.kernels().rows
    assert together[0][1] == sum(int(str(row[1])) for row in kernels)
    assert len(drift.formulas().rows) in {0, len(OPERATORS)}
