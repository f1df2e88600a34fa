"""What is computed from one code alone is a table, made by running the operations on all codes.

After a QuantizeLinear every value is one of few codes. So whatever is computed from it element by
element, with constants that are the same for a whole image or for a whole channel of it, takes as
many values as there are codes; the documented kernels compute all of them once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import Array, integer_range
from qdqdoc.plan.batching import ELEMENTWISE, QUANTIZING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdqdoc.document import Operation
    from qdqdoc.plan.documented import Documented
    from qdqdoc.plan.roots import Root
    from qdqdoc.plan.sample import Sample

MOST_ENTRIES = 2**20
"""Longer tables are not made."""

TABULATED = ELEMENTWISE | QUANTIZING


@dataclass(frozen=True, eq=False)
class Table:
    """A tensor that is computed from one root alone: (codes, channels or 1) values.

    ``shape`` is what one image of the tensor has; it differs from that of the root in axes of
    length one. ``step`` is the scale of the last DequantizeLinear on the way.
    """

    root: Root
    values: Array
    shape: tuple[int, ...]
    step: Array | None = None

    @property
    def per_channel(self) -> bool:
        """Whether channels differ."""
        return int(self.values.shape[1]) > 1

    def entries(self, values: Array | None = None) -> Array:
        """Return the table as places find it, or other values in its form."""
        values = self.values if values is None else values
        count = self.root.channels if self.root.stacked else 1
        every = np.broadcast_to(values, (self.root.levels, count))
        return np.ascontiguousarray(every.T).ravel()


def codes_of(root: Root) -> Table:
    """Return the table of the codes themselves."""
    low, high = integer_range(root.dtype)
    every = np.arange(low, high + 1, dtype=np.int32)
    values = np.empty((root.levels, 1), root.dtype)
    values[:, 0] = every
    return Table(root, values, root.shape)


def tabulate(
    documented: Documented,
    sample: Sample,
    operation: Operation,
    operands: Sequence[Table | Array | None],
) -> Table | None:
    """Run an operation on the tables of its operands; ``None`` if it is none of one code alone."""
    tables = [one for one in operands if isinstance(one, Table)]
    roots = {id(one.root) for one in tables}
    shapes = {one.shape for one in tables}
    if (operation.domain, operation.op_type) not in TABULATED or len(operation.outputs) != 1:
        return None
    if len(roots) != 1 or len(shapes) != 1 or sample.shape(operation.outputs[0]) not in shapes:
        return None
    (shape,) = shapes
    width = _width(operation, operands, shape)
    if width * tables[0].root.levels > MOST_ENTRIES or not width:
        return None
    # An operator may look at which axes are longer than one: so are they here.
    pattern = (tables[0].root.levels, *((width,) if shape else ()), *(min(n, 2) for n in shape[1:]))
    given = [
        np.ascontiguousarray(np.broadcast_to(_spread(one, len(shape)), pattern))
        if isinstance(one, Table)
        else one
        for one in operands
    ]
    (found,) = documented.run(operation, given)
    rows = np.asarray(found).reshape(pattern[0], -1, _size(pattern[2:]))[:, :, 0]
    per_channel = any(_widens(one, shape) for one in operands)
    return Table(
        tables[0].root,
        rows if per_channel else rows[:, :1].copy(),
        shape,
        _step(operation, operands),
    )


def _size(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _spread(table: Table, rank: int) -> Array:
    return table.values.reshape(*table.values.shape[: 1 + bool(rank)], *[1] * (rank - 1))


def _widens(operand: Table | Array | None, shape: Sequence[int]) -> bool:
    """Tell whether an operand makes channels differ."""
    if isinstance(operand, Table):
        return operand.per_channel
    return operand is not None and operand.size > 1 and shape[:1] != (1,)


def _width(
    operation: Operation, operands: Sequence[Table | Array | None], shape: Sequence[int]
) -> int:
    """Return how many channels to run, 0 if a constant differs along another axis."""
    axis = operation.attributes.get("axis", 1)
    for one in operands:
        if isinstance(one, Table) or one is None or one.size == 1:
            continue
        if (operation.domain, operation.op_type) in QUANTIZING:
            if one.ndim != 1 or axis % (len(shape) + 1) != 1:
                return 0
        elif not _along_channels(one.shape, shape):
            return 0
    if any(_widens(one, shape) for one in operands):
        return shape[0]
    return min(shape[0], 2) if shape else 1


def _along_channels(constant: Sequence[int], shape: Sequence[int]) -> bool:
    padded = (*[1] * (1 + len(shape) - len(constant)), *constant)
    return len(padded) == 1 + len(shape) > 1 and all(n == 1 for n in (padded[0], *padded[2:]))


def _step(operation: Operation, operands: Sequence[Table | Array | None]) -> Array | None:
    """Return a scale of which the result may be multiples; who needs it looks whether it is."""
    if operation.op_type == "DequantizeLinear":
        scale = operands[1]
        scalar = not isinstance(scale, Table) and scale is not None and scale.size == 1
        return np.asarray(scale).reshape(()) if scalar else None
    return next((one.step for one in operands if isinstance(one, Table)), None)
