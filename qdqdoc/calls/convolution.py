"""Calls for the convolutions: each corner of their shapes and attributes, and what is forbidden."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qdqdoc.numerics.formats import DTYPES, Array, integer_range, tensor
from qdqdoc.numerics.layout import AUTO_PAD
from qdqdoc.registry.operator import Call
from qdqdoc.registry.ties import SIGNS, every_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

INT8 = ("int8", "uint8")

DECIDING = (
    (0.009317519, 0.08343177, 0.0018047652),
    (0.018957391, 0.047496285, 0.0005694265),
    (0.08964085, 0.023406971, 0.014454411),
)
"""Scales of x, w and y, searched so that each other order of roundings gives another code."""


class Geometry(NamedTuple):
    """Shapes of x and w, and the attributes that go with them."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    attributes: Mapping[str, Any]


IMAGE, FILTERS = (2, 4, 6, 7), (6, 4, 3, 2)


def geometries() -> Iterator[tuple[str, Geometry]]:
    """Yield each corner of the shapes and attributes of a convolution, with a name."""
    choices: tuple[Mapping[str, Any], ...] = (
        {},
        {"strides": [2, 1]},
        {"strides": [1, 3]},
        {"dilations": [2, 3]},
        {"pads": [1, 0, 2, 3]},
        {"pads": [1, 1, 1, 1], "strides": [2, 2], "kernel_shape": [3, 2]},
        {"pads": [0, 2, 3, 1], "strides": [3, 2], "dilations": [1, 2]},
        *({"auto_pad": auto} for auto in AUTO_PAD),
        *({"auto_pad": auto, "strides": [2, 3]} for auto in AUTO_PAD[1:]),
        {"auto_pad": "SAME_UPPER", "dilations": [2, 2]},
    )
    for attributes in choices:
        name = ", ".join(f"{k} {v}" for k, v in attributes.items()) or "no attributes"
        yield name, Geometry(IMAGE, FILTERS, attributes)
    for auto in AUTO_PAD[1:3]:
        attributes = {"auto_pad": auto, "strides": [4, 5]}
        yield f"{auto}, strides beyond the kernel", Geometry(IMAGE, (6, 4, 1, 2), attributes)
    pads = [1, 1, 1, 1]
    yield "2 groups", Geometry(IMAGE, (6, 2, 3, 2), {"group": 2})
    yield "depthwise", Geometry(IMAGE, (4, 1, 3, 2), {"group": 4, "pads": pads})
    yield "depthwise, 2 filters each", Geometry(IMAGE, (8, 1, 3, 2), {"group": 4, "pads": pads})
    yield "1 spatial dimension", Geometry((2, 2, 5), (3, 2, 2), {"pads": [1, 0], "strides": [2]})
    attributes = {"pads": [1, 2, 0, 0, 1, 1], "strides": [2, 2, 1], "dilations": [1, 1, 2]}
    yield "3 spatial dimensions", Geometry((2, 2, 5, 4, 6), (3, 2, 2, 3, 2), attributes)
    yield "no images", Geometry((0, *IMAGE[1:]), FILTERS, {})
    yield "no filters", Geometry(IMAGE, (0, *FILTERS[1:]), {})
    yield "nothing but padding", Geometry((1, 2, 0, 3), (3, 2, 1, 2), {"pads": [1, 0, 1, 0]})
    yield "nothing to sum", Geometry((1, 0, 3, 3), (2, 0, 2, 2), {})


def fill(geometry: Geometry, kinds: Sequence[str]) -> tuple[Array, Array]:
    """Make x and w of two types from all over their ranges."""
    rng = np.random.default_rng(7)
    x, w = (
        rng.integers(*integer_range(DTYPES[kind]), size=shape, dtype=DTYPES[kind], endpoint=True)
        for kind, shape in zip(kinds, (geometry.x, geometry.w), strict=True)
    )
    return x, w


def is_dilated_same(call: Call) -> bool:
    """Tell whether SAME padding and dilation come together, which onnxruntime refuses."""
    attributes = call.attributes
    auto_pad, dilations = attributes.get("auto_pad", "NOTSET"), attributes.get("dilations", [1])
    return bool(auto_pad.startswith("SAME") and max(dilations) > 1)


def sums_nothing(call: Call) -> bool:
    """Tell whether there are no channels to sum over, and outputs nevertheless."""
    filters, depth, *_ = call.inputs["w"].shape
    return bool(depth == 0 and filters > 0)


