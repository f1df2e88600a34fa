"""Counts from the JSON that they were written as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdqdoc.evaluate.answer import Agreement, Counts, Layer, Output, Score

if TYPE_CHECKING:
    from collections.abc import Mapping


def counts_from(plain: Mapping[str, Any]) -> Counts:
    """Return what `dataclasses.asdict` and JSON made of counts.

    >>> import json
    >>> from dataclasses import asdict
    >>> score = Score(contract="qdq", images=2, right=1)
    >>> counts = Counts(images=2, scores=(score,), agreements=())
    >>> counts_from(json.loads(json.dumps(asdict(counts)))) == counts
    True
    """
    return Counts(
        images=plain["images"],
        scores=tuple(Score(**row) for row in plain["scores"]),
        agreements=tuple(_agreement(row) for row in plain["agreements"]),
    )


def _agreement(row: Mapping[str, Any]) -> Agreement:
    first, second = row["contracts"]
    return Agreement(
        contracts=(first, second),
        layers=tuple(_layer(each) for each in row["layers"]),
        absent=tuple(row["absent"]),
        equal=row["equal"],
        outputs=tuple(Output(**each) for each in row["outputs"]),
        changed=row["changed"],
        examples=tuple(row["examples"]),
    )


def _layer(row: Mapping[str, Any]) -> Layer:
    steps = {int(step): count for step, count in row["steps"].items()}
    return Layer(**{**row, "steps": dict(sorted(steps.items()))})
