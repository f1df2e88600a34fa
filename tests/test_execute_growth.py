"""No operator takes memory before the limit has been asked, however small its inputs are."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from test_execute_onnx_cases import cases, plain

from qdqdoc.document import Document, Graph, Operation, Tensor
from qdqdoc.execute import ExecuteError, execute
from qdqdoc.execute.attributes import Place, attributes_of
from qdqdoc.execute.growth import announced
from qdqdoc.execute.reference import Reference, refusal
from qdqdoc.extract import extract
from qdqdoc.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qdqdoc.registry import Operator

LIMIT = 10**7
FEW = 256
"""Bytes that an operator may make of nothing, and need not announce."""
CONTRIB = "com.microsoft"


def alone(op_type: str, inputs: Sequence[Any], opset: int, **attributes: Any) -> Document:  # noqa: ANN401 - any
    """Make a document of one operation; nobody knows a shape before it runs."""
    domain = CONTRIB if (CONTRIB, op_type) in OPERATORS and op_type not in BOTH else ""
    names = tuple(f"i{n}" if value is not None else "" for n, value in enumerate(inputs))
    held = [Tensor(name=n, dtype=kind(v)) for n, v in zip(names, inputs, strict=True) if n]
    node = Operation(
        name="grows",
        op_type=op_type,
        domain=domain,
        inputs=names,
        outputs=("y",),
        attributes=attributes,
    )
    graph = Graph(
        inputs=tuple(t.name for t in held),
        outputs=("y",),
        operations=(node,),
        tensors={t.name: t for t in (*held, Tensor(name="y", dtype=""))},
    )
    return Document(model_path="made", graph=graph, opset_imports={"": opset, CONTRIB: 1})


BOTH = {"QLinearConv", "DequantizeLinear", "QuantizeLinear"}


def kind(value: Any) -> str:  # noqa: ANN401 - an array
    return "string" if value.dtype.kind == "O" else str(value.dtype)


def ones(*shape: int, dtype: str = "float32") -> Any:  # noqa: ANN401 - an array
    return np.ones(shape, dtype)


def sizes(*values: int) -> Any:  # noqa: ANN401 - an array
    return np.array(values, np.int64)


COLUMN, ROW = ones(20_000, 1), ones(1, 20_000)
CODES, ACROSS = ones(20_000, 1, dtype="uint8"), ones(1, 20_000, dtype="uint8")
IMAGE, SMALL = ones(1, 1, 3, 3), ones(1, 1, 2, 2)
S, Z = np.float32(1), np.uint8(0)
ZEROS = np.zeros(20_000, np.int64)
FAR = [20_000] * 4

GROWING: list[tuple[str, list[Any], int, dict[str, Any]]] = [
    *((name, [COLUMN, ROW], 21, {}) for name in ("Add", "Div", "Less", "Max", "Mean", "Pow")),
    ("And", [COLUMN > 0, ROW > 0], 21, {}),
    ("Add", [COLUMN, ROW], 9, {}),
    ("BitShift", [CODES, ACROSS], 21, {"direction": "LEFT"}),
    ("Where", [COLUMN > 0, S, ROW], 21, {}),
    ("PRelu", [COLUMN, ROW], 21, {}),
    ("LayerNormalization", [COLUMN, ROW], 21, {}),
    ("BatchNormalization", [COLUMN, *[ones(20_000)] * 4], 21, {}),
    ("MatMul", [COLUMN, ROW], 21, {}),
    ("MatMul", [COLUMN.astype(np.float64), ROW.astype(np.float64)], 21, {}),
    ("Gemm", [ROW, ROW], 21, {"transA": 1}),
    ("Einsum", [COLUMN[:, 0], ROW[0]], 21, {"equation": "i,j->ij"}),
    ("Conv", [IMAGE, SMALL], 21, {"pads": FAR}),
    ("ConvTranspose", [IMAGE, SMALL], 21, {"strides": [20_000, 20_000]}),
    ("MaxPool", [IMAGE], 21, {"kernel_shape": [20_000] * 2, "pads": [19_999] * 4}),
    ("MaxPool", [IMAGE.astype(np.uint8)], 21, {"kernel_shape": [20_000] * 2, "pads": [19_999] * 4}),
    ("AveragePool", [ones(1, 1, 150, 150)], 21, {"kernel_shape": [70, 70]}),
    (
        "MaxUnpool",
        [SMALL, ZEROS[:4].reshape(1, 1, 2, 2), sizes(1, 1, *FAR[:2])],
        21,
        {"kernel_shape": [1, 1]},
    ),
    ("Col2Im", [ones(1, 4, 9), sizes(*FAR[:2]), sizes(2, 2)], 21, {}),
    ("GridSample", [ones(1, 5000, 1, 1), ones(1, 100, 100, 2)], 21, {}),
    (
        "RoiAlign",
        [IMAGE, ones(1, 4), ZEROS[:1]],
        21,
        {"output_height": 20_000, "output_width": 20_000},
    ),
    ("Gather", [ROW, ZEROS], 21, {}),
    ("GatherND", [ROW, ZEROS[:, None]], 21, {}),
    ("ConstantOfShape", [sizes(*FAR[:2])], 21, {}),
    ("Expand", [ROW, sizes(20_000, 1)], 21, {}),
    ("Tile", [ROW, sizes(20_000, 1)], 21, {}),
    ("Range", [sizes(0)[0], sizes(10**9)[0], sizes(1)[0]], 21, {}),
    ("Pad", [SMALL, sizes(*[0] * 6, 20_000, 20_000)], 21, {}),
    ("CenterCropPad", [SMALL, sizes(1, 1, *FAR[:2])], 21, {}),
    ("OneHot", [ZEROS, sizes(20_000)[0], np.array([0, 1], np.int8)], 21, {}),
    ("OneHot", [ZEROS, S * 20_000, np.array([0, 1], np.int8)], 21, {}),
    ("Resize", [SMALL, None, np.array([1, 1, 10_000, 10_000], np.float32)], 21, {}),
    ("Resize", [SMALL, None, None, sizes(*FAR[:2])], 21, {"axes": [-2, -1]}),
    ("Upsample", [SMALL, np.array([1, 1, 10_000, 10_000], np.float32)], 9, {}),
    *((f"{name}Window", [sizes(10**9)[0]], 21, {}) for name in ("Hann", "Hamming", "Blackman")),
    ("MelWeightMatrix", [*(n for n in sizes(20_000, 40_000, 16_000)), S, S * 2], 21, {}),
    ("DFT", [ones(1, 10, 1), sizes(10**9)[0]], 20, {}),
    ("LSTM", [ones(20_000, 1, 1), ones(1, 800, 1), ones(1, 800, 200)], 21, {"hidden_size": 200}),
    (
        "TfIdfVectorizer",
        [sizes(1, 2)],
        21,
        {
            "max_gram_length": 1,
            "min_gram_length": 1,
            "max_skip_count": 0,
            "mode": "TF",
            "ngram_counts": [0],
            "ngram_indexes": [10**9],
            "pool_int64s": [1],
        },
    ),
    ("NonZero", [np.ones((1,) * 20 + (100_000,), bool)], 21, {}),
    ("StringConcat", [np.array([["a"]] * 2000, object), np.array(["b"] * 2000, object)], 21, {}),
    ("StringConcat", [np.array(["a" * 6 * 10**6], object)] * 2, 21, {}),
    ("StringSplit", [np.array(["a"] * 2000 + ["a," * 2000], object)], 21, {"delimiter": ","}),
    ("MatMulInteger", [CODES, ACROSS], 21, {}),
    ("QLinearMatMul", [CODES, S, Z, ACROSS, S, Z, S, Z], 21, {}),
    ("ConvInteger", [IMAGE.astype(np.uint8), SMALL.astype(np.uint8)], 21, {"pads": FAR}),
    (
        "QLinearConv",
        [IMAGE.astype(np.uint8), S, Z, SMALL.astype(np.uint8), S, Z, S, Z],
        21,
        {"pads": FAR},
    ),
    ("QLinearAdd", [CODES, S, Z, ACROSS, S, Z, S, Z], 21, {}),
    ("QLinearMul", [CODES, S, Z, ACROSS, S, Z, S, Z], 21, {}),
    ("QLinearWhere", [COLUMN > 0, Z, S, Z, ACROSS, S, Z, S, Z], 21, {}),
    (
        "QLinearAveragePool",
        [ones(1, 1, 150, 150, dtype="uint8"), S, Z, S, Z],
        21,
        {"kernel_shape": [70, 70]},
    ),
    (
        "NhwcMaxPool",
        [ones(1, 3, 3, 1, dtype="uint8")],
        21,
        {"kernel_shape": [20_000] * 2, "pads": [19_999] * 4},
    ),
    ("QGemm", [ACROSS, S, Z, ACROSS, S, Z], 21, {"transA": 1}),
    ("MatMulInteger16", [COLUMN.astype(np.int16), ROW.astype(np.int16)], 21, {}),
    ("MatMulIntegerToFloat", [CODES, ACROSS, S, S], 21, {}),
    ("DynamicQuantizeMatMul", [COLUMN, ACROSS, S], 21, {}),
    (
        "MatMulNBits",
        [ones(20_000, 32), ones(5000, 1, 16, dtype="uint8"), ones(5000)],
        21,
        {"K": 32, "N": 5000, "bits": 4, "block_size": 32},
    ),
    (
        "MatMulBnb4",
        [ones(20_000, 16), ones(8 * 5000, dtype="uint8"), ones(5000)],
        21,
        {"K": 16, "N": 5000, "block_size": 16, "quant_type": 0},
    ),
    ("MatMulFpQ4", [ones(20_000, 32), ones(21 * 5000, dtype="uint8"), sizes(32, 5000)], 21, {}),
    (
        "GatherBlockQuantized",
        [ones(1, 4096, dtype="uint8"), ZEROS, ones(1, 64)],
        21,
        {"block_size": 128},
    ),
    ("QMoE", [ones(20_000, 16), ones(20_000, 2), ones(2, 5000, 8, dtype="uint8")], 21, {}),
    (
        "DynamicQuantizeLSTM",
        [
            ones(20_000, 1, 1),
            ones(1, 1, 800, dtype="int8"),
            ones(1, 200, 800, dtype="int8"),
            None,
            None,
            None,
            None,
            None,
            ones(1),
            ones(1, dtype="int8"),
            ones(1),
            ones(1, dtype="int8"),
        ],
        21,
        {"hidden_size": 200},
    ),
    (
        "QAttention",
        [ones(1, 4000, 2, dtype="uint8"), ones(2, 6, dtype="uint8"), ones(6), S, S],
        21,
        {"num_heads": 1},
    ),
    (
        "QEmbedLayerNormalization",
        [np.zeros((1, 20_000), np.int32), None, ones(2, 2000, dtype="uint8")],
        21,
        {},
    ),
]


@pytest.mark.parametrize(
    ("op_type", "inputs", "opset", "attributes"),
    GROWING,
    ids=[f"{row[0]}-{n}" for n, row in enumerate(GROWING)],
)
def test_the_limit_is_asked_before_memory_is_taken(
    op_type: str, inputs: list[Any], opset: int, attributes: dict[str, Any]
) -> None:
    arrays = [v if v is None else np.asarray(v) for v in inputs]
    document = alone(op_type, arrays, opset, **attributes)
    given = {f"i{n}": value for n, value in enumerate(arrays) if value is not None}
    limit = sum(value.nbytes for value in given.values()) + LIMIT
    tracemalloc.start()
    try:
        with pytest.raises(ExecuteError, match=rf"node 'grows' .*need more than {limit} bytes"):
            execute(document, given, limit=limit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit + LIMIT


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.full_name)
def test_what_is_ours_grows_as_announced(operator: Operator) -> None:
    """Outputs are announced or not much larger than the inputs, and not announced too large."""
    (newest,) = operator.versions[-1:]
    for call in operator.vectors():
        inputs = [call.inputs.get(name) for name in newest.inputs if name != newest.variadic]
        values = [value for value in (*inputs, *call.more) if value is not None]
        taken = sum(value.nbytes for value in values)
        made = operator.run(call)[0].nbytes
        more = announced(operator.name, [*inputs, *call.more], call.attributes)
        assert made <= max(more, 8 * taken + FEW), call.name
        assert more <= 64 * (taken + made) + FEW, call.name


def size(value: Any) -> int:  # noqa: ANN401 - an array, a sequence, nothing
    if isinstance(value, list):
        return sum(map(size, value))
    return 0 if value is None else int(np.asarray(value).nbytes)


def test_what_onnx_runs_grows_as_announced(tmp_path: Path) -> None:
    """By the shapes and values of onnx's own cases of one node."""
    told, counted = 0, 0
    for case in cases():
        (tmp_path / "m.onnx").write_bytes(case.model.SerializeToString())
        whole = extract(tmp_path / "m.onnx")
        place = Place(imports=whole.opset_imports)
        first = whole.operations[0]
        if len(whole.operations) > 1 or whole.functions or refusal(first, place.imports):
            continue
        if first.op_type == "ImageDecoder":  # Pillow has a limit of its own
            continue
        attributes = attributes_of(whole, first, place)
        for inputs, outputs in case.data_sets:
            named = dict(zip(whole.graph.inputs, map(plain, inputs), strict=True))
            given = [named.get(name) for name in first.inputs]
            made, taken = size([*map(plain, outputs)]), size(given)
            onnxs = Reference().announced(first, given, attributes, place.imports)
            more = max(announced(first.op_type, given, attributes), onnxs)
            assert made <= max(more, 8 * taken + FEW), case.name
            told += made <= more
            counted += 1
    assert told > 0.9 * counted > 1000
