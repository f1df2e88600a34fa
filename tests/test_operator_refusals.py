"""What is forbidden is refused in one line: operator, place, what was found, what is allowed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from qdqdoc.calls.wrong import wrong_calls
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import OperatorError

if TYPE_CHECKING:
    from qdqdoc.registry import Call, Operator

LEAST = 10
"""Bad inputs that each operator is tried with, at the least."""


def refused(operator: Operator) -> list[Call]:
    return [*wrong_calls(operator), *operator.rejects()]


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.full_name)
def test_bad_input_is_refused_in_one_line(operator: Operator) -> None:
    calls = refused(operator)
    assert len(calls) >= LEAST
    names = [call.name for call in calls]
    assert len(set(names)) == len(names)
    for call in calls:
        with pytest.raises(OperatorError) as error:
            operator.run(call)
        said = str(error.value)
        assert re.fullmatch(rf"{operator.name}: .+(: found .+)?(, |; )allowed: .+", said), said


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.full_name)
def test_what_is_right_is_not_refused(operator: Operator) -> None:
    for call in operator.vectors():
        assert len(operator.run(call)) == len(operator.outputs)
