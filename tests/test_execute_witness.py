"""Contract qdq against onnxruntime without optimizations, on every QDQ model of the repository."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import helper
from peers import run_model

from qdqdoc.document import Document, Graph, Operation
from qdqdoc.execute import execute
from qdqdoc.execute.pools import SUMS
from qdqdoc.extract import extract
from qdqdoc.numerics.formats import ONNX_TYPE, is_integer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODELS = Path(__file__).parent.parent / "models"
QDQ = ("int8", "uint8", "int8_per_channel", "uint8_per_channel", "int8_folded")
MOST_FLIPS = 6
"""So many codes of a type of operator may be a step away; two of Conv's 860,160 were seen, and two
of AveragePool's 640. Each depends on onnxruntime's order of additions, so on the processor."""
MOST_DIFFERENT = 42
"""So many codes of a whole run may differ; 14 of 2,653,740 were seen, after one flip or two."""
MOST_STEPS = 2
"""So far away may one be; a flip is a step, and the operators behind it may stretch it."""
UNSTATED = {*SUMS, "Softmax"}
"""Operators whose float results onnxruntime's order of additions or its exponential decides."""

Arrays = dict[str, Any]


@cache
def document(name: str) -> Document:
    return extract(MODELS / f"resnet8_{name}.onnx")


@cache
def images() -> Arrays:
    with np.load(MODELS / "test_images.npz") as held:
        return dict(held)


@cache
def theirs(name: str) -> Arrays:
    """Every tensor that onnxruntime makes of the images."""
    model = onnx.load(MODELS / f"resnet8_{name}.onnx")
    made = document(name).tensors
    shown = [output for node in model.graph.node for output in node.output]
    kept = {value.name for value in model.graph.output}
    model.graph.output.extend(
        helper.make_tensor_value_info(output, ONNX_TYPE[made[output].dtype], None)
        for output in shown
        if output not in kept
    )
    names = [value.name for value in model.graph.output]
    feeds = {"image": images()["x"]}
    return {**feeds, **dict(zip(names, run_model(model, feeds), strict=True))}


@dataclass
class Count:
    """What was compared of one type of operator."""

    values: int = 0
    bits: int = 0
    codes: int = 0
    flips: int = 0


def alone(whole: Document, operations: tuple[Operation, ...]) -> Document:
    """Return a document of some operations; what they do not make and nobody stores is fed."""
    made = [name for operation in operations for name in operation.outputs]
    read = dict.fromkeys(n for o in operations for n in o.inputs if n and n not in made)
    fed = tuple(name for name in read if not whole.tensors[name].initializer)
    tensors = {name: whole.tensors[name] for name in (*read, *made)}
    graph = Graph(inputs=fed, outputs=tuple(made), operations=operations, tensors=tensors)
    return replace(whole, graph=graph)


def quantizers(whole: Document, operation: Operation) -> tuple[Operation, ...]:
    return tuple(
        reader
        for reader in whole.operations
        if reader.op_type == "QuantizeLinear" and reader.inputs[0] in operation.outputs
    )


def compared(whole: Document, given: Arrays) -> Mapping[str, Count]:
    """Run each node on the witness's own inputs, and what quantizes its result on ours."""
    found: dict[str, Count] = defaultdict(Count)
    for operation in whole.operations:
        count = found[operation.op_type]
        after = quantizers(whole, operation)
        piece = alone(whole, (operation, *after))
        trace = execute(piece, {name: given[name] for name in piece.graph.inputs})
        for name in operation.outputs:
            count.values += trace[name].size
            count.bits += int((trace[name] != given[name]).sum())
        for name in (o for reader in after for o in reader.outputs):
            steps = np.abs(trace[name].astype(int) - given[name])
            assert steps.max() <= 1, f"{operation.name}: {steps.max()} steps"
            count.codes += steps.size
            count.flips += int(steps.sum())
    return found


@pytest.mark.parametrize("name", QDQ)
def test_node_by_node_only_sums_flip_and_by_one_step(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    found = compared(document(name), theirs(name))
    assert {"QuantizeLinear", "DequantizeLinear", "Add", "Transpose", "Reshape"} <= set(found)
    for op_type, count in found.items():
        row = (count.values, count.bits, count.codes, count.flips)
        record_property(f"qdq node by node: {name} {op_type}", row)
        if op_type not in UNSTATED:
            assert count.bits == count.flips == 0, op_type
        if op_type not in SUMS:
            assert count.flips == 0, op_type
        assert count.flips <= MOST_FLIPS, op_type


@pytest.mark.parametrize("name", QDQ)
def test_end_to_end_the_same_digits(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    trace = execute(document(name), {"image": images()["x"]})
    given = theirs(name)
    codes = [t for t in trace.tensors if t.operation and is_integer(t.value.dtype)]
    steps = [np.abs(t.value.astype(int) - given[t.name]) for t in codes]
    different = sum(int((step > 0).sum()) for step in steps)
    values = sum(step.size for step in steps)
    record_property(f"qdq end to end: {name}", (values, different))
    assert values > 10**6
    assert different <= MOST_DIFFERENT
    assert max(step.max() for step in steps) <= MOST_STEPS
    assert (trace["probabilities"].argmax(1) == given["probabilities"].argmax(1)).all()
    assert (trace["probabilities"].argmax(1) == images()["y"]).all()


def test_every_tensor_is_there_in_the_order_of_the_run() -> None:
    whole = document("int8")
    trace = execute(whole, {"image": images()["x"][:1]})
    made = [name for operation in whole.operations for name in operation.outputs]
    assert [tensor.name for tensor in trace.tensors] == ["image", *made]
    assert [t.operation for t in trace.tensors[1:]] == [o.name for o in whole.operations]


def test_an_image_alone_gives_what_it_gives_among_others() -> None:
    x = images()["x"]
    together, single = (execute(document("int8"), {"image": some}) for some in (x, x[3:4]))
    batched = [t for t in single.tensors if t.shape != together[t.name].shape]
    assert len(batched) > len(single.tensors) // 2
    for tensor in batched:
        assert np.array_equal(tensor.value[0], together[tensor.name][3]), tensor.name


def test_ten_images_take_little_time() -> None:
    whole, x = document("int8"), images()["x"]
    execute(whole, {"image": x[:1]})
    start = time.process_time()
    execute(whole, {"image": x})
    assert time.process_time() - start < 2
