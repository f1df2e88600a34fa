"""What a formula may say, and what is said of one that may not."""

from __future__ import annotations

import inspect
import re

import pytest

from qdqdoc.errors import QdqdocError
from qdqdoc.formula import Formula, FormulaError
from qdqdoc.formula.parser import parse
from qdqdoc.formula.tree import line_source

SYMBOLS = dict.fromkeys(("s", "x", "z"), "meaning")
SETS = {"K": "taps"}
TYPES = {"T": "type of y"}


Table = dict[str, str]


def refused(text: str, symbols: Table = SYMBOLS, sets: Table = SETS, types: Table = TYPES) -> str:
    with pytest.raises(FormulaError) as caught:
        Formula(text, symbols=symbols, sets=sets, types=types)
    return str(caught.value)


def test_an_error_shows_line_caret_and_the_nearest_name() -> None:
    assert refused("y = saturate(rint(x / s) + zp)") == inspect.cleandoc(
        """
        unknown symbol 'zp'; did you mean 'z'? Declared: s, x, z
          line 1: y = saturate(rint(x / s) + zp)
                                             ^
        """
    )


def test_the_caret_stands_on_the_right_line_of_several() -> None:
    assert refused("v = x / s\ny = rint(v) +  w").splitlines()[1:] == [
        "  line 2: y = rint(v) +  w",
        "                         ^",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y = x // s", "operator FloorDiv is not allowed; use + - * /"),
        ("y = x ** 2", "operator Pow is not allowed; use + - * /"),
        ("y = +x", "operator UAdd is not allowed; use + - * /"),
        ("y = x if not s > 0 else z", "a condition is a comparison, or several joined by `and`"),
        ("y = x if s > 0 or z > 0 else z", "a condition is a comparison, or several joined"),
        ("y = x if s else z", "a condition is a comparison, or several joined by `and`"),
        ("y = x if s in z else z", "a condition is a comparison, or several joined by `and`"),
        ("y = x < s", "a comparison may stand only in the condition of `a if ... else b`"),
        ("y = round(x)", "unknown function 'round'. Functions are: f64, f32, f16, bf16, "),
        ("y = rnt(x)", "unknown function 'rnt'; did you mean 'rint'? Functions are: "),
        ("y = f8e8m0(x)", "unknown function 'f8e8m0'; did you mean"),
        ("y = x.astype(int)", "'x.astype' cannot be called; functions are: f64"),
        ("y = x.T", "Attribute is not part of the formula language"),
        ("y = (lambda: x)()", "'lambda: x' cannot be called; functions are: "),
        ("y = lambda: x", "Lambda is not part of the formula language"),
        ("y = f32(*x)", "Starred is not part of the formula language"),
        ("y = (x, s)", "Tuple is not part of the formula language"),
        ("y = (v := x)", "NamedExpr is not part of the formula language"),
        ("y = f'{x}'", "JoinedStr is not part of the formula language"),
        ("y = 'a'", "only numbers may be constants, not 'a'"),
        ("y = x + 2j", "only numbers may be constants, not 2j"),
        ("y = True", "only numbers may be constants, not True"),
        ("y = f32 + x", "'f32' is a function; write f32(...)"),
        ("y = T + x", "'T' is a type; write T(...)"),
        ("y = K + x", "'K' is an index set; write `... for k in K`"),
        ("x = s", "'x' is an input and cannot be assigned"),
        ("v = x\nv = s", "'v' has a meaning already and cannot be a target"),
        ("rint = s", "'rint' has a meaning already and cannot be a target"),
        ("e[k] = x\nk = e[0]", "'k' is an index and cannot be a target"),
        ("e[e] = x", "'e' is an index and cannot be a target"),
        ("v = sum(k for k in K)\nk = v", "'k' is an index and cannot be a target"),
        ("x[k] = s", "'x' is an input and cannot be assigned"),
        ("y[x] = s", "'x' has a meaning already and cannot be an index"),
        ("y = x\ny[0] = s", "a line is `name = expression` or `name[k] = expression`"),
        ("y = v = x", "a line is `name = expression` or `name[k] = expression`"),
        ("y += x", "a line is `name = expression` or `name[k] = expression`"),
        ("x / s", "a line is `name = expression` or `name[k] = expression`"),
        ("import os", "a line is `name = expression` or `name[k] = expression`"),
        ("", "a formula needs at least one line `name = expression`"),
        ("# only a comment", "a formula needs at least one line `name = expression`"),
        ("y = x +", "invalid syntax"),
        ("y = (x", "'(' was never closed"),
        ("y = \ud800", "not a text: 'utf-8' codec can't encode character"),
        ("y = d + x\nd = x", "unknown symbol 'd'"),
        ("y = y + x", "unknown symbol 'y'"),
        ("y = f32(x, s)", "f32 takes 1 argument(s), not 2"),
        ("y = clip(x, s)", "clip takes 3 argument(s), not 2"),
        ("y = min(x)", "write `min(... for k in SET)` with one declared index set (K)"),
        ("y = max()", "max takes at least 2 argument(s), not 0"),
        ("y = f32(x, out=s)", "f32 takes no keyword arguments"),
        ("y = sum(x)", "write `sum(... for k in SET)` with one declared index set (K)"),
        ("y = sum(x[k] for k in range)", "write `sum(... for k in SET)` with one declared index"),
        ("y = sum(x[k] for k in K if k > 0)", "write `sum(... for k in SET)` with one declared"),
        ("y = sum(x[k] for k in K for j in K)", "write `sum(... for k in SET)` with one declared"),
        ("y = sum(x[k] for x in K)", "'x' has a meaning already and cannot be an index"),
        ("y = sum(sum(x[k] for k in K) for k in K)", "'k' has a meaning already and cannot be an"),
        (
            "y = f32(x[k] for k in K)",
            "a `for` may stand only directly inside sum, min, max, sum_f3",
        ),
        ("y = [x for k in K]", "a `for` may stand only directly inside sum, min, max, sum_f32 or "),
        ("y = sum(x[k] for k in K) + k", "unknown symbol 'k'"),
        ("y = x + x[0]", "'x' is used both with and without an index"),
        ("v = x\ny = v[0]", "'v' has one value and takes no index"),
        ("y = sum(k[0] for k in K)", "'k' has one value and takes no index"),
        ("v[k] = x\ny = v", "'v' is a family; write v[...]"),
        ("y = x[0][1]", "only a name can have an index; several are written x[i, j]"),
        ("y = x[0:1]", "Slice is not part of the formula language"),
        ("y = q[0]", "unknown symbol 'q'"),
        ("y = exp(x)", "exp is a real function: put it inside a rounding point, f32(...)"),
        ("y = f32(x) + log(s)", "log is a real function: put it inside a rounding point"),
        ("y = lowest(x)", "write lowest(T) with one declared type (T)"),
        ("y = highest()", "write highest(T) with one declared type (T)"),
        ("y = " + "-" * 200 + "x", "the formula is nested too deeply"),
        ("y = " + "-" * 100_000 + "x", "the formula is nested too deeply"),
    ],
)
def test_what_the_language_lacks_is_refused(text: str, message: str) -> None:
    assert refused(text).startswith(message)


