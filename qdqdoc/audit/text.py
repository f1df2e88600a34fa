"""The audit as text for a terminal of 100 columns."""

from __future__ import annotations

from collections import Counter
from textwrap import wrap
from typing import TYPE_CHECKING

from qdqdoc.audit.answer import CODES, Level
from qdqdoc.audit.remedies import ABOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from qdqdoc.audit.answer import Audit, Finding, Row
    from qdqdoc.audit.verifying import Comparison

WIDTH = 100
NAME = 38
SHORT = {name: letter for letter, name in zip("abcdefgh", ABOUT, strict=False)}
"""A letter for each remedy, so that several fit into a row."""


def to_text(audit: Audit, compared: Comparison | None = None) -> str:
    """Return the groups, what would fuse them, and the findings, in lines of 100 columns."""
    parts = [
        _head(audit),
        _table(audit),
        _reasons(audit),
        _remedies(audit),
        _findings(audit.findings),
    ]
    if compared is not None:
        parts.append(_compared(compared))
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines) + "\n"


def plain(text: str) -> str:
    r"""Return names from a file without what a terminal would obey.

    >>> plain("a\x1b[31mb\nc"), plain("Conv/é")
    ('a\\x1b[31mb\\nc', 'Conv/é')
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(name: str, width: int) -> str:
    """Return a name that fits, with its end, which tells names apart.

    >>> shortened("model/block1/conv", 12), shortened("conv", 12)
    ('…block1/conv', 'conv')
    """
    name = plain(name)
    return name if len(name) <= width else f"…{name[1 - width :]}"


def _head(audit: Audit) -> Iterator[str]:
    yield from _wrapped(f"{audit.model} for {audit.target.name}: {audit.target.about}")
    if audit.refused:
        yield from _wrapped(f"onnxruntime cannot load it after its rewriting: {audit.refused}")
    total, left = len(audit.rows), len(audit.unfused)
    kinds = Counter(row.verdict.outcome for row in audit.rows)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    yield f"{total} groups" + (f": {told}" if total else ", nothing quantized here")
    if left:
        types = Counter(row.verdict.source for row in audit.unfused)
        told = ", ".join(f"{count} {kind}" for kind, count in types.items())
        yield from _wrapped(f"in floats: {told}")


def _table(audit: Audit) -> Iterator[str]:
    if not audit.rows:
        return
    heads = ("group", "is", "becomes", "bits", "why not", "fused by")
    rows = [_row(row) for row in audit.rows]
    for line in _aligned([heads, *rows], (NAME, 20, 23, 4, 24, 8)):
        yield line[:WIDTH].rstrip()


def _row(row: Row) -> tuple[str, ...]:
    verdict = row.verdict
    becomes = verdict.op_type if verdict.outcome == "fused" else verdict.outcome
    if verdict.outcome == "dropped":
        becomes = "on codes"
    return (
        verdict.node,
        row.pattern,
        becomes if row.fused else "floats",
        str(row.sums.bits) if row.sums else "",
        verdict.reason or "",
        " ".join("".join(SHORT[name] for name in one) for one in row.remedies),
    )


def _aligned(rows: Sequence[Sequence[str]], most: Sequence[int]) -> Iterator[str]:
    """Yield rows with columns as wide as they need to be, no wider than told, and 100 in all."""
    widths = [min(limit, max(len(plain(row[at])) for row in rows)) for at, limit in enumerate(most)]
    spare = WIDTH - (sum(widths) + 2 * (len(widths) - 1))
    widths[0] = max(12, widths[0] + min(spare, 0))
    for row in rows:
        cells = (
            shortened(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)
        )
        yield "  ".join(cells)


def _reasons(audit: Audit) -> Iterator[str]:
    if not audit.unfused:
        return
    yield "Why groups stay in floats"
    for row in audit.unfused:
        yield from _wrapped(f"{row.verdict.node}: {row.verdict.words}", "  ", "      ")


def _remedies(audit: Audit) -> Iterator[str]:
    if not audit.trials:
        return
    yield "What would fuse them, each tried"
    before = len(audit.unfused)
    for trial in audit.trials:
        letters = "".join(SHORT[name] for name in trial.remedies)
        about = "; ".join(ABOUT[name] for name in trial.remedies)
        spoiled = f", {trial.spoiled} of them fused before" if trial.spoiled else ""
        counts = f"helps {trial.helped} of {before}; {trial.stays} stay in floats{spoiled}"
        yield from _wrapped(f"{letters}: {about}: {counts}", "  ", "      ")


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        yield "No findings"
        return
    yield "Findings"
    counted = Counter(one.code for one in findings)
    for level in Level:
        for code in dict.fromkeys(one.code for one in findings if one.level is level):
            yield from _wrapped(f"{level} {code} ({counted[code]}): {CODES[code][1]}", "  ", "    ")
            for one in findings:
                if one.code == code:
                    where = one.node or one.tensor
                    told = f"{where}: {one.words}" if where else one.words
                    yield from _wrapped(told, "    ", "        ")


def _compared(compared: Comparison) -> Iterator[str]:
    yield f"Compared with the graph that onnxruntime {compared.version} makes"
    agree = f"{compared.agree} of {compared.total} groups agree"
    if compared.by_count:
        agree += f", {compared.by_count} of them by count, as their names are gone"
    yield f"  {agree}"
    for one in compared.differences:
        told = f"{one.node}: predicted {one.predicted}, found {one.found}"
        yield from _wrapped(told, "  ", "      ")


def _wrapped(text: str, first: str = "", rest: str = "  ") -> Iterable[str]:
    return wrap(
        plain(text), WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
