"""The passes of onnxruntime's first level that add Q and DQ nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.document import Tensor
from qdqdoc.fuse.network import Node
from qdqdoc.fuse.pairs import constant_parameters
from qdqdoc.groups import DEQUANTIZE, QUANTIZE

if TYPE_CHECKING:
    from qdqdoc.fuse.network import Edge, Network

CARRIERS = {
    "MaxPool": (12, 99),
    "Reshape": (5, 99),
    "Transpose": (1, 99),
    "Squeeze": (1, 99),
    "Unsqueeze": (1, 99),
    "Slice": (1, 99),
}
"""Operators that pass codes on, with the opsets for which onnxruntime knows it."""

STATED_TYPE = 21
"""From this opset on a Q that onnxruntime adds behind a DQ says its type in an attribute, too."""


def unique_dequantize(network: Network) -> bool:
    """Give every reader of a DequantizeLinear one of its own."""
    changed = False
    for node in list(network.nodes):
        if not node.dequantizes:
            continue
        edges = list(network.edges(node.outputs[0]))
        explicit = [edge for edge in edges if edge[1] >= 0]
        result = network.is_result(node)
        if not edges or (len(edges) == 1 and not result):
            continue
        spare = not result and len(explicit) == len(edges)
        for reader, position in explicit[1:] if spare else explicit:
            _own_dequantize(network, node, (reader, position))
            changed = True
    return changed


def _own_dequantize(network: Network, node: Node, edge: Edge) -> None:
    reader, position = edge
    made = network.new(node.outputs[0], network.tensors.get(node.outputs[0]))
    twin = Node(
        name=node.name,
        op_type=DEQUANTIZE,
        inputs=list(node.inputs),
        outputs=[made],
        domain=node.domain,
        opset=node.opset,
        attributes=node.attributes,
    )
    network.add(twin, before=reader)
    network.connect(reader, position, made)


def propagate(network: Network) -> bool:
    """Carry a DQ forward and a Q backward over nodes that only move values."""
    changed = False
    for node in list(network.nodes):
        if node.dequantizes and network.only_reader(node) is not None:
            changed |= _forward(network, node)
    for node in list(network.nodes):
        if node.quantizes:
            changed |= _backward(network, node)
    return changed


def complete_transposes(network: Network) -> bool:
    """Close DQ.Transpose to a group: the pass that moves transposes does that, too."""
    changed = False
    for node in list(network.nodes):
        reader = network.only_reader(node) if node.dequantizes else None
        if reader is not None and reader.is_onnx("Transpose"):
            changed |= _forward(network, node, states_type=False)
    return changed


def _carries(node: Node) -> bool:
    low, high = CARRIERS.get(node.op_type, (1, 0))
    return not node.domain and low <= node.opset <= high


def _forward(network: Network, dequantize: Node, *, states_type: bool = True) -> bool:
    if constant_parameters(network, dequantize, zero_point=False):
        return False
    changed = False
    pending = [edge[0] for edge in network.edges(dequantize.outputs[0])]
    while pending:
        carrier = pending.pop()
        made = carrier.outputs[0]
        edges = list(network.edges(made))
        if not _carries(carrier) or any(reader.quantizes for reader, _ in edges):
            continue
        if edges or made in network.outputs:
            _insert(network, made, edges, dequantize, states_type=states_type)
            pending += [reader for reader, _ in edges]
            changed = True
    return changed


def _backward(network: Network, quantize: Node) -> bool:
    if constant_parameters(network, quantize, zero_point=False):
        return False
    changed = False
    name = quantize.inputs[0]
    while (carrier := network.makers.get(name)) is not None and _carries(carrier):
        if name in network.outputs or len(network.edges(name)) != 1:
            break
        name = carrier.inputs[0]
        maker = network.makers.get(name)
        if maker is not None and (
            name in network.outputs or len(network.edges(name)) != 1 or maker.dequantizes
        ):
            break
        if maker is None and name in network.constants:
            break
        _insert(network, name, [(carrier, 0)], quantize)
        changed = True
    return changed


def _insert(
    network: Network, name: str, edges: list[Edge], like: Node, *, states_type: bool = False
) -> None:
    """Put a Q behind a tensor, and a DQ before each reader and before the graph's output."""
    source = name
    if name in network.outputs:
        source = network.new(name, network.tensors.get(name))
        network.rename_output(network.makers[name], 0, source)
    codes = network.new(f"{name}_q", Tensor(name="", dtype=network.code_type(like)))
    first = min((edge[0] for edge in edges), key=network.nodes.index, default=None)
    quantize = _node(QUANTIZE, [source, *like.inputs[1:]], codes, like)
    if states_type and like.opset >= STATED_TYPE:
        quantize.attributes = {**like.attributes, "output_dtype": "that of the zero point"}
    network.add(quantize, before=first)
    if source != name:
        network.add(_node(DEQUANTIZE, [codes, *like.inputs[1:]], name, like), before=first)
    for reader, position in edges:
        made = network.new(f"{name}_dq", network.tensors.get(name))
        network.add(_node(DEQUANTIZE, [codes, *like.inputs[1:]], made, like), before=reader)
        network.connect(reader, position, made)


def _node(op_type: str, inputs: list[str], made: str, like: Node) -> Node:
    return Node(
        name=f"{op_type} of {inputs[0]}",
        op_type=op_type,
        inputs=inputs,
        outputs=[made],
        domain=like.domain,
        opset=like.opset,
        attributes=like.attributes,
    )
