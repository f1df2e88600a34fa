"""Which groups become integer operators: onnxruntime's selectors, rule by rule.

The order of the checks is that of qdq_selectors.cc, so that the first reason is its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdqdoc.fuse.answer import Reason, Refusal
from qdqdoc.fuse.clips import is_redundant
from qdqdoc.fuse.nbits import nbits
from qdqdoc.fuse.pairs import constant_parameters, same_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.fuse.network import Network, Node

MICROSOFT = "com.microsoft"
WIDE = frozenset({"int16", "uint16"})
NARROW = frozenset({"int4", "uint4"})
UNCHECKED = frozenset({"int8", "uint8", "int32", "int2", "uint2"})
"""Onnxruntime overlooks the types of 2 bits: they pass where 8 bits do, and nothing runs them."""

PAIR = 2


@dataclass(frozen=True, slots=True)
class Unit:
    """A node with the DQ nodes before and the Q nodes behind it."""

    network: Network
    node: Node
    dequantizes: tuple[Node, ...]
    quantizes: tuple[Node, ...]
    clip: Node | None = None
    int8_allowed: bool = False

    @property
    def types(self) -> list[str]:
        """The types of the codes that come in."""
        return [self.network.dtype(node.inputs[0]) for node in self.dequantizes]

    @property
    def result(self) -> str:
        """The type of the codes that go out, empty without a Q."""
        return self.network.code_type(self.quantizes[0]) if self.quantizes else ""


Check = Callable[[Unit], Refusal | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one operator fuses: what is checked and what takes its place.

    An empty ``becomes`` says that the node itself goes on, on codes.
    """

    check: Check
    becomes: str = ""
    domain: str = ""
    opsets: tuple[int, int] = (1, 99)
    without_q: str = ""


def unit(network: Network, node: Node, *, int8_allowed: bool) -> Unit | Refusal:
    """Return a node with its Q and DQ nodes, or the reason why it forms no unit."""
    makers = [network.makers.get(name) for name in node.inputs]
    dequantizes = tuple(maker for maker in makers if maker and maker.dequantizes)
    clip = _clip(network, node)
    quantizes = _quantizes(network, clip or node)
    if clip and (len(quantizes) != 1 or not is_redundant(network, clip, quantizes[0])):
        words = f"{clip.op_type} {clip.name} stands before the Q and changes values"
        if not quantizes:
            words = f"{clip.op_type} {clip.name} follows, and no Q"
        return Refusal(Reason.ACTIVATION, words)
    return Unit(network, node, dequantizes, quantizes, clip, int8_allowed)


def _clip(network: Network, node: Node) -> Node | None:
    edges = network.edges_of(node)
    reader = edges[0][0] if len(edges) == 1 else None
    if reader is None or reader.op_type not in {"Relu", "Clip"} or network.is_result(reader):
        return None
    return reader if len(network.edges_of(reader)) == 1 else None


def _quantizes(network: Network, node: Node) -> tuple[Node, ...]:
    """Return one Q behind each output."""
    found = []
    for name in node.outputs:
        behind = [reader for reader, _ in network.edges(name) if reader.quantizes]
        found += behind[-1:]
    return tuple(found)


def group(one: Unit, inputs: int | None = None, *, q_optional: bool = False) -> Refusal | None:
    """Check the form: a DQ for each input, one Q for each output and nothing else.

    ``inputs`` is how many DQ nodes there must be, by default one for each input.
    """
    wanted = inputs if inputs is not None else sum(1 for name in one.node.inputs if name)
    found = len(one.dequantizes)
    if found != wanted:
        words = f"{found} of the inputs come from a DQ, {wanted} must"
        return Refusal(Reason.INPUT_NOT_QUANTIZED, words)
    return exclusive(one) or _outputs(one, q_optional=q_optional)


def exclusive(one: Unit) -> Refusal | None:
    """Check that nothing but the node reads its DQ nodes."""
    for node in one.dequantizes:
        if one.network.only_reader(node) is not one.node:
            words = f"{node.outputs[0]} is read elsewhere, too, as an output or in a graph inside"
            return Refusal(Reason.SHARED_DEQUANTIZE, words)
    return None


