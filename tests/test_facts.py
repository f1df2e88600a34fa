# ruff: noqa: ANN401 - keywords of any type are passed on
"""Facts about documents made by hand: what is missing, odd or unknown."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from qdqdoc import facts
from qdqdoc.document import Document, Graph, Operation, Quantization, Tensor
from qdqdoc.facts.branches import example_code
from qdqdoc.facts.memory import stored_bytes
from qdqdoc.tables import show

EMPTY = Document(model_path="empty.onnx", graph=Graph())


def codes(
    tensor: str, scale: float | None = 0.5, zero: int | None = 0, **more: Any
) -> Quantization:
    return Quantization(
        tensor=tensor,
        dtype="int8",
        scale=f"s_{tensor}",
        zero_point=None if zero is None else f"z_{tensor}",
        scale_values=None if scale is None else (scale,),
        zero_point_values=None if zero is None else (zero,),
        **more,
    )


def q(source: str, made: str, **more: Any) -> Operation:
    what = codes(made, **more)
    inputs = (source, what.scale, *([what.zero_point] if what.zero_point else []))
    return Operation(
        name=f"q_{made}",
        op_type="QuantizeLinear",
        inputs=inputs,
        outputs=(made,),
        quantization={"y": what},
    )


def dq(read: str, made: str, **more: Any) -> Operation:
    what = codes(read, **more)
    inputs = (read, what.scale, *([what.zero_point] if what.zero_point else []))
    return Operation(
        name=f"dq_{made}",
        op_type="DequantizeLinear",
        inputs=inputs,
        outputs=(made,),
        quantization={"x": what},
    )


def op(op_type: str, inputs: str, made: str) -> Operation:
    return Operation(name=made, op_type=op_type, inputs=tuple(inputs.split()), outputs=(made,))


def model(
    *operations: Operation, inputs: str = "x", outputs: str = "y", **tensors: Tensor
) -> Document:
    graph = Graph(
        inputs=tuple(inputs.split()),
        outputs=tuple(outputs.split()),
        operations=operations,
        tensors=tensors,
    )
    return Document(model_path="m.onnx", graph=graph, opset_imports={"": 21})


def residual(op_type: str = "Add", **right: Any) -> Document:
    return model(
        q("x", "a", scale=0.5, zero=10),
        dq("a", "a_real", scale=0.5, zero=10),
        dq("a", "a_again", scale=0.5, zero=10),
        op("Relu", "a_again", "b_real"),
        q("b_real", "b", **right),
        dq("b", "b_back", **right),
        op(op_type, "a_real b_back", "sum"),
        q("sum", "c", scale=0.25, zero=0),
        dq("c", "y", scale=0.25, zero=0),
    )


@pytest.mark.parametrize(
    "name",
    [
        *("dequantize_explained", "dataflow", "branch_table", "scale_ratios", "naive_table"),
        *("placement", "node_inputs", "naming", "granularity", "all_quantizations"),
        *("memory_table", "computation", "accumulators", "pytorch", "boundary"),
    ],
)
def test_an_empty_model_gives_tables_without_rows(name: str) -> None:
    rows = getattr(facts, name)(EMPTY).rows
    assert [row for row in rows if any(isinstance(cell, int) and cell for cell in row)] == []


def test_an_empty_model_has_no_numbers() -> None:
    assert facts.summary(EMPTY).form == "no quantized operators"
    assert facts.largest_activation(EMPTY) is None
    assert facts.stored_total(EMPTY) == (0, 0)
    assert facts.worked(EMPTY, "Conv") is None
    assert facts.cost(None, "m.onnx") is facts.cost({}, "m.onnx") is None
    assert facts.accuracy(None, "m.onnx").rows == facts.accuracy({}, "m.onnx").rows == ()


def test_shared_codes_are_counted_once_more() -> None:
    parts = facts.surplus(residual(scale=0.25, zero=-4))
    assert (parts.quantize, parts.again, parts.dequantize) == (3, 1, 4)


def test_codes_that_nobody_reads_and_codes_from_elsewhere() -> None:
    one = model(q("x", "a"), dq("given", "y"), inputs="x given")
    parts = facts.surplus(one)
    assert (parts.quantize, parts.unread, parts.other, parts.dequantize) == (1, 1, 1, 1)
    lines = facts.dequantize_explained(one).rows
    assert [row[1] for row in lines] == [1, -1, 1, 1]


def test_nodes_of_inner_graphs_count() -> None:
    inner = Graph(operations=(q("x", "i"), dq("i", "o")), outputs=("o",))
    branch = replace(op("If", "flag", "y"), graphs={"then_branch": inner})
    parts = facts.surplus(model(branch, inputs="x flag"))
    assert (parts.quantize, parts.dequantize, parts.difference) == (1, 1, 0)


def test_naive_addition_by_hand() -> None:
    (one,) = facts.naive_additions(residual(scale=0.25, zero=-4))
    # Code 64: 0.5 * (64 - 10) = 27 and 0.25 * (64 + 4) = 17; added: 0.25 * (54 + 68) = 30.5.
    assert one.code == 64
    assert [*one.values, one.added] == [27, 17, 30.5]
    assert [one.error, one.error_steps] == [-13.5, -54]
    row = facts.naive_table(residual(scale=0.25, zero=-4)).rows[0]
    assert row[1:] == (64, 27.0, 17.0, 44.0, 30.5, -13.5, -54.0)


def test_joins_without_known_scales_have_no_ratio() -> None:
    one = residual(scale=None, zero=-4)
    assert len(facts.branch_table(one).rows) == 2
    assert facts.scale_ratios(one).rows == ()
    assert facts.naive_additions(one) == ()


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf")])
def test_degenerate_scales_have_no_ratio(scale: float) -> None:
    assert facts.scale_ratios(residual(scale=scale, zero=0)).rows == ()


def test_only_sums_are_added_naively() -> None:
    one = residual("Concat", scale=0.25, zero=-4)
    assert facts.naive_additions(one) == ()
    assert len(facts.scale_ratios(one).rows) == 1
    assert facts.multiplied(one) == 0


def test_products_need_no_common_scale() -> None:
    one = residual("Mul", scale=0.25, zero=-4)
    assert facts.naive_additions(one) == ()
    assert facts.scale_ratios(one).rows == ()
    assert len(facts.branch_table(one).rows) == 2
    assert facts.multiplied(one) == 1


def test_an_example_code_lies_three_quarters_up() -> None:
    assert [example_code(t) for t in ("int8", "uint8", "int4")] == [64, 192, 4]


def test_zero_points_that_are_left_out() -> None:
    one = model(q("x", "a", zero=None), dq("a", "y", zero=None))
    assert [row[2] for row in facts.placement(one).rows] == [
        "input of the model",
        "left out, so it is 0",
    ]
    assert facts.all_quantizations(one).rows[0][5] == 0
    assert [show(cell) for cell in facts.naming(one).rows[0][:3]] == ["…a", "…s_a", "…"]


def test_parameters_of_a_constant_node() -> None:
    constant = Operation(name="k", op_type="Constant", inputs=(), outputs=("s_a",))
    one = model(
        constant,
        q("x", "a"),
        s_a=Tensor(name="s_a", dtype="float32", shape=(), role="scale"),
        z_a=Tensor(name="z_a", dtype="int8", shape=(), role="zero_point", initializer=True),
    )
    assert {row[:3] for row in facts.placement(one).rows} == {
        ("scale", "float32", "output of Constant"),
        ("zero point", "int8", "initializer"),
    }


def test_several_scales_are_told_by_their_ends() -> None:
    what = replace(codes("w"), scale_values=(0.5, 0.125, 2.0), granularity="per_axis", axis=0)
    read = replace(dq("w", "y"), quantization={"x": what})
    one = model(read, w=Tensor(name="w", dtype="int8", role="weight", initializer=True))
    row = facts.all_quantizations(one).rows[0]
    assert row[3:5] == ("per channel", "3 values, 0.125 … 2.0")
    assert facts.granularity(one).rows == (("weights", "int8", "per channel", 0, 1, 3),)
    assert facts.per_channel(one, "weight") == 1
    assert facts.per_channel(one, "bias") == 0


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        ("int8", (2, 3), 6),
        ("int4", (3,), 2),
        ("uint2", (5,), 2),
        ("float4e2m1", (3,), 2),
        ("float16", ("n", 3), 6),
        ("float32", (), 4),
        ("float32", None, None),
        ("string", (2,), None),
        ("int8", (0,), 0),
    ],
)
def test_bytes_of_a_tensor(dtype: str, shape: Any, expected: int | None) -> None:
    assert stored_bytes(Tensor(name="t", dtype=dtype, shape=shape)) == expected


def test_tensors_without_a_size_are_counted() -> None:
    one = model(op("Relu", "x", "a"), op("Relu", "a", "y"), a=Tensor(name="a", dtype="float32"))
    assert facts.unsized(one) == 2
    assert facts.footprints(one) == ()


def test_a_file_that_holds_q_and_dq_alone() -> None:
    one = replace(residual(scale=0.25, zero=0), declared_counts={"Conv": 3}, declared_total=3)
    assert facts.node_counts(one).rows[-1][2] == 3
    assert facts.summary(one).nodes == 3


def test_scales_keep_their_own_type() -> None:
    half = Tensor(name="s_a", dtype="float16", shape=(), role="scale", initializer=True)
    one = model(q("x", "a", scale=float(np.float16(0.1))), s_a=half)
    assert show(facts.all_quantizations(one).rows[0][4]) == "0.1"


def test_costs_are_those_of_the_manifest() -> None:
    def measured(correct: int) -> dict[str, Any]:
        return {"test_accuracy": {"correct": correct, "total": 8}, "bytes": 9}

    against = {"classes_changed": 2, "largest_probability_change": 0.5}
    manifest = {
        "files": {
            "f.onnx": measured(7),
            "m.onnx": {**measured(5), "compared_with_float": against},
            "notes.txt": {},
        }
    }
    found = facts.cost(manifest, "m.onnx")
    assert found is not None
    assert (found.lost, found.images, found.changed, found.float_model) == (2, 8, 2, "f.onnx")
    assert facts.cost(manifest, "f.onnx") is None
    rows = facts.accuracy(manifest, "m.onnx").rows
    assert [(show(row[0]), row[1], row[6]) for row in rows] == [
        ("f.onnx", "", 87.5),
        ("m.onnx", "yes", 62.5),
    ]


def test_numbers_in_four_digits() -> None:
    assert [facts.digits(v) for v in (Fraction(2, 3), 12345.6, -0.00012346, 0)] == [
        *(0.6667, 12350, -0.0001235, 0.0),
    ]
    assert isinstance(facts.digits(2235.2), int)


def test_pytorch_knows_what_it_does_not_know() -> None:
    one = model(op("Erf", "x", "e"), q("e", "y"))
    (row,) = facts.pytorch(one).rows
    assert row[2] is None
    assert "no quantized equivalent" in show(row[3])


def test_pytorch_leaves_real_numbers_alone() -> None:
    (row,) = facts.pytorch(model(op("MatMul", "x w", "y"))).rows
    assert row[2] is None
    assert "float" in show(row[3])
