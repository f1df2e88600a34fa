"""Batches one after the other, in processes, or on a cluster: the same answers in any order."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.evaluate.errors import EvaluateError
from qdqdoc.evaluate.working import batch, bring, forget, key_of, stay_with

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from qdqdoc.evaluate.working import Answer, Task, Work

PATIENCE = 10
"""Seconds in which a cluster must answer."""

AHEAD = "2*n_jobs"
"""So many batches are read before they are needed; so memory does not grow with the data."""


def one_by_one(work: Work, tasks: Iterable[Task]) -> Generator[Answer]:
    """Do all batches here."""
    for number, start, inputs, labels in tasks:
        yield number, work.count(start, inputs, labels), ""


def in_processes(work: Work, tasks: Iterable[Task], jobs: int) -> Generator[Answer]:
    """Do the batches in so many processes, with one thread for BLAS in each."""
    from joblib import Parallel, delayed, parallel_config  # noqa: PLC0415 - an optional extra
    from joblib.externals.loky.process_executor import (  # noqa: PLC0415 - the same
        BrokenProcessPool,
    )

    packed = work.pack()
    key = key_of(packed)
    shared = np.frombuffer(packed, np.uint8)  # joblib maps large arrays into every process
    calls = (delayed(batch)(key, shared, task) for task in tasks)
    settings = {"initializer": stay_with, "initargs": (os.getpid(),), "inner_max_num_threads": 1}
    with parallel_config(backend="loky", n_jobs=jobs, **settings):
        parallel = Parallel(
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch=AHEAD,
        )
        try:
            yield from _answers(parallel(calls))
        except BrokenProcessPool:
            raise EvaluateError(
                "a process was killed, perhaps for want of memory: use a smaller batch or fewer "
                "jobs; what was kept in a folder is not done again"
            ) from None


def on_cluster(work: Work, tasks: Iterable[Task], address: str) -> Generator[Answer]:
    """Do the batches on a Dask cluster, through joblib.

    The document goes to every worker once, to those that come later, too. A batch whose worker is
    lost is done by another one.
    """
    from distributed import KilledWorker  # noqa: PLC0415 - an optional extra
    from joblib import Parallel, delayed, parallel_config  # noqa: PLC0415 - the same

    packed = work.pack()
    key = key_of(packed)
    calls = (delayed(batch)(key, None, task) for task in tasks)
    try:
        with _quiet(), _connected(address) as client, _brought(client, key, packed):
            settings = {"client": client, "wait_for_workers_timeout": PATIENCE}
            with parallel_config(backend="dask", **settings):
                parallel = Parallel(
                    return_as="generator_unordered", batch_size=1, pre_dispatch=AHEAD
                )
                yield from _answers(parallel(calls))
    except TimeoutError:
        raise EvaluateError(f"{address}: has no worker after {PATIENCE} seconds") from None
    except KilledWorker:
        raise EvaluateError(f"{address}: a batch was lost with each of its workers") from None
    except (OSError, CancelledError) as error:
        raise EvaluateError(f"{address}: the cluster was lost: {error}") from None


def _answers(results: Any) -> Generator[Answer]:  # noqa: ANN401 - joblib has no types
    """Yield answers; if nobody wants more of them, stop the workers without a word."""
    try:
        for result in results:
            if not isinstance(result, tuple):
                raise EvaluateError(f"a batch was lost: {result}")
            yield result
    finally:
        with warnings.catch_warnings(action="ignore"):
            results.close()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a scheduler."""
    from distributed import Client  # noqa: PLC0415 - an optional extra

    try:
        # A client that nobody answers leaves threads behind, so it is not made at first.
        with ThreadPoolExecutor(1) as pool:  # notebooks have a loop in this thread
            pool.submit(asyncio.run, _knock(address)).result()
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise EvaluateError(f"{address!r}: no Dask cluster answers: {reason}") from None
    with client:
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what Dask says: what goes wrong is an error of ours, in one line."""
    from dask import config  # noqa: PLC0415 - an optional extra

    names = ("distributed", *logging.root.manager.loggerDict)
    logs = [logging.getLogger(name) for name in names if name.partition(".")[0] == "distributed"]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    try:
        # A batch of images is more than Dask expects in a task; it is needed there once.
        with config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


async def _knock(address: str) -> None:
    from distributed.comm import connect  # noqa: PLC0415 - an optional extra
    from distributed.security import Security  # noqa: PLC0415 - the same

    settings = Security().get_connection_args("client")
    comm = await connect(address, timeout=PATIENCE, **settings)
    await comm.close()


@contextmanager
def _brought(client: Any, key: str, packed: bytes) -> Iterator[None]:  # noqa: ANN401 - not always installed
    """Bring the document to every worker, and take it away in the end."""
    from distributed import WorkerPlugin  # noqa: PLC0415 - an optional extra

    class Carrier(WorkerPlugin):  # type: ignore[misc] # not always installed
        name = f"qdqdoc-{key}"

        def setup(self, worker: object) -> None:  # noqa: ARG002 - Dask's signature
            bring(key, packed)

        def teardown(self, worker: object) -> None:  # noqa: ARG002 - Dask's signature
            forget(key)

    client.register_plugin(Carrier())
    bring(key, packed)  # joblib works here if the cluster has a single thread
    try:
        yield
    finally:
        forget(key)
        client.unregister_worker_plugin(Carrier.name)
