"""The document that fuse makes, against the graph that onnxruntime makes: structure and numbers."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from optimized import INT8, compare, session
from test_fuse import OPERATORS, TYPES, Maker, unit

from qdqdoc.document import array, check, dumps, loads
from qdqdoc.execute import ExecuteError, execute
from qdqdoc.extract import extract
from qdqdoc.fuse import fuse
from qdqdoc.operators import OPERATORS as OPERATORS_OF_OURS

if TYPE_CHECKING:
    from pathlib import Path

    from qdqdoc.document import Document
    from qdqdoc.numerics.formats import Array

FLOATS = frozenset(
    {"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "Sigmoid", "Tanh", "Erf"}
    | {"Softmax", "ReduceMean", "GlobalAveragePool", "AveragePool", "MatMulNBits"}
)
"""Operators whose last bits onnxruntime's order of additions or its polynomials decide."""

FOLLOWED = frozenset({"QuantizeLinear", "DequantizeLinear", "Reshape", "Relu", "Clip", "Add"})
"""What stands behind one of them in these models, and carries a step on."""

pytestmark = pytest.mark.usefixtures("as_the_targets_say")

KINDS = (*product(("uint8", "int8"), ("uint8", "int8")), ("int16", "int8"))
WAYS = ("", "no Q", "another scale", "Relu at the rail", "Clip", "a fork before")
TARGETS = ("ort-x86", INT8)


