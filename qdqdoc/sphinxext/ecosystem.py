"""What the page on other ecosystems counts: each rule of the atlas on a whole model."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from qdqdoc.facts.reading import digits
from qdqdoc.sphinxext.atlas import BITS, HALF, RULES, fixed_point
from qdqdoc.sphinxext.thresholds import EXACT, differing, size, steps
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from qdqdoc.document import Document
    from qdqdoc.sphinxext.atlas import Rule
    from qdqdoc.sphinxext.thresholds import Step
    from qdqdoc.tables import Cell

GEMMLOWP = RULES[-1]
EXACT_DIGITS = 10


def reached(document: Document) -> int:
    """Count the accumulators that the layers of a model can reach, each layer by itself."""
    return sum(step.count for step in steps(document))


def counted(document: Document) -> Table:
    """Count for each rule the accumulators with another code than the exact one, and show one."""
    found = steps(document)
    rows = tuple(_counted(rule, found) for rule in RULES[1:])
    columns = ("rule", "accumulators", "layers")
    one = ("for example in", "accumulator", "steps, exactly", "exact code", "its code")
    return Table(columns=(*columns, *one), rows=rows)


def _counted(rule: Rule, found: tuple[Step, ...]) -> tuple[Cell, ...]:
    spans = {step: differing(step, rule, EXACT) for step in found}
    number = sum(map(size, spans.values()))
    touched = [step for step in found if spans[step]]
    if not touched:
        return (rule.name, number, 0, *(None,) * 5)
    step = touched[0]
    accumulator = min((first for first, _ in spans[step]), key=abs)
    exact = digits(accumulator * step.scales.exact, EXACT_DIGITS)
    codes = (step.code(EXACT, accumulator), step.code(rule, accumulator))
    return (rule.name, number, len(touched), Code(step.node), accumulator, exact, *codes)


def multipliers(document: Document) -> Table:
    """Return each layer's multiplier as gemmlowp and TFLite store it, and what two roundings cost.

    ``expected`` is what the second rounding should take to another code of all accumulators
    between the rails that can be reached: see the page.
    """
    rows = tuple(_multiplier(step) for step in steps(document))
    columns = ("layer", "s_x · s_w / s_y", "mantissa", "shift", "expected", "counted")
    return Table(columns=columns, rows=rows)


def _multiplier(step: Step) -> tuple[Cell, ...]:
    exact = step.scales.exact
    mantissa, shift = fixed_point(exact)
    rails = (step.low - HALF, step.high + HALF)
    low, high = ((rail - step.scales.zero_point) / exact for rail in rails)
    between = min(high, Fraction(step.most)) - max(low, Fraction(step.least))
    expected = between * Fraction(2**BITS, 2**shift) / 2
    counted = size(differing(step, GEMMLOWP, EXACT))
    return (Code(step.node), digits(exact, 8), mantissa, shift, digits(expected, 3), counted)
