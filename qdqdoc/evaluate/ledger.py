"""Which batches there are, which are done, and what they add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.evaluate.errors import EvaluateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from qdqdoc.evaluate.answer import Counts
    from qdqdoc.evaluate.settings import Settings
    from qdqdoc.evaluate.store import Store
    from qdqdoc.evaluate.working import Answer, Task
    from qdqdoc.numerics.formats import Array


class Ledger:
    """Adds up the counts of batches as they come; the sum is the same in any order."""

    def __init__(
        self,
        settings: Settings,
        store: Store | None,
        progress: Callable[[int, int], None],
        note: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.store = store
        self.progress = progress
        self.counts: Counts | None = None
        batches = range(-(-settings.images // settings.batch))
        self.waiting = [number for number in batches if not self._known(number, note)]
        if len(self.waiting) < len(batches):
            found = len(batches) - len(self.waiting)
            note(f"{found} of {len(batches)} batches were done before")
        self._tell()

    def _known(self, number: int, note: Callable[[str], None]) -> bool:
        """Take a batch from the folder, if it is there and sound."""
        if self.store is None:
            return False
        try:
            found = self.store.load(number)
        except EvaluateError as error:
            note(f"{error}: done again")
            return False
        if found is not None:
            self._add(found)
        return found is not None

    def tasks(self, inputs: Mapping[str, Array], labels: Array | None) -> Iterator[Task]:
        """Yield what is to be done; a batch is read when it is asked for."""
        size = self.settings.batch
        for number in self.waiting:
            part = slice(number * size, (number + 1) * size)
            seen = {name: np.array(value[part]) for name, value in inputs.items()}
            truth = None if labels is None else np.array(labels[part])
            yield number, part.start, seen, truth

    def take(self, answer: Answer) -> None:
        """Add a batch, and keep it where there is a folder."""
        number, counts, problem = answer
        if counts is None:
            raise EvaluateError(problem)
        if self.store is not None:
            self.store.keep(number, counts)
        self._add(counts)
        self._tell()

    def total(self) -> Counts:
        """Return what all batches add up to."""
        found = 0 if self.counts is None else self.counts.images
        if self.counts is None or found != self.settings.images:
            raise EvaluateError(f"found {found} images done, needed: {self.settings.images}")
        return self.counts

    def _add(self, counts: Counts) -> None:
        self.counts = counts if self.counts is None else self.counts + counts

    def _tell(self) -> None:
        done = 0 if self.counts is None else self.counts.images
        self.progress(done, self.settings.images)
