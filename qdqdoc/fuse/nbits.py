"""Weights of few bits behind a DQ and float activations: MatMulNBits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.fuse.answer import Reason, Refusal

if TYPE_CHECKING:
    from qdqdoc.fuse.network import Network, Node

KINDS = frozenset({"int2", "uint2", "int4", "uint4", "int8", "uint8"})
SMALLEST_BLOCK = 16
MATRIX = 2
Shape = tuple[object, ...] | None


def nbits(
    network: Network, node: Node, dequantizes: tuple[Node, ...], quantizes: tuple[Node, ...]
) -> Refusal | None:
    """Say why a MatMul or Gemm does not become MatMulNBits, if so."""
    weight = next((d for d in dequantizes if d.outputs[0] == node.inputs[1]), None)
    most = 2 if node.op_type == "Gemm" else 1
    if weight is None or not 1 <= len(dequantizes) <= most:
        words = f"{len(dequantizes)} of the inputs come from a DQ"
        return Refusal(Reason.INPUT_NOT_QUANTIZED, words)
    if quantizes:
        words = "one input does not come from a DQ, and for weights alone no Q may follow"
        return Refusal(Reason.INPUT_NOT_QUANTIZED, words)
    if network.only_reader(weight) is not node:
        return Refusal(Reason.SHARED_DEQUANTIZE, f"{weight.outputs[0]} is read elsewhere, too")
    if node.op_type == "Gemm" and not _like_matmul(network, node, weight, dequantizes):
        words = "only a Gemm with alpha and beta 1, no transposes and a bias per column does"
        return Refusal(Reason.WEIGHT_FORM, words)
    return _form(network, weight)


def _like_matmul(network: Network, node: Node, weight: Node, dequantizes: tuple[Node, ...]) -> bool:
    numbers = {"alpha": 1, "transA": 0, "transB": 0}
    bias = node.input(2)
    if bias:
        numbers["beta"] = 1
    if any(node.attributes.get(name, value) != value for name, value in numbers.items()):
        return False
    others = [d for d in dequantizes if d is not weight]
    if others and others[0].outputs[0] != bias:
        return False
    codes = network.tensors.get(weight.inputs[0])
    if not bias:
        return True
    known = network.tensors.get(bias)
    if known is None or codes is None or known.shape is None or codes.shape is None:
        return False
    return len(codes.shape) == MATRIX and known.shape == (codes.shape[1],)


def _form(network: Network, weight: Node) -> Refusal | None:
    tensors = [network.tensors.get(name) for name in weight.inputs if name]
    codes, scale = tensors[0], tensors[1]
    if codes is None or scale is None or codes.dtype not in KINDS:
        kind = codes.dtype if codes else "unknown"
        return Refusal(Reason.WIDTH, f"weights of type {kind}")
    if scale.dtype not in {"float32", "float16"}:
        return Refusal(Reason.WIDTH, f"scales of type {scale.dtype}")
    if any(name not in network.constants for name in weight.inputs if name):
        return Refusal(Reason.PARAMETERS_NOT_CONSTANT, "weights, scales and zero points must be")
    for name in weight.inputs[:2]:
        if network.uses(name) > 1:
            return Refusal(Reason.WEIGHT_FORM, f"{name}, or an equal constant, is read elsewhere")
    return _granularity(weight, codes.shape, scale.shape)


def _granularity(weight: Node, shape: Shape, scale: Shape) -> Refusal | None:
    if shape is None or len(shape) != MATRIX:
        return Refusal(Reason.WEIGHT_FORM, f"weights of shape {shape} are no matrix")
    block = weight.attributes.get("block_size", 0)
    if block and not _blocks(weight, block):
        words = f"blocks of {block}: only powers of 2 from {SMALLEST_BLOCK} on axis 0 are"
        return Refusal(Reason.WEIGHT_FORM, words)
    wanted = {(), (shape[1],)}
    if not block and (scale not in wanted or _wrong_axis(weight, scale)):
        return Refusal(Reason.WEIGHT_FORM, f"scales of shape {scale} are not per column")
    return None


def _blocks(weight: Node, block: int) -> bool:
    power = block & (block - 1) == 0
    return weight.attributes.get("axis", 1) == 0 and block >= SMALLEST_BLOCK and power


def _wrong_axis(weight: Node, shape: tuple[object, ...] | None) -> bool:
    return bool(shape) and weight.attributes.get("axis", 1) != 1
