"""Models that are not the running example, small ones, quantized by onnxruntime where it can."""

from __future__ import annotations

import warnings
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FLOAT = TensorProto.FLOAT


class Network:
    """A graph that is written from the inputs to the outputs."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.held: dict[str, np.ndarray] = {}

    def weights(self, name: str, *shape: int) -> str:
        spread = np.sqrt(2 / max(prod(shape[1:]), 1))
        return self.keep(name, np.float32(self.random.standard_normal(shape) * spread))

    def keep(self, name: str, value: Any) -> str:  # noqa: ANN401 - whatever NumPy takes
        self.held[name] = np.asarray(value)
        return name

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - the same
        name = f"{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def model(self, x: tuple[str, Sequence[Any]], y: tuple[str, Sequence[Any]]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(x[0], FLOAT, x[1])],
            [helper.make_tensor_value_info(y[0], FLOAT, y[1])],
            [numpy_helper.from_array(value, name) for name, value in self.held.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


class Drawn(CalibrationDataReader):  # type: ignore[misc] # it has no types
    """Made-up inputs for calibration."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        drawn = np.random.default_rng(0).standard_normal((3, *shape))
        self.inputs = iter([{name: np.float32(value)} for value in drawn])

    def get_next(self) -> Mapping[str, Any] | None:
        return next(self.inputs, None)


def quantize(model: onnx.ModelProto, path: Path, shape: tuple[int, ...], **options: Any) -> None:  # noqa: ANN401 - the quantizer's
    plain = path.with_suffix(".float")
    onnx.save(onnx.shape_inference.infer_shapes(model), plain)
    reader = Drawn(model.graph.input[0].name, shape)
    with warnings.catch_warnings(action="ignore"):
        quantize_static(
            plain, path, reader, QuantFormat.QDQ, activation_type=QuantType.QInt8, **options
        )
    plain.unlink()


