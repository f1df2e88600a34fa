"""Every wrong rule is noticed on grids built for it, but for those that are not wrong.

The grids follow four rules: ratios of scales that bring an accumulator of the same point half-way
between two integers, moved by a few steps; inputs half-way between two steps, moved likewise; small
accumulators; and a few sums above 2**24 and above 2**31.
"""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from qdqdoc.formula import Formula, FormulaError, Mutant, Value, agrees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Point(NamedTuple):
    """What one evaluation takes."""

    values: dict[str, Any]
    types: dict[str, str]
    sets: dict[str, range]

    def evaluate(self, formula: Formula) -> Value:
        return formula.evaluate(self.values, sets=self.sets, types=self.types)


Grid = list[Point]
Float = type[np.float32] | type[np.float16]
KINDS: dict[str, Float] = {"float32": np.float32, "float16": np.float16}

QUANTIZE = Formula(
    "y = saturate(rint(C(C(x) / C(s))) + z)",
    symbols={"x": "value", "s": "scale", "z": "zero point"},
    types={"C": "type of the division", "T": "type of y"},
)
DEQUANTIZE = Formula(
    "y = T(f32(f32(wrap32(x - z)) * f32(s)))",
    symbols={"x": "value", "s": "scale", "z": "zero point"},
    types={"T": "type of the scale and of y"},
)
CONV = Formula(
    """
    m = f32(f32(s_x * s_w) / s_y)
    acc = wrap32(sum((x[k] - z_x) * (w[k] - z_w) for k in K) + b)
    y = saturate(rint(f32(f32(acc) * m)) + z_y)
    """,
    symbols=dict.fromkeys(("x", "w", "b", "s_x", "s_w", "s_y", "z_x", "z_w", "z_y"), ""),
    sets={"K": "taps"},
    types={"T": "type of y"},
)
MATMUL = Formula(
    """
    m = f32(f32(s_a * s_b) / s_y)
    acc = wrap32(sum((a[k] - z_a) * (b[k] - z_b) for k in K))
    y = saturate(rint(f32(f32(acc) * m)) + z_y)
    """,
    symbols=dict.fromkeys(("a", "b", "s_a", "s_b", "s_y", "z_a", "z_b", "z_y"), ""),
    sets={"K": "inner dimension"},
    types={"T": "type of y"},
)
ADD = Formula(
    """
    r_a = f32(s_a / s_y)
    r_b = f32(s_b / s_y)
    f = f32(z_y - f32(r_a * z_a + f32(r_b * z_b)))
    y = saturate(rint(f32(a * r_a + f32(b * r_b + f))))
    """,
    symbols=dict.fromkeys(("a", "b", "s_a", "s_b", "s_y", "z_a", "z_b", "z_y"), ""),
    types={"T": "type of y"},
)


def moved(value: float | Fraction, steps: int, kind: Float = np.float32) -> float:
    """Return the nearest number of a type, moved by some steps."""
    number = kind(float(value))
    for _ in range(abs(steps)):
        number = np.nextafter(number, kind(np.inf if steps > 0 else -np.inf))
    return float(number)


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same points every time, nothing secret


def a_scale(rng: random.Random) -> float:
    return moved(rng.uniform(0.5, 2) * 2.0 ** rng.randint(-9, -3), 0)


def quantize_grid(rng: random.Random) -> Iterator[Point]:
    ranges = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "int16": (-(2**15), 2**15)}
    for compute, kind in itertools.product(KINDS, KINDS.values()):
        for (name, (low, high)), _ in itertools.product(ranges.items(), range(30)):
            types = {"C": compute, "T": name}
            s = moved(rng.choice((rng.randrange(1, 64, 2) / 64, rng.uniform(0.01, 2))), 0, kind)
            z = rng.randint(max(low, -50), min(high, 50))
            for steps in range(-2, 3):
                middle = (rng.randint(low - z, high - z) + Fraction(1, 2)) * Fraction(s)
                yield Point({"x": moved(middle, steps, kind), "s": s, "z": z}, types, {})
            for x in (np.nan, np.inf, -np.inf, (low - z) * s, (high + 2 - z) * s):
                yield Point({"x": float(kind(x)), "s": s, "z": z}, types, {})


