"""Running a document: what is refused before any work, and what a trace is and says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdqdoc.document import Document, Graph, Operation, Tensor, dump, dumps, load, loads
from qdqdoc.execute import CONTRACTS, READY, ExecuteError, Trace, execute, save
from qdqdoc.extract import extract

if TYPE_CHECKING:
    from collections.abc import Iterable

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
RESNET8 = Path(__file__).parent.parent / "models" / "resnet8_int8.onnx"


def value(name: str, *shape: int | str, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def document(
    folder: Path,
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
    stored: dict[str, Any] | None = None,
    *,
    opset: int = 21,
    domains: Iterable[str] = (),
) -> Document:
    kept = [numpy_helper.from_array(np.asarray(v), k) for k, v in (stored or {}).items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), kept)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return extract(folder / "m.onnx")


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:  # noqa: ANN401 - any
    name = attributes.pop("name", op_type.lower())
    return helper.make_node(op_type, inputs.split(), outputs.split(), name=name, **attributes)


@pytest.fixture
def pair(tmp_path: Path) -> Document:
    ends = [value("left", "n", 2), value("right", "n", 2)]
    return document(tmp_path, [node("Add", "left right", "sum")], ends, [value("sum", "n", 2)])


ONES = np.ones((3, 2), np.float32)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"left": ONES}, "'right' is missing; needed: left: float32[n, 2], right: float32[n, 2]"),
        ({"left": ONES, "rihgt": ONES}, "found 'rihgt' (nearest: 'right'), allowed: left: "),
        ({"left": ONES, "right": ONES.astype(int)}, "'right': found int64, allowed: float32"),
        ({"left": ONES, "right": ONES[:, :1]}, "found shape [3, 1], allowed: right: float32[n, 2]"),
        ({"left": ONES, "right": ONES[0]}, "found shape [2], allowed: right: float32[n, 2]"),
        ({"left": ONES, "right": ONES[:2]}, "[n, 2], and n is 3 by input 'left'"),
    ],
)
def test_wrong_inputs_are_named(pair: Document, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ExecuteError) as caught:
        execute(pair, inputs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_contract_has_a_name() -> None:
    assert READY == ("qdq", "exact", "ort", "ort-x86", "ort-x86-int8", "ort-arm")
    assert [*CONTRACTS] == ["qdq", "exact", "ort", "q31", "gemmlowp"]


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ("q31", f"contract: found 'q31', which is not there yet; allowed: {', '.join(READY)}"),
        ("qqd", f"contract: found 'qqd' (nearest: 'qdq'); allowed: {', '.join(READY)}"),
    ],
)
def test_a_contract_that_nobody_follows_is_refused(
    pair: Document, contract: str, message: str
) -> None:
    with pytest.raises(ExecuteError) as caught:
        execute(pair, {"left": ONES, "right": ONES}, contract)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            node("Magic", "x", "y"),
            "node 'magic' (Magic): there is no such operator here",
        ),
        (
            node("Gelu", "x", "y", domain="com.microsoft"),
            "node 'gelu' (com.microsoft.Gelu): there is no such operator here",
        ),
        (
            node("Gelu", "x", "y", domain="nobody"),
            "node 'gelu' (nobody.Gelu): the model imports no version of the operator set 'nobody'",
        ),
        (node("RandomNormalLike", "x", "y"), "its result is random"),
    ],
)
def test_an_unknown_operator_is_named_before_any_work(
    tmp_path: Path, made: onnx.NodeProto, message: str
) -> None:
    whole = document(tmp_path, [made], [value("x", 2)], [value("y", 2)], domains=["com.microsoft"])
    with pytest.raises(ExecuteError) as caught:
        execute(whole, {})  # what is missing here would be found later
    assert message in str(caught.value)


def test_an_old_operator_is_named_before_any_work(tmp_path: Path) -> None:
    made = [node("QuantizeLinear", "x s", "y")]
    ends = [value("x", 2)], [value("y", 2, kind=TensorProto.UINT8)]
    whole = document(tmp_path, made, *ends, {"s": np.float32(1)}, opset=9)
    with pytest.raises(ExecuteError, match=r"node 'quantizelinear'.*found 9, allowed: 10"):
        execute(whole, {})


@pytest.mark.parametrize("op_type", ["Conv", "MatMul", "Gemm", "ReduceMean"])
@pytest.mark.parametrize(
    ("imports", "message"),
    [
        ({"": 6}, "found opset 6, allowed: 7 or newer"),
        ({}, "the model imports no version of the operator set 'ai.onnx'"),
    ],
)
def test_a_sum_of_no_known_version_is_named_before_any_work(
    op_type: str, imports: dict[str, int], message: str
) -> None:
    whole = replace(by_hand(operation(op_type, "x x", "z"), names="x z"), opset_imports=imports)
    with pytest.raises(ExecuteError) as caught:
        execute(whole, {})
    assert str(caught.value) == f"node 'z' ({op_type}): {message}"


def by_hand(*operations: Operation, names: str) -> Document:
    tensors = {name: Tensor(name=name, dtype="float32", shape=(2,)) for name in names.split()}
    graph = Graph(inputs=("x",), outputs=("z",), operations=operations, tensors=tensors)
    return Document(model_path="made.onnx", graph=graph, opset_imports={"": 21})


def operation(op_type: str, inputs: str, outputs: str) -> Operation:
    return Operation(
        name=outputs, op_type=op_type, inputs=(*inputs.split(),), outputs=(*outputs.split(),)
    )


def test_a_cycle_is_named() -> None:
    loop = by_hand(operation("Add", "x z", "y"), operation("Relu", "y", "z"), names="x y z")
    with pytest.raises(ExecuteError, match=r"made.onnx: operations\[0\], operations\[1\]: wait"):
        execute(loop, {"x": np.ones(2, np.float32)})


def test_a_value_that_is_not_there_is_named() -> None:
    whole = by_hand(operation("Add", "x w", "z"), names="x w z")
    stored = replace(whole.tensors["w"], initializer=True, sha256="0" * 64)
    whole = replace(whole, graph=replace(whole.graph, tensors={**whole.tensors, "w": stored}))
    with pytest.raises(ExecuteError, match=r"tensor 'w'.*load the .json beside its .npz"):
        execute(whole, {"x": np.ones(2, np.float32)})


def test_a_document_of_some_operations_is_refused() -> None:
    whole = replace(by_hand(operation("Relu", "x", "z"), names="x z"), declared_total=3)
    with pytest.raises(ExecuteError, match="found 1 of 3 operations"):
        execute(whole, {"x": np.ones(2, np.float32)})


def test_what_is_too_large_is_refused_before_any_work(pair: Document) -> None:
    with pytest.raises(ExecuteError) as caught:
        execute(pair, {"left": ONES, "right": ONES}, limit=20)
    assert str(caught.value) == (
        "node 'add' (Add): the tensors of the run need 24 bytes, allowed: 20; "
        "the largest is 'sum' with 24"
    )


@pytest.mark.parametrize(
    ("made", "stored"),
    [
        (node("ConstantOfShape", "size", "y"), 2**40),
        (node("Expand", "x size", "y"), [2**40, 2]),
        (node("Tile", "x size", "y"), [2**40]),
        (node("Range", "zero size one", "y"), 2**60),
        (node("Pad", "x size", "y"), [2**40, 0]),
    ],
)
def test_a_size_that_shows_itself_late_is_refused_before_memory_is_taken(
    tmp_path: Path, made: onnx.NodeProto, stored: int | list[int]
) -> None:
    # An operator between hides the size from those who infer shapes.
    kept: dict[str, Any] = {"offset": np.int64(0), "zero": np.int64(0), "one": np.int64(1)}
    size = np.asarray(stored, np.int64)
    feeds = {"x": np.ones(2, np.float32), "hidden": size.reshape(-1)}
    shape = [] if made.op_type == "Range" else list(size.reshape(-1).shape)
    nodes = [
        node("Add", "hidden offset", "shifted"),
        node("Reshape", "shifted form", "size"),
        made,
    ]
    kept["form"] = np.array(shape, np.int64)
    ends = [value("x", 2), value("hidden", "k", kind=INT64)], [value("y")]
    ends[1][0].type.tensor_type.ClearField("shape")
    whole = document(tmp_path, nodes, *ends, kept)
    with pytest.raises(ExecuteError, match=r"need more than 4294967296 bytes"):
        execute(whole, feeds)


def test_a_node_that_fails_is_named_with_what_it_was_given(tmp_path: Path) -> None:
    ends = [value("x", "n"), value("y", "m")], [value("z", "k")]
    whole = document(tmp_path, [node("Add", "x y", "z")], *ends)
    with pytest.raises(ExecuteError, match=r"node 'add' \(Add\): cannot be run on float32\[2\], f"):
        execute(whole, {"x": np.ones(2, np.float32), "y": np.ones(3, np.float32)})


def test_softmax_before_opset_13_takes_all_axes_together(tmp_path: Path) -> None:
    ends = [value("x", 2, 3, 4)], [value("y", 2, 3, 4)]
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    old, new = (
        execute(document(tmp_path, [node("Softmax", "x", "y")], *ends, opset=k), {"x": x})["y"]
        for k in (11, 13)
    )
    assert old.reshape(2, -1).sum(axis=1) == pytest.approx(1)
    assert new.sum(axis=2).ravel() == pytest.approx(1)


def test_operators_of_onnx_take_their_attributes(tmp_path: Path) -> None:
    nodes = [
        node("LeakyRelu", "x", "a", alpha=0.1),
        node("Transpose", "a", "b", perm=[1, 0]),
        node("Constant", "", "c", value_floats=[1.0, 2.0]),
        node("Concat", "b b", "d", axis=-1),
        node("Clip", "d low", "e"),
        node("LayerNormalization", "b c", "f", axis=-1),
        node("Constant", "", "g", value=numpy_helper.from_array(np.arange(40, dtype=np.int8))),
        node("ConstantOfShape", "h", "i", value=numpy_helper.from_array(np.array([7], np.int8))),
    ]
    ends = [value("x", 2, 3)], [value("e", 3, 4), value("f", 3, 2)]
    stored = {"low": np.float32(0), "h": np.array([2])}
    whole = document(tmp_path, nodes, *ends, stored)
    whole = replace(loads(dumps(whole)), data=whole.data)
    trace = execute(whole, {"x": np.array([[-1, 2, 3], [4, 5, 6]], np.float32)})
    assert trace["a"][0, 0] == np.float32(-1) * np.float32(0.1)
    assert trace["e"].tolist() == [[0, 4, 0, 4], [2, 5, 2, 5], [3, 6, 3, 6]]
    assert trace["c"].tolist() == [1, 2]
    assert trace["f"].shape == (3, 2)
    assert trace["g"].tolist() == [*range(40)]
    assert (trace["i"].dtype.name, trace["i"].tolist()) == ("int8", [7, 7])


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    nodes = [
        node("QuantizeLinear", "a/x s", "../q", output_dtype=TensorProto.INT4),
        node("Identity", "../q", "y"),
    ]
    ends = [value("a/x", "n")], [value("y", "n", kind=TensorProto.INT4)]
    whole = document(tmp_path, nodes, *ends, {"s": np.float32(1)})
    return execute(whole, {"a/x": np.array([-9, 2], np.float32)})


def test_a_trace_says_what_it_is(trace: Trace) -> None:
    assert (trace.model, trace.contract, trace.outputs) == ("m.onnx", "qdq", ("y",))
    assert trace.peers == {
        "qdqdoc": trace.peers["qdqdoc"],
        "numpy": np.__version__,
        "ml_dtypes": ml_dtypes.__version__,
        "onnx": onnx.__version__,
    }
    assert [(t.name, t.dtype, t.shape) for t in trace.tensors] == [
        ("a/x", "float32", (2,)),
        ("../q", "int4", (2,)),
        ("y", "int4", (2,)),
    ]
    assert trace.by_name["y"].sha256 == sha256(np.array([-8, 2], np.int8).tobytes()).hexdigest()
    with pytest.raises(ExecuteError, match=r"there is no tensor 'z'"):
        trace["z"]


def test_a_trace_cannot_be_changed(trace: Trace) -> None:
    with pytest.raises(FrozenInstanceError):
        trace.contract = "ort"  # type: ignore[misc] # that is the test
    for tensor in trace.tensors:
        with pytest.raises(ValueError, match="read-only"):
            tensor.value[0] = 1


def test_the_callers_arrays_stay_theirs(pair: Document) -> None:
    mine = ONES.copy()
    trace = execute(pair, {"left": mine, "right": mine})
    mine[0, 0] = 7
    assert trace["left"][0, 0] == 1


def test_a_trace_is_written_as_arrays_and_an_index(trace: Trace, tmp_path: Path) -> None:
    written = save(trace, tmp_path / "t.npz")
    assert written == (tmp_path / "t.npz", tmp_path / "t.json")
    index = json.loads(written[1].read_text("utf-8"))
    with np.load(written[0], allow_pickle=False) as held:
        assert held.files == [row["key"] for row in index["tensors"]]
        assert held.files == ["a%2Fx", "..%2Fq", "y"]
        for row in index["tensors"]:
            raw = held[row["key"]].tobytes()
            assert sha256(raw).hexdigest() == row["sha256"]
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in save(trace, tmp_path / "t.npz")] == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "t.json", "t.npz"]


def test_nothing_is_written_by_halves(trace: Trace, tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_bytes(b"old")
    (tmp_path / "t.json").mkdir()
    with pytest.raises(ExecuteError, match="is a directory"):
        save(trace, tmp_path / "t.npz")
    for wrong in ("t.zip", "no/t.npz"):
        with pytest.raises(ExecuteError, match=r"ends so|no such folder"):
            save(trace, tmp_path / wrong)
    assert (tmp_path / "t.npz").read_bytes() == b"old"
    assert not list(tmp_path.glob(".qdqdoc*"))


def test_our_operators_run_where_onnx_is_not_installed() -> None:
    lines = [
        "import sys; sys.modules['onnx'] = None",
        "import doctest, qdqdoc.execute as room",
        "assert not doctest.testmod(room).failed",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    subprocess.run(command, check=True, cwd=RESNET8.parent.parent)  # noqa: S603 - it stands here


def test_the_json_of_a_model_gives_the_numbers_of_the_model(tmp_path: Path) -> None:
    whole = extract(RESNET8)
    dump(whole, tmp_path / "r.json")
    x = np.random.default_rng(1).random((1, 32, 32, 3), np.float32)
    ours, theirs = (execute(d, {"image": x}) for d in (whole, load(tmp_path / "r.json")))
    assert ours.index() == theirs.index()