def _outputs(one: Unit, *, q_optional: bool) -> Refusal | None:
    network, node = one.network, one.node
    if not one.quantizes:
        if q_optional:
            return None
        words = "no Q follows"
        if network.is_result(node):
            words += f": {node.outputs[0]} is an output of the model"
        return Refusal(Reason.OUTPUT_NOT_QUANTIZED, words)
    made = sum(1 for name in node.outputs if name)
    edges = len(network.edges_of(node))
    if network.is_result(node):
        words = f"{node.outputs[0]} is an output of the model, beside its Q"
        return Refusal(Reason.GRAPH_OUTPUT, words)
    if made != len(one.quantizes):
        words = f"{len(one.quantizes)} of {made} outputs have a Q"
        return Refusal(Reason.OUTPUT_NOT_QUANTIZED, words)
    if edges != len(one.quantizes):
        words = f"{edges} nodes read its output; one Q alone may"
        return Refusal(Reason.SEVERAL_CONSUMERS, words)
    return None


def agree(one: Unit) -> Refusal | None:
    """Check that all codes have one type."""
    kinds = [*one.types, *([one.result] if one.quantizes else [])]
    return None if len(set(kinds)) == 1 else differing(one)


def differing(one: Unit) -> Refusal:
    """Say which codes have another type than the others, and why."""
    network = one.network
    kinds = ", ".join(
        f"{network.dtype(node.inputs[0]) or '?'} ({node.inputs[0]})" for node in one.dequantizes
    )
    told = f"codes of different types: {kinds} in, {one.result or 'float'} out"
    made = [node.inputs[0] for node in one.dequantizes if _is_int8(network, node.inputs[0])]
    for name in (*made, *(q.outputs[0] for q in one.quantizes if _is_int8(network, q.outputs[0]))):
        reason, why = _kept(network, name)
        if not one.int8_allowed:
            return Refusal(reason, f"{told}; {why}")
    return Refusal(Reason.TYPES_DIFFER, told)


def _is_int8(network: Network, name: str) -> bool:
    return network.dtype(name) == "int8"


def _kept(network: Network, name: str) -> tuple[Reason, str]:
    """Say why a tensor stays int8 where int8 is converted to uint8."""
    if name in network.constants:
        return Reason.INT8_CONSTANT, f"{name} is a constant, which stays int8"
    maker = network.makers.get(name)
    if maker is None or not maker.quantizes:
        return Reason.INT8_INPUT, f"{name} does not come from a Q, so it stays int8"
    readers = len(network.edges(name)) + (name in network.outputs)
    if readers > 1:
        return Reason.INT8_FORK, f"{name} is read {readers} times, so it stays int8"
    return Reason.INT8_INPUT, f"{name} stays int8: Q and DQ need the same constant zero point"


def width(kinds: list[str], *, wide: bool = False, narrow: bool = False) -> Refusal | None:
    """Check the types: 8 bits are allowed, ``wide`` allows 16 and ``narrow`` 4."""
    allowed = UNCHECKED | (WIDE if wide else set()) | (NARROW if narrow else set())
    for kind in kinds:
        if kind not in allowed:
            return Refusal(Reason.WIDTH, f"there is no kernel for {kind or 'an unknown type'}")
    return None


def _no_clip(one: Unit) -> Refusal | None:
    if one.clip is None:
        return None
    return Refusal(Reason.ACTIVATION, f"{one.clip.op_type} {one.clip.name} stands before the Q")


def drop(*, wide: bool = False, narrow: bool = False, positive: bool = False) -> Check:
    """Make the check of an operator that works on codes as it does on numbers."""

    def check(one: Unit) -> Refusal | None:
        refusal = _no_clip(one) or group(one, 1) or agree(one)
        refusal = refusal or width(one.types, wide=wide, narrow=narrow)
        if refusal is None and positive:
            refusal = _positive(one)
        return refusal or same_parameters(one.network, one.quantizes[0], one.dequantizes[0])

    return check


