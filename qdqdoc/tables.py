"""Tables as plain data: what computes one need not know who shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Code:
    """A cell or value in code type: the name of a tensor, of a node, of a Python object."""

    text: str


@dataclass(frozen=True, slots=True)
class Quoted:
    """A cell or value that somebody else printed: shown as it stood there, and marked as such."""

    text: str


Cell = str | int | float | np.generic | Code | Quoted | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column heads. ``keys`` gives each row an anchor that stays what it is."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a row that does not fit its head, and keys that are not one for each row."""
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {number} has {len(row)} cells, expected {len(self.columns)}: "
                    + ", ".join(self.columns)
                )
        if self.keys and len(self.keys) != len(self.rows):
            raise ValueError(f"{len(self.keys)} keys for {len(self.rows)} rows")
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("two rows have the same key")


def show(cell: object) -> str:
    """Return a value as readers see it: numbers by their shortest decimal, never cut.

    >>> show(np.float32(0.1)), show(0.1), show(np.int8(-3)), show(None), show(Code("conv1/w"))
    ('0.1', '0.1', '-3', '–', 'conv1/w')
    """
    if cell is None:
        return "–"
    if isinstance(cell, Code | Quoted):
        return cell.text
    return str(cell)
