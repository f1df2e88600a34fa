"""What is computed from two codes is a table of all pairs, made by running the operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.plan.batching import MS
from qdqdoc.plan.fields import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

    from qdqdoc.numerics.formats import Array
    from qdqdoc.plan.documented import Documented
    from qdqdoc.plan.matching import Pending
    from qdqdoc.plan.roots import Root
    from qdqdoc.plan.steps import Buffers
    from qdqdoc.plan.tables import Table

PAIRED = frozenset(
    {("", name) for name in ("Add", "Div", "Max", "Min", "Mul", "Sub")}
    | {(MS, name) for name in ("QLinearAdd", "QLinearMul")}
)
"""Operators that compute each element from one element of each of two operands."""

MOST_PAIRS = 2**16


@dataclass(frozen=True, eq=False)
class Pair:
    """Two tables and what follows from each pair of their values.

    ``left`` and ``right`` are numbers of values, those of the left times how many the right has;
    ``codes`` are what the pairs become, counted from the lowest code.
    """

    tables: tuple[Table, Table]
    left: Array
    right: Array
    codes: Array
    root: Root

    @property
    def reads(self) -> tuple[Root | str, ...]:
        """The two operands."""
        return tuple(one.root for one in self.tables)

    @property
    def writes(self) -> tuple[Root | str, ...]:
        """The codes that come out."""
        return (self.root,)

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Look up what the pair at each place becomes."""
        index = buffers.index(self.root, images)
        left = buffers.scratch("left", *index.shape, dtype=np.uint16)
        right = buffers.scratch("right", *index.shape, dtype=np.uint16)
        first = self._numbered(0, self.left, left, buffers.index(self.tables[0].root, images))
        second = self._numbered(1, self.right, right, buffers.index(self.tables[1].root, images))
        codes = _places(self.codes, index.dtype)
        (places,), (shift,) = side_by_side((index,), (_places(self.root.origin(), index.dtype),))
        stacked = self.root.stacked

        def step() -> None:
            np.add(first(), second(), out=left)
            codes.take(left, out=index, mode="wrap")
            if stacked:
                np.add(places, shift, out=places)

        return step

    def _numbered(self, side: int, numbers: Array, out: Array, index: Array) -> Callable[[], Array]:
        """Return what numbers the values of one side; places that are numbers need no table."""
        table, source = self.tables[side], index.reshape(out.shape)
        entries = table.entries(numbers)
        step = int(entries[1]) if entries.size > 1 else 1
        if not table.root.stacked and (entries == np.arange(entries.size) * step).all():
            if step == 1 and source.dtype == out.dtype:
                return lambda: source
            return lambda: np.multiply(source, np.uint16(step), out=out, casting="unsafe")
        return lambda: entries.take(source, out=out, mode="wrap")


def pair(documented: Documented, pending: Pending, root: Root) -> Pair | None:
    """Run an operation and what follows on all pairs of values; ``None`` if there are too many."""
    left, right = pending.operands
    (values, number), (others, other) = (_distinct(one.values) for one in (left, right))
    count = values.size * others.size
    if count > MOST_PAIRS:
        return None
    # An operator may look at whether there is more than one element: so there is here.
    shape = (-1, *[1] * len(left.shape))
    operands = iter(
        np.tile(one, 2).reshape(shape)
        for one in (np.repeat(values, others.size), np.tile(others, values.size))
    )
    given = [next(operands) if one is None else one for one in pending.constants]
    (found,) = documented.run(pending.operation, given)
    result: Any = found
    for operation, constants in pending.tail:
        (result,) = documented.run(operation, [result, *constants])
    codes = result.reshape(-1)[:count].astype(np.int64) - root.low
    numbers = _places(number * others.size), _places(other)
    return Pair((left, right), *numbers, codes, root)


def _distinct(values: Array) -> tuple[Array, Array]:
    """Return the different values, told apart by their bits, and the number of each value."""
    bits = np.ascontiguousarray(values).view(f"u{values.itemsize}")
    found, number = np.unique(bits, return_inverse=True)
    return found.view(values.dtype), number.reshape(values.shape)


def _places(numbers: Array, dtype: DTypeLike = np.uint16) -> Array:
    """Bring whole numbers to a type that holds as many as there are."""
    return numbers.astype(dtype)
