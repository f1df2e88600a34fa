"""The predecessor's JSON: the Q/DQ nodes alone, and how many others there were."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from qdqdoc.document.arrays import encode
from qdqdoc.document.checking import check
from qdqdoc.document.elements import flat
from qdqdoc.document.fields import (
    Field,
    Fields,
    anything,
    code,
    list_of,
    map_of,
    natural,
    one_or_list,
    optional,
    real,
    record,
    text,
)
from qdqdoc.document.model import QDQ, Document, Graph, Operation, Quantization, Role, Tensor
from qdqdoc.document.order import arrange, distinct_names
from qdqdoc.document.problems import DocumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# ruff: noqa: ANN401 - JSON values are of any type until they are read

EIGHT_BITS_ONLY = 21
"""Before this opset, Q/DQ of ai.onnx knew int8 and uint8 alone (and int32 for biases)."""


def recognises(value: Mapping[str, Any]) -> bool:
    """Tell whether this is the predecessor's form: it had no key that says so."""
    return "operations" in value and ("summary" in value or "opset_version" in value)


def file_name(path: str) -> str:
    r"""Return the last part of a path of any system.

    >>> file_name(r"C:\models\net.onnx"), file_name("/home/me/net.onnx")
    ('net.onnx', 'net.onnx')
    """
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def read(value: Mapping[str, Any]) -> Document:
    """Return the document that such a file stands for."""
    notes: list[str] = []
    names = list_of(text)
    fields: Fields = {
        "model_path": Field(text, ""),
        "opset_version": Field(optional(natural), None),
        "summary": Field(_summary, {}),
        "operations": Field(list_of(anything)),
        "inputs": Field(optional(names), None),
        "outputs": Field(optional(names), None),
    }
    top = record(value, "", notes, fields, strict=False)
    opset = top["opset_version"] or 0
    operations = [_operation(o, f"operations[{i}]", notes) for i, o in enumerate(top["operations"])]
    document = Document(
        model_path=file_name(top["model_path"]),
        graph=_graph(operations, opset),
        opset_imports={} if top["opset_version"] is None else {"": opset},
        declared_counts=top["summary"].get("op_type_counts"),
        declared_total=top["summary"].get("total_nodes"),
    )
    notes += check(document)
    if notes:
        raise DocumentError(notes)
    return document


def _summary(value: Any, path: str, notes: list[str]) -> dict[str, Any]:
    fields: Fields = {
        "total_nodes": Field(optional(natural), None),
        "op_type_counts": Field(optional(map_of(lambda _: natural)), None),
    }
    return record(value, path, notes, fields, strict=False)


def _operation(value: Any, path: str, notes: list[str]) -> dict[str, Any]:
    names = list_of(text)
    fields: Fields = {
        "name": Field(text, ""),
        "op_type": Field(text),
        "inputs": Field(names),
        "outputs": Field(names),
        "attributes": Field(map_of(lambda _: anything), {}),
        "scales": Field(map_of(lambda _: one_or_list(real("float32"))), {}),
        "zero_points": Field(map_of(lambda _: one_or_list(code("float32"))), {}),
    }
    return record(value, path, notes, fields, strict=False)


def _graph(rows: Sequence[dict[str, Any]], opset: int) -> Graph:
    names = distinct_names([row["name"] for row in rows], [row["op_type"] for row in rows])
    order = arrange([row["inputs"] for row in rows], [row["outputs"] for row in rows])
    order += sorted(set(range(len(rows))) - set(order))  # a cycle is reported by `check`
    operations = [_built(rows[index], names[index], opset) for index in order]
    made = {name for operation in operations for name in operation.outputs}
    read = [name for operation in operations for name in operation.inputs if name]
    tensors = _tensors(operations)
    return Graph(
        inputs=tuple(n for n in dict.fromkeys(read) if n not in made | set(_constants(tensors))),
        outputs=tuple(n for o in operations for n in o.outputs if n and n not in read),
        operations=tuple(operations),
        tensors=tensors,
    )


