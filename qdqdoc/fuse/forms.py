"""The inputs and attributes of the integer operator that takes the place of a group."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document import DocumentError
from qdqdoc.numerics.formats import integer_range, tensor
from qdqdoc.numerics.packing import pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.fuse.network import Network, Node
    from qdqdoc.fuse.selecting import Unit
    from qdqdoc.numerics.formats import Array

BLOCK = 32
"""Onnxruntime cuts weights that come without blocks into blocks of this size."""

LEVEL = 4
"""The accuracy level that onnxruntime asks of MatMulNBits: activations become int8."""

TABLES = (32, 64, 128)
"""Block sizes of 2-bit weights for which it can do so; with others activations stay floats."""

TWO, CODES_PER_BYTE = 2, 4
OVERRUN = (
    "onnxruntime packs weights of 2 bits wrongly unless their columns fill bytes; "
    "its results are then not even the same in two sessions"
)

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "QLinearLeakyRelu": {"alpha": 0.01},
    "QGemm": {"alpha": 1.0, "transA": 0, "transB": 0},
}
"""Attributes that are written out because the default of the new operator may be another one."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a node is given when another operator takes its place."""

    inputs: list[str]
    attributes: dict[str, Any]


def integer_form(one: Unit, op_type: str) -> Form:
    """Return the inputs in the order of an integer operator, and its attributes."""
    network, node = one.network, one.node
    operands = [_grid(network, dequantize) for dequantize in one.dequantizes]
    result = _grid(network, one.quantizes[0])[1:] if one.quantizes else []
    flat = [name for operand in operands for name in operand]
    bias = [operand[0] for operand in operands[2:]]
    match op_type:
        case "QLinearConv":
            inputs = [*flat[:6], *result, *bias]
        case "QGemm":
            inputs = [*flat[:6], *(bias or [""]), *result]
        case "MatMulIntegerToFloat":
            inputs = [name for pair in zip(*operands, strict=True) for name in pair]
        case "QLinearConcat":
            inputs = [*result, *flat]
        case "QLinearWhere":
            inputs = [node.inputs[0], *flat, *result]
        case _:
            inputs = [*flat, *result]
    return Form(inputs, _attributes(node, op_type))


def _grid(network: Network, node: Node) -> list[str]:
    """Return codes (or what becomes codes), scale and zero point; one of 0 where there is none."""
    names = [*node.inputs, ""][:3]
    if not names[2]:
        kind = network.code_type(node)
        names[2] = network.store(f"{names[0]}_zero_point", tensor(kind, 0), "zero_point")
    return names


def _attributes(node: Node, op_type: str) -> dict[str, Any]:
    given = {**DEFAULTS.get(op_type, {}), **node.attributes}
    if op_type == "QGemm":
        given.pop("beta", None)
    if op_type == "QLinearSoftmax":
        since = max(version for version in (1, 11, 13) if version <= max(node.opset, 1))
        given = {"axis": -1 if since == 13 else 1, **given, "opset": since}  # noqa: PLR2004 - an opset
    return given


def nbits_form(one: Unit) -> Form:
    """Return the inputs and attributes of MatMulNBits; the weights are packed anew."""
    network, node = one.network, one.node
    weight = next(d for d in one.dequantizes if d.outputs[0] == node.inputs[1])
    bias = [name for name in node.inputs[2:] if name]
    try:
        held = [network.array(name) for name in weight.inputs if name]
    except DocumentError:
        network.unwritten = f"{node.name}: its weights are not known before a run"
        return Form(list(node.inputs), {})
    made = _Packed(held, weight.attributes.get("block_size", 0), network.dtype(weight.inputs[0]))
    if made.attributes["bits"] == TWO and made.attributes["N"] % CODES_PER_BYTE:
        network.unwritten = f"{node.name}: {OVERRUN}"
    names = [
        network.store(f"{name}_T", value)
        for name, value in zip([*weight.inputs, "zero_point"], made.parts, strict=False)
    ]
    if bias:
        names = [*names, *[""] * (4 - len(names)), *bias]
    return Form([node.inputs[0], *names], made.attributes)


class _Packed:
    """Weights of few bits in the form that MatMulNBits takes."""

    def __init__(self, held: list[Array], block_size: int, kind: str) -> None:
        codes, scale = held[0].astype(np.int32), held[1]
        rows, columns = codes.shape
        size, low = block_size or BLOCK, integer_range(kind)[0]
        bits = int(kind.removeprefix("u").removeprefix("int"))
        self.blocks = ceil(rows / size)
        zeros = held[2].astype(np.int32) if len(held) > 2 else None  # noqa: PLR2004 - a zero point
        if zeros is None and low == 0:
            zeros = np.zeros_like(scale, np.int32)
        padded = np.zeros((columns, self.blocks * size), np.int32)
        padded[:, :rows] = codes.T - low
        parts = [
            pack(padded.reshape(columns, self.blocks, size), bits),
            self._rows(scale, columns).ravel(),
        ]
        if zeros is not None:
            parts.append(pack(self._rows(zeros - low, columns), bits).ravel())
        self.parts = parts
        self.attributes = {
            "K": rows,
            "N": columns,
            "bits": bits,
            "block_size": size,
            "accuracy_level": 0 if bits == TWO and size not in TABLES else LEVEL,
        }

    def _rows(self, values: Array, columns: int) -> Array:
        """Return one value for each column and block."""
        blocks = values if values.ndim == 2 else np.broadcast_to(values, (self.blocks, columns))  # noqa: PLR2004 - a matrix
        return np.ascontiguousarray(blocks.T)
