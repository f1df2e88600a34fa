"""HTML-like labels for DOT: rows of cells, everything escaped here and only here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdqdoc.annotate.text import markup

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. ``port`` lets an edge end here, ``link`` and ``tip`` are for the SVG."""

    text: str
    fill: str = ""
    ink: str = ""
    bold: bool = False
    italic: bool = False
    size: float | None = None
    span: int = 1
    align: str = "left"
    port: str = ""
    link: str | None = None
    tip: str = ""
    identity: str = ""
    dashed: bool = False
    inner: str = ""
    width: int = 0
    border: int = 0

    def source(self) -> str:
        """Return the cell's markup."""
        return f"<td{_attributes(self._settings())}>{self.inner or self._content()}</td>"

    def _content(self) -> str:
        lines = [markup(line) or " " for line in self.text.split("\n")]
        text = "<br/>".join(lines)
        if len(lines) > 1:
            text = "".join(f'{line}<br align="{self.align}"/>' for line in lines)
        if self.bold:
            text = f"<b>{text}</b>"
        if self.italic:
            text = f"<i>{text}</i>"
        size = f' point-size="{self.size:g}"' if self.size else ""
        ink = f' color="{self.ink}"' if self.ink else ""
        return f"<font{ink}{size}>{text}</font>" if ink or size else text

    def _settings(self) -> dict[str, str]:
        return {
            "align": self.align,
            "balign": self.align,
            "bgcolor": self.fill,
            "colspan": str(self.span) if self.span > 1 else "",
            "port": self.port,
            "id": self.identity,
            "href": self.link or "",
            "title": self.tip,
            "style": "dashed" if self.dashed else "",
            "border": str(self.border) if self.border else "",
            "width": str(self.width) if self.width else "",
        }


def table(rows: Iterable[Iterable[Cell]], **settings: str) -> str:
    """Return a table's markup; the settings are the attributes of Graphviz's TABLE."""
    body = "".join(f"<tr>{''.join(cell.source() for cell in row)}</tr>" for row in rows)
    return f"<table{_attributes(settings)}>{body}</table>"


def label(content: str) -> str:
    """Return content as a label that DOT reads as HTML-like."""
    return f"<{content}>"


def _attributes(settings: dict[str, str]) -> str:
    return "".join(f' {key}="{markup(value)}"' for key, value in settings.items() if value)
