"""One run of a model while pages are made: what is fed, what is shown, and why there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdqdoc import facts
from qdqdoc.document import Document, Graph, Operation, Quantization, Tensor
from qdqdoc.execute import execute
from qdqdoc.extract import extract
from qdqdoc.facts.running import MOST_PRODUCTS
from qdqdoc.groups import groups
from qdqdoc.tables import show

MODELS = Path(__file__).parents[1] / "models"
INT8 = MODELS / "resnet8_int8.onnx"


def test_the_running_example_sees_its_first_held_out_image() -> None:
    document, held = extract(INT8), facts.images(MODELS / "test_images.npz")
    assert held is not None
    found = facts.run(document, held)
    assert found.trace is not None
    assert found.origin.startswith("image 0 of test_images.npz")
    expected = execute(document, {"image": held.x[:1]})
    table = facts.run_table(document, found.trace)
    made_by = [group.output for group in groups(document)]
    for row in table.rows:
        value = expected[made_by[int(show(row[0]))]]
        if value.dtype == np.int8:
            assert row[4:7] == (value.min(), value.max(), len(set(value.ravel().tolist())))
            assert row[7] == np.isin(value, (-128, 127)).sum()
        else:
            assert row[4:6] == (facts.digits(value.min()), facts.digits(value.max()))
    assert len(table.rows) == facts.summary(document).groups


def made(*operations: Operation, **tensors: Tensor) -> Document:
    graph = Graph(inputs=("x",), outputs=("y",), operations=operations, tensors=tensors)
    return Document(model_path="m.onnx", graph=graph, opset_imports={"": 21})


RELU = Operation(name="r", op_type="Relu", inputs=("x",), outputs=("y",))


def relu(dtype: str, shape: tuple[int | str | None, ...] | None) -> Document:
    pair = {name: Tensor(name=name, dtype=dtype, shape=shape) for name in "xy"}
    return made(RELU, **pair)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (relu("string", (2,)), "input 'x': found string, allowed: numbers or bool"),
        (relu("float32", None), "input 'x': the model does not tell its shape"),
        (relu("float32", (2**40,)), "input 'x': has 1,099,511,627,776 values"),
        (
            made(
                replace(RELU, op_type="Odd", domain="org.example"),
                x=Tensor(name="x", dtype="float32", shape=()),
                y=Tensor(name="y", dtype="float32", shape=()),
            ),
            "node 'r'",
        ),
    ],
)
def test_a_model_that_is_not_run_says_why(document: Document, reason: str) -> None:
    found = facts.run(document)
    assert found.trace is None
    assert reason in found.reason


def test_long_sums_are_not_waited_for() -> None:
    product = Operation(name="m", op_type="MatMul", inputs=("x", "x"), outputs=("y",))
    square = {name: Tensor(name=name, dtype="float32", shape=(2000, 2000)) for name in "xy"}
    found = facts.run(made(product, **square))
    assert found.trace is None
    assert f"sums {2000**3:,} products, allowed while pages are made: " in found.reason
    assert MOST_PRODUCTS < 2000**3


def quantized(scale: float, zero: int) -> Document:
    codes = Quantization(
        tensor="y",
        dtype="uint8",
        scale="s",
        zero_point="z",
        scale_values=(scale,),
        zero_point_values=(zero,),
    )
    q = Operation(
        name="q",
        op_type="QuantizeLinear",
        inputs=("x", "s", "z"),
        outputs=("y",),
        quantization={"y": codes},
    )
    tensors = {
        "x": Tensor(name="x", dtype="float32", shape=(50, 40)),
        "s": Tensor(name="s", dtype="float32", shape=(), initializer=True, values=(scale,)),
        "z": Tensor(name="z", dtype="uint8", shape=(), initializer=True, values=(zero,)),
        "y": Tensor(name="y", dtype="uint8", shape=(50, 40)),
    }
    return made(q, **tensors)


def test_numbers_are_drawn_from_the_grid_of_the_input() -> None:
    document = quantized(0.5, 100)
    found = facts.run(document)
    assert found.trace is not None
    assert found.origin.startswith("numbers drawn evenly between -50.0 and 77.5;")
    x, y = found.trace["x"], found.trace["y"]
    assert -50 <= x.min() < -45
    assert 72 < x.max() <= 77.5
    again = facts.run(document).trace
    assert again is not None
    assert np.array_equal(x, again["x"])
    (row,) = facts.run_table(document, found.trace).rows
    assert row[2:4] == ("uint8", "50×40")
    on_rails = int((y == 0).sum() + (y == 255).sum())
    assert row[4:8] == (y.min(), y.max(), len(set(y.ravel().tolist())), on_rails)


@pytest.mark.parametrize(
    ("dtype", "span"),
    [("float32", (0.01653, 0.9128)), ("int32", (0, 0)), ("int8", (0, 0)), ("float16", None)],
)
def test_without_a_grid_nothing_is_on_a_rail(dtype: str, span: tuple[float, float] | None) -> None:
    document = relu(dtype, (9, "n"))
    found = facts.run(document)
    assert found.trace is not None
    (row,) = facts.run_table(document, found.trace).rows
    y = found.trace["y"]
    assert row[2:4] == (dtype, "9×1")
    assert row[4:6] == (facts.digits(float(y.min())), facts.digits(float(y.max())))
    assert span is None or row[4:6] == span
    assert row[6:8] == (len(np.unique(y)), None)
    assert show(row[8]) == f"{found.trace.by_name['y'].sha256[:12]}…"
