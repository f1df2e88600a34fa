"""D2: which mutants of the formulas the vectors tell from the formula."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Interval
from qdqdoc.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qdqdoc.formula import Formula, Mutant, Value
    from qdqdoc.registry import Element, Operator

    Trial = tuple[Element, Value]

MOST = 256
"""How many elements of one output of one vector are looked at: every code of eight bits."""


@dataclass
class FormulaScore:
    """Mutants of one operator's formulas: how many, and which are alive."""

    operator: str
    total: int = 0
    killed: int = 0
    alive: dict[str, list[str]] = field(default_factory=dict)


def score(names: Iterable[str], done: Callable[[FormulaScore], None]) -> list[FormulaScore]:
    """Try the mutants of the named operators' formulas, or of all."""
    wanted = {*names} or {operator.full_name for operator in OPERATORS.values()}
    keys = [key for key, operator in OPERATORS.items() if operator.full_name in wanted]
    found = []
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("fork")) as pool:
        for one in pool.map(_operator, keys, chunksize=1):
            done(one)
            found.append(one)
    return found


def _operator(key: tuple[str, str]) -> FormulaScore:
    operator = OPERATORS[key]
    found = FormulaScore(operator.full_name)
    for formula, trials in _trials(operator).items():
        for mutant in formula.mutants():
            found.total += 1
            if _killed(mutant, trials):
                found.killed += 1
            else:
                found.alive.setdefault(formula.name, []).append(mutant.label)
    return found


def _killed(mutant: Mutant, trials: list[Trial]) -> bool:
    """Tell whether some element differs; it moves to the front, for it may kill others as well."""
    for place, (element, value) in enumerate(trials):
        if _differs(mutant, element, value):
            trials.insert(0, trials.pop(place))
            return True
    return False


def _trials(operator: Operator) -> dict[Formula, list[Trial]]:
    """Bind the formulas to elements of every vector, in an order that mixes them."""
    rng = np.random.default_rng(0)
    found: dict[Formula, list[Trial]] = {}
    for call in operator.vectors():
        made = dict(zip(operator.outputs, operator.run(call), strict=True))
        for name, element_of in operator.elements.items():
            indices = [*np.ndindex(made[name].shape)]
            chosen = rng.choice(len(indices), min(len(indices), MOST), replace=False)
            for position in chosen:
                element = element_of(call, indices[position])
                found.setdefault(element.formula, []).append((element, element.evaluate()))
    for held in found.values():
        rng.shuffle(held)
    return found


def _differs(mutant: Mutant, element: Element, value: Value) -> bool:
    try:
        other = mutant.formula.evaluate(element.values, sets=element.sets, types=element.types)
    except Exception:  # noqa: BLE001 - a mutant that cannot be evaluated is noticed
        return True
    if isinstance(value, Interval) or isinstance(other, Interval):
        return other != value
    both_nan = value != value and other != other  # noqa: PLR0124 - a rational is no float
    return other != value and not both_nan
