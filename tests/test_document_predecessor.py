"""The predecessor's JSON is read: Q/DQ nodes alone, and the counts of all others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qdqdoc.document import Document, DocumentError, dumps, exact, loads

# ruff: noqa: ANN401 - JSON values are of any type


def row(op_type: str, *inputs: str, output: str, **more: Any) -> dict[str, Any]:
    return {
        "name": f"{output}_node",
        "op_type": op_type,
        "inputs": list(inputs),
        "outputs": [output],
        "attributes": {},
        "scales": {inputs[1]: 0.003921568859368563},
        "zero_points": {inputs[2]: -128},
        **more,
    }


def old(**more: Any) -> dict[str, Any]:
    return {
        "model_path": "/home/somebody/models/resnet8_int8.onnx",
        "opset_version": 15,
        "summary": {
            "total_nodes": 130,
            "qlinear_nodes": 98,
            "op_type_counts": {"QuantizeLinear": 32, "DequantizeLinear": 66, "Conv": 9},
        },
        "operations": [
            row("QuantizeLinear", "image", "s", "z", output="codes"),
            row("DequantizeLinear", "codes", "s", "z", output="image_again"),
            row(
                "DequantizeLinear",
                "w",
                "ws",
                "wz",
                output="w_real",
                attributes={"axis": 0},
                scales={"ws": [0.1, 0.2]},
                zero_points={"wz": [0, 0]},
            ),
        ],
        **more,
    }


def read(value: dict[str, Any]) -> Document:
    return loads(json.dumps(value))


def test_nodes_counts_and_name_are_kept() -> None:
    document = read(old())
    assert document.model_path == "resnet8_int8.onnx"
    assert document.opset_version == 15
    assert len(document.operations) == 3
    assert document.total_nodes == 130
    assert document.qlinear_nodes == 98
    assert document.op_type_counts == {"Conv": 9, "DequantizeLinear": 66, "QuantizeLinear": 32}


def test_quantization_is_by_position() -> None:
    quantize, _, weight = read(old()).operations
    item = quantize.quantization["y"]
    assert (item.tensor, item.scale, item.zero_point, item.dtype) == ("codes", "s", "z", "int8")
    assert item.scale_values == (exact(0.003921569, "float32"),)
    assert item.zero_point_values == (-128,)
    per_channel = weight.quantization["x"]
    assert (per_channel.granularity, per_channel.axis) == ("per_axis", 0)
    assert per_channel.scale_values == (exact(0.1, "float32"), exact(0.2, "float32"))
    assert per_channel.dtype == ""  # zero points of 0 leave it open


def test_names_become_tensors() -> None:
    document = read(old())
    assert document.graph.inputs == ("image", "w")
    assert document.graph.outputs == ("image_again", "w_real")
    assert document.tensors["s"].role == "scale"
    assert document.tensors["z"].role == "zero_point"
    assert document.tensors["codes"].dtype == "int8"
    assert document.tensors["image"].shape is None


def test_windows_paths_too() -> None:
    assert read(old(model_path=r"C:\Users\me\net.onnx")).model_path == "net.onnx"


def test_it_can_be_written_in_the_new_form() -> None:
    document = read(old())
    assert loads(dumps(document)) == document
    assert "somebody" not in dumps(document)


@pytest.mark.parametrize("opset", [21, 25])
def test_from_opset_21_on_a_zero_point_tells_no_type(opset: int) -> None:
    assert read(old(opset_version=opset)).operations[0].quantization["y"].dtype == ""


def test_order_and_names_are_mended() -> None:
    rows = old()["operations"]
    for item in rows:
        item["name"] = ""
    document = read(old(operations=rows[::-1]))
    assert document.tensors["codes"].dtype == "int8"
    assert len({operation.name for operation in document.operations}) == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"operations": {}}, "operations: found an object, expected a list"),
        ({"operations": [3]}, r"operations\[0\]: found the number 3"),
        ({"operations": [{}]}, r"operations\[0\].op_type: is missing"),
        ({"summary": []}, "summary: found a list"),
        ({"operations": [row("Q", "a", "s", "z", output="a")]}, "wait for each other"),
    ],
)
def test_wrong_files_are_told(more: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        read(old(**more))
