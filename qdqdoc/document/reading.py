"""JSON text to Document, with every problem of the text reported at once."""

from __future__ import annotations

import json
from collections import ChainMap
from functools import partial
from typing import TYPE_CHECKING, Any

from qdqdoc.document import predecessor
from qdqdoc.document.checking import check
from qdqdoc.document.elements import flat, is_float
from qdqdoc.document.fields import (
    Field,
    Fields,
    Read,
    anything,
    code,
    digest,
    flag,
    kind,
    list_of,
    map_of,
    natural,
    one_of,
    one_or_list,
    optional,
    real,
    record,
    text,
    whole,
)
from qdqdoc.document.model import Document, Function, Graph, Operation, Quantization, Tensor
from qdqdoc.document.problems import DocumentError
from qdqdoc.document.writing import FORMAT, FORMAT_VERSION, Scope, dtype_of

if TYPE_CHECKING:
    from collections.abc import Mapping

# ruff: noqa: ANN401 - JSON values are of any type until they are read

ROLES = ("activation", "weight", "bias", "constant", "scale", "zero_point")
GRANULARITIES = ("per_tensor", "per_axis", "blocked")


def loads(text: str) -> Document:
    """Return the document of a JSON text, also of the predecessor's form.

    A wrong text raises `DocumentError`, whose ``problems`` are all there are.
    """
    try:
        return _document(_parse(text))
    except RecursionError:
        raise DocumentError(["the JSON is nested too deeply"]) from None


def _document(value: Any) -> Document:
    if not isinstance(value, dict):
        raise DocumentError([f"found {kind(value)} at the top, expected an object"])
    if "format" not in value and predecessor.recognises(value):
        return predecessor.read(value)
    _expect_format(value)
    notes: list[str] = []
    document = _main(value, notes)
    notes += check(document)
    if notes:
        raise DocumentError(notes)
    return document


def _parse(text: str) -> Any:
    if not text.strip():
        raise DocumentError(["the file is empty, expected JSON"])
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DocumentError([f"not JSON: {error.msg} at {place}"]) from None
    except DocumentError:
        raise
    except ValueError as error:  # Python bounds the digits of an integer
        raise DocumentError([f"not JSON that can be read: {error}"]) from None


def _no_constant(word: str) -> Any:
    raise DocumentError([f'not JSON: {word} stands bare, expected "{word}" in quotes'])


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DocumentError([f"the key {twice!r} occurs twice in one object"])
    return result


