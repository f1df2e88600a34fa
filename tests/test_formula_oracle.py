"""The scalar oracle: values worked out by hand, and what comes in from outside."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from formulas import CONV, formula, value

from qdqdoc.formula import FormulaError, Term, agrees
from qdqdoc.formula.rounding import TYPES

HALF = Fraction(1, 2)
WORKED: dict[str, Any] = {
    "x": [5, 7, 2],
    "w": {0: -3, 1: 4, 2: 1},
    "b": -6,
    "s_x": 0.5,
    "s_w": 0.25,
    "s_y": 2,
    "z_x": 3,
    "z_w": 1,
    "z_y": 10,
}


# By hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("a + b * 2", {"a": Fraction(1, 3), "b": 0.25}, Fraction(5, 6)),
        ("a - b - 1", {"a": 1, "b": 2}, -2),
        ("-a / b", {"a": 3, "b": 9}, Fraction(-1, 3)),
        ("0.1 + a", {"a": 0}, Fraction(1, 10)),
        ("1_000 * 1e-3 + a", {"a": 0}, 1),
        ("a / b", {"a": 1, "b": 0}, math.inf),
        ("a / b", {"a": -1, "b": 0}, -math.inf),
        ("a / b", {"a": 0, "b": 0}, math.nan),
        ("a / b", {"a": 5, "b": math.inf}, 0),
        ("a / b", {"a": math.inf, "b": -2}, -math.inf),
        ("a / b", {"a": math.inf, "b": math.inf}, math.nan),
        ("a / b", {"a": 1, "b": math.nan}, math.nan),
        ("a - b", {"a": math.inf, "b": math.inf}, math.nan),
        ("a * b", {"a": math.inf, "b": 0}, math.nan),
        ("a * b", {"a": -math.inf, "b": Fraction(1, 3)}, -math.inf),
        ("a + 10 * b", {"a": math.inf, "b": 10**400}, math.inf),
        ("inf - a", {"a": 1}, math.inf),
        ("a + nan", {"a": 1}, math.nan),
        ("rint(a)", {"a": Fraction(-5, 2)}, -2),
        ("floor(a)", {"a": Fraction(-5, 2)}, -3),
        ("abs(a)", {"a": Fraction(-5, 2)}, Fraction(5, 2)),
        ("abs(a)", {"a": -math.inf}, math.inf),
        ("wrap32(a)", {"a": 2**31}, -(2**31)),
        ("wrap32(a)", {"a": -(2**31) - 1}, 2**31 - 1),
        ("wrap32(a)", {"a": math.inf}, math.nan),
        ("saturate_uint8(a)", {"a": -1}, 0),
        ("saturate_uint8(a)", {"a": 255.5}, 255),
        ("saturate_int4(a)", {"a": math.nan}, -8),
        ("saturate_int2(a)", {"a": math.inf}, 1),
        ("clip(a, -1, 1)", {"a": HALF}, HALF),
        ("clip(a, -1, 1)", {"a": -math.inf}, -1),
        ("clip(a, -1, 1)", {"a": math.nan}, math.nan),
        ("min(a, b, 3)", {"a": 2, "b": HALF}, HALF),
        ("max(a, b)", {"a": math.nan, "b": 1}, math.nan),
        ("f32(a * b + 1)", {"a": 1 + 2**-20, "b": 1 - 2**-20}, 2),
        ("f32(a * b - 1)", {"a": 1 + 2**-20, "b": 1 - 2**-20}, Fraction(-1, 2**40)),
        ("f32(f32(a * b) - 1)", {"a": 1 + 2**-20, "b": 1 - 2**-20}, 0),
        ("a if b < 1 else -a", {"a": 3, "b": 1}, -3),
        ("a if 0 <= b < 2 and a != 4 else -a", {"a": 3, "b": 1}, 3),
        ("a if b == b else 7", {"a": 3, "b": math.nan}, 7),
        ("a if b > 0 else c[0]", {"a": 3, "b": 1, "c": []}, 3),
        ("a[1] * a[0]", {"a": (2, 5)}, 10),
        ("a[2 * i + 1]", {"a": range(9), "i": 3}, 7),
        ("a[i, 0]", {"a": np.arange(6).reshape(3, 2), "i": 2}, 4),
        ("a[i]", {"a": np.arange(6).reshape(3, 2), "i": (2, 1)}, 5),
        ("a[b[0]]", {"a": {"left": 1, 4: 2}, "b": [4.0]}, 2),
        ("a[c / b]", {"a": [7, 8, 9], "b": 2, "c": 4}, 9),
    ],
)
def test_values_by_hand(text: str, values: dict[str, Any], expected: float) -> None:
    got = value(text, **values)
    assert agrees(got, expected)
    assert isinstance(got, Fraction | float)
    assert isinstance(got, Fraction) == math.isfinite(expected)


def test_a_worked_convolution_term_by_term() -> None:
    # (5-3)(-3-1) + (7-3)(4-1) + (2-3)(1-1) - 6 = -2; m = 1/16; -1/8 rounds to 0; 0 + 10.
    given: dict[str, Any] = {"sets": {"K": [0, 1, 2]}, "types": {"T": "int8"}}
    assert CONV.evaluate(WORKED, **given) == 10
    steps = CONV.steps(WORKED, **given)
    assert steps == {"m": Fraction(1, 16), "acc": -2, "y": 10}
    assert list(steps) == ["m", "acc", "y"]
    assert CONV.terms(WORKED, **given) == [
        Term(0, Fraction(-8), (Fraction(2), Fraction(-4))),
        Term(1, Fraction(12), (Fraction(4), Fraction(3))),
        Term(2, Fraction(0), (Fraction(-1), Fraction(0))),
    ]
    assert CONV.terms(WORKED, line="acc", **given) == CONV.terms(WORKED, **given)
    with pytest.raises(FormulaError, match="line 'm' has no sum, min or max over an index set"):
        CONV.terms(WORKED, line="m", **given)


def test_limits_are_those_of_the_bound_type() -> None:
    for name, entry in TYPES.items():
        assert value("lowest(T) + 0 * x", {"T": name}, x=1) == entry.lowest
        assert value("highest(T) + 0 * x", {"T": name}, x=1) == entry.highest


def test_float8_saturates_by_its_limits_and_overflows_without() -> None:
    saturating = "T(clip(x, lowest(T), highest(T)))"
    for name, highest in (("float8e4m3fn", 448), ("float8e5m2", 57344), ("float4e2m1", 6)):
        assert value(saturating, {"T": name}, x=1e9) == highest
        assert value(saturating, {"T": name}, x=-math.inf) == -highest
    assert agrees(value("T(x)", {"T": "float8e4m3fn"}, x=1e9), math.nan)
    assert value("T(x)", {"T": "float8e5m2"}, x=1e9) == math.inf


def test_families_are_evaluated_on_demand_and_named_by_their_members() -> None:
    made = formula("e[k] = 1 / x[k]\nd = sum(e[k] for k in K)\ny = e[j] / d", "x j", "K")
    given: dict[str, Any] = {"sets": {"K": (2, 0)}}
    values = {"x": {0: 4, 2: 2, 9: 8}, "j": 9}
    assert made.evaluate(values, **given) == Fraction(1, 6)
    assert list(made.steps(values, **given).items()) == [
        ("e[2]", HALF),
        ("e[0]", Fraction(1, 4)),
        ("e[9]", Fraction(1, 8)),
        ("d", Fraction(3, 4)),
        ("y", Fraction(1, 6)),
    ]


def test_a_family_as_result_takes_its_index_from_the_values() -> None:
    made = formula("y[i] = x[i] - sum(x[k] * w[k, i] for k in K)", "x w", "K")
    given: dict[str, Any] = {"sets": {"K": range(2)}}
    values = {"x": [1, 2], "w": {(0, 0): 3, (0, 1): 4, (1, 0): 5, (1, 1): 6}}
    assert (made.result, made.result_index) == ("y", "i")
    assert [made.evaluate(values | {"i": i}, **given) for i in (0, 1)] == [1 - 13, 2 - 16]
    assert made.steps(values | {"i": 1}, **given) == {"y[1]": -14}
    assert [term.value for term in made.terms(values | {"i": 1}, **given)] == [4, 12]
    with pytest.raises(FormulaError, match="'i'; given: x, w"):
        made.evaluate(values, **given)


def test_two_reductions_and_a_family_may_use_one_name_for_their_indices() -> None:
    made = formula(
        "e[k] = x[k] + max(x[i] for i in K)\ny = sum(e[k] * sum(e[i] for i in K) for k in K)",
        "x",
        "K",
    )
    # e = (1 + 2, 2 + 2): 3 * 7 + 4 * 7.
    assert made.evaluate({"x": [1, 2]}, sets={"K": range(2)}) == 49
    later = formula("e[k] = sum(x[i] * k for i in K)\ny = sum(e[k] + k for k in K)", "x", "K")
    terms = later.terms({"x": [1, 2], "k": 5}, line="e", sets={"K": range(2)})
    assert [term.value for term in terms] == [5, 10]
    assert later.evaluate({"x": [1, 2]}, sets={"K": range(2)}) == 0 + 0 + 3 + 1


def test_sums_of_nothing() -> None:
    for kind, expected in (("sum", 0), ("sum_f32", 0), ("min", math.inf), ("max", -math.inf)):
        made = formula(f"y = {kind}(x[k] for k in K)", "x", "K")
        assert made.evaluate({"x": []}, sets={"K": ()}) == expected


# Numbers from outside -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [
        *(3, 3.0, Fraction(3), Decimal(3), np.int8(3), np.uint64(3), np.array(3), np.array(3.0)),
        *(np.float16(3), np.float32(3), np.float64(3), ml_dtypes.bfloat16(3), ml_dtypes.int4(3)),
        *(ml_dtypes.float8_e5m2(3), ml_dtypes.float4_e2m1fn(3), ml_dtypes.float6_e3m2fn(3)),
    ],
)
def test_numbers_of_every_library_are_exact(number: object) -> None:
    assert value("x / 9", x=number) == Fraction(1, 3)
    assert value("x[0] / 9", x=[number]) == Fraction(1, 3)


@pytest.mark.parametrize("kind", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_infinities_and_nan_come_in(kind: type[Any]) -> None:
    assert value("x", x=kind(math.inf)) == math.inf
    assert agrees(value("x", x=kind(math.nan)), math.nan)


@pytest.mark.parametrize("number", ["3", b"3", None, 3j, np.arange(2), [3]])
def test_what_is_no_number_is_refused(number: object) -> None:
    with pytest.raises(FormulaError, match="'x' is not a real number: "):
        value("x", x=number)


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("x + z", {"x": 1}, "the formula needs a value for 'z'; given: x"),
        ("x[z]", {"x": [1], "z": 1}, "'x' has no element 1"),
        ("x[z - 1]", {"x": [1], "z": 0}, "'x' has no element -1"),
        ("x[z, 0]", {"x": np.eye(2), "z": -1}, r"'x' has no element \(-1, 0\)"),
        ("x[z / 2]", {"x": [1], "z": 1}, "an index must be a whole number, not 1/2"),
        ("x[z]", {"x": {1: "one"}, "z": 1}, r"'x\[1\]' is not a real number: 'one'"),
        ("x[z]", {"x": 3, "z": 1}, "'x' is indexed: give a sequence, an array or a mapping"),
        ("x[z]", {"x": "3", "z": 0}, "'x' is indexed: give a sequence"),
        ("x[z] + z", {"x": {(0, 1): 1}, "z": (0, 1)}, r"'z' is not a real number: \(0, 1\)"),
    ],
)
def test_wrong_values_are_refused(text: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        formula(f"y = {text}", "x z").evaluate(values)


def test_wrong_sets_and_types_are_refused() -> None:
    made = formula("y = T(saturate_int8(sum(x[k] for k in K)))", "x", "K", "T")
    values, sets, types = {"x": [1]}, {"K": (0,)}, {"T": "float16"}
    assert made.evaluate(values | {"unused": 1}, sets=sets, types=types) == 1
    assert made.evaluate(values, sets={"K": iter((0, 0))}, types=types) == 2
    with pytest.raises(FormulaError, match="needs a set for 'K'; given: none"):
        made.evaluate(values, types=types)
    with pytest.raises(FormulaError, match="index set 'K' must be a sequence of indices, not '01'"):
        made.evaluate(values, sets={"K": "01"}, types=types)
    with pytest.raises(FormulaError, match="needs a type for 'T'; given: C"):
        made.evaluate(values, sets=sets, types={"C": "float32"})
    with pytest.raises(FormulaError, match="index set 'K' must be a sequence of indices, not 3"):
        made.evaluate(values, sets={"K": 3}, types=types)
    with pytest.raises(FormulaError, match="unknown type 'flaot16'; did you mean 'float16'"):
        made.evaluate(values, sets=sets, types={"T": "flaot16"})
    with pytest.raises(FormulaError, match="floating-point type, but 'T' is bound to int8"):
        made.evaluate(values, sets=sets, types={"T": "int8"})
    with pytest.raises(FormulaError, match="'T' is bound to float8e8m0"):
        made.evaluate(values, sets=sets, types={"T": "float8e8m0"})
    with pytest.raises(FormulaError, match="saturate needs an integer type, but 'T' is bound to f"):
        value("saturate(x)", {"T": "float16"}, x=1)
