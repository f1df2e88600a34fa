"""Each kernel equals its formula, evaluated in exact arithmetic by code of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grids
import numpy as np
import pytest

from qdqdoc.formula import agrees
from qdqdoc.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Witness
    from qdqdoc.registry import Call, Operator

EVERY = pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)


def compare(operator: Operator, calls: Iterable[Call], most: int) -> tuple[int, list[str]]:
    """Compare up to ``most`` values of each call; return how many, and those that differ."""
    rng = np.random.default_rng(0)
    count, different = 0, []
    for call in calls:
        y = operator.run(call)
        indices = [*np.ndindex(y.shape)]
        if len(indices) > most:
            indices = [indices[i] for i in rng.choice(len(indices), most, replace=False)]
        for index in indices:
            expected = operator.element(call, index).evaluate()
            if not agrees(expected, y[index]):
                different.append(f"{call.name}{index}: kernel {y[index]}, formula {expected}")
        count += len(indices)
    return count, different


@EVERY
def test_vectors(operator: Operator, witness: Witness) -> None:
    count, different = compare(operator, operator.vectors(), most=10_000)
    assert not different, different[:5]
    assert count > 1000
    witness(f"{operator.name}: the formula in exact arithmetic, vectors", count)


@EVERY
def test_vectors_have_names_of_their_own(operator: Operator) -> None:
    names = [call.name for call in operator.vectors()]
    assert all(names)
    assert len(set(names)) == len(names)


@EVERY
def test_every_formula_is_used_by_a_vector(operator: Operator) -> None:
    used = set()
    for call in operator.vectors():
        for index in list(np.ndindex(operator.run(call).shape))[:1]:
            used.add(operator.element(call, index).formula)
    assert used == set(operator.formulas)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int4", "uint4"])
@pytest.mark.parametrize(
    ("float_type", "opset"), [("float32", 25), ("float16", 21), ("float16", 25)]
)
def test_ties_of_quantize_linear(kind: str, float_type: str, opset: int, witness: Witness) -> None:
    operator = OPERATORS["", "QuantizeLinear"]
    count, different = compare(operator, grids.quantize_ties(kind, float_type, opset), most=60)
    assert not different, different[:5]
    witness("QuantizeLinear: the formula in exact arithmetic, ties", count)


@pytest.mark.parametrize("name", ["QLinearConv", "QLinearMatMul"])
def test_ties_of_products(name: str, witness: Witness) -> None:
    operator = OPERATORS["", name]
    count, different = compare(operator, grids.products(name, seed=2), most=150)
    assert not different, different[:5]
    witness(f"{name}: the formula in exact arithmetic, ties", count)
