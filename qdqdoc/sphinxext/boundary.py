"""What the pages on reading a model and on its boundary operations compute."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document import array
from qdqdoc.groups import Group, groups
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, is_integer, largest_finite
from qdqdoc.operators import OPERATORS
from qdqdoc.tables import Code, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from qdqdoc.document import Document, Quantization, Tensor
    from qdqdoc.tables import Cell

AROUND = 3
"""How many float32 numbers on each side of a midpoint are looked at."""


class Grid:
    """The grid of one tensor: its step, its zero point, its rails, and both kernels upon it."""

    def __init__(self, quantization: Quantization) -> None:
        self.tensor = quantization.tensor
        self.dtype = quantization.dtype
        kind = DTYPES[quantization.dtype]
        self.scale = np.float32((quantization.scale_values or (1,))[0])
        self.zero_point = np.array((quantization.zero_point_values or (0,))[0], kind)
        self.low, self.high = integer_range(kind)

    @property
    def zero(self) -> int:
        """The zero point as a number."""
        return int(self.zero_point)

    def real(self, code: int) -> Fraction:
        """Return the real number that a code stands for, exactly."""
        return Fraction(float(self.scale)) * (code - self.zero)

    def decimal(self, code: int) -> np.float32:
        """Return the real number that a code stands for, as DequantizeLinear gives it."""
        return np.float32(self.dequantize(np.array([code], self.zero_point.dtype))[0])

    def quantize(self, x: Array) -> Array:
        """Return the codes of real numbers."""
        codes: Array = OPERATORS["", "QuantizeLinear"].kernel(x, self.scale, self.zero_point)
        return codes

    def dequantize(self, codes: Array) -> Array:
        """Return the real numbers of codes."""
        kernel = OPERATORS["", "DequantizeLinear"].kernel
        real: Array = kernel(codes, self.scale, self.zero_point)
        return real

    def excess(self) -> Fraction:
        """Return by how much the round trip in float32 exceeds half a step at worst, in steps.

        The float32 numbers next to each midpoint between two codes are tried: only there can
        the rounding of the quotient choose the farther code.
        """
        steps = np.arange(self.low - self.zero, self.high - self.zero) + 0.5
        middle = np.float32(steps * float(self.scale))
        candidates = [middle]
        for direction in (np.float32(-np.inf), np.float32(np.inf)):
            near = middle
            for _ in range(AROUND):
                near = np.nextafter(near, direction)
                candidates.append(near)
        x = np.concatenate(candidates)
        back = self.dequantize(self.quantize(x))
        half = Fraction(float(self.scale)) / 2
        pairs = zip(x, back, strict=True)
        errors = (abs(Fraction(float(a)) - Fraction(float(b))) for a, b in pairs)
        return (max(errors) - half) / (2 * half)

    def excess_allowed(self) -> Fraction:
        """Return what the proof for float32 allows `excess` to be, in steps."""
        steps = max(abs(self.low - self.zero), abs(self.high - self.zero))
        roundoff = Fraction(float(np.finfo(np.float32).eps)) / 2
        return roundoff * (2 * steps + Fraction(1, 2))


def first_grid(document: Document) -> Grid | None:
    """Return the grid of the model's first QuantizeLinear, one scale for the tensor."""
    for operation in document.operations:
        for quantization in operation.quantization.values():
            if operation.op_type == "QuantizeLinear" and _simple(quantization):
                return Grid(quantization)
    return None


def _simple(quantization: Quantization) -> bool:
    known = quantization.scale_values is not None
    integers = quantization.dtype in DTYPES and is_integer(DTYPES[quantization.dtype])
    return known and integers and quantization.granularity == "per_tensor"


