"""An evaluation as JSON, and as text for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from qdqdoc.evaluate.answer import MANY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qdqdoc.evaluate.answer import Agreement, Evaluation, Layer, Output

FORMAT, FORMAT_VERSION = "qdqdoc.evaluation", 1

STEPS = 4
"""So many bars of a histogram stand in a line; the JSON has all of them."""


def dumps(evaluation: Evaluation) -> str:
    """Return all of it as JSON; the same evaluation gives the same text.

    Of a distance that is infinite JSON has no number: it is written as the text ``Infinity``.
    """
    counts = asdict(evaluation.counts)
    for agreement in counts["agreements"]:
        for output in agreement["outputs"]:
            if output["largest"] == float("inf"):
                output["largest"] = "Infinity"
    held = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "fingerprint": evaluation.settings.fingerprint,
        "settings": evaluation.settings.plain(),
        **counts,
    }
    return json.dumps(held, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def report(evaluation: Evaluation) -> str:
    """Return what people want to know first: who is right, who agrees, and where they part."""
    settings, counts = evaluation.settings, evaluation.counts
    lines = [f"{printable(settings.model)}: {counts.images} images"]
    rows = [("contract", "right", "%")]
    for score in counts.scores:
        share = "" if score.right is None else f"{100 * score.right / score.images:.2f}"
        rows.append((score.contract, _shown(score.right), share))
    lines += ["", *_table(rows, words=(0,))]
    for agreement in counts.agreements:
        lines += ["", *_agreement(agreement, counts.images)]
    return "\n".join(lines) + "\n"


def _agreement(agreement: Agreement, images: int) -> Iterator[str]:
    """Name the layers that differ; how many do not is said above them."""
    first, second = agreement.contracts
    differing = [layer for layer in agreement.layers if layer.differing]
    equal = len(agreement.layers) - len(differing)
    yield f"{first} and {second}: {equal} of {len(agreement.layers)} layers have equal codes,"
    yield f"{agreement.equal} of {images} images are equal in all of them"
    if agreement.absent:
        yield f"layers whose codes one of them does not have: {len(agreement.absent)}"
    if agreement.changed is not None:
        yield f"images whose class changes: {agreement.changed}{_examples(agreement)}"
    for output in agreement.outputs:
        yield _output(output)
    if differing:
        yield f"steps are those from {first} to {second}; image counts: differing, differing first"
        heads = ("layer", "pattern", "values", "differ", "images", "first", "steps")
        yield from _table([heads, *map(_layer, differing)], words=(0, 1, 6))


def _examples(agreement: Agreement) -> str:
    named = ", ".join(map(str, agreement.examples))
    more = ", ..." if len(agreement.examples) < (agreement.changed or 0) else ""
    return f" (number {named}{more})" if named else ""


def _output(output: Output) -> str:
    name = printable(output.tensor)
    if output.images is None:
        return f"output {name}: largest distance {output.largest:.6g}"
    return f"output {name}: differs in {output.images} images, by {output.largest:.6g} at most"


def _layer(layer: Layer) -> tuple[str, ...]:
    return (
        printable(layer.layer),
        printable(layer.pattern),
        str(layer.values),
        str(layer.differing),
        _shown(layer.images),
        _shown(layer.first),
        _steps(layer.steps, layer.largest),
    )


def _steps(steps: Mapping[int, int], largest: int) -> str:
    """Spell the most frequent steps of a histogram, and the largest.

    >>> _steps({-1: 3, 1: 12, 2: 1}, 2)
    '+1: 12, -1: 3, +2: 1'
    >>> _steps({1: 12, 2: 8, -2: 3, -3: 1, 4: 1, 16: 1}, 40)
    '+1: 12, +2: 8, -2: 3, -3: 1, ..., 40 at most'
    """
    common = sorted(steps.items(), key=lambda pair: (-pair[1], abs(pair[0])))
    shown = [f"{step:+}{' or more' * (abs(step) == MANY)}: {n}" for step, n in common[:STEPS]]
    rest = ["...", f"{largest} at most"] if common[STEPS:] or MANY in map(abs, steps) else []
    return ", ".join([*shown, *rest])


def _shown(count: int | None) -> str:
    return "-" if count is None else str(count)


def _table(rows: Sequence[Sequence[str]], words: Sequence[int]) -> Iterator[str]:
    """Align columns: those of words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if index in words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def printable(text: str) -> str:
    r"""Return a name from a model as a terminal may show it.

    >>> printable("conv\x1b[2J")
    'conv\\x1b[2J'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
