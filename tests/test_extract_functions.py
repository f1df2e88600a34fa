"""Functions that a model brings along: what a call leaves out has the function's default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import parser
from peers import run_model

from qdqdoc.errors import QdqdocError
from qdqdoc.execute import execute
from qdqdoc.extract import extract
from qdqdoc.numerics.formats import tensor

if TYPE_CHECKING:
    from pathlib import Path

LEAKY = """
<ir_version: 9, opset_import: ["" : 18, "local" : 1]>
g (float[n] x) => (float[n] y, float[n] z)
{ y = local.leaky(x)
  z = local.leaky<alpha = 0.25>(x) }
<domain: "local", opset_import: ["" : 18]>
leaky <alpha: float = 0.5> (a) => (b) { b = LeakyRelu<alpha: float = @alpha>(a) }
"""
ENDLESS = """
<ir_version: 9, opset_import: ["" : 18, "local" : 1]>
g (float[n] x) => (float[n] y) { y = local.f(x) }
<domain: "local", opset_import: ["" : 18, "local" : 1]>
f (a) => (b) { b = local.f(a) }
"""
X = tensor("float32", [-1, 2])


def test_a_call_says_what_its_function_is_given(tmp_path: Path) -> None:
    model = parser.parse_model(LEAKY)
    path = tmp_path / "leaky.onnx"
    onnx.save(model, path)
    document = extract(path)
    assert [o.attributes for o in document.graph.operations] == [{"alpha": 0.5}, {"alpha": 0.25}]
    trace = execute(document, {"x": X})
    for name, theirs in zip(("y", "z"), run_model(model, {"x": X}), strict=True):
        assert np.array_equal(trace.by_name[name].value, theirs)


def test_a_function_that_calls_itself_is_named(tmp_path: Path) -> None:
    path = tmp_path / "endless.onnx"
    onnx.save(parser.parse_model(ENDLESS), path)
    document = extract(path)
    with pytest.raises(QdqdocError, match="calls itself"):
        execute(document, {"x": X})
