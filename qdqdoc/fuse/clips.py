"""Relu and Clip before a Q: which of them change nothing that the Q would not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdqdoc.groups import QUANTIZE

if TYPE_CHECKING:
    from qdqdoc.fuse.network import Network, Node

RANGES = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
}
SINGLE_EPSILON = 2.0**-23
HALF = 0.5


def remove_clips(network: Network) -> bool:
    """Take out every Relu and Clip that the Q behind it makes superfluous."""
    changed = False
    for node in list(network.nodes):
        quantize = network.only_reader(node) if node.is_onnx("Relu", "Clip") else None
        if quantize is None or not quantize.is_onnx(QUANTIZE):
            continue
        if node.op_type == "Clip" and _is_unknown(network, node, quantize):
            network.refused = f"{node.name}: onnxruntime cannot judge a Clip before these codes"
            continue
        superfluous = _relu if node.op_type == "Relu" else _clip
        if superfluous(network, node, quantize):
            network.remove(node)
            network.redirect(node.outputs[0], node.inputs[0])
            changed = True
    return changed


def _is_unknown(network: Network, clip: Node, quantize: Node) -> bool:
    known = network.code_type(quantize) in RANGES
    return not known and bool(quantize.input(2)) and _bounds(network, clip) is not None


def _relu(network: Network, _: Node, quantize: Node) -> bool:
    """Tell whether zero is the lowest code; onnxruntime takes that for granted below 8 bits."""
    zero = network.value(quantize.input(2))
    kind = network.code_type(quantize)
    if zero is None:
        return False
    return kind not in RANGES or zero == RANGES[kind][0]


def _clip(network: Network, clip: Node, quantize: Node) -> bool:
    bounds, grid = _bounds(network, clip), _grid(network, quantize)
    if bounds is None or grid is None or not quantize.input(2):
        return False
    scale, zero, low, high = grid
    lower, upper = scale * (low - zero), scale * (high - zero)
    return not (bounds[0] - lower > SINGLE_EPSILON or upper - bounds[1] > SINGLE_EPSILON)


def is_redundant(network: Network, clip: Node, quantize: Node) -> bool:
    """Tell whether onnxruntime's selectors look through a Relu or Clip."""
    grid = _grid(network, quantize)
    if grid is None:
        return False
    scale, zero, low, high = grid
    if clip.op_type == "Relu":
        return zero == low
    bounds = _bounds(network, clip)
    if bounds is None or not scale:
        return False
    return _at_most(bounds[0] / scale, low - zero) and _at_most(-bounds[1] / scale, zero - high)


def _at_most(value: float, limit: int) -> bool:
    """Tell whether a value, rounded to the nearest integer and ties to even, is in a limit."""
    middle = limit + HALF
    return value < middle or (value == middle and limit % 2 == 0)


def _grid(network: Network, quantize: Node) -> tuple[float, int, int, int] | None:
    """Return scale, zero point and the lowest and highest code, if all are constant scalars."""
    scale, kind = network.value(quantize.inputs[1]), network.code_type(quantize)
    zero = network.value(quantize.inputs[2]) if quantize.input(2) else 0
    if scale is None or zero is None or kind not in RANGES:
        return None
    if network.tensors[quantize.inputs[1]].shape != ():
        return None
    return float(scale), int(zero), *RANGES[kind]


def _bounds(network: Network, clip: Node) -> tuple[float, float] | None:
    """Return the constant bounds of a Clip."""
    largest = 3.4028234663852886e38
    found = []
    for position, name, default in ((1, "min", -largest), (2, "max", largest)):
        if clip.input(position):
            value = network.value(clip.inputs[position])
            if value is None:
                return None
            found.append(float(value))
        else:
            found.append(float(clip.attributes.get(name, default)))
    return found[0], found[1]
