"""The graph that onnxruntime's optimizer makes, and its tensors beside ours.

A tensor is found by what it is made of: the operator, and the tensors that go in, down to the
inputs of the model and the values of constants. So names play no part, and a tensor of which the
other side has no equal is a node that is missing, superfluous, or reads something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, ValueInfoProto, numpy_helper

from qdqdoc.document import array
from qdqdoc.execute import execute
from qdqdoc.extract import extract
from qdqdoc.fuse import fuse

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping
    from pathlib import Path

    from qdqdoc.document import Document
    from qdqdoc.execute import Trace
    from qdqdoc.numerics.formats import Array

    Nodes = Iterable[tuple[str, str, list[str], list[str]]]

INT8 = "ort-x86-int8"


def session(model: Path | bytes, level: str, target: str = "", save: str = "") -> Any:  # noqa: ANN401 - no types there
    """Return a session of onnxruntime with one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if save:
        options.optimized_model_filepath = save
    if target == INT8:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    given = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def optimized(model: Path, target: str, folder: Path) -> ModelProto:
    """Return the graph that onnxruntime makes of a model at ORT_ENABLE_EXTENDED."""
    made = folder / f"{model.stem}_{target}.onnx"
    session(model, "ORT_ENABLE_EXTENDED", target, str(made))
    return onnx.load(made)


def run_all(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a graph as it is and return every tensor."""
    shown = ModelProto.FromString(model.SerializeToString())
    names = {value.name for value in shown.graph.output}
    for node in shown.graph.node:
        new = [name for name in node.output if name and name not in names]
        shown.graph.output.extend(ValueInfoProto(name=name) for name in new)
        names.update(new)
    running = session(shown.SerializeToString(), "ORT_DISABLE_ALL")
    asked = [value.name for value in running.get_outputs()]
    return dict(zip(asked, running.run(asked, dict(feeds)), strict=True))


def held(value: Array) -> Hashable:
    """Identify a constant."""
    return value.dtype.name, value.shape, value.tobytes()


def made_of(known: dict[str, Hashable], nodes: Nodes) -> dict[str, int]:
    """Identify what each node makes, nodes in an order in which they can run."""
    found = {}
    for domain, op_type, inputs, outputs in nodes:
        while inputs and not inputs[-1]:
            inputs.pop()
        read = tuple(hash(known[name]) if name else None for name in inputs)
        for position, name in enumerate(outputs):
            known[name] = (domain, op_type, read, position)
            found[name] = hash(known[name])
    return found


def theirs(model: ModelProto) -> dict[str, int]:
    """Identify the tensors of onnxruntime's graph."""
    graph = model.graph
    known: dict[str, Hashable] = {
        tensor.name: held(numpy_helper.to_array(tensor)) for tensor in graph.initializer
    }
    for value in graph.input:
        known.setdefault(value.name, value.name)
    plain = [
        (n.domain.replace("ai.onnx", ""), n.op_type, [*n.input], [*n.output]) for n in graph.node
    ]
    return made_of(known, plain)


def ours(document: Document, trace: Trace) -> dict[str, int]:
    """Identify the tensors of our graph; what follows from constants alone is one, too."""
    known: dict[str, Hashable] = {
        tensor.name: held(array(document, tensor))
        for tensor in document.tensors.values()
        if tensor.initializer
    }
    constants = set(known)
    known.update((name, name) for name in document.graph.inputs)
    nodes = []
    for operation in document.operations:
        read = [name for name in operation.inputs if name]
        if constants.issuperset(read) and operation.op_type != "DequantizeLinear":
            constants.update(operation.outputs)
            known.update((name, held(trace[name])) for name in operation.outputs)
        else:
            names = [*operation.inputs], [*operation.outputs]
            nodes.append((operation.domain, operation.op_type, *names))
    return made_of(known, nodes)


@dataclass(frozen=True)
class Compared:
    """How a run compares: tensors, those of theirs that we lack, and values that differ.

    ``differing`` names the operator that made a tensor, and how many of its values differ.
    ``values`` counts those that were compared, ``steps`` is the largest difference of codes.
    """

    tensors: int
    lacking: list[str]
    differing: list[tuple[str, str, int]]
    values: int
    steps: int
    operators: frozenset[str]
    outputs: dict[str, Array]


def matched(model: Path, target: str, feeds: Mapping[str, Array], folder: Path) -> dict[str, Array]:
    """Return every tensor of our graph as onnxruntime computes it, and what constants make."""
    document = extract(model)
    fusion, trace = fuse(document, target), execute(document, feeds, target)
    graph = optimized(model, target, folder)
    wanted, values = theirs(graph), run_all(graph, feeds)
    names = {identity: name for name, identity in wanted.items()}
    found = ours(fusion.document, trace)
    given = {name: tensor.value for name, tensor in trace.by_name.items() if name not in found}
    given |= {name: np.asarray(values[names[identity]]) for name, identity in found.items()}
    return given


def compare(model: Path, target: str, feeds: Mapping[str, Array], folder: Path) -> Compared:
    """Run onnxruntime's graph and ours and compare every tensor of theirs."""
    document = extract(model)
    fusion, trace = fuse(document, target), execute(document, feeds, target)
    graph = optimized(model, target, folder)
    wanted, found = theirs(graph), ours(fusion.document, trace)
    names: dict[int, str] = {}
    for name, identity in found.items():
        names.setdefault(identity, name)
    makers = {name: node.op_type for node in graph.graph.node for name in node.output}
    differing, values, steps = [], 0, 0
    everything = run_all(graph, feeds)
    for name, value in everything.items():
        if wanted[name] not in names:
            continue
        left, right = np.asarray(value), trace[names[wanted[name]]]
        assert left.dtype == right.dtype, name
        values += left.size
        both_nan = np.isnan(left) & np.isnan(right) if left.dtype.kind == "f" else False
        unlike = int((~((left == right) | both_nan)).sum())
        if unlike:
            differing.append((name, makers[name], unlike))
            if left.dtype.kind in "iu":
                steps = max(steps, int(np.abs(left.astype(int) - right.astype(int)).max()))
    lacking = [name for name, identity in wanted.items() if identity not in names]
    operators = frozenset(node.op_type for node in graph.graph.node)
    outputs = {value.name: everything[value.name] for value in graph.graph.output}
    return Compared(len(wanted), lacking, differing, values, steps, operators, outputs)
