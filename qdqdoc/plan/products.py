"""Sums of products of whole numbers, exact in the floats that BLAS multiplies.

Codes less their zero point, and weights less theirs, are whole numbers. No partial sum of their
products, in whatever order BLAS adds, is larger than the largest code times the magnitudes of the
weights of one filter together. Up to 2**24 that is exact in float32, up to 2**53 in float64. The
bias, a whole number too, is one more product, with 1.

An engine that multiplies int8 takes those products whose codes and weights fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qdqdoc.numerics.formats import integer_range
from qdqdoc.numerics.int8_products import expect_exact
from qdqdoc.numerics.products import exact_dtype
from qdqdoc.plan.fields import chunks, looking_up, pieces, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import DTypeLike

    from qdqdoc.numerics.formats import Array
    from qdqdoc.numerics.int8_products import Int8Product
    from qdqdoc.plan.fields import Shape
    from qdqdoc.plan.steps import Buffers
    from qdqdoc.plan.tables import Table


class Bound(NamedTuple):
    """A product with its memory.

    ``seen`` are the windows, whose whole numbers are the counts less ``shift``; ``sums`` are
    (pixels of all images, filters); ``run`` makes both.
    """

    seen: Array
    shift: int
    sums: Array
    run: Callable[[], None]


class Part(NamedTuple):
    """Some windows, the rows of a matrix that take them, that matrix, and their rows of sums."""

    windows: Array
    rows: Array
    matrix: Array
    out: Array
    group: int


@dataclass(frozen=True, eq=False)
class Product:
    """Sums of a table's values times weights.

    ``counts`` are the values of the table as whole numbers, (codes, channels or 1); ``weights``
    are (group, terms, filters of a group) with the channels of a position next to each other;
    ``bias`` has a whole number for each filter.
    """

    table: Table
    counts: Array
    weights: Array
    bias: Array
    shape: Shape

    @property
    def bound(self) -> int:
        """The largest magnitude that any partial sum can have."""
        largest = int(np.abs(self.counts).max(initial=0))
        sums = np.abs(self.weights).sum(axis=1).ravel() * largest + np.abs(self.bias)
        return int(sums.max(initial=0))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The narrowest float in which the sums are exact; integers where no float does."""
        return np.dtype(exact_dtype(self.bound))

    @property
    def shift(self) -> int | None:
        """What is taken from the counts, and from the padding, so that all fit int8, if they do.

        The weights must fit, and the sums int32, too.
        """
        least, most = integer_range(np.int8)
        low, high = (int(end(self.counts, initial=0)) for end in (np.min, np.max))
        fits = high - low <= most - least and self.shape.terms * 2**14 + self.bound < 2**31
        inside = ((self.weights >= least) & (self.weights <= most)).all()
        some = self.weights.size * self.shape.pixels > 0
        return low - least if fits and inside and some else None

    def bind(self, images: int, buffers: Buffers) -> Bound:
        """Return the windows, the sums, and what makes them."""
        shape = self.shape
        alone = shape.group == shape.channels > 1
        added = shape.filters == shape.channels == shape.group and bool((self.weights == 1).all())
        product = None if alone or added or self.shift is None else buffers.product
        shift, kind = (0, self.dtype) if product is None else (self.shift or 0, np.dtype(np.int8))
        whole, fill = self._gather(images, buffers, kind, shift)
        seen = shape.windows(whole)
        sums = buffers.scratch("sums", images * shape.pixels, shape.filters, dtype=self.dtype)
        if added:
            run = self._by_adding(seen, sums)
        elif alone:
            run = self._by_taps(seen, sums, buffers)
        elif product is None:
            run = self._by_floats(whole, seen, sums, buffers)
        else:
            run = self._by_int8(whole, seen, sums, buffers, product)

        def step() -> None:
            fill()
            run()

        return Bound(seen, shift, sums, step)

    def _exactly(self, numbers: Array, kind: DTypeLike | None = None) -> Array:
        """Bring whole numbers to a type, that of the sums unless said, which holds each of them."""
        return numbers.astype(self.dtype if kind is None else kind)

    def _gather(
        self, images: int, buffers: Buffers, kind: DTypeLike, shift: int
    ) -> tuple[Array, Callable[[], object]]:
        """Return the padded image, channels last, and what fills it with counts less a shift."""
        shape = self.shape
        index = buffers.index(self.table.root, images)
        index = shape.looked_at(index.reshape(images, *shape.source, shape.channels))
        entries = self._exactly(self.table.entries(self.counts) - shift, kind)
        if not any(shape.pads):
            whole = buffers.scratch("image", *index.shape, dtype=kind)
            return whole, looking_up(entries, index, whole, whole)
        # Nobody else writes here, so that the padding stays what it is.
        own = f"image of {id(self)}"
        whole = buffers.scratch(own, images, *shape.padded, shape.channels, dtype=kind)
        whole[...] = -shift
        flat = buffers.scratch("codes", *index.shape, dtype=kind)
        return whole, looking_up(entries, index, shape.inside(whole), flat)

    def _by_floats(
        self, whole: Array, seen: Array, sums: Array, buffers: Buffers
    ) -> Callable[[], None]:
        """Multiply matrices of windows, each with a column of ones for the bias, by BLAS."""
        group, terms, width = self.weights.shape
        bias = self.bias.reshape(group, 1, width)
        weights = self._exactly(np.concatenate([self.weights, bias], axis=1))
        parts = []
        for part in self._parts(seen, sums, buffers, terms + 1):
            source, rows = _as_pieces(part, whole)
            parts.append((source, rows, part.matrix, weights[part.group], part.out))

        def run() -> None:
            for source, rows, matrix, factors, out in parts:
                np.copyto(rows, source)
                matrix[:, -1] = 1
                np.matmul(matrix, factors, out=out)

        return run

    def _by_int8(
        self, whole: Array, seen: Array, sums: Array, buffers: Buffers, product: Int8Product
    ) -> Callable[[], None]:
        """Multiply matrices of int8; what the shift took from the sums comes with the bias."""
        group, terms, width = self.weights.shape
        weights = self._exactly(self.weights, np.int8)
        shifted = self.bias.reshape(group, width) + (self.shift or 0) * self.weights.sum(axis=1)
        addends = self._exactly(shifted, np.int32)
        parts = []
        for part in self._parts(seen, sums, buffers, terms):
            found = buffers.scratch("int32", *part.out.shape, dtype=np.int32)
            expect_exact(product, part.matrix, width, found)
            multiply = product(part.matrix, weights[part.group], found)
            views = (found, part.out), (addends[part.group],)
            (one, other), (addend,) = side_by_side(*views) if group == 1 else views
            parts.append((*_as_pieces(part, whole), multiply, one, addend, other))

        def run() -> None:
            for source, rows, multiply, found, addend, out in parts:
                np.copyto(rows, source)
                multiply()
                np.add(found, addend, out=out, casting="unsafe")

        return run

    def _parts(self, seen: Array, sums: Array, buffers: Buffers, columns: int) -> Iterator[Part]:
        """Cut the outputs into chunks whose matrix of windows is small."""
        shape, group = self.shape, self.shape.group
        depth, width = shape.channels // group, shape.filters // group
        rank = len(shape.out)
        for block, rows in chunks(seen.shape[: 1 + rank], columns):
            for number in range(group):
                source = seen[block][..., number * depth : (number + 1) * depth]
                lead = source.shape[: 1 + rank]
                count = int(np.prod(lead, dtype=np.int64))
                matrix = buffers.scratch("windows", count, columns, dtype=seen.dtype)
                target = matrix.reshape(*lead, columns)[..., : shape.terms]
                out = sums[rows, number * width : (number + 1) * width]
                yield Part(source, target.reshape(source.shape), matrix, out, number)

    def _by_adding(self, seen: Array, sums: Array) -> Callable[[], None]:
        """Add what each window sees: an average has no weights."""
        rank, bias = len(self.shape.out), self._exactly(self.bias)
        axes = tuple(range(1 + rank, 1 + 2 * rank))
        total = sums.reshape(*seen.shape[: 1 + rank], self.shape.channels)

        def run() -> None:
            np.add.reduce(seen, axis=axes, out=total)
            np.add(total, bias, out=total)

        return run

    def _by_taps(self, seen: Array, sums: Array, buffers: Buffers) -> Callable[[], None]:
        """Add tap by tap: where each channel has filters of its own, the matrices are too thin."""
        shape = self.shape
        each = shape.filters // shape.channels
        weights = self._exactly(self.weights.transpose(1, 0, 2))  # (terms, channels, each)
        bias = self._exactly(self.bias).reshape(shape.channels, each)
        total = sums.reshape(*seen.shape[: 1 + len(shape.out)], shape.channels, each)
        part = buffers.scratch("tap", *total.shape, dtype=self.dtype)
        places = [*np.ndindex(*shape.kernel)]
        everything = (slice(None),) * (1 + len(shape.out))
        taps = [seen[(*everything, *place)][..., None] for place in places]

        def run() -> None:
            total[...] = bias
            for tap, weight in zip(taps, weights, strict=True):
                np.multiply(tap, weight, out=part)
                np.add(total, part, out=total)

        return run


def _as_pieces(part: Part, whole: Array) -> tuple[Array, Array]:
    """View windows and their rows of the matrix as pieces of memory, where both are."""
    source, rows = pieces(part.windows, whole), pieces(part.rows, part.matrix)
    return (part.windows, part.rows) if source is None or rows is None else (source, rows)
