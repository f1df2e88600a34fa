"""Formulas as LaTeX: what is written, and that math-core makes MathML of it."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import math_core
import pytest

from qdqdoc.formula import Formula, name_latex

NAMES = "s_x s_w s_y s_a s_b z_x z_w z_y z_a z_b a b c x w q s z n j M B b_0 b_1 alpha L"
# Name: text, and the right sides of its LaTeX; where they are broken does not matter.
FORMULAS: dict[str, tuple[str, str]] = {
    "QuantizeLinear": (
        "y = saturate(rint(C(C(x) / C(s))) + z)",
        r"\mathrm{sat}_{T}(\lfloor C(x) \oslash_{C} C(s) \rceil + z)",
    ),
    "QuantizeLinear, float8": (
        "y = T(clip(C(C(x) / C(s)), lowest(T), highest(T)))",
        r"T(\mathrm{clip}(C(x) \oslash_{C} C(s), T_{\min}, T_{\max}))",
    ),
    "QuantizeLinear, float8 as onnxruntime": (
        """
        v = C(C(x) / C(s))
        y = (B if v > 0 else -B) if b_0 <= abs(v) < b_1 else T(v)
        """,
        r"""
        C(x) \oslash_{C} C(s) \\
        \begin{cases} \begin{cases} B & \text{if } v > 0 \\ -B & \text{otherwise} \end{cases}
            & \text{if } b_{0} \le \lvert v \rvert < b_{1} \\ T(v) & \text{otherwise} \end{cases}
        """,
    ),
    "DequantizeLinear": (
        "y = T(f32(f32(wrap32(x - z)) * f32(s)))",
        r"T(\mathrm{f32}(\mathrm{wrap}_{32}(x - z)) \otimes \mathrm{f32}(s))",
    ),
    "DynamicQuantizeLinear": (
        """
        lo = min(min(x[i] for i in X), 0)
        hi = max(max(x[i] for i in X), 0)
        s = f32(f32(hi - lo) / 255) if hi > lo else 1
        z = saturate(rint(f32(0 - f32(lo / s))))
        y[i] = saturate(rint(f32(x[i] / s)) + z)
        """,
        r"""
        \min\left( \min_{i \in X} x_{i}, 0 \right) \\
        \max\left( \max_{i \in X} x_{i}, 0 \right) \\
        \begin{cases} (\mathrm{hi} \ominus \mathrm{lo}) \oslash 255 & \text{if } \mathrm{hi} >
            \mathrm{lo} \\ 1 & \text{otherwise} \end{cases} \\
        \mathrm{sat}_{T}(\lfloor 0 \ominus \mathrm{lo} \oslash s \rceil) \\
        \mathrm{sat}_{T}(\lfloor x_{i} \oslash s \rceil + z)
        """,
    ),
    "QLinearConv": (
        """
        m = f32(f32(s_x * s_w) / s_y)
        acc = wrap32(sum((x[k] - z_x) * (w[k] - z_w) for k in K) + b)
        y = saturate(rint(f32(f32(acc) * m)) + z_y)
        """,
        r"""
        (s_{x} \otimes s_{w}) \oslash s_{y} \\
        \mathrm{wrap}_{32}\left( \left( \sum_{k \in K} (x_{k} - z_{x}) \cdot (w_{k} - z_{w})
            \right) + b \right) \\
        \mathrm{sat}_{T}(\lfloor \mathrm{f32}(\mathrm{acc}) \otimes m \rceil + z_{y})
        """,
    ),
    "QLinearMatMul": (
        """
        m = f32(f32(s_a * s_b) / s_y)
        acc = wrap32(sum((a[k] - z_a) * (b[k] - z_b) for k in K))
        y = saturate(rint(f32(f32(acc) * m)) + z_y)
        """,
        r"""
        (s_{a} \otimes s_{b}) \oslash s_{y} \\
        \mathrm{wrap}_{32}\left( \sum_{k \in K} (a_{k} - z_{a}) \cdot (b_{k} - z_{b}) \right)
            \\
        \mathrm{sat}_{T}(\lfloor \mathrm{f32}(\mathrm{acc}) \otimes m \rceil + z_{y})
        """,
    ),
    "QLinearAdd": (
        """
        r_a = f32(s_a / s_y)
        r_b = f32(s_b / s_y)
        f = f32(z_y - f32(r_a * z_a + f32(r_b * z_b)))
        y = saturate(rint(f32(a * r_a + f32(b * r_b + f))))
        """,
        r"""
        s_{a} \oslash s_{y} \\
        s_{b} \oslash s_{y} \\
        z_{y} \ominus \mathrm{f32}(r_{a} \cdot z_{a} + r_{b} \otimes z_{b}) \\
        \mathrm{sat}_{T}(\lfloor \mathrm{f32}(a \cdot r_{a} + \mathrm{f32}(b \cdot r_{b} + f))
            \rceil)
        """,
    ),
    "QLinearMul": (
        """
        m = f32(f32(s_a * s_b) / s_y)
        y = saturate(rint(f32(f32(f32((a - z_a) * (b - z_b)) * m) + z_y)))
        """,
        r"""
        (s_{a} \otimes s_{b}) \oslash s_{y} \\
        \mathrm{sat}_{T}(\lfloor \mathrm{f32}((a - z_{a}) \cdot (b - z_{b})) \otimes m \oplus
            z_{y} \rceil)
        """,
    ),
    "QLinearAveragePool": (
        """
        v = f32(sum_f32(f32(s_x * (x[k] - z_x)) for k in W) / n)
        y = saturate(rint(f32(f32(v / s_y) + z_y)))
        """,
        r"""
        \left( \sum^{\rightarrow\,\mathrm{f32}}_{k \in W} \mathrm{f32}(s_{x} \cdot (x_{k} -
            z_{x})) \right) \oslash n \\
        \mathrm{sat}_{T}(\lfloor v \oslash s_{y} \oplus z_{y} \rceil)
        """,
    ),
    "QLinearGlobalAveragePool": (
        """
        m = f32(s_x / f32(s_y * n))
        y = saturate(rint(f32(f32(sum(x[k] - z_x for k in W)) * m)) + z_y)
        """,
        r"""
        s_{x} \oslash (s_{y} \otimes n) \\
        \mathrm{sat}_{T}\left( \left\lfloor \mathrm{f32}\left( \sum_{k \in W} (x_{k} - z_{x})
            \right) \otimes m \right\rceil + z_{y} \right)
        """,
    ),
    "QLinearLeakyRelu": (
        """
        v = f32(s_x * (x - z_x))
        u = v if v >= 0 else f32(alpha * v)
        y = saturate(rint(f32(u / s_y)) + z_y)
        """,
        r"""
        \mathrm{f32}(s_{x} \cdot (x - z_{x})) \\
        \begin{cases} v & \text{if } v \ge 0 \\ \alpha \otimes v & \text{otherwise}
            \end{cases} \\
        \mathrm{sat}_{T}(\lfloor u \oslash s_{y} \rceil + z_{y})
        """,
    ),
    "QLinearSigmoid": (
        """
        u = f32(1 / (1 + exp(-x)))
        y = saturate(rint(f32(u / s_y)) + z_y)
        """,
        r"""
        \mathrm{f32}\left( \frac{1}{1 + e^{-x}} \right) \\
        \mathrm{sat}_{T}(\lfloor u \oslash s_{y} \rceil + z_{y})
        """,
    ),
    "QLinearSigmoid, polynomial": (
        """
        v = clip(f32(s_x * (x - z_x)), -18, 18)
        t = f32(v * v)
        p_1 = f32(t * b_1 + b_0)
        u = f32(f32(f32(v * p_1) / t) + 0.5)
        """,
        r"""
        \mathrm{clip}(\mathrm{f32}(s_{x} \cdot (x - z_{x})), -18, 18) \\
        v \otimes v \\
        \mathrm{f32}(t \cdot b_{1} + b_{0}) \\
        (v \otimes p_{1}) \oslash t \oplus 0.5
        """,
    ),
    "QLinearSoftmax": (
        """
        top = max(x[k] for k in K)
        h = f64(max(0, f32(log(f32(M / n))) - 5) / s_x)
        e[k] = f32(exp(f64(f64(x[k] - top + h) * s_x)))
        d = sum_f32(e[k] for k in K)
        p = f64(f64(e[j] * floor(f32(1 / s_y))) / d)
        y = saturate(rint(p) + z_y)
        """,
        r"""
        \max_{k \in K} x_{k} \\
        \max(0, \mathrm{f32}(\ln(M \oslash n)) - 5) \oslash_{\mathrm{f64}} s_{x} \\
        \mathrm{f32}(e^{\mathrm{f64}(x_{k} - \mathrm{top} + h) \otimes_{\mathrm{f64}} s_{x}})
            \\
        \sum^{\rightarrow\,\mathrm{f32}}_{k \in K} e_{k} \\
        (e_{j} \otimes_{\mathrm{f64}} \lfloor 1 \oslash s_{y} \rfloor) \oslash_{\mathrm{f64}}
            d \\
        \mathrm{sat}_{T}(\lfloor p \rceil + z_{y})
        """,
    ),
    "QLinearConcat": (
        """
        y = (x if s_x == s_y and z_x == z_y else
             saturate(rint(f32(f32(s_x * (x - z_x)) / s_y)) + z_y))
        """,
        r"""
        \begin{cases} x & \text{if } s_{x} = s_{y} \text{ and } z_{x} = z_{y} \\
            \mathrm{sat}_{T}(\lfloor \mathrm{f32}(s_{x} \cdot (x - z_{x})) \oslash s_{y} \rceil +
            z_{y}) & \text{otherwise} \end{cases}
        """,
    ),
    "QGemm": (
        """
        m = f32(f32(f32(alpha * s_a) * s_b) / s_y)
        acc = wrap32(sum((a[k] - z_a) * (b[k] - z_b) for k in K) + c)
        y = f32(f32(acc) * m)
        """,
        r"""
        ((\alpha \otimes s_{a}) \otimes s_{b}) \oslash s_{y} \\
        \mathrm{wrap}_{32}\left( \left( \sum_{k \in K} (a_{k} - z_{a}) \cdot (b_{k} - z_{b})
            \right) + c \right) \\
        \mathrm{f32}(\mathrm{acc}) \otimes m
        """,
    ),
    "MatMulIntegerToFloat": (
        """
        acc = wrap32(sum((a[k] - z_a) * (b[k] - z_b) for k in K))
        y = f32(f32(f32(acc) * f32(s_a * s_b)) + c)
        """,
        r"""
        \mathrm{wrap}_{32}\left( \sum_{k \in K} (a_{k} - z_{a}) \cdot (b_{k} - z_{b}) \right)
            \\
        \mathrm{f32}(\mathrm{acc}) \otimes (s_{a} \otimes s_{b}) \oplus c
        """,
    ),
    "GatherBlockQuantized": (
        "y = T(f32(f32(q - z) * s))",
        r"T((q \ominus z) \otimes s)",
    ),
    "MatMulNBits": (
        "y = anysum_f32(a[k] * f32(f32(q[k] - z[k]) * s[k]) for k in K) + c",
        r"""
        \left( \sum^{?\,\mathrm{f32}}_{k \in K} a_{k} \cdot ((q_{k} \ominus z_{k}) \otimes
            s_{k}) \right) + c
        """,
    ),
    "MatMulBnb4": (
        "y = anysum_f32(a[k] * f32(L[q[k]] * s[k]) for k in K)",
        r"\sum^{?\,\mathrm{f32}}_{k \in K} a_{k} \cdot (L_{q_{k}} \otimes s_{k})",
    ),
}


def built(text: str) -> Formula:
    """Declare what a text uses."""
    words = set(re.findall(r"[A-Za-z]\w*", text))
    targets = set(re.findall(r"^\s*(\w+)", text, re.MULTILINE))
    symbols = [name for name in NAMES.split() if name in words - targets]
    types = [name for name, sign in (("C", "C"), ("T", "T"), ("T", "saturate")) if sign in words]
    sets = [name for name in "KWX" if name in words]
    return Formula(
        text,
        symbols=dict.fromkeys(symbols, ""),
        sets=dict.fromkeys(sets, ""),
        types=dict.fromkeys(types, ""),
    )


def right_sides(formula: Formula, *, circled: bool = True) -> str:
    """Return the LaTeX without its environment and without what stands before each ``=``."""
    latex = re.sub(r"\\(begin|end)\{aligned\}", "", formula.latex(circled=circled))
    return " ".join(re.sub(r"^.*? &?= ", "", row) for row in latex.strip().splitlines())


def mathml(latex: str) -> ET.Element:
    text = math_core.LatexToMathML().convert_with_local_state(latex, displaystyle=True)
    return ET.fromstring(re.sub(r"&\w+;", "", text))  # noqa: S314 - our own text


@pytest.mark.parametrize("name", FORMULAS)
def test_each_line_reads_as_the_research_wants_it(name: str) -> None:
    text, wanted = FORMULAS[name]
    assert right_sides(built(text)) == " ".join(wanted.split())


@pytest.mark.parametrize("circled", [True, False])
@pytest.mark.parametrize("name", FORMULAS)
def test_math_core_makes_mathml_of_it(name: str, *, circled: bool) -> None:
    formula = built(FORMULAS[name][0])
    tree = mathml(formula.latex(circled=circled))
    assert tree.tag == "math"
    assert tree.find(".//merror") is None
    assert "\\" not in "".join(tree.itertext())
    lines = len(formula.targets)
    assert len(tree.findall("mtable/mtr")) == (lines if lines > 1 else 0)


@pytest.mark.parametrize("name", FORMULAS)
def test_fences_and_braces_balance(name: str) -> None:
    for circled in (True, False):
        latex = built(FORMULAS[name][0]).latex(circled=circled)
        fences = (r"\(", r"\)"), ("{", "}"), (r"\\left\b", r"\\right\b"), (r"\\lf", r"\\r(fl|c)")
        for left, right in fences:
            assert len(re.findall(left, latex)) == len(re.findall(right, latex))


def test_one_line_is_plain_and_several_are_aligned() -> None:
    assert built("y = f32(x * s)").latex() == r"y = x \otimes s"
    assert built("u = f32(x * s)\ny = u + z").latex() == (
        "\\begin{aligned}\nu &= x \\otimes s \\\\\ny &= u + z\n\\end{aligned}"
    )


def test_without_circles_every_rounding_is_written_and_divisions_are_fractions() -> None:
    assert right_sides(built("m = f32(f32(s_a * s_b) / s_y)"), circled=False) == (
        r"\mathrm{f32}\left( \frac{\mathrm{f32}(s_{a} \cdot s_{b})}{s_{y}} \right)"
    )


CASES = r"""
\begin{cases} a & \text{if } b > c \\ x & \text{if } b < c \\ s & \text{otherwise} \end{cases}
"""
SCALED = r"""
\left( \begin{cases} a & \text{if } b > c \\ x & \text{otherwise} \end{cases} \right) \cdot s
"""
MAGNITUDE = r"""
\begin{cases} a & \text{if } b \ne c \\
    \lfloor \lvert a \rvert \rfloor & \text{otherwise} \end{cases}
