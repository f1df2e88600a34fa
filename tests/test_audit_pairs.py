"""Pairs of products that leave int16: counted by trying codes, and shown by onnxruntime."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from layer import Layer, found, only
from onnx import TensorProto, helper, numpy_helper
from peers import processor, run_model
from test_fuse import Maker

from qdqdoc.audit import audit
from qdqdoc.extract import extract
from qdqdoc.facts.layers import layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qdqdoc.audit import Finding

MODELS = Path(__file__).parent.parent / "models"
INT16 = np.iinfo(np.int16)


def ordered(weights: NDArray[Any]) -> NDArray[np.int64]:
    """Put the weights of a Conv in the order in which AVX2 sums them: channels last."""
    moved = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1).astype(np.int64)
    return np.pad(moved, ((0, 0), (0, moved.shape[1] % 2)))


def bad_pairs(columns: NDArray[np.int64], codes: tuple[int, ...]) -> NDArray[np.bool_]:
    """Try codes at every pair: a sum is furthest at the ends of the range."""
    first, second = columns[:, ::2], columns[:, 1::2]
    sums = [a * first + b * second for a, b in product(codes, repeat=2)]
    return np.asarray(np.any([(s > INT16.max) | (s < INT16.min) for s in sums], axis=0))


def check(one: Finding, columns: NDArray[np.int64], codes: tuple[int, ...]) -> None:
    bad = bad_pairs(columns, codes)
    numbers: dict[str, Any] = dict(one.numbers)
    assert (numbers["pairs"], numbers["of"]) == (bad.sum(), bad.size)
    assert numbers["channels"] == bad.any(axis=1).sum()
    assert all(codes[0] <= code <= codes[-1] for code in numbers["codes"])
    total = sum(a * b for a, b in zip(numbers["codes"], numbers["weights"], strict=True))
    assert numbers["sum"] == total
    assert numbers["held"] == min(max(total, INT16.min), INT16.max) != total
    assert set(numbers["weights"]) <= set(columns[numbers["channel"]].tolist())


@pytest.mark.parametrize("name", ["resnet8_uint8", "resnet8_uint8_per_channel", "resnet8_int8"])
def test_the_running_example(name: str) -> None:
    """Every layer that runs on uint8 by int8 is there, or none of its pairs leaves int16."""
    document = extract(MODELS / f"{name}.onnx")
    rows = {row.verdict.node: row for row in audit(document).rows}
    told = {f.node: f for f in audit(document).findings if f.code == "saturating-pairs"}
    checked = 0
    for layer in layers(document):
        weights, node = layer.weights, layer.group.name
        if not rows[node].fused:
            assert node not in told
            continue
        columns = ordered(weights) if layer.kind == "Conv" else weights.T.astype(np.int64)
        assert (node in told) is bool(bad_pairs(columns, (0, 255)).any())
        check(told[node], columns, (0, 255))
        checked += 1
    assert checked == len(told) == (5 if name == "resnet8_int8" else 10)


def test_places_are_where_the_weights_stand() -> None:
    document = extract(MODELS / "resnet8_uint8.onnx")
    by_node = {layer.group.name: layer.weights for layer in layers(document)}
    for one in audit(document).findings:
        if one.code == "saturating-pairs":
            numbers: dict[str, Any] = dict(one.numbers)
            weights = by_node[one.node]
            weights = weights if weights.ndim == 4 else weights.T
            at = [weights[(numbers["channel"], *place)] for place in numbers["places"]]
            assert at == numbers["weights"]


def test_without_the_option_int8_is_uint8_and_with_it_nothing_saturates() -> None:
    document = extract(MODELS / "resnet8_int8.onnx")
    for target, some in (("ort-x86", True), ("ort-x86-int8", False), ("ort-arm", False)):
        told = audit(document, target).findings
        assert any(one.code == "saturating-pairs" for one in told) is some


@pytest.mark.parametrize(
    ("pair", "saturates"),
    [
        ((64, 64), False),
        ((64, 65), True),
        ((-64, -64), False),
        ((-64, -65), True),
        ((127, -128), False),
        ((1, 127), False),
        ((127, 2), True),
    ],
)
def test_the_least_pairs_that_do(pair: tuple[int, int], *, saturates: bool, tmp_path: Path) -> None:
    codes = np.tile(np.array([0, 0, *pair]), (4, 1))
    path = Layer(codes=codes).save(tmp_path)
    assert bool(found(path, "saturating-pairs")) is saturates
    if saturates:
        check(only(path, "saturating-pairs"), codes, (0, 255))
    assert not found(Layer(codes=np.abs(codes), kind="uint8").save(tmp_path), "saturating-pairs")


def test_a_pair_is_not_two_products_that_stand_apart(tmp_path: Path) -> None:
    codes = np.tile(np.array([0, 127, 127, 0]), (4, 1))
    assert not found(Layer(codes=codes).save(tmp_path), "saturating-pairs")


def test_the_codes_that_can_come_are_told(tmp_path: Path) -> None:
    """Behind a Relu no code is below the zero point, so the witness has none either."""
    for before, low in (("Relu", 200), ("Erf", 0)):
        m = Maker()
        x = m.pair(m.node(before, m.input(1, 2, 2, 2)), "uint8", zero=200)
        stored = m.store(np.tile([65, 65], (4, 1))[..., None, None], "int8")
        w = m.node("DequantizeLinear", stored, m.store(np.float32(0.5)), m.store(0, "int8"))
        m.result(m.pair(m.node("Conv", x, w), "uint8"))
        one = only(m.save(tmp_path), "saturating-pairs")
        assert (one.numbers["codes_low"], one.numbers["codes_high"]) == (low, 255)
        check(one, np.full((4, 2), 65), (low, 255))


@pytest.mark.parametrize(("group", "some"), [(1, True), (4, False)])
def test_depthwise_layers_are_summed_otherwise(group: int, *, some: bool, tmp_path: Path) -> None:
    m = Maker()
    x = m.pair(m.input(1, 4, 4, 4), "uint8")
    stored = m.store(np.full((4, 4 // group, 2, 2), 127), "int8")
    w = m.node("DequantizeLinear", stored, m.store(np.float32(0.5)), m.store(0, "int8"))
    m.result(m.pair(m.node("Conv", x, w, group=group), "uint8"))
    assert bool(found(m.save(tmp_path), "saturating-pairs")) is some


@pytest.mark.parametrize("op_type", ["MatMulInteger", "ConvInteger"])
def test_operators_without_scales(op_type: str, tmp_path: Path) -> None:
    for high in (64, 65):
        m = Maker()
        shape = (1, 2) if op_type == "MatMulInteger" else (1, 2, 1, 1)
        x, *_ = m.node("DynamicQuantizeLinear", m.input(*shape), outputs=3)
        weights = np.full((2, 2), high).reshape((2, 2) if len(shape) == 2 else (2, 2, 1, 1))
        m.result(m.node(op_type, x, m.store(weights, "int8")), TensorProto.INT32)
        path = m.save(tmp_path)
        if high == 64:
            assert not found(path, "saturating-pairs")
        else:
            check(only(path, "saturating-pairs"), np.full((2, 2), 65), (0, 255))


def qlinear_conv(x: NDArray[Any], w: NDArray[Any], scale: float, group: int) -> NDArray[Any]:
    """Run a QLinearConv in onnxruntime."""
    one, zero = np.float32(1), np.uint8(0)
    inputs = {"x": x, "xs": one, "xz": zero, "w": w, "ws": one, "wz": np.int8(0)}
    inputs |= {"ys": np.float32(scale), "yz": np.uint8(100)}
    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in inputs.items() if k != "x"]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", list(inputs), ["y"], group=group)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        stored,
    )
    imports = [helper.make_opsetid("", 13)]
    return run_model(helper.make_model(graph, opset_imports=imports, ir_version=8), {"x": x})[0]


FORMS = [(4, 8, 3, 1), (3, 8, 3, 1), (16, 16, 1, 1), (5, 4, 1, 1), (8, 8, 3, 2), (6, 4, 3, 2)]
FORMS += [(8, 16, 3, 8), (1, 8, 3, 1), (2, 8, 5, 1), (8, 8, 3, 8)]


@pytest.mark.parametrize(("channels", "filters", "size", "group"), FORMS)
def test_pairs_of_a_conv_have_the_channels_last(
    channels: int, filters: int, size: int, group: int
) -> None:
    """Held pair by pair in this order, every value is onnxruntime's, on the processor at hand."""
    rng = np.random.default_rng(channels + filters + size + group)
    x = rng.integers(0, 256, (2, channels, size, size), dtype=np.uint8)
    w = rng.integers(-128, 128, (filters, channels // group, size, size), dtype=np.int8)
    columns = ordered(w)
    depth, scale = columns.shape[1], 64.0 * (w[0].size ** 0.5)
    places = x.reshape(2, group, channels // group, size, size).transpose(0, 1, 3, 4, 2)
    data = np.pad(
        places.reshape(2, group, -1).astype(np.int64), ((0, 0), (0, 0), (0, w[0].size % 2))
    )
    assert data.shape[-1] == depth
    data = data.repeat(filters // group, axis=1)
    products = (data * columns).reshape(2, filters, -1, 2).sum(-1)
    depthwise = channels == filters == group
    if "saturating" in processor().names and not depthwise:
        products = products.clip(INT16.min, INT16.max)
    sums = products.sum(-1).astype(np.float32)
    expected = (np.rint(sums * (np.float32(1) / np.float32(scale))) + 100).clip(0, 255)
    given = qlinear_conv(x, w, scale, group)
    np.testing.assert_array_equal(given[:, :, 0, 0], expected.astype(np.uint8))


def test_the_witness_of_the_audit_shows_in_onnxruntime(tmp_path: Path) -> None:
    """The codes that it names: two products, one sum, held on a processor without VNNI alone."""
    path = Layer(codes=np.tile(np.array([0, 0, 120, 90]), (4, 1))).save(tmp_path)
    numbers: dict[str, Any] = dict(only(path, "saturating-pairs").numbers)
    x = np.zeros((1, 4, 1, 1), np.uint8)
    for (channel, *_), code in zip(numbers["places"], numbers["codes"], strict=True):
        x[0, channel] = code
    w = np.tile(np.array([0, 0, 120, 90], np.int8), (4, 1))[..., None, None]
    scale = numbers["sum"] / 150
    (steps, *_) = qlinear_conv(x, w, scale, 1).ravel()
    held = numbers["held"] if "saturating" in processor().names else numbers["sum"]
    assert steps == 100 + round(held / scale)
