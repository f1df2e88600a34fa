"""QLinearSoftmax of rows of codes: the exponentials are made once, not for each block of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.softmax import exponentials, shares
from qdqdoc.plan.batching import MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdqdoc.document import Operation
    from qdqdoc.numerics.formats import Array
    from qdqdoc.plan.roots import Root
    from qdqdoc.plan.sample import Sample
    from qdqdoc.plan.steps import Buffers
    from qdqdoc.plan.tables import Table

SOFTMAX = (MS, "QLinearSoftmax")


@dataclass(frozen=True, eq=False)
class Shares:
    """What share each code of a row has; the row is an image, and its codes are the channels."""

    table: Table
    exponentials: Array
    y_scale: Array
    y_zero_point: Array
    root: Root

    @property
    def reads(self) -> tuple[Root | str, ...]:
        """The codes of the rows."""
        return (self.table.root,)

    @property
    def writes(self) -> tuple[Root | str, ...]:
        """The codes that come out."""
        return (self.root,)

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Exponentiate, sum and divide."""
        index, places = (buffers.index(one, images) for one in (self.table.root, self.root))
        entries = self.table.entries().astype(np.int32)
        first = self.root.origin().astype(np.int32) - self.root.low

        def step() -> None:
            codes = entries.take(index, mode="wrap")
            weights = self.exponentials[codes.max(axis=-1, keepdims=True) - codes]
            found = shares(weights, self.y_scale, self.y_zero_point, self.root.dtype)
            np.add(found, first, out=places, dtype=np.int32, casting="unsafe")

        return step


def shared(
    sample: Sample, operation: Operation, table: Table, attributes: Mapping[str, Any]
) -> Shares | None:
    """Return the fast form of a QLinearSoftmax; none if its rows are not the images."""
    x_scale, _, *grid = (sample.constant(name) for name in operation.inputs[1:])
    rows = len(table.shape) == 1 == table.root.pixels and attributes.get("axis", -1) % 2 == 1
    if not rows or x_scale is None or any(one is None or one.size != 1 for one in (x_scale, *grid)):
        return None
    y_scale, y_zero_point = (one.reshape(()) for one in grid if one is not None)
    made = exponentials(x_scale.reshape(()), table.root.channels)
    return Shares(table, made, y_scale, y_zero_point, sample.root(operation))
