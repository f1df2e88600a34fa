"""Layers that sum products: a Conv, MatMul or Gemm with stored weights, seen as integers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING, Literal

import numpy as np

from qdqdoc.document import DocumentError, array
from qdqdoc.facts.reading import zeros
from qdqdoc.groups import groups
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, is_integer
from qdqdoc.numerics.layout import spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.document import Document, Quantization
    from qdqdoc.groups import Group, Operand

Kind = Literal["Conv", "MatMul"]
KINDS: dict[str, Kind] = {
    **dict.fromkeys(("Conv", "FusedConv", "QLinearConv"), "Conv"),
    **dict.fromkeys(("MatMul", "Gemm", "QLinearMatMul", "QGemm"), "MatMul"),
}
LEAST_RANK: dict[Kind, int] = {"Conv": 3, "MatMul": 2}
TRANSPOSED = frozenset({"Gemm", "QGemm"})


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Layer:
    """A group that sums products of codes, with its stored codes in the order of the kernel.

    ``weights`` are (M, C / group, kernel...) for a Conv, else (..., K, N). ``bias`` has one
    whole number per output channel, in steps of the two scales' product; ``exact_bias`` says
    whether the file itself counts it so, or it was rounded here to that grid.
    """

    group: Group
    kind: Kind
    operand: Operand
    x: Quantization
    w: Quantization
    weights: Array
    bias: tuple[int, ...]
    exact_bias: bool

    @property
    def centred(self) -> Array:
        """The weights less their zero point, as int64."""
        axis = self.w.axis or 0
        axis = 1 - axis % 2 if transposed(self.group) else axis
        shift = spread(zero_array(self.w), self.weights.shape, axis, 0)
        return self.weights.astype(np.int64) - shift.astype(np.int64)

    @property
    def products(self) -> int:
        """How many products one output sums: K."""
        shape = self.weights.shape
        return int(np.prod(shape[1:])) if self.kind == "Conv" else int(shape[-2])


def transposed(group: Group) -> bool:
    """Tell whether the weights stand as (N, K) in the file."""
    operation = group.operation
    return operation.op_type in TRANSPOSED and bool(operation.attributes.get("transB", 0))


def zero_array(quantization: Quantization) -> Array:
    """Return the zero points in the type of the codes: one value, or a vector of several."""
    values = zeros(quantization) or (0,)
    found = np.array(values, dtype=np.int64).astype(DTYPES[quantization.dtype])
    return found.reshape(()) if found.size == 1 else found


def layers(document: Document) -> tuple[Layer, ...]:
    """Return the layers whose integers the document tells, in graph order."""
    return tuple(_layers(document))


def _layers(document: Document) -> Iterator[Layer]:
    for group in groups(document):
        kind = KINDS.get(group.operation.op_type)
        data = [o for o in group.operands if o.role == "activation"]
        stored = [o for o in group.operands if o.role == "weight"]
        if kind is None or len(data) != 1 or len(stored) != 1 or not _right_way(group, data[0]):
            continue
        x, w = data[0].quantization, stored[0].quantization
        if x is None or w is None or not _known(x) or not _known(w):
            continue
        if x.granularity != "per_tensor":
            continue
        weights = _codes(document, stored[0])
        if weights is None or weights.ndim < LEAST_RANK[kind] or not weights.size:
            continue
        if transposed(group):
            weights = weights.T
        if not _along_outputs(group, kind, w, weights.ndim):
            continue
        channels = weights.shape[0 if kind == "Conv" else -1]
        if not {len(w.scale_values or (1,)), len(zeros(w) or (0,))} <= {1, channels}:
            continue
        bias, exact_bias = _bias(document, group, _units(x, w, channels))
        yield Layer(
            group=group,
            kind=kind,
            operand=data[0],
            x=x,
            w=w,
            weights=weights,
            bias=bias,
            exact_bias=exact_bias,
        )


def _right_way(group: Group, data: Operand) -> bool:
    """Tell whether it is plainly ``x @ W + b``: data first, not transposed, factors of 1."""
    attributes = group.operation.attributes
    plain = attributes.get("alpha", 1) == attributes.get("beta", 1) == 1
    return data.position == 0 and plain and not attributes.get("transA", 0)


def _along_outputs(group: Group, kind: Kind, w: Quantization, rank: int) -> bool:
    """Tell whether all that one output sums has one scale; else there is no sum of codes."""
    if w.granularity != "per_axis":
        return w.granularity == "per_tensor"
    channels = 0 if kind == "Conv" or transposed(group) else rank - 1
    return (w.axis or 0) % rank == channels


def _known(quantization: Quantization) -> bool:
    integer = quantization.dtype in DTYPES and is_integer(DTYPES[quantization.dtype])
    scales = quantization.scale_values or (0,)
    points = zeros(quantization) or ()
    if not integer or not points or not all(s and isfinite(s) for s in scales):
        return False
    low, high = integer_range(DTYPES[quantization.dtype])
    # Nothing is quantized to more than 32 bits; int64 has room for sums of those.
    return high < 2**32 and all(low <= point <= high for point in points)


def _codes(document: Document, operand: Operand) -> Array | None:
    for name in (operand.origin, operand.codes, operand.tensor):
        tensor = document.tensors.get(name or "")
        if tensor is None or not tensor.dtype:
            continue
        try:
            return array(document, tensor)
        except DocumentError:
            continue
    return None


def _bias(document: Document, group: Group, units: list[Fraction]) -> tuple[tuple[int, ...], bool]:
    found = next((o for o in group.operands if o.role == "bias"), None)
    stored = _codes(document, found) if found is not None else None
    if found is None or stored is None or stored.size not in {1, len(units)} or _is_text(stored):
        return (), found is None
    one = found.quantization
    grid = (*(one.scale_values or ()), *(zeros(one) or ())) if one else ()
    if not all(isfinite(float(value)) for value in (*stored.ravel(), *grid)):
        return (), False
    codes = [Fraction(float(value)) for value in stored.ravel()]
    codes = codes * len(units) if len(codes) == 1 else codes
    bare = found.quantization is None and is_integer(stored.dtype)
    if bare or (found.quantization is not None and _same_grid(found.quantization, units)):
        return tuple(map(int, codes)), True
    real = _real(codes, found.quantization)
    return tuple(round(value / unit) for value, unit in zip(real, units, strict=True)), False


def _is_text(values: Array) -> bool:
    return values.dtype.kind == "O"


def _units(x: Quantization, w: Quantization, count: int) -> list[Fraction]:
    """Return what one step of the sum is worth in each output channel."""
    scales = w.scale_values or ()
    step = Fraction((x.scale_values or (1,))[0])
    return [step * Fraction(scales[i % len(scales)]) for i in range(count)]


def _real(codes: list[Fraction], quantization: Quantization | None) -> list[Fraction]:
    if quantization is None:
        return codes
    scales = quantization.scale_values or (1.0,)
    offsets = zeros(quantization) or (0,)
    return [
        Fraction(scales[i % len(scales)]) * (code - Fraction(offsets[i % len(offsets)]))
        for i, code in enumerate(codes)
    ]


def _same_grid(quantization: Quantization, units: list[Fraction]) -> bool:
    """Whether a bias is int32 and its scale the product of both scales, as float32 holds it."""
    scales = quantization.scale_values or ()
    scales = scales * len(units) if len(scales) == 1 else scales
    if quantization.dtype != "int32" or any(zeros(quantization) or (0,)):
        return False
    near = [abs(Fraction(s) - unit) <= unit / 2**22 for s, unit in zip(scales, units, strict=False)]
    return len(scales) == len(units) and all(near)


def code_range(quantization: Quantization) -> tuple[int, int]:
    """Return the least and the largest distance of a code from its zero point."""
    low, high = integer_range(DTYPES[quantization.dtype])
    offsets = [int(zero) for zero in zeros(quantization) or (0,)]
    return low - max(offsets), high - min(offsets)
