"""Strides, dilations and padding along the spatial axes: checked, with the defaults filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdqdoc.numerics.layout import AUTO_PAD, same_pads
from qdqdoc.registry.checks import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def per_axis(operator: str, name: str, given: Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Return an attribute with one positive number for each spatial axis; without it, ones."""
    values = (1,) * rank if given is None else tuple(given)
    if len(values) != rank or min(values) < 1:
        refuse(operator, name, list(values), f"{rank} positive numbers")
    return values


def padding(
    operator: str,
    attributes: Mapping[str, Any],
    size: Sequence[int],
    reach: Sequence[int],
    strides: Sequence[int],
) -> tuple[int, ...]:
    """Return all beginnings and all ends, as ``auto_pad`` and ``pads`` say together.

    >>> padding("MaxPool", {"auto_pad": "SAME_UPPER"}, [5], [2], [1])
    (0, 1)
    """
    auto_pad, pads = attributes.get("auto_pad", "NOTSET"), attributes.get("pads")
    if auto_pad not in AUTO_PAD:
        refuse(operator, "auto_pad", repr(auto_pad), " or ".join(AUTO_PAD))
    if auto_pad.startswith("SAME"):
        return tuple(same_pads(auto_pad, size, reach, strides))
    if pads is None or auto_pad == "VALID":
        return (0,) * (2 * len(size))
    if len(pads) != 2 * len(size) or min(pads) < 0:
        refuse(operator, "pads", list(pads), f"{2 * len(size)} numbers of 0 or more")
    return tuple(pads)


def flag(operator: str, name: str, value: int) -> None:
    """Refuse an attribute that is neither 0 nor 1."""
    if value not in {0, 1}:
        refuse(operator, name, value, "0 or 1")
