"""How wide the columns of a table are, so that no word leaves its cell and no cell the page.

Widths are in em, the size of the letters, until a size is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PAD = 0.9
"""Space at both sides of a column, together."""
SLACK = 1.02
"""Letters that stand side by side may be a little wider than each by itself."""
TALL = 28
"""A row of more lines than this may go on on the next page."""
FEW = 22
"""A table of so many lines in all stays on one page."""
SHORT = 90
"""A table of so many lines in all stays upright: a page across costs more than it saves."""

Cell = tuple[tuple[float, ...], ...]
"""Lines of a cell, each the widths of its words; a space belongs to the word before it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A way to set a table: size of letters in points, page upright or across, longest word.

    With more lines in a row than ``comfort``, on average, the next one is tried.
    """

    size: float
    across: bool
    chunk: int
    comfort: float


SHAPES = (
    Shape(8.5, across=False, chunk=30, comfort=3.5),
    Shape(7.6, across=False, chunk=30, comfort=2.5),
    Shape(8.0, across=True, chunk=30, comfort=7),
    Shape(7.0, across=True, chunk=30, comfort=TALL),
    Shape(6.2, across=True, chunk=24, comfort=TALL),
    Shape(5.5, across=True, chunk=12, comfort=TALL),
    Shape(5.0, across=True, chunk=5, comfort=TALL),
)
"""From the most readable to the one into which nearly anything fits."""


def fit(rows: Sequence[Sequence[Cell]], room: float) -> list[float] | None:
    """Return the widths of columns that fit into a room, or nothing if they cannot.

    Every column is as wide as its longest word, and has a share of what is left.

    >>> row = [((2.0, 3.0),), ((4.0,),)]
    >>> [f"{width:.2f}" for width in fit([row], 20) or ()]
    ['6.00', '4.98']
    >>> [f"{width:.2f}" for width in fit([row], 9.5) or ()]
    ['4.52', '4.98']
    >>> fit([row], 8) is None
    True
    """
    count = max(map(len, rows), default=0)
    columns = [[row[k] for row in rows if k < len(row)] for k in range(count)]
    least = [max((max(line, default=0) for c in col for line in c), default=0) for col in columns]
    most = [max((sum(line) for c in col for line in c), default=0) for col in columns]
    least, most = ([width * SLACK + PAD for width in widths] for widths in (least, most))
    if sum(least) > room:
        return None
    wanted = [high - low for low, high in zip(least, most, strict=True)]
    share = min(1.0, (room - sum(least)) / sum(wanted)) if sum(wanted) else 0.0
    return [low + more * share for low, more in zip(least, wanted, strict=True)]


def height(rows: Sequence[Sequence[Cell]], widths: Sequence[float]) -> float:
    """Return how many lines the rows have on average.

    >>> height([[((2.0, 3.0),), ((4.0,),)]], [3.9, 4.9])
    2.0
    """
    lines = [
        max(
            (_lines(cell, width - PAD) for cell, width in zip(row, widths, strict=False)), default=1
        )
        for row in rows
    ]
    return sum(lines) / max(len(lines), 1)


def _lines(cell: Cell, width: float) -> int:
    total = 0
    for line in cell:
        total, used = total + 1, 0.0
        for word in line:
            if used and used + word * SLACK > width:
                total, used = total + 1, 0.0
            used += word * SLACK
    return max(total, 1)
