"""Run a model on a data set under several contracts: how often it is right, where they part."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.evaluate.answer import (
    MANY,
    Agreement,
    Counts,
    Evaluation,
    Layer,
    Output,
    Score,
)
from qdqdoc.evaluate.errors import EvaluateError
from qdqdoc.evaluate.ledger import Ledger
from qdqdoc.evaluate.parallel import in_processes, on_cluster, one_by_one
from qdqdoc.evaluate.settings import BATCH, Data, Settings, settle
from qdqdoc.evaluate.sources import opened, split
from qdqdoc.evaluate.store import RESULT, Store, write
from qdqdoc.evaluate.working import Work
from qdqdoc.evaluate.writing import dumps, report

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from qdqdoc.document import Document
    from qdqdoc.evaluate.working import Answer, Task
    from qdqdoc.numerics.formats import Array

__all__ = [
    "BATCH",
    "MANY",
    "RESULT",
    "Agreement",
    "Counts",
    "Data",
    "EvaluateError",
    "Evaluation",
    "Layer",
    "Output",
    "Score",
    "Settings",
    "dumps",
    "evaluate",
    "opened",
    "report",
    "split",
    "write",
]


def evaluate(
    document: Document,
    inputs: Mapping[str, Array],
    labels: Array | None = None,
    contracts: Sequence[str] = ("qdq",),
    *,
    batch: int | None = None,
    classes: str | None = None,
    engine: str = "blas",
    jobs: int = 1,
    cluster: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Evaluation:
    """Run every image under every contract, and compare the contracts with each other.

    The first axis of every input is that of the images. The result is the same for any number of
    jobs. It may depend on the batch if the model looks at several images together.

    Parameters
    ----------
    document
        A whole model, see `qdqdoc.extract`.
    inputs
        An array for each input of the model; `opened` maps those that memory does not hold.
    labels
        The class of each image.
    contracts
        What the numbers are to be equal to, see `qdqdoc.execute`.
    batch
        So many images are run at a time, unless the model fixes it.
    classes
        The output whose largest value is the class, where there are several outputs.
    engine
        What multiplies, see `qdqdoc.plan.compile_plan`: the numbers are the same.
    jobs
        So many processes.
    cluster
        The address of a Dask scheduler, instead of processes.
    folder
        Where to keep the counts of each batch; a run that was killed continues there.
    progress
        Is told how many images are done, of how many; at first, how many were already.
    note
        Is told, in words, of batches that are not done again or have to be.

    Raises
    ------
    EvaluateError
        For data that do not fit the model, a folder that holds anything else, lost workers.
    EngineError
        For an engine that is not there.

    Examples
    --------
    >>> from qdqdoc.document import Document, Graph, Operation, Tensor
    >>> tensors = [
    ...     Tensor(name="x", dtype="float32", shape=("n", 2)),
    ...     Tensor(name="s", dtype="float32", shape=(), initializer=True, values=(0.5,)),
    ...     Tensor(name="y", dtype="uint8", shape=("n", 2)),
    ... ]
    >>> q = Operation(name="q", op_type="QuantizeLinear", inputs=("x", "s"), outputs=("y",))
    >>> graph = Graph(
    ...     inputs=("x",), outputs=("y",), operations=(q,), tensors={t.name: t for t in tensors}
    ... )
    >>> document = Document(model_path="small.onnx", graph=graph, opset_imports={"": 21})
    >>> images = np.float32([[1, 2], [5, 3], [4, 4.5]])
    >>> evaluate(document, {"x": images}, np.int64([1, 0, 0]), batch=2).score("qdq")
    Score(contract='qdq', images=3, right=2)
    """
    if cluster is not None and jobs != 1:
        raise EvaluateError(f"jobs: found {jobs} beside a cluster, which has its own workers")
    arrays = {name: np.asanyarray(value) for name, value in inputs.items()}
    truth = None if labels is None else np.asanyarray(labels)
    settings = settle(document, arrays, truth, contracts, batch, classes)
    work = Work(document, settings.contracts, settings.classes, settings.peers, engine)
    _ = work.followers  # whoever cannot follow says so before the work starts
    store = Store(Path(folder), settings) if folder is not None else None
    ledger = Ledger(settings, store, progress or (lambda *_: None), note or (lambda _: None))
    with closing(_answers(work, ledger.tasks(arrays, truth), jobs, cluster)) as answers:
        for answer in answers:
            ledger.take(answer)
    return Evaluation(settings=settings, counts=ledger.total())


def _answers(
    work: Work, tasks: Iterator[Task], jobs: int, cluster: str | None
) -> Generator[Answer]:
    if cluster is not None:
        return on_cluster(work, tasks, cluster)
    return one_by_one(work, tasks) if jobs == 1 else in_processes(work, tasks, jobs)