"""


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a - (b - c)", "a - (b - c)"),
        ("a - b - c", "a - b - c"),
        ("(a + b) * c", r"(a + b) \cdot c"),
        ("a * (b * c)", r"a \cdot (b \cdot c)"),
        ("-(a + b) * c", r"(-(a + b)) \cdot c"),
        ("a - -b", "a - (-b)"),
        ("(a if b > c else x) * s", SCALED),
        ("a if b > c else x if b < c else s", CASES),
        ("a if b != c else floor(abs(a))", MAGNITUDE),
        # One operation whose operand is exact arithmetic is not one operation.
        ("f32(a * b + c)", r"\mathrm{f32}(a \cdot b + c)"),
        ("f32(a + b + c)", r"\mathrm{f32}(a + b + c)"),
        ("f32(f32(a + b) + c)", r"(a \oplus b) \oplus c"),
        ("f32(a - f32(b - c))", r"a \ominus (b \ominus c)"),
        ("f32(f32(a * b) + c)", r"a \otimes b \oplus c"),
        ("f32(f32(a + b) * c)", r"(a \oplus b) \otimes c"),
        ("f32(-a * b)", r"(-a) \otimes b"),
        ("f32(a / b) * c", r"a \oslash b \cdot c"),
        ("bf16(a / b)", r"a \oslash_{\mathrm{bf16}} b"),
        ("sum(sum(x[i, k] for i in X) for k in K)", r"\sum_{k \in K} \sum_{i \in X} x_{i, k}"),
        ("sum(x[k] + b for k in K)", r"\sum_{k \in K} (x_{k} + b)"),
        ("x[2 * j + 1]", r"x_{2 \cdot j + 1}"),
        ("b_0 + s_x", "b_{0} + s_{x}"),
        ("saturate_uint8(wrap32(a))", r"\mathrm{sat}_{\mathrm{uint8}}(\mathrm{wrap}_{32}(a))"),
        ("a / b / c", r"\frac{\frac{a}{b}}{c}"),
        ("f32(log(exp(a)))", r"\mathrm{f32}(\ln(e^{a}))"),
        ("a * 1e-3 + 2.50 + inf", r"a \cdot (1 \cdot 10^{-3}) + 2.50 + \infty"),
        ("max(a, nan, 1_000)", r"\max(a, \mathrm{NaN}, 1000)"),
    ],
)
def test_parentheses_and_notation(text: str, latex: str) -> None:
    assert right_sides(built(f"y = {text}")) == " ".join(latex.split())
    assert mathml(latex).find(".//merror") is None


def test_names_are_chosen_by_the_caller_or_by_their_look() -> None:
    formula = Formula(
        "acc[k] = C(x[k] * s_x)\ny = sum(acc[k] for k in K) * alpha + lowest(C)",
        symbols={"x": "", "s_x": "", "alpha": ""},
        sets={"K": ""},
        types={"C": ""},
    )
    assert formula.latex().splitlines()[1:3] == [
        r"\mathrm{acc}_{k} &= x_{k} \otimes_{C} s_{x} \\",
        r"y &= \left( \sum_{k \in K} \mathrm{acc}_{k} \right) \cdot \alpha + C_{\min}",
    ]
    names = {"x": r"\hat{x}", "s_x": "S", "k": "t", "K": r"\mathcal{K}", "C": "c", "acc": "q_{0}"}
    assert formula.latex(names=names).splitlines()[1:3] == [
        r"q_{0,t} &= \hat{x}_{t} \otimes_{c} S \\",
        r"y &= \left( \sum_{t \in \mathcal{K}} q_{0,t} \right) \cdot \alpha + c_{\min}",
    ]
    assert mathml(formula.latex(names=names)).find(".//merror") is None


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("s", "s"),
        ("s_x", "s_{x}"),
        ("acc", r"\mathrm{acc}"),
        ("alpha", r"\alpha"),
        ("alpha_0", r"\alpha_{0}"),
        ("b_10", "b_{10}"),
        ("x_zero_point", r"x_{\mathrm{zero\_point}}"),
    ],
)
def test_the_look_of_a_name(name: str, latex: str) -> None:
    assert name_latex(name) == latex
    assert mathml(latex).find(".//merror") is None
