"""Convolve codes: sum products of integers over a window, then bring the sum to the result's grid.

Two stages. The first is integer arithmetic and exact: both zero points are subtracted, products
and the bias are summed in an int32 accumulator. The second rounds: the three scales become one
float32 multiplier per channel, the accumulator is multiplied by it, rounded half to even, and
the zero point added. Padding holds the zero point of ``x``, which stands for the real number zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, type_name
from qdqdoc.numerics.layout import AUTO_PAD, same_pads, taps
from qdqdoc.numerics.products import Overflow, accumulate, integer_conv
from qdqdoc.numerics.rounding import divide, multiply, requantize
from qdqdoc.registry import Call, Differs, Element, Version, operator, refuse

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
    for x, w, y in ((x, w, y) for x in INT8 for w in INT8 for y in INT8):
        image = (ramp + (8 if x == "uint8" else 0)).astype(x)
        kernel = np.array([[[[3]]], [[[5]]]], w)
        for zero in (1, 2):
            call = _call(image, kernel, (0.5, 0.25, 1.0), (3, 1, zero), y)
            yield replace(call, name=f"{x} by {w} to {y}, zero point {zero}")
    one = np.int8([[[[1]]]])
    yield _call(ramp.astype(np.int8), one, (0.1, 1, 1), (0, 0, 0), name="ties in float32 only")
    rails = np.int8([[[[127]]], [[[-128]]]])
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
    long = np.full((1, 34000, 1), 255, np.uint8)
    scales = (0.5, 0.5, 4e7)
    yield _call(long, long, scales, (0, 0, 100), "uint8", name="the accumulator wraps")
    yield _call(long[:, :301], long[:, :301], (0.003, 0.5, 123.4), (0, 0, 1), "uint8", "beyond 2**24")


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
    each = {"w_scale": scale, "w_zero_point": np.int8(range(-2, 4))}
    bias = {"B": np.int32(range(-3, 3)) * 2000}
    edge = {"B": np.int32([2**31 - 1, -(2**31), 2**31 - 5, 0, 2**24 + 1, -(2**24) - 1])}
    one = {"x_scale": np.float32([0.02]), "w_scale": np.float32([0.01]), "y_scale": np.float32([2])}
    choices: dict[str, Mapping[str, Array]] = {
        "per channel": each,
        "per-channel scale, one zero point": {"w_scale": scale, "w_zero_point": np.zeros(6, np.int8)},
        "bias": bias,
        "per channel with bias": {**each, **bias},
        "the bias wraps": {**edge, "y_scale": np.float32(3e4)},
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
        "x_scale": np.float32(scales[0]),
        "x_zero_point": np.array(zeros[0], x.dtype),
        "w": w,
        "w_scale": np.float32(scales[1]),
        "w_zero_point": np.array(zeros[1], w.dtype),
        "y_scale": np.float32(scales[2]),
        "y_zero_point": np.array(zeros[2], y),
    }
    return Call(name=name, inputs=inputs, opset=10)


@dataclass(frozen=True)
class _Geometry:
    """The attributes of a convolution, with the defaults filled in."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    group: int


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs = {name: np.asarray(value) for name, value in call.inputs.items()}
    x, w = inputs["x"], inputs["w"]
    shape = _geometry(x, w, call.attributes)
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
    window = {(c, *k): x[(image, first + c, *at)] for c in range(w.shape[1]) for k, at in seen}
    values: dict[str, Any] = {"x": window, "w": {k: w[(channel, *k)] for k in window}, "b": 0}
    for symbol in "xwy":
        for name in ("scale", "zero_point"):
            entries = inputs[f"{symbol}_{name}"].reshape(-1)
            values[f"{name[0]}_{symbol}"] = entries[channel if entries.size > 1 else 0]
    if "B" in inputs:
        values["b"] = inputs["B"][channel]
    target = type_name(inputs["y_zero_point"].dtype)
    return Element(formula=RULE, values=values, sets={"K": [*window]}, types={"T": target})


def _geometry(x: Array, w: Array, attributes: Mapping[str, Any]) -> _Geometry:
    rank = x.ndim - 2
    if rank < 1 or w.ndim != x.ndim:
        refuse(NAME, "w", f"shape {w.shape}", f"the rank of x, shape {x.shape}, at least 3")
    kernel = w.shape[2:]
    group = attributes.get("group", 1)
    if group < 1 or x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        allowed = f"{x.shape[1]} channels of x = group * {w.shape[1]}, dividing {w.shape[0]} filters"
        refuse(NAME, "group", group, allowed)
    given = attributes.get("kernel_shape")
    if given is not None and tuple(given) != kernel:
        refuse(NAME, "kernel_shape", list(given), f"{list(kernel)}, the shape of w")
    strides = _per_axis("strides", attributes.get("strides"), rank)
    dilations = _per_axis("dilations", attributes.get("dilations"), rank)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = _pads(attributes, x.shape[2:], extent, strides)
    for axis, reach in enumerate(extent):
        padded = x.shape[2 + axis] + pads[axis] + pads[rank + axis]
        if padded < reach:
            refuse(NAME, "x", f"{padded} padded values along axis {2 + axis}", f"at least {reach}")
    return _Geometry(kernel, strides, dilations, pads, group)


def _per_axis(name: str, given: Sequence[int] | None, rank: int) -> tuple[int, ...]:
    values = (1,) * rank if given is None else tuple(given)
    if len(values) != rank or min(values) < 1:
        refuse(NAME, name, list(values), f"{rank} positive numbers")
    return values


def _pads(
    attributes: Mapping[str, Any],
    size: Sequence[int],
    extent: Sequence[int],
    strides: Sequence[int],
) -> tuple[int, ...]:
    auto_pad, pads = attributes.get("auto_pad", "NOTSET"), attributes.get("pads")
    if auto_pad not in AUTO_PAD:
        refuse(NAME, "auto_pad", repr(auto_pad), " or ".join(AUTO_PAD))
    if auto_pad.startswith("SAME"):
        return tuple(same_pads(auto_pad, size, extent, strides))
    if pads is None or auto_pad == "VALID":
        return (0,) * (2 * len(size))
    if len(pads) != 2 * len(size) or min(pads) < 0:
        refuse(NAME, "pads", list(pads), f"{2 * len(size)} numbers of 0 or more")
    return tuple(pads)


def _check_parameters(filters: int, parameters: Mapping[str, Array], bias: Array | None) -> None:
    for name, parameter in parameters.items():
        fits = parameter.size == 1 and parameter.ndim <= 1
        if name.startswith("w"):
            scale = parameters["w_scale"]
            fits = fits or parameter.shape == (filters,)
            fits = fits and (parameter.size == scale.size or parameter.size == 1)
            allowed = f"one value or ({filters},), as w_scale {scale.shape}"
        else:
            allowed = "one value"
        if not fits:
            refuse(NAME, name, f"shape {parameter.shape}", allowed)
    if bias is not None and bias.shape != (filters,):
        refuse(NAME, "B", f"shape {bias.shape}", f"({filters},), one value per filter")


DIFFERS: tuple[Differs, ...] = ()


@operator(
    name=NAME,
    versions=(V10,),
    formulas=(RULE,),
    cites=("onnx-qlinearconv", "jacob2018", "krishnamoorthi2018"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
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
    shape = _geometry(x, w, attributes)
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
    product = multiply(x_scale.reshape(()), w_scale.reshape(channel))
    multiplier = divide(product, y_scale.reshape(()), np.float32)
    accumulator = accumulate(sums, overflow)
    return requantize(accumulator, multiplier, y_zero_point.reshape(()), y_zero_point.dtype)
