"""How much memory an operator will take whose inputs are small and whose output is not."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.numerics.formats import Array

WIDEST = 8
"""Bytes of the widest common type."""

MOST = 2.0**62
"""More than any machine has."""


def announced(name: str, inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    """Return the bytes that the values of some inputs announce, 0 for all other operators.

    >>> announced("ConstantOfShape", [np.int64([2**20, 2**20])], {}) == 8 * 2**40
    True
    >>> announced("Expand", [np.float32([[1], [2]]), np.int64([2**40])], {}) == 4 * 2**41
    True
    """
    given = [np.asarray(value) for value in inputs if isinstance(value, np.ndarray)]
    return _RULES[name](given, attributes) if name in _RULES else 0


def _filled(given: Sequence[Array], _: Mapping[str, Any]) -> int:
    return WIDEST * prod(_whole(given[0]))


def _expanded(given: Sequence[Array], _: Mapping[str, Any]) -> int:
    return given[0].itemsize * _broadcast(given[0].shape, _whole(given[1]))


def _tiled(given: Sequence[Array], _: Mapping[str, Any]) -> int:
    return given[0].nbytes * prod(max(times, 0) for times in _whole(given[1]))


def _counted(given: Sequence[Array], _: Mapping[str, Any]) -> int:
    start, limit, delta = (float(value.item()) for value in given[:3])
    return int(min(max((limit - start) / delta, 0), MOST)) * WIDEST if delta else 0


def _surrounded(given: Sequence[Array], attributes: Mapping[str, Any]) -> int:
    pads = _whole(given[1]) if len(given) > 1 else attributes.get("pads", [])
    return given[0].nbytes + given[0].itemsize * _padded(given[0].shape, pads)


def _one_hot(given: Sequence[Array], _: Mapping[str, Any]) -> int:
    return given[0].size * max(int(given[1].item()), 0) * WIDEST


def _whole(values: Array) -> list[int]:
    return [int(value) for value in values.ravel()]


def _broadcast(left: Sequence[int], right: Sequence[int]) -> int:
    """Multiply the sizes of two shapes that are broadcast; no array is made."""
    rank = max(len(left), len(right))
    pairs = zip(
        [*[1] * (rank - len(left)), *left], [*[1] * (rank - len(right)), *right], strict=True
    )
    return prod(max(pair) for pair in pairs)


def _padded(shape: Sequence[int], pads: Sequence[int]) -> int:
    if len(pads) != 2 * len(shape):
        return sum(max(pad, 0) for pad in pads)
    ends = zip(shape, pads[: len(shape)], pads[len(shape) :], strict=True)
    return prod(max(size + begin + end, 0) for size, begin, end in ends)


def _resized(given: Sequence[Array], attributes: Mapping[str, Any]) -> int:
    """Take the last input, which holds sizes or scales of all axes or of some."""
    last = given[-1]
    if len(given) == 1:
        return 0
    if last.dtype == np.int64:
        sizes = _whole(last)
        chosen = attributes.get("axes", range(given[0].ndim))
        kept = [n for axis, n in enumerate(given[0].shape) if axis not in {*chosen}]
        whole: int = prod(sizes) * prod(kept)
        return given[0].itemsize * whole
    growth = prod(max(float(scale), 1.0) for scale in last.ravel())
    return int(min(given[0].nbytes * growth, MOST))


_RULES = {
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "OneHot": _one_hot,
    "Pad": _surrounded,
    "Range": _counted,
    "Resize": _resized,
    "Tile": _tiled,
}
