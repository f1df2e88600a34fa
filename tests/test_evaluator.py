"""onnx's evaluator and its backend tests, with the kernels in them."""

from __future__ import annotations

import unittest
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx.backend.test import BackendTest
from onnx.reference import ReferenceEvaluator
from peers import kinds, one_node_model, run_model

import qdqdoc
from qdqdoc.errors import QdqdocError
from qdqdoc.evaluator import Backend
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import Call, OperatorError

if TYPE_CHECKING:
    from qdqdoc.registry import Operator

MODELS = Path(__file__).parent.parent / "models"
FLIPS = 20
"""Codes of the whole network that a float Conv's order of sums may turn by one step, at most."""


def test_a_network_below_opset_19_runs_and_equals_onnxruntime() -> None:
    """onnx's evaluator alone refuses it: there is no DequantizeLinear for opset 15."""
    model = onnx.load(MODELS / "resnet8_int8.onnx")
    with pytest.raises(RuntimeError, match="No implementation for operator 'DequantizeLinear'"):
        ReferenceEvaluator(model)
    images = np.load(MODELS / "test_images.npz")["x"]
    codes = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    evaluator = ReferenceEvaluator(model, new_ops=qdqdoc.reference_ops())
    ours: Any = evaluator.run(None, {"image": images}, intermediate=True)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in codes)
    theirs = run_model(model, {"image": images})
    steps = [ours[n].astype(int) - t for n, t in zip(codes, theirs[1:], strict=True)]
    assert max(int(np.abs(step).max()) for step in steps) <= 1
    assert sum(int(np.count_nonzero(step)) for step in steps) <= FLIPS
    scale = np.float32(theirs[0][theirs[0] > 0].min())
    assert np.abs(ours["probabilities"] - theirs[0]).max() <= scale


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.full_name)
def test_every_operator_runs_in_the_evaluator(operator: Operator) -> None:
    """The nodes carry opset, attributes, optional inputs and several outputs to the kernel."""
    for call in [*operator.vectors()][::5]:
        ours = operator.run(call)
        fed = replace(call, fed=())
        model = one_node_model(operator, fed, kinds(ours))
        evaluator = ReferenceEvaluator(model, new_ops=qdqdoc.reference_ops())
        theirs: Any = evaluator.run(None, {})
        for y, other in zip(ours, theirs, strict=True):
            shown = y.astype(other.dtype)
            assert np.array_equal(shown, other, equal_nan=shown.dtype.kind == "f"), call.name


def test_errors_come_through() -> None:
    operator = OPERATORS["", "QLinearMatMul"]
    call = next(iter(operator.vectors()))
    wrong = Call(
        name="wrong", inputs={**call.inputs, "y_scale": np.ones(3, np.float32)}, opset=call.opset
    )
    model = one_node_model(operator, wrong, ["int8"])
    with pytest.raises(OperatorError, match="y_scale: found shape"):
        ReferenceEvaluator(model, new_ops=qdqdoc.reference_ops()).run(None, {})


def test_surplus_inputs_are_refused() -> None:
    operator = OPERATORS["", "QLinearMatMul"]
    values = [None] * 8
    assert operator.call_of(values, {}).inputs == {}
    with pytest.raises(QdqdocError, match=r"^QLinearMatMul: found 9 inputs, allowed: 8$"):
        operator.call_of([*values, np.ones(3)], {})
    graph = (
        "g (uint8[n] x, float s, uint8 z) => (float[n] y) "
        "{ y = com.microsoft.DequantizeLinear(x, s, z, z) }"
    )
    head = '<ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]> '
    evaluator = ReferenceEvaluator(
        onnx.parser.parse_model(head + graph), new_ops=qdqdoc.reference_ops()
    )
    with pytest.raises(QdqdocError, match=r"DequantizeLinear: found 4 inputs, allowed: 3"):
        evaluator.run(None, {"x": np.array([1], np.uint8), "s": np.float32(1), "z": np.uint8(0)})


CASES = "^test_((de|dynamic)?quantizelinear|qlinear|convinteger|matmulinteger).*_cpu$"
COUNT = 45


def test_the_backend_passes_every_quantized_case_of_onnx() -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        runner = BackendTest(Backend, __name__).include(CASES)
        suite = unittest.TestSuite(
            test
            for case in runner.test_cases.values()
            for test in unittest.defaultTestLoader.loadTestsFromTestCase(case)
        )
        result = unittest.TestResult()
        suite.run(result)
    assert not result.failures + result.errors
    assert result.testsRun - len(result.skipped) >= COUNT
