"""Convolve codes: sum products of integers over a window, then bring the sum to the result's grid.

Two stages. The first is integer arithmetic and exact: both zero points are subtracted, products
and the bias are summed in an int32 accumulator. The second rounds: the three scales become one
float32 multiplier per channel, the accumulator is multiplied by it, rounded half to even, and
the zero point added. Padding holds the zero point of ``x``, which stands for the real number zero.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, tensor, type_name
from qdqdoc.numerics.layout import AUTO_PAD, taps
from qdqdoc.numerics.products import Overflow, accumulate, integer_conv
from qdqdoc.numerics.rounding import divide, multiply, requantize
from qdqdoc.registry import Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.ties import products
from qdqdoc.registry.window import window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAME = "QLinearConv"
INT8 = ("int8", "uint8")

V10 = Version(
    since=10,
    inputs={
        "x": "T1",
        "x_scale": "float32",
        "x_zero_point": "T1",
        "w": "T2",
        "w_scale": "float32",
        "w_zero_point": "T2",
        "y_scale": "float32",
        "y_zero_point": "T3",
        "B": "T4",
    },
    optional=("B",),
    outputs={"y": "T3"},
    types={"T1": INT8, "T2": INT8, "T3": INT8, "T4": ("int32",)},
    attributes={
        "auto_pad": "NOTSET",
        "dilations": None,
        "group": 1,
        "kernel_shape": None,
        "pads": None,
        "strides": None,
    },
)

RULE = Formula(
    "m = f32(f32(s_x * s_w) / s_y)\n"
    "acc = wrap32(sum((x[k] - z_x) * (w[k] - z_w) for k in K) + b)\n"
    "y = saturate(rint(f32(f32(acc) * m)) + z_y)",
    symbols={
        "x": "`x` under the window",
        "w": "`w` of the output channel",
        "b": "`B` of the output channel; zero where it is absent",
        "s_x": "`x_scale`",
        "z_x": "`x_zero_point`",
        "s_w": "`w_scale` of the tensor or the output channel",
        "z_w": "`w_zero_point` of the tensor or the output channel",
        "s_y": "`y_scale`",
        "z_y": "`y_zero_point`",
    },
    sets={"K": "input channels of the group and window positions inside the image"},
    types={"T": "type of `y`"},
    name="convolution",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: ties, rails, signs, padding, groups, ranks, per-channel parameters."""
    ramp = np.arange(-8, 8).reshape(1, 1, 4, 4)
    for x_type, w_type, y_type in product(INT8, repeat=3):
        image = tensor(x_type, ramp + (8 if x_type == "uint8" else 0))
        kernel = tensor(w_type, [[[[3]]], [[[5]]]])
        for zero in (1, 2):
            call = _call(image, kernel, (0.5, 0.25, 1.0), (3, 1, zero), y_type)
            name = f"{x_type} by {w_type} to {y_type}, zero point {zero}"
            yield replace(call, name=name)
    one = tensor("int8", [[[[1]]]])
    yield _call(ramp.astype(np.int8), one, (0.1, 1, 1), (0, 0, 0), name="ties in float32 only")
    rails = tensor("int8", [[[[127]]], [[[-128]]]])
    yield _call((ramp * 16).astype(np.int8), rails, (1, 1, 1), (0, 0, -3), name="both rails")
    rng = np.random.default_rng(7)
    image = rng.integers(-128, 128, (2, 4, 6, 7), np.int8)
    kernel = rng.integers(-128, 128, (6, 4, 3, 2), np.int8)
    yield from _attribute_vectors(image, kernel)
    yield from _parameter_vectors(image, kernel)
    for rank in (1, 3):
        x = rng.integers(0, 256, (2, 2, *(5, 4, 6)[:rank]), np.uint8)
        w = rng.integers(-128, 128, (3, 2, *(2, 3, 2)[:rank]), np.int8)
        call = _call(x, w, (0.02, 0.01, 0.4), (119, 0, 3), "uint8")
        pads = [1, 2, 0][:rank] + [0, 1, 1][:rank]
        attributes = {"pads": pads, "strides": [2] * rank}
        yield replace(call, name=f"{rank} spatial dimensions", attributes=attributes)
    long, short = (np.full((1, n, 1), 255, np.uint8) for n in (34000, 301))
    yield _call(long, long, (0.5, 0.5, 4e7), (0, 0, 100), "uint8", "the accumulator wraps")
    scales = (5.5 / (301 * 255**2), 1, 1)
    yield _call(short, short, scales, (0, 0, 1), "uint8", "beyond 2**24")