def linear_call(
    x: Array,
    w: Array,
    scales: tuple[float, ...],
    zeros: tuple[int, ...],
    y: str = "int8",
    name: str = "",
    **attributes: object,
) -> Call:
    """Make a call of a quantized convolution; scales and zero points are those of x, w and y."""
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
    return Call(name=name, inputs=inputs, attributes=attributes, opset=10)


_ROW = tensor("int8", [[[1, 2, 3, 4]]])
DILATED = linear_call(
    _ROW,
    tensor("int8", [[[1, 1]]]),
    (1, 1, 1),
    (0, 0, 0),
    name="SAME_UPPER and dilated",
    auto_pad="SAME_UPPER",
    dilations=[2],
)
"""Refused by onnxruntime, see :func:`is_dilated_same`."""
EMPTY = linear_call(_ROW[:, :0], _ROW[:, :0, :1], (1, 1, 1), (0, 0, 5), name="no channels")
"""Not computed by onnxruntime, see :func:`sums_nothing`."""
PAIRS = linear_call(
    tensor("uint8", [[[255], [255]]]),
    tensor("int8", [[[127], [127]]]),
    (1, 1, 2 * 255 * 127 / 200),
    (0, 0, 0),
    "uint8",
    "two products beyond int16",
)
"""Saturates in some of onnxruntime's kernels, see :mod:`qdqdoc.calls.pairs`."""


def linear_calls() -> Iterator[Call]:
    """Yield each corner of a quantized convolution."""
    ramp = np.arange(-8, 8).reshape(1, 1, 4, 4)
    for x_type, w_type, y_type in product(INT8, repeat=3):
        image = tensor(x_type, ramp + (8 if x_type == "uint8" else 0))
        kernel = tensor(w_type, [[[[3]]], [[[5]]]])
        for zero in (1, 2):
            call = linear_call(image, kernel, (0.5, 0.25, 1.0), (3, 1, zero), y_type)
            name = f"{x_type} by {w_type} to {y_type}, zero point {zero}"
            yield replace(call, name=name)
    codes, factors = every_code("int8").reshape(1, 1, 256), tensor("int8", [[[1]], [[3]], [[-5]]])
    for number, scales in enumerate(DECIDING):
        name = f"an order of roundings, {number}"
        yield linear_call(codes, factors, scales, (0, 0, number), name=name)
    one = tensor("int8", [[[[1]]]])
    yield linear_call(
        ramp.astype(np.int8), one, (0.1, 1, 1), (0, 0, 0), name="ties in float32 only"
    )
    rails = tensor("int8", [[[127]], [[-128]]])
    yield linear_call(codes, rails, (1, 1, 64), (0, 0, -3), name="both rails")
    for number, (name, geometry) in enumerate(geometries()):
        x_type, w_type, y_type = SIGNS[number % 3]
        x, w = fill(geometry, (x_type, w_type))
        zeros = (119 if x_type == "uint8" else -9, 2, 5)
        yield linear_call(x, w, (0.02, 0.01, 1.5), zeros, y_type, name, **geometry.attributes)
    yield from _parameter_calls()
    long, short = (np.full((1, n, 1), 255, np.uint8) for n in (34000, 301))
    scales = (5.5 / (301 * 255**2), 1, 1)
    yield linear_call(long, long, (0.5, 0.5, 4e7), (0, 0, 100), "uint8", "the accumulator wraps")
    yield linear_call(short, short, scales, (0, 0, 1), "uint8", "beyond 2**24")
    back = linear_call(short, short, (1, 1, 1), (0, 0, 0), "uint8", "beyond 2**24 and back")
    yield replace(back, inputs={**back.inputs, "B": tensor("int32", [77 - 301 * 255**2])})


