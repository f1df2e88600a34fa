"""Scale and zero point of a tensor that is quantized as it comes, from its lowest and highest."""

from __future__ import annotations

import numpy as np

from qdqdoc.numerics.formats import Array, integer_range
from qdqdoc.numerics.rounding import divide, f32, round_to_grid

CODES = np.dtype(np.uint8)
"""The type of the codes: the only one that ONNX has for this."""


def dynamic_parameters(x: Array) -> tuple[Array, Array]:
    """Fit the 256 codes of uint8 to the range of a float32 tensor, widened to include zero.

    The scale is 1 where there is nothing but zeros. The zero point says where zero lies above
    the lowest value, counted in steps, rounded half to even and held within the rails.

    >>> dynamic_parameters(np.float32([-1, 0.5, 1.55]))
    (array(0.01, dtype=float32), array(100, dtype=uint8))
    >>> dynamic_parameters(np.float32([-127.5, 127.5]))
    (array(1., dtype=float32), array(128, dtype=uint8))
    >>> dynamic_parameters(np.float32([0, 0]))
    (array(1., dtype=float32), array(0, dtype=uint8))

    Two ends have no good answer. A range beyond float32 has an infinite scale. In one so narrow
    that the scale is 0, zero lies infinitely far up, or, if it is the lowest itself, nowhere:

    >>> dynamic_parameters(np.float32([-3e38, 3e38]))
    (array(inf, dtype=float32), array(0, dtype=uint8))
    >>> dynamic_parameters(np.float32([-1e-45]))
    (array(0., dtype=float32), array(255, dtype=uint8))
    >>> dynamic_parameters(np.float32([1e-45]))
    (array(0., dtype=float32), array(0, dtype=uint8))
    """
    low, high = np.min(x, initial=0), np.max(x, initial=0)
    with np.errstate(all="ignore"):
        step = divide(high - low, f32(integer_range(CODES)[1]), np.float32)
        scale = np.where(high == low, 1, step)
        above = -divide(low, scale, np.float32)
    return scale, round_to_grid(above, np.zeros((), CODES), CODES)
