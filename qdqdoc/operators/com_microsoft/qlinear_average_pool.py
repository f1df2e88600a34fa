"""Average windows of codes: in float32, adding one value after the other, with one rounding.

Codes become real values first, each rounded to float32; their sum is rounded after every addition,
row by row. The zero point of the result is added before the rounding to integers, unlike in most
operators. A window that is the whole image has another rule, that of QLinearGlobalAveragePool.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls import pooling as pooling_calls
from qdqdoc.calls.grids import as_vectors, grid_call, several_values, without
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, tensor, type_name
from qdqdoc.numerics.rounding import divide, multiply, round_to_grid, subtract32
from qdqdoc.numerics.sums import image_average, sum_in_order
from qdqdoc.registry import REQUIRED, Call, Differs, Element, Version, operator
from qdqdoc.registry.pooling import (
    Pool,
    channels_back,
    channels_second,
    crops,
    multiplier_is_refused,
    pool,
)
from qdqdoc.registry.spatial import flag
from qdqdoc.registry.values import expect_one_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAME = "QLinearAveragePool"
MOST_AXES = 5

V1 = Version(
    since=1,
    inputs={
        "X": "T",
        "x_scale": "float32",
        "x_zero_point": "T",
        "y_scale": "float32",
        "y_zero_point": "T",
    },
    optional=("x_zero_point", "y_zero_point"),
    outputs={"Y": "T"},
    types={"T": ("int8", "uint8")},
    attributes={
        "auto_pad": "NOTSET",
        **dict.fromkeys(("ceil_mode", "channels_last", "count_include_pad"), 0),
        "kernel_shape": REQUIRED,
        "pads": None,
        "strides": None,
    },
)

_rule = partial(
    Formula,
    symbols={
        "x": "image of one channel of `X`",
        "n": "number of positions that count: those of the image, or all of the window",
        "s_x": "`x_scale`",
        "z_x": "`x_zero_point`; zero where it is absent",
        "s_y": "`y_scale`",
        "z_y": "`y_zero_point`; zero where it is absent",
    },
    sets={"W": "positions of the image in the window, the last axis fastest"},
    types={"T": "type of `X` and `Y`"},
)
WINDOWS = _rule(
    "v = f32(sum_f32(f32(s_x * (x[k] - z_x)) for k in W) / n)\n"
    "y = saturate(rint(f32(f32(v / s_y) + z_y)))",
    name="windows",
    when="the window is smaller than the image, or something is padded",
)
WHOLE = _rule(
    "m = f32(s_x / f32(s_y * n))\n"
    "y = saturate(rint(f32(f32(sum(x[k] - z_x for k in W)) * m)) + z_y)",
    name="whole image",
    when="the window is the whole image, and nothing is padded",
)

_call = partial(grid_call, tuple(V1.inputs))


def vectors() -> Iterator[Call]:
    """Yield each corner: ties, both rails, orders of roundings, pads, layouts, ranks."""
    for kind in V1.types["T"]:
        low, high = integer_range(DTYPES[kind])
        x = tensor(kind, np.arange(low, high + 1).reshape(1, 1, 16, 16))
        for zeros in ((low, high), (low, low + 1), (low + 3, low), (high, low + 130)):
            for scales in ((0.5, 0.125), (1, 1), (0.7, 0.4375)):
                name = f"{kind}, zero points {zeros}, scales {scales}"
                yield _call(name, x, scales, zeros, kernel_shape=[3, 2], strides=[2, 3])
    for case in pooling_calls.odd_windows():
        yield _call(*case, kernel_shape=[3])
    rng = np.random.default_rng(11)
    x = rng.integers(-128, 128, (2, 3, *pooling_calls.IMAGE), np.int8)
    for name, attributes in pooling_calls.window_cases((0, 1)):
        yield _call(name, x, (0.3, 0.07), (5, -9), **attributes)
    yield from _layout_vectors(x)
    for name, image, scales, zeros in pooling_calls.whole_images():
        yield _call(f"whole: {name}", image, scales, zeros, kernel_shape=[image.shape[-1]])


def _layout_vectors(x: Array) -> Iterator[Call]:
    make = partial(_call, scales=(0.3, 0.07), zeros=(5, -9), kernel_shape=[3, 2])
    plain = make("no strides", x)
    yield plain
    yield make("one spatial axis", x[0], kernel_shape=[3], pads=[2, 1])
    deep = {"kernel_shape": [2, 3, 2], "pads": [1, 0, 1, 0, 1, 0]}
    yield make("three spatial axes", x.reshape(2, 1, 3, 6, 7), **deep)
    yield make("four spatial axes", x.reshape(1, 2, 3, 2, 3, 7), kernel_shape=[2, 1, 3, 2])
    last = {"channels_last": 1, "pads": [1, 0, 2, 1]}
    yield make("channels last", np.moveaxis(x, 1, -1), **last)
    yield make("whole image, channels last", x, channels_last=1, kernel_shape=[3, 6])
    yield make("whole image, four spatial axes", x[..., None, None], kernel_shape=[6, 7, 1, 1])
    yield make("an empty batch", x[:0])
    yield make("no channels", x[:, :0])
    yield without(plain, "x_zero_point")
    yield without(plain, "y_zero_point")
    yield as_vectors(plain)
    yield make("sums that are infinite", x, scales=(3e38, 1e-3), zeros=(5, 1))
    whole = {"x": x, "kernel_shape": [6, 7]}
    for multiplier in (256, 255, 2**-32, 0.99 * 2**-32):
        yield make(f"a multiplier of {multiplier}", scales=(multiplier * 42, 1), **whole)


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs, attributes = call.inputs, call.attributes
    x, zero = inputs["X"], np.zeros(1, np.int8)
    batch, *position = index
    channel = position.pop(-1 if attributes.get("channels_last") else 0)
    image = x[batch, ..., channel] if attributes.get("channels_last") else x[batch, channel]
    windows = pool(NAME, image.shape, attributes)
    taps = windows.taps(position)
    values = {
        "x": [image[at] for at in taps],
        "n": np.prod(windows.kernel) if attributes.get("count_include_pad") else len(taps),
        **{f"s_{k}": inputs[f"{k}_scale"].reshape(-1)[0] for k in "xy"},
        **{f"z_{k}": inputs.get(f"{k}_zero_point", zero).reshape(-1)[0] for k in "xy"},
    }
    formula = WHOLE if windows.whole else WINDOWS
    types = {"T": type_name(x.dtype)}
    return Element(formula=formula, values=values, sets={"W": range(len(taps))}, types=types)


def ties() -> Iterator[Call]:
    """Yield scales that put the average of some window on or beside a tie."""
    for name, x, scales, zeros, kernel in pooling_calls.tie_windows():
        yield _call(name, x, scales, zeros, kernel_shape=kernel)


def rejects() -> Iterator[Call]:
    """Yield windows that fit no image, and what is no scale of a whole tensor."""
    x = tensor("uint8", np.arange(84).reshape(1, 2, *pooling_calls.IMAGE))
    make = partial(_call, scales=(1, 1), zeros=(0, 0), kernel_shape=[2, 3])
    yield make("no spatial axis", x[0, 0])
    yield make("an image without positions", x[..., :0])
    for name, attributes in pooling_calls.wrong_windows():
        yield make(name, x, **attributes)
    for name in ("channels_last", "count_include_pad"):
        for value in (-1, 2):
            yield make(f"{name} {value}", x, **{name: value})
    yield from several_values(make("", x))


_X = tensor("uint8", [[[0, 200, 220, 240]]])
_ROW = _call("", _X, (1, 1), (0, 3), kernel_shape=[2])
_NONE = _call("no channels", _X[:, :0], (1, 1), (0, 3), kernel_shape=[2])
_FOUR = _X.reshape(1, 1, 4, 1, 1, 1)
_DEEP = _call("four spatial axes", _FOUR, (1, 1), (0, 3), kernel_shape=[2, 1, 1, 1])
_LARGE = _call("a multiplier of 256", _X, (1024, 1), (0, 3), kernel_shape=[4])
_BEYOND = _call("beyond int32", _X, (2**24, 1), (0, 3), kernel_shape=[2])
_SKIPS = _call("gaps", _X, (1, 1), (0, 3), kernel_shape=[1], strides=[4], auto_pad="SAME_UPPER")


def _windows(call: Call) -> tuple[Array, Pool]:
    image = channels_second(NAME, call.inputs["X"], call.attributes.get("channels_last", 0))
    return image, pool(NAME, image.shape[2:], call.attributes)


def _out_of_range(call: Call) -> bool:
    image, windows = _windows(call)
    return bool(len(image)) and windows.whole and multiplier_is_refused(call, windows.size)


def _beyond_int32(call: Call) -> Array:
    """Tell where the quotient is above int32; onnxruntime's cast then gives the lowest code."""
    image, windows = _windows(call)
    zero_x, zero_y = (call.inputs.get(f"{k}_zero_point", np.zeros((), np.int8)) for k in "xy")
    values = multiply(subtract32(image, zero_x), call.inputs["x_scale"])
    count = call.attributes.get("count_include_pad", 0)
    steps = _steps(values, windows, count, call.inputs["y_scale"], zero_y)
    above = (steps >= np.float32(2**31)) & (not windows.whole)
    return channels_back(above, call.attributes.get("channels_last", 0))


