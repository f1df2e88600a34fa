"""The facts about the committed models, against what onnx and NumPy read from the same files."""

from __future__ import annotations

import warnings
from collections import Counter
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from qdqdoc import facts
from qdqdoc.extract import extract
from qdqdoc.tables import Code, Table, show

if TYPE_CHECKING:
    from qdqdoc.document import Document

MODELS = Path(__file__).parents[1] / "models"
NAMES = sorted(path.stem for path in MODELS.glob("*.onnx"))
INT8 = "resnet8_int8"


@cache
def document(name: str) -> Document:
    return extract(MODELS / f"{name}.onnx")


@cache
def graph(name: str) -> onnx.GraphProto:
    return onnx.load(MODELS / f"{name}.onnx").graph


@cache
def stored(name: str) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in graph(name).initializer}


def text(table: Table) -> list[list[str]]:
    return [[show(cell) for cell in row] for row in table.rows]


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_can_be_shown_for_every_model(name: str) -> None:
    one = document(name)
    tables = [
        *(facts.identity(one), facts.node_counts(one), facts.group_patterns(one)),
        *(facts.dequantize_explained(one), facts.dataflow(one), facts.branch_table(one)),
        *(facts.scale_ratios(one), facts.naive_table(one), facts.placement(one)),
        *(facts.node_inputs(one), facts.naming(one), facts.granularity(one)),
        *(facts.all_quantizations(one), facts.memory_table(one), facts.memory_totals(one)),
        *(facts.computation(one), facts.accumulators(one), facts.pytorch(one)),
        facts.boundary(one),
    ]
    assert all(isinstance(table, Table) for table in tables)
    assert facts.unsized(one) == 0


@pytest.mark.parametrize("name", NAMES)
def test_dequantize_nodes_are_explained_exactly(name: str) -> None:
    nodes = graph(name).node
    q = [n for n in nodes if n.op_type == "QuantizeLinear"]
    dq = [n for n in nodes if n.op_type == "DequantizeLinear"]
    made = {n.output[0] for n in q}
    parts = facts.surplus(document(name))
    assert parts.dequantize == len(dq)
    assert parts.difference == len(dq) - len(q)
    assert sum(parts.stored.values()) == sum(n.input[0] in stored(name) for n in dq)
    assert parts.quantize - parts.unread + parts.again == sum(n.input[0] in made for n in dq)
    rows = facts.dequantize_explained(document(name)).rows
    numbers = [row[1] for row in rows if isinstance(row[1], int)]
    assert sum(numbers[:-1]) == numbers[-1] == len(dq)


