"""Attributes of a node as plain JSON values."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any

from onnx import AttributeProto, SparseTensorProto, TensorProto, TypeProto

from qdqdoc.document.arrays import encode
from qdqdoc.document.elements import shortest
from qdqdoc.extract.constants import Constant, constant, dtype_name, text
from qdqdoc.extract.types import described

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import NodeProto

_Readers = dict[int, tuple[str, Callable[[Any], Any]]]

Kept = dict[str, bytes]
"""Bytes of the tensors that are too large for the JSON, by sha256."""


class Attributes:
    """Turns attributes into JSON values and keeps the tensors among them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: Kept = {}

    def stored(self, tensor: TensorProto) -> Constant:
        """Return a stored tensor."""
        return self.keep(constant(tensor, self.folder))

    def keep(self, result: Constant) -> Constant:
        """Keep the bytes of a constant if they are many."""
        if result.raw is not None and result.values is None and result.sha256 is not None:
            self.kept[result.sha256] = result.raw
        return result

    def value(self, attribute: AttributeProto) -> Any:  # noqa: ANN401 - any JSON value
        """Return the JSON value of an attribute that is no graph."""
        if attribute.ref_attr_name:
            return {"attribute": attribute.ref_attr_name}
        kinds = AttributeProto
        single: _Readers = {
            kinds.FLOAT: ("f", _float),
            kinds.INT: ("i", int),
            kinds.STRING: ("s", text),
            kinds.TENSOR: ("t", self._tensor),
            kinds.SPARSE_TENSOR: ("sparse_tensor", _sparse),
            kinds.TYPE_PROTO: ("tp", _type),
        }
        several: _Readers = {
            kinds.FLOATS: ("floats", _float),
            kinds.INTS: ("ints", int),
            kinds.STRINGS: ("strings", text),
            kinds.TENSORS: ("tensors", self._tensor),
            kinds.SPARSE_TENSORS: ("sparse_tensors", _sparse),
            kinds.TYPE_PROTOS: ("type_protos", _type),
        }
        if attribute.type in single:
            field, convert = single[attribute.type]
            return convert(getattr(attribute, field))
        if attribute.type in several:
            field, convert = several[attribute.type]
            return [convert(item) for item in getattr(attribute, field)]
        return None

    def _tensor(self, tensor: TensorProto) -> dict[str, Any]:
        held = self.stored(tensor)
        result: dict[str, Any] = {"dtype": held.dtype, "shape": list(held.shape)}
        if held.sha256 is not None:
            result["sha256"] = held.sha256
        if held.values is not None:
            result["values"] = [_spelled(value, held.dtype) for value in held.values]
        return {"tensor": result}

    def constant_of(self, node: NodeProto) -> Constant | None:
        """Return what a Constant node holds; nothing where its caller decides."""
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                continue
            if attribute.name == "value":
                return self.stored(attribute.t)
            if attribute.name == "sparse_value":
                return sparse(attribute.sparse_tensor)
            if attribute.name in _SHORT_FORMS:
                return self._short_form(attribute)
        return None

    def _short_form(self, attribute: AttributeProto) -> Constant:
        field, dtype = _SHORT_FORMS[attribute.name]
        held = getattr(attribute, field)
        items, shape = (list(held), (len(held),)) if field in _LISTS else ([held], ())
        if dtype == "string":
            return Constant(dtype, shape, texts=tuple(text(item) for item in items))
        return self.keep(Constant(dtype, shape, encode(items, dtype)))


_LISTS = {"floats", "ints", "strings"}

_SHORT_FORMS = {
    "value_float": ("f", "float32"),
    "value_floats": ("floats", "float32"),
    "value_int": ("i", "int64"),
    "value_ints": ("ints", "int64"),
    "value_string": ("s", "string"),
    "value_strings": ("strings", "string"),
}
"""Attributes of Constant that spare their writer a tensor: field and element type."""


def sparse(tensor: SparseTensorProto) -> Constant:
    """Return type and shape of a sparse tensor; its values stay in the model."""
    return Constant(dtype_name(tensor.values.data_type), tuple(max(d, 0) for d in tensor.dims))


def _float(value: float) -> float:
    return shortest(value, "float32") if isfinite(value) else value


def _spelled(value: Any, dtype: str) -> Any:  # noqa: ANN401 - any JSON value
    finite = isinstance(value, float) and isfinite(value)
    return shortest(value, dtype) if finite else value


def _sparse(tensor: SparseTensorProto) -> dict[str, Any]:
    held = sparse(tensor)
    return {"sparse_tensor": {"dtype": held.dtype, "shape": list(held.shape)}}


def _type(value: TypeProto) -> dict[str, str]:
    return {"type": described(value)[0]}
