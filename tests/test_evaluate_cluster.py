"""An evaluation on a Dask cluster of this machine, one of whose workers is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from qdqdoc.evaluate import EvaluateError, dumps, evaluate
from qdqdoc.extract import extract

distributed = pytest.importorskip("distributed", reason="tox -e cluster has it")

if TYPE_CHECKING:
    from collections.abc import Iterator

# ruff: noqa: ANN401 - Dask is not always there
MODELS = Path(__file__).parent.parent / "models"
CONTRACTS = ("qdq", "ort")

# Dask leaves sockets and loops to the collector where a worker is killed.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def pids(cluster: Any) -> list[int]:
    with distributed.Client(cluster, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def test_a_worker_that_is_killed_changes_nothing(cluster: Any) -> None:
    with np.load(MODELS / "test_images.npz") as held:
        x, y = np.tile(held["x"], (4, 1, 1, 1)), np.tile(held["y"], 4)
    document = extract(MODELS / "resnet8_int8.onnx")
    victim, *others = before = pids(cluster)
    assert len({os.getpid(), *before}) == 4
    killed: list[int] = []

    def progress(done: int, images: int) -> None:
        if 0 < done < images and not killed:
            os.kill(victim, signal.SIGKILL)
            killed.append(done)

    found = evaluate(
        document,
        {"image": x},
        y,
        CONTRACTS,
        batch=2,
        cluster=cluster.scheduler_address,
        progress=progress,
    )
    assert killed
    after = pids(cluster)
    assert victim not in after
    assert {*others} <= {*after}
    assert dumps(found) == dumps(evaluate(document, {"image": x}, y, CONTRACTS, batch=2))


def test_what_a_worker_complains_of_is_one_line(cluster: Any) -> None:
    document = extract(MODELS / "resnet8_int8.onnx")
    x = np.zeros((6, 32, 32, 3), np.float32)
    with pytest.raises(EvaluateError, match="labels: found 10, allowed: 0 to 9") as caught:
        evaluate(
            document,
            {"image": x},
            np.array([0, 1, 2, 3, 10, 5]),
            batch=1,
            cluster=cluster.scheduler_address,
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "http://a", ""])
def test_a_cluster_that_does_not_answer_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdqdoc.evaluate.parallel.PATIENCE", 1)
    document = extract(MODELS / "resnet8_int8.onnx")
    x = np.zeros((2, 32, 32, 3), np.float32)
    with pytest.raises(EvaluateError, match="no Dask cluster answers") as caught:
        evaluate(document, {"image": x}, cluster=address)
    assert "\n" not in str(caught.value)
