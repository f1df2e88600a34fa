"""LaTeX to Typst by way of MathML: the same parser reads the formulas of HTML and PDF.

MathML says what is to be seen: letters, fractions, fences. Each element has one rule here, each
letter is written as its number, so that nothing of a formula can be taken for a command. An
element or an attribute value without a rule is an error.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from functools import cache
from typing import TYPE_CHECKING

from math_core import LatexError, LatexToMathML

from qdqdoc.pdf.markup import string

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INVISIBLE = "\u2061\u2062\u2063\u2064"
"""Function application, and the times, comma and plus that nobody sees."""

OPENING = "([{⌊⌈⟨|‖"
CLOSING = ")]}⌋⌉⟩|‖"
BARS = "|‖"
CLASSES = {"prefix": "opening", "postfix": "closing", "infix": "relation", "tight": "normal"}
ACCENTS = {
    "^": "hat",
    "\u02c6": "hat",
    "~": "tilde",
    "\u02dc": "tilde",
    "\u00af": "macron",
    "\u02d9": "dot",
    "\u00a8": "dot.double",
    "\u2192": "arrow",
    "\u20d7": "arrow",
}
SPANNERS = {
    "mover": {"\u23de": "overbrace", "\u203e": "overline", "\u0332": "overline"},
    "munder": {"\u23df": "underbrace", "_": "underline", "\u0332": "underline"},
}


class MathError(ValueError):
    """A formula that cannot be shown."""


@cache
def _converter() -> LatexToMathML:
    return LatexToMathML(fancy_error=False)


def mathematics(latex: str, *, display: bool) -> str:
    r"""Return a formula in Typst's language of formulas, without the dollar signs.

    >>> print(mathematics("x_i", display=False))
    attach(\u{78}, b: \u{69})

    Raises
    ------
    MathError
        If the formula is wrong, or has an element without a rule.
    """
    try:
        source = _converter().convert_with_local_state(latex, displaystyle=display)
    except LatexError as error:
        raise MathError(f"{error} in {latex}") from error
    return typst(source)


def typst(source: str) -> str:
    """Return MathML in Typst's language of formulas.

    >>> print(typst("<math><mi>max</mi></math>"))
    upright("max")
    """
    root = ET.fromstring(_named(source))  # noqa: S314 - made by math-core, a moment ago
    if len(root) == 1 and root[0].tag == "mtable":
        return _lines(root[0])
    return _row(root)


def _named(source: str) -> str:
    """Replace names of letters, of which XML knows but five."""
    return re.sub(
        r"&(?!(?:lt|gt|amp|quot|apos);)[A-Za-z]\w*;", lambda name: html.unescape(name[0]), source
    )


def letters(latex: str) -> str:
    r"""Return the letters of a formula that are seen, in the order of MathML.

    >>> letters(r"\frac{x}{2}")
    'x2'
    """
    source = _converter().convert_with_local_state(latex, displaystyle=False)
    seen = "".join(ET.fromstring(_named(source)).itertext())  # noqa: S314 - as above
    return re.sub(f"[{INVISIBLE}]", "", seen)


def _element(element: ET.Element) -> str:
    rule = RULES.get(element.tag)
    if rule is None:
        raise MathError(f"no rule for the MathML element {element.tag}")
    return rule(element)


def _chars(text: str) -> str:
    return "".join(f"\\u{{{ord(letter):x}}}" for letter in text)


def _identifier(element: ET.Element) -> str:
    text = element.text or ""
    if len(text) > 1:
        return f"upright({string(text)})"
    upright = element.get("mathvariant") == "normal"
    return f"upright({_chars(text)})" if upright else _chars(text)


def _number(element: ET.Element) -> str:
    return string(element.text or "")


def _operator(element: ET.Element) -> str:
    text = (element.text or "").strip(INVISIBLE)
    if not text:
        # What stands between a function's name and its argument.
        return _wide(element.get("lspace", "0"))
    if len(text) > 1:
        return f"op({string(text)}, limits: #true)"
    if "minsize" in element.attrib:
        return f"lr({_chars(text)}, size: #{_length(element.attrib['minsize'])})"
    form = element.get("form") or ("tight" if text in BARS and "lspace" in element.attrib else "")
    return f'class("{CLASSES[form]}", {_chars(text)})' if form else _chars(text)


def _wide(length: str) -> str:
    return "" if length in {"", "0"} else f"#h({_length(length)})"


def _length(text: str) -> str:
    if not re.fullmatch(r"-?[\d.]+em", text):
        raise MathError(f"a length of {text!r}, allowed: a number of em")
    return text


def _space(element: ET.Element) -> str:
    return _wide(element.get("width", ""))


def _row(element: ET.Element) -> str:
    children = list(element)
    if len(children) > 1 and _stretches(children[0], OPENING) and _stretches(children[-1], CLOSING):
        return f"lr({_sequence(children)})"
    return _sequence(children)


def _stretches(element: ET.Element, fences: str) -> bool:
    """Tell whether an operator grows with what it encloses; an empty one closes nothing."""
    if element.tag != "mo" or element.get("stretchy") == "false" or "minsize" in element.attrib:
        return False
    text = (element.text or "").strip(INVISIBLE)
    return not text or text in fences


def _sequence(children: Sequence[ET.Element]) -> str:
    # A space beside a word of several letters would be seen.
    return "".join(map(_element, children))


def _group(element: ET.Element) -> str:
    """Return an element where a function of Typst wants one argument, even an empty one."""
    return _element(element) or '""'


def _call(name: str) -> Callable[[ET.Element], str]:
    return lambda element: f"{name}({', '.join(map(_group, element))})"


def _style(element: ET.Element) -> str:
    inner = _row(element)
    return f"display({inner})" if element.get("displaystyle") == "true" else inner


def _root(element: ET.Element) -> str:
    radicand, index = map(_group, element)
    return f"root({index}, {radicand})"


def _scripts(*places: str) -> Callable[[ET.Element], str]:
    return lambda element: _attach(_group(element[0]), element, places)


def _attach(base: str, element: ET.Element, places: Sequence[str]) -> str:
    given = zip(places, map(_group, element[1:]), strict=True)
    return f"attach({base}, {', '.join(f'{place}: {text}' for place, text in given)})"


def _limits(*places: str) -> Callable[[ET.Element], str]:
    def rule(element: ET.Element) -> str:
        mark = "".join(element[-1].itertext())
        if len(element) == 2 and mark in SPANNERS.get(element.tag, ()):  # noqa: PLR2004 - base, mark
            return f"{SPANNERS[element.tag][mark]}({_group(element[0])})"
        if element.get("accent") == "true":
            if mark not in ACCENTS:
                raise MathError(f"no rule for the accent {mark!r}")
            return f"accent({_group(element[0])}, {ACCENTS[mark]})"
        base = _group(element[0])
        # Sums and the like put their limits where there is room by themselves.
        return _attach(base if element[0].tag == "mo" else f"limits({base})", element, places)

    return rule


def _cells(row: ET.Element) -> list[str]:
    if row.tag != "mtr" or any(cell.tag != "mtd" for cell in row):
        raise MathError("a table holds something that is no row of cells")
    return [_row(cell) for cell in row]


def _lines(table: ET.Element) -> str:
    """Return a table that is the whole formula: lines with common marks of alignment."""
    return " \\\n".join(" & ".join(_cells(row)) for row in table)


def _table(element: ET.Element) -> str:
    """Return a table within a formula; pairs of columns, right and left, touch each other."""
    first = [cell.get("style", "") for row in list(element)[:1] for cell in row]
    if first and "text-align: right" in first[0]:
        rows = [" & ".join(f"display({cell})" for cell in _cells(row)) for row in element]
        return f"mat(delim: #none, align: #left, {'; '.join(rows)})"
    align = next(
        (side for side in ("left", "right") if f"align: {side}" in "".join(first)), "center"
    )
    rows = [", ".join(cell or '""' for cell in _cells(row)) for row in element]
    return f"mat(delim: #none, align: #{align}, column-gap: #1em, {'; '.join(rows)})"


RULES: dict[str, Callable[[ET.Element], str]] = {
    "mi": _identifier,
    "mn": _number,
    "mo": _operator,
    "mtext": _number,
    "mspace": _space,
    "mrow": _row,
    "mstyle": _style,
    "mfrac": _call("frac"),
    "msqrt": lambda element: f"sqrt({_row(element)})",
    "mroot": _root,
    "msub": _scripts("b"),
    "msup": _scripts("t"),
    "msubsup": _scripts("b", "t"),
    "munder": _limits("b"),
    "mover": _limits("t"),
    "munderover": _limits("b", "t"),
    "mtable": _table,
}
