"""Average each channel's image: one exact sum of codes, one multiplier, one rounding.

The number of positions is no divisor of its own: it is multiplied into the scale of the result
before the scales are divided, and that product is rounded. Dividing the average afterwards, or the
scales first, gives other codes near ties.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.calls.grids import as_vectors, grid_call, several_values
from qdqdoc.calls.pooling import whole_images
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, tensor, type_name
from qdqdoc.numerics.sums import MOST_POSITIONS, image_average
from qdqdoc.registry import Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.pooling import channels_back, channels_second, multiplier_is_refused
from qdqdoc.registry.values import expect_one_value

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "QLinearGlobalAveragePool"

V1 = Version(
    since=1,
    inputs={
        "X": "T",
        "x_scale": "float32",
        "x_zero_point": "T",
        "y_scale": "float32",
        "y_zero_point": "T",
    },
    outputs={"Y": "T"},
    types={"T": ("int8", "uint8")},
    attributes={"channels_last": 0},
)

AVERAGE = Formula(
    "m = f32(s_x / f32(s_y * n))\n"
    "y = saturate(rint(f32(f32(sum(x[k] - z_x for k in W)) * m)) + z_y)",
    symbols={
        "x": "image of one channel of `X`",
        "n": "number of its positions",
        "s_x": "`x_scale`",
        "z_x": "`x_zero_point`",
        "s_y": "`y_scale`",
        "z_y": "`y_zero_point`",
    },
    sets={"W": "positions of the image"},
    types={"T": "type of `X` and `Y`"},
    name="average",
)

_call = partial(grid_call, tuple(V1.inputs))


def vectors() -> Iterator[Call]:
    """Yield each corner: ties, both rails, orders of roundings, layouts, ranks, a large sum."""
    for case in whole_images():
        yield _call(*case)
    rng = np.random.default_rng(11)
    x = rng.integers(-128, 128, (2, 3, 2, 5), np.int8)
    make = partial(_call, scales=(0.3, 0.07), zeros=(5, -9))
    yield make("channels second", x)
    yield make("channels last", np.moveaxis(x, 1, -1), channels_last=1)
    yield make("one spatial axis", x[:, :, 0])
    yield make("four spatial axes", x.reshape(2, 3, 2, 1, 5, 1))
    yield make("one position", x[:, :, :1, :1])
    yield make("an empty batch", x[:0])
    yield make("no channels", x[:, :0])
    yield as_vectors(make("", x))
    for multiplier in (256, 255, 2**-32, 0.99 * 2**-32):
        name = f"a multiplier of {multiplier}"
        yield _call(name, x[:1], (multiplier * 10, 1), (-3, -100))


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    inputs, last = call.inputs, call.attributes.get("channels_last", 0)
    x = inputs["X"]
    image = x[index[0], ..., index[-1]] if last else x[index[0], index[1]]
    values = {
        "x": image.reshape(-1),
        "n": image.size,
        "s_x": inputs["x_scale"].reshape(-1)[0],
        "z_x": inputs["x_zero_point"].reshape(-1)[0],
        "s_y": inputs["y_scale"].reshape(-1)[0],
        "z_y": inputs["y_zero_point"].reshape(-1)[0],
    }
    types = {"T": type_name(x.dtype)}
    return Element(formula=AVERAGE, values=values, sets={"W": range(image.size)}, types=types)


def ties() -> Iterator[Call]:
    """Yield multipliers that put some sum on or beside a tie."""
    rng = np.random.default_rng(5)
    for kind in V1.types["T"]:
        low, high = integer_range(DTYPES[kind])
        for number in range(24):
            n = int(rng.integers(2, 12))
            x = rng.integers(low, high, (1, 300, n), DTYPES[kind], endpoint=True)
            zeros = int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))
            half = int(rng.integers(0, 60)) + 0.5
            total = int(rng.integers(1, 60 * n))
            scale = np.nextafter(np.float32(half * n / total), np.float32((number % 3) * 1e9))
            yield _call(f"{kind}, {number}th: {half} from {total} of {n}", x, (scale, 1), zeros)


def rejects() -> Iterator[Call]:
    """Yield what no average is defined for, or what is no scale of a whole tensor."""
    x = tensor("uint8", np.arange(24).reshape(2, 3, 4))
    make = partial(_call, scales=(1, 1), zeros=(0, 0))
    yield make("no spatial axis", x[0])
    yield make("no axis", x[0, 0, 0])
    yield make("an image without positions", x[:, :, :0])
    large = np.broadcast_to(np.uint8(0), (1, 1, MOST_POSITIONS + 1))
    yield make("an image whose sum may leave int32", large)
    for value in (-1, 2):
        yield make(f"channels_last {value}", x, channels_last=value)
    yield from several_values(make("", x))


_LARGE = _call("a multiplier of 256", tensor("uint8", [[[1, 2]]]), (512, 1), (0, 0))


def _out_of_range(call: Call) -> bool:
    image = channels_second(NAME, call.inputs["X"], call.attributes.get("channels_last", 0))
    return bool(len(image)) and multiplier_is_refused(call, image.shape[2:])


DIFFERS = (
    Differs(
        "onnxruntime",
        _LARGE,
        None,
        "A multiplier below 2**-32 or from 256 on is refused.",
        "Silent on the size of scales.",
        _out_of_range,
    ),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(AVERAGE,),
    cites=("ort-contrib", "ort-mlas"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
    ties=ties,
)
def qlinear_global_average_pool(
    X: Array,
    x_scale: Array,
    x_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    *,
    channels_last: int = 0,
) -> Array:
    """Add up the codes of each image exactly, multiply once in float32, round to the grid.

    Parameters
    ----------
    X
        Codes, (N, C, spatial...); with ``channels_last`` (N, spatial..., C).
    x_scale, x_zero_point
        Grid of ``X``: one value each.
    y_scale, y_zero_point
        Grid of ``Y``: one value each.
    channels_last
        1 if the channels are the last axis, 0 if they are the second.

    Returns
    -------
    Y
        Codes, as ``X`` with every spatial axis of length 1.

    Raises
    ------
    OperatorError
        For a missing input, another type, no spatial axis, an image without positions or of more
        than 2**23, a scale or zero point of more than one value, or an unknown ``channels_last``.

    Examples
    --------
    The average of 1 and 2 is a tie; it goes to the even neighbour, then the zero point is added:

    >>> import numpy as np
    >>> one = np.float32(1)
    >>> x = np.uint8([[[1, 2], [2, 3], [255, 255]]])
    >>> qlinear_global_average_pool(x, one, np.uint8(0), one, np.uint8(1)).ravel()
    array([  3,   3, 255], dtype=uint8)

    The same codes, now of two channels that are the last axis:

    >>> qlinear_global_average_pool(x, one, np.uint8(1), one, np.uint8(0), channels_last=1)
    array([[[85, 86]]], dtype=uint8)

    An image may be so large that the sum of its codes just fits into int32:

    >>> large = np.broadcast_to(np.uint8(255), (1, 1, 2**23))
    >>> qlinear_global_average_pool(large, one, np.uint8(0), one, np.uint8(0))
    array([[[255]]], dtype=uint8)
    """
    expect_one_value(
        NAME,
        x_scale=x_scale,
        x_zero_point=x_zero_point,
        y_scale=y_scale,
        y_zero_point=y_zero_point,
    )
    image = channels_second(NAME, X, channels_last)
    positions = int(np.prod(image.shape[2:]))
    if not 1 <= positions <= MOST_POSITIONS:
        refuse(NAME, "X", f"{positions} positions in an image", f"1 to {MOST_POSITIONS}")
    flat = image.reshape(*image.shape[:2], positions)
    y = image_average(flat, x_scale, x_zero_point, y_scale, y_zero_point)
    return channels_back(y.reshape(*y.shape, *(1 for _ in image.shape[2:])), channels_last)
