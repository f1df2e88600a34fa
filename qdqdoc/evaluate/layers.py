"""The layers whose codes are compared: every tensor of codes that changes with the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdqdoc.groups import groups, pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.document import Document
    from qdqdoc.groups import Group

CODES = frozenset(
    {"int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2", "float8e4m3fn"}
    | {"float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float4e2m1"}
)
"""Types of codes: who computes with integers for other reasons takes int32, int64 or bool."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """A tensor of codes, the layer that makes it and what that layer consists of.

    ``varies`` tells whether its first axis is that of the images, ``None`` where the document does
    not say.
    """

    tensor: str
    layer: str
    pattern: str
    varies: bool | None


def codes_of(document: Document) -> tuple[Code, ...]:
    """Return the tensors of codes of the main graph, in its order."""
    found = (
        Code(
            tensor=name,
            layer=group.name,
            pattern=pattern(group),
            varies=_varies(document, name),
        )
        for group in groups(document)
        if not group.stored
        for name in _made(document, group)
    )
    return tuple({code.tensor: code for code in found}.values())


def _made(document: Document, group: Group) -> Iterator[str]:
    for name in filter(None, (group.quantize or group.operation).outputs):
        tensor = document.tensors.get(name)
        if tensor is not None and tensor.dtype in CODES and tensor.role == "activation":
            yield name


def _varies(document: Document, name: str) -> bool | None:
    """Compare the first axis of a tensor with the one that all inputs share."""
    lengths = {(document.tensors[name].shape or (None,))[0] for name in document.graph.inputs}
    length, shape = next(iter(lengths)), document.tensors[name].shape
    if len(lengths) != 1 or length is None or shape is None:
        return None
    if not shape or isinstance(shape[0], int):
        return bool(shape) and shape[0] == length
    return True if shape[0] == length else None
