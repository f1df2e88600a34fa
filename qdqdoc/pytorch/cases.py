"""Kernel, rule and call of PyTorch, case by case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from qdqdoc.numerics.formats import tensor
from qdqdoc.numerics.rounding import divide, round_to_grid
from qdqdoc.operators import OPERATORS
from qdqdoc.pytorch import inputs, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdqdoc.formula import Formula
    from qdqdoc.numerics.formats import Array

    Answer = Callable[[], list[Array]]

Given = TypeVar("Given")

ANY = "any"
"""The engine of what does not depend on one."""

ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")

OLDER = "onednn, AVX2"
"""The engine onednn when it may not use more than AVX2: it has another rule there."""


@dataclass(frozen=True, eq=False)
class Rule:
    """What an engine computes: as a formula, and on all inputs of a case."""

    formula: Formula
    answer: Answer


@dataclass(frozen=True, eq=False)
class Case:
    """A call of PyTorch, the kernel it is compared with, and the rule of each engine."""

    key: str
    name: str
    peer: str
    ours: Answer
    rules: Mapping[str, Rule]


def _run(name: str, *arguments: object, **attributes: object) -> Array:
    domain, _, short = name.rpartition("::")
    made: Array = OPERATORS[domain, short].kernel(*arguments, **attributes)
    return made


def _each(one: Callable[[Given], Array], given: Callable[[], tuple[Given, ...]]) -> Answer:
    return lambda: [one(every) for every in given()]


def _quantized(given: inputs.Reals) -> Array:
    zero = tensor(given.kind, given.zero)
    if zero.ndim:
        return _run("QuantizeLinear", given.x, given.scale.ravel(), zero.ravel(), axis=0)
    return _run("QuantizeLinear", given.x, given.scale, zero)


def _dequantized(given: inputs.Reals) -> Array:
    return _run("DequantizeLinear", given.x, given.scale, tensor(given.kind, given.zero))


def _both(given: inputs.Reals) -> Array:
    zero = tensor(given.kind, given.zero)
    return _run("DequantizeLinear", _quantized(given), given.scale, zero)


def _rectified(given: inputs.Reals) -> Array:
    zero = tensor(given.kind, given.zero)
    real = np.maximum(_dequantized(given), np.float32(0))
    return _run("QuantizeLinear", real, given.scale, zero)


def _grids(given: inputs.Product) -> tuple[tuple[Array, Array], ...]:
    zeros = (tensor("uint8", given.z_x), tensor("int8", 0), tensor("uint8", given.z_y))
    return tuple(zip((given.s_x, given.s_w, given.s_y), zeros, strict=True))


def _whole(given: inputs.Product) -> Array:
    """Round the bias to whole steps of the accumulator, as ONNX stores it."""
    step = np.float64(given.s_x) * np.float64(given.s_w)
    steps = divide(given.bias, np.array(step), np.float64)
    return round_to_grid(steps, np.array(0), "int32")


def _conv(given: inputs.Product) -> Array:
    x, w, y = _grids(given)
    if given.image is None:
        raise ValueError("a convolution needs an image")
    weights = given.w.T.reshape(-1, given.image.shape[0], 3, 3)
    data = given.image[None]
    made = _run("QLinearConv", data, *x, weights, *w, *y, _whole(given), pads=[1] * 4)
    return made.reshape(weights.shape[0], -1).T


def _linear(given: inputs.Product) -> Array:
    a, b, y = _grids(given)
    return _run("com.microsoft::QGemm", given.x, *a, given.w, *b, _whole(given), *y)


def _added(given: inputs.Addition) -> Array:
    zeros = (tensor("uint8", zero) for zero in (given.z_a, given.z_b, given.z_y))
    (z_a, z_b, z_y) = zeros
    left, right = (given.a, given.s_a, z_a), (given.b, given.s_b, z_b)
    return _run("com.microsoft::QLinearAdd", *left, *right, given.s_y, z_y)


def _pooled(given: inputs.Pool) -> Array:
    grid = (given.scale, tensor("uint8", given.zero))
    size = [given.size] * 2
    name = "com.microsoft::QLinearAveragePool"
    return _run(name, given.x, *grid, *grid, kernel_shape=size, strides=size)


def _network(given: inputs.Network) -> Array:
    return _quantized(given.sums(_quantized(given.read)))


def _for_any(formula: Formula, answer: Answer) -> dict[str, Rule]:
    return {ANY: Rule(formula, answer)}


def _except_qnnpack(others: Rule, qnnpack: Rule) -> dict[str, Rule]:
    return {**dict.fromkeys(ENGINES[:-1], others), "qnnpack": qnnpack}


def _products(key: str, name: str, peer: str, *, conv: bool, bias: bool) -> Case:
    def given() -> tuple[inputs.Product, ...]:
        return inputs.products(bias=bias, conv=conv)

    fbgemm = Rule(rules.FBGEMM, _each(rules.fbgemm, given))
    qnnpack = Rule(rules.QNNPACK, _each(rules.qnnpack, given))
    onednn = Rule(rules.ONEDNN_LINEAR, _each(rules.onednn_linear, given))
    older = Rule(rules.ONEDNN_LINEAR_OLDER, _each(rules.onednn_linear_older, given))
    if conv:
        onednn = Rule(rules.ONEDNN_CONV, _each(rules.onednn_conv, given))
        older = Rule(rules.ONEDNN_CONV_OLDER, _each(rules.onednn_conv_older, given))
    found = {
        # The engine x86 chooses one of the two others.
        "x86": onednn if conv else fbgemm,
        "fbgemm": fbgemm,
        "onednn": onednn,
        OLDER: older,
        "qnnpack": qnnpack,
    }
    return Case(key, name, peer, _each(_conv if conv else _linear, given), found)


def _cases() -> tuple[Case, ...]:
    grids, channels, codes = inputs.reals, inputs.channels, inputs.codes
    sums, pools = inputs.additions, inputs.pools
    q, dq, round_trip = "QuantizeLinear", "DequantizeLinear", "DequantizeLinear(QuantizeLinear)"
    return (
        Case(
            "quantize",
            "torch.quantize_per_tensor",
            q,
            _each(_quantized, grids),
            _for_any(rules.PER_TENSOR, _each(rules.per_tensor, grids)),
        ),
        Case(
            "quantize-channels",
            "torch.quantize_per_channel",
            q,
            _each(_quantized, channels),
            _for_any(rules.PER_CHANNEL, _each(rules.per_channel, channels)),
        ),
        Case(
            "dequantize",
            "torch.Tensor.dequantize",
            dq,
            _each(_dequantized, codes),
            _for_any(rules.DEQUANTIZE, _each(lambda g: rules.dequantized(g.x, g), codes)),
        ),
        Case(
            "fake",
            "torch.fake_quantize_per_tensor_affine",
            round_trip,
            _each(_both, grids),
            _for_any(rules.FAKE, _each(rules.fake, grids)),
        ),
        Case(
            "stubs",
            "QuantStub, DeQuantStub (converted)",
            round_trip,
            _each(_both, grids),
            _for_any(rules.STUBS, _each(rules.stubs, grids)),
        ),
        Case(
            "decomposed",
            "quantized_decomposed.quantize_per_tensor",
            q,
            _each(_quantized, grids),
            _for_any(rules.DECOMPOSED, _each(rules.decomposed, grids)),
        ),
        Case(
            "decomposed-channels",
            "quantized_decomposed.quantize_per_channel",
            q,
            _each(_quantized, channels),
            _for_any(rules.DECOMPOSED, _each(rules.decomposed, channels)),
        ),
        Case(
            "exported",
            "torch.export, prepare_pt2e, convert_pt2e: conv2d",
            "DequantizeLinear, Conv, QuantizeLinear",
            _each(_network, inputs.networks),
            _for_any(rules.DECOMPOSED, _each(rules.exported, inputs.networks)),
        ),
        _products("conv", "quantized.Conv2d", "QLinearConv", conv=True, bias=False),
        _products("conv-bias", "quantized.Conv2d, bias", "QLinearConv", conv=True, bias=True),
        _products("linear", "quantized.Linear", "QGemm", conv=False, bias=False),
        _products("linear-bias", "quantized.Linear, bias", "QGemm", conv=False, bias=True),
        Case(
            "add",
            "FloatFunctional.add (converted)",
            "QLinearAdd",
            _each(_added, sums),
            _except_qnnpack(
                Rule(rules.ADD, _each(rules.add, sums)),
                Rule(rules.ADD_QNNPACK, _each(rules.add_qnnpack, sums)),
            ),
        ),
        Case(
            "relu",
            "torch.relu",
            "DequantizeLinear, Relu, QuantizeLinear",
            _each(_rectified, codes),
            _for_any(rules.RELU, _each(lambda g: np.maximum(g.x, tensor(g.kind, g.zero)), codes)),
        ),
        Case(
            "pool",
            "torch.nn.functional.avg_pool2d",
            "QLinearAveragePool",
            _each(_pooled, pools),
            _except_qnnpack(
                Rule(rules.MEAN, _each(rules.mean, pools)),
                Rule(rules.MEAN_QNNPACK, _each(rules.mean_qnnpack, pools)),
            ),
        ),
    )


CASES = _cases()