def dequantize_grid(rng: random.Random) -> Iterator[Point]:
    for (name, kind), _ in itertools.product(KINDS.items(), range(100)):
        s = moved(rng.uniform(0.5, 2) * 2.0 ** rng.randint(-9, -3), 0, kind)
        for bits in (8, 16, 31):
            x, z = (rng.randint(-(2**bits), 2**bits - 1) for _ in range(2))
            yield Point({"x": x, "z": z, "s": s * 2.0**-bits * 32}, {"T": name}, {})
        # A product one unit beside a tie of float16, which float32 rounds onto the tie.
        odd, beside = rng.randrange(2**10 + 1, 2**11, 2), rng.choice((-1, 1))
        x = (2**23 + beside) * pow(odd, -1, 2**24) % 2**24
        yield Point({"x": x, "z": 0, "s": odd * 2.0**-24}, {"T": "float16"}, {})


def products(
    names: tuple[str, str, str], rng: random.Random, shapes: list[tuple[int, int, int]], bias: bool
) -> Iterator[Point]:
    """Build points of a scaled dot product; a shape is repetitions, terms, largest magnitude."""
    one, two, extra = names
    for count, length, size in shapes:
        for number in range(count):
            z_one, z_two = rng.randint(-9, 9), rng.randint(-9, 9)
            ones = [z_one + rng.randint(-size, size) for _ in range(length)]
            twos = [z_two + rng.randint(1, size) for _ in range(length)]
            if length > 99:
                ones, twos = ([rng.randint(size - 9, size) for _ in range(length)] for _ in "12")
            total = sum((p - z_one) * (q - z_two) for p, q in zip(ones, twos, strict=True))
            added = rng.choice((0, rng.randint(-99, 99), rng.randint(-(2**25), 2**25)))
            added = rng.choice((2**31 - 5, 7 - total, added)) if number % 4 == 0 else added
            total += added if bias else 0
            total = (total + 2**31) % 2**32 - 2**31
            ratio = Fraction(2 * rng.randint(0, 120) + 1, 2 * max(abs(total), 1))
            s_one, s_two = a_scale(rng), a_scale(rng)
            values: dict[str, Any] = {one: ones, two: twos, f"z_{one}": z_one, f"z_{two}": z_two}
            values |= {f"s_{one}": s_one, f"s_{two}": s_two, "z_y": rng.randint(-60, 60)}
            values |= {extra: added} if bias else {}
            for steps in range(-2, 3):
                s_y = moved(Fraction(s_one) * Fraction(s_two) / ratio, steps)
                yield Point(values | {"s_y": s_y}, {"T": "int8"}, {"K": range(length)})


def conv_grid(rng: random.Random) -> Iterator[Point]:
    shapes = [(500, 2, 9), (100, 1, 60), (20, 3, 255), (10, 301, 255)]
    return products(("x", "w", "b"), rng, shapes, bias=True)


def matmul_grid(rng: random.Random) -> Iterator[Point]:
    shapes = [(500, 2, 9), (100, 1, 60), (20, 3, 255), (60, 301, 255), (1, 36_000, 255)]
    return products(("a", "b", ""), rng, shapes, bias=False)


def add_grid(rng: random.Random) -> Iterator[Point]:
    codes = np.arange(-128, 128)
    for _ in range(600):
        s_y = a_scale(rng)
        ratios = [Fraction(rng.randrange(1, 2 ** rng.randint(2, 8), 2), 2**7) for _ in range(2)]
        s_a, s_b = (moved(ratio * Fraction(s_y), rng.randint(-2, 2)) for ratio in ratios)
        z_a, z_b, z_y = (rng.randint(-128, 127) for _ in range(3))
        values = {"s_a": s_a, "s_b": s_b, "s_y": s_y, "z_a": z_a, "z_b": z_b, "z_y": z_y}
        some = np.array(rng.sample(range(-128, 128), 32))
        sums = ((some - z_a) * s_a)[:, None] + (codes - z_b) * s_b
        distance = np.abs((sums / s_y) % 1 - 0.5)
        distance[np.abs(sums / s_y + z_y) > 128] = 1
        nearest = np.argsort(distance, axis=None, kind="stable")[:8]
        for row, column in zip(*np.unravel_index(nearest, sums.shape), strict=True):
            yield Point(values | {"a": some[row], "b": codes[column]}, {"T": "int8"}, {})
        yield Point(values | {"a": 127, "b": 127}, {"T": "int8"}, {})


