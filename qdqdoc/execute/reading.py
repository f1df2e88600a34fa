"""Arrays from files that nobody vouches for."""

from __future__ import annotations

from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.lib import format as npy

from qdqdoc.execute.errors import ExecuteError

if TYPE_CHECKING:
    import os

    from qdqdoc.numerics.formats import Array

READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""What reads the header of an .npy, by its version."""


def read_array(path: str | os.PathLike[str]) -> Array:
    """Read an .npy; its size is settled before any memory is taken, and nothing in it is run.

    Raises
    ------
    ExecuteError
        For a file of another kind, one of objects, and one that is shorter or longer than it says.
    """
    path = Path(path)
    if path.is_dir():
        raise ExecuteError(f"{path}: is a directory, expected an .npy file")
    with path.open("rb") as file:
        try:
            needed = _promised(file)
            found = path.stat().st_size - file.tell()
            if found != needed:
                raise ExecuteError(f"{path}: found {found} bytes of values, needed: {needed}")
            file.seek(0)
            return np.asarray(np.load(file, allow_pickle=False))
        except (KeyError, EOFError, SyntaxError, ValueError, OverflowError, TokenError) as error:
            raise ExecuteError(f"{path}: not an .npy file of numbers: {error}") from None


def _promised(file: IO[bytes]) -> int:
    """Return how many bytes of values the header of an .npy promises."""
    version = npy.read_magic(file)
    if version not in READERS:
        raise ValueError(f"found version {version}, allowed: {[*READERS]}")
    shape, _, dtype = READERS[version](file)
    if any(size < 0 for size in shape):
        raise ValueError(f"found shape {shape}, allowed: sizes of 0 or more")
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return prod(shape) * dtype.itemsize