def test_the_running_example_has_34_more_dequantize_nodes() -> None:
    parts = facts.surplus(document(INT8))
    assert (parts.quantize, parts.dequantize, parts.difference) == (32, 66, 34)
    assert parts.stored == {"weight": 10, "bias": 10, "constant": 14}
    assert (parts.unread, parts.again, parts.other) == (0, 0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_node_counts(name: str) -> None:
    counts = Counter(node.op_type for node in graph(name).node)
    rows = facts.node_counts(document(name)).rows
    assert {row[0]: row[2] for row in rows} == {**counts, "all": sum(counts.values())}


@pytest.mark.parametrize("name", NAMES)
def test_bytes_of_what_is_stored_are_those_in_the_file(name: str) -> None:
    total = sum(value.nbytes for value in stored(name).values())
    assert facts.stored_total(document(name))[0] == total


def test_bytes_by_role() -> None:
    reads = {n.input[0]: n for n in graph(INT8).node if n.op_type == "DequantizeLinear"}
    held = {name: value for name, value in stored(INT8).items() if name in reads}
    weights = [v for v in held.values() if v.ndim in {2, 4} and v.shape[2:] != (1, 1)]
    weights += [v for n, v in held.items() if "skip" in n and v.ndim == 4]
    scales = [v for n, v in stored(INT8).items() if v.dtype == np.float32]
    lines = {row[0]: row for row in facts.memory_totals(document(INT8)).rows}
    expected = sum(v.size for v in weights)
    assert lines["weights"][1:5] == (len(weights), expected, expected, 4 * expected)
    assert lines["scales"][1:5] == (len(scales), len(scales), 4 * len(scales), 0)


def test_a_model_without_codes_takes_as_much_as_float32() -> None:
    stored_bytes, as_float = facts.stored_total(document("resnet8"))
    assert stored_bytes == as_float == sum(v.nbytes for v in stored("resnet8").values())


@pytest.mark.parametrize("name", [INT8, "resnet8_uint8", "resnet8_int8_folded"])
def test_joins_have_the_scales_of_the_file(name: str) -> None:
    maker = {node.output[0]: node for node in graph(name).node}
    values = stored(name)
    expected = []
    for node in graph(name).node:
        sides = [maker.get(i) for i in node.input]
        both = [s for s in sides if s is not None and s.op_type == "DequantizeLinear"]
        live = [s for s in both if s.input[0] not in values]
        if node.op_type == "Add" and len(live) == 2:
            expected += [(node.name, s.input[0], values[s.input[1]][()]) for s in live]
    rows = facts.branch_table(document(name)).rows
    found = [(show(r[0]), show(r[2]), show(r[3])) for r in rows]
    assert found == [(join, side, str(scale)) for join, side, scale in expected]
    assert len(expected) == 6
    for row, left, right in zip(
        facts.scale_ratios(document(name)).rows, expected[::2], expected[1::2], strict=True
    ):
        pair = sorted([float(left[2]), float(right[2])])
        assert row[2] == float(f"{pair[1] / pair[0]:.4g}")


def test_naive_addition_of_the_first_join() -> None:
    values = stored(INT8)
    add = next(n for n in graph(INT8).node if n.name.endswith("stack1_add_1/Add"))
    maker = {node.output[0]: node for node in graph(INT8).node}
    left, right = (maker[name] for name in add.input)
    quantize = next(n for n in graph(INT8).node if n.input[0] == add.output[0])
    (s_a, z_a), (s_b, z_b) = (
        [Fraction(float(values[i])) for i in n.input[1:]] for n in (left, right)
    )
    step = Fraction(float(values[quantize.input[1]]))
    code = 64  # three quarters from -128 to 128
    true = s_a * (code - z_a) + s_b * (code - z_b)
    added = step * ((code - z_a) + (code - z_b))
    one = facts.naive_additions(document(INT8))[0]
    assert one.code == code
    assert one.error == added - true
    assert one.error_steps == (added - true) / step


def test_per_channel_tensors() -> None:
    name = "resnet8_int8_per_channel"
    nodes = [n for n in graph(name).node if n.op_type == "DequantizeLinear"]
    several = [n for n in nodes if stored(name)[n.input[1]].size > 1]
    assert facts.per_channel(document(name)) == len(several) == 19
    assert facts.per_channel(document(name), "weight") == 10
    assert facts.per_channel(document(INT8)) == 0


def test_dataflow_has_a_row_for_each_group() -> None:
    rows = text(facts.dataflow(document(INT8)))
    assert len(rows) == facts.summary(document(INT8)).groups == 33
    conv = rows[1]
    values = stored(INT8)
    node = next(n for n in graph(INT8).node if n.op_type == "Conv")
    quantize = next(n for n in graph(INT8).node if n.input[0] == node.output[0])
    assert conv[1:4] == ["DQ.Conv.Q", node.name, "0"]
    assert conv[5].split("×")[1:] == ["16", "32", "32"]
    assert conv[6] == "int8 → int8"
    assert conv[8] == str(values[quantize.input[1]][()])


def test_codes_that_are_only_moved_keep_their_scale() -> None:
    rows = text(facts.dataflow(document("resnet8_int8_qoperator")))
    reshape = next(row for row in rows if row[1] == "Reshape")
    assert reshape[7] == reshape[8] != "–"


def test_where_parameters_are_stored() -> None:
    rows = facts.placement(document(INT8)).rows
    initializers = {i.name for i in graph(INT8).initializer}
    boundary = [n for n in graph(INT8).node if n.op_type.endswith("eLinear")]
    scales = {n.input[1] for n in boundary}
    assert scales <= initializers
    counted = [row[3] for row in rows if row[0] == "scale" and row[2] == "initializer"]
    assert counted == [len(scales)]
    zero_points = {n.input[2] for n in boundary}
    assert sum(int(show(row[3])) for row in rows if row[0] == "zero point") == len(zero_points)


def test_names_are_described_as_they_are() -> None:
    rows = text(facts.naming(document(INT8)))
    assert rows[0][:4] == ["…_QuantizeLinear_Output", "…_scale", "…_zero_point", "30"]
    assert sum(int(row[3]) for row in rows) == 66


def test_what_stands_at_the_inputs_of_a_convolution() -> None:
    rows = text(facts.node_inputs(document("resnet8_int8_qoperator")))
    holds = [row[2] for row in rows if row[0] == "QLinearConv"]
    assert holds == [
        *("codes: x", "scale of x", "zero point of x"),
        *("codes: w", "scale of w", "zero point of w"),
        *("scale of y", "zero point of y", "bias"),
    ]


def test_pytorch_counts_every_group() -> None:
    one = document(INT8)
    rows = facts.pytorch(one).rows
    assert sum(int(show(row[1])) for row in rows) == facts.summary(one).groups
    conv = next(row for row in rows if show(row[0]) == "DQ.Conv.Q")
    assert conv[1:3] == (9, Code("torch.ao.nn.quantized.Conv2d"))
    assert facts.signed_activations(one) == 32
    assert facts.signed_activations(document("resnet8_uint8")) == 0


def test_form() -> None:
    forms = {name: facts.form(document(name)) for name in NAMES}
    assert forms["resnet8"] == "no quantized operators"
    assert forms["resnet8_int8_qoperator"] == "QOperator"
    assert {forms[n] for n in NAMES if n not in {"resnet8", "resnet8_int8_qoperator"}} == {"QDQ"}


def test_dynamic_quantization_is_told(tmp_path: Path) -> None:
    """It has neither Q nor DQ, and its integer products carry no scale."""
    path = tmp_path / "dynamic.onnx"
    with warnings.catch_warnings(action="ignore"):
        quantize_dynamic(MODELS / "resnet8.onnx", path, weight_type=QuantType.QUInt8)
    found = facts.summary(extract(path))
    assert found.form.startswith("dynamic")
    nodes = onnx.load(path).graph.node
    products = [n for n in nodes if n.op_type in {"ConvInteger", "MatMulInteger"}]
    assert found.integer_operators == len(products) > 0


@pytest.mark.parametrize("name", [INT8, "resnet8_int8_qoperator"])
def test_both_forms_of_a_network_have_the_same_weights_and_biases(name: str) -> None:
    roles = Counter(t.role for t in document(name).tensors.values() if t.initializer)
    # Nine convolutions and one dense layer.
    assert (roles["weight"], roles["bias"]) == (10, 10)
