"""Onnxruntime's first level, as far as it changes which groups there are.

Each pass returns whether it changed anything. They run in onnxruntime's order, again and again
until nothing changes: https://github.com/microsoft/onnxruntime, graph_transformer_utils.cc.
"""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.document import Tensor
from qdqdoc.fuse.network import Node
from qdqdoc.fuse.pairs import same_parameters
from qdqdoc.numerics.formats import integer_range
from qdqdoc.numerics.rounding import away_from_zero, divide, f32, multiply

if TYPE_CHECKING:
    from collections.abc import Hashable

    from qdqdoc.fuse.network import Network
    from qdqdoc.numerics.formats import Array

RANDOM = frozenset(
    {"RandomUniform", "RandomNormal", "RandomUniformLike", "RandomNormalLike", "Multinomial"}
)


def remove_identities(network: Network) -> bool:
    """Take out Identity, and Dropout whose mask nobody reads."""
    changed = False
    for node in list(network.nodes):
        if not node.is_onnx("Identity", "Dropout"):
            continue
        if any(network.edges(n) or n in network.outputs for n in node.outputs[1:] if n):
            continue
        changed |= _bypass(network, node)
    return changed


def _bypass(network: Network, node: Node) -> bool:
    """Take a node out that repeats its first input."""
    source, made = node.inputs[0], node.outputs[0]
    if made in network.outputs:
        maker = network.makers.get(source)
        if maker is None or source in network.outputs or network.edges(made):
            return False
        if len(network.edges(source)) > 1:
            return False
        network.remove(node)
        network.rename_output(maker, maker.outputs.index(source), made)
        return True
    network.remove(node)
    network.redirect(made, source)
    return True


def join_reshapes(network: Network) -> bool:
    """Take out a Reshape that only another Reshape reads, where all sizes are known."""
    changed = False
    for node in list(network.nodes):
        reader = network.only_reader(node)
        if not node.is_onnx("Reshape") or reader is None or not reader.is_onnx("Reshape"):
            continue
        made = network.tensors.get(reader.outputs[0])
        shape = made.shape if made is not None else None
        if shape is None or not _is_known(shape) or reader.inputs[0] != node.outputs[0]:
            continue
        sizes = network.store(f"{reader.outputs[0]}_shape", np.array(shape, np.int64))
        network.rewire(reader, [node.inputs[0], sizes])
        reader.attributes = {}
        network.remove(node)
        changed = True
    return changed


def remove_double_pairs(network: Network) -> bool:
    """Join Q.DQ.Q.DQ to one pair where nothing else reads what stands between."""
    changed = False
    for inner in list(network.nodes):
        first = network.makers.get(inner.inputs[0]) if inner.dequantizes else None
        second = network.only_reader(inner)
        if first is None or second is None or not (first.quantizes and second.quantizes):
            continue
        last = [reader for reader, _ in network.edges_of(second)]
        if network.only_reader(first) is not inner or network.is_result(second) or not last:
            continue
        if same_parameters(network, first, inner) or not all(
            node.dequantizes and same_parameters(network, second, node) is None for node in last
        ):
            continue
        kind = network.code_type(inner)
        if kind not in {"int8", "uint8"} or network.code_type(second) != kind:
            continue
        _share_grid(network, (inner, second), [first, *last])
        for node in last:
            network.connect(node, 0, first.outputs[0])
        network.remove(second)
        network.remove(inner)
        changed = True
    return changed


def _share_grid(network: Network, pair: tuple[Node, Node], outer: list[Node]) -> None:
    """Give the two nodes that stay the grid of what both pairs can hold."""
    scales, zeros = ([network.value(node.inputs[at]) for node in pair] for at in (1, 2))
    if zeros[0] == zeros[1] and abs(scales[0] - scales[1]) < SAME:
        return
    scale, zero_point = common_grid(scales, zeros, network.code_type(pair[0]))
    names = [
        network.store(f"{pair[0].name}_scale", scale, "scale"),
        network.store(f"{pair[0].name}_zero_point", zero_point, "zero_point"),
    ]
    for node in outer:
        for position, name in enumerate(names, start=1):
            network.connect(node, position, name)


SAME = 1e-20
"""Scales that are nearer than this count as equal to onnxruntime."""


def common_grid(scales: list[float], zeros: list[int], kind: str) -> tuple[Array, Array]:
    """Return the scale and zero point that span what two grids both reach.

    >>> common_grid([0.5, 1.0], [0, 128], "uint8")
    (array(0.49803922, dtype=float32), array(0, dtype=uint8))
    """
    low, high = map(np.asarray, integer_range(kind))
    ends = [
        [multiply(end - zero, np.asarray(scale)) for end in (low, high)]
        for scale, zero in zip(scales, zeros, strict=True)
    ]
    least, most = max(end[0] for end in ends), min(end[1] for end in ends)
    scale = divide(f32(most - least), high - low, np.float32)
    offset = f32(low - divide(least, scale, np.float32))
    return scale, away_from_zero(offset, kind)


