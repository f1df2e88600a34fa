"""Tensors of codes, kept as places in tables."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qdqdoc.numerics.formats import Array, integer_range

CODES = frozenset(np.dtype(kind) for kind in (np.int8, np.uint8, np.int16, np.uint16))
"""Types of which there are few enough codes to list them."""


@dataclass(eq=False)
class Root:
    """A tensor of codes that is kept as places in tables.

    ``shape`` is what one image has: channels, then the spatial axes. In memory the channels are
    last. ``stacked`` tells that the tables of all channels lie one behind the other, and that each
    place counts from the first of them.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    stacked: bool = False

    @property
    def low(self) -> int:
        """The lowest code."""
        return integer_range(self.dtype)[0]

    @property
    def levels(self) -> int:
        """How many codes there are."""
        low, high = integer_range(self.dtype)
        return high - low + 1

    @property
    def channels(self) -> int:
        """Length of the axis behind the batch."""
        return self.shape[0] if self.shape else 1

    @property
    def pixels(self) -> int:
        """How often one image has each channel."""
        return prod(self.shape[1:])

    @property
    def index_dtype(self) -> np.dtype[np.generic]:
        """The narrowest type for places."""
        places = self.levels * (self.channels if self.stacked else 1)
        return np.dtype(np.uint16 if places <= 2**16 else np.uint32)

    def origin(self) -> Array:
        """Return where the table of each channel begins, as whole float32 numbers.

        Tables are so short that float32 holds every place in them.
        """
        count = self.channels if self.stacked else 1
        return np.arange(count, dtype=np.float32) * self.levels
