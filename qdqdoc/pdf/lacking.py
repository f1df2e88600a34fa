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


def spelled(letter: str) -> str:
    """Return what stands for a letter that cannot be shown: its number.

    >>> spelled("層")
    '[U+5C64]'
    """
    return f"[U+{ord(letter):04X}]"


def spell(tree: nodes.document, missing: Iterable[str]) -> None:
    """Put the numbers of letters in their places, in all text and in drawings.

    >>> from docutils.utils import new_document
    >>> tree = new_document("page")
    >>> tree += nodes.paragraph("", "", nodes.literal("", "卷/1"), nodes.Text(" stays"))
    >>> spell(tree, {"卷"})
    >>> tree.astext()
    '[U+5377]/1 stays'
    """
    table = {ord(letter): spelled(letter) for letter in missing}
    for text in [*tree.findall(nodes.Text)] if table else ():
        found = text.translate(table)
        if found != text:
            text.parent.replace(text, nodes.Text(found))
