"""The scalar oracle against float32 arithmetic, sums of any order, and ``exp`` and ``log``."""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import random
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from formulas import CONV, formula, value

from qdqdoc.formula import FormulaError, Interval, agrees
from qdqdoc.formula.rounding import POINTS
from qdqdoc.formula.transcendental import exp, log, sqrt

F32 = np.float32
HALF = Fraction(1, 2)


# Against float32 arithmetic -----------------------------------------------------------------


def seeded() -> random.Random:
    return random.Random(20260103)  # noqa: S311 - the same points every time, nothing secret


def near(number: float | Fraction, steps: int) -> np.float32:
    moved = F32(float(number))
    for _ in range(abs(steps)):
        moved = np.nextafter(moved, F32(np.copysign(np.inf, steps)))
    return moved


def a_scale(rng: random.Random) -> np.float32:
    return F32(rng.uniform(0.5, 2) * 2.0 ** rng.randint(-9, -3))


def test_quantize_linear_is_numpys_on_ties() -> None:
    made = formula("y = saturate(rint(C(C(x) / C(s))) + z)", "x s z", types="C T")
    rng = seeded()
    ties = 0
    for _ in range(400):
        s, z = rng.choice((F32(rng.randrange(1, 64, 2) / 64), a_scale(rng))), rng.randint(-50, 50)
        for steps in range(-2, 3):
            x = near((rng.randint(-150, 150) + HALF) * Fraction(float(s)), steps)
            quotient = x / s
            ties += bool(quotient % 1 == 0.5)
            expected = int(np.clip(np.rint(quotient) + z, -128, 127))
            types = {"C": "float32", "T": "int8"}
            assert made.evaluate({"x": x, "s": s, "z": z}, types=types) == expected
    assert ties > 300


def test_a_quantized_convolution_is_numpys_on_ties() -> None:
    rng = seeded()
    for _ in range(300):
        x, w = ([rng.randint(-9, 9) for _ in range(3)] for _ in range(2))
        bias = rng.choice((0, rng.randint(-99, 99), rng.randint(-(2**27), 2**27)))
        z_x, z_w, z_y = (rng.randint(-5, 5) for _ in range(3))
        acc = int(np.dot(np.array(x) - z_x, np.array(w) - z_w)) + bias
        s_x, s_w = a_scale(rng), a_scale(rng)
        ratio = (2 * rng.randint(0, 99) + 1) / (2 * max(abs(acc), 1))
        for steps in range(-2, 3):
            s_y = near(float(s_x) * float(s_w) / ratio, steps)
            m = s_x * s_w / s_y
            assert m.dtype == F32
            scaled = F32(acc) * m
            values = {"x": x, "w": w, "b": bias, "s_x": s_x, "s_w": s_w, "s_y": s_y}
            values |= {"z_x": z_x, "z_w": z_w, "z_y": z_y}
            steps_seen = CONV.steps(values, sets={"K": range(3)}, types={"T": "int8"})
            assert steps_seen["m"] == float(m)
            assert steps_seen["acc"] == acc
            assert steps_seen["y"] == np.clip(np.rint(scaled) + z_y, -128, 127)


def c_library_fma() -> Any:  # noqa: ANN401 - a function of ctypes
    name = ctypes.util.find_library("m")
    if name is None:
        pytest.skip("no C library to ask for a fused multiply-add")
    fma = ctypes.CDLL(name).fmaf
    fma.argtypes, fma.restype = [ctypes.c_float] * 3, ctypes.c_float
    return fma


