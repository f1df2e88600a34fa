"""Each kernel equals its formula, evaluated in exact arithmetic by code of its own."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tied import PAIRS, TIED, tied

from qdqdoc.formula import agrees
from qdqdoc.numerics.formats import ONNX_TYPE, tensor
from qdqdoc.numerics.layout import same_pads
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import Call, OperatorError
from qdqdoc.registry.operator import no_calls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Witness
    from qdqdoc.registry import Operator

EVERY = pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.full_name)
VERSIONS = pytest.mark.parametrize(
    ("operator", "since"),
    [(o, v.since) for o in OPERATORS.values() for v in o.versions],
    ids=[f"{o.full_name}-{v.since}" for o in OPERATORS.values() for v in o.versions],
)


def compare(operator: Operator, calls: Iterable[Call], most: int) -> tuple[int, list[str]]:
    """Compare up to ``most`` values of each output; return how many, and those that differ."""
    rng = np.random.default_rng(0)
    count, different = 0, []
    for call in calls:
        try:
            made = dict(zip(operator.outputs, operator.run(call), strict=True))
        except OperatorError:
            continue  # a type or attribute that this version does not have
        for name, element in operator.elements.items():
            y = made[name]
            indices = [*np.ndindex(y.shape)]
            if len(indices) > most:
                indices = [indices[i] for i in rng.choice(len(indices), most, replace=False)]
            for index in indices:
                expected = element(call, index).evaluate()
                if not agrees(expected, y[index]):
                    said = f"kernel {y[index]}, formula {expected}"
                    different.append(f"{call.name}: {name}{index}: {said}")
            count += len(indices)
    return count, different


def at(operator: Operator, since: int, calls: Iterable[Call]) -> Iterable[Call]:
    """Bring calls to a version of the operator."""
    return (call if operator.domain else replace(call, opset=since) for call in calls)


@VERSIONS
def test_vectors(operator: Operator, since: int, witness: Witness) -> None:
    count, different = compare(operator, at(operator, since, operator.vectors()), most=10_000)
    assert not different, different[:5]
    assert count > 500
    witness(operator.full_name, since, "formula", count)


@EVERY
def test_there_is_enough_to_compare(operator: Operator) -> None:
    sizes = [sum(y.size for y in operator.run(call)) for call in operator.vectors()]
    assert sum(sizes) > 1000


@TIED
def test_ties(operator: Operator, since: int, witness: Witness) -> None:
    """A few values of each call: there are many calls."""
    calls = islice(tied(operator, since), 0, None, 3)
    count, different = compare(operator, calls, most=40)
    assert not different, different[:5]
    assert count >= 40
    witness(operator.full_name, since, "formula", count)


def test_whoever_gives_ties_has_some() -> None:
    given = {operator.full_name for operator in OPERATORS.values() if operator.ties != no_calls}
    assert {operator.full_name for operator, _ in PAIRS} == given
    assert len(given) > 15


@EVERY
def test_vectors_have_names_of_their_own(operator: Operator) -> None:
    names = [call.name for calls in (operator.vectors, operator.ties) for call in calls()]
    assert all(names)
    assert len(set(names)) == len(names)


@EVERY
def test_every_formula_is_used_by_a_vector(operator: Operator) -> None:
    used = set()
    for call in operator.vectors():
        made = dict(zip(operator.outputs, operator.run(call), strict=True))
        for name, element in operator.elements.items():
            indices = [*np.ndindex(made[name].shape)]
            used |= {
                element(call, index).formula for index in indices[:: max(len(indices) // 9, 1)]
            }
    assert used == set(operator.formulas)


# What the specification says of the division, written out: kernel and formula share the code
# that chooses, so it needs a witness of its own.
DIVISIONS = [
    (10, "float32", "", "float32"),
    (19, "float16", "", "float32"),
    (21, "bfloat16", "", "float32"),
    (23, "float16", "", "float16"),
    (25, "bfloat16", "", "bfloat16"),
    (25, "float32", "", "float32"),
    (25, "int32", "", "float32"),
    (28, "float8e8m0", "", "float32"),
    (23, "float32", "float16", "float16"),
    (28, "float16", "float32", "float32"),
    (28, "float32", "bfloat16", "bfloat16"),
]


@pytest.mark.parametrize(("opset", "scale", "precision", "expected"), DIVISIONS)
def test_the_type_of_the_division(opset: int, scale: str, precision: str, expected: str) -> None:
    attributes = {"precision": ONNX_TYPE[precision]} if precision else {}
    inputs = {"x": tensor("float32", [1]), "y_scale": tensor(scale, 1)}
    call = Call(name="division", inputs=inputs, attributes=attributes, opset=opset)
    element = OPERATORS["", "QuantizeLinear"].element(call, (0,))
    assert element.types["C"] == expected


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("reach", [1, 2, 3, 5])
def test_same_padding_is_as_the_specification_says(size: int, stride: int, reach: int) -> None:
    """As many outputs as ceil(input / stride), the odd pad at the end for SAME_UPPER."""
    for auto_pad, odd_side in (("SAME_UPPER", 1), ("SAME_LOWER", 0)):
        pads = same_pads(auto_pad, [size], [reach], [stride])
        outputs = [*range(0, size + sum(pads) - reach + 1, stride)]
        assert len(outputs) == -(-size // stride)
        assert pads[odd_side] - pads[1 - odd_side] in {0, 1}
        assert sum(pads) == 0 or outputs[-1] + reach == size + sum(pads)
