"""Types and shapes of the tensors between the nodes, from ONNX's own inference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import onnx
from onnx import ModelProto, NodeProto, TensorProto, checker, shape_inference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx import GraphProto

SMALL = 4096
"""Bytes of a tensor whose values can matter to a shape; larger ones are left behind."""

STAND_INS = {
    "QuantizeLinear": ("QuantizeLinear", (0, 1, 2)),
    "DequantizeLinear": ("DequantizeLinear", (0, 1, 2)),
    "QLinearConv": ("QLinearConv", (0, 1, 2, 3, 4, 5, 6, 7, 8)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearWhere": ("Where", (0, 1, 4)),
    "QLinearSigmoid": ("Identity", (0,)),
    "QLinearLeakyRelu": ("Identity", (0,)),
    "QLinearSoftmax": ("Identity", (0,)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QGemm": ("Gemm", (0, 3)),
    "Gelu": ("Identity", (0,)),
    "FusedMatMul": ("MatMul", (0, 1)),
}
"""Operators of com.microsoft that shape a tensor as a standard one does, and the inputs of that."""


MOST_NODES = 10**6
"""Inference opens every call of a function; what would become larger than this goes without."""


def inferred(model: ModelProto) -> GraphProto:
    """Return the main graph with all types that can be had; the graph as it is if none can."""
    if _opened(model) > MOST_NODES:
        return model.graph
    shadow = _shadow(model)
    try:
        return shape_inference.infer_shapes(shadow, data_prop=True).graph
    except (
        *(shape_inference.InferenceError, checker.ValidationError),
        *(RuntimeError, ValueError, TypeError, MemoryError),
    ):
        return model.graph


def _opened(model: ModelProto) -> float:
    """Count the nodes of the main graph when every call is opened; without end if one recurs."""
    bodies = {(f.domain, f.name): f.node for f in model.functions}
    known: dict[tuple[str, str], float] = {}

    def count(nodes: Iterable[NodeProto]) -> float:
        return sum(1 + called(node.domain, node.op_type) for node in nodes)

    def called(*key: str) -> float:
        if key not in bodies:
            return 0
        if key not in known:
            known[key] = math.inf  # until it is counted: who comes back here never ends
            known[key] = count(bodies[key])
        return known[key]

    return count(model.graph.node)


def _shadow(model: ModelProto) -> ModelProto:
    """Return a light copy in which operators that inference does not know have stand-ins."""
    shadow = ModelProto(ir_version=model.ir_version)
    for item in model.opset_import:
        shadow.opset_import.add(domain=_plain(item.domain), version=item.version)
    shadow.functions.extend(model.functions)
    graph = shadow.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    graph.initializer.extend(_light(tensor) for tensor in model.graph.initializer)
    for node in graph.node:
        _stand_in(node)
    return shadow


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _light(tensor: TensorProto) -> TensorProto:
    if tensor.ByteSize() <= SMALL:
        return tensor
    return TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)


def _stand_in(node: NodeProto) -> None:
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs
        for graph in graphs:
            for inner in graph.node:
                _stand_in(inner)
    node.domain = _plain(node.domain)
    if node.domain != "com.microsoft" or node.op_type not in STAND_INS:
        return
    if any(attribute.name == "channels_last" and attribute.i for attribute in node.attribute):
        return
    op_type, positions = STAND_INS[node.op_type]
    inputs = [node.input[position] for position in positions if position < len(node.input)]
    node.domain, node.op_type = "", op_type
    del node.input[:]
    node.input.extend(inputs)