ORDERED = drop(narrow=True, positive=True)
"""The check of operators that compare: a negative scale would turn the order."""


def _positive(one: Unit) -> Refusal | None:
    quantize = one.quantizes[0]
    refusal = constant_parameters(one.network, quantize, zero_point=False)
    scale = one.network.value(quantize.inputs[1])
    if refusal or scale is None or scale > 0:
        return refusal
    return Refusal(Reason.SCALE_NOT_POSITIVE, f"{quantize.name}: scale {scale:.9g} turns the order")


def _drop_dequantize(one: Unit) -> Refusal | None:
    if len(one.dequantizes) != 1:
        return Refusal(Reason.INPUT_NOT_QUANTIZED, "its input comes from no DQ")
    refusal = _no_clip(one) or exclusive(one) or width(one.types)
    return refusal or constant_parameters(one.network, one.dequantizes[0], zero_point=True)


def _split(one: Unit) -> Refusal | None:
    refusal = _no_clip(one) or group(one, 1) or width(one.types, wide=True)
    for quantize in one.quantizes if refusal is None else ():
        if one.network.code_type(quantize) != one.types[0]:
            return differing(one)
        refusal = refusal or same_parameters(one.network, quantize, one.dequantizes[0])
    return refusal


def _unary(one: Unit) -> Refusal | None:
    return group(one, 1) or agree(one) or width(one.types)


def _binary(one: Unit) -> Refusal | None:
    refusal = group(one) or agree(one) or width(one.types)
    return refusal or single(one, (*one.dequantizes, *one.quantizes), {()})


def _concat(one: Unit) -> Refusal | None:
    refusal = group(one) or agree(one) or width(one.types)
    return refusal or single(one, (*one.dequantizes, *one.quantizes), SINGLE)


SINGLE: set[object] = {(), (1,)}


def single(one: Unit, nodes: tuple[Node, ...], shapes: set[object]) -> Refusal | None:
    """Check that scales and zero points have one value, in one of these shapes."""
    for node in nodes:
        for name in filter(None, node.inputs[1:3]):
            known = one.network.tensors.get(name)
            if known is None or known.shape not in shapes:
                shape = known.shape if known else None
                words = f"{node.name}: {name} of shape {shape} is no scalar"
                return Refusal(Reason.PARAMETERS_NOT_SCALAR, words)
    return None


def _where(one: Unit) -> Refusal | None:
    return group(one, PAIR) or agree(one) or width(one.types)


def _int8_product(one: Unit, weight: str) -> Refusal | None:
    """Check what int8 activations need: permission, and int8 weights."""
    if one.types[0] != "int8":
        return None
    if not one.int8_allowed:
        _, why = _kept(one.network, one.dequantizes[0].inputs[0])
        return Refusal(_, f"int8 activations are not allowed; {why}")
    if weight != "int8":
        return Refusal(Reason.WEIGHT_TYPE, f"int8 activations need int8 weights, not {weight}")
    return None


def _conv(one: Unit) -> Refusal | None:
    refusal = group(one)
    if refusal:
        return refusal
    data, weight, *bias = one.types
    if data != one.result:
        return differing(one)
    refusal = _int8_product(one, weight) or _bias(bias) or width([weight])
    refusal = refusal or width([data], narrow=True)
    return refusal or (_bias_scale(one) if bias else None)


def _bias_scale(one: Unit) -> Refusal | None:
    """Check that the bias counts in steps of the product, up to a hundredth."""
    network, names = one.network, [node.inputs[1] for node in one.dequantizes]
    for name in names:
        if name not in network.constants:
            return Refusal(Reason.PARAMETERS_NOT_CONSTANT, f"{name} is no constant beside a bias")
    if not network.is_scalar(names[0]):
        words = f"{names[0]} is no scalar beside a bias"
        return Refusal(Reason.PARAMETERS_NOT_SCALAR, words)
    data, weights, biases = (network.values(name) for name in names)
    if data is None or weights is None or biases is None:
        return None
    for weight, bias in pairs(weights, biases):
        wanted = data[0] * weight
        if abs(bias - wanted) > ABSOLUTE + RELATIVE * abs(wanted):
            words = f"the bias has scale {bias:.9g}, the product {wanted:.9g}"
            return Refusal(Reason.BIAS_SCALE, words)
    return None


