"""Findings of the audit in parameters and in the graph: a model that has it, one that has not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from layer import CHANNELS, Layer, floats, found, only
from onnx import TensorProto, helper
from test_fuse import Maker

from qdqdoc.audit import CODES, Level, audit
from qdqdoc.extract import extract


def test_a_plain_layer_has_no_finding(tmp_path: Path) -> None:
    path = Layer(codes=np.tile(np.array([-127, 1, 127, 1]), (CHANNELS, 1)), bias=[7] * 4).save(
        tmp_path
    )
    assert audit(extract(path)).findings == ()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.0, "scale-zero"),
        (-0.5, "scale-negative"),
        (np.inf, "scale-not-finite"),
        (np.nan, "scale-not-finite"),
        (2.0**-127, "scale-subnormal"),
        (2.0**-126, ""),
    ],
)
def test_scales(value: float, code: str, tmp_path: Path) -> None:
    scales = np.array([0.25, value, 0.25, value], np.float32)
    path = Layer(w_scale=scales, w_axis=0, w_zero=[0] * 4).save(tmp_path)
    names = {one.code for one in audit(extract(path)).findings if one.code.startswith("scale")}
    assert names == ({code} if code else set())
    if code:
        one = only(path, code)
        assert (one.numbers["count"], one.numbers["of"], one.numbers["first_index"]) == (2, 4, 1)
        assert one.node.startswith("DequantizeLinear")


def test_a_shared_scale_is_told_once(tmp_path: Path) -> None:
    m = Maker()
    grid = [m.store(np.float32(-0.5)), m.store(1, "uint8")]
    codes = m.node("QuantizeLinear", m.input(4), *grid)
    m.result(m.node("DequantizeLinear", codes, *grid))
    assert len(found(m.save(tmp_path), "scale-negative")) == 1


@pytest.mark.parametrize(
    ("shape", "axis", "code"),
    [
        ((4,), 3, "axis-on-rank-1"),
        ((4,), None, "axis-on-rank-1"),
        ((4,), 0, ""),
        ((4,), -1, ""),
        ((2, 4), 2, "axis-out-of-range"),
        ((2, 4), -3, "axis-out-of-range"),
        ((2, 4), None, ""),
        ((2, 4), -1, ""),
    ],
)
def test_axes(shape: tuple[int, ...], axis: int | None, code: str, tmp_path: Path) -> None:
    given = {} if axis is None else {"axis": axis}
    for scales in (floats([1, 2, 3, 4]), floats([2])):
        m = Maker()
        stored = m.store(np.ones(shape, np.int8), "int8")
        m.result(m.node("DequantizeLinear", stored, m.store(scales), **given))
        odd = [f for f in audit(extract(m.save(tmp_path))).findings if f.code.startswith("axis")]
        needed = len(scales) > 1 or axis is not None
        assert [f.code for f in odd] == ([code] if code and needed else [])
        for one in odd:
            assert one.numbers == {
                "axis": 1 if axis is None else axis,
                "rank": len(shape),
                "scales": len(scales),
            }


def test_an_axis_that_is_not_the_output(tmp_path: Path) -> None:
    scales = floats([1, 2, 3, 4])
    one = only(Layer(w_scale=scales, w_axis=1, w_zero=[0] * 4).save(tmp_path), "axis-not-output")
    assert one.numbers == {"axis": 1, "output_axis": 0, "rank": 4}
    path = Layer(w_scale=scales, w_axis=0, w_zero=[0] * 4).save(tmp_path)
    assert not found(path, "axis-not-output")


@pytest.mark.parametrize(("transposed", "axis"), [(0, 1), (1, 0)])
def test_the_output_axis_of_a_gemm(transposed: int, axis: int, tmp_path: Path) -> None:
    for written in (0, 1):
        m = Maker()
        stored = m.store(np.full((4, 4), 127), "int8")
        scales = [m.store(floats([1, 2, 3, 4])), m.store([0] * 4, "int8")]
        weights = m.node("DequantizeLinear", stored, *scales, axis=written)
        made = m.node("Gemm", m.pair(m.input(1, 4), "uint8"), weights, transB=transposed)
        m.result(m.pair(made, "uint8"))
        assert bool(found(m.save(tmp_path), "axis-not-output")) is (written != axis)


@pytest.mark.parametrize(
    ("data", "kind", "result", "mixed"),
    [
        ("uint8", "int8", "uint8", False),
        ("int8", "int8", "int8", False),
        ("uint8", "uint8", "uint8", False),
        ("uint8", "int8", "int8", True),
        ("int8", "uint8", "int8", True),
    ],
)
def test_mixed_types(data: str, kind: str, result: str, *, mixed: bool, tmp_path: Path) -> None:
    codes = np.tile(np.array([0, 1, 2, 127]), (CHANNELS, 1))
    path = Layer(data=data, kind=kind, result=result, codes=codes).save(tmp_path)
    assert bool(found(path, "mixed-types")) is mixed
    if mixed:
        kinds = {t.name: t.dtype for t in extract(path).tensors.values()}
        numbers = only(path, "mixed-types").numbers
        assert [kinds[str(numbers[k])] for k in ("int8", "uint8")] == ["int8", "uint8"]


def test_fan_out(tmp_path: Path) -> None:
    for readers in (1, 2, 3):
        m = Maker()
        x = m.pair(m.input(1, 4), "uint8")
        for _ in range(readers):
            m.result(m.node("Erf", x))
        path = m.save(tmp_path)
        if readers == 1:
            assert not found(path, "dequantize-fan-out")
            continue
        one = only(path, "dequantize-fan-out")
        assert one.numbers["readers"] == readers
        assert len(one.numbers["nodes"]) == readers  # type: ignore[arg-type] # a list


def test_fan_out_counts_the_models_output(tmp_path: Path) -> None:
    m = Maker()
    x = m.pair(m.input(1, 4), "uint8")
    m.result(x)
    m.result(m.node("Erf", x))
    assert only(m.save(tmp_path), "dequantize-fan-out").numbers["readers"] == 2


@pytest.mark.parametrize(
    ("kind", "scale", "zero", "code"),
    [
        ("uint8", 0.05, 1, "redundant-pair"),
        ("uint8", 0.06, 1, "double-rounding"),
        ("uint8", 0.05, 2, "double-rounding"),
        ("int8", 0.05, 1, "double-rounding"),
        ("", 0, 0, ""),
    ],
)
def test_pairs(kind: str, scale: float, zero: int, code: str, tmp_path: Path) -> None:
    m = Maker()
    x = m.pair(m.input(1, 4), "uint8", 0.05, 1)
    x = m.pair(x, kind, scale, zero) if kind else x
    m.result(m.node("Erf", x))
    codes = {"redundant-pair", "double-rounding"}
    odd = [one for one in audit(extract(m.save(tmp_path))).findings if one.code in codes]
    assert [one.code for one in odd] == ([code] if code else [])
    for one in odd:
        assert one.numbers == {
            "types": ["uint8", kind],
            "scales": [float(np.float32(0.05)), float(np.float32(scale))],
            "zero_points": [1, zero],
        }


def test_scales_at_run_time(tmp_path: Path) -> None:
    m = Maker()
    x = m.input(1, 4, 2, 2)
    codes, scale, zero = m.node("DynamicQuantizeLinear", x, outputs=3)
    held = m.node("DequantizeLinear", codes, scale, zero)
    w = m.weights("int8", 4, 4, 1, 1)
    m.result(m.node("Conv", held, w))
    found_here = audit(extract(m.save(tmp_path))).findings
    assert {"scales-at-run-time", "sums-unknown"} <= {one.code for one in found_here}
    (unknown,) = (one for one in found_here if one.code == "sums-unknown")
    assert "run time" in unknown.words


def test_what_has_no_bound_is_named(tmp_path: Path) -> None:
    scales = floats([1, 2, 3, 4])
    assert not found(Layer().save(tmp_path), "sums-unknown")
    one = only(Layer(w_scale=scales, w_axis=1, w_zero=[0] * 4).save(tmp_path), "sums-unknown")
    assert one.node.startswith("Conv")


def test_a_model_that_onnxruntime_rewrites_and_refuses(tmp_path: Path) -> None:
    m = Maker()
    x = m.pair(m.input(1, 4, 8, 8), "uint4", zero=1)
    m.result(m.pair(m.node("MaxPool", x, kernel_shape=[2, 2]), "uint4", zero=1))
    one = only(m.save(tmp_path), "model-refused")
    assert one.level is Level.ERROR


def function_of_another_version(folder: Path, version: int) -> Path:
    body = helper.make_function(
        "org.example",
        "F",
        ["a"],
        ["b"],
        [helper.make_node("Erf", ["a"], ["b"])],
        [helper.make_opsetid("", version)],
    )
    m = Maker()
    m.nodes.append(
        helper.make_node(
            "F", [m.pair(m.input(1, 4), "uint8")], ["y"], name="call", domain="org.example"
        )
    )
    m.outputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    model = m.model()
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    onnx.save(model, folder / "f.onnx")
    return folder / "f.onnx"


def test_functions_of_another_version(tmp_path: Path) -> None:
    path = function_of_another_version(tmp_path, 20)
    assert only(path, "remedies-not-tried").words.endswith("F")
    assert not found(function_of_another_version(tmp_path, 21), "remedies-not-tried")


def test_every_finding_has_a_test() -> None:
    """A code is named where it is tested: in one of these files, as a word of its own."""
    texts = "".join(
        path.read_text("utf-8") for path in Path(__file__).parent.glob("test_audit_*.py")
    )
    assert [code for code in CODES if f'"{code}"' not in texts] == []
