"""What the filters of a product see: the padded image of whole numbers, and windows of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdqdoc.numerics.formats import Array

CHUNK = 2**17
"""So many values does a matrix of windows hold, or one row of outputs: it stays in a cache."""

LONG = 1024
"""So many values lie side by side, if they may: NumPy is slow where rows are short."""


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
        return prod(self.out)

    @property
    def terms(self) -> int:
        """Number of products in a sum."""
        return prod(self.kernel) * self.channels // self.group

    @property
    def skips(self) -> tuple[int, ...]:
        """Strides of filters of one position: what they skip is never looked up."""
        pointwise = not any(self.pads) and set(self.kernel) == {1}
        return self.strides if pointwise else ()

    def looked_at(self, image: Array) -> Array:
        """Leave out of (images, spatial..., channels) what filters of one position skip."""
        many = zip(self.out, self.skips, strict=False)
        return image[(slice(None), *(slice(0, count * step, step) for count, step in many))]

    def inside(self, padded: Array) -> Array:
        """Return the padded image without the padding."""
        kept = zip(self.source, self.pads, strict=False)
        return padded[(slice(None), *(slice(first, first + size) for size, first in kept))]

    def windows(self, padded: Array) -> Array:
        """View a padded image as (images, outputs..., kernel..., channels): what filters see."""
        first, *spatial, last = padded.strides
        strides = (1,) * len(spatial) if self.skips else self.strides
        moves = [s * by for s, by in zip(spatial, strides, strict=True)]
        taps = [s * by for s, by in zip(spatial, self.dilations, strict=True)]
        return as_strided(
            padded,
            (padded.shape[0], *self.out, *self.kernel, self.channels),
            (first, *moves, *taps, last),
        )


def pieces(values: Array, base: Array) -> Array | None:
    r"""View the last two axes of a part of ``base`` as one piece of memory, if they are one.

    NumPy copies a piece at once.

    >>> base = np.arange(12, dtype=np.int8).reshape(3, 2, 2)
    >>> found = pieces(base[::2], base)
    >>> found.shape, found[1].tobytes()
    ((2,), b'\x08\t\n\x0b')
    >>> pieces(base[:, :, ::2], base), pieces(base[:, ::2], base)
    (None, None)
    """
    *lengths, width, depth = values.shape
    size = values.itemsize
    if values.strides[-2:] != (depth * size, size) or not values.size:
        return None
    first, start = (one.__array_interface__["data"][0] for one in (values, base))
    piece = np.dtype((np.void, width * depth * size))
    return np.ndarray(tuple(lengths), piece, base, first - start, values.strides[:-2])


def looking_up(entries: Array, index: Array, out: Array, flat: Array) -> Callable[[], object]:
    """Return what puts the entries at some places into memory of their type, by way of ``flat``.

    Places of entries that count up need no table. Integers are then right modulo as many as their
    type has, and the results are entries, which have that type.

    >>> index, out = np.uint16([[3, 1], [0, 2]]), np.zeros((2, 2), np.int8)
    >>> for entries in ([-2, -1, 0, 1], [5, 5, 7, 8]):
    ...     _ = looking_up(np.int8(entries), index, out, out)()
    ...     print(out.tolist())
    [[1, -1], [-2, 0]]
    [[8, 5], [5, 7]]
    """
    if (entries == np.arange(entries.size) + int(entries[0])).all():
        return partial(np.add, index, entries[:1], out=out, dtype=out.dtype, casting="unsafe")
    take = partial(entries.take, index, out=flat, mode="wrap")
    if flat is out:
        return take

    def step() -> None:
        take()
        np.copyto(out, flat)

    return step


def chunks(lengths: tuple[int, ...], columns: int) -> Iterator[tuple[tuple[slice, ...], slice]]:
    """Cut (images, rows of outputs, ...) into blocks, each a run of rows of the matrix of windows.

    >>> [rows for _, rows in chunks((2, 4, 8), 2**12)]
    [slice(0, 32, None), slice(32, 64, None)]
    >>> [(block[1], rows) for block, rows in chunks((1, 4, 8), 2**13)]
    [(slice(0, 2, None), slice(0, 16, None)), (slice(2, 4, None), slice(16, 32, None))]
    """
    images, *spatial = lengths
    pixels = prod(spatial)
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


def side_by_side(
    matrices: tuple[Array, ...], rows: tuple[Array, ...]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """View matrices of one shape with several of their rows in one, and repeat rows to match.

    >>> (matrix,), (row, one) = side_by_side((np.zeros((6, 2)),), (np.arange(2), np.ones(1)))
    >>> matrix.shape, row, one
    ((3, 4), array([0, 1, 0, 1]), array([1.]))
    """
    count, width = matrices[0].shape
    many = 1
    while count % (2 * many) == 0 and many * width < LONG and count:
        many *= 2
    wide = tuple(m.reshape(count // many, many * width) for m in matrices)
    return wide, tuple(np.tile(row, many) if row.size > 1 else row for row in rows)