def _attribute_vectors(image: Array, kernel: Array) -> Iterator[Call]:
    plain = _call(image, kernel, (0.02, 0.01, 1.5), (-7, 2, 5))
    choices: list[Mapping[str, Any]] = [
        {"strides": [2, 1]},
        {"strides": [1, 3]},
        {"dilations": [2, 3]},
        {"pads": [1, 0, 2, 3]},
        {"pads": [1, 1, 1, 1], "strides": [2, 2], "kernel_shape": [3, 2]},
        {"pads": [0, 2, 3, 1], "strides": [3, 2], "dilations": [1, 2]},
        *({"auto_pad": auto} for auto in AUTO_PAD),
        *({"auto_pad": auto, "strides": [2, 3]} for auto in AUTO_PAD[1:]),
        {"auto_pad": "SAME_UPPER", "dilations": [2, 2]},
    ]
    for attributes in choices:
        name = ", ".join(f"{k} {v}" for k, v in attributes.items())
        yield replace(plain, name=name, attributes=attributes)
    halves = {**plain.inputs, "w": kernel[:, :2]}
    yield replace(plain, name="2 groups", inputs=halves, attributes={"group": 2})
    depthwise = {**plain.inputs, "w": kernel[:4, :1]}
    pads = [1, 1, 1, 1]
    yield replace(plain, name="depthwise", inputs=depthwise, attributes={"group": 4, "pads": pads})
    yield replace(plain, name="no images", inputs={**plain.inputs, "x": image[:0]})


def _parameter_vectors(image: Array, kernel: Array) -> Iterator[Call]:
    plain = _call(image, kernel, (0.02, 0.01, 1.5), (-7, 2, 5))
    scale = np.linspace(0.004, 0.02, 6, dtype=np.float32)
    each = {"w_scale": scale, "w_zero_point": tensor("int8", range(-2, 4))}
    bias = {"B": tensor("int32", range(-3, 3)) * 2000}
    edge = {"B": tensor("int32", [2**31 - 1, -(2**31), 2**31 - 5, 0, 2**24 + 1, -(2**24) - 1])}
    one = {
        "x_scale": tensor("float32", [0.02]),
        "w_scale": tensor("float32", [0.01]),
        "y_scale": tensor("float32", [2]),
    }
    choices: dict[str, Mapping[str, Array]] = {
        "per channel": each,
        "per-channel scale, one zero point": {
            "w_scale": scale,
            "w_zero_point": np.zeros(6, np.int8),
        },
        "bias": bias,
        "per channel with bias": {**each, **bias},
        "the bias wraps": {**edge, "y_scale": tensor("float32", 3e4)},
        "parameters as vectors of one": one,
    }
    for name, change in choices.items():
        yield replace(plain, name=name, inputs={**plain.inputs, **change})


def _call(
    x: Array,
    w: Array,
    scales: tuple[float, ...],
    zeros: tuple[int, ...],
    y: str = "int8",
    name: str = "",
) -> Call:
    inputs = {
        "x": x,
        "x_scale": tensor("float32", scales[0]),
        "x_zero_point": np.array(zeros[0], x.dtype),
        "w": w,
        "w_scale": tensor("float32", scales[1]),
        "w_zero_point": np.array(zeros[1], w.dtype),
        "y_scale": tensor("float32", scales[2]),
        "y_zero_point": np.array(zeros[2], y),
    }
    return Call(name=name, inputs=inputs, opset=10)


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = {name: np.asarray(value) for name, value in call.inputs.items()}
    x, w = inputs["x"], inputs["w"]
    shape = window(NAME, x, w, call.attributes)
    image, channel, *position = index
    first = channel // (w.shape[0] // shape.group) * w.shape[1]
    seen = taps(
        position,
        x.shape[2:],
        shape.kernel,
        strides=shape.strides,
        dilations=shape.dilations,
        pads=shape.pads,
    )
    seen_x = {(c, *k): x[(image, first + c, *at)] for c in range(w.shape[1]) for k, at in seen}
    values: dict[str, Any] = {"x": seen_x, "w": {k: w[(channel, *k)] for k in seen_x}, "b": 0}
    for symbol in "xwy":
        for name in ("scale", "zero_point"):
            entries = inputs[f"{symbol}_{name}"].reshape(-1)
            values[f"{name[0]}_{symbol}"] = entries[channel if entries.size > 1 else 0]
    if "B" in inputs:
        values["b"] = inputs["B"][channel]
    target = type_name(inputs["y_zero_point"].dtype)
    return Element(formula=RULE, values=values, sets={"K": [*seen_x]}, types={"T": target})


