"""Extraction of the running example and of small models with the oddities of real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from qdqdoc.document import Document, Quantization, array, dumps, exact, loads, schema
from qdqdoc.extract import extract

# ruff: noqa: ANN401 - attributes and initializers are of any type

RESNET8 = Path(__file__).parent.parent / "models" / "resnet8_int8.onnx"
VALIDATOR = jsonschema.Draft202012Validator(schema())

FLOAT, INT8, UINT8 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """Make a node from names between spaces; ``_`` is an omitted input."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(op_type, names, outputs.split(), **attributes)


def model(nodes: Any, held: Any, *, opset: int = 13, shape: Any = (1, 4)) -> Any:
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)],
        stored,
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def read(made: Any, folder: Path) -> Document:
    path = folder / "m.onnx"
    path.write_bytes(made.SerializeToString())
    document = extract(path)
    text = dumps(document)
    assert loads(text) == document
    assert dumps(extract(path)) == text
    VALIDATOR.validate(json.loads(text))
    return document


SCALARS: dict[str, Any] = {"s": np.float32(0.1), "z": np.int8(3)}
PAIR = (node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y"))


def stated(document: Document) -> list[Quantization]:
    return [item for o in document.walk() for item in o.quantization.values()]


# -------------------------------------------------------------------- the running example


@pytest.fixture(scope="module")
def resnet8() -> Document:
    return extract(RESNET8)


def test_resnet8_has_its_nodes(resnet8: Document) -> None:
    counts = resnet8.op_type_counts
    assert resnet8.total_nodes == 130
    assert (counts["QuantizeLinear"], counts["DequantizeLinear"]) == (32, 66)
    assert (counts["Conv"], counts["Add"], counts["Mul"]) == (9, 11, 7)
    assert resnet8.qlinear_nodes == 98


def test_resnet8_is_written_without_loss_or_path(resnet8: Document) -> None:
    text = dumps(resnet8)
    assert loads(text) == resnet8
    VALIDATOR.validate(json.loads(text))
    assert "/work" not in text
    assert str(RESNET8.parent) not in text
    assert dumps(extract(RESNET8)) == text


def test_resnet8_has_no_unknown_type_or_shape(resnet8: Document) -> None:
    assert [t.name for t in resnet8.tensors.values() if not t.dtype or t.shape is None] == []


def test_resnet8_roles_come_from_the_graph(resnet8: Document) -> None:
    roles = {
        role: [t for t in resnet8.tensors.values() if t.role == role and t.initializer]
        for role in ("weight", "bias", "scale", "zero_point", "constant", "activation")
    }
    assert {role: len(tensors) for role, tensors in roles.items()} == {
        "weight": 10,  # nine Conv and the dense layer
        "bias": 10,  # nine int32 of Conv, and the Add after MatMul
        "scale": 64,
        "zero_point": 64,
        "constant": 15,  # seven Mul and seven Add of batch normalization, one Reshape
        "activation": 0,
    }
    assert sum(tensor.dtype == "int32" for tensor in roles["bias"]) == 9


def test_resnet8_values_are_those_of_the_model(resnet8: Document) -> None:
    proto = ModelProto()
    proto.ParseFromString(RESNET8.read_bytes())
    for stored in proto.graph.initializer:
        expected = numpy_helper.to_array(stored)
        held = array(resnet8, stored.name)
        assert held.dtype == expected.dtype
        assert np.array_equal(held, expected)


def test_resnet8_scale_of_one_element_is_per_tensor(resnet8: Document) -> None:
    shapes = {resnet8.tensors[item.scale].shape for item in stated(resnet8)}
    assert shapes == {(), (1,)}
    assert {item.granularity for item in stated(resnet8)} == {"per_tensor"}


# ------------------------------------------------------- the same model, another file


def constants_as_nodes(made: Any) -> None:
    for tensor in made.graph.initializer:
        made.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del made.graph.initializer[:]


def shuffled(made: Any) -> None:
    nodes = list(made.graph.node)[::-1]
    del made.graph.node[:]
    made.graph.node.extend(nodes)


def through_identity(made: Any) -> None:
    for tensor in made.graph.initializer:
        made.graph.node.insert(0, helper.make_node("Identity", [f"{tensor.name}_"], [tensor.name]))
        tensor.name += "_"


def spelled_domain(made: Any) -> None:
    for one in made.graph.node:
        one.domain = one.domain or "ai.onnx"
    made.opset_import[0].domain = "ai.onnx"


def legacy(made: Any) -> None:
    made.ir_version = 3
    for tensor in made.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        made.graph.input.append(value)


def without_names(made: Any) -> None:
    for one in made.graph.node:
        one.name = ""
    del made.graph.value_info[:]


def microsoft(made: Any) -> None:
    for one in made.graph.node:
        one.domain = "com.microsoft" if one.op_type.endswith("Linear") else ""


CHANGES = (
    constants_as_nodes,
    shuffled,
    through_identity,
    spelled_domain,
    legacy,
    without_names,
    microsoft,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_same_model_in_another_file_states_the_same(
    change: Any, tmp_path: Path, resnet8: Document
) -> None:
    made = ModelProto()
    made.ParseFromString(RESNET8.read_bytes())
    change(made)
    document = read(made, tmp_path)
    assert set(map(repr, stated(document))) == set(map(repr, stated(resnet8)))
    assert document.graph.inputs == resnet8.graph.inputs
    for name, tensor in resnet8.tensors.items():
        again = document.tensors[name]
        assert (again.role, again.dtype, again.shape) == (tensor.role, tensor.dtype, tensor.shape)


# ------------------------------------------------------------------- parameters and types


def test_a_pair_states_its_quantization(tmp_path: Path) -> None:
    document = read(model(PAIR, SCALARS), tmp_path)
    tenth = exact(0.1, "float32")
    expected = Quantization(
        tensor="q",
        dtype="int8",
        scale="s",
        zero_point="z",
        scale_values=(tenth,),
        zero_point_values=(3,),
    )
    assert [o.quantization for o in document.operations] == [{"y": expected}, {"x": expected}]
    assert document.operations[0].scales == {"s": tenth}
    assert '"scales": {"s": 0.1}' in dumps(document)


@pytest.mark.parametrize("inputs", ["x s", "x s _"])
def test_a_missing_zero_point_is_none_and_uint8(inputs: str, tmp_path: Path) -> None:
    nodes = [node("QuantizeLinear", inputs, "q"), node("DequantizeLinear", "q s", "y")]
    item, _ = stated(read(model(nodes, SCALARS), tmp_path))
    assert (item.zero_point, item.zero_point_values, item.dtype) == (None, None, "uint8")


def test_output_dtype_is_heard(tmp_path: Path) -> None:
    quantize = node("QuantizeLinear", "x s", "q", output_dtype=TensorProto.INT16)
    nodes = [quantize, node("DequantizeLinear", "q s", "y")]
    item, _ = stated(read(model(nodes, SCALARS, opset=21), tmp_path))
    assert item.dtype == "int16"


def test_run_time_parameters_have_no_values(tmp_path: Path) -> None:
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q w z wz", "i"),
        node("DequantizeLinear", "q s z", "y"),
    ]
    made = model(nodes, {"w": np.ones((4, 2), np.uint8), "wz": np.uint8(9)})
    document = read(made, tmp_path)
    assert [item.scale_values for item in stated(document)] == [None, None]
    assert document.operations[1].zero_points == {"wz": 9}
    roles = {name: tensor.role for name, tensor in document.tensors.items()}
    assert roles == {
        "x": "activation",
        "q": "activation",
        "s": "scale",
        "z": "zero_point",
        "w": "weight",
        "wz": "zero_point",
        "i": "activation",
        "y": "activation",
    }


@pytest.mark.parametrize(
    ("attributes", "scale", "expected"),
    [
        ({}, (1,), ("per_tensor", None, 0)),
        ({"axis": 1}, (), ("per_tensor", None, 0)),
        ({}, (6,), ("per_axis", 1, 0)),
        ({"axis": -2}, (4,), ("per_axis", 0, 0)),
        ({"axis": 3}, (6,), ("per_axis", 3, 0)),
        ({"axis": 1, "block_size": 3}, (4, 2), ("blocked", 1, 3)),
        ({"axis": -1, "block_size": 3}, (4, 2), ("blocked", 1, 3)),
        ({"axis": 0}, (1, 6), ("blocked", 0, 0)),
    ],
)
def test_granularity_comes_from_the_shapes(
    attributes: dict[str, int], scale: tuple[int, ...], expected: Any, tmp_path: Path
) -> None:
    nodes = [node("DequantizeLinear", "w s", "y", **attributes)]
    held = {"w": np.ones((4, 6), np.int8), "s": np.full(scale, 0.5, np.float32)}
    (item,) = stated(read(model(nodes, held, opset=21), tmp_path))
    assert (item.granularity, item.axis, item.block_size) == expected


def test_negative_and_half_precision_scales(tmp_path: Path) -> None:
    nodes = [node("DequantizeLinear", "w s", "y", axis=0)]
    held = {"w": np.ones((2, 3), np.int8), "s": np.array([-0.1, 0.2], np.float16)}
    document = read(model(nodes, held, opset=19), tmp_path)
    assert stated(document)[0].scale_values == (exact(-0.1, "float16"), exact(0.2, "float16"))
    assert '"scales": {"s": [-0.1, 0.2]}' in dumps(document)


FORMS = [
    {"value": numpy_helper.from_array(np.array([0.5, 2], np.float32))},
    {"value_floats": [0.5, 2.0]},
]


@pytest.mark.parametrize("form", FORMS, ids=["tensor", "floats"])
def test_scales_in_constant_nodes(form: Any, tmp_path: Path) -> None:
    nodes = [
        node("Constant", "", "s", **form),
        node("Identity", "s", "t"),
        node("DequantizeLinear", "w t", "y", axis=0),
    ]
    document = read(model(nodes, {"w": np.ones((2, 3), np.int8)}), tmp_path)
    assert stated(document)[0].scale_values == (0.5, 2.0)
    assert [document.tensors[name].role for name in "st"] == ["scale", "scale"]
    assert not document.tensors["s"].initializer


def test_positions_of_integer_operators(tmp_path: Path) -> None:
    one = np.ones((1, 1, 1, 1), np.int8)
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("QLinearConv", "q s z w s2 z s3 z b", "c"),
        node("QLinearAdd", "c s3 z q s z s4 z", "a", domain="com.microsoft"),
        node("QLinearConcat", "s z a s4 z c s3 z", "t", domain="com.microsoft", axis=1),
        node("QLinearSigmoid", "t s z s2 z", "g", domain="com.microsoft"),
        node("DequantizeLinear", "g s2 z", "y"),
    ]
    scales = {f"s{n}": np.float32(n) for n in (2, 3, 4)}
    made = model(
        nodes, {"w": one, "b": np.array([5], np.int32), **SCALARS, **scales}, shape=(1, 1, 2, 2)
    )
    document = read(made, tmp_path)
    by_node = [{k: (v.tensor, v.scale) for k, v in o.quantization.items()} for o in document.walk()]
    assert by_node[1:5] == [
        {"x": ("q", "s"), "w": ("w", "s2"), "y": ("c", "s3")},
        {"A": ("c", "s3"), "B": ("q", "s"), "C": ("a", "s4")},
        {"Y": ("t", "s"), "inputs[0]": ("a", "s4"), "inputs[1]": ("c", "s3")},
        {"X": ("t", "s"), "Y": ("g", "s2")},
    ]
    assert (document.tensors["w"].role, document.tensors["b"].role) == ("weight", "bias")
    assert document.tensors["t"].shape == (1, 2, 2, 2) or document.tensors["t"].shape is None
    assert document.tensors["a"].shape == (1, 1, 2, 2)


