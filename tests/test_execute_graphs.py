"""If, Loop and Scan bodies and functions of the model run too; onnxruntime agrees."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from peers import run_model

from qdqdoc.execute import ExecuteError, Trace, execute
from qdqdoc.extract import extract

if TYPE_CHECKING:
    from pathlib import Path

HEAD = '<ir_version: 9, opset_import: ["" : 19, "own" : 1]>\n'

IF = """g (bool c, float[n] x) => (float[n] y) <float s = {0.5}, int8 z = {1}> {
  q = QuantizeLinear(x, s, z)
  y = If (c) <
    then_branch = t () => (float[n] a) { a = DequantizeLinear(q, s, z) },
    else_branch = e () => (float[n] b) { d = DequantizeLinear(q, s, z)  b = Neg(d) }
  >
}"""

LOOP = """g (int64 m, bool c, float[2] x) => (float[2] last, float[k, 2] all) {
  last, all = Loop (m, c, x) <
    body = b (int64 i, bool on, float[2] v) => (bool more, float[2] w, float[2] seen) {
      w = Add(v, v)
      seen = Identity(w)
      top = Constant <value = float {7.0}> ()
      most = ReduceMax <keepdims = 0> (w)
      more = Less(most, top)
    }
  >
}"""

SCAN = """g (float[2] start, float[k, 2] rows) => (float[2] sum, float[2, k] sums) {
  sum, sums = Scan <num_scan_inputs = 1, scan_input_directions = [1], scan_output_axes = [1],
    scan_output_directions = [1],
    body = b (float[2] v, float[2] row) => (float[2] w, float[2] kept) {
      w = Add(v, row)
      kept = Identity(w)
    }
  > (start, rows)
}"""

FUNCTION = """g (float[n] x) => (float[n] y, float[n] z) {
  y = own.rescale <slope = 0.25> (x)
  z = own.twice (x)
}
<domain: "own", opset_import: ["" : 19, "own" : 1]>
twice (x) => (y) { a = own.rescale <slope = 0.5> (x)  y = own.rescale <slope = 4.0> (a) }
<domain: "own", opset_import: ["" : 19]>
rescale <slope> (x) => (y) {
  s = Constant <value_float: float = @slope> ()
  q = QuantizeLinear(x, s)
  y = DequantizeLinear(q, s)
}"""


def f32(*values: Any) -> Any:  # noqa: ANN401 - numbers or lists of them, to an array
    return np.array(values, np.float32)


def both(folder: Path, text: str, feeds: dict[str, Any]) -> Trace:
    """Run a model here and in onnxruntime; the outputs are equal."""
    model = parser.parse_model(HEAD + text)
    trace = ours(folder, model, feeds)
    for name, theirs in zip(trace.outputs, run_model(model, feeds), strict=True):
        assert trace[name].dtype == theirs.dtype
        assert np.array_equal(trace[name], theirs), name
    return trace


def ours(folder: Path, model: onnx.ModelProto, feeds: dict[str, Any]) -> Trace:
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return execute(extract(folder / "m.onnx"), feeds)


@pytest.mark.parametrize(("condition", "branch"), [(True, "then_branch"), (False, "else_branch")])
def test_if_runs_one_branch_which_sees_what_is_around_it(
    tmp_path: Path, condition: bool, branch: str
) -> None:
    trace = both(tmp_path, IF, {"c": np.array(condition), "x": f32(1, -3.2, 90)})
    (inner,) = {t.name.rpartition("/")[0] for t in trace.tensors if "/" in t.name}
    assert inner.endswith(branch)
    assert trace.tensors[-1].name == "y"


@pytest.mark.parametrize(("most", "on", "rounds"), [(2, True, 2), (99, True, 3), (5, False, 0)])
def test_loop_ends_by_its_count_or_its_condition(
    tmp_path: Path, most: int, on: bool, rounds: int
) -> None:
    feeds = {"m": np.array(most), "c": np.array(on), "x": f32(1, 0.5)}
    trace = both(tmp_path, LOOP, feeds)
    assert trace["all"].shape == (rounds, 2)
    traced = [t.name for t in trace.tensors if t.name.endswith("/w")]
    assert [name.rpartition("body")[2] for name in traced] == [f"[{n}]/w" for n in range(rounds)]


def test_a_loop_without_end_meets_the_limit(tmp_path: Path) -> None:
    text = LOOP.replace("Less(most, top)", "Equal(top, top)")
    model = parser.parse_model(HEAD + text)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    feeds = {"m": np.array(2**62), "c": np.array(True), "x": f32(1, 0.5)}
    with pytest.raises(ExecuteError, match=r"the tensors of the run need more than 1000000 bytes"):
        execute(extract(tmp_path / "m.onnx"), feeds, limit=10**6)


def test_scan_goes_backwards_and_puts_its_rows_along_any_axis(tmp_path: Path) -> None:
    feeds = {"start": f32(1, 2), "rows": f32([1, 1], [2, 3], [5, 8])}
    trace = both(tmp_path, SCAN, feeds)
    assert trace["sum"].tolist() == [9, 14]


def test_functions_run_with_the_attributes_of_their_call(tmp_path: Path) -> None:
    trace = both(tmp_path, FUNCTION, {"x": f32(0.3, 1.1, 70)})
    assert trace["y"].tolist() == [0.25, 1.0, 63.75]
    inside = [t for t in trace.tensors if t.name.count("/") == 2 and t.dtype == "uint8"]
    assert len(inside) == 2
    assert all(t.operation.count("/") == 2 for t in inside)


def test_a_function_that_calls_itself_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(parser.parse_model(HEAD + FUNCTION).SerializeToString())
    whole = extract(tmp_path / "m.onnx")
    twice, rescale = whole.functions
    calls = tuple(replace(o, op_type="twice", attributes={}) for o in twice.graph.operations)
    again = replace(twice, graph=replace(twice.graph, operations=calls))
    with pytest.raises(ExecuteError, match=r"\(own.twice\): this function calls itself: a cycle"):
        execute(replace(whole, functions=(again, rescale)), {})


def test_an_unknown_operator_is_found_in_a_branch_that_does_not_run(tmp_path: Path) -> None:
    model = parser.parse_model(HEAD + IF.replace("Neg(d)", "Magic(d)"))
    with pytest.raises(ExecuteError, match=r"else_branch/.*\(Magic\): there is no such operator"):
        ours(tmp_path, model, {})


def test_a_name_of_the_main_graph_is_not_taken_by_an_inner_one(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["a"], name="inner")],
        "t",
        [],
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [1])],
    )
    nodes = [
        helper.make_node("If", ["c"], ["b"], name="i", then_branch=inner, else_branch=inner),
        helper.make_node("Neg", ["b"], ["i/then_branch/a"], name="last"),
    ]
    end = helper.make_tensor_value_info("i/then_branch/a", TensorProto.FLOAT, [1])
    start = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    stored = [numpy_helper.from_array(np.array(True), "c")]
    graph = helper.make_graph(nodes, "g", [start], [end], stored)
    opsets = [helper.make_opsetid("", 19)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    trace = ours(tmp_path, model, {"x": f32(1)})
    found = {t.name: t.value.tolist() for t in trace.tensors}
    assert found == {"x": [1], "i/then_branch/a#2": [1], "b": [1], "i/then_branch/a": [-1]}
