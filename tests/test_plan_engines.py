"""With an engine that multiplies int8 a plan gives the same bytes, and does use it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from commands import command
from plan_models import BODIES, EVEN, IMAGE, NEAR, ODD, Net, network

from qdqdoc.evaluate import dumps, evaluate
from qdqdoc.execute import execute
from qdqdoc.extract import extract
from qdqdoc.numerics import int8_products
from qdqdoc.numerics.int8_products import EngineError, int8_product
from qdqdoc.plan import Plan, compile_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdqdoc.document import Document
    from qdqdoc.numerics.formats import Array
    from qdqdoc.numerics.int8_products import Int8Product

# ruff: noqa: ANN401 - bodies are functions

MODELS = Path(__file__).parent.parent / "models"
QUANTIZED = sorted(path.stem for path in MODELS.glob("resnet8_*.onnx"))
INSTALLED = find_spec("torch") is not None or "QDQDOC_TORCH" in os.environ


def exact_here() -> bool:
    """Tell whether this processor multiplies int8 exactly; some saturate."""
    try:
        int8_product("torch")
    except EngineError as error:
        if int8_products.SATURATES not in str(error):
            raise
        return False
    return True


HERE = ["numpy", *(["torch"] if INSTALLED and exact_here() else [])]
"""NumPy's own product of integers, which is slow, and the engines that run here."""


PRODUCTS = {
    *((3 * 9, 16), (16 * 9, 16), (16 * 9, 32), (32 * 9, 32), (16, 32)),
    *((32 * 9, 64), (64 * 9, 64), (32, 64), (64, 10)),
}
"""Terms and filters of the layers of ResNet8."""


class Counted:
    """An engine that counts products, without those that are made for a trial."""

    def __init__(self, product: Int8Product) -> None:
        self.product = product
        self.shapes: list[tuple[int, ...]] = []
        self.made = 0

    def __call__(self, left: Array, right: Array, out: Array) -> Callable[[], object]:
        assert [one.dtype.name for one in (left, right, out)] == ["int8", "int8", "int32"]
        run = self.product(left, right, out)
        if any((right == code).all() for code in int8_products.EXTREMES):
            return run
        self.shapes.append((*left.shape, right.shape[1]))

        def counted() -> None:
            self.made += 1
            run()

        return counted


def by_numpy(left: Array, right: Array, out: Array) -> Callable[[], object]:
    return lambda: np.matmul(left, right, out=out, dtype=np.int32)


def planned(document: Document, contract: str, engine: str) -> tuple[Plan, Counted]:
    found = by_numpy if engine == "numpy" else int8_product(engine)
    assert found is not None
    counted, plan = Counted(found), compile_plan(document, contract)
    plan.product = counted
    return plan, counted


