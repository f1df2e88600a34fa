"""The calls made of ties, by operator and version; who has none is not asked for any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdqdoc.operators import OPERATORS
from qdqdoc.registry import pick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.registry import Call, Operator


def tied(operator: Operator, since: int) -> Iterator[Call]:
    """Yield the ties that this version of the operator computes."""
    for call in operator.ties():
        if operator.domain or pick(operator.versions, call.opset).since == since:
            yield call


PAIRS = [
    (operator, version.since)
    for operator in OPERATORS.values()
    for version in operator.versions
    if next(tied(operator, version.since), None)
]
"""Operators with each of their versions that has ties."""

TIED = pytest.mark.parametrize(
    ("operator", "since"), PAIRS, ids=[f"{o.full_name}-{since}" for o, since in PAIRS]
)
"""Runs a test once for each version of each operator that has ties."""
