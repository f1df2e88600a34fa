"""Rows cut into blocks, each with a scale of its own: int8 codes for them, and their products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.products import float_matmul, integer_matmul
from qdqdoc.numerics.rounding import divide, multiply, round_to_grid

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array

_RAIL = np.array(127, np.float32)


def int8_blocks(rows: Array, size: int) -> tuple[Array, Array]:
    """Quantize each block of each row to int8 by its largest magnitude; the last one is padded.

    Returns codes, (rows, blocks, size), and steps, (rows, blocks). The largest becomes 127:

    >>> codes, steps = int8_blocks(np.float32([[1, -0.5, 0.25, 254]]), 3)
    >>> codes.tolist(), steps
    ([[[127, -64, 32], [127, 0, 0]]], array([[0.00787402, 2.        ]], dtype=float32))

    Where it is 0, or so small that 127 divided by it is infinite, all codes are 0:

    >>> int8_blocks(np.float32([[1e-37, 0]]), 2)[0]
    array([[[0, 0]]], dtype=int8)
    """
    count, length = rows.shape
    blocks = -(-length // size)
    padded = np.pad(rows, ((0, 0), (0, blocks * size - length))).reshape(count, blocks, size)
    largest = np.abs(padded).max(-1)
    steps = multiply(padded, divide(_RAIL, largest, np.float32)[..., None])
    codes = round_to_grid(np.where(np.isfinite(steps), steps, 0), np.array(0, np.int8), np.int8)
    return codes, divide(largest, _RAIL, np.float32)


def block_matmul(left: Array, right: Array, left_step: Array, right_step: Array) -> Array:
    """Multiply rows by rows: whole numbers block by block, each sum times both of its steps.

    ``left`` are (M, blocks, size) and ``right`` (N, blocks, size), the steps (M, blocks) and
    (N, blocks). The steps' product is rounded to float32, and so, once, is the sum of the blocks.

    >>> codes = np.int8([[[1, 2], [3, 4]]])
    >>> block_matmul(codes, codes, np.float32([[1, 10]]), np.float32([[1, 0.5]]))
    array([[130.]], dtype=float32)

    Sums above 2**24 are not rounded by themselves:

    >>> codes, one = np.int32([[[2**12, 1]]]), np.float32([[1]])
    >>> int(block_matmul(codes, codes, one, np.nextafter(one, 2, dtype=np.float32))[0, 0])
    16777220
    """
    sums = integer_matmul(left.transpose(1, 0, 2), right.transpose(1, 2, 0)).transpose(1, 2, 0)
    steps = multiply(left_step[:, None], right_step)
    return float_matmul(sums[..., None, :], steps[..., None])[..., 0, 0]
