"""Time the kernels beside onnx's evaluator and onnxruntime, in turns, in one process.

    tox -e bench [-- --rounds 7] [NAME ...]

BLAS and onnxruntime run on one thread. Each round runs all three, so that a busy machine is busy
for all; the medians are compared. The results of the three are compared first: speed of something
else would mean nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnx.reference import ReferenceEvaluator
from peers import kinds, one_node_model

from qdqdoc.operators import OPERATORS
from qdqdoc.registry import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ELEMENTS = 2**24
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Task:
    """A call to time, and how many times faster than onnx's evaluator it shall be."""

    name: str
    key: tuple[str, str]
    call: Call
    goal: float | None


def codes(*shape: int, kind: str = "int8") -> Any:  # noqa: ANN401 - an array
    """Return random codes."""
    low, high = (-128, 128) if kind == "int8" else (0, 256)
    return RNG.integers(low, high, shape).astype(kind)


def parameters(*names: str, kind: str = "int8") -> dict[str, Any]:
    """Return a scale and a zero point for each name."""
    found: dict[str, Any] = {}
    for name in names:
        found[f"{name}_scale"] = np.float32(0.02)
        found[f"{name}_zero_point"] = np.array(3, kind)
    return found


def call(inputs: dict[str, Any], opset: int, **attributes: Any) -> Call:  # noqa: ANN401 - any
    """Make a call whose inputs are fed at run time but for small ones."""
    fed = tuple(k for k, v in inputs.items() if np.asarray(v).size > 1)
    return Call(name="timed", inputs=inputs, attributes=attributes, opset=opset, fed=fed)


def tasks() -> Iterator[Task]:
    """Yield what is timed."""
    floats = RNG.normal(0, 1, ELEMENTS).astype(np.float32)
    conv = {"x": codes(1, 64, 56, 56), "w": codes(64, 64, 3, 3), **parameters("x", "w", "y")}
    matmul = {"a": codes(1024, 1024), "b": codes(1024, 1024), **parameters("a", "b", "y")}
    for inputs, name in ((conv, "y_scale"), (matmul, "y_scale")):
        inputs[name] = np.float32(20)
    pads = [1, 1, 1, 1]
    yield Task("QLinearConv 64x64x3x3, 56x56", ("", "QLinearConv"), call(conv, 10, pads=pads), 10)
    yield Task("QLinearMatMul 1024x1024x1024", ("", "QLinearMatMul"), call(matmul, 10), 10)
    quantize = {"x": floats, **parameters("y")}
    yield Task("QuantizeLinear 16 Mi", ("", "QuantizeLinear"), call(quantize, 19), 2)
    dequantize = {"x": codes(ELEMENTS), **parameters("x")}
    yield Task("DequantizeLinear 16 Mi", ("", "DequantizeLinear"), call(dequantize, 19), 2)
    dynamic = ("", "DynamicQuantizeLinear")
    yield Task("DynamicQuantizeLinear 16 Mi", dynamic, call({"x": floats}, 11), 1)
    integers = {"x": conv["x"], "w": conv["w"]}
    yield Task(
        "ConvInteger 64x64x3x3, 56x56", ("", "ConvInteger"), call(integers, 10, pads=pads), 1
    )
    matrices = {"A": matmul["a"], "B": matmul["b"]}
    yield Task("MatMulInteger 1024x1024x1024", ("", "MatMulInteger"), call(matrices, 10), 1)
    pair = {"A": codes(ELEMENTS), **parameters("A"), "B": codes(ELEMENTS), **parameters("B", "C")}
    for name in ("QLinearAdd", "QLinearMul"):
        yield Task(f"{name} 16 Mi", ("com.microsoft", name), call(pair, 1), None)


def runners(task: Task) -> dict[str, Callable[[], Any]]:
    """Return what computes a task: our kernel and both peers."""
    operator = OPERATORS[task.key]
    ours = operator.run(task.call)
    model = one_node_model(operator, task.call, kinds(ours))
    feeds = {name: task.call.inputs[name] for name in task.call.fed}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: dict[str, Callable[[], Any]] = {
        "here": lambda: operator.run(task.call),
        "onnxruntime": lambda: session.run(None, feeds),
    }
    if task.goal is not None:
        evaluator = ReferenceEvaluator(model)
        found["onnx"] = lambda: evaluator.run(None, feeds)
    return found


def check(found: dict[str, Callable[[], Any]]) -> str:
    """Compare the results: onnxruntime's must be equal, onnx's may differ where it is known to."""
    ours = found["here"]()
    if not all(np.array_equal(a, b) for a, b in zip(ours, found["onnxruntime"](), strict=True)):
        return "onnxruntime computes something else"
    return ""


def medians(found: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Run all in turns; return the median seconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, function in found.items():
            start = time.perf_counter()
            function()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(several) for name, several in taken.items()}


def main() -> int:
    """Print a table; the exit code tells whether a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", help="operators to time; all if none is named")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        parser.error("set OPENBLAS_NUM_THREADS=1, as `tox -e bench` does: all run on one thread")
    warnings.simplefilter("ignore")
    print(f"{'':<32}{'here':>12}{'onnx':>12}{'onnxruntime':>14}{'x onnx':>10}{'goal':>7}")
    missed = 0
    for task in tasks():
        if given.names and task.key[1] not in given.names:
            continue
        found = runners(task)
        wrong = check(found)
        if wrong:
            print(f"{task.name:<32}{wrong}")
            missed += 1
            continue
        seconds = medians(found, given.rounds)
        shown = [f"{seconds[n] * 1e3:.2f} ms" if n in seconds else "–" for n in ("here", "onnx")]
        ratio = seconds["onnx"] / seconds["here"] if "onnx" in seconds else None
        line = (
            f"{task.name:<32}{shown[0]:>12}{shown[1]:>12}{seconds['onnxruntime'] * 1e3:>11.2f} ms"
        )
        print(line + (f"{ratio:>10.1f}{task.goal:>7}" if ratio is not None else ""))
        missed += ratio is not None and task.goal is not None and ratio < task.goal
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