def survives(mutant: Mutant, answers: list[tuple[Point, Value]]) -> bool:
    """Tell whether a mutant gives every answer; one that cannot answer is noticed too."""
    try:
        return all(agrees(answer, point.evaluate(mutant.formula)) for point, answer in answers)
    except FormulaError:
        return False


GRIDS: dict[str, tuple[Formula, Callable[[random.Random], Iterator[Point]], int, dict[str, str]]]
GRIDS = {
    "QuantizeLinear": (QUANTIZE, quantize_grid, 27, {}),
    "DequantizeLinear": (
        DEQUANTIZE,
        dequantize_grid,
        21,
        {
            "line 1, y: no f32 in f32(s)": "a scale is float16 or float32 and so is its f32",
            "line 1, y: f64 for f32 in f32(s)": "the same",
        },
    ),
    "QLinearConv": (CONV, conv_grid, 66, {}),
    "QLinearMatMul": (MATMUL, matmul_grid, 63, {}),
    "QLinearAdd": (ADD, add_grid, 79, {}),
}


@pytest.mark.parametrize("operator", GRIDS)
def test_a_tie_grid_kills_every_mutant_that_is_wrong(operator: str) -> None:
    formula, grid, count, equivalent = GRIDS[operator]
    answers = [(point, point.evaluate(formula)) for point in grid(seeded(20260101))]
    mutants = list(formula.mutants())
    survivors = {mutant.label for mutant in mutants if survives(mutant, answers)}
    assert survivors == set(equivalent)
    assert len(mutants) == count


def test_random_points_are_a_weaker_grid_than_ties() -> None:
    rng = seeded(7)
    names = ("s_a", "s_b", "s_y", "z_a", "z_b", "z_y", "a", "b")
    points = []
    for _ in range(500):
        values = {
            name: a_scale(rng) if name[0] == "s" else rng.randint(-128, 127) for name in names
        }
        points.append(Point(values, {"T": "int8"}, {}))
    answers = [(point, point.evaluate(ADD)) for point in points]
    survivors = [mutant for mutant in ADD.mutants() if survives(mutant, answers)]
    assert len(survivors) > 10


def mutated(text: str, symbols: str, sets: str = "", types: str = "") -> list[str]:
    tables = (dict.fromkeys(names.split(), "") for names in (symbols, sets, types))
    formula = Formula(text, symbols=next(tables), sets=next(tables), types=next(tables))
    return [mutant.formula.text for mutant in formula.mutants()]


def test_all_mutants_of_a_fused_multiply_add() -> None:
    assert mutated("y = f32(a * b + c)", "a b c") == [
        "y = a * b + c",
        "y = f64(a * b + c)",
        "y = f16(a * b + c)",
        "y = f32(f32(a * b) + c)",
        "y = f32(a * b - c)",
        "y = f32(a * b)",
        "y = f32(c)",
        "y = f32(a + c)",
        "y = f32(b + c)",
    ]


def test_what_two_edits_have_in_common_is_one_mutant() -> None:
    texts = mutated("y = f32(f32(a))", "a")
    assert texts == ["y = f32(a)"] + [
        f"y = {text}" for text in ("f64(f32(a))", "f16(f32(a))", "f32(f64(a))", "f32(f16(a))")
    ]


