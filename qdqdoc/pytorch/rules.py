"""What PyTorch's engines compute, found by comparing: each rule as a formula, and in NumPy.

A rule predicts every value of its engine on every input of `qdqdoc.pytorch.inputs`; `record`
counts where it does not. Formula and function are compared by the tests.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.rounding import divide, f32, fma, multiply, round_to_grid

if TYPE_CHECKING:
    from qdqdoc.numerics.formats import Array
    from qdqdoc.pytorch.inputs import Addition, Network, Pool, Product, Reals

ONE = np.array(1)
NONE = np.array(0)

_quantizer = partial(
    Formula,
    symbols={"x": "real number", "s": "scale", "z": "zero point"},
    types={"T": "type of the codes"},
)
PER_TENSOR = _quantizer("y = saturate(rint(f32(x * f32(1 / s) + z)))", name="per tensor")
PER_CHANNEL = _quantizer("y = saturate(rint(f32(f32(x * f32(1 / s)) + z)))", name="per channel")
DECOMPOSED = _quantizer("y = saturate(rint(f32(x * f32(1 / s))) + z)", name="decomposed")
FAKE = _quantizer(
    "q = saturate(rint(f32(x * f32(1 / s))) + z)\ny = f32((q - z) * s)", name="fake quantize"
)
STUBS = _quantizer(
    "q = saturate(rint(f32(x * f32(1 / s) + z)))\ny = f32((q - z) * s)", name="stubs"
)
DEQUANTIZE = Formula(
    "y = f32((x - z) * s)",
    symbols={"x": "code", "s": "scale", "z": "zero point"},
    name="dequantize",
)
RELU = Formula("y = max(x, z)", symbols={"x": "code", "z": "zero point"}, name="relu")

_product = partial(
    Formula,
    symbols={
        "acc": "sum of products of distances from the zero points",
        "b": "bias, float32; zero where there is none",
        "s_x": "scale of the input",
        "s_w": "scale of the weights",
        "s_y": "scale of the result",
        "z_y": "zero point of the result",
    },
    types={"T": "type of the codes"},
)
FBGEMM = _product(
    "s = f32(s_x * s_w)\n"
    "a = f32(b * f32(1 / s) + f32(acc))\n"
    "y = saturate(rint(f32(a * f32(s / s_y))) + z_y)",
    name="fbgemm",
)
QNNPACK = _product(
    "s = f32(s_x * s_w)\n"
    "a = f32(acc + rint(f32(b / s)))\n"
    "y = saturate(rint(f32(a * f32(s * f32(1 / s_y)))) + z_y)",
    name="qnnpack",
)
ONEDNN_CONV = _product(
    "t = f32(f32(f32(acc) * f32(1 / f32(1 / s_x))) * s_w)\n"
    "y = saturate(rint(f32(f32(f32(t + b) * f32(1 / s_y)) + z_y)))",
    name="onednn, conv2d",
)
ONEDNN_LINEAR = _product(
    "t = f32(f32(f32(acc) * f32(1 / f32(1 / s_x))) * f32(1 / f32(1 / s_w)))\n"
    "y = saturate(rint(f32(f32(f32(t + b) * f32(1 / s_y)) + z_y)))",
    name="onednn, linear",
)
ONEDNN_CONV_OLDER = _product(
    "m = f32(f32(1 / f32(1 / s_x)) * s_w)\n"
    "t = f32(f32(acc) * m)\n"
    "y = saturate(rint(f32(f32(f32(t + b) * f32(1 / s_y)) + z_y)))",
    name="onednn below AVX512, conv2d",
)
ONEDNN_LINEAR_OLDER = _product(
    "m = f32(f32(1 / f32(1 / s_x)) * f32(1 / f32(1 / s_w)))\n"
    "t = f32(f32(acc) * m)\n"
    "y = saturate(rint(f32(f32(f32(t + b) * f32(1 / s_y)) + z_y)))",
    name="onednn below AVX512, linear",
)

_sum = partial(Formula, types={"T": "type of the codes"})
OPERANDS = {
    "a": "code of the first",
    "s_a": "its scale",
    "z_a": "its zero point",
    "b": "code of the second",
    "s_b": "its scale",
    "z_b": "its zero point",
    "s_y": "scale of the result",
    "z_y": "zero point of the result",
}
ADD = _sum(
    "u = f32(a * s_a - f32(z_a * s_a))\n"
    "v = f32(b * s_b - f32(z_b * s_b))\n"
    "y = saturate(rint(f32(f32(u + v) * f32(1 / s_y))) + z_y)",
    symbols=OPERANDS,
    name="add",
)
ADD_QNNPACK = _sum(
    "m_a = rint(f32(s_a / s_y) * h)\n"
    "m_b = rint(f32(s_b / s_y) * h)\n"
    "v = ((a - z_a) * m_a + (b - z_b) * m_b) / h\n"
    "y = saturate((floor(v + 1 / 2) if v >= 0 else -floor(1 / 2 - v)) + z_y)",
    symbols={**OPERANDS, "h": "the power of two that gives the larger ratio twenty-two bits"},
    name="add, qnnpack",
)

_mean = partial(
    Formula,
    symbols={"x": "code", "z": "zero point", "n": "how many codes a window has"},
    sets={"K": "the window"},
    types={"T": "type of the codes"},
)
MEAN = _mean("y = saturate(rint(f32(f32(sum(x[k] - z for k in K) * f32(1 / n)) + z)))", name="mean")
MEAN_QNNPACK = _mean(
    "y = saturate(rint(f32(sum(x[k] - z for k in K) * f32(1 / n))) + z)", name="mean, qnnpack"
)


def _added(values: Array, zero: Array, dtype: str) -> Array:
    """Add the zero point in float32, then round."""
    return round_to_grid(f32(values) + f32(zero), NONE, dtype)


def per_tensor(given: Reals) -> Array:
    """Multiply by the reciprocal and add the zero point in one fused operation, then round."""
    fused = fma(given.x, divide(ONE, given.scale, np.float32), f32(given.zero))
    return round_to_grid(fused, NONE, given.kind)


def per_channel(given: Reals) -> Array:
    """Do the same in two operations."""
    inverse = divide(ONE, given.scale, np.float32)
    return _added(multiply(given.x, inverse), given.zero, given.kind)


def decomposed(given: Reals) -> Array:
    """Multiply by the reciprocal, round, add the zero point."""
    steps = multiply(given.x, divide(ONE, given.scale, np.float32))
    return round_to_grid(steps, given.zero, given.kind)


def exported(given: Network) -> Array:
    """Quantize the image, convolve in floats, quantize the sums."""
    return decomposed(given.sums(decomposed(given.read)))


def dequantized(codes: Array, given: Reals) -> Array:
    """Turn codes back into float32."""
    return multiply(codes.astype(np.int64) - given.zero, given.scale)


def fake(given: Reals) -> Array:
    """Quantize and dequantize in floats."""
    return dequantized(decomposed(given), given)


def stubs(given: Reals) -> Array:
    """Quantize and dequantize through codes."""
    return dequantized(per_tensor(given), given)


def fbgemm(given: Product) -> Array:
    """Bring the bias into steps of the accumulator, then scale once."""
    step = multiply(given.s_x, given.s_w)
    sums = fma(f32(given.bias), divide(ONE, step, np.float32), f32(given.sums))
    return round_to_grid(multiply(sums, divide(step, given.s_y, np.float32)), given.z_y, given.kind)


def qnnpack(given: Product) -> Array:
    """Round the bias to whole steps of the accumulator, then scale once."""
    step = multiply(given.s_x, given.s_w)
    whole = round_to_grid(divide(given.bias, step, np.float32), NONE, "int32").astype(np.int64)
    scale = multiply(step, divide(ONE, given.s_y, np.float32))
    return round_to_grid(multiply(f32(given.sums + whole), scale), given.z_y, given.kind)


def _twice(scale: Array) -> Array:
    """Return the reciprocal of the reciprocal, both rounded."""
    return divide(ONE, divide(ONE, scale, np.float32), np.float32)


def _onednn(given: Product, scaled: Array) -> Array:
    real = scaled + f32(given.bias)
    return _added(multiply(real, divide(ONE, given.s_y, np.float32)), given.z_y, given.kind)


def onednn_conv(given: Product) -> Array:
    """Scale by each scale in turn; the zero point comes before the rounding."""
    return _onednn(given, multiply(multiply(given.sums, _twice(given.s_x)), given.s_w))


def onednn_linear(given: Product) -> Array:
    """Do the same with the scale of the weights inverted twice, too."""
    return _onednn(given, multiply(multiply(given.sums, _twice(given.s_x)), _twice(given.s_w)))


def onednn_conv_older(given: Product) -> Array:
    """Scale once by the product of both scales; all else as on newer processors."""
    return _onednn(given, multiply(given.sums, multiply(_twice(given.s_x), given.s_w)))


def onednn_linear_older(given: Product) -> Array:
    """Do the same with the scale of the weights inverted twice, too."""
    return _onednn(given, multiply(given.sums, multiply(_twice(given.s_x), _twice(given.s_w))))


def add(given: Addition) -> Array:
    """Dequantize with a fused multiply-add, add, multiply by the reciprocal, round."""
    left = fma(f32(given.a), given.s_a, -multiply(np.array(given.z_a), given.s_a))
    right = fma(f32(given.b), given.s_b, -multiply(np.array(given.z_b), given.s_b))
    steps = multiply(left + right, divide(ONE, given.s_y, np.float32))
    return round_to_grid(steps, given.z_y, given.kind)


def unit(given: Addition) -> int:
    """Return the power of two that gives the larger ratio of scales twenty-two bits."""
    ratios = [float(divide(s, given.s_y, np.float32)) for s in (given.s_a, given.s_b)]
    # frexp counts from a half, the engine from one.
    return int(2 ** (22 - np.frexp(max(ratios))[1]))


def add_qnnpack(given: Addition) -> Array:
    """Add in integers; halves go away from zero."""
    whole = unit(given)
    ratios = (float(divide(s, given.s_y, np.float32)) * whole for s in (given.s_a, given.s_b))
    m_a, m_b = (round_to_grid(np.array(r), NONE, "int32").astype(np.int64) for r in ratios)
    a, b = (codes.astype(np.int64) for codes in (given.a, given.b))
    total = (a - given.z_a) * m_a + (b - given.z_b) * m_b
    steps = np.sign(total) * ((np.abs(total) + whole // 2) // whole)
    return round_to_grid(steps.astype(np.float64), given.z_y, given.kind)


def _mean_of(given: Pool) -> Array:
    sums = given.windows.astype(np.int64).sum(axis=-1) - int(given.zero) * given.windows.shape[-1]
    return multiply(sums, divide(ONE, np.array(given.windows.shape[-1]), np.float32))


def mean(given: Pool) -> Array:
    """Average the distances from the zero point, add it, round."""
    return _added(_mean_of(given), given.zero, given.kind)


def mean_qnnpack(given: Pool) -> Array:
    """Average the distances from the zero point, round, add it."""
    return round_to_grid(_mean_of(given), given.zero, given.kind)
