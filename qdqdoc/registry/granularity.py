"""Per tensor, per axis, blocked: which shapes ONNX allows, and which entry serves an element."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from qdqdoc.registry.checks import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qdqdoc.numerics.formats import Array

CASE_SHAPE = (2, 3, 7)
"""Shape of the tensor that granularity vectors use: three lengths, none a multiple of another."""


def check_granularity(
    operator: str,
    x: Array,
    parameters: Mapping[str, Array | None],
    *,
    axis: int,
    block_size: int,
) -> None:
    """Refuse a scale or zero point whose shape fits no granularity of ``x``.

    Raises
    ------
    OperatorError
        For a negative block size, an axis outside the rank, a length or block count that does
        not fit, or a zero point of another shape than its scale.
    """
    scale_name, scale = next(iter(parameters.items()))
    assert scale is not None  # noqa: S101 - a scale is never optional
    if block_size < 0:
        refuse(operator, "block_size", block_size, "0 or a positive number")
    if block_size and scale.ndim != x.ndim:
        refuse(operator, scale_name, _shape(scale), f"rank {x.ndim}, as block_size is given")
    one_value = scale.size == 1 and scale.ndim <= 1 and not block_size
    if not one_value:
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
    operator: str, x: Array, scale: Array, axis: int, block_size: int
) -> tuple[int, ...]:
    if block_size:
        blocks = ceil(x.shape[axis] / block_size)
        return tuple(blocks if k == axis else n for k, n in enumerate(x.shape))
    if scale.ndim > 1:
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
