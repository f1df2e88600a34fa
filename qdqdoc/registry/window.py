"""The window of a convolution: what its attributes say, checked, with the defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qdqdoc.numerics.layout import AUTO_PAD, same_pads
from qdqdoc.registry.checks import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.numerics.formats import Array


@dataclass(frozen=True)
class Window:
    """The attributes of a convolution, with the defaults filled in."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    group: int


def window(operator: str, x: Array, w: Array, attributes: Mapping[str, Any]) -> Window:
    """Check the shapes and attributes of a convolution and fill in the defaults.

    Raises
    ------
    OperatorError
        For ranks, channels, groups or kernel shapes that do not fit, attributes of another
        length or sign, and windows that are larger than the padded input.
    """
    rank = x.ndim - 2
    if rank < 1 or w.ndim != x.ndim:
        refuse(operator, "w", f"shape {w.shape}", f"the rank of x, shape {x.shape}, at least 3")
    kernel = w.shape[2:]
    group = attributes.get("group", 1)
    if group < 1 or x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        allowed = (
            f"{x.shape[1]} channels of x = group * {w.shape[1]}, dividing {w.shape[0]} filters"
        )
        refuse(operator, "group", group, allowed)
    given = attributes.get("kernel_shape")
    if given is not None and tuple(given) != kernel:
        refuse(operator, "kernel_shape", list(given), f"{list(kernel)}, the shape of w")
    strides = _per_axis(operator, "strides", attributes.get("strides"), rank)
    dilations = _per_axis(operator, "dilations", attributes.get("dilations"), rank)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = _pads(operator, attributes, x.shape[2:], extent, strides)
    for axis, reach in enumerate(extent):
        padded = x.shape[2 + axis] + pads[axis] + pads[rank + axis]
        if padded < reach:
            refuse(
                operator, "x", f"{padded} padded values along axis {2 + axis}", f"at least {reach}"
            )
    return Window(kernel, strides, dilations, pads, group)


def _per_axis(operator: str, name: str, given: Sequence[int] | None, rank: int) -> tuple[int, ...]:
    values = (1,) * rank if given is None else tuple(given)
    if len(values) != rank or min(values) < 1:
        refuse(operator, name, list(values), f"{rank} positive numbers")
    return values


def _pads(
    operator: str,
    attributes: Mapping[str, Any],
    size: Sequence[int],
    extent: Sequence[int],
    strides: Sequence[int],
) -> tuple[int, ...]:
    auto_pad, pads = attributes.get("auto_pad", "NOTSET"), attributes.get("pads")
    if auto_pad not in AUTO_PAD:
        refuse(operator, "auto_pad", repr(auto_pad), " or ".join(AUTO_PAD))
    if auto_pad.startswith("SAME"):
        return tuple(same_pads(auto_pad, size, extent, strides))
    if pads is None or auto_pad == "VALID":
        return (0,) * (2 * len(size))
    if len(pads) != 2 * len(size) or min(pads) < 0:
        refuse(operator, "pads", list(pads), f"{2 * len(size)} numbers of 0 or more")
    return tuple(pads)
