"""What several facts need to read from a document, and how they spell it in a cell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.document.elements import exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from fractions import Fraction

    from qdqdoc.document import Dimension, Document, Graph, Operation, Quantization, Role, Tensor
    from qdqdoc.tables import Cell

ROLES: tuple[Role, ...] = ("weight", "bias", "constant", "activation", "scale", "zero_point")
PLURAL: dict[Role, str] = {
    "weight": "weights",
    "bias": "biases",
    "constant": "other constants",
    "activation": "activations",
    "scale": "scales",
    "zero_point": "zero points",
}


PACKED = frozenset({"MatMulNBits", "GatherBlockQuantized"})
"""Operators on codes packed into bytes: without a zero point it is the middle code."""
PACKED_BITS = {"uint2": 2, "uint4": 4, "uint8": 8}

TIMES = "\N{MULTIPLICATION SIGN}"


def graphs(document: Document) -> Iterator[Graph]:
    """Yield every graph of a model: the main one, those inside its nodes, those of functions."""
    waiting = [document.graph, *(function.graph for function in document.functions)]
    while waiting:
        graph = waiting.pop(0)
        yield graph
        waiting += [inner for operation in graph.operations for inner in operation.graphs.values()]


def quantizations(document: Document) -> dict[str, Quantization]:
    """Return how each tensor of codes is to be read, by its name, in graph order."""
    found: dict[str, Quantization] = {}
    for operation in document.operations:
        for quantization in operation.quantization.values():
            found.setdefault(quantization.tensor, _completed(document, operation, quantization))
    return found


def _completed(document: Document, operation: Operation, known: Quantization) -> Quantization:
    """Write down the zero point that an operator on packed codes takes where none is given."""
    bits = PACKED_BITS.get(known.dtype)
    tensor = document.tensors.get(known.tensor)
    packed = operation.op_type in PACKED and tensor is not None and tensor.dtype == "uint8"
    if not packed or known.zero_point is not None or bits is None:
        return known
    return replace(known, zero_point_values=(2 ** (bits - 1),))


def role(document: Document, name: str) -> Role:
    """Return the part that a tensor plays; what is not listed is made while the model runs."""
    tensor = document.tensors.get(name)
    return "activation" if tensor is None else tensor.role


BOUNDARY = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
"""Operators that lead from real numbers to codes or back."""

WITHOUT_SCALES = frozenset({"ConvInteger", "MatMulInteger", "MatMulInteger16", "MulInteger"})
"""Operators on codes that leave the scales to the nodes behind them."""


def is_integer_operator(operation: Operation) -> bool:
    """Tell whether a node computes on codes itself, as QLinearConv does."""
    if operation.op_type in BOUNDARY:
        return False
    return bool(operation.quantization) or operation.op_type in WITHOUT_SCALES


def scalar(value: float, dtype: str) -> np.generic:
    """Return a parameter in its own type, so that it is spelled by its shortest decimal."""
    if dtype == "float16":
        return np.float16(value)
    return np.float64(value) if dtype == "float64" else np.float32(exact(value, dtype))


def scale_cell(document: Document, quantization: Quantization | None) -> Cell:
    """Spell a scale: its value, or how many there are and between which they lie."""
    if quantization is None or not quantization.scale_values:
        return None
    tensor = document.tensors.get(quantization.scale)
    dtype = tensor.dtype if tensor is not None else "float32"
    values = [scalar(value, dtype) for value in quantization.scale_values]
    return values[0] if len(values) == 1 else _several(values)


def zero_cell(quantization: Quantization | None) -> Cell:
    """Spell a zero point; where the model leaves it out it is 0."""
    if quantization is None:
        return None
    values = zeros(quantization)
    if not values:
        return None
    if len(set(values)) == 1:
        return values[0]
    return _several(values)


def _several(values: Iterable[object]) -> str:
    ordered = [str(value) for value in sorted(values, key=lambda value: float(str(value)))]
    if ordered[0] == ordered[-1]:
        return f"{len(ordered)} values, all {ordered[0]}"
    return f"{len(ordered)} values, {ordered[0]} … {ordered[-1]}"


def zeros(quantization: Quantization) -> tuple[int | float, ...] | None:
    """Return the zero points; ``None`` where they are known at run time only."""
    values = quantization.zero_point_values
    return values or ((0,) if quantization.zero_point is None else None)


def shape_text(tensor: Tensor | None) -> str:
    """Spell a shape: sizes with crosses between them, one that the model does not tell as ``?``."""
    if tensor is None or tensor.shape is None:
        return "?"
    return TIMES.join(map(_size, tensor.shape)) or "one value"


def _size(dimension: Dimension) -> str:
    return "?" if dimension is None else str(dimension)


def digits(value: float | Fraction, count: int = 4) -> float:
    """Return a number in so many significant digits, for a reader who compares magnitudes.

    >>> digits(2 / 3), digits(12345.6), digits(4.0)
    (0.6667, 12350, 4.0)
    """
    short = float(f"{float(value):.{count}g}")
    # A whole number of as many digits says nothing behind its point.
    return int(short) if abs(short) >= 10 ** (count - 1) and short.is_integer() else short


def listed(words: Iterable[str]) -> str:
    """Join words with commas, each once, in the order of their first use."""
    return ", ".join(dict.fromkeys(words))
