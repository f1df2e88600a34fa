"""A plan gives the bytes of `execute`: on the models of the repository and on random networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from plan_models import BODIES, EVEN, IMAGE, NEAR, ODD, network

from qdqdoc.execute import execute
from qdqdoc.extract import extract
from qdqdoc.plan import compile_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.execute import Trace
    from qdqdoc.numerics.formats import Array

# ruff: noqa: ANN401 - bodies are functions

MODELS = Path(__file__).parent.parent / "models"
QUANTIZED = sorted(path.stem for path in MODELS.glob("resnet8_*.onnx"))
CONTRACTS = ("qdq", "ort-x86", "ort-x86-int8")


def images(count: int, *shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 1, (count, *shape)).astype(np.float32)


def differing(found: Mapping[str, Array], trace: Trace) -> list[str]:
    """Name what is not the same type, shape and bytes."""
    return [
        name
        for name, value in found.items()
        if name in trace.by_name
        and (value.dtype, value.shape, value.tobytes())
        != (trace[name].dtype, trace[name].shape, trace[name].tobytes())
    ]


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("model", QUANTIZED)
def test_on_the_models_every_tensor_has_the_same_bytes(model: str, contract: str) -> None:
    document = extract(MODELS / f"{model}.onnx")
    shown = np.load(MODELS / "test_images.npz")["x"]
    noise = np.random.default_rng(1).random((3, *shown.shape[1:]), np.float32)
    x = np.concatenate([shown[:3], noise])
    trace = execute(document, {"image": x}, contract)
    plan = compile_plan(document, contract)
    assert not differing(plan.run({"image": x}), trace)
    every = plan.run({"image": x}, keep=plan.kept)
    assert set(every) >= {one.name for one in trace.tensors}
    assert not differing(every, trace)
    for few in (x[:1], x[1:4]):
        found = plan.run({"image": few}, keep=plan.kept[::9])
        assert not differing(found, execute(document, {"image": few}, contract))


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("scales", [ODD, EVEN, NEAR], ids=["odd", "even", "near"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_on_random_networks_every_tensor_has_the_same_bytes(
    tmp_path: Path,
    body: Any,
    scales: tuple[float, ...],
    kind: type[Any],
) -> None:
    for seed in range(2):
        document = network(tmp_path, body, seed, kind=kind, scales=scales)
        x = images(5, *IMAGE, seed=seed)
        for contract in ("qdq", "ort-x86"):
            trace = execute(document, {"image": x}, contract)
            plan = compile_plan(document, contract)
            assert not differing(plan.run({"image": x}), trace)
            assert not differing(plan.run({"image": x}, keep=plan.kept), trace)
            one = execute(document, {"image": x[:1]}, contract)
            assert not differing(plan.run({"image": x[:1]}), one)