def test_a_foreign_operator_of_a_known_name_is_left_alone(tmp_path: Path) -> None:
    foreign = node("QuantizeLinear", "x s z", "y", domain="somebody.else")
    document = read(model([foreign], SCALARS), tmp_path)
    assert stated(document) == []
    assert document.operations[0].domain == "somebody.else"


# ------------------------------------------------------------------------------- roles


def test_a_weight_is_one_through_its_whole_chain(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", "w s z", "wq"),
        node("Clip", "wq low high", "wc"),
        node("DequantizeLinear", "wc s z", "wd"),
        node("Transpose", "wd", "wt"),
        node("MatMul", "x wt", "m"),
        node("DequantizeLinear", "b s", "bd"),
        node("Add", "bd m", "y"),
    ]
    bounds = {"low": np.int8(-8), "high": np.int8(7)}
    made = model(
        nodes,
        {"w": np.ones((2, 4), np.float32), "b": np.array([1, -300], np.int32), **SCALARS, **bounds},
    )
    tensors = read(made, tmp_path).tensors
    assert {tensors[name].role for name in ("w", "wq", "wc", "wd", "wt")} == {"weight"}
    assert (tensors["b"].role, tensors["bd"].role) == ("bias", "bias")
    assert (tensors["wc"].bits, tensors["b"].bits, tensors["w"].bits) == (4, 10, None)


def test_hand_made_dequantization_shows_the_weight(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "w", "wf", to=FLOAT),
        node("Mul", "s wf", "wd"),
        node("MatMul", "x wd", "y"),
    ]
    document = read(
        model(nodes, {"w": np.full((4, 2), 3, np.int8), "s": np.array([1, 2], np.float32)}),
        tmp_path,
    )
    roles = {name: tensor.role for name, tensor in document.tensors.items()}
    assert roles == {
        "w": "weight",
        "wf": "weight",
        "wd": "weight",
        "s": "constant",
        "x": "activation",
        "y": "activation",
    }
    assert document.tensors["w"].bits == 3


def test_names_decide_nothing(tmp_path: Path) -> None:
    nodes = [node("Mul", "x my_scale", "m"), node("Add", "m conv_weight_zero_point", "y")]
    held = {"my_scale": np.float32(2), "conv_weight_zero_point": np.float32(1)}
    tensors = read(model(nodes, held), tmp_path).tensors
    assert {tensors[name].role for name in held} == {"constant"}
