"""Integer operators: sums of codes, multiplied once in float32, rounded to the grid of the result.

This restates what the kernels of QLinearConv, QLinearMatMul, QGemm and the averages of images do
after their sums, and what QuantizeLinear does, because whole tensors in memory of their own are
slow; tests compare the two bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.rounding import count_from, f32, hold_and_round
from qdqdoc.plan.fields import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdqdoc.numerics.formats import Array
    from qdqdoc.plan.products import Product
    from qdqdoc.plan.roots import Root
    from qdqdoc.plan.steps import Buffers


@dataclass(frozen=True)
class Grid:
    """Where codes lie: the zero point, and between which codes results are held."""

    zero: int
    low: int
    high: int

    @property
    def reach(self) -> int:
        """The largest number of steps from the zero point to a code."""
        return max(map(abs, self.ends))

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest and the highest code, in steps from the zero point."""
        return self.low - self.zero, self.high - self.zero

    def origin(self, root: Root) -> Array:
        """Return the place of the zero point in the tables of a root."""
        return root.origin() + f32(self.zero - root.low)


@dataclass(frozen=True, eq=False)
class Quantize:
    """A QuantizeLinear of real numbers as the operators know them, with one scale."""

    source: str
    scale: Array
    grid: Grid
    root: Root

    @property
    def reads(self) -> tuple[Root | str, ...]:
        """The real numbers."""
        return (self.source,)

    @property
    def writes(self) -> tuple[Root | str, ...]:
        """The codes that come out."""
        return (self.root,)

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Divide, hold, round and count from the beginning of the tables."""
        index, tensors = buffers.index(self.root, images), buffers.tensors
        steps = buffers.scratch("sums", *index.shape)
        shaped = steps.reshape(images, *self.root.shape[1:], self.root.channels)
        low, high = self.grid.ends
        (places, wide), (origin,) = side_by_side((index, steps), (self.grid.origin(self.root),))
        rank = len(self.root.shape)

        def step() -> None:
            values = tensors[self.source]
            last = np.moveaxis(values, 1, -1) if rank else values[:, None]
            np.divide(last, self.scale, out=shaped)
            hold_and_round(wide, low, high, wide)
            if np.isnan(wide.max(initial=0)):
                wide[np.isnan(wide)] = low
            count_from(wide, origin, places)

        return step


@dataclass(frozen=True, eq=False)
class Requantize:
    """A product whose sums are brought to the grid of an integer operator."""

    product: Product
    multiplier: Array
    grid: Grid
    root: Root

    @property
    def reads(self) -> tuple[Root | str, ...]:
        """The codes that are multiplied."""
        return (self.product.table.root,)

    @property
    def writes(self) -> tuple[Root | str, ...]:
        """The codes that come out."""
        return (self.root,)

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Sum, multiply, hold, round and count from the beginning of the tables."""
        _, _, sums, run = self.product.bind(images, buffers)
        index = buffers.index(self.root, images)
        grid, single = self.grid, sums.dtype == np.float32
        low, high = grid.ends
        (places, values), (multiplier, origin) = side_by_side(
            (index, sums), (one_or_all(self.multiplier), grid.origin(self.root))
        )

        def step() -> None:
            run()
            steps = values if single else f32(values)
            np.multiply(steps, multiplier, out=steps)
            hold_and_round(steps, low, high, steps)
            count_from(steps, origin, places)

        return step


def one_or_all(row: Array) -> Array:
    """Return one value for a row of equal ones: NumPy multiplies by one value faster.

    >>> one_or_all(np.int8([3, 3])), one_or_all(np.int8([3, 4]))
    (array([3], dtype=int8), array([3, 4], dtype=int8))
    """
    return row[:1] if row.size and (row == row[0]).all() else row
