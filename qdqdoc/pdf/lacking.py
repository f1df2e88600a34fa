"""Letters that no font of the book has: names in models may be written in any script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def lacking(letters: Iterable[str], shown: Callable[[str], bool]) -> set[str]:
    """Return the letters that cannot be shown; ``shown`` tells it of all that it is given.

    >>> asked = []
    >>> def shown(text):
    ...     asked.append(text)
    ...     return "層" not in text
    >>> lacking("a層éßü", shown), asked
    ({'層'}, ['ßéü層', 'ßé', 'ü層', 'ü', '層'])
    """
    odd = sorted(letter for letter in set(letters) if not letter.isascii())
    if not odd or shown("".join(odd)):
        return set()
    if len(odd) == 1:
        return {*odd}
    half = len(odd) // 2
    return lacking(odd[:half], shown) | lacking(odd[half:], shown)


class Spelling:
    """Puts numbers in the place of letters that cannot be shown.

    >>> from docutils.utils import new_document
    >>> tree = new_document("page")
    >>> tree += nodes.paragraph("", "", nodes.literal("", "卷/1"), nodes.Text(" stays"))
    >>> Spelling({"卷"}).tree(tree)
    >>> tree.astext(), Spelling(()).text("卷")
    ('[U+5377]/1 stays', '卷')
    """

    def __init__(self, missing: Iterable[str]) -> None:
        self.table = {ord(letter): f"[U+{ord(letter):04X}]" for letter in missing}

    def text(self, text: str) -> str:
        """Return a text that can be shown."""
        return text.translate(self.table)

    def tree(self, tree: nodes.document) -> None:
        """Change all text of a page, and that in its drawings."""
        for text in [*tree.findall(nodes.Text)] if self.table else ():
            found = self.text(text)
            if found != text:
                text.parent.replace(text, nodes.Text(found))
