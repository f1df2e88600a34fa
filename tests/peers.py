"""The witnesses: one-node models, run by onnxruntime and by onnx's own evaluator."""

from __future__ import annotations

import atexit
import os
import pickle
import platform
import shlex
import struct
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qdqdoc.numerics.formats import ONNX_TYPE, Array, tensor, type_name
from qdqdoc.registry import Call, Operator, pick

# onnxruntime hands no array of these types to NumPy, so a Cast, exact for them, reads them out.
READABLE = ("float32", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")

EMULATOR = shlex.split(os.environ.get("QDQDOC_EMULATOR", ""))
"""Command that runs onnxruntime's process as another processor, as `qemu-x86_64 -cpu Haswell`."""

CONTRIB_OPSET = 23
"""Version of ai.onnx beside a com.microsoft operator: its types include every float8 and float4."""


class RefusedError(Exception):
    """The peer does not run this call."""


def one_node_model(operator: Operator, call: Call, results: list[str]) -> ModelProto:
    """Make a model of the call; inputs are initializers but for those that are fed.

    ``results`` are the types of the outputs; what NumPy cannot hold is cast to float32.
    """
    version = operator.versions[-1] if operator.domain else _version(operator, call)
    names = [name for name in version.inputs if name != version.variadic]
    if not call.more:
        while names[-1] not in call.inputs:
            names.pop()
    given = [name if name in call.inputs else "" for name in names]
    more = {f"{version.variadic}_{k}": value for k, value in enumerate(call.more)}
    attributes = {k: v for k, v in call.attributes.items() if v is not None}
    outputs = list(version.outputs)[: len(results)]
    nodes = [
        helper.make_node(
            operator.name, [*given, *more], outputs, domain=operator.domain, **attributes
        )
    ]
    values = []
    for name, kind in zip(outputs, results, strict=True):
        last, number = name, ONNX_TYPE[kind]
        if kind not in READABLE:
            last, number = f"readable_{name}", TensorProto.FLOAT
            nodes.append(helper.make_node("Cast", [name], [last], to=number))
        values.append(helper.make_tensor_value_info(last, number, None))
    tensors = {**call.inputs, **more}
    fed = [
        helper.make_tensor_value_info(k, ONNX_TYPE[type_name(v.dtype)], v.shape)
        for k, v in tensors.items()
        if k in call.fed
    ]
    constants = [
        numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items() if k not in call.fed
    ]
    graph = helper.make_graph(nodes, "one_node", fed, values, constants)
    opset = CONTRIB_OPSET if operator.domain else call.opset
    imports = [helper.make_opsetid("", opset)]
    if operator.domain:
        imports.append(helper.make_opsetid(operator.domain, 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=10 if opset < 23 else 13)


def _version(operator: Operator, call: Call) -> Any:  # noqa: ANN401 - a version
    return pick(operator.versions, max(call.opset, operator.versions[0].since))


class Worker:
    """The process that runs onnxruntime; a new one is started when it died."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, *request: object) -> list[Any]:
        """Run a model; raise what the process answers, or that it died."""
        if self.process is None:
            command = [
                *EMULATOR,
                sys.executable,
                str(Path(__file__).parent / "onnxruntime_worker.py"),
            ]
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        text = pickle.dumps(request)
        try:
            said, answer = self._exchange(self.process, struct.pack("<q", len(text)) + text)
        except (BrokenPipeError, EOFError):
            code = self.process.wait()
            self.stop()
            raise RefusedError(f"the process died with {code}") from None
        if said == "refused":
            raise RefusedError(answer)
        return list(answer)

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], request: bytes) -> tuple[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        process.stdin.flush()
        size = process.stdout.read(8)
        if len(size) < 8:
            raise EOFError
        answer: tuple[str, Any] = pickle.loads(  # noqa: S301 - our child
            process.stdout.read(*struct.unpack("<q", size))
        )
        return answer

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()
            self.process = None


WORKER = Worker()
atexit.register(WORKER.stop)


def run_model(
    model: ModelProto, feeds: dict[str, Array] | None = None, level: str = "ORT_DISABLE_ALL"
) -> list[Array]:
    """Run a model in onnxruntime, optimizations off unless told, one thread."""
    held = {name: np.asarray(value) for name, value in (feeds or {}).items()}
    return [np.asarray(y) for y in WORKER.ask(model.SerializeToString(), held, None, level)]


def run_onnxruntime(operator: Operator, call: Call, results: list[str]) -> list[Array]:
    """Run a call in onnxruntime; return its outputs, of the types in ``results``."""
    fed = {name: call.inputs[name] for name in call.fed}
    return run_model(one_node_model(operator, call, results), fed)


def run_onnx(operator: Operator, call: Call, results: list[str]) -> list[Array]:
    """Run a call in onnx's own evaluator."""
    try:
        with np.errstate(all="ignore"):
            evaluator = ReferenceEvaluator(one_node_model(operator, call, results))
            outputs: Any = evaluator.run(None, {name: call.inputs[name] for name in call.fed})
            return [np.asarray(y) for y in outputs]
    except Exception as error:
        # It raises whatever the implementation trips over.
        raise RefusedError(str(error)) from error


def kinds(outputs: tuple[Array, ...]) -> list[str]:
    """Names of the types of outputs."""
    return [type_name(y.dtype) for y in outputs]


def readable(y: Array) -> Array:
    """Return an output as a peer hands it out."""
    return y if type_name(y.dtype) in READABLE else y.astype(np.float32)


class Reported(UserWarning):
    """A difference that belongs to the processor."""


@dataclass(frozen=True)
class Processor:
    """What the processor that runs onnxruntime does, by the names of `registry.PROCESSORS`.

    ``known`` is false for a machine that gives other answers than those.
    """

    known: bool
    names: tuple[str, ...]


@cache
def processor() -> Processor:
    """Probe onnxruntime with tiny models whose answers tell processors apart."""
    answers = {_probe_integer(), _probe_linear("QLinearMatMul"), _probe_linear("QLinearConv")}
    known = platform.machine() in {"x86_64", "AMD64"} and answers in ({EXACT}, {SATURATED})
    names = [] if answers == {EXACT} else ["saturating"]
    names.append("with FMA" if _fuses() else "without FMA")
    names.append("with AVX512" if _has_wide_kernels() else "without AVX512")
    return Processor(known=known, names=tuple(names))


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


def _fuses() -> bool:
    """Tell whether a float product is added before it is rounded: 4097 squared is no float32."""
    first, second = (4097, 4097), (-(4097.0**2) + 1, 1)
    orders = ((first, second), (second, first))
    answers = set()
    for order in orders:
        left, right = (tensor("float32", side) for side in zip(*order, strict=True))
        inputs = {"A": left.reshape(1, 2), "B": right.reshape(2, 1)}
        answers.add(float(_run("MatMul", inputs, "float32").item()))
    return 1.0 in answers


def _has_wide_kernels() -> bool:
    """Tell whether onnxruntime multiplies by weights of MatMulFpQ4, which takes AVX512."""
    inputs = {
        "A": np.ones((1, 32), np.float32),
        "B": np.zeros(20, np.uint8),
        "B_shape": np.array([32, 1]),
    }
    try:
        _run("MatMulFpQ4", inputs, "float32", "com.microsoft", blk_quant_type=0)
    except RefusedError:
        return False
    return True


def _run(
    op_type: str,
    inputs: dict[str, Any],
    result: str,
    domain: str = "",
    **attributes: Any,  # noqa: ANN401 - as ONNX has them
) -> Array:
    node = helper.make_node(op_type, list(inputs), ["y"], domain=domain, **attributes)
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in inputs.items()]
    value = helper.make_tensor_value_info("y", ONNX_TYPE[result], None)
    graph = helper.make_graph([node], "probe", [], [value], tensors)
    imports = [helper.make_opsetid("", 15), helper.make_opsetid("com.microsoft", 1)]
    return run_model(helper.make_model(graph, opset_imports=imports, ir_version=8))[0]