def _constants(tensors: Mapping[str, Tensor]) -> list[str]:
    return [tensor.name for tensor in tensors.values() if tensor.initializer]


def _built(row: dict[str, Any], name: str, opset: int) -> Operation:
    inputs, outputs = row["inputs"], row["outputs"]
    quantization = {}
    if row["op_type"] in QDQ and len(inputs) > 1 and outputs:
        key, tensor = ("y", outputs[0]) if row["op_type"] == QDQ[0] else ("x", inputs[0])
        quantization = {key: _quantization(row, tensor, opset)}
    own = {*inputs, *outputs}
    known: dict[str, Any] = {
        key: {n: v for n, v in row[key].items() if n in own} for key in ("scales", "zero_points")
    }
    return Operation(
        name=name,
        op_type=row["op_type"],
        inputs=inputs,
        outputs=outputs,
        attributes=row["attributes"],
        quantization=quantization,
        **known,
    )


def _quantization(row: dict[str, Any], tensor: str, opset: int) -> Quantization:
    scale, zero_point = [*row["inputs"][1:3], ""][:2]
    scales = flat(row["scales"].get(scale))
    zero_points = flat(row["zero_points"].get(zero_point))
    axis, block_size = row["attributes"].get("axis", 1), row["attributes"].get("block_size", 0)
    several = scales is not None and len(scales) > 1
    blocked = several and isinstance(block_size, int) and block_size > 0
    return Quantization(
        tensor=tensor,
        dtype=_told_type(zero_points or (), opset),
        scale=scale,
        zero_point=zero_point or None,
        scale_values=scales,
        zero_point_values=zero_points,
        granularity="blocked" if blocked else "per_axis" if several else "per_tensor",
        axis=axis if several and isinstance(axis, int) else None,
        block_size=block_size if blocked else 0,
    )


def _told_type(zero_points: Sequence[float], opset: int) -> str:
    """Return the integer type where the zero point leaves no doubt.

    >>> _told_type([-128], 15), _told_type([200], 15), _told_type([0], 15)
    ('int8', 'uint8', '')
    """
    if not zero_points or opset >= EIGHT_BITS_ONLY:
        return ""
    if min(zero_points) < 0:
        return "int8"
    return "uint8" if max(zero_points) > 127 else ""  # noqa: PLR2004 - the largest int8


def _tensors(operations: Sequence[Operation]) -> dict[str, Tensor]:
    """Return a tensor for every name; parameters with their values, others as bare names."""
    tensors: dict[str, Tensor] = {}
    codes = {q.tensor: q.dtype for o in operations for q in o.quantization.values() if q.dtype}
    made = {name for operation in operations for name in operation.outputs}
    for operation in operations:
        for quantization in operation.quantization.values():
            for tensor in _parameters(quantization):
                if tensor.name not in made:
                    tensors.setdefault(tensor.name, tensor)
        for name in (*operation.inputs, *operation.outputs):
            if name:
                tensors.setdefault(name, Tensor(name=name, dtype=codes.get(name, "")))
    return tensors


def _parameters(item: Quantization) -> list[Tensor]:
    result = []
    if item.scale_values is not None:
        result.append(_parameter(item.scale, "scale", "float32", item.scale_values))
    if item.zero_point and item.zero_point_values is not None:
        values = item.zero_point_values
        result.append(_parameter(item.zero_point, "zero_point", item.dtype, values))
    return result


def _parameter(name: str, role: Role, dtype: str, values: tuple[Any, ...]) -> Tensor:
    digest = sha256(encode(values, dtype)).hexdigest() if dtype == "float32" else None
    shape = () if len(values) == 1 else (len(values),)
    return Tensor(
        name=name,
        dtype=dtype,
        shape=shape,
        role=role,
        initializer=True,
        sha256=digest,
        values=values,
    )
