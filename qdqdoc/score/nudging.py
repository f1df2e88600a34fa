"""D3: documents in each of which one stored value is the smallest step away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document import array
from qdqdoc.document.arrays import encode
from qdqdoc.numerics.rounding import f32

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from qdqdoc.document import Document, Operation, Quantization, Tensor

PARAMETERS = ("scale", "zero_point")
"""Of tensors in these roles each value is nudged, of all others one."""


@dataclass(frozen=True)
class Nudge:
    """One stored value that is another one: of what kind, where, and the document with it."""

    kind: str
    place: str
    document: Document


def nudges(document: Document) -> Iterator[Nudge]:
    """Yield a document for each stored value: tensors first, then attributes."""
    for tensor in document.tensors.values():
        if tensor.sha256:
            yield from _tensor(document, tensor)
    for number, operation in enumerate(document.operations):
        for name, value in operation.attributes.items():
            for place, other in changed(value):
                attributes = {**operation.attributes, name: other}
                operations = [*document.operations]
                operations[number] = replace(operation, attributes=attributes)
                graph = replace(document.graph, operations=tuple(operations))
                where = f"{operation.name} {name}{place}"
                yield Nudge("attribute", where, replace(document, graph=graph))


def _tensor(document: Document, tensor: Tensor) -> Iterator[Nudge]:
    values = array(document, tensor)
    every = range(values.size) if tensor.role in PARAMETERS else [values.size // 2]
    for position in every if values.size else ():
        other = values.copy()
        other.flat[position] = stepped(values.flat[position])
        yield Nudge(
            tensor.role.replace("_", " "),
            f"{tensor.name}[{position}]",
            with_values(document, tensor, other),
        )


def stepped(value: Any) -> Any:  # noqa: ANN401 - a scalar of any type that a model may hold
    """Return the next number of a value's own type; the largest integer goes down.

    >>> stepped(np.float32(0.1)), stepped(np.int8(-3)), stepped(np.uint8(255))
    (np.float32(0.10000001), np.int8(-2), np.uint8(254))
    """
    if isinstance(value, str):
        return f"{value} "
    if value.dtype.kind == "b":
        return ~value
    if value.dtype.kind in "iu":
        one = value.dtype.type(1)
        return value - one if value == np.iinfo(value.dtype).max else value + one
    return np.nextafter(value, value.dtype.type(np.inf))


def changed(value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - an attribute
    """Yield every value that an attribute has one smallest step away, and where the step is.

    >>> [*changed([1, 1])], [*changed(0.5)], [*changed("SAME")]
    ([('[0]', [2, 1]), ('[1]', [1, 2])], [('', 0.50000006)], [('', 'SAME ')])
    """
    if isinstance(value, list | tuple):
        for k, one in enumerate(value):
            for place, other in changed(one):
                yield f"[{k}]{place}", [*value[:k], other, *value[k + 1 :]]
    elif isinstance(value, dict):
        for key, one in value.items():
            for place, other in changed(one):
                yield f".{key}{place}", {**value, key: other}
    elif isinstance(value, bool | int):
        yield "", value + 1
    elif isinstance(value, float):
        yield "", float(str(stepped(f32(value))))
    elif isinstance(value, str):
        yield "", f"{value} "


def with_values(document: Document, tensor: Tensor, values: NDArray[Any]) -> Document:
    """Return the document that a file with other values of one tensor gives."""
    raw = encode(values.ravel(), tensor.dtype)
    digest = sha256(raw).hexdigest()
    plain = tuple(values.ravel().tolist())
    told = None if tensor.values is None else plain
    tensors = {**document.tensors, tensor.name: replace(tensor, sha256=digest, values=told)}
    operations = tuple(_told(one, tensor.name, plain) for one in document.operations)
    graph = replace(document.graph, tensors=tensors, operations=operations)
    data = document.data if told is not None else {**document.data, digest: raw}
    return replace(document, graph=graph, data=data)


def _told(operation: Operation, name: str, plain: tuple[Any, ...]) -> Operation:
    """Return an operation that knows the new values, where it knew the old ones."""
    return replace(
        operation,
        scales=_known(operation.scales, name, plain),
        zero_points=_known(operation.zero_points, name, plain),
        quantization={k: _grid(q, name, plain) for k, q in operation.quantization.items()},
    )


def _known(held: Mapping[str, Any], name: str, plain: tuple[Any, ...]) -> Mapping[str, Any]:
    if name not in held:
        return held
    return {**held, name: plain[0] if len(plain) == 1 else [*plain]}


def _grid(known: Quantization, name: str, plain: tuple[Any, ...]) -> Quantization:
    if known.scale == name and known.scale_values is not None:
        known = replace(known, scale_values=plain)
    if known.zero_point == name and known.zero_point_values is not None:
        known = replace(known, zero_point_values=plain)
    return known
