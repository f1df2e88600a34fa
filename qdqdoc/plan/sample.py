"""What one small documented run tells of a model: types, shapes, and what is the same each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.document import array
from qdqdoc.execute import execute
from qdqdoc.plan.roots import Root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.document import Document, Operation
    from qdqdoc.numerics.formats import Array


class Sample:
    """A documented run on zeros, of as many images as the inputs hold.

    ``moving`` are the tensors that depend on the inputs; all others are constants. Of those that
    move only the type and the shape are kept: each element is the same zero in memory.
    """

    def __init__(self, document: Document, zeros: Mapping[str, Array]) -> None:
        self.document = document
        self.moving = moving(document)
        self.values: dict[str, Array] = {}
        for one in execute(document, zeros).tensors:
            moves = one.name in self.moving
            same = np.broadcast_to(np.zeros((), one.value.dtype), one.shape)
            self.values[one.name] = same if moves else one.value
        for tensor in document.tensors.values():
            if tensor.initializer:
                self.values[tensor.name] = array(document, tensor)
        self.makers = {name: one for one in document.operations for name in one.outputs}
        self.images = next(iter(zeros.values())).shape[0]

    def constant(self, name: str) -> Array | None:
        """Return a value that is the same in each run; ``None`` for others, and for no tensor."""
        return None if name in self.moving else self.values.get(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of what one image has in a tensor that moves."""
        return self.values[name].shape[1:]

    def dtype(self, name: str) -> np.dtype[np.generic]:
        """Return the type of a tensor."""
        return np.dtype(self.values[name].dtype)

    def root(self, operation: Operation) -> Root:
        """Return the root that an operation makes with its one output."""
        (name,) = operation.outputs
        return Root(name, self.dtype(name), self.shape(name))

    def moving_inputs(self, operation: Operation) -> list[str]:
        """Return the inputs of an operation that depend on those of the model."""
        return [name for name in operation.inputs if name in self.moving]


def moving(document: Document) -> set[str]:
    """Name the tensors of the main graph that depend on its inputs."""
    found = set(document.graph.inputs)
    for operation in document.operations:
        if found.intersection(operation.inputs):
            found.update(filter(None, operation.outputs))
    return found