def test_the_caret_counts_characters() -> None:
    for text in ("y = ä + zp", "y = ä + ?"):
        assert refused(text, symbols={"ä": ""}).splitlines()[2].index("^") == 18


@pytest.mark.parametrize(
    "text",
    [
        "a - (b - c) - (a + b)",
        "(a + b) * -c / (a * b)",
        "-(a + b) - -c",
        "--a * b + -a * b",
        "(a if b < c else b) + 1",
        "a if b < c else b if c == 2 <= a and b != a else c",
        "(a if b < c else b) if c < (a if a < b else b) else c",
        "sum((x[k, 2 * k] - 0.5) * T(b) for k in K) + max(x[k] for k in K)",
        "clip(min(a, lowest(T)), -1, 1e-3)",
    ],
)
def test_the_text_of_a_tree_is_the_text_it_was_read_from(text: str) -> None:
    words = set(re.findall(r"\w+", text))
    symbols, sets, types = (
        [name for name in names if name in words] for names in ("abcx", "K", "T")
    )
    (line,) = parse(f"y = {text}", symbols, sets, types)
    assert line_source(line) == f"y = {text}"


def test_a_null_byte_is_refused() -> None:
    assert "source code string cannot contain null bytes" in refused("y = x\0")


def test_saturate_needs_the_type_it_means() -> None:
    message = refused("y = saturate(x)", symbols={"x": ""}, types={"C": ""})
    assert message.startswith("saturate(v) means the type variable 'T': declare it in types")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"symbols": SYMBOLS | {"b": ""}}, "'b' is declared but the formula never uses it"),
        ({"sets": {"K": ""}}, "'K' is declared but the formula never uses it"),
        ({"types": {"T": ""}}, "'T' is declared but the formula never uses it"),
        ({"symbols": SYMBOLS | {"x y": ""}}, "'x y' cannot be a symbol; write a name such as s_x"),
        ({"symbols": SYMBOLS | {"f32": ""}}, "'f32' is a word of the formula language; choose"),
        ({"sets": {"x": ""}}, "'x' is declared twice"),
    ],
)
def test_declarations_are_checked(tables: dict[str, dict[str, str]], message: str) -> None:
    assert refused("y = rint(x / s) + z", **({"sets": {}, "types": {}} | tables)).startswith(
        message
    )


def test_an_error_is_caught_as_every_error_of_the_product() -> None:
    assert issubclass(FormulaError, QdqdocError)


def test_a_formula_tells_what_it_is() -> None:
    formula = Formula(
        """
        v = x / s
        y = rint(v)  # to even
        """,
        symbols={"x": "value", "s": "scale"},
        when="always",
        name="Division",
    )
    assert formula.text == "v = x / s\ny = rint(v)  # to even"
    assert (formula.targets, formula.result, formula.result_index) == (("v", "y"), "y", None)
    assert (formula.when, formula.name) == ("always", "Division")
    assert dict(formula.symbols) == {"x": "value", "s": "scale"}
    assert repr(formula) == "Formula('v = x / s\\ny = rint(v)  # to even', name='Division')"


def test_formulas_are_equal_if_their_texts_are() -> None:
    one = Formula("y = x", symbols={"x": "one"})
    assert one == Formula(" y = x\n", symbols={"x": "other"}, name="named")
    assert one != Formula("y = -x", symbols={"x": "one"})
    assert one != "y = x"
    assert len({one, Formula("y = x", symbols={"x": "other"})}) == 1
    assert repr(one) == "Formula('y = x')"


def test_what_is_declared_cannot_be_changed_later() -> None:
    symbols = {"x": "one"}
    formula = Formula("y = x", symbols=symbols)
    symbols["x"] = "other"
    assert formula.symbols["x"] == "one"
    with pytest.raises(TypeError):
        formula.symbols["x"] = "other"  # type: ignore[index]  # that is the point
