"""All that is wrong with a document, each thing with its path."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHOWN = 20
"""More lines than this help nobody; `DocumentError.problems` has them all."""


class DocumentError(QdqdocError):
    """One problem in one line, or several in a list."""

    def __init__(self, problems: Sequence[str], where: str = "") -> None:
        self.problems = tuple(problems)
        self.where = where
        super().__init__(_message(self.problems, where))


def _message(problems: Sequence[str], where: str) -> str:
    place = f"{where}: " if where else ""
    if len(problems) == 1:
        return place + problems[0]
    more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    lines = [f"{place}{len(problems)} problems", *problems[:SHOWN], *more]
    return "\n  ".join(lines)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (nearest: 'name')"``, or nothing where no known name is like this one."""
    found = get_close_matches(name, list(known), n=1)
    return f" (nearest: {found[0]!r})" if found else ""
