"""Attributes of pools and images for them, each a corner: for vectors and for what must be refused.

The attributes are those of windows over an image of 6 by 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdqdoc.numerics.formats import DTYPES, Array, integer_range, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    Pair = tuple[float, float]
    ImageCase = tuple[str, Array, Pair, tuple[int, int]]

IMAGE = (6, 7)


def window_cases(counting: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield attributes of windows; ``counting`` are values of ``count_include_pad`` to try."""
    for count in counting:
        pads = {"kernel_shape": [3, 2], "pads": [1, 0, 2, 1], "count_include_pad": count}
        yield f"pads, counting {count}", pads
        strided = {**pads, "strides": [2, 3]}
        yield f"pads and strides, counting {count}", strided
        yield f"a window hangs over, counting {count}", {**strided, "ceil_mode": 1}
        whole = {"kernel_shape": [*IMAGE], "pads": [0, 0, 0, 1], "count_include_pad": count}
        yield f"the whole image and a pad, counting {count}", whole
    for stride in (2, 3, 4, 5):
        gaps = {"kernel_shape": [2, 1], "strides": [stride, stride], "ceil_mode": 1}
        yield f"strides of {stride}, ceil_mode", gaps
    # The last two leave gaps of two positions and more.
    grids = (
        ([3, 2], [2, 3]),
        ([2, 4], [2, 3]),
        ([1, 2], [4, 4]),
        ([1, 2], [6, 7]),
        ([1, 2], [6, 2]),
    )
    for auto_pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        for kernel, strides in grids:
            window = {"kernel_shape": kernel, "strides": strides, "pads": [0, 1, 0, 1]}
            yield (
                f"{auto_pad}, window {kernel}, strides {strides}",
                {**window, "auto_pad": auto_pad},
            )


def wrong_windows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield attributes that must be refused; what they leave out is a kernel of 2 by 3."""
    for name, least in (("kernel_shape", 2), ("strides", 1)):
        for values in ([least], [least] * 3, [least, 0], [-1, least]):
            yield f"{name} {values}", {name: values}
    for pads in ([1, 1], [0, 0, 0, -1], [2, 0, 0, 0], [0, 0, 0, 3]):
        yield f"pads {pads}", {"pads": pads}
    yield "an unknown auto_pad", {"auto_pad": "SAME"}
    for value in (-1, 2):
        yield f"ceil_mode {value}", {"ceil_mode": value}
    for ceil_mode in (0, 1):
        large = {"kernel_shape": [2, 9], "strides": [1, 9], "ceil_mode": ceil_mode}
        yield f"a window larger than the image, ceil_mode {ceil_mode}", large


# Codes of one window, scales and the zero point of y: searched so that orders of roundings differ.
_DECIDING_WINDOWS = (
    ((217, 163, 130), (0.046466436, 1.1652353), 1),
    ((44, 208, 166), (0.54990584, 0.7700621), 3),
    ((100, 219, 141), (0.65939337, 1.141908), 0),
    ((65, 157, 195), (0.89751685, 1.4902165), 1),
    ((104, 112, 121), (0.45490727, 31.944597), 3),
    ((177, 10, 208), (0.5567922, 1.4312047), 2),
    ((195, 207, 15), (0.26669487, 0.80928105), 2),
    ((163, 225, 42), (0.3164232, 0.7772798), 2),
    ((238, 16, 181), (0.08811342, 0.41219163), 2),
    ((66, 172, 91), (0.6426831, 43.988083), 1),
)


def odd_windows() -> Iterator[ImageCase]:
    """Yield name, codes (1, 1, 4), scales and zero points; the first three are one window."""
    for codes, scales, zero in _DECIDING_WINDOWS:
        yield f"a tie in one order, {codes}", tensor("uint8", [[[*codes, 0]]]), scales, (7, zero)


def tie_windows() -> Iterator[tuple[str, Array, Pair, tuple[int, int], list[int]]]:
    """Yield larger images, and kernels, where the average of some window is on or beside a tie."""
    rng = np.random.default_rng(5)
    for kind in ("int8", "uint8"):
        low, high = integer_range(DTYPES[kind])
        for number in range(24):
            kernel = [*map(int, rng.integers(1, 4, 2))]
            x = rng.integers(low, high, (1, 4, 24, 24), DTYPES[kind], endpoint=True)
            zeros = int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))
            s_x = float(rng.uniform(0.01, 1))
            total, steps = int(rng.integers(1, 100)), int(rng.integers(1, 60)) - 0.5
            near = tensor("float32", s_x * total / (kernel[0] * kernel[1]) / steps)
            s_y = float(np.nextafter(near, np.float32((number % 3) * 1e9)))
            name = f"{kind}, {number}th: {total} by {kernel} is {steps} steps"
            yield name, x, (s_x, s_y), zeros, kernel


# (scale of x, scale of y, sum of 7 codes): searched so that orders of roundings differ.
_DECIDING = (
    (0.43778467, 0.7338105, 88),
    (0.07672462, 0.25011018, 1449),
    (0.066111706, 0.77822924, 1442),
    (0.0030282813, 0.120612115, 697),
    (0.011389022, 0.32843772, 1514),
    (0.022193413, 0.7510533, 1066),
)


def whole_images() -> Iterator[ImageCase]:
    """Yield name, codes (1, channels, positions), scales and zero points for averages of images.

    Among them are ties, both rails, orders of roundings, and a sum that float32 does not hold.
    """
    for kind in ("int8", "uint8"):
        low, high = integer_range(DTYPES[kind])
        # 48 channels of 8 positions, whose sums go from rail to rail.
        sums = np.linspace(8 * low, 8 * high, 48, dtype=np.int64)[:, None]
        x = tensor(kind, sums // 8 + (np.arange(8) < sums % 8)).reshape(1, 48, 8)
        for zeros in ((low, high), (0, 1), (low + 3, low), (high, 2)):
            for scales in ((0.5, 0.125), (1.0, 1.0), (1.0, 0.4375)):
                yield f"{kind} image, zero points {zeros}, scales {scales}", x, scales, zeros
    for s_x, s_y, total in _DECIDING:
        image = np.full((1, 1, 7), total // 7, np.uint8)
        image[..., : total % 7] += 1
        yield f"a tie in one order, scales {s_x} and {s_y}", image, (s_x, s_y), (0, 0)
    image = np.full((1, 1, 2**17), 129, np.uint8)
    image[..., 0] = 128
    yield "a sum beyond 2**24: a tie in float32 only", image, (0.87984496, 1.0), (0, 0)
