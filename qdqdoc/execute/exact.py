"""Contract exact: nothing is rounded between a DequantizeLinear and a QuantizeLinear.

Every float is the rational number that it is; only codes are rounded, once, ties to even. Tensors
between are kept exactly, and shown rounded to float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.execute.attributes import Place, attributes_of
from qdqdoc.execute.control import CONTROL
from qdqdoc.execute.errors import ExecuteError
from qdqdoc.execute.exactly import MOVERS, OPERATORS_EXACTLY, moved
from qdqdoc.execute.rationals import Rational, dequantized, quantized, rational, rounded
from qdqdoc.execute.running import Recorder, Runner
from qdqdoc.execute.sums import has_sums
from qdqdoc.numerics.formats import DTYPES
from qdqdoc.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.document import Document, Graph, Operation
    from qdqdoc.execute.attributes import Names

# ruff: noqa: ANN401 - a value is an array, a rational tensor, a sequence or nothing

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
PER_AXIS = 13
"""Opset since which Softmax works along one axis."""


@dataclass(frozen=True)
class Linear:
    """An integer operator as the group that it stands for.

    ``operands`` are the places of codes, scale and zero point, ``result`` those of scale and zero
    point, ``bias`` that of a bias in steps of the product. ``dropped`` attributes say nothing here.
    """

    op_type: str
    operands: tuple[tuple[int, int, int], ...]
    result: tuple[int, int]
    bias: int | None = None
    dropped: tuple[str, ...] = ()


UNARY: Mapping[str, Any] = {"operands": ((0, 1, 2),), "result": (3, 4)}
BINARY: Mapping[str, Any] = {"operands": ((0, 1, 2), (3, 4, 5)), "result": (6, 7)}
LINEAR: Mapping[tuple[str, str], Linear] = MappingProxyType(
    {
        ("", "QLinearConv"): Linear("Conv", **BINARY, bias=8),
        ("", "QLinearMatMul"): Linear("MatMul", **BINARY),
        ("com.microsoft", "QLinearAdd"): Linear("Add", **BINARY),
        ("com.microsoft", "QLinearMul"): Linear("Mul", **BINARY),
        ("com.microsoft", "QGemm"): Linear("Gemm", ((0, 1, 2), (3, 4, 5)), (7, 8), bias=6),
        ("com.microsoft", "QLinearLeakyRelu"): Linear("LeakyRelu", **UNARY),
        ("com.microsoft", "QLinearSigmoid"): Linear("Sigmoid", **UNARY),
        ("com.microsoft", "QLinearSoftmax"): Linear("Softmax", **UNARY, dropped=("opset",)),
        ("com.microsoft", "QLinearAveragePool"): Linear("AveragePool", **UNARY),
        ("com.microsoft", "QLinearGlobalAveragePool"): Linear("GlobalAveragePool", **UNARY),
    }
)
"""Integer operators that have an exact value, by domain and name."""


class ExactRecorder(Recorder):
    """Shows rational numbers rounded to float32."""

    def take(self, name: str, value: Any, place: Place, operation: str = "") -> None:
        """Keep a tensor."""
        if isinstance(value, Rational):
            value = rounded(value)
        super().take(name, value, place, operation)


class ExactRunner(Runner):
    """Runs the graphs of one document under the contract `exact`."""

    def _results(
        self, operation: Operation, inputs: list[Any], names: Names, place: Place
    ) -> list[Any]:
        key = (operation.domain, operation.op_type)
        if key in self.functions or key == ("", "Constant"):
            return super()._results(operation, inputs, names, place)
        attributes = attributes_of(self.document, operation, place)
        if key in LINEAR:
            return [_linear(LINEAR[key], inputs, attributes)]
        if not any(_is_exact(value) for value in inputs):
            return super()._results(operation, inputs, names, place)
        return self._exactly(operation, inputs, attributes, place)

    def _exactly(
        self, operation: Operation, inputs: list[Any], attributes: dict[str, Any], place: Place
    ) -> list[Any]:
        if operation.op_type == DEQUANTIZE:
            return [_dequantized(inputs, attributes)]
        if operation.op_type == QUANTIZE:
            return [_quantized(inputs, attributes)]
        given = [rational(v) if _is_exact(v) else v for v in inputs]
        if operation.op_type in MOVERS:
            return moved(given, lambda places: self._moved(operation, places, attributes, place))
        if operation.op_type == "Softmax" and place.imports[""] < PER_AXIS:
            return [_flattened(given[0], attributes.get("axis", 1))]
        return [OPERATORS_EXACTLY[operation.op_type](*given, **attributes)]

    def _moved(
        self, operation: Operation, places: list[Any], attributes: dict[str, Any], place: Place
    ) -> list[Any]:
        return self.reference.run(operation, places, attributes, place.imports)


def refuse_inexact(document: Document) -> None:
    """Refuse a document with an operation whose value is not known exactly.

    Raises
    ------
    ExecuteError
        With the first such operation.
    """
    place = Place(imports=document.opset_imports)
    _refuse_in(document.graph, place, document)
    for function in document.functions:
        inside = Place(prefix=f"{function.name}/", imports=function.opset_imports)
        _refuse_in(function.graph, inside, document)


def _refuse_in(graph: Graph, place: Place, document: Document) -> None:
    functions = {(f.domain, f.name) for f in document.functions}
    whole = {"int64", "int32", "bool", "string"}
    for operation in graph.operations:
        key = (operation.domain, operation.op_type)
        known = not operation.domain and operation.op_type in {
            *OPERATORS_EXACTLY, *MOVERS, QUANTIZE, DEQUANTIZE, "Constant", "Shape"
        }  # fmt: skip
        if key in functions or key in LINEAR or known:
            continue
        made = [graph.tensors[name].dtype for name in operation.outputs if name]
        plain = key not in CONTROL and key not in OPERATORS and whole.issuperset(made)
        if not plain:
            allowed = ", ".join(sorted(OPERATORS_EXACTLY))
            raise ExecuteError(
                f"{place.of(operation)}: the contract exact does not know its value; "
                f"allowed: {allowed}, and what moves values"
            )


def _is_exact(value: Any) -> bool:
    if isinstance(value, Rational):
        return True
    floats = isinstance(value, np.ndarray) and (has_sums(value) or value.dtype == np.float64)
    return floats or isinstance(value, np.floating)


def _parameters(inputs: Sequence[Any]) -> tuple[Any, Any, Any]:
    x, scale, zero_point = [*inputs, None][:3]
    return x, scale, zero_point


def _where(attributes: Mapping[str, Any]) -> dict[str, int]:
    return {k: attributes[k] for k in ("axis", "block_size") if k in attributes}


def _dequantized(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Rational:
    x, scale, zero_point = _parameters(inputs)
    return dequantized(x, scale, zero_point, **_where(attributes))


def _quantized(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    x, scale, zero_point = _parameters(inputs)
    if zero_point is None:
        kind = _KINDS[attributes.get("output_dtype", 0)]
        zero_point = np.zeros(np.asarray(scale).shape, DTYPES[kind])
    return quantized(rational(x), scale, zero_point, **_where(attributes))


_KINDS = {0: "uint8", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}
"""Types of codes by ONNX's numbers; without one it is uint8."""


