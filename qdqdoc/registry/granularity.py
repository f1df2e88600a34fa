"""Per tensor, per axis, blocked: which shapes ONNX allows, and which entry serves an element."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.operator import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CASE_SHAPE = (2, 3, 7)
"""Shape of the tensor that granularity vectors use: three lengths, none a multiple of another."""


def check_granularity(
    operator: str,
    x: Array,
    parameters: Mapping[str, Array | None],
    *,
    axis: int | None,
    block_size: int | None = None,
) -> None:
    """Refuse a scale or zero point whose shape fits no granularity of ``x``.

    ``axis`` is ``None`` where it has no default and was not given, ``block_size`` where the
    operator knows no blocks.

    Raises
    ------
    OperatorError
        For a negative block size, an axis outside the rank, a length or block count that does
        not fit, or a zero point of another shape than its scale.
    """
    scale_name, scale = next(iter(parameters.items()))
    assert scale is not None  # noqa: S101 - a scale is never optional
    if block_size is not None and block_size < 0:
        refuse(operator, "block_size", block_size, "0 or a positive number")
    if block_size and scale.ndim != x.ndim:
        refuse(operator, scale_name, _shape(scale), f"rank {x.ndim}, as block_size is given")
    one_value = scale.size == 1 and scale.ndim <= 1 and not block_size
    if not one_value:
        if axis is None:
            refuse(operator, scale_name, _shape(scale), "one value, as axis is not given")
        _check_axis(operator, x, axis)
        allowed = _allowed_shape(operator, x, scale, axis % x.ndim, block_size)
        if scale.shape != allowed:
            refuse(operator, scale_name, _shape(scale), f"shape () or {allowed}")
    for name, parameter in parameters.items():
        if parameter is None or parameter.shape == scale.shape:
            continue
        if not (one_value and parameter.size == 1 and parameter.ndim <= 1):
            refuse(operator, name, _shape(parameter), f"the shape of {scale_name}, {scale.shape}")


def parameter_index(
    index: Sequence[int],
    shape: Sequence[int],
    parameter_shape: Sequence[int],
    attributes: Mapping[str, Any],
) -> tuple[int, ...]:
    """Return which entry of a scale or zero point serves the element at ``index``.

    >>> parameter_index((1, 5), (2, 7), (2, 3), {"axis": 1, "block_size": 3})
    (1, 1)
    >>> parameter_index((1, 5), (2, 7), (7,), {"axis": -1})
    (5,)
    """
    axis = attributes.get("axis", 1)
    block_size = attributes.get("block_size", 0)
    if len(parameter_shape) <= 1 and all(n == 1 for n in parameter_shape) and not block_size:
        return (0,) * len(parameter_shape)
    axis %= len(shape)
    if not block_size:
        return (index[axis],)
    return tuple(i // block_size if k == axis else i for k, i in enumerate(index))


def _check_axis(operator: str, x: Array, axis: int) -> None:
    if not -x.ndim <= axis < x.ndim:
        allowed = f"{-x.ndim} to {x.ndim - 1}" if x.ndim else "none for a scalar x"
        refuse(operator, "axis", axis, f"{allowed} (the rank of x is {x.ndim})")


def _allowed_shape(
    operator: str, x: Array, scale: Array, axis: int, block_size: int | None
) -> tuple[int, ...]:
    if block_size:
        blocks = ceil(x.shape[axis] / block_size)
        return tuple(blocks if k == axis else n for k, n in enumerate(x.shape))
    if block_size is not None and scale.ndim > 1:
        refuse(operator, "block_size", 0, f"a positive number, as the scale has rank {scale.ndim}")
    return (x.shape[axis],)


def _shape(array: Array) -> str:
    return f"shape {array.shape}"


def granularity_cases() -> Iterator[tuple[str, tuple[int, ...], dict[str, int]]]:
    """Yield (name, shape of the scale, attributes) for each granularity of :data:`CASE_SHAPE`."""
    for axis in (0, 1, 2, -1, -3):
        yield f"axis {axis}", (CASE_SHAPE[axis],), {"axis": axis}
    for axis, block_size in ((2, 3), (-1, 4), (1, 2), (0, 2)):
        shape = [*CASE_SHAPE]
        shape[axis] = ceil(shape[axis] / block_size)
        attributes = {"axis": axis, "block_size": block_size}
        yield f"axis {axis} blocks of {block_size}", tuple(shape), attributes


def granularity_vectors(x: Array, side: str, zeros: str, *, blocks: bool = True) -> Iterator[Call]:
    """Yield a call for each granularity: another scale and zero point for each slice or block.

    ``side`` is the letter that the names of scale and zero point begin with, ``zeros`` the type
    of the zero points.
    """
    for name, shape, attributes in granularity_cases():
        if blocks or "block_size" not in attributes:
            scale = (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1) / 7
            yield _call(name, x, side, scale, tensor(zeros, scale * 8), **attributes)


def granularity_rejects(x: Array, side: str, zeros: str, *, blocks: bool = True) -> Iterator[Call]:
    """Yield calls with a tensor of :data:`CASE_SHAPE` that :func:`check_granularity` refuses."""
    one, none = tensor("float32", 1), tensor(zeros, 0)
    for axis in (3, -4):
        yield _call(f"axis {axis} of rank 3", x, side, np.ones(7, "f"), None, axis=axis)
    yield _call("an axis of a scalar", x[0, 0, 0], side, np.ones(3, "f"), None, axis=0)
    for length in (2, 4, 7):
        yield _call(f"{length} scales for 3 slices", x, side, np.ones(length, "f"), None, axis=1)
    yield _call("no scale at all", x, side, np.ones(0, "f"), None, axis=1)
    yield _call("a scale of rank 2", x, side, np.ones((1, 1), "f"), None, axis=1)
    yield _call("too few zero points", x, side, np.ones(3, "f"), np.zeros(2, none.dtype), axis=1)
    yield _call("one zero point for three", x, side, np.ones(3, "f"), none, axis=1)
    yield _call("a zero point for each slice", x, side, one, np.zeros(3, none.dtype), axis=1)
    yield _call("a zero point of rank 2", x, side, one, np.zeros((1, 1), none.dtype), axis=1)
    if blocks:
        cube = np.ones((2, 3, 3), "f")
        yield _call("blocks of nothing", x, side, cube, None, axis=2)
        yield _call("blocks of a negative size", x, side, cube, None, axis=2, block_size=-3)
        yield _call("blocks of another size", x, side, cube, None, axis=2, block_size=2)
        yield _call("blocks along another axis", x, side, cube, None, axis=0, block_size=3)
        yield _call("blocks of one scale", x, side, one, None, axis=2, block_size=7)
        yield _call("blocks of a row", x, side, np.ones(3, "f"), None, axis=2, block_size=3)


def _call(
    name: str, x: Array, side: str, scale: Array, zero: Array | None, **attributes: int
) -> Call:
    inputs = {"x": x, f"{side}_scale": scale}
    if zero is not None:
        inputs[f"{side}_zero_point"] = zero
    return Call(name=name, inputs=inputs, attributes=attributes)
