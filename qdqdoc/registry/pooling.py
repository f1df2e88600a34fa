"""The windows of a pool: what its attributes say, checked, and the values that each window sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.layout import reach, taps, windows
from qdqdoc.numerics.sums import image_multiplier
from qdqdoc.registry.checks import refuse
from qdqdoc.registry.spatial import flag, padding, per_axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdqdoc.numerics.formats import Array
    from qdqdoc.registry.operator import Call


SMALLEST_RANK = 3
"""A batch, channels, and one spatial axis."""


@dataclass(frozen=True)
class Pool:
    """The windows over an image: attributes with the defaults filled in, and how many there are.

    ``pads`` has all beginnings, then all ends; ``outputs`` counts the windows along each axis.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """Distance from the first position of a window to just behind its last."""
        return reach(self.kernel, self.dilations)

    @property
    def whole(self) -> bool:
        """Whether there is one window, which is the image: nothing is padded."""
        return self.kernel == self.size and not any(self.pads)

    def taps(self, position: Sequence[int]) -> list[tuple[int, ...]]:
        """List the positions of the image that one window sees, last axis fastest, without pads.

        This shares no code with :meth:`fields`, which it is the witness of.
        """
        found = taps(
            position,
            self.size,
            self.kernel,
            strides=self.strides,
            dilations=self.dilations,
            pads=self.pads,
        )
        return [at for _, at in found]

    def fields(self, x: Array, fill: float) -> Array:
        """View ``x`` (N, C, spatial...) as (N, C, outputs..., kernel...), padded with ``fill``.

        >>> image = np.arange(3).reshape(1, 1, 3)
        >>> pool("MaxPool", (3,), {"kernel_shape": [2], "pads": [1, 0]}).fields(image, 9)
        array([[[[9, 0],
                 [0, 1],
                 [1, 2]]]])
        """
        around = [(0, 0), (0, 0)]
        for axis, begin in enumerate(self.pads[: len(self.size)]):
            # With ceil_mode the last window may reach beyond the padding.
            needed = (self.outputs[axis] - 1) * self.strides[axis] + self.reach[axis]
            around.append((begin, max(needed - begin - self.size[axis], 0)))
        padded = np.pad(x, around, constant_values=fill)
        return windows(padded, self.kernel, self.strides, self.dilations)


def channels_second(operator: str, x: Array, channels_last: int) -> Array:
    """Check the rank and move the channels to where a pool wants them: (N, C, spatial...)."""
    flag(operator, "channels_last", channels_last)
    if x.ndim < SMALLEST_RANK:
        refuse(operator, "X", f"shape {x.shape}", f"a rank of {SMALLEST_RANK} or more")
    return np.moveaxis(x, -1, 1) if channels_last else x


def channels_back(y: Array, channels_last: int) -> Array:
    """Move the channels to where they came from."""
    return np.moveaxis(y, 1, -1) if channels_last else y


def pool(operator: str, size: Sequence[int], attributes: Mapping[str, Any]) -> Pool:
    """Check the attributes of a pool over an image of ``size``, and count its windows.

    Raises
    ------
    OperatorError
        For an image without positions, attributes of another length or sign, a pad that is as
        large as the window, and windows that are larger than the padded image.

    Examples
    --------
    With ``ceil_mode`` the last window may hang over, unless it would begin behind the image:

    >>> for stride in (2, 4):
    ...     attributes = {"kernel_shape": [2], "strides": [stride], "ceil_mode": 1}
    ...     print(pool("MaxPool", (7,), attributes).outputs)
    (4,)
    (2,)

    Where positions are left out, a window reaches farther:

    >>> pool("AveragePool", (7,), {"kernel_shape": [2], "dilations": [3], "pads": [0, 3]}).outputs
    (7,)
    """
    rank = len(size)
    if min(size) < 1:
        refuse(
            operator,
            "X",
            f"an image of shape {tuple(size)}",
            "one spatial axis or more, each 1 or longer",
        )
    kernel = per_axis(operator, "kernel_shape", attributes["kernel_shape"], rank)
    strides, dilations = (
        per_axis(operator, name, attributes.get(name), rank) for name in ("strides", "dilations")
    )
    extent = reach(kernel, dilations)
    ceil_mode = attributes.get("ceil_mode", 0)
    flag(operator, "ceil_mode", ceil_mode)
    pads = padding(operator, attributes, size, extent, strides)
    if any(pad >= n for pad, n in zip(pads, (*extent, *extent), strict=True)):
        refuse(
            operator, "pads", list(pads), f"less than the window along each axis, {list(extent)}"
        )
    outputs = []
    for axis in range(rank):
        begin, end = pads[axis], pads[rank + axis]
        steps = size[axis] + begin + end - extent[axis]
        if steps < 0:
            found = f"{steps + extent[axis]} padded positions along spatial axis {axis}"
            refuse(operator, "X", found, f"at least {extent[axis]}")
        count = -(-steps // strides[axis]) if ceil_mode else steps // strides[axis]
        # A window that begins behind the image would see padding alone.
        behind = ceil_mode and count * strides[axis] >= size[axis] + begin
        outputs.append(count if behind else count + 1)
    return Pool(tuple(size), kernel, strides, dilations, pads, tuple(outputs))


def multiplier_is_refused(call: Call, size: Sequence[int]) -> bool:
    """Tell whether onnxruntime takes the multiplier of whole images of this size for a mistake."""
    m = image_multiplier(call.inputs["x_scale"], call.inputs["y_scale"], int(np.prod(size)))
    return bool(m < np.float32(2**-32) or m >= np.float32(256))


def crops(attributes: Mapping[str, Any], windows: Pool) -> bool:
    """Tell whether windows that are to cover as much as there is, and no more, lack two or more."""
    spans = zip(windows.outputs, windows.strides, windows.reach, windows.size, strict=True)
    lacking = max(n - (count - 1) * stride - reach for count, stride, reach, n in spans)
    return attributes.get("auto_pad", "").startswith("SAME") and lacking > 1