def test_quantized_addition_is_that_of_the_c_librarys_fused_multiply_add() -> None:
    made = formula(
        """
        r_a = f32(s_a / s_y)
        r_b = f32(s_b / s_y)
        f = f32(z_y - f32(r_a * z_a + f32(r_b * z_b)))
        y = saturate(rint(f32(a * r_a + f32(b * r_b + f))))
        """,
        "a b s_a s_b s_y z_a z_b z_y",
        types="T",
    )
    fma, rng = c_library_fma(), seeded()
    unfused = 0
    for _ in range(1500):
        s_a, s_b, s_y = (a_scale(rng) for _ in range(3))
        a, b, z_a, z_b, z_y = (rng.randint(-128, 127) for _ in range(5))
        r_a, r_b = s_a / s_y, s_b / s_y
        f = F32(z_y) - F32(fma(r_a, z_a, r_b * F32(z_b)))
        v = F32(fma(a, r_a, fma(b, r_b, f)))
        unfused += bool(F32(a) * r_a + (F32(b) * r_b + f) != v)
        values = {"a": a, "b": b, "s_a": s_a, "s_b": s_b, "s_y": s_y}
        values |= {"z_a": z_a, "z_b": z_b, "z_y": z_y}
        steps = made.steps(values, types={"T": "int8"})
        assert steps["f"] == float(f)
        assert steps["y"] == np.clip(np.rint(v), -128, 127)
    assert unfused > 300


def test_an_ordered_sum_is_numpys_running_sum() -> None:
    made = formula("y = sum_f32(x[k] for k in K)", "x", "K")
    rng = np.random.default_rng(20260104)
    for _ in range(20):
        x = (rng.standard_normal(50) * 2.0 ** rng.integers(-9, 9, 50)).astype(F32)
        assert made.evaluate({"x": x}, sets={"K": range(50)}) == float(np.cumsum(x)[-1])
        assert made.evaluate({"x": x}, sets={"K": range(49, -1, -1)}) == float(
            np.cumsum(x[::-1])[-1]
        )


# Sums of unspecified order ------------------------------------------------------------------


SUM = formula("y = anysum_f32(x[k] for k in K)", "x", "K")
ANY = formula("y = f32(anysum_f32(a[k] * w[k] for k in K) / 2 + c)", "a w c", "K")


def test_every_order_of_a_float32_sum_lies_inside_the_interval() -> None:
    rng = np.random.default_rng(20260105)
    for _ in range(20):
        a, w = (rng.standard_normal(40).astype(F32) for _ in range(2))
        c = F32(rng.standard_normal())
        got = ANY.evaluate({"a": a, "w": w, "c": c}, sets={"K": range(40)})
        assert isinstance(got, Interval)
        products = a * w
        for order in (*(rng.permutation(40) for _ in range(20)), np.argsort(-np.abs(products))):
            assert np.cumsum(products[order])[-1] / F32(2) + c in got
        width = float(got.high - got.low)
        assert 0 < width < 1e-3
        assert float(got.high) + 2 * width not in got
        nan = math.nan
        assert nan not in got


def test_an_interval_is_as_wide_as_the_error_bound_says() -> None:
    got = SUM.evaluate({"x": [1, -1, 1]}, sets={"K": range(3)})
    # Three terms: four roundings of 2**-24 each, on magnitudes that sum to 3.
    gamma = Fraction(4, 2**24) / (1 - Fraction(4, 2**24))
    slack = 3 * gamma + Fraction(3, 2**150)
    assert got == Interval(1 - slack, 1 + slack)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("-v", -2, -1),
        ("v + 1", 2, 3),
        ("1 - v", -1, 0),
        ("v - v", -1, 1),
        ("-3 * v", -6, -3),
        ("v / -2", -1, Fraction(-1, 2)),
        ("rint(v / 3)", 0, 1),
        ("floor(v / 2)", 0, 1),
        ("saturate_int2(v)", 1, 1),
        ("T(v)", 1, 2),
    ],
)
def test_arithmetic_of_intervals(text: str, low: float, high: float) -> None:
    made = formula(f"s = anysum_f32(x[k] for k in K)\nv = rint(s * 1.5)\ny = {text}", "x", "K",
                   "T" if "T" in text else "")  # fmt: skip
    # One term of 1 gives 1 plus or minus next to nothing, 1.5 is a tie with 1 and 2 around it.
    got = made.evaluate({"x": [1]}, sets={"K": (0,)}, types={"T": "float16"})
    assert got == Interval(low, high)


