"""Numbers on which rules differ: scales that make ties and near-ties, and codes that reach them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from qdqdoc.numerics.formats import tensor
from qdqdoc.numerics.rounding import f32, multiply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdqdoc.numerics.formats import Array

NEAR = 3
"""How many float32 numbers on each side of a midpoint are taken."""

STEPS = 300
SCALES = (0.1, 0.0235, 1 / 3, 0.0471, 0.5, 0.007)
ZEROS = {"uint8": (0, 3, 127, 128), "int8": (0, 3, -128, -5)}
SHAPE = (512, 18, 32)
"""Rows, products of each sum, columns."""

IMAGE = (2, 16, 32)
"""Channels, height and width of an image with as many windows of 3×3 as there are rows."""


@dataclass(frozen=True, eq=False)
class Reals:
    """Real numbers and the grid they are brought to; per channel along the first axis."""

    x: Array
    scale: Array
    zero: Array
    kind: str


@dataclass(frozen=True, eq=False)
class Product:
    """Rows of codes, columns of weights and their exact sums; the bias may be zero.

    For a convolution the rows are the windows of an image, padded by one with the zero point.
    """

    x: Array
    w: Array
    bias: Array
    s_x: Array
    s_w: Array
    s_y: Array
    z_x: int
    z_y: Array
    image: Array | None = None
    kind: str = "uint8"

    @property
    def sums(self) -> Array:
        """The exact sums of products of distances from the zero points."""
        return (self.x.astype(np.int64) - self.z_x) @ self.w.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Network:
    """A float image, codes of weights, and grids whose scales are powers of two.

    So every sum of products is a float32 exactly, whatever the order of its terms.
    """

    x: Array
    w: Array
    s_x: Array
    s_w: Array
    s_y: Array
    z_x: Array
    z_y: Array
    kind: str = "uint8"

    @property
    def read(self) -> Reals:
        """The image and its grid."""
        return Reals(self.x, self.s_x, self.z_x, self.kind)

    def sums(self, codes: Array) -> Reals:
        """Return the float sums of a convolution, and the grid they are brought to."""
        flat = windows(codes[0], int(self.z_x)).astype(np.int64) - int(self.z_x)
        real = flat @ self.w.reshape(len(self.w), -1).T.astype(np.int64)
        exact = multiply(real, multiply(self.s_x, self.s_w))
        return Reals(exact, self.s_y, self.z_y, self.kind)


@dataclass(frozen=True, eq=False)
class Addition:
    """Every pair of codes, on two grids, and the grid of the sum."""

    a: Array
    b: Array
    s_a: Array
    s_b: Array
    s_y: Array
    z_a: int
    z_b: int
    z_y: Array
    kind: str = "uint8"


@dataclass(frozen=True, eq=False)
class Pool:
    """An image of codes, and its windows along the last axis."""

    x: Array
    size: int
    scale: Array
    zero: Array
    kind: str = "uint8"

    @property
    def windows(self) -> Array:
        """The windows, which do not overlap."""
        n, c, h, w = self.x.shape
        k = self.size
        cut = self.x.reshape(n, c, h // k, k, w // k, k)
        return cut.transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // k, w // k, k * k)


def midpoints(scale: Array) -> Array:
    """Return the float32 numbers at and beside the middle of each step."""
    middle = f32((np.arange(-STEPS, STEPS) + 0.5) * float(scale))
    found = [middle]
    for direction in (np.float32(-np.inf), np.float32(np.inf)):
        near = middle
        for _ in range(NEAR):
            near = np.nextafter(near, direction)
            found.append(near)
    return np.concatenate(found)


@cache
def reals() -> tuple[Reals, ...]:
    """Return midpoints on grids of one scale each."""
    return tuple(
        Reals(midpoints(f32(scale)), f32(scale), np.array(zero), kind)
        for scale in SCALES
        for kind, zeros in ZEROS.items()
        for zero in zeros
    )


@cache
def channels() -> tuple[Reals, ...]:
    """Return the same with a row for each scale."""
    scales = f32(SCALES)
    x = np.stack([midpoints(scale) for scale in scales])
    return tuple(
        Reals(x, scales[:, None], np.resize(zeros, (len(scales), 1)), kind)
        for kind, zeros in ZEROS.items()
    )


def codes() -> tuple[Reals, ...]:
    """Return every code of the same grids; ``x`` holds codes here."""
    every = {"uint8": range(256), "int8": range(-128, 128)}
    return tuple(Reals(tensor(g.kind, every[g.kind]), g.scale, g.zero, g.kind) for g in reals())


@cache
def products(*, bias: bool = False, conv: bool = False) -> tuple[Product, ...]:
    """Return products whose sums are near ties: the multiplier is close to an odd number of halves.

    A bias lies on the grid of the accumulator in every other set.
    """
    return tuple(_products(bias=bias, conv=conv))


def windows(image: Array, zero: int) -> Array:
    """Return the windows of 3×3 of a padded image as rows, channels first within each."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=zero)
    every = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return every.transpose(1, 2, 0, 3, 4).reshape(image[0].size, -1)


