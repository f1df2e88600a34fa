"""Extraction of every form in which ONNX keeps tensors, graphs, names and attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from onnx import GraphProto, TensorProto, helper, numpy_helper

from qdqdoc.document import Document, array, dumps, loads
from qdqdoc.extract import ExtractError, extract
from qdqdoc.extract.constants import constant

if TYPE_CHECKING:
    from pathlib import Path


# ruff: noqa: ANN401 - attributes and initializers are of any type

FLOAT = TensorProto.FLOAT


def value(name: str, shape: Any = None, kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(nodes: Any, inputs: str = "x", outputs: str = "y", held: Any = ()) -> GraphProto:
    read, made = ([value(name) for name in names.split()] for names in (inputs, outputs))
    return helper.make_graph(nodes, "main", read, made, list(held))


def read(made: Any, folder: Path, **more: Any) -> Document:
    if isinstance(made, GraphProto):
        made = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], **more)
    path = folder / "m.onnx"
    path.write_bytes(made.SerializeToString())
    document = extract(path)
    assert loads(dumps(document)) == document
    return document


def relu(source: str = "x", target: str = "y", **more: Any) -> Any:
    return helper.make_node("Relu", [source], [target], **more)


# ----------------------------------------------------------------------------- tensors

PACKED: dict[str, tuple[Any, Any]] = {
    "int4": (ml_dtypes.int4, [-8, -1, 0, 7, 3]),
    "uint4": (ml_dtypes.uint4, [0, 15, 7, 1, 2]),
    "int2": (ml_dtypes.int2, [-2, -1, 0, 1, 1]),
    "uint2": (ml_dtypes.uint2, [0, 1, 2, 3, 3]),
    "float4e2m1": (ml_dtypes.float4_e2m1fn, [0.5, -6, 1, 2, 3]),
    "float6e2m3": (ml_dtypes.float6_e2m3fn, [0.5, -7.5, 1, 2, 3]),
    "float8e4m3fn": (ml_dtypes.float8_e4m3fn, [0.5, -448, 1, 2, 3]),
    "float8e5m2": (ml_dtypes.float8_e5m2, [0.5, -57344, 1, 2, 3]),
    "bfloat16": (ml_dtypes.bfloat16, [0.5, -3e38, 1, 2, 3]),
    "float16": (np.float16, [0.5, -65504, 1, 2, 3]),
    "int64": (np.int64, [-(2**63), 2**63 - 1, 1, 2, 3]),
    "uint64": (np.uint64, [2**64 - 1, 0, 1, 2, 3]),
    "bool": (np.bool_, [True, False, True, True, False]),
    "complex64": (np.complex64, [1 + 2j, 0, 1, 2, 3]),
}


@pytest.mark.parametrize("form", ["raw", "typed"])
@pytest.mark.parametrize("dtype", PACKED)
def test_every_packing_gives_the_values(dtype: str, form: str, tmp_path: Path) -> None:
    kind, numbers = PACKED[dtype]
    expected = np.array(numbers, kind) if dtype == "uint64" else np.array(numbers).astype(kind)
    tensor = numpy_helper.from_array(expected, "w")
    if form == "typed":
        items = expected if dtype.startswith(("float4", "float6", "float8")) else numbers
        tensor = helper.make_tensor("w", tensor.data_type, [5], items)
    document = read(graph([relu()], held=[tensor]), tmp_path)
    assert document.tensors["w"].dtype == dtype
    held = array(document, "w")
    assert held.dtype == expected.dtype
    assert held.tobytes() == expected.tobytes()
    if not dtype.startswith("complex"):
        assert list(document.tensors["w"].values or ()) == [
            int(v) if "int" in dtype else float(v) for v in held
        ]


def test_one_narrow_value_per_int32_is_read_too(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.INT4, dims=[3], int32_data=[-8, 7, -1])
    assert constant(tensor, tmp_path).numbers == (-8, 7, -1)


def test_a_nan_keeps_its_bits(tmp_path: Path) -> None:
    odd = np.array([0x7FC00001], np.uint32).view(np.float32)
    tensor = numpy_helper.from_array(odd, "w")
    path = tmp_path / "m.onnx"
    made = helper.make_model(graph([relu()], held=[tensor]))
    path.write_bytes(made.SerializeToString())
    document = extract(path)
    assert document.tensors["w"].values is None
    assert array(document, "w").tobytes() == odd.tobytes()


def test_strings_and_bytes_that_are_none(tmp_path: Path) -> None:
    tensor = TensorProto(
        name="w", data_type=TensorProto.STRING, dims=[2], string_data=["слово".encode(), b"\xff"]
    )
    document = read(graph([relu()], held=[tensor]), tmp_path)
    assert document.tensors["w"].values == ("слово", {"bytes": "ff"})


def test_sparse_initializers_are_named(tmp_path: Path) -> None:
    values = helper.make_tensor("w", FLOAT, [1], [5.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [3])
    made = graph([helper.make_node("Add", ["x", "w"], ["y"])])
    made.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**6, 10**6]))
    tensor = read(made, tmp_path).tensors["w"]
    assert (tensor.shape, tensor.initializer, tensor.sha256) == ((10**6, 10**6), True, None)


WRONG = {
    "needs 4000000000000 bytes, found 4": TensorProto(
        name="w", data_type=FLOAT, dims=[10**6, 10**6], raw_data=b"1234"
    ),
    "needs 3 values, found 1": TensorProto(name="w", data_type=FLOAT, dims=[3], float_data=[1]),
    "needs 1000 texts, found 0": TensorProto(name="w", data_type=TensorProto.STRING, dims=[1000]),
    "needs 2 bytes, found 1": TensorProto(
        name="w", data_type=TensorProto.INT4, dims=[3], raw_data=b"1"
    ),
    "has a negative size": TensorProto(name="w", data_type=FLOAT, dims=[-1]),
}


@pytest.mark.parametrize("message", WRONG)
def test_tensors_that_do_not_fill_their_shape(message: str, tmp_path: Path) -> None:
    with pytest.raises(ExtractError, match=message):
        read(graph([relu()], held=[WRONG[message]]), tmp_path)


def test_an_unknown_element_type_is_kept(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=99, dims=[2], raw_data=b"12")
    assert read(graph([relu()], held=[tensor]), tmp_path).tensors["w"].dtype == ""


# ------------------------------------------------------------------------ external data


def external(folder: Path, location: str, **more: str) -> GraphProto:
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[20])
    tensor.data_location = TensorProto.EXTERNAL
    for key, item in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=item)
    (folder / "w.bin").write_bytes(b"\0" * 8 + np.arange(20, dtype=np.float32).tobytes())
    return graph([relu()], held=[tensor])


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    document = read(external(tmp_path, "w.bin", offset="8", length="80"), tmp_path)
    assert np.array_equal(array(document, "w"), np.arange(20, dtype=np.float32))
    assert np.array_equal(
        array(read(external(tmp_path, "w.bin", offset="8"), tmp_path), "w")[:2], [0, 1]
    )


@pytest.mark.parametrize(
    ("location", "more", "message"),
    [
        ("absent.bin", {}, "no such file beside the model"),
        ("", {}, "expected a file in the folder"),
        (".", {}, "expected a file in the folder"),
        ("../w.bin", {}, "expected a file in the folder"),
        ("a/../../w.bin", {}, "expected a file in the folder"),
        ("/etc/passwd", {}, "expected a file in the folder"),
        ("C:\\w.bin", {}, "expected a file in the folder"),
        ("..\\w.bin", {}, "expected a file in the folder"),
        ("link.bin", {}, "is a link that leaves the folder"),
        ("w.bin", {"offset": "9"}, "79 bytes, the shape needs 80"),
        ("w.bin", {"offset": "16", "length": "80"}, "ends 8 bytes too early"),
        ("w.bin", {"length": "99999999999999"}, "the shape needs 80"),
        ("w.bin", {"offset": "-8"}, "expected a number of bytes"),
        ("w.bin", {"offset": "x"}, "expected a number of bytes"),
    ],
)
def test_external_data_that_is_refused(
    location: str, more: dict[str, str], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(b"\0" * 80)
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ExtractError, match=message) as caught:
        read(external(folder, location, **more), folder)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------ graphs and names


def test_a_branch_captures_what_is_outside(tmp_path: Path) -> None:
    inner = [
        helper.make_node("QuantizeLinear", ["d", "s"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["m"]),
    ]
    branches = {
        "then_branch": graph(inner, "", "m"),
        "else_branch": graph([relu("d", "e")], "", "e"),
    }
    nodes = [
        helper.make_node("If", ["c"], ["y"], **branches),  # before what its branches read
        helper.make_node("DequantizeLinear", ["k", "s"], ["d"]),
    ]
    held = [
        numpy_helper.from_array(np.array(0.5, np.float32), "s"),
        numpy_helper.from_array(np.ones((2, 2), np.uint8), "k"),
        numpy_helper.from_array(np.ones((2, 2), np.float32), "w"),
    ]
    document = read(graph(nodes, "c", "y", held), tmp_path)
    assert [o.op_type for o in document.operations] == ["DequantizeLinear", "If"]
    then = document.operations[1].graphs["then_branch"]
    assert then.operations[0].quantization["y"].scale_values == (0.5,)
    assert set(then.tensors) == {"q", "t", "m"}
    assert (then.tensors["q"].dtype, then.tensors["q"].shape) == ("uint8", (2, 2))
    assert (document.tensors["w"].role, document.tensors["s"].role) == ("weight", "scale")
    assert document.op_type_counts["DequantizeLinear"] == 2


def test_functions_of_the_model(tmp_path: Path) -> None:
    body = [
        helper.make_node("Constant", [], ["s"], value_float=0.25),
        helper.make_node("QuantizeLinear", ["a", "s"], ["q"]),
        helper.make_node("LeakyRelu", ["a"], ["b"]),
    ]
    body[2].attribute.add(name="alpha", ref_attr_name="slope", type=1)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    function = helper.make_function("local", "F", ["a"], ["q", "b"], body, imports[:1], ["slope"])
    call = helper.make_node("F", ["x"], ["y", "z"], domain="local", slope=0.5)
    made = helper.make_model(graph([call], "x", "y z"), opset_imports=imports, functions=[function])
    document = read(made, tmp_path)
    (held,) = document.functions
    assert (held.domain, held.name, dict(held.opset_imports)) == ("local", "F", {"": 17})
    assert held.graph.operations[1].quantization["y"].scale_values == (0.25,)
    assert held.graph.operations[2].attributes == {"alpha": {"attribute": "slope"}}
    assert document.total_nodes == 4


def test_names_are_kept_and_missing_ones_made(tmp_path: Path) -> None:
    odd = ["17", "a;b:0/c", "\"q'{}", "слой\n", "Relu_1", "a.b"]
    names = ["x", *odd]
    given = ["17", "", "Relu_1", "17", "", "p\n"]
    nodes = [relu(*names[i : i + 2], name=given[i]) for i in range(6)]
    document = read(graph(nodes, "x", "a.b"), tmp_path)
    assert [o.outputs[0] for o in document.operations] == odd
    assert [o.name for o in document.operations] == [
        "17", "Relu_1_", "Relu_1", "17_3", "Relu_4", "p\n",
    ]  # fmt: skip


def test_initializers_that_are_inputs_are_no_inputs(tmp_path: Path) -> None:
    held = numpy_helper.from_array(np.array(2, np.float32), "k")
    made = graph([helper.make_node("Mul", ["x", "k"], ["y"])], "x k", "y", [held])
    document = read(made, tmp_path, ir_version=3)
    assert document.graph.inputs == ("x",)
    assert (document.tensors["k"].initializer, document.ir_version) == (True, 3)


def test_dimensions_of_all_kinds(tmp_path: Path) -> None:
    made = graph([relu()])
    del made.input[:]
    made.input.append(value("x", ["floor(h/2)", "", 3, None]))
    made.input[0].type.tensor_type.shape.dim.add(dim_value=-1)
    document = read(made, tmp_path)
    shape = ("floor(h/2)", None, 3, None, None)
    assert [t.shape for t in document.tensors.values()] == [shape, shape]


def test_a_domain_spelled_two_ways(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("ai.onnx", 18), helper.make_opsetid("", 17)]
    made = helper.make_model(graph([relu(domain="ai.onnx")]), opset_imports=imports)
    document = read(made, tmp_path)
    assert dict(document.opset_imports) == {"": 18}
    assert document.operations[0].domain == ""


def test_attributes_become_plain_values(tmp_path: Path) -> None:
    big = numpy_helper.from_array(np.arange(100, dtype=np.int8))
    small = numpy_helper.from_array(np.array([0.1], np.float32))
    attributes: dict[str, Any] = {
        "i": 3, "f": 0.1, "s": "слово", "b": b"\xff", "ints": [1, 2], "floats": [0.1, float("inf")],
        "strings": ["a", b"\xfe"], "big": big,
        "small": small, "kind": helper.make_tensor_type_proto(1, [2]),
    }  # fmt: skip
    node = helper.make_node("Anything", ["x"], ["y"], domain="some.where", **attributes)
    document = read(graph([node]), tmp_path)
    held = dict(document.operations[0].attributes)
    tensor = held.pop("big")["tensor"]
    assert tensor["shape"] == [100]
    assert document.data[tensor["sha256"]] == bytes(range(100))
    assert held.pop("small")["tensor"]["values"] == [0.1]
    assert held == {
        "i": 3, "f": 0.1, "s": "слово", "b": {"bytes": "ff"}, "ints": [1, 2],
        "floats": [0.1, float("inf")], "strings": ["a", {"bytes": "fe"}],
        "kind": {"type": "float32"},
    }  # fmt: skip


SHORT: dict[str, Any] = {
    "value_float": (0.5, "float32", ()),
    "value_floats": ([0.5], "float32", (1,)),
    "value_int": (-3, "int64", ()),
    "value_ints": ([1, 2], "int64", (2,)),
    "value_string": ("a", "string", ()),
    "value_strings": (["a", "b"], "string", (2,)),
}


@pytest.mark.parametrize("form", SHORT)
def test_constants_without_a_tensor(form: str, tmp_path: Path) -> None:
    held, dtype, shape = SHORT[form]
    node = helper.make_node("Constant", [], ["y"], **{form: held})
    tensor = read(graph([node], ""), tmp_path).tensors["y"]
    assert (tensor.dtype, tensor.shape, tensor.role) == (dtype, shape, "constant")
    assert tensor.values == (tuple(held) if isinstance(held, list) else (held,))
