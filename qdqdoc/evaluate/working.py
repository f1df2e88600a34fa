"""One batch, from its inputs to its counts: what a worker does."""

from __future__ import annotations

import os
import pickle
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.errors import QdqdocError
from qdqdoc.evaluate.answer import Counts, Score
from qdqdoc.evaluate.counting import Run, classes_of, compare
from qdqdoc.evaluate.errors import EvaluateError
from qdqdoc.evaluate.following import Follower, follow
from qdqdoc.evaluate.layers import Code, codes_of
from qdqdoc.evaluate.settings import peers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.document import Document
    from qdqdoc.numerics.formats import Array

Task = tuple[int, int, dict[str, "Array"], "Array | None"]
"""Number of the batch, number of its first image, inputs, labels.

A plain tuple: schedulers keep it until it is done, so that it survives the worker.
"""

Answer = tuple[int, Counts | None, str]
"""Number of the batch and its counts, or what went wrong."""


@dataclass(frozen=True)
class Work:
    """What is the same for all batches."""

    document: Document
    contracts: tuple[str, ...]
    classes: str | None
    peers: Mapping[str, str]
    engine: str = "blas"

    @cached_property
    def followers(self) -> tuple[Follower, ...]:
        """The document, ready for each contract."""
        return tuple(follow(self.document, contract, self.engine) for contract in self.contracts)

    @cached_property
    def codes(self) -> tuple[Code, ...]:
        """The tensors that are compared."""
        return codes_of(self.document)

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """The tensors that a run is asked for."""
        compared = [code.tensor for code in self.codes] if len(self.contracts) > 1 else []
        return tuple(dict.fromkeys([*compared, *self.document.graph.outputs]))

    def pack(self) -> bytes:
        """Return all of it as bytes for other processes."""
        plain = Work(self.document, self.contracts, self.classes, self.peers, self.engine)
        return pickle.dumps(plain, pickle.HIGHEST_PROTOCOL)

    def count(self, start: int, inputs: Mapping[str, Array], labels: Array | None) -> Counts:
        """Run one batch, whose first image has the number ``start``, under every contract."""
        images = len(next(iter(inputs.values())))
        runs = [self._run(follower, inputs, images) for follower in self.followers]
        return Counts(
            images=images,
            scores=tuple(self._score(run, images, labels) for run in runs),
            agreements=tuple(
                compare(*pair, self.codes, self.document.graph.outputs, start, images)
                for pair in combinations(runs, 2)
            ),
        )

    def _run(self, follower: Follower, inputs: Mapping[str, Array], images: int) -> Run:
        values = follower.run(inputs, self.wanted)
        found = None if self.classes is None else classes_of(values[self.classes], images)
        return Run(contract=follower.contract, values=values, shifts=follower.shifts, classes=found)

    def _score(self, run: Run, images: int, labels: Array | None) -> Score:
        right = None
        if labels is not None:
            _expect_classes(run, self.classes or "", labels)
            right = int(np.count_nonzero(run.classes == labels))
        return Score(contract=run.contract, images=images, right=right)


def _expect_classes(run: Run, output: str, labels: Array) -> None:
    shape = list(run.values[output].shape)
    if run.classes is None:
        raise EvaluateError(
            f"output {output!r}: found shape {shape}, needed for labels: images, and one other "
            "axis of two or more classes"
        )
    classes = max(shape[1:])
    if int(labels.max()) >= classes:
        raise EvaluateError(f"labels: found {int(labels.max())}, allowed: 0 to {classes - 1}")


PATIENCE = 60
"""Seconds in which a document must have come to a worker of a cluster."""

_brought: dict[str, bytes] = {}
_change = threading.Condition()

_own = threading.local()  # threads of one worker must not share buffers


def stay_with(parent: int) -> None:
    """End this process when the one that started it is gone, even if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def bring(key: str, packed: bytes) -> None:
    """Keep a document in a worker of a cluster."""
    with _change:
        _brought[key] = packed
        _change.notify_all()


def forget(key: str) -> None:
    """Drop it."""
    with _change:
        _brought.pop(key, None)


def _fetched(key: str) -> bytes:
    """Return what was brought; a worker may get work a moment before that."""
    with _change:
        if not _change.wait_for(lambda: key in _brought, PATIENCE):
            raise EvaluateError(f"the document did not come to a worker in {PATIENCE} seconds")
        return _brought[key]


def batch(key: str, packed: Any, task: Task) -> Answer:  # noqa: ANN401 - whatever holds bytes
    """Do one batch in a worker, which unpacks the document once.

    What goes wrong comes back as words: not every error survives the way between processes.
    """
    number, start, inputs, labels = task
    try:
        work = _unpacked(key, packed)
        return number, work.count(start, inputs, labels), ""
    except QdqdocError as error:
        last = start + len(next(iter(inputs.values()))) - 1
        return number, None, f"images {start} to {last}: {error}"


def _unpacked(key: str, packed: Any) -> Work:  # noqa: ANN401 - see above
    if getattr(_own, "key", "") != key:
        raw = _fetched(key) if packed is None else packed
        work: Work = pickle.loads(raw)  # noqa: S301 - our own process packed it
        if work.peers != peers():
            raise EvaluateError(f"a worker has {_spelled(peers())}, needed: {_spelled(work.peers)}")
        _own.key, _own.work = key, work
    held: Work = _own.work
    return held


def _spelled(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def key_of(packed: bytes) -> str:
    """Return the key under which workers keep a document."""
    return sha256(packed).hexdigest()
