"""Sums of products of whole numbers, exact in the floats that BLAS multiplies.

Codes less their zero point, and weights less theirs, are whole numbers. No partial sum of their
products, in whatever order BLAS adds, is larger than the largest code times the magnitudes of the
weights of one filter together. Up to 2**24 that is exact in float32, up to 2**53 in float64. The
bias, a whole number too, is one more product, with 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

from qdqdoc.numerics.products import exact_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdqdoc.numerics.formats import Array
    from qdqdoc.plan.steps import Buffers
    from qdqdoc.plan.tables import Table

CHUNK = 2**17
"""So many values does a matrix of windows hold, or one row of outputs: it stays in a cache."""


@dataclass(frozen=True)
class Shape:
    """A correlation of (spatial..., channels) with filters; a matrix product has no spatial axes.

    ``source`` and ``out`` are the spatial sizes before and after. ``pads`` are those before each
    axis, then those behind.
    """

    source: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    channels: int
    filters: int
    group: int = 1

    @property
    def padded(self) -> tuple[int, ...]:
        """The spatial sizes with the padding."""
        rank = len(self.source)
        around = zip(self.source, self.pads[:rank], self.pads[rank:], strict=True)
        return tuple(size + before + after for size, before, after in around)

    @property
    def pixels(self) -> int:
        """Number of outputs of one filter for one image."""
        return int(np.prod(self.out, dtype=np.int64))

    @property
    def terms(self) -> int:
        """Number of products in a sum."""
        return int(np.prod(self.kernel, dtype=np.int64)) * self.channels // self.group


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

    def _exactly(self, numbers: Array) -> Array:
        """Bring whole numbers to the type of the sums, which holds each of them."""
        return numbers.astype(self.dtype)

    def gather(self, images: int, buffers: Buffers) -> tuple[Array, Callable[[], None]]:
        """Return the padded image of whole numbers, channels last, and what fills it."""
        root, shape, kind = self.table.root, self.shape, self.dtype.type
        entries = self._exactly(self.table.entries(self.counts))
        index = buffers.index(root, images)
        if not any(shape.pads):
            index = index.reshape(images, *shape.source, shape.channels)
            index = index[(slice(None), *self._looked_at())]
            whole = buffers.scratch("image", *index.shape, dtype=kind)
            return whole, lambda: _look_up(entries, index, whole)
        flat = buffers.scratch("codes", *index.shape, dtype=kind)
        # Nobody else writes here, so that the padding stays what it is: zero.
        own = f"image of {id(self)}"
        whole = buffers.scratch(own, images, *shape.padded, shape.channels, dtype=kind)
        rank = len(shape.source)
        kept = zip(shape.source, shape.pads[:rank], strict=True)
        inner = whole[(slice(None), *(slice(first, first + size) for size, first in kept))]
        shaped = flat.reshape(inner.shape)

        def fill() -> None:
            _look_up(entries, index, flat)
            inner[...] = shaped

        return whole, fill

    def _looked_at(self) -> tuple[slice, ...]:
        """Leave out what filters of one position skip."""
        strides = self.shape.strides if set(self.shape.kernel) == {1} else ()
        many = zip(self.shape.out, strides, strict=False)
        return tuple(slice(0, count * step, step) for count, step in many)

    def windows(self, whole: Array) -> Array:
        """View a padded image as (images, outputs..., kernel..., channels): what filters see."""
        shape, steps = self.shape, whole.strides
        spatial = steps[1:-1]
        skipped = not any(shape.pads) and set(shape.kernel) == {1}
        strides = (1,) * len(spatial) if skipped else shape.strides
        moves = [s * by for s, by in zip(spatial, strides, strict=True)]
        taps = [s * by for s, by in zip(spatial, shape.dilations, strict=True)]
        return as_strided(
            whole,
            (whole.shape[0], *shape.out, *shape.kernel, shape.channels),
            (steps[0], *moves, *taps, steps[-1]),
            writeable=False,
        )

    def bind(self, images: int, buffers: Buffers) -> tuple[Array, Array, Callable[[], None]]:
        """Return the windows, the sums (pixels of all images, filters), and what makes them."""
        whole, fill = self.gather(images, buffers)
        seen, shape = self.windows(whole), self.shape
        sums = buffers.scratch("sums", images * shape.pixels, shape.filters, dtype=self.dtype.type)
        if shape.group == shape.channels == shape.filters and (self.weights == 1).all():
            return seen, sums, self._by_adding(fill, seen, sums)
        if shape.group > 1 and shape.group == shape.channels:
            return seen, sums, self._by_taps(fill, seen, sums, buffers)
        parts = [*self._parts(seen, sums, buffers)]

        def run() -> None:
            fill()
            for source, rows, ones, matrix, weights, out in parts:
                np.copyto(rows, source)
                ones[...] = 1
                np.matmul(matrix, weights, out=out)

        return seen, sums, run

    def _parts(
        self, seen: Array, sums: Array, buffers: Buffers
    ) -> Iterator[tuple[Array, Array, Array, Array, Array, Array]]:
        """Cut the outputs into chunks whose matrix of windows is small."""
        shape, group = self.shape, self.shape.group
        depth, width = shape.channels // group, shape.filters // group
        bias = self.bias.reshape(group, 1, width)
        weights = self._exactly(np.concatenate([self.weights, bias], axis=1))
        columns = shape.terms + 1
        rank = len(shape.out)
        for block, rows in chunks(seen.shape[: 1 + rank], columns):
            for number in range(group):
                source = seen[block][..., number * depth : (number + 1) * depth]
                count = int(np.prod(source.shape[: 1 + rank], dtype=np.int64))
                matrix = buffers.scratch("windows", count, columns, dtype=self.dtype.type)
                target = matrix.reshape(*source.shape[: 1 + rank], columns)[..., :-1]
                target = target.reshape(source.shape)
                out = sums[rows, number * width : (number + 1) * width]
                yield source, target, matrix[:, -1], matrix, weights[number], out

    def _by_adding(self, fill: Callable[[], None], seen: Array, sums: Array) -> Callable[[], None]:
        """Add what each window sees: an average has no weights."""
        rank, bias = len(self.shape.out), self._exactly(self.bias)
        axes = tuple(range(1 + rank, 1 + 2 * rank))
        total = sums.reshape(*seen.shape[: 1 + rank], self.shape.channels)

        def run() -> None:
            fill()
            np.add.reduce(seen, axis=axes, out=total)
            np.add(total, bias, out=total)

        return run

    def _by_taps(
        self, fill: Callable[[], None], seen: Array, sums: Array, buffers: Buffers
    ) -> Callable[[], None]:
        """Add tap by tap: where each channel has filters of its own, the matrices are too thin."""
        shape = self.shape
        each = shape.filters // shape.channels
        weights = self._exactly(self.weights.transpose(1, 0, 2))  # (terms, channels, each)
        bias = self._exactly(self.bias).reshape(shape.channels, each)
        total = sums.reshape(*seen.shape[: 1 + len(shape.out)], shape.channels, each)
        part = buffers.scratch("tap", *total.shape, dtype=self.dtype.type)
        places = [*np.ndindex(*shape.kernel)]
        everything = (slice(None),) * (1 + len(shape.out))
        taps = [seen[(*everything, *place)][..., None] for place in places]

        def run() -> None:
            fill()
            total[...] = bias
            for tap, weight in zip(taps, weights, strict=True):
                np.multiply(tap, weight, out=part)
                np.add(total, part, out=total)

        return run


def _look_up(entries: Array, index: Array, out: Array) -> None:
    entries.take(index, out=out, mode="wrap")


def chunks(lengths: tuple[int, ...], columns: int) -> Iterator[tuple[tuple[slice, ...], slice]]:
    """Cut (images, rows of outputs, ...) into blocks, each a run of rows of the matrix of windows.

    >>> [rows for _, rows in chunks((2, 4, 8), 2**12)]
    [slice(0, 32, None), slice(32, 64, None)]
    >>> [(block[1], rows) for block, rows in chunks((1, 4, 8), 2**13)]
    [(slice(0, 2, None), slice(0, 16, None)), (slice(2, 4, None), slice(16, 32, None))]
    """
    images, *spatial = lengths
    pixels = int(np.prod(spatial, dtype=np.int64))
    many = max(CHUNK // max(pixels * columns, 1), 1)
    whole = pixels * columns <= CHUNK or not spatial
    line = pixels // spatial[0] if spatial and spatial[0] else 1
    tall = pixels if whole else max(CHUNK // (line * columns), 1)
    for first in range(0, images, many):
        last = min(first + many, images)
        if whole:
            yield (slice(first, last),), slice(first * pixels, last * pixels)
            continue
        for top in range(0, spatial[0], tall):
            bottom = min(top + tall, spatial[0])
            start = first * pixels
            rows = slice(start + top * line, start + bottom * line)
            yield (slice(first, last), slice(top, bottom)), rows
