"""Names that the command takes; what stands in ``__main__`` pytest does not look at."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from qdqdoc.drift.cases import modules
from qdqdoc.errors import QdqdocError
from qdqdoc.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Sequence


def expect_known(names: Sequence[str], *, write: bool = False) -> None:
    """Refuse names of nothing, and a record of a part.

    Raises
    ------
    QdqdocError
        For the first such name, with the nearest there is.

    Examples
    --------
    >>> expect_known(["com.microsoft::QGemm"])
    >>> expect_known(["QGem"])
    Traceback (most recent call last):
    ...
    qdqdoc.errors.QdqdocError: drift: found 'QGem' (nearest: 'com.microsoft::QGemm'), \
allowed: operators, modules of kernels
    """
    if write and names:
        found = " ".join(names)
        raise QdqdocError(f"drift: --write: found names ({found}), allowed: none; all is recorded")
    full = {entry.full_name: entry.full_name for entry in OPERATORS.values()}
    known = {module.__name__: module.__name__ for module in modules()} | full
    near = {entry.name: entry.full_name for entry in OPERATORS.values()} | known
    for name in names:
        if name not in known:
            close = [f" (nearest: {near[one]!r})" for one in get_close_matches(name, near, n=1)]
            found = f"{name!r}{''.join(close)}"
            raise QdqdocError(f"drift: found {found}, allowed: operators, modules of kernels")
