# ruff: noqa: ANN401 - what onnx hands out has no types worth writing
"""Accumulators and worked elements, against brute force and plain Python integers."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdqdoc import facts
from qdqdoc.extract import extract
from qdqdoc.tables import show

if TYPE_CHECKING:
    from qdqdoc.document import Document

MODELS = Path(__file__).parents[1] / "models"
QUANTIZED = sorted(path.stem for path in MODELS.glob("*int8*.onnx"))


@cache
def document(name: str) -> Document:
    return extract(MODELS / f"{name}.onnx")


def save(folder: Path, nodes: list[Any], held: dict[str, Any], shapes: dict[str, Any]) -> Document:
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in ("data", "result")
    ]
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in held.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    onnx.save(model, folder / "tiny.onnx")
    return extract(folder / "tiny.onnx")


def node(op_type: str, inputs: str, made: str, **attributes: Any) -> Any:
    return helper.make_node(op_type, inputs.split(), [made], name=made, **attributes)


def quantized(op_type: str, weight: str = "w", **attributes: Any) -> list[Any]:
    return [
        node("QuantizeLinear", "data s_x z_x", "x"),
        node("DequantizeLinear", "x s_x z_x", "x_real"),
        node("DequantizeLinear", f"{weight} s_w z_w", "w_real", axis=attributes.pop("along", 1)),
        node("DequantizeLinear", "b s_b", "b_real", axis=0),
        node(op_type, "x_real w_real b_real", "y_real", **attributes),
        node("QuantizeLinear", "y_real s_y z_y", "y"),
        node("DequantizeLinear", "y s_y z_y", "result"),
    ]


PARAMETERS = {
    "s_x": np.float32(0.5),
    "z_x": np.uint8(3),
    "s_w": np.float32(0.25),
    "z_w": np.int8(1),
    "s_b": np.float32(0.125),
    "s_y": np.float32(0.75),
    "z_y": np.uint8(7),
}


def tiny_conv(folder: Path) -> Document:
    held = {
        **PARAMETERS,
        "w": np.array([[[4, -2]], [[-9, 0]]], np.int8),
        "b": np.array([5, -3], np.int32),
    }
    return save(folder, quantized("Conv"), held, {"data": (1, 1, 4), "result": (1, 2, 3)})


def test_bounds_are_the_extremes_over_every_input(tmp_path: Path) -> None:
    (found,) = facts.bounds(tiny_conv(tmp_path))
    # Both taps of both channels, zero points subtracted, for all pairs of codes.
    sums = [
        (x0 - 3) * w0 + (x1 - 3) * w1 + b
        for x0, x1 in product(range(256), repeat=2)
        for (w0, w1), b in (((3, -3), 5), ((-10, -1), -3))
    ]
    assert (found.low, found.high, found.products) == (min(sums), max(sums), 2)
    assert found.bits == next(n for n in range(64) if -(2 ** (n - 1)) <= min(sums))
    assert found.by_type == 2 * 252 * 129


def test_partial_sums_stay_within_their_bound(tmp_path: Path) -> None:
    (found,) = facts.bounds(tiny_conv(tmp_path))
    ends = (-3, 252)
    partial = [
        abs(value)
        for x0, x1 in product(ends, repeat=2)
        for (w0, w1), b in (((3, -3), 5), ((-10, -1), -3))
        for terms in (((x0 * w0), (x1 * w1), b),)
        for value in (
            *terms,
            terms[0] + terms[1],
            terms[0] + b,
            terms[1] + b,
            sum(terms),
        )
    ]
    assert max(partial) <= found.partial
    assert found.exact_in_float32


def test_a_bias_on_another_grid_is_counted_in_steps_of_the_sum(tmp_path: Path) -> None:
    held = {
        **PARAMETERS,
        "w": np.array([[[4, -2]], [[-9, 0]]], np.int8),
        "b": np.array([7, -3], np.int8),
        "s_b": np.float32(0.0625),
    }
    shapes = {"data": (1, 1, 4), "result": (1, 2, 3)}
    (layer,) = facts.layers(save(tmp_path, quantized("Conv"), held, shapes))
    # 7 / 16 and -3 / 16 in steps of 1 / 8, ties to even.
    assert layer.bias == (4, -2)
    assert not layer.exact_bias


def test_a_transposed_gemm(tmp_path: Path) -> None:
    held = {
        **PARAMETERS,
        "w": np.array([[4, -2, 7], [-9, 0, 1]], np.int8),
        "s_w": np.array([0.25, 0.5], np.float32),
        "z_w": np.array([1, -1], np.int8),
        "b": np.array([5, -3], np.int32),
        "s_b": np.array([0.125, 0.25], np.float32),
    }
    nodes = quantized("Gemm", along=0, transB=1)
    one = save(tmp_path, nodes, held, {"data": (1, 3), "result": (1, 2)})
    (found,) = facts.bounds(one)
    columns = [((3, -3, 6), 5), ((-8, 1, 2), -3)]
    sums = [
        sum(x * w for x, w in zip(xs, ws, strict=True)) + b
        for xs in product((-3, 252), repeat=3)
        for ws, b in columns
    ]
    assert (found.low, found.high, found.products) == (min(sums), max(sums), 3)
    made = facts.worked(one, "MatMul")
    assert made is not None
    assert "left out" in made.remark


def test_scales_along_what_is_summed_make_no_layer(tmp_path: Path) -> None:
    held = {
        **PARAMETERS,
        "w": np.array([[4, -2], [-9, 0], [1, 1]], np.int8),
        "s_w": np.array([0.25, 0.5, 1], np.float32),
        "z_w": np.array([1, -1, 0], np.int8),
        "b": np.array([5, -3], np.int32),
    }
    nodes = quantized("Gemm", along=0)
    one = save(tmp_path, nodes, held, {"data": (1, 3), "result": (1, 2)})
    assert facts.layers(one) == ()
    assert facts.accumulators(one).rows == ()
    assert facts.widest(one) is None


def test_the_first_convolution_of_the_running_example() -> None:
    name = "resnet8_int8"
    graph = onnx.load(MODELS / f"{name}.onnx").graph
    held = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    maker = {n.output[0]: n for n in graph.node}
    conv = next(n for n in graph.node if n.op_type == "Conv")
    w, bias = (held[maker[i].input[0]].astype(int) for i in conv.input[1:])
    z_x = int(held[maker[conv.input[0]].input[2]])
    low, high = -128 - z_x, 127 - z_x
    sums = [
        [sum(max(low * t, high * t) for t in map(int, c.ravel())) for c in w],
        [sum(min(low * t, high * t) for t in map(int, c.ravel())) for c in w],
    ]
    found = facts.bounds(document(name), "Conv")[0]
    assert found.node == conv.name
    assert found.high == max(s + int(b) for s, b in zip(sums[0], bias, strict=True))
    assert found.low == min(s + int(b) for s, b in zip(sums[1], bias, strict=True))


def test_a_worked_convolution_equals_plain_integers() -> None:
    name = "resnet8_int8"
    graph = onnx.load(MODELS / f"{name}.onnx").graph
    held = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    maker = {n.output[0]: n for n in graph.node}
    conv = next(n for n in graph.node if n.op_type == "Conv")
    (s_x, z_x), (s_w, z_w) = ([held[i] for i in maker[c].input[1:]] for c in conv.input[:2])
    quantize = next(n for n in graph.node if n.input[0] == conv.output[0])
    s_y, z_y = (held[i] for i in quantize.input[1:])
    w, bias = (held[maker[i].input[0]] for i in conv.input[1:])
    pixels = np.load(MODELS / "test_images.npz")["x"][0]
    made = facts.worked(document(name), "Conv", facts.images())
    assert made is not None
    assert "test_images" in made.origin
    _, channel, row, column = made.index
    total = int(bias[channel])
    for c, i, j in product(range(3), range(3), range(3)):
        y, x = row + i - 1, column + j - 1
        if 0 <= y < 32 and 0 <= x < 32:
            steps = round(Fraction(float(np.float32(pixels[y, x, c]) / np.float32(s_x))))
            code = max(-128, min(127, steps + int(z_x)))
            total += (code - int(z_x)) * (int(w[channel, c, i, j]) - int(z_w))
    multiplier = np.float32(np.float32(s_x * s_w) / s_y)
    scaled = np.float32(np.float32(total) * multiplier)
    expected = max(-128, min(127, round(Fraction(float(scaled))) + int(z_y)))
    assert made.accumulator == total
    assert made.multiplier == multiplier
    assert made.code == expected
    assert -128 < made.code < 127
    assert made.terms.rows[-1][-1] == total - int(bias[channel])
    values = {show(line[0]): line[1] for line in made.steps.rows}
    assert (values["acc"], values["b"], values["y"]) == (total, int(bias[channel]), expected)
    assert made.real == float(f"{float(s_y) * (expected - int(z_y)):.6g}")


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("kind", ["Conv", "MatMul"])
def test_every_quantized_model_has_a_worked_element(name: str, kind: Any) -> None:
    made = facts.worked(document(name), kind, facts.images())
    assert made is not None
    assert made.count == (27 if kind == "Conv" else 64)
    assert made.element.evaluate() == made.code
    running = 0
    for line in made.terms.rows:
        running += int(show(line[5]))
        assert line[6] == running
    if kind == "MatMul":
        assert "seed" in made.origin
        assert len(made.terms.rows) == 25
        assert show(made.terms.rows[12][0]) == "… 40 more"


def test_without_images_codes_are_made_up_and_always_the_same() -> None:
    first, second = (facts.worked(document("resnet8_uint8"), "Conv") for _ in range(2))
    assert first is not None
    assert second is not None
    assert "seed" in first.origin
    np.testing.assert_array_equal(first.call.inputs["x"], second.call.inputs["x"])


def test_a_float_model_has_nothing_to_work_out() -> None:
    assert facts.worked(document("resnet8"), "Conv", facts.images()) is None
    assert facts.bounds(document("resnet8")) == ()


def test_no_images_where_there_is_no_file(tmp_path: Path) -> None:
    assert facts.images(tmp_path / "none.npz") is None


def test_images_of_another_shape_are_not_used(tmp_path: Path) -> None:
    made = facts.worked(tiny_conv(tmp_path), "Conv", facts.images())
    assert made is not None
    assert "seed" in made.origin
    assert len(made.terms.rows) == 2


def test_the_chosen_channel_is_not_on_a_rail(tmp_path: Path) -> None:
    weights = np.array([[[127, 127]], [[2, 1]]], np.int8)
    held = {**PARAMETERS, "w": weights, "b": np.array([0, 0], np.int32), "s_y": np.float32(0.5)}
    shapes = {"data": (1, 1, 4), "result": (1, 2, 3)}
    made = facts.worked(save(tmp_path, quantized("Conv"), held, shapes), "Conv")
    assert made is not None
    row = made.call.inputs["x"][0, 0].astype(int) - 3
    place = made.index[2]
    # The first channel is 126 times the sum of both codes in steps of a quarter: on the rail.
    assert 126 * (row[place] + row[place + 1]) / 4 + 7 > 255
    assert made.index[1] == 1
    assert made.code == 7 + round(Fraction(int(row[place]), 4)) < 255
