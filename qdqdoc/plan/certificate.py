r"""Float sums by way of integers: equal to the documented sum after its Q, or taken again.

Under the contract `qdq` a Conv sums products of dequantized values. The exact sum is rounded once
to float32, divided by the scale of the next QuantizeLinear, rounded, and rounded to a code:

    S = sum(x_k * w_k) + b,   y = f32(S),   q = f32(y / s_y),   code = hold(rint(q)) + zero point

Here ``x_k = f32(s_x * i_k)`` and ``w_k = f32(s_w * j_k)``, with whole numbers ``i`` and ``j``. The
integer ``A = sum(i_k * j_k) + c``, with a whole number ``c`` for the bias, is exact and cheap, and
so is ``v = f32(A * m) + f32(r)``, where ``m`` is ``s_x * s_w / s_y`` rounded to float32 and ``r``
what the bias is beside ``c``, in steps (often 0).

**v is within** `margin` **of q**, as long as neither is beyond the grid by more than a step. Let u
be 2**-24, R the largest count of steps on the grid and one more. Then, in steps of ``s_y``,

1. ``|S - s_x*s_w*A - r*s_y|`` is at most
   ``(E_x * sum|w_k| + s_x*max|i| * sum|w_k - s_w*j_k| + E_b) / s_y``, where ``E_x`` is the largest
   ``|x - s_x*i|`` over all codes: write ``x*w - s_x*i*s_w*j = (x - s_x*i)*w + s_x*i*(w - s_w*j)``.
   All of these are known before any image: they are computed from the weights, in float64.
2. ``q`` is off ``S / s_y`` by two roundings to float32, at most ``2*u*R`` (less in total than
   another ``u*u*R``), plus what is lost below the smallest normal number.
3. ``v`` is off ``(s_x*s_w*A) / s_y + r`` by the rounding of ``m``, of ``A`` where it has more than
   24 bits, of the product, of ``r`` and of the sum, at most ``u * (3*(R + |r|) + |r| + R)``.

**So the code is that of v** wherever v is farther than the margin from the middle of two codes:
between them there is no middle, and ``rint`` takes both the same way. Beyond the grid both are
held at the same end: the errors above grow in proportion to v, and the margin is below 1/4.
Everywhere else the sum is taken again, as documented. An average divides S by a whole number n:
it is the sum on a grid whose scale is ``n * s_y``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.execute.sums import summed
from qdqdoc.numerics.rounding import count_from, f32, hold_and_round, multiply
from qdqdoc.plan.fields import side_by_side
from qdqdoc.plan.requantize import one_or_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdqdoc.numerics.formats import Array
    from qdqdoc.plan.products import Product
    from qdqdoc.plan.requantize import Grid
    from qdqdoc.plan.roots import Root
    from qdqdoc.plan.steps import Buffers

UNIT = 2.0**-24
SMALLEST = 2.0**-149
WIDEST = 0.25
"""With a margin from here on nothing is gained, and the proof does not hold."""


@dataclass(frozen=True, eq=False)
class Real:
    """What the whole numbers of a product stand for.

    ``weights``, (group, terms, filters of a group), and ``bias`` are the float32 that the
    operation reads; ``x_step`` is one number, ``w_step`` one for each filter, and so is ``rest``:
    what the bias is beside the whole numbers of the product, in the unit of the result.
    """

    x_step: Array
    w_step: Array
    weights: Array
    bias: Array
    rest: Array


def margin(product: Product, real: Real, y_scale: float, grid: Grid) -> float:
    """Bound how far apart the two ways are, in steps; see above for the proof.

    The computation of the bound rounds, too: in float64, far below the thousandth part that is
    added.
    """
    x_step, w_step = float(real.x_step), real.w_step.astype(np.float64)
    counts = product.counts.astype(np.float64)
    codes = np.asarray(multiply(counts, real.x_step), np.float64)
    code_error = float(np.abs(codes - x_step * counts).max(initial=0))
    weights = real.weights.astype(np.float64)
    steps = w_step.reshape(weights.shape[0], 1, weights.shape[2])
    weight_error = np.abs(weights - steps * product.weights).sum(axis=1).ravel()
    bias = real.bias.astype(np.float64)
    bias_error = np.abs(bias - real.rest - x_step * w_step * product.bias) + np.abs(bias) * 2.0**-50
    largest = x_step * float(np.abs(counts).max(initial=0))
    error = code_error * np.abs(weights).sum(axis=1).ravel() + largest * weight_error + bias_error
    reach, rest = grid.reach + 1, float(np.abs(real.rest).max(initial=0)) / y_scale
    roundings = UNIT * (6 * reach + 4 * rest) + SMALLEST * (2 + 2 / y_scale)
    return float(error.max(initial=0) / y_scale + roundings) * 1.001


@dataclass(frozen=True, eq=False)
class Certified:
    """A float product, or an average, and the Q behind it, whose scale is ``y_scale``.

    The sum is divided by ``count`` before it is rounded, which is 1 but for averages. What stands
    between the product and the Q only holds values within a range; the grid knows of it.
    """

    product: Product
    real: Real
    y_scale: Array
    grid: Grid
    root: Root
    count: int = 1

    @property
    def reads(self) -> tuple[Root | str, ...]:
        """The codes that are multiplied."""
        return (self.product.table.root,)

    @property
    def writes(self) -> tuple[Root | str, ...]:
        """The codes that come out."""
        return (self.root,)

    @property
    def margin(self) -> float:
        """How far from the middle of two codes a result must be."""
        return margin(self.product, self.real, float(self.y_scale) * self.count, self.grid)

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Sum, multiply, round, and look which results are near the middle of two codes."""
        seen, shift, sums, run = self.product.bind(images, buffers)
        index = buffers.index(self.root, images)
        rounded = buffers.scratch("rounded", *sums.shape)
        low, high = self.grid.ends
        unit, scales = float(self.y_scale) * self.count, self.real.w_step.astype(np.float64)
        rows = f32(float(self.real.x_step) * scales / unit), f32(self.real.rest / unit)
        (places, values, whole), (multiplier, rest, origin) = side_by_side(
            (index, sums, rounded), (*map(one_or_all, rows), self.grid.origin(self.root))
        )
        sure = np.nextafter(f32(0.5 - self.margin), np.float32(0))
        has_rest, single = bool(rest.any()), sums.dtype == np.float32
        again = _Again(self, seen, shift, index)

        def step() -> None:
            run()
            steps = values if single else f32(values)
            np.multiply(steps, multiplier, out=steps)
            if has_rest:
                np.add(steps, rest, out=steps)
            hold_and_round(steps, low, high, whole)
            np.subtract(steps, whole, out=steps)
            np.abs(steps, out=steps)
            count_from(whole, origin, places)
            if steps.max(initial=0) > sure:
                again(np.flatnonzero(steps > sure))

        return step


