"""Float weights and biases that onnxruntime quantizes on its way to integer operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.document import DocumentError, Tensor
from qdqdoc.fuse.network import Node
from qdqdoc.groups import DEQUANTIZE, QUANTIZE
from qdqdoc.numerics.formats import integer_range
from qdqdoc.numerics.rounding import divide, f32, round_to_grid

if TYPE_CHECKING:
    from qdqdoc.fuse.network import Network
    from qdqdoc.numerics.formats import Array

INT32 = 6
"""ONNX's number of the type, which a Cast is given."""


def quantize_weights_and_biases(network: Network) -> bool:
    """Quantize the float weights and biases of Conv, ConvTranspose and Gemm that lead to a Q."""
    changed = False
    for node in list(network.nodes):
        if node.op_type in {"Conv", "ConvTranspose", "Gemm"}:
            changed |= _quantize_operands(network, node)
    return changed


def _quantize_operands(network: Network, node: Node) -> bool:
    data, weight = (network.makers.get(node.input(at)) for at in (0, 1))
    if data is None or not data.dequantizes or not network.is_scalar(data.inputs[1]):
        return False
    if not _leads_to_quantize(network, node):
        return False
    stored = weight is None or not weight.dequantizes
    if stored and not _is_float_constant(network, node.inputs[1]):
        return False
    bias = node.input(2)
    size = None
    if bias:
        shape = network.tensors[bias].shape if bias in network.constants else None
        if shape is None or len(shape) != 1:
            return False
        size = shape[0]
    if not stored and (size is None or not _matches(network, node, weight, size)):
        return False
    if stored:
        _quantize_weight(network, node)
    if bias:
        _quantize_bias(network, node, data)
    return True


def _leads_to_quantize(network: Network, node: Node) -> bool:
    while True:
        readers = {id(edge[0]): edge[0] for edge in network.edges_of(node)}
        if len(node.outputs) != 1 or len(readers) != 1:
            return False
        (reader,) = readers.values()
        if reader.quantizes:
            return True
        if reader.op_type not in {"Relu", "Clip"}:
            return False
        node = reader


def _is_float_constant(network: Network, name: str) -> bool:
    return name in network.constants and network.dtype(name) == "float32"


def _matches(network: Network, node: Node, weight: Node | None, size: object) -> bool:
    """Tell whether scales per channel belong to the outputs, one for each bias."""
    if weight is None or network.is_scalar(weight.inputs[1]):
        return True
    scale = network.tensors.get(weight.inputs[1])
    if scale is None or scale.shape != (size,) or weight.attributes.get("block_size"):
        return False
    axis = weight.attributes.get("axis", 1)
    codes = network.tensors.get(weight.inputs[0])
    if axis < 0:
        if codes is None or codes.shape is None:
            return False
        axis += len(codes.shape)
    last = node.op_type == "Gemm" and not node.attributes.get("transB", 0)
    return bool(axis == (1 if last else 0))


def _quantize_weight(network: Network, node: Node) -> None:
    """Put a Q and a DQ behind a weight; the Q is folded later."""
    weight = node.inputs[1]
    try:
        held = network.array(weight)
    except DocumentError:
        held = np.zeros(0, np.float32)
        network.unwritten = f"{node.name}: the values of {weight} are not known before a run"
    scale, zero_point = weight_grid(held)
    grid = [
        network.store(f"{node.name}_weight_scale", scale, "scale"),
        network.store(f"{node.name}_weight_zp", zero_point, "zero_point"),
    ]
    codes = network.new(
        f"{node.name}_weight_q", Tensor(name="", dtype="int8", shape=network.tensors[weight].shape)
    )
    _add(network, node, QUANTIZE, [weight, *grid], codes)
    made = network.new(f"{node.name}_weight_dq", network.tensors[weight])
    _add(network, node, DEQUANTIZE, [codes, *grid], made)
    network.connect(node, 1, made)


def weight_grid(weight: Array) -> tuple[Array, Array]:
    """Return the scale and the zero point of int8 that span a weight and zero.

    >>> import numpy as np
    >>> weight_grid(np.float32([-1, 0.5, 1.55]))
    (array(0.01, dtype=float32), array(-28, dtype=int8))
    """
    low, high = map(np.asarray, integer_range("int8"))
    least, most = (np.asarray(end(weight, initial=0)) for end in (np.min, np.max))
    scale = divide(f32(most - least), high - low, np.float32)
    scale = scale or np.ones_like(scale)
    offset = f32(low - divide(least, scale, np.float32))
    return scale, round_to_grid(offset, np.asarray(np.int8(0)), np.dtype("int8"))


def _quantize_bias(network: Network, node: Node, data: Node) -> None:
    """Count a bias in steps of the product; what is constant of this is folded later."""
    bias, weight = node.inputs[2], network.makers[node.inputs[1]]
    like, base = network.tensors[bias], node.name
    scale = network.new(f"{base}_bias_scale", network.tensors.get(weight.inputs[1]))
    divided, rounded, codes, made = (
        network.new(f"{base}_{part}", like)
        for part in ("bias_div", "bias_div_round", "bias_int32", "bias_dq")
    )
    network.tensors[codes] = Tensor(name=codes, dtype="int32", shape=like.shape)
    _add(network, node, "Mul", [data.inputs[1], weight.inputs[1]], scale)
    _add(network, node, "Div", [bias, scale], divided)
    _add(network, node, "Round", [divided], rounded)
    _add(network, node, "Cast", [rounded], codes, to=INT32)
    per_channel = {} if network.is_scalar(scale) else {"axis": 0}
    _add(network, node, DEQUANTIZE, [codes, scale], made, **per_channel)
    network.connect(node, 2, made)


def _add(
    network: Network, reader: Node, op_type: str, inputs: list[str], made: str, **attributes: int
) -> None:
    name = f"{op_type} of {inputs[0]} for {reader.name}"
    node = Node(
        name=name,
        op_type=op_type,
        inputs=inputs,
        outputs=[made],
        opset=reader.opset,
        attributes=attributes,
    )
    network.add(node, before=reader)
