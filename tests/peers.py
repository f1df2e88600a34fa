"""The witnesses: one-node models, run by onnxruntime and by onnx's own evaluator."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qdqdoc.numerics.formats import ONNX_TYPE, Array, tensor
from qdqdoc.registry import Call, Operator, pick

# onnxruntime hands no array of these types to NumPy, so a Cast, exact for them, reads them out.
READABLE = ("float32", "float16", "int8", "uint8", "int16", "uint16", "int32")


class RefusedError(Exception):
    """The peer does not run this call."""


def one_node_model(operator: Operator, call: Call, result: str) -> ModelProto:
    """Make a model of the call, all inputs as initializers, the output readable by NumPy."""
    names = list(pick(operator.versions, max(call.opset, operator.versions[0].since)).inputs)
    while names[-1] not in call.inputs:
        names.pop()
    given = [name if name in call.inputs else "" for name in names]
    attributes = {k: v for k, v in call.attributes.items() if v is not None}
    nodes = [helper.make_node(operator.name, given, ["y"], domain=operator.domain, **attributes)]
    last, kind = "y", ONNX_TYPE[result]
    if result not in READABLE:
        last, kind = "readable", TensorProto.FLOAT
        nodes.append(helper.make_node("Cast", ["y"], [last], to=kind))
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in call.inputs.items()]
    value = helper.make_tensor_value_info(last, kind, None)
    graph = helper.make_graph(nodes, "one_node", [], [value], tensors)
    imports = [helper.make_opsetid("", call.opset)]
    if operator.domain:
        imports.append(helper.make_opsetid(operator.domain, 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=10 if call.opset < 25 else 13)


def run_model(model: ModelProto) -> Array:
    """Run a model without inputs in onnxruntime, optimizations off, one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return np.asarray(session.run(None, {})[0])
    except Exception as error:
        # onnxruntime raises a class of its own for each status, with no common base to name.
        raise RefusedError(str(error).splitlines()[0]) from error


def run_onnxruntime(operator: Operator, call: Call, result: str) -> Array:
    """Run a call in onnxruntime."""
    return run_model(one_node_model(operator, call, result))


def run_onnx(operator: Operator, call: Call, result: str) -> Array:
    """Run a call in onnx's own evaluator."""
    try:
        with np.errstate(all="ignore"):
            evaluator = ReferenceEvaluator(one_node_model(operator, call, result))
            outputs: Any = evaluator.run(None, {})
            return np.asarray(outputs[0])
    except Exception as error:
        # It raises whatever the implementation trips over.
        raise RefusedError(str(error)) from error


class Reported(UserWarning):
    """A difference that belongs to the processor."""


@dataclass(frozen=True)
class Processor:
    """What this machine's onnxruntime does with products of uint8 and int8.

    AVX2 without VNNI adds neighbouring products in 16 bits, which saturates; everything newer
    and SSE are exact. ``known`` is false for a machine that answers neither way.
    """

    known: bool
    saturates: bool


@cache
def processor() -> Processor:
    """Probe onnxruntime with three tiny models whose answers tell processors apart."""
    answers = {_probe_integer(), _probe_linear("QLinearMatMul"), _probe_linear("QLinearConv")}
    known = platform.machine() in {"x86_64", "AMD64"} and answers in ({EXACT}, {SATURATED})
    return Processor(known=known, saturates=answers != {EXACT})


EXACT, SATURATED = 2 * 255 * 127, 2**15 - 1
STEP = EXACT / 200  # so that both answers are whole steps of a uint8 and lie far apart


def _probe_integer() -> int:
    inputs = {"A": tensor("uint8", [[255, 255]]), "B": tensor("int8", [[127], [127]])}
    return int(_run("MatMulInteger", inputs, "int32").ravel()[0])


def _probe_linear(op_type: str) -> int:
    x, w = tensor("uint8", [[255, 255]]), tensor("int8", [[127], [127]])
    first, second = "a", "b"
    if op_type == "QLinearConv":
        first, second, x, w = "x", "w", x.reshape(1, 2, 1, 1), w.reshape(1, 2, 1, 1)
    inputs: dict[str, Any] = {}
    for name, value, scale in ((first, x, 1), (second, w, 1), ("y", tensor("uint8", 0), STEP)):
        inputs[name] = value
        inputs[f"{name}_scale"] = np.float32(scale)
        inputs[f"{name}_zero_point"] = value.dtype.type(0)
    del inputs["y"]
    steps = int(_run(op_type, inputs, "uint8").ravel()[0])
    return {200: EXACT, round(SATURATED / STEP): SATURATED}.get(steps, steps)


def _run(op_type: str, inputs: dict[str, Any], result: str) -> Array:
    node = helper.make_node(op_type, list(inputs), ["y"])
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in inputs.items()]
    value = helper.make_tensor_value_info("y", ONNX_TYPE[result], None)
    graph = helper.make_graph([node], "probe", [], [value], tensors)
    imports = [helper.make_opsetid("", 15)]
    return run_model(helper.make_model(graph, opset_imports=imports, ir_version=8))
