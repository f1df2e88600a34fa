"""What fuse predicts, against the graph that onnxruntime's own optimizer makes."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from qdqdoc.extract import extract
from qdqdoc.fuse import FuseError, Fusion, Outcome, Reason, fuse

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = Path(__file__).parent.parent / "models"
WITNESSED = ("ort-x86", "ort-x86-int8")
MERGED = {"Relu", "Gemm", "QGemm"}
"""Operators that onnxruntime may merge with a neighbour, under another name."""
TYPES = {
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "uint16": TensorProto.UINT16,
    "int16": TensorProto.INT16,
    "uint4": TensorProto.UINT4,
    "int4": TensorProto.INT4,
    "uint2": TensorProto.UINT2,
    "float8": TensorProto.FLOAT8E4M3FN,
}


def optimized(model: Path, target: str) -> ModelProto:
    """Return the graph that onnxruntime makes of a model."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    made = model.with_name(f"{target}.onnx")
    options.optimized_model_filepath = str(made)
    if target == "ort-x86-int8":
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return onnx.load(made)


def kind(node: Any) -> str:  # noqa: ANN401 - a node or a verdict
    return f"{node.domain}::{node.op_type}" if node.domain not in {"", "ai.onnx"} else node.op_type


def integer(name: str) -> bool:
    """Tell whether a count says something of quantization."""
    parts = ("QLinear", "QuantizeLinear", "DequantizeLinear", "QGemm", "MatMul")
    return any(part in name for part in parts)


def witness(model: Path) -> list[Fusion]:
    """Compare every count and every named node; return the predictions."""
    document = extract(model)
    predictions = []
    for target in WITNESSED:
        predicted = fuse(document, target)
        predictions.append(predicted)
        if predicted.refused:
            with pytest.raises(Exception, match=r"FAIL|INVALID_GRAPH|NOT_IMPLEMENTED"):
                optimized(model, target)
            continue
        graph = optimized(model, target).graph
        theirs = Counter(kind(node) for node in graph.node)
        differing = {k for k in {*theirs, *predicted.counts} if integer(k)} & {
            k for k in {*theirs, *predicted.counts} if theirs[k] != predicted.counts.get(k, 0)
        }
        assert not differing, (target, {k: theirs[k] for k in differing}, predicted)
        names = {node.name: node for node in graph.node}
        kept = [v for v in predicted.verdicts if v.outcome is not Outcome.REMOVED]
        compared = [v for v in kept if v.node in names]
        # Of those that are kept all are compared, but for what is merged under another name.
        missing = {v.op_type for v in kept if v.node not in names and "/" not in v.node}
        assert missing <= MERGED, [v.node for v in kept if v.node not in names]
        for verdict in compared:
            theirs_is = kind(names[verdict.node])
            assert theirs_is in {kind(verdict), "com.microsoft::FusedConv"}, verdict
    return predictions


class Maker:
    """Makes small models."""

    def __init__(self, opset: int = 21) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.stored: list[Any] = []

    def name(self, base: str) -> str:
        return f"{base}{len(self.nodes)}_{len(self.stored)}_{len(self.inputs)}"

    def input(self, *shape: int) -> str:
        name = self.name("x")
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def store(self, value: Any, dtype: str = "") -> str:  # noqa: ANN401 - anything
        name, array = self.name("c"), np.asarray(value)
        if dtype:
            flat = array.ravel().tolist()
            self.stored.append(helper.make_tensor(name, TYPES[dtype], array.shape, flat))
        else:
            self.stored.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:  # noqa: ANN401 - one or more names
        names = [f"{op_type.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        made = helper.make_node(
            op_type, inputs, names, name=f"{op_type}_{len(self.nodes)}", **attributes
        )
        self.nodes.append(made)
        return names[0] if outputs == 1 else names

    def grid(self, dtype: str, scale: float = 0.05, zero: int = 1) -> list[str]:
        return [self.store(np.float32(scale)), self.store(zero, dtype)]

    def pair(self, x: str, dtype: str, scale: float = 0.05, zero: int = 1) -> str:
        grid = self.grid(dtype, scale, zero)
        return str(self.node("DequantizeLinear", self.node("QuantizeLinear", x, *grid), *grid))

    def weights(self, dtype: str, *shape: int) -> str:
        codes = self.store(np.arange(np.prod(shape)).reshape(shape) % 2, dtype)
        return str(self.node("DequantizeLinear", codes, *self.grid(dtype, zero=0)))

    def bias(self, size: int, scale: float = 0.0025) -> str:
        codes = self.store(np.ones(size, np.int32))
        return str(self.node("DequantizeLinear", codes, self.store(np.float32(scale))))

    def result(self, name: str, kind: int = TensorProto.FLOAT) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, kind, None))

    def model(self) -> ModelProto:
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.stored)
        imports = [helper.make_opsetid("", self.opset)]
        version = 10 if self.opset < 23 else 11
        return helper.make_model(graph, opset_imports=imports, ir_version=version)

    def save(self, folder: Path) -> Path:
        path = folder / "model.onnx"
        onnx.save(self.model(), path)
        return path


