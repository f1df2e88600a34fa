"""Contract ort: every tensor of onnxruntime's own optimized graph, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import guide_models
import numpy as np
import pytest
from optimized import INT8, compare, matched, session
from test_execute_witness import MOST_FLIPS, compared
from test_fuse import Maker

from qdqdoc.execute import ExecuteError, execute, index_of, save
from qdqdoc.extract import extract
from qdqdoc.facts.running import drawn_or_held
from qdqdoc.fuse import fuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdqdoc.numerics.formats import Array

pytestmark = pytest.mark.usefixtures("as_the_targets_say")

MODELS = Path(__file__).parent.parent / "models"
NAMES = sorted(path.stem for path in MODELS.glob("resnet8_*.onnx"))
FUSED = [
    (name, target)
    for name in NAMES
    for target in ("ort-x86", INT8)
    if target == INT8 or "uint8" in name or "qoperator" in name
]
MIXED = ["resnet8_int8", "resnet8_int8_per_channel", "resnet8_int8_folded"]
"""Under default options these are a mixture of integer groups and float ones."""


@pytest.fixture(scope="module")
def images() -> Array:
    held = np.load(MODELS / "test_images.npz")["x"]
    rng = np.random.default_rng(5)
    noise = rng.uniform(held.min(), held.max(), (10, *held.shape[1:])).astype(np.float32)
    return np.concatenate([held, noise])


@pytest.mark.parametrize(("name", "target"), FUSED)
def test_every_tensor_of_a_fused_model(
    name: str, target: str, images: Array, tmp_path: Path
) -> None:
    found = compare(MODELS / f"{name}.onnx", target, {"image": images}, tmp_path)
    assert not found.lacking
    assert not found.differing
    assert found.tensors >= 19
    assert found.values > 10**6


@pytest.mark.parametrize("name", MIXED)
def test_in_a_mixture_only_float_sums_flip_and_by_one_step(
    name: str, images: Array, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    path, feeds = MODELS / f"{name}.onnx", {"image": images}
    given = matched(path, "ort-x86", feeds, tmp_path)
    whole = fuse(extract(path), "ort-x86").document
    found = compared(whole, given)
    assert {"QLinearConv", "QuantizeLinear", "DequantizeLinear", "Conv", "Add"} <= set(found)
    for op_type, count in found.items():
        row = (count.values, count.bits, count.codes, count.flips)
        record_property(f"ort node by node: {name} {op_type}", row)
        if op_type != "Conv":
            assert count.bits == count.flips == 0, op_type
        assert count.flips <= MOST_FLIPS, op_type


def test_the_outputs_are_those_of_a_session_by_default(images: Array) -> None:
    path = MODELS / "resnet8_uint8.onnx"
    trace = execute(extract(path), {"image": images}, "ort")
    (theirs,) = session(path, "ORT_ENABLE_ALL").run(None, {"image": images})
    (ours,) = trace.results().values()
    assert np.array_equal(theirs, ours)


def test_a_trace_names_the_target_and_the_processor(tmp_path: Path, images: Array) -> None:
    document = extract(MODELS / "resnet8_uint8.onnx")
    trace = execute(document, {"image": images[:1]}, "ort")
    assert (trace.contract, trace.target) == ("ort", "ort-x86")
    assert "FMA" in trace.processor
    save(trace, tmp_path / "t.npz")
    text = index_of(tmp_path / "t.npz").read_text("utf-8")
    assert '"target": "ort-x86"' in text
    assert "FMA" in text
    predicted = execute(document, {"image": images[:1]}, "ort-arm")
    assert "not witnessed" in predicted.processor


def test_a_model_that_onnxruntime_cannot_load_is_refused(tmp_path: Path) -> None:
    m = Maker()
    pooled = m.node("MaxPool", m.pair(m.input(1, 2, 8, 8), "uint4"), kernel_shape=[2, 2])
    m.result(m.pair(pooled, "uint4"))
    path = tmp_path / "m.onnx"
    path.write_bytes(m.model().SerializeToString())
    document = extract(path)
    x = {document.graph.inputs[0]: np.zeros((1, 2, 8, 8), np.float32)}
    with pytest.raises(ExecuteError, match=r"ort-x86: .* does not know uint4"):
        execute(document, x, "ort")
    with pytest.raises(Exception, match=r"INVALID_GRAPH.*uint4"):
        session(path, "ORT_ENABLE_EXTENDED")


@pytest.mark.parametrize("name", ["depthwise", "transformer", "branches"])
@pytest.mark.parametrize("target", ["ort-x86", INT8])
def test_models_that_onnxruntime_quantized(name: str, target: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.onnx"
    getattr(guide_models, name)(path)
    given, _ = drawn_or_held(extract(path), None, 2)
    found = compare(path, target, given, tmp_path)
    assert not found.lacking
    # Float sums and functions have last bits of onnxruntime's own; no code behind them differs.
    kinds = {op_type for _, op_type, _ in found.differing}
    assert kinds <= {"Conv", "MatMul", "LayerNormalization", "Erf"}, found
    assert found.steps == 0