def _refuses(call: Call, why: str, text: str, covers: Callable[[Call], bool]) -> Differs:
    return Differs("onnxruntime", call, None, why, text, covers)


DIFFERS = (
    _refuses(
        without(_ROW, "x_zero_point"),
        "An input that is left out before another one is refused.",
        "Both zero points may be left out.",
        lambda call: "x_zero_point" not in call.inputs,
    ),
    _refuses(
        as_vectors(_ROW),
        "A vector of one value is refused.",
        "Each scale and zero point is a scalar.",
        lambda call: any(v.ndim == 1 for v in call.inputs.values()),
    ),
    _refuses(
        _DEEP,
        "More than three spatial axes are refused, unless the window is the whole image.",
        "Silent on the rank.",
        lambda call: call.inputs["X"].ndim > MOST_AXES and not _windows(call)[1].whole,
    ),
    _refuses(
        _NONE,
        "A tensor without channels is refused.",
        "Silent; the result is empty.",
        lambda call: call.inputs["X"].shape[0] > 0 and not call.inputs["X"].size,
    ),
    _refuses(
        _LARGE,
        "For whole images a multiplier below 2**-32 or from 256 on is refused.",
        "Silent on the size of scales.",
        _out_of_range,
    ),
    Differs(
        "onnxruntime",
        _SKIPS,
        (203,),
        "Where windows leave gaps, SAME padding may be negative: the image is cropped.",
        "Padding adds; by the formula given for it, it would be negative here.",
        lambda call: crops(call.attributes, _windows(call)[1]),
    ),
    Differs(
        "onnxruntime",
        _BEYOND,
        (255, 0, 0),
        "From 2**31 on the cast to int32 overflows, which gives the lowest code.",
        "Quantizing saturates.",
        _beyond_int32,
    ),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(WINDOWS, WHOLE),
    cites=("ort-contrib", "onnx-averagepool"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=ties,
)
def qlinear_average_pool(
    X: Array,
    x_scale: Array,
    x_zero_point: Array | None,
    y_scale: Array,
    y_zero_point: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    kernel_shape: Sequence[int] = REQUIRED,  # type: ignore[assignment]  # checked before
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Turn codes into real values, average each window in float32, round to the grid.

    Parameters
    ----------
    X
        Codes, (N, C, spatial...); with ``channels_last`` (N, spatial..., C).
    x_scale, x_zero_point
        Grid of ``X``: one value each; without a zero point it is 0.
    y_scale, y_zero_point
        Grid of ``Y``, likewise.
    auto_pad
        ``"NOTSET"`` takes ``pads``; ``"VALID"`` pads nothing; ``"SAME_UPPER"`` and
        ``"SAME_LOWER"`` pad so that the outputs are the inputs divided by the strides, rounded up.
    ceil_mode
        1: a last window may hang over the padding, unless it begins behind the image.
    channels_last
        1 if the channels are the last axis, 0 if they are the second.
    count_include_pad
        1: the sum is divided by all positions of the window; 0: by those inside the image.
    kernel_shape
        Lengths of the window along the spatial axes.
    pads
        Positions to add before each spatial axis, then behind each; fewer than the window has.
    strides
        Steps from window to window along the spatial axes, 1 unless given.

    Returns
    -------
    Y
        Codes in the layout of ``X``.

    Raises
    ------
    OperatorError
        For a missing input, another type, attributes that fit no window, a window larger than
        the padded image, or a scale or zero point of more than one value.

    Examples
    --------
    The zero point is added before rounding, so an odd one turns a tie the other way:

    >>> import numpy as np
    >>> one, zero = np.float32(1), np.uint8(0)
    >>> x = np.uint8([[[1, 2, 3, 255]]])
    >>> qlinear_average_pool(x, one, zero, one, zero, kernel_shape=[2])
    array([[[  2,   2, 129]]], dtype=uint8)
    >>> qlinear_average_pool(x, one, zero, one, np.uint8(1), kernel_shape=[2])
    array([[[  2,   4, 130]]], dtype=uint8)

    A window that is the whole image adds it after rounding:

    >>> qlinear_average_pool(x[..., :2], one, zero, one, np.uint8(1), kernel_shape=[2])
    array([[[3]]], dtype=uint8)

    Padding is the real value zero; whether it counts is told by ``count_include_pad``:

    >>> x = np.uint8([[[12, 6, 9]]])
    >>> given = {"kernel_shape": [2], "pads": [1, 0], "strides": [2]}
    >>> qlinear_average_pool(x, one, np.uint8(2), one, zero, **given)
    array([[[10,  6]]], dtype=uint8)
    >>> qlinear_average_pool(x, one, np.uint8(2), one, zero, **given, count_include_pad=1)
    array([[[5, 6]]], dtype=uint8)

    A window that hangs over divides by what it sees, or by all that it could see:

    >>> given = {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}
    >>> qlinear_average_pool(x, one, zero, one, zero, **given)
    array([[[9, 9]]], dtype=uint8)
    >>> qlinear_average_pool(x, one, zero, one, zero, **given, count_include_pad=1)
    array([[[9, 4]]], dtype=uint8)

    The same codes, now of three channels:

    >>> qlinear_average_pool(x, one, zero, one, zero, kernel_shape=[1], channels_last=1)
    array([[[12,  6,  9]]], dtype=uint8)
    """
    flag(NAME, "count_include_pad", count_include_pad)
    expect_one_value(
        NAME,
        x_scale=x_scale,
        x_zero_point=x_zero_point,
        y_scale=y_scale,
        y_zero_point=y_zero_point,
    )
    image = channels_second(NAME, X, channels_last)
    attributes = {"auto_pad": auto_pad, "ceil_mode": ceil_mode, "kernel_shape": kernel_shape}
    windows = pool(NAME, image.shape[2:], {**attributes, "pads": pads, "strides": strides})
    none = np.zeros((), X.dtype)
    zero_x = none if x_zero_point is None else x_zero_point
    zero_y = none if y_zero_point is None else y_zero_point
    if windows.whole:
        flat = image.reshape(*image.shape[:2], int(np.prod(windows.size)))
        y = image_average(flat, x_scale, zero_x, y_scale, zero_y)
        y = y.reshape(*y.shape, *windows.outputs)
    else:
        values = multiply(subtract32(image, zero_x), x_scale)
        steps = _steps(values, windows, count_include_pad, y_scale, zero_y)
        y = round_to_grid(steps, none, X.dtype)
    return channels_back(y, channels_last)


def _steps(
    values: Array, windows: Pool, counted: int, y_scale: Array, y_zero_point: Array
) -> Array:
    """Average real values over windows; count the averages in steps of y, from its lowest code."""
    rank = len(windows.size)
    total = sum_in_order(_flat(windows.fields(values, 0), rank))
    # Padding counts 1 or 0; then a sum over each window tells what to divide by.
    n = _flat(windows.fields(np.ones((1, 1, *windows.size)), counted), rank).sum(axis=-1)
    average = divide(total, n, np.float32)
    return divide(average, y_scale, np.float32) + y_zero_point


def _flat(fields: Array, rank: int) -> Array:
    """Put the positions of each window into one last axis, row by row."""
    return fields.reshape(*fields.shape[:-rank], int(np.prod(fields.shape[-rank:])))