def _linear(form: Linear, inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """Compute the group that an integer operator stands for."""

    def at(position: int | None) -> Any:
        return inputs[position] if position is not None and position < len(inputs) else None

    given, scales = [], []
    for number, (codes, scale, zero) in enumerate(form.operands):
        axis = 0 if form.op_type == "Conv" and number else -1
        given.append(dequantized(at(codes), at(scale), at(zero), axis=axis))
        scales.append(rational(at(scale)))
    bias = at(form.bias)
    if bias is not None:
        steps = Rational(scales[0].whole * scales[1].whole, scales[0].unit * scales[1].unit)
        given.append(Rational(bias.astype(object) * steps.whole, steps.unit))
    kept = {k: v for k, v in attributes.items() if k not in form.dropped and k != "channels_last"}
    if attributes.get("channels_last"):
        raise ExecuteError("channels_last: found 1, allowed under this contract: 0")
    y = OPERATORS_EXACTLY[form.op_type](*given, **kept)
    scale, zero_point = (at(position) for position in form.result)
    if zero_point is None:
        zero_point = np.zeros((), inputs[form.operands[0][0]].dtype)
    return quantized(y, scale, zero_point)


def _flattened(x: Rational, axis: int) -> Rational:
    rows = int(np.prod(x.shape[: axis % max(x.ndim, 1)], dtype=np.int64))
    y = OPERATORS_EXACTLY["Softmax"](Rational(x.whole.reshape(rows, -1), x.unit), axis=-1)
    return Rational(y.whole.reshape(x.shape), y.unit)
