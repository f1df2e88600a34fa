"""The same network in other words fuses the same: Identity, Constant, functions, branches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path  # noqa: TC003 - pytest reads the annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from test_fuse import Maker, unit, witness

from qdqdoc.document import Document, Graph, Operation
from qdqdoc.extract import extract
from qdqdoc.fuse import FuseError, Outcome, Reason, fuse


def outcomes(path: Path, target: str) -> Counter[tuple[str, Outcome, str]]:
    """Count what becomes of each operator type, whatever the nodes are called."""
    fusion = fuse(extract(path), target)
    return Counter((v.source, v.outcome, v.op_type) for v in fusion.verdicts)


def base(data: str, *, split: bool = False) -> ModelProto:
    """Make a Conv and an Add that read one Q; split is a DQ for each of them."""
    m = Maker()
    grid = m.grid(data)
    codes = m.node("QuantizeLinear", m.input(1, 4, 8, 8), *grid)
    left = m.node("DequantizeLinear", codes, *grid)
    right = m.node("DequantizeLinear", codes, *grid) if split else left
    conv = m.node("Conv", left, m.weights("int8", 4, 4, 1, 1), m.bias(4))
    m.result(m.pair(m.node("Add", m.pair(conv, data, 0.07), right), data, 0.08))
    return m.model()


def with_identities(model: ModelProto) -> ModelProto:
    """Put an Identity before the first input of every node."""
    for node in list(model.graph.node):
        name = f"{node.name}_identity"
        model.graph.node.append(helper.make_node("Identity", [node.input[0]], [name], name=name))
        node.input[0] = name
    return sorted_nodes(model)


def sorted_nodes(model: ModelProto) -> ModelProto:
    made = {x.name for x in (*model.graph.input, *model.graph.initializer)}
    waiting, done = list(model.graph.node), []
    while waiting:
        ready = next(n for n in waiting if all(not i or i in made for i in n.input))
        waiting.remove(ready)
        done.append(ready)
        made.update(ready.output)
    del model.graph.node[:]
    model.graph.node.extend(done)
    return model


def with_constants(model: ModelProto) -> ModelProto:
    """Let Constant nodes hold what initializers held."""
    stored = [
        helper.make_node("Constant", [], [t.name], name=f"{t.name}_node", value=t)
        for t in model.graph.initializer
    ]
    nodes = [*stored, *model.graph.node]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    return model


def with_function(model: ModelProto) -> ModelProto:
    """Wrap the whole network into a function."""
    wrapped = with_constants(model)
    inputs = [x.name for x in wrapped.graph.input]
    outputs = [y.name for y in wrapped.graph.output]
    opset = [helper.make_opsetid("", 21)]
    body = helper.make_function("org.example", "Net", inputs, outputs, wrapped.graph.node, opset)
    call = helper.make_node("Net", inputs, outputs, name="call", domain="org.example")
    del wrapped.graph.node[:]
    wrapped.graph.node.append(call)
    wrapped.functions.append(body)
    wrapped.opset_import.append(helper.make_opsetid("org.example", 1))
    return wrapped


FORMS = {"identity": with_identities, "constant": with_constants, "function": with_function}


@pytest.mark.parametrize("data", ["uint8", "int8"])
@pytest.mark.parametrize("form", ["split", *FORMS])
def test_every_form_gives_the_same_answer(form: str, data: str, tmp_path: Path) -> None:
    plain, other = tmp_path / "plain.onnx", tmp_path / "other.onnx"
    onnx.save(base(data), plain)
    onnx.save(base(data, split=True) if form == "split" else FORMS[form](base(data)), other)
    witness(plain)
    witness(other)
    for target in ("ort-x86", "ort-x86-int8", "ort-arm"):
        assert outcomes(other, target) == outcomes(plain, target)


@pytest.mark.parametrize("data", ["uint8", "int8"])
def test_two_q_of_the_same(data: str, tmp_path: Path) -> None:
    for separate in (True, False):
        m = Maker()
        x, grid = m.input(1, 4, 8, 8), m.grid(data)
        for _ in range(2):
            each = m.grid(data) if separate else grid
            held = m.node("DequantizeLinear", m.node("QuantizeLinear", x, *each), *each)
            conv = m.node("Conv", held, m.weights("int8", 4, 4, 1, 1), m.bias(4))
            m.result(m.pair(conv, data, 0.07))
        default, _ = witness(m.save(tmp_path))
        fused = default.outcomes.get(Outcome.FUSED, 0)
        assert fused == (2 if separate or data == "uint8" else 0)


def test_graphs_inside_are_asked_too(tmp_path: Path) -> None:
    inner = unit("Conv", "uint8", "uint8")
    outer_name = inner.inputs.pop().name
    names = [y.name for y in inner.outputs]
    then = helper.make_graph(inner.nodes, "then", [], inner.outputs, inner.stored)
    other = helper.make_graph(
        [helper.make_node("Relu", [outer_name], ["r"], name="relu")],
        "else",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)],
    )
    choice = helper.make_node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=other)
    graph = helper.make_graph(
        [choice],
        "g",
        [
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info(outer_name, TensorProto.FLOAT, [1, 4, 8, 8]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    path = tmp_path / "model.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path
    )
    assert names
    (verdict,) = fuse(extract(path)).verdicts
    assert (verdict.outcome, verdict.op_type) == (Outcome.FUSED, "QLinearConv")
    assert verdict.node.startswith("if/then_branch/")


@pytest.mark.parametrize(
    ("way", "data", "reason"),
    [
        ("two Q", "uint8", Reason.SEVERAL_CONSUMERS),
        ("an output, too", "uint8", Reason.GRAPH_OUTPUT),
        ("no Q", "uint8", Reason.OUTPUT_NOT_QUANTIZED),
        ("a fork before", "int8", Reason.INT8_FORK),
        ("Relu", "uint8", Reason.ACTIVATION),
    ],
)
def test_reasons(way: str, data: str, reason: Reason, tmp_path: Path) -> None:
    fusion = fuse(extract(unit("Conv", data, "int8", way).save(tmp_path)))
    assert next(v for v in fusion.verdicts if v.source == "Conv").reason is reason


def test_weights_alone(tmp_path: Path) -> None:
    for shared in (False, True):
        m = Maker()
        x = m.input(4, 64)
        scale = m.store(np.float32(0.05))
        for factor in (1, 2):
            own = scale if shared else m.store(np.float32(0.07 * factor))
            codes = m.store(np.ones((64, 64)), "uint4")
            m.result(m.node("MatMul", x, m.node("DequantizeLinear", codes, own)))
        for fusion in witness(m.save(tmp_path)):
            assert fusion.outcomes == {Outcome.STAYS if shared else Outcome.FUSED: 2}


def test_a_file_with_q_and_dq_alone_is_refused() -> None:
    operation = Operation(name="q", op_type="QuantizeLinear", inputs=("x", "s"), outputs=("y",))
    graph = Graph(inputs=("x", "s"), outputs=("y",), operations=(operation,))
    with pytest.raises(FuseError, match="holds its Q and DQ nodes alone"):
        fuse(Document(model_path="old.json", graph=graph, declared_total=7))


def test_stored_scales_of_any_length(tmp_path: Path) -> None:
    m = Maker()
    codes = m.store(np.ones((32, 4, 1, 1)), "int8")
    scale = m.store(np.linspace(0.01, 0.5, 32, dtype=np.float32))
    weights = m.node("DequantizeLinear", codes, scale, axis=0)
    steps = numpy_helper.to_array(m.stored[-1]) * np.float32(0.05)
    held = m.store(np.ones(32, np.int32))
    bias = m.node("DequantizeLinear", held, m.store(steps), axis=0)
    conv = m.node("Conv", m.pair(m.input(1, 4, 8, 8), "uint8"), weights, bias)
    m.result(m.pair(conv, "uint8"))
    for fusion in witness(m.save(tmp_path)):
        assert fusion.outcomes == {Outcome.FUSED: 1}