def _parameter_calls() -> Iterator[Call]:
    image, kernel = fill(Geometry(IMAGE, FILTERS, {}), ("int8", "int8"))
    plain = linear_call(image, kernel, (0.02, 0.01, 1.5), (-7, 2, 5))
    scale = np.linspace(0.004, 0.02, 6, dtype=np.float32)
    each: Mapping[str, Array] = {"w_scale": scale, "w_zero_point": tensor("int8", range(-2, 4))}
    bias = {"B": tensor("int32", range(-3, 3)) * 2000}
    edge = {"B": tensor("int32", [2**31 - 1, -(2**31), 2**31 - 5, 0, 2**24 + 1, -(2**24) - 1])}
    ones = {k: plain.inputs[k].reshape(1) for k in plain.inputs if k.endswith(("scale", "point"))}
    several: Mapping[str, Array] = {"w_scale": scale, "w_zero_point": np.zeros(6, np.int8)}
    flat = {**each, "x": image[:, :, :, 0], "w": kernel[:, :, :, 0]}
    choices: dict[str, Mapping[str, Array]] = {
        "per channel": each,
        "per-channel scale, one zero point": {"w_scale": scale},
        "per-channel scale, zero points 0": several,
        "per channel, 1 spatial dimension": flat,
        "bias": bias,
        "per channel with bias": {**each, **bias},
        "the bias wraps": {**edge, "y_scale": tensor("float32", 3e4)},
        "parameters as vectors of one": ones,
    }
    for name, change in choices.items():
        yield replace(plain, name=name, inputs={**plain.inputs, **change})


def forbidden_shapes(call: Call) -> Iterator[Call]:
    """Yield what the shapes and attributes of any convolution may not be.

    ``call`` has an x of (N, 4, spatial...) with two spatial axes and a w of (6, 4, 3, 2).
    """
    w = call.inputs["w"]
    weights = {
        "w of another rank": w[0],
        "w of other channels": w[:, :3],
        "an empty kernel": w[:, :, :0],
        "a kernel beyond the image": np.repeat(w, 5, axis=2),
    }
    for name, value in weights.items():
        yield replace(call, name=name, inputs={**call.inputs, "w": value})
    flat = {"x": call.inputs["x"].reshape(-1, 4), "w": w.reshape(-1, 4)}
    yield replace(call, name="no spatial axis", inputs={**call.inputs, **flat})
    halves = {**call.inputs, "w": w[:5, :2]}
    attributes = {**call.attributes, "group": 2}
    yield replace(call, name="5 filters in 2 groups", inputs=halves, attributes=attributes)
    for attributes in FORBIDDEN:
        name = ", ".join(f"{k} {v}" for k, v in attributes.items())
        yield replace(call, name=name, attributes={**call.attributes, **attributes})


FORBIDDEN: tuple[dict[str, Any], ...] = (
    {"group": 0},
    {"group": 2},
    {"group": -1},
    {"kernel_shape": [3]},
    {"kernel_shape": [2, 3]},
    {"strides": [1]},
    {"strides": [0, 1]},
    {"dilations": [1, 1, 1]},
    {"dilations": [1, 0]},
    {"dilations": [3, 1]},
    {"dilations": [1, 7]},
    {"dilations": [1, 9], "pads": [0, 2, 0, 0]},
    {"pads": [1, 1]},
    {"pads": [0, 0, 0, -1]},
    {"auto_pad": "SAME"},
    {"auto_pad": "VALID", "pads": [0, 0, 0, 0]},
    {"auto_pad": "SAME_LOWER", "pads": [1, 0, 0, 0]},
)
"""Attributes that fit no image of (6, 7) with a kernel of (3, 2)."""


def forbidden_parameters(call: Call) -> Iterator[Call]:
    """Yield what the scales, zero points and bias of a quantized convolution may not be."""
    kind = call.inputs["w"].dtype
    changes: dict[str, Mapping[str, Array]] = {
        "x_scale for each channel": {"x_scale": np.ones(4, np.float32)},
        "x_scale of rank 2": {"x_scale": np.ones((1, 1), np.float32)},
        "x_zero_point for each channel": {"x_zero_point": np.zeros(4, call.inputs["x"].dtype)},
        "y_scale for each filter": {"y_scale": np.ones(6, np.float32)},
        "y_zero_point for each filter": {"y_zero_point": np.zeros(6, np.int8)},
        "w_scale of another length": {"w_scale": np.ones(4, np.float32)},
        "w_scale of rank 2": {"w_scale": np.ones((6, 1), np.float32)},
        "w_zero_point of another length": {
            "w_scale": np.ones(6, np.float32),
            "w_zero_point": np.zeros(5, kind),
        },
        "w_zero_point without scales": {"w_zero_point": np.zeros(6, kind)},
        "B of one value": {"B": np.zeros(1, np.int32)},
        "B of rank 2": {"B": np.zeros((6, 1), np.int32)},
        "B as a scalar": {"B": np.zeros((), np.int32)},
    }
    for name, change in changes.items():
        yield replace(call, name=name, inputs={**call.inputs, **change})
