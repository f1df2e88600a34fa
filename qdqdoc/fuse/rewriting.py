"""Onnxruntime's second level: int8 pairs become uint8, groups become integer operators."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.fuse.answer import Outcome, Reason, Refusal
from qdqdoc.fuse.forms import integer_form, nbits_form
from qdqdoc.fuse.network import Node
from qdqdoc.fuse.pairs import same_parameters
from qdqdoc.fuse.selecting import (
    MICROSOFT,
    NARROW,
    ORDERED,
    RULES,
    SINGLE,
    Rule,
    Unit,
    single,
    unit,
)

if TYPE_CHECKING:
    from qdqdoc.fuse.network import Network

SHIFT = 128
THREE = 3
TWO_BITS = frozenset({"int2", "uint2"})


def convert_to_uint8(network: Network) -> bool:
    """Let a Q and the one DQ that reads it use uint8 instead of int8."""
    changed = False
    for quantize in list(network.nodes):
        dequantize = network.only_reader(quantize) if quantize.quantizes else None
        if dequantize is None or not dequantize.dequantizes:
            continue
        pair = (quantize, dequantize)
        zeros = {network.value(node.inputs[2]) if node.input(2) else 0 for node in pair}
        kinds = {network.code_type(node) for node in pair}
        if kinds != {"int8"} or len(zeros) > 1 or None in zeros:
            continue
        _shift(network, quantize, dequantize)
        changed = True
    return changed


def _shift(network: Network, quantize: Node, dequantize: Node) -> None:
    """Move the zero point by 128, and with it all codes."""
    old = network.value(quantize.input(2)) if quantize.input(2) else 0
    for node in (quantize, dequantize):
        moved = np.asarray(np.uint8(old + SHIFT))
        zero = network.store(f"{node.inputs[0]}_zero_point", moved, "zero_point")
        if len(node.inputs) < THREE:
            node.inputs += [""] * (THREE - len(node.inputs))
        network.connect(node, 2, zero)
    codes = quantize.outputs[0]
    network.shifted[codes] = SHIFT
    if quantize.attributes.get("output_dtype"):
        network.refused = f"{quantize.name} becomes uint8, but its output_dtype says int8"
    if codes in network.tensors:
        network.tensors[codes] = replace(network.tensors[codes], dtype="uint8")


def fuse_groups(network: Network, answers: dict[int, Answer], *, int8_allowed: bool) -> bool:
    """Rewrite every group that fuses; keep for each node what was found."""
    changed = False
    for node in list(network.nodes):
        done = isinstance(answers.get(id(node)), Outcome)
        if done or node.quantizes or node.dequantizes:
            continue
        found = judge(network, node, int8_allowed=int8_allowed)
        answers[id(node)] = found
        if isinstance(found, Unit):
            answers[id(node)] = _rewrite(found)
            changed = True
    return changed


Answer = Refusal | Outcome | Unit
"""What is known of a node: that it fused, or why not."""


def judge(network: Network, node: Node, *, int8_allowed: bool) -> Refusal | Unit:
    """Return the unit that fuses, or the reason why none does."""
    rule = RULES.get(node.op_type)
    if rule is None or node.domain:
        words = f"onnxruntime fuses no {node.domain or 'ai.onnx'} {node.op_type}"
        return Refusal(Reason.OPERATOR, words)
    low, high = rule.opsets
    if not low <= node.opset <= high:
        words = f"onnxruntime fuses {node.op_type} of opset {low} to {high}, not {node.opset}"
        return Refusal(Reason.VERSION, words)
    found = unit(network, node, int8_allowed=int8_allowed)
    if isinstance(found, Refusal):
        return found
    return rule.check(found) or found


def _rewrite(one: Unit) -> Outcome:
    """Put what runs in the end in the place of the group."""
    network, node = one.network, one.node
    rule = RULES[node.op_type]
    full = len(one.dequantizes) == sum(1 for name in node.inputs if name)
    product = node.op_type in {"MatMul", "Gemm"} and not full
    network.refused = network.refused or _without_kernel(one, product=product)
    if one.clip is not None:
        network.remove(one.clip)
    if product or (rule.becomes and node.op_type != "ArgMax"):
        becomes = _becomes(rule, one, product=product)
        _replace(one, becomes[0], weight_only=product)
        node.op_type, node.domain = becomes
        node.opset = 1 if node.domain else node.opset
        return Outcome.FUSED
    for dequantize in one.dequantizes:
        position = node.inputs.index(dequantize.outputs[0])
        network.connect(node, position, dequantize.inputs[0])
        network.remove(dequantize)
    if node.op_type != "ArgMax":
        _take_outputs(one)
    return Outcome.DROPPED


def _replace(one: Unit, op_type: str, *, weight_only: bool) -> None:
    """Give the node the inputs and attributes of what takes its place."""
    network, node = one.network, one.node
    made = nbits_form(one) if weight_only else integer_form(one, op_type)
    taken = [d for d in one.dequantizes if not weight_only or d.outputs[0] == node.inputs[1]]
    network.rewire(node, made.inputs)
    node.attributes = made.attributes
    for dequantize in taken:
        network.remove(dequantize)
    _take_outputs(one)


def _take_outputs(one: Unit) -> None:
    for position, quantize in enumerate(one.quantizes):
        one.network.remove(quantize)
        one.network.rename_output(one.node, position, quantize.outputs[0])


def _without_kernel(one: Unit, *, product: bool) -> str:
    """Say why the result cannot be loaded: rules that let types pass that nothing runs."""
    node = one.node
    overlooked = node.op_type == "Conv" or RULES[node.op_type].check is ORDERED
    narrow = NARROW if overlooked else set()
    for kind in one.types:
        if kind in narrow or (kind in TWO_BITS and not product and node.op_type != "Transpose"):
            return f"{node.name} becomes an operator that does not know {kind}"
    scalars = (*one.dequantizes, *one.quantizes)
    if node.op_type == "AveragePool" and single(one, scalars, {()}):
        return f"{node.name} becomes QLinearAveragePool, whose scales are of rank 0"
    if node.op_type == "Sigmoid" and single(one, scalars, SINGLE):
        return f"{node.name} becomes QLinearSigmoid, whose scales have one value"
    return ""


def _becomes(rule: Rule, one: Unit, *, product: bool) -> tuple[str, str]:
    if product:
        return "MatMulNBits", MICROSOFT
    if not one.quantizes and rule.without_q:
        return rule.without_q, MICROSOFT
    return rule.becomes, rule.domain


def remove_pairs(network: Network) -> bool:
    """Take out every DQ with the Q behind it, where both have the same parameters."""
    changed = False
    for dequantize in list(network.nodes):
        quantize = network.only_reader(dequantize) if dequantize.dequantizes else None
        if quantize is None or not quantize.quantizes:
            continue
        made, source = quantize.outputs[0], dequantize.inputs[0]
        if same_parameters(network, quantize, dequantize):
            continue
        if made in network.outputs:
            if network.edges(made):
                continue
            _end(network, dequantize, quantize)
        else:
            network.remove(quantize)
            network.remove(dequantize)
            network.redirect(made, source)
        changed = True
    return changed


def _end(network: Network, dequantize: Node, quantize: Node) -> None:
    """Let the codes before a pair be the output of the graph that the pair made."""
    source, made = dequantize.inputs[0], quantize.outputs[0]
    maker = network.makers.get(source)
    network.remove(quantize)
    network.remove(dequantize)
    if maker is not None:
        network.rename_output(maker, maker.outputs.index(source), made)
        network.redirect(source, made)
    else:
        network.add(Node("", "Identity", [source], [made]))
