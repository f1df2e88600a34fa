"""A checked tree as LaTeX.

A rounding point around one operation becomes a circled operator, the notation of floating-point
texts; around anything more it stays written, so that a fused multiply-add is seen to round once.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qdqdoc.formula.rounding import POINTS
from qdqdoc.formula.tree import (
    And,
    Binary,
    Call,
    Choice,
    Compare,
    Item,
    Limit,
    Line,
    Name,
    Negate,
    Node,
    Number,
    Reduce,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from fractions import Fraction

_CIRCLED: Final = {"+": r"\oplus", "-": r"\ominus", "*": r"\otimes", "/": r"\oslash"}
_PLAIN: Final = {"+": "+", "-": "-", "*": r"\cdot", "/": "/"}
_COMPARE: Final = {"<": "<", "<=": r"\le", ">": ">", ">=": r"\ge", "==": "=", "!=": r"\ne"}
# How strongly notation binds. A sum sign swallows what follows it: weaker than any operator.
_OPEN, _SIGMA, _SUM, _PRODUCT, _TIGHT, _ATOM = range(6)
_STRENGTH: Final = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT}
_TALL: Final = (r"\frac", r"\sum", r"\min_", r"\max_", r"\begin")
_LIMITS: Final = {"lowest": r"\min", "highest": r"\max"}
_FENCES: Final = {
    "rint": (r"\lfloor", r"\rceil"),
    "floor": (r"\lfloor", r"\rfloor"),
    "abs": (r"\lvert", r"\rvert"),
}
_FUNCTIONS: Final = {
    "wrap32": r"\mathrm{wrap}_{32}",
    "log": r"\ln",
    "min": r"\min",
    "max": r"\max",
}
_REDUCTIONS: Final = {
    "sum": r"\sum",
    "sum_f32": r"\sum^{\rightarrow\,\mathrm{f32}}",
    "sum_f64": r"\sum^{\rightarrow\,\mathrm{f64}}",
    "anysum_f32": r"\sum^{?\,\mathrm{f32}}",
    "min": r"\min",
    "max": r"\max",
}
# fmt: off
_GREEK: Final = frozenset((
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda",
    "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
))
# fmt: on


def name_latex(name: str) -> str:
    r"""Return the LaTeX of a name: the part after an underscore is a subscript.

    >>> name_latex("s_x"), name_latex("acc"), name_latex("alpha"), name_latex("b_10")
    ('s_{x}', '\\mathrm{acc}', '\\alpha', 'b_{10}')
    """
    head, _, tail = name.partition("_")
    return f"{_word(head)}_{{{_word(tail)}}}" if head and tail else _word(name)


def _word(word: str) -> str:
    if word in _GREEK:
        return f"\\{word}"
    if len(word) == 1 or word.isdigit():
        return word
    return f"\\mathrm{{{escaped(word)}}}"


def escaped(word: str) -> str:
    """Escape what would be a command in a word."""
    return word.replace("_", r"\_")


@dataclass(frozen=True)
class Writer:
    """Writes lines with a choice of names and of notation."""

    names: Mapping[str, str]
    types: Collection[str]
    circled: bool

    def lines(self, lines: Iterable[Line]) -> str:
        """Write all lines, aligned at the equals sign if there are several."""
        pairs = [(self.target(line), self.text(line.value)) for line in lines]
        if len(pairs) == 1:
            return " = ".join(pairs[0])
        rows = " \\\\\n".join(f"{target} &= {value}" for target, value in pairs)
        return f"\\begin{{aligned}}\n{rows}\n\\end{{aligned}}"

    def target(self, line: Line) -> str:
        """Write the left side of a line."""
        if line.index is None:
            return self.name(line.target)
        return self.subscript(line.target, self.name(line.index))

    def name(self, name: str) -> str:
        """Write a name as the caller wants it, or as it reads best."""
        return self.names.get(name) or name_latex(name)

    def subscript(self, name: str, index: str) -> str:
        """Add an index to a name, after the subscript that it may have already."""
        text = self.name(name)
        match = re.fullmatch(r"(.*)_\{(.*)\}", text)
        return f"{match[1]}_{{{match[2]},{index}}}" if match else f"{text}_{{{index}}}"

    def text(self, node: Node) -> str:
        """Write a node that needs no parentheses where it stands."""
        return self.write(node)[0]

    def write(self, node: Node) -> tuple[str, int]:  # noqa: PLR0911 - one for each kind of node
        """Return the LaTeX of a node and how strongly its outermost operator binds."""
        match node:
            case Number(value, text):
                return _number(value, text)
            case Name(name):
                return self.name(name), _ATOM
            case Item(name, index):
                return self.subscript(name, ", ".join(map(self.text, index))), _ATOM
            case Limit(end, type_):
                return self.subscript(type_, _LIMITS[end]), _ATOM
            case Binary(op, left, right):
                return self.exact(op, left, right)
            case Negate(operand):
                return "-" + self.wrapped(operand, _PRODUCT), _SUM
            case Call(function, arguments):
                return self.call(function, arguments)
            case Reduce():
                return self.reduce(node), _SIGMA
            case _:
                return self.condition(node), _OPEN

    def wrapped(self, node: Node, least: int) -> str:
        """Write a node, in parentheses if it binds less than asked."""
        text, strength = self.write(node)
        return text if strength >= least else _parentheses(text)

    def exact(self, op: str, left: Node, right: Node) -> tuple[str, int]:
        """Write an operation that nothing rounds."""
        if op == "/":
            return f"\\frac{{{self.text(left)}}}{{{self.text(right)}}}", _ATOM
        own = _STRENGTH[op]
        return f"{self.wrapped(left, own)} {_PLAIN[op]} {self.wrapped(right, own + 1)}", own

    def rounded(self, point: str, node: Binary) -> tuple[str, int]:
        """Write one rounded operation: not associative, so equals beside it get parentheses."""
        own = _STRENGTH[node.op]
        mark = "" if point == "f32" else f"_{{{self.point(point)}}}"
        left, right = self.wrapped(node.left, own + 1), self.wrapped(node.right, own + 1)
        return f"{left} {_CIRCLED[node.op]}{mark} {right}", own

    def point(self, point: str) -> str:
        """Write the name of a rounding point."""
        return self.name(point) if point in self.types else f"\\mathrm{{{point}}}"

    def call(self, function: str, arguments: tuple[Node, ...]) -> tuple[str, int]:
        """Write a function, or what notation has instead of it."""
        first = arguments[0]
        rounds = function in POINTS or function in self.types
        if rounds and self.circled and isinstance(first, Binary) and _one_operation(first):
            return self.rounded(function, first)
        inner = ", ".join(map(self.text, arguments))
        if function == "exp":
            return f"e^{{{inner}}}", _TIGHT
        if function == "sqrt":
            return f"\\sqrt{{{inner}}}", _ATOM
        if function in _FENCES:
            left, right = _FENCES[function]
            return _fenced(left, inner, right), _ATOM
        head = self.point(function) if rounds else self.function(function)
        return head + _parentheses(inner), _ATOM

    def function(self, function: str) -> str:
        """Write the name of a function."""
        if function in _FUNCTIONS:
            return _FUNCTIONS[function]
        if function == "saturate":
            return f"\\mathrm{{sat}}_{{{self.name('T')}}}"
        if function.startswith("saturate_"):
            return f"\\mathrm{{sat}}_{{\\mathrm{{{function.removeprefix('saturate_')}}}}}"
        return f"\\mathrm{{{escaped(function)}}}"

    def reduce(self, node: Reduce) -> str:
        """Write a sum, minimum or maximum over a set."""
        domain = f"{self.name(node.index)} \\in {self.name(node.set)}"
        order = f"\\ (\\text{{{node.order}}})" if node.order else ""
        nested = isinstance(node.body, Reduce)
        body = self.text(node.body) if nested else self.wrapped(node.body, _PRODUCT)
        return f"{_REDUCTIONS[node.kind]}_{{{domain}{order}}} {body}"

    def condition(self, node: Node) -> str:
        """Write a comparison or a choice."""
        match node:
            case Compare(operands, ops):
                first, *rest = (self.wrapped(operand, _SUM) for operand in operands)
                pairs = zip(ops, rest, strict=True)
                return first + "".join(f" {_COMPARE[op]} {text}" for op, text in pairs)
            case And(parts):
                return r" \text{ and } ".join(map(self.condition, parts))
            case Choice():
                rows = " \\\\ ".join(self.cases(node))
                return f"\\begin{{cases}} {rows} \\end{{cases}}"
            case _:  # pragma: no cover - write() has met all other kinds
                raise TypeError(node)

    def cases(self, node: Choice) -> list[str]:
        """Write a choice, and the choices in its last branch, as rows of one brace."""
        row = f"{self.text(node.then)} & \\text{{if }} {self.condition(node.test)}"
        if isinstance(node.other, Choice):
            return [row, *self.cases(node.other)]
        return [row, f"{self.text(node.other)} & \\text{{otherwise}}"]


def _parentheses(text: str) -> str:
    return _fenced("(", text, ")")


def _fenced(left: str, text: str, right: str) -> str:
    """Let fences grow where they hold something tall; elsewhere growing only adds space."""
    if any(mark in text for mark in _TALL):
        return f"\\left{left} {text} \\right{right}"
    return f"({text})" if left == "(" else f"{left} {text} {right}"


def _one_operation(node: Binary) -> bool:
    """Tell whether rounding the node rounds one operation: no operand is exact arithmetic."""
    return all(
        not isinstance(operand.operand if isinstance(operand, Negate) else operand, Binary | Choice)
        for operand in (node.left, node.right)
    )


def _number(value: Fraction | float, text: str) -> tuple[str, int]:
    if isinstance(value, float):
        return (r"\mathrm{NaN}" if math.isnan(value) else r"\infty"), _ATOM
    if value.denominator == 1:
        return str(value.numerator), _ATOM
    digits, _, power = text.replace("_", "").lower().partition("e")
    if not power:
        return digits, _ATOM
    return f"{digits} \\cdot 10^{{{int(power)}}}", _PRODUCT
