"""Take the largest code of each window, channels last: no scale, no zero point, no rounding.

A grid keeps the order of the real numbers (scales are positive), so the largest code stands for
the largest number, and the result has the grid of ``x``. Padding never wins. onnxruntime puts this
operator into models that it optimizes for processors which read channels together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.calls.convolution import is_dilated_same
from qdqdoc.formula import Formula
from qdqdoc.numerics.formats import Array, integer_range, tensor, type_name
from qdqdoc.numerics.layout import pad, same_pads, windows
from qdqdoc.registry import REQUIRED, Call, Differs, Element, Version, operator, refuse
from qdqdoc.registry.pooling import SMALLEST_RANK, Pool
from qdqdoc.registry.spatial import flag, padding, per_axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAME = "NhwcMaxPool"

V1 = Version(
    since=1,
    inputs={"x": "T"},
    outputs={"y": "T"},
    types={"T": ("int8", "uint8")},
    attributes={
        "auto_pad": "NOTSET",
        "ceil_mode": 0,
        "dilations": None,
        "kernel_shape": REQUIRED,
        "pads": None,
        "strides": None,
    },
)

RULE = Formula(
    "y = max(lowest(T), max(x[k] for k in K))",
    symbols={"x": "`x` in the channel of the output"},
    sets={"K": "window positions inside the image, maybe none"},
    types={"T": "type of `x` and `y`"},
    name="largest code",
)


def vectors() -> Iterator[Call]:
    """Yield each corner: types, ranks, strides, dilations, both kinds of padding, ceil_mode."""
    yield _call("a row", tensor("int8", [[[3], [-128], [4]]]), {"kernel_shape": [2]})
    square: dict[str, Any] = {"kernel_shape": [3, 2]}
    choices: tuple[dict[str, Any], ...] = (
        {},
        {"strides": [2, 3]},
        {"strides": [3, 2], "ceil_mode": 1},
        {"dilations": [2, 3]},
        {"pads": [2, 0, 1, 1]},
        {"pads": [1, 1, 2, 0], "strides": [4, 3], "ceil_mode": 1},
        {"pads": [0, 1, 2, 1], "strides": [2, 4], "dilations": [2, 1], "ceil_mode": 1},
        {"auto_pad": "VALID", "strides": [2, 2]},
        {"auto_pad": "VALID", "strides": [3, 5], "ceil_mode": 1},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2], "ceil_mode": 1},
        {"auto_pad": "SAME_LOWER", "strides": [2, 3]},
    )
    for kind in V1.types["T"]:
        x = _image(kind, (2, 6, 7, 3))
        for attributes in choices:
            given = {**square, **attributes}
            yield _call(f"{kind}, {_name(given)}", x, given)
        for auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            for strides in ([3, 4], [4, 5], [5, 3]):
                given = {"kernel_shape": [1, 2], "strides": strides, "auto_pad": auto_pad}
                yield _call(f"{kind}, {_name(given)}", x, given)
        given = {"kernel_shape": [2], "dilations": [7], "pads": [1, 2]}
        yield _call(f"{kind}, a window of padding alone", x[0, :, :, 0].T[..., None], given)
    x = _image("int8", (1, 5, 4, 6, 2))
    cube = {"kernel_shape": [2, 3, 1], "strides": [1, 2, 2], "pads": [1, 0, 0, 0, 2, 0]}
    yield _call("3 spatial dimensions", x, cube)
    yield _call("1 spatial dimension", x[0, 0], {"kernel_shape": [3], "strides": [2]})
    yield _call("1 spatial dimension, behind the end", x[0, 0], _BEHIND)
    given = {"kernel_shape": [7], "strides": [3], "ceil_mode": 1}
    yield _call("a window beyond the image", x[0, 0], given)
    yield _call("no windows", x[0, 0], {"kernel_shape": [7]})
    yield _call("no windows along one axis", x[0], {"kernel_shape": [6, 3], "strides": [2, 1]})
    yield _call("no images", x[:0], cube)
    yield _call("no channels", x[..., :0], cube)
    yield _call("dilated, one window", x[0, 0, :, None, :], _ONE_WINDOW)


_BEHIND = {"kernel_shape": [2], "strides": [5], "pads": [0, 1], "ceil_mode": 1}
_ONE_WINDOW = {
    "kernel_shape": [3, 1],
    "dilations": [2, 1],
    "strides": [8, 1],
    "auto_pad": "SAME_UPPER",
}


def _image(kind: str, shape: tuple[int, ...]) -> Array:
    low, high = integer_range(kind)
    return np.random.default_rng(3).integers(low, high, shape, np.dtype(kind), endpoint=True)


def _name(attributes: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in attributes.items())


def _call(name: str, x: Array, attributes: Mapping[str, Any]) -> Call:
    return Call(name=name, inputs={"x": x}, attributes=attributes)


def rejects() -> Iterator[Call]:
    """Yield images without a position, and attributes that do not fit."""
    x = _image("int8", (1, 4, 5, 2))
    call = _call("", x, {"kernel_shape": [2, 3]})
    yield replace(call, name="no spatial axis", inputs={"x": x[0, 0]})
    yield replace(call, name="an empty image", inputs={"x": x[:, :, :0]})
    choices: tuple[dict[str, Any], ...] = (
        {"kernel_shape": [2]},
        {"kernel_shape": [2, 0]},
        {"kernel_shape": [6, 1]},
        {"kernel_shape": [1, 11], "strides": [1, 2], "pads": [0, 1, 0, 0], "ceil_mode": 1},
        {"strides": [1]},
        {"strides": [1, 0]},
        {"dilations": [1, 1, 1]},
        {"dilations": [0, 1]},
        {"dilations": [1, 3]},
        {"pads": [1, 1]},
        {"pads": [0, 0, 0, -1]},
        {"pads": [2, 0, 0, 0]},
        {"ceil_mode": 2},
        {"auto_pad": "SAME"},
        {"auto_pad": "VALID", "pads": [0, 0, 0, 0]},
    )
    for attributes in choices:
        yield replace(call, name=_name(attributes), attributes={**call.attributes, **attributes})


def element(call: Call, index: tuple[int, ...]) -> Element:
    """Bind the formula to one output element."""
    x = call.inputs["x"]
    image, *position, channel = index
    seen = _pool(x.shape[1:-1], {**V1.attributes, **call.attributes}).taps(position)
    values = {"x": {at: x[(image, *at, channel)] for at in seen}}
    return Element(formula=RULE, values=values, sets={"K": seen}, types={"T": type_name(x.dtype)})


def _pool(size: Sequence[int], attributes: Mapping[str, Any]) -> Pool:
    """Check the attributes, all of them, and count the windows."""
    if not all(size):
        refuse(NAME, "x", f"an image of shape {tuple(size)}", "one position or more")
    kernel, strides, dilations = (
        per_axis(NAME, name, attributes[name], len(size))
        for name in ("kernel_shape", "strides", "dilations")
    )
    flag(NAME, "ceil_mode", attributes["ceil_mode"])
    shape = Pool(tuple(size), kernel, strides, dilations, pads=(), outputs=())
    shape = replace(shape, pads=_pads(shape, attributes))
    hangs = attributes["ceil_mode"] == 1 and attributes["auto_pad"] == "NOTSET"
    return replace(shape, outputs=_outputs(shape, hangs=hangs))


def _pads(shape: Pool, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    """Return all beginnings and all ends; with SAME padding and long strides they are negative."""
    auto_pad, pads = attributes["auto_pad"], attributes["pads"]
    if auto_pad != "NOTSET" and pads is not None:
        refuse(NAME, "pads", list(pads), f"none beside auto_pad {auto_pad}")
    checked = padding(NAME, attributes, shape.size, shape.reach, shape.strides)
    if auto_pad.startswith("SAME"):
        return tuple(same_pads(auto_pad, shape.size, shape.reach, shape.strides, crop=True))
    if any(p >= n for p, n in zip(checked, shape.reach * 2, strict=True)):
        refuse(NAME, "pads", list(checked), f"less than the window, {list(shape.reach)}")
    return checked


def _outputs(shape: Pool, *, hangs: bool) -> tuple[int, ...]:
    """Count the windows along each axis; where one ``hangs`` over, it begins before the end."""
    counts = []
    ends = shape.pads[len(shape.size) :]
    for axis, size in enumerate(shape.size):
        begin, end, stride = shape.pads[axis], ends[axis], shape.strides[axis]
        steps = size + begin + end - shape.reach[axis]
        count = (-(-steps // stride) if hangs else steps // stride) + 1
        if count < 0:
            refuse(NAME, "x", f"{count} windows along axis {1 + axis}", "0 or more")
        begins_behind = hangs and (count - 1) * stride >= size + begin
        counts.append(count - begins_behind)
    return tuple(counts)


def _skips_ends(call: Call) -> bool:
    shape = _pool(call.inputs["x"].shape[1:-1], {**V1.attributes, **call.attributes})
    return call.attributes.get("auto_pad") == "SAME_LOWER" and min(shape.pads) < 0


def _pads_beyond_kernel(call: Call) -> bool:
    kernel = [*call.attributes["kernel_shape"]] * 2
    return any(p >= k for p, k in zip(call.attributes.get("pads", ()), kernel, strict=False))


_ROW = tensor("int8", [[[1], [2], [3], [4], [5], [6]]])
_SAME = {"kernel_shape": [2], "auto_pad": "SAME_UPPER", "dilations": [2]}
_VALID = {"kernel_shape": [3], "auto_pad": "VALID", "strides": [2], "ceil_mode": 1}
_SKIPS = {"kernel_shape": [1], "auto_pad": "SAME_LOWER", "strides": [3]}

DIFFERS = (
    Differs(
        "onnxruntime",
        _call("SAME_UPPER and dilated", _ROW, _SAME),
        (3, 4, 5, 6, 5),
        "SAME padding is made for the kernel without dilation, so outputs are missing.",
        "ONNX's MaxPool: the output has ceil(input / stride) positions.",
        is_dilated_same,
    ),
    Differs(
        "onnxruntime",
        _call("SAME_LOWER, strides beyond the kernel", _ROW, _SKIPS),
        (1, 4),
        "What long strides leave over is skipped at the end alone.",
        "ONNX's MaxPool: pad_shape, here -2, is split equally.",
        _skips_ends,
    ),
    Differs(
        "onnxruntime",
        _call(
            "a pad beyond the kernel", _ROW, {"kernel_shape": [2], "pads": [2, 0], "dilations": [3]}
        ),
        None,
        "A pad must be less than the kernel, however far that is dilated.",
        "ONNX's MaxPool: pads may be any number of 0 or more.",
        _pads_beyond_kernel,
    ),
    Differs(
        "onnxruntime",
        _call("a window beyond the image", _ROW, {"kernel_shape": [8], "strides": [3]}),
        (6,),
        "A division rounds towards zero, so a window that does not fit is there.",
        "ONNX's MaxPool: floor((6 - 8) / 3 + 1) windows, which is none.",
    ),
    Differs(
        "onnxruntime",
        _call("VALID and ceil_mode", _ROW, _VALID),
        (3, 5, 6),
        "VALID padding is taken for pads of 0, so a window may hang over.",
        "ONNX's MaxPool: ceil((6 - 3 + 1) / 2) windows, which all fit.",
    ),
    Differs(
        "onnxruntime",
        _call("no channels", _ROW[..., :0], {"kernel_shape": [2]}),
        None,
        "An image without channels is refused.",
        "Silent: any axis may be empty.",
        lambda call: call.inputs["x"].shape[-1] == 0,
    ),
)


@operator(
    name=NAME,
    domain="com.microsoft",
    versions=(V1,),
    formulas=(RULE,),
    cites=("ort-contrib", "onnx-maxpool"),
    vectors=vectors,
    element=element,
    differs=DIFFERS,
    rejects=rejects,
)
def nhwc_max_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Take the largest code of each window.

    Parameters
    ----------
    x
        Codes (N, D1, ..., Dn, C).
    auto_pad
        ``NOTSET`` (``pads`` counts), ``SAME_UPPER``, ``SAME_LOWER`` or ``VALID``.
    ceil_mode
        1 if a last window may hang over the padded image; it must begin before the image ends.
        It says nothing beside ``auto_pad``.
    dilations, strides
        One number per spatial axis; 1 by default.
    kernel_shape
        Spatial shape of the window.
    pads
        Padding before each spatial axis, then after each, less than the window; 0 by default.

    Returns
    -------
    y
        Codes (N, outputs..., C) of the type of ``x``.

    Raises
    ------
    OperatorError
        For a missing input or attribute, a type that is not allowed, or a window that does not fit.

    Notes
    -----
    Nobody wrote down what this operator does. It is taken to be ONNX's MaxPool
    :cite:p:`onnx-maxpool` with another order of axes. What that leaves open is as onnxruntime has
    it: a window that sees nothing but padding gives the lowest code.

    Examples
    --------
    Each channel by itself:

    >>> import numpy as np
    >>> x = np.int8([[[1, -1], [5, -5], [3, -3], [-128, 127]]])
    >>> nhwc_max_pool(x, kernel_shape=[2])
    array([[[  5,  -1],
            [  5,  -3],
            [  3, 127]]], dtype=int8)

    Padding never wins; where there is nothing else, the lowest code stands in:

    >>> nhwc_max_pool(x[:, :2], kernel_shape=[2], pads=[1, 0])
    array([[[ 1, -1],
            [ 5, -1]]], dtype=int8)
    >>> nhwc_max_pool(x[:, :2], kernel_shape=[2], dilations=[3], pads=[1, 1])
    array([[[-128, -128]]], dtype=int8)

    With ``ceil_mode`` a last window may hang over, unless it began behind the image:

    >>> row = np.uint8([1, 2, 3, 4, 5, 6]).reshape(1, 6, 1)
    >>> nhwc_max_pool(row, kernel_shape=[3], strides=[2]).ravel()
    array([3, 5], dtype=uint8)
    >>> nhwc_max_pool(row, kernel_shape=[3], strides=[2], ceil_mode=1).ravel()
    array([3, 5, 6], dtype=uint8)
    >>> nhwc_max_pool(row, kernel_shape=[3], strides=[2], ceil_mode=1, auto_pad="VALID").ravel()
    array([3, 5], dtype=uint8)
    >>> nhwc_max_pool(row, kernel_shape=[8], strides=[3]).shape
    (1, 0, 1)
    >>> nhwc_max_pool(row, kernel_shape=[2], strides=[6], pads=[0, 1], ceil_mode=1).ravel()
    array([2], dtype=uint8)

    ``SAME`` padding keeps ceil(6 / stride) outputs; long strides skip elements at both ends:

    >>> nhwc_max_pool(row, kernel_shape=[2], dilations=[2], auto_pad="SAME_UPPER").ravel()
    array([2, 3, 4, 5, 6, 5], dtype=uint8)
    >>> nhwc_max_pool(row, kernel_shape=[2], auto_pad="SAME_LOWER").ravel()
    array([1, 2, 3, 4, 5, 6], dtype=uint8)
    >>> nhwc_max_pool(row, kernel_shape=[1], strides=[3], auto_pad="SAME_UPPER").ravel()
    array([2, 5], dtype=uint8)
    """
    if x.ndim < SMALLEST_RANK:
        refuse(NAME, "x", f"shape {x.shape}", f"a rank of {SMALLEST_RANK} or more")
    attributes = {
        "auto_pad": auto_pad,
        "ceil_mode": ceil_mode,
        "dilations": dilations,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    shape = _pool(x.shape[1:-1], attributes)
    rank = len(shape.size)
    lowest, _ = integer_range(x.dtype)
    # No window begins behind the image, so as much padding as a window reaches is enough.
    padded = pad(np.moveaxis(x, -1, 1), [*shape.pads[:rank], *shape.reach], lowest)
    fields = windows(padded, shape.kernel, shape.strides, shape.dilations)
    fields = fields[:, :, *map(slice, shape.outputs)]
    largest: Array = fields.max(axis=tuple(range(-rank, 0)))
    return np.moveaxis(largest, 1, -1)