def _check_parameters(filters: int, parameters: Mapping[str, Array], bias: Array | None) -> None:
    for name, parameter in parameters.items():
        fits = parameter.size == 1 and parameter.ndim <= 1
        if name.startswith("w"):
            scale = parameters["w_scale"]
            fits = fits or parameter.shape == (filters,)
            fits = fits and parameter.size in {scale.size, 1}
            allowed = f"one value or ({filters},), as w_scale {scale.shape}"
        else:
            allowed = "one value"
        if not fits:
            refuse(NAME, name, f"shape {parameter.shape}", allowed)
    if bias is not None and bias.shape != (filters,):
        refuse(NAME, "B", f"shape {bias.shape}", f"({filters},), one value per filter")


_EDGE = tensor("int8", [[[1, 2, 3, 4, 5, 6, 7, 8]]])
_UNIT = tensor("int8", [[[1]]])
_TIES = _call(_EDGE, _UNIT, (0.5, 1, 1), (0, 0, 3), name="ties, odd zero point")
_NARROW = _call(_EDGE, _UNIT, (0.1, 1, 1), (0, 0, 0), name="a tie in float32 only")
_SIGNS = _call(_EDGE, tensor("uint8", [[[1]]]), (1, 1, 1), (0, 0, 0), name="int8 by uint8")
_WIDE = tensor("int8", [[[1, 1]]])
_DILATED = replace(
    _call(_EDGE, _WIDE, (1, 1, 1), (0, 0, 0), name="SAME_UPPER and dilated"),
    attributes={"auto_pad": "SAME_UPPER", "dilations": [2]},
)
_ROUNDS = "Rounding to nearest, ties to even, comes before the zero point."

DIFFERS = (
    Differs(
        "onnx",
        _TIES,
        (4, 4, 4, 5, 6, 6, 6, 7),
        "The zero point is added before rounding, which turns ties around.",
        _ROUNDS,
    ),
    Differs(
        "onnx",
        _NARROW,
        (0, 0, 0, 0, 1, 1, 1, 1),
        "The product is taken in float64, where it is above the tie.",
        "Silent on the precision; the scales are float32.",
    ),
    Differs(
        "onnxruntime",
        _SIGNS,
        None,
        "No kernel for a signed input and unsigned weights, or for mixed signs of x and y.",
        "Each of the three types may be int8 or uint8.",
    ),
    Differs(
        "onnxruntime",
        _DILATED,
        None,
        "SAME padding and dilation are not taken together.",
        "The output has ceil(input / stride) positions.",
        lambda call: (
            "SAME" in call.attributes.get("auto_pad", "")
            and max(call.attributes.get("dilations", [1])) > 1
        ),
    ),
)


