"""Contract exact against fractions, one output after the other, and against the other contracts."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from test_fuse import Maker

from qdqdoc.execute import ExecuteError, execute
from qdqdoc.extract import extract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdqdoc.document import Document
    from qdqdoc.numerics.formats import Array

MODELS = Path(__file__).parent.parent / "models"
Numbers = dict[tuple[int, ...], Fraction]


def codes_of(value: Fraction, scale: Any, zero: Any, low: int, high: int) -> int:  # noqa: ANN401 - NumPy's numbers
    """Round once, ties to even; Python rounds fractions so."""
    return int(min(max(round(value / Fraction(float(scale))) + int(zero), low), high))


def stands_for(codes: Array, scale: float, zero: int) -> Numbers:
    return {
        place: (int(code) - zero) * Fraction(float(np.float32(scale)))
        for place, code in np.ndenumerate(codes)
    }


def pairs(m: Maker, shape: tuple[int, ...], scale: float, zero: int) -> str:
    return m.pair(m.input(*shape), "uint8", scale, zero)


GRIDS = [(0.5, 3, 0.25, 4, 0.5, 7), (0.1, 0, 0.3, 255, 0.07, 128), (3.0, 9, 1e-6, 1, 2.0, 0)]

TWO: Mapping[str, Callable[[Fraction, Fraction], Fraction]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Max": max,
    "Min": min,
}
ONE: Mapping[str, Callable[[Fraction], Fraction]] = {
    "Relu": lambda a: max(a, Fraction(0)),
    "Neg": lambda a: -a,
    "Abs": abs,
    "LeakyRelu": lambda a: a if a >= 0 else a * Fraction(float(np.float32(0.01))),
    "Identity": lambda a: a,
}


def run(m: Maker, folder: Path, rng: np.random.Generator) -> tuple[Document, Any]:
    path = m.save(folder)
    document = extract(path)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in m.inputs}
    given = {k: rng.normal(size=s).astype(np.float32) * 40 for k, s in shapes.items()}
    return document, execute(document, given, "exact")


def made_by(document: Document, trace: Any, op_type: str, nth: int = 0) -> Array:  # noqa: ANN401 - a trace
    found = [o for o in document.operations if o.op_type == op_type][nth]
    return np.asarray(trace[found.outputs[0]])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("op_type", [*TWO, *ONE])
def test_element_by_element(op_type: str, grid: tuple[Any, ...], tmp_path: Path) -> None:
    scale, zero, other, shift, result, offset = grid
    m = Maker()
    inputs = [pairs(m, (1, 2, 30), scale, zero)]
    if op_type in TWO:
        inputs.append(pairs(m, (1, 2, 30), other, shift))
    m.result(m.pair(m.node(op_type, *inputs), "int8", result, offset - 128))
    document, trace = run(m, tmp_path, np.random.default_rng(1))
    left = stands_for(made_by(document, trace, "QuantizeLinear"), scale, zero)
    codes = made_by(document, trace, "QuantizeLinear", len(inputs))
    right = stands_for(made_by(document, trace, "QuantizeLinear", 1), other, shift)
    assert codes.size == 60
    for place, code in np.ndenumerate(codes):
        exact = (
            TWO[op_type](left[place], right[place]) if op_type in TWO else ONE[op_type](left[place])
        )
        assert code == codes_of(exact, np.float32(result), offset - 128, -128, 127), place


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_convolution_sums_before_it_rounds(per_channel: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    m = Maker()
    x = pairs(m, (1, 3, 5, 5), 0.3, 77)
    weights = rng.integers(-127, 128, (4, 3, 3, 3))
    steps = rng.uniform(1e-4, 3, 4).astype(np.float32) if per_channel else np.float32(0.02)
    biases = rng.integers(-9999, 9999, 4).astype(np.int32)
    axis = {"axis": 0} if per_channel else {}
    w = m.node("DequantizeLinear", m.store(weights, "int8"), m.store(steps), **axis)
    b = m.node("DequantizeLinear", m.store(biases), m.store(np.float32(0.0061)))
    made = m.node("Conv", x, w, b, pads=[1, 0, 0, 1], strides=[2, 1])
    m.result(m.pair(made, "uint8", 0.9, 13))
    document, trace = run(m, tmp_path, rng)
    held = stands_for(made_by(document, trace, "QuantizeLinear"), 0.3, 77)
    codes = made_by(document, trace, "QuantizeLinear", 1)
    assert codes.shape == (1, 4, 2, 4)
    for (_, f, i, j), code in np.ndenumerate(codes):
        step = Fraction(float(np.broadcast_to(steps, 4)[f]))
        total = int(biases[f]) * Fraction(float(np.float32(0.0061)))
        for c, k, n in product(range(3), repeat=3):
            place = (0, c, 2 * i + k - 1, j + n)
            total += held.get(place, Fraction(0)) * int(weights[f, c, k, n]) * step
        assert code == codes_of(total, np.float32(0.9), 13, 0, 255)


def test_products_of_matrices_and_what_moves(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    m = Maker()
    a, b = pairs(m, (2, 6), 0.11, 120), pairs(m, (4, 6), 0.05, 9)
    turned = m.node("Transpose", b, perm=[1, 0])
    joined = m.node(
        "Concat", m.node("MatMul", a, turned), m.store(np.ones((2, 1), np.float32)), axis=1
    )
    moved = m.node("Reshape", joined, m.store(np.array([-1])))
    m.result(m.pair(moved, "uint8", 0.7, 100))
    document, trace = run(m, tmp_path, rng)
    left = stands_for(made_by(document, trace, "QuantizeLinear"), 0.11, 120)
    right = stands_for(made_by(document, trace, "QuantizeLinear", 1), 0.05, 9)
    codes = made_by(document, trace, "QuantizeLinear", 2).reshape(2, 5)
    for (i, j), code in np.ndenumerate(codes):
        total = (
            sum((left[i, k] * right[j, k] for k in range(6)), Fraction(0)) if j < 4 else Fraction(1)
        )
        assert code == codes_of(total, np.float32(0.7), 100, 0, 255)


@pytest.mark.parametrize("included", [0, 1])
def test_averages_divide_exactly(included: int, tmp_path: Path) -> None:
    m = Maker()
    x = pairs(m, (1, 1, 5, 4), 0.3, 7)
    made = m.node(
        "AveragePool", x, kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=included
    )
    m.result(m.pair(made, "uint8", 0.1, 5))
    document, trace = run(m, tmp_path, np.random.default_rng(4))
    held = stands_for(made_by(document, trace, "QuantizeLinear"), 0.3, 7)
    codes = made_by(document, trace, "QuantizeLinear", 1)
    assert codes.shape == (1, 1, 5, 4)
    for (_, _, i, j), code in np.ndenumerate(codes):
        seen = [
            held[0, 0, i + k - 1, j + n]
            for k in range(3)
            for n in range(2)
            if (0, 0, i + k - 1, j + n) in held
        ]
        exact = sum(seen, Fraction(0)) / (6 if included else len(seen))
        assert code == codes_of(exact, np.float32(0.1), 5, 0, 255)


def test_functions_without_a_rational_value(tmp_path: Path) -> None:
    m = Maker()
    x = pairs(m, (1, 40), 0.11, 120)
    for op_type in ("Sigmoid", "Tanh", "Exp", "Softmax"):
        m.result(m.pair(m.node(op_type, x), "uint8", 1 / 255, 3))
    document, trace = run(m, tmp_path, np.random.default_rng(5))
    held = stands_for(made_by(document, trace, "QuantizeLinear"), 0.11, 120)
    total = sum(exp(v) for v in held.values())
    functions: list[Callable[[float], float]] = [
        lambda v: 1 / (1 + exp(-v)),
        np.tanh,
        exp,
        lambda v: exp(v) / total,
    ]
    for nth, function in enumerate(functions):
        codes = made_by(document, trace, "QuantizeLinear", 1 + nth)
        for place, code in np.ndenumerate(codes):
            near = Fraction(function(float(held[place])))
            found = codes_of(near, np.float32(1 / 255), 3, 0, 255)
            tie = near / Fraction(float(np.float32(1 / 255))) % 1 - Fraction(1, 2)
            assert code == found or abs(tie) < 1e-9


def test_equal_shares_are_exact(tmp_path: Path) -> None:
    m = Maker()
    x = pairs(m, (1, 4), 1.0, 0)
    m.result(m.pair(m.node("Softmax", x), "uint8", 0.5, 0))
    path = m.save(tmp_path)
    document = extract(path)
    (name,) = document.graph.inputs
    trace = execute(document, {name: np.full((1, 4), 3, np.float32)}, "exact")
    # A quarter is half a step: the tie goes to 0.
    assert made_by(document, trace, "QuantizeLinear", 1).tolist() == [[0, 0, 0, 0]]


LINEAR = ["resnet8_int8_qoperator"]
QDQ = ["resnet8_int8", "resnet8_uint8", "resnet8_int8_per_channel", "resnet8_int8_folded"]


@pytest.mark.parametrize("name", [*QDQ, *LINEAR])
def test_the_running_example_beside_the_other_contracts(name: str) -> None:
    document = extract(MODELS / f"{name}.onnx")
    image = {"image": np.load(MODELS / "test_images.npz")["x"][:1]}
    exact, written = (execute(document, image, contract) for contract in ("exact", "qdq"))
    codes = [t for t in exact.tensors if t.operation and t.value.dtype.kind in "iu"]
    steps = [np.abs(t.value.astype(int) - written[t.name]) for t in codes]
    assert sum(s.size for s in steps) > 10**5
    # A float32 sum that is rounded to the other side of a tie is a step, which may be stretched.
    assert max(s.max() for s in steps) <= 2
    assert sum(int((s > 0).sum()) for s in steps) <= 4


def test_per_channel_and_blocked_scales_and_a_negative_one(tmp_path: Path) -> None:
    m = Maker(23)
    codes = m.store(np.arange(-12, 12).reshape(2, 12), "int8")
    rng = np.random.default_rng(6)
    scales = {(): np.float32(-0.3), (12,): None, (2, 3): None}
    for shape in scales:
        scale = rng.uniform(0.1, 2, shape).astype(np.float32) if shape else np.float32(-0.3)
        grid = {"axis": 1, "block_size": 4} if len(shape) == 2 else {"axis": 1} if shape else {}
        m.result(m.node("DequantizeLinear", codes, m.store(scale), **grid))
    document = extract(m.save(tmp_path))
    exact, written = (execute(document, {}, contract) for contract in ("exact", "qdq"))
    for name in document.graph.outputs:
        assert np.array_equal(exact[name], written[name]), name


def test_what_has_no_exact_value_is_named_before_work_starts(tmp_path: Path) -> None:
    m = Maker()
    m.result(m.node("Erf", pairs(m, (1, 4), 1.0, 0)))
    document = extract(m.save(tmp_path))
    (name,) = document.graph.inputs
    given = {name: np.zeros((1, 4), np.float32)}
    with pytest.raises(ExecuteError, match=r"node 'Erf_\d+' \(Erf\): the contract exact"):
        execute(document, given, "exact")
    pair = Maker()
    pair.result(pairs(pair, (1, 4), 1.0, 0))
    document = extract(pair.save(tmp_path))
    (name,) = document.graph.inputs
    with pytest.raises(ExecuteError, match="NaN or infinity"):
        execute(document, {name: np.full((1, 4), np.nan, np.float32)}, "exact")


def test_an_exact_trace_says_so(tmp_path: Path) -> None:
    m = Maker()
    m.result(pairs(m, (1, 4), 0.1, 0))
    document = extract(m.save(tmp_path))
    trace = execute(
        document, {document.graph.inputs[0]: np.array([[0.05, 0.15, 1, 99]], np.float32)}, "exact"
    )
    assert (trace.contract, trace.target) == ("exact", "")
    # float32 0.05 over float32 0.1 is a little less or more than a half, never a tie.
    (codes,) = (t.value for t in trace.tensors if t.dtype == "uint8")
    tenth, half = Fraction(float(np.float32(0.1))), Fraction(float(np.float32(0.05)))
    assert codes[0, 0] == round(half / tenth)
