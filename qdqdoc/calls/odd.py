"""Calls with values that nobody means to give: they must have an answer all the same.

Made from a small vector of each operator: every scale becomes zero, infinite, NaN, negative or the
least float there is, and every other float gets an infinity or a NaN into its first place.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import is_integer, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry.operator import Call, Operator

SCALES = {"zero": 0, "infinite": np.inf, "NaN": np.nan, "negative": -0.5, "denormal": 2.0**-149}
VALUES = {"infinite": np.inf, "minus infinite": -np.inf, "NaN": np.nan}
_LOOKED_AT = 40
"""The smallest of so many vectors is taken."""
_SPECIAL = ("float32", "float16", "bfloat16")


def odd_calls(operator: Operator) -> Iterator[Call]:
    """Yield a small vector with an odd value in one of its float inputs, for each of them."""
    small = min(islice(operator.vectors(), _LOOKED_AT), key=_size)
    for name, array in small.inputs.items():
        if is_integer(array.dtype) or type_name(array.dtype) not in _SPECIAL or not array.size:
            continue
        is_scale = "scale" in name or name == "absmax"
        for said, value in (SCALES if is_scale else VALUES).items():
            inputs = {**small.inputs, name: _with(array, value)}
            yield replace(small, name=f"{name} {said}", inputs=inputs)


def _size(call: Call) -> tuple[bool, int]:
    sizes = [array.size for array in (*call.inputs.values(), *call.more)]
    return not min(sizes), sum(sizes)  # an empty tensor would hide it


def _with(array: Array, value: float) -> Array:
    changed = array.copy()
    changed.reshape(-1)[0] = value
    return changed