def _products(*, bias: bool, conv: bool) -> Iterator[Product]:
    draw = np.random.default_rng(1)
    rows, inner, columns = SHAPE
    for number in range(12):
        s_x, s_w = f32(draw.uniform(0.01, 1)), f32(draw.uniform(0.001, 0.1))
        multiplier = (2 * draw.integers(1, 5) + 1) / 2 ** draw.integers(1, 5)
        s_y = f32(float(s_x) * float(s_w) / multiplier)
        z_x, z_y = int(draw.integers(100, 150)), np.array(draw.integers(0, 256))
        x = tensor("uint8", z_x + draw.integers(-12, 13, IMAGE if conv else (rows, inner)))
        w = draw.integers(-3, 4, (inner, columns))
        steps = draw.integers(-50, 51, columns) + draw.uniform(-0.4, 0.4, columns) * (number % 2)
        real = multiply(steps, multiply(s_x, s_w)) if bias else np.zeros(columns, np.float32)
        image = x if conv else None
        flat = windows(x, z_x) if conv else x
        yield Product(flat, tensor("int8", w), real, s_x, s_w, s_y, z_x, z_y, image)


@cache
def additions() -> tuple[Addition, ...]:
    """Return every pair of codes under several scales, half of them in simple ratios."""
    return tuple(_additions())


def _additions() -> Iterator[Addition]:
    draw = np.random.default_rng(3)
    a, b = np.meshgrid(tensor("uint8", range(256)), tensor("uint8", range(256)))
    for number in range(8):
        s_y = f32(draw.uniform(0.01, 1))
        pair = f32(draw.uniform(0.01, 1, 2))
        simple = (2 * draw.integers(0, 4, 2) + 1) / 2.0 ** draw.integers(1, 4, 2)
        s_a, s_b = pair if number % 2 else multiply(s_y, simple)
        z_a, z_b, z_y = draw.integers(0, 256, 3)
        yield Addition(a, b, s_a, s_b, s_y, int(z_a), int(z_b), np.array(z_y))


@cache
def networks() -> tuple[Network, ...]:
    """Return images of half steps, and sums that are a tie one time in four."""
    draw = np.random.default_rng(7)
    s_x, s_w = f32(2**-4), f32(2**-5)
    shape = (1, *IMAGE)
    return tuple(
        Network(
            x=multiply(draw.integers(-80, 81, shape), s_x / 2),
            w=tensor("int8", draw.integers(-3, 4, (32, IMAGE[0], 3, 3))),
            s_x=s_x,
            s_w=s_w,
            s_y=4 * s_x * s_w,
            z_x=np.array(z_x),
            z_y=np.array(z_y),
        )
        for z_x, z_y in ((128, 128), (127, 3), (0, 255))
    )


@cache
def pools() -> tuple[Pool, ...]:
    """Return images, most of them with windows of an even number, which have ties."""
    draw = np.random.default_rng(5)
    sets = ((2, 3, 0.1), (2, 0, 0.5), (3, 127, 0.0235), (4, 5, 0.25), (3, 0, 0.1), (2, 10, 1.0))
    return tuple(
        Pool(tensor("uint8", draw.integers(0, 256, (1, 8, 24, 24))), k, f32(s), np.array(z))
        for k, z, s in sets
    )
