"""Steps bound to memory: what runs a batch block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.plan.certificate import Certified
from qdqdoc.plan.pairs import Pair
from qdqdoc.plan.requantize import Requantize
from qdqdoc.plan.roots import Root
from qdqdoc.plan.shares import Shares
from qdqdoc.plan.steps import Buffers, Leave, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from qdqdoc.numerics.formats import Array
    from qdqdoc.numerics.int8_products import Int8Product
    from qdqdoc.plan.sample import Sample
    from qdqdoc.plan.steps import Step
    from qdqdoc.plan.tables import Table

BLOCK = 2**17
"""So many values has the largest tensor of a block: its few copies stay in a cache."""

SMALL = 32
"""Steps whose tensors are so many times smaller than the largest wait for more images."""


class Stage:
    """Some steps, and how many images they take at a time.

    ``shared`` is what the steps before hand over to those at the end.
    """

    def __init__(
        self,
        steps: list[Step],
        shared: Sequence[Root | str],
        images: int,
        product: Int8Product | None,
    ) -> None:
        self.steps = steps
        self.shared = shared
        self.images = images
        roots = [one for one in shared if isinstance(one, Root)]
        self.buffers = Buffers(steps, roots, images, product)
        self._bound: dict[int, list[Callable[[], None]]] = {}
        self._bind(images)  # scratch is as large as the last step needs; bind to that
        self._bind(images)

    def _bind(self, images: int) -> None:
        self._bound[images] = [step.bind(images, self.buffers) for step in self.steps]

    def run(self, images: int) -> None:
        """Do all steps for so many images."""
        if images not in self._bound:
            self._bind(images)
        for step in self._bound[images]:
            step()

    def take(self, before: Stage, images: int, block: slice, total: int) -> None:
        """Copy what an earlier stage made for a block of images."""
        for one in self.shared:
            if isinstance(one, Root):
                rows = slice(block.start * one.pixels, block.stop * one.pixels)
                self.buffers.index(one, total)[rows] = before.buffers.index(one, images)
            else:
                made = before.buffers.tensors[one]
                if block.start == 0:
                    self.buffers.tensors[one] = np.empty((total, *made.shape[1:]), made.dtype)
                self.buffers.tensors[one][block] = made


class Program:
    """The steps for some outputs.

    With ``cut`` a batch may be cut anywhere; else each run has as many images as the sample. The
    steps at the end, whose tensors are small, take more images at a time.
    """

    def __init__(
        self,
        sample: Sample,
        steps: list[Step],
        product: Int8Product | None,
        *,
        wanted: Sequence[str],
        cut: bool,
    ) -> None:
        self.wanted = wanted
        self.inputs = sample.document.graph.inputs
        moves = [name for name in wanted if name in sample.moving]
        self.kinds = {name: (sample.shape(name), sample.dtype(name)) for name in moves}
        self.constants = {name: sample.values[name] for name in wanted if name not in moves}
        _stack(steps)
        head, tail, crossing = split(steps, sample)
        largest = max((size_of(one, sample) for one in _resources(steps)), default=1)
        images = max(BLOCK // max(largest, 1), 1) if cut else sample.images
        small = max((size_of(one, sample) for one in _resources(tail)), default=1)
        many = max(BLOCK // max(small * images, 1), 1) * images if cut else images
        self.head = Stage(head, crossing, images, product)
        self.tail = Stage(tail, crossing, many, product)

    def run(self, given: Mapping[str, Array], total: int) -> dict[str, Array]:
        """Run a batch and return the outputs."""
        results = {name: np.empty((total, *s), kind) for name, (s, kind) in self.kinds.items()}
        with np.errstate(all="ignore"):
            for first in range(0, total, self.tail.images):
                last = min(first + self.tail.images, total)
                self._several(
                    {name: given[name][first:last] for name in self.inputs}, results, first
                )
        self.head.buffers.tensors.clear()
        self.tail.buffers.tensors.clear()
        fixed = {name: value.copy() for name, value in self.constants.items()}
        return {name: results[name] if name in results else fixed[name] for name in self.wanted}

    def _several(
        self, given: Mapping[str, Array], results: Mapping[str, Array], first: int
    ) -> None:
        """Run as many images as the last steps take, in blocks of as many as the others do."""
        total = len(next(iter(given.values())))
        made = self.head.buffers.tensors
        for start in range(0, total, self.head.images):
            block = slice(start, min(start + self.head.images, total))
            made.clear()
            made.update((name, value[block]) for name, value in given.items())
            self.head.run(block.stop - start)
            self.tail.take(self.head, block.stop - start, block, total)
            for name in results.keys() & made.keys():
                results[name][first + start : first + block.stop] = made[name]
        self.tail.run(total)
        late = self.tail.buffers.tensors
        for name in (results.keys() & late.keys()) - made.keys():
            results[name][first : first + total] = late[name]


def _resources(steps: Iterable[Step]) -> Iterator[Root | str]:
    for step in steps:
        yield from (*step.writes, *step.reads)


def size_of(resource: Root | str, sample: Sample) -> int:
    """Return how many values one image has in a root or a tensor."""
    if isinstance(resource, str):
        # A view that a plan makes for itself has no shape of its own, and costs nothing.
        shape = sample.shape(resource) if resource in sample.values else ()
    else:
        shape = resource.shape
    return int(np.prod(shape, dtype=np.int64))


def split(
    steps: list[Step], sample: Sample
) -> tuple[list[Step], list[Step], tuple[Root | str, ...]]:
    """Return the first steps, the last with small tensors, and what these read of those."""
    largest = max((size_of(one, sample) for one in _resources(steps)), default=1)
    small = {key_of(r): size_of(r, sample) * SMALL <= largest for r in _resources(steps)}
    early: set[object] = set()
    head: list[Step] = []
    tail: list[Step] = []
    for step in reversed(steps):
        touched = [key_of(one) for one in (*step.writes, *step.reads)]
        late = all(small[key] for key in touched) and not early.intersection(touched)
        (tail if late else head).append(step)
        if not late:
            early.update(touched)
    made = {key_of(one) for step in tail for one in step.writes}
    crossing = {key_of(r): r for s in tail for r in s.reads if key_of(r) not in made}
    return head[::-1], tail[::-1], tuple(crossing.values())


def _stack(steps: Sequence[Step]) -> None:
    """Let places count through all channels where some table differs from channel to channel."""
    for step in steps:
        for table, values in _read(step):
            if values.shape[1] > 1:
                table.root.stacked = True


def _read(step: Step) -> list[tuple[Table, Array]]:
    """Return the tables that a step looks up, with the values that it finds there."""
    if isinstance(step, Leave | Shares):
        return [(step.table, step.table.values)]
    if isinstance(step, Pair):
        return [*zip(step.tables, (step.left, step.right), strict=True)]
    if isinstance(step, Certified | Requantize):
        return [(step.product.table, step.product.counts)]
    return []