class _Again:
    """Takes single sums as documented, from the same windows."""

    def __init__(self, fast: Certified, seen: Array, shift: int, index: Array) -> None:
        self.fast, self.seen, self.index = fast, seen, index.reshape(-1)
        self.shift = f32(shift)
        real, self.shape = fast.real, fast.product.shape
        group, terms, width = real.weights.shape
        filters = real.weights.transpose(0, 2, 1).reshape(group * width, terms)
        self.weights = np.ascontiguousarray(filters, np.float64)
        self.bias = real.bias.astype(np.float64)
        self.origin = np.broadcast_to(fast.grid.origin(fast.root), (group * width,))
        self.places = seen.shape[: 1 + len(self.shape.out)]
        largest = float(real.x_step) * float(np.abs(fast.product.counts).max(initial=0)) * 1.001
        sizes = np.abs(self.weights).sum(axis=1) * largest + np.abs(self.bias)
        # As many halves of float64's step as there are operations, and all of it twice.
        self.bounds = sizes * ((terms + 4) * np.finfo(np.float64).eps / fast.count)

    def __call__(self, doubtful: Array) -> None:
        """Put the places of the codes of these results."""
        pixels, filters = np.divmod(doubtful, self.shape.filters)
        steps = self._rounded(self._factors(pixels, filters), filters)
        np.divide(steps, self.fast.y_scale, out=steps)
        hold_and_round(steps, *self.fast.grid.ends, steps)
        places = np.empty(doubtful.size, self.index.dtype)
        count_from(steps, self.origin[filters], places)
        self.index[doubtful] = places

    def _factors(self, pixels: Array, filters: Array) -> Array:
        """Return the dequantized values in the windows of some results, one row for each."""
        group, terms, width = self.fast.real.weights.shape
        fields = self.seen[np.unravel_index(pixels, self.places)]
        if group > 1:
            fields = fields.reshape(pixels.size, -1, group, self.shape.channels // group)
            fields = fields[np.arange(pixels.size), :, filters // width]
        counts = f32(fields.reshape(pixels.size, terms))
        np.add(counts, self.shift, out=counts)
        return np.multiply(counts, self.fast.real.x_step, out=counts)

    def _rounded(self, x: Array, filters: Array) -> Array:
        """Round the exact sums once; where float64 does not decide, `summed` does."""
        w, bias, bound = self.weights[filters], self.bias[filters], self.bounds[filters]
        near = np.vecdot(x.astype(np.float64), w)
        near += bias
        near /= self.fast.count
        y = f32(near - bound)
        if (y == f32(near + bound)).all():
            return y
        added, wide = bias.reshape(-1, 1, 1), x.astype(np.float64)[:, None]
        found = summed(wide, w[:, :, None], addend=added, divisor=self.fast.count)
        return np.ascontiguousarray(found.reshape(-1))