def merge_equal(network: Network) -> bool:
    """Merge nodes that compute the same of the same; equal scalar constants count as one.

    Onnxruntime shares scalars of the common types; zero points are of none of them.
    """
    changed = False
    seen: dict[Hashable, Node] = {}
    for node in list(network.nodes):
        if node.graphs or node.dequantizes or node.op_type in RANDOM:
            continue
        key = (
            node.op_type,
            node.domain,
            tuple(network.identity(name) for name in node.inputs),
            json.dumps(node.attributes, sort_keys=True, default=str),
            len(node.outputs),
        )
        other = seen.setdefault(key, node)
        if other is node or "tensor" in key[3]:
            continue
        for old, new in zip(node.outputs, other.outputs, strict=True):
            if old and new:
                network.redirect(old, new)
        if not network.is_result(node):
            network.remove(node)
            changed = True
    return changed


def fold_constants(network: Network) -> bool:
    """Count what follows from constants alone as constant, but for DequantizeLinear.

    That one is folded only with a whole group: a constant, DQ, a node with one input, Q.
    """
    changed = False
    for node in list(network.nodes):
        if node.graphs or node.op_type in RANDOM or network.is_result(node):
            continue
        if not all(name in network.constants for name in node.inputs if name):
            continue
        if not node.inputs or (node.dequantizes and not _foldable_group(network, node)):
            continue
        for name in filter(None, node.outputs):
            kind = network.code_type(node) if node.quantizes else network.dtype(name)
            network.new_constant(name, kind)
        network.folded.append(node)
        network.remove(node)
        changed = True
    return changed


def _foldable_group(network: Network, node: Node) -> bool:
    target = network.only_reader(node)
    if target is None or len(target.inputs) != 1 or len(target.outputs) != 1:
        return False
    quantize = network.only_reader(target)
    return (
        quantize is not None
        and quantize.quantizes
        and all(name in network.constants for name in quantize.inputs[1:] if name)
    )


def make_gemm(network: Network) -> bool:
    """Join MatMul and the Add behind it to Gemm, where both are matrices."""
    changed = False
    for node in list(network.nodes):
        follower = network.only_reader(node)
        if not node.is_onnx("MatMul") or follower is None or not follower.is_onnx("Add"):
            continue
        bias = follower.inputs[follower.inputs[0] == node.outputs[0]]
        left, right = (_shape(network, name) for name in node.inputs)
        added = _shape(network, bias)
        if left is None or right is None or added is None or len(right) != 2:  # noqa: PLR2004 - matrix
            continue
        matrix = len(left) == 2  # noqa: PLR2004 - a matrix
        if not left:
            continue
        if not (matrix or _is_known(left, right)) or not _fits(added, left, right[1]):
            continue
        inputs, outputs = [*node.inputs, bias], list(follower.outputs)
        made = Node(
            name=f"{node.name}/MatMulAddFusion",
            op_type="Gemm",
            inputs=inputs,
            outputs=outputs,
            opset=node.opset,
            replaces=(*node.replaces, *follower.replaces),
        )
        network.remove(node)
        network.add(made, before=follower)
        network.remove(follower)
        network.makers[made.outputs[0]] = made
        if not matrix:
            _flatten(network, made, left, right[1])
        changed = True
    return changed


def _is_known(*shapes: tuple[Any, ...]) -> bool:
    return all(isinstance(size, int) for shape in shapes for size in shape)


def _flatten(network: Network, gemm: Node, left: tuple[Any, ...], columns: int) -> None:
    """Put a Reshape before and behind a Gemm whose data are no matrix."""
    source, result = gemm.inputs[0], gemm.outputs[0]
    rows = prod(left[:-1])
    kind = network.dtype(source) or "float32"
    network.tensors[result] = Tensor(name=result, dtype=kind, shape=(*left[:-1], columns))
    flat = network.new(source, Tensor(name="", dtype=kind, shape=(rows, left[-1])))
    product = network.new(result, Tensor(name="", dtype=kind, shape=(rows, columns)))
    after = network.nodes.index(gemm) + 1
    follower = network.nodes[after] if after < len(network.nodes) else None
    network.add(_reshape(network, source, flat, gemm), before=gemm)
    network.connect(gemm, 0, flat)
    network.rename_output(gemm, 0, product)
    network.add(_reshape(network, product, result, gemm), before=follower)


def _reshape(network: Network, source: str, made: str, gemm: Node) -> Node:
    shape = network.store(f"{made}_shape", np.array(network.tensors[made].shape, np.int64))
    name = f"Reshape of {source}"
    return Node(
        name=name, op_type="Reshape", inputs=[source, shape], outputs=[made], opset=gemm.opset
    )


def _shape(network: Network, name: str) -> tuple[Any, ...] | None:
    """Return a shape; that of a DequantizeLinear is the shape of its codes."""
    known = network.tensors.get(name)
    if known is not None and known.shape is not None:
        return known.shape
    maker = network.makers.get(name)
    return _shape(network, maker.inputs[0]) if maker is not None and maker.dequantizes else None


def _fits(bias: tuple[Any, ...], left: tuple[Any, ...], columns: Any) -> bool:  # noqa: ANN401 - a size or a name
    if len(bias) == 1:
        return bool(bias[0] == columns and columns is not None)
    if len(bias) != 2 or len(left) != 2:  # noqa: PLR2004 - matrices
        return False
    return (bias[0] == 1 and bias[1] == columns) or (bias[0] == left[0] and bias[1] in {1, columns})
