"""How many inputs the operators cannot do without that the optimizer looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.groups import DEQUANTIZE, QUANTIZE

if TYPE_CHECKING:
    from qdqdoc.document import Document

BINARY = ("Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Conv", "ConvTranspose")
QUANTIZING = ("QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger", "Gather")
UNARY = (
    *("Identity", "Dropout", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Softmax", "Concat", "Split"),
    *("AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMax", "ReduceMin", "ArgMax", "Resize"),
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Expand", "Tile"),
    *("GatherElements", "DepthToSpace"),
)
LEAST = {
    **dict.fromkeys((*BINARY, *QUANTIZING), 2),
    **dict.fromkeys(UNARY, 1),
    "Where": 3,
    "BatchNormalization": 5,
}
"""How many inputs, from the first on, these operators need."""


def lacking(document: Document) -> str:
    """Complain of the first node that has too few inputs, or nothing that it makes; empty if none.

    Examples
    --------
    >>> from qdqdoc.document import Document, Graph, Operation
    >>> conv = Operation(name="c", op_type="Conv", inputs=("x",), outputs=("y",))
    >>> lacking(Document(model_path="m.onnx", graph=Graph(operations=(conv,))))
    "m.onnx: node 'c' (Conv): found 1 inputs, allowed: at least 2"
    """
    for operation in document.walk():
        where = f"{document.model_path}: node {operation.name!r} ({operation.op_type})"
        if not any(operation.outputs):
            return f"{where}: makes no tensor"
        quantizes = operation.op_type in {QUANTIZE, DEQUANTIZE}
        known = operation.domain in {"", "ai.onnx"} or quantizes
        least = LEAST.get(operation.op_type, 0) if known else 0
        if not all(operation.inputs[:least]) or len(operation.inputs) < least:
            count = sum(map(bool, operation.inputs[:least]))
            return f"{where}: found {count} inputs, allowed: at least {least}"
    return ""
