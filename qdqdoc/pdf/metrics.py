"""How wide each letter is in the fonts of the book: Typst is asked once for each book."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qdqdoc.pdf.markup import string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

KINDS = ("q-sans", "q-strong", "q-mono")
"""Names that the template gives to the kinds of letters in tables."""
UNKNOWN = 1.0
"""A letter that was not measured is taken for a wide one, in em."""


@dataclass
class Metrics:
    """Widths in em of the letters that occur in tables, by kind of font."""

    widths: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def width(self, text: str, kind: str) -> float:
        """Return how wide a text is when it stands on one line.

        >>> metrics = Metrics({"q-mono": {"a": 0.6, "b": 0.6}})
        >>> metrics.width("ab?", "q-mono")
        2.2
        """
        known = self.widths.get(kind, {})
        return sum(known.get(letter, UNKNOWN) for letter in text)


def measured(letters: Iterable[str], ask: Callable[[str], object]) -> Metrics:
    """Return the widths of letters; ``ask`` gives the value of an expression of Typst."""
    given = sorted(set(letters))
    listed = ", ".join(map(string, given)) + ","
    each = ", ".join(f"{string(kind)}: ({listed}).map(c => q-width({kind}, c))" for kind in KINDS)
    found = ask(f"({each})")
    if not isinstance(found, dict):
        raise TypeError(f"Typst gave {type(found).__name__}, expected dict")
    return Metrics({kind: dict(zip(given, found[kind], strict=True)) for kind in KINDS})
