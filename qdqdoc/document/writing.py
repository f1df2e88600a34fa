"""Document to JSON text, byte for byte the same whenever the document is the same."""

from __future__ import annotations

import json
import math
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qdqdoc.document.elements import flat, spell
from qdqdoc.document.model import Document, Function, Graph, Operation, Quantization, Tensor

FORMAT = "qdqdoc.operations"
FORMAT_VERSION = 1
WIDTH = 100

Scope = ChainMap[str, Tensor]
"""The tensors that an operation can name: of its own graph, then of the graphs around it."""


def dumps(document: Document) -> str:
    """Return the JSON text of a document; large tensors are not in it (see `dump`)."""
    return _render(as_json(document), 0) + "\n"


def as_json(document: Document) -> dict[str, Any]:
    """Return a document as plain JSON values."""
    head = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model_path": document.model_path,
        "model_sha256": document.model_sha256,
        "ir_version": document.ir_version,
        "producer": document.producer,
        "opset_version": document.opset_version,
        "opset_imports": dict(sorted(document.opset_imports.items())),
        "summary": _summary(document),
    }
    functions = [_function(function) for function in document.functions]
    graph = _graph(document.graph, ChainMap())
    return {**head, "graph_name": graph.pop("name"), **graph, "functions": functions}


def _summary(document: Document) -> dict[str, Any]:
    counts = document.op_type_counts
    declared = document.declared_counts is not None or document.declared_total is not None
    return {
        "total_nodes": document.total_nodes,
        "qlinear_nodes": document.qlinear_nodes,
        "quantize_linear": counts.get("QuantizeLinear", 0),
        "dequantize_linear": counts.get("DequantizeLinear", 0),
        "op_type_counts": counts,
        **({"declared": True} if declared else {}),
    }


def _function(function: Function) -> dict[str, Any]:
    return {
        "domain": function.domain,
        "name": function.name,
        "opset_imports": dict(sorted(function.opset_imports.items())),
        "graph": _graph(function.graph, ChainMap()),
    }


def _graph(graph: Graph, outer: Scope) -> dict[str, Any]:
    scope = outer.new_child(dict(graph.tensors))
    return {
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "tensors": [_tensor(tensor) for tensor in graph.tensors.values()],
        "operations": [_operation(operation, scope) for operation in graph.operations],
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": None if tensor.shape is None else list(tensor.shape),
        "role": tensor.role,
    }
    if tensor.initializer:
        result["initializer"] = True
    if tensor.bits is not None:
        result["bits"] = tensor.bits
    if tensor.sha256 is not None:
        result["sha256"] = tensor.sha256
    if tensor.values is not None:
        result["values"] = [_number(value, tensor.dtype) for value in tensor.values]
    return result


def _operation(operation: Operation, scope: Scope) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": operation.name,
        "op_type": operation.op_type,
        "domain": operation.domain,
        "inputs": list(operation.inputs),
        "outputs": list(operation.outputs),
        "attributes": {key: _attribute(value) for key, value in operation.attributes.items()},
        "scales": _parameters(operation.scales, scope),
        "zero_points": _parameters(operation.zero_points, scope),
    }
    if operation.quantization:
        result["quantization"] = {
            key: _quantization(item, operation, scope)
            for key, item in operation.quantization.items()
        }
    if operation.graphs:
        result["graphs"] = {key: _graph(item, scope) for key, item in operation.graphs.items()}
    return result


def dtype_of(name: str, scope: Mapping[str, Tensor]) -> str:
    """Return the element type of a tensor in reach, empty where it is unknown."""
    return scope[name].dtype if name in scope else ""


def _parameters(values: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    return {name: _numbers(value, dtype_of(name, scope)) for name, value in values.items()}


def _numbers(value: Any, dtype: str) -> Any:  # noqa: ANN401 - a number or a list of them
    if isinstance(value, list | tuple):
        return [_number(one, dtype) for one in value]
    return _number(value, dtype)


def _number(value: Any, dtype: str) -> Any:  # noqa: ANN401 - a number, a text or true
    return spell(value, dtype) if isinstance(value, float) else value


def _attribute(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Spell a float that JSON lacks so that no text attribute can be taken for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": spell(value, "")}
    if isinstance(value, list | tuple):
        return [_attribute(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _attribute(one) for key, one in value.items()}
    return value


def _quantization(item: Quantization, operation: Operation, scope: Scope) -> dict[str, Any]:
    result: dict[str, Any] = {
        "tensor": item.tensor,
        "dtype": item.dtype,
        "scale": item.scale,
        "zero_point": item.zero_point,
        "granularity": item.granularity,
    }
    if item.axis is not None:
        result["axis"] = item.axis
    if item.block_size:
        result["block_size"] = item.block_size
    # The values stand once, in scales and zero_points, unless the document says otherwise.
    if item.scale_values != flat(operation.scales.get(item.scale)):
        result["scale_values"] = _listed(item.scale_values, dtype_of(item.scale, scope))
    zero_point = item.zero_point or ""
    if item.zero_point_values != flat(operation.zero_points.get(zero_point)):
        result["zero_point_values"] = _listed(item.zero_point_values, dtype_of(zero_point, scope))
    return result


def _listed(values: Sequence[Any] | None, dtype: str) -> list[Any] | None:
    return None if values is None else [_number(value, dtype) for value in values]


def _render(value: Any, indent: int) -> str:  # noqa: ANN401 - any JSON value
    """Write what fits on one line on one line, and the rest one item a line."""
    if not isinstance(value, dict | list) or not value:
        return _word(value)
    if isinstance(value, dict):
        pairs = value.items()
        rows = [f"{_word(key)}: {_render(item, indent + 2)}" for key, item in pairs]
    else:
        rows = [_render(item, indent + 2) for item in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    length = sum(map(len, rows)) + 2 * len(rows)
    if indent and length + indent <= WIDTH and not any("\n" in row for row in rows):
        return start + ", ".join(rows) + end
    if isinstance(value, list) and all(isinstance(item, int | float) for item in value):
        rows = list(_filled(rows, WIDTH - indent - 3))
    pad = "\n" + " " * (indent + 2)
    return start + pad + ("," + pad).join(rows) + "\n" + " " * indent + end


def _word(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if type(value) is float and math.isfinite(value):
        return repr(value)  # what json writes, sooner
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _filled(words: Sequence[str], width: int) -> Iterator[str]:
    """Yield lines of numbers, each as full as the width allows."""
    line: list[str] = []
    length = 0
    for word in words:
        if line and length + len(word) > width:
            yield ", ".join(line)
            line, length = [], 0
        line.append(word)
        length += len(word) + 2
    yield ", ".join(line)
