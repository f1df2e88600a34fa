"""Everything that the file of a model stores: no value can change without a cell that changes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

from qdqdoc.document.elements import is_float
from qdqdoc.facts.reading import graphs, scalar, shape_text
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from qdqdoc.document import Document, Tensor
    from qdqdoc.tables import Cell

SHORT_HASH = 12
LONGEST = 60
"""An attribute that is spelled by more letters is given by the sha256 of its JSON."""


def stored_table(document: Document) -> Table:
    """Return each tensor that the file stores, with the sha256 of its values.

    A single value is spelled as well, a float by its shortest exact decimal.
    """
    rows = tuple(
        (
            Code(tensor.name),
            tensor.role.replace("_", " "),
            tensor.dtype,
            shape_text(tensor),
            _single(tensor),
            Code(f"{tensor.sha256[:SHORT_HASH]}…"),
        )
        for graph in graphs(document)
        for tensor in graph.tensors.values()
        if tensor.sha256
    )
    return Table(("Tensor", "Role", "Type", "Shape", "Value", "sha256"), rows)


def _single(tensor: Tensor) -> Cell:
    if tensor.values is None or len(tensor.values) != 1:
        return None
    (value,) = tensor.values
    if isinstance(value, str):
        return Code(value)
    if is_float(tensor.dtype):
        return str(scalar(value, tensor.dtype))
    return str(value)


def attribute_table(document: Document) -> Table:
    """Return each node that has attributes, with their values as JSON spells them."""
    rows = tuple(
        (Code(operation.name), operation.op_type, Code(_spelled(operation.attributes)))
        for graph in graphs(document)
        for operation in graph.operations
        if operation.attributes
    )
    return Table(("Node", "Operator", "Attributes"), rows)


def _spelled(attributes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in sorted(attributes.items()))


def _short(value: Any) -> str:  # noqa: ANN401 - whatever an attribute holds
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if len(text) <= LONGEST:
        return text
    return f"sha256 {sha256(text.encode()).hexdigest()[:SHORT_HASH]}…"
