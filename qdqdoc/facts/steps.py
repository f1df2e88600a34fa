"""The two tables of a worked element: the terms of its sum, and the lines after the sum."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.facts.reading import digits
from qdqdoc.numerics.rounding import multiply
from qdqdoc.tables import Cell, Table

if TYPE_CHECKING:
    from qdqdoc.registry import Element

MOST_TERMS = 40
SHOWN = 12
"""Terms at the beginning and at the end where there are too many."""

EXACT_DIGITS = 8


def term_table(element: Element, kind: str) -> Table:
    """Return each product and the running sum; of more than forty, the first and the last."""
    data, weight = ("x", "w") if kind == "Conv" else ("a", "b")
    taps = list(next(iter(element.sets.values())))
    rows = [_term(element, tap, data, weight) for tap in taps]
    running = list(accumulate(row[-1] for row in rows))
    lines: list[tuple[Cell, ...]] = [
        (_tap(tap), *row, total) for tap, row, total in zip(taps, rows, running, strict=True)
    ]
    if len(lines) > MOST_TERMS:
        middle = rows[SHOWN:-SHOWN]
        products = sum(row[-1] for row in middle)
        gap = (f"… {len(middle)} more", None, None, None, None, products, running[-SHOWN - 1])
        lines = [*lines[:SHOWN], gap, *lines[-SHOWN:]]
    head = "channel, offset" if kind == "Conv" else "k"
    columns = (head, data, f"{data} - z_{data}", weight, f"{weight} - z_{weight}")
    return Table((*columns, "product", "running sum"), tuple(lines))


def _term(element: Element, tap: Any, data: str, weight: str) -> tuple[int, ...]:  # noqa: ANN401 - an index of any kind
    values = element.values
    left, right = int(values[data][tap]), int(values[weight][tap])
    shifted, centred = left - int(values[f"z_{data}"]), right - int(values[f"z_{weight}"])
    return left, shifted, right, centred, shifted * centred


def exact_lines(element: Element) -> dict[str, Fraction]:
    """Return the exact value of every line of the formula, by its target.

    Raises
    ------
    TypeError
        If one is infinite, not a number, or known to an interval only.
    """
    lines = element.formula.steps(element.values, sets=element.sets, types=element.types)
    found = {name: value for name, value in lines.items() if isinstance(value, Fraction)}
    if len(found) < len(lines):
        raise TypeError(f"not all of {', '.join(lines)} are exact")
    return found


def _sum(element: Element) -> int:
    """Add the products up without a register that could wrap."""
    names = ("x", "w") if "x" in element.values else ("a", "b")
    return sum(_term(element, tap, *names)[-1] for tap in next(iter(element.sets.values())))


def _tap(tap: object) -> str:
    return ", ".join(map(str, tap)) if isinstance(tap, tuple) else str(tap)


def steps(element: Element) -> Table:
    """Return what happens after the terms, a line each: symbol, exact value, meaning."""
    values = element.values
    lines = exact_lines(element)
    conv = "x" in values
    accumulator, multiplier = int(lines["acc"]), np.float32(float(lines["m"]))
    scaled = np.float32(multiply(np.array(accumulator), np.array(multiplier)))
    # Python rounds a Fraction half to even: another road than the kernel's.
    rounded = round(Fraction(float(scaled)))
    shift, code = int(values["z_y"]), int(lines["y"])
    inside = "inside the rails" if rounded + shift == code else "held on the rail"
    real = digits(Fraction(float(values["s_y"])) * (code - shift), EXACT_DIGITS)
    rows: list[tuple[Cell, ...]] = [("sum", _sum(element), "all products")]
    if conv:
        rows.append(("b", int(values["b"]), "the bias of the output channel, in the same steps"))
    rows += [
        ("acc", accumulator, "the accumulator, in steps of the two scales' product"),
        ("m", multiplier, "the multiplier: three scales in one float32"),
        ("f32(acc) · m", scaled, "the sum in steps of the result, rounded once to float32"),
        ("rint", rounded, "to the nearest whole step, ties to even"),
        ("+ z_y", rounded + shift, "the zero point of the result is added after rounding"),
        ("y", code, f"the code, {inside}"),
        ("s_y · (y - z_y)", real, f"what it stands for, in {EXACT_DIGITS} digits"),
    ]
    return Table(("Step", "Value", "Meaning"), tuple(rows))