X = (1, 4, 8, 8)


def integers(m: Maker, *values: int) -> str:
    return m.store(np.array(values, np.int64))


OPERATORS: dict[str, Callable[[Maker, str, str], Any]] = {
    "Conv": lambda m, x, w: m.node("Conv", x, m.weights(w, 4, 4, 3, 3)),
    "Conv with bias": lambda m, x, w: m.node("Conv", x, m.weights(w, 4, 4, 3, 3), m.bias(4)),
    "Conv with float bias": lambda m, x, w: m.node(
        "Conv", x, m.weights(w, 4, 4, 3, 3), m.store(np.ones(4, np.float32))
    ),
    "Conv with int8 bias": lambda m, x, w: m.node(
        "Conv", x, m.weights(w, 4, 4, 3, 3), m.weights("int8", 4)
    ),
    "Conv with bias of another scale": lambda m, x, w: m.node(
        "Conv", x, m.weights(w, 4, 4, 3, 3), m.bias(4, 0.003)
    ),
    "Conv with float weights": lambda m, x, w: m.node(  # noqa: ARG005 - all have these
        "Conv", x, m.store(np.ones((4, 4, 3, 3), np.float32))
    ),
    "ConvTranspose": lambda m, x, w: m.node("ConvTranspose", x, m.weights(w, 4, 4, 3, 3)),
    "MatMul": lambda m, x, w: m.node("MatMul", x, m.weights(w, 8, 8)),
    "MatMul and Add": lambda m, x, w: m.node(
        "Add", m.node("MatMul", x, m.weights(w, 8, 8)), m.store(np.ones(8, np.float32))
    ),
    "Gemm": lambda m, x, w: m.node("Gemm", m.node("Flatten", x), m.weights(w, 256, 8), m.bias(8)),
    "Gemm with beta": lambda m, x, w: m.node(
        "Gemm", m.node("Flatten", x), m.weights(w, 256, 8), m.bias(8), beta=0.5
    ),
    "Add": lambda m, x, w: m.node("Add", x, m.pair(m.input(*X), w)),
    "Add a constant": lambda m, x, w: m.node("Add", x, m.weights(w, 4, 1, 1)),
    "Mul by a constant": lambda m, x, w: m.node("Mul", x, m.weights(w, 4, 1, 1)),
    "Sub": lambda m, x, w: m.node("Sub", x, m.weights(w, 4, 1, 1)),
    "Concat": lambda m, x, w: m.node("Concat", x, m.pair(m.input(*X), w), axis=1),
    "Where": lambda m, x, w: m.node("Where", m.store(np.True_), x, m.pair(m.input(*X), w)),
    "AveragePool": lambda m, x, _: m.node("AveragePool", x, kernel_shape=[2, 2]),
    "GlobalAveragePool": lambda m, x, _: m.node("GlobalAveragePool", x),
    "LeakyRelu": lambda m, x, _: m.node("LeakyRelu", x),
    "Sigmoid": lambda m, x, _: m.node("Sigmoid", x),
    "Softmax": lambda m, x, _: m.node("Softmax", x),
    "Tanh": lambda m, x, _: m.node("Tanh", x),
    "Relu": lambda m, x, _: m.node("Relu", x),
    "MaxPool": lambda m, x, _: m.node("MaxPool", x, kernel_shape=[2, 2]),
    "ReduceMax": lambda m, x, _: m.node("ReduceMax", x),
    "ReduceMean": lambda m, x, _: m.node("ReduceMean", x),
    "Resize": lambda m, x, _: m.node("Resize", x, "", m.store(np.array([1, 1, 2, 2], np.float32))),
    "Reshape": lambda m, x, _: m.node("Reshape", x, integers(m, 4, 64)),
    "Transpose": lambda m, x, _: m.node("Transpose", x, perm=[0, 2, 3, 1]),
    "Slice": lambda m, x, _: m.node("Slice", x, *(integers(m, i) for i in (1, 3, 1))),
    "Squeeze": lambda m, x, _: m.node("Squeeze", x, integers(m, 0)),
    "Gather": lambda m, x, _: m.node("Gather", x, integers(m, 0, 2), axis=1),
    "DepthToSpace": lambda m, x, _: m.node("DepthToSpace", x, blocksize=2),
    "Split": lambda m, x, _: m.node("Split", x, outputs=2, axis=1, num_outputs=2),
}

