"""What ONNX says of the type of a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.extract.constants import dtype_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx import TensorShapeProto, TypeProto, ValueInfoProto

    from qdqdoc.document.model import Dimension

Shape = tuple["Dimension", ...] | None
ValueType = tuple[str, Shape]
UNKNOWN: ValueType = ("", None)

INVENTED = "unk__"
"""ONNX's shape inference makes up names that begin so; the model has no such name."""


def described(value: TypeProto) -> ValueType:
    """Return element type and shape, with ``sequence(float32)`` and the like for other kinds."""
    kind = value.WhichOneof("value")
    if kind == "tensor_type":
        tensor = value.tensor_type
        shape = _shape(tensor.shape) if tensor.HasField("shape") else None
        return dtype_name(tensor.elem_type), shape
    if kind == "sparse_tensor_type":
        return f"sparse_tensor({dtype_name(value.sparse_tensor_type.elem_type)})", None
    if kind == "sequence_type":
        return f"sequence({described(value.sequence_type.elem_type)[0]})", None
    if kind == "optional_type":
        return f"optional({described(value.optional_type.elem_type)[0]})", None
    if kind == "map_type":
        key, item = value.map_type.key_type, described(value.map_type.value_type)[0]
        return f"map({dtype_name(key)}, {item})", None
    return UNKNOWN


def _shape(shape: TensorShapeProto) -> Shape:
    result: list[Dimension] = []
    for dimension in shape.dim:
        if dimension.HasField("dim_value"):
            result.append(dimension.dim_value if dimension.dim_value >= 0 else None)
        elif dimension.dim_param and not dimension.dim_param.startswith(INVENTED):
            result.append(dimension.dim_param)
        else:
            result.append(None)
    return tuple(result)


def collected(*groups: Iterable[ValueInfoProto]) -> dict[str, ValueType]:
    """Return the types that several lists of values state, the fullest of each name."""
    types: dict[str, ValueType] = {}
    for group in groups:
        for value in group:
            types[value.name] = merged(described(value.type), types.get(value.name, UNKNOWN))
    return types


def merged(first: ValueType, second: ValueType) -> ValueType:
    """Return the first type with its gaps filled from the second."""
    if first[1] is None or second[1] is None or len(first[1]) != len(second[1]):
        shape = second[1] if first[1] is None else first[1]
    else:
        pairs = zip(first[1], second[1], strict=True)
        shape = tuple(b if a is None or (isinstance(a, str) and b) else a for a, b in pairs)
    return first[0] or second[0], shape