@operator(
    name=NAME,
    versions=(V10,),
    formulas=(RULE,),
    cites=("onnx-qlinearconv", "jacob2018", "krishnamoorthi2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    ties=products(("x", "w"), ((1, 1, -1), (-1, 1, 1))),
)
def qlinear_conv(
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    w: Array,
    w_scale: Array,
    w_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    B: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    overflow: Overflow = "wrap",
) -> Array:
    """Sum products of codes in int32, scale the sum once in float32, round it to the grid.

    Parameters
    ----------
    x
        Codes (N, C, D1, ..., Dn).
    x_scale, x_zero_point, y_scale, y_zero_point
        One value each; the type of ``y_zero_point`` is the type of ``y``.
    w
        Codes (M, C / group, k1, ..., kn).
    w_scale, w_zero_point
        One value, or M values: one per output channel.
    B
        Bias (M,) in int32, counted in steps of ``x_scale * w_scale``.
    auto_pad
        ``NOTSET`` (``pads`` counts), ``SAME_UPPER``, ``SAME_LOWER`` or ``VALID``.
    dilations, strides
        One number per spatial axis; 1 by default.
    group
        Number of groups into which input and output channels are divided.
    kernel_shape
        Spatial shape of ``w``; need not be given.
    pads
        Padding before each spatial axis, then after each; 0 by default.
    overflow
        ``"wrap"``: a sum beyond int32 wraps, as ONNX says; ``"raise"``: it is an error.

    Returns
    -------
    y
        Codes (N, M, outputs...).

    Raises
    ------
    OperatorError
        For a missing input, a type that ONNX does not allow, or shapes that do not fit.
    AccumulatorOverflowError
        If a sum leaves int32 and ``overflow`` is ``"raise"``.

    Examples
    --------
    Odd sums of halves are ties; they go to the even neighbour before the zero point is added:

    >>> import numpy as np
    >>> one, half, zero = np.float32(1), np.float32(0.5), np.int8(0)
    >>> x, w = np.int8([[[1, 3, 5, -1]]]), np.int8([[[1]]])
    >>> qlinear_conv(x, half, zero, w, one, zero, one, np.int8(1))
    array([[[1, 3, 3, 1]]], dtype=int8)

    Padding holds the zero point, which stands for nothing; it is not the code 0:

    >>> qlinear_conv(x, one, np.int8(1), w, one, zero, one, zero, pads=[1, 0])
    array([[[ 0,  0,  2,  4, -2]]], dtype=int8)

    A scale per output channel, a bias in steps of ``x_scale * w_scale``:

    >>> w = np.int8([[[1]], [[1]]])
    >>> qlinear_conv(x, one, zero, w, np.float32([1, 2]), np.int8([0, 0]), one, zero,
    ...              B=np.int32([0, 10]))
    array([[[ 1,  3,  5, -1],
            [22, 26, 30, 18]]], dtype=int8)

    Sums beyond the rails stay on them, sums beyond the accumulator wrap:

    >>> x = np.full((1, 1, 2), 127, np.int8)
    >>> qlinear_conv(x, one, zero, w[:1], one, zero, one, np.int8(5))
    array([[[127, 127]]], dtype=int8)
    >>> qlinear_conv(x, one, zero, w[:1], one, zero, one, zero, B=np.int32([2**31 - 127]))
    array([[[-128, -128]]], dtype=int8)
    """
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "group": group,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    shape = window(NAME, x, w, attributes)
    parameters = {
        "x_scale": x_scale,
        "x_zero_point": x_zero_point,
        "w_scale": w_scale,
        "w_zero_point": w_zero_point,
        "y_scale": y_scale,
        "y_zero_point": y_zero_point,
    }
    _check_parameters(w.shape[0], parameters, B)
    rank, channel = len(shape.kernel), (-1, *(1,) * len(shape.kernel))
    around = [(0, 0), (0, 0), *zip(shape.pads[:rank], shape.pads[rank:], strict=True)]
    # Zero after the zero point is subtracted: padding with x_zero_point.
    centred = np.pad(x.astype(np.int32) - x_zero_point.reshape(()), around)
    taps_of_w = w.astype(np.int32) - w_zero_point.reshape(-1, 1, *(1,) * rank)
    sums = integer_conv(
        centred, taps_of_w, strides=shape.strides, dilations=shape.dilations, group=shape.group
    )
    if B is not None:
        sums = sums + B.astype(np.int64).reshape(channel)
    scales = multiply(x_scale.reshape(()), w_scale.reshape(channel))
    multiplier = divide(scales, y_scale.reshape(()), np.float32)
    accumulator = accumulate(sums, overflow)
    return requantize(accumulator, multiplier, y_zero_point.reshape(()), y_zero_point.dtype)