KINDS = (
    *product(("uint8", "int8"), ("uint8", "int8")),
    ("uint16", "uint8"),
    ("int16", "int8"),
    ("uint8", "int16"),
    ("uint4", "uint4"),
    ("uint8", "int4"),
    ("float8", "float8"),
)
WAYS = (
    *("two Q", "a float reader", "an output, too", "no Q", "another scale", "a negative scale"),
    *("Relu", "Relu at the rail", "Clip", "Identity", "another type", "a fork before"),
    *("a separate fork before", "an output before", "codes"),
)


def unit(operator: str, data: str, weights: str, way: str = "", opset: int = 21) -> Maker:
    m = Maker(opset)
    m_before = m.input(*X)
    grid = m.grid(data)
    codes = m.node("QuantizeLinear", m_before, *grid)
    x = m.node("DequantizeLinear", codes, *grid)
    if way == "a fork before":
        m.result(m.node("Erf", x))
    elif way == "a separate fork before":
        m.result(m.node("Erf", m.node("DequantizeLinear", codes, *grid)))
    elif way == "an output before":
        m.result(x)
    elif way == "codes":
        m.result(codes, TYPES[data])
    made = OPERATORS[operator](m, x, weights)
    for name in made if isinstance(made, list) else [made]:
        finish(m, name, data, way)
    return m


def finish(m: Maker, name: str, data: str, way: str) -> None:
    if way in {"Relu", "Relu at the rail", "Identity"}:
        name = m.node(way.partition(" ")[0], name)
    elif way == "Clip":
        name = m.node("Clip", name, *(m.store(np.float32(v)) for v in (-100, 100)))
    elif way == "a float reader":
        m.result(m.node("Erf", name))
    elif way == "an output, too":
        m.result(name)
    elif way == "no Q":
        m.result(name)
        return
    scale = {"another scale": 0.06, "a negative scale": -0.05}.get(way, 0.05)
    zero = 1 if way != "Relu at the rail" else {"int8": -128}.get(data, 0)
    other = {"uint8": "int8", "int8": "uint8"}.get(data, data)
    m.result(m.pair(name, other if way == "another type" else data, scale, zero))
    if way == "two Q":
        m.result(m.pair(name, data, 0.07))


@pytest.mark.parametrize("operator", OPERATORS)
def test_types(operator: str, tmp_path: Path) -> None:
    for data, weights in KINDS:
        witness(unit(operator, data, weights).save(tmp_path))


@pytest.mark.parametrize("operator", OPERATORS)
def test_surroundings(operator: str, tmp_path: Path) -> None:
    for way, data in product(WAYS, ("uint8", "int8")):
        witness(unit(operator, data, "int8", way).save(tmp_path))


@pytest.mark.parametrize("operator", OPERATORS)
def test_versions(operator: str, tmp_path: Path) -> None:
    for opset, way in product((18, 19, 23, 25), ("", "no Q")):
        witness(unit(operator, "uint8", "uint8", way, opset).save(tmp_path))


def test_two_bits_pass_the_rules_and_are_then_refused(tmp_path: Path) -> None:
    for operator in ("Conv", "MatMul", "Add", "Concat", "Reshape", "MaxPool", "Clip", "Transpose"):
        m = unit(operator, "uint2", "uint2", opset=25) if operator in OPERATORS else None
        m = m or unit("Tanh", "uint2", "uint2", "Clip", opset=25)
        for predicted in witness(m.save(tmp_path)):
            assert bool(predicted.refused) is (operator != "Transpose")


@pytest.mark.parametrize("path", sorted(MODELS.glob("resnet8_*.onnx")), ids=lambda p: p.stem)
def test_the_running_example(path: Path, tmp_path: Path) -> None:
    copied = tmp_path / "model.onnx"
    copied.write_bytes(path.read_bytes())
    default, allowed = witness(copied)
    assert default.outcomes.get(Outcome.FUSED, 0) <= allowed.outcomes.get(Outcome.FUSED, 0)
    assert fuse(extract(path), "ort-arm").counts == allowed.counts


def test_the_reasons_of_the_running_example() -> None:
    fusion = fuse(extract(MODELS / "resnet8_int8.onnx"))
    reasons = Counter(v.reason for v in fusion.verdicts if v.outcome is Outcome.STAYS)
    assert set(reasons) == {Reason.INT8_FORK, Reason.INT8_CONSTANT}
    forked = [v for v in fusion.verdicts if v.source == "Conv" and v.reason]
    assert {v.reason for v in forked} == {Reason.INT8_FORK}
    assert len(forked) == 5
    assert all(v.words for v in fusion.verdicts)


def test_what_it_cannot_answer() -> None:
    document = extract(MODELS / "resnet8_int8.onnx")
    with pytest.raises(FuseError, match="no target 'tpu'"):
        fuse(document, "tpu")
    with pytest.raises(FuseError, match="no verdict on 'nobody'"):
        _ = fuse(document)["nobody"]
