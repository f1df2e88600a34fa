"""Apply an element-wise rule to a large tensor block by block, so that each block stays in cache.

A rule written as a few NumPy steps makes an array for each step. Made for a whole large tensor
they go to memory and back; made for a block they do not, and the rule is several times as fast.
Elements do not see each other, so the values are the same.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import DTypeLike

    from qdqdoc.numerics.formats import Array

BLOCK = 2**17
"""Elements of a block: a few float32 arrays of them fit into the caches, and calls cost little.

Twice as many, and each array is memory fresh from the system, page by page.
"""


def by_blocks(
    rule: Callable[..., Array], dtype: DTypeLike, x: Array, *parameters: Array, size: int = BLOCK
) -> Array:
    """Return ``rule(x, *parameters)``, computed in blocks of ``size`` elements.

    The result has the shape of ``x``. A parameter is one value, or broadcasts in the rank of
    ``x``; each block gets its part.

    >>> def rule(x, scale, shift):
    ...     print(x, scale.ravel(), shift)
    ...     return x * scale + shift
    >>> scale, shift = np.int32([[1], [10]]), np.int32(5)
    >>> by_blocks(rule, np.int32, np.int32([[1, 2], [3, 4]]), scale, shift, size=2)
    [[1 2]] [1] 5
    [[3 4]] [10] 5
    array([[ 6,  7],
           [35, 45]], dtype=int32)
    """
    if x.size <= size:
        return rule(x, *parameters)
    y = np.empty(x.shape, dtype)
    for block in blocks(x.shape, size):
        parts = [p[_part(block, p)] if p.ndim else p for p in parameters]
        y[block] = rule(x[block], *parts)
    return y


def blocks(shape: Sequence[int], size: int) -> Iterator[tuple[slice, ...]]:
    """Cut a tensor into pieces that lie in one run of memory, of at most ``size`` elements each.

    >>> [(b[0].start, b[0].stop) for b in blocks([5, 3], 8)]
    [(0, 2), (2, 4), (4, 6)]
    >>> len([*blocks([2, 3, 7], 8)]), len([*blocks([0, 3], 8)])
    (6, 0)
    """
    row = prod(shape[1:])
    step = max(size // row, 1)
    for start in range(0, shape[0], step):
        piece = slice(start, start + step)
        for rest in blocks(shape[1:], size) if row > size else ((),):
            yield piece, *rest


def _part(block: Sequence[slice], parameter: Array) -> tuple[slice, ...]:
    """Choose what a broadcast parameter has for a block: all of an axis of length one."""
    lengths = parameter.shape[: len(block)]
    return tuple(
        piece if length > 1 else slice(None) for piece, length in zip(block, lengths, strict=True)
    )
