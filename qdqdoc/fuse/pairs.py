"""When a QuantizeLinear and a DequantizeLinear are a pair: onnxruntime's IsQDQPairSupported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.fuse.answer import Reason, Refusal

if TYPE_CHECKING:
    from qdqdoc.fuse.network import Network, Node


def constant_parameters(network: Network, node: Node, *, zero_point: bool) -> Refusal | None:
    """Say why the scale (and zero point) of a Q or DQ are no constant scalars, if so.

    ``zero_point`` tells whether one must be there.
    """
    if zero_point and not node.input(2):
        return Refusal(Reason.ZERO_POINT_MISSING, f"{node.name} has no zero point input")
    for name in filter(None, node.inputs[1:3]):
        if not network.is_scalar(name):
            return Refusal(
                Reason.PARAMETERS_NOT_SCALAR, f"{node.name}: {name} is not a single value"
            )
        if name not in network.constants:
            return Refusal(Reason.PARAMETERS_NOT_CONSTANT, f"{node.name}: {name} is no constant")
    return None


def same_parameters(network: Network, quantize: Node, dequantize: Node) -> Refusal | None:
    """Say why a Q and a DQ do not stand for the same grid, if so."""
    for node in (dequantize, quantize):
        refusal = constant_parameters(network, node, zero_point=True)
        if refusal:
            return refusal
    kinds = [network.tensors[node.inputs[2]].dtype for node in (dequantize, quantize)]
    scales, zeros = (
        [network.value(node.inputs[at]) for node in (dequantize, quantize)] for at in (1, 2)
    )
    if kinds[0] != kinds[1] or scales[0] != scales[1] or zeros[0] != zeros[1]:
        return Refusal(
            Reason.PARAMETERS_DIFFER,
            f"{dequantize.name} has scale {scales[0]:.9g} and zero point {zeros[0]}, "
            f"{quantize.name} has {scales[1]:.9g} and {zeros[1]}",
        )
    return None
