"""The window of a convolution: what its attributes say, checked, with the defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdqdoc.numerics.layout import reach
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.spatial import padding, per_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.numerics.formats import Array


@dataclass(frozen=True)
class Window:
    """The attributes of a convolution, with the defaults filled in."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    group: int


def window(
    operator: str,
    x: Array,
    w: Array,
    *,
    group: int,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Window:
    """Check the shapes and attributes of a convolution and fill in the defaults.

    ``x`` is (N, C, spatial...), ``w`` is (M, C / group, kernel...).

    Raises
    ------
    OperatorError
        For ranks, channels, groups or kernel shapes that do not fit, attributes of another
        length or sign, and windows that are larger than the padded input.
    """
    kernel, rank = w.shape[2:], x.ndim - 2
    if rank < 1 or w.ndim != x.ndim:
        refuse(operator, "w", f"shape {w.shape}", f"the rank of x, shape {x.shape}, at least 3")
    if min(kernel) < 1:
        refuse(operator, "w", f"shape {w.shape}", "a kernel of 1 or more along each spatial axis")
    if group < 1 or x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        allowed = (
            f"{x.shape[1]} channels of x = group * {w.shape[1]}, dividing {w.shape[0]} filters"
        )
        refuse(operator, "group", group, allowed)
    if kernel_shape is not None and tuple(kernel_shape) != kernel:
        refuse(operator, "kernel_shape", list(kernel_shape), f"{list(kernel)}, the shape of w")
    if auto_pad != "NOTSET" and pads is not None:
        refuse(operator, "pads", list(pads), f"none beside auto_pad {auto_pad}")
    steps = per_axis(operator, "strides", strides, rank)
    spread_by = per_axis(operator, "dilations", dilations, rank)
    extent = reach(kernel, spread_by)
    given = {"auto_pad": auto_pad, "pads": pads}
    around = padding(operator, given, x.shape[2:], extent, steps)
    for axis, needed in enumerate(extent):
        padded = x.shape[2 + axis] + around[axis] + around[rank + axis]
        if padded < needed:
            found = f"{padded} padded values along axis {2 + axis}"
            refuse(operator, "x", found, f"at least {needed}")
    return Window(kernel, steps, spread_by, around, group)