ABSOLUTE, RELATIVE = 1e-6, 1e-2
"""How far the scale of a bias may be off, as measured by bisection."""


def pairs(left: tuple[float, ...], right: tuple[float, ...]) -> list[tuple[float, float]]:
    """Return values side by side; a single one goes with all of the other side."""
    length = max(len(left), len(right))
    sides = (side * length if len(side) == 1 else side for side in (left, right))
    return list(zip(*sides, strict=False))


def _bias(kinds: list[str]) -> Refusal | None:
    if kinds and kinds[0] != "int32":
        return Refusal(Reason.BIAS_TYPE, f"the bias must be int32, not {kinds[0]}")
    return None


def _matmul(one: Unit) -> Refusal | None:
    if len(one.dequantizes) != PAIR:
        return nbits(one.network, one.node, one.dequantizes, one.quantizes)
    refusal = _int8_product(one, one.types[1]) or width(one.types)
    refusal = refusal or single(one, one.dequantizes[:1], SINGLE)
    if refusal or not one.quantizes:
        return refusal
    refusal = group(one)
    return refusal or (None if one.types[0] == one.result else differing(one))


def _gemm(one: Unit) -> Refusal | None:
    refusal = group(one, q_optional=True)
    if refusal:
        return nbits(one.network, one.node, one.dequantizes, one.quantizes) and refusal
    data, weight, *bias = one.types
    if data == "int8" and weight != data:
        return Refusal(Reason.WEIGHT_TYPE, f"int8 activations need int8 weights, not {weight}")
    if one.quantizes and data != one.result:
        return differing(one)
    refusal = width([data, weight]) or _zero_points(one) or single(one, one.dequantizes[:1], SINGLE)
    if refusal or not bias:
        return refusal
    beta = one.node.attributes.get("beta", 1.0)
    if beta != 1:
        return Refusal(Reason.BETA, f"beta is {beta}, which must be 1 beside a bias")
    return _bias(bias)


def _zero_points(one: Unit) -> Refusal | None:
    for node in one.dequantizes[:PAIR]:
        if not node.input(2):
            return Refusal(Reason.ZERO_POINT_MISSING, f"{node.name} has no zero point input")
    return None


def _rules() -> Mapping[str, Rule]:
    copied = ("Expand", "Flatten", "Gather", "GatherElements", "Reshape", "Slice", "Squeeze")
    found = dict.fromkeys((*copied, "Tile", "Transpose", "Unsqueeze"), Rule(drop(wide=True)))
    found |= dict.fromkeys(("Resize", "DepthToSpace"), Rule(drop()))
    found |= dict.fromkeys(("ReduceMax", "ReduceMin"), Rule(ORDERED))
    found["MaxPool"] = Rule(ORDERED, opsets=(12, 99))
    found["ArgMax"] = Rule(_drop_dequantize)
    found["Split"] = Rule(_split)
    unary = ("AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid", "Softmax")
    found |= {name: Rule(_unary, f"QLinear{name}", MICROSOFT) for name in unary}
    found |= {name: Rule(_binary, f"QLinear{name}", MICROSOFT) for name in ("Add", "Mul")}
    found["Concat"] = Rule(_concat, "QLinearConcat", MICROSOFT)
    found["Where"] = Rule(_where, "QLinearWhere", MICROSOFT)
    found["Conv"] = Rule(_conv, "QLinearConv")
    found["MatMul"] = Rule(_matmul, "QLinearMatMul", without_q="MatMulIntegerToFloat")
    found["Gemm"] = Rule(_gemm, "QGemm", MICROSOFT, without_q="QGemm")
    return found


RULES = _rules()
"""The operators that can fuse, by name; all are of ai.onnx."""
