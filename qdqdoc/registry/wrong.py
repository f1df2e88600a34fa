"""Calls that follow from the types: each leaves out an input, or gives one a type it must not have.

Every operator must refuse them in one clear line; nobody has to write them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import DTYPES
from qdqdoc.registry.operator import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry.operator import Call, Operator

_TRIED = ("float32", "int8", "uint8", "int32", "float16", "int64", "bool", "uint4", "float8e5m2")
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
            inputs = {**right.inputs, name: _as(right.inputs[name], kind)}
            yield replace(newest, name=f"{name} of {kind}", inputs=inputs)
    for name, default in version.attributes.items():
        if default is REQUIRED:
            attributes = {k: v for k, v in right.attributes.items() if k != name}
            yield replace(newest, name=f"without {name}", attributes=attributes)
    unknown = {**right.attributes, "no_such_attribute": 1}
    yield replace(newest, name="an unknown attribute", attributes=unknown)


def _as(array: Array, kind: str) -> Array:
    """Give an array of the same shape another type; its values do not matter."""
    return np.ones(array.shape, DTYPES[kind])