def _expect_format(value: Mapping[str, Any]) -> None:
    if "format" not in value:
        raise DocumentError([f"JSON of another kind: no key 'format' that says {FORMAT!r}"])
    if value["format"] != FORMAT:
        raise DocumentError([f"format: found {kind(value['format'])}, expected {FORMAT!r}"])
    version = value.get("format_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise DocumentError([f"format_version: found {kind(version)}, expected {FORMAT_VERSION}"])
    if version > FORMAT_VERSION:
        raise DocumentError(
            [f"format_version: {version} is newer than this qdqdoc, which reads {FORMAT_VERSION}"]
        )


_COUNTS = map_of(lambda _: natural)
_NAMES = list_of(text)


def _summary(value: Any, path: str, notes: list[str]) -> dict[str, Any]:
    fields: Fields = {
        "total_nodes": Field(optional(natural), None),
        "qlinear_nodes": Field(optional(natural), None),
        "quantize_linear": Field(optional(natural), None),
        "dequantize_linear": Field(optional(natural), None),
        "op_type_counts": Field(optional(_COUNTS), None),
        "declared": Field(flag, default=False),
    }
    return record(value, path, notes, fields)


def _main(value: Mapping[str, Any], notes: list[str]) -> Document:
    fields: Fields = {
        "format": Field(text),
        "format_version": Field(natural),
        "model_path": Field(text),
        "model_sha256": Field(optional(digest), None),
        "ir_version": Field(optional(whole), None),
        "producer": Field(text, ""),
        "opset_version": Field(optional(natural), None),
        "opset_imports": Field(optional(_COUNTS), None),
        "summary": Field(_summary, {}),
        "graph_name": Field(text, ""),
        **_graph_fields(value, ChainMap()),
        "functions": Field(list_of(_function), ()),
    }
    read = record(value, "", notes, fields)
    document = Document(
        model_path=_file_name(read["model_path"], notes),
        graph=_built_graph(read, read["graph_name"], "", notes),
        opset_imports=_opsets(read, notes),
        functions=read["functions"],
        model_sha256=read["model_sha256"],
        ir_version=read["ir_version"],
        producer=read["producer"],
        **_declared(read["summary"]),
    )
    notes += _false_summary(document, read["summary"])
    return document


def _file_name(model_path: str, notes: list[str]) -> str:
    if predecessor.file_name(model_path) != model_path:
        notes.append(f"model_path: {model_path!r} is a path, expected a file name")
    return model_path


def _opsets(read: Mapping[str, Any], notes: list[str]) -> dict[str, int]:
    imports, version = read["opset_imports"], read["opset_version"]
    if imports is None:
        return {"": version} if version is not None else {}
    if version is not None and version != imports.get("", 0):
        notes.append(f"opset_version: {version} is not opset_imports['']: {imports.get('', 0)}")
    return dict(imports)


def _declared(summary: Mapping[str, Any]) -> dict[str, Any]:
    if not summary.get("declared"):
        return {}
    return {
        "declared_counts": summary["op_type_counts"],
        "declared_total": summary["total_nodes"],
    }


def _false_summary(document: Document, summary: Mapping[str, Any]) -> list[str]:
    """Compare what the summary says with what the operations are."""
    counts = document.op_type_counts
    truth = {
        "total_nodes": document.total_nodes,
        "qlinear_nodes": document.qlinear_nodes,
        "quantize_linear": counts.get("QuantizeLinear", 0),
        "dequantize_linear": counts.get("DequantizeLinear", 0),
        "op_type_counts": counts,
    }
    return [
        f"summary.{key}: {summary[key]} is not what the operations give: {value}"
        for key, value in truth.items()
        if summary.get(key) is not None and summary[key] != value
    ]


def _graph_fields(value: Any, outer: Scope) -> dict[str, Field[Any]]:
    """Return the readers of a graph; its tensors are read first, for the types of its scales."""
    rows = value.get("tensors") if isinstance(value, dict) else None
    tensors = [_tensor(row, "", []) for row in rows] if isinstance(rows, list) else []
    scope = outer.new_child({tensor.name: tensor for tensor in tensors})
    return {
        "inputs": Field(_NAMES),
        "outputs": Field(_NAMES),
        "tensors": Field(list_of(_tensor)),
        "operations": Field(list_of(partial(_operation, scope))),
    }


def _built_graph(read: Mapping[str, Any], name: str, path: str, notes: list[str]) -> Graph:
    tensors: dict[str, Tensor] = {}
    for index, tensor in enumerate(read["tensors"]):
        if tensor.name in tensors:
            notes.append(f"{path}tensors[{index}].name: {tensor.name!r} is listed before")
        tensors[tensor.name] = tensor
    return Graph(
        name=name,
        inputs=read["inputs"],
        outputs=read["outputs"],
        operations=read["operations"],
        tensors=tensors,
    )


def _graph(outer: Scope, value: Any, path: str, notes: list[str]) -> Graph:
    fields: Fields = {"name": Field(text, ""), **_graph_fields(value, outer)}
    read = record(value, path, notes, fields)
    return _built_graph(read, read["name"], f"{path}.", notes)


def _function(value: Any, path: str, notes: list[str]) -> Function:
    fields: Fields = {
        "domain": Field(text),
        "name": Field(text),
        "opset_imports": Field(_COUNTS, {}),
        "graph": Field(partial(_graph, ChainMap())),
    }
    return Function(**record(value, path, notes, fields))


def _dimension(value: Any, path: str, notes: list[str]) -> int | str | None:
    if value is None or isinstance(value, str):
        return value
    return natural(value, path, notes)


def _tensor(value: Any, path: str, notes: list[str]) -> Tensor:
    dtype = value.get("dtype", "") if isinstance(value, dict) else ""
    fields: Fields = {
        "name": Field(text),
        "dtype": Field(text, ""),
        "shape": Field(optional(list_of(_dimension)), None),
        "role": Field(one_of(*ROLES), "activation"),
        "initializer": Field(flag, default=False),
        "bits": Field(optional(natural), None),
        "sha256": Field(optional(digest), None),
        "values": Field(optional(list_of(_value(dtype))), None),
    }
    return Tensor(**record(value, path, notes, fields))


def _value(dtype: Any) -> Read[Any]:
    """Return the reader of an inline value of this element type."""
    if not isinstance(dtype, str) or dtype in {"", "string"}:
        return anything
    if dtype == "bool":
        return flag
    return real(dtype) if is_float(dtype) else whole


def _operation(scope: Scope, value: Any, path: str, notes: list[str]) -> Operation:
    fields: Fields = {
        "name": Field(text),
        "op_type": Field(text),
        "inputs": Field(_NAMES),
        "outputs": Field(_NAMES),
        "domain": Field(text, ""),
        "attributes": Field(map_of(lambda _: _attribute), {}),
        "scales": Field(map_of(lambda name: one_or_list(real(dtype_of(name, scope)))), {}),
        "zero_points": Field(map_of(lambda name: one_or_list(code(dtype_of(name, scope)))), {}),
        "quantization": Field(map_of(lambda _: partial(_quantization, scope)), {}),
        "graphs": Field(map_of(lambda _: partial(_graph, scope)), {}),
    }
    read = record(value, path, notes, fields)
    scales, zero_points = read["scales"], read["zero_points"]
    read["quantization"] = {
        key: _completed(item, scales, zero_points) for key, item in read["quantization"].items()
    }
    return Operation(**read)


def _attribute(value: Any, path: str, notes: list[str]) -> Any:
    if isinstance(value, list):
        return [_attribute(one, f"{path}[{i}]", notes) for i, one in enumerate(value)]
    if isinstance(value, dict) and set(value) == {"float"}:
        return real("")(value["float"], path, notes)
    if isinstance(value, dict):
        return {key: _attribute(one, f"{path}.{key}", notes) for key, one in value.items()}
    if isinstance(value, float):
        return real("")(value, path, notes)
    return text(value, path, notes) if isinstance(value, str) else value


def _quantization(scope: Scope, value: Any, path: str, notes: list[str]) -> dict[str, Any]:
    names = value if isinstance(value, dict) else {}
    scale, zero_point = (str(names.get(key) or "") for key in ("scale", "zero_point"))
    scale_item = real(dtype_of(scale, scope))
    zero_point_item = code(dtype_of(zero_point, scope))
    fields: Fields = {
        "tensor": Field(text),
        "dtype": Field(text),
        "scale": Field(text),
        "zero_point": Field(optional(text), None),
        "granularity": Field(one_of(*GRANULARITIES), "per_tensor"),
        "axis": Field(optional(whole), None),
        "block_size": Field(natural, 0),
        "scale_values": Field(optional(list_of(scale_item)), ...),
        "zero_point_values": Field(optional(list_of(zero_point_item)), ...),
    }
    return record(value, path, notes, fields)


def _completed(
    item: Mapping[str, Any], scales: Mapping[str, Any], zero_points: Mapping[str, Any]
) -> Quantization:
    """Take the values that a quantization does not repeat from where they stand."""
    values = dict(item)
    if values["scale_values"] is ...:
        values["scale_values"] = flat(scales.get(values["scale"]))
    if values["zero_point_values"] is ...:
        values["zero_point_values"] = flat(zero_points.get(values["zero_point"] or ""))
    return Quantization(**values)