def shuffled(model: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Give every stored tensor of codes and floats other values, so that numbers tell."""
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.ndim and tensor.data_type in {TYPES[k] for k in ("int8", "uint8", "int4")}:
            flat = rng.integers(0 if tensor.data_type == TensorProto.UINT8 else -7, 8, value.size)
            tensor.CopyFrom(
                helper.make_tensor(tensor.name, tensor.data_type, value.shape, flat.tolist())
            )
        elif value.ndim == 4 or (value.ndim == 1 and value.dtype == np.int32):  # weights, biases
            noise = (rng.normal(size=value.shape) * 90).astype(value.dtype)
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(noise), tensor.name))
    return model


def feeds(model: ModelProto, rng: np.random.Generator) -> dict[str, Array]:
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    return {name: rng.normal(size=shape).astype(np.float32) * 3 for name, shape in shapes.items()}


def compared(model: ModelProto, folder: Path) -> Counter[str]:
    """Compare under both targets; return how many values of each kind were compared."""
    path, found = folder / "model.onnx", Counter[str]()
    onnx.save(model, path)
    for target in TARGETS:
        if fuse(extract(path), target).refused:
            continue
        seen = compare(path, target, feeds(model, np.random.default_rng(1)), folder)
        # A Relu or Clip is done by the FusedConv before it, or a Relu by the Clip behind it.
        written = {node.op_type for node in model.graph.node}
        joined = "FusedConv" in seen.operators or {"Relu", "Clip"} <= written
        assert not seen.lacking or joined, (target, seen)
        kinds = [op_type for _, op_type, _ in seen.differing]
        assert set(kinds) <= FLOATS | FOLLOWED, (target, seen)
        assert not kinds or FLOATS & set(kinds), (target, seen)
        assert seen.steps <= 1, (target, seen)
        found[target] += seen.values
        found["equal"] += seen.values - sum(count for _, _, count in seen.differing)
    return found


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_same_graph_and_the_same_numbers(operator: str, tmp_path: Path) -> None:
    found, rng = Counter[str](), np.random.default_rng(0)
    for data, weights in KINDS:
        found += compared(shuffled(unit(operator, data, weights).model(), rng), tmp_path)
    for way, data in product(WAYS, ("uint8", "int8")):
        found += compared(shuffled(unit(operator, data, "int8", way).model(), rng), tmp_path)
    assert found["equal"] > 1000
    assert found["ort-x86"] > 1000


def weights_alone(kind: str, op_type: str = "MatMul", zero_point: str = "", **grid: Any) -> Maker:  # noqa: ANN401 - attributes
    """Make a product of floats with weights of few bits."""
    m, rng = Maker(25 if "2" in kind else 21), np.random.default_rng(2)
    rows, columns = 40, 4 if "2" in kind else 3
    size = grid.get("block_size", 0)
    shape = (-(-rows // size), columns) if size else (columns,) if "axis" in grid else ()
    low, high = (0, 3) if kind == "uint2" else (-2, 1) if kind == "int2" else (0, 7)
    codes = m.store(rng.integers(low, high, (rows, columns), endpoint=True), kind)
    given = [m.store(rng.uniform(0.1, 1, shape).astype(np.float32))]
    if zero_point:
        given.append(m.store(rng.integers(low, high, shape, endpoint=True), kind))
    x = m.input(5, rows)
    made = m.node("DequantizeLinear", codes, *given, **grid)
    bias = [m.store(rng.normal(size=columns).astype(np.float32))] if op_type == "Gemm" else []
    m.result(m.node(op_type, x, made, *bias))
    return m


def bound_of(document: Document, given: dict[str, Array]) -> Array:
    """Return how far onnxruntime may be off: the bound that the operator itself states."""
    (operation,) = document.operations
    operator = OPERATORS_OF_OURS[operation.domain, operation.op_type]
    inputs = [
        given[n] if n in given else array(document, n) if n else None for n in operation.inputs
    ]
    (bound,) = operator.bounds
    call = operator.call_of(inputs, operation.attributes, opset=document.opset_version)
    return np.asarray(bound.ulp * bound.unit(call))


@pytest.mark.parametrize("op_type", ["MatMul", "Gemm"])
@pytest.mark.parametrize("kind", ["int2", "uint2", "int4", "uint4", "int8", "uint8"])
def test_weights_of_few_bits_are_packed_as_onnxruntime_packs_them(
    kind: str, op_type: str, tmp_path: Path
) -> None:
    for zero_point, grid in product(("", "z"), ({"axis": 0, "block_size": 16}, {"axis": 1}, {})):
        TYPES.setdefault("int2", TensorProto.INT2)
        path = tmp_path / "m.onnx"
        path.write_bytes(
            weights_alone(kind, op_type, zero_point, **grid).model().SerializeToString()
        )
        document = extract(path)
        made = fuse(document).document
        assert [o.op_type for o in made.operations] == ["MatMulNBits"], (zero_point, grid)
        model = onnx.load(path)
        x = feeds(model, np.random.default_rng(3))
        seen = compare(path, "ort-x86", x, tmp_path)
        # The last block is padded; what stands there is nobody's business.
        assert len(seen.lacking) <= 1
        (theirs,) = seen.outputs.values()
        (ours,) = execute(document, x, "ort").results().values()
        allowed = bound_of(made, x)
        assert (np.abs(ours - theirs) <= allowed).all(), (zero_point, grid)


@pytest.mark.parametrize("columns", [3, 4, 6])
def test_columns_of_two_bits_that_do_not_fill_bytes(columns: int, tmp_path: Path) -> None:
    m, rng = Maker(25), np.random.default_rng(0)
    codes = m.store(rng.integers(0, 3, (40, columns), endpoint=True), "uint2")
    scale = m.store(np.ones((3, columns), np.float32))
    x = m.input(40, 40)
    made = m.node("DequantizeLinear", codes, scale, axis=0, block_size=16)
    m.result(m.node("MatMul", x, made))
    document = extract(m.save(tmp_path))
    given = {x: np.eye(40, dtype=np.float32)}
    plain, fused = (
        session(tmp_path / "model.onnx", level).run(None, given)[0]
        for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_EXTENDED")
    )
    (ours,) = execute(document, given).results().values()
    assert np.array_equal(ours, plain)
    assert np.array_equal(plain, fused) == (columns == 4)
    if columns == 4:
        execute(document, given, "ort")
    else:
        with pytest.raises(ExecuteError, match="packs weights of 2 bits wrongly"):
            execute(document, given, "ort")


def test_a_document_that_was_made_is_a_document(tmp_path: Path) -> None:
    for operator in OPERATORS:
        path = unit(operator, "int8", "int8").save(tmp_path)
        made = fuse(extract(path), INT8).document
        assert not check(made), operator
        again = loads(dumps(made))
        assert again.op_type_counts == made.op_type_counts


def test_codes_that_moved_are_named(tmp_path: Path) -> None:
    path = unit("Conv with bias", "int8", "int8").save(tmp_path)
    document = extract(path)
    default, allowed = fuse(document), fuse(document, INT8)
    assert not allowed.shifted
    assert set(default.shifted.values()) == {128}
    x = feeds(onnx.load(path), np.random.default_rng(4))
    left, right = execute(document, x, "ort"), execute(document, x, INT8)
    for name, shift in default.shifted.items():
        assert np.array_equal(left[name].astype(int), right[name].astype(int) + shift), name


def test_a_quantized_weight_spans_the_weight_and_zero(tmp_path: Path) -> None:
    m = Maker()
    weight = np.random.default_rng(6).normal(3, 1, (4, 4, 3, 3)).astype(np.float32)
    bias = np.array([1, -2, 1e3, 0.004], np.float32)
    m.result(
        m.pair(
            m.node("Conv", m.pair(m.input(1, 4, 8, 8), "uint8"), m.store(weight), m.store(bias)),
            "uint8",
        )
    )
    found = compared(m.model(), tmp_path)
    assert found["equal"] == found["ort-x86"] + found[INT8]
    made = fuse(extract(tmp_path / "model.onnx")).document
    (conv,) = (o for o in made.operations if o.op_type == "QLinearConv")
    scale, zero = (array(made, conv.inputs[k]) for k in (4, 5))
    assert zero == -128
    assert scale == np.float32(weight.max()) / np.float32(255)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_two_pairs_that_follow_each_other_share_a_grid(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    low = 0 if kind == "uint8" else -128
    for _ in range(20):
        m = Maker()
        x = m.input(1, 4, 8, 8)
        for scale, zero in zip(rng.uniform(0.01, 0.1, 2), rng.integers(0, 256, 2), strict=True):
            x = m.pair(x, kind, float(scale), int(zero) + low)
        m.result(m.node("Erf", x))
        found = compared(m.model(), tmp_path)
        assert found["ort-x86"] > 500
        counts = fuse(extract(tmp_path / "model.onnx")).counts
        assert counts["QuantizeLinear"] == 1


def test_reshapes_that_follow_each_other_are_joined(tmp_path: Path) -> None:
    m = Maker()
    x = m.pair(m.input(1, 4, 8, 8), "uint8")
    between = m.node("Reshape", x, m.store(np.array([4, 64], np.int64)))
    m.result(
        m.pair(m.node("Reshape", between, m.store(np.array([1, -1], np.int64))), "uint8", 0.07)
    )
    found = compared(m.model(), tmp_path)
    assert found["ort-x86"] > 500
    assert fuse(extract(tmp_path / "model.onnx")).counts["Reshape"] == 1