@pytest.mark.parametrize(
    "text",
    [
        "abs(v)",
        "v * v",
        "1 / v",
        "v / v",
        "v / 0",
        "v * inf",
        "min(v, 1)",
        "clip(v, 0, 1)",
        "wrap32(v)",
        "1 if v > 0 else 2",
        "f32(exp(v))",
        "f32(log(v))",
    ],
)
def test_what_an_interval_does_not_have_is_refused(text: str) -> None:
    made = formula(f"v = anysum_f32(x[k] for k in K)\ny = {text}", "x", "K")
    with pytest.raises(FormulaError, match="is an interval"):
        made.evaluate({"x": [1]}, sets={"K": (0,)})


def test_an_interval_that_cannot_be_bounded() -> None:
    got = SUM.evaluate({"x": [3e38, 3e38, -3e38]}, sets={"K": range(3)})
    assert got == Interval(-math.inf, math.inf)


def test_infinities_pass_through_sums_of_any_order() -> None:
    assert SUM.evaluate({"x": [math.inf, 1]}, sets={"K": range(2)}) == math.inf
    assert agrees(SUM.evaluate({"x": [math.inf, -math.inf]}, sets={"K": range(2)}), math.nan)
    assert agrees(ANY.evaluate({"a": [1], "w": [1], "c": -math.inf}, sets={"K": (0,)}), -math.inf)


# exp and log --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["exp", "log", "sqrt"])
def test_real_functions_have_150_bits(function: str) -> None:
    rng = seeded()
    with localcontext() as context:
        context.prec = 200
        for _ in range(60):
            x = Fraction(rng.uniform(0.01, 100) * 2.0 ** rng.randint(-60, 3))
            if function == "exp":
                x *= rng.choice((-1, 1))
                got = exp(x)
            elif function == "sqrt":
                got = sqrt(x)
            else:
                x = rng.choice((x, 1 + x / 2**40, 1 - x / 2**150))
                got = log(x)
            decimal = Decimal(x.numerator) / Decimal(x.denominator)
            wanted = Fraction(getattr(decimal, {"log": "ln"}.get(function, function))())
            assert abs(Fraction(got) - wanted) <= abs(wanted) * Fraction(1, 2**150)


@pytest.mark.parametrize(
    ("text", "x", "expected"),
    [
        ("f32(exp(x))", 0, 1),
        ("f32(exp(x))", 89, math.inf),
        ("f32(exp(x))", 10**9, math.inf),
        ("f32(exp(x))", -(10**9), 0),
        ("f32(exp(x))", -math.inf, 0),
        ("f32(exp(x))", math.inf, math.inf),
        ("f32(exp(x))", math.nan, math.nan),
        ("f32(log(x))", 1, 0),
        ("f32(log(x))", 0, -math.inf),
        ("f32(log(x))", -1, math.nan),
        ("f32(log(x))", math.inf, math.inf),
        ("f32(log(x))", -math.inf, math.nan),
        ("f32(log(x))", math.nan, math.nan),
        ("f32(sqrt(x))", 0, 0),
        ("f32(sqrt(x))", Fraction(9, 4), Fraction(3, 2)),
        ("f32(sqrt(x))", -1, math.nan),
        ("f32(sqrt(x))", math.inf, math.inf),
        ("f32(sqrt(x))", -math.inf, math.nan),
        ("f32(sqrt(x))", Fraction(1, 2**200), Fraction(1, 2**100)),
        ("f64(1 / (1 + exp(-x)))", 0, HALF),
        ("f32(log(exp(x)))", Fraction(1, 3), POINTS["f32"].round(Fraction(1, 3))),
    ],
)
def test_real_functions_at_their_ends(text: str, x: float, expected: float) -> None:
    assert agrees(value(text, x=x), expected)
