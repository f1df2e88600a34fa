"""Zero, infinite, NaN, negative and denormal values: each has an answer, and a witness for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from test_witness_formula import compare as compare_with_formula
from test_witness_onnxruntime import check

from qdqdoc.calls.odd import odd_calls
from qdqdoc.operators import OPERATORS

if TYPE_CHECKING:
    from conftest import Witness
    from qdqdoc.registry import Operator

WITH_FLOATS = [o for o in OPERATORS.values() if any(True for _ in odd_calls(o))]


@pytest.mark.parametrize("operator", WITH_FLOATS, ids=lambda o: o.full_name)
def test_odd_values_have_the_answer_of_formula_and_onnxruntime(
    operator: Operator, witness: Witness
) -> None:
    since = operator.versions[-1].since
    count, different = compare_with_formula(operator, odd_calls(operator), most=60)
    assert not different, different[:5]
    assert count > 0
    witness(operator.full_name, since, "formula", count)
    check(operator, since, odd_calls(operator), witness)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.full_name)
def test_an_empty_tensor_is_among_the_vectors(operator: Operator) -> None:
    arrays = (a for call in operator.vectors() for a in (*call.inputs.values(), *call.more))
    assert any(np.asarray(array).size == 0 for array in arrays)
