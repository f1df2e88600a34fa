"""The registry: what it knows equals onnx.defs, and an incomplete operator cannot register."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx.defs
import pytest

from qdqdoc import registry
from qdqdoc.formula import Formula, agrees
from qdqdoc.numerics.formats import DTYPES, ONNX_TYPE, Array, tensor
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import (
    NEWEST_OPSET,
    REQUIRED,
    Call,
    Element,
    Operator,
    OperatorError,
    Version,
    operator,
)
from qdqdoc.witnesses import declared, same_declaration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY = pytest.mark.parametrize("entry", OPERATORS.values(), ids=lambda o: o.name)


@EVERY
def test_versions_are_those_that_are_declared(entry: Operator) -> None:
    known = declared(entry.domain, entry.name)
    assert [v.since for v in entry.versions] == [v.since for v in known]
    for ours, theirs in zip(entry.versions, known, strict=True):
        assert same_declaration(ours, theirs), f"{ours}\n{theirs}"


def test_newest_opset() -> None:
    assert onnx.defs.onnx_opset_version() == NEWEST_OPSET


def test_type_numbers_are_those_of_onnx() -> None:
    for name, number in ONNX_TYPE.items():
        wire = "FLOAT" if name == "float32" else name.upper()
        assert onnx.TensorProto.DataType.Value(wire) == number
        assert onnx.helper.tensor_dtype_to_np_dtype(number) == DTYPES[name]


VERSION = Version(
    since=1, inputs={"x": "T"}, outputs={"y": "T"}, types={"T": ("int8",)}, attributes={"axis": 1}
)


def complete(**change: object) -> dict[str, Any]:
    def vectors() -> Iterator[Call]:
        yield Call(name="one", inputs={"x": tensor("int8", [1])})

    def element(call: Call, index: tuple[int, ...]) -> Element:
        return Element(formula=rule, values={"x": call.inputs["x"][index]})

    rule = Formula("y = x", symbols={"x": "code"})
    parts = {
        "name": "Nothing",
        "domain": "test",
        "versions": (VERSION,),
        "formulas": (rule,),
        "cites": ("nobody",),
        "vectors": vectors,
        "element": element,
    }
    return {**parts, **change}


def kernel(x: Array, *, axis: int = 1) -> Array:  # noqa: ARG001 - the signature is tested
    """Do nothing.

    >>> 1
    1
    """
    return x


def other_name(a: Array, *, axis: int = 1) -> Array:  # noqa: ARG001 - the signature is tested
    """>>> 1"""
    return a


def other_default(x: Array, *, axis: int = 2) -> Array:  # noqa: ARG001 - the signature is tested
    """>>> 1"""
    return x


def no_example(x: Array, *, axis: int = 1) -> Array:  # noqa: ARG001 - the signature is tested
    """Do nothing."""
    return x


@pytest.mark.parametrize(
    ("change", "function", "said"),
    [
        ({"formulas": ()}, kernel, "lacks a formula"),
        ({"cites": ()}, kernel, "lacks a citation"),
        ({"vectors": lambda: iter(())}, kernel, "lacks a vector"),
        ({}, no_example, "lacks a doctest in the kernel's docstring"),
        ({}, other_name, "lacks inputs named as in ONNX"),
        ({}, other_default, "lacks attributes named as in ONNX, with its defaults"),
        ({"name": "QLinearConv", "domain": ""}, kernel, "lacks a name that is not taken"),
    ],
)
def test_an_incomplete_operator_cannot_register(
    change: dict[str, Any], function: Callable[..., Array], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        operator(**complete(**change))(function)
    assert ("test", "Nothing") not in OPERATORS


def test_a_complete_operator_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_operators", dict(registry.OPERATORS))
    checked = operator(**complete())(kernel)
    assert checked(tensor("int8", [3])).tolist() == [3]


@pytest.mark.parametrize("entry", OPERATORS.values(), ids=lambda o: o.full_name)
def test_attributes_with_defaults_may_be_absent(entry: Operator) -> None:
    """Formulas, differences and bounds read a call that has none of them as the kernel does."""
    newest, seen = entry.versions[-1], 0
    for call in islice(entry.vectors(), 0, None, 3):
        needed = {k: v for k, v in call.attributes.items() if newest.attributes[k] is REQUIRED}
        bare = replace(call, name="bare", attributes=needed)
        try:
            made = dict(zip(entry.outputs, entry.run(bare), strict=True))
        except OperatorError:
            continue  # whose shapes fit other attributes
        with np.errstate(all="ignore"):
            for difference in entry.differs:
                difference.covers(bare)
            for bound in entry.bounds:
                bound.unit(bare)
        for name, element in entry.elements.items():
            if made[name].size:
                index = (0,) * made[name].ndim
                assert agrees(element(bare, index).evaluate(), made[name][index])
                seen += 1
    assert seen
