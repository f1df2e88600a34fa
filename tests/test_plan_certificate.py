"""The certificate of float sums: its bound holds, is needed, and is not much too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from plan_models import (
    EVEN,
    IMAGE,
    NEAR,
    ODD,
    Net,
    averaged,
    dense,
    depthwise,
    dilated,
    grouped,
    held,
    network,
    per_channel,
    plain,
    strided,
)

from qdqdoc.execute import execute
from qdqdoc.execute.sums import summed
from qdqdoc.plan import Plan, certificate, compile_plan, matching
from qdqdoc.plan.certificate import Certified
from qdqdoc.plan.steps import Buffers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qdqdoc.document import Document
    from qdqdoc.numerics.formats import Array

# ruff: noqa: SLF001 - the tests look inside
# ruff: noqa: ANN401 - bodies are functions

PRODUCTS = (plain, per_channel, grouped, depthwise, strided, dilated)
SCALES = {"odd": ODD, "even": EVEN, "near": NEAR}


def images(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 1, (count, *IMAGE)).astype(np.float32)


def certified(plan: Plan) -> list[Certified]:
    (program,) = plan._programs.values()
    steps = [*program.head.steps, *program.tail.steps]
    return [step for step in steps if isinstance(step, Certified)]


def differs(document: Document, x: Array) -> int:
    """Count the codes that a plan computes otherwise."""
    trace, found = execute(document, {"image": x}), compile_plan(document).run({"image": x})
    return sum(int((value != trace[name]).sum()) for name, value in found.items())


def quotients(document: Document, x: Array) -> tuple[Array, Array, Certified]:
    """Return the documented quotients of the only product, and those of its integers."""
    plan = compile_plan(document)
    plan.run({"image": x})
    (program,) = plan._programs.values()
    (fast,) = certified(plan)
    first = program.head.steps[0]
    buffers = Buffers(program.head.steps, (), len(x))
    buffers.tensors["image"] = x
    first.bind(len(x), buffers)()
    _, _, sums, run = fast.product.bind(len(x), buffers)
    run()
    scales = float(fast.real.x_step) * fast.real.w_step.astype(np.float64)
    rows = [(one / float(fast.y_scale)).astype(np.float32) for one in (scales, fast.real.rest)]
    ours = sums.astype(np.float32) * rows[0] + rows[1]
    (conv,) = (one for one in document.operations if one.op_type == "Conv")
    y = execute(document, {"image": x})[conv.outputs[0]]
    theirs = np.moveaxis(y / fast.y_scale, 1, -1).reshape(ours.shape)
    return theirs, ours, fast


@pytest.mark.parametrize("scales", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("body", PRODUCTS, ids=lambda body: body.__name__)
def test_no_quotient_is_farther_off_than_the_margin(
    tmp_path: Path, body: Any, scales: tuple[float, ...]
) -> None:
    for seed in range(4):
        document = network(tmp_path, body, seed, scales=scales)
        theirs, ours, fast = quotients(document, images(3, seed))
        near = np.abs(ours) <= fast.grid.reach + 1
        off = np.abs(theirs.astype(np.float64) - ours)[near]
        assert near.any()
        assert off.max() <= fast.margin


def test_the_margin_is_not_much_too_large(tmp_path: Path) -> None:
    shares = []
    for seed in range(8):
        theirs, ours, fast = quotients(network(tmp_path, plain, seed), images(3, seed))
        near = np.abs(ours) <= fast.grid.reach + 1
        off = np.abs(theirs.astype(np.float64) - ours)[near]
        shares.append(off.max() / fast.margin)
    assert max(shares) > 1 / 30


def test_without_the_margin_codes_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [
        network(tmp_path, body, seed, scales=NEAR) for body in PRODUCTS for seed in range(3)
    ]
    assert not sum(differs(document, images(3)) for document in documents)
    monkeypatch.setattr(Certified, "margin", -1.0)  # no result is near the middle
    assert sum(differs(document, images(3)) for document in documents) > 100


@pytest.fixture
def everything_again(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Let every sum be taken again, and count those that float64 does not decide."""
    monkeypatch.setattr(Certified, "margin", 0.5)
    monkeypatch.setattr(matching, "WIDEST", 1)
    counted = {"again": 0, "exact": 0}

    def count(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*given: Any, **named: Any) -> Any:
            counted[name] += 1
            return function(*given, **named)

        return counting

    again = certificate._Again
    monkeypatch.setattr(again, "__call__", count("again", again.__call__))
    monkeypatch.setattr(certificate, "summed", count("exact", summed))
    return counted


@pytest.mark.parametrize("scales", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("body", [*PRODUCTS, held, averaged, dense], ids=lambda body: body.__name__)
def test_sums_taken_again_are_the_documented_ones(
    tmp_path: Path, body: Any, scales: tuple[float, ...], everything_again: dict[str, int]
) -> None:
    assert not differs(network(tmp_path, body, 3, scales=scales), images(3))
    assert everything_again["again"]


def test_sums_that_float64_does_not_decide_are_exact(
    tmp_path: Path, everything_again: dict[str, int]
) -> None:
    """Odd sums from 2**24 on, in steps of a power of two, lie in the middle of two float32."""
    net = Net(0, scales=EVEN)
    one = net.keep(np.float32(1))
    _, real = net.quantize("image", (one, net.keep(np.uint8(0))))
    weights = net.keep(np.full((32, 1200), 127, np.int8))
    net.stored[weights][:, 0] = np.arange(32)
    made = net.node("DequantizeLinear", weights, one)
    coarse = net.keep(np.float32(2.0**18)), net.keep(np.uint8(1))
    y = net.quantize(net.node("Gemm", real, made, transB=1), coarse)[1]
    document = net.document(tmp_path, {"image": ("n", 1200)}, [y])
    x = np.random.default_rng(1).integers(200, 256, (8, 1200)).astype(np.float32)
    assert not differs(document, x)
    assert everything_again["exact"]
