"""Each kernel equals its formula, evaluated in exact arithmetic by code of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grids
import numpy as np
import pytest

from qdqdoc.formula import agrees
from qdqdoc.numerics.formats import ONNX_TYPE, tensor
from qdqdoc.numerics.layout import same_pads
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import Call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Witness
    from qdqdoc.registry import Operator

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
