"""Which way a plan takes, what it needs and refuses; always with the bytes of `execute`."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from plan_models import (
    IMAGE,
    Net,
    averaged,
    dense,
    depthwise,
    gated,
    grouped,
    held,
    network,
    normalized,
    plain,
    pooled,
    residual,
    scaled_residual,
)

from qdqdoc.execute import ExecuteError, execute
from qdqdoc.extract import extract
from qdqdoc.plan import Plan, compile_plan
from qdqdoc.plan.certificate import Certified

if TYPE_CHECKING:
    from qdqdoc.document import Document
    from qdqdoc.numerics.formats import Array

# ruff: noqa: SLF001 - the tests look which way a plan takes
# ruff: noqa: ANN401 - bodies are functions, a batch a size or a name

RESNET8 = Path(__file__).parent.parent / "models" / "resnet8_int8.onnx"


def images(count: int, *shape: int) -> Array:
    return np.random.default_rng(3).normal(0, 1, (count, *shape)).astype(np.float32)


def steps(plan: Plan) -> list[str]:
    """Name the steps of the only program of a plan; of those that run as documented the type."""
    (program,) = plan._programs.values()
    every = [*program.head.steps, *program.tail.steps]
    return [getattr(getattr(s, "operation", None), "op_type", type(s).__name__) for s in every]


def same(document: Document, inputs: dict[str, Any], contract: str = "qdq") -> Plan:
    """Compare with `execute`, in type and bytes."""
    plan = compile_plan(document, contract)
    found = plan.run(inputs)
    trace = execute(document, inputs, contract)
    for name, value in found.items():
        assert (value.dtype, value.shape) == (trace[name].dtype, trace[name].shape)
        assert value.tobytes() == trace[name].tobytes()
    return plan


@pytest.mark.parametrize(
    ("body", "contract", "taken"),
    [
        (plain, "qdq", "Quantize Certified Leave"),
        (plain, "ort", "Quantize Requantize Leave"),
        (grouped, "qdq", "Quantize Certified Leave"),
        (depthwise, "qdq", "Quantize Certified Leave"),
        (held, "qdq", "Quantize Certified Leave"),
        (dense, "qdq", "Quantize Leave Reshape Concat Quantize Certified Leave"),
        (normalized, "qdq", "Quantize Certified Certified Leave"),
        (residual, "qdq", "Quantize Certified Pair Leave"),
        (scaled_residual, "ort", "Quantize Requantize Pair Leave"),
        (averaged, "qdq", "Quantize Certified Certified Certified Leave Softmax Quantize Leave"),
        (normalized, "ort", "Quantize Requantize Certified Leave"),
    ],
)
def test_the_fast_ways_are_taken(tmp_path: Path, body: Any, contract: str, taken: str) -> None:
    plan = same(network(tmp_path, body, 1, kind=np.uint8), {"image": images(3, *IMAGE)}, contract)
    assert steps(plan) == taken.split()


def test_what_reads_the_sum_itself_gets_the_documented_one(tmp_path: Path) -> None:
    plan = same(network(tmp_path, gated, 1), {"image": images(3, *IMAGE)})
    assert {"Conv", "Certified", "Pair"} <= {*steps(plan)}


def test_sums_that_float32_does_not_hold_go_through_float64(tmp_path: Path) -> None:
    plan = same(network(tmp_path, dense, 1), {"image": images(2, *IMAGE)})
    (program,) = plan._programs.values()
    every = [*program.head.steps, *program.tail.steps]
    (product,) = (step.product for step in every if isinstance(step, Certified))
    assert product.bound > 2**24
    assert product.dtype == np.float64


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize("body", [plain, held, pooled, residual])
def test_codes_of_16_bits(tmp_path: Path, body: Any, kind: type[Any]) -> None:
    document = network(tmp_path, body, 2, kind=kind)
    same(document, {"image": images(2, *IMAGE)})


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_gets_the_code_that_the_kernel_gives(
    tmp_path: Path, number: float
) -> None:
    x = images(3, *IMAGE)
    x[1, 2, 3] = number
    same(network(tmp_path, plain, 1), {"image": x})


def chain(tmp_path: Path, *nodes: tuple[str, dict[str, Any]], batch: Any = "n") -> Document:
    """Quantize an input of (batch, 4), run operators of one input, quantize again."""
    net = Net(5)
    y = net.quantize("image")[1]
    for op_type, attributes in nodes:
        y = net.node(op_type, y, **attributes)
    return net.document(tmp_path, {"image": (batch, 4)}, [net.quantize(y)[1]])


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [("Softmax", {"axis": 0}), ("Transpose", {"perm": [1, 0]}), ("ReduceMax", {})],
)
def test_what_looks_across_images_runs_as_a_whole(
    tmp_path: Path, op_type: str, attributes: dict[str, Any]
) -> None:
    plan = same(chain(tmp_path, (op_type, attributes)), {"image": images(7, 4)})
    assert not plan._programs


def test_dynamic_scales_run_as_a_whole(tmp_path: Path) -> None:
    net = Net(1)
    node = helper.make_node("DynamicQuantizeLinear", ["image"], ["q", "s", "z"], name="dynamic")
    net.nodes.append(node)
    plan = same(
        net.document(tmp_path, {"image": ("n", 4)}, ["q", "s", "z"]), {"image": images(5, 4)}
    )
    assert not plan._programs


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_run_at_once(tmp_path: Path, batch: int) -> None:
    net = Net(5)
    y = net.quantize("image")[1]
    shape = net.keep(np.array([batch, 2, 2], np.int64))
    made = net.quantize(net.node("Reshape", y, shape))[1]
    document = net.document(tmp_path, {"image": (batch, 4)}, [made])
    plan = same(document, {"image": images(batch, 4)})
    assert plan._programs
    with pytest.raises(ExecuteError, match=r"found shape \[5, 4\]"):
        plan.run({"image": images(5, 4)})


def test_an_addition_whose_order_depends_on_the_batch_runs_as_a_whole(tmp_path: Path) -> None:
    """Of one value in each image: QLinearAdd asks whether an operand is one element long."""
    net = Net(5)
    codes = net.quantize("image")[0]
    grids = [net.grid() for _ in range(3)]
    one = net.keep(np.array([[6]], np.int8))
    inputs = codes, *grids[0], one, *grids[1], *grids[2]
    made = net.node("QLinearAdd", *inputs, domain="com.microsoft")
    document = net.document(tmp_path, {"image": ("n", 1)}, [made])
    for count in (1, 4):
        assert not same(document, {"image": images(count, 1)})._programs


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize(
    ("sizes", "axis", "opset", "fast"),
    [
        ((7,), -1, 13, True),
        ((7,), 1, 13, True),
        ((7,), 1, 12, True),
        ((1,), 1, 13, True),
        ((7,), 0, 13, False),
        ((7,), 0, 12, False),
        ((7, 1), 1, 13, False),
        ((3, 5), -1, 13, False),
    ],
)
def test_shares_of_rows_that_are_images(
    tmp_path: Path, kind: type[Any], sizes: tuple[int, ...], axis: int, opset: int, *, fast: bool
) -> None:
    for seed in range(3):
        net = Net(seed, kind=kind, scales=((0.05,), (0.9,), (1e-4,))[seed])
        # Each channel has another zero point, which is a table of its own.
        zeros = net.keep(np.arange(sizes[0]).astype(kind))
        scales = net.keep(np.linspace(0.01, 0.05, sizes[0]).astype(np.float32))
        x = net.node("QuantizeLinear", "image", *net.grid())
        if seed:
            turned = net.node("DequantizeLinear", x, scales, zeros, axis=1)
            x = net.node("QuantizeLinear", turned, *net.grid())
        fine = net.keep(np.float32(1 / 300)), net.keep(np.array(5, kind))
        named: dict[str, Any] = {"domain": "com.microsoft", "axis": axis, "opset": opset}
        made = net.node("QLinearSoftmax", x, *net.grid(), *fine, **named)
        document = net.document(tmp_path, {"image": ("n", *sizes)}, [made])
        for count in (1, 6):
            plan = same(document, {"image": 3 * images(count, *sizes)})
            assert ("Shares" in steps(plan) if plan._programs else False) == fast


@pytest.mark.parametrize("count", [1, 2, 4, 63, 64, 65])
def test_a_batch_of_any_size(count: int) -> None:
    x = np.random.default_rng(0).random((count, 32, 32, 3), np.float32)
    document = extract(RESNET8)
    plan = same(document, {"image": x[:1]}, "ort")
    every = plan.run({"image": x})["probabilities"]
    one_by_one = [plan.run({"image": x[n : n + 1]})["probabilities"] for n in range(count)]
    assert every.tobytes() == np.concatenate(one_by_one).tobytes()


def test_an_empty_batch(tmp_path: Path) -> None:
    same(chain(tmp_path, ("Relu", {})), {"image": images(0, 4)})


def test_results_are_the_callers_own(tmp_path: Path) -> None:
    document = network(tmp_path, plain, 1)
    plan, x = compile_plan(document), images(2, *IMAGE)
    first = plan.run({"image": x}, keep=["image"])
    kept = {name: value.copy() for name, value in first.items()}
    plan.run({"image": x + 1}, keep=["image"])
    assert all((first[name] == value).all() for name, value in kept.items())
    first["image"][...] = 0
    assert x.any()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "'image' is missing"),
        ({"picture": images(1, *IMAGE)}, "found 'picture'"),
        ({"image": images(1, 3, 3)}, "found shape"),
        ({"image": np.zeros((1, *IMAGE), np.int8)}, "found int8, allowed: float32"),
        ({"image": "text"}, "found string"),
        ({"image": np.float32(1)}, "found shape"),
    ],
)
def test_wrong_inputs_are_refused_before_any_work(
    tmp_path: Path, inputs: dict[str, Any], message: str
) -> None:
    plan = compile_plan(network(tmp_path, plain, 1))
    with pytest.raises(ExecuteError, match=message.replace("[", r"\[")):
        plan.run(inputs)


def test_unknown_names_and_contracts_are_refused(tmp_path: Path) -> None:
    document = network(tmp_path, plain, 1)
    with pytest.raises(ExecuteError, match=r"keep: m\.onnx makes no 'imag' \(nearest: 'image'\)"):
        compile_plan(document).run({"image": images(1, *IMAGE)}, keep=["imag"])
    with pytest.raises(ExecuteError, match="contract: found 'fast'"):
        compile_plan(document, "fast")


def test_other_contracts_are_run_by_execute(tmp_path: Path) -> None:
    document = network(tmp_path, plain, 1)
    assert not same(document, {"image": images(2, *IMAGE)}, "exact")._programs


def test_memory_grows_with_the_block_not_with_the_batch() -> None:
    plan = compile_plan(extract(RESNET8), "ort")

    def peak(count: int) -> int:
        x = np.random.default_rng(0).random((count, 32, 32, 3), np.float32)
        plan.run({"image": x[:16]})  # makes the program
        tracemalloc.start()
        plan.run({"image": x})
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(32), peak(256)
    outputs = 224 * 10 * 4
    assert many - few < outputs + 224 * 64 * 8
    assert many < 4 * 2**20


def test_a_model_of_integers_alone(tmp_path: Path) -> None:
    """Codes that come in as codes need no QuantizeLinear."""
    document = extract(RESNET8.with_name("resnet8_int8_qoperator.onnx"))
    same(document, {"image": np.random.default_rng(0).random((3, 32, 32, 3), np.float32)})
    net = Net(3)
    x = net.node("DequantizeLinear", "image", *net.grid())
    made = net.quantize(net.conv(x, (3, 4, 2, 2)))[0]
    model = net.document(tmp_path, {"image": ("n", *IMAGE)}, [made], kind=TensorProto.INT8)
    same(model, {"image": np.random.default_rng(0).integers(-128, 128, (3, *IMAGE), np.int8)})
