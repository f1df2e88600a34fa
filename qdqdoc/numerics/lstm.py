"""The arithmetic of an LSTM whose weights are codes: products, gates, states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.activations import ACTIVATIONS
from qdqdoc.numerics.dynamic import dynamic_parameters
from qdqdoc.numerics.products import Overflow, accumulate, integer_matmul
from qdqdoc.numerics.rounding import divide, hold, multiply, round_to_grid, subtract32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.numerics.activations import Chosen
    from qdqdoc.numerics.formats import Array


@dataclass(frozen=True)
class Matrix:
    """Codes of a weight, (K, 4H), with scale and zero point of one value or one a column."""

    codes: Array
    scale: Array
    zero_point: Array

    def product(self, values: Array, overflow: Overflow) -> Array:
        """Quantize (..., K) as a whole, multiply codes exactly, scale the sums: (..., 4H).

        Values of 0 to 51 have a scale of 0.2, so their codes are 0 to 255:

        >>> one = Matrix(np.int8([[1, 2]]), np.float32(0.5), np.int8(0))
        >>> one.product(np.float32([[0], [51]]), "wrap")
        array([[ 0. ,  0. ],
               [25.5, 51. ]], dtype=float32)
        """
        scale, zero_point = dynamic_parameters(values)
        codes = round_to_grid(divide(values, scale, np.float32), zero_point, zero_point.dtype)
        weights = subtract32(self.codes, self.zero_point)
        sums = integer_matmul(subtract32(codes, zero_point), weights)
        return multiply(accumulate(sums, overflow), multiply(scale, self.scale))


@dataclass(frozen=True)
class Gates:
    """What turns the sums of a step into a new state; ``functions`` are f, g and h."""

    bias: Array
    peep: Array | None
    functions: Sequence[Chosen]
    limit: float
    coupled: bool

    def step(self, sums: Array, cell: Array) -> tuple[Array, Array]:
        """Return hidden values and cells, (batch, H) each, after a step.

        >>> functions = [("Affine", (1, 0)), ("Relu", ()), ("Relu", ())]
        >>> gates = Gates(np.zeros(4, np.float32), None, functions, np.inf, coupled=False)
        >>> gates.step(np.float32([[2, 3, 0.5, 7]]), np.float32([[4]]))
        (array([[48.]], dtype=float32), array([[16.]], dtype=float32))
        """
        i, o, f, g = np.split(sums, 4, axis=1)
        b_i, b_o, b_f, b_g = np.split(self.bias, 4)
        entry = self._apply(0, self._peeped(i, cell, 0), b_i)
        forget = np.float32(1) - entry
        if not self.coupled:
            forget = self._apply(0, self._peeped(f, cell, 2), b_f)
        cell = cell * forget + entry * self._apply(1, g, b_g)
        name, parameters = self.functions[2]
        out = self._apply(0, self._peeped(o, cell, 1), b_o)
        return out * ACTIVATIONS[name](cell, parameters), cell

    def _peeped(self, sums: Array, cell: Array, place: int) -> Array:
        return sums if self.peep is None else sums + cell * np.split(self.peep, 3)[place]

    def _apply(self, place: int, sums: Array, bias: Array) -> Array:
        name, parameters = self.functions[place]
        return ACTIVATIONS[name](hold(sums + bias, -self.limit, self.limit), parameters)


@dataclass(frozen=True)
class Layer:
    """One direction of an LSTM."""

    inputs: Matrix
    hidden: Matrix
    gates: Gates
    overflow: Overflow

    def run(
        self, x: Array, lengths: Array, state: tuple[Array, Array], *, backward: bool
    ) -> tuple[Array, Array, Array]:
        """Return the hidden values of all steps, and the last hidden values and cells.

        Sequences stand side by side in ``x``, (steps, batch, inputs). What has ended is 0.
        """
        hidden, cell = state
        longest = lengths.max(initial=0)
        steps = np.arange(longest)[:, None]
        order = np.where(backward & (steps < lengths), lengths - 1 - steps, steps)[..., None]
        sums = self.inputs.product(np.take_along_axis(x[:longest], order, 0), self.overflow)
        y = np.zeros((len(x), *hidden.shape), np.float32)
        last = np.zeros((2, *hidden.shape), np.float32)
        for step in range(longest):
            total = sums[step] + self.hidden.product(hidden, self.overflow)
            after = np.stack(self.gates.step(total, cell))
            last = np.where((step < lengths)[:, None], after, last)
            hidden, cell = np.where((step < lengths)[:, None], after, np.float32(0))
            y[step] = hidden
        y[:longest] = np.take_along_axis(y[:longest], order, 0)
        return y, last[0], last[1]
