"""Attributes of the document's operations as values that kernels take."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document import Tensor, array, exact
from qdqdoc.document.arrays import decode, encode
from qdqdoc.execute.errors import ExecuteError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.document import Document, Operation
    from qdqdoc.numerics.formats import Array

Names = ChainMap[str, Any]
"""The values that a graph can name: its own, then those of the graphs around it."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a run an operation stands.

    ``prefix`` names the operations around it, ``imports`` are the versions of its operator sets,
    and ``attributes`` are those of the function that is being called.
    """

    prefix: str = ""
    imports: Mapping[str, int]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def inside(self, name: str) -> Place:
        """Return the place of the graph of this name, which sees what this one sees."""
        return Place(
            prefix=f"{self.prefix}{name}/", imports=self.imports, attributes=self.attributes
        )

    def of(self, operation: Operation) -> str:
        """Name an operation in an error."""
        domain = f"{operation.domain}." if operation.domain else ""
        return f"node {self.prefix + operation.name!r} ({domain}{operation.op_type})"


def attributes_of(document: Document, operation: Operation, place: Place) -> dict[str, Any]:
    """Return the attributes of an operation; those that its function was not given are left out."""
    values = {}
    for name, value in operation.attributes.items():
        if isinstance(value, dict) and "attribute" in value:
            if value["attribute"] in place.attributes:
                values[name] = place.attributes[value["attribute"]]
        elif value is not None:
            values[name] = _plain(document, value)
    return values


def _plain(document: Document, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, list | tuple):
        return [_plain(document, item) for item in value]
    if isinstance(value, float):
        return exact(value, "float32")
    if not isinstance(value, dict):
        return value
    if "bytes" in value:
        return bytes.fromhex(value["bytes"])
    if "tensor" in value:
        return _tensor(document, value["tensor"])
    raise ExecuteError(f"an attribute of kind {', '.join(value)} cannot be run")


def _tensor(document: Document, held: Mapping[str, Any]) -> Array:
    values = held.get("values")
    dtype = held["dtype"]
    if values is not None and "float" in dtype:
        values = [exact(value, dtype) for value in map(float, values)]
    tensor = Tensor(
        name="attribute",
        dtype=dtype,
        shape=tuple(held["shape"]),
        sha256=held.get("sha256"),
        values=None if values is None else tuple(values),
    )
    return array(document, tensor)


def constant(attributes: Mapping[str, Any]) -> Array:
    """Return what a Constant holds.

    >>> constant({"value_ints": [1, 2]})
    array([1, 2])
    """
    for name, value in attributes.items():
        if name == "value":
            return np.asarray(value)
        if name.startswith("value_string"):
            return np.array(value, dtype=object)
        kind = {"value_float": "float32", "value_int": "int64"}.get(name.removesuffix("s"))
        if kind is not None:
            many = value if isinstance(value, list) else [value]
            flat = decode(encode(many, kind), kind)
            return flat if isinstance(value, list) else flat.reshape(())
    raise ExecuteError(f"found attributes {sorted(attributes)}, allowed: value, value_int, ...")
