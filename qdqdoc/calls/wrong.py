"""Calls that follow from what ONNX declares: each leaves something out, or has what is not allowed.

Every operator must refuse them in one clear line; nobody has to write them.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import DTYPES, type_name
from qdqdoc.registry.operator import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry.operator import Call, Operator, Version

_TRIED = (
    *("float32", "int8", "uint8", "int32", "float16", "int64", "bool", "uint4", "float8e5m2"),
    *("uint16", "bfloat16", "int2"),
)
"""Types to try, in this order."""
_LEAST = 3
"""How many wrong types each input is given; more where there are few inputs."""


def wrong_calls(operator: Operator) -> Iterator[Call]:
    """Yield calls that must be refused, made from the first vector."""
    right = next(operator.vectors())
    version = operator.versions[-1]
    newest = right if operator.domain else replace(right, opset=version.since)
    for name in right.inputs:
        if name not in version.optional:
            rest = {k: v for k, v in right.inputs.items() if k != name}
            yield replace(newest, name=f"without {name}", inputs=rest, more=())
        wrong = [kind for kind in _TRIED if kind not in version.allowed(name)]
        for kind in wrong[: max(_LEAST, len(_TRIED) // len(right.inputs))]:
            yield _with(newest, name, kind)
    yield from _disagreeing(newest, version)
    if version.variadic:
        yield from _of_variadic(newest, version)
    for name, default in version.attributes.items():
        if default is REQUIRED:
            attributes = {k: v for k, v in right.attributes.items() if k != name}
            yield replace(newest, name=f"without {name}", attributes=attributes)
    unknown = {**right.attributes, "no_such_attribute": 1}
    yield replace(newest, name="an unknown attribute", attributes=unknown)
    if "opset" in operator.takes() and not operator.domain:
        yield from _too_early(right, operator.versions)


def _disagreeing(call: Call, version: Version) -> Iterator[Call]:
    """Give inputs of one type variable two of its types."""
    seen: set[str] = set()
    for name, variable in version.inputs.items():
        if name not in call.inputs:
            continue
        now = type_name(call.inputs[name].dtype)
        other = next((kind for kind in version.allowed(name) if kind != now), now)
        if variable in seen and other != now:
            yield _with(call, name, other)
        seen.add(variable)


def _of_variadic(call: Call, version: Version) -> Iterator[Call]:
    """Give the last tensor of a variadic input a type that it must not have."""
    kind = next(kind for kind in _TRIED if kind not in version.allowed(version.variadic))
    more = (*call.more[:-1], _as(call.more[-1], kind))
    yield replace(call, name=f"{version.variadic} of {kind}", more=more)


def _too_early(call: Call, versions: Sequence[Version]) -> Iterator[Call]:
    """Ask for an operator, and for each attribute, one version before there is such a thing."""
    yield replace(call, name="before its first version", opset=versions[0].since - 1)
    for before, version in pairwise(versions):
        for name, default in version.attributes.items():
            if name not in before.attributes:
                attributes = {**call.attributes, name: int(not default)}
                said = f"{name} at opset {before.since}"
                yield replace(call, name=said, opset=before.since, attributes=attributes)


def _with(call: Call, name: str, kind: str) -> Call:
    inputs = {**call.inputs, name: _as(call.inputs[name], kind)}
    return replace(call, name=f"{name} of {kind}", inputs=inputs)


def _as(array: Array, kind: str) -> Array:
    """Give an array of the same shape another type; its values do not matter."""
    return np.ones(array.shape, DTYPES[kind])
