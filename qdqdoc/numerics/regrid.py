"""From one grid of codes to another, without a real number in between where both are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.rounding import divide, multiply, round_to_grid, subtract32

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array


def regrid(codes: Array, source: tuple[Array, Array], target: tuple[Array, Array]) -> Array:
    """Copy codes whose grid is the target's; dequantize and quantize others.

    A grid is a scale and a zero point, each one value.

    >>> half, one, none = np.float32(0.5), np.float32(1), np.uint8(0)
    >>> regrid(np.uint8([1, 3, 5]), (half, none), (one, np.uint8(1)))
    array([1, 3, 3], dtype=uint8)
    >>> regrid(np.uint8([1, 3, 5]), (np.float32(0), none), (np.float32(0), none))
    array([1, 3, 5], dtype=uint8)
    """
    (scale, zero_point), (target_scale, target_zero_point) = (
        [parameter.reshape(()) for parameter in grid] for grid in (source, target)
    )
    if scale == target_scale and zero_point == target_zero_point:
        return codes
    reals = multiply(scale, subtract32(codes, zero_point))
    return round_to_grid(
        divide(reals, target_scale, np.float32), target_zero_point, target_zero_point.dtype
    )
