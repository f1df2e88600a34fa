"""The checks that every kernel shares, made once at its door from what ONNX declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from qdqdoc.errors import QdqdocError
from qdqdoc.numerics.formats import Array, type_name
from qdqdoc.registry.operator import REQUIRED, pick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.registry.operator import Operator, Version


class OperatorError(QdqdocError):
    """An operator was given what ONNX does not allow."""


def refuse(operator: str, parameter: str, found: object, allowed: object) -> NoReturn:
    """Raise the one form of error that kernels have.

    >>> refuse("QLinearConv", "group", 3, "1, 2 or 4")
    Traceback (most recent call last):
    ...
    qdqdoc.registry.checks.OperatorError: QLinearConv: group: found 3, allowed: 1, 2 or 4
    """
    raise OperatorError(f"{operator}: {parameter}: found {found}, allowed: {allowed}")


def check_inputs(
    operator: Operator, version: Version, given: Mapping[str, Any]
) -> dict[str, Array | None]:
    """Return the inputs as arrays, after their presence and their types have been checked."""
    arrays: dict[str, Array | None] = {}
    bound: dict[str, tuple[str, str]] = {}
    for name, variable in version.inputs.items():
        if name == version.variadic:
            continue
        value = given.get(name)
        if value is None:
            if name not in version.optional:
                refuse(operator.name, name, "nothing", f"a tensor of {_either(version, name)}")
            arrays[name] = None
            continue
        array = np.asarray(value)
        kind = type_name(array.dtype)
        if kind not in version.allowed(name):
            where = f"{_either(version, name)} (version {version.since})"
            refuse(operator.name, name, kind, where)
        if variable in version.types:
            first, known = bound.setdefault(variable, (name, kind))
            if known != kind:
                refuse(operator.name, name, kind, f"the type of {first}, {known}")
        arrays[name] = array
    return arrays


def check_more(operator: Operator, version: Version, given: Sequence[Any]) -> list[Array]:
    """Return the tensors of a variadic input as arrays, after their types have been checked."""
    arrays = [np.asarray(value) for value in given]
    for position, array in enumerate(arrays):
        kind = type_name(array.dtype)
        if kind not in version.allowed(version.variadic):
            where = f"{version.variadic}[{position}]"
            refuse(operator.name, where, kind, _either(version, version.variadic))
    return arrays


def check_attributes(operator: Operator, version: Version, given: Mapping[str, Any]) -> None:
    """Refuse a missing attribute, and one that this version does not have yet."""
    newest = operator.versions[-1]
    for name, default in version.attributes.items():
        if default is REQUIRED and given.get(name) is None:
            refuse(operator.name, name, "nothing", "a value: the attribute has no default")
    for name, value in given.items():
        if name in newest.attributes and name not in version.attributes:
            since = next(v.since for v in operator.versions if name in v.attributes)
            if value != newest.attributes[name]:
                allowed = f"opset {since} or newer (found opset {version.since})"
                refuse(operator.name, name, value, allowed)


def choose_version(operator: Operator, opset: int) -> Version:
    """Return the version that an opset import selects; beside ai.onnx there is only one."""
    if operator.domain:
        return operator.versions[-1]
    first = operator.versions[0].since
    if opset < first:
        refuse(operator.name, "opset", opset, f"{first} or newer")
    return pick(operator.versions, opset)


def _either(version: Version, name: str) -> str:
    return " or ".join(version.allowed(name))
