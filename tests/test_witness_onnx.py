"""ONNX's own node cases, and the registered differences from its evaluator and onnxruntime."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from peers import (
    RefusedError,
    Reported,
    kinds,
    processor,
    readable,
    run_onnx,
    run_onnxruntime,
)

from qdqdoc.operators import OPERATORS
from qdqdoc.registry import SEEN_IN, UNWRITTEN, Call, Differs, Operator, pick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Witness
    from qdqdoc.numerics.formats import Array

# Cases of one quantized node in the release that SEEN_IN names; the three that spell out
# DynamicQuantizeLinear as a function are run by the backend in test_evaluator.py.
CASES = 42


def cases() -> Iterator[tuple[Operator, Any]]:
    # Making the cases of other operators overflows and uses what NumPy deprecates.
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        every = collect_testcases(None)
    for case in every:
        nodes = case.model.graph.node if case.model else []
        if len(nodes) == 1 and ("", nodes[0].op_type) in OPERATORS:
            yield OPERATORS["", nodes[0].op_type], case


def call_of(operator: Operator, case: Any, inputs: list[Any]) -> Call:  # noqa: ANN401 - onnx's TestCase
    """Adapt a case: its positional inputs get ONNX's names, its attributes Python values."""
    node, opset = case.model.graph.node[0], case.model.opset_import[0].version
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    given = iter(inputs)
    names = zip(pick(operator.versions, opset).inputs, node.input, strict=False)
    arrays = {name: as_array(next(given)) for name, used in names if used}
    return Call(name=case.name, inputs=arrays, attributes=attributes, opset=opset)


def as_array(value: Any) -> Array:  # noqa: ANN401 - cases hold arrays and protobuf tensors
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def test_every_case_of_onnx(witness: Witness) -> None:
    seen = []
    for operator, case in cases():
        seen.append(case.name)
        for inputs, outputs in case.data_sets:
            call = call_of(operator, case, inputs)
            for y, held in zip(operator.run(call), outputs, strict=True):
                expected = as_array(held)
                assert y.dtype == expected.dtype, case.name
                np.testing.assert_array_equal(y, expected, err_msg=case.name)
                version = pick(operator.versions, call.opset).since
                witness(operator.full_name, version, "onnx cases", y.size)
    assert len(seen) >= CASES, seen


pytestmark = pytest.mark.filterwarnings("default::peers.Reported")

DIFFERENCES = [
    pytest.param(operator, entry, id=f"{operator.full_name}-{entry.peer}-{entry.call.name}")
    for operator in OPERATORS.values()
    for entry in operator.differs
]


@pytest.mark.parametrize(("operator", "entry"), DIFFERENCES)
def test_registered_differences_are_still_there(operator: Operator, entry: Differs) -> None:
    """A peer that was mended fails here, and the row of the manual goes.

    Conversions beyond int32 depend on the processor: on one that nobody knows a difference that
    is gone is only told of.
    """
    if entry.processor and entry.processor not in processor().names:
        return
    if processor().known:
        check_difference(operator, entry)
        return
    try:
        check_difference(operator, entry)
    except AssertionError:
        warnings.warn(f"{operator.name}: {entry.call.name}", Reported, stacklevel=1)


def check_difference(operator: Operator, entry: Differs) -> None:
    ours = operator.run(entry.call)
    run = run_onnx if entry.peer == "onnx" else run_onnxruntime
    if entry.theirs is None:
        with pytest.raises(RefusedError):
            run(operator, entry.call, kinds(ours))
        return
    at = operator.place(entry)
    theirs = run(operator, entry.call, kinds(ours))[at]
    if entry.theirs == UNWRITTEN:
        assert theirs.shape == ours[at].shape
        return
    assert np.array_equal(theirs.ravel().astype(float), entry.theirs, equal_nan=True)
    assert not np.array_equal(readable(ours[at]), theirs, equal_nan=True)


def test_the_named_releases_are_the_ones_that_ran() -> None:
    import onnx  # noqa: PLC0415 - beside the other, where they are compared
    import onnxruntime  # noqa: PLC0415 - the same

    assert {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__} == SEEN_IN
