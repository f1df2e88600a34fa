"""Where a parameter applies and which elements a window sees: shapes, no arithmetic."""

from __future__ import annotations

from itertools import product
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.numerics.formats import Array

AUTO_PAD = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def spread(parameter: Array, shape: Sequence[int], axis: int, block_size: int) -> Array:
    """Bring a scale or zero point to a shape that broadcasts against a tensor of ``shape``.

    One value serves the whole tensor, a vector serves the slices along ``axis``, and a tensor
    of the same rank serves blocks of ``block_size`` along ``axis``, the last one maybe shorter.

    >>> spread(np.float32([1, 2]), (2, 3), 0, 0).shape
    (2, 1)
    >>> spread(np.float32([[1, 2]]), (1, 3), 1, 2)
    array([[1., 1., 2.]], dtype=float32)
    """
    if parameter.size == 1:
        return parameter.reshape(())
    if block_size:
        return np.repeat(parameter, block_size, axis).take(range(shape[axis]), axis)
    rank = len(shape)
    return parameter.reshape([parameter.size if i == axis % rank else 1 for i in range(rank)])


def reach(kernel: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    """Return the distance from the first position of a window to just behind its last.

    >>> reach([3, 1, 2], [2, 5, 1])
    (5, 1, 2)
    """
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))


def same_pads(
    auto_pad: str,
    size: Sequence[int],
    extent: Sequence[int],
    strides: Sequence[int],
    *,
    crop: bool = False,
) -> list[int]:
    """Return the ``pads`` that keep ``ceil(size / stride)`` outputs; an odd one goes to one side.

    ``extent`` is the reach of the dilated kernel along each spatial axis. Where strides are so
    long that elements are left over, ``crop`` takes them away at both sides: a pad is negative.

    >>> same_pads("SAME_UPPER", [5], [2], [1]), same_pads("SAME_LOWER", [5], [2], [1])
    ([0, 1], [1, 0])
    >>> same_pads("SAME_UPPER", [6], [1], [3]), same_pads("SAME_UPPER", [6], [1], [3], crop=True)
    ([0, 0], [-1, -1])
    """
    total = [
        (ceil(n / stride) - 1) * stride + end - n
        for n, end, stride in zip(size, extent, strides, strict=True)
    ]
    total = total if crop else [max(t, 0) for t in total]
    small = [int(t / 2) for t in total]
    large = [t - s for t, s in zip(total, small, strict=True)]
    return small + large if auto_pad == "SAME_UPPER" else large + small


def pad(x: Array, pads: Sequence[int], value: int = 0) -> Array:
    """Surround the spatial axes of ``x`` (N, C, spatial...): all beginnings, then all ends.

    A negative number takes so many elements away.

    >>> pad(np.array([[[1, 2, 3]]]), [2, -1])
    array([[[0, 0, 1, 2]]])
    """
    rank = x.ndim - 2
    around = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
    kept = [slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, around, strict=True)]
    added = [(max(b, 0), max(a, 0)) for b, a in around]
    return np.pad(x[tuple(kept)], added, constant_values=value)


def windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """View ``x`` (N, C, spatial...) as (N, C, outputs..., kernel...): what each window sees.

    >>> windows(np.arange(5).reshape(1, 1, 5), [2], [2], [1])
    array([[[[0, 1],
             [2, 3]]]])
    """
    axes = tuple(range(2, 2 + len(kernel)))
    view = np.lib.stride_tricks.sliding_window_view(x, reach(kernel, dilations), axes)
    steps = [slice(None, None, s) for s in (*strides, *dilations)]
    return np.asarray(view[(slice(None), slice(None), *steps)])


def taps(
    position: Sequence[int],
    size: Sequence[int],
    kernel: Sequence[int],
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """List the taps of one window as (kernel offset, input position), leaving out the padding.

    Written with scalars on purpose: it is the witness of :func:`windows`.

    >>> taps([0], [4], [3], strides=[1], dilations=[1], pads=[1, 1])
    [((1,), (0,)), ((2,), (1,))]
    """
    found = []
    for offset in product(*(range(k) for k in kernel)):
        at = tuple(
            p * s + o * d - pad
            for p, s, o, d, pad in zip(position, strides, offset, dilations, pads, strict=False)
        )
        if all(0 <= a < n for a, n in zip(at, size, strict=True)):
            found.append((offset, at))
    return found
