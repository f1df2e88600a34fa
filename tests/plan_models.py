"""Quantized networks made at random, for the tests of plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from qdqdoc.extract import extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

    from qdqdoc.document import Document

# ruff: noqa: ANN401 - attributes as ONNX has them

KINDS = {
    np.dtype(kind): (np.iinfo(kind).min, np.iinfo(kind).max)
    for kind in (np.int8, np.uint8, np.int16, np.uint16)
}
ODD, EVEN, NEAR = (0.0123, 0.0371, 0.11), (2.0**-6, 2.0**-5, 2.0**-4), (0.1, 0.25, 0.05)
"""Scales: odd ones; powers of two, with which sums often lie in the middle of two codes; and such
that they lie there but for the rounding of the scales.
"""


class Net:
    """Collects nodes and stored values; each method adds a group and names what it makes."""

    def __init__(
        self, seed: int, *, kind: type[Any] = np.int8, scales: tuple[float, ...] = ODD
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.kind = np.dtype(kind)
        self.scales = scales
        self.nodes: list[onnx.NodeProto] = []
        self.stored: dict[str, Any] = {}

    def name(self, what: str) -> str:
        return f"{what}{len(self.nodes) + len(self.stored)}"

    def keep(self, value: Any) -> str:
        name = self.name("k")
        self.stored[name] = np.asarray(value)
        return name

    def node(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = self.name(op_type.lower())
        self.nodes.append(
            helper.make_node(op_type, inputs, [name], name=name, domain=domain, **attributes)
        )
        return name

    def scale(self) -> np.float32:
        return np.float32(self.rng.choice(self.scales))

    def zero(self, kind: Any = None) -> Any:
        low, high = KINDS[np.dtype(kind or self.kind)]
        near = self.rng.integers(low // 2 + 1, high // 2) * 2 + 1
        return np.array(np.clip(near, low, high), kind or self.kind)

    def grid(self, kind: Any = None) -> tuple[str, str]:
        return self.keep(self.scale()), self.keep(self.zero(kind))

    def quantize(self, x: str, grid: tuple[str, str] | None = None) -> tuple[str, str]:
        """Return codes and what they stand for."""
        grid = grid or self.grid()
        codes = self.node("QuantizeLinear", x, *grid)
        return codes, self.node("DequantizeLinear", codes, *grid)

    def weights(self, *shape: int, per: int | None = None) -> tuple[str, Any]:
        """Return dequantized weights, with a scale for each slice along an axis or one for all."""
        codes = self.keep(self.rng.integers(-127, 128, shape).astype(np.int8))
        count = () if per is None else (shape[per],)
        scale = np.asarray(self.rng.choice(self.scales, count), np.float32)
        zero = np.zeros(count, np.int8)
        axis = 1 if per is None else per
        made = self.node("DequantizeLinear", codes, self.keep(scale), self.keep(zero), axis=axis)
        return made, scale

    def bias(self, count: int, *, whole: bool) -> str:
        if whole:
            codes = self.keep(self.rng.integers(-9999, 9999, count).astype(np.int32))
            return self.node("DequantizeLinear", codes, self.keep(np.float32(2.0**-12)))
        return self.keep(self.rng.normal(0, 1, count).astype(np.float32))

    def conv(self, x: str, shape: tuple[int, ...], *, per: bool = False, **attributes: Any) -> str:
        weights, _ = self.weights(*shape, per=0 if per else None)
        extra = [self.bias(shape[0], whole=bool(self.rng.integers(2)))]
        return self.node("Conv", x, weights, *extra[: self.rng.integers(2)], **attributes)

    def document(
        self,
        folder: Path,
        inputs: dict[str, tuple[Any, ...]],
        outputs: list[str],
        kind: int = TensorProto.FLOAT,
    ) -> Document:
        """Write the model and extract it."""
        ends = [helper.make_tensor_value_info(n, kind, s) for n, s in inputs.items()]
        made = [helper.make_empty_tensor_value_info(name) for name in outputs]
        kept = [numpy_helper.from_array(value, name) for name, value in self.stored.items()]
        graph = helper.make_graph(self.nodes, "g", ends, made, kept)
        imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        path = folder / "m.onnx"
        path.write_bytes(model.SerializeToString())
        return extract(path)


def plain(net: Net, _: str, x: str) -> str:
    return net.quantize(net.conv(x, (6, 4, 3, 3), pads=[1, 1, 1, 1]))[1]


def per_channel(net: Net, _: str, x: str) -> str:
    return net.quantize(net.conv(x, (5, 4, 3, 2), per=True, pads=[0, 1, 2, 0]))[1]


def grouped(net: Net, _: str, x: str) -> str:
    return net.quantize(net.conv(x, (6, 2, 3, 3), per=True, group=2, pads=[1, 1, 1, 1]))[1]


def depthwise(net: Net, _: str, x: str) -> str:
    return net.quantize(net.conv(x, (8, 1, 3, 3), per=True, group=4, pads=[1, 1, 1, 1]))[1]


def strided(net: Net, _: str, x: str) -> str:
    return net.quantize(net.conv(x, (6, 4, 3, 3), strides=[2, 3], pads=[0, 0, 1, 1]))[1]


def dilated(net: Net, _: str, x: str) -> str:
    return net.quantize(net.conv(x, (3, 4, 2, 2), dilations=[2, 1], auto_pad="SAME_UPPER"))[1]


def held(net: Net, _: str, x: str) -> str:
    y = net.node("Relu", net.conv(x, (6, 4, 1, 1), per=True))
    top = net.keep(np.float32(1.7))
    return net.quantize(net.node("Clip", y, net.keep(np.float32(-0.3)), top))[1]


def normalized(net: Net, _: str, x: str) -> str:
    """Multiply and add channel by channel, with a Q behind each, as BatchNormalization becomes."""
    y = net.quantize(net.conv(x, (6, 4, 3, 3)))[1]
    for op_type in ("Mul", "Add"):
        factor = net.keep(net.rng.normal(0, 1, (1, 6, 1, 1)).astype(np.float32))
        y = net.quantize(net.node(op_type, y, factor))[1]
    return net.quantize(net.conv(net.node("Relu", y), (5, 6, 3, 3), pads=[1, 1, 1, 1]))[1]


def residual(net: Net, _: str, x: str) -> str:
    y = net.quantize(net.conv(x, (4, 4, 3, 3), pads=[1, 1, 1, 1]))[1]
    op_type = str(net.rng.choice(["Add", "Sub", "Mul", "Max"]))
    return net.quantize(net.node("Relu", net.node(op_type, x, y)))[1]


def scaled_residual(net: Net, _: str, x: str) -> str:
    """Join a table that differs from channel to channel with one that does not."""
    factor = net.keep(net.rng.normal(0, 1, (4, 1, 1)).astype(np.float32))
    left = net.quantize(net.node("Mul", x, factor))[1]
    right = net.quantize(net.conv(x, (4, 4, 1, 1)))[1]
    sum_ = net.quantize(net.node("Add", left, right))[1]
    return net.quantize(net.node("Add", sum_, factor))[1]


def pooled(net: Net, _: str, x: str) -> str:
    y = net.quantize(net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))[1]
    return net.quantize(net.node("AveragePool", y, kernel_shape=[2, 3], pads=[1, 0, 0, 1]))[1]


def averaged(net: Net, _: str, x: str) -> str:
    y = net.quantize(net.node("AveragePool", x, kernel_shape=[2, 3], strides=[1, 2]))[1]
    y = net.quantize(net.node("GlobalAveragePool", y))[1]
    y = net.node("Flatten", y)
    weights, _ = net.weights(4, 7, per=1)
    y = net.quantize(net.node("MatMul", y, weights))[1]
    return net.quantize(net.node("Softmax", y))[1]


def joined(net: Net, _: str, x: str) -> str:
    y = net.quantize(net.node("Concat", x, net.node("Sigmoid", x), axis=1))[1]
    return net.quantize(net.conv(y, (3, 8, 2, 2)))[1]


def gated(net: Net, codes: str, x: str) -> str:
    """Read the sum of a Conv as real numbers, too, and use one code twice in a product."""
    y = net.conv(x, (4, 4, 1, 1))
    z = net.quantize(net.node("Mul", x, net.node("Sigmoid", x)))[1]
    net.node("Identity", codes)
    return net.node("Add", y, net.quantize(net.node("Add", net.quantize(y)[1], z))[1])


def dense(net: Net, _: str, x: str) -> str:
    """So many products that float32 does not hold their sums."""
    y = net.node("Reshape", x, net.keep(np.array([0, -1], np.int64)))
    wide = net.quantize(net.node("Concat", *[y] * 9, axis=1))[1]
    weights, _ = net.weights(5, 9 * 4 * 9 * 8, per=0)
    bias = net.bias(5, whole=False)
    coarse = net.keep(np.float32(1500 * net.scale())), net.keep(net.zero())
    return net.quantize(net.node("Gemm", wide, weights, bias, transB=1), coarse)[1]


BODIES: tuple[Callable[[Net, str, str], str], ...] = (
    *(plain, per_channel, grouped, depthwise, strided, dilated, held, normalized, residual),
    *(scaled_residual, pooled, averaged, joined, gated, dense),
)
IMAGE = (4, 9, 8)


def network(
    folder: Path, body: Callable[[Net, str, str], str], seed: int, **options: Any
) -> Document:
    """Make a model of one body behind a quantized input."""
    net = Net(seed, **options)
    codes, x = net.quantize("image")
    return net.document(folder, {"image": ("n", *IMAGE)}, [body(net, codes, x)])