def same(plan: Plan, document: Document, x: Array, contract: str) -> bool:
    """Compare every tensor with the run node by node."""
    trace = execute(document, {"image": x}, contract)
    found = plan.run({"image": x}, keep=plan.kept)
    plain = plan.run({"image": x})
    return all(
        value.tobytes() == trace[name].tobytes()
        for run in (found, plain)
        for name, value in run.items()
        if name in trace.by_name
    )


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("contract", ["qdq", "ort-x86", "ort-x86-int8"])
@pytest.mark.parametrize("model", QUANTIZED)
def test_on_the_models_every_tensor_has_the_same_bytes(
    model: str, contract: str, engine: str
) -> None:
    document = extract(MODELS / f"{model}.onnx")
    x = np.load(MODELS / "test_images.npz")["x"][:3]
    plan, counted = planned(document, contract, engine)
    assert same(plan, document, x, contract)
    # Every Conv and the MatMul is such a product, in both runs; two of them have one shape.
    assert {(terms, filters) for _, terms, filters in counted.shapes} == PRODUCTS
    assert counted.made >= 2 * (len(PRODUCTS) + 1)


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16])
@pytest.mark.parametrize("scales", [ODD, EVEN, NEAR], ids=["odd", "even", "near"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_on_random_networks_every_tensor_has_the_same_bytes(
    tmp_path: Path, body: Any, scales: tuple[float, ...], kind: type[Any], engine: str
) -> None:
    document = network(tmp_path, body, 0, kind=kind, scales=scales)
    x = np.random.default_rng(0).normal(0, 1, (5, *IMAGE)).astype(np.float32)
    for contract in ("qdq", "ort-x86"):
        plan, counted = planned(document, contract, engine)
        assert same(plan, document, x, contract)
        assert same(plan, document, x[:1], contract)
        assert not counted.made or kind != np.int16


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("weight", [1, 2])
def test_one_channel_of_which_windows_are_added(tmp_path: Path, weight: int, engine: str) -> None:
    net = Net(3, kind=np.uint8)
    real = net.quantize("image")[1]
    codes = net.keep(np.full((1, 1, 3, 3), weight, np.int8))
    grid = net.keep(np.float32(0.05)), net.keep(np.int8(0))
    made = net.node("Conv", real, net.node("DequantizeLinear", codes, *grid), pads=[1, 1, 1, 1])
    document = net.document(tmp_path, {"image": ("n", 1, 5, 5)}, [net.quantize(made)[1]])
    x = np.random.default_rng(0).normal(0, 1, (2, 1, 5, 5)).astype(np.float32)
    for contract in ("qdq", "ort-x86"):
        plan, counted = planned(document, contract, engine)
        assert same(plan, document, x, contract)
        assert bool(counted.made) == (weight != 1)


def test_a_product_that_saturates_is_refused() -> None:
    document = extract(MODELS / "resnet8_int8.onnx")
    plan = compile_plan(document)

    def saturating(left: Array, right: Array, out: Array) -> Callable[[], object]:
        """Add pairs of products in 16 bits, as AVX2 does: codes from 0 to 255 times weights."""

        def run() -> None:
            products = (left.astype(np.int64) + 128)[:, :, None] * right
            even = products[:, : products.shape[1] // 2 * 2]
            pairs = (even[:, ::2] + even[:, 1::2]).clip(-(2**15), 2**15 - 1)
            rest = products[:, even.shape[1] :].sum(axis=1)
            out[...] = pairs.sum(axis=1) + rest - 128 * right.sum(axis=0, dtype=np.int64)

        return run

    plan.product = saturating
    with pytest.raises(EngineError, match=r"^not exact on this processor: 27 \* 127 \* 127 is "):
        plan.run({"image": np.zeros((1, 32, 32, 3), np.float32)})


@pytest.mark.skipif(not INSTALLED, reason="tox -e torch has PyTorch")
def test_a_processor_that_saturates_is_refused() -> None:
    """oneDNN, which multiplies for torch, takes the processor for an older one if it is told so."""
    program = "from qdqdoc.numerics.int8_products import int8_product; int8_product('torch')"
    older = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], env=older, capture_output=True, text=True, check=False
    )
    said = done.stderr.strip().splitlines()[-1]
    assert "EngineError: engine torch: not exact on this processor: 64 * 127 * 127 is " in said


def test_engines_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    document = extract(MODELS / "resnet8_int8.onnx")
    with pytest.raises(EngineError, match=r"^engine 'gpu': allowed: blas, torch$"):
        compile_plan(document, engine="gpu")

    def missing(name: str) -> None:
        raise ImportError(f"no {name} here")

    monkeypatch.setattr(int8_products, "import_module", missing)
    with pytest.raises(EngineError, match=r"^engine torch: it needs PyTorch; .*no torch here"):
        compile_plan(document, engine="torch")


def test_the_commands_take_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, images = MODELS / "resnet8_int8.onnx", tmp_path / "x.npy"
    np.save(images, np.load(MODELS / "test_images.npz")["x"][:2])
    asked: dict[str, list[object]]
    asked = {"run": ["--input", f"image={images}"], "evaluate": ["--inputs", images]}
    made = Counted(by_numpy)
    monkeypatch.setattr(int8_products, "_by_torch", lambda: made)
    for name, more in asked.items():
        plain = command(name)(capsys, model, *more)
        already = made.made
        assert command(name)(capsys, model, *more, "--engine", "torch") == plain
        assert plain[0] == 0
        assert made.made > already
    given = (model, *asked["run"], "--engine")
    assert command("run")(capsys, *given, "gpu")[::2] == (
        2,
        "qdqdoc: error: engine 'gpu': allowed: blas, torch\n",
    )
    code, _, told = command("run")(capsys, *given, "torch", "-o", tmp_path / "t.npz")
    assert (code, told) == (
        2,
        "qdqdoc: error: --engine: found torch beside -o, allowed: without -o\n",
    )
    assert not (tmp_path / "t.npz").exists()


def test_a_run_that_was_killed_continues_with_another_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = extract(MODELS / "resnet8_int8.onnx")
    x = np.load(MODELS / "test_images.npz")["x"][:4]
    plain = evaluate(document, {"image": x}, batch=2, folder=tmp_path / "kept")
    monkeypatch.setattr(int8_products, "_by_torch", lambda: by_numpy)
    again = evaluate(document, {"image": x}, batch=2, engine="torch", folder=tmp_path / "kept")
    fresh = evaluate(document, {"image": x}, batch=2, engine="torch")
    assert dumps(plain) == dumps(again) == dumps(fresh)