def test_a_reciprocal_is_not_replaced_by_itself() -> None:
    assert "y = f32(a * f32(1 / b))" in mutated("y = f32(a / b)", "a b")
    assert "y = f32(1 * f32(1 / b))" not in mutated("y = f32(1 / b)", "b")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("f32(f32(a * b) / c)", {"f32(f32(b / c) * a)", "f32(f32(a / c) * b)"}),
        ("f32(f32(a / b) / c)", {"f32(a / f32(b * c))", "f32(f32(a / c) / b)"}),
        ("f32(a / f32(b * c))", {"f32(f32(a / b) / c)", "f32(f32(a / c) / b)"}),
        ("f32(f32(a * b) * c)", {"f32(f32(b * c) * a)", "f32(f32(a * c) * b)"}),
        ("f32(f32(a + b) + c)", {"f32(f32(b + c) + a)", "f32(f32(a + c) + b)"}),
        ("f32(a - f32(b - c))", {"f32(f32(a - b) + c)", "f32(f32(c + a) - b)"}),
    ],
)
def test_three_operands_are_combined_in_every_other_order(text: str, wanted: set[str]) -> None:
    formula = Formula(f"y = {text}", symbols=dict.fromkeys("abc", ""))
    orders = [m.formula.text for m in formula.mutants() if "another order" in m.label]
    assert sorted(orders) == sorted(f"y = {order}" for order in wanted)
    # Without the roundings, each order has the same value.
    values = {"a": Fraction(7), "b": Fraction(1, 3), "c": Fraction(5, 11)}
    bare = [Formula(t.replace("f32", ""), symbols=formula.symbols) for t in (formula.text, *orders)]
    assert len({exact.evaluate(values) for exact in bare}) == 1


def test_the_zero_point_moves_across_rint() -> None:
    texts = mutated("y = rint(f32(x)) + z", "x z")
    assert "y = rint(f32(x) + z)" in texts
    assert "y = rint(f32(f32(x) + z))" in texts
    assert "y = rint(f32(x)) + z" in mutated("y = rint(f32(f32(x) + z))", "x z")
    assert "y = rint(x) - z" in mutated("y = rint(x - z)", "x z")
    assert "y = rint(x + z)" in mutated("y = z + rint(x)", "x z")
    assert not any("rint(x + f32" in text for text in mutated("y = rint(x) + f32(z)", "x z"))


def test_either_operand_of_a_compound_is_rounded() -> None:
    texts = mutated("y = f32(a * b - c * c)", "a b c")
    assert "y = f32(f32(a * b) - c * c)" in texts
    assert "y = f32(a * b - f32(c * c))" in texts


def test_sums_lose_terms_and_change_their_order_and_type() -> None:
    texts = mutated("y = sum_f32(x[k] for k in K)", "x", "K")
    assert texts == [
        "y = sum(x[k] for k in K)",
        "y = sum_f64(x[k] for k in K)",
        "y = sum_f32(x[k] for k in all but the first of K)",
        "y = sum_f32(x[k] for k in all but the last of K)",
        "y = sum_f32(x[k] for k in reversed K)",
    ]


def test_mutated_sums_do_what_they_say() -> None:
    formula = Formula("y = sum_f32(x[k] for k in K)", symbols={"x": ""}, sets={"K": ""})
    values = {"x": [1, 2.0**24, 1, 1]}
    got = [m.formula.evaluate(values, sets={"K": range(4)}) for m in formula.mutants()]
    # In order each 1 is lost in a tie to even; from the end 1 + 1 counts, and the next tie goes up.
    assert formula.evaluate(values, sets={"K": range(4)}) == 2**24
    assert got == [2**24 + 3, 2**24 + 3, 2**24, 2**24, 2**24 + 4]


def test_choices_comparisons_and_constants_change() -> None:
    texts = mutated("y = a if a <= 1 and b != 0 else -b", "a b")
    for text in (
        "y = -b if a <= 1 and b != 0 else a",
        "y = a",
        "y = -b",
        "y = a if b != 0 else -b",
        "y = a if a <= 1 else -b",
        "y = a if a < 1 and b != 0 else -b",
        "y = a if a >= 1 and b != 0 else -b",
        "y = a if a <= 2 and b != 0 else -b",
        "y = a if a <= 0 and b != 0 else -b",
        "y = a if a <= 1 and b == 0 else -b",
        "y = a if a <= 1 and b != -1 else -b",
        "y = a if a <= 1 and b != 0 else b",
    ):
        assert text in texts
    assert "y = a if 1 < a and 2 < a else b" in mutated(
        "y = a if 1 < a and b < a and 2 < a else b", "a b"
    )


