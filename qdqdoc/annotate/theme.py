"""Colours and type, in one place: readable on paper, on white and on a dark page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Part = Literal["q", "dq", "op", "note", "plain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ink:
    """The colours of one kind of box: its head, its body and the text on both."""

    strong: str
    soft: str
    text: str


def _inks() -> dict[Part, Ink]:
    return {
        "q": Ink(strong="#8fd19e", soft="#dff3e3", text="#0f3d1c"),
        "dq": Ink(strong="#f2a3bd", soft="#fde6ee", text="#541029"),
        "op": Ink(strong="#9cc4f2", soft="#d9e9fb", text="#0d2f57"),
        "note": Ink(strong="#d5d9df", soft="#f1f3f5", text="#23272e"),
        "plain": Ink(strong="#ffffff", soft="#ffffff", text="#23272e"),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Theme:
    """What a diagram looks like.

    The page stays transparent and every box brings its own fill and text colour, so that a
    diagram can stand in a page of any brightness. ``line`` must be visible on white and on
    near-black. ``font`` has the metrics of Arial and Helvetica: a browser that lacks the
    first family finds another in which the text fills the boxes just as well.
    """

    font: str = "Arimo,Liberation Sans,Arial,Helvetica,sans-serif"
    size: float = 9.0
    line: str = "#7a7f87"
    border: str = "#8a919b"
    inks: Mapping[Part, Ink] = field(default_factory=_inks)


DEFAULT = Theme()
