"""The steps of a plan: what is bound once to its memory, and then done for each block of images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import DTypeLike

    from qdqdoc.document import Operation
    from qdqdoc.numerics.formats import Array
    from qdqdoc.numerics.int8_products import Int8Product
    from qdqdoc.plan.documented import Documented
    from qdqdoc.plan.roots import Root
    from qdqdoc.plan.tables import Table


class Buffers:
    """The memory of some steps for blocks of so many images; what is ``lasting`` keeps its own.

    ``tensors`` holds tensors as the operators know them. Roots have places of their own, as long
    as a later step reads them; the rest is scratch, which steps that need the same kind share.
    ``product`` is what multiplies int8, if something does.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        lasting: Iterable[Root],
        images: int,
        product: Int8Product | None = None,
    ) -> None:
        self.tensors: dict[str, Array] = {}
        self.product = product
        self._scratch: dict[str, Array] = {}
        self._places = _placed(list(steps), list(lasting), images)

    def index(self, root: Root, images: int) -> Array:
        """Return the places of a root, (pixels of all images, channels)."""
        count = images * root.pixels * root.channels
        used = self._places[id(root)][: count * root.index_dtype.itemsize]
        return used.view(root.index_dtype).reshape(images * root.pixels, root.channels)

    def scratch(self, kind: str, *shape: int, dtype: DTypeLike = np.float32) -> Array:
        """Return memory that any step may overwrite; in the beginning it holds zeros."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if kind not in self._scratch or self._scratch[kind].size < size:
            self._scratch[kind] = np.zeros(size, np.uint8)
        return self._scratch[kind][:size].view(dtype).reshape(shape)


def key_of(resource: Root | str) -> object:
    """Return what tells a root or a tensor from all others."""
    return resource if isinstance(resource, str) else id(resource)


class Step(Protocol):
    """One step: what it reads, what it writes, and how it is made ready for so many images."""

    @property
    def reads(self) -> tuple[Root | str, ...]:
        """What must be there before."""

    @property
    def writes(self) -> tuple[Root | str, ...]:
        """What is there afterwards."""

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Return what does the step; all views are made here, once."""


def _placed(steps: list[Step], lasting: list[Root], images: int) -> dict[int, Array]:
    """Give each root memory; a piece is used again when nobody reads what it holds.

    Those that are ``lasting`` come from before the first step, or are read after the last.
    """
    free: list[Array] = []
    places: dict[int, Array] = {}
    last = {id(one): n for n, step in enumerate(steps) for one in (*step.writes, *step.reads)}
    for root in lasting:
        last[id(root)] = len(steps)
        places[id(root)] = _piece(root, free, images)
    for number, step in enumerate(steps):
        touched = [one for one in (*step.writes, *step.reads) if not isinstance(one, str)]
        for root in touched:
            if id(root) not in places:
                places[id(root)] = _piece(root, free, images)
        free.extend(places[key] for key in {*map(id, touched)} if last[key] == number)
    return places


def _piece(root: Root, free: list[Array], images: int) -> Array:
    """Take the smallest free piece that is large enough, or new memory."""
    size = images * root.pixels * root.channels * root.index_dtype.itemsize
    fitting = [n for n, piece in enumerate(free) if piece.size >= size]
    if not fitting:
        return np.empty(size, np.uint8)
    return free.pop(min(fitting, key=lambda n: free[n].size))


@dataclass(frozen=True, eq=False)
class Run:
    """An operation in the documented way, on tensors as the operators know them."""

    documented: Documented
    operation: Operation
    constants: dict[str, Array]

    @property
    def reads(self) -> tuple[Root | str, ...]:
        """The inputs that are no constants."""
        return tuple(n for n in self.operation.inputs if n and n not in self.constants)

    @property
    def writes(self) -> tuple[Root | str, ...]:
        """The outputs that have a name."""
        return tuple(filter(None, self.operation.outputs))

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Hand the block to the code that `execute` runs."""
        del images
        tensors, names = buffers.tensors, tuple(filter(None, self.operation.outputs))

        def step() -> None:
            given = [
                self.constants[name] if name in self.constants else tensors[name] if name else None
                for name in self.operation.inputs
            ]
            found = self.documented.run(self.operation, given)
            tensors.update(zip(names, found, strict=True))

        return step


@dataclass(frozen=True, eq=False)
class Turn:
    """A Transpose: another view of the same memory."""

    source: str
    name: str
    axes: tuple[int, ...]
    reads: tuple[Root | str, ...] = field(init=False)
    writes: tuple[Root | str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Name what is read and written."""
        object.__setattr__(self, "reads", (self.source,))
        object.__setattr__(self, "writes", (self.name,))

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Turn the block."""
        del images
        tensors = buffers.tensors

        def step() -> None:
            tensors[self.name] = tensors[self.source].transpose(self.axes)

        return step


@dataclass(frozen=True, eq=False)
class Enter:
    """Codes of the operators become places in tables."""

    source: str
    root: Root

    @property
    def reads(self) -> tuple[Root | str, ...]:
        """The codes."""
        return (self.source,)

    @property
    def writes(self) -> tuple[Root | str, ...]:
        """Their places."""
        return (self.root,)

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Put the channels last and count from the lowest code."""
        index = buffers.index(self.root, images)
        shaped = index.reshape(images, *self.root.shape[1:], self.root.channels)
        low, origin = self.root.low, self.root.origin().astype(np.int32)
        tensors, rank = buffers.tensors, len(self.root.shape)

        def step() -> None:
            codes = tensors[self.source]
            last = np.moveaxis(codes, 1, -1) if rank else codes[:, None]
            np.subtract(last, low, out=shaped, dtype=np.int32, casting="unsafe")
            if self.root.stacked:
                np.add(shaped, origin, out=shaped, casting="unsafe")

        return step


@dataclass(frozen=True, eq=False)
class Leave:
    """A table of a root becomes a tensor as the operators know it."""

    table: Table
    name: str

    @property
    def reads(self) -> tuple[Root | str, ...]:
        """The places."""
        return (self.table.root,)

    @property
    def writes(self) -> tuple[Root | str, ...]:
        """The tensor."""
        return (self.name,)

    def bind(self, images: int, buffers: Buffers) -> Callable[[], None]:
        """Look every place up and put the channels second."""
        root, shape = self.table.root, self.table.shape
        index = buffers.index(root, images).reshape(images, *root.shape[1:], root.channels)
        entries, tensors = self.table.entries(), buffers.tensors

        def step() -> None:
            values = np.moveaxis(entries.take(index, mode="wrap"), -1, 1)
            tensors[self.name] = np.ascontiguousarray(values.reshape(images, *shape))

        return step