def test_functions_are_left_out_and_replaced() -> None:
    texts = mutated("y = saturate_int8(clip(abs(floor(v)), lowest(C), min(a, b)))", "v a b",
                    types="C")  # fmt: skip
    for text in (
        "y = clip(abs(floor(v)), lowest(C), min(a, b))",
        "y = wrap_int8(clip(abs(floor(v)), lowest(C), min(a, b)))",
        "y = saturate_int8(abs(floor(v)))",
        "y = saturate_int8(max(abs(floor(v)), lowest(C)))",
        "y = saturate_int8(min(abs(floor(v)), min(a, b)))",
        "y = saturate_int8(clip(floor(v), lowest(C), min(a, b)))",
        "y = saturate_int8(clip(abs(trunc(v)), lowest(C), min(a, b)))",
        "y = saturate_int8(clip(abs(floor(v)), highest(C), min(a, b)))",
        "y = saturate_int8(clip(abs(floor(v)), lowest(C), max(a, b)))",
        "y = saturate_int8(clip(abs(floor(v)), lowest(C), b))",
    ):
        assert text in texts


@pytest.mark.parametrize(
    ("function", "values"),
    [("trunc", [-1, 0, 0, 0, 1, 1]), ("half_up", [-1, 0, 0, 1, 2, 2]),
     ("half_away", [-2, -1, 0, 1, 2, 2]), ("floor", [-2, -1, 0, 0, 1, 1])],
)  # fmt: skip
def test_wrong_roundings_round_as_they_are_called(function: str, values: list[int]) -> None:
    formula = Formula("y = rint(x)", symbols={"x": ""})
    (mutant,) = (m.formula for m in formula.mutants() if f"{function} for" in m.label)
    inputs = [-1.5, -0.5, 0.25, 0.5, 1.5, 1.75]
    assert [mutant.evaluate({"x": x}) for x in inputs] == values


def test_wrong_ranges_saturate_and_wrap_as_they_are_called() -> None:
    formula = Formula("y = saturate(x)", symbols={"x": ""}, types={"T": ""})
    got = {
        mutant.formula.text: [
            mutant.formula.evaluate({"x": x}, types={"T": "int4"}) for x in (-9, 8)
        ]
        for mutant in formula.mutants()
    }
    assert got == {"y = x": [-9, 8], "y = saturate_narrow(x)": [-7, 7], "y = wrap(x)": [7, -8]}


def test_a_scale_is_mistaken_for_a_scale_and_for_nothing_else() -> None:
    texts = mutated("y = f32(x * s_x) + f32(w[0] * s_w[0]) + z_x + s_y", "x s_x w s_w z_x s_y")
    assert "y = f32(x * s_y) + f32(w[0] * s_w[0]) + z_x + s_y" in texts
    assert not any("s_w + " in text or "x * z_x" in text or "s_y[" in text for text in texts)


@pytest.mark.parametrize("operator", GRIDS)
def test_mutants_are_deterministic_distinct_and_can_be_typeset(operator: str) -> None:
    formula = GRIDS[operator][0]
    mutants = list(formula.mutants())
    assert mutants == list(formula.mutants())
    texts = [mutant.formula.text for mutant in mutants]
    assert len({formula.text, *texts}) == len(texts) + 1
    assert len({mutant.label for mutant in mutants}) == len(mutants)
    assert all(mutant.formula.latex() != formula.latex() for mutant in mutants)


def test_a_mutant_that_only_commutes_is_none() -> None:
    assert "y = f32(s_b * s_a)" not in mutated("y = f32(s_a * s_b)", "s_a s_b")