def depthwise(path: Path) -> None:
    """Write a small MobileNet: depthwise and pointwise convolutions, Clip, pooling, Gemm."""
    net = Network(7)
    net.keep("zero", np.float32(0))
    net.keep("six", np.float32(6))

    def conv(x: str, made: int, read: int, kernel: int, stride: int, groups: int) -> str:
        name = f"conv{len(net.nodes)}"
        weight = net.weights(f"{name}.weight", made, read // groups, kernel, kernel)
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        return net.add("Conv", x, weight, net.weights(f"{name}.bias", made), group=groups, **sizes)

    def clip(x: str) -> str:
        return net.add("Clip", x, "zero", "six")

    x = clip(conv("image", 8, 3, 3, 2, 1))
    x = clip(conv(clip(conv(x, 8, 8, 3, 1, 8)), 16, 8, 1, 1, 1))
    x = net.add("Add", x, conv(clip(conv(x, 16, 16, 3, 1, 16)), 16, 16, 1, 1, 1))
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    y = net.add("Gemm", x, net.weights("fc.weight", 5, 16), net.weights("fc.bias", 5), transB=1)
    model = net.model(("image", ["N", 3, 16, 16]), (y, ["N", 5]))
    quantize(model, path, (2, 3, 16, 16), per_channel=True)


def transformer(path: Path, width: int = 16, heads: int = 4, words: int = 8) -> None:
    """Write one block of a transformer, for any number of texts of so many words."""
    net = Network(9)
    net.keep("split", np.array([0, 0, heads, width // heads]))
    net.keep("merge", np.array([0, 0, width]))
    for name, value in (("half", 0.5), ("one", 1), ("root", 2**0.5), ("by", 0.5)):
        net.keep(name, np.float32(value))

    def dense(x: str, name: str, read: int, made: int) -> str:
        product = net.add("MatMul", x, net.weights(f"{name}.weight", read, made))
        return net.add("Add", product, net.weights(f"{name}.bias", made))

    def norm(x: str, name: str) -> str:
        ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
        scale, shift = net.keep(f"{name}.scale", ones), net.keep(f"{name}.shift", zeros)
        return net.add("LayerNormalization", x, scale, shift, axis=-1)

    def head(x: str, name: str, order: Sequence[int]) -> str:
        parts = net.add("Reshape", dense(x, name, width, width), "split")
        return net.add("Transpose", parts, perm=order)

    x = norm("tokens", "before")
    q, k, v = head(x, "q", [0, 2, 1, 3]), head(x, "k", [0, 2, 3, 1]), head(x, "v", [0, 2, 1, 3])
    weights = net.add("Softmax", net.add("Mul", net.add("MatMul", q, k), "by"), axis=-1)
    mixed = net.add("Transpose", net.add("MatMul", weights, v), perm=[0, 2, 1, 3])
    x = net.add("Add", "tokens", dense(net.add("Reshape", mixed, "merge"), "o", width, width))
    wide = dense(norm(x, "between"), "up", width, 2 * width)
    erf = net.add("Add", net.add("Erf", net.add("Div", wide, "root")), "one")
    gelu = net.add("Mul", net.add("Mul", wide, erf), "half")
    y = net.add("Add", x, dense(gelu, "down", 2 * width, width))
    shape = ["batch", words, width]
    quantize(net.model(("tokens", shape), (y, shape)), path, (2, words, width))


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    stored: Sequence[onnx.TensorProto],
) -> None:
    graph = helper.make_graph(nodes, "odd", inputs, outputs, stored)
    imports = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)


def value(name: str, shape: Sequence[Any] | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def scalar(name: str, number: Any) -> onnx.TensorProto:  # noqa: ANN401 - a scalar of NumPy
    return numpy_helper.from_array(np.asarray(number), name)


def blocked(path: Path) -> None:
    """Write a MatMul whose weights are int4 with a scale for each block; no Q at all."""
    codes = np.random.default_rng(0).integers(-8, 8, 32 * 16).tolist()
    stored = [
        helper.make_tensor("w", TensorProto.INT4, [32, 16], codes),
        helper.make_tensor("z", TensorProto.INT4, [2, 16], [0] * 32),
        scalar("s", np.full((2, 16), 0.02, np.float32)),
    ]
    read = helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wf"], axis=0, block_size=16)
    nodes = [read, helper.make_node("MatMul", ["x", "wf"], ["y"], "product")]
    save(path, nodes, [value("x", ["batch", 32])], [value("y", ["batch", 16])], stored)


def branches(path: Path) -> None:
    """Write an If with quantized nodes inside."""
    pair = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], "q"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "dq"),
    ]
    inner = [
        helper.make_node("Relu", ["xd"], ["r"], "relu"),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["rq"], "inner_q"),
        helper.make_node("DequantizeLinear", ["rq", "s", "z"], ["yes"], "inner_dq"),
    ]
    yes = helper.make_graph(inner, "then", [], [value("yes", ["n"])])
    no = helper.make_graph(
        [helper.make_node("Neg", ["xd"], ["no"], "neg")], "else", [], [value("no", ["n"])]
    )
    choose = helper.make_node("If", ["c"], ["y"], "choose", then_branch=yes, else_branch=no)
    inputs = [value("x", ["n"]), value("c", [], TensorProto.BOOL)]
    stored = [scalar("s", np.float32(0.1)), scalar("z", np.int8(3))]
    save(path, [*pair, choose], inputs, [value("y", ["n"])], stored)


def hostile(path: Path) -> None:
    """Write a model whose names try to be markup, with an operator that nobody runs."""
    name = "<script>alert(1)</script> {qdq}`1/0` `a` | *b* ```"
    nodes = [
        helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}q"], name),
        helper.make_node("DequantizeLinear", [f"{name}q", "s", "z"], ["d"], f"{name}2"),
        helper.make_node("Odd", ["d"], ["y"], "odd", domain="org.example"),
    ]
    stored = [scalar("s", np.float32(0.1)), scalar("z", np.uint8(3))]
    save(path, nodes, [value(name, [None, 4])], [value("y", None)], stored)


def missing(path: Path) -> None:
    """Write a model whose weights are in a file that is not there."""
    far = TensorProto(name="w", data_type=FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    entry = far.external_data.add()
    entry.key, entry.value = "location", "gone.bin"
    product = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    save(path, [product], [value("x", [1, 4])], [value("y", [1, 4])], [far])
