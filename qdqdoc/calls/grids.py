"""Calls of operators that take codes of one grid to codes of another, whatever they do between."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.registry.operator import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Pair = tuple[float, float]


def grid_call(
    names: Sequence[str],
    name: str,
    x: Array,
    scales: Pair,
    zeros: tuple[int, int],
    **attributes: object,
) -> Call:
    """Make a call of codes, their scale and zero point, and those of the result, named so."""
    s_x, s_y = (tensor("float32", scale) for scale in scales)
    z_x, z_y = (np.array(zero, x.dtype) for zero in zeros)
    inputs = dict(zip(names, (x, s_x, z_x, s_y, z_y), strict=True))
    return Call(name=name, inputs=inputs, attributes=attributes)


def as_vectors(call: Call) -> Call:
    """Give each scale and zero point, which are scalars, the shape of a vector."""
    inputs = {k: v if v.ndim else v.reshape(1) for k, v in call.inputs.items()}
    return replace(call, name="scales and zero points as vectors", inputs=inputs)


def without(call: Call, name: str) -> Call:
    """Leave out an input."""
    inputs = {k: v for k, v in call.inputs.items() if k != name}
    return replace(call, name=f"no {name}", inputs=inputs)


def several_values(call: Call) -> Iterator[Call]:
    """Give each scale and zero point, which are scalars, more values than one, or none."""
    for name, value in call.inputs.items():
        if value.ndim == 0:
            for shape in ((3,), (1, 1), (0,)):
                inputs = {**call.inputs, name: np.full(shape, value)}
                yield replace(call, name=f"{name} of shape {shape}", inputs=inputs)