def error_plot(grid: Grid) -> Figure:
    """Draw the error of a round trip over x, beyond both rails as well."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    step, middle = float(grid.scale), float(grid.real((grid.low + grid.high) // 2))
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    whole, close = figure.subplots(2, 1)
    rails = [float(grid.real(code)) for code in (grid.low, grid.high)]
    beyond = (rails[1] - rails[0]) / 12
    _draw_error(whole, grid, rails[0] - beyond, rails[1] + beyond)
    for rail in rails:
        whole.axvline(rail, color="#d1495b", linewidth=1, linestyle="--")
    whole.set_title("all codes; dashed: the rails", fontsize=10)
    whole.set_ylim(-3 * step, 3 * step)
    _draw_error(close, grid, middle - 4 * step, middle + 4 * step)
    close.set_title("a few steps in the middle", fontsize=10)
    return figure


def _draw_error(axes: Any, grid: Grid, low: float, high: float) -> None:  # noqa: ANN401 - matplotlib
    x = np.linspace(low, high, 4001, dtype=np.float32)
    step = float(grid.scale)
    axes.plot(x, grid.dequantize(grid.quantize(x)) - x, color="#2a7fbf", linewidth=1)
    for bound in (-step / 2, step / 2):
        axes.axhline(bound, color="#888888", linewidth=0.8)
    axes.set_xlim(low, high)
    axes.set_xlabel("x")
    axes.set_ylabel("DQ(Q(x)) − x")


def type_table() -> Table:
    """Return every type that QuantizeLinear can make, with the opset that brought it."""
    operator = OPERATORS["", "QuantizeLinear"]
    since = {k: v.since for v in reversed(operator.versions) for k in v.allowed("y")}
    kinds = sorted(since, key=lambda kind: (not is_integer(DTYPES[kind]), since[kind]))
    rows = tuple((Code(kind), *_rails(kind), since[kind]) for kind in kinds)
    return Table(
        columns=("type", "bits", "lower rail", "upper rail", "numbers on the grid", "since opset"),
        rows=rows,
        keys=tuple(kinds),
    )


def _rails(kind: str) -> tuple[Cell, ...]:
    dtype = DTYPES[kind]
    if is_integer(dtype):
        low, high = integer_range(dtype)
        return (high - low).bit_length(), low, high, high - low + 1
    bits, most = _float_bits(kind), largest_finite(dtype)
    every = np.arange(2**bits, dtype=np.uint8).view(dtype).astype(np.float32)
    rail = int(most) if most == int(most) else most
    return bits, -rail, rail, len(np.unique(every[np.isfinite(every)]))


def _float_bits(kind: str) -> int:
    """Read the width off the name: NumPy stores every small float in a whole byte."""
    return int(kind.removeprefix("float")[0])


def grid_table(document: Document) -> Table:
    """Return the real ranges of the model's first quantized activations and weights."""
    rows = [
        (
            Code(grid.tensor),
            Code(grid.dtype),
            grid.scale,
            grid.zero,
            grid.decimal(grid.low),
            grid.decimal(grid.high),
        )
        for grid in _examples(document)
    ]
    columns = ("tensor", "type", "scale", "zero point", "at the lower rail", "at the upper rail")
    return Table(columns=columns, rows=tuple(rows))


def _examples(document: Document, most: int = 2) -> Iterator[Grid]:
    """Yield the first activations and weights, each tensor once."""
    wanted = {"activation": most, "weight": most}
    seen: set[str] = set()
    for operation in document.operations:
        for quantization in operation.quantization.values():
            tensor = document.tensors.get(quantization.tensor)
            role = tensor.role if tensor else ""
            if _simple(quantization) and quantization.tensor not in seen and wanted.get(role):
                wanted[role] -= 1
                seen.add(quantization.tensor)
                yield Grid(quantization)


def first_group(document: Document) -> Group | None:
    """Return the first group with weights that ends in a QuantizeLinear."""
    for group in groups(document):
        if group.quantize is not None and any(o.role == "weight" for o in group.operands):
            return group
    return None


def group_table(document: Document, group: Group) -> Table:
    """Return every tensor of a group: what the file holds and what a run computes."""
    operation, quantize = group.operation, group.quantize
    names: dict[str, str] = {}
    for operand in group.operands:
        names[operand.codes or operand.tensor] = f"{operand.role}, codes"
        if operand.quantization is not None:
            names[operand.quantization.scale] = f"{operand.role}, scale"
            names[operand.quantization.zero_point or ""] = f"{operand.role}, zero point"
        names[operand.tensor] = f"{operand.role}, real numbers"
    names[operation.outputs[0]] = "result, real numbers"
    if quantize is not None:
        parts = ("result, scale", "result, zero point")
        names.update(zip(quantize.inputs[1:], parts, strict=False))
        names[quantize.outputs[0]] = "result, codes"
    rows = [_tensor_row(document.tensors[n], names[n]) for n in names if n in document.tensors]
    columns = ("tensor", "what it is", "type", "shape", "value")
    return Table(columns=columns, rows=tuple(rows))


def _tensor_row(tensor: Tensor, part: str) -> tuple[Cell, ...]:
    sizes = ["?" if size is None else str(size) for size in tensor.shape or ()]
    value: Cell = "in the file" if tensor.initializer else "computed"
    if tensor.initializer and tensor.values is not None and len(tensor.values) == 1:
        value = np.float32(tensor.values[0]) if "float" in tensor.dtype else tensor.values[0]
    return Code(tensor.name), part, Code(tensor.dtype), "×".join(sizes) or "one value", value


def stored_weight(document: Document, group: Group) -> tuple[Array, dict[str, Any]]:
    """Return the codes of a group's weights, and what the kernels need to read them."""
    weight = next(o for o in group.operands if o.role == "weight" and o.codes)
    known = weight.quantization
    assert known is not None  # noqa: S101 - an operand with codes has it
    codes = array(document, known.tensor)
    scale: Array = np.array(known.scale_values or (1,), np.float32)
    zero = np.array(known.zero_point_values or [0] * scale.size, codes.dtype)
    if known.granularity == "per_tensor":
        scale, zero = scale[0], zero[0]
    axis = 1 if known.axis is None else known.axis
    return codes, {"scale": scale, "zero point": zero, "axis": axis}
