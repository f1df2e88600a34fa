"""The registry: what it knows equals onnx.defs, and an incomplete operator cannot register."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx.defs
import pytest

from qdqdoc import registry
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import DTYPES, ONNX_TYPE, Array, tensor
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import NEWEST_OPSET, Call, Element, Operator, Version, operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY = pytest.mark.parametrize("entry", OPERATORS.values(), ids=lambda o: o.name)
SHORT = {"float": "float32"}


def schemas(entry: Operator) -> list[Any]:
    found = (s for s in onnx.defs.get_all_schemas_with_history() if s.domain == entry.domain)
    return sorted((s for s in found if s.name == entry.name), key=lambda s: s.since_version)


def plain(type_text: str) -> str:
    name = type_text.removeprefix("tensor(").removesuffix(")")
    return SHORT.get(name, name)


@EVERY
def test_versions(entry: Operator) -> None:
    assert [v.since for v in entry.versions] == [s.since_version for s in schemas(entry)]


@EVERY
def test_inputs_outputs_and_types(entry: Operator) -> None:
    for version, schema in zip(entry.versions, schemas(entry), strict=True):
        assert dict(version.inputs) == {i.name: plain(i.type_str) for i in schema.inputs}
        assert dict(version.outputs) == {o.name: plain(o.type_str) for o in schema.outputs}
        optional = onnx.defs.OpSchema.FormalParameterOption.Optional
        assert version.optional == tuple(i.name for i in schema.inputs if i.option == optional)
        declared = {t.type_param_str: t.allowed_type_strs for t in schema.type_constraints}
        assert {k: {*v} for k, v in version.types.items()} == {
            k: {plain(t) for t in allowed} for k, allowed in declared.items()
        }


@EVERY
def test_attributes_and_defaults(entry: Operator) -> None:
    for version, schema in zip(entry.versions, schemas(entry), strict=True):
        defaults = {}
        for name, attribute in schema.attributes.items():
            value = onnx.helper.get_attribute_value(attribute.default_value)
            defaults[name] = value.decode() if isinstance(value, bytes) else value
        given = {k: v if v is not None else None for k, v in version.attributes.items()}
        assert {**dict.fromkeys(defaults), **{k: v or None for k, v in given.items()}} == {
            k: v or None for k, v in defaults.items()
        }


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
