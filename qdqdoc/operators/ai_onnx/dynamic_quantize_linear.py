"""Quantize a tensor as it comes: the scale and zero point follow from its lowest and highest value.

The range is widened to include zero, so that zero has a code, and divided into 255 steps of
uint8. Every operation is rounded once to float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.formula import Formula
from qdqdoc.numerics.blockwise import by_blocks
from qdqdoc.numerics.dynamic import dynamic_parameters
from qdqdoc.numerics.formats import Array, tensor
from qdqdoc.numerics.rounding import divide, round_to_grid
from qdqdoc.registry import PEERS, Call, Differs, Element, Version, operator
from qdqdoc.registry.ties import nudge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.registry.operator import ElementOf

NAME = "DynamicQuantizeLinear"

V11 = Version(
    since=11,
    inputs={"x": "T1"},
    outputs={"y": "T2", "y_scale": "float32", "y_zero_point": "T2"},
    types={"T1": ("float32",), "T2": ("uint8",)},
)

SYMBOLS = {"x": "`x`"}
SETS = {"X": "all positions in `x`"}
TYPES = {"T": "uint8"}
STEP = (
    "lo = min(min(x[i] for i in X), 0)\n"
    "hi = max(max(x[i] for i in X), 0)\n"
    "s = 1 if hi == lo else f32(f32(hi - lo) / 255)"
)
SHIFT = f"{STEP}\nz = saturate(rint(0 - f32(lo / s)))"

SCALE = Formula(STEP, symbols=SYMBOLS, sets=SETS, name="scale", when="the output is `y_scale`")
ZERO_POINT = Formula(
    SHIFT,
    symbols=SYMBOLS,
    sets=SETS,
    types=TYPES,
    name="zero point",
    when="the output is `y_zero_point`",
)
CODES = Formula(
    f"{SHIFT}\ny[i] = saturate(rint(f32(x[i] / s)) + z)",
    symbols=SYMBOLS,
    sets=SETS,
    types=TYPES,
    name="codes",
    when="the output is `y`",
)

# Searched so that orders of roundings differ: in the zero point, in the last line in the codes.
DECIDING = (
    *((-5.2451944, 200.5278), (-37.93616, 36.764393), (-55.8983, 43.433174)),
    *((-26.215586, 86.136925), (-218.83363, 10.335064), (-41.840595, 182.77734)),
    *((-23.128622, 30.732555), (-11.210554, 3.1909134), (-51.122025, 5.433795)),
    *((1.823343, 1.9494863), (0.106763914, 1.3961436), (0.7943113, 2.3416114)),
)


def vectors() -> Iterator[Call]:
    """Yield each corner: ranges that do or do not include zero, ties, tiny and endless ranges."""
    yield _call("zeros", [0, -0.0, 0])
    rng = np.random.default_rng(11)
    for low, high in ((-1, 2), (0.5, 3), (-3, -0.5), (-1e-3, 200), (-7e30, 2e30), (-90, 1)):
        yield _call(f"{low} to {high}", rng.uniform(low, high, 150))
    for low, high in DECIDING:
        yield _call(f"deciding {low} and {high}", [low, high, 0])
    for low in (-127.5, -126.5, -0.5, -254.5, -255, 0):
        yield _call(f"steps of one from {low}", low + np.arange(0, 255.5, 8.5))
    yield _call("highest first, lowest last", [3, 0.2, 1, -2])
    yield _call("empty", np.zeros((0, 3)))
    yield _call("a cube", rng.normal(0, 1, (2, 3, 4)))
    yield _call("a scalar", -0.5)
    yield _call("one value", [1.7])
    yield _call("a scale of the least float", [2.0**-142, 0, 2.0**-149])
    yield _call("a scale rounded down by a third", [-382 * 2.0**-149, -(2.0**-149), 0])
    yield _call("a scale of zero", [-(2.0**-149), -(2.0**-148), 0, 2.0**-149])
    yield _call("an infinite scale", [-3e38, 3e38, 1])
    yield _call("infinity", [np.inf, 1, 0])


def ties() -> Iterator[Call]:
    """Yield zero points and quotients on and beside ties."""
    rng = np.random.default_rng(12)
    for step in tensor("float32", [1, 0.1, 0.007843138, 3.25, 1e-20]):
        for number in range(12):
            below = rng.integers(0, 255) + 0.5
            for ulp in (-1, 0, 1):
                low = nudge(tensor("float32", -below * step), ulp)
                high = tensor("float32", 255 * step + low)
                scale, _ = dynamic_parameters(np.stack([low, high]))
                halves = tensor("float32", (rng.integers(0, 255, 60) + 0.5 - below) * scale)
                near = np.concatenate([nudge(halves, k) for k in (-1, 0, 1)])
                inside = near[(low <= near) & (near <= high)]
                yield _call(f"{step} {number} {ulp}", np.concatenate([[low, high], inside]))


def _call(name: str, values: object) -> Call:
    return Call(name=name, inputs={"x": tensor("float32", values)}, opset=11)


def _bound(formula: Formula) -> ElementOf:
    def element(call: Call, index: tuple[int, ...]) -> Element:
        x = call.inputs["x"]
        values: dict[str, object] = {"x": x.reshape(-1)}
        if formula.result_index:
            values[formula.result_index] = int(np.ravel_multi_index(index, x.shape))
        return Element(
            formula=formula,
            values=values,
            sets={"X": range(x.size)},
            types={"T": "uint8"} if formula.types else {},
        )

    return element


def _underflows(call: Call) -> bool:
    """Tell whether the scale is 0 although there are positive values, and no negative ones."""
    x = call.inputs["x"]
    low, high = x.min(initial=0), x.max(initial=0)
    step = divide(high, tensor("float32", 255), np.float32)
    return bool(low == 0 < high and step == 0)


_BOTTOMLESS = _call("minus infinity", [1, -np.inf])
_UNKNOWN = _call("NaN", [np.nan, 1])
_NOT_A_NUMBER = "Silent. Here NaN is lowest and highest, so that scale is NaN and every code 0."
_ZEROS = _call("zeros", [0, 0])
_TINY = _call("the scale underflows", [0, 1e-45])

DIFFERS = (
    *(
        Differs(
            peer,
            _BOTTOMLESS,
            theirs,
            "A zero point that is not a number becomes 255.",
            "Silent: infinity over infinity has no code. Here it is the lowest, as everywhere.",
            output=output,
            covers=lambda call: np.isneginf(call.inputs["x"]).any(),
        )
        for peer in PEERS
        for output, theirs in (("y", (255, 0)), ("y_zero_point", (255,)))
    ),
    Differs(
        "onnxruntime",
        _UNKNOWN,
        (0, 255),
        "Some NaN do not count as lowest and highest; which ones depends on where they stand.",
        _NOT_A_NUMBER,
        lambda call: np.isnan(call.inputs["x"]).any(),
    ),
    Differs(
        "onnxruntime",
        _UNKNOWN,
        (float(divide(tensor("float32", 1), tensor("float32", 255), np.float32)),),
        "The scale is that of the values which count.",
        _NOT_A_NUMBER,
        lambda call: np.isnan(call.inputs["x"]).any(),
        output="y_scale",
    ),
    Differs(
        "onnx",
        _ZEROS,
        (float(divide(tensor("float32", 1), tensor("float32", 255), np.float32)),),
        "The range of zeros alone is taken for 1.",
        "The quotient is 0; nothing can be divided by it. Here, as in onnxruntime, it is 1.",
        output="y_scale",
    ),
    Differs(
        "onnxruntime",
        _TINY,
        (255,),
        "With a scale that underflows to 0, the zero point of a tensor without negatives is 255.",
        "The quotient of 0 and 0 has no code. Here it is the lowest, as everywhere.",
        _underflows,
        output="y_zero_point",
    ),
)


@operator(
    name=NAME,
    versions=(V11,),
    formulas=(CODES, SCALE, ZERO_POINT),
    cites=("onnx-dynamicquantizelinear", "jacob2018"),
    vectors=vectors,
    element={"y": _bound(CODES), "y_scale": _bound(SCALE), "y_zero_point": _bound(ZERO_POINT)},
    differs=DIFFERS,
    ties=ties,
)
def dynamic_quantize_linear(x: Array) -> tuple[Array, Array, Array]:
    """Fit the grid to the tensor, then divide, round half to even, add the zero point, clip.

    Parameters
    ----------
    x
        Real values, any shape, float32.

    Returns
    -------
    y
        Codes, uint8, in the shape of ``x``.
    y_scale
        Step of the grid, one float32: the range, widened to include zero, over 255.
    y_zero_point
        Code of the real number zero, one uint8.

    Raises
    ------
    OperatorError
        If ``x`` is missing or is not float32.

    Notes
    -----
    Of zeros alone the text makes a scale of 0 and a zero point of 0 / 0, which is no code
    :cite:p:`onnx-dynamicquantizelinear`. The scale is 1 here, as in onnxruntime; onnx's
    evaluator has 1/255. The codes are 0 in all three.

    A range below 128 steps of the least float has a scale of 0 too. If it has no negative value,
    the zero point is 0 / 0 again: 0 here, 255 in onnxruntime.

    Examples
    --------
    Zero is exact: it is a code, even if no value of ``x`` is zero:

    >>> import numpy as np
    >>> y, scale, zero = dynamic_quantize_linear(np.float32([1, 2, 5.1]))
    >>> y, scale, zero
    (array([ 50, 100, 255], dtype=uint8), array(0.02, dtype=float32), array(0, dtype=uint8))

    The zero point is rounded half to even, and so are the quotients, before it is added:

    >>> dynamic_quantize_linear(np.float32([-126.5, 0, 0.5, 1.5, 2.5, 128.5]))[::2]
    (array([  0, 126, 126, 128, 128, 254], dtype=uint8), array(126, dtype=uint8))

    The codes of the ends may then be off the rails by a step, where they stay:

    >>> dynamic_quantize_linear(np.float32([-127.5, 127.5]))[::2]
    (array([  0, 255], dtype=uint8), array(128, dtype=uint8))

    Zeros, and values that are not numbers:

    >>> dynamic_quantize_linear(np.float32([0, 0]))
    (array([0, 0], dtype=uint8), array(1., dtype=float32), array(0, dtype=uint8))
    >>> dynamic_quantize_linear(np.float32([1, np.nan]))
    (array([0, 0], dtype=uint8), array(nan, dtype=float32), array(0, dtype=uint8))
    """
    y_scale, y_zero_point = dynamic_parameters(x)

    def rule(x: Array, scale: Array, shift: Array) -> Array:
        return round_to_grid(divide(x, scale, np.float32), shift, np.uint8)

    y = by_blocks(rule, np.uint8, x, y_scale, y_zero_point)
    return y, y_scale, y_zero_point
